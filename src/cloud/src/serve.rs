//! Starting and stopping a cloud.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::Router;
use sealdex_crypto::PrincipalId;
use sealdex_dbfile::{Findings, Soundness};
use sealdex_lognet::domain::Which;
use sealdex_net::{
    Authenticator, Listen, blocking,
    clock::{now_ms, now_s},
    edge::Worker,
    guard,
    peer::Http,
    tls::TlsError,
};
use sealdex_tlog::log::FileReader;
use sealdex_wire::roster::BadKeys;

use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
};

use crate::{
    CloudKeys,
    backup::{
        Backup, BackupError, First,
        schedule::{self, BackupPlan},
    },
    compaction::{self, CompactPlan, Compactor},
    http::{self, Api},
    index::{IndexError, MergedIndex, TantivyIndex},
    indexer::{self, Wake},
    ingest::Ingest,
    logs::{self, Entries, Keeper},
    members::{Domain, RosterError},
    observe::Observed,
    store::{ActStore, RedbStore, Rewritten, RosterStore, SealedStore, StoreError, rewrite},
    tickets::Tickets,
};

/// Where a cloud keeps its data, and how it is reached.
pub struct CloudConfig {
    /// Directory of the store (`store.redb`) and the index (`index/`); made when missing.
    pub data_dir: PathBuf,
    /// Where to listen.
    pub listen: Listen,
    /// Who it is.
    pub keys: CloudKeys,
    /// Bounds on requests.
    pub bounds: guard::Bounds,
    /// Backups, if any.
    pub backup: Option<BackupPlan>,
    /// Compaction while it serves.
    pub compact: CompactPlan,
}

/// Why a cloud could not start or stopped.
#[derive(Debug, thiserror::Error)]
pub enum CloudError {
    /// The authority's keys are no keys.
    #[error("the key file names an authority without valid keys: {0}")]
    Authority(#[from] BadKeys),
    /// The data directory.
    #[error("cannot use the data directory {dir}: {source}")]
    DataDir {
        /// Which.
        dir: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The store.
    #[error("cannot open the store (is another cloud running on it?): {0}")]
    Store(#[from] StoreError),
    /// The store is older than what was logged.
    #[error(
        "the store has {stored} entries of a log that has {log}: the store was put back to an older state. To go on would tell two histories: restore the newest"
    )]
    Behind {
        /// In the log.
        log: u64,
        /// In the store.
        stored: u64,
    },
    /// A store that was restored.
    #[error(
        "the store was restored as of batch {batch} and does not serve before it is said that later batches are lost: \
         sealdex cloud resume --dir DIR --accept-loss-after-batch {batch} (read docs/OPERATING.md first)"
    )]
    Restored {
        /// Its last batch.
        batch: u64,
    },
    /// Backups.
    #[error("cannot back up: {0}")]
    Backup(#[from] BackupError),
    /// Trust in other servers' certificates.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The index.
    #[error("cannot open the search index: {0}")]
    Index(#[from] IndexError),
    /// The stored roster does not fit the keys.
    #[error("the stored roster is refused: {0}")]
    Roster(#[from] RosterError),
    /// The address.
    #[error("cannot listen on {addr}: {source}")]
    Listen {
        /// Which.
        addr: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// Threads.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
}

/// Gets rid of every byte of records that were replaced or deleted: the store is written anew, with what is live only, and
/// the search index is dropped, to be built anew from it when the cloud starts. Only while no cloud runs on the directory.
/// `None` where there is no store.
///
/// What goes with it: sealed bytes, routing tags, origins. What stays: the index entries in the runs of their batches,
/// which proofs are made from, and the ids in the log.
///
/// # Errors
/// [`CloudError`]; the store is as it was.
pub fn compact(data_dir: &Path) -> Result<Option<Rewritten>, CloudError> {
    // Before the new store is in its place: a process that is killed in between leaves no segments of the old one.
    let drop_index = || match std::fs::remove_dir_all(data_dir.join("index")) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    };
    Ok(rewrite(&data_dir.join("store.redb"), drop_index)?)
}

/// A cloud that runs: what is stored is indexed and logged. It is served by whatever takes requests to its routes.
pub struct Cloud {
    router: Router,
    api: Api,
    data: PathBuf,
    stop_logs: watch::Sender<bool>,
    keeping: Vec<JoinHandle<()>>,
    wake: Wake,
    threads: Vec<Worker>,
}

impl Cloud {
    /// Starts a cloud over an open store. The index and the logs are in `data_dir`; witnesses are reached by `http`.
    ///
    /// # Errors
    /// [`CloudError`].
    pub async fn start(
        data_dir: PathBuf,
        keys: CloudKeys,
        bounds: guard::Bounds,
        store: Arc<RedbStore>,
        http: Http,
    ) -> Result<Self, CloudError> {
        Self::written_to(data_dir, keys, bounds, Backups::none(store), http).await
    }

    async fn written_to(
        data_dir: PathBuf,
        keys: CloudKeys,
        bounds: guard::Bounds,
        stores: Backups,
        http: Http,
    ) -> Result<Self, CloudError> {
        let Backups { store, sealed, acts, first, .. } = stores;
        let authority = keys.authority.identity()?;
        let domain = Arc::new(Domain::new(keys.domain.clone(), keys.id(), authority));
        let index = open_index(data_dir.clone()).await?;
        refuse_older(&data_dir, &store)?;
        if let Some(document) = store.roster()? {
            domain.enter(domain.verify_stored(&document)?);
        }
        let caught_up = Arc::new(AtomicBool::new(false));
        let (wake, listener) = indexer::bell();
        let indexing = listener.start(sealed.clone(), index.clone(), caught_up.clone()).map_err(CloudError::Thread)?;
        let (ingest, writing) = Ingest::start(sealed.clone(), wake.clone()).map_err(CloudError::Thread)?;

        let (stop_logs, stopped) = watch::channel(false);
        let acts_wake = Arc::new(Notify::new());
        let keep = |source: Arc<dyn Entries>, wake: Arc<Notify>| {
            let (data, domain, seed, http) = (data_dir.clone(), domain.clone(), keys.seed.clone(), http.clone());
            tokio::spawn(Keeper { data, domain, seed, http, source, wake }.run(stopped.clone()))
        };
        let keeping_acts = keep(Arc::new(Acts(acts.clone())), acts_wake.clone());
        let batches = Arc::new(Batches { store: sealed.clone(), index: index.clone(), first });
        let keeping = keep(batches, wake.log.clone());
        let api = Api {
            findings: Findings::default(),
            log_wake: wake.log.clone(),
            log_reader: FileReader::new(logs::folder(&data_dir, Which::Batches)),
            acts,
            acts_wake,
            acts_reader: FileReader::new(logs::folder(&data_dir, Which::Acts)),
            auth: Arc::new(Authenticator::new(keys.domain.clone(), domain.me, domain.clone())),
            tickets: Arc::new(Tickets::new(keys.domain, domain.me, now_ms())),
            domain,
            store: sealed,
            rosters: store,
            index,
            ledger: Arc::default(),
            ingest,
            caught_up,
            readers: Api::readers(),
            roster_gate: Arc::default(),
        };
        let router = guard::guard(http::router(api.clone()), "cloud", bounds);
        let (keeping, threads) = (vec![keeping, keeping_acts], vec![writing, indexing]);
        Ok(Self { router, api, data: data_dir, stop_logs, keeping, wake, threads })
    }

    /// Its routes, with the guard around them.
    pub fn router(&self) -> Router {
        self.router.clone()
    }

    /// What brings its gauges up to date.
    fn observed(&self) -> Observed {
        Observed {
            data: self.data.clone(),
            domain: self.api.domain.clone(),
            store: self.api.store.clone(),
            acts: self.api.acts.clone(),
            index: self.api.index.clone(),
            ingest: self.api.ingest.clone(),
        }
    }

    /// Finishes what was accepted, and ends.
    pub async fn stop(mut self) {
        let _ = self.stop_logs.send(true);
        for keeping in std::mem::take(&mut self.keeping) {
            let _ = keeping.await;
        }
        self.api.ingest.stop().await;
        self.wake.stop();
        let threads = std::mem::take(&mut self.threads);
        let ended = blocking(move || threads.into_iter().fold(true, |whole, thread| whole & thread.join())).await;
        if !matches!(ended, Ok(true)) {
            tracing::error!("a thread of the cloud ended by a panic");
        }
    }
}

/// Ends what runs besides requests; nothing is waited for.
impl Drop for Cloud {
    fn drop(&mut self) {
        let _ = self.stop_logs.send(true);
        self.wake.stop();
    }
}

/// Serves until `stop` resolves, then finishes what was accepted. `ready` is told the bound address
/// as soon as requests are taken; `/readyz` tells when searches are.
pub async fn serve(
    config: CloudConfig,
    ready: impl FnOnce(SocketAddr),
    stop: impl Future<Output = ()>,
) -> Result<(), CloudError> {
    let CloudConfig { data_dir, listen, keys, bounds, backup: plan, compact } = config;
    guard::recorder();
    let store = open_store(data_dir.clone()).await?;
    if let Some(restored) = store.restored()? {
        return Err(CloudError::Restored { batch: restored.batch });
    }
    refuse_older(&data_dir, &store)?;
    let asked = schedule::asked()?;
    let asked_to_compact = compaction::asked().map_err(CloudError::Thread)?;
    let path = data_dir.join("store.redb");
    let backups = Backups::open(&store, keys.id(), plan.as_ref()).await?;
    let every = plan.as_ref().and_then(|p| p.every);
    let backup = backups.backup.clone();
    let cloud = Cloud::written_to(data_dir, keys, bounds, backups, Http::new(None)?).await?;
    // Until the first look it is as old as the server.
    metrics::gauge!("sealdex_cloud_checked_seconds").set(now_s() as f64);
    let wake = cloud.wake.clone();
    let backing_up = tokio::spawn(schedule::run(backup, every, asked, move || wake.wake())).abort_handle();
    let look = Look {
        store: store.clone(),
        index: cloud.api.index.clone(),
        findings: cloud.api.findings.clone(),
        caught_up: cloud.api.caught_up.clone(),
        wake: cloud.wake.clone(),
    };
    let scrub = sealdex_dbfile::each(move |rate| look.through(rate)).map_err(CloudError::Thread)?;
    let observing = tokio::spawn(cloud.observed().run()).abort_handle();
    let (index, wake) = (cloud.api.index.clone(), cloud.wake.clone());
    let compactor = Compactor { path, store: store.clone(), index, wake, rate: compact.rate };
    let compacting = compactor.start(compact.every, asked_to_compact);
    let bound = match listen.bind().await.and_then(|l| Ok((l.local_addr()?, l))) {
        Ok((addr, bound)) => {
            tracing::info!(%addr, "the cloud listens");
            ready(addr);
            Ok(bound)
        }
        Err(source) => Err(CloudError::Listen { addr: listen.addr, source }),
    };
    let served = match bound {
        Ok(bound) => {
            sealdex_net::serve(bound, listen.tls, cloud.router(), stop).await;
            Ok(())
        }
        Err(e) => Err(e),
    };
    observing.abort();
    backing_up.abort();
    compacting.ask_to_stop();
    scrub.ask_to_stop();
    store.abandon_check();
    compacting.end().await;
    drop((scrub, store));
    cloud.stop().await;
    served
}

/// A store that is older than its logs would tell two histories.
fn refuse_older(data_dir: &Path, store: &RedbStore) -> Result<(), CloudError> {
    for (which, stored) in [(Which::Batches, store.totals()?.last_seq), (Which::Acts, store.last_act()?)] {
        let log = logs::logged(data_dir, which);
        if log > stored {
            return Err(CloudError::Behind { log, stored });
        }
    }
    Ok(())
}

/// The store, how it is written to, and what backs it up.
struct Backups {
    store: Arc<RedbStore>,
    backup: Option<Arc<Backup>>,
    sealed: Arc<dyn SealedStore>,
    acts: Arc<dyn ActStore>,
    /// What must have a batch before it is logged.
    first: Option<Arc<Backup>>,
}

impl Backups {
    fn none(store: Arc<RedbStore>) -> Self {
        Self { backup: None, sealed: store.clone(), acts: store.clone(), first: None, store }
    }

    async fn open(store: &Arc<RedbStore>, cloud: PrincipalId, plan: Option<&BackupPlan>) -> Result<Self, CloudError> {
        let Some(BackupPlan { dir, keep, first, .. }) = plan.cloned() else { return Ok(Self::none(store.clone())) };
        let to_open = store.clone();
        let opened = tokio::task::spawn_blocking(move || {
            let backup = Backup::open(to_open, cloud, &dir, keep)?;
            if first {
                // What is stored already may be logged already.
                backup.take()?;
            }
            Ok::<_, BackupError>(Arc::new(backup))
        });
        let backup = opened.await.map_err(|e| CloudError::Thread(std::io::Error::other(e)))??;
        let none = Self::none(store.clone());
        if !first {
            return Ok(Self { backup: Some(backup), ..none });
        }
        let written = Arc::new(First::new(store.clone(), backup.clone()));
        Ok(Self { backup: Some(backup.clone()), sealed: written.clone(), acts: written, first: Some(backup), ..none })
    }
}

/// Looks through store and index for what has rotted.
struct Look {
    store: Arc<RedbStore>,
    index: Arc<dyn MergedIndex>,
    findings: Findings,
    caught_up: Arc<AtomicBool>,
    wake: Wake,
}

impl Look {
    /// Whether it came to its end.
    fn through(&self, rate: u64) -> bool {
        let mut ended = true;
        match self.store.check(rate) {
            Ok(found) => {
                if let Soundness::Damaged(what) = &found {
                    metrics::counter!("sealdex_cloud_damage_total", "file" => "store.redb").increment(1);
                    tracing::error!(
                        what,
                        "store.redb is damaged: see what differs with sealdex verify, and restore it"
                    );
                }
                self.findings.note("store.redb", &found);
                ended &= found != Soundness::Busy;
            }
            Err(error) => {
                tracing::error!(%error, "store.redb cannot be checked");
                ended = false;
            }
        }
        match self.index.check() {
            Ok(None) => {}
            Ok(Some(files)) => {
                metrics::counter!("sealdex_cloud_damage_total", "file" => "index").increment(1);
                tracing::error!(files, "the search index is damaged and is built anew from the store");
                self.caught_up.store(false, Ordering::Release);
                self.wake.wake();
            }
            Err(error) => {
                tracing::error!(%error, "the search index cannot be checked");
                ended = false;
            }
        }
        if ended {
            metrics::gauge!("sealdex_cloud_checked_seconds").set(now_s() as f64);
        }
        ended
    }
}

async fn open_store(dir: PathBuf) -> Result<Arc<RedbStore>, CloudError> {
    apart(move || {
        std::fs::create_dir_all(&dir).map_err(|source| CloudError::DataDir { dir: dir.clone(), source })?;
        Ok(Arc::new(RedbStore::open(&dir.join("store.redb"))?))
    })
    .await
}

async fn open_index(dir: PathBuf) -> Result<Arc<dyn MergedIndex>, CloudError> {
    apart(move || Ok(Arc::new(TantivyIndex::open(&dir.join("index"))?) as Arc<dyn MergedIndex>)).await
}

/// Off the event loop.
async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, CloudError> + Send + 'static,
) -> Result<T, CloudError> {
    blocking(work).await.unwrap_or_else(|panic| Err(CloudError::Thread(std::io::Error::other(panic))))
}

/// The log of batches.
struct Batches {
    store: Arc<dyn SealedStore>,
    index: Arc<dyn MergedIndex>,
    /// What must have a batch before it is logged.
    first: Option<Arc<Backup>>,
}

impl Entries for Batches {
    fn which(&self) -> Which {
        Which::Batches
    }

    fn last(&self) -> Result<u64, StoreError> {
        let last = self.store.snapshot()?.last_seq();
        Ok(self.first.as_ref().map_or(last, |backup| last.min(backup.covers().0)))
    }

    fn entries(&self, from: u64, to: u64) -> Result<Vec<Vec<u8>>, StoreError> {
        let snapshot = self.store.snapshot()?;
        (from..=to).map(|seq| snapshot.entry(seq)?.ok_or(StoreError::Damaged("entries"))).collect()
    }

    fn servable(&self) -> u64 {
        self.index.indexed()
    }
}

/// The log of acts.
struct Acts(Arc<dyn ActStore>);

impl Entries for Acts {
    fn which(&self) -> Which {
        Which::Acts
    }

    fn last(&self) -> Result<u64, StoreError> {
        self.0.last_act()
    }

    fn entries(&self, from: u64, to: u64) -> Result<Vec<Vec<u8>>, StoreError> {
        self.0.acts(from, to)
    }

    fn servable(&self) -> u64 {
        u64::MAX
    }
}
