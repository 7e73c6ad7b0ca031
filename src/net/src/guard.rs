//! The outermost layer of a server's router: bounds, time limit, span, metrics.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::{MatchedPath, Request, State},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::get,
};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use sealdex_wire::ProblemType;
use tokio::sync::Semaphore;
use tracing::Instrument;

use crate::reply::Refusal;

/// Bounds of one server.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Requests worked on at once; one more is refused with 503.
    pub concurrency: usize,
    /// Longest a request may take, body included.
    pub timeout: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { concurrency: 256, timeout: Duration::from_secs(60) }
    }
}

#[derive(Clone)]
struct Guard {
    role: &'static str,
    bounds: Bounds,
    slots: Arc<Semaphore>,
}

/// Wraps a router with bounds, spans and metrics, and adds `/metrics`. `role` names the server in
/// spans and metrics.
pub fn guard(router: Router, role: &'static str, bounds: Bounds) -> Router {
    let guard = Guard { role, bounds, slots: Arc::new(Semaphore::new(bounds.concurrency)) };
    router
        .route("/metrics", get(|| async { recorder().render() }))
        .fallback(|| async { Refusal::new(ProblemType::NotFound, "no such path on this server") })
        .layer(from_fn_with_state(guard, pass))
}

/// The process-wide metrics recorder, installed at first use.
pub fn recorder() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        // Another recorder may be there already when embedded in a bigger program; then it serves.
        let _ = metrics::set_global_recorder(recorder);
        handle
    })
}

async fn pass(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    recorder();
    let path = request.extensions().get::<MatchedPath>().map_or("unmatched", |m| m.as_str()).to_owned();
    let method = request.method().clone();
    let span = tracing::info_span!("request", role = guard.role, %method, path);
    let started = Instant::now();
    let response = match guard.slots.try_acquire() {
        Err(_) => Refusal::new(ProblemType::Overloaded, "too many requests at once: try again").into_response(),
        Ok(_slot) => match tokio::time::timeout(guard.bounds.timeout, next.run(request).instrument(span.clone())).await
        {
            Ok(response) => response,
            Err(_) => Refusal::new(ProblemType::Timeout, "the request took too long").into_response(),
        },
    };
    let elapsed = started.elapsed();
    let status = response.status().as_u16();
    let labels = [("role", guard.role.to_owned()), ("path", path), ("status", status.to_string())];
    metrics::counter!("sealdex_requests_total", &labels).increment(1);
    metrics::histogram!("sealdex_request_seconds", &labels[..2]).record(elapsed.as_secs_f64());
    span.in_scope(|| {
        tracing::debug!(status, micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX), "served")
    });
    response
}
