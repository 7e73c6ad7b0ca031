//! A patient's wallet behind FHIR: grants as Consent, the gate's trail as AuditEvent.

use futures_util::future::BoxFuture;
use sealdex_client::{
    Patient, PatientError,
    patient::consent::{Standing, Wanted},
};
use serde_json::Value as Json;

use crate::portal::{AuditFilter, PatientPortal, PortalError};

impl From<PatientError> for PortalError {
    fn from(e: PatientError) -> Self {
        match e {
            PatientError::Consent(e) => Self::Invalid { path: e.path, reason: e.reason },
            PatientError::Call(ref call) if call.problem_type().is_some() => Self::Forbidden(e.to_string()),
            other => {
                tracing::warn!(error = %other, "the gate was of no use to a patient");
                Self::Unavailable("the gate does not answer, or not rightly".into())
            }
        }
    }
}

/// The consent with this id, in its newest form.
fn with_id(all: Vec<Standing>, id: &str) -> Result<Standing, PortalError> {
    all.into_iter().find(|s| s.id == id).ok_or(PortalError::NotFound)
}

/// Puts a consent into force, or ends it; the consent as it then stands.
async fn put(patient: &Patient, json: &Json) -> Result<Json, PortalError> {
    if let Err(violations) = sealdex_r4::validate(json)
        && let Some(first) = violations.into_iter().next()
    {
        return Err(PortalError::Invalid { path: first.path, reason: first.reason });
    }
    let wanted: Wanted = patient.wanted(json)?;
    let id = wanted.id().ok_or_else(|| PortalError::Conflict("the reader's keys are no keys".into()))?;
    if json["id"].as_str().is_some_and(|stated| stated != id) {
        let text = format!(
            "a consent's id stands for its reader and purpose, and for these it is {id}: create a new one by POST"
        );
        return Err(PortalError::Conflict(text));
    }
    if wanted.sections.is_empty() {
        let standing = with_id(patient.consents().await?, &id)?;
        patient.revoke(&standing).await?;
        let mut ended = patient.consent_json(&standing);
        ended["status"] = json["status"].clone();
        return Ok(ended);
    }
    patient.put(&wanted).await?;
    Ok(patient.consent_json(&with_id(patient.consents().await?, &id)?))
}

impl PatientPortal for Patient {
    fn consents(&self) -> BoxFuture<'_, Result<Vec<Json>, PortalError>> {
        Box::pin(async move {
            let all = Patient::consents(self).await?;
            Ok(all.iter().map(|s| self.consent_json(s)).collect())
        })
    }

    fn put_consent(&self, consent: Json) -> BoxFuture<'_, Result<Json, PortalError>> {
        Box::pin(async move { put(self, &consent).await })
    }

    fn delete_consent(&self, id: &str) -> BoxFuture<'_, Result<(), PortalError>> {
        let id = id.to_owned();
        Box::pin(async move {
            let standing = with_id(Patient::consents(self).await?, &id)?;
            Ok(self.revoke(&standing).await?)
        })
    }

    fn audit_events(&self, filter: AuditFilter) -> BoxFuture<'_, Result<Vec<Json>, PortalError>> {
        Box::pin(async move {
            let mut all = self.accesses().await?.all;
            // Acts are committed in groups, so their places need not follow their times.
            all.sort_by_key(|a| (a.at, a.place));
            Ok(all.iter().rev().take(filter.limit).map(|a| self.audit_json(a)).collect())
        })
    }
}
