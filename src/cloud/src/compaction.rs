//! Compaction while the cloud serves: every so often, or when SIGUSR2 asks.
//!
//! First the store, then the segments of the index that have deleted documents. It is over once nobody reads what was there
//! before.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use clap::Args;
use sealdex_net::{
    blocking,
    clock::{Every, now_ms},
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::Notify,
    task::JoinHandle,
};

use crate::{
    index::{IndexError, MergedIndex, Purged},
    indexer::Wake,
    store::{Compacted, GivenUp, Pace, RedbStore},
};

/// Pause after one that was given up.
const RETRY: Duration = Duration::from_secs(3600);
/// How long readers of what was there before are waited for: a request ends in a minute, a backup may take longer.
const LAST_READERS: Duration = Duration::from_secs(600);
/// How often it is looked whether something has ended.
const LOOK: Duration = Duration::from_millis(20);

/// Options of compaction.
#[derive(Args, Clone, Copy, Debug)]
pub struct CompactOptions {
    /// Before serving, get rid of every byte of records that were replaced or deleted: write the store anew and build the
    /// search index anew. Takes room for a second store meanwhile.
    #[arg(long)]
    pub compact: bool,
    /// How often to do the same while serving: a number and s, m, h or d, counted from when the store's file was made.
    /// `never`: only when SIGUSR2 asks. Takes room for a second store and for the largest part of the index.
    #[arg(long, value_name = "TIME", default_value = "never")]
    pub compact_every: Every,
    /// How much of the store is copied in a second meanwhile, MiB at most.
    #[arg(long, value_name = "MIB", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub compact_rate: u32,
}

impl CompactOptions {
    /// What is done while it serves.
    pub fn plan(&self) -> CompactPlan {
        CompactPlan { every: self.compact_every.0, rate: u64::from(self.compact_rate) << 20 }
    }
}

/// How often, how fast.
#[derive(Clone, Copy, Debug)]
pub struct CompactPlan {
    /// How often; `None`: only when asked.
    pub every: Option<Duration>,
    /// Bytes a second at most.
    pub rate: u64,
}

impl Default for CompactPlan {
    fn default() -> Self {
        Self { every: None, rate: 32 << 20 }
    }
}

/// Hears SIGUSR2 from now on: unheard it would end the process.
pub(crate) fn asked() -> std::io::Result<Signal> {
    signal(SignalKind::user_defined2())
}

/// What is compacted, and what must hear of it.
pub(crate) struct Compactor {
    pub(crate) path: PathBuf,
    pub(crate) store: Arc<RedbStore>,
    pub(crate) index: Arc<dyn MergedIndex>,
    pub(crate) wake: Wake,
    pub(crate) rate: u64,
}

/// Compaction as it waits or goes on.
pub(crate) struct Running {
    stop: Arc<AtomicBool>,
    bell: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Running {
    /// What goes on is given up; nothing begins.
    pub(crate) fn ask_to_stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.bell.notify_one();
    }

    /// Waits for that.
    pub(crate) async fn end(self) {
        self.ask_to_stop();
        let _ = self.task.await;
    }
}

impl Compactor {
    pub(crate) fn start(self, every: Option<Duration>, asked: Signal) -> Running {
        let (stop, bell) = (Arc::new(AtomicBool::new(false)), Arc::new(Notify::new()));
        let task = tokio::spawn(Arc::new(self).run(every, asked, stop.clone(), bell.clone()));
        Running { stop, bell, task }
    }

    async fn run(
        self: Arc<Self>,
        every: Option<Duration>,
        mut asked: Signal,
        stop: Arc<AtomicBool>,
        bell: Arc<Notify>,
    ) {
        // Counted from when the file was made, so that a server that keeps restarting skips none.
        let mut wait = every.map(|every| every.saturating_sub(self.age()));
        while !stop.load(Ordering::Acquire) {
            let timer = async {
                match wait {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = timer => {}
                asked = asked.recv() => if asked.is_none() { return },
                () = bell.notified() => continue,
            }
            let (compactor, stopped) = (self.clone(), stop.clone());
            let done = blocking(move || compactor.once(&stopped)).await;
            wait = every.map(|every| if matches!(done, Ok(true)) { every } else { every.min(RETRY) });
        }
    }

    /// Age of the file, as the file system has it; zero where it does not say.
    fn age(&self) -> Duration {
        std::fs::metadata(&self.path).and_then(|m| m.created()).ok().and_then(|c| c.elapsed().ok()).unwrap_or_default()
    }

    /// Compacts, and says how it went. Whether it is done.
    fn once(&self, stop: &AtomicBool) -> bool {
        let began = Instant::now();
        // The libraries may panic over damaged files.
        let whole = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.compact(stop)));
        metrics::gauge!("sealdex_cloud_compaction_share").set(0.0);
        let outcome = match &whole {
            Ok(Ok(true)) => "done",
            Ok(Ok(false)) => "partly",
            Ok(Err(Failure::Store(GivenUp::Stopped))) => return false,
            _ => "failed",
        };
        metrics::counter!("sealdex_cloud_compactions_total", "outcome" => outcome).increment(1);
        metrics::histogram!("sealdex_cloud_compaction_seconds").record(began.elapsed().as_secs_f64());
        match whole {
            Ok(Ok(true)) => {
                metrics::gauge!("sealdex_cloud_compacted_seconds").set(now_ms() as f64 / 1000.0);
                tracing::info!(ms = began.elapsed().as_millis() as u64, "compacted: nothing of what had ended is left");
            }
            Ok(Ok(false)) => tracing::warn!("compacted, but files of before are still read, or the server stops"),
            Ok(Err(error)) => tracing::warn!(%error, "compaction was given up; what is stored is served as before"),
            Err(_) => tracing::error!("compaction ended by a panic; what is stored is served as before"),
        }
        outcome == "done"
    }

    fn compact(&self, stop: &AtomicBool) -> Result<bool, Failure> {
        tracing::info!("compaction begins");
        let done = self.store.compact(&mut Pace::new(self.rate, stop))?;
        let Compacted { batches, rows, rounds, held, replaced } = &done;
        metrics::histogram!("sealdex_cloud_compaction_held_seconds").record(held.as_secs_f64());
        let (before, after, held_ms) = (replaced.before, replaced.after, held.as_secs_f64() * 1000.0);
        tracing::info!(before, after, rows, rounds, held_ms, "the store was written anew");
        // What searches read moves on to the new file.
        self.wake.wake();
        let go_on = || !stop.load(Ordering::Acquire);
        while self.index.indexed() < *batches && go_on() {
            thread::sleep(LOOK);
        }
        let since = Instant::now();
        let purged = self.index.purge(&|| go_on() && since.elapsed() < LAST_READERS)?;
        let Purged { segments, documents, gone } = purged;
        tracing::info!(segments, documents, "segments of the search index were written anew");
        while !done.replaced.is_let_go() && go_on() && since.elapsed() < LAST_READERS {
            thread::sleep(LOOK);
        }
        Ok(gone && done.replaced.is_let_go())
    }
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Store(#[from] GivenUp),
    #[error("the store is compacted, the search index is not: {0}")]
    Index(#[from] IndexError),
}
