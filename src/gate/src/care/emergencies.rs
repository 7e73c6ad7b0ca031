//! Break-glass: a dormant grant that two authorised people wake, for a reason and a time.

use std::sync::Arc;

use sealdex_crypto::PrincipalId;
use sealdex_wire::{
    B32, Signed,
    acts::{SignedBy, Word},
    auth::sha256,
    care::{CloseWake, Emergency, ListWakes, SubmitWake, Wake, WakeList, WakeState},
    codec,
    consent::Accepted,
    limits,
};

use super::{CareRefusal, is_text};
use crate::{
    error::GateError,
    gate::{Gate, blocking},
    groups::Groups,
    revoke::{finish, mark},
    rules::is_future,
    store::{
        AccessRow, AuditKind, ConsentStore, ReadConsents as _, Snapshot, StoreError, Table, TicketRow, WakeRow,
        WriteConsents as _, consents::told,
    },
};

impl<S: ConsentStore> Gate<S> {
    /// One person's word that emergency grants are needed. With the second person's, of the same text, they are
    /// awake until the time both signed. The owner's list of accesses has each step.
    ///
    /// # Errors
    /// [`GateError`]; nothing has changed then.
    pub async fn submit_wake(
        self: &Arc<Self>,
        caller: PrincipalId,
        request: SubmitWake,
    ) -> Result<WakeState, GateError> {
        let members = self.members()?;
        let keys = members.active(caller)?.keys;
        let gate = self.clone();
        // Revoking an emergency grant comes wholly before or wholly after waking it.
        let held = self.barrier.read().await;
        let done = blocking(move || {
            let wake = request.wake.verify(&keys).map_err(CareRefusal::Signed)?;
            if wake.domain != gate.secrets.domain() {
                return Err(CareRefusal::Domain.into());
            }
            if !is_text(&wake.reason) {
                return Err(CareRefusal::Text("the reason").into());
            }
            let (id, now) = (text_hash(&request.wake), gate.now());
            gate.store.write(|txn| {
                let all = txn.wakes(wake.owner, Some(wake.reader))?;
                let waiting = |w: &&WakeRow| w.woken_at.is_none() && w.closed_at.is_none() && w.until > now / 1000;
                if all.iter().filter(waiting).count() >= limits::OPEN_WAKES {
                    return Err(CareRefusal::TooMany(caller).into());
                }
                let before = all.into_iter().find(|w| w.id == id);
                let minutes = most_minutes(caller, &wake, &gate.groups(), now, txn)?;
                let too_long = wake.until > (wake.asked_at / 1000).saturating_add(u64::from(minutes) * 60);
                if too_long || wake.until <= now / 1000 || is_future(wake.asked_at, now) {
                    return Err(CareRefusal::Time { owner: wake.owner, minutes }.into());
                }
                let mut row = before.unwrap_or_else(|| WakeRow {
                    id,
                    reader: wake.reader,
                    until: wake.until,
                    signed: Vec::new(),
                    woken_at: None,
                    closed_at: None,
                });
                if row.signed.iter().any(|(who, _)| *who == caller) {
                    return Err(CareRefusal::SamePerson(caller).into());
                }
                if row.woken_at.is_some() || row.closed_at.is_some() {
                    return Err(CareRefusal::NoEmergency.into());
                }
                row.signed.push((caller, codec::to_cbor(&request.wake).into()));
                if row.signed.len() == 2 {
                    row.woken_at = Some(now);
                }
                txn.put_wake(wake.owner, wake.asked_at, &row)?;
                let word = Word::of(&request.wake, SignedBy::Member);
                gate.tell(txn, caller, &wake, row.signed.len() as u64, Some(word))?;
                state(row)
            })
        })
        .await;
        drop(held);
        // Whatever was refused a moment ago may be permitted now; searches under way look again.
        self.permissions_changed();
        done
    }

    fn tell(
        &self,
        txn: &mut dyn crate::store::Transaction,
        caller: PrincipalId,
        wake: &Wake,
        count: u64,
        word: Option<Word>,
    ) -> Result<(), StoreError> {
        let row = AccessRow {
            at: self.now(),
            kind: AuditKind::Emergency,
            caller,
            purpose: Some(wake.reason.clone()),
            section: None,
            reader: Some(wake.reader),
            count,
            emergency: true,
            search: None,
        };
        let entry = self.entry(AuditKind::Emergency, caller, count, std::iter::once(wake.owner));
        txn.append_told(&entry, vec![told(wake.owner, row, word)], Vec::new()).map(|_| ())
    }

    /// Emergencies of the caller's own records, and those it signed or may sign. Newest first.
    ///
    /// # Errors
    /// [`GateError`].
    pub async fn list_wakes(self: &Arc<Self>, caller: PrincipalId, request: ListWakes) -> Result<WakeList, GateError> {
        let (gate, groups) = (self.clone(), self.groups());
        let limit = (request.limit as usize).clamp(1, limits::DOCUMENTS);
        let is_member = self.members().is_ok_and(|m| m.active(caller).is_ok());
        blocking(move || {
            gate.store.read(|s| {
                let mut found = match is_member {
                    false => s.wakes(caller, None)?.into_iter().map(|w| (caller, w)).collect(),
                    true => s.all_wakes()?,
                };
                let now = gate.now();
                let mut concerned = Vec::new();
                found.sort_by_key(|(_, w)| std::cmp::Reverse(w.signed.first().map_or(0, |_| w.until)));
                for (owner, row) in found {
                    let open = row.woken_at.is_none() && row.closed_at.is_none() && row.until > now / 1000;
                    let own = owner == caller || row.signed.iter().any(|(who, _)| *who == caller);
                    if own || (open && may_wake(caller, owner, row.reader, &groups, now, s)?.is_some()) {
                        concerned.push(state(row)?);
                    }
                    if concerned.len() == limit {
                        break;
                    }
                }
                Ok::<_, GateError>(WakeList { emergencies: concerned })
            })
        })
        .await
    }

    /// Ends an emergency before its time. From the owner, or who signed it.
    ///
    /// # Errors
    /// [`GateError`]; nothing has changed then.
    pub async fn close_wake(self: &Arc<Self>, caller: PrincipalId, request: CloseWake) -> Result<Accepted, GateError> {
        let gate = self.clone();
        finish(async move {
            let held = gate.barrier.write().await;
            let worker = gate.clone();
            let ended = blocking(move || worker.close_now(caller, &request)).await?;
            drop(held);
            gate.withdraw(ended).await;
            Ok(Accepted { count: 1 })
        })
        .await
    }

    fn close_now(&self, caller: PrincipalId, request: &CloseWake) -> Result<Vec<TicketRow>, GateError> {
        let owner = request.owner;
        let ended = self.store.write(|txn| {
            let row = txn.wakes(owner, None)?.into_iter().find(|w| w.id == request.wake && w.closed_at.is_none());
            let mut row = row.ok_or(CareRefusal::NoEmergency)?;
            if caller != owner && row.signed.iter().all(|(who, _)| *who != caller) {
                return Err(CareRefusal::NoEmergency.into());
            }
            row.closed_at = Some(self.now());
            let ended = self.outstanding.resting_on(owner, row.reader, |_| true);
            mark(txn, &ended)?;
            let signed: Signed<Wake> = document(&row)?;
            let wake = signed.peek().map_err(CareRefusal::Signed)?;
            txn.put_wake(owner, wake.asked_at, &row)?;
            self.tell(txn, caller, &wake, 0, None)?;
            Ok::<_, GateError>(ended)
        })?;
        self.permissions_changed();
        Ok(ended)
    }
}

fn text_hash(signed: &Signed<Wake>) -> B32 {
    B32(sha256(&[signed.payload.as_bytes()]))
}

fn document(row: &WakeRow) -> Result<Signed<Wake>, StoreError> {
    let first = row.signed.first().ok_or(StoreError::Row(Table::Wakes.name()))?;
    codec::from_cbor(&first.1).map_err(|_| StoreError::Row(Table::Wakes.name()))
}

fn state(row: WakeRow) -> Result<WakeState, GateError> {
    let parse = |(_, bytes): &(PrincipalId, serde_bytes::ByteBuf)| {
        codec::from_cbor(bytes).map_err(|_| StoreError::Row(Table::Wakes.name()))
    };
    let signed = row.signed.iter().map(parse).collect::<Result<_, _>>()?;
    Ok(WakeState { id: row.id, signed, woken_at: row.woken_at, closed_at: row.closed_at })
}

/// How long a caller may wake the dormant grants of an owner to a reader: the shortest that any of them allows.
/// Nothing when there is one it may not wake, or none at all.
fn may_wake(
    caller: PrincipalId,
    owner: PrincipalId,
    reader: PrincipalId,
    groups: &Groups,
    now: u64,
    stored: &dyn Snapshot,
) -> Result<Option<u32>, StoreError> {
    let damaged = || StoreError::Row(Table::GrantTerms.name());
    let mut minutes: Option<u32> = None;
    for key in stored.grants_to(reader, Some(owner), None, limits::DOCUMENTS)? {
        let Some(row) = stored.grant(&key)? else { continue };
        if !row.emergency || !(row.not_before..row.not_after).contains(&(now / 1000)) {
            continue;
        }
        let terms = stored.grant_terms(&key)?.ok_or_else(damaged)?.peek().map_err(|_| damaged())?;
        let Emergency { wakers, minutes: most } = terms.emergency.ok_or_else(damaged)?;
        if !groups.is_any(caller, &wakers) {
            return Ok(None);
        }
        minutes = Some(minutes.map_or(most, |m| m.min(most)));
    }
    Ok(minutes)
}

fn most_minutes(
    caller: PrincipalId,
    wake: &Wake,
    groups: &Groups,
    now: u64,
    stored: &dyn Snapshot,
) -> Result<u32, GateError> {
    let (owner, reader) = (wake.owner, wake.reader);
    let minutes = may_wake(caller, owner, reader, groups, now, stored)?;
    Ok(minutes.ok_or(CareRefusal::NotAuthorised { owner, reader, caller })?)
}
