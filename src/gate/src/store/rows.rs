//! Rows of the consent store and their bytes; the layout is in [`super::consents`].

use sealdex_crypto::PrincipalId;
pub use sealdex_wire::acts::{AccessRow, AuditEntry, AuditKind, Spent};
use sealdex_wire::{
    B32, RawPoint,
    auth::sha256,
    care::{AskAccess, RequestStatus},
    consent::GrantTerms,
};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::{labels, secrets::SealedScalar};

/// Which of an owner's grants of one section and epoch to one reader: they differ in purpose, in the providers
/// they are limited to, or in being for emergencies.
pub type Slot = [u8; 4];

/// The slot of a grant's terms.
pub fn slot(purpose: &str, providers: &[PrincipalId], emergency: bool) -> Slot {
    let mut named: Vec<[u8; 16]> = providers.iter().map(|p| p.0).collect();
    named.sort_unstable();
    let hash = sha256(&[labels::SLOT.as_bytes(), &[u8::from(emergency)], named.as_flattened(), purpose.as_bytes()]);
    [hash[0], hash[1], hash[2], hash[3]]
}

/// Which grant: one at most for each owner, section, epoch, reader and slot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GrantKey {
    /// Who granted.
    pub owner: PrincipalId,
    /// Section.
    pub section: String,
    /// Epoch.
    pub epoch: u32,
    /// To whom.
    pub reader: PrincipalId,
    /// Which of several.
    pub slot: Slot,
}

impl GrantKey {
    /// The key of a grant's terms, whose reader has this id.
    pub fn of(terms: &GrantTerms, reader: PrincipalId) -> Self {
        let slot = slot(&terms.purpose, &terms.providers, terms.emergency.is_some());
        Self { owner: terms.owner, section: terms.section.clone(), epoch: terms.epoch, reader, slot }
    }

    /// Bytes under which the grant is stored.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut key = reader_prefix(self.owner, &self.section, self.epoch, self.reader);
        key.extend_from_slice(&self.slot);
        key
    }

    /// Reads [`GrantKey::to_bytes`].
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (owner, rest) = bytes.split_first_chunk::<16>()?;
        let (section, epoch, rest) = section_and_epoch(rest)?;
        let (reader, rest) = rest.split_first_chunk::<16>()?;
        let slot = rest.try_into().ok()?;
        Some(Self { owner: PrincipalId(*owner), section, epoch, reader: PrincipalId(*reader), slot })
    }

    pub(super) fn parse_by_reader(bytes: &[u8]) -> Option<Self> {
        let (reader, rest) = bytes.split_first_chunk::<16>()?;
        let (owner, rest) = rest.split_first_chunk::<16>()?;
        let (section, epoch, rest) = section_and_epoch(rest)?;
        let slot = rest.try_into().ok()?;
        Some(Self { owner: PrincipalId(*owner), section, epoch, reader: PrincipalId(*reader), slot })
    }

    pub(super) fn by_reader(&self) -> Vec<u8> {
        let key = self.to_bytes();
        [&self.reader.0, &key[..key.len() - 20], &self.slot[..]].concat()
    }
}

/// What the keys of all grants of a section and epoch to a reader begin with.
pub(super) fn reader_prefix(owner: PrincipalId, section: &str, epoch: u32, reader: PrincipalId) -> Vec<u8> {
    let mut key = section_prefix(owner, section);
    key.extend_from_slice(&epoch.to_be_bytes());
    key.extend_from_slice(&reader.0);
    key
}

/// Names are at most `limits::NAME` bytes where they enter, so their length fits a byte.
pub(super) fn section_prefix(owner: PrincipalId, section: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(41 + section.len());
    key.extend_from_slice(&owner.0);
    key.push(section.len() as u8);
    key.extend_from_slice(section.as_bytes());
    key
}

fn section_and_epoch(bytes: &[u8]) -> Option<(String, u32, &[u8])> {
    let (&len, rest) = bytes.split_first()?;
    let (section, rest) = rest.split_at_checked(len.into())?;
    let (epoch, rest) = rest.split_first_chunk()?;
    Some((String::from_utf8(section.to_vec()).ok()?, u32::from_be_bytes(*epoch), rest))
}

/// What a search needs of a grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantRow {
    /// `A`.
    pub a: RawPoint,
    /// `X`.
    pub x: RawPoint,
    /// First second it holds, Unix time.
    pub not_before: u64,
    /// First second it no longer holds.
    pub not_after: u64,
    /// When it was made, Unix milliseconds.
    pub granted_at: u64,
    /// Generation of the reader's key that `rk` fits.
    pub generation: u32,
    /// Who joined the reading group later than this, Unix milliseconds, is not meant.
    pub joined_by: u64,
    /// Whether it is dormant unless woken.
    pub emergency: bool,
    /// Who passed it on under a mandate; all zeros when the owner granted it.
    pub by: PrincipalId,
    /// Only what these pushed, or anyone below them; empty for all.
    pub providers: Vec<PrincipalId>,
    /// `rk`, sealed for this table and key.
    pub rk: SealedScalar,
    /// Purpose of use.
    pub purpose: String,
}

/// No one: who passed on what the owner granted itself.
pub const NOBODY: PrincipalId = PrincipalId([0; 16]);

impl GrantRow {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(184 + self.purpose.len() + 16 * self.providers.len());
        out.extend_from_slice(&self.a.0);
        out.extend_from_slice(&self.x.0);
        for n in [self.not_before, self.not_after, self.granted_at, self.joined_by] {
            out.extend_from_slice(&n.to_be_bytes());
        }
        out.extend_from_slice(&self.generation.to_be_bytes());
        out.extend_from_slice(&self.rk.0);
        out.extend_from_slice(&self.by.0);
        out.push(u8::from(self.emergency));
        out.push(self.providers.len() as u8);
        self.providers.iter().for_each(|p| out.extend_from_slice(&p.0));
        out.extend_from_slice(self.purpose.as_bytes());
        out
    }

    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let (a, rest) = bytes.split_first_chunk()?;
        let (x, rest) = rest.split_first_chunk()?;
        let (numbers, rest) = rest.split_first_chunk::<32>()?;
        let number = |at: usize| numbers[8 * at..].first_chunk().map(|n| u64::from_be_bytes(*n));
        let (generation, rest) = rest.split_first_chunk()?;
        let (rk, rest) = rest.split_first_chunk()?;
        let (by, rest) = rest.split_first_chunk()?;
        let (&[emergency, providers], rest) = rest.split_first_chunk::<2>()?;
        let (providers, purpose) = rest.split_at_checked(16 * usize::from(providers))?;
        Some(Self {
            a: RawPoint(*a),
            x: RawPoint(*x),
            not_before: number(0)?,
            not_after: number(1)?,
            granted_at: number(2)?,
            joined_by: number(3)?,
            generation: u32::from_be_bytes(*generation),
            rk: SealedScalar(*rk),
            by: PrincipalId(*by),
            emergency: emergency != 0,
            providers: providers.as_chunks().0.iter().map(|p| PrincipalId(*p)).collect(),
            purpose: String::from_utf8(purpose.to_vec()).ok()?,
        })
    }
}

/// One grant a ticket rests on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Cover {
    /// Whose records.
    pub owner: PrincipalId,
    /// To whom they were granted: the caller or a group.
    pub reader: PrincipalId,
    /// Section.
    pub section: String,
}

/// A ticket that may still be used at the cloud.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketRow {
    /// Its name.
    #[serde(with = "serde_bytes")]
    pub nonce: [u8; 16],
    /// The cloud that serves it.
    pub cloud: PrincipalId,
    /// Whom it was issued to. The cloud is never told.
    pub caller: PrincipalId,
    /// Unix milliseconds it ends.
    pub expires_at: u64,
    /// Whether it must be withdrawn, and the cloud has not confirmed that yet.
    pub withdrawn: bool,
    /// What it rests on.
    pub covers: Vec<Cover>,
}

/// An emergency: who signed what, and how far it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WakeRow {
    /// The hash of the signed text.
    pub id: B32,
    /// Reader of the grants it wakes.
    pub reader: PrincipalId,
    /// First second it is asleep again.
    pub until: u64,
    /// Who signed, each with the CBOR of its signed document.
    pub signed: Vec<(PrincipalId, ByteBuf)>,
    /// When the second signature came, Unix milliseconds.
    pub woken_at: Option<u64>,
    /// When it was ended before its time, Unix milliseconds.
    pub closed_at: Option<u64>,
}

impl WakeRow {
    /// Whether it is awake at a time, Unix seconds.
    pub fn is_awake(&self, now: u64) -> bool {
        self.woken_at.is_some_and(|at| at / 1000 <= now) && self.closed_at.is_none() && now < self.until
    }
}

/// A request for access.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestRow {
    /// Who asked.
    pub caller: PrincipalId,
    /// What for.
    pub ask: AskAccess,
    /// When, Unix milliseconds.
    pub asked_at: u64,
    /// Where it stands.
    pub status: RequestStatus,
}
