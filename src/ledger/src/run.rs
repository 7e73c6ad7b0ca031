//! The authenticated index of a batch: its (term, record) pairs, sorted, in pages that are the leaves of a tree.
//!
//! Who shows the pages around a range of terms shows all pairs in it: the pair before the first and the pair
//! after the last are in these pages, or there is none.

use std::collections::BTreeMap;

use rayon::prelude::*;
use sealdex_crypto::{
    RecordId,
    log::{Hash, leaf_hash},
};
use sealdex_wire::ingest::UploadRecord;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::tree::{self, TreeError};

/// Bytes of a pair: 16 of the term, 16 of the record id.
pub const PAIR: usize = 32;
/// Pairs in a page; the last page may have fewer.
pub const PAGE_PAIRS: usize = 16;
/// Fewer of whatever is hashed or copied are not shared among cores.
const FEW: usize = 64;

/// A term and the record that has it. Sorted as bytes.
pub type Pair = [u8; PAIR];

/// All pairs of a batch, sorted, each once.
#[must_use]
pub fn pairs(records: &[UploadRecord]) -> Vec<Pair> {
    // Sorted as numbers: comparing bytes is a call, and this is most of what a batch's trees cost.
    let of = |record: &UploadRecord| {
        let id = u128::from_be_bytes(record.id.0);
        let terms = record.index.terms.as_chunks().0;
        terms.iter().map(|term| [u128::from_be_bytes(*term), id]).collect::<Vec<_>>()
    };
    let mut pairs: Vec<[u128; 2]> = records.par_iter().with_min_len(FEW).flat_map_iter(of).collect();
    pairs.par_sort_unstable();
    pairs.dedup();
    let bytes = |[term, id]: [u128; 2]| {
        let mut pair = [0; PAIR];
        pair[..16].copy_from_slice(&term.to_be_bytes());
        pair[16..].copy_from_slice(&id.to_be_bytes());
        pair
    };
    pairs.into_par_iter().with_min_len(FEW).map(bytes).collect()
}

/// Pages that so many pairs take.
#[must_use]
pub fn pages(pairs: u64) -> u64 {
    pairs.div_ceil(PAGE_PAIRS as u64)
}

/// Hash of each page.
#[must_use]
pub fn page_hashes(pairs: &[Pair]) -> Vec<Hash> {
    pairs.par_chunks(PAGE_PAIRS).with_min_len(FEW).map(|page| leaf_hash(page.as_flattened())).collect()
}

/// A range of terms, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TermRange {
    /// Lowest.
    #[serde(with = "serde_bytes")]
    pub lo: [u8; 16],
    /// Highest.
    #[serde(with = "serde_bytes")]
    pub hi: [u8; 16],
}

impl TermRange {
    /// One term.
    #[must_use]
    pub fn one(term: [u8; 16]) -> Self {
        Self { lo: term, hi: term }
    }

    /// Codes of one run of order terms.
    #[must_use]
    pub fn codes(tag: [u8; 8], lo: u64, hi: u64) -> Self {
        let term = |code: u64| {
            let mut term = [0; 16];
            term[..8].copy_from_slice(&tag);
            term[8..].copy_from_slice(&code.to_be_bytes());
            term
        };
        Self { lo: term(lo), hi: term(hi) }
    }

    /// Whether every term of `other` is in it.
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        self.lo <= other.lo && other.hi <= self.hi
    }

    /// Whether a pair's term is in it.
    #[must_use]
    pub fn has(&self, pair: &Pair) -> bool {
        self.lo[..] <= pair[..16] && pair[..16] <= self.hi[..]
    }

    fn is_before(&self, pair: &Pair) -> bool {
        pair[..16] > self.hi[..]
    }

    fn is_after(&self, pair: &Pair) -> bool {
        pair[..16] < self.lo[..]
    }
}

/// A run as its keeper has it.
pub trait RunReader {
    /// What reading fails with.
    type Error;
    /// Pairs of the run.
    fn pairs(&self) -> u64;
    /// The pairs of a page, one after another; `page` is below [`pages`] of [`RunReader::pairs`].
    fn page(&mut self, page: u64) -> Result<Vec<u8>, Self::Error>;
    /// A node of the tree over the pages, by its place in a [`tree::FlatTree`].
    fn node(&mut self, place: u64) -> Result<Hash, Self::Error>;
}

/// Pages of one run, and what leads from them to its root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunProof {
    /// Place of the batch in the log, from 1.
    pub seq: u64,
    /// Numbers of the pages, ascending.
    pub pages: Vec<u32>,
    /// Their pairs, one after another.
    pub pairs: ByteBuf,
    /// Hashes, 32 bytes each.
    pub hashes: ByteBuf,
}

/// Why pages do not show what they should.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// Pages of other lengths than the run has, or bytes that are no hashes.
    #[error("the pages do not have the shape of the run")]
    Shape,
    /// Pairs out of order.
    #[error("the pairs are not in order")]
    Order,
    /// Not the pages of the run.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// Pages are missing.
    #[error("the pages do not reach around the range that was asked for")]
    Uncovered,
}

impl RunProof {
    /// Shows all pairs of a run in these ranges. Cost: a binary search by pages for each range.
    ///
    /// # Errors
    /// Those of the reader.
    pub fn make<R: RunReader>(seq: u64, ranges: &[TermRange], run: &mut R) -> Result<Self, R::Error> {
        let count = pages(run.pairs());
        let mut wanted: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        for range in ranges.iter().filter(|_| count > 0) {
            let mut fetch = |page: u64, wanted: &mut BTreeMap<u64, Vec<u8>>| -> Result<Vec<u8>, R::Error> {
                match wanted.get(&page) {
                    Some(known) => Ok(known.clone()),
                    None => run.page(page),
                }
            };
            // The first page that begins at or after the range; the one before it may reach into it.
            let (mut low, mut high) = (0, count);
            while low < high {
                let middle = low + (high - low) / 2;
                let page = fetch(middle, &mut wanted)?;
                if first(&page).is_some_and(|pair| range.is_after(pair)) { low = middle + 1 } else { high = middle }
            }
            for page in low.saturating_sub(1)..count {
                let bytes = fetch(page, &mut wanted)?;
                let done = last(&bytes).is_some_and(|pair| range.is_before(pair));
                wanted.insert(page, bytes);
                if done {
                    break;
                }
            }
        }
        let places: Vec<u64> = wanted.keys().copied().collect();
        let hashes = tree::prove(count, &places, &mut |place| run.node(place))?;
        Ok(Self {
            seq,
            pages: places.iter().map(|p| *p as u32).collect(),
            pairs: wanted.into_values().flatten().collect::<Vec<u8>>().into(),
            hashes: hashes.concat().into(),
        })
    }

    /// The pages, after they were found to be of the run with this root.
    ///
    /// # Errors
    /// [`RunError`].
    pub fn verify(&self, pair_count: u64, root: &Hash) -> Result<Shown<'_>, RunError> {
        let count = pages(pair_count);
        let (all, rest) = self.pairs.as_chunks::<PAIR>();
        let (hashes, odd) = self.hashes.as_chunks::<32>();
        if !rest.is_empty() || !odd.is_empty() {
            return Err(RunError::Shape);
        }
        let (mut pages, mut leaves, mut left) = (Vec::new(), Vec::new(), all);
        for &page in &self.pages {
            let page = u64::from(page);
            let length = match pair_count.checked_sub(page.saturating_mul(PAGE_PAIRS as u64)) {
                Some(rest) if rest > 0 => rest.min(PAGE_PAIRS as u64) as usize,
                _ => return Err(RunError::Shape),
            };
            let (own, others) = left.split_at_checked(length).ok_or(RunError::Shape)?;
            leaves.push((page, leaf_hash(own.as_flattened())));
            pages.push((page, own));
            left = others;
        }
        if !left.is_empty() {
            return Err(RunError::Shape);
        }
        tree::verify(count, &leaves, hashes, root)?;
        if !all.windows(2).all(|w| w[0] < w[1]) {
            return Err(RunError::Order);
        }
        Ok(Shown { pages, count })
    }
}

/// Pages of a run that are what was signed.
pub struct Shown<'p> {
    pages: Vec<(u64, &'p [Pair])>,
    count: u64,
}

impl<'p> Shown<'p> {
    /// The records of all pairs in the range, term by term.
    ///
    /// # Errors
    /// [`RunError::Uncovered`] if a page is missing that could hold one.
    pub fn within(&self, range: &TermRange) -> Result<Vec<(&'p Pair, RecordId)>, RunError> {
        let mut out = Vec::new();
        if self.count == 0 {
            return Ok(out);
        }
        // The last page shown that begins before the range; without one it must be the run's first.
        let before = self.pages.partition_point(|(_, pairs)| pairs.first().is_some_and(|pair| range.is_after(pair)));
        let start = before.saturating_sub(1);
        let Some((mut next, _)) = self.pages.get(start).copied() else { return Err(RunError::Uncovered) };
        if before == 0 && next != 0 {
            return Err(RunError::Uncovered);
        }
        for (page, pairs) in &self.pages[start..] {
            if *page != next {
                return Err(RunError::Uncovered);
            }
            out.extend(pairs.iter().filter(|pair| range.has(pair)).map(|pair| (pair, record_of(pair))));
            next += 1;
            if pairs.last().is_some_and(|pair| range.is_before(pair)) {
                return Ok(out);
            }
        }
        if next == self.count { Ok(out) } else { Err(RunError::Uncovered) }
    }
}

fn first(page: &[u8]) -> Option<&Pair> {
    page.first_chunk()
}

fn last(page: &[u8]) -> Option<&Pair> {
    page.last_chunk()
}

fn record_of(pair: &Pair) -> RecordId {
    let mut id = [0; 16];
    id.copy_from_slice(&pair[16..]);
    RecordId(id)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;
    use crate::tree::FlatTree;

    struct Kept(Vec<Pair>, FlatTree);

    impl Kept {
        fn new(terms: &[u16]) -> Self {
            let mut pairs: Vec<Pair> = terms
                .iter()
                .enumerate()
                .map(|(i, t)| {
                    let mut pair = [0; PAIR];
                    pair[14..16].copy_from_slice(&t.to_be_bytes());
                    pair[30..].copy_from_slice(&(i as u16).to_be_bytes());
                    pair
                })
                .collect();
            pairs.sort_unstable();
            let tree = FlatTree::new(page_hashes(&pairs));
            Self(pairs, tree)
        }
    }

    impl RunReader for Kept {
        type Error = Infallible;
        fn pairs(&self) -> u64 {
            self.0.len() as u64
        }
        fn page(&mut self, page: u64) -> Result<Vec<u8>, Infallible> {
            let at = page as usize * PAGE_PAIRS;
            Ok(self.0[at..(at + PAGE_PAIRS).min(self.0.len())].as_flattened().to_vec())
        }
        fn node(&mut self, place: u64) -> Result<Hash, Infallible> {
            Ok(self.1.nodes()[place as usize])
        }
    }

    fn range(lo: u16, hi: u16) -> TermRange {
        let term = |t: u16| {
            let mut term = [0; 16];
            term[14..].copy_from_slice(&t.to_be_bytes());
            term
        };
        TermRange { lo: term(lo), hi: term(hi) }
    }

    proptest! {
        #[test]
        fn a_range_is_shown_whole(
            terms in prop::collection::vec(0_u16..60, 0..400),
            asked in prop::collection::vec((0_u16..64, 0_u16..20), 1..4),
            drop in any::<u8>(),
        ) {
            let mut kept = Kept::new(&terms);
            let ranges: Vec<TermRange> = asked.iter().map(|(lo, more)| range(*lo, lo + more)).collect();
            let proof = RunProof::make(1, &ranges, &mut kept).unwrap();
            let (count, root) = (kept.pairs(), kept.1.root());
            let shown = proof.verify(count, &root).unwrap();
            for range in &ranges {
                let expected: Vec<&Pair> = kept.0.iter().filter(|p| range.has(p)).collect();
                let found: Vec<&Pair> = shown.within(range).unwrap().into_iter().map(|(p, _)| p).collect();
                prop_assert_eq!(found, expected);
            }
            // Without one of its pages, with a proof made to fit, some range is not covered, or nothing is lost.
            if !proof.pages.is_empty() {
                let gone = usize::from(drop) % proof.pages.len();
                let kept_pages: Vec<u64> =
                    proof.pages.iter().enumerate().filter(|(i, _)| *i != gone).map(|(_, p)| u64::from(*p)).collect();
                let hashes = tree::prove(pages(count), &kept_pages, &mut |at| kept.node(at)).unwrap();
                let mut bytes = Vec::new();
                for page in &kept_pages {
                    bytes.extend(kept.page(*page).unwrap());
                }
                let short = RunProof {
                    seq: 1,
                    pages: kept_pages.iter().map(|p| *p as u32).collect(),
                    pairs: bytes.into(),
                    hashes: hashes.concat().into(),
                };
                let shown = short.verify(count, &root).unwrap();
                for range in &ranges {
                    if let Ok(found) = shown.within(range) {
                        prop_assert_eq!(found.len(), kept.0.iter().filter(|p| range.has(p)).count());
                    }
                }
                prop_assert!(ranges.iter().any(|r| shown.within(r).is_err()));
            }
        }

        #[test]
        fn no_bit_can_be_flipped(terms in prop::collection::vec(0_u16..60, 1..200), at in any::<u16>(), bit in 0_u8..8) {
            let mut kept = Kept::new(&terms);
            let (count, root) = (kept.pairs(), kept.1.root());
            let mut proof = RunProof::make(1, &[range(20, 25)], &mut kept).unwrap();
            let at = usize::from(at) % proof.pairs.len();
            proof.pairs[at] ^= 1 << bit;
            prop_assert!(proof.verify(count, &root).is_err());
        }
    }
}
