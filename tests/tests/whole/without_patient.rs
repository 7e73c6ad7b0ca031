//! Records about no patient: their provider owns them, in their type's section, and grants them like a patient.
#![allow(clippy::unwrap_used)] // a test stops where it cannot go on

use std::collections::BTreeSet;

use sealdex_client::{Owner, owner};
use sealdex_fhir::Suite;
use sealdex_tests::{
    World,
    servers::{Place, free_port},
    world::Hospital,
};
use serde_json::{Value as Json, json};

fn observation(id: &str, subject: Option<Json>) -> Json {
    let mut o = json!({"resourceType": "Observation", "id": id, "status": "final", "code": {"text": "count of bees"}});
    if let Some(subject) = subject {
        o["subject"] = subject;
    }
    o
}

/// Two hospitals, each with a group's observation, one of a device's, one of a patient's.
async fn world() -> (tempfile::TempDir, World) {
    let home = tempfile::tempdir().unwrap();
    for name in ["north", "south"] {
        let dir = home.path().join("data").join(name);
        std::fs::create_dir_all(&dir).unwrap();
        let lines = [
            json!({"resourceType": "Patient", "id": format!("{name}-p")}),
            observation(&format!("{name}-group"), Some(json!({"reference": "Group/g"}))),
            observation(&format!("{name}-nothing"), None),
            observation(&format!("{name}-patient"), Some(json!({"reference": format!("Patient/{name}-p")}))),
            json!({"resourceType": "Device", "id": format!("{name}-device")}),
            json!({"resourceType": "Organization", "id": format!("{name}-org")}),
        ];
        let text: String = lines.iter().map(|l| format!("{l}\n")).collect();
        std::fs::write(dir.join("all.ndjson"), text).unwrap();
    }
    let data = home.path().join("data");
    let ports = [free_port(), free_port()];
    let mut world = World::found(home.path(), &data, &["ana", "ben", "cleo"], Place::Process, ports, None).await;
    world.enrol_patients().await;
    (home, world)
}

fn own(hospital: &Hospital) -> Owner {
    Owner::from_seed(&hospital.keys.secrets.seed)
}

async fn seen(world: &World, reader: &str, kind: &str) -> BTreeSet<String> {
    let doc = Suite::parse(&format!(r#"{{"resource":"{kind}"}}"#), None).unwrap().queries.remove(0);
    world.session(reader).ask(&doc).await.unwrap().hits.into_iter().map(|h| h.identity).collect()
}

fn names(list: &[&str]) -> BTreeSet<String> {
    list.iter().map(|n| (*n).to_owned()).collect()
}

/// One grant of one hospital opens its section of records about no patient, and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn a_provider_grants_what_is_about_no_patient() {
    let (_home, world) = world().await;
    for h in &world.hospitals {
        let report = world.push(h).await.unwrap();
        assert_eq!((report.rejected, report.pushed, report.without_patient), (0, 6, 3), "{:?}", report.first_rejects);
    }
    // Granted by nobody: not even the directory's openness shows it.
    assert!(seen(&world, "ana", "Observation").await.is_empty() && seen(&world, "ana", "Device").await.is_empty());
    assert_eq!(seen(&world, "ana", "Organization").await, names(&["Organization/north-org", "Organization/south-org"]));
    // Patients' grants do not open it.
    world.grant("cleo", &world.schema.patient_sections().map(|s| s.name.clone()).collect::<Vec<_>>(), "any").await;
    let patients = names(&["Observation/north-patient", "Observation/south-patient"]);
    assert_eq!(seen(&world, "cleo", "Observation").await, patients);
    assert!(seen(&world, "cleo", "Device").await.is_empty());

    let north = &world.hospitals[0];
    let ben = world.readers["ben"].identity.public();
    let request = world.request(ben, "observations", "any");
    owner::grant_all(&world.gate(&north.keys), &[(&own(north), request)]).await.unwrap();
    let granted = names(&["Observation/north-group", "Observation/north-nothing"]);
    assert_eq!(seen(&world, "ben", "Observation").await, granted, "the north's, of that section, no patient's");
    assert!(seen(&world, "ben", "Device").await.is_empty(), "another section");
    let revocation = own(north).revocation("test", ben.id(), Some("observations"));
    owner::revoke_all(&world.gate(&north.keys), vec![revocation]).await.unwrap();
    assert!(seen(&world, "ben", "Observation").await.is_empty());
}
