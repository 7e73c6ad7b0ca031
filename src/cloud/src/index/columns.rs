//! What a match is answered with, in columns of the index: the store need not be read for it.
//!
//! | column | of each document |
//! |---|---|
//! | `g` | record id and routing tag, a run of integers side by side |
//! | `hi` | first half of the record id: dense, to choose a page of many matches by |
//! | `p` | provider, as a place among those of the segment |
//!
//! Matches lie anywhere, so that each costs what memory costs that is far away: two or three lines of it, in one page. Columns are
//! read for many documents at a time, so that the processor waits for many of them together. A read of the store would be a page of
//! the file for each match, most of them not in memory once there are millions.

use std::{hint::black_box, ops::Range, sync::Arc};

use sealdex_crypto::{PrincipalId, RecordId};
use tantivy::{
    DocId, Searcher, SegmentReader, TantivyDocument,
    columnar::{Column, ColumnIndex, ColumnValues, column_index::MultiValueIndex},
    index::SegmentId,
    schema::{BytesOptions, FAST, Field, NumericOptions, SchemaBuilder},
};

const HI: &str = "hi";
const RUN: &str = "g";
const PROVIDER: &str = "p";

/// Bytes of columns that are touched before they are searched, of all segments: those of ten million records.
const TOUCHED: u64 = 1344 << 20;
/// Values of a page of memory, at least.
const PAGE: usize = 512;
/// Integers of a record id, before its tag.
const ID: usize = 2;

/// What a match is answered with.
pub(super) type Answer = (RecordId, PrincipalId, Vec<u8>);

/// The fields that are columns.
#[derive(Clone, Copy)]
pub(super) struct ColumnFields {
    hi: Field,
    run: Field,
    /// Also inverted.
    pub(super) provider: Field,
}

impl ColumnFields {
    pub(super) fn add(schema: &mut SchemaBuilder) -> Self {
        let column = || NumericOptions::default() | FAST;
        Self {
            provider: schema.add_bytes_field(PROVIDER, BytesOptions::default().set_indexed().set_fast()),
            hi: schema.add_u64_field(HI, column()),
            run: schema.add_u64_field(RUN, column()),
        }
    }

    pub(super) fn put(self, doc: &mut TantivyDocument, id: RecordId, provider: PrincipalId, tag: &[u8]) {
        doc.add_bytes(self.provider, &provider.0);
        let (hi, lo) = halves(id);
        doc.add_u64(self.hi, hi);
        [hi, lo].into_iter().chain(words(tag)).for_each(|word| doc.add_u64(self.run, word));
    }
}

/// A record id as integers that are ordered like it.
pub(super) fn halves(id: RecordId) -> (u64, u64) {
    let id = u128::from_be_bytes(id.0);
    ((id >> 64) as u64, id as u64)
}

pub(super) fn whole(hi: u64, lo: u64) -> RecordId {
    RecordId((u128::from(hi) << 64 | u128::from(lo)).to_be_bytes())
}

/// `u16(length) ‖ tag`, filled up with zeros, as big-endian integers.
fn words(tag: &[u8]) -> impl Iterator<Item = u64> {
    // Tags are bounded by `limits::TAG` before they get here.
    let mut bytes = (tag.len() as u16).to_be_bytes().to_vec();
    bytes.extend_from_slice(tag);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes.as_chunks().0.iter().map(|word| u64::from_be_bytes(*word)).collect::<Vec<_>>().into_iter()
}

fn tag_of(words: &[u64]) -> Option<Vec<u8>> {
    let (first, rest) = words.split_first()?;
    let [a, b, begin @ ..] = first.to_be_bytes();
    let length = usize::from(u16::from_be_bytes([a, b]));
    let mut tag = Vec::with_capacity(begin.len() + 8 * rest.len());
    tag.extend_from_slice(&begin);
    rest.iter().for_each(|word| tag.extend_from_slice(&word.to_be_bytes()));
    (length <= tag.len()).then(|| {
        tag.truncate(length);
        tag
    })
}

/// The columns of a segment.
pub(super) struct Columns {
    hi: Arc<dyn ColumnValues<u64>>,
    runs: Column<u64>,
    /// Where the run of each document begins among `runs`, and where the last one ends; `None` where that is not kept.
    starts: Option<Arc<dyn ColumnValues<u32>>>,
    /// Places in `named`.
    providers: Arc<dyn ColumnValues<u64>>,
    named: Vec<PrincipalId>,
    segment: SegmentId,
    /// Bytes.
    touched: u64,
}

impl Columns {
    /// Those of every segment, in order: opened and touched, unless they were `before`.
    pub(super) fn of(searcher: &Searcher, before: &[Arc<Self>]) -> tantivy::Result<Arc<[Arc<Self>]>> {
        let known =
            |reader: &SegmentReader| before.iter().find(|columns| columns.segment == reader.segment_id()).cloned();
        let touched = searcher.segment_readers().iter().filter_map(known).map(|columns| columns.touched).sum();
        let mut left = TOUCHED.saturating_sub(touched);
        let columns = searcher.segment_readers().iter().map(|reader| {
            if let Some(known) = known(reader) {
                return Ok(known);
            }
            let mut opened = Self::open(reader)?;
            opened.touch(left);
            left = left.saturating_sub(opened.touched);
            Ok(Arc::new(opened))
        });
        columns.collect()
    }

    /// Has the system map the first `most` bytes. A search that finds a page unmapped waits a microsecond for it, at ten million
    /// records at each third match of the first hundreds of searches.
    fn touch(&mut self, most: u64) {
        for column in [&self.runs.values, &self.hi] {
            let room = u32::try_from((most - self.touched) / 8).unwrap_or(u32::MAX);
            let values = column.num_vals().min(room);
            for at in (0..values).step_by(PAGE) {
                black_box(column.get_val(at));
            }
            self.touched += u64::from(values) * 8;
        }
    }

    pub(super) fn open(reader: &SegmentReader) -> tantivy::Result<Self> {
        let fast = reader.fast_fields();
        let (mut named, mut ords) = (Vec::new(), Column::build_empty_column(reader.max_doc()));
        if let Some(providers) = fast.bytes(PROVIDER)? {
            let mut ids = providers.dictionary().stream()?;
            while ids.advance() {
                named.extend(<[u8; 16]>::try_from(ids.key()).map(PrincipalId));
            }
            ords = providers.ords().clone();
        }
        let runs = fast.u64(RUN)?;
        Ok(Self {
            hi: single(fast.u64(HI)?, 0),
            starts: starts(&runs),
            runs,
            providers: single(ords, u64::MAX),
            named,
            segment: reader.segment_id(),
            touched: 0,
        })
    }

    /// First halves of ids.
    pub(super) fn his(&self, docs: &[DocId], out: &mut Vec<u64>) {
        out.resize(docs.len(), 0);
        self.hi.get_vals(docs, out);
    }

    /// A record's id, or zeros where the columns do not have it.
    pub(super) fn id(&self, doc: DocId) -> RecordId {
        let run = match &self.starts {
            Some(starts) => starts.get_val(doc)..starts.get_val(doc + 1),
            None => self.runs.index.value_row_ids(doc),
        };
        match run.len() >= ID {
            true => whole(self.runs.values.get_val(run.start), self.runs.values.get_val(run.start + 1)),
            false => RecordId([0; 16]),
        }
    }

    /// Record ids.
    pub(super) fn ids(&self, docs: &[DocId]) -> impl Iterator<Item = RecordId> {
        let places = self.places(docs);
        let halves: Vec<u32> =
            places.iter().filter(|run| run.len() >= ID).flat_map(|run| [run.start, run.start + 1]).collect();
        let mut words = vec![0; halves.len()];
        self.runs.values.get_vals(&halves, &mut words);
        let mut words = words.into_iter();
        places.into_iter().map(move |run| match run.len() >= ID {
            true => whole(words.next().unwrap_or(0), words.next().unwrap_or(0)),
            false => RecordId([0; 16]),
        })
    }

    /// What each is answered with; `None` where the columns do not have it.
    pub(super) fn answers(&self, docs: &[DocId]) -> impl Iterator<Item = Option<Answer>> {
        let places = self.places(docs);
        // Both ends of each before any is read as a whole: the wait for memory is for all of them together.
        let ends: Vec<u32> =
            places.iter().filter(|run| !run.is_empty()).flat_map(|run| [run.start, run.end - 1]).collect();
        let (mut touched, mut providers) = (vec![0; ends.len()], vec![0; docs.len()]);
        self.runs.values.get_vals(&ends, &mut touched);
        self.providers.get_vals(docs, &mut providers);
        black_box(touched);
        let mut words = Vec::new();
        places.into_iter().zip(providers).map(move |(run, provider)| {
            words.resize(run.len(), 0);
            self.runs.values.get_range(run.start.into(), &mut words);
            let provider = self.named.get(usize::try_from(provider).ok()?)?;
            let ([hi, lo], tag) = words.split_first_chunk::<ID>()?;
            Some((whole(*hi, *lo), *provider, tag_of(tag)?))
        })
    }

    /// Where the runs of documents are.
    fn places(&self, docs: &[DocId]) -> Vec<Range<u32>> {
        let Some(starts) = &self.starts else {
            return docs.iter().map(|&doc| self.runs.index.value_row_ids(doc)).collect();
        };
        let both: Vec<DocId> = docs.iter().flat_map(|&doc| [doc, doc + 1]).collect();
        let mut at = vec![0; both.len()];
        starts.get_vals(&both, &mut at);
        at.as_chunks().0.iter().map(|&[start, end]| start..end).collect()
    }
}

/// A column of one value a document, without looking whether a document has it where all do.
fn single(column: Column<u64>, absent: u64) -> Arc<dyn ColumnValues<u64>> {
    match column.index {
        ColumnIndex::Full => column.values,
        _ => column.first_or_default_col(absent),
    }
}

/// Where runs of values begin, if every document has one: tantivy would count the documents before it that have.
fn starts(runs: &Column<u64>) -> Option<Arc<dyn ColumnValues<u32>>> {
    match &runs.index {
        ColumnIndex::Multivalued(MultiValueIndex::MultiValueIndexV2(of))
            if of.optional_index.num_non_nulls() == of.optional_index.num_docs() =>
        {
            Some(of.start_index_column.clone())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_of_every_length_come_back() {
        for length in 0..=sealdex_wire::limits::TAG {
            let tag: Vec<u8> = (0..length).map(|n| n as u8 | 1).collect();
            assert_eq!(tag_of(&words(&tag).collect::<Vec<_>>()), Some(tag));
        }
        assert_eq!(tag_of(&[]), None);
        assert_eq!(tag_of(&[0x0007_0101_0101_0101]), None, "shorter than it says");
    }
}
