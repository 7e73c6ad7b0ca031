//! Proofs from one state of the store: that a page of matches is whole, that records are in the log.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use sealdex_crypto::{RecordId, log::Hash};
use sealdex_ledger::{
    AnswerProof, LedgerReader, RecordLeaf, RecordsProof, SignedBatch, part_hash, prove,
    prove::{BatchShape, KeptRecord},
    run::TermRange,
};
use sealdex_wire::search::{CloudMatches, CloudSearch};

use crate::{
    index::{IndexError, MergedIndex},
    members::Members,
    store::{Snapshot, StoreError, StoredRecord, TreeKind},
};

/// What batches look like, read once: 56 bytes a batch.
#[derive(Default)]
pub(crate) struct Ledger {
    shapes: RwLock<Vec<BatchShape>>,
}

impl Ledger {
    /// Proves a page, or says why it cannot be proved.
    pub(crate) fn prove(
        &self,
        state: Option<Arc<dyn Snapshot>>,
        index: &dyn MergedIndex,
        members: &Members,
        asked: &CloudSearch,
        answered: &CloudMatches,
    ) -> Result<AnswerProof, IndexError> {
        let snapshot = state.ok_or(StoreError::Damaged("index"))?;
        self.read_shapes(&*snapshot, members)?;
        let shapes = self.shapes.read().unwrap_or_else(PoisonError::into_inner);
        let nodes = Nodes::of(&*snapshot);
        prove(&Reader { snapshot: &*snapshot, nodes, index, shapes: &shapes }, asked, answered)
    }

    /// Where these records are in their batches; those that are not stored, or came without a statement, are left out.
    pub(crate) fn records_proofs(
        &self,
        snapshot: &dyn Snapshot,
        ids: &[RecordId],
    ) -> Result<Vec<RecordsProof>, StoreError> {
        let mut by_batch: BTreeMap<u64, BTreeMap<u32, RecordLeaf>> = BTreeMap::new();
        for id in ids {
            if let Some(record) = snapshot.record(*id)? {
                by_batch.entry(record.seq).or_default().insert(record.place, leaf(*id, &record));
            }
        }
        let (mut proofs, nodes) = (Vec::with_capacity(by_batch.len()), Nodes::of(snapshot));
        for (seq, records) in by_batch {
            let Some(entry) = snapshot.entry(seq)? else { continue };
            let size = SignedBatch::from_entry(&entry).map_err(|_| StoreError::Damaged("entries"))?.statement.records;
            let node = &mut |place| nodes.get(seq, TreeKind::Records, place);
            proofs.push(RecordsProof::make(seq, size.into(), records.into_iter().collect(), node)?);
        }
        Ok(proofs)
    }

    fn read_shapes(&self, snapshot: &dyn Snapshot, members: &Members) -> Result<(), StoreError> {
        let known = self.shapes.read().unwrap_or_else(PoisonError::into_inner).len() as u64;
        if known >= snapshot.last_seq() {
            return Ok(());
        }
        let mut shapes = self.shapes.write().unwrap_or_else(PoisonError::into_inner);
        for seq in shapes.len() as u64 + 1..=snapshot.last_seq() {
            let entry = snapshot.entry(seq)?.ok_or(StoreError::Damaged("entries"))?;
            let statement = SignedBatch::from_entry(&entry).map_err(|_| StoreError::Damaged("entries"))?.statement;
            let hospital = members.provider(statement.provider).ok_or(StoreError::Damaged("entries"))?.hospital;
            shapes.push(BatchShape {
                provider: statement.provider,
                hospital,
                records: statement.records,
                pairs: statement.pairs,
            });
        }
        Ok(())
    }
}

fn leaf(id: RecordId, record: &StoredRecord) -> RecordLeaf {
    RecordLeaf {
        id,
        origin: record.origin,
        sealed: record.sealed_hash,
        tag: part_hash(&record.tag),
        terms: part_hash(&record.terms),
    }
}

/// Nodes of the tree that a proof is made of now: those that lie together are read together, once.
struct Nodes<'n> {
    snapshot: &'n dyn Snapshot,
    tree: RefCell<Tree>,
}

/// What was read of one tree.
#[derive(Default)]
struct Tree {
    of: Option<(u64, TreeKind)>,
    /// By the place of the first.
    read: BTreeMap<u64, Vec<Hash>>,
}

impl<'n> Nodes<'n> {
    fn of(snapshot: &'n dyn Snapshot) -> Self {
        Self { snapshot, tree: RefCell::default() }
    }

    fn get(&self, seq: u64, kind: TreeKind, place: u64) -> Result<Hash, StoreError> {
        let mut tree = self.tree.borrow_mut();
        if tree.of != Some((seq, kind)) {
            *tree = Tree { of: Some((seq, kind)), ..Tree::default() };
        }
        if let Some(node) = tree.get(place) {
            return Ok(node);
        }
        let (first, nodes) = self.snapshot.nodes(seq, kind, place)?;
        tree.read.insert(first, nodes);
        tree.get(place).ok_or(StoreError::Damaged("proofs"))
    }
}

impl Tree {
    fn get(&self, place: u64) -> Option<Hash> {
        let (first, nodes) = self.read.range(..=place).next_back()?;
        nodes.get(usize::try_from(place - first).ok()?).copied()
    }
}

struct Reader<'r> {
    snapshot: &'r dyn Snapshot,
    nodes: Nodes<'r>,
    index: &'r dyn MergedIndex,
    shapes: &'r [BatchShape],
}

impl LedgerReader for Reader<'_> {
    type Error = IndexError;

    fn size(&self) -> u64 {
        self.snapshot.last_seq()
    }

    fn batch(&self, seq: u64) -> Result<BatchShape, IndexError> {
        let shape = seq.checked_sub(1).and_then(|at| self.shapes.get(at as usize));
        Ok(*shape.ok_or(StoreError::Damaged("entries"))?)
    }

    fn page(&self, seq: u64, page: u64) -> Result<Vec<u8>, IndexError> {
        Ok(self.snapshot.page(seq, page)?)
    }

    fn run_node(&self, seq: u64, place: u64) -> Result<Hash, IndexError> {
        Ok(self.nodes.get(seq, TreeKind::Run, place)?)
    }

    fn record_node(&self, seq: u64, place: u64) -> Result<Hash, IndexError> {
        Ok(self.nodes.get(seq, TreeKind::Records, place)?)
    }

    fn record(&self, seq: u64, id: RecordId) -> Result<Option<KeptRecord>, IndexError> {
        let live = self.snapshot.record(id)?.filter(|r| r.seq == seq);
        Ok(live.map(|r| KeptRecord { place: r.place, leaf: leaf(id, &r), terms: r.terms }))
    }

    fn frequency(&self, range: &TermRange, most: u64) -> Result<u64, IndexError> {
        self.index.frequency(range, most)
    }
}
