//! Getting rid of deleted documents, byte by byte, while the index is searched.
//!
//! tantivy marks a document as deleted and leaves its terms and columns where they are until the segment is merged with
//! others. Here each segment with such documents is written anew by itself, and its files are removed once no search reads
//! them.

use std::{thread, time::Duration};

use sealdex_dbfile::SPARE;
use sealdex_net::process;
use tantivy::{TantivyError, index::SegmentId};

use super::{
    IndexError, TantivyIndex,
    tantivy::{Payload, State},
};
use crate::store::StoreError;

/// How often it is looked whether something has ended.
const LOOK: Duration = Duration::from_millis(50);
/// Tries to write a segment anew, as others may merge it meanwhile.
const TRIES: u32 = 3;

/// What was written anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// Segments.
    pub segments: u64,
    /// Documents that were deleted.
    pub documents: u64,
    /// Whether no file with a deleted document of before is left. If not: they are in use, or there was no room.
    pub gone: bool,
}

impl TantivyIndex {
    pub(super) fn purge_while(&self, go_on: &dyn Fn() -> bool) -> Result<Purged, IndexError> {
        let mut purged = Purged::default();
        let mut old = Vec::new();
        // Twice: a merge that had begun before may have brought documents along that were deleted under way. There is one
        // thread for merges, so it has ended before those of here do.
        for _ in 0..2 {
            for (segment, documents) in self.with_deleted()? {
                if !go_on() {
                    return Ok(purged);
                }
                old.push(segment);
                if self.write_anew(segment, go_on)? {
                    purged.segments += 1;
                    purged.documents += u64::from(documents);
                }
            }
        }
        self.move_on()?;
        purged.gone = self.let_go(&old, go_on)?;
        Ok(purged)
    }

    /// Segments with deleted documents, and how many. Not their metadata: who holds that keeps the files.
    fn with_deleted(&self) -> Result<Vec<(SegmentId, u32)>, IndexError> {
        let metas = self.writer().index().searchable_segment_metas()?;
        let with = metas.iter().filter(|m| m.num_deleted_docs() > 0);
        Ok(with.map(|m| (m.id(), m.num_deleted_docs())).collect())
    }

    /// False if it is not there any more.
    fn write_anew(&self, segment: SegmentId, go_on: &dyn Fn() -> bool) -> Result<bool, IndexError> {
        self.room_for(segment)?;
        let mut failure = None;
        for _ in 0..TRIES {
            let merged = {
                let mut writer = self.writer();
                if !writer.index().searchable_segment_ids()?.contains(&segment) {
                    return Ok(false);
                }
                writer.merge(&[segment])
            };
            match merged.wait() {
                Ok(_) => return Ok(true),
                Err(e) => failure = Some(e),
            }
            if !go_on() {
                return Ok(false);
            }
            thread::sleep(LOOK);
        }
        Err(failure.unwrap_or(TantivyError::SystemError("no merge was tried".into())).into())
    }

    /// Whether the disk takes another one like it, and leaves room for who writes to the store.
    fn room_for(&self, segment: SegmentId) -> Result<(), IndexError> {
        let needed = self.files_of(&[segment])?.iter().map(|(_, bytes)| bytes).sum::<u64>() + 2 * SPARE;
        match process::disk(self.dir()).filter(|(free, _)| *free < needed) {
            Some((free, _)) => {
                let [free, needed] = [free, needed].map(|bytes| bytes >> 20);
                let reason = format!("a segment written anew takes {needed} MiB at most, and {free} MiB are left");
                Err(StoreError::NoSpace(reason).into())
            }
            None => Ok(()),
        }
    }

    /// Names and lengths.
    fn files_of(&self, segments: &[SegmentId]) -> Result<Vec<(String, u64)>, IndexError> {
        let names: Vec<String> = segments.iter().map(SegmentId::uuid_string).collect();
        let files = std::fs::read_dir(self.dir()).map_err(|e| IndexError::Backend(Box::new(e)))?;
        // One that goes meanwhile is none.
        let files = files.filter_map(|f| {
            let f = f.ok()?;
            Some((f.file_name().into_string().ok()?, f.metadata().ok()?.len()))
        });
        Ok(files.filter(|(file, _)| names.iter().any(|name| file.starts_with(name.as_str()))).collect())
    }

    /// Lets searches see the new segments, if the last commit is what they see already.
    pub(super) fn move_on(&self) -> Result<(), IndexError> {
        let writer = self.writer();
        let have = Payload::of(&writer.index().load_metas()?.payload.unwrap_or_default());
        let Some(State { snapshot, .. }) = self.state() else { return Ok(()) };
        if have.is_none_or(|p| p.store != snapshot.store_id() || p.seq != snapshot.last_seq()) {
            return Ok(());
        }
        self.reader().reload()?;
        self.show(self.reader().searcher(), snapshot)?;
        Ok(())
    }

    /// Waits until no file of these segments is left.
    fn let_go(&self, old: &[SegmentId], go_on: &dyn Fn() -> bool) -> Result<bool, IndexError> {
        loop {
            let collected = self.writer().garbage_collect_files();
            collected.wait()?;
            if self.files_of(old)?.is_empty() {
                return Ok(true);
            }
            if !go_on() {
                return Ok(false);
            }
            thread::sleep(LOOK);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_to_do_is_done() {
        let dir = tempfile::tempdir().unwrap();
        let index = TantivyIndex::open(&dir.path().join("index")).unwrap();
        assert_eq!(index.purge_while(&|| true).unwrap(), Purged { gone: true, ..Purged::default() });
    }
}
