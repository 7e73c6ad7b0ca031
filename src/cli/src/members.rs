//! `sealdex member`: enrolling below oneself, new keys for old ones, and counting without reading.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use indicatif::ProgressBar;
use sealdex_client::{Session, delegate};
use sealdex_fhir::Suite;
use sealdex_member::{
    MEMBER_KIND, MemberKeys, MemberSecrets,
    keys::{read_secrets, replace_secrets, write_secrets},
};
use sealdex_wire::{consent::SecretBytes, roster::Role};
use serde::{Deserialize, Serialize};

use crate::{
    domain::{RoleName, publish_directory},
    failure::Failure,
    groups::MemberOptions,
    key_options::KeyOptions,
    output::table,
    places::Member,
};

#[derive(Subcommand)]
#[command(after_help = "Examples:
  sealdex member enrol --member providers/north --name cardiology --role provider --out providers/cardiology
  sealdex member enrol --member providers/cardiology --name dr-ana --role user --out users/dr-ana
  sealdex query --member users/dr-ana '{\"resource\":\"Observation\",\"filters\":[{\"field\":\"source\",\"op\":\"eq\",\"value\":\"north/cardiology\"}]}'
  sealdex member dismiss --member providers/north --name north/cardiology        with everyone below it")]
pub(crate) enum MemberCommand {
    /// Enrol a department or physician below a provider. The authority takes no part.
    Enrol {
        #[command(flatten)]
        who: MemberOptions,
        /// Its own name; in the roster it is the provider's, a slash, and this.
        #[arg(long)]
        name: String,
        /// What it may do.
        #[arg(long)]
        role: RoleName,
        /// New folder for the member.
        #[arg(long)]
        out: PathBuf,
    },
    /// Dismiss someone below, and everyone below them.
    Dismiss {
        #[command(flatten)]
        who: MemberOptions,
        /// Full name, as `sealdex member list` has it.
        #[arg(long)]
        name: String,
    },
    /// Everybody in the domain, and who enrolled whom.
    List {
        #[command(flatten)]
        who: MemberOptions,
    },
    /// Take a new token key. Nothing is indexed anew, and the old key fits nothing.
    RotateToken {
        #[command(flatten)]
        who: MemberOptions,
    },
    /// Take over the grants of the member one succeeds, with that member's old key file.
    TakeOver {
        #[command(flatten)]
        who: MemberOptions,
        /// The old folder.
        #[arg(long)]
        old: PathBuf,
    },
}

pub(crate) async fn run(command: MemberCommand) -> Result<(), Failure> {
    match command {
        MemberCommand::Enrol { who, name, role, out } => enrol(&who, &name, role.into(), &out).await,
        MemberCommand::Dismiss { who, name } => {
            let me = who.open().await?;
            let cloud = me.trusted.cloud(&me.http, Some(&me.keys))?;
            delegate::dismiss(&me.keys, &me.trusted, &name, &me.gate, &cloud).await?;
            println!("{name} is dismissed, and everyone below it.");
            Ok(())
        }
        MemberCommand::List { who } => {
            let me = who.open().await?;
            let mut rows: Vec<[String; 4]> = Vec::new();
            for m in &me.trusted.roster.members {
                let role = if m.role == Role::Provider { "provider" } else { "user" };
                let active = me.trusted.roster.is_active(m.id);
                let status = if active { "active" } else { "revoked" };
                rows.push([m.name.clone().unwrap_or_default(), role.into(), status.into(), m.id.to_string()]);
            }
            rows.sort();
            let mut t = table(&["name", "role", "status", "id"]);
            for row in rows {
                t.add_row(row);
            }
            println!("{t}");
            Ok(())
        }
        MemberCommand::RotateToken { who } => rotate_token(&who).await,
        MemberCommand::TakeOver { who, old } => {
            let me = who.open().await?;
            let path = old.join("member.key");
            let old = MemberKeys::read(&path, who.keys().to_read(&path)?.as_ref())?;
            let bar = ProgressBar::new_spinner();
            let progress = |n| bar.set_message(format!("{n} grants taken over"));
            let count = delegate::take_over(&me.keys, &old, &me.trusted, &me.gate, progress).await?;
            bar.finish_and_clear();
            println!(
                "{count} grants of {} are {}'s now; the old key opens nothing.",
                old.secrets.name, me.keys.secrets.name
            );
            Ok(())
        }
    }
}

/// Kind of a file that holds a token key on its way.
const ROTATION_KIND: &str = "rotation";

/// A new key file, and the factor the gate must be told; kept until it is known that the gate has it.
#[derive(Serialize, Deserialize)]
struct Rotation {
    secrets: MemberSecrets,
    factor: SecretBytes,
}

/// Takes a new token key. Killed anywhere, or without an answer, it goes on when it is run again: the gate takes the same
/// factor once.
async fn rotate_token(who: &MemberOptions) -> Result<(), Failure> {
    let me = who.open().await?;
    let (path, pending) = (who.dir().join("member.key"), who.dir().join("rotation.key"));
    let unlock = who.keys().to_read(&path)?;
    let rotation: Rotation = if pending.exists() {
        read_secrets(&pending, ROTATION_KIND, who.keys().to_read(&pending)?.as_ref())?
    } else {
        let (secrets, factor) = delegate::new_token_key(&me.keys)?;
        let new = Rotation { secrets, factor };
        write_secrets(&pending, ROTATION_KIND, &new, unlock.as_ref())?;
        new
    };
    if let Err(e) = delegate::rotate_token_key(rotation.factor.clone(), &me.gate).await {
        return Err(Failure::new(format!(
            "{e}\nRun the command again to go on; {} has the new key.",
            pending.display()
        )));
    }
    replace_secrets(&path, MEMBER_KIND, &rotation.secrets, unlock.as_ref())?;
    let gone = |e| Failure::new(format!("cannot remove {}: {e}", pending.display()));
    std::fs::remove_file(&pending).map_err(gone)?;
    println!("{} has a new token key; the old one fits nothing.", me.keys.secrets.name);
    Ok(())
}

async fn enrol(who: &MemberOptions, name: &str, role: Role, out: &std::path::Path) -> Result<(), Failure> {
    let me = who.open().await?;
    let enrolled = delegate::enrol(&me.keys, &me.trusted, name, role)?;
    let path = out.join("member.key");
    write_secrets(&path, MEMBER_KIND, &enrolled.secrets, who.keys().to_write()?.as_ref())?;
    let cloud = me.trusted.cloud(&me.http, Some(&me.keys))?;
    if let Err(e) = delegate::announce(&enrolled, &me.gate, &cloud).await {
        let refused = matches!(&e, delegate::DelegateError::Call(call) if call.problem_type().is_some());
        if refused {
            // What the servers know nothing of is of no use.
            let _ = std::fs::remove_file(&path);
            return Err(e.into());
        }
        return Err(Failure::new(format!(
            "{e}\nIt is not known whether the servers have {}: see `sealdex member list`. Its key is in {}.",
            enrolled.secrets.name,
            path.display()
        )));
    }
    let pack = who.dir().join("domain.json");
    let fail = |e: std::io::Error| Failure::new(format!("cannot copy {}: {e}", pack.display()));
    std::fs::copy(&pack, out.join("domain.json")).map_err(fail)?;
    let full = enrolled.secrets.name.clone();
    let keys = MemberKeys::new(enrolled.secrets);
    if role == Role::Provider {
        let mut trusted = me.trusted.clone();
        trusted.refresh(&me.gate).await?;
        publish_directory(&keys, &trusted, &me.http).await?;
        let manifest = out.join("provider.toml");
        if !manifest.exists() {
            let fail = |e| Failure::new(format!("cannot write {}: {e}", manifest.display()));
            std::fs::write(&manifest, format!("name = \"{full}\"\nsources = []\n")).map_err(fail)?;
        }
    }
    println!("{full} is enrolled; its folder is {}. Hand it over safely.", out.display());
    Ok(())
}

#[derive(Args)]
#[command(after_help = "Example:
  sealdex count --member users/stat --purpose research '{\"resource\":\"Observation\",\"filters\":[
      {\"field\":\"token\",\"op\":\"eq\",\"value\":\"http://loinc.org|4548-4\"}]}'")]
pub(crate) struct CountOptions {
    /// The member's folder.
    #[arg(long)]
    member: PathBuf,
    /// Purpose of use.
    #[arg(long, default_value = "research")]
    purpose: String,
    /// Certificates to trust the gate by, PEM.
    #[arg(long)]
    ca: Option<PathBuf>,
    /// A query document in JSON.
    question: String,
    #[command(flatten)]
    keys: KeyOptions,
}

/// `sealdex count`.
pub(crate) async fn count(o: CountOptions) -> Result<(), Failure> {
    let member = Member::open_dir(&o.member, &o.keys, o.ca.as_deref()).await?;
    let suite = Suite::parse(&o.question, crate::query::default_resource(&member.trusted.schema).as_deref())?;
    let session = Session::new(&member.http, &member.keys, member.trusted.clone())?.for_purpose(&o.purpose);
    for doc in &suite.queries {
        let (counted, notes) = session.count(doc).await?;
        match (counted.owners, counted.records) {
            (Some(owners), Some(records)) => {
                println!("{owners} patients, {records} records (rounded down to multiples of {})", counted.step);
            }
            _ => println!("fewer than {} patients: not told", counted.step),
        }
        println!("note: counted on the index alone; ranges are rounded outward to its steps");
        notes.iter().for_each(|n| println!("note: {n}"));
    }
    Ok(())
}
