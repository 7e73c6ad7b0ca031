//! Each primitive of the suite beside the least that its building blocks need for the same work.

use std::{hint::black_box, time::Duration};

use aes_siv::siv::Aes256Siv;
use hash2curve::GroupDigest;
use hmac::{Hmac, KeyInit, Mac};
use k256::elliptic_curve::sec1::{FromSec1Point, ToSec1Point};
use k256::{AffinePoint, ProjectivePoint, Sec1Point, Secp256k1};
use rand::{SeedableRng, rngs::StdRng};
use sealdex_crypto::*;
use sealdex_open::{ReaderKey, SectionSecret, ToOpen, make_grant, open_many, open_record};
use sha2::Sha256;

use super::{Size, begin, grouped, row, short, study};
use crate::{
    measure::in_turn,
    report::{Axis, Chart, Series, Study},
};

const ABOUT: &str = "One core. `least` is what the building blocks need for the same work (k256, HMAC, AES-SIV as they come, one \
thing after the other), measured in turn with ours; the share is least / ours, so 1 would be free. Above 1 is what is done \
`together`, eight points side by side, on a processor with AVX-512 IFMA; on others these stay below 1.";
/// Points of one batch: what shares an inversion.
const BATCH: usize = 64;

/// One line: what it is, how many items a call makes, the least, ours.
struct Compared<'a> {
    what: String,
    items: usize,
    least: Box<dyn FnMut() + 'a>,
    ours: Box<dyn FnMut() + 'a>,
}

fn compared<'a>(what: &str, items: usize, least: impl FnMut() + 'a, ours: impl FnMut() + 'a) -> Compared<'a> {
    Compared { what: what.to_owned(), items, least: Box::new(least), ours: Box::new(ours) }
}

/// Measures all of them.
#[must_use]
pub fn run(size: Size) -> Study {
    let machine = begin();
    let mut all = curve();
    all.extend(reading());
    all.extend(index());
    all.extend(sealing());
    let mut table = vec![row(["operation", "ours, µs", "least, µs", "share", "a second a core"])];
    let (mut bars, mut series) = (Vec::new(), Series::new("least / ours"));
    for mut one in all {
        let (rounds, least) = (size.of(15, 3), Duration::from_millis(size.of(20, 2)));
        let times = in_turn(rounds, least, &mut [&mut one.least, &mut one.ours]);
        let [least, ours] = [0, 1].map(|i| times[i] / one.items as f64);
        table.push(row([
            &one.what,
            &short(ours * 1e6),
            &short(least * 1e6),
            &format!("{:.2}", least / ours),
            &grouped(1.0 / ours),
        ]));
        series.points.push([bars.len() as f64, least / ours]);
        bars.push(one.what);
    }
    let chart = Chart {
        name: "primitives".into(),
        title: "The building blocks' cost over ours".into(),
        x: Axis::linear(""),
        y: Axis::linear("least / ours"),
        bars: (1..=bars.len()).map(|n| n.to_string()).collect(),
        series: vec![series],
    };
    study("primitives", ABOUT, size, vec![table], vec![chart], machine)
}

fn raw_scalar(scalar: &Scalar) -> k256::Scalar {
    *k256::NonZeroScalar::try_from(scalar.to_bytes().as_slice()).unwrap()
}

fn raw_decode(bytes: &[u8; 33]) -> ProjectivePoint {
    let encoded = Sec1Point::from_bytes(bytes).unwrap();
    AffinePoint::from_sec1_point(&encoded).unwrap().into()
}

/// Keeps the optimiser from leaving out what nobody looks at.
fn used<T>(value: T) {
    let _ = black_box(value);
}

fn rng() -> StdRng {
    StdRng::seed_from_u64(1)
}

fn curve() -> Vec<Compared<'static>> {
    let mut rng = rng();
    let (a, s) = (Scalar::random(&mut rng), Scalar::random(&mut rng));
    let (point, raw) = (a.base_mul(), raw_scalar(&s));
    let encoded = point.to_bytes();
    let context = capsule_context("north", "labs", 0);
    let to: Vec<_> = (0..BATCH).map(|_| (point, context.clone())).collect();
    let (rk, bridge, member) =
        (RekeyScalar::from_scalar(s.clone()), BridgeScalar::from_scalar(s.clone()), MemberKey::from_scalar(s));
    let raw_point = raw_decode(&encoded);
    let dst: &'static [u8] = labels::TOKEN_DST;
    let capsules = move || {
        for _ in 0..BATCH {
            black_box((ProjectivePoint::mul_by_generator(black_box(&raw)), black_box(raw_point) * raw));
        }
    };
    vec![
        compared(
            "decode a point",
            1,
            move || used(raw_decode(black_box(&encoded))),
            move || used(Point::from_bytes(black_box(&encoded))),
        ),
        compared(
            "decode points, 64 together",
            BATCH,
            move || (0..BATCH).for_each(|_| used(raw_decode(black_box(&encoded)))),
            move || used(decode_many(black_box(&[encoded; BATCH]))),
        ),
        signatures(),
        compared("encapsulate, 64 together", BATCH, capsules, move || used(encapsulate_many(&to, &mut rng))),
        compared(
            "re-encapsulate, 64 together",
            BATCH,
            move || (0..BATCH).for_each(|_| used(raw_decode(black_box(&encoded)) * raw)),
            move || {
                let capsules = decode_many(black_box(&[encoded; BATCH]));
                let pairs: Vec<_> = capsules.into_iter().map(|c| (&rk, Capsule::from(c.unwrap()))).collect();
                used(reencapsulate_many(&pairs));
            },
        ),
        compared(
            "blind a value for a bridged token",
            1,
            move || used(Secp256k1::hash_from_bytes(&[black_box(b"4548-4")], &[dst]).unwrap() * raw),
            move || used(member.inner("north", "patient.identifier", black_box(b"4548-4"))),
        ),
        compared(
            "bridge a token",
            1,
            move || used((black_box(raw_point) * raw).to_affine().to_sec1_point(true)),
            move || used(bridge.bridge(black_box(&point))),
        ),
    ]
}

fn signatures() -> Compared<'static> {
    let mut rng = rng();
    let secret = SignSecret::from_scalar(&Scalar::random(&mut rng));
    let claim = Claim { key: secret.public(), message: [7; 32], signature: secret.sign(&[7; 32], &mut rng) };
    let raw = k256::schnorr::VerifyingKey::from_bytes(&secret.public().to_bytes().into()).unwrap();
    let signature = k256::schnorr::Signature::from_bytes(&claim.signature.0).unwrap();
    compared(
        "check signatures, 64 together",
        BATCH,
        move || (0..BATCH).for_each(|_| raw.verify_raw(black_box(&[7; 32]), &signature).unwrap()),
        move || used(verify_many(black_box(&[claim; BATCH]), &mut rng)),
    )
}

fn reading() -> Vec<Compared<'static>> {
    let mut rng = rng();
    let owner = SectionSecret::from_scalar(Scalar::random(&mut rng));
    let reader = ReaderKey::from_scalar(Scalar::random(&mut rng));
    let x = Scalar::random(&mut rng);
    let context = capsule_context("north", "labs", 0);
    let (capsule, _) = encapsulate(&owner.public(), &context, &mut rng);
    let grant = make_grant(&owner, &reader.public(), &x);
    let turned = reencapsulate(&grant.rk, &capsule);
    let secret = reader.rekey_secret(&grant.x_pub, &owner.public());
    let raw = raw_scalar(&x);
    let (encoded, turned_bytes, reader_pub) = (capsule.to_bytes(), turned.to_bytes(), reader.public());
    let raw_turned = raw_decode(&turned_bytes);
    let a_pub = owner.public();
    vec![
        compared(
            "make a grant",
            1,
            move || {
                black_box((ProjectivePoint::mul_by_generator(&raw), ProjectivePoint::mul_by_generator(&raw)));
                black_box(black_box(raw_turned) * raw);
            },
            move || used(make_grant(&owner, black_box(&reader_pub), &x)),
        ),
        compared(
            "open capsules, 64 together",
            BATCH,
            move || (0..BATCH).for_each(|_| used(raw_decode(black_box(&turned_bytes)) * raw)),
            move || {
                let one = |turned: Result<Point, _>| ToOpen {
                    secret: &secret,
                    capsule: encoded,
                    reencapsulated: Reencapsulated::from(turned.unwrap()),
                    a_pub,
                    context: context.clone(),
                };
                let turned = decode_many(black_box(&[turned_bytes; BATCH])).into_iter();
                used(open_many(&turned.map(one).collect::<Vec<_>>()));
            },
        ),
    ]
}

/// `count` HMACs of `len` bytes with a prepared key.
fn raw_hmacs(mac: &Hmac<Sha256>, count: usize, len: usize) {
    let message = [7; 64];
    for _ in 0..count {
        let mut mac = mac.clone();
        mac.update(black_box(&message[..len]));
        black_box(mac.finalize());
    }
}

fn index() -> Vec<Compared<'static>> {
    let mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&[1; 32]).unwrap();
    let secret = MemberTokenSecret::from_bytes(&[1; 32]);
    let field = FieldTokenKey::derive(&secret, "north", "observation.code", 0);
    let scope = ScopeKey::derive(&TermKey::from_bytes(&[2; 32]), "north", &[]);
    let least = mac.clone();
    let mut all = vec![compared(
        "token, both layers",
        1,
        move || raw_hmacs(&least, 2, 40),
        move || used(scope.term(&field.inner(black_box(b"http://loinc.org|4548-4")))),
    )];
    for bits in Bits::FIELD {
        let token = field_token(&secret, "north", "observation.value", 0);
        let member = MemberOrderSecret::from_bytes(&[3; 32]);
        let inner = InnerOrderKey::derive(&member, "north", "observation.value", 0);
        let outer = OuterOrderKey::derive(&GateOrderSecret::from_bytes(&[4; 32]), "north", &token, 0, &[]);
        let keys = [NoiseKey::from_bytes(&[5; 32]), NoiseKey::from_bytes(&[6; 32])];
        // Four bits a MAC in both layers, and one for the noise of each.
        let count = usize::from(bits.get() / 4 + bits.outer().get() / 4 + 2);
        let least = mac.clone();
        // A value of its own each time: nothing is met twice.
        let mut next = 1u64;
        all.push(compared(
            &format!("order code of {} bits, both layers", bits.get()),
            1,
            move || raw_hmacs(&least, count, 10),
            move || {
                next = next.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let mut id = [7; 16];
                id[..8].copy_from_slice(&next.to_be_bytes());
                let record = RecordId(id);
                let drawn = noise(&keys[0], &record, b"observation.value");
                let code = inner.code(bits, black_box(next) & bits.max(), drawn).unwrap();
                let drawn = noise(&keys[1], &record, &token.0);
                black_box(outer.code(bits, code, drawn).unwrap());
            },
        ));
    }
    all
}

fn sealing() -> Vec<Compared<'static>> {
    let header = || RecordHeader {
        domain: "north".into(),
        provider: PrincipalId([1; 16]),
        record_id: RecordId([2; 16]),
        section: "labs".into(),
        epoch: 0,
        content_type: "application/fhir+json".into(),
        capsule: [2; 33],
    };
    let key = || CapsuleKey::from_bytes(&[1; 32]);
    let mut all = Vec::new();
    for len in [64, 1024, 65_536] {
        let content = vec![7u8; len];
        let padded = vec![7u8; padme(len as u64 + 5) as usize];
        let associated = header().encode().unwrap();
        let sealed = seal_record(&key(), &header(), ENCODING_PLAIN, &content).unwrap();
        let siv = {
            let (padded, associated) = (padded.clone(), associated.clone());
            move || used(Aes256Siv::new((&[9; 64]).into()).encrypt([&associated], black_box(&padded)))
        };
        let (h, k) = (header(), key());
        let ours = move || used(seal_record(&k, &h, ENCODING_PLAIN, black_box(&content)));
        all.push(compared(&format!("seal {len} bytes"), 1, siv.clone(), ours));
        let (h, k) = (header(), key());
        let ours = move || used(open_record(&k, &h, black_box(&sealed), 1 << 20));
        all.push(compared(&format!("open {len} bytes"), 1, siv, ours));
    }
    let gate = GateTagKey::from_bytes(&[3; 64]);
    let info = RoutingInfo { patient: PrincipalId([1; 16]), section: "labs".into(), epoch: 0, capsule: [2; 33] };
    let least = || {
        let (key, plain, id) = ([3; 64], [7; 59], [4; 16]);
        used(Aes256Siv::new((&key).into()).encrypt([&id, &id], black_box(&plain)));
    };
    let id = RecordId([2; 16]);
    let tag = make_tag(&gate, &id, &info, [5; 16]);
    all.push(compared("open a routing tag", 1, least, move || used(open_tag(&gate, &id, black_box(&tag)))));
    all
}
