//! Acts of a gate: what it keeps of them on record, and what of that goes into the domain's log of acts.

use sealdex_crypto::{PrincipalId, Signature};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::{
    B32, Signed, codec,
    consent::{Access, AccessKind, Place},
    signed::Document,
};

/// Kinds of audited acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuditKind {
    /// A newer roster; `count` is its version.
    Roster,
    /// Members enrolled or dismissed by providers.
    Family,
    /// A member changed its token key.
    Bridges,
    /// Owner profiles published.
    Owners,
    /// Grants accepted.
    Grants,
    /// Revocations; `count` is how many grants they ended.
    Revocations,
    /// A charter; `count` is how many members it has.
    Group,
    /// Grants rotated to a reader's newer key.
    Rotation,
    /// An emergency asked for, woken or closed.
    Emergency,
    /// A request for access, or its answer.
    Request,
    /// A mandate given or ended.
    Mandate,
    /// An order to erase; `count` is how many grants it ended.
    Erasure,
    /// A batch bridged; `count` is its records, and those it may delete.
    Bridge,
    /// A batch bridged that only deletes; `count` is how many records it may delete.
    Deletion,
    /// A search; `count` is its permitted matches.
    Search,
    /// A count; `count` is what was told.
    Count,
    /// A member charged for what another node led.
    Turn,
    /// A member came near its budget, or was refused by it.
    Alarm,
}

/// One act. Never a value, a token or a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Unix milliseconds.
    pub at: u64,
    /// What.
    pub kind: AuditKind,
    /// Who.
    pub caller: PrincipalId,
    /// Whose data, when it is one owner's.
    pub owner: Option<PrincipalId>,
    /// Declared purpose of a search.
    pub purpose: Option<String>,
    /// How many; see [`AuditKind`].
    pub count: u64,
    /// How many owners were concerned.
    pub owners: u64,
    /// What it took of the caller's budget.
    #[serde(default, skip_serializing_if = "Spent::is_nothing")]
    pub spent: Spent,
}

/// What is counted against budgets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    /// Tokens searched for.
    pub tokens: u64,
    /// Ranges searched for.
    pub ranges: u64,
    /// Index entries bridged.
    pub entries: u64,
}

impl Spent {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            tokens: self.tokens.saturating_add(other.tokens),
            ranges: self.ranges.saturating_add(other.ranges),
            entries: self.entries.saturating_add(other.entries),
        }
    }

    /// Whether it is nothing at all.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// What one act did with one owner's records or consent, in one section.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessRow {
    /// Unix milliseconds.
    pub at: u64,
    /// What.
    pub kind: AuditKind,
    /// Who.
    pub caller: PrincipalId,
    /// Declared purpose of a search; purpose of a grant; reason of an emergency.
    pub purpose: Option<String>,
    /// Section; none when all are meant.
    pub section: Option<String>,
    /// Of a grant or revocation: whose reading it is about.
    pub reader: Option<PrincipalId>,
    /// Records.
    pub count: u64,
    /// Under an emergency grant that was awake.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub emergency: bool,
    /// Of a gate of several nodes: the search, by the hash of what was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<B32>,
}

impl AccessRow {
    /// As its owner is shown it.
    #[must_use]
    pub fn access(self, place: Place) -> Access {
        let kind = match self.kind {
            AuditKind::Search | AuditKind::Count | AuditKind::Turn => AccessKind::Search,
            AuditKind::Bridge | AuditKind::Deletion => AccessKind::Push,
            AuditKind::Revocations => AccessKind::Revocation,
            AuditKind::Emergency | AuditKind::Alarm => AccessKind::Emergency,
            AuditKind::Request => AccessKind::Request,
            AuditKind::Mandate => AccessKind::Mandate,
            AuditKind::Erasure => AccessKind::Erasure,
            AuditKind::Grants | AuditKind::Owners | AuditKind::Roster | AuditKind::Family => AccessKind::Grant,
            AuditKind::Bridges | AuditKind::Group | AuditKind::Rotation => AccessKind::Grant,
        };
        let Self { at, caller, purpose, section, reader, count, emergency, search, .. } = self;
        Access { place, at, kind, caller, purpose, section, reader, count, emergency, search, node: None }
    }
}

/// In what part somebody signed a document of consent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SignedBy {
    /// The owner itself.
    Owner,
    /// A carer, under the owner's mandate.
    Carer,
    /// The manager of the group that reads.
    Manager,
    /// A member: of an emergency, or of a request.
    Member,
}

/// The signed document that an act rests on: enough to see whether one signed it oneself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Word {
    /// What was signed: [`Signed::digest`].
    pub hash: B32,
    /// In what part.
    pub by: SignedBy,
    /// By whom.
    pub signer: PrincipalId,
    /// The signature over `hash`.
    pub signature: Signature,
}

impl Word {
    /// Of a document.
    pub fn of<T: Document>(signed: &Signed<T>, by: SignedBy) -> Self {
        Self { hash: signed.digest(), by, signer: signed.signer, signature: signed.signature }
    }
}

/// What an act has to do with one owner, as the log has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRow {
    /// Whose.
    pub owner: PrincipalId,
    /// Its place within the act, if the gate lists it among the owner's accesses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<u32>,
    /// What.
    pub access: AccessRow,
    /// What it rests on, if that was signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub word: Option<Word>,
}

/// A document that is about no owner, by hash and signature: a roster, an enrolment, a dismissal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicWord {
    /// What was signed: [`Signed::digest`].
    pub hash: B32,
    /// The signature over it.
    pub signature: Signature,
}

impl PublicWord {
    /// Of a document.
    pub fn of<T: Document>(signed: &Signed<T>) -> Self {
        Self { hash: signed.digest(), signature: signed.signature }
    }
}

/// One act, whole: what waits for the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Act {
    /// Its place in the gate's audit trail.
    pub act: u64,
    /// What.
    pub entry: AuditEntry,
    /// Documents about no owner.
    pub documents: Vec<PublicWord>,
    /// By owner.
    pub rows: Vec<LogRow>,
}

/// `POST /v1/acts`, from a gate: its next entries of the log, in order. None to ask for the last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostActs {
    /// Entries, as they are logged.
    pub entries: Vec<ByteBuf>,
}

impl PostActs {
    /// As CBOR.
    pub fn to_cbor(&self) -> Vec<u8> {
        let entries: usize = self.entries.iter().map(|e| 5 + e.len()).sum();
        codec::to_cbor_of(self, 64 + entries)
    }
}

/// Answer to [`PostActs`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActsTaken {
    /// The gate's last entry that is stored, for good; none before the first.
    pub last: Option<ByteBuf>,
}
