//! Sharing the gate's scalars anew: nodes are added, replaced, left out or refreshed, without any owner and without
//! anybody knowing a scalar (spec section 5; Herzberg et al., 1995).
//!
//! The authority signs what leads where and begins it at every node: from then on nothing is changed, while searches go
//! on. As many of the present nodes as it takes deal their shares again ([`super::dealing`]); each node of the new sharing
//! takes its parts, checks them and lays them aside ([`super::receiving`]). When all have laid aside the same, the
//! authority puts the roster with the new sharing in force, and with it, in one transaction, the new shares. Until then
//! it can be given up, and nothing has happened.

use std::sync::{Arc, PoisonError, RwLock};

use sealdex_crypto::{PrincipalId, sharing::Commitments};
use sealdex_wire::{
    B32,
    auth::sha256,
    codec,
    consent::Accepted,
    threshold::{BeginResharing, Node, Nodes, Reshare, Resharing, ResharingState},
};

use super::{NodeRefusal, receiving, replica};
use crate::{
    error::{CallerRefusal, GateError},
    gate::{Gate, blocking},
    groups::Groups,
    members::Members,
    secrets::SealedScalar,
    store::{ConsentStore, GrantKey, ReadConsents as _, Snapshot, StoreError, Table, Transaction, WriteConsents as _},
};

/// Where in the table of settings a resharing under way is kept.
pub(crate) const RESHARING: &[u8] = b"resharing";
/// Rows of the staging table that are read at once.
const PAGE: usize = 4096;

/// A resharing under way.
pub(crate) struct Underway {
    pub(crate) resharing: Resharing,
    /// Hash of what the authority signed: what is dealt is bound to it.
    pub(crate) digest: [u8; 32],
    /// The nodes that it begins with, and that it leads to.
    pub(crate) from: Nodes,
    pub(crate) to: Nodes,
    pub(crate) state: RwLock<ResharingState>,
}

/// The resharing under way at a gate, if there is one.
#[derive(Default)]
pub(crate) struct Resharings(RwLock<Option<Arc<Underway>>>);

impl Resharings {
    pub(crate) fn get(&self) -> Option<Arc<Underway>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, underway: Option<Arc<Underway>>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = underway;
    }
}

fn bad(what: impl Into<String>) -> NodeRefusal {
    NodeRefusal::BadResharing(what.into())
}

impl Underway {
    pub(crate) fn state(&self) -> ResharingState {
        self.state.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn update(&self, f: impl FnOnce(&mut ResharingState)) {
        f(&mut self.state.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// What the authority signed, if it makes sense. `from` are the nodes in force.
    fn new(begin: &BeginResharing, from: Nodes, domain: &str) -> Result<Self, NodeRefusal> {
        let resharing = begin.resharing.peek().map_err(|e| bad(e.to_string()))?;
        let to = Nodes::new(resharing.to, &resharing.nodes).map_err(|e| bad(e.to_string()))?;
        if resharing.domain != domain {
            return Err(bad("it is for another domain"));
        }
        if (resharing.from.threshold, resharing.from.epoch) != (from.threshold, from.epoch) {
            return Err(bad(format!("the gate's scalars are in epoch {} of their sharing", from.epoch)));
        }
        if Some(resharing.to.epoch) != resharing.from.epoch.checked_add(1) {
            return Err(bad("it does not lead to the next epoch"));
        }
        let dealers = &resharing.dealers;
        let distinct = dealers.iter().enumerate().all(|(n, d)| !dealers[..n].contains(d));
        let known = dealers.iter().all(|d| from.numbered(*d).is_some());
        if dealers.len() != usize::from(from.threshold) || !distinct || !known {
            return Err(bad(format!("it takes {} of the present nodes to deal", from.threshold)));
        }
        let digest = sha256(&[begin.resharing.payload.as_bytes()]);
        let state = RwLock::new(ResharingState { taken: 0, complete: None, failed: None });
        Ok(Self { resharing, digest, from, to, state })
    }

    /// The node that an id is in the new sharing.
    pub(crate) fn receiver(&self, id: PrincipalId) -> Option<&Node> {
        self.to.get(id)
    }

    /// Whether the servers and the sharing of a roster are those it leads to.
    fn leads_to(&self, members: &Members) -> bool {
        members.nodes().is_some_and(|n| {
            let place = |n: &Nodes| -> Vec<(u16, PrincipalId)> {
                let mut all: Vec<_> = n.nodes.iter().map(|n| (n.number, n.server.id)).collect();
                all.sort_unstable();
                all
            };
            (n.threshold, n.epoch) == (self.to.threshold, self.to.epoch) && place(n) == place(&self.to)
        })
    }
}

/// The resharing a store was left with.
pub(crate) fn load(stored: &dyn Snapshot, domain: &str) -> Result<Resharings, StoreError> {
    let damaged = || StoreError::Row(Table::Meta.name());
    let Some(row) = stored.get(Table::Meta, RESHARING)? else { return Ok(Resharings::default()) };
    let begin: BeginResharing = codec::from_cbor(&row).map_err(|_| damaged())?;
    let roster = begin.roster.peek().map_err(|_| damaged())?;
    let from = Nodes::of(&roster).ok().flatten().ok_or_else(damaged)?;
    let underway = Underway::new(&begin, from, domain).map_err(|_| damaged())?;
    Ok(Resharings(RwLock::new(Some(Arc::new(underway)))))
}

impl<S: ConsentStore> Gate<S> {
    /// Refuses changes while scalars are shared anew: what is dealt would not have them.
    pub(crate) fn may_change(&self) -> Result<(), NodeRefusal> {
        if self.resharings.get().is_none() { Ok(()) } else { Err(NodeRefusal::Resharing) }
    }

    /// Begins a resharing, or gives up one. From the authority only.
    ///
    /// # Errors
    /// [`GateError`]; nothing has changed then.
    pub async fn reshare(self: &Arc<Self>, caller: PrincipalId, request: Reshare) -> Result<Accepted, GateError> {
        if caller != self.secrets.authority().id() {
            return Err(CallerRefusal::NotAuthority.into());
        }
        let _held = self.replicas.order().await;
        let Some(begin) = request.begin else {
            self.put_resharing(None).await?;
            self.resharings.set(None);
            return Ok(Accepted { count: 0 });
        };
        let authority = self.secrets.authority();
        begin.resharing.verify(authority).map_err(|e| bad(e.to_string()))?;
        let roster = begin.roster.verify(authority).map_err(|e| bad(e.to_string()))?;
        let own = self.secrets.identity().id();
        let from = match self.members() {
            Ok(members) => members.nodes().cloned().ok_or(NodeRefusal::Single)?,
            // A node that is new goes by the roster it is sent.
            Err(_) => Nodes::of(&roster).ok().flatten().ok_or_else(|| bad("the roster is that of a single gate"))?,
        };
        let underway = Arc::new(Underway::new(&begin, from, self.secrets.domain())?);
        if underway.from.get(own).is_none() && underway.to.get(own).is_none() {
            return Err(bad("this node is in neither sharing").into());
        }
        if self.resharings.get().is_some_and(|u| u.digest == underway.digest) {
            return Ok(Accepted { count: 0 });
        }
        self.put_resharing(Some(begin)).await?;
        self.resharings.set(Some(underway.clone()));
        tracing::warn!(epoch = underway.to.epoch, "the gate's scalars are shared anew: nothing is changed meanwhile");
        self.receive(underway);
        Ok(Accepted { count: 1 })
    }

    /// Takes part in the resharing that the store was left with.
    pub(crate) fn go_on_resharing(self: &Arc<Self>) {
        if let Some(underway) = self.resharings.get() {
            self.receive(underway);
        }
    }

    fn receive(self: &Arc<Self>, underway: Arc<Underway>) {
        if underway.receiver(self.secrets.identity().id()).is_some() {
            tokio::spawn(receiving::receive(Arc::downgrade(self), underway));
        }
    }

    async fn put_resharing(self: &Arc<Self>, begin: Option<BeginResharing>) -> Result<(), GateError> {
        let gate = self.clone();
        blocking(move || {
            gate.store.write(|txn| {
                clear(txn, Table::Staged)?;
                match &begin {
                    Some(begin) => txn.put(Table::Meta, RESHARING, &codec::to_cbor(begin)),
                    None => txn.remove(Table::Meta, RESHARING).map(drop),
                }
            })
        })
        .await
    }

    /// How far this node is, for the authority.
    ///
    /// # Errors
    /// [`GateError`] when nothing is under way.
    pub fn resharing_state(&self, caller: PrincipalId) -> Result<ResharingState, GateError> {
        if caller != self.secrets.authority().id() {
            return Err(CallerRefusal::NotAuthority.into());
        }
        Ok(self.resharings.get().ok_or_else(|| bad("none is under way here"))?.state())
    }

    /// Whether a roster leaves the sharing as it is; if not, the resharing that leads to it and is complete here.
    pub(crate) fn leads_to(&self, new: &Members) -> Result<Option<Arc<Underway>>, GateError> {
        let before = self.members().ok();
        let place = |m: &Members| {
            m.nodes()
                .map(|n| (n.threshold, n.epoch, n.nodes.iter().map(|n| (n.number, n.server.id)).collect::<Vec<_>>()))
        };
        let unchanged = match &before {
            Some(before) => place(before) == place(new),
            // Founded so; a node that is new later has to be dealt its shares.
            None => new.nodes().is_none_or(|n| n.epoch == 0),
        };
        if unchanged {
            return Ok(None);
        }
        let underway = self.resharings.get().filter(|u| u.leads_to(new));
        let underway = underway.ok_or_else(|| bad("the roster has other nodes than this one was dealt shares for"))?;
        if underway.state().complete.is_none() {
            return Err(bad("this node has not taken in all of its shares yet").into());
        }
        Ok(Some(underway))
    }

    /// Puts the shares that were laid aside in force.
    pub(crate) fn switch(&self, txn: &mut dyn Transaction) -> Result<u64, GateError> {
        let key = &self.secrets.store_key;
        let damaged = || StoreError::Row(Table::Staged.name());
        let mut count = 0;
        let mut from: Vec<u8> = Vec::new();
        loop {
            let rows = txn.range(Table::Staged, &from, None, PAGE)?;
            for (place, value) in &rows {
                let (sealed, commitments) = value.split_first_chunk().ok_or_else(damaged)?;
                let commitments = Commitments::from_bytes(commitments).map_err(|_| damaged())?;
                let share = key.open_scalar(Table::Staged, place, &SealedScalar(*sealed))?;
                match place.split_first().ok_or_else(damaged)? {
                    (b'b', member) => {
                        let member = PrincipalId(member.try_into().map_err(|_| damaged())?);
                        txn.put_bridge(member, &key.seal_scalar(Table::Bridges, &member.0, &share))?;
                        txn.put_bridge_commitments(member, &commitments)?;
                    }
                    (b'g', grant) => {
                        let grant = GrantKey::parse(grant).ok_or_else(damaged)?;
                        let mut row = txn.grant(&grant)?.ok_or(StoreError::Row(Table::Grants.name()))?;
                        row.rk = key.seal_scalar(Table::Grants, &grant.to_bytes(), &share);
                        txn.put_grant_row(&grant, &row)?;
                        txn.put_grant_commitments(&grant, &commitments)?;
                    }
                    _ => return Err(damaged().into()),
                }
                count += 1;
            }
            match rows.last() {
                Some((last, _)) if rows.len() == PAGE => from = [last.as_slice(), &[0]].concat(),
                _ => break,
            }
        }
        clear(txn, Table::Staged)?;
        txn.remove(Table::Meta, RESHARING)?;
        Ok(count)
    }

    /// To be called when [`Gate::switch`] is durable. A node that is new learns what it was given beside its shares.
    pub(crate) fn switched(&self, epoch: u32, count: u64) -> Result<(), GateError> {
        let (groups, known) = self.store.read(|s| Ok::<_, StoreError>((s.groups()?, replica::read_known(s)?)))?;
        self.set_groups(Groups::new(groups)?);
        self.replicas.learn(known);
        self.resharings.set(None);
        tracing::warn!(epoch, count, "the gate's scalars are in a new epoch of their sharing");
        Ok(())
    }
}

/// Everything that was laid aside, hashed: the same at every node.
pub(crate) fn staged_digest(stored: &dyn Snapshot) -> Result<(u64, B32), StoreError> {
    let (mut count, mut chain, mut from) = (0, [0; 32], Vec::new());
    loop {
        let rows = stored.range(Table::Staged, &from, None, PAGE)?;
        for (key, value) in &rows {
            let commitments = value.get(48..).ok_or(StoreError::Row(Table::Staged.name()))?;
            chain = sha256(&[&chain, &(key.len() as u32).to_be_bytes(), key, commitments]);
        }
        count += rows.len() as u64;
        match rows.last() {
            Some((last, _)) if rows.len() == PAGE => from = [last.as_slice(), &[0]].concat(),
            _ => return Ok((count, B32(chain))),
        }
    }
}

pub(crate) fn clear(txn: &mut dyn Transaction, table: Table) -> Result<(), StoreError> {
    loop {
        let rows = txn.range(table, &[], None, PAGE)?;
        if rows.is_empty() {
            return Ok(());
        }
        rows.iter().try_for_each(|(key, _)| txn.remove(table, key).map(drop))?;
    }
}
