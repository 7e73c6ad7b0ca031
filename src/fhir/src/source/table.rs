//! Rows of a table, by a mapping.

use std::{
    io::{self, Read},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde_json::Value as Json;

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
    /// How every record begins, up to its id.
    begins: String,
    /// Memory of the row that was read last.
    row: csv::ByteRecord,
    /// Bytes of the longest record so far: the next one hardly needs more.
    longest: usize,
    done: bool,
}

struct Column {
    name: String,
    number: bool,
    /// How the column's member begins: a comma, its name, a colon. Empty for a column that is the record's id.
    begins: String,
}

impl Column {
    fn new(name: String, mapping: &Mapping) -> Self {
        let number = mapping.numbers.contains(&name);
        let begins =
            if is_the_id(&name, number, mapping) { String::new() } else { format!(",{}:", Json::from(name.as_str())) };
        Self { name, number, begins }
    }
}

fn is_the_id(name: &str, number: bool, mapping: &Mapping) -> bool {
    name == "id" && mapping.id == "id" && !number
}

/// Members every record gets from the mapping; a column of that name would overwrite them.
const RESERVED: [&str; 3] = ["resourceType", "id", "subject"];

fn check_header(columns: &[Column], mapping: &Mapping) -> Result<(), String> {
    for (i, column) in columns.iter().enumerate() {
        let name = &column.name;
        if columns[..i].iter().any(|c| c.name == *name) {
            return Err(format!("has two columns named \"{name}\": rename one"));
        }
        if RESERVED.contains(&name.as_str()) && !is_the_id(name, column.number, mapping) {
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
            .map(|name| Column::new(name, mapping))
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
        let begins = format!("{{\"resourceType\":{},\"id\":", Json::from(mapping.record_type.as_str()));
        let (row, mapping) = (csv::ByteRecord::new(), mapping.clone());
        Ok(Self { id, owner, columns, reader, left, file, mapping, begins, row, longest: 0, done: false })
    }

    /// The record of a row, as JSON text.
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
        let mut out = Vec::with_capacity(self.longest);
        out.extend_from_slice(self.begins.as_bytes());
        put_text(&mut out, id);
        // A legal id has nothing that JSON escapes.
        out.extend_from_slice(b",\"subject\":{\"reference\":\"Patient/");
        out.extend_from_slice(owner.as_bytes());
        out.extend_from_slice(b"\"}");
        for (i, column) in self.columns.iter().enumerate().filter(|(_, c)| !c.begins.is_empty()) {
            let Some(value) = cell(i) else { continue };
            out.extend_from_slice(column.begins.as_bytes());
            if column.number {
                let number: serde_json::Number =
                    value.parse().map_err(|_| RejectReason::Number(column.name.clone()))?;
                out.extend_from_slice(number.as_str().as_bytes());
            } else {
                put_text(&mut out, value);
            }
        }
        out.push(b'}');
        Ok(out)
    }
}

/// Appends a JSON string.
fn put_text(out: &mut Vec<u8>, text: &str) {
    if text.bytes().all(|b| b >= b' ' && b != b'"' && b != b'\\') {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        out.extend_from_slice(Json::from(text).to_string().as_bytes());
    }
}

impl Iterator for Rows {
    type Item = SourceItem;

    fn next(&mut self) -> Option<SourceItem> {
        if self.done {
            return None;
        }
        self.left.store(MAX_ROW, Ordering::Relaxed);
        let mut row = std::mem::take(&mut self.row);
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
                Ok(row) => {
                    let record = self.record(&row);
                    self.row = row.into_byte_record();
                    match record {
                        Ok(bytes) => {
                            self.longest = self.longest.max(bytes.len());
                            Some(SourceItem::Record(RawRecord::new(bytes, self.file.clone(), line)))
                        }
                        Err(reason) => rejected(reason),
                    }
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use serde_json::{Map, Number};

    use super::*;

    const MAPPING: &str =
        "record_type = \"Stay\"\nid = \"id\"\nowner = \"who\"\nmissing = [\"\", \"?\"]\nnumbers = [\"n\"]";

    fn texts(table: &str, mapping: &str) -> Vec<String> {
        let (reader, mapping) =
            (Box::new(Cursor::new(table.to_owned().into_bytes())), Mapping::parse(mapping).unwrap());
        let rows = Rows::new(reader, Path::new("t.csv").into(), &mapping).unwrap();
        rows.map(|item| match item {
            SourceItem::Record(raw) => String::from_utf8(crate::Record::parse(raw).unwrap().bytes).unwrap(),
            other => panic!("{other:?}"),
        })
        .collect()
    }

    /// What a JSON library makes of the same values: a version that is pushed again must have the same bytes.
    fn plain(id: &str, owner: &str, rest: &[(&str, Json)]) -> String {
        let mut out = Map::new();
        out.insert("resourceType".into(), "Stay".into());
        out.insert("id".into(), id.into());
        out.insert("subject".into(), serde_json::json!({ "reference": format!("Patient/{owner}") }));
        out.extend([("who".to_owned(), owner.into())]);
        out.extend(rest.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        Json::Object(out).to_string()
    }

    #[test]
    fn records_are_what_a_json_library_writes() {
        let table = "id,who,n,\"the \"\"text\"\"\",other\n\
            1,p,1.50,\"a \"\"b\"\" \\ c\nd\te\u{1}\",é\u{2028}\u{7f}\n\
            2,q,?,,x\n\
            3,q,-0.25e-3, y ,\"\"\n";
        let number = |text: &str| Json::Number(text.parse::<Number>().unwrap());
        let odd = "the \"text\"";
        let expected = [
            plain(
                "1",
                "p",
                &[("n", number("1.50")), (odd, "a \"b\" \\ c\nd\te\u{1}".into()), ("other", "é\u{2028}\u{7f}".into())],
            ),
            plain("2", "q", &[("other", "x".into())]),
            plain("3", "q", &[("n", number("-0.25e-3")), (odd, "y".into())]),
        ];
        assert_eq!(texts(table, MAPPING), expected);
    }

    #[test]
    fn a_column_that_is_no_id_by_itself_is_a_member() {
        let mapping = MAPPING.replace("id = \"id\"", "id = \"row\"");
        let expected = plain("7", "p", &[("row", "7".into())]);
        assert_eq!(texts("who,row,n\np,7,\n", &mapping), [expected]);
    }
}
