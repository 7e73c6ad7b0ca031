//! Carers: members whom an owner lets act for it.

use std::sync::Arc;

use sealdex_crypto::{PrincipalId, PublicIdentity};
use sealdex_wire::{
    acts::{SignedBy, Word},
    care::{Mandate, MandateList, SubmitMandate},
    consent::Accepted,
};

use super::CareRefusal;
use crate::{
    control::owner_keys,
    error::GateError,
    gate::{Gate, blocking},
    revoke::{finish, mark},
    rules::mandates::{self, MandateRefusal},
    store::{
        AccessRow, AuditKind, ConsentStore, ReadConsents as _, StoreError, Table, TicketRow, WriteConsents as _,
        consents::told,
    },
};

impl<S: ConsentStore> Gate<S> {
    /// Puts a mandate in force, or ends one: then whatever its carer passed on ends with it. From the owner.
    ///
    /// # Errors
    /// [`GateError`]; nothing has changed then.
    pub async fn submit_mandate(
        self: &Arc<Self>,
        caller: PublicIdentity,
        request: SubmitMandate,
    ) -> Result<Accepted, GateError> {
        let gate = self.clone();
        finish(async move {
            let held = gate.barrier.write().await;
            let worker = gate.clone();
            let (count, ended) = blocking(move || worker.submit_mandate_now(&caller, &request)).await?;
            drop(held);
            gate.withdraw(ended).await;
            Ok(Accepted { count })
        })
        .await
    }

    fn submit_mandate_now(
        &self,
        caller: &PublicIdentity,
        request: &SubmitMandate,
    ) -> Result<(u64, Vec<TicketRow>), GateError> {
        let (owner, now) = (request.mandate.signer, self.now());
        if owner != caller.id() {
            return Err(CareRefusal::NotForOwner { owner, caller: caller.id() }.into());
        }
        let profiles = self.profiles(std::iter::once(owner))?;
        let keys = owner_keys(&profiles, owner, caller).ok_or(CareRefusal::UnknownOwner(owner))?;
        let members = self.members()?;
        let (mandate, carer) = mandates::verify(&request.mandate, &keys, self.secrets.domain(), &members, now)?;
        let ends = mandate.not_after <= now / 1000;
        let mut ended = Vec::new();
        let count = self.store.write(|txn| {
            ended.clear();
            if let Some(before) = txn.mandate(owner, carer)? {
                if before.payload == request.mandate.payload {
                    return Ok(0);
                }
                let before: Mandate = before.peek().map_err(|_| StoreError::Row(Table::Mandates.name()))?;
                if mandate.made_at <= before.made_at {
                    return Err(MandateRefusal::Time(owner).into());
                }
            }
            txn.put_mandate(owner, carer, &request.mandate)?;
            let mut count = 1;
            for (key, row) in txn.grants_of(owner, None, usize::MAX)? {
                if row.by == carer && (ends || !mandate.covers(Some(&key.section), now / 1000)) {
                    txn.remove_grant(&key)?;
                    ended.extend(self.outstanding.resting_on(owner, key.reader, |c| c.section == key.section));
                    count += 1;
                }
            }
            mark(txn, &ended)?;
            let access = AccessRow {
                at: now,
                kind: AuditKind::Mandate,
                caller: owner,
                purpose: None,
                section: None,
                reader: Some(carer),
                count: u64::from(!ends),
                emergency: false,
                search: None,
            };
            let entry = self.entry(AuditKind::Mandate, owner, count, std::iter::once(owner));
            let word = Word::of(&request.mandate, SignedBy::Owner);
            txn.append_told(&entry, vec![told(owner, access, Some(word))], Vec::new())?;
            Ok::<_, GateError>(count)
        })?;
        self.permissions_changed();
        Ok((count, ended))
    }

    /// Mandates the caller gave, and those given to it.
    ///
    /// # Errors
    /// [`GateError`].
    pub async fn list_mandates(self: &Arc<Self>, caller: PrincipalId) -> Result<MandateList, GateError> {
        let gate = self.clone();
        blocking(move || {
            gate.store.read(|s| {
                let mut mandates = s.mandates_of(caller)?;
                for owner in s.mandates_to(caller)? {
                    mandates.extend(s.mandate(owner, caller)?);
                }
                Ok::<_, GateError>(MandateList { mandates })
            })
        })
        .await
    }
}
