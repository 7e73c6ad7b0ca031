//! The conformance suite of `MergedIndex`, and the evaluator against brute force.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

mod support;

use std::{fs, path::Path};

use proptest::prelude::*;
use rand::{RngExt, rngs::StdRng};
use sealdex_cloud::{
    index::{BruteForce, Found, IndexSearch, MergedIndex, TantivyIndex},
    store::{MemoryStore, NewBatch, RedbStore, SealedStore},
};
use sealdex_crypto::{BatchId, RecordId};
use sealdex_wire::search::{CloudClause, CloudCursor, CloudSort};
use support::*;

fn all(limit: usize) -> IndexSearch {
    IndexSearch { clause: CloudClause::All, sort: None, after: None, limit }
}

fn ids(index: &dyn MergedIndex, clause: CloudClause) -> Vec<RecordId> {
    let found = index.find(&IndexSearch { clause, ..all(1000) }).unwrap();
    found.into_iter().map(|f| f.at.id).collect()
}

fn term_clause(n: u64) -> CloudClause {
    CloudClause::Terms(term(n).to_vec())
}

/// All an index must do. `open` gives the index of one place, again and again.
fn conformance<I: MergedIndex>(open: impl Fn() -> I) {
    let store = MemoryStore::default();
    let index = open();
    assert_eq!(index.indexed(), 0);
    assert_eq!(index.catch_up(store.snapshot().unwrap()).unwrap(), 0);
    assert!(ids(&index, CloudClause::All).is_empty());

    push(&store, batch(1, vec![record(1, 1, &[term(1), term(2)]), record(2, 2, &[term(2)])]));
    assert!(ids(&index, CloudClause::All).is_empty(), "nothing is searchable before it is indexed");
    assert_eq!(index.catch_up(store.snapshot().unwrap()).unwrap(), 1);
    assert_eq!(index.indexed(), 1);
    assert_eq!(ids(&index, term_clause(2)), [record_id(1), record_id(2)]);
    assert_eq!(ids(&index, term_clause(1)), [record_id(1)]);

    // Replaced in two steps within one round: neither old version remains.
    push(&store, batch(2, vec![record(3, 1, &[term(5)])]));
    push(&store, batch(3, vec![record(4, 1, &[term(6)])]));
    assert_eq!(ids(&index, term_clause(1)), [record_id(1)], "a search stands for one state of the store");
    index.catch_up(store.snapshot().unwrap()).unwrap();
    assert_eq!(ids(&index, CloudClause::All), [record_id(2), record_id(4)]);
    assert!(ids(&index, term_clause(5)).is_empty());
    assert_eq!(ids(&index, term_clause(6)), [record_id(4)]);

    // Reopened: what it had, and what came meanwhile, once.
    drop(index);
    push(&store, batch(4, vec![record(5, 5, &[term(6)])]));
    let index = open();
    assert_eq!(index.catch_up(store.snapshot().unwrap()).unwrap(), 4);
    assert_eq!(index.catch_up(store.snapshot().unwrap()).unwrap(), 4);
    assert_eq!(ids(&index, term_clause(6)), [record_id(4), record_id(5)]);
    assert!(index.find(&all(0)).unwrap().is_empty());
}

#[test]
fn brute_force_conforms() {
    conformance(BruteForce::default);
}

#[test]
fn tantivy_conforms() {
    let dir = tempfile::tempdir().unwrap();
    conformance(|| TantivyIndex::open(&dir.path().join("index")).unwrap());
}

fn filled_store(path: &Path) -> RedbStore {
    let store = RedbStore::open(path).unwrap();
    for b in 0..4 {
        push(
            &store,
            batch(b + 1, (0..50).map(|i| record(u64::from(b) * 50 + i, i * 4 + u64::from(b), &[term(i)])).collect()),
        );
    }
    push(&store, batch(9, (0..10).map(|i| record(1000 + i, i * 4, &[term(i)])).collect()));
    store
}

fn check_whole(store: &RedbStore, dir: &Path) {
    let index = TantivyIndex::open(dir).unwrap();
    assert_eq!(index.catch_up(store.snapshot().unwrap()).unwrap(), 5);
    assert_eq!(ids(&index, CloudClause::All), store.snapshot().unwrap().ids(None, 1000).unwrap());
    assert_eq!(ids(&index, term_clause(3)).len(), 4);
}

#[test]
fn a_missing_or_damaged_index_is_built_anew() {
    let dir = tempfile::tempdir().unwrap();
    let store = filled_store(&dir.path().join("store"));
    let place = dir.path().join("index");
    check_whole(&store, &place);
    fs::remove_dir_all(&place).unwrap();
    check_whole(&store, &place);
    let files = || fs::read_dir(&place).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_file()).collect::<Vec<_>>();
    for n in 0..files().len() {
        for damage in 0..3 {
            let Some(file) = files().get(n).cloned() else { continue };
            let bytes = fs::read(&file).unwrap();
            match damage {
                0 => fs::remove_file(&file).unwrap(),
                1 => fs::write(&file, &bytes[..bytes.len() / 2]).unwrap(),
                _ => {
                    let mut flipped = bytes.clone();
                    if let Some(b) = flipped.get_mut(bytes.len() / 3) {
                        *b ^= 0x55;
                    }
                    fs::write(&file, flipped).unwrap();
                }
            }
            check_whole(&store, &place);
        }
    }
}

#[test]
fn what_rots_while_it_serves_is_named_answers_nothing_and_is_built_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (store, place) = (filled_store(&dir.path().join("store")), dir.path().join("index"));
    let index = TantivyIndex::open(&place).unwrap();
    index.catch_up(store.snapshot().unwrap()).unwrap();
    assert_eq!(index.check().unwrap(), None);
    let all_files = fs::read_dir(&place).unwrap().map(|e| e.unwrap().path());
    let files: Vec<_> = all_files.filter(|p| p.extension().is_some_and(|e| e == "term")).collect();
    for file in &files {
        let mut bytes = fs::read(file).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x55;
        fs::write(file, bytes).unwrap();
    }
    let named = index.check().unwrap().unwrap();
    let mut names = files.iter().map(|f| f.file_name().unwrap().to_str().unwrap());
    assert!(names.any(|name| named.contains(name)), "{named}");
    let searched = index.search(&all(10)).unwrap();
    assert!(searched.found.is_empty() && searched.state.is_none());
    index.catch_up(store.snapshot().unwrap()).unwrap();
    assert_eq!(ids(&index, CloudClause::All), store.snapshot().unwrap().ids(None, 1000).unwrap());
}

/// A search looks into the dictionary of each segment; small ones are merged while nothing comes in, and it finds the same.
#[test]
fn an_index_at_rest_has_few_segments() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("index");
    let (store, index) = (MemoryStore::default(), TantivyIndex::open(&place).unwrap());
    let segments = || {
        let files = fs::read_dir(&place).unwrap().map(|e| e.unwrap().path());
        files.filter(|p| p.extension().is_some_and(|e| e == "term")).count()
    };
    // One fewer than are merged while batches come.
    for b in 0..11 {
        push(&store, batch(b + 1, vec![record(u64::from(b), u64::from(b), &[term(1)])]));
        index.catch_up(store.snapshot().unwrap()).unwrap();
    }
    let (before, found) = (segments(), ids(&index, term_clause(1)));
    assert_eq!((before, found.len()), (11, 11));
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while index.tidy().unwrap() || segments() > 3 {
        assert!(std::time::Instant::now() < until, "{} segments", segments());
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert_eq!(ids(&index, term_clause(1)), found);
    push(&store, batch(12, vec![record(99, 99, &[term(1)])]));
    index.catch_up(store.snapshot().unwrap()).unwrap();
    assert_eq!(ids(&index, term_clause(1)).len(), 12);
}

#[test]
fn an_index_ahead_of_or_strange_to_the_store_is_built_anew() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("index");
    let store = filled_store(&dir.path().join("store"));
    check_whole(&store, &place);
    // Ahead of it; and as far as it, with as many records, but others.
    for batches in [6, 5] {
        let other = RedbStore::open(&dir.path().join(format!("other-{batches}"))).unwrap();
        for b in 0..batches {
            let records = (0..40).map(|i| 5000 + b * 40 + i).map(|n| record(n, n, &[term(77)]));
            push(&other, batch(b as u8, records.collect()));
        }
        {
            let index = TantivyIndex::open(&place).unwrap();
            assert_eq!(index.catch_up(other.snapshot().unwrap()).unwrap(), batches);
            assert_eq!(ids(&index, term_clause(77)).len() as u64, 40 * batches);
            assert!(ids(&index, term_clause(3)).is_empty());
        }
        check_whole(&store, &place);
    }
}

fn random_clause(rng: &mut StdRng, depth: u32) -> CloudClause {
    match rng.random_range(0..if depth == 0 { 5 } else { 8 }) {
        0 => CloudClause::All,
        1 => term_clause(rng.random_range(0..14)),
        2 => CloudClause::Terms((0..rng.random_range(0..6)).flat_map(|_| term(rng.random_range(0..14))).collect()),
        3 => {
            let (a, b) = (rng.random_range(0..45), rng.random_range(0..45));
            let tag = if rng.random_bool(0.5) { 0xa0 } else { 0xb0 };
            let hi = if rng.random_bool(0.1) { u64::MAX } else { u64::max(a, b) };
            CloudClause::Range { tag: [tag; 8], lo: u64::min(a, b), hi }
        }
        4 => CloudClause::Source((0..rng.random_range(0..3)).map(|_| provider(rng.random_range(1..5))).collect()),
        5 => CloudClause::And((0..rng.random_range(0..4)).map(|_| random_clause(rng, depth - 1)).collect()),
        6 => CloudClause::Or((0..rng.random_range(0..4)).map(|_| random_clause(rng, depth - 1)).collect()),
        _ => CloudClause::Not(Box::new(random_clause(rng, depth - 1))),
    }
}

/// Every page, one after the other.
fn pages(index: &dyn MergedIndex, search: &IndexSearch) -> Vec<Found> {
    let mut search = search.clone();
    let mut out = Vec::new();
    loop {
        let page = index.find(&search).unwrap();
        assert!(page.len() <= search.limit);
        let Some(last) = page.last() else { return out };
        assert_ne!(search.after, Some(last.at), "a page ends where it was to begin after");
        search.after = Some(last.at);
        out.extend(page);
    }
}

fn against_brute_force(seed: u64, batch_size: usize) {
    let mut rng = rng(seed);
    let dir = tempfile::tempdir().unwrap();
    let store = MemoryStore::default();
    let (index, brute) = (TantivyIndex::open(&dir.path().join("index")).unwrap(), BruteForce::default());
    let mut next_id = 0;
    for b in 0..5_u8 {
        let records = random_records(&mut rng, &mut next_id, batch_size, 3 * batch_size as u64);
        let p = provider(rng.random_range(1..5));
        push(
            &store,
            NewBatch {
                batch: BatchId([b; 16]),
                provider: p,
                hospital: provider(1),
                body_sha256: [b; 32],
                records,
                deletes: Vec::new(),
                erases: Vec::new(),
                stated: None,
            },
        );
        // Sometimes two batches share a commit.
        if b == 4 || rng.random_bool(0.7) {
            index.catch_up(store.snapshot().unwrap()).unwrap();
        }
    }
    brute.catch_up(store.snapshot().unwrap()).unwrap();
    for _ in 0..12 {
        let clause = random_clause(&mut rng, 3);
        let descending = rng.random_bool(0.5);
        let tag = if rng.random_bool(0.9) { [0xa0; 8] } else { [0xb0; 8] };
        let sort = rng.random_bool(0.6).then_some(CloudSort { tag, descending });
        let after = rng.random_bool(0.3).then(|| CloudCursor {
            code: if sort.is_some() { rng.random_range(0..45) } else { 0 },
            id: record_id(rng.random_range(0..=next_id)),
        });
        let search = IndexSearch { clause, sort, after, limit: 10_000 };
        let expected = brute.find(&search).unwrap();
        assert_eq!(index.find(&search).unwrap(), expected, "{search:?}");
        let limit = rng.random_range(1..8);
        assert_eq!(
            pages(&index, &IndexSearch { limit, ..search.clone() }),
            expected,
            "in pages of {limit}: {search:?}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn the_evaluator_equals_brute_force(seed: u64) {
        against_brute_force(seed, 30);
    }
}

/// Large enough for bit sets, and for sorted searches that give up walking.
#[test]
fn the_evaluator_equals_brute_force_at_size() {
    against_brute_force(7, 1500);
    against_brute_force(8, 1500);
}

#[test]
fn a_wide_range_beside_a_rare_term_is_exact() {
    let dir = tempfile::tempdir().unwrap();
    let store = MemoryStore::default();
    let (index, brute) = (TantivyIndex::open(&dir.path().join("index")).unwrap(), BruteForce::default());
    let record_of = |i: u64| record(i, i, &[order_term(0xa0, i * 7919 % 10_007), term(i % 400), term(1000 + i % 3)]);
    push(&store, batch(1, (0..10_000).map(record_of).collect()));
    index.catch_up(store.snapshot().unwrap()).unwrap();
    brute.catch_up(store.snapshot().unwrap()).unwrap();
    let wide = CloudClause::Range { tag: [0xa0; 8], lo: 2000, hi: 9000 };
    for range in
        [wide.clone(), CloudClause::Not(Box::new(wide.clone())), CloudClause::Or(vec![wide, term_clause(1001)])]
    {
        for sort in [None, Some(CloudSort { tag: [0xa0; 8], descending: true })] {
            let search = IndexSearch {
                clause: CloudClause::And(vec![range.clone(), term_clause(7)]),
                sort,
                after: None,
                limit: 4,
            };
            let found = pages(&index, &search);
            assert!(found.len() > 4 && found.len() < 25);
            assert_eq!(found, pages(&brute, &search));
        }
    }
}

#[test]
fn a_rare_match_in_a_long_run_is_still_found_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let store = MemoryStore::default();
    let index = TantivyIndex::open(&dir.path().join("index")).unwrap();
    let record_of = |i: u64| {
        let rare: &[[u8; 16]] = if i % 1000 == 3 { &[term(1)] } else { &[] };
        record(i, i, &[&[order_term(0xa0, i * 7919 % 10_007), order_term(0xa0, i * 31 % 10_007)], rare].concat())
    };
    push(&store, batch(1, (0..10_000).map(record_of).collect()));
    index.catch_up(store.snapshot().unwrap()).unwrap();
    let brute = BruteForce::default();
    brute.catch_up(store.snapshot().unwrap()).unwrap();
    for descending in [false, true] {
        let sort = Some(CloudSort { tag: [0xa0; 8], descending });
        let search = IndexSearch { clause: term_clause(1), sort, after: None, limit: 4 };
        assert_eq!(pages(&index, &search), pages(&brute, &search));
        assert_eq!(pages(&index, &search).len(), 10);
    }
}

/// A union of ranges beside a term: its scorers are of several kinds.
#[test]
fn ranges_side_by_side_are_exact() {
    let dir = tempfile::tempdir().unwrap();
    let store = MemoryStore::default();
    let (index, brute) = (TantivyIndex::open(&dir.path().join("index")).unwrap(), BruteForce::default());
    let record_of = |i: u64| {
        let second = order_term(0xb0, i % 50);
        let mut terms = vec![order_term(0xa0, i * 7919 % 10_007), term(i % 40), term(1000 + i % 3)];
        if i.is_multiple_of(17) {
            terms.push(second);
        }
        record(i, i, &terms)
    };
    for b in 0..4 {
        push(&store, batch(b, (0..8000).map(|i| record_of(u64::from(b) * 8000 + i)).collect()));
        index.catch_up(store.snapshot().unwrap()).unwrap();
    }
    brute.catch_up(store.snapshot().unwrap()).unwrap();
    for (lo, tag) in [(9000, 0xc0), (9990, 0xc0), (5000, 0xc0), (9000, 0xb0), (9990, 0xb0), (10_006, 0xb0)] {
        let either = CloudClause::Or(vec![
            CloudClause::Range { tag: [0xa0; 8], lo, hi: u64::MAX },
            CloudClause::Range { tag: [tag; 8], lo: 40, hi: u64::MAX },
        ]);
        for beside in [term_clause(7), term_clause(1001), CloudClause::Or(vec![term_clause(7), term_clause(9)])] {
            let search = IndexSearch {
                clause: CloudClause::And(vec![beside, either.clone()]),
                sort: None,
                after: None,
                limit: 100_000,
            };
            assert_eq!(index.find(&search).unwrap().len(), brute.find(&search).unwrap().len(), "{search:?}");
        }
    }
}

/// Ids whose first halves are many records' and lie in no order, tags of every length, two providers: what a page is made of.
#[test]
fn pages_of_a_wide_range_are_exact() {
    let dir = tempfile::tempdir().unwrap();
    let store = MemoryStore::default();
    let (index, brute) = (TantivyIndex::open(&dir.path().join("index")).unwrap(), BruteForce::default());
    let record_of = |i: u64| {
        let mut record = record(i, i, &[order_term(0xa0, i)]);
        let (hi, lo) = ([3, 1, 2, 1, 1][i as usize % 5], i.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        record.id = RecordId(((u128::from(hi as u8) << 64) | u128::from(lo)).to_be_bytes());
        record.index.tag = vec![i as u8; i as usize % 150];
        record
    };
    let catch_up = |from: u64, to: u64| {
        let n = (from / 1000) as u8;
        push(&store, NewBatch { provider: provider(1 + n % 2), ..batch(n, (from..to).map(record_of).collect()) });
        index.catch_up(store.snapshot().unwrap()).unwrap();
        brute.catch_up(store.snapshot().unwrap()).unwrap();
    };
    catch_up(0, 7000);
    catch_up(7000, 14_000);
    for (limit, from) in [(700, 1000), (3000, 1000), (700, 13_900)] {
        let clause = CloudClause::Range { tag: [0xa0; 8], lo: from, hi: u64::MAX };
        let search = IndexSearch { clause, ..all(limit) };
        let found = pages(&index, &search);
        assert_eq!(found.len() as u64, 14_000 - from);
        assert!(found == pages(&brute, &search), "in pages of {limit}");
    }
    // What is kept for the next page of a question is not kept beyond a change.
    let search = IndexSearch { clause: CloudClause::Range { tag: [0xa0; 8], lo: 0, hi: u64::MAX }, ..all(900) };
    let first = index.find(&search).unwrap();
    catch_up(14_000, 15_000);
    let next = IndexSearch { after: first.last().map(|f| f.at), ..search.clone() };
    for search in [search, next] {
        assert!(index.find(&search).unwrap() == brute.find(&search).unwrap());
    }
}
