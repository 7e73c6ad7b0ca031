//! The accept loop: TLS, bounded connections, timeouts against slow clients, graceful stop.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use rustls::ServerConfig;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_rustls::TlsAcceptor;

/// Open connections at once; one more waits in the kernel's queue.
const CONNECTIONS: usize = 1024;
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

/// Serves `router` on a bound listener until `stop` resolves, then lets requests under way finish.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    router: Router,
    stop: impl Future<Output = ()>,
) {
    let acceptor = tls.map(TlsAcceptor::from);
    let graceful = GracefulShutdown::new();
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = tokio::select! {
            a = accept(&listener, &slots) => a,
            () = &mut stop => break,
        };
        let Some((stream, slot)) = accepted else { continue };
        let (router, acceptor, watcher) = (router.clone(), acceptor.clone(), graceful.watcher());
        tokio::spawn(async move {
            let _slot = slot;
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
    drop(listener);
    if tokio::time::timeout(DRAIN, graceful.shutdown()).await.is_err() {
        tracing::warn!("stopped before all requests were answered");
    }
}

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let slot = slots.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => {
            let _ = stream.set_nodelay(true);
            Some((stream, slot))
        }
        Err(error) => {
            // Out of descriptors and the like: give others time to close.
            tracing::warn!(%error, "cannot accept a connection");
            tokio::time::sleep(Duration::from_millis(50)).await;
            None
        }
    }
}
