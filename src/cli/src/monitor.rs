//! `sealdex monitor`: watches the domain's logs and roster in the interest of a wallet's owners.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use sealdex_client::{
    Patient, Wallet,
    acts::{ActsLog, ActsLogError, Entry},
    watch::{Alarm, Watch},
};
use sealdex_lognet::{DomainLog, domain::DomainLogError};
use sealdex_member::{DomainPack, Trusted};
use sealdex_net::peer::Http;
use serde::{Deserialize, Serialize};

use crate::{failure::Failure, key_options::KeyOptions, owners::open_wallet, places::write_json};

#[derive(Args)]
#[command(after_help = "Examples:
  sealdex monitor --wallet w.key --domain domain.json --state watch.json --once
  sealdex monitor --wallet w.key --domain domain.json --state watch.json --acknowledge 12 --acknowledge 15 --once
  sealdex monitor --wallet a.key --wallet b.key --domain domain.json --state watch.json --every 60

What is signed with an owner's key has to be acknowledged once, by its entry of the log: whoever else has the key could
have signed it. Exit code 3: an alarm, named with its entry. Exit code 1: the logs could not be read.")]
pub(crate) struct MonitorOptions {
    /// Wallet with the keys of owners to watch over; repeat for several.
    #[arg(long = "wallet", required = true)]
    wallets: Vec<PathBuf>,
    /// Domain pack.
    #[arg(long)]
    domain: PathBuf,
    /// File of what was acknowledged. Copies of the logs lie beside it: without it, nothing is noticed that the logs take
    /// back between two runs.
    #[arg(long)]
    state: Option<PathBuf>,
    /// Entry of the log of acts whose alarms are known and in order; repeat for several. Kept in the state.
    #[arg(long = "acknowledge", requires = "state")]
    acknowledge: Vec<u64>,
    /// Look once and end, instead of going on.
    #[arg(long)]
    once: bool,
    /// Seconds between two looks.
    #[arg(long, default_value_t = 30)]
    every: u64,
    /// Certificates to trust gate and cloud by, PEM.
    #[arg(long)]
    ca: Option<PathBuf>,
    #[command(flatten)]
    keys: KeyOptions,
}

/// What a monitor remembers.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    acknowledged: BTreeSet<u64>,
}

impl State {
    fn read(path: &Path) -> Result<Self, Failure> {
        match std::fs::read(path) {
            Ok(json) => serde_json::from_slice(&json)
                .map_err(|e| Failure::new(format!("{}: {e}; restore it or remove it", path.display()))),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(e) => Err(Failure::new(format!("cannot read {}: {e}", path.display()))),
        }
    }
}

/// What is watched.
struct Monitor {
    wallets: Vec<Wallet>,
    trusted: Trusted,
    http: Http,
    acts: ActsLog,
    batches: DomainLog,
}

/// `sealdex monitor`; whether everything is in order.
pub(crate) async fn run(o: MonitorOptions) -> Result<bool, Failure> {
    let mut state = o.state.as_deref().map(State::read).transpose()?.unwrap_or_default();
    if let Some(path) = o.state.as_deref().filter(|_| !o.acknowledge.is_empty()) {
        state.acknowledged.extend(&o.acknowledge);
        write_json(path, &state)?;
    }
    let mut monitor = Monitor::open(&o)?;
    loop {
        let alarms = monitor.look(&state.acknowledged).await;
        match alarms {
            Ok(alarms) if !alarms.is_empty() => {
                for alarm in &alarms {
                    eprintln!("ALARM: {alarm}");
                }
                eprintln!("What is in order: sealdex monitor … --acknowledge ENTRY");
                return Ok(false);
            }
            Err(error) if o.once => return Err(error),
            Err(error) => eprintln!("note: {error}; trying again"),
            Ok(_) if o.once => {
                println!("In order: {} batches, and every act.", monitor.batches.view().size());
                return Ok(true);
            }
            Ok(_) => {}
        }
        tokio::time::sleep(Duration::from_secs(o.every.max(1))).await;
    }
}

impl Monitor {
    fn open(o: &MonitorOptions) -> Result<Self, Failure> {
        let wallets: Vec<Wallet> = o.wallets.iter().map(|w| open_wallet(w, &o.keys)).collect::<Result<_, _>>()?;
        let Some(first) = wallets.first() else { return Err(Failure::new("name a wallet")) };
        let trusted = DomainPack::read(&o.domain)?.verify(&first.domain, &first.authority)?;
        if let Some(other) = wallets.iter().find(|w| w.domain != first.domain || w.authority != first.authority) {
            return Err(Failure::new(format!(
                "the wallets are of several domains: {} and {}",
                first.domain, other.domain
            )));
        }
        let http = Http::new(o.ca.as_deref())?;
        let beside = |name: &str| o.state.as_ref().map(|state| state.with_extension(name));
        let roster = &trusted.roster;
        let (Some(ledger), Some(cloud)) = (&roster.ledger, roster.clouds.first()) else {
            return Err(ActsLogError::NoLog.into());
        };
        let acts = ActsLog::open(&http, roster, beside("acts").as_deref())?;
        let batches = DomainLog::open(&http, &roster.domain, ledger, &cloud.url, beside("batches").as_deref())?;
        Ok(Self { wallets, trusted, http, acts, batches })
    }

    /// One look at everything; what is alarming.
    async fn look(&mut self, acknowledged: &BTreeSet<u64>) -> Result<Vec<String>, Failure> {
        let mut alarms = Vec::new();
        if let Some((label, entry)) = self.wallets.iter().flat_map(|w| &w.owners).next() {
            let patient = Patient::new(label, entry.clone(), self.trusted.clone(), &self.http)?;
            match patient.members().await {
                Ok(list) => {
                    if let Err(error) = self.trusted.merge(&list) {
                        alarms.push(format!(
                            "the gate serves a roster or an enrolment that is not signed as it must: {error}"
                        ));
                    }
                }
                Err(error) => tracing::warn!(%error, "going on with the roster as it was"),
            }
        }
        self.acts.know(&self.trusted.roster);
        match self.batches.advance(&self.trusted).await {
            Ok(_) => {}
            Err(error) if error.is_tampering() && !is_missing(&error) => alarms.push(error.to_string()),
            Err(error) => return Err(error.into()),
        }
        match self.acts.advance().await {
            Ok(entries) => alarms.extend(self.watch(&entries, acknowledged).into_iter().map(|a| a.text)),
            Err(error) if error.is_alarm() => alarms.push(error.to_string()),
            Err(error) => return Err(error.into()),
        }
        Ok(alarms)
    }

    fn watch(&self, entries: &[Entry], acknowledged: &BTreeSet<u64>) -> Vec<Alarm> {
        let owners = self.wallets.iter().flat_map(|w| &w.owners);
        let owners: Vec<_> = owners.map(|(label, entry)| (label, entry.owner().identity())).collect();
        let owners = owners.iter().map(|(label, owner)| (label.as_str(), &**owner)).collect();
        Watch { roster: &self.trusted.roster, owners, acknowledged }.alarms(entries)
    }
}

/// A log that has published nothing yet.
fn is_missing(error: &DomainLogError) -> bool {
    matches!(error, DomainLogError::Fetch(_))
}
