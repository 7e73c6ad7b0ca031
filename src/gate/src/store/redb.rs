//! The embedded backend: one redb file, one writer at a time, readers beside it.

use std::{cell::OnceCell, path::Path, sync::Arc};

use ::redb::{ReadOnlyTable, ReadableTable, TableDefinition, WriteTransaction};
use sealdex_dbfile::{DbFile, Reader, Soundness, Trouble};

use super::upgrade::{FORMAT, FORMAT_KEY};
use super::{ConsentStore, Row, Snapshot, StoreError, Table, Transaction};

type Definition = TableDefinition<'static, &'static [u8], &'static [u8]>;

const fn definition(table: Table) -> Definition {
    TableDefinition::new(table.name())
}

fn failed(e: impl Into<::redb::Error>) -> StoreError {
    StoreError::Backend(e.into().to_string())
}

/// A consent store in one file. A second process that opens the file is refused.
pub struct RedbStore(Arc<DbFile>);

/// Pages kept in memory, bytes.
const CACHE: usize = 256 << 20;

impl From<Trouble> for StoreError {
    fn from(e: Trouble) -> Self {
        match e {
            Trouble::NoSpace { .. } => Self::NoSpace(e.to_string()),
            Trouble::Redb(e) => failed(e),
        }
    }
}

impl RedbStore {
    /// Opens or creates the file.
    ///
    /// # Errors
    /// [`StoreError::Backend`] when the file is locked, damaged or cannot be written;
    /// [`StoreError::Format`] when another version wrote it.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::of(DbFile::open(path, CACHE).map_err(failed)?)
    }

    /// A consent store in whatever keeps bytes as a file does.
    ///
    /// # Errors
    /// As [`RedbStore::open`].
    pub fn over(backend: impl ::redb::StorageBackend) -> Result<Self, StoreError> {
        Self::of(DbFile::over(backend, CACHE).map_err(failed)?)
    }

    fn of(db: DbFile) -> Result<Self, StoreError> {
        let store = Self(Arc::new(db));
        // A full disk must not keep a gate from starting.
        if store.laid_out()? {
            return Ok(store);
        }
        store.write(|t| {
            // A table is made where it is opened first.
            Table::ALL.iter().try_for_each(|table| t.last_key(*table).map(|_| ()))?;
            match t.get(Table::Meta, FORMAT_KEY)? {
                None => t.put(Table::Meta, FORMAT_KEY, &FORMAT.to_be_bytes()),
                Some(bytes) => {
                    let found = bytes.try_into().map(u32::from_be_bytes);
                    let found = found.map_err(|_| StoreError::Row(Table::Meta.name()))?;
                    let known = (1..=FORMAT).contains(&found);
                    if known { Ok(()) } else { Err(StoreError::Format { found, expected: FORMAT }) }
                }
            }
        })?;
        Ok(store)
    }

    fn laid_out(&self) -> Result<bool, StoreError> {
        let txn = self.0.begin_read().map_err(failed)?;
        if txn.list_tables().map_err(failed)?.count() < Table::ALL.len() {
            return Ok(false);
        }
        let format = txn.open_table(definition(Table::Meta)).map_err(failed)?.get(FORMAT_KEY).map_err(failed)?;
        Ok(format.is_some_and(|f| f.value() == FORMAT.to_be_bytes()))
    }

    /// The file itself, to be looked through while it is in use.
    pub(crate) fn file(&self) -> Arc<DbFile> {
        self.0.clone()
    }

    /// Verifies every checksum of the file, reading at most `rate` bytes a second.
    ///
    /// # Errors
    /// [`StoreError::Backend`] when it cannot be read at all.
    pub fn check(&self, rate: u64) -> Result<Soundness, StoreError> {
        self.0.check(rate).map_err(failed)
    }
}

impl ConsentStore for RedbStore {
    fn read<T, E: From<StoreError>>(&self, f: impl FnOnce(&dyn Snapshot) -> Result<T, E>) -> Result<T, E> {
        let txn = self.0.begin_read().map_err(failed)?;
        f(&Reading { txn, tables: std::array::from_fn(|_| OnceCell::new()) })
    }

    fn write<T, E: From<StoreError>>(&self, mut f: impl FnMut(&mut dyn Transaction) -> Result<T, E>) -> Result<T, E> {
        let txn = self.0.begin_write().map_err(StoreError::from)?;
        // Dropping the transaction on an error undoes it.
        let written = f(&mut Writing { txn: &txn, tables: std::array::from_fn(|_| OnceCell::new()) });
        // Whatever was made of it, a write that failed for want of room says so.
        let full = || self.0.full().map(|reason| StoreError::NoSpace(format!("{}: {reason}", self.0.path().display())));
        let out = written.map_err(|e| full().map_or(e, E::from))?;
        txn.commit().map_err(|e| full().unwrap_or_else(|| failed(e)))?;
        Ok(out)
    }
}

/// Tables are opened at first use: a search reads one of ten.
struct Reading {
    txn: Reader,
    tables: [OnceCell<ReadOnlyTable<&'static [u8], &'static [u8]>>; Table::ALL.len()],
}

impl Reading {
    fn table(&self, table: Table) -> Result<&ReadOnlyTable<&'static [u8], &'static [u8]>, StoreError> {
        let cell = &self.tables[table as usize];
        if let Some(open) = cell.get() {
            return Ok(open);
        }
        let open = self.txn.open_table(definition(table)).map_err(failed)?;
        Ok(cell.get_or_init(|| open))
    }
}

impl Snapshot for Reading {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        get(self.table(table)?, key)
    }

    fn range(&self, table: Table, from: &[u8], to: Option<&[u8]>, limit: usize) -> Result<Vec<Row>, StoreError> {
        range(self.table(table)?, from, to, limit)
    }

    fn last_key(&self, table: Table) -> Result<Option<Vec<u8>>, StoreError> {
        last_key(self.table(table)?)
    }
}

/// As [`Reading`]: every table that is open costs the commit a look.
struct Writing<'txn> {
    txn: &'txn WriteTransaction,
    tables: [OnceCell<Open<'txn>>; Table::ALL.len()],
}

type Open<'txn> = ::redb::Table<'txn, &'static [u8], &'static [u8]>;

impl<'txn> Writing<'txn> {
    fn table(&self, table: Table) -> Result<&Open<'txn>, StoreError> {
        let cell = &self.tables[table as usize];
        if let Some(open) = cell.get() {
            return Ok(open);
        }
        let open = self.txn.open_table(definition(table)).map_err(failed)?;
        Ok(cell.get_or_init(|| open))
    }

    fn table_mut(&mut self, table: Table) -> Result<&mut Open<'txn>, StoreError> {
        self.table(table)?;
        self.tables[table as usize].get_mut().ok_or_else(|| StoreError::Backend("a table did not open".into()))
    }
}

impl Snapshot for Writing<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        get(self.table(table)?, key)
    }

    fn range(&self, table: Table, from: &[u8], to: Option<&[u8]>, limit: usize) -> Result<Vec<Row>, StoreError> {
        range(self.table(table)?, from, to, limit)
    }

    fn last_key(&self, table: Table) -> Result<Option<Vec<u8>>, StoreError> {
        last_key(self.table(table)?)
    }
}

impl Transaction for Writing<'_> {
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.table_mut(table)?.insert(key, value).map_err(failed)?;
        Ok(())
    }

    fn remove(&mut self, table: Table, key: &[u8]) -> Result<bool, StoreError> {
        Ok(self.table_mut(table)?.remove(key).map_err(failed)?.is_some())
    }
}

type Bytes = &'static [u8];

fn get(table: &impl ReadableTable<Bytes, Bytes>, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
    Ok(table.get(key).map_err(failed)?.map(|v| v.value().to_vec()))
}

fn range(
    table: &impl ReadableTable<Bytes, Bytes>,
    from: &[u8],
    to: Option<&[u8]>,
    limit: usize,
) -> Result<Vec<Row>, StoreError> {
    let rows = match to {
        Some(to) if to <= from => return Ok(Vec::new()),
        Some(to) => table.range::<&[u8]>(from..to),
        None => table.range::<&[u8]>(from..),
    };
    rows.map_err(failed)?
        .take(limit)
        .map(|row| row.map(|(k, v)| (k.value().to_vec(), v.value().to_vec())).map_err(failed))
        .collect()
}

fn last_key(table: &impl ReadableTable<Bytes, Bytes>) -> Result<Option<Vec<u8>>, StoreError> {
    Ok(table.last().map_err(failed)?.map(|(k, _)| k.value().to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(dir: &tempfile::TempDir) -> RedbStore {
        RedbStore::open(&dir.path().join("consents.redb")).expect("a store")
    }

    #[test]
    fn redb_conforms() {
        let dir = tempfile::tempdir().expect("a directory");
        super::super::conformance::check(&open(&dir));
    }

    #[test]
    fn rows_outlive_the_process_that_wrote_them() {
        let dir = tempfile::tempdir().expect("a directory");
        open(&dir).write(|t| t.put(Table::Profiles, b"k", b"v")).expect("written");
        let found = open(&dir).read(|s| s.get(Table::Profiles, b"k")).expect("read");
        assert_eq!(found.as_deref(), Some(b"v".as_slice()));
    }

    #[test]
    fn a_file_of_another_format_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        open(&dir).write(|t| t.put(Table::Meta, FORMAT_KEY, &9_u32.to_be_bytes())).expect("written");
        let again = RedbStore::open(&dir.path().join("consents.redb"));
        assert_eq!(again.err(), Some(StoreError::Format { found: 9, expected: FORMAT }));
    }

    #[test]
    fn a_file_in_use_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let _first = open(&dir);
        assert!(matches!(RedbStore::open(&dir.path().join("consents.redb")).err(), Some(StoreError::Backend(_))));
    }
}
