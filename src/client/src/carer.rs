//! Acting for an owner under its mandate: revoking in its name, answering requests, passing on what the carer may
//! read itself. The owner's keys stay with the owner.

use sealdex_crypto::{Point, PrincipalId, Scalar};
use sealdex_member::{GateLink, MemberKeys, Trusted};
use sealdex_net::{
    CallError,
    clock::{now_ms, now_s},
};
use sealdex_open::{ReaderKey, pass_on};
use sealdex_wire::{
    RawPoint, Signed,
    care::{AnswerRequest, ListRequests, Mandate, MandateList, RequestList, RequestState, RequestStatus},
    consent::{
        Accepted, GrantList, GrantSubmission, GrantTerms, GroupKey, ListGrants, Revocation, SecretBytes, SubmitGrants,
        SubmitRevocations,
    },
    limits,
    roster::PublicKeys,
};

/// Why a carer could not act.
#[derive(Debug, thiserror::Error)]
pub enum CarerError {
    /// The gate refused or does not answer.
    #[error(transparent)]
    Call(#[from] CallError),
    /// Nothing that could be passed on.
    #[error("you hold no grant of {owner} for section \"{section}\" that you could pass on")]
    Nothing {
        /// Whose.
        owner: PrincipalId,
        /// Section.
        section: String,
    },
    /// Keys or points that are none.
    #[error("a grant carries keys that are no keys")]
    Keys,
}

/// A member who acts for owners.
pub struct Carer<'a> {
    keys: &'a MemberKeys,
    trusted: &'a Trusted,
    gate: GateLink,
}

/// To whom a carer passes on.
#[derive(Clone, Copy, Debug)]
pub struct PassTo {
    /// Keys; a group's are those it was founded with.
    pub reader: PublicKeys,
    /// A group's key of now.
    pub group: Option<GroupKey>,
    /// First second it no longer holds.
    pub not_after: u64,
}

impl<'a> Carer<'a> {
    /// With the member's own connection.
    pub fn new(keys: &'a MemberKeys, trusted: &'a Trusted, gate: GateLink) -> Self {
        Self { keys, trusted, gate }
    }

    /// Mandates this member holds now.
    pub async fn mandates(&self) -> Result<Vec<Mandate>, CarerError> {
        let found: MandateList = self.gate.post_json("/v1/mandates/list", &()).await?;
        let own = self.keys.identity.id();
        let held = found.mandates.iter().filter(|m| m.signer != own).filter_map(|m| m.peek().ok());
        Ok(held.filter(|m| m.not_after > now_s()).collect())
    }

    async fn grants(&self, owner: PrincipalId) -> Result<Vec<GrantTerms>, CarerError> {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let request = ListGrants { owner: Some(owner), after, limit: limits::DOCUMENTS as u32 };
            let found: GrantList = self.gate.post_json("/v1/grants/list", &request).await?;
            all.extend(found.grants.iter().filter_map(|g| g.peek().ok()));
            after = found.next;
            if after.is_none() {
                return Ok(all);
            }
        }
    }

    /// Lets another read these sections of an owner, in all epochs the carer may read itself, for the purposes it may;
    /// never for longer. How many grants are new.
    pub async fn pass_on(&self, owner: PrincipalId, sections: &[String], to: &PassTo) -> Result<u64, CarerError> {
        let me = self.keys.identity.id();
        let own_key = ReaderKey::from_identity(&self.keys.identity);
        let is_own = |g: &GrantTerms| {
            let reader = g.reader.identity().map(|r| r.id());
            reader == Ok(me) && g.by.is_none() && g.emergency.is_none() && g.not_after > now_s()
        };
        let held: Vec<GrantTerms> = self.grants(owner).await?.into_iter().filter(is_own).collect();
        let mut grants = Vec::new();
        for section in sections {
            let before = grants.len();
            for own in held.iter().filter(|g| g.section == *section) {
                grants.push(self.submission(own, &own_key, to)?);
            }
            if grants.len() == before {
                return Err(CarerError::Nothing { owner, section: section.clone() });
            }
        }
        let done: Accepted = self.gate.post_json("/v1/grants", &SubmitGrants { grants, shares: Vec::new() }).await?;
        Ok(done.count)
    }

    fn submission(&self, own: &GrantTerms, key: &ReaderKey, to: &PassTo) -> Result<GrantSubmission, CarerError> {
        let point = |p: &RawPoint| Point::from_bytes(&p.0).map_err(|_| CarerError::Keys);
        let reader = match &to.group {
            Some(group) => point(&group.key)?,
            None => to.reader.identity().map_err(|_| CarerError::Keys)?.enc(),
        };
        let x = Scalar::random(&mut rand::rng());
        let made = pass_on(key, &point(&own.x)?, &point(&own.r)?, &point(&own.a)?, &reader, &x);
        let terms = GrantTerms {
            reader: to.reader,
            x: RawPoint(made.x_pub.to_bytes()),
            r: RawPoint(made.r_pub.to_bytes()),
            commitments: Vec::new(),
            not_before: own.not_before,
            not_after: own.not_after.min(to.not_after),
            granted_at: now_ms(),
            group_key: to.group,
            joined_by: None,
            newcomers_later: false,
            by: Some(self.keys.identity.id()),
            ..own.clone()
        };
        let grant = Signed::sign(&terms, &self.keys.identity, &mut rand::rng());
        Ok(GrantSubmission { grant, rk: Some(SecretBytes(*made.factor.to_bytes())) })
    }

    /// Revokes in an owner's name: one section, or what the mandate extends to.
    pub async fn revoke(
        &self,
        owner: PrincipalId,
        reader: PrincipalId,
        sections: &[String],
    ) -> Result<u64, CarerError> {
        let revocation = |section: Option<String>| {
            let (domain, revoked_at) = (self.trusted.roster.domain.clone(), now_ms());
            let revocation = Revocation { domain, owner, reader, section, purpose: None, revoked_at };
            Signed::sign(&revocation, &self.keys.identity, &mut rand::rng())
        };
        let revocations = match sections.is_empty() {
            true => vec![revocation(None)],
            false => sections.iter().map(|s| revocation(Some(s.clone()))).collect(),
        };
        let done: Accepted = self.gate.post_to_each("/v1/revocations", &SubmitRevocations { revocations }).await?;
        Ok(done.count)
    }

    /// Unanswered requests to an owner.
    pub async fn requests(&self, owner: PrincipalId) -> Result<Vec<RequestState>, CarerError> {
        let found: RequestList =
            self.gate.post_json("/v1/requests/list", &ListRequests { owner: Some(owner), pending: true }).await?;
        Ok(found.requests)
    }

    /// Declines a request in an owner's name.
    pub async fn decline(&self, owner: PrincipalId, number: u64) -> Result<(), CarerError> {
        let answer = AnswerRequest { owner, number, status: RequestStatus::Declined };
        let _: Accepted = self.gate.post_json("/v1/requests/answer", &answer).await?;
        Ok(())
    }
}
