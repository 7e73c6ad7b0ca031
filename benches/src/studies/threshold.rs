//! A gate of several nodes beside a single one.

use std::time::Instant;

use sealdex_tests::{World, servers::Place};

use super::{Size, begin, questions, row, short, study};
use crate::{
    measure::median,
    report::{Axis, Chart, Series, Study},
};

const ABOUT: &str = "The same domain with a single gate and with one of three nodes of which it takes two, all roles and nodes in one \
process on this machine: grants made, signed, checked and stored, records pushed, and the questions of the demonstration. Both \
take turns, in domains founded anew for grants and pushes, question by question for the rest; medians.";

/// A domain, and what it took to fill it.
struct Filled {
    world: World,
    _home: tempfile::TempDir,
    grants: f64,
    pushed: f64,
}

/// Measures both.
///
/// # Panics
/// Where the domain fails.
pub async fn run(size: Size) -> Study {
    let machine = begin();
    let mut rates = [(Vec::new(), Vec::new()), (Vec::new(), Vec::new())];
    let mut domains = Vec::new();
    for _ in 0..size.of(3, 1) {
        domains.clear();
        for (shared, (grants, pushed)) in [false, true].into_iter().zip(&mut rates) {
            let filled = fill(shared, size).await;
            grants.push(filled.grants);
            pushed.push(filled.pushed);
            domains.push(filled);
        }
    }
    let [single, shared] = rates.map(|(grants, pushed)| (median(grants), median(pushed)));
    let mut table = vec![row(["what", "single", "two of three", "cost"])];
    let mut series = Series::new("two of three / single");
    let mut line = |what: &str, unit: &str, one: f64, three: f64, cost: f64| {
        series.points.push([table.len() as f64 - 1.0, cost]);
        table.push(row([
            what,
            &format!("{} {unit}", short(one)),
            &format!("{} {unit}", short(three)),
            &format!("{cost:.2} ×"),
        ]));
    };
    line("grants", "a second", single.0, shared.0, single.0 / shared.0);
    line("records pushed", "a second", single.1, shared.1, single.1 / shared.1);
    for (title, [one, three]) in ask(&domains, size).await {
        line(&title, "ms", one, three, three / one);
    }
    let chart = Chart {
        name: "threshold".into(),
        title: "Cost of a gate of three nodes, by the rows of the table".into(),
        x: Axis::linear(""),
        y: Axis::linear("times a single gate"),
        bars: (1..table.len()).map(|n| n.to_string()).collect(),
        series: vec![series],
    };
    study("threshold", ABOUT, size, vec![table], vec![chart], machine)
}

async fn fill(shared: bool, size: Size) -> Filled {
    let (home, patients) = (tempfile::tempdir().unwrap(), size.of(100, 10));
    let mut world = match shared {
        false => World::generated(home.path(), patients, 5, &["reader"], Place::Process).await,
        true => World::shared(home.path(), patients, 5, &["reader"], Place::Process, (3, 2)).await,
    };
    world.enrol_patients().await;
    let started = Instant::now();
    let grants = world.grant_everything("reader").await as f64 / started.elapsed().as_secs_f64();
    let started = Instant::now();
    let pushed = world.push_all().await as f64 / started.elapsed().as_secs_f64();
    Filled { world, _home: home, grants, pushed }
}

/// Title of each question, and how long it took both domains, ms.
async fn ask(domains: &[Filled], size: Size) -> Vec<(String, [f64; 2])> {
    let sessions: Vec<_> = domains.iter().map(|d| d.world.session("reader")).collect();
    let mut asked = Vec::new();
    for doc in questions() {
        let mut ms = [Vec::new(), Vec::new()];
        for _ in 0..size.of(31, 3) {
            for (session, ms) in sessions.iter().zip(&mut ms) {
                let started = Instant::now();
                session.ask(&doc).await.unwrap();
                ms.push(started.elapsed().as_secs_f64() * 1e3);
            }
        }
        asked.push((doc.title.unwrap_or_default(), ms.map(median)));
    }
    asked
}
