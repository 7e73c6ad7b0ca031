//! What surrounds an owner's grants: requests, emergencies, carers; all of it at a glance, and as a file.

use sealdex_crypto::PrincipalId;
use sealdex_net::clock::now_s;
use sealdex_wire::{
    Signed,
    care::{
        AnswerRequest, CloseWake, ListRequests, ListWakes, Mandate, MandateList, RequestList, RequestState,
        RequestStatus, SubmitMandate, WakeList, WakeState,
    },
    consent::{Accepted, GrantTerms},
    limits,
};
use serde::{Deserialize, Serialize};

use super::{Epochs, Offer, Patient, PatientError, Reader};
use crate::{owner::Newcomers, policy::Policy};

/// Everything about an owner's consent.
#[derive(Clone, Debug)]
pub struct Overview {
    /// Grants in force or dormant.
    pub grants: Vec<GrantTerms>,
    /// Carers.
    pub mandates: Vec<Mandate>,
    /// Unanswered requests.
    pub requests: Vec<RequestState>,
    /// Emergencies asked for, awake or over.
    pub emergencies: Vec<WakeState>,
}

/// A patient's whole consent as a file. No secret is in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsentExport {
    /// Domain.
    pub domain: String,
    /// Whose, by label.
    pub owner: String,
    /// Standing policies.
    pub policies: Vec<Policy>,
    /// Grants.
    pub grants: Vec<ExportedGrant>,
    /// Carers, by name.
    pub carers: Vec<ExportedCarer>,
}

/// One grant of an export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportedGrant {
    /// Name of a member, or `group@manager`.
    pub reader: String,
    /// Section.
    pub section: String,
    /// Epoch.
    pub epoch: u32,
    /// Purpose of use.
    pub purpose: String,
    /// First second it holds, Unix time.
    pub not_before: u64,
    /// First second it no longer holds.
    pub not_after: u64,
    /// Who joined the group later, Unix milliseconds, is not meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joined_by: Option<u64>,
    /// Whether `joined_by` moves with each epoch.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub newcomers_later: bool,
    /// Only what these pushed, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub providers: Vec<String>,
    /// Who may wake it, by name; then it is for emergencies only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wakers: Vec<String>,
    /// Longest an emergency lasts, minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minutes: Option<u32>,
}

/// One carer of an export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportedCarer {
    /// Name.
    pub carer: String,
    /// Sections; all when empty.
    pub sections: Vec<String>,
    /// First second it no longer holds.
    pub not_after: u64,
}

impl Patient {
    /// All of it.
    pub async fn overview(&self) -> Result<Overview, PatientError> {
        Ok(Overview {
            grants: self.grants().await?,
            mandates: self.mandates().await?,
            requests: self.requests(true).await?,
            emergencies: self.emergencies().await?,
        })
    }

    /// Requests put to this owner.
    pub async fn requests(&self, pending: bool) -> Result<Vec<RequestState>, PatientError> {
        let request = ListRequests { owner: Some(self.owner.id()), pending };
        let found: RequestList = self.gate.post_json("/v1/requests/list", &request).await?;
        Ok(found.requests)
    }

    async fn pending(&self, number: u64) -> Result<RequestState, PatientError> {
        let found = self.requests(true).await?.into_iter().find(|r| r.number == number);
        found.ok_or(PatientError::Nothing { what: "unanswered request", number })
    }

    async fn answer(&self, number: u64, status: RequestStatus) -> Result<(), PatientError> {
        let answer = AnswerRequest { owner: self.owner.id(), number, status };
        let _: Accepted = self.gate.post_json("/v1/requests/answer", &answer).await?;
        Ok(())
    }

    /// Grants what was asked for, or only these sections of it, or for fewer days; how many grants are new.
    pub async fn approve(&self, number: u64, sections: &[String], days: Option<u32>) -> Result<u64, PatientError> {
        let RequestState { ask, .. } = self.pending(number).await?;
        let reader = self.reader_by_id(ask.reader).await?;
        let wanted = ask.sections.iter().filter(|s| sections.is_empty() || sections.contains(s)).cloned();
        let now = now_s();
        let offer = Offer {
            reader,
            sections: wanted.collect(),
            epochs: Epochs::All,
            purposes: vec![ask.purpose],
            not_before: now.saturating_sub(60),
            not_after: now + u64::from(days.unwrap_or(ask.days).min(ask.days)) * 86_400,
            newcomers: Newcomers::All,
            providers: Vec::new(),
            emergency: None,
        };
        let count = self.offer(&offer).await?;
        self.answer(number, RequestStatus::Approved).await?;
        Ok(count)
    }

    /// Declines a request.
    pub async fn decline(&self, number: u64) -> Result<(), PatientError> {
        self.pending(number).await?;
        self.answer(number, RequestStatus::Declined).await
    }

    async fn reader_by_id(&self, id: PrincipalId) -> Result<Reader, PatientError> {
        if let Some(member) = self.trusted.roster.member(id) {
            let keys = member.keys.identity().map_err(|_| PatientError::Reader)?;
            return Ok(Reader { id, keys, group: None });
        }
        let name = self.reader_name(id).await?;
        self.reader(&name).await
    }

    /// Name of a member, or `group@manager`; its id when nobody knows it.
    pub async fn reader_name(&self, id: PrincipalId) -> Result<String, PatientError> {
        if self.trusted.roster.member(id).is_some() || id == self.owner.id() {
            return Ok(self.name_of(id));
        }
        if id == self.trusted.everyone.id() {
            return Ok("everyone".into());
        }
        let mut known = self.groups.lock().await;
        if known.is_none() {
            let all = crate::group::list(&self.gate, &self.trusted, false).await?;
            *known = Some(all.into_iter().map(|g| (g.id, g)).collect());
        }
        let group = known.as_ref().and_then(|all| all.get(&id));
        let name = group.map(|g| {
            let manager = g.manager().map(|m| self.name_of(m)).unwrap_or_default();
            format!("{}@{manager}", g.charter.name)
        });
        Ok(name.unwrap_or_else(|| id.to_string()))
    }

    /// Emergencies of this owner's records, each signature checked by the roster.
    pub async fn emergencies(&self) -> Result<Vec<WakeState>, PatientError> {
        let found: WakeList =
            self.gate.post_json("/v1/emergencies/list", &ListWakes { limit: limits::DOCUMENTS as u32 }).await?;
        for signed in found.emergencies.iter().flat_map(|e| &e.signed) {
            let keys = self.trusted.roster.member(signed.signer).and_then(|m| m.keys.identity().ok());
            let keys = keys.ok_or(PatientError::Stranger(signed.signer))?;
            signed.verify(&keys).map_err(PatientError::Forged)?;
        }
        Ok(found.emergencies)
    }

    /// Ends an emergency before its time.
    pub async fn close_emergency(&self, wake: &WakeState) -> Result<(), PatientError> {
        let request = CloseWake { owner: self.owner.id(), wake: wake.id };
        let _: Accepted = self.gate.post_json("/v1/emergencies/close", &request).await?;
        Ok(())
    }

    /// Carers, those whose time is over left out.
    pub async fn mandates(&self) -> Result<Vec<Mandate>, PatientError> {
        let found: MandateList = self.gate.post_json("/v1/mandates/list", &()).await?;
        let keys = self.owner.identity().public();
        let own = found.mandates.iter().filter(|m| m.signer == keys.id());
        let all: Vec<Mandate> = own.map(|m| m.verify(&keys).map_err(PatientError::Forged)).collect::<Result<_, _>>()?;
        Ok(all.into_iter().filter(|m| m.not_after > now_s()).collect())
    }

    /// Lets a member act for this owner until a time, Unix seconds; 0 ends it, with all that it passed on.
    pub async fn mandate(&self, carer: &str, sections: Vec<String>, not_after: u64) -> Result<u64, PatientError> {
        let carer = self.reader(carer).await?;
        let mandate: Signed<Mandate> =
            self.owner.mandate(&self.trusted.roster.domain, &carer.keys, sections, not_after);
        let done = self.gate.post_to_each("/v1/mandates", &SubmitMandate { mandate }).await?;
        Ok(done.count)
    }

    /// The whole consent, as a file can hold it.
    pub async fn export(&self) -> Result<ConsentExport, PatientError> {
        let mut grants = Vec::new();
        for g in self.grants().await? {
            let mut wakers = Vec::new();
            for waker in g.emergency.iter().flat_map(|e| &e.wakers) {
                wakers.push(self.reader_name(*waker).await?);
            }
            let reader = g.reader.identity().map_err(|_| PatientError::Reader)?.id();
            grants.push(ExportedGrant {
                reader: self.reader_name(reader).await?,
                joined_by: g.joined_by,
                newcomers_later: g.newcomers_later,
                section: g.section,
                epoch: g.epoch,
                purpose: g.purpose,
                not_before: g.not_before,
                not_after: g.not_after,
                providers: g.providers.iter().map(|p| self.name_of(*p)).collect(),
                wakers,
                minutes: g.emergency.map(|e| e.minutes),
            });
        }
        let mut carers = Vec::new();
        for m in self.mandates().await? {
            let carer = m.carer.identity().map_err(|_| PatientError::Reader)?.id();
            let carer = self.name_of(carer);
            carers.push(ExportedCarer { carer, sections: m.sections, not_after: m.not_after });
        }
        Ok(ConsentExport {
            domain: self.trusted.roster.domain.clone(),
            owner: self.label.clone(),
            policies: self.entry.policies.clone(),
            grants,
            carers,
        })
    }

    /// Puts an export into force: what is granted already stays as it is, what has run out is left out. How many
    /// grants and carers are new. Policies replace those of the same name.
    pub async fn import(&mut self, export: &ConsentExport) -> Result<u64, PatientError> {
        let held = self.export().await?;
        let now = now_s();
        let mut count = 0;
        for g in export.grants.iter().filter(|g| g.not_after > now) {
            let known = |h: &ExportedGrant| {
                ExportedGrant { joined_by: g.joined_by, not_before: g.not_before, ..h.clone() } == *g
            };
            if held.grants.iter().any(known) {
                continue;
            }
            let emergency = match g.wakers.is_empty() {
                true => None,
                false => Some(self.emergency(&g.wakers, g.minutes.unwrap_or(60)).await?),
            };
            let newcomers = match (g.newcomers_later, g.joined_by) {
                (true, at) => Newcomers::Later(at),
                (false, Some(at)) => Newcomers::JoinedBy(at),
                (false, None) => Newcomers::All,
            };
            let offer = Offer {
                reader: self.reader(&g.reader).await?,
                sections: vec![g.section.clone()],
                epochs: Epochs::All,
                purposes: vec![g.purpose.clone()],
                not_before: g.not_before,
                not_after: g.not_after,
                newcomers,
                providers: self.providers(&g.providers)?,
                emergency,
            };
            count += self.offer_at(&offer, &g.section, g.epoch, &g.purpose).await?;
        }
        for c in export.carers.iter().filter(|c| c.not_after > now && !held.carers.contains(c)) {
            count += self.mandate(&c.carer, c.sections.clone(), c.not_after).await?;
        }
        for policy in &export.policies {
            self.entry.policies.retain(|p| p.name != policy.name);
            self.entry.policies.push(policy.clone());
        }
        Ok(count)
    }
}
