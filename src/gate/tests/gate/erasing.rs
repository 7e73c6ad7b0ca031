//! Erasing: what an order covers is given to nobody any more, whatever comes before it or after; and every record of it
//! that the cloud has, or is handed later, is handed to its hospital to end.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use sealdex_crypto::{BatchId, RecordId};
use sealdex_gate::{
    GateError, GateSecrets,
    bridge::BridgeRefusal,
    rules::{erasures::ErasureRefusal, grants::GrantRefusal},
    store::{ConsentStore as _, Row, StoreError, Table, Transaction, check::Checker},
};
use sealdex_wire::{
    ProblemType, Signed,
    care::{AskAccess, Emergency, ListRequests, RequestStatus},
    consent::Accepted,
    erasure::{AskErasure, ErasedSection, ErasureOrder, PendingErasures, SubmitErasure},
    ingest::{BridgeRequest, Removed, batch_digest},
    limits,
    search::InnerClause,
};

use crate::{domain::*, exploring::Disk};

/// An owner's signed order.
pub fn order(owner: &Owner, sections: &[(&str, u32)], ordered_at: u64) -> Signed<ErasureOrder> {
    let section = |(section, through): &(&str, u32)| ErasedSection { section: (*section).into(), through: *through };
    let sections = sections.iter().map(section).collect();
    let order = ErasureOrder { domain: DOMAIN.into(), owner: owner.id(), sections, ordered_at };
    Signed::sign(&order, &owner.identity, &mut rand::rng())
}

pub async fn erase<S: sealdex_gate::store::ConsentStore>(
    d: &Domain<S>,
    owner: &Owner,
    order: Signed<ErasureOrder>,
) -> Result<Accepted, GateError> {
    d.gate.submit_erasure(owner.identity.public(), SubmitErasure { order }).await
}

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

#[tokio::test]
async fn an_order_ends_what_it_covers_for_good() {
    let (d, owner) = prepared().await;
    let (mut dormant, rk) = owner.terms(&d.public(CLINICIAN), "labs", 0, START + 1);
    dormant.emergency = Some(Emergency { wakers: vec![d.id(CLINICIAN), d.id(OTHER)], minutes: 5 });
    let emergency = || owner.sign_grant(&dormant, rk.clone());
    d.grant(owner.id(), vec![emergency()]).await.unwrap();
    let before = d.search(CLINICIAN, InnerClause::All).await.unwrap();
    assert_eq!(ids(&before), [1, 2]);
    let ordered = order(&owner, &[("labs", 0)], START);
    assert_eq!(erase(&d, &owner, ordered.clone()).await, Ok(Accepted { count: 3 }));
    let gone = d.cloud.withdrawn.lock().unwrap().clone();
    assert!(before.tickets.iter().all(|t| gone.contains(&t.ticket.nonce)), "withdrawn before it is acknowledged");
    for reader in [CLINICIAN, OTHER] {
        assert_eq!(d.found(reader, InnerClause::All).await, [2]);
    }
    // Nothing outdoes it: no grant made before it or after, no emergency, by whoever brings it.
    d.advance(1000);
    let erased = || Err(GrantRefusal::Erased { owner: owner.id(), section: "labs".into(), epoch: 0 }.into());
    for granted_at in [START - 1, START, START + 900] {
        let grant = owner.grant(&d.public(CLINICIAN), "labs", granted_at);
        assert_eq!(d.grant(d.id(NORTH), vec![grant]).await, erased(), "{granted_at}");
    }
    assert_eq!(d.grant(owner.id(), vec![emergency()]).await, erased());
    // Nothing of it is taken in; of other sections it is.
    let refused = d.push(NORTH, d.batch(&owner, "labs", 5, &[(5, vec![])])).await.map(drop);
    assert_eq!(refused, Err(BridgeRefusal::Erased { owner: owner.id(), section: "labs".into() }.into()));
    d.push(NORTH, d.batch(&owner, "notes", 6, &[(6, vec![])])).await.unwrap();
    // A newer epoch is the owner's own new beginning, and the order, sent again, does not touch it.
    let newer = owner.profile(2, &[("labs", 0), ("labs", 1), ("notes", 0)], &[d.id(NORTH)]);
    d.publish(&owner, &newer).await.unwrap();
    let (terms, rk) = owner.terms(&d.public(CLINICIAN), "labs", 1, START + 1000);
    d.grant(owner.id(), vec![owner.sign_grant(&terms, rk)]).await.unwrap();
    d.push(NORTH, d.batch_at(&owner, "labs", 1, 7, &[(7, vec![])])).await.unwrap();
    assert_eq!(erase(&d, &owner, ordered).await, Ok(Accepted { count: 0 }));
    assert_eq!(d.found(CLINICIAN, InnerClause::All).await, [2, 6, 7]);
    assert_eq!(d.found(OTHER, InnerClause::All).await, [2, 6]);
}

#[tokio::test]
async fn only_the_owner_orders_and_only_what_makes_sense() {
    let (d, owner) = prepared().await;
    let stranger = Owner::new(51);
    d.admit(&stranger, NORTH).await;
    let bad = |o: ErasureOrder| Signed::sign(&o, &owner.identity, &mut rand::rng());
    let good = order(&owner, &[("labs", 0)], START).peek().unwrap();
    let mut forged = bad(good.clone());
    forged.signature = Signed::sign(&good, &stranger.identity, &mut rand::rng()).signature;
    let others = Signed::sign(&good, &stranger.identity, &mut rand::rng());
    let section = |s: &str| ErasedSection { section: s.into(), through: 0 };
    let wrong = [
        forged,
        bad(ErasureOrder { domain: "other".into(), ..good.clone() }),
        bad(ErasureOrder { owner: stranger.id(), ..good.clone() }),
        bad(ErasureOrder { sections: Vec::new(), ..good.clone() }),
        bad(ErasureOrder { sections: vec![section("labs"), section("labs")], ..good.clone() }),
        bad(ErasureOrder { sections: vec![section("")], ..good.clone() }),
        bad(ErasureOrder { ordered_at: START + 3_600_000, ..good.clone() }),
    ];
    for signed in wrong {
        let refused = erase(&d, &owner, signed.clone()).await.unwrap_err();
        assert_eq!(refused.problem_type(), ProblemType::BadDocument, "{refused}: {}", signed.payload);
    }
    assert_eq!(erase(&d, &owner, others).await.unwrap_err().problem_type(), ProblemType::Forbidden);
    let carried = d.gate.submit_erasure(stranger.identity.public(), SubmitErasure { order: bad(good.clone()) }).await;
    assert_eq!(carried.unwrap_err().problem_type(), ProblemType::Forbidden, "an owner carries its own only");
    assert_eq!(d.found(CLINICIAN, InnerClause::All).await, [1, 2]);
    // A member may carry it.
    let carried = d.gate.submit_erasure(d.public(CLINICIAN), SubmitErasure { order: bad(good) }).await;
    assert_eq!(carried, Ok(Accepted { count: 2 }));
    assert_eq!(d.found(CLINICIAN, InnerClause::All).await, [2]);
}

#[tokio::test]
async fn requests_for_nothing_else_are_declined() {
    let (d, owner) = prepared().await;
    let ask = |sections: &[&str]| AskAccess {
        owner: owner.id(),
        reader: d.id(CLINICIAN),
        sections: sections.iter().map(|s| (*s).to_owned()).collect(),
        purpose: "treatment".into(),
        days: 9,
        reason: "a reason".into(),
    };
    d.gate.ask_access(d.id(CLINICIAN), ask(&["labs"])).await.unwrap();
    d.gate.ask_access(d.id(CLINICIAN), ask(&["labs", "notes"])).await.unwrap();
    let ordered = order(&owner, &[("labs", 0)], START + 50);
    erase(&d, &owner, ordered.clone()).await.unwrap();
    // One that comes after the order and was made before it comes to the same as one that came before it.
    d.advance(10);
    let late = AskAccess { reason: "late".into(), ..ask(&["labs"]) };
    d.gate.ask_access(d.id(CLINICIAN), late).await.unwrap();
    d.advance(1000);
    let newer = AskAccess { reason: "newer".into(), ..ask(&["labs"]) };
    d.gate.ask_access(d.id(CLINICIAN), newer).await.unwrap();
    erase(&d, &owner, ordered).await.unwrap();
    let list =
        d.gate.list_requests(owner.id(), ListRequests { owner: Some(owner.id()), pending: false }).await.unwrap();
    let mut states: Vec<(String, usize, RequestStatus)> =
        list.requests.into_iter().map(|r| (r.ask.reason, r.ask.sections.len(), r.status)).collect();
    states.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
    use RequestStatus::{Declined, Pending};
    let expected = [("a reason", 1, Declined), ("a reason", 2, Pending), ("late", 1, Declined), ("newer", 1, Pending)];
    assert_eq!(states, expected.map(|(reason, n, status)| (reason.to_owned(), n, status)));
}

fn erasing(d: &Domain, n: u8, ids: &[u8]) -> BridgeRequest {
    let _ = d;
    BridgeRequest {
        batch: BatchId([n; 16]),
        capsules: vec![],
        records: vec![],
        deletes: vec![],
        erases: ids.iter().map(|id| RecordId([*id; 16])).collect(),
    }
}

async fn pending(d: &Domain, provider: usize, ended: &[u8]) -> Vec<u8> {
    let ended = ended.iter().flat_map(|id| [*id; 16]).collect();
    let mut request = PendingErasures { ended, ..PendingErasures::default() };
    loop {
        let answer = d.gate.pending_erasures(d.id(provider), request.clone()).await.unwrap();
        request.until = answer.until;
        if answer.scanned {
            return answer.ids.chunks(16).map(|id| id[0]).collect();
        }
        request.ended.clear();
    }
}

#[tokio::test]
async fn hospitals_are_told_what_to_end_also_of_batches_in_flight() {
    let d = Domain::new().await;
    let (owner, other) = (Owner::new(50), Owner::new(51));
    let profile = owner.profile(1, &[("labs", 0), ("notes", 0)], &[d.id(NORTH), d.id(SOUTH)]);
    d.publish(&owner, &profile).await.unwrap();
    d.admit(&other, NORTH).await;
    d.push(NORTH, d.batch(&owner, "labs", 3, &[(1, vec![])])).await.unwrap();
    d.push(NORTH, d.batch(&owner, "notes", 4, &[(2, vec![])])).await.unwrap();
    d.push(NORTH, d.batch(&other, "labs", 5, &[(3, vec![])])).await.unwrap();
    d.push(SOUTH, d.batch(&owner, "labs", 6, &[(4, vec![])])).await.unwrap();
    // Bridged before the order, stored after it; its id is smaller than others'.
    let flying = d.batch(&owner, "labs", 7, &[(0, vec![])]);
    let bridged = d.gate.bridge(d.id(NORTH), flying.clone()).await.unwrap();
    let not_owed = |id| Err(GateError::from(ErasureRefusal::NotOwed(RecordId([id; 16]))));
    assert_eq!(pending(&d, NORTH, &[]).await, [0_u8; 0]);
    assert_eq!(d.gate.bridge(d.id(NORTH), erasing(&d, 20, &[1])).await.map(drop), not_owed(1));
    erase(&d, &owner, order(&owner, &[("labs", 0)], START)).await.unwrap();
    assert_eq!((pending(&d, NORTH, &[]).await, pending(&d, SOUTH, &[]).await), (vec![1], vec![4]));
    assert!(d.gate.pending_erasures(d.id(CLINICIAN), PendingErasures::default()).await.is_err());
    d.cloud.store(d.id(NORTH), &flying, &bridged);
    assert_eq!(pending(&d, NORTH, &[]).await, [0, 1]);
    // Leave is given to the hospital that owes it, a ward of it included, and for nothing else.
    for (provider, id) in [(SOUTH, 1), (NORTH, 2), (NORTH, 3), (NORTH, 4)] {
        assert_eq!(d.gate.bridge(d.id(provider), erasing(&d, 21, &[id])).await.map(drop), not_owed(id));
    }
    let leave = d.gate.bridge(d.id(WARD), erasing(&d, 22, &[0, 1])).await.unwrap();
    let ended = [[0; 16], [1; 16]].concat();
    let removed = Removed { origins: &[], ids: &ended };
    let digest = batch_digest(DOMAIN, BatchId([22; 16]), d.id(WARD), removed, std::iter::empty());
    assert!(d.gate_identity.public().verify(&digest, &leave.signature).is_ok());
    let without = batch_digest(DOMAIN, BatchId([22; 16]), d.id(WARD), Removed::default(), std::iter::empty());
    assert!(d.gate_identity.public().verify(&without, &leave.signature).is_err());
    // What was ended is not asked for again, and stays on record for the owner.
    d.cloud.records.lock().unwrap().remove(&RecordId([1; 16]));
    assert_eq!(pending(&d, NORTH, &[1]).await, [0]);
    let state = d.gate.erasure_state(owner.id(), AskErasure::default()).await.unwrap();
    let found: Vec<(u8, _, _)> = state.found.iter().map(|r| (r.0.0[0], r.1, r.2)).collect();
    let (north, south) = (d.id(NORTH), d.id(SOUTH));
    assert_eq!(found, [(0, north, north), (1, north, north), (4, south, south)]);
    assert_eq!(state.orders.len(), 1);
    let nothing = d.gate.erasure_state(other.id(), AskErasure::default()).await.unwrap();
    assert_eq!((nothing.found, nothing.orders, nothing.scanned), (vec![], vec![], true));
    // Another order has everything looked through once more; one said to be ended that is still there is asked for again.
    assert_eq!(pending(&d, SOUTH, &[4]).await, [0_u8; 0]);
    erase(&d, &owner, order(&owner, &[("notes", 0)], START + 1)).await.unwrap();
    assert_eq!((pending(&d, NORTH, &[]).await, pending(&d, SOUTH, &[]).await), (vec![0, 2], vec![4]));
    // A cloud that is down stops no order, and is waited for by who has to end the rest.
    d.cloud.down.store(true, Ordering::SeqCst);
    erase(&d, &other, order(&other, &[("labs", 0)], START)).await.unwrap();
    let down = d.gate.pending_erasures(d.id(NORTH), PendingErasures::default()).await;
    assert_eq!(down.unwrap_err().problem_type(), ProblemType::Upstream);
    d.cloud.down.store(false, Ordering::SeqCst);
    assert_eq!(pending(&d, NORTH, &[]).await, [0, 2, 3]);
}

async fn on_disk() -> (Domain<Disk>, Disk) {
    let disk = Disk::default();
    let d = Domain::over(disk.clone());
    d.send_roster().await.unwrap();
    (d, disk)
}

fn rows(disk: &Disk, table: Table) -> Vec<Row> {
    disk.read(|s| s.range(table, &[], None, usize::MAX)).unwrap()
}

/// Keys that anybody can make are no reason to keep anything, and what was never published has nothing sealed to it.
#[tokio::test]
async fn nothing_is_kept_of_who_has_published_nothing() {
    let (d, disk) = on_disk().await;
    let (owner, stranger) = (Owner::new(50), Owner::new(51));
    d.admit(&owner, NORTH).await;
    d.push(NORTH, d.batch(&owner, "labs", 3, &[(1, vec![])])).await.unwrap();
    d.grant(owner.id(), vec![owner.grant(&d.public(CLINICIAN), "labs", START)]).await.unwrap();
    let refused = erase(&d, &stranger, order(&stranger, &[("labs", 0)], START)).await;
    assert_eq!(refused, Err(ErasureRefusal::UnknownOwner(stranger.id()).into()));
    for (section, through) in [("invented", 0), ("labs", 1)] {
        let refused = erase(&d, &owner, order(&owner, &[("notes", 0), (section, through)], START)).await;
        let (owner, section) = (owner.id(), section.to_owned());
        assert_eq!(refused, Err(ErasureRefusal::Unpublished { owner, section, through }.into()));
    }
    assert_eq!(rows(&disk, Table::Erasures), vec![], "nothing of it was kept");
    assert_eq!(d.found(CLINICIAN, InnerClause::All).await, [1]);
}

/// An order is kept once, however many sections it names; and only so many of one owner.
#[tokio::test]
async fn orders_are_kept_once_and_not_without_bound() {
    let (d, disk) = on_disk().await;
    let owner = Owner::new(50);
    let names: Vec<String> = (0..100).map(|n| format!("s{n:03}")).collect();
    let sections: Vec<(&str, u32)> = names.iter().map(|n| (n.as_str(), 0)).collect();
    d.publish(&owner, &owner.profile(1, &sections, &[d.id(NORTH)])).await.unwrap();
    let size = || rows(&disk, Table::Erasures).iter().map(|(k, v)| k.len() + v.len()).sum::<usize>();
    let acts = || rows(&disk, Table::Audit).len();
    for (n, section) in sections.iter().take(limits::ERASURE_ORDERS).enumerate() {
        erase(&d, &owner, order(&owner, &[*section], START + n as u64)).await.unwrap();
    }
    let one_more = order(&owner, &sections[99..], START + 900);
    let refused = erase(&d, &owner, one_more.clone()).await;
    assert_eq!(refused, Err(ErasureRefusal::TooMany(owner.id()).into()));
    let everything = order(&owner, &sections, START + 901);
    erase(&d, &owner, everything.clone()).await.unwrap();
    let state = d.gate.erasure_state(owner.id(), AskErasure::default()).await.unwrap();
    assert_eq!(state.orders, std::slice::from_ref(&everything), "it takes the place of all");
    let whole = sealdex_wire::codec::to_cbor(&everything).len();
    assert!(size() < whole + 100 * 80 + 200, "{} bytes for an order of {whole}", size());
    // The same once more is no news, and an older one does not come back.
    let before = (size(), acts());
    erase(&d, &owner, everything.clone()).await.unwrap();
    assert_eq!((size(), acts()), before);
    erase(&d, &owner, one_more).await.unwrap();
    let state = d.gate.erasure_state(owner.id(), AskErasure::default()).await.unwrap();
    assert_eq!(state.orders, [everything]);
}

/// Orders that come while the cloud is looked through wait for the next time: none is passed over, and none keeps others
/// from being found.
#[tokio::test]
async fn an_order_that_comes_meanwhile_neither_ends_a_pass_nor_is_missed() {
    let d = Domain::new().await;
    let (first, second) = (Owner::new(50), Owner::new(51));
    for owner in [&first, &second] {
        d.admit(owner, NORTH).await;
    }
    // The second's record comes first: it was looked at by the time of the order.
    d.push(NORTH, d.batch(&second, "labs", 3, &[(1, vec![])])).await.unwrap();
    for n in 2..40_u8 {
        d.push(NORTH, d.batch(&first, "notes", 2 + u64::from(n), &[(n, vec![])])).await.unwrap();
    }
    d.push(NORTH, d.batch(&first, "labs", 90, &[(90, vec![])])).await.unwrap();
    erase(&d, &first, order(&first, &[("labs", 0)], START)).await.unwrap();
    let late = order(&second, &[("labs", 0)], START);
    let (gate, keys) = (d.gate.clone(), second.identity.public());
    let (told, pages) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (tell, count) = (told.clone(), pages.clone());
    *d.cloud.after_scan.lock().unwrap() = Some(Box::new(move |_| {
        // On each page an order, as of somebody who wants the look never to end.
        let (gate, late) = (gate.clone(), late.clone());
        let (tell, n) = (tell.clone(), count.fetch_add(1, Ordering::SeqCst));
        tokio::spawn(async move {
            gate.submit_erasure(keys, SubmitErasure { order: late }).await.unwrap();
            tell.store(n + 1, Ordering::SeqCst);
        });
    }));
    let hospital = d.id(NORTH);
    let mut request = PendingErasures::default();
    for asked in 0.. {
        assert!(asked < 20, "the look does not come to an end");
        let answer = d.gate.pending_erasures(hospital, request.clone()).await.unwrap();
        request.until = answer.until;
        if answer.scanned {
            assert!(answer.ids.chunks(16).any(|id| id[0] == 90), "the first's is found");
            break;
        }
    }
    *d.cloud.after_scan.lock().unwrap() = None;
    while told.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    // Nothing is said to be done before the second's was looked for.
    let state = loop {
        let state = d.gate.erasure_state(second.id(), AskErasure::default()).await.unwrap();
        if state.scanned {
            break state;
        }
    };
    assert_eq!(state.found.len(), 1);
    assert_eq!(pending(&d, NORTH, &[]).await, [1, 90]);
}

/// A cloud that was restored is looked through anew, whether it says so or has only less than it had.
#[tokio::test]
async fn a_restored_cloud_is_looked_through_anew() {
    for says_so in [true, false] {
        let d = Domain::new().await;
        let owner = Owner::new(50);
        d.admit(&owner, NORTH).await;
        *d.cloud.store_id.lock().unwrap() = Some([1; 16]);
        for n in 1..=5_u8 {
            d.push(NORTH, d.batch(&owner, "labs", 2 + u64::from(n), &[(n, vec![])])).await.unwrap();
        }
        erase(&d, &owner, order(&owner, &[("labs", 0)], START)).await.unwrap();
        let all = pending(&d, NORTH, &[]).await;
        assert_eq!(all, [1, 2, 3, 4, 5]);
        assert_eq!(pending(&d, NORTH, &all).await, [0_u8; 0]);
        // As of a time before they had ended.
        match says_so {
            true => *d.cloud.store_id.lock().unwrap() = Some([2; 16]),
            false => d.cloud.accepted.lock().unwrap().truncate(3),
        }
        let again: &[u8] = if says_so { &[1, 2, 3, 4, 5] } else { &[1, 2, 3] };
        assert_eq!(pending(&d, NORTH, &[]).await, again, "says so: {says_so}");
        // And once only.
        assert_eq!(pending(&d, NORTH, again).await, [0_u8; 0]);
    }
}

/// Every row of a store, checked.
fn checked(disk: &Disk) -> Vec<String> {
    let secrets = GateSecrets::new(&gate_keys()).unwrap();
    let mut checker = Checker::new(&secrets);
    Table::ALL.into_iter().for_each(|table| checker.rows(table, &rows(disk, table)));
    checker.finish().damages.iter().map(ToString::to_string).collect()
}

/// Stores of before have the whole order with each section, and of the look only its place.
#[tokio::test]
async fn orders_of_earlier_versions_hold_and_are_looked_for() {
    let (d, disk) = on_disk().await;
    let owner = Owner::new(50);
    d.admit(&owner, NORTH).await;
    d.push(NORTH, d.batch(&owner, "labs", 3, &[(1, vec![])])).await.unwrap();
    let old = order(&owner, &[("labs", 0), ("notes", 0)], START);
    let whole = sealdex_wire::codec::to_cbor(&old);
    let key = |section: &str| [&[0], owner.id().0.as_slice(), section.as_bytes()].concat();
    disk.write(|t| {
        for section in ["labs", "notes"] {
            t.put(Table::Erasures, &key(section), &[&[0; 4], whole.as_slice()].concat())?;
        }
        t.put(Table::Erasures, &[3], &[1_u64.to_be_bytes().as_slice(), &[0; 4]].concat())
    })
    .unwrap();
    assert_eq!(checked(&disk), [""; 0]);
    assert!(matches!(
        d.push(NORTH, d.batch(&owner, "labs", 5, &[(5, vec![])])).await.map(drop),
        Err(GateError::Bridge(BridgeRefusal::Erased { .. }))
    ));
    let state = d.gate.erasure_state(owner.id(), AskErasure::default()).await.unwrap();
    assert_eq!((state.orders, state.found.len(), state.scanned), (vec![old.clone()], 1, true));
    // A newer one takes its place, as this version keeps them.
    let new = order(&owner, &[("labs", 0), ("notes", 0)], START + 1);
    erase(&d, &owner, new.clone()).await.unwrap();
    let state = d.gate.erasure_state(owner.id(), AskErasure::default()).await.unwrap();
    assert_eq!((state.orders, state.found.len()), (vec![new], 1));
    assert!(rows(&disk, Table::Erasures).iter().all(|(k, v)| k[0] != 0 || v.len() == 36));
    assert_eq!(checked(&disk), [""; 0]);
    // What belongs together is missed.
    let document = rows(&disk, Table::Erasures).into_iter().find(|(k, _)| k[0] == 4).unwrap();
    let change = |t: &mut dyn Transaction| t.remove(Table::Erasures, &document.0).map(drop);
    disk.write::<_, StoreError>(change).unwrap();
    let lacking = checked(&disk);
    assert!(lacking.len() == 2 && lacking[0].contains("the order by which this is erased is missing"), "{lacking:?}");
    disk.write::<_, StoreError>(|t| {
        t.put(Table::Erasures, &document.0, &document.1)?;
        let row = t.get(Table::Erasures, &key("labs"))?.unwrap();
        t.put(Table::Erasures, &key("labs"), &[&[0, 0, 0, 7], &row[4..]].concat())
    })
    .unwrap();
    let raised = checked(&disk);
    assert!(raised.len() == 1 && raised[0].contains("does not erase it up to epoch 7"), "{raised:?}");
}
