//! The report of `benches/peers` as a page and charts. It is read as JSON: that package links what nothing of the product
//! may be built with, so nothing of it is shared.

use std::{fs, io, path::Path};

use serde::Deserialize;

use crate::{
    report::{Axis, Chart, Series},
    studies::grouped,
};

/// The report.
#[derive(Deserialize)]
struct Report {
    machine: Where,
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Where {
    cores: usize,
    cpu: String,
    rustc: String,
}

#[derive(Deserialize)]
struct Group {
    when: String,
    load_before: f64,
    quick: bool,
    name: String,
    unit: String,
    better: String,
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
    p99: Option<f64>,
    ratio_to_ours: Option<f64>,
    note: Option<String>,
}

#[derive(Deserialize)]
struct Target {
    what: String,
    bound: String,
    target: f64,
    /// `None` where a peer it is about was not measured.
    measured: Option<f64>,
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
        "On {} cores of {}, {}. `to ours` is the median over that of sealdex in the row of the same `what`.\n",
        m.cores, m.cpu, m.rustc
    );
    for group in &report.groups {
        let (chart, kinds) = chart(group);
        fs::write(dir.join(format!("{}.svg", chart.name)), crate::chart::svg(&chart))?;
        out += &markdown(group);
        out += &format!("\n![{}](benchmarks/{}.svg)\n\nIn the chart: {kinds}.\n", chart.title, chart.name);
    }
    Ok(out)
}

fn markdown(group: &Group) -> String {
    let day = group.when.split('T').next().unwrap_or_default();
    let quick = if group.quick { "; **a quick run, its figures say nothing**" } else { "" };
    let mut out = format!(
        "\n### {}\nMedians, {}, {} is better; {day}, load before it {:.1}{quick}.\n\n",
        sentence(&group.name),
        group.unit,
        if group.better == "lower" { "less" } else { "more" },
        group.load_before
    );
    let singles = group.rows.iter().any(|r| r.p99.is_some());
    let (title, line) = if singles { (" p99 |", "---|") } else { ("", "") };
    out += &format!("| what | who | median | p10 | p90 |{title} to ours | |\n|---|---|---|---|---|{line}---|---|\n");
    for r in &group.rows {
        let mut cells = vec![r.what.clone(), format!("{} {}", r.peer, r.version)];
        cells.extend([r.median, r.p10, r.p90].map(short));
        if singles {
            cells.push(r.p99.map(short).unwrap_or_default());
        }
        cells.push(r.ratio_to_ours.map(ratio).unwrap_or_default());
        cells.push(r.note.clone().unwrap_or_default());
        out += &format!("| {} |\n", cells.join(" | "));
    }
    if !group.targets.is_empty() {
        out += "\n| target | | measured | |\n|---|---|---|---|\n";
    }
    for t in &group.targets {
        let met = match (t.measured, t.met) {
            (None, _) => "not measured",
            (_, true) => "met",
            _ => "**not met**",
        };
        let measured = t.measured.map(ratio).unwrap_or_default();
        out += &format!("| {} | {} {} | {measured} | {met} |\n", t.what, t.bound, ratio(t.target));
    }
    for (n, s) in group.skipped.iter().enumerate() {
        let gap = if n == 0 { "\n" } else { "" };
        out += &format!("{gap}- {} is not in this run: {}.\n", s.peer, s.why.trim_end_matches('.'));
    }
    out + &format!("\nNot comparable: {}\n", group.not_comparable)
}

fn sentence(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

/// One bar for each peer, in groups of what more than one of them did; and what the numbers of the groups stand for.
fn chart(group: &Group) -> (Chart, String) {
    let (mut kinds, mut series) = (Vec::<String>::new(), Vec::<Series>::new());
    let shared = |row: &&Row| group.rows.iter().any(|r| r.what == row.what && r.peer != row.peer);
    for r in group.rows.iter().filter(shared) {
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
    let words: Vec<&str> = group.name.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).collect();
    let chart = Chart {
        name: format!("peers-{}", words.join("-")),
        title: sentence(&group.name),
        x: Axis::linear("what was done, by the numbers below the chart"),
        y: Axis::log(&group.unit),
        bars: (1..=kinds.len()).map(|n| n.to_string()).collect(),
        series,
    };
    let kinds: Vec<String> = kinds.iter().zip(1..).map(|(kind, n)| format!("{n} {kind}")).collect();
    (chart, kinds.join(" · "))
}

/// A ratio, also one far from 1.
fn ratio(value: f64) -> String {
    if value.abs() >= 0.095 { short(value) } else { format!("{value:.4}") }
}

fn short(value: f64) -> String {
    match value.abs() {
        v if v >= 10_000.0 => grouped(value),
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
