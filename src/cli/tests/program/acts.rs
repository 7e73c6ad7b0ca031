//! The log of acts through the program itself: owners, auditors and monitors read it, and notice what was done to it.
#![allow(clippy::unwrap_used)] // a test stops where it cannot go on

use std::{
    path::Path,
    time::{Duration, Instant},
};

use crate::stage::{Gate, Stage};

/// Reads the log as the first owner until `done` says so: what was printed to stdout and stderr, and the exit code.
fn from_log(stage: &Stage, done: impl Fn(&str, &str) -> bool) -> (String, String, i32) {
    let began = Instant::now();
    loop {
        let arguments = ["access-log", "--wallet", "w.key", "--domain", "domain/domain.json", "--owner", "Patient/a"];
        let output = stage.run(&[&arguments[..], &["--from-log"]].concat());
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if done(&out, &err) {
            return (out.into_owned(), err.into_owned(), output.status.code().unwrap());
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{out}\n{err}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn monitor(stage: &Stage, more: &[&str]) -> (String, i32) {
    let arguments =
        ["monitor", "--wallet", "w.key", "--domain", "domain/domain.json", "--state", "watch.json", "--once"];
    let output = stage.run(&[&arguments[..], more].concat());
    (String::from_utf8_lossy(&output.stderr).into_owned(), output.status.code().unwrap())
}

/// Every file below a folder that holds entries of the log.
fn bundles(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        match entry.path() {
            path if path.is_dir() => bundles(&path, found),
            path if path.to_string_lossy().contains("/tile/entries/") => found.push(path),
            _ => {}
        }
    }
}

#[test]
fn acts_are_read_from_the_log_and_what_is_wrong_is_named() {
    let stage = Stage::set(&["ana"], Gate::Single);
    let key = stage.done(&["domain", "auditor", "keygen", "--domain", "domain/domain.json", "--out", "auditor.key"]);
    stage.done(&["domain", "auditor", "add", "--dir", "domain", key.trim()]);
    stage.own(&["grant", "--owner", "Patient/a", "--section", "observations", "--to", "ana"]);
    assert_eq!(stage.finds("ana", "treatment"), ["Observation/w1"]);

    let (out, err, code) =
        from_log(&stage, |_, err| err.contains("says the same") && !err.contains("not in the log yet"));
    assert_eq!(code, 0, "{err}");
    for expected in ["granted to ana", "searched, and was given", "pushed", "in the public log of"] {
        assert!(out.contains(expected), "{out}");
    }
    // An auditor reads what was done since it is one; the authority everything.
    let audit = |key: &str, format: &str| {
        stage.done(&["audit", "--key", key, "--domain", "domain/domain.json", "--format", format])
    };
    let table = audit("domain/authority.key", "table");
    assert!(["roster", "owners", "grants", "search", "bridge"].iter().all(|k| table.contains(k)), "{table}");
    let table = audit("auditor.key", "table");
    assert!(table.contains("search") && table.contains("sealed for others"), "{table}");
    let events = audit("auditor.key", "fhir");
    let event: serde_json::Value = serde_json::from_str(events.lines().last().unwrap()).unwrap();
    assert_eq!(event["resourceType"], "AuditEvent");
    assert_eq!(event["entity"][0]["what"]["identifier"]["value"], stage.principal("Patient/a"));

    // What was signed with an owner's key has to be acknowledged once.
    let (said, code) = monitor(&stage, &[]);
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("a grant of Patient/a, observations, to ana was signed with its key"), "{said}");
    assert!(said.contains("a publication of keys of Patient/b"), "{said}");
    let numbers = said.lines().filter_map(|l| l.strip_prefix("ALARM: entry ")?.split(':').next().map(str::to_owned));
    let known: Vec<String> = numbers.flat_map(|n| ["--acknowledge".to_owned(), n]).collect();
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    let (said, code) = monitor(&stage, &known);
    assert_eq!(code, 0, "{said}");
    stage.own(&["grant", "--owner", "Patient/b", "--section", "observations", "--to", "ana"]);
    let began = Instant::now();
    while monitor(&stage, &[]).1 == 0 {
        assert!(began.elapsed() < Duration::from_secs(30), "the grant is not noticed");
    }
    let (said, code) = monitor(&stage, &[]);
    assert_eq!((code, said.matches("ALARM").count()), (3, 1), "{said}");
    assert!(said.contains("a grant of Patient/b"), "{said}");

    // The cloud alters an entry: whoever reads it says so.
    let mut files = Vec::new();
    bundles(&stage.path("cloud/log/acts"), &mut files);
    assert!(!files.is_empty());
    for file in &files {
        let mut bytes = std::fs::read(file).unwrap();
        let at = bytes.len() / 2;
        bytes[at] ^= 1;
        std::fs::write(file, bytes).unwrap();
    }
    let said = stage.refused(&["audit", "--key", "auditor.key", "--domain", "domain/domain.json"]);
    assert!(said.contains("do not lead to the root of its checkpoint: they are altered"), "{said}");
}
