//! The log's hash tree (section 11; RFC 6962, proofs as in RFC 9162).

use sha2::{Digest, Sha256};

use crate::labels;

/// A node or root of the tree.
pub type Hash = [u8; 32];

/// A proof that cannot be made or does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// No such leaf or no such smaller tree.
    #[error("{index} is not within a tree of {size} entries")]
    OutOfRange {
        /// What was asked for.
        index: u64,
        /// Entries there are.
        size: u64,
    },
    /// Every tree extends the empty one, so that proves nothing.
    #[error("there is no consistency proof from the empty tree")]
    FromEmpty,
    /// The proof has another number of hashes than the tree's shape asks for.
    #[error("the proof has {found} hashes, the tree's shape asks for {expected}")]
    ProofLength {
        /// Hashes the shape asks for.
        expected: usize,
        /// Hashes there are.
        found: usize,
    },
    /// The proof leads to another root.
    #[error("the proof leads to another root")]
    RootMismatch,
}

/// Hash of an entry.
#[must_use]
pub fn leaf_hash(entry: &[u8]) -> Hash {
    Sha256::new().chain_update([labels::LOG_LEAF]).chain_update(entry).finalize().into()
}

/// Hash of two neighbours.
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([labels::LOG_NODE]).chain_update(left).chain_update(right).finalize().into()
}

/// Root of the tree without entries.
#[must_use]
pub fn empty_root() -> Hash {
    Sha256::digest([]).into()
}

/// A growing tree that keeps every complete subtree (64 bytes an entry), so that appending
/// costs one or two hashes on average and a root or proof O(log² n).
#[derive(Clone, Default, Debug)]
pub struct Tree {
    /// `levels[k][i]` is the complete subtree over entries `i·2^k .. (i+1)·2^k`.
    levels: Vec<Vec<Hash>>,
}

impl Tree {
    /// The tree without entries.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of entries.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.levels.first().map_or(0, |leaves| leaves.len() as u64)
    }

    /// Appends an entry's [`leaf_hash`].
    pub fn push(&mut self, leaf: Hash) {
        let mut hash = leaf;
        for level in 0.. {
            if self.levels.len() == level {
                self.levels.push(Vec::new());
            }
            let nodes = &mut self.levels[level];
            nodes.push(hash);
            match nodes.as_slice() {
                [.., left, right] if nodes.len().is_multiple_of(2) => {
                    hash = node_hash(left, right);
                }
                _ => break,
            }
        }
    }

    /// Root of the whole tree.
    #[must_use]
    pub fn root(&self) -> Hash {
        if self.size() == 0 { empty_root() } else { self.subtree(0, self.size()) }
    }

    /// Root of the tree as it was when it had `size` entries.
    ///
    /// # Errors
    /// [`LogError::OutOfRange`] if it never had that many.
    pub fn root_at(&self, size: u64) -> Result<Hash, LogError> {
        match size {
            0 => Ok(empty_root()),
            _ if size > self.size() => Err(self.out_of_range(size)),
            _ => Ok(self.subtree(0, size)),
        }
    }

    /// Proof that entry `index` is in the tree of the first `size` entries, leaf upwards.
    ///
    /// # Errors
    /// [`LogError::OutOfRange`].
    pub fn inclusion_proof(&self, index: u64, size: u64) -> Result<Vec<Hash>, LogError> {
        if size > self.size() {
            return Err(self.out_of_range(size));
        }
        if index >= size {
            return Err(LogError::OutOfRange { index, size });
        }
        let (mut start, mut end) = (0, size);
        let mut proof = Vec::new();
        while end - start > 1 {
            let middle = start + split_point(end - start);
            if index < middle {
                proof.push(self.subtree(middle, end));
                end = middle;
            } else {
                proof.push(self.subtree(start, middle));
                start = middle;
            }
        }
        proof.reverse();
        Ok(proof)
    }

    /// Proof that the tree of `old` entries is a prefix of that of `new` entries. Empty if they
    /// are the same.
    ///
    /// # Errors
    /// [`LogError`] unless `old ≤ new ≤ size` and `old` is not 0 (or `new` is too).
    pub fn consistency_proof(&self, old: u64, new: u64) -> Result<Vec<Hash>, LogError> {
        if new > self.size() {
            return Err(self.out_of_range(new));
        }
        if old > new {
            return Err(LogError::OutOfRange { index: old, size: new });
        }
        if old == new {
            return Ok(Vec::new());
        }
        if old == 0 {
            return Err(LogError::FromEmpty);
        }
        let (mut start, mut end) = (0, new);
        let mut proof = Vec::new();
        while end != old {
            let middle = start + split_point(end - start);
            if old <= middle {
                proof.push(self.subtree(middle, end));
                end = middle;
            } else {
                proof.push(self.subtree(start, middle));
                start = middle;
            }
        }
        // The verifier knows the old root; it needs this node only if it is not that root.
        if start != 0 {
            proof.push(self.subtree(start, end));
        }
        proof.reverse();
        Ok(proof)
    }

    /// Hash over entries `start..end`, where `start` is a multiple of a power of two that is at
    /// least `end - start`, as every subtree the proofs name is.
    fn subtree(&self, start: u64, end: u64) -> Hash {
        let length = end - start;
        if length.is_power_of_two() {
            let level = length.ilog2();
            return self.levels[level as usize][(start >> level) as usize];
        }
        let middle = start + split_point(length);
        node_hash(&self.subtree(start, middle), &self.subtree(middle, end))
    }

    fn out_of_range(&self, index: u64) -> LogError {
        LogError::OutOfRange { index, size: self.size() }
    }
}

impl FromIterator<Hash> for Tree {
    fn from_iter<I: IntoIterator<Item = Hash>>(leaves: I) -> Self {
        let mut tree = Self::new();
        leaves.into_iter().for_each(|leaf| tree.push(leaf));
        tree
    }
}

/// Checks that `leaf` is entry `index` of the tree of `size` entries with this root.
///
/// # Errors
/// [`LogError`] if the index is outside, the proof has the wrong length or another root.
pub fn verify_inclusion(leaf: &Hash, index: u64, size: u64, proof: &[Hash], root: &Hash) -> Result<(), LogError> {
    if index >= size {
        return Err(LogError::OutOfRange { index, size });
    }
    let inner = inner_length(index, size);
    check_length(inner + border_length(index, inner), proof)?;
    let (below, border) = proof.split_at(inner);
    let hash = chain_inner(*leaf, below, index);
    match_root(&chain_border(hash, border), root)
}

/// Checks that the tree of `old_size` entries with `old_root` is a prefix of that of `new_size`
/// entries with `new_root`.
///
/// # Errors
/// [`LogError`] if the sizes are reversed, the proof has the wrong length or another root.
pub fn verify_consistency(
    old_size: u64,
    old_root: &Hash,
    new_size: u64,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<(), LogError> {
    if old_size > new_size {
        return Err(LogError::OutOfRange { index: old_size, size: new_size });
    }
    if old_size == new_size {
        check_length(0, proof)?;
        if new_size == 0 {
            match_root(&empty_root(), new_root)?;
        }
        return match_root(old_root, new_root);
    }
    if old_size == 0 {
        return Err(LogError::FromEmpty);
    }
    // The last complete subtree of the old tree is where both trees are climbed from.
    let shift = old_size.trailing_zeros() as usize;
    let inner = inner_length(old_size - 1, new_size) - shift;
    let border = border_length(old_size - 1, inner + shift);
    let given = usize::from(!old_size.is_power_of_two());
    check_length(given + inner + border, proof)?;
    let (seed, rest) = proof.split_at(given);
    let seed = seed.first().unwrap_or(old_root);
    let (below, border) = rest.split_at(inner);
    let mask = (old_size - 1) >> shift;
    let old = chain_border(chain_inner_right(*seed, below, mask), border);
    match_root(&old, old_root)?;
    let new = chain_border(chain_inner(*seed, below, mask), border);
    match_root(&new, new_root)
}

/// Largest power of two below `length`, which is at least 2.
fn split_point(length: u64) -> u64 {
    1 << (length - 1).ilog2()
}

/// Levels on which the leaf's path and the tree's right edge are still apart.
fn inner_length(index: u64, size: u64) -> usize {
    (u64::BITS - (index ^ (size - 1)).leading_zeros()) as usize
}

/// Left siblings above those levels.
fn border_length(index: u64, inner: usize) -> usize {
    index.checked_shr(inner as u32).unwrap_or(0).count_ones() as usize
}

fn chain_inner(seed: Hash, proof: &[Hash], index: u64) -> Hash {
    let climb = |hash, (level, sibling): (usize, &Hash)| match (index >> level) & 1 {
        0 => node_hash(&hash, sibling),
        _ => node_hash(sibling, &hash),
    };
    proof.iter().enumerate().fold(seed, climb)
}

/// As [`chain_inner`], but only with left siblings: the tree before anything came to the right.
fn chain_inner_right(seed: Hash, proof: &[Hash], index: u64) -> Hash {
    let climb = |hash, (level, sibling): (usize, &Hash)| match (index >> level) & 1 {
        0 => hash,
        _ => node_hash(sibling, &hash),
    };
    proof.iter().enumerate().fold(seed, climb)
}

fn chain_border(seed: Hash, proof: &[Hash]) -> Hash {
    proof.iter().fold(seed, |hash, left| node_hash(left, &hash))
}

fn check_length(expected: usize, proof: &[Hash]) -> Result<(), LogError> {
    if proof.len() == expected { Ok(()) } else { Err(LogError::ProofLength { expected, found: proof.len() }) }
}

fn match_root(computed: &Hash, root: &Hash) -> Result<(), LogError> {
    if computed == root { Ok(()) } else { Err(LogError::RootMismatch) }
}
