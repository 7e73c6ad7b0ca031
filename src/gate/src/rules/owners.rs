//! Owner profiles: signed by the owner, ever newer, never losing a section key.

use std::collections::HashSet;

use sealdex_crypto::{Point, PrincipalId};
use sealdex_wire::{ProblemType, Signed, SignedError, consent::OwnerProfile, roster::Role};

use super::is_section;
use crate::{
    error::{GateError, signed_problem},
    members::Members,
    store::{ReadConsents as _, Snapshot},
};

/// Why an owner profile was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum OwnerRefusal {
    /// The owner's keys are no keys.
    #[error("an owner profile carries keys that are no points of the curve")]
    Keys,
    /// Not signed by the owner.
    #[error("an owner profile was refused: {0}")]
    Signed(SignedError),
    /// For another domain.
    #[error("the profile of {0} is for another domain")]
    OtherDomain(PrincipalId),
    /// A section key that is no point, or a name that is none.
    #[error("the profile of {owner} has an unusable section name or key: {section:?}")]
    Section {
        /// Whose.
        owner: PrincipalId,
        /// Section.
        section: String,
    },
    /// Two keys for one section and epoch.
    #[error("the profile of {owner} lists section {section:?}, epoch {epoch}, twice")]
    Twice {
        /// Whose.
        owner: PrincipalId,
        /// Section.
        section: String,
        /// Epoch.
        epoch: u32,
    },
    /// A writer that is no provider of the roster.
    #[error("the profile of {owner} lets {writer} write, which is no provider of this domain")]
    Writer {
        /// Whose.
        owner: PrincipalId,
        /// Who.
        writer: PrincipalId,
    },
    /// Not newer than the one stored.
    #[error("profile version {found} of {owner} is not above version {stored}, which is stored")]
    NotNewer {
        /// Whose.
        owner: PrincipalId,
        /// Stored.
        stored: u64,
        /// Sent.
        found: u64,
    },
    /// A stored section key is missing or changed.
    #[error(
        "the new profile of {owner} drops or changes the key of section {section:?}, epoch {epoch}: keys stay, new epochs are added"
    )]
    KeyLost {
        /// Whose.
        owner: PrincipalId,
        /// Section.
        section: String,
        /// Epoch.
        epoch: u32,
    },
}

impl OwnerRefusal {
    pub(crate) fn problem_type(&self) -> ProblemType {
        match self {
            Self::NotNewer { .. } | Self::KeyLost { .. } => ProblemType::Conflict,
            Self::Signed(e) => signed_problem(e),
            _ => ProblemType::BadDocument,
        }
    }
}

/// A profile whose signature and content are in order.
pub(crate) struct Verified {
    pub(crate) owner: PrincipalId,
    pub(crate) profile: OwnerProfile,
    pub(crate) signed: Signed<OwnerProfile>,
}

/// Checks signature and content. One signature (46 µs), one point a section key (5 µs).
pub(crate) fn verify(signed: Signed<OwnerProfile>, domain: &str, members: &Members) -> Result<Verified, OwnerRefusal> {
    let claimed = signed.peek().map_err(OwnerRefusal::Signed)?;
    let keys = claimed.owner.identity().map_err(|_| OwnerRefusal::Keys)?;
    let profile = signed.verify(&keys).map_err(OwnerRefusal::Signed)?;
    let owner = keys.id();
    if profile.domain != domain {
        return Err(OwnerRefusal::OtherDomain(owner));
    }
    let mut seen = HashSet::new();
    for key in &profile.sections {
        let section = || key.section.clone();
        if !is_section(&key.section) || Point::from_bytes(&key.key.0).is_err() {
            return Err(OwnerRefusal::Section { owner, section: section() });
        }
        if !seen.insert((key.section.as_str(), key.epoch)) {
            return Err(OwnerRefusal::Twice { owner, section: section(), epoch: key.epoch });
        }
    }
    let stranger = profile.writers.iter().find(|w| members.get(**w).is_none_or(|m| m.role != Role::Provider));
    match stranger {
        Some(&writer) => Err(OwnerRefusal::Writer { owner, writer }),
        None => Ok(Verified { owner, profile, signed }),
    }
}

/// Whether the profile may follow the stored one; `false` when it is the stored one.
pub(crate) fn follows(new: &Verified, stored: &dyn Snapshot) -> Result<bool, GateError> {
    let Some(before) = stored.profile(new.owner)? else { return Ok(true) };
    if before.payload == new.signed.payload {
        return Ok(false);
    }
    let old = before.peek().map_err(OwnerRefusal::Signed)?;
    if new.profile.version <= old.version {
        return Err(OwnerRefusal::NotNewer { owner: new.owner, stored: old.version, found: new.profile.version }.into());
    }
    let kept: HashSet<_> = new.profile.sections.iter().map(|k| (k.section.as_str(), k.epoch, k.key)).collect();
    match old.sections.iter().find(|k| !kept.contains(&(k.section.as_str(), k.epoch, k.key))) {
        None => Ok(true),
        Some(lost) => {
            Err(OwnerRefusal::KeyLost { owner: new.owner, section: lost.section.clone(), epoch: lost.epoch }.into())
        }
    }
}
