//! The embedded store: one redb file.
//!
//! | table | key | value |
//! |---|---|---|
//! | `records` | record id | row: provider, hospital, origin, place, routing tag, terms ([`super::row`]) |
//! | `sealed` | record id | sealed bytes |
//! | `origins` | origin term | record id |
//! | `batches` | batch id | provider, body hash, receipt |
//! | `changes` | place | ids of records added and replaced |
//! | `entries` | place | the log's entry of the batch |
//! | `ended` | place | ids of records that the statement ends, if any |
//! | `heads` | provider id | number and digest of its last statement |
//! | `proofs` | place, part, chunk | pairs of the run (part 0), nodes of its tree (1) and of the records' tree (2) |
//! | `providers` | provider id | live records |
//! | `counters` | name | count |
//! | `acts` | place in the log of acts | entry |
//! | `act_places` | gate id, number | place |
//! | `settings` | name | bytes: `roster`, `store-id` |
//!
//! Record ids are time-ordered (UUIDv7) and sorted before they are inserted, so inserts are nearly
//! sequential; origins are random and are sorted too. A group of batches is one transaction and one
//! `fsync`. Commits save the allocator state (redb's quick repair), so that opening after a crash
//! takes milliseconds whatever the size, for one more `fsync` a group.

use std::{collections::HashMap, path::Path, sync::Arc};

use redb::{
    Database, Durability, ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTable, ReadableTableMetadata,
    Table, TableDefinition, WriteTransaction,
};
use sealdex_crypto::{PrincipalId, RecordId, Term, log::Hash};
use sealdex_ledger::{prove::PAGE_BYTES, run::PAGE_PAIRS};
use sealdex_wire::ingest::{BatchReceipt, UploadRecord};

use super::{
    Change, NewBatch, Refused, RosterStore, SealedStore, Snapshot, StatedBatch, StoreError, StoredRecord, Totals,
    TreeKind,
    acts::{ACT_PLACES, ACTS},
    row,
};

type Id = &'static [u8; 16];
/// Place of the batch, part, chunk.
type ProofKey = (u64, u8, u32);

const PART_PAIRS: u8 = 0;
const PART_RUN: u8 = 1;
const PART_RECORDS: u8 = 2;
/// Pages of pairs in a chunk: with its key it fits a page of the file.
const CHUNK_PAGES: u64 = 7;
/// Nodes in a chunk.
const CHUNK_NODES: u64 = 112;

const RECORDS: TableDefinition<Id, &[u8]> = TableDefinition::new("records");
const SEALED: TableDefinition<Id, &[u8]> = TableDefinition::new("sealed");
const ORIGINS: TableDefinition<Id, Id> = TableDefinition::new("origins");
const BATCHES: TableDefinition<Id, &[u8]> = TableDefinition::new("batches");
const CHANGES: TableDefinition<u64, &[u8]> = TableDefinition::new("changes");
const ENTRIES: TableDefinition<u64, &[u8]> = TableDefinition::new("entries");
const ENDED: TableDefinition<u64, &[u8]> = TableDefinition::new("ended");
const HEADS: TableDefinition<Id, &[u8]> = TableDefinition::new("heads");
const PROOFS: TableDefinition<ProofKey, &[u8]> = TableDefinition::new("proofs");
const PROVIDERS: TableDefinition<Id, u64> = TableDefinition::new("providers");
const COUNTERS: TableDefinition<&str, u64> = TableDefinition::new("counters");
const SETTINGS: TableDefinition<&str, &[u8]> = TableDefinition::new("settings");

const ROSTER: &str = "roster";
const STORE_ID: &str = "store-id";
const LAST_SEQ: &str = "last-seq";
const SEALED_BYTES: &str = "sealed-bytes";

/// Pages redb keeps in memory, bytes. Its default of 1 GiB would be the process's largest part.
const CACHE: usize = 64 << 20;

pub(super) fn failed(e: impl Into<redb::Error>) -> StoreError {
    StoreError::Backend(Box::new(e.into()))
}

/// The store in one file.
pub struct RedbStore {
    pub(super) db: Database,
    path: std::path::PathBuf,
}

impl RedbStore {
    /// Opens or creates the file. Only one process can have it open.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        sealdex_dbfile::ensure(path).map_err(failed)?;
        Self::of(Database::builder().set_cache_size(CACHE).create(path).map_err(failed)?, path)
    }

    /// A store in a database that is open, whatever it is stored in.
    pub fn over(backend: impl redb::StorageBackend) -> Result<Self, StoreError> {
        let db = Database::builder().set_cache_size(CACHE).create_with_backend(backend).map_err(failed)?;
        Self::of(db, Path::new(""))
    }

    fn of(db: Database, path: &Path) -> Result<Self, StoreError> {
        let store = Self { db, path: path.into() };
        let tx = store.write()?;
        {
            tx.open_table(RECORDS).map_err(failed)?;
            tx.open_table(SEALED).map_err(failed)?;
            tx.open_table(ORIGINS).map_err(failed)?;
            tx.open_table(BATCHES).map_err(failed)?;
            tx.open_table(CHANGES).map_err(failed)?;
            tx.open_table(ENTRIES).map_err(failed)?;
            tx.open_table(ENDED).map_err(failed)?;
            tx.open_table(HEADS).map_err(failed)?;
            tx.open_table(PROOFS).map_err(failed)?;
            tx.open_table(PROVIDERS).map_err(failed)?;
            tx.open_table(COUNTERS).map_err(failed)?;
            tx.open_table(ACTS).map_err(failed)?;
            tx.open_table(ACT_PLACES).map_err(failed)?;
            let mut settings = tx.open_table(SETTINGS).map_err(failed)?;
            if settings.get(STORE_ID).map_err(failed)?.is_none() {
                let mut id = [0; 16];
                getrandom::fill(&mut id).map_err(|e| StoreError::Backend(Box::new(std::io::Error::other(e))))?;
                settings.insert(STORE_ID, id.as_slice()).map_err(failed)?;
            }
        }
        tx.commit().map_err(failed)?;
        Ok(store)
    }

    pub(super) fn write(&self) -> Result<WriteTransaction, StoreError> {
        let mut tx = self.db.begin_write().map_err(failed)?;
        tx.set_durability(Durability::Immediate).map_err(failed)?;
        tx.set_quick_repair(true);
        Ok(tx)
    }
}

impl SealedStore for RedbStore {
    fn accept(&self, group: &[NewBatch]) -> Result<Vec<Result<BatchReceipt, Refused>>, StoreError> {
        let tx = self.write()?;
        let answers = {
            let mut tables = Tables::open(&tx)?;
            group.iter().map(|batch| tables.accept(batch)).collect::<Result<Vec<_>, _>>()?
        };
        if answers.iter().any(|a| matches!(a, Ok(receipt) if !receipt.duplicate)) {
            tx.commit().map_err(failed)?;
        } else {
            tx.abort().map_err(failed)?;
        }
        Ok(answers)
    }

    fn snapshot(&self) -> Result<Arc<dyn Snapshot>, StoreError> {
        Ok(Arc::new(RedbSnapshot::new(self.db.begin_read().map_err(failed)?)?))
    }

    fn versions(&self, hospital: PrincipalId, origins: &[Term]) -> Result<Vec<Option<RecordId>>, StoreError> {
        let tx = self.db.begin_read().map_err(failed)?;
        let (known, records) = (tx.open_table(ORIGINS).map_err(failed)?, tx.open_table(RECORDS).map_err(failed)?);
        let version = |origin: &Term| {
            let Some(id) = known.get(&origin.0).map_err(failed)?.map(|v| *v.value()) else { return Ok(None) };
            let row = records.get(&id).map_err(failed)?.ok_or(StoreError::Damaged("origins"))?;
            Ok((row::owners(row.value())?.1 == hospital).then_some(RecordId(id)))
        };
        origins.iter().map(version).collect()
    }

    fn totals(&self) -> Result<Totals, StoreError> {
        let tx = self.db.begin_read().map_err(failed)?;
        let counters = tx.open_table(COUNTERS).map_err(failed)?;
        let count =
            |name| -> Result<u64, StoreError> { Ok(counters.get(name).map_err(failed)?.map_or(0, |v| v.value())) };
        let mut providers = Vec::new();
        for entry in tx.open_table(PROVIDERS).map_err(failed)?.iter().map_err(failed)? {
            let (id, n) = entry.map_err(failed)?;
            providers.push((PrincipalId(*id.value()), n.value()));
        }
        Ok(Totals {
            records: tx.open_table(RECORDS).map_err(failed)?.len().map_err(failed)?,
            batches: tx.open_table(BATCHES).map_err(failed)?.len().map_err(failed)?,
            last_seq: count(LAST_SEQ)?,
            sealed_bytes: count(SEALED_BYTES)?,
            store_bytes: std::fs::metadata(&self.path).map_or(0, |m| m.len()),
            providers,
        })
    }
}

/// Everything a batch touches, within one transaction.
struct Tables<'t> {
    records: Table<'t, Id, &'static [u8]>,
    sealed: Table<'t, Id, &'static [u8]>,
    origins: Table<'t, Id, Id>,
    batches: Table<'t, Id, &'static [u8]>,
    changes: Table<'t, u64, &'static [u8]>,
    entries: Table<'t, u64, &'static [u8]>,
    ended: Table<'t, u64, &'static [u8]>,
    heads: Table<'t, Id, &'static [u8]>,
    proofs: Table<'t, ProofKey, &'static [u8]>,
    providers: Table<'t, Id, u64>,
    counters: Table<'t, &'static str, u64>,
}

impl<'t> Tables<'t> {
    fn open(tx: &'t WriteTransaction) -> Result<Self, StoreError> {
        Ok(Self {
            records: tx.open_table(RECORDS).map_err(failed)?,
            sealed: tx.open_table(SEALED).map_err(failed)?,
            origins: tx.open_table(ORIGINS).map_err(failed)?,
            batches: tx.open_table(BATCHES).map_err(failed)?,
            changes: tx.open_table(CHANGES).map_err(failed)?,
            entries: tx.open_table(ENTRIES).map_err(failed)?,
            ended: tx.open_table(ENDED).map_err(failed)?,
            heads: tx.open_table(HEADS).map_err(failed)?,
            proofs: tx.open_table(PROOFS).map_err(failed)?,
            providers: tx.open_table(PROVIDERS).map_err(failed)?,
            counters: tx.open_table(COUNTERS).map_err(failed)?,
        })
    }

    /// All checks come before the first write, so a refused batch leaves no trace in the group.
    fn accept(&mut self, batch: &NewBatch) -> Result<Result<BatchReceipt, Refused>, StoreError> {
        if let Some(known) = self.batches.get(&batch.batch.0).map_err(failed)? {
            let receipt = row::receipt_again(known.value(), batch)?;
            return Ok(receipt.ok_or(Refused::BatchReused(batch.batch)));
        }
        let winners = match self.check_ids(batch)? {
            Ok(winners) => winners,
            Err(refused) => return Ok(Err(refused)),
        };
        let replaced = match self.check_origins(batch, &winners)? {
            Ok(replaced) => replaced,
            Err(refused) => return Ok(Err(refused)),
        };
        if let Some(refused) = self.check_statement(batch, &winners, &replaced)? {
            return Ok(Err(refused));
        }
        let mut replacing = Vec::with_capacity(replaced.len());
        for (at, record) in batch.records.iter().enumerate().filter(|_| !replaced.is_empty()) {
            let wins = winners.binary_search_by_key(&record.id, |w| w.id).is_ok();
            if wins && self.origins.get(&record.index.origin.0).map_err(failed)?.is_some() {
                replacing.push(at as u32);
            }
        }
        let receipt = BatchReceipt {
            batch: batch.batch,
            seq: self.add(LAST_SEQ, 1)?,
            records: batch.records.len() as u32,
            replaced: (batch.records.len() - winners.len() + replaced.len()) as u32,
            replacing,
            duplicate: false,
        };
        self.remove(&replaced)?;
        self.insert(batch, &receipt, &winners)?;
        if let Some(stated) = &batch.stated {
            self.insert_stated(receipt.seq, stated)?;
        }
        let change = Change { added: winners.iter().map(|r| r.id).collect(), replaced };
        self.changes.insert(receipt.seq, row::change_row(&change).as_slice()).map_err(failed)?;
        self.batches.insert(&batch.batch.0, row::batch_row(batch, &receipt).as_slice()).map_err(failed)?;
        Ok(Ok(receipt))
    }

    /// The records that will be live, by id: of several with one origin the last. Refuses ids that
    /// occur twice or exist.
    fn check_ids<'b>(&self, batch: &'b NewBatch) -> Result<Result<Vec<&'b UploadRecord>, Refused>, StoreError> {
        let mut last = HashMap::with_capacity(batch.records.len());
        for (at, record) in batch.records.iter().enumerate() {
            last.insert(record.index.origin.0, at);
        }
        let mut by_id: Vec<usize> = (0..batch.records.len()).collect();
        by_id.sort_unstable_by_key(|&i| batch.records[i].id);
        for pair in by_id.windows(2) {
            if batch.records[pair[0]].id == batch.records[pair[1]].id {
                return Ok(Err(Refused::RepeatedRecord(batch.records[pair[0]].id)));
            }
        }
        let mut winners = Vec::with_capacity(last.len());
        for i in by_id {
            let record = &batch.records[i];
            if self.records.get(&record.id.0).map_err(failed)?.is_some() {
                return Ok(Err(Refused::RecordExists(record.id)));
            }
            if last.get(&record.index.origin.0) == Some(&i) {
                winners.push(record);
            }
        }
        Ok(Ok(winners))
    }

    /// Ids of the older versions that `winners` replace.
    fn check_origins(
        &self,
        batch: &NewBatch,
        winners: &[&UploadRecord],
    ) -> Result<Result<Vec<RecordId>, Refused>, StoreError> {
        let mut replaced = Vec::new();
        for record in winners {
            let Some(older) = self.origins.get(&record.index.origin.0).map_err(failed)? else { continue };
            let older = *older.value();
            let Some(older_row) = self.records.get(&older).map_err(failed)? else {
                return Err(StoreError::Damaged("origins"));
            };
            if row::owners(older_row.value())?.1 != batch.hospital {
                return Ok(Err(Refused::ForeignOrigin(record.id)));
            }
            replaced.push(RecordId(older));
        }
        replaced.sort_unstable();
        Ok(Ok(replaced))
    }

    /// Whether a statement follows its provider's last and ends exactly what the batch ends.
    fn check_statement(
        &self,
        batch: &NewBatch,
        winners: &[&UploadRecord],
        replaced: &[RecordId],
    ) -> Result<Option<Refused>, StoreError> {
        let (batches, stated) = (self.batches.len().map_err(failed)?, self.entries.len().map_err(failed)?);
        let Some(own) = &batch.stated else {
            let mixed = stated > 0;
            return Ok(
                mixed.then_some(Refused::Statement("the batches of this cloud are in a log: state this one, too"))
            );
        };
        if stated < batches {
            let older =
                "this cloud has batches from before there was a log: push them again, into a new data directory";
            return Ok(Some(Refused::Statement(older)));
        }
        let statement = &own.signed.statement;
        let (last, digest, _) = match self.heads.get(&batch.provider.0).map_err(failed)? {
            Some(row) => row::head(row.value())?,
            None => (0, [0; 32], 0),
        };
        if statement.number != last + 1 || statement.previous != digest {
            let (provider, found) = (batch.provider, statement.number);
            return Ok(Some(Refused::Chain { provider, last, found }));
        }
        Ok((own.ended != row::ends(batch, winners, replaced)).then_some(Refused::Ended(replaced.len())))
    }

    /// About a thousand rows for 4,096 records of 25 terms, one after the other.
    fn insert_stated(&mut self, seq: u64, stated: &StatedBatch) -> Result<(), StoreError> {
        let entry = stated.signed.to_entry();
        self.entries.insert(seq, entry.as_slice()).map_err(failed)?;
        if !stated.ended.is_empty() {
            self.ended.insert(seq, stated.ended.as_slice()).map_err(failed)?;
        }
        let statement = &stated.signed.statement;
        let head = row::head_row(statement.number, &stated.signed.digest(), seq);
        self.heads.insert(&statement.provider.0, head.as_slice()).map_err(failed)?;
        let chunk_pairs = CHUNK_PAGES as usize * PAGE_PAIRS;
        for (pairs, chunk) in stated.trees.pairs.chunks(chunk_pairs).zip(0..) {
            self.proofs.insert((seq, PART_PAIRS, chunk), pairs.as_flattened()).map_err(failed)?;
        }
        for (part, tree) in [(PART_RUN, &stated.trees.run), (PART_RECORDS, &stated.trees.records)] {
            for (nodes, chunk) in tree.nodes().chunks(CHUNK_NODES as usize).zip(0..) {
                self.proofs.insert((seq, part, chunk), nodes.as_flattened()).map_err(failed)?;
            }
        }
        Ok(())
    }

    fn remove(&mut self, replaced: &[RecordId]) -> Result<(), StoreError> {
        let mut gone: HashMap<PrincipalId, u64> = HashMap::new();
        let mut bytes = 0;
        for id in replaced {
            if let Some(old) = self.records.remove(&id.0).map_err(failed)? {
                *gone.entry(row::owners(old.value())?.0).or_default() += 1;
            }
            if let Some(old) = self.sealed.remove(&id.0).map_err(failed)? {
                bytes += old.value().len() as u64;
            }
        }
        for (provider, n) in gone {
            let left = self.providers.get(&provider.0).map_err(failed)?.map_or(0, |v| v.value()).saturating_sub(n);
            if left == 0 {
                self.providers.remove(&provider.0).map_err(failed)?;
            } else {
                self.providers.insert(&provider.0, left).map_err(failed)?;
            }
        }
        let total = self.counters.get(SEALED_BYTES).map_err(failed)?.map_or(0, |v| v.value());
        self.counters.insert(SEALED_BYTES, total.saturating_sub(bytes)).map_err(failed)?;
        Ok(())
    }

    fn insert(
        &mut self,
        batch: &NewBatch,
        receipt: &BatchReceipt,
        winners: &[&UploadRecord],
    ) -> Result<(), StoreError> {
        let mut packed = Vec::new();
        let mut bytes = 0;
        let places: HashMap<RecordId, u32> = batch.records.iter().map(|r| r.id).zip(0..).collect();
        for record in winners {
            let place = places.get(&record.id).copied().unwrap_or(0);
            row::put_record(&mut packed, batch, receipt.seq, place, record);
            self.records.insert(&record.id.0, packed.as_slice()).map_err(failed)?;
        }
        for record in winners {
            self.sealed.insert(&record.id.0, record.sealed.as_slice()).map_err(failed)?;
            bytes += record.sealed.len() as u64;
        }
        let mut by_origin: Vec<_> = winners.iter().map(|r| (&r.index.origin.0, &r.id.0)).collect();
        by_origin.sort_unstable();
        for (origin, id) in by_origin {
            self.origins.insert(origin, id).map_err(failed)?;
        }
        self.add(SEALED_BYTES, bytes)?;
        let n = self.providers.get(&batch.provider.0).map_err(failed)?.map_or(0, |v| v.value());
        if !winners.is_empty() {
            self.providers.insert(&batch.provider.0, n + winners.len() as u64).map_err(failed)?;
        }
        Ok(())
    }

    fn add(&mut self, counter: &'static str, by: u64) -> Result<u64, StoreError> {
        let now = self.counters.get(counter).map_err(failed)?.map_or(0, |v| v.value()) + by;
        self.counters.insert(counter, now).map_err(failed)?;
        Ok(now)
    }
}

struct RedbSnapshot {
    records: ReadOnlyTable<Id, &'static [u8]>,
    sealed: ReadOnlyTable<Id, &'static [u8]>,
    changes: ReadOnlyTable<u64, &'static [u8]>,
    entries: ReadOnlyTable<u64, &'static [u8]>,
    ended: ReadOnlyTable<u64, &'static [u8]>,
    heads: ReadOnlyTable<Id, &'static [u8]>,
    proofs: ReadOnlyTable<ProofKey, &'static [u8]>,
    store_id: [u8; 16],
    last_seq: u64,
    live: u64,
}

impl RedbSnapshot {
    /// The tables keep the transaction's state alive.
    fn new(tx: ReadTransaction) -> Result<Self, StoreError> {
        let records = tx.open_table(RECORDS).map_err(failed)?;
        let counters = tx.open_table(COUNTERS).map_err(failed)?;
        let settings = tx.open_table(SETTINGS).map_err(failed)?;
        let store_id = settings.get(STORE_ID).map_err(failed)?.and_then(|v| v.value().try_into().ok());
        Ok(Self {
            live: records.len().map_err(failed)?,
            records,
            sealed: tx.open_table(SEALED).map_err(failed)?,
            changes: tx.open_table(CHANGES).map_err(failed)?,
            entries: tx.open_table(ENTRIES).map_err(failed)?,
            ended: tx.open_table(ENDED).map_err(failed)?,
            heads: tx.open_table(HEADS).map_err(failed)?,
            proofs: tx.open_table(PROOFS).map_err(failed)?,
            store_id: store_id.ok_or(StoreError::Damaged("settings"))?,
            last_seq: counters.get(LAST_SEQ).map_err(failed)?.map_or(0, |v| v.value()),
        })
    }
}

impl RedbSnapshot {
    fn part<T>(&self, seq: u64, part: u8, chunk: u64, read: impl FnOnce(&[u8]) -> Option<T>) -> Result<T, StoreError> {
        let chunk = u32::try_from(chunk).map_err(|_| StoreError::Damaged("proofs"))?;
        let row = self.proofs.get((seq, part, chunk)).map_err(failed)?;
        row.and_then(|row| read(row.value())).ok_or(StoreError::Damaged("proofs"))
    }
}

impl Snapshot for RedbSnapshot {
    fn store_id(&self) -> [u8; 16] {
        self.store_id
    }

    fn last_seq(&self) -> u64 {
        self.last_seq
    }

    fn live(&self) -> u64 {
        self.live
    }

    fn change(&self, seq: u64) -> Result<Option<Change>, StoreError> {
        self.changes.get(seq).map_err(failed)?.map(|v| row::change(v.value())).transpose()
    }

    fn record(&self, id: RecordId) -> Result<Option<StoredRecord>, StoreError> {
        self.records.get(&id.0).map_err(failed)?.map(|v| row::record(v.value())).transpose()
    }

    fn ids(&self, after: Option<RecordId>, limit: usize) -> Result<Vec<RecordId>, StoreError> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, |id| Excluded(id.0));
        let range = (from.as_ref(), Unbounded::<&[u8; 16]>);
        let found = self.records.range::<&[u8; 16]>(range).map_err(failed)?;
        found.take(limit).map(|entry| Ok(RecordId(*entry.map_err(failed)?.0.value()))).collect()
    }

    fn entry(&self, seq: u64) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.entries.get(seq).map_err(failed)?.map(|v| v.value().to_vec()))
    }

    fn last_stated(&self, provider: PrincipalId) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(row) = self.heads.get(&provider.0).map_err(failed)? else { return Ok(None) };
        self.entry(row::head(row.value())?.2)
    }

    fn ended(&self, seq: u64) -> Result<Vec<u8>, StoreError> {
        Ok(self.ended.get(seq).map_err(failed)?.map_or(Vec::new(), |v| v.value().to_vec()))
    }

    fn page(&self, seq: u64, page: u64) -> Result<Vec<u8>, StoreError> {
        self.part(seq, PART_PAIRS, page / CHUNK_PAGES, |chunk| {
            let start = (page % CHUNK_PAGES) as usize * PAGE_BYTES;
            let pairs = chunk.get(start..)?;
            (!pairs.is_empty()).then(|| pairs[..pairs.len().min(PAGE_BYTES)].to_vec())
        })
    }

    fn node(&self, seq: u64, tree: TreeKind, place: u64) -> Result<Hash, StoreError> {
        let part = match tree {
            TreeKind::Run => PART_RUN,
            TreeKind::Records => PART_RECORDS,
        };
        self.part(seq, part, place / CHUNK_NODES, |chunk| {
            chunk.as_chunks().0.get((place % CHUNK_NODES) as usize).copied()
        })
    }

    fn sealed(&self, ids: &[RecordId], max_bytes: usize) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let mut left = max_bytes;
        let mut out = Vec::with_capacity(ids.len());
        for id in ids {
            let found = self.sealed.get(&id.0).map_err(failed)?;
            if let Some(v) = &found {
                left = left.checked_sub(v.value().len()).ok_or(StoreError::TooLarge(max_bytes))?;
            }
            out.push(found.map(|v| v.value().to_vec()));
        }
        Ok(out)
    }
}

impl RosterStore for RedbStore {
    fn roster(&self) -> Result<Option<Vec<u8>>, StoreError> {
        let tx = self.db.begin_read().map_err(failed)?;
        let settings = tx.open_table(SETTINGS).map_err(failed)?;
        Ok(settings.get(ROSTER).map_err(failed)?.map(|v| v.value().to_vec()))
    }

    fn put_roster(&self, document: &[u8]) -> Result<(), StoreError> {
        let tx = self.write()?;
        tx.open_table(SETTINGS).map_err(failed)?.insert(ROSTER, document).map_err(failed)?;
        tx.commit().map_err(failed)
    }
}
