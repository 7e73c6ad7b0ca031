//! Random batches of several providers, an honest cloud over them, and what it must answer, found without an index.

use std::{
    collections::{BTreeMap, HashMap},
    convert::Infallible,
};

use sealdex_crypto::{BatchId, Identity, IdentitySeed, PrincipalId, PublicIdentity, RecordId, Term, log::Hash};
use sealdex_ledger::{
    AnswerProof, BatchStatement, BatchTrees, LedgerReader, LedgerView, Providers, RecordsProof, Tampered, Verdict,
    answer::verify,
    ended_hash,
    prove::{BatchShape, KeptRecord, prove},
    run::{PAGE_PAIRS, TermRange},
};
use sealdex_wire::{
    auth::sha256,
    ingest::{BridgedRecord, UploadRecord},
    search::{CloudClause, CloudCursor, CloudMatch, CloudMatches, CloudSearch, CloudSort, Scoped},
};

/// Numbers from a seed (splitmix64).
pub(crate) struct Dice(pub u64);

impl Dice {
    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.roll() % n.max(1) as u64) as usize
    }
    pub(crate) fn percent(&mut self, p: usize) -> bool {
        self.below(100) < p
    }
    pub(crate) fn bytes16(&mut self) -> [u8; 16] {
        let mut out = [0; 16];
        out[..8].copy_from_slice(&self.roll().to_be_bytes());
        out[8..].copy_from_slice(&self.roll().to_be_bytes());
        out
    }
}

pub(crate) const DOMAIN: &str = "test";
const NAMES: usize = 5;

fn name(parts: &[&[u8]]) -> [u8; 16] {
    *sha256(parts).first_chunk().unwrap()
}

/// A term of all hospitals, or (by its number) of one.
pub(crate) fn term(hospital: Option<PrincipalId>, k: usize) -> [u8; 16] {
    name(&[b"term", &hospital.map_or([0; 16], |h| h.0), &[k as u8]])
}

/// A tag of order terms of all hospitals or of one.
pub(crate) fn tag(hospital: Option<PrincipalId>, k: usize) -> [u8; 8] {
    *name(&[b"tag", &hospital.map_or([0; 16], |h| h.0), &[k as u8]]).first_chunk().unwrap()
}

pub(crate) fn order(tag: [u8; 8], code: u64) -> [u8; 16] {
    TermRange::codes(tag, code, code).lo
}

fn code(dice: &mut Dice) -> u64 {
    match dice.below(20) {
        0 => 0,
        1 => u64::MAX,
        n => n as u64,
    }
}

pub(crate) struct Provider {
    pub(crate) identity: Identity,
    pub(crate) hospital: PrincipalId,
}

pub(crate) struct Stored {
    pub(crate) provider: PrincipalId,
    pub(crate) hospital: PrincipalId,
    pub(crate) records: Vec<UploadRecord>,
    pub(crate) places: HashMap<RecordId, u32>,
    pub(crate) trees: BatchTrees,
    pub(crate) entry: Vec<u8>,
    pub(crate) ended: Vec<u8>,
}

pub(crate) struct World {
    pub(crate) providers: Vec<Provider>,
    pub(crate) hospitals: Vec<PrincipalId>,
    pub(crate) batches: Vec<Stored>,
    /// Place of the batch that ended a record.
    pub(crate) ended_at: HashMap<RecordId, u64>,
    pub(crate) heads: HashMap<PrincipalId, (u64, Hash)>,
    live: BTreeMap<(PrincipalId, [u8; 16]), RecordId>,
}

impl Providers for World {
    fn provider(&self, id: PrincipalId) -> Option<(PublicIdentity, PrincipalId)> {
        self.providers.iter().find(|p| p.identity.id() == id).map(|p| (p.identity.public(), p.hospital))
    }
}

impl World {
    pub(crate) fn empty(hospitals: usize) -> Self {
        let hospitals: Vec<PrincipalId> =
            (0..hospitals).map(|h| PrincipalId(name(&[b"hospital", &[h as u8]]))).collect();
        let providers = (0..hospitals.len() + 2)
            .map(|p| Provider {
                identity: Identity::from_seed(&IdentitySeed::from_bytes(&[p as u8 + 1; 32])),
                hospital: hospitals[p % hospitals.len()],
            })
            .collect();
        Self {
            providers,
            hospitals,
            batches: Vec::new(),
            ended_at: HashMap::new(),
            heads: HashMap::new(),
            live: BTreeMap::new(),
        }
    }

    pub(crate) fn random(dice: &mut Dice) -> Self {
        let hospitals = 2 + dice.below(2);
        let mut world = Self::empty(hospitals);
        for _ in 0..2 + dice.below(5) {
            let provider = dice.below(world.providers.len());
            let most = [0, 3, 20, 60][dice.below(4)];
            let count = dice.below(most + 1);
            let records = (0..count).map(|_| world.record(provider, dice)).collect();
            world.push(provider, records);
        }
        world
    }

    fn record(&self, provider: usize, dice: &mut Dice) -> UploadRecord {
        let hospital = self.providers[provider].hospital;
        let mut terms = Vec::new();
        if !dice.percent(5) {
            for scope in [None, Some(hospital)] {
                for k in 0..NAMES {
                    // The first are of nearly all records, the last of few.
                    if dice.percent([70, 40, 20, 10, 3][k]) {
                        terms.extend(term(scope, k));
                    }
                }
                for k in 0..2 {
                    for _ in 0..dice.below(3) {
                        terms.extend(order(tag(scope, k), code(dice)));
                    }
                }
            }
        }
        let olds: Vec<[u8; 16]> = self.live.keys().filter(|(h, _)| *h == hospital).map(|(_, o)| *o).collect();
        let origin = if dice.percent(25) && !olds.is_empty() { olds[dice.below(olds.len())] } else { dice.bytes16() };
        UploadRecord {
            id: RecordId(dice.bytes16()),
            index: BridgedRecord { origin: Term(origin), terms, tag: dice.bytes16().to_vec() },
            sealed: dice.bytes16().to_vec(),
        }
    }

    /// Takes a batch in as the cloud and its provider do.
    pub(crate) fn push(&mut self, provider: usize, records: Vec<UploadRecord>) {
        let trees = BatchTrees::new(&records);
        self.push_as(provider, records, trees);
    }

    /// The same, with trees of the provider's choice.
    pub(crate) fn push_as(&mut self, provider: usize, records: Vec<UploadRecord>, trees: BatchTrees) {
        let Provider { identity, hospital } = &self.providers[provider];
        let (hospital, id) = (*hospital, identity.id());
        let seq = self.batches.len() as u64 + 1;
        let mut ended: Vec<[u8; 16]> = Vec::new();
        for r in &records {
            if let Some(old) = self.live.insert((hospital, r.index.origin.0), r.id) {
                ended.push(old.0);
                self.ended_at.insert(old, seq);
            }
        }
        ended.sort_unstable();
        let ended = ended.concat();
        let (number, previous) = self.heads.get(&id).copied().unwrap_or((0, [0; 32]));
        let statement = BatchStatement {
            provider: id,
            batch: BatchId(name(&[b"batch", &seq.to_be_bytes()])),
            number: number + 1,
            previous,
            records: records.len() as u32,
            records_root: trees.records_root(),
            pairs: trees.pairs.len() as u64,
            run_root: trees.run_root(),
            ended: (ended.len() / 16) as u32,
            ended_hash: ended_hash(&ended),
        };
        let signed = statement.sign(DOMAIN, identity, &mut rand::rng());
        self.heads.insert(id, (number + 1, signed.digest()));
        let places = records.iter().enumerate().map(|(i, r)| (r.id, i as u32)).collect();
        self.batches.push(Stored { provider: id, hospital, records, places, trees, entry: signed.to_entry(), ended });
    }

    pub(crate) fn size(&self) -> u64 {
        self.batches.len() as u64
    }

    pub(crate) fn view(&self) -> LedgerView {
        let mut view = LedgerView::new(DOMAIN);
        for b in &self.batches {
            let checked = view.check(&b.entry, self).unwrap();
            assert_eq!(checked.ended() as usize, b.ended.len() / 16);
            view.add(checked, &b.ended).unwrap();
        }
        view
    }

    pub(crate) fn is_live(&self, id: RecordId, size: u64) -> bool {
        self.ended_at.get(&id).is_none_or(|at| *at > size)
    }

    /// Where a record is.
    pub(crate) fn find(&self, id: RecordId) -> Option<(u64, &Stored, &UploadRecord)> {
        self.batches.iter().enumerate().find_map(|(i, b)| {
            let place = b.places.get(&id)?;
            Some((i as u64 + 1, b, &b.records[*place as usize]))
        })
    }

    /// All matches in order, of the state with `size` batches.
    pub(crate) fn matching(&self, size: u64, asked: &CloudSearch) -> Vec<(CloudCursor, &Stored, &UploadRecord)> {
        let mut out = Vec::new();
        for b in &self.batches[..size as usize] {
            for r in &b.records {
                if !self.is_live(r.id, size) || !is_match(&asked.clause, b.provider, &r.index.terms) {
                    continue;
                }
                let mut code = 0;
                if let Some(sort) = asked.sort {
                    let mut codes: Vec<u64> = codes(&r.index.terms, sort.tag);
                    codes.sort_unstable();
                    let Some(own) = (if sort.descending { codes.last() } else { codes.first() }) else { continue };
                    code = *own;
                }
                out.push((CloudCursor { code, id: r.id }, b, r));
            }
        }
        out.sort_by_key(|(at, ..)| (at.code, at.id));
        if asked.sort.is_some_and(|s| s.descending) {
            out.reverse();
        }
        out
    }

    /// The page that an honest cloud answers.
    pub(crate) fn answer(&self, size: u64, asked: &CloudSearch) -> CloudMatches {
        let descending = asked.sort.is_some_and(|s| s.descending);
        let all: Vec<_> = self
            .matching(size, asked)
            .into_iter()
            .filter(|(at, ..)| {
                asked.after.is_none_or(|a| match descending {
                    true => (at.code, at.id) < (a.code, a.id),
                    false => (at.code, at.id) > (a.code, a.id),
                })
            })
            .collect();
        let page = &all[..all.len().min(asked.limit as usize)];
        let next = if all.len() > page.len() { page.last().map(|(at, ..)| *at) } else { None };
        let mut out = CloudMatches { providers: Vec::new(), matches: Vec::new(), next, proof: None };
        for (at, b, r) in page {
            let place = out.providers.iter().position(|p| *p == b.provider).unwrap_or_else(|| {
                out.providers.push(b.provider);
                out.providers.len() - 1
            });
            out.matches.push(CloudMatch(at.id, place as u32, r.index.tag.clone()));
        }
        out
    }

    pub(crate) fn cloud(&self, size: u64) -> Cloud<'_> {
        Cloud { world: self, size }
    }

    pub(crate) fn prove(&self, size: u64, asked: &CloudSearch, answered: &CloudMatches) -> AnswerProof {
        let Ok(proof) = prove(&self.cloud(size), asked, answered);
        proof
    }

    /// Proof of records of one batch.
    pub(crate) fn records_proof(&self, seq: u64, mut places: Vec<u32>) -> RecordsProof {
        let trees = &self.batches[seq as usize - 1].trees;
        places.sort_unstable();
        places.dedup();
        let leaves = places.iter().map(|p| (*p, trees.leaves[*p as usize])).collect();
        let node = &mut |at: u64| Ok::<_, Infallible>(trees.records.nodes()[at as usize]);
        let Ok(proof) = RecordsProof::make(seq, trees.records.size(), leaves, node);
        proof
    }

    /// Terms and tags of one hospital only, as the gate names them.
    pub(crate) fn scopes(&self) -> Vec<Scoped> {
        let scoped = |h: &PrincipalId| Scoped {
            hospital: *h,
            terms: (0..NAMES).flat_map(|k| term(Some(*h), k)).collect(),
            tags: (0..2).flat_map(|k| tag(Some(*h), k)).collect(),
        };
        self.hospitals.iter().map(scoped).collect()
    }
}

fn codes(terms: &[u8], tag: [u8; 8]) -> Vec<u64> {
    let own = terms.as_chunks::<16>().0.iter().filter(|t| t[..8] == tag);
    own.map(|t| u64::from_be_bytes(*t.last_chunk().unwrap())).collect()
}

fn is_match(clause: &CloudClause, provider: PrincipalId, terms: &[u8]) -> bool {
    match clause {
        CloudClause::All => true,
        CloudClause::Terms(any) => {
            let own = terms.as_chunks::<16>().0;
            any.as_chunks::<16>().0.iter().any(|t| own.contains(t))
        }
        CloudClause::Range { tag, lo, hi } => codes(terms, *tag).iter().any(|c| lo <= c && c <= hi),
        CloudClause::Source(of) => of.contains(&provider),
        CloudClause::And(all) => !all.iter().any(|c| !is_match(c, provider, terms)),
        CloudClause::Or(any) => any.iter().any(|c| is_match(c, provider, terms)),
        CloudClause::Not(c) => !is_match(c, provider, terms),
    }
}

/// Whether the index can show a clause whole at all.
pub(crate) fn coverable(clause: &CloudClause) -> bool {
    match clause {
        CloudClause::Terms(_) | CloudClause::Range { .. } => true,
        CloudClause::And(all) => all.iter().any(coverable),
        CloudClause::Or(any) => any.iter().all(coverable),
        CloudClause::All | CloudClause::Source(_) | CloudClause::Not(_) => false,
    }
}

/// An honest cloud at one state.
pub(crate) struct Cloud<'w> {
    world: &'w World,
    size: u64,
}

impl LedgerReader for Cloud<'_> {
    type Error = Infallible;
    fn size(&self) -> u64 {
        self.size
    }
    fn batch(&self, seq: u64) -> Result<BatchShape, Infallible> {
        let b = &self.world.batches[seq as usize - 1];
        let (records, pairs) = (b.records.len() as u32, b.trees.pairs.len() as u64);
        Ok(BatchShape { provider: b.provider, hospital: b.hospital, records, pairs })
    }
    fn page(&self, seq: u64, page: u64) -> Result<Vec<u8>, Infallible> {
        let pairs = &self.world.batches[seq as usize - 1].trees.pairs;
        let at = page as usize * PAGE_PAIRS;
        Ok(pairs[at..(at + PAGE_PAIRS).min(pairs.len())].as_flattened().to_vec())
    }
    fn run_node(&self, seq: u64, place: u64) -> Result<Hash, Infallible> {
        Ok(self.world.batches[seq as usize - 1].trees.run.nodes()[place as usize])
    }
    fn record_node(&self, seq: u64, place: u64) -> Result<Hash, Infallible> {
        Ok(self.world.batches[seq as usize - 1].trees.records.nodes()[place as usize])
    }
    fn record(&self, seq: u64, id: RecordId) -> Result<Option<KeptRecord>, Infallible> {
        let b = &self.world.batches[seq as usize - 1];
        let place = b.places.get(&id).filter(|_| self.world.is_live(id, self.size));
        Ok(place.map(|place| KeptRecord {
            place: *place,
            leaf: b.trees.leaves[*place as usize],
            terms: b.records[*place as usize].index.terms.clone(),
        }))
    }
    fn frequency(&self, range: &TermRange, _: u64) -> Result<u64, Infallible> {
        let of = |b: &Stored| b.trees.pairs.iter().filter(|p| range.has(p)).count() as u64;
        Ok(self.world.batches[..self.size as usize].iter().map(of).sum())
    }
}

fn some_terms(world: &World, dice: &mut Dice) -> Vec<u8> {
    let scope = |dice: &mut Dice| dice.percent(40).then(|| world.hospitals[dice.below(world.hospitals.len())]);
    (0..1 + dice.below(3)).flat_map(|_| term(scope(dice), dice.below(NAMES + 1))).collect()
}

fn some_tag(world: &World, dice: &mut Dice) -> [u8; 8] {
    let scope = dice.percent(40).then(|| world.hospitals[dice.below(world.hospitals.len())]);
    tag(scope, dice.below(2))
}

/// A clause without conjunctions and negations, with them, or one that cannot be shown.
pub(crate) fn clause(world: &World, dice: &mut Dice, depth: usize) -> CloudClause {
    let part = |dice: &mut Dice| clause(world, dice, depth - 1);
    match dice.below(if depth == 0 { 8 } else { 16 }) {
        0..4 => CloudClause::Terms(some_terms(world, dice)),
        4..7 => {
            let (a, b) = (code(dice), code(dice));
            CloudClause::Range { tag: some_tag(world, dice), lo: a.min(b), hi: a.max(b) }
        }
        7 if dice.percent(50) => CloudClause::All,
        7 => {
            let of = world.providers.iter().filter(|_| dice.percent(50));
            CloudClause::Source(of.map(|p| p.identity.id()).collect())
        }
        8..12 => CloudClause::And((0..1 + dice.below(3)).map(|_| part(dice)).collect()),
        12..15 => CloudClause::Or((0..dice.below(4)).map(|_| part(dice)).collect()),
        _ => CloudClause::Not(Box::new(part(dice))),
    }
}

pub(crate) fn question(world: &World, dice: &mut Dice) -> CloudSearch {
    let sort = dice.percent(45).then(|| CloudSort { tag: some_tag(world, dice), descending: dice.percent(50) });
    let (depth, most) = (dice.below(3), [2, 8, 100][dice.below(3)]);
    CloudSearch {
        clause: clause(world, dice, depth),
        sort,
        after: None,
        limit: 1 + dice.below(most) as u32,
        prove: Some(if dice.percent(70) { world.scopes() } else { Vec::new() }),
    }
}

/// A page by what it says, whatever the order of its list of providers.
pub(crate) fn meaning(page: &CloudMatches) -> Vec<(RecordId, Option<PrincipalId>, Vec<u8>)> {
    page.matches.iter().map(|m| (m.0, page.providers.get(m.1 as usize).copied(), m.2.clone())).collect()
}

/// What an honest cloud answered, with its proof, ready to be altered.
pub(crate) struct Case {
    pub(crate) world: World,
    pub(crate) view: LedgerView,
    pub(crate) asked: CloudSearch,
    pub(crate) page: CloudMatches,
    pub(crate) proof: AnswerProof,
}

impl Case {
    pub(crate) fn of(world: World, asked: CloudSearch) -> Self {
        let (view, size) = (world.view(), world.size());
        let page = world.answer(size, &asked);
        let proof = world.prove(size, &asked, &page);
        Self { view, asked, page, proof, world }
    }

    /// A random one, at some page of its question.
    pub(crate) fn random(dice: &mut Dice) -> Self {
        let world = World::random(dice);
        let mut asked = question(&world, dice);
        for _ in 0..dice.below(3) {
            asked.after = world.answer(world.size(), &asked).next.or(asked.after);
        }
        Self::of(world, asked)
    }

    pub(crate) fn check(&self, page: &CloudMatches, proof: &AnswerProof) -> Result<Verdict, Tampered> {
        verify(&self.view, 0, &self.asked, page, proof)
    }

    /// A clause in a fixed world whose batches have several pages.
    pub(crate) fn fixed(clause: CloudClause, sort: Option<CloudSort>, limit: u32) -> Self {
        let world = fixed();
        let prove = Some(world.scopes());
        Self::of(world, CloudSearch { clause, sort, after: None, limit, prove })
    }

    /// Whether a page is that of an honest cloud with so many batches. Of the last page of a sorted answer a cloud may
    /// say that it is not the last: the next is empty then.
    pub(crate) fn is_honest(&self, size: u64, page: &CloudMatches) -> bool {
        let honest = self.world.answer(size, &self.asked);
        let last = self.world.matching(size, &self.asked).last().map(|(at, ..)| *at);
        let promised = self.asked.sort.is_some() && honest.next.is_none() && page.next == last;
        meaning(&honest) == meaning(page) && (honest.next == page.next || promised)
    }
}

/// Always the same six batches: many records, several replaced, providers of two hospitals.
pub(crate) fn fixed() -> World {
    let mut dice = Dice(7);
    let mut world = World::empty(2);
    for provider in [0, 1, 2, 0, 3, 1] {
        let records = (0..50).map(|_| world.record(provider, &mut dice)).collect();
        world.push(provider, records);
    }
    world
}
