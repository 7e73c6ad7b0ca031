//! Which part of a clause the index evaluates, and which is read off the records it finds.
//!
//! A wide range beside a rare term ("this code, since 1990") would gather half of a field's run to
//! intersect it with a few records. The records are read for the answer anyway and hold their order
//! terms, so such a conjunct is checked there.

use sealdex_ledger::run::TermRange;
use sealdex_wire::search::CloudClause;
use tantivy::{Searcher, Term, query::Query, termdict::TermDictionary};

use super::query::{self, Fields, order_term};

/// Records read at most to check a conjunct there.
const FEW: u64 = 4096;
/// Terms whose frequencies are looked up to find out how rare a conjunct is.
const LOOKED_UP: usize = 64;
/// A range is wide when it has more pairs than this for every record that would be read instead:
/// reading one costs about 2 µs, gathering a pair 0.6 µs.
const PAIRS_PER_RECORD: u64 = 3;
/// A range of so few pairs is never wide.
const NARROW: u64 = 1024;

/// How a clause is evaluated.
pub(super) struct Plan {
    /// Finds every match, and others when there is a rest.
    pub(super) query: Box<dyn Query>,
    /// What a found record must match as well.
    pub(super) rest: Vec<CloudClause>,
}

/// Plans a clause. A clause of one part is looked up as it is; of several, the rarest is found out: a look-up a lone term, and
/// walking ranges for at most about a millisecond.
pub(super) fn plan(searcher: &Searcher, clause: &CloudClause, fields: Fields) -> tantivy::Result<Plan> {
    let mut conjuncts = Vec::new();
    flatten(clause, &mut conjuncts);
    if conjuncts.len() < 2 {
        return Ok(Plan { query: query::compile(clause, fields), rest: Vec::new() });
    }
    let mut fewest = FEW + 1;
    for conjunct in &conjuncts {
        if let CloudClause::Terms(packed) = conjunct
            && packed.len() / 16 <= LOOKED_UP
        {
            fewest = fewest.min(frequency(searcher, packed, fields)?);
        }
    }
    // How much each part with ranges in it would gather; `None` for more than is worth gathering.
    let mut gathered = Vec::with_capacity(conjuncts.len());
    for conjunct in &conjuncts {
        let room = NARROW + PAIRS_PER_RECORD * fewest;
        let mut left = room;
        let fits = fits(searcher, conjunct, fields, &mut left)?;
        if fits && only_ranges(conjunct) {
            fewest = fewest.min(room - left);
        }
        gathered.push(fits.then_some(room - left));
    }
    if fewest > FEW {
        return Ok(Plan { query: query::compile(clause, fields), rest: Vec::new() });
    }
    let (mut kept, mut rest) = (Vec::new(), Vec::new());
    for (conjunct, pairs) in conjuncts.into_iter().zip(gathered) {
        let wide = pairs.is_none_or(|pairs| pairs > NARROW + PAIRS_PER_RECORD * fewest);
        if wide { &mut rest } else { &mut kept }.push(conjunct.clone());
    }
    Ok(Plan { query: query::compile(&CloudClause::And(kept), fields), rest })
}

fn flatten<'a>(clause: &'a CloudClause, out: &mut Vec<&'a CloudClause>) {
    match clause {
        CloudClause::And(all) => all.iter().for_each(|c| flatten(c, out)),
        other => out.push(other),
    }
}

/// Whether whatever matches is in one of the clause's ranges, so that their pairs bound the matches.
fn only_ranges(clause: &CloudClause) -> bool {
    match clause {
        CloudClause::Range { .. } => true,
        CloudClause::Or(any) => any.iter().all(only_ranges),
        _ => false,
    }
}

/// Documents of all these terms together, deleted ones included.
fn frequency(searcher: &Searcher, packed: &[u8], fields: Fields) -> tantivy::Result<u64> {
    packed.chunks_exact(16).map(|t| searcher.doc_freq(&Term::from_field_bytes(fields.terms, t))).sum()
}

/// Whether all ranges in a conjunct together have no more than `room` pairs, which is lowered by as many.
fn fits(searcher: &Searcher, clause: &CloudClause, fields: Fields, room: &mut u64) -> tantivy::Result<bool> {
    match clause {
        CloudClause::Range { tag, lo, hi } => {
            for reader in searcher.segment_readers() {
                let index = reader.inverted_index(fields.terms)?;
                let (from, to) = (order_term(tag, *lo), order_term(tag, *hi));
                // A term has a document at least.
                if terms_within(index.terms(), &from, &to)? > *room {
                    return Ok(false);
                }
                let mut run = index.terms().range().without_keys().ge(from).le(to).into_stream()?;
                while run.advance() {
                    match room.checked_sub(u64::from(run.value().doc_freq)) {
                        Some(left) => *room = left,
                        None => return Ok(false),
                    }
                }
            }
            Ok(true)
        }
        CloudClause::And(cs) | CloudClause::Or(cs) => {
            for c in cs {
                if !fits(searcher, c, fields, room)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        CloudClause::Not(c) => fits(searcher, c, fields, room),
        CloudClause::All | CloudClause::Terms(_) | CloudClause::Source(_) => Ok(true),
    }
}

/// About how many pairs are in a range: its terms. Those of deleted documents are counted, and counting stops beyond `most`.
pub(super) fn pairs_within(searcher: &Searcher, range: &TermRange, most: u64, fields: Fields) -> tantivy::Result<u64> {
    if range.lo == range.hi {
        return searcher.doc_freq(&Term::from_field_bytes(fields.terms, &range.lo));
    }
    let mut count = 0;
    for reader in searcher.segment_readers() {
        let index = reader.inverted_index(fields.terms)?;
        count += terms_within(index.terms(), &range.lo, &range.hi)?;
        if count > most {
            break;
        }
    }
    Ok(count)
}

/// How many terms of a dictionary are between two, both included: by their places in it, whatever there is between.
fn terms_within(terms: &TermDictionary, from: &[u8; 16], to: &[u8; 16]) -> tantivy::Result<u64> {
    let mut first = terms.range().without_keys().ge(from).le(to).into_stream()?;
    let mut last = terms.range().without_keys().ge(from).le(to).backward().into_stream()?;
    Ok(if first.advance() && last.advance() { (last.term_ord() + 1).saturating_sub(first.term_ord()) } else { 0 })
}
