//! `sealdex gate`: restoring, checking and resuming a gate's store. The server writes the backups.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Subcommand};
use sealdex_client::ceremony::GATE_KIND;
use sealdex_gate::{
    GateError, GateSecrets,
    backup::{parse_time, restore, time_text},
    standing,
    store::{ConsentStore as _, check::Report},
};
use sealdex_net::clock::now_ms;

use crate::{failure::Failure, key_options::KeyOptions, output::table};

/// Exit code of a check that found damage.
const DAMAGED: u8 = 3;

#[derive(Subcommand)]
pub(crate) enum GateCommand {
    /// Make a store from a backup. It verifies everything first and never overwrites.
    #[command(after_help = "Example:
  sealdex gate restore --keys gate.key --from backups/gate-…-20261121T043752.123Z.backup --store gate.redb

What was acknowledged after the backup is lost, revocations too. So the restored gate answers no search and no batch
and takes no grant until `sealdex domain resume-gate` (the authority) or `sealdex gate resume` says that this is known.")]
    Restore {
        /// Backup, as `serve gate --backup-dir` wrote it.
        #[arg(long)]
        from: PathBuf,
        /// New file of the consent store.
        #[arg(long)]
        store: PathBuf,
        #[command(flatten)]
        keys: GateKeyFile,
    },
    /// Check every row of a store or a backup: that it parses, opens, verifies. Exit code 3 when something is damaged.
    Check {
        /// Store that no gate has open.
        #[arg(long, required_unless_present = "backup", conflicts_with = "backup")]
        store: Option<PathBuf>,
        /// Backup.
        #[arg(long)]
        backup: Option<PathBuf>,
        #[command(flatten)]
        keys: GateKeyFile,
    },
    /// Let a restored store be served again, knowing that what came after the backup is lost.
    Resume {
        /// Store that no gate has open.
        #[arg(long)]
        store: PathBuf,
        /// Time of the backup, as `gate restore` and `gate check` print it: revocations made after it may be lost.
        #[arg(long, value_name = "TIME", value_parser = time)]
        accept_loss_after: u64,
        #[command(flatten)]
        keys: GateKeyFile,
    },
}

/// The key file of a gate, and what opens it.
#[derive(Args)]
pub(crate) struct GateKeyFile {
    /// Key file of the gate.
    #[arg(long)]
    keys: PathBuf,
    #[command(flatten)]
    options: KeyOptions,
}

impl GateKeyFile {
    fn read(&self) -> Result<GateSecrets, Failure> {
        read_gate_keys(&self.keys, &self.options)
    }
}

/// Reads a gate's key file.
pub(crate) fn read_gate_keys(path: &Path, options: &KeyOptions) -> Result<GateSecrets, Failure> {
    let json = sealdex_keyfile::read(path, GATE_KIND, options.to_read(path)?.as_ref())?;
    Ok(GateSecrets::from_json(&json)?)
}

/// Unix milliseconds of a time a person typed.
pub(crate) fn time(text: &str) -> Result<u64, String> {
    parse_time(text).ok_or_else(|| "give a time such as 2026-11-21T04:37:52Z".to_owned())
}

pub(crate) fn run(command: GateCommand) -> Result<ExitCode, Failure> {
    match command {
        GateCommand::Restore { from, store, keys } => {
            let restored = restore::restore(&from, &store, &keys.read()?, now_ms())?;
            let (rows, as_of) = (restored.summary.rows(), time_text(restored.as_of));
            println!("{}: {rows} rows as of {as_of}, every one verified.", store.display());
            println!("Revocations, grants, profiles and rosters acknowledged after that are not in it. The gate will");
            println!("answer no search, no batch and no grant until this is accepted. Start it, then");
            println!("  - have owners revoke again what they revoked since (sealdex revoke),");
            println!("  - at the authority: sealdex domain resume-gate --dir DIR --accept-loss-after {as_of}");
            Ok(ExitCode::SUCCESS)
        }
        GateCommand::Check { store, backup, keys } => {
            let secrets = keys.read()?;
            // The library of a damaged database file may panic; that is a finding, not an accident.
            let report = catch_unwind(AssertUnwindSafe(|| check(store.as_deref(), backup.as_deref(), &secrets)))
                .map_err(|_| Failure::new("the file is damaged so badly that it cannot be read at all"))??;
            Ok(tell(&report))
        }
        GateCommand::Resume { store, accept_loss_after, keys } => {
            // Read so that only who holds the gate's keys decides this.
            let secrets = keys.read()?;
            let opened = restore::existing(&store)?;
            opened.write(|txn| standing::resume::<GateError>(txn, accept_loss_after, None, now_ms()))?;
            drop(opened);
            println!("{}: the gate of {} serves again when it is started.", store.display(), secrets.domain());
            println!(
                "Let the authority announce its roster (sealdex domain announce): the store's may be an older one."
            );
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn check(store: Option<&Path>, backup: Option<&Path>, secrets: &GateSecrets) -> Result<Report, Failure> {
    if let Some(path) = backup {
        let (taken_at, _, report) = restore::check_backup(path, secrets)?;
        println!("{}: a whole backup, taken at {}", path.display(), time_text(taken_at));
        return Ok(report);
    }
    let path = store.ok_or_else(|| Failure::new("give --store or --backup"))?;
    Ok(restore::check_store(path, secrets)?)
}

fn tell(report: &Report) -> ExitCode {
    let mut rows = table(&["table", "rows"]);
    for (name, count) in &report.tables {
        rows.add_row([(*name).to_owned(), count.to_string()]);
    }
    println!("{rows}");
    match report.roster {
        Some(version) => println!("roster version {version}"),
        None => println!("no roster"),
    }
    if report.unverifiable > 0 {
        println!("{} revocations are of owners without a profile: read, but not verified", report.unverifiable);
    }
    if let Some(as_of) = report.restored {
        println!(
            "restored at backup time {}, not resumed: it would answer no search, batch or grant",
            time_text(as_of)
        );
    }
    if report.damaged == 0 {
        println!("every row parses, every sealed scalar opens, every signed document verifies");
        return ExitCode::SUCCESS;
    }
    for damage in &report.damages {
        println!("damaged: {damage}");
    }
    println!("{} damaged rows", report.damaged);
    ExitCode::from(DAMAGED)
}
