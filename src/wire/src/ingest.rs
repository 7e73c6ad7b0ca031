//! Provider to gate (`/v1/bridge`) and provider to cloud (`/v1/batches`).

use sealdex_crypto::{BatchId, PrincipalId, RecordId, Signature, Term};
use serde::{Deserialize, Serialize};

use crate::{B32, RawPoint, codec, labels, limits};

/// A capsule, and whose section it is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BridgeCapsule {
    /// Patient, or the provider itself for what belongs to no patient.
    pub owner: PrincipalId,
    /// Section.
    pub section: String,
    /// Epoch sealed to.
    pub epoch: u32,
    /// `E`.
    pub capsule: RawPoint,
}

/// One record's inner index entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BridgeRecord {
    /// Record id.
    pub id: RecordId,
    /// Which capsule of the request it is sealed under.
    pub capsule: u32,
    /// Inner token of the record's identity: a later version has the same and replaces this one.
    pub origin: B32,
    /// Packed [`InnerEntry`]s.
    #[serde(with = "serde_bytes")]
    pub entries: Vec<u8>,
}

/// `POST /v1/bridge`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BridgeRequest {
    /// The batch this is for.
    pub batch: BatchId,
    /// Capsules.
    pub capsules: Vec<BridgeCapsule>,
    /// Records.
    pub records: Vec<BridgeRecord>,
    /// Inner tokens of the identities of records that end without a successor.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deletes: Vec<B32>,
    /// Records that the gate has found to be erased, by id: by themselves, without records and deletions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub erases: Vec<RecordId>,
}

/// Bytes that CBOR takes for what surrounds a message, and for names, ids and lengths of each of its parts, about.
const AROUND: usize = 512;
const AROUND_EACH: usize = 96;

impl BridgeRequest {
    /// As CBOR.
    pub fn to_cbor(&self) -> Vec<u8> {
        let capsules: usize = self.capsules.iter().map(|c| AROUND_EACH + c.section.len()).sum();
        let records: usize = self.records.iter().map(|r| AROUND_EACH + r.entries.len()).sum();
        codec::to_cbor_of(self, AROUND + capsules + records + 34 * self.deletes.len() + 17 * self.erases.len())
    }

    /// Tokens, ranges and index entries that it takes of its provider's budget. Packed entries are 25 bytes and more; a
    /// deletion counts as an entry.
    pub fn spent(&self) -> [u64; 3] {
        let entries: u64 = self.records.iter().map(|r| r.entries.len() as u64 / 26).sum();
        [0, 0, entries + self.deletes.len() as u64]
    }

    /// Its bridged tokens, each once.
    ///
    /// # Errors
    /// [`EntryError`].
    pub fn points(&self) -> Result<Vec<RawPoint>, EntryError> {
        let (mut points, mut seen) = (Vec::new(), std::collections::HashSet::new());
        for record in &self.records {
            for entry in InnerEntry::unpack(&record.entries)? {
                if let InnerEntry::Bridged { point, .. } = entry
                    && seen.insert(point.0)
                {
                    points.push(point);
                }
            }
        }
        Ok(points)
    }
}

/// What the cloud stores to find one record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BridgedRecord {
    /// Term of the record's identity.
    pub origin: Term,
    /// Terms and order terms, 16 bytes each.
    #[serde(with = "serde_bytes")]
    pub terms: Vec<u8>,
    /// Routing tag.
    #[serde(with = "serde_bytes")]
    pub tag: Vec<u8>,
}

/// Answer to [`BridgeRequest`]: records in its order, and the gate's word on them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BridgeResponse {
    /// In request order.
    pub records: Vec<BridgedRecord>,
    /// Terms of the identities to delete, in request order, 16 bytes each.
    #[serde(default, with = "serde_bytes")]
    pub deletes: Vec<u8>,
    /// Signature over [`batch_digest`].
    pub signature: Signature,
}

impl BridgedRecord {
    /// Bytes it takes as CBOR, about.
    fn about(&self) -> usize {
        AROUND_EACH + self.terms.len() + self.tag.len()
    }
}

impl BridgeResponse {
    /// As CBOR.
    pub fn to_cbor(&self) -> Vec<u8> {
        let records: usize = self.records.iter().map(BridgedRecord::about).sum();
        codec::to_cbor_of(self, AROUND + records + self.deletes.len())
    }
}

/// One record as the cloud receives it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UploadRecord {
    /// Record id.
    pub id: RecordId,
    /// What it is found by.
    pub index: BridgedRecord,
    /// Sealed bytes.
    #[serde(with = "serde_bytes")]
    pub sealed: Vec<u8>,
}

/// `POST /v1/batches`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchUpload {
    /// Idempotency key: the same id with the same bytes is accepted again and changes nothing.
    pub batch: BatchId,
    /// The gate that bridged it.
    pub gate: PrincipalId,
    /// Its signature over [`batch_digest`].
    pub gate_signature: Signature,
    /// What its provider signed of it for the log, where the domain has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stated: Option<Stated>,
    /// Records.
    pub records: Vec<UploadRecord>,
    /// Origins of records that end without a successor, 16 bytes each: none twice, and none that a record of the batch
    /// has. One that stands for no record changes nothing.
    #[serde(default, with = "serde_bytes", skip_serializing_if = "Vec::is_empty")]
    pub deletes: Vec<u8>,
    /// Records that end by order of their owner, by id, 16 bytes each, none twice: by themselves, without records and
    /// deletions.
    #[serde(default, with = "serde_bytes", skip_serializing_if = "Vec::is_empty")]
    pub erases: Vec<u8>,
}

impl BatchUpload {
    /// As CBOR.
    pub fn to_cbor(&self) -> Vec<u8> {
        let records: usize = self.records.iter().map(|r| AROUND_EACH + r.index.about() + r.sealed.len()).sum();
        let stated = self.stated.as_ref().map_or(0, |s| s.entry.len() + s.ended.len());
        codec::to_cbor_of(self, AROUND + records + stated + self.deletes.len() + self.erases.len())
    }
}

/// A provider's statement on a batch, with the ids it ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stated {
    /// The entry for the log: statement and signature.
    #[serde(with = "serde_bytes")]
    pub entry: Vec<u8>,
    /// Ids of the records it ends, ascending, 16 bytes each.
    #[serde(with = "serde_bytes")]
    pub ended: Vec<u8>,
}

/// The cloud's answer to a batch: it is durable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchReceipt {
    /// The batch.
    pub batch: BatchId,
    /// Its place in the order of acceptance; searchable once `indexed` of `/v1/stats` reaches it.
    pub seq: u64,
    /// Records in it.
    pub records: u32,
    /// How many of them replaced an older version.
    pub replaced: u32,
    /// Places in the batch, from 0 and ascending, of the records that replaced one of an earlier batch.
    pub replacing: Vec<u32>,
    /// Places in [`BatchUpload::deletes`] or `erases`, from 0 and ascending, of those that ended a record.
    pub deleted: Vec<u32>,
    /// Whether it had been accepted before.
    pub duplicate: bool,
}

/// `GET /v1/stats` of the cloud.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CloudStats {
    /// Live records.
    pub records: u64,
    /// Batches accepted.
    pub batches: u64,
    /// Highest batch place accepted.
    pub accepted: u64,
    /// Highest batch place that is searchable.
    pub indexed: u64,
    /// Bytes of sealed records.
    pub sealed_bytes: u64,
    /// Bytes of the store's file.
    pub store_bytes: u64,
    /// Bytes of the search index.
    pub index_bytes: u64,
    /// Live records per provider.
    pub providers: Vec<(PrincipalId, u64)>,
}

/// What a batch ends beside what it replaces, 16 bytes each.
#[derive(Clone, Copy, Debug, Default)]
pub struct Removed<'a> {
    /// Origins of records to delete.
    pub origins: &'a [u8],
    /// Ids of records to erase.
    pub ids: &'a [u8],
}

/// What the gate signs for a batch: batch, provider, what it ends, and of each record id, origin, tag and terms.
pub fn batch_digest<'a>(
    domain: &str,
    batch: BatchId,
    provider: PrincipalId,
    removed: Removed<'_>,
    records: impl Iterator<Item = (RecordId, &'a BridgedRecord)>,
) -> [u8; 32] {
    use sha2::{Digest, Sha256};
    let mut h = Sha256::new();
    h.update(labels::BATCH);
    h.update((domain.len() as u16).to_be_bytes());
    h.update(domain);
    h.update(batch.0);
    h.update(provider.0);
    for ended in [removed.origins, removed.ids] {
        h.update((ended.len() as u32).to_be_bytes());
        h.update(ended);
    }
    for (id, r) in records {
        h.update(id.0);
        h.update(r.origin.0);
        h.update((r.tag.len() as u32).to_be_bytes());
        h.update(&r.tag);
        h.update((r.terms.len() as u32).to_be_bytes());
        h.update(&r.terms);
    }
    h.finalize().into()
}

/// One inner index entry, before the gate bridges it. `merged` selects the empty scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InnerEntry {
    /// Section 8a: 32-byte inner token.
    Token {
        /// Scope.
        merged: bool,
        /// `HMAC(…)`.
        token: [u8; 32],
    },
    /// Section 8b: blinded point.
    Bridged {
        /// Scope.
        merged: bool,
        /// `T_i = k_i·P`.
        point: RawPoint,
    },
    /// Section 9: inner order code.
    Order {
        /// Scope.
        merged: bool,
        /// Which field, blinded.
        field: [u8; 16],
        /// Width of the field's quantiser, bits (8, 12 … 32).
        bits: u8,
        /// Inner code, below `2^(bits+16)`.
        code: u64,
    },
}

/// Why packed entries were refused.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum EntryError {
    /// Ends within an entry.
    #[error("index entries end within an entry")]
    Truncated,
    /// Unknown kind byte.
    #[error("unknown kind of index entry: {0}")]
    Kind(u8),
    /// Impossible order width or a code beyond it.
    #[error("order code does not fit its width")]
    Order,
    /// More than [`limits::RECORD_ENTRIES`].
    #[error("more than {} index entries in a record", limits::RECORD_ENTRIES)]
    TooMany,
}

impl InnerEntry {
    /// Appends the packed form: a kind byte (even isolated, odd merged), then the entry's bytes.
    pub fn pack(&self, out: &mut Vec<u8>) {
        match self {
            Self::Token { merged, token } => {
                out.push(u8::from(*merged));
                out.extend_from_slice(token);
            }
            Self::Bridged { merged, point } => {
                out.push(2 | u8::from(*merged));
                out.extend_from_slice(&point.0);
            }
            Self::Order { merged, field, bits, code } => {
                out.push(4 | u8::from(*merged));
                out.extend_from_slice(field);
                out.push(*bits);
                out.extend_from_slice(&code.to_be_bytes());
            }
        }
    }

    /// Reads packed entries, bounded and whole.
    pub fn unpack(mut bytes: &[u8]) -> Result<Vec<Self>, EntryError> {
        let mut out = Vec::with_capacity(bytes.len() / 33);
        while let Some((&kind, rest)) = bytes.split_first() {
            if out.len() == limits::RECORD_ENTRIES {
                return Err(EntryError::TooMany);
            }
            let merged = kind & 1 == 1;
            let (entry, rest) = match kind {
                0 | 1 => {
                    let (token, rest) = rest.split_first_chunk().ok_or(EntryError::Truncated)?;
                    (Self::Token { merged, token: *token }, rest)
                }
                2 | 3 => {
                    let (point, rest) = rest.split_first_chunk().ok_or(EntryError::Truncated)?;
                    (Self::Bridged { merged, point: RawPoint(*point) }, rest)
                }
                4 | 5 => {
                    let (body, rest) = rest.split_first_chunk::<25>().ok_or(EntryError::Truncated)?;
                    let (field, code) =
                        (body.first_chunk().copied(), body.last_chunk().map(|c| u64::from_be_bytes(*c)));
                    let (Some(field), Some(code)) = (field, code) else { return Err(EntryError::Truncated) };
                    let bits = body[16];
                    check_order(bits, code)?;
                    (Self::Order { merged, field, bits, code }, rest)
                }
                k => return Err(EntryError::Kind(k)),
            };
            out.push(entry);
            bytes = rest;
        }
        Ok(out)
    }
}

/// Checks that `bits` is a quantiser's width and `code` fits `bits + 16`.
pub fn check_order(bits: u8, code: u64) -> Result<(), EntryError> {
    if (8..=32).contains(&bits) && bits.is_multiple_of(4) && code >> (u32::from(bits) + 16) == 0 {
        Ok(())
    } else {
        Err(EntryError::Order)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_survive_packing_and_bad_ones_are_refused() {
        let entries = [
            InnerEntry::Token { merged: false, token: [1; 32] },
            InnerEntry::Bridged { merged: true, point: RawPoint([2; 33]) },
            InnerEntry::Order { merged: true, field: [3; 16], bits: 32, code: (1 << 48) - 1 },
        ];
        let mut packed = Vec::new();
        entries.iter().for_each(|e| e.pack(&mut packed));
        assert_eq!(InnerEntry::unpack(&packed), Ok(entries.to_vec()));
        for cut in 1..packed.len() {
            if ![33, 67].contains(&cut) {
                assert_eq!(InnerEntry::unpack(&packed[..cut]), Err(EntryError::Truncated), "cut at {cut}");
            }
        }
        assert_eq!(InnerEntry::unpack(&[9]), Err(EntryError::Kind(9)));
        let mut wide = Vec::new();
        InnerEntry::Order { merged: false, field: [0; 16], bits: 8, code: 1 << 24 }.pack(&mut wide);
        assert_eq!(InnerEntry::unpack(&wide), Err(EntryError::Order));
        let many = vec![0_u8; 33 * (limits::RECORD_ENTRIES + 1)];
        assert_eq!(InnerEntry::unpack(&many), Err(EntryError::TooMany));
    }
}
