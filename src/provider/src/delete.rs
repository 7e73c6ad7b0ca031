//! Records that end without a successor.
//!
//! The provider names identities, the gate makes origin terms of them and signs, the cloud shows which records they stand
//! for, the provider states for the log that these have ended, and the cloud removes them, durably, in the transaction
//! that keeps the statement. Killed anywhere, it is run again: what is gone by then is not there any more.

use std::{collections::HashSet, sync::Arc};

use sealdex_crypto::BatchId;
use sealdex_lognet::DomainLog;
use sealdex_member::{GateLink, MemberKeys, Trusted};
use sealdex_net::Peer;
use sealdex_wire::{
    codec,
    ingest::{BatchReceipt, BatchUpload, BridgeRequest},
};

use crate::{
    job::{Job, Progress, PushError, PushSettings, blocking},
    journal::{Journal, Version},
    owners::OwnerMap,
};

/// Records in one batch of deletions.
const BATCH: usize = 4096;

/// What became of a record that was to be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// It is gone, durably, and nobody finds it any more.
    Deleted,
    /// This hospital had no such record at the cloud.
    Absent,
    /// The cloud says that there was none, and the journal has it as pushed and not deleted: its patient had it erased,
    /// another department of the hospital has deleted it, or the cloud hides it.
    Denied,
}

/// What a run of deletions did.
#[derive(Clone, Debug, Default)]
pub struct DeleteReport {
    /// Each record, in the order in which it was first named, and what became of it.
    pub records: Vec<(String, Removal)>,
    /// Place in the log of each batch that deleted something.
    pub places: Vec<u64>,
    /// Why the log was not seen to have the last batch, though nothing suggests that it will not.
    pub unlogged: Option<String>,
}

/// Everything a deletion needs.
pub struct DeleteInput<'a> {
    /// The provider's keys.
    pub keys: &'a MemberKeys,
    /// Verified roster and schema.
    pub trusted: &'a Trusted,
    /// Gate, called by this provider.
    pub gate: GateLink,
    /// Cloud, called by this provider.
    pub cloud: Peer,
    /// Journal of this provider.
    pub journal: Journal,
    /// The domain's log of batches, to see that the deletions are in it.
    pub log: Option<DomainLog>,
    /// `Type/id` of each record.
    pub records: Vec<String>,
}

/// Deletes records of this hospital. When it returns, they are gone and not found any more.
///
/// # Errors
/// [`PushError`]; run it again, what was deleted stays so.
pub async fn delete(input: DeleteInput<'_>) -> Result<DeleteReport, PushError> {
    let DeleteInput { keys, trusted, gate, cloud, journal, mut log, records } = input;
    let (settings, progress) = (PushSettings::default(), Arc::new(Progress::default()));
    let job = Job::new(keys, trusted, gate, cloud, OwnerMap::default(), journal, settings, progress)?;
    let job = Arc::new(job);
    let mut seen = HashSet::new();
    let records: Vec<String> = records.into_iter().filter(|r| seen.insert(r.clone())).collect();
    let mut report = DeleteReport::default();
    for part in records.chunks(BATCH) {
        let (removals, place) = job.delete(part).await?;
        report.records.extend(part.iter().cloned().zip(removals));
        report.places.extend(place);
    }
    // Also where nothing was there: an earlier run that was cut off may have deleted it a moment ago.
    job.await_searchable().await?;
    if let Some(last) = report.places.last() {
        report.unlogged = job.await_logged(&mut log, trusted, *last).await?;
    }
    Ok(report)
}

impl Job {
    /// Deletes records, none named twice and at most a batch of them; what became of each, and the place of the batch.
    pub(crate) async fn delete(self: &Arc<Self>, records: &[String]) -> Result<(Vec<Removal>, Option<u64>), PushError> {
        let versions: Vec<Version> = records.iter().map(|r| Version::of(r, &[])).collect();
        let (journal, begun) = (self.journal.clone(), versions.clone());
        // From here on the cloud may have them or not, whatever happens to this process.
        let known = blocking(move || journal.begin_deletion(&begun)).await??;
        let origins = records.iter().map(|r| self.preparer.keys.origin(r)).collect::<Result<_, _>>();
        let batch = BatchId(uuid::Uuid::now_v7().into_bytes());
        let request = BridgeRequest {
            batch,
            capsules: Vec::new(),
            records: Vec::new(),
            deletes: origins.map_err(|_| PushError::Keys)?,
            erases: Vec::new(),
        };
        let (signer, answer) = self.gate.bridge(self.gate_id, &request).await?;
        if !answer.records.is_empty() || answer.deletes.len() != 16 * records.len() {
            return Err(PushError::GateAnswer);
        }
        let upload = BatchUpload {
            batch,
            gate: signer,
            gate_signature: answer.signature,
            stated: None,
            records: Vec::new(),
            deletes: answer.deletes,
            erases: Vec::new(),
        };
        let receipt = match &self.stating {
            Some(stating) => stating.delete(upload, &self.cloud, &self.journal, &versions).await?,
            None => {
                let body = codec::to_cbor(&upload);
                let receipt: BatchReceipt = self.cloud.post_cbor_bytes("/v1/batches", body.into()).await?;
                let (journal, gone) = (self.journal.clone(), chosen(&versions, &receipt));
                blocking(move || journal.record_deleted(&gone, None)).await??;
                Some(receipt)
            }
        };
        let deleted: HashSet<u32> = receipt.iter().flat_map(|r| r.deleted.iter().copied()).collect();
        let removal = |(at, known): (u32, bool)| match (deleted.contains(&at), known) {
            (true, _) => Removal::Deleted,
            (false, true) => Removal::Denied,
            (false, false) => Removal::Absent,
        };
        Ok(((0..).zip(known).map(removal).collect(), receipt.map(|r| r.seq)))
    }
}

/// Those of a batch's deletions that ended a record.
pub(crate) fn chosen(versions: &[Version], receipt: &BatchReceipt) -> Vec<Version> {
    receipt.deleted.iter().filter_map(|at| versions.get(*at as usize).copied()).collect()
}
