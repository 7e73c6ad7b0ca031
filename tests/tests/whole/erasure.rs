//! A patient's order to erase, over all parties: in force at once, for good, done by the hospitals, and proved.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test stops where it cannot go on

use std::{collections::BTreeSet, path::Path, sync::Arc};

use sealdex_client::{OwnerEntry, Patient, owner, patient::ErasureStatus};
use sealdex_cloud::verify::verify;
use sealdex_crypto::IdentitySeed;
use sealdex_fhir::{Record, Suite};
use sealdex_ledger::versions::Versions;
use sealdex_lognet::DomainLog;
use sealdex_net::Peer;
use sealdex_open::SectionSecret;
use sealdex_provider::{
    EraseInput, EraseReport, Journal, OwnerMap, PushInput, PushSettings, Writer, WriterInput, erase, push,
};
use sealdex_schema::Owner as RecordOwner;
use sealdex_tests::{
    World,
    servers::Place,
    tampering::LyingCloud,
    world::{DOMAIN, Hospital},
};
use sealdex_wire::{
    erasure::{AskStored, Stored},
    ingest::CloudStats,
    roster::Proofs,
};

async fn found(world: &World, kind: &str) -> BTreeSet<String> {
    let doc = Suite::parse(&format!(r#"{{"resource":"{kind}"}}"#), None).unwrap().queries.remove(0);
    world.session("ana").ask(&doc).await.unwrap().hits.into_iter().map(|h| h.identity).collect()
}

fn patient(world: &World, label: &str) -> Patient {
    Patient::new(label, world.owners[label].clone(), world.trusted(), &world.http).unwrap()
}

/// Records of a type about a patient at a hospital.
fn of(world: &World, hospital: usize, label: &str, kind: &str) -> BTreeSet<String> {
    let about = |r: &Record| matches!(world.schema.owner(&r.resource_type, &r.id, &r.json), Ok(RecordOwner::Patient(p)) if p == label);
    let records = world.records(&world.hospitals[hospital]);
    records.iter().filter(|r| r.resource_type == kind && about(r)).map(Record::identity).collect()
}

/// How many records about a patient a hospital has sealed to a section.
fn sealed_to(world: &World, hospital: usize, label: &str, section: &str) -> usize {
    let about = |r: &Record| matches!(world.schema.owner(&r.resource_type, &r.id, &r.json), Ok(RecordOwner::Patient(p)) if p == label);
    let within = |r: &Record| world.schema.sealed_to(&r.resource_type, &r.json).split('/').next() == Some(section);
    world.records(&world.hospitals[hospital]).iter().filter(|r| about(r) && within(r)).count()
}

fn log(world: &World) -> Option<DomainLog> {
    let trusted = world.trusted();
    let (ledger, cloud) = (trusted.roster.ledger.as_ref()?, &trusted.roster.clouds[0].url);
    Some(DomainLog::open(&world.http, &trusted.roster.domain, ledger, cloud, None).unwrap())
}

async fn end(world: &World, hospital: &Hospital) -> EraseReport {
    let trusted = world.trusted();
    let input = EraseInput {
        keys: &hospital.keys,
        trusted: &trusted,
        gate: world.gate(&hospital.keys),
        cloud: trusted.cloud(&world.http, Some(&hospital.keys)).unwrap(),
        journal: Journal::open(&hospital.dir.join("push.state/journal.redb")).unwrap(),
        log: log(world),
    };
    erase(input).await.unwrap()
}

async fn stats(world: &World) -> CloudStats {
    world.trusted().cloud(&world.http, Some(&world.hospitals[0].keys)).unwrap().get_json("/v1/stats").await.unwrap()
}

/// The status, once the log of acts has the orders.
async fn status(world: &World, patient: &Patient) -> ErasureStatus {
    for _ in 0..200 {
        // Until it has a checkpoint, the log is not there.
        let Ok(status) = patient.erasure_status(&world.http, None).await else {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            continue;
        };
        if status.orders.iter().all(|o| o.logged.as_ref().is_none_or(|l| !l.is_empty())) {
            return status;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("the order is not in the log of acts");
}

/// Somebody whose observations both hospitals have, if anybody; else the first's.
fn somebody(world: &World) -> String {
    let of = |label: &String, hospital| of(world, hospital, label, "Observation").len();
    let both = world.owners.keys().find(|l| of(l, 0) > 1 && of(l, 1) > 1);
    both.or_else(|| world.owners.keys().find(|l| of(l, 0) > 1)).expect("a patient with observations").clone()
}

async fn domain(home: &Path) -> World {
    let mut world = World::generated(home, 6, 2, &["ana"], Place::Process).await;
    world.watch(2, 1, Proofs::Gate).await;
    world.enrol_patients().await;
    world.grant_everything("ana").await;
    world.push_all().await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_patient_erases_is_gone_everywhere_and_proved_so() {
    let home = tempfile::tempdir().unwrap();
    let mut world = domain(home.path()).await;
    let label = somebody(&world);
    let theirs: Vec<BTreeSet<String>> = (0..2).map(|h| of(&world, h, &label, "Observation")).collect();
    let all: BTreeSet<String> = theirs.iter().flatten().cloned().collect();
    let (before, records) = (found(&world, "Observation").await, stats(&world).await.records);
    let conditions = found(&world, "Condition").await;
    assert!(all.is_subset(&before));
    let left: BTreeSet<String> = before.difference(&all).cloned().collect();

    // In force when it returns: nobody is given any of it, and everything else is as it was.
    let copied = world.owners[&label].clone();
    let mut person = patient(&world, &label);
    assert!(status(&world, &person).await.orders.is_empty());
    assert!(person.order_erasure(&["none".into()]).is_none());
    person.order_erasure(&["observations".into()]).expect("an order");
    assert!(person.erase().await.unwrap() > 0);
    assert_eq!(
        (found(&world, "Observation").await, found(&world, "Condition").await),
        (left.clone(), conditions.clone())
    );
    // The wallet has no key of it any more, still knows what it published, and opens everything else.
    let entry = person.entry().clone();
    let (old, new) = (copied.owner(), entry.owner());
    assert_eq!(old.section_key("observations", 0), new.section_key("observations", 0));
    assert_eq!(old.section_key("conditions", 0), new.section_key("conditions", 0));
    let text = serde_json::to_string(&entry).unwrap();
    assert!(!text.contains(&hex::encode(copied.root.0)), "the root is gone");
    let seeds = entry.kept.values().chain([&entry.root, &entry.seed]);
    let mut secrets = seeds.map(|s| SectionSecret::derive(&IdentitySeed::from_bytes(&s.0), "observations", 0).public());
    assert!(secrets.all(|key| key != old.section_key("observations", 0)), "nothing in it makes the key");
    // A grant that somebody makes with a copy of the keys is refused for good.
    let ana = world.readers["ana"].identity.public();
    let (gate, request) = (world.gate(&world.readers["ana"]), world.request(ana, "observations", "any"));
    let again = owner::grant_all(&gate, &[(&old, request)]).await;
    let refused = again.unwrap_err().to_string();
    assert!(refused.contains("was ordered to be erased"), "{refused}");

    // Found at the cloud and not ended yet: the status says so.
    let waiting = status(&world, &person).await;
    assert!(!waiting.is_done() && waiting.orders[0].in_force && waiting.alarms.is_empty());
    let sealed: Vec<usize> = (0..2).map(|h| sealed_to(&world, h, &label, "observations")).collect();
    let expected: usize = sealed.iter().sum();
    assert_eq!(waiting.records.len(), expected);
    assert!(waiting.records.iter().all(|r| r.stored && r.ended_by.is_none()));
    // One hospital by its own command, the other at the end of a push that has nothing to push.
    let done = end(&world, &world.hospitals[0]).await;
    assert_eq!((done.erased as usize, done.denied, done.unlogged), (sealed[0], 0, None));
    assert_eq!(status(&world, &person).await.is_done(), sealed[1] == 0);
    let pushed = world.push_logged(&world.hospitals[1], log(&world)).await.unwrap();
    assert_eq!((pushed.pushed, pushed.erasure.erased as usize), (0, sealed[1]));
    assert_eq!(pushed.erasure.unlogged, None);
    let done = status(&world, &person).await;
    assert!(done.is_done(), "{done:?}");
    // A wallet that was stopped before it destroyed its keys is not done, whatever the world has done.
    let mut stopped = Patient::new(&label, copied.clone(), world.trusted(), &world.http).unwrap();
    stopped.entry_mut().orders.clone_from(&person.entry().orders);
    let halfway = status(&world, &stopped).await;
    assert!(halfway.orders[0].in_force && !halfway.orders[0].destroyed && !halfway.is_done());
    assert!(done.records.iter().all(|r| r.ended_by.is_some() && !r.stored));
    assert_eq!(stats(&world).await.records as usize, records as usize - expected);
    assert_eq!(
        (found(&world, "Observation").await, end(&world, &world.hospitals[0]).await),
        (left.clone(), EraseReport::default())
    );

    // Pushed again, with a journal that knows nothing: what is erased is rejected, everything else goes on.
    std::fs::remove_dir_all(world.hospitals[0].dir.join("push.state")).unwrap();
    let again = world.push(&world.hospitals[0]).await.unwrap();
    assert_eq!(again.rejected as usize, sealed[0]);
    assert!(again.first_rejects[0].reason.contains("to be erased"), "{:?}", again.first_rejects[0]);
    assert_eq!((found(&world, "Observation").await, found(&world, "Condition").await), (left, conditions));

    // Everything of this patient; a wallet that was restored says the same again, and it comes to the same.
    person.sync().await.unwrap();
    assert!(!person.sections().any(|s| s == "observations"), "what was erased does not come back");
    person.order_erasure(&[]).expect("an order");
    person.erase().await.unwrap();
    assert_eq!(person.sections().count(), 0);
    for h in &world.hospitals {
        end(&world, h).await;
    }
    let done = status(&world, &person).await;
    assert!(done.is_done() && done.orders.len() == 2 && done.records.len() > expected);
    person.erase().await.unwrap();
    assert!(status(&world, &person).await.is_done());
    for kind in ["Observation", "Condition", "Encounter", "Patient"] {
        let gone: BTreeSet<String> = (0..2).flat_map(|h| of(&world, h, &label, kind)).collect();
        assert!(found(&world, kind).await.is_disjoint(&gone), "{kind}");
    }
    // Nobody but who knows the ids can ask for them, and the store is what was signed.
    let ids: Vec<u8> = done.records.iter().flat_map(|r| r.id.0).collect();
    let cloud = world.trusted().cloud(&world.http, None).unwrap();
    let stored: Stored = cloud.post_cbor("/v1/stored", &AskStored { ids }).await.unwrap();
    assert!(stored.ids.is_empty());
    world.servers.stop_cloud().await;
    let roster = &world.ceremony.roster;
    let dir = world.servers.cloud_dir();
    let verified = verify(&dir, &roster.domain, roster.clouds[0].id, &roster.authority, &mut |_, _| {}).unwrap();
    assert_eq!(verified.differences, Vec::<String>::new());
}

/// A cloud that denies having records ends nothing: the hospital goes on owing them, a gateway's writer included.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_cloud_denies_stays_owed_where_there_is_a_log() {
    let home = tempfile::tempdir().unwrap();
    let world = domain(home.path()).await;
    let (label, trusted, hospital) = (somebody(&world), world.trusted(), &world.hospitals[0]);
    let mut person = patient(&world, &label);
    person.order_erasure(&["observations".into()]).expect("an order");
    person.erase().await.unwrap();
    let port = trusted.roster.clouds[0].url.rsplit(':').next().unwrap().trim_end_matches('/').parse().unwrap();
    let liar = LyingCloud::start(port).await;
    liar.alters("/v1/versions", |answer: &mut Versions| {
        (answer.entries, answer.records) = (Vec::new(), Vec::new());
    });
    let (cloud, url) = (&trusted.roster.clouds[0], format!("http://127.0.0.1:{}", liar.port));
    let owed = sealed_to(&world, 0, &label, "observations");
    let lied_to =
        || Peer::new(world.http.clone(), &url, DOMAIN, cloud.id, Some(hospital.keys.identity.clone())).unwrap();
    let journal = || Journal::open(&hospital.dir.join("push.state/journal.redb")).unwrap();
    for with_log in [false, true] {
        let input = WriterInput {
            keys: &hospital.keys,
            trusted: &trusted,
            gate: world.gate(&hospital.keys),
            cloud: lied_to(),
            owners: hospital.dir.join("owners.ndjson"),
            journal: journal(),
            log: if with_log { log(&world) } else { None },
        };
        let report = Writer::open(input).unwrap().erase().await.unwrap();
        assert_eq!((report.erased, report.denied as usize), (0, owed), "with the log at hand: {with_log}");
    }
    // Where the log cannot be read, a push says so, and what it pushed is pushed.
    let ledger = trusted.roster.ledger.as_ref().unwrap();
    let input = PushInput {
        keys: &hospital.keys,
        trusted: &trusted,
        gate: world.gate(&hospital.keys),
        cloud: lied_to(),
        owners: OwnerMap::read(&hospital.dir.join("owners.ndjson")).unwrap(),
        log: Some(DomainLog::open(&world.http, DOMAIN, ledger, "http://127.0.0.1:1", None).unwrap()),
        journal: journal(),
        sources: Vec::new(),
        mapping: None,
        settings: PushSettings::default(),
        progress: Arc::default(),
    };
    let report = push(input).await.expect("a report");
    assert!(report.unerased.is_some(), "{report:?}");
    assert_eq!(end(&world, hospital).await.erased as usize, owed, "the gate has not forgotten");
}

/// At a gate of several nodes an order holds whichever nodes answer, and a node that was away learns of it.
#[tokio::test(flavor = "multi_thread")]
async fn every_node_of_a_gate_comes_to_the_same() {
    let home = tempfile::tempdir().unwrap();
    let mut world = World::shared(home.path(), 4, 2, &["ana"], Place::Process, (3, 2)).await;
    world.enrol_patients().await;
    world.grant_everything("ana").await;
    world.push_all().await;
    let label = somebody(&world);
    let all: BTreeSet<String> = (0..2).flat_map(|h| of(&world, h, &label, "Observation")).collect();
    let before = found(&world, "Observation").await;
    let left: BTreeSet<String> = before.difference(&all).cloned().collect();
    world.servers.stop_node(2).await;
    let copied: OwnerEntry = world.owners[&label].clone();
    let mut person = patient(&world, &label);
    person.order_erasure(&["observations".into()]).expect("an order");
    person.erase().await.unwrap();
    assert_eq!(found(&world, "Observation").await, left);
    world.servers.start_node(2).await;
    world.servers.stop_node(0).await;
    // The node that was away leads or takes part now.
    let mut answered = None;
    for _ in 0..200 {
        let doc = Suite::parse(r#"{"resource":"Observation"}"#, None).unwrap().queries.remove(0);
        if let Ok(answer) = world.session("ana").ask(&doc).await {
            answered = Some(answer.hits.into_iter().map(|h| h.identity).collect::<BTreeSet<_>>());
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert_eq!(answered, Some(left.clone()));
    let (ana, old) = (world.readers["ana"].identity.public(), copied.owner());
    let request = || world.request(ana, "observations", "any");
    let refused =
        owner::grant_all(&world.gate(&world.readers["ana"]), &[(&old, request())]).await.unwrap_err().to_string();
    assert!(refused.contains("was ordered to be erased"), "{refused}");
    world.servers.start_node(0).await;
    let mut erased = 0;
    for h in &world.hospitals {
        erased += end(&world, h).await.erased as usize;
    }
    let expected: usize = (0..2).map(|h| sealed_to(&world, h, &label, "observations")).sum();
    assert_eq!((erased, found(&world, "Observation").await), (expected, left));
    assert_eq!(world.trusted().roster.domain, DOMAIN);
    assert!(status(&world, &person).await.is_done());
}
