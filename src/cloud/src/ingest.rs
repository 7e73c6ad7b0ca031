//! The way in: a bounded queue, one writer thread, one `fsync` for everything that waits.

use std::{sync::Arc, time::Instant};

use sealdex_net::edge::{self, Worker};
use sealdex_wire::ingest::BatchReceipt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::{
    indexer::Wake,
    store::{NewBatch, Refused, SealedStore, StoreError},
};

/// Batches that wait at most; one more is refused as overload.
const QUEUE: usize = 64;
/// Bytes of request bodies taken in at once, KiB; one more is refused as overload.
const ROOM_KIB: usize = 128 << 10;
/// Batches written in one transaction at most.
const GROUP: usize = 32;

/// Why a batch was not accepted.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum IngestError {
    /// Too much is waiting.
    #[error("too many batches are waiting: send it again later")]
    Full,
    /// It contradicts what is stored.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// There is no room on the disk.
    #[error(
        "the cloud's disk has no room for more: nothing was accepted. What is stored is served; send it again later"
    )]
    NoSpace,
    /// The store failed; the log says how.
    #[error("the batch could not be stored")]
    Failed,
}

enum Job {
    Accept { batch: NewBatch, answer: oneshot::Sender<Result<BatchReceipt, IngestError>>, room: Room, since: Instant },
    Stop,
}

/// Room for one request's bytes, until it is answered.
pub(crate) struct Room(#[allow(dead_code)] OwnedSemaphorePermit); // held for its drop

/// Hands batches to the writer thread.
#[derive(Clone)]
pub(crate) struct Ingest {
    queue: mpsc::Sender<Job>,
    room: Arc<Semaphore>,
}

impl Ingest {
    /// Starts the writer thread, which ends at [`Ingest::stop`].
    pub(crate) fn start(store: Arc<dyn SealedStore>, wake: Wake) -> std::io::Result<(Self, Worker)> {
        let (queue, jobs) = mpsc::channel(QUEUE);
        let writer = edge::worker("cloud-writer", write(store, jobs, wake))?;
        Ok((Self { queue, room: Arc::new(Semaphore::new(ROOM_KIB)) }, writer))
    }

    /// Batches that wait now.
    pub(crate) fn waiting(&self) -> u64 {
        (self.queue.max_capacity() - self.queue.capacity()) as u64
    }

    /// Room for a body of `bytes`, or overload.
    pub(crate) fn room(&self, bytes: usize) -> Result<Room, IngestError> {
        let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        self.room.clone().try_acquire_many_owned(kib).map(Room).map_err(|_| IngestError::Full)
    }

    /// Waits until the batch is durable.
    pub(crate) async fn accept(&self, batch: NewBatch, room: Room) -> Result<BatchReceipt, IngestError> {
        let (answer, answered) = oneshot::channel();
        self.queue.try_send(Job::Accept { batch, answer, room, since: Instant::now() }).map_err(|e| match e {
            mpsc::error::TrySendError::Full(_) => IngestError::Full,
            mpsc::error::TrySendError::Closed(_) => IngestError::Failed,
        })?;
        answered.await.unwrap_or(Err(IngestError::Failed))
    }

    /// Lets the writer finish what waits and end.
    pub(crate) async fn stop(&self) {
        let _ = self.queue.send(Job::Stop).await;
    }
}

async fn write(store: Arc<dyn SealedStore>, mut jobs: mpsc::Receiver<Job>, wake: Wake) {
    let mut stopping = false;
    while !stopping {
        let Some(first) = jobs.recv().await else { return };
        let (mut group, mut waiting) = (Vec::new(), Vec::new());
        let mut next = Some(first);
        while let Some(job) = next {
            match job {
                Job::Accept { batch, answer, room, since } => {
                    metrics::histogram!("sealdex_cloud_queue_wait_seconds").record(since.elapsed().as_secs_f64());
                    group.push(batch);
                    waiting.push((answer, room));
                }
                Job::Stop => stopping = true,
            }
            next = if group.len() < GROUP && !stopping { jobs.try_recv().ok() } else { None };
        }
        if group.is_empty() {
            continue;
        }
        let began = Instant::now();
        // The library may panic over a damaged file; the next group may be none of it.
        let accepted = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| store.accept(&group)));
        let answers = accepted.unwrap_or(Err(StoreError::Damaged("some table")));
        metrics::histogram!("sealdex_cloud_commit_seconds").record(began.elapsed().as_secs_f64());
        metrics::histogram!("sealdex_cloud_group_batches").record(group.len() as f64);
        drop(group);
        match answers {
            Ok(answers) => {
                for ((answer, _room), result) in waiting.into_iter().zip(answers) {
                    // Whoever no longer waits will ask again and be told of the duplicate.
                    let _ = answer.send(result.map_err(IngestError::Refused));
                }
                wake.wake();
            }
            Err(error) => {
                tracing::error!(%error, "a group of batches could not be stored");
                metrics::counter!("sealdex_cloud_write_failures_total").increment(1);
                let why =
                    if matches!(error, StoreError::NoSpace(_)) { IngestError::NoSpace } else { IngestError::Failed };
                waiting.into_iter().for_each(|(answer, _room)| drop(answer.send(Err(why))));
                // What searches read may be of a file that was opened again.
                wake.wake();
            }
        }
    }
}
