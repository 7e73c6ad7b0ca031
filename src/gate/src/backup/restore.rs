//! Backups and stores, checked; and a store made anew from a backup, whole or not at all.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    BackupError, files,
    rows::{self, Summary},
};
use sealdex_dbfile::Soundness;

use crate::{
    secrets::GateSecrets,
    standing,
    store::{
        ConsentStore as _, RedbStore, StoreError, Table,
        check::{Checker, Report},
    },
};

/// A store that was restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// What the backup held.
    pub summary: Summary,
    /// What came after this is lost, Unix milliseconds: the time of the backup, or an earlier one when the
    /// backup was of a restored store that nobody had resumed.
    pub as_of: u64,
}

/// Checks every row of a backup.
///
/// # Errors
/// [`BackupError`] when it is no whole backup of this gate; what is wrong inside is in the report.
pub fn check_backup(path: &Path, secrets: &GateSecrets) -> Result<(u64, Summary, Report), BackupError> {
    let mut from = files::open(path, secrets)?;
    let mut checker = Checker::new(secrets);
    let summary = rows::read(&mut from, |table, page| {
        checker.rows(table, &page);
        Ok::<_, BackupError>(())
    })?;
    Ok((from.header().taken_at, summary, checker.finish()))
}

/// Checks every row of a store that no gate has open.
///
/// # Errors
/// [`StoreError`] when it cannot be opened; what is wrong inside is in the report.
pub fn check_store(path: &Path, secrets: &GateSecrets) -> Result<Report, StoreError> {
    let store = existing(path)?;
    let found = store.check(u64::MAX)?;
    store.read(|snapshot| {
        let mut checker = Checker::new(secrets);
        if let Soundness::Damaged(what) = found {
            checker.unreadable(Table::Meta, &StoreError::Backend(format!("a checksum of the file: {what}")));
        }
        for table in Table::ALL {
            let read = rows::pages(snapshot, table, |page| {
                checker.rows(table, &page);
                Ok::<_, StoreError>(())
            });
            if let Err(error) = read {
                checker.unreadable(table, &error);
            }
        }
        Ok(checker.finish())
    })
}

/// Opens a store that is there; opening alone would make one.
///
/// # Errors
/// [`StoreError`].
pub fn existing(path: &Path) -> Result<RedbStore, StoreError> {
    let missing = |why: String| StoreError::Backend(format!("{}: {why}", path.display()));
    match fs::metadata(path) {
        Ok(file) if file.len() > 0 => RedbStore::open(path),
        Ok(_) => Err(missing("the file is empty".to_owned())),
        Err(e) => Err(missing(e.to_string())),
    }
}

/// Makes a store from a backup. Everything is verified before anything is written; the store appears under
/// its name when it is whole, and is marked as restored.
///
/// # Errors
/// [`BackupError`]; there is no store then.
pub fn restore(from: &Path, to: &Path, secrets: &GateSecrets, now: u64) -> Result<Restored, BackupError> {
    let absent = |path: &Path| match fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(BackupError::io(path, &e)),
        Ok(_) => Err(BackupError::Exists(path.into())),
    };
    absent(to)?;
    let (taken_at, checked, report) = check_backup(from, secrets)?;
    if let Some(first) = report.damages.first() {
        let (path, damaged, first) = (from.to_owned(), report.damaged, first.to_string());
        return Err(BackupError::Content { path, damaged, first });
    }
    let beside = beside(to);
    // What a process that was killed left behind.
    let _ = fs::remove_file(&beside);
    let made = (|| -> Result<Restored, BackupError> {
        let store = RedbStore::open(&beside)?;
        let restored = store.write(|txn| {
            let mut backup = files::open(from, secrets)?;
            let summary = rows::read(&mut backup, |table, page| {
                page.iter().try_for_each(|(key, value)| txn.put(table, key, value)).map_err(BackupError::from)
            })?;
            if summary != checked {
                let (path, at, what) = (from.to_owned(), 0, "it was changed while it was read".to_owned());
                return Err(BackupError::Damaged { path, at, what });
            }
            let as_of = standing::mark(txn, taken_at, now)?;
            Ok(Restored { summary, as_of })
        })?;
        drop(store);
        // Its format is checked when it is opened.
        drop(RedbStore::open(&beside)?);
        absent(to)?;
        // Unlike renaming, linking never replaces a file that has appeared meanwhile.
        match fs::hard_link(&beside, to) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Err(BackupError::Exists(to.into())),
            Err(_) => fs::rename(&beside, to).map_err(|e| BackupError::io(to, &e))?,
        }
        Ok(restored)
    })();
    let _ = fs::remove_file(&beside);
    let restored = made?;
    files::sync_dir(to.parent().unwrap_or(Path::new(".")))?;
    Ok(restored)
}

fn beside(to: &Path) -> PathBuf {
    let mut name = to.file_name().unwrap_or_default().to_owned();
    name.push(".restoring");
    to.with_file_name(name)
}
