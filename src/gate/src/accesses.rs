//! What was done with an owner's records and consent, for the owner to see.

use std::sync::Arc;

use sealdex_crypto::PrincipalId;
use sealdex_wire::{
    consent::{Access, AccessKind, AccessList, ListAccesses, Place},
    limits,
};

use crate::{
    error::GateError,
    gate::{Gate, blocking},
    store::{AccessRow, AuditKind, ConsentStore, ReadConsents as _},
};

impl<S: ConsentStore> Gate<S> {
    /// What was done with the caller's own records and consent, oldest first.
    ///
    /// # Errors
    /// [`GateError`].
    pub async fn list_accesses(
        self: &Arc<Self>,
        caller: PrincipalId,
        request: ListAccesses,
    ) -> Result<AccessList, GateError> {
        let limit = (request.limit as usize).clamp(1, limits::DOCUMENTS);
        let gate = self.clone();
        blocking(move || {
            let rows = gate.store.read(|s| s.accesses_of(caller, request.after, limit + 1))?;
            let more = rows.len() > limit;
            let accesses: Vec<Access> = rows.into_iter().take(limit).map(access).collect();
            let next = accesses.last().map(|a| a.place).filter(|_| more);
            Ok::<_, GateError>(AccessList { accesses, next })
        })
        .await
    }
}

fn access((place, row): (Place, AccessRow)) -> Access {
    let kind = match row.kind {
        AuditKind::Search | AuditKind::Count | AuditKind::Turn => AccessKind::Search,
        AuditKind::Bridge => AccessKind::Push,
        AuditKind::Revocations => AccessKind::Revocation,
        AuditKind::Emergency | AuditKind::Alarm => AccessKind::Emergency,
        AuditKind::Request => AccessKind::Request,
        AuditKind::Mandate => AccessKind::Mandate,
        AuditKind::Grants | AuditKind::Owners | AuditKind::Roster | AuditKind::Family => AccessKind::Grant,
        AuditKind::Bridges | AuditKind::Group | AuditKind::Rotation => AccessKind::Grant,
    };
    let AccessRow { at, caller, purpose, section, reader, count, emergency, search, .. } = row;
    Access { place, at, kind, caller, purpose, section, reader, count, emergency, search, node: None }
}
