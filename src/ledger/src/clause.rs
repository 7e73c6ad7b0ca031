//! Clauses over terms: whether a record matches, and what must be shown to show that nothing else does.

use std::collections::{HashMap, HashSet};

use sealdex_crypto::PrincipalId;
use sealdex_wire::search::{CloudClause, CloudCursor, CloudSort, Scoped};

use crate::run::TermRange;

/// Whether a record with these terms (16 bytes each), pushed by `provider`, matches. Sources name providers
/// themselves: whoever is below them has been added.
#[must_use]
pub fn holds(clause: &CloudClause, provider: PrincipalId, terms: &[u8]) -> bool {
    let mut own = terms.chunks_exact(16);
    match clause {
        CloudClause::All => true,
        CloudClause::Terms(any) => own.any(|t| any.chunks_exact(16).any(|a| a == t)),
        CloudClause::Range { tag, lo, hi } => own.any(|t| {
            t.starts_with(tag) && t.last_chunk().is_some_and(|c| (*lo..=*hi).contains(&u64::from_be_bytes(*c)))
        }),
        CloudClause::Source(providers) => providers.contains(&provider),
        CloudClause::And(all) => all.iter().all(|c| holds(c, provider, terms)),
        CloudClause::Or(any) => any.iter().any(|c| holds(c, provider, terms)),
        CloudClause::Not(c) => !holds(c, provider, terms),
    }
}

/// The code a record sorts by: its largest under the tag when descending, else its smallest.
#[must_use]
pub fn sort_code(terms: &[u8], sort: CloudSort) -> Option<u64> {
    let codes = terms.chunks_exact(16).filter_map(|t| {
        let (head, code) = (t.first_chunk::<8>()?, t.last_chunk::<8>()?);
        (*head == sort.tag).then(|| u64::from_be_bytes(*code))
    });
    if sort.descending { codes.max() } else { codes.min() }
}

/// Whether `at` comes after `cursor` in an order.
#[must_use]
pub fn is_after(at: CloudCursor, cursor: Option<CloudCursor>, descending: bool) -> bool {
    let key = |c: CloudCursor| (c.code, c.id);
    match cursor {
        None => true,
        Some(c) if descending => key(at) < key(c),
        Some(c) => key(at) > key(c),
    }
}

/// Whether every record that matches has a pair in one of these ranges.
#[must_use]
pub fn covers(clause: &CloudClause, ranges: &Ranges) -> bool {
    match clause {
        CloudClause::Terms(any) => any.as_chunks().0.iter().all(|t| ranges.has(&TermRange::one(*t))),
        CloudClause::Range { tag, lo, hi } => ranges.has(&TermRange::codes(*tag, *lo, *hi)),
        CloudClause::And(all) => all.iter().any(|c| covers(c, ranges)),
        CloudClause::Or(any) => any.iter().all(|c| covers(c, ranges)),
        CloudClause::All | CloudClause::Source(_) | CloudClause::Not(_) => false,
    }
}

/// The ranges of a clause without conjunctions or negations, all of which have to be shown; `None` for any other.
#[must_use]
pub fn leaves(clause: &CloudClause) -> Option<Vec<TermRange>> {
    match clause {
        CloudClause::Terms(any) => Some(any.as_chunks().0.iter().map(|t| TermRange::one(*t)).collect()),
        CloudClause::Range { tag, lo, hi } => Some(vec![TermRange::codes(*tag, *lo, *hi)]),
        CloudClause::Or(any) => any.iter().map(leaves).collect::<Option<Vec<_>>>().map(|all| all.concat()),
        CloudClause::And(all) if all.len() == 1 => leaves(&all[0]),
        CloudClause::All | CloudClause::Source(_) | CloudClause::Not(_) | CloudClause::And(_) => None,
    }
}

/// Ranges that are shown.
#[derive(Debug, Default)]
pub struct Ranges {
    terms: HashSet<[u8; 16]>,
    /// By where they begin; each with the highest end so far.
    wide: Vec<([u8; 16], [u8; 16])>,
}

impl Ranges {
    /// Of these.
    #[must_use]
    pub fn new(ranges: &[TermRange]) -> Self {
        let terms = ranges.iter().filter(|r| r.lo == r.hi).map(|r| r.lo).collect();
        let mut wide: Vec<_> = ranges.iter().filter(|r| r.lo < r.hi).map(|r| (r.lo, r.hi)).collect();
        wide.sort_unstable();
        let mut highest = [0; 16];
        for (_, hi) in &mut wide {
            highest = highest.max(*hi);
            *hi = highest;
        }
        Self { terms, wide }
    }

    /// Whether one of them contains this. A binary search.
    #[must_use]
    pub fn has(&self, range: &TermRange) -> bool {
        let begun = self.wide.partition_point(|(lo, _)| *lo <= range.lo);
        let widest = begun.checked_sub(1).and_then(|at| self.wide.get(at));
        (range.lo == range.hi && self.terms.contains(&range.lo)) || widest.is_some_and(|(_, hi)| range.hi <= *hi)
    }
}

/// Which hospital's records alone can have a term.
#[derive(Debug, Default)]
pub struct Scopes {
    terms: HashMap<[u8; 16], PrincipalId>,
    tags: HashMap<[u8; 8], PrincipalId>,
}

impl Scopes {
    /// As the gate named them, which computed the terms.
    #[must_use]
    pub fn new(named: &[Scoped]) -> Self {
        let mut scopes = Self::default();
        for scoped in named {
            scopes.terms.extend(scoped.terms.as_chunks().0.iter().map(|t| (*t, scoped.hospital)));
            scopes.tags.extend(scoped.tags.as_chunks().0.iter().map(|t| (*t, scoped.hospital)));
        }
        scopes
    }

    /// The only hospital whose runs a range has to be shown in; `None` for all.
    #[must_use]
    pub fn of(&self, range: &TermRange) -> Option<PrincipalId> {
        if range.lo == range.hi
            && let Some(hospital) = self.terms.get(&range.lo)
        {
            return Some(*hospital);
        }
        let (tag, other) = (range.lo.first_chunk::<8>()?, range.hi.first_chunk::<8>()?);
        (tag == other).then(|| self.tags.get(tag).copied()).flatten()
    }
}

/// The providers that every match is of, if the clause says so.
#[must_use]
pub fn sources(clause: &CloudClause) -> Option<HashSet<PrincipalId>> {
    match clause {
        CloudClause::Source(providers) => Some(providers.iter().copied().collect()),
        CloudClause::And(all) => all.iter().filter_map(sources).reduce(|a, b| a.intersection(&b).copied().collect()),
        _ => None,
    }
}
