//! What every storage of a log must do, run against each; and logs over it.

use std::fs;

use sealdex_tlog::checkpoint::MAX_SIZE;
use sealdex_tlog::log::{
    FileReader, FileStorage, Log, LogError, LogStorage, MemoryStorage, Slot, StoredTileError, StoredTiles, TileStore,
};
use sealdex_tlog::note::{LogKey, NoteError};
use sealdex_tlog::tile::{MAX_ENTRY_BYTES, TileId, inclusion_proof};
use tempfile::TempDir;

use crate::setting::{NOW, entries, entry, log_key, name, oracle, witness_key};

/// Runs a check on storage in memory and in files, and says in which it failed.
fn each(check: impl Fn(&mut dyn LogStorage)) {
    println!("in memory");
    check(&mut MemoryStorage::new());
    println!("in files");
    let folder = TempDir::new().unwrap();
    check(&mut FileStorage::open(folder.path().join("log")).unwrap());
}

fn id(path: &str) -> TileId {
    TileId::parse(path).unwrap()
}

#[test]
fn storage_gives_back_what_was_written_last() {
    each(|storage| {
        let paths = [
            "tile/0/000",
            "tile/0/000.p/5",
            "tile/0/x001/000.p/5",
            "tile/1/000",
            "tile/entries/000",
            "tile/63/x018/x446/x744/x073/x709/x551/615",
        ];
        for (i, path) in paths.iter().enumerate() {
            assert_eq!(storage.read_tile(&id(path)).unwrap(), None);
            storage.write_tile(&id(path), &[i as u8; 3]).unwrap();
            storage.write_tile(&id(path), &[i as u8; 2]).unwrap();
        }
        for (i, path) in paths.iter().enumerate() {
            assert_eq!(storage.read_tile(&id(path)).unwrap(), Some(vec![i as u8; 2]), "{path}");
        }
        assert_eq!(storage.read_tile(&id("tile/0/000.p/6")).unwrap(), None);
        storage.write_tile(&id("tile/0/001"), b"").unwrap();
        assert_eq!(storage.read_tile(&id("tile/0/001")).unwrap(), Some(vec![]));
    });
}

#[test]
fn storage_keeps_two_checkpoints_apart() {
    each(|storage| {
        for slot in [Slot::Head, Slot::Published] {
            assert_eq!(storage.read_checkpoint(slot).unwrap(), None);
            storage.write_checkpoint(slot, b"first").unwrap();
            storage.write_checkpoint(slot, format!("{slot:?}").as_bytes()).unwrap();
        }
        assert_eq!(storage.read_checkpoint(Slot::Head).unwrap(), Some(b"Head".into()));
        assert_eq!(storage.read_checkpoint(Slot::Published).unwrap(), Some(b"Published".into()));
    });
}

#[test]
fn a_full_tile_stands_in_for_its_partial_ones() {
    each(|storage| {
        storage.write_tile(&id("tile/0/000.p/5"), &[5; 160]).unwrap();
        storage.write_checkpoint(Slot::Head, b"").unwrap();
        storage.write_tile(&id("tile/0/000"), &[5; 8192]).unwrap();
        // Until the full one is durable, the partial one stays.
        assert_eq!(storage.read_tile(&id("tile/0/000.p/5")).unwrap(), Some(vec![5; 160]));
        storage.write_checkpoint(Slot::Head, b"").unwrap();
        assert_eq!(storage.read_tile(&id("tile/0/000.p/5")).unwrap(), Some(vec![5; 160]));
        let others = ["tile/0/001.p/5", "tile/1/000.p/5", "tile/entries/000.p/5", "tile/0/x001/000.p/5"];
        others.iter().for_each(|other| storage.write_tile(&id(other), b"").unwrap());
        storage.drop_partial(&id("tile/0/000"));
        storage.drop_partial(&id("tile/3/000"));
        assert_eq!(storage.read_tile(&id("tile/0/000.p/5")).unwrap(), None);
        assert!(others.iter().all(|other| storage.read_tile(&id(other)).unwrap().is_some()));
        let tiles = StoredTiles::new(&*storage, 5);
        assert!(inclusion_proof(&tiles, 4, 5).is_ok());
    });
}

#[test]
fn a_log_is_the_tree_of_its_entries_however_they_come() {
    each(|storage| {
        let mut log = Log::create(&mut *storage, log_key()).unwrap();
        assert_eq!(*log.checkpoint().root(), oracle(0).root());
        let sizes = [0, 1, 2, 3, 3, 255, 256, 257, 300, 512, 513, 1300, 1300, 1536];
        for pair in sizes.windows(2) {
            let note = log.append(&entries(pair[0]..pair[1])).unwrap().clone();
            let tree = oracle(pair[1]);
            assert_eq!((log.checkpoint().size(), log.checkpoint().root()), (pair[1], &tree.root()));
            assert_eq!(note.text(), log.checkpoint().to_string());
            assert_eq!(note.verify(&[log_key().verifier()]).unwrap().len(), 1);
        }
        check_whole(&log);
        let head = log.head().clone();
        drop(log);
        let log = Log::open(&mut *storage, log_key()).unwrap();
        assert_eq!(*log.head(), head);
        check_whole(&log);
    });
}

/// What the log of 1,536 entries must prove.
fn check_whole(log: &Log<impl LogStorage>) {
    let tree = oracle(1536);
    for size in [1, 2, 255, 256, 300, 1000, 1536] {
        assert_eq!(log.root_at(size).unwrap(), tree.root_at(size).unwrap());
        assert_eq!(log.inclusion_proof(size - 1, size).unwrap(), tree.inclusion_proof(size - 1, size).unwrap());
        assert_eq!(log.consistency_proof(size, 1536).unwrap(), tree.consistency_proof(size, 1536).unwrap());
    }
    for i in [0, 1, 255, 256, 1300, 1535] {
        assert_eq!(log.entry(i).unwrap(), entry(i));
    }
    assert!(log.entry(1536).is_err() && log.entry(MAX_SIZE).is_err() && log.root_at(1537).is_err());
}

#[test]
fn a_log_goes_on_where_it_was_opened() {
    each(|storage| {
        drop(Log::create(&mut *storage, log_key()).unwrap());
        for end in [1, 100, 256, 300, 511, 512, 513, 700] {
            let mut log = Log::open(&mut *storage, log_key()).unwrap();
            log.append(&entries(log.checkpoint().size()..end)).unwrap();
            assert_eq!(*log.checkpoint().root(), oracle(end).root());
        }
    });
}

#[test]
fn a_log_is_neither_made_twice_nor_out_of_nothing() {
    each(|storage| {
        assert_eq!(Log::open(&mut *storage, log_key()).err(), Some(LogError::Missing));
        drop(Log::create(&mut *storage, log_key()).unwrap());
        assert_eq!(Log::create(&mut *storage, log_key()).err(), Some(LogError::Exists));
        let other = LogKey::from_seed(name("log.example/two"), &[1; 32]);
        assert_eq!(Log::open(&mut *storage, other).err(), Some(LogError::Note(NoteError::Unverified)));
    });
}

#[test]
fn an_entry_that_does_not_fit_changes_nothing() {
    each(|storage| {
        let mut log = Log::create(storage, log_key()).unwrap();
        let head = log.head().clone();
        let found = MAX_ENTRY_BYTES + 1;
        let error = LogError::EntryTooLong { place: 1, found };
        assert_eq!(log.append(&[vec![], vec![0; found]]).err(), Some(error));
        assert_eq!(*log.append::<&str>(&[]).unwrap(), head);
        // Still open, and the largest entry fits.
        log.append(&[vec![7; MAX_ENTRY_BYTES], vec![]]).unwrap();
        assert_eq!((log.entry(0).unwrap(), log.entry(1).unwrap()), (vec![7; MAX_ENTRY_BYTES], vec![]));
    });
}

#[test]
fn damaged_tiles_are_noticed() {
    each(|storage| {
        Log::create(&mut *storage, log_key()).unwrap().append(&entries(0..300)).unwrap();
        let (hashes, bundle) = (id("tile/0/001.p/44"), id("tile/entries/001.p/44"));
        let (good_hashes, good_bundle) =
            (storage.read_tile(&hashes).unwrap().unwrap(), storage.read_tile(&bundle).unwrap().unwrap());
        let mut bad = good_hashes.clone();
        bad[5] ^= 1;
        storage.write_tile(&hashes, &bad).unwrap();
        assert_eq!(Log::open(&mut *storage, log_key()).err(), Some(LogError::Root { size: 300 }));
        storage.write_tile(&hashes, &good_hashes[1..]).unwrap();
        let error = Log::open(&mut *storage, log_key()).err();
        assert!(matches!(error, Some(LogError::Tile(StoredTileError::Damaged { .. }))), "{error:?}");
        storage.write_tile(&hashes, &good_hashes).unwrap();
        // A damaged bundle is not built upon.
        for bad in [good_bundle[1..].to_vec(), good_bundle.iter().map(|b| if *b == b'2' { b'3' } else { *b }).collect()]
        {
            storage.write_tile(&bundle, &bad).unwrap();
            let mut log = Log::open(&mut *storage, log_key()).unwrap();
            assert!(log.append(&[b"x"]).is_err());
            assert_eq!(log.append(&[b"x"]).err(), Some(LogError::Unsettled));
        }
        storage.write_tile(&bundle, &good_bundle).unwrap();
        Log::open(&mut *storage, log_key()).unwrap().append(&[b"x"]).unwrap();
    });
}

#[test]
fn only_what_the_log_has_signed_is_published_and_never_backwards() {
    each(|storage| {
        let mut log = Log::create(storage, log_key()).unwrap();
        let empty = log.head().clone();
        let mut first = log.append(&entries(0..10)).unwrap().clone();
        let second = log.append(&entries(10..20)).unwrap().clone();
        assert_eq!(log.published().unwrap(), None);
        first
            .add(
                witness_key(2)
                    .cosign(&sealdex_tlog::checkpoint::Checkpoint::parse(first.text()).unwrap(), NOW)
                    .unwrap(),
            )
            .unwrap();
        log.publish(&empty).unwrap();
        log.publish(&first).unwrap();
        assert_eq!(log.published().unwrap(), Some(first.clone()));
        let behind = LogError::NotPublishable { found: 0, published: 10, size: 20 };
        assert_eq!(log.publish(&empty).err(), Some(behind));
        log.publish(&second).unwrap();
        let key = log_key();
        let sign = |text: &str| key.sign(text).unwrap();
        let ahead = sign(&second.text().replace("\n20\n", "\n21\n"));
        assert_eq!(log.publish(&ahead).err(), Some(LogError::NotPublishable { found: 21, published: 20, size: 20 }));
        let fork = Log::create(MemoryStorage::new(), log_key()).unwrap().append(&entries(1..21)).unwrap().clone();
        assert_eq!(log.publish(&fork).err(), Some(LogError::Root { size: 20 }));
        let other = sign(&second.text().replace("/one", "/two"));
        assert_eq!(log.publish(&other).err(), Some(LogError::Origin { found: "log.example/two".into() }));
        let foreign = LogKey::from_seed(name("log.example/one"), &[9; 32]).sign(second.text()).unwrap();
        assert_eq!(log.publish(&foreign).err(), Some(LogError::Note(NoteError::Unverified)));
        assert_eq!(log.published().unwrap(), Some(second));
    });
}

#[test]
fn one_process_at_a_time_writes_to_a_folder() {
    let folder = TempDir::new().unwrap();
    let storage = FileStorage::open(folder.path()).unwrap();
    let error = FileStorage::open(folder.path()).err().unwrap();
    assert_eq!(error.kind, std::io::ErrorKind::WouldBlock);
    drop(storage);
    FileStorage::open(folder.path()).unwrap();
}

#[test]
fn a_folder_is_laid_out_as_it_is_served() {
    let folder = TempDir::new().unwrap();
    let storage = FileStorage::open(folder.path()).unwrap();
    let reader = storage.reader();
    let mut log = Log::create(storage, log_key()).unwrap();
    log.append(&entries(0..200)).unwrap();
    assert!(folder.path().join("tile/0/000.p/200").is_file());
    let old = (log.checkpoint().clone(), log.inclusion_proof(7, 200).unwrap());
    let note = log.append(&entries(200..70_000)).unwrap().clone();
    log.publish(&note).unwrap();
    for path in
        ["tile/0/272", "tile/0/273.p/112", "tile/1/000", "tile/1/001.p/17", "tile/2/000.p/1", "tile/entries/273.p/112"]
    {
        assert!(folder.path().join(path).is_file(), "{path}");
    }
    assert_eq!(fs::read(folder.path().join("checkpoint")).unwrap(), note.to_bytes());
    // Full tiles have taken the place of partial ones; whoever knows the older tree still reads it.
    assert!(!folder.path().join("tile/0/000.p").exists());
    assert_eq!(inclusion_proof(&StoredTiles::new(&reader, 200), 7, 200).unwrap(), old.1);
    assert_eq!(StoredTiles::new(&FileReader::new(folder.path()), 200).entry(199).unwrap(), entry(199));
    assert_eq!(*old.0.root(), log.root_at(200).unwrap());
}
