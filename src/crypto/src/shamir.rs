//! Threshold gate (section 5): a scalar shared over `t`-of-`m` nodes. Node `j` holds `f(j)`,
//! `f(0)` is the scalar, and results combine as `Σ λ_j·(f(j)·P)`.

use k256::{ProjectivePoint, Scalar as Inner};
use rand_core::CryptoRng;
use zeroize::Zeroize;

use crate::point::{encode_projective, public_products};
use crate::{POINT_LEN, Point, Scalar};

/// Why shares cannot be made or combined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ShamirError {
    /// A threshold of 0, or above the number of nodes.
    #[error("a threshold of {threshold} does not fit {nodes} nodes")]
    Threshold {
        /// Shares needed.
        threshold: usize,
        /// Nodes there are.
        nodes: usize,
    },
    /// Node numbers start at 1; 0 is the secret itself.
    #[error("node numbers start at 1")]
    NodeZero,
    /// Two results claim to come from one node.
    #[error("node {0} appears twice")]
    NodeTwice(u16),
    /// The coefficients make one share zero; draw others.
    #[error("the share of node {0} is zero, draw other coefficients")]
    ZeroShare(u16),
    /// It holds none of the shares that are dealt again.
    #[error("node {0} is none of the dealers")]
    NotADealer(u16),
    /// The results sum to the identity, so at least one is wrong.
    #[error("the partial results cancel out, at least one is wrong")]
    Identity,
}

/// Shares a scalar so that any `threshold` of `nodes` can act for it. Share `j` of the result
/// (counted from 0) belongs to node `j + 1`.
///
/// # Errors
/// [`ShamirError::Threshold`].
pub fn split(
    secret: &Scalar,
    threshold: u16,
    nodes: u16,
    rng: &mut (impl CryptoRng + ?Sized),
) -> Result<Vec<Scalar>, ShamirError> {
    if threshold == 0 || threshold > nodes {
        return Err(ShamirError::Threshold { threshold: threshold.into(), nodes: nodes.into() });
    }
    loop {
        let coefficients: Vec<_> = (1..threshold).map(|_| Scalar::random(rng)).collect();
        match split_with(secret, &coefficients, nodes) {
            Err(ShamirError::ZeroShare(_)) => {}
            other => return other,
        }
    }
}

/// [`split`] with the polynomial's coefficients of x, x², … given; the threshold is one more
/// than their number.
///
/// # Errors
/// [`ShamirError`] if there are fewer nodes than the threshold or a share would be zero.
pub fn split_with(secret: &Scalar, coefficients: &[Scalar], nodes: u16) -> Result<Vec<Scalar>, ShamirError> {
    if coefficients.len() >= usize::from(nodes) {
        return Err(ShamirError::Threshold { threshold: coefficients.len() + 1, nodes: nodes.into() });
    }
    (1..=nodes).map(|node| share_of(secret, coefficients, node)).collect()
}

/// `f(node)` of the polynomial with these coefficients of x⁰, and of x, x², ….
pub(crate) fn share_of(secret: &Scalar, coefficients: &[Scalar], node: u16) -> Result<Scalar, ShamirError> {
    let x = Inner::from(u64::from(node));
    let mut value = Inner::ZERO;
    for coefficient in coefficients.iter().rev() {
        value = (value + *coefficient.0) * x;
    }
    let share = Scalar::from_inner(value + *secret.0);
    value.zeroize();
    share.ok_or(ShamirError::ZeroShare(node))
}

/// Lagrange coefficients `λ_j` at 0 for these nodes, in their order.
///
/// # Errors
/// [`ShamirError`] for node 0 or a node named twice.
pub fn lagrange(nodes: &[u16]) -> Result<Vec<Scalar>, ShamirError> {
    let mut lambdas = Vec::with_capacity(nodes.len());
    for (at, &node) in nodes.iter().enumerate() {
        if node == 0 {
            return Err(ShamirError::NodeZero);
        }
        if nodes[..at].contains(&node) {
            return Err(ShamirError::NodeTwice(node));
        }
        let (mut above, mut below) = (Inner::ONE, Inner::ONE);
        for &other in nodes.iter().filter(|&&other| other != node) {
            above *= Inner::from(u64::from(other));
            below *= Inner::from(u64::from(other)) - Inner::from(u64::from(node));
        }
        // Distinct non-zero 16-bit numbers: neither product can vanish.
        let (above, below) = Scalar::from_inner(above).zip(Scalar::from_inner(below)).ok_or(ShamirError::NodeZero)?;
        lambdas.push(above.mul(&below.invert()));
    }
    Ok(lambdas)
}

/// As [`combine`], for many points at once: each node's number beside its results, in one order. One multiplication a
/// result, all of them together.
///
/// # Errors
/// As [`combine`]; also when nodes have different numbers of results.
pub fn combine_many(partials: &[(u16, &[Point])]) -> Result<Vec<[u8; POINT_LEN]>, ShamirError> {
    let nodes: Vec<u16> = partials.iter().map(|(node, _)| *node).collect();
    let lambdas = lagrange(&nodes)?;
    let count = partials.first().map_or(0, |(_, points)| points.len());
    if partials.is_empty() || partials.iter().any(|(_, points)| points.len() != count) {
        return Err(ShamirError::Identity);
    }
    let weighed =
        partials.iter().zip(&lambdas).flat_map(|((_, points), lambda)| points.iter().map(move |p| (*p, lambda)));
    let mut sums = vec![ProjectivePoint::IDENTITY; count];
    for (product, n) in public_products(weighed).iter().zip((0..count).cycle()) {
        sums[n] += product.0;
    }
    if sums.contains(&ProjectivePoint::IDENTITY) {
        return Err(ShamirError::Identity);
    }
    Ok(encode_projective(&sums))
}

/// Combines the results of `threshold` nodes, each node's number beside its `f(j)·P`, into
/// `f(0)·P`. With fewer nodes, or a wrong result among them, the point is a wrong one.
///
/// # Errors
/// [`ShamirError`] for node 0, a node named twice, no nodes, or a sum that is the identity.
pub fn combine(partials: &[(u16, Point)]) -> Result<Point, ShamirError> {
    let nodes: Vec<u16> = partials.iter().map(|(node, _)| *node).collect();
    let lambdas = lagrange(&nodes)?;
    let sum: ProjectivePoint =
        partials.iter().zip(&lambdas).map(|((_, point), lambda)| point.mul_projective(lambda)).sum();
    if sum == ProjectivePoint::IDENTITY {
        return Err(ShamirError::Identity);
    }
    Ok(Point::from_projective(&sum))
}
