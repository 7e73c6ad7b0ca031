//! The data plane: batches in, matches and sealed records out. CBOR.

use axum::{
    body::Body,
    extract::State,
    response::{IntoResponse, Response},
};
use sealdex_net::{Call, Cbor, Refusal, clock::now_ms};
use sealdex_wire::{
    ProblemType,
    auth::sha256,
    codec,
    consent::Accepted,
    ingest::{BatchReceipt, BatchUpload, UploadRecord, batch_digest},
    limits,
    search::{CloudMatch, CloudMatches, CloudSearch, FetchTicket, Fetched, WithdrawTickets},
};
use serde_bytes::ByteBuf;

use super::{Api, blocking};
use crate::{
    index::IndexSearch,
    ingest::IngestError,
    store::{NewBatch, StoreError, packed_ids},
};

/// Largest body of an unsigned request, bytes: a ticket and its ids.
const TICKET_BODY: usize = 16 * limits::TICKET_RECORDS + 4096;
/// Sealed bytes in one answer at most; clients read up to four bodies.
const FETCH_BYTES: usize = 4 * limits::BODY - (1 << 20);

impl From<IngestError> for Refusal {
    fn from(e: IngestError) -> Self {
        match e {
            IngestError::Full => Self::new(ProblemType::Overloaded, e.to_string()),
            IngestError::Refused(crate::store::Refused::RepeatedRecord(_)) => Self::malformed(e),
            IngestError::Refused(_) => Self::new(ProblemType::Conflict, e.to_string()),
            IngestError::Failed => Self::internal(e),
        }
    }
}

/// `POST /v1/batches`: answered when the batch is durable.
pub(super) async fn batches(State(api): State<Api>, call: Call) -> Result<Cbor<BatchReceipt>, Refusal> {
    let members = api.domain.members()?;
    let provider = call.caller.id;
    let known = members.provider(provider).ok_or_else(|| Refusal::forbidden("only providers push batches"))?;
    if !known.active {
        return Err(Refusal::forbidden("this provider, or one above it, was revoked"));
    }
    let room = api.ingest.room(call.body.len())?;
    let domain = api.domain.clone();
    let batch = blocking(move || {
        let upload: BatchUpload = call.cbor()?;
        check(&upload)?;
        let entries = upload.records.iter().map(|r| (r.id, &r.index));
        let digest = batch_digest(&domain.name, upload.batch, provider, entries);
        let gate = members
            .gate(upload.gate)
            .ok_or_else(|| refused_gate("the batch names a gate that is not in the roster"))?;
        gate.verify(&digest, &upload.gate_signature)
            .map_err(|_| refused_gate("the gate's signature does not fit this batch, provider and index entries"))?;
        let body_sha256 = sha256(&[&call.body]);
        Ok(NewBatch { batch: upload.batch, provider, hospital: known.hospital, body_sha256, records: upload.records })
    })
    .await?;
    let records = batch.records.len();
    let receipt = api.ingest.accept(batch, room).await?;
    if !receipt.duplicate {
        metrics::counter!("sealdex_cloud_records_total").increment(records as u64);
        metrics::gauge!("sealdex_cloud_accepted_seq").set(receipt.seq as f64);
    }
    Ok(Cbor(receipt))
}

fn refused_gate(detail: &str) -> Refusal {
    Refusal::new(ProblemType::BadDocument, detail)
}

/// The limits of a batch.
fn check(upload: &BatchUpload) -> Result<(), Refusal> {
    if upload.records.is_empty() || upload.records.len() > limits::BATCH_RECORDS {
        return Err(Refusal::malformed(format_args!("a batch has 1 to {} records", limits::BATCH_RECORDS)));
    }
    upload.records.iter().try_for_each(check_record)
}

fn check_record(record: &UploadRecord) -> Result<(), Refusal> {
    let wrong = |what: &str, bound: usize| {
        Err(Refusal::malformed(format_args!("record {}: {what} (at most {bound})", record.id)))
    };
    let terms = &record.index.terms;
    if record.index.tag.is_empty() || record.index.tag.len() > limits::TAG {
        return wrong("the routing tag is missing or too long", limits::TAG);
    }
    if record.sealed.is_empty() || record.sealed.len() > limits::SEALED {
        return wrong("the sealed bytes are missing or too many", limits::SEALED);
    }
    if !terms.len().is_multiple_of(16) || terms.len() / 16 > limits::RECORD_ENTRIES {
        return wrong("terms must be 16 bytes each and not too many", limits::RECORD_ENTRIES);
    }
    Ok(())
}

/// `POST /v1/search`: which records match, for a gate.
pub(super) async fn search(State(api): State<Api>, call: Call) -> Result<Response, Refusal> {
    let members = api.domain.members()?;
    if members.gate(call.caller.id).is_none() {
        return Err(Refusal::forbidden("only gates search"));
    }
    api.ready()?;
    api.read(move |api| {
        let asked: CloudSearch = call.cbor()?;
        asked.clause.check().map_err(Refusal::malformed)?;
        if asked.limit == 0 || asked.limit > limits::PAGE {
            return Err(Refusal::malformed(format_args!("the limit of a page is 1 to {}", limits::PAGE)));
        }
        let limit = asked.limit as usize;
        let clause = members.unfold(asked.clause).map_err(Refusal::malformed)?;
        // One more than asked for tells whether there is a next page.
        let search = IndexSearch { clause, sort: asked.sort, after: asked.after, limit: limit + 1 };
        let mut found = api.index.find(&search).map_err(Refusal::internal)?;
        let more = found.len() > limit;
        found.truncate(limit);
        let mut out = CloudMatches { providers: Vec::new(), matches: Vec::with_capacity(found.len()), next: None };
        out.next = if more { found.last().map(|f| f.at) } else { None };
        let mut places = std::collections::HashMap::new();
        for f in found {
            let provider = *places.entry(f.record.provider).or_insert_with(|| {
                out.providers.push(f.record.provider);
                out.providers.len() as u32 - 1
            });
            out.matches.push(CloudMatch(f.at.id, provider, f.record.tag));
        }
        metrics::histogram!("sealdex_cloud_matches").record(out.matches.len() as f64);
        Ok(Cbor(out).into_response())
    })
    .await
}

/// `POST /v1/records`: sealed records for whoever holds a ticket.
pub(super) async fn records(State(api): State<Api>, body: Body) -> Result<Response, Refusal> {
    let body = axum::body::to_bytes(body, TICKET_BODY).await.map_err(|_| {
        Refusal::new(ProblemType::TooLarge, format!("a ticket and its ids are at most {TICKET_BODY} bytes"))
    })?;
    let members = api.domain.members()?;
    api.read(move |api| {
        let fetch: FetchTicket = codec::from_cbor(&body).map_err(Refusal::malformed)?;
        api.tickets.check(&fetch, &members, now_ms())?;
        let ids: Vec<_> = packed_ids(&fetch.ids).collect();
        // What was found is read where it was found: a record that was replaced a moment ago would be gone from
        // the store, and its next version not be searchable yet.
        let snapshot = match api.index.snapshot() {
            Some(searched) => searched,
            None => api.store.snapshot().map_err(Refusal::internal)?,
        };
        let sealed = snapshot.sealed(&ids, FETCH_BYTES).map_err(|e| match e {
            StoreError::TooLarge(_) => Refusal::new(ProblemType::TooLarge, e.to_string()),
            other => Refusal::internal(other),
        })?;
        let fetched = Fetched { sealed: sealed.into_iter().map(|s| s.map(ByteBuf::from)).collect() };
        Ok(Cbor(fetched).into_response())
    })
    .await
}

/// `POST /v1/tickets/withdraw`: in force when it is answered.
pub(super) async fn withdraw(State(api): State<Api>, call: Call) -> Result<Cbor<Accepted>, Refusal> {
    if api.domain.members()?.gate(call.caller.id).is_none() {
        return Err(Refusal::forbidden("only gates withdraw tickets"));
    }
    let message: WithdrawTickets = call.cbor()?;
    Ok(Cbor(Accepted { count: api.tickets.withdraw(&message.nonces, now_ms())? }))
}
