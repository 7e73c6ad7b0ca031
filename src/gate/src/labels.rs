//! Domain-separation labels of this crate: none equals one of the suite's or of the messages'.

/// The store key, from the gate's identity seed.
pub const STORE_KEY: &str = "sdx1/gate-store";
/// What the keys of backups come from, from the gate's identity seed.
pub const BACKUP: &str = "sdx1/gate-backup";
/// The key of one backup.
pub const BACKUP_FILE: &str = "sdx1/gate-backup-file";
/// Seeds of the polynomials by which a node deals its shares again, from the store key.
pub const RESHARING: &str = "sdx1/gate-resharing";
/// The key of sealed cursors, from the term key.
pub const CURSOR: &str = "sdx1/gate-cursor";
/// Slot of a grant among those of one section, epoch and reader.
pub const SLOT: &str = "sdx1/gate-slot";
