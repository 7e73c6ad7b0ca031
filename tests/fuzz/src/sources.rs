//! What comes from files: resources, tables, bundles, key files.

use std::path::{Path, PathBuf};

use sealdex_fhir::{Mapping, Record, Source, SourceItem};

use crate::{first, questions::SCHEMA};

pub(crate) const OBSERVATION: &[u8] = br#"{"resourceType":"Observation","id":"o1","status":"final","code":{"coding":[{"system":"http://loinc.org","code":"4548-4"}]},"subject":{"reference":"Patient/p"},"effectiveDateTime":"2024-02-29T10:00:00+01:00","valueQuantity":{"value":6.50,"unit":"%"}}"#;
const PATIENT: &[u8] = br#"{"resourceType":"Patient","id":"p","gender":"female","birthDate":"1970-01","name":[{"family":"M\u00fcller","given":["Ana"]}]}"#;

/// Whatever comes as a resource: read, validated, indexed, and asked whose it is.
pub(crate) fn resource(data: &[u8]) {
    let Ok(record) = Record::from_bytes(data.to_vec()) else { return };
    assert_eq!(record.bytes, data, "a record is not its bytes");
    let _ = sealdex_r4::validate(&record.json);
    let _ = SCHEMA.index(&record.resource_type, &record.id, &record.json);
    let _ = SCHEMA.owner(&record.resource_type, &record.id, &record.json);
}

pub(crate) fn resource_seeds() -> Vec<Vec<u8>> {
    vec![OBSERVATION.to_vec(), PATIENT.to_vec()]
}

/// A folder for one input; in memory, if the system has such a place.
pub(crate) fn file(name: &str, bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

/// Every line or entry is a record or refused, none is more than the file, and all of them end.
fn read(path: &Path, mapping: Option<&Mapping>, bytes: usize) {
    let Ok(source) = Source::open(path, mapping) else { return };
    let mut items = 0;
    for item in source {
        items += 1;
        if let SourceItem::Record(raw) = item {
            let _ = Record::parse(raw);
        }
        assert!(items <= bytes + 2, "a file has more records than bytes");
    }
}

/// Files: the first byte picks the kind.
pub(crate) fn sources(data: &[u8]) {
    let (what, rest) = first(data);
    match what % 4 {
        0 => {
            let (_folder, path) = file("a.ndjson", rest);
            read(&path, None, rest.len());
        }
        1 => {
            let (_folder, path) = file("a.json", rest);
            read(&path, None, rest.len());
        }
        2 => {
            let mapping = "record_type = \"T\"\nid = \"a\"\nowner = \"b\"\nmissing = [\"\"]\nnumbers = [\"c\"]\n";
            let mapping = Mapping::parse(mapping).unwrap();
            let (_folder, path) = file("a.csv", rest);
            read(&path, Some(&mapping), rest.len());
        }
        _ => {
            let (_folder, path) = file("a.key", rest);
            let _ = sealdex_keyfile::inspect(&path);
            assert!(
                sealdex_keyfile::read(&path, "member", None).map_or(true, |secret| secret.len() <= rest.len()),
                "a key file holds more than it has bytes"
            );
        }
    }
}

pub(crate) fn source_seeds() -> Vec<Vec<u8>> {
    let tagged = |what: u8, bytes: &[u8]| [vec![what], bytes.to_vec()].concat();
    let lines = [OBSERVATION, b"\n", PATIENT, b"\n"].concat();
    let bundle = [
        br#"{"resourceType":"Bundle","type":"collection","entry":[{"resource":"#.as_slice(),
        OBSERVATION,
        br#"},{"resource":"#,
        PATIENT,
        b"}]}",
    ]
    .concat();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.key");
    sealdex_keyfile::write(&path, "member", br#"{"a":1}"#, None).unwrap();
    let key = std::fs::read(path).unwrap();
    vec![
        tagged(0, &lines),
        tagged(1, &bundle),
        tagged(1, PATIENT),
        tagged(2, b"a,b,c,d\n1,2,3,\"x, y\"\n2,,?,z\n"),
        tagged(3, &key),
    ]
}
