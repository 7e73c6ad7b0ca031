//! What a witness remembers.

use sealdex_crypto::log::Hash;

pub use crate::storage::StorageError;

/// The tree of a log that was cosigned last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeHead {
    /// Number of entries.
    pub size: u64,
    /// Root of the tree over them.
    pub root: Hash,
}

/// Where a witness keeps, for each log, what it has cosigned last. Whoever loses this lets logs
/// fork: storage that cannot be read must fail, not forget.
pub trait WitnessStorage {
    /// What was cosigned of a log last, `None` if nothing was.
    ///
    /// # Errors
    /// [`StorageError`].
    fn latest(&self, origin: &str) -> Result<Option<TreeHead>, StorageError>;

    /// Puts `new` in place if `expected` is still what was cosigned last, in one step that no
    /// other can come between, and durably before it returns; otherwise changes nothing and
    /// returns `false`.
    ///
    /// # Errors
    /// [`StorageError`]; then either one may be in place.
    fn compare_and_set(&self, origin: &str, expected: Option<&TreeHead>, new: &TreeHead) -> Result<bool, StorageError>;
}

impl<S: WitnessStorage + ?Sized> WitnessStorage for &S {
    fn latest(&self, origin: &str) -> Result<Option<TreeHead>, StorageError> {
        (**self).latest(origin)
    }

    fn compare_and_set(&self, origin: &str, expected: Option<&TreeHead>, new: &TreeHead) -> Result<bool, StorageError> {
        (**self).compare_and_set(origin, expected, new)
    }
}
