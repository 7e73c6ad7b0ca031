//! The domain pack: the signed roster and schema every member has, checked against the authority's
//! keys from the member's own key file.

use std::path::{Path, PathBuf};

use sealdex_crypto::{PrincipalId, PublicIdentity};
use sealdex_ledger::Providers;
use sealdex_net::{CallError, Peer, peer::Http};
use sealdex_schema::Schema;
use sealdex_wire::{
    Signed, SignedError,
    family::{FamilyError, MemberList},
    roster::{PublicKeys, Role, Roster},
    signed::Document,
};
use serde::{Deserialize, Serialize};

use crate::{GateLink, MemberKeys};

/// The schema as the authority signed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SchemaText {
    /// Domain.
    pub domain: String,
    /// Schema, TOML.
    pub toml: String,
}

impl Document for SchemaText {
    const KIND: &'static str = "schema";
}

/// `domain.json`: what the authority publishes to members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DomainPack {
    /// Roster.
    pub roster: Signed<Roster>,
    /// Schema.
    pub schema: Signed<SchemaText>,
}

/// A pack after its signatures were checked.
#[derive(Clone, Debug)]
pub struct Trusted {
    /// Roster.
    pub roster: Roster,
    /// Schema.
    pub schema: std::sync::Arc<Schema>,
    /// The group of all members.
    pub everyone: PublicIdentity,
}

/// Why a pack or a connection cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// Reading failed.
    #[error("{path}: {reason}")]
    Read {
        /// File.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A signature is not the authority's.
    #[error("the {what} of the domain was refused: {cause}")]
    Untrusted {
        /// Roster or schema.
        what: &'static str,
        /// Why.
        cause: SignedError,
    },
    /// The pack is another domain's.
    #[error("these are the keys of domain \"{expected}\", the pack is of \"{actual}\"")]
    OtherDomain {
        /// Domain of the keys.
        expected: String,
        /// Domain of the pack.
        actual: String,
    },
    /// The schema does not parse.
    #[error("the schema of the domain is invalid: {0}")]
    Schema(String),
    /// Keys in the roster that are none.
    #[error("the roster holds invalid keys of {0}")]
    Keys(&'static str),
    /// No gate or cloud in the roster.
    #[error("the roster lists no {0}: the authority adds one with `sealdex domain init`")]
    NoServer(&'static str),
    /// Its gates do not make one gate.
    #[error("the roster was refused: {0}")]
    Nodes(String),
    /// Who was enrolled below the roster's members does not fit.
    #[error(transparent)]
    Family(#[from] FamilyError),
    /// A server cannot be called.
    #[error(transparent)]
    Call(#[from] CallError),
}

impl DomainPack {
    /// Reads `domain.json`.
    pub fn read(path: &Path) -> Result<Self, PackError> {
        let fail = |reason: String| PackError::Read { path: path.into(), reason };
        let text = std::fs::read(path).map_err(|e| fail(e.to_string()))?;
        serde_json::from_slice(&text).map_err(|e| fail(format!("not a domain pack: {e}")))
    }

    /// Checks both signatures.
    pub fn verify(&self, domain: &str, authority: &PublicKeys) -> Result<Trusted, PackError> {
        let authority = authority.identity().map_err(|_| PackError::Keys("the authority"))?;
        let roster = self.roster.verify(&authority).map_err(|cause| PackError::Untrusted { what: "roster", cause })?;
        let text = self.schema.verify(&authority).map_err(|cause| PackError::Untrusted { what: "schema", cause })?;
        for actual in [&roster.domain, &text.domain] {
            if actual != domain {
                return Err(PackError::OtherDomain { expected: domain.into(), actual: actual.clone() });
            }
        }
        let schema = Schema::parse(&text.toml).map_err(|e| PackError::Schema(e.to_string()))?;
        let everyone = roster.everyone.identity().map_err(|_| PackError::Keys("the group of all members"))?;
        Ok(Trusted { roster, schema: std::sync::Arc::new(schema), everyone })
    }
}

impl Trusted {
    /// The domain's gate, called by this member.
    pub fn gate(&self, http: &Http, keys: &MemberKeys) -> Result<GateLink, PackError> {
        GateLink::new(http, &self.roster, keys.identity.clone(), false)
    }

    /// Takes over the gate's roster if it is no older and the authority's, with everyone enrolled below it, each by
    /// the signature of who enrolled it.
    pub async fn refresh(&mut self, gate: &Peer) -> Result<(), PackError> {
        let newest: MemberList = gate.get_json("/v1/members").await?;
        self.merge(&newest)
    }

    /// As [`Trusted::refresh`], of what somebody else fetched.
    pub fn merge(&mut self, newest: &MemberList) -> Result<(), PackError> {
        let authority = self.roster.authority.identity().map_err(|_| PackError::Keys("the authority"))?;
        let signed = &newest.roster;
        let roster = signed.verify(&authority).map_err(|cause| PackError::Untrusted { what: "roster", cause })?;
        if roster.domain == self.roster.domain && roster.version >= self.roster.version {
            self.roster = newest.family.merge(&roster)?;
        }
        Ok(())
    }

    /// The domain's cloud, called by this member (providers only; users are unknown to the cloud).
    pub fn cloud(&self, http: &Http, keys: Option<&MemberKeys>) -> Result<Peer, PackError> {
        let cloud = self.roster.clouds.first().ok_or(PackError::NoServer("cloud"))?;
        let caller = keys.map(|k| k.identity.clone());
        Ok(Peer::new(http.clone(), &cloud.url, &self.roster.domain, cloud.id, caller)?)
    }
}

impl Providers for Trusted {
    fn provider(&self, id: PrincipalId) -> Option<(PublicIdentity, PrincipalId)> {
        let member = self.roster.member(id).filter(|m| m.role == Role::Provider)?;
        let keys = member.keys.identity().ok().filter(|k| k.id() == id)?;
        Some((keys, self.roster.root(id)?))
    }
}
