//! Decoding, arithmetic, thresholds, proofs, signatures and the log.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;
use sealdex_crypto::*;
use subtle::ConstantTimeEq;

const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe, 0xba, 0xae, 0xdc,
    0xe6, 0xaf, 0x48, 0xa0, 0x3b, 0xbf, 0xd2, 0x5e, 0x8c, 0xd0, 0x36, 0x41, 0x41,
];

fn rng(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

#[test]
fn scalars_are_between_zero_and_the_order() {
    assert_eq!(Scalar::from_bytes(&[0; 32]).err(), Some(ScalarError::Zero));
    assert_eq!(Scalar::from_bytes(&ORDER).err(), Some(ScalarError::NotReduced));
    assert_eq!(Scalar::from_bytes(&[0xff; 32]).err(), Some(ScalarError::NotReduced));
    let mut largest = ORDER;
    largest[31] -= 1;
    assert_eq!(*Scalar::from_bytes(&largest).unwrap().to_bytes(), largest);
}

#[test]
fn points_in_any_other_form_are_refused() {
    let good = Scalar::random(&mut rng(1)).base_mul().to_bytes();
    assert!(Point::from_bytes(&good).is_ok());
    assert_eq!(Point::from_bytes(&[0]), Err(PointError::Length { expected: 33, found: 1 }));
    assert_eq!(Point::from_bytes(&[0; 33]), Err(PointError::NotCompressed));
    for first in [0, 1, 4, 5, 6, 7, 0xff] {
        let mut other = good;
        other[0] = first;
        assert_eq!(Point::from_bytes(&other), Err(PointError::NotCompressed), "{first}");
    }
    let mut off_curve = [0; 33];
    off_curve[0] = 2;
    off_curve[32] = 5; // 5³ + 7 is no square
    assert_eq!(Point::from_bytes(&off_curve), Err(PointError::NotOnCurve));
    // An x coordinate that is not below the field's prime.
    let mut unreduced = [0xff; 33];
    unreduced[0] = 2;
    assert_eq!(Point::from_bytes(&unreduced), Err(PointError::NotOnCurve));
    assert!(SignPublic::from_bytes(&[0xff; 32]).is_err());
    assert!(SignPublic::from_bytes(&good).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn multiplication_is_that_of_a_group(seed: u64) {
        let mut rng = rng(seed);
        let (a, b) = (Scalar::random(&mut rng), Scalar::random(&mut rng));
        let p = Scalar::random(&mut rng).base_mul();
        prop_assert_eq!(p.mul(&a).mul(&b), p.mul(&a.mul(&b)));
        prop_assert_eq!(p.mul(&a).mul(&a.invert()), p);
        prop_assert_eq!(a.base_mul().mul(&b), b.base_mul().mul(&a));
        prop_assert_eq!(Point::from_bytes(&p.to_bytes()), Ok(p));
        prop_assert!(bool::from(a.invert().invert().ct_eq(&a)) && !bool::from(a.ct_eq(&b)));
        prop_assert_eq!(encode_many(&[p, p.mul(&a)]), vec![p.to_bytes(), p.mul(&a).to_bytes()]);
        prop_assert_eq!(mul_many(&[], &a).len(), 0);
    }

    #[test]
    fn any_threshold_of_nodes_act_as_the_scalar_and_fewer_do_not(
        seed: u64, threshold in 1_u16..5, more in 0_u16..4,
    ) {
        let mut rng = rng(seed);
        let secret = Scalar::random(&mut rng);
        let point = Scalar::random(&mut rng).base_mul();
        let nodes = threshold + more;
        let shares = shamir::split(&secret, threshold, nodes, &mut rng).unwrap();
        let partial = |node: u16| (node, point.mul(&shares[usize::from(node) - 1]));
        // The last ones, in falling order.
        let chosen: Vec<_> = (more + 1..=nodes).rev().map(partial).collect();
        prop_assert_eq!(shamir::combine(&chosen), Ok(point.mul(&secret)));
        if threshold > 1 {
            prop_assert_ne!(shamir::combine(&chosen[1..]), Ok(point.mul(&secret)));
            let twice = [chosen[0], chosen[0]];
            prop_assert_eq!(shamir::combine(&twice), Err(shamir::ShamirError::NodeTwice(nodes)));
        }
        prop_assert!(shamir::combine(&[]).is_err());
        prop_assert!(shamir::combine(&[(0, point)]).is_err());
        prop_assert!(shamir::split(&secret, nodes + 1, nodes, &mut rng).is_err());
        prop_assert!(shamir::split(&secret, 0, nodes, &mut rng).is_err());
    }

    #[test]
    fn a_proof_holds_for_the_granted_scalar_only(seed: u64, at in 0_usize..64, bit in 0_u8..8) {
        let mut rng = rng(seed);
        let (rk, other) = (RekeyScalar::random(&mut rng), RekeyScalar::random(&mut rng));
        let capsule = Capsule::from(Scalar::random(&mut rng).base_mul());
        let turned = reencapsulate(&rk, &capsule);
        let proof = dleq::prove(&rk, &capsule, &turned, &mut rng);
        prop_assert_eq!(dleq::verify(&rk.public(), &capsule, &turned, &proof), Ok(()));
        prop_assert!(rk.matches(&rk.public()) && !rk.matches(&other.public()));

        let wrong = reencapsulate(&other, &capsule);
        prop_assert!(dleq::verify(&rk.public(), &capsule, &wrong, &proof).is_err());
        prop_assert!(dleq::verify(&other.public(), &capsule, &turned, &proof).is_err());
        let lie = dleq::prove(&other, &capsule, &turned, &mut rng);
        prop_assert!(dleq::verify(&rk.public(), &capsule, &turned, &lie).is_err());
        let mut altered = proof;
        let half = if at < 32 { &mut altered.c } else { &mut altered.z };
        half[at % 32] ^= 1_u8 << bit;
        prop_assert!(dleq::verify(&rk.public(), &capsule, &turned, &altered).is_err());
    }

    #[test]
    fn a_signature_holds_for_its_key_and_message_only(seed: u64, message: [u8; 32], at in 0_usize..64) {
        let mut rng = rng(seed);
        let signer = Identity::from_seed(&IdentitySeed::random(&mut rng));
        let other = Identity::from_seed(&IdentitySeed::random(&mut rng));
        let signature = signer.sign(&message, &mut rng);
        prop_assert_eq!(signer.public().verify(&message, &signature), Ok(()));
        prop_assert_eq!(other.public().verify(&message, &signature), Err(BadSignature));
        let mut altered = message;
        altered[at / 2] ^= 1;
        prop_assert_eq!(signer.public().verify(&altered, &signature), Err(BadSignature));
        let mut altered = signature;
        altered.0[at] ^= 1;
        prop_assert_eq!(signer.public().verify(&message, &altered), Err(BadSignature));
        prop_assert_ne!(signer.id(), other.id());
        // The id certifies both keys: swapping either gives another id.
        let (a, b) = (signer.public(), other.public());
        let mixed = PublicIdentity::from_bytes(&a.enc_bytes(), &b.sign_bytes()).unwrap();
        prop_assert!(mixed.id() != a.id() && mixed.id() != b.id());
    }

    #[test]
    fn proofs_of_every_entry_and_prefix_hold_and_no_other(size in 1_u64..70, flip in 0_usize..32) {
        let leaves: Vec<_> = (0..size).map(|at| log::leaf_hash(&at.to_be_bytes())).collect();
        let tree: log::Tree = leaves.iter().copied().collect();
        let root = tree.root();
        for (index, leaf) in (0..).zip(&leaves) {
            let mut proof = tree.inclusion_proof(index, size).unwrap();
            prop_assert_eq!(log::verify_inclusion(leaf, index, size, &proof, &root), Ok(()));
            let other = log::leaf_hash(b"other");
            prop_assert!(log::verify_inclusion(&other, index, size, &proof, &root).is_err());
            if size > 1 {
                let next = (index + 1) % size;
                prop_assert!(log::verify_inclusion(leaf, next, size, &proof, &root).is_err());
            }
            if let Some(hash) = proof.last_mut() {
                hash[flip] ^= 1;
                prop_assert!(log::verify_inclusion(leaf, index, size, &proof, &root).is_err());
                proof.pop();
                prop_assert!(log::verify_inclusion(leaf, index, size, &proof, &root).is_err());
            }
        }
        for old in 1..=size {
            let old_root = tree.root_at(old).unwrap();
            let shorter: log::Tree = leaves[..old as usize].iter().copied().collect();
            prop_assert_eq!(old_root, shorter.root());
            let proof = tree.consistency_proof(old, size).unwrap();
            prop_assert_eq!(log::verify_consistency(old, &old_root, size, &root, &proof), Ok(()));
            let mut other = old_root;
            other[flip] ^= 1;
            prop_assert!(log::verify_consistency(old, &other, size, &root, &proof).is_err());
            prop_assert!(log::verify_consistency(old, &old_root, size, &other, &proof).is_err());
        }
        prop_assert!(tree.inclusion_proof(size, size).is_err() && tree.root_at(size + 1).is_err());
        prop_assert!(tree.consistency_proof(0, size).is_err());
    }

    #[test]
    fn no_proof_makes_verification_panic(
        index: u64, size: u64, hashes in prop::collection::vec(any::<[u8; 32]>(), 0..70),
    ) {
        let root = [0; 32];
        prop_assert!(log::verify_inclusion(&root, index, size, &hashes, &root).is_err());
        let _ = log::verify_consistency(index, &root, size, &[1; 32], &hashes);
        let _ = log::verify_consistency(1, &root, u64::MAX, &[1; 32], &hashes);
        let _ = log::verify_inclusion(&root, u64::MAX - 1, u64::MAX, &hashes, &root);
    }
}
