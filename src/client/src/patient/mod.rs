//! A patient's own connection to the gate: what is granted, granting and revoking, and who read what.
//!
//! [`consent`] and [`audit`] say the same in FHIR: grants as `Consent`, accesses as `AuditEvent`.

pub mod audit;
pub mod consent;

use std::sync::Arc;

use sealdex_crypto::PrincipalId;
use sealdex_member::Trusted;
use sealdex_net::{CallError, Peer, clock::now_s, peer::Http};
use sealdex_wire::{
    SignedError,
    consent::{Access, AccessList, GrantList, GrantTerms, ListAccesses, ListGrants},
    limits,
};

use crate::owner::{GrantRequest, Owner, OwnerEntry, grant_all, revoke_all};

/// Most accesses read in one go.
const MOST_ACCESSES: usize = 1_000_000;

/// Why the gate was of no use.
#[derive(Debug, thiserror::Error)]
pub enum PatientError {
    /// It refused or does not answer.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The roster lists no gate.
    #[error("the roster lists no gate")]
    NoGate,
    /// The address or key cannot be used.
    #[error("the gate cannot be called: {0}")]
    Peer(String),
    /// It listed a grant that is not the owner's own word.
    #[error("the gate listed a grant that this owner never signed: {0}")]
    Forged(SignedError),
    /// More grants than can be listed.
    #[error("there are more than {0} grants: revoke what is no longer needed")]
    TooMany(usize),
    /// A reader's keys are no keys.
    #[error("a grant names a reader whose keys are no keys")]
    Reader,
    /// A consent cannot be put into force.
    #[error(transparent)]
    Consent(#[from] consent::ConsentError),
}

/// One owner's connection.
pub struct Patient {
    label: String,
    entry: OwnerEntry,
    owner: Owner,
    gate: Peer,
    trusted: Arc<Trusted>,
}

impl Patient {
    /// An owner of a wallet, by its label there (`Patient/id`).
    pub fn new(label: &str, entry: OwnerEntry, trusted: Trusted, http: &Http) -> Result<Self, PatientError> {
        let owner = entry.owner();
        let server = trusted.roster.gates.first().ok_or(PatientError::NoGate)?;
        let peer = Peer::new(http.clone(), &server.url, &trusted.roster.domain, server.id, Some(owner.identity()));
        let gate = peer.map_err(|e| PatientError::Peer(e.to_string()))?.self_certified();
        Ok(Self { label: label.into(), entry, owner, gate, trusted: Arc::new(trusted) })
    }

    /// Label in the wallet.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Roster and schema.
    pub fn trusted(&self) -> &Trusted {
        &self.trusted
    }

    /// All grants in force, each checked to be this owner's own.
    pub async fn grants(&self) -> Result<Vec<GrantTerms>, PatientError> {
        let request = ListGrants { owner: Some(self.owner.id()), limit: limits::DOCUMENTS as u32 };
        let found: GrantList = self.gate.post_json("/v1/grants/list", &request).await?;
        if found.more {
            return Err(PatientError::TooMany(limits::DOCUMENTS));
        }
        let keys = self.owner.identity().public();
        found.grants.iter().map(|signed| signed.verify(&keys).map_err(PatientError::Forged)).collect()
    }

    /// All consents: grants that have a reader, purpose and time in common.
    pub async fn consents(&self) -> Result<Vec<consent::Standing>, PatientError> {
        consent::standing(&self.grants().await?).ok_or(PatientError::Reader)
    }

    /// Puts a consent into force in place of what its reader was granted for its purpose before.
    pub async fn put(&self, wanted: &consent::Wanted) -> Result<(), PatientError> {
        let domain = &self.trusted.roster.domain;
        let reader = wanted.reader.identity().map_err(|_| PatientError::Reader)?;
        let before = self.consents().await?;
        let same = |s: &&consent::Standing| s.reader == wanted.reader && s.purpose == wanted.purpose;
        let dropped = before.iter().filter(same).flat_map(|s| &s.sections).filter(|s| !wanted.sections.contains(s));
        let revocations: Vec<_> = dropped.map(|s| self.owner.revocation(domain, reader.id(), Some(s))).collect();
        if !revocations.is_empty() {
            revoke_all(&self.gate, revocations).await?;
        }
        let requests: Vec<_> = wanted
            .sections
            .iter()
            .map(|section| {
                let request = GrantRequest {
                    domain,
                    reader,
                    section,
                    epoch: self.entry.sections.get(section).copied().unwrap_or(0),
                    purpose: &wanted.purpose,
                    not_before: wanted.not_before,
                    not_after: wanted.not_after,
                };
                (&self.owner, request)
            })
            .collect();
        grant_all(&self.gate, &requests).await?;
        Ok(())
    }

    /// Takes a consent back. In force when this returns.
    pub async fn revoke(&self, standing: &consent::Standing) -> Result<(), PatientError> {
        let reader = standing.reader.identity().map_err(|_| PatientError::Reader)?.id();
        let domain = &self.trusted.roster.domain;
        let all = standing.sections.iter().map(|s| self.owner.revocation(domain, reader, Some(s))).collect();
        revoke_all(&self.gate, all).await?;
        Ok(())
    }

    /// Everything that was done with this owner's records and consent, oldest first.
    pub async fn accesses(&self) -> Result<Vec<Access>, PatientError> {
        let (mut all, mut after) = (Vec::new(), None);
        while all.len() < MOST_ACCESSES {
            let request = ListAccesses { after, limit: limits::DOCUMENTS as u32 };
            let found: AccessList = self.gate.post_json("/v1/accesses", &request).await?;
            all.extend(found.accesses);
            match found.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        Ok(all)
    }

    /// What of a `Consent` is to be put into force; or, when its status is not active, what it ends.
    pub fn wanted(&self, json: &serde_json::Value) -> Result<consent::Wanted, PatientError> {
        let sections: Vec<String> = self.trusted.schema.patient_sections().map(|s| s.name.clone()).collect();
        let context =
            consent::Context { patient: &self.label, roster: &self.trusted.roster, sections: &sections, now: now_s() };
        Ok(consent::read(json, &context)?)
    }

    /// A consent in FHIR.
    pub fn consent_json(&self, standing: &consent::Standing) -> serde_json::Value {
        consent::write(standing, &self.label, &self.trusted.roster, now_s())
    }

    /// An access in FHIR.
    pub fn audit_json(&self, access: &Access) -> serde_json::Value {
        audit::write(access, &self.label, self.owner.id(), &self.trusted.roster)
    }

    /// Name of a member, or its id.
    pub fn name_of(&self, id: PrincipalId) -> String {
        if id == self.owner.id() {
            return self.label.clone();
        }
        consent::name_of(&self.trusted.roster, id)
    }
}
