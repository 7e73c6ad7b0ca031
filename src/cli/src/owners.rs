//! Owners: wallets and the enrolment of patients.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use sealdex_client::{OwnerEntry, WALLET_KIND, Wallet, owner};
use sealdex_fhir::{Input, Mapping, Record, Source, SourceItem};
use sealdex_member::{
    DomainPack, Trusted,
    keys::{read_secrets, replace_secrets},
};
use sealdex_provider::{Manifest, OwnerMap};
use sealdex_schema::{Owner as RecordOwner, Schema};

use crate::{failure::Failure, key_options::KeyOptions, output::table, places::Member, push::inputs};

#[derive(Subcommand)]
pub(crate) enum OwnersCommand {
    /// Enrol every patient found in a provider's sources: keys in a wallet, profiles at the gate, this
    /// provider as writer. The hospital acts as custodian of the wallet until it hands the keys out.
    Enrol {
        /// The provider's folder.
        #[arg(long)]
        provider: PathBuf,
        /// Wallet file; made when there is none.
        #[arg(long)]
        wallet: PathBuf,
        /// CSV mapping: a file, or diabetes130.
        #[arg(long)]
        mapping: Option<PathBuf>,
        /// Certificates to trust gate and cloud by, PEM.
        #[arg(long)]
        ca: Option<PathBuf>,
        /// Manifest of Bulk Data files, with the files beside it.
        #[arg(long)]
        manifest: Option<PathBuf>,
        /// Publish every profile again, changed or not: to a gate that was restored from a backup.
        #[arg(long)]
        again: bool,
        /// Files and folders; else the manifest's sources.
        paths: Vec<PathBuf>,
        #[command(flatten)]
        keys: KeyOptions,
    },
    /// List the owners of a wallet.
    Show {
        /// Wallet file.
        #[arg(long)]
        wallet: PathBuf,
        #[command(flatten)]
        keys: KeyOptions,
    },
}

#[derive(Args)]
pub(crate) struct KeygenOptions {
    /// New wallet file.
    #[arg(long)]
    out: PathBuf,
    /// Domain pack of the domain the owners belong to; its authority is trusted from now on.
    #[arg(long)]
    domain: PathBuf,
    /// Labels of the owners to make.
    #[arg(required = true)]
    labels: Vec<String>,
    #[command(flatten)]
    keys: KeyOptions,
}

pub(crate) fn open_wallet(path: &Path, keys: &KeyOptions) -> Result<Wallet, Failure> {
    Ok(read_secrets(path, WALLET_KIND, keys.to_read(path)?.as_ref())?)
}

pub(crate) fn save_wallet(path: &Path, wallet: &Wallet, keys: &KeyOptions) -> Result<(), Failure> {
    let passphrase = if path.exists() { keys.to_read(path)? } else { keys.to_write()? };
    Ok(replace_secrets(path, WALLET_KIND, wallet, passphrase.as_ref())?)
}

/// Patients, each with the sections of labelled records (`section/label`) it has or is to have.
pub(crate) type Sensitive = BTreeMap<String, BTreeSet<String>>;

/// The patient whose record this is, and the section of its label if it has one.
pub(crate) fn patient_of(r: &Record, schema: &Schema) -> Option<(String, Option<String>)> {
    match schema.owner(&r.resource_type, &r.id, &r.json).ok()? {
        RecordOwner::Patient(p) => {
            let labelled = schema.label_of(&r.json).map(|_| schema.sealed_to(&r.resource_type, &r.json));
            Some((p, labelled))
        }
        RecordOwner::Provider => None,
    }
}

/// Patients named in sources, as the schema sees ownership.
pub(crate) fn patients_in(
    inputs: &[Input],
    mapping: Option<&Mapping>,
    trusted: &Trusted,
) -> Result<Sensitive, Failure> {
    use rayon::prelude::*;
    let mut patients = Sensitive::new();
    for input in inputs {
        let mut source = Source::of(input, mapping)?.filter_map(|item| match item {
            SourceItem::Record(raw) => Some(raw),
            _ => None, // push reports what is no record
        });
        loop {
            let chunk: Vec<_> = source.by_ref().take(8192).collect();
            if chunk.is_empty() {
                break;
            }
            let found = chunk.into_par_iter().filter_map(|raw| patient_of(&Record::parse(raw).ok()?, &trusted.schema));
            for (patient, labelled) in found.collect::<BTreeSet<_>>() {
                patients.entry(patient).or_default().extend(labelled);
            }
        }
    }
    Ok(patients)
}

/// Gives each patient an entry in the wallet with this provider as writer; publishes what changed (`again`: all) and
/// writes the provider's owner map. Returns how many profiles were published.
pub(crate) async fn enrol_patients(
    wallet: &mut Wallet,
    patients: &Sensitive,
    provider: &Member,
    owner_map: &Path,
    again: bool,
) -> Result<u64, Failure> {
    use rayon::prelude::*;
    let sections: Vec<String> = provider.trusted.schema.patient_sections().map(|s| s.name.clone()).collect();
    let writer = provider.keys.identity.id();
    let domain = provider.trusted.roster.domain.clone();
    let mut map = if owner_map.exists() { OwnerMap::read(owner_map)? } else { OwnerMap::default() };
    for patient in patients.keys() {
        wallet.owners.entry(patient.clone()).or_insert_with(OwnerEntry::random);
    }
    let mut entries: Vec<(&String, &mut OwnerEntry)> =
        wallet.owners.iter_mut().filter(|(p, _)| patients.contains_key(*p)).collect();
    let done: Vec<_> = entries
        .par_iter_mut()
        .map(|(patient, entry)| {
            let changed =
                entry.admit(writer, &sections.iter().chain(&patients[*patient]).cloned().collect::<Vec<_>>()) || again;
            ((*patient).clone(), entry.owner().id(), changed.then(|| entry.next_profile(&domain)))
        })
        .collect();
    let mut profiles = Vec::new();
    for (patient, id, profile) in done {
        map.insert(patient, id);
        profiles.extend(profile);
    }
    let count = owner::publish(&provider.gate, profiles).await?;
    map.write(owner_map)?;
    Ok(count)
}

pub(crate) async fn run(command: OwnersCommand) -> Result<(), Failure> {
    match command {
        OwnersCommand::Enrol { provider, wallet, mapping, ca, manifest: bulk, again, paths, keys } => {
            let manifest = Manifest::read(&provider)?;
            let member = Member::open(&manifest.key, &manifest.domain, &keys, ca.as_deref()).await?;
            let (inputs, _) = inputs(paths, bulk.as_deref(), &manifest)?;
            if inputs.is_empty() {
                return Err(Failure::new("no sources: name files or folders, or list them in provider.toml"));
            }
            let mapping = mapping.or(manifest.mapping.clone()).map(|m| Mapping::read(&m)).transpose()?;
            let patients = patients_in(&inputs, mapping.as_ref(), &member.trusted)?;
            let secrets = &member.keys.secrets;
            let mut held = if wallet.exists() {
                open_wallet(&wallet, &keys)?
            } else {
                Wallet::new(&secrets.domain, secrets.authority)
            };
            // New keys are kept before anything is sealed to them.
            for patient in patients.keys() {
                held.owners.entry(patient.clone()).or_insert_with(OwnerEntry::random);
            }
            save_wallet(&wallet, &held, &keys)?;
            let count = enrol_patients(&mut held, &patients, &member, &manifest.owners, again).await?;
            save_wallet(&wallet, &held, &keys)?;
            println!(
                "{} patients in the sources; {count} profiles published. Keys are in {}.",
                patients.len(),
                wallet.display()
            );
            Ok(())
        }
        OwnersCommand::Show { wallet, keys } => {
            let held = open_wallet(&wallet, &keys)?;
            let mut t = table(&["owner", "principal", "profile", "writers"]);
            for (label, entry) in &held.owners {
                let (version, writers) = (entry.version.to_string(), entry.writers.len().to_string());
                t.add_row([label.clone(), entry.owner().id().to_string(), version, writers]);
            }
            println!("{t}");
            Ok(())
        }
    }
}

pub(crate) fn keygen(o: KeygenOptions) -> Result<(), Failure> {
    if o.out.exists() {
        return Err(Failure::new(format!("{} exists already; keys are never overwritten", o.out.display())));
    }
    let pack = DomainPack::read(&o.domain)?;
    let roster = pack.roster.peek().map_err(|e| Failure::new(format!("the domain pack holds no roster: {e}")))?;
    pack.verify(&roster.domain, &roster.authority)?;
    let mut wallet = Wallet::new(&roster.domain, roster.authority);
    for label in &o.labels {
        wallet.owners.insert(label.clone(), OwnerEntry::random());
    }
    save_wallet(&o.out, &wallet, &o.keys)?;
    let mut t = table(&["owner", "principal"]);
    for (label, entry) in &wallet.owners {
        t.add_row([label.clone(), entry.owner().id().to_string()]);
    }
    println!(
        "{t}\nThe authority of {} is trusted by its key {:?}: compare it with what the authority tells you.",
        roster.domain, roster.authority.sign
    );
    Ok(())
}
