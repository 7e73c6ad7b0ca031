//! A file that takes the place of another one while that is read and written.
//!
//! It is written beside it, by whoever asked for it, and is not there for anybody else. Then writers are held, what is
//! lacking is written, and it is renamed over the old file. Readers of the old file keep it, without a name, until they end.
//! Killed at any point, the old file is still there, or the new one is already; what was begun is removed at the next start.

use std::{
    fs::{self, File},
    io, mem,
    path::{Path, PathBuf},
    sync::{Arc, MutexGuard, Weak},
};

use redb::{Durability, Error, WriteTransaction};

use crate::file::{DbFile, Locked, Open, Reader, SPARE, Slot, Trouble, io_error};

/// Space that a file beside another one leaves on the disk: who writes to the other one needs [`SPARE`].
const ROOM: u64 = 2 * SPARE;

fn name(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".rewriting");
    path.with_file_name(name)
}

/// Removes what a process left that was killed.
pub(crate) fn clear(path: &Path) {
    let left = name(path);
    match fs::remove_file(&left) {
        Ok(()) => tracing::info!(path = %left.display(), "removed what a compaction left that did not end"),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(error) => tracing::warn!(path = %left.display(), %error, "what a compaction left cannot be removed"),
    }
}

/// The new file. Dropped before [`Beside::replace`], nothing of it stays.
pub struct Beside<'d> {
    of: &'d DbFile,
    path: PathBuf,
    /// None once it is in place.
    open: Option<Open>,
    _alone: MutexGuard<'d, ()>,
}

/// While it is held, nobody writes to the old file.
pub struct Held {
    writer: WriteTransaction,
    slot: Arc<Slot>,
}

impl Held {
    /// What is in the old file for good.
    ///
    /// # Errors
    /// What redb says.
    pub fn begin_read(&self) -> Result<Reader, Error> {
        self.slot.clone().begin_read()
    }
}

/// What took place.
#[derive(Debug)]
pub struct Replaced {
    /// Bytes of the old file.
    pub before: u64,
    /// Bytes of the new one.
    pub after: u64,
    old: Weak<Slot>,
}

impl Replaced {
    /// Whether nobody reads the old file any more, so that the file system has its blocks back.
    pub fn is_let_go(&self) -> bool {
        self.old.strong_count() == 0
    }
}

impl DbFile {
    /// Begins an empty file that is to take this one's place. Waits for a check to end; none begins until it is dropped, nor
    /// another such file. `None` for what is no file.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn beside(&self) -> Result<Option<Beside<'_>>, Trouble> {
        let alone = self.alone();
        if self.now().locked.is_none() {
            return Ok(None);
        }
        let failed = |e| Trouble::Redb(Error::Io(e));
        let path = name(self.path());
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed(e)),
            _ => {}
        }
        self.room()?;
        let locked = Locked::open(&path, File::options().read(true).write(true).create_new(true));
        let mut beside = Beside { of: self, path, open: None, _alone: alone };
        let made = locked.and_then(|locked| {
            locked.0.set_permissions(fs::metadata(self.path()).map_err(io_error)?.permissions()).map_err(io_error)?;
            Open::new(locked, self.cache, &self.view)
        });
        match made {
            Ok(open) => beside.open = Some(open),
            Err(e) => {
                let _ = fs::remove_file(&beside.path);
                return Err(Trouble::Redb(e.into()));
            }
        }
        Ok(Some(beside))
    }

    fn room(&self) -> Result<(), Trouble> {
        match self.space().filter(|left| *left < ROOM) {
            Some(left) => Err(Trouble::NoSpace {
                path: name(self.path()),
                reason: format!("{} MiB are left on its disk, and {} MiB are kept free", left >> 20, ROOM >> 20),
            }),
            None => Ok(()),
        }
    }
}

impl Beside<'_> {
    /// Writes to the new file; durable when committed.
    ///
    /// # Errors
    /// [`Trouble::NoSpace`] when less than twice [`SPARE`] is left on the disk.
    pub fn begin_write(&self) -> Result<WriteTransaction, Trouble> {
        self.of.room()?;
        let Some(open) = &self.open else { return Err(Trouble::Redb(Error::DatabaseClosed)) };
        let mut tx = open.slot.begin_write().map_err(|e| self.explain(e))?;
        tx.set_durability(Durability::Immediate).map_err(|e| Trouble::Redb(e.into()))?;
        Ok(tx)
    }

    /// What is in the new file.
    ///
    /// # Errors
    /// What redb says.
    pub fn begin_read(&self) -> Result<Reader, Error> {
        self.open.as_ref().ok_or(Error::DatabaseClosed)?.slot.clone().begin_read()
    }

    /// What the disk said, if it has no room for the new file.
    pub fn full(&self) -> Option<String> {
        let reason = self.open.as_ref()?.disk.as_ref()?.full()?;
        Some(format!("{}: {reason}", self.path.display()))
    }

    fn explain(&self, e: Error) -> Trouble {
        match self.open.as_ref().and_then(|o| o.disk.as_ref()).and_then(|d| d.full()) {
            Some(reason) => Trouble::NoSpace { path: self.path.clone(), reason },
            None => Trouble::Redb(e),
        }
    }

    /// Holds whoever would write to the old file, once the one who does is done.
    ///
    /// # Errors
    /// What redb says.
    pub fn hold(&self) -> Result<Held, Error> {
        let (writer, slot) = self.of.writer()?;
        Ok(Held { writer, slot })
    }

    /// Puts the new file in the old one's place. From here on all that begins to read or write has the new one.
    ///
    /// # Errors
    /// Then the old file is in its place, unless the folder could not be synced: that is said, and which of the two is
    /// there after the machine has lost its power is open.
    pub fn replace(mut self, held: Held) -> Result<Replaced, Trouble> {
        let failed = |e| Trouble::Redb(Error::Io(e));
        let before = fs::metadata(self.of.path()).map_err(failed)?.len();
        let Some(new) = self.open.take() else { return Err(Trouble::Redb(Error::DatabaseClosed)) };
        // Nobody writes to the new file either until the folder has its name.
        let prepared = new.slot.begin_write().and_then(|writer| match &new.locked {
            Some(Locked(file)) => {
                Ok((writer, file.sync_all().and_then(|()| file.metadata()).map_err(Error::Io)?.len()))
            }
            None => Err(Error::DatabaseClosed),
        });
        let (writer, after) = match prepared {
            Ok(prepared) => prepared,
            Err(e) => {
                self.open = Some(new);
                return Err(self.explain(e));
            }
        };
        let old = {
            let mut open = self.of.open_mut();
            // Opened again after a failure, others may write to it.
            let renamed = if Arc::ptr_eq(&open.slot, &held.slot) && !open.failed() {
                fs::rename(&self.path, self.of.path())
            } else {
                Err(io::Error::other("the disk failed meanwhile"))
            };
            if let Err(e) = renamed {
                drop(open);
                self.open = Some(new);
                return Err(failed(e));
            }
            mem::replace(&mut *open, new)
        };
        let folder = self.of.path().parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let synced = File::open(folder).and_then(|d| d.sync_all());
        drop(held.writer);
        if let Some(disk) = &old.disk {
            disk.retire();
        }
        drop(writer);
        synced.map_err(failed)?;
        drop(held.slot);
        Ok(Replaced { before, after, old: Arc::downgrade(&old.slot) })
    }
}

/// For tests of what stands on this.
impl Beside<'_> {
    /// Acts as if the disk had failed under the new file.
    #[doc(hidden)]
    pub fn fail_for_test(&self, full: bool) {
        self.open.iter().filter_map(|o| o.disk.as_ref()).for_each(|disk| disk.fail(full));
    }
}

impl Drop for Beside<'_> {
    fn drop(&mut self) {
        let Some(open) = self.open.take() else { return };
        if let Some(disk) = &open.disk {
            disk.retire();
        }
        drop(open);
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt, sync::mpsc, thread, time::Duration};

    use redb::{DatabaseError, ReadableTable, TableDefinition};

    use super::*;
    use crate::Soundness;

    const ROWS: TableDefinition<u64, &[u8]> = TableDefinition::new("rows");

    fn insert(tx: WriteTransaction, key: u64) {
        tx.open_table(ROWS).unwrap().insert(key, [key as u8; 5000].as_slice()).unwrap();
        tx.commit().unwrap();
    }

    fn keys(of: &Reader) -> Vec<u64> {
        of.open_table(ROWS).unwrap().iter().unwrap().map(|row| row.unwrap().0.value()).collect()
    }

    fn copy(beside: &Beside<'_>, from: &Reader) {
        let (tx, old) = (beside.begin_write().unwrap(), from.open_table(ROWS).unwrap());
        {
            let mut new = tx.open_table(ROWS).unwrap();
            for row in old.iter().unwrap() {
                let (key, value) = row.unwrap();
                new.insert(key.value(), value.value()).unwrap();
            }
        }
        tx.commit().unwrap();
    }

    fn files(dir: &Path) -> usize {
        fs::read_dir(dir).unwrap().count()
    }

    #[test]
    fn writers_that_wait_write_to_the_new_file_and_readers_keep_the_old_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.redb");
        let file = DbFile::open(&path, 1 << 20).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        (0..100).for_each(|key| insert(file.begin_write().unwrap(), key));
        let old = file.begin_read().unwrap();
        let beside = file.beside().unwrap().unwrap();
        copy(&beside, &old);
        let held = beside.hold().unwrap();
        thread::scope(|s| {
            let (said, heard) = mpsc::channel();
            let of = &file;
            let waiting = s.spawn(move || {
                insert(of.begin_write().unwrap(), 100);
                said.send(()).unwrap();
            });
            assert!(heard.recv_timeout(Duration::from_millis(100)).is_err(), "writers are held");
            assert_eq!(keys(&file.begin_read().unwrap()).len(), 100, "readers are not");
            let replaced = beside.replace(held).unwrap();
            waiting.join().unwrap();
            assert_eq!(keys(&file.begin_read().unwrap()).len(), 101, "what waited is in the file that is in place");
            // More than its cache has: read from the file without a name.
            assert!((0..20).all(|_| keys(&old).len() == 100));
            assert!(!replaced.is_let_go());
            drop(old);
            assert!(replaced.is_let_go() && replaced.before > 0 && replaced.after > 0, "{replaced:?}");
        });
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(DbFile::open(&path, 0), Err(DatabaseError::DatabaseAlreadyOpen)));
        assert!(matches!(file.check(u64::MAX).unwrap(), Soundness::Sound));
        // The new file is opened again after a failure as the old one would be.
        file.fail_for_test(true);
        insert(file.begin_write().unwrap(), 101);
        drop(file);
        let again = DbFile::open(&path, 1 << 20).unwrap();
        assert_eq!((keys(&again.begin_read().unwrap()).len(), files(dir.path())), (102, 1));
    }

    #[test]
    fn given_up_or_killed_nothing_of_it_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.redb");
        let file = DbFile::open(&path, 1 << 20).unwrap();
        (0..10).for_each(|key| insert(file.begin_write().unwrap(), key));
        let beside = file.beside().unwrap().unwrap();
        copy(&beside, &file.begin_read().unwrap());
        assert_eq!(files(dir.path()), 2);
        drop(beside);
        assert_eq!(files(dir.path()), 1);
        // The old file fails and is opened again while it is held: others may write to it.
        let beside = file.beside().unwrap().unwrap();
        copy(&beside, &file.begin_read().unwrap());
        let held = beside.hold().unwrap();
        file.fail_for_test(true);
        insert(file.begin_write().unwrap(), 10);
        assert!(beside.replace(held).is_err());
        assert_eq!((keys(&file.begin_read().unwrap()).len(), files(dir.path())), (11, 1));
        drop(file);
        fs::write(dir.path().join("a.redb.rewriting"), "of one that was killed").unwrap();
        let file = DbFile::open(&path, 1 << 20).unwrap();
        assert_eq!((keys(&file.begin_read().unwrap()).len(), files(dir.path())), (11, 1));
    }

    #[test]
    fn a_check_waits_and_is_abandoned() {
        let dir = tempfile::tempdir().unwrap();
        let file = DbFile::open(&dir.path().join("a.redb"), 1 << 20).unwrap();
        insert(file.begin_write().unwrap(), 1);
        let beside = file.beside().unwrap().unwrap();
        thread::scope(|s| {
            let check = s.spawn(|| file.check(u64::MAX).unwrap());
            thread::sleep(Duration::from_millis(50));
            assert!(!check.is_finished());
            drop(beside);
            assert_eq!(check.join().unwrap(), Soundness::Sound);
        });
        file.abandon_check();
        assert_eq!(file.check(u64::MAX).unwrap(), Soundness::Busy, "none begins any more");
    }
}
