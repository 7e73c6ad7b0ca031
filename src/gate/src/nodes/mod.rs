//! A gate of several nodes (spec section 5, threshold gate): this one among the others.
//!
//! Every scalar of such a gate is shared: this node holds `f(j)`, and what a member needs is put together from as many
//! nodes' results as the roster says. Each node has the whole of the gate's other state and decides by itself. Requests
//! that change it reach all nodes ([`replica`], [`exchange`]); what a member asks goes to a lead and, in parts, to the others
//! ([`turns`], [`partials`]); the scalars can be shared anew ([`resharing`]).

mod dealing;
pub mod exchange;
pub mod partials;
mod receiving;
pub(crate) mod redone;
pub mod replica;
pub mod resharing;
pub mod turns;
pub mod writes;

use sealdex_crypto::{PrincipalId, Scalar, unwrap};
use sealdex_wire::{
    ProblemType,
    threshold::{Node, NodeShares, Nodes, shares_context},
};
use zeroize::Zeroizing;

use crate::{gate::Gate, members::Members, store::ConsentStore};

/// Why a node refuses what only a gate of several nodes, or only a single gate, is asked for.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum NodeRefusal {
    /// A single gate is asked for its part.
    #[error("this gate is a single one: ask it without other nodes' turns")]
    Single,
    /// A node is asked as a single gate.
    #[error(
        "this gate has several nodes, {threshold} of which must agree: ask with the turns of {} others (a newer sealdex does)", threshold - 1
    )]
    Shared {
        /// How many it takes.
        threshold: u16,
    },
    /// Shares for other nodes, another epoch, or of another number.
    #[error(
        "no shares came for node {node} in epoch {epoch} of the gate's sharing: fetch the roster and send it again"
    )]
    Shares {
        /// Node.
        node: u16,
        /// Epoch.
        epoch: u32,
    },
    /// Another epoch.
    #[error(
        "the gate's scalars are in epoch {own} of their sharing, the request is for epoch {found}: fetch the roster"
    )]
    Epoch {
        /// In force.
        own: u32,
        /// Asked for.
        found: u32,
    },
    /// Turns that do not make a request one that enough nodes agreed to.
    #[error("{0}")]
    Turn(&'static str),
    /// A node whose part is not what it should be.
    #[error("node {node} of the gate has or sent a wrong result ({what}): ask without it, and tell who runs the gate")]
    WrongResult {
        /// Node.
        node: u16,
        /// What was wrong.
        what: &'static str,
    },
    /// Only other nodes may.
    #[error("{0} is no node of this gate")]
    NotANode(PrincipalId),
    /// It has not heard from enough others.
    #[error(
        "node {node} is out of touch: it has not heard from {needed} other nodes lately, so it may lack what was revoked; ask another node"
    )]
    OutOfTouch {
        /// This node.
        node: u16,
        /// Others it takes.
        needed: u16,
    },
    /// Too few nodes have it.
    #[error(
        "kept by {kept} of the {threshold} nodes it takes, and handed on when others answer: send it again to learn when it holds"
    )]
    NotYet {
        /// Nodes that have it.
        kept: usize,
        /// How many it takes.
        threshold: u16,
    },
    /// Nothing changes while scalars are shared anew.
    #[error("the gate's scalars are being shared anew: nothing is changed until that is done; try again")]
    Resharing,
    /// A resharing that does not follow from how things are.
    #[error("the resharing was refused: {0}")]
    BadResharing(String),
    /// What another node sent cannot be used.
    #[error("what node {0} sent is not usable: {1}")]
    Peer(PrincipalId, String),
}

impl NodeRefusal {
    pub(crate) fn problem_type(&self) -> ProblemType {
        match self {
            Self::Single | Self::Turn(_) => ProblemType::Malformed,
            Self::Shared { .. } | Self::Shares { .. } | Self::Epoch { .. } | Self::BadResharing(_) => {
                ProblemType::Conflict
            }
            Self::NotANode(_) => ProblemType::Forbidden,
            Self::OutOfTouch { .. } | Self::NotYet { .. } | Self::Resharing => ProblemType::Overloaded,
            Self::WrongResult { .. } | Self::Peer(..) => ProblemType::Upstream,
        }
    }
}

impl<S: ConsentStore> Gate<S> {
    /// This node among the nodes of the gate; none when it is a single one.
    pub(crate) fn node<'m>(&self, members: &'m Members) -> Option<(&'m Node, &'m Nodes)> {
        let nodes = members.nodes()?;
        Some((nodes.get(self.secrets.identity().id())?, nodes))
    }

    /// This node and the others, or a refusal.
    pub(crate) fn node_of<'m>(&self, members: &'m Members) -> Result<(&'m Node, &'m Nodes), NodeRefusal> {
        self.node(members).ok_or(NodeRefusal::Single)
    }

    /// Refuses what is asked of a single gate where there are several nodes.
    pub(crate) fn single(&self, members: &Members) -> Result<(), NodeRefusal> {
        match members.nodes() {
            None => Ok(()),
            Some(nodes) => Err(NodeRefusal::Shared { threshold: nodes.threshold }),
        }
    }

    /// This node's shares of what came with documents, as many as there are documents. None on a single gate.
    pub(crate) fn own_shares(
        &self,
        members: &Members,
        shares: &[NodeShares],
        documents: &[&[u8]],
    ) -> Result<Option<Vec<Scalar>>, NodeRefusal> {
        let Some((own, nodes)) = self.node(members) else {
            return if shares.is_empty() { Ok(None) } else { Err(NodeRefusal::Single) };
        };
        if documents.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let refused = || NodeRefusal::Shares { node: own.number, epoch: nodes.epoch };
        let sent = shares.iter().find(|s| s.node == own.number && s.epoch == nodes.epoch).ok_or_else(refused)?;
        let context = shares_context(self.secrets.domain(), nodes.epoch, own.number, documents);
        let opened = unwrap(self.secrets.identity().enc_secret(), &context, &sent.sealed.0).map_err(|_| refused())?;
        scalars(&opened, documents.len()).map(Some).ok_or_else(refused)
    }
}

/// As many scalars as expected, 32 bytes each.
pub(crate) fn scalars(bytes: &Zeroizing<Vec<u8>>, count: usize) -> Option<Vec<Scalar>> {
    let (chunks, rest) = bytes.as_chunks::<32>();
    if chunks.len() != count || !rest.is_empty() {
        return None;
    }
    chunks.iter().map(|c| Scalar::from_bytes(c).ok()).collect()
}
