//! Trace ids: what joins the log lines of the servers that one request went through.
//!
//! W3C Trace Context, `traceparent: 00-TRACE-SPAN-01`. Whoever calls makes a trace id **for each request**, never for a
//! session: two requests of one user have nothing in common by it. A server passes the id of a request it works on to the
//! servers it calls for it, and to no others; one that serves other people's programs (the FHIR gateway) passes none on, since
//! such programs may use an id for long.
//!
//! With [`to_file`], what a server did and how long it took is appended to a file, a JSON object a line.

use std::{
    fmt,
    fs::File,
    io::{self, BufWriter, Write as _},
    path::Path,
    sync::{Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderValue};
use rand::RngExt as _;

use crate::clock::now_ms;

/// Header of requests.
pub const TRACEPARENT: &str = "traceparent";

/// A request's place in a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    /// The same for all servers that work on it.
    pub trace: TraceId,
    /// This server's part of it.
    pub span: SpanId,
    /// The caller's part, if there is one.
    pub parent: Option<SpanId>,
}

/// 16 random bytes, not all zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId(u128);

/// 8 random bytes, not all zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanId(u64);

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

tokio::task_local! {
    static CURRENT: Trace;
}

impl Trace {
    /// A new one, of nobody else's.
    pub fn fresh() -> Self {
        let mut rng = rand::rng();
        Self {
            trace: TraceId(rng.random_range(1..=u128::MAX)),
            span: SpanId(rng.random_range(1..=u64::MAX)),
            parent: None,
        }
    }

    /// Of a request: the caller's trace if its header is in order, else a fresh one.
    pub fn of(headers: &HeaderMap) -> Self {
        let fresh = Self::fresh();
        let given = headers.get(TRACEPARENT).and_then(|v| parse(v.as_bytes()));
        given.map_or(fresh, |(trace, parent)| Self { trace, span: fresh.span, parent: Some(parent) })
    }

    /// Of the request this task works on, if it works on one: to go on with in a task of its own.
    pub fn current() -> Option<Self> {
        CURRENT.try_with(|t| *t).ok()
    }

    /// Works as part of this trace.
    pub async fn scope<F: Future>(self, work: F) -> F::Output {
        CURRENT.scope(self, work).await
    }

    /// What is sent along to the next server.
    pub(crate) fn header(self) -> Option<HeaderValue> {
        HeaderValue::try_from(format!("00-{}-{}-01", self.trace, self.span)).ok()
    }

    /// For one call of another server: the request's trace, or one of its own.
    pub(crate) fn outgoing(server: &str, path: &str) -> Self {
        let trace = Self::current().unwrap_or_else(Self::fresh);
        if let Some(watch) = WATCH.get() {
            watch(server, path, &trace);
        }
        tracing::debug!(trace = %trace.trace, server, path, "calling");
        trace
    }
}

/// Works in a task of its own as part of the trace of this one.
pub fn carried<F: Future>(work: F) -> impl Future<Output = F::Output> {
    let current = Trace::current();
    async move {
        match current {
            Some(trace) => trace.scope(work).await,
            None => work.await,
        }
    }
}

fn parse(header: &[u8]) -> Option<(TraceId, SpanId)> {
    let text = std::str::from_utf8(header).ok()?;
    let mut parts = text.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let hex = |text: &str, n: usize| {
        text.len() == n && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let whole = hex(version, 2) && version != "ff" && hex(trace, 32) && hex(span, 16) && hex(flags, 2);
    // Later versions may go on after the flags.
    if !whole || (version == "00" && parts.next().is_some()) {
        return None;
    }
    let (trace, span) = (u128::from_str_radix(trace, 16).ok()?, u64::from_str_radix(span, 16).ok()?);
    (trace != 0 && span != 0).then_some((TraceId(trace), SpanId(span)))
}

type Watch = Box<dyn Fn(&str, &str, &Trace) + Send + Sync>;
static WATCH: OnceLock<Watch> = OnceLock::new();
static FILE: OnceLock<Mutex<BufWriter<File>>> = OnceLock::new();

/// Tells of every call this process makes: server, path, trace. Once a process.
pub fn watch(tell: impl Fn(&str, &str, &Trace) + Send + Sync + 'static) {
    let _ = WATCH.set(Box::new(tell));
}

/// Appends what this process does for requests to a file from now on. Once a process.
///
/// # Errors
/// The file cannot be opened.
pub fn to_file(path: &Path) -> io::Result<()> {
    let mut options = File::options();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let _ = FILE.set(Mutex::new(BufWriter::new(options.open(path)?)));
    Ok(())
}

/// A line of the file. `name` and `role` are fixed words and route patterns, never what a request says.
pub(crate) fn record(trace: &Trace, role: &str, name: &str, elapsed: Duration, status: Option<u16>) {
    let Some(file) = FILE.get() else { return };
    let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
    let began = (now_ms() * 1000).saturating_sub(micros);
    let parent = trace.parent.map_or("null".to_owned(), |p| format!("\"{p}\""));
    let status = status.map_or("null".to_owned(), |s| s.to_string());
    let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
    let (id, span) = (trace.trace, trace.span);
    let written = writeln!(
        file,
        r#"{{"trace":"{id}","span":"{span}","parent":{parent},"role":"{role}","name":"{name}","start_us":{began},"micros":{micros},"status":{status}}}"#
    );
    // Stages are few and end before their request, which brings them all to the file.
    if let Err(error) = written.and_then(|()| if status == "null" { Ok(()) } else { file.flush() }) {
        tracing::warn!(%error, "the trace file cannot be written");
    }
}

/// A part of the work on a request, timed until it is dropped: `sealdex_ROLE_stage_seconds{stage}`, and a line of the file.
pub struct Stage {
    role: &'static str,
    metric: &'static str,
    stage: &'static str,
    began: Instant,
    trace: Option<Trace>,
}

impl Stage {
    /// Of a gate.
    pub fn gate(stage: &'static str) -> Self {
        Self::begin("gate", "sealdex_gate_stage_seconds", stage)
    }

    /// Of a cloud.
    pub fn cloud(stage: &'static str) -> Self {
        Self::begin("cloud", "sealdex_cloud_stage_seconds", stage)
    }

    /// Of a provider's job.
    pub fn provider(stage: &'static str) -> Self {
        Self::begin("provider", "sealdex_provider_stage_seconds", stage)
    }

    fn begin(role: &'static str, metric: &'static str, stage: &'static str) -> Self {
        Self { role, metric, stage, began: Instant::now(), trace: Trace::current() }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let elapsed = self.began.elapsed();
        metrics::histogram!(self.metric, "stage" => self.stage).record(elapsed.as_secs_f64());
        if let Some(trace) = &self.trace {
            record(trace, self.role, self.stage, elapsed, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn of(header: &str) -> Trace {
        let mut headers = HeaderMap::new();
        headers.insert(TRACEPARENT, HeaderValue::from_str(header).unwrap());
        Trace::of(&headers)
    }

    #[test]
    fn a_callers_trace_is_gone_on_with() {
        let trace = of(GOOD);
        assert_eq!(trace.trace.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(trace.parent.map(|p| p.to_string()).as_deref(), Some("00f067aa0ba902b7"));
        assert_ne!(Some(trace.span), trace.parent);
        assert_eq!(of("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more").trace, trace.trace);
    }

    #[test]
    fn what_is_no_trace_is_not_taken_over() {
        let upper = GOOD.to_uppercase();
        let zero = format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32));
        let more = format!("{GOOD}-x");
        for bad in
            ["", "x", "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", &upper, &zero, &more, &GOOD[1..]]
        {
            let trace = of(bad);
            assert!(trace.parent.is_none() && trace.trace != of(GOOD).trace, "{bad}");
        }
        let (a, b) = (of("x"), of("x"));
        assert_ne!(a.trace, b.trace, "each has its own");
    }

    #[tokio::test]
    async fn a_task_of_its_own_goes_on_with_the_trace() {
        let trace = of(GOOD);
        assert_eq!(Trace::current(), None);
        trace
            .scope(async {
                let inner = tokio::spawn(carried(async { Trace::current() })).await.unwrap();
                assert_eq!(inner, Some(trace));
                assert_eq!(tokio::spawn(async { Trace::current() }).await.unwrap(), None);
            })
            .await;
    }
}
