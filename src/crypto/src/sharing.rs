//! Shares that can be checked (section 5, threshold gate): a dealer commits to its polynomial as
//! Feldman (1987) does, so that every node can tell that its share lies on it and everybody can tell what
//! `f(j)·G` is. Dealing a share again gives a new polynomial through the same secret: nodes are added,
//! replaced and refreshed without anybody knowing the secret (Herzberg et al., 1995).

use k256::elliptic_curve::BatchNormalize;
use k256::{ProjectivePoint, Scalar as Inner};
use rand_core::CryptoRng;
use zeroize::Zeroize;

use crate::shamir::{ShamirError, lagrange, share_of};
use crate::{POINT_LEN, Point, PointError, Scalar};

/// What a dealer commits to: `f_0·G, f_1·G, …`, as many points as shares are needed. The first belongs to the secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commitments(Vec<Point>);

/// A secret dealt to nodes.
pub struct Dealing {
    /// Node and share.
    pub shares: Vec<(u16, Scalar)>,
    /// What the shares are checked against.
    pub commitments: Commitments,
}

impl Commitments {
    /// Decodes points of 33 bytes each, 5 µs a point; at least one.
    ///
    /// # Errors
    /// [`PointError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PointError> {
        let (points, rest) = bytes.as_chunks::<POINT_LEN>();
        if points.is_empty() || !rest.is_empty() {
            return Err(PointError::Length { expected: POINT_LEN, found: bytes.len() });
        }
        points.iter().map(|p| Point::from_bytes(p)).collect::<Result<_, _>>().map(Self)
    }

    /// 33 bytes for each share that is needed.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(Point::to_bytes).collect()
    }

    /// How many shares are needed.
    #[must_use]
    pub fn threshold(&self) -> usize {
        self.0.len()
    }

    /// `f(0)·G`: what belongs to the secret.
    #[must_use]
    pub fn secret(&self) -> Point {
        self.0[0]
    }

    /// `f(j)·G`: what belongs to a node's share. Multiples by the node's number only. None when
    /// it is the identity, which no honest dealing has.
    #[must_use]
    pub fn of(&self, node: u16) -> Option<Point> {
        let mut sum = ProjectivePoint::IDENTITY;
        for point in self.0.iter().rev() {
            sum = small_multiple(&sum, node) + point.0;
        }
        (sum != ProjectivePoint::IDENTITY).then(|| Point::from_projective(&sum))
    }

    /// Whether this is the share of that node.
    #[must_use]
    pub fn hold(&self, node: u16, share: &Scalar) -> bool {
        self.of(node) == Some(share.base_mul())
    }

    /// Of the same polynomial, times a factor. One multiplication a point.
    #[must_use]
    pub fn scale(&self, factor: &Scalar) -> Self {
        let products: Vec<_> = self.0.iter().map(|p| p.mul_projective(factor)).collect();
        Self(normalise(&products))
    }

    /// Of the sum of polynomials. None when there are none, when they are of different lengths, or when some sum is
    /// the identity.
    #[must_use]
    pub fn sum(parts: &[Self]) -> Option<Self> {
        let length = parts.first()?.0.len();
        if parts.iter().any(|p| p.0.len() != length) {
            return None;
        }
        let sums: Vec<ProjectivePoint> =
            (0..length).map(|k| parts.iter().map(|p| ProjectivePoint::from(p.0[k].0)).sum()).collect();
        sums.iter().all(|s| *s != ProjectivePoint::IDENTITY).then(|| Self(normalise(&sums)))
    }
}

fn normalise(points: &[ProjectivePoint]) -> Vec<Point> {
    let affine = <ProjectivePoint as BatchNormalize<[ProjectivePoint]>>::batch_normalize(points);
    affine.into_iter().map(Point).collect()
}

/// Public number, public point: in variable time.
fn small_multiple(point: &ProjectivePoint, by: u16) -> ProjectivePoint {
    let mut product = ProjectivePoint::IDENTITY;
    for bit in (0..u16::BITS - by.leading_zeros()).rev() {
        product = product.double();
        if by >> bit & 1 == 1 {
            product += point;
        }
    }
    product
}

/// Deals a secret to these nodes, so that any `threshold` of them can act for it.
///
/// # Errors
/// [`ShamirError`] when the threshold does not fit, or a node is numbered 0 or twice.
pub fn deal(
    secret: &Scalar,
    threshold: u16,
    nodes: &[u16],
    rng: &mut (impl CryptoRng + ?Sized),
) -> Result<Dealing, ShamirError> {
    if threshold == 0 || usize::from(threshold) > nodes.len() {
        return Err(ShamirError::Threshold { threshold: threshold.into(), nodes: nodes.len() });
    }
    lagrange(nodes)?;
    loop {
        let coefficients: Vec<_> = (1..threshold).map(|_| Scalar::random(rng)).collect();
        let shares: Result<Vec<_>, _> = nodes.iter().map(|n| Ok((*n, share_of(secret, &coefficients, *n)?))).collect();
        match shares {
            // One chance in 2²⁵⁶.
            Err(ShamirError::ZeroShare(_)) => {}
            Err(other) => return Err(other),
            Ok(shares) => {
                let points: Vec<_> =
                    [secret].into_iter().chain(&coefficients).map(Scalar::base_mul_projective).collect();
                return Ok(Dealing { shares, commitments: Commitments(normalise(&points)) });
            }
        }
    }
}

/// Deals the share that `dealer` holds to new nodes, weighed so that what `dealers` (as many as were needed so far)
/// deal adds up to new shares of the same secret.
///
/// # Errors
/// [`ShamirError`]; also when `dealer` is none of `dealers`.
pub fn redeal(
    dealer: u16,
    dealers: &[u16],
    share: &Scalar,
    threshold: u16,
    nodes: &[u16],
    rng: &mut (impl CryptoRng + ?Sized),
) -> Result<Dealing, ShamirError> {
    deal(&share.mul(&weight(dealer, dealers)?), threshold, nodes, rng)
}

/// What a dealer's new commitments must begin with: its part of `f(0)·G`.
///
/// # Errors
/// [`ShamirError`]; also when `dealer` is none of `dealers`, or its share is none.
pub fn part_of(old: &Commitments, dealer: u16, dealers: &[u16]) -> Result<Point, ShamirError> {
    let own = old.of(dealer).ok_or(ShamirError::ZeroShare(dealer))?;
    Ok(own.mul(&weight(dealer, dealers)?))
}

fn weight(dealer: u16, dealers: &[u16]) -> Result<Scalar, ShamirError> {
    let weights = lagrange(dealers)?;
    let found = dealers.iter().zip(weights).find(|(n, _)| **n == dealer);
    found.map(|(_, weight)| weight).ok_or(ShamirError::NotADealer(dealer))
}

/// A node's new share: the sum of what the dealers dealt it.
///
/// # Errors
/// [`ShamirError::Identity`] when they cancel out.
pub fn gather(parts: &[Scalar]) -> Result<Scalar, ShamirError> {
    let mut sum = parts.iter().fold(Inner::ZERO, |sum, part| sum + *part.0);
    let share = Scalar::from_inner(sum);
    sum.zeroize();
    share.ok_or(ShamirError::Identity)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::shamir::combine;

    fn nodes(count: u16) -> Vec<u16> {
        (1..=count).map(|n| 3 * n).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn shares_lie_on_what_was_committed_to_and_on_nothing_else(threshold in 1_u16..5, more in 0_u16..4) {
            let mut rng = rand::rng();
            let (secret, nodes) = (Scalar::random(&mut rng), nodes(threshold + more));
            let Dealing { shares, commitments } = deal(&secret, threshold, &nodes, &mut rng).unwrap();
            prop_assert_eq!(commitments.threshold(), usize::from(threshold));
            prop_assert_eq!(commitments.secret(), secret.base_mul());
            prop_assert_eq!(Commitments::from_bytes(&commitments.to_bytes()), Ok(commitments.clone()));
            for (node, share) in &shares {
                prop_assert!(commitments.hold(*node, share));
                prop_assert!(!commitments.hold(*node, &share.mul(&Scalar::from_u64(2).unwrap())));
                prop_assert!(threshold == 1 || !commitments.hold(node + 1, share));
            }
            let factor = Scalar::random(&mut rng);
            let scaled = commitments.scale(&factor);
            prop_assert!(shares.iter().all(|(n, s)| scaled.hold(*n, &s.mul(&factor))));
        }

        #[test]
        fn what_is_dealt_again_is_the_same_secret_and_mixes_with_nothing_old(
            old in 1_u16..4, new in 1_u16..4, more in 0_u16..3,
        ) {
            let mut rng = rand::rng();
            let (secret, point) = (Scalar::random(&mut rng), Scalar::random(&mut rng).base_mul());
            let before = deal(&secret, old, &nodes(old + 2), &mut rng).unwrap();
            let dealers: Vec<u16> = before.shares.iter().rev().take(old.into()).map(|(n, _)| *n).collect();
            let to: Vec<u16> = (1..=new + more).collect();
            let dealt: Vec<Dealing> = before
                .shares
                .iter()
                .filter(|(n, _)| dealers.contains(n))
                .map(|(n, share)| {
                    let dealt = redeal(*n, &dealers, share, new, &to, &mut rng).unwrap();
                    assert_eq!(part_of(&before.commitments, *n, &dealers), Ok(dealt.commitments.secret()));
                    dealt
                })
                .collect();
            let commitments =
                Commitments::sum(&dealt.iter().map(|d| d.commitments.clone()).collect::<Vec<_>>()).unwrap();
            prop_assert_eq!(commitments.secret(), secret.base_mul());
            let mut partials = Vec::new();
            for (at, node) in to.iter().enumerate() {
                let parts: Vec<Scalar> = dealt.iter().map(|d| d.shares[at].1.clone()).collect();
                let share = gather(&parts).unwrap();
                prop_assert!(commitments.hold(*node, &share));
                partials.push((*node, point.mul(&share)));
            }
            partials.rotate_left(usize::from(more) / 2);
            prop_assert_eq!(combine(&partials[..usize::from(new)]), Ok(point.mul(&secret)));
            if new > 1 {
                // A share of before among those of now gives a wrong result.
                let (node, stale) = before.shares.iter().find(|(n, _)| !to[..usize::from(new) - 1].contains(n)).unwrap();
                let mut mixed: Vec<_> = partials[..usize::from(new) - 1].to_vec();
                mixed.retain(|(n, _)| n != node);
                mixed.push((*node, point.mul(stale)));
                prop_assert_ne!(combine(&mixed), Ok(point.mul(&secret)));
            }
        }
    }

    #[test]
    fn what_cannot_be_dealt_or_added_up_is_refused() {
        let mut rng = rand::rng();
        let secret = Scalar::random(&mut rng);
        let refused = |threshold, nodes: &[u16]| deal(&secret, threshold, nodes, &mut rand::rng()).err();
        assert_eq!(refused(0, &[1]), Some(ShamirError::Threshold { threshold: 0, nodes: 1 }));
        assert_eq!(refused(3, &[1, 2]), Some(ShamirError::Threshold { threshold: 3, nodes: 2 }));
        assert_eq!(refused(2, &[1, 1]), Some(ShamirError::NodeTwice(1)));
        assert_eq!(refused(1, &[0]), Some(ShamirError::NodeZero));
        let again = redeal(3, &[1, 2], &secret, 2, &[1, 2], &mut rng);
        assert_eq!(again.err(), Some(ShamirError::NotADealer(3)));
        let (two, three) = (deal(&secret, 2, &[1, 2], &mut rng), deal(&secret, 3, &[1, 2, 3], &mut rng));
        let (two, three) = (two.unwrap().commitments, three.unwrap().commitments);
        assert_eq!(Commitments::sum(&[two.clone(), three]), None);
        assert_eq!(Commitments::sum(&[]), None);
        assert!(Commitments::from_bytes(&[]).is_err());
        assert!(Commitments::from_bytes(&two.to_bytes()[1..]).is_err());
        let minus = Scalar::from_inner(-*secret.0).unwrap();
        assert_eq!(gather(&[secret, minus]).err(), Some(ShamirError::Identity));
    }
}
