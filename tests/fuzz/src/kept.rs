//! What programs keep on disks and read again: backups, settings, a hospital's list of patients.

use std::{ffi::OsString, fs, path::Path, sync::Arc};

use clap::{Arg, ArgAction, Command};
use sealdex_cloud::{
    backup::{Backup, restore},
    store::{NewBatch, RedbStore, SealedStore as _},
};
use sealdex_crypto::{BatchId, IdentitySeed, PrincipalId, RecordId, Term};
use sealdex_gate::{
    GateKeys, GateSecrets,
    backup::{
        BackupError, BackupKey,
        restore::check_backup,
        rows,
        stream::{Header, Opener, Sealer},
    },
    store::{ConsentStore as _, MemoryStore, Table},
};
use sealdex_provider::OwnerMap;
use sealdex_wire::{
    consent::SecretBytes,
    ingest::{BridgedRecord, UploadRecord},
};
use sha2::{Digest as _, Sha256};

use crate::{first, sources::file};

const CLOUD_BACKUP: &str = "cloud-000001-00000000-batch-0000000001.backup";
const SEED: [u8; 32] = [3; 32];

/// Files: the first byte picks the kind.
pub(crate) fn kept(data: &[u8]) {
    let (what, rest) = first(data);
    match what % 6 {
        0 => owner_map(rest),
        1 => drop(settings(rest)),
        2 => cloud_backup(rest),
        3 => {
            // What follows the hash is never looked at unless it fits.
            let hash: [u8; 32] = Sha256::digest(rest).into();
            cloud_backup(&[rest, &hash].concat());
        }
        4 => gate_backup(rest),
        _ => gate_backup(&sealed(rest)),
    }
}

/// A map that is read is the same one when it is written and read again.
fn owner_map(bytes: &[u8]) {
    let (folder, path) = file("owners.ndjson", bytes);
    let Ok(map) = OwnerMap::read(&path) else { return };
    let again = folder.path().join("again.ndjson");
    map.write(&again).unwrap();
    let back = OwnerMap::read(&again).unwrap();
    assert_eq!(map.len(), back.len(), "patients come or go");
    assert!(map.is_empty() || back.is_checked(), "written without a checksum");
}

/// What a file sets is an option of the server, and comes before nothing that was given. All options, if the file is in order.
fn settings(bytes: &[u8]) -> Option<Vec<String>> {
    let command = Command::new("test")
        .arg(Arg::new("listen").long("listen"))
        .arg(Arg::new("dir").long("dir"))
        .arg(Arg::new("plain").long("plain").action(ArgAction::SetTrue))
        .arg(Arg::new("also").long("also").action(ArgAction::Append))
        .arg(Arg::new("config").long("config"));
    let (_folder, path) = file("test.toml", bytes);
    let given: Vec<OsString> = vec!["--config".into(), path.into(), "--dir".into(), "/given".into()];
    let all = sealdex_settings::expand(&command, "test", given.clone()).ok()?;
    let all: Vec<String> = all.into_iter().map(|a| a.into_string().unwrap()).collect();
    let dirs = all.iter().filter(|a| *a == "--dir" || a.starts_with("--dir=")).count();
    assert_eq!(dirs, 1, "the file overrules what was given: {all:?}");
    assert!(all.len() >= given.len(), "something given is lost");
    Some(all)
}

/// Each file is in order or named as damaged.
fn cloud_backup(bytes: &[u8]) {
    let (folder, _) = file(CLOUD_BACKUP, bytes);
    let checked = restore::check(folder.path(), &mut |_, _| {}).unwrap();
    assert_eq!(checked.parts.len() + checked.damaged.len(), 1, "one file");
    assert!(checked.parts.iter().all(|p| p.rows <= bytes.len() as u64), "more rows than bytes");
}

fn gate_backup(bytes: &[u8]) {
    let (_folder, path) = file("gate.backup", bytes);
    let Ok((_, summary, report)) = check_backup(&path, &secrets()) else { return };
    assert!(summary.rows() <= bytes.len() as u64, "more rows than bytes");
    assert!(report.damages.len() as u64 <= report.damaged, "more damage is shown than counted");
}

fn secrets() -> GateSecrets {
    let byte = |b| SecretBytes([b; 32]);
    let keys = GateKeys {
        domain: "fuzz".into(),
        authority: (&sealdex_crypto::Identity::from_seed(&IdentitySeed::from_bytes(&[9; 32])).public()).into(),
        seed: SecretBytes(SEED),
        term_key: byte(1),
        order_secret: byte(2),
        noise_key: byte(4),
        tag_key: sealdex_gate::secrets::SecretBytes64([5; 64]),
        index_epoch: 0,
    };
    GateSecrets::new(&keys).unwrap()
}

fn gate() -> PrincipalId {
    secrets().identity().id()
}

fn key() -> BackupKey {
    BackupKey::derive(&IdentitySeed::from_bytes(&SEED))
}

/// A stream that is the gate's own, whatever is in it.
fn sealed(content: &[u8]) -> Vec<u8> {
    let mut sealer = Sealer::new(Vec::new(), &Header { gate: gate(), taken_at: 5 }, &key()).unwrap();
    sealer.add(content).unwrap();
    sealer.finish().unwrap()
}

/// A row in every table, none of which means anything.
fn gate_content() -> Vec<u8> {
    let store = MemoryStore::default();
    store
        .write(|txn| {
            for table in Table::ALL {
                for n in 0..2 {
                    txn.put(table, &[n; 33], &[n; 40])?;
                }
            }
            Ok::<_, BackupError>(())
        })
        .unwrap();
    let mut sealer = Sealer::new(Vec::new(), &Header { gate: gate(), taken_at: 5 }, &key()).unwrap();
    store.read(|s| rows::write(s, &mut sealer, &|| true, &|_| BackupError::Stopped)).unwrap();
    let bytes = sealer.finish().unwrap();
    let mut opener = Opener::new(Path::new("memory"), bytes.as_slice(), gate(), &key()).unwrap();
    let mut content = Vec::new();
    while let Ok([byte]) = opener.array::<1>() {
        content.push(byte);
    }
    content
}

fn a_cloud_backup() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(RedbStore::open(&folder.path().join("store.redb")).unwrap());
    let backup = Backup::open(store.clone(), PrincipalId([9; 16]), &folder.path().join("backups"), 1).unwrap();
    let record = |n: u8| UploadRecord {
        id: RecordId([n; 16]),
        index: BridgedRecord { origin: Term([n; 16]), terms: vec![n; 32], tag: vec![n; 24] },
        sealed: vec![n; 50],
    };
    let batch = NewBatch {
        batch: BatchId([1; 16]),
        provider: PrincipalId([1; 16]),
        hospital: PrincipalId([1; 16]),
        body_sha256: [1; 32],
        records: (1..4).map(record).collect(),
        deletes: Vec::new(),
        erases: Vec::new(),
        stated: None,
    };
    store.accept(&[batch]).unwrap().remove(0).unwrap();
    fs::read(backup.take().unwrap().unwrap().path).unwrap()
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let tagged = |what: u8, bytes: &[u8]| [vec![what], bytes.to_vec()].concat();
    let mut map = OwnerMap::default();
    map.insert("Patient/a".into(), PrincipalId([1; 16]));
    map.insert("Patient/b".into(), PrincipalId([2; 16]));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("owners.ndjson");
    map.write(&path).unwrap();
    let (backup, content) = (a_cloud_backup(), gate_content());
    vec![
        tagged(0, &fs::read(path).unwrap()),
        tagged(1, b"server = 'test'\ndir = '/file'\nlisten = \"x:1\"\nplain = true\nalso = ['a', 'b c']\n"),
        tagged(2, &backup),
        tagged(3, &backup[..backup.len() - 32]),
        tagged(4, &sealed(&content)),
        tagged(5, &content),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Or nothing of what is changed would ever be looked at.
    #[test]
    fn what_is_begun_with_is_in_order() {
        let seeds = seeds();
        let of = |what: usize| &seeds[what][1..];
        let (folder, path) = file("owners.ndjson", of(0));
        assert_eq!(OwnerMap::read(&path).unwrap().len(), 2);
        drop(folder);
        let options = settings(of(1)).unwrap();
        assert!(
            ["--listen=x:1", "--plain", "--also=b c"].iter().all(|o| options.contains(&(*o).into())),
            "{options:?}"
        );
        for whole in [of(2).to_vec(), [of(3), &Sha256::digest(of(3))].concat()] {
            let (folder, _) = file(CLOUD_BACKUP, &whole);
            let checked = restore::check(folder.path(), &mut |_, _| {}).unwrap();
            assert!(checked.damaged.is_empty() && checked.parts[0].rows > 3, "{:?}", checked.damaged);
        }
        for whole in [of(4).to_vec(), sealed(of(5))] {
            let (_folder, path) = file("gate.backup", &whole);
            let (at, summary, _) = check_backup(&path, &secrets()).unwrap();
            assert_eq!((at, summary.rows()), (5, 2 * Table::ALL.len() as u64));
        }
    }
}
