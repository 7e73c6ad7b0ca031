//! Grants: signed by the owner, for a key it published, with the scalar it committed to.

use sealdex_crypto::{Point, PrincipalId, RekeyScalar};
use sealdex_wire::{
    ProblemType, Signed, SignedError,
    consent::{GrantSubmission, GrantTerms, OwnerProfile},
};

use super::{is_future, is_name, is_section};
use crate::{
    error::{GateError, signed_problem},
    members::Members,
    secrets::StoreKey,
    store::{GrantKey, GrantRow, ReadConsents as _, Snapshot, Table},
};

/// Why a grant was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum GrantRefusal {
    /// The owner has published no profile.
    #[error("the gate knows no profile of owner {0}: publish it first")]
    UnknownOwner(PrincipalId),
    /// Not signed by the owner.
    #[error("a grant was refused: {0}")]
    Signed(SignedError),
    /// For another domain.
    #[error("a grant of {0} is for another domain")]
    OtherDomain(PrincipalId),
    /// Section or purpose are no names.
    #[error("a grant of {0} has an empty or overlong section or purpose")]
    Name(PrincipalId),
    /// The reader's keys, `X` or `R` are no points.
    #[error("a grant of {0} carries a point that is none")]
    Point(PrincipalId),
    /// `A` is not the owner's key for this section and epoch.
    #[error("a grant of {owner} is not for the key it published for section {section:?}, epoch {epoch}")]
    SectionKey {
        /// Whose.
        owner: PrincipalId,
        /// Section.
        section: String,
        /// Epoch.
        epoch: u32,
    },
    /// `rk·G ≠ R`.
    #[error("the scalar sent with a grant of {0} is not the one it signed")]
    Scalar(PrincipalId),
    /// The reader is no active member and no group.
    #[error("a grant of {owner} names reader {reader}, which is no active member of this domain")]
    Reader {
        /// Whose.
        owner: PrincipalId,
        /// Who.
        reader: PrincipalId,
    },
    /// It ends before it begins.
    #[error("a grant of {0} ends before it begins")]
    Period(PrincipalId),
    /// Made in the future.
    #[error("a grant of {0} was made in the future: set the clock of whoever made it")]
    Future(PrincipalId),
    /// Revoked since.
    #[error("a grant of {owner} was made at {granted_at} but revoked at {revoked_at}: the owner must sign a new one")]
    Revoked {
        /// Whose.
        owner: PrincipalId,
        /// Unix milliseconds.
        granted_at: u64,
        /// Unix milliseconds.
        revoked_at: u64,
    },
    /// Another grant, as new or newer, is in force.
    #[error("a grant of {owner} made at {granted_at} does not replace the one in force, made at {stored}")]
    NotNewer {
        /// Whose.
        owner: PrincipalId,
        /// Unix milliseconds.
        granted_at: u64,
        /// Unix milliseconds.
        stored: u64,
    },
}

impl GrantRefusal {
    pub(crate) fn problem_type(&self) -> ProblemType {
        match self {
            Self::UnknownOwner(_) => ProblemType::NotFound,
            Self::Revoked { .. } | Self::NotNewer { .. } => ProblemType::Conflict,
            Self::Signed(e) => signed_problem(e),
            _ => ProblemType::BadDocument,
        }
    }
}

/// A grant that holds by itself; whether it fits the store's state is for [`fits`] to say.
pub(crate) struct Verified {
    pub(crate) key: GrantKey,
    pub(crate) row: GrantRow,
    pub(crate) signed: Signed<GrantTerms>,
}

/// What grants are checked against.
pub(crate) struct Against<'a> {
    pub(crate) domain: &'a str,
    pub(crate) members: &'a Members,
    pub(crate) store_key: &'a StoreKey,
    /// Unix milliseconds.
    pub(crate) now: u64,
}

impl Against<'_> {
    /// Checks one grant by its owner's profile. One signature, one base multiplication, three points:
    /// about 80 µs.
    pub(crate) fn verify(
        &self,
        submission: &GrantSubmission,
        profile: &OwnerProfile,
    ) -> Result<Verified, GrantRefusal> {
        let signed = &submission.grant;
        let keys = profile.owner.identity().map_err(|_| GrantRefusal::Point(signed.signer))?;
        let owner = keys.id();
        let terms = signed.verify(&keys).map_err(GrantRefusal::Signed)?;
        if terms.domain != self.domain || terms.owner != owner {
            return Err(GrantRefusal::OtherDomain(owner));
        }
        if !is_section(&terms.section) || !is_name(&terms.purpose) {
            return Err(GrantRefusal::Name(owner));
        }
        self.check_times(&terms)?;
        let reader = self.check_points(&terms, profile)?;
        let rk = RekeyScalar::from_bytes(&submission.rk.0).map_err(|_| GrantRefusal::Scalar(owner))?;
        if rk.public().to_bytes() != terms.r.0 {
            return Err(GrantRefusal::Scalar(owner));
        }
        let key = GrantKey::new(owner, &terms.section, terms.epoch, reader);
        let row = GrantRow {
            a: terms.a,
            x: terms.x,
            not_before: terms.not_before,
            not_after: terms.not_after,
            granted_at: terms.granted_at,
            rk: self.store_key.seal_scalar(Table::Grants, &key.to_bytes(), &rk.to_bytes()),
            purpose: terms.purpose,
        };
        Ok(Verified { key, row, signed: signed.clone() })
    }

    fn check_times(&self, terms: &GrantTerms) -> Result<(), GrantRefusal> {
        if terms.not_before >= terms.not_after {
            Err(GrantRefusal::Period(terms.owner))
        } else if is_future(terms.granted_at, self.now) {
            Err(GrantRefusal::Future(terms.owner))
        } else {
            Ok(())
        }
    }

    /// The reader's id, once every point is a point and stands where it should.
    fn check_points(&self, terms: &GrantTerms, profile: &OwnerProfile) -> Result<PrincipalId, GrantRefusal> {
        let owner = terms.owner;
        let reader = terms.reader.identity().map_err(|_| GrantRefusal::Point(owner))?.id();
        for point in [&terms.x, &terms.r] {
            Point::from_bytes(&point.0).map_err(|_| GrantRefusal::Point(owner))?;
        }
        // The profile's keys were decoded when it was accepted.
        if !profile.sections.iter().any(|k| k.section == terms.section && k.epoch == terms.epoch && k.key == terms.a) {
            return Err(GrantRefusal::SectionKey { owner, section: terms.section.clone(), epoch: terms.epoch });
        }
        if self.members.is_reader(reader) { Ok(reader) } else { Err(GrantRefusal::Reader { owner, reader }) }
    }
}

/// Whether the grant may be stored now: made after every revocation that covers it and after the
/// grant it replaces. `false` when it is the stored one.
pub(crate) fn fits(new: &Verified, stored: &dyn Snapshot) -> Result<bool, GateError> {
    let GrantKey { owner, section, epoch, reader } = &new.key;
    let granted_at = new.row.granted_at;
    for section in [None, Some(section.as_str())] {
        if let Some(revoked_at) = stored.tombstone(*owner, *reader, section)?.filter(|at| granted_at <= *at) {
            return Err(GrantRefusal::Revoked { owner: *owner, granted_at, revoked_at }.into());
        }
    }
    let Some(before) = stored.grant(*owner, section, *epoch, *reader)? else { return Ok(true) };
    if stored.grant_terms(&new.key)?.is_some_and(|terms| terms.payload == new.signed.payload) {
        return Ok(false);
    }
    if granted_at > before.granted_at {
        Ok(true)
    } else {
        Err(GrantRefusal::NotNewer { owner: *owner, granted_at, stored: before.granted_at }.into())
    }
}
