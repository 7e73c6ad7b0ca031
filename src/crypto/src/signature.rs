//! BIP-340 Schnorr signatures over 32-byte messages (section 2).

use std::fmt;

use k256::schnorr;
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::ids::write_hex;
use crate::{Point, PointError, Scalar};

/// Length of a signature in bytes.
pub const SIGNATURE_LEN: usize = 64;

/// The signature does not belong to this key and message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not fit the key and the message")]
pub struct BadSignature;

/// A BIP-340 signature, not yet verified.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signature(pub [u8; SIGNATURE_LEN]);

impl fmt::Debug for Signature {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(out, &self.0)
    }
}

impl AsRef<[u8]> for Signature {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// A validated x-only public key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SignPublic(pub(crate) schnorr::VerifyingKey);

impl SignPublic {
    /// Decodes the 32-byte x coordinate.
    ///
    /// # Errors
    /// [`PointError`] for another length or an x that no point has.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PointError> {
        let x: [u8; 32] = bytes.try_into().map_err(|_| PointError::Length { expected: 32, found: bytes.len() })?;
        schnorr::VerifyingKey::from_bytes(&x.into()).map(Self).map_err(|_| PointError::NotOnCurve)
    }

    /// The point of even y with this x coordinate, if it has been decoded.
    pub(crate) fn from_point(point: &Point) -> Option<Self> {
        schnorr::VerifyingKey::try_from(point.0).ok().map(Self)
    }

    /// The 32-byte x coordinate.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 32] {
        self.0.to_bytes().into()
    }

    /// Checks a signature, 46 µs.
    ///
    /// # Errors
    /// [`BadSignature`], whatever the reason.
    pub fn verify(&self, message: &[u8; 32], signature: &Signature) -> Result<(), BadSignature> {
        let signature = schnorr::Signature::from_bytes(&signature.0).map_err(|_| BadSignature)?;
        self.0.verify_raw(message, &signature).map_err(|_| BadSignature)
    }
}

impl fmt::Debug for SignPublic {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(out, &self.to_bytes())
    }
}

/// A signing secret. The key inside is wiped when dropped.
pub struct SignSecret(schnorr::SigningKey);

impl SignSecret {
    /// Gives a scalar this role.
    #[must_use]
    pub fn from_scalar(scalar: &Scalar) -> Self {
        Self(schnorr::SigningKey::from(scalar.0))
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> SignPublic {
        SignPublic(*self.0.verifying_key())
    }

    /// Signs with fresh auxiliary randomness, 19 µs.
    pub fn sign(&self, message: &[u8; 32], rng: &mut (impl CryptoRng + ?Sized)) -> Signature {
        let mut auxiliary = Zeroizing::new([0; 32]);
        rng.fill_bytes(auxiliary.as_mut_slice());
        self.sign_with(message, &auxiliary)
    }

    /// Signs with given auxiliary randomness; deterministic.
    #[must_use]
    pub fn sign_with(&self, message: &[u8; 32], auxiliary: &[u8; 32]) -> Signature {
        #[allow(clippy::expect_used, reason = "fails only if a hash is 0 modulo the order")]
        let signature = self.0.sign_raw(message, auxiliary).expect("the nonce and the response are not zero");
        Signature(signature.to_bytes())
    }
}
