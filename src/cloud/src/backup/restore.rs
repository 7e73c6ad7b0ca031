//! Backups checked, and a store made anew from them, whole or not at all.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    BackupError,
    file::{self, Hash, Header},
};
use crate::store::{RedbStore, Restored, RosterStore as _};

/// A part whose every byte is as it was written, and which follows the one before it.
#[derive(Clone, Debug)]
pub struct Part {
    /// File.
    pub path: PathBuf,
    /// What it says of itself.
    pub header: Header,
    /// Rows.
    pub rows: u64,
    /// Size.
    pub bytes: u64,
}

/// What a check of a folder found.
#[derive(Debug, Default)]
pub struct Checked {
    /// Parts in order, in the order of chains.
    pub parts: Vec<Part>,
    /// Files that are not in order, and those after them in their chain, which cannot be used without them.
    pub damaged: Vec<BackupError>,
}

/// Reads every byte of every file. `progress` is told the file, how many are done, and how many there are.
///
/// # Errors
/// [`BackupError`]: the folder cannot be read, or has none. What is wrong with files is in [`Checked::damaged`].
pub fn check(dir: &Path, progress: &mut dyn FnMut(usize, usize)) -> Result<Checked, BackupError> {
    let files = file::list(dir)?;
    if files.is_empty() {
        return Err(BackupError::Empty(dir.into()));
    }
    let mut out = Checked::default();
    let mut last: Option<(Header, Hash)> = None;
    for (at, path) in files.iter().enumerate() {
        progress(at, files.len());
        let read = file::read(path, &mut |_, _, _| Ok(())).and_then(|(header, hash, rows)| {
            follows(&header, last.as_ref()).then_some(()).ok_or_else(|| BackupError::Chain { path: path.clone() })?;
            Ok((header, hash, rows))
        });
        match read {
            Ok((header, hash, rows)) => {
                last = Some((header, hash));
                let bytes = fs::metadata(path).map_err(|e| BackupError::io(path, &e))?.len();
                out.parts.push(Part { path: path.clone(), header, rows, bytes });
            }
            Err(error) => out.damaged.push(error),
        }
    }
    Ok(out)
}

fn follows(header: &Header, last: Option<&(Header, Hash)>) -> bool {
    match (header.part, last) {
        (0, _) => header.previous == [0; 32] && header.after == (0, 0),
        (part, Some((before, hash))) => {
            (header.chain, part, header.cloud, header.store)
                == (before.chain, before.part + 1, before.cloud, before.store)
                && header.previous == *hash
                && header.after == before.to
        }
        (_, None) => false,
    }
}

/// Which moment to restore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// The last one there is.
    Newest,
    /// After this batch.
    Batch(u64),
    /// The newest that was taken by this time, Unix milliseconds.
    At(u64),
}

/// The chain that goes furthest, of those of the newest store: a new base is older than the chain before it for as long as
/// it has no part.
fn fullest<'p>(chains: &[&'p [Part]]) -> Option<&'p [Part]> {
    let store = chains.last()?.first()?.header.store;
    let of_store = chains.iter().filter(|c| c.first().is_some_and(|p| p.header.store == store));
    of_store.max_by_key(|c| c.last().map(|p| (p.header.to, p.header.chain))).copied()
}

/// Chains by store, the newest first, and of each store the newest chain first.
fn by_store<'p>(chains: &[&'p [Part]]) -> Vec<Vec<&'p [Part]>> {
    let store = |chain: &[Part]| chain.first().map(|p| p.header.store);
    let mut stores: Vec<Vec<&[Part]>> = Vec::new();
    for chain in chains.iter().rev() {
        match stores.iter_mut().find(|of| of.first().is_some_and(|c| store(c) == store(chain))) {
            Some(of) => of.push(chain),
            None => stores.push(vec![chain]),
        }
    }
    stores
}

/// The parts up to a batch. Some chain may end just there that the newest has in the middle of a part: while its base was
/// written, parts went on in the chain before, and what they brought is in one part after the base.
fn at_batch<'p>(chains: &[&'p [Part]], batch: u64) -> Option<(&'p [Part], u64)> {
    let just = |chain: &&'p [Part]| {
        let end = chain.iter().position(|p| p.header.to.0 == batch)?;
        Some((&chain[..=end], batch))
    };
    let within = |chain: &&'p [Part]| {
        let from = chain.first()?.header.to.0;
        let end = chain.iter().position(|p| p.header.to.0 >= batch)?;
        (from <= batch).then(|| (&chain[..=end], batch))
    };
    chains.iter().find_map(just).or_else(|| chains.iter().find_map(within))
}

/// The parts that were taken by a time, of the chain that goes furthest by then: the newest may have had but its base, and
/// the one before parts after that.
fn by_then<'p>(chains: &[&'p [Part]], at: u64) -> Option<(&'p [Part], u64)> {
    let taken = chains.iter().filter_map(|chain| {
        let end = chain.iter().rposition(|p| p.header.taken_at <= at)?;
        Some((&chain[..=end], chain[end].header))
    });
    taken.max_by_key(|(_, last)| (last.to, last.chain)).map(|(parts, last)| (parts, last.to.0))
}

/// The parts that make a point, and its last batch.
fn choose(parts: &[Part], point: Point) -> Result<(&[Part], u64), BackupError> {
    let chains: Vec<&[Part]> = parts.chunk_by(|a, b| a.header.chain == b.header.chain).collect();
    let none = |asked: String| {
        let (first, last) = (chains.first().and_then(|c| c.first()), chains.last().and_then(|c| c.last()));
        let of = |p: Option<&Part>| p.map_or(0, |p| p.header.to.0);
        BackupError::Point { asked, kept: format!("batches {} to {}", of(first), of(last)) }
    };
    let chosen = match point {
        Point::Newest => fullest(&chains).map(|c| (c, c.last().map_or(0, |p| p.header.to.0))),
        Point::Batch(batch) => by_store(&chains).iter().find_map(|chains| at_batch(chains, batch)),
        Point::At(at) => by_store(&chains).iter().find_map(|chains| by_then(chains, at)),
    };
    chosen.ok_or_else(|| {
        none(match point {
            Point::Newest => "anything".into(),
            Point::Batch(batch) => format!("the state after batch {batch}"),
            Point::At(_) => "anything from before that time".into(),
        })
    })
}

/// A store that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Made {
    /// Of which moment.
    pub restored: Restored,
    /// Acts in it.
    pub acts: u64,
    /// Live records.
    pub records: u64,
    /// Files it was made from.
    pub files: usize,
}

/// Makes a data folder from a backup: a store, marked as restored; the cloud makes index and logs from it. Everything is
/// read and checked before anything is written; the folder appears under its name when it is whole.
///
/// # Errors
/// [`BackupError`]; there is no folder then.
pub fn restore(from: &Path, to: &Path, point: Point) -> Result<Made, BackupError> {
    let absent = |path: &Path| match fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(BackupError::io(path, &e)),
        Ok(_) => Err(BackupError::Exists(path.into())),
    };
    absent(to)?;
    let checked = check(from, &mut |_, _| {})?;
    let chains: Vec<&[Part]> = checked.parts.chunk_by(|a, b| a.header.chain == b.header.chain).collect();
    let newest = fullest(&chains).and_then(|c| c.last()).map(|p| p.header.to);
    let damaged = !checked.damaged.is_empty();
    let (parts, batch) = match choose(&checked.parts, point) {
        // The newest there is, though a file is damaged, would be an older one without saying so.
        Ok(_) if point == Point::Newest && damaged => Err(first_damage(checked.damaged)),
        Ok(chosen) => Ok(chosen),
        Err(error) if !damaged => Err(error),
        Err(_) => Err(first_damage(checked.damaged)),
    }?;
    let Some(last) = parts.last().map(|p| p.header) else { return Err(BackupError::Empty(from.into())) };
    let cut = newest.is_none_or(|newest| newest != last.to || newest.0 != batch) || damaged;
    let restored = Restored { batch, taken_at: last.taken_at, cut };
    let beside = beside(to);
    let made = make(&beside, parts, restored);
    let made = made.and_then(|made| {
        absent(to)?;
        fs::rename(&beside, to).map_err(|e| BackupError::io(to, &e))?;
        Ok(made)
    });
    if made.is_err() {
        let _ = fs::remove_dir_all(&beside);
    } else {
        file::sync_dir(to.parent().unwrap_or(Path::new(".")))?;
    }
    made
}

fn first_damage(damaged: Vec<BackupError>) -> BackupError {
    damaged.into_iter().next().unwrap_or_else(|| BackupError::Empty(PathBuf::new()))
}

fn beside(to: &Path) -> PathBuf {
    let mut name = to.file_name().unwrap_or_default().to_owned();
    name.push(".restoring");
    to.with_file_name(name)
}

fn make(beside: &Path, parts: &[Part], restored: Restored) -> Result<Made, BackupError> {
    match fs::remove_dir_all(beside) {
        // What a process that was killed left behind.
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(BackupError::io(beside, &e)),
        _ => {}
    }
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(beside).map_err(|e| BackupError::io(beside, &e))?;
    let store = RedbStore::open(&beside.join("store.redb"))?;
    for part in parts {
        store.import(restored.batch, |row| {
            let (header, ..) = file::read(&part.path, row)?;
            if header != part.header {
                let what = "it was changed while it was read".into();
                return Err(BackupError::Damaged { path: part.path.clone(), what });
            }
            Ok(())
        })?;
    }
    let missing = store.derive(restored)?;
    if missing > 0 {
        let after = parts.last().map_or(0, |p| p.header.to.0);
        let before = parts.last().map_or(0, |p| p.header.after.0);
        return Err(BackupError::Between { batch: restored.batch, missing, before, after });
    }
    let position = store.position()?;
    let records = crate::store::SealedStore::totals(&store)?.records;
    Ok(Made { restored, acts: position.acts, records, files: parts.len() })
}

/// Lets a restored store be served again. `batch` is what its operator says it is as of; `logged` tells whether the
/// domain of a roster has a log.
///
/// # Errors
/// [`BackupError`]; the store still waits then.
pub fn resume(dir: &Path, batch: u64, logged: impl FnOnce(&[u8]) -> bool) -> Result<(), BackupError> {
    let path = dir.join("store.redb");
    if let Err(e) = fs::metadata(&path) {
        return Err(BackupError::io(path, &e));
    }
    let store = RedbStore::open(&path)?;
    let restored = store.restored()?.ok_or_else(|| BackupError::NotRestored(dir.into()))?;
    if restored.batch != batch {
        return Err(BackupError::OtherPoint { is: restored.batch });
    }
    if restored.cut && store.roster()?.is_some_and(|r| logged(&r)) {
        return Err(BackupError::ForInspection(batch));
    }
    Ok(store.resume()?)
}
