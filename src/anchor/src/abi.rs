//! The contract's ABI: words of 32 bytes, and lists of them as the last argument.

use crate::address::keccak;

/// A word of the ABI, or a hash.
pub(crate) type Word = [u8; 32];

/// First four bytes of a call or error.
pub(crate) fn selector(signature: &str) -> [u8; 4] {
    let [a, b, c, d, ..] = keccak(signature.as_bytes());
    [a, b, c, d]
}

/// A call whose arguments are words.
pub(crate) fn call(signature: &str, words: &[Word]) -> Vec<u8> {
    let mut out = selector(signature).to_vec();
    out.extend(words.as_flattened());
    out
}

/// A call whose arguments are words and, last, a list of words.
pub(crate) fn call_with_list(signature: &str, words: &[Word], list: &[Word]) -> Vec<u8> {
    let mut out = call(signature, words);
    out.extend(from_u64(32 * (words.len() as u64 + 1)));
    out.extend(from_u64(list.len() as u64));
    out.extend(list.as_flattened());
    out
}

/// A number as a word.
pub(crate) fn from_u64(number: u64) -> Word {
    let mut word = [0; 32];
    word[24..].copy_from_slice(&number.to_be_bytes());
    word
}

/// The number a word is, if it is one of 64 bits.
pub(crate) fn to_u64(word: &Word) -> Option<u64> {
    match word.split_last_chunk() {
        Some((zeros, number)) if zeros.iter().all(|byte| *byte == 0) => Some(u64::from_be_bytes(*number)),
        _ => None,
    }
}

/// An answer of exactly `N` words.
pub(crate) fn words<const N: usize>(bytes: &[u8]) -> Option<[Word; N]> {
    match bytes.as_chunks() {
        (words, []) => words.try_into().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_those_of_the_solidity_documentation() {
        assert_eq!(selector("baz(uint32,bool)"), [0xcd, 0xcd, 0x77, 0xc0]);
        assert_eq!(selector("sam(bytes,bool,uint256[])"), [0xa5, 0x64, 0x3b, 0xf2]);
    }

    #[test]
    fn numbers_and_words() {
        for number in [0, 1, 255, 1 << 40, u64::MAX] {
            assert_eq!(to_u64(&from_u64(number)), Some(number));
        }
        for byte in 0..24 {
            let mut word = from_u64(7);
            word[byte] = 1;
            assert_eq!(to_u64(&word), None);
        }
        assert_eq!(words::<2>(&[0; 64]), Some([[0; 32]; 2]));
        for length in [0, 32, 63, 65, 96] {
            assert_eq!(words::<2>(&vec![0; length]), None);
        }
    }
}
