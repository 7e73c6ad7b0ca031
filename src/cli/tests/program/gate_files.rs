//! Key files and the files of a gate, by the command line: what is told, and with which exit code.
#![allow(clippy::unwrap_used)] // a test stops where it cannot go on

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

const EXE: &str = env!("CARGO_BIN_EXE_sealdex");
const VARIABLES: [&str; 3] = ["SEALDEX_PASSPHRASE", "SEALDEX_UNLOCK_FILE", "SEALDEX_UNLOCK_COMMAND"];

/// Exit code, and what was said on both outputs.
fn sealdex(dir: &Path, line: &str, environment: &[(&str, &str)]) -> (i32, String) {
    let mut command = Command::new(EXE);
    for variable in VARIABLES {
        command.env_remove(variable);
    }
    let output = command
        .args(line.split(' '))
        .envs(environment.iter().copied())
        .current_dir(dir)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8_lossy(&said).into_owned())
}

fn told(dir: &Path, line: &str, environment: &[(&str, &str)], code: i32, parts: &[&str]) {
    let (found, said) = sealdex(dir, line, environment);
    assert_eq!(found, code, "{line}: {said}");
    parts.iter().for_each(|part| assert!(said.contains(part), "{line} said {said:?}, not {part:?}"));
}

fn serve(dir: &Path, line: &str, environment: &[(&str, &str)]) -> Child {
    let mut command = Command::new(EXE);
    for variable in VARIABLES {
        command.env_remove(variable);
    }
    command.args(["serve"]).args(line.split(' ')).args(["--listen", "127.0.0.1:0"]).envs(environment.iter().copied());
    let mut child = command.current_dir(dir).env("RUST_LOG", "error").stdout(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.starts_with("listening on "), "{line}");
    child
}

fn stop(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn every_program_opens_key_files_in_every_way() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    told(dir, "domain init --dir d --name north", &[("SEALDEX_PASSPHRASE", "one")], 0, &["founded"]);
    told(dir, "keyfile show d/gate.key d/authority.key", &[], 0, &["authority", "a passphrase (Argon2id, 64 MiB"]);
    told(dir, "keyfile make-unlock-file u", &[], 0, &["unlock file with id"]);
    told(dir, "keyfile make-unlock-file u", &[], 1, &["exists already"]);
    let kms = dir.join("kms.sh");
    let script = "#!/bin/sh\nexport LC_ALL=C\ncase \"$2\" in wrap) exec tr '\\000-\\377' '\\200-\\377\\000-\\177';; \
                  unwrap) exec tr '\\200-\\377\\000-\\177' '\\000-\\377';; esac\nexit 1\n";
    fs::write(&kms, script).unwrap();
    // By the shell, not by itself: what this process may still have open for writing cannot be started.
    let command = format!("sh '{}' key-7", kms.display());
    let ways = [
        ("--new-unlock-file u", ("SEALDEX_UNLOCK_FILE", "u"), "--unlock-file"),
        ("--new-insecure-plain", ("NOTHING", ""), ""),
    ];
    let mut now = ("SEALDEX_PASSPHRASE", "one");
    told(dir, "keyfile reseal d/gate.key --new-unlock-file u", &[], 1, &["--passphrase-file", "d/gate.key"]);
    for (new, next, needed) in ways {
        let (gate, cloud) = ("gate --keys d/gate.key --store gate.redb", "cloud --keys d/cloud.key --dir cloud");
        told(dir, &format!("keyfile reseal d/gate.key d/cloud.key d/authority.key {new}"), &[now], 0, &["now "]);
        stop(serve(dir, gate, &[next]));
        stop(serve(dir, cloud, &[next]));
        told(dir, "domain show --dir d", &[next], 0, &["roster version 1"]);
        if !needed.is_empty() {
            told(dir, &format!("serve {gate}"), &[now], 1, &[needed, "was given, which does not open it"]);
            told(dir, &format!("serve {cloud}"), &[], 1, &[needed]);
            told(dir, "domain show --dir d", &[], 1, &[needed]);
        }
        now = next;
    }
    // A command has blanks in it, which the lines above are split at.
    let output = Command::new(EXE)
        .args(["keyfile", "reseal", "d/gate.key", "--new-unlock-command", &command])
        .current_dir(dir)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    stop(serve(dir, "gate --keys d/gate.key --store gate.redb", &[("SEALDEX_UNLOCK_COMMAND", &command)]));
    told(dir, "keyfile show d/gate.key", &[], 0, &["an unlock command (wrapped key of 32 bytes)"]);
    told(dir, "keyfile reseal d/gate.key", &[], 2, &["--new-unlock-file"]);
    let two = [("SEALDEX_PASSPHRASE", "a"), ("SEALDEX_UNLOCK_FILE", "u")];
    told(dir, "domain init --dir e --name south", &two, 1, &["several are given"]);
    told(dir, "domain init --dir e --name south --unlock-file u", &two, 0, &["founded"]);
    told(dir, "keyfile show e/cloud.key", &[], 0, &["unlock file with id"]);
}

#[test]
fn a_gate_is_backed_up_checked_restored_and_resumed() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    told(dir, "domain init --dir d --name north --insecure-plain-keys", &[], 0, &[]);
    let gate = serve(dir, "gate --keys d/gate.key --store gate.redb --backup-dir bk --backup-every never", &[]);
    assert!(Command::new("kill").args(["-USR1", &gate.id().to_string()]).status().unwrap().success());
    let began = Instant::now();
    let backup = loop {
        let names = fs::read_dir(dir.join("bk")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        if let Some(name) = names.into_iter().find(|n| n.ends_with(".backup")) {
            break format!("bk/{name}");
        }
        assert!(began.elapsed() < Duration::from_secs(30), "no backup was taken");
        std::thread::sleep(Duration::from_millis(5));
    };
    told(dir, "gate check --keys d/gate.key --store gate.redb", &[], 1, &["Cannot acquire lock"]);
    stop(gate);
    let whole = ["a whole backup, taken at ", "every row parses, every sealed scalar opens"];
    told(dir, &format!("gate check --keys d/gate.key --backup {backup}"), &[], 0, &whole);
    told(
        dir,
        &format!("gate restore --keys d/gate.key --from {backup} --store gate.redb"),
        &[],
        1,
        &["exists already"],
    );
    let mut bytes = fs::read(dir.join(&backup)).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(dir.join("bent"), bytes).unwrap();
    told(dir, "gate restore --keys d/gate.key --from bent --store new.redb", &[], 1, &["bent is damaged at byte"]);
    assert!(!dir.join("new.redb").exists());
    let restore = format!("gate restore --keys d/gate.key --from {backup} --store new.redb");
    told(dir, &restore, &[], 0, &["every one verified", "resume-gate"]);
    let (code, said) = sealdex(dir, "gate check --keys d/gate.key --store new.redb", &[]);
    let at = said.split("restored at backup time ").nth(1).unwrap().split(',').next().unwrap().to_owned();
    assert_eq!(code, 0, "{said}");
    let resume = |at: &str| format!("gate resume --keys d/gate.key --store new.redb --accept-loss-after {at}");
    told(dir, &resume("yesterday"), &[], 2, &["2026-11-21T04:37:52Z"]);
    told(dir, &resume("2020-01-01T00:00:00Z"), &[], 1, &["restored from a backup taken at", &at]);
    told(dir, &resume(&at), &[], 0, &["serves again"]);
    told(dir, &resume(&at), &[], 1, &["not one that waits"]);
    // A file that is damaged where its rows are.
    fs::write(dir.join("junk.redb"), [7; 9000]).unwrap();
    told(dir, "gate check --keys d/gate.key --store junk.redb", &[], 1, &["error: "]);
    told(dir, "gate check --keys d/gate.key --store absent.redb", &[], 1, &["absent.redb"]);
}
