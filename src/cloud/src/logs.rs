//! The cloud's logs: what is stored is appended, cosigned, and served once it can be searched.
//!
//! The store is the truth. Entry `i` of a log is row `i + 1` of its table, so whatever was killed when, the log goes on
//! where it was; a log that is lost is made anew and is the same.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use sealdex_lognet::{
    Cosigners,
    domain::{Which, log_key, witnesses},
};
use sealdex_net::peer::Http;
use sealdex_tlog::{
    checkpoint::Checkpoint,
    log::{FileReader, FileStorage, Log, LogError, Slot, TileStore},
    note::Note,
};
use sealdex_wire::{consent::SecretBytes, roster::Ledger};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use crate::{members::Domain, store::StoreError};

/// Entries appended at once: about a quarter of a megabyte of batches, at most four of acts.
fn step(which: Which) -> u64 {
    match which {
        Which::Batches => 1024,
        Which::Acts => 64,
    }
}
/// How long witnesses are waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// Pause after a failure, or too few cosignatures.
const RETRY: Duration = Duration::from_secs(1);
/// Shortest time between two checkpoints of a log. One at rest takes an entry at once; under load the entries of this
/// long share a checkpoint, its syncs and its cosignatures. Batches are waited for, acts are not.
fn pace(which: Which) -> Duration {
    Duration::from_millis(match which {
        Which::Batches => 50,
        Which::Acts => 2000,
    })
}
/// Pause between two looks at whether what is logged can be searched.
const PAUSE: Duration = Duration::from_millis(20);

/// What a log is made of.
pub(crate) trait Entries: Send + Sync + 'static {
    /// Which log.
    fn which(&self) -> Which;
    /// Entries there are.
    fn last(&self) -> Result<u64, StoreError>;
    /// The entries at places `from` up to and including `to`, from 1.
    fn entries(&self, from: u64, to: u64) -> Result<Vec<Vec<u8>>, StoreError>;
    /// Entries that may be served.
    fn servable(&self) -> u64;
}

/// Why a log was not kept up to date.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeepError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{0}")]
    Setup(String),
    #[error("the log has {log} entries and the store {store}: the store is older than its log. Restore a newer one")]
    Ahead { log: u64, store: u64 },
    #[error("entry {place} of the log is not what the store has: one of them was altered")]
    Differs { place: u64 },
    #[error("{cosigned} of {quorum} cosignatures for {size} entries; missing: {missing}")]
    Quorum { cosigned: usize, quorum: usize, size: u64, missing: String },
    #[error("a thread died")]
    Thread,
}

/// Where a log's folder is, below the data directory.
pub(crate) fn folder(data: &Path, which: Which) -> PathBuf {
    data.join("log").join(which.name())
}

/// Entries of a log's newest own checkpoint, if there is one: what its store must have.
pub(crate) fn logged(data: &Path, which: Which) -> u64 {
    size(data, which, Slot::Head)
}

/// Entries of the checkpoint that a log serves.
pub(crate) fn published(data: &Path, which: Which) -> u64 {
    size(data, which, Slot::Published)
}

fn size(data: &Path, which: Which, slot: Slot) -> u64 {
    let head = FileReader::new(folder(data, which)).read_checkpoint(slot).ok().flatten();
    let checkpoint = head.and_then(|bytes| Checkpoint::parse(Note::parse(&bytes).ok()?.text()).ok());
    checkpoint.map_or(0, |c| c.size())
}

/// Keeps one log.
pub(crate) struct Keeper {
    pub(crate) data: PathBuf,
    pub(crate) domain: Arc<Domain>,
    pub(crate) seed: SecretBytes,
    pub(crate) http: Http,
    pub(crate) source: Arc<dyn Entries>,
    pub(crate) wake: Arc<Notify>,
}

/// A log that is open, under one roster's policy.
struct Open {
    log: Arc<Mutex<Log<FileStorage>>>,
    cosigners: Cosigners,
    ledger: Ledger,
}

impl Keeper {
    /// Runs until told to stop.
    pub(crate) async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut open: Option<Open> = None;
        loop {
            let started = Instant::now();
            // Whatever a round is at can be done again.
            let round = tokio::select! {
                biased;
                round = self.round(&mut open) => round,
                _ = stop.wait_for(|stopped| *stopped) => return,
            };
            let pause = match round {
                Ok(pause) => pause,
                Err(error) => {
                    metrics::counter!("sealdex_cloud_log_failures_total", "log" => self.source.which().name())
                        .increment(1);
                    tracing::warn!(log = self.source.which().name(), %error, "the log is not up to date; trying again");
                    if !matches!(error, KeepError::Quorum { .. }) {
                        open = None;
                    }
                    RETRY
                }
            };
            tokio::select! {
                biased;
                () = self.wake.notified() => {}
                () = tokio::time::sleep(pause) => {}
                _ = stop.wait_for(|stopped| *stopped) => return,
            }
            tokio::select! {
                biased;
                () = tokio::time::sleep(pace(self.source.which()).saturating_sub(started.elapsed())) => {}
                _ = stop.wait_for(|stopped| *stopped) => return,
            }
        }
    }

    /// Appends what is stored, has it cosigned, and serves it; how long nothing needs to be done after it.
    async fn round(&self, open: &mut Option<Open>) -> Result<Duration, KeepError> {
        let Some(ledger) = self.domain.current().and_then(|m| m.ledger.clone()) else {
            return Ok(Duration::from_secs(3600));
        };
        let opened = match open.take() {
            Some(known) if known.ledger == ledger => known,
            known => {
                drop(known);
                self.open(ledger).await?
            }
        };
        let Open { log, cosigners, ledger } = open.insert(opened);
        let quorum = ledger.quorum as usize;
        let head = self.append(log.clone()).await?;
        let size = Checkpoint::parse(head.text()).map_err(LogError::from)?.size();
        let note = match cosigners_needed(ledger) {
            false => head,
            true => {
                let proof = |old, new| lock(log).consistency_proof(old, new);
                let gathered = cosigners.gather(&head, proof, quorum, PATIENCE).await;
                let gathered = gathered.map_err(|e| KeepError::Setup(e.to_string()))?;
                let cosigned = gathered.cosigned.len();
                if cosigned < quorum {
                    let missing: Vec<_> = gathered.missing.iter().map(|(name, why)| format!("{name}: {why}")).collect();
                    return Err(KeepError::Quorum { cosigned, quorum, size, missing: missing.join("; ") });
                }
                gathered.note
            }
        };
        // What is served can be searched: an answer from before is then old, and shows it.
        while self.source.servable() < size {
            tokio::time::sleep(PAUSE).await;
        }
        let log = log.clone();
        blocking(move || Ok(lock(&log).publish(&note)?)).await?;
        metrics::gauge!("sealdex_cloud_log_published", "log" => self.source.which().name()).set(size as f64);
        if self.source.last()? > size {
            return Ok(Duration::ZERO);
        }
        // Cosignatures get old: they are asked for again, well before readers refuse them.
        Ok(Duration::from_secs((ledger.max_age / 4).clamp(1, 60)))
    }

    async fn open(&self, ledger: Ledger) -> Result<Open, KeepError> {
        let setup = |e: &dyn std::fmt::Display| KeepError::Setup(e.to_string());
        let which = self.source.which();
        let key = log_key(&self.seed.0, &self.domain.name, which).map_err(|e| setup(&e))?;
        if key.verifier().to_string() != which.key(&ledger) {
            return Err(KeepError::Setup(format!("the roster names another key of the log of {}", which.name())));
        }
        let cosigners =
            Cosigners::new(self.http.clone(), witnesses(&ledger).map_err(|e| setup(&e))?).map_err(|e| setup(&e))?;
        let (folder, source) = (folder(&self.data, which), self.source.clone());
        let log = blocking(move || {
            let storage = FileStorage::open(&folder).map_err(LogError::from)?;
            let log = match storage.read_checkpoint(Slot::Head).map_err(LogError::from)? {
                Some(_) => Log::open(storage, key)?,
                None => Log::create(storage, key)?,
            };
            let (size, stored) = (log.checkpoint().size(), source.last()?);
            if size > stored {
                return Err(KeepError::Ahead { log: size, store: stored });
            }
            if size > 0 && source.entries(size, size)?.first() != Some(&log.entry(size - 1)?) {
                return Err(KeepError::Differs { place: size });
            }
            Ok(log)
        })
        .await?;
        Ok(Open { log: Arc::new(Mutex::new(log)), cosigners, ledger })
    }

    /// Brings the log to what is stored; its newest checkpoint, signed by the log alone.
    async fn append(&self, log: Arc<Mutex<Log<FileStorage>>>) -> Result<Note, KeepError> {
        let source = self.source.clone();
        blocking(move || {
            let mut log = lock(&log);
            let last = source.last()?;
            while log.checkpoint().size() < last {
                let size = log.checkpoint().size();
                log.append(&source.entries(size + 1, last.min(size + step(source.which())))?)?;
            }
            Ok(log.head().clone())
        })
        .await
    }
}

fn cosigners_needed(ledger: &Ledger) -> bool {
    !ledger.witnesses.is_empty()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, KeepError> + Send + 'static,
) -> Result<T, KeepError> {
    sealdex_net::blocking(work).await.map_err(|_| KeepError::Thread)?
}
