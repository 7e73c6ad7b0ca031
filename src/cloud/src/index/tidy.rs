//! Merging small segments while nothing comes in: a search looks into the dictionary of each.
//!
//! While batches come, segments are merged twelve of a size at a time, so that each document is written only a few times. What
//! is left of that when nothing more comes, up to eleven of every size, is merged here.

use std::{
    cmp::Reverse,
    pin::Pin,
    sync::PoisonError,
    task::{Context, Poll, Waker},
};

use tantivy::{FutureResult, index::SegmentMeta};

use super::{IndexError, TantivyIndex};

/// Segments of an index at rest, at most.
const FEW: usize = 3;
/// Records of a merged segment, at most. The places of a column's values are 32 bits, and a record has up to 67 values
/// ([`super::columns`]).
pub(super) const MOST: u32 = 32 << 20;
/// Times that merges of the usual kind are waited for. None may have begun: they do at a commit.
const WAITS: u32 = 30;

/// What is being tidied.
#[derive(Default)]
pub(super) struct Tidying {
    merging: Option<FutureResult<Option<SegmentMeta>>>,
    waited: u32,
}

impl TantivyIndex {
    /// Begins to merge the smallest segments, unless there are few, and lets searches see what was merged. Whether there is
    /// something to come back for.
    pub(super) fn tidy_up(&self) -> Result<bool, IndexError> {
        let mut tidying = self.tidying.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(merging) = &mut tidying.merging {
            match Pin::new(merging).poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Pending => return Ok(true),
                // Failed or not, what there is now decides.
                Poll::Ready(_) => tidying.merging = None,
            }
        }
        self.move_on()?;
        let mut writer = self.writer();
        let mut segments: Vec<_> = writer.index().searchable_segment_metas()?;
        if segments.len() <= FEW {
            tidying.waited = 0;
            return Ok(false);
        }
        // Segments that are merged already would be merged twice.
        if tidying.waited < WAITS && !writer.get_merge_policy().compute_merge_candidates(&segments).is_empty() {
            tidying.waited += 1;
            return Ok(true);
        }
        tidying.waited = 0;
        segments.sort_by_key(|segment| Reverse(segment.num_docs()));
        let mut records = 0_u32;
        let fits = |segment: &&SegmentMeta| {
            records = records.saturating_add(segment.max_doc());
            records <= MOST
        };
        // The smallest, as many as one segment may have.
        let small: Vec<_> = segments[FEW - 1..].iter().rev().take_while(fits).map(SegmentMeta::id).collect();
        if small.len() < 2 {
            return Ok(false);
        }
        tidying.merging = Some(writer.merge(&small));
        Ok(true)
    }
}
