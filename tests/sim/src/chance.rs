//! All that is left to chance in a simulation, from one seed.

use std::sync::{Mutex, PoisonError};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

/// What a stream of chance decides. Each has its own, so that a draw more of one does not change the others.
#[derive(Clone, Copy)]
pub enum Of {
    /// What is done when.
    Workload,
    /// What becomes of messages.
    Network,
    /// What becomes of writes.
    Disk,
    /// Pauses, and who gets a turn.
    Process,
}

/// A stream of chance.
pub struct Chance(Mutex<StdRng>);

impl Chance {
    /// The stream of a seed.
    pub fn new(seed: u64, of: Of) -> Self {
        Self(Mutex::new(StdRng::seed_from_u64(seed.wrapping_mul(16).wrapping_add(of as u64))))
    }

    /// From `from` up to, and without, `to`.
    pub fn within(&self, from: u64, to: u64) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).random_range(from..to)
    }

    /// Below a bound.
    pub fn below(&self, bound: usize) -> usize {
        self.within(0, bound as u64) as usize
    }

    /// Whether something happens that happens so often in a thousand times.
    pub fn per_mille(&self, often: u64) -> bool {
        self.within(0, 1000) < often
    }
}
