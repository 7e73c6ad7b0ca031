//! Orders to erase, and the records they concern.
//!
//! | key in table `erasures` | value |
//! |---|---|
//! | 0 ‖ owner(16) ‖ section | u32 through ‖ digest(32) of the order |
//! | 1 ‖ owner(16) ‖ record(16) | hospital(16) ‖ provider(16): found at the cloud |
//! | 2 ‖ hospital(16) ‖ record(16) | empty: the hospital has still to end it |
//! | 3 | u64 batch ‖ u32 place ‖ u64 pass ‖ u64 done ‖ u64 wanted ‖ store(16), zeros for none: [`Scan`] |
//! | 4 ‖ owner(16) ‖ digest(32) | CBOR `Signed<ErasureOrder>` that rows of kind 0 name |
//! | 5 ‖ owner(16) | u64 pass that looks for all that this owner has ordered |
//!
//! Earlier versions kept the whole order in each row of kind 0 instead of its digest, and of kind 3 batch and place only.

use std::collections::{HashMap, HashSet};

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
const DOCUMENT: u8 = 4;
const PASS: u8 = 5;

/// How far the cloud was looked through. A pass goes through all that there is, and then on with what comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scan {
    /// Where to go on.
    pub place: ScanPlace,
    /// The pass that is under way, from 1.
    pub pass: u64,
    /// The last pass that came to the end; 0 for none.
    pub done: u64,
    /// The pass that looks for every order; it begins when the one under way is done, so that no order throws away
    /// what others have waited for.
    pub wanted: u64,
    /// The store of the cloud that the place is in.
    pub store: Option<[u8; 16]>,
}

impl Scan {
    /// Before anything was looked at.
    pub const START: Self = Self { place: ScanPlace::START, pass: 1, done: 0, wanted: 1, store: None };

    /// Before everything once more.
    #[must_use]
    pub fn anew(self, store: Option<[u8; 16]>, done: u64) -> Self {
        let pass = self.pass + 1;
        Self { place: ScanPlace::START, pass, done, wanted: self.wanted.max(pass), store }
    }

    fn to_bytes(self) -> Vec<u8> {
        let numbers = [self.pass, self.done, self.wanted].map(u64::to_be_bytes);
        let place = [self.place.seq.to_be_bytes().as_slice(), &self.place.place.to_be_bytes()].concat();
        [place.as_slice(), numbers.as_flattened(), &self.store.unwrap_or_default()].concat()
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (seq, rest) = bytes.split_first_chunk()?;
        let (place, rest) = rest.split_first_chunk()?;
        let place = ScanPlace { seq: u64::from_be_bytes(*seq), place: u32::from_be_bytes(*place) };
        if rest.is_empty() {
            return Some(Self { place, ..Self::START });
        }
        let (numbers, store) = rest.as_chunks::<8>().0.split_first_chunk::<3>()?;
        let [pass, done, wanted] = numbers.map(u64::from_be_bytes);
        let store: [u8; 16] = store.as_flattened().try_into().ok()?;
        let store = (store != [0; 16]).then_some(store);
        Some(Self { place, pass, done, wanted, store })
    }
}

/// What of an order a row is.
pub(super) enum OrderRow {
    /// Neither order nor part of one.
    Other,
    /// A section is erased up to an epoch, by the order under this key.
    Section(Vec<u8>, u32),
    /// An order that rows of sections name.
    Document(Signed<ErasureOrder>),
    /// A section is erased by this order, as earlier versions noted it.
    Whole(Signed<ErasureOrder>),
}

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

fn document_key(owner: PrincipalId, digest: &[u8]) -> Vec<u8> {
    [&[DOCUMENT], owner.0.as_slice(), digest].concat()
}

/// What a row is, if it parses.
pub(super) fn is_row(key: &[u8], value: &[u8]) -> Option<OrderRow> {
    match (key.first()?, key.len(), value.len()) {
        (&ORDER, 18.., 36) => {
            let (through, digest) = value.split_first_chunk::<4>()?;
            let owner = PrincipalId(*key[1..].first_chunk()?);
            Some(OrderRow::Section(document_key(owner, digest), u32::from_be_bytes(*through)))
        }
        (&ORDER, 18.., 5..) => {
            let (through, signed) = value.split_first_chunk::<4>()?;
            let signed: Signed<ErasureOrder> = codec::from_cbor(signed).ok()?;
            let order = signed.peek().ok()?;
            let section = order.sections.iter().find(|s| order_key(order.owner, &s.section) == key)?;
            (section.through == u32::from_be_bytes(*through)).then_some(OrderRow::Whole(signed))
        }
        (&DOCUMENT, 49, 1..) => {
            let signed: Signed<ErasureOrder> = codec::from_cbor(value).ok()?;
            let own = document_key(signed.peek().ok()?.owner, &signed.digest().0) == key;
            own.then_some(OrderRow::Document(signed))
        }
        (&SCANNED, 1, 12 | 52) => Scan::parse(value).map(|_| OrderRow::Other),
        (&FOUND, 33, 32) | (&OWED, 33, 0) | (&PASS, 17, 8) => Some(OrderRow::Other),
        _ => None,
    }
}

/// Whether an order erases the section that a row is about, up to an epoch.
pub(super) fn names(order: &ErasureOrder, row: &[u8], through: u32) -> bool {
    order.sections.iter().any(|s| order_key(order.owner, &s.section) == row && s.through == through)
}

/// What was ordered and found.
pub trait ReadErasures: Snapshot {
    /// Up to which epoch an owner's section is erased.
    fn erased(&self, owner: PrincipalId, section: &str) -> Result<Option<u32>, StoreError> {
        let row = self.get(Table::Erasures, &order_key(owner, section))?;
        row.map(|v| v.first_chunk().map(|t| u32::from_be_bytes(*t)).ok_or_else(damaged)).transpose()
    }

    /// The order by which an owner's section is erased.
    fn order_of(&self, owner: PrincipalId, section: &str) -> Result<Option<Signed<ErasureOrder>>, StoreError> {
        let Some(row) = self.get(Table::Erasures, &order_key(owner, section))? else { return Ok(None) };
        let signed = row.get(4..).ok_or_else(damaged)?;
        if signed.len() != 32 {
            return codec::from_cbor(signed).map(Some).map_err(|_| damaged());
        }
        let document = self.get(Table::Erasures, &document_key(owner, signed))?.ok_or_else(damaged)?;
        codec::from_cbor(&document).map(Some).map_err(|_| damaged())
    }

    /// An owner's orders in force, each once.
    fn orders_of(&self, owner: PrincipalId) -> Result<Vec<Signed<ErasureOrder>>, StoreError> {
        let (from, documents) = (order_key(owner, ""), document_key(owner, &[]));
        // Names of sections are ASCII.
        let rows = self.range(Table::Erasures, &from, Some(&[from.as_slice(), &[0xff]].concat()), usize::MAX)?;
        let whole = rows.iter().filter_map(|(_, value)| value.get(4..).filter(|signed| signed.len() != 32));
        let to = document_key(owner, &[0xff; 33]);
        let apart = self.range(Table::Erasures, &documents, Some(&to), usize::MAX)?;
        let mut orders: Vec<Signed<ErasureOrder>> = Vec::new();
        for signed in whole.chain(apart.iter().map(|(_, value)| value.as_slice())) {
            let signed: Signed<ErasureOrder> = codec::from_cbor(signed).map_err(|_| damaged())?;
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
    fn scan(&self) -> Result<Option<Scan>, StoreError> {
        let row = self.get(Table::Erasures, &[SCANNED])?;
        row.map(|row| Scan::parse(&row).ok_or_else(damaged)).transpose()
    }

    /// The pass that looks for all that an owner has ordered.
    fn pass_of(&self, owner: PrincipalId) -> Result<u64, StoreError> {
        let row = self.get(Table::Erasures, &[&[PASS], owner.0.as_slice()].concat())?;
        // Orders that earlier versions took are looked for by the first.
        row.map_or(Ok(1), |row| row.try_into().map(u64::from_be_bytes).map_err(|_| damaged()))
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
        let digest = signed.digest().0;
        let value = [through.to_be_bytes().as_slice(), &digest].concat();
        self.put(Table::Erasures, &document_key(signed.signer, &digest), &codec::to_cbor(signed))?;
        self.put(Table::Erasures, &order_key(signed.signer, section), &value)
    }

    /// Forgets orders of an owner that no section is erased by any more.
    fn remove_idle_orders(&mut self, owner: PrincipalId) -> Result<(), StoreError> {
        let from = order_key(owner, "");
        let rows = self.range(Table::Erasures, &from, Some(&[from.as_slice(), &[0xff]].concat()), usize::MAX)?;
        let named: HashSet<Vec<u8>> =
            rows.iter().filter_map(|(_, v)| v.get(4..)).map(|digest| document_key(owner, digest)).collect();
        let to = document_key(owner, &[0xff; 33]);
        for (key, _) in self.range(Table::Erasures, &document_key(owner, &[]), Some(&to), usize::MAX)? {
            if !named.contains(&key) {
                self.remove(Table::Erasures, &key)?;
            }
        }
        Ok(())
    }

    /// Notes how far the cloud was looked through.
    fn put_scan(&mut self, scan: Scan) -> Result<(), StoreError> {
        self.put(Table::Erasures, &[SCANNED], &scan.to_bytes())
    }

    /// Has everything looked through for an owner's orders, by a pass that begins when the one under way is done.
    fn want_pass(&mut self, owner: PrincipalId) -> Result<(), StoreError> {
        let scan = match self.scan()? {
            Some(scan) => Scan { wanted: scan.pass + 1, ..scan },
            None => Scan::START,
        };
        self.put_scan(scan)?;
        self.put(Table::Erasures, &[&[PASS], owner.0.as_slice()].concat(), &scan.wanted.to_be_bytes())
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
