//! Inner tokens by HMAC (section 8a): what members make of a value before the gate turns it
//! into a term.

use crate::kdf::Prf;
use crate::secret::secret_bytes;
use crate::{kdf, labels};

secret_bytes!(
    /// Shared by the members of a domain; key of tokens and of field tokens.
    MemberTokenSecret,
    32
);

/// The key of one field's tokens, prepared: a token costs one HMAC.
#[derive(Clone)]
pub struct FieldTokenKey(Prf);

impl FieldTokenKey {
    /// `KDF("sdx1/token", member_token_secret, (domain, field, u32(epoch)), 32)`.
    ///
    /// # Panics
    /// If a name exceeds [`crate::MAX_PART`] bytes.
    #[must_use]
    pub fn derive(secret: &MemberTokenSecret, domain: &str, field: &str, epoch: u32) -> Self {
        let parts: [&[u8]; 3] = [domain.as_bytes(), field.as_bytes(), &epoch.to_be_bytes()];
        Self(Prf::new(&kdf::<32>(labels::TOKEN, secret.expose(), &parts)))
    }

    /// The inner token of a value's canonical bytes, 0.1 µs.
    #[must_use]
    pub fn inner(&self, value: &[u8]) -> [u8; 32] {
        self.0.mac(&[value])
    }
}
