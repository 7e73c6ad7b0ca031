//! Hierarchical providers (MOPSE+): who enrols below itself, without the authority.
//!
//! A roster lists whom the authority enrolled. Below them, each provider enrols by itself: it signs an
//! [`Enrolment`] of the child and gives the gate the factor that makes the child's bridge from its own
//! (spec section 8b). [`Family::merge`] makes one roster of both, and is the only place that does.

use std::collections::{HashMap, HashSet};

use sealdex_crypto::PrincipalId;
use serde::{Deserialize, Serialize};

use crate::{
    Signed, SignedError,
    consent::SecretBytes,
    roster::{Member, Role, Roster, Status},
    signed::Document,
};

/// Deepest hierarchy below the authority.
pub const DEPTH: usize = 8;

/// A provider enrols a member below itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enrolment {
    /// Domain.
    pub domain: String,
    /// The member; its parent is who signs.
    pub member: Member,
}

impl Document for Enrolment {
    const KIND: &'static str = "enrolment";
}

/// Someone above a member, at any distance, revokes it and all below it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dismissal {
    /// Domain.
    pub domain: String,
    /// Whom.
    pub member: PrincipalId,
}

impl Document for Dismissal {
    const KIND: &'static str = "dismissal";
}

/// What providers signed about those below them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Family {
    /// Enrolments, parents before children.
    #[serde(default)]
    pub enrolments: Vec<Signed<Enrolment>>,
    /// Dismissals.
    #[serde(default)]
    pub dismissals: Vec<Signed<Dismissal>>,
}

/// `GET /v1/members`: everybody, as far as signed.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberList {
    /// Whom the authority enrolled.
    pub roster: Signed<Roster>,
    /// Whom they enrolled.
    pub family: Family,
}

/// `POST /v1/members`: enrol below oneself, or dismiss. From a provider; the cloud takes no names and
/// no factors.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateFamily {
    /// New members.
    #[serde(default)]
    pub enrolments: Vec<Signed<Enrolment>>,
    /// `c⁻¹` of each new member, in the same order; for the gate alone.
    #[serde(default)]
    pub factors: Vec<SecretBytes>,
    /// Whom to dismiss.
    #[serde(default)]
    pub dismissals: Vec<Signed<Dismissal>>,
}

/// `POST /v1/bridges/rotate`: `δ ← δ·factor`, after a member changed its token key from `k` to `k·c`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RotateBridge {
    /// `c⁻¹`.
    pub factor: SecretBytes,
}

/// Why an enrolment or dismissal does not count.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FamilyError {
    /// The signature does not fit.
    #[error("an enrolment or dismissal was refused: {0}")]
    Signed(#[from] SignedError),
    /// For another domain.
    #[error("an enrolment or dismissal is for another domain")]
    Domain,
    /// Enrolled twice, or by the authority already.
    #[error("{0} is enrolled already")]
    Twice(PrincipalId),
    /// The keys beside an id are not its keys.
    #[error("the keys beside {0} are not the keys of that id")]
    Keys(PrincipalId),
    /// Not signed by the parent it names, or that is unknown or no provider.
    #[error("{0} was not enrolled by a provider of this domain")]
    Parent(PrincipalId),
    /// Its name is not its parent's, a slash, and one of its own.
    #[error("the name of {0} must be its parent's, \"/\" and a name of its own")]
    Name(PrincipalId),
    /// Too many levels.
    #[error("{0} would be more than {DEPTH} levels below the authority")]
    Deep(PrincipalId),
    /// Not signed by someone above.
    #[error("{by} is not above {member} and cannot dismiss it")]
    NotAbove {
        /// Who signed.
        by: PrincipalId,
        /// Whom.
        member: PrincipalId,
    },
}

fn leaf_name(full: &str, parent: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    let own = full.strip_prefix(parent).and_then(|rest| rest.strip_prefix('/'));
    own.is_some_and(|own| (1..=64).contains(&own.len()) && own.chars().all(plain))
}

impl Family {
    /// The roster with everyone below added to it, each signature checked, and whoever was dismissed revoked.
    ///
    /// # Errors
    /// The first document that does not count.
    pub fn merge(&self, roster: &Roster) -> Result<Roster, FamilyError> {
        let mut merged = roster.clone();
        let mut places: HashMap<PrincipalId, usize> =
            merged.members.iter().enumerate().map(|(n, m)| (m.id, n)).collect();
        let mut depths: HashMap<PrincipalId, usize> = HashMap::new();
        for signed in &self.enrolments {
            let id = signed.peek()?.member.id;
            let at = *places.get(&signed.signer).ok_or(FamilyError::Parent(id))?;
            let parent = &merged.members[at];
            let parent_keys = parent.keys.identity().map_err(|_| FamilyError::Keys(parent.id))?;
            let Enrolment { domain, member } = signed.verify(&parent_keys)?;
            if domain != roster.domain {
                return Err(FamilyError::Domain);
            }
            if places.contains_key(&id) {
                return Err(FamilyError::Twice(id));
            }
            if member.parent != Some(parent.id) || parent.role != Role::Provider {
                return Err(FamilyError::Parent(id));
            }
            if member.keys.identity().map(|k| k.id()) != Ok(id) {
                return Err(FamilyError::Keys(id));
            }
            if let Some(above) = &parent.name
                && !member.name.as_deref().is_some_and(|own| leaf_name(own, above))
            {
                return Err(FamilyError::Name(id));
            }
            let depth = depths.get(&parent.id).copied().unwrap_or(1) + 1;
            if depth > DEPTH {
                return Err(FamilyError::Deep(id));
            }
            depths.insert(id, depth);
            places.insert(id, merged.members.len());
            merged.members.push(Member { status: Status::Active, ..member });
        }
        for signed in &self.dismissals {
            let (by, claimed) = (signed.signer, signed.peek()?);
            let not_above = FamilyError::NotAbove { by, member: claimed.member };
            let path = merged.path(claimed.member).unwrap_or_default();
            let Some(above) = path.iter().skip(1).find(|m| m.id == by) else { return Err(not_above) };
            let Dismissal { domain, member } =
                signed.verify(&above.keys.identity().map_err(|_| FamilyError::Keys(by))?)?;
            if domain != roster.domain {
                return Err(FamilyError::Domain);
            }
            if let Some(at) = places.get(&member) {
                merged.members[*at].status = Status::Revoked;
            }
        }
        let revoked: HashSet<_> = roster.revoked.iter().collect();
        merged.members.iter_mut().filter(|m| revoked.contains(&m.id)).for_each(|m| m.status = Status::Revoked);
        Ok(merged)
    }
}

/// `POST /v1/trace`: what a member could reach and did reach. From the authority, after a key was found in the wild.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TraceMember {
    /// Whose key it is.
    pub member: PrincipalId,
    /// At most this many rows of each list.
    pub limit: u32,
}

/// One section of an owner that a member could reach.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reachable {
    /// Whose.
    pub owner: PrincipalId,
    /// Section.
    pub section: String,
    /// Epochs.
    pub epochs: u32,
    /// Through which reader: the member itself, or a group.
    pub reader: PrincipalId,
}

/// One section of an owner that a member did reach.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reached {
    /// Whose.
    pub owner: PrincipalId,
    /// Section.
    pub section: String,
    /// Records released, each time it was counted anew.
    pub records: u64,
    /// First time, Unix milliseconds.
    pub first_at: u64,
    /// Last time.
    pub last_at: u64,
}

/// Answer to [`TraceMember`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trace {
    /// Grants in force now that it could use, the group of all left out.
    pub reachable: Vec<Reachable>,
    /// How many there are.
    pub reachable_in_all: u64,
    /// What was released to it, as far back as the gate's trail goes.
    pub reached: Vec<Reached>,
    /// How many there are.
    pub reached_in_all: u64,
    /// Searches and counts it made.
    pub searches: u64,
    /// Batches it had bridged.
    pub batches: u64,
    /// Times it came near its budget or was refused by it.
    pub alarms: u64,
    /// Members enrolled below it, at any distance.
    pub below: Vec<PrincipalId>,
}
