//! The reference backend: ordered maps in memory. For tests and as the plainest reading of the trait.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{PoisonError, RwLock},
};

use super::{ConsentStore, Row, Snapshot, StoreError, Table, Transaction};

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Clone, Default)]
struct Tables([Rows; Table::ALL.len()]);

/// A store that lives as long as the process.
#[derive(Default)]
pub struct MemoryStore(RwLock<Tables>);

impl Snapshot for Tables {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.0[table as usize].get(key).cloned())
    }

    fn range(&self, table: Table, from: &[u8], to: Option<&[u8]>, limit: usize) -> Result<Vec<Row>, StoreError> {
        if to.is_some_and(|to| to <= from) {
            return Ok(Vec::new());
        }
        let to = to.map_or(Bound::Unbounded, Bound::Excluded);
        let rows = self.0[table as usize].range::<[u8], _>((Bound::Included(from), to));
        Ok(rows.take(limit).map(|(k, v)| (k.clone(), v.clone())).collect())
    }

    fn last_key(&self, table: Table) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.0[table as usize].last_key_value().map(|(k, _)| k.clone()))
    }
}

impl Transaction for Tables {
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.0[table as usize].insert(key.to_vec(), value.to_vec());
        Ok(())
    }

    fn remove(&mut self, table: Table, key: &[u8]) -> Result<bool, StoreError> {
        Ok(self.0[table as usize].remove(key).is_some())
    }
}

impl ConsentStore for MemoryStore {
    fn read<T, E: From<StoreError>>(&self, f: impl FnOnce(&dyn Snapshot) -> Result<T, E>) -> Result<T, E> {
        f(&*self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<T, E: From<StoreError>>(&self, mut f: impl FnMut(&mut dyn Transaction) -> Result<T, E>) -> Result<T, E> {
        let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let mut next = current.clone();
        let out = f(&mut next)?;
        *current = next;
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_conforms() {
        super::super::conformance::check(&MemoryStore::default());
    }
}
