//! A witness over HTTP (C2SP tlog-witness).

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use axum::{
    Router,
    extract::{DefaultBodyLimit, State},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use bytes::Bytes;
use http::{StatusCode, header};
use sealdex_net::{Listen, clock::now_s, guard};
use sealdex_tlog::{
    note::{CosignerKey, VerifierKey},
    witness::{FollowError, Refusal, SIZE_CONTENT_TYPE, StorageError, Witness, WitnessFiles},
};

/// Bytes of a request that are read: a checkpoint and 63 hashes take a tenth of it.
pub const MAX_BODY_BYTES: usize = 64 << 10;

const TEXT: &str = "text/plain; charset=utf-8";

/// What a witness is and which logs it follows.
pub struct WitnessConfig {
    /// Folder of its memory: one file a log. Whoever loses it lets logs fork.
    pub dir: PathBuf,
    /// Where to listen.
    pub listen: Listen,
    /// What it signs with.
    pub key: CosignerKey,
    /// Origins of logs, with the keys that sign them.
    pub logs: Vec<(String, Vec<VerifierKey>)>,
    /// Bounds on requests.
    pub bounds: guard::Bounds,
}

/// Why a witness could not start.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// Its memory.
    #[error("cannot use the folder {dir} (does another witness run on it?): {source}")]
    Dir {
        /// Which.
        dir: PathBuf,
        /// Why.
        source: StorageError,
    },
    /// A log that cannot be followed.
    #[error("cannot follow {origin}: {source}")]
    Log {
        /// Which.
        origin: String,
        /// Why.
        source: FollowError,
    },
    /// A log given twice: one of its keys would be ignored.
    #[error("the log {origin} is given twice: give all its keys at once")]
    SameLog {
        /// Which.
        origin: String,
    },
    /// The address.
    #[error("cannot listen on {addr}: {source}")]
    Listen {
        /// Which.
        addr: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

struct Api {
    witness: Witness<WitnessFiles>,
    origins: Vec<String>,
}

/// Serves until `stop` resolves, then finishes what was accepted. `ready` is told the bound address. What a cosignature
/// says is on disk before it is answered, so a witness that was killed goes on where it was.
///
/// # Errors
/// [`WitnessError`].
pub async fn serve(
    config: WitnessConfig,
    ready: impl FnOnce(SocketAddr),
    stop: impl Future<Output = ()>,
) -> Result<(), WitnessError> {
    let WitnessConfig { dir, listen, key, logs, bounds } = config;
    let router = open(dir, key, logs, bounds)?;
    let failed = |source| WitnessError::Listen { addr: listen.addr, source };
    let bound = listen.bind().await.map_err(failed)?;
    let addr = bound.local_addr().map_err(failed)?;
    tracing::info!(%addr, "the witness listens");
    ready(addr);
    sealdex_net::serve(bound, listen.tls, router, stop).await;
    Ok(())
}

/// The routes of a witness that keeps its word in `dir`.
///
/// # Errors
/// [`WitnessError`].
pub fn open(
    dir: PathBuf,
    key: CosignerKey,
    logs: Vec<(String, Vec<VerifierKey>)>,
    bounds: guard::Bounds,
) -> Result<Router, WitnessError> {
    let files = WitnessFiles::open(&dir).map_err(|source| WitnessError::Dir { dir, source })?;
    let mut api = Api { witness: Witness::new(key, files), origins: Vec::new() };
    for (origin, keys) in logs {
        if api.origins.contains(&origin) {
            return Err(WitnessError::SameLog { origin });
        }
        let followed = api.witness.follow(origin.clone(), keys);
        followed.map_err(|source| WitnessError::Log { origin: origin.clone(), source })?;
        api.origins.push(origin);
    }
    Ok(guard::guard(router(Arc::new(api)), "witness", bounds))
}

fn router(api: Arc<Api>) -> Router {
    Router::new()
        .route("/add-checkpoint", post(add_checkpoint).layer(DefaultBodyLimit::max(MAX_BODY_BYTES)))
        .route("/", get(about))
        .route("/healthz", get(|| async { "ok\n" }))
        .with_state(api)
}

async fn add_checkpoint(State(api): State<Arc<Api>>, body: Bytes) -> Response {
    // A witness writes to disk before it answers.
    let answer = sealdex_net::blocking(move || api.witness.add_checkpoint(&body, now_s())).await;
    match answer {
        Ok(Ok(cosignature)) => text(StatusCode::OK, TEXT, cosignature),
        Ok(Err(refusal)) => refuse(&refusal),
        Err(panic) => failed(&panic),
    }
}

fn refuse(refusal: &Refusal) -> Response {
    match refusal {
        Refusal::Storage(error) => tracing::error!(%error, "cannot cosign"),
        Refusal::Fork { .. } => tracing::warn!(%refusal, "refused to cosign"),
        _ => tracing::debug!(%refusal, "refused to cosign"),
    }
    let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let media = if status == StatusCode::CONFLICT { SIZE_CONTENT_TYPE } else { TEXT };
    text(status, media, refusal.body())
}

/// Which key, and which logs with the size cosigned last.
async fn about(State(api): State<Arc<Api>>) -> Response {
    let about = sealdex_net::blocking(move || {
        let mut about = format!("witness {}\n", api.witness.verifier());
        for origin in &api.origins {
            let size = api.witness.latest(origin)?.map_or(0, |head| head.size);
            about.push_str(&format!("{size} {origin}\n"));
        }
        Ok::<_, StorageError>(about)
    });
    match about.await {
        Ok(Ok(about)) => text(StatusCode::OK, TEXT, about),
        Ok(Err(error)) => failed(&error),
        Err(panic) => failed(&panic),
    }
}

fn failed(error: &dyn std::error::Error) -> Response {
    tracing::error!(%error, "request failed");
    text(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "the witness failed; its log has the cause\n".into())
}

fn text(status: StatusCode, media: &'static str, body: String) -> Response {
    (status, [(header::CONTENT_TYPE, media)], body).into_response()
}
