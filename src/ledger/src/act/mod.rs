//! Entries of the log of acts: what a gate did, sealed for those whom it concerns.
//!
//! | part | bytes |
//! |---|---|
//! | kind, `0x02` | 1 |
//! | gate | 16 |
//! | number, of this gate's entries, from 1 | 8 |
//! | hash of the gate's entry before ([`SignedAct::digest`]), zeros first | 32 |
//! | time of the act, Unix ms | 8 |
//! | part and parts, of an act that takes several entries, from 1 | 4 + 4 |
//! | documents about no owner: count, then hash and signature of each | 2 + 96 each |
//! | rows: count, then hint, length and sealed bytes of each, ascending by hint | 4 + (8 + 2 + n) each |
//! | BIP-340 signature of the gate over `SHA-256("sdx1/act" ‖ lp(domain) ‖ all before)` | 64 |
//!
//! There is one row for each owner the act concerns and one for each auditor, under keys of their own ([`RowKey`]). Who
//! holds none of these keys sees how many there are and how long; [`content`] says what is in them.

pub mod content;
mod reader;
mod view;

pub use content::{AuditorRow, OwnerRow, Reader};
pub use reader::{ActReader, UnreadableRow};
pub use view::{ActError, ActsView, Gates};

use rand_core::CryptoRng;
use sealdex_crypto::{
    Identity, PrincipalId, PublicIdentity, RowHint, RowKey, Signature,
    log::{Hash, leaf_hash},
};
use sealdex_wire::{B32, acts::PublicWord, auth::sha256, labels, limits};

use crate::statement::take;

const KIND: u8 = 2;
/// Bytes of an entry without documents and rows.
pub(crate) const FIXED: usize = 1 + 16 + 8 + 32 + 8 + 4 + 4 + 2 + 4 + 64;
/// Bytes of a document's hash and signature.
pub(crate) const DOCUMENT: usize = 32 + 64;
/// Bytes of a row beside what is sealed.
pub(crate) const ROW: usize = 8 + 2;

/// A row as everybody sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedRow {
    /// What its reader finds it by.
    pub hint: RowHint,
    /// Sealed [`OwnerRow`] or [`AuditorRow`].
    pub sealed: Vec<u8>,
}

/// An entry as everybody sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActEntry {
    /// Whose act.
    pub gate: PrincipalId,
    /// The gate's entries count from 1.
    pub number: u64,
    /// Digest of the one before.
    pub previous: Hash,
    /// When, Unix milliseconds.
    pub at: u64,
    /// Which part of the act, from 1.
    pub part: u32,
    /// How many parts it has.
    pub parts: u32,
    /// Rosters, enrolments, dismissals.
    pub documents: Vec<PublicWord>,
    /// Ascending by hint.
    pub rows: Vec<SealedRow>,
}

/// An entry with its gate's signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedAct {
    /// What was signed.
    pub entry: ActEntry,
    /// By [`ActEntry::gate`].
    pub signature: Signature,
}

/// Bytes that are no entry of the log of acts, or whose signature is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadAct {
    /// Another kind or length, rows out of order, parts that are none.
    #[error("this is no entry of a gate's acts")]
    Malformed,
    /// Longer than an entry may be.
    #[error("an entry of {0} bytes is longer than the {max} it may have", max = limits::ACT_ENTRY)]
    TooLong(usize),
    /// The signature does not fit.
    #[error("act {number} of gate {gate} is not signed by that gate: it was altered, or is of another domain")]
    Signature {
        /// Whose it claims to be.
        gate: PrincipalId,
        /// Which.
        number: u64,
    },
}

/// The key of a gate's rows for one reader, at either side: `own` is its secret, `other` the public identity of the
/// other. One multiplication, 40 µs.
#[must_use]
pub fn row_key(domain: &str, own: &Identity, other: &PublicIdentity, gate: PrincipalId, reader: Reader) -> RowKey {
    let (role, id) = match reader {
        Reader::Owner(id) => (b"owner".as_slice(), id),
        Reader::Auditor(id) => (b"audit".as_slice(), id),
    };
    RowKey::agree(own.enc_secret(), &other.enc(), &row_context(domain, role), gate, id)
}

/// [`row_key`] of many owners at a gate, in order, without their multiplications one by one.
#[must_use]
pub fn owners_row_keys(domain: &str, gate: &Identity, owners: &[PublicIdentity]) -> Vec<RowKey> {
    let readers: Vec<_> = owners.iter().map(|owner| (owner.enc(), owner.id())).collect();
    RowKey::agree_with_readers(gate.enc_secret(), &readers, &row_context(domain, b"owner"), gate.id())
}

fn row_context(domain: &str, role: &[u8]) -> Vec<u8> {
    let domain = sha256(&[domain.as_bytes()]);
    [labels::ACT_ROWS.as_bytes(), b"/", role, &domain].concat()
}

impl ActEntry {
    /// Signs for a domain.
    pub fn sign(self, domain: &str, by: &Identity, rng: &mut (impl CryptoRng + ?Sized)) -> SignedAct {
        let signature = by.sign(&message(domain, &self.encode()), rng);
        SignedAct { entry: self, signature }
    }

    fn encode(&self) -> Vec<u8> {
        let rows: usize = self.rows.iter().map(|r| ROW + r.sealed.len()).sum();
        let mut out = Vec::with_capacity(FIXED + DOCUMENT * self.documents.len() + rows);
        out.push(KIND);
        out.extend_from_slice(&self.gate.0);
        out.extend_from_slice(&self.number.to_be_bytes());
        out.extend_from_slice(&self.previous);
        out.extend_from_slice(&self.at.to_be_bytes());
        out.extend_from_slice(&self.part.to_be_bytes());
        out.extend_from_slice(&self.parts.to_be_bytes());
        out.extend_from_slice(&(self.documents.len() as u16).to_be_bytes());
        for document in &self.documents {
            out.extend_from_slice(&document.hash.0);
            out.extend_from_slice(document.signature.0.as_slice());
        }
        out.extend_from_slice(&(self.rows.len() as u32).to_be_bytes());
        for row in &self.rows {
            out.extend_from_slice(&row.hint);
            out.extend_from_slice(&(row.sealed.len() as u16).to_be_bytes());
            out.extend_from_slice(&row.sealed);
        }
        out
    }

    fn decode(bytes: &mut &[u8]) -> Option<Self> {
        let [KIND] = take(bytes)? else { return None };
        let mut entry = Self {
            gate: PrincipalId(take(bytes)?),
            number: u64::from_be_bytes(take(bytes)?),
            previous: take(bytes)?,
            at: u64::from_be_bytes(take(bytes)?),
            part: u32::from_be_bytes(take(bytes)?),
            parts: u32::from_be_bytes(take(bytes)?),
            documents: Vec::new(),
            rows: Vec::new(),
        };
        for _ in 0..u16::from_be_bytes(take(bytes)?) {
            let (hash, signature) = (B32(take(bytes)?), Signature(take(bytes)?));
            entry.documents.push(PublicWord { hash, signature });
        }
        for _ in 0..u32::from_be_bytes(take(bytes)?) {
            let (hint, length) = (take(bytes)?, u16::from_be_bytes(take(bytes)?));
            let (sealed, rest) = bytes.split_at_checked(length.into())?;
            *bytes = rest;
            entry.rows.push(SealedRow { hint, sealed: sealed.to_vec() });
        }
        let counted = entry.number > 0 && entry.part > 0 && entry.part <= entry.parts;
        (counted && entry.rows.is_sorted_by_key(|r| r.hint)).then_some(entry)
    }
}

/// `SHA-256(label ‖ lp(domain) ‖ entry)`.
fn message(domain: &str, entry: &[u8]) -> [u8; 32] {
    sha256(&[labels::ACT.as_bytes(), &(domain.len() as u16).to_be_bytes(), domain.as_bytes(), entry])
}

impl SignedAct {
    /// The entry, as the log has it.
    #[must_use]
    pub fn to_entry(&self) -> Vec<u8> {
        let mut out = self.entry.encode();
        out.extend_from_slice(self.signature.0.as_slice());
        out
    }

    /// Reads an entry; its signature is *not* checked. It has one form only: what reads is written the same again.
    ///
    /// # Errors
    /// [`BadAct::TooLong`] or [`BadAct::Malformed`].
    pub fn from_entry(bytes: &[u8]) -> Result<Self, BadAct> {
        if bytes.len() > limits::ACT_ENTRY {
            return Err(BadAct::TooLong(bytes.len()));
        }
        let mut rest = bytes;
        let entry = ActEntry::decode(&mut rest).ok_or(BadAct::Malformed)?;
        let signature = <[u8; 64]>::try_from(rest).map_err(|_| BadAct::Malformed)?;
        Ok(Self { entry, signature: Signature(signature) })
    }

    /// Whether the gate signed it for this domain. 50 µs.
    ///
    /// # Errors
    /// [`BadAct::Signature`].
    pub fn verify(&self, domain: &str, gate: &PublicIdentity) -> Result<(), BadAct> {
        let wrong = BadAct::Signature { gate: self.entry.gate, number: self.entry.number };
        if self.entry.gate != gate.id() {
            return Err(wrong);
        }
        gate.verify(&message(domain, &self.entry.encode()), &self.signature).map_err(|_| wrong)
    }

    /// What the gate's next entry names as the one before.
    #[must_use]
    pub fn digest(&self) -> Hash {
        leaf_hash(&self.to_entry())
    }

    /// The row with a hint, if there is one. One binary search.
    #[must_use]
    pub fn row(&self, hint: RowHint) -> Option<&SealedRow> {
        self.entry.rows.binary_search_by_key(&hint, |r| r.hint).ok().map(|at| &self.entry.rows[at])
    }
}

#[cfg(test)]
mod tests;
