//! A restored gate over HTTP: what it answers while it waits, and how the authority ends that.

use std::sync::Arc;

use sealdex_gate::{
    GateConfig,
    backup::{files, restore::restore},
    serve,
    store::{MemoryStore, RedbStore},
};
use sealdex_net::{CallError, Peer, Retry, clock::now_ms, peer::Http};
use sealdex_wire::{
    ProblemType,
    consent::{Accepted, SubmitRevocations},
    operations::ResumeGate,
    search::{InnerClause, SearchResponse},
};
use tokio::sync::oneshot;

use crate::{cloud::over_http, domain::*, safety::secrets};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_gate_says_so_takes_revocations_and_is_resumed_by_its_authority() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = (dir.path().join("old.redb"), dir.path().join("new.redb"));
    let mut d = Domain::over(MemoryStore::default());
    d.cloud_url = over_http::serve(d.cloud.clone(), d.cloud_identity.id(), d.gate_identity.public()).await;
    let taken_at = now_ms();
    let backup = files::take(&RedbStore::open(&old).unwrap(), &secrets(), dir.path(), 1, taken_at, &|| true).unwrap();
    restore(&backup.path, &new, &secrets(), now_ms()).unwrap();

    let (ready, bound) = oneshot::channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let config = GateConfig::loopback(secrets(), new, 0);
    let serving = tokio::spawn(async move {
        let stopped = async {
            let _ = stopped.await;
        };
        serve(config, ready, stopped).await.unwrap();
    });
    let url = format!("http://{}", bound.await.unwrap());
    let http = Http::new(None).unwrap();
    let peer =
        |who: u8| Peer::new(http.clone(), &url, DOMAIN, d.gate_identity.id(), Some(Arc::new(identity(who)))).unwrap();
    let (authority, user, owner) = (peer(200), peer(4), Owner::new(50));
    let _: Accepted = authority.put_json("/v1/roster", &d.update()).await.unwrap();

    let refused = user.post_cbor::<_, SearchResponse>("/v1/search", &d.query(InnerClause::All)).await.unwrap_err();
    let CallError::Refused { problem, .. } = &refused else { panic!("{refused}") };
    assert_eq!((problem.status, problem.problem_type()), (503, Some(ProblemType::NotServing)));
    assert!(problem.detail.contains("revocations made after that may be missing"), "{problem}");
    let again = SubmitRevocations { revocations: vec![owner.revoke(d.id(OTHER), None, now_ms())] };
    let teller = peer(50).self_certified();
    assert_eq!(teller.post_json::<_, Accepted>("/v1/revocations", &again).await.unwrap(), Accepted { count: 0 });

    let resume = ResumeGate { accept_loss_after: taken_at, roster_version: d.version };
    let by_a_user = user.with_retry(Retry::NONE).post_json::<_, Accepted>("/v1/resume", &resume).await.unwrap_err();
    assert_eq!(by_a_user.problem_type(), Some(ProblemType::Forbidden));
    let too_late = ResumeGate { accept_loss_after: taken_at + 60_000, ..resume };
    let other = authority.post_json::<_, Accepted>("/v1/resume", &too_late).await.unwrap_err();
    assert_eq!(other.problem_type(), Some(ProblemType::Conflict));
    assert_eq!(authority.post_json::<_, Accepted>("/v1/resume", &resume).await.unwrap(), Accepted { count: 1 });
    let answer: SearchResponse = peer(4).post_cbor("/v1/search", &d.query(InnerClause::All)).await.unwrap();
    assert!(answer.groups.is_empty());
    drop(stop);
    serving.await.unwrap();
}
