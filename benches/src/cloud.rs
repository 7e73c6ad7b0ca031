//! A cloud without HTTP: its store and its index in a folder, filled with records that were never a patient's.

use std::path::Path;

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use sealdex_cloud::{
    index::{IndexSearch, MergedIndex, TantivyIndex},
    store::{NewBatch, RedbStore, SealedStore},
};
use sealdex_crypto::{BatchId, PrincipalId, RecordId, Term};
use sealdex_wire::{
    auth::sha256,
    ingest::{BridgedRecord, UploadRecord},
    search::CloudClause,
};

/// Records in a batch.
pub const BATCH: u64 = 4096;
/// Bytes of a routing tag.
const TAG: usize = 110;

/// Store and index.
pub struct Cloud {
    /// The truth.
    pub store: RedbStore,
    /// What finds it.
    pub index: TantivyIndex,
}

/// A record's index entries before they are batched.
pub struct Entries {
    /// Who pushes it.
    pub provider: PrincipalId,
    /// The hospital of that provider.
    pub hospital: PrincipalId,
    /// Terms and order terms, 16 bytes each.
    pub terms: Vec<u8>,
}

impl Cloud {
    /// Opens or makes the files of a folder.
    ///
    /// # Panics
    /// Where the disk fails.
    #[must_use]
    pub fn open(dir: &Path) -> Self {
        std::fs::create_dir_all(dir).unwrap();
        let store = RedbStore::open(&dir.join("store.redb")).unwrap();
        let index = TantivyIndex::open(&dir.join("index")).unwrap();
        index.catch_up(store.snapshot().unwrap()).unwrap();
        Self { store, index }
    }

    /// Accepts records durably in batches of one provider each, and makes them searchable.
    ///
    /// # Panics
    /// Where the disk fails.
    pub fn fill(&self, first: u64, records: Vec<Entries>, sealed_bytes: usize, rng: &mut StdRng) {
        let mut by_provider = std::collections::BTreeMap::<_, Vec<_>>::new();
        for (entries, n) in records.into_iter().zip(first..) {
            by_provider.entry((entries.provider, entries.hospital)).or_default().push((n, entries.terms));
        }
        let mut group = Vec::new();
        for ((provider, hospital), records) in by_provider {
            let batch = BatchId(uuid::Uuid::now_v7().into_bytes());
            let records = records.into_iter().map(|(n, terms)| {
                let (mut sealed, mut tag) = (vec![0; sealed_bytes], vec![0; TAG]);
                rng.fill(&mut sealed[..]);
                rng.fill(&mut tag[..]);
                let index = BridgedRecord { origin: Term(term(255, n)), terms, tag };
                UploadRecord { id: RecordId(uuid::Uuid::now_v7().into_bytes()), index, sealed }
            });
            let records = records.collect();
            let (deletes, erases) = (Vec::new(), Vec::new());
            let body_sha256 = [0; 32];
            group.push(NewBatch { batch, provider, hospital, body_sha256, records, deletes, erases, stated: None });
        }
        for receipt in self.store.accept(&group).unwrap() {
            receipt.unwrap();
        }
        self.index.catch_up(self.store.snapshot().unwrap()).unwrap();
    }

    /// Merges what an index at rest merges, and waits for it.
    ///
    /// # Panics
    /// Where the disk fails.
    pub fn settle(&self) {
        while self.index.tidy().unwrap() {
            std::thread::sleep(std::time::Duration::from_millis(500));
        }
    }

    /// Matches of a search.
    ///
    /// # Panics
    /// Where the search fails.
    #[must_use]
    pub fn hits(&self, search: &IndexSearch) -> usize {
        self.index.find(search).unwrap().len()
    }
}

/// A term that stands for a value of a kind.
///
/// # Panics
/// Never: a digest has 32 bytes.
#[must_use]
pub fn term(kind: u8, value: u64) -> [u8; 16] {
    let digest = sha256(&[&[kind], &value.to_be_bytes()]);
    digest[..16].try_into().unwrap()
}

/// The order term of a code.
#[must_use]
pub fn order_term(tag: [u8; 8], code: u64) -> [u8; 16] {
    let mut out = [0; 16];
    out[..8].copy_from_slice(&tag);
    out[8..].copy_from_slice(&code.to_be_bytes());
    out
}

/// Eight indexed fields: three orders of codes drawn evenly, five tokens with from two values to one for 100 records.
#[must_use]
pub fn eight_fields(total: u64, rng: &mut StdRng) -> Entries {
    let mut terms = Vec::with_capacity(8 * 16);
    for tag in 0..3 {
        terms.extend_from_slice(&order_term([tag; 8], rng.random()));
    }
    for (kind, values) in [(3, 2), (4, 20), (5, 500), (6, total / 1000), (7, total / 100)] {
        terms.extend_from_slice(&term(kind, rng.random_range(0..values.max(2))));
    }
    Entries { provider: PrincipalId([1; 16]), hospital: PrincipalId([1; 16]), terms }
}

/// A range of the first order that about `hits` of `total` records are in, anywhere.
#[must_use]
pub fn range_of(hits: u64, total: u64, rng: &mut StdRng) -> CloudClause {
    let width = u64::MAX / total * hits;
    let lo = rng.random_range(0..u64::MAX - width);
    CloudClause::Range { tag: [0; 8], lo, hi: lo + width }
}

/// Records whose token of a kind has one of its values.
#[must_use]
pub fn of_value(kind: u8, values: u64, rng: &mut StdRng) -> CloudClause {
    CloudClause::Terms(term(kind, rng.random_range(0..values.max(2))).to_vec())
}

/// A random generator that always starts the same.
#[must_use]
pub fn seeded(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}
