//! Messages, request signatures, clauses, points.

use rand::{SeedableRng as _, rngs::StdRng};
use sealdex_crypto::{
    Capsule, GateTagKey, Identity, IdentitySeed, Point, PrincipalId, RecordId, RoutingInfo, Scalar, make_tag, open_tag,
};
use sealdex_ledger::versions::{Versions, VersionsRequest};
use sealdex_wire::{
    Problem, Signed, acts,
    auth::{AuthHeader, RequestParts},
    care, codec, consent, erasure, family, group, ingest, operations, roster, search,
    sources::Sources,
    threshold,
};
use serde::{Serialize, de::DeserializeOwned};

use crate::first;

/// What decodes encodes again, to something that decodes to the same.
fn both<T: Serialize + DeserializeOwned>(data: &[u8]) {
    if let Ok(message) = codec::from_cbor::<T>(data) {
        let once = codec::to_cbor(&message);
        let again = codec::from_cbor::<T>(&once).expect("what was encoded decodes");
        assert_eq!(once, codec::to_cbor(&again), "CBOR is not the same after another round");
    }
    if let Ok(message) = codec::from_json::<T>(data) {
        let once = codec::to_json(&message);
        let again = codec::from_json::<T>(once.as_bytes()).expect("what was encoded decodes");
        assert_eq!(once, codec::to_json(&again), "JSON is not the same after another round");
    }
}

macro_rules! kinds {
    ($($kind:ty),* $(,)?) => {
        const KINDS: &[fn(&[u8])] = &[$(both::<$kind>),*];
    };
}

kinds! {
    acts::Act, acts::PostActs, acts::ActsTaken, acts::LogRow,
    care::SubmitWake, care::ListWakes, care::CloseWake, care::WakeList, care::AskAccess, care::Asked,
    care::ListRequests, care::RequestList, care::AnswerRequest, care::Mandate, care::SubmitMandate, care::MandateList,
    consent::OwnerProfile, consent::GrantTerms, consent::Revocation, consent::PublishOwners, consent::LookupOwners,
    consent::OwnersFound, consent::SubmitGrants, consent::SubmitRevocations, consent::ChangeConsent, consent::Accepted,
    consent::ListGrants, consent::GrantList, consent::ListAccesses, consent::AccessList, consent::UpdateRoster,
    family::Family, family::MemberList, family::UpdateFamily, family::RotateBridge, family::TraceMember, family::Trace,
    group::GroupCharter, group::SubmitGroup, group::ListGroups, group::GroupList, group::ListStale, group::StaleList,
    group::RotateGrants,
    ingest::BridgeRequest, ingest::BridgeResponse, ingest::BatchUpload, ingest::BatchReceipt, ingest::CloudStats,
    operations::ResumeGate, Problem, roster::Roster,
    search::SearchRequest, search::SearchResponse, search::FetchTicket, search::CountRequest, search::Counted,
    search::CloudSearch, search::CloudMatches, search::Fetched, search::WithdrawTickets,
    threshold::TakeTurn, threshold::Turn, threshold::WithTurns, threshold::PartialsRequest, threshold::Partials,
    threshold::Replicate, threshold::Replicated, threshold::Reshare, threshold::ResharingState, threshold::Deal,
    threshold::DealtRows, threshold::CopyRows, threshold::CopiedRows,
    Signed<roster::Roster>, Signed<consent::OwnerProfile>, Signed<consent::GrantTerms>, Signed<consent::Revocation>,
    erasure::SubmitErasure, erasure::PendingErasures, erasure::ErasuresPending, erasure::AskErasure, erasure::ErasureState,
    erasure::ScanRecords, erasure::Scanned, erasure::AskStored, erasure::Stored, Signed<erasure::ErasureOrder>,
    VersionsRequest, Versions,
}

/// The first byte picks the kind of message.
pub(crate) fn messages(data: &[u8]) {
    let (kind, rest) = first(data);
    KINDS[kind % KINDS.len()](rest);
}

fn identity() -> Identity {
    Identity::from_seed(&IdentitySeed::from_bytes(&[7; 32]))
}

fn as_kind<T: Serialize>(kind: fn(&[u8]), message: &T) -> [Vec<u8>; 2] {
    let place = KINDS.iter().position(|k| std::ptr::fn_addr_eq(*k, kind)).expect("a kind that is listed") as u8;
    [codec::to_cbor(message), codec::to_json(message).into_bytes()].map(|body| [vec![place], body].concat())
}

pub(crate) fn message_seeds() -> Vec<Vec<u8>> {
    let id = identity().id();
    let clause = search::CloudClause::And(vec![
        search::CloudClause::Terms(vec![5; 32]),
        search::CloudClause::Not(Box::new(search::CloudClause::Range { tag: [6; 8], lo: 3, hi: 9 })),
    ]);
    let asked = search::CloudSearch { clause, sort: None, limit: 10, after: None, prove: None };
    let found = search::CloudMatches { providers: vec![id], matches: Vec::new(), next: None, proof: None };
    let revocation = consent::Revocation {
        domain: "d".into(),
        owner: id,
        reader: id,
        section: Some("observations".into()),
        purpose: None,
        revoked_at: 5,
    };
    let mut rng = StdRng::seed_from_u64(1);
    let signed = Signed::sign(&revocation, &identity(), &mut rng);
    let all = [
        as_kind(both::<search::CloudSearch>, &asked),
        as_kind(both::<search::CloudMatches>, &found),
        as_kind(both::<consent::Revocation>, &revocation),
        as_kind(both::<Signed<consent::Revocation>>, &signed),
        as_kind(both::<consent::SubmitRevocations>, &consent::SubmitRevocations { revocations: vec![signed] }),
        as_kind(both::<consent::LookupOwners>, &consent::LookupOwners { owners: vec![id, id] }),
        as_kind(both::<consent::Accepted>, &consent::Accepted { count: 3 }),
        as_kind(both::<VersionsRequest>, &VersionsRequest { origins: vec![1; 16], ids: vec![2; 32] }),
    ];
    all.into_iter().chain(erasure_seeds(&mut rng)).flatten().collect()
}

fn erasure_seeds(rng: &mut StdRng) -> [[Vec<u8>; 2]; 6] {
    let id = identity().id();
    let sections = vec![erasure::ErasedSection { section: "observations".into(), through: 3 }];
    let order = erasure::ErasureOrder { domain: "d".into(), owner: id, sections, ordered_at: 5 };
    let order = Signed::sign(&order, &identity(), rng);
    let (record, place) = (RecordId([3; 16]), erasure::ScanPlace { seq: 2, place: 1 });
    let found = vec![erasure::ErasedRecord(record, id, id)];
    [
        as_kind(both::<Signed<erasure::ErasureOrder>>, &order),
        as_kind(both::<erasure::ErasureState>, &erasure::ErasureState { orders: vec![order], found, scanned: true }),
        as_kind(both::<erasure::PendingErasures>, &erasure::PendingErasures::default()),
        as_kind(both::<erasure::ScanRecords>, &erasure::ScanRecords { from: place }),
        as_kind(both::<erasure::AskStored>, &erasure::AskStored { ids: vec![3; 32] }),
        as_kind(both::<erasure::Stored>, &erasure::Stored { ids: vec![3; 16] }),
    ]
}

/// Authorization headers, signed documents, clauses.
pub(crate) fn requests(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(header) = AuthHeader::parse(text)
    {
        let body = b"body";
        let parts = RequestParts { domain: "d", audience: PrincipalId([1; 16]), method: "POST", path: "/v1/x", body };
        // Only what was signed for just this is taken.
        let own = header.own_keys().ok().flatten().unwrap_or_else(|| identity().public());
        let fits = header.verify(&parts, &own).is_ok();
        let other = RequestParts { path: "/v1/y", ..parts };
        assert!(!fits || header.verify(&other, &own).is_err(), "a signature fits two requests");
    }
    if let Ok(signed) = codec::from_json::<Signed<consent::Revocation>>(data)
        && let Ok(verified) = signed.verify(&identity().public())
    {
        assert_eq!(signed.peek().ok(), Some(verified), "what was verified is not what is read");
    }
    if let Ok(clause) = codec::from_cbor::<search::CloudClause>(data) {
        let _ = clause.check();
        let _ = Sources::default().unfold(clause);
    }
}

pub(crate) fn request_seeds() -> Vec<Vec<u8>> {
    let mut rng = StdRng::seed_from_u64(2);
    let parts =
        RequestParts { domain: "d", audience: PrincipalId([1; 16]), method: "POST", path: "/v1/x", body: b"body" };
    let mut all: Vec<Vec<u8>> =
        [false, true].map(|keys| parts.sign(&identity(), keys, 5, [9; 16], &mut rng).into_bytes()).into();
    let clause =
        search::CloudClause::Or(vec![search::CloudClause::All, search::CloudClause::Source(vec![identity().id()])]);
    all.push(codec::to_cbor(&clause));
    all
}

/// Points, capsules and routing tags: what decodes encodes to the same bytes, and what was not made does not open.
pub(crate) fn points(data: &[u8]) {
    if let Ok(point) = Point::from_bytes(data) {
        assert_eq!(point.to_bytes().as_slice(), data, "a point has two encodings");
    }
    if let Ok(capsule) = Capsule::from_bytes(data) {
        assert_eq!(capsule.to_bytes().as_slice(), data, "a capsule has two encodings");
    }
    if let Ok(bytes) = <[u8; 32]>::try_from(data)
        && let Ok(scalar) = Scalar::from_bytes(&bytes)
    {
        assert_eq!(*scalar.to_bytes(), bytes, "a scalar has two encodings");
    }
    let key = GateTagKey::from_bytes(&[3; 64]);
    if let Ok(info) = open_tag(&key, &RecordId([1; 16]), data) {
        assert_eq!(info, routing(), "a tag that was not made opens");
    }
}

fn routing() -> RoutingInfo {
    RoutingInfo { patient: PrincipalId([2; 16]), section: "observations".into(), epoch: 1, capsule: capsule() }
}

fn capsule() -> [u8; 33] {
    identity().public().enc().to_bytes()
}

pub(crate) fn point_seeds() -> Vec<Vec<u8>> {
    let key = GateTagKey::from_bytes(&[3; 64]);
    let point = identity().public().enc().to_bytes().to_vec();
    let scalar = vec![1; 32];
    vec![point, scalar, make_tag(&key, &RecordId([1; 16]), &routing(), [4; 16])]
}
