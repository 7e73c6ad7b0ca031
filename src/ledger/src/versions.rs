//! Which records of the cloud a new batch replaces, shown to the provider that must state it.

use std::collections::HashSet;

use sealdex_crypto::{PrincipalId, RecordId, Term};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::{
    answer::RecordsProof,
    statement::{SignedBatch, StatementError},
    tree::TreeError,
    view::Providers,
};

/// `POST /v1/versions`: is there an older version of any of these, in the caller's hospital?
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VersionsRequest {
    /// Origins, 16 bytes each.
    #[serde(with = "serde_bytes")]
    pub origins: Vec<u8>,
    /// Ids of records that are to be erased, 16 bytes each.
    #[serde(default, with = "serde_bytes", skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<u8>,
}

/// What a provider has asked for: what else the cloud names is none of it.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Origins.
    pub origins: HashSet<Term>,
    /// Ids.
    pub ids: HashSet<RecordId>,
}

/// Answer: the provider's own place in its chain, and the older versions by the batches that brought them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Versions {
    /// The caller's last statement, as an entry of the log; none before the first.
    pub last: Option<ByteBuf>,
    /// Entries of these batches.
    pub entries: Vec<ByteBuf>,
    /// Their records, in the same order.
    pub records: Vec<RecordsProof>,
}

/// Why the cloud's word on older versions is not believed: stating it would end a record that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VersionsError {
    /// No statement, or not signed by whom it names.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// Of nobody in the roster, or of another hospital.
    #[error("the cloud names a batch of {0}, who is not of this hospital, as holding older versions")]
    Provider(PrincipalId),
    /// Leaves that are not in the batch.
    #[error("the cloud names records as older versions that are in no batch: {0}")]
    Tree(#[from] TreeError),
    /// A record that is none of these.
    #[error("the cloud names record {0} as an older version, which has another origin")]
    Origin(RecordId),
    /// Lists of different lengths.
    #[error("the cloud's answer on older versions is malformed")]
    Malformed,
}

impl Versions {
    /// The ids to end, ascending, 16 bytes each: every one was pushed by this hospital, with one of these origins or ids.
    ///
    /// # Errors
    /// [`VersionsError`].
    pub fn verify(
        &self,
        domain: &str,
        hospital: PrincipalId,
        asked: &Asked,
        providers: &impl Providers,
    ) -> Result<Vec<u8>, VersionsError> {
        if self.entries.len() != self.records.len() {
            return Err(VersionsError::Malformed);
        }
        let mut ids = Vec::new();
        for (entry, records) in self.entries.iter().zip(&self.records) {
            let signed = SignedBatch::from_entry(entry)?;
            let statement = &signed.statement;
            let foreign = VersionsError::Provider(statement.provider);
            let (keys, of) = providers.provider(statement.provider).ok_or(foreign)?;
            if of != hospital {
                return Err(foreign);
            }
            signed.verify(domain, &keys)?;
            records.verify(statement.records, &statement.records_root)?;
            for leaf in &records.leaves {
                if !asked.origins.contains(&leaf.origin) && !asked.ids.contains(&leaf.id) {
                    return Err(VersionsError::Origin(leaf.id));
                }
                ids.push(leaf.id);
            }
        }
        ids.sort_unstable();
        ids.dedup();
        Ok(ids.iter().flat_map(|id| id.0).collect())
    }
}
