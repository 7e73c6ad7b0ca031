//! The reference index: looks at every live record of the snapshot. For tests.

use std::sync::{Arc, PoisonError, RwLock};

use sealdex_wire::search::CloudCursor;

use sealdex_ledger::run::TermRange;

use super::{Found, IndexError, IndexSearch, MergedIndex, Searched, is_after, matches};
use crate::store::Snapshot;

/// No index at all: every search reads every record.
#[derive(Default)]
pub struct BruteForce {
    state: RwLock<Option<Arc<dyn Snapshot>>>,
}

impl BruteForce {
    fn state(&self) -> Option<Arc<dyn Snapshot>> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl MergedIndex for BruteForce {
    fn catch_up(&self, snapshot: Arc<dyn Snapshot>) -> Result<u64, IndexError> {
        let seq = snapshot.last_seq();
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = Some(snapshot);
        Ok(seq)
    }

    fn indexed(&self) -> u64 {
        self.state().map_or(0, |s| s.last_seq())
    }

    fn search(&self, search: &IndexSearch) -> Result<Searched, IndexError> {
        let Some(snapshot) = self.state() else { return Ok(Searched::default()) };
        let descending = search.sort.is_some_and(|s| s.descending);
        let mut found = Vec::new();
        for id in snapshot.ids(None, usize::MAX)? {
            let Some(record) = snapshot.record(id)? else { continue };
            let code = match &search.sort {
                None => Some(0),
                Some(sort) => record.sort_code(&sort.tag, descending),
            };
            let Some(code) = code else { continue };
            let at = CloudCursor { code, id };
            if is_after(at, search.after, descending) && matches(&search.clause, &record) {
                found.push(Found::of(at, record));
            }
        }
        found.sort_by_key(|f| (f.at.code, f.at.id));
        if descending {
            found.reverse();
        }
        found.truncate(search.limit);
        Ok(Searched { found, state: Some(snapshot) })
    }

    fn frequency(&self, range: &TermRange, _: u64) -> Result<u64, IndexError> {
        let Some(snapshot) = self.state() else { return Ok(0) };
        let mut count = 0;
        for id in snapshot.ids(None, usize::MAX)? {
            let terms = snapshot.record(id)?.map(|r| r.terms).unwrap_or_default();
            count += terms.as_chunks::<16>().0.iter().filter(|t| range.contains(&TermRange::one(**t))).count() as u64;
        }
        Ok(count)
    }

    fn snapshot(&self) -> Option<Arc<dyn Snapshot>> {
        self.state()
    }

    fn bytes(&self) -> u64 {
        0
    }
}
