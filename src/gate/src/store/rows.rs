//! Rows of the consent store and their bytes; the layout is in [`super::consents`].

use sealdex_crypto::PrincipalId;
use sealdex_wire::RawPoint;
use serde::{Deserialize, Serialize};

use crate::secrets::SealedScalar;

/// Which grant: one at most for each owner, section, epoch and reader.
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
}

impl GrantKey {
    /// The key of a grant's terms, whose reader has this id.
    pub fn new(owner: PrincipalId, section: &str, epoch: u32, reader: PrincipalId) -> Self {
        Self { owner, section: section.to_owned(), epoch, reader }
    }

    /// Bytes under which the grant is stored.
    pub fn to_bytes(&self) -> Vec<u8> {
        grant_key(self.owner, &self.section, self.epoch, self.reader)
    }

    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let (owner, rest) = bytes.split_first_chunk::<16>()?;
        let (section, epoch, rest) = section_and_epoch(rest)?;
        Some(Self { owner: PrincipalId(*owner), section, epoch, reader: PrincipalId(rest.try_into().ok()?) })
    }

    pub(super) fn parse_by_reader(bytes: &[u8]) -> Option<Self> {
        let (reader, rest) = bytes.split_first_chunk::<16>()?;
        let (owner, rest) = rest.split_first_chunk::<16>()?;
        let (section, epoch, rest) = section_and_epoch(rest)?;
        rest.is_empty().then_some(Self { owner: PrincipalId(*owner), section, epoch, reader: PrincipalId(*reader) })
    }

    pub(super) fn by_reader(&self) -> Vec<u8> {
        let key = self.to_bytes();
        [&self.reader.0, &key[..key.len() - 16]].concat()
    }
}

pub(super) fn grant_key(owner: PrincipalId, section: &str, epoch: u32, reader: PrincipalId) -> Vec<u8> {
    let mut key = section_prefix(owner, section);
    key.extend_from_slice(&epoch.to_be_bytes());
    key.extend_from_slice(&reader.0);
    key
}

/// Names are at most `limits::NAME` bytes where they enter, so their length fits a byte.
pub(super) fn section_prefix(owner: PrincipalId, section: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(37 + section.len());
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
    /// `rk`, sealed for this table and key.
    pub rk: SealedScalar,
    /// Purpose of use.
    pub purpose: String,
}

impl GrantRow {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(138 + self.purpose.len());
        out.extend_from_slice(&self.a.0);
        out.extend_from_slice(&self.x.0);
        for n in [self.not_before, self.not_after, self.granted_at] {
            out.extend_from_slice(&n.to_be_bytes());
        }
        out.extend_from_slice(&self.rk.0);
        out.extend_from_slice(self.purpose.as_bytes());
        out
    }

    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let (a, rest) = bytes.split_first_chunk()?;
        let (x, rest) = rest.split_first_chunk()?;
        let (not_before, rest) = rest.split_first_chunk()?;
        let (not_after, rest) = rest.split_first_chunk()?;
        let (granted_at, rest) = rest.split_first_chunk()?;
        let (rk, rest) = rest.split_first_chunk()?;
        Some(Self {
            a: RawPoint(*a),
            x: RawPoint(*x),
            not_before: u64::from_be_bytes(*not_before),
            not_after: u64::from_be_bytes(*not_after),
            granted_at: u64::from_be_bytes(*granted_at),
            rk: SealedScalar(*rk),
            purpose: String::from_utf8(rest.to_vec()).ok()?,
        })
    }
}

/// Kinds of audited acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuditKind {
    /// A newer roster; `count` is its version.
    Roster,
    /// Owner profiles published.
    Owners,
    /// Grants accepted.
    Grants,
    /// Revocations; `count` is how many grants they ended.
    Revocations,
    /// A batch bridged; `count` is its records.
    Bridge,
    /// A search; `count` is its permitted matches.
    Search,
}

/// One act. Never a value, a token or a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Unix milliseconds.
    pub at: u64,
    /// What.
    pub kind: AuditKind,
    /// Who.
    pub caller: PrincipalId,
    /// Whose data, when it is one owner's.
    pub owner: Option<PrincipalId>,
    /// Declared purpose of a search.
    pub purpose: Option<String>,
    /// How many; see [`AuditKind`].
    pub count: u64,
    /// How many owners were concerned.
    pub owners: u64,
}

/// What one act did with one owner's records or consent, in one section.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessRow {
    /// Unix milliseconds.
    pub at: u64,
    /// What.
    pub kind: AuditKind,
    /// Who.
    pub caller: PrincipalId,
    /// Declared purpose of a search; purpose of a grant.
    pub purpose: Option<String>,
    /// Section; none when all are meant.
    pub section: Option<String>,
    /// Of a grant or revocation: whose reading it is about.
    pub reader: Option<PrincipalId>,
    /// Records.
    pub count: u64,
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
