//! How what changes the gate's state reaches every node.
//!
//! A request that changes something goes to any node. That one does it, keeps it under its own next number, and hands it
//! on as its author signed it; each other node checks the signature and does it by itself. An answer is given when as
//! many nodes as it takes have it, so that any that answer later include one that knows. Who was away fetches what it
//! lacks, from whoever has it, before it serves again.
//!
//! Order is kept for what one node took. What two nodes took at once may come to a third in either order: the documents
//! themselves say which outdoes which (times, versions, generations), as they do for requests that are late or repeated.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use sealdex_crypto::{PrincipalId, SIGNATURE_LEN, Signature};
use sealdex_net::{Call, Caller, Directory as _, Refusal};
use sealdex_wire::{
    ProblemType,
    auth::{AuthHeader, RequestParts},
    codec, limits,
    threshold::{Entry, Known, Replicate, Replicated},
};
use serde_json::Value;
use tokio::sync::Notify;

use super::{
    NodeRefusal,
    exchange::HttpLink,
    redone::{Redone, redoing},
    writes,
};
use crate::{
    error::GateError,
    gate::{Gate, blocking},
    store::{ConsentStore, Snapshot, StoreError, Table, Transaction},
};

/// Most bytes of entries in one message.
const MESSAGE: usize = 24 << 20;
/// Most entries in one message.
const MESSAGE_ENTRIES: usize = 4096;
/// How long a node serves without having been level with another, milliseconds.
const TOUCH_MS: u64 = 15_000;
/// How long a request waits for other nodes to take it in.
const PATIENCE: Duration = Duration::from_secs(15);
/// How often an entry that this node refuses is tried before it is left out, since what it needs may come from others.
const ATTEMPTS: u32 = 8;

/// By node that took it: all up to this number.
pub(crate) type Vector = BTreeMap<PrincipalId, u64>;

/// What is known of another node.
#[derive(Default)]
pub(super) struct Other {
    /// When it was last heard from and knew nothing that is not known here, Unix milliseconds.
    level_at: u64,
    /// Whether the last exchange failed.
    failing: bool,
    /// What it knows.
    pub(super) known: Vector,
}

/// What this node and the others know.
pub struct Replicas {
    pub(super) own: PrincipalId,
    known: Mutex<Vector>,
    others: Mutex<HashMap<PrincipalId, Other>>,
    refused: Mutex<HashMap<(PrincipalId, u64), u32>>,
    /// One request at a time is done and numbered.
    order: tokio::sync::Mutex<()>,
    /// One message at a time is taken in.
    absorbing: tokio::sync::Mutex<()>,
    /// There is something to hand on.
    pub(super) news: Notify,
    /// Another node has taken something in.
    taken: Notify,
    pub(super) link: OnceLock<Arc<HttpLink>>,
}

impl Replicas {
    pub(crate) fn load(stored: &dyn Snapshot, own: PrincipalId) -> Result<Self, StoreError> {
        let known = read_known(stored)?;
        Ok(Self {
            own,
            known: Mutex::new(known),
            others: Mutex::default(),
            refused: Mutex::default(),
            order: tokio::sync::Mutex::default(),
            absorbing: tokio::sync::Mutex::default(),
            news: Notify::new(),
            taken: Notify::new(),
            link: OnceLock::new(),
        })
    }

    /// Takes over what a new node was given.
    pub(crate) fn learn(&self, given: Vector) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for (origin, up_to) in given {
            let here = known.entry(origin).or_default();
            *here = (*here).max(up_to);
        }
    }

    /// Held while one request is done and numbered.
    pub(crate) async fn order(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.order.lock().await
    }

    /// The way to the other nodes.
    pub(crate) fn http_link(&self) -> Option<&Arc<HttpLink>> {
        self.link.get()
    }

    pub(super) fn known(&self) -> Vector {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn others<T>(&self, f: impl FnOnce(&mut HashMap<PrincipalId, Other>) -> T) -> T {
        f(&mut self.others.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn heard(&self, node: PrincipalId, known: &[Known], now: u64) {
        let own = self.known();
        self.others(|others| {
            let other = others.entry(node).or_default();
            other.failing = false;
            other.known = known.iter().map(|k| (k.origin, k.up_to)).collect();
            if known.iter().all(|k| own.get(&k.origin).copied().unwrap_or(0) >= k.up_to) {
                other.level_at = now;
            }
        });
        self.taken.notify_waiters();
    }

    /// How often an entry was tried, this time included.
    fn tries(&self, origin: PrincipalId, number: u64) -> u32 {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let tries = refused.entry((origin, number)).or_default();
        *tries = (*tries + 1).min(ATTEMPTS);
        *tries
    }

    pub(super) fn failed(&self, node: PrincipalId) {
        self.others(|others| others.entry(node).or_default().failing = true);
        self.taken.notify_waiters();
    }
}

/// By node, how much of what it took is known here.
pub(crate) fn read_known(stored: &dyn Snapshot) -> Result<Vector, StoreError> {
    let damaged = || StoreError::Row(Table::Known.name());
    let row = |(k, v): &(Vec<u8>, Vec<u8>)| {
        let number = v.as_slice().try_into().map(u64::from_be_bytes).ok()?;
        Some((PrincipalId(k.as_slice().try_into().ok()?), number))
    };
    let rows = stored.range(Table::Known, &[], None, usize::MAX)?;
    rows.iter().map(|r| row(r).ok_or_else(damaged)).collect()
}

pub(super) fn known_list(known: &Vector) -> Vec<Known> {
    known.iter().map(|(origin, up_to)| Known { origin: *origin, up_to: *up_to }).collect()
}

pub(super) fn key_of(origin: PrincipalId, number: u64) -> Vec<u8> {
    [origin.0.as_slice(), &number.to_be_bytes()].concat()
}

impl<S: ConsentStore> Gate<S> {
    /// Whether this node was level with enough others lately. A single gate always is.
    pub(crate) fn in_touch(&self) -> Result<(), GateError> {
        let members = self.members()?;
        let Some((own, nodes)) = self.node(&members) else { return Ok(()) };
        let (now, needed) = (self.now(), nodes.threshold - 1);
        let heard = self.replicas.others(|others| {
            let lately = |o: &Other| now.saturating_sub(o.level_at) <= TOUCH_MS;
            nodes.nodes.iter().filter(|n| others.get(&n.server.id).is_some_and(lately)).count()
        });
        if heard >= usize::from(needed) {
            return Ok(());
        }
        Err(NodeRefusal::OutOfTouch { node: own.number, needed }.into())
    }

    /// Does what a request asks; on a gate of several nodes, answers when as many have it as it takes.
    ///
    /// # Errors
    /// A refusal; when too few nodes have it, it holds at those that do, and reaches the others.
    pub async fn take_in(self: &Arc<Self>, method: &str, path: &str, call: Call) -> Result<Value, Refusal> {
        let (answer, number) = self.take_in_here(method, path, call).await?;
        if let Some(number) = number {
            self.wait_for_others(number).await?;
        }
        Ok(answer)
    }

    /// Does what a request asks, and on a gate of several nodes keeps it for the others. Its number among what this
    /// node took.
    ///
    /// # Errors
    /// A refusal; nothing was done then.
    pub async fn take_in_here(
        self: &Arc<Self>,
        method: &str,
        path: &str,
        call: Call,
    ) -> Result<(Value, Option<u64>), Refusal> {
        let shared = self.members().is_ok_and(|m| self.node(&m).is_some());
        if !shared {
            return Ok((writes::perform(self, method, path, &call).await?, None));
        }
        let (gate, method, path) = (self.clone(), method.to_owned(), path.to_owned());
        // A task of its own: a caller that hangs up must not stop it half-way.
        let work = tokio::spawn(async move {
            let held = gate.replicas.order.lock().await;
            if path != "/v1/roster" {
                gate.may_change().map_err(GateError::from)?;
            }
            let mut entry = Entry {
                origin: gate.replicas.own,
                number: gate.replicas.known().get(&gate.replicas.own).copied().unwrap_or(0) + 1,
                method,
                path,
                authorization: call.authorization.clone(),
                body: call.body.to_vec().into(),
                signature: Signature([0; SIGNATURE_LEN]),
            };
            let (own, number) = (gate.secrets.identity(), entry.number);
            entry.signature = own.sign(&entry.digest(gate.secrets.domain()), &mut rand::rng());
            // Noted before it is done: killed in between, this node does it when it is back, and hands it on.
            gate.note(entry.clone()).await?;
            let answer = match writes::perform(&gate, &entry.method, &entry.path, &call).await {
                Ok(answer) => answer,
                Err(refusal) => {
                    gate.take_back(number).await?;
                    return Err(refusal);
                }
            };
            gate.keep(entry).await?;
            drop(held);
            gate.replicas.news.notify_waiters();
            Ok::<_, Refusal>((answer, Some(number)))
        });
        work.await.map_err(|_| Refusal::from(GateError::Worker))?
    }

    /// Notes what is about to be done. It is handed on when it is known.
    async fn note(self: &Arc<Self>, entry: Entry) -> Result<(), GateError> {
        let gate = self.clone();
        let key = key_of(entry.origin, entry.number);
        blocking(move || {
            gate.store.write(|txn| txn.put(Table::Entries, &key, &codec::to_cbor(&entry)).map_err(GateError::from))
        })
        .await
    }

    /// Forgets what was noted and not done.
    async fn take_back(self: &Arc<Self>, number: u64) -> Result<(), GateError> {
        let (gate, key) = (self.clone(), key_of(self.replicas.own, number));
        blocking(move || gate.store.write(|txn| txn.remove(Table::Entries, &key).map(drop).map_err(GateError::from)))
            .await
    }

    /// Does what this node was doing when it was killed, if it was noted and is not known to be done. To be called before
    /// it serves.
    ///
    /// # Errors
    /// [`GateError`] when the store fails.
    pub async fn finish_noted(self: &Arc<Self>) -> Result<(), GateError> {
        let number = self.knows_of(self.replicas.own) + 1;
        let key = key_of(self.replicas.own, number);
        let Some(row) = self.store.read(|s| s.get(Table::Entries, &key))? else { return Ok(()) };
        let entry: Entry = codec::from_cbor(&row).map_err(|_| StoreError::Row(Table::Entries.name()))?;
        match self.redo(&entry, false).await {
            Ok(()) => self.keep(entry).await,
            // It is not known whether it was done: better not to serve.
            Err(refusal) if refusal.0.problem_type() == Some(ProblemType::Internal) => Err(GateError::Worker),
            Err(refusal) => {
                tracing::warn!(detail = refusal.0.detail, "what this node was doing when it was stopped is refused");
                self.take_back(number).await
            }
        }
    }

    /// Keeps an entry, as known up to its number.
    async fn keep(self: &Arc<Self>, entry: Entry) -> Result<(), GateError> {
        let gate = self.clone();
        blocking(move || {
            gate.store.write(|txn| put_entry(txn, &entry))?;
            let mut known = gate.replicas.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.insert(entry.origin, entry.number);
            Ok::<_, GateError>(())
        })
        .await
    }

    /// Waits until every other node has this node's requests up to a number, or does not answer, and as many as it
    /// takes have them.
    async fn wait_for_others(&self, number: u64) -> Result<(), GateError> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let members = self.members()?;
            let Some((_, nodes)) = self.node(&members) else { return Ok(()) };
            let own = self.replicas.own;
            let changed = self.replicas.taken.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let (have, waiting) = self.replicas.others(|others| {
                let (mut have, mut waiting) = (1, 0);
                for node in nodes.nodes.iter().filter(|n| n.server.id != own) {
                    match others.get(&node.server.id) {
                        Some(o) if o.known.get(&own).is_some_and(|n| *n >= number) => have += 1,
                        Some(o) if o.failing => {}
                        _ => waiting += 1,
                    }
                }
                (have, waiting)
            });
            let enough = have >= usize::from(nodes.threshold);
            if enough && waiting == 0 {
                return Ok(());
            }
            let none_left = have + waiting < usize::from(nodes.threshold);
            if none_left || tokio::time::timeout_at(deadline, changed).await.is_err() {
                let refused = NodeRefusal::NotYet { kept: have, threshold: nodes.threshold };
                return if enough { Ok(()) } else { Err(refused.into()) };
            }
        }
    }

    /// Takes in what another node sends, and answers with what it lacks. From nodes of this gate only.
    ///
    /// # Errors
    /// [`GateError`].
    pub async fn replicate(self: &Arc<Self>, caller: PrincipalId, message: Replicate) -> Result<Replicated, GateError> {
        let members = self.members()?;
        let (_, nodes) = self.node_of(&members)?;
        if nodes.get(caller).is_none() || caller == self.replicas.own {
            return Err(NodeRefusal::NotANode(caller).into());
        }
        self.absorb(message.entries).await;
        self.replicas.heard(caller, &message.known, self.now());
        let theirs: Vector = message.known.iter().map(|k| (k.origin, k.up_to)).collect();
        let entries = self.entries_beyond(theirs).await?;
        Ok(Replicated { known: known_list(&self.replicas.known()), entries })
    }

    /// Entries that somebody who knows this much lacks, as many as fit a message.
    pub(super) async fn entries_beyond(self: &Arc<Self>, theirs: Vector) -> Result<Vec<Entry>, GateError> {
        let ahead: Vec<(PrincipalId, u64, u64)> = self
            .replicas
            .known()
            .into_iter()
            .map(|(origin, up_to)| (origin, up_to, theirs.get(&origin).copied().unwrap_or(0)))
            .filter(|(_, up_to, theirs)| theirs < up_to)
            .map(|(origin, up_to, theirs)| (origin, theirs + 1, up_to))
            .collect();
        if ahead.is_empty() {
            return Ok(Vec::new());
        }
        let gate = self.clone();
        blocking(move || {
            let damaged = || StoreError::Row(Table::Entries.name());
            gate.store.read(|s| {
                let (mut entries, mut bytes) = (Vec::new(), 0);
                for (origin, mut from, up_to) in ahead {
                    // One at a time: a body may be as large as a message.
                    while from <= up_to
                        && let [(key, row)] = &s.range(Table::Entries, &key_of(origin, from), None, 1)?[..]
                    {
                        if key[..16] != origin.0 || bytes + row.len() > MESSAGE && !entries.is_empty() {
                            break;
                        }
                        let entry: Entry = codec::from_cbor(row).map_err(|_| damaged())?;
                        (bytes, from) = (bytes + row.len(), entry.number + 1);
                        entries.push(entry);
                        if entries.len() == MESSAGE_ENTRIES {
                            return Ok(entries);
                        }
                    }
                }
                Ok::<_, GateError>(entries)
            })
        })
        .await
    }

    /// Does what other nodes took in, in the order of each. What cannot be done yet is left for the next time.
    pub(super) async fn absorb(self: &Arc<Self>, entries: Vec<Entry>) {
        if entries.is_empty() {
            return;
        }
        let _one = self.replicas.absorbing.lock().await;
        let mut held_back: Vec<PrincipalId> = Vec::new();
        for entry in entries {
            let next = self.replicas.known().get(&entry.origin).copied().unwrap_or(0) + 1;
            if entry.number != next || entry.origin == self.replicas.own || held_back.contains(&entry.origin) {
                continue;
            }
            let (origin, number) = (entry.origin, entry.number);
            let tries = self.replicas.tries(origin, number);
            if let Err(refusal) = self.redo(&entry, tries == ATTEMPTS).await {
                let kind = refusal.0.problem_type();
                let temporary = matches!(
                    kind,
                    Some(
                        ProblemType::Internal
                            | ProblemType::Overloaded
                            | ProblemType::Upstream
                            | ProblemType::NotServing
                    )
                );
                // A document that a newer one has overtaken is refused by every node but the first. Grants may lack
                // what is still to come.
                let of_grants = matches!(entry.path.as_str(), "/v1/grants" | "/v1/consent");
                let overtaken = kind == Some(ProblemType::Conflict) && !of_grants;
                if temporary || tries < ATTEMPTS && !overtaken {
                    held_back.push(origin);
                    continue;
                }
                if !overtaken {
                    metrics::counter!("sealdex_gate_left_out_total").increment(1);
                    tracing::error!(%origin, number, path = entry.path, detail = refusal.0.detail,
                        "a request that another node of the gate took is refused here and left out");
                }
            }
            self.replicas.refused.lock().unwrap_or_else(PoisonError::into_inner).remove(&(origin, number));
            if let Err(error) = self.keep(entry).await {
                tracing::error!(%error, "a request of another node could not be kept; it is done again later");
                return;
            }
        }
    }

    /// Does what a request asks that another node took, after its author's signature was checked: by the time at which
    /// it was made, but not from before this node last knew all that the other had taken.
    async fn redo(self: &Arc<Self>, entry: &Entry, last: bool) -> Result<(), Refusal> {
        let node = self.members().ok().and_then(|m| Some(m.nodes()?.get(entry.origin)?.keys));
        let signed = node.is_some_and(|n| n.verify(&entry.digest(self.secrets.domain()), &entry.signature).is_ok());
        if !signed {
            return Err(Refusal::new(ProblemType::Unauthenticated, "its node did not give it this number"));
        }
        let header = AuthHeader::parse(&entry.authorization).map_err(unauthentic)?;
        let known = self.keys(header.id);
        let keys = match known {
            Some(keys) => Some(keys),
            None => header.own_keys().map_err(unauthentic)?,
        };
        let unknown = || Refusal::new(ProblemType::Unauthenticated, format!("{} is unknown here", header.id));
        let keys = keys.ok_or_else(unknown)?;
        let signed = RequestParts {
            domain: self.secrets.domain(),
            audience: entry.origin,
            method: &entry.method,
            path: &entry.path,
            body: &entry.body,
        };
        let body_sha256 = header.verify(&signed, &keys).map_err(unauthentic)?;
        let call = Call {
            caller: Caller { id: header.id, keys, known: known.is_some() },
            body: entry.body.to_vec().into(),
            body_sha256,
            authorization: entry.authorization.clone(),
        };
        let level = self.replicas.others(|o| o.get(&entry.origin).map_or(0, |o| o.level_at));
        let at = header.ts.max(level.saturating_sub(limits::CLOCK_SKEW_MS)).min(self.now());
        let work = writes::perform(self, &entry.method, &entry.path, &call);
        let own = entry.origin == self.replicas.own;
        redoing(Redone { at, last, own }, work).await.map(drop)
    }
}

fn put_entry(txn: &mut dyn Transaction, entry: &Entry) -> Result<(), StoreError> {
    txn.put(Table::Entries, &key_of(entry.origin, entry.number), &codec::to_cbor(entry))?;
    txn.put(Table::Known, &entry.origin.0, &entry.number.to_be_bytes())
}

fn unauthentic(error: sealdex_wire::auth::AuthError) -> Refusal {
    Refusal::new(ProblemType::Unauthenticated, error.to_string())
}
