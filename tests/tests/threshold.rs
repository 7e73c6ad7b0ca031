//! A gate of several nodes, over real HTTP: what it answers, with which nodes gone, and what fewer than it takes can do.
#![allow(clippy::unwrap_used)] // a test stops where it cannot go on

use std::{collections::BTreeSet, time::Duration};

use sealdex_client::owner;
use sealdex_fhir::Suite;
use sealdex_tests::{World, servers::Place};

/// What somebody gets, by identity.
async fn ask(world: &World, reader: &str, question: &str) -> Result<BTreeSet<String>, String> {
    let doc = Suite::parse(question, None).unwrap().queries.remove(0);
    let answer = world.session(reader).ask(&doc).await;
    answer.map(|a| a.hits.into_iter().map(|h| h.identity).collect()).map_err(|e| e.to_string())
}

const OBSERVATIONS: &str = r#"{"resource":"Observation"}"#;
const PATIENTS: &str = r#"{"resource":"Patient"}"#;

async fn world(readers: &[&str], of: (u16, u16)) -> (tempfile::TempDir, World) {
    let home = tempfile::tempdir().unwrap();
    let mut world = World::shared(home.path(), 6, 2, readers, Place::Process, of).await;
    world.enrol_patients().await;
    world.push_all().await;
    (home, world)
}

/// By a field of section 8b, whose bridging takes the nodes together.
fn by_identifier(world: &World) -> String {
    let record = world.hospitals.iter().flat_map(|h| world.records(h)).find(|r| r.resource_type == "Patient").unwrap();
    let json: serde_json::Value = serde_json::from_slice(&record.bytes).unwrap();
    let identifier = &json["identifier"][0];
    let token = format!("{}|{}", identifier["system"].as_str().unwrap(), identifier["value"].as_str().unwrap());
    format!(r#"{{"resource":"Patient","filters":[{{"field":"identifier","op":"eq","value":"{token}"}}]}}"#)
}

#[tokio::test(flavor = "multi_thread")]
async fn it_answers_as_a_single_gate_does_and_with_nodes_gone() {
    let (_home, mut world) = world(&["ana", "ben"], (3, 2)).await;
    world.grant_everything("ana").await;
    let identified = by_identifier(&world);
    let expected = world.corpus();
    let by = |q: &str| -> BTreeSet<String> {
        let doc = Suite::parse(q, None).unwrap().queries.remove(0);
        expected.ask(&doc, &world.schema).unwrap().0.into_iter().map(|h| h.identity).collect()
    };
    let wanted = [OBSERVATIONS, PATIENTS, &identified].map(&by);
    assert!(wanted.iter().all(|w| !w.is_empty()), "{:?}", wanted.each_ref().map(BTreeSet::len));
    let check = async |world: &World, when: &str| {
        for (question, wanted) in [OBSERVATIONS, PATIENTS, &identified].iter().zip(&wanted) {
            assert_eq!(ask(world, "ana", question).await.as_ref(), Ok(wanted), "{when}: {question}");
        }
        assert_eq!(
            ask(world, "ben", OBSERVATIONS).await,
            Ok(BTreeSet::new()),
            "{when}: nobody has granted him anything"
        );
    };
    check(&world, "all nodes").await;
    for gone in 0..3 {
        world.servers.stop_node(gone).await;
        check(&world, &format!("without node {}", gone + 1)).await;
        world.servers.start_node(gone).await;
        tokio::time::sleep(Duration::from_millis(1500)).await;
    }
    check(&world, "all back").await;
    world.servers.stop_node(0).await;
    world.servers.stop_node(2).await;
    let refused = ask(&world, "ana", OBSERVATIONS).await.unwrap_err();
    assert!(refused.contains("of the 2 nodes it takes"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_holds_whichever_nodes_answer_and_a_node_that_was_away_learns_of_it() {
    let (_home, mut world) = world(&["ana"], (3, 2)).await;
    world.grant_everything("ana").await;
    assert!(!ask(&world, "ana", OBSERVATIONS).await.unwrap().is_empty());
    world.servers.stop_node(2).await;
    let keys = &world.readers["ana"];
    let owners: Vec<owner::Owner> = world.owners.values().map(|e| e.owner()).collect();
    let revocations = owners.iter().map(|o| o.revocation("test", keys.identity.id(), None)).collect();
    assert!(owner::revoke_all(&world.gate(keys), revocations).await.unwrap() > 0);
    assert_eq!(ask(&world, "ana", OBSERVATIONS).await, Ok(BTreeSet::new()));
    // The one that was away comes back while another goes: it must not serve what it has not heard was revoked.
    world.servers.start_node(2).await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    for gone in [0, 1] {
        world.servers.stop_node(gone).await;
        assert_eq!(ask(&world, "ana", OBSERVATIONS).await, Ok(BTreeSet::new()), "without node {}", gone + 1);
        world.servers.start_node(gone).await;
        tokio::time::sleep(Duration::from_millis(2500)).await;
    }
    // And what was granted while it was away can be read with it.
    world.servers.stop_node(1).await;
    world.grant("ana", &["observations".into()], "any").await;
    world.servers.start_node(1).await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    world.servers.stop_node(0).await;
    assert!(!ask(&world, "ana", OBSERVATIONS).await.unwrap().is_empty(), "with the one that was away");
}
