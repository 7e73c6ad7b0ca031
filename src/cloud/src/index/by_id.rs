//! Matches in record id order.

use std::{ops::RangeInclusive, sync::Arc};

use sealdex_crypto::RecordId;
use sealdex_wire::search::CloudCursor;
use tantivy::{
    DocId, Searcher,
    query::{EnableScoring, Query},
};

use super::{
    Found, IndexError, IndexSearch,
    columns::{Columns, halves},
    docs::Docs,
    matches,
    plan::Plan,
    tantivy::State,
};

/// Ids gathered beyond the page when records may still drop out.
const SPARE: usize = 4096;

/// Where a match is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    segment: u32,
    doc: DocId,
    id: RecordId,
}

/// The first matches after the cursor, from columns; from rows of the store where something is left to be decided by them.
pub(super) fn find(state: &State, plan: &Plan, search: &IndexSearch) -> Result<Vec<Found>, IndexError> {
    if !plan.rest.is_empty() {
        return filtered(state, plan, search);
    }
    let gathered;
    let kept = state.pages.of(&search.clause);
    let matches = match &kept {
        Some(kept) => &**kept,
        None => {
            let segments = state.searcher.segment_readers().iter();
            let mut matches: Vec<Docs> = segments.map(|reader| Docs::new(reader.max_doc())).collect();
            each_live(&state.searcher, &*plan.query, &mut |segment, docs| matches[segment as usize].extend(docs))?;
            gathered = state.pages.keep(&search.clause, matches, search.limit);
            &*gathered
        }
    };
    let (after, of_segments) = (search.after.map(|c| c.id), (0..).zip(matches));
    if matches.iter().map(Docs::len).sum::<usize>() <= search.limit {
        // All of them are on the page, but for those before it.
        let mut found = Vec::new();
        for (segment, docs) in of_segments {
            let columns = state.columns.get(segment).ok_or(IndexError::Column)?;
            let mut failed = None;
            docs.in_blocks(|docs| failed = failed.take().or(answer(columns, docs, after, &mut found).err()));
            failed.map_or(Ok(()), Err)?;
        }
        found.sort_unstable_by_key(|found| found.at.id);
        return Ok(found);
    }
    let mut page = Candidates::new(&state.columns, after, search.limit);
    for (segment, docs) in of_segments {
        docs.in_blocks(|block| page.offer(segment as u32, block));
    }
    answered(&state.columns, page.places())
}

/// Adds those after the cursor.
fn answer(
    columns: &Columns,
    docs: &[DocId],
    after: Option<RecordId>,
    found: &mut Vec<Found>,
) -> Result<(), IndexError> {
    found.reserve(docs.len());
    for answer in columns.answers(docs) {
        let (id, provider, tag) = answer.ok_or(IndexError::Column)?;
        if after.is_none_or(|after| id > after) {
            found.push(Found { at: CloudCursor { code: 0, id }, provider, tag });
        }
    }
    Ok(())
}

/// The matches at some places, in order.
fn answered(columns: &[Arc<Columns>], places: Vec<Place>) -> Result<Vec<Found>, IndexError> {
    let mut found = Vec::with_capacity(places.len());
    for places in places.chunk_by(|a, b| a.segment == b.segment) {
        let docs: Vec<DocId> = places.iter().map(|place| place.doc).collect();
        let columns = columns.get(places[0].segment as usize).ok_or(IndexError::Column)?;
        answer(columns, &docs, None, &mut found)?;
    }
    found.sort_unstable_by_key(|found| found.at.id);
    Ok(found)
}

/// Of what is found, only what matches the rest of the plan.
fn filtered(state: &State, plan: &Plan, search: &IndexSearch) -> Result<Vec<Found>, IndexError> {
    let mut found = Vec::new();
    let mut after = search.after.map(|c| c.id);
    loop {
        let wanted = (search.limit - found.len()).saturating_add(SPARE);
        let mut page = Candidates::new(&state.columns, after, wanted);
        each_live(&state.searcher, &*plan.query, &mut |segment, docs| page.offer(segment, docs))?;
        let mut places = page.places();
        places.sort_unstable_by_key(|place| place.id);
        let last_page = places.len() < wanted;
        let last = places.last().map(|p| p.id);
        if last.is_some() && last <= after {
            // Ids that the columns do not have: there would be no end of it.
            return Err(IndexError::Column);
        }
        after = last.or(after);
        for Place { id, .. } in places {
            // The index was brought to this very snapshot; a document without a record can only be
            // an index that was tampered with.
            if let Some(record) = state.snapshot.record(id)?
                && plan.rest.iter().all(|c| matches(c, &record))
            {
                found.push(Found::of(CloudCursor { code: 0, id }, record));
                if found.len() == search.limit {
                    return Ok(found);
                }
            }
        }
        if last_page {
            return Ok(found);
        }
    }
}

/// Hands over the live matches of every segment, some at a time and ascending in each.
fn each_live(searcher: &Searcher, query: &dyn Query, take: &mut dyn FnMut(u32, &[DocId])) -> tantivy::Result<()> {
    let weight = query.weight(EnableScoring::disabled_from_searcher(searcher))?;
    let mut live = Vec::new();
    for (segment, reader) in (0..).zip(searcher.segment_readers()) {
        let alive = reader.alive_bitset();
        weight.for_each_no_score(reader, &mut |docs| match alive {
            None => take(segment, docs),
            Some(alive) => {
                live.clear();
                live.extend(docs.iter().filter(|&&doc| alive.is_alive(doc)));
                take(segment, &live);
            }
        })?;
    }
    Ok(())
}

/// What may be on a page, by the first halves of ids alone: those are dense, and of most matches nothing else is read.
struct Candidates<'a> {
    /// Of each segment.
    columns: &'a [Arc<Columns>],
    after: Option<RecordId>,
    /// First halves that may still be on the page.
    range: RangeInclusive<u64>,
    wanted: usize,
    /// How many are gathered between two selections: so many that all selections together are linear.
    room: usize,
    kept: Vec<Candidate>,
    his: Vec<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    segment: u32,
    doc: DocId,
    hi: u64,
}

impl<'a> Candidates<'a> {
    fn new(columns: &'a [Arc<Columns>], after: Option<RecordId>, wanted: usize) -> Self {
        let from = after.map_or(0, |id| halves(id).0);
        let room = wanted.saturating_mul(2).max(1024);
        Self { columns, after, range: from..=u64::MAX, wanted, room, kept: Vec::new(), his: Vec::new() }
    }

    /// Takes documents of a segment, which has columns.
    fn offer(&mut self, segment: u32, docs: &[DocId]) {
        let Some(columns) = self.columns.get(segment as usize) else { return };
        columns.his(docs, &mut self.his);
        let near = docs.iter().zip(&self.his).filter(|(_, hi)| self.range.contains(hi));
        // Those that share the cursor's first half are decided at once, so that what is kept is after it.
        let after = self.after.map(|id| (halves(id).0, id));
        let near = near.filter(|&(&doc, &hi)| after.is_none_or(|(first, id)| hi > first || columns.id(doc) > id));
        self.kept.extend(near.map(|(&doc, &hi)| Candidate { segment, doc, hi }));
        if self.kept.len() > self.room {
            self.select();
        }
    }

    /// Leaves the `wanted` smallest, and those whose first halves are the same as the last of them.
    fn select(&mut self) {
        let Some(last) = self.wanted.checked_sub(1).filter(|&last| last < self.kept.len()) else { return };
        let last = self.kept.select_nth_unstable_by_key(last, |c| c.hi).1.hi;
        self.range = *self.range.start()..=last;
        self.kept.retain(|c| c.hi <= last);
        self.room = self.room.max(2 * self.kept.len());
    }

    /// The `wanted` smallest, as they lie in segments.
    fn places(mut self) -> Vec<Place> {
        self.select();
        self.kept.sort_unstable();
        let mut places = Vec::with_capacity(self.kept.len());
        for kept in self.kept.chunk_by(|a, b| a.segment == b.segment) {
            let docs: Vec<DocId> = kept.iter().map(|c| c.doc).collect();
            let Some(columns) = self.columns.get(kept[0].segment as usize) else { continue };
            let here = kept.iter().zip(columns.ids(&docs));
            places.extend(here.map(|(&Candidate { segment, doc, .. }, id)| Place { segment, doc, id }));
        }
        if self.wanted < places.len() {
            places.select_nth_unstable_by_key(self.wanted, |place| place.id);
            places.truncate(self.wanted);
            places.sort_unstable();
        }
        places
    }
}
