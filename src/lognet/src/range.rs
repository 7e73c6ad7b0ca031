//! The compact form of a tree that only grows: the roots of its largest complete subtrees.

use sealdex_crypto::log::{Hash, empty_root, node_hash};

/// A tree (RFC 6962) of which only the root is asked; at most 64 hashes.
#[derive(Clone, Default)]
pub(crate) struct CompactRange {
    size: u64,
    /// Roots of the complete subtrees, one for each bit of `size`, largest first.
    peaks: Vec<Hash>,
}

impl CompactRange {
    /// Number of entries.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Appends an entry's hash.
    pub(crate) fn push(&mut self, leaf: Hash) {
        let mut hash = leaf;
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                hash = node_hash(&left, &hash);
            }
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    /// Root of the tree.
    pub(crate) fn root(&self) -> Hash {
        let peaks = self.peaks.iter().rev().copied();
        peaks.reduce(|right, left| node_hash(&left, &right)).unwrap_or_else(empty_root)
    }
}

#[cfg(test)]
mod tests {
    use sealdex_crypto::log::{Tree, leaf_hash};

    use super::CompactRange;

    #[test]
    fn its_root_is_that_of_the_whole_tree_at_every_size() {
        let (mut range, mut tree) = (CompactRange::default(), Tree::new());
        assert_eq!(range.root(), tree.root());
        for i in 0..300_u64 {
            let leaf = leaf_hash(&i.to_be_bytes());
            range.push(leaf);
            tree.push(leaf);
            assert_eq!((range.size(), range.root()), (i + 1, tree.root()));
        }
    }
}
