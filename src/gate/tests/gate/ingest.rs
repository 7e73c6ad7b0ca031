//! Bridging: who may write what, and what becomes of entries.

use sealdex_crypto::{
    Bits, GateOrderSecret, GateTagKey, NoiseKey, OuterOrderKey, RecordId, RoutingInfo, ScopeKey, TermKey, noise,
    open_tag, order_term, token_point,
};
use sealdex_gate::{GateError, bridge::BridgeRefusal, error::CallerRefusal, store::MemoryStore};
use sealdex_wire::{
    RawPoint,
    consent::UpdateRoster,
    ingest::{BridgeRequest, EntryError, InnerEntry, Removed, batch_digest},
    roster::Status,
};

use crate::domain::*;

fn scope(id: &[u8]) -> ScopeKey {
    ScopeKey::derive(&TermKey::from_bytes(&[1; 32]), DOMAIN, id)
}

async fn prepared() -> (Domain, Owner) {
    let d = Domain::new().await;
    let owner = Owner::new(50);
    d.admit(&owner, NORTH).await;
    (d, owner)
}

#[tokio::test]
async fn entries_become_the_terms_of_the_specification() {
    let (d, owner) = prepared().await;
    let (token, field, bits) = (d.token("code", b"718-7"), d.field("value"), Bits::new(16).unwrap());
    let point = d.parties[NORTH].key.inner(DOMAIN, "ssn", b"123").unwrap();
    let inner = d.order_key("value").code(bits, 77, 5).unwrap();
    let entries = vec![
        InnerEntry::Order { merged: true, field: field.0, bits: 16, code: inner },
        InnerEntry::Order { merged: false, field: field.0, bits: 16, code: inner },
        entry(token, false),
        entry(token, true),
        entry(token, true),
        InnerEntry::Bridged { merged: true, point: RawPoint(point.to_bytes()) },
        InnerEntry::Bridged { merged: false, point: RawPoint(point.to_bytes()) },
    ];
    let batch = d.batch(&owner, "labs", 3, &[(1, entries)]);
    let response = d.push(NORTH, batch.clone()).await.unwrap();
    let (own, merged) = (scope(&d.id(NORTH).0), scope(&[]));
    let bridged = token_point(DOMAIN, "ssn", b"123").unwrap().mul(d.master.scalar()).to_bytes();
    let order = |key: &ScopeKey, scope: &[u8]| {
        let outer = OuterOrderKey::derive(&GateOrderSecret::from_bytes(&[2; 32]), DOMAIN, &field, 0, scope);
        let noise = noise(&NoiseKey::from_bytes(&[3; 32]), &RecordId([1; 16]), &field.0);
        order_term(key.tag(&field), outer.code(bits, inner, noise).unwrap())
    };
    let mut expected = [
        own.term(&token),
        merged.term(&token),
        own.term(&bridged),
        merged.term(&bridged),
        order(&own, &d.id(NORTH).0),
        order(&merged, &[]),
    ];
    expected.sort_unstable();
    let record = &response.records[0];
    assert_eq!(record.terms, expected.iter().flat_map(|t| t.0).collect::<Vec<_>>(), "sorted, without repeats");
    assert_eq!(record.origin, own.term(&[1; 32]));
    let capsule = batch.capsules[0].capsule.0;
    let info = RoutingInfo { patient: owner.id(), section: format!("{:32}", "labs"), epoch: 0, capsule };
    assert_eq!(open_tag(&GateTagKey::from_bytes(&[4; 64]), &RecordId([1; 16]), &record.tag), Ok(info));
    let digest =
        batch_digest(DOMAIN, batch.batch, d.id(NORTH), Removed::default(), [(RecordId([1; 16]), record)].into_iter());
    assert!(d.gate_identity.public().verify(&digest, &response.signature).is_ok());
    let other =
        batch_digest(DOMAIN, batch.batch, d.id(SOUTH), Removed::default(), [(RecordId([1; 16]), record)].into_iter());
    assert!(d.gate_identity.public().verify(&other, &response.signature).is_err(), "signed for this provider only");
}

#[tokio::test]
async fn the_order_of_entries_does_not_show_in_terms() {
    let (d, owner) = prepared().await;
    let entries: Vec<_> = (0..20).map(|n| entry(d.token("word", &[n]), n % 2 == 0)).collect();
    let reversed: Vec<_> = entries.iter().rev().copied().collect();
    let one = d.push(NORTH, d.batch(&owner, "labs", 3, &[(1, entries)])).await.unwrap();
    let two = d.push(NORTH, d.batch(&owner, "labs", 3, &[(1, reversed)])).await.unwrap();
    assert_eq!(one.records[0].terms, two.records[0].terms);
    assert_ne!(one.records[0].tag, two.records[0].tag, "tags are made anew each time");
}

#[tokio::test]
async fn members_bridge_to_the_same_point_and_wards_write_in_their_hospitals_scope() {
    let (d, owner) = prepared().await;
    let terms = |n: usize| {
        let point = RawPoint(d.parties[n].key.inner(DOMAIN, "ssn", b"123").unwrap().to_bytes());
        let entries = vec![InnerEntry::Bridged { merged: false, point }, entry(d.token("code", b"x"), false)];
        d.push(n, d.batch(&owner, "labs", 3, &[(1, entries)]))
    };
    let (hospital, ward) = (terms(NORTH).await.unwrap(), terms(WARD).await.unwrap());
    assert_eq!(hospital.records[0].terms, ward.records[0].terms);
}

fn refused(result: Result<sealdex_wire::ingest::BridgeResponse, GateError>) -> GateError {
    result.expect_err("a refusal")
}

#[tokio::test]
async fn only_providers_the_owner_named_may_write_and_who_is_below_them() {
    let (d, owner) = prepared().await;
    let batch = || d.batch(&owner, "labs", 3, &[(1, vec![])]);
    assert!(d.push(NORTH, batch()).await.is_ok());
    assert!(d.push(WARD, batch()).await.is_ok());
    let other = BridgeRefusal::NotAWriter { owner: owner.id(), provider: d.id(SOUTH) };
    assert_eq!(refused(d.push(SOUTH, batch()).await), other.into());
    assert_eq!(refused(d.push(CLINICIAN, batch()).await), CallerRefusal::NotProvider(d.id(CLINICIAN)).into());
    assert_eq!(refused(d.gate.bridge(owner.id(), batch()).await), CallerRefusal::NotActive(owner.id()).into());
    let stranger = Owner::new(51);
    let unknown = refused(d.push(NORTH, d.batch(&stranger, "labs", 3, &[(1, vec![])])).await);
    assert_eq!(unknown, BridgeRefusal::UnknownOwner(stranger.id()).into());
}

#[tokio::test]
async fn a_ward_may_not_write_for_the_hospital_above_when_only_the_ward_is_named() {
    let d = Domain::new().await;
    let owner = Owner::new(50);
    d.admit(&owner, WARD).await;
    assert!(d.push(WARD, d.batch(&owner, "labs", 3, &[(1, vec![])])).await.is_ok());
    let refusal = BridgeRefusal::NotAWriter { owner: owner.id(), provider: d.id(NORTH) };
    assert_eq!(refused(d.push(NORTH, d.batch(&owner, "labs", 3, &[(1, vec![])])).await), refusal.into());
}

#[tokio::test]
async fn a_hospital_and_its_wards_write_what_belongs_to_no_patient() {
    let d = Domain::new().await;
    // The hospital as owner has the hospital's identity.
    let hospital = Owner::new(1);
    assert_eq!(hospital.id(), d.id(NORTH));
    let batch = || d.batch(&hospital, "directory", 3, &[(1, vec![])]);
    assert_eq!(
        refused(d.push(NORTH, batch()).await),
        BridgeRefusal::UnknownOwner(d.id(NORTH)).into(),
        "not before it has a profile"
    );
    d.publish(&hospital, &hospital.profile(1, &[("directory", 0)], &[])).await.unwrap();
    assert!(d.push(NORTH, batch()).await.is_ok());
    assert!(d.push(WARD, batch()).await.is_ok());
    let other = BridgeRefusal::NotAWriter { owner: d.id(NORTH), provider: d.id(SOUTH) };
    assert_eq!(refused(d.push(SOUTH, batch()).await), other.into());
}

#[tokio::test]
async fn a_revoked_provider_and_all_below_it_write_no_more() {
    let (mut d, owner) = prepared().await;
    d.parties[NORTH].status = Status::Revoked;
    d.version = 2;
    d.send_roster().await.unwrap();
    for n in [NORTH, WARD] {
        let refusal = refused(d.push(n, d.batch(&owner, "labs", 3, &[(1, vec![])])).await);
        assert_eq!(refusal, CallerRefusal::NotActive(d.id(n)).into());
    }
}

#[tokio::test]
async fn only_the_current_epoch_of_a_section_is_sealed_to() {
    let (d, owner) = prepared().await;
    let stale = |section: &str, current, found| {
        GateError::from(BridgeRefusal::StaleEpoch { owner: owner.id(), section: section.into(), current, found })
    };
    let mut batch = d.batch(&owner, "labs", 3, &[(1, vec![])]);
    batch.capsules[0].epoch = 1;
    assert_eq!(refused(d.push(NORTH, batch.clone()).await), stale("labs", Some(0), 1));
    let profile = owner.profile(2, &[("labs", 0), ("notes", 0), ("labs", 1)], &[d.id(NORTH)]);
    d.publish(&owner, &profile).await.unwrap();
    assert!(d.push(NORTH, batch.clone()).await.is_ok());
    batch.capsules[0].epoch = 0;
    assert_eq!(refused(d.push(NORTH, batch).await), stale("labs", Some(1), 0));
    let missing = refused(d.push(NORTH, d.batch(&owner, "claims", 3, &[(1, vec![])])).await);
    assert_eq!(missing, stale("claims", None, 0));
}

#[tokio::test]
async fn batches_that_are_garbage_are_refused_whole() {
    let (d, owner) = prepared().await;
    let good = d.batch(&owner, "labs", 3, &[(1, vec![]), (2, vec![])]);
    let id = RecordId([2; 16]);
    let entries = |bytes: &[u8]| {
        let mut batch = good.clone();
        batch.records[1].entries = bytes.to_vec();
        batch
    };
    let bad = |reason| BridgeRefusal::Entries { record: id, reason };
    let change = |f: &dyn Fn(&mut BridgeRequest)| {
        let mut batch = good.clone();
        f(&mut batch);
        batch
    };
    let bridged_garbage = [[3].as_slice(), &[7; 33]].concat();
    let cases = [
        (entries(&[0; 20]), bad(EntryError::Truncated)),
        (entries(&[9; 33]), bad(EntryError::Kind(9))),
        (entries(&[0; 33 * 4097]), bad(EntryError::TooMany)),
        (entries(&bridged_garbage), BridgeRefusal::Token(id)),
        (change(&|b| b.capsules[0].capsule = RawPoint([9; 33])), BridgeRefusal::Capsule(0)),
        (change(&|b| b.records[1].capsule = 1), BridgeRefusal::NoCapsule(id)),
        (change(&|b| b.records[1].id = b.records[0].id), BridgeRefusal::Twice(RecordId([1; 16]))),
    ];
    for (batch, refusal) in cases {
        assert_eq!(refused(d.push(NORTH, batch).await), refusal.into());
    }
    let many = change(&|b| b.records = vec![b.records[0].clone(); 8193]);
    assert_eq!(refused(d.push(NORTH, many).await), GateError::TooMany { what: "records", max: 8192, found: 8193 });
}

#[tokio::test]
async fn a_member_without_bridge_cannot_use_bridged_tokens() {
    let d = Domain::over(MemoryStore::default());
    let roster = UpdateRoster { bridges: vec![], ..d.update() };
    d.gate.update_roster(d.authority.id(), roster).await.unwrap();
    let owner = Owner::new(50);
    d.admit(&owner, NORTH).await;
    let point = RawPoint(d.parties[NORTH].key.inner(DOMAIN, "ssn", b"1").unwrap().to_bytes());
    let batch = d.batch(&owner, "labs", 3, &[(1, vec![InnerEntry::Bridged { merged: true, point }])]);
    assert_eq!(refused(d.push(NORTH, batch).await), BridgeRefusal::NoBridge(d.id(NORTH)).into());
    assert!(d.push(NORTH, d.batch(&owner, "labs", 3, &[(1, vec![entry([1; 32], true)])])).await.is_ok());
    let asked = d.search(CLINICIAN, sealdex_wire::search::InnerClause::Bridged { merged: true, point }).await;
    assert_eq!(asked.err(), Some(BridgeRefusal::NoBridge(d.id(CLINICIAN)).into()));
}

#[tokio::test]
async fn a_gate_without_roster_refuses_everything() {
    let d = Domain::over(MemoryStore::default());
    let owner = Owner::new(50);
    assert_eq!(refused(d.push(NORTH, d.batch(&owner, "labs", 3, &[])).await), GateError::NoRoster);
    assert_eq!(d.search(CLINICIAN, sealdex_wire::search::InnerClause::All).await.err(), Some(GateError::NoRoster));
}
