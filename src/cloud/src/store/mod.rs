//! What the cloud keeps, behind narrow traits: any backend that passes the conformance suite in
//! `tests/store.rs` will do. [`RedbStore`] is the embedded one, [`MemoryStore`] the reference the
//! suite compares with.
//!
//! The store is the truth; the merged index is derived from it and may be thrown away at any time.
//! Each accepted batch has a place `seq` (1, 2, …) in the order of acceptance, and the store keeps
//! for each place which records came and which went, so that an index knows what it has not seen.

mod acts;
mod compact;
mod memory;
mod redb;
mod rewrite;
mod row;
mod rows;

use std::sync::Arc;

use sealdex_crypto::{BatchId, PrincipalId, RecordId, Term, log::Hash};
use sealdex_ledger::{BatchTrees, SignedBatch};
use sealdex_wire::{
    ingest::{BatchReceipt, UploadRecord},
    search::CloudSort,
};

pub use self::{
    acts::{ActStore, ActsRefused},
    compact::{Compacted, GivenUp, Pace},
    memory::MemoryStore,
    redb::RedbStore,
    rewrite::{Rewritten, rewrite},
    rows::Restored,
};
pub(crate) use self::{
    row::ids as packed_ids,
    rows::{Kind, Position, Row},
};

/// A batch whose signatures, limits and caller have been checked.
#[derive(Clone, Debug)]
pub struct NewBatch {
    /// Idempotency key.
    pub batch: BatchId,
    /// Who pushed it.
    pub provider: PrincipalId,
    /// Root of the provider's path: only records of the same hospital are replaced.
    pub hospital: PrincipalId,
    /// SHA-256 of the request body: what makes a repeated batch the same one.
    pub body_sha256: [u8; 32],
    /// Records, any order. Of two with one origin the later wins.
    pub records: Vec<UploadRecord>,
    /// Origins that end without a successor: none twice, and none of a record of the batch.
    pub deletes: Vec<Term>,
    /// Records that end by order of their owner; then the batch has nothing else.
    pub erases: Vec<RecordId>,
    /// What its provider stated of it for the log, checked but for its place in the chain and what it ends.
    pub stated: Option<Arc<StatedBatch>>,
}

/// A statement that fits its batch, and what the batch is proved from.
pub struct StatedBatch {
    /// Statement and signature.
    pub signed: SignedBatch,
    /// Ids that it ends, ascending, 16 bytes each.
    pub ended: Vec<u8>,
    /// The trees it is about.
    pub trees: BatchTrees,
}

impl std::fmt::Debug for StatedBatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.signed.statement.fmt(f)
    }
}

/// A live record without its sealed bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRecord {
    /// Who pushed it.
    pub provider: PrincipalId,
    /// The hospital that provider belonged to.
    pub hospital: PrincipalId,
    /// Term of its identity.
    pub origin: Term,
    /// Place of its batch.
    pub seq: u64,
    /// Place in its batch, from 0.
    pub place: u32,
    /// Hash of its sealed bytes; zeros where its batch came without a statement.
    pub sealed_hash: Hash,
    /// Routing tag.
    pub tag: Vec<u8>,
    /// Terms and order terms, 16 bytes each.
    pub terms: Vec<u8>,
}

impl StoredRecord {
    /// The code this record sorts by under an order tag: its largest when descending, else its
    /// smallest; `None` without one. Cost: one pass over the terms.
    pub fn sort_code(&self, tag: &[u8; 8], descending: bool) -> Option<u64> {
        sealdex_ledger::clause::sort_code(&self.terms, CloudSort { tag: *tag, descending })
    }
}

/// What one batch changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Records it brought. Some may have been replaced since.
    pub added: Vec<RecordId>,
    /// Older records it replaced or deleted.
    pub replaced: Vec<RecordId>,
}

/// Counts over everything stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Live records.
    pub records: u64,
    /// Batches accepted.
    pub batches: u64,
    /// Highest place given out.
    pub last_seq: u64,
    /// Bytes of live sealed records.
    pub sealed_bytes: u64,
    /// Bytes on disk.
    pub store_bytes: u64,
    /// Live records per provider, in id order.
    pub providers: Vec<(PrincipalId, u64)>,
}

/// Why one batch of a group was not accepted. Nothing of it was stored.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Refused {
    /// The batch id stands for other bytes or another provider.
    #[error(
        "batch {0} was accepted before with other contents or from another provider: give new contents a new batch id"
    )]
    BatchReused(BatchId),
    /// A record id came in another batch.
    #[error("record {0} exists already in another batch: every version of a record needs a new id")]
    RecordExists(RecordId),
    /// A record id occurs twice in the batch.
    #[error("record {0} occurs twice in the batch")]
    RepeatedRecord(RecordId),
    /// The older version belongs to another hospital.
    #[error("record {0} has the origin of a record of another hospital")]
    ForeignOrigin(RecordId),
    /// The record to delete belongs to another hospital.
    #[error("record {0}, which the batch would delete, is of another hospital")]
    ForeignDeletion(RecordId),
    /// A statement that does not follow the provider's last.
    #[error(
        "statement {found} of provider {provider} does not follow {last}, its last: read the log, and state it anew"
    )]
    Chain {
        /// Whose.
        provider: PrincipalId,
        /// Its last.
        last: u64,
        /// This one.
        found: u64,
    },
    /// A statement that ends other records than the batch does.
    #[error(
        "the batch replaces or deletes {0} records, and not those that its statement ends: ask which, and state it anew"
    )]
    Ended(usize),
    /// A batch with a statement where others have none, or the other way round.
    #[error("{0}")]
    Statement(&'static str),
}

/// Why the store failed. Nothing of the operation took effect.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The backend failed.
    #[error("the store failed: {0}")]
    Backend(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// There is no room to write.
    #[error("{0}")]
    NoSpace(String),
    /// What is stored does not read back.
    #[error("the store is damaged: a row of {0} does not parse; restore it from a backup")]
    Damaged(&'static str),
    /// More bytes than the caller can take.
    #[error("these records are more than {0} bytes together: fetch fewer at once")]
    TooLarge(usize),
}

/// Sealed records and what finds them.
pub trait SealedStore: Send + Sync + 'static {
    /// Accepts a group of batches in one durable transaction, in order: each answer stands on its
    /// own, and an accepted batch is on disk when this returns. A batch that was accepted before,
    /// with the same body and provider, is answered with its receipt and `duplicate` set.
    fn accept(&self, group: &[NewBatch]) -> Result<Vec<Result<BatchReceipt, Refused>>, StoreError>;

    /// A consistent view of everything accepted so far. Cheap; holding it for long keeps replaced
    /// records on disk.
    fn snapshot(&self) -> Result<Arc<dyn Snapshot>, StoreError>;

    /// Older versions that a batch of this hospital with these origins would replace: of each its id, in the order of
    /// the origins; `None` where there is none.
    fn versions(&self, hospital: PrincipalId, origins: &[Term]) -> Result<Vec<Option<RecordId>>, StoreError>;

    /// Counts, now.
    fn totals(&self) -> Result<Totals, StoreError>;
}

/// Which tree of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TreeKind {
    /// Over the pages of its run.
    Run,
    /// Over its records.
    Records,
}

/// One state of the store, between two batches.
pub trait Snapshot: Send + Sync {
    /// Names this store, so that an index of another one is not taken for its own. Random.
    fn store_id(&self) -> [u8; 16];
    /// Place of the last batch in this state; 0 when there is none.
    fn last_seq(&self) -> u64;
    /// Live records.
    fn live(&self) -> u64;
    /// What the batch at a place changed, `None` beyond the last.
    fn change(&self, seq: u64) -> Result<Option<Change>, StoreError>;
    /// A live record.
    fn record(&self, id: RecordId) -> Result<Option<StoredRecord>, StoreError>;
    /// Ids of up to `limit` live records after `after`, ascending.
    fn ids(&self, after: Option<RecordId>, limit: usize) -> Result<Vec<RecordId>, StoreError>;
    /// The log's entry of the batch at a place; `None` beyond the last, and for one without a statement.
    fn entry(&self, seq: u64) -> Result<Option<Vec<u8>>, StoreError>;
    /// A provider's last statement, as an entry of the log.
    fn last_stated(&self, provider: PrincipalId) -> Result<Option<Vec<u8>>, StoreError>;
    /// Ids that the batch at a place ended, as its provider stated them; empty if none.
    fn ended(&self, seq: u64) -> Result<Vec<u8>, StoreError>;
    /// Pairs of a page of a batch's run.
    fn page(&self, seq: u64, page: u64) -> Result<Vec<u8>, StoreError>;
    /// A node of one of a batch's trees.
    fn node(&self, seq: u64, tree: TreeKind, place: u64) -> Result<Hash, StoreError>;
    /// The nodes that come with one when it is read: the place of the first, and all of them.
    fn nodes(&self, seq: u64, tree: TreeKind, place: u64) -> Result<(u64, Vec<Hash>), StoreError> {
        Ok((place, vec![self.node(seq, tree, place)?]))
    }
    /// Sealed bytes in the order of `ids`, `None` for what is not live; at most `max_bytes` in all.
    fn sealed(&self, ids: &[RecordId], max_bytes: usize) -> Result<Vec<Option<Vec<u8>>>, StoreError>;
}

/// The one document the cloud serves by.
pub trait RosterStore: Send + Sync + 'static {
    /// The signed roster as last put.
    fn roster(&self) -> Result<Option<Vec<u8>>, StoreError>;
    /// Replaces it, durably.
    fn put_roster(&self, document: &[u8]) -> Result<(), StoreError>;
}
