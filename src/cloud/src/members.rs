//! The roster as the cloud uses it: gates, providers, who is below whom.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use sealdex_crypto::{PrincipalId, PublicIdentity};
use sealdex_net::{Directory, Refusal};
use sealdex_wire::{
    ProblemType, Signed, SignedError, codec,
    family::{Family, FamilyError, MemberList},
    roster::{BadKeys, Ledger, Role, Roster, Status},
    search::{ClauseError, CloudClause},
    sources::Sources,
};

/// Why a roster was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RosterError {
    /// Not signed by the authority.
    #[error(transparent)]
    Signature(#[from] SignedError),
    /// Keys that are none, or do not belong to their id.
    #[error("{0} does not have the keys its id certifies")]
    Keys(PrincipalId),
    /// Of another domain or authority.
    #[error("the roster is of another domain or authority")]
    Domain,
    /// This cloud is not in it.
    #[error("the roster does not list this cloud")]
    NotListed,
    /// Says more than a cloud may know.
    #[error("the cloud's roster must list providers only, without names: send Roster::for_cloud")]
    TellsTooMuch,
    /// Who was enrolled below the roster's members does not fit.
    #[error(transparent)]
    Family(#[from] FamilyError),
    /// A parent that is missing or a ring of parents.
    #[error("the parents of {0} do not lead to a hospital")]
    Path(PrincipalId),
}

/// A provider that may or may not push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Provider {
    pub(crate) keys: PublicIdentity,
    /// Root of its path.
    pub(crate) hospital: PrincipalId,
    /// Whether it and everyone above it is served.
    pub(crate) active: bool,
}

/// A verified roster, ready for look-ups.
pub(crate) struct Members {
    pub(crate) version: u64,
    /// What it was made of.
    pub(crate) documents: MemberList,
    pub(crate) ledger: Option<Ledger>,
    gates: HashMap<PrincipalId, PublicIdentity>,
    providers: HashMap<PrincipalId, Provider>,
    sources: Sources,
}

impl Members {
    fn new(roster: &Roster, documents: MemberList) -> Result<Self, RosterError> {
        let roster = &documents.family.merge(roster)?;
        let certified =
            |id, keys: Result<PublicIdentity, BadKeys>| keys.ok().filter(|k| k.id() == id).ok_or(RosterError::Keys(id));
        let mut gates = HashMap::new();
        for gate in &roster.gates {
            gates.insert(gate.id, certified(gate.id, gate.keys.identity())?);
        }
        let by_id: HashMap<_, _> = roster.members.iter().map(|m| (m.id, m)).collect();
        let mut providers = HashMap::new();
        for member in &roster.members {
            if member.role != Role::Provider || member.name.is_some() {
                return Err(RosterError::TellsTooMuch);
            }
            let (mut top, mut active, mut steps) = (member, member.status == Status::Active, 0);
            while let Some(parent) = top.parent {
                steps += 1;
                top = by_id.get(&parent).filter(|_| steps <= by_id.len()).ok_or(RosterError::Path(member.id))?;
                active &= top.status == Status::Active;
            }
            let keys = certified(member.id, member.keys.identity())?;
            let hospital = roster.root(top.id).ok_or(RosterError::Path(member.id))?;
            providers.insert(member.id, Provider { keys, hospital, active });
        }
        Ok(Self {
            version: roster.version,
            documents,
            ledger: roster.ledger.clone(),
            gates,
            providers,
            sources: Sources::of(roster),
        })
    }

    /// The domain's logs, if it has any.
    pub(crate) fn ledger(&self) -> bool {
        self.ledger.is_some()
    }

    /// Keys of a gate.
    pub(crate) fn gate(&self, id: PrincipalId) -> Option<&PublicIdentity> {
        self.gates.get(&id)
    }

    /// A provider, active or not.
    pub(crate) fn provider(&self, id: PrincipalId) -> Option<Provider> {
        self.providers.get(&id).copied()
    }

    /// The clause with everyone below a source added to it, so that a hospital stands for its
    /// departments as the roster has them now.
    pub(crate) fn unfold(&self, clause: CloudClause) -> Result<CloudClause, ClauseError> {
        self.sources.unfold(clause)
    }
}

/// The domain a cloud serves, and its roster once there is one.
pub(crate) struct Domain {
    pub(crate) name: String,
    pub(crate) me: PrincipalId,
    pub(crate) authority: PublicIdentity,
    members: RwLock<Option<Arc<Members>>>,
}

impl Domain {
    pub(crate) fn new(name: String, me: PrincipalId, authority: PublicIdentity) -> Self {
        Self { name, me, authority, members: RwLock::new(None) }
    }

    /// Verifies a roster and who was enrolled below it; [`Domain::enter`] puts it in force.
    pub(crate) fn verify(&self, signed: &Signed<Roster>, family: Family) -> Result<Members, RosterError> {
        let roster = signed.verify(&self.authority)?;
        let authority = roster.authority.identity().map_err(|_| RosterError::Domain)?;
        if roster.domain != self.name || authority.id() != self.authority.id() {
            return Err(RosterError::Domain);
        }
        if !roster.clouds.iter().any(|c| c.id == self.me) {
            return Err(RosterError::NotListed);
        }
        Members::new(&roster, MemberList { roster: signed.clone(), family })
    }

    /// Verifies a stored roster.
    pub(crate) fn verify_stored(&self, document: &[u8]) -> Result<Members, RosterError> {
        if let Ok(MemberList { roster, family }) = codec::from_json(document) {
            return self.verify(&roster, family);
        }
        // As stored before members enrolled others.
        let signed = codec::from_json(document).map_err(SignedError::from)?;
        self.verify(&signed, Family::default())
    }

    pub(crate) fn enter(&self, members: Members) {
        *self.members.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(members));
    }

    pub(crate) fn current(&self) -> Option<Arc<Members>> {
        self.members.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The roster in force, or the refusal of a cloud without one.
    pub(crate) fn members(&self) -> Result<Arc<Members>, Refusal> {
        self.current().ok_or_else(|| {
            Refusal::new(ProblemType::Overloaded, "this cloud has no roster yet: the authority must send one")
        })
    }
}

impl Directory for Domain {
    fn keys(&self, id: PrincipalId) -> Option<PublicIdentity> {
        if id == self.authority.id() {
            return Some(self.authority);
        }
        let members = self.current()?;
        members.gate(id).copied().or_else(|| members.provider(id).map(|p| p.keys))
    }
}
