//! Many signatures checked together. Where the processor multiplies eight points at a time, each is checked for itself,
//! eight side by side; where it does not, all at once as BIP-340 describes it ("Batch Verification"): one sum over the
//! curve instead of a multiplication each. Everything here is public, so nothing need take constant time.

use k256::elliptic_curve::PrimeField;
use k256::elliptic_curve::group::CurveAffine as _;
use k256::elliptic_curve::ops::Reduce;
use k256::elliptic_curve::point::AffineCoordinates as _;
use k256::{AffinePoint, ProjectivePoint, schnorr};
use rand_core::CryptoRng;
use sha2::{Digest, Sha256};

use crate::{Scalar, SignPublic, Signature, labels};

/// A signature that somebody is said to have made.
#[derive(Clone, Copy)]
pub struct Claim {
    /// Whose it should be.
    pub key: SignPublic,
    /// What was signed.
    pub message: [u8; 32],
    /// The signature.
    pub signature: Signature,
}

/// Fewer are checked one by one where a sum is checked: it would not pay.
const FEW: usize = 64;

/// Which of these hold. Eight at a time where the processor can, 8 µs each. Elsewhere, from a thousand on, a quarter
/// of the time that it takes one by one; if one does not hold there, all are checked one by one after all, and one that does not
/// hold passes with odds of 2⁻¹²⁸, over the coefficients that are drawn here.
pub fn verify_many(claims: &[Claim], rng: &mut (impl CryptoRng + ?Sized)) -> Vec<bool> {
    if sealdex_lanes::accelerated() {
        return hold_each(claims);
    }
    if claims.len() >= FEW && hold_together(claims, rng) {
        return vec![true; claims.len()];
    }
    claims.iter().map(|c| c.key.verify(&c.message, &c.signature).is_ok()).collect()
}

/// Whether `s·G − e·P` is the point of even y with the signature's x, for each.
fn hold_each(claims: &[Claim]) -> Vec<bool> {
    let scalars: Vec<_> = claims.iter().map(|claim| (-challenge(claim), response(&claim.signature))).collect();
    let terms: Vec<_> = claims
        .iter()
        .zip(&scalars)
        .map(|(claim, (e, s))| (*claim.key.0.as_affine(), e, s.as_ref().unwrap_or(&k256::Scalar::ZERO)))
        .collect();
    let points = sealdex_lanes::multiply_and_add(&terms).into_iter();
    let holds = |((point, (_, s)), claim): ((AffinePoint, &(_, Option<k256::Scalar>)), &Claim)| {
        // BIP-340 has an r that is not below p refused: no x encodes so.
        s.is_some()
            && !bool::from(point.is_identity())
            && !bool::from(point.y_is_odd())
            && point.x().as_slice() == &claim.signature.0[..32]
    };
    points.zip(&scalars).zip(claims).map(holds).collect()
}

/// `s`, if it is below the order and, as for k256, not 0.
fn response(signature: &Signature) -> Option<k256::Scalar> {
    let s = signature.0.last_chunk::<32>()?;
    Scalar::from_bytes(s).ok().map(|s| *s.inner())
}

/// Whether `(Σ aᵢsᵢ)·G = Σ aᵢ·Rᵢ + Σ aᵢeᵢ·Pᵢ` for random `aᵢ`.
fn hold_together(claims: &[Claim], rng: &mut (impl CryptoRng + ?Sized)) -> bool {
    let mut left = k256::Scalar::ZERO;
    let mut right = Vec::with_capacity(2 * claims.len());
    for claim in claims {
        let Some((nonce, s)) = parts(&claim.signature) else { return false };
        let mut drawn = [0; 16];
        rng.fill_bytes(&mut drawn);
        // 0 would leave a claim out.
        let coefficient = k256::Scalar::from(u128::from_be_bytes(drawn).max(1));
        left += coefficient * s;
        right.push((nonce, coefficient.to_repr().into()));
        right.push((*claim.key.0.as_affine(), (coefficient * challenge(claim)).to_repr().into()));
    }
    ProjectivePoint::mul_by_generator_vartime(&left) == sum_of_products(&right)
}

/// `R`, the point of even y with the signature's x, and `s`; `None` if it is no signature of anybody.
fn parts(signature: &Signature) -> Option<(AffinePoint, k256::Scalar)> {
    schnorr::Signature::from_bytes(&signature.0).ok()?;
    let (x, s) = signature.0.split_first_chunk::<32>()?;
    let nonce = schnorr::VerifyingKey::from_bytes(&(*x).into()).ok()?;
    let s: [u8; 32] = s.try_into().ok()?;
    Some((*nonce.as_affine(), Option::from(k256::Scalar::from_repr(s.into()))?))
}

/// `e = H(tag, x(R) ‖ x(P) ‖ message) mod n`, the tagged hash of BIP-340.
fn challenge(claim: &Claim) -> k256::Scalar {
    let tag = Sha256::digest(labels::BIP340_CHALLENGE);
    let hash = Sha256::new()
        .chain_update(tag)
        .chain_update(tag)
        .chain_update(&claim.signature.0[..32])
        .chain_update(claim.key.to_bytes())
        .chain_update(claim.message)
        .finalize();
    <k256::Scalar as Reduce<k256::FieldBytes>>::reduce(&hash)
}

/// `Σ scalarᵢ·pointᵢ` by Pippenger's buckets, one byte of the big-endian scalars at a time.
fn sum_of_products(terms: &[(AffinePoint, [u8; 32])]) -> ProjectivePoint {
    let mut sum = ProjectivePoint::IDENTITY;
    for byte in 0..32 {
        for _ in 0..8 {
            sum = sum.double();
        }
        let mut buckets = [ProjectivePoint::IDENTITY; 255];
        for (point, scalar) in terms {
            if let Some(bucket) = usize::from(scalar[byte]).checked_sub(1) {
                buckets[bucket] += point;
            }
        }
        // Bucket k counts k times: it is in as many of the partial sums from above.
        let mut partial = ProjectivePoint::IDENTITY;
        for bucket in buckets.iter().rev() {
            partial += bucket;
            sum += partial;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use rand::RngExt as _;

    use super::*;
    use crate::SignSecret;

    fn claims(count: usize) -> Vec<Claim> {
        let rng = &mut rand::rng();
        let claim = |_| {
            let (secret, message) = (SignSecret::from_scalar(&Scalar::random(rng)), rng.random());
            Claim { key: secret.public(), message, signature: secret.sign(&message, rng) }
        };
        (0..count).map(claim).collect()
    }

    #[test]
    fn sums_are_those_of_plain_multiplication() {
        let rng = &mut rand::rng();
        let pairs: Vec<(Scalar, Scalar)> = (0..20).map(|_| (Scalar::random(rng), Scalar::random(rng))).collect();
        let terms: Vec<_> = pairs.iter().map(|(p, s)| (p.base_mul().0, *s.to_bytes())).collect();
        let plain: ProjectivePoint = pairs.iter().map(|(p, s)| p.base_mul().mul_projective(s)).sum();
        assert_eq!(sum_of_products(&terms), plain);
        assert_eq!(sum_of_products(&[]), ProjectivePoint::IDENTITY);
    }

    #[test]
    fn good_ones_hold_together_and_not_with_a_bad_one_anywhere() {
        let rng = &mut rand::rng();
        let good = claims(FEW + 3);
        assert!(hold_together(&good, rng));
        assert_eq!(verify_many(&good, rng), vec![true; good.len()]);
        for at in [0, 1, FEW + 2] {
            for bend in [0, 31, 32, 63] {
                let mut bad = good.clone();
                bad[at].signature.0[bend] ^= 1;
                assert!(!hold_together(&bad, rng), "claim {at}, byte {bend}");
                let found = verify_many(&bad, rng);
                assert!(found.iter().enumerate().all(|(i, holds)| *holds == (i != at)), "claim {at}, byte {bend}");
            }
            let mut bad = good.clone();
            bad[at].message[5] ^= 1;
            assert!(!hold_together(&bad, rng));
            bad[at] = good[at];
            bad[at].key = good[(at + 1) % good.len()].key;
            assert!(!hold_together(&bad, rng));
        }
    }

    /// Two that are wrong by opposite amounts would cancel out without random coefficients.
    #[test]
    fn errors_do_not_cancel_out() {
        let rng = &mut rand::rng();
        let mut bad = claims(FEW);
        let scalar = |c: &Claim| parts(&c.signature).unwrap().1;
        for (at, by) in [(0, k256::Scalar::ONE), (1, -k256::Scalar::ONE)] {
            let moved: [u8; 32] = (scalar(&bad[at]) + by).to_repr().into();
            bad[at].signature.0[32..].copy_from_slice(&moved);
        }
        assert!(!hold_together(&bad, rng));
        let found = verify_many(&bad, rng);
        assert_eq!((found[0], found[1], found[2..].iter().all(|holds| *holds)), (false, false, true));
    }

    #[test]
    fn what_is_no_signature_does_not_hold() {
        let rng = &mut rand::rng();
        let halves = [[0; 32], [255; 32], [1; 32]];
        for (r, s) in halves.iter().flat_map(|r| halves.map(|s| (*r, s))) {
            let mut bad = claims(FEW);
            let mut bytes = bad[7].signature.0;
            bytes[..32].copy_from_slice(&r);
            let unfit = Signature(bytes);
            bytes[32..].copy_from_slice(&s);
            for signature in [unfit, Signature(bytes)] {
                bad[7].signature = signature;
                let found = verify_many(&bad, rng);
                assert!(!hold_together(&bad, rng) && !found[7] && !hold_each(&bad)[7]);
                assert_eq!(found.iter().filter(|holds| **holds).count(), FEW - 1);
            }
        }
        assert!(verify_many(&[], rng).is_empty());
    }

    /// A signer that does not turn its nonce makes `s·G − e·P` the right x with an odd y: no signature by BIP-340.
    #[test]
    fn a_nonce_of_odd_y_does_not_hold() {
        let rng = &mut rand::rng();
        let mut odd_and_even = [0, 0];
        for _ in 0..24 {
            let (d, k) = (Scalar::random(rng), Scalar::random(rng));
            let turned = |scalar: &Scalar| match bool::from(scalar.base_mul().0.y_is_odd()) {
                true => -*scalar.inner(),
                false => *scalar.inner(),
            };
            let nonce = k.base_mul();
            let mut bytes = [0; 64];
            bytes[..32].copy_from_slice(&nonce.to_bytes()[1..]);
            let mut claim =
                Claim { key: SignSecret::from_scalar(&d).public(), message: rng.random(), signature: Signature(bytes) };
            let s: [u8; 32] = (*k.inner() + challenge(&claim) * turned(&d)).to_repr().into();
            claim.signature.0[32..].copy_from_slice(&s);
            let even = !bool::from(nonce.0.y_is_odd());
            odd_and_even[usize::from(even)] += 1;
            assert_eq!(claim.key.verify(&claim.message, &claim.signature).is_ok(), even);
            assert_eq!(hold_each(&[claim; 3]), [even; 3]);
            assert_eq!(hold_together(&[claim; 3], rng), even);
        }
        assert!(odd_and_even.iter().all(|count| *count > 0), "of 24 all alike: {odd_and_even:?}");
    }

    #[test]
    fn one_by_one_and_side_by_side_say_the_same() {
        let rng = &mut rand::rng();
        let mut some = claims(40);
        for (at, claim) in some.iter_mut().enumerate() {
            match at % 4 {
                1 => {
                    let negated: [u8; 32] = (-response(&claim.signature).unwrap()).to_repr().into();
                    claim.signature.0[32..].copy_from_slice(&negated);
                }
                2 => claim.message = rng.random(),
                3 => claim.signature.0[at] ^= 0x10,
                _ => {}
            }
        }
        let single: Vec<bool> = some.iter().map(|c| c.key.verify(&c.message, &c.signature).is_ok()).collect();
        assert_eq!(hold_each(&some), single);
        assert_eq!(single.iter().filter(|holds| **holds).count(), 10);
    }
}
