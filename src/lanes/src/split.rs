//! Scalars as the multiplications take them: digits that are never zero, so that every step adds something.

use k256::{
    Scalar,
    elliptic_curve::{PrimeField, scalar::IsHigh, subtle::ConditionallySelectable},
};
use zeroize::Zeroize;

use crate::field::LANES;

/// λ: multiplying by it is multiplying x by a cube root of 1, which is cheap (Gallant, Lambert and Vanstone 2001).
const LAMBDA: [u8; 32] = words([0x5363ad4cc05c30e0, 0xa5261c028812645a, 0x122e22ea20816678, 0xdf02967c1b23bd72]);
/// −b₁ and −b₂ of the short vectors (a₁, b₁) and (a₂, b₂) with a + b λ = 0 mod n.
const MINUS_B1: [u8; 32] = words([0, 0, 0xe4437ed6010e8828, 0x6f547fa90abfe4c3]);
const MINUS_B2: [u8; 32] = words([0xffffffffffffffff, 0xfffffffffffffffe, 0x8a280ac50774346d, 0xd765cda83db1562c]);
/// 2³⁸⁴ b₂ / n and 2³⁸⁴ (−b₁) / n, rounded, the lowest word first.
const G1: [u64; 4] = [0xe893209a45dbb031, 0x3daa8a1471e8ca7f, 0xe86c90e49284eb15, 0x3086d221a7d46bcd];
const G2: [u64; 4] = [0x1571b4ae8ac47f71, 0x221208ac9df506c6, 0x6f547fa90abfe4c4, 0xe4437ed6010e8828];

const fn words(big: [u64; 4]) -> [u8; 32] {
    let mut bytes = [0; 32];
    let mut at = 0;
    while at < 32 {
        bytes[at] = big[at / 8].to_be_bytes()[at % 8];
        at += 1;
    }
    bytes
}

/// Eight scalars k = ±u₁ ± u₂ λ mod n, each of the halves as 32 digits of 4 bits.
///
/// A half is made odd, by adding 1, and written as 128 signs: u = Σ sᵢ 2ⁱ with sᵢ = ±1, where sᵢ is + if bit i + 1 of u is
/// set, and the highest always is. Four signs make a digit, one of ±1, ±3, … ±15.
pub(crate) struct Halves {
    pub(crate) halves: [Half; 2],
}

pub(crate) struct Half {
    /// The signs as bits, lower and higher word.
    pub(crate) signs: [[u64; LANES]; 2],
    /// Lanes in which the half is negative.
    pub(crate) negative: u8,
    /// Lanes in which 1 was added.
    pub(crate) added: u8,
}

impl Halves {
    pub(crate) fn of(scalars: [&Scalar; LANES]) -> Self {
        let mut halves = [(); 2].map(|()| Half { signs: [[0; LANES]; 2], negative: 0, added: 0 });
        for (lane, scalar) in scalars.into_iter().enumerate() {
            for (half, mut value) in halves.iter_mut().zip(split(scalar)) {
                let negative = value.is_high();
                value = Scalar::conditional_select(&value, &-value, negative);
                let mut size = low_half(&value);
                let signs = (size >> 1) | (1 << 127);
                half.signs[0][lane] = signs as u64;
                half.signs[1][lane] = (signs >> 64) as u64;
                half.negative |= negative.unwrap_u8() << lane;
                half.added |= (!(size as u8) & 1) << lane;
                size.zeroize();
                value.zeroize();
            }
        }
        Self { halves }
    }
}

impl Drop for Halves {
    fn drop(&mut self) {
        for half in &mut self.halves {
            half.signs.zeroize();
            half.negative.zeroize();
            half.added.zeroize();
        }
    }
}

/// k₁ and k₂ with k = k₁ + k₂ λ mod n, each below 2¹²⁸ or above n − 2¹²⁸ (bounds as in libsecp256k1's `scalar_impl.h`).
fn split(scalar: &Scalar) -> [Scalar; 2] {
    let limbs = little_endian(scalar);
    let [c1, c2] = [G1, G2].map(|g| Scalar::from(product_from_384(&limbs, &g)));
    let second = c1 * constant(MINUS_B1) + c2 * constant(MINUS_B2);
    [*scalar - second * constant(LAMBDA), second]
}

fn constant(bytes: [u8; 32]) -> Scalar {
    Scalar::from_repr(bytes.into()).unwrap_or(Scalar::ZERO)
}

fn little_endian(scalar: &Scalar) -> [u64; 4] {
    let bytes: [u8; 32] = scalar.to_repr().into();
    let mut limbs = [0; 4];
    for (limb, bytes) in limbs.iter_mut().rev().zip(bytes.as_chunks().0) {
        *limb = u64::from_be_bytes(*bytes);
    }
    limbs
}

fn low_half(scalar: &Scalar) -> u128 {
    let [a, b, _, _] = little_endian(scalar);
    u128::from(a) | u128::from(b) << 64
}

/// a b / 2³⁸⁴, rounded.
fn product_from_384(a: &[u64; 4], b: &[u64; 4]) -> u128 {
    let mut product = [0u64; 8];
    for (i, a) in a.iter().enumerate() {
        let mut carry = 0u128;
        for (j, b) in b.iter().enumerate() {
            let sum = u128::from(product[i + j]) + u128::from(*a) * u128::from(*b) + carry;
            product[i + j] = sum as u64;
            carry = sum >> 64;
        }
        product[i + 4] = carry as u64;
    }
    let above = u128::from(product[6]) | u128::from(product[7]) << 64;
    // Below 2¹²⁸ even then, for a < n and b < 2²⁵⁶.
    above + u128::from(product[5] >> 63)
}

/// Eight scalars as 260 signs each, for the table of the base point's multiples: windows of five signs.
pub(crate) struct Signs {
    /// The lowest word first.
    pub(crate) words: [[u64; LANES]; 5],
    /// Lanes in which the scalar was even and n − k stands for it: −(n − k) is k.
    pub(crate) negative: u8,
    /// Lanes in which the scalar is 0, which no signs make.
    pub(crate) zero: u8,
}

impl Signs {
    pub(crate) fn of(scalars: [&Scalar; LANES]) -> Self {
        let mut signs = Self { words: [[0; LANES]; 5], negative: 0, zero: 0 };
        for (lane, scalar) in scalars.into_iter().enumerate() {
            let even = !scalar.is_odd();
            let mut odd = Scalar::conditional_select(scalar, &-*scalar, even);
            let mut limbs = little_endian(&odd);
            // Shifted down by one bit, with bit 259 set: the highest sign is always +.
            for at in 0..4 {
                let above = limbs.get(at + 1).map_or(0, |above| above << 63);
                signs.words[at][lane] = limbs[at] >> 1 | above;
            }
            signs.words[4][lane] = 1 << (259 - 256);
            signs.negative |= even.unwrap_u8() << lane;
            signs.zero |= scalar.is_zero().unwrap_u8() << lane;
            odd.zeroize();
            limbs.zeroize();
        }
        signs
    }
}

impl Drop for Signs {
    fn drop(&mut self) {
        self.words.zeroize();
        self.negative.zeroize();
        self.zero.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use k256::elliptic_curve::Field as _;

    use super::*;

    fn of_u128(value: u128) -> Scalar {
        Scalar::from(value)
    }

    /// The scalars at which a mistake in rounding or in a sign would show.
    fn edges() -> Vec<Scalar> {
        let lambda = constant(LAMBDA);
        let mut edges =
            vec![Scalar::ZERO, Scalar::ONE, Scalar::from(2u64), lambda, lambda.double(), lambda + Scalar::ONE];
        for bit in [1, 2, 4, 63, 64, 127] {
            edges.push(of_u128(1 << bit));
            edges.push(of_u128((1 << bit) - 1) * lambda);
        }
        edges.push(of_u128(u128::MAX));
        edges.push(of_u128(u128::MAX) * of_u128(u128::MAX));
        edges.push(constant(MINUS_B1));
        edges.push(constant(MINUS_B2));
        let negated: Vec<Scalar> = edges.iter().map(|k| -*k).collect();
        edges.extend(negated);
        // A walk over the whole range.
        let mut walk = of_u128(0x9e37_79b9_7f4a_7c15);
        for _ in 0..2000 {
            walk = walk * walk + lambda;
            edges.push(walk);
        }
        edges
    }

    #[test]
    fn halves_make_the_scalar_and_are_short() {
        for k in edges() {
            let [first, second] = split(&k);
            assert_eq!(first + second * constant(LAMBDA), k);
            for half in [first, second] {
                let short = Scalar::conditional_select(&half, &-half, half.is_high());
                assert_eq!(little_endian(&short)[2..], [0, 0], "{k:?}");
            }
        }
    }

    #[test]
    fn lambda_is_a_cube_root() {
        let lambda = constant(LAMBDA);
        assert_eq!(lambda * lambda + lambda + Scalar::ONE, Scalar::ZERO);
        assert_ne!(lambda, Scalar::ZERO);
    }

    #[test]
    fn signs_add_up() {
        for k in edges() {
            let signs = Signs::of([&k; LANES]);
            assert_eq!(signs.zero, if k == Scalar::ZERO { 0xff } else { 0 });
            let mut sum = Scalar::ZERO;
            for bit in (0..260).rev() {
                let sign = signs.words[bit / 64][3] >> (bit % 64) & 1;
                sum = sum.double() + if sign == 1 { Scalar::ONE } else { -Scalar::ONE };
            }
            assert!(signs.zero > 0 || k == if signs.negative >> 3 & 1 == 1 { -sum } else { sum });

            let halves = Halves::of([&k; LANES]);
            let of = |half: &Half| {
                let mut sum = Scalar::ZERO;
                for bit in (0..128).rev() {
                    let sign = half.signs[bit / 64][5] >> (bit % 64) & 1;
                    sum = sum.double() + if sign == 1 { Scalar::ONE } else { -Scalar::ONE };
                }
                sum -= Scalar::from(u64::from(half.added >> 5 & 1));
                if half.negative >> 5 & 1 == 1 { -sum } else { sum }
            };
            let [first, second] = &halves.halves;
            assert_eq!(of(first) + of(second) * constant(LAMBDA), k);
        }
    }
}
