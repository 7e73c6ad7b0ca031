//! Sending a transaction: what it may cost, and waiting until it is mined.

use std::{fmt, time::Duration};

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::{
    Address, Error, PosterKey, Rpc,
    rpc::{decode, encode, quantity},
    transaction::Transaction,
};

/// What a transaction may cost and how long it may take. A node says what it costs, so this is what limits it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The chain it must be; none for whichever the node is of.
    pub chain: Option<u64>,
    /// Wei per gas at most, all in all.
    pub max_fee: u128,
    /// Gas at most.
    pub max_gas: u64,
    /// How long to wait until it is mined.
    pub wait: Duration,
    /// How long between two looks.
    pub poll: Duration,
}

impl Default for Terms {
    /// Any chain, 200 gwei, 2 million gas (a deployment takes a quarter of it), three minutes, every two seconds.
    fn default() -> Self {
        Self {
            chain: None,
            max_fee: 200_000_000_000,
            max_gas: 2_000_000,
            wait: Duration::from_secs(180),
            poll: Duration::from_secs(2),
        }
    }
}

/// Names a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TransactionHash(pub [u8; 32]);

impl fmt::Display for TransactionHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&encode(&self.0))
    }
}

/// A transaction that was mined and succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Which.
    pub transaction: TransactionHash,
    /// Number of the block.
    pub block: u64,
    /// Gas used.
    pub gas: u64,
    /// Wei per gas paid.
    pub price: u128,
}

/// Fails if the node is not of the chain it must be.
pub(crate) async fn chain(rpc: &Rpc, terms: &Terms) -> Result<u64, Error> {
    let found = rpc.chain().await?;
    match terms.chain {
        Some(expected) if expected != found => Err(Error::OtherChain { expected, found }),
        _ => Ok(found),
    }
}

/// Sends and waits. Also the nonce.
pub(crate) async fn send(
    rpc: &Rpc,
    terms: &Terms,
    key: &PosterKey,
    to: Option<Address>,
    data: Vec<u8>,
) -> Result<(Receipt, u64), Error> {
    let from = key.address();
    let chain = chain(rpc, terms).await?;
    let gas = gas(rpc, terms, from, to, &data).await?;
    let (tip, max_fee) = fees(rpc, terms).await?;
    let nonce = rpc.number("eth_getTransactionCount", json!([from.to_string(), "pending"])).await?;
    let signed = Transaction { chain, nonce, tip, max_fee, gas, to, data }.sign(key);
    let told = rpc.bytes("eth_sendRawTransaction", json!([encode(&signed.raw)])).await?;
    if told != signed.hash.0 {
        return Err(Error::BadAnswer { method: "eth_sendRawTransaction", reason: "another transaction's hash" });
    }
    Ok((wait(rpc, terms, signed.hash).await?, nonce))
}

/// The node's estimate and a fifth, for what changes until it is mined. The contract's refusal if it would refuse.
async fn gas(rpc: &Rpc, terms: &Terms, from: Address, to: Option<Address>, data: &[u8]) -> Result<u64, Error> {
    let mut call = json!({ "from": from.to_string(), "data": encode(data) });
    if let Some(to) = to {
        call["to"] = to.to_string().into();
    }
    let estimate: u64 = rpc.number("eth_estimateGas", json!([call])).await?;
    let gas = estimate.saturating_add(estimate / 5);
    if gas <= terms.max_gas {
        return Ok(gas);
    }
    Err(Error::TooExpensive { what: "gas", asked: gas.into(), limit: terms.max_gas.into() })
}

/// Tip, and the most to pay all in all: twice the base fee and the tip, as far as the terms allow. Wei per gas.
async fn fees(rpc: &Rpc, terms: &Terms) -> Result<(u128, u128), Error> {
    let (base, tip) = match history(rpc).await {
        Ok((base, usual)) => (base, tip(rpc, usual).await?),
        // A node that knows no base fee: all of the price is offered, as tip.
        Err(Error::Refused { .. }) => (0, rpc.number("eth_gasPrice", json!([])).await?),
        Err(other) => return Err(other),
    };
    let least = base.saturating_add(tip);
    if least > terms.max_fee {
        return Err(Error::TooExpensive { what: "wei per gas", asked: least, limit: terms.max_fee });
    }
    Ok((tip, least.saturating_add(base).min(terms.max_fee)))
}

/// Base fee of the next block, and the median tip in the latest one.
async fn history(rpc: &Rpc) -> Result<(u128, Option<u128>), Error> {
    let method = "eth_feeHistory";
    let answer = rpc.call(method, json!(["0x1", "latest", [50]])).await?;
    let last = |field: &Value| field.as_array().and_then(|all| all.last()).cloned().unwrap_or_default();
    let base = quantity(&last(&answer["baseFeePerGas"])).ok_or(Error::BadAnswer { method, reason: "no base fee" })?;
    Ok((base, quantity(&last(&last(&answer["reward"])))))
}

/// What the node suggests, or else what is usual.
async fn tip(rpc: &Rpc, usual: Option<u128>) -> Result<u128, Error> {
    match (rpc.number("eth_maxPriorityFeePerGas", json!([])).await, usual) {
        (Err(Error::Refused { .. }), Some(usual)) => Ok(usual),
        (suggested, _) => suggested,
    }
}

/// Looks until the transaction is mined or the time is over. Once it is sent its hash must not get lost, so what
/// the node says amiss meanwhile only ends the waiting when the time is over.
async fn wait(rpc: &Rpc, terms: &Terms, transaction: TransactionHash) -> Result<Receipt, Error> {
    let until = Instant::now() + terms.wait;
    loop {
        let problem = match look(rpc, transaction).await {
            Ok(Some(receipt)) => return Ok(receipt),
            Err(failed @ Error::Failed(_)) => return Err(failed),
            Ok(None) => None,
            Err(problem) => Some(Box::new(problem)),
        };
        if Instant::now() + terms.poll > until {
            return Err(Error::NotMined { transaction, seconds: terms.wait.as_secs(), problem });
        }
        sleep(terms.poll).await;
    }
}

async fn look(rpc: &Rpc, transaction: TransactionHash) -> Result<Option<Receipt>, Error> {
    let method = "eth_getTransactionReceipt";
    let answer = rpc.call(method, json!([transaction.to_string()])).await?;
    if answer.is_null() {
        return Ok(None);
    }
    let missing = |reason| move || Error::BadAnswer { method, reason };
    if decode(&answer["transactionHash"]).as_deref() != Some(&transaction.0[..]) {
        return Err(missing("another transaction's receipt")());
    }
    match quantity(&answer["status"]) {
        Some(1u8) => {}
        Some(0) => return Err(Error::Failed(transaction)),
        _ => return Err(missing("no status")()),
    }
    Ok(Some(Receipt {
        transaction,
        block: quantity(&answer["blockNumber"]).ok_or_else(missing("no block"))?,
        gas: quantity(&answer["gasUsed"]).ok_or_else(missing("no gas"))?,
        price: quantity(&answer["effectiveGasPrice"]).ok_or_else(missing("no price"))?,
    }))
}
