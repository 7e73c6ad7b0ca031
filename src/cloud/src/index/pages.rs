//! The matches of wide questions, kept for their next pages.
//!
//! A range lies in the order of its codes and a page in that of ids, so that a page needs every match of the range. They are
//! gathered for the first page; the others are taken from here, as long as the index stays as it is.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use sealdex_wire::search::CloudClause;

use super::docs::Docs;

/// Questions whose matches are kept: at most a bit a record each.
const QUESTIONS: usize = 4;
/// So few matches are gathered again in a millisecond.
const FEW: usize = 4096;

/// The live matches of every segment.
pub(super) type Matches = Arc<[Docs]>;

/// What is kept for one state of the index.
#[derive(Default)]
pub(super) struct Pages(Mutex<VecDeque<(CloudClause, Matches)>>);

impl Pages {
    pub(super) fn of(&self, clause: &CloudClause) -> Option<Matches> {
        let mut kept = self.kept();
        let at = kept.iter().position(|(of, _)| of == clause)?;
        // What is asked for again is forgotten last.
        let question = kept.remove(at)?;
        let matches = question.1.clone();
        kept.push_back(question);
        Some(matches)
    }

    /// The matches of a clause, which are kept if they are many and more than the page has room for.
    pub(super) fn keep(&self, clause: &CloudClause, matches: Vec<Docs>, limit: usize) -> Matches {
        let matches: Matches = matches.into();
        // Every record there is is found without gathering.
        if matches!(clause, CloudClause::All) || matches.iter().map(Docs::len).sum::<usize>() <= limit.max(FEW) {
            return matches;
        }
        let mut kept = self.kept();
        // Another search may have been as far at the same time.
        kept.retain(|(of, _)| of != clause);
        kept.push_back((clause.clone(), matches.clone()));
        if kept.len() > QUESTIONS {
            kept.pop_front();
        }
        matches
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<(CloudClause, Matches)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(n: u8) -> CloudClause {
        CloudClause::Terms(vec![n; 16])
    }

    fn matches(count: u32) -> Vec<Docs> {
        let mut docs = Docs::new(100_000);
        docs.extend(&(0..count).collect::<Vec<_>>());
        vec![docs]
    }

    #[test]
    fn what_was_asked_for_last_is_kept() {
        let pages = Pages::default();
        for n in 0..4 {
            pages.keep(&question(n), matches(5000 + u32::from(n)), 1000);
        }
        assert_eq!(pages.of(&question(0)).unwrap()[0].len(), 5000);
        pages.keep(&question(4), matches(9000), 1000);
        assert!(pages.of(&question(1)).is_none(), "the one that was not asked for the longest time");
        assert!([0, 2, 3, 4].iter().all(|n| pages.of(&question(*n)).is_some()));
    }

    #[test]
    fn neither_few_nor_the_last_page_nor_all_records() {
        let pages = Pages::default();
        pages.keep(&question(1), matches(4096), 10);
        pages.keep(&question(2), matches(5000), 5000);
        pages.keep(&CloudClause::All, matches(5000), 10);
        assert!([question(1), question(2), CloudClause::All].iter().all(|q| pages.of(q).is_none()));
    }
}
