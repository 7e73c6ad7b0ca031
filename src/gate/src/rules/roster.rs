//! Rosters: from the authority alone, ever newer, each member with its bridge.

use sealdex_crypto::{PrincipalId, Scalar, sharing::Commitments};
use sealdex_wire::{ProblemType, Signed, SignedError, consent::UpdateRoster, family::Family, roster::Roster};

use crate::{
    error::{GateError, signed_problem},
    members::{Members, RosterDefect},
    secrets::{GateSecrets, SealedScalar},
    store::{ReadConsents as _, Snapshot, Table},
};

/// Why a roster was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RosterRefusal {
    /// Not signed by the authority.
    #[error("the roster was refused: {0}")]
    Signed(SignedError),
    /// For another domain or under another authority.
    #[error("the roster is of another domain or authority than this gate's")]
    OtherDomain,
    /// This gate is not in it.
    #[error("the roster does not list this gate")]
    GateMissing,
    /// It makes no sense.
    #[error("the roster was refused: {0}")]
    Defect(#[from] RosterDefect),
    /// Not newer than the one in force.
    #[error("roster version {found} is not above version {stored}, which is in force")]
    NotNewer {
        /// In force.
        stored: u64,
        /// Sent.
        found: u64,
    },
    /// A bridge that is none, or of nobody in the roster.
    #[error("the bridge scalar of {0} is no scalar or not shared as this gate is, or {0} is not in the roster")]
    Bridge(PrincipalId),
}

impl RosterRefusal {
    pub(crate) fn problem_type(&self) -> ProblemType {
        match self {
            Self::NotNewer { .. } => ProblemType::Conflict,
            Self::Signed(e) => signed_problem(e),
            Self::Bridge(_) => ProblemType::Malformed,
            Self::OtherDomain | Self::GateMissing | Self::Defect(_) => ProblemType::BadDocument,
        }
    }
}

/// Checks a roster's signature and sense, together with who was enrolled below it.
pub(crate) fn verify(signed: Signed<Roster>, family: Family, secrets: &GateSecrets) -> Result<Members, RosterRefusal> {
    let roster = signed.verify(secrets.authority()).map_err(RosterRefusal::Signed)?;
    let authority = roster.authority.identity().map(|a| a.id());
    if roster.domain != secrets.domain() || authority != Ok(secrets.authority().id()) {
        return Err(RosterRefusal::OtherDomain);
    }
    if !roster.gates.iter().any(|g| g.id == secrets.identity().id()) {
        return Err(RosterRefusal::GateMissing);
    }
    Ok(Members::new(&roster, signed, family)?)
}

/// A member's bridge, checked and sealed for the store.
pub(crate) struct SealedBridge {
    pub(crate) member: PrincipalId,
    pub(crate) scalar: SealedScalar,
    /// What this node's share was checked against, if the gate has several nodes.
    pub(crate) commitments: Option<Commitments>,
}

/// Checks the bridges of an update, whole or as this node's shares of them, and seals them for the store.
pub(crate) fn seal_bridges(
    update: &UpdateRoster,
    shares: Option<Vec<Scalar>>,
    members: &Members,
    secrets: &GateSecrets,
) -> Result<Vec<SealedBridge>, RosterRefusal> {
    let own = members.nodes().and_then(|n| Some((n.get(secrets.identity().id())?.number, n.threshold)));
    let mut shares = shares.unwrap_or_default().into_iter();
    let sealed = update.bridges.iter().map(|b| {
        let refused = || RosterRefusal::Bridge(b.member);
        members.get(b.member).ok_or_else(refused)?;
        let sent = b.scalar.as_ref().map(|s| Scalar::from_bytes(&s.0)).transpose().map_err(|_| refused())?;
        let (scalar, commitments) = match (own, sent) {
            (None, Some(scalar)) if b.commitments.is_empty() => (scalar, None),
            (Some((node, threshold)), None) => {
                let points: Vec<u8> = b.commitments.iter().flat_map(|p| p.0).collect();
                let commitments = Commitments::from_bytes(&points).map_err(|_| refused())?;
                let share = shares.next().filter(|s| commitments.hold(node, s));
                let share = share.filter(|_| commitments.threshold() == usize::from(threshold));
                (share.ok_or_else(refused)?, Some(commitments))
            }
            _ => return Err(refused()),
        };
        let scalar = secrets.store_key.seal_scalar(Table::Bridges, &b.member.0, &scalar.to_bytes());
        Ok(SealedBridge { member: b.member, scalar, commitments })
    });
    sealed.collect()
}

/// What the shares of an update belong to: its roster, and each member whose bridge comes shared.
pub(crate) fn shared_documents(update: &UpdateRoster) -> Vec<&[u8]> {
    let shared = update.bridges.iter().filter(|b| b.scalar.is_none());
    shared.map(|b| b.member.0.as_slice()).collect()
}

/// How a roster stands to the stored one.
pub(crate) enum Follows {
    /// A higher version, or the first.
    Newer,
    /// The same text again.
    Same,
    /// An older one.
    Older(RosterRefusal),
}

/// How the roster stands to the stored one.
pub(crate) fn follows(members: &Members, stored: &dyn Snapshot) -> Result<Follows, GateError> {
    let Some(before) = stored.roster()? else { return Ok(Follows::Newer) };
    if before.payload == members.signed().payload {
        return Ok(Follows::Same);
    }
    let version = before.peek().map_err(RosterRefusal::Signed)?.version;
    let found = members.roster().version;
    let older = RosterRefusal::NotNewer { stored: version, found };
    Ok(if found > version { Follows::Newer } else { Follows::Older(older) })
}
