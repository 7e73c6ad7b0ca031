//! A client of one server: signs every request, retries what may pass, decodes the answer.

use std::{
    path::Path,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rand::RngExt;
use sealdex_crypto::{Identity, PrincipalId};
use sealdex_wire::{Problem, ProblemType, auth::RequestParts, codec, limits};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    clock::now_ms,
    edge,
    exchange::usable,
    reply, tls,
    tls::TlsError,
    trace::{TRACEPARENT, Trace},
};

/// Why a call failed.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum CallError {
    /// The server refused; its words.
    #[error("{server} refused {path}: {problem}")]
    Refused {
        /// Base URL.
        server: String,
        /// Path.
        path: String,
        /// What it said.
        problem: Box<Problem>,
    },
    /// No answer.
    #[error("{server} does not answer ({reason}): is it running, and is the address right?")]
    Unreachable {
        /// Base URL.
        server: String,
        /// Why.
        reason: String,
    },
    /// An answer nobody can use.
    #[error("{server} sent an unusable answer to {path}: {reason}")]
    BadAnswer {
        /// Base URL.
        server: String,
        /// Path.
        path: String,
        /// Why.
        reason: String,
    },
    /// An address that is none, or plain HTTP beyond loopback.
    #[error("the server address {0} cannot be used: it must be https://…, or http:// on a loopback address")]
    Address(String),
}

impl CallError {
    /// The kind of problem, if the server refused with one of ours.
    pub fn problem_type(&self) -> Option<ProblemType> {
        match self {
            Self::Refused { problem, .. } => problem.problem_type(),
            _ => None,
        }
    }

    /// Whether the same request may succeed at another server that stands in for this one.
    fn passes_over(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { problem, .. } => problem.status == 503,
            _ => false,
        }
    }

    /// Whether the server refused for what the request is, not for how things are with the server.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Refused { .. }) && !self.passes() && !self.passes_over()
    }

    /// Whether the same request may succeed later.
    fn passes(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { problem, .. } => {
                // One that waits for its operators does so longer than anybody tries.
                (problem.status == 503 && problem.problem_type() != Some(ProblemType::NotServing))
                    || matches!(
                        problem.problem_type(),
                        Some(ProblemType::Stale | ProblemType::Upstream | ProblemType::Timeout | ProblemType::NoSpace)
                    )
            }
            _ => false,
        }
    }
}

/// Longest a server's `Retry-After` is heeded.
const HEEDED: Duration = Duration::from_secs(10);

/// How long to try. Every request of this protocol may be repeated: each attempt is signed anew, and what changes
/// something is known again by what it carries.
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    /// Attempts in all.
    pub attempts: u32,
    /// Pause before the second; doubles, jittered, up to two seconds.
    pub pause: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { attempts: 6, pause: Duration::from_millis(100) }
    }
}

impl Retry {
    /// One attempt.
    pub const NONE: Self = Self { attempts: 1, pause: Duration::ZERO };
}

/// Shared connections: clone freely.
#[derive(Clone)]
pub struct Http(pub(crate) Way);

/// How requests get to servers.
#[derive(Clone)]
pub(crate) enum Way {
    Wire(Arc<Client<HttpsConnector<HttpConnector>, Full<Bytes>>>),
    Other(Arc<dyn Transport>),
}

/// Another way to servers than HTTP on a wire.
pub trait Transport: Send + Sync + 'static {
    /// Takes a request to the server that its URI names; the answer, or why there is none.
    fn exchange(&self, request: Request<Bytes>) -> Exchange;
}

/// A request under way.
pub type Exchange = Pin<Box<dyn Future<Output = Result<Response<Bytes>, String>> + Send>>;

impl Http {
    /// Trusts `ca`, or the web's roots.
    pub fn new(ca: Option<&Path>) -> Result<Self, TlsError> {
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(Duration::from_secs(5)));
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(tls::client(ca)?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(32).build(https);
        Ok(Self(Way::Wire(Arc::new(client))))
    }

    /// Reaches servers another way.
    pub fn over(transport: Arc<dyn Transport>) -> Self {
        Self(Way::Other(transport))
    }
}

/// A server, or several that can stand in for each other, as one caller sees them.
#[derive(Clone)]
pub struct Peer {
    http: Http,
    targets: Arc<Targets>,
    domain: Arc<str>,
    caller: Option<Arc<Identity>>,
    with_keys: bool,
    retry: Retry,
    timeout: Duration,
}

/// Servers that can stand in for each other.
struct Targets {
    /// Base URL and id; at least one.
    all: Vec<(String, PrincipalId)>,
    /// Which one is called.
    at: AtomicUsize,
}

impl Targets {
    fn now(&self) -> (usize, &(String, PrincipalId)) {
        let at = self.at.load(Ordering::Relaxed) % self.all.len();
        (at, &self.all[at])
    }

    /// Calls the next one from now on, unless somebody has left this one already.
    fn leave(&self, at: usize) {
        let next = (at + 1) % self.all.len();
        let _ = self.at.compare_exchange(at, next, Ordering::Relaxed, Ordering::Relaxed);
    }
}

impl Peer {
    /// The server `audience` of `domain` at `url`, called by `caller` (nobody: unsigned requests).
    pub fn new(
        http: Http,
        url: &str,
        domain: &str,
        audience: PrincipalId,
        caller: Option<Arc<Identity>>,
    ) -> Result<Self, CallError> {
        let targets = Targets { all: vec![(usable(url)?, audience)], at: AtomicUsize::new(0) };
        Ok(Self {
            http,
            targets: Arc::new(targets),
            domain: domain.into(),
            caller,
            with_keys: false,
            retry: Retry::default(),
            timeout: Duration::from_secs(90),
        })
    }

    /// Calls one of these in its stead when it does not answer, and goes on calling that one.
    ///
    /// # Errors
    /// [`CallError::Address`].
    pub fn or<'s>(mut self, others: impl Iterator<Item = (&'s str, PrincipalId)>) -> Result<Self, CallError> {
        let mut all = self.targets.all.clone();
        for (url, id) in others {
            all.push((usable(url)?, id));
        }
        self.targets = Arc::new(Targets { all, at: AtomicUsize::new(0) });
        Ok(self)
    }

    /// Adds the caller's keys to each request: for owners, who are in no roster.
    #[must_use]
    pub fn self_certified(mut self) -> Self {
        self.with_keys = true;
        self
    }

    /// Other patience.
    #[must_use]
    pub fn with_retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Another time after which an attempt is given up; 90 seconds unless told otherwise.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Base URL.
    pub fn url(&self) -> &str {
        &self.targets.now().1.0
    }

    /// Posts CBOR, expects CBOR.
    pub async fn post_cbor<Q: Serialize, R: DeserializeOwned>(&self, path: &str, message: &Q) -> Result<R, CallError> {
        self.post_cbor_bytes(path, codec::to_cbor(message).into()).await
    }

    /// Posts bytes that are CBOR already, expects CBOR.
    pub async fn post_cbor_bytes<R: DeserializeOwned>(&self, path: &str, body: Bytes) -> Result<R, CallError> {
        let answer = self.call(Method::POST, path, reply::CBOR, body).await?;
        codec::from_cbor(&answer).map_err(|e| self.bad(path, e))
    }

    /// Posts JSON, expects JSON.
    pub async fn post_json<Q: Serialize, R: DeserializeOwned>(&self, path: &str, message: &Q) -> Result<R, CallError> {
        self.json(Method::POST, path, codec::to_json(message).into()).await
    }

    /// Posts bytes that are JSON already, expects JSON.
    pub async fn post_json_bytes<R: DeserializeOwned>(&self, path: &str, body: Bytes) -> Result<R, CallError> {
        self.json(Method::POST, path, body).await
    }

    /// Puts JSON, expects JSON.
    pub async fn put_json<Q: Serialize, R: DeserializeOwned>(&self, path: &str, message: &Q) -> Result<R, CallError> {
        self.json(Method::PUT, path, codec::to_json(message).into()).await
    }

    /// Gets JSON.
    pub async fn get_json<R: DeserializeOwned>(&self, path: &str) -> Result<R, CallError> {
        self.json(Method::GET, path, Bytes::new()).await
    }

    async fn json<R: DeserializeOwned>(&self, method: Method, path: &str, body: Bytes) -> Result<R, CallError> {
        let answer = self.call(method, path, reply::JSON, body).await?;
        codec::from_json(&answer).map_err(|e| self.bad(path, e))
    }

    fn bad(&self, path: &str, reason: impl ToString) -> CallError {
        CallError::BadAnswer { server: self.url().to_owned(), path: path.into(), reason: reason.to_string() }
    }

    /// One call with retries: each attempt is signed anew.
    pub async fn call(&self, method: Method, path: &str, media: &'static str, body: Bytes) -> Result<Bytes, CallError> {
        let trace = Trace::outgoing(self.url(), path);
        let mut pause = self.retry.pause;
        let (mut attempt, mut left) = (1, 1);
        loop {
            let (at, target) = self.targets.now();
            match self.attempt(target, trace, method.clone(), path, media, body.clone()).await {
                Err((e, _)) if e.passes_over() && left < self.targets.all.len() => {
                    tracing::debug!(path, server = target.0, "calling the next one");
                    self.targets.leave(at);
                    left += 1;
                }
                Err((e, after)) if e.passes() && attempt < self.retry.attempts => {
                    tracing::debug!(attempt, path, "trying again");
                    let jitter = edge::jitter();
                    // Not before the server asks to, and not all at once.
                    let pause_now =
                        pause.mul_f64(jitter).max(after.unwrap_or_default().min(HEEDED).mul_f64(0.5 + jitter));
                    tokio::time::sleep(pause_now).await;
                    pause = (pause * 2).min(Duration::from_secs(2));
                    (attempt, left) = (attempt + 1, 1);
                    self.targets.leave(at);
                }
                other => return other.map_err(|(e, _)| e),
            }
        }
    }

    async fn attempt(
        &self,
        (base, audience): &(String, PrincipalId),
        trace: Trace,
        method: Method,
        path: &str,
        media: &'static str,
        body: Bytes,
    ) -> Result<Bytes, (CallError, Option<Duration>)> {
        let mut request =
            Request::builder().method(method.clone()).uri(format!("{base}{path}")).header(header::CONTENT_TYPE, media);
        if let Some(header) = trace.header() {
            request = request.header(TRACEPARENT, header);
        }
        if let Some(caller) = &self.caller {
            let parts =
                RequestParts { domain: &self.domain, audience: *audience, method: method.as_str(), path, body: &body };
            request = request.header(header::AUTHORIZATION, sign(&parts, caller, self.with_keys));
        }
        let request = request.body(body).map_err(|_| (CallError::Address(format!("{base}{path}")), None))?;
        let sent = self.http.send(request, 4 * limits::BODY, self.timeout).await;
        let (head, answer) = sent.map_err(|e| (e, None))?.into_parts();
        let status = head.status;
        if status.is_success() {
            return Ok(answer);
        }
        let after = head.headers.get(header::RETRY_AFTER).and_then(|v| v.to_str().ok()?.parse().ok());
        Err((self.refused(path, status, &answer), after.map(Duration::from_secs)))
    }

    fn refused(&self, path: &str, status: StatusCode, answer: &[u8]) -> CallError {
        match codec::from_json::<Problem>(answer) {
            Ok(problem) => {
                CallError::Refused { server: self.url().to_owned(), path: path.into(), problem: Box::new(problem) }
            }
            Err(_) => {
                let reason = format!("HTTP status {status} without a problem document");
                // Not this server's words: a proxy before it says that there is no answer.
                if matches!(status.as_u16(), 502..=504) {
                    return CallError::Unreachable { server: self.url().to_owned(), reason };
                }
                self.bad(path, reason)
            }
        }
    }
}

fn sign(parts: &RequestParts<'_>, caller: &Identity, with_keys: bool) -> String {
    let mut rng = rand::rng();
    let nonce = rng.random();
    parts.sign(caller, with_keys, now_ms(), nonce, &mut rng)
}

pub(crate) fn root_cause(e: &dyn std::error::Error) -> String {
    let mut cause = e;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
