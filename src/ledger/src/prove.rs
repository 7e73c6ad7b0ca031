//! Making the proof of a page of matches, for whoever keeps the batches.

use std::collections::{BTreeMap, HashSet};

use sealdex_crypto::{PrincipalId, RecordId, log::Hash};
use sealdex_wire::search::{CloudClause, CloudMatches, CloudSearch};
use serde_bytes::ByteBuf;

use crate::{
    answer::{AnswerProof, Needs, RecordsProof, page_range, pairs_decide},
    clause::leaves,
    record::RecordLeaf,
    run::{PAGE_PAIRS, PAIR, RunProof, RunReader, TermRange},
};

/// Pairs that a proof shows at most, where they decide.
pub const MOST_PAIRS: u64 = 131_072;
/// Records whose terms a proof shows at most, where pairs do not decide.
pub const MOST_RECORDS: u64 = 8_192;
/// Runs times ranges that a proof looks through at most.
pub const MOST_LOOKUPS: u64 = 65_536;

/// A batch as its keeper has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchShape {
    /// Who pushed it.
    pub provider: PrincipalId,
    /// The hospital that provider belongs to.
    pub hospital: PrincipalId,
    /// Records.
    pub records: u32,
    /// Pairs of its run.
    pub pairs: u64,
}

/// A live record as its keeper has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptRecord {
    /// Place in its batch, from 0.
    pub place: u32,
    /// Its leaf.
    pub leaf: RecordLeaf,
    /// Its terms, 16 bytes each.
    pub terms: Vec<u8>,
}

/// One state of what the cloud keeps of the log's batches.
pub trait LedgerReader {
    /// What reading fails with.
    type Error;
    /// Batches.
    fn size(&self) -> u64;
    /// The batch at a place, from 1 to [`LedgerReader::size`].
    fn batch(&self, seq: u64) -> Result<BatchShape, Self::Error>;
    /// The pairs of a page of its run.
    fn page(&self, seq: u64, page: u64) -> Result<Vec<u8>, Self::Error>;
    /// A node of the tree over the pages.
    fn run_node(&self, seq: u64, place: u64) -> Result<Hash, Self::Error>;
    /// A node of the tree over the records.
    fn record_node(&self, seq: u64, place: u64) -> Result<Hash, Self::Error>;
    /// A record of the batch, unless it has ended.
    fn record(&self, seq: u64, id: RecordId) -> Result<Option<KeptRecord>, Self::Error>;
    /// About how many pairs of all runs are in a range; counting may stop beyond `most`.
    fn frequency(&self, range: &TermRange, most: u64) -> Result<u64, Self::Error>;
}

struct Run<'r, R: ?Sized> {
    reader: &'r R,
    seq: u64,
    pairs: u64,
}

impl<R: LedgerReader + ?Sized> RunReader for Run<'_, R> {
    type Error = R::Error;
    fn pairs(&self) -> u64 {
        self.pairs
    }
    fn page(&mut self, page: u64) -> Result<Vec<u8>, R::Error> {
        self.reader.page(self.seq, page)
    }
    fn node(&mut self, place: u64) -> Result<Hash, R::Error> {
        self.reader.run_node(self.seq, place)
    }
}

/// Proves a page of matches, or says why it cannot.
///
/// # Errors
/// Those of the reader.
pub fn prove<R: LedgerReader + ?Sized>(
    reader: &R,
    asked: &CloudSearch,
    answered: &CloudMatches,
) -> Result<AnswerProof, R::Error> {
    let size = reader.size();
    let unproved = |reason: String| {
        Ok(AnswerProof {
            size,
            unproved: Some(reason),
            ranges: Vec::new(),
            runs: Vec::new(),
            records: Vec::new(),
            terms: Vec::new(),
        })
    };
    // More than this is not shown, so it is not counted.
    let most = if leaves(&asked.clause).is_some() && asked.sort.is_none() { MOST_PAIRS } else { MOST_RECORDS };
    let mut cover = cheapest(reader, &asked.clause, most)?;
    if let Some(sort) = asked.sort {
        let range = page_range(sort.tag, sort.descending, asked.after, answered.next);
        let pairs = reader.frequency(&range, most)?;
        if cover.as_ref().is_none_or(|c| pairs < c.pairs) {
            cover = Some(Cover { pairs, ranges: vec![range] });
        }
    }
    let Some(Cover { pairs, mut ranges }) = cover else {
        return unproved("no condition narrows it that the index can show whole: only values and ranges can be".into());
    };
    ranges.sort_unstable();
    ranges.dedup();
    let decided = pairs_decide(asked, &ranges);
    let most = if decided { MOST_PAIRS } else { MOST_RECORDS };
    if pairs > most {
        let what = if decided { "index entries" } else { "records with all their index entries" };
        return unproved(format!("its narrowest condition alone has more than {most} {what}"));
    }
    let needs = Needs::new(asked, &ranges);
    let mut shapes = Vec::new();
    let mut lookups = 0;
    for seq in 1..=size {
        let shape = reader.batch(seq)?;
        let own = needs.within(shape.provider, shape.hospital, shape.pairs);
        lookups += own.len() as u64;
        if lookups > MOST_LOOKUPS {
            return unproved(format!("it takes more than {MOST_LOOKUPS} look-ups in the batches' indexes"));
        }
        if !own.is_empty() {
            shapes.push((seq, shape, own.into_iter().copied().collect::<Vec<_>>()));
        }
    }
    let matched: HashSet<RecordId> = answered.matches.iter().map(|m| m.0).collect();
    let (mut runs, mut records, mut terms) = (Vec::with_capacity(shapes.len()), Vec::new(), Vec::new());
    for (seq, shape, own) in shapes {
        let run = RunProof::make(seq, &own, &mut Run { reader, seq, pairs: shape.pairs })?;
        let mut kept: BTreeMap<u32, KeptRecord> = BTreeMap::new();
        for id in shown(&run, &own) {
            if !decided || matched.contains(&id) {
                kept.extend(reader.record(seq, id)?.map(|record| (record.place, record)));
            }
        }
        runs.push(run);
        if !kept.is_empty() {
            let leaves = kept.values().map(|k| (k.place, k.leaf)).collect();
            let node = &mut |place| reader.record_node(seq, place);
            records.push(RecordsProof::make(seq, shape.records.into(), leaves, node)?);
            terms.extend(kept.into_values().map(|k| ByteBuf::from(if decided { Vec::new() } else { k.terms })));
        }
    }
    Ok(AnswerProof { size, unproved: None, ranges, runs, records, terms })
}

/// Ids of the pairs in these ranges, each once.
fn shown(run: &RunProof, ranges: &[TermRange]) -> Vec<RecordId> {
    let (pairs, _) = run.pairs.as_chunks::<PAIR>();
    let mut seen = HashSet::new();
    for range in ranges {
        let start = pairs.partition_point(|pair| pair[..16] < range.lo[..]);
        for pair in pairs[start..].iter().take_while(|pair| range.has(pair)) {
            let mut id = [0; 16];
            id.copy_from_slice(&pair[16..]);
            seen.insert(RecordId(id));
        }
    }
    seen.into_iter().collect()
}

/// Ranges that every match has a pair in, and about how many pairs they have.
struct Cover {
    pairs: u64,
    ranges: Vec<TermRange>,
}

fn cheapest<R: LedgerReader + ?Sized>(reader: &R, clause: &CloudClause, most: u64) -> Result<Option<Cover>, R::Error> {
    Ok(match clause {
        CloudClause::Terms(any) => {
            let (mut pairs, mut ranges) = (0, Vec::new());
            for term in any.as_chunks().0 {
                let range = TermRange::one(*term);
                pairs += reader.frequency(&range, most)?;
                ranges.push(range);
            }
            Some(Cover { pairs, ranges })
        }
        CloudClause::Range { tag, lo, hi } => {
            let range = TermRange::codes(*tag, *lo, *hi);
            Some(Cover { pairs: reader.frequency(&range, most)?, ranges: vec![range] })
        }
        CloudClause::And(all) => {
            let mut best: Option<Cover> = None;
            // Terms first: they are counted at once, and bound how far ranges have to be.
            let (terms, others) = all.iter().partition::<Vec<_>, _>(|c| matches!(c, CloudClause::Terms(_)));
            for part in terms.into_iter().chain(others) {
                let most = best.as_ref().map_or(most, |b| b.pairs.min(most));
                if let Some(cover) = cheapest(reader, part, most)?
                    && best.as_ref().is_none_or(|b| cover.pairs < b.pairs)
                {
                    best = Some(cover);
                }
            }
            best
        }
        CloudClause::Or(any) => {
            let (mut pairs, mut ranges) = (0, Vec::new());
            for part in any {
                let Some(cover) = cheapest(reader, part, most)? else { return Ok(None) };
                pairs += cover.pairs;
                ranges.extend(cover.ranges);
            }
            Some(Cover { pairs, ranges })
        }
        CloudClause::All | CloudClause::Source(_) | CloudClause::Not(_) => None,
    })
}

/// Bytes of a page of pairs, at most.
pub const PAGE_BYTES: usize = PAGE_PAIRS * PAIR;
