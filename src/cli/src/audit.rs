//! `sealdex audit`: everything in the log of acts, for an auditor. `sealdex domain auditor`: who is one.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use sealdex_client::{
    acts::{ActsLog, Audited, audit},
    ceremony::{AUTHORITY_KIND, AuthorityKeys},
    patient::{audit as fhir, consent::name_of},
};
use sealdex_crypto::{Identity, IdentitySeed};
use sealdex_member::{DomainPack, Trusted, keys::write_secrets};
use sealdex_net::peer::Http;
use sealdex_wire::{
    B32, RawPoint, codec,
    consent::{Place, SecretBytes},
    roster::PublicKeys,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    consent::{ListFormat, print_lines},
    domain::Authority,
    failure::Failure,
    key_options::KeyOptions,
    output::table,
    patients::day,
    places::AuthorityDir,
};

/// Kind of an auditor's key file.
const AUDITOR_KIND: &str = "auditor";

/// An auditor's key file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AuditorKeys {
    domain: String,
    authority: PublicKeys,
    seed: SecretBytes,
}

#[derive(Args)]
#[command(after_help = "Examples:
  sealdex audit --key auditor.key --domain domain.json
  sealdex audit --key domain/authority.key --domain domain/domain.json --from 1000 --format json
  sealdex audit --key auditor.key --domain domain.json --format fhir > events.ndjson

Exit code 3: the log is not in order.")]
pub(crate) struct AuditOptions {
    /// The auditor's key file, of `sealdex domain auditor keygen`; or the authority's.
    #[arg(long)]
    key: PathBuf,
    /// Domain pack.
    #[arg(long)]
    domain: PathBuf,
    /// First entry of the log to print; all are checked.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Output; fhir is AuditEvent, one a line.
    #[arg(long, value_enum, default_value_t)]
    format: ListFormat,
    /// Folder of a copy of the log: read on from there, and notice when the log takes something back.
    #[arg(long)]
    log_dir: Option<PathBuf>,
    /// Certificates to trust the cloud by, PEM.
    #[arg(long)]
    ca: Option<PathBuf>,
    #[command(flatten)]
    keys: KeyOptions,
}

#[derive(Subcommand)]
pub(crate) enum AuditorCommand {
    /// Make an auditor's key; prints the public key that the authority adds to the domain.
    #[command(after_help = "Example:
  sealdex domain auditor keygen --domain domain.json --out auditor.key
  sealdex domain auditor add --dir domain KEY")]
    Keygen {
        /// Pack of the domain it is for: its authority is believed from then on.
        #[arg(long)]
        domain: PathBuf,
        /// File to make.
        #[arg(long)]
        out: PathBuf,
        #[command(flatten)]
        keys: KeyOptions,
    },
    /// Let an auditor read every act from now on. What was done before it cannot read.
    Add {
        /// The auditor's public key.
        key: String,
        #[command(flatten)]
        at: AtAuthority,
    },
    /// Let an auditor read no act from now on. What it could read it still can.
    Remove {
        /// The auditor's public key.
        key: String,
        #[command(flatten)]
        at: AtAuthority,
    },
}

#[derive(Args)]
pub(crate) struct AtAuthority {
    /// The authority's folder.
    #[arg(long)]
    dir: PathBuf,
    /// Certificates to trust gate and cloud by, PEM.
    #[arg(long)]
    ca: Option<PathBuf>,
    #[command(flatten)]
    keys: KeyOptions,
}

fn public_text(keys: &PublicKeys) -> String {
    format!("{}{}", hex::encode(keys.enc.0), hex::encode(keys.sign.0))
}

fn parse_public(text: &str) -> Result<PublicKeys, Failure> {
    let wrong = || {
        Failure::new(format!("\"{text}\" is no auditor's key: `sealdex domain auditor keygen` prints 130 hex digits"))
    };
    let bytes = hex::decode(text.trim()).map_err(|_| wrong())?;
    let (enc, sign) = bytes.split_first_chunk::<33>().ok_or_else(wrong)?;
    let keys = PublicKeys { enc: RawPoint(*enc), sign: B32(sign.try_into().map_err(|_| wrong())?) };
    keys.identity().map_err(|_| wrong())?;
    Ok(keys)
}

/// `sealdex domain auditor`.
pub(crate) async fn auditor(command: AuditorCommand) -> Result<(), Failure> {
    let (key, at, reads) = match command {
        AuditorCommand::Keygen { domain, out, keys } => return keygen(&domain, &out, &keys),
        AuditorCommand::Add { key, at } => (key, at, true),
        AuditorCommand::Remove { key, at } => (key, at, false),
    };
    let key = parse_public(&key)?;
    let mut authority = Authority::open(AuthorityDir(at.dir), &at.keys, at.ca.as_deref())?;
    if !authority.ceremony.set_auditor(key, reads)? {
        println!("{}", if reads { "It is an auditor already." } else { "It is no auditor of this domain." });
        return Ok(());
    }
    authority.announce(Vec::new()).await?;
    println!("{}", if reads { "It reads every act from now on." } else { "It reads no act from now on." });
    Ok(())
}

fn keygen(domain: &Path, out: &Path, keys: &KeyOptions) -> Result<(), Failure> {
    use rand::Rng as _;
    let pack = DomainPack::read(domain)?;
    let roster = pack.roster.peek()?;
    pack.verify(&roster.domain, &roster.authority)?;
    let mut seed = SecretBytes([0; 32]);
    rand::rng().fill_bytes(&mut seed.0);
    let public = PublicKeys::from(&Identity::from_seed(&IdentitySeed::from_bytes(&seed.0)).public());
    let secrets = AuditorKeys { domain: roster.domain, authority: roster.authority, seed };
    write_secrets(out, AUDITOR_KIND, &secrets, keys.to_write()?.as_ref())?;
    println!("{}", public_text(&public));
    eprintln!("The key is in {}; the line above is what the authority adds.", out.display());
    Ok(())
}

/// An auditor, or the authority; and the domain it is of.
fn identity(path: &Path, keys: &KeyOptions) -> Result<(Identity, String, PublicKeys), Failure> {
    let unlock = keys.to_read(path)?;
    let of = |seed: &SecretBytes| Identity::from_seed(&IdentitySeed::from_bytes(&seed.0));
    match sealdex_keyfile::read(path, AUDITOR_KIND, unlock.as_ref()) {
        Ok(json) => {
            let AuditorKeys { domain, authority, seed } = codec::from_json(&json)?;
            Ok((of(&seed), domain, authority))
        }
        Err(error) => {
            let Ok(json) = sealdex_keyfile::read(path, AUTHORITY_KIND, unlock.as_ref()) else {
                return Err(error.into());
            };
            let authority: AuthorityKeys = codec::from_json(&json)?;
            let own = of(&authority.seed);
            let keys = PublicKeys::from(&own.public());
            Ok((own, authority.domain, keys))
        }
    }
}

/// `sealdex audit`; whether the log is in order.
pub(crate) async fn run(o: AuditOptions) -> Result<bool, Failure> {
    let (auditor, domain, authority) = identity(&o.key, &o.keys)?;
    let trusted = DomainPack::read(&o.domain)?.verify(&domain, &authority)?;
    let http = Http::new(o.ca.as_deref())?;
    let entries = ActsLog::open(&http, &trusted.roster, o.log_dir.as_deref())?.advance().await?;
    let (all, alarms) = audit(&entries, &trusted.roster.domain, &auditor);
    let shown: Vec<&Audited> = all.iter().filter(|a| a.seq >= o.from).collect();
    let unread = shown.iter().filter(|a| a.row.is_none()).count();
    match o.format {
        ListFormat::Fhir => print_lines(shown.iter().flat_map(|a| events(a, &trusted)))?,
        ListFormat::Json => print_lines(shown.iter().map(|a| document(a)))?,
        ListFormat::Table => print(&shown, &trusted),
    }
    for alarm in &alarms {
        eprintln!("ALARM: {alarm}");
    }
    if unread > 0 {
        eprintln!("note: {unread} entries are not sealed for this key: it was no auditor when they were made");
    }
    Ok(alarms.is_empty())
}

fn document(a: &Audited) -> serde_json::Value {
    let entry = &a.act.entry;
    let documents: Vec<String> = entry.documents.iter().map(|d| hex::encode(d.hash.0)).collect();
    json!({ "entry": a.seq, "gate": entry.gate, "number": entry.number, "at": entry.at, "part": entry.part,
        "parts": entry.parts, "documents": documents, "act": a.row })
}

fn events(a: &Audited, trusted: &Trusted) -> Vec<serde_json::Value> {
    let (Some(row), roster) = (&a.row, &trusted.roster) else { return Vec::new() };
    let node = roster.gates.iter().find(|g| g.id == a.act.entry.gate).and_then(|g| g.node);
    let event = |(n, logged): (u32, &sealdex_wire::acts::LogRow)| {
        let access = logged.access.clone().access(Place { act: row.act, part: logged.part.unwrap_or(n) });
        let mut event =
            fhir::write_for_auditor(&sealdex_wire::consent::Access { node, ..access }, logged.owner, roster);
        event["id"] = format!("log-{}-{n}", a.seq).into();
        event
    };
    (0..).zip(&row.rows).map(event).collect()
}

fn print(all: &[&Audited], trusted: &Trusted) {
    let mut t = table(&["entry", "when", "who", "what", "owners", "count", "purpose"]);
    for a in all {
        let entry = &a.act.entry;
        let part = if entry.parts > 1 { format!(" ({}/{})", entry.part, entry.parts) } else { String::new() };
        let (seq, when) = (format!("{}{part}", a.seq), day(entry.at / 1000));
        match &a.row {
            None => t.add_row([seq, when, "?".into(), "sealed for others".into(), String::new(), String::new()]),
            Some(row) => {
                let act = &row.entry;
                let what = format!("{:?}", act.kind).to_lowercase();
                let purpose = act.purpose.clone().unwrap_or_default();
                let who = name_of(&trusted.roster, act.caller);
                t.add_row([seq, when, who, what, act.owners.to_string(), act.count.to_string(), purpose])
            }
        };
    }
    println!("{t}\n{} entries", all.len());
}
