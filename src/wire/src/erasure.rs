//! A patient's order to erase, and what comes of it at gate, hospitals and cloud.

use sealdex_crypto::{PrincipalId, RecordId};
use serde::{Deserialize, Serialize};

use crate::{Signed, search::CloudMatch, signed::Document};

/// A section, and up to which of its epochs: what was sealed to these is erased.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ErasedSection {
    /// Section.
    pub section: String,
    /// The last epoch that is erased; all before it are, too.
    pub through: u32,
}

/// An owner's word that records are to go: for good, whatever is granted later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ErasureOrder {
    /// Domain.
    pub domain: String,
    /// Whose.
    pub owner: PrincipalId,
    /// What.
    pub sections: Vec<ErasedSection>,
    /// When, Unix milliseconds.
    pub ordered_at: u64,
}

impl Document for ErasureOrder {
    const KIND: &'static str = "erasure-order";
}

impl ErasureOrder {
    /// Whether what is sealed to a section and epoch is erased by it.
    pub fn covers(&self, section: &str, epoch: u32) -> bool {
        self.sections.iter().any(|s| s.section == section && epoch <= s.through)
    }
}

/// `POST /v1/erasures`. From the owner, or an active member that carries it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubmitErasure {
    /// Signed by the owner.
    pub order: Signed<ErasureOrder>,
}

/// `POST /v1/erasures/pending`, from a provider: which records of its hospital are ordered to be erased and have not
/// ended yet? At most [`crate::limits::ERASURES`] at once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PendingErasures {
    /// Only those after this one.
    pub after: Option<RecordId>,
    /// Records of earlier answers that have ended since, 16 bytes each.
    #[serde(with = "serde_bytes")]
    pub ended: Vec<u8>,
    /// What the first answer said, so that orders that come meanwhile do not keep this from coming to an end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
}

/// Answer to [`PendingErasures`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ErasuresPending {
    /// Ids, ascending, 16 bytes each.
    #[serde(with = "serde_bytes")]
    pub ids: Vec<u8>,
    /// Whether the gate has looked through everything the cloud has by now, for every order up to `until`; else ask again.
    pub scanned: bool,
    /// Which orders are looked for: all that there were when this was asked for first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
}

/// `POST /v1/erasures/status`, from the owner: what became of its orders?
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskErasure {
    /// Only records after this one.
    pub after: Option<RecordId>,
}

/// A record that an order concerns: its id, the hospital it belongs to, and who pushed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErasedRecord(pub RecordId, pub PrincipalId, pub PrincipalId);

/// Answer to [`AskErasure`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ErasureState {
    /// Orders in force, each once.
    pub orders: Vec<Signed<ErasureOrder>>,
    /// Records found, by id; at most [`crate::limits::ERASURES`] at once, and fewer mean that these are the last.
    pub found: Vec<ErasedRecord>,
    /// Whether the gate has looked through everything the cloud has by now for these orders; else ask again.
    pub scanned: bool,
}

/// A place in all that the cloud has accepted: a batch, and a record that it brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScanPlace {
    /// Place of the batch, from 1.
    pub seq: u64,
    /// Place among what it brought, from 0.
    pub place: u32,
}

impl ScanPlace {
    /// Before everything.
    pub const START: Self = Self { seq: 1, place: 0 };
}

/// `POST /v1/scan`, from a gate to the cloud: every live record from a place on, whatever the index has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScanRecords {
    /// Where to begin.
    pub from: ScanPlace,
}

/// Answer to [`ScanRecords`]: at most [`crate::limits::PAGE`] records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scanned {
    /// Who pushed them.
    pub providers: Vec<PrincipalId>,
    /// Id, provider, routing tag.
    pub records: Vec<CloudMatch>,
    /// Where to go on; before the place that was asked for where there is nothing as far as that.
    pub next: ScanPlace,
    /// Whether there is more by now.
    pub more: bool,
    /// Which store they are of: one that was restored is another. Clouds of before say nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<[u8; 16]>,
}

/// `POST /v1/stored`, from anybody who knows ids, to the cloud: which of these are stored? At most
/// [`crate::limits::ERASURES`]. The body is not signed, so that the cloud does not learn who asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskStored {
    /// 16 bytes each.
    #[serde(with = "serde_bytes")]
    pub ids: Vec<u8>,
}

/// Answer to [`AskStored`]: those that are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stored {
    /// 16 bytes each.
    #[serde(with = "serde_bytes")]
    pub ids: Vec<u8>,
}
