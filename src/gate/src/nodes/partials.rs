//! Partial re-encapsulation: this node's part of what another one found.

use std::sync::Arc;

use rayon::prelude::*;
use sealdex_crypto::{Capsule, PrincipalId, RecordId, Reencapsulated, RoutingInfo, dleq, open_tag, reencapsulate};
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
        let turn = |p: &Option<Permitted>| p.as_ref().map(|p| self.turn(node, p, request.prove)).transpose();
        let partials = permitted.par_iter().map(turn).collect::<Result<_, GateError>>()?;
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

    fn turn(&self, node: u16, permitted: &Permitted, prove: bool) -> Result<Partial, GateError> {
        let (permit, bytes) = (&permitted.permit, permitted.routing.capsule);
        let damaged = || StoreError::Row(Table::Grants.name());
        let capsule = Capsule::from_bytes(&bytes).map_err(|_| damaged())?;
        let share = permit.rk(&self.secrets.store_key)?;
        let turned: Reencapsulated = reencapsulate(share, &capsule);
        let proof = prove.then(|| {
            let commitments = self.store.read(|s| s.grant_commitments(&permit.key))?;
            let commitments = commitments.ok_or(StoreError::Row(Table::Commitments.name()))?;
            if commitments.of(node) != Some(share.public()) {
                return Err(GateError::from(NodeRefusal::WrongResult { node, what: "its share" }));
            }
            let proof = dleq::prove(share, &capsule, &turned, &mut rand::rng()).into();
            Ok(PartialProof { commitments: ByteBuf::from(commitments.to_bytes()), proof })
        });
        Ok(Partial {
            reader: permit.key.reader,
            generation: permit.row.generation,
            x: permit.row.x,
            capsule: RawPoint(bytes),
            point: RawPoint(turned.to_bytes()),
            proof: proof.transpose()?,
        })
    }
}
