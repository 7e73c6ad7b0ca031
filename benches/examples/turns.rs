//! scratch
#![allow(clippy::all, clippy::pedantic, missing_docs)]
#[global_allocator]
static ALLOC: mimalloc::MiMalloc = mimalloc::MiMalloc;
use sealdex_bench_lib::measure::{cpu_seconds, percentile};
use sealdex_benches as sealdex_bench_lib;
use sealdex_fhir::Suite;
use sealdex_tests::{World, servers::Place};
use sealdex_wire::roster::Proofs;
use std::{
    io::{BufRead, Write},
    sync::Arc,
    time::Instant,
};

#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().collect();
    let clients: usize = args.get(1).and_then(|a| a.parse().ok()).unwrap_or(1);
    if let Ok(p) = std::env::var("TRACE") {
        sealdex_net::trace::to_file(std::path::Path::new(&p)).unwrap();
    }
    let patients: u32 = std::env::var("PATIENTS").ok().and_then(|p| p.parse().ok()).unwrap_or(200);
    let home = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..clients).map(|i| format!("reader-{i:02}")).collect();
    let readers: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut world = World::generated(home.path(), patients, 5, &readers, Place::Process).await;
    let proofs = if std::env::var("PROOFS").as_deref() == Ok("gate") { Proofs::Gate } else { Proofs::Member };
    world.watch(3, 2, proofs).await;
    world.enrol_patients().await;
    for r in &readers {
        world.grant_everything(r).await;
    }
    world.push_all().await;
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    let docs: Vec<_> = Suite::parse(include_str!("../../queries/demo.json"), None).unwrap().queries;
    let sessions: Vec<_> =
        readers.iter().map(|r| Arc::new([world.session(r), world.session(r).unverified()])).collect();
    for s in &sessions {
        for one in s.iter() {
            for d in &docs {
                one.ask(d).await.unwrap();
                if clients > 1 {
                    break;
                }
            }
        }
    }
    println!("READY {}", std::process::id());
    std::io::stdout().flush().unwrap();
    let lines = std::io::stdin().lock().lines();
    for line in lines {
        // which(q index list) times kind
        let line = line.unwrap();
        let w: Vec<&str> = line.split_whitespace().collect();
        let times: usize = w[1].parse().unwrap();
        let kinds: Vec<usize> = match w[2] {
            "checked" => vec![0],
            "believed" => vec![1],
            _ => vec![0, 1],
        };
        for q in w[0].split(',') {
            let q: usize = q.parse().unwrap();
            for &k in &kinds {
                let before = cpu_seconds();
                let began = Instant::now();
                let (mut ms, mut errors, mut info) = (Vec::new(), 0, String::new());
                if clients == 1 {
                    for _ in 0..times {
                        let s = Instant::now();
                        let a = sessions[0][k].ask(&docs[q]).await.unwrap();
                        ms.push(s.elapsed().as_secs_f64() * 1e3);
                        info = format!(
                            "{} hits {} opened {} caps {:?}",
                            a.hits.len(),
                            a.cost.opened,
                            a.cost.capsules,
                            a.proved.as_ref().map(|p| (p.batches, p.runs, p.pairs, p.bytes, p.elapsed))
                        );
                    }
                } else {
                    let mut set = tokio::task::JoinSet::new();
                    for s in &sessions {
                        let (s, d) = (s.clone(), docs[q].clone());
                        set.spawn(async move {
                            let (mut ms, mut e) = (Vec::new(), 0);
                            for _ in 0..times {
                                let t = Instant::now();
                                match s[k].ask(&d).await {
                                    Ok(_) => ms.push(t.elapsed().as_secs_f64() * 1e3),
                                    Err(_) => e += 1,
                                }
                            }
                            (ms, e)
                        });
                    }
                    while let Some(r) = set.join_next().await {
                        let (m, e) = r.unwrap();
                        ms.extend(m);
                        errors += e;
                    }
                }
                let wall = began.elapsed().as_secs_f64();
                let cpu = cpu_seconds() - before;
                println!(
                    "q{q} {} n={} p50={:.2} p99={:.2} cpu={:.2} rate={:.1} busy={:.0}% err={errors} {} {}",
                    ["checked", "believed"][k],
                    ms.len(),
                    percentile(ms.clone(), 0.5),
                    percentile(ms.clone(), 0.99),
                    cpu * 1e3 / ms.len() as f64,
                    ms.len() as f64 / wall,
                    cpu / wall * 50.0,
                    docs[q].title.clone().unwrap_or_default().chars().take(24).collect::<String>(),
                    info
                );
            }
        }
        println!("DONE");
        std::io::stdout().flush().unwrap();
    }
}
