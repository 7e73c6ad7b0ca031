//! A witness's memory that ends with the process: for tests.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::state::{StorageError, TreeHead, WitnessStorage};

/// Storage in memory.
#[derive(Default)]
pub struct WitnessMemory(Mutex<BTreeMap<String, TreeHead>>);

impl WitnessMemory {
    /// Storage with nothing in it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn heads(&self) -> MutexGuard<'_, BTreeMap<String, TreeHead>> {
        // Each change is a single insertion: whoever panicked has left nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WitnessStorage for WitnessMemory {
    fn latest(&self, origin: &str) -> Result<Option<TreeHead>, StorageError> {
        Ok(self.heads().get(origin).cloned())
    }

    fn compare_and_set(&self, origin: &str, expected: Option<&TreeHead>, new: &TreeHead) -> Result<bool, StorageError> {
        let mut heads = self.heads();
        if heads.get(origin) != expected {
            return Ok(false);
        }
        heads.insert(origin.into(), new.clone());
        Ok(true)
    }
}
