//! What was not pushed, and why: one JSON line each.

use std::{
    fs::File,
    io::{self, BufWriter, Write as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

/// A record that was refused on the hospital's side. The reason may quote a value: the file stays with
/// the hospital.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reject {
    /// File.
    pub file: PathBuf,
    /// Line, counted from 1; for a Bundle the entry's number.
    pub line: u64,
    /// `Type/id` when it could be read.
    pub record: Option<String>,
    /// What is wrong.
    pub reason: String,
}

impl std::fmt::Display for Reject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)?;
        if let Some(record) = &self.record {
            write!(f, " ({record})")?;
        }
        write!(f, ": {}", self.reason)
    }
}

/// Most rejects kept for showing; the file has all.
const SHOWN: usize = 20;

/// Writes rejects as they come; the file appears with the first.
pub(crate) struct RejectLog {
    path: Option<PathBuf>,
    file: Option<BufWriter<File>>,
    pub(crate) count: u64,
    pub(crate) first: Vec<Reject>,
}

impl RejectLog {
    /// An earlier run's file is replaced, or removed when this run rejects nothing.
    pub(crate) fn new(path: Option<&Path>) -> io::Result<Self> {
        if let Some(path) = path {
            match std::fs::remove_file(path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
        }
        Ok(Self { path: path.map(Into::into), file: None, count: 0, first: Vec::new() })
    }

    pub(crate) fn add(&mut self, reject: Reject) -> io::Result<()> {
        if let Some(path) = &self.path {
            let file = match &mut self.file {
                Some(file) => file,
                None => self.file.insert(BufWriter::new(File::create(path)?)),
            };
            serde_json::to_writer(&mut *file, &reject)?;
            file.write_all(b"\n")?;
        }
        self.count += 1;
        if self.first.len() < SHOWN {
            self.first.push(reject);
        }
        Ok(())
    }

    pub(crate) fn finish(&mut self) -> io::Result<()> {
        match &mut self.file {
            Some(file) => {
                file.flush()?;
                file.get_ref().sync_all()
            }
            None => Ok(()),
        }
    }
}
