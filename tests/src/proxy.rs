//! A TCP proxy that keeps every byte of both directions, and can change answers on their way.

use std::sync::{Arc, Mutex};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// Changes bytes on their way back to the caller.
pub type Tamper = Arc<dyn Fn(&mut Vec<u8>) + Send + Sync>;

/// What passed through.
#[derive(Clone, Default)]
pub struct Captured {
    /// From callers.
    pub requests: Vec<u8>,
    /// From the server.
    pub responses: Vec<u8>,
}

/// A proxy in front of one server.
pub struct Proxy {
    /// Where it listens.
    pub port: u16,
    captured: Arc<Mutex<Captured>>,
    tamper: Arc<Mutex<Option<Tamper>>>,
}

impl Proxy {
    /// Starts in front of `target`.
    pub async fn start(target: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy =
            Self { port: listener.local_addr().unwrap().port(), captured: Arc::default(), tamper: Arc::default() };
        let (captured, tamper) = (proxy.captured.clone(), proxy.tamper.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(("127.0.0.1", target)).await else { continue };
                let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
                let (c, none) = (captured.clone(), Arc::default());
                tokio::spawn(relay(
                    from_client,
                    to_server,
                    move |b| c.lock().unwrap().requests.extend_from_slice(b),
                    none,
                ));
                let c = captured.clone();
                let keep = move |b: &[u8]| c.lock().unwrap().responses.extend_from_slice(b);
                tokio::spawn(relay(from_server, to_client, keep, tamper.clone()));
            }
        });
        proxy
    }

    /// Everything so far.
    pub fn captured(&self) -> Captured {
        self.captured.lock().unwrap().clone()
    }

    /// Changes answers from now on, or no longer.
    pub fn tamper(&self, with: Option<Tamper>) {
        *self.tamper.lock().unwrap() = with;
    }
}

async fn relay(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    keep: impl Fn(&[u8]),
    tamper: Arc<Mutex<Option<Tamper>>>,
) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(n) = from.read(&mut buffer).await {
        if n == 0 {
            break;
        }
        keep(&buffer[..n]);
        let mut bytes = buffer[..n].to_vec();
        let change = tamper.lock().unwrap().clone();
        if let Some(change) = change {
            change(&mut bytes);
        }
        if to.write_all(&bytes).await.is_err() {
            break;
        }
    }
    let _ = to.shutdown().await;
}
