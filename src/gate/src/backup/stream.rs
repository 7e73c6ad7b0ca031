//! The sealed stream of a backup: a header, then chunks that each know their number and whether they end it.

use std::{
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use aes_siv::{KeyInit as _, siv::Aes256Siv};
use rand::Rng as _;
use sealdex_crypto::PrincipalId;

use super::{BackupError, BackupKey};

const MAGIC: &[u8; 23] = b"sealdex-gate-backup/v1\n";
const HEADER: usize = MAGIC.len() + 16 + 8 + 32;
/// Plaintext of a chunk.
pub const CHUNK: usize = 64 << 10;
const TAG: usize = 16;

/// What a backup says about itself before it is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Whose store.
    pub gate: PrincipalId,
    /// Unix milliseconds: whatever was acknowledged before is in it.
    pub taken_at: u64,
}

fn encode(header: &Header, salt: &[u8; 32]) -> [u8; HEADER] {
    let mut out = [0; HEADER];
    let parts: [&[u8]; 4] = [MAGIC, &header.gate.0, &header.taken_at.to_be_bytes(), salt];
    out.iter_mut().zip(parts.iter().copied().flatten()).for_each(|(o, b)| *o = *b);
    out
}

fn decode(bytes: &[u8; HEADER]) -> Option<Header> {
    let (gate, rest) = bytes.strip_prefix(MAGIC.as_slice())?.split_first_chunk::<16>()?;
    let (taken_at, _) = rest.split_first_chunk::<8>()?;
    Some(Header { gate: PrincipalId(*gate), taken_at: u64::from_be_bytes(*taken_at) })
}

fn associated(number: u64, last: bool) -> [u8; 9] {
    let mut out = [0; 9];
    out[..8].copy_from_slice(&number.to_be_bytes());
    out[8] = last.into();
    out
}

/// Seals what is written to it. Without [`Sealer::finish`] the stream has no end and is refused.
pub struct Sealer<W> {
    out: W,
    siv: Aes256Siv,
    buffer: Vec<u8>,
    number: u64,
}

impl<W: Write> Sealer<W> {
    /// Writes the header.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn new(mut out: W, header: &Header, key: &BackupKey) -> io::Result<Self> {
        let mut salt = [0; 32];
        rand::rng().fill_bytes(&mut salt);
        let header = encode(header, &salt);
        out.write_all(&header)?;
        let siv = Aes256Siv::new((&*key.of_file(&header)).into());
        Ok(Self { out, siv, buffer: Vec::with_capacity(CHUNK), number: 0 })
    }

    /// Adds bytes.
    ///
    /// # Errors
    /// Those of the stream below.
    pub fn add(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            // A full chunk is sealed when more comes: until then it may be the last.
            if self.buffer.len() == CHUNK {
                self.seal(false)?;
            }
            let (now, later) = bytes.split_at(bytes.len().min(CHUNK - self.buffer.len()));
            self.buffer.extend_from_slice(now);
            bytes = later;
        }
        Ok(())
    }

    fn seal(&mut self, last: bool) -> io::Result<()> {
        let sealed = self.siv.encrypt([associated(self.number, last)], &self.buffer);
        let sealed = sealed.map_err(|_| io::Error::other("a chunk could not be sealed"))?;
        self.out.write_all(&sealed)?;
        self.buffer.clear();
        self.number += 1;
        Ok(())
    }

    /// Seals the end, and gives back what lies below.
    ///
    /// # Errors
    /// Those of the stream below.
    pub fn finish(mut self) -> io::Result<W> {
        self.seal(true)?;
        Ok(self.out)
    }
}

/// Opens a sealed stream; nothing of a chunk is seen before the whole chunk is found to be in place.
pub struct Opener<R> {
    path: PathBuf,
    from: R,
    header: Header,
    siv: Aes256Siv,
    /// The next sealed chunk, read ahead: whether it is empty tells whether the one before is the last.
    ahead: Vec<u8>,
    opened: Vec<u8>,
    used: usize,
    number: u64,
    at: u64,
    ended: bool,
}

impl<R: Read> Opener<R> {
    /// Reads the header. `path` is for messages.
    ///
    /// # Errors
    /// [`BackupError`]: no backup, or another gate's.
    pub fn new(path: &Path, mut from: R, gate: PrincipalId, key: &BackupKey) -> Result<Self, BackupError> {
        let mut bytes = [0; HEADER];
        from.read_exact(&mut bytes).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => BackupError::NotABackup(path.into()),
            _ => BackupError::io(path, &e),
        })?;
        let header = decode(&bytes).ok_or_else(|| BackupError::NotABackup(path.into()))?;
        if header.gate != gate {
            return Err(BackupError::OtherGate { path: path.into(), found: header.gate, keys: gate });
        }
        let siv = Aes256Siv::new((&*key.of_file(&bytes)).into());
        let (path, at) = (path.to_owned(), HEADER as u64);
        let mut opener = Self {
            path,
            from,
            header,
            siv,
            ahead: Vec::new(),
            opened: Vec::new(),
            used: 0,
            number: 0,
            at,
            ended: false,
        };
        opener.ahead = opener.chunk()?;
        Ok(opener)
    }

    /// What it says about itself. True once the first byte has been read.
    pub fn header(&self) -> Header {
        self.header
    }

    /// Where reading is, in the file.
    pub fn at(&self) -> u64 {
        self.at
    }

    pub(super) fn damaged(&self, what: impl Into<String>) -> BackupError {
        BackupError::Damaged { path: self.path.clone(), at: self.at, what: what.into() }
    }

    pub(super) fn unknown_table(&self, table: String) -> BackupError {
        BackupError::UnknownTable { path: self.path.clone(), table }
    }

    /// A sealed chunk; fewer bytes at the end of the file only.
    fn chunk(&mut self) -> Result<Vec<u8>, BackupError> {
        let mut bytes = Vec::with_capacity(CHUNK + TAG);
        let limit = (CHUNK + TAG) as u64;
        self.from.by_ref().take(limit).read_to_end(&mut bytes).map_err(|e| BackupError::io(&self.path, &e))?;
        Ok(bytes)
    }

    fn open_next(&mut self) -> Result<(), BackupError> {
        if self.ended {
            return Err(self.damaged("it ends in the middle of its content"));
        }
        let ahead = self.chunk()?;
        let sealed = std::mem::replace(&mut self.ahead, ahead);
        let last = self.ahead.is_empty();
        let opened = self.siv.decrypt([associated(self.number, last)], &sealed);
        self.opened = opened.map_err(|_| {
            self.damaged(match (self.number, last) {
                (0, _) => "its header or first chunk was changed, or it was cut off".to_owned(),
                (n, true) => format!("chunk {n}, the last in the file, was changed, or others followed it"),
                (n, false) => format!("chunk {n} was changed or is not in its place"),
            })
        })?;
        self.at += sealed.len() as u64;
        (self.used, self.ended) = (0, last);
        self.number += 1;
        Ok(())
    }

    /// The next `n` bytes. Memory grows with what is there, not with `n`.
    ///
    /// # Errors
    /// [`BackupError::Damaged`].
    pub fn take(&mut self, n: usize) -> Result<Vec<u8>, BackupError> {
        let mut out = Vec::with_capacity(n.min(CHUNK));
        while out.len() < n {
            if self.used == self.opened.len() {
                self.open_next()?;
            }
            let some = (n - out.len()).min(self.opened.len() - self.used);
            out.extend_from_slice(&self.opened[self.used..self.used + some]);
            self.used += some;
        }
        Ok(out)
    }

    /// As [`Opener::take`], of a length known when compiling.
    ///
    /// # Errors
    /// [`BackupError::Damaged`].
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], BackupError> {
        let bytes = self.take(N)?;
        <[u8; N]>::try_from(bytes).map_err(|_| self.damaged("it ends in the middle of its content"))
    }

    /// Whether all has been read.
    ///
    /// # Errors
    /// [`BackupError::Damaged`] when something follows.
    pub fn end(&mut self) -> Result<(), BackupError> {
        // An empty stream has a chunk too.
        if self.number == 0 {
            self.open_next()?;
        }
        if self.ended && self.used == self.opened.len() {
            Ok(())
        } else {
            Err(self.damaged("something follows its trailer"))
        }
    }
}

#[cfg(test)]
mod tests {
    use sealdex_crypto::IdentitySeed;

    use super::*;

    const GATE: PrincipalId = PrincipalId([7; 16]);
    const SEALED: usize = CHUNK + TAG;

    fn key() -> BackupKey {
        BackupKey::derive(&IdentitySeed::from_bytes(&[1; 32]))
    }

    /// Equal chunks, so that nothing but their place tells them apart.
    fn sealed(len: usize) -> Vec<u8> {
        let mut sealer = Sealer::new(Vec::new(), &Header { gate: GATE, taken_at: 5 }, &key()).expect("a header");
        sealer.add(&vec![9; len]).expect("content");
        sealer.finish().expect("an end")
    }

    fn open(bytes: &[u8], len: usize) -> Result<(), BackupError> {
        let mut opener = Opener::new(Path::new("b"), bytes, GATE, &key())?;
        assert_eq!(opener.header().taken_at, 5);
        assert!(opener.take(len)?.iter().all(|b| *b == 9));
        opener.end()
    }

    #[test]
    fn what_was_added_comes_out_whatever_its_length() {
        for len in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 5] {
            let bytes = sealed(len);
            assert_eq!(open(&bytes, len), Ok(()), "{len}");
            assert!(open(&bytes, len + 1).is_err() && (len == 0 || open(&bytes, len - 1).is_err()), "{len}");
        }
    }

    #[test]
    fn a_chunk_stands_in_its_place_and_only_the_last_is_the_last() {
        let bytes = sealed(3 * CHUNK);
        let (header, rest) = bytes.split_at(HEADER);
        let chunk = |n: usize| &rest[n * SEALED..(n + 1) * SEALED];
        assert_eq!(rest.len(), 3 * SEALED);
        let refused = |chunks: &[&[u8]], len| open(&[header, &chunks.concat()].concat(), len).is_err();
        assert!(refused(&[chunk(1), chunk(0), chunk(2)], 3 * CHUNK), "swapped");
        assert!(refused(&[chunk(1), chunk(2)], 2 * CHUNK), "the first left out");
        assert!(refused(&[chunk(0), chunk(2)], 2 * CHUNK), "the second left out");
        assert!(refused(&[chunk(0), chunk(1)], 2 * CHUNK), "the last left out");
        assert!(refused(&[chunk(0), chunk(1), chunk(1), chunk(2)], 4 * CHUNK), "one twice");
        assert!(refused(&[rest, &[0]], 3 * CHUNK) && refused(&[rest, chunk(2)], 4 * CHUNK), "added");
        assert!(refused(&[], 0), "none");
        // A chunk of another backup of the same gate, at the same place.
        let other = sealed(3 * CHUNK);
        assert!(refused(&[chunk(0), &other[HEADER + SEALED..HEADER + 2 * SEALED], chunk(2)], 3 * CHUNK));
    }
}
