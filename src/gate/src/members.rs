//! The roster, prepared for look-ups: who is active, whose root is who, which keys are whose.

use std::collections::{HashMap, HashSet};

use rayon::prelude::*;
use sealdex_crypto::{PrincipalId, PublicIdentity};
use sealdex_ledger::Providers;
use sealdex_wire::{
    Signed,
    family::{Family, FamilyError},
    roster::{Budget, Member, PublicKeys, Role, Roster, Server, Status},
    sources::Sources,
    threshold::{Nodes, NodesError},
};

use crate::error::CallerRefusal;

/// Why a roster makes no sense, whoever signed it.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
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
    /// It succeeds itself, nobody, or someone that still is served.
    #[error("{0} succeeds no revoked member of the same role")]
    Successor(PrincipalId),
    /// The gates do not make one gate.
    #[error(transparent)]
    Nodes(#[from] NodesError),
    /// What members enrolled below themselves does not fit.
    #[error(transparent)]
    Family(#[from] FamilyError),
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
    /// All of them, and whom they succeeded: who wrote, or was allowed to write, in their stead.
    pub line: Vec<PrincipalId>,
    /// The member whose grants it may take over.
    pub succeeds: Option<PrincipalId>,
    /// If it may only count: the smallest count it is told.
    pub counts_from: Option<u32>,
    scope: PrincipalId,
}

impl Known {
    /// The member enrolled by the authority above it (or itself), or whom that one succeeded first: its index scope.
    pub fn root(&self) -> PrincipalId {
        self.scope
    }
}

/// A verified roster, indexed.
pub struct Members {
    roster: Roster,
    signed: Signed<Roster>,
    family: Family,
    known: HashMap<PrincipalId, Known>,
    servers: HashMap<PrincipalId, PublicIdentity>,
    everyone: PrincipalId,
    hospitals: Vec<PrincipalId>,
    nodes: Option<Nodes>,
    sources: Sources,
}

impl Members {
    /// Indexes a roster whose signature was checked, and who was enrolled below it. Decodes two keys a member, in
    /// parallel.
    ///
    /// # Errors
    /// [`RosterDefect`].
    pub fn new(roster: &Roster, signed: Signed<Roster>, family: Family) -> Result<Self, RosterDefect> {
        let roster = family.merge(roster)?;
        let nodes = Nodes::of(&roster)?;
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
        let sources = Sources::of(&roster);
        Ok(Self { known, servers, everyone, hospitals, nodes, sources, roster, signed, family })
    }

    /// The roster.
    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    /// Who was enrolled and dismissed below the roster's members.
    pub fn family(&self) -> &Family {
        &self.family
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

    /// What a member may do in a day: what the roster says of it, of the nearest above it, or of everyone.
    pub fn budget(&self, member: &Known) -> Option<&Budget> {
        let of = |id: Option<PrincipalId>| self.roster.budgets.iter().find(|b| b.member == id);
        member.path.iter().find_map(|id| of(Some(*id))).or_else(|| of(None))
    }

    /// Everyone enrolled below a member, at any distance.
    pub fn below(&self, member: PrincipalId) -> Vec<PrincipalId> {
        let under = |(id, known): (&PrincipalId, &Known)| known.path[1..].contains(&member).then_some(*id);
        let mut below: Vec<_> = self.known.iter().filter_map(under).collect();
        below.sort_unstable();
        below
    }

    /// Whether a provider is one of these, succeeded one of them, or is below one.
    pub fn is_below(&self, provider: PrincipalId, any_of: &[PrincipalId]) -> bool {
        any_of.contains(&provider) || self.get(provider).is_some_and(|m| m.line.iter().any(|p| any_of.contains(p)))
    }

    /// Hospitals, active or not, in roster order.
    pub fn hospitals(&self) -> &[PrincipalId] {
        &self.hospitals
    }

    /// Which providers a source stands for.
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// The nodes of the gate, if it is not a single one.
    pub fn nodes(&self) -> Option<&Nodes> {
        self.nodes.as_ref()
    }

    /// The cloud this gate asks: the first one listed.
    pub fn cloud(&self) -> Option<&Server> {
        self.roster.clouds.first()
    }
}

impl Providers for Members {
    fn provider(&self, id: PrincipalId) -> Option<(PublicIdentity, PrincipalId)> {
        self.get(id).filter(|m| m.role == Role::Provider).map(|m| (m.keys, m.root()))
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
    let mut line = path.clone();
    let mut scope = path[path.len() - 1];
    for id in &path {
        let mut last = *id;
        while let Some(before) = by_id.get(&last).and_then(|m| m.succeeds) {
            let fits = by_id.get(&before).is_some_and(|m| m.status == Status::Revoked && m.role == by_id[&last].role);
            if !fits || line.contains(&before) {
                return Err(RosterDefect::Successor(last));
            }
            line.push(before);
            last = before;
        }
        if *id == path[path.len() - 1] {
            scope = last;
        }
    }
    let keys = certified(member.id, &member.keys)?;
    let (succeeds, counts_from) = (member.succeeds, member.counts_from);
    Ok(Known { role: member.role, keys, active, path, line, succeeds, counts_from, scope })
}
