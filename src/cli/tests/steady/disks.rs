//! Disks that are full, and disks that rot.

use std::{os::unix::fs::FileExt as _, path::Path, process::Command, time::Duration};

use sealdex_cloud::store::{RedbStore, SealedStore as _};
use sealdex_tests::{World, servers::Place};

use crate::{
    EXE, finds, limited,
    raw::{get, status},
    there, until, world,
};

/// `sealdex push` of a hospital; what it said if it failed.
fn push(world: &World, hospital: usize) -> Result<(), String> {
    let h = &world.hospitals[hospital];
    let output =
        Command::new(EXE).args(["push", "--batch", "32", "--provider"]).arg(&h.dir).arg(&h.records).output().unwrap();
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

/// Largest file the process may write, bytes; the limit its own user may lift again.
fn limit_files(pid: u32, bytes: Option<u64>) -> bool {
    let soft = bytes.map_or("unlimited".to_owned(), |b| b.to_string());
    Command::new("prlimit")
        .args(["--pid", &pid.to_string(), &format!("--fsize={soft}:unlimited")])
        .status()
        .is_ok_and(|s| s.success())
}

async fn refuses_writes_answers_reads_recovers(world: &World, fill: impl Fn(bool)) {
    world.push(&world.hospitals[0]).await.unwrap();
    let first = there(world, &[0]);
    assert_eq!(finds(world, "reader").await.unwrap(), first);
    fill(true);
    let mut refused = push(world, 1).unwrap_err();
    assert!(refused.contains("no room") && refused.contains("507"), "{refused}");
    for _ in 0..3 {
        until("reads are answered", 10, async || finds(world, "reader").await.is_ok()).await;
        let found = finds(world, "reader").await.unwrap();
        assert!(first.iter().all(|id| found.contains(id)), "what was stored is found");
        refused = push(world, 1).unwrap_err();
        assert!(refused.contains("no room"), "{refused}");
    }
    assert_eq!(status(&get(world.servers.cloud_port, "/healthz").await), 200);
    fill(false);
    push(world, 1).unwrap();
    until("everything is found", 20, async || {
        finds(world, "reader").await.is_ok_and(|found| found == there(world, &[0, 1]))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_may_not_grow_is_read_and_written_again_later() {
    let home = tempfile::tempdir().unwrap();
    // A process that ignores the signal is told by an error.
    let world = world(home.path(), 8, 2, limited(home.path(), "trap '' XFSZ")).await;
    let (cloud, _) = world.servers.pids();
    if !limit_files(cloud, None) {
        return println!("skipped: prlimit(1) is not here or not permitted");
    }
    refuses_writes_answers_reads_recovers(&world, |full| {
        // Anything beyond the first page: not even what is there can be written again.
        assert!(limit_files(cloud, full.then_some(8 << 10)));
    })
    .await;
}

struct Mounted<'a>(&'a Path);

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["-l"]).arg(self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_up_is_read_and_written_again_later() {
    let home = tempfile::tempdir().unwrap();
    let disk = home.path().join("cloud");
    std::fs::create_dir(&disk).unwrap();
    let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=160m", "none"]).arg(&disk).output();
    if !mount.is_ok_and(|m| m.status.success()) {
        return println!("skipped: this user may not mount a tmpfs");
    }
    let mounted = Mounted(&disk);
    let world = world(home.path(), 8, 2, Place::Binary(EXE.into())).await;
    let filler = disk.join("filler");
    refuses_writes_answers_reads_recovers(&world, |full| match full {
        true => {
            use std::io::Write as _;
            let mut file = std::fs::File::create(&filler).unwrap();
            while file.write_all(&[1; 1 << 16]).is_ok() {}
        }
        false => std::fs::remove_file(&filler).unwrap(),
    })
    .await;
    drop(world);
    drop(mounted);
}

/// Turns a byte over at each of these places.
fn flip(path: &Path, places: impl Fn(&[u8]) -> Vec<usize>) {
    let bytes = std::fs::read(path).unwrap();
    let (places, file) = (places(&bytes), std::fs::File::options().write(true).open(path).unwrap());
    assert!(!places.is_empty());
    places.into_iter().for_each(|at| file.write_all_at(&[bytes[at] ^ 1], at as u64).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn rot_is_named_mended_where_it_can_be_and_never_served() {
    let home = tempfile::tempdir().unwrap();
    let mut world = world(home.path(), 4, 1, limited(home.path(), "export SEALDEX_SCRUB_SECONDS=1")).await;
    world.push_all().await;
    let everything = there(&world, &[0]);
    assert_eq!(finds(&world, "reader").await.unwrap(), everything);
    let ready = async |port| get(port, "/readyz").await;
    assert!(ready(world.servers.cloud_port).await.ends_with("ready\n"));

    // The index: built anew while the cloud runs.
    let index = world.servers.cloud_dir().join("index");
    let largest = |ending: &str| {
        let files = std::fs::read_dir(&index).unwrap().map(|e| e.unwrap());
        let files = files.filter(|e| e.path().to_string_lossy().ends_with(ending));
        files.max_by_key(|e| e.metadata().unwrap().len()).unwrap().path()
    };
    let rotten = largest(".idx");
    flip(&rotten, |bytes| vec![bytes.len() / 2]);
    let log = home.path().join("cloud.log");
    until("the damaged index is named", 20, async || {
        std::fs::read_to_string(&log).unwrap().contains("the search index is damaged")
    })
    .await;
    until("the index is built anew", 20, async || finds(&world, "reader").await.is_ok_and(|found| found == everything))
        .await;
    // Looks that follow, one a second, find nothing.
    let complaints = || std::fs::read_to_string(&log).unwrap().matches("the search index is damaged").count();
    until("looks find nothing", 60, async || {
        let before = complaints();
        tokio::time::sleep(Duration::from_secs(4)).await;
        complaints() == before
    })
    .await;
    assert!(finds(&world, "reader").await.is_ok_and(|found| found == everything));

    // The store: a record's sealed bytes.
    world.servers.stop_cloud().await;
    let store = world.servers.cloud_dir().join("store.redb");
    let sealed = {
        let opened = RedbStore::open(&store).unwrap();
        let snapshot = opened.snapshot().unwrap();
        let ids = snapshot.ids(None, usize::MAX).unwrap();
        snapshot.sealed(&ids, usize::MAX).unwrap().into_iter().flatten().max_by_key(Vec::len).unwrap()
    };
    flip(&store, |bytes| {
        bytes.windows(64).position(|w| w == &sealed[..64]).map(|place| place + 40).into_iter().collect()
    });
    world.servers.start_cloud().await;
    until("the damaged store is named", 20, async || {
        let said = ready(world.servers.cloud_port).await;
        said.contains("but damaged: store.redb")
    })
    .await;
    // Whatever is answered is true: a question that the damage touches fails.
    let doc = |kind: &str| {
        sealdex_fhir::Suite::parse(&format!(r#"{{"resource":"{kind}"}}"#), None).unwrap().queries.remove(0)
    };
    let (session, corpus, mut failed) = (world.session("reader"), world.corpus(), 0);
    for kind in [
        "Patient",
        "Observation",
        "Condition",
        "Encounter",
        "MedicationRequest",
        "DiagnosticReport",
        "Organization",
        "DocumentReference",
    ] {
        let Ok((expected, _)) = corpus.ask(&doc(kind), &world.schema) else { continue };
        match session.ask(&doc(kind)).await {
            Err(_) => failed += 1,
            Ok(answer) => {
                let pairs = |hits: &[sealdex_fhir::Hit]| {
                    hits.iter().map(|h| (h.identity.clone(), h.bytes.clone())).collect::<Vec<_>>()
                };
                assert_eq!(pairs(&answer.hits), pairs(&expected), "{kind}");
            }
        }
    }
    println!("{failed} questions were refused for the damage");

    // The gate's store.
    let gate = world.servers.gate_store();
    assert!(ready(world.servers.gate_port()).await.ends_with("ready\n"));
    let reader = world.readers["reader"].identity.id();
    flip(&gate, |bytes| bytes.windows(16).enumerate().filter(|(_, w)| *w == reader.0).map(|(at, _)| at + 3).collect());
    until("the damaged store is named", 20, async || {
        ready(world.servers.gate_port()).await.contains("but damaged: the gate's store")
    })
    .await;
}
