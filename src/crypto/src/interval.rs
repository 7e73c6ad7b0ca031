//! The order walk (section 9): a keyed binary tree that gives every leaf an interval, together
//! tiling the range, in order.

use crate::kdf::Prf;
use crate::labels;

/// Why a value has no code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// Not 8, 12, …, 32.
    #[error("an ordered field has 8, 12, 16, 20, 24, 28 or 32 bits, not {0}")]
    Width(u8),
    /// The value needs more bits than the field has.
    #[error("{value} does not fit {bits} bits")]
    OutOfRange {
        /// The value.
        value: u64,
        /// Bits it should fit.
        bits: u8,
    },
    /// A range whose lower end is above its upper end.
    #[error("the range runs from {from} down to {to}; its lower end comes first")]
    Reversed {
        /// Lower end.
        from: u64,
        /// Upper end.
        to: u64,
    },
}

/// Width of a walk's values in bits: 8, 12, …, 32 for a field, 16 more for the outer layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bits(u8);

impl Bits {
    /// The widths a field may have.
    pub const FIELD: [Bits; 7] = [Bits(8), Bits(12), Bits(16), Bits(20), Bits(24), Bits(28), Bits(32)];

    /// A field's width.
    ///
    /// # Errors
    /// [`OrderError::Width`] unless 8, 12, …, 32.
    pub fn new(bits: u8) -> Result<Self, OrderError> {
        if (8..=32).contains(&bits) && bits.is_multiple_of(4) { Ok(Self(bits)) } else { Err(OrderError::Width(bits)) }
    }

    /// The smallest field width that holds `largest`; `None` above 32 bits.
    #[must_use]
    pub fn fitting(largest: u64) -> Option<Self> {
        Self::FIELD.into_iter().find(|bits| bits.holds(largest))
    }

    /// The width of this layer's codes, which is that of the next layer's values.
    #[must_use]
    pub fn outer(self) -> Self {
        // Only a field's width grows, and it is at most 32.
        Self(self.0.min(32) + 16)
    }

    /// Number of bits.
    #[must_use]
    pub fn get(self) -> u8 {
        self.0
    }

    /// Largest value.
    #[must_use]
    pub fn max(self) -> u64 {
        (1 << self.0) - 1
    }

    /// Whether a value fits.
    #[must_use]
    pub fn holds(self, value: u64) -> bool {
        value <= self.max()
    }

    pub(crate) fn check(self, value: u64) -> Result<(), OrderError> {
        if self.holds(value) { Ok(()) } else { Err(OrderError::OutOfRange { value, bits: self.0 }) }
    }
}

/// The key of a walk, prepared.
#[derive(Clone)]
pub struct WalkKey(Prf);

impl WalkKey {
    /// Prepares a 32-byte key.
    #[must_use]
    pub fn from_bytes(key: &[u8; 32]) -> Self {
        Self(Prf::new(key))
    }
}

/// Where the leaf `q` lies: its first code and the number of its codes (at least 16, and below
/// 2⁶⁴ although the whole range may have 2⁶⁴ codes). One HMAC for every four bits.
///
/// # Errors
/// [`OrderError::OutOfRange`] if `q` has more than `bits` bits.
pub fn interval(key: &WalkKey, bits: Bits, q: u64) -> Result<(u64, u64), OrderError> {
    bits.check(q)?;
    let width = u32::from(bits.0);
    let mut lo = 0_u64;
    let mut size = 1_u128 << (width + 16);
    // Half of the leaves under the current node, times the 16 codes each is owed.
    let mut owed = 16_u128 << (width - 1);
    let mut message = [0; 10];
    message[0] = labels::WALK_NODE;
    for group in 0..width / 4 {
        let top = width - 4 * group;
        message[1] = group as u8;
        message[2..].copy_from_slice(&(q >> top).to_be_bytes());
        let block = key.0.mac(&[&message]);
        let mut node = 1;
        for level in 1..=4 {
            let word = u16::from_be_bytes([block[2 * node], block[2 * node + 1]]);
            let left = (size / 4 + ((size * u128::from(word)) >> 17)).clamp(owed, size - owed);
            let bit = (q >> (top - level)) & 1;
            if bit == 0 {
                size = left;
            } else {
                lo += left as u64;
                size -= left;
            }
            node = 2 * node + bit as usize;
            owed /= 2;
        }
    }
    Ok((lo, size as u64))
}
