//! What the lanes calculate is what k256 does.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "says what was skipped")]

use k256::{
    AffinePoint, ProjectivePoint, Scalar,
    elliptic_curve::{Field as _, PrimeField as _, ops::Reduce, sec1::ToSec1Point},
};
use proptest::prelude::*;
use sealdex_lanes::{accelerated, decode, multiply, multiply_and_add, multiply_generator, multiply_public};

fn scalar(bytes: [u8; 32]) -> Scalar {
    <Scalar as Reduce<k256::FieldBytes>>::reduce(&bytes.into())
}

fn lambda() -> Scalar {
    let bytes = [
        0x53, 0x63, 0xad, 0x4c, 0xc0, 0x5c, 0x30, 0xe0, 0xa5, 0x26, 0x1c, 0x02, 0x88, 0x12, 0x64, 0x5a, 0x12, 0x2e,
        0x22, 0xea, 0x20, 0x81, 0x66, 0x78, 0xdf, 0x02, 0x96, 0x7c, 0x1b, 0x23, 0xbd, 0x72,
    ];
    Scalar::from_repr(bytes.into()).unwrap()
}

/// Scalars for which halves are 0, even, the same, or for which a sum on the way is the point that is added next.
fn edges() -> Vec<Scalar> {
    let (one, lambda) = (Scalar::ONE, lambda());
    let small = (0..40u64).map(Scalar::from);
    let mut edges: Vec<Scalar> = small.flat_map(|k| [k, k * lambda, k + lambda, k - lambda, k * lambda + k]).collect();
    for bit in 0..256u32 {
        let power = (0..bit).fold(one, |power, _| power.double());
        edges.extend([power, power - one, power + one, power * lambda]);
    }
    // 2²⁵⁶ mod n: all signs of the base point's windows but the highest alike.
    edges.push((0..256).fold(one, |power, _| power.double()));
    let negated: Vec<Scalar> = edges.iter().map(|k| -*k).collect();
    edges.extend(negated);
    edges
}

fn any_scalar() -> impl Strategy<Value = Scalar> {
    any::<[u8; 32]>().prop_map(scalar)
}

fn any_point() -> impl Strategy<Value = AffinePoint> {
    any_scalar().prop_map(|k| ProjectivePoint::mul_by_generator(&k).to_affine())
}

fn encoded(point: &AffinePoint) -> [u8; 33] {
    point.to_sec1_point(true).as_bytes().try_into().unwrap()
}

#[test]
fn says_what_is_tested() {
    if !accelerated() {
        println!("skipped: this processor has no AVX-512 IFMA, so the other tests here compare k256 with itself");
    }
}

#[test]
fn edges_times_points() {
    let points = [Scalar::ONE, lambda(), -Scalar::ONE, scalar([0x5a; 32])]
        .map(|k| ProjectivePoint::mul_by_generator(&k).to_affine());
    for point in points {
        let edges = edges();
        let terms: Vec<_> = edges.iter().map(|k| (point, k)).collect();
        for (found, (point, k)) in multiply(&terms).into_iter().zip(&terms) {
            assert_eq!(found, (ProjectivePoint::from(*point) * *k).to_affine(), "{k:?}");
        }
        for s in [Scalar::ZERO, Scalar::ONE, scalar([0xa5; 32])] {
            let terms: Vec<_> = edges.iter().map(|k| (point, k, &s)).collect();
            for (found, (point, k, s)) in multiply_and_add(&terms).into_iter().zip(&terms) {
                let plain = ProjectivePoint::from(*point) * *k + ProjectivePoint::GENERATOR * *s;
                assert_eq!(found, plain.to_affine(), "{k:?} {s:?}");
            }
        }
    }
}

#[test]
fn edges_times_the_base_point() {
    let edges = edges();
    let scalars: Vec<_> = edges.iter().collect();
    for (found, k) in multiply_generator(&scalars).into_iter().zip(&edges) {
        assert_eq!(found, (ProjectivePoint::GENERATOR * *k).to_affine(), "{k:?}");
    }
}

#[test]
fn sums_that_cancel_or_coincide() {
    // k P + s G with P a small multiple of G: what is added up meets the entries of the tables.
    for p in 1..10u64 {
        let point = (ProjectivePoint::GENERATOR * Scalar::from(p)).to_affine();
        let scalars: Vec<(Scalar, Scalar)> = (0..30u64)
            .flat_map(|k| [0, 1, 2, k * p, k * p + 1].map(|s| (Scalar::from(k), Scalar::from(s))))
            .flat_map(|(k, s)| [(k, s), (k, -s), (-k, s)])
            .collect();
        let terms: Vec<_> = scalars.iter().map(|(k, s)| (point, k, s)).collect();
        for (found, (k, s)) in multiply_and_add(&terms).into_iter().zip(&scalars) {
            let plain = ProjectivePoint::GENERATOR * (Scalar::from(p) * k + s);
            assert_eq!(found, plain.to_affine(), "{p} {k:?} {s:?}");
        }
    }
}

#[test]
fn the_identity_stays_what_it_is() {
    let k = scalar([7; 32]);
    let point = (ProjectivePoint::GENERATOR * k).to_affine();
    let found = multiply(&[(AffinePoint::IDENTITY, &k), (point, &k), (point, &Scalar::ZERO), (point, &k)]);
    assert_eq!(found[0], AffinePoint::IDENTITY);
    assert_eq!(found[2], AffinePoint::IDENTITY);
    assert_eq!((found[1], found[3]), ((ProjectivePoint::from(point) * k).to_affine(), found[1]));
}

#[test]
fn what_is_no_point_is_not_decoded() {
    let mut encodings = vec![[0; 33], [2; 33], [3; 33], [4; 33], [255; 33]];
    let p = [0xff; 32];
    for low in [0x2e, 0x2f, 0x30, 0x31, 0x32] {
        // x = p − 1, p, p + 1, …: only the first may be a coordinate.
        let mut bytes = [2; 33];
        bytes[1..].copy_from_slice(&p);
        bytes[28] = 0xfe;
        bytes[31] = 0xfc;
        bytes[32] = low;
        encodings.push(bytes);
    }
    for x in 0..200u8 {
        for first in 0..6 {
            let mut bytes = [0; 33];
            (bytes[0], bytes[32]) = (first, x);
            encodings.push(bytes);
        }
    }
    let found = decode(&encodings);
    assert_eq!(found.len(), encodings.len());
    for (bytes, found) in encodings.iter().zip(&found) {
        assert_eq!(*found, decode(&[*bytes])[0], "{bytes:02x?}");
    }
    assert!(found.iter().any(Option::is_some) && found[10..].iter().any(Option::is_none));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn multiples(terms in prop::collection::vec((any_point(), any_scalar()), 0..40)) {
        let borrowed: Vec<_> = terms.iter().map(|(p, k)| (*p, k)).collect();
        let found = multiply(&borrowed);
        prop_assert_eq!(&found, &multiply_public(&borrowed));
        prop_assert_eq!(found.len(), terms.len());
        for (found, (p, k)) in found.into_iter().zip(&terms) {
            prop_assert_eq!(found, (ProjectivePoint::from(*p) * *k).to_affine());
        }
    }

    #[test]
    fn multiples_of_the_base_point(scalars in prop::collection::vec(any_scalar(), 0..40)) {
        let found = multiply_generator(&scalars.iter().collect::<Vec<_>>());
        prop_assert_eq!(found.len(), scalars.len());
        for (found, k) in found.into_iter().zip(&scalars) {
            prop_assert_eq!(found, ProjectivePoint::mul_by_generator(k).to_affine());
        }
    }

    #[test]
    fn sums(terms in prop::collection::vec((any_point(), any_scalar(), any_scalar()), 0..40)) {
        let found = multiply_and_add(&terms.iter().map(|(p, k, s)| (*p, k, s)).collect::<Vec<_>>());
        prop_assert_eq!(found.len(), terms.len());
        for (found, (p, k, s)) in found.into_iter().zip(&terms) {
            prop_assert_eq!(found, (ProjectivePoint::from(*p) * *k + ProjectivePoint::GENERATOR * *s).to_affine());
        }
    }

    #[test]
    fn decoded_points(points in prop::collection::vec(any_point(), 0..40), bend in any::<(u8, u8)>()) {
        let mut encodings: Vec<_> = points.iter().map(encoded).collect();
        let found = decode(&encodings);
        prop_assert!(found.iter().zip(&points).all(|(found, point)| *found == Some(*point)));
        if let Some(first) = encodings.first_mut() {
            first[usize::from(bend.0) % 33] ^= bend.1;
            let first = *first;
            prop_assert_eq!(decode(&encodings)[0], decode(&[first])[0]);
        }
    }
}
