//! Finding the records of one encrypted term: section 8 of the suite and our merged index, beside Findex and blind indexes.

mod findex;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use sealdex_cloud::index::IndexSearch;
use sealdex_crypto::*;
use sealdex_wire::search::CloudClause;

use crate::Failure;
use crate::cloud::{self, Cloud};
use crate::measure::{Processor, row_of};
use crate::outside::{self, Outside};
use crate::report::{Better, Group, Peer, Row};
use crate::settings::Settings;

const NOT_COMPARABLE: &str = "\
Findex hides from the server which entries belong to one keyword until it is searched (searchable symmetric \
encryption), and encrypts the index itself; its owner's key builds it and searches it, and one list holds a \
keyword's entries of everybody who writes. Our terms and CipherSweet's blind indexes are deterministic: whoever \
stores them sees how many records share one. CipherSweet is a library in front of a database: only its blind indexes \
are measured, kept in a map. `in memory` is each of them over a hash map in its own process, once with each record \
as it comes and once with all records of a term known beforehand; `durable` is our cloud's store and merged index on \
disk, with a commit every 4,096 records, for which neither peer has a counterpart in its package. Two parties make \
our terms (member and gate); both parts are counted, the network between them is not. Findex returns 8-byte values, \
ours 16-byte record ids, and durably whole rows.";

/// Every record is added as it comes.
const ONE_BY_ONE: &str = "in memory, record by record";
/// All records are there first, and added term by term.
const GROUPED: &str = "in memory, grouped by term first";
/// A value has about so many records.
const HITS: u64 = 100;
/// Records a commit, and an insertion.
const BATCH: u64 = 4096;
/// Terms looked up a round.
const LOOKUPS: u64 = 200;

pub fn compare(settings: &Settings) -> Result<Vec<Group>, Failure> {
    let mut building = Group::new("encrypted search: building", "records/s", Better::Higher, NOT_COMPARABLE);
    let mut looking = Group::new("encrypted search: looking up", "µs", Better::Lower, NOT_COMPARABLE);
    let sizes: &[u64] = if settings.quick { &[10_000] } else { &[10_000, 100_000] };
    let rounds = if settings.quick { 3 } else { 7 };
    let mut sweet = match outside::ciphersweet() {
        Ok(process) => Some(process),
        Err(why) => {
            [&mut building, &mut looking].into_iter().for_each(|g| g.skip("ciphersweet-js", &why));
            None
        }
    };
    for &records in sizes {
        let mut taken = Taken::default();
        for _ in 0..rounds {
            round(settings, records, sweet.as_mut(), &mut taken)?;
        }
        let (built, found) = taken.rows(records);
        building.rows.extend(built);
        looking.rows.extend(found);
    }
    for group in [&mut building, &mut looking] {
        group.compare();
        group.skip(
            "CipherStash (cipherstash-client 0.43.1, @cipherstash/protect)",
            "every key comes from its key service (ZeroKMS), so neither runs without an account there",
        );
    }
    Ok(vec![building, looking])
}

/// What each contender took: seconds a record built, seconds a term looked up.
#[derive(Default)]
struct Taken(Vec<(String, Peer, Vec<f64>, Vec<f64>)>);

impl Taken {
    fn add(&mut self, what: &str, peer: &Peer, records: u64, built: Duration, lookups: u64, found: Duration) {
        let (build, find) = (built.as_secs_f64() / records as f64, found.as_secs_f64() / lookups as f64);
        match self.0.iter_mut().find(|(w, p, ..)| w == what && p == peer) {
            Some((_, _, builds, finds)) => {
                builds.push(build);
                finds.push(find);
            }
            None => self.0.push((what.into(), peer.clone(), vec![build], vec![find])),
        }
    }

    fn rows(self, records: u64) -> (Vec<Row>, Vec<Row>) {
        let row =
            |what: &str, peer: &Peer, values: Vec<f64>| row_of(format!("{records} records, {what}"), peer, values);
        let both = self.0.into_iter().map(|(what, peer, built, found)| {
            let rates = built.into_iter().map(|s| 1.0 / s).collect();
            let micros = found.into_iter().map(|s| s * 1e6).collect();
            (row(&what, &peer, rates), row(&what, &peer, micros))
        });
        both.unzip()
    }
}

/// One round: everybody builds, then looks up.
fn round(settings: &Settings, records: u64, sweet: Option<&mut Outside>, taken: &mut Taken) -> Result<(), Failure> {
    let ours = Peer::ours();
    let (built, found) = in_memory(records, false)?;
    taken.add(ONE_BY_ONE, &ours, records, built, LOOKUPS, found);
    let (built, found) = in_memory(records, true)?;
    taken.add(GROUPED, &ours, records, built, LOOKUPS, found);
    let (built, found) = durable(settings, records)?;
    taken.add("durable", &ours, records, built, LOOKUPS, found);
    let peer = Peer::linked("cosmian_findex", "", "BUSL-1.1");
    let (built, found) = findex::one_by_one(records)?;
    taken.add(ONE_BY_ONE, &peer, records, built, LOOKUPS, found);
    let (built, found) = findex::grouped(records)?;
    taken.add(GROUPED, &peer, records, built, LOOKUPS, found);
    if let Some(sweet) = sweet {
        for which in ["modern", "fips"] {
            let peer = Peer { name: "ciphersweet-js".into(), version: sweet.version.clone(), licence: "ISC" };
            let built = sweet.time(&format!("index-{which}"), records)?;
            let found = sweet.time(&format!("search-{which}"), LOOKUPS)?;
            taken.add(ONE_BY_ONE, &peer.configured(which), records, built, LOOKUPS, found);
        }
    }
    Ok(())
}

/// The value of a record, and one that is looked up.
fn value(n: u64, records: u64) -> String {
    format!("http://loinc.org|{}-4", n.wrapping_mul(7919) % (records / HITS).max(1))
}

fn id_of(n: u64) -> RecordId {
    RecordId(u128::from(n).to_be_bytes())
}

/// The keys of member and gate.
fn keys() -> (FieldTokenKey, ScopeKey) {
    let member = MemberTokenSecret::from_bytes(&[1; 32]);
    let scope = ScopeKey::derive(&TermKey::from_bytes(&[2; 32]), "north", &[]);
    (FieldTokenKey::derive(&member, "north", "observation.code", 0), scope)
}

fn enough(hits: usize) -> Result<(), Failure> {
    if hits as u64 >= LOOKUPS * HITS / 2 { Ok(()) } else { Err(format!("{hits} hits in {LOOKUPS} lookups").into()) }
}

/// Our terms over a hash map, for what the index is not about.
fn in_memory(records: u64, grouped: bool) -> Result<(Duration, Duration), Failure> {
    let (field, scope) = keys();
    let term = |value: &str| scope.term(&field.inner(value.as_bytes())).0;
    let started = Processor::now();
    let mut index: HashMap<[u8; 16], Vec<RecordId>> = HashMap::new();
    if grouped {
        let mut bindings: HashMap<String, Vec<RecordId>> = HashMap::new();
        for n in 0..records {
            bindings.entry(value(n, records)).or_default().push(id_of(n));
        }
        index.extend(bindings.into_iter().map(|(value, ids)| (term(&value), ids)));
    } else {
        for n in 0..records {
            index.entry(term(&value(n, records))).or_default().push(id_of(n));
        }
    }
    let built = started.elapsed();
    let started = Processor::now();
    let mut hits = 0;
    for n in 0..LOOKUPS {
        let term = term(&value(n, records));
        hits += std::hint::black_box(index.get(&term).cloned().unwrap_or_default()).len();
    }
    enough(hits)?;
    Ok((built, started.elapsed()))
}

/// Our terms in our cloud's store and index.
fn durable(settings: &Settings, records: u64) -> Result<(Duration, Duration), Failure> {
    let dir = tempfile::Builder::new().prefix("sealdex-peers").tempdir_in(&settings.dir)?;
    let cloud = Cloud::create(dir.path())?;
    let (field, scope) = keys();
    let term = |n| scope.term(&field.inner(value(n, records).as_bytes())).0.to_vec();
    let started = Instant::now();
    for first in (0..records).step_by(BATCH as usize) {
        let record = |n: u64| cloud::record(id_of(n), Term(id_of(n).0), term(n), vec![7; 110], vec![8; 16]);
        let numbers = first..records.min(first + BATCH);
        cloud.accept(cloud::batch(first, numbers.map(record).collect()))?;
        cloud.index()?;
    }
    let built = started.elapsed();
    let started = Instant::now();
    let mut hits = 0;
    for n in 0..LOOKUPS {
        let clause = CloudClause::Terms(term(n));
        hits += cloud.find(&IndexSearch { clause, sort: None, after: None, limit: 1000 })?;
    }
    enough(hits)?;
    Ok((built, started.elapsed()))
}
