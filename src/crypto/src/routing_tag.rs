//! Routing tags (section 6): how the gate learns whose section a match is and gets its capsule,
//! while the cloud that stores the tag learns neither.

use aes_siv::KeyInit;
use aes_siv::siv::Aes256Siv;

use crate::encoding::push_lp;
use crate::secret::secret_bytes;
use crate::{CAPSULE_LEN, PrincipalId, RecordId};

const NONCE_LEN: usize = 16;
const SIV_LEN: usize = 16;
/// Patient, length of the section's name, epoch and capsule.
const FIXED_LEN: usize = 16 + 2 + 4 + CAPSULE_LEN;

secret_bytes!(
    /// The gate's AES-256-SIV key for routing tags; the authority keeps a sealed copy.
    GateTagKey,
    64
);

/// What a routing tag holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoutingInfo {
    /// Whose record it is.
    pub patient: PrincipalId,
    /// Section name.
    pub section: String,
    /// Section epoch.
    pub epoch: u32,
    /// The capsule `E`, still encoded: a query opens many tags but decodes each capsule once.
    pub capsule: [u8; CAPSULE_LEN],
}

/// A tag that cannot be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TagError {
    /// Too short to be a tag.
    #[error("a routing tag has at least {min} bytes, this has {found}")]
    TooShort {
        /// Shortest possible length.
        min: usize,
        /// Length found.
        found: usize,
    },
    /// Made by another key, for another record, or altered.
    #[error("the routing tag was not made by this gate for this record")]
    NotAuthentic,
    /// Authentic, but its content has another shape.
    #[error("the routing tag is authentic but malformed")]
    Malformed,
}

/// `nonce ‖ AES-256-SIV(…)` (section 6); the nonce must be random. About 0.7 µs.
///
/// # Panics
/// If the section's name exceeds [`crate::MAX_PART`] bytes.
#[must_use]
pub fn make_tag(key: &GateTagKey, record_id: &RecordId, info: &RoutingInfo, nonce: [u8; 16]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(FIXED_LEN + info.section.len() + SIV_LEN);
    plain.extend_from_slice(&info.patient.0);
    push_lp(&mut plain, info.section.as_bytes());
    plain.extend_from_slice(&info.epoch.to_be_bytes());
    plain.extend_from_slice(&info.capsule);
    let associated: [&[u8]; 2] = [&record_id.0, &nonce];
    #[allow(clippy::expect_used, reason = "fails only above 126 associated strings")]
    let siv = Aes256Siv::new(key.expose().into())
        .encrypt_inout_detached(associated, plain.as_mut_slice().into())
        .expect("two associated strings");
    let mut tag = Vec::with_capacity(NONCE_LEN + SIV_LEN + plain.len());
    tag.extend_from_slice(&nonce);
    tag.extend_from_slice(&siv);
    tag.extend_from_slice(&plain);
    tag
}

/// Opens a tag stored with this record (section 6). About 0.7 µs; the capsule is not decoded.
///
/// # Errors
/// [`TagError`] if the tag is not authentic for this key and record, or malformed.
pub fn open_tag(key: &GateTagKey, record_id: &RecordId, tag: &[u8]) -> Result<RoutingInfo, TagError> {
    let too_short = TagError::TooShort { min: NONCE_LEN + SIV_LEN + FIXED_LEN, found: tag.len() };
    if tag.len() < NONCE_LEN + SIV_LEN + FIXED_LEN {
        return Err(too_short);
    }
    let (nonce, sealed) = tag.split_at(NONCE_LEN);
    let plain = Aes256Siv::new(key.expose().into())
        .decrypt([record_id.0.as_slice(), nonce], sealed)
        .map_err(|_| TagError::NotAuthentic)?;
    parse(&plain).ok_or(TagError::Malformed)
}

fn parse(plain: &[u8]) -> Option<RoutingInfo> {
    let (patient, rest) = plain.split_first_chunk::<16>()?;
    let (length, rest) = rest.split_first_chunk::<2>()?;
    let (section, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
    let (epoch, rest) = rest.split_first_chunk::<4>()?;
    Some(RoutingInfo {
        patient: PrincipalId(*patient),
        section: String::from_utf8(section.to_vec()).ok()?,
        epoch: u32::from_be_bytes(*epoch),
        capsule: rest.try_into().ok()?,
    })
}
