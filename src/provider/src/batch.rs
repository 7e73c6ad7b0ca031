//! One batch on its way: from parsed records to the two messages that carry it.

use std::{path::Path, sync::Arc};

use rayon::prelude::*;
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
    /// Whether the cloud is known to have an older version.
    pub(crate) replaces: bool,
    pub(crate) file: Arc<Path>,
    pub(crate) line: u64,
}

/// What a sealed record was made of: its bytes without what was parsed of them, which is several times as large.
pub(crate) struct Source {
    pub(crate) bytes: Vec<u8>,
    pub(crate) version: Version,
    pub(crate) replaces: bool,
    pub(crate) file: Arc<Path>,
    pub(crate) line: u64,
}

impl From<Parsed> for Source {
    fn from(parsed: Parsed) -> Self {
        let Parsed { record, version, replaces, file, line } = parsed;
        Self { bytes: record.bytes, version, replaces, file, line }
    }
}

impl Source {
    /// Parses it again; it was parsed before.
    fn parse(self) -> Option<Parsed> {
        let Self { bytes, version, replaces, file, line } = self;
        Some(Parsed { record: Record::from_bytes(bytes).ok()?, version, replaces, file, line })
    }
}

/// A batch, indexed and sealed.
pub(crate) struct Prepared {
    pub(crate) batch: BatchId,
    pub(crate) capsules: Vec<BridgeCapsule>,
    pub(crate) records: Vec<PreparedRecord>,
    /// Records of it that name no patient and are the provider's own, directories aside.
    pub(crate) without_patient: u64,
    /// What it was made of, to make it anew when an owner's epoch has moved on.
    pub(crate) sources: Vec<Source>,
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
    /// Whether the cloud is known to have older versions of some.
    pub(crate) replaces: bool,
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

    /// The records it was made of.
    pub(crate) fn parse_again(self) -> Vec<Parsed> {
        self.sources.into_par_iter().filter_map(Source::parse).collect()
    }

    /// The message to the cloud, when the gate's answer fits the batch.
    pub(crate) fn upload(self, answer: BridgeResponse, gate: PrincipalId, stated: bool) -> Option<Bridged> {
        if answer.records.len() != self.records.len() || !answer.deletes.is_empty() {
            return None;
        }
        let versions = self.records.iter().map(|r| r.version).collect();
        let replaces = self.sources.iter().any(|s| s.replaces);
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
        Some(Bridged { upload, trees, versions, replaces, without_patient: self.without_patient })
    }
}
