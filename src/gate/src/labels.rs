//! Domain-separation labels of this crate: none equals one of the suite's or of the messages'.

/// The store key, from the gate's identity seed.
pub const STORE_KEY: &str = "sdx1/gate-store";
/// First associated-data string of a sealed cursor.
pub const CURSOR: &str = "sdx1/gate-cursor";
/// Slot of a grant among those of one section, epoch and reader.
pub const SLOT: &str = "sdx1/gate-slot";
