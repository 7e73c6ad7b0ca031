//! Getting rid of what was deleted, byte by byte, while the store is used.
//!
//! As in [`super::rewrite`], what is live is written into a file beside the store that has never held anything else. It is
//! copied as it was at one moment; then, in rounds, what has come and gone since. Each round finds less. Before the last one
//! writers are held; after it the new file is in the old one's place. Snapshots go on reading the old one until they end.
//!
//! Of a round the rows of new batches are taken in as those of a backup are ([`super::rows`]). Origins follow from the
//! records that came and went; counts and heads, a row for each provider, are copied anew.

use std::{
    collections::HashSet,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use redb::{
    Key, ReadTransaction, ReadableTable, ReadableTableMetadata, TableDefinition, TableHandle, Value, WriteTransaction,
};
use sealdex_dbfile::{Beside, Replaced, Soundness, Trouble};

use super::{
    StoreError,
    acts::{ACT_PLACES, ACTS},
    redb::{
        BATCHES, CHANGES, COUNTERS, ENDED, ENTRIES, HEADS, ORIGINS, PROOFS, PROVIDERS, RECORDS, RedbStore, SEALED,
        SETTINGS, failed,
    },
    row,
    rows::{Export, Import, Kind, Position, known_table, position},
};

/// Bytes of rows written in one transaction.
const CHUNK: u64 = if cfg!(test) { 2 << 10 } else { 8 << 20 };
/// Writers are held once a round took no longer.
const SHORT: Duration = Duration::from_millis(50);
/// Rounds after which they are held all the same, if the last one took no longer than [`LONG`].
const ROUNDS: u32 = 20;
const LONG: Duration = Duration::from_secs(2);
/// How often it is said how far it is.
const SAY: Duration = Duration::from_secs(30);

/// Why nothing was compacted. The store is as it was, and in use.
#[derive(Debug, thiserror::Error)]
pub enum GivenUp {
    /// The server stops.
    #[error("the server stops")]
    Stopped,
    /// A store that is damaged would be written anew with checksums that fit.
    #[error("the store is damaged ({0}): see what differs with sealdex verify, and restore it")]
    Damaged(String),
    /// What is no file.
    #[error("the store is not in a file")]
    NoFile,
    /// More is written than can be copied meanwhile.
    #[error("after {ROUNDS} rounds what came meanwhile still took {0:?} to copy: try it when less is pushed")]
    Behind(Duration),
    /// What was written is not what is stored.
    #[error("the new file lacks rows of the table {0:?}, or has more: please report this")]
    AtOdds(&'static str),
    /// The store, or the disk.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<Trouble> for GivenUp {
    fn from(e: Trouble) -> Self {
        Self::Store(e.into())
    }
}

/// What was done.
#[derive(Debug)]
pub struct Compacted {
    /// Place of the last batch: what had ended by the moment that was copied is gone from the file.
    pub batches: u64,
    /// Rows copied.
    pub rows: u64,
    /// Rounds after the first copy, the last one with writers held included.
    pub rounds: u32,
    /// How long writers were held.
    pub held: Duration,
    /// The two files.
    pub replaced: Replaced,
}

/// How fast it goes, and how far it is.
pub struct Pace<'s> {
    stop: &'s AtomicBool,
    rate: u64,
    began: Instant,
    bytes: u64,
    rows: u64,
    of: u64,
    said: Instant,
}

impl<'s> Pace<'s> {
    /// At most `rate` bytes a second, until `stop` is set.
    pub fn new(rate: u64, stop: &'s AtomicBool) -> Self {
        let now = Instant::now();
        Self { stop, rate: rate.max(1), began: now, bytes: 0, rows: 0, of: 0, said: now }
    }

    fn begin(&mut self, of: u64) {
        (self.began, self.of) = (Instant::now(), of);
    }

    fn go_on(&self) -> Result<(), GivenUp> {
        if self.stop.load(Ordering::Acquire) { Err(GivenUp::Stopped) } else { Ok(()) }
    }

    /// A row was copied. Waits until more may be.
    fn row(&mut self, bytes: u64) -> Result<(), GivenUp> {
        (self.rows, self.bytes) = (self.rows + 1, self.bytes + bytes);
        loop {
            self.go_on()?;
            let due = Duration::from_secs_f64(self.bytes as f64 / self.rate as f64);
            let wait = due.saturating_sub(self.began.elapsed());
            if wait < Duration::from_millis(2) {
                break;
            }
            thread::sleep(wait.min(Duration::from_millis(100)));
        }
        if self.said.elapsed() > SAY {
            self.said = Instant::now();
            self.tell();
            tracing::info!(rows = self.rows, of = self.of, bytes = self.bytes, "compacting the store");
        }
        Ok(())
    }

    fn tell(&self) {
        let share = if self.of == 0 { 1.0 } else { (self.rows as f64 / self.of as f64).min(1.0) };
        metrics::gauge!("sealdex_cloud_compaction_share").set(share);
    }
}

impl RedbStore {
    /// Writes the store anew while it is used, with what is live and nothing else. What ends while it goes on may leave
    /// bytes behind. Takes room for what is live, and memory for a second cache. One at a time, and none while the file is
    /// checked: it waits.
    ///
    /// # Errors
    /// [`GivenUp`]; the store is as it was, and the file beside it removed.
    pub fn compact(&self, pace: &mut Pace<'_>) -> Result<Compacted, GivenUp> {
        if let Soundness::Damaged(what) = self.check(sealdex_dbfile::RATE)? {
            return Err(GivenUp::Damaged(what));
        }
        pace.go_on()?;
        let beside = self.db.beside()?.ok_or(GivenUp::NoFile)?;
        self.rewrite_into(beside, pace)
    }

    fn rewrite_into(&self, beside: Beside<'_>, pace: &mut Pace<'_>) -> Result<Compacted, GivenUp> {
        let full = |e: GivenUp, beside: &Beside<'_>| match beside.full() {
            Some(reason) => GivenUp::Store(StoreError::NoSpace(reason)),
            None => e,
        };
        let first = self.copy_all(&beside, pace).map_err(|e| full(e, &beside))?;
        let (at, rounds) = self.follow(first.clone(), &beside, pace).map_err(|e| full(e, &beside))?;
        let held = beside.hold().map_err(failed)?;
        let began = Instant::now();
        {
            let last = held.begin_read().map_err(failed)?;
            if position(&last)? != at {
                catch_up(&last, &beside, &at, pace).map_err(|e| full(e, &beside))?;
            }
            same_rows(&last, &*beside.begin_read().map_err(failed)?)?;
        }
        let replaced = beside.replace(held)?;
        let held = began.elapsed();
        Ok(Compacted { batches: first.batches, rows: pace.rows, rounds: rounds + 1, held, replaced })
    }

    /// Everything, as it is now.
    fn copy_all(&self, beside: &Beside<'_>, pace: &mut Pace<'_>) -> Result<Position, GivenUp> {
        let from = self.db.begin_read().map_err(failed)?;
        for table in from.list_tables().map_err(failed)? {
            if !known_table(table.name()) {
                return Err(StoreError::Damaged("a table that this version does not know").into());
            }
        }
        pace.begin(counted(&from)?.iter().map(|(_, rows)| rows).sum());
        copy(&from, beside, RECORDS, pace)?;
        copy(&from, beside, SEALED, pace)?;
        copy(&from, beside, ORIGINS, pace)?;
        copy(&from, beside, BATCHES, pace)?;
        copy(&from, beside, CHANGES, pace)?;
        copy(&from, beside, ENTRIES, pace)?;
        copy(&from, beside, ENDED, pace)?;
        copy(&from, beside, HEADS, pace)?;
        copy(&from, beside, PROOFS, pace)?;
        copy(&from, beside, PROVIDERS, pace)?;
        copy(&from, beside, COUNTERS, pace)?;
        copy(&from, beside, ACTS, pace)?;
        copy(&from, beside, ACT_PLACES, pace)?;
        copy(&from, beside, SETTINGS, pace)?;
        Ok(position(&from)?)
    }

    /// Rounds, until little is left: how far, and how many.
    fn follow(&self, mut at: Position, beside: &Beside<'_>, pace: &mut Pace<'_>) -> Result<(Position, u32), GivenUp> {
        for round in 1.. {
            let began = Instant::now();
            let now = self.db.begin_read().map_err(failed)?;
            at = catch_up(&now, beside, &at, pace)?;
            let took = began.elapsed();
            if took <= SHORT || (round >= ROUNDS && took <= LONG) {
                return Ok((at, round));
            }
            if round >= ROUNDS {
                return Err(GivenUp::Behind(took));
            }
        }
        Ok((at, 0))
    }
}

fn copy<K: Key + 'static, V: Value + 'static>(
    from: &ReadTransaction,
    to: &Beside<'_>,
    table: TableDefinition<'static, K, V>,
    pace: &mut Pace<'_>,
) -> Result<(), GivenUp> {
    let old = from.open_table(table).map_err(failed)?;
    let mut rows = old.iter().map_err(failed)?;
    loop {
        let tx = to.begin_write()?;
        let mut bytes = 0;
        {
            let mut new = tx.open_table(table).map_err(failed)?;
            while bytes < CHUNK {
                let Some(row) = rows.next() else { break };
                let (key, value) = row.map_err(failed)?;
                let (key, value) = (key.value(), value.value());
                let length = (K::as_bytes(&key).as_ref().len() + V::as_bytes(&value).as_ref().len()) as u64;
                new.insert(key, value).map_err(failed)?;
                bytes += length;
                pace.row(length)?;
            }
        }
        tx.commit().map_err(failed)?;
        pace.tell();
        if bytes < CHUNK {
            return Ok(());
        }
    }
}

/// Takes in what has come and gone since `after`, so that the new file is as `from` is: its position.
fn catch_up(
    from: &ReadTransaction,
    to: &Beside<'_>,
    after: &Position,
    pace: &mut Pace<'_>,
) -> Result<Position, GivenUp> {
    let at = position(from)?;
    let export = Export::open(from, after.batches + 1)?;
    let mut seq = after.batches;
    loop {
        pace.go_on()?;
        let mut tx = to.begin_write()?;
        // Whoever opens it after a crash has no long repair.
        tx.set_quick_repair(true);
        let last = {
            let mut taking = Taking { import: Import::open(&tx, u64::MAX)?, origins: HashSet::new(), bytes: 0 };
            while seq < at.batches && taking.bytes < CHUNK {
                seq += 1;
                export.batches::<StoreError>(seq..=seq, &mut |kind, key, value| taking.row(kind, key, value))?;
            }
            taking.settle(from)?;
            seq == at.batches
        };
        if last {
            take_acts(from, &tx, after.acts, at.acts)?;
            anew(from, &tx, HEADS)?;
            anew(from, &tx, PROVIDERS)?;
            anew(from, &tx, COUNTERS)?;
            anew(from, &tx, SETTINGS)?;
        }
        tx.commit().map_err(failed)?;
        if last {
            return Ok(at);
        }
    }
}

/// Rows of new batches on their way in.
struct Taking<'t> {
    import: Import<'t>,
    /// Of records that came or went.
    origins: HashSet<[u8; 16]>,
    bytes: u64,
}

impl Taking<'_> {
    fn row(&mut self, kind: Kind, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.bytes += (key.len() + value.len()) as u64;
        match kind {
            Kind::Change => {
                for id in row::change(value)?.replaced {
                    // One that is not there came and went within this round, or will come with its last batch.
                    if let Some(gone) = self.import.tables.records.get(&id.0).map_err(failed)? {
                        self.bytes += gone.value().len() as u64;
                        self.origins.insert(row::record(gone.value())?.origin.0);
                    }
                }
            }
            Kind::Record => drop(self.origins.insert(row::record(value)?.origin.0)),
            _ => {}
        }
        self.import.row(kind, key, value)
    }

    /// Whose each of these origins is now.
    fn settle(&mut self, from: &ReadTransaction) -> Result<(), StoreError> {
        let old = from.open_table(ORIGINS).map_err(failed)?;
        for origin in &self.origins {
            match old.get(origin).map_err(failed)? {
                Some(id) => drop(self.import.tables.origins.insert(origin, id.value()).map_err(failed)?),
                None => drop(self.import.tables.origins.remove(origin).map_err(failed)?),
            }
        }
        Ok(())
    }
}

fn take_acts(from: &ReadTransaction, tx: &WriteTransaction, after: u64, to: u64) -> Result<(), StoreError> {
    let mut import = Import::open(tx, u64::MAX)?;
    for entry in from.open_table(ACTS).map_err(failed)?.range(after + 1..=to).map_err(failed)? {
        let (place, entry) = entry.map_err(failed)?;
        import.row(Kind::Act, &place.value().to_be_bytes(), entry.value())?;
    }
    Ok(())
}

/// Copies a small table anew.
fn anew<K: Key + 'static, V: Value + 'static>(
    from: &ReadTransaction,
    tx: &WriteTransaction,
    table: TableDefinition<'static, K, V>,
) -> Result<(), StoreError> {
    tx.delete_table(table).map_err(failed)?;
    let mut new = tx.open_table(table).map_err(failed)?;
    for row in from.open_table(table).map_err(failed)?.iter().map_err(failed)? {
        let (key, value) = row.map_err(failed)?;
        new.insert(key.value(), value.value()).map_err(failed)?;
    }
    Ok(())
}

fn rows<K: Key + 'static, V: Value + 'static>(
    tx: &ReadTransaction,
    table: TableDefinition<'static, K, V>,
) -> Result<u64, StoreError> {
    tx.open_table(table).map_err(failed)?.len().map_err(failed)
}

/// Rows of each table.
fn counted(tx: &ReadTransaction) -> Result<[(&'static str, u64); 14], StoreError> {
    Ok([
        ("records", rows(tx, RECORDS)?),
        ("sealed", rows(tx, SEALED)?),
        ("origins", rows(tx, ORIGINS)?),
        ("batches", rows(tx, BATCHES)?),
        ("changes", rows(tx, CHANGES)?),
        ("entries", rows(tx, ENTRIES)?),
        ("ended", rows(tx, ENDED)?),
        ("heads", rows(tx, HEADS)?),
        ("proofs", rows(tx, PROOFS)?),
        ("providers", rows(tx, PROVIDERS)?),
        ("counters", rows(tx, COUNTERS)?),
        ("acts", rows(tx, ACTS)?),
        ("act_places", rows(tx, ACT_PLACES)?),
        ("settings", rows(tx, SETTINGS)?),
    ])
}

/// A look of a few microseconds at what must not be lost.
fn same_rows(old: &ReadTransaction, new: &ReadTransaction) -> Result<(), GivenUp> {
    for ((table, old), (_, new)) in counted(old)?.into_iter().zip(counted(new)?) {
        if old != new {
            return Err(GivenUp::AtOdds(table));
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test fails by panicking
mod tests;
