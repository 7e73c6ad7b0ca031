//! `sealdex erase`.

use std::{collections::BTreeMap, path::PathBuf, process::ExitCode};

use clap::Args;
use sealdex_client::{Patient, patient::ErasureStatus};
use sealdex_net::peer::Http;
use sealdex_provider::{EraseInput, EraseReport, Journal, Manifest, erase};

use crate::{
    failure::Failure,
    key_options::KeyOptions,
    output::table,
    patients::{Patients, WalletOptions, day},
    places::Member,
};

/// Exit code when something is not erased yet.
const NOT_DONE: u8 = 3;

#[derive(Args)]
#[command(after_help = "Examples:
  sealdex erase --wallet patients.key --domain domain.json --owner Patient/ID --section observations --yes
  sealdex erase --wallet patients.key --domain domain.json --owner Patient/ID --yes          everything of this patient
  sealdex erase --wallet patients.key --domain domain.json --owner Patient/ID --status       what came of it; 0 when all is done
  sealdex erase --provider providers/northgate       ends what patients ordered; every push and gateway does it, too
An order cannot be taken back. When the command returns, nobody is given any of it any more, whatever is granted later, the
keys that open it are destroyed in this wallet, and the hospitals are told what to end at the cloud. Copies of the wallet
from before still have the keys: destroy them. docs/ERASURE.md says what is proved, and what is not.
Exit code 3: with --status, not everything is done yet; with --provider, the cloud denies having some records.")]
pub(crate) struct EraseOptions {
    /// Wallet with the owner's keys.
    #[arg(long, requires = "domain", required_unless_present = "provider")]
    wallet: Option<PathBuf>,
    /// Domain pack.
    #[arg(long)]
    domain: Option<PathBuf>,
    /// Owner, by label.
    #[arg(long, required_unless_present = "provider")]
    owner: Option<String>,
    /// Section, with what of it bears a label; repeat for several. Without it, everything.
    #[arg(long = "section")]
    sections: Vec<String>,
    /// Say what became of the orders of this wallet.
    #[arg(long, conflicts_with = "sections")]
    status: bool,
    /// Tell the gate the orders of this wallet again, and order nothing new: when it was restored from a backup, or the
    /// command was stopped half-way.
    #[arg(long, conflicts_with_all = ["sections", "status"])]
    again: bool,
    /// It cannot be taken back: say that it is meant.
    #[arg(long)]
    yes: bool,
    /// A provider's folder: end what patients have ordered, for its hospital.
    #[arg(long, conflicts_with_all = ["wallet", "owner", "sections", "status"])]
    provider: Option<PathBuf>,
    /// Certificates to trust gate and cloud by, PEM.
    #[arg(long)]
    ca: Option<PathBuf>,
    #[command(flatten)]
    keys: KeyOptions,
}

pub(crate) async fn run(o: EraseOptions) -> Result<ExitCode, Failure> {
    if let Some(dir) = &o.provider {
        return provider(dir, &o).await;
    }
    let (Some(wallet), Some(domain), Some(owner)) = (&o.wallet, &o.domain, &o.owner) else {
        return Err(Failure::new("name --wallet, --domain and --owner, or --provider"));
    };
    let options = WalletOptions::of_one(wallet, domain, owner, o.ca.as_deref(), &o.keys);
    let mut patients = Patients::open(options).await?;
    let mut patient = patients.only()?;
    if o.status {
        let folder = wallet.with_extension("acts");
        let status = patient.erasure_status(&Http::new(o.ca.as_deref())?, Some(&folder)).await;
        return Ok(show(&patient, &status.map_err(|e| Failure::new(e.to_string()))?));
    }
    patient.sync().await?;
    if o.again {
        let ended = patient.erase().await;
        // What was destroyed before one failed stays destroyed.
        patients.keep(&patient);
        patients.save()?;
        let ended = ended?;
        println!("{} orders of {} are in force; {ended} grants ended.", patient.entry().orders.len(), patient.label());
        return Ok(ExitCode::SUCCESS);
    }
    let known: Vec<String> = patient.sections().cloned().collect();
    let base = |s: &String| s.split('/').next().unwrap_or_default().to_owned();
    if let Some(unknown) = o.sections.iter().find(|s| !known.contains(s) && !known.iter().any(|k| base(k) == **s)) {
        return Err(Failure::new(format!(
            "{} has no section \"{unknown}\" left; it has: {}",
            patient.label(),
            known.join(", ")
        )));
    }
    if !o.yes {
        return Err(Failure::new(format!(
            "this erases {} of {} for good and cannot be taken back: say --yes if it is meant",
            if o.sections.is_empty() { "everything".to_owned() } else { o.sections.join(", ") },
            patient.label()
        )));
    }
    // The order is kept before it is sent, and the keys are destroyed once it is in force.
    let ordered = patient.order_erasure(&o.sections);
    patients.keep(&patient);
    patients.save()?;
    let ended = patient.erase().await;
    patients.keep(&patient);
    patients.save()?;
    let ended = ended?;
    let sections: usize = ordered.iter().filter_map(|o| o.peek().ok()).map(|o| o.sections.len()).sum();
    println!(
        "{sections} sections of {} are erased: {ended} grants ended, nothing of them is given to anybody any more, and their \
         keys are destroyed in {}.\nCopies of the wallet from before still have the keys: destroy them. The hospitals end the \
         records at the cloud; see --status.",
        patient.label(),
        wallet.display()
    );
    Ok(ExitCode::SUCCESS)
}

fn show(patient: &Patient, status: &ErasureStatus) -> ExitCode {
    let mut t = table(&["ordered", "section", "through epoch", "at the gate", "in the log of acts", "keys"]);
    for o in &status.orders {
        let logged = match &o.logged {
            None => "there is none".to_owned(),
            Some(entries) if entries.is_empty() => "not yet".to_owned(),
            Some(entries) => entries.iter().map(u64::to_string).collect::<Vec<_>>().join(", "),
        };
        for s in &o.order.sections {
            t.add_row([
                day(o.order.ordered_at / 1000),
                s.section.clone(),
                s.through.to_string(),
                if o.in_force { "in force".into() } else { "NOT IN FORCE".into() },
                logged.clone(),
                if o.destroyed { "destroyed here".into() } else { "STILL HERE".into() },
            ]);
        }
    }
    println!("{t}");
    let mut hospitals: BTreeMap<_, Vec<_>> = BTreeMap::new();
    status.records.iter().for_each(|r| hospitals.entry(r.hospital).or_default().push(r));
    let mut t = table(&["hospital", "found", "ended", "by the log's batches", "stored, the cloud says"]);
    for (hospital, records) in hospitals {
        let mut batches: Vec<u64> = records.iter().filter_map(|r| r.ended_by).collect();
        let ended = if status.proved { batches.len() } else { records.iter().filter(|r| !r.stored).count() };
        batches.sort_unstable();
        batches.dedup();
        t.add_row([
            patient.name_of(hospital),
            records.len().to_string(),
            ended.to_string(),
            batches.iter().map(u64::to_string).collect::<Vec<_>>().join(", "),
            records.iter().filter(|r| r.stored).count().to_string(),
        ]);
    }
    println!("{t}");
    for alarm in &status.alarms {
        println!("ALARM: {alarm}");
    }
    if !status.proved {
        println!("This domain has no log: that records have ended is the cloud's word.");
    }
    match (status.is_done(), status.orders.is_empty()) {
        (_, true) => println!("This wallet has ordered nothing of {} to be erased.", patient.label()),
        (true, _) => println!("Done: everything found has ended, and the cloud says that it has none of it."),
        (false, _) if status.orders.iter().any(|o| !o.destroyed || !o.in_force) => {
            println!("Not done: the command was stopped half-way, or the gate was restored: run it with --again.")
        }
        (false, _) => {
            println!("Not done yet: each hospital ends its records when it pushes, or by `sealdex erase --provider`.")
        }
    }
    if status.is_done() { ExitCode::SUCCESS } else { ExitCode::from(NOT_DONE) }
}

async fn provider(dir: &std::path::Path, o: &EraseOptions) -> Result<ExitCode, Failure> {
    let manifest = Manifest::read(dir)?;
    let member = Member::open(&manifest.key, &manifest.domain, &o.keys, o.ca.as_deref()).await?;
    let input = EraseInput {
        keys: &member.keys,
        trusted: &member.trusted,
        gate: member.gate.clone(),
        cloud: member.trusted.cloud(&member.http, Some(&member.keys))?,
        journal: Journal::open(&manifest.journal)?,
        log: member.log(&manifest.journal.with_extension("ledger"))?,
    };
    let report = erase(input).await?;
    println!("{}", told(&report).unwrap_or_else(|| "Nothing is to be erased.".into()));
    Ok(if report.denied > 0 { ExitCode::from(NOT_DONE) } else { ExitCode::SUCCESS })
}

/// What was erased, in words; `None` if there was nothing to say.
pub(crate) fn told(report: &EraseReport) -> Option<String> {
    let EraseReport { erased, denied, places, unlogged } = report;
    let mut lines = Vec::new();
    if *erased > 0 {
        let places: Vec<String> = places.iter().map(u64::to_string).collect();
        lines.push(format!(
            "{erased} records were erased by order of their patients; stated in the log's batches {}.",
            places.join(", ")
        ));
    }
    if *denied > 0 {
        lines.push(format!(
            "{denied} records are to be erased, and the cloud denies having them, though the log has not got that they ended."
        ));
    }
    lines.extend(unlogged.as_ref().map(|why| format!("That is not seen in the log yet: {why}.")));
    (!lines.is_empty()).then(|| lines.join("\n"))
}
