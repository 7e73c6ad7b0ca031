//! Grants and records: what is granted opens, and nothing else does.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::io::Read;

use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;
use sealdex_crypto::*;
use sealdex_open::*;

const LIMIT: usize = 1 << 20;

fn rng(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

fn header(capsule: &Capsule) -> RecordHeader {
    RecordHeader {
        domain: "north".into(),
        provider: PrincipalId([1; 16]),
        record_id: RecordId([2; 16]),
        section: "labs".into(),
        epoch: 3,
        content_type: "application/fhir+json".into(),
        capsule: capsule.to_bytes(),
    }
}

/// One patient's `labs` with a sealed record in it, and a reader it is granted to.
struct Scene {
    seed: IdentitySeed,
    labs: SectionSecret,
    capsule: Capsule,
    context: Vec<u8>,
    header: RecordHeader,
    sealed: Vec<u8>,
    reader: ReaderKey,
    grant: GrantKeys,
}

fn scene(rng: &mut StdRng) -> Scene {
    let seed = IdentitySeed::random(rng);
    let labs = SectionSecret::derive(&seed, "labs", 3);
    let context = capsule_context("north", "labs", 3);
    let (capsule, key) = encapsulate(&labs.public(), &context, rng);
    let header = header(&capsule);
    let sealed = seal_record(&key, &header, ENCODING_PLAIN, b"potassium").unwrap();
    let reader = ReaderKey::from_scalar(Scalar::random(rng));
    let grant = make_grant(&labs, &reader.public(), &Scalar::random(rng));
    Scene { seed, labs, capsule, context, header, sealed, reader, grant }
}

impl Scene {
    /// What a reader gets with its own key from what a gate turned.
    fn read(&self, reader: &ReaderKey, turned: &Reencapsulated) -> Result<Vec<u8>, OpenError> {
        let a_pub = self.labs.public();
        let secret = reader.rekey_secret(&self.grant.x_pub, &a_pub);
        let key = secret.open(&self.capsule, turned, &a_pub, &self.context);
        open_record(&key, &self.header, &self.sealed, LIMIT)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn owner_and_granted_reader_open_and_nobody_else(seed: u64) {
        let mut rng = rng(seed);
        let s = scene(&mut rng);
        let key = s.labs.open(&s.capsule, &s.context);
        prop_assert_eq!(open_record(&key, &s.header, &s.sealed, LIMIT).unwrap(), b"potassium");
        let turned = reencapsulate(&s.grant.rk, &s.capsule);
        prop_assert_eq!(s.read(&s.reader, &turned).unwrap(), b"potassium");

        let stranger = ReaderKey::from_scalar(Scalar::random(&mut rng));
        prop_assert_eq!(s.read(&stranger, &turned), Err(OpenError::NotAuthentic));
        let wrong = reencapsulate(&RekeyScalar::random(&mut rng), &s.capsule);
        prop_assert_eq!(s.read(&s.reader, &wrong), Err(OpenError::NotAuthentic));
        let untouched = Reencapsulated::from(s.capsule.point());
        prop_assert_eq!(s.read(&s.reader, &untouched), Err(OpenError::NotAuthentic));
    }

    #[test]
    fn a_grant_for_one_section_or_epoch_opens_no_other(seed: u64, section in "labs|[a-z]{1,12}", epoch: u32) {
        prop_assume!((section.as_str(), epoch) != ("labs", 3));
        let mut rng = rng(seed);
        let mut s = scene(&mut rng);
        let other = SectionSecret::derive(&s.seed, &section, epoch);
        prop_assert_ne!(other.public(), s.labs.public());
        let context = capsule_context("north", &section, epoch);
        let (capsule, key) = encapsulate(&other.public(), &context, &mut rng);
        s.header = RecordHeader { section, epoch, ..header(&capsule) };
        s.sealed = seal_record(&key, &s.header, ENCODING_PLAIN, b"secret").unwrap();
        s.capsule = capsule;
        s.context = context;
        let turned = reencapsulate(&s.grant.rk, &capsule);
        prop_assert_eq!(s.read(&s.reader, &turned), Err(OpenError::NotAuthentic));
        let mine = s.labs.open(&capsule, &s.context);
        prop_assert_eq!(open_record(&mine, &s.header, &s.sealed, LIMIT), Err(OpenError::NotAuthentic));
    }

    #[test]
    fn a_swapped_capsule_opens_nothing(seed: u64) {
        let mut rng = rng(seed);
        let s = scene(&mut rng);
        let (other, _) = encapsulate(&s.labs.public(), &s.context, &mut rng);
        let turned = reencapsulate(&s.grant.rk, &other);
        prop_assert_eq!(s.read(&s.reader, &turned), Err(OpenError::NotAuthentic));
        let swapped = Scene { capsule: other, ..s };
        prop_assert_eq!(swapped.read(&swapped.reader, &turned), Err(OpenError::NotAuthentic));
    }

    #[test]
    fn rotating_a_group_moves_the_grant_to_its_new_key(seed: u64) {
        let mut rng = rng(seed);
        let s = scene(&mut rng);
        let new = ReaderKey::from_scalar(Scalar::random(&mut rng));
        let factor = rotation_factor(&s.reader, &new, &s.grant.x_pub, &s.labs.public());
        let turned = reencapsulate(&s.grant.rk.rotate(&factor), &s.capsule);
        prop_assert_eq!(s.read(&new, &turned).unwrap(), b"potassium");
        prop_assert_eq!(s.read(&s.reader, &turned), Err(OpenError::NotAuthentic));
    }

    #[test]
    fn a_threshold_of_gates_turns_as_one_gate_does(seed: u64) {
        let mut rng = rng(seed);
        let s = scene(&mut rng);
        let shares = shamir::split(s.grant.rk.scalar(), 2, 3, &mut rng).unwrap();
        let partial = |node: u16| (node, s.capsule.point().mul(&shares[usize::from(node) - 1]));
        let turned = shamir::combine(&[partial(3), partial(1)]).unwrap();
        prop_assert_eq!(s.read(&s.reader, &turned.into()).unwrap(), b"potassium");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn content_survives_and_its_sealed_length_is_padded(content: Vec<u8>, key: [u8; 32]) {
        let key = CapsuleKey::from_bytes(&key);
        let header = RecordHeader { capsule: [2; 33], ..header_of_nothing() };
        let sealed = seal_record(&key, &header, ENCODING_PLAIN, &content).unwrap();
        prop_assert_eq!(sealed.len() as u64, 16 + padme(5 + content.len() as u64));
        prop_assert_eq!(open_record(&key, &header, &sealed, LIMIT).unwrap(), content);
    }

    #[test]
    fn no_altered_byte_opens(at: prop::sample::Index, bit in 0_u8..8, content: Vec<u8>) {
        let key = CapsuleKey::from_bytes(&[4; 32]);
        let header = header_of_nothing();
        let sealed = seal_record(&key, &header, ENCODING_PLAIN, &content).unwrap();
        let mut altered = sealed.clone();
        altered[at.index(sealed.len())] ^= 1_u8 << bit;
        prop_assert_eq!(open_record(&key, &header, &altered, LIMIT), Err(OpenError::NotAuthentic));
        prop_assert!(open_record(&key, &header, &sealed[..at.index(sealed.len())], LIMIT).is_err());
        let longer = [sealed.as_slice(), &[0]].concat();
        prop_assert_eq!(open_record(&key, &header, &longer, LIMIT), Err(OpenError::NotAuthentic));
    }

    #[test]
    fn no_bytes_make_opening_panic(bytes: Vec<u8>) {
        let key = CapsuleKey::from_bytes(&[4; 32]);
        prop_assert!(open_record(&key, &header_of_nothing(), &bytes, LIMIT).is_err());
    }

    /// Whoever holds the key can still not make a reader crash or accept a malformed body.
    #[test]
    fn no_authentic_body_makes_opening_panic(
        encoding in 0_u8..4, length in 0_u32..80, rest in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        let body = [&[encoding], &length.to_be_bytes()[..], &rest].concat();
        let opened = open_record(&key(), &header_of_nothing(), &seal_body(&body), LIMIT);
        let well_formed = body.len() as u64 == padme(5 + u64::from(length))
            && rest[(length as usize).min(rest.len())..].iter().all(|&byte| byte == 0);
        if !well_formed || encoding > 1 {
            prop_assert!(opened.is_err());
        } else if encoding == 0 {
            prop_assert_eq!(opened.unwrap(), &rest[..length as usize]);
        }
    }
}

fn key() -> CapsuleKey {
    CapsuleKey::from_bytes(&[4; 32])
}

fn header_of_nothing() -> RecordHeader {
    header(&Capsule::from_bytes(&Scalar::from_u64(1).unwrap().base_mul().to_bytes()).unwrap())
}

/// Seals any body, well-formed or not.
fn seal_body(body: &[u8]) -> Vec<u8> {
    use aes_siv::KeyInit;
    let header = header_of_nothing();
    let record_key = RecordKey::derive(&key(), &header.record_id);
    aes_siv::siv::Aes256Siv::new(record_key.expose().into()).encrypt([header.encode().unwrap()], body).unwrap()
}

#[test]
fn every_field_of_the_header_is_bound() {
    let good = header_of_nothing();
    let sealed = seal_record(&key(), &good, ENCODING_PLAIN, b"x").unwrap();
    let mut others = vec![good.clone(); 8];
    others[0].domain = "south".into();
    others[1].provider.0[0] ^= 1;
    others[2].record_id.0[0] ^= 1;
    others[3].section = "notes".into();
    others[4].epoch += 1;
    others[5].content_type = "text/plain".into();
    others[6].capsule[32] ^= 1;
    // The same letters, cut elsewhere.
    others[7].domain = "nort".into();
    for other in &others {
        let opened = open_record(&key(), other, &sealed, LIMIT);
        assert_eq!(opened, Err(OpenError::NotAuthentic), "{other:?}");
    }
    assert!(open_record(&key(), &good, &sealed, LIMIT).is_ok());
    let long = RecordHeader { section: "s".repeat(MAX_PART + 1), ..good };
    assert!(matches!(open_record(&key(), &long, &sealed, LIMIT), Err(OpenError::Header(_))));
    assert!(seal_record(&key(), &long, ENCODING_PLAIN, b"x").is_err());
}

#[test]
fn malformed_bodies_say_what_is_wrong() {
    let open = |body: &[u8]| open_record(&key(), &header_of_nothing(), &seal_body(body), LIMIT);
    assert_eq!(open(&[0, 0, 0, 0, 1]), Err(OpenError::Length { length: 1, room: 0 }));
    let huge = open(&[0, 0xff, 0xff, 0xff, 0xff]);
    assert_eq!(huge, Err(OpenError::Length { length: 0xffff_ffff, room: 0 }));
    let padding = OpenError::Padding { expected: 5, found: 6 };
    assert_eq!(open(&[0, 0, 0, 0, 0, 0]), Err(padding));
    let mut body = vec![0; 10];
    body[4] = 4; // 9 bytes of body, padded to 10
    assert!(open(&body).is_ok());
    body[9] = 1;
    assert_eq!(open(&body), Err(OpenError::PaddingNotZero));
    assert_eq!(open(&[2, 0, 0, 0, 0]), Err(OpenError::Encoding(2)));
    assert_eq!(open(&[1, 0, 0, 0, 1, 9]), Err(OpenError::Compression));
    assert_eq!(open(&[]), Err(OpenError::TooShort { min: 21, found: 16 }));
    let sealed = seal_record(&key(), &header_of_nothing(), 2, b"");
    assert_eq!(sealed, Err(SealError::Encoding(2)));
}

#[test]
fn compressed_content_opens_up_to_the_limit_and_no_further() {
    let header = header_of_nothing();
    let seal = |content: &[u8], level| {
        let frame = zstd::encode_all(content, level).unwrap();
        seal_record(&key(), &header, ENCODING_ZSTD, &frame).unwrap()
    };
    let content = b"glucose ".repeat(10_000);
    for level in [1, 3, 19] {
        let sealed = seal(&content, level);
        assert!(sealed.len() < 1000);
        assert_eq!(open_record(&key(), &header, &sealed, LIMIT).unwrap(), content);
        assert_eq!(open_record(&key(), &header, &sealed, content.len()).unwrap(), content);
        let over = OpenError::OverLimit { limit: content.len() - 1 };
        assert_eq!(open_record(&key(), &header, &sealed, content.len() - 1), Err(over));
    }
    assert_eq!(open_record(&key(), &header, &seal(b"", 3), 0).unwrap(), b"");
    // A bomb: 512 MiB of zeros in a record of a few kilobytes.
    let bomb = zstd::encode_all(std::io::repeat(0).take(512 << 20), 3).unwrap();
    let sealed = seal_record(&key(), &header, ENCODING_ZSTD, &bomb).unwrap();
    assert!(sealed.len() < 100_000);
    let over = OpenError::OverLimit { limit: LIMIT };
    assert_eq!(open_record(&key(), &header, &sealed, LIMIT), Err(over));
    let plain = seal_record(&key(), &header, ENCODING_PLAIN, &[7; 100]).unwrap();
    let over = OpenError::OverLimit { limit: 99 };
    assert_eq!(open_record(&key(), &header, &plain, 99), Err(over));
    // A frame that is cut short.
    let frame = zstd::encode_all(content.as_slice(), 3).unwrap();
    let cut = &frame[..frame.len() - 4];
    let sealed = seal_record(&key(), &header, ENCODING_ZSTD, cut).unwrap();
    let opened = open_record(&key(), &header, &sealed, LIMIT);
    assert_eq!(opened, Err(OpenError::Compression));
}
