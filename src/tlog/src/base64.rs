//! Base64 as every format here has it: RFC 4648, section 4, padded, with one text for each value.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sealdex_crypto::log::Hash;

pub(crate) fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// `None` for anything that [`encode`] does not write.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// A hash of 32 bytes, 44 characters.
pub(crate) fn decode_hash(text: &str) -> Option<Hash> {
    decode(text)?.try_into().ok()
}
