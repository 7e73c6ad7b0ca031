//! Building the answer under the barrier: matches by capsule, tickets issued, the act on its way to the disk, and
//! capsules re-encapsulated meanwhile.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use rand::RngExt as _;
use rayon::prelude::*;
use sealdex_crypto::{Capsule, PrincipalId, RecordId, decode_many, reencapsulate_many};
use sealdex_net::trace::Stage;
use sealdex_wire::{
    RawPoint, limits,
    search::{FetchTicket, MatchGroup, SearchResponse, Ticket},
};
use serde_bytes::ByteBuf;

use super::{
    pages::Asker,
    permit::{Permit, Permits, Permitted},
};
use crate::{
    cloud::CloudError,
    error::GateError,
    gate::{Gate, blocking},
    journal::Recording,
    store::{AccessRow, AuditEntry, AuditKind, ConsentStore, Cover, Spent, StoreError, Table, TicketRow},
};

/// An answer, which is given once what the gate keeps of it is durable.
struct Built {
    groups: Vec<MatchGroup>,
    tickets: Vec<FetchTicket>,
    kept: Recording,
}

/// Matches that share a capsule, before it is re-encapsulated.
struct Group {
    provider: PrincipalId,
    capsule: [u8; 33],
    permit: Arc<Permit>,
    ids: Vec<RecordId>,
    /// Of the first record, for the other nodes.
    tag: Option<ByteBuf>,
}

impl<S: ConsentStore> Gate<S> {
    /// Turns permitted matches into the answer. Holds the read side of the barrier from reading grants
    /// (again, if any consent has changed since `generation`) until the tickets are on record.
    pub(super) async fn answer(
        self: &Arc<Self>,
        asker: Arc<Asker>,
        generation: u64,
        found: Vec<Permitted>,
        spent: Spent,
    ) -> Result<SearchResponse, GateError> {
        let _held = self.barrier.read().await;
        let members = self.members()?;
        members.active(asker.caller)?;
        // Whoever has left a group since the search began is in it no longer.
        let asker = match self.generation() == generation {
            true => asker,
            false => {
                let now = self.asker(asker.caller, &asker.purpose, &members);
                Arc::new(Asker { search: asker.search, ..now })
            }
        };
        let cloud = members.cloud().ok_or(CloudError::None)?.id;
        let gate = self.clone();
        let build = move || {
            let found = if gate.generation() == generation { found } else { gate.permit_again(&asker, found)? };
            gate.build(&asker, cloud, found, spent)
        };
        let stage = Stage::gate("reencapsulate");
        let Built { groups, tickets, kept } = blocking(build).await?;
        drop(stage);
        let _stage = Stage::gate("store");
        kept.durable().await?;
        Ok(SearchResponse { groups, tickets, covered: Vec::new(), cursor: None, completeness: None })
    }

    fn permit_again(&self, asker: &Asker, found: Vec<Permitted>) -> Result<Vec<Permitted>, StoreError> {
        let (mut permits, now) = (Permits::default(), self.now() / 1000);
        self.store.read(|stored| {
            let again = |p: Permitted| {
                permits
                    .of(&p.routing, p.provider, asker, now, stored)
                    .map(|found| found.map(|permit| Permitted { permit, ..p }))
            };
            found.into_iter().map(again).filter_map(Result::transpose).collect()
        })
    }

    fn build(
        &self,
        asker: &Asker,
        cloud: PrincipalId,
        found: Vec<Permitted>,
        spent: Spent,
    ) -> Result<Built, GateError> {
        let now = self.now();
        let groups = group(found);
        let (tickets, rows) = self.issue(&groups, asker.caller, cloud, now);
        let released = groups.iter().map(|g| {
            let key = &g.permit.key;
            (key.owner, key.section.as_str(), g.permit.row.emergency, g.ids.len() as u64)
        });
        let (entry, accesses) = self.account(asker, now, released, spent);
        self.outstanding.register(rows.clone());
        // The disk is waited for while the processors multiply. Should that fail, more is on record than was released.
        let kept = self.journal.begin(entry, accesses, rows)?;
        let chunk = groups.len().div_ceil(rayon::current_num_threads()).clamp(16, 256).next_multiple_of(8);
        let reencapsulated: Vec<Vec<[u8; 33]>> =
            groups.par_chunks(chunk).map(|c| self.reencapsulate(c)).collect::<Result<_, _>>()?;
        let groups =
            groups.into_iter().zip(reencapsulated.into_iter().flatten()).map(|(g, e)| g.into_message(e)).collect();
        Ok(Built { groups, tickets, kept })
    }

    /// What is kept of records released: for the trail, and for each owner. Owner, section, whether under an emergency
    /// grant, how many.
    pub(crate) fn account<'s>(
        &self,
        asker: &Asker,
        at: u64,
        released: impl Iterator<Item = (PrincipalId, &'s str, bool, u64)>,
        spent: Spent,
    ) -> (AuditEntry, Vec<(PrincipalId, AccessRow)>) {
        let mut by_section: BTreeMap<(PrincipalId, &str, bool), u64> = BTreeMap::new();
        released.for_each(|(owner, section, emergency, n)| {
            *by_section.entry((owner, section, emergency)).or_default() += n;
        });
        let owners: HashSet<_> = by_section.keys().map(|(owner, ..)| *owner).collect();
        let entry = AuditEntry {
            at,
            kind: AuditKind::Search,
            caller: asker.caller,
            owner: None,
            purpose: Some(asker.purpose.clone()),
            count: by_section.values().sum(),
            owners: owners.len() as u64,
            spent,
        };
        let access = |((owner, section, emergency), count): ((PrincipalId, &str, bool), u64)| {
            let row = AccessRow {
                at,
                kind: AuditKind::Search,
                caller: asker.caller,
                purpose: Some(asker.purpose.clone()),
                section: Some(section.to_owned()),
                reader: None,
                count,
                emergency,
                search: asker.search,
            };
            (owner, row)
        };
        (entry, by_section.into_iter().map(access).collect())
    }

    /// One decoding and one multiplication a capsule, eight capsules at a time where the processor can.
    fn reencapsulate(&self, groups: &[Group]) -> Result<Vec<[u8; 33]>, GateError> {
        let capsules = decode_many(&groups.iter().map(|g| g.capsule).collect::<Vec<_>>());
        let pairs = groups.iter().zip(capsules).map(|(g, capsule)| {
            // Checked at ingest and authentic since, so a failure is a fault of the store of keys.
            let capsule = capsule.map_err(|_| StoreError::Row(Table::Grants.name()))?;
            Ok((g.permit.rk(&self.secrets.store_key)?, Capsule::from(capsule)))
        });
        Ok(reencapsulate_many(&pairs.collect::<Result<Vec<_>, GateError>>()?))
    }

    /// Tickets over all ids, each once. Matches whose grant ends before a ticket would are kept apart,
    /// in tickets that end with it.
    fn issue(
        &self,
        groups: &[Group],
        caller: PrincipalId,
        cloud: PrincipalId,
        now: u64,
    ) -> (Vec<FetchTicket>, Vec<TicketRow>) {
        let lasting = now + limits::TICKET_MS;
        let ends = |g: &Group| g.permit.ends.saturating_mul(1000).min(lasting);
        let (long, short): (Vec<&Group>, Vec<&Group>) = groups.iter().partition(|g| ends(g) == lasting);
        let mut issued = (Vec::new(), Vec::new());
        for part in [long, short] {
            let ids: Vec<(&Group, RecordId)> = part.iter().flat_map(|g| g.ids.iter().map(|id| (*g, *id))).collect();
            for chunk in ids.chunks(limits::TICKET_RECORDS) {
                let expires_at = chunk.iter().map(|(g, _)| ends(g)).min().unwrap_or(lasting);
                let fetch = self.sign_ticket(chunk.iter().flat_map(|(_, id)| id.0).collect(), cloud, now, expires_at);
                let covers: HashSet<Cover> =
                    chunk.chunk_by(|a, b| std::ptr::eq(a.0, b.0)).map(|run| run[0].0.cover()).collect();
                let (nonce, covers) = (fetch.ticket.nonce, covers.into_iter().collect());
                issued.0.push(fetch);
                issued.1.push(TicketRow { nonce, cloud, caller, expires_at, withdrawn: false, covers });
            }
        }
        issued
    }

    fn sign_ticket(&self, ids: Vec<u8>, cloud: PrincipalId, issued_at: u64, expires_at: u64) -> FetchTicket {
        let (gate, mut rng) = (self.secrets.identity(), rand::rng());
        let nonce = rng.random();
        let digest = Ticket::digest(self.secrets.domain(), cloud, &nonce, issued_at, expires_at, &ids);
        let signature = gate.sign(&digest, &mut rng);
        FetchTicket { ticket: Ticket { gate: gate.id(), nonce, issued_at, expires_at, signature }, ids }
    }
}

/// Groups matches by capsule, in the order of their first; an id the cloud repeated counts once.
fn group(found: Vec<Permitted>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut places = HashMap::new();
    let mut seen = HashSet::with_capacity(found.len());
    for Permitted { id, provider, routing, permit, tag } in found {
        if !seen.insert(id) {
            continue;
        }
        let capsule = routing.capsule;
        let place =
            *places.entry((capsule, provider, routing.patient, routing.epoch, routing.section)).or_insert(groups.len());
        match groups.get_mut(place) {
            Some(group) => group.ids.push(id),
            None => groups.push(Group { provider, capsule, permit, ids: vec![id], tag }),
        }
    }
    groups
}

impl Group {
    fn cover(&self) -> Cover {
        let key = &self.permit.key;
        Cover { owner: key.owner, reader: key.reader, section: key.section.clone() }
    }

    fn into_message(self, reencapsulated: [u8; 33]) -> MatchGroup {
        let (key, row) = (&self.permit.key, &self.permit.row);
        MatchGroup {
            owner: key.owner,
            section: key.section.clone(),
            epoch: key.epoch,
            provider: self.provider,
            reader: key.reader,
            generation: row.generation,
            a: row.a,
            x: row.x,
            capsule: RawPoint(self.capsule),
            reencapsulated: RawPoint(reencapsulated),
            ids: self.ids.iter().flat_map(|id| id.0).collect(),
            tag: self.tag,
        }
    }
}
