//! A database file that outlives the failures of its disk.

use std::{
    fs::{self, File, TryLockError},
    io,
    ops::Deref,
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use redb::{
    Database, DatabaseError, Durability, Error, ReadTransaction, ReadableDatabase, StorageBackend, StorageError,
    WriteTransaction,
};

use crate::{
    beside,
    view::{self, Soundness, View},
};

/// The check that is going on.
type Viewed = Arc<RwLock<Option<Arc<View>>>>;

/// Space that a write leaves on its disk, bytes: for the search index, logs and merges beside the store, and for the
/// pages that redb writes before it frees others.
pub const SPARE: u64 = 32 << 20;

/// Why a write did not begin, or did not end.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// The disk is full, or nearly; or nothing may be written to it.
    #[error(
        "{path} cannot be written: {reason}. What is stored is still served; writing goes on by itself when there is room"
    )]
    NoSpace {
        /// Which file.
        path: PathBuf,
        /// What the disk says.
        reason: String,
    },
    /// Anything else.
    #[error(transparent)]
    Redb(#[from] Error),
}

/// A redb file. After an I/O error redb refuses everything until the file is opened anew; this does so at the next use.
pub struct DbFile {
    path: PathBuf,
    pub(crate) cache: usize,
    open: RwLock<Open>,
    pub(crate) view: Viewed,
    /// One check, or one file that is to take this one's place, at a time.
    checking: Mutex<()>,
    abandoned: AtomicBool,
}

/// The file as it is open now.
pub(crate) struct Open {
    pub(crate) slot: Arc<Slot>,
    /// None of what is no file: it is never opened again.
    pub(crate) disk: Option<Arc<Disk>>,
    // Dropped last: until then no other process may open the file. None of what is no file.
    pub(crate) locked: Option<Locked>,
}

/// A database, until it is closed. Readers hold on to it: a database that is dropped fails their reads.
pub(crate) struct Slot(RwLock<Option<Database>>);

impl Slot {
    pub(crate) fn begin_read(self: Arc<Self>) -> Result<Reader, Error> {
        let tx = self.with(|db| Ok(db.begin_read()?))?;
        Ok(Reader { tx, _of: self })
    }

    pub(crate) fn begin_write(&self) -> Result<WriteTransaction, Error> {
        self.with(|db| Ok(db.begin_write()?))
    }

    fn with<T>(&self, f: impl FnOnce(&Database) -> Result<T, Error>) -> Result<T, Error> {
        match &*self.0.read().unwrap_or_else(PoisonError::into_inner) {
            Some(db) => f(db),
            None => Err(Error::DatabaseClosed),
        }
    }
}

/// One state of the file, for as long as it is held: also where another file takes its place meanwhile.
pub struct Reader {
    tx: ReadTransaction,
    _of: Arc<Slot>,
}

impl Deref for Reader {
    type Target = ReadTransaction;

    fn deref(&self) -> &ReadTransaction {
        &self.tx
    }
}

pub(crate) struct Locked(pub(crate) Arc<File>);

impl Locked {
    /// Opens a file that no other process has open.
    pub(crate) fn open(path: &Path, options: &fs::OpenOptions) -> Result<Self, DatabaseError> {
        let file = options.open(path).map_err(io_error)?;
        match file.try_lock() {
            Ok(()) => Ok(Self(Arc::new(file))),
            Err(TryLockError::WouldBlock) => Err(DatabaseError::DatabaseAlreadyOpen),
            Err(TryLockError::Error(e)) => Err(io_error(e)),
        }
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // Snapshots may keep the file open; the lock is not theirs.
        let _ = self.0.unlock();
    }
}

pub(crate) fn io_error(e: io::Error) -> DatabaseError {
    DatabaseError::Storage(StorageError::Io(e))
}

impl DbFile {
    /// Opens or makes the file, with `cache` bytes of pages in memory.
    ///
    /// # Errors
    /// [`DatabaseError::DatabaseAlreadyOpen`] when another process has it, or what redb says.
    pub fn open(path: &Path, cache: usize) -> Result<Self, DatabaseError> {
        crate::ensure(path)?;
        let locked = Locked::open(path, File::options().read(true).write(true))?;
        let (own, named) = (locked.0.metadata().map_err(io_error)?, fs::metadata(path).map_err(io_error)?);
        if (own.dev(), own.ino()) != (named.dev(), named.ino()) {
            // Another process has just put another file in its place, and serves that one.
            return Err(DatabaseError::DatabaseAlreadyOpen);
        }
        beside::clear(path);
        let view = Viewed::default();
        let open = RwLock::new(Open::new(locked, cache, &view)?);
        let (checking, abandoned) = (Mutex::default(), AtomicBool::new(false));
        Ok(Self { path: path.into(), cache, open, view, checking, abandoned })
    }

    /// A database in whatever keeps bytes as a file does: for simulations. It is not opened again after a failure, has as
    /// much room as it has, and is never checked.
    ///
    /// # Errors
    /// What redb says.
    pub fn over(backend: impl StorageBackend, cache: usize) -> Result<Self, DatabaseError> {
        let slot = Open::database(backend, cache)?;
        let open = RwLock::new(Open { slot, disk: None, locked: None });
        let (view, checking, abandoned) = (Viewed::default(), Mutex::default(), AtomicBool::new(false));
        Ok(Self { path: PathBuf::new(), cache, open, view, checking, abandoned })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The newest state.
    ///
    /// # Errors
    /// What redb says.
    pub fn begin_read(&self) -> Result<Reader, Error> {
        self.slot()?.begin_read()
    }

    /// The one writer; durable when committed.
    ///
    /// # Errors
    /// [`Trouble::NoSpace`] when less than [`SPARE`] is left on the disk.
    pub fn begin_write(&self) -> Result<WriteTransaction, Trouble> {
        if let Some(left) = self.space().filter(|left| *left < SPARE) {
            let reason = format!("{} MiB are left on its disk, and {} MiB are kept free", left >> 20, SPARE >> 20);
            return Err(Trouble::NoSpace { path: self.path.clone(), reason });
        }
        let (mut tx, _) = self.writer().map_err(|e| self.explain(e))?;
        tx.set_durability(Durability::Immediate).map_err(|e| Trouble::Redb(e.into()))?;
        Ok(tx)
    }

    /// The one writer, of the file that is in place once it is its turn.
    pub(crate) fn writer(&self) -> Result<(WriteTransaction, Arc<Slot>), Error> {
        loop {
            let slot = self.slot()?;
            let tx = slot.begin_write()?;
            // While it waited another file may have taken this one's place: what is written here now would be lost.
            if Arc::ptr_eq(&slot, &self.now().slot) {
                return Ok((tx, slot));
            }
            tx.abort()?;
        }
    }

    pub(crate) fn now(&self) -> std::sync::RwLockReadGuard<'_, Open> {
        self.open.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn open_mut(&self) -> std::sync::RwLockWriteGuard<'_, Open> {
        self.open.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a check, or for a file that is to take this one's place, to end; none begins while it is held.
    pub(crate) fn alone(&self) -> MutexGuard<'_, ()> {
        self.checking.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What an error of a transaction comes from: the disk's word, if the disk failed.
    pub fn explain(&self, e: Error) -> Trouble {
        match self.now().disk.as_ref().and_then(|d| d.full()) {
            Some(reason) => Trouble::NoSpace { path: self.path.clone(), reason },
            None => Trouble::Redb(e),
        }
    }

    /// Whether the disk had no room at its last failure; `None` once the file was opened again.
    pub fn full(&self) -> Option<String> {
        self.now().disk.as_ref()?.full()
    }

    /// Verifies every checksum of the newest state, one check at a time, reading at most `rate` bytes a second. Readers and writers go on
    /// meanwhile.
    ///
    /// # Errors
    /// When the file cannot be read at all.
    pub fn check(&self, rate: u64) -> Result<Soundness, Error> {
        let _one_at_a_time = self.alone();
        let Some(file) = self.now().locked.as_ref().map(|l| l.0.clone()) else { return Ok(Soundness::Busy) };
        if self.abandoned.load(Ordering::Acquire) {
            return Ok(Soundness::Busy);
        }
        // The view begins between two transactions, and is told of all that is written from then on.
        let (writer, _) = self.writer()?;
        let view = Arc::new(View::of(file, rate).map_err(Error::Io)?);
        *self.view.write().unwrap_or_else(PoisonError::into_inner) = Some(view.clone());
        let begun = writer.abort();
        let sound = view::soundness(&view);
        *self.view.write().unwrap_or_else(PoisonError::into_inner) = None;
        begun?;
        Ok(sound)
    }

    /// Gives up a check that goes on; none begins any more.
    pub fn abandon_check(&self) {
        self.abandoned.store(true, Ordering::Release);
        if let Some(view) = &*self.view.read().unwrap_or_else(PoisonError::into_inner) {
            view.give_up();
        }
    }

    /// Bytes left on the disk, as far as it tells.
    pub(crate) fn space(&self) -> Option<u64> {
        let of = rustix::fs::fstatvfs(&self.now().locked.as_ref()?.0).ok()?;
        Some(of.f_bavail.saturating_mul(of.f_frsize))
    }

    fn slot(&self) -> Result<Arc<Slot>, Error> {
        {
            let open = self.now();
            if !open.failed() {
                return Ok(open.slot.clone());
            }
        }
        let mut open = self.open_mut();
        if open.failed() {
            tracing::warn!(path = %self.path.display(), "the disk failed; the file is opened again");
            open.again(self.cache, &self.view)?;
        }
        Ok(open.slot.clone())
    }
}

/// Closes the database, though readers may be left: another process may open the file now.
impl Drop for DbFile {
    fn drop(&mut self) {
        let open = self.open.get_mut().unwrap_or_else(PoisonError::into_inner);
        drop(open.slot.0.write().unwrap_or_else(PoisonError::into_inner).take());
    }
}

impl Open {
    pub(crate) fn new(locked: Locked, cache: usize, view: &Viewed) -> Result<Self, DatabaseError> {
        let disk = Disk::of(&locked, view);
        let slot = Self::database(Backend(disk.clone()), cache)?;
        Ok(Self { slot, disk: Some(disk), locked: Some(locked) })
    }

    fn database(backend: impl StorageBackend, cache: usize) -> Result<Arc<Slot>, DatabaseError> {
        let mut builder = Database::builder();
        builder.set_cache_size(cache).set_repair_callback(|repair| {
            if view::goes_back(repair) {
                tracing::warn!("the newest commit is not whole: the store goes back to the one before");
            }
        });
        let db = builder.create_with_backend(backend)?;
        Ok(Arc::new(Slot(RwLock::new(Some(db)))))
    }

    /// Opens the same file again.
    fn again(&mut self, cache: usize, view: &Viewed) -> Result<(), DatabaseError> {
        let Some(locked) = &self.locked else { return Ok(()) };
        let disk = Disk::of(locked, view);
        self.slot = Self::database(Backend(disk.clone()), cache)?;
        self.disk = Some(disk);
        Ok(())
    }

    pub(crate) fn failed(&self) -> bool {
        self.disk.as_ref().is_some_and(|d| d.failed())
    }
}

/// The file as one [`Database`] has it. After the first failure nothing is written any more, so that what is left of this
/// database cannot harm the next one.
#[derive(Debug)]
pub(crate) struct Disk {
    file: Arc<File>,
    failure: RwLock<Option<Failure>>,
    view: Viewed,
    retired: AtomicBool,
}

#[derive(Debug)]
struct Failure {
    full: bool,
    reason: String,
}

impl Disk {
    fn of(locked: &Locked, view: &Viewed) -> Arc<Self> {
        let (failure, retired) = (RwLock::default(), AtomicBool::new(false));
        Arc::new(Self { file: locked.0.clone(), failure, view: view.clone(), retired })
    }

    /// Nothing is written from here on: who reads a file that has no name any more needs none of it.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
    }

    fn in_use(&self) -> io::Result<()> {
        if self.retired.load(Ordering::Acquire) {
            return Err(io::Error::other("another file has taken its place"));
        }
        Ok(())
    }

    fn failed(&self) -> bool {
        self.failure.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    pub(crate) fn full(&self) -> Option<String> {
        let failure = self.failure.read().unwrap_or_else(PoisonError::into_inner);
        failure.as_ref().filter(|f| f.full).map(|f| f.reason.clone())
    }

    fn run<T>(&self, what: &str, f: impl FnOnce(&File) -> io::Result<T>) -> io::Result<T> {
        let result = {
            // Held while it runs: once a failure is noted, nothing is under way.
            let failure = self.failure.read().unwrap_or_else(PoisonError::into_inner);
            if failure.is_some() {
                return Err(io::Error::other("the disk failed before"));
            }
            f(&self.file)
        };
        if let Err(e) = &result {
            use io::ErrorKind::{FileTooLarge, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
            let full = matches!(e.kind(), StorageFull | QuotaExceeded | FileTooLarge | ReadOnlyFilesystem);
            let mut failure = self.failure.write().unwrap_or_else(PoisonError::into_inner);
            failure.get_or_insert_with(|| Failure { full, reason: format!("{what}: {e}") });
        }
        result
    }
}

impl Disk {
    /// Writes, after a check that goes on was told what.
    fn change(&self, what: &str, offset: u64, len: u64, f: impl FnOnce(&File) -> io::Result<()>) -> io::Result<()> {
        self.in_use()?;
        let view = self.view.read().unwrap_or_else(PoisonError::into_inner);
        self.run(what, |file| {
            view.as_ref().map_or(Ok(()), |view| view.keep(offset, len))?;
            f(file)
        })
    }
}

#[derive(Debug)]
struct Backend(Arc<Disk>);

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.0.run("reading its length", |f| Ok(f.metadata()?.len()))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.run("reading", |f| f.read_exact_at(out, offset))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.change("growing it", len, u64::MAX - len, |f| f.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.in_use()?;
        self.0.run("syncing", File::sync_data)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.change("writing", offset, data.len() as u64, |f| f.write_all_at(data, offset))
    }
}

/// For tests of what stands on this.
impl DbFile {
    /// Acts as if the disk had failed.
    #[doc(hidden)]
    pub fn fail_for_test(&self, full: bool) {
        self.now().disk.iter().for_each(|disk| disk.fail(full));
    }
}

impl Disk {
    pub(crate) fn fail(&self, full: bool) {
        let mut failure = self.failure.write().unwrap_or_else(PoisonError::into_inner);
        *failure = Some(Failure { full, reason: "as a test has it".into() });
    }
}

#[cfg(test)]
mod tests {
    use redb::{ReadableTable, TableDefinition};

    use super::*;

    const ROWS: TableDefinition<u64, &[u8]> = TableDefinition::new("rows");

    fn put(file: &DbFile, key: u64, bytes: usize) -> Result<(), Trouble> {
        let tx = file.begin_write()?;
        {
            let mut rows = tx.open_table(ROWS).map_err(|e| file.explain(e.into()))?;
            rows.insert(key, vec![key as u8; bytes].as_slice()).map_err(|e| file.explain(e.into()))?;
        }
        tx.commit().map_err(|e| file.explain(e.into()))
    }

    fn keys(file: &DbFile) -> Vec<u64> {
        let rows = file.begin_read().unwrap().open_table(ROWS).unwrap();
        rows.iter().unwrap().map(|row| row.unwrap().0.value()).collect()
    }

    #[test]
    fn after_a_failure_the_file_is_opened_again() {
        let dir = tempfile::tempdir().unwrap();
        let file = DbFile::open(&dir.path().join("a.redb"), 1 << 20).unwrap();
        put(&file, 1, 10).unwrap();
        let old = file.begin_read().unwrap();
        let half = file.begin_write().unwrap();
        half.open_table(ROWS).unwrap().insert(2, [0; 9].as_slice()).unwrap();
        file.fail_for_test(true);
        let lost = half.commit().map_err(|e| file.explain(e.into()));
        assert!(matches!(lost, Err(Trouble::NoSpace { .. })), "{lost:?}");
        assert_eq!(keys(&file), [1], "read by a second database while the first one's reader lives");
        put(&file, 3, 10).unwrap();
        drop(old);
        assert_eq!(keys(&file), [1, 3]);
        assert!(matches!(DbFile::open(file.path(), 0), Err(DatabaseError::DatabaseAlreadyOpen)));
        let path = file.path().to_owned();
        let pin = file.begin_read().unwrap();
        drop(file);
        assert_eq!(keys(&DbFile::open(&path, 1 << 20).unwrap()), [1, 3], "a reader does not keep the lock");
        drop(pin);
    }

    #[test]
    fn every_flipped_byte_is_found_while_others_write() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.redb");
        {
            let file = DbFile::open(&path, 1 << 20).unwrap();
            (0..200).for_each(|key| put(&file, key, 700).unwrap());
            std::thread::scope(|s| {
                let writing = s.spawn(|| (200..320).for_each(|key| put(&file, key % 210, 900).unwrap()));
                let mut checks = 0;
                while !writing.is_finished() || checks < 3 {
                    let sound = file.check(u64::MAX).unwrap();
                    assert!(matches!(sound, Soundness::Sound), "{sound:?} after {checks} checks");
                    checks += 1;
                }
            });
        }
        // A value in the middle of the file.
        let bytes = std::fs::read(&path).unwrap();
        let at = (0..bytes.len() - 600).find(|&at| bytes[at..at + 600].iter().all(|b| *b == 77)).expect("row 77");
        let file = DbFile::open(&path, 1 << 20).unwrap();
        let raw = File::options().write(true).open(&path).unwrap();
        raw.write_all_at(&[78], at as u64 + 300).unwrap();
        let sound = file.check(u64::MAX).unwrap();
        assert!(matches!(sound, Soundness::Damaged(_)), "{sound:?}");
        raw.write_all_at(&[77], at as u64 + 300).unwrap();
        assert!(matches!(file.check(u64::MAX).unwrap(), Soundness::Sound));
    }

    /// Of a file that commits in one phase, redb would leave out a newest commit that is not whole, and say nothing.
    #[test]
    fn rot_in_the_newest_commit_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.redb");
        let file = DbFile::open(&path, 1 << 20).unwrap();
        (0..200).for_each(|key| put(&file, key, 700).unwrap());
        assert!(matches!(file.check(u64::MAX).unwrap(), Soundness::Sound));
        put(&file, 222, 700).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let at = (0..bytes.len() - 600).find(|&at| bytes[at..at + 600].iter().all(|b| *b == 222)).expect("row 222");
        let raw = File::options().write(true).open(&path).unwrap();
        raw.write_all_at(&[223], at as u64 + 300).unwrap();
        assert!(matches!(file.check(u64::MAX).unwrap(), Soundness::Damaged(_)));
        raw.write_all_at(&[222], at as u64 + 300).unwrap();
        assert!(matches!(file.check(u64::MAX).unwrap(), Soundness::Sound));
    }
}
