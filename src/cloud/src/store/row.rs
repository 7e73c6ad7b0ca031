//! Byte layout of the rows, the same for every backend that stores bytes. Integers are big-endian.
//!
//! ```text
//! record  provider(16) hospital(16) origin(16) seq(8) u16(len tag) tag terms(16 each) place(4) sealed_hash(32)
//! head    number(8) digest(32) seq(8)
//! batch   provider(16) body_sha256(32) seq(8) records(4) replaced(4) replacing(4 each) deleted(4 each, highest bit set)
//! change  u32(len added) added ids(16 each) replaced ids(16 each)
//! ```

use std::collections::HashSet;

use sealdex_crypto::{BatchId, PrincipalId, RecordId, Term, log::Hash};
use sealdex_wire::ingest::{BatchReceipt, UploadRecord};

use super::{Change, NewBatch, StoreError, StoredRecord};

/// Marks places of deletions among those of a batch's row; a batch has far fewer records.
const DELETED: u32 = 1 << 31;

/// The fixed head of a record's row.
const RECORD_HEAD: usize = 16 + 16 + 16 + 8 + 2;

/// Writes a record's row into `out`, which is cleared first.
pub(crate) fn put_record(out: &mut Vec<u8>, batch: &NewBatch, seq: u64, place: u32, record: &UploadRecord) {
    let leaf = batch.stated.as_ref().and_then(|s| s.trees.leaves.get(place as usize));
    out.clear();
    out.extend_from_slice(&batch.provider.0);
    out.extend_from_slice(&batch.hospital.0);
    out.extend_from_slice(&record.index.origin.0);
    out.extend_from_slice(&seq.to_be_bytes());
    // Tags are bounded by `limits::TAG` before they get here.
    out.extend_from_slice(&(record.index.tag.len() as u16).to_be_bytes());
    out.extend_from_slice(&record.index.tag);
    out.extend_from_slice(&record.index.terms);
    out.extend_from_slice(&place.to_be_bytes());
    out.extend_from_slice(&leaf.map_or([0; 32], |l| l.sealed));
}

pub(crate) fn record(row: &[u8]) -> Result<StoredRecord, StoreError> {
    let mut rest = row;
    let mut parse = || -> Option<StoredRecord> {
        let provider = PrincipalId(take(&mut rest)?);
        let hospital = PrincipalId(take(&mut rest)?);
        let origin = Term(take(&mut rest)?);
        let seq = u64::from_be_bytes(take(&mut rest)?);
        let tag_len = usize::from(u16::from_be_bytes(take(&mut rest)?));
        let (tag, rest) = rest.split_at_checked(tag_len)?;
        // Rows from before there were logs end with the terms.
        let (terms, mut tail) = match rest.len().checked_sub(36).and_then(|at| rest.split_at_checked(at)) {
            Some((terms, tail)) if terms.len().is_multiple_of(16) => (terms, tail),
            _ => (rest, &[0; 36][..]),
        };
        let (place, sealed_hash) = (u32::from_be_bytes(take(&mut tail)?), take(&mut tail)?);
        let (tag, terms) = (tag.to_vec(), terms.to_vec());
        Some(StoredRecord { provider, hospital, origin, seq, place, sealed_hash, tag, terms })
    };
    parse().ok_or(StoreError::Damaged("records"))
}

/// Provider and hospital of a record's row, without reading the rest.
pub(crate) fn owners(row: &[u8]) -> Result<(PrincipalId, PrincipalId), StoreError> {
    let head = row.first_chunk::<RECORD_HEAD>().ok_or(StoreError::Damaged("records"))?;
    let mut rest = head.as_slice();
    match (take(&mut rest), take(&mut rest)) {
        (Some(provider), Some(hospital)) => Ok((PrincipalId(provider), PrincipalId(hospital))),
        _ => Err(StoreError::Damaged("records")),
    }
}

pub(crate) fn batch_row(batch: &NewBatch, receipt: &BatchReceipt) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 + 4 * (receipt.replacing.len() + receipt.deleted.len()));
    out.extend_from_slice(&batch.provider.0);
    out.extend_from_slice(&batch.body_sha256);
    out.extend_from_slice(&receipt.seq.to_be_bytes());
    out.extend_from_slice(&receipt.records.to_be_bytes());
    out.extend_from_slice(&receipt.replaced.to_be_bytes());
    receipt.replacing.iter().for_each(|at| out.extend_from_slice(&at.to_be_bytes()));
    receipt.deleted.iter().for_each(|at| out.extend_from_slice(&(at | DELETED).to_be_bytes()));
    out
}

/// The receipt behind a batch's row, if the row is of the same provider and body.
pub(crate) fn receipt_again(row: &[u8], batch: &NewBatch) -> Result<Option<BatchReceipt>, StoreError> {
    let mut rest = row;
    let mut parse = || -> Option<(bool, BatchReceipt)> {
        let same = take::<16>(&mut rest)? == batch.provider.0;
        let same = same & (take::<32>(&mut rest)? == batch.body_sha256);
        let seq = u64::from_be_bytes(take(&mut rest)?);
        let records = u32::from_be_bytes(take(&mut rest)?);
        let replaced = u32::from_be_bytes(take(&mut rest)?);
        let (places, []) = rest.as_chunks::<4>() else { return None };
        let places = places.iter().map(|at| u32::from_be_bytes(*at));
        let (deleted, replacing): (Vec<u32>, Vec<u32>) = places.partition(|at| at & DELETED != 0);
        let deleted = deleted.into_iter().map(|at| at & !DELETED).collect();
        let batch = BatchId(batch.batch.0);
        Some((same, BatchReceipt { batch, seq, records, replaced, replacing, deleted, duplicate: true }))
    };
    let (same, receipt) = parse().ok_or(StoreError::Damaged("batches"))?;
    Ok(same.then_some(receipt))
}

/// The place of a batch, of its row.
pub(crate) fn batch_seq(row: &[u8]) -> Result<u64, StoreError> {
    let mut rest = row.get(48..).unwrap_or_default();
    take(&mut rest).map(u64::from_be_bytes).ok_or(StoreError::Damaged("batches"))
}

pub(crate) fn change_row(change: &Change) -> Vec<u8> {
    let mut out = Vec::with_capacity(4 + 16 * (change.added.len() + change.replaced.len()));
    out.extend_from_slice(&(change.added.len() as u32).to_be_bytes());
    change.added.iter().chain(&change.replaced).for_each(|id| out.extend_from_slice(&id.0));
    out
}

pub(crate) fn change(row: &[u8]) -> Result<Change, StoreError> {
    let mut rest = row;
    let mut parse = || -> Option<Change> {
        let added = usize::try_from(u32::from_be_bytes(take(&mut rest)?)).ok()?.checked_mul(16)?;
        let (added, replaced) = rest.split_at_checked(added)?;
        replaced
            .len()
            .is_multiple_of(16)
            .then(|| Change { added: ids(added).collect(), replaced: ids(replaced).collect() })
    };
    parse().ok_or(StoreError::Damaged("changes"))
}

/// Ids of all records that a batch ends, ascending: older versions and deleted ones (`gone`), and those of its own that a
/// later one of it replaces.
pub(crate) fn ends(batch: &NewBatch, winners: &[&UploadRecord], gone: &[RecordId]) -> Vec<u8> {
    let live: HashSet<RecordId> = winners.iter().map(|r| r.id).collect();
    let own = batch.records.iter().map(|r| r.id).filter(|id| !live.contains(id));
    let mut ids: Vec<RecordId> = own.chain(gone.iter().copied()).collect();
    ids.sort_unstable();
    ids.iter().flat_map(|id| id.0).collect()
}

pub(crate) fn head_row(number: u64, digest: &Hash, seq: u64) -> Vec<u8> {
    [&number.to_be_bytes()[..], digest, &seq.to_be_bytes()].concat()
}

/// Number and digest of a provider's last statement, and the place of its batch.
pub(crate) fn head(row: &[u8]) -> Result<(u64, Hash, u64), StoreError> {
    let mut rest = row;
    let mut parse =
        || Some((u64::from_be_bytes(take(&mut rest)?), take(&mut rest)?, u64::from_be_bytes(take(&mut rest)?)));
    parse().ok_or(StoreError::Damaged("heads"))
}

/// Record ids packed one after the other; a partial one at the end is left out.
pub(crate) fn ids(packed: &[u8]) -> impl Iterator<Item = RecordId> + '_ {
    packed.as_chunks::<16>().0.iter().map(|id| RecordId(*id))
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}
