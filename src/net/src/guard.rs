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
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use sealdex_wire::ProblemType;
use tokio::sync::Semaphore;
use tracing::Instrument;

use crate::{
    process,
    reply::Refusal,
    trace::{self, Trace},
};

/// Upper ends of the buckets of what ends in `_seconds`: from an index look-up to the longest a request may take.
const SECONDS: [f64; 14] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0];
/// Of every other histogram: counts and bytes.
const COUNTS: [f64; 14] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 100.0, 500.0, 1e3, 5e3, 1e4, 1e5, 1e6, 1e7];

/// The role whose requests come from other people's programs.
const GATEWAY: &str = "gateway";

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
    recorder();
    process::began(role);
    let guard = Guard { role, bounds, slots: Arc::new(Semaphore::new(bounds.concurrency)) };
    router
        .route("/metrics", get(metrics_text))
        .fallback(|| async { Refusal::new(ProblemType::NotFound, "no such path on this server") })
        .layer(from_fn_with_state(guard, pass))
}

/// The process-wide metrics recorder, installed at first use.
pub fn recorder() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        // Without buckets they would be summaries, which cannot be added up over servers.
        let builder = PrometheusBuilder::new()
            .set_buckets(&COUNTS)
            .and_then(|b| b.set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS))
            .unwrap_or_else(|_| PrometheusBuilder::new());
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        // Another recorder may be there already when embedded in a bigger program; then it serves.
        let _ = metrics::set_global_recorder(recorder);
        handle
    })
}

async fn metrics_text() -> String {
    process::observe();
    recorder().render()
}

async fn pass(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    recorder();
    let path = request.extensions().get::<MatchedPath>().map_or("unmatched", |m| m.as_str()).to_owned();
    let method = request.method().clone();
    let trace = Trace::of(request.headers());
    let span =
        tracing::info_span!("request", role = guard.role, %method, path, trace = %trace.trace, span = %trace.span);
    let started = Instant::now();
    let response = match guard.slots.try_acquire() {
        Err(_) => Refusal::new(ProblemType::Overloaded, "too many requests at once: try again").into_response(),
        Ok(_slot) => {
            let work = next.run(request).instrument(span.clone());
            let work = tokio::time::timeout(guard.bounds.timeout, work);
            // What a FHIR client calls one trace may be a whole session of its: it stays here.
            let response = if guard.role == GATEWAY { work.await } else { trace.scope(work).await };
            response.unwrap_or_else(|_| Refusal::new(ProblemType::Timeout, "the request took too long").into_response())
        }
    };
    let elapsed = started.elapsed();
    let status = response.status().as_u16();
    let labels = [("role", guard.role.to_owned()), ("path", path), ("status", status.to_string())];
    metrics::counter!("sealdex_requests_total", &labels).increment(1);
    metrics::histogram!("sealdex_request_seconds", &labels[..2]).record(elapsed.as_secs_f64());
    trace::record(&trace, guard.role, &format!("{method} {}", labels[1].1), elapsed, Some(status));
    let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
    span.in_scope(|| match status {
        500.. => tracing::warn!(status, micros, "failed"),
        _ => tracing::debug!(status, micros, "served"),
    });
    response
}
