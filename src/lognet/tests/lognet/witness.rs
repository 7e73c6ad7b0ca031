//! Witnesses over HTTP.

use sealdex_lognet::witness::{MAX_BODY_BYTES, WitnessConfig, WitnessError, serve};
use sealdex_net::{Listen, guard};
use sealdex_tlog::{
    log::{Log, MemoryStorage},
    witness::{AddCheckpoint, SIZE_CONTENT_TYPE, StorageError},
};
use tempfile::TempDir;

use crate::setting::{Kept, ORIGIN, Running, ask, entries, header, log_key, witness_key};

/// Status and body of a request to cosign.
async fn add(witness: &Running, request: &AddCheckpoint) -> (u16, String, String) {
    let answer = ask("POST", &format!("{}/add-checkpoint", witness.url), request.to_bytes()).await;
    let media = header(&answer, "content-type").to_owned();
    (answer.status().as_u16(), media, String::from_utf8(answer.into_body().to_vec()).unwrap())
}

fn request(kept: &Kept, old: u64, size: u64) -> AddCheckpoint {
    let proof = if old == 0 || old == size { vec![] } else { kept.log.consistency_proof(old, size).unwrap() };
    AddCheckpoint::new(old, proof, kept.log.head().clone()).unwrap()
}

#[tokio::test]
async fn it_cosigns_what_extends_and_refuses_rollback_and_fork() {
    let (dir, mut kept) = (TempDir::new().unwrap(), Kept::with(10));
    let witness = Running::start(dir.path(), 2, 0).await;
    let (small, first) = (kept.log.head().clone(), request(&kept, 0, 10));
    let (status, media, line) = add(&witness, &first).await;
    assert_eq!((status, media.as_str()), (200, "text/plain; charset=utf-8"));
    let mut note = small.clone();
    note.add(sealdex_tlog::note::parse_signature_lines(line.as_bytes()).unwrap().remove(0)).unwrap();
    assert!(note.verify(&[witness_key(2).verifier()]).unwrap()[0].time().unwrap() > 1_700_000_000);

    kept.grow(20);
    assert_eq!(add(&witness, &request(&kept, 0, 20)).await, (409, SIZE_CONTENT_TYPE.into(), "10\n".into()));
    assert_eq!(add(&witness, &request(&kept, 10, 20)).await.0, 200);
    // Back to the smaller one, from where the witness is and from where it was.
    let back = |old| AddCheckpoint::new(old, vec![], small.clone()).unwrap();
    assert_eq!(add(&witness, &back(20)).await.0, 400);
    assert_eq!(add(&witness, &back(10)).await, (409, SIZE_CONTENT_TYPE.into(), "20\n".into()));
    // Another history, of the same size and of a larger one.
    let mut other = Log::create(MemoryStorage::new(), log_key()).unwrap();
    other.append(&entries(1..21)).unwrap();
    let fork = AddCheckpoint::new(20, vec![], other.head().clone()).unwrap();
    assert_eq!(add(&witness, &fork).await, (409, SIZE_CONTENT_TYPE.into(), "20\n".into()));
    other.append(&entries(21..30)).unwrap();
    let proof = other.consistency_proof(20, 29).unwrap();
    assert_eq!(add(&witness, &AddCheckpoint::new(20, proof, other.head().clone()).unwrap()).await.0, 422);
    // The same again has a fresh time and changes nothing.
    assert_eq!(add(&witness, &request(&kept, 20, 20)).await.0, 200);
    witness.stop().await;
}

#[tokio::test]
async fn it_refuses_strangers_and_what_cannot_be_read() {
    let dir = TempDir::new().unwrap();
    let witness = Running::start(dir.path(), 2, 0).await;
    let stranger = |name: &str, seed| {
        let name = sealdex_tlog::note::KeyName::new(name).unwrap();
        let key = sealdex_tlog::note::LogKey::from_seed(name, &[seed; 32]);
        let log = Log::create(MemoryStorage::new(), key).unwrap();
        AddCheckpoint::new(0, vec![], log.head().clone()).unwrap()
    };
    assert_eq!(add(&witness, &stranger("log.example/two", 9)).await.0, 404);
    assert_eq!(add(&witness, &stranger(ORIGIN, 9)).await.0, 403);
    let post = |body: Vec<u8>| ask("POST", Box::leak(format!("{}/add-checkpoint", witness.url).into()), body);
    assert_eq!(post(b"old ten\n".to_vec()).await.status().as_u16(), 400);
    assert_eq!(post(vec![b'a'; MAX_BODY_BYTES + 1]).await.status().as_u16(), 413);
    assert_eq!(ask("GET", &format!("{}/add-checkpoint", witness.url), "").await.status().as_u16(), 405);
}

#[tokio::test]
async fn it_says_who_it_is() {
    let (dir, kept) = (TempDir::new().unwrap(), Kept::with(7));
    let witness = Running::start(dir.path(), 2, 0).await;
    let about = || async {
        String::from_utf8(ask("GET", &format!("{}/", witness.url), "").await.into_body().to_vec()).unwrap()
    };
    let vkey = witness_key(2).verifier();
    assert_eq!(about().await, format!("witness {vkey}\n0 {ORIGIN}\n"));
    assert_eq!(add(&witness, &request(&kept, 0, 7)).await.0, 200);
    assert_eq!(about().await, format!("witness {vkey}\n7 {ORIGIN}\n"));
    assert_eq!(ask("GET", &format!("{}/healthz", witness.url), "").await.body(), "ok\n");
    let metrics = ask("GET", &format!("{}/metrics", witness.url), "").await;
    assert!(String::from_utf8_lossy(metrics.body()).contains("role=\"witness\""));
}

#[tokio::test]
async fn one_process_a_folder_and_one_set_of_keys_a_log() {
    let dir = TempDir::new().unwrap();
    let config = |logs: Vec<&str>| WitnessConfig {
        dir: dir.path().join("2"),
        listen: Listen::loopback(0),
        key: witness_key(2),
        logs: logs.into_iter().map(|origin| (origin.into(), vec![log_key().verifier()])).collect(),
        bounds: guard::Bounds::default(),
    };
    let refused = serve(config(vec![ORIGIN, ORIGIN]), |_| {}, async {}).await;
    assert!(matches!(refused, Err(WitnessError::SameLog { .. })));
    let witness = Running::start(dir.path(), 2, 0).await;
    let refused = serve(config(vec![ORIGIN]), |_| {}, async {}).await;
    let busy = |e: &StorageError| e.kind == std::io::ErrorKind::WouldBlock;
    assert!(matches!(&refused, Err(WitnessError::Dir { source, .. }) if busy(source)), "{refused:?}");
    witness.stop().await;
}
