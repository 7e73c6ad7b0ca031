//! Addresses of accounts and contracts.

use std::{fmt, str::FromStr};

use sha3::{Digest, Keccak256};

use crate::rlp;

/// Keccak-256, as Ethereum has it (not the SHA-3 of FIPS 202).
pub(crate) fn keccak(bytes: &[u8]) -> [u8; 32] {
    Keccak256::digest(bytes).into()
}

/// A text that is no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not `0x` and 40 hexadecimal digits.
    #[error("an address is 0x and 40 hexadecimal digits")]
    Form,
    /// Mixed case that is not the checksum of the digits.
    #[error("the address has a wrong checksum (EIP-55): a digit is wrong, or the case of a letter")]
    Checksum,
}

/// An account's or contract's address. Shown with the checksum of EIP-55; read with it, or in one case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Address(pub [u8; 20]);

impl Address {
    /// Of an account, by its uncompressed public key without the first byte.
    pub(crate) fn of_public_key(point: &[u8]) -> Self {
        Self::last_20(&keccak(point))
    }

    /// Of the contract that this account deploys with the transaction of this nonce.
    pub(crate) fn of_contract(deployer: Self, nonce: u64) -> Self {
        let mut fields = Vec::new();
        rlp::bytes(&mut fields, &deployer.0);
        rlp::number(&mut fields, nonce.into());
        Self::last_20(&keccak(&rlp::list(&fields)))
    }

    /// Of a word of the contract's ABI; none if it is longer than an address.
    pub(crate) fn of_word(word: &[u8; 32]) -> Option<Self> {
        word[..12].iter().all(|byte| *byte == 0).then(|| Self::last_20(word))
    }

    fn last_20(word: &[u8; 32]) -> Self {
        let mut address = [0; 20];
        address.copy_from_slice(&word[12..]);
        Self(address)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = hex::encode(self.0);
        let hash = hex::encode(keccak(digits.as_bytes()));
        f.write_str("0x")?;
        digits.chars().zip(hash.chars()).try_for_each(|(digit, nibble)| {
            let upper = nibble >= '8';
            write!(f, "{}", if upper { digit.to_ascii_uppercase() } else { digit })
        })
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let digits = text.strip_prefix("0x").ok_or(AddressError::Form)?;
        let mut bytes = [0; 20];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| AddressError::Form)?;
        let address = Self(bytes);
        let mixed =
            digits.contains(|c: char| c.is_ascii_uppercase()) && digits.contains(|c: char| c.is_ascii_lowercase());
        if mixed && address.to_string() != text { Err(AddressError::Checksum) } else { Ok(address) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Examples of EIP-55.
    const CHECKSUMMED: [&str; 4] = [
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
        "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
        "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
    ];

    #[test]
    fn the_checksum_is_that_of_eip_55() {
        for text in CHECKSUMMED {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
            let lower = text.to_lowercase();
            assert_eq!(lower.parse::<Address>().unwrap().to_string(), text);
            let wrong = text.replacen('b', "B", 1);
            assert_eq!(wrong.parse::<Address>(), Err(AddressError::Checksum), "{wrong}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        let good = CHECKSUMMED[0];
        for text in
            ["", "0x", &good[2..], &good[..41], &format!("{good}0"), &format!(" {good}"), &good.replace('5', "g")]
        {
            assert_eq!(text.parse::<Address>(), Err(AddressError::Form), "{text}");
        }
    }

    #[test]
    fn a_contracts_address_follows_from_deployer_and_nonce() {
        // Known: the first contracts of this account.
        let deployer: Address = "0x6ac7ea33f8831ea9dcc53393aaa88b25a785dbf0".parse().unwrap();
        let wanted = ["0xcd234a471b72ba2f1ccf0a70fcaba648a5eecd8d", "0x343c43a37d37dff08ae8c4a11544c718abb4fcf8"];
        for (nonce, wanted) in wanted.iter().enumerate() {
            assert_eq!(Address::of_contract(deployer, nonce as u64), wanted.parse().unwrap());
        }
    }
}
