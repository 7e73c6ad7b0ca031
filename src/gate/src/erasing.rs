//! Erasure: a patient's order takes effect here at once and for good; what it concerns at the cloud is found by its
//! routing tags and handed to the hospitals that pushed it, which alone can state that it has ended.

use std::{collections::HashSet, sync::Arc};

use rayon::prelude::*;
use sealdex_crypto::{PrincipalId, PublicIdentity, RecordId, open_tag};
use sealdex_wire::{
    acts::{SignedBy, Word},
    consent::Accepted,
    erasure::{
        AskErasure, ErasedRecord, ErasureState, ErasuresPending, PendingErasures, ScanPlace, ScanRecords, Scanned,
        SubmitErasure,
    },
    limits,
    search::CloudMatch,
};

use crate::{
    cloud::CloudError,
    control::{carrier, owner_keys},
    error::{GateError, at_most},
    gate::{Gate, blocking},
    members::Members,
    revoke::{finish, mark},
    rules::erasures::{self, ErasureRefusal},
    store::{
        AccessRow, AuditKind, ConsentStore, ReadConsents as _, ReadErasures as _, TicketRow, WriteConsents as _,
        WriteErasures as _, consents::told,
    },
};

/// Pages of the cloud's records that one request looks through at most.
const PAGES: usize = 8;
/// Times that a batch waits for that.
const ROUNDS: usize = 64;

impl<S: ConsentStore> Gate<S> {
    /// Puts an order to erase in force, at once and for good. From the owner, or an active member that carries it.
    /// Returns how many grants ended.
    ///
    /// # Errors
    /// [`GateError`]; nothing has changed then.
    pub async fn submit_erasure(
        self: &Arc<Self>,
        caller: PublicIdentity,
        request: SubmitErasure,
    ) -> Result<Accepted, GateError> {
        let owner = request.order.signer;
        carrier(&*self.members()?, caller.id(), std::iter::once(owner))?;
        let gate = self.clone();
        finish(async move {
            let held = gate.barrier.write().await;
            let worker = gate.clone();
            let (count, ended) = blocking(move || worker.erase_now(&caller, request)).await?;
            drop(held);
            gate.withdraw(ended).await;
            Ok(Accepted { count })
        })
        .await
    }

    fn erase_now(&self, caller: &PublicIdentity, request: SubmitErasure) -> Result<(u64, Vec<TicketRow>), GateError> {
        let owner = request.order.signer;
        let profiles = self.profiles(std::iter::once(owner))?;
        let keys = owner_keys(&profiles, owner, caller).ok_or(ErasureRefusal::UnknownOwner(owner))?;
        let verified = erasures::verify(request.order, &keys, self.secrets.domain(), self.now())?;
        let mut readers: HashSet<PrincipalId> = HashSet::new();
        self.store.read(|s| {
            for section in &verified.order.sections {
                let grants = s.grants_of(owner, Some(&section.section), usize::MAX)?;
                readers.extend(grants.into_iter().map(|(key, _)| key.reader));
            }
            Ok::<_, GateError>(())
        })?;
        let concerned = |section: &str| verified.order.sections.iter().any(|s| s.section == section);
        let resting = |reader| self.outstanding.resting_on(owner, reader, |c| concerned(&c.section));
        let mut ended: Vec<TicketRow> = readers.into_iter().flat_map(resting).collect();
        let mut seen = HashSet::new();
        ended.retain(|t| seen.insert(t.nonce));
        let at = self.now();
        let count = self.store.write(|txn| {
            let count = erasures::apply(&verified, txn)?;
            mark(txn, &ended)?;
            let row = |section: &str| AccessRow {
                at,
                kind: AuditKind::Erasure,
                caller: caller.id(),
                purpose: None,
                section: Some(section.to_owned()),
                reader: None,
                count: 0,
                emergency: false,
                search: None,
            };
            let word = || Some(Word::of(&verified.signed, SignedBy::Owner));
            let rows = verified.order.sections.iter().map(|s| told(owner, row(&s.section), word())).collect();
            let entry = self.entry(AuditKind::Erasure, caller.id(), count, std::iter::once(owner));
            txn.append_told(&entry, rows, Vec::new())?;
            Ok::<_, GateError>(count)
        })?;
        self.permissions_changed();
        Ok((count, ended))
    }

    /// Records that a provider's hospital has still to end.
    ///
    /// # Errors
    /// [`GateError`].
    pub async fn pending_erasures(
        self: &Arc<Self>,
        caller: PrincipalId,
        request: PendingErasures,
    ) -> Result<ErasuresPending, GateError> {
        self.serving()?;
        let hospital = self.members()?.active_provider(caller)?.root();
        let (ended, odd) = request.ended.as_chunks::<16>();
        at_most("ended records", ended.len() + usize::from(!odd.is_empty()), limits::ERASURES)?;
        let ended: Vec<RecordId> = ended.iter().map(|id| RecordId(*id)).collect();
        if !ended.is_empty() {
            let gate = self.clone();
            blocking(move || {
                gate.store
                    .write(|txn| ended.iter().try_for_each(|id| txn.put_ended(hospital, *id)).map_err(GateError::from))
            })
            .await?;
        }
        let scanned = self.sweep().await?;
        let ids = self.store.read(|s| s.owed(hospital, request.after, limits::ERASURES))?;
        Ok(ErasuresPending { ids: ids.iter().flat_map(|id| id.0).collect(), scanned })
    }

    /// Refuses what is not to be erased by a hospital. Another node may have found it: then this one looks, too.
    pub(crate) async fn may_erase(self: &Arc<Self>, hospital: PrincipalId, ids: &[RecordId]) -> Result<(), GateError> {
        let mut scanned = self.store.read(|s| s.scan_place())?.is_none();
        for _ in 0..ROUNDS {
            let owed = |id: &RecordId| self.store.read(|s| s.is_owed(hospital, *id));
            let mut missing = None;
            for id in ids {
                if !owed(id)? {
                    missing = Some(*id);
                    break;
                }
            }
            let Some(missing) = missing else { return Ok(()) };
            if scanned {
                return Err(ErasureRefusal::NotOwed(missing).into());
            }
            scanned = self.sweep().await?;
        }
        Err(GateError::Overloaded)
    }

    /// What became of an owner's orders, for the owner.
    ///
    /// # Errors
    /// [`GateError`].
    pub async fn erasure_state(
        self: &Arc<Self>,
        caller: PrincipalId,
        request: AskErasure,
    ) -> Result<ErasureState, GateError> {
        let orders = self.store.read(|s| s.orders_of(caller))?;
        if orders.is_empty() {
            return Ok(ErasureState { orders, found: Vec::new(), scanned: true });
        }
        let scanned = self.sweep().await?;
        let found = self.store.read(|s| s.found_of(caller, request.after, limits::ERASURES))?;
        Ok(ErasureState { orders, found, scanned })
    }

    /// Looks through what the cloud has accepted since the last time, or everything if there is a new order; whether it
    /// came to the end. Batches that were bridged before an order and stored after it are met so.
    async fn sweep(self: &Arc<Self>) -> Result<bool, GateError> {
        let _one = self.sweeping.lock().await;
        for _ in 0..PAGES {
            let Some(from) = self.store.read(|s| s.scan_place())? else { return Ok(true) };
            let members = self.members()?;
            let cloud = members.cloud().ok_or(CloudError::None)?;
            let page = self.cloud.scan(cloud, &ScanRecords { from }).await?;
            let more = check(&page, from)?;
            let gate = self.clone();
            let taken = blocking(move || gate.take_scanned(from, &page, &members)).await?;
            if taken && !more {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Notes what of a page is erased; `false` if another order came meanwhile, so that it begins anew.
    fn take_scanned(&self, from: ScanPlace, page: &Scanned, members: &Members) -> Result<bool, GateError> {
        let erased = self.store.read(|s| s.all_erased())?;
        let concerns = |CloudMatch(id, provider, tag): &CloudMatch| {
            let routing = open_tag(&self.secrets.tag_key, id, tag).ok()?;
            let through = erased.get(&(routing.patient, routing.section.trim_end().to_owned()))?;
            let provider = *page.providers.get(*provider as usize)?;
            let hospital = members.get(provider)?.root();
            (routing.epoch <= *through).then_some((routing.patient, ErasedRecord(*id, hospital, provider)))
        };
        let found: Vec<_> = page.records.par_iter().with_min_len(256).filter_map(concerns).collect();
        if found.is_empty() && page.next == from {
            return Ok(true);
        }
        self.store.write(|txn| {
            if txn.scan_place()? != Some(from) {
                return Ok(false);
            }
            for (owner, found) in &found {
                txn.put_found(*owner, found)?;
            }
            txn.put_scan_place(page.next)?;
            Ok(true)
        })
    }
}

/// Whether there is more behind a page, which goes on where it should.
fn check(page: &Scanned, from: ScanPlace) -> Result<bool, CloudError> {
    let forward = if page.more { page.next > from } else { page.next >= from };
    if !forward || page.records.len() > limits::PAGE as usize {
        return Err(CloudError::Protocol("a page of its records does not go on where it should, or is too long"));
    }
    Ok(page.more)
}
