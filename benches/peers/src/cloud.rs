//! Our cloud, as a library and without HTTP: its store and its merged index in a directory.

use std::path::Path;

use sealdex_cloud::index::{IndexSearch, MergedIndex, TantivyIndex};
use sealdex_cloud::store::{NewBatch, RedbStore, SealedStore};
use sealdex_crypto::{BatchId, PrincipalId, RecordId, Term};
use sealdex_wire::ingest::{BridgedRecord, UploadRecord};

use crate::Failure;

/// Who pushes everything.
const PROVIDER: PrincipalId = PrincipalId([2; 16]);

/// A record as it is uploaded; `terms` are its index entries, 16 bytes each.
pub fn record(id: RecordId, origin: Term, terms: Vec<u8>, tag: Vec<u8>, sealed: Vec<u8>) -> UploadRecord {
    UploadRecord { id, index: BridgedRecord { origin, terms, tag }, sealed }
}

/// A batch that only adds, with a number of its own.
pub fn batch(number: u64, records: Vec<UploadRecord>) -> NewBatch {
    NewBatch {
        batch: BatchId(u128::from(number + 1).to_be_bytes()),
        provider: PROVIDER,
        hospital: PROVIDER,
        body_sha256: [0; 32],
        records,
        deletes: Vec::new(),
        erases: Vec::new(),
        stated: None,
    }
}

/// Store and index in a directory.
pub struct Cloud {
    pub store: RedbStore,
    pub index: TantivyIndex,
}

impl Cloud {
    pub fn create(dir: &Path) -> Result<Self, Failure> {
        let store = RedbStore::open(&dir.join("store.redb"))?;
        Ok(Self { store, index: TantivyIndex::open(&dir.join("index"))? })
    }

    /// Makes a batch durable.
    pub fn accept(&self, batch: NewBatch) -> Result<(), Failure> {
        for answer in self.store.accept(&[batch])? {
            answer?;
        }
        Ok(())
    }

    /// Makes what is durable searchable.
    pub fn index(&self) -> Result<(), Failure> {
        self.index.catch_up(self.store.snapshot()?)?;
        Ok(())
    }

    /// The number of matches, each with id, provider and routing tag.
    pub fn find(&self, search: &IndexSearch) -> Result<usize, Failure> {
        Ok(std::hint::black_box(self.index.find(search)?).len())
    }
}
