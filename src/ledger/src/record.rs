//! What a batch commits to of each record.

use sealdex_crypto::{
    RecordId, Term,
    log::{Hash, leaf_hash},
};
use sealdex_wire::{auth::sha256, ingest::UploadRecord};

/// Hash of sealed bytes, of a routing tag or of terms: plain SHA-256. Their places in a leaf keep them apart.
#[must_use]
pub fn part_hash(bytes: &[u8]) -> Hash {
    sha256(&[bytes])
}

/// Bytes of a leaf.
pub(crate) const LEAF: usize = 128;

/// A record's leaf: what was sealed, and what it is found by. 128 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordLeaf {
    /// Record id.
    pub id: RecordId,
    /// Term of its identity.
    pub origin: Term,
    /// Hash of the sealed bytes.
    pub sealed: Hash,
    /// Hash of the routing tag.
    pub tag: Hash,
    /// Hash of the terms, as they were uploaded.
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
        leaf_hash(&self.to_bytes())
    }

    /// `id ‖ origin ‖ sealed ‖ tag ‖ terms`.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; LEAF] {
        let mut bytes = [0; LEAF];
        bytes[..16].copy_from_slice(&self.id.0);
        bytes[16..32].copy_from_slice(&self.origin.0);
        bytes[32..64].copy_from_slice(&self.sealed);
        bytes[64..96].copy_from_slice(&self.tag);
        bytes[96..].copy_from_slice(&self.terms);
        bytes
    }

    /// Of [`RecordLeaf::to_bytes`].
    #[must_use]
    pub fn from_bytes(bytes: &[u8; LEAF]) -> Self {
        let part = |at: usize| {
            let mut part = [0; 32];
            part.copy_from_slice(&bytes[at..at + 32]);
            part
        };
        let (mut id, mut origin) = ([0; 16], [0; 16]);
        id.copy_from_slice(&bytes[..16]);
        origin.copy_from_slice(&bytes[16..32]);
        Self { id: RecordId(id), origin: Term(origin), sealed: part(32), tag: part(64), terms: part(96) }
    }
}
