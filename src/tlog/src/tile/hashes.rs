//! Hash tiles.

use sealdex_crypto::log::{Hash, node_hash};

use super::{TILE_HEIGHT, TILE_WIDTH, TileError};

const HASH_BYTES: usize = size_of::<Hash>();

/// Neighbouring hashes of one level, 1 to 256.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashTile(Vec<Hash>);

impl HashTile {
    /// Reads a tile of `width` hashes.
    ///
    /// # Errors
    /// [`TileError`] unless there are exactly so many.
    pub fn parse(bytes: &[u8], width: u16) -> Result<Self, TileError> {
        if !(1..=TILE_WIDTH).contains(&width) {
            return Err(TileError::Width { width });
        }
        let (hashes, rest) = bytes.as_chunks::<HASH_BYTES>();
        if hashes.len() != usize::from(width) || !rest.is_empty() {
            return Err(TileError::HashTileLength { width, found: bytes.len() });
        }
        Ok(Self(hashes.to_vec()))
    }

    /// The hashes from left to right.
    #[must_use]
    pub fn hashes(&self) -> &[Hash] {
        &self.0
    }

    /// The node `index` of the level `height` above the tile's hashes, 0 to 8; `None` if the tile
    /// does not have all that is below it.
    #[must_use]
    pub fn node(&self, height: u32, index: usize) -> Option<Hash> {
        if height > TILE_HEIGHT {
            return None;
        }
        let start = index.checked_mul(1 << height)?;
        self.0.get(start..start.checked_add(1 << height)?).map(complete_root)
    }
}

/// The bytes of a tile.
pub(crate) fn encode_hashes(hashes: &[Hash]) -> Vec<u8> {
    hashes.concat()
}

/// Root of the complete subtree over these hashes; their number is a power of two.
pub(crate) fn complete_root(hashes: &[Hash]) -> Hash {
    match hashes {
        [hash] => *hash,
        _ => {
            let (left, right) = hashes.split_at(hashes.len() / 2);
            node_hash(&complete_root(left), &complete_root(right))
        }
    }
}
