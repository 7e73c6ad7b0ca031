//! From points and scalars as k256 has them to lanes, and back.

#![allow(unsafe_code, reason = "only to call, in `lanes!`, what has just been found to be there")]

use k256::{AffinePoint, Scalar, elliptic_curve::point::AffineCoordinates};

use crate::{
    decoded,
    field::{Fe, LANES, Words},
    multiplied, multiplied_and_added,
    points::{self, Affine, Jacobian},
    split::{Halves, Signs},
};

/// Calls a function that takes vector instructions of this processor.
macro_rules! lanes {
    ($function:ident($($argument:expr),*)) => {{
        assert!(crate::accelerated(), "who calls this has looked whether the processor can do it");
        // SAFETY: the processor has what the function's `target_feature` names.
        unsafe { $function($($argument),*) }
    }};
}

pub(crate) fn multiply(terms: &[(AffinePoint, &Scalar)]) -> Vec<AffinePoint> {
    lanes!(multiples(terms))
}

pub(crate) fn multiply_generator(scalars: &[&Scalar]) -> Vec<AffinePoint> {
    lanes!(multiples_of_generator(scalars))
}

pub(crate) fn multiply_and_add(terms: &[(AffinePoint, &Scalar, &Scalar)]) -> Vec<AffinePoint> {
    lanes!(multiples_and_sums(terms))
}

pub(crate) fn decode(encoded: &[[u8; 33]]) -> Vec<Option<AffinePoint>> {
    lanes!(decompressed(encoded))
}

#[target_feature(enable = "avx512f,avx512ifma")]
fn multiples(terms: &[(AffinePoint, &Scalar)]) -> Vec<AffinePoint> {
    let mut sums = Vec::with_capacity(terms.len().div_ceil(LANES));
    for group in groups(terms) {
        sums.push(points::multiple(&side_by_side(group.map(|t| t.0)), &Halves::of(group.map(|t| t.1))));
    }
    gathered(&sums, terms, |term| multiplied(term).to_affine())
}

#[target_feature(enable = "avx512f,avx512ifma")]
fn multiples_of_generator(scalars: &[&Scalar]) -> Vec<AffinePoint> {
    let mut sums = Vec::with_capacity(scalars.len().div_ceil(LANES));
    for group in groups(scalars) {
        sums.push(points::multiple_of_generator(&Signs::of(group.map(|s| *s))));
    }
    gathered(&sums, scalars, |scalar| k256::ProjectivePoint::mul_by_generator(scalar).to_affine())
}

#[target_feature(enable = "avx512f,avx512ifma")]
fn multiples_and_sums(terms: &[(AffinePoint, &Scalar, &Scalar)]) -> Vec<AffinePoint> {
    let mut sums = Vec::with_capacity(terms.len().div_ceil(LANES));
    for group in groups(terms) {
        let sum = points::multiple(&side_by_side(group.map(|t| t.0)), &Halves::of(group.map(|t| t.1)));
        sums.push(points::plus_multiple_of_generator(sum, &Signs::of(group.map(|t| t.2))));
    }
    gathered(&sums, terms, |term| multiplied_and_added(term).to_affine())
}

#[target_feature(enable = "avx512f,avx512ifma")]
fn decompressed(encoded: &[[u8; 33]]) -> Vec<Option<AffinePoint>> {
    let mut found = Vec::with_capacity(encoded.len());
    for group in groups(encoded) {
        let x = group.map(|bytes| {
            let [_, x @ ..] = bytes;
            *x
        });
        let y = points::roots(&words_of(&x));
        found.extend((0..LANES).map(|lane| {
            let even = y[0][lane] & 1 == 0;
            let root = point(&x[lane], &bytes_of(&y, lane))?;
            // The other root, if the parity is not what the first byte says.
            match group[lane][0] {
                2 | 3 if even == (group[lane][0] == 2) => Some(root),
                2 | 3 => Some(-root),
                _ => None,
            }
        }));
    }
    found.truncate(encoded.len());
    debug_assert!(encoded.iter().zip(&found).all(|(encoded, found)| decoded(encoded) == *found));
    found
}

/// Eights, the last filled up with what is first in it.
fn groups<T>(all: &[T]) -> impl Iterator<Item = [&T; LANES]> {
    all.chunks(LANES).map(|some| std::array::from_fn(|lane| some.get(lane).unwrap_or(&some[0])))
}

/// Normalises, checks, takes apart; what the lanes do not have is calculated one by one.
#[target_feature(enable = "avx512f,avx512ifma")]
fn gathered<T>(sums: &[Jacobian], terms: &[T], one: impl Fn(&T) -> AffinePoint) -> Vec<AffinePoint> {
    let affine = points::affine(sums);
    let of = |(at, term): (usize, &T)| {
        let (x, y, missing) = &affine[at / LANES];
        let lane = at % LANES;
        let found = match missing >> lane & 1 {
            0 => point(&bytes_of(x, lane), &bytes_of(y, lane)),
            _ => None,
        };
        found.unwrap_or_else(|| one(term))
    };
    terms.iter().enumerate().map(of).collect()
}

/// If there is such a point.
fn point(x: &[u8; 32], y: &[u8; 32]) -> Option<AffinePoint> {
    AffinePoint::from_coordinates(&(*x).into(), &(*y).into()).into()
}

#[target_feature(enable = "avx512f,avx512ifma")]
fn side_by_side(points: [AffinePoint; LANES]) -> Affine {
    let x = points.map(|point| point.x().into());
    let y = points.map(|point| point.y().into());
    Affine { x: Fe::from_words(&words_of(&x)), y: Fe::from_words(&words_of(&y)) }
}

/// Of big-endian bytes.
fn words_of(lanes: &[[u8; 32]; LANES]) -> Words {
    let mut words = [[0; LANES]; 4];
    for (lane, bytes) in lanes.iter().enumerate() {
        for (word, bytes) in words.iter_mut().rev().zip(bytes.as_chunks().0) {
            word[lane] = u64::from_be_bytes(*bytes);
        }
    }
    words
}

fn bytes_of(words: &Words, lane: usize) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (bytes, word) in bytes.as_chunks_mut().0.iter_mut().zip(words.iter().rev()) {
        *bytes = word[lane].to_be_bytes();
    }
    bytes
}

/// Five limbs of 52 bits, of big-endian bytes.
pub(crate) fn limbs_of(bytes: &[u8; 32]) -> [u64; 5] {
    let words = words_of(&[*bytes; LANES]).map(|word| word[0]);
    let [a, b, c, d] = words;
    const LIMB: u64 = (1 << 52) - 1;
    [a & LIMB, (a >> 52 | b << 12) & LIMB, (b >> 40 | c << 24) & LIMB, (c >> 28 | d << 36) & LIMB, d >> 16]
}
