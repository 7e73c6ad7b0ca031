//! The same search without encryption: tantivy, with a term for every value in the clear.

use std::ops::Bound;
use std::path::{Path, PathBuf};

use sealdex_crypto::RecordId;
use tantivy::collector::TopDocs;
use tantivy::columnar::ColumnValues;
use tantivy::indexer::{IndexWriterOptions, LogMergePolicy, MergePolicy};
use tantivy::query::{BooleanQuery, EnableScoring, InvertedIndexRangeQuery, Occur, Query, RangeQuery, TermQuery};
use tantivy::schema::{BytesOptions, FAST, Field, IndexRecordOption, NumericOptions, Schema};
use tantivy::{Index, IndexReader, IndexWriter, Order, ReloadPolicy, SegmentReader, TantivyDocument, Term};

use super::records::{Condition, ORDER_FIELDS, Question, Record, TAG, TOKEN_FIELDS};
use crate::Failure;

/// How order fields are kept.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ranges {
    /// As ours: sorted terms of the one dictionary.
    Terms,
    /// As columns.
    Columns,
}

/// An index with the same settings as ours.
pub struct Plain {
    dir: PathBuf,
    ranges: Ranges,
    terms: Field,
    record: Field,
    provider: Field,
    hi: Field,
    lo: Field,
    payload: Field,
    order: [Option<Field>; ORDER_FIELDS],
    reader: IndexReader,
    writer: IndexWriter,
}

const ORDER: [&str; ORDER_FIELDS] = ["a", "b"];
/// Bytes of a payload: a routing tag and its length, in whole integers.
pub const PAYLOAD: usize = (TAG + 2).next_multiple_of(8);

/// The term of a value: which field, and the value.
fn term_of(field: u8, value: &[u8]) -> Vec<u8> {
    [&[field], value].concat()
}

fn order_value(field: usize, value: u32) -> Vec<u8> {
    term_of((TOKEN_FIELDS + 1 + field) as u8, &u64::from(value).to_be_bytes())
}

/// What a match comes with: in our index a routing tag, here as many bytes of whatever somebody would want to have at once.
fn payload(record: &Record) -> [u64; PAYLOAD / 8] {
    let number = record.id.0.first_chunk().map_or(0, |n| u64::from_be_bytes(*n));
    let mut bytes = Record::tag(number);
    bytes.resize(PAYLOAD, 0);
    std::array::from_fn(|n| bytes[8 * n..].first_chunk().map_or(0, |word| u64::from_be_bytes(*word)))
}

impl Plain {
    pub fn create(dir: PathBuf, ranges: Ranges) -> Result<Self, Failure> {
        std::fs::create_dir_all(&dir)?;
        let mut schema = Schema::builder();
        let inverted = || BytesOptions::default().set_indexed();
        let column = || NumericOptions::default() | FAST;
        let terms = schema.add_bytes_field("t", inverted());
        let record = schema.add_bytes_field("r", inverted());
        let provider = schema.add_bytes_field("p", inverted());
        let (hi, lo) = (schema.add_u64_field("hi", column()), schema.add_u64_field("lo", column()));
        let payload = schema.add_u64_field("g", column());
        let order = ORDER.map(|name| (ranges == Ranges::Columns).then(|| schema.add_u64_field(name, column())));
        let index = Index::create_in_dir(&dir, schema.build())?;
        let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?;
        // One thread and its memory: as in our cloud.
        let options = IndexWriterOptions::builder()
            .num_worker_threads(1)
            .num_merge_threads(1)
            .memory_budget_per_thread(64 << 20)
            .build();
        let writer: IndexWriter = index.writer_with_options(options)?;
        writer.set_merge_policy(Box::new(merge_policy()));
        Ok(Self { dir, ranges, terms, record, provider, hi, lo, payload, order, reader, writer })
    }

    fn document(&self, record: &Record) -> TantivyDocument {
        let mut doc = TantivyDocument::default();
        for (field, value) in record.tokens.iter().enumerate() {
            doc.add_bytes(self.terms, &term_of(field as u8, value.as_bytes()));
        }
        for word in &record.words {
            doc.add_bytes(self.terms, &term_of(TOKEN_FIELDS as u8, word.as_bytes()));
        }
        for (n, &value) in record.order.iter().enumerate() {
            match self.order[n] {
                Some(column) => doc.add_u64(column, value.into()),
                None => doc.add_bytes(self.terms, &order_value(n, value)),
            }
        }
        doc.add_bytes(self.record, &record.id.0);
        doc.add_bytes(self.provider, &[2; 16]);
        let id = u128::from_be_bytes(record.id.0);
        doc.add_u64(self.hi, (id >> 64) as u64);
        doc.add_u64(self.lo, id as u64);
        payload(record).into_iter().for_each(|word| doc.add_u64(self.payload, word));
        doc
    }

    /// Adds a batch, commits it durably, and makes it searchable.
    pub fn index(&mut self, batch: &[Record]) -> Result<(), Failure> {
        for record in batch {
            self.writer.add_document(self.document(record))?;
        }
        self.writer.commit()?;
        self.reader.reload()?;
        Ok(())
    }

    /// Takes up what has been merged.
    pub fn reload(&self) -> Result<(), Failure> {
        Ok(self.reader.reload()?)
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn condition(&self, condition: &Condition) -> Box<dyn Query> {
        let exactly = |term: Vec<u8>| -> Box<dyn Query> {
            Box::new(TermQuery::new(Term::from_field_bytes(self.terms, &term), IndexRecordOption::Basic))
        };
        match condition {
            Condition::Token { field, value } => exactly(term_of(*field as u8, value.as_bytes())),
            Condition::Word(word) => exactly(term_of(TOKEN_FIELDS as u8, word.as_bytes())),
            Condition::Range { field, from, to } => match self.order[*field] {
                Some(column) => {
                    let end = |value: u32| Bound::Included(Term::from_field_u64(column, value.into()));
                    Box::new(RangeQuery::new(end(*from), end(*to)))
                }
                None => {
                    let term = |value| Term::from_field_bytes(self.terms, &order_value(*field, value));
                    let end = |value: u32| Bound::Included(term(value));
                    Box::new(InvertedIndexRangeQuery::new(end(*from), end(*to)))
                }
            },
        }
    }

    /// The query of a question.
    pub fn query(&self, question: &Question) -> Box<dyn Query> {
        let mut parts: Vec<_> = question.all.iter().map(|c| (Occur::Must, self.condition(c))).collect();
        if parts.len() == 1 { parts.remove(0).1 } else { Box::new(BooleanQuery::new(parts)) }
    }

    /// Whether it can answer in an order without walking a dictionary by hand.
    pub fn sorts(&self) -> bool {
        self.ranges == Ranges::Columns
    }

    /// Ids of the matches, ascending, or of a page in its order.
    pub fn find(&self, query: &dyn Query, page: Option<(usize, usize)>) -> Result<Vec<RecordId>, Failure> {
        let searcher = self.reader.searcher();
        let mut ids = Vec::new();
        if let Some((field, limit)) = page {
            let top = TopDocs::with_limit(limit).order_by_fast_field::<u64>(ORDER[field], Order::Desc);
            let segments = searcher.segment_readers().iter().map(Ids::open).collect::<Result<Vec<_>, _>>()?;
            for (_, at) in searcher.search(query, &top)? {
                ids.push(segments[at.segment_ord as usize].get(at.doc_id));
            }
            return Ok(ids);
        }
        let weight = query.weight(EnableScoring::disabled_from_searcher(&searcher))?;
        for reader in searcher.segment_readers() {
            let of = Ids::open(reader)?;
            weight.for_each_no_score(reader, &mut |docs| ids.extend(docs.iter().map(|&doc| of.get(doc))))?;
        }
        ids.sort_unstable();
        Ok(ids)
    }

    /// Matches, ascending by id, each with its payload.
    pub fn matches(&self, query: &dyn Query) -> Result<Vec<(RecordId, Vec<u64>)>, Failure> {
        let searcher = self.reader.searcher();
        let weight = query.weight(EnableScoring::disabled_from_searcher(&searcher))?;
        let mut matches = Vec::new();
        for reader in searcher.segment_readers() {
            let (of, payloads) = (Ids::open(reader)?, reader.fast_fields().u64("g")?);
            weight.for_each_no_score(reader, &mut |docs| {
                for &doc in docs {
                    let rows = payloads.index.value_row_ids(doc);
                    let mut words = vec![0; rows.len()];
                    payloads.values.get_range(rows.start.into(), &mut words);
                    matches.push((of.get(doc), words));
                }
            })?;
        }
        matches.sort_unstable_by_key(|(id, _)| *id);
        Ok(matches)
    }
}

/// Record ids of a segment's documents.
struct Ids {
    hi: std::sync::Arc<dyn ColumnValues<u64>>,
    lo: std::sync::Arc<dyn ColumnValues<u64>>,
}

impl Ids {
    fn open(reader: &SegmentReader) -> tantivy::Result<Self> {
        let column = |name| Ok::<_, tantivy::TantivyError>(reader.fast_fields().u64(name)?.first_or_default_col(0));
        Ok(Self { hi: column("hi")?, lo: column("lo")? })
    }

    fn get(&self, doc: u32) -> RecordId {
        RecordId((u128::from(self.hi.get_val(doc)) << 64 | u128::from(self.lo.get_val(doc))).to_be_bytes())
    }
}

/// When segments are merged: as in our cloud.
fn merge_policy() -> LogMergePolicy {
    let mut merge = LogMergePolicy::default();
    merge.set_min_num_segments(12);
    merge.set_del_docs_ratio_before_merge(0.3);
    merge
}

/// Bytes of the segments that an index consists of, ours too; `None` while some of them are still to be merged. Files of
/// merged ones may lie there for longer and do not count.
pub fn settled_bytes(dir: &Path) -> Result<Option<u64>, Failure> {
    let segments = Index::open_in_dir(dir)?.searchable_segment_metas()?;
    if !merge_policy().compute_merge_candidates(&segments).is_empty() {
        return Ok(None);
    }
    let names: Vec<String> = segments.iter().map(|segment| segment.id().uuid_string()).collect();
    let mut bytes = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let file = entry.file_name();
        let file = file.to_string_lossy();
        if names.iter().any(|name| file.starts_with(name)) {
            bytes += entry.metadata()?.len();
        }
    }
    Ok(Some(bytes))
}
