//! Over real sockets: the binary's server, signed requests, a cloud that speaks the wire protocol.

use std::sync::Arc;

use sealdex_crypto::{Identity, IdentitySeed};
use sealdex_gate::{GateConfig, GateSecrets, serve, store::MemoryStore};
use sealdex_net::{CallError, Peer, Retry, peer::Http};
use sealdex_wire::{
    ProblemType, Signed,
    consent::{
        Accepted, GrantList, ListGrants, LookupOwners, OwnersFound, PublishOwners, SubmitGrants, SubmitRevocations,
    },
    ingest::BridgeResponse,
    roster::Roster,
    search::{InnerClause, SearchResponse},
};
use tokio::sync::oneshot;

use crate::{cloud::over_http, domain::*};

/// A gate served over HTTP, its store in a directory, and the domain it belongs to.
pub struct Served {
    pub domain: Domain,
    http: Http,
    dir: tempfile::TempDir,
    stop: Option<oneshot::Sender<()>>,
    running: Option<tokio::task::JoinHandle<()>>,
}

impl Served {
    pub async fn start() -> Self {
        let mut domain = Domain::over(MemoryStore::default());
        domain.cloud_url =
            over_http::serve(domain.cloud.clone(), domain.cloud_identity.id(), domain.gate_identity.public()).await;
        let (http, dir) = (Http::new(None).unwrap(), tempfile::tempdir().unwrap());
        let mut served = Self { domain, http, dir, stop: None, running: None };
        served.run().await;
        served
    }

    async fn run(&mut self) {
        let (ready, bound) = oneshot::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let config =
            GateConfig::loopback(GateSecrets::new(&gate_keys()).unwrap(), self.dir.path().join("gate.redb"), 0);
        self.running = Some(tokio::spawn(async move {
            let stopped = async {
                let _ = stopped.await;
            };
            serve(config, ready, stopped).await.unwrap();
        }));
        self.domain.gate_url = format!("http://{}", bound.await.unwrap());
        self.stop = Some(stop);
    }

    pub async fn restart(&mut self) {
        drop(self.stop.take());
        self.running.take().unwrap().await.unwrap();
        self.run().await;
    }

    pub fn peer(&self, caller: Identity) -> Peer {
        let d = &self.domain;
        let peer =
            Peer::new(self.http.clone(), &d.gate_url, DOMAIN, d.gate_identity.id(), Some(Arc::new(caller))).unwrap();
        peer.with_retry(Retry::NONE)
    }

    pub fn member(&self, n: usize) -> Peer {
        self.peer(identity(n as u8 + 1))
    }

    pub fn owner(&self, n: u8) -> Peer {
        self.peer(Identity::from_seed(&IdentitySeed::from_bytes(&[n; 32]))).self_certified()
    }
}

fn kind<T>(result: Result<T, CallError>) -> Option<ProblemType> {
    result.err().and_then(|e| e.problem_type())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_whole_flow_over_http_and_a_restart_keeps_everything() {
    let mut s = Served::start().await;
    let owner = Owner::new(50);
    assert_eq!(
        kind(s.member(NORTH).get_json::<Signed<Roster>>("/v1/roster").await),
        Some(ProblemType::Unauthenticated),
        "no roster yet"
    );
    let accepted: Accepted = s.peer(identity(200)).put_json("/v1/roster", &s.domain.update()).await.unwrap();
    assert_eq!(accepted.count, 1);
    let roster: Signed<Roster> = s.member(CLINICIAN).get_json("/v1/roster").await.unwrap();
    assert_eq!(roster.verify(&s.domain.authority.public()).unwrap(), s.domain.roster());

    // Times are the server's here, so the grant's are too.
    let now = sealdex_net::clock::now_ms();
    let profile = owner.sign_profile(&owner.profile(1, &[("labs", 0)], &[s.domain.id(NORTH)]));
    let _: Accepted =
        s.owner(50).post_json("/v1/owners", &PublishOwners { profiles: vec![profile.clone()] }).await.unwrap();
    let (mut terms, rk) = owner.terms(&s.domain.public(CLINICIAN), "labs", 0, now);
    (terms.not_before, terms.not_after) = (now / 1000 - 1, now / 1000 + 3600);
    let grants = SubmitGrants { grants: vec![owner.sign_grant(&terms, rk)], shares: vec![] };
    let _: Accepted = s.owner(50).post_json("/v1/grants", &grants).await.unwrap();
    let batch = s.domain.batch(&owner, "labs", 3, &[(1, vec![entry([7; 32], false)]), (2, vec![])]);
    let bridged: BridgeResponse = s.member(NORTH).post_cbor("/v1/bridge", &batch).await.unwrap();
    s.domain.cloud.store(s.domain.id(NORTH), &batch, &bridged);

    s.restart().await;
    let found: OwnersFound =
        s.member(NORTH).post_json("/v1/owners/lookup", &LookupOwners { owners: vec![owner.id()] }).await.unwrap();
    assert_eq!(found.profiles, vec![Some(profile)]);
    let list: GrantList = s
        .member(CLINICIAN)
        .post_json("/v1/grants/list", &ListGrants { owner: None, after: None, limit: 9 })
        .await
        .unwrap();
    assert_eq!(list.grants, vec![grants.grants[0].grant.clone()]);
    let query = s.domain.query(has([7; 32], false));
    let answer: SearchResponse = s.member(CLINICIAN).post_cbor("/v1/search", &query).await.unwrap();
    assert_eq!(ids(&answer), vec![1]);
    assert!(opens(&identity(CLINICIAN as u8 + 1), &owner, &answer.groups[0]));

    // A restart between ticket and revocation loses no ticket.
    s.restart().await;
    let revocation = owner.revoke(s.domain.id(CLINICIAN), None, sealdex_net::clock::now_ms());
    let revocations = SubmitRevocations { revocations: vec![revocation] };
    let ended: Accepted = s.owner(50).post_json("/v1/revocations", &revocations).await.unwrap();
    assert_eq!(ended.count, 1);
    assert!(s.domain.cloud.withdrawn.lock().unwrap().contains(&answer.tickets[0].ticket.nonce));
    let answer: SearchResponse = s.member(CLINICIAN).post_cbor("/v1/search", &query).await.unwrap();
    assert_eq!(ids(&answer), Vec::<u8>::new());
    s.restart().await;
    assert_eq!(
        kind(s.owner(50).post_json::<_, Accepted>("/v1/grants", &grants).await),
        Some(ProblemType::Conflict),
        "revoked for good"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_are_problem_documents_of_the_right_kind() {
    let s = Served::start().await;
    let update = s.domain.update();
    assert_eq!(
        kind(s.peer(identity(99)).put_json::<_, Accepted>("/v1/roster", &update).await),
        Some(ProblemType::Unauthenticated)
    );
    let _: Accepted = s.peer(identity(200)).put_json("/v1/roster", &update).await.unwrap();
    assert_eq!(
        kind(s.member(NORTH).put_json::<_, Accepted>("/v1/roster", &update).await),
        Some(ProblemType::Forbidden)
    );
    let query = s.domain.query(InnerClause::All);
    assert_eq!(
        kind(s.owner(50).post_cbor::<_, SearchResponse>("/v1/search", &query).await),
        Some(ProblemType::Forbidden),
        "a patient"
    );
    let owner = Owner::new(50);
    let batch = s.domain.batch(&owner, "labs", 3, &[]);
    assert_eq!(
        kind(s.member(NORTH).post_cbor::<_, BridgeResponse>("/v1/bridge", &batch).await),
        Some(ProblemType::NotFound)
    );
    let profile = owner.sign_profile(&owner.profile(1, &[("labs", 0)], &[s.domain.id(SOUTH)]));
    let _: Accepted =
        s.member(SOUTH).post_json("/v1/owners", &PublishOwners { profiles: vec![profile] }).await.unwrap();
    assert_eq!(
        kind(s.member(NORTH).post_cbor::<_, BridgeResponse>("/v1/bridge", &batch).await),
        Some(ProblemType::NotAWriter)
    );
    assert_eq!(
        kind(s.member(NORTH).post_cbor::<_, BridgeResponse>("/v1/bridge", &7).await),
        Some(ProblemType::Malformed)
    );
    assert_eq!(kind(s.member(NORTH).get_json::<()>("/v1/nothing").await), Some(ProblemType::NotFound));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_readiness_metrics_and_the_api_document_are_open_to_all() {
    let s = Served::start().await;
    let anyone = Peer::new(s.http.clone(), &s.domain.gate_url, DOMAIN, s.domain.gate_identity.id(), None)
        .unwrap()
        .with_retry(Retry::NONE);
    let get = async |path: &'static str| anyone.call(http::Method::GET, path, "text/plain", Default::default()).await;
    assert_eq!(get("/healthz").await.unwrap().as_ref(), b"ok\n");
    assert_eq!(kind(get("/readyz").await), Some(ProblemType::Overloaded), "not before there is a roster");
    let _: Accepted = s.peer(identity(200)).put_json("/v1/roster", &s.domain.update()).await.unwrap();
    assert_eq!(get("/readyz").await.unwrap().as_ref(), b"ready\n");
    assert!(String::from_utf8(get("/metrics").await.unwrap().to_vec()).unwrap().contains("sealdex_requests_total"));
    let api: serde_json::Value = serde_json::from_slice(&get("/v1/openapi.json").await.unwrap()).unwrap();
    assert_eq!(api["openapi"], "3.1.0");
    assert!(get("/v1/roster").await.is_err());
}
