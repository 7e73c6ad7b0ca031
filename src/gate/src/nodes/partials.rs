//! Partial re-encapsulation: this node's part of what another one found.

use std::sync::Arc;

use rayon::prelude::*;
use sealdex_crypto::{
    Capsule, PrincipalId, RecordId, Reencapsulated, RekeyScalar, RoutingInfo, decode_many, dleq, open_tag,
    reencapsulate_each,
};
use sealdex_wire::{
    RawPoint, limits,
    threshold::{Partial, PartialProof, Partials, PartialsRequest, Tagged},
};
use serde_bytes::ByteBuf;

use super::NodeRefusal;
use crate::{
    error::{GateError, at_most},
    gate::{Gate, blocking},
    rules::is_name,
    search::{
        SearchRefusal,
        pages::Asker,
        permit::{Permits, Permitted},
    },
    store::{AccessRow, AuditEntry, ConsentStore, ReadConsents as _, Spent, StoreError, Table},
};

/// Capsules that one task re-encapsulates.
const TOGETHER: usize = 64;

/// This node's part of an answer, and what it keeps of it.
struct Part {
    partials: Vec<Option<Partial>>,
    entry: AuditEntry,
    accesses: Vec<(PrincipalId, AccessRow)>,
}

impl<S: ConsentStore> Gate<S> {
    /// Re-encapsulates this node's part of capsules whose records match somewhere, where the caller has a live grant
    /// by what this node knows; nothing else about the search matters to it. Costs per capsule what a search does.
    ///
    /// # Errors
    /// [`GateError`]; nothing is released then.
    pub async fn partials(
        self: &Arc<Self>,
        caller: PrincipalId,
        request: PartialsRequest,
    ) -> Result<Partials, GateError> {
        self.serving()?;
        let _slot = self.slot()?;
        at_most("capsules", request.capsules.len(), 4 * limits::PAGE as usize)?;
        if !is_name(&request.purpose) {
            return Err(SearchRefusal::Purpose.into());
        }
        // As a search holds it: a revocation comes wholly before or wholly after.
        let _held = self.barrier.read().await;
        let members = self.members()?;
        self.may_read(caller, &members)?;
        let (node, epoch) = self.node_of(&members).map(|(own, nodes)| (own.number, nodes.epoch))?;
        let asker = Asker { search: Some(request.search), ..self.asker(caller, &request.purpose, &members) };
        let gate = self.clone();
        let Part { partials, entry, accesses } = blocking(move || gate.part_of(node, &asker, &request)).await?;
        self.journal.record(entry, accesses, Vec::new()).await?;
        Ok(Partials { node, epoch, partials })
    }

    fn part_of(&self, node: u16, asker: &Asker, request: &PartialsRequest) -> Result<Part, GateError> {
        let open = |tagged: &Tagged| self.route(&tagged.id, &tagged.tag);
        let routed: Vec<Option<RoutingInfo>> = request.capsules.par_iter().map(open).collect();
        let now = self.now();
        let mut permits = Permits::default();
        let permitted = self.store.read(|stored| {
            let permit = |(routing, tagged): (Option<RoutingInfo>, &Tagged)| {
                let Some(routing) = routing else { return Ok(None) };
                let permit = permits.of(&routing, tagged.provider, asker, now / 1000, stored)?;
                Ok(permit.map(|permit| Permitted {
                    id: tagged.id,
                    provider: tagged.provider,
                    routing,
                    tag: None,
                    permit,
                }))
            };
            let routed = routed.into_iter().zip(&request.capsules);
            routed.map(permit).collect::<Result<Vec<Option<Permitted>>, StoreError>>()
        })?;
        let some: Vec<&Permitted> = permitted.iter().flatten().collect();
        let chunk = some.len().div_ceil(rayon::current_num_threads()).clamp(8, TOGETHER).next_multiple_of(8);
        let turned = some.par_chunks(chunk).map(|some| self.turned(node, some, request.prove));
        let mut turned = turned.collect::<Result<Vec<_>, GateError>>()?.into_iter().flatten();
        let partials = permitted.iter().map(|p| p.as_ref().and_then(|_| turned.next())).collect();
        let released = permitted.iter().zip(&request.capsules).filter_map(|(p, tagged)| {
            let key = &p.as_ref()?.permit.key;
            Some((key.owner, key.section.as_str(), p.as_ref()?.permit.row.emergency, u64::from(tagged.records)))
        });
        let (entry, accesses) = self.account(asker, now, released, Spent::default());
        Ok(Part { partials, entry, accesses })
    }

    /// Whose section a record is, by its routing tag; none when the tag is no tag of this gate's for that record.
    pub(crate) fn route(&self, id: &RecordId, tag: &[u8]) -> Option<RoutingInfo> {
        let mut routing = open_tag(&self.secrets.tag_key, id, tag).ok()?;
        routing.section.truncate(routing.section.trim_end().len());
        Some(routing)
    }

    /// The part of each, in order.
    fn turned(&self, node: u16, some: &[&Permitted], prove: bool) -> Result<Vec<Partial>, GateError> {
        let damaged = || StoreError::Row(Table::Grants.name());
        let capsules = decode_many(&some.iter().map(|p| p.routing.capsule).collect::<Vec<_>>());
        let pairs = some.iter().zip(capsules).map(|(p, capsule)| {
            let share = p.permit.rk(&self.secrets.store_key)?;
            Ok((share, Capsule::from(capsule.map_err(|_| damaged())?)))
        });
        let pairs: Vec<(&RekeyScalar, Capsule)> = pairs.collect::<Result<_, GateError>>()?;
        let turned = reencapsulate_each(&pairs);
        let proofs = match prove {
            true => self.proofs(node, some, &pairs, &turned)?.into_iter().map(Some).collect(),
            false => vec![None; some.len()],
        };
        let partial = |((p, turned), proof): ((&&Permitted, &Reencapsulated), Option<PartialProof>)| Partial {
            reader: p.permit.key.reader,
            generation: p.permit.row.generation,
            x: p.permit.row.x,
            capsule: RawPoint(p.routing.capsule),
            point: RawPoint(turned.to_bytes()),
            proof,
        };
        Ok(some.iter().zip(&turned).zip(proofs).map(partial).collect())
    }

    /// That each was turned with this node's share, whose place is on what was committed to.
    fn proofs(
        &self,
        node: u16,
        some: &[&Permitted],
        pairs: &[(&RekeyScalar, Capsule)],
        turned: &[Reencapsulated],
    ) -> Result<Vec<PartialProof>, GateError> {
        let publics = RekeyScalar::publics(&pairs.iter().map(|(share, _)| *share).collect::<Vec<_>>());
        let mut committed = Vec::with_capacity(some.len());
        for (permitted, public) in some.iter().zip(publics) {
            let commitments = self.store.read(|s| s.grant_commitments(&permitted.permit.key))?;
            let commitments = commitments.ok_or(StoreError::Row(Table::Commitments.name()))?;
            if commitments.of(node) != Some(public) {
                return Err(NodeRefusal::WrongResult { node, what: "its share" }.into());
            }
            committed.push(ByteBuf::from(commitments.to_bytes()));
        }
        let about: Vec<_> = pairs.iter().zip(turned).map(|((share, capsule), t)| (*share, *capsule, *t)).collect();
        let proofs = dleq::prove_each(&about, &mut rand::rng()).into_iter().map(Into::into);
        Ok(committed.into_iter().zip(proofs).map(|(commitments, proof)| PartialProof { commitments, proof }).collect())
    }
}
