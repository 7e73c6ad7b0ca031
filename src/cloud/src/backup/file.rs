//! One file of a backup: written whole or not at all, read with every byte under its hash.

use std::{
    fs,
    io::{self, BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
};

use sealdex_crypto::PrincipalId;
use sha2::{Digest, Sha256};

use super::BackupError;
use crate::store::{Kind, Row};

const MAGIC: &[u8; 24] = b"sealdex-cloud-backup/v1\n";
const HEADER: usize = MAGIC.len() + 16 + 16 + 4 + 4 + 32 + 5 * 8;
const SUFFIX: &str = ".backup";
/// A file that is being written; of a process that was killed, it stays until the next start.
const UNFINISHED: &str = ".unfinished";
/// Longest key and value a row may have.
const MOST: [usize; 2] = [64, 64 << 20];

pub(super) type Hash = [u8; 32];

/// What a file says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Whose store.
    pub cloud: PrincipalId,
    /// Which store.
    pub store: [u8; 16],
    /// Which chain; later ones have higher numbers.
    pub chain: u32,
    /// Place in it; 0 is the base.
    pub part: u32,
    /// Hash of the part before; zeros at the base.
    pub previous: [u8; 32],
    /// When it was begun, Unix milliseconds.
    pub taken_at: u64,
    /// What it goes on after: batches and acts.
    pub after: (u64, u64),
    /// What it goes to.
    pub to: (u64, u64),
}

impl Header {
    fn bytes(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&self.cloud.0);
        out.extend_from_slice(&self.store);
        out.extend_from_slice(&self.chain.to_be_bytes());
        out.extend_from_slice(&self.part.to_be_bytes());
        out.extend_from_slice(&self.previous);
        for number in [self.taken_at, self.after.0, self.to.0, self.after.1, self.to.1] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        out
    }

    fn parse(bytes: &[u8; HEADER]) -> Option<Self> {
        let mut rest = bytes.strip_prefix(MAGIC)?;
        let cloud = PrincipalId(take(&mut rest)?);
        let store = take(&mut rest)?;
        let (chain, part) = (u32::from_be_bytes(take(&mut rest)?), u32::from_be_bytes(take(&mut rest)?));
        let previous = take(&mut rest)?;
        let mut number = || take(&mut rest).map(u64::from_be_bytes);
        let (taken_at, after, to) = (number()?, number()?, number()?);
        let (after_act, to_act) = (number()?, number()?);
        Some(Self { cloud, store, chain, part, previous, taken_at, after: (after, after_act), to: (to, to_act) })
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

fn name(chain: u32, part: u32, to: u64) -> String {
    format!("cloud-{chain:06}-{part:08}-batch-{to:010}{SUFFIX}")
}

/// Which chain a file is of, by its name.
pub(super) fn chain_of(path: &Path) -> Option<u32> {
    path.file_name()?.to_str()?.get(6..12)?.parse().ok()
}

/// Files of backups in a folder, in the order of chains and parts.
pub(super) fn list(dir: &Path) -> Result<Vec<PathBuf>, BackupError> {
    named(dir, SUFFIX)
}

fn named(dir: &Path, suffix: &str) -> Result<Vec<PathBuf>, BackupError> {
    let failed = |e: io::Error| BackupError::io(dir, &e);
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_name().to_str().is_some_and(|n| n.starts_with("cloud-") && n.ends_with(suffix)) {
            found.push(entry.path());
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Makes the folder if it is missing, and clears what an earlier process left unfinished.
pub(super) fn prepare(dir: &Path) -> Result<(), BackupError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir).map_err(|e| BackupError::io(dir, &e))?;
    for left in named(dir, UNFINISHED)? {
        fs::remove_file(&left).map_err(|e| BackupError::io(&left, &e))?;
    }
    Ok(())
}

pub(super) fn sync_dir(dir: &Path) -> Result<(), BackupError> {
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    fs::File::open(dir).and_then(|d| d.sync_all()).map_err(|e| BackupError::io(dir, &e))
}

/// A file being written. Dropped before [`Writer::finish`], nothing of it stays.
pub(super) struct Writer {
    out: BufWriter<fs::File>,
    hash: Sha256,
    rows: u64,
    bytes: u64,
    unfinished: PathBuf,
    path: PathBuf,
}

impl Writer {
    pub(super) fn create(dir: &Path, header: &Header) -> Result<Self, BackupError> {
        let path = dir.join(name(header.chain, header.part, header.to.0));
        if path.exists() {
            return Err(BackupError::Exists(path));
        }
        let mut unfinished = path.clone().into_os_string();
        unfinished.push(UNFINISHED);
        let unfinished = PathBuf::from(unfinished);
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&unfinished).map_err(|e| BackupError::io(&unfinished, &e))?;
        let out = BufWriter::with_capacity(1 << 20, file);
        let mut writer = Self { out, hash: Sha256::new(), rows: 0, bytes: 0, unfinished, path };
        writer.add(&header.bytes())?;
        Ok(writer)
    }

    fn add(&mut self, bytes: &[u8]) -> Result<(), BackupError> {
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
        self.out.write_all(bytes).map_err(|e| BackupError::io(&self.unfinished, &e))
    }

    pub(super) fn row(&mut self, kind: Kind, key: &[u8], value: &[u8]) -> Result<(), BackupError> {
        if key.len() > MOST[0] || value.len() > MOST[1] {
            let what = format!("a row of {} bytes", value.len());
            return Err(BackupError::Damaged { path: self.unfinished.clone(), what });
        }
        self.add(&[kind as u8])?;
        self.add(&(key.len() as u16).to_be_bytes())?;
        self.add(&(value.len() as u32).to_be_bytes())?;
        self.add(key)?;
        self.add(value)?;
        self.rows += 1;
        Ok(())
    }

    /// Under its name, whole and durable: path, hash, rows and bytes.
    pub(super) fn finish(mut self) -> Result<(PathBuf, Hash, u64, u64), BackupError> {
        let rows = self.rows;
        self.add(&[0])?;
        self.add(&rows.to_be_bytes())?;
        let hash: Hash = std::mem::take(&mut self.hash).finalize().into();
        let failed = |e: io::Error| BackupError::io(&self.unfinished, &e);
        self.out.write_all(&hash).and_then(|()| self.out.flush()).map_err(failed)?;
        self.out.get_ref().sync_all().map_err(failed)?;
        fs::rename(&self.unfinished, &self.path).map_err(failed)?;
        sync_dir(self.path.parent().unwrap_or(Path::new(".")))?;
        Ok((self.path.clone(), hash, rows, self.bytes + 32))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // After a rename there is none.
        let _ = fs::remove_file(&self.unfinished);
    }
}

struct Source<'p> {
    path: &'p Path,
    file: BufReader<fs::File>,
    hash: Sha256,
}

impl Source<'_> {
    fn damaged(&self, what: impl Into<String>) -> BackupError {
        BackupError::Damaged { path: self.path.into(), what: what.into() }
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), BackupError> {
        self.file.read_exact(buffer).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => self.damaged("it ends too early"),
            _ => BackupError::io(self.path, &e),
        })?;
        self.hash.update(buffer);
        Ok(())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], BackupError> {
        let mut out = [0; N];
        self.fill(&mut out)?;
        Ok(out)
    }
}

/// Header of a file, not checked against its hash.
pub(super) fn header(path: &Path) -> Result<Header, BackupError> {
    let mut source = open(path)?;
    read_header(&mut source)
}

fn open(path: &Path) -> Result<Source<'_>, BackupError> {
    let file = fs::File::open(path).map_err(|e| BackupError::io(path, &e))?;
    Ok(Source { path, file: BufReader::with_capacity(1 << 20, file), hash: Sha256::new() })
}

fn read_header(source: &mut Source<'_>) -> Result<Header, BackupError> {
    let bytes: [u8; HEADER] = source.array()?;
    Header::parse(&bytes).ok_or_else(|| BackupError::NotABackup(source.path.into()))
}

/// Reads a file to its end: each row goes to `row`; then its hash is checked. Header, hash and rows.
pub(super) fn read(path: &Path, row: &mut Row<'_, BackupError>) -> Result<(Header, Hash, u64), BackupError> {
    let mut source = open(path)?;
    let header = read_header(&mut source)?;
    let (mut rows, mut key, mut value) = (0_u64, Vec::new(), Vec::new());
    loop {
        let [tag] = source.array::<1>()?;
        if tag == 0 {
            break;
        }
        let kind = Kind::of(tag).ok_or_else(|| source.damaged(format!("row {} is of no known kind", rows + 1)))?;
        let lengths = [usize::from(u16::from_be_bytes(source.array()?)), u32::from_be_bytes(source.array()?) as usize];
        if lengths[0] > MOST[0] || lengths[1] > MOST[1] {
            return Err(source.damaged(format!("row {} is too long", rows + 1)));
        }
        key.resize(lengths[0], 0);
        value.resize(lengths[1], 0);
        source.fill(&mut key)?;
        source.fill(&mut value)?;
        row(kind, &key, &value)?;
        rows += 1;
    }
    let counted = u64::from_be_bytes(source.array()?);
    let hash: Hash = std::mem::take(&mut source.hash).finalize().into();
    let stored: Hash = source.array()?;
    if stored != hash {
        return Err(source.damaged("its content is not what its SHA-256 says"));
    }
    if counted != rows || source.file.read(&mut [0]).map_err(|e| BackupError::io(path, &e))? != 0 {
        return Err(source.damaged("it does not end where it says"));
    }
    Ok((header, hash, rows))
}
