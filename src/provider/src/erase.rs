//! Ending what patients have ordered to be erased.
//!
//! Only the hospital that pushed a record can state that it has ended. The gate, which alone can tell whose a record is,
//! names the ids; the cloud shows each in a batch that this hospital signed; the hospital states that they have ended.

use std::{collections::HashSet, sync::Arc, time::Duration};

use sealdex_crypto::{BatchId, RecordId};
use sealdex_lognet::DomainLog;
use sealdex_member::{GateLink, MemberKeys, Trusted};
use sealdex_net::Peer;
use sealdex_wire::{
    codec,
    erasure::{ErasuresPending, PendingErasures},
    ingest::{BatchReceipt, BatchUpload, BridgeRequest, CloudStats},
    limits,
};

use crate::{
    job::{Job, Progress, PushError, PushSettings},
    journal::Journal,
    owners::OwnerMap,
};

/// How long the log is waited for.
const LOGGED: Duration = Duration::from_secs(10);

/// What was erased in one go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EraseReport {
    /// Records that have ended by this.
    pub erased: u64,
    /// Records that the cloud denies having, though the log has not got that they ended.
    pub denied: u64,
    /// Place in the log of each batch that ended some.
    pub places: Vec<u64>,
    /// Why the log was not seen to have the last batch, though nothing suggests that it will not.
    pub unlogged: Option<String>,
}

/// Everything that ending what is erased needs.
pub struct EraseInput<'a> {
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
    /// The domain's log of batches.
    pub log: Option<DomainLog>,
}

/// Ends every record of this hospital that its patient has ordered to be erased. When it returns, they are gone and
/// not found any more.
///
/// # Errors
/// [`PushError`]; run it again.
pub async fn erase(input: EraseInput<'_>) -> Result<EraseReport, PushError> {
    let EraseInput { keys, trusted, gate, cloud, journal, mut log } = input;
    let (settings, progress) = (PushSettings::default(), Arc::new(Progress::default()));
    let job = Job::new(keys, trusted, gate, cloud, OwnerMap::default(), journal, settings, progress)?;
    Arc::new(job).erase_owed(&mut log, trusted).await
}

impl Job {
    /// As [`erase`].
    pub(crate) async fn erase_owed(
        self: &Arc<Self>,
        log: &mut Option<DomainLog>,
        trusted: &Trusted,
    ) -> Result<EraseReport, PushError> {
        let (mut report, mut asked) = (EraseReport::default(), PendingErasures::default());
        let mut complete = false;
        loop {
            if asked.after.is_none() {
                // A run over all ids begins: the gate may still be looking, and find more below those told by then.
                (complete, report.denied) = (true, 0);
            }
            let answer: ErasuresPending = self.gate.post_cbor("/v1/erasures/pending", &asked).await?;
            asked.ended.clear();
            asked.until = answer.until;
            complete &= answer.scanned;
            let (ids, odd) = answer.ids.as_chunks::<16>();
            if !odd.is_empty() || ids.len() > limits::ERASURES {
                return Err(PushError::GateAnswer);
            }
            let ids: Vec<RecordId> = ids.iter().map(|id| RecordId(*id)).collect();
            if let Some(last) = ids.last() {
                asked.after = Some(*last);
                let ended = self.erase(&ids, log, trusted, &mut report).await?;
                asked.ended = ended.iter().flat_map(|id| id.0).collect();
            } else if complete {
                break;
            } else {
                asked.after = None;
            }
        }
        // An earlier run that was cut off may have ended some a moment ago.
        self.await_searchable().await?;
        if let Some(last) = report.places.last() {
            report.unlogged = self.await_logged(log, trusted, *last).await?;
        }
        Ok(report)
    }

    /// Ends records of one answer of the gate; those that have ended now, by this or before.
    async fn erase(
        self: &Arc<Self>,
        ids: &[RecordId],
        log: &mut Option<DomainLog>,
        trusted: &Trusted,
        report: &mut EraseReport,
    ) -> Result<Vec<RecordId>, PushError> {
        let batch = BatchId(uuid::Uuid::now_v7().into_bytes());
        let (capsules, records, deletes) = (Vec::new(), Vec::new(), Vec::new());
        let request = BridgeRequest { batch, capsules, records, deletes, erases: ids.to_vec() };
        let (gate, answer) = self.gate.bridge(self.gate_id, &request).await?;
        if !answer.records.is_empty() || !answer.deletes.is_empty() {
            return Err(PushError::GateAnswer);
        }
        let upload = BatchUpload {
            batch,
            gate,
            gate_signature: answer.signature,
            stated: None,
            records: Vec::new(),
            deletes: Vec::new(),
            erases: ids.iter().flat_map(|id| id.0).collect(),
        };
        let receipt = match &self.stating {
            Some(stating) => stating.delete(upload, &self.cloud, &self.journal, &[]).await?,
            None => {
                let body = codec::to_cbor(&upload);
                Some(self.cloud.post_cbor_bytes::<BatchReceipt>("/v1/batches", body.into()).await?)
            }
        };
        let now: HashSet<u32> = receipt.iter().flat_map(|r| r.deleted.iter().copied()).collect();
        report.places.extend(receipt.filter(|r| !r.deleted.is_empty()).map(|r| r.seq));
        report.erased += now.len() as u64;
        let (mut ended, mut absent) = (Vec::new(), Vec::new());
        for (at, id) in (0..).zip(ids) {
            if now.contains(&at) { ended.push(*id) } else { absent.push(*id) }
        }
        if !absent.is_empty() {
            let before = absent.len();
            absent = self.ended_before(absent, log, trusted).await?;
            report.denied += (before - absent.len()) as u64;
        }
        ended.extend(absent);
        Ok(ended)
    }

    /// Which of these, that the cloud says it has not, have ended by the log: in a domain that has none, all.
    async fn ended_before(
        &self,
        ids: Vec<RecordId>,
        log: &mut Option<DomainLog>,
        trusted: &Trusted,
    ) -> Result<Vec<RecordId>, PushError> {
        let Some(log) = log else {
            // The cloud's bare word ends nothing where there is a log that could be asked.
            return Ok(if self.stating.is_some() { Vec::new() } else { ids });
        };
        let accepted = self.cloud.get_json::<CloudStats>("/v1/stats").await?.accepted;
        log.reach(accepted, trusted, LOGGED).await?;
        let hospital = self.preparer.path.last().copied().ok_or(PushError::NotInRoster)?;
        Ok(ids.into_iter().filter(|id| log.view().ended_by(*id, hospital).is_some()).collect())
    }
}
