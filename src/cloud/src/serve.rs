//! Starting and stopping a cloud.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
};

use axum::Router;
use sealdex_lognet::domain::Which;
use sealdex_net::{Authenticator, Listen, blocking, clock::now_ms, edge::Worker, guard, peer::Http, tls::TlsError};
use sealdex_tlog::log::FileReader;
use sealdex_wire::roster::BadKeys;

use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
};

use crate::{
    CloudKeys,
    http::{self, Api},
    index::{IndexError, MergedIndex, TantivyIndex},
    indexer,
    ingest::Ingest,
    logs::{self, Entries, Keeper},
    members::{Domain, RosterError},
    store::{ActStore, RedbStore, RosterStore, SealedStore, StoreError},
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

/// A cloud that runs: what is stored is indexed and logged. It is served by whatever takes requests to its routes.
pub struct Cloud {
    router: Router,
    stop_logs: watch::Sender<bool>,
    keeping: Vec<JoinHandle<()>>,
    ingest: Ingest,
    wake: indexer::Wake,
    threads: Vec<Worker>,
}

impl Cloud {
    /// Starts a cloud over an open store. The index and the logs are in `data_dir`; witnesses are reached by `http`.
    pub async fn start(
        data_dir: PathBuf,
        keys: CloudKeys,
        bounds: guard::Bounds,
        store: Arc<RedbStore>,
        http: Http,
    ) -> Result<Self, CloudError> {
        let authority = keys.authority.identity()?;
        let domain = Arc::new(Domain::new(keys.domain.clone(), keys.id(), authority));
        let index = open_index(data_dir.clone()).await?;
        refuse_older(&data_dir, &store)?;
        if let Some(document) = store.roster()? {
            domain.enter(domain.verify_stored(&document)?);
        }
        let caught_up = Arc::new(AtomicBool::new(false));
        let sealed: Arc<dyn SealedStore> = store.clone();
        let (wake, listener) = indexer::bell();
        let indexing = listener.start(sealed.clone(), index.clone(), caught_up.clone()).map_err(CloudError::Thread)?;
        let (ingest, writing) = Ingest::start(sealed.clone(), wake.clone()).map_err(CloudError::Thread)?;

        let (stop_logs, stopped) = watch::channel(false);
        let acts_wake = Arc::new(Notify::new());
        let keep = |source: Arc<dyn Entries>, wake: Arc<Notify>| {
            let (data, domain, seed, http) = (data_dir.clone(), domain.clone(), keys.seed.clone(), http.clone());
            tokio::spawn(Keeper { data, domain, seed, http, source, wake }.run(stopped.clone()))
        };
        let keeping_acts = keep(Arc::new(Acts(store.clone())), acts_wake.clone());
        let batches = Arc::new(Batches { store: sealed.clone(), index: index.clone() });
        let keeping = keep(batches, wake.log.clone());
        let api = Api {
            log_wake: wake.log.clone(),
            log_reader: FileReader::new(logs::folder(&data_dir, Which::Batches)),
            acts: store.clone(),
            acts_wake,
            acts_reader: FileReader::new(logs::folder(&data_dir, Which::Acts)),
            auth: Arc::new(Authenticator::new(keys.domain.clone(), domain.me, domain.clone())),
            tickets: Arc::new(Tickets::new(keys.domain, domain.me, now_ms())),
            domain,
            store: sealed,
            rosters: store,
            index,
            ledger: Arc::default(),
            ingest: ingest.clone(),
            caught_up,
            readers: Api::readers(),
            roster_gate: Arc::default(),
        };
        let router = guard::guard(http::router(api), "cloud", bounds);
        let (keeping, threads) = (vec![keeping, keeping_acts], vec![writing, indexing]);
        Ok(Self { router, stop_logs, keeping, ingest, wake, threads })
    }

    /// Its routes, with the guard around them.
    pub fn router(&self) -> Router {
        self.router.clone()
    }

    /// Finishes what was accepted, and ends.
    pub async fn stop(mut self) {
        let _ = self.stop_logs.send(true);
        for keeping in std::mem::take(&mut self.keeping) {
            let _ = keeping.await;
        }
        self.ingest.stop().await;
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
    let CloudConfig { data_dir, listen, keys, bounds } = config;
    let store = open_store(data_dir.clone()).await?;
    let cloud = Cloud::start(data_dir, keys, bounds, store, Http::new(None)?).await?;
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
}

impl Entries for Batches {
    fn which(&self) -> Which {
        Which::Batches
    }

    fn last(&self) -> Result<u64, StoreError> {
        Ok(self.store.snapshot()?.last_seq())
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
