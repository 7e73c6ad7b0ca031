//! Each primitive of the suite beside what it is made of: in every group `raw` is the least
//! that the building blocks need for the same work, so `ours / raw` is the cost of the suite.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a benchmark fails by panicking")]

use std::hint::black_box;

use aes_siv::siv::Aes256Siv;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use hash2curve::GroupDigest;
use hmac::{Hmac, KeyInit, Mac};
use k256::elliptic_curve::sec1::{FromSec1Point, ToSec1Point};
use k256::{AffinePoint, ProjectivePoint, Sec1Point, Secp256k1};
use rand::SeedableRng;
use rand::rngs::StdRng;
use sealdex_crypto::*;
use sealdex_open::{ReaderKey, SectionSecret, make_grant, open_record};
use sha2::Sha256;

fn rng() -> StdRng {
    StdRng::seed_from_u64(1)
}

fn raw_scalar(scalar: &Scalar) -> k256::Scalar {
    *k256::NonZeroScalar::try_from(scalar.to_bytes().as_slice()).unwrap()
}

fn raw_decode(bytes: &[u8; 33]) -> ProjectivePoint {
    let encoded = Sec1Point::from_bytes(bytes).unwrap();
    AffinePoint::from_sec1_point(&encoded).unwrap().into()
}

/// `count` HMACs of `len` bytes with a prepared key.
fn raw_hmacs(mac: &Hmac<Sha256>, count: usize, len: usize) -> u8 {
    let message = [7; 64];
    (0..count).fold(0, |sum, _| {
        let mut mac = mac.clone();
        mac.update(black_box(&message[..len]));
        sum ^ mac.finalize().into_bytes()[0]
    })
}

fn curve(c: &mut Criterion) {
    let mut rng = rng();
    let (a, s) = (Scalar::random(&mut rng), Scalar::random(&mut rng));
    let point = a.base_mul();
    let (encoded, raw) = (point.to_bytes(), raw_scalar(&s));

    let mut group = c.benchmark_group("decode");
    group.bench_function("raw", |b| b.iter(|| raw_decode(black_box(&encoded))));
    group.bench_function("ours", |b| b.iter(|| Point::from_bytes(black_box(&encoded))));
    group.finish();

    let mut group = c.benchmark_group("capsule");
    group.bench_function("raw_base_mul_plus_mul", |b| {
        let point = raw_decode(&encoded);
        b.iter(|| (ProjectivePoint::mul_by_generator(black_box(&raw)), point * raw));
    });
    let context = capsule_context("north", "labs", 0);
    group.bench_function("ours_encapsulate", |b| {
        b.iter(|| encapsulate(black_box(&point), &context, &mut rng));
    });
    group.finish();

    let rk = RekeyScalar::from_scalar(s.clone());
    let mut group = c.benchmark_group("reencapsulate");
    group.bench_function("raw_decode_mul_encode", |b| {
        b.iter(|| {
            let product = raw_decode(black_box(&encoded)) * raw;
            product.to_affine().to_sec1_point(true)
        });
    });
    group.bench_function("raw_decode_mul", |b| b.iter(|| raw_decode(black_box(&encoded)) * raw));
    group.bench_function("ours_decode_mul_encode", |b| {
        b.iter(|| {
            let capsule = Capsule::from_bytes(black_box(&encoded)).unwrap();
            reencapsulate(&rk, &capsule).to_bytes()
        });
    });
    group.throughput(Throughput::Elements(64));
    group.bench_function("ours_batch_of_64_decode_mul_encode", |b| {
        b.iter(|| {
            let decode = |_| (&rk, Capsule::from_bytes(black_box(&encoded)).unwrap());
            reencapsulate_many(&(0..64).map(decode).collect::<Vec<_>>())
        });
    });
    group.finish();

    let mut group = c.benchmark_group("bridged");
    let member = MemberKey::from_scalar(s.clone());
    let dst: &[u8] = labels::TOKEN_DST;
    group.bench_function("raw_hash_mul", |b| {
        b.iter(|| Secp256k1::hash_from_bytes(&[black_box(b"4548-4")], &[dst]).unwrap() * raw);
    });
    group.bench_function("ours_inner", |b| {
        b.iter(|| member.inner("north", "patient.identifier", black_box(b"4548-4")));
    });
    let bridge = BridgeScalar::from_scalar(s);
    group.bench_function("ours_bridge", |b| b.iter(|| bridge.bridge(black_box(&point))));
    group.finish();
}

fn reading(c: &mut Criterion) {
    let mut rng = rng();
    let owner = SectionSecret::from_scalar(Scalar::random(&mut rng));
    let reader = ReaderKey::from_scalar(Scalar::random(&mut rng));
    let x = Scalar::random(&mut rng);
    let context = capsule_context("north", "labs", 0);
    let (capsule, _) = encapsulate(&owner.public(), &context, &mut rng);
    let grant = make_grant(&owner, &reader.public(), &x);
    let turned = reencapsulate(&grant.rk, &capsule);
    let secret = reader.rekey_secret(&grant.x_pub, &owner.public());
    let proof = dleq::prove(&grant.rk, &capsule, &turned, &mut rng);

    let mut group = c.benchmark_group("grant");
    group.bench_function("raw_mul", |b| {
        let (point, scalar) = (raw_decode(&turned.to_bytes()), raw_scalar(&x));
        b.iter(|| black_box(point) * scalar);
    });
    group.bench_function("ours_make", |b| {
        b.iter(|| make_grant(&owner, black_box(&reader.public()), &x));
    });
    group.bench_function("ours_rekey_secret", |b| {
        b.iter(|| reader.rekey_secret(black_box(&grant.x_pub), &owner.public()));
    });
    group.bench_function("ours_open_capsule", |b| {
        b.iter(|| secret.open(&capsule, black_box(&turned), &owner.public(), &context));
    });
    group.bench_function("ours_prove", |b| {
        b.iter(|| dleq::prove(&grant.rk, &capsule, &turned, &mut rng));
    });
    group.bench_function("ours_verify_proof", |b| {
        b.iter(|| dleq::verify(&grant.r_pub, &capsule, &turned, black_box(&proof)));
    });
    group.finish();
}

fn index(c: &mut Criterion) {
    let mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&[1; 32]).unwrap();
    let mut group = c.benchmark_group("token");
    group.bench_function("raw_2_hmacs", |b| b.iter(|| raw_hmacs(&mac, 2, 40)));
    let secret = MemberTokenSecret::from_bytes(&[1; 32]);
    let field = FieldTokenKey::derive(&secret, "north", "observation.code", 0);
    let scope = ScopeKey::derive(&TermKey::from_bytes(&[2; 32]), "north", &[]);
    group.bench_function("ours_inner_and_term", |b| {
        b.iter(|| scope.term(&field.inner(black_box(b"http://loinc.org|4548-4"))));
    });
    group.finish();

    let token = field_token(&secret, "north", "observation.value", 0);
    let member = MemberOrderSecret::from_bytes(&[3; 32]);
    let inner = InnerOrderKey::derive(&member, "north", "observation.value", 0);
    let gate = GateOrderSecret::from_bytes(&[4; 32]);
    let outer = OuterOrderKey::derive(&gate, "north", &token, 0, &[]);
    let keys = [NoiseKey::from_bytes(&[5; 32]), NoiseKey::from_bytes(&[6; 32])];
    let record = RecordId([7; 16]);
    for bits in [Bits::FIELD[0], Bits::FIELD[3], Bits::FIELD[6]] {
        let mut group = c.benchmark_group(format!("order_{}_bits", bits.get()));
        // Four bits a MAC in both layers, and one for the noise of each.
        let count = usize::from(bits.get() / 4 + bits.outer().get() / 4 + 2);
        group.bench_function(format!("raw_{count}_hmacs"), |b| {
            b.iter(|| raw_hmacs(&mac, count, 10));
        });
        group.bench_function("ours_both_layers_and_noise", |b| {
            b.iter(|| {
                let drawn = noise(&keys[0], &record, b"observation.value");
                let code = inner.code(bits, black_box(bits.max() / 3), drawn).unwrap();
                let drawn = noise(&keys[1], &record, &token.0);
                outer.code(bits, code, drawn)
            });
        });
        group.finish();
    }

    let mut group = c.benchmark_group("cover_20_bits");
    group.bench_function("ours_path", |b| b.iter(|| cover::path(20, black_box(739_939))));
    group.bench_function("ours_range", |b| {
        b.iter(|| cover::cover(20, black_box(700_001), 739_939));
    });
    group.finish();
}

fn seal(c: &mut Criterion) {
    let key = CapsuleKey::from_bytes(&[1; 32]);
    let header = RecordHeader {
        domain: "north".into(),
        provider: PrincipalId([1; 16]),
        record_id: RecordId([2; 16]),
        section: "labs".into(),
        epoch: 0,
        content_type: "application/fhir+json".into(),
        capsule: [2; 33],
    };
    let associated = header.encode().unwrap();
    for len in [64, 1024, 65_536] {
        let content = vec![7; len];
        let padded = vec![7; padme(len as u64 + 5) as usize];
        let mut group = c.benchmark_group(format!("seal_{len}_bytes"));
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function("raw_siv_of_padded", |b| {
            let key = [9; 64];
            b.iter(|| Aes256Siv::new((&key).into()).encrypt([&associated], black_box(&padded)));
        });
        group.bench_function("ours_seal", |b| {
            b.iter(|| seal_record(&key, &header, ENCODING_PLAIN, black_box(&content)));
        });
        let sealed = seal_record(&key, &header, ENCODING_PLAIN, &content).unwrap();
        group.bench_function("ours_open", |b| {
            b.iter(|| open_record(&key, &header, black_box(&sealed), 1 << 20));
        });
        group.finish();
    }

    let mut group = c.benchmark_group("routing_tag");
    let gate = GateTagKey::from_bytes(&[3; 64]);
    let info = RoutingInfo { patient: PrincipalId([1; 16]), section: "labs".into(), epoch: 0, capsule: [2; 33] };
    group.bench_function("raw_siv_64_bytes", |b| {
        let (key, plain, id) = ([3; 64], [7; 59], [4; 16]);
        b.iter(|| Aes256Siv::new((&key).into()).encrypt([&id, &id], black_box(&plain)));
    });
    group.bench_function("ours_make", |b| {
        b.iter(|| make_tag(&gate, black_box(&header.record_id), &info, [5; 16]));
    });
    let tag = make_tag(&gate, &header.record_id, &info, [5; 16]);
    group.bench_function("ours_open", |b| {
        b.iter(|| open_tag(&gate, &header.record_id, black_box(&tag)));
    });
    group.finish();
}

criterion_group!(benches, curve, reading, index, seal);
criterion_main!(benches);
