//! What can go wrong, and what the contract said when it refused.

use sealdex_net::CallError;

use crate::{Address, TransactionHash, abi};

/// Why an operation failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The node could not be asked.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The node answered what nobody can use.
    #[error("the node's answer to {method} is unusable: {reason}")]
    BadAnswer {
        /// JSON-RPC method.
        method: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The node refused, not the contract.
    #[error("the node refused {method}: {message} (code {code})")]
    Refused {
        /// JSON-RPC method.
        method: &'static str,
        /// JSON-RPC error code.
        code: i64,
        /// The node's words, shortened.
        message: String,
    },
    /// The contract refused. Nothing was changed, and no fee paid.
    #[error("the contract refused: {0}")]
    Reverted(Revert),
    /// The node is of another chain.
    #[error("the node is of chain {found}, expected was chain {expected}")]
    OtherChain {
        /// Chain id expected.
        expected: u64,
        /// Chain id of the node.
        found: u64,
    },
    /// At the address is nothing, or not this contract.
    #[error("at {0} there is no Sealdex anchor: is the address right, and the chain?")]
    OtherCode(Address),
    /// The node asks for more than [`crate::Terms`] allow.
    #[error("{what} would be {asked}, the limit is {limit}")]
    TooExpensive {
        /// What, with its unit.
        what: &'static str,
        /// How much the node asks for.
        asked: u128,
        /// How much is allowed.
        limit: u128,
    },
    /// The proof starts from another checkpoint than the latest that is anchored.
    #[error("the latest checkpoint that is anchored has {anchored} entries, the proof starts from {given}")]
    Moved {
        /// Entries in it; 0 if there is none.
        anchored: u64,
        /// Entries in the caller's; 0 if it knew none.
        given: u64,
    },
    /// Sent, but no receipt yet. It may still be mined: look before trying again.
    #[error("transaction {transaction} has no receipt after {seconds} s; it may still be mined{}", last_problem(.problem))]
    NotMined {
        /// Which.
        transaction: TransactionHash,
        /// How long was waited.
        seconds: u64,
        /// What kept the node from answering when last asked.
        problem: Option<Box<Error>>,
    },
    /// Mined, but failed, though it was tried before it was sent; the fee is paid.
    #[error("transaction {0} was mined and failed: has another one been faster?")]
    Failed(TransactionHash),
    /// The contract's artefact in this program is damaged.
    #[error("the contract's artefact in this program is unreadable")]
    Artefact,
}

fn last_problem(problem: &Option<Box<Error>>) -> String {
    problem.as_ref().map_or_else(String::new, |problem| format!(" (last: {problem})"))
}

/// Why the contract refused: its custom errors.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Revert {
    /// Not the account that deployed it.
    #[error("only the account that deployed it may post (NotPoster)")]
    NotPoster,
    /// Not larger than the latest.
    #[error("the log is anchored with {anchored} entries already, a checkpoint must have more (NotNewer)")]
    NotNewer {
        /// Entries in the latest checkpoint.
        anchored: u64,
    },
    /// The consistency proof does not hold.
    #[error(
        "it is not proved that the checkpoint extends that of {anchored} entries: a fork, or a wrong proof (Inconsistent)"
    )]
    Inconsistent {
        /// Entries in the latest checkpoint; 0 if there is none, and then the proof must be empty.
        anchored: u64,
    },
    /// No checkpoint of that size.
    #[error("no checkpoint of {size} entries is anchored (UnknownCheckpoint)")]
    UnknownCheckpoint {
        /// Entries.
        size: u64,
    },
    /// Something else: another contract, or the chain.
    #[error("{0}")]
    Other(String),
}

impl Revert {
    /// By what the contract returned; `message` is what the node says if that is none of our errors.
    pub(crate) fn decode(data: &[u8], message: String) -> Self {
        let known = |signature: &str| data.strip_prefix(&abi::selector(signature)[..]);
        let number = |signature| known(signature).and_then(|rest| abi::to_u64(rest.try_into().ok()?));
        if known("NotPoster()").is_some_and(<[u8]>::is_empty) {
            Self::NotPoster
        } else if let Some(anchored) = number("NotNewer(uint64)") {
            Self::NotNewer { anchored }
        } else if let Some(anchored) = number("Inconsistent(uint64)") {
            Self::Inconsistent { anchored }
        } else if let Some(size) = number("UnknownCheckpoint(uint64)") {
            Self::UnknownCheckpoint { size }
        } else {
            Self::Other(message)
        }
    }
}
