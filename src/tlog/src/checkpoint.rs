//! Checkpoints: the text in which a log says how large it is and what its root is (C2SP
//! tlog-checkpoint). Signing and checking is [`crate::note`] and [`crate::policy`].

use std::fmt;

use sealdex_crypto::log::Hash;

use crate::base64;

/// Bytes an origin may have: what every kind of cosignature can name.
pub const MAX_ORIGIN_BYTES: usize = 255;

/// Entries a log may have, 2⁶³ - 1: what implementations with signed numbers can count.
pub const MAX_SIZE: u64 = i64::MAX as u64;

/// Extension lines a checkpoint may have.
pub const MAX_EXTENSIONS: usize = 16;

/// Bytes an extension line may have.
pub const MAX_EXTENSION_BYTES: usize = 1024;

/// Why a text is no checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Fewer than three lines, or the last has no newline.
    #[error("a checkpoint is an origin, a size and a root, each on a line that ends in a newline")]
    Lines,
    /// An origin that is empty, too long or more than a line.
    #[error("a checkpoint's origin is a line of 1 to {MAX_ORIGIN_BYTES} bytes without control characters")]
    Origin,
    /// A size that is no decimal number within bounds, or one with leading zeroes.
    #[error("a checkpoint's size is a decimal number of at most {MAX_SIZE} without leading zeroes")]
    Size,
    /// A root that is no hash.
    #[error("a checkpoint's root is 32 bytes in base64")]
    Root,
    /// An extension that is empty, too long or more than a line.
    #[error("extension {line} of the checkpoint is not a line of 1 to {MAX_EXTENSION_BYTES} bytes")]
    Extension {
        /// Which of them, from 1.
        line: usize,
    },
    /// More of them than [`MAX_EXTENSIONS`].
    #[error("the checkpoint has {found} extensions, at most {MAX_EXTENSIONS} are read")]
    TooManyExtensions {
        /// How many there are.
        found: usize,
    },
}

/// A log's size and root, with its name. Nothing says yet that the log has signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    origin: String,
    size: u64,
    root: Hash,
    extensions: Vec<String>,
}

impl Checkpoint {
    /// A checkpoint without extensions.
    ///
    /// # Errors
    /// [`CheckpointError::Origin`] or [`CheckpointError::Size`].
    pub fn new(origin: impl Into<String>, size: u64, root: Hash) -> Result<Self, CheckpointError> {
        let origin = origin.into();
        if origin.len() > MAX_ORIGIN_BYTES || !is_line(&origin) {
            return Err(CheckpointError::Origin);
        }
        if size > MAX_SIZE {
            return Err(CheckpointError::Size);
        }
        Ok(Self { origin, size, root, extensions: Vec::new() })
    }

    /// The same with extension lines, in place of those it has.
    ///
    /// # Errors
    /// [`CheckpointError::Extension`] or [`CheckpointError::TooManyExtensions`].
    pub fn with_extensions(mut self, extensions: Vec<String>) -> Result<Self, CheckpointError> {
        if extensions.len() > MAX_EXTENSIONS {
            return Err(CheckpointError::TooManyExtensions { found: extensions.len() });
        }
        let bad = |line: &String| line.len() > MAX_EXTENSION_BYTES || !is_line(line);
        if let Some(i) = extensions.iter().position(bad) {
            return Err(CheckpointError::Extension { line: i + 1 });
        }
        self.extensions = extensions;
        Ok(self)
    }

    /// Reads a note's text. Exactly one text stands for each checkpoint, so the checkpoint of a
    /// checked note gives back what was signed.
    ///
    /// # Errors
    /// [`CheckpointError`] unless it follows tlog-checkpoint, "Note text", within this module's
    /// bounds.
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let mut lines = text.strip_suffix('\n').ok_or(CheckpointError::Lines)?.split('\n');
        let mut line = || lines.next().ok_or(CheckpointError::Lines);
        let (origin, size, root) = (line()?, line()?, line()?);
        let size = parse_decimal(size).ok_or(CheckpointError::Size)?;
        let checkpoint = Self::new(origin, size, base64::decode_hash(root).ok_or(CheckpointError::Root)?)?;
        checkpoint.with_extensions(lines.map(str::to_owned).collect())
    }

    /// Which log.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Number of entries.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Root of the tree over them (RFC 6962).
    #[must_use]
    pub fn root(&self) -> &Hash {
        &self.root
    }

    /// Lines the specification gives no meaning, without their newlines.
    #[must_use]
    pub fn extensions(&self) -> &[String] {
        &self.extensions
    }
}

/// The text that is signed.
impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n{}", self.origin, self.size, base64::encode(&self.root))?;
        self.extensions.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// A number as checkpoints, paths and requests have it: ASCII digits, no leading zero, at most
/// [`MAX_SIZE`].
pub(crate) fn parse_decimal(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits || (text.len() > 1 && text.starts_with('0')) {
        return None;
    }
    text.parse().ok().filter(|n| *n <= MAX_SIZE)
}

fn is_line(text: &str) -> bool {
    !text.is_empty() && !text.bytes().any(|b| b < b' ')
}
