//! Routes of the gate (`docs/ARCHITECTURE.md`), and the server around them.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::{FromRef, State},
    routing::{get, post, put},
};
use sealdex_net::{
    Authenticator, Call, Cbor, Json, Listen, Refusal,
    clock::now_ms,
    guard::{Bounds, guard},
    peer::Http,
    tls::TlsError,
};
use sealdex_wire::{
    Signed,
    care::{Asked, MandateList, RequestList, WakeList, WakeState},
    consent::{Accepted, AccessList, GrantList, OwnersFound},
    family::{MemberList, Trace},
    group::{GroupList, StaleList},
    ingest::BridgeResponse,
    roster::Roster,
    search::{Counted, SearchResponse},
};

use crate::{
    backup::{
        BackupError,
        schedule::{self, BackupPlan},
    },
    cloud::HttpCloud,
    error::GateError,
    gate::Gate,
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
    let store = RedbStore::open(&config.store)?;
    let http = Http::new(config.cloud_ca.as_deref())?;
    let cloud = HttpCloud::new(http, config.secrets.domain(), config.secrets.identity().clone());
    let gate = Gate::open(config.secrets, store, Arc::new(cloud), Arc::new(now_ms), config.heavy)?;
    let backups = schedule::start(&gate, config.backup)?;
    let bind = |source| ServeError::Bind { addr: config.listen.addr, source };
    let listener = config.listen.bind().await.map_err(bind)?;
    let addr = listener.local_addr().map_err(bind)?;
    gate.resume();
    let router = guard(router(gate.clone()), "gate", config.bounds);
    tracing::info!(%addr, gate = %gate.secrets().identity().id(), domain = gate.secrets().domain(), "serving");
    // Nobody may be waiting for the address.
    let _ = ready.send(addr);
    sealdex_net::serve(listener, config.listen.tls.clone(), router, shutdown).await;
    drop(backups);
    let asked = Instant::now();
    while Arc::strong_count(&gate) > 1 && asked.elapsed() < LAST_WORK {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

struct App<S: ConsentStore> {
    gate: Arc<Gate<S>>,
    auth: Arc<Authenticator>,
}

impl<S: ConsentStore> Clone for App<S> {
    fn clone(&self) -> Self {
        Self { gate: self.gate.clone(), auth: self.auth.clone() }
    }
}

impl<S: ConsentStore> FromRef<App<S>> for Arc<Authenticator> {
    fn from_ref(app: &App<S>) -> Self {
        app.auth.clone()
    }
}

/// The gate's routes, without the guard around them.
pub fn router<S: ConsentStore>(gate: Arc<Gate<S>>) -> Router {
    let id = gate.secrets().identity().id();
    let auth = Arc::new(Authenticator::new(gate.secrets().domain(), id, gate.clone()));
    Router::new()
        .route("/v1/roster", put(put_roster::<S>).get(get_roster::<S>))
        .route("/v1/owners", post(owners::<S>))
        .route("/v1/owners/lookup", post(lookup::<S>))
        .route("/v1/grants", post(grants::<S>))
        .route("/v1/grants/list", post(list::<S>))
        .route("/v1/accesses", post(accesses::<S>))
        .route("/v1/revocations", post(revocations::<S>))
        .route("/v1/consent", post(change::<S>))
        .route("/v1/members", post(family::<S>).get(member_list::<S>))
        .route("/v1/bridges/rotate", post(rotate_bridge::<S>))
        .route("/v1/groups", post(group::<S>))
        .route("/v1/groups/list", post(groups::<S>))
        .route("/v1/groups/stale", post(stale::<S>))
        .route("/v1/groups/rotate", post(rotate::<S>))
        .route("/v1/emergencies", post(wake::<S>))
        .route("/v1/emergencies/list", post(wakes::<S>))
        .route("/v1/emergencies/close", post(close_wake::<S>))
        .route("/v1/requests", post(ask::<S>))
        .route("/v1/requests/list", post(requests::<S>))
        .route("/v1/requests/answer", post(answer_request::<S>))
        .route("/v1/mandates", post(mandate::<S>))
        .route("/v1/mandates/list", post(mandates::<S>))
        .route("/v1/trace", post(trace::<S>))
        .route("/v1/count", post(count::<S>))
        .route("/v1/bridge", post(bridge::<S>))
        .route("/v1/search", post(search::<S>))
        .route("/v1/resume", post(resume::<S>))
        .route("/v1/openapi.json", get(|| async { Json(openapi::document()) }))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz::<S>))
        .with_state(App { gate, auth })
}

type Answer<T> = Result<T, Refusal>;

async fn readyz<S: ConsentStore>(State(app): State<App<S>>) -> Answer<&'static str> {
    app.gate.members()?;
    // It must stay reachable while it waits: for revocations, rosters and being resumed.
    Ok(if app.gate.standings.serving().is_ok() { "ready\n" } else { "ready, but restored: waits to be resumed\n" })
}

async fn put_roster<S: ConsentStore>(State(app): State<App<S>>, call: Call) -> Answer<Json<Accepted>> {
    Ok(Json(app.gate.update_roster(call.caller.id, call.json()?).await?))
}

async fn get_roster<S: ConsentStore>(State(app): State<App<S>>, call: Call) -> Answer<Json<Signed<Roster>>> {
    Ok(Json(app.gate.roster(call.caller.id)?))
}

async fn owners<S: ConsentStore>(State(app): State<App<S>>, call: Call) -> Answer<Json<Accepted>> {
    Ok(Json(app.gate.publish_owners(call.caller.id, call.json()?).await?))
}

async fn lookup<S: ConsentStore>(State(app): State<App<S>>, call: Call) -> Answer<Json<OwnersFound>> {
    Ok(Json(app.gate.lookup_owners(call.caller.id, call.json()?).await?))
}

async fn grants<S: ConsentStore>(State(app): State<App<S>>, call: Call) -> Answer<Json<Accepted>> {
    Ok(Json(app.gate.submit_grants(call.caller.id, call.json()?).await?))
}

async fn list<S: ConsentStore>(State(app): State<App<S>>, call: Call) -> Answer<Json<GrantList>> {
    Ok(Json(app.gate.list_grants(call.caller.id, call.json()?).await?))
}

async fn accesses<S: ConsentStore>(State(app): State<App<S>>, call: Call) -> Answer<Json<AccessList>> {
    Ok(Json(app.gate.list_accesses(call.caller.id, call.json()?).await?))
}

async fn revocations<S: ConsentStore>(State(app): State<App<S>>, call: Call) -> Answer<Json<Accepted>> {
    Ok(Json(app.gate.submit_revocations(call.caller.keys, call.json()?).await?))
}

async fn bridge<S: ConsentStore>(State(app): State<App<S>>, call: Call) -> Answer<Cbor<BridgeResponse>> {
    Ok(Cbor(app.gate.bridge(call.caller.id, call.cbor()?).await?))
}

async fn search<S: ConsentStore>(State(app): State<App<S>>, call: Call) -> Answer<Cbor<SearchResponse>> {
    Ok(Cbor(app.gate.search(call.caller.id, call.cbor()?).await?))
}

async fn change<S: ConsentStore>(State(app): State<App<S>>, call: Call) -> Answer<Json<Accepted>> {
    Ok(Json(app.gate.change_consent(call.caller.keys, call.json()?).await?))
}

async fn family<S: ConsentStore>(State(app): State<App<S>>, call: Call) -> Answer<Json<Accepted>> {
    Ok(Json(app.gate.update_family(call.caller.id, call.json()?).await?))
}

async fn member_list<S: ConsentStore>(State(app): State<App<S>>, call: Call) -> Answer<Json<MemberList>> {
    Ok(Json(app.gate.member_list(call.caller.id)?))
}

async fn rotate_bridge<S: ConsentStore>(State(app): State<App<S>>, call: Call) -> Answer<Json<Accepted>> {
    Ok(Json(app.gate.rotate_bridge(call.caller.id, call.json()?).await?))
}

async fn group<S: ConsentStore>(State(app): State<App<S>>, call: Call) -> Answer<Json<Accepted>> {
    Ok(Json(app.gate.submit_group(call.caller.id, call.json()?).await?))
}

async fn groups<S: ConsentStore>(State(app): State<App<S>>, call: Call) -> Answer<Json<GroupList>> {
    Ok(Json(app.gate.list_groups(call.caller.id, &call.json()?)?))
}

async fn stale<S: ConsentStore>(State(app): State<App<S>>, call: Call) -> Answer<Json<StaleList>> {
    Ok(Json(app.gate.list_stale(call.caller.id, call.json()?).await?))
}

async fn rotate<S: ConsentStore>(State(app): State<App<S>>, call: Call) -> Answer<Json<Accepted>> {
    Ok(Json(app.gate.rotate(call.caller.id, call.json()?).await?))
}

async fn wake<S: ConsentStore>(State(app): State<App<S>>, call: Call) -> Answer<Json<WakeState>> {
    Ok(Json(app.gate.submit_wake(call.caller.id, call.json()?).await?))
}

async fn wakes<S: ConsentStore>(State(app): State<App<S>>, call: Call) -> Answer<Json<WakeList>> {
    Ok(Json(app.gate.list_wakes(call.caller.id, call.json()?).await?))
}

async fn close_wake<S: ConsentStore>(State(app): State<App<S>>, call: Call) -> Answer<Json<Accepted>> {
    Ok(Json(app.gate.close_wake(call.caller.id, call.json()?).await?))
}

async fn ask<S: ConsentStore>(State(app): State<App<S>>, call: Call) -> Answer<Json<Asked>> {
    Ok(Json(app.gate.ask_access(call.caller.id, call.json()?).await?))
}

async fn requests<S: ConsentStore>(State(app): State<App<S>>, call: Call) -> Answer<Json<RequestList>> {
    Ok(Json(app.gate.list_requests(call.caller.id, call.json()?).await?))
}

async fn answer_request<S: ConsentStore>(State(app): State<App<S>>, call: Call) -> Answer<Json<Accepted>> {
    Ok(Json(app.gate.answer_request(call.caller.id, call.json()?).await?))
}

async fn mandate<S: ConsentStore>(State(app): State<App<S>>, call: Call) -> Answer<Json<Accepted>> {
    Ok(Json(app.gate.submit_mandate(call.caller.keys, call.json()?).await?))
}

async fn mandates<S: ConsentStore>(State(app): State<App<S>>, call: Call) -> Answer<Json<MandateList>> {
    Ok(Json(app.gate.list_mandates(call.caller.id).await?))
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
