//! Matches in the order of one field: a walk along the field's run of order terms.
//!
//! The runs of all segments are merged code by code, from the end when descending, and each
//! document is looked up in the set of matches. The walk stops at the limit, so a page of a clause
//! that most of the run matches costs little. When matches are rare in the run, the walk is given up
//! after a few terms per match and each match's own code is read from the store instead.

use std::sync::Arc;

use sealdex_wire::search::{CloudCursor, CloudSort};
use tantivy::{
    DocId, DocSet, InvertedIndexReader, Searcher, TERMINATED,
    query::{EnableScoring, Query},
    schema::{Field, IndexRecordOption},
    termdict::TermStreamer,
};

use super::{
    Found, IndexError, IndexSearch, columns::Columns, docs::DocBits, is_after, matches, plan::Plan, query::order_term,
};
use crate::store::Snapshot;

/// Terms walked per match before the matches' own codes are read instead. Reading a record costs
/// about as much as walking this many terms.
const TERMS_PER_MATCH: usize = 6;
/// Terms walked in any case.
const FREE_TERMS: usize = 2048;

/// The live matches of one segment.
struct Matches<'a> {
    docs: DocBits,
    columns: &'a Columns,
    index: Arc<InvertedIndexReader>,
}

/// The first matches after the cursor in the order of `sort`.
pub(super) fn find(
    searcher: &Searcher,
    columns: &[Arc<Columns>],
    snapshot: &dyn Snapshot,
    plan: &Plan,
    search: &IndexSearch,
    sort: CloudSort,
    terms: Field,
) -> Result<Vec<Found>, IndexError> {
    let segments = gather(searcher, columns, &*plan.query, terms)?;
    let total: usize = segments.iter().map(|m| m.docs.len()).sum();
    if total == 0 {
        return Ok(Vec::new());
    }
    let mut page = Page { snapshot, plan, search, sort, found: Vec::new() };
    if !page.walk(&segments, FREE_TERMS + TERMS_PER_MATCH * total)? {
        page.found.clear();
        page.read_all(&segments)?;
    }
    Ok(page.found)
}

fn gather<'a>(
    searcher: &Searcher,
    columns: &'a [Arc<Columns>],
    query: &dyn Query,
    terms: Field,
) -> tantivy::Result<Vec<Matches<'a>>> {
    let weight = query.weight(EnableScoring::disabled_from_searcher(searcher))?;
    let mut out = Vec::new();
    for (reader, columns) in searcher.segment_readers().iter().zip(columns) {
        let mut docs = DocBits::new(reader.max_doc());
        let alive = reader.alive_bitset();
        weight.for_each_no_score(reader, &mut |found| {
            let live = found.iter().filter(|&&d| !alive.is_some_and(|a| a.is_deleted(d)));
            live.for_each(|&d| docs.insert(d));
        })?;
        out.push(Matches { docs, columns, index: reader.inverted_index(terms)? });
    }
    Ok(out)
}

struct Page<'a> {
    snapshot: &'a dyn Snapshot,
    plan: &'a Plan,
    search: &'a IndexSearch,
    sort: CloudSort,
    found: Vec<Found>,
}

impl Page<'_> {
    /// Walks the runs; false when `budget` terms did not fill the page.
    fn walk(&mut self, segments: &[Matches<'_>], budget: usize) -> Result<bool, IndexError> {
        let mut runs = Vec::with_capacity(segments.len());
        for m in segments {
            runs.push(Run::open(m, self.sort, self.search.after)?);
        }
        let mut walked = 0;
        let mut here = Vec::new();
        loop {
            let codes = runs.iter().filter_map(|r| r.code);
            let Some(code) = (if self.sort.descending { codes.max() } else { codes.min() }) else { return Ok(true) };
            here.clear();
            for run in runs.iter_mut().filter(|r| r.code == Some(code)) {
                run.collect(&mut here)?;
                run.advance();
                walked += 1;
            }
            here.sort_unstable();
            if self.sort.descending {
                here.reverse();
            }
            for &id in &here {
                self.take(CloudCursor { code, id })?;
                if self.found.len() == self.search.limit {
                    return Ok(true);
                }
            }
            if walked > budget {
                return Ok(false);
            }
        }
    }

    /// Takes a match unless it belongs to another page or to another of its codes.
    fn take(&mut self, at: CloudCursor) -> Result<(), IndexError> {
        if !is_after(at, self.search.after, self.sort.descending) {
            return Ok(());
        }
        if let Some(record) = self.snapshot.record(at.id)?
            && record.sort_code(&self.sort.tag, self.sort.descending) == Some(at.code)
            && self.plan.rest.iter().all(|c| matches(c, &record))
        {
            self.found.push(Found::of(at, record));
        }
        Ok(())
    }

    /// Reads every match's code. Cost: about 2 µs a match.
    fn read_all(&mut self, segments: &[Matches<'_>]) -> Result<(), IndexError> {
        let mut places = Vec::new();
        for m in segments {
            for id in m.docs.iter().map(|doc| m.columns.id(doc)) {
                let record = self.snapshot.record(id)?;
                let Some(code) = record.and_then(|r| r.sort_code(&self.sort.tag, self.sort.descending)) else {
                    continue;
                };
                if is_after(CloudCursor { code, id }, self.search.after, self.sort.descending) {
                    places.push((code, id));
                }
            }
        }
        places.sort_unstable();
        if self.sort.descending {
            places.reverse();
        }
        for (code, id) in places {
            if self.found.len() == self.search.limit {
                break;
            }
            self.take(CloudCursor { code, id })?;
        }
        Ok(())
    }
}

/// One segment's run of the field, standing at `code`.
struct Run<'a> {
    matches: &'a Matches<'a>,
    stream: TermStreamer<'a>,
    code: Option<u64>,
}

impl<'a> Run<'a> {
    /// Starts at the cursor's code, which other matches of the next page may share.
    fn open(matches: &'a Matches<'a>, sort: CloudSort, after: Option<CloudCursor>) -> Result<Self, IndexError> {
        let (lo, hi) = match after {
            None => (0, u64::MAX),
            Some(c) if sort.descending => (0, c.code),
            Some(c) => (c.code, u64::MAX),
        };
        let range = matches.index.terms().range().ge(order_term(&sort.tag, lo)).le(order_term(&sort.tag, hi));
        let range = if sort.descending { range.backward() } else { range };
        let stream = range.into_stream().map_err(tantivy::TantivyError::from)?;
        let mut run = Self { matches, stream, code: None };
        run.advance();
        Ok(run)
    }

    fn advance(&mut self) {
        self.code =
            if self.stream.advance() { self.stream.key().last_chunk().map(|c| u64::from_be_bytes(*c)) } else { None };
    }

    /// Adds the ids of matches at the current term.
    fn collect(&self, out: &mut Vec<sealdex_crypto::RecordId>) -> tantivy::Result<()> {
        let mut postings =
            self.matches.index.read_postings_from_terminfo(self.stream.value(), IndexRecordOption::Basic)?;
        let mut doc: DocId = postings.doc();
        while doc != TERMINATED {
            if self.matches.docs.contains(doc) {
                out.push(self.matches.columns.id(doc));
            }
            doc = postings.advance();
        }
        Ok(())
    }
}
