//! A whole domain in one process, where clock, network, disks and pauses are simulated and everything that can go wrong
//! goes wrong by a seed: `docs/SIMULATION.md`.
#![allow(clippy::unwrap_used, clippy::expect_used)] // test support: it stops where it cannot go on

pub mod chance;
pub mod disk;
pub mod model;
pub mod network;
pub mod outside;
mod panics;
pub mod parties;
pub mod simulation;
pub mod trace;

pub use simulation::{Outcome, Settings, run};
