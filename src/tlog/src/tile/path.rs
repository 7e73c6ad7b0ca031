//! Names of tiles and the paths they are served at.

use std::fmt;

use super::{TILE_HEIGHT, TILE_WIDTH, TileError};
use crate::checkpoint::parse_decimal;

/// Highest level a path can name. No tree within [`crate::checkpoint::MAX_SIZE`] reaches above 7.
pub const MAX_LEVEL: u8 = 63;

/// What a tile holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TileKind {
    /// Hashes of subtrees of 256^level entries; of the entries themselves at level 0.
    Hashes(u8),
    /// Entries.
    Entries,
}

/// Name of a tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TileId {
    kind: TileKind,
    index: u64,
    width: u16,
}

impl TileId {
    /// The tile `index` of its kind with `width` hashes or entries.
    ///
    /// # Errors
    /// [`TileError::Level`] or [`TileError::Width`].
    pub fn new(kind: TileKind, index: u64, width: u16) -> Result<Self, TileError> {
        match kind {
            TileKind::Hashes(level) if level > MAX_LEVEL => Err(TileError::Level { level }),
            _ if !(1..=TILE_WIDTH).contains(&width) => Err(TileError::Width { width }),
            _ => Ok(Self { kind, index, width }),
        }
    }

    /// As [`Self::new`], for a level and a width that are within bounds.
    pub(crate) fn known(kind: TileKind, index: u64, width: u16) -> Self {
        debug_assert!(Self::new(kind, index, width).is_ok());
        Self { kind, index, width }
    }

    /// The tile as it is in a tree of `size` entries, `None` where that has none. Partial if it
    /// is the last of its level and not full.
    #[must_use]
    pub fn in_tree(kind: TileKind, index: u64, size: u64) -> Option<Self> {
        let count = nodes(kind, size);
        let width = count.checked_sub(index.checked_mul(TILE_WIDTH.into())?)?.min(TILE_WIDTH.into());
        Self::new(kind, index, u16::try_from(width).ok()?).ok()
    }

    /// What it holds.
    #[must_use]
    pub fn kind(&self) -> TileKind {
        self.kind
    }

    /// Which of its kind, from 0.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Hashes or entries it has, 1 to 256.
    #[must_use]
    pub fn width(&self) -> u16 {
        self.width
    }

    /// Whether it can still grow.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.width < TILE_WIDTH
    }

    /// The tile once it is full.
    #[must_use]
    pub fn full(&self) -> Self {
        Self { width: TILE_WIDTH, ..*self }
    }

    /// Reads a path, `tile/0/x001/234.p/5`.
    ///
    /// # Errors
    /// [`TileError::Path`] for anything that [`fmt::Display`] does not write.
    pub fn parse(path: &str) -> Result<Self, TileError> {
        parse(path).ok_or(TileError::Path)
    }
}

impl fmt::Display for TileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            TileKind::Hashes(level) => write!(f, "tile/{level}/")?,
            TileKind::Entries => f.write_str("tile/entries/")?,
        }
        write_index(f, self.index)?;
        if self.is_partial() { write!(f, ".p/{}", self.width) } else { Ok(()) }
    }
}

/// Hashes of a level, or entries, that a tree has.
fn nodes(kind: TileKind, size: u64) -> u64 {
    match kind {
        TileKind::Hashes(level) => size.checked_shr(u32::from(level) * TILE_HEIGHT).unwrap_or(0),
        TileKind::Entries => size,
    }
}

/// Groups of three digits, each but the last after an `x`.
fn write_index(f: &mut fmt::Formatter<'_>, index: u64) -> fmt::Result {
    let mut groups = vec![index % 1000];
    let mut rest = index / 1000;
    while rest > 0 {
        groups.push(rest % 1000);
        rest /= 1000;
    }
    while groups.len() > 1 {
        if let Some(group) = groups.pop() {
            write!(f, "x{group:03}/")?;
        }
    }
    write!(f, "{:03}", groups[0])
}

fn parse(path: &str) -> Option<TileId> {
    let (kind, rest) = path.strip_prefix("tile/")?.split_once('/')?;
    let kind = match kind {
        "entries" => TileKind::Entries,
        level => TileKind::Hashes(parse_decimal(level)?.try_into().ok()?),
    };
    let (index, width) = match rest.split_once(".p/") {
        Some((index, width)) => (index, parse_decimal(width)?.try_into().ok().filter(|w| *w < TILE_WIDTH)?),
        None => (rest, TILE_WIDTH),
    };
    TileId::new(kind, parse_index(index)?, width).ok()
}

fn parse_index(text: &str) -> Option<u64> {
    let mut groups = text.split('/').peekable();
    // A leading group of zeroes would be a second name for the same tile.
    if text.starts_with("x000/") {
        return None;
    }
    let mut index: u64 = 0;
    while let Some(group) = groups.next() {
        let digits = if groups.peek().is_some() { group.strip_prefix('x')? } else { group };
        if digits.len() != 3 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        index = index.checked_mul(1000)?.checked_add(digits.parse().ok()?)?;
    }
    Some(index)
}
