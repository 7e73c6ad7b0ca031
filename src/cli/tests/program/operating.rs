//! What operators have: doctor, settings files, traces over servers, metrics. Real processes; each finding is caused.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test stops where it cannot go on

use std::{
    collections::HashSet,
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::stage::{EXE, Gate, Stage, free_port, plain, said, until, weight};
use serde_json::Value as Json;

/// Exit code and findings.
struct Doctor(Option<i32>, Vec<Json>);

impl Doctor {
    fn asked(stage: &Stage, arguments: &[&str]) -> Self {
        let output = plain(stage, &[&["doctor", "--format", "json"], arguments].concat());
        let json: Json = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(&output)));
        Self(output.status.code(), json["findings"].as_array().unwrap().clone())
    }

    fn of(&self, check: &str, subject: &str) -> (String, String) {
        let found = self.1.iter().find(|f| f["check"] == check && f["subject"].as_str().unwrap().contains(subject));
        let found = found.unwrap_or_else(|| panic!("no {check} of {subject} in {:#?}", self.1));
        if found["level"] != "ok" {
            assert!(found["advice"].as_str().is_some_and(|a| !a.is_empty()), "{found} says what to do");
        }
        (found["level"].as_str().unwrap().to_owned(), found["found"].as_str().unwrap().to_owned())
    }

    fn level(&self, check: &str, subject: &str) -> String {
        self.of(check, subject).0
    }
}

fn get(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut all = String::new();
    stream.read_to_string(&mut all).unwrap();
    all.split_once("\r\n\r\n").unwrap().1.to_owned()
}

#[test]
fn the_doctor_finds_what_is_wrong_and_only_that() {
    let mut stage = Stage::set(&["ana"], Gate::Single);
    let (gate, cloud) = (format!(":{}", stage.ports[0]), format!(":{}", stage.cloud));
    let (gate, cloud) = (gate.as_str(), cloud.as_str());
    let member = ["--member", "ana"];
    // What depends on this machine, its disk among it, may be a warning.
    let machine = ["key-sealed", "file-limit", "backup", "disk-space"];
    let began = Instant::now();
    let d = loop {
        let d = Doctor::asked(&stage, &member);
        let all = d.1.iter().filter(|f| f["check"] == "roster-version" || f["check"] == "log-quorum").count() == 4;
        let others: Vec<_> =
            d.1.iter().filter(|f| f["level"] != "ok" && !machine.contains(&f["check"].as_str().unwrap())).collect();
        if all && others.is_empty() {
            break d;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "versions and logs there: {all}; amiss: {others:#?}");
        std::thread::sleep(Duration::from_millis(200));
    };
    assert_eq!(d.0, Some(0), "{:#?}", d.1);
    for check in ["ready", "clock", "version", "roster-version"] {
        assert_eq!((d.level(check, gate), d.level(check, cloud)), ("ok".into(), "ok".into()), "{check}");
    }
    let room = d.level("disk-space", "ana");
    assert_eq!((d.level("disk-space", gate), d.level("disk-space", cloud)), (room.clone(), room), "one disk");
    assert_eq!(d.level("index-lag", cloud), "ok");
    assert_eq!((d.level("store-checked", cloud), d.level("store-checked", gate)), ("ok".into(), "ok".into()));
    assert_eq!((d.level("backup", gate), d.level("backup", cloud)), ("warning".into(), "warning".into()), "none");
    let (sealed, found) = d.of("key-sealed", "member.key");
    assert_eq!((sealed.as_str(), found.as_str()), ("warning", "in the clear"));
    let table = plain(&stage, &["doctor", "--member", "ana"]);
    assert!(
        said(&table).contains(" in order, ") && said(&table).contains("sealdex keyfile reseal"),
        "{}",
        said(&table)
    );
    assert_eq!(plain(&stage, &["doctor"]).status.code(), Some(1));

    files_of_a_member(&stage);
    files_of_servers(&stage);
    backups_and_certificates(&stage);

    // An old pack; then servers that are gone.
    fs::copy(stage.path("ana/domain.json"), stage.path("old.json")).unwrap();
    stage.done(&["domain", "enrol", "--dir", "domain", "--name", "bob", "--role", "user", "--out", "bob"]);
    until("an old pack", || {
        Doctor::asked(&stage, &["--domain", "old.json"]).level("roster-version", gate) == "warning"
    });
    stage.servers[1].kill().unwrap();
    stage.servers[1].wait().unwrap();
    let d = Doctor::asked(&stage, &member);
    assert_eq!((d.0, d.level("server", gate), d.level("ready", cloud)), (Some(3), "wrong".into(), "ok".into()));
    // One that comes back with an older state than the authority's.
    let listen = format!("127.0.0.1:{}", stage.ports[0]);
    let port = stage.ports[0];
    stage.serve(&["serve", "gate", "--keys", "domain/gate.key", "--store", "empty.redb", "--listen", &listen], port);
    assert_eq!(Doctor::asked(&stage, &member).level("ready", gate), "wrong");
    log_of_a_witness_that_is_gone(&mut stage);
}

fn files_of_a_member(stage: &Stage) {
    let mode = |path: &str, mode| fs::set_permissions(stage.path(path), fs::Permissions::from_mode(mode)).unwrap();
    mode("ana/member.key", 0o644);
    let d = Doctor::asked(stage, &["--member", "ana"]);
    assert_eq!((d.0, d.level("key-permissions", "member.key")), (Some(3), "wrong".into()));
    mode("ana/member.key", 0o600);
    let key = fs::read_to_string(stage.path("ana/member.key")).unwrap();
    fs::write(stage.path("broken.key"), &key[5..]).unwrap();
    assert_eq!(Doctor::asked(stage, &["--keys", "broken.key"]).level("key-file", "broken"), "wrong");
    stage.write("pass", "a passphrase\n");
    assert!(plain(stage, &["keyfile", "reseal", "ana/member.key", "--new-passphrase-file", "pass"]).status.success());
    let (level, found) = Doctor::asked(stage, &["--keys", "ana/member.key"]).of("key-sealed", "member.key");
    assert!(level == "ok" && found.contains("member key, "), "{found}");
    let reseal = ["keyfile", "reseal", "ana/member.key", "--passphrase-file", "pass", "--new-insecure-plain"];
    assert!(plain(stage, &reseal).status.success());
    // A provider's: rot in a principal is what no parser finds.
    fs::create_dir(stage.path("clinic")).unwrap();
    fs::copy(stage.path("ana/member.key"), stage.path("clinic/member.key")).unwrap();
    stage.write("clinic/provider.toml", "name = \"clinic\"\n");
    let owners = || Doctor::asked(stage, &["--provider", "clinic"]).of("owner-map", "owners.ndjson");
    assert_eq!(owners().0, "wrong", "there is none");
    let line = format!("{{\"patient\":\"Patient/a\",\"principal\":\"{}\"}}\n", "01".repeat(16));
    stage.write("clinic/owners.ndjson", &line);
    assert_eq!(owners(), ("ok".into(), "1 patients, without a checksum".into()));
    let map = stage.path("clinic/owners.ndjson");
    sealdex_provider::OwnerMap::read(&map).unwrap().write(&map).unwrap();
    assert_eq!(owners(), ("ok".into(), "1 patients, as they were written".into()));
    stage.write("clinic/owners.ndjson", &fs::read_to_string(&map).unwrap().replacen("0101", "0103", 1));
    let (level, found) = owners();
    assert!(level == "wrong" && found.contains("checksum"), "{found}");
    let pack = fs::read_to_string(stage.path("ana/domain.json")).unwrap();
    // Half of the payload's first byte: the signature does not fit any more.
    let at = pack.find("payload").unwrap() + 40;
    let other = if &pack[at..=at] == "7" { "6" } else { "7" };
    fs::write(stage.path("forged.json"), [&pack[..at], other, &pack[at + 1..]].concat()).unwrap();
    let d = Doctor::asked(stage, &["--domain", "forged.json"]);
    assert_eq!((d.0, d.level("domain-pack", "forged")), (Some(3), "wrong".into()));
    assert_eq!(Doctor::asked(stage, &["--member", "nobody"]).level("member-folder", "nobody"), "wrong");
}

fn files_of_servers(stage: &Stage) {
    let d = Doctor::asked(stage, &["--cloud", "cloud", "--gate", "gate-1.redb"]);
    assert_eq!((d.level("cloud-store", "cloud"), d.level("gate-store", "gate-1")), ("ok".into(), "ok".into()));
    assert_eq!(Doctor::asked(stage, &["--cloud", "records"]).level("cloud-store", "records"), "wrong");
    assert_eq!(Doctor::asked(stage, &["--gate", "no.redb"]).level("gate-store", "no.redb"), "wrong");
    let shell = |limit: &str| {
        let line = format!("ulimit -n {limit}; exec {EXE} doctor --format json --cloud cloud");
        let output = Command::new("sh").args(["-c", &line]).current_dir(stage.home.path()).output().unwrap();
        let json: Json = serde_json::from_slice(&output.stdout).unwrap();
        Doctor(None, json["findings"].as_array().unwrap().clone()).level("file-limit", "shell")
    };
    assert_eq!(shell("256"), "warning");
}

fn backups_and_certificates(stage: &Stage) {
    let level = |dir: &str| Doctor::asked(stage, &["--backup-dir", dir]).level("backup", dir);
    assert_eq!(level("none"), "wrong");
    fs::create_dir(stage.path("kept")).unwrap();
    assert_eq!(level("kept"), "wrong", "empty");
    let file = fs::File::create(stage.path("kept/cloud-1.backup")).unwrap();
    assert_eq!(level("kept"), "ok");
    file.set_modified(std::time::SystemTime::now() - Duration::from_secs(3 * 3600)).unwrap();
    assert_eq!(level("kept"), "wrong", "old");
    let d = Doctor::asked(stage, &["--backup-dir", "kept", "--backup-age", "4h"]);
    assert_eq!(d.level("backup", "kept"), "ok");
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/certificates");
    let of = |name: &str| {
        let file = here.join(name);
        Doctor::asked(stage, &["--tls-cert", file.to_str().unwrap()]).of("certificate", name)
    };
    assert_eq!(of("long.pem").0, "ok");
    let (level, found) = of("ended.pem");
    assert!(level == "wrong" && found.starts_with("ended ") && found.ends_with(" days ago"), "{found}");
    assert_eq!(Doctor::asked(stage, &["--tls-cert", "records/all.ndjson"]).level("certificate", "all"), "wrong");
}

/// The cosignatures get old.
fn log_of_a_witness_that_is_gone(stage: &mut Stage) {
    stage.servers[2].kill().unwrap();
    stage.servers[2].wait().unwrap();
    let (gate_port, port) = (stage.ports[0], free_port());
    let (listen, url) = (format!("127.0.0.1:{port}"), format!("http://127.0.0.1:{port}"));
    let at = format!("127.0.0.1:{gate_port}");
    stage.serve(&["serve", "gate", "--keys", "domain/gate.key", "--store", "gate-1.redb", "--listen", &at], gate_port);
    let key = stage.done(&["witness", "keygen", "--name", "h.example/w1", "--out", "w1.key"]);
    let watch =
        ["witness", "serve", "--keys", "w1.key", "--dir", "w1", "--domain", "domain/domain.json", "--listen", &listen];
    stage.serve(&watch, port);
    let set =
        ["domain", "ledger", "--dir", "domain", "--witness", key.trim(), &url, "--quorum", "1", "--max-age", "10"];
    stage.done(&set);
    let domain = ["--domain", "domain/domain.json"];
    let ok =
        |d: &Doctor| d.1.iter().any(|f| f["check"] == "log-quorum" && f["found"].as_str().unwrap().contains("1 of 1"));
    until("a cosigned log", || ok(&Doctor::asked(stage, &domain)));
    let mut witness = stage.servers.pop().unwrap();
    witness.kill().unwrap();
    witness.wait().unwrap();
    let old = |d: &Doctor| d.1.iter().any(|f| f["check"] == "log-age" && f["level"] == "wrong");
    until("an old log", || old(&Doctor::asked(stage, &domain)));
    assert_eq!(Doctor::asked(stage, &domain).0, Some(3));
}

/// A server played by a socket; its URL.
fn played(ready: &'static str, metrics: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = [0; 1024];
            let n = stream.read(&mut head).unwrap();
            let asked = String::from_utf8_lossy(&head[..n]);
            let body = if asked.starts_with("GET /metrics") { metrics } else { ready };
            let date = "Thu, 01 Jan 2026 00:00:00 GMT";
            let length = body.len();
            write!(
                stream,
                "HTTP/1.1 200 OK\r\nDate: {date}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            )
            .unwrap();
        }
    });
    format!("http://127.0.0.1:{port}")
}

/// What only a server that is not well says.
#[test]
fn the_doctor_believes_what_a_server_says_of_itself() {
    let stage = Stage { home: tempfile::tempdir().unwrap(), servers: Vec::new(), ports: Vec::new(), cloud: 0 };
    let url = played(
        "ready, but restored: waits to be resumed\n",
        "# TYPE x gauge\nsealdex_build_info{role=\"cloud\",version=\"0.0.9\"} 1\nsealdex_process_open_files 1000\n\
         sealdex_process_max_files 1024\nsealdex_cloud_index_lag_batches 500\nsealdex_cloud_disk_free_bytes 5\n\
         sealdex_cloud_backup_taken_seconds 1000\nsealdex_cloud_checked_seconds 1000\n",
    );
    let d = Doctor::asked(&stage, &["--url", &url]);
    let levels =
        ["ready", "clock", "version", "file-limit", "index-lag", "disk-space", "backup"].map(|c| d.level(c, &url));
    assert_eq!(levels, ["warning", "wrong", "warning", "wrong", "warning", "wrong", "wrong"], "{:#?}", d.1);
    assert_eq!(d.level("store-checked", &url), "warning");
    let url = played(
        "ready, but damaged: store.redb: page 7\n",
        "sealdex_build_info{role=\"gate\",version=\"0.0.9\"} 1\nsealdex_gate_disk_free_bytes 9e9\n\
         sealdex_gate_disk_bytes 1e11\n",
    );
    let d = Doctor::asked(&stage, &["--url", &url]);
    let levels = ["ready", "disk-space", "backup"].map(|c| d.level(c, &url));
    assert_eq!((levels, d.0), (["wrong", "warning", "warning"].map(Into::into), Some(3)), "{:#?}", d.1);
    assert_eq!(Doctor::asked(&stage, &["--url", "ftp://x"]).level("server", "ftp"), "wrong");
}

#[test]
fn a_server_is_set_up_by_a_file() {
    let mut stage = Stage { home: tempfile::tempdir().unwrap(), servers: Vec::new(), ports: Vec::new(), cloud: 0 };
    stage.done(&["domain", "init", "--dir", "domain", "--name", "north"]);
    let example = said(&plain(&stage, &["config", "--example", "cloud"]));
    let port = free_port();
    let file = example
        .replace("keys = \"KEYS\"", "keys = \"domain/cloud.key\"")
        .replace("\ndir = \"DIR\"", "\ndir = \"cloud\"")
        .replace("#listen = \"127.0.0.1:7412\"", &format!("listen = \"127.0.0.1:{port}\""))
        .replace("#backup-dir = \"DIR\"", "backup-dir = \"backups\"");
    stage.write("cloud.toml", &file);
    let checked = plain(&stage, &["config", "--check", "cloud.toml"]);
    assert!(checked.status.success() && said(&checked).contains("settings of a cloud, in order"), "{}", said(&checked));
    stage.serve(&["serve", "cloud", "--config", "cloud.toml"], port);
    assert_eq!(get(port, "/healthz"), "ok\n");
    until("a backup", || fs::read_dir(stage.path("backups")).is_ok_and(|d| d.count() > 0));

    // The command line wins, then the environment.
    let other = free_port();
    let wins = ["serve", "cloud", "--config", "cloud.toml", "--dir", "cloud2", "--backup-dir", "backups2", "--listen"];
    stage.serve(&[&wins[..], &[&format!("127.0.0.1:{other}")]].concat(), other);
    assert_eq!(get(other, "/healthz"), "ok\n");
    let refused = |text: &str| {
        stage.write("bad.toml", text);
        let checked = plain(&stage, &["config", "--check", "bad.toml"]);
        assert_eq!(checked.status.code(), Some(1));
        let served = plain(&stage, &["serve", "cloud", "--config", "bad.toml"]);
        assert!(!served.status.success());
        [said(&checked), said(&served)]
    };
    for words in refused(&format!("{file}\nlistne = \"127.0.0.1:1\"\n")) {
        let line = file.lines().count() + 2;
        assert!(words.contains(&format!("bad.toml, line {line}: \"listne\" is no setting")), "{words}");
        assert!(words.contains("(\"listen\"?)"), "{words}");
    }
    assert!(refused(&file.replace(&format!("127.0.0.1:{port}"), "nowhere")).iter().all(|w| w.contains("nowhere")));
    let gate = plain(&stage, &["serve", "gate", "--config", "cloud.toml"]);
    assert!(said(&gate).contains("for server \"cloud\", not \"gate\""), "{}", said(&gate));
    let mut by_environment = stage.command(&["serve", "cloud", "--config", "cloud.toml"]);
    let output = by_environment.env("SEALDEX_LISTEN", "0.0.0.0:0").env("SEALDEX_DIR", "cloud3").output().unwrap();
    assert!(said(&output).contains("not a loopback address"), "the environment wins over the file: {}", said(&output));
}

/// What the service manager hears, and that units start what there is.
#[test]
fn units_are_in_order_and_the_service_manager_is_told() {
    let mut stage = Stage { home: tempfile::tempdir().unwrap(), servers: Vec::new(), ports: Vec::new(), cloud: 0 };
    stage.done(&["domain", "init", "--dir", "domain", "--name", "north"]);
    let socket = std::os::unix::net::UnixDatagram::bind(stage.path("notify")).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let heard = || {
        let mut bytes = [0; 64];
        let n = socket.recv(&mut bytes).expect("a word");
        String::from_utf8_lossy(&bytes[..n]).into_owned()
    };
    for (key, place) in [("domain/cloud.key", ["cloud", "--dir"]), ("domain/gate.key", ["gate", "--store"])] {
        let mut command =
            stage.command(&["serve", place[0], "--keys", key, place[1], place[0], "--listen", "127.0.0.1:0"]);
        command.env("NOTIFY_SOCKET", stage.path("notify")).stdout(Stdio::null()).stderr(Stdio::null());
        stage.servers.push(command.spawn().unwrap());
        assert_eq!(heard(), "READY=1", "{key}");
        let pid = stage.servers.last().unwrap().id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        assert_eq!(heard(), "STOPPING=1", "{key}");
        assert!(stage.servers.pop().unwrap().wait().unwrap().success());
    }

    stage.write(
        "clients",
        "[[client]]\nid = \"a\"\nsecret = \"0123456789abcdef0123456789\"\nscopes = [\"system/*.read\"]\n",
    );
    fs::set_permissions(stage.path("clients"), fs::Permissions::from_mode(0o600)).unwrap();
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy");
    for server in ["cloud", "gate", "gateway"] {
        let name = format!("sealdex-{server}.service");
        let unit = fs::read_to_string(deploy.join(&name)).unwrap();
        // What it starts takes those options: it gets as far as reading key files that are not there.
        let example = said(&plain(&stage, &["config", "--example", server]));
        stage.write(&format!("{server}.toml"), &example);
        let line = unit.lines().find_map(|l| l.strip_prefix("ExecStart=/usr/bin/sealdex ")).unwrap();
        let home = stage.home.path().to_str().unwrap();
        let line = line.replace("%d", home).replace("%S", home).replace("/etc/sealdex", home);
        let started = plain(&stage, &line.split(' ').collect::<Vec<_>>());
        assert_eq!(started.status.code(), Some(1), "{}", said(&started));
        assert!(said(&started).contains("/key: "), "{}", said(&started));
        stage.write(&name, &unit.replace("/usr/bin/sealdex", EXE));
        let path = stage.path(&name);
        match Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&path).output() {
            Err(_) => eprintln!("skipped: systemd-analyze is not here, {name} was not verified"),
            Ok(verified) => assert!(verified.status.success() && verified.stderr.is_empty(), "{}", said(&verified)),
        }
    }
    // Alerts are about metrics that there are.
    let docs = fs::read_to_string(deploy.join("../docs/OPERATING.md")).unwrap();
    let alerts = fs::read_to_string(deploy.join("alerts.yml")).unwrap();
    let words = alerts.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|w| w.starts_with("sealdex_"));
    let metrics: HashSet<&str> = words.map(|w| w.trim_end_matches("_bucket")).filter(|w| *w != "sealdex_").collect();
    assert!(metrics.len() > 15, "{metrics:?}");
    for metric in &metrics {
        assert!(docs.contains(&format!("`{metric}`")), "{metric}");
    }
    // And whatever the tables say to be alarmed by has a rule.
    let rows = docs.lines().filter(|l| l.starts_with("| `sealdex_"));
    let mut alarming = 0;
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let Some(&condition) = cells.get(2).filter(|c| !c.is_empty() && !c.contains("see below")) else { continue };
        let mut named = cells[0].split('`').filter(|w| w.starts_with("sealdex_"));
        assert!(named.any(|metric| metrics.contains(metric)), "no rule for {}: {condition}", cells[0]);
        alarming += 1;
    }
    assert!(alarming > 20, "{alarming}");
}

/// What comes first decides between settings that exclude each other, the environment included.
#[test]
fn settings_that_exclude_each_other_do_not_meet() {
    let stage = Stage { home: tempfile::tempdir().unwrap(), servers: Vec::new(), ports: Vec::new(), cloud: 0 };
    stage.write("gateway.toml", "clients = \"of-the-file\"\nmember = \"nobody\"\n");
    let run = |arguments: &[&str], open: Option<&str>| {
        let mut command = stage.command(&[&["serve", "gateway", "--config", "gateway.toml"], arguments].concat());
        command.env_remove("SEALDEX_OPEN");
        if let Some(value) = open {
            command.env("SEALDEX_OPEN", value);
        }
        said(&command.output().unwrap())
    };
    // It gets as far as the file that it is told to read.
    assert!(run(&["--clients", "of-the-line"], Some("true")).contains("of-the-line"));
    assert!(run(&[], Some("false")).contains("of-the-file"));
    let open = run(&[], Some("true"));
    assert!(open.contains("Open: ") && !open.contains("of-the-file"), "{open}");
    let open = run(&["--open"], None);
    assert!(open.contains("Open: ") && !open.contains("of-the-file"), "{open}");
}

/// A gate and a cloud that log requests as JSON, to files.
fn logged(stage: &mut Stage) {
    for (at, name) in ["cloud", "gate"].into_iter().enumerate() {
        stage.servers[at].kill().unwrap();
        stage.servers[at].wait().unwrap();
        let port = if name == "cloud" { stage.cloud } else { stage.ports[0] };
        let (key, listen) = (format!("domain/{name}.key"), format!("127.0.0.1:{port}"));
        let place = if name == "cloud" { ["--dir", "cloud"] } else { ["--store", "gate-1.redb"] };
        let spans = format!("{name}.spans");
        let base = ["serve", name, "--keys", &key, "--listen", &listen, "--log-format", "json", "--trace-file", &spans];
        let mut command = stage.command(&[&base[..], &place].concat());
        let log = fs::File::create(stage.path(&format!("{name}.log"))).unwrap();
        command.env("RUST_LOG", "info,sealdex_net=debug").stdout(Stdio::null()).stderr(log);
        stage.servers[at] = command.spawn().unwrap();
        until(name, || TcpStream::connect(("127.0.0.1", port)).is_ok());
    }
}

/// Trace id and URL of each request.
fn traces(stage: &Stage, arguments: &[&str]) -> Vec<(String, String)> {
    let output = stage.run(arguments);
    assert!(output.status.success(), "{}", said(&output));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let lines = text.lines().filter_map(|l| l.strip_prefix("trace ")?.split_once(' '));
    lines.map(|(id, url)| (id.to_owned(), url.to_owned())).collect()
}

#[test]
fn one_trace_id_joins_the_logs_of_gate_and_cloud_and_no_two_requests() {
    let mut stage = Stage::set(&["ana"], Gate::Single);
    stage.own(&["grant", "--all-owners", "--to", "ana", "--section", "observations"]);
    logged(&mut stage);
    let ask = ["query", "--member", "ana", "--trace", "--unverified", r#"{"resource":"Observation"}"#];
    let mut first = Vec::new();
    until("an answer", || {
        first = traces(&stage, &ask);
        first.iter().any(|(_, url)| url.ends_with("/v1/records"))
    });
    let second = traces(&stage, &ask);
    let id_of = |all: &[(String, String)], path: &str| {
        all.iter().find(|(_, url)| url.ends_with(path)).unwrap_or_else(|| panic!("{path} in {all:?}")).0.clone()
    };
    let log = |name: &str| fs::read_to_string(stage.path(&format!("{name}.log"))).unwrap();
    let lines = |name: &str, id: &str| -> Vec<Json> {
        log(name).lines().filter(|l| l.contains(id)).map(|l| serde_json::from_str(l).expect("a JSON line")).collect()
    };
    let search = id_of(&first, "/v1/search");
    until("both logs", || !lines("gate", &search).is_empty() && !lines("cloud", &search).is_empty());
    assert!(lines("gate", &search).iter().any(|l| l["span"]["path"] == "/v1/search" && l["span"]["role"] == "gate"));
    assert!(lines("cloud", &search).iter().any(|l| l["span"]["path"] == "/v1/search" && l["span"]["role"] == "cloud"));

    // Nothing joins two requests of one user: not the search to the fetch, not one question to the next.
    let fetch = id_of(&first, "/v1/records");
    assert!(lines("gate", &fetch).is_empty() && !lines("cloud", &fetch).is_empty());
    let all: Vec<&String> = first.iter().chain(&second).map(|(id, _)| id).collect();
    assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len(), "{first:?} {second:?}");

    // A push: what the gate bridged, and what the cloud stored.
    stage.write("records/more.ndjson", &weight("w7", "a", ""));
    let pushed = traces(&stage, &["push", "--provider", "h1", "--trace", "records"]);
    let (bridge, batch) = (id_of(&pushed, "/v1/bridge"), id_of(&pushed, "/v1/batches"));
    assert!(
        !lines("gate", &bridge).is_empty() && !lines("cloud", &batch).is_empty() && lines("cloud", &bridge).is_empty()
    );

    // Times of what was done, with the same ids.
    let spans = |name: &str| -> Vec<Json> {
        let text = fs::read_to_string(stage.path(&format!("{name}.spans"))).unwrap();
        text.lines()
            .map(|l| serde_json::from_str(l).expect("a JSON line"))
            .filter(|l: &Json| l["trace"] == search)
            .collect()
    };
    let (gate, cloud) = (spans("gate"), spans("cloud"));
    for name in ["unfold", "cloud", "permit", "reencapsulate", "store", "POST /v1/search"] {
        let span = gate.iter().find(|s| s["name"] == name).unwrap_or_else(|| panic!("{name} in {gate:?}"));
        assert!(span["micros"].is_u64() && span["start_us"].is_u64(), "{span}");
    }
    let parent = &gate.iter().find(|s| s["name"] == "POST /v1/search").unwrap()["span"];
    assert!(cloud.iter().any(|s| s["name"] == "POST /v1/search" && &s["parent"] == parent), "{cloud:?}");

    metrics_are_histograms_and_documented(&stage);
}

fn metrics_are_histograms_and_documented(stage: &Stage) {
    let docs = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/OPERATING.md")).unwrap();
    let mut text = String::new();
    until("gauges", || {
        text = [get(stage.cloud, "/metrics"), get(stage.ports[0], "/metrics")].concat();
        text.contains("sealdex_cloud_index_lag_seconds") && text.contains("sealdex_gate_disk_free_bytes")
    });
    assert!(!text.contains("quantile="), "histograms can be added up over servers, summaries cannot");
    for name in [
        "sealdex_request_seconds_bucket{role=\"gate\",path=\"/v1/search\",le=\"0.1\"}",
        "sealdex_gate_stage_seconds_bucket{stage=\"cloud\",le=",
        "sealdex_gate_stage_seconds_bucket{stage=\"bridge\",le=",
        "sealdex_cloud_stage_seconds_bucket{stage=\"search\",le=",
        "sealdex_cloud_stage_seconds_bucket{stage=\"fetch\",le=",
        "sealdex_cloud_commit_seconds_bucket{le=",
        "sealdex_cloud_queue_wait_seconds_bucket{le=",
        "sealdex_cloud_log_lag{log=\"batches\"} 0",
        "sealdex_process_resident_bytes ",
        "sealdex_process_max_files ",
    ] {
        assert!(text.contains(name), "{name} in {text}");
    }
    let types = text.lines().filter_map(|l| l.strip_prefix("# TYPE ")?.split(' ').next());
    let unknown: Vec<&str> = types.filter(|name| !docs.contains(&format!("`{name}`"))).collect();
    assert!(unknown.is_empty(), "not in docs/OPERATING.md: {unknown:?}");
    let labels: HashSet<&str> = text
        .lines()
        .filter_map(|l| l.split_once('{')?.1.split_once('}'))
        .flat_map(|(labels, _)| labels.split("\",").filter_map(|l| l.split_once('=')))
        .map(|(label, _)| label)
        .collect();
    let known = HashSet::from(["role", "path", "status", "stage", "le", "log", "outcome", "version", "why"]);
    assert!(labels.is_subset(&known), "labels are fixed words: {labels:?}");
}
