//! Rows of a table, by a mapping.

use std::{
    io::{self, Read},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde_json::{Map, Value as Json};

use super::{RejectReason, RejectedLine, SourceError, SourceItem};
use crate::{Mapping, RawRecord, record::legal_id};

/// Longest row, bytes.
const MAX_ROW: usize = 16 << 20;

/// A table that gives no more than [`MAX_ROW`] bytes for one row: a few kilobytes of gzip can hold one of gigabytes.
struct Bounded {
    table: Box<dyn Read + Send>,
    left: Arc<AtomicUsize>,
}

impl Read for Bounded {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let left = self.left.load(Ordering::Relaxed);
        if left == 0 {
            return Err(io::Error::other(format!("a row is longer than {MAX_ROW} bytes: is this a table?")));
        }
        let most = out.len().min(left);
        let n = self.table.read(&mut out[..most])?;
        self.left.store(left - n, Ordering::Relaxed);
        Ok(n)
    }
}

pub(super) struct Rows {
    reader: csv::Reader<Bounded>,
    /// What may still be read for the row that is next.
    left: Arc<AtomicUsize>,
    file: Arc<Path>,
    columns: Vec<Column>,
    id: usize,
    owner: usize,
    mapping: Mapping,
    done: bool,
}

struct Column {
    name: String,
    number: bool,
}

/// Members every record gets from the mapping; a column of that name would overwrite them.
const RESERVED: [&str; 3] = ["resourceType", "id", "subject"];

fn check_header(columns: &[Column], mapping: &Mapping) -> Result<(), String> {
    for (i, column) in columns.iter().enumerate() {
        let name = &column.name;
        if columns[..i].iter().any(|c| c.name == *name) {
            return Err(format!("has two columns named \"{name}\": rename one"));
        }
        let is_the_id = name == "id" && mapping.id == "id" && !column.number;
        if RESERVED.contains(&name.as_str()) && !is_the_id {
            return Err(format!("has a column \"{name}\", a name every record uses for itself: rename it"));
        }
    }
    Ok(())
}

impl Rows {
    pub(super) fn new(reader: Box<dyn Read + Send>, file: Arc<Path>, mapping: &Mapping) -> Result<Self, SourceError> {
        let left = Arc::new(AtomicUsize::new(MAX_ROW));
        let bounded = Bounded { table: reader, left: left.clone() };
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(bounded);
        let header = reader.headers().map_err(|e| SourceError::io(&file, std::io::Error::other(e.to_string())))?;
        let columns: Vec<Column> = header
            .iter()
            .map(|name| name.trim_start_matches('\u{feff}').trim().to_owned())
            .map(|name| Column { number: mapping.numbers.contains(&name), name })
            .collect();
        check_header(&columns, mapping).map_err(|reason| SourceError::Header { path: file.to_path_buf(), reason })?;
        let find = |name: &str| {
            columns.iter().position(|c| c.name == name).ok_or_else(|| SourceError::Column {
                path: file.to_path_buf(),
                column: name.into(),
                found: columns.iter().map(|c| c.name.as_str()).collect::<Vec<_>>().join(", "),
            })
        };
        let (id, owner) = (find(&mapping.id)?, find(&mapping.owner)?);
        for number in &mapping.numbers {
            find(number)?;
        }
        Ok(Self { id, owner, columns, reader, left, file, mapping: mapping.clone(), done: false })
    }

    fn record(&self, row: &csv::StringRecord) -> Result<Vec<u8>, RejectReason> {
        if row.len() != self.columns.len() {
            return Err(RejectReason::Cells { found: row.len(), expected: self.columns.len() });
        }
        let cell = |i: usize| row.get(i).map(str::trim).filter(|c| !self.mapping.missing.iter().any(|m| m == c));
        let legal = |i: usize| {
            let name = &self.columns[i].name;
            let value = cell(i).ok_or_else(|| RejectReason::Missing(name.clone()))?;
            if legal_id(value) { Ok(value) } else { Err(RejectReason::Id(name.clone())) }
        };
        let (id, owner) = (legal(self.id)?, legal(self.owner)?);
        let mut out = Map::new();
        out.insert("resourceType".into(), self.mapping.record_type.clone().into());
        out.insert("id".into(), id.into());
        out.insert("subject".into(), serde_json::json!({ "reference": format!("Patient/{owner}") }));
        for (i, column) in self.columns.iter().enumerate() {
            let Some(value) = cell(i) else { continue };
            let json = if column.number {
                let number: serde_json::Number =
                    value.parse().map_err(|_| RejectReason::Number(column.name.clone()))?;
                Json::Number(number)
            } else {
                value.into()
            };
            out.insert(column.name.clone(), json);
        }
        Ok(Json::Object(out).to_string().into_bytes())
    }
}

impl Iterator for Rows {
    type Item = SourceItem;

    fn next(&mut self) -> Option<SourceItem> {
        if self.done {
            return None;
        }
        self.left.store(MAX_ROW, Ordering::Relaxed);
        let mut row = csv::ByteRecord::new();
        let read = self.reader.read_byte_record(&mut row);
        let line = row.position().map_or(0, csv::Position::line);
        let rejected =
            |reason| Some(SourceItem::Rejected(RejectedLine { file: self.file.to_path_buf(), line, reason }));
        match read {
            Ok(false) => {
                self.done = true;
                None
            }
            Err(e) => {
                self.done = true;
                rejected(RejectReason::Io(e.to_string()))
            }
            Ok(true) => match csv::StringRecord::from_byte_record(row) {
                Err(_) => rejected(RejectReason::Utf8),
                Ok(row) => match self.record(&row) {
                    Ok(bytes) => Some(SourceItem::Record(RawRecord::new(bytes, self.file.clone(), line))),
                    Err(reason) => rejected(reason),
                },
            },
        }
    }
}
