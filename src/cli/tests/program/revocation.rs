//! A revocation is in force when it is acknowledged, however busy the gate is, and stays so.
#![allow(clippy::unwrap_used)] // a test stops where it cannot go on

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Instant,
};

use sealdex_client::owner;
use sealdex_fhir::{QueryDoc, Suite};
use sealdex_net::CallError;
use sealdex_tests::{World, servers::Place, world::DOMAIN};
use sealdex_wire::{ProblemType, consent::Accepted};

const EXE: &str = env!("CARGO_BIN_EXE_sealdex");

fn question() -> QueryDoc {
    Suite::parse(r#"{"resource":"Observation"}"#, None).unwrap().queries.remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_opened_after_the_acknowledgement() {
    let home = tempfile::tempdir().unwrap();
    let mut world = World::generated(home.path(), 8, 2, &["reader"], Place::Binary(EXE.into())).await;
    world.enrol_patients().await;
    world.grant_everything("reader").await;
    world.push_all().await;
    let everything = world.session("reader").ask(&question()).await.unwrap().hits.len();
    let world = Arc::new(world);

    // Every answer, with when its question was asked and which patients were in it.
    let (done, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let loops: Vec<_> = (0..3)
        .map(|_| {
            let (world, done, asked) = (world.clone(), done.clone(), asked.clone());
            tokio::spawn(async move {
                let session = world.session("reader");
                let mut seen = Vec::new();
                while !done.load(SeqCst) {
                    let started = Instant::now();
                    let answer = session.ask(&question()).await.unwrap();
                    let patients: std::collections::BTreeSet<String> = answer
                        .hits
                        .iter()
                        .filter_map(|h| h.json["subject"]["reference"].as_str().map(str::to_owned))
                        .collect();
                    seen.push((started, patients));
                    asked.fetch_add(1, SeqCst);
                }
                seen
            })
        })
        .collect();
    let reader = world.readers["reader"].identity.id();
    let gate = world.gate(&world.readers["reader"]);
    let mut acknowledged = Vec::new();
    for (patient, entry) in &world.owners {
        let before = asked.load(SeqCst);
        while asked.load(SeqCst) < before + 2 {
            tokio::task::yield_now().await;
        }
        let revocation = entry.owner().revocation(DOMAIN, reader, Some("observations"));
        owner::revoke_all(&gate, vec![revocation]).await.unwrap();
        acknowledged.push((patient.clone(), Instant::now()));
    }
    let before = asked.load(SeqCst);
    while asked.load(SeqCst) < before + 6 {
        tokio::task::yield_now().await;
    }
    done.store(true, SeqCst);
    let mut answers = 0;
    for task in loops {
        for (started, patients) in task.await.unwrap() {
            answers += 1;
            for (patient, at) in &acknowledged {
                assert!(started < *at || !patients.contains(patient), "{patient} was read after the revocation");
            }
        }
    }
    assert!(answers > acknowledged.len() && everything > 0);
    let session = world.session("reader");
    assert_eq!(session.ask(&question()).await.unwrap().hits.len(), 0, "all have revoked");

    // Other sections of the same patients are untouched.
    let conditions = Suite::parse(r#"{"resource":"Condition"}"#, None).unwrap().queries.remove(0);
    assert!(!session.ask(&conditions).await.unwrap().hits.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_outlives_the_gate_and_replayed_grants() {
    let home = tempfile::tempdir().unwrap();
    let mut world = World::generated(home.path(), 2, 1, &["reader"], Place::Binary(EXE.into())).await;
    world.enrol_patients().await;
    world.push_all().await;
    let keys = &world.readers["reader"];
    let gate = world.gate(keys);
    let owners: Vec<owner::Owner> = world.owners.values().map(|e| e.owner()).collect();
    let grants: Vec<_> =
        owners.iter().map(|o| o.grant(&world.request(keys.identity.public(), "observations", "any"), None)).collect();
    let old = owner::submit(&gate, DOMAIN, grants);
    let _: Accepted = gate.post_json("/v1/grants", &old).await.unwrap();
    let session = world.session("reader");
    let all = session.ask(&question()).await.unwrap().hits.len();
    assert!(all > 0);
    let revocations = owners.iter().map(|o| o.revocation(DOMAIN, keys.identity.id(), None)).collect();
    owner::revoke_all(&gate, revocations).await.unwrap();
    assert_eq!(session.ask(&question()).await.unwrap().hits.len(), 0);

    world.servers.stop_gate().await; // kill -9
    world.servers.start_gate().await;
    assert_eq!(session.ask(&question()).await.unwrap().hits.len(), 0, "still revoked");
    let replayed: Result<Accepted, CallError> = gate.post_json("/v1/grants", &old).await;
    let refusal = replayed.unwrap_err();
    assert!(matches!(refusal.problem_type(), Some(ProblemType::Conflict | ProblemType::BadDocument)), "{refusal}");
    assert_eq!(session.ask(&question()).await.unwrap().hits.len(), 0, "an old grant cannot be sent again");

    let keys = &world.readers["reader"];
    let fresh: Vec<_> =
        owners.iter().map(|o| (o, world.request(keys.identity.public(), "observations", "any"))).collect();
    owner::grant_all(&gate, &fresh).await.unwrap();
    assert_eq!(session.ask(&question()).await.unwrap().hits.len(), all, "a new grant opens again");
}
