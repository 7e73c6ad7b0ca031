//! Routes of the gate (`docs/ARCHITECTURE.md`), and the server around them.

use std::{
    path::PathBuf,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::{FromRef, State},
    routing::{get, post, put},
};
use http::{Method, Uri};
use sealdex_dbfile::{DbFile, Findings, Scrub, Soundness};
use sealdex_net::{
    Authenticator, Call, Cbor, CborBytes, Json, Listen, Refusal,
    clock::{now_ms, now_s},
    guard::{Bounds, guard},
    peer::Http,
    tls::TlsError,
};
use sealdex_wire::{
    Signed,
    care::{MandateList, RequestList, WakeList},
    codec,
    consent::{Accepted, AccessList, GrantList, OwnersFound},
    erasure::{ErasureState, ErasuresPending},
    family::{MemberList, Trace},
    group::{GroupList, StaleList},
    roster::Roster,
    search::{Counted, SearchResponse},
    threshold::{CopiedRows, DealtRows, Partials, Replicated, ResharingState, Turn, WithTurns},
};

use crate::{
    acts::KeepsLogging,
    backup::{
        BackupError,
        schedule::{self, BackupPlan},
    },
    cloud::HttpCloud,
    error::GateError,
    gate::Gate,
    nodes::{
        exchange::{HttpLink, InTouch},
        writes::WRITES,
    },
    openapi,
    secrets::GateSecrets,
    store::{ConsentStore, RedbStore, StoreError},
};

/// What it takes to run a gate.
pub struct GateConfig {
    /// Its keys.
    pub secrets: GateSecrets,
    /// File of the consent store.
    pub store: PathBuf,
    /// Where to listen.
    pub listen: Listen,
    /// Certificates that clouds are trusted by; the web's roots when absent.
    pub cloud_ca: Option<PathBuf>,
    /// Bounds on requests.
    pub bounds: Bounds,
    /// Most searches and batches worked on at once; one more is refused with 503.
    pub heavy: usize,
    /// Where, how often and how many backups to take.
    pub backup: Option<BackupPlan>,
}

impl GateConfig {
    /// A gate on a loopback port (0 picks one), with default bounds.
    pub fn loopback(secrets: GateSecrets, store: PathBuf, port: u16) -> Self {
        let (listen, bounds) = (Listen::loopback(port), Bounds::default());
        Self { secrets, store, listen, cloud_ca: None, bounds, heavy: 64, backup: None }
    }
}

/// Why a gate did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The store could not be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What the store holds is unusable.
    #[error(transparent)]
    Gate(#[from] GateError),
    /// Backups cannot be taken.
    #[error("backups cannot be taken: {0}")]
    Backup(#[from] BackupError),
    /// TLS could not be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The address could not be bound.
    #[error("cannot listen on {addr}: {source}")]
    Bind {
        /// Address.
        addr: std::net::SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

/// Longest a stop waits for work that outlived its request, such as withdrawing tickets.
const LAST_WORK: Duration = Duration::from_secs(10);

/// Serves a gate until `shutdown` resolves; `ready` is told the address once it is bound. When it
/// returns, its store is closed and may be opened again.
///
/// # Errors
/// [`ServeError`], before `ready` is told anything.
pub async fn serve(
    config: GateConfig,
    ready: tokio::sync::oneshot::Sender<std::net::SocketAddr>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    sealdex_net::guard::recorder();
    let store = RedbStore::open(&config.store)?;
    let (file, findings) = (store.file(), Findings::default());
    let http = Http::new(config.cloud_ca.as_deref())?;
    let link = HttpLink::new(http.clone(), config.secrets.domain(), config.secrets.identity().clone());
    let log = config.store.with_extension("ledger");
    let cloud = HttpCloud::new(http, config.secrets.domain(), config.secrets.identity().clone(), Some(log));
    let gate = Gate::open(config.secrets, store, Arc::new(cloud), Arc::new(now_ms), config.heavy)?;
    let backups = schedule::start(&gate, config.backup)?;
    let bind = |source| ServeError::Bind { addr: config.listen.addr, source };
    let listener = config.listen.bind().await.map_err(bind)?;
    let addr = listener.local_addr().map_err(bind)?;
    let running = Running::start(&gate, link).await?;
    let observing = tokio::spawn(observe(Arc::downgrade(&gate), config.store.clone())).abort_handle();
    let scrub = look_through(file.clone(), findings.clone()).map_err(StoreError::from)?;
    let router = guard(routes(gate.clone(), findings), "gate", config.bounds);
    tracing::info!(%addr, gate = %gate.secrets().identity().id(), domain = gate.secrets().domain(), "serving");
    // Nobody may be waiting for the address.
    let _ = ready.send(addr);
    sealdex_net::serve(listener, config.listen.tls.clone(), router, shutdown).await;
    observing.abort();
    drop(backups);
    scrub.ask_to_stop();
    file.abandon_check();
    drop((scrub, file));
    running.end().await;
    let asked = Instant::now();
    while Arc::strong_count(&gate) > 1 && asked.elapsed() < LAST_WORK {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

/// How often gauges are brought up to date that nothing else does.
const OBSERVED: Duration = Duration::from_secs(5);

async fn observe<S: ConsentStore>(gate: Weak<Gate<S>>, store: PathBuf) {
    while let Some(gate) = gate.upgrade() {
        if let Ok(members) = gate.members() {
            metrics::gauge!("sealdex_roster_version", "role" => "gate").set(members.roster().version as f64);
        }
        drop(gate);
        if let Ok(file) = std::fs::metadata(&store) {
            metrics::gauge!("sealdex_gate_store_bytes").set(file.len() as f64);
        }
        let dir = store.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(std::path::Path::new("."));
        if let Some((free, all)) = sealdex_net::process::disk(dir) {
            metrics::gauge!("sealdex_gate_disk_free_bytes").set(free as f64);
            metrics::gauge!("sealdex_gate_disk_bytes").set(all as f64);
        }
        tokio::time::sleep(OBSERVED).await;
    }
}

/// Verifies the store's checksums now and then.
fn look_through(file: Arc<DbFile>, findings: Findings) -> std::io::Result<Scrub> {
    let checked = || metrics::gauge!("sealdex_gate_checked_seconds").set(now_s() as f64);
    // Until the first look it is as old as the server.
    checked();
    sealdex_dbfile::each(move |rate| match file.check(rate) {
        Ok(found) => {
            if let Soundness::Damaged(what) = &found {
                metrics::counter!("sealdex_gate_damage_total").increment(1);
                let path = file.path().display();
                tracing::error!(%path, what, "the store is damaged: restore it from a backup (sealdex gate restore)");
            }
            findings.note("the gate's store", &found);
            let ended = found != Soundness::Busy;
            if ended {
                checked();
            }
            ended
        }
        Err(error) => {
            tracing::error!(%error, "the store cannot be checked");
            false
        }
    })
}

/// What a gate does besides answering, for as long as it is not dropped.
pub struct Running {
    in_touch: InTouch,
    logging: KeepsLogging,
}

impl Running {
    /// Takes up what an earlier run of the gate left, and goes on.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn start<S: ConsentStore>(gate: &Arc<Gate<S>>, link: HttpLink) -> Result<Self, GateError> {
        gate.resume();
        gate.finish_noted().await?;
        let in_touch = gate.keep_in_touch(Arc::new(link));
        gate.go_on_resharing();
        Ok(Self { in_touch, logging: gate.keep_logging() })
    }

    /// Ends it, and waits until it has.
    pub async fn end(self) {
        self.in_touch.end().await;
        self.logging.end().await;
    }
}

struct App<S: ConsentStore> {
    gate: Arc<Gate<S>>,
    auth: Arc<Authenticator>,
    findings: Findings,
}

impl<S: ConsentStore> Clone for App<S> {
    fn clone(&self) -> Self {
        Self { gate: self.gate.clone(), auth: self.auth.clone(), findings: self.findings.clone() }
    }
}

impl<S: ConsentStore> FromRef<App<S>> for Arc<Authenticator> {
    fn from_ref(app: &App<S>) -> Self {
        app.auth.clone()
    }
}

/// The gate's routes, without the guard around them.
pub fn router<S: ConsentStore>(gate: Arc<Gate<S>>) -> Router {
    routes(gate, Findings::default())
}

fn routes<S: ConsentStore>(gate: Arc<Gate<S>>, findings: Findings) -> Router {
    let id = gate.secrets().identity().id();
    let auth = Arc::new(Authenticator::new(gate.secrets().domain(), id, gate.clone()));
    let writes = WRITES.iter().fold(Router::new(), |router, (method, path)| {
        router.route(path, if *method == "PUT" { put(write::<S>) } else { post(write::<S>) })
    });
    Router::new()
        .merge(writes)
        .route("/v1/roster", get(get_roster::<S>))
        .route("/v1/owners/lookup", post(lookup::<S>))
        .route("/v1/grants/list", post(list::<S>))
        .route("/v1/accesses", post(accesses::<S>))
        .route("/v1/members", get(member_list::<S>))
        .route("/v1/groups/list", post(groups::<S>))
        .route("/v1/groups/stale", post(stale::<S>))
        .route("/v1/emergencies/list", post(wakes::<S>))
        .route("/v1/requests/list", post(requests::<S>))
        .route("/v1/mandates/list", post(mandates::<S>))
        .route("/v1/erasures/pending", post(pending_erasures::<S>))
        .route("/v1/erasures/status", post(erasure_state::<S>))
        .route("/v1/trace", post(trace::<S>))
        .route("/v1/count", post(count::<S>))
        .route("/v1/bridge", post(bridge::<S>))
        .route("/v1/search", post(search::<S>))
        .route("/v1/turns", post(turn::<S>))
        .route("/v1/partials", post(partials::<S>))
        .route("/v1/shared/count", post(shared_count::<S>))
        .route("/v1/shared/bridge", post(shared_bridge::<S>))
        .route("/v1/shared/search", post(shared_search::<S>))
        .route("/v1/replica", post(replica::<S>))
        .route("/v1/reshare", post(reshare::<S>))
        .route("/v1/reshare/state", post(resharing_state::<S>))
        .route("/v1/reshare/deal", post(deal::<S>))
        .route("/v1/reshare/rows", post(copy_rows::<S>))
        .route("/v1/resume", post(resume::<S>))
        .route("/v1/openapi.json", get(|| async { Json(openapi::document()) }))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz::<S>))
        .with_state(App { gate, auth, findings })
}

type Answer<T> = Result<T, Refusal>;

async fn readyz<S: ConsentStore>(State(app): State<App<S>>) -> Answer<String> {
    app.gate.members()?;
    if let Some(damaged) = app.findings.damaged() {
        return Ok(format!("ready, but damaged: {damaged}\n"));
    }
    // It must stay reachable while it waits: for revocations, rosters and being resumed.
    Ok(match (app.gate.standings.serving(), app.gate.in_touch()) {
        (Err(_), _) => "ready, but restored: waits to be resumed\n",
        (_, Err(_)) => "ready, but out of touch with the other nodes\n",
        _ => "ready\n",
    }
    .to_owned())
}

/// Whatever changes what the gate knows.
async fn write<S: ConsentStore>(
    State(app): State<App<S>>,
    method: Method,
    uri: Uri,
    call: Call,
) -> Answer<Json<serde_json::Value>> {
    let path = uri.path_and_query().map_or("/", |p| p.as_str()).to_owned();
    Ok(Json(app.gate.take_in(method.as_str(), &path, call).await?))
}

async fn get_roster<S: ConsentStore>(State(app): State<App<S>>, call: Call) -> Answer<Json<Signed<Roster>>> {
    Ok(Json(app.gate.roster(call.caller.id)?))
}

async fn lookup<S: ConsentStore>(State(app): State<App<S>>, call: Call) -> Answer<Json<OwnersFound>> {
    Ok(Json(app.gate.lookup_owners(call.caller.id, call.json()?).await?))
}

async fn list<S: ConsentStore>(State(app): State<App<S>>, call: Call) -> Answer<Json<GrantList>> {
    Ok(Json(app.gate.list_grants(call.caller.id, call.json()?).await?))
}

async fn accesses<S: ConsentStore>(State(app): State<App<S>>, call: Call) -> Answer<Json<AccessList>> {
    Ok(Json(app.gate.list_accesses(call.caller.id, call.json()?).await?))
}

async fn bridge<S: ConsentStore>(State(app): State<App<S>>, call: Call) -> Answer<CborBytes> {
    Ok(CborBytes(app.gate.bridge(call.caller.id, call.cbor()?).await?.to_cbor()))
}

async fn search<S: ConsentStore>(State(app): State<App<S>>, call: Call) -> Answer<Cbor<SearchResponse>> {
    Ok(Cbor(app.gate.search(call.caller.id, call.cbor()?).await?))
}

async fn shared_bridge<S: ConsentStore>(State(app): State<App<S>>, call: Call) -> Answer<CborBytes> {
    let turns: WithTurns = call.cbor()?;
    let request = codec::from_cbor(&turns.request).map_err(Refusal::malformed)?;
    Ok(CborBytes(app.gate.bridge_with(call.caller.id, request, Some(turns)).await?.to_cbor()))
}

async fn shared_search<S: ConsentStore>(State(app): State<App<S>>, call: Call) -> Answer<Cbor<SearchResponse>> {
    let turns: WithTurns = call.cbor()?;
    let request = codec::from_cbor(&turns.request).map_err(Refusal::malformed)?;
    Ok(Cbor(app.gate.search_with(call.caller.id, request, Some(turns)).await?))
}

async fn shared_count<S: ConsentStore>(State(app): State<App<S>>, call: Call) -> Answer<Cbor<Counted>> {
    let turns: WithTurns = call.cbor()?;
    let request = codec::from_cbor(&turns.request).map_err(Refusal::malformed)?;
    Ok(Cbor(app.gate.count_with(call.caller.id, request, Some(turns)).await?))
}

async fn turn<S: ConsentStore>(State(app): State<App<S>>, call: Call) -> Answer<Cbor<Turn>> {
    Ok(Cbor(app.gate.take_turn(call.caller.id, call.cbor()?).await?))
}

async fn partials<S: ConsentStore>(State(app): State<App<S>>, call: Call) -> Answer<Cbor<Partials>> {
    Ok(Cbor(app.gate.partials(call.caller.id, call.cbor()?).await?))
}

async fn replica<S: ConsentStore>(State(app): State<App<S>>, call: Call) -> Answer<Cbor<Replicated>> {
    Ok(Cbor(app.gate.replicate(call.caller.id, call.cbor()?).await?))
}

async fn reshare<S: ConsentStore>(State(app): State<App<S>>, call: Call) -> Answer<Json<Accepted>> {
    Ok(Json(app.gate.reshare(call.caller.id, call.json()?).await?))
}

async fn resharing_state<S: ConsentStore>(State(app): State<App<S>>, call: Call) -> Answer<Json<ResharingState>> {
    Ok(Json(app.gate.resharing_state(call.caller.id)?))
}

async fn deal<S: ConsentStore>(State(app): State<App<S>>, call: Call) -> Answer<Cbor<DealtRows>> {
    Ok(Cbor(app.gate.deal(call.caller.id, call.cbor()?).await?))
}

async fn copy_rows<S: ConsentStore>(State(app): State<App<S>>, call: Call) -> Answer<Cbor<CopiedRows>> {
    Ok(Cbor(app.gate.copy_rows(call.caller.id, call.cbor()?).await?))
}

async fn member_list<S: ConsentStore>(State(app): State<App<S>>, call: Call) -> Answer<Json<MemberList>> {
    Ok(Json(app.gate.member_list(call.caller.id)?))
}

async fn groups<S: ConsentStore>(State(app): State<App<S>>, call: Call) -> Answer<Json<GroupList>> {
    Ok(Json(app.gate.list_groups(call.caller.id, &call.json()?)?))
}

async fn stale<S: ConsentStore>(State(app): State<App<S>>, call: Call) -> Answer<Json<StaleList>> {
    Ok(Json(app.gate.list_stale(call.caller.id, call.json()?).await?))
}

async fn wakes<S: ConsentStore>(State(app): State<App<S>>, call: Call) -> Answer<Json<WakeList>> {
    Ok(Json(app.gate.list_wakes(call.caller.id, call.json()?).await?))
}

async fn requests<S: ConsentStore>(State(app): State<App<S>>, call: Call) -> Answer<Json<RequestList>> {
    Ok(Json(app.gate.list_requests(call.caller.id, call.json()?).await?))
}

async fn mandates<S: ConsentStore>(State(app): State<App<S>>, call: Call) -> Answer<Json<MandateList>> {
    Ok(Json(app.gate.list_mandates(call.caller.id).await?))
}

async fn pending_erasures<S: ConsentStore>(State(app): State<App<S>>, call: Call) -> Answer<Cbor<ErasuresPending>> {
    Ok(Cbor(app.gate.pending_erasures(call.caller.id, call.cbor()?).await?))
}

async fn erasure_state<S: ConsentStore>(State(app): State<App<S>>, call: Call) -> Answer<Cbor<ErasureState>> {
    Ok(Cbor(app.gate.erasure_state(call.caller.id, call.cbor()?).await?))
}

async fn trace<S: ConsentStore>(State(app): State<App<S>>, call: Call) -> Answer<Json<Trace>> {
    Ok(Json(app.gate.trace(call.caller.id, call.json()?).await?))
}

async fn count<S: ConsentStore>(State(app): State<App<S>>, call: Call) -> Answer<Cbor<Counted>> {
    Ok(Cbor(app.gate.count(call.caller.id, call.cbor()?).await?))
}

async fn resume<S: ConsentStore>(State(app): State<App<S>>, call: Call) -> Answer<Json<Accepted>> {
    Ok(Json(app.gate.resume_serving(call.caller.id, call.json()?).await?))
}
