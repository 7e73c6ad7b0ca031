//! What the hot paths cost, against the raw operations they cannot do without. Ignored by default: run
//! with `RAYON_NUM_THREADS=1 cargo test -p sealdex-gate --release -- --ignored --nocapture --test-threads 1`.

use std::time::{Duration, Instant};

use sealdex_crypto::{Capsule, Scalar};
use sealdex_gate::store::RedbStore;
use sealdex_wire::{ingest::InnerEntry, search::InnerClause};

use crate::domain::*;

/// The shortest of some runs, in microseconds: what others do on the machine only adds.
fn shortest(samples: &[Duration]) -> f64 {
    samples.iter().min().unwrap().as_secs_f64() * 1e6
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures; needs a quiet machine and --release"]
async fn cost_of_a_search_per_capsule() {
    const CAPSULES: u64 = 100;
    let dir = tempfile::tempdir().unwrap();
    let d = Domain::over(RedbStore::open(&dir.path().join("gate.redb")).unwrap());
    d.send_roster().await.unwrap();
    for n in 0..CAPSULES as u8 {
        let owner = Owner::new(100 + n);
        d.admit(&owner, NORTH).await;
        d.grant(owner.id(), vec![owner.grant(&d.public(CLINICIAN), "labs", START)]).await.unwrap();
        d.push(NORTH, d.batch(&owner, "labs", u64::from(n) + 1, &[(n + 1, vec![])])).await.unwrap();
    }
    let (mut whole, mut raw) = (Vec::new(), Vec::new());
    for _ in 0..100 {
        let began = Instant::now();
        let response = d.search(CLINICIAN, InnerClause::All).await.unwrap();
        whole.push(began.elapsed());
        assert_eq!(response.groups.len() as u64, CAPSULES);
        let k = Scalar::random(&mut rand::rng());
        let began = Instant::now();
        for group in &response.groups {
            std::hint::black_box(Capsule::from_bytes(&group.capsule.0).unwrap().point().mul(&k));
        }
        raw.push(began.elapsed());
    }
    let (whole, raw) = (shortest(&whole), shortest(&raw));
    let threads = rayon::current_num_threads();
    println!(
        "search of {CAPSULES} capsules: {whole:.0} us on {threads} threads, journal included; decode and multiply alone: {raw:.0} us on one; ratio {:.2}",
        whole / raw
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures; needs a quiet machine and --release"]
async fn cost_of_bridging_per_record() {
    let d = Domain::new().await;
    let owner = Owner::new(50);
    d.admit(&owner, NORTH).await;
    let field = d.field("value").0;
    let cases: [(&str, Vec<InnerEntry>); 4] = [
        ("no entry", vec![]),
        ("10 tokens", (0..10).map(|n| entry([n; 32], false)).collect()),
        (
            "10 tokens, 2 order codes",
            (0..10)
                .map(|n| entry([n; 32], false))
                .chain([1, 2].map(|code| InnerEntry::Order { merged: true, field, bits: 32, code }))
                .collect(),
        ),
        (
            "10 tokens, 1 bridged",
            (0..10)
                .map(|n| entry([n; 32], false))
                .chain([InnerEntry::Bridged {
                    merged: true,
                    point: sealdex_wire::RawPoint(d.parties[NORTH].key.inner(DOMAIN, "f", b"v").unwrap().to_bytes()),
                }])
                .collect(),
        ),
    ];
    for (name, entries) in cases {
        let mut batch = d.batch(&owner, "labs", 3, &[(1, entries)]);
        let record = batch.records[0].clone();
        batch.records = (0..4096_u32)
            .map(|n| {
                let mut r = record.clone();
                r.id.0[..4].copy_from_slice(&n.to_be_bytes());
                r
            })
            .collect();
        let mut samples = Vec::new();
        for _ in 0..9 {
            let (batch, began) = (batch.clone(), Instant::now());
            d.gate.bridge(d.id(NORTH), batch).await.unwrap();
            samples.push(began.elapsed() / 4096);
        }
        println!("bridging, {name}: {:.2} us a record on {} threads", shortest(&samples), rayon::current_num_threads());
    }
}
