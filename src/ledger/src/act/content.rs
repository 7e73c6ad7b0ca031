//! What is in the rows, and how an act is put into entries.
//!
//! A row is `u32 length ‖ CBOR ‖ zeros`, padded to a multiple of [`PADDED`] bytes, and then sealed. An act that does not
//! fit one entry is split: its documents and owners are dealt out in order, an auditor's row of each part has what that
//! part has, and of an owner who does not fit a part there is a row in several.

use std::collections::BTreeMap;

use rand_core::CryptoRng;
use sealdex_crypto::{Identity, PrincipalId, ROW_TAG, RowKey, log::Hash};
use sealdex_wire::{
    acts::{Act, AuditEntry, AuditKind, LogRow, PublicWord},
    codec, limits,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{ActEntry, DOCUMENT, FIXED, ROW, SealedRow, SignedAct};

/// Rows are this long, or a multiple of it.
pub const PADDED: usize = 128;
/// Bytes for documents and rows in an entry.
const ROOM: usize = limits::ACT_ENTRY - FIXED;
/// Bytes that CBOR takes around the lists of an auditor's row, at most.
const AROUND: usize = 64;

/// Whose row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reader {
    /// An owner: what concerns it.
    Owner(PrincipalId),
    /// An auditor: everything.
    Auditor(PrincipalId),
}

/// What an act did with one owner's records or consent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnerRow {
    /// Its place in the gate's audit trail.
    pub act: u64,
    /// What kind of act.
    pub kind: AuditKind,
    /// All that concerns the owner, or of a split act what this part has of it.
    pub rows: Vec<LogRow>,
}

/// An act, or a part of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditorRow {
    /// Its place in the gate's audit trail.
    pub act: u64,
    /// What.
    pub entry: AuditEntry,
    /// What it has to do with each owner.
    pub rows: Vec<LogRow>,
}

/// The last entry a gate has made: its number and digest. Zeros before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Number.
    pub number: u64,
    /// Digest.
    pub digest: Hash,
}

/// Makes the entries of a gate.
pub struct Sealer<'s> {
    /// Domain.
    pub domain: &'s str,
    /// The gate.
    pub gate: &'s Identity,
    /// Keys of the auditors' rows.
    pub auditors: &'s [RowKey],
}

/// What one part has.
#[derive(Default)]
struct Part {
    documents: Vec<PublicWord>,
    rows: BTreeMap<PrincipalId, Vec<LogRow>>,
    bytes: usize,
}

impl Sealer<'_> {
    /// Entries of an act, signed, after `head`; each at most [`limits::ACT_ENTRY`] bytes. Of an owner for whom `key` has
    /// none (nobody knows its public key) there is no row; auditors see it all the same.
    pub fn entries(
        &self,
        act: &Act,
        head: Head,
        key: &mut impl FnMut(PrincipalId) -> Option<RowKey>,
        rng: &mut (impl CryptoRng + ?Sized),
    ) -> Vec<SignedAct> {
        let parts = self.split(act);
        let count = parts.len() as u32;
        let (mut head, mut entries) = (head, Vec::with_capacity(parts.len()));
        for (part, at) in parts.into_iter().zip(1..) {
            let number = head.number + 1;
            let rows = self.seal(act, &part.rows, number, key);
            let Head { digest: previous, .. } = head;
            let (gate, documents) = (self.gate.id(), part.documents);
            let entry = ActEntry { gate, number, previous, at: act.entry.at, part: at, parts: count, documents, rows };
            let signed = entry.sign(self.domain, self.gate, rng);
            head = Head { number, digest: signed.digest() };
            entries.push(signed);
        }
        entries
    }

    fn seal(
        &self,
        act: &Act,
        owners: &BTreeMap<PrincipalId, Vec<LogRow>>,
        number: u64,
        key: &mut impl FnMut(PrincipalId) -> Option<RowKey>,
    ) -> Vec<SealedRow> {
        let sealed = |key: &RowKey, plain: &[u8]| SealedRow { hint: key.hint(number), sealed: key.seal(number, plain) };
        let mut rows = Vec::with_capacity(owners.len() + self.auditors.len());
        if !self.auditors.is_empty() {
            let all = owners.values().flatten().cloned().collect();
            let whole = pad(&AuditorRow { act: act.act, entry: act.entry.clone(), rows: all });
            rows.extend(self.auditors.iter().map(|key| sealed(key, &whole)));
        }
        for (owner, own) in owners {
            if let Some(key) = key(*owner) {
                let row = OwnerRow { act: act.act, kind: act.entry.kind, rows: own.clone() };
                rows.push(sealed(&key, &pad(&row)));
            }
        }
        rows.sort_unstable_by_key(|r| r.hint);
        rows
    }

    /// At least one part; none is too long, whatever is in it.
    fn split(&self, act: &Act) -> Vec<Part> {
        let auditors = self.auditors.len();
        let whole = padded(AROUND + codec::to_cbor(&act.entry).len());
        let mut parts = Splitting::new(auditors * (ROW + whole + PADDED));
        // So that one owner's rows, and what auditors see of them, fit an entry of their own.
        let most = (ROOM - parts.fixed) / (auditors + 1) - AROUND - 2 * PADDED;
        for document in &act.documents {
            parts.with(DOCUMENT).documents.push(*document);
        }
        let mut by_owner: BTreeMap<PrincipalId, Vec<&LogRow>> = BTreeMap::new();
        act.rows.iter().for_each(|row| by_owner.entry(row.owner).or_default().push(row));
        for (owner, rows) in by_owner {
            let mut waiting = rows.into_iter().map(|row| (codec::to_cbor(row).len(), row)).peekable();
            while waiting.peek().is_some() {
                let (mut bytes, mut chunk) = (0, Vec::new());
                while let Some((length, row)) = waiting.next_if(|(l, _)| bytes == 0 || bytes + l <= most) {
                    bytes += length;
                    chunk.push(row.clone());
                }
                // An auditor's row grows by as much, rounded up once in all and not for every owner.
                let part = parts.with(ROW + padded(AROUND + bytes) + auditors * bytes);
                part.rows.entry(owner).or_default().append(&mut chunk);
            }
        }
        parts.finish()
    }
}

/// Parts as they fill up.
struct Splitting {
    fixed: usize,
    full: Vec<Part>,
    last: Part,
}

impl Splitting {
    /// Each part takes `fixed` bytes before anything is in it.
    fn new(fixed: usize) -> Self {
        Self { fixed, full: Vec::new(), last: Part { bytes: fixed, ..Part::default() } }
    }

    /// The part that has room for so many bytes more.
    fn with(&mut self, bytes: usize) -> &mut Part {
        if self.last.bytes > self.fixed && self.last.bytes + bytes > ROOM {
            let next = Part { bytes: self.fixed, ..Part::default() };
            self.full.push(std::mem::replace(&mut self.last, next));
        }
        self.last.bytes += bytes;
        &mut self.last
    }

    fn finish(mut self) -> Vec<Part> {
        self.full.push(self.last);
        self.full
    }
}

/// Sealed length of a row with so many bytes of CBOR.
fn padded(bytes: usize) -> usize {
    (4 + bytes).next_multiple_of(PADDED) + ROW_TAG
}

fn pad(row: &impl Serialize) -> Vec<u8> {
    let cbor = codec::to_cbor(row);
    let mut out = Vec::with_capacity(padded(cbor.len()));
    out.extend_from_slice(&(cbor.len() as u32).to_be_bytes());
    out.extend(cbor);
    out.resize(out.len().next_multiple_of(PADDED), 0);
    out
}

pub(super) fn unpad<T: DeserializeOwned>(row: &[u8]) -> Option<T> {
    let (length, rest) = row.split_first_chunk()?;
    let (cbor, zeros) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    if zeros.len() >= PADDED || zeros.iter().any(|b| *b != 0) {
        return None;
    }
    codec::from_cbor(cbor).ok()
}
