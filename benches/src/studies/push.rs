//! Pushing: records a second, every role in this process, over real HTTP, until they are searchable.

use std::time::Instant;

use sealdex_tests::{World, servers::Place};

use super::{Size, begin, grouped, row, study};
use crate::{
    measure::{cpu_seconds, median},
    report::{Axis, Chart, Series, Study},
    stays,
};

const ABOUT: &str = "All roles in one process on this machine, over HTTP on loopback, durable before it is acknowledged, until the \
last record is searchable; all hospitals (five, two for tables) push at the same time. `CPU` is processor time of all roles together. The allocator keeps free memory for ten seconds, as \
the service units have it. FHIR records are from the project's generator; \
tables have eight indexed fields (three orders, five tokens), once with 1.4 rows a patient as the public table has, once with 20.";

/// What is pushed.
#[derive(Clone, Copy)]
enum What {
    Fhir,
    Stays(f64),
}

/// Measures pushes of both kinds, with and without logs, in turn.
///
/// # Panics
/// Where a push fails.
pub async fn run(size: Size) -> Study {
    let machine = begin();
    let kinds = [
        ("FHIR, generated", What::Fhir),
        ("table, 1.4 rows a patient", What::Stays(1.4)),
        ("table, 20 rows a patient", What::Stays(20.0)),
    ];
    let mut table =
        vec![row(["records", "count", "with log, a second", "CPU, µs", "without log, a second", "CPU, µs"])];
    let mut series = [Series::new("with a log"), Series::new("without")];
    for (at, (name, what)) in kinds.iter().enumerate() {
        let mut found = [(Vec::new(), Vec::new()), (Vec::new(), Vec::new())];
        let mut count = 0;
        for _ in 0..size.of(3, 1) {
            for logged in [true, false] {
                let (records, seconds, cpu) = push(*what, size, logged).await;
                count = records;
                let (rates, cpus) = &mut found[usize::from(!logged)];
                rates.push(records as f64 / seconds);
                cpus.push(cpu * 1e6 / records as f64);
            }
        }
        let [(with, with_cpu), (without, without_cpu)] = found.map(|(rates, cpus)| (median(rates), median(cpus)));
        series[0].points.push([at as f64, with]);
        series[1].points.push([at as f64, without]);
        let cells = [with, with_cpu, without, without_cpu].map(grouped);
        table.push(row([name, &grouped(count as f64), &cells[0], &cells[1], &cells[2], &cells[3]]));
    }
    let chart = Chart {
        name: "push".into(),
        title: "Records pushed a second, all roles on this machine".into(),
        x: Axis::linear(""),
        y: Axis::linear("records a second"),
        bars: kinds.iter().map(|(name, _)| (*name).to_owned()).collect(),
        series: series.into(),
    };
    study("push", ABOUT, size, vec![table], vec![chart], machine)
}

/// Records, seconds, processor seconds.
async fn push(what: What, size: Size, logged: bool) -> (u64, f64, f64) {
    let home = tempfile::tempdir().unwrap();
    let mut world = match what {
        What::Fhir => {
            let patients = size.of(300, 20);
            match logged {
                true => World::generated(home.path(), patients, 5, &[], Place::Process).await,
                false => World::unlogged(home.path(), patients, 5, &[], Place::Process).await,
            }
        }
        What::Stays(each) => {
            let data = home.path().join("records");
            // As many as the public table has.
            stays::write(&data, size.of(101_766, 2_000), each, 2, 1).unwrap();
            World::of_kind(home.path(), &data, &[], Place::Process, stays::kind(), logged).await
        }
    };
    world.enrol_patients().await;
    let (started, before) = (Instant::now(), cpu_seconds());
    let records = world.push_at_once().await;
    (records, started.elapsed().as_secs_f64(), cpu_seconds() - before)
}
