//! The way to a domain's gate, whether it is a single one or has several nodes.
//!
//! A gate of several nodes is asked through one of them, the lead, with the turns of as many others as it takes; then
//! those turn their part of what the lead found, and the parts are put together here, so that whoever asks gets what a
//! single gate would have answered. A node that does not answer is passed over; one whose result is wrong is named by
//! its proof and left out for as long as the connection lives.

use std::{
    collections::{HashMap, HashSet},
    ops::Deref,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use sealdex_crypto::{Identity, PrincipalId};
use sealdex_net::{CallError, Peer, Retry, peer::Http};
use sealdex_wire::{
    B32, RawPoint,
    auth::sha256,
    codec,
    consent::Accepted,
    ingest::{BridgeRequest, BridgeResponse},
    roster::Roster,
    search::{CountRequest, Counted, SearchRequest, SearchResponse},
    threshold::{Nodes, TakeTurn, Turn, WithTurns},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_bytes::ByteBuf;

use crate::{PackError, parts};

/// How long a node that did not answer is passed over.
const PASSED_OVER: Duration = Duration::from_secs(20);

/// The gate as one caller sees it. What is said to any node goes to the one that answers; it dereferences to that.
#[derive(Clone)]
pub struct GateLink {
    any: Peer,
    nodes: Option<Arc<Linked>>,
}

/// The nodes, each with its own connection.
pub(crate) struct Linked {
    pub(crate) nodes: Nodes,
    peers: Vec<(u16, Peer)>,
    away: Mutex<HashMap<u16, Away>>,
    /// Who said of whom that it sent a wrong result.
    accusations: Mutex<HashSet<(u16, u16)>>,
}

/// Why a node is not asked.
#[derive(Clone)]
enum Away {
    /// It did not answer.
    Until(Instant),
    /// It sent a wrong result.
    Wrong(String),
}

impl Deref for GateLink {
    type Target = Peer;

    fn deref(&self) -> &Peer {
        &self.any
    }
}

impl GateLink {
    /// The gate of a roster, called by `caller`; owners, who are in no roster, add their keys to each request.
    pub fn new(http: &Http, roster: &Roster, caller: Arc<Identity>, with_keys: bool) -> Result<Self, PackError> {
        let nodes = Nodes::of(roster).map_err(|e| PackError::Nodes(e.to_string()))?;
        let first = roster.gates.first().ok_or(PackError::NoServer("gate"))?;
        let own = |peer: Peer| if with_keys { peer.self_certified() } else { peer };
        let peer = |url: &str, id| Peer::new(http.clone(), url, &roster.domain, id, Some(caller.clone())).map(own);
        let others = roster.gates.iter().skip(1).map(|g| (g.url.as_str(), g.id));
        let any = peer(&first.url, first.id)?.or(others)?;
        let Some(nodes) = nodes else { return Ok(Self { any, nodes: None }) };
        let quick = Retry { attempts: 2, pause: Duration::from_millis(50) };
        let each = nodes.nodes.iter();
        let peers = each.map(|n| Ok((n.number, peer(&n.server.url, n.server.id)?.with_retry(quick))));
        let mut peers = peers.collect::<Result<Vec<_>, CallError>>()?;
        // So that not everybody has the same one lead.
        let first = usize::from(caller.id().0[0]) % peers.len();
        peers.rotate_left(first);
        Ok(Self {
            any,
            nodes: Some(Arc::new(Linked { nodes, peers, away: Mutex::default(), accusations: Mutex::default() })),
        })
    }

    /// The nodes, if the gate has several.
    pub fn nodes(&self) -> Option<&Nodes> {
        self.nodes.as_ref().map(|n| &n.nodes)
    }

    /// Each node by itself, with its number; none of a single gate.
    pub fn each(&self) -> &[(u16, Peer)] {
        self.nodes.as_ref().map_or(&[], |n| &n.peers)
    }

    /// Hands a request to every node by itself, so that none has to be believed that it handed it on: for what ends
    /// permissions. As many must take it as it takes; a single gate takes it as any other. What was done is what was done
    /// where most was, since some may have heard of it from others before.
    ///
    /// # Errors
    /// [`CallError`]; those that answered have taken it nevertheless.
    pub async fn post_to_each<Q: Serialize>(&self, path: &str, message: &Q) -> Result<Accepted, CallError> {
        let Some(linked) = &self.nodes else { return self.any.post_json(path, message).await };
        let body = bytes::Bytes::from(codec::to_json(message));
        let mut running = tokio::task::JoinSet::new();
        for (_, peer) in &linked.peers {
            let (peer, path, body) = (peer.clone(), path.to_owned(), body.clone());
            running.spawn(async move { peer.post_json_bytes::<Accepted>(&path, body).await });
        }
        let (mut taken, mut most, mut failed) = (0, 0, Vec::new());
        while let Some(done) = running.join_next().await {
            match done {
                Ok(Ok(Accepted { count })) => (taken, most) = (taken + 1, count.max(most)),
                Ok(Err(error)) => failed.push(error),
                Err(_) => failed.push(linked.unusable(path, "asking it stopped unexpectedly")),
            }
        }
        if taken >= usize::from(linked.nodes.threshold) {
            return Ok(Accepted { count: most });
        }
        // What a node refuses for what it says, others do too.
        match failed.iter().position(CallError::is_final) {
            Some(at) => Err(failed.swap_remove(at)),
            None => Err(linked.too_few(taken, failed.last())),
        }
    }

    /// Nodes that sent wrong results, and what was wrong.
    pub fn left_out(&self) -> Vec<(u16, String)> {
        let Some(linked) = &self.nodes else { return Vec::new() };
        let away = linked.away.lock().unwrap_or_else(PoisonError::into_inner);
        let wrong = |(node, why): (&u16, &Away)| match why {
            Away::Wrong(what) => Some((*node, what.clone())),
            Away::Until(_) => None,
        };
        let mut all: Vec<_> = away.iter().filter_map(wrong).collect();
        all.sort();
        all
    }

    /// Searches. With `prove`, every node's part is proved, and those that fail are left out: for when what came does
    /// not open.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn search(&self, request: &SearchRequest, prove: bool) -> Result<SearchResponse, CallError> {
        let Some(linked) = &self.nodes else { return self.any.post_cbor("/v1/search", request).await };
        let asked =
            Asked { body: codec::to_cbor(request), spent: request.clause.spent(), points: request.clause.points() };
        let (lead, turned, response) = linked.ask("/v1/shared/search", &asked).await?;
        let search = B32(sha256(&[&asked.body]));
        parts::complete(linked, lead, &turned, &request.purpose, search, response, prove).await
    }

    /// Counts.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn count(&self, request: &CountRequest) -> Result<Counted, CallError> {
        let Some(linked) = &self.nodes else { return self.any.post_cbor("/v1/count", request).await };
        let asked =
            Asked { body: codec::to_cbor(request), spent: request.clause.spent(), points: request.clause.points() };
        Ok(linked.ask("/v1/shared/count", &asked).await?.2)
    }

    /// Has a batch bridged; who signed it, and the answer.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn bridge(
        &self,
        single: PrincipalId,
        request: &BridgeRequest,
    ) -> Result<(PrincipalId, BridgeResponse), CallError> {
        let body = request.to_cbor();
        let Some(linked) = &self.nodes else {
            return Ok((single, self.any.post_cbor_bytes("/v1/bridge", body.into()).await?));
        };
        let unusable = |e: sealdex_wire::ingest::EntryError| linked.unusable("/v1/bridge", e.to_string());
        let points = request.points().map_err(unusable)?;
        let asked = Asked { body, spent: request.spent(), points };
        let (lead, _, response) = linked.ask("/v1/shared/bridge", &asked).await?;
        let id = linked.nodes.numbered(lead).map(|n| n.server.id);
        Ok((id.unwrap_or(single), response))
    }
}

/// What is asked of a lead.
struct Asked {
    body: Vec<u8>,
    spent: [u64; 3],
    points: Vec<RawPoint>,
}

impl Linked {
    /// Nodes to ask, in order: those that answered last first.
    pub(crate) fn order(&self) -> Vec<u16> {
        let now = Instant::now();
        let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        away.retain(|_, why| !matches!(why, Away::Until(until) if *until <= now));
        let wrong = |n: &u16| matches!(away.get(n), Some(Away::Wrong(_)));
        let mut order: Vec<u16> = self.peers.iter().map(|(n, _)| *n).filter(|n| !wrong(n)).collect();
        order.sort_by_key(|n| away.contains_key(n));
        order
    }

    pub(crate) fn peer(&self, node: u16) -> Result<&Peer, CallError> {
        let found = self.peers.iter().find(|(n, _)| *n == node).map(|(_, peer)| peer);
        found.ok_or_else(|| self.unusable("/", format!("it has no node {node}")))
    }

    /// Passes a node over for a while.
    pub(crate) fn pass_over(&self, node: u16, error: &CallError) {
        tracing::info!(node, %error, "a node of the gate is passed over");
        let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        away.entry(node).or_insert(Away::Until(Instant::now() + PASSED_OVER));
    }

    /// Leaves a node out for good.
    pub(crate) fn leave_out(&self, node: u16, what: &str) {
        tracing::error!(node, what, "a node of the gate sent a wrong result and is left out");
        let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        away.insert(node, Away::Wrong(what.to_owned()));
    }

    pub(crate) fn unusable(&self, path: &str, reason: impl Into<String>) -> CallError {
        CallError::BadAnswer { server: "the gate".into(), path: path.into(), reason: reason.into() }
    }

    /// That fewer nodes answer than it takes.
    pub(crate) fn too_few(&self, answering: usize, last: Option<&CallError>) -> CallError {
        let of = self.nodes.threshold;
        let why = match last {
            None => String::new(),
            Some(CallError::Unreachable { server, reason }) => format!("; {server}: {reason}"),
            Some(other) => format!("; the last said: {other}"),
        };
        let reason = format!("{answering} of the {of} nodes it takes answer{why}");
        CallError::Unreachable { server: "the gate".into(), reason }
    }

    /// Asks one node with the turns of as many others as it takes. Who led, who gave turns, and the answer.
    async fn ask<R: DeserializeOwned>(&self, path: &str, asked: &Asked) -> Result<(u16, Vec<u16>, R), CallError> {
        let taken = TakeTurn { request: B32(sha256(&[&asked.body])), spent: asked.spent, points: asked.points.clone() };
        let mut last = None;
        // Each round passes over one node at most, or one for another.
        for _ in 0..=self.peers.len() * self.peers.len() {
            let order = self.order();
            let Some((lead, others)) = order.iter().find_map(|lead| self.led_by(*lead, &order)) else { break };
            let turns: Vec<(u16, Turn)> = self.take_from(&others, "/v1/turns", &taken, &mut last).await?;
            let with = WithTurns {
                request: ByteBuf::from(asked.body.clone()),
                points: asked.points.clone(),
                turns: turns.iter().map(|(_, turn)| turn.clone()).collect(),
            };
            let answer = self.peer(lead)?.post_cbor(path, &with).await;
            match answer {
                Ok(answer) => return Ok((lead, turns.into_iter().map(|(node, _)| node).collect(), answer)),
                Err(error) => {
                    self.judge(lead, &error)?;
                    last = Some(error);
                }
            }
        }
        Err(self.too_few(self.order().len(), last.as_ref()))
    }

    /// A lead and the others it has not said anything against, if those are as many as it takes.
    fn led_by(&self, lead: u16, order: &[u16]) -> Option<(u16, Vec<u16>)> {
        let accusations = self.accusations.lock().unwrap_or_else(PoisonError::into_inner);
        let others: Vec<u16> =
            order.iter().copied().filter(|n| *n != lead && !accusations.contains(&(lead, *n))).collect();
        (others.len() + 1 >= usize::from(self.nodes.threshold)).then_some((lead, others))
    }

    /// Notes what a node says of another one: the two do not work together from now on. Said by as many as it takes, one
    /// of whom is honest, it is believed.
    fn accuse(&self, by: u16, node: u16, what: &str) {
        tracing::warn!(by, node, what, "a node of the gate says that another one sent a wrong result");
        let mut accusations = self.accusations.lock().unwrap_or_else(PoisonError::into_inner);
        accusations.insert((by, node));
        let count = accusations.iter().filter(|(_, of)| *of == node).count();
        drop(accusations);
        if count >= usize::from(self.nodes.threshold) {
            self.leave_out(node, what);
        }
    }

    /// What an error of a node says about it, or about another one it names; any other error is the answer.
    pub(crate) fn judge(&self, node: u16, error: &CallError) -> Result<(), CallError> {
        match error {
            CallError::Refused { problem, .. } if problem.node.is_some() => {
                match problem.node {
                    Some(named) if named != node => self.accuse(node, named, &problem.detail),
                    _ => self.leave_out(node, &problem.detail),
                }
                Ok(())
            }
            CallError::Refused { problem, .. } if problem.status == 503 => {
                self.pass_over(node, error);
                Ok(())
            }
            CallError::Unreachable { .. } | CallError::BadAnswer { .. } => {
                self.pass_over(node, error);
                Ok(())
            }
            other => Err(other.clone()),
        }
    }

    /// The same asked of as many of these nodes as it takes beside the lead, at once; who fails is made up for by
    /// another.
    pub(crate) async fn take_from<Q: Serialize, R: DeserializeOwned + Send + 'static>(
        &self,
        others: &[u16],
        path: &str,
        message: &Q,
        last: &mut Option<CallError>,
    ) -> Result<Vec<(u16, R)>, CallError> {
        let needed = usize::from(self.nodes.threshold) - 1;
        let mut waiting = others.iter().copied();
        let (mut running, mut done) = (tokio::task::JoinSet::new(), Vec::new());
        let body = bytes::Bytes::from(codec::to_cbor(message));
        while done.len() < needed {
            while running.len() + done.len() < needed
                && let Some(node) = waiting.next()
            {
                let (peer, path, body) = (self.peer(node)?.clone(), path.to_owned(), body.clone());
                running.spawn(async move { (node, peer.post_cbor_bytes::<R>(&path, body).await) });
            }
            match running.join_next().await {
                None => return Err(self.too_few(done.len() + 1, last.as_ref())),
                Some(Err(_)) => return Err(self.unusable(path, "asking it stopped unexpectedly")),
                Some(Ok((node, Ok(answer)))) => done.push((node, answer)),
                Some(Ok((node, Err(error)))) => {
                    self.judge(node, &error)?;
                    *last = Some(error);
                }
            }
        }
        Ok(done)
    }
}
