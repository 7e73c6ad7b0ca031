//! What people get wrong: each mistake ends with a message that says what, where and what to do, and harms
//! nothing else.
#![allow(clippy::unwrap_used)] // a test stops where it cannot go on

use std::{
    path::Path,
    process::{Command, Output},
};

use sealdex_tests::{World, servers::Place};

const EXE: &str = env!("CARGO_BIN_EXE_sealdex");

fn sealdex(arguments: &[&str]) -> Output {
    Command::new(EXE)
        .args(arguments)
        .env_remove("SEALDEX_PASSPHRASE")
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap()
}

fn refused(arguments: &[&str], because: &[&str]) {
    let output = sealdex(arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{arguments:?} went through");
    for part in because {
        assert!(said.contains(part), "{arguments:?} said {said:?}, not {part:?}");
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_told_and_harm_nothing() {
    let home = tempfile::tempdir().unwrap();
    let mut world = World::generated(home.path(), 3, 1, &["reader"], Place::Process).await;
    let h = &world.hospitals[0];
    let (dir, records) = (h.dir.clone(), h.records.clone());
    let (d, r) = (text(&dir).to_owned(), text(&records).to_owned());

    // Nobody has been asked for consent yet.
    refused(&["push", "--provider", &d, &r], &["owners.ndjson is missing", "sealdex owners enrol"]);
    refused(&["push", "--provider", text(home.path()), &r], &["provider.toml"]);
    world.enrol_patients().await;
    world.grant_everything("reader").await;
    let user = world.reader_dir("reader");
    let u = text(&user).to_owned();

    // One malformed line, one value that does not fit, one unknown patient: the rest goes on.
    let file = records.join("Observation.ndjson");
    let good = std::fs::read_to_string(&file).unwrap();
    let lines = good.lines().count();
    let first: serde_json::Value = serde_json::from_str(good.lines().next().unwrap()).unwrap();
    let mut bad_date = first.clone();
    bad_date["id"] = "bad-date".into();
    bad_date["effectiveDateTime"] = "yesterday".into();
    let mut stranger = first.clone();
    stranger["id"] = "stranger".into();
    stranger["subject"]["reference"] = "Patient/nobody-knows".into();
    std::fs::write(&file, format!("{good}{{\"resourceType\":\n{bad_date}\n{stranger}\n")).unwrap();
    let pushed = sealdex(&["push", "--provider", &d, &r]);
    assert_eq!(pushed.status.code(), Some(3), "{}", String::from_utf8_lossy(&pushed.stderr));
    let rejects = std::fs::read_to_string(dir.join("rejects.ndjson")).unwrap();
    assert_eq!(rejects.lines().count(), 3);
    for (line, reason) in [(1, "not JSON"), (2, "Observation.date"), (3, "no principal in the owner map")] {
        let wanted = format!("\"line\":{}", lines + line);
        assert!(rejects.lines().any(|l| l.contains(&wanted) && l.contains(reason)), "{wanted} {reason} in {rejects}");
    }
    std::fs::write(&file, &good).unwrap();
    assert!(sealdex(&["push", "--provider", &d, &r]).status.success(), "mended, it goes through");

    // Records come back byte for byte.
    let asked = sealdex(&["query", "--member", &u, "--format", "ndjson", r#"{"resource":"Observation"}"#]);
    let mut came: Vec<&str> = std::str::from_utf8(&asked.stdout).unwrap().lines().collect();
    let mut there: Vec<&str> = good.lines().collect();
    came.sort_unstable();
    there.sort_unstable();
    assert_eq!(came, there);

    // Questions that make no sense.
    let ask = |q: &str, because: &[&str]| refused(&["query", "--member", &u, q], because);
    ask(
        r#"{"resource":"Observation","filters":[{"field":"valeu","op":"gt","value":1}]}"#,
        &["no indexed field \"valeu\"", "did you mean \"value\""],
    );
    ask(r#"{"resource":"Observaton"}"#, &["did you mean \"Observation\""]);
    ask(
        r#"{"resource":"Observation","filters":[{"field":"value","op":"gt","value":"high"}]}"#,
        &["\"high\" does not fit Observation.value"],
    );
    ask(
        r#"{"resource":"Observation","filters":[{"field":"source","op":"eq","value":"nowhere"}]}"#,
        &["no provider is named \"nowhere\"", &h_name(&world)],
    );
    ask(r#"{"resource":"Observation","filters":[{"field":"text","op":"eq","value":"x"}]}"#, &["use word"]);
    ask("Observation?nonsense=1", &["search parameter \"nonsense\"", "component-code-value-quantity"]);
    ask("Observation?date=yesterday", &["search parameter \"date\"", "yesterday"]);
    ask("Observation?code:in=x", &["terminology server"]);
    ask("Observations", &["did you mean \"Observation\"?"]);

    // Keys that are missing, locked, of another kind; a pack that was changed.
    std::fs::rename(user.join("member.key"), user.join("away")).unwrap();
    ask("{}", &["member.key"]);
    let locked = sealdex_keyfile::Passphrase::new("right".into());
    let secrets = sealdex_wire::codec::to_json(&world.readers["reader"].secrets);
    sealdex_keyfile::write(&user.join("member.key"), "member", secrets.as_bytes(), Some(&locked.into())).unwrap();
    ask("{}", &["passphrase"]);
    std::fs::write(user.join("phrase"), "wrong\n").unwrap();
    refused(&["query", "--member", &u, "--passphrase-file", text(&user.join("phrase")), "{}"], &["wrong passphrase"]);
    std::fs::write(user.join("phrase"), "right\n").unwrap();
    let open = ["query", "--member", &u, "--passphrase-file", text(&user.join("phrase")), r#"{"resource":"Patient"}"#]
        .map(str::to_owned);
    assert!(sealdex(&open.each_ref().map(String::as_str)).status.success());
    let pack = std::fs::read_to_string(user.join("domain.json")).unwrap();
    std::fs::write(user.join("domain.json"), pack.replace("isolated", "merged")).unwrap();
    assert!(pack.contains("isolated"), "there is something to change");
    let changed = sealdex(&open.each_ref().map(String::as_str));
    let said = String::from_utf8_lossy(&changed.stderr).into_owned();
    assert!(!changed.status.success() && said.contains("refused"), "{said}");
}

fn h_name(world: &World) -> String {
    world.hospitals[0].name.clone()
}

#[test]
fn selftest_tells_right_from_wrong() {
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/vectors.json");
    let right = sealdex(&["selftest", "--vectors", text(&vectors)]);
    let said = String::from_utf8_lossy(&right.stdout).into_owned();
    assert!(right.status.success() && said.lines().last().unwrap().ends_with(", 0 failed"), "{said}");
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("v.json");
    let json = std::fs::read_to_string(&vectors).unwrap();
    let wrong = json.replacen("\"padded\": 104", "\"padded\": 105", 1).replacen("\"padded\":104", "\"padded\":105", 1);
    assert_ne!(json, wrong);
    std::fs::write(&path, wrong).unwrap();
    let output = sealdex(&["selftest", "--vectors", text(&path)]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!output.status.success() && said.contains("padme: 11 passed, 1 failed"), "{said}");
    std::fs::write(&path, r#"{"suite":"SDX-1","note":"","alchemy":[{}]}"#).unwrap();
    assert!(!sealdex(&["selftest", "--vectors", text(&path)]).status.success(), "an unknown section fails");
}
