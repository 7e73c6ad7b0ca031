//! Starting and stopping a cloud.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use sealdex_crypto::PrincipalId;
use sealdex_dbfile::{Findings, Soundness};
use sealdex_lognet::domain::Which;
use sealdex_net::{Authenticator, Listen, clock::now_ms, guard, peer::Http, tls::TlsError};
use sealdex_tlog::log::FileReader;
use sealdex_wire::roster::BadKeys;

use tokio::sync::{Notify, watch};

use crate::{
    CloudKeys,
    backup::{
        Backup, BackupError, First,
        schedule::{self, BackupPlan},
    },
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
    let rewritten = rewrite(&data_dir.join("store.redb"))?;
    let index = data_dir.join("index");
    match std::fs::remove_dir_all(&index) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(CloudError::DataDir { dir: index, source }),
        _ => Ok(rewritten),
    }
}

/// Serves until `stop` resolves, then finishes what was accepted. `ready` is told the bound address
/// as soon as requests are taken; `/readyz` tells when searches are.
pub async fn serve(
    config: CloudConfig,
    ready: impl FnOnce(SocketAddr),
    stop: impl Future<Output = ()>,
) -> Result<(), CloudError> {
    let CloudConfig { data_dir, listen, keys, bounds, backup: plan } = config;
    guard::recorder();
    let authority = keys.authority.identity()?;
    let domain = Arc::new(Domain::new(keys.domain.clone(), keys.id(), authority));
    let (store, index) = open(data_dir.clone()).await?;
    if let Some(restored) = store.restored()? {
        return Err(CloudError::Restored { batch: restored.batch });
    }
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

    let asked = schedule::asked()?;
    let Backups { backup, sealed, acts } = backups(&store, domain.me, plan.as_ref()).await?;
    let backing_up =
        tokio::spawn(schedule::run(backup.clone(), plan.as_ref().and_then(|p| p.every), asked)).abort_handle();

    let caught_up = Arc::new(AtomicBool::new(false));
    let (wake, listener) = indexer::bell();
    let indexing = listener.start(sealed.clone(), index.clone(), caught_up.clone()).map_err(CloudError::Thread)?;
    let (ingest, writing) = Ingest::start(sealed.clone(), wake.clone()).map_err(CloudError::Thread)?;

    let first = backup.filter(|_| plan.is_some_and(|p| p.first));
    let batches = Arc::new(Batches { store: sealed.clone(), index: index.clone(), first });
    let (stop_logs, stopped) = watch::channel(false);
    let acts_wake = Arc::new(Notify::new());
    let acts_keeper = Keeper {
        data: data_dir.clone(),
        domain: domain.clone(),
        seed: keys.seed.clone(),
        http: Http::new(None)?,
        source: Arc::new(Acts(acts.clone())),
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
        acts,
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
    let observed = Observed {
        data: data_dir,
        domain: api.domain.clone(),
        store: api.store.clone(),
        acts: api.acts.clone(),
        index: api.index.clone(),
        ingest: ingest.clone(),
    };
    let observing = tokio::spawn(observed.run()).abort_handle();
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
    observing.abort();
    backing_up.abort();
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

/// The store as it is written to, and what backs it up.
struct Backups {
    backup: Option<Arc<Backup>>,
    sealed: Arc<dyn SealedStore>,
    acts: Arc<dyn ActStore>,
}

async fn backups(store: &Arc<RedbStore>, cloud: PrincipalId, plan: Option<&BackupPlan>) -> Result<Backups, CloudError> {
    let plain = |backup| Backups { backup, sealed: store.clone(), acts: store.clone() };
    let Some(BackupPlan { dir, keep, first, .. }) = plan.cloned() else { return Ok(plain(None)) };
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
    if !first {
        return Ok(plain(Some(backup)));
    }
    let written = Arc::new(First { store: store.clone(), backup: backup.clone() });
    Ok(Backups { backup: Some(backup), sealed: written.clone(), acts: written })
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
