//! Asking: from the question to exact answers in the clear.

use std::time::Instant;

use sealdex_client::Session;
use sealdex_crypto::{Point, Scalar};
use sealdex_fhir::QueryDoc;
use sealdex_tests::{World, servers::Place};
use sealdex_wire::roster::Proofs;

use super::{Size, begin, questions, row, short, study};
use crate::{
    measure::{cpu_seconds, median, percentile},
    report::{Axis, Chart, Series, Study},
};

const ABOUT: &str = "One reader, all roles in one process on this machine, over HTTP on loopback; every record opened and the answer decided \
exactly. `checked`: each record proved to be in the log, and the reader itself checks that none was left out (witnesses: 2 of \
3); `believed`: the same domain with --unverified. `k256`: two decodings and multiplications for each capsule by k256, one after the other on one core: what it could not be below without \
lanes.";

/// Asks the questions of the demonstration.
///
/// # Panics
/// Where a question fails.
pub async fn run(size: Size) -> Study {
    let machine = begin();
    let home = tempfile::tempdir().unwrap();
    let mut world = World::generated(home.path(), size.of(200, 20), 5, &["reader"], Place::Process).await;
    world.watch(3, 2, Proofs::Member).await;
    world.enrol_patients().await;
    world.grant_everything("reader").await;
    let records = world.push_all().await;
    let sessions = [world.session("reader"), world.session("reader").unverified()];
    let mut table = vec![row([
        "question",
        "answers",
        "opened",
        "capsules",
        "checked p50, ms",
        "p99",
        "CPU",
        "believed p50",
        "p99",
        "CPU",
        "k256",
    ])];
    let mut series = [Series::new("checked"), Series::new("believed"), Series::new("k256")];
    let multiply = multiply_cost();
    for doc in &questions() {
        let found = ask(&sessions, doc, size.of(101, 5)).await;
        let floor = 2.0 * found.capsules as f64 * multiply * 1e3;
        let mut cells = vec![doc.title.clone().unwrap_or_default()];
        cells.extend([found.answers as u64, found.opened, found.capsules].map(|n| n.to_string()));
        for (ms, cpu) in &found.each {
            cells.extend([percentile(ms.clone(), 0.5), percentile(ms.clone(), 0.99), *cpu].map(short));
        }
        cells.push(short(floor));
        table.push(cells);
        for (series, (ms, _)) in series.iter_mut().zip(&found.each) {
            series.points.push([found.opened as f64, median(ms.clone())]);
        }
        series[2].points.push([found.opened as f64, floor]);
    }
    series.iter_mut().for_each(|s| s.points.sort_by(|a, b| a[0].total_cmp(&b[0])));
    let chart = Chart {
        name: "query".into(),
        title: format!("From question to answers in the clear, {records} records of five hospitals"),
        x: Axis::linear("records opened"),
        y: Axis::linear("ms, median"),
        bars: Vec::new(),
        series: series.into(),
    };
    study("query", ABOUT, size, vec![table], vec![chart], machine)
}

/// Of one question: milliseconds and processor milliseconds an asking, of each session.
struct Asked {
    answers: usize,
    opened: u64,
    capsules: u64,
    each: Vec<(Vec<f64>, f64)>,
}

async fn ask(sessions: &[Session], doc: &QueryDoc, times: usize) -> Asked {
    let mut asked =
        Asked { answers: 0, opened: 0, capsules: 0, each: sessions.iter().map(|_| (Vec::new(), 0.0)).collect() };
    for session in sessions {
        session.ask(doc).await.unwrap();
    }
    for _ in 0..times {
        for (session, (ms, cpu)) in sessions.iter().zip(&mut asked.each) {
            let (started, before) = (Instant::now(), cpu_seconds());
            let answer = session.ask(doc).await.unwrap();
            ms.push(started.elapsed().as_secs_f64() * 1e3);
            *cpu += (cpu_seconds() - before) * 1e3 / times as f64;
            (asked.answers, asked.opened, asked.capsules) =
                (answer.hits.len(), answer.cost.opened, answer.cost.capsules);
        }
    }
    asked
}

/// Seconds for one decoding and multiplication.
fn multiply_cost() -> f64 {
    let mut rng = rand::rng();
    let (point, scalar) = (Scalar::random(&mut rng).base_mul().to_bytes(), Scalar::random(&mut rng));
    let started = Instant::now();
    for _ in 0..500 {
        std::hint::black_box(Point::from_bytes(&point).unwrap().mul(&scalar));
    }
    started.elapsed().as_secs_f64() / 500.0
}
