//! Exact decimals, as they stand in JSON: no value is ever a floating-point number.

use std::cmp::Ordering;
use std::fmt;

use num_bigint::{BigInt, BigUint, Sign};
use num_traits::{Signed as _, Zero as _};

/// Most significant digits accepted.
const MAX_DIGITS: usize = 200;
/// Largest absolute exponent accepted.
const MAX_EXPONENT: i32 = 1000;

/// A decimal number, `coefficient × 10^(−scale)`. `1.50` and `1.5` are equal and print as they came.
#[derive(Clone, Debug)]
pub struct Decimal {
    coefficient: BigInt,
    scale: i32,
}

/// Why a text is no usable decimal.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum DecimalError {
    /// Not a decimal number.
    #[error("not a decimal number")]
    Syntax,
    /// More than 200 digits or an exponent beyond ±1000.
    #[error("a number of more than {MAX_DIGITS} digits or with an exponent beyond ±{MAX_EXPONENT}")]
    TooLarge,
}

impl Decimal {
    /// Parses `-12.34e5` and the like.
    pub fn parse(text: &str) -> Result<Self, DecimalError> {
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((m, e)) => (m, parse_exponent(e)?),
            None => (text, 0),
        };
        let (negative, unsigned) = match mantissa.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, mantissa.strip_prefix('+').unwrap_or(mantissa)),
        };
        let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
        if whole.is_empty() && fraction.is_empty() || unsigned.ends_with('.') {
            return Err(DecimalError::Syntax);
        }
        let digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
        if !digits.iter().all(u8::is_ascii_digit) {
            return Err(DecimalError::Syntax);
        }
        if digits.len() > MAX_DIGITS {
            return Err(DecimalError::TooLarge);
        }
        let scale = i32::try_from(fraction.len()).unwrap_or(i32::MAX).saturating_sub(exponent);
        if scale.abs() > MAX_EXPONENT + MAX_DIGITS as i32 {
            return Err(DecimalError::TooLarge);
        }
        let magnitude =
            match std::str::from_utf8(&digits).ok().filter(|d| d.len() <= 38).and_then(|d| d.parse::<u128>().ok()) {
                Some(small) => BigUint::from(small),
                None => BigUint::parse_bytes(&digits, 10).ok_or(DecimalError::Syntax)?,
            };
        let sign = if magnitude.is_zero() {
            Sign::NoSign
        } else if negative {
            Sign::Minus
        } else {
            Sign::Plus
        };
        Ok(Self { coefficient: BigInt::from_biguint(sign, magnitude), scale })
    }

    /// Zero.
    pub fn zero() -> Self {
        Self { coefficient: BigInt::zero(), scale: 0 }
    }

    /// Exact sum; keeps the larger scale (`1.50 + 1.5 = 3.00`).
    #[must_use]
    pub fn add(&self, other: &Self) -> Self {
        let scale = self.scale.max(other.scale);
        Self { coefficient: self.at_scale(scale) + other.at_scale(scale), scale }
    }

    /// The number less and plus half a unit of its last digit, `digits` further on: `5.40` is 5.395 and
    /// 5.405; one digit further 5.3995 and 5.4005.
    pub fn rounding_interval(&self, digits: u8) -> (Self, Self) {
        let scale = self.scale + 1 + i32::from(digits);
        let coefficient = self.at_scale(scale);
        (Self { coefficient: &coefficient - 5, scale }, Self { coefficient: coefficient + 5, scale })
    }

    /// The number less and plus a tenth of its magnitude.
    pub fn within_a_tenth(&self) -> (Self, Self) {
        let scale = self.scale + 1;
        let (ten, one) = (self.at_scale(scale), self.coefficient.abs());
        (Self { coefficient: &ten - &one, scale }, Self { coefficient: ten + one, scale })
    }

    /// One form for equal numbers: no trailing zeros, no exponent.
    pub(crate) fn canonical(&self) -> String {
        let text = self.to_string();
        if !text.contains('.') {
            return text;
        }
        let trimmed = text.trim_end_matches('0').trim_end_matches('.');
        if trimmed == "-0" || trimmed.is_empty() { "0".into() } else { trimmed.into() }
    }

    /// The coefficient at a scale not below the number's own.
    pub(crate) fn at_scale(&self, scale: i32) -> BigInt {
        &self.coefficient * BigInt::from(10).pow(u32::try_from(scale - self.scale).unwrap_or(0))
    }

    pub(crate) fn scale(&self) -> i32 {
        self.scale
    }

    pub(crate) fn is_negative(&self) -> bool {
        self.coefficient.is_negative()
    }

    /// Significant digits without leading zeros, and the exponent of the first; `None` for zero.
    pub(crate) fn scientific(&self) -> Option<(String, i32)> {
        if self.coefficient.is_zero() {
            return None;
        }
        let digits = self.coefficient.magnitude().to_string();
        let exponent = i32::try_from(digits.len()).unwrap_or(i32::MAX) - 1 - self.scale;
        Some((digits, exponent))
    }
}

fn parse_exponent(text: &str) -> Result<i32, DecimalError> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(DecimalError::Syntax);
    }
    match text.strip_prefix('+').unwrap_or(text).parse::<i32>() {
        Ok(e) if e.abs() <= MAX_EXPONENT => Ok(e),
        _ => Err(DecimalError::TooLarge),
    }
}

impl PartialEq for Decimal {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Decimal {}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        if self.scale == other.scale {
            return self.coefficient.cmp(&other.coefficient);
        }
        let scale = self.scale.max(other.scale);
        self.at_scale(scale).cmp(&other.at_scale(scale))
    }
}

impl fmt::Display for Decimal {
    /// Plain notation, all digits of the scale.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.is_negative() { "-" } else { "" };
        let digits = self.coefficient.magnitude().to_string();
        match usize::try_from(self.scale) {
            Ok(0) => write!(f, "{sign}{digits}"),
            Ok(scale) if digits.len() > scale => {
                let (whole, fraction) = digits.split_at(digits.len() - scale);
                write!(f, "{sign}{whole}.{fraction}")
            }
            Ok(scale) => write!(f, "{sign}0.{digits:0>scale$}"),
            Err(_) if digits == "0" => f.write_str("0"),
            Err(_) => write!(f, "{sign}{digits}{}", "0".repeat(self.scale.unsigned_abs() as usize)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn d(s: &str) -> Decimal {
        Decimal::parse(s).unwrap()
    }

    #[test]
    fn equal_values_are_equal_however_written() {
        for (a, b) in [("1e2", "100.0"), ("7.5", "7.50"), ("-0.0", "0"), ("12.34e-2", "0.1234"), ("+5", "5")] {
            assert_eq!(d(a), d(b), "{a} {b}");
        }
        assert!(d("-3") < d("-2.999999999999999999999999999999999999999999"));
    }

    #[test]
    fn sums_are_exact_and_keep_the_larger_scale() {
        assert_eq!(d("1.50").add(&d("1.5")).to_string(), "3.00");
        assert_eq!(d("0.1").add(&d("0.2")).to_string(), "0.3");
        assert_eq!(d("-0.05").to_string(), "-0.05");
        assert_eq!(d("1e3").to_string(), "1000");
    }

    #[test]
    fn nonsense_and_bombs_are_refused() {
        for bad in ["", "-", ".", "1.", "1e", "1e+", "0x1", "1 ", "NaN", "1.2.3", "--1", "1e1.5"] {
            assert_eq!(Decimal::parse(bad).err(), Some(DecimalError::Syntax), "{bad:?}");
        }
        assert_eq!(Decimal::parse("1e999999999999").err(), Some(DecimalError::TooLarge));
        assert_eq!(Decimal::parse(&"9".repeat(201)).err(), Some(DecimalError::TooLarge));
    }

    proptest! {
        #[test]
        fn order_and_sum_agree_with_another_library(a in r"-?[0-9]{1,25}(\.[0-9]{1,25})?(e-?[0-9]{1,2})?", b in r"-?[0-9]{1,25}(\.[0-9]{1,25})?(e-?[0-9]{1,2})?") {
            let (x, y): (bigdecimal::BigDecimal, bigdecimal::BigDecimal) = (a.parse().unwrap(), b.parse().unwrap());
            prop_assert_eq!(d(&a).cmp(&d(&b)), x.cmp(&y));
            let sum: bigdecimal::BigDecimal = d(&a).add(&d(&b)).to_string().parse().unwrap();
            prop_assert_eq!(sum, x + y);
        }
    }
}
