//! The conformance suite of `SealedStore` and `RosterStore`: every backend passes all of it.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

mod support;

use std::{path::Path, sync::Arc};

use proptest::prelude::*;
use rand::RngExt;
use sealdex_cloud::store::{
    Change, MemoryStore, NewBatch, RedbStore, Refused, RosterStore, SealedStore, StatedBatch, StoreError, TreeKind,
};
use sealdex_crypto::{BatchId, Signature, Term};
use sealdex_ledger::{
    BatchStatement, BatchTrees, SignedBatch, ended_hash,
    run::{PAGE_PAIRS, pages},
};
use sealdex_wire::ingest::UploadRecord;
use support::*;

/// All a backend must do. `open` gives an empty store at each new path.
fn conformance<S: SealedStore + RosterStore>(open: impl Fn(&str) -> S) {
    an_accepted_batch_reads_back(&open("reads-back"));
    a_batch_is_accepted_once(&open("once"));
    a_refused_batch_leaves_no_trace(&open("no-trace"));
    a_newer_version_replaces(&open("replaces"));
    hospitals_cannot_replace_each_other(&open("hospitals"));
    what_is_deleted_is_gone(&open("deleted"));
    deletions_are_stated(&open("deleted-stated"));
    a_snapshot_does_not_move(&open("snapshot"));
    a_group_sees_its_earlier_batches(&open("group"));
    sealed_bytes_are_bounded(&open("bounded"));
    a_roster_is_kept(&open("roster"));
    statements_are_kept_with_their_batches(&open("stated"));
    batches_with_and_without_statements_do_not_mix(&open("mixed"));
}

fn an_accepted_batch_reads_back(store: &impl SealedStore) {
    assert_eq!(store.snapshot().unwrap().last_seq(), 0);
    let receipt = push(store, batch(1, vec![record(2, 20, &[term(1)]), record(1, 10, &[term(2), term(3)])]));
    assert_eq!((receipt.seq, receipt.records, receipt.replaced, receipt.duplicate), (1, 2, 0, false));
    let s = store.snapshot().unwrap();
    assert_eq!((s.last_seq(), s.live()), (1, 2));
    assert_eq!(s.change(1).unwrap(), Some(Change { added: vec![record_id(1), record_id(2)], replaced: vec![] }));
    assert_eq!(s.change(2).unwrap(), None);
    assert_eq!(s.change(0).unwrap(), None);
    let r = s.record(record_id(1)).unwrap().unwrap();
    assert_eq!((r.provider, r.hospital, r.seq), (provider(1), provider(1), 1));
    assert_eq!((r.origin.0, r.terms, r.tag), (term(10), [term(2), term(3)].concat(), tag(1)));
    assert!(s.record(record_id(3)).unwrap().is_none());
    let ids = [record_id(2), record_id(9), record_id(1)];
    let sealed = s.sealed(&ids, 1000).unwrap();
    assert_eq!(sealed, [Some(b"sealed bytes of 2".to_vec()), None, Some(b"sealed bytes of 1".to_vec())]);
    assert_eq!(s.ids(None, 1).unwrap(), [record_id(1)]);
    assert_eq!(s.ids(Some(record_id(1)), 9).unwrap(), [record_id(2)]);
    let t = store.totals().unwrap();
    assert_eq!((t.records, t.batches, t.last_seq, t.sealed_bytes, t.providers), (2, 1, 1, 34, vec![(provider(1), 2)]));
}

fn a_batch_is_accepted_once(store: &impl SealedStore) {
    let first = batch(1, vec![record(1, 1, &[])]);
    let receipt = push(store, first.clone());
    let again = push(store, first.clone());
    assert!(again.duplicate);
    assert_eq!((again.seq, again.records, again.replaced), (receipt.seq, receipt.records, receipt.replaced));
    let refused = |b: NewBatch| store.accept(&[b]).unwrap().remove(0);
    assert_eq!(refused(NewBatch { body_sha256: [9; 32], ..first.clone() }), Err(Refused::BatchReused(first.batch)));
    assert_eq!(refused(NewBatch { provider: provider(2), ..first.clone() }), Err(Refused::BatchReused(first.batch)));
    assert_eq!(store.totals().unwrap().last_seq, 1);
}

fn a_refused_batch_leaves_no_trace(store: &impl SealedStore) {
    push(store, batch(1, vec![record(5, 5, &[])]));
    let before = store.totals().unwrap();
    let refused = |b: NewBatch| store.accept(&[b]).unwrap().remove(0);
    let exists = refused(batch(2, vec![record(4, 4, &[]), record(5, 6, &[])]));
    assert_eq!(exists, Err(Refused::RecordExists(record_id(5))));
    assert_eq!(
        refused(batch(3, vec![record(7, 7, &[]), record(7, 8, &[])])),
        Err(Refused::RepeatedRecord(record_id(7)))
    );
    let after = store.totals().unwrap();
    assert_eq!(
        (after.records, after.batches, after.last_seq, after.providers),
        (before.records, before.batches, 1, before.providers)
    );
    // The id of a refused batch is still free.
    assert_eq!(push(store, batch(2, vec![record(4, 4, &[])])).seq, 2);
}

fn a_newer_version_replaces(store: &impl SealedStore) {
    push(store, batch(1, vec![record(1, 1, &[]), record(2, 2, &[])]));
    // Of three versions of origin 1 the last in the batch wins, whatever its id.
    let receipt = push(store, batch(2, vec![record(9, 1, &[]), record(8, 1, &[]), record(7, 1, &[term(1)])]));
    assert_eq!((receipt.records, receipt.replaced, receipt.replacing), (3, 3, vec![2]));
    let s = store.snapshot().unwrap();
    assert_eq!(s.change(2).unwrap(), Some(Change { added: vec![record_id(7)], replaced: vec![record_id(1)] }));
    assert_eq!(s.ids(None, 9).unwrap(), [record_id(2), record_id(7)]);
    assert!(s.record(record_id(1)).unwrap().is_none());
    assert_eq!(s.sealed(&[record_id(1), record_id(9)], 99).unwrap(), [None, None]);
    let t = store.totals().unwrap();
    assert_eq!((t.records, t.sealed_bytes, t.providers), (2, 34, vec![(provider(1), 2)]));
    // Another department of the hospital may bring the next version.
    let ward = NewBatch { provider: provider(2), ..batch(3, vec![record(10, 1, &[]), record(11, 2, &[])]) };
    let receipt = push(store, ward.clone());
    assert_eq!((receipt.replaced, &receipt.replacing[..]), (2, &[0, 1][..]));
    assert_eq!(push(store, ward).replacing, [0, 1], "the same when the answer was lost");
    let mixed =
        push(store, NewBatch { provider: provider(2), ..batch(4, vec![record(12, 12, &[]), record(13, 2, &[])]) });
    assert_eq!((mixed.replaced, &mixed.replacing[..]), (1, &[1][..]));
    assert_eq!(store.totals().unwrap().providers, [(provider(2), 3)]);
}

fn hospitals_cannot_replace_each_other(store: &impl SealedStore) {
    push(store, batch(1, vec![record(1, 1, &[])]));
    let other = NewBatch {
        provider: provider(3),
        hospital: provider(3),
        ..batch(2, vec![record(2, 2, &[]), record(3, 1, &[])])
    };
    assert_eq!(store.accept(&[other]).unwrap(), [Err(Refused::ForeignOrigin(record_id(3)))]);
    assert_eq!(store.snapshot().unwrap().ids(None, 9).unwrap(), [record_id(1)]);
}

fn what_is_deleted_is_gone(store: &impl SealedStore) {
    push(store, batch(1, vec![record(1, 1, &[]), record(2, 2, &[])]));
    // Another department of the hospital may; another hospital may not, and nothing of its batch is done.
    let deletes = |numbers: &[u64]| numbers.iter().map(|n| Term(term(*n))).collect::<Vec<_>>();
    let foreign = NewBatch {
        provider: provider(3),
        hospital: provider(3),
        deletes: deletes(&[1]),
        ..batch(2, vec![record(3, 3, &[])])
    };
    assert_eq!(store.accept(&[foreign]).unwrap(), [Err(Refused::ForeignDeletion(record_id(1)))]);
    let ward = NewBatch { provider: provider(2), deletes: deletes(&[9, 1]), ..batch(2, vec![record(3, 3, &[])]) };
    let receipt = push(store, ward.clone());
    assert_eq!((receipt.seq, receipt.records, receipt.replaced, &receipt.deleted[..]), (2, 1, 0, &[1][..]));
    assert_eq!(push(store, ward).deleted, [1], "the same when the answer was lost");
    let s = store.snapshot().unwrap();
    assert_eq!(s.change(2).unwrap(), Some(Change { added: vec![record_id(3)], replaced: vec![record_id(1)] }));
    assert_eq!((s.ids(None, 9).unwrap(), s.live()), (vec![record_id(2), record_id(3)], 2));
    assert!(s.record(record_id(1)).unwrap().is_none());
    assert_eq!(s.sealed(&[record_id(1)], 99).unwrap(), [None]);
    assert_eq!(store.versions(provider(1), &deletes(&[1, 2])).unwrap(), [None, Some(record_id(2))]);
    let t = store.totals().unwrap();
    assert_eq!((t.records, t.sealed_bytes, t.providers), (2, 34, vec![(provider(1), 1), (provider(2), 1)]));
    // A second time there is nothing left; pushed again it is a new record, that replaces nothing.
    assert_eq!(push(store, NewBatch { deletes: deletes(&[1]), ..batch(3, vec![]) }).deleted, [0; 0]);
    let again = push(store, batch(4, vec![record(4, 1, &[])]));
    assert_eq!((again.replaced, again.replacing), (0, vec![]));
    assert_eq!(push(store, NewBatch { deletes: deletes(&[1, 2, 3]), ..batch(5, vec![]) }).deleted, [0, 1, 2]);
    assert_eq!((store.snapshot().unwrap().live(), store.totals().unwrap().providers), (0, vec![]));
}

fn deletions_are_stated(store: &impl SealedStore) {
    let refused = |b: NewBatch| store.accept(&[b]).unwrap().remove(0).unwrap_err();
    let first = stated(1, vec![record(1, 10, &[term(1)]), record(2, 20, &[])], None, &[]);
    push(store, first.clone());
    // A statement ends exactly what the batch replaces and deletes.
    let deleting = |id, records, ended: &[u64]| NewBatch {
        deletes: vec![Term(term(10)), Term(term(30))],
        ..stated(id, records, Some(&signed(&first)), ended)
    };
    assert_eq!(refused(deleting(2, vec![], &[])), Refused::Ended(1));
    assert_eq!(refused(deleting(2, vec![], &[2])), Refused::Ended(1));
    assert_eq!(refused(deleting(2, vec![record(3, 20, &[])], &[1])), Refused::Ended(2));
    let second = deleting(2, vec![record(3, 20, &[])], &[1, 2]);
    push(store, second.clone());
    let third = NewBatch { deletes: vec![Term(term(20))], ..stated(3, vec![], Some(&signed(&second)), &[3]) };
    let receipt = push(store, third.clone());
    assert_eq!((receipt.records, &receipt.deleted[..]), (0, &[0][..]));
    let s = store.snapshot().unwrap();
    assert_eq!((s.entry(3).unwrap(), s.ended(3).unwrap()), (Some(signed(&third).to_entry()), record_id(3).0.to_vec()));
    assert_eq!(s.live(), 0);
}

fn a_snapshot_does_not_move(store: &impl SealedStore) {
    push(store, batch(1, vec![record(1, 1, &[])]));
    let old = store.snapshot().unwrap();
    push(store, batch(2, vec![record(2, 1, &[])]));
    assert_eq!((old.last_seq(), old.live(), old.ids(None, 9).unwrap()), (1, 1, vec![record_id(1)]));
    assert!(old.sealed(&[record_id(1)], 99).unwrap()[0].is_some());
    assert_eq!(old.store_id(), store.snapshot().unwrap().store_id());
}

fn a_group_sees_its_earlier_batches(store: &impl SealedStore) {
    let one = batch(1, vec![record(1, 1, &[])]);
    let group = [one.clone(), batch(2, vec![record(1, 2, &[])]), one, batch(3, vec![record(3, 1, &[])])];
    let answers = store.accept(&group).unwrap();
    assert_eq!(answers[0].as_ref().unwrap().seq, 1);
    assert_eq!(answers[1], Err(Refused::RecordExists(record_id(1))));
    assert!(answers[2].as_ref().unwrap().duplicate);
    assert_eq!((answers[3].as_ref().unwrap().seq, answers[3].as_ref().unwrap().replaced), (2, 1));
}

fn sealed_bytes_are_bounded(store: &impl SealedStore) {
    push(store, batch(1, vec![record(1, 1, &[]), record(2, 2, &[])]));
    let s = store.snapshot().unwrap();
    assert!(s.sealed(&[record_id(1), record_id(2)], 34).is_ok());
    assert!(matches!(s.sealed(&[record_id(1), record_id(2)], 33), Err(StoreError::TooLarge(33))));
}

/// A batch with a statement: its number, the one before it, and what it ends. Signatures are checked before the store.
fn stated(id: u8, records: Vec<UploadRecord>, last: Option<&SignedBatch>, ended: &[u64]) -> NewBatch {
    let trees = BatchTrees::new(&records);
    let ended: Vec<u8> = ended.iter().flat_map(|id| record_id(*id).0).collect();
    let statement = BatchStatement {
        provider: provider(1),
        batch: BatchId([id; 16]),
        number: last.map_or(1, |l| l.statement.number + 1),
        previous: last.map_or([0; 32], SignedBatch::digest),
        records: records.len() as u32,
        records_root: trees.records_root(),
        pairs: trees.pairs.len() as u64,
        run_root: trees.run_root(),
        ended: (ended.len() / 16) as u32,
        ended_hash: ended_hash(&ended),
    };
    let signed = SignedBatch { statement, signature: Signature([id; 64]) };
    NewBatch { stated: Some(Arc::new(StatedBatch { signed, ended, trees })), ..batch(id, records) }
}

fn signed(batch: &NewBatch) -> SignedBatch {
    batch.stated.as_ref().unwrap().signed.clone()
}

fn statements_are_kept_with_their_batches(store: &impl SealedStore) {
    let refused = |b: NewBatch| store.accept(&[b]).unwrap().remove(0).unwrap_err();
    let terms: Vec<[u8; 16]> = (0..40).map(term).collect();
    // Of two records with one origin the first ends in the batch itself.
    let records = vec![record(1, 10, &terms), record(2, 20, &terms[..3]), record(3, 10, &terms[5..9])];
    let none = stated(1, records.clone(), None, &[]);
    assert_eq!(refused(none), Refused::Ended(0));
    let first = stated(1, records, None, &[1]);
    push(store, first.clone());
    // The next must follow it, and end what it replaces, no more and no less.
    let next = vec![record(4, 20, &terms[..1])];
    let chain = Refused::Chain { provider: provider(1), last: 1, found: 1 };
    assert_eq!(refused(stated(2, next.clone(), None, &[2])), chain);
    assert_eq!(refused(stated(2, next.clone(), Some(&signed(&first)), &[])), Refused::Ended(1));
    assert_eq!(refused(stated(2, next.clone(), Some(&signed(&first)), &[2, 3])), Refused::Ended(1));
    let second = stated(2, next, Some(&signed(&first)), &[2]);
    push(store, second.clone());
    let s = store.snapshot().unwrap();
    assert_eq!(s.entry(1).unwrap(), Some(signed(&first).to_entry()));
    assert_eq!(s.entry(3).unwrap(), None);
    assert_eq!(s.last_stated(provider(1)).unwrap(), Some(signed(&second).to_entry()));
    assert_eq!(s.last_stated(provider(2)).unwrap(), None);
    assert_eq!((s.ended(1).unwrap(), s.ended(2).unwrap()), (record_id(1).0.to_vec(), record_id(2).0.to_vec()));
    // What proofs are made from: every page, every node, every record's place and hash.
    let trees = &first.stated.as_ref().unwrap().trees;
    for (page, pairs) in (0..).zip(trees.pairs.chunks(PAGE_PAIRS)) {
        assert_eq!(s.page(1, page).unwrap(), pairs.as_flattened());
    }
    assert!(s.page(1, pages(trees.pairs.len() as u64)).is_err());
    for (kind, tree) in [(TreeKind::Run, &trees.run), (TreeKind::Records, &trees.records)] {
        for (place, node) in (0..).zip(tree.nodes()) {
            assert_eq!(s.node(1, kind, place).unwrap(), *node);
            let (first, together) = s.nodes(1, kind, place).unwrap();
            assert!(
                together.get((place - first) as usize) == Some(node)
                    && tree.nodes()[first as usize..].starts_with(&together)
            );
        }
        assert!(s.node(1, kind, tree.nodes().len() as u64).is_err());
    }
    let third = s.record(record_id(3)).unwrap().unwrap();
    assert_eq!((third.place, third.sealed_hash), (2, trees.leaves[2].sealed));
    let versions = store.versions(provider(1), &[Term(term(10)), Term(term(20)), Term(term(30))]).unwrap();
    assert_eq!(versions, [Some(record_id(3)), Some(record_id(4)), None]);
    assert_eq!(store.versions(provider(2), &[Term(term(10))]).unwrap(), [None], "another hospital's");
}

fn batches_with_and_without_statements_do_not_mix(store: &impl SealedStore) {
    push(store, batch(1, vec![record(1, 1, &[])]));
    let refused = |b: NewBatch| store.accept(&[b]).unwrap().remove(0).unwrap_err();
    assert!(matches!(refused(stated(2, vec![record(2, 2, &[])], None, &[])), Refused::Statement(_)));
    push(store, batch(3, vec![record(3, 3, &[])]));
}

fn a_roster_is_kept(store: &impl RosterStore) {
    assert_eq!(store.roster().unwrap(), None);
    store.put_roster(b"one").unwrap();
    store.put_roster(b"two").unwrap();
    assert_eq!(store.roster().unwrap(), Some(b"two".to_vec()));
}

#[test]
fn memory_conforms() {
    conformance(|_| MemoryStore::default());
}

#[test]
fn redb_conforms() {
    let dir = tempfile::tempdir().unwrap();
    conformance(|name| RedbStore::open(&dir.path().join(name)).unwrap());
}

#[test]
fn redb_survives_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let id = {
        let store = RedbStore::open(&path).unwrap();
        push(&store, batch(1, vec![record(1, 1, &[term(1)])]));
        store.put_roster(b"roster").unwrap();
        store.snapshot().unwrap().store_id()
    };
    let store = RedbStore::open(&path).unwrap();
    let s = store.snapshot().unwrap();
    assert_eq!((s.last_seq(), s.live(), s.store_id()), (1, 1, id));
    assert!(push(&store, batch(1, vec![record(1, 1, &[term(1)])])).duplicate);
    assert_eq!(store.roster().unwrap(), Some(b"roster".to_vec()));
    assert_ne!(RedbStore::open(&dir.path().join("other")).unwrap().snapshot().unwrap().store_id(), id);
}

#[test]
fn redb_refuses_what_is_no_store() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    std::fs::write(&path, vec![7; 1 << 16]).unwrap();
    assert!(matches!(RedbStore::open(&path), Err(StoreError::Backend(_))));
}

/// The same batches into both stores: same answers, same state.
fn same_as_memory(seed: u64, path: &Path) {
    let mut rng = rng(seed);
    let (redb, memory) = (RedbStore::open(path).unwrap(), MemoryStore::default());
    let mut next_id = 0;
    for _ in 0..4 {
        let group: Vec<_> = (0..rng.random_range(1..4))
            .map(|_| {
                let n = rng.random_range(0..8);
                let mut records = random_records(&mut rng, &mut next_id, n, 12);
                if rng.random_bool(0.1) {
                    records.push(record(rng.random_range(1..=next_id.max(1)), 50, &[]));
                }
                let hospital = rng.random_range(1..3_u8);
                for r in &mut records {
                    r.index.origin.0[15] = hospital + u8::from(rng.random_bool(0.02));
                }
                let brought: Vec<_> = records.iter().map(|r| r.index.origin).collect();
                let deletes = (0..rng.random_range(0..3_u64)).map(|_| {
                    let mut origin = Term(term(rng.random_range(0..12)));
                    origin.0[15] = hospital;
                    origin
                });
                let mut deletes: Vec<Term> = deletes.filter(|o| !brought.contains(o)).collect();
                deletes.sort_unstable();
                deletes.dedup();
                let id = rng.random_range(0..20_u8);
                NewBatch {
                    batch: BatchId([id; 16]),
                    provider: provider(10 * hospital + rng.random_range(0..2_u8)),
                    hospital: provider(hospital),
                    body_sha256: [id; 32],
                    records,
                    deletes,
                    erases: Vec::new(),
                    stated: None,
                }
            })
            .collect();
        assert_eq!(redb.accept(&group).unwrap(), memory.accept(&group).unwrap());
    }
    let (a, b) = (redb.totals().unwrap(), memory.totals().unwrap());
    assert_eq!(
        (a.records, a.batches, a.last_seq, a.sealed_bytes, a.providers),
        (b.records, b.batches, b.last_seq, b.sealed_bytes, b.providers)
    );
    let (a, b): (Arc<_>, Arc<_>) = (redb.snapshot().unwrap(), memory.snapshot().unwrap());
    let ids = a.ids(None, usize::MAX).unwrap();
    assert_eq!(ids, b.ids(None, usize::MAX).unwrap());
    assert_eq!(a.sealed(&ids, usize::MAX).unwrap(), b.sealed(&ids, usize::MAX).unwrap());
    for id in ids {
        assert_eq!(a.record(id).unwrap(), b.record(id).unwrap());
    }
    for seq in 0..=a.last_seq() + 1 {
        assert_eq!(a.change(seq).unwrap(), b.change(seq).unwrap());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]
    #[test]
    fn redb_does_what_memory_does(seed: u64) {
        let dir = tempfile::tempdir().unwrap();
        same_as_memory(seed, &dir.path().join("store"));
    }
}
