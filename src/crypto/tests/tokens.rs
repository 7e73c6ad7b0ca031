//! Tokens and terms: bridged tokens of all members meet, scopes keep hospitals apart, and tags
//! open only for the right key and record.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;
use sealdex_crypto::*;

fn rng(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_members_bridged_token_meets_any_others(seed: u64, value: Vec<u8>, depth in 0..4) {
        let mut rng = rng(seed);
        let master = DomainMaster::random(&mut rng);
        let (k1, d1) = master.enrol(&mut rng);
        let (mut k2, mut d2) = master.enrol(&mut rng);
        for _ in 0..depth {
            let (child, c_inverse) = k2.delegate(&mut rng);
            d2 = d2.delegate(&c_inverse);
            k2 = child;
        }
        let (t1, t2) = (k1.inner("d", "f", &value).unwrap(), k2.inner("d", "f", &value).unwrap());
        prop_assert_ne!(t1, t2);
        prop_assert_eq!(d1.bridge(&t1), d2.bridge(&t2));
        let by_master = token_point("d", "f", &value).unwrap().mul(master.scalar());
        prop_assert_eq!(d1.bridge(&t1), by_master);
        prop_assert_ne!(d1.bridge(&t2), by_master);
        prop_assert_eq!(mul_many(&[t1, t1], d1.scalar())[1], by_master.to_bytes());
        prop_assert_eq!(mul_pairs(&[(t1, d1.scalar()), (t2, d2.scalar())]), vec![by_master.to_bytes(); 2]);
        // Other parts, and parts cut elsewhere, are other tokens.
        prop_assert_ne!(t1, k1.inner("df", "", &value).unwrap());
        prop_assert_ne!(t1, k1.inner("d", "g", &value).unwrap());
    }
}

proptest! {
    #[test]
    fn isolated_terms_of_two_hospitals_never_coincide_and_merged_ones_do(
        value: Vec<u8>, key: [u8; 32], member: [u8; 32], h1: [u8; 16], h2: [u8; 16],
    ) {
        prop_assume!(h1 != h2);
        let member = MemberTokenSecret::from_bytes(&member);
        let inner = FieldTokenKey::derive(&member, "d", "f", 0).inner(&value);
        let key = TermKey::from_bytes(&key);
        let scope = |scope: &[u8]| ScopeKey::derive(&key, "d", scope);
        let terms = [scope(&h1).term(&inner), scope(&h2).term(&inner), scope(&[]).term(&inner)];
        prop_assert!(terms[0] != terms[1] && terms[1] != terms[2] && terms[0] != terms[2]);
        prop_assert_eq!(scope(&[]).term(&inner), terms[2]);
        let field = field_token(&member, "d", "f", 0);
        prop_assert_ne!(scope(&h1).tag(&field), scope(&h2).tag(&field));
        prop_assert_ne!(scope(&[]).tag(&field), scope(&[]).tag(&field_token(&member, "d", "g", 0)));
    }

    #[test]
    fn a_tag_opens_with_its_key_and_record_and_unaltered_only(
        key: [u8; 32], record: [u8; 16], patient: [u8; 16], section in "[a-z]{0,30}",
        epoch: u32, nonce: [u8; 16], at: prop::sample::Index, bit in 0_u8..8,
    ) {
        let mut wide = [0; 64];
        wide[..32].copy_from_slice(&key);
        let gate = GateTagKey::from_bytes(&wide);
        let info = RoutingInfo { patient: PrincipalId(patient), section, epoch, capsule: [2; 33] };
        let record = RecordId(record);
        let tag = make_tag(&gate, &record, &info, nonce);
        prop_assert_eq!(open_tag(&gate, &record, &tag).unwrap(), info);
        wide[63] ^= 1;
        let other = GateTagKey::from_bytes(&wide);
        prop_assert_eq!(open_tag(&other, &record, &tag), Err(TagError::NotAuthentic));
        let mut moved = record;
        moved.0[0] ^= 1;
        prop_assert_eq!(open_tag(&gate, &moved, &tag), Err(TagError::NotAuthentic));
        let mut altered = tag.clone();
        altered[at.index(tag.len())] ^= 1_u8 << bit;
        prop_assert_eq!(open_tag(&gate, &record, &altered), Err(TagError::NotAuthentic));
        prop_assert!(open_tag(&gate, &record, &tag[..at.index(tag.len())]).is_err());
    }

    #[test]
    fn no_bytes_make_a_tag_panic(bytes: Vec<u8>) {
        prop_assert!(open_tag(&GateTagKey::from_bytes(&[1; 64]), &RecordId([0; 16]), &bytes).is_err());
    }

    #[test]
    fn ids_survive_their_text(bytes: [u8; 16], junk in ".{0,40}") {
        let id = RecordId(bytes);
        prop_assert_eq!(id.to_string().parse(), Ok(id));
        prop_assert_eq!(format!("{id:?}").to_uppercase().parse(), Ok(id));
        let _: Result<RecordId, _> = junk.parse();
    }
}

#[test]
fn a_value_too_long_for_its_length_is_refused_not_cut() {
    let long = vec![0; MAX_PART + 1];
    let expected = TooLong { what: "value", len: MAX_PART + 1, max: MAX_PART };
    assert_eq!(token_point("d", "f", &long), Err(expected));
    assert!(token_point("d", "f", &long[1..]).is_ok());
}

#[test]
fn tags_of_one_patient_look_unrelated() {
    let key = GateTagKey::from_bytes(&[5; 64]);
    let info = RoutingInfo { patient: PrincipalId([1; 16]), section: "labs".into(), epoch: 0, capsule: [2; 33] };
    let a = make_tag(&key, &RecordId([1; 16]), &info, [1; 16]);
    let b = make_tag(&key, &RecordId([1; 16]), &info, [2; 16]);
    let same = a.iter().zip(&b).filter(|(a, b)| a == b).count();
    assert!(same < 8, "{same} of {} bytes are the same", a.len());
}
