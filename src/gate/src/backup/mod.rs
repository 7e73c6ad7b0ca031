//! Backups: the whole consent store of one moment in one file, sealed under a key that only the gate has.
//!
//! ```text
//! "sealdex-gate-backup/v1\n" ‖ gate id(16) ‖ u64 taken at, Unix ms ‖ salt(32)
//! chunks of 65,536 + 16 bytes, the last one shorter or as long
//! ```
//!
//! Each chunk is AES-256-SIV under a key derived from the gate's seed and the whole header. Associated data:
//! the chunk's number and whether it is the last. So a changed header, a changed bit, a chunk left out, put
//! elsewhere or added, and an end cut off are all refused. Inside lie the rows ([`rows`]).
//!
//! Backups are taken while the gate serves, in one read transaction ([`files`], [`schedule`]). Restored
//! stores do not serve until someone says that what came after the backup may be lost ([`crate::standing`]).

pub mod files;
pub mod restore;
pub mod rows;
pub mod schedule;
pub mod stream;

use std::path::PathBuf;

use sealdex_crypto::{IdentitySeed, PrincipalId, kdf};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use zeroize::Zeroizing;

use crate::{labels, store::StoreError};

/// What the keys of all backups of a gate are derived from. Wiped on drop, never shown.
pub struct BackupKey(Zeroizing<[u8; 32]>);

impl BackupKey {
    /// `KDF("sdx1/gate-backup", seed, (), 32)`.
    pub fn derive(seed: &IdentitySeed) -> Self {
        Self(kdf::<32>(labels::BACKUP, seed.expose(), &[]))
    }

    /// `KDF("sdx1/gate-backup-file", key, (header), 64)`.
    fn of_file(&self, header: &[u8]) -> Zeroizing<[u8; 64]> {
        kdf::<64>(labels::BACKUP_FILE, &*self.0, &[header])
    }
}

/// Why a backup was not taken, not read or not restored.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum BackupError {
    /// The file system refused.
    #[error("{path}: {reason}")]
    Io {
        /// File.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The gate stopped meanwhile.
    #[error("the gate stopped before the backup was whole; nothing of it was kept")]
    Stopped,
    /// No backup.
    #[error("{0} is no backup of a gate: it should begin with \"sealdex-gate-backup/v1\"")]
    NotABackup(PathBuf),
    /// Of another gate.
    #[error("{path} is a backup of gate {found}; these are the keys of gate {keys}")]
    OtherGate {
        /// File.
        path: PathBuf,
        /// Whose backup.
        found: PrincipalId,
        /// Whose keys.
        keys: PrincipalId,
    },
    /// Changed since it was written.
    #[error("{path} is damaged at byte {at} or was never a whole backup: {what}")]
    Damaged {
        /// File.
        path: PathBuf,
        /// Where, from the file's beginning.
        at: u64,
        /// What does not fit.
        what: String,
    },
    /// A table of another version.
    #[error("{path} has a table {table:?}, which this program does not know: use the version that wrote it")]
    UnknownTable {
        /// File.
        path: PathBuf,
        /// Its name.
        table: String,
    },
    /// What is in it is not in order.
    #[error("{path} is whole, but {damaged} of its rows are not in order, first {first}: nothing was restored")]
    Content {
        /// File.
        path: PathBuf,
        /// How many.
        damaged: u64,
        /// The first.
        first: String,
    },
    /// There is a file already.
    #[error("{0} exists already; a store is never overwritten: move it away first")]
    Exists(PathBuf),
}

impl BackupError {
    pub(crate) fn io(path: impl Into<PathBuf>, e: &std::io::Error) -> Self {
        Self::Io { path: path.into(), reason: e.to_string() }
    }
}

/// A time as people read and type it: RFC 3339, UTC, to the millisecond.
pub fn time_text(unix_ms: u64) -> String {
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(unix_ms) * 1_000_000);
    at.ok().and_then(|t| t.format(&Rfc3339).ok()).unwrap_or_else(|| format!("{unix_ms} ms"))
}

/// Unix milliseconds of an RFC 3339 time.
pub fn parse_time(text: &str) -> Option<u64> {
    let at = OffsetDateTime::parse(text.trim(), &Rfc3339).ok()?;
    u64::try_from(at.unix_timestamp_nanos() / 1_000_000).ok()
}
