//! Secrets wrapped for whoever holds a key: group seeds for members (section 5), shares for gate nodes.
//!
//! `E ‖ AES-256-SIV(KDF("sdx1/wrap", r·B, (E, B, context), 64), secret)`, with `E = r·G` for a random `r`.

use aes_siv::KeyInit;
use aes_siv::siv::Aes256Siv;
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::{POINT_LEN, Point, Scalar, kdf, labels};

const SIV_LEN: usize = 16;

/// What was wrapped does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WrapError {
    /// Too short, or it does not begin with a point.
    #[error("this is no wrapped secret")]
    Malformed,
    /// Wrapped for another key or purpose, or altered.
    #[error("the secret was wrapped for another key or purpose, or was altered")]
    NotAuthentic,
}

/// Wraps a secret for the holder of `to`, bound to `context`. Two multiplications, 80 µs.
///
/// # Panics
/// If the context exceeds [`crate::MAX_PART`] bytes.
pub fn wrap(to: &Point, context: &[u8], secret: &[u8], rng: &mut (impl CryptoRng + ?Sized)) -> Vec<u8> {
    let r = Scalar::random(rng);
    let ephemeral = r.base_mul().to_bytes();
    let cipher = cipher(&to.mul(&r), &ephemeral, to, context);
    #[allow(clippy::expect_used, reason = "fails only above 126 associated strings")]
    let sealed = { cipher }.encrypt::<[&[u8]; 0], &[u8]>([], secret).expect("no associated string");
    [&ephemeral[..], &sealed].concat()
}

/// Opens what [`wrap`] made for this key and context. One multiplication and one base multiplication, 60 µs.
///
/// # Errors
/// [`WrapError`].
///
/// # Panics
/// As [`wrap`].
pub fn unwrap(key: &Scalar, context: &[u8], wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, WrapError> {
    let (ephemeral, sealed) = wrapped.split_first_chunk::<POINT_LEN>().ok_or(WrapError::Malformed)?;
    if sealed.len() < SIV_LEN {
        return Err(WrapError::Malformed);
    }
    let point = Point::from_bytes(ephemeral).map_err(|_| WrapError::Malformed)?;
    let cipher = cipher(&point.mul(key), ephemeral, &key.base_mul(), context);
    let opened = { cipher }.decrypt::<[&[u8]; 0], &[u8]>([], sealed);
    opened.map(Zeroizing::new).map_err(|_| WrapError::NotAuthentic)
}

fn cipher(shared: &Point, ephemeral: &[u8; POINT_LEN], to: &Point, context: &[u8]) -> Aes256Siv {
    let shared = Zeroizing::new(shared.to_bytes());
    let key = kdf::<64>(labels::WRAP, shared.as_slice(), &[ephemeral, &to.to_bytes(), context]);
    Aes256Siv::new((&*key).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrapped_opens_for_its_key_and_context_only() {
        let mut rng = rand::rng();
        let (key, other) = (Scalar::random(&mut rng), Scalar::random(&mut rng));
        let wrapped = wrap(&key.base_mul(), b"group", b"a seed", &mut rng);
        assert_eq!(unwrap(&key, b"group", &wrapped).map(|s| s.to_vec()), Ok(b"a seed".to_vec()));
        assert_eq!(unwrap(&other, b"group", &wrapped).err(), Some(WrapError::NotAuthentic));
        assert_eq!(unwrap(&key, b"share", &wrapped).err(), Some(WrapError::NotAuthentic));
        for cut in 0..POINT_LEN + SIV_LEN {
            assert_eq!(unwrap(&key, b"group", &wrapped[..cut]).err(), Some(WrapError::Malformed), "cut at {cut}");
        }
        for at in 0..wrapped.len() {
            let mut bent = wrapped.clone();
            bent[at] ^= 1;
            assert!(unwrap(&key, b"group", &bent).is_err(), "bent at {at}");
        }
        assert_ne!(wrapped, wrap(&key.base_mul(), b"group", b"a seed", &mut rng), "each has its own ephemeral key");
    }
}
