//! `sealdex verify`.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use sealdex_cloud::verify::{Verified, verify};

use crate::{failure::Failure, output::table, places::roster_of};

/// Exit code when something differs.
const DIFFERS: u8 = 2;

#[derive(Args)]
#[command(after_help = "Example:
  sealdex verify --dir cloud-data --domain hospital/domain.json

The cloud must not be running on the folder: stop it, or check a copy. Nothing is changed. Ends with 0 when nothing
differs, with 2 when something does, with 1 when nothing could be checked.")]
pub(crate) struct VerifyOptions {
    /// The cloud's data folder, as given to `serve cloud --dir`.
    #[arg(long)]
    dir: PathBuf,
    /// The domain's pack, from a folder that you trust: whose signatures count.
    #[arg(long)]
    domain: PathBuf,
}

pub(crate) fn run(o: &VerifyOptions) -> Result<ExitCode, Failure> {
    if !o.dir.join("store.redb").exists() {
        return Err(Failure::new(format!("{} is no cloud's data folder: it has no store.redb", o.dir.display())));
    }
    let roster = roster_of(&o.domain)?;
    let cloud = roster.clouds.first().ok_or_else(|| Failure::new("the roster lists no cloud"))?.id;
    let bar = ProgressBar::new(0);
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} batches");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let found = verify(&o.dir, &roster.domain, cloud, &roster.authority, &mut |done, all| {
        bar.set_length(all);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    let found = found?;
    print(&found);
    Ok(if found.count == 0 { ExitCode::SUCCESS } else { ExitCode::from(DIFFERS) })
}

fn print(v: &Verified) {
    let mut t = table(&["checked", "how many", "against"]);
    let witnesses = match v.witnesses.is_empty() {
        true => "the log's own signature".to_owned(),
        false => format!("cosigned by {}", v.witnesses.join(", ")),
    };
    t.add_row(["batches under the served checkpoint", &v.witnessed.to_string(), &witnesses]);
    t.add_row(["statements", &v.batches.to_string(), "the log, their providers' signatures and chains"]);
    t.add_row(["records: sealed bytes, tags, terms", &v.records.to_string(), "what was signed of them"]);
    t.add_row(["index entries of batches", &v.pairs.to_string(), "what was signed of them"]);
    t.add_row(["index entries of the search index", &v.indexed.to_string(), "the signed ones of live records"]);
    println!("{t}");
    for note in &v.notes {
        println!("note: {note}");
    }
    for difference in &v.differences {
        println!("differs: {difference}");
    }
    match v.count {
        0 => println!("Nothing differs."),
        n if n > v.differences.len() as u64 => {
            println!("{n} differences; the first {} are listed.", v.differences.len())
        }
        n => println!("{n} differences."),
    }
}
