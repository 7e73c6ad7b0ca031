//! Proof that the gate used the granted scalar (section 5, Chaum–Pedersen): the logarithm of
//! `R` to `G` equals that of `E'` to `E`.

use k256::ProjectivePoint;
use k256::elliptic_curve::PrimeField;
use k256::elliptic_curve::ops::{MulByGeneratorVartime, MulVartime};
use k256::elliptic_curve::point::NonIdentity;
use rand_core::CryptoRng;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::point::{base_products, normalize_pair, products, public_products};
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
    respond(nonce, rk, &c)
}

fn respond(nonce: &Scalar, rk: &RekeyScalar, c: &Scalar) -> DleqProof {
    let z = *nonce.0 + *c.0 * *rk.scalar().0;
    DleqProof { c: *c.to_bytes(), z: z.to_repr().into() }
}

/// What a proof is about: a scalar, a capsule, and the capsule re-encapsulated with it.
pub type Turned<'t> = (&'t RekeyScalar, Capsule, Reencapsulated);

/// [`prove`] for each, in order: a proof for each, whose multiplications are done together. Eight at a time where the
/// processor can: 10 µs each.
pub fn prove_each(turned: &[Turned<'_>], rng: &mut (impl CryptoRng + ?Sized)) -> Vec<DleqProof> {
    let nonces: Vec<Scalar> = turned.iter().map(|_| Scalar::random(rng)).collect();
    let on_base = base_products(nonces.iter());
    let on_capsule = products(turned.iter().zip(&nonces).map(|((_, capsule, _), nonce)| (capsule.point(), nonce)));
    let publics = RekeyScalar::publics(&turned.iter().map(|(rk, ..)| *rk).collect::<Vec<_>>());
    let commitments = on_base.into_iter().zip(on_capsule).map(<[Point; 2]>::from);
    let proofs = turned.iter().zip(&nonces).zip(publics).zip(commitments);
    proofs
        .map(|((((rk, capsule, reencapsulated), nonce), public), commitments)| {
            let c = challenge(&public, &capsule.point(), &reencapsulated.point(), &commitments);
            respond(nonce, rk, &c)
        })
        .collect()
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
    let (c, z) = parts(proof)?;
    let (e, e_prime) = (capsule.point(), reencapsulated.point());
    let minus_c = -*c.0;
    let on_base = ProjectivePoint::mul_by_generator_and_mul_add_vartime(&z.0, &minus_c, &ProjectivePoint::from(r.0));
    let on_capsule =
        ProjectivePoint::from(e.0).mul_vartime(&*z.0) + ProjectivePoint::from(e_prime.0).mul_vartime(&minus_c);
    commits(r, &e, &e_prime, [on_base, on_capsule], &c)
}

fn parts(proof: &DleqProof) -> Result<(Scalar, Scalar), DleqError> {
    let part = |bytes| Scalar::from_bytes(bytes).map_err(|_| DleqError::Malformed);
    Ok((part(&proof.c)?, part(&proof.z)?))
}

/// Whether the challenge is that of these commitments.
fn commits(r: &Point, e: &Point, e_prime: &Point, made: [ProjectivePoint; 2], c: &Scalar) -> Result<(), DleqError> {
    // An honest commitment is a multiple by a non-zero nonce.
    if made.iter().any(|point| NonIdentity::new(*point).is_none().into()) {
        return Err(DleqError::Wrong);
    }
    let commitments = normalize_pair(made);
    if bool::from(challenge(r, e, e_prime, &commitments).ct_eq(c)) { Ok(()) } else { Err(DleqError::Wrong) }
}

/// A proof, the `R` it is checked against, and what it is about.
pub type Claimed<'c> = (&'c Point, Capsule, Reencapsulated, DleqProof);

/// [`verify`] for each, in order. Eight at a time where the processor can: 18 µs each.
pub fn verify_each(claimed: &[Claimed<'_>]) -> Vec<Result<(), DleqError>> {
    let parts: Vec<_> = claimed.iter().map(|(.., proof)| parts(proof)).collect();
    // Where there is no proof anything will do: the result is not looked at.
    let one = k256::Scalar::ONE;
    let scalars: Vec<(k256::Scalar, k256::Scalar)> =
        parts.iter().map(|p| p.as_ref().map_or((one, one), |(c, z)| (-*c.0, *z.0))).collect();
    let both = || claimed.iter().zip(&scalars);
    let terms: Vec<_> = both().map(|((r, ..), (c, z))| (r.0, c, z)).collect();
    let on_base = sealdex_lanes::multiply_and_add(&terms);
    let capsules: Vec<_> = both().map(|((_, capsule, ..), (_, z))| (capsule.point().0, z)).collect();
    let turned: Vec<_> = both().map(|((_, _, turned, _), (c, _))| (turned.point().0, c)).collect();
    let [capsules, turned] = [capsules, turned].map(|terms| sealdex_lanes::multiply_public(&terms));
    let sums: Vec<ProjectivePoint> = capsules.iter().zip(&turned).map(|(a, b)| ProjectivePoint::from(*a) + b).collect();
    let checked = claimed.iter().zip(parts).zip(on_base.into_iter().zip(sums));
    checked
        .map(|(((r, capsule, turned, _), parts), (on_base, on_capsule))| {
            let (c, _) = parts?;
            commits(r, &capsule.point(), &turned.point(), [on_base.into(), on_capsule], &c)
        })
        .collect()
}

/// Proves for one scalar and many points at once that each product is that scalar's: the proof is about the sums of
/// both, each pair weighed by a hash of all of them (as in RFC 9497, section 2.2.1). Two multiplications a pair, and
/// three more. None when there are no pairs, or the weighed sum is the identity.
pub fn prove_many(scalar: &Scalar, pairs: &[(Point, Point)], rng: &mut (impl CryptoRng + ?Sized)) -> Option<DleqProof> {
    let r = scalar.base_mul();
    let (sum, _) = weighed(&r, pairs)?;
    let rk = RekeyScalar::from_scalar(scalar.clone());
    let capsule = Capsule::from_bytes(&sum.to_bytes()).ok()?;
    let product = Reencapsulated::from(sum.mul(scalar));
    Some(prove(&rk, &capsule, &product, rng))
}

/// Checks a proof of [`prove_many`] against `R = scalar·G`.
///
/// # Errors
/// [`DleqError`].
pub fn verify_many(r: &Point, pairs: &[(Point, Point)], proof: &DleqProof) -> Result<(), DleqError> {
    let (sum, products) = weighed(r, pairs).ok_or(DleqError::Wrong)?;
    let capsule = Capsule::from_bytes(&sum.to_bytes()).map_err(|_| DleqError::Malformed)?;
    verify(r, &capsule, &Reencapsulated::from(products), proof)
}

/// Both sums, weighed.
fn weighed(r: &Point, pairs: &[(Point, Point)]) -> Option<(Point, Point)> {
    let mut hash = Sha256::new();
    hash.update(labels::DLEQ_BATCH.as_bytes());
    hash.update(r.to_bytes());
    for (point, product) in pairs {
        hash.update(point.to_bytes());
        hash.update(product.to_bytes());
    }
    let seed = hash.finalize();
    let weight = |n: u64| {
        let weight = hash_to_scalar(labels::DLEQ_BATCH, &[&seed, &n.to_be_bytes()]);
        // Half the length is enough: a wrong product passes with chance 2⁻¹²⁸.
        let mut half = [0; 32];
        half[16..].copy_from_slice(&weight.to_bytes()[16..]);
        Scalar::from_bytes(&half).ok()
    };
    let weights: Vec<Scalar> = (0..).take(pairs.len()).map(weight).collect::<Option<_>>()?;
    let sum = |side: fn(&(Point, Point)) -> Point| -> ProjectivePoint {
        public_products(pairs.iter().map(side).zip(&weights)).iter().map(|p| ProjectivePoint::from(p.0)).sum()
    };
    let sums = [sum(|pair| pair.0), sum(|pair| pair.1)];
    if sums.iter().any(|s| NonIdentity::new(*s).is_none().into()) {
        return None;
    }
    let [sum, products] = normalize_pair(sums);
    Some((sum, products))
}

fn challenge(r: &Point, e: &Point, e_prime: &Point, commitments: &[Point; 2]) -> Scalar {
    let parts = [r, e, e_prime, &commitments[0], &commitments[1]].map(Point::to_bytes);
    hash_to_scalar(labels::DLEQ, &parts.each_ref().map(|part| part.as_slice()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_for_each_is_one_that_each_check_takes() {
        let mut rng = rand::rng();
        let scalars: Vec<RekeyScalar> = (0..11).map(|_| RekeyScalar::random(&mut rng)).collect();
        let turned: Vec<Turned<'_>> = scalars
            .iter()
            .map(|rk| {
                let capsule = Capsule::from(Scalar::random(&mut rng).base_mul());
                (rk, capsule, crate::reencapsulate(rk, &capsule))
            })
            .collect();
        let proofs = prove_each(&turned, &mut rng);
        let publics: Vec<Point> = scalars.iter().map(RekeyScalar::public).collect();
        let claimed: Vec<Claimed<'_>> =
            turned.iter().zip(&publics).zip(&proofs).map(|(((_, c, t), r), proof)| (r, *c, *t, *proof)).collect();
        for (r, capsule, turned, proof) in &claimed {
            assert_eq!(verify(r, capsule, turned, proof), Ok(()));
        }
        assert_eq!(verify_each(&claimed), vec![Ok(()); claimed.len()]);
        for at in 0..claimed.len() {
            let (r, capsule, turned, proof) = claimed[at];
            let other = &publics[(at + 1) % publics.len()];
            let bent = [
                (other, capsule, turned, proof),
                (r, Capsule::from(turned.point()), turned, proof),
                (r, capsule, Reencapsulated::from(capsule.point()), proof),
                (r, capsule, turned, DleqProof { c: proof.z, ..proof }),
                (r, capsule, turned, DleqProof { z: proof.c, ..proof }),
                (r, capsule, turned, DleqProof { c: [0; 32], ..proof }),
                (r, capsule, turned, DleqProof { z: [255; 32], ..proof }),
            ];
            for (n, bent) in bent.into_iter().enumerate() {
                let mut claimed = claimed.clone();
                claimed[at] = bent;
                let found = verify_each(&claimed);
                let expected = if n < 5 { DleqError::Wrong } else { DleqError::Malformed };
                assert_eq!(found[at], Err(expected), "{n}");
                assert_eq!(verify(bent.0, &bent.1, &bent.2, &bent.3), Err(expected));
                assert_eq!(found.iter().filter(|f| f.is_err()).count(), 1);
            }
        }
    }

    #[test]
    fn one_proof_for_many_points_fails_for_any_wrong_one() {
        let mut rng = rand::rng();
        let scalar = Scalar::random(&mut rng);
        for count in [1, 2, 17] {
            let pairs: Vec<(Point, Point)> = (0..count)
                .map(|_| Scalar::random(&mut rng).base_mul())
                .map(|point| (point, point.mul(&scalar)))
                .collect();
            let proof = prove_many(&scalar, &pairs, &mut rng).unwrap();
            assert_eq!(verify_many(&scalar.base_mul(), &pairs, &proof), Ok(()));
            let other = Scalar::random(&mut rng);
            assert_eq!(verify_many(&other.base_mul(), &pairs, &proof), Err(DleqError::Wrong));
            for at in 0..count {
                let mut bent = pairs.clone();
                bent[at].1 = bent[at].0.mul(&other);
                assert_eq!(verify_many(&scalar.base_mul(), &bent, &proof), Err(DleqError::Wrong), "{at} of {count}");
                let lies = prove_many(&scalar, &bent, &mut rng).unwrap();
                assert_eq!(verify_many(&scalar.base_mul(), &bent, &lies), Err(DleqError::Wrong));
            }
            // Two wrong products whose errors cancel out if they are not weighed.
            if count > 1 {
                let mut bent = pairs.clone();
                (bent[0].1, bent[1].1) = (pairs[1].1, pairs[0].1);
                assert_eq!(verify_many(&scalar.base_mul(), &bent, &proof), Err(DleqError::Wrong));
                let lies = prove_many(&scalar, &bent, &mut rng).unwrap();
                assert_eq!(verify_many(&scalar.base_mul(), &bent, &lies), Err(DleqError::Wrong));
            }
        }
        assert!(prove_many(&scalar, &[], &mut rng).is_none());
    }
}
