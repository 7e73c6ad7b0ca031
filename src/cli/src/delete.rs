//! `sealdex delete`.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use sealdex_provider::{DeleteInput, DeleteReport, Journal, Manifest, Removal, delete};

use crate::{failure::Failure, key_options::KeyOptions, output::table, places::Member};

/// Exit code when the cloud says that it does not have what the journal has as pushed.
const DENIED: u8 = 3;
/// More rows than this are not listed one by one, unless they were not deleted.
const LISTED: usize = 1000;

#[derive(Args)]
#[command(after_help = "Examples:
  sealdex delete --provider providers/northgate Observation/123 Condition/7
  sealdex delete --provider providers/northgate --list gone.txt     one Type/id a line; empty lines and # are passed over
When it returns, the records are gone at the cloud, the deletion is stated in the log, and nobody finds them any more.
Killed at any point, run it again. A push whose sources still have a record brings it back, as a new one.
Only records that this hospital pushed are deleted; a patient's own order is `sealdex erase`.
Exit code 3: the cloud says that it has none of a record that the journal has as pushed.")]
pub(crate) struct DeleteOptions {
    /// The provider's folder, with provider.toml.
    #[arg(long)]
    provider: PathBuf,
    /// File with a record a line.
    #[arg(long)]
    list: Option<PathBuf>,
    /// Certificates to trust gate and cloud by, PEM.
    #[arg(long)]
    ca: Option<PathBuf>,
    /// Records, as Type/id.
    records: Vec<String>,
    #[command(flatten)]
    keys: KeyOptions,
}

/// Records of a list: one a line.
fn listed(path: &Path) -> Result<Vec<String>, Failure> {
    let text = std::fs::read_to_string(path).map_err(|e| Failure::new(format!("{}: {e}", path.display())))?;
    let lines = text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
    Ok(lines.map(str::to_owned).collect())
}

fn checked(records: &[String]) -> Result<(), Failure> {
    let sound = |r: &String| r.split_once('/').is_some_and(|(kind, id)| !kind.is_empty() && !id.is_empty());
    match records.iter().find(|r| !sound(r)) {
        Some(r) => Err(Failure::new(format!("{r:?} names no record: write its type and id, such as Observation/123"))),
        None if records.is_empty() => {
            Err(Failure::new("nothing to delete: name records as Type/id, or give --list FILE"))
        }
        None => Ok(()),
    }
}

pub(crate) async fn run(o: DeleteOptions) -> Result<ExitCode, Failure> {
    let mut records = o.records.clone();
    records.extend(o.list.as_deref().map(listed).transpose()?.unwrap_or_default());
    checked(&records)?;
    let manifest = Manifest::read(&o.provider)?;
    let member = Member::open(&manifest.key, &manifest.domain, &o.keys, o.ca.as_deref()).await?;
    let input = DeleteInput {
        keys: &member.keys,
        trusted: &member.trusted,
        gate: member.gate.clone(),
        cloud: member.trusted.cloud(&member.http, Some(&member.keys))?,
        journal: Journal::open(&manifest.journal)?,
        log: member.log(&manifest.journal.with_extension("ledger"))?,
        records,
    };
    let report = delete(input).await?;
    print(&report);
    let denied = report.records.iter().any(|(_, removal)| *removal == Removal::Denied);
    Ok(if denied { ExitCode::from(DENIED) } else { ExitCode::SUCCESS })
}

fn print(report: &DeleteReport) {
    let mut t = table(&["record", ""]);
    let (mut deleted, mut denied) = (0, 0);
    for (record, removal) in &report.records {
        let what = match removal {
            Removal::Deleted => "deleted",
            Removal::Absent => "was not there",
            Removal::Denied => "was not there, the cloud says",
        };
        deleted += usize::from(*removal == Removal::Deleted);
        denied += usize::from(*removal == Removal::Denied);
        if report.records.len() <= LISTED || *removal != Removal::Deleted {
            t.add_row([record.as_str(), what]);
        }
    }
    println!("{t}");
    println!("{deleted} deleted, {} not there.", report.records.len() - deleted);
    if !report.places.is_empty() {
        let places: Vec<String> = report.places.iter().map(u64::to_string).collect();
        println!("Stated in the log's batches {}.", places.join(", "));
    }
    if denied > 0 {
        println!(
            "{denied} of them are in the journal as pushed: either their patients had them erased, another department of \
             this hospital has deleted them, or the cloud hides them. Look whether a reader still finds them."
        );
    }
    if let Some(why) = &report.unlogged {
        println!("Everything is deleted, but not seen in the log yet: {why}.");
    }
}
