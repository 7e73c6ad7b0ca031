//! Bridged tokens (section 8b): every member has its own key, and only the gate can make
//! members' tokens meet, by one multiplication with the scalar it holds for that member.

use hash2curve::GroupDigest;
use k256::Secp256k1;
use rand_core::CryptoRng;

use crate::encoding::{TooLong, checked_len};
use crate::secret::secret_scalar;
use crate::{Point, Scalar, labels};

secret_scalar!(
    /// `K`: known to the authority during the ceremony, to nobody else.
    DomainMaster
);
secret_scalar!(
    /// `k_i`: a member's own token key.
    MemberKey
);
secret_scalar!(
    /// `δ_i = K·k_i⁻¹`: what the gate holds for a member. Revoking the member is deleting it.
    BridgeScalar
);

/// `hash_to_curve(lp(domain) ‖ lp(field) ‖ lp(value))` (section 8b, RFC 9380), 39 µs.
///
/// # Errors
/// [`TooLong`] if a part exceeds [`crate::MAX_PART`] bytes.
pub fn token_point(domain: &str, field: &str, value: &[u8]) -> Result<Point, TooLong> {
    let lengths = [
        checked_len("domain", domain.as_bytes())?,
        checked_len("field", field.as_bytes())?,
        checked_len("value", value)?,
    ];
    let message: [&[u8]; 6] = [&lengths[0], domain.as_bytes(), &lengths[1], field.as_bytes(), &lengths[2], value];
    #[allow(clippy::expect_used, reason = "fails only for an empty separation tag")]
    let point = Secp256k1::hash_from_bytes(&message, &[labels::TOKEN_DST])
        .expect("the separation tag is neither empty nor overlong");
    Ok(Point::from_projective(&point))
}

impl DomainMaster {
    /// A pair for a new member: its key, and the gate's scalar for it. Neither shows `K`.
    pub fn enrol(&self, rng: &mut (impl CryptoRng + ?Sized)) -> (MemberKey, BridgeScalar) {
        let member = MemberKey::random(rng);
        let bridge = self.bridge_for(&member);
        (member, bridge)
    }

    /// The gate's scalar for a given member key: `δ_i = K·k_i⁻¹`.
    #[must_use]
    pub fn bridge_for(&self, member: &MemberKey) -> BridgeScalar {
        BridgeScalar(self.0.mul(&member.0.invert()))
    }
}

impl MemberKey {
    /// `T_i = k_i·P`, the inner token of a value, 80 µs.
    ///
    /// # Errors
    /// [`TooLong`] if a part exceeds [`crate::MAX_PART`] bytes.
    pub fn inner(&self, domain: &str, field: &str, value: &[u8]) -> Result<Point, TooLong> {
        Ok(token_point(domain, field, value)?.mul(&self.0))
    }

    /// Enrols a child without the authority: its key, and the `c⁻¹` to give the gate.
    pub fn delegate(&self, rng: &mut (impl CryptoRng + ?Sized)) -> (MemberKey, Scalar) {
        self.delegate_with(&Scalar::random(rng))
    }

    /// [`MemberKey::delegate`] with a given `c`: `(k_i·c, c⁻¹)`.
    #[must_use]
    pub fn delegate_with(&self, c: &Scalar) -> (MemberKey, Scalar) {
        (MemberKey(self.0.mul(c)), c.invert())
    }
}

impl BridgeScalar {
    /// `T = δ_i·T_i = K·P`, the same for every member, 41 µs; for many use [`crate::mul_many`]
    /// with [`BridgeScalar::scalar`].
    #[must_use]
    pub fn bridge(&self, inner: &Point) -> Point {
        inner.mul(&self.0)
    }

    /// The gate's scalar for a child: `δ_i·c⁻¹`.
    #[must_use]
    pub fn delegate(&self, c_inverse: &Scalar) -> BridgeScalar {
        BridgeScalar(self.0.mul(c_inverse))
    }
}
