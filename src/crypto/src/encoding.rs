//! Length-prefixed parts (section 1): `lp(x) = u16(len x) ‖ x`.

/// The longest part that a 16-bit length can carry, in bytes.
pub const MAX_PART: usize = u16::MAX as usize;

/// A value is longer than its length prefix can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} is {len} bytes long; at most {max} fit, shorten it")]
pub struct TooLong {
    /// Which part it was.
    pub what: &'static str,
    /// Its length in bytes.
    pub len: usize,
    /// The longest length allowed, in bytes.
    pub max: usize,
}

/// The length prefix of a value from outside.
///
/// # Errors
/// [`TooLong`] above [`MAX_PART`] bytes.
pub(crate) fn checked_len(what: &'static str, part: &[u8]) -> Result<[u8; 2], TooLong> {
    match u16::try_from(part.len()) {
        Ok(len) => Ok(len.to_be_bytes()),
        Err(_) => Err(TooLong { what, len: part.len(), max: MAX_PART }),
    }
}

/// The length prefix of a name (domain, section, field, scope), which the schema and the wire
/// format hold to a few hundred bytes.
///
/// # Panics
/// Above [`MAX_PART`] bytes: a truncated length would let two different inputs hash alike.
pub(crate) fn name_len(part: &[u8]) -> [u8; 2] {
    assert!(
        part.len() <= MAX_PART,
        "a key-derivation part of {} bytes exceeds {MAX_PART}; bound names where they enter",
        part.len()
    );
    (part.len() as u16).to_be_bytes()
}

/// Appends `lp(part)`; panics as [`name_len`] does.
pub(crate) fn push_lp(out: &mut Vec<u8>, part: &[u8]) {
    out.extend_from_slice(&name_len(part));
    out.extend_from_slice(part);
}
