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

/// Resident memory of this process, MiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0) / 1024
}

/// Processor time this process has used, seconds.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = stat.rsplit(')').next().unwrap_or_default();
    let ticks: f64 = after.split_whitespace().skip(11).take(2).filter_map(|n| n.parse::<f64>().ok()).sum();
    ticks / 100.0
}

/// A domain with so many patients, eight sections each, all granted to one group of two; 1,000 of them have a record.
async fn granted_to_a_group(patients: usize, dir: &std::path::Path) -> (Domain<RedbStore>, crate::groups::TestGroup) {
    use rayon::prelude::*;
    const SECTIONS: [&str; 8] =
        ["demographics", "conditions", "observations", "medications", "encounters", "procedures", "allergies", "notes"];
    let d = Domain::over(RedbStore::open(&dir.join("gate.redb")).unwrap());
    d.send_roster().await.unwrap();
    let group = crate::groups::TestGroup::new(&d, NORTH, &[CLINICIAN, OTHER]);
    group.send(&d, NORTH).await.unwrap();
    let owner = |n: usize| {
        let mut seed = [7; 32];
        seed[..8].copy_from_slice(&(n as u64).to_be_bytes());
        Owner::of_seed(seed)
    };
    let (began, before) = (Instant::now(), cpu());
    let (mut loading, mut stored) = (Duration::ZERO, 0);
    for first in (0..patients).step_by(512) {
        let range = first..(first + 512).min(patients);
        let made: Vec<_> = range
            .clone()
            .into_par_iter()
            .map(|n| {
                let owner = owner(n);
                let sections: Vec<(&str, u32)> = SECTIONS.iter().map(|s| (*s, 0)).collect();
                let profile = owner.sign_profile(&owner.profile(1, &sections, &[d.id(NORTH)]));
                let grants = SECTIONS.map(|s| {
                    let (terms, rk) = group.terms(&owner, s, 0, START);
                    owner.sign_grant(&terms, rk)
                });
                (profile, grants)
            })
            .collect();
        let (profiles, grants): (Vec<_>, Vec<_>) = made.into_iter().unzip();
        let grants: Vec<_> = grants.into_iter().flatten().collect();
        stored += grants.len();
        let sent = Instant::now();
        d.gate.publish_owners(d.id(NORTH), sealdex_wire::consent::PublishOwners { profiles }).await.unwrap();
        d.grant(d.id(NORTH), grants).await.unwrap();
        loading += sent.elapsed();
    }
    let size = std::fs::metadata(dir.join("gate.redb")).unwrap().len() >> 20;
    println!(
        "{patients} patients, {stored} grants: {:.0} s with the owners' own work ({:.0} s of processor time), of which the gate {:.0} s; store {size} MiB, resident {} MiB",
        began.elapsed().as_secs_f64(),
        cpu() - before,
        loading.as_secs_f64(),
        resident()
    );
    for n in 0..1000 {
        let owner = owner(n * (patients / 1000));
        let id = ((n % 250) as u8, (n / 250) as u8);
        let mut batch = d.batch(&owner, "observations", 10 + n as u64, &[(id.0, vec![])]);
        batch.records[0].id.0[..2].copy_from_slice(&[id.0, id.1]);
        batch.batch.0[..8].copy_from_slice(&(n as u64).to_be_bytes());
        d.push(NORTH, batch).await.unwrap();
    }
    (d, group)
}

/// `cargo test -p sealdex-gate --release -- --ignored --nocapture a_hundred_thousand`; SEALDEX_PATIENTS to change it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures; needs minutes and --release"]
async fn a_hundred_thousand_patients_and_a_group() {
    let many = std::env::var("SEALDEX_PATIENTS").ok().and_then(|n| n.parse::<usize>().ok()).unwrap_or(100_000);
    let mut per_match = Vec::new();
    for patients in [1000, many] {
        let dir = tempfile::tempdir().unwrap();
        let (d, mut group) = granted_to_a_group(patients, dir.path()).await;
        let mut runs = Vec::new();
        for _ in 0..30 {
            let began = Instant::now();
            let answer = d.search(CLINICIAN, InnerClause::All).await.unwrap();
            runs.push(began.elapsed());
            assert_eq!(answer.groups.len(), 1000);
        }
        // The same without re-encapsulating, tickets and the patients' access logs: asking, opening tags, filtering.
        let mut filtering = Vec::new();
        for _ in 0..30 {
            let count = sealdex_wire::search::CountRequest { clause: InnerClause::All, purpose: "treatment".into() };
            let began = Instant::now();
            let counted = d.gate.count(d.id(CLINICIAN), count).await.unwrap();
            filtering.push(began.elapsed());
            assert_eq!(counted.records, Some(1000));
        }
        // The cloud of this test, and the multiplications, are the same for both.
        per_match.push((shortest(&filtering) / 1000.0, shortest(&runs) / 1000.0));
        println!(
            "{patients} patients, 1,000 matches of as many: {:.1} us a match to ask, open tags and filter; {:.1} us for the whole search",
            shortest(&filtering) / 1000.0,
            shortest(&runs) / 1000.0
        );
        if patients < many {
            continue;
        }
        group.remove(&[d.id(OTHER)]);
        group.send(&d, NORTH).await.unwrap();
        assert!(d.found(OTHER, InnerClause::All).await.is_empty(), "refused before anything is rotated");
        let (began, before, mut rotated) = (Instant::now(), cpu(), 0);
        let wanted = 100_000.min(patients * 8) as u64;
        let mut after = None;
        while rotated < wanted {
            let list = sealdex_wire::group::ListStale { reader: group.id(), after, limit: 4096 };
            let page = d.gate.list_stale(d.id(NORTH), list).await.unwrap();
            let rotations = group.factors_in_parallel(&page.grants);
            let request = sealdex_wire::group::RotateGrants { reader: group.id(), rotations };
            rotated += d.gate.rotate(d.id(NORTH), request).await.unwrap().count;
            after = page.next;
            // In between, a member goes on reading.
            assert_eq!(d.search(CLINICIAN, InnerClause::All).await.unwrap().groups.len(), 1000);
        }
        println!(
            "{rotated} grants rotated, manager and gate, with a search after every 4,096: {:.1} s, {:.1} s of processor time",
            began.elapsed().as_secs_f64(),
            cpu() - before
        );
    }
    let (few, all) = (per_match[0], per_match[1]);
    println!("at {many} patients over 1,000: filtering {:.2}, the whole search {:.2}", all.0 / few.0, all.1 / few.1);
}
