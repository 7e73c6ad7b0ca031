//! Files of backups: whole or not there, the newest kept.

use std::{
    fs,
    io::{self, BufReader, BufWriter, Write as _},
    path::{Path, PathBuf},
};

use sealdex_crypto::PrincipalId;

use super::{
    BackupError,
    rows::{self, Summary},
    stream::{Header, Opener, Sealer},
};
use crate::{secrets::GateSecrets, store::ConsentStore};

const SUFFIX: &str = ".backup";
/// A file that is being written; of a process that was killed, it stays until the next start.
const UNFINISHED: &str = ".unfinished";

/// A backup that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Its file.
    pub path: PathBuf,
    /// What it holds.
    pub summary: Summary,
    /// Size of the file.
    pub bytes: u64,
}

fn prefix(gate: PrincipalId) -> String {
    format!("gate-{gate}-")
}

/// `20261121T043752.123Z`: sorts by time.
fn stamp(unix_ms: u64) -> String {
    super::time_text(unix_ms - unix_ms % 1000).replace(['-', ':'], "").replace('Z', &format!(".{:03}Z", unix_ms % 1000))
}

/// Name of the backup of a gate at a time.
pub fn name(gate: PrincipalId, taken_at: u64) -> String {
    format!("{}{}{SUFFIX}", prefix(gate), stamp(taken_at))
}

/// Backups of a gate in a directory, oldest first.
///
/// # Errors
/// [`BackupError::Io`].
pub fn list(dir: &Path, gate: PrincipalId) -> Result<Vec<PathBuf>, BackupError> {
    named(dir, &prefix(gate), SUFFIX)
}

fn named(dir: &Path, prefix: &str, suffix: &str) -> Result<Vec<PathBuf>, BackupError> {
    let failed = |e: io::Error| BackupError::io(dir, &e);
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        if name.to_str().is_some_and(|n| n.starts_with(prefix) && n.ends_with(suffix)) {
            found.push(entry.path());
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Makes the directory if it is missing, and clears what an earlier process left unfinished.
///
/// # Errors
/// [`BackupError::Io`].
pub fn prepare(dir: &Path, gate: PrincipalId) -> Result<(), BackupError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir).map_err(|e| BackupError::io(dir, &e))?;
    for left in named(dir, &prefix(gate), UNFINISHED)? {
        fs::remove_file(&left).map_err(|e| BackupError::io(&left, &e))?;
    }
    Ok(())
}

/// Takes a backup of one moment while others read and write, and removes the oldest beyond `keep`.
/// `go_on` is asked now and then; the backup is given up when it says no. There is a file under the final
/// name when it is whole and durable, never before.
///
/// # Errors
/// [`BackupError`]; earlier backups are as they were.
pub fn take<S: ConsentStore>(
    store: &S,
    secrets: &GateSecrets,
    dir: &Path,
    keep: usize,
    now: u64,
    go_on: &dyn Fn() -> bool,
) -> Result<Taken, BackupError> {
    let gate = secrets.identity().id();
    let path = dir.join(name(gate, now));
    if path.exists() {
        return Err(BackupError::Exists(path));
    }
    let mut unfinished = path.clone().into_os_string();
    unfinished.push(UNFINISHED);
    let unfinished = PathBuf::from(unfinished);
    let failed = |e: io::Error| BackupError::io(&unfinished, &e);
    let written = (|| -> Result<Taken, BackupError> {
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = BufWriter::with_capacity(1 << 20, options.open(&unfinished).map_err(failed)?);
        // The header's time is from before the snapshot: whatever was acknowledged by then is in it.
        let mut out = Sealer::new(file, &Header { gate, taken_at: now }, &secrets.backup_key).map_err(failed)?;
        let summary = store.read(|snapshot| rows::write(snapshot, &mut out, go_on, &failed))?;
        let mut file = out.finish().map_err(failed)?;
        file.flush().map_err(failed)?;
        let file = file.into_inner().map_err(|e| failed(e.into_error()))?;
        file.sync_all().map_err(failed)?;
        let bytes = file.metadata().map_err(failed)?.len();
        fs::rename(&unfinished, &path).map_err(failed)?;
        sync_dir(dir)?;
        Ok(Taken { path: path.clone(), summary, bytes })
    })();
    if written.is_err() {
        let _ = fs::remove_file(&unfinished);
    }
    let taken = written?;
    // Never the new one, whatever a clock that went back makes of its name.
    let mut older: Vec<_> = list(dir, gate)?.into_iter().filter(|p| *p != path).collect();
    older.truncate(older.len().saturating_sub(keep.saturating_sub(1)));
    for old in older {
        fs::remove_file(&old).map_err(|e| BackupError::io(&old, &e))?;
    }
    Ok(taken)
}

pub(super) fn sync_dir(dir: &Path) -> Result<(), BackupError> {
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    fs::File::open(dir).and_then(|d| d.sync_all()).map_err(|e| BackupError::io(dir, &e))
}

/// Opens a backup for reading.
///
/// # Errors
/// [`BackupError`]: it cannot be read, is none, or is another gate's.
pub fn open(path: &Path, secrets: &GateSecrets) -> Result<Opener<BufReader<fs::File>>, BackupError> {
    let file = fs::File::open(path).map_err(|e| BackupError::io(path, &e))?;
    Opener::new(path, BufReader::with_capacity(1 << 20, file), secrets.identity().id(), &secrets.backup_key)
}
