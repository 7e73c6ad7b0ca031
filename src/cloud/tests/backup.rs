//! Backups against the reference store: every point that can be restored is what it was, whole.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

mod support;

use std::{collections::BTreeMap, path::Path, sync::Arc};

use sealdex_cloud::{
    backup::{
        Backup, BackupError,
        restore::{Point, check, restore, resume},
    },
    store::{MemoryStore, NewBatch, RedbStore, Refused, RosterStore, SealedStore, StoredRecord},
};
use sealdex_crypto::{BatchId, PrincipalId};
use support::*;

const CLOUD: PrincipalId = PrincipalId([9; 16]);

/// Everything a store answers by.
#[derive(Clone, Debug, PartialEq)]
struct State {
    last: u64,
    records: BTreeMap<[u8; 16], (StoredRecord, Vec<u8>)>,
    totals: (u64, u64, u64, Vec<(PrincipalId, u64)>),
}

fn state(store: &dyn SealedStore) -> State {
    let (snapshot, totals) = (store.snapshot().unwrap(), store.totals().unwrap());
    let ids = snapshot.ids(None, usize::MAX).unwrap();
    let sealed = snapshot.sealed(&ids, usize::MAX).unwrap();
    let record = |id| snapshot.record(id).unwrap().unwrap();
    let records = ids.iter().zip(sealed).map(|(id, sealed)| (id.0, (record(*id), sealed.unwrap()))).collect();
    let totals = (totals.records, totals.batches, totals.sealed_bytes, totals.providers);
    State { last: snapshot.last_seq(), records, totals }
}

fn numbered(n: u64, records: Vec<sealdex_wire::ingest::UploadRecord>) -> NewBatch {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&n.to_be_bytes());
    let p = 1 + (n % 3) as u8;
    NewBatch { batch: BatchId(id), provider: provider(p), body_sha256: [n as u8; 32], ..batch(0, records) }
}

/// Pushes random batches, most of which replace, with a backup after each of them.
fn pushed(dir: &Path, n: u64, keep: usize) -> (Arc<RedbStore>, Backup, Vec<State>, Vec<NewBatch>) {
    let store = Arc::new(RedbStore::open(&dir.join("store.redb")).unwrap());
    let memory = MemoryStore::default();
    let backup = Backup::open(store.clone(), CLOUD, &dir.join("backups"), keep).unwrap();
    let (mut rng, mut next, mut states, mut batches) = (rng(7), 0, vec![state(&memory)], Vec::new());
    for i in 1..=n {
        let batch = numbered(i, random_records(&mut rng, &mut next, 6, 40));
        push(&*store, batch.clone());
        push(&memory, batch.clone());
        let taken = backup.take().unwrap().expect("something new");
        assert_eq!((taken.batches, taken.base), (1, i == 1));
        assert_eq!(backup.take().unwrap(), None, "nothing new");
        states.push(state(&memory));
        batches.push(batch);
        backup.renew().unwrap();
    }
    (store, backup, states, batches)
}

#[test]
fn every_batch_can_be_restored_over_bases_and_parts() {
    let dir = tempfile::tempdir().unwrap();
    let (.., states, batches) = pushed(dir.path(), 40, 9);
    let checked = check(&dir.path().join("backups"), &mut |_, _| {}).unwrap();
    assert!(checked.damaged.is_empty());
    let bases = checked.parts.iter().filter(|p| p.header.part == 0).count();
    assert!(bases >= 2 && checked.parts.len() > 40, "{bases} bases");
    for (n, expected) in states.iter().enumerate().skip(1) {
        let to = dir.path().join(format!("at-{n}"));
        let made = restore(&dir.path().join("backups"), &to, Point::Batch(n as u64)).unwrap();
        assert_eq!((made.restored.batch, made.restored.cut), (n as u64, n != 40), "batch {n}");
        let store = RedbStore::open(&to.join("store.redb")).unwrap();
        assert_eq!(&state(&store), expected, "batch {n}");
        // It knows what it has accepted, and refuses what is another's.
        assert!(push(&store, batches[n - 1].clone()).duplicate);
        let reused = NewBatch { body_sha256: [0xee; 32], ..batches[n - 1].clone() };
        assert_eq!(store.accept(&[reused]).unwrap().remove(0), Err(Refused::BatchReused(batches[n - 1].batch)));
        assert_eq!(push(&store, numbered(99, vec![record(9999, 9999, &[])])).seq, n as u64 + 1);
    }
    for point in [Point::Batch(0), Point::Batch(41), Point::At(5)] {
        let refused = restore(&dir.path().join("backups"), &dir.path().join("none"), point);
        assert!(matches!(refused, Err(BackupError::Point { .. })), "{refused:?}");
    }
}

#[test]
fn old_chains_go_and_a_chain_is_gone_on_with() {
    let dir = tempfile::tempdir().unwrap();
    let (store, backup, ..) = pushed(dir.path(), 60, 1);
    let folder = dir.path().join("backups");
    let checked = check(&folder, &mut |_, _| {}).unwrap();
    let chain = checked.parts[0].header.chain;
    assert!(chain > 1 && checked.parts.iter().all(|p| p.header.chain == chain), "one is kept");
    // Goes on after a restart, in the same chain.
    drop(backup);
    let backup = Backup::open(store.clone(), CLOUD, &folder, 1).unwrap();
    push(&*store, numbered(77, vec![record(9999, 9999, &[])]));
    assert!(!backup.take().unwrap().expect("something").base);
}

/// A process that died after it wrote a new base, while parts went on in the chain before.
#[test]
fn a_base_without_parts_does_not_hide_what_came_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let (store, backup, ..) = pushed(dir.path(), 2, 9);
    let folder = dir.path().join("backups");
    let base = (3..200).find_map(|n| {
        push(&*store, numbered(n, vec![record(10_000 + n, 10_000 + n, &[])]));
        backup.take().unwrap();
        let copy = dir.path().join(format!("copy-{n}"));
        std::fs::create_dir(&copy).unwrap();
        for file in std::fs::read_dir(&folder).unwrap().map(|f| f.unwrap().path()) {
            std::fs::copy(&file, copy.join(file.file_name().unwrap())).unwrap();
        }
        let renewed = Backup::open(store.clone(), CLOUD, &copy, 9).unwrap().renew().unwrap();
        renewed.map(|taken| (n, taken.path))
    });
    let (n, base) = base.expect("a base in the end");
    std::fs::copy(&base, folder.join(base.file_name().unwrap())).unwrap();
    push(&*store, numbered(500, vec![record(9999, 9999, &[])]));
    assert!(!backup.take().unwrap().unwrap().base);
    let last = check(&folder, &mut |_, _| {}).unwrap().parts.pop().unwrap();
    assert_eq!((last.header.part, last.header.to.0), (0, n), "by name the base is the last");
    let newest = restore(&folder, &dir.path().join("newest"), Point::Newest).unwrap();
    assert_eq!((newest.restored.batch, newest.restored.cut), (n + 1, false));
    // The next start goes on, whichever it goes on with, and has everything.
    drop(backup);
    Backup::open(store.clone(), CLOUD, &folder, 9).unwrap().take().unwrap();
    let again = restore(&folder, &dir.path().join("again"), Point::Newest).unwrap();
    assert_eq!((again.restored.batch, again.records), (n + 1, store.totals().unwrap().records));
}

/// Parts that were taken while a base was being written are points of their own, though the newest chain has all of them
/// in one.
#[test]
fn points_beside_a_new_base_are_found_in_the_chain_before() {
    let dir = tempfile::tempdir().unwrap();
    let (store, backup, ..) = pushed(dir.path(), 2, 9);
    let (folder, copy) = (dir.path().join("backups"), dir.path().join("copy"));
    for n in 3..20 {
        push(&*store, numbered(n, vec![record(10_000 + n, 10_000 + n, &[])]));
        backup.take().unwrap();
    }
    std::fs::create_dir(&copy).unwrap();
    for file in std::fs::read_dir(&folder).unwrap().map(|f| f.unwrap().path()) {
        std::fs::copy(&file, copy.join(file.file_name().unwrap())).unwrap();
    }
    let base = Backup::open(store.clone(), CLOUD, &copy, 9).unwrap().renew().unwrap().expect("a base");
    // Meanwhile: each batch replaces what the one before brought.
    for n in 20..24 {
        std::thread::sleep(std::time::Duration::from_millis(5));
        push(&*store, numbered(n, vec![record(20_000 + n, 20_000, &[])]));
        backup.take().unwrap();
    }
    let parts = check(&folder, &mut |_, _| {}).unwrap().parts;
    let taken = |batch| parts.iter().find(|p| p.header.to.0 == batch).unwrap().header.taken_at;
    let times: Vec<(u64, u64)> = (20..24).map(|n| (n, taken(n))).collect();
    std::fs::copy(&base.path, folder.join(base.path.file_name().unwrap())).unwrap();
    drop(backup);
    let again = Backup::open(store.clone(), CLOUD, &folder, 9).unwrap();
    push(&*store, numbered(24, vec![record(20_024, 20_000, &[])]));
    let part = again.take().unwrap().unwrap();
    assert_eq!((part.base, part.batches), (false, 5), "one part has everything since the base");
    for (n, at) in times {
        for (what, point) in [("batch", Point::Batch(n)), ("at", Point::At(at))] {
            let made = restore(&folder, &dir.path().join(format!("{what}-{n}")), point).unwrap();
            assert_eq!((made.restored.batch, made.restored.cut), (n, true), "{what} {n}");
        }
    }
    assert_eq!(restore(&folder, &dir.path().join("newest"), Point::Newest).unwrap().restored.batch, 24);
}

/// One damaged file must not keep a disk filling up.
#[test]
fn a_damaged_file_does_not_keep_old_chains() {
    let dir = tempfile::tempdir().unwrap();
    let (store, backup, ..) = pushed(dir.path(), 3, 1);
    let folder = dir.path().join("backups");
    let first = check(&folder, &mut |_, _| {}).unwrap().parts.remove(0).path;
    std::fs::write(&first, "damaged").unwrap();
    for n in 4..60 {
        push(&*store, numbered(n, vec![record(10_000 + n, 10_000 + n, &[])]));
        backup.take().unwrap();
        if backup.renew().unwrap().is_some() {
            assert!(!first.exists(), "the old chain is gone, the damaged file too");
            return;
        }
    }
    panic!("no new base");
}

#[test]
fn another_store_or_an_older_one_does_not_go_on_with_a_backup() {
    let dir = tempfile::tempdir().unwrap();
    let (store, backup, ..) = pushed(dir.path(), 3, 2);
    let folder = dir.path().join("backups");
    drop(backup);
    let other = Backup::open(store.clone(), PrincipalId([8; 16]), &folder, 2);
    assert!(matches!(other, Err(BackupError::OtherCloud { .. })));
    // A copy of the file from before: the folder knows better.
    drop(store);
    std::fs::copy(dir.path().join("store.redb"), dir.path().join("copy.redb")).unwrap();
    let store = Arc::new(RedbStore::open(&dir.path().join("store.redb")).unwrap());
    push(&*store, numbered(50, vec![record(7777, 7777, &[])]));
    Backup::open(store, CLOUD, &folder, 2).unwrap().take().unwrap();
    let copy = Arc::new(RedbStore::open(&dir.path().join("copy.redb")).unwrap());
    let ahead = Backup::open(copy, CLOUD, &folder, 2);
    assert!(matches!(ahead, Err(BackupError::Ahead { backup: 4, store: 3, .. })));
    // A restored one is another store: it begins with a base, and is in no log before it is resumed.
    let to = dir.path().join("new");
    assert_eq!(restore(&folder, &to, Point::Newest).unwrap().restored.batch, 4);
    let restored = RedbStore::open(&to.join("store.redb")).unwrap();
    restored.put_roster(b"a roster").unwrap();
    assert_eq!(restored.restored().unwrap().map(|r| (r.batch, r.cut)), Some((4, false)));
    drop(restored);
    assert!(matches!(resume(&to, 3, |_| true), Err(BackupError::OtherPoint { is: 4 })));
    resume(&to, 4, |_| true).unwrap();
    assert!(matches!(resume(&to, 4, |_| true), Err(BackupError::NotRestored(_))));
    let restored = Arc::new(RedbStore::open(&to.join("store.redb")).unwrap());
    let backup = Backup::open(restored, CLOUD, &folder, 2).unwrap();
    assert!(backup.take().unwrap().expect("a base").base);
    // Cut short, in a domain with a log, it is to look at; without one it may go on.
    let cut = dir.path().join("cut");
    restore(&folder, &cut, Point::Batch(2)).unwrap();
    RedbStore::open(&cut.join("store.redb")).unwrap().put_roster(b"a roster").unwrap();
    assert!(matches!(resume(&cut, 2, |_| true), Err(BackupError::ForInspection(2))));
    resume(&cut, 2, |_| false).unwrap();
}

#[test]
fn a_table_that_backups_do_not_know_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    drop(RedbStore::open(&path).unwrap());
    let db = redb::Database::create(&path).unwrap();
    let tx = db.begin_write().unwrap();
    tx.open_table(redb::TableDefinition::<u64, u64>::new("new_table")).unwrap();
    tx.commit().unwrap();
    drop(db);
    let store = Arc::new(RedbStore::open(&path).unwrap());
    let refused = Backup::open(store, CLOUD, &dir.path().join("b"), 1).unwrap().take();
    assert!(refused.unwrap_err().to_string().contains("\"new_table\""));
    assert_eq!(std::fs::read_dir(dir.path().join("b")).unwrap().count(), 0, "nothing of it stays");
}

/// What backups take, on this machine. Prints; run with `--release -- --ignored --nocapture`.
#[test]
#[ignore = "prints what backups take; asserts nothing of it, and takes minutes"]
#[allow(clippy::print_stdout)]
fn what_it_costs() {
    const BATCHES: u64 = 100;
    const RECORDS: u64 = 1000;
    let batch_of = |n: u64| {
        let records = (0..RECORDS).map(|i| {
            let id = n * RECORDS + i;
            let terms: Vec<_> = (0..25).map(|t| term(id * 25 + t)).collect();
            sealdex_wire::ingest::UploadRecord { sealed: vec![7; 1024], ..record(id, id, &terms) }
        });
        numbered(n, records.collect())
    };
    let time = |first: bool| {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(RedbStore::open(&dir.path().join("store.redb")).unwrap());
        let backup = Backup::open(store.clone(), CLOUD, &dir.path().join("backups"), 2).unwrap();
        let (mut stored, mut backed) = (0.0, 0.0);
        for n in 1..=BATCHES {
            let batch = batch_of(n);
            let began = std::time::Instant::now();
            push(&*store, batch);
            stored += began.elapsed().as_secs_f64();
            let began = std::time::Instant::now();
            if first {
                backup.take().unwrap();
            }
            backed += began.elapsed().as_secs_f64();
        }
        let began = std::time::Instant::now();
        let bytes: u64 = if first {
            let files = std::fs::read_dir(dir.path().join("backups")).unwrap();
            files.map(|f| f.unwrap().metadata().unwrap().len()).sum()
        } else {
            backup.take().unwrap().unwrap().bytes
        };
        let whole = began.elapsed().as_secs_f64();
        let began = std::time::Instant::now();
        restore(&dir.path().join("backups"), &dir.path().join("new"), Point::Newest).unwrap();
        (stored, backed, bytes as f64 / 1e6, whole, began.elapsed().as_secs_f64())
    };
    let (stored, backed, megabytes, _, restored) = time(true);
    println!(
        "{BATCHES} batches of {RECORDS} records: stored in {stored:.2} s, backed up first in {backed:.2} s more, {megabytes:.1} MB"
    );
    println!("restored from {BATCHES} files in {restored:.2} s");
    let (.., megabytes, whole, restored) = time(false);
    println!("a base of {megabytes:.1} MB in {whole:.2} s, restored in {restored:.2} s");
}

#[test]
fn a_time_is_the_newest_backup_by_then() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(RedbStore::open(&dir.path().join("store.redb")).unwrap());
    let folder = dir.path().join("backups");
    let backup = Backup::open(store.clone(), CLOUD, &folder, 2).unwrap();
    for n in 1..=3 {
        push(&*store, numbered(n, vec![record(n, n, &[])]));
        backup.take().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let taken: Vec<u64> = check(&folder, &mut |_, _| {}).unwrap().parts.iter().map(|p| p.header.taken_at).collect();
    for (at, batch) in [(taken[0], 1), (taken[1] - 1, 1), (taken[1], 2), (taken[2] - 1, 2), (u64::MAX, 3)] {
        let to = dir.path().join(format!("at-{at}"));
        let made = restore(&folder, &to, Point::At(at)).unwrap();
        assert_eq!((made.restored.batch, made.restored.cut, made.records), (batch, batch != 3, batch), "{at}");
    }
    assert!(matches!(
        restore(&folder, &dir.path().join("no"), Point::At(taken[0] - 1)),
        Err(BackupError::Point { .. })
    ));
}

#[test]
fn every_flipped_byte_of_a_file_is_found_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(RedbStore::open(&dir.path().join("store.redb")).unwrap());
    let folder = dir.path().join("backups");
    let backup = Backup::open(store.clone(), CLOUD, &folder, 2).unwrap();
    push(&*store, numbered(1, vec![record(1, 1, &[term(1)])]));
    let path = backup.take().unwrap().unwrap().path;
    push(&*store, numbered(2, vec![record(2, 2, &[])]));
    backup.take().unwrap();
    let whole = std::fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        std::fs::write(&path, &bytes).unwrap();
        let checked = check(&folder, &mut |_, _| {}).unwrap();
        let first = checked.damaged.first().map(ToString::to_string).unwrap_or_default();
        assert!(first.contains(path.file_name().unwrap().to_str().unwrap()), "byte {at}: {first}");
        assert_eq!((checked.damaged.len(), checked.parts.len()), (2, 0), "byte {at}: nothing follows it");
    }
    std::fs::write(&path, &whole).unwrap();
    assert!(check(&folder, &mut |_, _| {}).unwrap().damaged.is_empty());
}
