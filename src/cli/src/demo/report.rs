//! The report of a demonstration.

use std::path::Path;

use sealdex_client::Answer;
use sealdex_fhir::QueryDoc;
use serde::Serialize;
use serde_json::Value as Json;

use crate::{
    failure::Failure,
    output::{figures, ids_sha256},
    places::write_json,
};

/// What was pushed.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Ingest {
    /// Records acknowledged by the cloud.
    pub(super) resources: u64,
    /// From the first byte read until the last record was searchable.
    pub(super) seconds: f64,
}

/// One question's row.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Row {
    id: String,
    count: usize,
    ids_sha256: String,
    #[serde(flatten)]
    figures: serde_json::Map<String, Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ids: Option<Vec<String>>,
    covered: Vec<String>,
    pub(super) ms: f64,
}

/// Counts, hashes, figures, times.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    ingest: Ingest,
    queries: Vec<Row>,
}

impl Report {
    pub(super) fn new(ingest: Ingest) -> Self {
        Self { ingest, queries: Vec::new() }
    }

    /// Adds an answer; `ids` as the suite lists them, in the answer's order.
    pub(super) fn add(&mut self, doc: &QueryDoc, ids: Vec<String>, answer: &Answer) -> &Row {
        let id = doc.id.clone().or_else(|| doc.title.clone()).unwrap_or_else(|| (self.queries.len() + 1).to_string());
        self.queries.push(Row {
            id,
            count: ids.len(),
            ids_sha256: ids_sha256(ids.iter().cloned()),
            figures: figures(answer),
            // The order matters for top-k only; hashes cover the rest.
            ids: doc.topk.is_some().then_some(ids),
            covered: answer.covered.iter().cloned().collect(),
            ms: (answer.cost.elapsed.as_secs_f64() * 1e5).round() / 1e2,
        });
        &self.queries[self.queries.len() - 1]
    }

    /// The question with the count nearest to `wanted`, and its count.
    pub(super) fn nearest(&self, wanted: usize) -> Option<(usize, usize)> {
        let plain = self.queries.iter().enumerate().filter(|(_, r)| r.figures.is_empty() && r.count > 0);
        plain.min_by_key(|(_, r)| r.count.abs_diff(wanted)).map(|(i, r)| (i, r.count))
    }

    pub(super) fn write(&self, path: &Path) -> Result<(), Failure> {
        write_json(path, self)
    }
}

impl Row {
    /// Figures in a few words.
    pub(super) fn brief(&self) -> String {
        let text = self.figures.iter().map(|(k, v)| match v {
            Json::Object(groups) if k == "groups" => format!("{} groups", groups.len()),
            other => format!("{k} {other}"),
        });
        let text = text.collect::<Vec<_>>().join("; ");
        text.chars().take(70).collect()
    }
}
