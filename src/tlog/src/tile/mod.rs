//! Tiles: the files a log is served as (C2SP tlog-tiles), and proofs from few of them.
//!
//! Hash tiles hold 256 neighbouring nodes of every eighth level of the tree, entry bundles the
//! entries themselves. Tiles come from whoever serves the log: nothing in them is believed
//! before a proof made from them leads to the root of a verified checkpoint.

mod bundle;
mod hashes;
mod path;
mod proof;

pub use bundle::{EntryBundle, MAX_ENTRY_BYTES};
pub use hashes::HashTile;
pub(crate) use hashes::{complete_root, encode_hashes};
pub use path::{MAX_LEVEL, TileId, TileKind};
pub use proof::{ProofError, TileReader, consistency_proof, inclusion_proof, root};

/// Hashes or entries a full tile has.
pub const TILE_WIDTH: u16 = 256;

/// Levels of the tree in a tile: 2⁸ is [`TILE_WIDTH`].
pub const TILE_HEIGHT: u32 = 8;

/// Why a path or the content of a tile was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TileError {
    /// A path that names no tile, or names one in a way that is not its own.
    #[error("not the path of a tile: expected tile/<level or entries>/<index>[.p/<width>]")]
    Path,
    /// A level above [`MAX_LEVEL`].
    #[error("there is no level {level}, the highest is {MAX_LEVEL}")]
    Level {
        /// What was asked for.
        level: u8,
    },
    /// A width outside 1 to 256.
    #[error("a tile is 1 to 256 wide, not {width}")]
    Width {
        /// What was asked for.
        width: u16,
    },
    /// Bytes that are not as many hashes as the tile has.
    #[error("a tile of {width} hashes has {} bytes, this one {found}", u32::from(*.width) * 32)]
    HashTileLength {
        /// Hashes it should have.
        width: u16,
        /// Bytes it has.
        found: usize,
    },
    /// A bundle that ends within an entry.
    #[error("the bundle ends within entry {entry} of {width}")]
    BundleCutOff {
        /// Where it ends, from 0.
        entry: u16,
        /// Entries it should have.
        width: u16,
    },
    /// A bundle that goes on after its last entry.
    #[error("the bundle has {found} bytes behind its {width} entries")]
    BundleTooLong {
        /// Entries it should have.
        width: u16,
        /// Bytes that are left.
        found: usize,
    },
    /// An entry that a bundle cannot hold.
    #[error("an entry has {found} bytes, a bundle holds entries of at most {MAX_ENTRY_BYTES}")]
    EntryTooLong {
        /// Bytes it has.
        found: usize,
    },
}
