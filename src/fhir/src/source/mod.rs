//! Files and folders of records, as a stream of raw records. Whatever is not a record is said, never
//! dropped.

mod bulk;
mod bundle;
mod ndjson;
mod table;
mod text;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

pub use bulk::{BulkError, BulkFile, BulkManifest};

use crate::{Mapping, RawRecord};

/// What a source yields.
#[derive(Debug)]
pub enum SourceItem {
    /// A record.
    Record(RawRecord),
    /// A line or entry that cannot be one.
    Rejected(RejectedLine),
    /// A file without records.
    PassedOver {
        /// File.
        file: PathBuf,
        /// Why.
        reason: String,
    },
}

/// A line, row or entry that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedLine {
    /// File.
    pub file: PathBuf,
    /// Line, from 1; in a Bundle the entry's number; 0 for the file as a whole.
    pub line: u64,
    /// Why.
    pub reason: RejectReason,
}

/// Why a line was refused.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum RejectReason {
    /// Longer than a line may be.
    #[error("the line is longer than {0} bytes")]
    LineTooLong(usize),
    /// Larger than a file of this kind may be.
    #[error("the file is larger than {0} bytes; split it, or convert it to NDJSON")]
    FileTooLarge(u64),
    /// Reading failed half way.
    #[error("reading failed: {0}; what follows in this file was not read")]
    Io(String),
    /// Not JSON.
    #[error("not JSON: {0}")]
    Json(String),
    /// Not text.
    #[error("not UTF-8")]
    Utf8,
    /// A Bundle entry without a resource or id.
    #[error("{0}")]
    Entry(&'static str),
    /// A row with more or fewer cells than the header.
    #[error("the row has {found} cells, the header {expected}")]
    Cells {
        /// In the row.
        found: usize,
        /// In the header.
        expected: usize,
    },
    /// A row without an id or owner.
    #[error("column {0} is empty, but every record needs it")]
    Missing(String),
    /// An id that is none.
    #[error("column {0} holds no legal id (1 to 64 letters, digits, '-', '.')")]
    Id(String),
    /// Not a number in a column of numbers.
    #[error("column {0} holds no number")]
    Number(String),
}

/// Why a source could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The file system refused.
    #[error("{path}: {cause}")]
    Io {
        /// Path.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// Not a kind of file that holds records.
    #[error(
        "{0}: not a kind of file Sealdex reads: .ndjson, .json (Bundle or resource), .csv, .csv.gz, or a folder of them"
    )]
    Kind(PathBuf),
    /// A table without a mapping.
    #[error("{0}: a CSV file needs a mapping that says which columns identify rows and patients: give --mapping FILE")]
    NoMapping(PathBuf),
    /// A table whose header cannot be read as column names.
    #[error("{path}: the header {reason}")]
    Header {
        /// Path.
        path: PathBuf,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// A table without the mapped columns.
    #[error("{path}: the header has no column \"{column}\"; it has: {found}")]
    Column {
        /// Path.
        path: PathBuf,
        /// Column.
        column: String,
        /// Columns there are.
        found: String,
    },
}

impl SourceError {
    fn io(path: &Path, cause: io::Error) -> Self {
        Self::Io { path: path.into(), cause }
    }
}

/// What to read records from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A file of a known kind, or a folder of them.
    Path(PathBuf),
    /// An NDJSON file whose lines are all of one type.
    OfType {
        /// File.
        path: PathBuf,
        /// Resource type.
        resource_type: Arc<str>,
    },
}

impl Input {
    /// File or folder.
    pub fn path(&self) -> &Path {
        match self {
            Self::Path(path) | Self::OfType { path, .. } => path,
        }
    }
}

impl From<PathBuf> for Input {
    fn from(path: PathBuf) -> Self {
        Self::Path(path)
    }
}

type Items = Box<dyn Iterator<Item = SourceItem> + Send>;

/// Records of a file or folder, in order: folders sorted by name, depth first.
pub struct Source {
    items: Items,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ndjson,
    Json,
    Csv,
    CsvGz,
}

fn kind(path: &Path) -> Option<Kind> {
    let name = path.file_name()?.to_str()?.to_ascii_lowercase();
    let ends = |e: &str| name.ends_with(e);
    if ends(".ndjson") || ends(".jsonl") {
        Some(Kind::Ndjson)
    } else if ends(".json") {
        Some(Kind::Json)
    } else if ends(".csv") {
        Some(Kind::Csv)
    } else if ends(".csv.gz") {
        Some(Kind::CsvGz)
    } else {
        None
    }
}

impl Source {
    /// Opens an input.
    pub fn of(input: &Input, mapping: Option<&Mapping>) -> Result<Self, SourceError> {
        let Input::OfType { path, resource_type } = input else { return Self::open(input.path(), mapping) };
        let file = fs::File::open(path).map_err(|e| SourceError::io(path, e))?;
        let expected = resource_type.clone();
        let items = ndjson::Lines::new(file, path.as_path().into()).map(move |item| match item {
            SourceItem::Record(raw) => SourceItem::Record(raw.expecting(expected.clone())),
            other => other,
        });
        Ok(Self { items: Box::new(items) })
    }

    /// Opens a file, or a folder with everything in it.
    pub fn open(path: &Path, mapping: Option<&Mapping>) -> Result<Self, SourceError> {
        let meta = fs::metadata(path).map_err(|e| SourceError::io(path, e))?;
        if !meta.is_dir() {
            return file(path, mapping).map(|items| Self { items });
        }
        let files = walk(path)?;
        let mapping = mapping.cloned();
        let items = files.into_iter().flat_map(move |path| match file(&path, mapping.as_ref()) {
            Ok(items) => items,
            Err(
                e @ (SourceError::Kind(_)
                | SourceError::NoMapping(_)
                | SourceError::Header { .. }
                | SourceError::Column { .. }),
            ) => Box::new(std::iter::once(SourceItem::PassedOver { file: path, reason: e.to_string() })),
            Err(SourceError::Io { cause, .. }) => {
                let reason = RejectReason::Io(cause.to_string());
                Box::new(std::iter::once(SourceItem::Rejected(RejectedLine { file: path, line: 0, reason })))
            }
        });
        Ok(Self { items: Box::new(items) })
    }
}

impl Iterator for Source {
    type Item = SourceItem;

    fn next(&mut self) -> Option<SourceItem> {
        self.items.next()
    }
}

fn file(path: &Path, mapping: Option<&Mapping>) -> Result<Items, SourceError> {
    let shared: Arc<Path> = path.into();
    let open = || fs::File::open(path).map_err(|e| SourceError::io(path, e));
    match kind(path).ok_or_else(|| SourceError::Kind(path.into()))? {
        Kind::Ndjson => Ok(Box::new(ndjson::Lines::new(open()?, shared))),
        Kind::Json => Ok(bundle::items(open()?, shared)),
        table => {
            let mapping = mapping.ok_or_else(|| SourceError::NoMapping(path.into()))?;
            let reader: Box<dyn io::Read + Send> = match table {
                Kind::CsvGz => Box::new(flate2::read::MultiGzDecoder::new(open()?)),
                _ => Box::new(open()?),
            };
            Ok(Box::new(table::Rows::new(reader, shared, mapping)?))
        }
    }
}

fn walk(dir: &Path) -> Result<Vec<PathBuf>, SourceError> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(dir).map_err(|e| SourceError::io(dir, e))? {
        let path = entry.map_err(|e| SourceError::io(dir, e))?.path();
        if !path.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.')) {
            entries.push(path);
        }
    }
    entries.sort();
    let mut files = Vec::new();
    for path in entries {
        // A link to a folder is not followed: it could lead back up. It is passed over, with a word.
        if path.is_dir() && !path.is_symlink() { files.extend(walk(&path)?) } else { files.push(path) }
    }
    Ok(files)
}

/// Bytes a source will read, for progress.
pub fn total_bytes(path: &Path) -> Result<u64, SourceError> {
    let size = |p: &Path| fs::metadata(p).map(|m| m.len()).map_err(|e| SourceError::io(p, e));
    if path.is_dir() { walk(path)?.iter().map(|p| size(p)).sum() } else { size(path) }
}
