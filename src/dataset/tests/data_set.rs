//! Properties of generated data sets, checked on the files as a reader sees them.

#![allow(clippy::unwrap_used)] // a test that cannot go on should stop where it is

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs,
    path::{Path, PathBuf},
};

use sealdex_dataset::{DatasetError, GENERATOR, MANIFEST, Manifest, Settings, generate};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Types that may lie in several hospitals.
const SHARED: [&str; 3] = ["Patient", "Organization", "Practitioner"];

/// One line of a file.
struct Line {
    hospital: String,
    text: String,
    value: Value,
}

impl Line {
    fn kind(&self) -> &str {
        self.value["resourceType"].as_str().unwrap()
    }

    fn key(&self) -> String {
        format!("{}/{}", self.kind(), self.value["id"].as_str().unwrap())
    }
}

fn made(patients: u32, providers: u32, seed: u64) -> (tempfile::TempDir, Manifest) {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings { patients, providers, seed, ..Settings::default() };
    let manifest = generate(&settings, dir.path(), &mut |_| ()).unwrap();
    (dir, manifest)
}

/// All files below `root`, by path relative to it.
fn files(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut out = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                out.insert(path.strip_prefix(root).unwrap().to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    out
}

fn digest(files: &BTreeMap<PathBuf, Vec<u8>>) -> String {
    let mut h = Sha256::new();
    for (path, bytes) in files {
        h.update(path.to_str().unwrap().replace('\\', "/"));
        h.update((bytes.len() as u64).to_be_bytes());
        h.update(bytes);
    }
    h.finalize().iter().map(|b| format!("{b:02x}")).collect()
}

/// Every line of every file; fails on one that is not JSON or lies in the wrong file.
fn lines(root: &Path) -> Vec<Line> {
    let mut out = Vec::new();
    for (path, bytes) in files(root) {
        if path == Path::new(MANIFEST) {
            continue;
        }
        let hospital = path.parent().unwrap().to_str().unwrap().to_owned();
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.ends_with('\n'), "{} ends within a line", path.display());
        for line in text.lines() {
            let value: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{}: {e}: {line}", path.display()));
            assert_eq!(value["resourceType"].as_str(), path.file_stem().unwrap().to_str());
            out.push(Line { hospital: hospital.clone(), text: line.to_owned(), value });
        }
    }
    out
}

/// Calls `found` with every `reference` in `value`.
fn references(value: &Value, found: &mut dyn FnMut(&str)) {
    match value {
        Value::Object(fields) => {
            for (key, field) in fields {
                match field.as_str() {
                    Some(text) if key == "reference" => found(text),
                    _ => references(field, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|i| references(i, found)),
        _ => {}
    }
}

fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets/sample")
}

#[test]
fn a_seed_stands_for_the_same_bytes_everywhere() {
    let (a, _) = made(12, 4, 42);
    let (b, _) = made(12, 4, 42);
    assert_eq!(files(a.path()), files(b.path()));
    let (c, _) = made(12, 4, 43);
    assert_ne!(digest(&files(a.path())), digest(&files(c.path())));
    // Changes only together with `GENERATOR`.
    assert_eq!(GENERATOR, 1);
    assert_eq!(digest(&files(a.path())), "84730154a7f78083b1f6fd9e99b84e7bd88daa53061c7fb9847a97a3613b6049");
}

#[test]
fn the_committed_sample_is_what_the_defaults_make() {
    let dir = tempfile::tempdir().unwrap();
    generate(&Settings::default(), dir.path(), &mut |_| ()).unwrap();
    let (fresh, committed) = (files(dir.path()), files(&sample()));
    assert_eq!(fresh.keys().collect::<Vec<_>>(), committed.keys().collect::<Vec<_>>());
    for (path, bytes) in &fresh {
        assert!(committed[path] == *bytes, "datasets/sample/{} is out of date: see datasets/README.md", path.display());
    }
    assert!(committed.values().map(Vec::len).sum::<usize>() < 1_500_000);
}

#[test]
fn a_patient_does_not_depend_on_how_many_follow() {
    let (few, _) = made(3, 2, 5);
    let (many, _) = made(9, 2, 5);
    let ids = |dir: &Path| lines(dir).iter().map(Line::key).collect::<HashSet<_>>();
    let (few, many) = (ids(few.path()), ids(many.path()));
    assert!(few.is_subset(&many) && few.len() < many.len());
}

#[test]
fn references_resolve_within_the_hospital() {
    let (dir, _) = made(60, 4, 2);
    let lines = lines(dir.path());
    let there: HashSet<(&str, String)> = lines.iter().map(|l| (l.hospital.as_str(), l.key())).collect();
    let mut checked = 0;
    for line in &lines {
        references(&line.value, &mut |r| {
            checked += 1;
            assert!(there.contains(&(line.hospital.as_str(), r.to_owned())), "{} refers to {r}", line.key());
        });
    }
    assert!(checked > lines.len());
}

#[test]
fn ids_are_valid_and_clinical_ones_lie_in_one_hospital() {
    let (dir, _) = made(60, 4, 3);
    let lines = lines(dir.path());
    let mut seen: HashMap<String, &Line> = HashMap::new();
    for line in &lines {
        let id = line.value["id"].as_str().unwrap();
        assert!(id.len() <= 64 && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'), "{id}");
        if let Some(other) = seen.insert(line.key(), line) {
            assert!(SHARED.contains(&line.kind()), "{} is in {} and {}", line.key(), line.hospital, other.hospital);
            assert_ne!(line.hospital, other.hospital, "{} is twice in one file", line.key());
            assert_eq!(line.text, other.text, "{} differs between hospitals", line.key());
        }
    }
}

#[test]
fn what_belongs_together_is_about_one_patient() {
    let (dir, _) = made(40, 4, 4);
    let lines = lines(dir.path());
    let subject =
        |v: &Value| v.get("subject").or(v.get("patient")).map(|s| s["reference"].as_str().unwrap().to_owned());
    let of: HashMap<String, Option<String>> = lines.iter().map(|l| (l.key(), subject(&l.value))).collect();
    for line in lines.iter().filter(|l| !SHARED.contains(&l.kind())) {
        let own = subject(&line.value);
        assert!(own.is_some(), "{} is about nobody", line.key());
        references(&line.value, &mut |r| {
            if !SHARED.iter().any(|kind| r.starts_with(kind)) {
                assert_eq!(of[r], own, "{} and {r} are about different patients", line.key());
            }
        });
    }
}

#[test]
fn about_a_third_of_the_patients_go_to_several_hospitals() {
    let settings = Settings {
        patients: 600,
        resources_per_patient: sealdex_dataset::ResourcesPerPatient { min: 20, max: 40 },
        ..Settings::default()
    };
    let dir = tempfile::tempdir().unwrap();
    let manifest = generate(&settings, dir.path(), &mut |_| ()).unwrap();
    let several = manifest.patients_by_hospitals[&2] + manifest.patients_by_hospitals[&3];
    assert!((150..=210).contains(&several), "{several} of 600");
    let mut hospitals: BTreeMap<String, u32> = BTreeMap::new();
    let mut born_before_1920 = HashSet::new();
    for line in lines(dir.path()).iter().filter(|l| l.kind() == "Patient") {
        *hospitals.entry(line.key()).or_default() += 1;
        if line.value["birthDate"].as_str().unwrap() < "1920" {
            born_before_1920.insert(line.key());
        }
    }
    assert_eq!(hospitals.values().filter(|n| **n > 1).count() as u64, several);
    assert_eq!((hospitals.len(), born_before_1920.len()), (600, 30));
}

#[test]
fn every_patient_has_about_as_much_as_asked_for() {
    let (dir, manifest) = made(40, 4, 6);
    let lines = lines(dir.path());
    let mut counts: HashMap<&str, u32> = HashMap::new();
    for line in &lines {
        if let Some(subject) = line.value.get("subject").or(line.value.get("patient")) {
            *counts.entry(subject["reference"].as_str().unwrap()).or_default() += 1;
        }
    }
    assert_eq!(counts.len(), 40);
    // The longest visit is a stay; it is not cut short.
    assert!(counts.values().all(|n| (120..=280).contains(n)), "{counts:?}");
    assert_eq!(manifest.resources, lines.len() as u64);
}

#[test]
fn the_manifest_counts_what_is_there() {
    let (dir, manifest) = made(15, 3, 7);
    let read: Manifest = serde_json::from_slice(&fs::read(dir.path().join(MANIFEST)).unwrap()).unwrap();
    assert_eq!(read, manifest);
    let mut counts: BTreeMap<(String, String), u64> = BTreeMap::new();
    let mut bytes = 0;
    for line in lines(dir.path()) {
        bytes += line.text.len() as u64 + 1;
        *counts.entry((line.hospital.clone(), line.kind().to_owned())).or_default() += 1;
    }
    let told: BTreeMap<_, _> = manifest
        .hospitals
        .iter()
        .flat_map(|h| h.resources.iter().map(|(kind, n)| ((h.name.clone(), kind.clone()), *n)))
        .collect();
    assert_eq!((told, manifest.bytes), (counts, bytes));
}

#[test]
fn values_and_dates_are_plausible() {
    let (dir, _) = made(150, 5, 8);
    let ranges = HashMap::from([
        ("4548-4", (4.0, 14.01)),
        ("2339-0", (55.0, 420.01)),
        ("18262-6", (30.0, 270.01)),
        ("39156-5", (9.0, 60.0)),
        ("38483-4", (0.3, 7.51)),
        ("33914-3", (6.0, 150.01)),
        ("2947-0", (122.0, 158.01)),
        ("8867-4", (38.0, 185.01)),
        ("29463-7", (2.0, 220.0)),
        ("8302-2", (45.0, 210.0)),
        ("72514-3", (0.0, 10.0)),
    ]);
    let (mut units, mut long, mut bare, mut checked) = (HashSet::new(), 0, 0, 0);
    for line in lines(dir.path()).iter().filter(|l| l.kind() == "Observation") {
        let code = line.value["code"]["coding"][0]["code"].as_str().unwrap();
        let day = &line.value["effectiveDateTime"].as_str().unwrap()[..10];
        assert!(("2012-01-01"..="2025-07-01").contains(&day), "{day}");
        if let Some(quantity) = line.value.get("valueQuantity") {
            let text = quantity["value"].to_string();
            long += usize::from(text.split('.').nth(1).is_some_and(|fraction| fraction.len() >= 12));
            if let Some((low, high)) = ranges.get(code) {
                let value: f64 = text.parse().unwrap();
                assert!((*low..=*high).contains(&value), "{code} is {value}");
                checked += 1;
            }
            if code == "33914-3" {
                units.insert(quantity["unit"].as_str().unwrap().to_owned());
            }
        }
        if code == "55284-4" {
            let component = |i: usize| &line.value["component"][i];
            let value = |i| component(i)["valueQuantity"]["value"].to_string().parse::<f64>().unwrap();
            assert_eq!(component(0)["code"]["coding"][0]["code"], "8462-4");
            assert!(38.0 <= value(0) && value(0) < value(1) && value(1) < 231.0);
            bare += usize::from(component(1)["valueQuantity"].get("unit").is_none());
        }
    }
    assert!(units.len() == 2 && long > 1000 && bare > 50 && checked > 5000, "{units:?} {long} {bare} {checked}");
}

#[test]
fn diabetics_have_a_higher_hba1c() {
    let (dir, _) = made(200, 3, 9);
    let lines = lines(dir.path());
    let code = |l: &Line| l.value["code"]["coding"][0]["code"].as_str().map(str::to_owned);
    let subject = |l: &Line| l.value["subject"]["reference"].as_str().unwrap().to_owned();
    let diabetics: HashSet<String> = lines
        .iter()
        .filter(|l| l.kind() == "Condition" && code(l).as_deref() == Some("44054006"))
        .map(subject)
        .collect();
    let mean = |diabetic: bool| {
        let values: Vec<f64> = lines
            .iter()
            .filter(|l| l.kind() == "Observation" && code(l).as_deref() == Some("4548-4"))
            .filter(|l| diabetics.contains(&subject(l)) == diabetic)
            .map(|l| l.value["valueQuantity"]["value"].to_string().parse().unwrap())
            .collect();
        assert!(values.len() > 50);
        values.iter().sum::<f64>() / values.len() as f64
    };
    assert!(mean(true) > mean(false) + 1.0, "{} and {}", mean(true), mean(false));
}

#[test]
fn progress_is_told_and_a_folder_in_use_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings { patients: 4, ..Settings::default() };
    let mut seen = Vec::new();
    generate(&settings, &dir.path().join("new/set"), &mut |n| seen.push(n)).unwrap();
    assert_eq!(seen, [1, 2, 3, 4]);
    let again = generate(&settings, &dir.path().join("new/set"), &mut |_| ());
    assert_eq!(again, Err(DatasetError::NotEmpty { path: dir.path().join("new/set") }));
    let bad = Settings { providers: 0, ..settings };
    assert!(matches!(generate(&bad, &dir.path().join("bad"), &mut |_| ()), Err(DatasetError::Settings(_))));
    assert!(!dir.path().join("bad").exists());
}

/// The demo's queries ask for codes, sources and units that the sample has.
#[test]
fn the_demo_queries_fit_the_sample() {
    let suite = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../queries/demo.json")).unwrap();
    let suite: Value = serde_json::from_slice(&suite).unwrap();
    let all: String = files(&sample()).into_values().map(|b| String::from_utf8(b).unwrap()).collect();
    let queries = suite["queries"].as_array().unwrap();
    assert!(queries.len() >= 8);
    let mut ids = HashSet::new();
    for query in queries {
        assert!(ids.insert(query["id"].as_str().unwrap()));
        assert!(
            sample().join("northgate-general").join(format!("{}.ndjson", query["resource"].as_str().unwrap())).exists()
        );
        tokens(query, &mut |field, wanted| {
            let (system, code) = wanted.split_once('|').unwrap_or(("", wanted));
            let there = match field {
                "source" => sample().join(wanted).is_dir(),
                "token" => all.contains(&format!("\"system\":\"{system}\",\"code\":\"{code}\"")),
                "code" => all.contains(&format!("\"code\":\"{code}\"")),
                "unit" => all.contains(&format!("\"unit\":\"{code}\"")),
                _ => true,
            };
            assert!(there, "no {field} {wanted} in the sample");
        });
    }
}

fn tokens(value: &Value, found: &mut dyn FnMut(&str, &str)) {
    match value {
        Value::Object(fields) => {
            if let (Some(field), Some(wanted)) =
                (value.get("field").and_then(Value::as_str), value.get("value").and_then(Value::as_str))
            {
                found(field, wanted);
            }
            fields.values().for_each(|v| tokens(v, found));
        }
        Value::Array(items) => items.iter().for_each(|i| tokens(i, found)),
        _ => {}
    }
}
