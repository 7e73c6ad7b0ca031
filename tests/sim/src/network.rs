//! The network: requests go to the routers of the servers, and get lost, late, doubled and damaged on their way.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    future::pending,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{Router, body::Body};
use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::BodyExt as _;
use sealdex_net::{
    clock::now_ms,
    peer::{Exchange, Http, Transport},
};
use tokio::{
    task::AbortHandle,
    time::{Instant, sleep},
};
use tower::ServiceExt as _;

use crate::{chance::Chance, trace::Trace};

/// How often what happens, in a thousand messages.
#[derive(Clone, Copy, Default)]
pub struct Faults {
    /// A request does not arrive.
    pub lost: u64,
    /// A request is worked on, and its answer does not arrive.
    pub unanswered: u64,
    /// A request arrives a second time, later.
    pub doubled: u64,
    /// A byte of a request is changed.
    pub damaged: u64,
    /// A byte of an answer of the cloud is changed, where whoever asked can notice it.
    pub altered: u64,
    /// A message takes seconds and not milliseconds.
    pub late: u64,
}

impl Faults {
    /// An ordinary bad network.
    pub const BAD: Self = Self { lost: 25, unanswered: 25, doubled: 40, damaged: 10, altered: 6, late: 40 };
}

/// The network.
pub struct Network {
    state: Mutex<State>,
    chance: Arc<Chance>,
    trace: Arc<Trace>,
}

#[derive(Default)]
struct State {
    faults: Faults,
    servers: BTreeMap<&'static str, Server>,
    /// Which life of each party may send.
    lives: BTreeMap<String, u64>,
    cut: BTreeSet<(String, String)>,
    /// Requests that were taken in, by signature: in which life of the server.
    taken: HashMap<String, u64>,
    /// Tickets as readers presented them, newest last.
    tickets: Vec<(String, Bytes)>,
    altered: u64,
}

struct Server {
    name: &'static str,
    router: Option<Router>,
    life: u64,
    /// When this life began, Unix milliseconds.
    began: u64,
    running: Vec<AbortHandle>,
}

/// What becomes of one exchange; drawn at once.
struct Fate {
    there: Duration,
    back: Duration,
    lost: bool,
    unanswered: bool,
    damaged: Option<u64>,
    altered: Option<u64>,
    again: Option<Duration>,
    hangs_up: bool,
}

impl Network {
    /// A network without servers, and without faults.
    pub fn new(chance: Arc<Chance>, trace: Arc<Trace>) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), chance, trace })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on, this happens.
    pub fn set(&self, faults: Faults) {
        self.state().faults = faults;
    }

    /// Cuts one party off from another, or no more.
    pub fn cut(&self, from: &str, to: &str, is_cut: bool) {
        let pair = (from.to_owned(), to.to_owned());
        let mut state = self.state();
        if is_cut {
            state.cut.insert(pair)
        } else {
            state.cut.remove(&pair)
        };
    }

    /// The connections of a new life of a party; those of the life before reach nobody any more.
    pub fn connect(self: &Arc<Self>, who: &str) -> Http {
        let life = {
            let mut state = self.state();
            let life = state.lives.entry(who.to_owned()).or_default();
            *life += 1;
            *life
        };
        Http::over(Arc::new(Line { network: self.clone(), who: who.to_owned(), life }))
    }

    /// More connections of a party as it is.
    pub fn join(self: &Arc<Self>, who: &str) -> Http {
        let life = *self.state().lives.entry(who.to_owned()).or_default();
        Http::over(Arc::new(Line { network: self.clone(), who: who.to_owned(), life }))
    }

    /// Puts a server on the network.
    pub fn serve(&self, at: &'static str, name: &'static str, router: Router) {
        let mut state = self.state();
        let life = state.servers.get(at).map_or(0, |s| s.life) + 1;
        state.servers.insert(at, Server { name, router: Some(router), life, began: now_ms(), running: Vec::new() });
    }

    /// A party is dead: what it sends and answers from now on is lost, and what it is at ends.
    pub fn kill(&self, who: &str) {
        let mut state = self.state();
        *state.lives.entry(who.to_owned()).or_default() += 1;
        for server in state.servers.values_mut().filter(|s| s.name == who) {
            server.router = None;
            server.life += 1;
            server.running.drain(..).for_each(|task| task.abort());
        }
    }

    /// Tickets that were presented since this was asked last, with who did.
    pub fn tickets(&self) -> Vec<(String, Bytes)> {
        std::mem::take(&mut self.state().tickets)
    }

    /// Answers that were altered so far.
    pub fn altered(&self) -> u64 {
        self.state().altered
    }

    fn fate(&self, from: &str, to: &str, path: &str) -> Fate {
        let Faults { lost, unanswered, doubled, damaged, altered, late } = self.state().faults;
        let chance = &self.chance;
        let way = || {
            let millis = if chance.per_mille(late) { chance.within(200, 20_000) } else { chance.within(1, 12) };
            Duration::from_millis(millis)
        };
        // Beyond these, TLS notices, and nothing else does.
        let noticed = to == "cloud" && (path.starts_with("/log/") || path == "/v1/records" || path == "/v1/search");
        let (there, back) = (way(), way());
        Fate {
            there,
            back,
            lost: chance.per_mille(lost),
            unanswered: chance.per_mille(unanswered),
            damaged: chance.per_mille(damaged).then(|| chance.within(0, 1 << 40)),
            altered: (chance.per_mille(altered) && noticed && from != to).then(|| chance.within(0, 1 << 40)),
            again: chance.per_mille(doubled).then(|| Duration::from_millis(chance.within(1, 20_000))),
            hangs_up: chance.per_mille(500),
        }
    }

    fn alive(&self, who: &str, life: u64) -> bool {
        self.state().lives.get(who) == Some(&life)
    }

    async fn carry(
        self: Arc<Self>,
        from: String,
        life: u64,
        request: Request<Bytes>,
    ) -> Result<Response<Bytes>, String> {
        if !self.alive(&from, life) {
            return pending().await;
        }
        let path = request.uri().path().to_owned();
        let at = request.uri().authority().map_or_else(String::new, ToString::to_string);
        let to = self.state().servers.get(at.as_str()).map_or("nobody", |s| s.name);
        let fate = self.fate(&from, to, &path);
        if self.state().cut.contains(&(from.clone(), to.to_owned())) {
            sleep(fate.there).await;
            self.trace.note(&format!("{from} > {to} {path}: cut off"));
            return Err("no route".into());
        }
        if path == "/v1/records" && from.starts_with("reader") {
            self.state().tickets.push((from.clone(), request.body().clone()));
        }
        sleep(fate.there).await;
        if fate.lost {
            self.trace.note(&format!("{from} > {to} {path}: lost"));
            sleep(fate.back).await;
            return Err("the connection was reset".into());
        }
        if let Some(later) = fate.again {
            let (network, from, request) = (self.clone(), from.clone(), request.clone());
            tokio::spawn(async move {
                sleep(later).await;
                let _ = network.deliver(&format!("{from} again"), request, None, false).await;
            });
        }
        let answer = self.deliver(&from, request, fate.damaged, fate.hangs_up).await;
        sleep(fate.back).await;
        if !self.alive(&from, life) {
            return pending().await;
        }
        if fate.unanswered {
            self.trace.note(&format!("{from} < {to} {path}: lost"));
            return Err("the connection was reset".into());
        }
        match (answer, fate.altered) {
            (Ok(answer), Some(at)) if answer.status().is_success() && !answer.body().is_empty() => {
                self.trace.note(&format!("{from} < {to} {path}: altered"));
                self.state().altered += 1;
                let (head, body) = answer.into_parts();
                Ok(Response::from_parts(head, flip(&body, at)))
            }
            (answer, _) => answer,
        }
    }

    /// Has the server work on a request; its answer, if it lives to send it.
    async fn deliver(
        self: &Arc<Self>,
        from: &str,
        mut request: Request<Bytes>,
        damaged: Option<u64>,
        hangs_up: bool,
    ) -> Result<Response<Bytes>, String> {
        let (path, signature) = (request.uri().path().to_owned(), signature(&request));
        let at = request.uri().authority().map_or_else(String::new, ToString::to_string);
        if let Some(at) = damaged.filter(|_| !request.body().is_empty()) {
            let body = flip(request.body(), at);
            *request.body_mut() = body;
        }
        let damaged = damaged.is_some() && !request.body().is_empty();
        let (name, task, life, began) = {
            let mut state = self.state();
            let Some(server) = state.servers.get_mut(at.as_str()) else { return Err("no such host".into()) };
            let Some(router) = server.router.clone() else {
                self.trace.note(&format!("{from} > {} {path}: is down", server.name));
                return Err("connection refused".into());
            };
            let task = tokio::spawn(answer(router, request));
            server.running.retain(|task| !task.is_finished());
            server.running.push(task.abort_handle());
            (server.name, task, server.life, server.began)
        };
        let _hangs_up = HangsUp(hangs_up.then(|| task.abort_handle()));
        let answered = match task.await {
            Ok(answered) => answered?,
            Err(error) if error.is_panic() => {
                self.trace.violation(format!("{name} panicked at {path} of {from}"));
                return Err("the connection was reset".into());
            }
            Err(_) => {
                self.trace.note(&format!("{from} > {name} {path}: died meanwhile"));
                return Err("the connection was reset".into());
            }
        };
        let status = answered.status();
        self.trace.note(&format!(
            "{from} > {name} {path}{}: {}",
            if damaged { " damaged" } else { "" },
            status.as_u16()
        ));
        if status.is_success() {
            self.judge(name, &path, signature, damaged, (life, began));
        }
        match self.state().servers.get(at.as_str()).is_some_and(|s| s.life == life) {
            true => Ok(answered),
            false => Err("the connection was reset".into()),
        }
    }

    /// A signed request is taken in once, and as it was signed. A server that was restarted knows of the time before
    /// only that it is before: a request that was signed by a clock ahead of its own may be taken in once more.
    fn judge(&self, name: &str, path: &str, signature: Option<String>, damaged: bool, (life, began): (u64, u64)) {
        let Some(signature) = signature else { return };
        if damaged {
            self.trace.violation(format!("{name} took in a request to {path} that was changed on its way"));
        }
        let ahead = signature.split("ts=").nth(1).and_then(|t| t.split(',').next()?.parse().ok()) >= Some(began);
        let before = self.state().taken.insert(signature, life);
        if before.is_some_and(|before| before == life || !ahead) {
            self.trace.violation(format!("{name} took in the same request to {path} twice"));
        }
    }
}

/// Ends what a server is at when its caller has gone.
struct HangsUp(Option<AbortHandle>);

impl Drop for HangsUp {
    fn drop(&mut self) {
        if let Some(task) = self.0.take() {
            task.abort();
        }
    }
}

fn signature(request: &Request<Bytes>) -> Option<String> {
    request.headers().get(header::AUTHORIZATION)?.to_str().ok().map(str::to_owned)
}

fn flip(bytes: &Bytes, at: u64) -> Bytes {
    let mut bytes = bytes.to_vec();
    let place = (at >> 3) as usize % bytes.len().max(1);
    if let Some(byte) = bytes.get_mut(place) {
        *byte ^= 1 << (at & 7);
    }
    bytes.into()
}

async fn answer(router: Router, request: Request<Bytes>) -> Result<Response<Bytes>, String> {
    let mut request = request.map(Body::from);
    // A server is told the path alone.
    *request.uri_mut() = request.uri().path_and_query().and_then(|p| p.as_str().parse().ok()).unwrap_or_default();
    let Ok(answer) = router.oneshot(request).await;
    let (head, body) = answer.into_parts();
    let body = body.collect().await.map_err(|e| e.to_string())?.to_bytes();
    Ok(Response::from_parts(head, body))
}

/// The connections of one life of a party.
struct Line {
    network: Arc<Network>,
    who: String,
    life: u64,
}

impl Transport for Line {
    fn exchange(&self, request: Request<Bytes>) -> Exchange {
        Box::pin(self.network.clone().carry(self.who.clone(), self.life, request))
    }
}

/// Since the simulation began.
pub(crate) fn since(began: Instant) -> u64 {
    began.elapsed().as_millis() as u64
}
