//! The merged index: which live records match a clause, over all hospitals at once.
//!
//! An index is derived from a [`Snapshot`] of the store and keeps that snapshot beside it, so every
//! search answers exactly for one state of the store: what had been accepted up to [`MergedIndex::indexed`].
//! [`TantivyIndex`] is the embedded one; [`BruteForce`] looks at every record and is what tests
//! compare it with.

mod brute;
mod by_id;
mod columns;
mod dictionary;
mod docs;
mod pages;
mod plan;
mod purge;
mod query;
mod sorted;
mod tantivy;
mod tidy;

use std::sync::Arc;

use sealdex_crypto::PrincipalId;
use sealdex_ledger::{clause::holds, run::TermRange};
use sealdex_wire::search::{CloudClause, CloudCursor, CloudSort};

use crate::store::{Snapshot, StoreError, StoredRecord};
use sealdex_ledger::clause::is_after;

pub(crate) use self::tantivy::each_pair;
pub use self::{brute::BruteForce, purge::Purged, tantivy::TantivyIndex};

/// A search whose clause has been checked. `Source` clauses name providers themselves: whoever is
/// below them has been added already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexSearch {
    /// What to find.
    pub clause: CloudClause,
    /// Order: by code and id (both reversed when descending), records without the field left out;
    /// by id when absent. A record with several codes is placed once, by the one that comes first.
    pub sort: Option<CloudSort>,
    /// Go on after this match.
    pub after: Option<CloudCursor>,
    /// Most matches to return.
    pub limit: usize,
}

/// A match: where it stands in the order, and what the gate needs of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its place; the code is 0 when not sorting.
    pub at: CloudCursor,
    /// Who pushed it.
    pub provider: PrincipalId,
    /// Routing tag.
    pub tag: Vec<u8>,
}

impl Found {
    fn of(at: CloudCursor, record: StoredRecord) -> Self {
        Self { at, provider: record.provider, tag: record.tag }
    }
}

/// What a search found.
#[derive(Default)]
pub struct Searched {
    /// Matches.
    pub found: Vec<Found>,
    /// The state that was searched; `None` before the first [`MergedIndex::catch_up`].
    pub state: Option<Arc<dyn Snapshot>>,
}

/// Why the index failed.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The index itself.
    #[error("the index failed: {0}")]
    Backend(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The store below it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Rebuilt from the store and still not of one mind with it.
    #[error("the index holds {indexed} records and the store {stored}, even after a rebuild")]
    AtOdds {
        /// Records in the index.
        indexed: u64,
        /// Live records in the store.
        stored: u64,
    },
    /// A match whose columns are not there, though their file is whole.
    #[error("the index lacks the id, provider or routing tag of a match: remove its folder, and it is built anew")]
    Column,
    /// Another thread died while it changed the index.
    #[error("the index is no longer usable: restart the server")]
    Poisoned,
}

/// An index over one store.
pub trait MergedIndex: Send + Sync + 'static {
    /// Brings the index to the state of `snapshot` and makes it durable and searchable; returns its
    /// place. An index of another store, ahead of the store, or at odds with it is built anew. What
    /// was interrupted is done again: each live record is in the index exactly once.
    fn catch_up(&self, snapshot: Arc<dyn Snapshot>) -> Result<u64, IndexError>;

    /// Place of the last batch that is searchable.
    fn indexed(&self) -> u64;

    /// Live matches in the asked order, at most `limit`, and the state of the store for which they are exact.
    fn search(&self, search: &IndexSearch) -> Result<Searched, IndexError>;

    /// The matches of [`MergedIndex::search`].
    fn find(&self, search: &IndexSearch) -> Result<Vec<Found>, IndexError> {
        Ok(self.search(search)?.found)
    }

    /// About how many (term, record) pairs are in a range; counting stops beyond `most`.
    fn frequency(&self, range: &TermRange, most: u64) -> Result<u64, IndexError>;

    /// The store as it is searched: whatever a search finds is there, also what has been replaced since.
    /// `None` before the first [`MergedIndex::catch_up`].
    fn snapshot(&self) -> Option<Arc<dyn Snapshot>>;

    /// Verifies what is on disk; what is wrong with it. A damaged index answers nothing more until
    /// [`MergedIndex::catch_up`] has built it anew.
    fn check(&self) -> Result<Option<String>, IndexError> {
        Ok(None)
    }

    /// Gets rid of every byte of documents deleted by now while the index is searched, as long as `go_on`.
    fn purge(&self, _go_on: &dyn Fn() -> bool) -> Result<Purged, IndexError> {
        Ok(Purged { gone: true, ..Purged::default() })
    }

    /// To be called while nothing comes in: puts the index in the order that is searched fastest, a bit at a time and without
    /// being waited for. Whether to call it again.
    fn tidy(&self) -> Result<bool, IndexError> {
        Ok(false)
    }

    /// Bytes on disk.
    fn bytes(&self) -> u64;
}

/// Whether a record matches a clause: what every index must agree with.
fn matches(clause: &CloudClause, record: &StoredRecord) -> bool {
    holds(clause, record.provider, &record.terms)
}
