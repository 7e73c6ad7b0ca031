//! The accept loop: TLS, bounded connections, timeouts against slow clients, graceful stop.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::{Request, State},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
};
use http::{HeaderValue, header};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use rustls::ServerConfig;
use sealdex_wire::ProblemType;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::{
    capacity::{Capacity, Place},
    pace::Paced,
    reply::Refusal,
};

/// Longest a client may take for its TLS handshake or for the head of a request.
const HEAD: Duration = Duration::from_secs(10);
/// Longest a graceful stop waits for requests under way.
const DRAIN: Duration = Duration::from_secs(20);

/// Where and how to listen.
#[derive(Clone)]
pub struct Listen {
    /// Address; port 0 picks one.
    pub addr: SocketAddr,
    /// TLS. Without it only loopback addresses are served, unless `insecure` says otherwise.
    pub tls: Option<Arc<ServerConfig>>,
    /// Serve plain HTTP beyond loopback, behind a TLS-terminating proxy.
    pub insecure: bool,
}

impl Listen {
    /// Plain HTTP on a loopback address.
    pub fn loopback(port: u16) -> Self {
        Self { addr: SocketAddr::from(([127, 0, 0, 1], port)), tls: None, insecure: false }
    }

    /// Binds, refusing plain HTTP where others could listen in.
    pub async fn bind(&self) -> io::Result<TcpListener> {
        if self.tls.is_none() && !self.insecure && !self.addr.ip().is_loopback() {
            let hint = format!(
                "{} is not a loopback address: give --tls-cert and --tls-key, or --insecure-http behind a TLS proxy",
                self.addr
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, hint));
        }
        TcpListener::bind(self.addr).await
    }
}

/// How long `/readyz` says that the server stops before it does, milliseconds.
static NOTICE: AtomicU64 = AtomicU64::new(0);

/// Gives notice of a stop: `/readyz` refuses for this long while everything else is served on, so that whoever spreads
/// requests over servers sends them elsewhere. None unless this was called; for all servers of the process.
pub fn give_notice(notice: Duration) {
    NOTICE.store(u64::try_from(notice.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
}

/// Serves `router` on a bound listener until `stop` resolves, gives notice, and lets requests under way finish.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    router: Router,
    stop: impl Future<Output = ()>,
) {
    let stopping = Arc::new(AtomicBool::new(false));
    let server = Server {
        acceptor: tls.map(TlsAcceptor::from),
        router: router.layer(from_fn_with_state(stopping.clone(), leaving)),
        graceful: GracefulShutdown::new(),
        capacity: Arc::new(Capacity::of_process()),
    };
    server.accept_until(&listener, stop).await;
    stopping.store(true, Ordering::Release);
    let notice = Duration::from_millis(NOTICE.load(Ordering::Relaxed));
    if !notice.is_zero() {
        server.accept_until(&listener, tokio::time::sleep(notice)).await;
    }
    drop(listener);
    if tokio::time::timeout(DRAIN, server.graceful.shutdown()).await.is_err() {
        tracing::warn!("stopped before all requests were answered");
    }
}

/// A server that stops is not ready, and keeps no connection.
async fn leaving(State(stopping): State<Arc<AtomicBool>>, request: Request, next: Next) -> Response {
    if !stopping.load(Ordering::Acquire) {
        return next.run(request).await;
    }
    let mut response = match request.uri().path() {
        "/readyz" => Refusal::new(ProblemType::Overloaded, "the server is stopping").into_response(),
        _ => next.run(request).await,
    };
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

struct Server {
    acceptor: Option<TlsAcceptor>,
    router: Router,
    graceful: GracefulShutdown,
    capacity: Arc<Capacity>,
}

impl Server {
    async fn accept_until(&self, listener: &TcpListener, stop: impl Future<Output = ()>) {
        let mut stop = std::pin::pin!(stop);
        loop {
            let accepted = tokio::select! {
                a = listener.accept() => a,
                () = &mut stop => return,
            };
            match accepted {
                Ok((stream, peer)) => match self.capacity.place(peer.ip().to_canonical()) {
                    Some(place) => self.take(stream, place),
                    None => self.turn_away(stream),
                },
                Err(error) => {
                    // Out of descriptors and the like: give others time to close.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    fn take(&self, stream: TcpStream, place: Place) {
        let _ = stream.set_nodelay(true);
        let (router, acceptor, watcher) = (self.router.clone(), self.acceptor.clone(), self.graceful.watcher());
        tokio::spawn(async move {
            let _place = place;
            let stream = Paced::new(stream);
            let mut builder = http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(64 << 10);
            let service = TowerToHyperService::new(router);
            let served = match acceptor {
                None => watcher.watch(builder.serve_connection(TokioIo::new(stream), service)).await,
                Some(acceptor) => match tokio::time::timeout(HEAD, acceptor.accept(stream)).await {
                    Ok(Ok(stream)) => watcher.watch(builder.serve_connection(TokioIo::new(stream), service)).await,
                    _ => return tracing::debug!("TLS handshake failed"),
                },
            };
            if let Err(error) = served {
                tracing::debug!(%error, "connection ended");
            }
        });
    }

    /// One connection too many: told so if that needs no handshake, and closed.
    fn turn_away(&self, stream: TcpStream) {
        metrics::counter!("sealdex_connections_refused_total").increment(1);
        // Written as it is, without waiting: the runtime would have to hear first that it can be written to.
        if let (None, Ok(mut stream)) = (&self.acceptor, stream.into_std()) {
            let _ = io::Write::write(&mut stream, TOO_MANY);
        }
    }
}

const TOO_MANY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
Retry-After: 1\r\n\
Connection: close\r\n\
Content-Type: application/problem+json\r\n\
Content-Length: 147\r\n\r\n\
{\"type\":\"urn:sealdex:problem:overloaded\",\"title\":\"The server is overloaded\",\"status\":503,\
\"detail\":\"too many connections are open: try again later\"}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_turned_away_gets_a_whole_problem_document() {
        let (head, body) = std::str::from_utf8(TOO_MANY).unwrap().split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}", body.len())), "{}", body.len());
        let problem: sealdex_wire::Problem = sealdex_wire::codec::from_json(body.as_bytes()).unwrap();
        assert_eq!(problem.problem_type(), Some(ProblemType::Overloaded));
    }
}
