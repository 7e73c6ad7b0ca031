//! Capsules, the writer's side (section 4): a fresh point from which the owner, or whoever the
//! owner grants to, derives the key of one upload's records.

use std::fmt;

use rand_core::CryptoRng;

use crate::encoding::push_lp;
use crate::point::{base_products, normalize_pair, shared_products};
use crate::secret::secret_bytes;
use crate::{POINT_LEN, Point, PointError, Scalar, kdf, labels};

/// Length of a capsule in bytes.
pub const CAPSULE_LEN: usize = POINT_LEN;

/// The public point `E = r·G` that carries a key to the section's owner.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Capsule(Point);

impl Capsule {
    /// Decodes 33 bytes, 5 µs.
    ///
    /// # Errors
    /// [`PointError`] if they are no point.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PointError> {
        Point::from_bytes(bytes).map(Self)
    }

    /// 33 bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; CAPSULE_LEN] {
        self.0.to_bytes()
    }

    /// The point itself.
    #[must_use]
    pub fn point(&self) -> Point {
        self.0
    }
}

impl From<Point> for Capsule {
    fn from(point: Point) -> Self {
        Self(point)
    }
}

impl fmt::Debug for Capsule {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

secret_bytes!(
    /// The key `K` that a capsule carries; each record derives its own from it.
    CapsuleKey,
    32
);

/// `lp(domain) ‖ lp(section) ‖ u32(epoch)`, what binds a capsule key to its place (section 4).
///
/// # Panics
/// If a name exceeds [`crate::MAX_PART`] bytes.
#[must_use]
pub fn capsule_context(domain: &str, section: &str, epoch: u32) -> Vec<u8> {
    let mut context = Vec::with_capacity(8 + domain.len() + section.len());
    push_lp(&mut context, domain.as_bytes());
    push_lp(&mut context, section.as_bytes());
    context.extend_from_slice(&epoch.to_be_bytes());
    context
}

/// Makes a capsule for the owner of section key `a_pub` (section 4). One base multiplication,
/// one multiplication, one inversion: about 55 µs.
///
/// # Panics
/// If the context exceeds [`crate::MAX_PART`] bytes; [`capsule_context`] of sane names does not.
pub fn encapsulate(a_pub: &Point, context: &[u8], rng: &mut (impl CryptoRng + ?Sized)) -> (Capsule, CapsuleKey) {
    encapsulate_with(&Scalar::random(rng), a_pub, context)
}

/// [`encapsulate`] with a given random scalar, which must never be used twice.
///
/// # Panics
/// As [`encapsulate`].
#[must_use]
pub fn encapsulate_with(r: &Scalar, a_pub: &Point, context: &[u8]) -> (Capsule, CapsuleKey) {
    let [e, shared] = normalize_pair([r.base_mul_projective(), a_pub.mul_projective(r)]);
    let capsule = Capsule(e);
    let key = capsule_key_from_shared(&shared, &capsule, a_pub, context);
    (capsule, key)
}

/// [`encapsulate`] for several section keys, each with its context. Eight at a time where the processor can: 8 µs a capsule.
///
/// # Panics
/// As [`encapsulate`].
pub fn encapsulate_many(to: &[(Point, Vec<u8>)], rng: &mut (impl CryptoRng + ?Sized)) -> Vec<(Capsule, CapsuleKey)> {
    let r: Vec<_> = to.iter().map(|_| Scalar::random(rng)).collect();
    let shared = shared_products(to.iter().zip(&r).map(|((a_pub, _), r)| (*a_pub, r)));
    let made = base_products(r.iter()).into_iter().zip(shared.iter()).zip(to).map(|((e, shared), (a_pub, context))| {
        let capsule = Capsule(e);
        let key = capsule_key_from_shared(shared, &capsule, a_pub, context);
        (capsule, key)
    });
    made.collect()
}

/// `K = KDF("sdx1/capsule", S, (E, A, context), 32)` (section 4). Whoever knows `S` may call
/// this: the writer as `r·A`, the owner as `a·E`, a granted reader as `d·E'`.
///
/// # Panics
/// As [`encapsulate`].
#[must_use]
pub fn capsule_key_from_shared(shared: &Point, capsule: &Capsule, a_pub: &Point, context: &[u8]) -> CapsuleKey {
    let shared = zeroize::Zeroizing::new(shared.to_bytes());
    capsule_key_from_encoded(&shared, &capsule.to_bytes(), a_pub, context)
}

/// [`capsule_key_from_shared`] of points as they are encoded. Bytes that are no capsule give a key that opens nothing.
///
/// # Panics
/// As [`encapsulate`].
#[must_use]
pub fn capsule_key_from_encoded(
    shared: &[u8; POINT_LEN],
    capsule: &[u8; CAPSULE_LEN],
    a_pub: &Point,
    context: &[u8],
) -> CapsuleKey {
    let parts: [&[u8]; 3] = [capsule, &a_pub.to_bytes(), context];
    CapsuleKey::from_bytes(&kdf::<32>(labels::CAPSULE, shared, &parts))
}
