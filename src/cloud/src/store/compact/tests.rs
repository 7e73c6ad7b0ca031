//! Every table of the new file against that of the old one, after each round, whatever came and went.

use std::{
    collections::{BTreeMap, HashMap},
    io::{Read, Seek, Write},
    sync::Arc,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use sealdex_crypto::{BatchId, PrincipalId, RecordId, Signature, Term};
use sealdex_ledger::{ActEntry, BatchStatement, BatchTrees, SignedAct, SignedBatch, ended_hash};
use sealdex_wire::ingest::{BridgedRecord, UploadRecord};

use super::*;
use crate::store::{ActStore, NewBatch, RosterStore, SealedStore, StatedBatch, redb::STORE_ID};

type Row = (Vec<u8>, Vec<u8>);
type Dump = Vec<(&'static str, Vec<Row>)>;

fn table<K: Key + 'static, V: Value + 'static>(
    tx: &ReadTransaction,
    table: TableDefinition<'static, K, V>,
) -> (&'static str, Vec<Row>) {
    let name = table.name().to_owned().leak();
    let table = tx.open_table(table).unwrap();
    let row = |(k, v): (redb::AccessGuard<'_, K>, redb::AccessGuard<'_, V>)| {
        (K::as_bytes(&k.value()).as_ref().to_vec(), V::as_bytes(&v.value()).as_ref().to_vec())
    };
    (name, table.iter().unwrap().map(|r| row(r.unwrap())).collect())
}

fn dump(tx: &ReadTransaction) -> Dump {
    let (small, last) = (table(tx, COUNTERS), table(tx, SETTINGS));
    let data = [table(tx, RECORDS), table(tx, SEALED), table(tx, ORIGINS), table(tx, BATCHES), table(tx, CHANGES)];
    let log = [table(tx, ENTRIES), table(tx, ENDED), table(tx, HEADS), table(tx, PROOFS), table(tx, PROVIDERS)];
    let acts = [table(tx, ACTS), table(tx, ACT_PLACES)];
    data.into_iter().chain(log).chain(acts).chain([small, last]).collect()
}

fn of(store: &RedbStore) -> Dump {
    dump(&store.db.begin_read().unwrap())
}

/// Which differ, rather than megabytes.
fn assert_same(left: &Dump, right: &Dump, said: &str) {
    for ((name, left), (_, right)) in left.iter().zip(right) {
        assert_eq!(left.len(), right.len(), "{said}: rows of {name}");
        assert!(left == right, "{said}: {name}");
    }
}

/// Does all that is done to a store, and knows what is live.
struct World {
    rng: StdRng,
    next: u64,
    batches: u64,
    stated: bool,
    live: BTreeMap<u64, RecordId>,
    ended: Vec<RecordId>,
    last: HashMap<u8, SignedBatch>,
    acts: HashMap<u8, SignedAct>,
}

fn sixteen(n: u64) -> [u8; 16] {
    let mut id = [0x5a; 16];
    id[..8].copy_from_slice(&n.to_be_bytes());
    id
}

impl World {
    fn new(seed: u64, stated: bool) -> Self {
        let (live, last, acts) = (BTreeMap::new(), HashMap::new(), HashMap::new());
        Self { rng: StdRng::seed_from_u64(seed), next: 0, batches: 0, stated, live, ended: Vec::new(), last, acts }
    }

    /// A record of an origin; sometimes with the id of one that ended.
    fn record(&mut self, origin: u64) -> UploadRecord {
        self.next += 1;
        let again = !self.ended.is_empty() && self.rng.random_bool(0.2);
        let at = self.rng.random_range(0..self.ended.len().max(1));
        let id = if again { self.ended.swap_remove(at) } else { RecordId(sixteen(self.next)) };
        let terms = (0..3).flat_map(|n| sixteen(self.next * n)).collect();
        let index = BridgedRecord { origin: Term(sixteen(origin)), terms, tag: self.next.to_be_bytes().repeat(3) };
        UploadRecord { id, index, sealed: vec![self.next as u8; self.rng.random_range(10..900)] }
    }

    fn batch(&mut self) -> NewBatch {
        self.batches += 1;
        let (id, by) = (BatchId(sixteen(self.batches)), 1 + (self.batches % 3) as u8);
        let kind = self.rng.random_range(0..6);
        let mut origins: Vec<u64> = (0..self.rng.random_range(1..9)).map(|_| self.rng.random_range(0..60)).collect();
        origins.sort_unstable();
        origins.dedup();
        let known: Vec<u64> = origins.iter().copied().filter(|o| self.live.contains_key(o)).collect();
        let gone: Vec<RecordId> = known.iter().map(|o| self.live[o]).collect();
        let (mut records, mut deletes, mut erases) = (Vec::new(), Vec::new(), Vec::new());
        match kind {
            0 => deletes = known.iter().map(|o| Term(sixteen(*o))).collect(),
            1 => erases = gone.clone(),
            _ => records = origins.iter().map(|o| self.record(*o)).collect(),
        }
        self.live.retain(|o, _| !known.contains(o));
        for record in &records {
            let origin = u64::from_be_bytes(record.index.origin.0[..8].try_into().unwrap());
            self.live.insert(origin, record.id);
        }
        let mut ended = gone.clone();
        ended.sort_unstable();
        let stated = self.stated.then(|| self.state(by, id, &records, &ended));
        self.ended.extend(gone);
        let provider = PrincipalId([by; 16]);
        let body_sha256 = [self.batches as u8; 32];
        NewBatch { batch: id, provider, hospital: PrincipalId([1; 16]), body_sha256, records, deletes, erases, stated }
    }

    fn state(&mut self, by: u8, batch: BatchId, records: &[UploadRecord], ended: &[RecordId]) -> Arc<StatedBatch> {
        let trees = BatchTrees::new(records);
        let ended: Vec<u8> = ended.iter().flat_map(|id| id.0).collect();
        let last = self.last.get(&by);
        let statement = BatchStatement {
            provider: PrincipalId([by; 16]),
            batch,
            number: last.map_or(1, |l| l.statement.number + 1),
            previous: last.map_or([0; 32], SignedBatch::digest),
            records: records.len() as u32,
            records_root: trees.records_root(),
            pairs: trees.pairs.len() as u64,
            run_root: trees.run_root(),
            ended: (ended.len() / 16) as u32,
            ended_hash: ended_hash(&ended),
        };
        let signed = SignedBatch { statement, signature: Signature([by; 64]) };
        self.last.insert(by, signed.clone());
        Arc::new(StatedBatch { signed, ended, trees })
    }

    fn act(&mut self, store: &RedbStore) {
        let by = self.rng.random_range(8..10);
        let last = self.acts.get(&by);
        let (number, previous) = last.map_or((1, [0; 32]), |l| (l.entry.number + 1, l.digest()));
        let (gate, at) = (PrincipalId([by; 16]), self.next);
        let entry = ActEntry { gate, number, previous, at, part: 1, parts: 1, documents: vec![], rows: vec![] };
        let act = SignedAct { entry, signature: Signature([by; 64]) };
        store.append_acts(gate, std::slice::from_ref(&act)).unwrap().unwrap();
        self.acts.insert(by, act);
    }

    fn go_on(&mut self, store: &RedbStore, steps: usize) {
        for _ in 0..steps {
            match self.rng.random_range(0..8) {
                0 => self.act(store),
                1 => store.put_roster(&self.next.to_be_bytes()).unwrap(),
                _ => {
                    let group: Vec<NewBatch> = (0..self.rng.random_range(1..4)).map(|_| self.batch()).collect();
                    store.accept(&group).unwrap().into_iter().for_each(|a| drop(a.unwrap()));
                }
            }
        }
    }
}

fn beside(path: &std::path::Path) -> bool {
    path.with_file_name("store.redb.rewriting").exists()
}

#[test]
fn after_each_round_the_new_file_is_as_the_old_one() {
    let never = AtomicBool::new(false);
    for seed in 0..12 {
        let dir = tempfile::tempdir().unwrap();
        let store = RedbStore::open(&dir.path().join("store.redb")).unwrap();
        let mut world = World::new(seed, seed % 3 != 0);
        world.go_on(&store, 25);
        let mut pace = Pace::new(u64::MAX, &never);
        let beside = store.db.beside().unwrap().unwrap();
        let mut at = store.copy_all(&beside, &mut pace).unwrap();
        for round in 0..6 {
            let steps = if round == 3 { 0 } else { world.rng.random_range(1..12) };
            world.go_on(&store, steps);
            at = catch_up(&store.db.begin_read().unwrap(), &beside, &at, &mut pace).unwrap();
            assert_same(&dump(&beside.begin_read().unwrap()), &of(&store), &format!("seed {seed}, round {round}"));
        }
        drop(beside);
    }
}

#[test]
fn compacted_while_it_is_written_to_it_is_as_a_twin_that_was_not() {
    for stated in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.redb");
        let [store, twin] = ["store.redb", "twin.redb"].map(|f| RedbStore::open(&dir.path().join(f)).unwrap());
        let [mut world, mut other] = [5, 5].map(|seed| World::new(seed, stated));
        world.go_on(&store, 60);
        let never = AtomicBool::new(false);
        let old = store.snapshot().unwrap();
        let ids = old.ids(None, usize::MAX).unwrap();
        let steps = std::thread::scope(|s| {
            // Copying takes about a second.
            let rate =
                of(&store).iter().flat_map(|(_, rows)| rows).map(|(k, v)| k.len() + v.len()).sum::<usize>() as u64;
            let (store, never) = (&store, &never);
            let compacting = s.spawn(move || store.compact(&mut Pace::new(rate, never)).unwrap());
            let mut steps = 60;
            while !compacting.is_finished() || steps < 70 {
                world.go_on(store, 1);
                steps += 1;
            }
            let done = compacting.join().unwrap();
            assert!(done.rounds >= 2 && done.rows > 200 && done.held < LONG, "{done:?}");
            assert!(!done.replaced.is_let_go(), "a snapshot reads it");
            assert_eq!(old.ids(None, usize::MAX).unwrap(), ids);
            assert!(old.sealed(&ids, usize::MAX).unwrap().iter().all(Option::is_some));
            drop(old);
            assert!(done.replaced.is_let_go());
            steps
        });
        // The same was done to another store, and nothing else.
        other.go_on(&twin, 60);
        other.go_on(&twin, steps - 60);
        let (mut mine, mut its) = (of(&store), of(&twin));
        for dump in [&mut mine, &mut its] {
            dump.last_mut().unwrap().1.retain(|(name, _)| name != STORE_ID.as_bytes());
        }
        assert_same(&mine, &its, "twin");
        drop(store);
        let again = RedbStore::open(&path).unwrap();
        world.go_on(&again, 5);
        assert!(!beside(&path));
    }
}

#[test]
fn given_up_the_store_is_used_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.redb");
    let store = RedbStore::open(&path).unwrap();
    let mut world = World::new(3, true);
    world.go_on(&store, 40);
    let (mut stop, before) = (AtomicBool::new(true), of(&store));
    assert!(matches!(store.compact(&mut Pace::new(u64::MAX, &stop)), Err(GivenUp::Stopped)));
    *stop.get_mut() = false;
    std::thread::scope(|s| {
        let compacting = s.spawn(|| store.compact(&mut Pace::new(20_000, &stop)));
        while !beside(&path) {
            std::thread::yield_now();
        }
        stop.store(true, Ordering::Release);
        assert!(matches!(compacting.join().unwrap(), Err(GivenUp::Stopped)));
    });
    stop.store(false, Ordering::Release);
    let full = store.db.beside().unwrap().unwrap();
    full.fail_for_test(true);
    let failed = store.rewrite_into(full, &mut Pace::new(u64::MAX, &stop));
    assert!(
        matches!(&failed, Err(GivenUp::Store(StoreError::NoSpace(why))) if why.contains("rewriting")),
        "{failed:?}"
    );
    assert!(!beside(&path));
    assert_same(&of(&store), &before, "given up");
    world.go_on(&store, 3);
    // What has rotted is not given checksums that fit.
    let mut file = std::fs::File::options().read(true).write(true).open(&path).unwrap();
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    let sealed = of(&store).into_iter().find(|(name, _)| *name == "sealed").unwrap().1;
    let row = &sealed.iter().find(|(_, sealed)| sealed.len() > 400).unwrap().1;
    for start in (0..bytes.len() - row.len()).filter(|s| bytes[*s..].starts_with(row)) {
        file.seek(std::io::SeekFrom::Start(start as u64 + 9)).unwrap();
        file.write_all(&[row[9] ^ 1]).unwrap();
    }
    let damaged = store.compact(&mut Pace::new(u64::MAX, &stop));
    assert!(matches!(damaged, Err(GivenUp::Damaged(_))), "{damaged:?}");
}
