//! Scalars dealt to the nodes of a gate (spec section 5, threshold gate), by whoever makes them: an owner who grants,
//! the authority that enrols.

use sealdex_crypto::{Scalar, sharing::deal, wrap};
use sealdex_wire::{
    RawPoint,
    group::Sealed,
    threshold::{NodeShares, Nodes, shares_context},
};
use zeroize::Zeroizing;

/// A scalar dealt to nodes.
pub struct Dealt {
    /// Share of each node, in their order.
    shares: Vec<Scalar>,
    /// What they are checked against, one point for each node it takes; the first belongs to the scalar.
    pub commitments: Vec<RawPoint>,
}

/// Deals a scalar to a gate's nodes. As many base multiplications as it takes nodes.
pub fn deal_to(nodes: &Nodes, scalar: &Scalar) -> Dealt {
    #[allow(clippy::expect_used, reason = "nodes were checked when they were made of the roster")]
    let dealt = deal(scalar, nodes.threshold, &nodes.numbers(), &mut rand::rng()).expect("numbered nodes");
    let points = dealt.commitments.to_bytes();
    Dealt {
        shares: dealt.shares.into_iter().map(|(_, share)| share).collect(),
        commitments: points.as_chunks().0.iter().map(|p| RawPoint(*p)).collect(),
    }
}

/// Wraps shares for each node, bound to the documents they belong to, in their order. One wrapping a node.
pub fn seal_shares(nodes: &Nodes, domain: &str, dealt: &[(&[u8], &Dealt)]) -> Vec<NodeShares> {
    if dealt.is_empty() {
        return Vec::new();
    }
    let documents: Vec<&[u8]> = dealt.iter().map(|(document, _)| *document).collect();
    let seal = |(at, node): (usize, &sealdex_wire::threshold::Node)| {
        let mut shares = Zeroizing::new(Vec::with_capacity(32 * dealt.len()));
        dealt.iter().for_each(|(_, d)| shares.extend_from_slice(&*d.shares[at].to_bytes()));
        let context = shares_context(domain, nodes.epoch, node.number, &documents);
        let sealed = Sealed(wrap(&node.keys.enc(), &context, &shares, &mut rand::rng()));
        NodeShares { node: node.number, epoch: nodes.epoch, sealed }
    };
    nodes.nodes.iter().enumerate().map(seal).collect()
}
