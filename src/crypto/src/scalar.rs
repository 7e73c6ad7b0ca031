//! Secret scalars of secp256k1 (section 1): 32 bytes big-endian, never 0.

use k256::NonZeroScalar;
use k256::elliptic_curve::ops::Invert;
use k256::elliptic_curve::{Generate, PrimeField};
use rand_core::CryptoRng;
use subtle::{Choice, ConstantTimeEq};
use zeroize::{Zeroize, Zeroizing};

use crate::Point;

/// Bytes that are no scalar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScalarError {
    /// All bytes are zero.
    #[error("the scalar is zero")]
    Zero,
    /// Not below the order of the group.
    #[error("the scalar is not below the group order")]
    NotReduced,
}

/// A secret, non-zero integer modulo the group order; wiped when dropped.
#[derive(Clone)]
pub struct Scalar(pub(crate) NonZeroScalar);

impl Scalar {
    /// Decodes 32 big-endian bytes.
    ///
    /// # Errors
    /// [`ScalarError`] for 0 and for values not below the group order.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, ScalarError> {
        let reduced: Option<k256::Scalar> = k256::Scalar::from_repr((*bytes).into()).into();
        let scalar = reduced.ok_or(ScalarError::NotReduced)?;
        Self::from_inner(scalar).ok_or(ScalarError::Zero)
    }

    /// Draws one uniformly.
    pub fn random(rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        Self(NonZeroScalar::generate_from_rng(rng))
    }

    /// A small public integer as a scalar; `None` for 0.
    #[must_use]
    pub fn from_u64(value: u64) -> Option<Self> {
        Self::from_inner(k256::Scalar::from(value))
    }

    /// 32 big-endian bytes, wiped when dropped.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_repr().into())
    }

    /// Product modulo the group order.
    #[must_use]
    pub fn mul(&self, other: &Scalar) -> Scalar {
        Scalar(self.0 * other.0)
    }

    /// Inverse modulo the group order.
    #[must_use]
    pub fn invert(&self) -> Scalar {
        Scalar(Invert::invert(&self.0))
    }

    /// `self · G`. One multiplication with the precomputed table (15 µs) and one inversion.
    #[must_use]
    pub fn base_mul(&self) -> Point {
        Point::from_projective(&self.base_mul_projective())
    }

    pub(crate) fn base_mul_projective(&self) -> k256::ProjectivePoint {
        k256::ProjectivePoint::mul_by_generator(&self.0)
    }

    pub(crate) fn inner(&self) -> &k256::Scalar {
        self.0.as_ref()
    }

    pub(crate) fn from_inner(scalar: k256::Scalar) -> Option<Self> {
        Option::from(NonZeroScalar::new(scalar)).map(Self)
    }
}

impl Drop for Scalar {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl ConstantTimeEq for Scalar {
    fn ct_eq(&self, other: &Self) -> Choice {
        self.0.as_ref().ct_eq(other.0.as_ref())
    }
}
