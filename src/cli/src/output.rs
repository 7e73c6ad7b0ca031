//! Tables and answer formats.

use std::io::Write;

use clap::ValueEnum;
use comfy_table::{Table, presets::UTF8_BORDERS_ONLY};
use sealdex_client::{Answer, CheckedBy, Proved, explain::explain, session::Cost};
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};

use crate::failure::Failure;

/// How answers are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Table,
    /// One document: ids, figures, coverage, records.
    Json,
    /// The records, one a line, as their hospitals sealed them.
    Ndjson,
    /// Ids and hospitals.
    Csv,
}

/// An empty table with a header.
pub(crate) fn table(header: &[&str]) -> Table {
    let mut t = Table::new();
    t.load_preset(UTF8_BORDERS_ONLY).set_header(header.to_vec());
    t
}

/// SHA-256 of the sorted ids joined by newlines.
pub(crate) fn ids_sha256(ids: impl Iterator<Item = String>) -> String {
    let mut ids: Vec<String> = ids.collect();
    ids.sort();
    hex::encode(Sha256::digest(ids.join("\n")))
}

/// A hit's id as the suite lists it: `Type/id`, or the bare id of a table's row.
pub(crate) fn listed(identity: &str, bare: bool) -> String {
    if bare { identity.split_once('/').map_or(identity, |(_, id)| id).to_owned() } else { identity.to_owned() }
}

/// Figures of an answer, as reports have them.
pub(crate) fn figures(answer: &Answer) -> serde_json::Map<String, Json> {
    let mut out = serde_json::Map::new();
    if let Some(groups) = &answer.figures.groups {
        out.insert("groups".into(), json!(groups));
    }
    if let Some(n) = answer.figures.distinct_count {
        out.insert("distinct_count".into(), json!(n));
    }
    if let Some(a) = &answer.figures.agg {
        out.insert("agg".into(), json!({ "n": a.n, "min": a.min, "max": a.max, "sum": a.sum }));
    }
    out
}

/// Prints the trace id of every request from now on.
pub(crate) fn tell_traces() {
    sealdex_net::trace::watch(|server, path, trace| eprintln!("trace {} {server}{path}", trace.trace));
}

/// Most rows a table shows.
const ROWS: usize = 40;
/// Most parts of a question that are explained.
const PARTS: usize = 24;

/// What the index was asked for an answer, what each part told gate and cloud, and what it took.
pub(crate) fn explained(answer: &Answer, hospitals: usize, out: &mut impl Write) -> Result<(), Failure> {
    for (n, step) in (1..).zip(&answer.steps) {
        let parts = explain(&step.clause, hospitals);
        let mut t = table(&["asked", "sent", "the gate learns", "the cloud learns"]);
        for p in parts.iter().take(PARTS) {
            t.add_row([&format!("{}{}", "  ".repeat(p.depth), p.asked), &p.sent, &p.gate, &p.cloud]);
        }
        writeln!(out, "\nStep {n} of {}\n{t}", answer.steps.len())?;
        if parts.len() > PARTS {
            writeln!(out, "… and {} parts more", parts.len() - PARTS)?;
        }
        if let Some(field) = &step.sorted_by {
            writeln!(out, "The largest by {field} first: the cloud learns by which field's order it sorts.")?;
        }
        let Cost { searches, opened, capsules, elapsed } = step.cost;
        writeln!(
            out,
            "{searches} searches: the gate gave keys for {opened} records, {capsules} capsules re-encapsulated; {:.1} ms. The cloud \
             learns how many match and which; the gate also whose they are.",
            elapsed.as_secs_f64() * 1e3
        )?;
    }
    let (opened, hits) = (answer.cost.opened, answer.hits.len());
    writeln!(
        out,
        "\nHere, unseen by both: {opened} records were opened and decided exactly; {hits} answer the question. {:.1} ms in all.",
        answer.cost.elapsed.as_secs_f64() * 1e3
    )?;
    Ok(())
}

/// Prints an answer.
pub(crate) fn print(answer: &Answer, format: Format, out: &mut impl Write) -> Result<(), Failure> {
    let sources = |h: &sealdex_fhir::Hit| h.sources.iter().cloned().collect::<Vec<_>>();
    match format {
        Format::Table => {
            let mut t = table(&["record", "held by"]);
            for hit in answer.hits.iter().take(ROWS) {
                t.add_row([hit.identity.clone(), sources(hit).join(", ")]);
            }
            if !answer.hits.is_empty() {
                writeln!(out, "{t}")?;
            }
            if answer.hits.len() > ROWS {
                writeln!(out, "… and {} more (--format ndjson lists all)", answer.hits.len() - ROWS)?;
            }
            for (name, value) in figures(answer) {
                writeln!(out, "{name}: {}", serde_json::to_string_pretty(&value)?)?;
            }
            for note in &answer.notes {
                writeln!(out, "note: {note}")?;
            }
            let covered: Vec<&str> = answer.covered.iter().map(String::as_str).collect();
            writeln!(
                out,
                "{} records; {} opened, {:.1} ms; covered: {}",
                answer.hits.len(),
                answer.cost.opened,
                answer.cost.elapsed.as_secs_f64() * 1e3,
                covered.join(", ")
            )?;
            writeln!(out, "{}", proved(answer.proved.as_ref()))?;
        }
        Format::Json => {
            let rows: Vec<Json> = answer
                .hits
                .iter()
                .map(|h| json!({ "id": h.identity, "held_by": sources(h), "record": h.json }))
                .collect();
            let mut doc = json!({ "count": answer.hits.len(), "covered": answer.covered, "notes": answer.notes, "records": rows });
            if let Some(map) = doc.as_object_mut() {
                if let Some(p) = &answer.proved {
                    let complete = p.unproved.is_empty();
                    let by = match p.by {
                        CheckedBy::Gate => "gate",
                        CheckedBy::Member => "member",
                    };
                    map.insert(
                        "proved".into(),
                        json!({ "complete": complete, "unproved": p.unproved, "checked_by": by, "batches": p.batches,
                            "records": p.records, "pairs": p.pairs, "runs": p.runs, "bytes": p.bytes, "withheld": p.withheld }),
                    );
                }
                map.extend(figures(answer));
            }
            serde_json::to_writer_pretty(&mut *out, &doc)?;
            writeln!(out)?;
        }
        Format::Ndjson => {
            for hit in &answer.hits {
                out.write_all(&hit.bytes)?;
                writeln!(out)?;
            }
        }
        Format::Csv => {
            let mut w = csv::Writer::from_writer(out);
            w.write_record(["id", "held_by"])?;
            for hit in &answer.hits {
                w.write_record([hit.identity.clone(), sources(hit).join(" ")])?;
            }
            w.flush()?;
        }
    }
    Ok(())
}

/// What was proved of an answer, in a line or two.
pub(crate) fn proved(proved: Option<&Proved>) -> String {
    let Some(p) = proved else {
        return "Not checked against the log.".into();
    };
    let records = match p.records {
        0 => String::new(),
        n => format!(" {n} records are in the log as their hospitals signed them."),
    };
    if !p.unproved.is_empty() {
        return format!("Not proved complete: {}.{records}", p.unproved.join("; "));
    }
    let by = match (p.by, p.withheld) {
        (CheckedBy::Gate, _) => "checked by the gate".to_owned(),
        (CheckedBy::Member, 0) => "checked here".to_owned(),
        (CheckedBy::Member, n) => format!("checked here; {n} matches are withheld by the gate"),
    };
    format!(
        "Proved complete for {} batches ({by}): {} index entries shown in {} runs, {:.1} KB, {:.1} ms.{records}",
        p.batches,
        p.pairs,
        p.runs,
        p.bytes as f64 / 1e3,
        p.elapsed.as_secs_f64() * 1e3
    )
}
