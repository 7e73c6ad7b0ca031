//! The wall clock, in the units of the wire.

/// Unix time, milliseconds.
pub fn now_ms() -> u64 {
    crate::edge::now_ms()
}

/// Unix time, seconds.
pub fn now_s() -> u64 {
    now_ms() / 1000
}
