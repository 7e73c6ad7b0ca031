//! What the hot paths cost, against the raw operations they cannot do without. Ignored by default: run
//! with `cargo test -p sealdex-gate --release -- --ignored --nocapture`.

use std::time::{Duration, Instant};

use sealdex_crypto::{Capsule, Scalar};
use sealdex_gate::store::RedbStore;
use sealdex_wire::{ingest::InnerEntry, search::InnerClause};

use crate::domain::*;

/// CPU time of all threads of this process so far. Wall time says little on a shared machine.
fn cpu() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let nanos = tasks.filter_map(|t| {
        let text = std::fs::read_to_string(t.ok()?.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}

fn median(mut samples: Vec<Duration>) -> f64 {
    samples.sort_unstable();
    samples[samples.len() / 2].as_secs_f64() * 1e6
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
    let (mut whole, mut wall, mut raw) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..50 {
        let (began, before) = (Instant::now(), cpu());
        let response = d.search(CLINICIAN, InnerClause::All).await.unwrap();
        wall.push(began.elapsed());
        whole.push(cpu() - before);
        assert_eq!(response.groups.len() as u64, CAPSULES);
        let k = Scalar::random(&mut rand::rng());
        let before = cpu();
        for group in &response.groups {
            std::hint::black_box(Capsule::from_bytes(&group.capsule.0).unwrap().point().mul(&k));
        }
        raw.push(cpu() - before);
    }
    let (whole, wall, raw) = (median(whole), median(wall), median(raw));
    println!(
        "search of {CAPSULES} capsules: CPU {whole:.0} us on all threads (wall {wall:.0} us); decode and multiply alone: CPU {raw:.0} us; ratio {:.2}",
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
            let (batch, before) = (batch.clone(), cpu());
            d.gate.bridge(d.id(NORTH), batch).await.unwrap();
            samples.push((cpu() - before) / 4096);
        }
        println!("bridging, {name}: {:.2} us of CPU a record", median(samples));
    }
}
