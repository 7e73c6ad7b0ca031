//! Revoking: at once, for good, and never overtaken by a search.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use sealdex_gate::{
    error::CallerRefusal,
    rules::{grants::GrantRefusal, revocations::RevocationRefusal},
};
use sealdex_wire::{
    Signed,
    consent::{Accepted, SubmitRevocations},
    limits,
    roster::Status,
    search::{InnerClause, SearchRequest, SearchResponse},
    signed::SignedError,
};

use crate::domain::*;

async fn prepared() -> (Domain, Owner) {
    let d = Domain::new().await;
    let owner = Owner::new(50);
    d.admit(&owner, NORTH).await;
    d.push(NORTH, d.batch(&owner, "labs", 3, &[(1, vec![])])).await.unwrap();
    d.push(NORTH, d.batch(&owner, "notes", 4, &[(2, vec![])])).await.unwrap();
    for section in ["labs", "notes"] {
        let grants = [CLINICIAN, OTHER].map(|n| owner.grant(&d.public(n), section, START));
        d.grant(owner.id(), grants.to_vec()).await.unwrap();
    }
    (d, owner)
}

fn nonces(response: &SearchResponse) -> Vec<[u8; 16]> {
    response.tickets.iter().map(|t| t.ticket.nonce).collect()
}

fn withdrawn(d: &Domain, response: &SearchResponse) -> bool {
    let gone = d.cloud.withdrawn.lock().unwrap();
    nonces(response).iter().all(|n| gone.contains(n))
}

#[tokio::test]
async fn a_revocation_ends_one_section_for_one_reader_and_its_tickets() {
    let (d, owner) = prepared().await;
    let (mine, others) =
        (d.search(CLINICIAN, InnerClause::All).await.unwrap(), d.search(OTHER, InnerClause::All).await.unwrap());
    assert_eq!((ids(&mine), ids(&others)), (vec![1, 2], vec![1, 2]));
    assert_eq!(d.revoke(&owner, owner.revoke(d.id(CLINICIAN), Some("labs"), START)).await, Ok(Accepted { count: 1 }));
    assert!(withdrawn(&d, &mine) && !withdrawn(&d, &others), "withdrawn before it is acknowledged");
    assert_eq!(d.found(CLINICIAN, InnerClause::All).await, vec![2]);
    assert_eq!(d.found(OTHER, InnerClause::All).await, vec![1, 2]);
    assert_eq!(
        d.revoke(&owner, owner.revoke(d.id(CLINICIAN), Some("labs"), START)).await,
        Ok(Accepted { count: 0 }),
        "again"
    );
}

#[tokio::test]
async fn a_revocation_of_all_ends_all() {
    let (d, owner) = prepared().await;
    assert_eq!(d.revoke(&owner, owner.revoke(d.id(CLINICIAN), None, START)).await, Ok(Accepted { count: 2 }));
    assert_eq!(d.found(CLINICIAN, InnerClause::All).await, [0_u8; 0]);
    assert_eq!(d.found(OTHER, InnerClause::All).await, vec![1, 2]);
}

#[tokio::test]
async fn an_old_grant_cannot_be_replayed_after_its_revocation() {
    let (d, owner) = prepared().await;
    let old = |section| owner.grant(&d.public(CLINICIAN), section, START);
    d.revoke(&owner, owner.revoke(d.id(CLINICIAN), Some("labs"), START)).await.unwrap();
    let revoked = |granted_at| Err(GrantRefusal::Revoked { owner: owner.id(), granted_at, revoked_at: START }.into());
    assert_eq!(d.grant(d.id(NORTH), vec![old("labs")]).await, revoked(START));
    let earlier = owner.grant(&d.public(CLINICIAN), "labs", START - 1);
    assert_eq!(d.grant(owner.id(), vec![earlier]).await, revoked(START - 1));
    // After a revocation of all, no section comes back, granted before or not.
    d.revoke(&owner, owner.revoke(d.id(OTHER), None, START)).await.unwrap();
    let replay = owner.grant(&d.public(OTHER), "labs", START);
    assert_eq!(d.grant(d.id(NORTH), vec![replay]).await, revoked(START));
    // The owner may grant again.
    d.advance(5);
    let new = owner.grant(&d.public(CLINICIAN), "labs", START + 1);
    assert_eq!(d.grant(owner.id(), vec![new]).await, Ok(Accepted { count: 1 }));
    assert_eq!(d.found(CLINICIAN, InnerClause::All).await, vec![1, 2]);
}

#[tokio::test]
async fn a_replayed_revocation_does_not_end_a_newer_grant() {
    let (d, owner) = prepared().await;
    let old = owner.revoke(d.id(CLINICIAN), Some("labs"), START);
    d.revoke(&owner, old.clone()).await.unwrap();
    d.grant(owner.id(), vec![owner.grant(&d.public(CLINICIAN), "labs", START + 1)]).await.unwrap();
    let refusal = RevocationRefusal::GrantIsNewer { owner: owner.id(), revoked_at: START, granted_at: START + 1 };
    assert_eq!(d.revoke(&owner, old).await, Err(refusal.into()));
    assert_eq!(d.found(CLINICIAN, InnerClause::All).await, vec![1, 2]);
}

#[tokio::test]
async fn revocations_that_are_wrong_are_refused() {
    let (d, owner) = prepared().await;
    let thief = Owner::new(51);
    d.admit(&thief, NORTH).await;
    let submit = |caller: &sealdex_crypto::Identity, r: Signed<_>| {
        d.gate.submit_revocations(caller.public(), SubmitRevocations { revocations: vec![r] })
    };
    let good = owner.revoke(d.id(CLINICIAN), None, START);
    let mut forged = thief.revoke(d.id(CLINICIAN), None, START);
    forged.signer = owner.id();
    let north = &d.parties[NORTH].identity;
    let no_mandate = |owner, carer| Err(RevocationRefusal::NoMandate { owner, carer }.into());
    assert_eq!(submit(north, forged).await, no_mandate(thief.id(), owner.id()));
    let mut bent = good.clone();
    bent.payload = bent.payload.replace(&START.to_string(), &(START + 1).to_string());
    assert_eq!(submit(north, bent).await, Err(RevocationRefusal::Signed(SignedError::BadSignature(owner.id())).into()));
    let named = good.peek().unwrap();
    let forged = Signed::sign(&named, &thief.identity, &mut rand::rng());
    assert_eq!(submit(&thief.identity, forged).await, no_mandate(owner.id(), thief.id()));
    let forged = Signed::sign(&named, north, &mut rand::rng());
    assert_eq!(submit(north, forged).await, no_mandate(owner.id(), north.id()));
    let future = owner.revoke(d.id(CLINICIAN), None, START + limits::CLOCK_SKEW_MS + 1);
    assert_eq!(submit(north, future).await, Err(RevocationRefusal::Future(owner.id()).into()));
    let unnamed = owner.revoke(d.id(CLINICIAN), Some(""), START);
    assert_eq!(submit(north, unnamed).await, Err(RevocationRefusal::Name(owner.id()).into()));
    assert_eq!(
        submit(&thief.identity, good.clone()).await,
        Err(CallerRefusal::NeitherOwnerNorMember(thief.id()).into())
    );
    let unknown = Owner::new(52);
    let revocation = unknown.revoke(d.id(CLINICIAN), None, START);
    assert_eq!(submit(north, revocation.clone()).await, Err(RevocationRefusal::UnknownOwner(unknown.id()).into()));
    assert_eq!(submit(&unknown.identity, revocation).await, Ok(Accepted { count: 0 }), "its own keys certify it");
    assert_eq!(d.found(CLINICIAN, InnerClause::All).await, vec![1, 2], "nothing of all that took effect");
    assert_eq!(submit(north, good).await, Ok(Accepted { count: 2 }), "a member may carry it");
}

#[tokio::test]
async fn when_the_cloud_is_down_the_revocation_stands_and_the_gate_keeps_trying() {
    let (d, owner) = prepared().await;
    let mine = d.search(CLINICIAN, InnerClause::All).await.unwrap();
    d.cloud.down.store(true, Ordering::SeqCst);
    assert_eq!(d.revoke(&owner, owner.revoke(d.id(CLINICIAN), None, START)).await, Ok(Accepted { count: 2 }));
    assert!(!withdrawn(&d, &mine));
    d.cloud.down.store(false, Ordering::SeqCst);
    assert_eq!(d.found(CLINICIAN, InnerClause::All).await, [0_u8; 0]);
    for _ in 0..100 {
        if withdrawn(&d, &mine) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("not withdrawn within ten seconds");
}

#[tokio::test]
async fn a_revoked_members_tickets_are_withdrawn_and_it_finds_nothing() {
    let (mut d, _) = prepared().await;
    let (mine, others) =
        (d.search(CLINICIAN, InnerClause::All).await.unwrap(), d.search(OTHER, InnerClause::All).await.unwrap());
    d.parties[CLINICIAN].status = Status::Revoked;
    d.version = 2;
    d.send_roster().await.unwrap();
    assert!(withdrawn(&d, &mine) && !withdrawn(&d, &others));
    assert_eq!(
        d.search(CLINICIAN, InnerClause::All).await.err(),
        Some(CallerRefusal::NotActive(d.id(CLINICIAN)).into())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_that_overtakes_a_search_at_the_cloud_empties_its_answer() {
    let (d, owner) = prepared().await;
    d.push(NORTH, d.batch(&owner, "labs", 5, &[(3, vec![])])).await.unwrap();
    d.revoke(&owner, owner.revoke(d.id(CLINICIAN), Some("notes"), START)).await.unwrap();
    let d = Arc::new(d);
    // Pages of two: the first match is permitted, the second is not. While the cloud is asked for the
    // next page, everything is revoked and that is acknowledged.
    let (inner, revocation) = (d.clone(), owner.revoke(d.id(CLINICIAN), None, START));
    let (public, asked, runtime) = (owner.identity.public(), AtomicUsize::new(0), tokio::runtime::Handle::current());
    *d.cloud.after_search.lock().unwrap() = Some(Box::new(move || {
        if asked.fetch_add(1, Ordering::SeqCst) == 1 {
            let submitted =
                inner.gate.submit_revocations(public, SubmitRevocations { revocations: vec![revocation.clone()] });
            let ended = tokio::task::block_in_place(|| runtime.block_on(submitted));
            assert_eq!(ended, Ok(Accepted { count: 1 }));
        }
    }));
    let (gate, request) = (d.clone(), SearchRequest { limit: 2, ..d.query(InnerClause::All) });
    let response =
        tokio::spawn(async move { gate.gate.search(gate.id(CLINICIAN), request).await.unwrap() }).await.unwrap();
    assert!(d.cloud.asked.lock().unwrap().len() > 1, "there was a second page");
    assert_eq!(ids(&response), Vec::<u8>::new());
    assert_eq!(response.tickets, vec![]);
    *d.cloud.after_search.lock().unwrap() = None;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn searches_racing_a_revocation_come_wholly_before_or_wholly_after_it() {
    let (d, owner) = prepared().await;
    let d = Arc::new(d);
    for round in 1..=20_u64 {
        let acknowledged = Arc::new(AtomicBool::new(false));
        let search = |d: Arc<Domain>, acknowledged: Arc<AtomicBool>| async move {
            let began_after = acknowledged.load(Ordering::SeqCst);
            (began_after, d.search(CLINICIAN, InnerClause::All).await.ok())
        };
        let mut running: Vec<_> = (0..3).map(|_| tokio::spawn(search(d.clone(), acknowledged.clone()))).collect();
        tokio::task::yield_now().await;
        d.revoke(&owner, owner.revoke(d.id(CLINICIAN), None, START + round)).await.unwrap();
        acknowledged.store(true, Ordering::SeqCst);
        running.push(tokio::spawn(search(d.clone(), acknowledged.clone())));
        for task in running {
            let (began_after, response) = task.await.unwrap();
            let Some(response) = response else { continue };
            assert!(!began_after || ids(&response).is_empty(), "acknowledged means in effect");
            assert!(withdrawn(&d, &response), "whatever was answered before is withdrawn by now");
        }
        d.advance(2);
        let again = ["labs", "notes"].map(|s| owner.grant(&d.public(CLINICIAN), s, START + round + 1)).to_vec();
        // The next revocation must be newer than this grant.
        d.grant(owner.id(), again).await.unwrap();
    }
}
