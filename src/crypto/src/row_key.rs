//! Rows that two principals can read and nobody else: sealed under a key that both compute from their own secret and the
//! other's public key, without a message between them. For entries of a log that everybody sees.
//!
//! `K = KDF("sdx1/row", s·P, (context, writer, reader), 96)`: 32 bytes for hints, 64 for AES-256-SIV. There is one row
//! for a reader in an entry, and the entry's number is its nonce: the same row in the same entry seals to the same bytes.

use aes_siv::KeyInit;
use aes_siv::siv::Aes256Siv;
use zeroize::Zeroizing;

use crate::kdf::{Prf, kdf, truncate};
use crate::point::shared_products;
use crate::{Point, PrincipalId, Scalar, labels};

/// Bytes that sealing adds.
pub const ROW_TAG: usize = 16;
/// What a reader finds its row by.
pub type RowHint = [u8; 8];

/// A row that is not its reader's, or was altered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the row was sealed for somebody else or another entry, or was altered")]
pub struct RowError;

/// The key of one writer's rows for one reader.
#[derive(Clone)]
pub struct RowKey {
    hints: Prf,
    seal: Zeroizing<[u8; 64]>,
}

impl RowKey {
    /// Agrees on the key: `own` is the secret of one of the two, `other` the public key of the other. `context` says
    /// what for. One multiplication, 40 µs.
    ///
    /// # Panics
    /// If the context exceeds [`crate::MAX_PART`] bytes.
    #[must_use]
    pub fn agree(own: &Scalar, other: &Point, context: &[u8], writer: PrincipalId, reader: PrincipalId) -> Self {
        Self::of(&other.mul(own), context, writer, reader)
    }

    /// [`RowKey::agree`] with many readers, whose public keys and ids these are, in order. Eight at a time where the
    /// processor can: 7 µs each.
    ///
    /// # Panics
    /// As [`RowKey::agree`].
    #[must_use]
    pub fn agree_with_readers(
        own: &Scalar,
        readers: &[(Point, PrincipalId)],
        context: &[u8],
        writer: PrincipalId,
    ) -> Vec<Self> {
        let shared = shared_products(readers.iter().map(|(key, _)| (*key, own)));
        shared.iter().zip(readers).map(|(shared, (_, reader))| Self::of(shared, context, writer, *reader)).collect()
    }

    fn of(shared: &Point, context: &[u8], writer: PrincipalId, reader: PrincipalId) -> Self {
        let shared = Zeroizing::new(shared.to_bytes());
        let key = kdf::<96>(labels::ROW, shared.as_slice(), &[context, &writer.0, &reader.0]);
        let (hints, mut seal) = (Zeroizing::new(truncate_key(&key)), Zeroizing::new([0; 64]));
        seal.copy_from_slice(&key[32..]);
        Self { hints: Prf::new(&hints), seal }
    }

    /// The hint of the row in an entry: to everybody else as good as random. One HMAC.
    #[must_use]
    pub fn hint(&self, entry: u64) -> RowHint {
        truncate(self.hints.mac(&[&entry.to_be_bytes()]))
    }

    /// Seals the row of an entry; [`ROW_TAG`] bytes longer.
    #[must_use]
    pub fn seal(&self, entry: u64, row: &[u8]) -> Vec<u8> {
        let number = entry.to_be_bytes();
        #[allow(clippy::expect_used, reason = "fails only above 126 associated strings")]
        Aes256Siv::new((&*self.seal).into()).encrypt([&number], row).expect("one associated string")
    }

    /// Opens the row of an entry.
    ///
    /// # Errors
    /// [`RowError`].
    pub fn open(&self, entry: u64, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, RowError> {
        let number = entry.to_be_bytes();
        let opened = Aes256Siv::new((&*self.seal).into()).decrypt([&number], sealed);
        opened.map(Zeroizing::new).map_err(|_| RowError)
    }
}

fn truncate_key(key: &[u8; 96]) -> [u8; 32] {
    let mut first = [0; 32];
    first.copy_from_slice(&key[..32]);
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITER: PrincipalId = PrincipalId([1; 16]);
    const READER: PrincipalId = PrincipalId([2; 16]);

    fn pair() -> (Scalar, Scalar) {
        (Scalar::random(&mut rand::rng()), Scalar::random(&mut rand::rng()))
    }

    #[test]
    fn both_sides_come_to_the_same_key_and_others_to_another() {
        let (writer, reader) = pair();
        let at_writer = RowKey::agree(&writer, &reader.base_mul(), b"acts", WRITER, READER);
        let at_reader = RowKey::agree(&reader, &writer.base_mul(), b"acts", WRITER, READER);
        let sealed = at_writer.seal(7, b"who looked");
        assert_eq!(sealed.len(), b"who looked".len() + ROW_TAG);
        assert_eq!(at_writer.hint(7), at_reader.hint(7));
        assert_eq!(at_reader.open(7, &sealed).map(|r| r.to_vec()), Ok(b"who looked".to_vec()));
        let (stranger, _) = pair();
        for other in [
            RowKey::agree(&stranger, &writer.base_mul(), b"acts", WRITER, READER),
            RowKey::agree(&reader, &writer.base_mul(), b"other", WRITER, READER),
            RowKey::agree(&reader, &writer.base_mul(), b"acts", READER, WRITER),
        ] {
            assert_ne!(other.hint(7), at_writer.hint(7));
            assert_eq!(other.open(7, &sealed).err(), Some(RowError));
        }
    }

    #[test]
    fn keys_agreed_with_many_are_those_agreed_with_each() {
        let own = Scalar::random(&mut rand::rng());
        let readers: Vec<_> =
            (0..20).map(|n| (Scalar::random(&mut rand::rng()).base_mul(), PrincipalId([n; 16]))).collect();
        let keys = RowKey::agree_with_readers(&own, &readers, b"acts", WRITER);
        assert_eq!(keys.len(), readers.len());
        for (key, (public, reader)) in keys.iter().zip(&readers) {
            let alone = RowKey::agree(&own, public, b"acts", WRITER, *reader);
            assert_eq!((key.hint(3), key.seal(3, b"row")), (alone.hint(3), alone.seal(3, b"row")));
        }
    }

    #[test]
    fn a_row_opens_in_its_entry_and_unaltered_only() {
        let (writer, reader) = pair();
        let key = RowKey::agree(&writer, &reader.base_mul(), b"acts", WRITER, READER);
        let sealed = key.seal(7, b"who looked");
        assert_ne!(key.hint(7), key.hint(8), "hints of two entries tell nothing");
        assert_ne!(sealed, key.seal(8, b"who looked"));
        assert_eq!(key.open(8, &sealed).err(), Some(RowError));
        for bit in 0..8 * sealed.len() {
            let mut bent = sealed.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(key.open(7, &bent).err(), Some(RowError), "bit {bit}");
        }
        for cut in 0..sealed.len() {
            assert_eq!(key.open(7, &sealed[..cut]).err(), Some(RowError), "cut at {cut}");
        }
    }
}
