//! Charters of groups: from the manager alone, ever newer, a new key for every removal.

use std::collections::{HashMap, HashSet};

use sealdex_crypto::PrincipalId;
use sealdex_wire::{
    ProblemType, Signed,
    group::{CharterError, GroupCharter},
    limits,
    roster::PublicKeys,
};

use super::is_future;
use crate::{error::signed_problem, groups::is_point, members::Members};

/// Why a charter, or a change of a group's grants, was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum GroupRefusal {
    /// A signature, or what it should be of.
    #[error(transparent)]
    Charter(#[from] CharterError),
    /// Handed in by somebody else.
    #[error("the charter of group {group} is to come from its manager {manager}")]
    NotManager {
        /// Which.
        group: PrincipalId,
        /// Who should have sent it.
        manager: PrincipalId,
    },
    /// The group is not known.
    #[error("the gate knows no group {0}")]
    Unknown(PrincipalId),
    /// Name, key or wrapped seeds are none.
    #[error("the charter of group {group} has an unusable {what}")]
    Content {
        /// Which.
        group: PrincipalId,
        /// What.
        what: &'static str,
    },
    /// More members than a group may have.
    #[error("group {group} would have {found} members, {} is the most", limits::GROUP_MEMBERS)]
    TooMany {
        /// Which.
        group: PrincipalId,
        /// How many.
        found: usize,
    },
    /// More groups than one manager may have.
    #[error("{0} manages {most} groups already, which is the most", most = limits::MANAGED_GROUPS)]
    TooManyGroups(PrincipalId),
    /// Somebody in it is no active member of the domain.
    #[error("group {group} lists {member}, who is no active member of this domain: remove it")]
    Member {
        /// Which.
        group: PrincipalId,
        /// Who.
        member: PrincipalId,
    },
    /// Listed twice.
    #[error("group {group} lists {member} twice")]
    Twice {
        /// Which.
        group: PrincipalId,
        /// Who.
        member: PrincipalId,
    },
    /// Not newer than the one in force.
    #[error("version {found} of group {group} is not above version {stored}, which is in force")]
    NotNewer {
        /// Which.
        group: PrincipalId,
        /// In force.
        stored: u64,
        /// Sent.
        found: u64,
    },
    /// Somebody left, or the key changed, without a new generation; or the generation jumped.
    #[error(
        "group {group} is at generation {stored}: who leaves, or a new key, takes generation {}, not {found}", stored + 1
    )]
    Generation {
        /// Which.
        group: PrincipalId,
        /// In force.
        stored: u32,
        /// Sent.
        found: u32,
    },
    /// A time of joining that is not so.
    #[error(
        "group {group} says that {member} joined at another time than it did: new members join when the charter is sent"
    )]
    Since {
        /// Which.
        group: PrincipalId,
        /// Who.
        member: PrincipalId,
    },
    /// The managers before are not those known.
    #[error("the charter of group {0} leaves out a manager it had")]
    Managers(PrincipalId),
    /// A grant's name or a cursor that this gate did not give out.
    #[error("a grant is named, or a page continued, by something this gate did not give out")]
    Cursor,
    /// A factor that is no scalar.
    #[error("a rotation's factor is no scalar")]
    Factor,
}

impl GroupRefusal {
    pub(crate) fn problem_type(&self) -> ProblemType {
        match self {
            Self::Charter(CharterError::Signed(e)) => signed_problem(e),
            Self::Unknown(_) => ProblemType::NotFound,
            Self::NotManager { .. } => ProblemType::Forbidden,
            Self::NotNewer { .. } | Self::Generation { .. } => ProblemType::Conflict,
            Self::Cursor | Self::Factor => ProblemType::Malformed,
            _ => ProblemType::BadDocument,
        }
    }
}

/// A charter that holds by itself.
#[derive(Debug)]
pub(crate) struct Verified {
    pub(crate) id: PrincipalId,
    pub(crate) charter: GroupCharter,
    pub(crate) signed: Signed<GroupCharter>,
}

/// Checks signatures and content. `now` in Unix milliseconds.
pub(crate) fn verify(
    signed: Signed<GroupCharter>,
    caller: PrincipalId,
    domain: &str,
    members: &Members,
    now: u64,
) -> Result<Verified, GroupRefusal> {
    let authority: &PublicKeys = &members.roster().authority;
    let (group, charter) = signed.verified(domain, authority)?;
    if signed.signer != caller {
        return Err(GroupRefusal::NotManager { group, manager: signed.signer });
    }
    let name = charter.name.trim();
    let bad = |what| Err(GroupRefusal::Content { group, what });
    if name.is_empty() || name != charter.name || name.len() > limits::NAME || name.chars().any(char::is_control) {
        return bad("name");
    }
    if !is_point(&charter.key) || (charter.generation == 0 && charter.key != charter.group.enc) {
        return bad("key");
    }
    let sealed = charter.members.iter().map(|m| &m.seed).chain(charter.earlier.iter().map(|e| &e.seed));
    let sealed = sealed.chain([&charter.kept]);
    if sealed.into_iter().any(|s| s.0.len() > limits::TAG) || charter.earlier.len() > 64 {
        return bad("wrapped seed");
    }
    if charter.members.len() > limits::GROUP_MEMBERS {
        return Err(GroupRefusal::TooMany { group, found: charter.members.len() });
    }
    let mut seen = HashSet::new();
    for m in &charter.members {
        let member = m.member;
        if !seen.insert(member) {
            return Err(GroupRefusal::Twice { group, member });
        }
        if members.active(member).is_err() {
            return Err(GroupRefusal::Member { group, member });
        }
        if is_future(m.since, now) {
            return Err(GroupRefusal::Since { group, member });
        }
    }
    Ok(Verified { id: group, charter, signed })
}

/// Whether a charter may follow the one in force. Whoever is new in it joined within the last minutes: a manager
/// cannot date a member back to before an owner's cutoff.
pub(crate) fn follows(new: &Verified, before: Option<&GroupCharter>, now: u64) -> Result<(), GroupRefusal> {
    let (group, charter) = (new.id, &new.charter);
    let known: HashMap<PrincipalId, u64> =
        before.into_iter().flat_map(|b| &b.members).map(|m| (m.member, m.since)).collect();
    for m in &charter.members {
        let fits = match known.get(&m.member) {
            Some(since) => m.since == *since,
            None => m.since.saturating_add(limits::CLOCK_SKEW_MS) >= now,
        };
        if !fits {
            return Err(GroupRefusal::Since { group, member: m.member });
        }
    }
    let Some(before) = before else {
        let fits = charter.generation == 0;
        return if fits { Ok(()) } else { Err(GroupRefusal::Content { group, what: "first generation" }) };
    };
    if charter.version <= before.version {
        return Err(GroupRefusal::NotNewer { group, stored: before.version, found: charter.version });
    }
    if !charter.managers.starts_with(&before.managers) {
        return Err(GroupRefusal::Managers(group));
    }
    let staying: HashSet<_> = charter.members.iter().map(|m| m.member).collect();
    let removed = before.members.iter().any(|m| !staying.contains(&m.member));
    let rekeyed = charter.key != before.key;
    let steps = charter.generation.checked_sub(before.generation);
    let fits = match steps {
        Some(0) => !removed && !rekeyed,
        Some(1) => rekeyed,
        _ => false,
    };
    if fits {
        Ok(())
    } else {
        Err(GroupRefusal::Generation { group, stored: before.generation, found: charter.generation })
    }
}
