//! One record a line.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read as _},
    path::Path,
    sync::Arc,
};

use super::{RejectReason, RejectedLine, SourceItem};
use crate::RawRecord;

/// Longest line, bytes.
const MAX_LINE: usize = 16 << 20;

pub(super) struct Lines {
    reader: BufReader<File>,
    file: Arc<Path>,
    line: u64,
    done: bool,
}

impl Lines {
    pub(super) fn new(file: File, path: Arc<Path>) -> Self {
        Self { reader: BufReader::with_capacity(256 << 10, file), file: path, line: 0, done: false }
    }

    fn rejected(&self, reason: RejectReason) -> SourceItem {
        SourceItem::Rejected(RejectedLine { file: self.file.to_path_buf(), line: self.line, reason })
    }

    /// Skips to the end of an over-long line.
    fn skip_line(&mut self) -> std::io::Result<()> {
        loop {
            let buffer = self.reader.fill_buf()?;
            if buffer.is_empty() {
                return Ok(());
            }
            let (used, end) = match buffer.iter().position(|b| *b == b'\n') {
                Some(at) => (at + 1, true),
                None => (buffer.len(), false),
            };
            self.reader.consume(used);
            if end {
                return Ok(());
            }
        }
    }
}

impl Iterator for Lines {
    type Item = SourceItem;

    fn next(&mut self) -> Option<SourceItem> {
        while !self.done {
            let mut bytes = Vec::new();
            let read = self.reader.by_ref().take(MAX_LINE as u64 + 1).read_until(b'\n', &mut bytes);
            self.line += 1;
            match read {
                Ok(0) => break,
                Ok(n) if n > MAX_LINE && bytes.last() != Some(&b'\n') => {
                    self.done = self.skip_line().is_err();
                    return Some(self.rejected(RejectReason::LineTooLong(MAX_LINE)));
                }
                Ok(_) => {}
                Err(e) => {
                    self.done = true;
                    return Some(self.rejected(RejectReason::Io(e.to_string())));
                }
            }
            while bytes.last().is_some_and(|b| *b == b'\n' || *b == b'\r') {
                bytes.pop();
            }
            if self.line == 1 && bytes.starts_with(b"\xEF\xBB\xBF") {
                bytes.drain(..3);
            }
            if !bytes.iter().all(u8::is_ascii_whitespace) {
                return Some(SourceItem::Record(RawRecord::new(bytes, self.file.clone(), self.line)));
            }
        }
        self.done = true;
        None
    }
}
