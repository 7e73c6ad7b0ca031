//! Public keys of logs and witnesses.

use std::fmt;

use ed25519_dalek::{Signature, VerifyingKey};

use super::{KeyId, KeyName, NoteError, NoteSignature};
use crate::{base64, labels};

/// What a key's signatures are over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Ed25519 over a note's text: logs.
    Ed25519,
    /// Ed25519 over a time and a checkpoint's text: witnesses.
    CosignatureV1,
}

impl Algorithm {
    /// The byte assigned to it in signed-note, "Signature types".
    #[must_use]
    pub fn byte(self) -> u8 {
        match self {
            Self::Ed25519 => labels::ED25519,
            Self::CosignatureV1 => labels::COSIGNATURE_V1,
        }
    }
}

/// A public key with its name, `name+id+base64(type || key)` as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: KeyName,
    algorithm: Algorithm,
    id: KeyId,
    key: VerifyingKey,
}

/// A signature that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedSignature {
    name: KeyName,
    id: KeyId,
    time: Option<u64>,
}

impl VerifierKey {
    /// A key from its 32 bytes (RFC 8032).
    ///
    /// # Errors
    /// [`NoteError::PublicKey`] for bytes that are no key or a weak one.
    pub fn new(name: KeyName, algorithm: Algorithm, public: &[u8; 32]) -> Result<Self, NoteError> {
        let key = VerifyingKey::from_bytes(public).map_err(|_| NoteError::PublicKey)?;
        if key.is_weak() {
            return Err(NoteError::PublicKey);
        }
        Ok(Self::of(name, algorithm, key))
    }

    /// The public half of a secret key; such a key is never weak.
    pub(super) fn of(name: KeyName, algorithm: Algorithm, key: VerifyingKey) -> Self {
        Self { id: KeyId::of(&name, algorithm.byte(), key.as_bytes()), name, algorithm, key }
    }

    /// Reads a key's text.
    ///
    /// # Errors
    /// [`NoteError`] if it has another form, another signature type or an id that is not its own.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let (name, id, material) = split(text)?;
        let (algorithm, public) = material.split_first().ok_or(NoteError::KeyText)?;
        let algorithm = match *algorithm {
            labels::ED25519 => Algorithm::Ed25519,
            labels::COSIGNATURE_V1 => Algorithm::CosignatureV1,
            found => return Err(NoteError::Algorithm { found, expected: "0x01 or 0x04" }),
        };
        let key = Self::new(name, algorithm, public.try_into().map_err(|_| NoteError::KeyText)?)?;
        check_id(id, key.id)?;
        Ok(key)
    }

    /// Name of the key.
    #[must_use]
    pub fn name(&self) -> &KeyName {
        &self.name
    }

    /// Id of the key.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// What its signatures are over.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The key's 32 bytes (RFC 8032).
    #[must_use]
    pub fn public_bytes(&self) -> &[u8; 32] {
        self.key.as_bytes()
    }

    /// Whether the line says that it is this key's.
    #[must_use]
    pub fn matches(&self, signature: &NoteSignature) -> bool {
        *signature.name() == self.name && signature.id() == self.id
    }

    /// Checks one signature of a note's or checkpoint's text. Signatures that other
    /// implementations may or may not accept (RFC 8032 leaves some open) are refused.
    ///
    /// # Errors
    /// [`NoteError::BadSignature`].
    pub fn verify(&self, text: &str, signature: &NoteSignature) -> Result<VerifiedSignature, NoteError> {
        let bad = || NoteError::BadSignature { name: self.name.clone(), id: self.id };
        if !self.matches(signature) {
            return Err(bad());
        }
        let (time, bytes, message) = match self.algorithm {
            Algorithm::Ed25519 => (None, signature.bytes(), text.to_owned()),
            Algorithm::CosignatureV1 => {
                let (time, bytes) = signature.bytes().split_first_chunk::<8>().ok_or_else(bad)?;
                let time = u64::from_be_bytes(*time);
                (Some(time), bytes, cosigned_message(time, text).map_err(|_| bad())?)
            }
        };
        let bytes = Signature::from_bytes(bytes.try_into().map_err(|_| bad())?);
        self.key.verify_strict(message.as_bytes(), &bytes).map_err(|_| bad())?;
        Ok(VerifiedSignature { name: self.name.clone(), id: self.id, time })
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let material = base64::encode(&[&[self.algorithm.byte()], &self.public_bytes()[..]].concat());
        write!(f, "{}+{}+{material}", self.name, self.id)
    }
}

impl VerifiedSignature {
    /// Name of the key.
    #[must_use]
    pub fn name(&self) -> &KeyName {
        &self.name
    }

    /// Id of the key.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// When a witness made it, in seconds since 1970; a log's signature has no time.
    #[must_use]
    pub fn time(&self) -> Option<u64> {
        self.time
    }
}

/// What a cosignature is over (tlog-cosignature, "Ed25519 signed message").
pub(crate) fn cosigned_message(time: u64, text: &str) -> Result<String, NoteError> {
    if time == 0 || i64::try_from(time).is_err() {
        return Err(NoteError::Time { seconds: time });
    }
    Ok(format!("{}\ntime {time}\n{text}", labels::COSIGNATURE_HEADER))
}

/// The three parts of a key's text, the last one decoded.
pub(super) fn split(text: &str) -> Result<(KeyName, KeyId, zeroize::Zeroizing<Vec<u8>>), NoteError> {
    let (name, rest) = text.split_once('+').ok_or(NoteError::KeyText)?;
    let (id, material) = rest.split_once('+').ok_or(NoteError::KeyText)?;
    let id = KeyId::parse(id).ok_or(NoteError::KeyText)?;
    let material = base64::decode(material).ok_or(NoteError::KeyText)?;
    Ok((KeyName::new(name)?, id, zeroize::Zeroizing::new(material)))
}

pub(super) fn check_id(found: KeyId, expected: KeyId) -> Result<(), NoteError> {
    if found == expected { Ok(()) } else { Err(NoteError::KeyIdMismatch { found, expected }) }
}
