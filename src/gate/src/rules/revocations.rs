//! Revocations: signed by the owner; they end every grant made up to their own time, at once.

use sealdex_crypto::{PrincipalId, PublicIdentity};
use sealdex_wire::{ProblemType, Signed, SignedError, consent::Revocation};

use super::{is_future, is_name, is_section, mandates::mandate_for};
use crate::{
    error::{GateError, signed_problem},
    store::{ReadConsents as _, Transaction, WriteConsents as _},
};

/// Why a revocation was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RevocationRefusal {
    /// The owner has published no profile and is not the caller.
    #[error("the gate knows no profile of owner {0}, so it cannot check the revocation")]
    UnknownOwner(PrincipalId),
    /// Not signed by the owner.
    #[error("a revocation was refused: {0}")]
    Signed(SignedError),
    /// For another domain or owner.
    #[error("a revocation of {0} is for another domain or owner")]
    OtherDomain(PrincipalId),
    /// The section is no name.
    #[error("a revocation of {0} has an empty or overlong section")]
    Name(PrincipalId),
    /// Made in the future.
    #[error("a revocation of {0} was made in the future: set the clock of whoever made it")]
    Future(PrincipalId),
    /// Signed by someone the owner gave no mandate.
    #[error("{carer} may not revoke for {owner}: no mandate of the owner covers it")]
    NoMandate {
        /// Whose.
        owner: PrincipalId,
        /// Who signed.
        carer: PrincipalId,
    },
    /// A newer grant would stay in force.
    #[error(
        "a revocation of {owner} made at {revoked_at} would leave a grant made at {granted_at} in force: sign a newer revocation"
    )]
    GrantIsNewer {
        /// Whose.
        owner: PrincipalId,
        /// Unix milliseconds.
        revoked_at: u64,
        /// Unix milliseconds.
        granted_at: u64,
    },
}

impl RevocationRefusal {
    pub(crate) fn problem_type(&self) -> ProblemType {
        match self {
            Self::UnknownOwner(_) => ProblemType::NotFound,
            Self::GrantIsNewer { .. } => ProblemType::Conflict,
            Self::NoMandate { .. } => ProblemType::Forbidden,
            Self::Signed(e) => signed_problem(e),
            _ => ProblemType::BadDocument,
        }
    }
}

/// A revocation whose signature and content are in order.
pub(crate) struct Verified {
    pub(crate) revocation: Revocation,
    pub(crate) signed: Signed<Revocation>,
}

impl Verified {
    /// Whether it concerns what `owner` granted to `reader` of `section`.
    pub(crate) fn covers(&self, owner: PrincipalId, reader: PrincipalId, section: &str) -> bool {
        let r = &self.revocation;
        r.owner == owner && r.reader == reader && r.section.as_deref().is_none_or(|s| s == section)
    }
}

/// Checks one revocation of `owner` by its signer's keys: the owner's, or those of a carer, whose mandate is for
/// [`apply`] to find. `now` in Unix milliseconds.
pub(crate) fn verify(
    signed: Signed<Revocation>,
    owner: PrincipalId,
    signer: &PublicIdentity,
    domain: &str,
    now: u64,
) -> Result<Verified, RevocationRefusal> {
    let revocation = signed.verify(signer).map_err(RevocationRefusal::Signed)?;
    if revocation.domain != domain || revocation.owner != owner {
        return Err(RevocationRefusal::OtherDomain(owner));
    }
    if revocation.section.as_deref().is_some_and(|s| !is_section(s))
        || revocation.purpose.as_deref().is_some_and(|p| !is_name(p))
    {
        return Err(RevocationRefusal::Name(owner));
    }
    if is_future(revocation.revoked_at, now) {
        return Err(RevocationRefusal::Future(owner));
    }
    Ok(Verified { revocation, signed })
}

/// Ends the grants it covers and leaves a tombstone; how many it ended. Refused when a covered grant is
/// newer than it: a replayed revocation must not end what was granted later, and an owner whose clock
/// is behind must learn that nothing was revoked. One that comes `late`, because another node of
/// the gate took it, ends what it covers and leaves the newer grant.
pub(crate) fn apply(verified: &Verified, now: u64, late: bool, txn: &mut dyn Transaction) -> Result<u64, GateError> {
    let Revocation { owner, reader, section, purpose, revoked_at, .. } = &verified.revocation;
    let carer = verified.signed.signer;
    if carer != *owner && mandate_for(*owner, carer, section.as_deref(), now / 1000, txn)?.is_none() {
        return Err(RevocationRefusal::NoMandate { owner: *owner, carer }.into());
    }
    let mut ended = 0;
    for (key, row) in txn.grants_of(*owner, section.as_deref(), usize::MAX)? {
        // What a carer passed on rests on what it may read itself.
        let concerned = key.reader == *reader || row.by == *reader;
        if !concerned || purpose.as_ref().is_some_and(|p| *p != row.purpose) {
            continue;
        }
        if row.granted_at > *revoked_at && late {
            continue;
        }
        if row.granted_at > *revoked_at {
            let (owner, revoked_at, granted_at) = (*owner, *revoked_at, row.granted_at);
            return Err(RevocationRefusal::GrantIsNewer { owner, revoked_at, granted_at }.into());
        }
        txn.remove_grant(&key)?;
        ended += 1;
    }
    let before = txn.tombstone(*owner, *reader, section.as_deref(), purpose.as_deref())?;
    if before.is_none_or(|at| at < *revoked_at) {
        txn.put_tombstone(&verified.revocation, &verified.signed)?;
    }
    Ok(ended)
}
