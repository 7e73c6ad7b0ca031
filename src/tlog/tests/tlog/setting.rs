//! Keys, entries and logs that the tests share.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sealdex_crypto::log::{Hash, Tree, leaf_hash};
use sealdex_tlog::note::{CosignerKey, KeyName, LogKey};

pub(crate) const ORIGIN: &str = "log.example/one";
pub(crate) const NOW: u64 = 1_700_000_000;

pub(crate) fn name(text: &str) -> KeyName {
    KeyName::new(text).unwrap()
}

pub(crate) fn log_key() -> LogKey {
    LogKey::from_seed(name(ORIGIN), &[1; 32])
}

/// The witness of this number, not 1.
pub(crate) fn witness_key(number: u8) -> CosignerKey {
    assert_ne!(number, 1, "the log has this seed");
    CosignerKey::from_seed(name(&format!("witness.example/w{number}")), &[number; 32])
}

pub(crate) fn entry(i: u64) -> Vec<u8> {
    format!("entry {i}").into_bytes()
}

pub(crate) fn entries(range: std::ops::Range<u64>) -> Vec<Vec<u8>> {
    range.map(entry).collect()
}

pub(crate) fn oracle(size: u64) -> Tree {
    (0..size).map(|i| leaf_hash(&entry(i))).collect()
}

pub(crate) fn hash(base64: &str) -> Hash {
    STANDARD.decode(base64).unwrap().try_into().unwrap()
}

pub(crate) fn hex(text: &str) -> [u8; 32] {
    let byte = |i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap();
    std::array::from_fn(byte)
}
