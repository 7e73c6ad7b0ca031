//! Deriving scalars and keys (section 1), and the prepared HMAC that everything keyed uses.

use hkdf::{Hkdf, HkdfExtract};
use k256::elliptic_curve::array::Array;
use k256::elliptic_curve::consts::U48;
use k256::elliptic_curve::ops::Reduce;
use sha2::Sha256;
use sha2::block_api::compress256;
use zeroize::{Zeroize, Zeroizing};

use crate::Scalar;
use crate::encoding::name_len;

/// `H2S(label, p1, …)`: HKDF-SHA256 over the length-prefixed parts, 48 bytes, as a big-endian
/// integer modulo the group order (section 1).
///
/// # Panics
/// If a part exceeds [`crate::MAX_PART`] bytes; names and keys are far shorter.
#[must_use]
pub fn hash_to_scalar(label: &str, parts: &[&[u8]]) -> Scalar {
    let mut extract = HkdfExtract::<Sha256>::new(Some(label.as_bytes()));
    for part in parts {
        extract.input_ikm(&name_len(part));
        extract.input_ikm(part);
    }
    let (mut prk, hkdf) = extract.finalize();
    prk.zeroize();
    let mut wide = [0; 48];
    expand(&hkdf, &[], &mut wide);
    let mut wide: Array<u8, U48> = wide.into();
    let scalar = k256::Scalar::reduce(&wide);
    wide.zeroize();
    #[allow(clippy::expect_used, reason = "a hash that is 0 modulo the order has odds of 2^-256")]
    Scalar::from_inner(scalar).expect("HKDF output is not a multiple of the group order")
}

/// `KDF(label, ikm, (p1, …), N)`: HKDF-SHA256 with the label as salt and the length-prefixed
/// parts as info (section 1). `N` up to 8,160 bytes.
///
/// # Panics
/// As [`hash_to_scalar`].
#[must_use]
pub fn kdf<const N: usize>(label: &str, ikm: &[u8], parts: &[&[u8]]) -> Zeroizing<[u8; N]> {
    const { assert!(N <= 255 * 32, "HKDF-SHA256 yields at most 8,160 bytes") };
    let mut okm = Zeroizing::new([0; N]);
    fill(label, ikm, parts, okm.as_mut_slice());
    okm
}

/// [`kdf`] into a buffer whose length is only known at run time.
///
/// # Errors
/// [`crate::TooLong`] if the buffer exceeds 8,160 bytes.
///
/// # Panics
/// As [`hash_to_scalar`].
pub fn kdf_into(label: &str, ikm: &[u8], parts: &[&[u8]], okm: &mut [u8]) -> Result<(), crate::TooLong> {
    let max = 255 * 32;
    if okm.len() > max {
        return Err(crate::TooLong { what: "derived key", len: okm.len(), max });
    }
    fill(label, ikm, parts, okm);
    Ok(())
}

fn fill(label: &str, ikm: &[u8], parts: &[&[u8]], okm: &mut [u8]) {
    let lengths: Vec<[u8; 2]> = parts.iter().map(|part| name_len(part)).collect();
    let mut info: Vec<&[u8]> = Vec::with_capacity(2 * parts.len());
    for (length, part) in lengths.iter().zip(parts) {
        info.push(length);
        info.push(part);
    }
    let (mut prk, hkdf) = Hkdf::<Sha256>::extract(Some(label.as_bytes()), ikm);
    prk.zeroize();
    expand(&hkdf, &info, okm);
}

fn expand(hkdf: &Hkdf<Sha256>, info: &[&[u8]], okm: &mut [u8]) {
    #[allow(clippy::expect_used, reason = "every caller has bounded the length")]
    hkdf.expand_multi_info(info, okm).expect("at most 8,160 bytes are asked of HKDF");
}

/// HMAC-SHA256 with the key already absorbed: a call costs two compressions, not four. Built on the compression itself:
/// around messages this short, cloning and wiping a hasher's buffers takes as long as the two compressions.
#[derive(Clone)]
pub(crate) struct Prf {
    /// SHA-256 after the block `key ⊕ ipad`.
    inner: [u32; 8],
    /// SHA-256 after the block `key ⊕ opad`.
    outer: [u32; 8],
}

/// What SHA-256 begins with (FIPS 180-4, 5.3.3).
const INITIAL: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];
/// Bytes of a block of SHA-256.
const BLOCK: usize = 64;
/// Where the message's length in bits stands in its last block.
const LENGTH_AT: usize = BLOCK - 8;

impl Prf {
    /// HMAC pads keys shorter than a block with zeros.
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        let keyed = |pad: u8| {
            let mut block = Zeroizing::new([pad; BLOCK]);
            block.iter_mut().zip(key).for_each(|(b, k)| *b ^= k);
            let mut state = INITIAL;
            compress256(&mut state, std::slice::from_ref(&*block));
            state
        };
        Self { inner: keyed(0x36), outer: keyed(0x5c) }
    }

    /// MAC of the concatenated parts.
    pub(crate) fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        let (mut state, mut block, mut filled, mut length) = (self.inner, [0; BLOCK], 0, BLOCK);
        for part in parts {
            let mut part = *part;
            length += part.len();
            while part.len() >= BLOCK - filled {
                let (fits, rest) = part.split_at(BLOCK - filled);
                block[filled..].copy_from_slice(fits);
                compress256(&mut state, std::slice::from_ref(&block));
                (part, filled) = (rest, 0);
            }
            block[filled..filled + part.len()].copy_from_slice(part);
            filled += part.len();
        }
        finish(&mut state, &mut block, filled, length);
        block[..32].copy_from_slice(&bytes(&state));
        state = self.outer;
        finish(&mut state, &mut block, 32, BLOCK + 32);
        let mac = bytes(&state);
        state.zeroize();
        // What is left in the block is the inner hash and padding.
        block[..32].zeroize();
        mac
    }
}

/// Pads a message of `length` bytes, of which the last `filled` are in the block, and absorbs it.
fn finish(state: &mut [u32; 8], block: &mut [u8; BLOCK], filled: usize, length: usize) {
    block[filled] = 0x80;
    block[filled + 1..].fill(0);
    if filled >= LENGTH_AT {
        compress256(state, std::slice::from_ref(block));
        block.fill(0);
    }
    block[LENGTH_AT..].copy_from_slice(&(8 * length as u64).to_be_bytes());
    compress256(state, std::slice::from_ref(block));
}

fn bytes(state: &[u32; 8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.as_chunks_mut().0.iter_mut().zip(state).for_each(|(bytes, word)| *bytes = word.to_be_bytes());
    bytes
}

impl Drop for Prf {
    fn drop(&mut self) {
        self.inner.zeroize();
        self.outer.zeroize();
    }
}

/// The first `N` bytes of a 32-byte MAC.
pub(crate) fn truncate<const N: usize>(mac: [u8; 32]) -> [u8; N] {
    const { assert!(N <= 32) };
    let mut short = [0; N];
    short.copy_from_slice(&mac[..N]);
    short
}

#[cfg(test)]
mod tests {
    use hmac::{Hmac, KeyInit, Mac};

    use super::*;

    /// Whatever the length, and however the message is parted: what the library computes.
    #[test]
    fn a_prepared_mac_is_hmac() {
        let message: Vec<u8> = (0..300_u32).map(|i| (i * 7) as u8).collect();
        for length in 0..message.len() {
            let key: [u8; 32] = std::array::from_fn(|i| (i * length) as u8);
            let prepared = Prf::new(&key);
            let mut library = <Hmac<Sha256> as KeyInit>::new_from_slice(&key).unwrap();
            library.update(&message[..length]);
            let expected: [u8; 32] = library.finalize().into_bytes().into();
            for cut in [0, 1, length / 3, length / 2, length.saturating_sub(1), length] {
                let (head, tail) = message[..length].split_at(cut.min(length));
                assert_eq!(prepared.mac(&[head, tail]), expected, "{length} bytes, cut at {cut}");
            }
        }
    }
}
