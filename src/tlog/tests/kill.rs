//! A process that appends, killed with SIGKILL at any moment. By itself: while a process is being
//! started it holds the locks of whoever starts it.
#![allow(clippy::unwrap_used)] // a test stops where it cannot go on

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use sealdex_crypto::log::{Tree, leaf_hash};
use sealdex_tlog::log::{FileStorage, Log};
use sealdex_tlog::note::{KeyName, LogKey};
use tempfile::TempDir;

const FOLDER: &str = "SEALDEX_TLOG_KILL_FOLDER";

fn entry(i: u64) -> Vec<u8> {
    format!("entry {i}").into_bytes()
}

/// Opens the log in the folder, or makes it.
fn open(folder: &Path) -> Log<FileStorage> {
    let made = folder.join("head").exists();
    let storage = FileStorage::open(folder).unwrap();
    let key = LogKey::from_seed(KeyName::new("log.example/one").unwrap(), &[1; 32]);
    if made { Log::open(storage, key) } else { Log::create(storage, key) }.unwrap()
}

/// Not a test: what the test below starts and kills.
#[test]
#[ignore = "started by killed_anywhere_no_acknowledged_entry_is_lost"]
fn appender() {
    let Some(folder) = env::var_os(FOLDER) else { return };
    let mut log = open(Path::new(&folder));
    let mut out = std::io::stderr();
    loop {
        let start = log.checkpoint().size();
        log.append(&(start..start + 90).map(entry).collect::<Vec<_>>()).unwrap();
        writeln!(out, "acknowledged {}", start + 90).unwrap();
    }
}

#[test]
fn killed_anywhere_no_acknowledged_entry_is_lost() {
    let folder = TempDir::new().unwrap();
    let mut acknowledged = 0;
    for round in 0..12 {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "appender", "--ignored", "--nocapture", "--test-threads=1"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let first = lines.next().unwrap().unwrap();
        sleep(Duration::from_micros(700 * round * round));
        child.kill().unwrap();
        child.wait().unwrap();
        for line in std::iter::once(first).chain(lines.map_while(Result::ok)) {
            let size = line.strip_prefix("acknowledged ").and_then(|n| n.parse().ok());
            acknowledged = size.unwrap_or_else(|| panic!("{line}"));
        }
        let log = open(folder.path());
        let size = log.checkpoint().size();
        assert!(size == acknowledged || size == acknowledged + 90, "{size}, acknowledged {acknowledged}");
        assert_eq!(*log.checkpoint().root(), (0..size).map(|i| leaf_hash(&entry(i))).collect::<Tree>().root());
        for i in (0..size).step_by(89).chain(size - 90..size) {
            assert_eq!(log.entry(i).unwrap(), entry(i));
        }
    }
    assert!(acknowledged >= 12 * 90);
}
