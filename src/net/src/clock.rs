//! The wall clock, in the units of the wire.

use std::time::{SystemTime, UNIX_EPOCH};

/// Unix time, milliseconds.
pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}

/// Unix time, seconds.
pub fn now_s() -> u64 {
    now_ms() / 1000
}
