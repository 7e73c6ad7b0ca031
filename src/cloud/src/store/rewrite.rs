//! Getting rid of what was deleted, byte by byte.
//!
//! redb keeps the bytes of a removed row in pages that it uses again some day, and compacting a file moves pages about
//! without wiping any. So the store is written anew, row by row, into a file beside it, which takes its place once it is
//! whole and on the disk: it has never held anything but what is live. Killed at any point, the old file is still there,
//! or the new one is already.

use std::{fs, io, path::Path};

use redb::{
    Database, Durability, Key, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition, TableError, Value,
    WriteTransaction,
};

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
/// live, beside the file, until it is done.
///
/// # Errors
/// [`StoreError`]; the store is as it was.
pub fn rewrite(path: &Path) -> Result<Option<Rewritten>, StoreError> {
    let io = |e: io::Error| StoreError::Backend(Box::new(e));
    let before = match fs::metadata(path) {
        Ok(found) => found.len(),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(io(e)),
    };
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".rewriting");
    let beside = path.with_file_name(name);
    match fs::remove_file(&beside) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(io(e)),
        _ => {}
    }
    {
        let old = Database::builder().set_cache_size(CACHE).open(path).map_err(failed)?;
        let new = Database::builder().set_cache_size(CACHE).create(&beside).map_err(failed)?;
        copy_all(&old.begin_read().map_err(failed)?, &new)?;
    }
    fs::File::open(&beside).and_then(|f| f.sync_all()).map_err(io)?;
    let after = fs::metadata(&beside).map_err(io)?.len();
    fs::rename(&beside, path).map_err(io)?;
    if let Some(dir) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
        fs::File::open(dir).and_then(|d| d.sync_all()).map_err(io)?;
    }
    Ok(Some(Rewritten { before, after }))
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
