//! Requests for access, which owners approve or decline.

use std::sync::Arc;

use sealdex_crypto::PrincipalId;
use sealdex_wire::{
    care::{AnswerRequest, AskAccess, Asked, ListRequests, RequestList, RequestState, RequestStatus},
    consent::Accepted,
    limits,
};

use super::{CareRefusal, is_text};
use crate::{
    error::GateError,
    gate::{Gate, blocking},
    rules::{erasures, is_name, is_section, mandates::mandate_for},
    store::{
        AccessRow, AuditKind, ConsentStore, ReadConsents as _, RequestRow, StoreError, Table, Transaction,
        WriteConsents as _,
    },
};

impl<S: ConsentStore> Gate<S> {
    /// Puts a request before an owner. From an active member, for itself or a group it belongs to.
    ///
    /// # Errors
    /// [`GateError`]; nothing has changed then.
    pub async fn ask_access(self: &Arc<Self>, caller: PrincipalId, ask: AskAccess) -> Result<Asked, GateError> {
        let members = self.members()?;
        members.active(caller)?;
        check(&ask)?;
        if !self.groups().readers_for(caller, &members).iter().any(|r| r.id == ask.reader) {
            return Err(CareRefusal::Request("reader").into());
        }
        let gate = self.clone();
        blocking(move || {
            gate.store.write(|txn| {
                txn.profile(ask.owner)?.ok_or(CareRefusal::UnknownOwner(ask.owner))?;
                let before = txn.requests_to(ask.owner)?;
                let pending = || before.iter().filter(|(_, r)| r.status == RequestStatus::Pending);
                if let Some((number, _)) = pending().find(|(_, r)| r.caller == caller && r.ask == ask) {
                    return Ok(Asked { number: *number });
                }
                let own = pending().filter(|(_, r)| r.caller == caller).count();
                let kept = before.iter().filter(|(_, r)| r.caller == caller).count();
                if kept >= limits::KEPT_REQUESTS
                    || own >= limits::REQUESTS[0]
                    || pending().count() >= limits::REQUESTS[1]
                {
                    return Err(CareRefusal::TooMany(caller).into());
                }
                let number = before.last().map_or(1, |(n, _)| n + 1);
                let asked_at = gate.now();
                let late = erasures::overtakes(ask.owner, &ask.sections, asked_at, txn)?;
                let status = if late { RequestStatus::Declined } else { RequestStatus::Pending };
                let row = RequestRow { caller, ask: ask.clone(), asked_at, status };
                txn.put_request(number, &row)?;
                gate.tell_request(txn, caller, &row)?;
                Ok::<_, GateError>(Asked { number })
            })
        })
        .await
    }

    fn tell_request(&self, txn: &mut dyn Transaction, caller: PrincipalId, row: &RequestRow) -> Result<(), StoreError> {
        let access = AccessRow {
            at: self.now(),
            kind: AuditKind::Request,
            caller,
            purpose: Some(row.ask.purpose.clone()),
            section: None,
            reader: Some(row.ask.reader),
            count: row.ask.sections.len() as u64,
            emergency: false,
            search: None,
        };
        let entry = self.entry(AuditKind::Request, caller, 1, std::iter::once(row.ask.owner));
        txn.append_act(&entry, &[(row.ask.owner, access)]).map(|_| ())
    }

    /// Requests to an owner, for it or its carer; or those the caller made. Oldest first.
    ///
    /// # Errors
    /// [`GateError`].
    pub async fn list_requests(
        self: &Arc<Self>,
        caller: PrincipalId,
        request: ListRequests,
    ) -> Result<RequestList, GateError> {
        let gate = self.clone();
        blocking(move || {
            gate.store.read(|s| {
                let rows: Vec<(u64, RequestRow)> = match request.owner {
                    Some(owner) => {
                        gate.acts_for(caller, owner, s)?;
                        s.requests_to(owner)?
                    }
                    None => {
                        let damaged = || StoreError::Row(Table::Requests.name());
                        let own = s.requests_by(caller)?.into_iter();
                        own.map(|(owner, n)| Ok((n, s.request(owner, n)?.ok_or_else(damaged)?)))
                            .collect::<Result<_, StoreError>>()?
                    }
                };
                let wanted = rows.into_iter().filter(|(_, r)| !request.pending || r.status == RequestStatus::Pending);
                let state = |(number, r): (u64, RequestRow)| RequestState {
                    number,
                    caller: r.caller,
                    ask: r.ask,
                    asked_at: r.asked_at,
                    status: r.status,
                };
                let mut requests: Vec<RequestState> = wanted.map(state).collect();
                requests.sort_by_key(|r| r.asked_at);
                let first = requests.len().saturating_sub(limits::DOCUMENTS);
                Ok::<_, GateError>(RequestList { requests: requests.split_off(first) })
            })
        })
        .await
    }

    fn acts_for(
        &self,
        caller: PrincipalId,
        owner: PrincipalId,
        stored: &dyn crate::store::Snapshot,
    ) -> Result<(), GateError> {
        let cares = || mandate_for(owner, caller, None, self.now() / 1000, stored).map(|m| m.is_some());
        if caller == owner || cares()? { Ok(()) } else { Err(CareRefusal::NotForOwner { owner, caller }.into()) }
    }

    /// Answers a request. The grants of an approval are submitted by themselves, before.
    ///
    /// # Errors
    /// [`GateError`]; nothing has changed then.
    pub async fn answer_request(
        self: &Arc<Self>,
        caller: PrincipalId,
        answer: AnswerRequest,
    ) -> Result<Accepted, GateError> {
        let AnswerRequest { owner, number, status } = answer;
        let gate = self.clone();
        blocking(move || {
            gate.store.write(|txn| {
                let none = || CareRefusal::NoRequest { owner, number, caller };
                let mut row = txn.request(owner, number)?.ok_or_else(none)?;
                let may = match status {
                    RequestStatus::Pending => false,
                    RequestStatus::Withdrawn => caller == row.caller,
                    RequestStatus::Approved | RequestStatus::Declined => gate.acts_for(caller, owner, txn).is_ok(),
                };
                if !may || row.status != RequestStatus::Pending {
                    return Err(none().into());
                }
                row.status = status;
                txn.put_request(number, &row)?;
                gate.tell_request(txn, caller, &row)?;
                Ok::<_, GateError>(Accepted { count: 1 })
            })
        })
        .await
    }
}

fn check(ask: &AskAccess) -> Result<(), CareRefusal> {
    let sections = (1..=limits::GRANT_PROVIDERS).contains(&ask.sections.len());
    if !sections || !ask.sections.iter().all(|s| is_section(s)) {
        return Err(CareRefusal::Request("sections"));
    }
    if !is_name(&ask.purpose) {
        return Err(CareRefusal::Request("purpose"));
    }
    if !(1..=36_525).contains(&ask.days) {
        return Err(CareRefusal::Request("days"));
    }
    if is_text(&ask.reason) { Ok(()) } else { Err(CareRefusal::Text("the reason")) }
}
