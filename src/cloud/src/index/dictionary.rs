//! A segment's terms by their places: which run of places a range is, and which documents are in it, without walking the terms.
//!
//! tantivy walks a range term by term, each through all its nodes of an automaton: 0.2 µs a term, twice as much where nodes are not
//! in the processor's caches, as at ten million records. But terms are numbered in order, and what is known of a term is found by
//! its number: a range needs no more than its two ends, and its posting lists lie side by side. tantivy finds both for itself only,
//! so its files are read here, as version 0.27 lays them out:
//!
//! | what | layout, little-endian |
//! |---|---|
//! | `.term`, of a field | automaton ‖ infos ‖ u64 length of infos ‖ u32 version 1 ‖ u32 kind 1 |
//! | infos | u64 length of blocks ‖ u64 terms ‖ blocks ‖ packed |
//! | block, for 256 terms | u64 place in packed ‖ info of the first: u32 documents, then of its list and of its positions u64 start and u32 length ‖ u8 bits of documents, of list starts, of positions |
//! | packed, for each further one | list start ‖ positions start ‖ documents, in as many bits; the starts are counted from those of the first |
//! | `.idx`, of a field | u64 ‖ lists |
//! | a list of fewer than 128 documents | differences, in bytes of seven bits, lowest first, the last one with its eighth bit set |
//!
//! A segment is opened with a look at terms at both ends and in between: where anything is not what tantivy itself reads, this is
//! not used, and the terms are walked.

use std::{fmt, hint::black_box, ops::Range, path::Path, sync::Arc};

use tantivy::{
    Index, InvertedIndexReader, Searcher, SegmentReader,
    directory::{CompositeFile, Directory as _, OwnedBytes},
    index::SegmentId,
    postings::TermInfo,
    schema::{Field, IndexRecordOption},
    termdict::TermDictionary,
};
use tantivy_fst::raw::Fst;

use super::docs::Gather;

/// Terms of a block.
const BLOCK: u64 = 256;
/// Bytes of a block's head.
const HEAD: usize = 8 + 28 + 3;
/// Lists of so many documents and more are packed in blocks, which tantivy reads.
const LONG: u32 = 128;
/// Terms compared at each end of a segment, and in between.
const COMPARED: u64 = 64;
/// Bytes of infos and lists that are touched before they are searched, of all segments: those of ten million records.
const TOUCHED: usize = 384 << 20;
/// Bytes of a page of memory, at least.
const PAGE: usize = 4096;

/// What is known of a term.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Info {
    documents: u32,
    list: Range<usize>,
}

/// The terms of one field in one segment.
pub(super) struct Dictionary {
    segment: SegmentId,
    automaton: Fst<OwnedBytes>,
    blocks: OwnedBytes,
    packed: OwnedBytes,
    lists: OwnedBytes,
    terms: u64,
    /// Bytes.
    touched: usize,
}

impl fmt::Debug for Dictionary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dictionary").field("segment", &self.segment).field("terms", &self.terms).finish_non_exhaustive()
    }
}

/// Those of all segments; `None` of one that cannot be read this way.
#[derive(Clone, Debug, Default)]
pub(super) struct Dictionaries(Arc<[(SegmentId, Option<Arc<Dictionary>>)]>);

impl Dictionaries {
    /// Of a field: opened, unless they were `before`.
    pub(super) fn of(searcher: &Searcher, field: Field, before: &Self) -> tantivy::Result<Self> {
        let readers = searcher.segment_readers();
        let touched: usize = readers.iter().filter_map(|reader| before.get(reader)).map(|known| known.touched).sum();
        let (mut all, mut left) = (Vec::new(), TOUCHED.saturating_sub(touched));
        for reader in readers {
            let segment = reader.segment_id();
            if let Some(known) = before.0.iter().find(|(of, _)| *of == segment) {
                all.push(known.clone());
                continue;
            }
            let opened = Dictionary::open(searcher.index(), reader, field)?.map(|opened| opened.touched(left));
            left = left.saturating_sub(opened.as_ref().map_or(0, |opened| opened.touched));
            all.push((segment, opened.map(Arc::new)));
        }
        Ok(Self(all.into()))
    }

    /// That of a segment.
    pub(super) fn get(&self, reader: &SegmentReader) -> Option<&Arc<Dictionary>> {
        self.0.iter().find(|(of, _)| *of == reader.segment_id())?.1.as_ref()
    }
}

impl Dictionary {
    /// `None` where the segment has no terms, or is laid out otherwise.
    fn open(index: &Index, reader: &SegmentReader, field: Field) -> tantivy::Result<Option<Self>> {
        let segment = reader.segment_id();
        let inverted = reader.inverted_index(field)?;
        let part = |ending: &str| -> tantivy::Result<Option<OwnedBytes>> {
            let file = index.directory().open_read(Path::new(&format!("{}.{ending}", segment.uuid_string())))?;
            Ok(CompositeFile::open(&file)?.open_read(field).map(|part| part.read_bytes()).transpose()?)
        };
        let sound = || -> tantivy::Result<Option<Self>> {
            let (Some(terms), Some(lists)) = (part("term")?, part("idx")?) else { return Ok(None) };
            let Some(read) = Self::read(segment, terms, lists) else { return Ok(None) };
            Ok(read.agrees(&inverted)?.then_some(read))
        };
        // Whatever cannot be read this way is read by tantivy, which says so if it cannot either.
        let sound = sound().unwrap_or_default();
        if sound.is_none() && inverted.terms().num_terms() > 0 {
            tracing::warn!(
                segment = segment.uuid_string(),
                "terms of the index are laid out otherwise, and are walked"
            );
        }
        Ok(sound)
    }

    fn read(segment: SegmentId, terms: OwnedBytes, lists: OwnedBytes) -> Option<Self> {
        let (rest, kind) = terms.as_slice().split_last_chunk::<4>()?;
        let (rest, version) = rest.split_last_chunk::<4>()?;
        let (rest, length) = rest.split_last_chunk::<8>()?;
        if (u32::from_le_bytes(*kind), u32::from_le_bytes(*version)) != (1, 1) {
            return None;
        }
        let automaton = rest.len().checked_sub(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
        let (sizes, _) = rest.get(automaton..)?.split_first_chunk::<16>()?;
        let (blocks, count) = sizes.split_first_chunk::<8>()?;
        let (blocks, count) =
            (usize::try_from(u64::from_le_bytes(*blocks)).ok()?, u64::from_le_bytes(count.try_into().ok()?));
        let infos = automaton + sizes.len();
        let packed = infos.checked_add(blocks).filter(|at| *at <= rest.len())?;
        Some(Self {
            segment,
            blocks: terms.slice(infos..packed),
            packed: terms.slice(packed..rest.len()),
            automaton: Fst::new(terms.slice(0..automaton)).ok()?,
            lists: lists.slice(8.min(lists.len())..lists.len()),
            terms: count,
            touched: 0,
        })
    }

    /// Has the system map the first `most` bytes of what ranges read; of the automaton they read little.
    fn touched(mut self, most: usize) -> Self {
        for part in [&self.lists, &self.packed, &self.blocks] {
            let part = &part[..part.len().min(most - self.touched)];
            part.iter().step_by(PAGE).for_each(|byte| {
                black_box(*byte);
            });
            self.touched += part.len();
        }
        self
    }

    /// Whether terms at both ends, and some in between, are what tantivy says they are.
    fn agrees(&self, inverted: &InvertedIndexReader) -> tantivy::Result<bool> {
        let theirs = inverted.terms();
        if theirs.num_terms() as u64 != self.terms || self.automaton.len() as u64 != self.terms {
            return Ok(false);
        }
        let between = (0..COMPARED).map(|n| u128::from(n) * u128::from(self.terms) / u128::from(COMPARED));
        let ends = (0..COMPARED).flat_map(|n| [n, self.terms.saturating_sub(1 + n)]);
        let mut key = Vec::new();
        for place in between.map(|place| place as u64).chain(ends).filter(|place| *place < self.terms) {
            if !theirs.ord_to_term(place, &mut key)? || !self.has(place, &key, theirs, inverted)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether the term at a place is this one, for tantivy too, with the same documents.
    fn has(
        &self,
        place: u64,
        key: &[u8],
        theirs: &TermDictionary,
        inverted: &InvertedIndexReader,
    ) -> tantivy::Result<bool> {
        let Ok(term) = <[u8; 16]>::try_from(key) else { return Ok(false) };
        let Some(info) = theirs.get(key)? else { return Ok(false) };
        let same = self.info(place) == Some(Info { documents: info.doc_freq, list: info.postings_range.clone() });
        if !same || self.within(&term, &term) != (place..place + 1) {
            return Ok(false);
        }
        if info.doc_freq >= LONG {
            return Ok(true);
        }
        let list = inverted.read_block_postings_from_terminfo(&info, IndexRecordOption::Basic)?;
        let mut ours = [0; LONG as usize];
        Ok(self.short(&Info { documents: info.doc_freq, list: info.postings_range }, &mut ours) == Some(list.docs()))
    }

    /// Places of the terms from one to another, both included.
    pub(super) fn within(&self, from: &[u8; 16], to: &[u8; 16]) -> Range<u64> {
        let first = self.place(from);
        let last = match u128::from_be_bytes(*to).checked_add(1) {
            Some(next) => self.place(&next.to_be_bytes()),
            None => self.terms,
        };
        first..last.max(first)
    }

    /// How many terms are below this one. Terms are numbered in order, and what the automaton puts out on the way to a node is the
    /// number of the first term below it.
    fn place(&self, term: &[u8; 16]) -> u64 {
        let (mut node, mut place, mut beyond) = (self.automaton.root(), 0, self.terms);
        for &byte in term {
            let next = match node.find_input(byte) {
                Some(same) => {
                    let transition = node.transition(same);
                    if same + 1 < node.len() {
                        beyond = place + node.transition(same + 1).out.value();
                    }
                    transition
                }
                None => {
                    let above = node.transitions().find(|transition| transition.inp > byte);
                    return above.map_or(beyond, |transition| place + transition.out.value());
                }
            };
            place += next.out.value();
            node = self.automaton.node(next.addr);
        }
        place
    }

    /// What is known of the term at a place.
    fn info(&self, place: u64) -> Option<Info> {
        let (block, nth) = (usize::try_from(place / BLOCK).ok()?, (place % BLOCK) as usize);
        let head = self.blocks.get(block.checked_mul(HEAD)?..)?.first_chunk::<HEAD>()?;
        let long = |at: usize| Some(u64::from_le_bytes(head.get(at..at + 8)?.try_into().ok()?) as usize);
        let short = |at: usize| Some(u32::from_le_bytes(head.get(at..at + 4)?.try_into().ok()?));
        let (packed, documents, start, length) = (long(0)?, short(8)?, long(12)?, short(20)? as usize);
        let Some(before) = nth.checked_sub(1) else {
            return Some(Info { documents, list: start..start.checked_add(length)? });
        };
        let [of_documents, of_starts, of_positions] = *head.last_chunk::<3>()?;
        let packed = self.packed.get(packed..)?;
        let each = usize::from(of_documents) + usize::from(of_starts) + usize::from(of_positions);
        let at = before * each;
        let list = start.checked_add(bits(packed, at, of_starts)? as usize)?;
        let end = start.checked_add(bits(packed, at + each, of_starts)? as usize)?;
        let documents = bits(packed, at + usize::from(of_starts) + usize::from(of_positions), of_documents)?;
        Some(Info { documents: u32::try_from(documents).ok()?, list: list..end })
    }

    /// The documents of a list that is short.
    fn short<'o>(&self, info: &Info, out: &'o mut [u32; LONG as usize]) -> Option<&'o [u32]> {
        let mut bytes = self.lists.get(info.list.clone())?.iter();
        let (found, mut document) = (out.get_mut(..info.documents as usize)?, 0_u32);
        for place in found.iter_mut() {
            let (mut difference, mut shift) = (0, 0);
            loop {
                let byte = *bytes.next()?;
                difference |= u32::from(byte & 127).checked_shl(shift)?;
                if byte > 127 {
                    break;
                }
                shift += 7;
            }
            document = document.checked_add(difference)?;
            *place = document;
        }
        Some(found)
    }

    /// How many documents the terms at some places have together, or `None` once there are more than `most`.
    pub(super) fn documents(&self, places: Range<u64>, most: u64) -> tantivy::Result<Option<u64>> {
        let mut count = 0;
        for place in places {
            count += u64::from(self.info(place).ok_or_else(damaged)?.documents);
            if count > most {
                return Ok(None);
            }
        }
        Ok(Some(count))
    }

    /// Gathers the documents of the terms at some places. Cost: some 20 ns a term of one document.
    pub(super) fn gather(
        &self,
        places: Range<u64>,
        inverted: &InvertedIndexReader,
        gather: &mut Gather,
    ) -> tantivy::Result<()> {
        let mut found = [0; LONG as usize];
        for place in places {
            let info = self.info(place).ok_or_else(damaged)?;
            if info.documents < LONG {
                gather.extend(self.short(&info, &mut found).ok_or_else(damaged)?);
            } else {
                let info = TermInfo { doc_freq: info.documents, postings_range: info.list, positions_range: 0..0 };
                gather.add(inverted, &info)?;
            }
        }
        Ok(())
    }
}

fn damaged() -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, "a dictionary of the index has no info of one of its terms")
}

/// Up to 56 bits from a place on, counted in bits.
fn bits(data: &[u8], at: usize, count: u8) -> Option<u64> {
    let rest = data.get(at / 8..)?;
    let word = rest.first_chunk::<8>().map_or_else(
        || {
            let mut filled = [0; 8];
            filled[..rest.len()].copy_from_slice(rest);
            filled
        },
        |whole| *whole,
    );
    (count <= 56).then(|| u64::from_le_bytes(word) >> (at % 8) & ((1 << count) - 1))
}

#[cfg(test)]
mod tests {
    use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
    use tantivy::{
        IndexWriter, TantivyDocument,
        schema::{BytesOptions, Schema},
    };

    use super::*;

    /// One segment with terms of every kind: in one document, in a few, in more than a block of them.
    fn segment(terms: &[([u8; 16], usize)]) -> (Searcher, Field) {
        let mut schema = Schema::builder();
        let field = schema.add_bytes_field("t", BytesOptions::default().set_indexed());
        let index = Index::create_in_ram(schema.build());
        let mut writer: IndexWriter = index.writer_with_num_threads(1, 15 << 20).unwrap();
        let documents = terms.iter().map(|(_, count)| *count).max().unwrap_or(0).max(1) + 500;
        for n in 0..documents {
            let mut document = TantivyDocument::default();
            for (i, (term, count)) in terms.iter().enumerate() {
                if (n + documents - i % documents) % documents < *count {
                    document.add_bytes(field, term);
                }
            }
            writer.add_document(document).unwrap();
        }
        writer.commit().unwrap();
        (index.reader().unwrap().searcher(), field)
    }

    fn walked(searcher: &Searcher, field: Field, from: &[u8; 16], to: &[u8; 16]) -> (u64, Vec<u32>) {
        let inverted = searcher.segment_reader(0).inverted_index(field).unwrap();
        let mut gather = Gather::new(searcher.segment_reader(0).max_doc());
        let (mut run, mut pairs) = (inverted.terms().range().ge(from).le(to).into_stream().unwrap(), 0);
        while run.advance() {
            pairs += u64::from(run.value().doc_freq);
            gather.add(&inverted, run.value()).unwrap();
        }
        (pairs, documents(gather))
    }

    fn documents(gather: Gather) -> Vec<u32> {
        use tantivy::{DocSet as _, TERMINATED};
        let (mut docs, mut out) = (gather.finish(), Vec::new());
        while docs.doc() != TERMINATED {
            out.push(docs.doc());
            docs.advance();
        }
        out
    }

    #[test]
    fn ranges_by_places_are_ranges_walked() {
        let mut rng = StdRng::seed_from_u64(3);
        // Few first bytes, so that terms share beginnings of every length.
        let mut terms: Vec<([u8; 16], usize)> = (0..1500_u32)
            .map(|n| {
                let mut term = [0; 16];
                let shared = rng.random_range(0..16);
                rng.fill(&mut term[shared..]);
                (term, [1, 1, 1, 2, 9, 127, 128, 129, 400][(n % 9) as usize])
            })
            .chain([([0; 16], 1), ([255; 16], 3)])
            .collect();
        terms.sort_unstable();
        terms.dedup_by_key(|(term, _)| *term);
        let (searcher, field) = segment(&terms);
        let reader = searcher.segment_reader(0);
        let dictionaries = Dictionaries::of(&searcher, field, &Dictionaries::default()).unwrap();
        let dictionary = dictionaries.get(reader).expect("read as it is laid out");
        assert_eq!(dictionary.terms, terms.len() as u64);
        let inverted = reader.inverted_index(field).unwrap();
        let mut near =
            |of: [u8; 16]| (u128::from_be_bytes(of).wrapping_add_signed(rng.random_range(-1..=1))).to_be_bytes();
        let mut ends: Vec<[u8; 16]> = terms.iter().map(|(term, _)| near(*term)).collect();
        ends.extend([[0; 16], [255; 16], [7; 16]]);
        let mut wide = 0;
        for _ in 0..3000 {
            let [from, mut to] = [0; 2].map(|_| ends[rng.random_range(0..ends.len())]);
            if rng.random_bool(0.7) {
                let at = terms.partition_point(|(term, _)| *term < from) + rng.random_range(0..9);
                to = terms.get(at).map_or([255; 16], |(term, _)| *term);
            }
            let places = dictionary.within(&from, &to);
            let expected: Vec<_> = terms.iter().filter(|(term, _)| (from..=to).contains(term)).collect();
            assert_eq!(places.end - places.start, expected.len() as u64, "{from:?} {to:?}");
            if expected.len() > 300 {
                wide += 1;
                if wide > 40 {
                    continue;
                }
            }
            let (pairs, documents_walked) = walked(&searcher, field, &from, &to);
            let mut gather = Gather::new(reader.max_doc());
            dictionary.gather(places.clone(), &inverted, &mut gather).unwrap();
            assert_eq!(documents(gather), documents_walked, "{from:?} {to:?}");
            assert_eq!(dictionary.documents(places.clone(), pairs).unwrap(), Some(pairs));
            assert!(pairs == 0 || dictionary.documents(places, pairs - 1).unwrap().is_none());
        }
        assert!(wide > 40, "few wide ranges");
        // Kept, as long as the segment is.
        let again = Dictionaries::of(&searcher, field, &dictionaries).unwrap();
        assert!(Arc::ptr_eq(again.get(reader).unwrap(), dictionary));
    }

    /// Segments with deleted documents, and one that several were merged into, are read by places too.
    #[test]
    fn merged_and_with_deleted_documents() {
        let mut schema = Schema::builder();
        let field = schema.add_bytes_field("t", BytesOptions::default().set_indexed());
        let index = Index::create_in_ram(schema.build());
        let mut writer: IndexWriter = index.writer_with_num_threads(1, 15 << 20).unwrap();
        writer.set_merge_policy(Box::new(tantivy::indexer::NoMergePolicy));
        let term = |n: u64| (u128::from(n) << 64).to_be_bytes();
        for part in 0..3 {
            for n in 0..700 {
                let mut document = TantivyDocument::default();
                document.add_bytes(field, &term(3 * n + part));
                document.add_bytes(field, &term(5_000 + n % 7));
                writer.add_document(document).unwrap();
            }
            writer.commit().unwrap();
        }
        for n in (0..2100).step_by(5) {
            writer.delete_term(tantivy::Term::from_field_bytes(field, &term(n)));
        }
        writer.commit().unwrap();
        let reader = index.reader().unwrap();
        let check = |segments: usize, most: u64| {
            reader.reload().unwrap();
            let searcher = reader.searcher();
            assert_eq!(searcher.segment_readers().len(), segments);
            let dictionaries = Dictionaries::of(&searcher, field, &Dictionaries::default()).unwrap();
            for (nth, segment) in searcher.segment_readers().iter().enumerate() {
                let dictionary = dictionaries.get(segment).expect("read as it is laid out");
                assert!(dictionary.terms <= most);
                let inverted = segment.inverted_index(field).unwrap();
                for (from, to) in [(0, 0), (3, 9), (200, 900), (1500, 6000), (5001, 5003), (5006, 9000), (9000, 9999)] {
                    let (from, to) = (term(from), term(to));
                    let mut run = inverted.terms().range().ge(from).le(to).into_stream().unwrap();
                    let mut walked = Gather::new(segment.max_doc());
                    while run.advance() {
                        walked.add(&inverted, run.value()).unwrap();
                    }
                    let mut gather = Gather::new(segment.max_doc());
                    dictionary.gather(dictionary.within(&from, &to), &inverted, &mut gather).unwrap();
                    assert_eq!(documents(gather), documents(walked), "segment {nth} of {segments}");
                }
            }
        };
        check(3, 707);
        let all: Vec<_> = index.searchable_segment_ids().unwrap();
        writer.merge(&all).wait().unwrap();
        check(1, 2107);
    }

    /// Whatever differs, in any part, is found before it is used.
    #[test]
    fn what_is_laid_out_otherwise_is_not_used() {
        let terms: Vec<([u8; 16], usize)> =
            (0..700_u32).map(|n| ([n.to_be_bytes(); 4].concat().try_into().unwrap(), 1)).collect();
        let (searcher, field) = segment(&terms);
        let reader = searcher.segment_reader(0);
        let inverted = reader.inverted_index(field).unwrap();
        let part = |ending: &str| {
            let name = format!("{}.{ending}", reader.segment_id().uuid_string());
            let file = searcher.index().directory().open_read(Path::new(&name)).unwrap();
            CompositeFile::open(&file).unwrap().open_read(field).unwrap().read_bytes().unwrap().to_vec()
        };
        let (terms, lists) = (part("term"), part("idx"));
        let read = |terms: &[u8], lists: &[u8]| {
            let read =
                Dictionary::read(reader.segment_id(), OwnedBytes::new(terms.to_vec()), OwnedBytes::new(lists.to_vec()));
            read.is_some_and(|read| read.agrees(&inverted).unwrap())
        };
        assert!(read(&terms, &lists));
        let length = terms.len();
        let infos = length - 16 - u64::from_le_bytes(terms[length - 16..length - 8].try_into().unwrap()) as usize;
        let changed = |at: usize| {
            let mut other = terms.clone();
            other[at] ^= 1;
            other
        };
        // Kind, version, length; terms, blocks: place in packed, documents, start of the list, bits.
        let heads = [0, 8, 12].map(|at| infos + 16 + at);
        let bits = [36, 37].map(|at| infos + 16 + at);
        for at in [length - 4, length - 8, length - 16, infos + 8].into_iter().chain(heads).chain(bits) {
            assert!(!read(&changed(at), &lists), "byte {at} of {length}, infos at {infos}");
        }
        assert!(!read(&terms[1..], &lists) && !read(&terms[..20], &lists) && !read(&[], &lists));
        let mut shifted = lists.clone();
        shifted.remove(3);
        assert!(!read(&terms, &shifted) && !read(&terms, &[]), "lists");
    }
}
