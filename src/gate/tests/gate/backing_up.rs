//! The program as it backs itself up: on time, when asked, and killed meanwhile.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use sealdex_gate::{backup::restore::check_backup, store::RedbStore};
use sealdex_wire::codec;

use crate::{
    domain::gate_keys,
    safety::{fill, secrets},
};

fn start(dir: &Path, every: &str) -> Child {
    let keys = dir.join("gate.key");
    if !keys.exists() {
        sealdex_keyfile::write(&keys, "gate", codec::to_json(&gate_keys()).as_bytes(), None).unwrap();
    }
    let mut child = Command::new(env!("CARGO_BIN_EXE_sealdex-gate"))
        .args(["--listen", "127.0.0.1:0", "--backup-every", every, "--backup-keep", "4", "--keys"])
        .arg(keys)
        .arg("--store")
        .arg(dir.join("gate.redb"))
        .arg("--backup-dir")
        .arg(dir.join("backups"))
        .env("RUST_LOG", "warn")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("listening on "), "{line}");
    child
}

fn ask(child: &Child) {
    assert!(Command::new("kill").args(["-USR1", &child.id().to_string()]).status().unwrap().success());
}

fn kill(mut child: Child) {
    child.kill().unwrap(); // SIGKILL
    child.wait().unwrap();
}

fn ending(dir: &Path, suffix: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir.join("backups")).into_iter().flatten();
    let mut found: Vec<_> = entries.map(|e| e.unwrap().path()).collect();
    found.retain(|p| p.to_str().unwrap().ends_with(suffix));
    found.sort_unstable();
    found
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(60), "{what} did not happen");
        std::thread::sleep(Duration::from_micros(300));
    }
}

#[test]
fn killed_in_the_middle_of_a_backup_it_leaves_the_old_ones_and_no_half_one() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    fill(&RedbStore::open(&dir.join("gate.redb")).unwrap(), 30_000);
    let child = start(dir, "never");
    ask(&child);
    until("the first backup", || !ending(dir, ".backup").is_empty());
    let first = ending(dir, ".backup").remove(0);
    let rows = check_backup(&first, &secrets()).unwrap().1;
    kill(child);
    for wait in [0, 2, 10, 30] {
        let child = start(dir, "never");
        assert!(ending(dir, ".unfinished").is_empty(), "cleared at the start");
        ask(&child);
        until("the beginning of a backup", || !ending(dir, ".unfinished").is_empty());
        std::thread::sleep(Duration::from_millis(wait));
        kill(child);
        println!(
            "killed after {wait} ms: {} whole, {} unfinished",
            ending(dir, ".backup").len(),
            ending(dir, ".unfinished").len()
        );
        assert!(ending(dir, ".backup").contains(&first));
        for whole in ending(dir, ".backup") {
            assert_eq!(check_backup(&whole, &secrets()).unwrap().1, rows, "{}", whole.display());
        }
        for half in ending(dir, ".unfinished") {
            assert!(check_backup(&half, &secrets()).is_err());
        }
    }
}

#[test]
fn backups_come_on_time_and_the_newest_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let child = start(dir, "1s");
    until("a backup at once, when there is none", || !ending(dir, ".backup").is_empty());
    let first = ending(dir, ".backup").remove(0);
    until("the fourth backup", || ending(dir, ".backup").len() == 4);
    until("the first one's end", || !first.exists());
    assert!(ending(dir, ".backup").len() <= 4);
    // SIGTERM is a clean stop.
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    let mut child = child;
    assert!(child.wait().unwrap().success());
    assert!(ending(dir, ".unfinished").is_empty());
    let kept = ending(dir, ".backup");
    // A start with a fresh backup in the folder does not take another: restarts push nothing out.
    let child = start(dir, "1h");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(ending(dir, ".backup"), kept);
    kill(child);
}
