//! What `docs/STEADINESS.md` says, against the program itself over real sockets.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // a test stops where it cannot go on, and says why it skips

mod descriptors;
mod disks;
mod floods;
mod hostile;
mod kills;
mod raw;
mod restarts;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use sealdex_fhir::Suite;
use sealdex_tests::{World, servers::Place};

pub(crate) const EXE: &str = env!("CARGO_BIN_EXE_sealdex");

/// The program, started by a shell that runs `before` first: limits and environment of its servers. `$2` says which.
pub(crate) fn limited(home: &Path, before: &str) -> Place {
    use std::os::unix::fs::PermissionsExt as _;
    let script: PathBuf = home.join("sealdex");
    std::fs::write(&script, format!("#!/bin/sh\n{before}\nexec {EXE} \"$@\"\n")).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    Place::Binary(script)
}

/// A domain with a reader who may read everything.
pub(crate) async fn world(home: &Path, patients: u32, hospitals: u32, place: Place) -> World {
    let mut world = World::generated(home, patients, hospitals, &["reader"], place).await;
    world.enrol_patients().await;
    world.grant_everything("reader").await;
    world
}

/// Ids of the observations a reader finds.
pub(crate) async fn finds(world: &World, reader: &str) -> Result<Vec<String>, sealdex_client::AskError> {
    let doc = Suite::parse(r#"{"resource":"Observation"}"#, None).unwrap().queries.remove(0);
    let mut ids: Vec<String> = world.session(reader).ask(&doc).await?.hits.into_iter().map(|h| h.identity).collect();
    ids.sort();
    Ok(ids)
}

/// Ids of the observations these hospitals have.
pub(crate) fn there(world: &World, hospitals: &[usize]) -> Vec<String> {
    let records = hospitals.iter().flat_map(|h| world.records(&world.hospitals[*h]));
    let mut ids: Vec<String> =
        records.filter(|r| r.resource_type == "Observation").map(|r| format!("Observation/{}", r.id)).collect();
    ids.sort();
    ids.dedup();
    ids
}

/// Resident memory of a process, bytes.
pub(crate) fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

/// Waits until something holds.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, within: u64, mut holds: impl FnMut() -> F) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < Duration::from_secs(within), "{what}: not within {within} s");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
