//! Compaction while store and index are used: what it leaves, and what it costs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)] // a test fails by panicking; one measures

mod support;

use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use sealdex_cloud::{
    index::{BruteForce, IndexSearch, MergedIndex, TantivyIndex},
    store::{NewBatch, Pace, RedbStore, SealedStore},
};
use sealdex_crypto::{BatchId, Term};
use sealdex_ledger::run::TermRange;
use sealdex_wire::{ingest::UploadRecord, search::CloudClause};
use support::*;

fn numbered(n: u64, records: Vec<UploadRecord>) -> NewBatch {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&n.to_be_bytes());
    NewBatch { batch: BatchId(id), body_sha256: [n as u8; 32], ..batch(0, records) }
}

fn everything(terms: std::ops::Range<u64>) -> IndexSearch {
    let clause = CloudClause::Or(terms.map(|n| CloudClause::term(Term(term(n)))).collect());
    IndexSearch { clause, sort: None, after: None, limit: usize::MAX }
}

/// Whether segments have documents marked as deleted: they are still there, under such a mark.
fn marked(dir: &Path) -> bool {
    std::fs::read_dir(dir).unwrap().any(|f| f.unwrap().path().extension().is_some_and(|e| e == "del"))
}

#[test]
fn segments_with_deleted_documents_are_written_anew_while_they_are_searched() {
    let dir = tempfile::tempdir().unwrap();
    let store = RedbStore::open(&dir.path().join("store.redb")).unwrap();
    let folder = dir.path().join("index");
    let index = TantivyIndex::open(&folder).unwrap();
    let brute = BruteForce::default();
    let (mut rng, mut next) = (rng(11), 100);
    // Terms of their own, of records that will go.
    let gone: Vec<u64> = (0..4).collect();
    let own = |n: u64| term(1_000 + n);
    for n in 0..4 {
        let mut records = random_records(&mut rng, &mut next, 200, 1_000_000);
        records.push(record(n, 2_000_000 + n, &[own(n)]));
        push(&store, numbered(n + 1, records));
        index.catch_up(store.snapshot().unwrap()).unwrap();
    }
    // What the dictionaries have, deleted or not.
    let there = |index: &TantivyIndex, n: u64| index.frequency(&TermRange::one(own(n)), 9).unwrap();
    assert!(gone.iter().all(|n| there(&index, *n) == 1));
    let deletes = gone.iter().map(|n| Term(term(2_000_000 + n))).collect();
    push(&store, NewBatch { deletes, ..numbered(9, Vec::new()) });
    let snapshot = store.snapshot().unwrap();
    index.catch_up(snapshot.clone()).unwrap();
    brute.catch_up(snapshot).unwrap();
    assert!(marked(&folder) && gone.iter().any(|n| there(&index, *n) == 1), "it lets go of them by itself: drop this");
    let (expected, search) = (brute.find(&everything(0..12)).unwrap(), everything(0..12));
    assert!(expected.len() > 300);
    let done = AtomicBool::new(false);
    let purged = std::thread::scope(|s| {
        s.spawn(|| {
            while !done.load(Ordering::Acquire) {
                assert_eq!(index.find(&search).unwrap(), expected);
            }
        });
        let purged = index.purge(&|| true);
        done.store(true, Ordering::Release);
        purged.unwrap()
    });
    assert!(purged.gone && purged.segments > 0 && purged.documents == 4, "{purged:?}");
    assert!(!marked(&folder) && gone.iter().all(|n| there(&index, *n) == 0));
    assert_eq!(index.find(&search).unwrap(), expected);
    // It goes on with the same index, and there is nothing more to do.
    push(&store, numbered(10, vec![record(1_000_000, 3_000_000, &[own(77)])]));
    index.catch_up(store.snapshot().unwrap()).unwrap();
    assert_eq!(index.find(&everything(1_077..1_078)).unwrap().len(), 1);
    assert_eq!(index.purge(&|| true).unwrap().segments, 0);
    drop(index);
    let again = TantivyIndex::open(&folder).unwrap();
    again.catch_up(store.snapshot().unwrap()).unwrap();
    assert_eq!(again.find(&search).unwrap(), expected);
}

/// Prints what it costs: `SEALDEX_RECORDS=200000 cargo test -p sealdex-cloud --release --test compact -- --ignored --nocapture`.
#[test]
#[ignore = "measures, for minutes"]
fn what_compaction_costs() {
    let records: u64 = std::env::var("SEALDEX_RECORDS").ok().and_then(|n| n.parse().ok()).unwrap_or(100_000);
    let dir = tempfile::tempdir_in(std::env::var("SEALDEX_MEASURE_DIR").unwrap_or_else(|_| "/tmp".into())).unwrap();
    let path = dir.path().join("store.redb");
    let store = RedbStore::open(&path).unwrap();
    let index = TantivyIndex::open(&dir.path().join("index")).unwrap();
    let mut next = 0;
    let mut make = |origins: u64| -> NewBatch {
        let new = (0..1000).map(|_| {
            next += 1;
            let terms: Vec<[u8; 16]> = (0..25).map(|t| term(next * 31 + t)).collect();
            let record = record(next, next % origins, &terms);
            UploadRecord { sealed: (0..1024).map(|b| (next.wrapping_mul(b + 7) >> 3) as u8).collect(), ..record }
        });
        let new = new.collect();
        numbered(next, new)
    };
    for _ in 0..records / 1000 {
        push(&store, make(records));
    }
    // A tenth is replaced: as many deleted documents.
    for _ in 0..records / 10_000 {
        push(&store, make(records));
    }
    index.catch_up(store.snapshot().unwrap()).unwrap();
    let bytes = |p: &Path| std::fs::metadata(p).map_or(0, |m| m.len()) >> 20;
    println!("{records} records, store {} MiB, index {} MiB", bytes(&path), index.bytes() >> 20);
    for (what, rate) in [("at 32 MiB a second", 32 << 20), ("as fast as it goes", u64::MAX)] {
        let never = AtomicBool::new(false);
        let began = Instant::now();
        let (done, longest, pushed) = std::thread::scope(|s| {
            let compacting = s.spawn(|| store.compact(&mut Pace::new(rate, &never)).unwrap());
            let (mut longest, mut pushed) = (Duration::ZERO, 0);
            while !compacting.is_finished() {
                let batch = make(records);
                let began = Instant::now();
                push(&store, batch);
                longest = longest.max(began.elapsed());
                pushed += 1;
                std::thread::sleep(Duration::from_millis(100));
            }
            (compacting.join().unwrap(), longest, pushed)
        });
        println!(
            "{what}: {:?}, {} rows, {} rounds, writers held {:?}; {pushed} batches pushed meanwhile, the longest took {longest:?}; {} -> {} MiB",
            began.elapsed(),
            done.rows,
            done.rounds,
            done.held,
            done.replaced.before >> 20,
            done.replaced.after >> 20
        );
        let began = Instant::now();
        index.catch_up(store.snapshot().unwrap()).unwrap();
        println!("index caught up in {:?}", began.elapsed());
        let began = Instant::now();
        println!("{:?} in {:?}", index.purge(&|| true).unwrap(), began.elapsed());
        assert!(done.replaced.is_let_go());
    }
}
