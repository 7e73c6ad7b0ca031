//! What owners say: which providers may write for them, who may read which section, and no more.

use sealdex_crypto::PrincipalId;
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use crate::{
    B32, RawPoint, Signed,
    care::Emergency,
    erasure::ErasureOrder,
    group::Sealed,
    roster::{PublicKeys, Roster},
    signed::Document,
    threshold::NodeShares,
};

/// Purpose that every purpose fits.
pub const ANY_PURPOSE: &str = "any";

/// 32 secret bytes on their way to the gate. Wiped on drop, never shown.
#[derive(Clone, Zeroize)]
#[zeroize(drop)]
pub struct SecretBytes(pub [u8; 32]);

impl std::fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretBytes(..)")
    }
}

impl Serialize for SecretBytes {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if s.is_human_readable() { s.serialize_str(&hex::encode(self.0)) } else { s.serialize_bytes(&self.0) }
    }
}

impl<'de> Deserialize<'de> for SecretBytes {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        crate::codec::deserialize_fixed(d).map(Self)
    }
}

/// The public half of an owner's key for one section and epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SectionKey {
    /// Section name.
    pub section: String,
    /// Epoch.
    pub epoch: u32,
    /// `A = a·G`.
    pub key: RawPoint,
}

/// An owner's word on its keys and on who may write for it. A provider checks the signature itself,
/// so that a gate cannot slip in keys of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnerProfile {
    /// Domain.
    pub domain: String,
    /// The owner's keys.
    pub owner: PublicKeys,
    /// Grows with every change.
    pub version: u64,
    /// Section keys; the highest epoch of a section is the one to seal to.
    pub sections: Vec<SectionKey>,
    /// Providers that may write, with all below them.
    pub writers: Vec<PrincipalId>,
}

impl Document for OwnerProfile {
    const KIND: &'static str = "owner-profile";
}

impl OwnerProfile {
    /// The key to seal a section to now: that of its highest epoch.
    pub fn current(&self, section: &str) -> Option<&SectionKey> {
        self.sections.iter().filter(|s| s.section == section).max_by_key(|s| s.epoch)
    }
}

/// An owner's grant of one section and epoch to one reader (spec section 5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantTerms {
    /// Domain.
    pub domain: String,
    /// Who grants.
    pub owner: PrincipalId,
    /// Who may read: keys of a member or a group.
    pub reader: PublicKeys,
    /// Section.
    pub section: String,
    /// Epoch.
    pub epoch: u32,
    /// `A`, the section's public key.
    pub a: RawPoint,
    /// `X = x·G`.
    pub x: RawPoint,
    /// `R = rk·G`.
    pub r: RawPoint,
    /// Where the gate has several nodes: what their shares of `rk` are checked against beside `R`, one point less than
    /// it takes nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commitments: Vec<RawPoint>,
    /// Purpose of use, or [`ANY_PURPOSE`].
    pub purpose: String,
    /// First second it holds, Unix time.
    pub not_before: u64,
    /// First second it no longer holds, Unix time.
    pub not_after: u64,
    /// When it was made, Unix milliseconds; a revocation outdoes every grant made up to its own time.
    pub granted_at: u64,
    /// For a group: the generation of its key, and that key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_key: Option<GroupKey>,
    /// For a group: whoever joined it later than this, Unix milliseconds, is not meant. None means all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joined_by: Option<u64>,
    /// For a group: whether the grant of the section's next epoch is to mean who has joined by then. The owner's own
    /// note; the gate goes by `joined_by`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub newcomers_later: bool,
    /// Only what these providers, or anyone below them, pushed; what all pushed when it is empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub providers: Vec<PrincipalId>,
    /// Dormant until two people wake it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emergency: Option<Emergency>,
    /// The carer who passes on, under the owner's mandate, what it may read itself. It signs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<PrincipalId>,
}

/// A group's key at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupKey {
    /// Generation.
    pub generation: u32,
    /// `B`.
    pub key: RawPoint,
}

impl Document for GrantTerms {
    const KIND: &'static str = "grant";
}

/// An owner's revocation of what it granted to a reader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revocation {
    /// Domain.
    pub domain: String,
    /// Who revokes.
    pub owner: PrincipalId,
    /// From whom.
    pub reader: PrincipalId,
    /// Which section, or all.
    pub section: Option<String>,
    /// Only what was granted for this purpose, or whatever for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
    /// When, Unix milliseconds.
    pub revoked_at: u64,
}

impl Document for Revocation {
    const KIND: &'static str = "revocation";
}

/// `POST /v1/owners`: publish or renew owner profiles.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishOwners {
    /// Signed profiles.
    pub profiles: Vec<Signed<OwnerProfile>>,
}

/// `POST /v1/owners/lookup`: profiles by owner.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LookupOwners {
    /// Whose.
    pub owners: Vec<PrincipalId>,
}

/// Answer to [`LookupOwners`], in its order; `None` for an owner the gate does not know.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnersFound {
    /// Signed profiles.
    pub profiles: Vec<Option<Signed<OwnerProfile>>>,
    /// Orders of these owners to erase.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub erased: Vec<Signed<ErasureOrder>>,
}

/// One grant on its way to the gate.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantSubmission {
    /// Signed terms.
    pub grant: Signed<GrantTerms>,
    /// `rk`, for the gate alone; absent where it is shared over nodes. From a carer, the factor that makes it from the
    /// carer's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rk: Option<SecretBytes>,
}

/// `POST /v1/grants`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubmitGrants {
    /// Grants; all are accepted or none.
    pub grants: Vec<GrantSubmission>,
    /// Shares of every `rk` that does not come with its grant, for each node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shares: Vec<NodeShares>,
}

/// `POST /v1/revocations`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubmitRevocations {
    /// Revocations; all take effect or none.
    pub revocations: Vec<Signed<Revocation>>,
}

/// `POST /v1/consent`: profiles, revocations and grants that take effect together or not at all, in this order.
/// So a section's epoch advances with nobody who may go on reading refused in between.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangeConsent {
    /// Newer profiles.
    #[serde(default)]
    pub profiles: Vec<Signed<OwnerProfile>>,
    /// What ends.
    #[serde(default)]
    pub revocations: Vec<Signed<Revocation>>,
    /// What begins.
    #[serde(default)]
    pub grants: Vec<GrantSubmission>,
    /// Shares of every `rk` that does not come with its grant, for each node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shares: Vec<NodeShares>,
}

/// How many documents a control-plane request changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accepted {
    /// Documents accepted, or grants ended by a revocation.
    pub count: u64,
}

/// `POST /v1/grants/list`: the caller's own grants, given or received.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListGrants {
    /// Grants of this owner; the caller must be owner, carer or reader.
    pub owner: Option<PrincipalId>,
    /// Where the last page ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Sealed>,
    /// At most this many.
    pub limit: u32,
}

/// Answer to [`ListGrants`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantList {
    /// Signed terms as the owner submitted them.
    pub grants: Vec<Signed<GrantTerms>>,
    /// Where to go on, if there is more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Sealed>,
}

/// `POST /v1/accesses`: what was done with the caller's own records and consent, oldest first.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListAccesses {
    /// Only what came after this.
    pub after: Option<Place>,
    /// At most this many.
    pub limit: u32,
}

/// Place of an access: the act's in the gate's trail, and its own within the act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// The act's.
    pub act: u64,
    /// Within the act.
    pub part: u32,
}

/// What an act did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AccessKind {
    /// Released records to a member.
    Search,
    /// Took records in from a provider.
    Push,
    /// Put a grant into force.
    Grant,
    /// Ended one.
    Revocation,
    /// Asked for, woke or ended an emergency.
    Emergency,
    /// Asked the owner for access, or had that answered.
    Request,
    /// Was given a mandate, or lost one.
    Mandate,
    /// Put the owner's order to erase into force.
    Erasure,
}

/// What one act did with the owner's records or consent, in one section.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Access {
    /// Its place.
    pub place: Place,
    /// When, Unix milliseconds.
    pub at: u64,
    /// What.
    pub kind: AccessKind,
    /// Who.
    pub caller: PrincipalId,
    /// Purpose stated for a search; purpose of a grant.
    pub purpose: Option<String>,
    /// Section; none when all are meant.
    pub section: Option<String>,
    /// Of a grant or revocation: whose reading it is about.
    pub reader: Option<PrincipalId>,
    /// Records released or taken in.
    pub count: u64,
    /// Released under an emergency grant that was awake.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub emergency: bool,
    /// Of a gate of several nodes: the search, which every node that took part has on record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<B32>,
    /// The node whose record this is, as whoever asked several notes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<u16>,
}

/// Answer to [`ListAccesses`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessList {
    /// Oldest first.
    pub accesses: Vec<Access>,
    /// Where to go on, if there is more.
    pub next: Option<Place>,
}

/// A member's bridge scalar on its way to the gate.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bridge {
    /// Whose.
    pub member: PrincipalId,
    /// `δ`; absent where it is shared over nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scalar: Option<SecretBytes>,
    /// What the nodes' shares are checked against, one point for each node it takes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commitments: Vec<RawPoint>,
}

/// `PUT /v1/roster`: a newer roster, with the bridge scalars of members new in it. Only the
/// authority may send it; the cloud takes no bridges.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateRoster {
    /// The roster.
    pub roster: Signed<Roster>,
    /// Bridge scalars.
    #[serde(default)]
    pub bridges: Vec<Bridge>,
    /// Shares of bridge scalars that do not come with their member, for each node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shares: Vec<NodeShares>,
}
