//! Stores written by earlier versions.

use std::sync::{Arc, atomic::Ordering};

use sealdex_crypto::IdentitySeed;
use sealdex_gate::{
    Gate, GateError, GateSecrets,
    secrets::StoreKey,
    store::{ConsentStore, RedbStore, StoreError, Table},
};
use sealdex_wire::{codec, search::InnerClause};

use crate::domain::*;

/// Turns the one grant of a store into what format 1 had.
fn as_format_one(store: &RedbStore, submission: &sealdex_wire::consent::GrantSubmission) {
    let key = StoreKey::derive(&IdentitySeed::from_bytes(&[201; 32]));
    let terms = submission.grant.peek().unwrap();
    let reader = terms.reader.identity().unwrap().id();
    let section = [&[terms.section.len() as u8], terms.section.as_bytes(), &terms.epoch.to_be_bytes()].concat();
    let old = [terms.owner.0.as_slice(), &section, &reader.0].concat();
    let sealed = key.seal_scalar(Table::Grants, &old, &submission.rk.as_ref().unwrap().0);
    let times = [terms.not_before, terms.not_after, terms.granted_at].map(u64::to_be_bytes);
    let row = [&terms.a.0[..], &terms.x.0, times.as_flattened(), &sealed.0, terms.purpose.as_bytes()].concat();
    store
        .write(|t| {
            for table in [Table::Grants, Table::GrantTerms, Table::GrantsByReader] {
                for (k, _) in t.range(table, &[], None, 99)? {
                    t.remove(table, &k)?;
                }
            }
            t.put(Table::Grants, &old, &row)?;
            t.put(Table::GrantTerms, &old, &codec::to_cbor(&submission.grant))?;
            t.put(Table::GrantsByReader, &[reader.0.as_slice(), &terms.owner.0, &section].concat(), &[])?;
            t.put(Table::Meta, b"format", &1_u32.to_be_bytes())
        })
        .unwrap();
}

#[tokio::test]
async fn grants_of_format_one_are_found_opened_and_revoked_as_before() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("gate.redb");
    let owner = Owner::new(50);
    let mut d = Domain::over(RedbStore::open(&path).unwrap());
    d.send_roster().await.unwrap();
    d.admit(&owner, NORTH).await;
    d.push(NORTH, d.batch(&owner, "labs", 3, &[(1, vec![])])).await.unwrap();
    let submission = owner.grant(&d.public(CLINICIAN), "labs", START);
    d.grant(owner.id(), vec![submission.clone()]).await.unwrap();
    // Another store meanwhile: a file is opened once at a time.
    let open = |path: &std::path::Path, d: &Domain<RedbStore>| {
        let clock = d.clock.clone();
        let tick = Arc::new(move || clock.load(Ordering::SeqCst));
        let secrets = GateSecrets::new(&gate_keys()).unwrap();
        Gate::open(secrets, RedbStore::open(path).unwrap(), d.cloud.clone(), tick, 8)
    };
    d.gate = open(&dir.path().join("meanwhile.redb"), &d).unwrap();
    as_format_one(&RedbStore::open(&path).unwrap(), &submission);
    d.gate = open(&path, &d).unwrap();
    let answer = d.search(CLINICIAN, InnerClause::All).await.unwrap();
    assert_eq!(ids(&answer), [1]);
    assert!(opens(&d.parties[CLINICIAN].identity, &owner, &answer.groups[0]));
    let revoked = d.revoke(&owner, owner.revoke(d.id(CLINICIAN), None, START + 1)).await.unwrap();
    assert_eq!(revoked.count, 1);
    assert_eq!(d.found(CLINICIAN, InnerClause::All).await, [0_u8; 0]);

    // A row that is damaged stops the upgrade, and nothing has changed.
    d.gate = open(&dir.path().join("meanwhile.redb"), &d).unwrap();
    let store = RedbStore::open(&path).unwrap();
    as_format_one(&store, &submission);
    let rows = |store: &RedbStore| store.read(|s| s.range(Table::Grants, &[], None, 9)).unwrap();
    store
        .write(|t| {
            let (k, v) = t.range(Table::Grants, &[], None, 1)?[0].clone();
            t.put(Table::Grants, &k, &v[..80])
        })
        .unwrap();
    let before = rows(&store);
    drop(store);
    let refused = open(&path, &d).err();
    assert_eq!(refused, Some(GateError::Store(StoreError::Row("grants"))));
    assert_eq!(rows(&RedbStore::open(&path).unwrap()), before);
}
