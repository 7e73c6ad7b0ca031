//! A disk that keeps what was synced. What was written since is lost at a crash, kept, or torn, each write by itself.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use redb::StorageBackend;

use crate::chance::Chance;

/// A disk, which outlives the processes that use it.
#[derive(Clone)]
pub struct Disk {
    state: Arc<Mutex<State>>,
    chance: Arc<Chance>,
}

#[derive(Default)]
struct State {
    /// What a crash leaves for certain.
    durable: Vec<u8>,
    /// What the process sees.
    seen: Vec<u8>,
    /// Written and not synced, in order.
    unsynced: Vec<Write>,
    /// Which process may use it.
    life: u64,
    /// Writes and syncs until it fails.
    fails_in: Option<u64>,
    failed: bool,
}

enum Write {
    Len(u64),
    Bytes(u64, Vec<u8>),
}

impl Write {
    fn apply(&self, to: &mut Vec<u8>, most: usize) {
        match self {
            Self::Len(len) => to.resize(*len as usize, 0),
            Self::Bytes(at, bytes) => {
                let (at, bytes) = (*at as usize, &bytes[..most.min(bytes.len())]);
                if to.len() < at + bytes.len() {
                    to.resize(at + bytes.len(), 0);
                }
                to[at..at + bytes.len()].copy_from_slice(bytes);
            }
        }
    }
}

/// What a write is torn into.
const SECTOR: usize = 512;

impl Disk {
    /// An empty disk.
    pub fn new(chance: Arc<Chance>) -> Self {
        Self { state: Arc::default(), chance }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As the next process has it. The one before can use it no more.
    pub fn open(&self) -> Mounted {
        let mut state = self.state();
        state.life += 1;
        (state.failed, state.fails_in) = (false, None);
        Mounted { disk: self.clone(), life: state.life }
    }

    /// The power goes: what was not synced is kept, lost or torn.
    pub fn crash(&self) {
        let mut state = self.state();
        state.life += 1;
        let unsynced = std::mem::take(&mut state.unsynced);
        let mut left = std::mem::take(&mut state.durable);
        for write in &unsynced {
            match self.chance.below(3) {
                0 => {}
                1 => write.apply(&mut left, usize::MAX),
                _ => write.apply(&mut left, self.chance.below(16) * SECTOR),
            }
        }
        state.seen = left.clone();
        state.durable = left;
    }

    /// Lets the disk fail, after so many more writes and syncs, until it is opened again.
    pub fn fail_in(&self, operations: u64) {
        self.state().fails_in = Some(operations);
    }

    /// It will not fail, unless it has.
    pub fn mend(&self) {
        self.state().fails_in = None;
    }

    /// Whether it has failed.
    pub fn has_failed(&self) -> bool {
        self.state().failed
    }

    /// What is on it.
    pub fn image(&self) -> Vec<u8> {
        self.state().seen.clone()
    }
}

/// A disk as one process has it.
pub struct Mounted {
    disk: Disk,
    life: u64,
}

impl std::fmt::Debug for Mounted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "disk of life {}", self.life)
    }
}

impl Mounted {
    fn using(&self, writes: bool) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.disk.state();
        if state.life != self.life {
            return Err(io::Error::other("this process is dead"));
        }
        if writes && let Some(left) = &mut state.fails_in {
            if *left == 0 {
                state.failed = true;
            } else {
                *left -= 1;
            }
        }
        if state.failed { Err(io::Error::other("the disk failed")) } else { Ok(state) }
    }
}

impl StorageBackend for Mounted {
    fn len(&self) -> io::Result<u64> {
        Ok(self.using(false)?.seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.using(false)?;
        let (from, len) = (offset as usize, out.len());
        let there = state.seen.get(from..from + len).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(there);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.using(true)?;
        state.seen.resize(len as usize, 0);
        state.unsynced.push(Write::Len(len));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.using(true)?;
        let mut durable = std::mem::take(&mut state.durable);
        for write in state.unsynced.drain(..) {
            write.apply(&mut durable, usize::MAX);
        }
        state.durable = durable;
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.using(true)?;
        let write = Write::Bytes(offset, data.to_vec());
        write.apply(&mut state.seen, usize::MAX);
        state.unsynced.push(write);
        Ok(())
    }
}
