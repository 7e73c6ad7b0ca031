//! Reading sources: what is a record comes whole, what is none is said with its place.
#![allow(clippy::unwrap_used)] // a test stops where it cannot go on

use std::{fs, io::Write as _, path::Path};

use sealdex_fhir::{Mapping, Record, RejectReason, Source, SourceError, SourceItem};

fn read(path: &Path, mapping: Option<&Mapping>) -> (Vec<Record>, Vec<(u64, RejectReason)>, usize) {
    let (mut records, mut rejected, mut passed) = (Vec::new(), Vec::new(), 0);
    for item in Source::open(path, mapping).unwrap() {
        match item {
            SourceItem::Record(raw) => records.push(Record::parse(raw).unwrap()),
            SourceItem::Rejected(line) => rejected.push((line.line, line.reason)),
            SourceItem::PassedOver { .. } => passed += 1,
        }
    }
    (records, rejected, passed)
}

#[test]
fn ndjson_lines_keep_their_bytes_and_an_overlong_one_does_not_end_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.ndjson");
    let first = "{ \"resourceType\" : \"Basic\",\"id\":\"1\", \"v\": 1.2300 }";
    let long = "x".repeat((16 << 20) + 10);
    fs::write(&path, format!("\u{feff}{first}\r\n\n{long}\n{{\"resourceType\":\"Basic\",\"id\":\"2\"}}")).unwrap();
    let (records, rejected, _) = read(&path, None);
    assert_eq!(records[0].bytes, first.as_bytes(), "spaces, order and zeros as they were");
    assert_eq!(records[1].id, "2");
    assert_eq!(rejected, [(3, RejectReason::LineTooLong(16 << 20))]);
}

#[test]
fn bundles_resolve_their_own_references() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("b.json");
    let bundle = r#"{"resourceType":"Bundle","type":"transaction","entry":[
        {"fullUrl":"urn:uuid:p-1","resource":{"resourceType":"Patient","id":"p-1"}},
        {"fullUrl":"urn:uuid:o-1","resource":{"resourceType":"Observation","subject":{"reference":"urn:uuid:p-1"},
            "valueQuantity":{"value" : 7.00,"low":1.0E-22},"note":[{"text":"urn:uuid:p-1"}],"hasMember":[{"reference":"urn:uuid:elsewhere"}]}},
        {"fullUrl":"urn:uuid:x y","resource":{"resourceType":"Basic"}},
        {"request":{}}]}"#;
    fs::write(&path, bundle).unwrap();
    let (records, rejected, _) = read(&path, None);
    assert_eq!(records.len(), 2);
    let o = &records[1].json;
    assert_eq!((records[1].id.as_str(), o["subject"]["reference"].as_str()), ("o-1", Some("Patient/p-1")));
    assert_eq!(o["note"][0]["text"], "urn:uuid:p-1", "only references are rewritten");
    assert_eq!(o["hasMember"][0]["reference"], "urn:uuid:elsewhere");
    let text = String::from_utf8_lossy(&records[1].bytes);
    assert!(text.contains("{\"value\":7.00,\"low\":1.0E-22}"), "numbers keep their text: {text}");
    assert!(text.ends_with(",\"id\":\"o-1\"}"), "{text}");
    assert_eq!(rejected.iter().map(|r| r.0).collect::<Vec<_>>(), [3, 4]);

    fs::write(&path, "{\"resourceType\":\n\"Bundle\",,}").unwrap();
    let (_, rejected, _) = read(&path, None);
    assert!(matches!(&rejected[..], [(2, RejectReason::Json(_))]));
}

/// Kilobytes of gzip that hold one row of a gigabyte, in the header or after it.
#[test]
fn a_table_that_unpacks_to_one_endless_row_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let mapping = Mapping::parse("record_type = \"Stay\"\nid = \"stay\"\nowner = \"who\"").unwrap();
    let path = dir.path().join("bomb.csv.gz");
    for (header, endless) in [("stay,who\n1,\"", b'\n'), ("stay,who\n1,", b'a'), ("", b'a')] {
        let mut gz = flate2::write::GzEncoder::new(fs::File::create(&path).unwrap(), flate2::Compression::fast());
        gz.write_all(header.as_bytes()).unwrap();
        let row = vec![endless; 1 << 20];
        (0..64).for_each(|_| gz.write_all(&row).unwrap());
        gz.finish().unwrap();
        assert!(fs::metadata(&path).unwrap().len() < 1 << 20);
        match Source::open(&path, Some(&mapping)) {
            Err(e) => assert!(e.to_string().contains("longer than") && header.is_empty(), "{e}"),
            Ok(source) => {
                let items: Vec<SourceItem> = source.collect();
                let [SourceItem::Rejected(only)] = items.as_slice() else { panic!("{} items", items.len()) };
                assert!(only.reason.to_string().contains("longer than"), "{:?}", only.reason);
            }
        }
    }
}

#[test]
fn tables_by_a_mapping() {
    let dir = tempfile::tempdir().unwrap();
    let mapping = Mapping::parse(
        "record_type = \"Stay\"\nid = \"stay\"\nowner = \"who\"\nmissing = [\"?\", \"\"]\nnumbers = [\"days\"]",
    )
    .unwrap();
    let table =
        "\u{feff}stay,who,days,text\n1,7,3.50,\"a, \"\"b\"\"\"\r\n2,?,1,x\n3,7,many,x\n4,7,1\n5/6,7,1,x\n7,8,?,?\n";
    let path = dir.path().join("t.csv.gz");
    let mut gz = flate2::write::GzEncoder::new(fs::File::create(&path).unwrap(), flate2::Compression::fast());
    gz.write_all(table.as_bytes()).unwrap();
    gz.finish().unwrap();
    let (records, rejected, _) = read(&path, Some(&mapping));
    assert_eq!(
        String::from_utf8_lossy(&records[0].bytes),
        r#"{"resourceType":"Stay","id":"1","subject":{"reference":"Patient/7"},"stay":"1","who":"7","days":3.50,"text":"a, \"b\""}"#
    );
    assert!(records[1].json.get("days").is_none() && records.len() == 2, "missing cells are left out");
    let expected = [
        RejectReason::Missing("who".into()),
        RejectReason::Number("days".into()),
        RejectReason::Cells { found: 3, expected: 4 },
        RejectReason::Id("stay".into()),
    ];
    assert_eq!(rejected.into_iter().map(|r| r.1).collect::<Vec<_>>(), expected);

    assert!(matches!(Source::open(&path, None), Err(SourceError::NoMapping(_))));
    let other = dir.path().join("other.csv");
    fs::write(&other, "a,b\n1,2\n").unwrap();
    assert!(
        matches!(Source::open(&other, Some(&mapping)), Err(SourceError::Column { column, .. }) if column == "stay")
    );
    let (_, _, passed) = read(dir.path(), Some(&mapping));
    assert_eq!(passed, 1, "in a folder it is passed over, and said");
}

#[test]
fn other_files_are_named_not_dropped() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("readme.txt"), "x").unwrap();
    fs::write(dir.path().join("MANIFEST.json"), "{\"set\":1}").unwrap();
    fs::create_dir(dir.path().join("deep")).unwrap();
    fs::write(dir.path().join("deep/z.ndjson"), "{\"resourceType\":\"Basic\",\"id\":\"1\"}\n").unwrap();
    let (records, rejected, passed) = read(dir.path(), None);
    assert_eq!((records.len(), rejected.len(), passed), (1, 0, 2));
    assert!(matches!(Source::open(&dir.path().join("readme.txt"), None), Err(SourceError::Kind(_))));
    assert!(matches!(Source::open(&dir.path().join("nothing"), None), Err(SourceError::Io { .. })));
}
