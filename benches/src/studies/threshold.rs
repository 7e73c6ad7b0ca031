//! A gate of several nodes beside a single one.

use std::time::Instant;

use sealdex_tests::{World, servers::Place};

use super::{Size, begin, questions, row, short, study};
use crate::{
    measure::median,
    report::{Axis, Chart, Series, Study},
};

const ABOUT: &str = "The same domain with a single gate and with one of three nodes of which it takes two, all roles and nodes in one \
process on this machine: grants made, signed, checked and stored, records pushed, and the questions of the demonstration.";

/// What one domain took.
struct Took {
    grants: f64,
    pushed: f64,
    questions: Vec<(String, f64)>,
}

/// Measures both.
///
/// # Panics
/// Where the domain fails.
pub async fn run(size: Size) -> Study {
    let machine = begin();
    let patients = size.of(100, 10);
    let home = tempfile::tempdir().unwrap();
    let single = took(World::generated(home.path(), patients, 5, &["reader"], Place::Process).await, size).await;
    let home = tempfile::tempdir().unwrap();
    let shared = took(World::shared(home.path(), patients, 5, &["reader"], Place::Process, (3, 2)).await, size).await;
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
    line("grants", "a second", single.grants, shared.grants, single.grants / shared.grants);
    line("records pushed", "a second", single.pushed, shared.pushed, single.pushed / shared.pushed);
    for ((title, one), (_, three)) in single.questions.iter().zip(&shared.questions) {
        line(title, "ms", *one, *three, three / one);
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

async fn took(mut world: World, size: Size) -> Took {
    world.enrol_patients().await;
    let started = Instant::now();
    let grants = world.grant_everything("reader").await as f64 / started.elapsed().as_secs_f64();
    let started = Instant::now();
    let pushed = world.push_all().await as f64 / started.elapsed().as_secs_f64();
    let session = world.session("reader");
    let mut asked = Vec::new();
    for doc in &questions() {
        let mut ms = Vec::new();
        for _ in 0..size.of(31, 3) {
            let started = Instant::now();
            session.ask(doc).await.unwrap();
            ms.push(started.elapsed().as_secs_f64() * 1e3);
        }
        asked.push((doc.title.clone().unwrap_or_default(), median(ms)));
    }
    Took { grants, pushed, questions: asked }
}
