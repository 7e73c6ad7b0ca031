//! Push and query with every role in this process, over real HTTP on loopback, as ratios to what they
//! cannot beat: reading the same records as JSON, and the point arithmetic of the capsules opened.
//!
//! `cargo bench -p sealdex-benches --bench end_to_end`; `SEALDEX_BENCH_PATIENTS` sets the size (default 100).
#![allow(clippy::unwrap_used, clippy::print_stdout)] // a benchmark stops where it cannot go on, and prints

use std::{sync::Arc, time::Instant};

use sealdex_client::Session;
use sealdex_crypto::{Point, Scalar};
use sealdex_fhir::{QueryDoc, Suite};
use sealdex_tests::{World, servers::Place};

const QUESTIONS: &str = include_str!("../../queries/demo.json");
const REPEAT: usize = 21;

fn main() {
    let patients = std::env::var("SEALDEX_BENCH_PATIENTS").ok().and_then(|p| p.parse().ok()).unwrap_or(100);
    tokio::runtime::Runtime::new().unwrap().block_on(run(patients));
}

/// What one domain took.
struct Measured {
    /// Grants made, signed, checked and stored, a second.
    grants: f64,
    /// Records pushed, a second.
    pushed: f64,
    /// Title, milliseconds, answers, opened, capsules.
    questions: Vec<(String, f64, usize, u64, u64)>,
}

async fn run(patients: u32) {
    let home = tempfile::tempdir().unwrap();
    let world = World::generated(home.path(), patients, 5, &["reader"], Place::Process).await;
    let started = Instant::now();
    let read: usize = world.hospitals.iter().map(|h| world.records(h).len()).sum();
    let reading = started.elapsed().as_secs_f64();
    let single = measure(world, read).await;
    println!("grants: {:.0} a second made, signed, checked and stored", single.grants);
    println!(
        "push: {read} records, {:.0} records/s; {:.1} x reading them as JSON on one core",
        single.pushed,
        read as f64 / single.pushed / reading
    );
    let multiply = multiply_cost();
    println!("query: median of {REPEAT}; the floor is two decodings and multiplications a capsule, on one core");
    for (title, ms, hits, opened, capsules) in &single.questions {
        let floor = 2.0 * *capsules as f64 * multiply * 1e3;
        println!(
            "  {ms:7.2} ms  {hits:5} answers  {opened:5} opened  {capsules:5} capsules  {:6.1} x floor  {title}",
            ms / floor.max(1e-6)
        );
    }
    drop(home);

    let home = tempfile::tempdir().unwrap();
    let world = World::shared(home.path(), patients, 5, &["reader"], Place::Process, (3, 2)).await;
    let shared = measure(world, read).await;
    println!("a gate of three nodes of which it takes two, all in this process: cost as a ratio to the single gate's");
    println!("  {:5.2} x  grants", single.grants / shared.grants);
    println!("  {:5.2} x  push", single.pushed / shared.pushed);
    for (one, three) in single.questions.iter().zip(&shared.questions) {
        println!("  {:5.2} x  {:7.2} ms  {}", three.1 / one.1, three.1, three.0);
    }
}

async fn measure(mut world: World, read: usize) -> Measured {
    world.enrol_patients().await;
    let started = Instant::now();
    let grants = world.grant_everything("reader").await as f64 / started.elapsed().as_secs_f64();
    let world = Arc::new(world);
    let started = Instant::now();
    let pushed = world.push_all().await;
    assert_eq!(pushed as usize, read);
    let pushed = pushed as f64 / started.elapsed().as_secs_f64();
    let session = world.session("reader");
    let mut questions = Vec::new();
    for doc in &Suite::parse(QUESTIONS, None).unwrap().queries {
        let (ms, opened, capsules, hits) = ask(&session, doc).await;
        questions.push((doc.title.clone().unwrap_or_default(), ms, hits, opened, capsules));
    }
    Measured { grants, pushed, questions }
}

/// Seconds for one decoding and multiplication.
fn multiply_cost() -> f64 {
    let mut rng = rand::rng();
    let (point, scalar) = (Scalar::random(&mut rng).base_mul().to_bytes(), Scalar::random(&mut rng));
    let started = Instant::now();
    for _ in 0..500 {
        std::hint::black_box(Point::from_bytes(&point).unwrap().mul(&scalar));
    }
    started.elapsed().as_secs_f64() / 500.0
}

async fn ask(session: &Session, doc: &QueryDoc) -> (f64, u64, u64, usize) {
    let mut times = Vec::new();
    let mut last = None;
    for _ in 0..REPEAT {
        let started = Instant::now();
        last = Some(session.ask(doc).await.unwrap());
        times.push(started.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    let answer = last.unwrap();
    (times[REPEAT / 2], answer.cost.opened, answer.cost.capsules, answer.hits.len())
}
