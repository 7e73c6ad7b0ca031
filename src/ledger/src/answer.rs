//! Proof that a page of matches is exactly what the log holds: nothing left out, invented, altered or out of order.
//!
//! A few ranges of terms are shown whole, in the run of every batch that could hold one; every match has a pair in
//! one of them. Of each record found so and not ended since, the leaf is shown where the pair alone does not decide.
//! The verifier then makes the page anew and compares.

use std::collections::{BTreeMap, HashMap, HashSet};

use sealdex_crypto::{PrincipalId, RecordId, log::Hash};
use sealdex_wire::{
    limits,
    search::{CloudCursor, CloudMatches, CloudSearch},
};
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_bytes::ByteBuf;

use crate::{
    clause::{Ranges, Scopes, covers, holds, is_after, leaves, sort_code, sources},
    prove::MOST_LOOKUPS,
    record::{RecordLeaf, part_hash},
    run::{RunError, RunProof, TermRange},
    tree::{self, TreeError},
    view::{Batch, LedgerView},
};

/// Records of one batch, by their leaves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordsProof {
    /// Place of the batch in the log, from 1.
    pub seq: u64,
    /// Places in the batch, ascending.
    pub places: Vec<u32>,
    /// Leaves, in the same order; 128 bytes each on their way.
    #[serde(with = "packed")]
    pub leaves: Vec<RecordLeaf>,
    /// Hashes that lead to the root, 32 bytes each.
    pub hashes: ByteBuf,
}

/// Leaves as one string of bytes.
mod packed {
    use serde::{Deserializer, Serializer, de::Error};
    use serde_bytes::ByteBuf;

    use crate::record::{LEAF, RecordLeaf};

    pub(super) fn serialize<S: Serializer>(leaves: &[RecordLeaf], to: S) -> Result<S::Ok, S::Error> {
        let bytes: Vec<u8> = leaves.iter().flat_map(RecordLeaf::to_bytes).collect();
        serde_bytes::serialize(&bytes, to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<RecordLeaf>, D::Error> {
        let bytes: ByteBuf = serde_bytes::deserialize(from)?;
        match bytes.as_chunks::<LEAF>() {
            (leaves, []) => Ok(leaves.iter().map(RecordLeaf::from_bytes).collect()),
            _ => Err(D::Error::custom("leaves are 128 bytes each")),
        }
    }
}

impl RecordsProof {
    /// The leaves of a batch at these places (ascending); `node` gives a node of the batch's tree.
    ///
    /// # Errors
    /// Those of `node`.
    pub fn make<E>(
        seq: u64,
        size: u64,
        records: Vec<(u32, RecordLeaf)>,
        node: &mut impl FnMut(u64) -> Result<Hash, E>,
    ) -> Result<Self, E> {
        let places: Vec<u64> = records.iter().map(|(place, _)| u64::from(*place)).collect();
        let hashes = tree::prove(size, &places, node)?;
        let (places, leaves) = records.into_iter().unzip();
        Ok(Self { seq, places, leaves, hashes: hashes.concat().into() })
    }

    /// Whether these leaves are in a batch.
    ///
    /// # Errors
    /// [`TreeError`].
    pub fn verify(&self, size: u32, root: &Hash) -> Result<(), TreeError> {
        let (hashes, odd) = self.hashes.as_chunks::<32>();
        if !odd.is_empty() || self.places.len() != self.leaves.len() {
            return Err(TreeError::Length);
        }
        let leaves: Vec<(u64, Hash)> =
            self.places.iter().zip(&self.leaves).map(|(p, l)| (u64::from(*p), l.hash())).collect();
        tree::verify(size.into(), &leaves, hashes, root)
    }
}

/// What comes with a page of matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnswerProof {
    /// Batches the log had in the state that was searched.
    pub size: u64,
    /// Why it is not proved, if it is not: the rest is empty then.
    pub unproved: Option<String>,
    /// Ranges that are shown.
    pub ranges: Vec<TermRange>,
    /// Pages of every run that could hold one of them, by place in the log.
    pub runs: Vec<RunProof>,
    /// Leaves of records.
    pub records: Vec<RecordsProof>,
    /// Terms of these records, where they decide, in the order of `records`; empty where they do not.
    #[serde(deserialize_with = "terms_of_few")]
    pub terms: Vec<ByteBuf>,
}

/// Records that a proof shows at most. Empty terms take one byte on the way and 24 in memory.
const MOST_TERMS: usize = 1 << 20;

fn terms_of_few<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<ByteBuf>, D::Error> {
    struct Few;
    impl<'de> de::Visitor<'de> for Few {
        type Value = Vec<ByteBuf>;
        fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(out, "the terms of at most {MOST_TERMS} records")
        }
        fn visit_seq<A: de::SeqAccess<'de>>(self, mut from: A) -> Result<Vec<ByteBuf>, A::Error> {
            let mut out = Vec::new();
            while let Some(terms) = from.next_element()? {
                if out.len() == MOST_TERMS {
                    return Err(de::Error::invalid_length(MOST_TERMS + 1, &self));
                }
                out.push(terms);
            }
            Ok(out)
        }
    }
    from.deserialize_seq(Few)
}

/// What was compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// Batches in the log as it was searched.
    pub size: u64,
    /// Runs looked through.
    pub runs: u64,
    /// Pairs shown in them.
    pub pairs: u64,
    /// Records found by these and not ended.
    pub records: u64,
}

/// What a proof comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The page is whole.
    Complete(Shown),
    /// It may be, but this cannot be shown.
    Unproved(String),
}

/// An answer that is not what the log holds: the cloud, or what is between, altered it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Tampered {
    /// An older state than the log has.
    #[error(
        "the cloud hides its newest batches: it answered as of batch {answered}, and the log had {known} before it was asked"
    )]
    Hidden {
        /// State of the answer.
        answered: u64,
        /// What was known.
        known: u64,
    },
    /// A state that is not in the log as it was read.
    #[error("the cloud answered as of batch {answered}, and the log has {known}")]
    Ahead {
        /// State of the answer.
        answered: u64,
        /// What was known.
        known: u64,
    },
    /// The ranges do not cover the question.
    #[error("the cloud's proof does not reach over all that was asked for: matches could be left out")]
    OtherQuestion,
    /// A run that must be shown is not.
    #[error("the cloud left batch {seq} of provider {provider} out of its proof")]
    RunMissing {
        /// Place in the log.
        seq: u64,
        /// Who pushed it.
        provider: PrincipalId,
    },
    /// A run that is not what was signed.
    #[error("the index of batch {seq} of provider {provider} was altered: {source}")]
    Run {
        /// Place in the log.
        seq: u64,
        /// Who pushed it.
        provider: PrincipalId,
        /// What is wrong.
        source: RunError,
    },
    /// Leaves that are not what was signed.
    #[error("records of batch {seq} of provider {provider} were altered: {source}")]
    Records {
        /// Place in the log.
        seq: u64,
        /// Who pushed it.
        provider: PrincipalId,
        /// What is wrong.
        source: TreeError,
    },
    /// No leaf where there must be one.
    #[error("the proof does not show record {0}, which decides the answer")]
    LeafMissing(RecordId),
    /// Terms that are not the record's.
    #[error("the index entries of record {0} were altered")]
    Terms(RecordId),
    /// A tag that is not the record's.
    #[error("the routing tag of record {0} was altered")]
    Tag(RecordId),
    /// Another provider than pushed it.
    #[error("record {0} was answered as of another provider than pushed it")]
    Provider(RecordId),
    /// Sealed bytes that are not those signed.
    #[error("the sealed bytes of record {0} were altered")]
    Sealed(RecordId),
    /// A match that was left out.
    #[error("record {0} matches and was left out of the answer")]
    LeftOut(RecordId),
    /// A match that is in no batch, or does not match.
    #[error("record {0} was answered, and no batch in the log has it as a match")]
    Invented(RecordId),
    /// An older version, answered as if it were the newest.
    #[error("record {0} was answered, and a later batch replaced or deleted it")]
    Replaced(RecordId),
    /// Matches in another order.
    #[error("the matches from record {0} on are not in the order that was asked for")]
    Order(RecordId),
    /// The end of the page is not where the answer says.
    #[error("the answer says that it ends where it does not: {expected} matches follow, {found} were promised")]
    End {
        /// Whether there are more.
        expected: &'static str,
        /// Whether more were promised.
        found: &'static str,
    },
}

/// A record that a proof found.
struct Candidate<'p> {
    id: RecordId,
    batch: &'p Batch,
    leaf: Option<(&'p RecordLeaf, &'p [u8])>,
}

/// Checks a page of matches against the log as read.
///
/// `known` is the size that the log was known to have before the question was asked: an answer from before is
/// refused.
///
/// # Errors
/// [`Tampered`], which says what was altered.
pub fn verify(
    view: &LedgerView,
    known: u64,
    asked: &CloudSearch,
    answered: &CloudMatches,
    proof: &AnswerProof,
) -> Result<Verdict, Tampered> {
    if proof.size < known {
        return Err(Tampered::Hidden { answered: proof.size, known });
    }
    if proof.size > view.size() {
        return Err(Tampered::Ahead { answered: proof.size, known: view.size() });
    }
    if let Some(reason) = &proof.unproved {
        let said = reason.chars().filter(|c| !c.is_control()).take(limits::TEXT);
        return Ok(Verdict::Unproved(said.collect()));
    }
    let page = Page::of(asked, answered);
    let shown = Ranges::new(&proof.ranges);
    // What is shown may reach to the end of all matches, or of the page only.
    let to_end = covers(&asked.clause, &shown) || page.range(asked, None).is_some_and(|range| shown.has(&range));
    if !to_end && !page.range(asked, page.next).is_some_and(|range| shown.has(&range)) {
        return Err(Tampered::OtherQuestion);
    }
    let mut stats = Shown { size: proof.size, ..Shown::default() };
    let mut candidates = candidates(view, asked, proof, &mut stats)?;
    attach(view, proof, &mut candidates)?;
    stats.records = candidates.len() as u64;
    let expected = page.expected(asked, &candidates, pairs_decide(asked, &proof.ranges))?;
    page.compare(view, answered, &expected, proof.size, to_end)?;
    for (m, (_, c)) in answered.matches.iter().zip(&expected) {
        if answered.providers.get(m.1 as usize) != Some(&c.batch.provider) {
            return Err(Tampered::Provider(m.0));
        }
        let (leaf, _) = c.leaf.ok_or(Tampered::LeafMissing(m.0))?;
        if leaf.tag != part_hash(&m.2) {
            return Err(Tampered::Tag(m.0));
        }
    }
    Ok(Verdict::Complete(stats))
}

/// Every live record with a pair in the shown ranges, by batch and id.
fn candidates<'p>(
    view: &'p LedgerView,
    asked: &CloudSearch,
    proof: &'p AnswerProof,
    stats: &mut Shown,
) -> Result<BTreeMap<(u64, RecordId), Candidate<'p>>, Tampered> {
    let needs = Needs::new(asked, &proof.ranges);
    let mut found = BTreeMap::new();
    let (mut runs, mut lookups) = (proof.runs.iter(), 0);
    for seq in 1..=proof.size {
        let Some(batch) = view.batch(seq) else { break };
        let ranges = needs.of(batch);
        if ranges.is_empty() {
            continue;
        }
        lookups += ranges.len() as u64;
        if lookups > MOST_LOOKUPS {
            return Err(Tampered::OtherQuestion);
        }
        let provider = batch.provider;
        let run = runs.next().filter(|r| r.seq == seq).ok_or(Tampered::RunMissing { seq, provider })?;
        let wrong = |source| Tampered::Run { seq, provider, source };
        let pages = run.verify(batch.pairs, &batch.run_root).map_err(wrong)?;
        stats.runs += 1;
        for range in united(ranges) {
            for (_, id) in pages.within(&range).map_err(wrong)? {
                stats.pairs += 1;
                if !view.has_ended(id, batch.hospital, proof.size) {
                    found.entry((seq, id)).or_insert(Candidate { id, batch, leaf: None });
                }
            }
        }
    }
    match runs.next() {
        None => Ok(found),
        Some(_) => Err(Tampered::OtherQuestion),
    }
}

/// The same terms in ranges that do not overlap, so that no page is looked through for each of many.
fn united(mut ranges: Vec<&TermRange>) -> Vec<TermRange> {
    ranges.sort_unstable();
    let mut out: Vec<TermRange> = Vec::with_capacity(ranges.len());
    for range in ranges.into_iter().filter(|r| r.lo <= r.hi) {
        match out.last_mut() {
            Some(last) if range.lo <= last.hi => last.hi = last.hi.max(range.hi),
            _ => out.push(*range),
        }
    }
    out
}

/// Adds the leaves that are shown, after checking them.
fn attach<'p>(
    view: &'p LedgerView,
    proof: &'p AnswerProof,
    candidates: &mut BTreeMap<(u64, RecordId), Candidate<'p>>,
) -> Result<(), Tampered> {
    let mut terms = proof.terms.iter();
    for records in &proof.records {
        let seq = records.seq;
        let batch = view.batch(seq).ok_or(Tampered::Ahead { answered: seq, known: view.size() })?;
        let provider = batch.provider;
        let wrong = |source| Tampered::Records { seq, provider, source };
        records.verify(batch.records, &batch.records_root).map_err(wrong)?;
        for leaf in &records.leaves {
            let terms = terms.next().map_or(&[][..], |t| t.as_slice());
            if !terms.is_empty() && part_hash(terms) != leaf.terms {
                return Err(Tampered::Terms(leaf.id));
            }
            if let Some(candidate) = candidates.get_mut(&(seq, leaf.id)) {
                candidate.leaf = Some((leaf, terms));
            }
        }
    }
    Ok(())
}

/// Which ranges have to be shown in which batch.
pub struct Needs<'a> {
    sources: Option<HashSet<PrincipalId>>,
    everywhere: Vec<&'a TermRange>,
    /// By the only hospital whose records can have a term of the range.
    scoped: HashMap<PrincipalId, Vec<&'a TermRange>>,
}

impl<'a> Needs<'a> {
    /// For these ranges of a question.
    #[must_use]
    pub fn new(asked: &CloudSearch, ranges: &'a [TermRange]) -> Self {
        let scopes = Scopes::new(asked.prove.as_deref().unwrap_or_default());
        let mut needs = Self { sources: sources(&asked.clause), everywhere: Vec::new(), scoped: HashMap::new() };
        for range in ranges {
            match scopes.of(range) {
                None => needs.everywhere.push(range),
                Some(only) => needs.scoped.entry(only).or_default().push(range),
            }
        }
        needs
    }

    /// The ranges to show in a batch's run; none if the run has no pairs or cannot hold a match.
    #[must_use]
    pub fn of(&self, batch: &Batch) -> Vec<&'a TermRange> {
        self.within(batch.provider, batch.hospital, batch.pairs)
    }

    /// As [`Needs::of`], of its parts.
    #[must_use]
    pub fn within(&self, provider: PrincipalId, hospital: PrincipalId, pairs: u64) -> Vec<&'a TermRange> {
        if pairs == 0 || self.sources.as_ref().is_some_and(|s| !s.contains(&provider)) {
            return Vec::new();
        }
        self.everywhere.iter().chain(self.scoped.get(&hospital).into_iter().flatten()).copied().collect()
    }
}

/// Whether a record matches as soon as it has a pair in one of these ranges: the clause asks for nothing else, and the
/// ranges are no wider than the clause.
#[must_use]
pub fn pairs_decide(asked: &CloudSearch, ranges: &[TermRange]) -> bool {
    let Some(leaves) = leaves(&asked.clause).filter(|_| asked.sort.is_none()) else { return false };
    let leaves = Ranges::new(&leaves);
    ranges.iter().all(|r| leaves.has(r))
}

/// A page: from where, to where.
struct Page {
    after: Option<CloudCursor>,
    next: Option<CloudCursor>,
    descending: bool,
    limit: usize,
}

impl Page {
    fn of(asked: &CloudSearch, answered: &CloudMatches) -> Self {
        let descending = asked.sort.is_some_and(|s| s.descending);
        Self { after: asked.after, next: answered.next, descending, limit: asked.limit as usize }
    }

    /// When sorting: the codes from where the page begins to `end`.
    fn range(&self, asked: &CloudSearch, end: Option<CloudCursor>) -> Option<TermRange> {
        Some(page_range(asked.sort?.tag, self.descending, self.after, end))
    }

    /// The page as it must be. Where pairs alone decide (`decided`), records need no terms.
    fn expected<'c, 'p>(
        &self,
        asked: &CloudSearch,
        candidates: &'c BTreeMap<(u64, RecordId), Candidate<'p>>,
        decided: bool,
    ) -> Result<Vec<(CloudCursor, &'c Candidate<'p>)>, Tampered> {
        let mut out = Vec::new();
        for candidate in candidates.values() {
            let mut code = 0;
            if !decided {
                let (leaf, terms) = candidate.leaf.ok_or(Tampered::LeafMissing(candidate.id))?;
                if terms.is_empty() && leaf.terms != part_hash(&[]) {
                    return Err(Tampered::LeafMissing(candidate.id));
                }
                if !holds(&asked.clause, candidate.batch.provider, terms) {
                    continue;
                }
                if let Some(sort) = asked.sort {
                    match sort_code(terms, sort) {
                        Some(own) => code = own,
                        None => continue,
                    }
                }
            }
            let at = CloudCursor { code, id: candidate.id };
            if is_after(at, self.after, self.descending) {
                out.push((at, candidate));
            }
        }
        out.sort_unstable_by_key(|(at, _)| (at.code, at.id));
        if self.descending {
            out.reverse();
        }
        Ok(out)
    }

    /// Compares what was answered with what must be.
    fn compare(
        &self,
        view: &LedgerView,
        answered: &CloudMatches,
        expected: &[(CloudCursor, &Candidate<'_>)],
        size: u64,
        to_end: bool,
    ) -> Result<(), Tampered> {
        let full = &expected[..expected.len().min(self.limit)];
        if !answered.matches.iter().map(|m| m.0).eq(full.iter().map(|(at, _)| at.id)) {
            let must: HashSet<RecordId> = full.iter().map(|(at, _)| at.id).collect();
            let mut is: HashMap<RecordId, u32> = HashMap::new();
            for m in &answered.matches {
                *is.entry(m.0).or_default() += 1;
            }
            if let Some((at, _)) = full.iter().find(|(at, _)| !is.contains_key(&at.id)) {
                return Err(Tampered::LeftOut(at.id));
            }
            if let Some(m) = answered.matches.iter().find(|m| !must.contains(&m.0) || is[&m.0] > 1) {
                let provider = answered.providers.get(m.1 as usize);
                let own = (1..=view.size()).filter_map(|s| view.batch(s)).find(|b| Some(&b.provider) == provider);
                let replaced = own.is_some_and(|b| view.has_ended(m.0, b.hospital, size));
                return Err(if replaced { Tampered::Replaced(m.0) } else { Tampered::Invented(m.0) });
            }
            let pairs = answered.matches.iter().zip(full);
            let first = pairs.filter(|(m, (at, _))| m.0 != at.id).map(|(m, _)| m.0).next();
            return Err(Tampered::Order(first.unwrap_or(RecordId([0; 16]))));
        }
        // More follow if the page is not all there is; with a sorted page of which no more was shown than up to its
        // end, the answer's own word that more follow is enough: it is held to it at the next page.
        let more = expected.len() > full.len();
        let part = !to_end && full.len() == self.limit;
        match self.next {
            None if more => Err(Tampered::End { expected: "more", found: "none" }),
            Some(_) if !more && !part => Err(Tampered::End { expected: "no", found: "more" }),
            Some(next) if full.last().map(|(at, _)| *at) != Some(next) => {
                Err(Tampered::Order(full.last().map_or(next.id, |(at, _)| at.id)))
            }
            _ => Ok(()),
        }
    }
}

/// The codes of one tag from where a page begins to where it ends.
#[must_use]
pub fn page_range(tag: [u8; 8], descending: bool, after: Option<CloudCursor>, next: Option<CloudCursor>) -> TermRange {
    let (from, to) = (after.map(|c| c.code), next.map(|c| c.code));
    match descending {
        false => TermRange::codes(tag, from.unwrap_or(0), to.unwrap_or(u64::MAX)),
        true => TermRange::codes(tag, to.unwrap_or(0), from.unwrap_or(u64::MAX)),
    }
}

/// Checks sealed records that were fetched: each is in the log, pushed and signed by the provider that is named. Whether a
/// later batch replaced it is another question: [`LedgerView::has_ended`].
///
/// # Errors
/// [`Tampered`].
pub fn verify_fetched<'r>(
    view: &LedgerView,
    records: impl Iterator<Item = (RecordId, PrincipalId, &'r [u8])>,
    proofs: &[RecordsProof],
) -> Result<(), Tampered> {
    let mut shown: HashMap<RecordId, (&RecordLeaf, &Batch)> = HashMap::new();
    for proof in proofs {
        let seq = proof.seq;
        let batch = view.batch(seq).ok_or(Tampered::Ahead { answered: seq, known: view.size() })?;
        let provider = batch.provider;
        proof.verify(batch.records, &batch.records_root).map_err(|source| Tampered::Records {
            seq,
            provider,
            source,
        })?;
        shown.extend(proof.leaves.iter().map(|leaf| (leaf.id, (leaf, batch))));
    }
    for (id, provider, sealed) in records {
        let (leaf, batch) = shown.get(&id).ok_or(Tampered::Invented(id))?;
        if batch.provider != provider {
            return Err(Tampered::Provider(id));
        }
        if part_hash(sealed) != leaf.sealed {
            return Err(Tampered::Sealed(id));
        }
    }
    Ok(())
}
