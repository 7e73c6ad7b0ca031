//! Nothing readable reaches the cloud, and no sealed record reaches the gate: records full of canaries
//! are pushed and asked for through proxies that keep every byte.
#![allow(clippy::unwrap_used)] // a test stops where it cannot go on

use std::{collections::BTreeSet, path::Path, sync::Arc};

use base64::Engine as _;
use sealdex_client::{AskError, Session};
use sealdex_fhir::Suite;
use sealdex_schema::Quantiser;
use sealdex_tests::{
    Proxy, World,
    servers::{Place, free_port},
};
use serde_json::{Value as Json, json};

const HOSPITALS: [&str; 2] = ["zyqvault-clinic", "wexmoor-hospital"];
const READER: &str = "qadwell-reader";

/// Texts that occur nowhere by chance.
const TEXTS: [&str; 9] = [
    "Xylophagia",
    "Quorvinszky",
    "Brzęczyszczykiewicz",
    "zq-canary-patient-1",
    "zq-canary-code-77",
    "http://canary.example/codes",
    "canarium-unit",
    "MRN-7719-CANARY",
    "zq-canary-observation-1",
];
/// Numbers as they stand in the records.
const NUMBERS: [&str; 2] = ["48151.62342", "90817.26354"];
const INSTANT: &str = "2031-07-19T11:22:33Z";
const BIRTH: &str = "1907-03-29";

fn resources() -> Vec<Json> {
    let subject = json!({ "reference": "Patient/zq-canary-patient-1" });
    let code = json!({ "coding": [{ "system": "http://canary.example/codes", "code": "zq-canary-code-77", "display": "Xylophagia" }],
        "text": "Xylophagia acuta" });
    let quantity = |v: &str| json!({ "value": serde_json::from_str::<Json>(v).unwrap(), "unit": "canarium-unit" });
    vec![
        json!({ "resourceType": "Patient", "id": "zq-canary-patient-1", "gender": "female", "birthDate": BIRTH,
            "identifier": [{ "system": "http://canary.example/codes", "value": "MRN-7719-CANARY" }],
            "name": [{ "family": "Quorvinszky", "given": ["Brzęczyszczykiewicz"] }] }),
        json!({ "resourceType": "Observation", "id": "zq-canary-observation-1", "status": "final", "code": code, "subject": subject,
            "effectiveDateTime": INSTANT, "valueQuantity": quantity(NUMBERS[0]),
            "component": [{ "code": code, "valueQuantity": quantity(NUMBERS[1]) }] }),
        json!({ "resourceType": "Condition", "id": "zq-canary-condition-1", "code": code, "subject": subject, "onsetDateTime": INSTANT }),
        json!({ "resourceType": "Organization", "id": "zq-canary-organization", "name": "Quorvinszky Foundation" }),
    ]
}

const QUESTIONS: &str = r#"[
  {"resource":"Observation","filters":[{"field":"token","op":"eq","value":"http://canary.example/codes|zq-canary-code-77"},
     {"field":"value","op":"between","value":["48000","49000"]}]},
  {"resource":"Observation","filters":[{"field":"component[zq-canary-code-77].value","op":"gt","value":"90817.26353"}]},
  {"resource":"Observation","filters":[{"field":"token","op":"eq","value":"http://canary.example/codes|zq-canary-code-77"}],
     "topk":{"field":"value","k":1}},
  {"resource":"Observation","filters":[{"field":"date","op":"window","value":["2031-07-19T11:22:33Z","2031-07-19T11:22:34Z"]},
     {"field":"unit","op":"eq","value":"canarium-unit"},{"field":"source","op":"eq","value":"zyqvault-clinic"}]},
  {"resource":"Condition","filters":[{"field":"text","op":"word","value":"xylophagia"}]},
  {"resource":"Patient","filters":[{"field":"identifier","op":"eq","value":"http://canary.example/codes|MRN-7719-CANARY"},
     {"field":"birthDate","op":"between","value":["1907-03-28","1907-03-30"]},{"field":"family","op":"prefix","value":"quorv"},
     {"has":{"resource":"Condition","filters":[{"field":"text","op":"word","value":"xylophagia"}]}}]},
  {"resource":"Organization","filters":[{"field":"name","op":"word","value":"quorvinszky"}]}
]"#;

/// One text in every encoding it may hide in.
fn encodings(text: &str) -> Vec<(String, Vec<u8>)> {
    let mut out = Vec::new();
    let variants: BTreeSet<String> = [text.to_owned(), text.to_lowercase(), text.to_uppercase()].into();
    for t in variants {
        let raw = t.as_bytes().to_vec();
        out.push((format!("UTF-8 {t}"), raw.clone()));
        out.push((format!("UTF-16LE {t}"), t.encode_utf16().flat_map(u16::to_le_bytes).collect()));
        out.push((format!("UTF-16BE {t}"), t.encode_utf16().flat_map(u16::to_be_bytes).collect()));
        out.push((format!("hex {t}"), hex::encode(&raw).into_bytes()));
        out.push((format!("HEX {t}"), hex::encode_upper(&raw).into_bytes()));
        for (name, engine) in [
            ("base64", base64::engine::general_purpose::STANDARD_NO_PAD),
            ("base64url", base64::engine::general_purpose::URL_SAFE_NO_PAD),
        ] {
            for shift in 0..3 {
                // At each alignment, without the characters that depend on neighbours.
                let text = engine.encode([vec![0; shift], raw.clone()].concat());
                let (from, to) = (if shift == 0 { 0 } else { shift + 1 }, (shift + raw.len()) / 3 * 4);
                if to > from + 6 {
                    out.push((format!("{name} {t} at {shift}"), text.as_bytes()[from..to].to_vec()));
                }
            }
        }
    }
    out
}

/// A number in every form it may hide in: eight bytes, so that no find is chance.
fn number_encodings(name: &str, values: &[u64], floats: &[f64]) -> Vec<(String, Vec<u8>)> {
    let mut out = Vec::new();
    for v in values.iter().copied().chain(floats.iter().map(|f| f.to_bits())) {
        out.push((format!("{name} {v} LE"), v.to_le_bytes().to_vec()));
        out.push((format!("{name} {v} BE"), v.to_be_bytes().to_vec()));
    }
    out
}

fn canaries() -> Vec<(String, Vec<u8>)> {
    let mut out: Vec<_> = TEXTS.iter().flat_map(|t| encodings(t)).collect();
    for text in NUMBERS.into_iter().chain([INSTANT, BIRTH, "zq-canary-condition-1", "zq-canary-organization"]) {
        out.extend(encodings(text));
    }
    for number in NUMBERS {
        let decimal = sealdex_schema::Decimal::parse(number).unwrap();
        let q = Quantiser::Decimal7.decimal(&decimal).unwrap();
        out.extend(number_encodings(number, &[q], &[number.parse().unwrap()]));
    }
    let instant = sealdex_schema::Instant::parse(INSTANT).unwrap().seconds.unsigned_abs();
    out.extend(number_encodings(INSTANT, &[instant, instant * 1000, instant / 60, (1 << 31) + instant / 60], &[]));
    out.extend(number_encodings(BIRTH, &[sealdex_schema::date_to_day(BIRTH).unwrap().into()], &[]));
    out
}

fn found<'c>(canaries: &'c [(String, Vec<u8>)], bytes: &[u8]) -> Vec<&'c str> {
    let mut hits = Vec::new();
    for (name, needle) in canaries {
        if memmem(bytes, needle) {
            hits.push(name.as_str());
        }
    }
    hits
}

fn memmem(hay: &[u8], needle: &[u8]) -> bool {
    let first = needle[0];
    let mut at = 0;
    while let Some(next) = hay[at..].iter().position(|b| *b == first) {
        at += next;
        if hay[at..].starts_with(needle) {
            return true;
        }
        at += 1;
    }
    false
}

fn all_files(dir: &Path) -> Vec<u8> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        out.extend(if path.is_dir() { all_files(&path) } else { std::fs::read(&path).unwrap() });
    }
    out
}

struct Watched {
    world: World,
    gate: Proxy,
    cloud: Proxy,
}

async fn watched(home: &Path) -> Watched {
    let data = home.join("records");
    for hospital in HOSPITALS {
        let dir = data.join(hospital);
        std::fs::create_dir_all(&dir).unwrap();
        for r in resources() {
            let path = dir.join(format!("{}.ndjson", r["resourceType"].as_str().unwrap()));
            std::fs::write(path, format!("{r}\n")).unwrap();
        }
    }
    let ports = [free_port(), free_port()];
    let (gate, cloud) = (Proxy::start(ports[0]).await, Proxy::start(ports[1]).await);
    let roster = Some([gate.port, cloud.port]);
    let mut world = World::found(home, &data, &[READER], Place::Process, ports, roster).await;
    world.enrol_patients().await;
    world.grant_everything(READER).await;
    assert_eq!(world.push_all().await, 8);
    Watched { world, gate, cloud }
}

async fn ask_all(session: &Session) -> Result<Vec<usize>, AskError> {
    let mut counts = Vec::new();
    for doc in &Suite::parse(QUESTIONS, None).unwrap().queries {
        let answer = session.ask(doc).await?;
        counts.push(answer.hits.len());
        assert!(answer.hits.iter().all(|h| h.identity.contains("zq-canary")));
    }
    Ok(counts)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_canary_in_any_byte_of_the_cloud_and_no_record_at_the_gate() {
    let home = tempfile::tempdir().unwrap();
    let mut w = watched(home.path()).await;
    assert_eq!(ask_all(&w.world.session(READER)).await.unwrap(), [1; 7], "every question finds its canary");
    w.world.servers.stop_gate().await;
    w.world.servers.stop_cloud().await;

    let canaries = canaries();
    // The search works: it finds the canaries where they are, in the hospital's own input.
    let input = all_files(&home.path().join("records"));
    let there = found(&canaries, &input);
    for text in TEXTS.into_iter().chain(NUMBERS).chain([INSTANT, BIRTH]) {
        assert!(there.contains(&format!("UTF-8 {text}").as_str()), "{text} is in the input");
    }
    for (name, needle) in &canaries {
        assert!(memmem(&[b"..", needle.as_slice(), b".."].concat(), needle), "{name}");
    }

    let (gate, cloud) = (w.gate.captured(), w.cloud.captured());
    let on_disk = all_files(&w.world.servers.cloud_dir());
    assert!(on_disk.len() > 10_000 && cloud.requests.len() > 5_000 && cloud.responses.len() > 5_000);
    for (place, bytes) in [("disk", &on_disk), ("requests", &cloud.requests), ("responses", &cloud.responses)] {
        assert_eq!(found(&canaries, bytes), [""; 0], "in the cloud's {place}");
    }

    // Nobody's name reaches the cloud: no member's, no patient's, and the reader not even as a principal.
    let mut names: Vec<_> = HOSPITALS.into_iter().chain([READER]).flat_map(encodings).collect();
    let patient = w.world.owners["Patient/zq-canary-patient-1"].owner().id();
    for id in [patient, w.world.readers[READER].identity.id()] {
        names.push((format!("principal {id}"), id.0.to_vec()));
        names.push((format!("principal {id} in hex"), id.to_string().into_bytes()));
    }
    for (place, bytes) in [("disk", &on_disk), ("requests", &cloud.requests), ("responses", &cloud.responses)] {
        assert_eq!(found(&names, bytes), [""; 0], "in the cloud's {place}");
    }
    assert!(!found(&names, &gate.requests).is_empty(), "the gate does know who asks");

    // The gate sees no value, no field's name, no sealed record.
    let store = std::fs::read(w.world.servers.gate_store()).unwrap();
    let fields: Vec<_> =
        ["Observation.value", "Observation.component", "Patient.identifier", "birthDate", "#type", "#origin"]
            .into_iter()
            .flat_map(encodings)
            .collect();
    let sealed = sealed_windows(&cloud.responses, &cloud.requests);
    assert!(sealed.len() >= 24, "{} windows", sealed.len());
    for (place, bytes) in [("requests", &gate.requests), ("responses", &gate.responses), ("store", &store)] {
        assert_eq!(found(&canaries, bytes), [""; 0], "in the gate's {place}");
        assert_eq!(found(&fields, bytes), [""; 0], "in the gate's {place}");
        assert_eq!(found(&sealed, bytes), [""; 0], "in the gate's {place}");
    }
}

/// Windows of every sealed record that was uploaded: its first, middle and last 16 bytes. Taken from the
/// uploads, where CBOR has each after the key "sealed", and each must be in an upload.
fn sealed_windows(_responses: &[u8], requests: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut out = Vec::new();
    let key = b"\x66sealed";
    let mut at = 0;
    while let Some(next) = requests[at..].windows(key.len()).position(|w| w == key) {
        let start = at + next + key.len();
        let (len, head) = match requests[start] {
            0x58 => (usize::from(requests[start + 1]), 2),
            0x59 => (usize::from(u16::from_be_bytes([requests[start + 1], requests[start + 2]])), 3),
            other => panic!("a sealed record is a CBOR byte string, not {other:#x}"),
        };
        let record = &requests[start + head..start + head + len];
        for (name, from) in [("start", 0), ("middle", len / 2 - 8), ("end", len - 16)] {
            out.push((format!("{name} of a sealed record"), record[from..from + 16].to_vec()));
        }
        at = start + head + len;
    }
    out
}

/// A cloud that changes a sealed record on its way is found out: an error, never a record or a shorter answer.
#[tokio::test(flavor = "multi_thread")]
async fn tampering_on_the_way_is_an_error() {
    let home = tempfile::tempdir().unwrap();
    let w = watched(home.path()).await;
    let session = w.world.session(READER);
    let question = Suite::parse(QUESTIONS, None).unwrap().queries.remove(4);
    assert_eq!(session.ask(&question).await.unwrap().hits.len(), 1);
    let key: &[u8] = b"\x66sealed";
    let flip = move |bytes: &mut Vec<u8>| {
        if let Some(at) = bytes.windows(key.len()).position(|w| w == key) {
            let last = bytes.len() - 1;
            let target = (at + 40).min(last);
            bytes[target] ^= 1;
        }
    };
    w.cloud.tamper(Some(Arc::new(flip)));
    let refused = session.ask(&question).await.unwrap_err().to_string();
    assert!(refused.contains("the sealed bytes of record"), "{refused}");
    // Whoever does not look into the log notices it by the seal.
    let blind = w.world.session(READER).unverified();
    let refused = blind.ask(&question).await.unwrap_err().to_string();
    assert!(refused.contains("does not open"), "{refused}");
    // null in place of a sealed record: dropped.
    let drop_record = move |bytes: &mut Vec<u8>| {
        if let Some(at) = bytes.windows(key.len()).position(|w| w == key) {
            let first = at + key.len() + 1;
            let len = match bytes[first] {
                0x58 => 2 + usize::from(bytes[first + 1]),
                _ => 3 + usize::from(u16::from_be_bytes([bytes[first + 1], bytes[first + 2]])),
            };
            let removed = len - 1;
            bytes.splice(first..first + len, [0xf6]);
            let text = String::from_utf8_lossy(&bytes[..at]).to_lowercase();
            let length: usize =
                text.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap().parse().unwrap();
            let head = text.find("content-length: ").unwrap() + "content-length: ".len();
            let digits = format!("{:0width$}", length - removed, width = length.to_string().len());
            bytes[head..head + digits.len()].copy_from_slice(digits.as_bytes());
        }
    };
    w.cloud.tamper(Some(Arc::new(drop_record)));
    let refused = session.ask(&question).await.unwrap_err().to_string();
    assert!(refused.contains("no longer has record"), "{refused}");
    w.cloud.tamper(None);
    assert_eq!(session.ask(&question).await.unwrap().hits.len(), 1);
}
