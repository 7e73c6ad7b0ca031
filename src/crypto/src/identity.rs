//! Identities (section 2): one seed, an encryption key and a signing key, and an id that
//! certifies both.

use rand_core::CryptoRng;
use sha2::{Digest, Sha256};

use crate::kdf::truncate;
use crate::secret::secret_bytes;
use crate::{
    BadSignature, Point, PointError, PrincipalId, Scalar, SignPublic, SignSecret, Signature, decode_many,
    hash_to_scalar, labels,
};

secret_bytes!(
    /// The 32 bytes from which everything of a principal is derived, section keys included.
    IdentitySeed,
    32
);

/// A principal's key pairs.
pub struct Identity {
    enc: Scalar,
    sign: SignSecret,
    public: PublicIdentity,
}

impl Identity {
    /// Derives both key pairs (section 2). Two base multiplications.
    #[must_use]
    pub fn from_seed(seed: &IdentitySeed) -> Self {
        let enc = hash_to_scalar(labels::IDENTITY_ENC, &[seed.expose()]);
        let sign = hash_to_scalar(labels::IDENTITY_SIGN, &[seed.expose()]);
        let sign = SignSecret::from_scalar(&sign);
        let public = PublicIdentity::new(enc.base_mul(), sign.public());
        Self { enc, sign, public }
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicIdentity {
        self.public
    }

    /// The principal's id.
    #[must_use]
    pub fn id(&self) -> PrincipalId {
        self.public.id
    }

    /// BIP-340 signature of a 32-byte message (a hash), 19 µs.
    pub fn sign(&self, message: &[u8; 32], rng: &mut (impl CryptoRng + ?Sized)) -> Signature {
        self.sign.sign(message, rng)
    }

    /// The scalar that opens what was granted to this principal.
    #[must_use]
    pub fn enc_secret(&self) -> &Scalar {
        &self.enc
    }
}

/// A principal's public keys, validated, and the id they certify.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PublicIdentity {
    enc: Point,
    sign: SignPublic,
    id: PrincipalId,
}

impl PublicIdentity {
    fn new(enc: Point, sign: SignPublic) -> Self {
        let hash = Sha256::new()
            .chain_update(labels::PRINCIPAL)
            .chain_update(enc.to_bytes())
            .chain_update(sign.to_bytes())
            .finalize();
        Self { enc, sign, id: PrincipalId(truncate(hash.into())) }
    }

    /// Decodes the 33-byte encryption key and the 32-byte signing key and derives the id.
    ///
    /// # Errors
    /// [`PointError`] if either is not a key.
    pub fn from_bytes(enc: &[u8], sign: &[u8]) -> Result<Self, PointError> {
        Ok(Self::new(Point::from_bytes(enc)?, SignPublic::from_bytes(sign)?))
    }

    /// Decodes many, in order, each as [`PublicIdentity::from_bytes`] does. Eight at a time where the processor can:
    /// 2 µs each.
    #[must_use]
    pub fn decode_many(keys: &[([u8; 33], [u8; 32])]) -> Vec<Result<Self, PointError>> {
        let enc = decode_many(&keys.iter().map(|(enc, _)| *enc).collect::<Vec<_>>());
        let even = |x: &[u8; 32]| {
            let mut encoded = [2; 33];
            encoded[1..].copy_from_slice(x);
            encoded
        };
        let sign = decode_many(&keys.iter().map(|(_, sign)| even(sign)).collect::<Vec<_>>());
        let both = |(enc, sign): (Result<Point, PointError>, Result<Point, PointError>)| {
            Ok(Self::new(enc?, SignPublic::from_point(&sign?).ok_or(PointError::NotOnCurve)?))
        };
        enc.into_iter().zip(sign).map(both).collect()
    }

    /// The encryption key.
    #[must_use]
    pub fn enc(&self) -> Point {
        self.enc
    }

    /// The encryption key, 33 bytes.
    #[must_use]
    pub fn enc_bytes(&self) -> [u8; 33] {
        self.enc.to_bytes()
    }

    /// The signing key.
    #[must_use]
    pub fn sign_key(&self) -> SignPublic {
        self.sign
    }

    /// The signing key, 32 bytes.
    #[must_use]
    pub fn sign_bytes(&self) -> [u8; 32] {
        self.sign.to_bytes()
    }

    /// First 16 bytes of the hash over both keys (section 2).
    #[must_use]
    pub fn id(&self) -> PrincipalId {
        self.id
    }

    /// Checks a signature of this principal, 46 µs.
    ///
    /// # Errors
    /// [`BadSignature`], whatever the reason.
    pub fn verify(&self, message: &[u8; 32], signature: &Signature) -> Result<(), BadSignature> {
        self.sign.verify(message, signature)
    }
}
