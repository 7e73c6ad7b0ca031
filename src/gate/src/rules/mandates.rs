//! Mandates: an owner lets a member act for it.

use sealdex_crypto::{PrincipalId, PublicIdentity};
use sealdex_wire::{ProblemType, Signed, SignedError, care::Mandate, limits};

use super::{is_future, is_section};
use crate::{
    error::{GateError, signed_problem},
    members::Members,
    store::{ReadConsents as _, Snapshot, StoreError, Table},
};

/// Why a mandate was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum MandateRefusal {
    /// Not signed by the owner.
    #[error("a mandate was refused: {0}")]
    Signed(SignedError),
    /// For another domain or owner.
    #[error("a mandate of {0} is for another domain or owner")]
    Other(PrincipalId),
    /// Sections that are none, or too many.
    #[error("a mandate of {0} has unusable sections")]
    Sections(PrincipalId),
    /// The carer is no active member.
    #[error("a mandate of {owner} is for {carer}, who is no active member of this domain")]
    Carer {
        /// Whose.
        owner: PrincipalId,
        /// Who.
        carer: PrincipalId,
    },
    /// Made in the future, or not newer than the one in force.
    #[error("a mandate of {0} is not newer than the one in force, or was made in the future")]
    Time(PrincipalId),
}

impl MandateRefusal {
    pub(crate) fn problem_type(&self) -> ProblemType {
        match self {
            Self::Signed(e) => signed_problem(e),
            Self::Time(_) => ProblemType::Conflict,
            _ => ProblemType::BadDocument,
        }
    }
}

/// Checks signature and content; the mandate and its carer. `now` in Unix milliseconds.
pub(crate) fn verify(
    signed: &Signed<Mandate>,
    owner: &PublicIdentity,
    domain: &str,
    members: &Members,
    now: u64,
) -> Result<(Mandate, PrincipalId), MandateRefusal> {
    let mandate = signed.verify(owner).map_err(MandateRefusal::Signed)?;
    let id = owner.id();
    if mandate.domain != domain || mandate.owner != id {
        return Err(MandateRefusal::Other(id));
    }
    if mandate.sections.len() > limits::GRANT_PROVIDERS || !mandate.sections.iter().all(|s| is_section(s)) {
        return Err(MandateRefusal::Sections(id));
    }
    if is_future(mandate.made_at, now) {
        return Err(MandateRefusal::Time(id));
    }
    let carer = mandate.carer.identity().map(|c| c.id()).unwrap_or(id);
    // Ending a mandate must work whatever became of the carer.
    let known = members.active(carer).is_ok() || mandate.not_after <= now / 1000;
    if known && carer != id { Ok((mandate, carer)) } else { Err(MandateRefusal::Carer { owner: id, carer }) }
}

/// The mandate that lets a carer act on a section (or, for none, on all) at a time, Unix seconds.
pub(crate) fn mandate_for(
    owner: PrincipalId,
    carer: PrincipalId,
    section: Option<&str>,
    now: u64,
    stored: &dyn Snapshot,
) -> Result<Option<Mandate>, GateError> {
    let Some(signed) = stored.mandate(owner, carer)? else { return Ok(None) };
    let mandate = signed.peek().map_err(|_| StoreError::Row(Table::Mandates.name()))?;
    Ok(Some(mandate).filter(|m| m.covers(section, now)))
}
