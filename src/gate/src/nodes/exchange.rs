//! Exchanges between nodes: each calls every other one, hands on what that one lacks and takes in what it lacks itself;
//! what all have is forgotten.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use sealdex_crypto::{Identity, PrincipalId};
use sealdex_net::{CallError, Peer, Retry, peer::Http};
use sealdex_wire::{
    roster::Server,
    threshold::{Replicate, Replicated},
};
use tokio::task::{AbortHandle, JoinSet};

use super::{
    NodeRefusal,
    replica::{key_of, known_list},
};
use crate::{
    error::GateError,
    gate::{Gate, blocking},
    store::{ConsentStore, Table},
};

/// Pause between exchanges when there is nothing to hand on, and after one that failed.
const PAUSE: Duration = Duration::from_millis(1000);
/// How long an exchange may take; a message holds few large requests or many small ones.
const EXCHANGE: Duration = Duration::from_secs(20);

/// Other nodes over HTTP, called as this one.
pub struct HttpLink {
    http: Http,
    domain: String,
    own: Arc<Identity>,
}

impl HttpLink {
    /// Calls as `own`.
    pub fn new(http: Http, domain: impl Into<String>, own: Arc<Identity>) -> Self {
        Self { http, domain: domain.into(), own }
    }

    /// Another node.
    pub(crate) fn peer(&self, node: &Server) -> Result<Peer, CallError> {
        let peer = Peer::new(self.http.clone(), &node.url, &self.domain, node.id, Some(self.own.clone()))?;
        Ok(peer.with_retry(Retry::NONE))
    }

    /// Exchanges what each lacks.
    async fn replicate(&self, node: &Server, message: &Replicate) -> Result<Replicated, CallError> {
        self.peer(node)?.with_timeout(EXCHANGE).post_cbor("/v1/replica", message).await
    }
}

/// Exchanges under way; they end when it is dropped.
pub(crate) struct InTouch(JoinSet<()>);

impl InTouch {
    /// Ends them, and waits until they have.
    pub(crate) async fn end(mut self) {
        self.0.shutdown().await;
    }
}

impl<S: ConsentStore> Gate<S> {
    /// Starts exchanging with the other nodes, now and whenever the roster names new ones, until what is returned is
    /// dropped.
    pub(crate) fn keep_in_touch(self: &Arc<Self>, link: Arc<HttpLink>) -> InTouch {
        let _ = self.replicas.link.set(link);
        let mut all = JoinSet::new();
        all.spawn(Self::tend(Arc::downgrade(self)));
        InTouch(all)
    }

    async fn tend(gate: Weak<Self>) {
        let (mut all, mut tended): (JoinSet<()>, HashMap<PrincipalId, AbortHandle>) = Default::default();
        let mut round = 0_u64;
        loop {
            let Some(strong) = gate.upgrade() else { return };
            if let Ok(members) = strong.members() {
                let own = strong.replicas.own;
                let others = members.nodes().map(|n| n.nodes.as_slice()).unwrap_or_default();
                tended.retain(|id, task| {
                    let stays = others.iter().any(|n| n.server.id == *id) && !task.is_finished();
                    if !stays {
                        task.abort();
                    }
                    stays
                });
                for node in others.iter().filter(|n| n.server.id != own) {
                    let id = node.server.id;
                    tended.entry(id).or_insert_with(|| all.spawn(Self::exchange(gate.clone(), id)));
                }
            }
            round += 1;
            if round.is_multiple_of(16)
                && let Err(error) = strong.prune().await
            {
                tracing::warn!(%error, "requests that every node has were not forgotten; they are later");
            }
            drop(strong);
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Exchanges with one node until the gate is gone.
    async fn exchange(gate: Weak<Self>, id: PrincipalId) {
        loop {
            let Some(strong) = gate.upgrade() else { return };
            let replicas = &strong.replicas;
            let Some(link) = replicas.link.get().cloned() else { return };
            let node = strong.members().ok().and_then(|m| Some(m.nodes()?.get(id)?.server.clone()));
            let Some(node) = node else { return };
            let more = match strong.exchange_once(&link, &node).await {
                Ok(more) => more,
                Err(error) => {
                    strong.unanswered(id);
                    tracing::debug!(node = %id, %error, "another node of the gate does not answer");
                    false
                }
            };
            if !more {
                let gate = strong.clone();
                drop(strong);
                // What was handed in meanwhile is seen by what the other is known to know.
                let _ = tokio::time::timeout(PAUSE / 4, gate.replicas.news.notified()).await;
            }
        }
    }

    /// One exchange; whether there is more to hand on or to take in at once.
    async fn exchange_once(self: &Arc<Self>, link: &HttpLink, node: &Server) -> Result<bool, GateError> {
        let message = self.message_to(node.id).await?;
        let handed = !message.entries.is_empty();
        let theirs = || self.replicas.others(|o| o.get(&node.id).map(|o| o.known.clone()).unwrap_or_default());
        let before = (self.replicas.known(), theirs());
        let answer = link.replicate(node, &message).await;
        let answer = answer.map_err(|e| NodeRefusal::Peer(node.id, e.to_string()))?;
        let received = !answer.entries.is_empty();
        self.take_answer(node.id, answer).await;
        // What is not taken now is offered again after a pause, when what it needs may have come.
        Ok(handed && theirs() != before.1 || received && self.replicas.known() != before.0)
    }

    /// What this node has to say to another one: what it knows, and what that one seems to lack.
    ///
    /// # Errors
    /// [`GateError`].
    pub async fn message_to(self: &Arc<Self>, node: PrincipalId) -> Result<Replicate, GateError> {
        let theirs = self.replicas.others(|o| o.get(&node).map(|o| o.known.clone()).unwrap_or_default());
        let entries = self.entries_beyond(theirs).await?;
        Ok(Replicate { known: known_list(&self.replicas.known()), entries })
    }

    /// Takes in another node's answer.
    pub async fn take_answer(self: &Arc<Self>, node: PrincipalId, answer: Replicated) {
        self.absorb(answer.entries).await;
        self.replicas.heard(node, &answer.known, self.now());
    }

    /// Notes that another node did not answer.
    pub fn unanswered(&self, node: PrincipalId) {
        self.replicas.failed(node);
    }

    /// Up to which number this node knows what a node took.
    pub fn knows_of(&self, origin: PrincipalId) -> u64 {
        self.replicas.known().get(&origin).copied().unwrap_or(0)
    }

    /// Forgets entries that every node has.
    async fn prune(self: &Arc<Self>) -> Result<(), GateError> {
        let members = self.members()?;
        let Some((_, nodes)) = self.node(&members) else { return Ok(()) };
        let own = self.replicas.own;
        let mut everywhere = self.replicas.known();
        self.replicas.others(|others| {
            for node in nodes.nodes.iter().filter(|n| n.server.id != own) {
                let theirs = others.get(&node.server.id).map(|o| &o.known);
                for (origin, up_to) in &mut everywhere {
                    *up_to = theirs.and_then(|t| t.get(origin)).copied().unwrap_or(0).min(*up_to);
                }
            }
        });
        let gate = self.clone();
        blocking(move || {
            gate.store.write(|txn| {
                for (origin, up_to) in &everywhere {
                    for (key, _) in
                        txn.range(Table::Entries, &key_of(*origin, 0), Some(&key_of(*origin, up_to + 1)), 4096)?
                    {
                        txn.remove(Table::Entries, &key)?;
                    }
                }
                Ok::<_, GateError>(())
            })
        })
        .await
    }
}
