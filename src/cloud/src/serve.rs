//! Starting and stopping a cloud.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use sealdex_dbfile::{Findings, Soundness};
use sealdex_lognet::domain::Which;
use sealdex_net::{Authenticator, Listen, clock::now_ms, guard, peer::Http, tls::TlsError};
use sealdex_tlog::log::FileReader;
use sealdex_wire::roster::BadKeys;

use tokio::sync::{Notify, watch};

use crate::{
    CloudKeys,
    http::{self, Api},
    index::{IndexError, MergedIndex, TantivyIndex},
    indexer::{self, Wake},
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

/// Serves until `stop` resolves, then finishes what was accepted. `ready` is told the bound address
/// as soon as requests are taken; `/readyz` tells when searches are.
pub async fn serve(
    config: CloudConfig,
    ready: impl FnOnce(SocketAddr),
    stop: impl Future<Output = ()>,
) -> Result<(), CloudError> {
    let CloudConfig { data_dir, listen, keys, bounds } = config;
    let authority = keys.authority.identity()?;
    let domain = Arc::new(Domain::new(keys.domain.clone(), keys.id(), authority));
    let (store, index) = open(data_dir.clone()).await?;
    let (log, stored) = (logs::logged(&data_dir, Which::Batches), store.totals()?.last_seq);
    if log > stored {
        return Err(CloudError::Behind { log, stored });
    }
    let (log, stored) = (logs::logged(&data_dir, Which::Acts), store.last_act()?);
    if log > stored {
        return Err(CloudError::Behind { log, stored });
    }
    if let Some(document) = store.roster()? {
        domain.enter(domain.verify_stored(&document)?);
    }

    let caught_up = Arc::new(AtomicBool::new(false));
    let sealed: Arc<dyn SealedStore> = store.clone();
    let (wake, listener) = indexer::bell();
    let indexing = listener.start(sealed.clone(), index.clone(), caught_up.clone()).map_err(CloudError::Thread)?;
    let (ingest, writing) = Ingest::start(sealed.clone(), wake.clone()).map_err(CloudError::Thread)?;

    let batches = Arc::new(Batches { store: sealed.clone(), index: index.clone() });
    let (stop_logs, stopped) = watch::channel(false);
    let acts_wake = Arc::new(Notify::new());
    let acts_keeper = Keeper {
        data: data_dir.clone(),
        domain: domain.clone(),
        seed: keys.seed.clone(),
        http: Http::new(None)?,
        source: Arc::new(Acts(store.clone())),
        wake: acts_wake.clone(),
    };
    let keeper = Keeper {
        data: data_dir.clone(),
        domain: domain.clone(),
        seed: keys.seed.clone(),
        http: Http::new(None)?,
        source: batches,
        wake: wake.log.clone(),
    };
    let keeping_acts = tokio::spawn(acts_keeper.run(stopped.clone()));
    let keeping = tokio::spawn(keeper.run(stopped));
    let findings = Findings::default();
    let look = Look {
        store: store.clone(),
        index: index.clone(),
        findings: findings.clone(),
        caught_up: caught_up.clone(),
        wake: wake.clone(),
    };
    let scrub = sealdex_dbfile::each(move || look.through()).map_err(CloudError::Thread)?;
    let api = Api {
        findings,
        log_wake: wake.log.clone(),
        log_reader: FileReader::new(logs::folder(&data_dir, Which::Batches)),
        acts: store.clone(),
        acts_wake,
        acts_reader: FileReader::new(logs::folder(&data_dir, Which::Acts)),
        auth: Arc::new(Authenticator::new(keys.domain.clone(), domain.me, domain.clone())),
        tickets: Arc::new(Tickets::new(keys.domain, domain.me, now_ms())),
        domain,
        store: sealed,
        rosters: store.clone(),
        index,
        ledger: Arc::default(),
        ingest: ingest.clone(),
        caught_up,
        readers: Api::readers(),
        roster_gate: Arc::default(),
    };
    let router = guard::guard(http::router(api), "cloud", bounds);
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
            sealdex_net::serve(bound, listen.tls, router, stop).await;
            Ok(())
        }
        Err(e) => Err(e),
    };
    scrub.ask_to_stop();
    store.abandon_check();
    drop((scrub, store));
    let _ = stop_logs.send(true);
    let _ = keeping.await;
    let _ = keeping_acts.await;
    ingest.stop().await;
    wake.stop();
    let ended = tokio::task::spawn_blocking(move || writing.join().is_ok() & indexing.join().is_ok()).await;
    if !matches!(ended, Ok(true)) {
        tracing::error!("a thread of the cloud ended by a panic");
    }
    served
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
    fn through(&self) {
        match self.store.check(sealdex_dbfile::RATE) {
            Ok(found) => {
                if let Soundness::Damaged(what) = &found {
                    metrics::counter!("sealdex_cloud_damage_total", "file" => "store.redb").increment(1);
                    tracing::error!(
                        what,
                        "store.redb is damaged: see what differs with sealdex verify, and restore it"
                    );
                }
                self.findings.note("store.redb", &found);
            }
            Err(error) => tracing::error!(%error, "store.redb cannot be checked"),
        }
        match self.index.check() {
            Ok(None) => {}
            Ok(Some(files)) => {
                metrics::counter!("sealdex_cloud_damage_total", "file" => "index").increment(1);
                tracing::error!(files, "the search index is damaged and is built anew from the store");
                self.caught_up.store(false, Ordering::Release);
                self.wake.wake();
            }
            Err(error) => tracing::error!(%error, "the search index cannot be checked"),
        }
    }
}

async fn open(dir: PathBuf) -> Result<(Arc<RedbStore>, Arc<dyn MergedIndex>), CloudError> {
    let opened = tokio::task::spawn_blocking(move || {
        std::fs::create_dir_all(&dir).map_err(|source| CloudError::DataDir { dir: dir.clone(), source })?;
        let store = Arc::new(RedbStore::open(&dir.join("store.redb"))?);
        let index: Arc<dyn MergedIndex> = Arc::new(TantivyIndex::open(&dir.join("index"))?);
        Ok((store, index))
    });
    match opened.await {
        Ok(result) => result,
        Err(panic) => Err(CloudError::Thread(std::io::Error::other(panic))),
    }
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
