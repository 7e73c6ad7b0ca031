//! Crashes between, and within, any two storage operations: no acknowledged entry is lost, and
//! what is there afterwards is a log.

use std::cell::Cell;
use std::io;
use std::rc::Rc;

use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sealdex_tlog::log::{FileStorage, Log, LogError, LogStorage, MemoryStorage, Slot, StorageError, TileStore};
use sealdex_tlog::tile::{TileId, TileKind};
use tempfile::TempDir;

use crate::setting::{entries, entry, log_key, oracle};

/// Batches that end within, at and beyond tiles, with several levels of change.
const BATCHES: [u64; 7] = [1, 100, 256, 300, 512, 513, 800];

/// When the machine stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    Before,
    /// Within a tile, of which half is written; checkpoints are whole or not there.
    Within,
    After,
}

/// Storage that stops at one of its writing operations and does nothing afterwards.
struct Stopping<S> {
    storage: S,
    left: Rc<Cell<usize>>,
    stop: Stop,
}

impl<S> Stopping<S> {
    fn operation(&mut self, write: impl FnOnce(&mut S, bool) -> Result<(), StorageError>) -> Result<(), StorageError> {
        let stopped = Err(StorageError::new("write", "anything", io::ErrorKind::Other));
        match self.left.get() {
            0 => return stopped,
            1 if self.stop == Stop::Before => {}
            1 => write(&mut self.storage, self.stop == Stop::Within)?,
            _ => {
                self.left.set(self.left.get() - 1);
                return write(&mut self.storage, false);
            }
        }
        self.left.set(0);
        stopped
    }
}

impl<S: TileStore> TileStore for Stopping<S> {
    fn read_tile(&self, id: &TileId) -> Result<Option<Vec<u8>>, StorageError> {
        self.storage.read_tile(id)
    }

    fn read_checkpoint(&self, slot: Slot) -> Result<Option<Vec<u8>>, StorageError> {
        self.storage.read_checkpoint(slot)
    }
}

impl<S: LogStorage> LogStorage for Stopping<S> {
    fn write_tile(&mut self, id: &TileId, bytes: &[u8]) -> Result<(), StorageError> {
        self.operation(|storage, half| storage.write_tile(id, if half { &bytes[..bytes.len() / 2] } else { bytes }))
    }

    fn write_checkpoint(&mut self, slot: Slot, bytes: &[u8]) -> Result<(), StorageError> {
        self.operation(|storage, half| if half { Ok(()) } else { storage.write_checkpoint(slot, bytes) })
    }

    fn drop_partial(&mut self, full: &TileId) {
        let drop = |storage: &mut S, half: bool| {
            if !half {
                storage.drop_partial(full);
            }
            Ok(())
        };
        let _ = self.operation(drop);
    }
}

/// Appends the batches until the storage stops: entries acknowledged.
fn append_all(log: &mut Log<impl LogStorage>) -> u64 {
    for end in BATCHES {
        let start = log.checkpoint().size();
        if start < end && log.append(&entries(start..end)).is_err() {
            assert_eq!(log.append(&[b"more"]).err(), Some(LogError::Unsettled));
            return start;
        }
    }
    log.checkpoint().size()
}

/// What must hold of a log in which so many entries were acknowledged.
fn check(log: &Log<impl LogStorage>, acknowledged: u64) {
    let size = log.checkpoint().size();
    let next = BATCHES.into_iter().find(|end| *end > acknowledged);
    assert!(size == acknowledged || Some(size) == next, "{size} entries, {acknowledged} acknowledged");
    let tree = oracle(size);
    assert_eq!(*log.checkpoint().root(), tree.root());
    for i in (0..size).filter(|i| i % 37 == 0 || i + 3 > size || i + 3 > acknowledged) {
        assert_eq!(log.entry(i).unwrap(), entry(i));
        assert_eq!(log.inclusion_proof(i, size).unwrap(), tree.inclusion_proof(i, size).unwrap());
    }
    if acknowledged > 0 {
        let proof = log.consistency_proof(acknowledged, size).unwrap();
        assert_eq!(proof, tree.consistency_proof(acknowledged, size).unwrap());
    }
}

/// Writing operations of appending everything.
fn operations() -> usize {
    let left = Rc::new(Cell::new(usize::MAX));
    let storage = Stopping { storage: MemoryStorage::new(), left: left.clone(), stop: Stop::Before };
    let mut log = Log::create(storage, log_key()).unwrap();
    append_all(&mut log);
    usize::MAX - left.get()
}

/// Stops at every operation in every way, opens again, and goes on to the end.
fn stop_everywhere<S: LogStorage>(fresh: impl Fn() -> S, reopen: impl Fn(S) -> S) {
    let all = operations();
    assert_eq!(all, 33);
    for at in 2..=all {
        for stop in [Stop::Before, Stop::Within, Stop::After] {
            let left = Rc::new(Cell::new(at));
            let mut stopping = Stopping { storage: fresh(), left, stop };
            let mut log = Log::create(&mut stopping, log_key()).unwrap();
            let acknowledged = append_all(&mut log);
            assert!(acknowledged < 800 || log.checkpoint().size() == 800, "{at}");
            drop(log);
            let mut log = Log::open(reopen(stopping.storage), log_key()).unwrap();
            check(&log, acknowledged);
            // Other entries than those that were lost: nothing of them may shine through.
            assert_eq!(append_all(&mut log), 800);
            check(&log, 800);
        }
    }
}

#[test]
fn memory_that_stops_anywhere_is_a_log() {
    stop_everywhere(MemoryStorage::new, |storage| storage);
}

/// As when the process lives on: the same storage goes on after it has failed once.
#[test]
fn storage_that_failed_once_goes_on() {
    let folders = TempDir::new().unwrap();
    for at in 2..=operations() {
        for stop in [Stop::Before, Stop::Within, Stop::After] {
            let left = Rc::new(Cell::new(at));
            let storage = FileStorage::open(folders.path().join(format!("{at}{stop:?}"))).unwrap();
            let mut stopping = Stopping { storage, left: left.clone(), stop };
            let acknowledged = append_all(&mut Log::create(&mut stopping, log_key()).unwrap());
            left.set(usize::MAX);
            let mut log = Log::open(&mut stopping, log_key()).unwrap();
            check(&log, acknowledged);
            // One at a time, so that the batch that was lost is not written again at once.
            while log.checkpoint().size() < 800 {
                let (start, end) = (log.checkpoint().size(), (log.checkpoint().size() + 41).min(800));
                log.append(&entries(start..end)).unwrap();
                let head = log.head().clone();
                log.publish(&head).unwrap();
            }
            check(&log, 800);
            drop(log);
            for id in [0, 1, 2, 3].map(|i| TileId::in_tree(TileKind::Hashes(0), i, 800).unwrap()) {
                assert!(stopping.read_tile(&id).unwrap().is_some(), "{at} {stop:?} {id}");
            }
        }
    }
}

#[test]
fn files_that_stop_anywhere_are_a_log() {
    let folders = TempDir::new().unwrap();
    let next = Cell::new(0);
    let path = |n: u32| folders.path().join(n.to_string());
    let fresh = || {
        next.set(next.get() + 1);
        FileStorage::open(path(next.get())).unwrap()
    };
    stop_everywhere(fresh, |storage| {
        drop(storage);
        FileStorage::open(path(next.get())).unwrap()
    });
}

#[test]
fn a_lost_batch_leaves_no_trace_in_the_next() {
    for at in 2..12 {
        let mut stopping = Stopping { storage: MemoryStorage::new(), left: Rc::new(Cell::new(at)), stop: Stop::After };
        let mut log = Log::create(&mut stopping, log_key()).unwrap();
        let _ = log.append(&vec![b"lost"; 600]);
        let size = log.checkpoint().size();
        drop(log);
        let mut log = Log::open(&mut stopping.storage, log_key()).unwrap();
        let kept = log.checkpoint().size();
        assert!(kept == size || kept == 600);
        if kept == 0 {
            for end in [1, 300, 600, 601] {
                log.append(&entries(log.checkpoint().size()..end)).unwrap();
                check_against_oracle(&log, end);
            }
        }
    }
}

fn check_against_oracle(log: &Log<impl LogStorage>, size: u64) {
    let tree = oracle(size);
    assert_eq!(*log.checkpoint().root(), tree.root());
    for i in 0..size {
        assert_eq!(log.entry(i).unwrap(), entry(i));
        assert_eq!(log.inclusion_proof(i, size).unwrap(), tree.inclusion_proof(i, size).unwrap());
    }
}

/// A disk with a cache: until a checkpoint is written, a power cut may lose each tile, tear it or
/// keep it, in any order.
struct Disk {
    durable: MemoryStorage,
    cache: MemoryStorage,
    written: Vec<TileId>,
    left: usize,
}

impl Disk {
    fn power_cut(mut self, rng: &mut StdRng) -> MemoryStorage {
        for id in std::mem::take(&mut self.written) {
            let bytes = self.cache.read_tile(&id).unwrap().unwrap();
            match rng.random_range(0..4) {
                0 => {}
                1 => self.durable.write_tile(&id, &bytes[..rng.random_range(0..bytes.len())]).unwrap(),
                2 => self.durable.write_tile(&id, &vec![rng.random(); bytes.len()]).unwrap(),
                _ => self.durable.write_tile(&id, &bytes).unwrap(),
            }
        }
        self.durable
    }

    fn operation(&mut self) -> Result<(), StorageError> {
        self.left = self.left.checked_sub(1).ok_or(StorageError::new("write", "disk", io::ErrorKind::Other))?;
        Ok(())
    }
}

impl TileStore for Disk {
    fn read_tile(&self, id: &TileId) -> Result<Option<Vec<u8>>, StorageError> {
        self.cache.read_tile(id)
    }

    fn read_checkpoint(&self, slot: Slot) -> Result<Option<Vec<u8>>, StorageError> {
        self.cache.read_checkpoint(slot)
    }
}

impl LogStorage for Disk {
    fn write_tile(&mut self, id: &TileId, bytes: &[u8]) -> Result<(), StorageError> {
        self.operation()?;
        self.written.push(*id);
        self.cache.write_tile(id, bytes)
    }

    fn write_checkpoint(&mut self, slot: Slot, bytes: &[u8]) -> Result<(), StorageError> {
        self.operation()?;
        for id in self.written.drain(..) {
            let tile = self.cache.read_tile(&id)?.unwrap();
            self.durable.write_tile(&id, &tile)?;
        }
        self.durable.write_checkpoint(slot, bytes)?;
        self.cache.write_checkpoint(slot, bytes)
    }

    fn drop_partial(&mut self, full: &TileId) {
        self.durable.drop_partial(full);
        self.cache.drop_partial(full);
    }
}

proptest! {
    #[test]
    fn a_disk_that_loses_its_cache_again_and_again_is_a_log(seed: u64, stops in prop::collection::vec(1_usize..30, 1..6)) {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut durable = MemoryStorage::new();
        drop(Log::create(&mut durable, log_key()).unwrap());
        let mut acknowledged = 0;
        for left in stops {
            let disk = Disk { cache: durable.clone(), durable, written: Vec::new(), left };
            let mut disk = Some(disk);
            let mut log = Log::open(disk.as_mut().unwrap(), log_key()).unwrap();
            check(&log, acknowledged);
            acknowledged = append_all(&mut log);
            drop(log);
            durable = disk.take().unwrap().power_cut(&mut rng);
        }
        check(&Log::open(&mut durable, log_key()).unwrap(), acknowledged);
    }
}
