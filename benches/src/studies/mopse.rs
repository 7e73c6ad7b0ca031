//! MOPSE's studies: building the index and asking a range, against the number of providers, flat and hierarchical, in both
//! scopes, and against the size of the data.

use std::time::Instant;

use rand::{RngExt as _, rngs::StdRng};
use sealdex_cloud::index::IndexSearch;
use sealdex_crypto::{
    Bits, FieldToken, GateOrderSecret, InnerOrderKey, MemberOrderSecret, MemberTokenSecret, NoiseKey, OuterOrderKey,
    PrincipalId, RecordId, ScopeKey, TermKey, field_token, noise,
};
use sealdex_wire::search::CloudClause;

use super::{Size, begin, grouped, row, short, study};
use crate::{
    cloud::{BATCH, Cloud, Entries, order_term, seeded},
    measure::percentile,
    report::{Axis, Chart, Series, Study},
};

const ABOUT: &str = "The study of Zhang et al. (MOPSE), with this suite's order codes: records of one 32-bit order field are coded by their \
providers (inner layer), bridged by the gate (outer layer) and merged by the cloud, each batch durable and searchable; then \
ranges of about 100 records over all providers, from the quantised bounds to ids and tags. `merged`: one order over all. \
`isolated`: an order for each hospital, so a question has a range for each. `hierarchical`: the same providers as departments \
of at most four hospitals; with up to four providers that is the same as flat, and with one as merged, and is not measured again. \
Arrangements of one row's size take turns, batch by batch and question by question. One process, no HTTP.";
const FIELD: &str = "observation.value";

/// How providers are arranged, and over what an order holds.
#[derive(Clone, Copy, PartialEq)]
enum Shape {
    Merged,
    IsolatedFlat,
    IsolatedHierarchical,
}

const SHAPES: [(Shape, &str); 3] = [
    (Shape::Merged, "merged"),
    (Shape::IsolatedFlat, "isolated, flat"),
    (Shape::IsolatedHierarchical, "isolated, hierarchical"),
];

/// Builds and asks.
///
/// # Panics
/// Where the disk fails.
#[must_use]
pub fn run(size: Size) -> Study {
    let machine = begin();
    let records = size.of(64_000, 2_000);
    let mut table =
        vec![row(["providers", "records", "order", "built, s", "of it codes, s", "range of 100: p50, µs", "p99, µs"])];
    let lines = |table: &mut Vec<Vec<String>>, providers: u32, records: u64| {
        let shapes: &[(Shape, &str)] = match providers {
            1 => &SHAPES[..1],
            2..=4 => &SHAPES[..2],
            _ => &SHAPES,
        };
        let found = measure(providers, records, shapes, size.of(201, 11));
        for (found, (_, name)) in found.iter().zip(shapes) {
            table.push(row([
                &providers.to_string(),
                &grouped(records as f64),
                name,
                &short(found.built),
                &short(found.coded),
                &short(found.p50),
                &short(found.p99),
            ]));
        }
        found
    };
    let mut built: Vec<Series> = SHAPES.iter().map(|(_, name)| Series::new(*name)).collect();
    let mut asked = built.clone();
    for providers in size.of(vec![1, 2, 4, 8, 16, 32, 64], vec![1, 8]) {
        for (i, found) in lines(&mut table, providers, records).into_iter().enumerate() {
            built[i].points.push([f64::from(providers), found.built]);
            asked[i].points.push([f64::from(providers), found.p50]);
        }
    }
    let mut by_size: Vec<Series> = SHAPES.iter().map(|(_, name)| Series::new(format!("{name}: built, s"))).collect();
    let mut asked_by_size: Vec<Series> = SHAPES.iter().map(|(_, name)| Series::new(*name)).collect();
    for records in size.of(vec![10_000, 30_000, 100_000, 300_000], vec![1_000, 4_000]) {
        for (i, found) in lines(&mut table, 16, records).into_iter().enumerate() {
            by_size[i].points.push([records as f64, found.built]);
            asked_by_size[i].points.push([records as f64, found.p50]);
        }
    }
    let chart = |name: &str, title: &str, x: &str, y: &str, series| Chart {
        name: name.into(),
        title: title.into(),
        x: Axis::log(x),
        y: Axis::linear(y),
        bars: Vec::new(),
        series,
    };
    let charts = vec![
        chart("mopse-build", "Building the index, by number of providers", "providers", "s", built),
        chart("mopse-query", "A range of 100 over all providers", "providers", "µs, median", asked),
        chart("mopse-build-size", "Building the index, 16 providers", "records", "s", by_size),
        chart("mopse-query-size", "A range of 100 over 16 providers", "records", "µs, median", asked_by_size),
    ];
    study("mopse", ABOUT, size, vec![table], charts, machine)
}

struct Found {
    built: f64,
    coded: f64,
    p50: f64,
    p99: f64,
}

/// The keys of one field.
struct Keys {
    inner: InnerOrderKey,
    token: FieldToken,
    member_noise: NoiseKey,
    gate_noise: NoiseKey,
    bits: Bits,
}

impl Keys {
    fn new() -> Self {
        let token = field_token(&MemberTokenSecret::from_bytes(&[1; 32]), "north", FIELD, 0);
        Self {
            inner: InnerOrderKey::derive(&MemberOrderSecret::from_bytes(&[2; 32]), "north", FIELD, 0),
            token,
            member_noise: NoiseKey::from_bytes(&[3; 32]),
            gate_noise: NoiseKey::from_bytes(&[4; 32]),
            bits: Bits::new(32).unwrap(),
        }
    }

    /// The outer key and tag of a scope: of a hospital, or of all.
    fn scope(&self, hospital: Option<PrincipalId>) -> (OuterOrderKey, [u8; 8]) {
        let scope = hospital.map_or(Vec::new(), |h| h.0.to_vec());
        let outer = OuterOrderKey::derive(&GateOrderSecret::from_bytes(&[5; 32]), "north", &self.token, 0, &scope);
        let tag = ScopeKey::derive(&TermKey::from_bytes(&[6; 32]), "north", &scope).tag(&self.token);
        (outer, tag)
    }
}

fn provider(n: u32) -> PrincipalId {
    let mut id = [0; 16];
    id[..4].copy_from_slice(&(n + 1).to_be_bytes());
    PrincipalId(id)
}

/// A cloud of one arrangement.
struct Arranged {
    cloud: Cloud,
    shape: Shape,
    scopes: Vec<(PrincipalId, (OuterOrderKey, [u8; 8]))>,
    built: f64,
    coded: f64,
    us: Vec<f64>,
    // Last: its files are open until the cloud is gone.
    _dir: tempfile::TempDir,
}

impl Shape {
    fn hospital(self, p: u32) -> PrincipalId {
        provider(if self == Self::IsolatedHierarchical { p % 4 } else { p })
    }
}

impl Arranged {
    fn new(shape: Shape, keys: &Keys, providers: u32) -> Self {
        let mut hospitals: Vec<PrincipalId> = (0..providers).map(|p| shape.hospital(p)).collect();
        hospitals.sort();
        hospitals.dedup();
        let scopes = match shape {
            Shape::Merged => vec![(hospitals[0], keys.scope(None))],
            _ => hospitals.iter().map(|h| (*h, keys.scope(Some(*h)))).collect(),
        };
        let dir = tempfile::tempdir().unwrap();
        let cloud = Cloud::open(dir.path());
        Self { cloud, shape, scopes, built: 0.0, coded: 0.0, us: Vec::new(), _dir: dir }
    }

    fn fill(&mut self, keys: &Keys, providers: u32, first: u64, count: u64, rng: &mut StdRng) {
        let started = Instant::now();
        let hospital = |p| self.shape.hospital(p);
        let entries = (0..count).map(|_| entry(keys, &self.scopes, hospital, providers, rng)).collect();
        self.coded += started.elapsed().as_secs_f64();
        self.cloud.fill(first, entries, 64, rng);
        self.built += started.elapsed().as_secs_f64();
    }

    fn ask(&mut self, keys: &Keys, from: u64, width: u64) {
        let started = Instant::now();
        let (lo, hi) = keys.inner.bounds(keys.bits, from, from + width).unwrap();
        let ranges = self.scopes.iter().map(|(_, (outer, tag))| {
            let (lo, hi) = outer.bounds(keys.bits, lo, hi).unwrap();
            CloudClause::Range { tag: *tag, lo, hi }
        });
        let clause = CloudClause::Or(ranges.collect());
        let hits = self.cloud.hits(&IndexSearch { clause, sort: None, after: None, limit: 1000 });
        self.us.push(started.elapsed().as_secs_f64() * 1e6);
        assert!(hits < 400, "about a hundred: {hits}");
    }
}

fn measure(providers: u32, records: u64, shapes: &[(Shape, &str)], times: usize) -> Vec<Found> {
    let (keys, mut rng) = (Keys::new(), seeded(records));
    let mut all: Vec<Arranged> = shapes.iter().map(|(shape, _)| Arranged::new(*shape, &keys, providers)).collect();
    let mut done = 0;
    while done < records {
        let count = (BATCH * 4).min(records - done);
        all.iter_mut().for_each(|one| one.fill(&keys, providers, done, count, &mut rng));
        done += count;
    }
    let width = (u64::from(u32::MAX) / records * 100).max(1);
    for _ in 0..times {
        let from = rng.random_range(0..u64::from(u32::MAX) - width);
        all.iter_mut().for_each(|one| one.ask(&keys, from, width));
    }
    let found = |one: Arranged| Found {
        built: one.built,
        coded: one.coded,
        p50: percentile(one.us.clone(), 0.5),
        p99: percentile(one.us, 0.99),
    };
    all.into_iter().map(found).collect()
}

fn entry(
    keys: &Keys,
    scopes: &[(PrincipalId, (OuterOrderKey, [u8; 8]))],
    hospital: impl Fn(u32) -> PrincipalId,
    providers: u32,
    rng: &mut StdRng,
) -> Entries {
    let (p, value) = (rng.random_range(0..providers), u64::from(rng.random::<u32>()));
    let record = RecordId(rng.random());
    let inner = keys.inner.code(keys.bits, value, noise(&keys.member_noise, &record, FIELD.as_bytes())).unwrap();
    let (outer, tag) = match scopes.iter().find(|(h, _)| *h == hospital(p)) {
        Some((_, scope)) => scope,
        None => &scopes[0].1,
    };
    let code = outer.code(keys.bits, inner, noise(&keys.gate_noise, &record, &keys.token.0)).unwrap();
    Entries { provider: provider(p), hospital: hospital(p), terms: order_term(*tag, code).to_vec() }
}
