//! A gate of several nodes (spec section 5, threshold gate): every scalar is shared over them, and it takes
//! `threshold` of them to re-encrypt a capsule or to bridge a token.
//!
//! A member asks one node, the lead, as it would ask a gate. From the others that it needs it takes a [`Turn`] first:
//! each charges the member's budget and bridges its part of the bridged tokens. When the lead has answered, they
//! re-encapsulate their part ([`PartialsRequest`]), each after it has checked the grants by itself. What changes the
//! gate's state goes to any node, which hands the request on to the others, as its author signed it ([`Entry`]).

use sealdex_crypto::{PrincipalId, PublicIdentity, RecordId, Signature};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::{
    B32, RawPoint, Signed,
    auth::sha256,
    group::Sealed,
    labels,
    roster::{Roster, Server},
    signed::Document,
};

/// How the gate's scalars are shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sharing {
    /// How many nodes it takes. More than half of them, so that whatever is acknowledged is known to one of any that
    /// answer.
    pub threshold: u16,
    /// Grows whenever the scalars are shared anew; shares of different epochs do not mix.
    pub epoch: u32,
}

/// The nodes of a gate, with their keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nodes {
    /// How many it takes.
    pub threshold: u16,
    /// Epoch of the sharing.
    pub epoch: u32,
    /// Number, where it is, keys; in the order of the roster.
    pub nodes: Vec<Node>,
}

/// One node of a gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its number: its place on the polynomials.
    pub number: u16,
    /// Id, keys and address.
    pub server: Server,
    /// Its keys, decoded.
    pub keys: PublicIdentity,
}

/// Gates in a roster that do not make sense together.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum NodesError {
    /// One gate only, or none, with a threshold; or several without.
    #[error("a roster with several gates says how many it takes, and one with a single gate does not")]
    Threshold,
    /// Not more than half of the nodes, or more than there are.
    #[error("a gate of {nodes} nodes takes more than half of them and at most all, not {threshold}")]
    Majority {
        /// Said.
        threshold: u16,
        /// Nodes.
        nodes: usize,
    },
    /// A number that is 0, missing, or another node's too.
    #[error("the nodes of a gate are numbered from 1, each by a number of its own")]
    Numbers,
    /// Keys that are none.
    #[error("the keys of a gate are no points of the curve")]
    Keys,
}

/// Most nodes of a gate.
pub const MOST_NODES: usize = 64;

impl Nodes {
    /// The nodes of a roster's gate; none when it is a single one.
    ///
    /// # Errors
    /// [`NodesError`].
    pub fn of(roster: &Roster) -> Result<Option<Self>, NodesError> {
        match (roster.sharing, roster.gates.len()) {
            (None, 0 | 1) => Ok(None),
            (Some(sharing), 2..) => Self::new(sharing, &roster.gates).map(Some),
            _ => Err(NodesError::Threshold),
        }
    }

    /// These servers as the nodes of a gate.
    ///
    /// # Errors
    /// [`NodesError`].
    pub fn new(sharing: Sharing, servers: &[Server]) -> Result<Self, NodesError> {
        let count = servers.len();
        let fits = usize::from(sharing.threshold) <= count && 2 * usize::from(sharing.threshold) > count;
        if !fits || count > MOST_NODES {
            return Err(NodesError::Majority { threshold: sharing.threshold, nodes: count });
        }
        let mut nodes: Vec<Node> = Vec::with_capacity(count);
        for server in servers {
            let number = server.node.filter(|n| *n > 0 && nodes.iter().all(|o| o.number != *n));
            let number = number.ok_or(NodesError::Numbers)?;
            let keys = server.keys.identity().map_err(|_| NodesError::Keys)?;
            nodes.push(Node { number, server: server.clone(), keys });
        }
        Ok(Self { threshold: sharing.threshold, epoch: sharing.epoch, nodes })
    }

    /// Their numbers.
    pub fn numbers(&self) -> Vec<u16> {
        self.nodes.iter().map(|n| n.number).collect()
    }

    /// The node with this id.
    pub fn get(&self, id: PrincipalId) -> Option<&Node> {
        self.nodes.iter().find(|n| n.server.id == id)
    }

    /// The node with this number.
    pub fn numbered(&self, number: u16) -> Option<&Node> {
        self.nodes.iter().find(|n| n.number == number)
    }
}

/// What the shares of one request are bound to: domain, epoch, node, and every document they belong to.
pub fn shares_context(domain: &str, epoch: u32, node: u16, documents: &[&[u8]]) -> [u8; 32] {
    let hashes: Vec<[u8; 32]> = documents.iter().map(|d| sha256(&[d])).collect();
    sha256(&[
        labels::SHARES.as_bytes(),
        &(domain.len() as u16).to_be_bytes(),
        domain.as_bytes(),
        &epoch.to_be_bytes(),
        &node.to_be_bytes(),
        hashes.as_flattened(),
    ])
}

/// Shares of one request's scalars for one node, 32 bytes each, in the order of the documents they belong to, wrapped
/// for its key. Whoever hands the request on sees none but its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeShares {
    /// Node.
    pub node: u16,
    /// Epoch of the sharing.
    pub epoch: u32,
    /// Wrapped shares.
    pub sealed: Sealed,
}

/// `POST /v1/turns`: has a node charge the caller for a request to another node, and bridge its part of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TakeTurn {
    /// SHA-256 of the request's bytes.
    pub request: B32,
    /// Tokens, ranges and index entries that it takes.
    pub spent: [u64; 3],
    /// Its bridged tokens, `T_i`.
    pub points: Vec<RawPoint>,
}

/// A node's consent to a request, for the node that leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Turn {
    /// Node.
    pub node: u16,
    /// Epoch of its shares.
    pub epoch: u32,
    /// When, Unix milliseconds.
    pub at: u64,
    /// `δ_j·T_i` of each point.
    pub partials: Vec<RawPoint>,
    /// That they are what they should be, for all of them: challenge and response. Absent when there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<Proof>,
    /// Signature over [`Turn::digest`].
    pub signature: Signature,
}

/// A proof that a node multiplied by its share (spec section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    /// Challenge.
    pub c: B32,
    /// Response.
    pub z: B32,
}

impl From<sealdex_crypto::DleqProof> for Proof {
    fn from(p: sealdex_crypto::DleqProof) -> Self {
        Self { c: B32(p.c), z: B32(p.z) }
    }
}

impl From<Proof> for sealdex_crypto::DleqProof {
    fn from(p: Proof) -> Self {
        Self { c: p.c.0, z: p.z.0 }
    }
}

impl Turn {
    /// What a node signs: domain, caller, request, what it charged, epoch and time.
    pub fn digest(domain: &str, caller: PrincipalId, taken: &TakeTurn, epoch: u32, at: u64) -> [u8; 32] {
        let spent: Vec<u8> = taken.spent.iter().flat_map(|n| n.to_be_bytes()).collect();
        sha256(&[
            labels::TURN.as_bytes(),
            &(domain.len() as u16).to_be_bytes(),
            domain.as_bytes(),
            &caller.0,
            &taken.request.0,
            &spent,
            &epoch.to_be_bytes(),
            &at.to_be_bytes(),
        ])
    }
}

/// `POST /v1/shared/search`, `/v1/shared/count` and `/v1/shared/bridge`: a request as a single gate takes it, with the
/// turns of as many other nodes as it needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WithTurns {
    /// The request, CBOR.
    pub request: ByteBuf,
    /// Its bridged tokens, in the order in which the turns have them.
    pub points: Vec<RawPoint>,
    /// Turns.
    pub turns: Vec<Turn>,
}

/// One capsule that a node is to re-encapsulate: a record sealed under it, by its routing tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tagged {
    /// Record.
    pub id: RecordId,
    /// Who pushed it.
    pub provider: PrincipalId,
    /// How many records of the answer are under it.
    pub records: u32,
    /// Routing tag.
    pub tag: ByteBuf,
}

/// `POST /v1/partials`: has a node re-encapsulate its part of capsules that the lead found, after it has checked the
/// caller's grants by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartialsRequest {
    /// Purpose of use.
    pub purpose: String,
    /// SHA-256 of the search they were found by.
    pub search: B32,
    /// Whether to prove every result.
    pub prove: bool,
    /// Capsules.
    pub capsules: Vec<Tagged>,
}

/// A capsule as one node turned it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Partial {
    /// Principal the grant is for.
    pub reader: PrincipalId,
    /// Generation of the reader's key.
    pub generation: u32,
    /// `X` of the grant.
    pub x: RawPoint,
    /// `E`.
    pub capsule: RawPoint,
    /// `rk_j·E`.
    pub point: RawPoint,
    /// That it is, if asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<PartialProof>,
}

/// That a partial result is what it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartialProof {
    /// What the grant's shares are checked against, 33 bytes for each share that is needed.
    pub commitments: ByteBuf,
    /// Proof against the node's place on them.
    pub proof: Proof,
}

/// Answer to [`PartialsRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Partials {
    /// Node.
    pub node: u16,
    /// Epoch of its shares.
    pub epoch: u32,
    /// In the order asked; none where this node knows no grant.
    pub partials: Vec<Option<Partial>>,
}

/// A request that changed a node's state, as its author signed it, on its way to the other nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The node that took it.
    pub origin: PrincipalId,
    /// Its number among what that node took, from 1.
    pub number: u64,
    /// HTTP method.
    pub method: String,
    /// Path.
    pub path: String,
    /// The author's signature, as it came.
    pub authorization: String,
    /// Body.
    pub body: ByteBuf,
    /// The signature over [`Entry::digest`] of the node that took it: nobody who hands it on puts another in its place.
    pub signature: Signature,
}

impl Entry {
    /// What the node that takes a request signs: domain, itself, its number, and the request as it came.
    pub fn digest(&self, domain: &str) -> [u8; 32] {
        let lp = |s: &str| (s.len() as u32).to_be_bytes();
        sha256(&[
            labels::ENTRY.as_bytes(),
            &(domain.len() as u16).to_be_bytes(),
            domain.as_bytes(),
            &self.origin.0,
            &self.number.to_be_bytes(),
            &lp(&self.method),
            self.method.as_bytes(),
            &lp(&self.path),
            self.path.as_bytes(),
            &lp(&self.authorization),
            self.authorization.as_bytes(),
            &sha256(&[&self.body]),
        ])
    }
}

/// How much of what a node took is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    /// Node that took it.
    pub origin: PrincipalId,
    /// All up to this number.
    pub up_to: u64,
}

/// `POST /v1/replica`, between nodes: what the sender knows, and what it thinks the other lacks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replicate {
    /// What the sender knows.
    pub known: Vec<Known>,
    /// By origin, in the order of their numbers.
    pub entries: Vec<Entry>,
}

/// Answer to [`Replicate`]: what the other knows by then, and what the sender lacks of it (as much as fits).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replicated {
    /// What is known.
    pub known: Vec<Known>,
    /// What the sender lacks.
    pub entries: Vec<Entry>,
}

/// The authority's word that the gate's scalars are shared anew: nodes are added, replaced, left out or refreshed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resharing {
    /// Domain.
    pub domain: String,
    /// The sharing that it begins with.
    pub from: Sharing,
    /// The sharing that it leads to.
    pub to: Sharing,
    /// The nodes that then are the gate.
    pub nodes: Vec<Server>,
    /// As many of the present nodes as it takes: who deals.
    pub dealers: Vec<u16>,
    /// When it was signed, Unix milliseconds.
    pub made_at: u64,
}

impl Document for Resharing {
    const KIND: &'static str = "resharing";
}

/// `POST /v1/reshare`: begins a resharing at a node, or, without one, gives up what was begun. From the authority.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reshare {
    /// The resharing, and the roster as it is now, for a node that is new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begin: Option<BeginResharing>,
}

/// What it takes to begin a resharing.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BeginResharing {
    /// What leads where.
    pub resharing: Signed<Resharing>,
    /// The roster in force.
    pub roster: Signed<Roster>,
}

/// `POST /v1/reshare/state`, for the authority: how far a node is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResharingState {
    /// Rows with shares that it has taken in.
    pub taken: u64,
    /// When it has taken in all: the hash of every row's key and commitments, the same at every node.
    pub complete: Option<B32>,
    /// Why it does not go on.
    pub failed: Option<String>,
}

/// Which rows a resharing moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dealt {
    /// Bridge scalars, by member.
    Bridges,
    /// Re-encryption scalars, by grant.
    Grants,
}

/// `POST /v1/reshare/deal`, from a node that receives to one that deals.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deal {
    /// Epoch that it leads to.
    pub epoch: u32,
    /// Which rows.
    pub of: Dealt,
    /// Only those after this key.
    pub after: Option<ByteBuf>,
}

/// Answer to [`Deal`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DealtRows {
    /// Key, and what the dealer commits to, of each row.
    pub rows: Vec<DealtRow>,
    /// Shares for the node that asks, in that order, wrapped.
    pub sealed: Sealed,
    /// Whether there are more.
    pub more: bool,
}

/// One row, dealt again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DealtRow {
    /// Its key.
    pub key: ByteBuf,
    /// What its shares so far are checked against.
    pub before: ByteBuf,
    /// What this dealer's new shares are checked against.
    pub commitments: ByteBuf,
}

/// `POST /v1/reshare/rows`, from a node that is new: rows of one table, all but scalars.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CopyRows {
    /// Name of the table.
    pub table: String,
    /// Only those after this key.
    pub after: Option<ByteBuf>,
}

/// Answer to [`CopyRows`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CopiedRows {
    /// Key and value.
    pub rows: Vec<(ByteBuf, ByteBuf)>,
    /// Whether there are more.
    pub more: bool,
}

#[cfg(test)]
mod tests {
    use sealdex_crypto::{Identity, IdentitySeed};

    use super::*;

    fn servers(numbers: &[Option<u16>]) -> Vec<Server> {
        let server = |(n, node): (u8, &Option<u16>)| {
            let keys = Identity::from_seed(&IdentitySeed::from_bytes(&[n; 32])).public();
            Server { id: keys.id(), keys: (&keys).into(), url: format!("http://127.0.0.1:{n}"), node: *node }
        };
        (1..).zip(numbers).map(server).collect()
    }

    #[test]
    fn a_gate_takes_more_than_half_of_its_nodes() {
        let three = servers(&[Some(1), Some(2), Some(5)]);
        let of = |threshold| Nodes::new(Sharing { threshold, epoch: 0 }, &three).map(|n| n.numbers());
        assert_eq!(of(2), Ok(vec![1, 2, 5]));
        assert_eq!(of(3), Ok(vec![1, 2, 5]));
        for threshold in [0, 1, 4] {
            assert_eq!(of(threshold), Err(NodesError::Majority { threshold, nodes: 3 }));
        }
        for bad in [[Some(1), None], [Some(1), Some(1)], [Some(0), Some(1)]] {
            let made = Nodes::new(Sharing { threshold: 2, epoch: 0 }, &servers(&bad));
            assert_eq!(made, Err(NodesError::Numbers), "{bad:?}");
        }
    }

    #[test]
    fn shares_are_bound_to_all_they_belong_to() {
        let of = shares_context("north", 1, 2, &[b"a", b"b"]);
        assert_eq!(of, shares_context("north", 1, 2, &[b"a", b"b"]));
        for other in [
            shares_context("south", 1, 2, &[b"a", b"b"]),
            shares_context("north", 2, 2, &[b"a", b"b"]),
            shares_context("north", 1, 1, &[b"a", b"b"]),
            shares_context("north", 1, 2, &[b"b", b"a"]),
            shares_context("north", 1, 2, &[b"ab"]),
        ] {
            assert_ne!(of, other);
        }
    }
}
