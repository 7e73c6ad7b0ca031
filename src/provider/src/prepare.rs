//! Parsing, indexing, encapsulating and sealing one batch, on all cores.

use std::{
    cell::RefCell,
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use rand::RngExt as _;
use rayon::prelude::*;
use sealdex_crypto::{
    BatchId, CapsuleKey, ENCODING_PLAIN, ENCODING_ZSTD, Point, PrincipalId, RecordHeader, RecordId, capsule_context,
    encapsulate_many, seal_record,
};
use sealdex_fhir::{RawRecord, Record};
use sealdex_member::{IndexError, IndexKeys};
use sealdex_net::clock::now_ms;
use sealdex_schema::{Entry, EntryKind, Owner as RecordOwner, Schema, Scope};
use sealdex_wire::{
    B32, RawPoint,
    ingest::{BridgeCapsule, InnerEntry},
    limits,
};

use crate::{
    batch::{Indexed, Parsed, Prepared, PreparedRecord, Read, Source},
    job::PushError,
    journal::{Journal, State, Version},
    owners::{OwnerMap, Owners},
    rejects::Reject,
};

/// zstd level: 1 is within a few per cent of 3 on records of a kilobyte and twice as fast.
const ZSTD_LEVEL: i32 = 1;
/// Records shorter than this are sealed as they are.
const COMPRESS_FROM: usize = 128;
/// Capsules made at once: they share an inversion.
const TOGETHER: usize = 32;
/// Records parsed before any of them is indexed: few, so that what was parsed of them stays in the processor's caches and
/// its memory is used again.
const PARSED: usize = 64;

/// What preparing needs, the same for every batch.
pub(crate) struct Preparer {
    pub(crate) domain: String,
    /// The provider and those above it, itself first.
    pub(crate) path: Vec<PrincipalId>,
    pub(crate) schema: Arc<Schema>,
    pub(crate) keys: IndexKeys,
    pub(crate) owner_map: RwLock<OwnerMap>,
}

/// A record, or why it is none that can be pushed.
fn read(raw: RawRecord, validate: bool) -> Result<Read, Reject> {
    let (file, line) = (raw.file().clone(), raw.line());
    match Record::parse(raw) {
        Ok(record) => {
            if let Some(reason) = validate.then(|| violations(&record)).flatten() {
                let (file, record) = (file.to_path_buf(), Some(record.identity()));
                return Err(Reject { file, line, record, reason });
            }
            let version = Version::of(&record.identity(), &record.bytes);
            Ok(Read { record, version, file, line })
        }
        Err(e) => Err(Reject { file: file.to_path_buf(), line, record: None, reason: e.to_string() }),
    }
}

/// What became of a record that was read.
pub(crate) enum Outcome {
    /// It is to be pushed.
    Lacking(Box<Parsed>),
    /// The cloud has this very version.
    Known(Version),
    /// It is malformed.
    Rejected(Reject),
}

/// What went well, and rejects.
fn parted<T>(results: Vec<Result<T, Reject>>) -> (Vec<T>, Vec<Reject>) {
    let (mut good, mut rejects) = (Vec::with_capacity(results.len()), Vec::new());
    for result in results {
        match result {
            Ok(one) => good.push(one),
            Err(reject) => rejects.push(reject),
        }
    }
    (good, rejects)
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
    /// Parses what was read, and indexes what the journal lacks.
    pub(crate) fn parse(
        &self,
        raw: Vec<RawRecord>,
        validate: bool,
        journal: &Journal,
    ) -> Result<Vec<Outcome>, PushError> {
        let some = |raw: Vec<RawRecord>| {
            let records: Vec<_> = raw.into_iter().map(|raw| read(raw, validate)).collect();
            let versions: Vec<Version> = records.iter().flatten().map(|read| read.version).collect();
            let mut states = journal.states(&versions)?.into_iter();
            let outcome = |record| match record {
                Err(reject) => Outcome::Rejected(reject),
                Ok(Read { version, .. }) if states.next() == Some(State::Known) => Outcome::Known(version),
                Ok(read) => Outcome::Lacking(Box::new(self.index(read, false))),
            };
            Ok(records.into_iter().map(outcome).collect())
        };
        let all = raw.into_par_iter().chunks(PARSED).map(some).collect::<Result<Vec<Vec<_>>, PushError>>()?;
        Ok(all.into_iter().flatten().collect())
    }

    /// Whose a record is, as it says, and what it is found by.
    pub(crate) fn index(&self, read: Read, replaces: bool) -> Parsed {
        let Read { record, version, file, line } = read;
        let owner = self.schema.owner(&record.resource_type, &record.id, &record.json).map_err(|e| e.to_string());
        let sealed_to = match owner {
            Ok(RecordOwner::Patient(_)) => self.schema.sealed_to(&record.resource_type, &record.json),
            _ => self.schema.section_of(&record.resource_type).name.clone(),
        };
        let (identity, id) = (record.identity(), RecordId(time_ordered()));
        let indexed = self.indexed(&record, &identity, id);
        let Record { resource_type: record_type, bytes, .. } = record;
        let source = Source { bytes, version, replaces, file, line };
        Parsed { source, identity, record_type, owner, sealed_to, id, indexed }
    }

    fn indexed(&self, record: &Record, identity: &str, id: RecordId) -> Result<Indexed, String> {
        let index = self
            .schema
            .index(&record.resource_type, &record.id, &record.json)
            .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))?;
        if index.len() > limits::RECORD_ENTRIES / 8 {
            return Err(format!("{} index values; at most {} are accepted", index.len(), limits::RECORD_ENTRIES / 8));
        }
        if record.bytes.len() > limits::SEALED / 2 {
            return Err(format!("{} bytes; at most {} are accepted", record.bytes.len(), limits::SEALED / 2));
        }
        let mut entries = Vec::with_capacity(index.len() * 33);
        for entry in &index {
            self.pack(entry, id, &mut entries).map_err(|e| format!("field {}: {e}", entry.field))?;
        }
        let origin = self.keys.origin(identity).map_err(|e| e.to_string())?;
        Ok(Indexed { origin, entries })
    }

    /// Whose each of these is, or why that cannot be said.
    pub(crate) fn owners(&self, parsed: &[Parsed]) -> Vec<Result<PrincipalId, String>> {
        let map = self.owner_map.read().unwrap_or_else(PoisonError::into_inner);
        let map = &*map;
        parsed.par_iter().with_min_len(PARSED).map(|p| self.owner(p, map)).collect()
    }

    fn owner(&self, parsed: &Parsed, map: &OwnerMap) -> Result<PrincipalId, String> {
        match &parsed.owner {
            Err(reason) => Err(reason.clone()),
            Ok(RecordOwner::Provider) => Ok(self.path[0]),
            Ok(RecordOwner::Patient(reference)) => map.get(reference).ok_or_else(|| {
                format!("{reference} has no principal in the owner map: enrol the patient with `sealdex owners enrol`")
            }),
        }
    }

    fn is_directory(&self, section: &str) -> bool {
        self.schema.directory_sections().any(|s| s.name == section)
    }

    /// Indexes and seals records, of which it is known whose they are. Those that cannot be pushed come back as rejects
    /// with their reason.
    pub(crate) fn prepare(
        &self,
        parsed: Vec<Parsed>,
        owned: Vec<Result<PrincipalId, String>>,
        owners: &Owners,
    ) -> (Prepared, Vec<Reject>) {
        let check = |(p, owned): (Parsed, Result<PrincipalId, String>)| {
            let reject = |reason| Reject { reason, ..p.reject() };
            let (owner, key) = owned.and_then(|o| Ok((o, self.key(&p, o, owners)?))).map_err(reject)?;
            self.checked(p, owner, key)
        };
        let checked: Vec<_> = parsed.into_par_iter().zip(owned).map(check).collect();
        let (kept, mut rejects) = parted(checked);
        let (slots, kept) = slots(kept);
        let own = |slot: &usize| slots[*slot].owner == self.path[0] && !self.is_directory(&slots[*slot].section);
        let without_patient = kept.iter().filter(|(slot, ..)| own(slot)).count() as u64;
        let sealing = slots.par_chunks(TOGETHER).map(|some| self.encapsulate(some)).collect::<Vec<_>>();
        let sealing: Vec<(BridgeCapsule, CapsuleKey)> = sealing.into_iter().flatten().collect();
        let seal = |(slot, c, source): (usize, Checked<'_>, Source)| match self.seal(slot, c, &source, &sealing[slot]) {
            Ok(record) => Ok((record, source)),
            Err((record, reason)) => {
                Err(Reject { file: source.file.to_path_buf(), line: source.line, record: Some(record), reason })
            }
        };
        let sealed: Vec<_> = kept.into_par_iter().map(seal).collect();
        let capsules = sealing.into_iter().map(|(c, _)| c).collect();
        let (sealed, late) = parted(sealed);
        rejects.extend(late);
        let (records, sources) = sealed.into_iter().unzip();
        (Prepared { batch: BatchId(time_ordered()), capsules, records, without_patient, sources }, rejects)
    }

    /// Epoch and key to seal a record to, if it may be pushed.
    fn key(&self, p: &Parsed, owner: PrincipalId, owners: &Owners) -> Result<(u32, Point), String> {
        let sealed_to = &p.sealed_to;
        let profile = owners.get(owner).ok_or_else(|| {
            format!(
                "the gate has no valid profile of owner {owner}: the owner publishes it with `sealdex owners publish`"
            )
        })?;
        if !profile.admits(&self.path) {
            return Err(format!("owner {owner} has not authorised this provider to write"));
        }
        let (epoch, key) = profile
            .section(sealed_to)
            .ok_or_else(|| format!("owner {owner} has published no key for section \"{sealed_to}\": enrol again"))?;
        if profile.has_erased(sealed_to, epoch) {
            return Err(format!(
                "owner {owner} has ordered section \"{sealed_to}\" to be erased: nothing of it is stored any more; take it out of the sources"
            ));
        }
        Ok((epoch, key))
    }

    fn checked(
        &self,
        p: Parsed,
        owner: PrincipalId,
        (epoch, key): (u32, Point),
    ) -> Result<(Checked<'_>, Source), Reject> {
        let content_type = &self.schema.section_of(&p.record_type).content_type;
        let Indexed { origin, entries } = match p.indexed {
            Ok(indexed) => indexed,
            Err(ref reason) => return Err(Reject { reason: reason.clone(), ..p.reject() }),
        };
        let Parsed { source, identity, sealed_to: section, id, .. } = p;
        Ok((Checked { id, identity, owner, section, content_type, epoch, key, origin, entries }, source))
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

    /// The record, or which could not be sealed and why.
    fn seal(
        &self,
        slot: usize,
        c: Checked<'_>,
        source: &Source,
        (capsule, key): &(BridgeCapsule, CapsuleKey),
    ) -> Result<PreparedRecord, (String, String)> {
        let Checked { id, identity, section, content_type, epoch, origin, entries, .. } = c;
        let header = RecordHeader {
            domain: self.domain.clone(),
            provider: self.path[0],
            record_id: id,
            section,
            epoch,
            content_type: content_type.to_owned(),
            capsule: capsule.capsule.0,
        };
        let compressed = compress(&source.bytes);
        let sealed = match &compressed {
            Some(small) => seal_record(key, &header, ENCODING_ZSTD, small),
            None => seal_record(key, &header, ENCODING_PLAIN, &source.bytes),
        };
        let sealed = sealed.map_err(|e| (identity, e.to_string()))?;
        let capsule = u32::try_from(slot).unwrap_or(u32::MAX);
        Ok(PreparedRecord { id, capsule, origin, entries, sealed, version: source.version })
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

/// Capsules of a batch, and under which of them each record goes.
fn slots<'s>(checked: Vec<(Checked<'s>, Source)>) -> (Vec<Slot>, Vec<(usize, Checked<'s>, Source)>) {
    let mut slot_of = HashMap::new();
    let mut slots: Vec<Slot> = Vec::new();
    let mut places = Vec::with_capacity(checked.len());
    for (c, _) in &checked {
        places.push(*slot_of.entry((c.owner, c.section.as_str())).or_insert_with(|| {
            slots.push(Slot { owner: c.owner, section: c.section.clone(), epoch: c.epoch, key: c.key });
            slots.len() - 1
        }));
    }
    let placed = checked.into_iter().zip(places).map(|((c, source), slot)| (slot, c, source)).collect();
    (slots, placed)
}

/// A record that can be pushed, indexed.
struct Checked<'s> {
    id: RecordId,
    /// `Type/id`.
    identity: String,
    owner: PrincipalId,
    section: String,
    content_type: &'s str,
    epoch: u32,
    key: Point,
    origin: B32,
    /// Packed.
    entries: Vec<u8>,
}

/// A new UUIDv7: the time, so that a store's inserts are nearly sequential, and 74 random bits.
fn time_ordered() -> [u8; 16] {
    uuid::Builder::from_unix_timestamp_millis(now_ms(), &rand::rng().random()).into_uuid().into_bytes()
}

impl Parsed {
    pub(crate) fn reject(&self) -> Reject {
        let Source { file, line, .. } = &self.source;
        Reject { file: file.to_path_buf(), line: *line, record: Some(self.identity.clone()), reason: String::new() }
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
