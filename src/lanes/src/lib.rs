//! Many multiplications on secp256k1 at once.
//!
//! Processors with AVX-512 IFMA multiply eight pairs of 52-bit numbers in one instruction. Here eight points lie side
//! by side in the lanes of vectors and go through the same steps, so that one multiplication costs an eighth of
//! one by [`k256`], which does one point after the other. Sealing, opening, re-encapsulation and checking signatures
//! all come many at a time.
//!
//! On other processors, and for a single point, everything here is done with `k256`, with the same results.
//!
//! **What it keeps secret.** With respect to scalars, [`multiply`] and [`multiply_generator`] take the same instructions and touch
//! the same memory whatever they are, as k256's do: digits are never zero; a table of a point's multiples is read whole and
//! the entry chosen by masks; the base point's entries are permuted in registers. Points may be known to anybody. What is
//! calculated on the way is wiped neither from the stack nor from the heap, as it is not by k256; digits of scalars are.
//!
//! **What guards it.** Every result is checked to be on the curve; one that is not, and one of a case that the formulas leave
//! out, is calculated by `k256` instead. These cases are a scalar of 0, for the base point also ±2²⁵⁶ mod n, and for
//! [`multiply_and_add`] sums that meet what is added next (odds of 2⁻²⁴⁸ where nobody chose them for it). Tests compare with `k256`
//! throughout.

use k256::{
    AffinePoint, ProjectivePoint, Scalar,
    elliptic_curve::{
        BatchNormalize,
        ops::{MulByGeneratorVartime as _, MulVartime as _},
        sec1::FromSec1Point,
    },
};

#[cfg(target_arch = "x86_64")]
mod eight;
#[cfg(target_arch = "x86_64")]
mod field;
#[cfg(target_arch = "x86_64")]
mod generator;
#[cfg(target_arch = "x86_64")]
mod points;
#[cfg(target_arch = "x86_64")]
mod split;

/// Fewer are quicker one by one.
const FEW: usize = 2;

/// Whether this processor does eight at a time.
#[must_use]
pub fn accelerated() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        std::arch::is_x86_feature_detected!("avx512f") && std::arch::is_x86_feature_detected!("avx512ifma")
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        false
    }
}

/// Each point times the scalar beside it, in order.
#[must_use]
pub fn multiply(terms: &[(AffinePoint, &Scalar)]) -> Vec<AffinePoint> {
    #[cfg(target_arch = "x86_64")]
    if terms.len() >= FEW && accelerated() {
        return eight::multiply(terms);
    }
    normalized(terms.iter().map(multiplied).collect())
}

/// The base point times each scalar, in order.
#[must_use]
pub fn multiply_generator(scalars: &[&Scalar]) -> Vec<AffinePoint> {
    #[cfg(target_arch = "x86_64")]
    if scalars.len() >= FEW && accelerated() {
        return eight::multiply_generator(scalars);
    }
    normalized(scalars.iter().map(|scalar| ProjectivePoint::mul_by_generator(scalar)).collect())
}

/// Each point times the scalar beside it, in order, for scalars that are no secret: `k256` takes a time then that
/// depends on them.
#[must_use]
pub fn multiply_public(terms: &[(AffinePoint, &Scalar)]) -> Vec<AffinePoint> {
    if terms.len() >= FEW && accelerated() {
        return multiply(terms);
    }
    normalized(terms.iter().map(|(point, scalar)| ProjectivePoint::from(*point).mul_vartime(*scalar)).collect())
}

/// k P + s G for each (P, k, s), in order, for scalars that are no secret, as [`multiply_public`].
#[must_use]
pub fn multiply_and_add(terms: &[(AffinePoint, &Scalar, &Scalar)]) -> Vec<AffinePoint> {
    #[cfg(target_arch = "x86_64")]
    if terms.len() >= FEW && accelerated() {
        return eight::multiply_and_add(terms);
    }
    normalized(terms.iter().map(multiplied_and_added).collect())
}

/// Decodes points of 33 bytes as in SEC 1, compressed; `None` where there is none.
#[must_use]
pub fn decode(encoded: &[[u8; 33]]) -> Vec<Option<AffinePoint>> {
    #[cfg(target_arch = "x86_64")]
    if encoded.len() >= FEW && accelerated() {
        return eight::decode(encoded);
    }
    encoded.iter().map(decoded).collect()
}

fn multiplied((point, scalar): &(AffinePoint, &Scalar)) -> ProjectivePoint {
    ProjectivePoint::from(*point) * *scalar
}

fn multiplied_and_added((point, k, s): &(AffinePoint, &Scalar, &Scalar)) -> ProjectivePoint {
    ProjectivePoint::mul_by_generator_and_mul_add_vartime(s, k, &ProjectivePoint::from(*point))
}

fn decoded(encoded: &[u8; 33]) -> Option<AffinePoint> {
    if !matches!(encoded[0], 2 | 3) {
        return None;
    }
    AffinePoint::from_sec1_point(&k256::Sec1Point::from_bytes(encoded).ok()?).into()
}

/// Of points one by one; the identity stays the identity.
fn normalized(points: Vec<ProjectivePoint>) -> Vec<AffinePoint> {
    if points.contains(&ProjectivePoint::IDENTITY) {
        return points.iter().map(ProjectivePoint::to_affine).collect();
    }
    match points.is_empty() {
        true => Vec::new(),
        false => <ProjectivePoint as BatchNormalize<[ProjectivePoint]>>::batch_normalize(&points),
    }
}
