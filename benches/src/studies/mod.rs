//! The studies. Each returns a table for people and charts.

pub mod concurrency;
pub mod mopse;
pub mod primitives;
pub mod push;
pub mod query;
pub mod scale;
pub mod sesphr;
pub mod threshold;

use sealdex_fhir::{QueryDoc, Suite};

use crate::{
    measure,
    report::{Chart, Study, Table},
};

/// How large.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// To see that it runs.
    pub quick: bool,
    /// Most records of the study of scale.
    pub records: u64,
}

impl Size {
    /// One of two numbers.
    #[must_use]
    pub fn of<T>(self, usual: T, quick: T) -> T {
        if self.quick { quick } else { usual }
    }
}

/// Puts a study together.
fn study(
    name: &str,
    about: &str,
    size: Size,
    tables: Vec<Table>,
    charts: Vec<Chart>,
    machine: crate::report::Machine,
) -> Study {
    let when = time::OffsetDateTime::now_utc().format(&time::format_description::well_known::Rfc3339);
    Study {
        name: name.to_owned(),
        about: about.to_owned(),
        when: when.unwrap_or_default(),
        machine,
        quick: size.quick,
        tables,
        charts,
    }
}

/// The questions of the demonstration.
fn questions() -> Vec<QueryDoc> {
    Suite::parse(include_str!("../../../queries/demo.json"), None).unwrap().queries
}

/// Begins a study: what the machine is like before it.
fn begin() -> crate::report::Machine {
    measure::machine()
}

/// A row of a table.
fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

/// Three significant digits.
fn short(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// With a blank between thousands.
pub(crate) fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            out.push(' ');
        }
        out.push(c);
    }
    out
}
