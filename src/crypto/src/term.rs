//! Terms (section 8): what the gate makes of inner tokens and the cloud stores. Without the
//! term key nobody can compute one.

use zeroize::Zeroizing;

use crate::kdf::{Prf, truncate};
use crate::secret::secret_bytes;
use crate::{FieldToken, Term, kdf, labels};

secret_bytes!(
    /// Held by the gate alone; key of every scope.
    TermKey,
    32
);

/// The key of one scope's terms and order tags, prepared: either costs one HMAC.
#[derive(Clone)]
pub struct ScopeKey(Prf);

impl ScopeKey {
    /// The key of a scope: the 16 bytes of a provider's id for `isolated` fields, empty for
    /// `merged` ones.
    ///
    /// # Panics
    /// If a name exceeds [`crate::MAX_PART`] bytes.
    #[must_use]
    pub fn derive(term_key: &TermKey, domain: &str, scope: &[u8]) -> Self {
        Self(Prf::new(&Self::derive_bytes(term_key, domain, scope)))
    }

    /// `KDF("sdx1/scope", term_key, (domain, scope), 32)`, the key before it is prepared.
    ///
    /// # Panics
    /// As [`ScopeKey::derive`].
    #[must_use]
    pub fn derive_bytes(term_key: &TermKey, domain: &str, scope: &[u8]) -> Zeroizing<[u8; 32]> {
        kdf::<32>(labels::SCOPE, term_key.expose(), &[domain.as_bytes(), scope])
    }

    /// The term of an inner token (32 bytes) or a bridged point (33 bytes), 0.1 µs.
    #[must_use]
    pub fn term(&self, x: &[u8]) -> Term {
        Term(truncate(self.0.mac(&[labels::TERM, x])))
    }

    /// The 8 bytes with which a field's order terms in this scope begin (section 9).
    #[must_use]
    pub fn tag(&self, field_token: &FieldToken) -> [u8; 8] {
        truncate(self.0.mac(&[labels::TAG, &field_token.0]))
    }
}
