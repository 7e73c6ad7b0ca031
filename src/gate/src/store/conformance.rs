//! What every backend must do. Panics with the property that does not hold.
#![allow(clippy::unwrap_used)] // a failing backend is to fail the test that calls this

use super::{ConsentStore, StoreError, Table};

/// Checks an empty store; leaves rows behind.
pub fn check<S: ConsentStore>(store: &S) {
    reads_see_committed_rows(store);
    a_refused_transaction_leaves_no_trace(store);
    a_transaction_sees_its_own_writes(store);
    ranges_are_ordered_and_half_open(store);
    tables_are_separate(store);
    transactions_do_not_interleave(store);
    a_snapshot_does_not_move(store);
}

fn get(store: &impl ConsentStore, table: Table, key: &[u8]) -> Option<Vec<u8>> {
    store.read(|s| s.get(table, key)).unwrap()
}

fn reads_see_committed_rows(store: &impl ConsentStore) {
    assert_eq!(get(store, Table::Profiles, b"none"), None, "an absent key reads as none");
    store.write(|t| t.put(Table::Profiles, b"one", b"1")).unwrap();
    assert_eq!(get(store, Table::Profiles, b"one").as_deref(), Some(b"1".as_slice()), "what was put is read");
    store.write(|t| t.put(Table::Profiles, b"one", b"")).unwrap();
    assert_eq!(
        get(store, Table::Profiles, b"one").as_deref(),
        Some(b"".as_slice()),
        "a value is replaced, and may be empty"
    );
    let gone =
        store.write(|t| Ok::<_, StoreError>((t.remove(Table::Profiles, b"one")?, t.remove(Table::Profiles, b"one")?)));
    assert_eq!(gone, Ok((true, false)), "removing says whether the key was there");
    assert_eq!(get(store, Table::Profiles, b"one"), None, "what was removed is gone");
}

fn a_refused_transaction_leaves_no_trace(store: &impl ConsentStore) {
    store.write(|t| t.put(Table::Bridges, b"kept", b"old")).unwrap();
    let refused = store.write(|t| {
        t.put(Table::Bridges, b"kept", b"new")?;
        t.put(Table::Bridges, b"added", b"x")?;
        t.remove(Table::Bridges, b"kept")?;
        Err::<(), _>(StoreError::Row("refused"))
    });
    assert_eq!(refused, Err(StoreError::Row("refused")), "the closure's error is returned");
    assert_eq!(get(store, Table::Bridges, b"kept").as_deref(), Some(b"old".as_slice()), "a refused change is undone");
    assert_eq!(get(store, Table::Bridges, b"added"), None, "a refused row is not there");
}

fn a_transaction_sees_its_own_writes(store: &impl ConsentStore) {
    store
        .write(|t| {
            t.put(Table::Audit, &[1], b"a")?;
            t.put(Table::Audit, &[2], b"b")?;
            assert_eq!(t.get(Table::Audit, &[2])?.as_deref(), Some(b"b".as_slice()), "own writes are read");
            assert_eq!(t.last_key(Table::Audit)?, Some(vec![2]), "the largest key includes own writes");
            assert_eq!(t.range(Table::Audit, &[], None, 9)?.len(), 2, "own writes are in ranges");
            t.remove(Table::Audit, &[2])?;
            assert_eq!(t.last_key(Table::Audit)?, Some(vec![1]), "own removals count");
            Ok::<_, StoreError>(())
        })
        .unwrap();
}

fn ranges_are_ordered_and_half_open(store: &impl ConsentStore) {
    let keys: [&[u8]; 6] = [b"b", b"a", b"ab", b"", b"c", b"\xff\xff"];
    store.write(|t| keys.iter().try_for_each(|k| t.put(Table::Grants, k, k))).unwrap();
    let found = |from: &[u8], to: Option<&[u8]>, limit: usize| -> Vec<Vec<u8>> {
        store.read(|s| s.range(Table::Grants, from, to, limit)).unwrap().into_iter().map(|(k, _)| k).collect()
    };
    let all: Vec<Vec<u8>> = [b"".as_slice(), b"a", b"ab", b"b", b"c", b"\xff\xff"].iter().map(|k| k.to_vec()).collect();
    assert_eq!(found(b"", None, 99), all, "keys come in byte order");
    assert_eq!(found(b"a", Some(b"c"), 99), all[1..4], "the start is in, the end is out");
    assert_eq!(found(b"a", None, 2), all[1..3], "the limit holds");
    assert_eq!(found(b"c", Some(b"a"), 99), Vec::<Vec<u8>>::new(), "an inverted range is empty");
    assert_eq!(found(b"a", Some(b"a"), 99), Vec::<Vec<u8>>::new(), "an empty range is empty");
}

fn tables_are_separate(store: &impl ConsentStore) {
    for table in Table::ALL {
        store.write(|t| t.put(table, b"\xfeshared", table.name().as_bytes())).unwrap();
    }
    for table in Table::ALL {
        assert_eq!(
            get(store, table, b"\xfeshared").as_deref(),
            Some(table.name().as_bytes()),
            "{table:?} has its own rows"
        );
    }
}

fn transactions_do_not_interleave(store: &impl ConsentStore) {
    const THREADS: u32 = 4;
    const ROUNDS: u32 = 10;
    let count = |bytes: Option<Vec<u8>>| bytes.map_or(0, |b| u32::from_be_bytes(b.try_into().unwrap()));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..ROUNDS {
                    let add = |t: &mut dyn super::Transaction| {
                        let next = count(t.get(Table::Tickets, b"n")?) + 1;
                        t.put(Table::Tickets, b"n", &next.to_be_bytes())
                    };
                    store.write(add).unwrap();
                }
            });
        }
    });
    assert_eq!(count(get(store, Table::Tickets, b"n")), THREADS * ROUNDS, "no update is lost");
}

fn a_snapshot_does_not_move(store: &impl ConsentStore) {
    store.write(|t| t.put(Table::Tombstones, b"s", b"1")).unwrap();
    store
        .read(|s| {
            let (first, second) = (s.get(Table::Tombstones, b"s")?, s.get(Table::Tombstones, b"s")?);
            assert_eq!(first, second, "a snapshot reads the same twice");
            Ok::<_, StoreError>(())
        })
        .unwrap();
}
