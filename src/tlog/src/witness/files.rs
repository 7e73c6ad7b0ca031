//! A witness's memory in a folder: one file a log, with the text of the checkpoint.

use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sha2::{Digest, Sha256};

use super::state::{StorageError, TreeHead, WitnessStorage};
use crate::checkpoint::Checkpoint;
use crate::storage::{LockedFolder, read};

/// A witness's folder, locked: one process at a time has it open.
pub struct WitnessFiles(Mutex<LockedFolder>);

impl WitnessFiles {
    /// Opens a folder, making it if there is none.
    ///
    /// # Errors
    /// [`StorageError`], of kind `WouldBlock` if another process has it open.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, StorageError> {
        Ok(Self(Mutex::new(LockedFolder::open(folder.as_ref())?)))
    }

    fn folder(&self) -> MutexGuard<'_, LockedFolder> {
        // Files are replaced in one step: whoever panicked has left none half written.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WitnessStorage for WitnessFiles {
    fn latest(&self, origin: &str) -> Result<Option<TreeHead>, StorageError> {
        read_head(&self.folder(), origin)
    }

    fn compare_and_set(&self, origin: &str, expected: Option<&TreeHead>, new: &TreeHead) -> Result<bool, StorageError> {
        let folder = self.folder();
        let latest = read_head(&folder, origin)?;
        if latest.as_ref() != expected {
            return Ok(false);
        }
        if latest.as_ref() != Some(new) {
            let invalid = |_| StorageError::new("store", origin, io::ErrorKind::InvalidInput);
            let checkpoint = Checkpoint::new(origin, new.size, new.root).map_err(invalid)?;
            folder.replace(&name(origin), checkpoint.to_string().as_bytes())?;
        }
        Ok(true)
    }
}

fn read_head(folder: &LockedFolder, origin: &str) -> Result<Option<TreeHead>, StorageError> {
    let path = folder.path().join(name(origin));
    let Some(bytes) = read(&path)? else { return Ok(None) };
    let checkpoint = std::str::from_utf8(&bytes).ok().and_then(|text| Checkpoint::parse(text).ok());
    match checkpoint.filter(|c| c.origin() == origin) {
        Some(checkpoint) => Ok(Some(TreeHead { size: checkpoint.size(), root: *checkpoint.root() })),
        None => Err(StorageError::new("understand", path.display(), io::ErrorKind::InvalidData)),
    }
}

/// An origin may have characters that no file's name can have.
fn name(origin: &str) -> String {
    let digest = Sha256::digest(origin);
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{hex}.head")
}
