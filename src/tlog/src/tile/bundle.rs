//! Entry bundles.

use super::{TILE_WIDTH, TileError};

/// Bytes an entry may have: its length is written in two.
pub const MAX_ENTRY_BYTES: usize = u16::MAX as usize;

/// Neighbouring entries, each behind its length.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EntryBundle {
    bytes: Vec<u8>,
    /// Where each entry ends.
    ends: Vec<usize>,
}

impl EntryBundle {
    /// A bundle without entries.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a bundle of `width` entries.
    ///
    /// # Errors
    /// [`TileError`] unless there are exactly so many.
    pub fn parse(bytes: Vec<u8>, width: u16) -> Result<Self, TileError> {
        if !(1..=TILE_WIDTH).contains(&width) {
            return Err(TileError::Width { width });
        }
        let mut ends = Vec::with_capacity(width.into());
        let mut rest = bytes.as_slice();
        for entry in 0..width {
            let cut_off = TileError::BundleCutOff { entry, width };
            let (length, after) = rest.split_first_chunk::<2>().ok_or(cut_off.clone())?;
            rest = after.get(usize::from(u16::from_be_bytes(*length))..).ok_or(cut_off)?;
            ends.push(bytes.len() - rest.len());
        }
        if !rest.is_empty() {
            return Err(TileError::BundleTooLong { width, found: rest.len() });
        }
        Ok(Self { bytes, ends })
    }

    /// Adds an entry behind the others.
    ///
    /// # Errors
    /// [`TileError::EntryTooLong`], or [`TileError::Width`] if the bundle is full.
    pub fn push(&mut self, entry: &[u8]) -> Result<(), TileError> {
        let length = u16::try_from(entry.len()).map_err(|_| TileError::EntryTooLong { found: entry.len() })?;
        if self.width() == TILE_WIDTH {
            return Err(TileError::Width { width: TILE_WIDTH + 1 });
        }
        self.bytes.extend_from_slice(&length.to_be_bytes());
        self.bytes.extend_from_slice(entry);
        self.ends.push(self.bytes.len());
        Ok(())
    }

    /// Memory for entries of these lengths, as far as they fit.
    pub(crate) fn reserve(&mut self, lengths: impl Iterator<Item = usize>) {
        let left = usize::from(TILE_WIDTH - self.width());
        self.bytes.reserve(lengths.take(left).map(|length| 2 + length).sum());
    }

    /// Number of entries, at most 256.
    #[must_use]
    pub fn width(&self) -> u16 {
        self.ends.len() as u16
    }

    /// The entry at this place in the bundle.
    #[must_use]
    pub fn get(&self, place: usize) -> Option<&[u8]> {
        let end = *self.ends.get(place)?;
        let start = place.checked_sub(1).map_or(0, |before| self.ends[before]);
        self.bytes.get(start + 2..end)
    }

    /// The entries in their order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.ends.len()).filter_map(|place| self.get(place))
    }

    /// The bundle as it is stored and served.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Forgets all entries, keeping the memory.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }
}
