//! Erasing: the order, what it destroys here, and what came of it at gate, hospitals and cloud.

use std::{collections::HashSet, path::Path, time::Duration};

use sealdex_crypto::{PrincipalId, RecordId};
use sealdex_lognet::{DomainLog, domain::DomainLogError};
use sealdex_net::{clock::now_ms, peer::Http};
use sealdex_wire::{
    Signed,
    erasure::{AskErasure, AskStored, ErasedRecord, ErasedSection, ErasureOrder, ErasureState, Stored, SubmitErasure},
    limits,
};

use super::{Patient, PatientError};
use crate::acts::ActsLogError;

/// Most times the gate is asked to look through the cloud in one go.
const ROUNDS: usize = 256;

/// Why what came of an order cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum ErasureError {
    /// The gate, or the cloud.
    #[error(transparent)]
    Patient(#[from] PatientError),
    /// The log of batches.
    #[error(transparent)]
    Log(#[from] DomainLogError),
    /// The log of acts.
    #[error(transparent)]
    Acts(#[from] ActsLogError),
    /// The gate is not done looking.
    #[error("the gate has looked through the cloud {ROUNDS} times over without an end: ask again later")]
    Endless,
}

/// An order of this owner's, and whether the world knows it.
#[derive(Clone, Debug)]
pub struct OrderState {
    /// The order.
    pub order: ErasureOrder,
    /// Whether the gate has it in force.
    pub in_force: bool,
    /// Entries of the log of acts that have it, from 1; `None` in a domain without one.
    pub logged: Option<Vec<u64>>,
    /// Whether the wallet has destroyed what opens these records.
    pub destroyed: bool,
}

/// What became of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordState {
    /// The record.
    pub id: RecordId,
    /// Its hospital.
    pub hospital: PrincipalId,
    /// Who pushed it.
    pub provider: PrincipalId,
    /// Place in the log of the batch whose statement ended it; `None` where it has not, or there is no log.
    pub ended_by: Option<u64>,
    /// Whether the cloud says that it has it.
    pub stored: bool,
}

/// What became of an owner's orders.
#[derive(Clone, Debug, Default)]
pub struct ErasureStatus {
    /// Orders of the wallet.
    pub orders: Vec<OrderState>,
    /// Records that the gate found.
    pub records: Vec<RecordState>,
    /// Whether the domain has a log, so that endings are proved.
    pub proved: bool,
    /// What is wrong with the log of acts, each naming its entry.
    pub alarms: Vec<String>,
}

impl ErasureStatus {
    /// Whether everything ordered is in force and logged, its keys are destroyed, and every record found has ended and is
    /// stored no more.
    #[must_use]
    pub fn is_done(&self) -> bool {
        let logged = |o: &OrderState| o.logged.as_ref().is_none_or(|entries| !entries.is_empty());
        let orders = self.orders.iter().all(|o| o.in_force && o.destroyed && logged(o));
        let ended = |r: &RecordState| !r.stored && (r.ended_by.is_some() || !self.proved);
        !self.orders.is_empty() && orders && self.records.iter().all(ended) && self.alarms.is_empty()
    }
}

impl Patient {
    /// Signs an order to erase sections, each up to its newest epoch, and notes it in the entry, which the caller keeps
    /// before it is sent. Sections that bear a label go with their section. `None` if nothing of them is left.
    pub fn order_erasure(&mut self, sections: &[String]) -> Option<Signed<ErasureOrder>> {
        let meant = |s: &str| {
            let base = s.split_once('/').map_or(s, |(section, _)| section);
            sections.is_empty() || sections.iter().any(|named| named == s || named == base)
        };
        let known = self.entry.sections.iter().filter(|(s, _)| meant(s));
        let sections: Vec<ErasedSection> =
            known.map(|(s, newest)| ErasedSection { section: s.clone(), through: *newest }).collect();
        if sections.is_empty() {
            return None;
        }
        let (domain, owner) = (self.trusted.roster.domain.clone(), self.owner.id());
        let order = ErasureOrder { domain, owner, sections, ordered_at: now_ms() };
        let signed = Signed::sign(&order, &self.owner.identity(), &mut rand::rng());
        self.entry.orders.push(signed.clone());
        Some(signed)
    }

    /// Has every order of the entry put in force, also those that are already; how many grants ended. Then destroys here
    /// what opens the records: the caller keeps the entry.
    ///
    /// # Errors
    /// [`PatientError`]; what the orders before that one name is destroyed, and the caller keeps the entry nevertheless.
    pub async fn erase(&mut self) -> Result<u64, PatientError> {
        let mut ended = 0;
        for order in self.entry.orders.clone() {
            ended += self.put_in_force(order).await?;
        }
        Ok(ended)
    }

    async fn put_in_force(&mut self, order: Signed<ErasureOrder>) -> Result<u64, PatientError> {
        let request = SubmitErasure { order: order.clone() };
        let ended = self.gate.post_to_each("/v1/erasures", &request).await?.count;
        let order = order.verify(&self.owner.identity().public()).map_err(PatientError::Forged)?;
        self.entry.destroy(&order.sections);
        self.owner = self.entry.owner();
        Ok(ended)
    }

    /// What became of this owner's orders: as the gate says, the logs show, and the cloud says when it is asked for each
    /// record. What was read of the log of acts is kept in a folder.
    ///
    /// # Errors
    /// [`ErasureError`].
    pub async fn erasure_status(&self, http: &Http, folder: Option<&Path>) -> Result<ErasureStatus, ErasureError> {
        let (known, found) = self.erasure_found().await?;
        let mut status = ErasureStatus::default();
        let acts = match self.trusted.roster.ledger {
            Some(_) => Some(self.logged(http, folder).await?),
            None => None,
        };
        for signed in &self.entry.orders {
            let order = signed.verify(&self.owner.identity().public()).map_err(PatientError::Forged)?;
            let covered = |s: &ErasedSection| known.iter().any(|k| k.covers(&s.section, s.through));
            let hash = signed.digest();
            let logged = acts.as_ref().map(|own| {
                let rows = own.rows.iter().filter(|r| r.row.word.as_ref().is_some_and(|w| w.hash == hash));
                let mut entries: Vec<u64> = rows.map(|r| r.seq).collect();
                entries.dedup();
                entries
            });
            let destroyed = order.sections.iter().all(|s| self.entry.first_epoch(&s.section) > s.through);
            status.orders.push(OrderState { in_force: order.sections.iter().all(covered), order, logged, destroyed });
        }
        status.alarms = acts.map(|own| own.alarms).unwrap_or_default();
        let log = self.batches(http).await?;
        status.proved = log.is_some();
        let stored = self.still_stored(http, &found).await?;
        status.records = found
            .into_iter()
            .map(|ErasedRecord(id, hospital, provider)| {
                let ended_by = log.as_ref().and_then(|log| log.view().ended_by(id, hospital));
                RecordState { id, hospital, provider, ended_by, stored: stored.contains(&id) }
            })
            .collect();
        Ok(status)
    }

    /// Orders that the gate has in force, each checked to be this owner's own, and the records it found.
    async fn erasure_found(&self) -> Result<(Vec<ErasureOrder>, Vec<ErasedRecord>), ErasureError> {
        let keys = self.owner.identity().public();
        let (mut found, mut asked): (Vec<ErasedRecord>, _) = (Vec::new(), AskErasure::default());
        for _ in 0..ROUNDS {
            let state: ErasureState =
                self.gate.post_cbor("/v1/erasures/status", &asked).await.map_err(PatientError::from)?;
            let last = state.found.len() < limits::ERASURES;
            asked.after = state.found.last().map(|r| r.0).or(asked.after);
            found.extend(state.found);
            if last && state.scanned {
                let own = state.orders.iter().map(|o| o.verify(&keys).map_err(PatientError::Forged));
                return Ok((own.collect::<Result<_, _>>()?, found));
            }
            if !state.scanned {
                // What is found from here on may have any id.
                (found, asked) = (Vec::new(), AskErasure::default());
            }
        }
        Err(ErasureError::Endless)
    }

    /// The newest log of batches, if the domain has one.
    async fn batches(&self, http: &Http) -> Result<Option<DomainLog>, ErasureError> {
        let roster = &self.trusted.roster;
        let (Some(ledger), Some(cloud)) = (&roster.ledger, roster.clouds.first()) else { return Ok(None) };
        let mut log = DomainLog::open(http, &roster.domain, ledger, &cloud.url, None)?;
        tokio::time::timeout(Duration::from_secs(60), log.advance(&*self.trusted))
            .await
            .map_err(|_| ErasureError::Endless)??;
        Ok(Some(log))
    }

    /// Which records the cloud says it has. It is not told who asks.
    async fn still_stored(&self, http: &Http, found: &[ErasedRecord]) -> Result<HashSet<RecordId>, ErasureError> {
        let cloud = self.trusted.cloud(http, None).map_err(|e| PatientError::Peer(e.to_string()))?;
        let mut stored = HashSet::new();
        for part in found.chunks(limits::ERASURES) {
            let asked = AskStored { ids: part.iter().flat_map(|r| r.0.0).collect() };
            let answer: Stored = cloud.post_cbor("/v1/stored", &asked).await.map_err(PatientError::from)?;
            stored.extend(answer.ids.as_chunks().0.iter().map(|id| RecordId(*id)));
        }
        Ok(stored)
    }
}
