//! What waits for the log of acts: acts as they were done, and entries as they were made. An entry is made once and stored
//! before it is sent, so that whatever was killed when, none is missing, repeated or other than it was.
//!
//! | key | value |
//! |---|---|
//! | `on` | empty; there while the roster names a log |
//! | `head` | u64 number ‖ digest(32) of the last entry made |
//! | `a` ‖ u64 place in `audit` | CBOR [`Act`] that is to be sealed |
//! | `e` ‖ u64 number | entry that the cloud has not acknowledged |

use sealdex_ledger::act::content::Head;
use sealdex_wire::{acts::Act, codec};

use super::{Snapshot, StoreError, Table, Transaction};
use crate::nodes::redone::redone;

const ON: &[u8] = b"on";
const HEAD: &[u8] = b"head";
const ACT: u8 = b'a';
const ENTRY: u8 = b'e';
/// Bytes of CBOR that an act takes for each of its rows, about.
const ROW: usize = 160;

fn damaged() -> StoreError {
    StoreError::Row(Table::ActLog.name())
}

fn key(kind: u8, number: u64) -> Vec<u8> {
    [[kind].as_slice(), &number.to_be_bytes()].concat()
}

/// Whether a row is one of this table's.
pub(crate) fn is_row(row: &[u8], value: &[u8]) -> bool {
    match (row, row.len()) {
        (ON, _) => value.is_empty(),
        (HEAD, _) => value.len() == 40,
        ([ACT, ..], 9) => codec::from_cbor::<Act>(value).is_ok(),
        ([ENTRY, ..], 9) => sealdex_ledger::SignedAct::from_entry(value).is_ok(),
        _ => false,
    }
}

fn number(row: &[u8]) -> Result<u64, StoreError> {
    row.get(1..).and_then(|n| n.try_into().ok()).map(u64::from_be_bytes).ok_or_else(damaged)
}

/// Typed reads.
pub trait ReadActLog: Snapshot {
    /// The last entry made.
    fn act_head(&self) -> Result<Head, StoreError> {
        let Some(row) = self.get(Table::ActLog, HEAD)? else { return Ok(Head::default()) };
        let (number, digest) = row.split_first_chunk().ok_or_else(damaged)?;
        let digest = digest.try_into().map_err(|_| damaged())?;
        Ok(Head { number: u64::from_be_bytes(*number), digest })
    }

    /// Acts that are to be sealed, oldest first.
    fn acts_to_seal(&self, limit: usize) -> Result<Vec<Act>, StoreError> {
        let rows = self.range(Table::ActLog, &[ACT], Some(&[ACT + 1]), limit)?;
        rows.iter().map(|(_, v)| codec::from_cbor(v).map_err(|_| damaged())).collect()
    }

    /// About how many acts are to be sealed.
    fn acts_waiting(&self) -> Result<u64, StoreError> {
        let first = self.range(Table::ActLog, &[ACT], Some(&[ACT + 1]), 1)?;
        let Some((first, _)) = first.first() else { return Ok(0) };
        let last = self.last_key(Table::Audit)?.and_then(|k| k.try_into().ok()).map(u64::from_be_bytes);
        Ok(last.unwrap_or(0).saturating_sub(number(first)?) + 1)
    }

    /// How many entries the cloud has not acknowledged.
    fn entries_waiting(&self) -> Result<u64, StoreError> {
        let first = self.range(Table::ActLog, &[ENTRY], Some(&[ENTRY + 1]), 1)?;
        let Some((first, _)) = first.first() else { return Ok(0) };
        Ok((self.act_head()?.number + 1).saturating_sub(number(first)?))
    }

    /// Entries that the cloud has not acknowledged, with their numbers, oldest first.
    fn entries_to_send(&self, limit: usize) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
        let rows = self.range(Table::ActLog, &[ENTRY], Some(&[ENTRY + 1]), limit)?;
        rows.into_iter().map(|(k, v)| Ok((number(&k)?, v))).collect()
    }
}

impl<S: Snapshot + ?Sized> ReadActLog for S {}

/// Typed writes.
pub trait WriteActLog: Transaction {
    /// Whether acts are logged from now on.
    fn set_logging(&mut self, on: bool) -> Result<(), StoreError> {
        if on { self.put(Table::ActLog, ON, &[]) } else { self.remove(Table::ActLog, ON).map(|_| ()) }
    }

    /// Keeps an act for the log, if there is one and no other node logs it.
    fn await_logging(&mut self, act: Act) -> Result<(), StoreError> {
        let elsewhere = redone().is_some_and(|r| !r.own);
        if elsewhere || self.get(Table::ActLog, ON)?.is_none() {
            return Ok(());
        }
        let about = (1 + act.rows.len()) * ROW;
        self.put(Table::ActLog, &key(ACT, act.act), &codec::to_cbor_of(&act, about))
    }

    /// Keeps the entries made of acts in place of these.
    fn put_sealed(&mut self, acts: &[Act], entries: &[Vec<u8>], before: Head, head: Head) -> Result<(), StoreError> {
        for (entry, number) in entries.iter().zip(before.number + 1..) {
            self.put(Table::ActLog, &key(ENTRY, number), entry)?;
        }
        for act in acts {
            self.remove(Table::ActLog, &key(ACT, act.act))?;
        }
        self.put_act_head(head)
    }

    /// Goes on after this entry.
    fn put_act_head(&mut self, head: Head) -> Result<(), StoreError> {
        self.put(Table::ActLog, HEAD, &[head.number.to_be_bytes().as_slice(), &head.digest].concat())
    }

    /// Forgets entries up to a number, which the cloud has.
    fn forget_sent(&mut self, up_to: u64) -> Result<(), StoreError> {
        for (row, _) in self.range(Table::ActLog, &[ENTRY], Some(&key(ENTRY, up_to.saturating_add(1))), usize::MAX)? {
            self.remove(Table::ActLog, &row)?;
        }
        Ok(())
    }
}

impl<T: Transaction + ?Sized> WriteActLog for T {}
