//! A cloud's data folder checked against its log: what was altered behind the cloud's back is named.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test stops where it cannot go on

use std::path::Path;

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use sealdex_cloud::verify::{Verified, verify};
use sealdex_tests::{World, servers::Place};
use sealdex_wire::roster::Proofs;

type Id = &'static [u8; 16];
const RECORDS: TableDefinition<Id, &[u8]> = TableDefinition::new("records");
const SEALED: TableDefinition<Id, &[u8]> = TableDefinition::new("sealed");
const ENTRIES: TableDefinition<u64, &[u8]> = TableDefinition::new("entries");
const PROOFS: TableDefinition<(u64, u8, u32), &[u8]> = TableDefinition::new("proofs");

/// A domain that was pushed to, twice by one hospital, and whose cloud has stopped.
async fn pushed(home: &Path) -> World {
    let mut world = World::generated(home, 6, 2, &["ana"], Place::Process).await;
    world.watch(2, 1, Proofs::Gate).await;
    world.enrol_patients().await;
    world.push_all().await;
    std::fs::remove_dir_all(world.hospitals[0].dir.join("push.state")).unwrap();
    assert!(world.push(&world.hospitals[0]).await.unwrap().replaced > 0);
    // Until all of it is served.
    let trusted = world.trusted();
    let (ledger, cloud) = (trusted.roster.ledger.as_ref().unwrap(), &trusted.roster.clouds[0].url);
    let mut log = sealdex_lognet::DomainLog::open(&world.http, &trusted.roster.domain, ledger, cloud, None).unwrap();
    log.reach(3, &trusted, std::time::Duration::from_secs(20)).await.unwrap();
    world.servers.stop_cloud().await;
    world
}

fn check(world: &World) -> Verified {
    let roster = &world.ceremony.roster;
    let mut seen = 0;
    let found =
        verify(&world.servers.cloud_dir(), &roster.domain, roster.clouds[0].id, &roster.authority, &mut |done, _| {
            seen = done;
        });
    let found = found.unwrap();
    assert!(seen > 0 || found.count > 0);
    found
}

/// Alters the store, and puts it back after looking.
fn altered(world: &World, alter: impl FnOnce(&Database)) -> Vec<String> {
    let store = world.servers.cloud_dir().join("store.redb");
    let kept = std::fs::read(&store).unwrap();
    alter(&Database::open(&store).unwrap());
    let found = check(world);
    assert_eq!(found.count as usize, found.differences.len());
    std::fs::write(&store, kept).unwrap();
    found.differences
}

fn first(db: &Database, table: TableDefinition<Id, &[u8]>) -> ([u8; 16], Vec<u8>) {
    let read = db.begin_read().unwrap();
    let table = read.open_table(table).unwrap();
    let (id, row) = table.first().unwrap().unwrap();
    (*id.value(), row.value().to_vec())
}

fn put(db: &Database, table: TableDefinition<Id, &[u8]>, id: [u8; 16], row: Option<&[u8]>) {
    let write = db.begin_write().unwrap();
    {
        let mut table = write.open_table(table).unwrap();
        match row {
            Some(row) => drop(table.insert(&id, row).unwrap()),
            None => drop(table.remove(&id).unwrap()),
        }
    }
    write.commit().unwrap();
}

/// Exactly one difference, which says this.
fn only(differences: &[String], says: &str) {
    assert!(differences.len() == 1 && differences[0].contains(says), "expected \"{says}\": {differences:#?}");
}

fn some(differences: &[String], says: &str) {
    assert!(differences.iter().any(|d| d.contains(says)), "expected \"{says}\": {differences:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_difference_is_named() {
    let home = tempfile::tempdir().unwrap();
    let world = pushed(home.path()).await;
    let whole = check(&world);
    assert_eq!((whole.differences, whole.count), (vec![], 0));
    assert_eq!((whole.batches, whole.witnessed, whole.witnesses.len()), (3, 3, 2));
    assert!(whole.records > 100 && whole.pairs > whole.indexed && whole.indexed > whole.records);

    let differences = altered(&world, |db| {
        let (id, mut row) = first(db, SEALED);
        row[20] ^= 1;
        put(db, SEALED, id, Some(&row));
    });
    only(&differences, "its sealed bytes are not what was signed");

    // Terms are behind provider, hospital, origin, place and tag; the row ends with place and hash.
    let differences = altered(&world, |db| {
        let (id, mut row) = first(db, RECORDS);
        let at = row.len() - 40;
        row[at] ^= 1;
        put(db, RECORDS, id, Some(&row));
    });
    only(&differences, "its index entries are not what was signed");
    let differences = altered(&world, |db| {
        let (id, mut row) = first(db, RECORDS);
        row[70] ^= 1;
        put(db, RECORDS, id, Some(&row));
    });
    only(&differences, "its routing tag or origin are not what was signed");

    let differences = altered(&world, |db| {
        let (id, _) = first(db, RECORDS);
        put(db, RECORDS, id, None);
        put(db, SEALED, id, None);
    });
    some(&differences, "is missing from the store");

    // A record that nobody pushed.
    let differences = altered(&world, |db| {
        let (mut id, row) = first(db, RECORDS);
        id[15] ^= 1;
        put(db, RECORDS, id, Some(&row));
    });
    some(&differences, "live records, and the batches of the log have");

    for (part, says) in [
        (0, "the index entries of batch"),
        (1, "nodes of the tree over the index entries"),
        (2, "the hashes of the records of batch"),
    ] {
        let differences = altered(&world, |db| {
            let write = db.begin_write().unwrap();
            {
                let mut table = write.open_table(PROOFS).unwrap();
                let mut row = table.get((1, part, 0)).unwrap().unwrap().value().to_vec();
                row[5] ^= 1;
                table.insert((1, part, 0), row.as_slice()).unwrap();
            }
            write.commit().unwrap();
        });
        some(&differences, says);
    }

    let differences = altered(&world, |db| {
        let write = db.begin_write().unwrap();
        {
            let mut table = write.open_table(ENTRIES).unwrap();
            let mut row = table.get(2).unwrap().unwrap().value().to_vec();
            row[60] ^= 1;
            table.insert(2, row.as_slice()).unwrap();
        }
        write.commit().unwrap();
    });
    some(&differences, "the statement of batch 2 in the store is not the entry of the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_or_index_that_was_altered_is_named() {
    let home = tempfile::tempdir().unwrap();
    let world = pushed(home.path()).await;
    let log = world.servers.cloud_dir().join("log/batches");
    let bundle = log.join("tile/entries/000.p/3");
    let kept = std::fs::read(&bundle).unwrap();
    let mut bent = kept.clone();
    bent[100] ^= 1;
    std::fs::write(&bundle, &bent).unwrap();
    let found = check(&world).differences;
    some(&found, "do not lead to the root");
    some(&found, "the statement of batch 1 in the store is not the entry of the log");
    std::fs::write(&bundle, &kept).unwrap();

    let checkpoint = log.join("checkpoint");
    let kept = std::fs::read_to_string(&checkpoint).unwrap();
    let alone: String = kept.lines().filter(|l| !l.contains("test/w")).map(|l| format!("{l}\n")).collect();
    std::fs::write(&checkpoint, alone).unwrap();
    some(&check(&world).differences, "served checkpoint (3 entries) is not believed");
    std::fs::write(&checkpoint, &kept).unwrap();

    // The index of the batches before the last: it finds what was replaced, and not what replaced it.
    assert_eq!(check(&world).count, 0);
    let index = world.servers.cloud_dir().join("index");
    let segment = std::fs::read_dir(&index)
        .unwrap()
        .map(|e| e.unwrap().path())
        .find(|p| p.extension().is_some_and(|e| e == "idx"));
    let segment = segment.unwrap();
    let mut bytes = std::fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    some(&check(&world).differences, "the search index cannot be used");
}
