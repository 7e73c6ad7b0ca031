//! A database as it is at one moment, without copying it: what the check writes stays in memory, and so does what was in
//! a block of the file before others wrote to it.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fs::File,
    io,
    os::unix::fs::FileExt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use redb::{Database, DatabaseError, RepairSession, StorageBackend};

/// Bytes that are kept and replaced together: the page size of redb.
const BLOCK: u64 = 4096;
/// Blocks kept at most; a check that needs more is given up, and tried again when less is written.
const MOST: usize = (256 << 20) / BLOCK as usize;
/// Pages the check keeps in memory, bytes.
const CACHE: usize = 8 << 20;

/// Whether a file is what was written to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Soundness {
    /// Every checksum fits.
    Sound,
    /// One does not.
    Damaged(String),
    /// More was written meanwhile than a check can keep apart.
    Busy,
}

#[derive(Debug)]
pub(crate) struct View {
    file: Arc<File>,
    rate: u64,
    began: Instant,
    over: Mutex<Over>,
}

#[derive(Debug)]
struct Over {
    len: u64,
    read: u64,
    blocks: BTreeMap<u64, Vec<u8>>,
    gave_up: bool,
}

impl View {
    /// Of a file that nobody writes to until this is told of every write by [`View::keep`].
    pub(crate) fn of(file: Arc<File>, rate: u64) -> io::Result<Self> {
        let len = file.metadata()?.len();
        let over = Over { len, read: 0, blocks: BTreeMap::new(), gave_up: false };
        Ok(Self { file, rate: rate.max(1), began: Instant::now(), over: Mutex::new(over) })
    }

    /// Keeps what is in the file where something else is about to be written.
    pub(crate) fn keep(&self, offset: u64, len: u64) -> io::Result<()> {
        let mut over = self.over();
        let end = (offset + len).min(over.len);
        for block in offset / BLOCK..end.div_ceil(BLOCK) {
            if over.gave_up || over.blocks.len() >= MOST {
                over.gave_up = true;
                over.blocks.clear();
                return Ok(());
            }
            if let Entry::Vacant(vacant) = over.blocks.entry(block) {
                let mut bytes = vec![0; BLOCK as usize];
                self.under(block * BLOCK, &mut bytes)?;
                vacant.insert(bytes);
            }
        }
        Ok(())
    }

    /// Ends the check that reads it.
    pub(crate) fn give_up(&self) {
        let mut over = self.over();
        over.gave_up = true;
        over.blocks.clear();
    }

    fn gave_up(&self) -> bool {
        self.over().gave_up
    }

    fn over(&self) -> std::sync::MutexGuard<'_, Over> {
        self.over.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What stands in the file; zeros where it has become shorter since.
    fn under(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let mut done = 0;
        while done < out.len() {
            match self.file.read_at(&mut out[done..], offset + done as u64)? {
                0 => break,
                n => done += n,
            }
        }
        out[done..].fill(0);
        Ok(())
    }

    /// Waits until this much may have been read.
    fn pace(&self, bytes: usize) {
        let read = {
            let mut over = self.over();
            over.read += bytes as u64;
            over.read
        };
        let due = Duration::from_secs_f64(read as f64 / self.rate as f64);
        std::thread::sleep(due.saturating_sub(self.began.elapsed()));
    }
}

/// Block, its bytes in it, and where they are in a buffer that begins at `offset`.
fn blocks(offset: u64, len: usize) -> impl Iterator<Item = (u64, std::ops::Range<usize>, std::ops::Range<usize>)> {
    let end = offset + len as u64;
    (offset / BLOCK..end.div_ceil(BLOCK)).map(move |block| {
        let (from, to) = (offset.max(block * BLOCK), end.min((block + 1) * BLOCK));
        let inner = (from - block * BLOCK) as usize..(to - block * BLOCK) as usize;
        (block, inner, (from - offset) as usize..(to - offset) as usize)
    })
}

#[derive(Debug)]
struct Backend(Arc<View>);

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.over().len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.pace(out.len());
        self.0.under(offset, out)?;
        // After the file: a block that was written to meanwhile was kept before.
        let over = self.0.over();
        if over.gave_up {
            return Err(io::Error::other("too much is written"));
        }
        for (block, inner, outer) in blocks(offset, out.len()) {
            if let Some(bytes) = over.blocks.get(&block) {
                out[outer].copy_from_slice(&bytes[inner]);
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.over().len = len;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut over = self.0.over();
        for (block, inner, outer) in blocks(offset, data.len()) {
            let bytes = match over.blocks.entry(block) {
                Entry::Occupied(kept) => kept.into_mut(),
                Entry::Vacant(vacant) => {
                    let mut bytes = vec![0; BLOCK as usize];
                    self.0.under(block * BLOCK, &mut bytes)?;
                    vacant.insert(bytes)
                }
            };
            bytes[inner].copy_from_slice(&data[outer]);
        }
        Ok(())
    }
}

/// Whether redb, opening a file that was not closed, has found that the newest commit is not whole and is about to go back
/// to the one before it: of its three looks the first has failed.
pub(crate) fn goes_back(repair: &RepairSession) -> bool {
    (0.1..0.5).contains(&repair.progress())
}

/// Opens the view and verifies all of it. The view begins after a commit, so that its newest one is whole, or has rotted.
pub(crate) fn soundness(view: &Arc<View>) -> Soundness {
    let verify = || -> Result<bool, DatabaseError> {
        let mut db = Database::builder()
            .set_cache_size(CACHE)
            .set_repair_callback(|repair| {
                if goes_back(repair) {
                    repair.abort()
                }
            })
            .create_with_backend(Backend(view.clone()))?;
        db.check_integrity()
    };
    // The library may panic over a damaged file; that is a finding.
    let verified = catch_unwind(AssertUnwindSafe(verify));
    if view.gave_up() {
        return Soundness::Busy;
    }
    match verified {
        Ok(Ok(true)) => Soundness::Sound,
        Ok(Ok(false) | Err(DatabaseError::RepairAborted)) => Soundness::Damaged("a checksum does not fit".into()),
        Ok(Err(e)) => Soundness::Damaged(e.to_string()),
        Err(_) => Soundness::Damaged("its pages cannot be followed".into()),
    }
}
