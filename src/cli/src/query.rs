//! `sealdex query`.

use std::{io::Write as _, path::PathBuf};

use clap::Args;
use sealdex_client::Session;
use sealdex_fhir::Suite;

use crate::{
    failure::Failure,
    key_options::KeyOptions,
    output::{Format, explained, print, tell_traces},
    places::Member,
};

#[derive(Args)]
#[command(after_help = "Examples:
  sealdex query --member users/ana 'Observation?code=4548-4&value-quantity=ge6.5&date=2018&_sort=-date'
  sealdex query --member users/ana 'Patient?name=ma&_has:Condition:patient:code=44054006'
  sealdex query --member users/ana '{\"resource\":\"Observation\",\"filters\":[
      {\"field\":\"token\",\"op\":\"eq\",\"value\":\"http://loinc.org|4548-4\"},
      {\"field\":\"value\",\"op\":\"between\",\"value\":[\"6.5\",\"7.5\"]}]}'
  sealdex query --member users/ana --file queries/demo.json --format json
  sealdex query --member users/ana --explain 'Patient?birthdate=ge1950&_has:Condition:patient:code=44054006'
Operators: eq ne lt le gt ge between in window word words_all prefix; has, not_has; topk, count_by, distinct, agg.
FHIR searches have the parameters and modifiers of the specification; all matches are listed, whatever _count says.")]
pub(crate) struct QueryOptions {
    /// The member's folder.
    #[arg(long)]
    member: PathBuf,
    /// File with one question or a suite of them.
    #[arg(long, conflicts_with = "question", required_unless_present = "question")]
    file: Option<PathBuf>,
    /// Output.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Purpose of use, unless the question names one.
    #[arg(long, default_value = "treatment")]
    purpose: String,
    /// Believe the cloud: do not check answers against the domain's log.
    #[arg(long)]
    unverified: bool,
    /// Say what the index was asked, what it took, and what gate and cloud learn of each part.
    #[arg(long)]
    explain: bool,
    /// Print the trace id of each request, by which operators of gate and cloud find it in their logs.
    #[arg(long)]
    trace: bool,
    /// Certificates to trust gate and cloud by, PEM.
    #[arg(long)]
    ca: Option<PathBuf>,
    /// One question: a FHIR search, or a query document in JSON.
    question: Option<String>,
    #[command(flatten)]
    keys: KeyOptions,
}

/// Record type of questions that name none: the schema's only one.
pub(crate) fn default_resource(schema: &sealdex_schema::Schema) -> Option<String> {
    let mut types = schema.types().map(|(name, _)| name.to_owned());
    let first = types.next();
    if types.next().is_none() { first } else { None }
}

pub(crate) async fn run(o: QueryOptions) -> Result<(), Failure> {
    if o.trace {
        tell_traces();
    }
    let text = match (&o.file, &o.question) {
        (Some(path), _) => {
            std::fs::read_to_string(path).map_err(|e| Failure::new(format!("{}: {e}", path.display())))?
        }
        (None, Some(text)) => text.clone(),
        (None, None) => return Err(Failure::new("no question: give one, or --file")),
    };
    let member = Member::open_dir(&o.member, &o.keys, o.ca.as_deref()).await?;
    let suite = match text.trim_start().starts_with(['{', '[']) {
        true => Suite::parse(&text, default_resource(&member.trusted.schema).as_deref())?,
        false => Suite::of_search(&text)?,
    };
    let session = Session::new(&member.http, &member.keys, member.trusted.clone())?.for_purpose(&o.purpose);
    let session = match o.unverified {
        true => session.unverified(),
        false => session.remembering(&member.http, &o.member.join("ledger"))?,
    };
    let session = if o.explain { session.explaining() } else { session };
    let hospitals = member.trusted.roster.hospitals().count();
    let mut out = std::io::stdout().lock();
    for doc in &suite.queries {
        if suite.queries.len() > 1 && o.format == Format::Table {
            let name = doc.title.as_deref().or(doc.id.as_deref()).unwrap_or("question");
            writeln!(out, "\n{name}")?;
        }
        let answer = session.ask(doc).await?;
        print(&answer, o.format, &mut out)?;
        // Where the answer is for a program, its explanation is not in it.
        match (o.explain, o.format) {
            (false, _) => {}
            (true, Format::Table) => explained(&answer, hospitals, &mut out)?,
            (true, _) => explained(&answer, hospitals, &mut std::io::stderr().lock())?,
        }
    }
    Ok(())
}
