//! A log in memory: for tests, and for logs that need not outlive the process.

use std::collections::BTreeMap;

use super::storage::{LogStorage, Slot, StorageError, TileStore};
use crate::tile::TileId;

/// Storage in memory.
#[derive(Clone, Default)]
pub struct MemoryStorage {
    tiles: BTreeMap<TileId, Vec<u8>>,
    checkpoints: BTreeMap<Slot, Vec<u8>>,
}

impl MemoryStorage {
    /// Storage with nothing in it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The tiles there are.
    pub fn tiles(&self) -> impl Iterator<Item = &TileId> {
        self.tiles.keys()
    }
}

impl TileStore for MemoryStorage {
    fn read_tile(&self, id: &TileId) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.tiles.get(id).cloned())
    }

    fn read_checkpoint(&self, slot: Slot) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.checkpoints.get(&slot).cloned())
    }
}

impl LogStorage for MemoryStorage {
    fn write_tile(&mut self, id: &TileId, bytes: &[u8]) -> Result<(), StorageError> {
        self.tiles.insert(*id, bytes.to_vec());
        Ok(())
    }

    fn write_checkpoint(&mut self, slot: Slot, bytes: &[u8]) -> Result<(), StorageError> {
        self.checkpoints.insert(slot, bytes.to_vec());
        Ok(())
    }

    fn drop_partial(&mut self, full: &TileId) {
        self.tiles.retain(|id, _| !id.is_partial() || id.full() != *full);
    }
}
