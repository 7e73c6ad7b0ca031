//! Who calls: checks request signatures, freshness and uniqueness, before a handler runs.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use axum::extract::{FromRef, FromRequest, Request};
use bytes::Bytes;
use sealdex_crypto::{PrincipalId, PublicIdentity};
use sealdex_wire::{
    ProblemType,
    auth::{AuthError, AuthHeader, RequestParts},
    codec, limits,
};
use serde::de::DeserializeOwned;

use crate::{
    bodies::{Unread, whole},
    clock::now_ms,
    reply::Refusal,
};

/// The keys a server knows callers by: its roster, the authority, other servers.
pub trait Directory: Send + Sync + 'static {
    /// Public keys of a principal, whatever it may do.
    fn keys(&self, id: PrincipalId) -> Option<PublicIdentity>;
}

/// Most nonces remembered; beyond it requests are refused until old ones lapse.
const NONCES: usize = 4_000_000;

/// Verifies requests to one server.
pub struct Authenticator {
    domain: String,
    server: PrincipalId,
    directory: Arc<dyn Directory>,
    started_at: u64,
    seen: Mutex<Nonces>,
}

/// Nonces of the current and the previous period; a period is as long as a request stays fresh on
/// both sides, so whatever has left both sets is too old to be accepted.
struct Nonces {
    period: u64,
    current: HashSet<[u8; 16]>,
    previous: HashSet<[u8; 16]>,
}

impl Authenticator {
    /// For the server `server` of `domain`. Requests made before now are refused as stale, because
    /// the nonces of an earlier run are gone.
    pub fn new(domain: impl Into<String>, server: PrincipalId, directory: Arc<dyn Directory>) -> Self {
        let seen = Nonces { period: 0, current: HashSet::new(), previous: HashSet::new() };
        Self { domain: domain.into(), server, directory, started_at: now_ms(), seen: Mutex::new(seen) }
    }

    /// Domain served.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// This server's id.
    pub fn server(&self) -> PrincipalId {
        self.server
    }

    fn fresh(&self, ts: u64, now: u64) -> Result<(), Refusal> {
        if ts < self.started_at {
            return Err(Refusal::new(
                ProblemType::Stale,
                "the request was made before the server started: sign it again; if that does not help, the caller's clock is behind",
            ));
        }
        if now.abs_diff(ts) > limits::CLOCK_SKEW_MS {
            return Err(Refusal::new(
                ProblemType::Stale,
                format!(
                    "the caller's clock differs by {} s; at most {} s are accepted: set the clock",
                    now.abs_diff(ts) / 1000,
                    limits::CLOCK_SKEW_MS / 1000
                ),
            ));
        }
        Ok(())
    }

    fn once(&self, nonce: [u8; 16], now: u64) -> Result<(), Refusal> {
        let period = now / (2 * limits::CLOCK_SKEW_MS);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if period > seen.period {
            let current = std::mem::take(&mut seen.current);
            seen.previous = if period == seen.period + 1 { current } else { HashSet::new() };
            seen.period = period;
        }
        if seen.previous.contains(&nonce) || seen.current.contains(&nonce) {
            return Err(Refusal::new(
                ProblemType::Stale,
                "this request was received before: sign it again with a new nonce",
            ));
        }
        if seen.current.len() >= NONCES {
            return Err(Refusal::new(ProblemType::Overloaded, "too many requests in the last minutes"));
        }
        seen.current.insert(nonce);
        Ok(())
    }
}

/// Who made a request.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// Principal.
    pub id: PrincipalId,
    /// Its keys.
    pub keys: PublicIdentity,
    /// Whether the server's directory knows it; otherwise it certified itself by its keys.
    pub known: bool,
}

/// A verified request: caller and body.
#[derive(Debug)]
pub struct Call {
    /// Who.
    pub caller: Caller,
    /// The whole body.
    pub body: Bytes,
    /// SHA-256 of it.
    pub body_sha256: [u8; 32],
    /// The caller's signature, as it came.
    pub authorization: String,
}

impl Call {
    /// The body as CBOR.
    pub fn cbor<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        codec::from_cbor(&self.body).map_err(Refusal::malformed)
    }

    /// The body as JSON; bounded tighter than data.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        if self.body.len() > limits::CONTROL_BODY {
            return Err(Refusal::new(
                ProblemType::TooLarge,
                format!("control messages are at most {} bytes", limits::CONTROL_BODY),
            ));
        }
        codec::from_json(&self.body).map_err(Refusal::malformed)
    }
}

fn unauthenticated(e: AuthError) -> Refusal {
    Refusal::new(ProblemType::Unauthenticated, e.to_string())
}

impl<S> FromRequest<S> for Call
where
    Arc<Authenticator>: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let auth = Arc::<Authenticator>::from_ref(state);
        let (parts, body) = request.into_parts();
        let value = parts.headers.get(http::header::AUTHORIZATION).and_then(|v| v.to_str().ok());
        let authorization = value.ok_or_else(|| unauthenticated(AuthError::Header))?.to_owned();
        let header = AuthHeader::parse(&authorization).map_err(unauthenticated)?;
        auth.fresh(header.ts, now_ms())?;
        let (keys, known) = match auth.directory.keys(header.id) {
            Some(keys) => (keys, true),
            None => match header.own_keys().map_err(unauthenticated)? {
                Some(keys) => (keys, false),
                None => {
                    let detail = format!("{} is not in the roster of {}", header.id, auth.domain);
                    return Err(Refusal::new(ProblemType::Unauthenticated, detail));
                }
            },
        };
        let body = read_body(body).await?;
        let path = parts.uri.path_and_query().map_or("/", |p| p.as_str());
        let signed = RequestParts {
            domain: &auth.domain,
            audience: auth.server,
            method: parts.method.as_str(),
            path,
            body: &body,
        };
        let body_sha256 = header.verify(&signed, &keys).map_err(unauthenticated)?;
        auth.once(header.nonce, now_ms())?;
        Ok(Self { caller: Caller { id: header.id, keys, known }, body, body_sha256, authorization })
    }
}

/// Reads a body up to [`limits::BODY`].
pub async fn read_body(body: axum::body::Body) -> Result<Bytes, Refusal> {
    whole(body, limits::BODY).await.map_err(|e| match e {
        Unread::TooLong => {
            Refusal::new(ProblemType::TooLarge, format!("the body is larger than {} bytes", limits::BODY))
        }
        Unread::Broken(_) => Refusal::malformed("the body ended early"),
    })
}
