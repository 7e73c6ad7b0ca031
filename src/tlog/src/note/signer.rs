//! Secret keys of logs and witnesses: one type a role, wiped when dropped.

use ed25519_dalek::{Signer, SigningKey};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::verifier::{check_id, cosigned_message, split};
use super::{Algorithm, KeyId, KeyName, Note, NoteError, NoteSignature, VerifierKey, check_text};
use crate::checkpoint::Checkpoint;
use crate::{base64, labels};

/// What both kinds of keys are made of. The signing key wipes itself.
#[derive(Clone)]
struct NamedKey {
    name: KeyName,
    key: SigningKey,
}

impl NamedKey {
    fn id(&self, algorithm: Algorithm) -> KeyId {
        KeyId::of(&self.name, algorithm.byte(), self.key.verifying_key().as_bytes())
    }

    fn verifier(&self, algorithm: Algorithm) -> VerifierKey {
        VerifierKey::of(self.name.clone(), algorithm, self.key.verifying_key())
    }

    fn to_text(&self, algorithm: Algorithm) -> Zeroizing<String> {
        let mut material = Zeroizing::new([algorithm.byte(); 33]);
        material[1..].copy_from_slice(self.key.as_bytes());
        let material = Zeroizing::new(base64::encode(&*material));
        let id = self.id(algorithm);
        Zeroizing::new(format!("{}{}+{id}+{}", labels::PRIVATE_KEY, self.name, *material))
    }

    fn parse(text: &str, algorithm: Algorithm, expected: &'static str) -> Result<Self, NoteError> {
        let (name, id, material) = split(text.strip_prefix(labels::PRIVATE_KEY).ok_or(NoteError::KeyText)?)?;
        let (found, seed) = material.split_first().ok_or(NoteError::KeyText)?;
        if *found != algorithm.byte() {
            return Err(NoteError::Algorithm { found: *found, expected });
        }
        let seed: &[u8; 32] = seed.try_into().map_err(|_| NoteError::KeyText)?;
        let named = Self { name, key: SigningKey::from_bytes(seed) };
        check_id(id, named.id(algorithm))?;
        Ok(named)
    }
}

fn random_seed(rng: &mut (impl CryptoRng + ?Sized)) -> Zeroizing<[u8; 32]> {
    let mut seed = Zeroizing::new([0; 32]);
    rng.fill_bytes(&mut *seed);
    seed
}

macro_rules! role {
    ($(#[$doc:meta])* $name:ident, $algorithm:expr, $byte:literal) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name(NamedKey);

        impl $name {
            /// A key from its 32 secret bytes (RFC 8032); the caller wipes its own copy.
            #[must_use]
            pub fn from_seed(name: KeyName, seed: &[u8; 32]) -> Self {
                Self(NamedKey { name, key: SigningKey::from_bytes(seed) })
            }

            /// Draws a fresh key.
            pub fn random(name: KeyName, rng: &mut (impl CryptoRng + ?Sized)) -> Self {
                Self::from_seed(name, &random_seed(rng))
            }

            /// Reads `PRIVATE+KEY+name+id+base64(type || secret)`.
            ///
            /// # Errors
            /// [`NoteError`] if it has another form, another signature type or an id that is not
            /// its own.
            pub fn parse(text: &str) -> Result<Self, NoteError> {
                NamedKey::parse(text, $algorithm, $byte).map(Self)
            }

            /// The key's text, for storing it in a protected place.
            #[must_use]
            pub fn to_text(&self) -> Zeroizing<String> {
                self.0.to_text($algorithm)
            }

            /// Name of the key.
            #[must_use]
            pub fn name(&self) -> &KeyName {
                &self.0.name
            }

            /// The public half.
            #[must_use]
            pub fn verifier(&self) -> VerifierKey {
                self.0.verifier($algorithm)
            }
        }
    };
}

role! {
    /// What a log signs its checkpoints with; its name is the log's origin. Signature type 0x01.
    LogKey, Algorithm::Ed25519, "0x01"
}

role! {
    /// What a witness cosigns checkpoints with. Signature type 0x04: a log's key is not read as
    /// one, since a key that signs both kinds of messages would need an argument why it may.
    CosignerKey, Algorithm::CosignatureV1, "0x04"
}

impl LogKey {
    /// Signs a text.
    ///
    /// # Errors
    /// [`NoteError`] if the text cannot be that of a note.
    pub fn sign(&self, text: impl Into<String>) -> Result<Note, NoteError> {
        let text = text.into();
        check_text(&text)?;
        let bytes = self.0.key.sign(text.as_bytes()).to_bytes();
        let id = self.0.id(Algorithm::Ed25519);
        Note::new(text, NoteSignature::new(self.0.name.clone(), id, bytes.into()))
    }
}

impl CosignerKey {
    /// States that at `time`, in seconds since 1970, this checkpoint was the largest consistent
    /// one seen of its log. Whoever calls this has checked that; see [`crate::witness`].
    ///
    /// # Errors
    /// [`NoteError::Time`].
    pub fn cosign(&self, checkpoint: &Checkpoint, time: u64) -> Result<NoteSignature, NoteError> {
        let message = cosigned_message(time, &checkpoint.to_string())?;
        let signature = self.0.key.sign(message.as_bytes()).to_bytes();
        let bytes = [&time.to_be_bytes()[..], &signature].concat();
        Ok(NoteSignature::new(self.0.name.clone(), self.0.id(Algorithm::CosignatureV1), bytes))
    }
}
