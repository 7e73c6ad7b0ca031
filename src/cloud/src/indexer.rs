//! The thread that brings the merged index to the state of the store.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use sealdex_net::edge::{self, Worker};
use tokio::{sync::Notify, time::Instant};

use crate::{
    index::{IndexError, MergedIndex},
    store::SealedStore,
};

/// Shortest time between two commits. An idle index takes a batch at once; under load the batches
/// of this long share a commit and a segment.
const PACE: Duration = Duration::from_millis(200);
/// How long nothing comes in before the index is tidied, and how often it is looked after that.
const REST: Duration = Duration::from_secs(2);
/// Pause after a failure.
const RETRY: Duration = Duration::from_secs(1);

/// Tells the indexer that there is something to do. Cheap, any number of times.
#[derive(Clone)]
pub(crate) struct Wake {
    bell: Arc<Notify>,
    stop: Arc<AtomicBool>,
    /// The log's keeper.
    pub(crate) log: Arc<Notify>,
}

impl Wake {
    pub(crate) fn wake(&self) {
        // A bell that rings already is enough.
        self.bell.notify_one();
        self.log.notify_one();
    }

    /// Ends the thread after the commit it is at.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.wake();
    }
}

/// A new bell, and what listens to it.
pub(crate) fn bell() -> (Wake, Listener) {
    let (bell, stop) = (Arc::new(Notify::new()), Arc::new(AtomicBool::new(false)));
    (Wake { bell: bell.clone(), stop: stop.clone(), log: Arc::default() }, Listener { bell, stop })
}

/// The indexer's side of the bell.
pub(crate) struct Listener {
    bell: Arc<Notify>,
    stop: Arc<AtomicBool>,
}

impl Listener {
    /// Starts the thread. `caught_up` is set once everything that was accepted before the start is
    /// searchable.
    pub(crate) fn start(
        self,
        store: Arc<dyn SealedStore>,
        index: Arc<dyn MergedIndex>,
        caught_up: Arc<AtomicBool>,
    ) -> std::io::Result<Worker> {
        edge::worker("cloud-indexer", self.run(store, index, caught_up))
    }

    async fn run(self, store: Arc<dyn SealedStore>, index: Arc<dyn MergedIndex>, caught_up: Arc<AtomicBool>) {
        while !self.stop.load(Ordering::Acquire) {
            let started = Instant::now();
            // The libraries may panic over damaged files.
            let stepped = catch_unwind(AssertUnwindSafe(|| step(&*store, &*index, &caught_up)));
            if !stepped.unwrap_or(false) {
                tokio::time::sleep(RETRY).await;
                continue;
            }
            self.rest(&*index).await;
            if !self.stop.load(Ordering::Acquire) {
                tokio::time::sleep(PACE.saturating_sub(started.elapsed())).await;
            }
        }
    }
}

impl Listener {
    /// Until the bell rings. Meanwhile the index is tidied, while there is something to tidy.
    async fn rest(&self, index: &dyn MergedIndex) {
        while tokio::time::timeout(REST, self.bell.notified()).await.is_err() {
            let tidied = catch_unwind(AssertUnwindSafe(|| index.tidy())).unwrap_or(Ok(false));
            match tidied {
                Ok(true) => {}
                Ok(false) => return self.bell.notified().await,
                Err(error) => {
                    tracing::warn!(%error, "segments of the index cannot be merged now");
                    return self.bell.notified().await;
                }
            }
        }
    }
}

/// One round; false when it failed.
fn step(store: &dyn SealedStore, index: &dyn MergedIndex, caught_up: &AtomicBool) -> bool {
    let started = Instant::now();
    match store.snapshot().map_err(IndexError::from).and_then(|snapshot| index.catch_up(snapshot)) {
        Ok(seq) => {
            caught_up.store(true, Ordering::Release);
            metrics::gauge!("sealdex_cloud_indexed_seq").set(seq as f64);
            metrics::histogram!("sealdex_cloud_index_commit_seconds").record(started.elapsed().as_secs_f64());
            true
        }
        Err(error) => {
            tracing::error!(%error, "the index could not be brought up to date; trying again");
            false
        }
    }
}
