//! `sealdex push`.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use sealdex_fhir::{BulkManifest, Input, Mapping, total_bytes};
use sealdex_provider::{Journal, Manifest, OwnerMap, Progress, PushInput, PushReport, PushSettings, push};

use crate::{
    failure::Failure,
    key_options::KeyOptions,
    output::{table, tell_traces},
    places::Member,
};

/// Exit code when everything readable was pushed but something was rejected.
const SOME_REJECTED: u8 = 3;

#[derive(Args)]
#[command(after_help = "Examples:
  sealdex push --provider providers/northgate records/
  sealdex push --provider providers/northgate --validate Observation.ndjson
  sealdex push --provider providers/northgate --manifest export/manifest.json
Killed at any point, run it again: what the cloud has is skipped, nothing is doubled.
Exit code 3: pushed, but some records were rejected; the rejects file says which and why.")]
pub(crate) struct PushOptions {
    /// The provider's folder, with provider.toml.
    #[arg(long)]
    provider: PathBuf,
    /// CSV mapping: a file, or diabetes130.
    #[arg(long)]
    mapping: Option<PathBuf>,
    /// Records in a batch, at most. More share a capsule in bigger ones.
    #[arg(long, default_value_t = 8192, value_parser = clap::value_parser!(u32).range(1..=8192))]
    batch: u32,
    /// Read, check, index and seal, but send nothing.
    #[arg(long)]
    dry_run: bool,
    /// Reject resources that do not have the structure of FHIR R4, with the path of what is wrong.
    #[arg(long)]
    validate: bool,
    /// Manifest of Bulk Data files, as $import takes or $export gives it, with the files beside it. What is not
    /// FHIR R4, or of another type than the manifest says, is rejected.
    #[arg(long)]
    manifest: Option<PathBuf>,
    /// Print the trace id of each request, by which operators of gate and cloud find it in their logs.
    #[arg(long)]
    trace: bool,
    /// Certificates to trust gate and cloud by, PEM.
    #[arg(long)]
    ca: Option<PathBuf>,
    /// Files and folders; else the manifest's sources.
    paths: Vec<PathBuf>,
    #[command(flatten)]
    keys: KeyOptions,
}

/// Files that are not read, with the reason.
type PassedOver = Vec<(PathBuf, String)>;

/// Paths given, files of a Bulk Data manifest, or else the provider's own sources; and what the manifest lists that is
/// not read, with the reason.
pub(crate) fn inputs(
    paths: Vec<PathBuf>,
    bulk: Option<&Path>,
    manifest: &Manifest,
) -> Result<(Vec<Input>, PassedOver), Failure> {
    let mut inputs: Vec<Input> = paths.into_iter().map(Input::from).collect();
    let mut passed_over = Vec::new();
    if let Some(path) = bulk {
        let bulk = BulkManifest::read(path)?;
        passed_over.clone_from(&bulk.passed_over);
        inputs.extend(bulk.inputs());
    }
    if inputs.is_empty() {
        inputs.extend(manifest.sources.iter().cloned().map(Input::from));
    }
    Ok((inputs, passed_over))
}

/// A bar over bytes read, fed from the job's counters.
pub(crate) fn bar(total: u64, name: &str) -> ProgressBar {
    let bar = ProgressBar::new(total);
    let style = ProgressStyle::with_template("{prefix:>20} {bar:30} {bytes}/{total_bytes} {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_prefix(name.to_owned());
    bar
}

/// Keeps a bar up to date until the returned task is aborted.
pub(crate) fn follow(bar: ProgressBar, progress: Arc<Progress>) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            bar.set_position(progress.bytes_read.load(Relaxed));
            bar.set_message(format!(
                "{} pushed, {} known, {} rejected",
                progress.pushed.load(Relaxed),
                progress.skipped.load(Relaxed),
                progress.rejected.load(Relaxed)
            ));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
}

/// Pushes a provider's sources.
pub(crate) async fn push_provider(
    member: &Member,
    manifest: &Manifest,
    sources: Vec<Input>,
    mapping: Option<Mapping>,
    settings: PushSettings,
    progress: Arc<Progress>,
) -> Result<PushReport, Failure> {
    if !manifest.owners.exists() {
        return Err(Failure::new(format!(
            "{} is missing: enrol the patients first, `sealdex owners enrol --provider …`",
            manifest.owners.display()
        )));
    }
    let input = PushInput {
        keys: &member.keys,
        trusted: &member.trusted,
        gate: member.gate.clone(),
        cloud: member.trusted.cloud(&member.http, Some(&member.keys))?,
        owners: OwnerMap::read(&manifest.owners)?,
        journal: Journal::open(&manifest.journal)?,
        log: member.log(&manifest.journal.with_extension("ledger"))?,
        sources,
        mapping,
        settings,
        progress,
    };
    Ok(push(input).await?)
}

pub(crate) async fn run(o: PushOptions) -> Result<ExitCode, Failure> {
    if o.trace {
        tell_traces();
    }
    let manifest = Manifest::read(&o.provider)?;
    let member = Member::open(&manifest.key, &manifest.domain, &o.keys, o.ca.as_deref()).await?;
    let (sources, passed_over) = inputs(o.paths.clone(), o.manifest.as_deref(), &manifest)?;
    if sources.is_empty() {
        return Err(Failure::new(
            "nothing to push: name files or folders, or list them under \"sources\" in provider.toml",
        ));
    }
    let mapping = o.mapping.clone().or(manifest.mapping.clone()).map(|m| Mapping::read(&m)).transpose()?;
    let settings = PushSettings {
        batch_records: o.batch as usize,
        rejects: Some(manifest.rejects.clone()),
        dry_run: o.dry_run,
        validate: o.validate || o.manifest.is_some(),
        ..PushSettings::default()
    };
    let total = sources.iter().map(|p| total_bytes(p.path())).sum::<Result<u64, _>>()?;
    let progress = Arc::new(Progress::default());
    let bar = bar(total, &manifest.name);
    let following = follow(bar.clone(), progress.clone());
    let report = push_provider(&member, &manifest, sources, mapping, settings, progress).await;
    following.abort();
    bar.finish_and_clear();
    let mut report = report?;
    report.passed_over.extend(passed_over);
    print(&report, &manifest.rejects, o.dry_run);
    Ok(if report.rejected > 0 { ExitCode::from(SOME_REJECTED) } else { ExitCode::SUCCESS })
}

fn print(report: &PushReport, rejects: &Path, dry_run: bool) {
    let mut t = table(&["pushed", "replaced", "known already", "rejected", "batches", "sent", "seconds", "records/s"]);
    let seconds = report.elapsed.as_secs_f64();
    t.add_row([
        report.pushed.to_string(),
        report.replaced.to_string(),
        report.skipped.to_string(),
        report.rejected.to_string(),
        report.batches.to_string(),
        format!("{:.1} MB", report.bytes_sent as f64 / 1e6),
        format!("{seconds:.2}"),
        format!("{:.0}", report.pushed as f64 / seconds.max(1e-9)),
    ]);
    println!("{t}");
    if dry_run {
        println!("Dry run: nothing was sent.");
    }
    if let Some(why) = &report.unlogged {
        println!(
            "Everything is stored, but not seen in the log yet: {why}. Push again later, and it is looked for again."
        );
    }
    if let Some(erased) = crate::erase::told(&report.erasure) {
        println!("{erased}");
    }
    if let Some(why) = &report.unerased {
        println!("What patients have ordered to be erased could not be ended now: {why}. Push again later.");
    }
    if report.without_patient > 0 {
        println!(
            "{} of them name no patient, so this provider owns them and grants them: `sealdex grant --provider …`.",
            report.without_patient
        );
    }
    for (file, reason) in &report.passed_over {
        println!("passed over: {}: {reason}", file.display());
    }
    for reject in &report.first_rejects {
        println!("rejected: {reject}");
    }
    if report.rejected > 0 {
        println!("All {} rejects are in {}. Mend them and push again.", report.rejected, rejects.display());
    }
}
