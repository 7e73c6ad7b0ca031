//! Compaction while the cloud serves, through the program: everything else goes on, no byte of what had ended is left, and
//! `kill -9` at any moment costs nothing.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // a test stops where it cannot go on, and says with which seed

use std::{
    collections::BTreeSet,
    io::{Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use sealdex_cloud::store::{RedbStore, SealedStore as _};
use sealdex_fhir::{Record, Suite};
use sealdex_tests::{World, servers::Place};

const EXE: &str = env!("CARGO_BIN_EXE_sealdex");
const KILLS: usize = 8;

/// A cloud that copies slowly, backs itself up and is always being checked.
fn slow(home: &Path) -> Place {
    let script = home.join("sealdex");
    let backups = home.join("backups");
    let only_cloud =
        format!("[ \"$2\" = cloud ] && export SEALDEX_COMPACT_RATE=1 SEALDEX_BACKUP_DIR={}", backups.display());
    let text = format!("#!/bin/sh\nexport SEALDEX_SCRUB_SECONDS=1\n{only_cloud}\nexec {EXE} \"$@\"\n");
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    Place::Binary(script)
}

async fn world(home: &Path, hospitals: u32) -> World {
    let mut world = World::generated(home, 6, hospitals, &["ana"], slow(home)).await;
    world.enrol_patients().await;
    world.grant_everything("ana").await;
    world
}

fn signal(world: &World, name: &str) {
    let pid = world.servers.pids().0.to_string();
    assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
}

/// How many have come to this end.
fn ended(world: &World, outcome: &str) -> u64 {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", world.servers.cloud_port)) else { return 0 };
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut all = String::new();
    stream.read_to_string(&mut all).unwrap();
    let name = format!("sealdex_cloud_compactions_total{{outcome=\"{outcome}\"}} ");
    all.lines().find_map(|line| line.strip_prefix(&name)?.trim().parse().ok()).unwrap_or(0)
}

fn start(command: &str, provider: &Path, rest: &[&Path]) -> Child {
    let mut started = Command::new(EXE);
    started.args([command, "--provider"]).arg(provider);
    if command == "delete" {
        started.arg("--list");
    }
    started.args(rest).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

async fn found(world: &World) -> Option<BTreeSet<String>> {
    let doc = Suite::parse(r#"{"resource":"Observation"}"#, None).unwrap().queries.remove(0);
    let answer = world.session("ana").ask(&doc).await.ok()?;
    Some(answer.hits.into_iter().map(|h| h.identity).collect())
}

fn observations(world: &World, hospitals: &[usize]) -> BTreeSet<String> {
    let records = hospitals.iter().flat_map(|h| world.records(&world.hospitals[*h]));
    records.filter(|r| r.resource_type == "Observation").map(|r| r.identity()).collect()
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < Duration::from_secs(60), "{what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// How often a needle is in the files of a folder.
fn occurrences(dir: &Path, needle: &[u8]) -> usize {
    let entries = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    let count = |path: std::path::PathBuf| match path.is_dir() {
        true => occurrences(&path, needle),
        // Files come and go.
        false => std::fs::read(&path).unwrap_or_default().windows(needle.len()).filter(|w| *w == needle).count(),
    };
    entries.map(count).sum()
}

fn verify(world: &World, home: &Path) -> Output {
    let pack = home.join("pack.json");
    std::fs::write(&pack, serde_json::to_vec(&world.pack).unwrap()).unwrap();
    let dir = world.servers.cloud_dir();
    Command::new(EXE).args(["verify", "--dir"]).arg(dir).arg("--domain").arg(&pack).output().unwrap()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn while_it_serves_every_byte_of_what_had_ended_goes_and_nothing_else() {
    let home = tempfile::tempdir().unwrap();
    let mut world = world(home.path(), 3).await;
    for hospital in [0, 1] {
        world.push(&world.hospitals[hospital]).await.unwrap();
    }
    world.servers.stop_cloud().await;
    let dir = world.servers.cloud_dir();
    let own = world.hospitals[0].keys.identity.id();
    let pieces: Vec<Vec<u8>> = {
        let snapshot = RedbStore::open(&dir.join("store.redb")).unwrap().snapshot().unwrap();
        let ids = snapshot.ids(None, usize::MAX).unwrap();
        let mut pieces = Vec::new();
        for id in ids {
            let record = snapshot.record(id).unwrap().unwrap();
            if record.provider == own {
                let sealed = snapshot.sealed(&[id], usize::MAX).unwrap().remove(0).unwrap();
                pieces.push([sealed[..40].to_vec(), record.tag[..40].to_vec(), record.origin.0.to_vec()]);
            }
        }
        assert!(pieces.len() > 40);
        pieces.into_iter().step_by(7).flatten().collect()
    };
    world.servers.start_cloud().await;
    assert!(pieces.iter().all(|p| occurrences(&dir, p) > 0));
    let list = home.path().join("list.txt");
    let gone: Vec<String> = world.records(&world.hospitals[0]).iter().map(Record::identity).collect();
    std::fs::write(&list, gone.join("\n")).unwrap();
    assert!(start("delete", &world.hospitals[0].dir, &[&list]).wait().unwrap().success());
    assert!(pieces.iter().any(|p| occurrences(&dir, p) > 0), "the store lets go of bytes by itself: drop compaction");

    // Pushed, asked, backed up and checked meanwhile, and compacted again and again.
    let (stays, all) = (observations(&world, &[1]), observations(&world, &[1, 2]));
    let pushing = &world.hospitals[2];
    let mut pushing = start("push", &pushing.dir, &[&pushing.records]);
    let (mut answers, mut rounds) = (0, 0);
    while rounds < 2 || pushing.try_wait().unwrap().is_none() {
        signal(&world, "-USR2");
        signal(&world, "-USR1");
        until("compacted", async || {
            let answer = found(&world).await.unwrap();
            assert!(stays.is_subset(&answer) && answer.is_subset(&all));
            answers += 1;
            ended(&world, "done") > rounds
        })
        .await;
        rounds = ended(&world, "done");
        for piece in &pieces {
            assert_eq!(occurrences(&dir, piece), 0, "after {rounds}");
        }
    }
    assert!(pushing.wait().unwrap().success());
    println!("{rounds} compactions, {answers} answers");
    assert_eq!((ended(&world, "failed"), ended(&world, "partly")), (0, 0));
    until("all is found", async || found(&world).await.is_some_and(|f| f == all)).await;
    let log = std::fs::read_to_string(home.path().join("cloud.log")).unwrap();
    assert!(!log.contains("built anew from the store") && !log.contains("ERROR"), "{log}");
    signal(&world, "-USR1");
    tokio::time::sleep(Duration::from_millis(300)).await;
    let backups = home.path().join("backups");
    let checked = Command::new(EXE).args(["cloud", "check", "--dir"]).arg(&backups).output().unwrap();
    assert!(checked.status.success(), "{}", text(&checked));
    assert!(world.servers.end_cloud().await);
    let verified = verify(&world, home.path());
    assert!(verified.status.success(), "{}", text(&verified));
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_anywhere_nothing_is_lost_doubled_or_comes_back() {
    let seed: u64 =
        std::env::var("SEALDEX_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(|| rand::rng().random());
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let home = tempfile::tempdir().unwrap();
    let mut world = world(home.path(), 2).await;
    world.push_all().await;
    let dir = world.hospitals[0].dir.clone();
    let (own, others): (BTreeSet<String>, BTreeSet<String>) = (
        world.records(&world.hospitals[0]).iter().map(Record::identity).collect(),
        world.records(&world.hospitals[1]).iter().map(Record::identity).collect(),
    );
    let there = found(&world).await.unwrap();
    let mut left: Vec<String> = own.difference(&others).cloned().collect();
    let (mut gone, mut replaced) = (BTreeSet::new(), 0);
    for _ in 0..KILLS {
        let part: Vec<String> = left.split_off(left.len().saturating_sub(left.len() / 4 + 1));
        let list = home.path().join("list.txt");
        std::fs::write(&list, part.join("\n")).unwrap();
        let before = std::fs::metadata(world.servers.cloud_dir().join("store.redb")).unwrap();
        signal(&world, "-USR2");
        let mut deleting = start("delete", &dir, &[&list]);
        tokio::time::sleep(Duration::from_millis(random.random_range(0..1500))).await;
        world.servers.stop_cloud().await;
        deleting.kill().unwrap();
        deleting.wait().unwrap();
        let after = std::fs::metadata(world.servers.cloud_dir().join("store.redb")).unwrap();
        replaced +=
            usize::from(std::os::unix::fs::MetadataExt::ino(&before) != std::os::unix::fs::MetadataExt::ino(&after));
        world.servers.start_cloud().await;
        assert!(!world.servers.cloud_dir().join("store.redb.rewriting").exists(), "seed {seed}");
        assert!(start("delete", &dir, &[&list]).wait().unwrap().success(), "seed {seed}");
        gone.extend(part);
        let expected: BTreeSet<String> = there.difference(&gone).cloned().collect();
        until("questions are answered", async || found(&world).await.is_some()).await;
        assert_eq!(found(&world).await.unwrap(), expected, "seed {seed}");
    }
    println!("{replaced} of {KILLS} kills came after the new file was in place");
    signal(&world, "-USR2");
    until("compacted", async || ended(&world, "done") > 0).await;
    assert!(world.servers.end_cloud().await, "seed {seed}");
    let verified = verify(&world, home.path());
    assert!(verified.status.success(), "seed {seed}: {}", text(&verified));
}
