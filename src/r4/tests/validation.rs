//! Resources that are R4 and resources that are not, each with the path of what is wrong.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // a test stops where it cannot go on, and says why it skips

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use sealdex_r4::{is_resource, validate};
use serde_json::{Value as Json, json};

fn observation() -> Json {
    json!({ "resourceType": "Observation", "id": "o", "status": "final", "code": { "text": "BP" },
        "extension": [{ "url": "http://anyone/at-all", "valueString": "kept" }],
        "subject": { "reference": "Patient/p" }, "effectiveDateTime": "2018-06-11", "_effectiveDateTime": { "id": "x" },
        "component": [{ "code": { "coding": [{ "code": "8480-6" }] }, "valueQuantity": { "value": 120.0, "unit": "mmHg" } },
            { "code": { "text": "b" }, "valueString": "x" }] })
}

/// Paths of what is wrong after a change.
fn wrong(change: impl Fn(&mut Json)) -> Vec<String> {
    let mut changed = observation();
    change(&mut changed);
    validate(&changed).err().into_iter().flatten().map(|v| v.path).collect()
}

#[test]
fn what_is_wrong_is_named_with_its_path() {
    assert_eq!(wrong(|_| ()), Vec::<String>::new());
    let at = |pointer: &str, value: Json| {
        wrong(|o| *o.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer}")) = value.clone())
    };
    let with = |name: &str, value: Json| wrong(|o| o[name] = value.clone());
    assert_eq!(with("valueQuanttiy", json!({})), ["Observation.valueQuanttiy"]);
    assert_eq!(at("/component/0/valueQuantity/value", json!("120")), ["Observation.component[0].valueQuantity.value"]);
    assert_eq!(at("/component/0", json!({ "valueString": "x" })), ["Observation.component[0].code"]);
    assert_eq!(with("status", json!("finished")), ["Observation.status"]);
    assert_eq!(with("status", json!(["final"])), ["Observation.status"]);
    assert_eq!(with("category", json!({ "text": "x" })), ["Observation.category"]);
    assert_eq!(with("category", json!([])), ["Observation.category"]);
    assert_eq!(with("category", json!([{}])), ["Observation.category[0]"]);
    assert_eq!(with("note", json!([{ "text": "" }])), ["Observation.note[0].text"]);
    assert_eq!(with("effectivePeriod", json!({ "start": "2018" })), ["Observation.effective[x]"]);
    assert_eq!(with("effectiveDateTime", json!("2018-02-30")), ["Observation.effectiveDateTime"]);
    assert_eq!(with("issued", json!("2018")), ["Observation.issued"]);
    assert_eq!(with("id", json!("a b")), ["Observation.id"]);
    assert_eq!(
        wrong(|o| {
            o.as_object_mut().unwrap().shift_remove("code");
        }),
        ["Observation.code"]
    );
    assert_eq!(with("subject", json!({ "reference": "http://h/Patient/p/_history/2" })), Vec::<String>::new());
    assert_eq!(with("subject", json!({ "reference": "#p" })), ["Observation.subject.reference"]);
    assert_eq!(with("text", json!({ "status": "generated", "div": "<p>x</p>" })), ["Observation.text.div"]);
    assert_eq!(with("extension", json!([{ "url": "u" }])), ["Observation.extension[0]"]);
    assert_eq!(with("extension", json!([{ "valueString": "u" }])), ["Observation.extension[0].url"]);
    assert_eq!(
        with("extension", json!([{ "url": "u", "valueString": "v", "extension": [{ "url": "w", "valueCode": "x" }] }])),
        ["Observation.extension[0]"]
    );
    assert_eq!(with("_code", json!({ "id": "x" })), ["Observation._code"]);
    assert_eq!(with("_issued", json!("x")), ["Observation._issued"]);
    assert_eq!(
        with(
            "contained",
            json!([{ "resourceType": "Patient", "id": "c", "contained": [{ "resourceType": "Patient" }] }])
        ),
        ["Observation.contained[0].contained"]
    );
    assert_eq!(
        with("contained", json!([{ "resourceType": "Patient", "gender": "f" }])),
        ["Observation.contained[0].gender"]
    );
    assert_eq!(with("contained", json!([{ "resourceType": "Nothing" }])), ["Observation.contained[0]"]);
    assert_eq!(with("component", Json::Null), ["Observation.component"]);
    assert!(validate(&json!({ "resourceType": "Element" })).is_err());
    assert!(validate(&json!([])).is_err() && validate(&json!({})).is_err() && validate(&Json::Null).is_err());
}

#[test]
fn a_primitive_may_be_all_extension() {
    let absent = json!({ "extension": [{ "url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown" }] });
    assert!(
        wrong(|o| {
            o.as_object_mut().unwrap().shift_remove("status");
            o["_status"] = absent.clone();
        })
        .is_empty()
    );
    let patient = json!({ "resourceType": "Patient", "name": [{ "given": [null, "Ana"], "_given": [absent, null] }] });
    assert_eq!(validate(&patient), Ok(()));
    let without = json!({ "resourceType": "Patient", "name": [{ "given": [null, "Ana"] }] });
    assert_eq!(validate(&without).unwrap_err()[0].path, "Patient.name[0].given[0]");
}

#[test]
fn work_and_words_are_bounded() {
    let many = json!({ "resourceType": "Patient", "name": (0..10_000).map(|_| json!({ "x": 1 })).collect::<Vec<_>>() });
    assert_eq!(validate(&many).unwrap_err().len(), 64);
    let mut deep = json!({ "url": "u", "valueString": "v" });
    for _ in 0..100 {
        deep = json!({ "url": "u", "extension": [deep] });
    }
    let reasons = validate(&json!({ "resourceType": "Patient", "extension": [deep] })).unwrap_err();
    assert!(reasons.iter().any(|v| v.reason.contains("too deep")));
}

/// Resources of a folder: JSON files of one each, NDJSON files of many.
fn resources(folder: &Path, found: &mut dyn FnMut(String, Json)) {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            resources(&path, found);
        } else if name.ends_with(".ndjson") {
            let text = std::fs::read_to_string(&path).unwrap();
            text.lines().zip(1..).for_each(|(l, n)| found(format!("{name}:{n}"), serde_json::from_str(l).unwrap()));
        } else if name.ends_with(".json") && name != "MANIFEST.json" {
            found(name, serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap());
        }
    }
}

/// Definitions, not records: most of them mend themselves by extensions of the next version.
const DEFINITIONS: [&str; 9] = [
    "StructureDefinition",
    "ValueSet",
    "CodeSystem",
    "SearchParameter",
    "ConceptMap",
    "OperationDefinition",
    "ImplementationGuide",
    "CapabilityStatement",
    "NamingSystem",
];

/// HL7's examples that are not R4, with what is wrong with them.
const NOT_R4: [(&str, &str); 2] = [
    ("Bundle-v2-valuesets.json", "a code with white space at its end"),
    ("Questionnaire-qs1.json", "an item without a linkId"),
];

#[test]
fn hl7s_examples_are_r4() {
    let named = std::env::var_os("SEALDEX_FHIR_EXAMPLES").map(PathBuf::from);
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/fhir-examples/package");
    let Some(folder) = named.into_iter().chain([beside]).find(|p| p.join("Patient-example.json").is_file()) else {
        println!("skipped: no HL7 examples (npm pack hl7.fhir.r4.examples@4.0.1, unpack it in target/fhir-examples)");
        return;
    };
    let (mut checked, mut refused) = (0, Vec::new());
    resources(&folder, &mut |name, json| {
        let kind = json["resourceType"].as_str().unwrap_or_default().to_owned();
        if is_resource(&kind) && !DEFINITIONS.contains(&kind.as_str()) && !NOT_R4.iter().any(|(n, _)| *n == name) {
            checked += 1;
            if let Err(violations) = validate(&json) {
                refused.push(format!("{name}: {}", violations[0]));
            }
        }
    });
    assert!(refused.is_empty(), "{} of {checked}: {refused:#?}", refused.len());
    assert!(checked > 700, "{checked}");
}

#[test]
fn the_samples_are_r4() {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets/sample");
    let named = std::env::var_os("SEALDEX_SAMPLE_DATA").map(|d| PathBuf::from(d).join("fhir"));
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/fhir");
    let other = named.into_iter().chain([beside]).find(|p| p.is_dir());
    let (mut checked, mut refused) = (0, Vec::new());
    for folder in [Some(own), other].into_iter().flatten() {
        resources(&folder, &mut |name, json| {
            checked += 1;
            if let Err(violations) = validate(&json) {
                refused.push(format!("{name}: {}", violations[0]));
            }
        });
    }
    assert!(refused.is_empty(), "{} of {checked}: {:#?}", refused.len(), &refused[..refused.len().min(20)]);
    assert!(checked > 1000, "{checked}");
}

fn json_value() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        "\\PC{0,12}".prop_map(Json::from),
        Just(json!("Patient")),
        Just(json!("Patient/p")),
        Just(json!("#x")),
        Just(json!("2018-06")),
    ];
    let name = prop_oneof![
        Just("resourceType".to_owned()),
        Just("contained".into()),
        Just("extension".into()),
        Just("url".into()),
        Just("subject".into()),
        Just("reference".into()),
        Just("_status".into()),
        Just("component".into()),
        Just("id".into()),
        "[a-z_]{0,8}"
    ];
    leaf.prop_recursive(6, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Json::from),
            prop::collection::vec((name.clone(), inner), 0..6).prop_map(|m| Json::Object(m.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn nothing_breaks_it(value in json_value(), kind in prop_oneof![Just("Observation"), Just("Bundle"), Just("Parameters")]) {
        let _ = validate(&value);
        let mut whole = value;
        if let Some(map) = whole.as_object_mut() {
            map.insert("resourceType".into(), kind.into());
            let _ = validate(&whole);
        }
    }

    #[test]
    fn a_changed_resource_breaks_nothing(value in json_value(), which in 0..40_usize) {
        let mut changed = observation();
        let mut left = which;
        replace(&mut changed, &mut left, &value);
        let _ = validate(&changed);
    }
}

/// Replaces the `left`-th value, depth first.
fn replace(json: &mut Json, left: &mut usize, by: &Json) {
    if *left == 0 {
        *json = by.clone();
        *left = usize::MAX;
        return;
    }
    *left = left.saturating_sub(1);
    match json {
        Json::Array(all) => all.iter_mut().for_each(|v| replace(v, left, by)),
        Json::Object(map) => map.values_mut().for_each(|v| replace(v, left, by)),
        _ => {}
    }
}
