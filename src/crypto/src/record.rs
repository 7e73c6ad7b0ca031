//! Sealed records, the writer's side (section 7).

use aes_siv::KeyInit;
use aes_siv::siv::Aes256Siv;

use crate::encoding::{TooLong, checked_len};
use crate::secret::secret_bytes;
use crate::{CAPSULE_LEN, CapsuleKey, PrincipalId, RecordId, kdf, labels};

/// Content as it is.
pub const ENCODING_PLAIN: u8 = 0;
/// Content compressed as one zstd frame.
pub const ENCODING_ZSTD: u8 = 1;

/// Bytes before the content: encoding and length.
const BODY_PREFIX: usize = 5;
const SIV_LEN: usize = 16;

secret_bytes!(
    /// The AES-256-SIV key of one record.
    RecordKey,
    64
);

impl RecordKey {
    /// `KDF("sdx1/record", K, (record_id), 64)` (section 7).
    #[must_use]
    pub fn derive(capsule_key: &CapsuleKey, record_id: &RecordId) -> Self {
        Self::from_bytes(&kdf::<64>(labels::RECORD, capsule_key.expose(), &[&record_id.0]))
    }
}

/// What a sealed record is bound to. It is not stored with the record; the reader rebuilds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordHeader {
    /// Domain name.
    pub domain: String,
    /// Who uploaded the record.
    pub provider: PrincipalId,
    /// The record's id.
    pub record_id: RecordId,
    /// Section name.
    pub section: String,
    /// Section epoch.
    pub epoch: u32,
    /// Media type of the content.
    pub content_type: String,
    /// The capsule `E`, encoded.
    pub capsule: [u8; CAPSULE_LEN],
}

impl RecordHeader {
    /// The associated data of the seal (section 7).
    ///
    /// # Errors
    /// [`TooLong`] if a name exceeds [`crate::MAX_PART`] bytes.
    pub fn encode(&self) -> Result<Vec<u8>, TooLong> {
        let parts: [(&'static str, &[u8]); 4] = [
            ("domain", self.domain.as_bytes()),
            ("provider id", &self.provider.0),
            ("record id", &self.record_id.0),
            ("section", self.section.as_bytes()),
        ];
        let names = self.domain.len() + self.section.len() + self.content_type.len();
        let mut header = Vec::with_capacity(4 + 10 + 32 + 4 + CAPSULE_LEN + names);
        header.extend_from_slice(labels::RECORD_MAGIC);
        for (what, part) in parts {
            header.extend_from_slice(&checked_len(what, part)?);
            header.extend_from_slice(part);
        }
        header.extend_from_slice(&self.epoch.to_be_bytes());
        header.extend_from_slice(&checked_len("content type", self.content_type.as_bytes())?);
        header.extend_from_slice(self.content_type.as_bytes());
        header.extend_from_slice(&self.capsule);
        Ok(header)
    }
}

/// Content that cannot be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The content or a name in the header is too long.
    #[error(transparent)]
    TooLong(#[from] TooLong),
    /// The encoding is not one of section 7.
    #[error("encoding {0} does not exist; 0 is as is, 1 is zstd")]
    Encoding(u8),
}

/// The Padmé length of `len` bytes (section 7): at most 12 % more, and a length tells no more
/// than about log log of its bits.
#[must_use]
pub fn padme(len: u64) -> u64 {
    if len < 2 {
        return len;
    }
    let exponent = len.ilog2();
    let kept = exponent.ilog2() + 1;
    let mask = (1_u64 << exponent.saturating_sub(kept)) - 1;
    len.checked_add(mask).map_or(u64::MAX, |sum| sum & !mask)
}

/// Seals content already encoded as `encoding` says (section 7). The result is 16 bytes longer
/// than the padded body. Deterministic; a record id must not be used for two contents.
///
/// # Errors
/// [`SealError`] for content of 4 GiB or more, an overlong header, or an unknown encoding.
pub fn seal_record(
    capsule_key: &CapsuleKey,
    header: &RecordHeader,
    encoding: u8,
    content: &[u8],
) -> Result<Vec<u8>, SealError> {
    if encoding > ENCODING_ZSTD {
        return Err(SealError::Encoding(encoding));
    }
    let length = u32::try_from(content.len()).map_err(|_| TooLong {
        what: "content",
        len: content.len(),
        max: u32::MAX as usize,
    })?;
    let associated = header.encode()?;
    let padded = padme((BODY_PREFIX + content.len()) as u64) as usize;
    // Sealed in place: the tag's room first, so that the body never has to move.
    let mut sealed = Vec::with_capacity(SIV_LEN + padded);
    sealed.resize(SIV_LEN, 0);
    sealed.push(encoding);
    sealed.extend_from_slice(&length.to_be_bytes());
    sealed.extend_from_slice(content);
    sealed.resize(SIV_LEN + padded, 0);
    let key = RecordKey::derive(capsule_key, &header.record_id);
    let (tag, body) = sealed.split_at_mut(SIV_LEN);
    #[allow(clippy::expect_used, reason = "fails only above 126 associated strings")]
    let siv = Aes256Siv::new(key.expose().into())
        .encrypt_inout_detached([&associated], body.into())
        .expect("one associated string");
    tag.copy_from_slice(&siv);
    Ok(sealed)
}

#[cfg(test)]
mod tests {
    use super::padme;

    #[test]
    fn padme_grows_a_length_by_an_eighth_at_most_and_is_idempotent() {
        for len in (0..100_000).chain([1 << 31, (1 << 31) + 1, u64::from(u32::MAX)]) {
            let padded = padme(len);
            assert!(padded >= len && (padded - len) * 8 <= len, "{len} -> {padded}");
            assert_eq!(padme(padded), padded, "{len}");
        }
    }
}
