//! Where a log is kept, and reading proofs from there.

use std::io;

pub use crate::storage::StorageError;
use crate::tile::{EntryBundle, HashTile, TILE_WIDTH, TileError, TileId, TileKind, TileReader};

/// Which of a log's two checkpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Slot {
    /// The newest that the log has signed: what it has, whether witnesses know it or not.
    Head,
    /// The newest to be served, with the cosignatures readers ask for.
    Published,
}

/// Reading what a log has stored.
pub trait TileStore {
    /// Exactly this tile, `None` if there is none.
    ///
    /// # Errors
    /// [`StorageError`].
    fn read_tile(&self, id: &TileId) -> Result<Option<Vec<u8>>, StorageError>;

    /// A checkpoint, `None` if none was written.
    ///
    /// # Errors
    /// [`StorageError`].
    fn read_checkpoint(&self, slot: Slot) -> Result<Option<Vec<u8>>, StorageError>;
}

/// Storing a log. The whole promise of durability is in [`Self::write_checkpoint`]: whatever
/// happens before it returns, the tiles of the last checkpoint are as they were.
pub trait LogStorage: TileStore {
    /// Puts a tile in place of the one of this name, if any. A crash may lose it or leave it
    /// with any content, until a checkpoint is written.
    ///
    /// # Errors
    /// [`StorageError`].
    fn write_tile(&mut self, id: &TileId, bytes: &[u8]) -> Result<(), StorageError>;

    /// Makes all tiles that were written durable, then puts the checkpoint in place: after a
    /// crash there is the one before or this one, and this one once it has returned.
    ///
    /// # Errors
    /// [`StorageError`]; then there is the checkpoint before or this one.
    fn write_checkpoint(&mut self, slot: Slot, bytes: &[u8]) -> Result<(), StorageError>;

    /// Drops the partial tiles of a full one, which is in the last checkpoint. What cannot be
    /// dropped takes room and harms nobody.
    fn drop_partial(&mut self, full: &TileId);
}

impl<S: TileStore + ?Sized> TileStore for &mut S {
    fn read_tile(&self, id: &TileId) -> Result<Option<Vec<u8>>, StorageError> {
        (**self).read_tile(id)
    }

    fn read_checkpoint(&self, slot: Slot) -> Result<Option<Vec<u8>>, StorageError> {
        (**self).read_checkpoint(slot)
    }
}

impl<S: LogStorage + ?Sized> LogStorage for &mut S {
    fn write_tile(&mut self, id: &TileId, bytes: &[u8]) -> Result<(), StorageError> {
        (**self).write_tile(id, bytes)
    }

    fn write_checkpoint(&mut self, slot: Slot, bytes: &[u8]) -> Result<(), StorageError> {
        (**self).write_checkpoint(slot, bytes)
    }

    fn drop_partial(&mut self, full: &TileId) {
        (**self).drop_partial(full);
    }
}

/// A stored tile that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoredTileError {
    /// Storage that failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A tile the tree must have.
    #[error("{id} is missing from storage")]
    Missing {
        /// Which tile.
        id: TileId,
    },
    /// A tile that is none.
    #[error("{id} in storage is damaged: {error}")]
    Damaged {
        /// Which tile.
        id: TileId,
        /// In what way.
        error: TileError,
    },
}

/// Tiles of a stored tree, as large as a checkpoint says that it is. Proofs about any smaller
/// tree can be made from them, also while the log grows.
#[derive(Clone)]
pub struct StoredTiles<'a, S: ?Sized> {
    store: &'a S,
    size: u64,
}

impl<'a, S: TileStore + ?Sized> StoredTiles<'a, S> {
    /// The tiles of a tree of `size` entries, which must be in the store.
    #[must_use]
    pub fn new(store: &'a S, size: u64) -> Self {
        Self { store, size }
    }

    /// The entry at this place of the log.
    ///
    /// # Errors
    /// [`StoredTileError`].
    pub fn entry(&self, index: u64) -> Result<Vec<u8>, StoredTileError> {
        let width = u64::from(TILE_WIDTH);
        let bundle = self.bundle(index / width)?;
        let missing = || StorageError::new("find entry", index, io::ErrorKind::NotFound);
        Ok(bundle.get((index % width) as usize).ok_or_else(missing)?.to_vec())
    }

    /// The bundle at this place of the log, as it is in this tree or wider.
    ///
    /// # Errors
    /// [`StoredTileError`].
    pub fn bundle(&self, index: u64) -> Result<EntryBundle, StoredTileError> {
        let missing = || StorageError::new("find bundle", index, io::ErrorKind::NotFound);
        let id = TileId::in_tree(TileKind::Entries, index, self.size).ok_or_else(missing)?;
        let (id, bytes) = self.read(id)?;
        EntryBundle::parse(bytes, id.width()).map_err(|error| StoredTileError::Damaged { id, error })
    }

    fn read(&self, id: TileId) -> Result<(TileId, Vec<u8>), StoredTileError> {
        if let Some(bytes) = self.store.read_tile(&id)? {
            return Ok((id, bytes));
        }
        // A partial tile goes once the full one is there.
        let full = id.full();
        let bytes = if id.is_partial() { self.store.read_tile(&full)? } else { None };
        Ok((full, bytes.ok_or(StoredTileError::Missing { id })?))
    }
}

impl<S: TileStore + ?Sized> TileReader for StoredTiles<'_, S> {
    type Error = StoredTileError;

    fn hash_tile(&self, id: &TileId) -> Result<HashTile, StoredTileError> {
        let id = TileId::in_tree(id.kind(), id.index(), self.size).unwrap_or(*id);
        let (id, bytes) = self.read(id)?;
        HashTile::parse(&bytes, id.width()).map_err(|error| StoredTileError::Damaged { id, error })
    }
}
