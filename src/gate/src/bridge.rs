//! Ingest: inner index entries become terms, capsules become routing tags (spec sections 6, 8, 9).

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use rand::RngExt as _;
use rayon::prelude::*;
use sealdex_crypto::{
    Bits, BridgeScalar, FieldToken, Point, PrincipalId, RecordId, RoutingInfo, Term, decode_many, make_tag, noise,
    order_term,
};
use sealdex_wire::{
    ProblemType,
    consent::OwnerProfile,
    ingest::{
        BridgeCapsule, BridgeRecord, BridgeRequest, BridgeResponse, BridgedRecord, EntryError, InnerEntry, Removed,
        batch_digest,
    },
    limits,
};

use crate::{
    error::{GateError, at_most},
    members::Known,
    nodes::turns::Bridges,
    secrets::GateSecrets,
    store::{ReadConsents as _, ReadErasures as _, Snapshot, Spent, StoreError, Table},
    term_keys::{OrderRun, Scope, TermKeys},
};

/// Why a batch was refused.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum BridgeRefusal {
    /// The owner has published no profile.
    #[error("the gate knows no profile of owner {0}: publish it first")]
    UnknownOwner(PrincipalId),
    /// The owner lets neither this provider nor one above it write.
    #[error("owner {owner} lets neither {provider} nor a provider above it write")]
    NotAWriter {
        /// Whose.
        owner: PrincipalId,
        /// Who.
        provider: PrincipalId,
    },
    /// Sealed to a section or epoch that is not the current one.
    #[error(
        "section {section:?} of owner {owner} is at epoch {current:?}, the capsule is for epoch {found}: fetch the profile again and reseal"
    )]
    StaleEpoch {
        /// Whose.
        owner: PrincipalId,
        /// Section.
        section: String,
        /// Highest epoch published, if the section is published at all.
        current: Option<u32>,
        /// In the capsule.
        found: u32,
    },
    /// Sealed to what its owner has ordered to be erased.
    #[error("owner {owner} has ordered section {section:?} to be erased: nothing of it is taken in any more")]
    Erased {
        /// Whose.
        owner: PrincipalId,
        /// Section.
        section: String,
    },
    /// The capsule is no point.
    #[error("capsule {0} of the batch is no point of the curve")]
    Capsule(usize),
    /// A record names a capsule the batch does not have.
    #[error("record {0} is sealed under a capsule that is not in the batch")]
    NoCapsule(RecordId),
    /// Two records have the same id.
    #[error("record {0} is in the batch twice")]
    Twice(RecordId),
    /// Entries that do not parse.
    #[error("record {record}: {reason}")]
    Entries {
        /// Which.
        record: RecordId,
        /// Why.
        reason: EntryError,
    },
    /// A bridged token that is no point.
    #[error("record {0} has a bridged token that is no point of the curve")]
    Token(RecordId),
    /// A bridged token that no other node has bridged its part of.
    #[error("a bridged token came without the other nodes' parts of it")]
    NoTurn,
    /// Bridged tokens of a member without a bridge.
    #[error("the gate holds no bridge scalar for {0}: the authority must send one before it can use bridged fields")]
    NoBridge(PrincipalId),
}

impl BridgeRefusal {
    pub(crate) fn problem_type(&self) -> ProblemType {
        match self {
            Self::UnknownOwner(_) => ProblemType::NotFound,
            Self::NotAWriter { .. } => ProblemType::NotAWriter,
            Self::StaleEpoch { .. } | Self::Erased { .. } => ProblemType::Conflict,
            Self::NoBridge(_) => ProblemType::Forbidden,
            _ => ProblemType::Malformed,
        }
    }
}

/// Decodes the stored bridge scalar of a member, if it has one.
pub(crate) fn bridge_scalar(
    secrets: &GateSecrets,
    stored: &dyn Snapshot,
    member: PrincipalId,
) -> Result<Option<BridgeScalar>, GateError> {
    let Some(sealed) = stored.bridge(member)? else { return Ok(None) };
    let bytes = secrets.store_key.open_scalar(Table::Bridges, &member.0, &sealed)?;
    Ok(Some(BridgeScalar::from_bytes(&bytes).map_err(|_| StoreError::Row(Table::Bridges.name()))?))
}

/// Refuses a batch that is too large or contradicts itself, before anything is computed.
pub(crate) fn check(request: &BridgeRequest) -> Result<(), GateError> {
    let parts = [request.records.len(), request.deletes.len(), request.erases.len()];
    at_most("records", parts.into_iter().fold(0, usize::saturating_add), limits::BATCH_RECORDS)?;
    at_most("capsules", request.capsules.len(), limits::BATCH_CAPSULES)?;
    let mut seen = HashSet::with_capacity(request.records.len());
    for r in &request.records {
        if !seen.insert(r.id) {
            return Err(BridgeRefusal::Twice(r.id).into());
        }
        if r.capsule as usize >= request.capsules.len() {
            return Err(BridgeRefusal::NoCapsule(r.id).into());
        }
    }
    Ok(())
}

/// What a batch takes of its provider's budget.
pub(crate) fn spent(request: &BridgeRequest) -> Spent {
    let [tokens, ranges, entries] = request.spent();
    Spent { tokens, ranges, entries }
}

/// Checks that every capsule's owner lets the caller write, to the section's current epoch. One
/// profile read an owner. Returns how many owners there are.
pub(crate) fn authorise(
    capsules: &[BridgeCapsule],
    caller: PrincipalId,
    member: &Known,
    stored: &dyn Snapshot,
) -> Result<u64, GateError> {
    let profiles = profiles(capsules, stored)?;
    for capsule in capsules {
        let owner = capsule.owner;
        let profile = profiles.get(&owner).ok_or(BridgeRefusal::UnknownOwner(owner))?;
        // What belongs to no patient belongs to the provider, or to its hospital.
        let own = member.line.first() == Some(&owner) || owner == member.root();
        if !own && !member.line.iter().any(|p| profile.writers.contains(p)) {
            return Err(BridgeRefusal::NotAWriter { owner, provider: caller }.into());
        }
        if stored.erased(owner, &capsule.section)?.is_some_and(|through| capsule.epoch <= through) {
            return Err(BridgeRefusal::Erased { owner, section: capsule.section.clone() }.into());
        }
        let current = profile.current(&capsule.section).map(|k| k.epoch);
        if current != Some(capsule.epoch) {
            let (section, found) = (capsule.section.clone(), capsule.epoch);
            return Err(BridgeRefusal::StaleEpoch { owner, section, current, found }.into());
        }
    }
    Ok(profiles.len() as u64)
}

/// Profiles of the owners of capsules, those that there are: read in the order of the table, parsed in parallel.
fn profiles(
    capsules: &[BridgeCapsule],
    stored: &dyn Snapshot,
) -> Result<HashMap<PrincipalId, OwnerProfile>, GateError> {
    let mut owners: Vec<PrincipalId> = capsules.iter().map(|c| c.owner).collect();
    owners.sort_unstable();
    owners.dedup();
    let read = |owner: PrincipalId| Ok(stored.profile(owner)?.map(|signed| (owner, signed)));
    let signed = owners.into_iter().filter_map(|o| read(o).transpose()).collect::<Result<Vec<_>, StoreError>>()?;
    let parsed = signed.par_iter().with_min_len(64).map(|(owner, signed)| {
        let profile = signed.peek().map_err(|_| StoreError::Row(Table::Profiles.name()))?;
        Ok((*owner, profile))
    });
    parsed.collect::<Result<_, StoreError>>().map_err(GateError::from)
}

/// Turns batches of one provider into what the cloud stores.
pub(crate) struct Bridging<'a> {
    pub(crate) secrets: &'a GateSecrets,
    pub(crate) keys: &'a TermKeys,
    pub(crate) caller: PrincipalId,
    pub(crate) hospital: PrincipalId,
    pub(crate) bridges: Bridges,
}

impl Bridging<'_> {
    /// Bridges an authorised batch, records in parallel, and signs the result.
    ///
    /// Costs one HMAC a token, about 2 µs an order code, 1 µs a tag, one multiplication a bridged token, one
    /// decoding a capsule.
    pub(crate) fn bridge(&self, request: &BridgeRequest) -> Result<BridgeResponse, BridgeRefusal> {
        let capsules: Vec<[u8; 33]> = request.capsules.iter().map(|c| c.capsule.0).collect();
        let bad = capsules.par_chunks(TOGETHER).enumerate().find_map_first(|(chunk, some)| {
            decode_many(some).iter().position(Result::is_err).map(|at| chunk * TOGETHER + at)
        });
        if let Some(index) = bad {
            return Err(BridgeRefusal::Capsule(index));
        }
        let scopes = [Scope::Hospital(self.hospital), Scope::Merged].map(|s| self.keys.scope(s));
        let tagged: Vec<RoutingInfo> = request.capsules.iter().map(routing_info).collect();
        let chunk = request.records.len().div_ceil(rayon::current_num_threads()).clamp(16, TOGETHER);
        let records = request.records.par_chunks(chunk).map(|some| self.some(some, &tagged, &scopes));
        let records = records.collect::<Result<Vec<_>, BridgeRefusal>>()?;
        let records: Vec<BridgedRecord> = records.into_iter().flatten().collect();
        // In the hospital's own scope: whatever is named here, only records of this hospital have such an origin.
        let deletes: Vec<u8> = request.deletes.iter().flat_map(|origin| scopes[0].term(&origin.0).0).collect();
        let pairs = request.records.iter().map(|r| r.id).zip(&records);
        let ids: Vec<u8> = request.erases.iter().flat_map(|id| id.0).collect();
        let removed = Removed { origins: &deletes, ids: &ids };
        let digest = batch_digest(self.secrets.domain(), request.batch, self.caller, removed, pairs);
        Ok(BridgeResponse { signature: self.secrets.identity().sign(&digest, &mut rand::rng()), deletes, records })
    }

    /// Some records of a batch, few enough that what is held of them on the way is little beside the request.
    fn some(
        &self,
        records: &[BridgeRecord],
        tagged: &[RoutingInfo],
        scopes: &[Arc<sealdex_crypto::ScopeKey>; 2],
    ) -> Result<Vec<BridgedRecord>, BridgeRefusal> {
        let unpack = |record: &BridgeRecord| {
            InnerEntry::unpack(&record.entries).map_err(|reason| BridgeRefusal::Entries { record: record.id, reason })
        };
        let entries: Vec<Vec<InnerEntry>> = records.iter().map(unpack).collect::<Result<_, _>>()?;
        let bridged = self.bridged(records, &entries)?;
        let mut runs = HashMap::new();
        let one = |(record, entries): (&BridgeRecord, &Vec<InnerEntry>)| {
            let terms = self.terms(record, entries, &bridged, scopes, &mut runs)?;
            let origin = scopes[0].term(&record.origin.0);
            let info = &tagged[record.capsule as usize];
            let tag = make_tag(&self.secrets.tag_key, &record.id, info, rand::rng().random());
            Ok(BridgedRecord { origin, terms, tag })
        };
        records.iter().zip(&entries).map(one).collect()
    }

    /// What each bridged token of these records becomes; a value that many of them have is multiplied once.
    fn bridged(&self, records: &[BridgeRecord], entries: &[Vec<InnerEntry>]) -> Result<BridgedTokens, BridgeRefusal> {
        let of = |entry: &InnerEntry| match entry {
            InnerEntry::Bridged { point, .. } => Some(point.0),
            _ => None,
        };
        let mut tokens: Vec<[u8; 33]> = entries.iter().flatten().filter_map(of).collect();
        tokens.sort_unstable();
        tokens.dedup();
        if tokens.is_empty() {
            return Ok(HashMap::new());
        }
        let points = decode_many(&tokens).into_iter().zip(&tokens);
        let points = points.map(|(point, token)| {
            point.map_err(|_| {
                let has = |entries: &Vec<InnerEntry>| entries.iter().filter_map(of).any(|t| t == *token);
                let record = records.iter().zip(entries).find(|(_, entries)| has(entries));
                BridgeRefusal::Token(record.map_or(RecordId([0; 16]), |(record, _)| record.id))
            })
        });
        let points = points.collect::<Result<Vec<Point>, _>>()?;
        Ok(tokens.into_iter().zip(self.bridges.apply(self.caller, &points)?).collect())
    }

    /// Terms of one record, sorted and without repeats, so that their order says nothing about fields.
    fn terms(
        &self,
        record: &BridgeRecord,
        entries: &[InnerEntry],
        bridged: &BridgedTokens,
        scopes: &[Arc<sealdex_crypto::ScopeKey>; 2],
        runs: &mut Runs,
    ) -> Result<Vec<u8>, BridgeRefusal> {
        let refused = |reason| BridgeRefusal::Entries { record: record.id, reason };
        let mut terms: Vec<Term> = Vec::with_capacity(entries.len());
        for entry in entries {
            match entry {
                InnerEntry::Token { merged, token } => terms.push(scopes[usize::from(*merged)].term(token)),
                InnerEntry::Bridged { merged, point } => {
                    let token = bridged.get(&point.0).ok_or(BridgeRefusal::Token(record.id))?;
                    terms.push(scopes[usize::from(*merged)].term(token));
                }
                InnerEntry::Order { merged, field, bits, code } => {
                    let (field, bits) = (FieldToken(*field), Bits::new(*bits).map_err(|_| refused(EntryError::Order))?);
                    let scope = if *merged { Scope::Merged } else { Scope::Hospital(self.hospital) };
                    let run = runs.entry((field, *merged)).or_insert_with(|| self.keys.order(field, scope));
                    let noise = noise(&self.secrets.noise_key, &record.id, &field.0);
                    let code = run.key.code(bits, *code, noise).map_err(|_| refused(EntryError::Order))?;
                    terms.push(order_term(run.tag, code));
                }
            }
        }
        terms.sort_unstable();
        terms.dedup();
        Ok(terms.iter().flat_map(|t| t.0).collect())
    }
}

/// What the tags of a capsule's records hold: the section's name padded, so that a tag's length does not tell it.
fn routing_info(capsule: &BridgeCapsule) -> RoutingInfo {
    let section = format!("{:width$}", capsule.section, width = limits::SECTION);
    RoutingInfo { patient: capsule.owner, section, epoch: capsule.epoch, capsule: capsule.capsule.0 }
}

/// Bridged tokens by what they were before.
type BridgedTokens = HashMap<[u8; 33], [u8; 33]>;

/// Points and records that one task takes.
const TOGETHER: usize = 256;

/// Order runs a worker has met in this batch.
type Runs = HashMap<(FieldToken, bool), Arc<OrderRun>>;
