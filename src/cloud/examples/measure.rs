//! What a batch, a commit and a search cost, without HTTP.
//!
//! `cargo run --release -p sealdex-cloud --example measure` writes 50,000 records in batches of 4096
//! into a temporary directory: 900 sealed bytes, 8 terms and 4 order codes each, drawn so that terms
//! have from one to thousands of records. Times are medians of wall-clock time.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // a measurement fails by panicking and prints

use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use sealdex_cloud::{
    index::{IndexSearch, MergedIndex, TantivyIndex},
    store::{NewBatch, RedbStore, SealedStore},
};
use sealdex_crypto::{BatchId, PrincipalId, RecordId, Signature, Term};
use sealdex_wire::{
    auth::sha256,
    codec,
    ingest::{BatchUpload, BridgedRecord, Removed, UploadRecord, batch_digest},
    search::{CloudClause, CloudSort},
};

const RECORDS: u64 = 50_000;
const BATCH: u64 = 4096;

fn term(kind: u64, value: u64) -> [u8; 16] {
    let digest = sha256(&[&kind.to_be_bytes(), &value.to_be_bytes()]);
    digest[..16].try_into().unwrap()
}

fn order_term(tag: u8, code: u64) -> [u8; 16] {
    let mut t = [tag; 16];
    t[8..].copy_from_slice(&code.to_be_bytes());
    t
}

fn record(n: u64, rng: &mut StdRng) -> UploadRecord {
    let mut terms = Vec::new();
    for (kind, values) in [(0, 2), (1, 20), (2, 500), (3, 500), (4, 5000), (5, 5000), (6, 50_000), (7, 50_000)] {
        terms.extend_from_slice(&term(kind, rng.random_range(0..values)));
    }
    for tag in 0..4 {
        terms.extend_from_slice(&order_term(tag, rng.random()));
    }
    let mut id = [0; 16];
    id[..8].copy_from_slice(&n.to_be_bytes());
    rng.fill(&mut id[8..]);
    let mut sealed = vec![0; 900];
    rng.fill(&mut sealed[..]);
    let index = BridgedRecord { origin: Term(term(99, n)), terms, tag: vec![7; 110] };
    UploadRecord { id: RecordId(id), index, sealed }
}

/// CPU time of the process, user and system.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let after = stat.rsplit_once(')').unwrap().1;
    let ticks: u64 = after.split_whitespace().skip(11).take(2).map(|t| t.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}

fn rss_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap();
    peak.split_whitespace().next().unwrap().parse::<u64>().unwrap() / 1024
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn main() {
    let dir = tempfile::tempdir().unwrap();
    let store = RedbStore::open(&dir.path().join("store.redb")).unwrap();
    let index = TantivyIndex::open(&dir.path().join("index")).unwrap();
    let mut rng = StdRng::seed_from_u64(1);
    let (mut decode, mut accept, mut commit) = (Vec::new(), Vec::new(), Vec::new());
    let (mut cpu_accept, mut cpu_index, mut batches) = (Duration::ZERO, Duration::ZERO, 0);
    let mut n = 0;
    while n < RECORDS {
        let upto = RECORDS.min(n + BATCH);
        let records = (n..upto).map(|n| record(n, &mut rng)).collect();
        let full = upto - n == BATCH;
        n = upto;
        let batch = BatchId((n as u128).to_be_bytes());
        let upload = BatchUpload {
            batch,
            gate: PrincipalId([1; 16]),
            gate_signature: Signature([0; 64]),
            stated: None,
            records,
            deletes: Vec::new(),
            erases: Vec::new(),
        };
        let body = codec::to_cbor(&upload);
        drop(upload);

        let (started, cpu0) = (Instant::now(), cpu());
        let upload: BatchUpload = codec::from_cbor(&body).unwrap();
        let provider = PrincipalId([2; 16]);
        let digest =
            batch_digest("bench", batch, provider, Removed::default(), upload.records.iter().map(|r| (r.id, &r.index)));
        let body_sha256 = sha256(&[&body, &digest]);
        let decoded = started.elapsed();
        let batch = NewBatch {
            batch,
            provider,
            hospital: provider,
            body_sha256,
            records: upload.records,
            deletes: Vec::new(),
            erases: Vec::new(),
            stated: None,
        };
        store.accept(&[batch]).unwrap().remove(0).unwrap();
        let accepted = started.elapsed();
        let cpu1 = cpu();
        index.catch_up(store.snapshot().unwrap()).unwrap();
        if full {
            batches += 1;
            decode.push(decoded);
            accept.push(accepted - decoded);
            commit.push(started.elapsed() - accepted);
            cpu_accept += cpu1 - cpu0;
            cpu_index += cpu() - cpu1;
        }
    }
    println!(
        "batch of {BATCH}: decode and hash {:?}, store durably {:?}, index {:?}",
        median(decode),
        median(accept),
        median(commit)
    );
    println!("  CPU a batch: decode and store {:?}, index {:?}", cpu_accept / batches, cpu_index / batches);

    let one = std::time::Instant::now();
    let tiny = NewBatch {
        batch: BatchId([0xff; 16]),
        provider: PrincipalId([2; 16]),
        hospital: PrincipalId([2; 16]),
        body_sha256: [0; 32],
        records: vec![record(RECORDS, &mut rng)],
        deletes: Vec::new(),
        erases: Vec::new(),
        stated: None,
    };
    store.accept(&[tiny]).unwrap().remove(0).unwrap();
    let durable = one.elapsed();
    index.catch_up(store.snapshot().unwrap()).unwrap();
    println!("one record: durable {durable:?}, searchable {:?}", one.elapsed());

    let terms = |kind, value| CloudClause::Terms(term(kind, value).to_vec());
    let range = |tag: u8, share: u64| CloudClause::Range { tag: [tag; 8], lo: 0, hi: u64::MAX / share };
    let sort = Some(CloudSort { tag: [0; 8], descending: true });
    let many = CloudClause::Terms((0..1000).flat_map(|i| term(6, i)).collect());
    for (name, clause, sort, limit) in [
        ("one term, 100 hits", terms(2, 3), None, 1000),
        ("two terms, 100 hits", CloudClause::And(vec![terms(0, 1), terms(3, 7)]), None, 1000),
        ("range, 100 hits", range(1, 500), None, 1000),
        ("range of half, and a term, 50 hits", CloudClause::And(vec![range(1, 2), terms(3, 7)]), None, 1000),
        ("1000 terms, 1000 hits", many, None, 2000),
        ("everything, page of 1000", CloudClause::All, None, 1000),
        ("top 10 of half of everything", terms(0, 1), sort, 10),
        ("top 10 of 100 hits", terms(2, 3), sort, 10),
    ] {
        let search = IndexSearch { clause, sort, after: None, limit };
        let mut hits = 0;
        let times = (0..51).map(|_| {
            let started = Instant::now();
            hits = index.find(&search).unwrap().len();
            started.elapsed()
        });
        println!("search, {name}: {:?} for {hits}", median(times.collect()));
    }
    let totals = store.totals().unwrap();
    println!(
        "sealed {} MB, store {} MB, index {} MB, peak RSS {} MB",
        totals.sealed_bytes >> 20,
        totals.store_bytes >> 20,
        index.bytes() >> 20,
        rss_mb()
    );
}
