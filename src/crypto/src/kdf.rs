//! Deriving scalars and keys (section 1), and the prepared HMAC that everything keyed uses.

use hkdf::{Hkdf, HkdfExtract};
use hmac::{Hmac, KeyInit, Mac};
use k256::elliptic_curve::array::Array;
use k256::elliptic_curve::consts::U48;
use k256::elliptic_curve::ops::Reduce;
use sha2::Sha256;
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

/// HMAC-SHA256 with the key already absorbed: a call costs two compressions, not four.
#[derive(Clone)]
pub(crate) struct Prf(Hmac<Sha256>);

impl Prf {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self(<Hmac<Sha256> as KeyInit>::new(&hmac_block(key).into()))
    }

    /// MAC of the concatenated parts.
    pub(crate) fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = self.0.clone();
        for part in parts {
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

/// HMAC pads keys shorter than a block with zeros, so this is the same key.
fn hmac_block(key: &[u8; 32]) -> [u8; 64] {
    let mut block = [0; 64];
    block[..32].copy_from_slice(key);
    block
}

/// The first `N` bytes of a 32-byte MAC.
pub(crate) fn truncate<const N: usize>(mac: [u8; 32]) -> [u8; N] {
    const { assert!(N <= 32) };
    let mut short = [0; N];
    short.copy_from_slice(&mac[..N]);
    short
}
