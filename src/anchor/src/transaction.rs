//! Transactions with a fee market (EIP-1559, type 2 of EIP-2718).

use crate::{Address, PosterKey, TransactionHash, address::keccak, rlp};

const TYPE: u8 = 2;

/// A transaction that moves no money.
pub(crate) struct Transaction {
    pub(crate) chain: u64,
    pub(crate) nonce: u64,
    /// Wei per gas to whoever makes the block.
    pub(crate) tip: u128,
    /// Wei per gas at most, all in all.
    pub(crate) max_fee: u128,
    pub(crate) gas: u64,
    /// The contract that is called; none to make one.
    pub(crate) to: Option<Address>,
    pub(crate) data: Vec<u8>,
}

/// What a node takes.
pub(crate) struct Signed {
    pub(crate) raw: Vec<u8>,
    pub(crate) hash: TransactionHash,
}

impl Transaction {
    pub(crate) fn sign(&self, key: &PosterKey) -> Signed {
        let mut fields = self.fields();
        let signature = key.sign(&keccak(&envelope(&fields)));
        rlp::number(&mut fields, signature.odd.into());
        rlp::bytes(&mut fields, rlp::significant(&signature.r));
        rlp::bytes(&mut fields, rlp::significant(&signature.s));
        let raw = envelope(&fields);
        Signed { hash: TransactionHash(keccak(&raw)), raw }
    }

    fn fields(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.data.len() + 200);
        rlp::number(&mut out, self.chain.into());
        rlp::number(&mut out, self.nonce.into());
        rlp::number(&mut out, self.tip);
        rlp::number(&mut out, self.max_fee);
        rlp::number(&mut out, self.gas.into());
        rlp::bytes(&mut out, self.to.as_ref().map_or(&[], |to| &to.0));
        rlp::number(&mut out, 0); // value
        rlp::bytes(&mut out, &self.data);
        out.extend(rlp::list(&[])); // access list
        out
    }
}

fn envelope(fields: &[u8]) -> Vec<u8> {
    let mut out = vec![TYPE];
    out.extend(rlp::list(fields));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `alloy-consensus` 1.6 decodes to these fields and this sender, with this hash.
    const CALL: &str = "02f8d483aa36a7098459682f0085098bca5a008301e240943535353535353535353535353535353535353535\
        80b864000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f\
        303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f60616263\
        c080a06e7ac2222973e367c7c1a4f8f68e0aabb086e695058ce9e67492c7917a8c9df7\
        a03215e0590029394bec47551755312df5c2108392f29d5b379c00be7778193724";
    const DEPLOYMENT: &str = "02f8c083aa36a7808459682f0085098bca5a008301e2408080\
        b864000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f\
        303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f60616263\
        c001a0bbc6b02e072f5acd1cc1ac0fc6727371275e13599819df2203da2dfec707048c\
        a00175677db9d5c1d0f09266a617649edcc1672f0fe5eea7e4855c3f7866092cde";

    #[test]
    fn transactions_are_bit_for_bit_what_others_read() {
        let key = PosterKey::from_hex("4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318").unwrap();
        let call = "0x2577bb0a6f3e3e975daff9d7548468f5c5da08cac9d58a09ddf2aca54342e6b8";
        let deployment = "0xe04342373c122b5244c6af4c9da2f0cdea1f43d73d6c2fae3bb70de3385bd006";
        let to = Some(Address([0x35; 20]));
        for (to, nonce, raw, hash) in [(to, 9, CALL, call), (None, 0, DEPLOYMENT, deployment)] {
            let (tip, max_fee) = (1_500_000_000, 41_000_000_000);
            let data = (0..100).collect();
            let signed = Transaction { chain: 11_155_111, nonce, tip, max_fee, gas: 123_456, to, data }.sign(&key);
            assert_eq!(hex::encode(&signed.raw), raw);
            assert_eq!(signed.hash.to_string(), hash);
        }
    }
}
