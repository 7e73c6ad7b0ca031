//! What storage of this crate can fail with, and files that survive a power cut.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Storage that did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("could not {action} {what}: {kind}")]
pub struct StorageError {
    /// What was tried.
    pub action: &'static str,
    /// With which file or tile.
    pub what: String,
    /// How it failed.
    pub kind: io::ErrorKind,
}

impl StorageError {
    /// An error of the operating system.
    #[must_use]
    pub fn new(action: &'static str, what: impl ToString, kind: io::ErrorKind) -> Self {
        Self { action, what: what.to_string(), kind }
    }
}

pub(crate) fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StorageError {
    move |e| StorageError::new(action, path.display(), e.kind())
}

/// Content of a file, `None` if there is none.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>, StorageError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(failed("read", path)(e)),
    }
}

/// A folder that only this process writes to, for as long as the value lives.
pub(crate) struct LockedFolder {
    path: PathBuf,
    _lock: File,
}

impl LockedFolder {
    /// Makes the folder if there is none.
    pub(crate) fn open(path: &Path) -> Result<Self, StorageError> {
        fs::create_dir_all(path).map_err(failed("make", path))?;
        if let Some(parent) = path.parent() {
            sync_folder(if parent.as_os_str().is_empty() { Path::new(".") } else { parent })?;
        }
        let file = path.join("lock");
        let lock = File::create(&file).map_err(failed("make", &file))?;
        lock.try_lock().map_err(|e| failed("lock", &file)(e.into()))?;
        Ok(Self { path: path.into(), _lock: lock })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Puts a file in place of the one with this name: after a crash there is the old one or the
    /// new one, and the new one once this has returned.
    pub(crate) fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), StorageError> {
        let mut writes = Unsynced::new(&self.path);
        writes.replace(&self.path.join(name), bytes, true)?;
        writes.sync()
    }
}

/// Files open at most until they are synced.
const MAX_OPEN: usize = 64;

/// Folders remembered at most.
const MAX_FOLDERS: usize = 1024;

/// Files below a folder that are written and may not be durable yet.
pub(crate) struct Unsynced {
    base: PathBuf,
    files: Vec<(File, PathBuf)>,
    folders: BTreeSet<PathBuf>,
    /// Folders whose own names are durable, or will be with [`Self::sync`].
    named: BTreeSet<PathBuf>,
}

impl Unsynced {
    /// For files below a folder whose own name is durable.
    pub(crate) fn new(base: &Path) -> Self {
        Self { base: base.into(), files: Vec::new(), folders: BTreeSet::new(), named: BTreeSet::new() }
    }

    /// Puts a file in place of the one at this path, making the folders to it. `first` syncs the
    /// content before it gets its name; without it a crash before [`Self::sync`] may leave a
    /// file of the new name and any content.
    pub(crate) fn replace(&mut self, path: &Path, bytes: &[u8], first: bool) -> Result<(), StorageError> {
        let folder = path.parent().unwrap_or(&self.base);
        fs::create_dir_all(folder).map_err(failed("make", folder))?;
        let folder = folder.to_path_buf();
        let temporary = with_suffix(path, ".tmp");
        let mut file = File::create(&temporary).map_err(failed("make", &temporary))?;
        file.write_all(bytes).map_err(failed("write", &temporary))?;
        if first {
            file.sync_all().map_err(failed("sync", &temporary))?;
        } else {
            self.files.push((file, path.into()));
        }
        fs::rename(&temporary, path).map_err(failed("rename to", path))?;
        self.remember(folder);
        if self.files.len() >= MAX_OPEN || self.folders.len() >= MAX_FOLDERS { self.sync() } else { Ok(()) }
    }

    /// Makes everything durable: contents, then names.
    pub(crate) fn sync(&mut self) -> Result<(), StorageError> {
        let synced = self.sync_all();
        if synced.is_err() || self.named.len() >= MAX_FOLDERS {
            self.named.clear();
        }
        synced
    }

    fn sync_all(&mut self) -> Result<(), StorageError> {
        for (file, path) in self.files.drain(..) {
            file.sync_all().map_err(failed("sync", &path))?;
        }
        while let Some(folder) = self.folders.pop_last() {
            sync_folder(&folder)?;
        }
        Ok(())
    }

    /// The folder has a new name in it, and so may those above it: whoever made them may have
    /// been stopped before they were durable.
    fn remember(&mut self, folder: PathBuf) {
        let above = folder.parent().filter(|_| folder != self.base && !self.named.contains(&folder));
        if let Some(above) = above {
            self.named.insert(folder.clone());
            self.remember(above.into());
        }
        self.folders.insert(folder);
    }
}

/// The path with this behind its last part.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn sync_folder(folder: &Path) -> Result<(), StorageError> {
    File::open(folder).and_then(|f| f.sync_all()).map_err(failed("sync", folder))
}
