//! What lies on this machine's disks.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use sealdex_keyfile::{Sealing, inspect};
use sealdex_net::{clock::now_s, process, tls};
use sealdex_provider::{Manifest, OwnerMap};

use super::{Findings, Level};

/// Free bytes below which a store soon cannot be written.
const LITTLE: u64 = 1 << 30;
/// Open files a server should be allowed: its connections, its index's segments, and room.
const FILES: u64 = 4096;
/// A certificate that ends sooner is worth a warning.
const SOON: u64 = 21 * 86_400;

/// Bits that let others than the owner in.
#[cfg(unix)]
fn open_to_others(path: &Path) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = fs::metadata(path).ok()?.permissions().mode() & 0o777;
    (mode & 0o077 != 0).then_some(mode)
}

#[cfg(not(unix))]
fn open_to_others(_: &Path) -> Option<u32> {
    None
}

/// A folder that should be there, and the room on its disk.
pub(super) fn folder(dir: &Path, check: &'static str, found: &mut Findings) {
    match fs::metadata(dir) {
        Ok(m) if m.is_dir() => found.ok(check, dir.display(), "there"),
        Ok(_) => return found.add(Level::Wrong, check, dir.display(), "is a file", "name the folder"),
        Err(e) => return found.add(Level::Wrong, check, dir.display(), e, "check the path, and who may read it"),
    }
    disk(dir, found);
}

fn disk(path: &Path, found: &mut Findings) {
    let Some((free, all)) = process::disk(path) else { return };
    let share = free as f64 / all.max(1) as f64 * 100.0;
    let said = format!("{:.1} GB free, {share:.0} %", free as f64 / 1e9);
    let advice = "make room: without it nothing is stored, and nothing acknowledged";
    let level = match (free < LITTLE, share < 10.0) {
        (true, _) => Level::Wrong,
        (_, true) => Level::Warning,
        _ => Level::Ok,
    };
    found.add(level, "disk-space", path.display(), said, advice);
}

/// A key file: sealed, and by what; nobody else's to read.
pub(super) fn key(path: &Path, found: &mut Findings) {
    let sealing = match inspect(path) {
        Ok(inspected) => inspected,
        Err(error) => {
            let advice = "restore it from its copy; a key that is lost cannot be made again";
            return found.add(Level::Wrong, "key-file", path.display(), error, advice);
        }
    };
    match sealing.sealing {
        Sealing::Plain => found.add(
            Level::Warning,
            "key-sealed",
            path.display(),
            "in the clear",
            "sealdex keyfile reseal FILE --new-passphrase (or --new-unlock-file, --new-unlock-command)",
        ),
        sealed => found.ok("key-sealed", path.display(), format!("{} key, {sealed}", sealing.kind)),
    }
    private(path, "key-permissions", Level::Wrong, found);
}

/// A provider's folder: its key, and whose records it says are whose.
pub(super) fn provider(dir: &Path, found: &mut Findings) {
    let manifest = match Manifest::read(dir) {
        Ok(manifest) => manifest,
        Err(error) => {
            return found.add(
                Level::Wrong,
                "provider-folder",
                dir.display(),
                error,
                "name the folder of provider.toml",
            );
        }
    };
    folder(dir, "provider-folder", found);
    key(&manifest.key, found);
    match OwnerMap::read(&manifest.owners) {
        Ok(map) => {
            let said = match map.is_checked() {
                true => format!("{} patients, as they were written", map.len()),
                false => format!("{} patients, without a checksum", map.len()),
            };
            found.ok("owner-map", manifest.owners.display(), said);
        }
        Err(error) => {
            let advice = "restore it from a copy; sealdex owners enrol adds patients. Push nothing before: records would \
                          be sealed to others";
            found.add(Level::Wrong, "owner-map", manifest.owners.display(), error, advice);
        }
    }
}

/// Nobody else's to read.
fn private(path: &Path, check: &'static str, level: Level, found: &mut Findings) {
    match open_to_others(path) {
        Some(mode) => {
            let advice = if path.is_dir() { "chmod 700" } else { "chmod 600" };
            let advice = format!("{advice} {}", path.display());
            found.add(level, check, path.display(), format!("others may use it (mode {mode:o})"), &advice);
        }
        None => found.ok(check, path.display(), "its owner's only"),
    }
}

/// A cloud's data folder.
pub(super) fn cloud(dir: &Path, found: &mut Findings) {
    folder(dir, "cloud-folder", found);
    let store = dir.join("store.redb");
    match fs::metadata(&store) {
        Ok(m) if m.len() > 0 => {
            found.ok("cloud-store", store.display(), format!("{:.1} MB", m.len() as f64 / 1e6));
            private(&store, "store-permissions", Level::Warning, found);
        }
        Ok(_) => found.add(Level::Wrong, "cloud-store", store.display(), "is empty", RESTORE),
        Err(e) => found.add(Level::Wrong, "cloud-store", store.display(), e, RESTORE),
    }
}

const RESTORE: &str = "is it the right folder? If the store is lost: sealdex cloud restore (docs/OPERATING.md)";

/// A gate's store.
pub(super) fn gate(store: &Path, found: &mut Findings) {
    let advice = "is it the right file? If the store is lost: sealdex gate restore (docs/GATE.md)";
    match fs::metadata(store) {
        Ok(m) if m.is_file() && m.len() > 0 => {
            found.ok("gate-store", store.display(), format!("{:.1} MB", m.len() as f64 / 1e6));
            private(store, "store-permissions", Level::Wrong, found);
            disk(store, found);
        }
        Ok(_) => found.add(Level::Wrong, "gate-store", store.display(), "is empty, or no file", advice),
        Err(e) => found.add(Level::Wrong, "gate-store", store.display(), e, advice),
    }
}

/// The newest backup, and how old it is. A cloud to which nothing was written renews its newest file's time.
pub(super) fn backups(dir: &Path, oldest: Option<Duration>, found: &mut Findings) {
    let files: Vec<PathBuf> = match fs::read_dir(dir) {
        Ok(entries) => entries.filter_map(|e| Some(e.ok()?.path())).collect(),
        Err(e) => {
            return found.add(
                Level::Wrong,
                "backup",
                dir.display(),
                e,
                "check the path, and the server's --backup-dir",
            );
        }
    };
    disk(dir, found);
    let times = files
        .iter()
        .filter(|p| p.extension().is_some_and(|e| e == "backup"))
        .filter_map(|p| fs::metadata(p).ok()?.modified().ok()?.elapsed().ok());
    let Some(age) = times.min() else {
        let advice = "is the server started with --backup-dir, and does its log say \"backed up\"?";
        return found.add(Level::Wrong, "backup", dir.display(), "there is none", advice);
    };
    let said = format!("the newest is of {} minutes ago", age.as_secs() / 60);
    let late = oldest.is_some_and(|oldest| age > oldest);
    let advice = "the server is down or its backups fail: see its log, and sealdex_…_backups_total{outcome=\"failed\"}";
    found.add(if late { Level::Wrong } else { Level::Ok }, "backup", dir.display(), said, advice);
}

/// When a certificate ends.
pub(super) fn certificate(path: &Path, found: &mut Findings) {
    match tls::file_expiry(path) {
        Ok(end) => ends(end, path.display(), found),
        Err(error) => found.add(Level::Wrong, "certificate", path.display(), error, "give the PEM file of the chain"),
    }
}

/// The same of a certificate from anywhere.
pub(super) fn ends(end: Option<u64>, subject: impl ToString, found: &mut Findings) {
    let (now, advice) = (now_s(), "renew the certificate, and restart the server");
    let Some(end) = end else {
        return found.add(Level::Warning, "certificate", subject, "its end cannot be read", advice);
    };
    let (level, said) = match end.checked_sub(now) {
        None => (Level::Wrong, format!("ended {} days ago", (now - end) / 86_400)),
        Some(left) if left < SOON => (Level::Warning, format!("ends in {} days", left / 86_400)),
        Some(left) => (Level::Ok, format!("ends in {} days", left / 86_400)),
    };
    found.add(level, "certificate", subject, said, advice);
}

/// Open files that whoever runs this may have; a service manager may set others.
pub(super) fn limits(found: &mut Findings) {
    let Some(limit) = process::file_limit() else { return };
    let advice = "LimitNOFILE= in the unit, or ulimit -n; of a running server see --url";
    let level = if limit < FILES { Level::Warning } else { Level::Ok };
    found.add(level, "file-limit", "this shell", format!("{limit} open files"), advice);
}
