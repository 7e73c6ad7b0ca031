#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]
use sealdex_provider::{Journal, OwnerMap, Progress, PushInput, PushSettings, push};
use std::{sync::Arc, time::Instant};
#[path = "../../benches/src/stays.rs"]
mod stays;
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
    let ticks: f64 = after.split_whitespace().skip(11).take(2).filter_map(|t| t.parse::<f64>().ok()).sum();
    ticks / 100.0
}
use sealdex_tests::{World, servers::Place};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().collect();
    let (shape, logged, n): (&str, bool, u64) = (&args[1], args[2] == "log", args[3].parse().unwrap());
    let home = tempfile::tempdir().unwrap();
    let mut world = if shape == "fhir" {
        match logged {
            true => World::generated(home.path(), n as u32, 5, &[], Place::Process).await,
            false => World::unlogged(home.path(), n as u32, 5, &[], Place::Process).await,
        }
    } else {
        let data = home.path().join("records");
        stays::write(&data, n, shape.parse().unwrap(), 2, 1).unwrap();
        World::of_kind(home.path(), &data, &[], Place::Process, stays::kind(), logged).await
    };
    world.enrol_patients().await;
    let perf = std::env::var("PERF").ok().map(|out| {
        let c = std::process::Command::new("perf")
            .args(["record", "-F", "499", "-g", "-e", "cpu-clock", "-o", &out, "-p", &std::process::id().to_string()])
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_millis(700));
        c
    });
    let (started, before) = (Instant::now(), cpu_seconds());
    let mut records = 0;
    let batch: usize = std::env::var("BATCH").map_or(8192, |b| b.parse().unwrap());
    for h in &world.hospitals {
        let trusted = world.trusted();
        let input = PushInput {
            keys: &h.keys,
            trusted: &trusted,
            gate: world.gate(&h.keys),
            cloud: trusted.cloud(&world.http, Some(&h.keys)).unwrap(),
            owners: OwnerMap::read(&h.dir.join("owners.ndjson")).unwrap(),
            log: None,
            journal: Journal::open(&h.dir.join("push.state/journal.redb")).unwrap(),
            sources: vec![h.records.clone().into()],
            mapping: world.mapping.clone(),
            settings: PushSettings { batch_records: batch, ..PushSettings::default() },
            progress: Arc::new(Progress::default()),
        };
        let report = push(input).await.unwrap();
        assert_eq!(report.rejected, 0, "{:?}", report.first_rejects);
        records += report.pushed;
    }
    let (secs, cpu) = (started.elapsed().as_secs_f64(), cpu_seconds() - before);
    println!(
        "{shape} {} {records} records: {:.0}/s, {:.1} us CPU each, {:.0}% busy",
        args[2],
        records as f64 / secs,
        cpu * 1e6 / records as f64,
        cpu / secs * 50.0
    );
    if let Some(mut p) = perf {
        std::process::Command::new("kill").args(["-INT", &p.id().to_string()]).status().unwrap();
        p.wait().unwrap();
    }
}
