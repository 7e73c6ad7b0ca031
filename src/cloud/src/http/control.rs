//! The control plane: roster, counts, and a look at what is stored. JSON.

use axum::{extract::State, http::Uri};
use sealdex_crypto::{PrincipalId, RecordId, Term};
use sealdex_net::{Call, Json, Refusal};
use sealdex_wire::{
    ProblemType, codec,
    consent::{Accepted, UpdateRoster},
    family::UpdateFamily,
    ingest::CloudStats,
    limits,
};
use serde::Serialize;

use super::{Api, blocking, unwritten};
use crate::members::Members;

/// Records in an excerpt at most.
const EXCERPT: usize = 100;
/// Sealed bytes shown of each.
const PREFIX: usize = 64;

/// `PUT /v1/roster`: a newer roster. The same one again changes nothing.
pub(super) async fn put_roster(State(api): State<Api>, call: Call) -> Result<Json<Accepted>, Refusal> {
    only_authority(&api, &call)?;
    let update: UpdateRoster = call.json()?;
    if !update.bridges.is_empty() {
        return Err(Refusal::malformed("bridge scalars are for gates: a cloud takes none"));
    }
    let bad = |e: crate::members::RosterError| Refusal::new(ProblemType::BadDocument, e.to_string());
    let _one_at_a_time = api.roster_gate.lock().await;
    let family = api.domain.current().map(|m| m.documents.family.clone()).unwrap_or_default();
    let members = api.domain.verify(&update.roster, family).map_err(bad)?;
    if let Some(current) = api.domain.current()
        && members.version <= current.version
    {
        if current.documents.roster.payload == update.roster.payload {
            return Ok(Json(Accepted { count: 0 }));
        }
        return Err(Refusal::new(
            ProblemType::Conflict,
            format!("roster version {} is not newer than {}, which is in force", members.version, current.version),
        ));
    }
    keep(&api, members).await?;
    Ok(Json(Accepted { count: 1 }))
}

/// Stores who belongs to the domain, and puts it in force.
async fn keep(api: &Api, members: Members) -> Result<(), Refusal> {
    let rosters = api.rosters.clone();
    let document = codec::to_json(&members.documents).into_bytes();
    blocking(move || rosters.put_roster(&document).map_err(unwritten)).await?;
    tracing::info!(version = members.version, "who belongs to the domain has changed");
    api.domain.enter(members);
    api.log_wake.notify_one();
    api.acts_wake.notify_one();
    Ok(())
}

/// `POST /v1/members`: a provider enrols providers below itself, or dismisses them. No names, no factors.
pub(super) async fn post_members(State(api): State<Api>, call: Call) -> Result<Json<Accepted>, Refusal> {
    let update: UpdateFamily = call.json()?;
    if !update.factors.is_empty() {
        return Err(Refusal::malformed("factors are for gates: a cloud takes none"));
    }
    if update.enrolments.len() + update.dismissals.len() > limits::DOCUMENTS {
        return Err(Refusal::malformed(format!("at most {} documents at once", limits::DOCUMENTS)));
    }
    let _one_at_a_time = api.roster_gate.lock().await;
    let current = api.domain.members()?;
    if !current.provider(call.caller.id).is_some_and(|p| p.active) {
        return Err(Refusal::forbidden("only active providers enrol and dismiss"));
    }
    let own = |signer| signer == call.caller.id;
    if !update.enrolments.iter().all(|e| own(e.signer)) || !update.dismissals.iter().all(|d| own(d.signer)) {
        return Err(Refusal::forbidden("what a provider sends must be signed by itself"));
    }
    let mut family = current.documents.family.clone();
    let before = family.enrolments.len() + family.dismissals.len();
    for e in update.enrolments {
        if !family.enrolments.iter().any(|known| known.payload == e.payload) {
            family.enrolments.push(e);
        }
    }
    for d in update.dismissals {
        if !family.dismissals.iter().any(|known| known.payload == d.payload) {
            family.dismissals.push(d);
        }
    }
    let count = (family.enrolments.len() + family.dismissals.len() - before) as u64;
    if count > 0 {
        let bad = |e: crate::members::RosterError| Refusal::new(ProblemType::BadDocument, e.to_string());
        let members = api.domain.verify(&current.documents.roster, family).map_err(bad)?;
        keep(&api, members).await?;
    }
    Ok(Json(Accepted { count }))
}

fn only_authority(api: &Api, call: &Call) -> Result<(), Refusal> {
    if call.caller.id == api.domain.authority.id() {
        Ok(())
    } else {
        Err(Refusal::forbidden("only the authority may do this"))
    }
}

/// `GET /v1/stats`.
pub(super) async fn stats(State(api): State<Api>, call: Call) -> Result<Json<CloudStats>, Refusal> {
    if !call.caller.known {
        return Err(Refusal::forbidden("only members, gates and the authority read the counts"));
    }
    api.read(|api| {
        let totals = api.store.totals().map_err(Refusal::internal)?;
        Ok(Json(CloudStats {
            records: totals.records,
            batches: totals.batches,
            accepted: totals.last_seq,
            indexed: api.index.indexed(),
            sealed_bytes: totals.sealed_bytes,
            store_bytes: totals.store_bytes,
            index_bytes: api.index.bytes(),
            providers: totals.providers,
        }))
    })
    .await
}

/// One record as the cloud has it.
#[derive(Debug, Serialize)]
pub(super) struct ExcerptRecord {
    id: RecordId,
    provider: PrincipalId,
    origin: Term,
    terms: Vec<String>,
    tag: String,
    sealed_prefix: String,
    sealed_bytes: usize,
}

/// `GET /v1/excerpt?n=`: the first records, raw, in hex.
pub(super) async fn excerpt(State(api): State<Api>, uri: Uri, call: Call) -> Result<Json<Vec<ExcerptRecord>>, Refusal> {
    only_authority(&api, &call)?;
    let asked = uri.query().unwrap_or("n=10").strip_prefix("n=").and_then(|n| n.parse::<usize>().ok());
    let n = asked
        .filter(|n| *n <= EXCERPT)
        .ok_or_else(|| Refusal::malformed(format_args!("ask for ?n=0 to {EXCERPT} records")))?;
    api.read(move |api| {
        let snapshot = api.store.snapshot().map_err(Refusal::internal)?;
        let mut out = Vec::with_capacity(n);
        for id in snapshot.ids(None, n).map_err(Refusal::internal)? {
            let Some(record) = snapshot.record(id).map_err(Refusal::internal)? else { continue };
            let sealed =
                snapshot.sealed(&[id], usize::MAX).map_err(Refusal::internal)?.pop().flatten().unwrap_or_default();
            out.push(ExcerptRecord {
                id,
                provider: record.provider,
                origin: record.origin,
                terms: record.terms.chunks(16).map(hex::encode).collect(),
                tag: hex::encode(record.tag),
                sealed_prefix: hex::encode(&sealed[..sealed.len().min(PREFIX)]),
                sealed_bytes: sealed.len(),
            });
        }
        Ok(Json(out))
    })
    .await
}
