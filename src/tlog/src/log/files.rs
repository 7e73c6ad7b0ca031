//! A log in a folder, laid out as it is served: `checkpoint` and `tile/…` are what C2SP
//! tlog-tiles has at these paths, `head` is the log's own.

use std::fs;
use std::path::{Path, PathBuf};

use super::storage::{LogStorage, Slot, StorageError, TileStore};
use crate::storage::{LockedFolder, Unsynced, read, with_suffix};
use crate::tile::TileId;

/// Reading a log's folder, also while another process writes to it.
#[derive(Debug, Clone)]
pub struct FileReader {
    folder: PathBuf,
}

impl FileReader {
    /// Reads from this folder.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }
}

impl TileStore for FileReader {
    fn read_tile(&self, id: &TileId) -> Result<Option<Vec<u8>>, StorageError> {
        read(&self.folder.join(id.to_string()))
    }

    fn read_checkpoint(&self, slot: Slot) -> Result<Option<Vec<u8>>, StorageError> {
        read(&self.folder.join(name(slot)))
    }
}

/// A log's folder, locked: one process at a time writes to it.
pub struct FileStorage {
    folder: LockedFolder,
    reader: FileReader,
    unsynced: Unsynced,
}

impl FileStorage {
    /// Opens a folder, making it if there is none.
    ///
    /// # Errors
    /// [`StorageError`], of kind `WouldBlock` if another process has it open.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, StorageError> {
        let folder = LockedFolder::open(folder.as_ref())?;
        let reader = FileReader::new(folder.path());
        let unsynced = Unsynced::new(folder.path());
        Ok(Self { folder, reader, unsynced })
    }

    /// Reading the same folder without the lock.
    #[must_use]
    pub fn reader(&self) -> FileReader {
        self.reader.clone()
    }
}

impl TileStore for FileStorage {
    fn read_tile(&self, id: &TileId) -> Result<Option<Vec<u8>>, StorageError> {
        self.reader.read_tile(id)
    }

    fn read_checkpoint(&self, slot: Slot) -> Result<Option<Vec<u8>>, StorageError> {
        self.reader.read_checkpoint(slot)
    }
}

impl LogStorage for FileStorage {
    fn write_tile(&mut self, id: &TileId, bytes: &[u8]) -> Result<(), StorageError> {
        self.unsynced.replace(&self.folder.path().join(id.to_string()), bytes, false)
    }

    fn write_checkpoint(&mut self, slot: Slot, bytes: &[u8]) -> Result<(), StorageError> {
        self.unsynced.sync()?;
        self.folder.replace(name(slot), bytes)
    }

    fn drop_partial(&mut self, full: &TileId) {
        let path = self.folder.path().join(full.full().to_string());
        let _ = fs::remove_dir_all(with_suffix(&path, ".p"));
    }
}

fn name(slot: Slot) -> &'static str {
    match slot {
        Slot::Head => "head",
        Slot::Published => "checkpoint",
    }
}
