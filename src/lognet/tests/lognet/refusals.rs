//! What a follower does not believe.

use sealdex_lognet::{
    client::FetchError,
    follower::{FollowError, Follower},
};
use sealdex_tlog::{
    log::{FileStorage, Log},
    note::Note,
    policy::Policy,
};
use tempfile::TempDir;

use crate::setting::{Kept, NOW, ORIGIN, Server, client, entries, log_key, policy, witness_key};

async fn refusal(follower: &mut Follower, server: &Server) -> FollowError {
    follower.advance(&server.client(), NOW, |_, _| panic!("believed")).await.unwrap_err()
}

/// A follower in a folder that has seen what the log has.
async fn following(dir: &TempDir, server: &Server) -> Follower {
    let mut follower = Follower::open(Some(dir.path()), policy()).unwrap();
    follower.advance(&server.client(), NOW, |_, _| {}).await.unwrap();
    follower
}

/// A log with the same key and another history.
fn other_history(size: u64) -> Kept {
    let dir = TempDir::new().unwrap();
    let mut log = Log::create(FileStorage::open(dir.path()).unwrap(), log_key()).unwrap();
    log.append(&entries(1..size + 1)).unwrap();
    let mut kept = Kept { dir, log };
    kept.publish(&[3, 4], NOW);
    kept
}

#[tokio::test]
async fn checkpoints_that_are_not_signed_as_the_policy_asks() {
    let kept = Kept::with(10);
    let server = kept.serve().await;
    let mut follower = Follower::open(None, policy()).unwrap();

    let good = kept.cosigned(&[2, 3], NOW).to_string();
    server.lie("checkpoint", Some(good.replace("\n10\n", "\n11\n").into_bytes()));
    let refused = refusal(&mut follower, &server).await;
    assert!(matches!(&refused, FollowError::BadSignature { signer, .. } if signer.as_str() == ORIGIN), "{refused:?}");

    let mut note = Note::new(kept.log.head().text(), kept.log.head().signatures()[0].clone()).unwrap();
    let stale = witness_key(2).cosign(Kept::with(9).log.checkpoint(), NOW).unwrap();
    note.add(stale).unwrap();
    server.lie("checkpoint", Some(note.to_bytes()));
    let refused = refusal(&mut follower, &server).await;
    assert!(matches!(&refused, FollowError::BadSignature { signer, .. } if signer.as_str() == "witness.example/w2"));

    let cosigned = kept.cosigned(&[2, 3], NOW);
    let without_log = Note::new(cosigned.text(), cosigned.signatures()[1].clone()).unwrap();
    server.lie("checkpoint", Some(without_log.to_bytes()));
    assert_eq!(refusal(&mut follower, &server).await, FollowError::NotSigned { origin: ORIGIN.into() });

    server.lie("checkpoint", Some(kept.cosigned(&[3, 9], NOW).to_bytes()));
    let refused = refusal(&mut follower, &server).await;
    let said = "1 of 3 witnesses have cosigned the checkpoint of log.example/one, which takes at least 2; \
                missing: witness.example/w2, witness.example/w4";
    assert_eq!(refused.to_string(), said);

    server.lie("checkpoint", None);
    assert!(matches!(refusal(&mut follower, &server).await, FollowError::Fetch(FetchError::Missing { .. })));
    assert!(follower.checkpoint().is_none());
}

#[tokio::test]
async fn old_cosignatures() {
    let mut kept = Kept::with(10);
    let server = kept.serve().await;
    let mut follower = Follower::open(None, policy()).unwrap().with_max_age(60);
    // One fresh cosignature is no quorum of them.
    let mut note = kept.cosigned(&[2, 3], NOW - 61);
    note.add(witness_key(4).cosign(kept.log.checkpoint(), NOW).unwrap()).unwrap();
    server.lie("checkpoint", Some(note.to_bytes()));
    let origin: String = ORIGIN.into();
    let refused = refusal(&mut follower, &server).await;
    assert_eq!(refused, FollowError::TooOld { origin: origin.clone(), age: 61, max_age: 60 });
    server.honest();
    kept.publish(&[2, 3], NOW - 60);
    follower.advance(&server.client(), NOW, |_, _| {}).await.unwrap();
    let alone = Policy::new(log_key().verifier(), vec![], 0).unwrap();
    let mut follower = Follower::open(None, alone).unwrap().with_max_age(60);
    assert_eq!(refusal(&mut follower, &server).await, FollowError::NoTime { origin });
}

#[tokio::test]
async fn a_replayed_checkpoint() {
    let (dir, mut kept) = (TempDir::new().unwrap(), Kept::with(300));
    let (server, old) = (kept.serve().await, kept.published());
    let mut follower = Follower::open(Some(dir.path()), policy()).unwrap().with_max_age(60);
    follower.advance(&server.client(), NOW, |_, _| {}).await.unwrap();
    kept.grow(400);
    follower.advance(&server.client(), NOW, |_, _| {}).await.unwrap();
    server.lie("checkpoint", Some(old));
    let refused = refusal(&mut follower, &server).await;
    assert_eq!(refused, FollowError::Replayed { origin: ORIGIN.into(), seen: 400, found: 300 });
    assert!(refused.to_string().ends_with("the log showed 400 entries before and now 300"));
    drop(follower);
    let mut later = Follower::open(Some(dir.path()), policy()).unwrap();
    assert_eq!(refusal(&mut later, &server).await, refused);
    server.honest();
    later.advance(&server.client(), NOW, |_, _| {}).await.unwrap();
}

#[tokio::test]
async fn a_fork_of_the_same_size_or_a_larger_one() {
    let (dir, kept) = (TempDir::new().unwrap(), Kept::with(300));
    let server = kept.serve().await;
    let mut follower = following(&dir, &server).await;
    for size in [300, 301, 512, 700] {
        let other = other_history(size);
        let refused = refusal(&mut follower, &other.serve().await).await;
        let FollowError::Fork { seen: 300, found, notes, evidence: Some(path), .. } = &refused else {
            panic!("{size}: {refused:?}")
        };
        assert_eq!(*found, size);
        assert!(refused.to_string().contains(path.to_str().unwrap()));
        let text = std::fs::read_to_string(path).unwrap();
        for (note, published) in notes.iter().zip([kept.published(), other.published()]) {
            assert_eq!(note.as_bytes(), published);
            assert!(text.contains(note));
            policy().verify_bytes(note.as_bytes()).unwrap();
        }
    }
    // An old fork is a fork.
    let mut other = other_history(300);
    other.publish(&[3, 4], NOW - 100);
    let mut strict = following(&TempDir::new().unwrap(), &server).await.with_max_age(60);
    assert!(matches!(refusal(&mut strict, &other.serve().await).await, FollowError::Fork { .. }));
    // It stays with what it has seen.
    follower.advance(&server.client(), NOW, |_, _| panic!("nothing new")).await.unwrap();
    // Without a folder the notes are in the error alone.
    let mut follower = Follower::open(None, policy()).unwrap();
    follower.advance(&server.client(), NOW, |_, _| {}).await.unwrap();
    let refused = refusal(&mut follower, &other_history(301).serve().await).await;
    assert!(matches!(refused, FollowError::Fork { evidence: None, .. }));
}

#[tokio::test]
async fn altered_entries() {
    let (dir, mut kept) = (TempDir::new().unwrap(), Kept::with(300));
    let server = kept.serve().await;
    let mut follower = following(&dir, &server).await;
    kept.grow(10_000);
    for (bundle, from, to) in [("tile/entries/001", 300, 4096), ("tile/entries/039.p/16", 8192, 10_000)] {
        server.alter(&kept, bundle, |bytes| *bytes.last_mut().unwrap() ^= 1);
        let refused = follower.advance(&server.client(), NOW, |place, _| assert!(place < from)).await.unwrap_err();
        assert_eq!(refused, FollowError::Entries { origin: ORIGIN.into(), from, to });
        server.honest();
        if from == 300 {
            server.lie("tile/entries/039.p/16", None);
            let missing = follower.advance(&server.client(), NOW, |_, _| {}).await.unwrap_err();
            assert!(matches!(missing, FollowError::Fetch(FetchError::Missing { .. })));
            server.honest();
        }
    }
    let mut got = Vec::new();
    follower.advance(&server.client(), NOW, |_, bytes| got.push(bytes.to_vec())).await.unwrap();
    assert_eq!(got, entries(8192..10_000));
}

#[tokio::test]
async fn altered_and_missing_tiles() {
    let (dir, mut kept) = (TempDir::new().unwrap(), Kept::with(300));
    let server = kept.serve().await;
    let mut follower = following(&dir, &server).await;
    kept.grow(1_000);
    // A client that keeps tiles, also the altered one.
    let client = client(&server.url);
    for tile in ["tile/0/001", "tile/1/000.p/3", "tile/0/003.p/232"] {
        server.alter(&kept, tile, |bytes| bytes[0] ^= 1);
        let refused = follower.advance(&client, NOW, |_, _| panic!("believed")).await.unwrap_err();
        assert_eq!(refused, FollowError::Tiles { origin: ORIGIN.into(), size: 1_000 }, "{tile}");
        server.lie(tile, None);
        let refused = follower.advance(&client, NOW, |_, _| panic!("believed")).await.unwrap_err();
        let missing = |url: &str| url.ends_with(tile);
        assert!(matches!(&refused, FollowError::Fetch(FetchError::Missing { url }) if missing(url)), "{refused:?}");
        server.honest();
    }
    // The altered tile that was kept is not what the log is judged by.
    client.forget_tiles();
    server.alter(&kept, "tile/0/001", |bytes| bytes[0] ^= 1);
    client.inclusion_proof(256, 1_000).await.unwrap();
    server.honest();
    follower.advance(&client, NOW, |_, _| {}).await.unwrap();
}
