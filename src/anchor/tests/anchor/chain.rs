//! A chain in memory, and calls of the contract encoded apart from the library.

use revm::{
    Context, DatabaseCommit, ExecuteEvm, MainBuilder, MainContext,
    context::TxEnv,
    context_interface::result::{EVMError, ExecutionResult, InvalidTransaction},
    database::{CacheDB, EmptyDB},
    primitives::{Address, B256, Bytes, TxKind, U256, keccak256},
    state::AccountInfo,
};
use sealdex_crypto::log::Hash;

pub(crate) const CHAIN: u64 = 31_337;
pub(crate) const BASE_FEE: u64 = 7_000_000_000;
pub(crate) const GAS: u64 = 3_000_000;
/// Time of the first block; the next is 12 seconds later.
pub(crate) const GENESIS: u64 = 1_700_000_000;

pub(crate) type Executed = ExecutionResult;
pub(crate) type Refused = EVMError<std::convert::Infallible, InvalidTransaction>;

pub(crate) struct Chain {
    db: CacheDB<EmptyDB>,
    pub(crate) block: u64,
}

impl Chain {
    pub(crate) fn new(rich: &[Address]) -> Self {
        let mut db = CacheDB::new(EmptyDB::new());
        for address in rich {
            db.insert_account_info(*address, AccountInfo::from_balance(U256::from(10).pow(U256::from(20))));
        }
        Self { db, block: 1 }
    }

    pub(crate) fn time(&self) -> u64 {
        GENESIS + 12 * self.block
    }

    pub(crate) fn nonce(&mut self, address: Address) -> u64 {
        self.db.load_account(address).unwrap().info.nonce
    }

    pub(crate) fn code(&mut self, address: Address) -> Bytes {
        let code = self.db.load_account(address).unwrap().info.code.clone();
        code.map(|code| code.original_bytes()).unwrap_or_default()
    }

    /// Executes in the next block, if the transaction is valid.
    pub(crate) fn execute(&mut self, transaction: TxEnv) -> Result<Executed, Refused> {
        self.block += 1;
        let done = self.evm(transaction, true)?;
        self.db.commit(done.1);
        Ok(done.0)
    }

    /// Executes without consequences, and without looking at nonce or balance.
    pub(crate) fn view(&mut self, from: Address, to: TxKind, data: &[u8]) -> Executed {
        let transaction = TxEnv::builder().caller(from).kind(to).data(data.to_vec().into()).gas_limit(GAS);
        self.evm(transaction.build().unwrap(), false).unwrap().0
    }

    fn evm(&mut self, transaction: TxEnv, strict: bool) -> Result<(Executed, revm::state::EvmState), Refused> {
        let time = self.time();
        let block = self.block;
        let context = Context::mainnet().with_db(&mut self.db).modify_cfg_chained(|cfg| {
            cfg.chain_id = CHAIN;
            cfg.tx_chain_id_check = strict;
            cfg.disable_nonce_check = !strict;
        });
        let context = context.modify_block_chained(|at| {
            at.number = U256::from(block);
            at.timestamp = U256::from(time);
            at.basefee = if strict { BASE_FEE } else { 0 };
        });
        let done = context.build_mainnet().transact(transaction)?;
        Ok((done.result, done.state))
    }
}

/// A deployed contract.
pub(crate) struct Contract {
    pub(crate) chain: Chain,
    pub(crate) address: Address,
    pub(crate) poster: Address,
    pub(crate) deployed_for: u64,
}

pub(crate) fn bytecode() -> Vec<u8> {
    let artefact: serde_json::Value = serde_json::from_str(include_str!("../../contracts/SealdexAnchor.json")).unwrap();
    hex::decode(artefact["bytecode"].as_str().unwrap()).unwrap()
}

impl Contract {
    pub(crate) fn deploy() -> Self {
        let poster = Address::repeat_byte(0x11);
        let mut chain = Chain::new(&[poster, Address::repeat_byte(0x22)]);
        let transaction = transaction(poster, 0, TxKind::Create, bytecode());
        let done = chain.execute(transaction).unwrap();
        assert!(done.is_success(), "{done:?}");
        Self { chain, address: done.created_address().unwrap(), poster, deployed_for: done.gas_used() }
    }

    /// As a transaction; what it used, or what the contract returned when it refused.
    pub(crate) fn send(&mut self, from: Address, call: Vec<u8>) -> Result<u64, Vec<u8>> {
        let nonce = self.chain.nonce(from);
        let done = self.chain.execute(transaction(from, nonce, TxKind::Call(self.address), call)).unwrap();
        match done {
            ExecutionResult::Success { .. } => Ok(done.gas_used()),
            other => Err(other.output().expect("no halt").to_vec()),
        }
    }

    pub(crate) fn post(&mut self, log: [u8; 32], size: u64, root: Hash, proof: &[Hash]) -> Result<u64, Vec<u8>> {
        self.send(self.poster, post(log, size, root, proof))
    }

    /// Whether a post would succeed now.
    pub(crate) fn would_post(&mut self, log: [u8; 32], size: u64, root: Hash, proof: &[Hash]) -> Result<(), Vec<u8>> {
        let poster = self.poster;
        self.view(poster, &post(log, size, root, proof)).map(|_| ())
    }

    pub(crate) fn view(&mut self, from: Address, call: &[u8]) -> Result<Vec<u8>, Vec<u8>> {
        let done = self.chain.view(from, TxKind::Call(self.address), call);
        let output = done.output().expect("no halt").to_vec();
        if done.is_success() { Ok(output) } else { Err(output) }
    }

    pub(crate) fn includes(&mut self, log: [u8; 32], size: u64, leaf: Hash, index: u64, proof: &[Hash]) -> bool {
        let answer = self.view(Address::ZERO, &verify_inclusion(log, size, leaf, index, proof)).unwrap();
        assert_eq!(answer[..31], [0; 31]);
        answer[31] == 1
    }
}

pub(crate) fn transaction(from: Address, nonce: u64, to: TxKind, data: Vec<u8>) -> TxEnv {
    let fee = 2 * u128::from(BASE_FEE);
    let builder = TxEnv::builder().caller(from).nonce(nonce).kind(to).data(data.into()).gas_limit(GAS);
    builder.chain_id(Some(CHAIN)).max_fee_per_gas(fee).gas_priority_fee(Some(1)).build().unwrap()
}

pub(crate) fn call(signature: &str, words: &[B256]) -> Vec<u8> {
    let mut out = keccak256(signature)[..4].to_vec();
    words.iter().for_each(|word| out.extend_from_slice(word.as_slice()));
    out
}

pub(crate) fn number(number: u64) -> B256 {
    U256::from(number).into()
}

pub(crate) fn post(log: [u8; 32], size: u64, root: Hash, proof: &[Hash]) -> Vec<u8> {
    let words = [log.into(), number(size), root.into(), number(0x80), number(proof.len() as u64)];
    let mut out = call("post(bytes32,uint64,bytes32,bytes32[])", &words);
    proof.iter().for_each(|hash| out.extend(hash));
    out
}

pub(crate) fn verify_inclusion(log: [u8; 32], size: u64, leaf: Hash, index: u64, proof: &[Hash]) -> Vec<u8> {
    let words = [log.into(), number(size), leaf.into(), number(index), number(0xa0), number(proof.len() as u64)];
    let mut out = call("verifyInclusion(bytes32,uint64,bytes32,uint64,bytes32[])", &words);
    proof.iter().for_each(|hash| out.extend(hash));
    out
}
