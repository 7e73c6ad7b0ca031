//! The whole process, killed at random points while it is pushed to: every acknowledged batch is
//! there once, in the store and in the index.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

mod support;

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use rand::RngExt;
use sealdex_wire::search::CloudClause;
use support::{
    domain::{Domain, key_json, push, put_roster, search, settled},
    *,
};

const ROUNDS: usize = 6;
const BATCH: u64 = 40;

/// Killed at the latest when the test ends.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn spawn(dir: &Path, rate: u32) -> (Server, SocketAddr) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_sealdex-cloud"))
        .args(["--listen", "127.0.0.1:0", "--keys"])
        .arg(dir.join("cloud.key"))
        .arg("--dir")
        .arg(dir.join("data"))
        .args(["--compact-rate", &rate.to_string()])
        .env("RUST_LOG", "warn")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let addr = line.trim().strip_prefix("listening on ").expect("the cloud starts").parse().unwrap();
    (Server(child), addr)
}

/// Batch `n`: new records, every third of them the next version of a record of the batch before.
fn batch_of(d: &Domain, n: u64) -> sealdex_wire::ingest::BatchUpload {
    let records = (0..BATCH).map(|i| {
        let origin = if i % 3 == 0 && n > 0 { (n - 1) * BATCH + i + 1 } else { n * BATCH + i };
        record(n * BATCH + i, origin, &[term(n), term(1000 + i)])
    });
    d.upload(n as u8, &d.hospital, records.collect())
}

/// Asks for compaction.
fn compact(pid: u32) {
    let told = Command::new("kill").args(["-USR2", &pid.to_string()]).stderr(Stdio::null()).status();
    assert!(told.is_ok(), "kill(1) is there");
}

/// How many compactions have come to this end.
fn compactions(addr: SocketAddr, outcome: &str) -> u64 {
    let mut stream = TcpStream::connect(addr).unwrap();
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut all = String::new();
    stream.read_to_string(&mut all).unwrap();
    let name = format!("sealdex_cloud_compactions_total{{outcome=\"{outcome}\"}} ");
    all.lines().find_map(|line| line.strip_prefix(&name)?.trim().parse().ok()).unwrap_or(0)
}

/// How often any of these is in a file of a folder.
fn occurrences(dir: &Path, needles: &[Vec<u8>]) -> usize {
    let files = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    let count = |path: PathBuf| match path.is_dir() {
        true => occurrences(&path, needles),
        false => {
            // One may go meanwhile.
            let bytes = std::fs::read(path).unwrap_or_default();
            bytes.windows(needles[0].len()).filter(|w| needles.iter().any(|n| n == w)).count()
        }
    };
    files.map(count).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_random_points_nothing_is_lost_or_doubled() {
    killed(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_it_compacts_nothing_is_lost_or_doubled_and_no_byte_of_what_went_is_left() {
    killed(true).await;
}

async fn killed(compacting: bool) {
    let dir = tempfile::tempdir().unwrap();
    sealdex_keyfile::write(&dir.path().join("cloud.key"), "cloud", key_json().as_bytes(), None).unwrap();
    let d = Domain::new();
    let mut rng = rand::rng();
    let mut next = 0;
    for round in 0..ROUNDS {
        let (server, addr) = spawn(dir.path(), [1, 4, 64][round % 3]);
        let data = dir.path().join("data");
        assert!(!data.join("store.redb.rewriting").exists(), "left of the one before");
        tokio::time::sleep(Duration::from_millis(3)).await;
        put_roster(&d, addr, &d.roster(1)).await.unwrap();
        let delay = Duration::from_millis(rng.random_range(0..if compacting { 600 } else { 250 }));
        let asks = compacting.then(|| {
            let pid = server.0.id();
            tokio::spawn(async move {
                loop {
                    compact(pid);
                    tokio::time::sleep(Duration::from_millis(40)).await;
                }
            })
        });
        let killer = tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            if let Some(asks) = asks {
                asks.abort();
                let _ = asks.await;
            }
            drop(server);
        });
        let peer = d.peer(addr, &d.hospital);
        // Whatever was not acknowledged is sent again after the restart, as a provider does.
        while next < 200 && push(&peer, &batch_of(&d, next)).await.is_ok() {
            next += 1;
        }
        killer.await.unwrap();
        if round % 3 == 2 {
            std::fs::remove_dir_all(dir.path().join("data/index")).unwrap();
        }
    }
    let (server, addr) = spawn(dir.path(), 64);
    tokio::time::sleep(Duration::from_millis(3)).await;
    put_roster(&d, addr, &d.roster(1)).await.unwrap();
    let receipt = push(&d.peer(addr, &d.hospital), &batch_of(&d, next)).await.unwrap();
    assert_eq!((receipt.seq, receipt.records), (next + 1, BATCH as u32));
    let stats = settled(&d, addr).await;
    let gone = (0..BATCH).filter(|i| i % 3 == 1).count() as u64 * next;
    assert_eq!((stats.batches, stats.records), (next + 1, (next + 1) * BATCH - gone));
    let gate = d.peer(addr, &d.gate);
    for n in 0..=next {
        assert!(push(&d.peer(addr, &d.hospital), &batch_of(&d, n)).await.unwrap().duplicate);
        let found = search(&gate, CloudClause::Terms(term(n).to_vec()), 1000).await.unwrap();
        // Every third origin of a batch, shifted by one, has a newer version in the next.
        let live = (0..BATCH).filter(|i| n == next || i % 3 != 1);
        let expected: Vec<_> = live.map(|i| record_id(n * BATCH + i)).collect();
        let got: Vec<_> = found.matches.iter().map(|m| m.0).collect();
        assert_eq!(got, expected, "batch {n} of {next}");
    }
    let all = search(&gate, CloudClause::All, 16_384).await.unwrap();
    assert_eq!(all.matches.len() as u64, stats.records);
    if compacting {
        // Routing tags of what was replaced just now, as rows of the store have them.
        let went = (0..BATCH).filter(|i| i % 3 == 1).map(|i| (next - 1) * BATCH + i);
        let tags: Vec<Vec<u8>> = went.map(tag).collect();
        let data = dir.path().join("data");
        assert!(occurrences(&data, &tags) > 0, "the store lets go of bytes by itself: drop compaction");
        compact(server.0.id());
        let (mut more, patience) = (next, tokio::time::Instant::now() + Duration::from_secs(120));
        while compactions(addr, "done") == 0 {
            assert_eq!((compactions(addr, "failed"), compactions(addr, "partly")), (0, 0));
            // There are 256 of these batches; a busy machine need not be done with compacting when they are used up.
            if more < 255 {
                more += 1;
                push(&d.peer(addr, &d.hospital), &batch_of(&d, more)).await.unwrap();
            }
            let found = search(&gate, CloudClause::Terms(term(0).to_vec()), 1000).await.unwrap();
            assert_eq!(found.matches.len(), (0..BATCH).filter(|i| i % 3 != 1).count());
            assert!(tokio::time::Instant::now() < patience, "compaction does not end");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(occurrences(&data, &tags), 0);
        let stats = settled(&d, addr).await;
        let gone = (0..BATCH).filter(|i| i % 3 == 1).count() as u64 * more;
        assert_eq!((stats.batches, stats.records), (more + 1, (more + 1) * BATCH - gone));
    }
    drop(server);
}
