//! Groups: wards, roles, study teams. A group is a reader whose key its manager wraps for each member
//! (spec section 5).

use sealdex_crypto::PrincipalId;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::{RawPoint, Signed, SignedError, consent::SecretBytes, roster::PublicKeys, signed::Document};

/// Where a sealed group seed is bound to its group: first part of its context.
pub const SEED_CONTEXT: &str = "group-seed";

/// Bytes sealed to someone, as hex in JSON.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed(pub Vec<u8>);

impl std::fmt::Debug for Sealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sealed({} bytes)", self.0.len())
    }
}

impl Serialize for Sealed {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if s.is_human_readable() { s.serialize_str(&hex::encode(&self.0)) } else { s.serialize_bytes(&self.0) }
    }
}

impl<'de> Deserialize<'de> for Sealed {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        if d.is_human_readable() {
            let text = String::deserialize(d)?;
            hex::decode(text).map(Self).map_err(|_| D::Error::custom("expected hex digits"))
        } else {
            ByteBuf::deserialize(d).map(|b| Self(b.into_vec()))
        }
    }
}

/// One member of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupMember {
    /// Who.
    pub member: PrincipalId,
    /// When it joined, Unix milliseconds. A grant may leave out who joined later.
    pub since: u64,
    /// Seed of the charter's generation, wrapped for this member.
    pub seed: Sealed,
}

/// The seed of an earlier generation, wrapped for the charter's key: for grants not yet rotated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EarlierSeed {
    /// Generation.
    pub generation: u32,
    /// Sealed seed.
    pub seed: Sealed,
}

/// A manager's word on its group: its key, and who belongs to it.
///
/// The group's id is the hash of `group`: its first encryption key, and the signing key of the manager
/// who founded it. So the id itself says whose word on the group counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupCharter {
    /// Domain.
    pub domain: String,
    /// Founding keys; their hash is the group's id.
    pub group: PublicKeys,
    /// Human name, for patients to know it by.
    pub name: String,
    /// Who founded it, and whoever it was handed to since; the last one manages it.
    pub managers: Vec<PublicKeys>,
    /// How it came from each manager to the next.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub handovers: Vec<Signed<Handover>>,
    /// Grows with every change.
    pub version: u64,
    /// Grows with every removal.
    pub generation: u32,
    /// Encryption key of this generation: what owners grant to.
    pub key: RawPoint,
    /// Seed of this generation, wrapped for the manager, who may not be a member.
    pub kept: Sealed,
    /// Members.
    pub members: Vec<GroupMember>,
    /// Seeds of generations that grants may still be for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<EarlierSeed>,
}

impl Document for GroupCharter {
    const KIND: &'static str = "group";
}

/// A manager hands a group over; or the authority does, when its manager is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Handover {
    /// Domain.
    pub domain: String,
    /// Which group.
    pub group: PrincipalId,
    /// The new manager.
    pub to: PublicKeys,
}

impl Document for Handover {
    const KIND: &'static str = "group-handover";
}

/// Why a charter is not what it claims, whatever else is known.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CharterError {
    /// A signature does not fit.
    #[error("the charter of a group was refused: {0}")]
    Signed(#[from] SignedError),
    /// Keys that are none.
    #[error("the charter of a group carries keys that are no points of the curve")]
    Keys,
    /// For another domain or group.
    #[error("the charter or a handover in it is for another domain or group")]
    Other,
    /// Not signed by who manages the group.
    #[error("the charter of group {0} is not signed by its manager")]
    Manager(PrincipalId),
}

impl GroupCharter {
    /// A member of it.
    pub fn member(&self, id: PrincipalId) -> Option<&GroupMember> {
        self.members.iter().find(|m| m.member == id)
    }
}

impl Signed<GroupCharter> {
    /// The charter and the group's id, after every signature on the way from its founder was checked.
    /// One signature, and one a handover.
    pub fn verified(&self, domain: &str, authority: &PublicKeys) -> Result<(PrincipalId, GroupCharter), CharterError> {
        let claimed = self.peek()?;
        let identity = |keys: &PublicKeys| keys.identity().map_err(|_| CharterError::Keys);
        let id = identity(&claimed.group)?.id();
        let (Some(founder), Some(manager)) = (claimed.managers.first(), claimed.managers.last()) else {
            return Err(CharterError::Manager(id));
        };
        if founder.sign != claimed.group.sign || claimed.managers.len() != claimed.handovers.len() + 1 {
            return Err(CharterError::Manager(id));
        }
        let authority = identity(authority)?;
        for (handover, pair) in claimed.handovers.iter().zip(claimed.managers.windows(2)) {
            let by = if handover.signer == authority.id() { authority } else { identity(&pair[0])? };
            let Handover { domain: of, group, to } = handover.verify(&by)?;
            if of != domain || group != id || to != pair[1] {
                return Err(CharterError::Other);
            }
        }
        let charter = self.verify(&identity(manager)?)?;
        if charter.domain == domain { Ok((id, charter)) } else { Err(CharterError::Other) }
    }
}

/// `POST /v1/groups`: a new charter. From its manager.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubmitGroup {
    /// Signed by the manager.
    pub charter: Signed<GroupCharter>,
}

/// `POST /v1/groups/list`: charters by id, or those the caller belongs to or manages. Anyone who may call the
/// gate may ask: whoever grants to a group is to know who is in it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListGroups {
    /// These; all of the domain's when it is empty.
    pub groups: Vec<PrincipalId>,
    /// Only those the caller belongs to or manages.
    #[serde(default)]
    pub mine: bool,
}

/// Answer to [`ListGroups`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupList {
    /// Charters as their managers signed them.
    pub charters: Vec<Signed<GroupCharter>>,
}

/// `POST /v1/groups/stale`: grants to a group that still are for an earlier generation. From its manager.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListStale {
    /// Which group, or the reader that the caller succeeds.
    pub reader: PrincipalId,
    /// Where the last page ended.
    #[serde(default)]
    pub after: Option<Sealed>,
    /// At most this many.
    pub limit: u32,
}

/// What a manager needs of a grant to rotate it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StaleGrant {
    /// Which grant: opaque, the gate's own.
    pub grant: Sealed,
    /// Generation it is for.
    pub generation: u32,
    /// `A`.
    pub a: RawPoint,
    /// `X`.
    pub x: RawPoint,
}

/// Answer to [`ListStale`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StaleList {
    /// Grants.
    pub grants: Vec<StaleGrant>,
    /// Where to go on, if there is more.
    pub next: Option<Sealed>,
}

/// `rk ← rk·factor`, for one grant.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rotation {
    /// Which grant.
    pub grant: Sealed,
    /// The generation it must be of; else it is left as it is.
    pub from: u32,
    /// The generation the factor leads to; when that is no longer the reader's, it is left as it is.
    pub to: u32,
    /// The `X` it must have.
    pub x: RawPoint,
    /// `d·d'⁻¹`.
    pub factor: SecretBytes,
}

/// `POST /v1/groups/rotate`. From the group's manager. Sent twice, it does the same as once.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RotateGrants {
    /// Which group, or the reader that the caller succeeds.
    pub reader: PrincipalId,
    /// Factors.
    pub rotations: Vec<Rotation>,
}
