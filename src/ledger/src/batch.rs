//! A batch's trees: made by the provider to sign, and by the cloud to check and to prove from.

use rayon::prelude::*;
use sealdex_crypto::log::Hash;
use sealdex_wire::ingest::UploadRecord;

use crate::{
    record::RecordLeaf,
    run::{Pair, page_hashes, pairs},
    tree::FlatTree,
};

/// Records that are not shared among cores.
const FEW: usize = 64;

/// Both trees of a batch.
pub struct BatchTrees {
    /// Leaves in the order of the batch.
    pub leaves: Vec<RecordLeaf>,
    /// Over the leaves.
    pub records: FlatTree,
    /// Sorted pairs.
    pub pairs: Vec<Pair>,
    /// Over the pages of pairs.
    pub run: FlatTree,
}

impl BatchTrees {
    /// Hashes and sorts everything once, on all cores.
    #[must_use]
    pub fn new(records: &[UploadRecord]) -> Self {
        let leaves: Vec<RecordLeaf> = records.par_iter().with_min_len(FEW).map(RecordLeaf::of).collect();
        let records_tree = FlatTree::new(leaves.par_iter().with_min_len(FEW).map(RecordLeaf::hash).collect());
        let pairs = pairs(records);
        let run = FlatTree::new(page_hashes(&pairs));
        Self { leaves, records: records_tree, pairs, run }
    }

    /// Root of the records' tree.
    #[must_use]
    pub fn records_root(&self) -> Hash {
        self.records.root()
    }

    /// Root of the run's tree.
    #[must_use]
    pub fn run_root(&self) -> Hash {
        self.run.root()
    }
}
