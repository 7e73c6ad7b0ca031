//! Owner profiles: signed by the owner, ever newer, never losing a section key.

use std::collections::HashSet;

use rayon::prelude::*;
use sealdex_crypto::{Claim, PrincipalId, decode_many, verify_many};
use sealdex_wire::{
    ProblemType, Signed, SignedError,
    consent::OwnerProfile,
    roster::{PublicKeys, Role},
};

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

/// Profiles whose signatures are verified together.
const TOGETHER: usize = 256;

/// Checks signatures and contents, of all or none; what is refused is the first that is not in order. Eight at a time where
/// the processor can: 9 µs a signature and its keys, 1 µs a section key.
pub(crate) fn verify_all(
    signed: Vec<Signed<OwnerProfile>>,
    domain: &str,
    members: &Members,
) -> Result<Vec<Verified>, OwnerRefusal> {
    let chunk = signed.len().div_ceil(rayon::current_num_threads()).clamp(8, TOGETHER).next_multiple_of(8);
    let verified: Vec<_> =
        signed.into_par_iter().chunks(chunk).flat_map_iter(|some| verify_some(some, domain, members)).collect();
    verified.into_iter().collect()
}

fn verify_some(
    signed: Vec<Signed<OwnerProfile>>,
    domain: &str,
    members: &Members,
) -> Vec<Result<Verified, OwnerRefusal>> {
    let profiles: Vec<_> = signed.iter().map(|s| s.peek().map_err(OwnerRefusal::Signed)).collect();
    let mut keys = PublicKeys::identities(profiles.iter().flatten().map(|p| &p.owner)).into_iter();
    let claimed: Vec<Result<(OwnerProfile, Claim), OwnerRefusal>> = profiles
        .into_iter()
        .zip(&signed)
        .map(|(profile, signed)| {
            let profile = profile?;
            let keys = keys.next().and_then(Result::ok).ok_or(OwnerRefusal::Keys)?;
            Ok((profile, signed.claim(&keys).map_err(OwnerRefusal::Signed)?))
        })
        .collect();
    let claims: Vec<Claim> = claimed.iter().flatten().map(|(_, claim)| *claim).collect();
    let holds = verify_many(&claims, &mut rand::rng());
    let signed_keys = claimed.iter().flatten().zip(&holds).filter(|(_, holds)| **holds);
    let section_keys = signed_keys.flat_map(|((profile, _), _)| &profile.sections);
    let mut points = decode_many(&section_keys.map(|key| key.key.0).collect::<Vec<_>>()).into_iter();
    let mut holds = holds.into_iter();
    claimed
        .into_iter()
        .zip(signed)
        .map(|(claimed, signed)| {
            let (profile, _) = claimed?;
            if holds.next() != Some(true) {
                return Err(OwnerRefusal::Signed(SignedError::BadSignature(signed.signer)));
            }
            let points: Vec<bool> = points.by_ref().take(profile.sections.len()).map(|p| p.is_ok()).collect();
            check(&profile, &points, signed.signer, domain, members)?;
            Ok(Verified { owner: signed.signer, profile, signed })
        })
        .collect()
}

/// What is in a profile that its owner has signed; `points` says which of its section keys are points.
fn check(
    profile: &OwnerProfile,
    points: &[bool],
    owner: PrincipalId,
    domain: &str,
    members: &Members,
) -> Result<(), OwnerRefusal> {
    if profile.domain != domain {
        return Err(OwnerRefusal::OtherDomain(owner));
    }
    let mut seen = HashSet::new();
    for (key, point) in profile.sections.iter().zip(points) {
        let section = || key.section.clone();
        if !is_section(&key.section) || !point {
            return Err(OwnerRefusal::Section { owner, section: section() });
        }
        if !seen.insert((key.section.as_str(), key.epoch)) {
            return Err(OwnerRefusal::Twice { owner, section: section(), epoch: key.epoch });
        }
    }
    let stranger = profile.writers.iter().find(|w| members.get(**w).is_none_or(|m| m.role != Role::Provider));
    stranger.map_or(Ok(()), |&writer| Err(OwnerRefusal::Writer { owner, writer }))
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
