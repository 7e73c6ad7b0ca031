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

use redb::{ReadOnlyTable, ReadableTable, ReadableTableMetadata, Table, TableDefinition, WriteTransaction};
use sealdex_crypto::{PrincipalId, RecordId, Term, log::Hash};
use sealdex_dbfile::{DbFile, Reader, Soundness, Trouble};
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

pub(super) const RECORDS: TableDefinition<Id, &[u8]> = TableDefinition::new("records");
pub(super) const SEALED: TableDefinition<Id, &[u8]> = TableDefinition::new("sealed");
pub(super) const ORIGINS: TableDefinition<Id, Id> = TableDefinition::new("origins");
pub(super) const BATCHES: TableDefinition<Id, &[u8]> = TableDefinition::new("batches");
pub(super) const CHANGES: TableDefinition<u64, &[u8]> = TableDefinition::new("changes");
pub(super) const ENTRIES: TableDefinition<u64, &[u8]> = TableDefinition::new("entries");
pub(super) const ENDED: TableDefinition<u64, &[u8]> = TableDefinition::new("ended");
pub(super) const HEADS: TableDefinition<Id, &[u8]> = TableDefinition::new("heads");
pub(super) const PROOFS: TableDefinition<ProofKey, &[u8]> = TableDefinition::new("proofs");
pub(super) const PROVIDERS: TableDefinition<Id, u64> = TableDefinition::new("providers");
pub(super) const COUNTERS: TableDefinition<&str, u64> = TableDefinition::new("counters");
pub(super) const SETTINGS: TableDefinition<&str, &[u8]> = TableDefinition::new("settings");

/// Tables of a store, those of acts with them: one that is added is counted here, or older stores never get it.
const TABLES: usize = 14;

pub(super) const ROSTER: &str = "roster";
pub(super) const STORE_ID: &str = "store-id";
pub(super) const LAST_SEQ: &str = "last-seq";
pub(super) const SEALED_BYTES: &str = "sealed-bytes";

/// Pages redb keeps in memory, bytes. Its default of 1 GiB would be the process's largest part.
pub(super) const CACHE: usize = 64 << 20;

pub(super) fn failed(e: impl Into<redb::Error>) -> StoreError {
    StoreError::Backend(Box::new(e.into()))
}

impl From<Trouble> for StoreError {
    fn from(e: Trouble) -> Self {
        match e {
            Trouble::NoSpace { .. } => Self::NoSpace(e.to_string()),
            Trouble::Redb(e) => failed(e),
        }
    }
}

/// The store in one file.
pub struct RedbStore {
    pub(super) db: DbFile,
}

impl RedbStore {
    /// Opens or creates the file. Only one process can have it open.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::of(DbFile::open(path, CACHE).map_err(failed)?)
    }

    /// A store in whatever keeps bytes as a file does.
    ///
    /// # Errors
    /// As [`RedbStore::open`].
    pub fn over(backend: impl redb::StorageBackend) -> Result<Self, StoreError> {
        Self::of(DbFile::over(backend, CACHE).map_err(failed)?)
    }

    fn of(db: DbFile) -> Result<Self, StoreError> {
        let store = Self { db };
        if store.laid_out()? {
            return Ok(store);
        }
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

    /// Whether nothing needs to be written before it can be used: a full disk must not keep a cloud from starting.
    fn laid_out(&self) -> Result<bool, StoreError> {
        let tx = self.db.begin_read().map_err(failed)?;
        let known = tx.list_tables().map_err(failed)?.count() == TABLES;
        Ok(known && tx.open_table(SETTINGS).map_err(failed)?.get(STORE_ID).map_err(failed)?.is_some())
    }

    pub(super) fn write(&self) -> Result<WriteTransaction, StoreError> {
        let mut tx = self.db.begin_write()?;
        tx.set_quick_repair(true);
        Ok(tx)
    }

    /// Verifies every checksum of the file while it is in use, reading at most `rate` bytes a second.
    ///
    /// # Errors
    /// [`StoreError::Backend`] when the file cannot be read at all.
    pub fn check(&self, rate: u64) -> Result<Soundness, StoreError> {
        self.db.check(rate).map_err(failed)
    }

    /// Gives up a check that goes on.
    pub fn abandon_check(&self) {
        self.db.abandon_check();
    }

    /// What a failed write comes from: where the disk is full, that.
    pub(super) fn explained<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        result.map_err(|e| match self.db.full() {
            Some(reason) => StoreError::NoSpace(format!("{}: {reason}", self.db.path().display())),
            None => e,
        })
    }

    fn accept_all(&self, group: &[NewBatch]) -> Result<Vec<Result<BatchReceipt, Refused>>, StoreError> {
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
}

impl SealedStore for RedbStore {
    fn accept(&self, group: &[NewBatch]) -> Result<Vec<Result<BatchReceipt, Refused>>, StoreError> {
        self.explained(self.accept_all(group))
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
            store_bytes: std::fs::metadata(self.db.path()).map_or(0, |m| m.len()),
            providers,
        })
    }
}

/// Everything a batch touches, within one transaction.
pub(super) struct Tables<'t> {
    pub(super) records: Table<'t, Id, &'static [u8]>,
    pub(super) sealed: Table<'t, Id, &'static [u8]>,
    pub(super) origins: Table<'t, Id, Id>,
    pub(super) batches: Table<'t, Id, &'static [u8]>,
    pub(super) changes: Table<'t, u64, &'static [u8]>,
    pub(super) entries: Table<'t, u64, &'static [u8]>,
    pub(super) ended: Table<'t, u64, &'static [u8]>,
    pub(super) heads: Table<'t, Id, &'static [u8]>,
    pub(super) proofs: Table<'t, ProofKey, &'static [u8]>,
    pub(super) providers: Table<'t, Id, u64>,
    pub(super) counters: Table<'t, &'static str, u64>,
}

impl<'t> Tables<'t> {
    pub(super) fn open(tx: &'t WriteTransaction) -> Result<Self, StoreError> {
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
        let deleted = match self.check_deletes(batch)? {
            Ok(deleted) => deleted,
            Err(refused) => return Ok(Err(refused)),
        };
        let mut gone: Vec<RecordId> = replaced.iter().copied().chain(deleted.iter().map(|d| d.id)).collect();
        gone.sort_unstable();
        if let Some(refused) = self.check_statement(batch, &winners, &gone)? {
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
            deleted: deleted.iter().map(|d| d.at).collect(),
            duplicate: false,
        };
        self.remove(&gone)?;
        for deleted in &deleted {
            self.origins.remove(&deleted.origin.0).map_err(failed)?;
        }
        self.insert(batch, &receipt, &winners)?;
        if let Some(stated) = &batch.stated {
            self.insert_stated(receipt.seq, stated)?;
        }
        let change = Change { added: winners.iter().map(|r| r.id).collect(), replaced: gone };
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
        // New ids are mostly beyond all that are stored: none of these needs to be looked for.
        let newest = self.records.last().map_err(failed)?.map(|(id, _)| *id.value());
        for i in by_id {
            let record = &batch.records[i];
            let may_exist = newest.is_some_and(|newest| record.id.0 <= newest);
            if may_exist && self.records.get(&record.id.0).map_err(failed)?.is_some() {
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
        // In the order of the table, so that neighbours find their pages in the cache.
        let mut by_origin = winners.to_vec();
        by_origin.sort_unstable_by_key(|r| r.index.origin);
        for record in by_origin {
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

    /// The records that the batch deletes or erases.
    fn check_deletes(&self, batch: &NewBatch) -> Result<Result<Vec<Deleted>, Refused>, StoreError> {
        let mut deleted = Vec::new();
        for (at, origin) in (0..).zip(&batch.deletes) {
            let Some(id) = self.origins.get(&origin.0).map_err(failed)?.map(|v| *v.value()) else { continue };
            let row = self.records.get(&id).map_err(failed)?.ok_or(StoreError::Damaged("origins"))?;
            if row::owners(row.value())?.1 != batch.hospital {
                return Ok(Err(Refused::ForeignDeletion(RecordId(id))));
            }
            deleted.push(Deleted { at, id: RecordId(id), origin: *origin });
        }
        for (at, id) in (0..).zip(&batch.erases) {
            let Some(row) = self.records.get(&id.0).map_err(failed)? else { continue };
            let record = row::record(row.value())?;
            if record.hospital != batch.hospital {
                return Ok(Err(Refused::ForeignDeletion(*id)));
            }
            deleted.push(Deleted { at, id: *id, origin: record.origin });
        }
        Ok(Ok(deleted))
    }

    /// Whether a statement follows its provider's last and ends exactly what the batch ends.
    fn check_statement(
        &self,
        batch: &NewBatch,
        winners: &[&UploadRecord],
        gone: &[RecordId],
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
        Ok((own.ended != row::ends(batch, winners, gone)).then_some(Refused::Ended(gone.len())))
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

    fn remove(&mut self, gone_ids: &[RecordId]) -> Result<(), StoreError> {
        let mut gone: HashMap<PrincipalId, u64> = HashMap::new();
        let mut bytes = 0;
        for id in gone_ids {
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

/// A record that a batch deletes or erases, with its place among these.
struct Deleted {
    at: u32,
    id: RecordId,
    origin: Term,
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
    // After the tables: the file they are of stays open for them, also where another one has taken its place.
    _reader: Reader,
}

impl RedbSnapshot {
    fn new(tx: Reader) -> Result<Self, StoreError> {
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
            _reader: tx,
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

fn part_of(tree: TreeKind) -> u8 {
    match tree {
        TreeKind::Run => PART_RUN,
        TreeKind::Records => PART_RECORDS,
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
        self.part(seq, part_of(tree), place / CHUNK_NODES, |chunk| {
            chunk.as_chunks().0.get((place % CHUNK_NODES) as usize).copied()
        })
    }

    fn nodes(&self, seq: u64, tree: TreeKind, place: u64) -> Result<(u64, Vec<Hash>), StoreError> {
        let chunk = place / CHUNK_NODES;
        let nodes = self.part(seq, part_of(tree), chunk, |chunk| Some(chunk.as_chunks().0.to_vec()))?;
        Ok((chunk * CHUNK_NODES, nodes))
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
        self.explained((|| {
            let tx = self.write()?;
            tx.open_table(SETTINGS).map_err(failed)?.insert(ROSTER, document).map_err(failed)?;
            tx.commit().map_err(failed)
        })())
    }
}
