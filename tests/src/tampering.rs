//! A cloud that lies: an HTTP proxy in front of one, which changes answers on their way.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    response::Response,
};
use bytes::Bytes;
use sealdex_net::peer::Http;
use sealdex_wire::codec;
use serde::{Serialize, de::DeserializeOwned};

/// What it does with the answer to a path, given the request's body; `None` leaves it as it is.
pub type Lie = Arc<dyn Fn(&str, &[u8], &[u8]) -> Option<Vec<u8>> + Send + Sync>;

/// Answers by path, as a cloud gave them.
pub type Kept = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

/// The proxy.
pub struct LyingCloud {
    /// Where it listens.
    pub port: u16,
    lie: Arc<Mutex<Option<Lie>>>,
}

#[derive(Clone)]
struct Relay {
    http: Http,
    target: u16,
    lie: Arc<Mutex<Option<Lie>>>,
}

/// Largest body passed on, bytes.
const MOST: usize = 256 << 20;

impl LyingCloud {
    /// Starts in front of a cloud; honest until told what to say.
    pub async fn start(target: u16) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let lie: Arc<Mutex<Option<Lie>>> = Arc::default();
        let relay = Relay { http: Http::new(None).unwrap(), target, lie: lie.clone() };
        let router = Router::new().fallback(pass).with_state(relay);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { port, lie }
    }

    /// What it says from now on.
    pub fn says(&self, lie: impl Fn(&str, &[u8], &[u8]) -> Option<Vec<u8>> + Send + Sync + 'static) {
        *self.lie.lock().unwrap() = Some(Arc::new(lie));
    }

    /// As [`LyingCloud::says`], for CBOR answers to one path.
    pub fn alters<T: Serialize + DeserializeOwned>(
        &self,
        path: &'static str,
        change: impl Fn(&mut T) + Send + Sync + 'static,
    ) {
        self.says(move |at, _, answer| {
            let mut message: T = (at == path).then(|| codec::from_cbor(answer).ok()).flatten()?;
            change(&mut message);
            Some(codec::to_cbor(&message))
        });
    }

    /// Honest, and keeps every answer from now on.
    pub fn keeps(&self) -> Kept {
        let kept = Kept::default();
        let keep = kept.clone();
        self.says(move |path, _, answer| {
            keep.lock().unwrap().push((path.to_owned(), answer.to_vec()));
            None
        });
        kept
    }

    /// The truth again.
    pub fn is_honest(&self) {
        *self.lie.lock().unwrap() = None;
    }
}

async fn pass(State(relay): State<Relay>, request: Request) -> Response {
    let (mut head, body) = request.into_parts();
    let body = to_bytes(body, MOST).await.unwrap();
    let path = head.uri.path().to_owned();
    let target = head.uri.path_and_query().map_or("/", |p| p.as_str());
    head.uri = format!("http://127.0.0.1:{}{target}", relay.target).parse().unwrap();
    head.headers.remove("host");
    let sent = relay.http.send(Request::from_parts(head, body.clone()), MOST, Duration::from_secs(60)).await;
    let Ok(answer) = sent else {
        return Response::builder().status(502).body(Body::empty()).unwrap();
    };
    let (mut head, answer) = answer.into_parts();
    let lie = relay.lie.lock().unwrap().clone();
    let said = match lie.filter(|_| head.status.is_success()) {
        Some(lie) => lie(&path, &body, &answer).map_or(answer, Bytes::from),
        None => answer,
    };
    head.headers.remove("content-length");
    head.headers.remove("transfer-encoding");
    Response::from_parts(head, Body::from(said))
}
