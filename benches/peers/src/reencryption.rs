//! Turning a key that was made for one person into one for another: section 5 of the suite beside Umbral and recrypt.

use std::cell::RefCell;
use std::hint::black_box;
use std::rc::Rc;

use k256::ProjectivePoint;
use rand::{SeedableRng, rngs::StdRng};
use sealdex_crypto::*;
use sealdex_open::{GrantSecret, ReaderKey, SectionSecret, make_grant};
use umbral_pre::{self as umbral, SecretKey, Signer};

use crate::Failure;
use crate::measure::{Contender, Processor, micros};
use crate::outside;
use crate::report::{Better, Group, OURS, Peer, Target};
use crate::settings::Settings;

const NOT_COMPARABLE: &str = "\
Umbral and recrypt encrypt a message (Umbral: ChaCha20-Poly1305; recrypt: a random element of F_p¹² that a key is \
derived from), ours makes a key only. umbral-pre's re-encryption always makes a proof of correctness and has no \
function without; ours makes one on request, and a gate answers readers without. So there are two like-for-like \
comparisons, both below the one of what each does by itself: with a proof on both sides, and without one on either, \
where Umbral's is the two multiplications of a point that its re-encryption consists of beside its proof (three more), \
by the version of k256 it is built with. Ours is measured alone and 64 at once, as a gate does it for an answer (eight \
side by side where the processor has AVX-512 IFMA); umbral-pre takes one capsule at a time and has no other way. Umbral's fragments are signed by the owner for the proxy to check \
and may be shared over several proxies; ours are signed by the layer above, and shared by another method. recrypt \
works on a pairing-friendly curve over a field of 256 bits, the smaller of the two it offers, signs every \
transformation with Ed25519, and may be applied several times in a row; ours and Umbral's may not.";

const ENCAPSULATE: &str = "encapsulate or encrypt";
const GRANT: &str = "grant: make the proxy's key";
const TURN: &str = "re-encapsulate";
const TURN_PROVED: &str = "re-encapsulate, with proof";
const CHECK: &str = "check the proof";
const OPEN: &str = "open, first of a grant";
const BYTES: &str = "re-encapsulate, bytes to bytes";
const MANY: &str = "re-encapsulate, 64 at once, bytes to bytes";
const MANY_PROVED: &str = "re-encapsulate, 64 at once, each with its proof";
const LIMIT: &str = "one multiplication of a point";
const K256: &str = "Apache-2.0 OR MIT";

pub fn compare(settings: &Settings) -> Result<Vec<Group>, Failure> {
    let mut group = Group::new("re-encryption", "µs", Better::Lower, NOT_COMPARABLE);
    let mut contenders = ours();
    let umbral = Peer::linked("umbral-pre", "", "GPL-3.0-only");
    contenders.extend(umbrals(&umbral)?);
    let two = Peer::linked("k256", "0.13", K256).configured("Umbral's two multiplications");
    contenders.push(two_multiplications(&two));
    let raw = Peer::linked("k256", "0.14", K256);
    contenders.push(raw_multiplication(&raw));
    // Last, for its turns are long: what the targets are about is measured close together.
    match outside::recrypt() {
        Ok(process) => contenders.extend(recrypts(process)),
        Err(why) => group.skip("recrypt", why),
    }
    group.rows = micros(settings, contenders)?;
    group.rows.sort_by_key(|r| {
        [ENCAPSULATE, GRANT, TURN, TURN_PROVED, CHECK, OPEN, BYTES, MANY, MANY_PROVED]
            .iter()
            .position(|what| *what == r.what)
            .unwrap_or(10)
    });
    group.compare();
    let (turn, proved) = ((TURN, OURS), (TURN_PROVED, OURS));
    let (theirs, theirs_bare) = ((TURN, umbral.name.as_str()), (TURN, two.name.as_str()));
    let limit = (LIMIT, raw.name.as_str());
    let at_least = |what: &str, target: f64, this, that| Target::at_least(what, target, group.ratio(this, that));
    group.targets = vec![
        at_least("one raw multiplication over our re-encapsulation", 0.85, limit, turn),
        at_least("the same, 64 at once and with decoding and encoding", 0.85, limit, (MANY, OURS)),
        at_least("umbral-pre's re-encryption, always with its proof, over ours without one", 5.0, theirs, turn),
        at_least("like for like, both with a proof: umbral-pre's over ours", 5.0, (TURN_PROVED, theirs.1), proved),
        at_least("the same, ours 64 at once", 5.0, (TURN_PROVED, theirs.1), (MANY_PROVED, OURS)),
        at_least("like for like, none with a proof: Umbral's arithmetic over ours", 5.0, theirs_bare, turn),
        at_least("the same, ours 64 at once, with decoding and encoding", 5.0, theirs_bare, (MANY, OURS)),
    ];
    Ok(vec![group])
}

fn ours() -> Vec<Contender<'static>> {
    let peer = &Peer::ours();
    let mut rng = StdRng::seed_from_u64(1);
    let owner = SectionSecret::from_scalar(Scalar::random(&mut rng));
    let reader = ReaderKey::from_scalar(Scalar::random(&mut rng));
    let context = capsule_context("north", "labs", 0);
    let (capsule, made) = encapsulate(&owner.public(), &context, &mut rng);
    let grant = make_grant(&owner, &reader.public(), &Scalar::random(&mut rng));
    let turned = reencapsulate(&grant.rk, &capsule);
    let proof = dleq::prove(&grant.rk, &capsule, &turned, &mut rng);
    let secret = reader.rekey_secret(&grant.x_pub, &owner.public());
    let owner_public = owner.public();
    let opened = secret.open(&capsule, &turned, &owner_public, &context);
    assert_eq!(opened.expose(), made.expose(), "the granted reader's key is the writer's");

    let (rk, x_pub, r_pub) = (grant.rk.clone(), grant.x_pub, grant.r_pub);
    let encoded = capsule.to_bytes();
    let sixty_four = {
        let rk = rk.clone();
        Contender::timing_itself(
            MANY,
            peer,
            Box::new(move |count| {
                let started = Processor::now();
                let rounds = count.div_ceil(64);
                for _ in 0..rounds {
                    let capsules = decode_many(black_box(&[encoded; 64])).into_iter();
                    let pairs: Result<Vec<_>, _> =
                        capsules.map(|c| Ok::<_, PointError>((&rk, Capsule::from(c?)))).collect();
                    black_box(reencapsulate_many(&pairs?));
                }
                Ok(started.elapsed().mul_f64(count as f64 / (rounds * 64) as f64))
            }),
        )
        .note("each")
    };
    let granted = reader.public();
    let opens = |secret: GrantSecret, context: Vec<u8>| {
        Contender::new("open, further of a grant", peer, move || {
            secret.open(&capsule, &turned, &owner_public, &context)
        })
        .note("a reader keeps what opens a grant's capsules")
    };
    vec![
        Contender::new(TURN, peer, {
            let rk = rk.clone();
            move || reencapsulate(&rk, black_box(&capsule))
        }),
        Contender::new(TURN_PROVED, peer, {
            let (rk, mut rng) = (rk.clone(), StdRng::seed_from_u64(2));
            move || {
                let turned = reencapsulate(&rk, black_box(&capsule));
                (turned, dleq::prove(&rk, &capsule, &turned, &mut rng))
            }
        }),
        proved_each(&rk, &capsule),
        proved_together(&rk, &capsule),
        Contender::new(BYTES, peer, {
            let rk = rk.clone();
            move || Capsule::from_bytes(&encoded).map(|capsule| reencapsulate(&rk, &capsule).to_bytes())
        }),
        sixty_four,
        Contender::new(ENCAPSULATE, peer, {
            let (context, mut rng) = (context.clone(), StdRng::seed_from_u64(3));
            move || encapsulate(&owner_public, &context, &mut rng)
        }),
        Contender::new(GRANT, peer, {
            let mut rng = StdRng::seed_from_u64(4);
            move || make_grant(&owner, &granted, &Scalar::random(&mut rng))
        }),
        Contender::new(CHECK, peer, move || dleq::verify(&r_pub, &capsule, &turned, &proof)),
        Contender::new(OPEN, peer, {
            let context = context.clone();
            move || reader.rekey_secret(&x_pub, &owner_public).open(&capsule, &turned, &owner_public, &context)
        }),
        opens(secret, context),
    ]
}

/// Many capsules of a grant at once, each with a proof of its own.
fn proved_each(rk: &RekeyScalar, capsule: &Capsule) -> Contender<'static> {
    let (rk, capsule) = (rk.clone(), *capsule);
    let mut rng = StdRng::seed_from_u64(8);
    let work = move |count: u64| {
        let rounds = count.div_ceil(64);
        let started = Processor::now();
        for _ in 0..rounds {
            let turned = reencapsulate_each(black_box(&[(&rk, capsule); 64]));
            let about: Vec<_> = turned.into_iter().map(|turned| (&rk, capsule, turned)).collect();
            black_box(dleq::prove_each(&about, &mut rng));
        }
        Ok(started.elapsed().mul_f64(count as f64 / (rounds * 64) as f64))
    };
    Contender::timing_itself(MANY_PROVED, &Peer::ours(), Box::new(work)).note("each")
}

/// Many capsules of a grant under one proof.
fn proved_together(rk: &RekeyScalar, capsule: &Capsule) -> Contender<'static> {
    let (rk, point) = (rk.clone(), capsule.point());
    let mut rng = StdRng::seed_from_u64(6);
    let work = move |count: u64| {
        let rounds = count.div_ceil(64);
        let started = Processor::now();
        for _ in 0..rounds {
            let turned = |point: Point| (point, Point::mul(&point, rk.scalar()));
            let pairs: Vec<(Point, Point)> = (0..64).map(|_| turned(black_box(point))).collect();
            black_box(dleq::prove_many(rk.scalar(), &pairs, &mut rng).ok_or("no proof was made")?);
        }
        Ok(started.elapsed().mul_f64(count as f64 / (rounds * 64) as f64))
    };
    let peer = Peer::ours().configured("64 under one proof");
    Contender::timing_itself(TURN_PROVED, &peer, Box::new(work)).note("each")
}

/// As in its documentation, with one fragment of one.
fn umbrals(peer: &Peer) -> Result<Vec<Contender<'static>>, Failure> {
    let (owner, reader) = (SecretKey::random(), SecretKey::random());
    let (owner_public, reader_public) = (owner.public_key(), reader.public_key());
    let signer = Signer::new(SecretKey::random());
    let verifying = signer.verifying_key();
    let plaintext = [7; 32];
    let (capsule, ciphertext) = umbral::encrypt(&owner_public, &plaintext).map_err(|e| e.to_string())?;
    let fragments = umbral::generate_kfrags(&owner, &reader_public, &signer, 1, 1, true, true);
    let fragment = fragments.first().ok_or("umbral made no fragment")?.clone();
    let turned = umbral::reencrypt(&capsule, fragment.clone());
    let opened = umbral::decrypt_reencrypted(&reader, &owner_public, &capsule, [turned.clone()], &ciphertext);
    assert_eq!(opened.ok().as_deref(), Some(plaintext.as_slice()), "Umbral opens what it re-encrypted");

    let turn = |what: &'static str| {
        let (capsule, fragment) = (capsule.clone(), fragment.clone());
        Contender::new(what, peer, move || umbral::reencrypt(&capsule, fragment.clone())).note("makes its proof always")
    };
    Ok(vec![
        turn(TURN),
        turn(TURN_PROVED),
        Contender::new(ENCAPSULATE, peer, move || umbral::encrypt(&owner_public, &plaintext))
            .note("and encrypts 32 bytes"),
        Contender::new(GRANT, peer, {
            let owner = owner.clone();
            move || umbral::generate_kfrags(&owner, &reader_public, &signer, 1, 1, true, true)
        })
        .note("one fragment of one, signed for both keys"),
        Contender::new("proxy checks the grant, once", peer, {
            let sent = fragment.clone().unverify();
            move || sent.clone().verify(&verifying, Some(&owner_public), Some(&reader_public)).is_ok()
        }),
        Contender::new(CHECK, peer, {
            let (capsule, sent) = (capsule.clone(), turned.clone().unverify());
            move || sent.clone().verify(&capsule, &verifying, &owner_public, &reader_public).is_ok()
        })
        .note("its documentation: the reader must"),
        Contender::new(OPEN, peer, move || {
            umbral::decrypt_reencrypted(&reader, &owner_public, &capsule, [turned.clone()], &ciphertext)
        })
        .note("every time, and decrypts 32 bytes"),
    ])
}

fn recrypts(process: outside::Outside) -> Vec<Contender<'static>> {
    let peer = Peer { name: "recrypt".into(), version: process.version.clone(), licence: "AGPL-3.0-only" };
    let process = Rc::new(RefCell::new(process));
    [
        (ENCAPSULATE, "encapsulate", "makes a plaintext, encrypts and signs it"),
        (GRANT, "grant", "signed"),
        (TURN, "reencapsulate", "checks and makes a signature"),
        (OPEN, "open", "checks the signature; every time"),
    ]
    .into_iter()
    .map(|(what, operation, note)| {
        let process = process.clone();
        Contender::timing_itself(what, &peer, Box::new(move |count| process.borrow_mut().time(operation, count)))
            .note(note)
    })
    .collect()
}

/// The least a re-encapsulation can be made of.
fn raw_multiplication(peer: &Peer) -> Contender<'static> {
    let [first, second] = scalars(5).map(|bytes| {
        let parsed: Option<k256::Scalar> = k256::elliptic_curve::PrimeField::from_repr(bytes.into()).into();
        parsed.unwrap_or(k256::Scalar::ONE)
    });
    let point = ProjectivePoint::mul_by_generator(&first);
    Contender::new(LIMIT, peer, move || black_box(point) * black_box(second))
        .note("variable base, constant time, result not normalised")
}

/// What Umbral's re-encryption is without its proof: `e1 = rk·e` and `v1 = rk·v`, as umbral-pre computes them.
fn two_multiplications(peer: &Peer) -> Contender<'static> {
    use k256_of_umbral::{ProjectivePoint, Scalar, elliptic_curve::PrimeField};
    let [first, second] = scalars(7).map(|bytes| {
        let parsed: Option<Scalar> = Scalar::from_repr(bytes.into()).into();
        parsed.unwrap_or(Scalar::ONE)
    });
    let (e, v) = (ProjectivePoint::GENERATOR * first, ProjectivePoint::GENERATOR * first.square());
    Contender::new(TURN, peer, move || (black_box(e) * black_box(second), black_box(v) * black_box(second)))
        .note("without a proof; results not normalised")
}

/// Two scalars of the suite, never zero, so that their bytes are scalars of the curve.
fn scalars(seed: u64) -> [[u8; 32]; 2] {
    let mut rng = StdRng::seed_from_u64(seed);
    std::array::from_fn(|_| *Scalar::random(&mut rng).to_bytes())
}
