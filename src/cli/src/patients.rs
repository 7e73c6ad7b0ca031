//! Owners of a wallet, each connected to the gate; and what becomes of the wallet.

use std::path::{Path, PathBuf};

use clap::Args;
use sealdex_client::{Patient, Wallet};
use sealdex_member::{DomainPack, Trusted};
use sealdex_net::peer::Http;

use crate::{
    failure::Failure,
    key_options::KeyOptions,
    owners::{open_wallet, save_wallet},
};

#[derive(Args, Clone)]
pub(crate) struct WalletOptions {
    /// Wallet with the owners' keys.
    #[arg(long)]
    wallet: PathBuf,
    /// Domain pack.
    #[arg(long)]
    domain: PathBuf,
    /// Owner, by label; repeat for several.
    #[arg(long = "owner", required_unless_present = "all_owners")]
    owners: Vec<String>,
    /// All owners of the wallet.
    #[arg(long)]
    all_owners: bool,
    /// Certificates to trust the gate by, PEM.
    #[arg(long)]
    ca: Option<PathBuf>,
    #[command(flatten)]
    keys: KeyOptions,
}

impl WalletOptions {
    /// Of one owner.
    pub(crate) fn of_one(wallet: &Path, domain: &Path, owner: &str, ca: Option<&Path>, keys: &KeyOptions) -> Self {
        Self {
            wallet: wallet.into(),
            domain: domain.into(),
            owners: vec![owner.into()],
            all_owners: false,
            ca: ca.map(Into::into),
            keys: keys.clone(),
        }
    }
}

/// An open wallet and the domain it is for.
pub(crate) struct Patients {
    options: WalletOptions,
    wallet: Wallet,
    trusted: Trusted,
    http: Http,
    labels: Vec<String>,
}

impl Patients {
    pub(crate) async fn open(options: WalletOptions) -> Result<Self, Failure> {
        let wallet = open_wallet(&options.wallet, &options.keys)?;
        let trusted = DomainPack::read(&options.domain)?.verify(&wallet.domain, &wallet.authority)?;
        let labels = match options.all_owners {
            true => wallet.owners.keys().cloned().collect(),
            false => options.owners.clone(),
        };
        let http = Http::new(options.ca.as_deref())?;
        let mut all = Self { options, wallet, trusted, http, labels };
        // The newest members: who is named may be younger than the pack.
        if let Some(label) = all.labels.first().cloned() {
            let patient = all.patient(&label)?;
            match patient.members().await {
                Ok(list) => all.trusted.merge(&list)?,
                Err(error) => tracing::warn!(%error, "going on with the domain pack's own roster"),
            }
        }
        Ok(all)
    }

    pub(crate) fn labels(&self) -> Vec<String> {
        self.labels.clone()
    }

    pub(crate) fn patient(&self, label: &str) -> Result<Patient, Failure> {
        let unknown = || Failure::new(format!("the wallet has no owner \"{label}\": see `sealdex owners show`"));
        let entry = self.wallet.owners.get(label).ok_or_else(unknown)?.clone();
        Ok(Patient::new(label, entry, self.trusted.clone(), &self.http)?)
    }

    /// The one owner that a command is about.
    pub(crate) fn only(&self) -> Result<Patient, Failure> {
        match &self.labels[..] {
            [label] => self.patient(label),
            _ => Err(Failure::new("this command is about one owner: name it with --owner")),
        }
    }

    /// Keeps what became of an owner. Each is kept by itself: whatever stops the command leaves nothing behind that
    /// the gate has and the wallet does not.
    pub(crate) fn keep(&mut self, patient: &Patient) {
        self.wallet.owners.insert(patient.label().to_owned(), patient.entry().clone());
    }

    /// Does something with each owner in turn, and keeps what became of them, also of those before a failure.
    pub(crate) async fn each(
        &mut self,
        mut work: impl AsyncFnMut(&mut Patient) -> Result<(), Failure>,
    ) -> Result<usize, Failure> {
        let labels = self.labels();
        let bar = match labels.len() {
            0..20 => indicatif::ProgressBar::hidden(),
            many => indicatif::ProgressBar::new(many as u64),
        };
        for (n, label) in labels.iter().enumerate() {
            let mut patient = self.patient(label)?;
            let done = match patient.sync().await {
                Ok(()) => work(&mut patient).await,
                Err(e) => Err(e.into()),
            };
            self.keep(&patient);
            if let Err(e) = done {
                self.save()?;
                return Err(Failure::new(format!("{label}: {e}; the {n} owners before it are done")));
            }
            bar.inc(1);
        }
        bar.finish_and_clear();
        self.save()?;
        Ok(labels.len())
    }

    pub(crate) fn save(&self) -> Result<(), Failure> {
        save_wallet(&self.options.wallet, &self.wallet, &self.options.keys)
    }
}

/// A Unix time as people read it.
pub(crate) fn day(seconds: u64) -> String {
    let at = i64::try_from(seconds).ok().and_then(|s| time::OffsetDateTime::from_unix_timestamp(s).ok());
    at.map_or_else(|| seconds.to_string(), |t| format!("{} {:02}:{:02} UTC", t.date(), t.hour(), t.minute()))
}
