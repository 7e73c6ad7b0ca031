//! Roots and proofs from the few tiles they need.

use std::collections::HashMap;

use sealdex_crypto::log::{Hash, LogError, empty_root, node_hash};

use super::{HashTile, TILE_HEIGHT, TileId, TileKind};
use crate::checkpoint::MAX_SIZE;

/// Where tiles come from.
pub trait TileReader {
    /// Why one could not be read.
    type Error;

    /// The hash tile, or a wider one with the same kind and index: a tree that has grown since
    /// may have no other.
    ///
    /// # Errors
    /// Whatever kept it from being read; that there is none is an error as well.
    fn hash_tile(&self, id: &TileId) -> Result<HashTile, Self::Error>;
}

impl<R: TileReader + ?Sized> TileReader for &R {
    type Error = R::Error;

    fn hash_tile(&self, id: &TileId) -> Result<HashTile, Self::Error> {
        (**self).hash_tile(id)
    }
}

/// Why there is no proof.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofError<E> {
    /// No such tree or entry, or a proof that says nothing.
    #[error(transparent)]
    Tree(#[from] LogError),
    /// A tile that the reader does not have.
    #[error("tile not read: {0}")]
    Read(E),
    /// A tile that is narrower than was asked for.
    #[error("{id} was asked for and came with {found} hashes")]
    TooNarrow {
        /// Which tile.
        id: TileId,
        /// Hashes that came.
        found: usize,
    },
}

/// Root of the tree of `size` entries.
///
/// # Errors
/// [`ProofError`].
pub fn root<R: TileReader>(reader: &R, size: u64) -> Result<Hash, ProofError<R::Error>> {
    check_size(size)?;
    if size == 0 { Ok(empty_root()) } else { Nodes::new(reader, size).subtree(0, size) }
}

/// Proof that entry `index` is in the tree of `size` entries, leaf upwards, from at most two
/// tiles a level. Checked with [`sealdex_crypto::log::verify_inclusion`].
///
/// # Errors
/// [`ProofError`].
pub fn inclusion_proof<R: TileReader>(reader: &R, index: u64, size: u64) -> Result<Vec<Hash>, ProofError<R::Error>> {
    check_size(size)?;
    if index >= size {
        return Err(LogError::OutOfRange { index, size }.into());
    }
    let mut nodes = Nodes::new(reader, size);
    let (mut start, mut end) = (0, size);
    let mut proof = Vec::new();
    while end - start > 1 {
        let middle = start + split_point(end - start);
        if index < middle {
            proof.push(nodes.subtree(middle, end)?);
            end = middle;
        } else {
            proof.push(nodes.subtree(start, middle)?);
            start = middle;
        }
    }
    proof.reverse();
    Ok(proof)
}

/// Proof that the tree of `old` entries is a prefix of that of `new` entries; empty if they are
/// the same. Checked with [`sealdex_crypto::log::verify_consistency`].
///
/// # Errors
/// [`ProofError`]; there is no proof from the empty tree.
pub fn consistency_proof<R: TileReader>(reader: &R, old: u64, new: u64) -> Result<Vec<Hash>, ProofError<R::Error>> {
    check_size(new)?;
    if old > new {
        return Err(LogError::OutOfRange { index: old, size: new }.into());
    }
    if old == new {
        return Ok(Vec::new());
    }
    if old == 0 {
        return Err(LogError::FromEmpty.into());
    }
    let mut nodes = Nodes::new(reader, new);
    let (mut start, mut end) = (0, new);
    let mut proof = Vec::new();
    while end != old {
        let middle = start + split_point(end - start);
        if old <= middle {
            proof.push(nodes.subtree(middle, end)?);
            end = middle;
        } else {
            proof.push(nodes.subtree(start, middle)?);
            start = middle;
        }
    }
    // The verifier knows the old root; it needs this node only if it is not that root.
    if start != 0 {
        proof.push(nodes.subtree(start, end)?);
    }
    proof.reverse();
    Ok(proof)
}

fn check_size(size: u64) -> Result<(), LogError> {
    if size > MAX_SIZE { Err(LogError::OutOfRange { index: size, size: MAX_SIZE }) } else { Ok(()) }
}

/// Largest power of two below `length`, which is at least 2.
pub(crate) fn split_point(length: u64) -> u64 {
    1 << (length - 1).ilog2()
}

/// Nodes of one tree; every tile is read once.
struct Nodes<'a, R: TileReader> {
    reader: &'a R,
    size: u64,
    tiles: HashMap<TileId, HashTile>,
}

impl<'a, R: TileReader> Nodes<'a, R> {
    fn new(reader: &'a R, size: u64) -> Self {
        Self { reader, size, tiles: HashMap::new() }
    }

    /// Hash over entries `start..end`, where `start` is a multiple of a power of two that is at
    /// least `end - start`, as every subtree the proofs name is.
    fn subtree(&mut self, start: u64, end: u64) -> Result<Hash, ProofError<R::Error>> {
        let length = end - start;
        if length.is_power_of_two() {
            return self.complete(length.ilog2(), start >> length.ilog2());
        }
        let middle = start + split_point(length);
        Ok(node_hash(&self.subtree(start, middle)?, &self.subtree(middle, end)?))
    }

    /// The node `index` of a level, counted from the entries.
    fn complete(&mut self, level: u32, index: u64) -> Result<Hash, ProofError<R::Error>> {
        let (tile_level, height) = (level / TILE_HEIGHT, level % TILE_HEIGHT);
        // A tile has 2^(8 - height) nodes so far above its hashes.
        let tile_index = index >> (TILE_HEIGHT - height);
        let place = index & ((1 << (TILE_HEIGHT - height)) - 1);
        let missing = || LogError::OutOfRange { index: index << level, size: self.size };
        let kind = TileKind::Hashes(tile_level as u8);
        let id = TileId::in_tree(kind, tile_index, self.size).ok_or_else(missing)?;
        let tile = self.tile(id)?;
        let found = tile.hashes().len();
        tile.node(height, place as usize).ok_or(ProofError::TooNarrow { id, found })
    }

    fn tile(&mut self, id: TileId) -> Result<&HashTile, ProofError<R::Error>> {
        use std::collections::hash_map::Entry;
        match self.tiles.entry(id) {
            Entry::Occupied(tile) => Ok(tile.into_mut()),
            Entry::Vacant(place) => {
                let tile = self.reader.hash_tile(&id).map_err(ProofError::Read)?;
                Ok(place.insert(tile))
            }
        }
    }
}
