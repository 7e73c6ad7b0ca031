//! Bulk Data manifests: whose files they name, what they must not name, and lines of another type.
#![allow(clippy::unwrap_used)] // a test stops where it cannot go on

use std::{fs, path::Path};

use sealdex_fhir::{BulkManifest, Input, Record, RecordError, Source, SourceItem};
use tempfile::TempDir;

const PATIENT: &str = r#"{"resourceType":"Patient","id":"p"}"#;

/// A folder `in/` with two files, and one beside it.
fn folder() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("in/sub dir")).unwrap();
    fs::write(dir.path().join("in/Patient.000"), format!("{PATIENT}\n")).unwrap();
    fs::write(dir.path().join("in/sub dir/o.ndjson"), "{\"resourceType\":\"Observation\",\"id\":\"o\"}\n").unwrap();
    fs::write(dir.path().join("outside.ndjson"), PATIENT).unwrap();
    dir
}

fn read(dir: &TempDir, manifest: &str) -> Result<BulkManifest, String> {
    let path = dir.path().join("in/manifest.json");
    fs::write(&path, manifest).unwrap();
    BulkManifest::read(&path).map_err(|e| e.to_string())
}

fn import(url: &str) -> String {
    serde_json::json!({"inputFormat": "application/fhir+ndjson", "input": [{"type": "Patient", "url": url}]})
        .to_string()
}

#[test]
fn both_shapes_name_files_relative_to_the_manifest() {
    let dir = folder();
    let inside = dir.path().canonicalize().unwrap().join("in");
    let names = |m: &BulkManifest| {
        m.files.iter().map(|f| (f.path.strip_prefix(&inside).unwrap().to_owned(), f.resource_type.clone())).collect()
    };
    let expected: Vec<(std::path::PathBuf, String)> =
        vec![("Patient.000".into(), "Patient".into()), ("sub dir/o.ndjson".into(), "Observation".into())];
    let url = format!("file://{}/sub%20dir/o.ndjson", inside.display());
    let import = format!(
        r#"{{"inputFormat":"application/fhir+ndjson","inputSource":"https://h.example","storageDetail":{{"type":"file"}},
        "input":[{{"type":"Patient","url":"./Patient.000"}},{{"type":"Observation","url":"{url}"}}]}}"#
    );
    let found: Vec<_> = names(&read(&dir, &import).unwrap());
    assert_eq!(found, expected);
    let export = r#"{"transactionTime":"2026-01-01T00:00:00Z","request":"https://h.example/$export","requiresAccessToken":false,
        "output":[{"type":"Patient","url":"Patient.000","count":1},{"type":"Observation","url":"sub%20dir/o.ndjson"}],
        "deleted":[{"type":"Bundle","url":"del.ndjson"}],"error":[{"type":"OperationOutcome","url":"err.ndjson"}]}"#;
    let manifest = read(&dir, export).unwrap();
    let found: Vec<_> = names(&manifest);
    assert_eq!(found, expected);
    let passed: Vec<_> = manifest.passed_over.iter().map(|(f, _)| f.to_str().unwrap()).collect();
    assert_eq!(passed, ["del.ndjson", "err.ndjson"], "said, not dropped");
}

#[test]
fn what_leaves_the_folder_or_the_machine_is_refused() {
    let dir = folder();
    assert!(read(&dir, &import("Patient.000")).is_ok());
    let outside = format!("file://{}/outside.ndjson", dir.path().display());
    for (url, reason) in [
        ("../outside.ndjson", "outside the manifest's folder"),
        ("%2e%2e/outside.ndjson", "outside the manifest's folder"),
        ("sub%20dir/../../outside.ndjson", "outside the manifest's folder"),
        ("/etc/hostname", "outside the manifest's folder"),
        (outside.as_str(), "outside the manifest's folder"),
        ("file:/etc/hostname", "outside the manifest's folder"),
        ("file://elsewhere/Patient.000", "another machine"),
        ("//elsewhere/Patient.000", "another machine"),
        ("https://h.example/Patient.ndjson", "\"https:\" is not fetched"),
        ("s3://bucket/Patient.ndjson", "\"s3:\" is not fetched"),
        ("Patient.000?x=1", "no query"),
        ("Patient%2", "hexadecimal"),
        ("Patient.000%00", "hexadecimal"),
        ("nothing.ndjson", "nothing.ndjson"),
        ("sub%20dir", "not a file"),
    ] {
        let refused = read(&dir, &import(url)).unwrap_err();
        assert!(refused.contains(reason) && refused.contains("input[0]"), "{url}: {refused}");
    }
}

#[cfg(unix)]
#[test]
fn a_link_out_of_the_folder_is_refused() {
    let dir = folder();
    std::os::unix::fs::symlink(dir.path().join("outside.ndjson"), dir.path().join("in/link.ndjson")).unwrap();
    assert!(read(&dir, &import("link.ndjson")).unwrap_err().contains("outside"));
}

#[test]
fn malformed_manifests_say_what_and_where() {
    let dir = folder();
    let good = r#"{"type":"Patient","url":"Patient.000"}"#;
    for (text, reason) in [
        ("[]".to_owned(), "not a JSON object"),
        ("{\n".into(), "line 2"),
        ("{}".into(), "neither"),
        (format!(r#"{{"inputFormat":"application/fhir+ndjson","input":[{good}],"output":[]}}"#), "both"),
        (format!(r#"{{"input":[{good}]}}"#), "\"inputFormat\" is missing"),
        (format!(r#"{{"inputFormat":"text/csv","input":[{good}]}}"#), "text/csv"),
        (format!(r#"{{"inputFormat":"application/fhir+ndjson","input":{good}}}"#), "not a list"),
        (format!(r#"{{"output":[{good},{{"url":"Patient.000"}}]}}"#), "output[1]: no text as \"type\""),
        (r#"{"output":[{"type":"Patient"}]}"#.into(), "no text as \"url\""),
        (r#"{"output":[{"type":"../x","url":"Patient.000"}]}"#.into(), "no resource type"),
    ] {
        let refused = read(&dir, &text).unwrap_err();
        assert!(refused.contains(reason), "{text}: {refused}");
    }
}

#[test]
fn a_line_of_another_type_is_refused_with_its_place() {
    let dir = folder();
    let file = dir.path().join("in/Patient.000");
    fs::write(&file, format!("{PATIENT}\n\n{{\"resourceType\":\"Basic\",\"id\":\"b\"}}\nnot json\n")).unwrap();
    let inputs = read(&dir, &import("Patient.000")).unwrap().inputs();
    assert!(matches!(&inputs[..], [Input::OfType { .. }]));
    let mut seen = Vec::new();
    for item in Source::of(&inputs[0], None).unwrap() {
        let SourceItem::Record(raw) = item else { panic!("{item:?}") };
        assert_eq!(raw.file().file_name(), Path::new("Patient.000").file_name());
        seen.push((raw.line(), Record::parse(raw).map(|r| r.identity())));
    }
    assert_eq!(seen[0], (1, Ok("Patient/p".into())));
    assert_eq!(seen[1], (3, Err(RecordError::OtherType { found: "Basic".into(), expected: "Patient".into() })));
    assert!(matches!(seen[2], (4, Err(RecordError::Json { .. }))));
}
