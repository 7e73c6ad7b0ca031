//! Our cloud, as a library: store and merged index, with entries as the suite makes them.

use std::path::Path;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use sealdex_cloud::index::{IndexSearch, MergedIndex, TantivyIndex};
use sealdex_cloud::store::{Change, NewBatch, RedbStore, SealedStore, Snapshot, StoreError, StoredRecord, TreeKind};
use sealdex_crypto::{log::Hash, *};
use sealdex_wire::auth::sha256;
use sealdex_wire::ingest::{BridgedRecord, UploadRecord};
use sealdex_wire::search::{CloudClause, CloudSort};

use super::records::{Condition, ORDER_FIELDS, Question, Record, TOKEN_FIELDS};
use crate::Failure;

/// The keys of a member and of the gate, for these fields.
pub struct Encoder {
    tokens: [FieldTokenKey; TOKEN_FIELDS],
    words: FieldTokenKey,
    scope: ScopeKey,
    order: [OrderField; ORDER_FIELDS],
    noise: [NoiseKey; 2],
}

struct OrderField {
    name: String,
    token: FieldToken,
    tag: [u8; 8],
    inner: InnerOrderKey,
    outer: OuterOrderKey,
}

const BITS: Bits = Bits::FIELD[6];

impl Encoder {
    pub fn new() -> Self {
        let secret = MemberTokenSecret::from_bytes(&[1; 32]);
        let scope = ScopeKey::derive(&TermKey::from_bytes(&[2; 32]), "north", &[]);
        let field = |name: &str| FieldTokenKey::derive(&secret, "north", name, 0);
        let order = std::array::from_fn(|n| {
            let name = format!("order.{n}");
            let token = field_token(&secret, "north", &name, 0);
            let inner = InnerOrderKey::derive(&MemberOrderSecret::from_bytes(&[3; 32]), "north", &name, 0);
            let outer = OuterOrderKey::derive(&GateOrderSecret::from_bytes(&[4; 32]), "north", &token, 0, &[]);
            OrderField { name, token, tag: scope.tag(&token), inner, outer }
        });
        let tokens = std::array::from_fn(|n| field(&format!("token.{n}")));
        let noise = [NoiseKey::from_bytes(&[5; 32]), NoiseKey::from_bytes(&[6; 32])];
        Self { tokens, words: field("words"), scope, order, noise }
    }

    fn token(&self, field: usize, value: &str) -> Term {
        self.scope.term(&self.tokens[field].inner(value.as_bytes()))
    }

    fn word(&self, word: &str) -> Term {
        self.scope.term(&self.words.inner(word.as_bytes()))
    }

    /// Index entries of a record: what member and gate compute together.
    pub fn entries(&self, record: &Record) -> Result<Vec<u8>, Failure> {
        let mut terms = Vec::with_capacity(16 * (TOKEN_FIELDS + ORDER_FIELDS + record.words.len()));
        for (field, value) in record.tokens.iter().enumerate() {
            terms.extend_from_slice(&self.token(field, value).0);
        }
        for word in &record.words {
            terms.extend_from_slice(&self.word(word).0);
        }
        for (field, &value) in self.order.iter().zip(&record.order) {
            let drawn = noise(&self.noise[0], &record.id, field.name.as_bytes());
            let inner = field.inner.code(BITS, value.into(), drawn)?;
            let code = field.outer.code(BITS, inner, noise(&self.noise[1], &record.id, &field.token.0))?;
            terms.extend_from_slice(&order_term(field.tag, code).0);
        }
        Ok(terms)
    }

    /// What the gate asks the cloud.
    fn clause(&self, condition: &Condition) -> Result<CloudClause, Failure> {
        Ok(match condition {
            Condition::Token { field, value } => CloudClause::Terms(self.token(*field, value).0.to_vec()),
            Condition::Word(word) => CloudClause::Terms(self.word(word).0.to_vec()),
            Condition::Range { field, from, to } => {
                let field = &self.order[*field];
                let (from, to) = field.inner.bounds(BITS, (*from).into(), (*to).into())?;
                let (lo, hi) = field.outer.bounds(BITS, from, to)?;
                CloudClause::Range { tag: field.tag, lo, hi }
            }
        })
    }

    /// The search of a question, as the cloud gets it.
    pub fn search(&self, question: &Question) -> Result<IndexSearch, Failure> {
        let mut clauses = question.all.iter().map(|c| self.clause(c)).collect::<Result<Vec<_>, _>>()?;
        let clause = if clauses.len() == 1 { clauses.remove(0) } else { CloudClause::And(clauses) };
        let sort = question.page.map(|(field, _)| CloudSort { tag: self.order[field].tag, descending: true });
        Ok(IndexSearch { clause, sort, after: None, limit: question.page.map_or(100_000, |(_, limit)| limit) })
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

    /// A batch as a provider sends it, with entries already made.
    pub fn batch(first: u64, entries: Vec<(RecordId, Vec<u8>)>) -> NewBatch {
        let provider = PrincipalId([2; 16]);
        let records = entries.into_iter().zip(first..).map(|((id, terms), n)| {
            let digest = sha256(&[b"origin", &n.to_be_bytes()]);
            let origin = Term(std::array::from_fn(|i| digest[i]));
            UploadRecord { id, index: BridgedRecord { origin, terms, tag: Record::tag(n) }, sealed: Record::sealed(n) }
        });
        NewBatch {
            batch: BatchId(u128::from(first + 1).to_be_bytes()),
            provider,
            hospital: provider,
            body_sha256: [0; 32],
            records: records.collect(),
            stated: None,
        }
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
            provider: PrincipalId([2; 16]),
            hospital: PrincipalId([2; 16]),
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
