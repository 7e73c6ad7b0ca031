//! Each way of sealing a key file, and what is told to who takes the wrong one.
#![cfg(unix)]
#![allow(clippy::unwrap_used)] // a test stops where it cannot go on

use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use sealdex_keyfile::{
    KeyFileError, Method, Passphrase, Sealing, Unlock, UnlockCommand, UnlockFile, inspect, read, replace, reseal, write,
};

fn pass(s: &str) -> Unlock {
    Passphrase::new(s.into()).into()
}

/// A plug-in as small as they come: it shifts every byte, and its blobs name the key they need.
const PLUG_IN: &str = r#"#!/bin/sh
set -eu
export LC_ALL=C
key=$(cat "$1")
case "$2" in
wrap) printf 'wrapped by %s\n' "$key"; tr '\000-\377' '\200-\377\000-\177' ;;
unwrap)
    IFS= read -r first
    [ "$first" = "wrapped by $key" ] || { echo "no such key" >&2; exit 4; }
    tr '\200-\377\000-\177' '\000-\377'
    ;;
*) echo "usage: wrap or unwrap" >&2; exit 64 ;;
esac
"#;

fn script(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    // Another process writes it: a descriptor open for writing here could pass to a child that another test
    // starts, and what is open for writing cannot be started.
    let mut writer = Command::new("sh")
        .args(["-c", "cat >\"$0\" && chmod 755 \"$0\""])
        .arg(&path)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    writer.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(writer.wait().unwrap().success());
    path
}

fn command(line: &str) -> Unlock {
    Unlock::Command(UnlockCommand::parse(line).unwrap().with_timeout(Duration::from_secs(20)))
}

fn plug_in(dir: &Path) -> Unlock {
    let program = script(dir, "plug-in.sh", PLUG_IN);
    fs::write(dir.join("kms key"), "of the KMS\n").unwrap();
    command(&format!("{} '{}'", program.display(), dir.join("kms key").display()))
}

fn broken(dir: &Path, text: &str) -> String {
    let program = script(dir, "broken.sh", &format!("#!/bin/sh\n{text}\n"));
    let line = format!("{} --pin 1234", program.display());
    let unlock = Unlock::Command(UnlockCommand::parse(&line).unwrap().with_timeout(Duration::from_secs(1)));
    let path = dir.join("never.key");
    let error = write(&path, "gate", b"secret", Some(&unlock)).unwrap_err();
    assert!(!path.exists(), "nothing is written by a command that fails: {error}");
    let said = error.to_string();
    assert!(said.contains("broken.sh") && !said.contains("1234"), "{said}");
    said
}

#[test]
fn only_the_right_passphrase_and_kind_open_an_untouched_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.key");
    write(&path, "member", b"secret bytes", Some(&pass("correct horse"))).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("sealdex-key/v1 member\nargon2id "));
    assert!(!text.contains("secret"));
    let refused = Err(KeyFileError::Refused { path: path.clone(), method: Method::Passphrase });
    let needed = |given| Err(KeyFileError::Needed { path: path.clone(), needed: Method::Passphrase, given });
    assert_eq!(read(&path, "member", Some(&pass("correct horse"))).unwrap().as_slice(), b"secret bytes");
    assert_eq!(read(&path, "member", Some(&pass("wrong"))), refused);
    assert_eq!(read(&path, "member", None), needed(None));
    assert!(matches!(read(&path, "gate", None), Err(KeyFileError::WrongKind { .. })));
    assert_eq!(write(&path, "member", b"", None), Err(KeyFileError::Exists(path.clone())));
    // The header is covered: another kind does not pass.
    fs::write(&path, text.replace("v1 member", "v1 gate")).unwrap();
    assert_eq!(read(&path, "gate", Some(&pass("correct horse"))), refused);
}

#[test]
fn a_plain_file_says_so_and_other_files_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.key");
    write(&path, "gate", &[0, 1, 2], None).unwrap();
    assert_eq!(inspect(&path).map(|i| (i.kind, i.sealing)), Ok(("gate".into(), Sealing::Plain)));
    assert_eq!(read(&path, "gate", None).unwrap().as_slice(), &[0, 1, 2]);
    fs::write(&path, "hello").unwrap();
    assert_eq!(read(&path, "gate", None), Err(KeyFileError::NotAKeyFile(path.clone())));
    fs::write(&path, "sealdex-key/v1 gate\ntpm2 policy=7\nAAAA\n").unwrap();
    let newer = read(&path, "gate", None).unwrap_err().to_string();
    assert!(newer.contains("\"tpm2\"") && newer.contains("newer"), "{newer}");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn an_unlock_file_opens_what_was_sealed_under_it() {
    let dir = tempfile::tempdir().unwrap();
    let (path, first) = (dir.path().join("a.key"), dir.path().join("unlock"));
    let unlock = Unlock::File(UnlockFile::make(&first).unwrap());
    assert_eq!(fs::metadata(&first).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(UnlockFile::make(&first).err(), Some(KeyFileError::Exists(first.clone())));
    write(&path, "gate", b"secret", Some(&unlock)).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("\nunlock-file id="), "{text}");
    let read_back = Unlock::File(UnlockFile::read(&first).unwrap());
    assert_eq!(read(&path, "gate", Some(&read_back)).unwrap().as_slice(), b"secret");
    let second = dir.path().join("other");
    let other = Unlock::File(UnlockFile::make(&second).unwrap());
    let said = read(&path, "gate", Some(&other)).unwrap_err().to_string();
    assert!(said.contains("the unlock file with id") && said.contains("other"), "{said}");
    let said = read(&path, "gate", Some(&pass("x"))).unwrap_err().to_string();
    assert!(said.contains("--unlock-file") && said.contains("a passphrase was given"), "{said}");
    // The right file, but the body was changed.
    fs::write(&path, text.replacen("salt=", "salt=00", 1)).unwrap();
    assert!(read(&path, "gate", Some(&unlock)).is_err());
    fs::write(&second, [7; 31]).unwrap();
    let said = UnlockFile::read(&second).err().unwrap().to_string();
    assert!(said.contains("31 bytes") && said.contains("make-unlock-file"), "{said}");
}

#[test]
fn a_command_wraps_and_unwraps() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.key");
    let unlock = plug_in(dir.path());
    write(&path, "wallet", b"secret", Some(&unlock)).unwrap();
    let Sealing::UnlockCommand { wrapped, .. } = inspect(&path).unwrap().sealing else { panic!("another sealing") };
    assert!(wrapped.starts_with(b"wrapped by of the KMS\n"), "the header holds what the command returned");
    assert_eq!(read(&path, "wallet", Some(&unlock)).unwrap().as_slice(), b"secret");
    let before = fs::read_to_string(&path).unwrap();
    replace(&path, "wallet", b"secret", Some(&unlock)).unwrap();
    assert_ne!(fs::read_to_string(&path).unwrap(), before, "each file has a data key of its own");
    let said = read(&path, "wallet", None).unwrap_err().to_string();
    assert!(said.contains("--unlock-command") && said.contains("SEALDEX_UNLOCK_COMMAND"), "{said}");
    // Another key of the KMS does not open it.
    fs::write(dir.path().join("kms key"), "another\n").unwrap();
    let said = read(&path, "wallet", Some(&unlock)).unwrap_err().to_string();
    assert!(
        said.contains("plug-in.sh") && said.ends_with("(unwrap) failed (exit status: 4) and said: no such key"),
        "{said}"
    );
}

#[test]
fn a_command_that_fails_is_named_with_what_it_said() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let said = broken(dir, "cat >/dev/null; echo 'token is not present' >&2; echo more >&2; exit 3");
    assert!(said.contains("exit status: 3") && said.ends_with("and said: token is not present"), "{said}");
    assert!(broken(dir, "cat >/dev/null").contains("returned nothing"));
    assert!(broken(dir, "cat").contains("not wrapped"));
    assert!(broken(dir, "kill -9 $$").contains("signal: 9"));
    assert!(broken(dir, "cat >/dev/null; head -c 70000 /dev/zero").contains("more than 65536 bytes"));
    assert!(broken(dir, "cat >/dev/null; printf 0123456789").contains("returned 10 bytes"));
    assert!(broken(dir, "cat >/dev/null; printf 01234567890123456789012345678901").contains("does not return the key"));
    let leak = broken(dir, "od -An -v -tx1 | tr -d ' \\n' >&2; exit 1");
    assert!(leak.contains("not shown"), "{leak}");
    let began = Instant::now();
    assert!(broken(dir, "exec yes").contains("more than 65536 bytes"), "one that never ends is stopped");
    assert!(broken(dir, "sleep 60").contains("did not finish within 1 seconds"));
    assert!(began.elapsed() < Duration::from_secs(15));
    let absent = Unlock::Command(UnlockCommand::parse("/nowhere/kms").unwrap());
    let said = write(&dir.join("b.key"), "gate", b"", Some(&absent)).unwrap_err().to_string();
    assert!(said.contains("/nowhere/kms") && said.contains("cannot be started"), "{said}");
    for line in ["", "  ", "a 'b"] {
        assert!(UnlockCommand::parse(line).is_err(), "{line:?}");
    }
}

#[test]
fn resealing_changes_how_a_file_is_sealed_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.key");
    let file = Unlock::File(UnlockFile::make(&dir.path().join("unlock")).unwrap());
    let (phrase, plug) = (pass("one"), plug_in(dir.path()));
    write(&path, "authority", b"secret", Some(&phrase)).unwrap();
    let ways = [None, Some(&plug), Some(&file), Some(&phrase)];
    let mut now = Some(&phrase);
    for next in ways {
        reseal(&path, now, next).unwrap();
        assert_eq!(inspect(&path).unwrap().sealing.method(), next.map(Unlock::method));
        assert_eq!(read(&path, "authority", next).unwrap().as_slice(), b"secret");
        now = next;
    }
    // One that cannot be opened, or sealed, stays as it was; nothing is left lying about.
    let before = fs::read(&path).unwrap();
    assert!(reseal(&path, Some(&file), None).is_err());
    let moody = script(dir.path(), "moody.sh", "#!/bin/sh\ncat >/dev/null\n[ $1 = wrap ] && echo blob\n");
    assert!(reseal(&path, now, Some(&command(&moody.display().to_string()))).is_err());
    assert_eq!(fs::read(&path).unwrap(), before);
    let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(!names.iter().any(|n| n.to_string_lossy().ends_with(".new")), "{names:?}");
    // Through a link, the file itself is changed.
    let link = dir.path().join("link.key");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    reseal(&link, now, Some(&file)).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(inspect(&path).unwrap().sealing.method(), Some(Method::UnlockFile));
}
