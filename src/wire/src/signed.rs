//! Signed documents: the exact text that was signed, the signer and a BIP-340 signature.
//!
//! The text travels as it was signed, so no canonical form is needed and none can be got wrong.

use std::marker::PhantomData;

use sealdex_crypto::{Claim, Identity, PrincipalId, PublicIdentity, Signature};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{B32, codec, labels};

/// A document of type `T` with its signature. Reading it goes through [`Signed::verify`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, bound = "")]
pub struct Signed<T> {
    /// The signed JSON text, byte for byte.
    pub payload: String,
    /// Who signed.
    pub signer: PrincipalId,
    /// BIP-340 signature over [`digest`].
    pub signature: Signature,
    #[serde(skip)]
    kind: PhantomData<fn() -> T>,
}

/// Why a signed document was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SignedError {
    /// The named signer is not who should have signed.
    #[error("signed by {actual}, expected {expected}")]
    WrongSigner {
        /// Who should have signed.
        expected: PrincipalId,
        /// Who did.
        actual: PrincipalId,
    },
    /// The signature does not fit the text.
    #[error("the signature of {0} does not fit the document")]
    BadSignature(PrincipalId),
    /// The text is not the expected document.
    #[error("the signed document does not parse: {0}")]
    Malformed(#[from] codec::CodecError),
}

/// A document type: its name is signed along, so one kind cannot pass for another.
pub trait Document: Serialize + DeserializeOwned {
    /// Name of the kind, unique within the domain.
    const KIND: &'static str;
}

impl<T: Document> Signed<T> {
    /// Signs `document`.
    pub fn sign(document: &T, by: &Identity, rng: &mut impl rand_core::CryptoRng) -> Self {
        let payload = codec::to_json(document);
        let signature = by.sign(&digest(T::KIND, &payload), rng);
        Self { payload, signer: by.id(), signature, kind: PhantomData }
    }

    /// The document, after its signature was checked against `by`.
    pub fn verify(&self, by: &PublicIdentity) -> Result<T, SignedError> {
        if self.signer != by.id() {
            return Err(SignedError::WrongSigner { expected: by.id(), actual: self.signer });
        }
        by.verify(&digest(T::KIND, &self.payload), &self.signature)
            .map_err(|_| SignedError::BadSignature(self.signer))?;
        Ok(codec::from_json(self.payload.as_bytes())?)
    }

    /// Its signature by `by`, for [`sealdex_crypto::verify_many`]: once that has said that it holds, what
    /// [`Signed::peek`] gave is verified.
    ///
    /// # Errors
    /// [`SignedError::WrongSigner`].
    pub fn claim(&self, by: &PublicIdentity) -> Result<Claim, SignedError> {
        if self.signer != by.id() {
            return Err(SignedError::WrongSigner { expected: by.id(), actual: self.signer });
        }
        Ok(Claim { key: by.sign_key(), message: digest(T::KIND, &self.payload), signature: self.signature })
    }

    /// What was signed: names the document, its kind included.
    pub fn digest(&self) -> B32 {
        B32(digest(T::KIND, &self.payload))
    }

    /// The document as claimed, *not verified*: for documents that carry their signer's keys, which
    /// are then passed to [`Signed::verify`].
    pub fn peek(&self) -> Result<T, SignedError> {
        Ok(codec::from_json(self.payload.as_bytes())?)
    }
}

/// `SHA-256(label ‖ lp(kind) ‖ payload)`.
fn digest(kind: &str, payload: &str) -> [u8; 32] {
    crate::auth::sha256(&[
        labels::DOCUMENT.as_bytes(),
        &(kind.len() as u16).to_be_bytes(),
        kind.as_bytes(),
        payload.as_bytes(),
    ])
}
