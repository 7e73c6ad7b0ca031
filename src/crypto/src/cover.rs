//! Cover (section 10): ranges without order. A value carries a token for each of its 4-ary
//! dyadic ancestors, and a range is the few ancestors that together are exactly it.

/// Widest field in bits.
pub const MAX_BITS: u8 = 20;

/// Why there is no path or cover.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CoverError {
    /// Odd, zero or above 20.
    #[error("a cover field has an even number of bits from 2 to {MAX_BITS}, not {0}")]
    Width(u8),
    /// The value needs more bits than the field has.
    #[error("{value} does not fit {bits} bits")]
    OutOfRange {
        /// The value.
        value: u32,
        /// Bits it should fit.
        bits: u8,
    },
    /// A range whose lower end is above its upper end.
    #[error("the range runs from {from} down to {to}; its lower end comes first")]
    Reversed {
        /// Lower end.
        from: u32,
        /// Upper end.
        to: u32,
    },
}

/// The value's ancestors as (length, prefix), at lengths `bits, bits − 2, …, 2`.
///
/// # Errors
/// [`CoverError`] if the width is not allowed or the value does not fit it.
pub fn path(bits: u8, q: u32) -> Result<Vec<(u8, u32)>, CoverError> {
    check(bits, q)?;
    let mut lengths: Vec<u8> = (2..=bits).step_by(2).collect();
    lengths.reverse();
    let ancestors = lengths.into_iter().map(|len| (len, q >> (bits - len)));
    Ok(ancestors.collect())
}

/// The fewest (length, prefix) nodes that cover `[from, to]` exactly, from left to right.
///
/// # Errors
/// [`CoverError`] if the width is not allowed, an end does not fit it, or the ends are reversed.
pub fn cover(bits: u8, from: u32, to: u32) -> Result<Vec<(u8, u32)>, CoverError> {
    check(bits, from)?;
    check(bits, to)?;
    if from > to {
        return Err(CoverError::Reversed { from, to });
    }
    let mut nodes = Vec::new();
    let mut next = from;
    while next <= to {
        // The largest aligned node that starts here and stays inside; the root has no token.
        let mut shift = 0;
        while shift + 2 < bits && is_inside(next, shift + 2, to) {
            shift += 2;
        }
        nodes.push((bits - shift, next >> shift));
        next += 1 << shift;
    }
    Ok(nodes)
}

/// `u8(length) ‖ u32(prefix)`, the value that becomes a token of field `<field>#cover`.
#[must_use]
pub fn value_bytes(length: u8, prefix: u32) -> [u8; 5] {
    let [a, b, c, d] = prefix.to_be_bytes();
    [length, a, b, c, d]
}

fn is_inside(start: u32, shift: u8, to: u32) -> bool {
    let last = (1_u32 << shift) - 1;
    start & last == 0 && start + last <= to
}

fn check(bits: u8, value: u32) -> Result<(), CoverError> {
    if bits == 0 || bits > MAX_BITS || !bits.is_multiple_of(2) {
        return Err(CoverError::Width(bits));
    }
    if value >> bits != 0 {
        return Err(CoverError::OutOfRange { value, bits });
    }
    Ok(())
}
