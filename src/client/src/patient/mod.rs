//! A patient's own connection to the gate: what is granted, granting and revoking, and who read what.
//!
//! [`consent`] and [`audit`] say the same in FHIR: grants as `Consent`, accesses as `AuditEvent`.

mod accesses;
mod around;
pub mod audit;
pub mod consent;
mod epochs;
mod erasing;
mod logged;
mod offers;

pub use erasing::{ErasureError, ErasureStatus, OrderState, RecordState};

pub use around::{ConsentExport, Overview};
pub use offers::{Epochs, Offer, Reader};

use std::{collections::HashMap, sync::Arc};

use sealdex_crypto::PrincipalId;
use sealdex_member::{GateLink, Trusted};
use sealdex_net::{CallError, clock::now_s, peer::Http};
use sealdex_wire::{
    SignedError,
    consent::{Access, GrantList, GrantTerms, ListGrants},
    family::MemberList,
    limits,
};

use crate::group::Group;
use crate::owner::{GrantRequest, Owner, OwnerEntry, grant_all, revoke_all};
pub use accesses::Accesses;
pub use logged::Differences;

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
    /// It listed a grant that somebody else signed.
    #[error("the gate listed a grant that {0} signed, who is neither this owner nor a member it named its carer")]
    Stranger(PrincipalId),
    /// A name that nobody has.
    #[error("no {what} is named \"{name}\"; if it is new, get the newest domain.json from the authority")]
    Name {
        /// Member or provider.
        what: &'static str,
        /// As given.
        name: String,
    },
    /// A section the owner does not have.
    #[error("{label} has no section \"{section}\"; it has: {known}")]
    Section {
        /// Whose.
        label: String,
        /// As given.
        section: String,
        /// Names there are.
        known: String,
    },
    /// A group could not be used.
    #[error(transparent)]
    Group(#[from] crate::group::GroupError),
    /// The owner has not published a profile.
    #[error("{0} is not enrolled: the gate has no profile of it")]
    NotEnrolled(String),
    /// No such request or emergency.
    #[error("there is no {what} {number} that could be answered")]
    Nothing {
        /// Of what.
        what: &'static str,
        /// Number given.
        number: u64,
    },
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
    gate: GateLink,
    trusted: Arc<Trusted>,
    /// Groups of the domain, once asked for.
    groups: tokio::sync::Mutex<Option<HashMap<PrincipalId, Group>>>,
}

impl Patient {
    /// An owner of a wallet, by its label there (`Patient/id`).
    pub fn new(label: &str, entry: OwnerEntry, trusted: Trusted, http: &Http) -> Result<Self, PatientError> {
        let owner = entry.owner();
        let gate = GateLink::new(http, &trusted.roster, owner.identity(), true);
        let gate = gate.map_err(|e| PatientError::Peer(e.to_string()))?;
        Ok(Self { label: label.into(), entry, owner, gate, trusted: Arc::new(trusted), groups: Default::default() })
    }

    /// Everybody in the domain, as the gate has it; checked when it is merged into what is trusted already.
    pub async fn members(&self) -> Result<MemberList, PatientError> {
        Ok(self.gate.get_json("/v1/members").await?)
    }

    /// Principal id.
    pub fn id(&self) -> PrincipalId {
        self.owner.id()
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
        let keys = self.owner.identity().public();
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let request = ListGrants { owner: Some(keys.id()), after, limit: limits::DOCUMENTS as u32 };
            let found: GrantList = self.gate.post_json("/v1/grants/list", &request).await?;
            for signed in &found.grants {
                // What a carer passed on bears the carer's signature.
                let carer = || self.trusted.roster.member(signed.signer).and_then(|m| m.keys.identity().ok());
                let signer = if signed.signer == keys.id() { Some(keys) } else { carer() };
                let signer = signer.ok_or(PatientError::Stranger(signed.signer))?;
                let terms = signed.verify(&signer).map_err(PatientError::Forged)?;
                if terms.owner != keys.id() || terms.by.unwrap_or(keys.id()) != signed.signer {
                    return Err(PatientError::Stranger(signed.signer));
                }
                all.push(terms);
            }
            after = found.next;
            if after.is_none() {
                return Ok(all);
            }
        }
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
        let same = |s: &&consent::Standing| s.reader == wanted.reader && s.purpose == wanted.purpose && s.is_plain();
        let dropped = before.iter().filter(same).flat_map(|s| &s.sections).filter(|s| !wanted.sections.contains(s));
        let end = |s: &String| self.owner.revocation_for(domain, reader.id(), Some(s), Some(&wanted.purpose));
        let revocations: Vec<_> = dropped.map(end).collect();
        if !revocations.is_empty() {
            revoke_all(&self.gate, revocations).await?;
        }
        let newest = self.newest_epochs().await?;
        let all = wanted.sections.iter().flat_map(|s| {
            let first = self.entry.first_epoch(s);
            (first..=newest.get(s).copied().unwrap_or(0)).map(move |e| (s, e))
        });
        let requests: Vec<_> = all
            .map(|(section, epoch)| {
                let request = GrantRequest {
                    domain,
                    reader,
                    section,
                    epoch,
                    purpose: &wanted.purpose,
                    not_before: wanted.not_before,
                    not_after: wanted.not_after,
                    limits: Default::default(),
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
        let end = |s: &String| self.owner.revocation_for(domain, reader, Some(s), Some(&standing.purpose));
        let all = standing.sections.iter().map(end).collect();
        revoke_all(&self.gate, all).await?;
        Ok(())
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
