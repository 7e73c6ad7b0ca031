//! What happened, in order, and what should not have.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use sha2::{Digest, Sha256};
use tokio::time::Instant;

use crate::network::since;

/// Lines that are kept to be shown.
const KEPT: usize = 400;

/// The trace of a simulation.
pub struct Trace {
    began: Instant,
    /// Whether each line is printed as it comes.
    told: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    hash: Sha256,
    lines: u64,
    last: VecDeque<String>,
    step: usize,
    violations: Vec<String>,
}

impl Trace {
    /// An empty one, that begins now.
    pub fn new(told: bool) -> Self {
        Self { began: Instant::now(), told, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Milliseconds since it began.
    pub fn now(&self) -> u64 {
        since(self.began)
    }

    /// The workload is at this step.
    pub fn step(&self, step: usize) {
        self.state().step = step;
    }

    /// Something happened.
    #[allow(clippy::print_stdout)] // for whoever asked to see a seed again
    pub fn note(&self, what: &str) {
        let line = format!("{:>7} {what}", self.now());
        if self.told {
            println!("{line}");
        }
        let mut state = self.state();
        state.hash.update(line.as_bytes());
        state.hash.update(b"\n");
        state.lines += 1;
        if state.last.len() == KEPT {
            state.last.pop_front();
        }
        state.last.push_back(line);
    }

    /// Something happened that must not.
    pub fn violation(&self, what: String) {
        self.note(&format!("VIOLATION: {what}"));
        let mut state = self.state();
        let what = format!("step {}, at {} ms: {what}", state.step, since(self.began));
        state.violations.push(what);
    }

    /// What must not have happened, so far.
    pub fn violations(&self) -> Vec<String> {
        self.state().violations.clone()
    }

    /// Lines so far, and their hash.
    pub fn hash(&self) -> (u64, String) {
        let state = self.state();
        (state.lines, state.hash.clone().finalize()[..8].iter().map(|b| format!("{b:02x}")).collect())
    }

    /// The last lines.
    pub fn last(&self) -> Vec<String> {
        self.state().last.iter().cloned().collect()
    }
}
