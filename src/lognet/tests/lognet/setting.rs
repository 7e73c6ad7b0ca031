//! A log that is served, its witnesses, and a server that lies.

use std::{
    collections::HashMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    extract::Request,
    middleware::{Next, from_fn},
    response::IntoResponse,
};
use http::StatusCode;
use sealdex_lognet::{
    LogClient,
    cosign::{Cosigners, Gathered},
    log_router,
    witness::{self, WitnessConfig},
};
use sealdex_net::{Listen, Retry, guard, peer::Http};
use sealdex_tlog::{
    log::{FileReader, FileStorage, Log},
    note::{CosignerKey, KeyName, LogKey, Note},
    policy::Policy,
    tile::TileId,
};
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};

pub(crate) const ORIGIN: &str = "log.example/one";
pub(crate) const NOW: u64 = 1_700_000_000;
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn log_key() -> LogKey {
    LogKey::from_seed(KeyName::new(ORIGIN).unwrap(), &[1; 32])
}

/// The witness of this number, not 1.
pub(crate) fn witness_key(number: u8) -> CosignerKey {
    CosignerKey::from_seed(KeyName::new(format!("witness.example/w{number}")).unwrap(), &[number; 32])
}

pub(crate) fn entry(i: u64) -> Vec<u8> {
    format!("entry {i}").into_bytes()
}

pub(crate) fn entries(range: std::ops::Range<u64>) -> Vec<Vec<u8>> {
    range.map(entry).collect()
}

/// Two of the witnesses 2, 3 and 4.
pub(crate) fn policy() -> Policy {
    Policy::new(log_key().verifier(), (2..5).map(|n| witness_key(n).verifier()).collect(), 2).unwrap()
}

pub(crate) fn http() -> Http {
    Http::new(None).unwrap()
}

/// A client that does not wait.
pub(crate) fn client(url: &str) -> LogClient {
    LogClient::new(http(), url).unwrap().with_retry(Retry::NONE)
}

/// A log in a folder.
pub(crate) struct Kept {
    pub(crate) dir: TempDir,
    pub(crate) log: Log<FileStorage>,
}

impl Kept {
    pub(crate) fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let log = Log::create(FileStorage::open(dir.path()).unwrap(), log_key()).unwrap();
        Self { dir, log }
    }

    pub(crate) fn with(size: u64) -> Self {
        let mut kept = Self::new();
        kept.grow(size);
        kept
    }

    /// Appends up to this size and publishes with cosignatures of witnesses 2 and 3.
    pub(crate) fn grow(&mut self, size: u64) {
        let from = self.log.checkpoint().size();
        self.log.append(&entries(from..size)).unwrap();
        self.publish(&[2, 3], NOW);
    }

    pub(crate) fn publish(&mut self, witnesses: &[u8], time: u64) {
        let note = self.cosigned(witnesses, time);
        self.log.publish(&note).unwrap();
    }

    /// The head with cosignatures made here.
    pub(crate) fn cosigned(&self, witnesses: &[u8], time: u64) -> Note {
        let mut note = self.log.head().clone();
        for number in witnesses {
            note.add(witness_key(*number).cosign(self.log.checkpoint(), time).unwrap()).unwrap();
        }
        note
    }

    pub(crate) fn published(&self) -> Vec<u8> {
        self.log.published().unwrap().unwrap().to_bytes()
    }

    pub(crate) fn path(&self, tile: &str) -> PathBuf {
        self.dir.path().join(tile)
    }

    pub(crate) async fn serve(&self) -> Server {
        Server::start(Router::new().nest("/log/batches", log_router(FileReader::new(self.dir.path())))).await
    }
}

type Answers = Arc<Mutex<HashMap<String, Option<Vec<u8>>>>>;

/// A server whose answers can be replaced.
pub(crate) struct Server {
    pub(crate) url: String,
    answers: Answers,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Serves this router, with a log below `/log/batches`.
    pub(crate) async fn start(router: Router) -> Self {
        let (answers, asked) = (Answers::default(), Arc::new(Mutex::new(Vec::new())));
        let (lies, seen) = (answers.clone(), asked.clone());
        let router = router.layer(from_fn(move |request: Request, next: Next| {
            let path = request.uri().path().trim_start_matches("/log/batches/").to_owned();
            seen.lock().unwrap().push(path.clone());
            let lie = lies.lock().unwrap().get(&path).cloned();
            async move {
                match lie {
                    Some(Some(bytes)) => bytes.into_response(),
                    Some(None) => StatusCode::NOT_FOUND.into_response(),
                    None => next.run(request).await,
                }
            }
        }));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/log/batches", listener.local_addr().unwrap());
        tokio::spawn(sealdex_net::serve(listener, None, router, std::future::pending()));
        Self { url, answers, asked }
    }

    pub(crate) fn client(&self) -> LogClient {
        client(&self.url)
    }

    /// Answers so from now on; `None` is 404.
    pub(crate) fn lie(&self, path: &str, answer: Option<Vec<u8>>) {
        self.answers.lock().unwrap().insert(path.into(), answer);
    }

    pub(crate) fn honest(&self) {
        self.answers.lock().unwrap().clear();
    }

    /// Paths that were asked for, in order.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }

    /// Another layer of lies for the path's real content.
    pub(crate) fn alter(&self, kept: &Kept, path: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = std::fs::read(kept.path(path)).unwrap();
        change(&mut bytes);
        self.lie(path, Some(bytes));
    }
}

/// One plain request.
pub(crate) async fn ask(method: &str, url: &str, body: impl Into<bytes::Bytes>) -> http::Response<bytes::Bytes> {
    let request = http::Request::builder().method(method).uri(url).body(body.into()).unwrap();
    http().send(request, 1 << 20, PATIENCE).await.unwrap()
}

pub(crate) fn header<'a>(answer: &'a http::Response<bytes::Bytes>, name: &str) -> &'a str {
    answer.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

/// A witness process of this test.
pub(crate) struct Running {
    pub(crate) number: u8,
    pub(crate) url: String,
    stop: oneshot::Sender<()>,
    done: JoinHandle<()>,
}

impl Running {
    pub(crate) async fn start(dir: &Path, number: u8, port: u16) -> Self {
        let config = WitnessConfig {
            dir: dir.join(number.to_string()),
            listen: Listen::loopback(port),
            key: witness_key(number),
            logs: vec![(ORIGIN.into(), vec![log_key().verifier()])],
            bounds: guard::Bounds::default(),
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let (ready, bound) = oneshot::channel::<SocketAddr>();
        let done = tokio::spawn(async move {
            let stopped = async {
                let _ = stopped.await;
            };
            witness::serve(config, |addr| ready.send(addr).unwrap(), stopped).await.unwrap();
        });
        Self { number, url: format!("http://{}", bound.await.unwrap()), stop, done }
    }

    pub(crate) async fn three(dir: &Path) -> Vec<Self> {
        let mut witnesses = Vec::new();
        for number in 2..5 {
            witnesses.push(Self::start(dir, number, 0).await);
        }
        witnesses
    }

    pub(crate) async fn stop(self) {
        self.stop.send(()).unwrap();
        self.done.await.unwrap();
    }
}

pub(crate) fn cosigners(witnesses: &[Running]) -> Cosigners {
    let witnesses = witnesses.iter().map(|w| (witness_key(w.number).verifier(), w.url.clone())).collect();
    Cosigners::new(http(), witnesses).unwrap()
}

pub(crate) async fn gather(cosigners: &Cosigners, log: &Log<FileStorage>, quorum: usize) -> Gathered {
    cosigners.gather(log.head(), |old, new| log.consistency_proof(old, new), quorum, PATIENCE).await.unwrap()
}

pub(crate) fn bundle(index: u64, width: u16) -> String {
    TileId::new(sealdex_tlog::tile::TileKind::Entries, index, width).unwrap().to_string()
}
