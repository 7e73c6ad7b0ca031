//! The roster: who belongs to a domain, in which role, with which keys. Signed by the authority.

use sealdex_crypto::{PrincipalId, PublicIdentity};
use serde::{Deserialize, Serialize};

use crate::{B32, RawPoint, signed::Document, threshold::Sharing};

/// A principal's public keys; its id is their hash (spec section 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublicKeys {
    /// Encryption key, compressed.
    pub enc: RawPoint,
    /// Signing key, x-only.
    pub sign: B32,
}

impl PublicKeys {
    /// Decodes and checks both keys.
    pub fn identity(&self) -> Result<PublicIdentity, BadKeys> {
        PublicIdentity::from_bytes(&self.enc.0, &self.sign.0).map_err(|_| BadKeys)
    }

    /// [`PublicKeys::identity`] of many, in order.
    pub fn identities<'k>(keys: impl Iterator<Item = &'k Self>) -> Vec<Result<PublicIdentity, BadKeys>> {
        let keys: Vec<_> = keys.map(|keys| (keys.enc.0, keys.sign.0)).collect();
        PublicIdentity::decode_many(&keys).into_iter().map(|keys| keys.map_err(|_| BadKeys)).collect()
    }
}

impl From<&PublicIdentity> for PublicKeys {
    fn from(p: &PublicIdentity) -> Self {
        Self { enc: RawPoint(p.enc_bytes()), sign: B32(p.sign_bytes()) }
    }
}

/// Keys that are no points of the curve.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("these are no valid public keys")]
pub struct BadKeys;

/// What a member may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Pushes records: hospital, department, physician.
    Provider,
    /// Asks queries: clinician, researcher, insurer.
    User,
}

/// Whether a member is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Served.
    Active,
    /// Refused, with everyone enrolled below it.
    Revoked,
}

/// One member of the domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Hash of `keys`.
    pub id: PrincipalId,
    /// Public keys.
    pub keys: PublicKeys,
    /// What it may do.
    pub role: Role,
    /// Human name; absent from the cloud's roster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Who enrolled it, if not the authority (MOPSE+ hierarchy).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<PrincipalId>,
    /// Served or refused.
    pub status: Status,
    /// If it may only count, never read: the smallest count it is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts_from: Option<u32>,
    /// The member whose grants it takes over, after that one's key was found in the wild.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub succeeds: Option<PrincipalId>,
}

/// A gate or a cloud.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// Hash of `keys`.
    pub id: PrincipalId,
    /// Public keys.
    pub keys: PublicKeys,
    /// Base URL, `http://127.0.0.1:7411` or `https://…`.
    pub url: String,
    /// Of a gate that is one of several nodes: its number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<u16>,
}

/// Everybody in a domain, as the authority says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Roster {
    /// Name of the domain.
    pub domain: String,
    /// Grows with every change; an older roster is refused.
    pub version: u64,
    /// The authority's keys.
    pub authority: PublicKeys,
    /// The gate, or its nodes.
    pub gates: Vec<Server>,
    /// How its scalars are shared, if it has several nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sharing: Option<Sharing>,
    /// Clouds.
    pub clouds: Vec<Server>,
    /// The domain's logs and who watches them, if it has any: batches are stated and answers proved then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ledger: Option<Ledger>,
    /// The group every member belongs to; readers of what belongs to no patient.
    pub everyone: PublicKeys,
    /// Members. The cloud's roster lists providers only, without names.
    pub members: Vec<Member>,
    /// Revoked by the authority though others enrolled them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revoked: Vec<PrincipalId>,
    /// What members may do in a day; the gate's own defaults where nothing is said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub budgets: Vec<Budget>,
}

/// The logs that the cloud keeps, and which checkpoints of them are believed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ledger {
    /// Verifier key of the log of batches, as C2SP signed-note writes them; its name is the log's origin.
    pub batches: String,
    /// The same of the log of acts: grants, revocations, searches.
    pub acts: String,
    /// Who cosigns.
    #[serde(default)]
    pub witnesses: Vec<Witness>,
    /// How many of them it takes.
    pub quorum: u32,
    /// Oldest that a quorum's cosignatures may be, seconds.
    pub max_age: u64,
    /// Who checks that an answer is whole.
    #[serde(default)]
    pub proofs: Proofs,
    /// Who reads every act in the log of acts; the authority does, listed or not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub auditors: Vec<PublicKeys>,
}

/// A witness of the domain's logs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Witness {
    /// Verifier key of its cosignatures.
    pub key: String,
    /// Base URL, where the cloud asks it.
    pub url: String,
}

/// Who is shown the proof that an answer is whole. It shows every match, also those that a member may not read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Proofs {
    /// The gate alone, which sees all matches anyway: members learn of no record they may not read.
    #[default]
    Gate,
    /// The member that asks, too, and need not believe the gate: it learns how many records match, and their ids.
    Member,
}

/// How much may be asked in a day: the defence against dictionaries and bracketing (spec section 12).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// Whose: a member with all below it, each for itself; for everyone when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<PrincipalId>,
    /// Tokens in searches, isolated ones counted once.
    pub tokens: u64,
    /// Ranges in searches.
    pub ranges: u64,
    /// Index entries bridged for the cloud.
    pub entries: u64,
}

impl Document for Roster {
    const KIND: &'static str = "roster";
}

impl Roster {
    /// The member with this id, whatever its status.
    pub fn member(&self, id: PrincipalId) -> Option<&Member> {
        self.members.iter().find(|m| m.id == id)
    }

    /// The member with this human name.
    pub fn named(&self, name: &str) -> Option<&Member> {
        self.members.iter().find(|m| m.name.as_deref() == Some(name))
    }

    /// Whether the member and all above it are active.
    pub fn is_active(&self, id: PrincipalId) -> bool {
        self.path(id).is_some_and(|path| path.iter().all(|m| m.status == Status::Active))
    }

    /// The member and everyone above it, up to who was enrolled by the authority. `None` when the
    /// id or one above it is unknown, or the parents form a ring.
    pub fn path(&self, id: PrincipalId) -> Option<Vec<&Member>> {
        let mut path = vec![self.member(id)?];
        while let Some(parent) = path[path.len() - 1].parent {
            if path.len() > self.members.len() {
                return None;
            }
            path.push(self.member(parent)?);
        }
        Some(path)
    }

    /// The member, everyone above it, and whom each of them succeeded: in whose stead it writes.
    pub fn line(&self, id: PrincipalId) -> Option<Vec<PrincipalId>> {
        let mut line: Vec<PrincipalId> = self.path(id)?.iter().map(|m| m.id).collect();
        let mut at = 0;
        while at < line.len() {
            if let Some(before) = self.member(line[at]).and_then(|m| m.succeeds).filter(|b| !line.contains(b)) {
                line.push(before);
            }
            at += 1;
        }
        Some(line)
    }

    /// The hospital a provider belongs to: the root of its path, or whom that one succeeded first. Its id is the
    /// provider's index scope.
    pub fn root(&self, id: PrincipalId) -> Option<PrincipalId> {
        let mut root = *self.path(id)?.last()?;
        for _ in 0..self.members.len() {
            match root.succeeds {
                None => return Some(root.id),
                Some(before) => root = self.member(before)?,
            }
        }
        None
    }

    /// Ids of all hospitals (providers enrolled by the authority), active or not: records pushed by
    /// a hospital that was revoked later stay searchable.
    pub fn hospitals(&self) -> impl Iterator<Item = PrincipalId> + '_ {
        let founding = |m: &&Member| m.role == Role::Provider && m.parent.is_none() && m.succeeds.is_none();
        self.members.iter().filter(founding).map(|m| m.id)
    }

    /// The roster as the cloud may see it: providers only, nobody's name.
    pub fn for_cloud(&self) -> Roster {
        let mut out = self.clone();
        out.members.retain(|m| m.role == Role::Provider);
        out.budgets.clear();
        for m in &mut out.members {
            m.name = None;
        }
        out
    }
}
