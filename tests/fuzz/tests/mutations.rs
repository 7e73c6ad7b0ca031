//! Every target over its inputs and thousands of changes of them, the same ones each time. `SEALDEX_MUTATIONS=n` for more.
#![allow(clippy::unwrap_used)] // a test stops where it cannot go on

use std::panic::{AssertUnwindSafe, catch_unwind};

use rand::{Rng as _, RngExt as _, SeedableRng as _, rngs::StdRng};
use sealdex_fuzz_bodies::{TARGETS, Target};

/// Changes of each target's inputs in an ordinary run.
const MUTATIONS: u64 = 3000;

/// Bytes that mean something in one of the formats.
const TELLING: &[u8] = b"\0\x01\x7f\x80\xff\n\r,\"\\{}[]:|= 0-9eE+";

fn change(input: &[u8], other: &[u8], rng: &mut StdRng) -> Vec<u8> {
    let mut out = input.to_vec();
    for _ in 0..rng.random_range(1..5) {
        let at = rng.random_range(0..=out.len());
        match rng.random_range(0..8) {
            0 if at < out.len() => out[at] ^= 1 << rng.random_range(0..8),
            1 if at < out.len() => out[at] = TELLING[rng.random_range(0..TELLING.len())],
            2 => out.insert(at, TELLING[rng.random_range(0..TELLING.len())]),
            3 if at < out.len() => drop(out.remove(at)),
            4 => out.truncate(at.max(1)),
            5 => {
                let end = (at + rng.random_range(0..40)).min(out.len());
                let piece = out[at..end].to_vec();
                out.splice(at..at, piece);
            }
            6 if !other.is_empty() => {
                let from = rng.random_range(0..other.len());
                let to = (from + rng.random_range(0..60)).min(other.len());
                out.splice(at..at, other[from..to].iter().copied());
            }
            _ => {
                let mut random = [0; 9];
                rng.fill_bytes(&mut random);
                out.splice(at..at, random);
            }
        }
    }
    out
}

fn hold(target: &Target, input: &[u8]) {
    let held = catch_unwind(AssertUnwindSafe(|| (target.body)(input)));
    let shown: String = input.iter().flat_map(|b| std::ascii::escape_default(*b)).map(char::from).collect();
    assert!(held.is_ok(), "target {} does not hold for {} bytes: {shown}", target.name, input.len());
}

#[test]
fn every_target_holds_for_changed_inputs() {
    let mutations = std::env::var("SEALDEX_MUTATIONS").map_or(MUTATIONS, |n| n.parse().unwrap());
    std::thread::scope(|scope| {
        for target in &TARGETS {
            scope.spawn(move || {
                let (seeds, mut rng) = ((target.seeds)(), StdRng::seed_from_u64(11));
                seeds.iter().for_each(|seed| hold(target, seed));
                for _ in 0..mutations {
                    let (one, other) = (&seeds[rng.random_range(0..seeds.len())], rng.random_range(0..seeds.len()));
                    hold(target, &change(one, &seeds[other], &mut rng));
                }
            });
        }
    });
}

/// Targets of `fuzz/` and bodies are the same.
#[test]
fn every_body_has_its_target() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
    let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    for target in &TARGETS {
        let file = std::fs::read_to_string(folder.join(format!("fuzz_targets/{}.rs", target.name))).unwrap();
        assert!(file.contains(&format!("run(\"{}\"", target.name)), "{}: another body", target.name);
        assert!(manifest.contains(&format!("name = \"{}\"", target.name)), "{}: not in the manifest", target.name);
    }
    let files = std::fs::read_dir(folder.join("fuzz_targets")).unwrap().count();
    assert_eq!(files, TARGETS.len(), "a target without a body");
}
