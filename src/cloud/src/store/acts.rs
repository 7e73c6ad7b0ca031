//! The entries of the log of acts: a table that only grows, and in it a chain for each gate.

use redb::{ReadableTable, ReadableTableMetadata, TableDefinition};
use sealdex_crypto::{
    PrincipalId,
    log::{Hash, leaf_hash},
};
use sealdex_ledger::SignedAct;

use super::{StoreError, memory::MemoryStore, redb::RedbStore, redb::failed};

/// Entries of one gate that do not follow those that are stored. None of them was taken then.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum ActsRefused {
    /// Acts are missing.
    #[error("act {found} of gate {gate} does not follow {last}, its last in the log: ask for it and go on from there")]
    Gap {
        /// Whose.
        gate: PrincipalId,
        /// Its last.
        last: u64,
        /// This one.
        found: u64,
    },
    /// A number that stands for another entry.
    #[error("the log has another act {number} of gate {gate}: nothing in it can be replaced")]
    Differs {
        /// Whose.
        gate: PrincipalId,
        /// Which.
        number: u64,
    },
    /// An entry that names another one before it than the log has.
    #[error("act {number} of gate {gate} names another act before it than the log has")]
    Previous {
        /// Whose.
        gate: PrincipalId,
        /// Which.
        number: u64,
    },
}

/// The entries of the log of acts. Row `i`, from 1, is entry `i - 1` of the log.
pub trait ActStore: Send + Sync + 'static {
    /// Appends entries of one gate, whose signatures were checked, in one durable transaction: all that are new, or none.
    /// Entries that are there already are passed over. The gate's last entry afterwards.
    fn append_acts(
        &self,
        gate: PrincipalId,
        entries: &[SignedAct],
    ) -> Result<Result<Option<Vec<u8>>, ActsRefused>, StoreError>;

    /// Rows there are.
    fn last_act(&self) -> Result<u64, StoreError>;

    /// Rows `from` up to and including `to`; fewer where there are no more.
    fn acts(&self, from: u64, to: u64) -> Result<Vec<Vec<u8>>, StoreError>;
}

/// A place to append to: what differs between backends.
trait Chain {
    fn last(&self) -> Result<u64, StoreError>;
    fn entry(&self, number: u64) -> Result<Option<Vec<u8>>, StoreError>;
    fn push(&mut self, number: u64, entry: Vec<u8>) -> Result<(), StoreError>;
}

fn append(
    chain: &mut impl Chain,
    gate: PrincipalId,
    entries: &[SignedAct],
) -> Result<Result<Option<Vec<u8>>, ActsRefused>, StoreError> {
    let mut last = chain.last()?;
    let mut newest = chain.entry(last)?;
    let mut digest: Hash = match &newest {
        Some(entry) => leaf_hash(entry),
        None => [0; 32],
    };
    for act in entries {
        let (number, bytes) = (act.entry.number, act.to_entry());
        if number <= last {
            if chain.entry(number)?.as_ref() != Some(&bytes) {
                return Ok(Err(ActsRefused::Differs { gate, number }));
            }
            continue;
        }
        if number != last + 1 {
            return Ok(Err(ActsRefused::Gap { gate, last, found: number }));
        }
        if act.entry.previous != digest {
            return Ok(Err(ActsRefused::Previous { gate, number }));
        }
        (last, digest) = (number, leaf_hash(&bytes));
        chain.push(number, bytes.clone())?;
        newest = Some(bytes);
    }
    Ok(Ok(newest))
}

/// Rows of the reference store.
#[derive(Clone, Default)]
pub(super) struct MemoryActs(Vec<(PrincipalId, u64, Vec<u8>)>);

struct MemoryChain<'m>(&'m mut MemoryActs, PrincipalId);

impl Chain for MemoryChain<'_> {
    fn last(&self) -> Result<u64, StoreError> {
        Ok(self.0.0.iter().filter(|(gate, ..)| *gate == self.1).count() as u64)
    }

    fn entry(&self, number: u64) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.0.0.iter().find(|(gate, n, _)| (*gate, *n) == (self.1, number)).map(|(_, _, entry)| entry.clone()))
    }

    fn push(&mut self, number: u64, entry: Vec<u8>) -> Result<(), StoreError> {
        self.0.0.push((self.1, number, entry));
        Ok(())
    }
}

impl ActStore for MemoryStore {
    fn append_acts(
        &self,
        gate: PrincipalId,
        entries: &[SignedAct],
    ) -> Result<Result<Option<Vec<u8>>, ActsRefused>, StoreError> {
        self.with_acts(|acts| {
            let mut next = acts.clone();
            let appended = append(&mut MemoryChain(&mut next, gate), gate, entries)?;
            if appended.is_ok() {
                *acts = next;
            }
            Ok(appended)
        })
    }

    fn last_act(&self) -> Result<u64, StoreError> {
        Ok(self.with_acts(|acts| acts.0.len() as u64))
    }

    fn acts(&self, from: u64, to: u64) -> Result<Vec<Vec<u8>>, StoreError> {
        let place = |(at, row): (u64, &(_, _, Vec<u8>))| (from..=to).contains(&at).then(|| row.2.clone());
        Ok(self.with_acts(|acts| (1..).zip(&acts.0).filter_map(place).collect()))
    }
}

/// Place → entry.
pub(super) const ACTS: TableDefinition<u64, &[u8]> = TableDefinition::new("acts");
/// Gate, number → place.
pub(super) const ACT_PLACES: TableDefinition<(&[u8; 16], u64), u64> = TableDefinition::new("act_places");

struct RedbChain<'t> {
    acts: redb::Table<'t, u64, &'static [u8]>,
    places: redb::Table<'t, (&'static [u8; 16], u64), u64>,
    gate: PrincipalId,
    added: bool,
}

impl Chain for RedbChain<'_> {
    fn last(&self) -> Result<u64, StoreError> {
        let mut own = self.places.range((&self.gate.0, 0)..=(&self.gate.0, u64::MAX)).map_err(failed)?;
        let Some(last) = own.next_back() else { return Ok(0) };
        Ok(last.map_err(failed)?.0.value().1)
    }

    fn entry(&self, number: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(place) = self.places.get((&self.gate.0, number)).map_err(failed)? else { return Ok(None) };
        let row = self.acts.get(place.value()).map_err(failed)?.ok_or(StoreError::Damaged("acts"))?;
        Ok(Some(row.value().to_vec()))
    }

    fn push(&mut self, number: u64, entry: Vec<u8>) -> Result<(), StoreError> {
        let place = self.acts.len().map_err(failed)? + 1;
        self.acts.insert(place, entry.as_slice()).map_err(failed)?;
        self.places.insert((&self.gate.0, number), place).map_err(failed)?;
        self.added = true;
        Ok(())
    }
}

impl ActStore for RedbStore {
    fn append_acts(
        &self,
        gate: PrincipalId,
        entries: &[SignedAct],
    ) -> Result<Result<Option<Vec<u8>>, ActsRefused>, StoreError> {
        self.explained(self.append(gate, entries))
    }

    fn last_act(&self) -> Result<u64, StoreError> {
        let tx = self.db.begin_read().map_err(failed)?;
        tx.open_table(ACTS).map_err(failed)?.len().map_err(failed)
    }

    fn acts(&self, from: u64, to: u64) -> Result<Vec<Vec<u8>>, StoreError> {
        if from > to {
            return Ok(Vec::new());
        }
        let tx = self.db.begin_read().map_err(failed)?;
        let acts = tx.open_table(ACTS).map_err(failed)?;
        let rows = acts.range(from..=to).map_err(failed)?;
        rows.map(|row| row.map(|(_, entry)| entry.value().to_vec()).map_err(failed)).collect()
    }
}

impl RedbStore {
    fn append(
        &self,
        gate: PrincipalId,
        entries: &[SignedAct],
    ) -> Result<Result<Option<Vec<u8>>, ActsRefused>, StoreError> {
        let tx = self.write()?;
        let (appended, added) = {
            let (acts, places) = (tx.open_table(ACTS).map_err(failed)?, tx.open_table(ACT_PLACES).map_err(failed)?);
            let mut chain = RedbChain { acts, places, gate, added: false };
            (append(&mut chain, gate, entries)?, chain.added)
        };
        match appended.is_ok() && added {
            true => tx.commit().map_err(failed)?,
            false => tx.abort().map_err(failed)?,
        }
        Ok(appended)
    }
}
