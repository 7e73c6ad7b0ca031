//! Documents of one segment, gathered from many posting lists.

use tantivy::{
    DocId, DocSet, InvertedIndexReader, TERMINATED,
    postings::{BlockSegmentPostings, TermInfo},
    schema::IndexRecordOption,
};

/// Documents handed over together.
const BLOCK: usize = 1024;

/// Documents of one segment. Few are kept as a list; many go into a bit set of one bit per document of the segment. The
/// change comes where both take the same memory.
pub(super) struct Docs {
    max_doc: u32,
    list: Vec<DocId>,
    bits: Option<DocBits>,
}

impl Docs {
    pub(super) fn new(max_doc: u32) -> Self {
        Self { max_doc, list: Vec::new(), bits: None }
    }

    pub(super) fn extend(&mut self, docs: &[DocId]) {
        match &mut self.bits {
            Some(bits) => docs.iter().for_each(|&d| bits.insert(d)),
            None => self.list.extend_from_slice(docs),
        }
        if self.bits.is_none() && self.list.len() > self.max_doc as usize / 32 + 64 {
            let mut bits = DocBits::new(self.max_doc);
            self.list.drain(..).for_each(|d| bits.insert(d));
            self.bits = Some(bits);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.bits.as_ref().map_or(self.list.len(), DocBits::len)
    }

    /// In the order they came in if they are few, ascending if they are many.
    pub(super) fn in_blocks(&self, mut block: impl FnMut(&[DocId])) {
        let Some(bits) = &self.bits else { return self.list.chunks(BLOCK).for_each(block) };
        let mut docs = Vec::with_capacity(BLOCK);
        for doc in bits.iter() {
            docs.push(doc);
            if docs.len() == BLOCK {
                block(&docs);
                docs.clear();
            }
        }
        block(&docs);
    }
}

/// Gathers documents of one segment.
pub(super) struct Gather {
    docs: Docs,
    postings: Option<BlockSegmentPostings>,
}

impl Gather {
    pub(super) fn new(max_doc: u32) -> Self {
        Self { docs: Docs::new(max_doc), postings: None }
    }

    /// Adds documents.
    pub(super) fn extend(&mut self, docs: &[DocId]) {
        self.docs.extend(docs);
    }

    /// Adds the posting list of a term. Cost: about 0.1 µs, and 1 ns a document.
    pub(super) fn add(&mut self, index: &InvertedIndexReader, term: &TermInfo) -> tantivy::Result<()> {
        // In its place: it has two buffers of a block, and moving them would cost as much as a short list.
        let postings = match &mut self.postings {
            Some(reused) => {
                index.reset_block_postings_from_terminfo(term, reused)?;
                reused
            }
            none => none.insert(index.read_block_postings_from_terminfo(term, IndexRecordOption::Basic)?),
        };
        let mut left = term.doc_freq as usize;
        loop {
            let docs = postings.docs();
            self.docs.extend(docs);
            left = left.saturating_sub(docs.len());
            // To go on behind the last block would clear one: as much work as the whole of a short list.
            if left == 0 || docs.is_empty() {
                break;
            }
            postings.advance();
        }
        Ok(())
    }

    pub(super) fn finish(self) -> SortedDocs {
        let Docs { mut list, bits, .. } = self.docs;
        if let Some(bits) = bits {
            return SortedDocs { docs: bits.iter().collect(), at: 0 };
        }
        list.sort_unstable();
        list.dedup();
        SortedDocs { docs: list, at: 0 }
    }
}

/// One bit per document of a segment.
#[derive(Clone)]
pub(super) struct DocBits(Vec<u64>);

impl DocBits {
    pub(super) fn new(max_doc: u32) -> Self {
        Self(vec![0; (max_doc as usize).div_ceil(64)])
    }

    pub(super) fn insert(&mut self, doc: DocId) {
        if let Some(word) = self.0.get_mut(doc as usize / 64) {
            *word |= 1 << (doc % 64);
        }
    }

    pub(super) fn contains(&self, doc: DocId) -> bool {
        self.0.get(doc as usize / 64).is_some_and(|word| word >> (doc % 64) & 1 == 1)
    }

    pub(super) fn len(&self) -> usize {
        self.0.iter().map(|w| w.count_ones() as usize).sum()
    }

    /// Ascending.
    pub(super) fn iter(&self) -> impl Iterator<Item = DocId> + '_ {
        self.0.iter().enumerate().flat_map(|(i, &word)| {
            let mut word = word;
            std::iter::from_fn(move || {
                let bit = word.trailing_zeros();
                word &= word.wrapping_sub(1);
                (bit < 64).then_some(i as u32 * 64 + bit)
            })
        })
    }
}

/// Strictly ascending documents as tantivy walks them.
pub(super) struct SortedDocs {
    docs: Vec<DocId>,
    at: usize,
}

impl DocSet for SortedDocs {
    fn advance(&mut self) -> DocId {
        self.at = (self.at + 1).min(self.docs.len());
        self.doc()
    }

    /// Gallops: doubling steps, then binary search between the last two.
    fn seek(&mut self, target: DocId) -> DocId {
        let rest = &self.docs[self.at..];
        let mut reach = 1;
        while reach < rest.len() && rest[reach] < target {
            reach *= 2;
        }
        let upto = (reach + 1).min(rest.len());
        self.at += rest[..upto].partition_point(|&d| d < target);
        self.doc()
    }

    fn doc(&self) -> DocId {
        self.docs.get(self.at).copied().unwrap_or(TERMINATED)
    }

    fn size_hint(&self) -> u32 {
        u32::try_from(self.docs.len()).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeking_finds_the_next_at_or_after() {
        let docs: Vec<DocId> = (0..500).filter(|d| d % 7 == 0 || d % 11 == 3).collect();
        for start in [0, 5, 100] {
            for target in 0..520 {
                let mut set = SortedDocs { docs: docs.clone(), at: start };
                let from = set.doc();
                if target < from {
                    continue;
                }
                let expected = docs.iter().copied().find(|&d| d >= target).unwrap_or(TERMINATED);
                assert_eq!(set.seek(target), expected, "from {from} to {target}");
            }
        }
    }

    #[test]
    fn few_and_many_documents_come_back() {
        for count in [0, 1, 94, 95, 96, 97, 1000] {
            let expected: Vec<DocId> = (0..count).collect();
            let (mut docs, mut found) = (Docs::new(1000), Vec::new());
            expected.chunks(7).for_each(|some| docs.extend(some));
            docs.in_blocks(|block| found.extend_from_slice(block));
            assert_eq!((docs.len(), found), (expected.len(), expected));
        }
    }

    #[test]
    fn bits_iterate_what_was_inserted() {
        let mut bits = DocBits::new(200);
        let docs = [0, 1, 63, 64, 127, 128, 199];
        docs.iter().for_each(|&d| bits.insert(d));
        bits.insert(100_000);
        assert_eq!(bits.iter().collect::<Vec<_>>(), docs);
        assert_eq!(bits.len(), docs.len());
        assert!(bits.contains(199) && !bits.contains(198) && !bits.contains(100_000));
    }
}
