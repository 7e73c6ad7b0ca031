//! What appending costs, in time, memory and files.
//!
//! `cargo run --release -p sealdex-tlog --example append -- [ENTRIES] [BATCH] [FOLDER]` appends 1,000,000 entries of
//! 200 bytes in batches of 1,000 to a log in a temporary folder, or in FOLDER, then makes proofs. Times are
//! wall-clock time; every batch is durable before the next.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // a measurement fails by panicking and prints

use std::env;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use sealdex_crypto::log::{leaf_hash, verify_consistency, verify_inclusion};
use sealdex_tlog::log::{FileStorage, Log, LogStorage, MemoryStorage};
use sealdex_tlog::note::{KeyName, LogKey};

const ENTRY_BYTES: usize = 200;
const PROOFS: u64 = 2000;

fn entry(i: u64) -> Vec<u8> {
    let mut entry = vec![7; ENTRY_BYTES];
    entry[..8].copy_from_slice(&i.to_be_bytes());
    entry
}

/// Memory of the process in KiB: what `/proc` calls `VmRSS`, or at its peak `VmHWM`.
fn memory(field: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(field));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
}

/// Files and bytes below a folder.
fn contents(folder: &Path) -> (u64, u64) {
    let mut sum = (0, 0);
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let (files, bytes) = if path.is_dir() { contents(&path) } else { (1, path.metadata().unwrap().len()) };
        sum = (sum.0 + files, sum.1 + bytes);
    }
    sum
}

fn key() -> LogKey {
    LogKey::random(KeyName::new("log.example/measured").unwrap(), &mut rand::rng())
}

/// Appends everything: time in all and time of each batch.
fn append<S: LogStorage>(log: &mut Log<S>, entries: u64, batch: u64) -> (Duration, Vec<Duration>) {
    let (start, mut each) = (Instant::now(), Vec::new());
    for first in (0..entries).step_by(batch as usize) {
        let batch: Vec<_> = (first..(first + batch).min(entries)).map(entry).collect();
        let before = Instant::now();
        log.append(&batch).unwrap();
        each.push(before.elapsed());
    }
    (start.elapsed(), each)
}

fn report(what: &str, entries: u64, (all, mut each): (Duration, Vec<Duration>)) {
    each.sort_unstable();
    let at = |part: usize| each[(each.len() - 1) * part / 100];
    let rate = entries as f64 / all.as_secs_f64();
    println!(
        "{what}: {entries} entries in {all:.1?}, {rate:.0} a second; a batch {:.2?} (median), {:.2?} (99 of 100), {:.2?} (longest)",
        at(50),
        at(99),
        at(100)
    );
}

fn proofs<S: LogStorage>(log: &Log<S>, entries: u64) {
    let root = *log.checkpoint().root();
    let places: Vec<_> = (0..PROOFS).map(|i| i * (entries / PROOFS).max(1) % entries).collect();
    let start = Instant::now();
    for at in &places {
        let proof = log.inclusion_proof(*at, entries).unwrap();
        verify_inclusion(&leaf_hash(&entry(*at)), *at, entries, &proof, &root).unwrap();
    }
    let inclusion = start.elapsed() / PROOFS as u32;
    let start = Instant::now();
    for at in &places {
        let (old, old_root) = (at + 1, log.root_at(at + 1).unwrap());
        let proof = log.consistency_proof(old, entries).unwrap();
        verify_consistency(old, &old_root, entries, &root, &proof).unwrap();
    }
    let consistency = start.elapsed() / PROOFS as u32;
    println!("proofs, made from files and checked: inclusion {inclusion:.1?}, root and consistency {consistency:.1?}");
}

fn main() {
    let mut arguments = env::args().skip(1);
    let mut number = |default| arguments.next().map_or(default, |text| text.parse().unwrap());
    let (entries, batch) = (number(1_000_000), number(1000));
    let temporary = tempfile::TempDir::new().unwrap();
    let folder = arguments.next().map_or_else(|| temporary.path().join("log"), Into::into);

    let before = memory("VmRSS");
    let mut log = Log::create(FileStorage::open(&folder).unwrap(), key()).unwrap();
    report("in files", entries, append(&mut log, entries, batch));
    println!("memory: {before} KiB before, {} KiB at the peak", memory("VmHWM"));
    proofs(&log, entries);
    let (files, bytes) = contents(&folder);
    println!(
        "{files} files, {:.1} MiB, of which entries {:.1} MiB",
        bytes as f64 / 1048576.0,
        (entries as usize * ENTRY_BYTES) as f64 / 1048576.0
    );
    drop(log);

    let mut log = Log::create(MemoryStorage::new(), key()).unwrap();
    report("in memory", entries, append(&mut log, entries, batch));
}
