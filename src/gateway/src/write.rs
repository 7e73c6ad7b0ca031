//! Writing: `POST Type` and `PUT Type/ID`, through whatever takes records in.

use futures_util::future::BoxFuture;
use http::{StatusCode, header};
use sealdex_fhir::{
    Record,
    search::{Handling, parse},
};
use serde_json::{Map, Value as Json};

use crate::{
    call::{Call, Reply},
    clock,
    negotiation::Return,
    outcome::{Issue, Outcome, document},
    query::decode,
    resource::{describe, hash, names, version},
    server::Gateway,
};

/// Why a resource is none of R4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// FHIRPath of the element.
    pub path: String,
    /// What is wrong with it.
    pub reason: String,
}

/// What became of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is durable.
    Stored {
        /// An earlier version was there.
        replaced: bool,
    },
    /// It was there already.
    Unchanged,
    /// It was refused, such as for lack of the patient's permission; trying again does not help.
    Rejected(String),
    /// Gate or cloud did not take it now; trying again may help.
    Unavailable(String),
}

/// What became of a record that was to be deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// It is gone, durably.
    Gone,
    /// This hospital had none.
    Absent,
    /// It could not be done now; trying again may help.
    Unavailable(String),
}

/// What takes records in: a provider's writer and a validator of resources.
pub trait Ingest: Send + Sync + 'static {
    /// Checks a resource against R4.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    fn validate(&self, resource: &Json) -> Result<(), Vec<Violation>>;

    /// Seals and uploads records; one answer for each, in order.
    fn write(&self, records: Vec<Record>) -> BoxFuture<'_, Vec<Written>>;

    /// Deletes a record of this hospital, `Type/id`.
    fn delete(&self, identity: String) -> BoxFuture<'_, Deleted>;

    /// Whether this hospital has deleted a record and not brought it again since.
    fn deleted(&self, identity: String) -> BoxFuture<'_, bool>;

    /// Ends what patients have ordered to be erased. Called now and then.
    fn erase(&self) -> BoxFuture<'_, ()>;
}

impl Gateway {
    fn ingest(&self) -> Result<&dyn Ingest, Outcome> {
        self.ingest.as_deref().ok_or_else(|| {
            Outcome::method(
                "GET, HEAD",
                "this gateway reads only: start it with --provider, a hospital's folder, to write",
            )
        })
    }

    /// `POST Type`.
    pub(crate) async fn create(&self, call: &Call, kind: &str) -> Result<Reply, Outcome> {
        let ingest = self.ingest()?;
        let resource = resource(call, kind)?;
        let _one = self.writes.lock().await;
        if let Some(criteria) = call.header("if-none-exist")
            && let Some(existing) = self.existing(kind, criteria).await?
        {
            return Ok(existing);
        }
        let id = uuid::Uuid::now_v7().to_string();
        self.store(call, ingest, kind, &id, resource).await
    }

    /// `PUT Type/ID`.
    pub(crate) async fn update(&self, call: &Call, kind: &str, id: &str) -> Result<Reply, Outcome> {
        let ingest = self.ingest()?;
        let resource = resource(call, kind)?;
        match resource.get("id").and_then(Json::as_str) {
            Some(stated) if stated == id => {}
            Some(_) => return Err(Outcome::invalid("the id in the body differs from the one in the URL")),
            None => return Err(Outcome::invalid("the body has no id: an update needs the one of the URL")),
        }
        let _one = self.writes.lock().await;
        let current = self.domain.session().read(&[format!("{kind}/{id}")]).await?.pop();
        let failed = |text: String| Outcome::new(StatusCode::PRECONDITION_FAILED, "conflict", text);
        if let Some(tags) = call.header("if-match") {
            let held = current.as_ref().map(|h| version(&h.json, &h.bytes));
            match held {
                Some(held) if names(tags, &held) => {}
                Some(held) => {
                    return Err(failed(format!(
                        "the current version is W/\"{held}\": read it and apply your change to it"
                    )));
                }
                None => return Err(failed(format!("{kind}/{id} does not exist, or this key may not see it"))),
            }
        }
        if call.header("if-none-match").is_some_and(|tags| tags.trim() == "*") && current.is_some() {
            return Err(failed(format!("{kind}/{id} exists already")));
        }
        if let Some(hit) = current.as_ref().filter(|h| bare(&h.json) == bare(&resource)) {
            return Ok(answer(call, StatusCode::OK, &hit.json, &hit.bytes));
        }
        self.store(call, ingest, kind, id, resource).await
    }

    /// `DELETE Type/ID`: of this hospital's record. One that is not there is deleted already.
    pub(crate) async fn delete(&self, call: &Call, kind: &str, id: &str) -> Result<Reply, Outcome> {
        let ingest = self.ingest()?;
        let identity = format!("{kind}/{id}");
        let _one = self.writes.lock().await;
        if let Some(tags) = call.header("if-match") {
            let current = self.domain.session().read(std::slice::from_ref(&identity)).await?.pop();
            let held = current.map(|h| version(&h.json, &h.bytes));
            if !held.as_ref().is_some_and(|held| names(tags, held)) {
                let text = match held {
                    Some(held) => format!("the current version is W/\"{held}\": read it before it is deleted"),
                    None => format!("{identity} does not exist, or this key may not see it"),
                };
                return Err(Outcome::new(StatusCode::PRECONDITION_FAILED, "conflict", text));
            }
        }
        let deleted = ingest.delete(identity.clone()).await;
        self.memory.clear();
        match deleted {
            Deleted::Gone => Ok(Reply::empty(StatusCode::NO_CONTENT)),
            Deleted::Absent => match self.domain.session().read(std::slice::from_ref(&identity)).await?.pop() {
                None => Ok(Reply::empty(StatusCode::NO_CONTENT)),
                Some(_) => Err(Outcome::forbidden(format!(
                    "{identity} is not this hospital's: only the hospital that pushed it can delete it"
                ))),
            },
            Deleted::Unavailable(reason) => {
                let text = format!("the record could not be deleted now: {reason}; try again");
                Err(Outcome::new(StatusCode::SERVICE_UNAVAILABLE, "transient", text)
                    .with(header::RETRY_AFTER, http::HeaderValue::from_static("2")))
            }
        }
    }

    /// Why there is no such resource: deleted, where this hospital knows it, or not known.
    pub(crate) async fn missing(&self, kind: &str, id: &str) -> Outcome {
        let identity = format!("{kind}/{id}");
        match &self.ingest {
            Some(ingest) if ingest.deleted(identity.clone()).await => Outcome::new(
                StatusCode::GONE,
                "deleted",
                format!("{identity} was deleted by this hospital; PUT brings it back as a new resource"),
            ),
            _ => Outcome::not_found(format!("{identity} does not exist, or this key may not see it")),
        }
    }

    /// `If-None-Exist`: what is there already.
    async fn existing(&self, kind: &str, criteria: &str) -> Result<Option<Reply>, Outcome> {
        let search = parse(kind, &decode(criteria.trim_start_matches('?'))?, Handling::Strict)?;
        if search.conditions.is_empty() {
            return Err(Outcome::invalid("If-None-Exist names no condition"));
        }
        let mut found = self.domain.session().search(&search).await?.matches;
        match found.len() {
            0 => Ok(None),
            1 => Ok(found.pop().map(|h| describe(Reply::empty(StatusCode::OK), &h.json, &h.bytes))),
            n => Err(Outcome::new(
                StatusCode::PRECONDITION_FAILED,
                "multiple-matches",
                format!("{n} resources match If-None-Exist: make it narrower"),
            )),
        }
    }

    async fn store(
        &self,
        call: &Call,
        ingest: &dyn Ingest,
        kind: &str,
        id: &str,
        resource: Json,
    ) -> Result<Reply, Outcome> {
        let json = stamp(resource, id);
        ingest.validate(&json).map_err(refused)?;
        let bytes = json.to_string().into_bytes();
        let record = Record::from_bytes(bytes.clone()).map_err(|e| Outcome::invalid(e.to_string()))?;
        let written = ingest.write(vec![record]).await.pop();
        let status = match written {
            Some(Written::Stored { replaced: false }) => StatusCode::CREATED,
            Some(Written::Stored { replaced: true } | Written::Unchanged) => StatusCode::OK,
            Some(Written::Rejected(reason)) => {
                let text = format!("the record was refused: {reason}");
                return Err(Outcome::new(StatusCode::UNPROCESSABLE_ENTITY, "processing", text));
            }
            Some(Written::Unavailable(reason)) => {
                let text = format!("the record could not be stored now: {reason}; try again");
                return Err(Outcome::new(StatusCode::SERVICE_UNAVAILABLE, "transient", text)
                    .with(header::RETRY_AFTER, http::HeaderValue::from_static("2")));
            }
            None => return Err(Outcome::internal("the writer gave no answer")),
        };
        self.memory.clear();
        let location = format!("{}/{kind}/{id}/_history/{}", call.base, version(&json, &bytes));
        let reply = answer(call, status, &json, &bytes).with(header::CONTENT_LOCATION, &location);
        Ok(if status == StatusCode::CREATED { reply.with(header::LOCATION, &location) } else { reply })
    }
}

/// The resource in a body, of the type the URL says.
fn resource(call: &Call, kind: &str) -> Result<Json, Outcome> {
    let json = call.json()?;
    match json.get("resourceType").and_then(Json::as_str) {
        Some(stated) if stated == kind => Ok(json),
        Some(stated) => Err(Outcome::invalid(format!("the body is of type {stated:?}, the URL says {kind}"))),
        None => Err(Outcome::invalid("the body has no resourceType")),
    }
}

/// A resource without what a server says about it: its content.
fn bare(resource: &Json) -> Json {
    let mut bare = resource.clone();
    if let Some(meta) = bare.get_mut("meta").and_then(Json::as_object_mut) {
        meta.retain(|k, _| k != "versionId" && k != "lastUpdated");
        if meta.is_empty()
            && let Some(all) = bare.as_object_mut()
        {
            all.shift_remove("meta");
        }
    }
    bare
}

/// The resource with its id, its version (a hash of its content) and the time of writing.
fn stamp(resource: Json, id: &str) -> Json {
    let version = hash(bare(&resource).to_string().as_bytes());
    let Json::Object(given) = resource else { return resource };
    let mut meta = given.get("meta").and_then(Json::as_object).cloned().unwrap_or_default();
    meta.insert("versionId".into(), version.into());
    meta.insert("lastUpdated".into(), clock::now_text().into());
    let mut out = Map::new();
    out.extend(given.get("resourceType").map(|t| ("resourceType".to_owned(), t.clone())));
    out.insert("id".into(), id.into());
    out.insert("meta".into(), Json::Object(meta));
    out.extend(given.into_iter().filter(|(k, _)| k != "resourceType" && k != "id" && k != "meta"));
    Json::Object(out)
}

fn refused(violations: Vec<Violation>) -> Outcome {
    let issue = |v: Violation| Issue { expression: Some(v.path), ..Issue::error("invalid", v.reason) };
    let mut issues: Vec<Issue> = violations.into_iter().take(100).map(issue).collect();
    if issues.is_empty() {
        issues.push(Issue::error("invalid", "the resource is not valid"));
    }
    Outcome { issues, ..Outcome::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", "") }
}

/// The reply to a write, as the client prefers it.
pub(crate) fn answer(call: &Call, status: StatusCode, json: &Json, bytes: &[u8]) -> Reply {
    let reply = match call.prefer.returned {
        Return::Minimal => Reply::empty(status),
        Return::Representation => Reply::fhir(bytes.to_vec()).status(status),
        Return::OperationOutcome => {
            let text = if status == StatusCode::CREATED { "created" } else { "stored" };
            Reply::fhir(document(&[Issue::information(text)]).to_string().into_bytes()).status(status)
        }
    };
    describe(reply, json, bytes)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_stamp_says_who_and_when_and_the_same_content_has_the_same_version() {
        let sent = json!({ "resourceType": "Patient", "active": true, "meta": { "versionId": "9", "profile": ["p"] }, "n": 1 });
        let (a, b) = (stamp(sent.clone(), "x"), stamp(sent.clone(), "x"));
        assert_eq!(a["meta"]["versionId"], b["meta"]["versionId"]);
        assert_ne!(a["meta"]["versionId"], "9");
        assert_eq!((&a["id"], &a["meta"]["profile"][0]), (&json!("x"), &json!("p")));
        assert_eq!(a.as_object().unwrap().keys().collect::<Vec<_>>(), ["resourceType", "id", "meta", "active", "n"]);
        assert_ne!(
            stamp(json!({ "resourceType": "Patient", "active": false }), "x")["meta"]["versionId"],
            a["meta"]["versionId"]
        );
        assert!(clock::parse(a["meta"]["lastUpdated"].as_str().unwrap()).is_some());
        let with_id = json!({ "resourceType": "Patient", "id": "x", "active": true });
        assert_eq!(bare(&stamp(with_id.clone(), "x")), with_id, "what comes back is what was sent");
    }
}
