//! What a provider signs of each batch, and what the log holds of it.

use rand_core::CryptoRng;
use sealdex_crypto::{
    BatchId, Identity, PrincipalId, PublicIdentity, Signature,
    log::{Hash, leaf_hash},
};
use sealdex_wire::{auth::sha256, labels};

/// Kind byte and length of a batch's entry in the log.
const KIND: u8 = 1;
const STATEMENT: usize = 16 + 16 + 8 + 32 + 4 + 32 + 8 + 32 + 4 + 32;
/// Bytes of an entry.
pub const ENTRY: usize = 1 + STATEMENT + 64;

/// A provider's word on one batch. Its numbers and hashes chain the batches of a provider, so that none can be left
/// out, added or put in another order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchStatement {
    /// Who pushed it.
    pub provider: PrincipalId,
    /// Which batch.
    pub batch: BatchId,
    /// The provider's statements count from 1.
    pub number: u64,
    /// Hash of the provider's statement before (zero for the first): [`SignedBatch::digest`].
    pub previous: Hash,
    /// Records.
    pub records: u32,
    /// Root of the tree of [`crate::RecordLeaf`]s, in the order of the batch.
    pub records_root: Hash,
    /// Pairs of the run.
    pub pairs: u64,
    /// Root of the tree over the run's pages ([`crate::run`]).
    pub run_root: Hash,
    /// Records that this batch ends: older versions, also of this batch.
    pub ended: u32,
    /// [`ended_hash`] of their ids.
    pub ended_hash: Hash,
}

/// Hash of ids, ascending, 16 bytes each.
#[must_use]
pub fn ended_hash(ids: &[u8]) -> Hash {
    sha256(&[labels::ENDED.as_bytes(), ids])
}

/// A statement with its provider's signature: what travels with a batch, and an entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedBatch {
    /// What was signed.
    pub statement: BatchStatement,
    /// By [`BatchStatement::provider`].
    pub signature: Signature,
}

/// An entry that is no batch's, or is not signed by its provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// Another length or kind.
    #[error("this is no statement on a batch")]
    Malformed,
    /// The signature does not fit.
    #[error("the statement on batch {batch} is not signed by provider {provider}")]
    Signature {
        /// Which batch.
        batch: BatchId,
        /// Who should have signed.
        provider: PrincipalId,
    },
}

impl BatchStatement {
    /// Signs for a domain.
    pub fn sign(self, domain: &str, by: &Identity, rng: &mut (impl CryptoRng + ?Sized)) -> SignedBatch {
        let signature = by.sign(&self.message(domain), rng);
        SignedBatch { statement: self, signature }
    }

    fn message(&self, domain: &str) -> [u8; 32] {
        sha256(&[labels::STATEMENT.as_bytes(), &(domain.len() as u16).to_be_bytes(), domain.as_bytes(), &self.encode()])
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(ENTRY);
        out.extend_from_slice(&self.provider.0);
        out.extend_from_slice(&self.batch.0);
        out.extend_from_slice(&self.number.to_be_bytes());
        out.extend_from_slice(&self.previous);
        out.extend_from_slice(&self.records.to_be_bytes());
        out.extend_from_slice(&self.records_root);
        out.extend_from_slice(&self.pairs.to_be_bytes());
        out.extend_from_slice(&self.run_root);
        out.extend_from_slice(&self.ended.to_be_bytes());
        out.extend_from_slice(&self.ended_hash);
        out
    }

    fn decode(mut bytes: &[u8]) -> Option<Self> {
        let out = Self {
            provider: PrincipalId(take(&mut bytes)?),
            batch: BatchId(take(&mut bytes)?),
            number: u64::from_be_bytes(take(&mut bytes)?),
            previous: take(&mut bytes)?,
            records: u32::from_be_bytes(take(&mut bytes)?),
            records_root: take(&mut bytes)?,
            pairs: u64::from_be_bytes(take(&mut bytes)?),
            run_root: take(&mut bytes)?,
            ended: u32::from_be_bytes(take(&mut bytes)?),
            ended_hash: take(&mut bytes)?,
        };
        bytes.is_empty().then_some(out)
    }
}

pub(crate) fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*head)
}

impl SignedBatch {
    /// The entry: `0x01 ‖ provider ‖ batch ‖ u64 number ‖ previous ‖ u32 records ‖ records root ‖ u64 pairs ‖
    /// run root ‖ u32 ended ‖ ended hash ‖ signature`, [`ENTRY`] bytes.
    #[must_use]
    pub fn to_entry(&self) -> Vec<u8> {
        let mut out = vec![KIND];
        out.extend(self.statement.encode());
        out.extend_from_slice(self.signature.0.as_slice());
        out
    }

    /// Reads an entry; its signature is *not* checked.
    ///
    /// # Errors
    /// [`StatementError::Malformed`].
    pub fn from_entry(entry: &[u8]) -> Result<Self, StatementError> {
        let (kind, rest) = entry.split_first().ok_or(StatementError::Malformed)?;
        let (statement, signature) = rest.split_at_checked(STATEMENT).ok_or(StatementError::Malformed)?;
        match (kind, BatchStatement::decode(statement), <[u8; 64]>::try_from(signature)) {
            (&KIND, Some(statement), Ok(signature)) => Ok(Self { statement, signature: Signature(signature) }),
            _ => Err(StatementError::Malformed),
        }
    }

    /// Whether the provider signed it for this domain.
    ///
    /// # Errors
    /// [`StatementError::Signature`].
    pub fn verify(&self, domain: &str, provider: &PublicIdentity) -> Result<(), StatementError> {
        let BatchStatement { batch, provider: named, .. } = self.statement;
        let wrong = StatementError::Signature { batch, provider: named };
        if named != provider.id() {
            return Err(wrong);
        }
        provider.verify(&self.statement.message(domain), &self.signature).map_err(|_| wrong)
    }

    /// What the provider's next statement names as the one before.
    #[must_use]
    pub fn digest(&self) -> Hash {
        leaf_hash(&self.to_entry())
    }
}

#[cfg(test)]
mod tests {
    use sealdex_crypto::IdentitySeed;

    use super::*;

    #[test]
    fn entries_read_back_and_altered_ones_are_refused() {
        let by = Identity::from_seed(&IdentitySeed::from_bytes(&[7; 32]));
        let statement = BatchStatement {
            provider: by.id(),
            batch: BatchId([2; 16]),
            number: 3,
            previous: [4; 32],
            records: 5,
            records_root: [6; 32],
            pairs: 7,
            run_root: [8; 32],
            ended: 9,
            ended_hash: ended_hash(&[]),
        };
        let signed = statement.sign("d", &by, &mut rand::rng());
        let entry = signed.to_entry();
        assert_eq!(entry.len(), ENTRY);
        assert_eq!(SignedBatch::from_entry(&entry), Ok(signed.clone()));
        assert_eq!(signed.verify("d", &by.public()), Ok(()));
        assert!(signed.verify("e", &by.public()).is_err(), "another domain");
        let other = Identity::from_seed(&IdentitySeed::from_bytes(&[8; 32]));
        assert!(signed.verify("d", &other.public()).is_err(), "another provider");
        for at in 0..entry.len() {
            let mut bent = entry.clone();
            bent[at] ^= 1;
            let read = SignedBatch::from_entry(&bent);
            assert!(read.is_err() || read.is_ok_and(|s| s.verify("d", &by.public()).is_err()), "byte {at}");
            assert_eq!(SignedBatch::from_entry(&entry[..at]), Err(StatementError::Malformed), "cut at {at}");
        }
    }
}
