//! What a hospital deletes is gone: not stored, not found, not needed for a proof, and stated in the log.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test stops where it cannot go on

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use sealdex_cloud::verify::verify;
use sealdex_fhir::{QueryDoc, Suite};
use sealdex_ledger::versions::Versions;
use sealdex_lognet::DomainLog;
use sealdex_provider::{DeleteInput, DeleteReport, Journal, PushError, Removal, delete};
use sealdex_tests::{
    World,
    servers::{Place, free_port},
    tampering::LyingCloud,
    world::Hospital,
};
use sealdex_wire::{codec, ingest::CloudStats, roster::Proofs, search::CloudMatches};

fn log(world: &World) -> DomainLog {
    let trusted = world.trusted();
    let (ledger, cloud) = (trusted.roster.ledger.as_ref().unwrap(), &trusted.roster.clouds[0].url);
    DomainLog::open(&world.http, &trusted.roster.domain, ledger, cloud, None).unwrap()
}

async fn remove(world: &World, hospital: &Hospital, records: &[String]) -> Result<DeleteReport, PushError> {
    let trusted = world.trusted();
    let input = DeleteInput {
        keys: &hospital.keys,
        trusted: &trusted,
        gate: world.gate(&hospital.keys),
        cloud: trusted.cloud(&world.http, Some(&hospital.keys)).unwrap(),
        journal: Journal::open(&hospital.dir.join("push.state/journal.redb"))?,
        log: Some(log(world)),
        records: records.to_vec(),
    };
    delete(input).await
}

fn doc(text: &str) -> QueryDoc {
    Suite::parse(text, None).unwrap().queries.remove(0)
}

/// Identities that the reader finds, and whether that is proved complete.
async fn found(world: &World, question: &QueryDoc) -> (Vec<String>, bool) {
    let answer = world.session("ana").ask(question).await.unwrap();
    let complete = answer.proved.is_some_and(|p| p.unproved.is_empty());
    (answer.hits.into_iter().map(|h| h.identity).collect(), complete)
}

/// Those who are women: a term, so that the answer is proved.
fn women() -> QueryDoc {
    doc(r#"{"resource":"Patient","filters":[{"field":"gender","op":"eq","value":"female"}]}"#)
}

async fn domain(home: &std::path::Path) -> (World, LyingCloud) {
    let data = sealdex_tests::world::generate(home, 8, 2);
    let (gate, cloud) = (free_port(), free_port());
    let liar = LyingCloud::start(cloud).await;
    let ports = Some([gate, liar.port]);
    let mut world = World::found(home, &data, &["ana"], Place::Process, [gate, cloud], ports).await;
    world.watch(2, 1, Proofs::Gate).await;
    world.enrol_patients().await;
    world.grant_everything("ana").await;
    world.push_all().await;
    (world, liar)
}

async fn stats(world: &World) -> CloudStats {
    world.trusted().cloud(&world.http, Some(&world.hospitals[0].keys)).unwrap().get_json("/v1/stats").await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_hospital_deletes_is_gone_and_proved_so() {
    let home = tempfile::tempdir().unwrap();
    let (mut world, liar) = domain(home.path()).await;
    let (mut all, complete) = found(&world, &women()).await;
    assert!(all.len() > 1 && complete);
    let before = stats(&world).await;
    // Patients that this hospital alone has: a hospital deletes its own.
    let of = |h: &Hospital| world.records(h).iter().map(sealdex_fhir::Record::identity).collect::<Vec<_>>();
    let (own, others) = (of(&world.hospitals[0]), of(&world.hospitals[1]));
    let gone = all.iter().find(|p| own.contains(p) && !others.contains(p)).expect("a woman of the first only").clone();
    let kept = liar.keeps();
    found(&world, &women()).await;
    liar.is_honest();

    let report =
        remove(&world, &world.hospitals[0], &[gone.clone(), "Patient/nobody".into(), gone.clone()]).await.unwrap();
    assert_eq!(report.records, [(gone.clone(), Removal::Deleted), ("Patient/nobody".into(), Removal::Absent)]);
    assert_eq!((report.places.len(), report.unlogged), (1, None));
    all.retain(|p| *p != gone);
    assert_eq!(found(&world, &women()).await, (all.clone(), true));
    assert_eq!(world.session("ana").read(std::slice::from_ref(&gone)).await.unwrap().len(), 0);
    let after = stats(&world).await;
    assert_eq!((after.records, after.batches), (before.records - 1, before.batches + 1));
    // The log says that exactly one record ended, by this hospital's word.
    let mut log = log(&world);
    log.reach(report.places[0], &world.trusted(), Duration::from_secs(10)).await.unwrap();
    let batch = log.view().batch(report.places[0]).unwrap();
    assert_eq!((batch.provider, batch.records, batch.pairs), (world.hospitals[0].keys.identity.id(), 0, 0));

    // Once more: nothing is there, and nothing is stated.
    let again = remove(&world, &world.hospitals[0], std::slice::from_ref(&gone)).await.unwrap();
    assert_eq!((again.records, again.places), (vec![(gone.clone(), Removal::Absent)], vec![]));
    // What an earlier run deleted may not be in force yet: whoever finds nothing to delete waits for that, too.
    let asked = Arc::new(AtomicU32::new(0));
    let times = asked.clone();
    liar.says(move |path, _, answer| {
        let mut said: CloudStats = (path == "/v1/stats").then(|| codec::from_json(answer).ok()).flatten()?;
        if times.fetch_add(1, Ordering::Relaxed) < 4 {
            said.indexed = said.accepted - 1;
        }
        Some(codec::to_json(&said).into())
    });
    let again = remove(&world, &world.hospitals[0], std::slice::from_ref(&gone)).await.unwrap();
    assert_eq!((again.records, again.places), (vec![(gone.clone(), Removal::Absent)], vec![]));
    assert_eq!(asked.load(Ordering::Relaxed), 5, "until the cloud says that all is searchable");
    liar.is_honest();
    // Another hospital's records are not this one's to delete, whatever it names.
    let theirs = others.iter().find(|r| !own.contains(r)).unwrap().clone();
    let foreign = remove(&world, &world.hospitals[0], std::slice::from_ref(&theirs)).await.unwrap();
    assert_eq!(foreign.records, [(theirs, Removal::Absent)]);
    assert_eq!(stats(&world).await.records, after.records);

    // A cloud that goes on serving what was deleted is found out.
    let old = kept.lock().unwrap().clone();
    liar.says(move |path, _, _| old.iter().find(|(p, _)| p == path && path == "/v1/search").map(|(_, a)| a.clone()));
    let error = world.session("ana").ask(&women()).await.map(|a| a.hits.len()).expect_err("it hides the deletion");
    assert!(error.to_string().contains("the cloud hides its newest batches"), "{error}");
    liar.is_honest();

    // Pushed again it is a new record.
    let pushed = world.push(&world.hospitals[0]).await.unwrap();
    assert_eq!((pushed.pushed, pushed.replaced), (1, 0));
    all.push(gone.clone());
    all.sort();
    let mut now = found(&world, &women()).await;
    now.0.sort();
    assert_eq!(now, (all, true));
    // All at once: an answer over nothing of this hospital is proved, too.
    let report = remove(&world, &world.hospitals[0], &own).await.unwrap();
    assert!(report.records.iter().all(|(_, r)| *r == Removal::Deleted));
    let (mut left, complete) = found(&world, &women()).await;
    left.retain(|p| !others.contains(p));
    assert_eq!((left.len(), complete), (0, true));
    world.servers.stop_cloud().await;
    let roster = &world.ceremony.roster;
    let dir = world.servers.cloud_dir();
    let verified = verify(&dir, &roster.domain, roster.clouds[0].id, &roster.authority, &mut |_, _| {}).unwrap();
    assert_eq!(verified.differences, Vec::<String>::new());
}

/// A cloud cannot have a provider believe that other records are meant, and what it denies having is told.
#[tokio::test(flavor = "multi_thread")]
async fn a_cloud_that_lies_about_what_is_deleted_is_found_out() {
    let home = tempfile::tempdir().unwrap();
    let (world, liar) = domain(home.path()).await;
    let own: Vec<String> = world.records(&world.hospitals[0]).iter().map(sealdex_fhir::Record::identity).collect();
    // It names another record of the hospital than the one meant.
    let kept = liar.keeps();
    remove(&world, &world.hospitals[0], &own[..1]).await.unwrap();
    liar.is_honest();
    let old = kept.lock().unwrap().clone();
    let (_, answer) = old.iter().find(|(p, _)| p == "/v1/versions").unwrap().clone();
    let other: Versions = sealdex_wire::codec::from_cbor(&answer).unwrap();
    liar.alters::<Versions>("/v1/versions", move |said| {
        said.entries.clone_from(&other.entries);
        said.records.clone_from(&other.records);
    });
    let error = remove(&world, &world.hospitals[0], &own[1..2]).await.expect_err("another record");
    assert!(error.to_string().contains("which has another origin"), "{error}");
    // It denies having it: the journal knows better.
    liar.alters::<Versions>("/v1/versions", |said| {
        said.entries.clear();
        said.records.clear();
    });
    let report = remove(&world, &world.hospitals[0], &own[2..3]).await.unwrap();
    assert_eq!(report.records[0].1, Removal::Denied);
    liar.is_honest();
    assert_eq!(remove(&world, &world.hospitals[0], &own[1..3]).await.unwrap().places.len(), 1);
    // It goes on finding what was deleted: the reader's proof has no such match.
    let question = women();
    let honest = found(&world, &question).await.0;
    let woman = honest.iter().find(|p| own.contains(p)).expect("one of this hospital").clone();
    let shown = liar.keeps();
    found(&world, &question).await;
    liar.is_honest();
    remove(&world, &world.hospitals[0], &[woman]).await.unwrap();
    let old = shown.lock().unwrap().clone();
    let (_, answer) = old.iter().find(|(p, _)| p == "/v1/search").unwrap().clone();
    let before: CloudMatches = sealdex_wire::codec::from_cbor(&answer).unwrap();
    liar.alters::<CloudMatches>("/v1/search", move |page| {
        page.matches.clone_from(&before.matches);
        page.providers.clone_from(&before.providers);
    });
    let error = world.session("ana").ask(&question).await.map(|a| a.hits.len()).expect_err("it shows a deleted record");
    assert!(error.to_string().contains("a later batch replaced or deleted it"), "{error}");
}

/// How often a needle is in the files of a folder.
fn occurrences(dir: &std::path::Path, needle: &[u8]) -> usize {
    let mut count = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            count += occurrences(&path, needle);
        } else {
            let bytes = std::fs::read(&path).unwrap();
            count += memchr(&bytes, needle);
        }
    }
    count
}

fn memchr(bytes: &[u8], needle: &[u8]) -> usize {
    let first = |from: usize| bytes[from..].iter().position(|b| *b == needle[0]).map(|at| from + at);
    let (mut from, mut count) = (0, 0);
    while let Some(at) = first(from) {
        count += usize::from(bytes[at..].starts_with(needle));
        from = at + 1;
    }
    count
}

/// Bytes of what was deleted stay in pages that the store uses again some day. Once it is compacted, nothing of them is
/// left in the folder, as far as samples of sealed bytes and routing tags tell.
#[tokio::test(flavor = "multi_thread")]
async fn after_compaction_no_byte_of_what_was_deleted_is_left() {
    use redb::{ReadableDatabase, ReadableTable, TableDefinition};
    type Id = &'static [u8; 16];
    const SEALED: TableDefinition<Id, &[u8]> = TableDefinition::new("sealed");
    const RECORDS: TableDefinition<Id, &[u8]> = TableDefinition::new("records");
    let home = tempfile::tempdir().unwrap();
    let (mut world, _liar) = domain(home.path()).await;
    world.servers.stop_cloud().await;
    let dir = world.servers.cloud_dir();
    let rows: Vec<(Vec<u8>, Vec<u8>)> = {
        let db = redb::Database::open(dir.join("store.redb")).unwrap();
        let read = db.begin_read().unwrap();
        let (sealed, records) = (read.open_table(SEALED).unwrap(), read.open_table(RECORDS).unwrap());
        let own = world.hospitals[0].keys.identity.id().0;
        let mut rows = Vec::new();
        for row in sealed.iter().unwrap() {
            let (id, bytes) = row.unwrap();
            let record = records.get(id.value()).unwrap().unwrap().value().to_vec();
            if record[..16] == own {
                let tag = usize::from(u16::from_be_bytes([record[56], record[57]]));
                rows.push((bytes.value().to_vec(), record[58..58 + tag].to_vec()));
            }
        }
        rows
    };
    assert!(rows.len() > 50);
    // Pieces, as a long row lies over several pages.
    let pieces: Vec<&[u8]> = rows.iter().step_by(9).flat_map(|(sealed, tag)| [&sealed[..48], &tag[..48]]).collect();
    assert!(pieces.iter().all(|p| occurrences(&dir, p) > 0));
    world.servers.start_cloud().await;
    let own: Vec<String> = world.records(&world.hospitals[0]).iter().map(sealdex_fhir::Record::identity).collect();
    remove(&world, &world.hospitals[0], &own).await.unwrap();
    let before = found(&world, &women()).await;
    let stored = stats(&world).await;
    world.servers.stop_cloud().await;
    assert!(pieces.iter().any(|p| occurrences(&dir, p) > 0), "the store lets go of bytes by itself: drop compaction");
    let done = sealdex_cloud::compact(&dir).unwrap().unwrap();
    assert!(done.after < done.before, "{done:?}");
    for piece in &pieces {
        assert_eq!(occurrences(&dir, piece), 0);
    }
    // Everything else is as it was, and proved.
    let roster = &world.ceremony.roster;
    world.servers.start_cloud().await;
    let after = loop {
        if let Ok(answer) = world.session("ana").ask(&women()).await {
            break (
                answer.hits.into_iter().map(|h| h.identity).collect::<Vec<_>>(),
                answer.proved.is_some_and(|p| p.unproved.is_empty()),
            );
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!((after, stats(&world).await.records), (before, stored.records));
    world.servers.stop_cloud().await;
    let verified = verify(&dir, &roster.domain, roster.clouds[0].id, &roster.authority, &mut |_, _| {}).unwrap();
    assert_eq!(verified.differences, Vec::<String>::new());
    assert_eq!(sealdex_cloud::compact(&dir.join("none")).unwrap(), None);
}
