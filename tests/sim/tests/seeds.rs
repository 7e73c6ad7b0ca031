//! Seeds of the whole system. `SEALDEX_SEED=n` runs one and tells everything; `SEALDEX_SEEDS=n` runs as many.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // a test stops where it cannot go on, and says what it saw
#![allow(clippy::expect_used, reason = "a test stops where it cannot go on")]

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use sealdex_sim::{Outcome, Settings, run};

/// Seeds of an ordinary run.
const SEEDS: u64 = 200;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

fn tell(seed: u64, outcome: &Outcome) -> String {
    let mut text = format!("seed {seed} fails:\n");
    outcome.violations.iter().for_each(|v| text.push_str(&format!("  {v}\n")));
    text.push_str("the end of its trace:\n");
    let skipped = outcome.last.len().saturating_sub(60);
    outcome.last.iter().skip(skipped).for_each(|line| text.push_str(&format!("  {line}\n")));
    text + &format!(
        "see it again: SEALDEX_SEED={seed} cargo test -p sealdex-sim --test seeds -- --nocapture nothing_is_lost\n"
    )
}

/// Nothing acknowledged is lost, nothing is doubled, nothing is opened without a grant, and every answer is exact.
#[test]
fn nothing_is_lost_doubled_or_opened_without_a_grant() {
    if let Some(seed) = number("SEALDEX_SEED") {
        let outcome = run(seed, Settings { told: true, ..Settings::default() });
        println!("trace {} of {} lines, {} answers judged", outcome.hash, outcome.lines, outcome.judged);
        assert!(outcome.violations.is_empty(), "{}", tell(seed, &outcome));
        return;
    }
    let from = number("SEALDEX_FROM").unwrap_or(1);
    let seeds = number("SEALDEX_SEEDS").unwrap_or(SEEDS);
    let (next, began) = (AtomicU64::new(from), Instant::now());
    let [judged, crashes, tickets] = [const { AtomicU64::new(0) }; 3];
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Relaxed);
                    if seed >= from + seeds {
                        return;
                    }
                    let outcome = run(seed, Settings::default());
                    judged.fetch_add(outcome.judged, Relaxed);
                    crashes.fetch_add(outcome.crashes, Relaxed);
                    tickets.fetch_add(outcome.tickets, Relaxed);
                    if !outcome.violations.is_empty() {
                        failed.lock().unwrap().push((seed, tell(seed, &outcome)));
                    }
                }
            });
        }
    });
    let mut failed = failed.into_inner().unwrap();
    failed.sort();
    let tickets = tickets.into_inner();
    println!(
        "{seeds} seeds in {:.1} s: {} answers judged, {} crashes, {tickets} tickets tried, {} seeds fail: {:?}",
        began.elapsed().as_secs_f64(),
        judged.into_inner(),
        crashes.into_inner(),
        failed.len(),
        failed.iter().map(|f| f.0).collect::<Vec<_>>()
    );
    assert!(failed.is_empty(), "{}", failed[0].1);
    assert!(seeds < SEEDS || tickets > 0, "nobody ever kept a ticket");
}

/// A seed does the same again, to the millisecond.
#[test]
fn a_seed_does_the_same_again() {
    for seed in [1, 2, 3] {
        let [first, again] = [(); 2].map(|()| run(seed, Settings::default()));
        assert_eq!((first.lines, first.hash), (again.lines, again.hash), "seed {seed}");
    }
}
