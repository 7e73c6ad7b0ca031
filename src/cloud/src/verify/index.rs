//! The search index against the signed index entries of live records.
//!
//! Both sides are summed up by the first two bytes of the term, under a hash nobody can foresee; only where sums differ
//! are the entries themselves compared. Memory: 2 MiB, and what differs.

use std::{
    collections::{BTreeSet, HashSet},
    hash::{BuildHasher, RandomState},
    path::Path,
};

use sealdex_crypto::RecordId;
use sealdex_ledger::{
    LedgerView,
    run::{PAIR, pages},
};

use super::{Verified, VerifyError, batch::split};
use crate::{index::each_pair, store::Snapshot};

const BUCKETS: usize = 1 << 16;

/// Sums of pairs by bucket.
pub(super) struct Sums {
    keys: [RandomState; 2],
    signed: Vec<u128>,
}

impl Sums {
    pub(super) fn new() -> Self {
        Self { keys: [RandomState::new(), RandomState::new()], signed: vec![0; BUCKETS] }
    }

    pub(super) fn add_signed(&mut self, term: &[u8; 16], id: RecordId) {
        let value = self.value(term, id);
        let sum = &mut self.signed[bucket(term)];
        *sum = sum.wrapping_add(value);
    }

    fn value(&self, term: &[u8; 16], id: RecordId) -> u128 {
        let [a, b] = &self.keys;
        u128::from(a.hash_one((term, id.0))) << 64 | u128::from(b.hash_one((term, id.0)))
    }
}

fn bucket(term: &[u8; 16]) -> usize {
    usize::from(u16::from_be_bytes([term[0], term[1]]))
}

/// Compares, and names what differs.
pub(super) fn check_index(
    dir: &Path,
    snapshot: &dyn Snapshot,
    view: &LedgerView,
    sums: &Sums,
    out: &mut Verified,
) -> Result<(), VerifyError> {
    if !dir.exists() {
        out.notes.push("there is no search index, as after a restoration: a cloud that starts makes it".into());
        return Ok(());
    }
    let mut indexed = vec![0_u128; BUCKETS];
    let mut count = 0;
    let seq = each_pair(dir, snapshot.store_id(), &mut |term, id| {
        count += 1;
        let sum = &mut indexed[bucket(term)];
        *sum = sum.wrapping_add(sums.value(term, id));
    });
    let seq = match seq {
        Ok(seq) => seq,
        Err(reason) => {
            out.differs(format!("the search index cannot be used: {reason}; a cloud that starts builds it anew"));
            return Ok(());
        }
    };
    out.indexed = count;
    if seq < snapshot.last_seq() {
        let behind = snapshot.last_seq() - seq;
        out.notes
            .push(format!("the search index is {behind} batches behind and was not compared: start the cloud once"));
        return Ok(());
    }
    let differing: HashSet<usize> = (0..BUCKETS).filter(|b| sums.signed[*b] != indexed[*b]).collect();
    if differing.is_empty() {
        return Ok(());
    }
    let mut found = BTreeSet::new();
    let again = each_pair(dir, snapshot.store_id(), &mut |term, id| {
        if differing.contains(&bucket(term)) {
            found.insert((*term, id));
        }
    });
    if let Err(reason) = again {
        out.differs(format!("the search index cannot be used: {reason}"));
        return Ok(());
    }
    for seq in 1..=view.size() {
        let Some(batch) = view.batch(seq) else { break };
        for page in 0..pages(batch.pairs) {
            let Ok(bytes) = snapshot.page(seq, page) else { continue };
            for pair in bytes.as_chunks::<PAIR>().0 {
                let (term, id) = split(pair);
                let live = !view.has_ended(id, batch.hospital, view.size());
                if live && differing.contains(&bucket(&term)) && !found.remove(&(term, id)) {
                    let term = hex::encode(term);
                    out.differs(format!(
                        "record {id} of batch {seq}: the search index does not find it by term {term}"
                    ));
                }
            }
        }
    }
    for (term, id) in found {
        let term = hex::encode(term);
        out.differs(format!("record {id}: the search index finds it by term {term}, which nobody signed"));
    }
    Ok(())
}
