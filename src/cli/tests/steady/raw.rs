//! HTTP by hand, for what no client would send.

use std::{net::IpAddr, time::Duration};

use rand::RngExt as _;
use sealdex_crypto::{Identity, PrincipalId};
use sealdex_tests::world::DOMAIN;
use sealdex_wire::auth::RequestParts;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

/// A connection from an address of this machine.
pub(crate) async fn connect_from(from: [u8; 4], port: u16) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((IpAddr::from(from), 0).into())?;
    socket.connect(([127, 0, 0, 1], port).into()).await
}

pub(crate) async fn connect(port: u16) -> TcpStream {
    TcpStream::connect(("127.0.0.1", port)).await.unwrap()
}

/// Whatever comes until the server closes, or until `within` seconds are over; whether it closed.
pub(crate) async fn read_all(stream: &mut TcpStream, within: u64) -> (String, bool) {
    let (mut got, mut buffer) = (Vec::new(), vec![0; 16 << 10]);
    let closed = tokio::time::timeout(Duration::from_secs(within), async {
        while let Ok(n @ 1..) = stream.read(&mut buffer).await {
            got.extend_from_slice(&buffer[..n]);
        }
    });
    let closed = closed.await.is_ok();
    (String::from_utf8_lossy(&got).into_owned(), closed)
}

/// Sends bytes as they are; what is answered until the server closes.
pub(crate) async fn send(port: u16, bytes: &[u8], within: u64) -> (String, bool) {
    let mut stream = connect(port).await;
    // A server that refuses need not read to the end.
    let _ = stream.write_all(bytes).await;
    read_all(&mut stream, within).await
}

pub(crate) async fn get(port: u16, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    send(port, request.as_bytes(), 30).await.0
}

pub(crate) fn status(answer: &str) -> u16 {
    answer.get(9..12).and_then(|s| s.parse().ok()).unwrap_or(0)
}

/// Who calls whom.
pub(crate) struct Signing<'a> {
    pub(crate) by: &'a Identity,
    pub(crate) to: PrincipalId,
}

impl Signing<'_> {
    pub(crate) fn header(&self, path: &str, body: &[u8], ts: u64) -> String {
        let parts = RequestParts { domain: DOMAIN, audience: self.to, method: "POST", path, body };
        let mut rng = rand::rng();
        parts.sign(self.by, false, ts, rng.random(), &mut rng)
    }

    /// A whole signed request.
    pub(crate) fn request(&self, path: &str, media: &str, body: &[u8], ts: u64) -> Vec<u8> {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: {media}\r\nAuthorization: {}\r\nContent-Length: {}\r\n\r\n",
            self.header(path, body, ts),
            body.len()
        );
        [head.as_bytes(), body].concat()
    }

    /// The head of a request whose body is `length` bytes and fits no signature.
    pub(crate) fn head(&self, path: &str, length: usize) -> String {
        let authorization = self.header(path, b"", sealdex_net::clock::now_ms());
        format!("POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization}\r\nContent-Length: {length}\r\n\r\n")
    }
}
