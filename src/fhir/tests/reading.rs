//! Reading: bytes stay as they were, references meet, and whatever is not a record is said.
#![allow(clippy::unwrap_used)] // a test stops where it cannot go on

use std::{fs, io::Write as _, path::Path};

use sealdex_fhir::{Mapping, Record, RejectReason, Source, SourceError, SourceItem};
use sealdex_schema::{Owner, Schema};
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
fn lines_keep_their_bytes() {
    let one = r#"{"resourceType":"Patient",  "id":"a", "n": 1.50, "s":"\u00e9"}"#;
    let two = r#"{"resourceType":"Patient","id":"b"}"#;
    let (_dir, path) = file("p.ndjson", format!("\u{feff}{one}\r\n\n   \n{two}"));
    assert_eq!(read(&path, None), [record(one), record(two)]);
}

#[test]
fn an_over_long_line_is_rejected_and_the_next_one_read() {
    let two = r#"{"resourceType":"Patient","id":"b"}"#;
    let (_dir, path) = file("p.ndjson", format!("{}\n{two}\n", "x".repeat((16 << 20) + 1)));
    assert_eq!(read(&path, None), [Seen::Rejected(1, RejectReason::LineTooLong(16 << 20)), record(two)]);
}

#[test]
fn references_inside_a_bundle_become_type_and_id() {
    let bundle = r##"{"resourceType":"Bundle","type":"transaction","entry":[
        {"fullUrl":"urn:uuid:11","resource":{"resourceType":"Patient","id":"p1"}},
        {"fullUrl":"urn:uuid:22","resource":{"resourceType":"Observation",
            "subject":{"reference":"urn:uuid:11"},"focus":[{"reference":"urn:uuid:99"}],"valueQuantity":{"value":1.10}}}]}"##;
    let (_dir, path) = file("b.json", bundle);
    let seen = read(&path, None);
    let Seen::Record(observation) = &seen[1] else { panic!("{seen:?}") };
    let json: serde_json::Value = serde_json::from_str(observation).unwrap();
    assert_eq!(json["subject"]["reference"], "Patient/p1");
    assert_eq!(json["focus"][0]["reference"], "urn:uuid:99", "what is not in the Bundle stays as it is");
    assert_eq!(json["id"], "22", "an entry without id takes its fullUrl's");
    assert!(observation.contains("1.10"), "numbers keep their text");
    let owner = Schema::fhir_r4().owner("Observation", "22", &json);
    assert_eq!(owner, Ok(Owner::Patient("Patient/p1".into())));
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
fn rows_become_records_and_bad_rows_are_named() {
    let text = "nr,pat,days,diag\n1,7,3.50,250.83\n2,7,?,?\n3,7,1\n4,?,1,x\n5 5,7,1,x\n6,7,three,x\n";
    let good = [
        r#"{"resourceType":"Stay","id":"1","subject":{"reference":"Patient/7"},"nr":"1","pat":"7","days":3.50,"diag":"250.83"}"#,
        r#"{"resourceType":"Stay","id":"2","subject":{"reference":"Patient/7"},"nr":"2","pat":"7"}"#,
    ];
    let wanted = [
        record(good[0]),
        record(good[1]),
        Seen::Rejected(4, RejectReason::Cells { found: 3, expected: 4 }),
        Seen::Rejected(5, RejectReason::Missing("pat".into())),
        Seen::Rejected(6, RejectReason::Id("nr".into())),
        Seen::Rejected(7, RejectReason::Number("days".into())),
    ];
    let (_dir, path) = file("t.csv", text);
    assert_eq!(read(&path, Some(&mapping())), wanted);
    let dir = tempfile::tempdir().unwrap();
    let zipped = dir.path().join("t.csv.gz");
    let mut gz = flate2::write::GzEncoder::new(fs::File::create(&zipped).unwrap(), flate2::Compression::fast());
    gz.write_all(text.as_bytes()).unwrap();
    gz.finish().unwrap();
    assert_eq!(read(&zipped, Some(&mapping())), wanted);
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
