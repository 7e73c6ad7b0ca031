//! What a patient does at a gateway of their own: consents and who read what.

use futures_util::future::BoxFuture;
use http::{StatusCode, header};
use sealdex_fhir::{
    Hit,
    search::{Condition, Handling, Joined, Summary, parse},
};
use serde_json::Value as Json;

use crate::{
    bundle::SearchSet,
    call::{Call, Reply},
    outcome::{Issue, Outcome},
    paging::{DEFAULT, Listing, MOST, PAGE},
    query::last,
    resource::{names, reply, version},
    search::entries,
    server::Gateway,
    summary::View,
    target::{Target, legal_id},
    write::answer,
};

/// Why the portal did not do it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortalError {
    /// The consent cannot be expressed in grants: at this FHIRPath, for this reason.
    Invalid {
        /// FHIRPath.
        path: String,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// There is no such consent.
    NotFound,
    /// It contradicts what is in force.
    Conflict(String),
    /// Gate or cloud do not answer now.
    Unavailable(String),
    /// It must not be done.
    Forbidden(String),
}

/// Time span of audit events, Unix seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Most events wanted.
    pub limit: usize,
}

/// A patient's wallet behind FHIR: grants as Consent, the gate's log as AuditEvent.
pub trait PatientPortal: Send + Sync + 'static {
    /// All consents, as FHIR `Consent` with `id`.
    fn consents(&self) -> BoxFuture<'_, Result<Vec<Json>, PortalError>>;

    /// Puts a consent into force; the consent as it now stands. Without an `id` it is a new one.
    fn put_consent(&self, consent: Json) -> BoxFuture<'_, Result<Json, PortalError>>;

    /// Takes a consent back; in force when it returns.
    fn delete_consent(&self, id: &str) -> BoxFuture<'_, Result<(), PortalError>>;

    /// What was done with the patient's records, newest first, as FHIR `AuditEvent` with `id`.
    fn audit_events(&self, filter: AuditFilter) -> BoxFuture<'_, Result<Vec<Json>, PortalError>>;
}

/// Most audit events looked through for one search.
const EVENTS: usize = 10_000;

impl From<PortalError> for Outcome {
    fn from(e: PortalError) -> Self {
        match e {
            PortalError::Invalid { path, reason } => {
                let mut out = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "business-rule", reason);
                out.issues[0].expression = Some(path);
                out
            }
            PortalError::NotFound => Self::not_found("there is no such consent"),
            PortalError::Conflict(text) => Self::new(StatusCode::CONFLICT, "conflict", text),
            PortalError::Forbidden(text) => Self::forbidden(text),
            PortalError::Unavailable(text) => Self::new(StatusCode::SERVICE_UNAVAILABLE, "transient", text)
                .with(header::RETRY_AFTER, http::HeaderValue::from_static("2")),
        }
    }
}

fn hits(resources: Vec<Json>) -> Vec<Hit> {
    let hit = |json: Json| {
        let text = |name: &str| json.get(name).and_then(Json::as_str).map(str::to_owned);
        let identity = format!("{}/{}", text("resourceType")?, text("id").filter(|id| legal_id(id))?);
        Some(Hit { identity, bytes: json.to_string().into_bytes(), json, sources: Default::default() })
    };
    resources.into_iter().filter_map(hit).collect()
}

impl Gateway {
    /// Whether the portal answers for this type.
    pub(crate) fn portal_for(&self, target: &Target) -> Option<&dyn PatientPortal> {
        let kind = match target {
            Target::Type { kind, .. } | Target::Instance { kind, .. } | Target::Version { kind, .. } => kind,
            _ => return None,
        };
        self.portal.as_deref().filter(|_| kind == "Consent" || kind == "AuditEvent")
    }

    /// Everything about Consent and AuditEvent.
    pub(crate) async fn portal(&self, portal: &dyn PatientPortal, call: &Call) -> Result<Reply, Outcome> {
        match (&call.target, call.method.as_str()) {
            (Target::Type { kind, search: false }, "GET") | (Target::Type { kind, search: true }, "POST") => {
                self.portal_search(portal, call, kind).await
            }
            (Target::Instance { kind, id }, "GET") => self.portal_read(portal, call, kind, id, None).await,
            (Target::Version { kind, id, version }, "GET") => {
                self.portal_read(portal, call, kind, id, Some(version)).await
            }
            (Target::Type { kind, .. }, "POST") if kind == "Consent" => put(portal, call, None).await,
            (Target::Instance { kind, id }, "PUT") if kind == "Consent" => {
                if let Some(tags) = call.header("if-match") {
                    let held = find(portal, "Consent", id).await?;
                    if !names(tags, &version(&held.json, &held.bytes)) {
                        let text = "the consent has changed since: read it and apply your change to it";
                        return Err(Outcome::new(StatusCode::PRECONDITION_FAILED, "conflict", text));
                    }
                }
                put(portal, call, Some(id)).await
            }
            (Target::Instance { kind, id }, "DELETE") if kind == "Consent" => {
                portal.delete_consent(id).await?;
                Ok(Reply::empty(StatusCode::NO_CONTENT))
            }
            (Target::Instance { kind, .. }, _) if kind == "Consent" => {
                Err(Outcome::method("GET, HEAD, PUT, DELETE", "consents are read, put and deleted"))
            }
            _ => {
                Err(Outcome::method("GET, HEAD, POST", "audit events are only read; consents are searched and created"))
            }
        }
    }

    async fn portal_read(
        &self,
        portal: &dyn PatientPortal,
        call: &Call,
        kind: &str,
        id: &str,
        wanted: Option<&str>,
    ) -> Result<Reply, Outcome> {
        let hit = find(portal, kind, id).await?;
        if wanted.is_some_and(|v| v != version(&hit.json, &hit.bytes)) {
            return Err(Outcome::not_found("only the current version is kept"));
        }
        Ok(reply(&hit, &View::of(&call.pairs)?, &call.headers))
    }

    async fn portal_search(&self, portal: &dyn PatientPortal, call: &Call, kind: &str) -> Result<Reply, Outcome> {
        let handling = if call.prefer.strict { Handling::Strict } else { Handling::Lenient };
        let search = parse(kind, &call.criteria(), handling)?;
        if search.conditions.iter().any(|c| !matches!(c, Condition::Own(_))) || !search.shape.includes.is_empty() {
            let text = format!("{kind} is searched by its own parameters here: no chains, _has or _include");
            return Err(Outcome::new(StatusCode::BAD_REQUEST, "not-supported", text));
        }
        let all = match kind {
            "Consent" => portal.consents().await?,
            _ => portal.audit_events(AuditFilter { limit: EVENTS }).await?,
        };
        let joined = vec![Joined::Own; search.conditions.len()];
        let found: Vec<Hit> = hits(all).into_iter().filter(|h| search.holds(&h.json, &joined)).collect();
        let found = if search.shape.sort.is_empty() { found } else { search.arrange(found) };
        let counts = search.shape.summary == Summary::Count;
        let count = if counts { 0 } else { search.shape.count.map_or(DEFAULT, |c| c as usize).min(MOST) };
        let mut pairs = search.applied.clone();
        pairs.retain(|(n, _)| n != "_format" && n != "_pretty");
        pairs.extend(call.form());
        let listing = Listing { path: kind.to_owned(), pairs, count };
        let start = listing.start(last(&call.pairs, PAGE), &self.keys)?;
        let links = listing.links(&call.base, start, found.len(), &self.keys);
        let page: Vec<Hit> = found.iter().skip(start).take(count).cloned().collect();
        let entries = entries(&call.base, &page, &[], &View::of(&call.pairs)?);
        Ok(Reply::fhir(SearchSet { total: Some(found.len()), links, entries }.into_bytes()))
    }
}

async fn find(portal: &dyn PatientPortal, kind: &str, id: &str) -> Result<Hit, Outcome> {
    let all = match kind {
        "Consent" => portal.consents().await?,
        _ => portal.audit_events(AuditFilter { limit: EVENTS }).await?,
    };
    let identity = format!("{kind}/{id}");
    hits(all)
        .into_iter()
        .find(|h| h.identity == identity)
        .ok_or_else(|| Outcome::not_found(format!("{identity} does not exist")))
}

async fn put(portal: &dyn PatientPortal, call: &Call, id: Option<&str>) -> Result<Reply, Outcome> {
    let mut consent = call.json()?;
    if consent["resourceType"] != "Consent" {
        return Err(Outcome::invalid("the body is no Consent"));
    }
    match id {
        Some(id) if consent["id"] != id => {
            return Err(Outcome::invalid("the id in the body differs from the one in the URL"));
        }
        Some(_) => {}
        None => {
            // The server names what is new.
            if let Some(all) = consent.as_object_mut() {
                all.shift_remove("id");
            }
        }
    }
    let stored = portal.put_consent(consent).await?;
    let bytes = stored.to_string().into_bytes();
    let Some(now) = stored["id"].as_str() else {
        return Err(Outcome {
            issues: vec![Issue::error("exception", "the consent is in force, but has no id")],
            ..Outcome::internal("a consent without id")
        });
    };
    let status = if id.is_none() { StatusCode::CREATED } else { StatusCode::OK };
    let location = format!("{}/Consent/{now}/_history/{}", call.base, version(&stored, &bytes));
    Ok(answer(call, status, &stored, &bytes)
        .with(header::LOCATION, &location)
        .with(header::CONTENT_LOCATION, &location))
}
