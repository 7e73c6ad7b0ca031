//! One batch of the store against what its provider signed.

use std::collections::{HashMap, HashSet};

use sealdex_crypto::{
    RecordId,
    log::{Hash, leaf_hash},
};
use sealdex_ledger::{
    LedgerView, RecordLeaf, part_hash,
    run::{PAIR, Pair, pages},
    tree::FlatTree,
};

use super::{Verified, VerifyError, index::Sums};
use crate::store::{Snapshot, StoreError, TreeKind};

/// Records read at once.
const STEP: usize = 256;

/// Checks its run, its records' tree, and every live record of it.
pub(super) fn check_batch(
    snapshot: &dyn Snapshot,
    view: &LedgerView,
    seq: u64,
    index: &mut Sums,
    out: &mut Verified,
) -> Result<(), VerifyError> {
    let Some(batch) = view.batch(seq) else { return Ok(()) };
    let of = format!("batch {seq} of provider {}", batch.provider);
    let pairs = run(snapshot, seq, batch.pairs, &batch.run_root, &of, out)?;
    let leaves = leaves(snapshot, seq, batch.records, &batch.records_root, &of, out)?;
    let live = |id| !view.has_ended(id, batch.hospital, view.size());
    // Which terms a record has, as it was signed.
    let mut signed: HashMap<RecordId, Vec<[u8; 16]>> = HashMap::new();
    for pair in &pairs {
        let (term, id) = split(pair);
        if live(id) {
            index.add_signed(&term, id);
            signed.entry(id).or_default().push(term);
        }
    }
    let change = snapshot.change(seq)?.unwrap_or_default();
    let mut seen = HashSet::new();
    for ids in change.added.chunks(STEP) {
        let wanted: Vec<RecordId> = ids.iter().copied().filter(|id| live(*id)).collect();
        for (id, sealed) in wanted.iter().zip(snapshot.sealed(&wanted, usize::MAX)?) {
            seen.insert(*id);
            check_record(snapshot, *id, sealed, &of, &leaves, signed.remove(id).unwrap_or_default(), out)?;
        }
        for id in ids.iter().filter(|id| !live(**id)) {
            if snapshot.record(*id)?.is_some_and(|r| r.seq == seq) {
                out.differs(format!("record {id} of {of} was replaced or ended, and is still stored"));
            }
        }
    }
    for id in signed.into_keys().filter(|id| !seen.contains(id)) {
        out.differs(format!("record {id} of {of} is missing from the store"));
    }
    Ok(())
}

fn check_record(
    snapshot: &dyn Snapshot,
    id: RecordId,
    sealed: Option<Vec<u8>>,
    of: &str,
    leaves: &[Hash],
    mut signed: Vec<[u8; 16]>,
    out: &mut Verified,
) -> Result<(), VerifyError> {
    let (Some(record), Some(sealed)) = (snapshot.record(id)?, sealed) else {
        out.differs(format!("record {id} of {of} is missing from the store"));
        return Ok(());
    };
    out.records += 1;
    let leaf = RecordLeaf {
        id,
        origin: record.origin,
        sealed: part_hash(&sealed),
        tag: part_hash(&record.tag),
        terms: part_hash(&record.terms),
    };
    let kept = RecordLeaf { sealed: record.sealed_hash, ..leaf };
    if leaves.get(record.place as usize) == Some(&leaf.hash()) {
        return Ok(());
    }
    // Which part it is: the hash that was kept beside it and the signed run tell.
    let mut terms: Vec<[u8; 16]> = record.terms.as_chunks().0.to_vec();
    terms.sort_unstable();
    terms.dedup();
    signed.sort_unstable();
    let part = if terms != signed {
        "index entries"
    } else if leaves.get(record.place as usize) == Some(&kept.hash()) {
        "sealed bytes"
    } else {
        "routing tag or origin"
    };
    out.differs(format!("record {id} of {of}: its {part} are not what was signed"));
    Ok(())
}

/// The pairs of a run, if they lead to its root.
fn run(
    snapshot: &dyn Snapshot,
    seq: u64,
    count: u64,
    root: &Hash,
    of: &str,
    out: &mut Verified,
) -> Result<Vec<Pair>, VerifyError> {
    let (mut pairs, mut hashes) = (Vec::new(), Vec::new());
    for page in 0..pages(count) {
        match snapshot.page(seq, page) {
            Ok(bytes) => {
                hashes.push(leaf_hash(&bytes));
                pairs.extend_from_slice(bytes.as_chunks::<PAIR>().0);
            }
            Err(StoreError::Damaged(_)) => {
                out.differs(format!("page {page} of the index of {of} is missing"));
                return Ok(Vec::new());
            }
            Err(other) => return Err(other.into()),
        }
    }
    out.pairs += pairs.len() as u64;
    let tree = FlatTree::new(hashes);
    if tree.root() != *root {
        out.differs(format!("the index entries of {of} are not what was signed"));
        return Ok(Vec::new());
    }
    check_nodes(snapshot, seq, TreeKind::Run, &tree, of, out);
    Ok(pairs)
}

/// The leaf hashes of a batch, if they lead to its root.
fn leaves(
    snapshot: &dyn Snapshot,
    seq: u64,
    count: u32,
    root: &Hash,
    of: &str,
    out: &mut Verified,
) -> Result<Vec<Hash>, VerifyError> {
    let mut hashes = Vec::with_capacity(count as usize);
    for place in 0..u64::from(count) {
        match snapshot.node(seq, TreeKind::Records, place) {
            Ok(hash) => hashes.push(hash),
            Err(StoreError::Damaged(_)) => {
                out.differs(format!("the tree over the records of {of} is missing or damaged"));
                return Ok(Vec::new());
            }
            Err(other) => return Err(other.into()),
        }
    }
    let tree = FlatTree::new(hashes);
    if tree.root() != *root {
        out.differs(format!("the hashes of the records of {of} are not what was signed"));
    }
    check_nodes(snapshot, seq, TreeKind::Records, &tree, of, out);
    Ok(tree.nodes()[..count as usize].to_vec())
}

/// Inner nodes, which proofs are made from.
fn check_nodes(snapshot: &dyn Snapshot, seq: u64, kind: TreeKind, tree: &FlatTree, of: &str, out: &mut Verified) {
    let differs = |(place, node): (u64, &Hash)| snapshot.node(seq, kind, place).ok().as_ref() != Some(node);
    let wrong = (0..).zip(tree.nodes()).filter(|n| differs(*n)).count();
    if wrong > 0 {
        let what = match kind {
            TreeKind::Run => "index entries",
            TreeKind::Records => "records",
        };
        out.differs(format!(
            "{wrong} nodes of the tree over the {what} of {of} are damaged: proofs from it would fail"
        ));
    }
}

pub(super) fn split(pair: &Pair) -> ([u8; 16], RecordId) {
    let (mut term, mut id) = ([0; 16], [0; 16]);
    term.copy_from_slice(&pair[..16]);
    id.copy_from_slice(&pair[16..]);
    (term, RecordId(id))
}
