//! Many readers at once.

use std::{sync::Arc, time::Instant};

use sealdex_fhir::QueryDoc;
use sealdex_tests::{World, servers::Place};

use super::{Size, begin, questions, row, short, study};
use crate::{
    measure::{cpu_seconds, percentile},
    report::{Axis, Chart, Series, Study},
};

const ABOUT: &str = "1 to 64 readers, each with keys, grants and connections of its own, ask the same question over and over, \
all roles in one process on this machine. `busy` is processor time over time and cores: what is left of the machine. Errors \
are counted. What a server sheds with 503 is sent again by the client library, as for any caller; the wait is in the times.";

/// Asks from ever more readers.
///
/// # Panics
/// Where the domain cannot be made.
pub async fn run(size: Size) -> Study {
    let machine = begin();
    let most: usize = size.of(64, 4);
    let home = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..most).map(|i| format!("reader-{i:02}")).collect();
    let readers: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut world = World::generated(home.path(), size.of(100, 10), 5, &readers, Place::Process).await;
    world.enrol_patients().await;
    for reader in &readers {
        world.grant_everything(reader).await;
    }
    world.push_all().await;
    let doc = Arc::new(questions().into_iter().find(|d| d.id.as_deref() == Some("demo-raised-hba1c")).unwrap());
    let mut table =
        vec![row(["clients", "answers a second", "p50, ms", "p99, ms", "errors", "busy", "CPU an answer, ms"])];
    let (mut rate, mut p50, mut p99) = (Series::new("answers a second"), Series::new("p50"), Series::new("p99"));
    let mut clients = 1;
    while clients <= most {
        let (ms, errors, seconds, cpu) = round(&world, &readers[..clients], &doc, size.of(640, 16) / clients).await;
        let per_second = ms.len() as f64 / seconds;
        let busy = cpu / seconds / machine.cores as f64;
        let [half, most_of] = [0.5, 0.99].map(|share| percentile(ms.clone(), share));
        rate.points.push([clients as f64, per_second]);
        p50.points.push([clients as f64, half]);
        p99.points.push([clients as f64, most_of]);
        table.push(row([
            &clients.to_string(),
            &short(per_second),
            &short(half),
            &short(most_of),
            &errors.to_string(),
            &format!("{:.0} %", busy * 100.0),
            &short(cpu * 1e3 / ms.len().max(1) as f64),
        ]));
        clients *= 2;
    }
    let x = || Axis::log("clients");
    let chart = |name: &str, title: &str, y: Axis, series| Chart {
        name: name.into(),
        title: title.into(),
        x: x(),
        y,
        bars: Vec::new(),
        series,
    };
    let charts = vec![
        chart("concurrency", "Answers a second", Axis::linear("answers a second"), vec![rate]),
        chart("concurrency-latency", "Time to an answer", Axis::log("ms"), vec![p50, p99]),
    ];
    study("concurrency", ABOUT, size, vec![table], charts, machine)
}

async fn round(world: &World, readers: &[&str], doc: &Arc<QueryDoc>, times: usize) -> (Vec<f64>, usize, f64, f64) {
    let mut sessions = Vec::new();
    for reader in readers {
        let session = world.session(reader);
        session.ask(doc).await.unwrap();
        sessions.push(session);
    }
    let (started, before) = (Instant::now(), cpu_seconds());
    let mut asking = tokio::task::JoinSet::new();
    for session in sessions {
        let doc = doc.clone();
        asking.spawn(async move {
            let (mut ms, mut errors) = (Vec::new(), 0);
            for _ in 0..times.max(3) {
                let started = Instant::now();
                match session.ask(&doc).await {
                    Ok(_) => ms.push(started.elapsed().as_secs_f64() * 1e3),
                    Err(_) => errors += 1,
                }
            }
            (ms, errors)
        });
    }
    let (mut all, mut errors) = (Vec::new(), 0);
    while let Some(done) = asking.join_next().await {
        let (ms, failed) = done.unwrap();
        all.extend(ms);
        errors += failed;
    }
    (all, errors, started.elapsed().as_secs_f64(), cpu_seconds() - before)
}
