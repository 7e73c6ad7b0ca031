//! Quantisers (spec section 9): from exact values to integers, monotonically, without floating point.

use num_bigint::BigInt;
use num_integer::Integer as _;
use num_traits::ToPrimitive as _;

use crate::{Decimal, Instant};

const MIDDLE: u64 = 1 << 31;

/// How values of an ordered field become integers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Quantiser {
    /// Steps of equal width between two bounds; `bits` is the smallest of 8, 12, …, 32 that fits.
    Linear {
        /// Smallest value.
        min: Decimal,
        /// Largest value.
        max: Decimal,
        /// Width of a step, above zero.
        step: Decimal,
        /// Width of the result.
        bits: u8,
    },
    /// Seven significant decimal digits; 32 bits.
    Decimal7,
    /// Minutes of an instant; 32 bits.
    Minute,
    /// Days of a date; 20 bits.
    Day,
}

/// Why a value has no quantised form.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum QuantiserError {
    /// Outside the field's bounds.
    #[error("the value lies outside the field's range")]
    OutOfRange,
    /// Bounds or step that make no quantiser.
    #[error("min must not exceed max, step must be above zero, and (max − min)/step must stay below 2^32")]
    Bounds,
}

fn floor_steps(x: &Decimal, min: &Decimal, step: &Decimal) -> BigInt {
    let scale = x.scale().max(min.scale()).max(step.scale());
    (x.at_scale(scale) - min.at_scale(scale)).div_floor(&step.at_scale(scale))
}

impl Quantiser {
    /// A linear quantiser, its width chosen.
    pub fn linear(min: Decimal, max: Decimal, step: Decimal) -> Result<Self, QuantiserError> {
        if min > max || step <= Decimal::zero() {
            return Err(QuantiserError::Bounds);
        }
        let last = floor_steps(&max, &min, &step).to_u64().ok_or(QuantiserError::Bounds)?;
        let bits = (8..=32).step_by(4).find(|b| last >> b == 0).ok_or(QuantiserError::Bounds)?;
        Ok(Self::Linear { min, max, step, bits })
    }

    /// Width of the result in bits.
    pub fn bits(&self) -> u8 {
        match self {
            Self::Linear { bits, .. } => *bits,
            Self::Decimal7 | Self::Minute => 32,
            Self::Day => 20,
        }
    }

    /// Largest result.
    pub fn max_q(&self) -> u64 {
        (1 << self.bits()) - 1
    }

    /// Quantises a decimal. Only for `Linear` and `Decimal7`.
    pub fn decimal(&self, x: &Decimal) -> Result<u64, QuantiserError> {
        match self {
            Self::Linear { min, max, step, .. } => {
                if x < min || x > max {
                    return Err(QuantiserError::OutOfRange);
                }
                floor_steps(x, min, step).to_u64().ok_or(QuantiserError::OutOfRange)
            }
            Self::Decimal7 => decimal7(x),
            Self::Minute | Self::Day => Err(QuantiserError::OutOfRange),
        }
    }

    /// Quantises a query bound: values beyond the field's range become its ends, so that a range keeps
    /// everything it should hold.
    pub fn bound(&self, x: &Decimal) -> u64 {
        match self.decimal(x) {
            Ok(q) => q,
            Err(_) => {
                let below = match self {
                    Self::Linear { min, .. } => x < min,
                    _ => x.is_negative(),
                };
                if below { 0 } else { self.max_q() }
            }
        }
    }
}

fn decimal7(x: &Decimal) -> Result<u64, QuantiserError> {
    let Some((digits, exponent)) = x.scientific() else { return Ok(MIDDLE) };
    if exponent < -12 {
        return Ok(MIDDLE);
    }
    if exponent >= 28 {
        return Err(QuantiserError::OutOfRange);
    }
    let mantissa = digits.bytes().chain(std::iter::repeat(b'0')).take(7).fold(0, |m, d| m * 10 + u64::from(d - b'0'));
    let k = u64::try_from(exponent + 12).map_err(|_| QuantiserError::OutOfRange)? * 9_000_000 + (mantissa - 1_000_000);
    Ok(if x.is_negative() { MIDDLE - 1 - k } else { MIDDLE + 1 + k })
}

/// Minutes of an instant, shifted to be positive (`minute`).
pub(crate) fn minute(x: Instant) -> Result<u64, QuantiserError> {
    let q = (1_i64 << 31) + x.seconds.div_euclid(60);
    u64::try_from(q).ok().filter(|q| q >> 32 == 0).ok_or(QuantiserError::OutOfRange)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn d(s: &str) -> Decimal {
        Decimal::parse(s).unwrap()
    }

    #[test]
    fn linear_bounds_are_checked_and_query_bounds_clamped() {
        let q = Quantiser::linear(d("-50"), d("50"), d("0.1")).unwrap();
        assert_eq!(q.bits(), 12);
        assert_eq!(q.decimal(&d("7.35")), Ok(573));
        assert_eq!(q.decimal(&d("50.01")), Err(QuantiserError::OutOfRange));
        assert_eq!((q.bound(&d("-1e9")), q.bound(&d("1e9"))), (0, 4095));
        assert_eq!(Quantiser::linear(d("1"), d("0"), d("1")), Err(QuantiserError::Bounds));
        assert_eq!(Quantiser::linear(d("0"), d("1"), d("0")), Err(QuantiserError::Bounds));
        assert_eq!(Quantiser::linear(d("0"), d("1e10"), d("1")), Err(QuantiserError::Bounds));
        assert_eq!(Quantiser::Decimal7.decimal(&d("1e28")), Err(QuantiserError::OutOfRange));
        assert_eq!(Quantiser::Decimal7.bound(&d("-1e30")), 0);
    }

    proptest! {
        #[test]
        fn quantising_is_monotone(a in r"-?[0-9]{1,12}(\.[0-9]{1,18})?(e-?[0-9])?", b in r"-?[0-9]{1,12}(\.[0-9]{1,18})?(e-?[0-9])?") {
            let (x, y) = (d(&a), d(&b));
            let linear = Quantiser::linear(d("-100000"), d("100000"), d("0.25")).unwrap();
            for q in [&Quantiser::Decimal7, &linear] {
                let (p, r) = (q.bound(&x), q.bound(&y));
                if x <= y { prop_assert!(p <= r) } else { prop_assert!(p >= r) }
            }
        }
    }
}
