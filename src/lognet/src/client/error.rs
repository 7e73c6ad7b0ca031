//! Why something of a log could not be had.

use sealdex_crypto::log::LogError;
use sealdex_net::CallError;
use sealdex_tlog::{
    note::NoteError,
    tile::{TileError, TileId},
};

/// Why something of a log could not be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// No answer, one that is too long, or an address that is none.
    #[error(transparent)]
    Call(#[from] CallError),
    /// A status that is neither 200 nor 404.
    #[error("{url} answered with HTTP status {status}")]
    Status {
        /// What was asked for.
        url: String,
        /// HTTP status.
        status: u16,
    },
    /// What the log should have and has not.
    #[error("{url} does not exist: has the log published a checkpoint, and is this its address?")]
    Missing {
        /// What was asked for.
        url: String,
    },
    /// A checkpoint that is no note.
    #[error("{url} is no signed note: {error}")]
    Note {
        /// What was asked for.
        url: String,
        /// In what way.
        error: NoteError,
    },
    /// A tile that is none.
    #[error("{url} is no tile: {error}")]
    Tile {
        /// What was asked for.
        url: String,
        /// In what way.
        error: TileError,
    },
    /// Hashes asked of a bundle, or entries of a hash tile.
    #[error("{id} is a tile of the other kind")]
    Kind {
        /// Which.
        id: TileId,
    },
    /// Entries the tree does not have.
    #[error("there are no entries {start} to {end} in a log of {size}")]
    Range {
        /// The first that was asked for.
        start: u64,
        /// The one behind the last.
        end: u64,
        /// Entries there are.
        size: u64,
    },
    /// No such tree or proof.
    #[error(transparent)]
    Tree(#[from] LogError),
}

impl FetchError {
    /// Whether the same request may succeed later.
    pub(super) fn passes(&self) -> bool {
        match self {
            Self::Call(CallError::Unreachable { .. }) => true,
            Self::Status { status, .. } => *status == 429 || *status >= 500,
            _ => false,
        }
    }
}
