//! Backup first: a batch or an act is acknowledged, and logged, once it is in the backup.
//!
//! So the newest backup has everything that a provider, a gate or a witness was ever told, and a store restored from it goes
//! on without telling a second history. Nor is anything searched that is not in it: an answer is proved by the log, which
//! has not got it.

use std::sync::{Arc, Mutex, PoisonError};

use sealdex_crypto::{PrincipalId, RecordId, Term};
use sealdex_ledger::SignedAct;
use sealdex_wire::ingest::BatchReceipt;

use super::Backup;
use crate::store::{ActStore, ActsRefused, NewBatch, RedbStore, Refused, SealedStore, Snapshot, StoreError, Totals};

/// A store whose answers wait for the backup.
pub(crate) struct First {
    store: Arc<RedbStore>,
    backup: Arc<Backup>,
    /// The last state that is backed up whole, while there is a newer one that is not.
    held: Mutex<Option<Arc<dyn Snapshot>>>,
}

impl First {
    pub(crate) fn new(store: Arc<RedbStore>, backup: Arc<Backup>) -> Self {
        Self { store, backup, held: Mutex::default() }
    }

    /// What is stored and not backed up is asked for again, found to be there, and backed up then.
    fn settle(&self) -> Result<(), StoreError> {
        self.backup.take().map(drop).map_err(|e| StoreError::Backend(Box::new(e)))
    }
}

impl SealedStore for First {
    fn accept(&self, group: &[NewBatch]) -> Result<Vec<Result<BatchReceipt, Refused>>, StoreError> {
        // Held from before there is anything newer.
        let covered = self.snapshot()?;
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(covered);
        let answers = self.store.accept(group)?;
        self.settle()?;
        Ok(answers)
    }

    fn snapshot(&self) -> Result<Arc<dyn Snapshot>, StoreError> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = self.store.snapshot()?;
        match &*held {
            Some(covered) if newest.last_seq() > self.backup.covers().0 => Ok(covered.clone()),
            _ => {
                *held = None;
                Ok(newest)
            }
        }
    }

    fn versions(&self, hospital: PrincipalId, origins: &[Term]) -> Result<Vec<Option<RecordId>>, StoreError> {
        self.store.versions(hospital, origins)
    }

    fn totals(&self) -> Result<Totals, StoreError> {
        let totals = self.store.totals()?;
        Ok(Totals { last_seq: totals.last_seq.min(self.backup.covers().0), ..totals })
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
