//! Backup first: a batch or an act is acknowledged, and logged, once it is in the backup.
//!
//! So the newest backup has everything that a provider, a gate or a witness was ever told, and a store restored from it goes
//! on without telling a second history.

use std::sync::Arc;

use sealdex_crypto::{PrincipalId, RecordId, Term};
use sealdex_ledger::SignedAct;
use sealdex_wire::ingest::BatchReceipt;

use super::Backup;
use crate::store::{ActStore, ActsRefused, NewBatch, RedbStore, Refused, SealedStore, Snapshot, StoreError, Totals};

/// A store whose answers wait for the backup.
pub(crate) struct First {
    pub(crate) store: Arc<RedbStore>,
    pub(crate) backup: Arc<Backup>,
}

impl First {
    /// What is stored and not backed up is asked for again, found to be there, and backed up then.
    fn settle(&self) -> Result<(), StoreError> {
        self.backup.take().map(drop).map_err(|e| StoreError::Backend(Box::new(e)))
    }
}

impl SealedStore for First {
    fn accept(&self, group: &[NewBatch]) -> Result<Vec<Result<BatchReceipt, Refused>>, StoreError> {
        let answers = self.store.accept(group)?;
        self.settle()?;
        Ok(answers)
    }

    fn snapshot(&self) -> Result<Arc<dyn Snapshot>, StoreError> {
        self.store.snapshot()
    }

    fn versions(&self, hospital: PrincipalId, origins: &[Term]) -> Result<Vec<Option<RecordId>>, StoreError> {
        self.store.versions(hospital, origins)
    }

    fn totals(&self) -> Result<Totals, StoreError> {
        self.store.totals()
    }
}

impl ActStore for First {
    fn append_acts(
        &self,
        gate: PrincipalId,
        entries: &[SignedAct],
    ) -> Result<Result<Option<Vec<u8>>, ActsRefused>, StoreError> {
        let appended = self.store.append_acts(gate, entries)?;
        self.settle()?;
        Ok(appended)
    }

    fn last_act(&self) -> Result<u64, StoreError> {
        Ok(self.store.last_act()?.min(self.backup.covers().1))
    }

    fn acts(&self, from: u64, to: u64) -> Result<Vec<Vec<u8>>, StoreError> {
        self.store.acts(from, to)
    }
}
