//! What ends permissions: revocations, and rosters that revoke members. Each takes the write side of the
//! barrier, is durable, withdraws the tickets that rest on what it ended, and only then is acknowledged.
//!
//! Tickets to withdraw are marked in the same transaction. If the cloud cannot be reached, the permission
//! has still ended and every search knows it; the gate keeps trying until the tickets expire, across
//! restarts too, since marks and tickets are in the store.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use rayon::prelude::*;
use sealdex_crypto::{PrincipalId, PublicIdentity};
use sealdex_wire::{
    Signed,
    acts::{LogRow, PublicWord, SignedBy, Word},
    consent::{Accepted, Revocation, SubmitRevocations, UpdateRoster},
    limits,
    search::WithdrawTickets,
};

use crate::{
    control::{carrier, owner_keys},
    error::{CallerRefusal, GateError, at_most},
    gate::{Gate, blocking},
    nodes::redone::{carried, redone},
    rules::{
        revocations::{self, RevocationRefusal},
        roster::{self, Follows, SealedBridge},
    },
    store::{
        AccessRow, AuditKind, ConsentStore, ReadConsents as _, StoreError, TicketRow, Transaction, WriteConsents as _,
        consents::told,
    },
};

/// Pause between attempts to withdraw tickets from a cloud that does not answer.
const RETRY: Duration = Duration::from_secs(1);

impl<S: ConsentStore> Gate<S> {
    /// Puts a newer roster in force, with the bridges of its new members. From the authority only.
    ///
    /// # Errors
    /// [`GateError`]; nothing has changed then.
    pub async fn update_roster(
        self: &Arc<Self>,
        caller: PrincipalId,
        update: UpdateRoster,
    ) -> Result<Accepted, GateError> {
        if caller != self.secrets.authority().id() {
            return Err(CallerRefusal::NotAuthority.into());
        }
        at_most("bridge scalars", update.bridges.len(), limits::DOCUMENTS)?;
        let gate = self.clone();
        // A task of its own: a caller that hangs up must not stop it half-way.
        finish(async move {
            let _held = gate.barrier.write().await;
            let worker = gate.clone();
            let ended = blocking(move || worker.update_roster_now(caller, &update)).await?;
            drop(_held);
            gate.withdraw(ended).await;
            Ok(Accepted { count: 1 })
        })
        .await
    }

    fn update_roster_now(&self, caller: PrincipalId, update: &UpdateRoster) -> Result<Vec<TicketRow>, GateError> {
        let family = self.store.read(|s| s.family())?;
        let members = Arc::new(roster::verify(update.roster.clone(), family, &self.secrets)?);
        let switching = self.leads_to(&members)?;
        let shares = self.own_shares(&members, &update.shares, &roster::shared_documents(update))?;
        let bridges = roster::seal_bridges(update, shares, &members, &self.secrets)?;
        let ended = self.outstanding.issued_to(|caller| members.active(caller).is_err());
        let done = self.store.write(|txn| {
            let refusal = match roster::follows(&members, txn)? {
                Follows::Newer => None,
                Follows::Same => Some(None),
                Follows::Older(refusal) => Some(Some(refusal)),
            };
            if let Some(refusal) = refusal {
                // Sent again, or overtaken by a newer one on its way through another node: its bridges count where none
                // has come since.
                let current = self.members()?;
                let mut late = 0;
                for bridge in bridges.iter().filter(|b| current.get(b.member).is_some()) {
                    if txn.bridge(bridge.member)?.is_none() {
                        put_bridge(txn, bridge)?;
                        late += 1;
                    }
                }
                return refusal.filter(|_| late == 0).map_or(Ok(None), |refusal| Err(refusal.into()));
            }
            txn.put_roster(members.signed())?;
            let switched = switching.as_ref().map(|_| self.switch(txn)).transpose()?;
            bridges.iter().try_for_each(|bridge| put_bridge(txn, bridge))?;
            mark(txn, &ended)?;
            let entry = self.entry(AuditKind::Roster, caller, members.roster().version, std::iter::empty());
            txn.append_told(&entry, Vec::new(), vec![PublicWord::of(members.signed())])?;
            Ok::<_, GateError>(Some(switched))
        })?;
        let Some(switched) = done else { return Ok(Vec::new()) };
        self.set_members(members);
        self.permissions_changed();
        if let (Some(underway), Some(count)) = (switching, switched) {
            self.switched(underway.to.epoch, count)?;
        }
        Ok(ended)
    }

    /// Ends grants, all or none, at once. From the owner, or from an active member that carries the
    /// signed documents. Returns how many grants ended.
    ///
    /// # Errors
    /// [`GateError`]; nothing has changed then.
    pub async fn submit_revocations(
        self: &Arc<Self>,
        caller: PublicIdentity,
        request: SubmitRevocations,
    ) -> Result<Accepted, GateError> {
        at_most("revocations", request.revocations.len(), limits::DOCUMENTS)?;
        carrier(&*self.members()?, caller.id(), request.revocations.iter().map(|r| r.signer))?;
        let gate = self.clone();
        finish(async move {
            let worker = gate.clone();
            let verified = blocking(move || worker.verify_revocations(&caller, request.revocations)).await?;
            let held = gate.barrier.write().await;
            let worker = gate.clone();
            let (count, ended) = blocking(move || worker.revoke_now(caller.id(), &verified)).await?;
            drop(held);
            gate.withdraw(ended).await;
            Ok(Accepted { count })
        })
        .await
    }

    pub(crate) fn verify_revocations(
        &self,
        caller: &PublicIdentity,
        revocations: Vec<Signed<Revocation>>,
    ) -> Result<Vec<revocations::Verified>, GateError> {
        let owner = |signed: &Signed<Revocation>| signed.peek().map(|r| r.owner).map_err(RevocationRefusal::Signed);
        let owners: Vec<PrincipalId> = revocations.iter().map(owner).collect::<Result<_, _>>()?;
        let (profiles, members) = (self.profiles(owners.iter().copied())?, self.members()?);
        let now = self.now();
        let verify = |(signed, owner): (Signed<Revocation>, PrincipalId)| {
            let signer = match signed.signer == owner {
                true => owner_keys(&profiles, owner, caller).ok_or(RevocationRefusal::UnknownOwner(owner))?,
                false => {
                    let carer = members.active(signed.signer).map(|m| m.keys);
                    carer.map_err(|_| RevocationRefusal::NoMandate { owner, carer: signed.signer })?
                }
            };
            revocations::verify(signed, owner, &signer, self.secrets.domain(), now)
        };
        Ok(revocations.into_par_iter().zip(owners).map(verify).collect::<Result<_, RevocationRefusal>>()?)
    }

    /// Tickets that rest on what these revocations end.
    pub(crate) fn resting_on(&self, verified: &[revocations::Verified]) -> Vec<TicketRow> {
        let mut ended: HashMap<[u8; 16], TicketRow> = HashMap::new();
        for v in verified {
            let (owner, reader) = (v.revocation.owner, v.revocation.reader);
            let tickets = self.outstanding.resting_on(owner, reader, |c| v.covers(c.owner, c.reader, &c.section));
            ended.extend(tickets.into_iter().map(|t| (t.nonce, t)));
        }
        ended.into_values().collect()
    }

    /// Ends what revocations cover; how many grants, and what their owners are told.
    pub(crate) fn apply_revocations(
        &self,
        caller: PrincipalId,
        verified: &[revocations::Verified],
        txn: &mut dyn Transaction,
    ) -> Result<(u64, Vec<LogRow>), GateError> {
        let at = self.now();
        let (mut count, mut accesses) = (0, Vec::new());
        for v in verified {
            count += revocations::apply(v, at, redone().is_some(), txn)?;
            let row = AccessRow {
                at,
                kind: AuditKind::Revocations,
                caller,
                purpose: None,
                section: v.revocation.section.clone(),
                reader: Some(v.revocation.reader),
                count: 1,
                emergency: false,
                search: None,
            };
            let by = if v.signed.signer == v.revocation.owner { SignedBy::Owner } else { SignedBy::Carer };
            accesses.push(told(v.revocation.owner, row, Some(Word::of(&v.signed, by))));
        }
        Ok((count, accesses))
    }

    fn revoke_now(
        &self,
        caller: PrincipalId,
        verified: &[revocations::Verified],
    ) -> Result<(u64, Vec<TicketRow>), GateError> {
        let ended = self.resting_on(verified);
        let count = self.store.write(|txn| {
            let (count, accesses) = self.apply_revocations(caller, verified, txn)?;
            mark(txn, &ended)?;
            let entry = self.entry(AuditKind::Revocations, caller, count, verified.iter().map(|v| v.revocation.owner));
            txn.append_told(&entry, accesses, Vec::new())?;
            Ok::<_, GateError>(count)
        })?;
        self.permissions_changed();
        Ok((count, ended))
    }

    /// Withdraws tickets, at once if the cloud answers, else in the background until they expire.
    pub(crate) async fn withdraw(self: &Arc<Self>, tickets: Vec<TicketRow>) {
        let left = self.try_withdraw(tickets).await;
        if !left.is_empty() {
            tokio::spawn(Self::keep_withdrawing(Arc::downgrade(self), left));
        }
    }

    /// Tries until nothing is left or the gate is gone; it holds the gate during attempts only.
    async fn keep_withdrawing(gate: Weak<Self>, mut left: Vec<TicketRow>) {
        while !left.is_empty() {
            tokio::time::sleep(RETRY).await;
            let Some(gate) = gate.upgrade() else { return };
            let now = gate.now();
            left.retain(|t| t.expires_at > now);
            left = gate.try_withdraw(left).await;
        }
    }

    /// One attempt; what is left to withdraw.
    async fn try_withdraw(self: &Arc<Self>, tickets: Vec<TicketRow>) -> Vec<TicketRow> {
        let Ok(members) = self.members() else { return tickets };
        let mut by_cloud: HashMap<PrincipalId, Vec<TicketRow>> = HashMap::new();
        tickets.into_iter().for_each(|t| by_cloud.entry(t.cloud).or_default().push(t));
        let mut left = Vec::new();
        for (id, tickets) in by_cloud {
            // A cloud that is no longer in the roster takes no orders from this gate.
            let Some(cloud) = members.roster().clouds.iter().find(|c| c.id == id) else { continue };
            let nonces: Vec<[u8; 16]> = tickets.iter().map(|t| t.nonce).collect();
            let request = WithdrawTickets { nonces: nonces.concat() };
            match self.cloud.withdraw(cloud, &request).await {
                Ok(()) => self.forget_tickets(nonces).await,
                Err(error) => {
                    let tickets_left = tickets.len();
                    tracing::warn!(%error, tickets_left, "the cloud has not withdrawn tickets of ended grants; trying again until they expire");
                    left.extend(tickets);
                }
            }
        }
        left
    }

    async fn forget_tickets(self: &Arc<Self>, nonces: Vec<[u8; 16]>) {
        self.outstanding.forget(&nonces);
        let gate = self.clone();
        let removed =
            blocking(move || gate.store.write(|txn| nonces.iter().try_for_each(|n| txn.remove_ticket(n)))).await;
        if let Err(error) = removed {
            tracing::warn!(%error, "withdrawn tickets stay on record until they expire");
        }
    }

    /// Goes on withdrawing what an earlier run could not. To be called once, inside a runtime.
    pub fn resume(self: &Arc<Self>) {
        let now = self.now();
        let left = self.outstanding.marked(now);
        if !left.is_empty() {
            tokio::spawn(Self::keep_withdrawing(Arc::downgrade(self), left));
        }
    }
}

fn put_bridge(txn: &mut dyn Transaction, bridge: &SealedBridge) -> Result<(), StoreError> {
    txn.put_bridge(bridge.member, &bridge.scalar)?;
    match &bridge.commitments {
        Some(commitments) => txn.put_bridge_commitments(bridge.member, commitments),
        None => Ok(()),
    }
}

/// Marks tickets as withdrawn, until the cloud has confirmed it.
pub(crate) fn mark(txn: &mut dyn Transaction, tickets: &[TicketRow]) -> Result<(), StoreError> {
    tickets.iter().try_for_each(|t| txn.put_ticket(&TicketRow { withdrawn: true, ..t.clone() }))
}

/// Runs work to its end though its caller may hang up.
pub(crate) async fn finish<T: Send + 'static>(
    work: impl Future<Output = Result<T, GateError>> + Send + 'static,
) -> Result<T, GateError> {
    tokio::spawn(carried(redone(), work)).await.map_err(|_| GateError::Worker)?
}
