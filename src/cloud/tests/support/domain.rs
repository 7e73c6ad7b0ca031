//! A domain in miniature: authority, gate, hospitals, a cloud over real sockets.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use rand::{RngExt, rngs::StdRng};
use sealdex_cloud::{CloudConfig, CloudError, CloudKeys, backup::schedule::BackupPlan, compaction::CompactPlan, serve};
use sealdex_crypto::{BatchId, Identity, IdentitySeed, PrincipalId};
use sealdex_net::{CallError, Listen, Peer, Retry, clock::now_ms, guard::Bounds, peer::Http};
use sealdex_wire::{
    ProblemType, Signed,
    consent::{Accepted, SecretBytes, UpdateRoster},
    ingest::{BatchReceipt, BatchUpload, CloudStats, Removed, UploadRecord, batch_digest},
    roster::{Member, PublicKeys, Role, Roster, Server, Status},
    search::{CloudClause, CloudMatches, CloudSearch, FetchTicket, Ticket},
};
use tokio::{sync::oneshot, task::JoinHandle};

use crate::support::rng;

pub(crate) const DOMAIN: &str = "test-domain";
const CLOUD_SEED: [u8; 32] = [3; 32];

pub(crate) fn identity(seed: u8) -> Arc<Identity> {
    Arc::new(Identity::from_seed(&IdentitySeed::from_bytes(&[seed; 32])))
}

pub(crate) struct Domain {
    pub(crate) authority: Arc<Identity>,
    pub(crate) gate: Arc<Identity>,
    pub(crate) hospital: Arc<Identity>,
    pub(crate) ward: Arc<Identity>,
    pub(crate) other: Arc<Identity>,
    pub(crate) stranger: Arc<Identity>,
    pub(crate) cloud: PrincipalId,
}

impl Domain {
    pub(crate) fn new() -> Self {
        Self {
            authority: identity(1),
            gate: identity(2),
            hospital: identity(4),
            ward: identity(5),
            other: identity(6),
            stranger: identity(7),
            cloud: keys().id(),
        }
    }

    pub(crate) fn roster(&self, version: u64) -> Roster {
        let server = |keys: PublicKeys, id| Server { id, keys, url: "http://127.0.0.1:1".into(), node: None };
        let member = |who: &Identity, parent| Member {
            id: who.id(),
            keys: PublicKeys::from(&who.public()),
            role: Role::Provider,
            name: None,
            parent,
            status: Status::Active,
            counts_from: None,
            succeeds: None,
        };
        Roster {
            domain: DOMAIN.into(),
            version,
            authority: PublicKeys::from(&self.authority.public()),
            sharing: None,
            ledger: None,
            gates: vec![server(PublicKeys::from(&self.gate.public()), self.gate.id())],
            clouds: vec![server(
                PublicKeys::from(&Identity::from_seed(&IdentitySeed::from_bytes(&CLOUD_SEED)).public()),
                self.cloud,
            )],
            everyone: PublicKeys::from(&identity(9).public()),
            members: vec![
                member(&self.hospital, None),
                member(&self.ward, Some(self.hospital.id())),
                member(&self.other, None),
            ],
            revoked: Vec::new(),
            budgets: Vec::new(),
        }
    }

    pub(crate) fn update(&self, roster: &Roster, by: &Identity) -> UpdateRoster {
        UpdateRoster { roster: Signed::sign(roster, by, &mut rng(1)), bridges: Vec::new(), shares: Vec::new() }
    }

    /// A batch as the gate signed it for `provider`.
    pub(crate) fn upload(&self, id: u8, provider: &Identity, records: Vec<UploadRecord>) -> BatchUpload {
        let batch = BatchId([id; 16]);
        let digest =
            batch_digest(DOMAIN, batch, provider.id(), Removed::default(), records.iter().map(|r| (r.id, &r.index)));
        let gate_signature = self.gate.sign(&digest, &mut rng(2));
        BatchUpload {
            batch,
            gate: self.gate.id(),
            gate_signature,
            stated: None,
            records,
            deletes: Vec::new(),
            erases: Vec::new(),
        }
    }

    pub(crate) fn ticket(&self, ids: Vec<u8>, issued_at: u64, expires_at: u64) -> FetchTicket {
        let mut rng: StdRng = rand::make_rng();
        let nonce = rng.random();
        let digest = Ticket::digest(DOMAIN, self.cloud, &nonce, issued_at, expires_at, &ids);
        let signature = self.gate.sign(&digest, &mut rng);
        FetchTicket { ticket: Ticket { gate: self.gate.id(), nonce, issued_at, expires_at, signature }, ids }
    }

    pub(crate) fn fresh_ticket(&self, ids: Vec<u8>) -> FetchTicket {
        let now = now_ms();
        self.ticket(ids, now, now + 30_000)
    }

    pub(crate) fn peer(&self, addr: SocketAddr, who: &Arc<Identity>) -> Peer {
        peer(addr, self.cloud, Some(who.clone()))
    }
}

pub(crate) fn peer(addr: SocketAddr, cloud: PrincipalId, who: Option<Arc<Identity>>) -> Peer {
    let http = Http::new(None).expect("client");
    Peer::new(http, &format!("http://{addr}"), DOMAIN, cloud, who).expect("peer").with_retry(Retry::NONE)
}

pub(crate) fn keys() -> CloudKeys {
    CloudKeys {
        domain: DOMAIN.into(),
        authority: PublicKeys::from(&identity(1).public()),
        seed: SecretBytes(CLOUD_SEED),
    }
}

/// The key file's contents.
pub(crate) fn key_json() -> String {
    let k = keys();
    format!(
        r#"{{"domain":"{}","authority":{},"seed":{}}}"#,
        k.domain,
        sealdex_wire::codec::to_json(&k.authority),
        sealdex_wire::codec::to_json(&k.seed)
    )
}

/// A cloud in this process.
pub(crate) struct Running {
    pub(crate) addr: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), CloudError>>,
}

impl Running {
    pub(crate) async fn start(dir: &Path) -> Self {
        Self::backing_up(dir, None).await
    }

    pub(crate) async fn backing_up(dir: &Path, backup: Option<BackupPlan>) -> Self {
        let config = CloudConfig {
            data_dir: dir.into(),
            listen: Listen::loopback(0),
            keys: keys(),
            bounds: Bounds::default(),
            backup,
            compact: CompactPlan::default(),
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let (bound, addr) = oneshot::channel();
        let ready = move |a| bound.send(a).expect("the test waits");
        let task = tokio::spawn(serve(config, ready, async move { drop(stopped.await) }));
        let addr = addr.await.expect("the cloud starts");
        // Request times are whole milliseconds: be sure to come after the start.
        tokio::time::sleep(Duration::from_millis(3)).await;
        Self { addr, stop, task }
    }

    pub(crate) async fn stop(self) {
        self.stop.send(()).expect("the cloud runs");
        self.task.await.expect("no panic").expect("a clean stop");
    }
}

pub(crate) async fn put_roster(domain: &Domain, addr: SocketAddr, roster: &Roster) -> Result<u64, CallError> {
    let peer = domain.peer(addr, &domain.authority);
    let update = domain.update(roster, &domain.authority);
    peer.put_json::<_, Accepted>("/v1/roster", &update).await.map(|a| a.count)
}

pub(crate) async fn push(peer: &Peer, upload: &BatchUpload) -> Result<BatchReceipt, CallError> {
    peer.post_cbor("/v1/batches", upload).await
}

pub(crate) async fn search(peer: &Peer, clause: CloudClause, limit: u32) -> Result<CloudMatches, CallError> {
    peer.post_cbor("/v1/search", &CloudSearch { clause, sort: None, after: None, limit, prove: None }).await
}

/// Waits until everything accepted is searchable.
pub(crate) async fn settled(domain: &Domain, addr: SocketAddr) -> CloudStats {
    let peer = domain.peer(addr, &domain.gate);
    for _ in 0..400 {
        let stats: CloudStats = peer.get_json("/v1/stats").await.expect("stats");
        // Before the first round `indexed` is 0 whatever is stored.
        if stats.indexed == stats.accepted && search(&peer, CloudClause::All, 1).await.is_ok() {
            return stats;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("not searchable within two seconds");
}

pub(crate) fn refused<T: std::fmt::Debug>(result: Result<T, CallError>) -> ProblemType {
    result.expect_err("refused").problem_type().expect("one of our problems")
}
