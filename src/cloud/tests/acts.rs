//! The log of acts: what every store must do with them, who may post them, and how they are read.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

mod support;

use std::{sync::Arc, time::Duration};

use sealdex_cloud::store::{ActStore, ActsRefused, MemoryStore, RedbStore};
use sealdex_crypto::{Identity, PrincipalId, PublicIdentity};
use sealdex_ledger::{ActEntry, ActsView, Gates, SignedAct};
use sealdex_lognet::{
    Follower, LogClient,
    domain::{Which, log_key, policy},
};
use sealdex_net::{CallError, clock::now_s, peer::Http};
use sealdex_wire::{
    ProblemType::{BadDocument, Conflict, Forbidden, Malformed},
    acts::{ActsTaken, PostActs},
    limits,
    roster::{Ledger, Roster},
};
use support::domain::{DOMAIN, Domain, Running, identity, put_roster, refused};

/// A chain of acts of a gate, without rows.
fn chain(gate: &Identity, from: Option<&SignedAct>, count: u64, at: u64) -> Vec<SignedAct> {
    let mut acts: Vec<SignedAct> = Vec::new();
    for n in 0..count {
        let before = acts.last().or(from);
        let (number, previous) = before.map_or((1, [0; 32]), |b| (b.entry.number + 1, b.digest()));
        let (documents, rows) = (Vec::new(), Vec::new());
        let entry = ActEntry { gate: gate.id(), number, previous, at: at + n, part: 1, parts: 1, documents, rows };
        acts.push(entry.sign(DOMAIN, gate, &mut rand::rng()));
    }
    acts
}

fn conformance(store: &impl ActStore) {
    let (one, two) = (identity(2), identity(12));
    let put = |gate: &Identity, acts: &[SignedAct]| store.append_acts(gate.id(), acts).unwrap();
    assert_eq!((store.last_act().unwrap(), store.acts(1, 9).unwrap()), (0, Vec::<Vec<u8>>::new()));
    assert_eq!(put(&one, &[]), Ok(None), "nothing before the first");
    let acts = chain(&one, None, 4, 5);
    assert_eq!(put(&one, &acts[1..2]), Err(ActsRefused::Gap { gate: one.id(), last: 0, found: 2 }));
    assert_eq!(put(&one, &acts[..2]), Ok(Some(acts[1].to_entry())));
    assert_eq!(put(&one, &acts[..3]), Ok(Some(acts[2].to_entry())), "what is there is passed over");
    assert_eq!(put(&one, &acts[..1]), Ok(Some(acts[2].to_entry())), "the last is told, whatever was sent");
    assert_eq!(put(&one, &[]), Ok(Some(acts[2].to_entry())));
    let others = chain(&two, None, 2, 9);
    assert_eq!(put(&two, &others), Ok(Some(others[1].to_entry())), "each gate has its own chain");
    let differs = chain(&one, None, 1, 99);
    assert_eq!(put(&one, &differs), Err(ActsRefused::Differs { gate: one.id(), number: 1 }));
    let forked = chain(&one, Some(&chain(&one, None, 3, 99)[2]), 1, 7);
    assert_eq!(put(&one, &forked), Err(ActsRefused::Previous { gate: one.id(), number: 4 }));
    let gap = [acts[3].clone(), chain(&one, Some(&chain(&one, None, 5, 5)[4]), 1, 7).remove(0)];
    assert_eq!(put(&one, &gap), Err(ActsRefused::Gap { gate: one.id(), last: 4, found: 6 }));
    assert_eq!(store.last_act().unwrap(), 5, "a refused request leaves nothing behind");
    let all = [&acts[0], &acts[1], &acts[2], &others[0], &others[1]].map(SignedAct::to_entry);
    assert_eq!(store.acts(1, 9).unwrap(), all, "in the order in which they came");
    assert_eq!(store.acts(2, 3).unwrap(), all[1..3]);
    assert_eq!(store.acts(3, 2).unwrap(), Vec::<Vec<u8>>::new());
}

#[test]
fn every_store_keeps_chains() {
    conformance(&MemoryStore::default());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    conformance(&RedbStore::open(&path).unwrap());
    assert_eq!(RedbStore::open(&path).unwrap().last_act().unwrap(), 5, "what was taken outlives the process");
}

fn ledger() -> Ledger {
    let key = |which| log_key(&support::domain::keys().seed.0, DOMAIN, which).unwrap().verifier().to_string();
    let (batches, acts) = (key(Which::Batches), key(Which::Acts));
    Ledger { batches, acts, witnesses: vec![], quorum: 0, max_age: 60, proofs: Default::default(), auditors: vec![] }
}

async fn cloud() -> (tempfile::TempDir, Domain, Running) {
    let (dir, domain) = (tempfile::tempdir().unwrap(), Domain::new());
    let running = Running::start(dir.path()).await;
    let roster = Roster { ledger: Some(ledger()), ..domain.roster(1) };
    assert_eq!(put_roster(&domain, running.addr, &roster).await, Ok(1));
    (dir, domain, running)
}

async fn post(
    d: &Domain,
    addr: std::net::SocketAddr,
    who: &Arc<Identity>,
    entries: Vec<Vec<u8>>,
) -> Result<ActsTaken, CallError> {
    let entries = entries.into_iter().map(Into::into).collect();
    d.peer(addr, who).post_cbor("/v1/acts", &PostActs { entries }).await
}

fn entries(acts: &[SignedAct]) -> Vec<Vec<u8>> {
    acts.iter().map(SignedAct::to_entry).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_gates_log_and_only_what_follows() {
    let (_dir, d, running) = cloud().await;
    let addr = running.addr;
    let acts = chain(&d.gate, None, 3, 5);
    for who in [&d.hospital, &d.authority] {
        assert_eq!(refused(post(&d, addr, who, entries(&acts)).await), Forbidden);
    }
    assert_eq!(refused(post(&d, addr, &d.gate, entries(&chain(&d.stranger, None, 1, 5))).await), BadDocument);
    assert_eq!(refused(post(&d, addr, &d.gate, entries(&acts[1..])).await), Conflict, "a gap");
    let taken = post(&d, addr, &d.gate, entries(&acts)).await.unwrap();
    assert_eq!(taken.last.unwrap().into_vec(), acts[2].to_entry());
    assert_eq!(refused(post(&d, addr, &d.gate, entries(&chain(&d.gate, None, 1, 50))).await), Conflict);
    let mut bent = acts[2].to_entry();
    bent[60] ^= 1;
    assert_eq!(refused(post(&d, addr, &d.gate, vec![bent]).await), BadDocument);
    for hostile in [vec![], vec![2; 40], vec![2; limits::ACT_ENTRY + 1]] {
        assert_eq!(refused(post(&d, addr, &d.gate, vec![hostile]).await), Malformed);
    }
    let many = vec![acts[2].to_entry(); limits::ACT_ENTRIES[0] + 1];
    assert_eq!(refused(post(&d, addr, &d.gate, many).await), Malformed);
    let asked = post(&d, addr, &d.gate, vec![]).await.unwrap();
    assert_eq!(asked.last.unwrap().into_vec(), acts[2].to_entry(), "none of it changed anything");
    let roster = Roster { ledger: None, ..d.roster(2) };
    put_roster(&d, addr, &roster).await.unwrap();
    assert_eq!(refused(post(&d, addr, &d.gate, vec![]).await), Conflict, "without a log");
}

struct Gate(PublicIdentity);

impl Gates for Gate {
    fn gate(&self, id: PrincipalId) -> Option<PublicIdentity> {
        (self.0.id() == id).then_some(self.0)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_served_and_goes_on_after_a_restart() {
    let (dir, d, mut running) = cloud().await;
    let (mut all, http) = (Vec::new(), Http::new(None).unwrap());
    for round in 1..3 {
        let more = chain(&d.gate, all.last(), 300, 1000 * round);
        all.extend(more.clone());
        for step in more.chunks(limits::ACT_ENTRIES[0]) {
            post(&d, running.addr, &d.gate, entries(step)).await.unwrap();
        }
        let client = LogClient::new(http.clone(), &Which::Acts.url(&format!("http://{}", running.addr))).unwrap();
        let mut follower = Follower::open(None, policy(&ledger(), Which::Acts).unwrap()).unwrap();
        let (mut view, gate) = (ActsView::new(DOMAIN), Gate(d.gate.public()));
        for _ in 0..400 {
            let take = |_, entry: &[u8]| drop(view.add(entry, &gate).unwrap());
            let _ = follower.advance(&client, now_s(), take).await;
            if view.size() == all.len() as u64 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        assert_eq!(view.size(), all.len() as u64);
        running.stop().await;
        running = Running::start(dir.path()).await;
    }
    running.stop().await;
}
