//! Trees to anchor: small ones with different entries, and huge ones whose entries are all the same.

use sealdex_crypto::log::{Hash, Tree, leaf_hash, node_hash};

/// The log of `size` entries; entries from `forked_at` on are not those of the honest one.
pub(crate) fn tree(size: u64, forked_at: u64) -> Tree {
    (0..size).map(|i| leaf(i, i >= forked_at)).collect()
}

pub(crate) fn honest(size: u64) -> Tree {
    tree(size, size)
}

pub(crate) fn leaf(index: u64, forked: bool) -> Hash {
    leaf_hash(format!("entry {index}{}", if forked { " of the fork" } else { "" }).as_bytes())
}

/// A log of any size whose entries are all the same, so that a subtree is told by its size.
pub(crate) struct Uniform {
    /// Root of `2^k` entries.
    complete: Vec<Hash>,
}

impl Uniform {
    pub(crate) fn new() -> Self {
        let mut complete = vec![leaf_hash(b"the same")];
        for k in 0..63 {
            complete.push(node_hash(&complete[k], &complete[k]));
        }
        Self { complete }
    }

    pub(crate) fn leaf(&self) -> Hash {
        self.complete[0]
    }

    pub(crate) fn root(&self, size: u64) -> Hash {
        if size.is_power_of_two() {
            return self.complete[size.ilog2() as usize];
        }
        let left = split(size);
        node_hash(&self.root(left), &self.root(size - left))
    }

    /// RFC 9162, 2.1.3.1.
    pub(crate) fn inclusion(&self, index: u64, size: u64) -> Vec<Hash> {
        if size == 1 {
            return vec![];
        }
        let left = split(size);
        let (mut proof, sibling) = if index < left {
            (self.inclusion(index, left), size - left)
        } else {
            (self.inclusion(index - left, size - left), left)
        };
        proof.push(self.root(sibling));
        proof
    }

    /// RFC 9162, 2.1.4.1.
    pub(crate) fn consistency(&self, old: u64, new: u64) -> Vec<Hash> {
        self.subproof(old, new, true)
    }

    fn subproof(&self, old: u64, new: u64, known: bool) -> Vec<Hash> {
        if old == new {
            return if known { vec![] } else { vec![self.root(new)] };
        }
        let left = split(new);
        let (mut proof, sibling) = if old <= left {
            (self.subproof(old, left, known), new - left)
        } else {
            (self.subproof(old - left, new - left, false), left)
        };
        proof.push(self.root(sibling));
        proof
    }
}

fn split(size: u64) -> u64 {
    1 << (size - 1).ilog2()
}
