//! One request to any server and its answer: no authentication, no retry.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;

use crate::{
    bodies::{Unread, whole},
    peer::{CallError, Http, Way, root_cause},
};

impl Http {
    /// Sends a request as it is and reads an answer of at most `limit` bytes, whatever its status. All of it takes at
    /// most `timeout`.
    ///
    /// # Errors
    /// [`CallError::Unreachable`] without an answer, [`CallError::BadAnswer`] for one that is too long.
    pub async fn send(
        &self,
        request: Request<Bytes>,
        limit: usize,
        timeout: Duration,
    ) -> Result<Response<Bytes>, CallError> {
        let uri = request.uri().clone();
        let server =
            || format!("{}://{}", uri.scheme_str().unwrap_or("http"), uri.authority().map_or("", |a| a.as_str()));
        let unreachable = |reason: String| CallError::Unreachable { server: server(), reason };
        let too_long = || {
            let reason = format!("it has more than {limit} bytes");
            CallError::BadAnswer { server: server(), path: uri.path().into(), reason }
        };
        let exchange = async {
            let wire = match &self.0 {
                Way::Wire(wire) => wire,
                Way::Other(other) => {
                    let answer = other.exchange(request).await.map_err(unreachable)?;
                    return if answer.body().len() > limit { Err(too_long()) } else { Ok(answer) };
                }
            };
            let response = wire.request(request.map(Full::new)).await.map_err(|e| unreachable(root_cause(&e)))?;
            let (head, body) = response.into_parts();
            let body = whole(body, limit).await.map_err(|e| match e {
                Unread::TooLong => too_long(),
                Unread::Broken(e) => unreachable(root_cause(&e)),
            });
            Ok(Response::from_parts(head, body?))
        };
        tokio::time::timeout(timeout, exchange).await.map_err(|_| unreachable("timed out".into()))?
    }
}

/// The address without its last slash, if it is one that can be called: `https://…`, or `http://…` on loopback.
///
/// # Errors
/// [`CallError::Address`].
pub fn usable(url: &str) -> Result<String, CallError> {
    let uri: http::Uri = url.parse().map_err(|_| CallError::Address(url.into()))?;
    let loopback = uri.host().is_some_and(|h| {
        h == "localhost" || h.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
    });
    match uri.scheme_str() {
        Some("https") => {}
        Some("http") if loopback => {}
        _ => return Err(CallError::Address(url.into())),
    }
    Ok(url.trim_end_matches('/').into())
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    };

    use sealdex_crypto::PrincipalId;

    use super::*;
    use crate::peer::{Exchange, Peer, Retry, Transport};

    /// Answers as a proxy does whose server is away, until the status is 200.
    struct Proxy(AtomicU16);

    impl Transport for Proxy {
        fn exchange(&self, _: Request<Bytes>) -> Exchange {
            let status = self.0.fetch_add(1, Ordering::Relaxed);
            let status = if status > 504 { 200 } else { status };
            let answer = Response::builder().status(status).body(Bytes::from_static(b"{}"));
            Box::pin(async move { answer.map_err(|e| e.to_string()) })
        }
    }

    #[tokio::test]
    async fn what_a_proxy_says_in_a_servers_stead_passes() {
        let call = async |first: u16, attempts: u32| {
            let http = Http::over(Arc::new(Proxy(AtomicU16::new(first))));
            let peer = Peer::new(http, "https://cloud.example", "d", PrincipalId([1; 16]), None).unwrap();
            let peer = peer.with_retry(Retry { attempts, pause: Duration::from_millis(1) });
            peer.get_json::<serde::de::IgnoredAny>("/v1/stats").await.map(drop)
        };
        assert_eq!(call(502, 4).await, Ok(()), "502, 503, 504, and the server's answer");
        assert!(matches!(call(502, 2).await, Err(CallError::Unreachable { .. })));
        assert!(matches!(call(500, 4).await, Err(CallError::BadAnswer { .. })), "that is the server itself");
    }
}
