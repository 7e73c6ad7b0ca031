//! The reference store: maps in memory, nothing clever. Tests compare the others with it.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use sealdex_crypto::{BatchId, PrincipalId, RecordId, Term, log::Hash};
use sealdex_ledger::run::PAGE_PAIRS;
use sealdex_wire::ingest::{BatchReceipt, UploadRecord};

use super::{
    Change, NewBatch, Refused, RosterStore, SealedStore, Snapshot, StatedBatch, StoreError, StoredRecord, Totals,
    TreeKind, acts::MemoryActs, row,
};

/// A store that lives as long as the process. For tests.
#[derive(Default)]
pub struct MemoryStore {
    state: Mutex<State>,
    roster: Mutex<Option<Vec<u8>>>,
    acts: Mutex<MemoryActs>,
}

#[derive(Clone, Default)]
struct State {
    records: BTreeMap<RecordId, (StoredRecord, Vec<u8>)>,
    origins: HashMap<Term, RecordId>,
    batches: HashMap<BatchId, (PrincipalId, [u8; 32], BatchReceipt)>,
    changes: Vec<Change>,
    stated: Vec<Arc<StatedBatch>>,
}

impl State {
    fn accept(&mut self, batch: &NewBatch) -> Result<BatchReceipt, Refused> {
        if let Some((provider, body, receipt)) = self.batches.get(&batch.batch) {
            let same = *provider == batch.provider && *body == batch.body_sha256;
            return if same {
                Ok(BatchReceipt { duplicate: true, ..receipt.clone() })
            } else {
                Err(Refused::BatchReused(batch.batch))
            };
        }
        let mut seen = HashSet::new();
        if let Some(twice) = batch.records.iter().find(|r| !seen.insert(r.id)) {
            return Err(Refused::RepeatedRecord(twice.id));
        }
        let mut by_id: Vec<_> = batch.records.iter().collect();
        by_id.sort_by_key(|r| r.id);
        if let Some(known) = by_id.iter().find(|r| self.records.contains_key(&r.id)) {
            return Err(Refused::RecordExists(known.id));
        }
        let last: HashMap<Term, RecordId> = batch.records.iter().map(|r| (r.index.origin, r.id)).collect();
        by_id.retain(|r| last.get(&r.index.origin) == Some(&r.id));
        let foreign = |id: &RecordId| self.records.get(id).is_some_and(|(old, _)| old.hospital != batch.hospital);
        if let Some(r) = by_id.iter().find(|r| self.origins.get(&r.index.origin).is_some_and(foreign)) {
            return Err(Refused::ForeignOrigin(r.id));
        }
        let by_origin = (0..).zip(&batch.deletes).filter_map(|(at, origin)| Some((at, *self.origins.get(origin)?)));
        let erased = (0..).zip(&batch.erases).filter(|(_, id)| self.records.contains_key(id)).map(|(at, id)| (at, *id));
        let deleted: Vec<(u32, RecordId)> = by_origin.chain(erased).collect();
        if let Some((_, id)) = deleted.iter().find(|(_, id)| foreign(id)) {
            return Err(Refused::ForeignDeletion(*id));
        }
        let older = by_id.iter().filter_map(|r| self.origins.get(&r.index.origin).copied());
        let gone = older.chain(deleted.iter().map(|(_, id)| *id)).collect();
        self.check_statement(batch, &by_id, gone)?;
        let seq = self.changes.len() as u64 + 1;
        let at: HashMap<RecordId, u32> = batch.records.iter().map(|r| r.id).zip(0..).collect();
        let mut change = Change::default();
        let replaces = |r: &UploadRecord| self.origins.contains_key(&r.index.origin);
        let live = |r: &UploadRecord| last.get(&r.index.origin) == Some(&r.id);
        let places = batch.records.iter().zip(0..).filter(|(r, _)| live(r) && replaces(r));
        let replacing = places.map(|(_, at)| at).collect();
        for r in &by_id {
            if let Some(old) = self.origins.insert(r.index.origin, r.id) {
                self.records.remove(&old);
                change.replaced.push(old);
            }
            change.added.push(r.id);
            let stored = StoredRecord {
                provider: batch.provider,
                hospital: batch.hospital,
                origin: r.index.origin,
                seq,
                place: at[&r.id],
                sealed_hash: batch.stated.as_ref().map_or([0; 32], |s| s.trees.leaves[at[&r.id] as usize].sealed),
                tag: r.index.tag.clone(),
                terms: r.index.terms.clone(),
            };
            self.records.insert(r.id, (stored, r.sealed.clone()));
        }
        let replaced = (batch.records.len() - by_id.len() + change.replaced.len()) as u32;
        for (_, id) in &deleted {
            if let Some((record, _)) = self.records.remove(id) {
                self.origins.remove(&record.origin);
            }
            change.replaced.push(*id);
        }
        change.replaced.sort_unstable();
        let receipt = BatchReceipt {
            batch: batch.batch,
            seq,
            records: batch.records.len() as u32,
            replaced,
            replacing,
            deleted: deleted.iter().map(|(at, _)| *at).collect(),
            duplicate: false,
        };
        self.changes.push(change);
        self.stated.extend(batch.stated.clone());
        self.batches.insert(batch.batch, (batch.provider, batch.body_sha256, receipt.clone()));
        Ok(receipt)
    }
}

impl State {
    fn check_statement(
        &self,
        batch: &NewBatch,
        winners: &[&UploadRecord],
        mut gone: Vec<RecordId>,
    ) -> Result<(), Refused> {
        let Some(own) = &batch.stated else {
            let all_without = self.stated.is_empty();
            return all_without.then_some(()).ok_or(Refused::Statement("the batches of this cloud are in a log"));
        };
        if self.stated.len() < self.changes.len() {
            return Err(Refused::Statement("this cloud has batches from before there was a log"));
        }
        let (provider, found) = (batch.provider, own.signed.statement.number);
        let last = self.stated.iter().rfind(|s| s.signed.statement.provider == provider);
        let (last, digest) = last.map_or((0, [0; 32]), |s| (s.signed.statement.number, s.signed.digest()));
        if found != last + 1 || own.signed.statement.previous != digest {
            return Err(Refused::Chain { provider, last, found });
        }
        gone.sort_unstable();
        let fits = own.ended == row::ends(batch, winners, &gone);
        fits.then_some(()).ok_or(Refused::Ended(gone.len()))
    }

    fn stated(&self, seq: u64) -> Option<&StatedBatch> {
        self.stated.get(usize::try_from(seq.checked_sub(1)?).ok()?).map(|s| &**s)
    }
}

impl MemoryStore {
    fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn with_acts<T>(&self, f: impl FnOnce(&mut MemoryActs) -> T) -> T {
        f(&mut self.acts.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl SealedStore for MemoryStore {
    fn accept(&self, group: &[NewBatch]) -> Result<Vec<Result<BatchReceipt, Refused>>, StoreError> {
        Ok(self.with(|s| group.iter().map(|b| s.accept(b)).collect()))
    }

    fn snapshot(&self) -> Result<Arc<dyn Snapshot>, StoreError> {
        Ok(Arc::new(self.with(|s| s.clone())))
    }

    fn versions(&self, hospital: PrincipalId, origins: &[Term]) -> Result<Vec<Option<RecordId>>, StoreError> {
        Ok(self.with(|s| {
            let own = |id: &RecordId| s.records.get(id).is_some_and(|(r, _)| r.hospital == hospital);
            origins.iter().map(|o| s.origins.get(o).copied().filter(own)).collect()
        }))
    }

    fn totals(&self) -> Result<Totals, StoreError> {
        Ok(self.with(|s| {
            let mut providers = BTreeMap::<PrincipalId, u64>::new();
            s.records.values().for_each(|(r, _)| *providers.entry(r.provider).or_default() += 1);
            Totals {
                records: s.records.len() as u64,
                batches: s.batches.len() as u64,
                last_seq: s.changes.len() as u64,
                sealed_bytes: s.records.values().map(|(_, b)| b.len() as u64).sum(),
                store_bytes: 0,
                providers: providers.into_iter().collect(),
            }
        }))
    }
}

impl Snapshot for State {
    fn store_id(&self) -> [u8; 16] {
        [0; 16]
    }

    fn last_seq(&self) -> u64 {
        self.changes.len() as u64
    }

    fn live(&self) -> u64 {
        self.records.len() as u64
    }

    fn change(&self, seq: u64) -> Result<Option<Change>, StoreError> {
        let at = seq.checked_sub(1).and_then(|i| usize::try_from(i).ok());
        Ok(at.and_then(|i| self.changes.get(i)).cloned())
    }

    fn record(&self, id: RecordId) -> Result<Option<StoredRecord>, StoreError> {
        Ok(self.records.get(&id).map(|(r, _)| r.clone()))
    }

    fn ids(&self, after: Option<RecordId>, limit: usize) -> Result<Vec<RecordId>, StoreError> {
        Ok(self.records.keys().filter(|id| after.is_none_or(|a| **id > a)).take(limit).copied().collect())
    }

    fn entry(&self, seq: u64) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.stated(seq).map(|s| s.signed.to_entry()))
    }

    fn last_stated(&self, provider: PrincipalId) -> Result<Option<Vec<u8>>, StoreError> {
        let last = self.stated.iter().rfind(|s| s.signed.statement.provider == provider);
        Ok(last.map(|s| s.signed.to_entry()))
    }

    fn ended(&self, seq: u64) -> Result<Vec<u8>, StoreError> {
        Ok(self.stated(seq).map(|s| s.ended.clone()).unwrap_or_default())
    }

    fn page(&self, seq: u64, page: u64) -> Result<Vec<u8>, StoreError> {
        let pages =
            |s: &StatedBatch| s.trees.pairs.chunks(PAGE_PAIRS).nth(page as usize).map(|p| p.as_flattened().to_vec());
        self.stated(seq).and_then(pages).ok_or(StoreError::Damaged("proofs"))
    }

    fn node(&self, seq: u64, tree: TreeKind, place: u64) -> Result<Hash, StoreError> {
        let node = |s: &StatedBatch| {
            let tree = match tree {
                TreeKind::Run => &s.trees.run,
                TreeKind::Records => &s.trees.records,
            };
            tree.nodes().get(place as usize).copied()
        };
        self.stated(seq).and_then(node).ok_or(StoreError::Damaged("proofs"))
    }

    fn sealed(&self, ids: &[RecordId], max_bytes: usize) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let out: Vec<_> = ids.iter().map(|id| self.records.get(id).map(|(_, sealed)| sealed.clone())).collect();
        let bytes: usize = out.iter().flatten().map(Vec::len).sum();
        if bytes > max_bytes { Err(StoreError::TooLarge(max_bytes)) } else { Ok(out) }
    }
}

impl RosterStore for MemoryStore {
    fn roster(&self) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.roster.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    fn put_roster(&self, document: &[u8]) -> Result<(), StoreError> {
        *self.roster.lock().unwrap_or_else(PoisonError::into_inner) = Some(document.to_vec());
        Ok(())
    }
}
