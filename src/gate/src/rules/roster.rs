//! Rosters: from the authority alone, ever newer, each member with its bridge.

use sealdex_crypto::{BridgeScalar, PrincipalId};
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
    #[error("the bridge scalar of {0} is no scalar, or {0} is not in the roster")]
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

/// Checks the bridges of an update and seals them for the store.
pub(crate) fn seal_bridges(
    update: &UpdateRoster,
    members: &Members,
    secrets: &GateSecrets,
) -> Result<Vec<(PrincipalId, SealedScalar)>, RosterRefusal> {
    let sealed = update.bridges.iter().map(|b| {
        let scalar = BridgeScalar::from_bytes(&b.scalar.0).ok().filter(|_| members.get(b.member).is_some());
        let scalar = scalar.ok_or(RosterRefusal::Bridge(b.member))?;
        Ok((b.member, secrets.store_key.seal_scalar(Table::Bridges, &b.member.0, &scalar.to_bytes())))
    });
    sealed.collect()
}

/// Whether the roster may follow the stored one: a higher version, or the same text again.
pub(crate) fn follows(members: &Members, stored: &dyn Snapshot) -> Result<(), GateError> {
    let Some(before) = stored.roster()? else { return Ok(()) };
    if before.payload == members.signed().payload {
        return Ok(());
    }
    let version = before.peek().map_err(RosterRefusal::Signed)?.version;
    let found = members.roster().version;
    if found > version { Ok(()) } else { Err(RosterRefusal::NotNewer { stored: version, found }.into()) }
}
