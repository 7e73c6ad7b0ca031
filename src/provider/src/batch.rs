//! One batch on its way: from parsed records to the two messages that carry it.

use std::{path::Path, sync::Arc};

use rayon::prelude::*;
use sealdex_crypto::{BatchId, PrincipalId, RecordId};
use sealdex_fhir::Record;
use sealdex_ledger::BatchTrees;
use sealdex_schema::Owner;
use sealdex_wire::{
    B32,
    ingest::{BatchUpload, BridgeCapsule, BridgeRecord, BridgeRequest, BridgeResponse, UploadRecord},
};

use crate::{journal::Version, prepare::Preparer};

/// A record as it was read.
pub(crate) struct Read {
    pub(crate) record: Record,
    pub(crate) version: Version,
    pub(crate) file: Arc<Path>,
    pub(crate) line: u64,
}

/// A record that is not in the journal, indexed. What was parsed of it is several times as large as all of this, and gone.
pub(crate) struct Parsed {
    pub(crate) source: Source,
    /// `Type/id`.
    pub(crate) identity: String,
    pub(crate) record_type: String,
    /// Whose the record says that it is.
    pub(crate) owner: Result<Owner, String>,
    /// The section it is sealed to.
    pub(crate) sealed_to: String,
    /// Its new id.
    pub(crate) id: RecordId,
    pub(crate) indexed: Result<Indexed, String>,
}

/// What a record is found by.
pub(crate) struct Indexed {
    pub(crate) origin: B32,
    /// Packed.
    pub(crate) entries: Vec<u8>,
}

/// What a sealed record is made of.
pub(crate) struct Source {
    pub(crate) bytes: Vec<u8>,
    pub(crate) version: Version,
    /// Whether the cloud is known to have an older version.
    pub(crate) replaces: bool,
    pub(crate) file: Arc<Path>,
    pub(crate) line: u64,
}

impl Source {
    /// Reads it again; it was read before.
    fn read(self, preparer: &Preparer) -> Option<Parsed> {
        let Self { bytes, version, replaces, file, line } = self;
        let record = Record::from_bytes(bytes).ok()?;
        Some(preparer.index(Read { record, version, file, line }, replaces))
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
    pub(crate) fn parse_again(self, preparer: &Preparer) -> Vec<Parsed> {
        self.sources.into_par_iter().filter_map(|source| source.read(preparer)).collect()
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
