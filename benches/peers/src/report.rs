//! Results: as JSON for charts, as tables for people.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Failure;
use crate::machine::Machine;
use crate::settings::Settings;

/// What is measured: ours or somebody else's.
#[derive(Clone, PartialEq, Eq)]
pub struct Peer {
    pub name: String,
    pub version: String,
    pub licence: &'static str,
}

/// The name under which our own rows stand.
pub const OURS: &str = "sealdex";

impl Peer {
    pub fn ours() -> Self {
        let licence = "Apache-2.0 OR MIT";
        Self { name: OURS.into(), version: locked("sealdex-crypto", ""), licence }
    }

    /// A crate this program links, with the version in the lock file that begins with `prefix`.
    pub fn linked(name: &str, prefix: &str, licence: &'static str) -> Self {
        Self { name: name.into(), version: locked(name, prefix), licence }
    }

    /// The same peer in another configuration.
    pub fn configured(&self, how: &str) -> Self {
        Self { name: format!("{} ({how})", self.name), ..self.clone() }
    }
}

fn locked(name: &str, prefix: &str) -> String {
    version_in(include_str!("../Cargo.lock"), name, prefix)
}

/// A package's version in a lock file.
pub fn version_in(lock: &str, name: &str, prefix: &str) -> String {
    let head = format!("name = \"{name}\"\nversion = \"{prefix}");
    let rest = lock.split_once(&head).map_or("", |(_, rest)| rest);
    format!("{prefix}{}", rest.split('"').next().unwrap_or_default())
}

/// Whether more or less of a group's unit is better.
#[derive(Clone, Copy, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    Lower,
    Higher,
}

#[derive(Serialize)]
pub struct Row {
    /// What was done. Rows of a group with the same `what` are comparable.
    pub what: String,
    pub peer: String,
    pub version: String,
    pub licence: &'static str,
    /// Median over rounds, or over single lookups where there is a `p99`.
    pub median: f64,
    /// The spread: a tenth of what was measured is below this …
    pub p10: f64,
    /// … and a tenth above this.
    pub p90: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p99: Option<f64>,
    /// What was measured, round by round; empty for single lookups.
    #[serde(skip)]
    pub rounds: Vec<f64>,
    /// The peer's over ours, see [`Row::over`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio_to_ours: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl Row {
    /// How many times the other: the median over rounds of the ratio within a round, since what disturbs a round disturbs both;
    /// of medians where there are no rounds.
    pub fn over(&self, other: &Self) -> f64 {
        if self.rounds.is_empty() || self.rounds.len() != other.rounds.len() {
            return self.median / other.median;
        }
        let mut ratios: Vec<f64> = self.rounds.iter().zip(&other.rounds).map(|(mine, its)| mine / its).collect();
        ratios.sort_by(f64::total_cmp);
        ratios.get(ratios.len() / 2).copied().unwrap_or(f64::NAN)
    }
}

/// What we want of a comparison, and what came out.
#[derive(Serialize)]
pub struct Target {
    pub what: String,
    /// `at least` or `at most`.
    pub bound: &'static str,
    pub target: f64,
    /// NaN (in JSON `null`) where a peer it is about was not measured.
    pub measured: f64,
    pub met: bool,
}

impl Target {
    pub fn at_least(what: impl Into<String>, target: f64, measured: f64) -> Self {
        Self { what: what.into(), bound: "at least", target, measured, met: measured >= target }
    }

    pub fn at_most(what: impl Into<String>, target: f64, measured: f64) -> Self {
        Self { what: what.into(), bound: "at most", target, measured, met: measured <= target }
    }
}

/// A peer that was not measured.
#[derive(Serialize)]
pub struct Skipped {
    pub peer: String,
    pub why: String,
}

#[derive(Serialize)]
pub struct Group {
    pub name: &'static str,
    pub unit: &'static str,
    pub better: Better,
    pub rows: Vec<Row>,
    pub targets: Vec<Target>,
    pub skipped: Vec<Skipped>,
    pub not_comparable: &'static str,
}

impl Group {
    pub fn new(name: &'static str, unit: &'static str, better: Better, not_comparable: &'static str) -> Self {
        Self { name, unit, better, rows: Vec::new(), targets: Vec::new(), skipped: Vec::new(), not_comparable }
    }

    pub fn skip(&mut self, peer: &str, why: impl fmt::Display) {
        self.skipped.push(Skipped { peer: peer.into(), why: why.to_string() });
    }

    fn row(&self, what: &str, peer: &str) -> Option<&Row> {
        self.rows.iter().find(|r| r.what == what && r.peer == peer)
    }

    /// The median of one row, NaN when it was not measured.
    pub fn median(&self, what: &str, peer: &str) -> f64 {
        self.row(what, peer).map_or(f64::NAN, |r| r.median)
    }

    /// How many times the second row the first is, NaN when one was not measured. Rows are named by what was done and by whom.
    pub fn ratio(&self, this: (&str, &str), that: (&str, &str)) -> f64 {
        let rows = self.row(this.0, this.1).zip(self.row(that.0, that.1));
        rows.map_or(f64::NAN, |(this, that)| this.over(that))
    }

    /// Fills in how each row compares with ours of the same `what`.
    pub fn compare(&mut self) {
        let ratio = |row: &Row| self.row(&row.what, OURS).filter(|_| row.peer != OURS).map(|ours| row.over(ours));
        let ratios: Vec<Option<f64>> = self.rows.iter().map(ratio).collect();
        for (row, ratio) in self.rows.iter_mut().zip(ratios) {
            row.ratio_to_ours = ratio;
        }
    }
}

/// When and how groups were measured: each run adds its own to what stands in the file.
#[derive(Clone, Serialize)]
struct Run {
    /// RFC 3339.
    when: String,
    /// Average load of the minute before the run began.
    load_before: f64,
    quick: bool,
}

/// A group as it stands in the file.
#[derive(Serialize)]
struct Measured<'a> {
    #[serde(flatten)]
    run: &'a Run,
    #[serde(flatten)]
    group: &'a Group,
}

/// What the file holds.
#[derive(Serialize, Deserialize)]
struct Contents {
    machine: Machine,
    /// Of this run and of those before it, as JSON: nothing here looks into another run's.
    groups: Vec<Value>,
}

pub struct Report {
    contents: Contents,
    run: Run,
}

impl Report {
    /// Begins one, with the groups that are in the file already.
    pub fn start(settings: &Settings) -> Result<Self, Failure> {
        let now = time::OffsetDateTime::now_utc();
        let when = now.format(&time::format_description::well_known::Rfc3339)?;
        let machine = Machine::here();
        let run = Run { when, load_before: machine.load_before, quick: settings.quick };
        let groups = match settings.out.as_deref().filter(|path| path.exists()) {
            Some(path) => groups_in(path, &machine)?,
            None => Vec::new(),
        };
        Ok(Self { contents: Contents { machine, groups }, run })
    }

    pub fn machine(&self) -> &Machine {
        &self.contents.machine
    }

    /// Puts a group in the place of the one with its name, or at the end.
    pub fn put(&mut self, group: &Group) -> Result<(), Failure> {
        let measured = serde_json::to_value(Measured { run: &self.run, group })?;
        let groups = &mut self.contents.groups;
        match groups.iter_mut().find(|there| there["name"] == group.name) {
            Some(there) => *there = measured,
            None => groups.push(measured),
        }
        Ok(())
    }

    pub fn write(&self, path: &Path) -> Result<(), Failure> {
        std::fs::write(path, serde_json::to_vec_pretty(&self.contents)?)
            .map_err(|e| format!("{} could not be written: {e}", path.display()).into())
    }
}

/// The groups of a file, if they are of this machine.
fn groups_in(path: &Path, machine: &Machine) -> Result<Vec<Value>, Failure> {
    let wrong = |e: &dyn fmt::Display| format!("{}: {e}; move it away, or name another file", path.display());
    let bytes = std::fs::read(path).map_err(|e| wrong(&e))?;
    let contents: Contents = serde_json::from_slice(&bytes).map_err(|e| wrong(&e))?;
    if !contents.machine.is(machine) {
        return Err(wrong(&"its figures are of another machine or compiler").into());
    }
    Ok(contents.groups)
}

/// About four digits.
fn digits(value: f64) -> String {
    match value.abs() {
        v if v >= 10_000.0 => {
            let whole = format!("{value:.0}");
            let split = whole.len() % 3;
            let mut grouped = whole[..split].to_owned();
            for chunk in whole.as_bytes()[split..].chunks(3) {
                if !grouped.is_empty() {
                    grouped.push(',');
                }
                grouped.push_str(&String::from_utf8_lossy(chunk));
            }
            grouped
        }
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

impl fmt::Display for Group {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let better = if self.better == Better::Lower { "less is better" } else { "more is better" };
        writeln!(out, "{} — {}, {better}", self.name, self.unit)?;
        let wide = self.rows.iter().map(|r| r.what.chars().count()).max().unwrap_or(0);
        let peer = |r: &Row| format!("{} {}", r.peer, r.version);
        let named = self.rows.iter().map(|r| peer(r).chars().count()).max().unwrap_or(0);
        for row in &self.rows {
            write!(out, "  {:wide$}  {:named$}  {:>12}", row.what, peer(row), digits(row.median))?;
            write!(out, "  [{} … {}]", digits(row.p10), digits(row.p90))?;
            if let Some(p99) = row.p99 {
                write!(out, "  p99 {}", digits(p99))?;
            }
            if let Some(ratio) = row.ratio_to_ours {
                write!(out, "  × {} of ours", digits(ratio))?;
            }
            match &row.note {
                Some(note) => writeln!(out, "  ({note})")?,
                None => writeln!(out)?,
            }
        }
        for t in &self.targets {
            let met = match (t.measured.is_nan(), t.met) {
                (true, _) => "not measured",
                (_, true) => "met",
                _ => "NOT met",
            };
            let (target, measured) = (digits(t.target), digits(t.measured));
            writeln!(out, "  target: {}, {} {target}: {measured}, {met}", t.what, t.bound)?;
        }
        for s in &self.skipped {
            writeln!(out, "  not measured: {}: {}", s.peer, s.why)?;
        }
        write!(out, "  not comparable: {}", self.not_comparable)
    }
}
