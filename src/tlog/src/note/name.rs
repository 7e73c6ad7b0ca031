//! Names and ids of keys.

use std::fmt;

use sha2::{Digest, Sha256};

use super::NoteError;
use crate::labels;

/// Name of a key, best a URL without its scheme: not empty, no Unicode space, no control
/// character, no `+`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyName(String);

impl KeyName {
    /// Takes a name that may be one.
    ///
    /// # Errors
    /// [`NoteError::KeyName`].
    pub fn new(name: impl Into<String>) -> Result<Self, NoteError> {
        let name = name.into();
        let forbidden = |c: char| c == '+' || c.is_whitespace() || c < ' ';
        if name.is_empty() || name.contains(forbidden) { Err(NoteError::KeyName) } else { Ok(Self(name)) }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Short id of a key, eight lowercase hexadecimal digits as text. It tells keys of one name apart
/// and is no commitment: what a signature is checked against is always the whole key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub u32);

impl KeyId {
    /// Id of the Ed25519 key with these 32 bytes (signed-note, "Signatures").
    pub(crate) fn of(name: &KeyName, algorithm: u8, public: &[u8; 32]) -> Self {
        let digest = Sha256::new()
            .chain_update(name.as_str())
            .chain_update([labels::KEY_ID_SEPARATOR, algorithm])
            .chain_update(public)
            .finalize();
        Self(u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]))
    }

    /// Reads eight hexadecimal digits of either case, as other implementations do.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let digits = text.len() == 8 && text.bytes().all(|b| b.is_ascii_hexdigit());
        digits.then(|| u32::from_str_radix(text, 16).ok()).flatten().map(Self)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}
