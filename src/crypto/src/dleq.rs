//! Proof that the gate used the granted scalar (section 5, Chaum–Pedersen): the logarithm of
//! `R` to `G` equals that of `E'` to `E`.

use k256::ProjectivePoint;
use k256::elliptic_curve::PrimeField;
use k256::elliptic_curve::ops::{MulByGeneratorVartime, MulVartime};
use k256::elliptic_curve::point::NonIdentity;
use rand_core::CryptoRng;
use subtle::ConstantTimeEq;

use crate::point::normalize_pair;
use crate::{Capsule, Point, Reencapsulated, RekeyScalar, Scalar, hash_to_scalar, labels};

/// A proof, not yet verified: challenge and response, 32 bytes big-endian each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DleqProof {
    /// Challenge `c`.
    pub c: [u8; 32],
    /// Response `z = k + c·rk`.
    pub z: [u8; 32],
}

/// The proof does not show what it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DleqError {
    /// A part of the proof is no scalar.
    #[error("the proof is malformed")]
    Malformed,
    /// The gate did not use the granted scalar on this capsule.
    #[error("the proof fails: the capsule was not transformed with the granted scalar")]
    Wrong,
}

/// Proves that `reencapsulated = rk·capsule`. Three base or point multiplications.
pub fn prove(
    rk: &RekeyScalar,
    capsule: &Capsule,
    reencapsulated: &Reencapsulated,
    rng: &mut (impl CryptoRng + ?Sized),
) -> DleqProof {
    prove_with(&Scalar::random(rng), rk, capsule, reencapsulated)
}

/// [`prove`] with a given nonce, which must never be used twice: two proofs with one nonce
/// reveal `rk`.
#[must_use]
pub fn prove_with(nonce: &Scalar, rk: &RekeyScalar, capsule: &Capsule, reencapsulated: &Reencapsulated) -> DleqProof {
    let e = capsule.point();
    let commitments = normalize_pair([nonce.base_mul_projective(), e.mul_projective(nonce)]);
    let c = challenge(&rk.public(), &e, &reencapsulated.point(), &commitments);
    let z = *nonce.0 + *c.0 * *rk.scalar().0;
    DleqProof { c: *c.to_bytes(), z: z.to_repr().into() }
}

/// Checks a proof against the `R` the owner signed. Everything is public, so in variable time.
///
/// # Errors
/// [`DleqError`] if the proof is malformed or does not hold.
pub fn verify(
    r: &Point,
    capsule: &Capsule,
    reencapsulated: &Reencapsulated,
    proof: &DleqProof,
) -> Result<(), DleqError> {
    let c = Scalar::from_bytes(&proof.c).map_err(|_| DleqError::Malformed)?;
    let z = Scalar::from_bytes(&proof.z).map_err(|_| DleqError::Malformed)?;
    let (e, e_prime) = (capsule.point(), reencapsulated.point());
    let minus_c = -*c.0;
    let on_base = ProjectivePoint::mul_by_generator_and_mul_add_vartime(&z.0, &minus_c, &ProjectivePoint::from(r.0));
    let on_capsule =
        ProjectivePoint::from(e.0).mul_vartime(&*z.0) + ProjectivePoint::from(e_prime.0).mul_vartime(&minus_c);
    for point in [on_base, on_capsule] {
        // An honest commitment is a multiple by a non-zero nonce.
        if NonIdentity::new(point).is_none().into() {
            return Err(DleqError::Wrong);
        }
    }
    let commitments = normalize_pair([on_base, on_capsule]);
    if bool::from(challenge(r, &e, &e_prime, &commitments).ct_eq(&c)) { Ok(()) } else { Err(DleqError::Wrong) }
}

fn challenge(r: &Point, e: &Point, e_prime: &Point, commitments: &[Point; 2]) -> Scalar {
    let parts = [r, e, e_prime, &commitments[0], &commitments[1]].map(Point::to_bytes);
    hash_to_scalar(labels::DLEQ, &parts.each_ref().map(|part| part.as_slice()))
}
