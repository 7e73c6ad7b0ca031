//! The cloud's requests. Whatever reads or writes more than memory runs off the event loop.

mod acts;
mod control;
mod data;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{
    Router,
    extract::{FromRef, State},
    routing::{get, post, put},
};
use sealdex_dbfile::Findings;
use sealdex_lognet::log_router;
use sealdex_net::{Authenticator, Refusal, trace::Stage};
use sealdex_tlog::log::FileReader;
use sealdex_wire::ProblemType;
use tokio::sync::{Notify, Semaphore};

use crate::{
    index::MergedIndex,
    ingest::Ingest,
    ledger::Ledger,
    members::Domain,
    store::{ActStore, RosterStore, SealedStore, StoreError},
    tickets::Tickets,
};

/// Searches and fetches worked on at once; others wait.
const READERS: usize = 8;

/// Everything a handler needs.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) auth: Arc<Authenticator>,
    pub(crate) domain: Arc<Domain>,
    pub(crate) store: Arc<dyn SealedStore>,
    pub(crate) rosters: Arc<dyn RosterStore>,
    pub(crate) index: Arc<dyn MergedIndex>,
    pub(crate) ledger: Arc<Ledger>,
    /// Told when a roster may have changed the log's policy.
    pub(crate) log_wake: Arc<Notify>,
    pub(crate) log_reader: FileReader,
    pub(crate) acts: Arc<dyn ActStore>,
    /// Told when acts were stored, or a roster may have changed.
    pub(crate) acts_wake: Arc<Notify>,
    pub(crate) acts_reader: FileReader,
    pub(crate) ingest: Ingest,
    pub(crate) tickets: Arc<Tickets>,
    pub(crate) caught_up: Arc<AtomicBool>,
    /// What the last look through the files found.
    pub(crate) findings: Findings,
    pub(crate) readers: Arc<Semaphore>,
    /// Held while a roster is compared with the last and stored.
    pub(crate) roster_gate: Arc<tokio::sync::Mutex<()>>,
}

impl FromRef<Api> for Arc<Authenticator> {
    fn from_ref(api: &Api) -> Self {
        api.auth.clone()
    }
}

impl Api {
    pub(crate) fn readers() -> Arc<Semaphore> {
        Arc::new(Semaphore::new(READERS))
    }

    /// Runs a read off the event loop, a bounded number at once.
    async fn read<T: Send + 'static>(
        &self,
        f: impl FnOnce(&Self) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let slot = {
            let _stage = Stage::cloud("wait");
            self.readers.clone().acquire_owned().await.map_err(Refusal::internal)?
        };
        let api = self.clone();
        blocking(move || {
            let _slot = slot;
            f(&api)
        })
        .await
    }

    fn ready(&self) -> Result<(), Refusal> {
        self.domain.members()?;
        if self.caught_up.load(Ordering::Acquire) {
            Ok(())
        } else {
            Err(Refusal::new(ProblemType::Overloaded, "the search index is being brought up to date"))
        }
    }
}

/// A write that failed.
fn unwritten(e: StoreError) -> Refusal {
    match e {
        StoreError::NoSpace(_) => {
            tracing::error!(error = %e, "the store cannot be written");
            Refusal::new(
                ProblemType::NoSpace,
                "the cloud's disk has no room: nothing was accepted; send it again later",
            )
        }
        other => Refusal::internal(other),
    }
}

/// Runs work off the event loop; a panic in it is the server's fault, not the caller's.
async fn blocking<T: Send + 'static>(f: impl FnOnce() -> Result<T, Refusal> + Send + 'static) -> Result<T, Refusal> {
    sealdex_net::blocking(f).await.map_err(Refusal::internal)?
}

/// The routes, without the outermost layer.
pub(crate) fn router(api: Api) -> Router {
    let (log, acts) = (log_router(api.log_reader.clone()), log_router(api.acts_reader.clone()));
    Router::new()
        .route("/log/batches/ended/{seq}", get(data::ended))
        .route("/v1/roster", put(control::put_roster))
        .route("/v1/members", post(control::post_members))
        .route("/v1/batches", post(data::batches))
        .route("/v1/acts", post(acts::post))
        .route("/v1/versions", post(data::versions))
        .route("/v1/search", post(data::search))
        .route("/v1/scan", post(data::scan))
        .route("/v1/stored", post(data::stored))
        .route("/v1/records", post(data::records))
        .route("/v1/tickets/withdraw", post(data::withdraw))
        .route("/v1/stats", get(control::stats))
        .route("/v1/excerpt", get(control::excerpt))
        .route("/healthz", get(|| async { "ok\n" }))
        .route(
            "/readyz",
            get(|State(api): State<Api>| async move {
                let damaged = api.findings.damaged().map_or(String::new(), |d| format!(", but damaged: {d}"));
                api.ready().map(|()| format!("ready{damaged}\n"))
            }),
        )
        .with_state(api)
        .nest("/log/batches", log)
        .nest("/log/acts", acts)
}
