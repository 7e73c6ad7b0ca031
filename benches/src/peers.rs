//! The report of `benches/peers` as a page and charts. It is read as JSON: that package links what nothing of the product
//! may be built with, so nothing of it is shared.

use std::{fs, io, path::Path};

use serde::Deserialize;

use crate::report::{Axis, Chart, Series};

/// The report.
#[derive(Deserialize)]
struct Report {
    machine: Where,
    when: String,
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Where {
    cores: usize,
    cpu: String,
    rustc: String,
    #[serde(default)]
    load: serde_json::Value,
}

#[derive(Deserialize)]
struct Group {
    name: String,
    unit: String,
    rows: Vec<Row>,
    targets: Vec<Target>,
    skipped: Vec<Skipped>,
    not_comparable: String,
}

#[derive(Deserialize)]
struct Row {
    what: String,
    peer: String,
    version: String,
    median: f64,
    p10: f64,
    p90: f64,
    ratio_to_ours: Option<f64>,
    note: Option<String>,
}

#[derive(Deserialize)]
struct Target {
    what: String,
    bound: String,
    target: f64,
    measured: f64,
    met: bool,
}

#[derive(Deserialize)]
struct Skipped {
    peer: String,
    why: String,
}

/// Reads a report, draws a chart for each group beside it, and makes Markdown of it.
///
/// # Errors
/// Names the file and what is wrong with it.
pub fn section(path: &Path) -> io::Result<String> {
    let named = |e: &dyn std::fmt::Display| io::Error::other(format!("{}: {e}", path.display()));
    let report: Report =
        serde_json::from_str(&fs::read_to_string(path).map_err(|e| named(&e))?).map_err(|e| named(&e))?;
    let dir = path.parent().unwrap_or(Path::new("."));
    let m = &report.machine;
    let mut out = format!(
        "{} on {} cores of {}, {}; load before it {}.\n",
        report.when.split('T').next().unwrap_or_default(),
        m.cores,
        m.cpu,
        m.rustc,
        m.load
    );
    for group in &report.groups {
        let chart = chart(group);
        fs::write(dir.join(format!("{}.svg", chart.name)), crate::chart::svg(&chart))?;
        out += &markdown(group);
        out += &format!("\n![{}](benchmarks/{}.svg)\n", chart.title, chart.name);
    }
    Ok(out)
}

fn markdown(group: &Group) -> String {
    let mut out = format!("\n### {}\nMedians, {}.\n\n", group.name, group.unit);
    out += "| what | who | median | p10 | p90 | to ours | |\n|---|---|---|---|---|---|---|\n";
    for r in &group.rows {
        let cells = [r.median, r.p10, r.p90].map(short);
        out += &format!(
            "| {} | {} {} | {} | {} | {} | {} | {} |\n",
            r.what,
            r.peer,
            r.version,
            cells[0],
            cells[1],
            cells[2],
            r.ratio_to_ours.map_or(String::new(), |r| format!("{r:.2}")),
            r.note.as_deref().unwrap_or_default()
        );
    }
    for t in &group.targets {
        let met = if t.met { "met" } else { "**not met**" };
        out += &format!("\n- {}: {} {}, measured {}: {met}.", t.what, t.bound, short(t.target), short(t.measured));
    }
    for s in &group.skipped {
        out += &format!("\n- {} is not in this run: {}.", s.peer, s.why.trim_end_matches('.'));
    }
    out + &format!("\n\nNot comparable: {}\n", group.not_comparable)
}

/// One bar for each peer, in groups of what was done.
fn chart(group: &Group) -> Chart {
    let (mut kinds, mut series) = (Vec::<String>::new(), Vec::<Series>::new());
    for r in &group.rows {
        let kind = kinds.iter().position(|k| *k == r.what).unwrap_or_else(|| {
            kinds.push(r.what.clone());
            kinds.len() - 1
        });
        let at = series.iter().position(|s| s.name == r.peer).unwrap_or_else(|| {
            series.push(Series::new(r.peer.clone()));
            series.len() - 1
        });
        series[at].points.push([kind as f64, r.median]);
    }
    Chart {
        name: format!("peers-{}", group.name.replace(' ', "-")),
        title: group.name.clone(),
        x: Axis::linear(&kinds.iter().zip(1..).map(|(k, n)| format!("{n} {k}")).collect::<Vec<_>>().join(" · ")),
        y: Axis::log(&group.unit),
        bars: (1..=kinds.len()).map(|n| n.to_string()).collect(),
        series,
    }
}

fn short(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
