//! A cloud that backs itself up, is killed and lost, and comes back: real processes, a witness that remembers.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test stops where it cannot go on

use std::{path::PathBuf, process::Command};

use crate::stage::{Gate, Stage, free_port, plain, said, until, weight};

const ASK: [&str; 4] = ["query", "--member", "ana", r#"{"resource":"Observation"}"#];

/// A domain with a witness that every checkpoint needs, and one batch.
fn watched() -> Stage {
    let mut stage = Stage::set(&["ana"], Gate::Single);
    let port = free_port();
    let (listen, url) = (format!("127.0.0.1:{port}"), format!("http://127.0.0.1:{port}"));
    let key = stage.done(&["witness", "keygen", "--name", "h.example/w1", "--out", "w1.key"]);
    let watch =
        ["witness", "serve", "--keys", "w1.key", "--dir", "w1", "--domain", "domain/domain.json", "--listen", &listen];
    stage.serve(&watch, port);
    stage.done(&["domain", "ledger", "--dir", "domain", "--witness", key.trim(), &url, "--quorum", "1"]);
    stage.own(&["grant", "--all-owners", "--to", "ana", "--section", "observations"]);
    stage
}

fn push(stage: &Stage, id: &str, value: u32) -> String {
    stage.write("records/one.ndjson", &weight(id, "a", "").replace("71", &value.to_string()));
    stage.done(&["push", "--provider", "h1", "records"])
}

fn backups(stage: &Stage) -> Vec<PathBuf> {
    let Ok(dir) = std::fs::read_dir(stage.path("backups")) else { return Vec::new() };
    let mut files: Vec<PathBuf> =
        dir.map(|e| e.unwrap().path()).filter(|p| p.extension().is_some_and(|e| e == "backup")).collect();
    files.sort();
    files
}

fn answered(stage: &Stage, batches: u64) -> String {
    let proved = format!("Proved complete for {batches} batches");
    // By a term: of all records of a type nothing is proved, nor how many batches there are.
    let by_term = r#"{"resource":"Observation","filters":[{"field":"subject","op":"eq","value":"Patient/a"}]}"#;
    until(&proved, || said(&stage.run(&["query", "--member", "ana", by_term, "--format", "table"])).contains(&proved));
    said(&stage.run(&[&ASK[..], &["--format", "ndjson"]].concat()))
}

/// Everything that was acknowledged or cosigned is in the backup, so the restored cloud goes on.
#[test]
fn a_cloud_that_backs_up_first_loses_nothing_and_goes_on() {
    let mut stage = watched();
    stage.restart_cloud("cloud", &["--backup-dir", "backups", "--backup-first", "--backup-every", "never"]);
    push(&stage, "w3", 80);
    push(&stage, "w3", 81);
    push(&stage, "w4", 82);
    let before = answered(&stage, 4);
    assert!(before.contains("81") && before.contains("82") && !before.contains("80"), "{before}");
    stage.kill_cloud();
    std::fs::rename(stage.path("cloud"), stage.path("lost")).unwrap();

    let checked = plain(&stage, &["cloud", "check", "--dir", "backups"]);
    assert!(checked.status.success() && said(&checked).contains("Every byte is as it was"), "{}", said(&checked));
    let restore = ["cloud", "restore", "--from", "backups", "--dir"];
    let restored = plain(&stage, &[&restore[..], &["new"]].concat());
    assert!(restored.status.success() && said(&restored).contains("4 batches, 7 live"), "{}", said(&restored));
    assert!(said(&plain(&stage, &[&restore[..], &["new"]].concat())).contains("exists already"));
    let waits =
        stage.refused(&["serve", "cloud", "--keys", "domain/cloud.key", "--dir", "new", "--listen", "127.0.0.1:0"]);
    assert!(waits.contains("cloud resume") && waits.contains("batch 4"), "{waits}");
    let resume = |batch: &str| plain(&stage, &["cloud", "resume", "--dir", "new", "--accept-loss-after-batch", batch]);
    assert!(said(&resume("3")).contains("as of batch 4"));
    assert!(resume("4").status.success());

    stage.restart_cloud("new", &["--backup-dir", "backups", "--backup-first"]);
    assert_eq!(answered(&stage, 4), before, "the same records, and the witness goes on");
    push(&stage, "w5", 83);
    assert!(answered(&stage, 5).contains("83"));
    stage.kill_cloud();
    let verified = plain(&stage, &["verify", "--dir", "new", "--domain", "domain/domain.json"]);
    assert!(verified.status.success() && said(&verified).contains("Nothing differs."), "{}", said(&verified));

    // Any batch in between, to look at: the older version of w3 is there.
    let past = plain(&stage, &[&restore[..], &["past", "--batch", "2"]].concat());
    assert!(past.status.success() && said(&past).contains("2 batches, 6 live"), "{}", said(&past));
    let verified = plain(&stage, &["verify", "--dir", "past", "--domain", "domain/domain.json"]);
    assert!(verified.status.success() && said(&verified).contains("Nothing differs."), "{}", said(&verified));
    let resumed = plain(&stage, &["cloud", "resume", "--dir", "past", "--accept-loss-after-batch", "2"]);
    assert!(said(&resumed).contains("for inspection"), "{}", said(&resumed));
    let never = plain(&stage, &[&restore[..], &["never", "--at", "2001-01-01T00:00:00Z"]].concat());
    assert!(said(&never).contains("no backup has anything from before that time"), "{}", said(&never));

    every_flipped_byte_is_found(&stage);
}

fn every_flipped_byte_is_found(stage: &Stage) {
    let files = backups(stage);
    assert!(files.len() >= 5, "{files:?}");
    for path in &files {
        let (whole, name) = (std::fs::read(path).unwrap(), path.file_name().unwrap().to_string_lossy().into_owned());
        for at in [0, 30, 100, 160, whole.len() / 2, whole.len() - 1] {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            std::fs::write(path, &bytes).unwrap();
            let found = plain(stage, &["cloud", "check", "--dir", "backups"]);
            assert_eq!(found.status.code(), Some(3), "byte {at} of {name}: {}", said(&found));
            let first = said(&found).lines().find(|l| l.starts_with("damaged: ")).unwrap_or_default().to_owned();
            assert!(first.contains(&name), "byte {at} of {name}: {first}");
        }
        std::fs::write(path, &whole[..whole.len() - 1]).unwrap();
        assert_eq!(plain(stage, &["cloud", "check", "--dir", "backups"]).status.code(), Some(3), "{name} cut");
        std::fs::write(path, &whole).unwrap();
    }
    // In the newest chain a damaged file is an error, never an older state without a word.
    let last = files.last().unwrap();
    let whole = std::fs::read(last).unwrap();
    std::fs::write(last, &whole[..whole.len() / 2]).unwrap();
    let refused = plain(stage, &["cloud", "restore", "--from", "backups", "--dir", "none"]);
    assert!(!refused.status.success() && said(&refused).contains("is damaged"), "{}", said(&refused));
    assert!(!stage.path("none").exists() && !stage.path("none.restoring").exists());
    std::fs::write(last, whole).unwrap();
    assert!(plain(stage, &["cloud", "check", "--dir", "backups"]).status.success());
}

/// What was cosigned after the backup is lost: nobody believes the restored cloud, and nothing forks.
#[test]
fn what_was_cosigned_after_the_backup_cannot_be_told_again() {
    let mut stage = watched();
    stage.restart_cloud("cloud", &["--backup-dir", "backups", "--backup-every", "never"]);
    let ask = |stage: &Stage, files: usize| {
        let pid = stage.servers[0].id().to_string();
        assert!(Command::new("kill").args(["-USR1", &pid]).status().unwrap().success());
        until("a backup", || backups(stage).len() == files);
    };
    ask(&stage, 1);
    push(&stage, "w3", 80);
    push(&stage, "w3", 81);
    ask(&stage, 2);
    push(&stage, "w4", 82);
    assert!(answered(&stage, 4).contains("82"));
    stage.kill_cloud();

    // The store of the second batch has a version that was gone when the backup was taken.
    let restore = ["cloud", "restore", "--from", "backups", "--dir"];
    let between = plain(&stage, &[&restore[..], &["new", "--batch", "2"]].concat());
    assert!(said(&between).contains("1 of its records were replaced"), "{}", said(&between));
    assert!(said(&between).contains("Batches 1 and 3 can") && !stage.path("new").exists());
    assert!(plain(&stage, &[&restore[..], &["new"]].concat()).status.success());
    assert!(plain(&stage, &["cloud", "resume", "--dir", "new", "--accept-loss-after-batch", "3"]).status.success());

    // With the old log beside it, it does not start; without it, the witness and the hospital object.
    let log = (stage.path("cloud/log"), stage.path("new/log"));
    std::fs::rename(&log.0, &log.1).unwrap();
    let serve = ["serve", "cloud", "--keys", "domain/cloud.key", "--dir", "new", "--listen", "127.0.0.1:0"];
    assert!(stage.refused(&serve).contains("put back to an older state"));
    std::fs::rename(&log.1, &log.0).unwrap();
    stage.restart_cloud("new", &[]);
    assert!(!stage.run(&ASK).status.success(), "a reader that has seen more does not believe it");
    stage.write("records/two.ndjson", &weight("w9", "a", ""));
    let refused = stage.refused(&["push", "--provider", "h1", "records"]);
    assert!(refused.contains("hides this provider's newest batches"), "{refused}");
    stage.kill_cloud();
    // A store that is older than its backup does not go on with it.
    let older = plain(&stage, &[&restore[..], &["older", "--batch", "1"]].concat());
    assert!(older.status.success(), "{}", said(&older));
}
