//! A log asks its witnesses.

use std::time::{Duration, Instant};

use axum::{Router, routing::post};
use sealdex_lognet::cosign::{CosignError, Cosigners, NotCosigned};
use sealdex_tlog::log::{Log, MemoryStorage};
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::setting::{Kept, ORIGIN, PATIENCE, Running, cosigners, entries, gather, http, log_key, policy, witness_key};

#[tokio::test]
async fn all_cosign_as_the_log_grows() {
    let (dir, mut kept) = (TempDir::new().unwrap(), Kept::new());
    let witnesses = Running::three(dir.path()).await;
    let cosigners = cosigners(&witnesses);
    for size in [0, 1, 300, 301, 10_000] {
        kept.log.append(&entries(kept.log.checkpoint().size()..size)).unwrap();
        let gathered = gather(&cosigners, &kept.log, 3).await;
        assert_eq!((gathered.cosigned.len(), gathered.missing), (3, vec![]));
        let verified = policy().verify(&gathered.note).unwrap();
        assert_eq!((verified.checkpoint().size(), verified.cosignatures().len()), (size, 3));
        kept.log.publish(&gathered.note).unwrap();
    }
}

#[tokio::test]
async fn an_unchanged_checkpoint_gets_a_fresh_time() {
    let (dir, kept) = (TempDir::new().unwrap(), Kept::with(5));
    let witnesses = Running::three(dir.path()).await;
    let cosigners = cosigners(&witnesses);
    let time = |gathered: sealdex_lognet::cosign::Gathered| policy().verify(&gathered.note).unwrap().time().unwrap();
    let first = time(gather(&cosigners, &kept.log, 3).await);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let again = gather(&cosigners, &kept.log, 3).await;
    assert_eq!(again.note.signatures().len(), 4, "one of each, and the log's");
    assert!(time(again) > first);
}

#[tokio::test]
async fn who_comes_anew_learns_where_each_witness_is() {
    let (dir, mut kept) = (TempDir::new().unwrap(), Kept::with(10));
    let witnesses = Running::three(dir.path()).await;
    assert_eq!(gather(&cosigners(&witnesses), &kept.log, 3).await.cosigned.len(), 3);
    kept.grow(20);
    assert_eq!(gather(&cosigners(&witnesses[..1]), &kept.log, 1).await.cosigned.len(), 1);
    kept.grow(700);
    let gathered = gather(&cosigners(&witnesses), &kept.log, 3).await;
    assert_eq!((gathered.cosigned.len(), gathered.missing), (3, vec![]));
}

#[tokio::test]
async fn a_stopped_witness_is_missing_and_goes_on_where_it_was() {
    let (dir, mut kept) = (TempDir::new().unwrap(), Kept::with(10));
    let mut witnesses = Running::three(dir.path()).await;
    let asked = cosigners(&witnesses);
    assert_eq!(gather(&asked, &kept.log, 3).await.cosigned.len(), 3);
    let port = witnesses[2].url.rsplit(':').next().unwrap().parse().unwrap();
    witnesses.pop().unwrap().stop().await;
    kept.grow(20);
    let gathered = gather(&asked, &kept.log, 2).await;
    assert_eq!(gathered.cosigned.len(), 2);
    let [(name, NotCosigned::Call(_))] = gathered.missing.as_slice() else { panic!("{:?}", gathered.missing) };
    assert_eq!(name.as_str(), "witness.example/w4");
    assert_eq!(policy().verify(&gathered.note).unwrap().cosignatures().len(), 2);

    witnesses.push(Running::start(dir.path(), 4, port).await);
    let mut fork = Log::create(MemoryStorage::new(), log_key()).unwrap();
    fork.append(&entries(1..21)).unwrap();
    let refused = asked.gather(fork.head(), |old, new| fork.consistency_proof(old, new), 3, PATIENCE).await.unwrap();
    assert!(refused.cosigned.is_empty());
    let fork_or_proof =
        |why: &NotCosigned| matches!(why, NotCosigned::Fork { size: 20 } | NotCosigned::Refused { status: 422, .. });
    assert!(refused.missing.len() == 3 && refused.missing.iter().all(|(_, why)| fork_or_proof(why)), "{refused:?}");
    assert_eq!(gather(&asked, &kept.log, 3).await.cosigned.len(), 3);
}

#[tokio::test]
async fn a_log_that_was_set_back_is_told_so() {
    let (dir, kept, smaller) = (TempDir::new().unwrap(), Kept::with(10), Kept::with(9));
    let witnesses = Running::three(dir.path()).await;
    let asked = cosigners(&witnesses);
    assert_eq!(gather(&asked, &kept.log, 3).await.cosigned.len(), 3);
    let refused = gather(&asked, &smaller.log, 3).await;
    assert!(refused.missing.iter().all(|(_, why)| *why == NotCosigned::Ahead { size: 10, found: 9 }), "{refused:?}");
    assert_eq!(refused.missing.len(), 3);
}

/// A witness that answers so, or never.
async fn odd(answer: Option<Vec<u8>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let handler = move || async move {
        match answer {
            Some(answer) => answer,
            None => std::future::pending().await,
        }
    };
    let router = Router::new().route("/add-checkpoint", post(handler));
    tokio::spawn(sealdex_net::serve(listener, None, router, std::future::pending()));
    url
}

#[tokio::test]
async fn with_a_quorum_nobody_waits_for_the_rest() {
    let (dir, kept) = (TempDir::new().unwrap(), Kept::with(10));
    let witnesses = Running::three(dir.path()).await;
    let key = |number| witness_key(number).verifier();
    let asked = vec![(key(2), witnesses[0].url.clone()), (key(3), odd(None).await)];
    let asked = Cosigners::new(http(), asked).unwrap();
    let (started, patience) = (Instant::now(), Duration::from_secs(3));
    let consistency = |old, new| kept.log.consistency_proof(old, new);
    let gathered = asked.gather(kept.log.head(), consistency, 1, patience).await.unwrap();
    assert!(started.elapsed() < patience, "{:?}", started.elapsed());
    assert_eq!(gathered.missing, [(key(3).name().clone(), NotCosigned::Late)]);
    // Without one all the time there is.
    let patience = Duration::from_millis(300);
    let started = Instant::now();
    let gathered = asked.gather(kept.log.head(), consistency, 2, patience).await.unwrap();
    assert!(started.elapsed() >= patience && gathered.cosigned.len() == 1);
}

#[tokio::test]
async fn cosignatures_that_are_none_are_not_added() {
    let kept = Kept::with(10);
    let other = Kept::with(11);
    let wrong = witness_key(2).cosign(other.log.checkpoint(), 5).unwrap();
    let strangers = witness_key(5).cosign(kept.log.checkpoint(), 5).unwrap();
    let answers = [format!("{wrong}\n"), format!("{strangers}\n"), "hello".into(), String::new()];
    for answer in answers {
        let url = odd(Some(answer.clone().into_bytes())).await;
        let asked = Cosigners::new(http(), vec![(witness_key(2).verifier(), url)]).unwrap();
        let gathered = gather(&asked, &kept.log, 1).await;
        assert!(matches!(gathered.missing.as_slice(), [(_, NotCosigned::Signature(_))]), "{answer}: {gathered:?}");
        assert_eq!(gathered.note, *kept.log.head());
    }
}

#[tokio::test]
async fn who_is_no_witness_is_not_asked() {
    let refused = Cosigners::new(http(), vec![(log_key().verifier(), "http://127.0.0.1:1".into())]);
    assert!(matches!(refused.err(), Some(CosignError::Key { name }) if name.as_str() == ORIGIN));
    let refused = Cosigners::new(http(), vec![(witness_key(2).verifier(), "http://witness.example".into())]);
    assert!(matches!(refused.err(), Some(CosignError::Address(_))));
}
