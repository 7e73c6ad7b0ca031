//! What the log costs: pushing, asking, a checkpoint, ten million entries; as ratios to the same without it, in the same
//! run.
//!
//! `cargo bench -p sealdex-benches --bench ledger`; `SEALDEX_BENCH_PATIENTS` sets the size (default 100),
//! `SEALDEX_BENCH_ENTRIES` that of the log (default 1,000,000).
#![allow(clippy::unwrap_used, clippy::print_stdout)] // a benchmark stops where it cannot go on, and prints

use std::time::{Duration, Instant};

use sealdex_client::{Proved, Session};
use sealdex_fhir::{QueryDoc, Suite};
use sealdex_lognet::DomainLog;
use sealdex_tests::{World, servers::Place};
use sealdex_tlog::{
    log::{FileStorage, Log},
    note::{KeyName, LogKey},
};
use sealdex_wire::roster::Proofs;

const QUESTIONS: &str = include_str!("../../queries/demo.json");
/// Domains of each kind, in turn; medians are compared.
const ROUNDS: usize = 3;
const REPEAT: usize = 31;

fn size(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

fn main() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(domains(size("SEALDEX_BENCH_PATIENTS", 100) as u32));
    entries(size("SEALDEX_BENCH_ENTRIES", 1_000_000));
}

async fn domains(patients: u32) {
    let (mut pushed, mut checkpoints) = ([Vec::new(), Vec::new()], Vec::new());
    for round in 0..ROUNDS {
        for logged in [false, true] {
            let home = tempfile::tempdir().unwrap();
            let mut world = match logged {
                true => World::generated(home.path(), patients, 5, &["reader"], Place::Process).await,
                false => World::unlogged(home.path(), patients, 5, &["reader"], Place::Process).await,
            };
            if logged {
                world.watch(3, 2, Proofs::Member).await;
            }
            world.enrol_patients().await;
            world.grant_everything("reader").await;
            let started = Instant::now();
            let records = world.push_all().await;
            pushed[usize::from(logged)].push(records as f64 / started.elapsed().as_secs_f64());
            if logged {
                checkpoints.push(checkpoint(&world).await);
                if round + 1 == ROUNDS {
                    questions(&world).await;
                }
            }
        }
    }
    let [without, with] = pushed.map(median);
    println!(
        "push, median of {ROUNDS}: {with:.0} records/s with the log, {without:.0} without: {:.2} x",
        with / without
    );
    println!(
        "a checkpoint with 2 of 3 cosignatures for the last batch, after it was searchable: {:.0} ms (median of {ROUNDS})",
        median(checkpoints)
    );
}

/// Milliseconds from the end of a push of one hospital's changed records until the log covers it.
async fn checkpoint(world: &World) -> f64 {
    let hospital = &world.hospitals[0];
    let known = log(world).await;
    std::fs::remove_dir_all(hospital.dir.join("push.state")).unwrap();
    let mut log = known;
    let pushing = world.push(hospital).await.unwrap();
    let started = Instant::now();
    log.reach(pushing.last_seq, &world.trusted(), Duration::from_secs(30)).await.unwrap();
    started.elapsed().as_secs_f64() * 1e3
}

async fn log(world: &World) -> DomainLog {
    let trusted = world.trusted();
    let (ledger, cloud) = (trusted.roster.ledger.as_ref().unwrap(), &trusted.roster.clouds[0].url);
    DomainLog::open(&world.http, &trusted.roster.domain, ledger, cloud, None).unwrap()
}

async fn questions(world: &World) {
    let (checked, blind) = (world.session("reader"), world.session("reader").unverified());
    println!("query, medians of {REPEAT} in turn; completeness checked by the member");
    for doc in &Suite::parse(QUESTIONS, None).unwrap().queries {
        let (mut with, mut without, mut proved, mut hits) = (Vec::new(), Vec::new(), None, 0);
        for _ in 0..=REPEAT {
            without.push(ask(&blind, doc).await.0);
            let (ms, answer, count) = ask(&checked, doc).await;
            with.push(ms);
            (proved, hits) = (answer, count);
        }
        let (with, without) = (median(with.split_off(1)), median(without.split_off(1)));
        let Proved { unproved, bytes, runs, pairs, elapsed, .. } = proved.unwrap();
        let proof = match unproved.first() {
            None => format!("{:6.1} KB, {runs} runs, {pairs} pairs", bytes as f64 / 1e3),
            Some(why) => format!("not proved: {why}"),
        };
        println!(
            "  {with:7.2} ms / {without:7.2} ms = {:4.2} x  {hits:5} answers  checking {:5.2} ms  {proof}  {}",
            with / without,
            elapsed.as_secs_f64() * 1e3,
            doc.title.clone().unwrap_or_default()
        );
    }
}

async fn ask(session: &Session, doc: &QueryDoc) -> (f64, Option<Proved>, usize) {
    let started = Instant::now();
    let answer = session.ask(doc).await.unwrap();
    (started.elapsed().as_secs_f64() * 1e3, answer.proved, answer.hits.len())
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}

/// A log of its own, in files: appended in batches of a thousand, then proofs at random places.
fn entries(count: u64) {
    let home = tempfile::tempdir().unwrap();
    let key = LogKey::random(KeyName::new("bench/log").unwrap(), &mut rand::rng());
    let mut log = Log::create(FileStorage::open(home.path()).unwrap(), key).unwrap();
    let started = Instant::now();
    for batch in 0..count / 1000 {
        let entries: Vec<Vec<u8>> =
            (0..1000).map(|n| [&(batch * 1000 + n).to_be_bytes()[..], &[7; 300]].concat()).collect();
        log.append(&entries).unwrap();
    }
    let took = started.elapsed().as_secs_f64();
    let size = log.checkpoint().size();
    println!("log: {size} entries of 308 bytes in {took:.1} s, {:.0}/s, an fsync a thousand", size as f64 / took);
    const PROOFS: u64 = 1000;
    let started = Instant::now();
    for n in 0..PROOFS {
        let index = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % size;
        std::hint::black_box(log.inclusion_proof(index, size).unwrap());
    }
    println!("  inclusion proof: {:.1} µs", started.elapsed().as_secs_f64() * 1e6 / PROOFS as f64);
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap_or("VmHWM: unknown");
    println!("  largest memory of the whole run: {}", peak.trim_start_matches("VmHWM:").trim());
}
