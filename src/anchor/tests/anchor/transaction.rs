//! Reads signed transactions with code of others: RLP by alloy-rlp, recovery by alloy-primitives.

use alloy_primitives::{Address, B256, Bytes, Signature, TxKind, U256, keccak256};
use alloy_rlp::{Decodable, Encodable, RlpDecodable, RlpEncodable};

/// EIP-1559.
#[derive(Clone, Debug, PartialEq, RlpEncodable, RlpDecodable)]
pub(crate) struct Unsigned {
    pub(crate) chain: u64,
    pub(crate) nonce: u64,
    pub(crate) tip: u128,
    pub(crate) max_fee: u128,
    pub(crate) gas: u64,
    pub(crate) to: TxKind,
    pub(crate) value: U256,
    pub(crate) data: Bytes,
    pub(crate) access: Vec<Bytes>,
}

#[derive(Clone, Debug, RlpEncodable, RlpDecodable)]
struct Signed {
    chain: u64,
    nonce: u64,
    tip: u128,
    max_fee: u128,
    gas: u64,
    to: TxKind,
    value: U256,
    data: Bytes,
    access: Vec<Bytes>,
    odd: bool,
    r: U256,
    s: U256,
}

/// Sender, fields and hash of what a node is sent; none if it is not exactly that.
pub(crate) fn read(raw: &[u8]) -> Option<(Address, Unsigned, B256)> {
    let mut rest = raw.strip_prefix(&[2])?;
    let Signed { chain, nonce, tip, max_fee, gas, to, value, data, access, odd, r, s } =
        Signed::decode(&mut rest).ok()?;
    let unsigned = Unsigned { chain, nonce, tip, max_fee, gas, to, value, data, access };
    let mut envelope = vec![2];
    unsigned.encode(&mut envelope);
    let signature = Signature::new(r, s, odd);
    // Chains refuse the upper half (EIP-2).
    if !rest.is_empty() || signature.normalize_s().is_some() {
        return None;
    }
    let sender = signature.recover_address_from_prehash(&keccak256(envelope)).ok()?;
    Some((sender, unsigned, keccak256(raw)))
}
