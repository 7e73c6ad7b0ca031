//! Consent at the command line: granting, revoking, listing.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};
use sealdex_client::{GrantLimits, GrantRequest, Owner, Patient, group, owner};
use sealdex_crypto::PublicIdentity;
use sealdex_member::{DomainPack, GateLink, Trusted};
use sealdex_net::{clock::now_s, peer::Http};
use sealdex_provider::Manifest;
use sealdex_wire::{care::Emergency, consent::GroupKey, roster::PublicKeys};

use crate::{
    failure::Failure,
    key_options::KeyOptions,
    output::table,
    owners::{open_wallet, save_wallet},
    patients::day,
    places::Member,
    policies::Newcomers,
};

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
    /// All sections that the owners have records in; of sensitive ones, those of the labels named.
    #[arg(long)]
    all_sections: bool,
    /// Sensitivity label; repeat for several. The sections named are meant with it, beside what bears none.
    #[arg(long = "label")]
    labels: Vec<String>,
    /// Certificates to trust the gate by, PEM.
    #[arg(long)]
    ca: Option<PathBuf>,
    #[command(flatten)]
    keys: KeyOptions,
}

#[derive(Args)]
#[command(after_help = "Examples:
  sealdex grant --wallet w.key --domain domain.json --owner Patient/1 --all-sections --to ana
  sealdex grant --wallet w.key --domain domain.json --owner Patient/1 --section observations \\
      --to ward-3@dr-house --newcomers later --pushed-by north --purpose treatment --purpose research --days 90
  sealdex grant --wallet w.key --domain domain.json --owner Patient/1 --all-sections --purpose any \\
      --to er@north --waker er@north --minutes 240        dormant: two of the group must wake it")]
pub(crate) struct GrantOptions {
    #[command(flatten)]
    who: WhoOptions,
    /// Who may read: a member's name, or group@manager.
    #[arg(long)]
    to: String,
    /// Purpose of use the grant is for; "any" for all. Repeat for several.
    #[arg(long = "purpose", default_values_t = [String::from("treatment")])]
    purposes: Vec<String>,
    /// Days it holds.
    #[arg(long, default_value_t = 365)]
    days: u64,
    /// Only what this provider pushed, or anyone below it; repeat for several.
    #[arg(long = "pushed-by")]
    pushed_by: Vec<String>,
    /// Which members of a group it means.
    #[arg(long, value_enum, default_value_t)]
    newcomers: Newcomers,
    /// Leave out what was written in earlier epochs.
    #[arg(long)]
    not_earlier: bool,
    /// Make it for emergencies: two of these people must wake it. A member, or group@manager; repeat for several.
    #[arg(long = "waker")]
    wakers: Vec<String>,
    /// Longest an emergency lasts, minutes.
    #[arg(long, default_value_t = 60, requires = "wakers")]
    minutes: u32,
}

#[derive(Args)]
pub(crate) struct RevokeOptions {
    #[command(flatten)]
    who: WhoOptions,
    /// Who may read no longer: a member's name, or group@manager.
    #[arg(long)]
    from: String,
    /// Only what was granted for this purpose; repeat for several.
    #[arg(long = "purpose")]
    purposes: Vec<String>,
    /// Do not begin a new epoch of the sections. Then whoever was revoked could still open what is written later,
    /// together with a gate that secretly kept its scalar.
    #[arg(long)]
    keep_epoch: bool,
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
    pub(crate) ca: Option<PathBuf>,
    /// Output; fhir is Consent for grants and AuditEvent for accesses, one a line.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: ListFormat,
    #[command(flatten)]
    keys: KeyOptions,
}

/// Someone who is spoken for.
struct Speaker {
    owner: Owner,
    /// Newest epochs; 0 where none is noted.
    epochs: std::collections::BTreeMap<String, u32>,
    /// First epochs, of sections of which earlier ones were erased.
    first: std::collections::BTreeMap<String, u32>,
}

/// Who is spoken for, and where.
struct Consent {
    trusted: Trusted,
    http: Http,
    owners: Vec<Speaker>,
    /// Their labels, when they are of a wallet.
    labels: Vec<String>,
    sections: Vec<String>,
}

impl Consent {
    async fn open(o: &WhoOptions) -> Result<Self, Failure> {
        let (trusted, owners, known) = match (&o.provider, &o.wallet, &o.domain) {
            (Some(dir), _, _) => Self::of_provider(dir, o).await?,
            (None, Some(wallet), Some(domain)) => Self::of_wallet(wallet, domain, o)?,
            _ => return Err(Failure::new("name --wallet and --domain, or --provider")),
        };
        let mut sections = if o.all_sections { known.clone() } else { o.sections.clone() };
        let is_known = |s: &String| known.contains(s) || (s.contains('/') && trusted.schema.section(s).is_some());
        if let Some(unknown) = sections.iter().find(|s| !is_known(s)) {
            return Err(Failure::new(format!("no section \"{unknown}\"; there are: {}", known.join(", "))));
        }
        if let Some(unknown) = o.labels.iter().find(|l| trusted.schema.labels().iter().all(|k| k.name != **l)) {
            let names: Vec<&str> = trusted.schema.labels().iter().map(|l| l.name.as_str()).collect();
            return Err(Failure::new(format!("no label \"{unknown}\"; there are: {}", names.join(", "))));
        }
        let labelled = |s: &String| o.labels.iter().map(|l| format!("{s}/{l}")).collect::<Vec<_>>();
        let sensitive: Vec<String> = sections.iter().filter(|s| !s.contains('/')).flat_map(labelled).collect();
        sections.extend(sensitive);
        let labels = match (&o.wallet, o.all_owners) {
            (Some(wallet), true) => open_wallet(wallet, &o.keys)?.owners.into_keys().collect(),
            _ => o.owners.clone(),
        };
        Ok(Self { trusted, http: Http::new(o.ca.as_deref())?, owners, labels, sections })
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
            let first = entry.erased.keys().map(|s| (s.clone(), entry.first_epoch(s))).collect();
            Ok::<_, Failure>(Speaker { owner: entry.owner(), epochs: entry.sections.clone(), first })
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
        Ok((trusted, vec![Speaker { owner, epochs: Default::default(), first: Default::default() }], known))
    }

    /// Takes over whoever joined since the domain pack was written.
    async fn newest_members(&mut self) {
        let Some(gate) = self.owners.first().and_then(|s| self.gate(&s.owner).ok()) else { return };
        let newest = gate.get_json::<sealdex_wire::family::MemberList>("/v1/members").await;
        let merged = newest.map_err(Failure::from).and_then(|list| Ok(self.trusted.merge(&list)?));
        if let Err(error) = merged {
            tracing::warn!(%error, "going on with the domain pack's own roster");
        }
    }

    /// The gate, called by an owner in its own name.
    fn gate(&self, owner: &Owner) -> Result<GateLink, Failure> {
        gate_for(owner, &self.trusted, &self.http)
    }
}

fn gate_for(owner: &Owner, trusted: &Trusted, http: &Http) -> Result<GateLink, Failure> {
    Ok(GateLink::new(http, &trusted.roster, owner.identity(), true)?)
}

/// A member or group by name: its keys, and a group's key of now.
async fn reader(consent: &Consent, name: &str) -> Result<(PublicIdentity, Option<GroupKey>), Failure> {
    let keys = |keys: &PublicKeys| keys.identity().map_err(|e| Failure::new(e.to_string()));
    if name.contains('@') {
        let owner = consent.owners.first().ok_or_else(|| Failure::new("no owner is named"))?;
        let gate = consent.gate(&owner.owner)?;
        let group = group::named(&gate, &consent.trusted, name).await?;
        return Ok((keys(&group.charter.group)?, Some(group.key())));
    }
    let member = consent.trusted.roster.named(name).ok_or_else(|| {
        Failure::new(format!(
            "the roster has no member named \"{name}\"; if it is new, get the newest domain.json from the authority"
        ))
    })?;
    Ok((keys(&member.keys)?, None))
}

impl GrantOptions {
    async fn limits(&self, consent: &Consent, group_key: Option<GroupKey>) -> Result<GrantLimits, Failure> {
        let unknown = |name: &String| Failure::new(format!("the roster has no provider named \"{name}\""));
        let id = |name: &String| consent.trusted.roster.named(name).map(|m| m.id).ok_or_else(|| unknown(name));
        let mut wakers = Vec::new();
        for name in &self.wakers {
            wakers.push(reader(consent, name).await?.0.id());
        }
        Ok(GrantLimits {
            group_key,
            newcomers: sealdex_client::NewcomersRule::from(self.newcomers).now(),
            providers: self.pushed_by.iter().map(id).collect::<Result<_, _>>()?,
            emergency: (!wakers.is_empty()).then_some(Emergency { wakers, minutes: self.minutes }),
        })
    }
}

pub(crate) async fn grant(o: GrantOptions) -> Result<(), Failure> {
    let mut consent = Consent::open(&o.who).await?;
    consent.newest_members().await;
    let (keys, group_key) = reader(&consent, &o.to).await?;
    let limits = o.limits(&consent, group_key).await?;
    let now = now_s();
    let mut count = 0;
    for Speaker { owner, epochs, first } in &consent.owners {
        let mut requests = Vec::new();
        for section in &consent.sections {
            // Most owners have nothing that bears a label.
            if (section.contains('/') || first.contains_key(section)) && !epochs.contains_key(section) {
                continue;
            }
            let first = first.get(section).copied().unwrap_or(0);
            let newest = epochs.get(section).copied().unwrap_or(0);
            for epoch in if o.not_earlier { newest } else { first }..=newest {
                requests.extend(o.purposes.iter().map(|purpose| {
                    let request = GrantRequest {
                        domain: &consent.trusted.roster.domain,
                        reader: keys,
                        section,
                        epoch,
                        purpose,
                        not_before: now.saturating_sub(60),
                        not_after: now + o.days * 86_400,
                        limits: limits.clone(),
                    };
                    (owner, request)
                }));
            }
        }
        count += owner::grant_all(&consent.gate(owner)?, &requests).await?;
    }
    let how = if o.wakers.is_empty() { "may read" } else { "may read, once two people have woken it," };
    println!(
        "{} {how} {} sections of {} owners for {}, {} days ({count} grants).",
        o.to,
        consent.sections.len(),
        consent.owners.len(),
        o.purposes.join(", "),
        o.days
    );
    Ok(())
}

pub(crate) async fn revoke(o: RevokeOptions) -> Result<(), Failure> {
    let mut consent = Consent::open(&o.who).await?;
    consent.newest_members().await;
    let id = reader(&consent, &o.from).await?.0.id();
    let all = o.who.all_sections.then_some(None);
    let sections: Vec<Option<&str>> =
        all.map_or_else(|| consent.sections.iter().map(|s| Some(s.as_str())).collect(), |all| vec![all]);
    let purposes: Vec<Option<&str>> = match o.purposes.is_empty() {
        true => vec![None],
        false => o.purposes.iter().map(|p| Some(p.as_str())).collect(),
    };
    let wanted: Vec<(Option<&str>, Option<&str>)> =
        sections.iter().flat_map(|s| purposes.iter().map(|p| (*s, *p))).collect();
    let owners = consent.owners.len();
    let (mut count, mut advanced) = (0, 0);
    match (&o.who.wallet, o.keep_epoch) {
        (Some(path), false) => {
            let mut wallet = open_wallet(path, &o.who.keys)?;
            let bar = indicatif::ProgressBar::new(consent.labels.len() as u64);
            for label in &consent.labels {
                let Some(entry) = wallet.owners.get(label).cloned() else { continue };
                let mut patient = Patient::new(label, entry, consent.trusted.clone(), &consent.http)?;
                let revocations = wanted.iter().map(|(s, p)| patient.revocation(id, *s, *p)).collect();
                // Only what the reader could read begins a new epoch.
                let held = patient.sections_of(id).await?;
                let named = consent.sections.iter().cloned().collect();
                let concerned = match o.who.all_sections {
                    true => held,
                    false => held.intersection(&named).cloned().collect(),
                };
                let done = patient.advance(&concerned, revocations).await;
                wallet.owners.insert(label.clone(), patient.entry().clone());
                count += done.as_ref().map_or(0, |d| d.ended);
                advanced += done.as_ref().map_or(0, |d| d.sections);
                bar.inc(1);
                if let Err(e) = done {
                    save_wallet(path, &wallet, &o.who.keys)?;
                    return Err(Failure::new(format!("{label}: {e}; whoever comes before it is done")));
                }
            }
            bar.finish_and_clear();
            save_wallet(path, &wallet, &o.who.keys)?;
        }
        _ => {
            for Speaker { owner, .. } in &consent.owners {
                let domain = &consent.trusted.roster.domain;
                let revocations = wanted.iter().map(|(s, p)| owner.revocation_for(domain, id, *s, *p)).collect();
                let gate = consent.gate(owner)?;
                count += owner::revoke_all(&gate, revocations).await? as usize;
            }
        }
    }
    println!(
        "Revoked: {} can no longer read {} sections of {owners} owners ({count} grants ended, {advanced} epochs begun).",
        o.from,
        consent.sections.len(),
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

pub(crate) fn patient_of(o: &ListOptions) -> Result<Patient, Failure> {
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

/// One JSON document a line.
pub(crate) fn print_lines(all: impl Iterator<Item = serde_json::Value>) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    for json in all {
        writeln!(out, "{json}")?;
    }
    Ok(())
}
