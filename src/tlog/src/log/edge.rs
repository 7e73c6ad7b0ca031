//! The right edge of the tree: all that is needed to make it grow.

use sealdex_crypto::log::{Hash, empty_root, node_hash};

use super::storage::{StoredTileError, StoredTiles, TileStore};
use crate::tile::{TILE_HEIGHT, TILE_WIDTH, TileId, TileKind, TileReader, complete_root};

/// The partial tile of each level, at most 255 hashes: 64 KiB for any tree.
#[derive(Clone, Default)]
pub(super) struct Edge {
    levels: Vec<Level>,
}

/// The tile of a level that still grows; without hashes between two tiles.
#[derive(Clone, Default)]
struct Level {
    index: u64,
    hashes: Vec<Hash>,
    changed: bool,
}

impl Level {
    fn id(&self, level: usize) -> TileId {
        TileId::known(TileKind::Hashes(level as u8), self.index, self.hashes.len() as u16)
    }
}

impl Edge {
    /// The edge of a stored tree.
    pub(super) fn load(store: &(impl TileStore + ?Sized), size: u64) -> Result<Self, StoredTileError> {
        let tiles = StoredTiles::new(store, size);
        let mut levels = Vec::new();
        let mut nodes = size;
        for level in 0.. {
            if nodes == 0 {
                break;
            }
            let index = nodes / u64::from(TILE_WIDTH);
            let hashes = match TileId::in_tree(TileKind::Hashes(level), index, size) {
                Some(id) => tiles.hash_tile(&id)?.hashes()[..id.width().into()].to_vec(),
                None => Vec::new(),
            };
            levels.push(Level { index, hashes, changed: false });
            nodes >>= TILE_HEIGHT;
        }
        Ok(Self { levels })
    }

    /// Number of entries.
    pub(super) fn size(&self) -> u64 {
        self.levels.first().map_or(0, |l| l.index * u64::from(TILE_WIDTH) + l.hashes.len() as u64)
    }

    /// Hashes of the entries in the bundle that still grows.
    pub(super) fn leaves(&self) -> &[Hash] {
        self.levels.first().map_or(&[], |level| &level.hashes)
    }

    /// The tiles that still grow.
    pub(super) fn partial(&self) -> impl Iterator<Item = TileId> {
        let tiles = self.levels.iter().enumerate().filter(|(_, tile)| !tile.hashes.is_empty());
        tiles.map(|(level, tile)| tile.id(level))
    }

    /// Root of the tree (RFC 6962): its largest complete subtrees, joined from the right.
    pub(super) fn root(&self) -> Hash {
        let mut peaks = Vec::new();
        for level in self.levels.iter().rev() {
            let mut rest = level.hashes.as_slice();
            while !rest.is_empty() {
                let (peak, after) = rest.split_at(1 << rest.len().ilog2());
                peaks.push(complete_root(peak));
                rest = after;
            }
        }
        peaks.into_iter().rev().reduce(|right, left| node_hash(&left, &right)).unwrap_or_else(empty_root)
    }

    /// Appends an entry's hash and hands over every tile that is full with it.
    pub(super) fn push<E>(
        &mut self,
        leaf: Hash,
        mut full: impl FnMut(TileId, &[Hash]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut hash = leaf;
        for level in 0.. {
            if self.levels.len() == level {
                self.levels.push(Level::default());
            }
            let tile = &mut self.levels[level];
            tile.hashes.push(hash);
            tile.changed = true;
            if tile.hashes.len() < usize::from(TILE_WIDTH) {
                break;
            }
            full(tile.id(level), &tile.hashes)?;
            hash = complete_root(&tile.hashes);
            *tile = Level { index: tile.index + 1, ..Level::default() };
        }
        Ok(())
    }

    /// The partial tiles that have changed since this was asked last.
    pub(super) fn take_changed<E>(
        &mut self,
        mut partial: impl FnMut(TileId, &[Hash]) -> Result<(), E>,
    ) -> Result<(), E> {
        for (level, tile) in self.levels.iter_mut().enumerate() {
            if std::mem::take(&mut tile.changed) && !tile.hashes.is_empty() {
                partial(tile.id(level), &tile.hashes)?;
            }
        }
        Ok(())
    }
}
