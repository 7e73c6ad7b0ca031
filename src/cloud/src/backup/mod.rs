//! Backups: a base, and parts with what came after it, from which the store of any batch in between is made again.
//!
//! A part is a file, under its name once it is whole and durable, never before:
//!
//! ```text
//! "sealdex-cloud-backup/v1\n" ‖ cloud(16) ‖ store(16) ‖ u32 chain ‖ u32 part ‖ SHA-256 of the part before(32)
//! ‖ u64 taken at, Unix ms ‖ u64 after batch ‖ u64 to batch ‖ u64 after act ‖ u64 to act
//! rows: u8 kind ‖ u16 length of key ‖ u32 length of value ‖ key ‖ value
//! u8 0 ‖ u64 rows ‖ SHA-256 of everything before(32)
//! ```
//!
//! A chain is part 0, the base, and the parts after it; each names the hash of the one before. So a changed byte, a part
//! that is missing, and one of another chain are found without any key. Hashes find accidents, not forgers: what
//! providers signed is in the rows, and `sealdex verify` checks it.
//!
//! The search index and the logs are not in it: they are made from the store, and are the same. A restored store is not
//! served until somebody says that what came after it may be lost ([`restore::resume`]).

mod file;
mod first;
pub mod restore;
pub mod schedule;
mod take;

use std::path::PathBuf;

use sealdex_crypto::PrincipalId;

pub(crate) use self::first::First;
pub use self::take::{Backup, Taken};
use crate::store::StoreError;

/// Why a backup was not taken, not read or not restored.
#[derive(Debug, thiserror::Error)]
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
    /// No backup.
    #[error("{0} is no backup of a cloud: it should begin with \"sealdex-cloud-backup/v1\"")]
    NotABackup(PathBuf),
    /// No backups.
    #[error("{0} has no backups of a cloud")]
    Empty(PathBuf),
    /// Of another cloud.
    #[error("{path} is a backup of cloud {found}, this is cloud {own}: give each cloud a backup folder of its own")]
    OtherCloud {
        /// File.
        path: PathBuf,
        /// Whose.
        found: PrincipalId,
        /// Who asks.
        own: PrincipalId,
    },
    /// Changed since it was written.
    #[error("{path} is damaged: {what}")]
    Damaged {
        /// File.
        path: PathBuf,
        /// What does not fit.
        what: String,
    },
    /// A part that is not there, or is of another chain.
    #[error("{path} does not follow the part before it: a file is missing, or was replaced")]
    Chain {
        /// File.
        path: PathBuf,
    },
    /// The backup has more than the store.
    #[error(
        "the backup {path} has {backup} batches and the store {store}: the store is an older one. Restore the newest \
         backup, or give another backup folder if you know better"
    )]
    Ahead {
        /// Its last part.
        path: PathBuf,
        /// Batches it has.
        backup: u64,
        /// Batches there are.
        store: u64,
    },
    /// Nothing that old, or that new.
    #[error("no backup has {asked}: they have {kept}")]
    Point {
        /// What was asked for.
        asked: String,
        /// What there is.
        kept: String,
    },
    /// A batch between two parts, some records of which are gone.
    #[error(
        "the store as of batch {batch} cannot be made whole: {missing} of its records were replaced before the backup \
         was taken. Batches {before} and {after} can; with --backup-first every batch can"
    )]
    Between {
        /// Asked for.
        batch: u64,
        /// Records.
        missing: u64,
        /// A point before it.
        before: u64,
        /// A point after it.
        after: u64,
    },
    /// There is something already.
    #[error("{0} exists already; nothing is ever overwritten: give a new folder")]
    Exists(PathBuf),
    /// Nothing to resume.
    #[error("the store in {0} does not wait to be resumed: it was not restored, or is resumed already")]
    NotRestored(PathBuf),
    /// Cut off before the end of the backup.
    #[error(
        "this store was restored as of batch {0}, before the end of its backup, and its domain has a log that went on: \
         it is for inspection (sealdex verify). Restore without --batch and --at to go on"
    )]
    ForInspection(u64),
    /// Not what was restored.
    #[error(
        "the store was restored as of batch {is}: say --accept-loss-after-batch {is}, knowing that later ones are lost"
    )]
    OtherPoint {
        /// Restored.
        is: u64,
    },
}

impl BackupError {
    fn io(path: impl Into<PathBuf>, e: &std::io::Error) -> Self {
        Self::Io { path: path.into(), reason: e.to_string() }
    }
}
