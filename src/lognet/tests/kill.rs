//! A witness killed with SIGKILL at any moment. By itself: while a process is being started it holds the locks of
//! whoever starts it.
#![allow(clippy::unwrap_used)] // a test stops where it cannot go on

use std::{
    env,
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use sealdex_lognet::{
    cosign::{Cosigners, NotCosigned},
    witness::{WitnessConfig, serve},
};
use sealdex_net::{Listen, guard, peer::Http};
use sealdex_tlog::{
    log::{Log, MemoryStorage},
    note::{CosignerKey, KeyName, LogKey},
};
use tempfile::TempDir;

const FOLDER: &str = "SEALDEX_LOGNET_KILL_FOLDER";

fn log_key() -> LogKey {
    LogKey::from_seed(KeyName::new("log.example/one").unwrap(), &[1; 32])
}

fn witness_key() -> CosignerKey {
    CosignerKey::from_seed(KeyName::new("witness.example/w").unwrap(), &[2; 32])
}

/// Not a test: what the test below starts and kills.
#[tokio::test]
#[ignore = "started by killed_anywhere_it_remembers_what_it_cosigned"]
async fn witness() {
    let Some(dir) = env::var_os(FOLDER).map(PathBuf::from) else { return };
    let config = WitnessConfig {
        dir,
        listen: Listen::loopback(0),
        key: witness_key(),
        logs: vec![("log.example/one".into(), vec![log_key().verifier()])],
        bounds: guard::Bounds::default(),
    };
    let ready = |addr| writeln!(std::io::stderr(), "listens on {addr}").unwrap();
    serve(config, ready, std::future::pending()).await.unwrap();
}

fn start(folder: &TempDir) -> (Child, String) {
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--exact", "witness", "--ignored", "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let line = lines.next().unwrap().unwrap();
    (child, format!("http://{}", line.strip_prefix("listens on ").unwrap()))
}

fn log_of(size: u64, first: u64) -> Log<MemoryStorage> {
    let mut log = Log::create(MemoryStorage::new(), log_key()).unwrap();
    log.append(&(first..first + size).map(|i| i.to_be_bytes()).collect::<Vec<_>>()).unwrap();
    log
}

#[tokio::test]
async fn killed_anywhere_it_remembers_what_it_cosigned() {
    let folder = TempDir::new().unwrap();
    let http = Http::new(None).unwrap();
    let mut log = log_of(0, 0);
    let mut cosigned = 0;
    for round in 0..8 {
        let (mut child, url) = start(&folder);
        let asked = Cosigners::new(http.clone(), vec![(witness_key().verifier(), url.clone())]).unwrap();
        if cosigned > 0 {
            // What it has cosigned it takes back for nobody: neither a smaller log nor another of that size.
            let smaller = log_of(cosigned - 1, 0);
            let other = log_of(log.checkpoint().size(), 7);
            for (forged, ahead) in [(&smaller, true), (&other, false)] {
                let proof = |old, new| forged.consistency_proof(old, new);
                let refused = asked.gather(forged.head(), proof, 1, Duration::from_secs(20)).await.unwrap();
                let [(_, why)] = refused.missing.as_slice() else { panic!("cosigned a fork: {refused:?}") };
                match why {
                    NotCosigned::Ahead { size, .. } => assert!(ahead && *size >= cosigned),
                    NotCosigned::Fork { .. } | NotCosigned::Refused { status: 422, .. } => assert!(!ahead, "{why}"),
                    other => panic!("{other}"),
                }
            }
        }
        let id = child.id();
        let killer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20 + 9 * round));
            child.kill().unwrap();
            child.wait().unwrap();
        });
        loop {
            log.append(&[log.checkpoint().size().to_be_bytes()]).unwrap();
            let proof = |old, new| log.consistency_proof(old, new);
            let gathered = asked.gather(log.head(), proof, 1, Duration::from_secs(20)).await.unwrap();
            if gathered.cosigned.is_empty() {
                assert!(matches!(gathered.missing[0].1, NotCosigned::Call(_)), "{id}: {gathered:?}");
                break;
            }
            cosigned = log.checkpoint().size();
        }
        killer.join().unwrap();
    }
    assert!(cosigned >= 8, "{cosigned}");
}
