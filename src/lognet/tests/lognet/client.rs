//! Reading a log over HTTP.

use std::time::Duration;

use sealdex_crypto::log::{leaf_hash, verify_consistency, verify_inclusion};
use sealdex_lognet::{LogClient, client::FetchError};
use sealdex_net::{CallError, Retry};
use sealdex_tlog::tile::{TileId, TileKind};

use crate::setting::{Kept, client, entries, entry, http};

fn id(kind: TileKind, index: u64, width: u16) -> TileId {
    TileId::new(kind, index, width).unwrap()
}

#[tokio::test]
async fn proofs_from_ten_thousand_entries_lead_to_the_root() {
    let kept = Kept::with(10_000);
    let server = kept.serve().await;
    let (client, root) = (server.client(), *kept.log.checkpoint().root());
    assert_eq!(client.checkpoint().await.unwrap(), kept.log.published().unwrap().unwrap());
    assert_eq!(client.root(10_000).await.unwrap(), root);
    for size in [1, 255, 256, 257, 9_999] {
        let (prefix, proof) = client.prefix(size, 10_000).await.unwrap();
        assert_eq!(prefix, kept.log.root_at(size).unwrap(), "{size}");
        verify_consistency(size, &prefix, 10_000, &root, &proof).unwrap();
    }
    for index in [0, 255, 256, 5_000, 9_983, 9_999] {
        let proof = client.inclusion_proof(index, 10_000).await.unwrap();
        verify_inclusion(&leaf_hash(&entry(index)), index, 10_000, &proof, &root).unwrap();
        let old = index + 1;
        let proof = client.consistency_proof(old, 10_000).await.unwrap();
        verify_consistency(old, &kept.log.root_at(old).unwrap(), 10_000, &root, &proof).unwrap();
    }
    assert_eq!(client.entries(0..10_000, 10_000).await.unwrap(), entries(0..10_000));
    assert_eq!(client.entries(250..260, 10_000).await.unwrap(), entries(250..260));
    assert_eq!(client.entries(9_990..10_000, 10_000).await.unwrap(), entries(9_990..10_000));
    assert_eq!(client.entries(7..7, 10_000).await.unwrap(), entries(7..7));
    let outside = client.entries(9_990..10_001, 10_000).await;
    assert_eq!(outside, Err(FetchError::Range { start: 9_990, end: 10_001, size: 10_000 }));
}

#[tokio::test]
async fn a_partial_tile_that_is_gone_is_read_from_the_full_one() {
    let mut kept = Kept::with(300);
    let (server, old_root) = (kept.serve().await, *kept.log.checkpoint().root());
    let client = server.client();
    kept.grow(600);
    assert!(!kept.path("tile/0/001.p/44").exists() && !kept.path("tile/entries/001.p/44").exists());
    // As one who saw the checkpoint of 300 a moment ago.
    assert_eq!(client.root(300).await.unwrap(), old_root);
    assert_eq!(client.entries(290..300, 300).await.unwrap(), entries(290..300));
    assert_eq!(client.tile(&id(TileKind::Hashes(0), 1, 44)).await.unwrap().hashes().len(), 256);
    assert_eq!(client.bundle(&id(TileKind::Entries, 1, 44)).await.unwrap().width(), 256);
}

#[tokio::test]
async fn full_hash_tiles_are_fetched_once() {
    let kept = Kept::with(600);
    let server = kept.serve().await;
    let client = server.client();
    for _ in 0..3 {
        client.inclusion_proof(3, 600).await.unwrap();
    }
    let asked = server.asked();
    let times = |path: &str| asked.iter().filter(|asked| *asked == path).count();
    assert_eq!((times("tile/0/000"), times("tile/0/002.p/88")), (1, 3), "{asked:?}");
    client.forget_tiles();
    client.inclusion_proof(3, 600).await.unwrap();
    assert!(server.asked().contains(&"tile/0/000".into()));
}

#[tokio::test]
async fn tiles_and_notes_of_another_form_are_refused() {
    let kept = Kept::with(300);
    let server = kept.serve().await;
    let client = server.client();
    server.alter(&kept, "tile/0/000", |bytes| bytes.truncate(32 * 255));
    server.alter(&kept, "tile/entries/000", |bytes| bytes.push(0));
    server.lie("checkpoint", Some(b"hello\n".to_vec()));
    let refused = client.tile(&id(TileKind::Hashes(0), 0, 256)).await;
    assert!(matches!(&refused, Err(FetchError::Tile { url, .. }) if url.ends_with("/tile/0/000")), "{refused:?}");
    assert!(matches!(client.entries(0..3, 300).await, Err(FetchError::Tile { .. })));
    assert!(matches!(client.checkpoint().await, Err(FetchError::Note { .. })));
    server.lie("tile/0/000", Some(vec![0; 32 * 256 + 1]));
    let long = client.tile(&id(TileKind::Hashes(0), 0, 256)).await;
    assert!(matches!(long, Err(FetchError::Call(CallError::BadAnswer { .. }))), "{long:?}");
    server.lie("checkpoint", Some(vec![b'a'; 1_000_001]));
    assert!(matches!(client.checkpoint().await, Err(FetchError::Call(CallError::BadAnswer { .. }))));
    server.lie("tile/0/000", None);
    assert!(matches!(client.tile(&id(TileKind::Hashes(0), 0, 7)).await, Err(FetchError::Missing { .. })));
    assert!(matches!(client.tile(&id(TileKind::Entries, 0, 7)).await, Err(FetchError::Kind { .. })));
    assert!(matches!(client.bundle(&id(TileKind::Hashes(0), 0, 7)).await, Err(FetchError::Kind { .. })));
}

#[tokio::test]
async fn a_log_that_does_not_answer_is_asked_again() {
    let kept = Kept::with(3);
    // A port nobody listens on until a moment later.
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let url = format!("http://{free}");
    let refused = client(&url).checkpoint().await;
    assert!(matches!(refused, Err(FetchError::Call(CallError::Unreachable { .. }))), "{refused:?}");
    let router = sealdex_lognet::log_router(sealdex_tlog::log::FileReader::new(kept.dir.path()));
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(150)).await;
        let listener = tokio::net::TcpListener::bind(free).await.unwrap();
        sealdex_net::serve(listener, None, router, std::future::pending()).await;
    });
    let retry = Retry { attempts: 20, pause: Duration::from_millis(50) };
    let patient = LogClient::new(http(), &url).unwrap().with_retry(retry);
    assert_eq!(patient.checkpoint().await.unwrap().to_bytes(), kept.published());
    assert!(matches!(
        LogClient::new(http(), "http://log.example").err(),
        Some(FetchError::Call(CallError::Address(_)))
    ));
}
