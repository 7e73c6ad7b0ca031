//! Our cloud, as a library and without HTTP: its store and its merged index in a directory.

use std::path::Path;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use sealdex_cloud::index::{IndexSearch, MergedIndex, TantivyIndex};
use sealdex_cloud::store::{Change, NewBatch, RedbStore, SealedStore, Snapshot, StoreError, StoredRecord, TreeKind};
use sealdex_crypto::{BatchId, PrincipalId, RecordId, Term, log::Hash};
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
    bare: Arc<AtomicBool>,
}

impl Cloud {
    pub fn create(dir: &Path) -> Result<Self, Failure> {
        let store = RedbStore::open(&dir.join("store.redb"))?;
        Ok(Self { store, index: TantivyIndex::open(&dir.join("index"))?, bare: Arc::default() })
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
        let inner = self.store.snapshot()?;
        self.index.catch_up(Arc::new(Rows { inner, bare: self.bare.clone() }))?;
        Ok(())
    }

    /// The number of matches. `bare` leaves out reading their rows.
    pub fn find(&self, search: &IndexSearch, bare: bool) -> Result<usize, Failure> {
        self.bare.store(bare, Ordering::Relaxed);
        let found = self.index.find(search);
        self.bare.store(false, Ordering::Relaxed);
        Ok(std::hint::black_box(found?).len())
    }

    /// The state of the store that is searched, for others to read rows from.
    pub fn snapshot(&self) -> Result<Arc<dyn Snapshot>, Failure> {
        Ok(self.store.snapshot()?)
    }
}

/// A snapshot that can be told to give an empty row for every record, so that what the index costs is seen by itself.
struct Rows {
    inner: Arc<dyn Snapshot>,
    bare: Arc<AtomicBool>,
}

impl Snapshot for Rows {
    fn record(&self, id: RecordId) -> Result<Option<StoredRecord>, StoreError> {
        if !self.bare.load(Ordering::Relaxed) {
            return self.inner.record(id);
        }
        Ok(Some(StoredRecord {
            provider: PROVIDER,
            hospital: PROVIDER,
            origin: Term([0; 16]),
            seq: 0,
            place: 0,
            sealed_hash: Default::default(),
            tag: Vec::new(),
            terms: Vec::new(),
        }))
    }

    fn store_id(&self) -> [u8; 16] {
        self.inner.store_id()
    }
    fn last_seq(&self) -> u64 {
        self.inner.last_seq()
    }
    fn live(&self) -> u64 {
        self.inner.live()
    }
    fn change(&self, seq: u64) -> Result<Option<Change>, StoreError> {
        self.inner.change(seq)
    }
    fn ids(&self, after: Option<RecordId>, limit: usize) -> Result<Vec<RecordId>, StoreError> {
        self.inner.ids(after, limit)
    }
    fn entry(&self, seq: u64) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.entry(seq)
    }
    fn last_stated(&self, provider: PrincipalId) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.last_stated(provider)
    }
    fn ended(&self, seq: u64) -> Result<Vec<u8>, StoreError> {
        self.inner.ended(seq)
    }
    fn page(&self, seq: u64, page: u64) -> Result<Vec<u8>, StoreError> {
        self.inner.page(seq, page)
    }
    fn node(&self, seq: u64, tree: TreeKind, place: u64) -> Result<Hash, StoreError> {
        self.inner.node(seq, tree, place)
    }
    fn sealed(&self, ids: &[RecordId], max_bytes: usize) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        self.inner.sealed(ids, max_bytes)
    }
}
