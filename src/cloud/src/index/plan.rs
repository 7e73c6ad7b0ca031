//! Which part of a clause the index evaluates, and which is read off the records it finds.
//!
//! A wide range beside a rare term ("this code, since 1990") would gather half of a field's run to
//! intersect it with a few records. The records are read for the answer anyway and hold their order
//! terms, so such a conjunct is checked there.

use sealdex_ledger::run::TermRange;
use sealdex_wire::search::CloudClause;
use tantivy::{InvertedIndexReader, Searcher, SegmentReader, Term, query::Query};

use super::{
    dictionary::Dictionaries,
    query::{self, Fields, order_term},
};

/// Records read at most to check a conjunct there.
const FEW: u64 = 4096;
/// Terms whose frequencies are looked up to find out how rare a conjunct is.
const LOOKED_UP: usize = 64;
/// A range is wide when it has more pairs than this for every record that would be read instead:
/// reading one costs about 2 µs, and more from the disk; counting and gathering a pair some 40 ns.
const PAIRS_PER_RECORD: u64 = 20;
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
/// counting the pairs of ranges for at most about a millisecond.
pub(super) fn plan(
    searcher: &Searcher,
    dictionaries: &Dictionaries,
    clause: &CloudClause,
    fields: Fields,
) -> tantivy::Result<Plan> {
    let terms = Terms { searcher, dictionaries, fields };
    let mut conjuncts = Vec::new();
    flatten(clause, &mut conjuncts);
    if conjuncts.len() < 2 {
        return Ok(Plan { query: query::compile(clause, fields, dictionaries), rest: Vec::new() });
    }
    let mut fewest = FEW + 1;
    for conjunct in &conjuncts {
        if let CloudClause::Terms(packed) = conjunct
            && packed.len() / 16 <= LOOKED_UP
        {
            fewest = fewest.min(terms.frequency(packed)?);
        }
    }
    // How much each part with ranges in it would gather; `None` for more than is worth gathering.
    let mut gathered = Vec::with_capacity(conjuncts.len());
    for conjunct in &conjuncts {
        let room = NARROW + PAIRS_PER_RECORD * fewest;
        let mut left = room;
        let fits = terms.fit(conjunct, &mut left)?;
        if fits && only_ranges(conjunct) {
            fewest = fewest.min(room - left);
        }
        gathered.push(fits.then_some(room - left));
    }
    if fewest > FEW {
        return Ok(Plan { query: query::compile(clause, fields, dictionaries), rest: Vec::new() });
    }
    let (mut kept, mut rest) = (Vec::new(), Vec::new());
    for (conjunct, pairs) in conjuncts.into_iter().zip(gathered) {
        let wide = pairs.is_none_or(|pairs| pairs > NARROW + PAIRS_PER_RECORD * fewest);
        if wide { &mut rest } else { &mut kept }.push(conjunct.clone());
    }
    Ok(Plan { query: query::compile(&CloudClause::And(kept), fields, dictionaries), rest })
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

/// Where terms are looked up.
struct Terms<'s> {
    searcher: &'s Searcher,
    dictionaries: &'s Dictionaries,
    fields: Fields,
}

impl Terms<'_> {
    /// Documents of all these terms together, deleted ones included.
    fn frequency(&self, packed: &[u8]) -> tantivy::Result<u64> {
        let frequency = |term| self.searcher.doc_freq(&Term::from_field_bytes(self.fields.terms, term));
        packed.chunks_exact(16).map(frequency).sum()
    }

    /// Whether all ranges in a conjunct together have no more than `room` pairs, which is lowered by as many.
    fn fit(&self, clause: &CloudClause, room: &mut u64) -> tantivy::Result<bool> {
        match clause {
            CloudClause::Range { tag, lo, hi } => {
                let (from, to) = (order_term(tag, *lo), order_term(tag, *hi));
                for reader in self.searcher.segment_readers() {
                    let index = reader.inverted_index(self.fields.terms)?;
                    match self.pairs(reader, &index, &from, &to, *room)? {
                        Some(pairs) => *room -= pairs,
                        None => return Ok(false),
                    }
                }
                Ok(true)
            }
            CloudClause::And(cs) | CloudClause::Or(cs) => {
                for c in cs {
                    if !self.fit(c, room)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            CloudClause::Not(c) => self.fit(c, room),
            CloudClause::All | CloudClause::Terms(_) | CloudClause::Source(_) => Ok(true),
        }
    }

    /// Pairs of a segment's range, or `None` if there are more than `most`. A term has a document at least.
    fn pairs(
        &self,
        reader: &SegmentReader,
        index: &InvertedIndexReader,
        from: &[u8; 16],
        to: &[u8; 16],
        most: u64,
    ) -> tantivy::Result<Option<u64>> {
        if self.within(reader, index, from, to)? > most {
            return Ok(None);
        }
        if let Some(dictionary) = self.dictionaries.get(reader) {
            return dictionary.documents(dictionary.within(from, to), most);
        }
        let (mut run, mut pairs) = (index.terms().range().without_keys().ge(from).le(to).into_stream()?, 0);
        while run.advance() {
            pairs += u64::from(run.value().doc_freq);
            if pairs > most {
                return Ok(None);
            }
        }
        Ok(Some(pairs))
    }

    /// How many terms of a segment are between two, both included: by their places, whatever there is between.
    fn within(
        &self,
        reader: &SegmentReader,
        index: &InvertedIndexReader,
        from: &[u8; 16],
        to: &[u8; 16],
    ) -> tantivy::Result<u64> {
        if let Some(dictionary) = self.dictionaries.get(reader) {
            let places = dictionary.within(from, to);
            return Ok(places.end - places.start);
        }
        let mut first = index.terms().range().without_keys().ge(from).le(to).into_stream()?;
        let mut last = index.terms().range().without_keys().ge(from).le(to).backward().into_stream()?;
        Ok(if first.advance() && last.advance() { (last.term_ord() + 1).saturating_sub(first.term_ord()) } else { 0 })
    }
}

/// About how many pairs are in a range: its terms. Those of deleted documents are counted, and counting stops beyond `most`.
pub(super) fn pairs_within(
    searcher: &Searcher,
    dictionaries: &Dictionaries,
    range: &TermRange,
    most: u64,
    fields: Fields,
) -> tantivy::Result<u64> {
    if range.lo == range.hi {
        return searcher.doc_freq(&Term::from_field_bytes(fields.terms, &range.lo));
    }
    let (terms, mut count) = (Terms { searcher, dictionaries, fields }, 0);
    for reader in searcher.segment_readers() {
        count += terms.within(reader, &*reader.inverted_index(fields.terms)?, &range.lo, &range.hi)?;
        if count > most {
            break;
        }
    }
    Ok(count)
}
