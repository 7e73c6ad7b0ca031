//! The outermost layer of a server's router: bounds, time limit, span, metrics.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::{Body, HttpBody},
    extract::{MatchedPath, Request, State},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::get,
};
use http::{HeaderValue, header};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use sealdex_wire::{ProblemType, limits};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::Instrument;

use crate::{
    bodies::{Held, Metered, RATE, Room, SMALL, Stopped, keeping},
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
/// Bytes of requests that a server holds at once, beside 64 KiB of each; a request beyond is refused with 503.
pub const REQUEST_BYTES: usize = 192 << 20;
/// Bytes of answers that wait to be read at once, beside those up to 64 KiB; an answer beyond is replaced by 503.
pub const ANSWER_BYTES: usize = 512 << 20;
/// What is kept back for [`URGENT`] requests: requests at once, and bytes of their bodies.
pub const RESERVE: (usize, usize) = (64, 32 << 20);
/// Requests that must get through when a server has all it can take: what ends access, who belongs to the domain, and
/// how the server is.
const URGENT: &[&str] = &[
    "/healthz",
    "/readyz",
    "/metrics",
    "/v1/revocations",
    "/v1/emergencies/close",
    "/v1/erasures",
    "/v1/consent",
    "/v1/roster",
    "/v1/members",
    "/v1/replica",
    "/v1/tickets/withdraw",
];

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
    common: Share,
    reserve: Share,
    answers: Room,
}

/// A share of what a server can take.
#[derive(Clone)]
struct Share {
    slots: Arc<Semaphore>,
    room: Room,
}

impl Share {
    fn new(requests: usize, bytes: usize) -> Self {
        Self { slots: Arc::new(Semaphore::new(requests)), room: Room::new(bytes) }
    }

    /// A slot and the room that goes with it, if both have some left for a body of `bytes`.
    fn admit(&self, bytes: usize) -> Option<(OwnedSemaphorePermit, Room)> {
        if bytes.saturating_sub(SMALL) > self.room.left() {
            return None;
        }
        Some((self.slots.clone().try_acquire_owned().ok()?, self.room.clone()))
    }
}

/// Wraps a router with bounds, spans and metrics, and adds `/metrics`. `role` names the server in
/// spans and metrics.
pub fn guard(router: Router, role: &'static str, bounds: Bounds) -> Router {
    recorder();
    process::began(role);
    let guard = Guard {
        role,
        bounds,
        common: Share::new(bounds.concurrency, REQUEST_BYTES),
        reserve: Share::new(RESERVE.0, RESERVE.1),
        answers: Room::new(ANSWER_BYTES),
    };
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

impl Guard {
    /// A slot of the common share; for urgent requests else one of the reserve.
    fn admit(&self, path: &str, request: &Request) -> Result<(OwnedSemaphorePermit, Room), Refusal> {
        let declared = request.body().size_hint().lower();
        if declared > limits::BODY as u64 {
            return Err(Refusal::new(ProblemType::TooLarge, format!("a body is at most {} bytes", limits::BODY)));
        }
        let declared = usize::try_from(declared).unwrap_or(usize::MAX);
        let admitted = self.common.admit(declared);
        let admitted =
            if URGENT.contains(&path) { admitted.or_else(|| self.reserve.admit(declared)) } else { admitted };
        admitted.ok_or_else(|| Refusal::new(ProblemType::Overloaded, "too many requests at once: try again"))
    }

    /// Runs a request within its bounds: what its body takes is held until it is answered, what the answer takes until it
    /// is sent.
    async fn answer(&self, request: Request, room: Room, next: Next, trace: &Trace, span: &tracing::Span) -> Response {
        let held = Held::default();
        let request = request.map(|body| Body::new(Metered::new(body, room, held.clone())));
        let work = tokio::time::timeout(self.bounds.timeout, next.run(request).instrument(span.clone()));
        // What a FHIR client calls one trace may be a whole session of its: it stays here.
        let ran = if self.role == GATEWAY { work.await } else { trace.scope(work).await };
        let mut response = match (held.stopped(), ran) {
            (None, Ok(response)) => return self.within_room(response),
            (Some(Stopped::NoRoom), _) => {
                Refusal::new(ProblemType::Overloaded, "too many bodies at once: try again").into_response()
            }
            (Some(Stopped::Slow), _) => {
                let detail = format!("the body came slower than {RATE} bytes a second");
                Refusal::new(ProblemType::Timeout, detail).into_response()
            }
            (None, Err(_)) => Refusal::new(ProblemType::Timeout, "the request took too long").into_response(),
        };
        // What is left of the body will not be read.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        response
    }

    fn within_room(&self, response: Response) -> Response {
        let size = response.body().size_hint().exact().and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
        if size <= SMALL {
            return response;
        }
        match self.answers.take(size) {
            Some(permit) => response.map(|body| keeping(body, permit)),
            None => {
                Refusal::new(ProblemType::Overloaded, "too many answers wait to be read: try again").into_response()
            }
        }
    }
}

async fn pass(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    recorder();
    let path = request.extensions().get::<MatchedPath>().map_or("unmatched", |m| m.as_str()).to_owned();
    let method = request.method().clone();
    let trace = Trace::of(request.headers());
    let span =
        tracing::info_span!("request", role = guard.role, %method, path, trace = %trace.trace, span = %trace.span);
    let started = Instant::now();
    let response = match guard.admit(&path, &request) {
        Err(refusal) => refusal.into_response(),
        Ok((_slot, room)) => guard.answer(request, room, next, &trace, &span).await,
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
