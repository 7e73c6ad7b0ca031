//! Matches in record id order.

use sealdex_crypto::RecordId;
use sealdex_wire::search::CloudCursor;
use tantivy::{
    DocId, Searcher,
    query::{EnableScoring, Query},
};

use super::{Found, IndexError, IndexSearch, columns::Columns, matches, plan::Plan};
use crate::store::Snapshot;

/// Ids gathered beyond the page when records may still drop out.
const SPARE: usize = 4096;

/// Where a match is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    id: RecordId,
    segment: u32,
    doc: DocId,
}

/// The first matches after the cursor, from columns; from rows of the store where something is left to be decided by them.
pub(super) fn find(
    searcher: &Searcher,
    columns: &[Columns],
    snapshot: &dyn Snapshot,
    plan: &Plan,
    search: &IndexSearch,
) -> Result<Vec<Found>, IndexError> {
    let after = search.after.map(|c| c.id);
    if plan.rest.is_empty() {
        let places = smallest(searcher, columns, &*plan.query, after, search.limit)?;
        return places.into_iter().map(|place| found(columns, place)).collect();
    }
    filtered(searcher, columns, snapshot, plan, search)
}

fn found(columns: &[Columns], place: Place) -> Result<Found, IndexError> {
    let routing = columns.get(place.segment as usize).and_then(|c| c.routing(place.doc));
    let (provider, tag) = routing.ok_or(IndexError::Column(place.id))?;
    Ok(Found { at: CloudCursor { code: 0, id: place.id }, provider, tag })
}

/// Of what is found, only what matches the rest of the plan.
fn filtered(
    searcher: &Searcher,
    columns: &[Columns],
    snapshot: &dyn Snapshot,
    plan: &Plan,
    search: &IndexSearch,
) -> Result<Vec<Found>, IndexError> {
    let mut found = Vec::new();
    let mut after = search.after.map(|c| c.id);
    loop {
        let wanted = (search.limit - found.len()).saturating_add(SPARE);
        let places = smallest(searcher, columns, &*plan.query, after, wanted)?;
        let last_page = places.len() < wanted;
        after = places.last().map(|p| p.id).or(after);
        for Place { id, .. } in places {
            // The index was brought to this very snapshot; a document without a record can only be
            // an index that was tampered with.
            if let Some(record) = snapshot.record(id)?
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

/// Up to `wanted` matches of the smallest ids after `after`, ascending.
fn smallest(
    searcher: &Searcher,
    columns: &[Columns],
    query: &dyn Query,
    after: Option<RecordId>,
    wanted: usize,
) -> tantivy::Result<Vec<Place>> {
    let weight = query.weight(EnableScoring::disabled_from_searcher(searcher))?;
    let mut best: Vec<Place> = Vec::new();
    // Twice what is needed is gathered between two selections: linear in all.
    let room = wanted.saturating_mul(2).max(1024);
    for (segment, (reader, columns)) in (0..).zip(searcher.segment_readers().iter().zip(columns)) {
        let alive = reader.alive_bitset();
        weight.for_each_no_score(reader, &mut |docs| {
            for &doc in docs {
                if alive.is_some_and(|a| a.is_deleted(doc)) {
                    continue;
                }
                let id = columns.id(doc);
                if after.is_none_or(|a| id > a) {
                    best.push(Place { id, segment, doc });
                }
            }
            if best.len() > room && wanted < best.len() {
                best.select_nth_unstable(wanted);
                best.truncate(wanted);
            }
        })?;
    }
    best.sort_unstable();
    best.truncate(wanted);
    Ok(best)
}
