//! The journal: which version of which record the cloud has acknowledged.

use std::path::{Path, PathBuf};

use redb::{ReadableTableMetadata, TableDefinition, TableError, WriteTransaction};
use sealdex_dbfile::DbFile;
use sha2::{Digest, Sha256};

use crate::stating::Head;

/// First half of the hash of `Type/id` → first half of the hash of the record's bytes.
const PUSHED: TableDefinition<'_, [u8; 16], [u8; 16]> = TableDefinition::new("pushed");

/// First half of the hash of `Type/id` → nothing: deleted here, and not pushed since.
const DELETED: TableDefinition<'_, [u8; 16], ()> = TableDefinition::new("deleted");

/// `last` → number and digest of the last statement that the cloud acknowledged.
const STATED: TableDefinition<'_, &str, [u8; 40]> = TableDefinition::new("stated");

/// Identity and version of one record, as the journal knows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Version {
    /// Hash of `Type/id`.
    pub identity: [u8; 16],
    /// Hash of the bytes.
    pub content: [u8; 16],
}

impl Version {
    /// Of a record with this identity and these bytes.
    pub fn of(identity: &str, bytes: &[u8]) -> Self {
        let half = |b: &[u8]| {
            let mut out = [0; 16];
            out.copy_from_slice(&Sha256::digest(b)[..16]);
            out
        };
        Self { identity: half(identity.as_bytes()), content: half(bytes) }
    }
}

/// What the cloud has of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing.
    New,
    /// Another version.
    Changed,
    /// This version.
    Known,
}

/// Why the journal failed.
#[derive(Debug, thiserror::Error)]
#[error("journal {path}: {reason}")]
pub struct JournalError {
    path: PathBuf,
    reason: String,
}

/// Pages in memory, bytes.
const CACHE: usize = 32 << 20;

/// Durable record of what was pushed, one file per provider. A gateway has it open for as long as it runs: a disk that was
/// full for a while must not be the end of writing.
pub struct Journal {
    db: DbFile,
    path: PathBuf,
}

impl Journal {
    /// Opens or creates the journal. A second job of the same provider is refused while one runs.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let fail = |reason: String| JournalError { path: path.into(), reason };
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir).map_err(|e| fail(e.to_string()))?;
        }
        let db = DbFile::open(path, CACHE).map_err(|e| {
            fail(match e {
                redb::DatabaseError::DatabaseAlreadyOpen => {
                    "another push, or a gateway, of this provider is running".to_owned()
                }
                other => other.to_string(),
            })
        })?;
        Self::of(db, path)
    }

    /// A journal in whatever keeps bytes as a file does.
    pub fn over(backend: impl redb::StorageBackend) -> Result<Self, JournalError> {
        let path = Path::new("");
        Self::of(
            DbFile::over(backend, CACHE).map_err(|e| JournalError { path: path.into(), reason: e.to_string() })?,
            path,
        )
    }

    fn of(db: DbFile, path: &Path) -> Result<Self, JournalError> {
        let journal = Self { db, path: path.into() };
        journal.record(&[])?;
        Ok(journal)
    }

    fn fail(&self, e: impl std::fmt::Display) -> JournalError {
        // Whatever was made of it: the disk's word, if it had no room.
        let reason = self.db.full().map_or_else(|| e.to_string(), |full| format!("there is no room: {full}"));
        JournalError { path: self.path.clone(), reason }
    }

    /// Which of these versions the cloud has already.
    pub fn known(&self, versions: &[Version]) -> Result<Vec<bool>, JournalError> {
        Ok(self.states(versions)?.into_iter().map(|s| s == State::Known).collect())
    }

    /// What the cloud has of these records.
    pub fn states(&self, versions: &[Version]) -> Result<Vec<State>, JournalError> {
        let read = self.db.begin_read().map_err(|e| self.fail(e))?;
        let table = read.open_table(PUSHED).map_err(|e| self.fail(e))?;
        let state = |v: &Version| {
            let found = table.get(v.identity).map_err(|e| self.fail(e))?;
            Ok(match found {
                None => State::New,
                Some(c) if c.value() == v.content => State::Known,
                Some(_) => State::Changed,
            })
        };
        versions.iter().map(state).collect()
    }

    /// What the cloud has of these records; of those it lacks this version of, forgets the version it had. From here
    /// on the cloud may have either, whatever happens to this process, so neither may count as known. Durable
    /// on return.
    pub fn begin(&self, versions: &[Version]) -> Result<Vec<State>, JournalError> {
        let states = self.states(versions)?;
        let deleted = self.deleted(versions)?;
        let noted = states.iter().zip(&deleted).map(|(state, deleted)| *state == State::Changed || *deleted);
        self.forget(versions.iter().zip(noted).filter_map(|(v, noted)| noted.then_some(v)))?;
        Ok(states)
    }

    /// Forgets records that are to be deleted: from here on the cloud may have them or not. Of each, whether it was
    /// known. Durable on return.
    pub(crate) fn begin_deletion(&self, versions: &[Version]) -> Result<Vec<bool>, JournalError> {
        let known: Vec<bool> = self.states(versions)?.into_iter().map(|s| s != State::New).collect();
        self.forget(versions.iter().zip(&known).filter_map(|(v, known)| known.then_some(v)))?;
        Ok(known)
    }

    /// Notes records that the cloud has acknowledged as deleted, with the statement under which it did. Durable on return.
    pub(crate) fn record_deleted(&self, versions: &[Version], head: Option<Head>) -> Result<(), JournalError> {
        let write = self.db.begin_write().map_err(|e| self.fail(e))?;
        {
            let mut table = write.open_table(DELETED).map_err(|e| self.fail(e))?;
            for v in versions {
                table.insert(v.identity, ()).map_err(|e| self.fail(e))?;
            }
        }
        self.note_head(&write, head)?;
        write.commit().map_err(|e| self.fail(e))
    }

    /// Whether a record was deleted here, and is neither pushed again nor about to be.
    pub fn is_deleted(&self, version: &Version) -> Result<bool, JournalError> {
        Ok(self.deleted(std::slice::from_ref(version))?.contains(&true))
    }

    /// As [`Journal::is_deleted`], of each.
    fn deleted(&self, versions: &[Version]) -> Result<Vec<bool>, JournalError> {
        let read = self.db.begin_read().map_err(|e| self.fail(e))?;
        let table = match read.open_table(DELETED) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(vec![false; versions.len()]),
            other => other.map_err(|e| self.fail(e))?,
        };
        versions.iter().map(|v| Ok(table.get(v.identity).map_err(|e| self.fail(e))?.is_some())).collect()
    }

    /// Forgets what became of records of which something is noted.
    fn forget<'v>(&self, versions: impl Iterator<Item = &'v Version>) -> Result<(), JournalError> {
        let mut versions = versions.peekable();
        if versions.peek().is_none() {
            return Ok(());
        }
        let write = self.db.begin_write().map_err(|e| self.fail(e))?;
        {
            let mut table = write.open_table(PUSHED).map_err(|e| self.fail(e))?;
            let mut deleted = write.open_table(DELETED).map_err(|e| self.fail(e))?;
            for v in versions {
                table.remove(v.identity).map_err(|e| self.fail(e))?;
                deleted.remove(v.identity).map_err(|e| self.fail(e))?;
            }
        }
        write.commit().map_err(|e| self.fail(e))
    }

    /// Notes versions the cloud has acknowledged. Durable on return.
    pub fn record(&self, versions: &[Version]) -> Result<(), JournalError> {
        self.put(versions, None)
    }

    /// As [`Journal::record`], with the statement under which the cloud acknowledged them.
    pub(crate) fn record_stated(&self, versions: &[Version], head: Head) -> Result<(), JournalError> {
        self.put(versions, Some(head))
    }

    /// The last statement that the cloud acknowledged.
    pub(crate) fn stated(&self) -> Result<Option<Head>, JournalError> {
        let read = self.db.begin_read().map_err(|e| self.fail(e))?;
        let table = match read.open_table(STATED) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(None),
            other => other.map_err(|e| self.fail(e))?,
        };
        let row = table.get("last").map_err(|e| self.fail(e))?.map(|v| v.value());
        Ok(row.map(|row| {
            let (mut number, mut digest) = ([0; 8], [0; 32]);
            number.copy_from_slice(&row[..8]);
            digest.copy_from_slice(&row[8..]);
            Head { number: u64::from_be_bytes(number), digest }
        }))
    }

    fn put(&self, versions: &[Version], head: Option<Head>) -> Result<(), JournalError> {
        let mut sorted = versions.to_vec();
        // Stable: of two versions of one record the later stays.
        sorted.sort_by_key(|v| v.identity);
        let write = self.db.begin_write().map_err(|e| self.fail(e))?;
        {
            let mut table = write.open_table(PUSHED).map_err(|e| self.fail(e))?;
            for v in &sorted {
                table.insert(v.identity, v.content).map_err(|e| self.fail(e))?;
            }
        }
        self.note_head(&write, head)?;
        write.commit().map_err(|e| self.fail(e))
    }

    fn note_head(&self, write: &WriteTransaction, head: Option<Head>) -> Result<(), JournalError> {
        let Some(Head { number, digest }) = head else { return Ok(()) };
        let mut row = [0; 40];
        row[..8].copy_from_slice(&number.to_be_bytes());
        row[8..].copy_from_slice(&digest);
        write.open_table(STATED).map_err(|e| self.fail(e))?.insert("last", row).map_err(|e| self.fail(e))?;
        Ok(())
    }

    /// Number of records the cloud has.
    pub fn len(&self) -> Result<u64, JournalError> {
        let read = self.db.begin_read().map_err(|e| self.fail(e))?;
        let table = read.open_table(PUSHED).map_err(|e| self.fail(e))?;
        table.len().map_err(|e| self.fail(e))
    }

    /// Whether nothing was pushed yet.
    pub fn is_empty(&self) -> Result<bool, JournalError> {
        Ok(self.len()? == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_known_once_recorded_and_a_newer_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("j.redb");
        let (a, b) = (Version::of("Patient/1", b"one"), Version::of("Patient/1", b"two"));
        {
            let j = Journal::open(&path).unwrap();
            assert_eq!(j.known(&[a, b]).unwrap(), [false, false]);
            j.record(&[a]).unwrap();
            assert_eq!(j.known(&[a, b]).unwrap(), [true, false]);
            assert!(Journal::open(&path).is_err(), "one job at a time");
        }
        let j = Journal::open(&path).unwrap();
        assert_eq!(j.known(&[a]).unwrap(), [true]);
        j.record(&[a, b]).unwrap();
        assert_eq!(j.known(&[a, b]).unwrap(), [false, true]);
        assert_eq!(j.len().unwrap(), 1);
    }

    #[test]
    fn a_deleted_record_is_known_as_such_until_it_is_pushed_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("j.redb");
        let (a, b, gone) = (Version::of("A/1", b"one"), Version::of("A/2", b"x"), Version::of("A/1", &[]));
        {
            let j = Journal::open(&path).unwrap();
            j.record(&[a, b]).unwrap();
            assert_eq!(j.begin_deletion(&[gone, Version::of("A/3", &[])]).unwrap(), [true, false]);
            // Killed here: it counts neither as pushed nor as deleted.
            assert_eq!(
                (j.states(&[a, b]).unwrap(), j.is_deleted(&gone).unwrap()),
                (vec![State::New, State::Known], false)
            );
            j.record_deleted(&[gone], Some(Head { number: 7, digest: [1; 32] })).unwrap();
        }
        let j = Journal::open(&path).unwrap();
        assert!(j.is_deleted(&gone).unwrap() && !j.is_deleted(&b).unwrap());
        assert_eq!(j.stated().unwrap(), Some(Head { number: 7, digest: [1; 32] }));
        assert_eq!(j.begin(&[a]).unwrap(), [State::New], "the same bytes are pushed anew");
        assert!(!j.is_deleted(&gone).unwrap());
    }

    #[test]
    fn while_a_version_is_under_way_neither_it_nor_the_older_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("j.redb");
        let (a, b, c) = (Version::of("A/1", b"one"), Version::of("A/1", b"two"), Version::of("A/2", b"x"));
        {
            let j = Journal::open(&path).unwrap();
            j.record(&[a, c]).unwrap();
            assert_eq!(j.begin(&[b, c]).unwrap(), [State::Changed, State::Known]);
        }
        // Killed here: the cloud may have either.
        let j = Journal::open(&path).unwrap();
        assert_eq!(j.known(&[a, b, c]).unwrap(), [false, false, true]);
        j.record(&[b]).unwrap();
        assert_eq!(j.begin(&[b]).unwrap(), [State::Known]);
    }

    #[test]
    fn after_its_disk_failed_it_is_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (Version::of("A/1", b"one"), Version::of("A/2", b"two"));
        let j = Journal::open(&dir.path().join("j.redb")).unwrap();
        j.record(&[a]).unwrap();
        let half = j.db.begin_write().unwrap();
        half.open_table(PUSHED).unwrap().insert(b.identity, b.content).unwrap();
        j.db.fail_for_test(true);
        let lost = half.commit().map_err(|e| j.fail(e)).unwrap_err();
        assert!(lost.to_string().contains("no room"), "{lost}");
        assert_eq!(j.known(&[a, b]).unwrap(), [true, false]);
        j.record(&[b]).unwrap();
        assert_eq!(j.known(&[a, b]).unwrap(), [true, true]);
    }
}
