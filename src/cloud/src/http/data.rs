//! The data plane: batches in, matches and sealed records out. CBOR.

use std::{collections::HashSet, sync::Arc};

use axum::{
    body::Body,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use sealdex_crypto::{PublicIdentity, RecordId, Term};
use sealdex_ledger::{
    BatchTrees, RecordsProof, SignedBatch, ended_hash,
    versions::{Versions, VersionsRequest},
};
use sealdex_net::{Call, Cbor, Refusal, clock::now_ms, trace::Stage};
use sealdex_wire::{
    ProblemType, codec,
    consent::Accepted,
    erasure::{AskStored, ScanPlace, ScanRecords, Scanned, Stored},
    ingest::{BatchReceipt, BatchUpload, Removed, Stated, UploadRecord, batch_digest},
    limits,
    search::{CloudMatch, CloudMatches, CloudSearch, FetchTicket, Fetched, WithdrawTickets},
};
use serde_bytes::ByteBuf;

use super::{Api, blocking};
use crate::{
    index::{IndexSearch, Searched},
    ingest::IngestError,
    store::{NewBatch, Snapshot, StatedBatch, StoreError, packed_ids},
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
            IngestError::Refused(crate::store::Refused::Chain { .. } | crate::store::Refused::Ended(_)) => {
                Self::new(ProblemType::StateAnew, e.to_string())
            }
            IngestError::Refused(_) => Self::new(ProblemType::Conflict, e.to_string()),
            IngestError::NoSpace => Self::new(ProblemType::NoSpace, e.to_string()),
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
    let stage = Stage::cloud("check");
    let domain = api.domain.clone();
    let (batch, room) = blocking(move || {
        let upload: BatchUpload = call.cbor()?;
        check(&upload)?;
        let entries = upload.records.iter().map(|r| (r.id, &r.index));
        let removed = Removed { origins: &upload.deletes, ids: &upload.erases };
        let digest = batch_digest(&domain.name, upload.batch, provider, removed, entries);
        let gate = members
            .gate(upload.gate)
            .ok_or_else(|| refused_gate("the batch names a gate that is not in the roster"))?;
        gate.verify(&digest, &upload.gate_signature)
            .map_err(|_| refused_gate("the gate's signature does not fit this batch, provider and index entries"))?;
        let body_sha256 = call.body_sha256;
        let stated = match (&upload.stated, members.ledger()) {
            (Some(stated), true) => Some(Arc::new(check_stated(&domain.name, &known.keys, &upload, stated)?)),
            (None, false) => None,
            (None, true) => {
                return Err(refused_gate("this domain has a log: the batch needs its provider's statement"));
            }
            (Some(_), false) => {
                return Err(refused_gate("this domain has no log: the batch must not have a statement"));
            }
        };
        let BatchUpload { batch, records, deletes, erases, .. } = upload;
        let deletes = deletes.as_chunks().0.iter().map(|origin| Term(*origin)).collect();
        let erases = packed_ids(&erases).collect();
        let hospital = known.hospital;
        Ok((NewBatch { batch, provider, hospital, body_sha256, records, deletes, erases, stated }, room))
    })
    .await?;
    drop(stage);
    let records = batch.records.len();
    let stage = Stage::cloud("store");
    let receipt = api.ingest.accept(batch, room).await?;
    drop(stage);
    if !receipt.duplicate {
        metrics::counter!("sealdex_cloud_records_total").increment(records as u64);
        metrics::counter!("sealdex_cloud_deleted_total").increment(receipt.deleted.len() as u64);
        metrics::gauge!("sealdex_cloud_accepted_seq").set(receipt.seq as f64);
    }
    Ok(Cbor(receipt))
}

fn refused_gate(detail: &str) -> Refusal {
    Refusal::new(ProblemType::BadDocument, detail)
}

/// The trees of a batch, if its provider stated just these.
fn check_stated(
    domain: &str,
    provider: &PublicIdentity,
    upload: &BatchUpload,
    stated: &Stated,
) -> Result<StatedBatch, Refusal> {
    let bad = |what: String| Refusal::new(ProblemType::BadDocument, what);
    let signed = SignedBatch::from_entry(&stated.entry).map_err(|e| bad(e.to_string()))?;
    signed.verify(domain, provider).map_err(|e| bad(e.to_string()))?;
    let trees = BatchTrees::new(&upload.records);
    let s = &signed.statement;
    let differs = [
        ("batch id", s.batch != upload.batch),
        ("number of records", s.records as usize != upload.records.len()),
        ("root over the records", s.records_root != trees.records_root()),
        ("number of index entries", s.pairs != trees.pairs.len() as u64),
        ("root over the index entries", s.run_root != trees.run_root()),
        (
            "list of ended records",
            s.ended_hash != ended_hash(&stated.ended) || stated.ended.len() != s.ended as usize * 16,
        ),
    ];
    match differs.iter().find(|(_, differs)| *differs) {
        Some((what, _)) => Err(bad(format!("the statement is about another batch: its {what} differs"))),
        None => Ok(StatedBatch { signed, ended: stated.ended.clone(), trees }),
    }
}

/// `POST /v1/versions`: which records a provider's next batch would replace, with what shows that they are.
pub(super) async fn versions(State(api): State<Api>, call: Call) -> Result<Cbor<Versions>, Refusal> {
    let members = api.domain.members()?;
    let provider = call.caller.id;
    let known = members.provider(provider).ok_or_else(|| Refusal::forbidden("only providers push batches"))?;
    api.read(move |api| {
        let asked: VersionsRequest = call.cbor()?;
        let (origins, odd) = asked.origins.as_chunks::<16>();
        let (erased, odd_ids) = asked.ids.as_chunks::<16>();
        let sound = odd.is_empty() && odd_ids.is_empty();
        if !sound || origins.len().saturating_add(erased.len()) > limits::BATCH_RECORDS {
            return Err(Refusal::malformed(format_args!(
                "at most {} origins and ids together, of 16 bytes each",
                limits::BATCH_RECORDS
            )));
        }
        let origins: Vec<Term> = origins.iter().map(|o| Term(*o)).collect();
        let ids = api.store.versions(known.hospital, &origins).map_err(Refusal::internal)?;
        let snapshot = api.store.snapshot().map_err(Refusal::internal)?;
        let mut ids: Vec<RecordId> = ids.into_iter().flatten().collect();
        for id in erased.iter().map(|id| RecordId(*id)) {
            let record = snapshot.record(id).map_err(Refusal::internal)?;
            ids.extend(record.filter(|r| r.hospital == known.hospital).map(|_| id));
        }
        let records = api.ledger.records_proofs(&*snapshot, &ids).map_err(Refusal::internal)?;
        let entry = |proof: &RecordsProof| Ok(ByteBuf::from(snapshot.entry(proof.seq)?.unwrap_or_default()));
        let entries = records.iter().map(entry).collect::<Result<_, StoreError>>().map_err(Refusal::internal)?;
        let last = snapshot.last_stated(provider).map_err(Refusal::internal)?.map(ByteBuf::from);
        Ok(Cbor(Versions { last, entries, records }))
    })
    .await
}

/// `POST /v1/scan`: every live record from a place on, for a gate that looks for what is erased.
pub(super) async fn scan(State(api): State<Api>, call: Call) -> Result<Cbor<Scanned>, Refusal> {
    if api.domain.members()?.gate(call.caller.id).is_none() {
        return Err(Refusal::forbidden("only gates look through the records"));
    }
    api.read(move |api| {
        let asked: ScanRecords = call.cbor()?;
        let snapshot = api.store.snapshot().map_err(Refusal::internal)?;
        Ok(Cbor(scanned(&*snapshot, asked.from).map_err(Refusal::internal)?))
    })
    .await
}

/// One page. Records that have ended since count for its length, so that it takes bounded time.
fn scanned(snapshot: &dyn Snapshot, from: ScanPlace) -> Result<Scanned, StoreError> {
    // A place beyond the end is of a store that had more.
    let next = from.clamp(ScanPlace::START, ScanPlace { seq: snapshot.last_seq() + 1, place: 0 });
    let store = Some(snapshot.store_id());
    let mut out = Scanned { providers: Vec::new(), records: Vec::new(), next, more: false, store };
    let (mut seen, mut places) = (0, std::collections::HashMap::new());
    while out.next.seq <= snapshot.last_seq() {
        let added = snapshot.change(out.next.seq)?.unwrap_or_default().added;
        for id in added.iter().skip(out.next.place as usize) {
            if seen == limits::PAGE as usize {
                out.more = true;
                return Ok(out);
            }
            seen += 1;
            out.next.place += 1;
            if let Some(record) = snapshot.record(*id)? {
                let provider = *places.entry(record.provider).or_insert_with(|| {
                    out.providers.push(record.provider);
                    out.providers.len() as u32 - 1
                });
                out.records.push(CloudMatch(*id, provider, record.tag));
            }
        }
        out.next = ScanPlace { seq: out.next.seq + 1, place: 0 };
    }
    Ok(out)
}

/// `POST /v1/stored`: which of these records are stored. Whoever knows their ids may ask, and need not say who it is.
pub(super) async fn stored(State(api): State<Api>, body: Body) -> Result<Cbor<Stored>, Refusal> {
    let most = 16 * limits::ERASURES + 64;
    let body = axum::body::to_bytes(body, most).await;
    let body = body.map_err(|_| Refusal::new(ProblemType::TooLarge, format!("at most {} ids", limits::ERASURES)))?;
    api.read(move |api| {
        let asked: AskStored = codec::from_cbor(&body).map_err(Refusal::malformed)?;
        let snapshot = api.store.snapshot().map_err(Refusal::internal)?;
        let mut ids = Vec::new();
        for id in packed_ids(&asked.ids) {
            if snapshot.record(id).map_err(Refusal::internal)?.is_some() {
                ids.extend_from_slice(&id.0);
            }
        }
        Ok(Cbor(Stored { ids }))
    })
    .await
}

/// `GET /log/batches/ended/SEQ`: ids that a batch of the log ended, 16 bytes each, as its provider stated them.
pub(super) async fn ended(State(api): State<Api>, Path(seq): Path<u64>) -> Result<Response, Refusal> {
    api.read(move |api| {
        let snapshot = api.store.snapshot().map_err(Refusal::internal)?;
        if snapshot.entry(seq).map_err(Refusal::internal)?.is_none() {
            return Err(Refusal::new(ProblemType::NotFound, "the log has no such batch"));
        }
        Ok(snapshot.ended(seq).map_err(Refusal::internal)?.into_response())
    })
    .await
}

/// The limits of a batch.
fn check(upload: &BatchUpload) -> Result<(), Refusal> {
    if !upload.erases.is_empty() {
        return check_erasure(upload);
    }
    let (deletes, odd) = upload.deletes.as_chunks::<16>();
    let parts = upload.records.len().saturating_add(deletes.len());
    if parts == 0 || parts > limits::BATCH_RECORDS || !odd.is_empty() {
        return Err(Refusal::malformed(format_args!(
            "a batch has 1 to {} records and deletions together, deletions of 16 bytes each",
            limits::BATCH_RECORDS
        )));
    }
    let mut origins: HashSet<&[u8; 16]> = upload.records.iter().map(|r| &r.index.origin.0).collect();
    if !deletes.iter().all(|origin| origins.insert(origin)) {
        return Err(Refusal::malformed("an origin is deleted twice, or deleted and brought in the same batch"));
    }
    upload.records.iter().try_for_each(check_record)
}

/// Of a batch that erases: nothing else is in it.
fn check_erasure(upload: &BatchUpload) -> Result<(), Refusal> {
    let (ids, odd) = upload.erases.as_chunks::<16>();
    let alone = upload.records.is_empty() && upload.deletes.is_empty();
    let mut seen = HashSet::with_capacity(ids.len());
    if alone && odd.is_empty() && ids.len() <= limits::BATCH_RECORDS && ids.iter().all(|id| seen.insert(id)) {
        return Ok(());
    }
    Err(Refusal::malformed(format_args!(
        "a batch that erases names up to {} records of 16 bytes, none twice, and has nothing else",
        limits::BATCH_RECORDS
    )))
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
    let stage = Stage::cloud("search");
    api.read(move |api| {
        let _stage = stage;
        let asked: CloudSearch = call.cbor()?;
        asked.clause.check().map_err(Refusal::malformed)?;
        if asked.limit == 0 || asked.limit > limits::PAGE {
            return Err(Refusal::malformed(format_args!("the limit of a page is 1 to {}", limits::PAGE)));
        }
        let limit = asked.limit as usize;
        let clause = members.unfold(asked.clause.clone()).map_err(Refusal::malformed)?;
        // One more than asked for tells whether there is a next page.
        let search = IndexSearch { clause, sort: asked.sort, after: asked.after, limit: limit + 1 };
        let Searched { mut found, state } = api.index.search(&search).map_err(Refusal::internal)?;
        if state.is_none() {
            // It was found damaged after this search was let in: nothing found is no answer.
            return Err(Refusal::new(ProblemType::Overloaded, "the search index is being brought up to date"));
        }
        let more = found.len() > limit;
        found.truncate(limit);
        let mut out =
            CloudMatches { providers: Vec::new(), matches: Vec::with_capacity(found.len()), next: None, proof: None };
        out.next = if more { found.last().map(|f| f.at) } else { None };
        let mut places = std::collections::HashMap::new();
        for f in found {
            let provider = *places.entry(f.provider).or_insert_with(|| {
                out.providers.push(f.provider);
                out.providers.len() as u32 - 1
            });
            out.matches.push(CloudMatch(f.at.id, provider, f.tag));
        }
        metrics::histogram!("sealdex_cloud_matches").record(out.matches.len() as f64);
        if asked.prove.is_some() {
            let asked = CloudSearch { clause: search.clause, ..asked };
            let _stage = Stage::cloud("prove");
            let proof = api.ledger.prove(state, &*api.index, &members, &asked, &out).map_err(Refusal::internal)?;
            let proof = codec::to_cbor(&proof);
            metrics::histogram!("sealdex_cloud_proof_bytes").record(proof.len() as f64);
            out.proof = Some(proof.into());
        }
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
    let stage = Stage::cloud("fetch");
    api.read(move |api| {
        let _stage = stage;
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
        let proofs = match members.ledger() {
            true => {
                let proofs = api.ledger.records_proofs(&*snapshot, &ids).map_err(Refusal::internal)?;
                Some(codec::to_cbor(&proofs).into())
            }
            false => None,
        };
        let fetched = Fetched { sealed: sealed.into_iter().map(|s| s.map(ByteBuf::from)).collect(), proofs };
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
