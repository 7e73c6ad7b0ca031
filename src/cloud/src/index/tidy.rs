//! Merging small segments while nothing comes in: a search looks into the dictionary of each.
//!
//! While batches come, segments are merged six of a size at a time, so that each document is written only a few times. What
//! is left of that when nothing more comes, up to five of every size, is merged here.

use std::{cmp::Reverse, sync::PoisonError};

use super::{IndexError, TantivyIndex};

/// Segments of an index at rest, at most.
const FEW: usize = 3;

impl TantivyIndex {
    /// Begins to merge the smallest segments, unless there are few, and lets searches see what was merged. Whether there is
    /// something to come back for.
    pub(super) fn tidy_up(&self) -> Result<bool, IndexError> {
        self.move_on()?;
        let mut writer = self.writer();
        let mut segments: Vec<_> = writer.index().searchable_segment_metas()?;
        if segments.len() <= FEW {
            return Ok(false);
        }
        segments.sort_by_key(|segment| Reverse(segment.num_docs()));
        let small: Vec<_> = segments[FEW - 1..].iter().map(|segment| segment.id()).collect();
        let mut begun = self.tidying.lock().unwrap_or_else(PoisonError::into_inner);
        // Not its outcome is waited for, but that these segments are gone.
        if *begun != small {
            drop(writer.merge(&small));
            *begun = small;
        }
        Ok(true)
    }
}
