//! Grants: signed by the owner, for a key it published, with the scalar it committed to.

use sealdex_crypto::{Point, PrincipalId, PublicIdentity, RekeyScalar, Scalar, sharing::Commitments};
use sealdex_wire::{
    ProblemType, Signed, SignedError,
    consent::{ANY_PURPOSE, GrantSubmission, GrantTerms, OwnerProfile},
    limits,
    roster::Role,
};

use super::{is_future, is_name, is_section};
use crate::{
    error::{GateError, signed_problem},
    groups::Groups,
    members::Members,
    rules::mandates::mandate_for,
    secrets::{SealedScalar, StoreKey},
    store::{GrantKey, GrantRow, NOBODY, ReadConsents as _, ReadErasures as _, Snapshot, StoreError, Table},
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
    /// Shares that do not fit the gate's nodes.
    #[error("a grant of {0} is not made for the nodes that this gate has now: fetch the roster and grant again")]
    Sharing(PrincipalId),
    /// The reader is no active member and no group.
    #[error("a grant of {owner} names reader {reader}, which is no active member of this domain")]
    Reader {
        /// Whose.
        owner: PrincipalId,
        /// Who.
        reader: PrincipalId,
    },
    /// Not for the group's key of now, or a group's key where there is no group.
    #[error("a grant of {owner} is not for the key that group {reader} has now: fetch its charter and grant again")]
    GroupKey {
        /// Whose.
        owner: PrincipalId,
        /// Which group.
        reader: PrincipalId,
    },
    /// It names a provider, or someone to wake it, that the domain does not have, or too many.
    #[error("a grant of {owner} has unusable {what}")]
    Limits {
        /// Whose.
        owner: PrincipalId,
        /// What.
        what: &'static str,
    },
    /// More grants of one section to one reader than are kept.
    #[error(
        "{owner} has granted {reader} this section {} times already, for other purposes or providers",
        limits::GRANT_SLOTS
    )]
    Slots {
        /// Whose.
        owner: PrincipalId,
        /// To whom.
        reader: PrincipalId,
    },
    /// Passed on by someone who may not.
    #[error(
        "{carer} may not grant section {section:?} of {owner}: no mandate of the owner covers it, or it may not read that itself"
    )]
    NoMandate {
        /// Whose.
        owner: PrincipalId,
        /// Who signed.
        carer: PrincipalId,
        /// Section.
        section: String,
    },
    /// It ends before it begins.
    #[error("a grant of {0} ends before it begins")]
    Period(PrincipalId),
    /// Made in the future.
    #[error("a grant of {0} was made in the future: set the clock of whoever made it")]
    Future(PrincipalId),
    /// Of what its owner has ordered to be erased.
    #[error(
        "section {section:?} of owner {owner}, epoch {epoch}, was ordered to be erased: it is granted to nobody any more"
    )]
    Erased {
        /// Whose.
        owner: PrincipalId,
        /// Section.
        section: String,
        /// Epoch.
        epoch: u32,
    },
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
            Self::Revoked { .. }
            | Self::Erased { .. }
            | Self::NotNewer { .. }
            | Self::GroupKey { .. }
            | Self::Sharing(_) => ProblemType::Conflict,
            Self::NoMandate { .. } => ProblemType::Forbidden,
            Self::Signed(e) => signed_problem(e),
            _ => ProblemType::BadDocument,
        }
    }
}

/// A grant that holds by itself; whether it fits the store's state is for [`settle`] to say.
pub(crate) struct Verified {
    pub(crate) key: GrantKey,
    pub(crate) row: GrantRow,
    pub(crate) signed: Signed<GrantTerms>,
    /// What this node's share was checked against, if the gate has several nodes.
    commitments: Option<Commitments>,
    passed_on: Option<PassedOn>,
}

/// What is to be stored of a grant.
pub(crate) struct Settled {
    pub(crate) row: GrantRow,
    pub(crate) commitments: Option<Commitments>,
}

/// What comes in place of a scalar.
enum Sent {
    /// It, or this node's share of it, sealed for its row.
    Scalar(SealedScalar, Option<Commitments>),
    /// What a carer sent to make it from its own.
    PassedOn(PassedOn),
}

/// What a carer sends in place of the scalar.
struct PassedOn {
    carer: PrincipalId,
    /// `d₁·d₂⁻¹`: from the carer's own scalar to the reader's.
    factor: Scalar,
    /// `R`.
    r: Point,
}

/// What grants are checked against.
pub(crate) struct Against<'a> {
    pub(crate) domain: &'a str,
    pub(crate) members: &'a Members,
    pub(crate) groups: &'a Groups,
    /// The number of this node, if the gate has several, and how many it takes.
    pub(crate) node: Option<(u16, u16)>,
    pub(crate) store_key: &'a StoreKey,
    /// Unix milliseconds.
    pub(crate) now: u64,
}

impl Against<'_> {
    /// Checks one grant by its owner's profile, and this node's share that came with it if the gate has several. One
    /// signature, one base multiplication, three points: about 80 µs.
    pub(crate) fn verify(
        &self,
        submission: &GrantSubmission,
        share: Option<&Scalar>,
        profile: &OwnerProfile,
    ) -> Result<Verified, GrantRefusal> {
        let signed = &submission.grant;
        let keys = profile.owner.identity().map_err(|_| GrantRefusal::Point(signed.signer))?;
        let owner = keys.id();
        let terms = signed.verify(&self.signer(signed, &keys)?).map_err(GrantRefusal::Signed)?;
        if terms.domain != self.domain || terms.owner != owner || terms.by != passer(signed, owner) {
            return Err(GrantRefusal::OtherDomain(owner));
        }
        if !is_section(&terms.section) || !is_name(&terms.purpose) {
            return Err(GrantRefusal::Name(owner));
        }
        self.check_times(&terms)?;
        let reader = self.check_points(&terms, profile)?;
        self.check_limits(&terms)?;
        let key = GrantKey::of(&terms, reader);
        let (rk, commitments, passed_on) = match self.scalar(submission, share, &terms, &key)? {
            Sent::Scalar(rk, commitments) => (rk, commitments, None),
            Sent::PassedOn(passed) => (SealedScalar([0; 48]), None, Some(passed)),
        };
        let row = GrantRow {
            a: terms.a,
            x: terms.x,
            not_before: terms.not_before,
            not_after: terms.not_after,
            granted_at: terms.granted_at,
            generation: terms.group_key.map_or(0, |k| k.generation),
            joined_by: terms.joined_by.unwrap_or(u64::MAX),
            emergency: terms.emergency.is_some(),
            by: terms.by.unwrap_or(NOBODY),
            providers: terms.providers,
            rk,
            purpose: terms.purpose,
        };
        Ok(Verified { key, row, signed: signed.clone(), commitments, passed_on })
    }

    /// Whose signature it is to bear: the owner's, or that of an active member who says it is the owner's carer.
    fn signer(&self, signed: &Signed<GrantTerms>, owner: &PublicIdentity) -> Result<PublicIdentity, GrantRefusal> {
        if signed.signer == owner.id() {
            return Ok(*owner);
        }
        let carer = self.members.active(signed.signer).map(|m| m.keys);
        carer.map_err(|_| {
            let (expected, actual) = (owner.id(), signed.signer);
            GrantRefusal::Signed(SignedError::WrongSigner { expected, actual })
        })
    }

    /// The scalar, sealed for its row, after it was checked against `R`, or this node's share, after it was checked
    /// against what the owner committed to; or what a carer sent to make it from.
    fn scalar(
        &self,
        submission: &GrantSubmission,
        share: Option<&Scalar>,
        terms: &GrantTerms,
        key: &GrantKey,
    ) -> Result<Sent, GrantRefusal> {
        let refused = || GrantRefusal::Scalar(terms.owner);
        let sent = submission.rk.as_ref().map(|rk| Scalar::from_bytes(&rk.0).map_err(|_| refused())).transpose()?;
        let seal = |scalar: &Scalar| self.store_key.seal_scalar(Table::Grants, &key.to_bytes(), &scalar.to_bytes());
        if let Some(carer) = terms.by {
            let r = Point::from_bytes(&terms.r.0).map_err(|_| GrantRefusal::Point(terms.owner))?;
            let factor = sent.filter(|_| terms.commitments.is_empty()).ok_or_else(refused)?;
            return Ok(Sent::PassedOn(PassedOn { carer, factor, r }));
        }
        let Some((number, threshold)) = self.node else {
            if !terms.commitments.is_empty() || share.is_some() {
                return Err(GrantRefusal::Sharing(terms.owner));
            }
            let rk = sent.filter(|rk| rk.base_mul().to_bytes() == terms.r.0).ok_or_else(refused)?;
            return Ok(Sent::Scalar(seal(&rk), None));
        };
        // A scalar that came whole has been seen by whoever handed it on.
        if sent.is_some() || terms.commitments.len() + 1 != usize::from(threshold) {
            return Err(GrantRefusal::Sharing(terms.owner));
        }
        let points: Vec<u8> = [&terms.r].into_iter().chain(&terms.commitments).flat_map(|p| p.0).collect();
        let commitments = Commitments::from_bytes(&points).map_err(|_| GrantRefusal::Point(terms.owner))?;
        let share = share.filter(|s| commitments.hold(number, s)).ok_or_else(refused)?;
        Ok(Sent::Scalar(seal(share), Some(commitments)))
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
        let group = self.groups.get(reader).map(|g| (g.charter.generation, g.charter.key));
        if group != terms.group_key.map(|k| (k.generation, k.key)) {
            return Err(GrantRefusal::GroupKey { owner, reader });
        }
        let known = group.is_some() || reader == self.members.everyone() || self.members.active(reader).is_ok();
        if known { Ok(reader) } else { Err(GrantRefusal::Reader { owner, reader }) }
    }

    fn check_limits(&self, terms: &GrantTerms) -> Result<(), GrantRefusal> {
        let refused = |what| Err(GrantRefusal::Limits { owner: terms.owner, what });
        let is_provider = |p: &PrincipalId| self.members.get(*p).is_some_and(|m| m.role == Role::Provider);
        if terms.providers.len() > limits::GRANT_PROVIDERS || !terms.providers.iter().all(is_provider) {
            return refused("providers");
        }
        let Some(emergency) = &terms.emergency else { return Ok(()) };
        let may_wake = |w: &PrincipalId| self.members.get(*w).is_some() || self.groups.get(*w).is_some();
        if !(1..=limits::WAKERS).contains(&emergency.wakers.len()) || !emergency.wakers.iter().all(may_wake) {
            return refused("people to wake it");
        }
        if !(1..=limits::EMERGENCY_MINUTES).contains(&emergency.minutes) {
            return refused("time to be awake");
        }
        Ok(())
    }
}

fn passer(signed: &Signed<GrantTerms>, owner: PrincipalId) -> Option<PrincipalId> {
    (signed.signer != owner).then_some(signed.signer)
}

/// Whether the grant may be stored now: made after every revocation that covers it and after the grant it replaces;
/// and if a carer passes it on, with the owner's mandate and from what the carer may read itself. What to store;
/// nothing when it is the stored one.
pub(crate) fn settle(
    new: &Verified,
    stored: &dyn Snapshot,
    store_key: &StoreKey,
    now: u64,
) -> Result<Option<Settled>, GateError> {
    let GrantKey { owner, section, epoch, reader, .. } = &new.key;
    let granted_at = new.row.granted_at;
    if stored.erased(*owner, section)?.is_some_and(|through| *epoch <= through) {
        return Err(GrantRefusal::Erased { owner: *owner, section: section.clone(), epoch: *epoch }.into());
    }
    let (section_or_all, purpose) = ([None, Some(section.as_str())], Some(new.row.purpose.as_str()));
    for (of, purpose) in section_or_all.into_iter().flat_map(|s| [(s, None), (s, purpose)]) {
        if let Some(revoked_at) = stored.tombstone(*owner, *reader, of, purpose)?.filter(|at| granted_at <= *at) {
            return Err(GrantRefusal::Revoked { owner: *owner, granted_at, revoked_at }.into());
        }
    }
    match stored.grant(&new.key)? {
        Some(before) => {
            if stored.grant_terms(&new.key)?.is_some_and(|terms| terms.payload == new.signed.payload) {
                return Ok(None);
            }
            if granted_at <= before.granted_at {
                let (owner, stored) = (*owner, before.granted_at);
                return Err(GrantRefusal::NotNewer { owner, granted_at, stored }.into());
            }
        }
        None if stored.grants(*owner, section, *epoch, *reader)?.len() >= limits::GRANT_SLOTS => {
            return Err(GrantRefusal::Slots { owner: *owner, reader: *reader }.into());
        }
        None => {}
    }
    let Some(passed) = &new.passed_on else {
        return Ok(Some(Settled { row: new.row.clone(), commitments: new.commitments.clone() }));
    };
    let (rk, commitments) = pass_on(new, passed, stored, store_key, now)?;
    Ok(Some(Settled { row: GrantRow { rk, ..new.row.clone() }, commitments }))
}

/// `rk₂ = rk₁·factor`, from one of the carer's own live grants, for which the carer committed to it: `rk₂·G = R`. A
/// share times the factor is a share of that, and so is what it is checked against.
fn pass_on(
    new: &Verified,
    passed: &PassedOn,
    stored: &dyn Snapshot,
    store_key: &StoreKey,
    now: u64,
) -> Result<(SealedScalar, Option<Commitments>), GateError> {
    let GrantKey { owner, section, epoch, .. } = &new.key;
    let carer = passed.carer;
    let refused = || GrantRefusal::NoMandate { owner: *owner, carer, section: section.clone() };
    let mandate = mandate_for(*owner, carer, Some(section), now / 1000, stored)?.ok_or_else(refused)?;
    if new.row.not_after > mandate.not_after {
        return Err(refused().into());
    }
    for (key, row) in stored.grants(*owner, section, *epoch, carer)? {
        let live = !row.emergency && (row.not_before..row.not_after).contains(&(now / 1000));
        // Not more than the carer has: not longer, for no other purpose, and not what other providers pushed.
        let within =
            new.row.not_after <= row.not_after && (row.providers.is_empty() || row.providers == new.row.providers);
        let same_purpose = row.purpose == new.row.purpose || row.purpose == ANY_PURPOSE;
        let not_before = new.row.not_before >= row.not_before;
        if !live || !within || !same_purpose || !not_before || new.row.emergency {
            continue;
        }
        let bytes = store_key.open_scalar(Table::Grants, &key.to_bytes(), &row.rk)?;
        let rk = RekeyScalar::from_bytes(&bytes).map_err(|_| StoreError::Row(Table::Grants.name()))?;
        let rotated = rk.rotate(&passed.factor);
        let commitments = stored.grant_commitments(&key)?.map(|c| c.scale(&passed.factor));
        if commitments.as_ref().map_or_else(|| rotated.public(), Commitments::secret) == passed.r {
            let sealed = store_key.seal_scalar(Table::Grants, &new.key.to_bytes(), &rotated.to_bytes());
            return Ok((sealed, commitments));
        }
    }
    Err(refused().into())
}
