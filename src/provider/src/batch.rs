//! One batch on its way: from parsed records to the two messages that carry it.

use std::path::PathBuf;

use sealdex_crypto::{BatchId, PrincipalId, RecordId};
use sealdex_fhir::Record;
use sealdex_ledger::BatchTrees;
use sealdex_wire::{
    B32,
    ingest::{BatchUpload, BridgeCapsule, BridgeRecord, BridgeRequest, BridgeResponse, UploadRecord},
};

use crate::journal::Version;

/// A record that was read and is not in the journal.
pub(crate) struct Parsed {
    pub(crate) record: Record,
    pub(crate) version: Version,
    pub(crate) file: PathBuf,
    pub(crate) line: u64,
}

/// A batch, indexed and sealed.
pub(crate) struct Prepared {
    pub(crate) batch: BatchId,
    pub(crate) capsules: Vec<BridgeCapsule>,
    pub(crate) records: Vec<PreparedRecord>,
    /// Records of it that name no patient and are the provider's own, directories aside.
    pub(crate) without_patient: u64,
    /// What it was made of, to make it anew when an owner's epoch has moved on.
    pub(crate) parsed: Vec<Parsed>,
}

/// One record of it.
pub(crate) struct PreparedRecord {
    pub(crate) id: RecordId,
    pub(crate) capsule: u32,
    pub(crate) origin: B32,
    pub(crate) entries: Vec<u8>,
    pub(crate) sealed: Vec<u8>,
    pub(crate) version: Version,
}

/// A batch the gate has bridged: the upload, but for what is stated of it.
pub(crate) struct Bridged {
    pub(crate) upload: BatchUpload,
    /// In a domain with a log.
    pub(crate) trees: Option<BatchTrees>,
    pub(crate) versions: Vec<Version>,
    pub(crate) without_patient: u64,
}

impl Prepared {
    /// The message to the gate. Moves the index entries out; sealed records stay here.
    pub(crate) fn bridge_request(&mut self) -> BridgeRequest {
        let records = self.records.iter_mut().map(|r| BridgeRecord {
            id: r.id,
            capsule: r.capsule,
            origin: r.origin,
            entries: std::mem::take(&mut r.entries),
        });
        let (capsules, records) = (std::mem::take(&mut self.capsules), records.collect());
        BridgeRequest { batch: self.batch, capsules, records, deletes: Vec::new(), erases: Vec::new() }
    }

    /// The message to the cloud, when the gate's answer fits the batch.
    pub(crate) fn upload(self, answer: BridgeResponse, gate: PrincipalId, stated: bool) -> Option<Bridged> {
        if answer.records.len() != self.records.len() || !answer.deletes.is_empty() {
            return None;
        }
        let versions = self.records.iter().map(|r| r.version).collect();
        let records = self.records.into_iter().zip(answer.records);
        let upload = BatchUpload {
            batch: self.batch,
            gate,
            gate_signature: answer.signature,
            stated: None,
            records: records.map(|(r, index)| UploadRecord { id: r.id, index, sealed: r.sealed }).collect(),
            deletes: Vec::new(),
            erases: Vec::new(),
        };
        let trees = stated.then(|| BatchTrees::new(&upload.records));
        Some(Bridged { upload, trees, versions, without_patient: self.without_patient })
    }
}
