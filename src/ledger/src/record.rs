//! What a batch commits to of each record.

use sealdex_crypto::{
    RecordId, Term,
    log::{Hash, leaf_hash},
};
use sealdex_wire::{auth::sha256, ingest::UploadRecord};
use serde::{Deserialize, Serialize};

/// Hash of sealed bytes, of a routing tag or of terms: plain SHA-256. Their places in a leaf keep them apart.
#[must_use]
pub fn part_hash(bytes: &[u8]) -> Hash {
    sha256(&[bytes])
}

/// A record's leaf: what was sealed, and what it is found by. 128 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordLeaf {
    /// Record id.
    pub id: RecordId,
    /// Term of its identity.
    pub origin: Term,
    /// Hash of the sealed bytes.
    #[serde(with = "serde_bytes")]
    pub sealed: Hash,
    /// Hash of the routing tag.
    #[serde(with = "serde_bytes")]
    pub tag: Hash,
    /// Hash of the terms, as they were uploaded.
    #[serde(with = "serde_bytes")]
    pub terms: Hash,
}

impl RecordLeaf {
    /// Of an uploaded record. Three hashes.
    #[must_use]
    pub fn of(record: &UploadRecord) -> Self {
        Self {
            id: record.id,
            origin: record.index.origin,
            sealed: part_hash(&record.sealed),
            tag: part_hash(&record.index.tag),
            terms: part_hash(&record.index.terms),
        }
    }

    /// `leaf_hash(id ‖ origin ‖ sealed ‖ tag ‖ terms)`.
    #[must_use]
    pub fn hash(&self) -> Hash {
        let mut entry = [0; 128];
        entry[..16].copy_from_slice(&self.id.0);
        entry[16..32].copy_from_slice(&self.origin.0);
        entry[32..64].copy_from_slice(&self.sealed);
        entry[64..96].copy_from_slice(&self.tag);
        entry[96..].copy_from_slice(&self.terms);
        leaf_hash(&entry)
    }
}
