//! Orders to erase, and the records they concern.
//!
//! | key in table `erasures` | value |
//! |---|---|
//! | 0 ‖ owner(16) ‖ section | u32 through ‖ CBOR `Signed<ErasureOrder>` |
//! | 1 ‖ owner(16) ‖ record(16) | hospital(16) ‖ provider(16): found at the cloud |
//! | 2 ‖ hospital(16) ‖ record(16) | empty: the hospital has still to end it |
//! | 3 | u64 batch ‖ u32 place: how far the cloud was looked through |

use std::collections::HashMap;

use sealdex_crypto::{PrincipalId, RecordId};
use sealdex_wire::{
    Signed, codec,
    erasure::{ErasedRecord, ErasureOrder, ScanPlace},
};

use super::{Snapshot, StoreError, Table, Transaction};

const ORDER: u8 = 0;
const FOUND: u8 = 1;
const OWED: u8 = 2;
const SCANNED: u8 = 3;

fn damaged() -> StoreError {
    StoreError::Row(Table::Erasures.name())
}

fn order_key(owner: PrincipalId, section: &str) -> Vec<u8> {
    [&[ORDER], owner.0.as_slice(), section.as_bytes()].concat()
}

fn record_key(kind: u8, of: PrincipalId, id: RecordId) -> Vec<u8> {
    [&[kind], of.0.as_slice(), &id.0].concat()
}

fn record_of(key: &[u8]) -> Result<RecordId, StoreError> {
    key.get(17..).and_then(|id| id.try_into().ok()).map(RecordId).ok_or_else(damaged)
}

/// Rows of records of an owner or hospital, after one.
fn records(
    stored: &(impl Snapshot + ?Sized),
    kind: u8,
    of: PrincipalId,
    after: Option<RecordId>,
    limit: usize,
) -> Result<Vec<(RecordId, Vec<u8>)>, StoreError> {
    // The shortest key beyond the last one.
    let from = match after {
        Some(id) => [record_key(kind, of, id), vec![0]].concat(),
        None => [&[kind], of.0.as_slice()].concat(),
    };
    let to = [record_key(kind, of, RecordId([0xff; 16])), vec![0]].concat();
    let rows = stored.range(Table::Erasures, &from, Some(&to), limit)?;
    rows.into_iter().map(|(key, value)| Ok((record_of(&key)?, value))).collect()
}

/// Whether a row parses; of an order, the order.
pub(super) fn is_row(key: &[u8], value: &[u8]) -> Option<Option<Signed<ErasureOrder>>> {
    match (key.first()?, key.len(), value.len()) {
        (&ORDER, 18.., 5..) => {
            let (through, signed) = value.split_first_chunk::<4>()?;
            let signed: Signed<ErasureOrder> = codec::from_cbor(signed).ok()?;
            let order = signed.peek().ok()?;
            let section = order.sections.iter().find(|s| order_key(order.owner, &s.section) == key)?;
            (section.through == u32::from_be_bytes(*through)).then_some(Some(signed))
        }
        (&FOUND, 33, 32) | (&OWED, 33, 0) | (&SCANNED, 1, 12) => Some(None),
        _ => None,
    }
}

/// What was ordered and found.
pub trait ReadErasures: Snapshot {
    /// Up to which epoch an owner's section is erased.
    fn erased(&self, owner: PrincipalId, section: &str) -> Result<Option<u32>, StoreError> {
        let row = self.get(Table::Erasures, &order_key(owner, section))?;
        row.map(|v| v.first_chunk().map(|t| u32::from_be_bytes(*t)).ok_or_else(damaged)).transpose()
    }

    /// An owner's orders in force, each once.
    fn orders_of(&self, owner: PrincipalId) -> Result<Vec<Signed<ErasureOrder>>, StoreError> {
        let from = order_key(owner, "");
        // Names of sections are ASCII.
        let to = [from.as_slice(), &[0xff]].concat();
        let mut orders: Vec<Signed<ErasureOrder>> = Vec::new();
        for (_, value) in self.range(Table::Erasures, &from, Some(&to), usize::MAX)? {
            let signed: Signed<ErasureOrder> =
                codec::from_cbor(value.get(4..).ok_or_else(damaged)?).map_err(|_| damaged())?;
            if !orders.contains(&signed) {
                orders.push(signed);
            }
        }
        Ok(orders)
    }

    /// Everything that is erased, and up to which epoch.
    fn all_erased(&self) -> Result<HashMap<(PrincipalId, String), u32>, StoreError> {
        let rows = self.range(Table::Erasures, &[ORDER], Some(&[FOUND]), usize::MAX)?;
        let parse = |key: &[u8], value: &[u8]| {
            let (owner, section) = key.get(1..)?.split_first_chunk::<16>()?;
            let through = u32::from_be_bytes(*value.first_chunk()?);
            Some(((PrincipalId(*owner), String::from_utf8(section.to_vec()).ok()?), through))
        };
        rows.iter().map(|(k, v)| parse(k, v).ok_or_else(damaged)).collect()
    }

    /// How far the cloud was looked through; `None` before the first order.
    fn scan_place(&self) -> Result<Option<ScanPlace>, StoreError> {
        let Some(row) = self.get(Table::Erasures, &[SCANNED])? else { return Ok(None) };
        let (seq, place) = row.split_first_chunk::<8>().ok_or_else(damaged)?;
        let place = u32::from_be_bytes(place.try_into().map_err(|_| damaged())?);
        Ok(Some(ScanPlace { seq: u64::from_be_bytes(*seq), place }))
    }

    /// Records that a hospital has still to end, ascending.
    fn owed(&self, hospital: PrincipalId, after: Option<RecordId>, limit: usize) -> Result<Vec<RecordId>, StoreError> {
        Ok(records(self, OWED, hospital, after, limit)?.into_iter().map(|(id, _)| id).collect())
    }

    /// Whether a hospital has still to end a record.
    fn is_owed(&self, hospital: PrincipalId, id: RecordId) -> Result<bool, StoreError> {
        Ok(self.get(Table::Erasures, &record_key(OWED, hospital, id))?.is_some())
    }

    /// Records found of an owner, ascending.
    fn found_of(
        &self,
        owner: PrincipalId,
        after: Option<RecordId>,
        limit: usize,
    ) -> Result<Vec<ErasedRecord>, StoreError> {
        let parse = |(id, value): (RecordId, Vec<u8>)| {
            let (hospital, provider) = value.split_first_chunk::<16>()?;
            Some(ErasedRecord(id, PrincipalId(*hospital), PrincipalId(provider.try_into().ok()?)))
        };
        records(self, FOUND, owner, after, limit)?.into_iter().map(|row| parse(row).ok_or_else(damaged)).collect()
    }
}

impl<S: Snapshot + ?Sized> ReadErasures for S {}

/// What is noted of it.
pub trait WriteErasures: Transaction {
    /// Notes that a section is erased up to an epoch.
    fn put_order(&mut self, section: &str, through: u32, signed: &Signed<ErasureOrder>) -> Result<(), StoreError> {
        let value = [through.to_be_bytes().as_slice(), &codec::to_cbor(signed)].concat();
        self.put(Table::Erasures, &order_key(signed.signer, section), &value)
    }

    /// Notes how far the cloud was looked through.
    fn put_scan_place(&mut self, at: ScanPlace) -> Result<(), StoreError> {
        let value = [at.seq.to_be_bytes().as_slice(), &at.place.to_be_bytes()].concat();
        self.put(Table::Erasures, &[SCANNED], &value)
    }

    /// Notes a record that was found, and that its hospital has to end it.
    fn put_found(&mut self, owner: PrincipalId, found: &ErasedRecord) -> Result<(), StoreError> {
        let ErasedRecord(id, hospital, provider) = *found;
        self.put(Table::Erasures, &record_key(FOUND, owner, id), &[hospital.0, provider.0].concat())?;
        self.put(Table::Erasures, &record_key(OWED, hospital, id), &[])
    }

    /// Notes that a hospital has ended a record.
    fn put_ended(&mut self, hospital: PrincipalId, id: RecordId) -> Result<(), StoreError> {
        self.remove(Table::Erasures, &record_key(OWED, hospital, id)).map(drop)
    }
}

impl<T: Transaction + ?Sized> WriteErasures for T {}
