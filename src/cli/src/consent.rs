//! Consent at the command line: granting, revoking, listing, and who read what.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};
use sealdex_client::{GrantRequest, Owner, Patient, owner};
use sealdex_member::{DomainPack, Trusted};
use sealdex_net::{Peer, clock::now_s, peer::Http};
use sealdex_provider::Manifest;
use sealdex_wire::{consent::AccessKind, roster::PublicKeys};

use crate::{failure::Failure, key_options::KeyOptions, output::table, owners::open_wallet, places::Member};

#[derive(Args)]
pub(crate) struct WhoOptions {
    /// Wallet with the owners' keys.
    #[arg(long, required_unless_present = "provider", requires = "domain")]
    wallet: Option<PathBuf>,
    /// Domain pack.
    #[arg(long, required_unless_present = "provider")]
    domain: Option<PathBuf>,
    /// A provider's folder instead of a wallet: for records of its own, which name no patient.
    #[arg(long, conflicts_with_all = ["wallet", "domain", "owners", "all_owners"])]
    provider: Option<PathBuf>,
    /// Owner, by label; repeat for several.
    #[arg(long = "owner", required_unless_present_any = ["all_owners", "provider"])]
    owners: Vec<String>,
    /// All owners of the wallet.
    #[arg(long)]
    all_owners: bool,
    /// Section; repeat for several.
    #[arg(long = "section", required_unless_present = "all_sections")]
    sections: Vec<String>,
    /// All sections that the owners have records in.
    #[arg(long)]
    all_sections: bool,
    /// Certificates to trust the gate by, PEM.
    #[arg(long)]
    ca: Option<PathBuf>,
    #[command(flatten)]
    keys: KeyOptions,
}

#[derive(Args)]
pub(crate) struct GrantOptions {
    #[command(flatten)]
    who: WhoOptions,
    /// Member who may read, by name.
    #[arg(long)]
    to: String,
    /// Purpose of use the grant is for; "any" for all.
    #[arg(long, default_value = "treatment")]
    purpose: String,
    /// Days it holds.
    #[arg(long, default_value_t = 365)]
    days: u64,
}

#[derive(Args)]
pub(crate) struct RevokeOptions {
    #[command(flatten)]
    who: WhoOptions,
    /// Member who may read no longer, by name.
    #[arg(long)]
    from: String,
}

/// How lists are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ListFormat {
    /// For people.
    #[default]
    Table,
    /// One JSON document a line.
    Json,
    /// One FHIR resource a line.
    Fhir,
}

#[derive(Args)]
pub(crate) struct ListOptions {
    /// Wallet with the owner's keys.
    #[arg(long)]
    wallet: PathBuf,
    /// Domain pack.
    #[arg(long)]
    domain: PathBuf,
    /// Owner, by label.
    #[arg(long)]
    owner: String,
    /// Certificates to trust the gate by, PEM.
    #[arg(long)]
    ca: Option<PathBuf>,
    /// Output; fhir is Consent for grants and AuditEvent for accesses, one a line.
    #[arg(long, value_enum, default_value_t)]
    format: ListFormat,
    #[command(flatten)]
    keys: KeyOptions,
}

/// Someone who is spoken for.
struct Speaker {
    owner: Owner,
    /// Newest epochs; 0 where none is noted.
    epochs: std::collections::BTreeMap<String, u32>,
}

/// Who is spoken for, and where.
struct Consent {
    trusted: Trusted,
    http: Http,
    owners: Vec<Speaker>,
    sections: Vec<String>,
}

impl Consent {
    async fn open(o: &WhoOptions) -> Result<Self, Failure> {
        let (trusted, owners, known) = match (&o.provider, &o.wallet, &o.domain) {
            (Some(dir), _, _) => Self::of_provider(dir, o).await?,
            (None, Some(wallet), Some(domain)) => Self::of_wallet(wallet, domain, o)?,
            _ => return Err(Failure::new("name --wallet and --domain, or --provider")),
        };
        let sections = if o.all_sections { known.clone() } else { o.sections.clone() };
        if let Some(unknown) = sections.iter().find(|s| !known.contains(s)) {
            return Err(Failure::new(format!("no section \"{unknown}\"; there are: {}", known.join(", "))));
        }
        Ok(Self { trusted, http: Http::new(o.ca.as_deref())?, owners, sections })
    }

    fn of_wallet(
        wallet: &Path,
        domain: &Path,
        o: &WhoOptions,
    ) -> Result<(Trusted, Vec<Speaker>, Vec<String>), Failure> {
        let wallet = open_wallet(wallet, &o.keys)?;
        let trusted = DomainPack::read(domain)?.verify(&wallet.domain, &wallet.authority)?;
        let labels = if o.all_owners { wallet.owners.keys().cloned().collect() } else { o.owners.clone() };
        let speaker = |label: &String| {
            let entry = wallet.owners.get(label).ok_or_else(|| {
                Failure::new(format!("the wallet has no owner \"{label}\": see `sealdex owners show`"))
            })?;
            Ok::<_, Failure>(Speaker { owner: entry.owner(), epochs: entry.sections.clone() })
        };
        let owners = labels.iter().map(speaker).collect::<Result<_, _>>()?;
        let known = trusted.schema.patient_sections().map(|s| s.name.clone()).collect();
        Ok((trusted, owners, known))
    }

    async fn of_provider(dir: &Path, o: &WhoOptions) -> Result<(Trusted, Vec<Speaker>, Vec<String>), Failure> {
        let manifest = Manifest::read(dir)?;
        // With the gate's newest roster: the reader may have been enrolled after the provider.
        let Member { keys, trusted, .. } =
            Member::open(&manifest.key, &manifest.domain, &o.keys, o.ca.as_deref()).await?;
        let owner = Owner::from_seed(&keys.secrets.seed);
        let known = trusted.schema.provider_sections().map(|s| s.name.clone()).collect();
        Ok((trusted, vec![Speaker { owner, epochs: Default::default() }], known))
    }

    /// The gate, called by an owner in its own name.
    fn gate(&self, owner: &Owner) -> Result<Peer, Failure> {
        gate_for(owner, &self.trusted, &self.http)
    }
}

fn gate_for(owner: &Owner, trusted: &Trusted, http: &Http) -> Result<Peer, Failure> {
    let gate = trusted.roster.gates.first().ok_or_else(|| Failure::new("the roster lists no gate"))?;
    let peer = Peer::new(http.clone(), &gate.url, &trusted.roster.domain, gate.id, Some(owner.identity()))?;
    Ok(peer.self_certified())
}

fn reader(trusted: &Trusted, name: &str) -> Result<PublicKeys, Failure> {
    let member = trusted.roster.named(name).ok_or_else(|| {
        Failure::new(format!(
            "the roster has no member named \"{name}\"; if it is new, get the newest domain.json from the authority"
        ))
    })?;
    Ok(member.keys)
}

pub(crate) async fn grant(o: GrantOptions) -> Result<(), Failure> {
    let consent = Consent::open(&o.who).await?;
    let keys = reader(&consent.trusted, &o.to)?.identity().map_err(|e| Failure::new(e.to_string()))?;
    let now = now_s();
    let mut count = 0;
    for Speaker { owner, epochs } in &consent.owners {
        let requests = consent.sections.iter().map(|section| {
            let request = GrantRequest {
                domain: &consent.trusted.roster.domain,
                reader: keys,
                section,
                epoch: epochs.get(section).copied().unwrap_or(0),
                purpose: &o.purpose,
                not_before: now.saturating_sub(60),
                not_after: now + o.days * 86_400,
                limits: Default::default(),
            };
            (owner, request)
        });
        count += owner::grant_all(&consent.gate(owner)?, &requests.collect::<Vec<_>>()).await?;
    }
    println!(
        "{} may read {} sections of {} owners for {}, {} days ({count} grants).",
        o.to,
        consent.sections.len(),
        consent.owners.len(),
        o.purpose,
        o.days
    );
    Ok(())
}

pub(crate) async fn revoke(o: RevokeOptions) -> Result<(), Failure> {
    let consent = Consent::open(&o.who).await?;
    let id = reader(&consent.trusted, &o.from)?.identity().map_err(|e| Failure::new(e.to_string()))?.id();
    let mut count = 0;
    for Speaker { owner, .. } in &consent.owners {
        let domain = &consent.trusted.roster.domain;
        let revocations = if o.who.all_sections {
            vec![owner.revocation(domain, id, None)]
        } else {
            consent.sections.iter().map(|s| owner.revocation(domain, id, Some(s))).collect()
        };
        count += owner::revoke_all(&consent.gate(owner)?, revocations).await?;
    }
    println!(
        "Revoked: {} can no longer read {} sections of {} owners ({count} grants ended).",
        o.from,
        consent.sections.len(),
        consent.owners.len()
    );
    Ok(())
}

/// A patient of a wallet, connected to the gate.
pub(crate) fn patient(
    wallet: &Path,
    label: &str,
    trusted: &Trusted,
    http: &Http,
    keys: &KeyOptions,
) -> Result<Patient, Failure> {
    let mut wallet = open_wallet(wallet, keys)?;
    if wallet.domain != trusted.roster.domain || wallet.authority != trusted.roster.authority {
        return Err(Failure::new(format!(
            "the wallet is for the domain {}, not {}",
            wallet.domain, trusted.roster.domain
        )));
    }
    let unknown = || Failure::new(format!("the wallet has no owner \"{label}\": see `sealdex owners show`"));
    let entry = wallet.owners.remove(label).ok_or_else(unknown)?;
    Ok(Patient::new(label, entry, trusted.clone(), http)?)
}

fn patient_of(o: &ListOptions) -> Result<Patient, Failure> {
    let wallet = open_wallet(&o.wallet, &o.keys)?;
    let trusted = DomainPack::read(&o.domain)?.verify(&wallet.domain, &wallet.authority)?;
    patient(&o.wallet, &o.owner, &trusted, &Http::new(o.ca.as_deref())?, &o.keys)
}

pub(crate) async fn list(o: ListOptions) -> Result<(), Failure> {
    let patient = patient_of(&o)?;
    if o.format == ListFormat::Fhir {
        return print_lines(patient.consents().await?.iter().map(|s| patient.consent_json(s)));
    }
    let grants = patient.grants().await?;
    if o.format == ListFormat::Json {
        return print_lines(grants.iter().filter_map(|g| serde_json::to_value(g).ok()));
    }
    let mut t = table(&["reader", "section", "epoch", "purpose", "from", "until"]);
    for g in &grants {
        let id = g.reader.identity().map_err(|e| Failure::new(e.to_string()))?.id();
        let (name, from, until) = (patient.name_of(id), day(g.not_before), day(g.not_after));
        t.add_row([name, g.section.clone(), g.epoch.to_string(), g.purpose.clone(), from, until]);
    }
    println!("{t}\n{} grants", grants.len());
    Ok(())
}

/// `sealdex access-log`.
pub(crate) async fn access_log(o: ListOptions) -> Result<(), Failure> {
    let patient = patient_of(&o)?;
    let all = patient.accesses().await?;
    match o.format {
        ListFormat::Fhir => return print_lines(all.iter().map(|a| patient.audit_json(a))),
        ListFormat::Json => return print_lines(all.iter().filter_map(|a| serde_json::to_value(a).ok())),
        ListFormat::Table => {}
    }
    let mut t = table(&["when", "who", "what", "section", "records", "purpose"]);
    for a in &all {
        let reader = a.reader.map(|r| patient.name_of(r)).unwrap_or_default();
        let what = match a.kind {
            AccessKind::Search => "searched, and was given".into(),
            AccessKind::Push => "pushed".into(),
            AccessKind::Grant => format!("granted to {reader}"),
            AccessKind::Revocation => format!("revoked from {reader}"),
            AccessKind::Emergency if a.count == 1 => format!("asked for an emergency of {reader}"),
            AccessKind::Emergency if a.count == 2 => format!("WOKE the emergency grant to {reader}"),
            AccessKind::Emergency => format!("ended the emergency of {reader}"),
            AccessKind::Request => format!("asked, or had answered, access for {reader}"),
            AccessKind::Mandate if a.count == 0 => format!("ended the mandate of {reader}"),
            AccessKind::Mandate => format!("made {reader} a carer"),
        };
        let what = if a.emergency && a.kind == AccessKind::Search { format!("EMERGENCY: {what}") } else { what };
        let count = if a.reader.is_none() { a.count.to_string() } else { String::new() };
        let section = a.section.clone().unwrap_or_else(|| "all".into());
        t.add_row([
            day(a.at / 1000),
            patient.name_of(a.caller),
            what,
            section,
            count,
            a.purpose.clone().unwrap_or_default(),
        ]);
    }
    println!("{t}\n{} entries, as the gate has them", all.len());
    Ok(())
}

/// One JSON document a line.
fn print_lines(all: impl Iterator<Item = serde_json::Value>) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    for json in all {
        writeln!(out, "{json}")?;
    }
    Ok(())
}

/// A Unix time as people read it.
fn day(seconds: u64) -> String {
    let at = i64::try_from(seconds).ok().and_then(|s| time::OffsetDateTime::from_unix_timestamp(s).ok());
    at.map_or_else(|| seconds.to_string(), |t| format!("{} {:02}:{:02} UTC", t.date(), t.hour(), t.minute()))
}
