//! `sealdex demo`: the main job in one command, on real servers and sockets.

mod report;
mod servers;
mod ward;
mod world;

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::Args;
use sealdex_client::Proved;
use sealdex_dataset::{Settings, generate};
use sealdex_fhir::{Filter, Mapping, QueryDoc, Suite};
use sealdex_schema::Owner as RecordOwner;
use serde_json::Value as Json;

use crate::{
    failure::Failure,
    output::{self, Format, listed, print, table},
    places::schema_text,
    query::default_resource,
};
use report::Report;
use world::World;

/// Questions asked when none are given.
const DEFAULT_QUERIES: &str = include_str!("../../../../queries/demo.json");
/// Patients made when no data is given.
const DEFAULT_PATIENTS: u32 = 60;
/// Repetitions of the timed question.
const REPEAT: usize = 31;

#[derive(Args)]
#[command(after_help = "Examples:
  sealdex demo
  sealdex demo --data records/ --queries questions.json --report out.json
  sealdex demo --gateway 127.0.0.1:8080
  sealdex demo --gates 3 --threshold 2
  sealdex demo --data parts/ --schema diabetes130 --mapping diabetes130 --queries table-questions.json")]
pub(crate) struct DemoOptions {
    /// Records: one sub-folder per hospital. Generated when not given.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Questions; the sample suite when not given.
    #[arg(long)]
    queries: Option<PathBuf>,
    /// Write counts, id hashes, figures and times as JSON.
    #[arg(long)]
    report: Option<PathBuf>,
    /// Keep keys, stores and logs, and say where they are.
    #[arg(long)]
    keep: bool,
    /// Schema: a TOML file, or fhir-r4, diabetes130.
    #[arg(long, default_value = "fhir-r4")]
    schema: String,
    /// CSV mapping: a file, or diabetes130.
    #[arg(long)]
    mapping: Option<PathBuf>,
    /// Share the gate's scalars over this many nodes, and kill one on stage.
    #[arg(long, requires = "threshold", value_parser = clap::value_parser!(u16).range(2..=9))]
    gates: Option<u16>,
    /// How many of the nodes it takes to answer: more than half.
    #[arg(long, requires = "gates")]
    threshold: Option<u16>,
    /// In a domain without logs: nothing is checked, to compare what checking costs.
    #[arg(long)]
    no_log: bool,
    /// Afterwards serve the clinician's FHIR gateway here, open to this machine, until interrupted.
    #[arg(long)]
    gateway: Option<SocketAddr>,
}

fn heading(number: &mut u32, text: &str) {
    *number += 1;
    println!("\n{number}. {text}");
}

pub(crate) async fn run(o: DemoOptions) -> Result<ExitCode, Failure> {
    let home = tempfile::Builder::new().prefix("sealdex-demo-").tempdir()?;
    let (data, made) = match &o.data {
        Some(dir) => (dir.clone(), None),
        None => {
            let dir = home.path().join("records");
            let settings = Settings { patients: DEFAULT_PATIENTS, ..Settings::default() };
            (dir.clone(), Some(generate(&settings, &dir, &mut |_| {})?))
        }
    };
    let queries = match &o.queries {
        Some(path) => std::fs::read_to_string(path).map_err(|e| Failure::new(format!("{}: {e}", path.display())))?,
        None => DEFAULT_QUERIES.to_owned(),
    };
    let schema = schema_text(&o.schema)?;
    let mapping = o.mapping.as_ref().map(|m| Mapping::read(m)).transpose()?;
    // Questions are checked before anything is started: a typing mistake should not cost a push.
    let parsed = sealdex_schema::Schema::parse(&schema)?;
    let mut suite = Suite::parse(&queries, default_resource(&parsed).as_deref())?;
    if o.queries.is_none() && o.data.is_some() {
        // The sample questions name the hospitals of the sample records.
        suite.queries.retain(|q| !q.filters.iter().any(names_hospitals));
    }
    for doc in &suite.queries {
        sealdex_fhir::resolve(doc, &parsed)?;
    }
    let mut n = 0;
    println!("Sealdex: many hospitals, one index, nobody reads it.");
    heading(&mut n, "The parties");
    let mut world = World::found(home.path(), &data, &schema, mapping, o.gates.zip(o.threshold), !o.no_log).await?;
    world.introduce(made.as_ref());
    heading(&mut n, "Patients make their keys and say who may write and who may read");
    world.consent().await?;
    heading(&mut n, "The hospitals seal their records and push them");
    let ingest = world.push().await?;
    heading(&mut n, "What the cloud stores: all it will ever see");
    world.show_cloud().await?;
    heading(&mut n, &format!("{} asks {} questions over all hospitals at once", world::CLINICIAN, suite.queries.len()));
    let report = ask(&world, &suite, ingest).await?;
    heading(&mut n, "A patient changes their mind");
    let shown = revoke_on_stage(&mut world, &suite).await?;
    if let Some((kind, patient, section)) = &shown {
        heading(&mut n, "A ward whose members change, and an emergency");
        ward::on_stage(&world, kind, patient, section).await?;
    }
    if o.gates.is_some() {
        heading(&mut n, "A node of the gate is gone");
        lose_a_node(&mut world, &suite).await?;
    }
    heading(&mut n, "What it took");
    timing(&world, &suite, &report).await?;
    world.memory();
    if let Some(path) = &o.report {
        report.write(path)?;
        println!("\nThe report is in {}.", path.display());
    }
    if let Some(addr) = o.gateway {
        heading(&mut n, "Any FHIR client");
        world.serve_gateway(addr).await?;
    }
    world.stop().await;
    go_on(home, o.keep, o.gates);
    Ok(ExitCode::SUCCESS)
}

fn names_hospitals(filter: &Filter) -> bool {
    matches!(filter, Filter::Field { field, .. } if field.name == "source")
}

async fn ask(world: &World, suite: &Suite, ingest: report::Ingest) -> Result<Report, Failure> {
    let mut report = Report::new(ingest);
    let mut t = table(&["question", "answers", "opened", "ms", "proof", "figures"]);
    for doc in &suite.queries {
        let answer = world.session.ask(doc).await?;
        let ids = answer.hits.iter().map(|h| listed(&h.identity, suite.id_column.is_some())).collect();
        let row = report.add(doc, ids, &answer);
        t.add_row([
            title(doc),
            answer.hits.len().to_string(),
            answer.cost.opened.to_string(),
            format!("{:.1}", row.ms),
            proof(answer.proved.as_ref()),
            row.brief(),
        ]);
    }
    println!("{t}");
    println!(
        "\"opened\" counts records that matched the encrypted question; what they leave undecided is decided here, exactly."
    );
    println!(
        "Every record opened is proved to be in the log, as its hospital signed it. \"whole\": proved that no match was left out, too."
    );
    Ok(report)
}

/// What was proved, in a cell.
fn proof(proved: Option<&Proved>) -> String {
    match proved {
        None => String::new(),
        Some(p) if p.unproved.is_empty() => format!("whole, {:.0} KB", p.bytes as f64 / 1e3),
        Some(_) => "not shown whole".into(),
    }
}

fn title(doc: &QueryDoc) -> String {
    doc.title.clone().or_else(|| doc.id.clone()).unwrap_or_else(|| "question".into())
}

/// Revokes one section of one patient who is among the answers, asks again, grants again, asks again.
/// The record type, the patient and the section it was shown with.
async fn revoke_on_stage(world: &mut World, suite: &Suite) -> Result<Option<(String, String, String)>, Failure> {
    for doc in &suite.queries {
        if doc.topk.is_some() {
            continue;
        }
        let before = world.session.ask(doc).await?;
        let schema = &world.session.trusted().schema;
        let owned = before.hits.iter().find_map(|h| {
            let kind = h.json.get("resourceType").and_then(Json::as_str)?;
            let id = h.json.get("id").and_then(Json::as_str)?;
            match schema.owner(kind, id, &h.json) {
                Ok(RecordOwner::Patient(p)) => Some((p, schema.sealed_to(kind, &h.json), kind.to_owned())),
                _ => None,
            }
        });
        let Some((patient, section, kind)) = owned else { continue };
        println!(
            "\"{}\" has {} answers. {patient} takes back the section \"{section}\" from {}.",
            title(doc),
            before.hits.len(),
            world::CLINICIAN
        );
        let ms = world.revoke(&patient, &section).await?;
        let after = world.session.ask(doc).await?;
        println!("The gate acknowledged in {ms:.1} ms. The same question now has {} answers.", after.hits.len());
        world.grant(&patient, &section).await?;
        let again = world.session.ask(doc).await?;
        println!("The patient grants it again: {} answers.", again.hits.len());
        if after.hits.len() >= before.hits.len() || again.hits.len() != before.hits.len() {
            return Err(Failure::new("the revocation had no effect: this must not happen"));
        }
        return Ok(Some((kind, patient, section)));
    }
    println!("No question found a patient's record, so there is nothing to take back.");
    Ok(None)
}

/// Kills as many nodes as the gate can do without, and one more; the same question before, between and after.
async fn lose_a_node(world: &mut World, suite: &Suite) -> Result<(), Failure> {
    let Some(doc) = suite.queries.first() else { return Ok(()) };
    let before = world.session.ask(doc).await?.hits.len();
    println!("\"{}\" has {before} answers.", title(doc));
    for spare in world.spare_nodes() {
        world.kill_node(spare).await;
        let hits = world.session.ask(doc).await?.hits.len();
        println!("Node {spare} is killed: {hits} answers.");
        if hits != before {
            return Err(Failure::new("the answer changed with the nodes: this must not happen"));
        }
    }
    let last = world.spare_nodes().len() as u16 + 1;
    world.kill_node(last).await;
    match world.session.ask(doc).await {
        Ok(_) => return Err(Failure::new("fewer nodes than it takes answered: this must not happen")),
        Err(error) => println!("Node {last} is killed too: {error}"),
    }
    world.start_nodes().await?;
    let again = world.session.ask(doc).await?.hits.len();
    println!("They are back: {again} answers.");
    if again == before { Ok(()) } else { Err(Failure::new("the answer changed: this must not happen")) }
}

/// Times the question with the number of answers nearest to a hundred: asked, opened and printed.
async fn timing(world: &World, suite: &Suite, report: &Report) -> Result<(), Failure> {
    let Some((doc, count)) = report.nearest(100).and_then(|(i, count)| suite.queries.get(i).map(|d| (d, count))) else {
        return Ok(());
    };
    let mut times = Vec::with_capacity(REPEAT);
    for _ in 0..REPEAT {
        let started = std::time::Instant::now();
        let answer = world.session.ask(doc).await?;
        print(&answer, Format::Table, &mut std::io::sink())?;
        times.push(started.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    let answer = world.session.ask(doc).await?;
    println!("{}", output::proved(answer.proved.as_ref()));
    let blind = world.unverified()?;
    let mut unchecked = Vec::with_capacity(REPEAT);
    for _ in 0..REPEAT + 1 {
        let started = std::time::Instant::now();
        print(&blind.ask(doc).await?, Format::Table, &mut std::io::sink())?;
        unchecked.push(started.elapsed().as_secs_f64() * 1e3);
    }
    let mut unchecked = unchecked.split_off(1); // the first fetches keys that the other session has
    unchecked.sort_by(f64::total_cmp);
    if world.session.verifies() {
        println!("The same without checking: median {:.1} ms.", unchecked[REPEAT / 2]);
    }
    println!(
        "\"{}\", {count} answers, asked, opened and printed {REPEAT} times: median {:.1} ms, slowest {:.1} ms",
        title(doc),
        times[REPEAT / 2],
        times[REPEAT - 1]
    );
    Ok(())
}

fn go_on(home: tempfile::TempDir, keep: bool, gates: Option<u16>) {
    if keep {
        let dir = home.keep();
        let d = dir.display();
        println!("\nKept: keys (in the clear, this being a demonstration), stores and logs in {d}. To go on:");
        println!("  sealdex serve cloud --keys {d}/domain/cloud.key --dir {d}/cloud --listen ADDRESS &");
        let names = gates.map_or_else(|| vec!["gate".to_owned()], |n| (1..=n).map(|n| format!("gate-{n}")).collect());
        for name in names {
            println!("  sealdex serve gate --keys {d}/domain/{name}.key --store {d}/{name}.redb --listen ADDRESS &");
        }
        println!("  sealdex query --member {d}/users/{} --file queries/demo.json", world::CLINICIAN);
        println!("with the addresses that `sealdex domain show --dir {d}/domain` prints.");
    } else {
        println!("\nEverything was made in a temporary folder and is gone; --keep keeps it.");
        println!("To do the same by hand, step by step: README.md, \"Your own domain\".");
    }
}
