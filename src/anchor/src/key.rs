//! The key that signs transactions.

use k256::ecdsa::SigningKey;
use zeroize::Zeroizing;

use crate::Address;

/// A text that is no key. Says nothing of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not 64 hexadecimal digits.
    #[error("the poster's key must be 64 hexadecimal digits, with or without 0x before them")]
    Form,
    /// Zero, or not below the order of the curve.
    #[error("the poster's key is not within the order of secp256k1")]
    Range,
}

/// The poster's account: whoever holds it posts, and pays. Zeroized on drop.
pub struct PosterKey(SigningKey);

/// Signature over a digest; `s` is in the lower half.
pub(crate) struct Signature {
    pub(crate) r: [u8; 32],
    pub(crate) s: [u8; 32],
    /// Whether y of the signature's point is odd.
    pub(crate) odd: bool,
}

impl PosterKey {
    /// Reads 32 bytes in hexadecimal, as wallets export them. White space around them is no matter.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_hex(text: &str) -> Result<Self, KeyError> {
        let text = text.trim();
        let mut secret = Zeroizing::new([0; 32]);
        hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(text), secret.as_mut()).map_err(|_| KeyError::Form)?;
        Ok(Self(SigningKey::from_slice(secret.as_ref()).map_err(|_| KeyError::Range)?))
    }

    /// The account's address.
    #[must_use]
    pub fn address(&self) -> Address {
        Address::of_public_key(&self.0.verifying_key().to_sec1_point(false).as_bytes()[1..])
    }

    /// Deterministic (RFC 6979).
    pub(crate) fn sign(&self, digest: &[u8; 32]) -> Signature {
        // k256 puts s into the lower half and the recovery id with it; r is never reduced in practice (2⁻¹²⁷), and the
        // chain would refuse the transaction if it was.
        let (signature, recovery) = self.0.sign_prehash_recoverable(digest);
        let (r, s) = signature.split_bytes();
        Signature { r: r.into(), s: s.into(), odd: recovery.is_y_odd() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_the_one_everybody_knows() {
        // First accounts of the development chains of Hardhat and Anvil.
        let known = [
            (
                "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
                "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266",
            ),
            (
                "59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
                "0x70997970C51812dc3A010C7d01b50e0d17dc79C8",
            ),
        ];
        for (key, address) in known {
            assert_eq!(PosterKey::from_hex(key).unwrap().address().to_string(), address);
            assert_eq!(PosterKey::from_hex(&format!("0x{key}\n")).unwrap().address().to_string(), address);
        }
    }

    #[test]
    fn the_secret_is_erased_on_drop() {
        fn erased<T: zeroize::ZeroizeOnDrop>(_: &T) {}
        erased(&PosterKey::from_hex(&"1".repeat(64)).unwrap().0);
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let order = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";
        for (text, wanted) in [
            ("", KeyError::Form),
            (&order[1..], KeyError::Form),
            (&format!("{order}00"), KeyError::Form),
            (&order.replace('f', "g"), KeyError::Form),
            (order, KeyError::Range),
            (&"0".repeat(64), KeyError::Range),
        ] {
            assert_eq!(PosterKey::from_hex(text).err(), Some(wanted), "{text}");
        }
    }
}
