//! RFC 6962 trees kept as one flat array of nodes, and proofs for several leaves at once.
//!
//! A tree of `n` leaves has `n >> k` complete subtrees of `2^k` leaves; the array holds them level by
//! level, leaves first. What is not complete, at the right edge, is put together from these.

use rayon::prelude::*;
use sealdex_crypto::log::{Hash, empty_root, node_hash};

/// Fewer nodes are not shared among cores.
const FEW: usize = 256;

/// Why leaves are not in a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// Places that do not ascend or are beyond the tree.
    #[error("the places of the proof do not ascend within the tree")]
    Places,
    /// Too few or too many hashes for these leaves.
    #[error("the proof has another number of hashes than its leaves ask for")]
    Length,
    /// Another root.
    #[error("the proof leads to another root")]
    Root,
}

/// A tree in memory; about 64 bytes a leaf.
#[derive(Debug, Clone)]
pub struct FlatTree {
    size: u64,
    nodes: Vec<Hash>,
}

impl FlatTree {
    /// Over these leaf hashes. One hash a leaf, on all cores.
    #[must_use]
    pub fn new(leaves: Vec<Hash>) -> Self {
        let size = leaves.len() as u64;
        let mut nodes = leaves;
        let (mut start, mut length) = (0, nodes.len());
        while length > 1 {
            let pairs = nodes[start..start + length].as_chunks().0;
            let above: Vec<Hash> = pairs.par_iter().with_min_len(FEW).map(|[l, r]| node_hash(l, r)).collect();
            nodes.extend(above);
            start += length;
            length /= 2;
        }
        Self { size, nodes }
    }

    /// Leaves.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// All nodes, in the order of the array.
    #[must_use]
    pub fn nodes(&self) -> &[Hash] {
        &self.nodes
    }

    /// Its root.
    #[must_use]
    pub fn root(&self) -> Hash {
        match self.size {
            0 => empty_root(),
            size => {
                let read = &mut |at: u64| Ok::<_, std::convert::Infallible>(self.nodes[at as usize]);
                subtree(size, 0, size, read).unwrap_or_else(|e| match e {})
            }
        }
    }
}

/// Place in the array of complete subtree `i` of `2^level` leaves.
fn place(size: u64, level: u32, i: u64) -> u64 {
    (0..level).map(|l| size >> l).sum::<u64>() + i
}

/// Largest power of two below `length`, which is at least 2.
fn split(length: u64) -> u64 {
    1 << (length - 1).ilog2()
}

fn subtree<E>(size: u64, start: u64, end: u64, read: &mut impl FnMut(u64) -> Result<Hash, E>) -> Result<Hash, E> {
    let length = end - start;
    if length.is_power_of_two() {
        let level = length.ilog2();
        return read(place(size, level, start >> level));
    }
    let middle = start + split(length);
    Ok(node_hash(&subtree(size, start, middle, read)?, &subtree(size, middle, end, read)?))
}

/// What else it takes to get from the leaves at `places` (ascending, within the tree) to the root: the
/// largest subtrees without any of them, from left to right. `read` gives a node of the array.
///
/// # Errors
/// Those of `read`.
pub fn prove<E>(size: u64, places: &[u64], read: &mut impl FnMut(u64) -> Result<Hash, E>) -> Result<Vec<Hash>, E> {
    let mut out = Vec::new();
    if size > 0 {
        walk(size, 0, size, places, read, &mut out)?;
    }
    Ok(out)
}

fn walk<E>(
    size: u64,
    start: u64,
    end: u64,
    places: &[u64],
    read: &mut impl FnMut(u64) -> Result<Hash, E>,
    out: &mut Vec<Hash>,
) -> Result<(), E> {
    if places.is_empty() {
        out.push(subtree(size, start, end, read)?);
    } else if end - start > 1 {
        let middle = start + split(end - start);
        let (left, right) = places.split_at(places.partition_point(|p| *p < middle));
        walk(size, start, middle, left, read, out)?;
        walk(size, middle, end, right, read, out)?;
    }
    Ok(())
}

/// Checks that these leaves, by ascending place, are in the tree with this root.
///
/// # Errors
/// [`TreeError`].
pub fn verify(size: u64, leaves: &[(u64, Hash)], hashes: &[Hash], root: &Hash) -> Result<(), TreeError> {
    let ascending = leaves.windows(2).all(|w| w[0].0 < w[1].0);
    if !ascending || leaves.last().is_some_and(|(place, _)| *place >= size) {
        return Err(TreeError::Places);
    }
    let mut rest = hashes.iter();
    let found = if size == 0 { empty_root() } else { fold(0, size, leaves, &mut rest)? };
    if rest.next().is_some() {
        return Err(TreeError::Length);
    }
    if found == *root { Ok(()) } else { Err(TreeError::Root) }
}

fn fold(
    start: u64,
    end: u64,
    leaves: &[(u64, Hash)],
    rest: &mut std::slice::Iter<'_, Hash>,
) -> Result<Hash, TreeError> {
    match leaves {
        [] => rest.next().copied().ok_or(TreeError::Length),
        [(_, leaf)] if end - start == 1 => Ok(*leaf),
        _ => {
            let middle = start + split(end - start);
            let (left, right) = leaves.split_at(leaves.partition_point(|(p, _)| *p < middle));
            Ok(node_hash(&fold(start, middle, left, rest)?, &fold(middle, end, right, rest)?))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;
    use sealdex_crypto::log::{Tree, leaf_hash};

    use super::*;

    fn leaves(n: u64) -> Vec<Hash> {
        (0..n).map(|i| leaf_hash(&i.to_be_bytes())).collect()
    }

    #[test]
    fn roots_are_those_of_rfc_6962() {
        for n in 0..130 {
            let known: Tree = leaves(n).into_iter().collect();
            assert_eq!(FlatTree::new(leaves(n)).root(), known.root(), "{n} leaves");
        }
    }

    proptest! {
        #[test]
        fn any_set_of_leaves_is_proved_and_no_other(size in 1_u64..200, seed in any::<u64>(), bend in any::<u16>()) {
            let tree = FlatTree::new(leaves(size));
            let mut read = |at: u64| Ok::<_, Infallible>(tree.nodes()[at as usize]);
            let places: Vec<u64> = (0..size).filter(|i| (seed.rotate_left((i % 64) as u32) & 3) == 0).collect();
            let proof = prove(size, &places, &mut read).unwrap();
            let chosen: Vec<(u64, Hash)> = places.iter().map(|p| (*p, leaves(size)[*p as usize])).collect();
            prop_assert_eq!(verify(size, &chosen, &proof, &tree.root()), Ok(()));
            // Another leaf, another hash, one fewer, one more, another place: none holds.
            if !chosen.is_empty() {
                let mut wrong = chosen.clone();
                let at = usize::from(bend) % wrong.len();
                wrong[at].1[0] ^= 1;
                prop_assert_eq!(verify(size, &wrong, &proof, &tree.root()), Err(TreeError::Root));
                let mut fewer = chosen.clone();
                fewer.remove(at);
                prop_assert!(verify(size, &fewer, &proof, &tree.root()).is_err());
                let mut beyond = chosen.clone();
                beyond.last_mut().unwrap().0 = size;
                prop_assert_eq!(verify(size, &beyond, &proof, &tree.root()), Err(TreeError::Places));
            }
            let mut more = proof.clone();
            more.push([0; 32]);
            prop_assert_eq!(verify(size, &chosen, &more, &tree.root()), Err(TreeError::Length));
            if !proof.is_empty() {
                let at = usize::from(bend) % proof.len();
                let mut bent = proof.clone();
                bent[at][31] ^= 1;
                prop_assert_eq!(verify(size, &chosen, &bent, &tree.root()), Err(TreeError::Root));
                prop_assert!(verify(size, &chosen, &proof[1..], &tree.root()).is_err());
            }
        }
    }
}
