//! Sizes and times of proofs: `cargo test --release -p sealdex-ledger --test suite -- --ignored --nocapture`.

use std::time::Instant;

use sealdex_crypto::{RecordId, Term};
use sealdex_ledger::Verdict;
use sealdex_wire::{
    codec,
    ingest::{BridgedRecord, UploadRecord},
    search::{CloudClause, CloudSort},
};

use crate::world::{Case, Dice, World, order, tag, term};

/// 13 batches of 4096 records with 25 terms each; 100 of them have one term, and 100 others codes from 1 to 100.
fn large() -> World {
    let dice = &mut Dice(1);
    let mut world = World::empty(3);
    let (batches, records) = (13, 4096);
    let spread = batches * records / 100;
    for batch in 0..batches {
        let record = |i: usize| {
            let n = batch * records + i;
            let mut terms: Vec<[u8; 16]> = (0..24).map(|_| dice.bytes16()).collect();
            terms.push(order(tag(None, 0), (1 << 40) + dice.roll() % 1_000_000));
            if n.is_multiple_of(spread) && n / spread < 100 {
                terms[0] = term(None, 0);
            }
            if n % spread == 1 && n / spread < 100 {
                terms[24] = order(tag(None, 0), 1 + (n / spread) as u64);
            }
            UploadRecord {
                id: RecordId(dice.bytes16()),
                index: BridgedRecord {
                    origin: Term(dice.bytes16()),
                    terms: terms.concat(),
                    tag: [dice.bytes16(); 8].concat(),
                },
                sealed: vec![7; 64],
            }
        };
        world.push(batch % 5, (0..records).map(record).collect());
    }
    world
}

#[test]
#[ignore = "prints figures"]
#[allow(clippy::print_stdout)]
fn figures() {
    let tag = tag(None, 0);
    let (one, range) = (CloudClause::Terms(term(None, 0).to_vec()), CloudClause::Range { tag, lo: 1, hi: 100 });
    let sort = Some(CloudSort { tag, descending: false });
    let half = CloudClause::Not(Box::new(CloudClause::Terms(term(None, 0).to_vec())));
    let dice = &mut Dice(2);
    let mut random = || UploadRecord {
        id: RecordId(dice.bytes16()),
        index: BridgedRecord {
            origin: Term(dice.bytes16()),
            terms: (0..25).flat_map(|_| dice.bytes16()).collect(),
            tag: [dice.bytes16(); 8].concat(),
        },
        sealed: vec![7; 1024],
    };
    let records: Vec<_> = (0..4096).map(|_| random()).collect();
    let from = Instant::now();
    let trees = sealdex_ledger::BatchTrees::new(&records);
    println!("both trees of {} records of 1 KiB with 25 terms: {:?}", trees.leaves.len(), from.elapsed());
    let mut world = large();
    for (what, clause, sort) in [
        ("100 hits of a term", one.clone(), None),
        ("100 hits of a range", range.clone(), None),
        ("100 hits of a range, sorted", range, sort),
        ("first 100 of all but a term, sorted", half, sort),
    ] {
        let asked =
            sealdex_wire::search::CloudSearch { clause, sort, after: None, limit: 100, prove: Some(Vec::new()) };
        let case = Case::of(world, asked);
        assert_eq!(case.page.matches.len(), 100);
        let bytes = codec::to_cbor(&case.proof);
        let pairs: usize = case.proof.runs.iter().map(|r| r.pairs.len()).sum();
        let hashes: usize = case.proof.runs.iter().map(|r| r.hashes.len()).sum();
        let rounds = 20;
        let from = Instant::now();
        for _ in 0..rounds {
            assert!(matches!(case.check(&case.page, &case.proof), Ok(Verdict::Complete(_))));
        }
        let each = from.elapsed() / rounds;
        println!("{what}: proof {} B (pairs {pairs} B, their hashes {hashes} B), verified in {each:?}", bytes.len());
        world = case.world;
    }
}
