//! Consents written in FHIR say what the grants say, and read back they ask for the same.
#![allow(clippy::unwrap_used)] // a test stops where it cannot go on

use proptest::prelude::*;
use sealdex_client::{
    Ceremony,
    patient::consent::{Context, Standing, read, write},
};
use sealdex_wire::roster::{PublicKeys, Role, Roster};
use serde_json::{Value as Json, json};

const SECTIONS: [&str; 4] = ["conditions", "encounters", "notes", "observations"];

fn roster() -> (Roster, PublicKeys) {
    let (mut ceremony, _) = Ceremony::found("test", "http://127.0.0.1:1", "http://127.0.0.1:2").unwrap();
    ceremony.enrol("ana", Role::User).unwrap();
    let keys = ceremony.roster.named("ana").unwrap().keys;
    (ceremony.roster.clone(), keys)
}

fn known() -> Vec<String> {
    SECTIONS.iter().map(|s| (*s).to_owned()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_is_written_is_read_back(
        chosen in prop::sample::subsequence(SECTIONS.to_vec(), 1..=4),
        purpose in prop_oneof![Just("any".to_owned()), Just("treatment".to_owned()), Just("research".to_owned()), Just("emergency".to_owned()), "[a-z]{3,12}"],
        from in 0..4_000_000_000_u64, lasts in 1..200_000_000_u64, label in prop_oneof![Just("Patient/p-1"), Just("urn:mrn|12")],
    ) {
        let (roster, reader) = roster();
        let not_after = (from + lasts).min(u64::from(u32::MAX));
        prop_assume!(not_after > from);
        let standing = Standing {
            id: "x".into(), reader, purpose, not_before: from, not_after, granted_at: 1_700_000_000_000,
            sections: chosen.iter().map(|s| (*s).to_owned()).collect(),
        providers: Vec::new(),
        emergency: false,
        };
        let json = write(&standing, label, &roster, from);
        prop_assert_eq!(sealdex_r4::validate(&json), Ok(()));
        let context = Context { patient: label, roster: &roster, sections: &known(), now: from };
        let asked = (standing.reader, standing.purpose, standing.not_before, standing.not_after, standing.sections);
        let wanted = |json: &serde_json::Value| {
            let w = read(json, &context).unwrap();
            (w.reader, w.purpose, w.not_before, w.not_after, w.sections)
        };
        prop_assert_eq!(&wanted(&json), &asked);
        // As many write it: the rule in the root itself.
        let mut flat = json.clone();
        flat["provision"] = json["provision"]["provision"][0].clone();
        prop_assert_eq!(&wanted(&flat), &asked);
    }
}

/// Whatever is taken out of a consent or added to it, it never asks for more.
#[test]
fn no_change_of_a_consent_widens_it_unseen() {
    let (roster, reader) = roster();
    let standing = Standing {
        id: "x".into(),
        reader,
        purpose: "treatment".into(),
        not_before: 100,
        not_after: 200,
        granted_at: 0,
        sections: vec!["notes".into()],
        providers: Vec::new(),
        emergency: false,
    };
    let whole = write(&standing, "Patient/p", &roster, 150);
    let context = Context { patient: "Patient/p", roster: &roster, sections: &known(), now: 150 };
    let rule = |json: &mut Json, name: &str, value: Json| json["provision"]["provision"][0][name] = value;
    for (name, value) in [
        ("type", json!("deny")),
        ("securityLabel", json!([{ "code": "R" }])),
        ("dataPeriod", json!({ "start": "2020" })),
        ("data", json!([])),
        ("code", json!([])),
        ("provision", json!([])),
        ("modifierExtension", json!([])),
        ("class", json!([])),
        ("class", Json::Null),
        ("purpose", json!([])),
        ("purpose", json!([{ "system": "urn:sealdex:purpose", "code": "any" }])),
        (
            "purpose",
            json!([{ "system": "urn:sealdex:purpose", "code": "a" }, { "system": "urn:sealdex:purpose", "code": "b" }]),
        ),
        ("actor", Json::Null),
        ("period", json!({ "end": "soon" })),
        ("action", json!([{ "coding": [{ "code": "correct" }] }])),
    ] {
        let mut changed = whole.clone();
        rule(&mut changed, name, value.clone());
        let e = read(&changed, &context).expect_err(&format!("{name} = {value}"));
        assert!(e.path.starts_with("Consent.provision.provision[0]."), "{e}");
    }
    let mut beside = whole.clone();
    beside["provision"]["period"] = json!({ "end": "2000" });
    assert!(read(&beside, &context).is_err(), "a bound beside the rule is not passed over");
    let mut other = whole.clone();
    other["patient"] = json!({ "reference": "Patient/q" });
    assert_eq!(read(&other, &context).unwrap_err().path, "Consent.patient");
    let mut ended = whole;
    ended["status"] = "inactive".into();
    assert_eq!(read(&ended, &context).unwrap().sections, Vec::<String>::new());
}
