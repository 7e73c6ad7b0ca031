//! Getting rid of what was deleted, byte by byte.
//!
//! redb keeps the bytes of a removed row in pages that it uses again some day, and compacting a file moves pages about
//! without wiping any. So the store is written anew, row by row, into a file beside it, which takes its place once it is
//! whole and on the disk: it has never held anything but what is live. Killed at any point, the old file is still there,
//! or the new one is already.

use std::{fs, io, path::Path};

use redb::{
    Database, Durability, Key, ReadTransaction, ReadableTable, TableDefinition, TableError, Value, WriteTransaction,
};

use sealdex_dbfile::{DbFile, Soundness};

use super::{
    StoreError,
    acts::{ACT_PLACES, ACTS},
    redb::{
        BATCHES, CACHE, CHANGES, COUNTERS, ENDED, ENTRIES, HEADS, ORIGINS, PROOFS, PROVIDERS, RECORDS, SEALED,
        SETTINGS, failed,
    },
};

/// What rewriting did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewritten {
    /// Bytes of the file before.
    pub before: u64,
    /// Bytes of the file after.
    pub after: u64,
}

/// Writes the store in a file anew; nothing if there is no file. The file must not be open. Takes room for what is
/// live, beside the file, until it is done. `before` is done when the new one is whole, before it takes the old one's place.
///
/// # Errors
/// [`StoreError`]; the store is as it was, and nothing is left beside it.
pub fn rewrite(path: &Path, before: impl FnOnce() -> io::Result<()>) -> Result<Option<Rewritten>, StoreError> {
    let size = match fs::metadata(path) {
        Ok(found) => found.len(),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(io_error(e)),
    };
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".rewriting");
    let beside = path.with_file_name(name);
    remove(&beside)?;
    let rewritten = replace(path, &beside, before);
    match rewritten {
        Ok(after) => Ok(Some(Rewritten { before: size, after })),
        Err(error) => {
            // Or the sealed bytes would lie there twice.
            remove(&beside)?;
            Err(error)
        }
    }
}

fn io_error(e: io::Error) -> StoreError {
    StoreError::Backend(Box::new(e))
}

fn remove(file: &Path) -> Result<(), StoreError> {
    match fs::remove_file(file) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(io_error(e)),
        _ => Ok(()),
    }
}

/// Size of the new file, in its place.
fn replace(path: &Path, beside: &Path, before: impl FnOnce() -> io::Result<()>) -> Result<u64, StoreError> {
    // Open, and so locked, until the new one is in its place: nothing is written to it that the new one has not.
    let old = DbFile::open(path, CACHE).map_err(failed)?;
    if let Soundness::Damaged(_) = old.check(u64::MAX).map_err(failed)? {
        // Copied row by row, a damaged row would get checksums that fit it.
        return Err(StoreError::Damaged("some table, by its checksums"));
    }
    {
        let new = Database::builder().set_cache_size(CACHE).create(beside).map_err(failed)?;
        let whole = old.begin_read().map_err(failed)?;
        copy_all(&whole, &new)?;
    }
    fs::File::open(beside).and_then(|f| f.sync_all()).map_err(io_error)?;
    let after = fs::metadata(beside).map_err(io_error)?.len();
    before().map_err(io_error)?;
    fs::rename(beside, path).map_err(io_error)?;
    if let Some(dir) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
        fs::File::open(dir).and_then(|d| d.sync_all()).map_err(io_error)?;
    }
    Ok(after)
}

fn copy_all(from: &ReadTransaction, to: &Database) -> Result<(), StoreError> {
    let mut tx = to.begin_write().map_err(failed)?;
    tx.set_durability(Durability::Immediate).map_err(failed)?;
    copy(from, &tx, RECORDS)?;
    copy(from, &tx, SEALED)?;
    copy(from, &tx, ORIGINS)?;
    copy(from, &tx, BATCHES)?;
    copy(from, &tx, CHANGES)?;
    copy(from, &tx, ENTRIES)?;
    copy(from, &tx, ENDED)?;
    copy(from, &tx, HEADS)?;
    copy(from, &tx, PROOFS)?;
    copy(from, &tx, PROVIDERS)?;
    copy(from, &tx, COUNTERS)?;
    copy(from, &tx, ACTS)?;
    copy(from, &tx, ACT_PLACES)?;
    copy(from, &tx, SETTINGS)?;
    let copied = tx.list_tables().map_err(failed)?.count();
    let there = from.list_tables().map_err(failed)?.count();
    if there > copied {
        return Err(StoreError::Damaged("a table that this version does not know"));
    }
    tx.commit().map_err(failed)
}

fn copy<K: Key + 'static, V: Value + 'static>(
    from: &ReadTransaction,
    to: &WriteTransaction,
    table: TableDefinition<'static, K, V>,
) -> Result<(), StoreError> {
    let old = match from.open_table(table) {
        Err(TableError::TableDoesNotExist(_)) => return Ok(()),
        other => other.map_err(failed)?,
    };
    let mut new = to.open_table(table).map_err(failed)?;
    for row in old.iter().map_err(failed)? {
        let (key, value) = row.map_err(failed)?;
        new.insert(key.value(), value.value()).map_err(failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::RedbStore;

    #[test]
    fn what_fails_leaves_nothing_beside_the_store() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("store.redb");
        drop(RedbStore::open(&path).expect("a store"));
        let files = || fs::read_dir(dir.path()).expect("listed").count();
        let failing = rewrite(&path, || {
            assert_eq!(files(), 2, "the new one is whole");
            assert!(RedbStore::open(&path).is_err(), "the old one is locked");
            Err(io::Error::other("the index cannot be removed"))
        });
        assert!(failing.is_err() && files() == 1);
        // A table that no version knows is not lost without a word.
        let odd: TableDefinition<'_, u64, u64> = TableDefinition::new("odd");
        let db = Database::open(&path).expect("opened");
        let tx = db.begin_write().expect("begun");
        tx.open_table(odd).expect("a table");
        tx.commit().expect("committed");
        drop(db);
        assert!(matches!(rewrite(&path, || Ok(())), Err(StoreError::Damaged(_))) && files() == 1);
    }

    #[test]
    fn what_is_damaged_is_not_copied() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("store.redb");
        {
            let db = Database::create(&path).expect("made");
            let tx = db.begin_write().expect("begun");
            tx.open_table(SETTINGS).expect("a table").insert("roster", [77; 600].as_slice()).expect("inserted");
            tx.commit().expect("committed");
        }
        let mut bytes = fs::read(&path).expect("read");
        let at = bytes.windows(600).position(|w| w.iter().all(|b| *b == 77)).expect("the row");
        bytes[at + 300] = 78;
        fs::write(&path, &bytes).expect("written");
        let refused = rewrite(&path, || Ok(()));
        assert!(matches!(refused, Err(StoreError::Damaged(_))), "{refused:?}");
        assert_eq!(fs::read(&path).expect("read").len(), bytes.len());
    }
}
