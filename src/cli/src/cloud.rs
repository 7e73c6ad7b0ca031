//! `sealdex cloud`: checking backups of a cloud, and restoring from them. The server writes them.

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand};
use indicatif::ProgressBar;
use sealdex_cloud::backup::restore::{self, Point};
use sealdex_gate::backup::time_text;
use sealdex_wire::{codec, family::MemberList, roster::Roster, signed::Signed};

use crate::{failure::Failure, gate::time, output::table};

/// Exit code of a check that found damage.
const DAMAGED: u8 = 3;

#[derive(Subcommand)]
pub(crate) enum CloudCommand {
    /// Make a data folder from a backup. It reads and checks everything first and never overwrites.
    #[command(after_help = "Examples:
  sealdex cloud restore --from /backups --dir new-data
  sealdex cloud restore --from /backups --dir before --batch 1204        to look at
  sealdex cloud restore --from /backups --dir before --at 2026-11-21T04:37:52Z

The folder has the store; the cloud makes search index and logs from it when it starts. It does not start before
`sealdex cloud resume`. What is restored from before the end of a backup is to look at, where the domain has a log: to go
on from there would tell two histories. docs/OPERATING.md tells what to do when.")]
    Restore(RestoreOptions),
    /// Read every byte of every file of a backup folder. Exit code 3 when something is damaged or missing.
    #[command(after_help = "Example:
  sealdex cloud check --dir /backups")]
    Check {
        /// Backup folder.
        #[arg(long)]
        dir: PathBuf,
    },
    /// Let a restored store be served again, knowing that what came after the backup is lost.
    Resume {
        /// Data folder that was restored.
        #[arg(long)]
        dir: PathBuf,
        /// Its last batch, as `cloud restore` printed it.
        #[arg(long, value_name = "N")]
        accept_loss_after_batch: u64,
    },
}

#[derive(Args)]
pub(crate) struct RestoreOptions {
    /// Backup folder, as `serve cloud --backup-dir` filled it.
    #[arg(long)]
    from: PathBuf,
    /// New data folder.
    #[arg(long)]
    dir: PathBuf,
    /// As of this batch; the newest there is unless told otherwise.
    #[arg(long, value_name = "N", conflicts_with = "at")]
    batch: Option<u64>,
    /// The newest backup taken by this time.
    #[arg(long, value_name = "TIME", value_parser = time)]
    at: Option<u64>,
}

pub(crate) fn run(command: CloudCommand) -> Result<ExitCode, Failure> {
    match command {
        CloudCommand::Restore(options) => restored(&options).map(|()| ExitCode::SUCCESS),
        CloudCommand::Check { dir } => check(&dir),
        CloudCommand::Resume { dir, accept_loss_after_batch } => {
            restore::resume(&dir, accept_loss_after_batch, has_log)?;
            println!("{}: a cloud serves it again when it is started.", dir.display());
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Whether the domain of a stored roster has a log; when in doubt it has.
fn has_log(roster: &[u8]) -> bool {
    let signed = match codec::from_json::<MemberList>(roster) {
        Ok(list) => Ok(list.roster),
        // As stored before members enrolled others.
        Err(_) => codec::from_json::<Signed<Roster>>(roster),
    };
    signed.ok().and_then(|s| s.peek().ok()).is_none_or(|r| r.ledger.is_some())
}

fn restored(o: &RestoreOptions) -> Result<(), Failure> {
    let point = match (o.batch, o.at) {
        (Some(batch), _) => Point::Batch(batch),
        (None, Some(at)) => Point::At(at),
        (None, None) => Point::Newest,
    };
    let made = restore::restore(&o.from, &o.dir, point)?;
    let (batch, taken) = (made.restored.batch, time_text(made.restored.taken_at));
    println!(
        "{}: {} batches, {} live records, {} acts, from {} files; backup of {taken}.",
        o.dir.display(),
        batch,
        made.records,
        made.acts,
        made.files
    );
    if made.restored.cut {
        println!("The backup goes on after it: in a domain with a log this store is to look at (sealdex verify).");
    }
    println!("Batches accepted after {batch} are not in it. The cloud does not start before this is accepted:");
    println!("  sealdex cloud resume --dir {} --accept-loss-after-batch {batch}", o.dir.display());
    Ok(())
}

fn check(dir: &std::path::Path) -> Result<ExitCode, Failure> {
    let bar = ProgressBar::new(0);
    let checked = restore::check(dir, &mut |done, all| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    let checked = checked?;
    let mut rows = table(&["file", "batches", "acts", "rows", "bytes", "taken"]);
    for part in &checked.parts {
        let (h, name) = (part.header, part.path.file_name().unwrap_or_default().to_string_lossy());
        let span = |after: u64, to: u64| if to > after { format!("{} to {to}", after + 1) } else { "none".to_owned() };
        rows.add_row([
            name.into_owned(),
            span(h.after.0, h.to.0),
            span(h.after.1, h.to.1),
            part.rows.to_string(),
            part.bytes.to_string(),
            time_text(h.taken_at),
        ]);
    }
    println!("{rows}");
    if checked.damaged.is_empty() {
        println!("Every byte is as it was written, and no file is missing.");
        return Ok(ExitCode::SUCCESS);
    }
    for error in &checked.damaged {
        println!("damaged: {error}");
    }
    println!("{} files cannot be used.", checked.damaged.len());
    Ok(ExitCode::from(DAMAGED))
}
