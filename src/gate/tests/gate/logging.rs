//! Acts on their way into the log: none missing, repeated or altered, whatever fails when.

use std::sync::{Arc, atomic::Ordering};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use sealdex_crypto::{Identity, PrincipalId, PublicIdentity};
use sealdex_gate::{
    Gate, GateSecrets,
    acts::LoggingError,
    store::{AuditKind, ConsentStore as _, ReadConsents as _, RedbStore},
};
use sealdex_ledger::{ActReader, ActsView, Gates, SignedAct, act::AuditorRow};
use sealdex_wire::{
    acts::{LogRow, SignedBy},
    roster::Ledger,
    search::InnerClause,
};

use crate::{domain::*, exploring::Disk};

pub fn ledger() -> Ledger {
    let (batches, acts) = ("batches".to_owned(), "acts".to_owned());
    Ledger { batches, acts, witnesses: vec![], quorum: 0, max_age: 0, proofs: Default::default(), auditors: vec![] }
}

/// A domain with a log; the gate's store outlives it.
async fn domain() -> (Domain<Disk>, Disk) {
    let disk = Disk::default();
    let mut d = Domain::over(disk.clone());
    d.ledger = Some(ledger());
    d.send_roster().await.unwrap();
    (d, disk)
}

/// The gate killed, and another over the same store.
fn restart(d: &mut Domain<Disk>, disk: &Disk) {
    let (secrets, clock) = (GateSecrets::new(&gate_keys()).unwrap(), d.clock.clone());
    let clock = Arc::new(move || clock.load(Ordering::SeqCst));
    d.gate = Gate::open(secrets, disk.clone(), d.cloud.clone(), clock, 8).unwrap();
}

struct Only(PublicIdentity);

impl Gates for Only {
    fn gate(&self, id: PrincipalId) -> Option<PublicIdentity> {
        (self.0.id() == id).then_some(self.0)
    }
}

/// Everything in the log, checked.
fn log(d: &Domain<Disk>) -> Vec<SignedAct> {
    let (mut view, gate) = (ActsView::new(DOMAIN), Only(d.gate_identity.public()));
    d.cloud.acts.lock().unwrap().iter().map(|e| view.add(e, &gate).unwrap()).collect()
}

fn audited(d: &Domain<Disk>, by: &Identity) -> Vec<AuditorRow> {
    let mut reader = ActReader::new(DOMAIN, by);
    log(d).iter().filter_map(|a| reader.as_auditor(a, &d.gate_identity.public()).unwrap()).collect()
}

fn owned(d: &Domain<Disk>, owner: &Owner) -> Vec<LogRow> {
    let mut reader = ActReader::new(DOMAIN, &owner.identity);
    let rows = log(d).into_iter().filter_map(|a| reader.as_owner(&a, &d.gate_identity.public()).unwrap());
    rows.flat_map(|r| r.rows).collect()
}

async fn drain(d: &Domain<Disk>) {
    while d.gate.log_acts().await.unwrap() {}
}

#[tokio::test]
async fn what_the_gate_does_is_in_the_log_for_whom_it_concerns() {
    let (mut d, disk) = domain().await;
    let auditor = identity(77);
    d.ledger = Some(Ledger { auditors: vec![(&auditor.public()).into()], ..ledger() });
    d.version += 1;
    d.send_roster().await.unwrap();
    let (ana, ben) = (Owner::new(50), Owner::new(51));
    for owner in [&ana, &ben] {
        d.admit(owner, NORTH).await;
    }
    let grant = ana.grant(&d.public(CLINICIAN), "labs", START);
    let word = grant.grant.digest();
    d.grant(ana.id(), vec![grant]).await.unwrap();
    d.push(NORTH, d.batch(&ana, "labs", 3, &[(1, vec![])])).await.unwrap();
    d.gate.search(d.id(CLINICIAN), d.query(InnerClause::All)).await.unwrap();
    d.revoke(&ana, ana.revoke(d.id(CLINICIAN), None, START + 1)).await.unwrap();
    drain(&d).await;
    let kinds: Vec<AuditKind> = owned(&d, &ana).iter().map(|r| r.access.kind).collect();
    use AuditKind::{Bridge, Grants, Owners, Revocations, Search};
    assert_eq!(kinds, [Owners, Grants, Bridge, Search, Revocations]);
    let rows = owned(&d, &ana);
    let signed = rows[1].word.clone().expect("what the grant rests on");
    assert_eq!((signed.hash, signed.by, signed.signer), (word, SignedBy::Owner, ana.id()));
    assert_eq!(ana.identity.public().verify(&signed.hash.0, &signed.signature), Ok(()));
    assert_eq!(rows[3].access.caller, d.id(CLINICIAN));
    assert_eq!(owned(&d, &ben).len(), 1, "nothing of what is another's");
    // The rows are those that the gate lists, at the same places.
    let listed = disk.read(|s| s.accesses_of(ana.id(), None, 99)).unwrap();
    let places: Vec<_> = rows.iter().filter(|r| r.part.is_some()).map(|r| &r.access).collect();
    assert_eq!(places, listed.iter().map(|(_, row)| row).collect::<Vec<_>>());
    let acts = disk.read(|s| s.audit_from(0, 99)).unwrap();
    for by in [&auditor, &d.authority] {
        let all = audited(&d, by);
        let from = acts.len() - all.len();
        assert_eq!(all.iter().map(|a| &a.entry).collect::<Vec<_>>(), acts[from..].iter().collect::<Vec<_>>());
    }
    assert_eq!(audited(&d, &d.authority).len(), acts.len());
    let rosters: Vec<_> = log(&d).into_iter().flat_map(|a| a.entry.documents).collect();
    assert_eq!(rosters.len(), 2, "rosters are named publicly, and nothing else");
    for roster in rosters {
        assert_eq!(d.authority.public().verify(&roster.hash.0, &roster.signature), Ok(()));
    }
}

#[tokio::test]
async fn without_a_log_nothing_is_kept_for_one() {
    let d = Domain::new().await;
    d.admit(&Owner::new(50), NORTH).await;
    assert!(!d.gate.log_acts().await.unwrap());
    assert!(d.cloud.acts.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_cloud_that_is_down_holds_up_nothing_but_the_log() {
    let (d, _) = domain().await;
    d.cloud.down.store(true, Ordering::SeqCst);
    d.admit(&Owner::new(50), NORTH).await;
    assert!(matches!(d.gate.log_acts().await, Err(LoggingError::Cloud(_))));
    d.cloud.down.store(false, Ordering::SeqCst);
    drain(&d).await;
    assert_eq!(log(&d).len(), 2);
}

#[tokio::test]
async fn killed_anywhere_the_log_has_every_act_once_and_in_order() {
    for seed in 0..60 {
        let mut rng = StdRng::seed_from_u64(seed);
        let (mut d, disk) = domain().await;
        let (owner, mut version) = (Owner::new(50), 1);
        d.admit(&owner, NORTH).await;
        for _ in 0..30 {
            match rng.random_range(0..6) {
                0 | 1 => {
                    version += 1;
                    let profile = owner.profile(version, &[("labs", 0), ("notes", 0)], &[d.id(NORTH)]);
                    d.publish(&owner, &profile).await.unwrap();
                }
                2 => d.cloud.down.store(rng.random(), Ordering::SeqCst),
                3 => *d.cloud.breaks_after.lock().unwrap() = Some(rng.random_range(0..4)),
                4 => restart(&mut d, &disk),
                _ => drop(d.gate.log_acts().await),
            }
        }
        d.cloud.down.store(false, Ordering::SeqCst);
        d.cloud.breaks_after.lock().unwrap().take();
        drain(&d).await;
        let acts: Vec<u64> = audited(&d, &d.authority).iter().map(|a| a.act).collect();
        let all = disk.read(|s| s.audit_from(0, 999)).unwrap().len() as u64;
        assert_eq!(acts, (0..all).collect::<Vec<_>>(), "seed {seed}");
        let report = disk.read(|s| Ok::<_, sealdex_gate::store::StoreError>(s.audit_from(0, 1)?.len())).unwrap();
        assert_eq!(report, 1);
    }
}

#[tokio::test]
async fn an_older_store_goes_on_after_what_is_logged() {
    let (d, disk) = domain().await;
    drain(&d).await;
    let old = disk.copy();
    d.admit(&Owner::new(50), NORTH).await;
    drain(&d).await;
    assert_eq!(log(&d).len(), 2);
    let mut restored = d;
    restart(&mut restored, &old);
    restored.admit(&Owner::new(51), NORTH).await;
    drain(&restored).await;
    assert_eq!(log(&restored).len(), 3, "the chain is whole");
}

#[tokio::test]
async fn a_cloud_that_has_lost_acts_is_told_so() {
    let (mut d, disk) = domain().await;
    d.admit(&Owner::new(50), NORTH).await;
    drain(&d).await;
    d.cloud.acts.lock().unwrap().pop();
    restart(&mut d, &disk);
    let error = d.gate.log_acts().await.unwrap_err().to_string();
    assert!(error.contains("the cloud's last act of this gate is 1, it has acknowledged 2"), "{error}");
}

/// Not an assertion: what keeping acts for the log adds to searches.
#[tokio::test]
async fn what_the_log_costs_a_search() {
    const SEARCHES: u32 = 200;
    for round in 0..2 {
        for has_log in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let mut d = Domain::over(RedbStore::open(&dir.path().join("gate.redb")).unwrap());
            d.ledger = has_log.then(ledger);
            d.send_roster().await.unwrap();
            for n in 0..20 {
                let owner = Owner::new(100 + n);
                d.admit(&owner, NORTH).await;
                d.grant(owner.id(), vec![owner.grant(&d.public(CLINICIAN), "labs", START)]).await.unwrap();
                d.push(NORTH, d.batch(&owner, "labs", 3 + u64::from(n), &[(n, vec![])])).await.unwrap();
            }
            let began = std::time::Instant::now();
            for _ in 0..SEARCHES {
                let found = d.gate.search(d.id(CLINICIAN), d.query(InnerClause::All)).await.unwrap();
                assert_eq!(found.groups.iter().map(|g| g.ids.len() / 16).sum::<usize>(), 20);
            }
            let search = began.elapsed() / SEARCHES;
            let began = std::time::Instant::now();
            while d.gate.log_acts().await.unwrap() {}
            println!("round {round}, log {has_log}: {search:?} a search, {:?} to log", began.elapsed() / SEARCHES);
        }
    }
}
