//! A verified copy that grows, is kept and is read again.

use std::path::Path;

use sealdex_lognet::{
    LogClient,
    follower::{Advance, FollowError, Follower},
};
use sealdex_tlog::policy::Policy;
use tempfile::TempDir;

use crate::setting::{Kept, NOW, Server, entries, log_key, policy, witness_key};

fn open(folder: &Path) -> Follower {
    Follower::open(Some(folder), policy()).unwrap()
}

/// Advances; the entries that were handed over.
async fn advance(follower: &mut Follower, log: &LogClient) -> (Advance, Vec<Vec<u8>>) {
    let (mut got, mut next) = (Vec::new(), follower.size());
    let entry = |place, bytes: &[u8]| {
        assert_eq!(place, next);
        got.push(bytes.to_vec());
        next += 1;
    };
    let advance = follower.advance(log, NOW, entry).await.unwrap();
    (advance, got)
}

fn replayed(follower: &Follower) -> Vec<Vec<u8>> {
    let mut entries = Vec::new();
    follower.replay(|place, bytes| (assert_eq!(place, entries.len() as u64), entries.push(bytes.to_vec())).1).unwrap();
    entries
}

#[tokio::test]
async fn it_hands_over_every_entry_once() {
    let (dir, mut kept) = (TempDir::new().unwrap(), Kept::with(0));
    let server = kept.serve().await;
    let mut followers = [Follower::open(None, policy()).unwrap(), open(dir.path())];
    let mut from = 0;
    for size in [0, 3, 3, 256, 300, 10_000, 10_001] {
        if size > from {
            kept.grow(size);
        }
        for follower in &mut followers {
            let (advance, got) = advance(follower, &server.client()).await;
            assert_eq!((advance.from, advance.to, advance.checkpoint.checkpoint().size()), (from, size, size));
            assert_eq!((got, follower.size()), (entries(from..size), size));
        }
        assert_eq!(replayed(&followers[1]), entries(0..size));
        from = size;
    }
}

#[tokio::test]
async fn it_resumes_from_disk() {
    let (dir, mut kept) = (TempDir::new().unwrap(), Kept::with(700));
    let server = kept.serve().await;
    advance(&mut open(dir.path()), &server.client()).await;
    kept.grow(800);
    let mut follower = open(dir.path());
    assert_eq!((follower.size(), follower.checkpoint().unwrap().size()), (700, 700));
    assert_eq!(replayed(&follower), entries(0..700));
    server.asked();
    assert_eq!(advance(&mut follower, &server.client()).await.1, entries(700..800));
    assert!(!server.asked().contains(&"tile/entries/000".into()));
    drop(follower);
    assert_eq!(replayed(&open(dir.path())), entries(0..800));
}

#[tokio::test]
async fn a_damaged_copy_is_fetched_anew_and_its_checkpoint_remembered() {
    let damages: [fn(&Path); 4] = [
        |dir| {
            let path = dir.join("tile/entries/001");
            let mut bytes = std::fs::read(&path).unwrap();
            bytes[9] ^= 1;
            std::fs::write(path, bytes).unwrap();
        },
        |dir| std::fs::remove_file(dir.join("tile/entries/000")).unwrap(),
        |dir| std::fs::write(dir.join("tile/entries/002.p/88"), b"").unwrap(),
        |dir| std::fs::remove_dir_all(dir.join("tile")).unwrap(),
    ];
    for damage in damages {
        let (dir, kept, older) = (TempDir::new().unwrap(), Kept::with(600), Kept::with(500));
        let (server, replay) = (kept.serve().await, older.serve().await);
        advance(&mut open(dir.path()), &server.client()).await;
        damage(dir.path());
        let mut follower = open(dir.path());
        assert_eq!((follower.size(), follower.checkpoint().unwrap().size()), (0, 600));
        let refused = follower.advance(&replay.client(), NOW, |_, _| panic!("believed")).await;
        assert!(matches!(refused, Err(FollowError::Replayed { seen: 600, found: 500, .. })), "{refused:?}");
        assert_eq!(advance(&mut follower, &server.client()).await.1, entries(0..600));
        drop(follower);
        assert_eq!(replayed(&open(dir.path())), entries(0..600));
    }
}

#[tokio::test]
async fn a_remembered_checkpoint_that_cannot_be_used_is_not_forgotten() {
    let (dir, kept) = (TempDir::new().unwrap(), Kept::with(600));
    let server = kept.serve().await;
    advance(&mut open(dir.path()), &server.client()).await;
    let text = std::fs::read_to_string(dir.path().join("checkpoint")).unwrap();
    std::fs::write(dir.path().join("checkpoint"), text.replace("\n600\n", "\n500\n")).unwrap();
    let refused = Follower::open(Some(dir.path()), policy());
    assert!(matches!(refused.err(), Some(FollowError::Remembered { .. })));
    std::fs::write(dir.path().join("checkpoint"), text).unwrap();
    // Other witnesses than then do not make it another log's.
    let others = Policy::new(log_key().verifier(), vec![witness_key(7).verifier()], 1).unwrap();
    assert_eq!(Follower::open(Some(dir.path()), others).unwrap().size(), 600);
}

#[tokio::test]
async fn entries_of_a_checkpoint_that_was_not_remembered_yet_do_no_harm() {
    let (dir, mut kept) = (TempDir::new().unwrap(), Kept::with(5000));
    let server = kept.serve().await;
    advance(&mut open(dir.path()), &server.client()).await;
    kept.grow(9_000);
    server.lie("tile/entries/034", None);
    let mut follower = open(dir.path());
    let mut got = Vec::new();
    let failed = follower.advance(&server.client(), NOW, |_, bytes| got.push(bytes.to_vec())).await;
    assert!(matches!(failed, Err(FollowError::Fetch(_))), "{failed:?}");
    assert_eq!((got.len() as u64, follower.size()), (3_192, 8_192));
    // The same follower goes on; one that was killed begins again at the remembered checkpoint.
    server.honest();
    drop(follower);
    let mut follower = open(dir.path());
    assert_eq!(follower.size(), 5_000);
    assert_eq!(advance(&mut follower, &server.client()).await.1, entries(5_000..9_000));
    drop(follower);
    assert_eq!(replayed(&open(dir.path())), entries(0..9_000));
}

#[tokio::test]
async fn it_goes_on_after_an_advance_that_failed_or_was_dropped() {
    let (dir, kept) = (TempDir::new().unwrap(), Kept::with(9_000));
    let server: Server = kept.serve().await;
    let mut follower = open(dir.path());
    server.lie("tile/entries/034", None);
    let mut got = Vec::new();
    follower.advance(&server.client(), NOW, |_, bytes| got.push(bytes.to_vec())).await.unwrap_err();
    server.honest();
    let client = server.client();
    let dropped = std::time::Duration::from_millis(2);
    let _ = tokio::time::timeout(dropped, follower.advance(&client, NOW, |_, bytes| got.push(bytes.to_vec()))).await;
    follower.advance(&client, NOW, |_, bytes| got.push(bytes.to_vec())).await.unwrap();
    assert_eq!(got, entries(0..9_000));
    drop(follower);
    assert_eq!(replayed(&open(dir.path())), entries(0..9_000));
}

#[tokio::test]
async fn a_checkpoint_that_could_not_be_kept_is_kept_later() {
    let (dir, kept) = (TempDir::new().unwrap(), Kept::with(300));
    let server = kept.serve().await;
    let mut follower = open(dir.path());
    let in_the_way = dir.path().join("checkpoint.tmp");
    std::fs::create_dir(&in_the_way).unwrap();
    let failed = follower.advance(&server.client(), NOW, |_, _| {}).await;
    assert!(matches!(failed, Err(FollowError::Storage(_))), "{failed:?}");
    std::fs::remove_dir(&in_the_way).unwrap();
    assert_eq!(advance(&mut follower, &server.client()).await.1, entries(300..300));
    drop(follower);
    assert_eq!(replayed(&open(dir.path())), entries(0..300));
}

#[tokio::test]
async fn one_process_a_folder() {
    let dir = TempDir::new().unwrap();
    let first = open(dir.path());
    assert!(matches!(Follower::open(Some(dir.path()), policy()).err(), Some(FollowError::Busy { .. })));
    drop(first);
    open(dir.path());
}
