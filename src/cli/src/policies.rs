//! `sealdex consent` and `sealdex policy`: an owner's consent as a whole, and what it has decided once for all.

use std::{collections::BTreeSet, path::PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use sealdex_client::{
    NewcomersRule, Patient, Policy,
    patient::{ConsentExport, Overview},
};
use sealdex_net::clock::now_ms;
use sealdex_wire::consent::ANY_PURPOSE;

use crate::{
    failure::Failure,
    output::table,
    patients::{Patients, WalletOptions, day},
    places::write_json,
};

/// Which members of a group are meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Newcomers {
    /// Everyone in it, whenever that is.
    #[default]
    All,
    /// Who joins sees what is written from the next epoch on.
    Later,
    /// Who joins sees nothing until the owner grants anew.
    Asked,
}

impl From<Newcomers> for NewcomersRule {
    fn from(n: Newcomers) -> Self {
        match n {
            Newcomers::All => Self::All,
            Newcomers::Later => Self::Later,
            Newcomers::Asked => Self::Asked,
        }
    }
}

#[derive(Subcommand)]
pub(crate) enum ConsentCommand {
    /// Everything at a glance: grants, emergencies, carers, requests, policies.
    Show {
        #[command(flatten)]
        who: WalletOptions,
    },
    /// Write the whole consent to a file. No secret is in it.
    Export {
        #[command(flatten)]
        who: WalletOptions,
        /// File to write.
        #[arg(long)]
        out: PathBuf,
    },
    /// Put an exported consent into force: grants that are missing are made anew.
    Import {
        #[command(flatten)]
        who: WalletOptions,
        /// File to read.
        #[arg(long)]
        file: PathBuf,
    },
    /// Give every policy the grants it is still without, and renew those that run out.
    Apply {
        #[command(flatten)]
        who: WalletOptions,
    },
    /// Begin a new epoch of sections: whoever was revoked, or left a group, cannot open what is written from then on,
    /// whatever the gate has kept. To be run on a schedule with --older-than.
    Advance {
        #[command(flatten)]
        who: WalletOptions,
        /// Section; repeat for several. All when none is named.
        #[arg(long = "section")]
        sections: Vec<String>,
        /// Only sections whose epoch began so many days ago.
        #[arg(long)]
        older_than: Option<u64>,
    },
}

#[derive(Args)]
pub(crate) struct PolicyOptions {
    /// Name of the policy.
    #[arg(long)]
    name: String,
    /// Who may read: a member's name, or group@manager.
    #[arg(long)]
    to: String,
    /// Section; repeat for several. All when none is named.
    #[arg(long = "section")]
    sections: Vec<String>,
    /// Section left out; repeat for several.
    #[arg(long = "except")]
    except: Vec<String>,
    /// Sensitivity label it extends to, beside what bears none; repeat for several.
    #[arg(long = "label")]
    labels: Vec<String>,
    /// Purpose of use; repeat for several. "any" for all.
    #[arg(long = "purpose", default_values_t = [String::from("treatment")])]
    purposes: Vec<String>,
    /// Only what this provider pushed, or anyone below it; repeat for several.
    #[arg(long = "pushed-by")]
    providers: Vec<String>,
    /// Days its grants hold; applying the policy again renews them.
    #[arg(long, default_value_t = 365)]
    days: u32,
    /// Leave out what was written in earlier epochs.
    #[arg(long)]
    not_earlier: bool,
    /// Which members of a group it means.
    #[arg(long, value_enum, default_value_t)]
    newcomers: Newcomers,
    /// Make it for emergencies: two of these people must wake it. A member, or group@manager; repeat for several.
    #[arg(long = "waker")]
    wakers: Vec<String>,
    /// Longest an emergency lasts, minutes.
    #[arg(long, requires = "wakers")]
    minutes: Option<u32>,
}

#[derive(Subcommand)]
#[command(after_help = "Examples:
  sealdex policy set --wallet w.key --domain domain.json --owner Patient/1 --name gp --to dr-ana --except notes
  sealdex policy set --wallet w.key --domain domain.json --owner Patient/1 --name emergency \\
      --to er@north --waker er@north --minutes 240 --purpose any
  sealdex consent apply --wallet w.key --domain domain.json --all-owners          for instance every night")]
pub(crate) enum PolicyCommand {
    /// Set a policy and apply it at once.
    Set {
        #[command(flatten)]
        who: WalletOptions,
        #[command(flatten)]
        policy: PolicyOptions,
    },
    /// List policies.
    List {
        #[command(flatten)]
        who: WalletOptions,
    },
    /// Remove a policy; with --revoke, take back what was granted to its reader.
    Remove {
        #[command(flatten)]
        who: WalletOptions,
        /// Its name.
        #[arg(long)]
        name: String,
        /// Revoke its purposes from its reader too.
        #[arg(long)]
        revoke: bool,
    },
}

impl PolicyOptions {
    fn policy(&self) -> Policy {
        Policy {
            name: self.name.clone(),
            reader: self.to.clone(),
            sections: self.sections.clone(),
            except: self.except.clone(),
            labels: self.labels.clone(),
            purposes: self.purposes.clone(),
            providers: self.providers.clone(),
            days: self.days,
            earlier: !self.not_earlier,
            newcomers: self.newcomers.into(),
            wakers: self.wakers.clone(),
            minutes: self.minutes,
            made_at: now_ms(),
        }
    }
}

pub(crate) async fn consent(command: ConsentCommand) -> Result<(), Failure> {
    match command {
        ConsentCommand::Show { who } => {
            let patients = Patients::open(who).await?;
            for label in patients.labels() {
                show(&patients.patient(&label)?).await?;
            }
        }
        ConsentCommand::Export { who, out } => {
            let export = Patients::open(who).await?.only()?.export().await?;
            write_json(&out, &export)?;
            println!(
                "{} grants, {} policies, {} carers of {} are in {}.",
                export.grants.len(),
                export.policies.len(),
                export.carers.len(),
                export.owner,
                out.display()
            );
        }
        ConsentCommand::Import { who, file } => {
            let mut patients = Patients::open(who).await?;
            let read = |e: std::io::Error| Failure::new(format!("{}: {e}", file.display()));
            let export: ConsentExport = serde_json::from_slice(&std::fs::read(&file).map_err(read)?)
                .map_err(|e| Failure::new(format!("{}: not an exported consent: {e}", file.display())))?;
            let mut patient = patients.only()?;
            if export.owner != patient.label() {
                return Err(Failure::new(format!(
                    "{} is the consent of {}, not of {}",
                    file.display(),
                    export.owner,
                    patient.label()
                )));
            }
            patient.sync().await?;
            let count = patient.import(&export).await?;
            patients.keep(&patient);
            patients.save()?;
            println!("{count} grants and carers were missing and are in force now.");
        }
        ConsentCommand::Apply { who } => {
            let mut count = 0;
            let work = async |patient: &mut Patient| {
                count += patient.apply().await?;
                Ok(())
            };
            let owners = Patients::open(who).await?.each(work).await?;
            println!("{count} grants made or renewed for {owners} owners.");
        }
        ConsentCommand::Advance { who, sections, older_than } => {
            let (mut advanced, mut renewed) = (0, 0);
            let work = async |patient: &mut Patient| {
                let named: BTreeSet<String> = match sections.is_empty() {
                    true => patient.sections().cloned().collect(),
                    false => sections.iter().cloned().collect(),
                };
                let due: BTreeSet<String> = match older_than {
                    Some(days) => named.intersection(&patient.due(days)).cloned().collect(),
                    None => named,
                };
                if !due.is_empty() {
                    let done = patient.advance(&due, Vec::new()).await?;
                    advanced += done.sections;
                    renewed += done.renewed;
                }
                Ok(())
            };
            let owners = Patients::open(who).await?.each(work).await?;
            println!("{advanced} epochs of {owners} owners began anew; {renewed} grants go on in them.");
        }
    }
    Ok(())
}

pub(crate) async fn policy(command: PolicyCommand) -> Result<(), Failure> {
    match command {
        PolicyCommand::Set { who, policy } => {
            let mut count = 0;
            let work = async |patient: &mut Patient| {
                let new = policy.policy();
                let known = patient.sections().cloned().collect::<BTreeSet<_>>();
                if let Some(unknown) = new.sections.iter().chain(&new.except).find(|s| !known.contains(*s)) {
                    let known: Vec<_> = known.into_iter().collect();
                    return Err(Failure::new(format!("no section \"{unknown}\"; there are: {}", known.join(", "))));
                }
                patient.entry_mut().policies.retain(|p| p.name != new.name);
                patient.entry_mut().policies.push(new);
                count += patient.apply().await?;
                Ok(())
            };
            let owners = Patients::open(who).await?.each(work).await?;
            println!("The policy {} is in force for {owners} owners ({count} grants).", policy.name);
        }
        PolicyCommand::List { who } => {
            let patients = Patients::open(who).await?;
            for label in patients.labels() {
                println!("{label}\n{}", policies(&patients.patient(&label)?));
            }
        }
        PolicyCommand::Remove { who, name, revoke } => {
            let work = async |patient: &mut Patient| remove(patient, &name, revoke).await;
            let owners = Patients::open(who).await?.each(work).await?;
            let what = if revoke { "what it granted is revoked" } else { "what it granted stays until it ends" };
            println!("The policy {name} of {owners} owners is removed; {what}.");
        }
    }
    Ok(())
}

async fn remove(patient: &mut Patient, name: &str, revoke: bool) -> Result<(), Failure> {
    let unknown = || Failure::new(format!("there is no policy \"{name}\""));
    let policy = patient.entry().policies.iter().find(|p| p.name == name).cloned().ok_or_else(unknown)?;
    patient.entry_mut().policies.retain(|p| p.name != name);
    if !revoke {
        return Ok(());
    }
    let reader = patient.reader(&policy.reader).await?.id;
    let sections: BTreeSet<String> = policy.extends_to(patient.sections()).into_iter().collect();
    let mut revocations = Vec::new();
    for purpose in &policy.purposes {
        let purpose = (purpose != ANY_PURPOSE).then_some(purpose.as_str());
        revocations.extend(sections.iter().map(|s| patient.revocation(reader, Some(s), purpose)));
    }
    patient.advance(&sections, revocations).await?;
    Ok(())
}

fn policies(patient: &Patient) -> comfy_table::Table {
    let mut t =
        table(&["policy", "who", "may read", "except", "for", "days", "earlier records", "newcomers", "emergency"]);
    for p in &patient.entry().policies {
        let or_all = |list: &[String]| if list.is_empty() { "all".to_owned() } else { list.join(", ") };
        let labels: String = p.labels.iter().map(|l| format!(", and {l}")).collect();
        let emergency = match p.wakers.is_empty() {
            true => String::new(),
            false => format!("two of {}, {} min", p.wakers.join(", "), p.minutes.unwrap_or(60)),
        };
        t.add_row([
            p.name.clone(),
            p.reader.clone(),
            or_all(&p.sections) + &labels,
            p.except.join(", "),
            p.purposes.join(", "),
            p.days.to_string(),
            if p.earlier { "yes" } else { "no" }.into(),
            format!("{:?}", p.newcomers).to_lowercase(),
            emergency,
        ]);
    }
    t
}

/// One readable view of a consent.
async fn show(patient: &Patient) -> Result<(), Failure> {
    let Overview { grants, mandates, requests, emergencies } = patient.overview().await?;
    println!("{}", patient.label());
    let mut rows: std::collections::BTreeMap<Vec<String>, Vec<String>> = Default::default();
    for g in &grants {
        let reader = g.reader.identity().map_err(|e| Failure::new(e.to_string()))?.id();
        let mut limits = Vec::new();
        if g.emergency.is_some() {
            limits.push(format!("EMERGENCY ONLY, {} min", g.emergency.as_ref().map_or(0, |e| e.minutes)));
        }
        if !g.providers.is_empty() {
            let names: Vec<String> = g.providers.iter().map(|p| patient.name_of(*p)).collect();
            limits.push(format!("pushed by {}", names.join(", ")));
        }
        match sealdex_client::Newcomers::of(g) {
            sealdex_client::Newcomers::All => {}
            sealdex_client::Newcomers::Later(_) => limits.push("newcomers: from the next epoch".into()),
            sealdex_client::Newcomers::JoinedBy(at) => limits.push(format!("joined by {}", day(at / 1000))),
        }
        if let Some(by) = g.by {
            limits.push(format!("passed on by {}", patient.name_of(by)));
        }
        let row = vec![patient.reader_name(reader).await?, g.purpose.clone(), day(g.not_after), limits.join("; ")];
        rows.entry(row).or_default().push(format!("{}:{}", g.section, g.epoch));
    }
    let mut t = table(&["may read", "for", "until", "only", "sections (epochs)"]);
    for (row, sections) in rows {
        t.add_row([row, vec![joined(sections)]].concat());
    }
    println!("{t}");
    if !patient.entry().policies.is_empty() {
        println!("{}", policies(patient));
    }
    if !mandates.is_empty() {
        let mut t = table(&["carer", "for", "until"]);
        for m in &mandates {
            let carer = m.carer.identity().map_err(|e| Failure::new(e.to_string()))?.id();
            let sections = if m.sections.is_empty() { "all sections".into() } else { m.sections.join(", ") };
            t.add_row([patient.name_of(carer), sections, day(m.not_after)]);
        }
        println!("{t}");
    }
    if !requests.is_empty() {
        println!("{}", crate::requests::as_table(patient, &requests).await?);
    }
    if !emergencies.is_empty() {
        println!("{}", crate::emergencies::as_table(patient, &emergencies).await?);
    }
    println!(
        "{} grants, {} policies, {} carers, {} unanswered requests, {} emergencies",
        grants.len(),
        patient.entry().policies.len(),
        mandates.len(),
        requests.len(),
        emergencies.len()
    );
    Ok(())
}

/// `labs:0 labs:1 notes:0` as `labs (0-1), notes (0)`.
fn joined(mut sections: Vec<String>) -> String {
    sections.sort();
    let mut by_name: std::collections::BTreeMap<String, Vec<u32>> = Default::default();
    for s in &sections {
        if let Some((name, epoch)) = s.rsplit_once(':') {
            by_name.entry(name.to_owned()).or_default().extend(epoch.parse::<u32>());
        }
    }
    let one = |(name, mut epochs): (String, Vec<u32>)| {
        epochs.sort_unstable();
        match (epochs.first(), epochs.last()) {
            (Some(a), Some(b)) if a != b => format!("{name} ({a}-{b})"),
            (Some(a), _) => format!("{name} ({a})"),
            _ => name,
        }
    };
    by_name.into_iter().map(one).collect::<Vec<_>>().join(", ")
}
