//! Clock and chance, as the roles see them.

use std::{rc::Rc, sync::Arc};

use sealdex_net::edge::{self, Outside, Simulated};
use tokio::time::Instant;

use crate::chance::Chance;

/// When every simulation begins: Unix time, milliseconds.
const BEGINNING: u64 = 1_800_000_000_000;

tokio::task_local! {
    /// How far the clock of whoever does this is off, milliseconds.
    pub static SKEW: i64;
}

struct Here {
    began: Instant,
    chance: Arc<Chance>,
}

impl Outside for Here {
    fn now_ms(&self) -> u64 {
        let skew = SKEW.try_with(|s| *s).unwrap_or(0);
        (BEGINNING + self.began.elapsed().as_millis() as u64).saturating_add_signed(skew)
    }

    fn jitter(&self) -> f64 {
        0.5 + self.chance.within(0, 1000) as f64 / 1000.0
    }

    fn turns(&self) -> u32 {
        self.chance.within(0, 4) as u32
    }
}

/// From now on this thread lives in simulated time. Inside a runtime of one thread whose time is paused.
pub fn begin(chance: Arc<Chance>) -> Simulated {
    edge::simulate(Rc::new(Here { began: Instant::now(), chance }))
}
