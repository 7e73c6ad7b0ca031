//! The roster, prepared for look-ups: who is active, whose root is who, which keys are whose.

use std::collections::{HashMap, HashSet};

use rayon::prelude::*;
use sealdex_crypto::{PrincipalId, PublicIdentity};
use sealdex_wire::{
    Signed,
    roster::{Member, PublicKeys, Role, Roster, Server, Status},
};

use crate::error::CallerRefusal;

/// Why a roster makes no sense, whoever signed it.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum RosterDefect {
    /// An id is not the hash of the keys beside it, or these are no keys.
    #[error("the keys beside {0} are not the keys of that id")]
    Keys(PrincipalId),
    /// The keys of the group of all members are no keys.
    #[error("the keys of the group of all members are no points of the curve")]
    Everyone,
    /// An id is listed twice.
    #[error("{0} is listed twice")]
    Twice(PrincipalId),
    /// A parent is not listed, or the parents form a ring.
    #[error("the parents of {0} do not lead to a member enrolled by the authority")]
    Parents(PrincipalId),
}

/// One member, prepared.
pub struct Known {
    /// What it may do.
    pub role: Role,
    /// Its keys, decoded.
    pub keys: PublicIdentity,
    /// Whether it and all above it are active.
    pub active: bool,
    /// Itself, its parent, and so on up to its root.
    pub path: Vec<PrincipalId>,
}

impl Known {
    /// The member enrolled by the authority above it (or itself): its index scope.
    pub fn root(&self) -> PrincipalId {
        self.path[self.path.len() - 1]
    }
}

/// A verified roster, indexed.
pub struct Members {
    roster: Roster,
    signed: Signed<Roster>,
    known: HashMap<PrincipalId, Known>,
    servers: HashMap<PrincipalId, PublicIdentity>,
    everyone: PrincipalId,
    hospitals: Vec<PrincipalId>,
}

impl Members {
    /// Indexes a roster whose signature was checked. Decodes two keys a member, in parallel.
    ///
    /// # Errors
    /// [`RosterDefect`].
    pub fn new(roster: Roster, signed: Signed<Roster>) -> Result<Self, RosterDefect> {
        let everyone = roster.everyone.identity().map_err(|_| RosterDefect::Everyone)?.id();
        let servers = roster.gates.iter().chain(&roster.clouds);
        let servers = servers.map(|s| Ok((s.id, certified(s.id, &s.keys)?))).collect::<Result<_, RosterDefect>>()?;
        let by_id: HashMap<_, _> = roster.members.iter().map(|m| (m.id, m)).collect();
        let mut seen = HashSet::new();
        if let Some(twice) = roster.members.iter().find(|m| !seen.insert(m.id)) {
            return Err(RosterDefect::Twice(twice.id));
        }
        let prepared: Vec<_> =
            roster.members.par_iter().map(|m| prepare(m, &by_id).map(|known| (m.id, known))).collect();
        // The first defect in the roster's order, whichever was found first.
        let known = prepared.into_iter().collect::<Result<_, RosterDefect>>()?;
        let hospitals = roster.hospitals().collect();
        Ok(Self { known, servers, everyone, hospitals, roster, signed })
    }

    /// The roster.
    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    /// The roster as the authority signed it.
    pub fn signed(&self) -> &Signed<Roster> {
        &self.signed
    }

    /// A member, whatever its status.
    pub fn get(&self, id: PrincipalId) -> Option<&Known> {
        self.known.get(&id)
    }

    /// Keys of a member or server.
    pub fn keys(&self, id: PrincipalId) -> Option<PublicIdentity> {
        self.known.get(&id).map(|m| m.keys).or_else(|| self.servers.get(&id).copied())
    }

    /// A member that is served.
    ///
    /// # Errors
    /// [`CallerRefusal::NotActive`].
    pub fn active(&self, id: PrincipalId) -> Result<&Known, CallerRefusal> {
        self.known.get(&id).filter(|m| m.active).ok_or(CallerRefusal::NotActive(id))
    }

    /// A provider that is served.
    ///
    /// # Errors
    /// [`CallerRefusal`].
    pub fn active_provider(&self, id: PrincipalId) -> Result<&Known, CallerRefusal> {
        let member = self.active(id)?;
        if member.role == Role::Provider { Ok(member) } else { Err(CallerRefusal::NotProvider(id)) }
    }

    /// The group every member belongs to.
    pub fn everyone(&self) -> PrincipalId {
        self.everyone
    }

    /// Whether grants may name this principal: an active member, or the group of all.
    pub fn is_reader(&self, id: PrincipalId) -> bool {
        id == self.everyone || self.active(id).is_ok()
    }

    /// Principals whose grants an active member may use, itself first.
    pub fn readers_for(&self, member: PrincipalId) -> [PrincipalId; 2] {
        [member, self.everyone]
    }

    /// Hospitals, active or not, in roster order.
    pub fn hospitals(&self) -> &[PrincipalId] {
        &self.hospitals
    }

    /// The cloud this gate asks: the first one listed.
    pub fn cloud(&self) -> Option<&Server> {
        self.roster.clouds.first()
    }
}

fn certified(id: PrincipalId, keys: &PublicKeys) -> Result<PublicIdentity, RosterDefect> {
    keys.identity().ok().filter(|k| k.id() == id).ok_or(RosterDefect::Keys(id))
}

fn prepare(member: &Member, by_id: &HashMap<PrincipalId, &Member>) -> Result<Known, RosterDefect> {
    let mut path = vec![member.id];
    let mut active = member.status == Status::Active;
    let mut above = member.parent;
    while let Some(id) = above {
        let parent = by_id.get(&id).filter(|_| path.len() <= by_id.len()).ok_or(RosterDefect::Parents(member.id))?;
        active &= parent.status == Status::Active;
        path.push(id);
        above = parent.parent;
    }
    Ok(Known { role: member.role, keys: certified(member.id, &member.keys)?, active, path })
}
