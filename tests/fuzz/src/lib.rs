//! What is fuzzed: a body per target, each with inputs to begin with. `fuzz/` runs them guided by coverage;
//! `tests/mutations.rs` runs them over changed inputs with any toolchain. A body panics where a property does not hold.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a body stops where something does not hold

mod kept;
mod logs;
mod messages;
mod questions;
mod sources;

/// A target.
pub struct Target {
    /// Name, as in `fuzz/fuzz_targets`.
    pub name: &'static str,
    /// What it does with an input.
    pub body: fn(&[u8]),
    /// Inputs to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All targets.
pub const TARGETS: [Target; 9] = [
    Target { name: "messages", body: messages::messages, seeds: messages::message_seeds },
    Target { name: "requests", body: messages::requests, seeds: messages::request_seeds },
    Target { name: "points", body: messages::points, seeds: messages::point_seeds },
    Target { name: "logs", body: logs::logs, seeds: logs::seeds },
    Target { name: "questions", body: questions::questions, seeds: questions::question_seeds },
    Target { name: "search", body: questions::search, seeds: questions::search_seeds },
    Target { name: "resource", body: sources::resource, seeds: sources::resource_seeds },
    Target { name: "sources", body: sources::sources, seeds: sources::source_seeds },
    Target { name: "kept", body: kept::kept, seeds: kept::seeds },
];

/// Runs a target by its name.
pub fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|t| t.name == name).expect("a target of this name");
    (target.body)(data);
}

/// The first byte, and the rest.
fn first(data: &[u8]) -> (usize, &[u8]) {
    data.split_first().map_or((0, data), |(first, rest)| (usize::from(*first), rest))
}
