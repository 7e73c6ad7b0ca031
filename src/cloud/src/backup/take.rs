//! Taking backups while the cloud serves.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Instant, SystemTime},
};

use sealdex_crypto::PrincipalId;
use sealdex_net::clock::now_ms;

use super::{
    BackupError,
    file::{self, Hash, Header, Writer},
};
use crate::store::{Position, RedbStore};

/// Parts before a new chain may begin, however large they are.
const FEWEST: u32 = 16;
/// Parts after which a new chain begins, however small they are.
const MOST: u32 = 10_000;

/// A part that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Its file.
    pub path: PathBuf,
    /// Whether it is a base.
    pub base: bool,
    /// Batches in it.
    pub batches: u64,
    /// Rows.
    pub rows: u64,
    /// Size of the file.
    pub bytes: u64,
}

/// The last part of the chain that is gone on with.
struct Last {
    header: Header,
    hash: Hash,
    path: PathBuf,
    /// Known of a part that this process wrote.
    position: Option<Position>,
    /// Bytes of the base, and of the parts after it.
    bytes: [u64; 2],
}

/// A file, and the moment it is of.
struct Written {
    path: PathBuf,
    hash: Hash,
    rows: u64,
    bytes: u64,
    header: Header,
    position: Position,
}

impl Taken {
    fn of(written: &Written, after: (u64, u64)) -> Self {
        let Written { path, header, rows, bytes, .. } = written;
        Self { path: path.clone(), base: header.part == 0, batches: header.to.0 - after.0, rows: *rows, bytes: *bytes }
    }
}

impl Last {
    fn of(written: Written, bytes: [u64; 2]) -> Self {
        let Written { path, hash, header, position, .. } = written;
        Self { header, hash, path, position: Some(position), bytes }
    }
}

/// Writes the backups of one store.
pub struct Backup {
    store: Arc<RedbStore>,
    cloud: PrincipalId,
    dir: PathBuf,
    /// Chains to keep.
    keep: usize,
    last: Mutex<Option<Last>>,
    /// How far the newest part goes.
    batches: AtomicU64,
    acts: AtomicU64,
}

impl Backup {
    /// Goes on with the newest chain of the folder if it is of this store; else the next part is a base.
    ///
    /// # Errors
    /// [`BackupError`]: the folder cannot be used, is another cloud's, or has more than the store.
    pub fn open(store: Arc<RedbStore>, cloud: PrincipalId, dir: &Path, keep: usize) -> Result<Self, BackupError> {
        file::prepare(dir)?;
        let last = match newest(dir, cloud) {
            Ok(last) => last,
            Err(error @ (BackupError::Damaged { .. } | BackupError::NotABackup(_))) => {
                tracing::error!(%error, "the newest backup cannot be gone on with; a new base is written");
                None
            }
            Err(error) => return Err(error),
        };
        let at = store.position()?;
        let last = last.filter(|l| l.header.store == at.store);
        if let Some(Last { header, path, .. }) = &last
            && (header.to.0 > at.batches || header.to.1 > at.acts)
        {
            return Err(BackupError::Ahead { path: path.clone(), backup: header.to.0, store: at.batches });
        }
        let (batches, acts) = last.as_ref().map_or((0, 0), |l| l.header.to);
        let (batches, acts) = (AtomicU64::new(batches), AtomicU64::new(acts));
        Ok(Self { store, cloud, dir: dir.into(), keep: keep.max(1), last: Mutex::new(last), batches, acts })
    }

    /// Batches and acts that are in it.
    pub(crate) fn covers(&self) -> (u64, u64) {
        (self.batches.load(Ordering::Acquire), self.acts.load(Ordering::Acquire))
    }

    /// Notes what a part has. A base may have less than a part of the chain before that was written beside it.
    fn cover(&self, (batches, acts): (u64, u64)) {
        self.batches.fetch_max(batches, Ordering::AcqRel);
        self.acts.fetch_max(acts, Ordering::AcqRel);
    }

    /// Age of the newest file, as the file system has it.
    pub(crate) fn age(&self) -> Option<std::time::Duration> {
        fs::metadata(&self.last().as_ref()?.path).and_then(|m| m.modified()).ok()?.elapsed().ok()
    }

    /// Writes what has come since the last part; nothing when nothing has. Durable on return.
    ///
    /// # Errors
    /// [`BackupError`]; earlier parts are as they were.
    pub fn take(&self) -> Result<Option<Taken>, BackupError> {
        let began = Instant::now();
        let taken = self.write();
        match &taken {
            Ok(taken) => {
                metrics::gauge!("sealdex_cloud_backup_taken_seconds").set(now_ms() as f64 / 1000.0);
                if let Some(Taken { path, base, batches, rows, bytes }) = taken {
                    metrics::counter!("sealdex_cloud_backups_total", "outcome" => "taken").increment(1);
                    metrics::gauge!("sealdex_cloud_backup_bytes").set(*bytes as f64);
                    metrics::histogram!("sealdex_cloud_backup_seconds").record(began.elapsed().as_secs_f64());
                    let ms = began.elapsed().as_millis() as u64;
                    tracing::info!(file = %path.display(), base, batches, rows, bytes, ms, "backed up");
                }
            }
            Err(error) => {
                metrics::counter!("sealdex_cloud_backups_total", "outcome" => "failed").increment(1);
                tracing::error!(%error, "no backup was taken");
            }
        }
        taken
    }

    /// Writes a new base when the parts have grown as large as the last, and goes on after it. Others take parts
    /// meanwhile, of the chain before.
    ///
    /// # Errors
    /// [`BackupError`]; the chain before is gone on with.
    pub fn renew(&self) -> Result<Option<Taken>, BackupError> {
        let due = self.last().as_ref().is_some_and(|l| {
            let parts = l.header.part + 1;
            parts >= MOST || (parts >= FEWEST && l.bytes[1] >= l.bytes[0])
        });
        if !due {
            return Ok(None);
        }
        let chain = next_chain(&self.dir)?;
        let based = self.part(chain, 0, [0; 32], (0, 0))?;
        let mut last = self.last();
        let taken = Taken::of(&based, (0, 0));
        self.cover(based.header.to);
        *last = Some(Last::of(based, [taken.bytes, 0]));
        // What the chain before got meanwhile: from here on this one has everything.
        self.add(&mut last)?;
        drop(last);
        tracing::info!(file = %taken.path.display(), bytes = taken.bytes, "a new base");
        self.forget(chain)?;
        Ok(Some(taken))
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Option<Last>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> Result<Option<Taken>, BackupError> {
        self.add(&mut self.last())
    }

    fn add(&self, last: &mut Option<Last>) -> Result<Option<Taken>, BackupError> {
        let now = self.store.position()?;
        if let Some(last) = last
            && last.position.as_ref() == Some(&now)
        {
            // Nothing is missing in it as of now: that is what its age says.
            let touched = fs::File::options().append(true).open(&last.path);
            touched.and_then(|f| f.set_modified(SystemTime::now())).map_err(|e| BackupError::io(&last.path, &e))?;
            return Ok(None);
        }
        let (chain, part, previous, after, [base, parts]) = match last {
            Some(l) => (l.header.chain, l.header.part + 1, l.hash, l.header.to, l.bytes),
            None => (next_chain(&self.dir)?, 0, [0; 32], (0, 0), [0; 2]),
        };
        let written = self.part(chain, part, previous, after)?;
        let taken = Taken::of(&written, after);
        let bytes = if part == 0 { [taken.bytes, 0] } else { [base, parts + taken.bytes] };
        let to = written.header.to;
        *last = Some(Last::of(written, bytes));
        self.cover(to);
        if part == 0 {
            self.forget(chain)?;
        }
        Ok(Some(taken))
    }

    fn part(&self, chain: u32, part: u32, previous: Hash, after: (u64, u64)) -> Result<Written, BackupError> {
        // From before the snapshot: whatever was acknowledged by then is in it.
        let (cloud, taken_at) = (self.cloud, now_ms());
        let writer = std::cell::RefCell::new(None::<(Writer, Header, Position)>);
        self.store.export(
            after,
            |at| {
                let to = (at.batches, at.acts);
                let header = Header { cloud, store: at.store, chain, part, previous, taken_at, after, to };
                *writer.borrow_mut() = Some((Writer::create(&self.dir, &header)?, header, at.clone()));
                Ok::<_, BackupError>(())
            },
            &mut |kind, key, value| match &mut *writer.borrow_mut() {
                Some((writer, ..)) => writer.row(kind, key, value),
                None => Ok(()),
            },
        )?;
        let Some((writer, header, position)) = writer.into_inner() else {
            return Err(BackupError::Empty(self.dir.clone()));
        };
        let (path, hash, rows, bytes) = writer.finish()?;
        Ok(Written { path, hash, rows, bytes, header, position })
    }

    /// Removes chains beyond those to keep, oldest first; `newest` has just got its base.
    fn forget(&self, newest: u32) -> Result<(), BackupError> {
        let mut chains: Vec<u32> = Vec::new();
        let files = file::list(&self.dir)?;
        for path in &files {
            // By name: a damaged file must not keep older ones from being removed.
            if let Some(chain) = file::chain_of(path)
                && chain != newest
                && chains.last() != Some(&chain)
            {
                chains.push(chain);
            }
        }
        let old = chains.len().saturating_sub(self.keep - 1);
        for path in files.iter().rev() {
            // The base last: until then what is left of a chain cannot be mistaken for one.
            if file::chain_of(path).is_some_and(|chain| chains[..old].contains(&chain)) {
                fs::remove_file(path).map_err(|e| BackupError::io(path, &e))?;
            }
        }
        Ok(())
    }
}

/// A number that no file has, not even a damaged one.
fn next_chain(dir: &Path) -> Result<u32, BackupError> {
    Ok(file::list(dir)?.iter().filter_map(|path| file::chain_of(path)).max().map_or(1, |n| n + 1))
}

/// The last part in a folder, if every part of its chain is there; the last one is read whole.
fn newest(dir: &Path, cloud: PrincipalId) -> Result<Option<Last>, BackupError> {
    let files = file::list(dir)?;
    let Some(path) = files.last() else { return Ok(None) };
    let (header, hash, _) = file::read(path, &mut |_, _, _| Ok(()))?;
    if header.cloud != cloud {
        return Err(BackupError::OtherCloud { path: path.clone(), found: header.cloud, own: cloud });
    }
    let (mut bytes, mut parts) = ([0; 2], 0);
    for path in &files {
        if file::header(path)?.chain == header.chain {
            let size = fs::metadata(path).map_err(|e| BackupError::io(path, &e))?.len();
            bytes[usize::from(parts > 0)] += size;
            parts += 1;
        }
    }
    if parts != header.part + 1 {
        return Err(BackupError::Damaged { path: path.clone(), what: "parts before it are missing".into() });
    }
    Ok(Some(Last { header, hash, path: path.clone(), position: None, bytes }))
}
