//! Studies of what Sealdex costs: see `docs/BENCHMARKS.md`.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a benchmark stops where it cannot go on")]

pub mod chart;
pub mod cloud;
pub mod measure;
pub mod page;
pub mod peers;
pub mod report;
pub mod stays;
pub mod studies;
