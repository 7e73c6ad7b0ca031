//! Grants (section 5): the owner ties a section to a reader, the gate turns capsules with the
//! resulting scalar, the reader opens what the gate turned.

use sealdex_crypto::{
    CAPSULE_LEN, Capsule, CapsuleKey, Identity, Point, Reencapsulated, RekeyScalar, Scalar, capsule_key_from_encoded,
    capsule_key_from_shared, hash_to_scalar, labels, mul_pairs,
};
use zeroize::Zeroizing;

use crate::SectionSecret;

/// What the owner makes for one reader: the scalar goes to the gate, both points are signed.
#[derive(Clone)]
pub struct GrantKeys {
    /// `X = x·G`.
    pub x_pub: Point,
    /// `rk = a·d⁻¹`.
    pub rk: RekeyScalar,
    /// `R = rk·G`, what the gate checks the scalar against.
    pub r_pub: Point,
}

/// Grants a section to the holder of `reader` (section 5). `x` must be fresh and random; it is
/// not needed again. Two base multiplications, one multiplication.
#[must_use]
pub fn make_grant(section: &SectionSecret, reader: &Point, x: &Scalar) -> GrantKeys {
    let x_pub = x.base_mul();
    let d = derive_d(&x_pub, reader, &reader.mul(x), &section.public());
    let rk = RekeyScalar::from_scalar(section.scalar().mul(&d.invert()));
    let r_pub = rk.public();
    GrantKeys { x_pub, rk, r_pub }
}

/// The encryption key pair of whoever is granted to: a user, or a group.
#[derive(Clone)]
pub struct ReaderKey {
    secret: Scalar,
    public: Point,
}

impl ReaderKey {
    /// The reader key of an identity.
    #[must_use]
    pub fn from_identity(identity: &Identity) -> Self {
        Self { secret: identity.enc_secret().clone(), public: identity.public().enc() }
    }

    /// A secret that is already known.
    #[must_use]
    pub fn from_scalar(secret: Scalar) -> Self {
        let public = secret.base_mul();
        Self { secret, public }
    }

    /// `B = b·G`, what owners grant to.
    #[must_use]
    pub fn public(&self) -> Point {
        self.public
    }

    /// `d = H2S("sdx1/rekey", X, B, b·X, A)` (section 5). The same for every capsule of the
    /// grant, so worth keeping. 45 µs.
    #[must_use]
    pub fn rekey_secret(&self, x_pub: &Point, a_pub: &Point) -> GrantSecret {
        let shared = x_pub.mul(&self.secret);
        GrantSecret(derive_d(x_pub, &self.public, &shared, a_pub))
    }
}

/// `d`: opens what the gate turned for one grant.
#[derive(Clone)]
pub struct GrantSecret(Scalar);

impl GrantSecret {
    pub(crate) fn scalar(&self) -> &Scalar {
        &self.0
    }

    /// The capsule key, by `S = d·E'` (section 5). A capsule that is wrong, swapped or turned
    /// with another scalar gives a key that opens nothing. 41 µs.
    ///
    /// # Panics
    /// If the context exceeds 65,535 bytes.
    #[must_use]
    pub fn open(
        &self,
        capsule: &Capsule,
        reencapsulated: &Reencapsulated,
        a_pub: &Point,
        context: &[u8],
    ) -> CapsuleKey {
        let shared = reencapsulated.point().mul(&self.0);
        capsule_key_from_shared(&shared, capsule, a_pub, context)
    }
}

/// A capsule to be opened with a grant.
pub struct ToOpen<'o> {
    /// Of the grant.
    pub secret: &'o GrantSecret,
    /// The capsule as it came: bytes that are no point give a key that opens nothing.
    pub capsule: [u8; CAPSULE_LEN],
    /// As the gate turned it.
    pub reencapsulated: Reencapsulated,
    /// The owner's section key.
    pub a_pub: Point,
    /// Where it belongs.
    pub context: Vec<u8>,
}

/// [`GrantSecret::open`] for many: one multiplication each, eight at a time where the processor can.
///
/// # Panics
/// If a context exceeds 65,535 bytes.
#[must_use]
pub fn open_many(all: &[ToOpen<'_>]) -> Vec<CapsuleKey> {
    let pairs: Vec<(Point, &Scalar)> = all.iter().map(|o| (o.reencapsulated.point(), &o.secret.0)).collect();
    let shared = Zeroizing::new(mul_pairs(&pairs));
    let key =
        |(o, shared): (&ToOpen<'_>, &[u8; 33])| capsule_key_from_encoded(shared, &o.capsule, &o.a_pub, &o.context);
    all.iter().zip(shared.iter()).map(key).collect()
}

/// The factor `d·d'⁻¹` with which the gate turns a grant to a group's old key into one to its
/// new key (section 5, groups). Needs both keys, but neither the owner nor the gate's scalar.
#[must_use]
pub fn rotation_factor(old: &ReaderKey, new: &ReaderKey, x_pub: &Point, a_pub: &Point) -> Scalar {
    let d = old.rekey_secret(x_pub, a_pub);
    let d_new = new.rekey_secret(x_pub, a_pub);
    d.0.mul(&d_new.0.invert())
}

pub(crate) fn derive_d(x_pub: &Point, reader: &Point, shared: &Point, a_pub: &Point) -> Scalar {
    let shared = Zeroizing::new(shared.to_bytes());
    let parts: [&[u8]; 4] = [&x_pub.to_bytes(), &reader.to_bytes(), shared.as_slice(), &a_pub.to_bytes()];
    hash_to_scalar(labels::REKEY, &parts)
}
