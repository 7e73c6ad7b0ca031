//! Ways in: a Bulk Data manifest, a folder of single resources; and a provider's own grants.
#![allow(clippy::unwrap_used)] // a test stops where it cannot go on

use std::{
    path::Path,
    process::{Command, Output},
};

use sealdex_tests::{World, servers::Place};

const EXE: &str = env!("CARGO_BIN_EXE_sealdex");

fn sealdex(arguments: &[&str]) -> Output {
    Command::new(EXE).args(arguments).env("SEALDEX_PASSPHRASE", "a phrase").output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn done(arguments: &[&str]) -> String {
    let output = sealdex(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    stdout(&output)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Lines of an answer, sorted.
fn answer(user: &str, kind: &str) -> Vec<String> {
    let question = format!(r#"{{"resource":"{kind}"}}"#);
    let came = done(&["query", "--member", user, "--format", "ndjson", &question]);
    let mut lines: Vec<String> = came.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn manifests_folders_of_resources_and_a_providers_grants() {
    let home = tempfile::tempdir().unwrap();
    let world = World::generated(home.path(), 2, 1, &["reader"], Place::Process).await;
    let user = world.reader_dir("reader");
    let (user, provider) = (text(&user), text(&world.hospitals[0].dir).to_owned());
    let wallet = home.path().join("patients.key");
    let pack = Path::new(user).join("domain.json");

    let bulk = home.path().join("bulk");
    std::fs::create_dir(&bulk).unwrap();
    let patient = r#"{"resourceType":"Patient","id":"b1","birthDate":"1970-01-01"}"#;
    let group = r#"{"resourceType":"Observation","id":"herd","status":"final","code":{"text":"c"},"subject":{"reference":"Group/herd"}}"#;
    let weight = r#"{"resourceType":"Observation","id":"w","status":"final","code":{"text":"c"},"subject":{"reference":"Patient/b1"},"valueQuantity":{"value":7.10E+1}}"#;
    std::fs::write(bulk.join("p.ndjson"), format!("{patient}\n")).unwrap();
    std::fs::write(bulk.join("o.ndjson"), format!("{weight}\n{patient}\n{group}\n")).unwrap();
    let manifest = bulk.join("import.json");
    let manifest_of = |files: &str| {
        std::fs::write(&manifest, format!(r#"{{"inputFormat":"application/fhir+ndjson","input":[{files}]}}"#)).unwrap();
    };
    let m = text(&manifest);
    let both = r#"{"type":"Patient","url":"p.ndjson"},{"type":"Observation","url":"./o.ndjson"}"#;

    // What leads out of the folder is refused before anything is read.
    manifest_of(&format!(r#"{both},{{"type":"Patient","url":"../patients.key"}}"#));
    std::fs::write(&wallet, "x").unwrap();
    let refused = sealdex(&["push", "--provider", &provider, "--manifest", m]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("input[2]") && said.contains("outside"), "{said}");
    std::fs::remove_file(&wallet).unwrap();

    manifest_of(both);
    done(&["owners", "enrol", "--provider", &provider, "--wallet", text(&wallet), "--manifest", m]);
    let pushed = sealdex(&["push", "--provider", &provider, "--manifest", m]);
    assert_eq!(pushed.status.code(), Some(3), "{}", String::from_utf8_lossy(&pushed.stderr));
    assert!(stdout(&pushed).contains("1 of them name no patient"), "{}", stdout(&pushed));
    let rejects = std::fs::read_to_string(Path::new(&provider).join("rejects.ndjson")).unwrap();
    assert_eq!(rejects.lines().count(), 1, "{rejects}");
    let other = ["o.ndjson", "\"line\":2", "it is a Patient", "is a Observation"];
    assert!(other.iter().all(|part| rejects.contains(part)), "{rejects}");
    std::fs::write(bulk.join("o.ndjson"), format!("{weight}\n{group}\n")).unwrap();
    done(&["push", "--provider", &provider, "--manifest", m]);

    // The patient's grant opens what is about the patient, the provider's what is about none.
    let to = ["--to", "reader", "--purpose", "any"];
    let w = ["--wallet", text(&wallet), "--domain", text(&pack)];
    done(&[&["grant"], &w[..], &["--all-owners", "--all-sections"], &to].concat());
    assert_eq!((answer(user, "Patient"), answer(user, "Observation")), (vec![patient.into()], vec![weight.into()]));
    done(&[&["grant", "--provider", &provider, "--section", "observations"], &to[..]].concat());
    assert_eq!(answer(user, "Observation"), [group, weight].map(str::to_owned));
    done(&["revoke", "--provider", &provider, "--all-sections", "--from", "reader"]);
    assert_eq!(answer(user, "Observation"), [weight.to_owned()]);
    let unknown = sealdex(&[&["grant", "--provider", &provider, "--section", "demographics"], &to[..]].concat());
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("no section \"demographics\""));
    assert!(!sealdex(&[&["grant", "--section", "observations"], &to[..]].concat()).status.success(), "whose?");

    // A folder of single resources, printed at length; one is not R4 and is refused when asked to be.
    let folder = home.path().join("resources");
    std::fs::create_dir(&folder).unwrap();
    let wrong = r#"{"resourceType":"Procedure","id":"x","subject":{"reference":"Patient/b1"},"status":"done"}"#;
    for (name, json) in [("Observation-w.json", weight.replace("7.10E+1", "72.0")), ("Procedure-x.json", wrong.into())]
    {
        std::fs::write(folder.join(name), json.replace(',', " ,\n  ").replace('{', "{\n ")).unwrap();
    }
    let pushed = sealdex(&["push", "--provider", &provider, "--validate", text(&folder)]);
    assert_eq!(pushed.status.code(), Some(3));
    assert!(stdout(&pushed).contains("Procedure.status: \"done\" is none of the codes"), "{}", stdout(&pushed));
    assert_eq!(answer(user, "Observation"), [weight.replace("7.10E+1", "72.0")], "replaced, the old one gone");

    // Who read, granted and pushed, by the gate's word.
    let log = done(&[&["access-log", "--owner", "Patient/b1", "--format", "json"], &w[..]].concat());
    for (kind, times) in [("search", 5), ("push", 3), ("grant", 12)] {
        let found = log.lines().filter(|l| l.contains(&format!("\"kind\":\"{kind}\""))).count();
        assert_eq!(found, times, "{kind}: {log}");
    }
    let fhir = done(&[&["grants", "--owner", "Patient/b1", "--format", "fhir"], &w[..]].concat());
    assert!(fhir.lines().count() == 1 && fhir.contains("\"resourceType\":\"Consent\""), "{fhir}");
}

/// A gateway of the command line, its address read off what it prints.
struct Gateway(std::process::Child, String);

impl Gateway {
    fn start(arguments: &[&str]) -> Self {
        use std::io::{BufRead as _, BufReader};
        let mut child = Command::new(EXE)
            .args(["serve", "gateway", "--listen", "127.0.0.1:0", "--open"])
            .args(arguments)
            .env("SEALDEX_PASSPHRASE", "a phrase")
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").unwrap().to_owned();
        Self(child, address)
    }

    /// Status and body.
    fn send(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        use std::io::{Read as _, Write as _};
        let mut socket = std::net::TcpStream::connect(&self.1).unwrap();
        let head = format!(
            "{method} /fhir/{path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/fhir+json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            self.1,
            body.len()
        );
        socket.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patient_registered_at_the_gateway_is_enrolled() {
    let home = tempfile::tempdir().unwrap();
    let mut world = World::generated(home.path(), 1, 1, &["reader"], Place::Process).await;
    world.enrol_patients().await;
    let user = world.reader_dir("reader");
    let (user, provider) = (text(&user), text(&world.hospitals[0].dir).to_owned());
    let wallet = home.path().join("patients.key");
    let pack = Path::new(user).join("domain.json");
    let patient = r#"{"resourceType":"Patient","id":"new-1","gender":"female"}"#;
    let weight = r#"{"resourceType":"Observation","id":"w","status":"final","code":{"text":"c"},"subject":{"reference":"Patient/new-1"}}"#;

    let plain = ["--member", user, "--provider", &provider];
    let enrolling = [&plain[..], &["--enrol", text(&wallet)]].concat();
    {
        let g = Gateway::start(&plain);
        let (status, said) = g.send("PUT", "Patient/new-1", patient);
        assert!(status == 422 && said.contains("owner map"), "{said}");
    }
    let g = Gateway::start(&enrolling);
    let (status, said) = g.send("PUT", "Observation/w", weight);
    assert!(status == 422 && said.contains("Patient/new-1"), "a reference makes no patient: {said}");
    assert_eq!(g.send("PUT", "Patient/new-1", patient).0, 201);
    let (status, said) = g.send("PUT", "Observation/w", weight);
    assert_eq!(status, 201, "{said}");
    assert_eq!(g.send("GET", "Observation/w", "").0, 404, "the patient has granted nothing yet");
    let w = ["--wallet", text(&wallet), "--domain", text(&pack)];
    done(&[&["grant"], &w[..], &["--owner", "Patient/new-1", "--all-sections", "--to", "reader"]].concat());
    let (status, read) = g.send("GET", "Observation/w", "");
    assert!(status == 200 && read.contains("Patient/new-1"), "{read}");

    // Killed and started anew, it knows the patient, and the older ones too.
    drop(g);
    let g = Gateway::start(&enrolling);
    assert_eq!(g.send("PUT", "Observation/w", &weight.replace("final", "amended")).0, 200);
    let (_, found) = g.send("GET", "Observation?patient=Patient/new-1&status=amended&_summary=count", "");
    assert!(found.contains("\"total\":1"), "{found}");
    let lines = std::fs::read_to_string(Path::new(&provider).join("owners.ndjson")).unwrap();
    assert_eq!(lines.lines().filter(|line| line.contains("patient")).count(), 2, "{lines}");
}
