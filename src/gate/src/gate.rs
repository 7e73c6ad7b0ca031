//! The gate itself: its state, and who waits for whom.

use std::collections::BTreeMap;
use std::sync::{
    Arc, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use sealdex_crypto::{PrincipalId, PublicIdentity};
use sealdex_net::{Directory, trace::Stage};
use tokio::sync::{OwnedSemaphorePermit, RwLock, Semaphore};

use crate::{
    acts::Logging,
    bridge::{self, Bridging},
    budget::Meter,
    cloud::Cloud,
    error::GateError,
    groups::Groups,
    journal::Journal,
    members::Members,
    nodes::{
        redone::{carried_over, redone},
        replica::Replicas,
        resharing::{self, Resharings},
        turns::Bridges,
    },
    rules,
    search::proving::Followed,
    secrets::GateSecrets,
    standing::{Standing, Standings},
    store::{AccessRow, AuditEntry, AuditKind, ConsentStore, ReadConsents as _, upgrade::upgrade},
    term_keys::TermKeys,
    tickets::Outstanding,
};
use sealdex_wire::{
    ingest::{BridgeRequest, BridgeResponse},
    threshold::WithTurns,
};

/// Unix time, milliseconds.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// One gate of a domain. Handlers and tests call its methods; it knows nothing of HTTP.
pub struct Gate<S: ConsentStore> {
    pub(crate) secrets: Arc<GateSecrets>,
    pub(crate) store: Arc<S>,
    pub(crate) keys: TermKeys,
    pub(crate) cloud: Arc<dyn Cloud>,
    pub(crate) outstanding: Arc<Outstanding>,
    pub(crate) journal: Journal,
    pub(crate) standings: Standings,
    /// Searches hold the read side from reading grants until their tickets are on record; whatever
    /// ends a permission takes the write side. So a revocation comes wholly before or wholly after.
    pub(crate) barrier: RwLock<()>,
    generation: AtomicU64,
    members: std::sync::RwLock<Option<Arc<Members>>>,
    groups: std::sync::RwLock<Arc<Groups>>,
    pub(crate) meter: Meter,
    pub(crate) followed: Arc<Followed>,
    pub(crate) replicas: Replicas,
    pub(crate) resharings: Resharings,
    pub(crate) logging: Logging,
    /// Held while the cloud is looked through for what is erased.
    pub(crate) sweeping: tokio::sync::Mutex<()>,
    slots: Arc<Semaphore>,
    clock: Clock,
}

impl<S: ConsentStore> Gate<S> {
    /// A gate over its store; at most `heavy` searches and batches are worked on at once.
    ///
    /// # Errors
    /// When the store fails or holds a roster that does not verify any more.
    pub fn open(
        secrets: GateSecrets,
        store: S,
        cloud: Arc<dyn Cloud>,
        clock: Clock,
        heavy: usize,
    ) -> Result<Arc<Self>, GateError> {
        let (secrets, store) = (Arc::new(secrets), Arc::new(store));
        upgrade(&*store, &secrets.store_key)?;
        let now = clock();
        let (roster, family, tickets, groups, meter, standing, (replicas, resharings)) = store.read(|s| {
            let groups = Groups::new(s.groups()?)?;
            Ok::<_, GateError>((
                s.roster()?,
                s.family()?,
                s.tickets()?,
                groups,
                Meter::load(s, now)?,
                Standing::read(s)?,
                (Replicas::load(s, secrets.identity().id())?, resharing::load(s, secrets.domain())?),
            ))
        })?;
        let members = roster.map(|signed| rules::roster::verify(signed, family, &secrets)).transpose()?;
        let outstanding = Arc::new(Outstanding::default());
        outstanding.register(tickets);
        let journal = Journal::start(store.clone(), outstanding.clone(), clock.clone())?;
        Ok(Arc::new(Self {
            keys: TermKeys::new(secrets.clone()),
            secrets,
            store,
            cloud,
            outstanding,
            journal,
            standings: Standings::new(standing),
            barrier: RwLock::new(()),
            generation: AtomicU64::new(0),
            members: std::sync::RwLock::new(members.map(Arc::new)),
            groups: std::sync::RwLock::new(Arc::new(groups)),
            meter,
            followed: Arc::default(),
            replicas,
            resharings,
            logging: Logging::default(),
            sweeping: tokio::sync::Mutex::default(),
            slots: Arc::new(Semaphore::new(heavy)),
            clock,
        }))
    }

    /// Keys and domain of this gate.
    pub fn secrets(&self) -> &GateSecrets {
        &self.secrets
    }

    /// The roster in force.
    ///
    /// # Errors
    /// [`GateError::NoRoster`] before the authority has sent one.
    pub fn members(&self) -> Result<Arc<Members>, GateError> {
        self.members.read().unwrap_or_else(PoisonError::into_inner).clone().ok_or(GateError::NoRoster)
    }

    pub(crate) fn set_members(&self, members: Arc<Members>) {
        *self.members.write().unwrap_or_else(PoisonError::into_inner) = Some(members);
    }

    /// Who belongs to which group.
    pub fn groups(&self) -> Arc<Groups> {
        self.groups.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_groups(&self, groups: Groups) {
        *self.groups.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(groups);
    }

    /// Unix time, milliseconds; of a request that is done again, when it was made.
    pub(crate) fn now(&self) -> u64 {
        redone().map_or_else(|| (self.clock)(), |r| r.at)
    }

    /// Changes whenever a permission may have ended.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// To be called with the write side of the barrier held.
    pub(crate) fn permissions_changed(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// A slot for a heavy request.
    pub(crate) fn slot(&self) -> Result<OwnedSemaphorePermit, GateError> {
        self.slots.clone().try_acquire_owned().map_err(|_| GateError::Overloaded)
    }

    /// Bridges one batch of an active provider.
    ///
    /// # Errors
    /// [`GateError`]; nothing is signed then.
    pub async fn bridge(
        self: &Arc<Self>,
        caller: PrincipalId,
        request: BridgeRequest,
    ) -> Result<BridgeResponse, GateError> {
        self.bridge_with(caller, request, None).await
    }

    /// As [`Gate::bridge`], with the other nodes' turns if there are several.
    pub(crate) async fn bridge_with(
        self: &Arc<Self>,
        caller: PrincipalId,
        request: BridgeRequest,
        turns: Option<WithTurns>,
    ) -> Result<BridgeResponse, GateError> {
        self.serving()?;
        let _slot = self.slot()?;
        let members = self.members()?;
        let known = members.active_provider(caller)?;
        bridge::check(&request)?;
        self.may_erase(known.root(), &request.erases).await?;
        self.charge(caller, known, &members, bridge::spent(&request)).await?;
        let gate = self.clone();
        let work = move || {
            let bridges = gate.bridges(caller, &members, turns.as_ref(), bridge::spent(&request))?;
            gate.bridge_now(caller, &members, &request, bridges)
        };
        let stage = Stage::gate("bridge");
        let (response, entry, accesses) = blocking(work).await?;
        drop(stage);
        let _stage = Stage::gate("store");
        self.journal.record(entry, accesses, Vec::new()).await?;
        Ok(response)
    }

    fn bridge_now(
        &self,
        caller: PrincipalId,
        members: &Members,
        request: &BridgeRequest,
        bridges: Bridges,
    ) -> Result<(BridgeResponse, AuditEntry, Accesses), GateError> {
        let member = members.active_provider(caller)?;
        let owners = self.store.read(|stored| bridge::authorise(&request.capsules, caller, member, stored))?;
        let bridging = Bridging { secrets: &self.secrets, keys: &self.keys, caller, hospital: member.root(), bridges };
        let response = bridging.bridge(request)?;
        let ended = request.deletes.len() + request.erases.len();
        let (at, count) = (self.now(), (request.records.len() + ended) as u64);
        let kind = if request.records.is_empty() { AuditKind::Deletion } else { AuditKind::Bridge };
        let mut written: BTreeMap<(PrincipalId, &str), u64> = BTreeMap::new();
        for record in &request.records {
            if let Some(c) = request.capsules.get(record.capsule as usize) {
                *written.entry((c.owner, &c.section)).or_default() += 1;
            }
        }
        let access = |((owner, section), count): ((PrincipalId, &str), u64)| {
            let section = Some(section.to_owned());
            (
                owner,
                AccessRow {
                    at,
                    kind,
                    caller,
                    purpose: None,
                    section,
                    reader: None,
                    count,
                    emergency: false,
                    search: None,
                },
            )
        };
        let accesses = written.into_iter().map(access).collect();
        let spent = bridge::spent(request);
        Ok((response, AuditEntry { at, kind, caller, owner: None, purpose: None, count, owners, spent }, accesses))
    }
}

/// What an act did, by owner.
type Accesses = Vec<(PrincipalId, AccessRow)>;

impl<S: ConsentStore> Directory for Gate<S> {
    fn keys(&self, id: PrincipalId) -> Option<PublicIdentity> {
        let authority = self.secrets.authority();
        if id == authority.id() {
            return Some(*authority);
        }
        let joining = || Some(self.resharings.get()?.to.get(id)?.keys);
        self.members().ok().and_then(|m| m.keys(id)).or_else(joining)
    }
}

/// Runs work that computes or waits for the disk where it does not hold up the network.
pub(crate) async fn blocking<T, E>(work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, GateError>
where
    T: Send + 'static,
    E: Into<GateError> + Send + 'static,
{
    sealdex_net::blocking(carried_over(work)).await.map_err(|_| GateError::Worker)?.map_err(Into::into)
}
