//! What a study found, as JSON beside the charts that are drawn of it.

use std::{fs, io, path::Path};

use serde::{Deserialize, Serialize};

/// Where figures come from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Machine {
    /// Logical cores.
    pub cores: usize,
    /// Model of the processor.
    pub cpu: String,
    /// Memory, MiB.
    pub memory_mib: u64,
    /// Compiler.
    pub rustc: String,
    /// Median of writing 4 KiB and `fdatasync`, µs: what durability costs here.
    pub fdatasync_us: f64,
    /// Runnable tasks when the study began (load average of a minute): figures of a busy machine are too high.
    pub load: f64,
}

/// One axis of a chart.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Axis {
    /// What it shows, with its unit.
    pub label: String,
    /// Logarithmic.
    pub log: bool,
}

impl Axis {
    /// Linear, from 0.
    #[must_use]
    pub fn linear(label: &str) -> Self {
        Self { label: label.to_owned(), log: false }
    }

    /// Logarithmic.
    #[must_use]
    pub fn log(label: &str) -> Self {
        Self { label: label.to_owned(), log: true }
    }
}

/// A line or a group of bars.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Series {
    /// Legend.
    pub name: String,
    /// Figures reported by others, not measured here.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reported: bool,
    /// `[x, y]`, ascending in x.
    pub points: Vec<[f64; 2]>,
}

impl Series {
    /// A measured line without points.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), reported: false, points: Vec::new() }
    }

    /// Somebody else's figures.
    #[must_use]
    pub fn reported(name: impl Into<String>, points: Vec<[f64; 2]>) -> Self {
        Self { name: name.into(), reported: true, points }
    }
}

/// One picture.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Chart {
    /// File name without extension.
    pub name: String,
    /// Above it.
    pub title: String,
    /// Horizontal.
    pub x: Axis,
    /// Vertical.
    pub y: Axis,
    /// Names of the x values where they are kinds, not numbers: then the series are bars.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bars: Vec<String>,
    /// What is drawn.
    pub series: Vec<Series>,
}

/// A table: the first row has the titles.
pub type Table = Vec<Vec<String>>;

/// Everything of one study.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Study {
    /// File name without extension.
    pub name: String,
    /// What is measured, and how.
    pub about: String,
    /// When, RFC 3339.
    pub when: String,
    /// On what.
    pub machine: Machine,
    /// Smaller than usual: to see that it runs, not for its figures.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub quick: bool,
    /// Readable results.
    pub tables: Vec<Table>,
    /// Pictures.
    pub charts: Vec<Chart>,
}

impl Study {
    /// Writes `NAME.json` and an SVG for each chart.
    ///
    /// # Errors
    /// Whatever the disk says.
    pub fn write(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)?;
        let text = serde_json::to_string_pretty(self).map_err(io::Error::other)? + "\n";
        fs::write(dir.join(format!("{}.json", self.name)), text)?;
        self.draw(dir)
    }

    /// Draws the charts again.
    ///
    /// # Errors
    /// Whatever the disk says.
    pub fn draw(&self, dir: &Path) -> io::Result<()> {
        for chart in &self.charts {
            fs::write(dir.join(format!("{}.svg", chart.name)), crate::chart::svg(chart))?;
        }
        Ok(())
    }

    /// Reads what [`Study::write`] wrote.
    ///
    /// # Errors
    /// Names the file and what is wrong with it.
    pub fn read(path: &Path) -> io::Result<Self> {
        let named = |e: &dyn std::fmt::Display| io::Error::other(format!("{}: {e}", path.display()));
        serde_json::from_str(&fs::read_to_string(path).map_err(|e| named(&e))?).map_err(|e| named(&e))
    }

    /// The tables, for people.
    #[must_use]
    pub fn readable(&self) -> String {
        let readable = self.tables.iter().map(|rows| {
            let mut table = comfy_table::Table::new();
            table.load_preset(comfy_table::presets::UTF8_HORIZONTAL_ONLY);
            let mut rows = rows.iter();
            if let Some(titles) = rows.next() {
                table.set_header(titles);
            }
            rows.for_each(|row| {
                table.add_row(row);
            });
            table.to_string()
        });
        readable.collect::<Vec<_>>().join("\n")
    }

    /// The same as Markdown, for the page of figures.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut out = String::new();
        for rows in &self.tables {
            for (i, row) in rows.iter().enumerate() {
                out += &format!("| {} |\n", row.join(" | "));
                if i == 0 {
                    out += &format!("|{}\n", "---|".repeat(row.len()));
                }
            }
            out.push('\n');
        }
        for chart in &self.charts {
            out += &format!("![{}](benchmarks/{}.svg)\n", chart.title, chart.name);
        }
        out
    }
}
