//! Erasure: a patient's order takes effect here at once and for good; what it concerns at the cloud is found by its
//! routing tags and handed to the hospitals that pushed it, which alone can state that it has ended.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

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
    nodes::redone::redone,
    revoke::{finish, mark},
    rules::erasures::{self, Applied, ErasureRefusal},
    store::{
        AccessRow, AuditKind, ConsentStore, ReadConsents as _, ReadErasures as _, Scan, StoreError, TicketRow,
        Transaction, WriteConsents as _, WriteErasures as _, consents::told,
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
        // Where the node that took it has seen a profile that does not come here any more, the order holds nevertheless.
        if !redone().is_some_and(|r| r.last) {
            let profile = profiles.get(&owner).ok_or(ErasureRefusal::UnknownOwner(owner))?;
            erasures::published(&verified.order, profile)?;
        }
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
            let Applied { ended: count, repeated } = erasures::apply(&verified, txn)?;
            if redone().is_none() && txn.orders_of(owner)?.len() > limits::ERASURE_ORDERS {
                return Err(ErasureRefusal::TooMany(owner).into());
            }
            mark(txn, &ended)?;
            if repeated && count == 0 {
                return Ok(0);
            }
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
        let wanted = self.wanted()?;
        let until = request.until.map_or(wanted, |until| until.min(wanted));
        let scanned = self.sweep(until).await?;
        let ids = self.store.read(|s| s.owed(hospital, request.after, limits::ERASURES))?;
        Ok(ErasuresPending { ids: ids.iter().flat_map(|id| id.0).collect(), scanned, until: Some(until) })
    }

    /// Refuses what is not to be erased by a hospital. Another node may have found it: then this one looks, too.
    pub(crate) async fn may_erase(self: &Arc<Self>, hospital: PrincipalId, ids: &[RecordId]) -> Result<(), GateError> {
        let until = self.wanted()?;
        let mut scanned = until == 0;
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
            scanned = self.sweep(until).await?;
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
        let (orders, until) = self.store.read(|s| Ok::<_, StoreError>((s.orders_of(caller)?, s.pass_of(caller)?)))?;
        if orders.is_empty() {
            return Ok(ErasureState { orders, found: Vec::new(), scanned: true });
        }
        let scanned = self.sweep(until).await?;
        let found = self.store.read(|s| s.found_of(caller, request.after, limits::ERASURES))?;
        Ok(ErasureState { orders, found, scanned })
    }

    /// The pass that looks for every order there is; 0 for none.
    fn wanted(&self) -> Result<u64, StoreError> {
        Ok(self.store.read(|s| s.scan())?.map_or(0, |scan| scan.wanted))
    }

    /// Looks through what the cloud has accepted since the last time, or everything once more if a pass for newer orders is
    /// wanted and the one before is done; whether it came to the end, in pass `until` or a later one. Batches that were
    /// bridged before an order and stored after it are met so.
    async fn sweep(self: &Arc<Self>, until: u64) -> Result<bool, GateError> {
        let _one = self.sweeping.lock().await;
        let mut erased: Option<(u64, Arc<Erased>)> = None;
        for _ in 0..PAGES {
            let gate = self.clone();
            let Some(scan) = blocking(move || gate.go_on()).await? else { return Ok(true) };
            let members = self.members()?;
            let cloud = members.cloud().ok_or(CloudError::None)?;
            let page = self.cloud.scan(cloud, &ScanRecords { from: scan.place }).await?;
            let (gate, other) = (self.clone(), is_of_another_store(&page, &scan));
            if other {
                tracing::warn!("the cloud has another store than it had, or less in it: it is looked through anew");
                blocking(move || gate.store.write(|txn| txn.put_scan(latest(scan, txn)?.anew(page.store, 0)))).await?;
                continue;
            }
            let more = check(&page, scan.place)?;
            let erased = match &erased {
                Some((pass, erased)) if *pass == scan.pass => erased.clone(),
                _ if page.records.is_empty() => Arc::default(),
                // Orders that come from here on are looked for by a later pass.
                _ => erased.insert((scan.pass, Arc::new(self.store.read(|s| s.all_erased())?))).1.clone(),
            };
            blocking(move || gate.take_scanned(scan, &page, &members, &erased)).await?;
            if !more && scan.pass >= until {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Where to go on: at the beginning of the next pass, if it is wanted and the one before is done. `None` without orders.
    fn go_on(&self) -> Result<Option<Scan>, GateError> {
        let due = |scan: &Scan| scan.done == scan.pass && scan.wanted > scan.pass;
        match self.store.read(|s| s.scan())? {
            Some(scan) if due(&scan) => self.store.write(|txn| {
                let next = latest(scan, txn)?.anew(scan.store, scan.done);
                txn.put_scan(next)?;
                Ok(Some(next))
            }),
            other => Ok(other),
        }
    }

    /// Notes what of a page is erased. Only who holds `sweeping` does.
    fn take_scanned(&self, scan: Scan, page: &Scanned, members: &Members, erased: &Erased) -> Result<(), GateError> {
        let concerns = |CloudMatch(id, provider, tag): &CloudMatch| {
            let routing = open_tag(&self.secrets.tag_key, id, tag).ok()?;
            let through = erased.get(&(routing.patient, routing.section.trim_end().to_owned()))?;
            let provider = *page.providers.get(*provider as usize)?;
            let hospital = members.get(provider)?.root();
            (routing.epoch <= *through).then_some((routing.patient, ErasedRecord(*id, hospital, provider)))
        };
        let found: Vec<_> = page.records.par_iter().with_min_len(256).filter_map(concerns).collect();
        let done = if page.more { scan.done } else { scan.pass };
        let next = Scan { place: page.next, done, store: page.store.or(scan.store), ..scan };
        if found.is_empty() && next == scan {
            return Ok(());
        }
        self.store.write(|txn| {
            for (owner, found) in &found {
                txn.put_found(*owner, found)?;
            }
            let wanted = latest(scan, txn)?.wanted;
            Ok(txn.put_scan(Scan { wanted, ..next })?)
        })
    }
}

/// Sections that are erased, by owner and name, and up to which epoch.
type Erased = HashMap<(PrincipalId, String), u32>;

/// The place as it is now: an order may have come since it was read.
fn latest(read: Scan, txn: &dyn Transaction) -> Result<Scan, StoreError> {
    Ok(txn.scan()?.unwrap_or(read))
}

/// Whether a page says that the place it was asked for is none of what the cloud has now.
fn is_of_another_store(page: &Scanned, scan: &Scan) -> bool {
    let less = page.records.is_empty() && !page.more && page.next < scan.place;
    let other = page.store.is_some() && page.store != scan.store;
    scan.place != ScanPlace::START && (less || other)
}

/// Whether there is more behind a page, which goes on where it should.
fn check(page: &Scanned, from: ScanPlace) -> Result<bool, CloudError> {
    let forward = if page.more { page.next > from } else { page.next >= from };
    if !forward || page.records.len() > limits::PAGE as usize {
        return Err(CloudError::Protocol("a page of its records does not go on where it should, or is too long"));
    }
    Ok(page.more)
}
