//! Parsing, indexing, encapsulating and sealing one batch, on all cores.

use std::{
    cell::RefCell,
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use rayon::prelude::*;
use sealdex_crypto::{
    BatchId, CapsuleKey, ENCODING_PLAIN, ENCODING_ZSTD, Point, PrincipalId, RecordHeader, RecordId, capsule_context,
    encapsulate_many, seal_record,
};
use sealdex_fhir::{RawRecord, Record};
use sealdex_member::{IndexError, IndexKeys};
use sealdex_schema::{Entry, EntryKind, Owner as RecordOwner, Schema, Scope};
use sealdex_wire::{
    RawPoint,
    ingest::{BridgeCapsule, InnerEntry},
    limits,
};

use crate::{
    batch::{Parsed, Prepared, PreparedRecord},
    journal::Version,
    owners::{OwnerMap, Owners},
    rejects::Reject,
};

/// zstd level: 1 is within a few per cent of 3 on records of a kilobyte and twice as fast.
const ZSTD_LEVEL: i32 = 1;
/// Records shorter than this are sealed as they are.
const COMPRESS_FROM: usize = 128;
/// Capsules made at once: they share an inversion.
const TOGETHER: usize = 32;

/// What preparing needs, the same for every batch.
pub(crate) struct Preparer {
    pub(crate) domain: String,
    /// The provider and those above it, itself first.
    pub(crate) path: Vec<PrincipalId>,
    pub(crate) schema: Arc<Schema>,
    pub(crate) keys: IndexKeys,
    pub(crate) owner_map: RwLock<OwnerMap>,
}

/// Parses what was read; malformed records become rejects.
pub(crate) fn parse(raw: Vec<RawRecord>, validate: bool) -> (Vec<Parsed>, Vec<Reject>) {
    let results: Vec<_> = raw
        .into_par_iter()
        .map(|raw| {
            let (file, line) = (raw.file().to_path_buf(), raw.line());
            match Record::parse(raw) {
                Ok(record) => {
                    if let Some(reason) = validate.then(|| violations(&record)).flatten() {
                        return Err(Reject { file, line, record: Some(record.identity()), reason });
                    }
                    let version = Version::of(&record.identity(), &record.bytes);
                    Ok(Parsed { record, version, file, line })
                }
                Err(e) => Err(Reject { file, line, record: None, reason: e.to_string() }),
            }
        })
        .collect();
    let (mut parsed, mut rejects) = (Vec::with_capacity(results.len()), Vec::new());
    for r in results {
        match r {
            Ok(p) => parsed.push(p),
            Err(e) => rejects.push(e),
        }
    }
    (parsed, rejects)
}

/// What keeps a record of a FHIR type from being R4, with its paths.
fn violations(record: &Record) -> Option<String> {
    if !sealdex_r4::is_resource(&record.resource_type) {
        return None;
    }
    let violations = sealdex_r4::validate(&record.json).err()?;
    let texts: Vec<String> = violations.iter().take(8).map(ToString::to_string).collect();
    Some(format!("is not FHIR R4: {}", texts.join("; ")))
}

impl Preparer {
    /// The principal that owns a record.
    pub(crate) fn owner(&self, record: &Record) -> Result<PrincipalId, String> {
        match self.schema_owner(record)? {
            RecordOwner::Provider => Ok(self.path[0]),
            RecordOwner::Patient(reference) => {
                let map = self.owner_map.read().unwrap_or_else(PoisonError::into_inner);
                map.get(&reference).ok_or_else(|| {
                    format!(
                        "{reference} has no principal in the owner map: enrol the patient with `sealdex owners enrol`"
                    )
                })
            }
        }
    }

    fn is_directory(&self, section: &str) -> bool {
        self.schema.directory_sections().any(|s| s.name == section)
    }

    fn schema_owner(&self, record: &Record) -> Result<RecordOwner, String> {
        self.schema.owner(&record.resource_type, &record.id, &record.json).map_err(|e| e.to_string())
    }

    /// Indexes and seals. Records that cannot be pushed come back as rejects with their reason.
    pub(crate) fn prepare(&self, parsed: Vec<Parsed>, owners: &Owners) -> (Prepared, Vec<Reject>) {
        let checked: Vec<_> = parsed
            .into_par_iter()
            .map(|p| self.check(&p, owners).map_err(|reason| (reason, p.reject())).map(|c| (c, p)))
            .collect();
        let mut rejects = Vec::new();
        let mut capsule_of = HashMap::new();
        let mut slots: Vec<Slot> = Vec::new();
        let mut kept = Vec::with_capacity(checked.len());
        for result in checked {
            match result {
                Ok((c, p)) => {
                    let next = slots.len();
                    let slot = *capsule_of.entry((c.owner, c.section.clone())).or_insert(next);
                    if slot == next {
                        slots.push(Slot { owner: c.owner, section: c.section.clone(), epoch: c.epoch, key: c.key });
                    }
                    kept.push((slot, c, p));
                }
                Err((reason, mut reject)) => {
                    reject.reason = reason;
                    rejects.push(reject);
                }
            }
        }
        let own = |slot: &usize| slots[*slot].owner == self.path[0] && !self.is_directory(&slots[*slot].section);
        let without_patient = kept.iter().filter(|(slot, ..)| own(slot)).count() as u64;
        let sealing = slots.par_chunks(TOGETHER).map(|some| self.encapsulate(some)).collect::<Vec<_>>();
        let sealing: Vec<(BridgeCapsule, CapsuleKey)> = sealing.into_iter().flatten().collect();
        let sealed: Vec<_> =
            kept.into_par_iter().map(|(slot, c, p)| (self.seal(slot, &c, &p, &sealing[slot]), p)).collect();
        let capsules = sealing.into_iter().map(|(c, _)| c).collect();
        let (mut records, mut parsed) = (Vec::with_capacity(sealed.len()), Vec::with_capacity(sealed.len()));
        for (result, p) in sealed {
            match result {
                Ok(record) => {
                    records.push(record);
                    parsed.push(p);
                }
                Err(reason) => rejects.push(Reject { reason, ..p.reject() }),
            }
        }
        (
            Prepared { batch: BatchId(uuid::Uuid::now_v7().into_bytes()), capsules, records, without_patient, parsed },
            rejects,
        )
    }

    fn check<'s>(&'s self, p: &Parsed, owners: &Owners) -> Result<Checked<'s>, String> {
        let owner = self.owner(&p.record)?;
        let section = self.schema.section_of(&p.record.resource_type);
        let sealed_to = match self.schema_owner(&p.record)? {
            RecordOwner::Patient(_) => self.schema.sealed_to(&p.record.resource_type, &p.record.json),
            RecordOwner::Provider => section.name.clone(),
        };
        let profile = owners.get(owner).ok_or_else(|| {
            format!(
                "the gate has no valid profile of owner {owner}: the owner publishes it with `sealdex owners publish`"
            )
        })?;
        if !profile.admits(&self.path) {
            return Err(format!("owner {owner} has not authorised this provider to write"));
        }
        let (epoch, key) = profile
            .section(&sealed_to)
            .ok_or_else(|| format!("owner {owner} has published no key for section \"{sealed_to}\": enrol again"))?;
        if profile.has_erased(&sealed_to, epoch) {
            return Err(format!(
                "owner {owner} has ordered section \"{sealed_to}\" to be erased: nothing of it is stored any more; take it out of the sources"
            ));
        }
        let entries = self
            .schema
            .index(&p.record.resource_type, &p.record.id, &p.record.json)
            .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))?;
        if entries.len() > limits::RECORD_ENTRIES / 8 {
            return Err(format!("{} index values; at most {} are accepted", entries.len(), limits::RECORD_ENTRIES / 8));
        }
        if p.record.bytes.len() > limits::SEALED / 2 {
            return Err(format!("{} bytes; at most {} are accepted", p.record.bytes.len(), limits::SEALED / 2));
        }
        Ok(Checked { owner, section: sealed_to, content_type: &section.content_type, epoch, key, entries })
    }

    fn encapsulate(&self, slots: &[Slot]) -> Vec<(BridgeCapsule, CapsuleKey)> {
        let to: Vec<(Point, Vec<u8>)> =
            slots.iter().map(|s| (s.key, capsule_context(&self.domain, &s.section, s.epoch))).collect();
        let made = encapsulate_many(&to, &mut rand::rng()).into_iter().zip(slots);
        made.map(|((capsule, key), slot)| {
            let wire = BridgeCapsule {
                owner: slot.owner,
                section: slot.section.clone(),
                epoch: slot.epoch,
                capsule: RawPoint(capsule.to_bytes()),
            };
            (wire, key)
        })
        .collect()
    }

    fn seal(
        &self,
        slot: usize,
        c: &Checked<'_>,
        p: &Parsed,
        (capsule, key): &(BridgeCapsule, CapsuleKey),
    ) -> Result<PreparedRecord, String> {
        let id = RecordId(uuid::Uuid::now_v7().into_bytes());
        let mut entries = Vec::with_capacity(c.entries.len() * 33);
        for entry in &c.entries {
            self.pack(entry, id, &mut entries).map_err(|e| format!("field {}: {e}", entry.field))?;
        }
        let header = RecordHeader {
            domain: self.domain.clone(),
            provider: self.path[0],
            record_id: id,
            section: c.section.clone(),
            epoch: c.epoch,
            content_type: c.content_type.to_owned(),
            capsule: capsule.capsule.0,
        };
        let compressed = compress(&p.record.bytes);
        let sealed = match &compressed {
            Some(small) => seal_record(key, &header, ENCODING_ZSTD, small),
            None => seal_record(key, &header, ENCODING_PLAIN, &p.record.bytes),
        };
        let sealed = sealed.map_err(|e| e.to_string())?;
        let origin = self.keys.origin(&p.record.identity()).map_err(|e| e.to_string())?;
        Ok(PreparedRecord {
            id,
            capsule: u32::try_from(slot).unwrap_or(u32::MAX),
            origin,
            entries,
            sealed,
            version: p.version,
        })
    }

    fn pack(&self, entry: &Entry, record: RecordId, out: &mut Vec<u8>) -> Result<(), IndexError> {
        let merged = entry.scope == Scope::Merged;
        let field = entry.field.as_ref();
        match &entry.kind {
            EntryKind::Token(value) => InnerEntry::Token { merged, token: self.keys.token(field, value)?.0 }.pack(out),
            EntryKind::Bridged(value) => {
                InnerEntry::Bridged { merged, point: self.keys.bridged(field, value)? }.pack(out)
            }
            EntryKind::Order { bits, q } => self.keys.order_entry(field, record, merged, *bits, *q)?.pack(out),
            EntryKind::Cover { bits, q } => {
                for token in self.keys.cover_path(field, *bits, *q)? {
                    InnerEntry::Token { merged, token: token.0 }.pack(out);
                }
            }
        }
        Ok(())
    }
}

/// Owner, section and epoch that share a capsule in one batch.
struct Slot {
    owner: PrincipalId,
    section: String,
    epoch: u32,
    key: Point,
}

struct Checked<'s> {
    owner: PrincipalId,
    section: String,
    content_type: &'s str,
    epoch: u32,
    key: Point,
    entries: Vec<Entry>,
}

impl Parsed {
    pub(crate) fn reject(&self) -> Reject {
        Reject { file: self.file.clone(), line: self.line, record: Some(self.record.identity()), reason: String::new() }
    }
}

/// zstd of `bytes` when that is shorter.
fn compress(bytes: &[u8]) -> Option<Vec<u8>> {
    thread_local! {
        static ZSTD: RefCell<Option<zstd::bulk::Compressor<'static>>> = const { RefCell::new(None) };
    }
    if bytes.len() < COMPRESS_FROM {
        return None;
    }
    ZSTD.with_borrow_mut(|slot| {
        if slot.is_none() {
            *slot = zstd::bulk::Compressor::new(ZSTD_LEVEL).ok();
        }
        slot.as_mut()?.compress(bytes).ok().filter(|c| c.len() < bytes.len())
    })
}
