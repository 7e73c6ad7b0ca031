//! Clauses as tantivy queries.
//!
//! A lone term stays a lazy posting list, so that an intersection skips through it. Many terms and
//! ranges of order terms are gathered per segment into a sorted set, ranges by places
//! ([`super::dictionary`]): tantivy's own range query would scan a column, and its union of thousands of terms a heap.

use sealdex_wire::search::CloudClause;
use tantivy::{
    DocId, DocSet, Score, SegmentReader, TantivyError, Term,
    query::{
        AllQuery, BooleanQuery, ConstScorer, EmptyQuery, EmptyScorer, EnableScoring, Explanation, Occur, Query, Scorer,
        TermQuery, Weight,
    },
    schema::{Field, IndexRecordOption},
};

use super::{dictionary::Dictionaries, docs::Gather};

/// Where a clause's leaves are looked up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields {
    /// Terms and order terms.
    pub(super) terms: Field,
    /// Record id.
    pub(super) record: Field,
    /// Provider id.
    pub(super) provider: Field,
}

/// The query for a clause. Its depth and size are bounded by `CloudClause::check`.
pub(super) fn compile(clause: &CloudClause, fields: Fields, dictionaries: &Dictionaries) -> Box<dyn Query> {
    match clause {
        CloudClause::All => Box::new(AllQuery),
        CloudClause::Terms(packed) => any_of(fields.terms, packed.as_chunks::<16>().0.to_vec()),
        CloudClause::Range { tag, lo, hi } => Box::new(GatherQuery(Leaves::Range {
            field: fields.terms,
            from: order_term(tag, *lo),
            to: order_term(tag, *hi),
            dictionaries: dictionaries.clone(),
        })),
        CloudClause::Source(providers) => any_of(fields.provider, providers.iter().map(|p| p.0).collect()),
        CloudClause::And(all) => every(all, fields, dictionaries),
        CloudClause::Or(any) => some(any, fields, dictionaries),
        CloudClause::Not(_) => every(std::slice::from_ref(clause), fields, dictionaries),
    }
}

/// `tag ‖ u64(code)`: spec section 9.
pub(super) fn order_term(tag: &[u8; 8], code: u64) -> [u8; 16] {
    let mut out = [0; 16];
    out[..8].copy_from_slice(tag);
    out[8..].copy_from_slice(&code.to_be_bytes());
    out
}

fn any_of(field: Field, mut values: Vec<[u8; 16]>) -> Box<dyn Query> {
    values.sort_unstable();
    values.dedup();
    match values.as_slice() {
        [] => Box::new(EmptyQuery),
        [one] => Box::new(TermQuery::new(Term::from_field_bytes(field, one), IndexRecordOption::Basic)),
        _ => Box::new(GatherQuery(Leaves::Terms { field, values })),
    }
}

/// All of `clauses`; what is negated needs something to be taken from.
fn every(clauses: &[CloudClause], fields: Fields, dictionaries: &Dictionaries) -> Box<dyn Query> {
    let mut parts: Vec<(Occur, Box<dyn Query>)> = clauses
        .iter()
        .map(|c| match c {
            CloudClause::Not(inner) => (Occur::MustNot, compile(inner, fields, dictionaries)),
            other => (Occur::Must, compile(other, fields, dictionaries)),
        })
        .collect();
    if parts.iter().all(|(occur, _)| *occur == Occur::MustNot) {
        parts.push((Occur::Must, Box::new(AllQuery)));
    }
    Box::new(BooleanQuery::new(parts))
}

/// Any of `clauses`; terms side by side are looked up together.
fn some(clauses: &[CloudClause], fields: Fields, dictionaries: &Dictionaries) -> Box<dyn Query> {
    let mut terms = Vec::new();
    let mut parts: Vec<(Occur, Box<dyn Query>)> = Vec::new();
    for c in clauses {
        match c {
            CloudClause::Terms(packed) => terms.extend_from_slice(packed.as_chunks::<16>().0),
            other => parts.push((Occur::Should, compile(other, fields, dictionaries))),
        }
    }
    if parts.is_empty() {
        return any_of(fields.terms, terms);
    }
    if !terms.is_empty() {
        parts.push((Occur::Should, any_of(fields.terms, terms)));
    }
    Box::new(BooleanQuery::new(parts))
}

/// Any of many terms, or of a run of the sorted dictionary.
#[derive(Clone, Debug)]
enum Leaves {
    /// Ascending, distinct.
    Terms { field: Field, values: Vec<[u8; 16]> },
    /// Both ends included.
    Range { field: Field, from: [u8; 16], to: [u8; 16], dictionaries: Dictionaries },
}

#[derive(Clone, Debug)]
struct GatherQuery(Leaves);

impl Query for GatherQuery {
    fn weight(&self, _: EnableScoring<'_>) -> tantivy::Result<Box<dyn Weight>> {
        Ok(Box::new(GatherWeight(self.0.clone())))
    }
}

struct GatherWeight(Leaves);

impl Weight for GatherWeight {
    fn scorer(&self, reader: &SegmentReader, boost: Score) -> tantivy::Result<Box<dyn Scorer>> {
        let mut gather = Gather::new(reader.max_doc());
        match &self.0 {
            Leaves::Terms { field, values } => {
                let index = reader.inverted_index(*field)?;
                for value in values {
                    if let Some(term) = index.terms().get(value)? {
                        gather.add(&index, &term)?;
                    }
                }
            }
            Leaves::Range { field, from, to, dictionaries } => {
                let index = reader.inverted_index(*field)?;
                if let Some(dictionary) = dictionaries.get(reader) {
                    dictionary.gather(dictionary.within(from, to), &index, &mut gather)?;
                } else {
                    let mut run = index.terms().range().without_keys().ge(from).le(to).into_stream()?;
                    while run.advance() {
                        gather.add(&index, run.value())?;
                    }
                }
            }
        }
        let docs = gather.finish();
        if docs.size_hint() == 0 {
            return Ok(Box::new(EmptyScorer));
        }
        Ok(Box::new(ConstScorer::new(docs, boost)))
    }

    fn explain(&self, reader: &SegmentReader, doc: DocId) -> tantivy::Result<Explanation> {
        let mut scorer = self.scorer(reader, 1.0)?;
        if scorer.doc() <= doc && scorer.seek(doc) == doc {
            Ok(Explanation::new("one of many terms", 1.0))
        } else {
            Err(TantivyError::InvalidArgument(format!("document {doc} does not match")))
        }
    }
}
