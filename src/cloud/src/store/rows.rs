//! The store's rows as backups have them: everything that is not derived, in the order of the batches.
//!
//! Origins, statement heads, counts per provider and counters follow from the other rows, and are made from them again.

use std::collections::HashMap;

use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata, TableHandle, WriteTransaction};
use sealdex_ledger::{SignedAct, SignedBatch};

use super::{
    StoreError,
    acts::{ACT_PLACES, ACTS},
    redb::{
        BATCHES, CHANGES, COUNTERS, ENDED, ENTRIES, HEADS, LAST_SEQ, ORIGINS, PROOFS, PROVIDERS, RECORDS, ROSTER,
        RedbStore, SEALED, SEALED_BYTES, SETTINGS, STORE_ID, Tables, failed,
    },
    row,
};

/// Name of the setting that says of which moment a restored store is, until it is resumed.
const RESTORED: &str = "restored";

/// What a row is of. The number is its tag in a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// What a batch changed, by place: the first row of each batch.
    Change = 1,
    /// Its entry in the log, by place.
    Entry = 2,
    /// Ids it ends, by place.
    Ended = 3,
    /// What it is proved from: place, part, chunk.
    Proof = 4,
    /// Its receipt, by batch id.
    Batch = 5,
    /// A record, by id.
    Record = 6,
    /// Its sealed bytes, by id.
    Sealed = 7,
    /// An entry of the log of acts, by place.
    Act = 8,
    /// The signed roster.
    Roster = 9,
}

impl Kind {
    pub(crate) const ALL: [Self; 9] = [
        Self::Change,
        Self::Entry,
        Self::Ended,
        Self::Proof,
        Self::Batch,
        Self::Record,
        Self::Sealed,
        Self::Act,
        Self::Roster,
    ];

    pub(crate) fn of(tag: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|k| *k as u8 == tag)
    }
}

/// What takes a row: its kind, key and value.
pub(crate) type Row<'r, E> = dyn FnMut(Kind, &[u8], &[u8]) -> Result<(), E> + 'r;

/// How far a store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) store: [u8; 16],
    pub(crate) batches: u64,
    pub(crate) acts: u64,
    pub(crate) roster: Option<Vec<u8>>,
}

/// Of which moment a restored store is that nobody has resumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Place of its last batch.
    pub batch: u64,
    /// Time of the backup, Unix milliseconds.
    pub taken_at: u64,
    /// Whether the backup went on: then the store is for inspection, and cannot be resumed in a domain with a log.
    pub cut: bool,
}

pub(super) fn position(tx: &ReadTransaction) -> Result<Position, StoreError> {
    let settings = tx.open_table(SETTINGS).map_err(failed)?;
    let store = settings.get(STORE_ID).map_err(failed)?.and_then(|v| v.value().try_into().ok());
    let counters = tx.open_table(COUNTERS).map_err(failed)?;
    Ok(Position {
        store: store.ok_or(StoreError::Damaged("settings"))?,
        batches: counters.get(LAST_SEQ).map_err(failed)?.map_or(0, |v| v.value()),
        acts: tx.open_table(ACTS).map_err(failed)?.len().map_err(failed)?,
        roster: settings.get(ROSTER).map_err(failed)?.map(|v| v.value().to_vec()),
    })
}

/// Tables that are backed up or made again. A new one must be added here and above, or backups would silently lack it.
pub(super) fn known_table(name: &str) -> bool {
    [RECORDS.name(), SEALED.name(), ORIGINS.name(), BATCHES.name(), CHANGES.name(), ENTRIES.name()].contains(&name)
        || [ENDED.name(), HEADS.name(), PROOFS.name(), PROVIDERS.name(), COUNTERS.name(), SETTINGS.name()]
            .contains(&name)
        || [ACTS.name(), ACT_PLACES.name()].contains(&name)
}

impl RedbStore {
    /// How far it is now.
    pub(crate) fn position(&self) -> Result<Position, StoreError> {
        position(&*self.db.begin_read().map_err(failed)?)
    }

    /// Hands out every row of one moment from after a batch and an act on: of each batch its change first. `begin` is
    /// told the moment before any row. Records replaced by then are not there any more.
    pub(crate) fn export<E: From<StoreError>>(
        &self,
        (batch, act): (u64, u64),
        begin: impl FnOnce(&Position) -> Result<(), E>,
        row: &mut Row<'_, E>,
    ) -> Result<(), E> {
        let tx = self.db.begin_read().map_err(failed)?;
        for table in tx.list_tables().map_err(failed)? {
            if !known_table(table.name()) {
                let unknown =
                    format!("backups do not know the table {:?}: nothing is backed up without it", table.name());
                return Err(StoreError::Backend(Box::new(std::io::Error::other(unknown))).into());
            }
        }
        let at = position(&tx)?;
        begin(&at)?;
        Export::open(&tx, batch + 1)?.batches(batch + 1..=at.batches, row)?;
        let acts = tx.open_table(ACTS).map_err(failed)?;
        for entry in acts.range(act + 1..=at.acts).map_err(failed)? {
            let (place, entry) = entry.map_err(failed)?;
            row(Kind::Act, &place.value().to_be_bytes(), entry.value())?;
        }
        if let Some(roster) = &at.roster {
            row(Kind::Roster, &[], roster)?;
        }
        Ok(())
    }

    /// Of which moment it is, if it was restored and not resumed.
    pub fn restored(&self) -> Result<Option<Restored>, StoreError> {
        let tx = self.db.begin_read().map_err(failed)?;
        let settings = tx.open_table(SETTINGS).map_err(failed)?;
        let Some(row) = settings.get(RESTORED).map_err(failed)? else { return Ok(None) };
        let bad = || StoreError::Damaged("settings");
        let (batch, rest) = row.value().split_first_chunk::<8>().ok_or_else(bad)?;
        let (taken, rest) = rest.split_first_chunk::<8>().ok_or_else(bad)?;
        let cut = rest.first().ok_or_else(bad)? != &0;
        Ok(Some(Restored { batch: u64::from_be_bytes(*batch), taken_at: u64::from_be_bytes(*taken), cut }))
    }

    /// Lets a restored store be served.
    pub fn resume(&self) -> Result<(), StoreError> {
        let tx = self.write()?;
        tx.open_table(SETTINGS).map_err(failed)?.remove(RESTORED).map_err(failed)?;
        tx.commit().map_err(failed)
    }

    /// Takes in the rows of one part of a backup, up to and including a batch. `rows` hands each to its argument.
    pub(crate) fn import<E: From<StoreError>>(
        &self,
        until: u64,
        rows: impl FnOnce(&mut Row<'_, E>) -> Result<(), E>,
    ) -> Result<(), E> {
        let tx = self.write()?;
        {
            let mut import = Import::open(&tx, until)?;
            rows(&mut |kind, key, value| Ok(import.row(kind, key, value)?))?;
        }
        tx.commit().map_err(failed)?;
        Ok(())
    }

    /// Makes what is derived, and notes of which moment the store is. How many live records are missing: replaced later,
    /// before the part that brought them was written.
    pub(crate) fn derive(&self, restored: Restored) -> Result<u64, StoreError> {
        let tx = self.write()?;
        let missing = derive(&mut Tables::open(&tx)?, restored.batch)?;
        let mut mark = restored.batch.to_be_bytes().to_vec();
        mark.extend_from_slice(&restored.taken_at.to_be_bytes());
        mark.push(u8::from(restored.cut));
        tx.open_table(SETTINGS).map_err(failed)?.insert(RESTORED, mark.as_slice()).map_err(failed)?;
        tx.commit().map_err(failed)?;
        Ok(missing)
    }
}

type Bytes16 = &'static [u8; 16];

pub(super) struct Export {
    records: redb::ReadOnlyTable<Bytes16, &'static [u8]>,
    sealed: redb::ReadOnlyTable<Bytes16, &'static [u8]>,
    changes: redb::ReadOnlyTable<u64, &'static [u8]>,
    entries: redb::ReadOnlyTable<u64, &'static [u8]>,
    ended: redb::ReadOnlyTable<u64, &'static [u8]>,
    proofs: redb::ReadOnlyTable<(u64, u8, u32), &'static [u8]>,
    batches: redb::ReadOnlyTable<Bytes16, &'static [u8]>,
    /// Batch ids by place, of batches without a statement, which names it.
    unstated: HashMap<u64, [u8; 16]>,
}

impl Export {
    pub(super) fn open(tx: &ReadTransaction, from: u64) -> Result<Self, StoreError> {
        let mut export = Self {
            records: tx.open_table(RECORDS).map_err(failed)?,
            sealed: tx.open_table(SEALED).map_err(failed)?,
            changes: tx.open_table(CHANGES).map_err(failed)?,
            entries: tx.open_table(ENTRIES).map_err(failed)?,
            ended: tx.open_table(ENDED).map_err(failed)?,
            proofs: tx.open_table(PROOFS).map_err(failed)?,
            batches: tx.open_table(BATCHES).map_err(failed)?,
            unstated: HashMap::new(),
        };
        if export.entries.len().map_err(failed)? < export.batches.len().map_err(failed)? {
            for entry in export.batches.iter().map_err(failed)? {
                let (id, value) = entry.map_err(failed)?;
                let seq = row::batch_seq(value.value())?;
                if seq >= from {
                    export.unstated.insert(seq, *id.value());
                }
            }
        }
        Ok(export)
    }

    pub(super) fn batches<E: From<StoreError>>(
        &self,
        places: std::ops::RangeInclusive<u64>,
        row: &mut Row<'_, E>,
    ) -> Result<(), E> {
        for seq in places {
            let key = seq.to_be_bytes();
            let change = self.changes.get(seq).map_err(failed)?.ok_or(StoreError::Damaged("changes"))?;
            row(Kind::Change, &key, change.value())?;
            let id = match self.entries.get(seq).map_err(failed)? {
                Some(entry) => {
                    let stated = SignedBatch::from_entry(entry.value()).map_err(|_| StoreError::Damaged("entries"))?;
                    row(Kind::Entry, &key, entry.value())?;
                    stated.statement.batch.0
                }
                None => *self.unstated.get(&seq).ok_or(StoreError::Damaged("batches"))?,
            };
            let receipt = self.batches.get(&id).map_err(failed)?.ok_or(StoreError::Damaged("batches"))?;
            row(Kind::Batch, &id, receipt.value())?;
            if let Some(ended) = self.ended.get(seq).map_err(failed)? {
                row(Kind::Ended, &key, ended.value())?;
            }
            for entry in self.proofs.range((seq, 0, 0)..=(seq, u8::MAX, u32::MAX)).map_err(failed)? {
                let (at, chunk) = entry.map_err(failed)?;
                let (_, part, number) = at.value();
                row(Kind::Proof, &[&key[..], &[part], &number.to_be_bytes()].concat(), chunk.value())?;
            }
            for id in row::change(change.value())?.added {
                if let Some(record) = self.records.get(&id.0).map_err(failed)? {
                    let sealed = self.sealed.get(&id.0).map_err(failed)?.ok_or(StoreError::Damaged("sealed"))?;
                    row(Kind::Record, &id.0, record.value())?;
                    row(Kind::Sealed, &id.0, sealed.value())?;
                }
            }
        }
        Ok(())
    }
}

pub(super) struct Import<'t> {
    pub(super) tables: Tables<'t>,
    acts: redb::Table<'t, u64, &'static [u8]>,
    act_places: redb::Table<'t, (Bytes16, u64), u64>,
    settings: redb::Table<'t, &'static str, &'static [u8]>,
    until: u64,
    /// Place of the batch that rows are of.
    now: u64,
}

/// A key of a known length.
fn key<const N: usize>(bytes: &[u8]) -> Result<[u8; N], StoreError> {
    bytes.try_into().map_err(|_| StoreError::Damaged("a backup: a key"))
}

impl<'t> Import<'t> {
    pub(super) fn open(tx: &'t WriteTransaction, until: u64) -> Result<Self, StoreError> {
        Ok(Self {
            tables: Tables::open(tx)?,
            acts: tx.open_table(ACTS).map_err(failed)?,
            act_places: tx.open_table(ACT_PLACES).map_err(failed)?,
            settings: tx.open_table(SETTINGS).map_err(failed)?,
            until,
            now: 0,
        })
    }

    pub(super) fn row(&mut self, kind: Kind, at: &[u8], value: &[u8]) -> Result<(), StoreError> {
        if kind == Kind::Change {
            self.now = u64::from_be_bytes(key(at)?);
        }
        if self.now > self.until && !matches!(kind, Kind::Act | Kind::Roster) {
            return Ok(());
        }
        let t = &mut self.tables;
        match kind {
            Kind::Change => {
                for id in row::change(value)?.replaced {
                    t.records.remove(&id.0).map_err(failed)?;
                    t.sealed.remove(&id.0).map_err(failed)?;
                }
                t.changes.insert(self.now, value).map_err(failed)?;
            }
            Kind::Entry => drop(t.entries.insert(u64::from_be_bytes(key(at)?), value).map_err(failed)?),
            Kind::Ended => drop(t.ended.insert(u64::from_be_bytes(key(at)?), value).map_err(failed)?),
            Kind::Proof => {
                let [seq, part, chunk] =
                    [&at[..at.len().min(8)], at.get(8..9).unwrap_or(&[]), at.get(9..).unwrap_or(&[])];
                let at = (u64::from_be_bytes(key(seq)?), key::<1>(part)?[0], u32::from_be_bytes(key(chunk)?));
                t.proofs.insert(at, value).map_err(failed)?;
            }
            Kind::Batch => drop(t.batches.insert(&key(at)?, value).map_err(failed)?),
            Kind::Record => drop(t.records.insert(&key(at)?, value).map_err(failed)?),
            Kind::Sealed => drop(t.sealed.insert(&key(at)?, value).map_err(failed)?),
            Kind::Act => {
                let place = u64::from_be_bytes(key(at)?);
                let act = SignedAct::from_entry(value).map_err(|_| StoreError::Damaged("acts"))?;
                self.acts.insert(place, value).map_err(failed)?;
                self.act_places.insert((&act.entry.gate.0, act.entry.number), place).map_err(failed)?;
            }
            Kind::Roster => drop(self.settings.insert(ROSTER, value).map_err(failed)?),
        }
        Ok(())
    }
}

fn derive(t: &mut Tables<'_>, last: u64) -> Result<u64, StoreError> {
    let mut live = 0_u64;
    for entry in t.changes.iter().map_err(failed)? {
        let change = row::change(entry.map_err(failed)?.1.value())?;
        live = (live + change.added.len() as u64).saturating_sub(change.replaced.len() as u64);
    }
    let (mut bytes, mut counts): (u64, HashMap<[u8; 16], u64>) = (0, HashMap::new());
    for entry in t.records.iter().map_err(failed)? {
        let (id, value) = entry.map_err(failed)?;
        let record = row::record(value.value())?;
        t.origins.insert(&record.origin.0, id.value()).map_err(failed)?;
        *counts.entry(record.provider.0).or_default() += 1;
        bytes += t.sealed.get(id.value()).map_err(failed)?.map_or(0, |v| v.value().len() as u64);
    }
    for (provider, count) in counts {
        t.providers.insert(&provider, count).map_err(failed)?;
    }
    let mut heads: HashMap<[u8; 16], (u64, Vec<u8>)> = HashMap::new();
    for entry in t.entries.iter().map_err(failed)? {
        let (seq, entry) = entry.map_err(failed)?;
        let stated = SignedBatch::from_entry(entry.value()).map_err(|_| StoreError::Damaged("entries"))?;
        let number = stated.statement.number;
        let head = heads.entry(stated.statement.provider.0).or_default();
        if number > head.0 {
            *head = (number, row::head_row(number, &stated.digest(), seq.value()));
        }
    }
    for (provider, (_, head)) in &heads {
        t.heads.insert(provider, head.as_slice()).map_err(failed)?;
    }
    t.counters.insert(LAST_SEQ, last).map_err(failed)?;
    t.counters.insert(SEALED_BYTES, bytes).map_err(failed)?;
    Ok(live.abs_diff(t.records.len().map_err(failed)?))
}
