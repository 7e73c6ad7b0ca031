//! What was done with an owner's records and consent, for the owner to see.

use std::sync::Arc;

use sealdex_crypto::PrincipalId;
use sealdex_wire::{
    consent::{Access, AccessList, ListAccesses},
    limits,
};

use crate::{
    error::GateError,
    gate::{Gate, blocking},
    store::{ConsentStore, ReadConsents as _},
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
            let accesses: Vec<Access> = rows.into_iter().take(limit).map(|(place, row)| row.access(place)).collect();
            let next = accesses.last().map(|a| a.place).filter(|_| more);
            Ok::<_, GateError>(AccessList { accesses, next })
        })
        .await
    }
}
