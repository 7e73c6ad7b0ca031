//! The contract, as a caller sees it.

use sealdex_crypto::log::Hash;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::{
    Address, Error, PosterKey, Receipt, Rpc, Terms,
    abi::{self, Word},
    artefact, send,
};

/// What the contract calls the log of this origin: the SHA-256 of it.
#[must_use]
pub fn log_id(origin: &str) -> [u8; 32] {
    Sha256::digest(origin).into()
}

/// A checkpoint that is anchored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchored {
    /// Entries.
    pub size: u64,
    /// Root of the tree of these entries.
    pub root: Hash,
    /// Unix time in seconds of the block it is anchored in.
    pub time: u64,
}

/// Which state of the chain is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Block {
    /// The newest block, which may still be replaced.
    #[default]
    Latest,
    /// The newest that is unlikely to be replaced.
    Safe,
    /// The newest that cannot be replaced: a quarter of an hour old, on Ethereum. What auditors read.
    Finalized,
}

/// What is at the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inspected {
    /// Chain id.
    pub chain: u64,
    /// Who may post.
    pub poster: Address,
}

/// A deployed contract. Clone freely.
#[derive(Clone)]
pub struct Anchor {
    rpc: Rpc,
    contract: Address,
    block: Block,
    terms: Terms,
}

impl Anchor {
    /// The contract at this address; nothing is asked yet.
    #[must_use]
    pub fn new(rpc: Rpc, contract: Address) -> Self {
        Self { rpc, contract, block: Block::Latest, terms: Terms::default() }
    }

    /// Reads that state of the chain; the newest unless told otherwise.
    #[must_use]
    pub fn at(mut self, block: Block) -> Self {
        self.block = block;
        self
    }

    /// Other limits for transactions, or a chain it must be.
    #[must_use]
    pub fn with_terms(mut self, terms: Terms) -> Self {
        self.terms = terms;
        self
    }

    /// Deploys the contract from the account of `key`, which is from then on the only one that can post.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn deploy(rpc: Rpc, key: &PosterKey, terms: Terms) -> Result<(Self, Receipt), Error> {
        let (receipt, nonce) = send::send(&rpc, &terms, key, None, artefact::bytecode()?).await?;
        let contract = Address::of_contract(key.address(), nonce);
        Ok((Self::new(rpc, contract).with_terms(terms), receipt))
    }

    /// Where it is.
    #[must_use]
    pub fn contract(&self) -> Address {
        self.contract
    }

    /// Whether it is this contract, byte by byte, on the chain it must be on; and who may post.
    ///
    /// # Errors
    /// [`Error::OtherChain`]; [`Error::OtherCode`]; others if the node is of no use.
    pub async fn inspect(&self) -> Result<Inspected, Error> {
        let chain = send::chain(&self.rpc, &self.terms).await?;
        let code = self.rpc.bytes("eth_getCode", json!([self.contract.to_string(), self.tag()])).await?;
        let poster = artefact::poster_of(&code)?.ok_or(Error::OtherCode(self.contract))?;
        Ok(Inspected { chain, poster })
    }

    /// Anchors a checkpoint. `proof` is the consistency proof from the checkpoint of `old` entries, which must be the
    /// latest that is anchored; none and empty if there is none.
    ///
    /// # Errors
    /// [`Error::Moved`] if another is the latest; [`Error::Reverted`] if the contract would refuse, before anything is
    /// sent; others if the node is of no use or asks for more than the terms allow.
    pub async fn post(
        &self,
        key: &PosterKey,
        origin: &str,
        old: Option<u64>,
        size: u64,
        root: &Hash,
        proof: &[Hash],
    ) -> Result<Receipt, Error> {
        let anchored = self.clone().at(Block::Latest).latest(origin).await?.map_or(0, |anchored| anchored.size);
        let given = old.unwrap_or(0);
        if anchored != given {
            return Err(Error::Moved { anchored, given });
        }
        let words = [log_id(origin), abi::from_u64(size), *root];
        let call = abi::call_with_list("post(bytes32,uint64,bytes32,bytes32[])", &words, proof);
        Ok(send::send(&self.rpc, &self.terms, key, Some(self.contract), call).await?.0)
    }

    /// The latest checkpoint of the log, if there is one.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn latest(&self, origin: &str) -> Result<Option<Anchored>, Error> {
        let call = abi::call("latest(bytes32)", &[log_id(origin)]);
        let [size, root, time] = self.view(&call).await?;
        let anchored = Anchored { size: number(&size)?, root, time: number(&time)? };
        Ok((anchored.size != 0).then_some(anchored))
    }

    /// The log's checkpoint of exactly `size` entries.
    ///
    /// # Errors
    /// [`Error::Reverted`] with [`crate::Revert::UnknownCheckpoint`] if there is none.
    pub async fn root_at(&self, origin: &str, size: u64) -> Result<Anchored, Error> {
        let call = abi::call("rootAt(bytes32,uint64)", &[log_id(origin), abi::from_u64(size)]);
        let [root, time] = self.view(&call).await?;
        Ok(Anchored { size, root, time: number(&time)? })
    }

    /// Has the contract verify that the entry with this leaf hash is number `index` of the log's anchored checkpoint of
    /// `size` entries. As good as the node that is asked; what is certain is [`sealdex_crypto::log::verify_inclusion`].
    ///
    /// # Errors
    /// [`Error::Reverted`] with [`crate::Revert::UnknownCheckpoint`] if there is no such checkpoint.
    pub async fn verify_inclusion(
        &self,
        origin: &str,
        size: u64,
        leaf: &Hash,
        index: u64,
        proof: &[Hash],
    ) -> Result<bool, Error> {
        let words = [log_id(origin), abi::from_u64(size), *leaf, abi::from_u64(index)];
        let signature = "verifyInclusion(bytes32,uint64,bytes32,uint64,bytes32[])";
        let [holds] = self.view(&abi::call_with_list(signature, &words, proof)).await?;
        match abi::to_u64(&holds) {
            Some(0) => Ok(false),
            Some(1) => Ok(true),
            _ => Err(unusable()),
        }
    }

    /// What the contract returns.
    async fn view<const N: usize>(&self, call: &[u8]) -> Result<[Word; N], Error> {
        let answer = self.rpc.view(self.contract, call, self.tag()).await?;
        match abi::words(&answer) {
            Some(words) => Ok(words),
            // What a call to an account without code returns.
            None if answer.is_empty() => Err(Error::OtherCode(self.contract)),
            None => Err(unusable()),
        }
    }

    fn tag(&self) -> &'static str {
        match self.block {
            Block::Latest => "latest",
            Block::Safe => "safe",
            Block::Finalized => "finalized",
        }
    }
}

fn number(word: &Word) -> Result<u64, Error> {
    abi::to_u64(word).ok_or_else(unusable)
}

fn unusable() -> Error {
    Error::BadAnswer { method: "eth_call", reason: "not what the contract returns" }
}
