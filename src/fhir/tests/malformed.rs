//! Reading what is malformed: refused with its place, never fatal, never silent.
#![allow(clippy::unwrap_used)] // a test stops where it cannot go on

use std::{fs, path::Path};

use sealdex_fhir::{Mapping, Record, RejectReason, Source, SourceError, SourceItem};
use tempfile::TempDir;

/// What a source yields, in short: the record's bytes, or what is wrong and where.
#[derive(Debug, PartialEq)]
enum Seen {
    Record(String),
    Rejected(u64, RejectReason),
    PassedOver(String),
}

fn read(path: &Path, mapping: Option<&Mapping>) -> Vec<Seen> {
    let short = |item| match item {
        SourceItem::Record(raw) => Seen::Record(String::from_utf8(Record::parse(raw).unwrap().bytes).unwrap()),
        SourceItem::Rejected(line) => Seen::Rejected(line.line, line.reason),
        SourceItem::PassedOver { file, .. } => Seen::PassedOver(file.file_name().unwrap().to_str().unwrap().to_owned()),
    };
    Source::open(path, mapping).unwrap().map(short).collect()
}

fn file(name: &str, content: impl AsRef<[u8]>) -> (TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    fs::write(&path, content).unwrap();
    (dir, path)
}

fn record(json: &str) -> Seen {
    Seen::Record(json.to_owned())
}

#[test]
fn malformed_bundles_are_rejected_not_fatal() {
    let bundle = r#"{"resourceType":"Bundle","entry":[1,"x",null,[],{},{"resource":5},{"resource":{"resourceType":"Patient"}},
        {"resource":{"resourceType":"Patient","id":"ok"}}]}"#;
    let (_dir, path) = file("b.json", bundle);
    let seen = read(&path, None);
    assert_eq!(seen.len(), 8);
    assert!(seen[..7].iter().all(|s| matches!(s, Seen::Rejected(_, RejectReason::Entry(_)))), "{seen:?}");
    let (_dir, path) = file("b.json", r#"{"resourceType":"Bundle","entry":{"resource":{}}}"#);
    assert!(matches!(read(&path, None)[..], [Seen::Rejected(0, RejectReason::Entry(_))]));
    let (_dir, path) = file("b.json", "{\n\"resourceType\":");
    assert!(matches!(read(&path, None)[..], [Seen::Rejected(2, RejectReason::Json(_))]));
}

#[test]
fn files_without_records_are_passed_over_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    let patient = r#"{"id":"a","resourceType":"Patient"}"#;
    put("MANIFEST.json", r#"{"set":"x"}"#);
    put("empty.json", r#"{"resourceType":"Bundle","type":"collection"}"#);
    put("notes.txt", "hello");
    put("one.json", patient);
    put("table.csv", "a,b\n1,2\n");
    fs::create_dir(dir.path().join("sub")).unwrap();
    put("sub/p.ndjson", patient);
    let passed = |name: &str| Seen::PassedOver(name.to_owned());
    assert_eq!(
        read(dir.path(), None),
        [
            passed("MANIFEST.json"),
            passed("empty.json"),
            passed("notes.txt"),
            record(patient),
            record(patient),
            passed("table.csv")
        ]
    );
}

#[cfg(unix)]
#[test]
fn a_folder_that_links_to_itself_is_read_once() {
    let (dir, _path) = file("p.ndjson", r#"{"id":"a","resourceType":"Patient"}"#);
    std::os::unix::fs::symlink(dir.path(), dir.path().join("loop")).unwrap();
    let seen = read(dir.path(), None);
    assert_eq!(seen.iter().filter(|s| matches!(s, Seen::Record(_))).count(), 1);
    assert!(seen.contains(&Seen::PassedOver("loop".into())));
}

fn mapping() -> Mapping {
    Mapping::parse("record_type=\"Stay\"\nid=\"nr\"\nowner=\"pat\"\nmissing=[\"\",\"?\"]\nnumbers=[\"days\"]\n")
        .unwrap()
}

#[test]
fn headers_that_would_overwrite_a_record_are_refused() {
    let open = |header: &str, mapping: &Mapping| {
        let (_dir, path) = file("t.csv", format!("{header}\n"));
        Source::open(&path, Some(mapping)).map(|_| ())
    };
    for header in ["nr,pat,days,subject", "nr,pat,days,id", "nr,pat,days,resourceType", "nr,pat,days,nr"] {
        assert!(matches!(open(header, &mapping()), Err(SourceError::Header { .. })), "{header}");
    }
    assert!(matches!(open("nr,days", &mapping()), Err(SourceError::Column { column, .. }) if column == "pat"));
    let by_id = Mapping { id: "id".into(), ..mapping() };
    assert!(open("id,pat,days", &by_id).is_ok());
}
