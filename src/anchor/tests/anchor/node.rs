//! A node: JSON-RPC over a real socket, with a chain in memory behind it. It can be told to misbehave.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use axum::{Router, body::Body, extract::State, response::Response, routing};
use revm::primitives::{Address, B256, TxKind, U256};
use serde_json::{Value, json};

use crate::{
    chain::{BASE_FEE, CHAIN, Chain, Executed},
    transaction,
};

/// What the node does instead of answering a method.
#[derive(Clone)]
pub(crate) enum Fault {
    /// This result.
    Result(Value),
    /// This error.
    Error(Value),
    /// This body.
    Body(String),
    /// This HTTP status.
    Status(u16),
    /// A body that never ends.
    Endless,
    /// Nothing.
    Silence,
}

/// The node; keep it to change it.
#[derive(Clone)]
pub(crate) struct Node {
    inner: Arc<Mutex<Inner>>,
    pub(crate) url: String,
}

pub(crate) struct Inner {
    pub(crate) chain: Chain,
    pub(crate) faults: HashMap<String, Fault>,
    /// Methods that were called.
    pub(crate) called: Vec<String>,
    /// Parameters of the last `eth_call` or `eth_getCode`.
    pub(crate) tag: Value,
    /// Transactions as they came, with sender.
    pub(crate) taken: Vec<(Address, transaction::Unsigned)>,
    receipts: HashMap<B256, (Value, u32)>,
}

impl Node {
    pub(crate) async fn start(rich: &[Address]) -> Self {
        let inner = Inner {
            chain: Chain::new(rich),
            faults: HashMap::new(),
            called: Vec::new(),
            tag: Value::Null,
            taken: Vec::new(),
            receipts: HashMap::new(),
        };
        let inner = Arc::new(Mutex::new(inner));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        // With a path that is a secret, as services have it.
        let url = format!("http://{}/v3/secret-key-of-the-service", listener.local_addr().unwrap());
        let router =
            Router::new().route("/v3/secret-key-of-the-service", routing::post(answer)).with_state(inner.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { inner, url }
    }

    pub(crate) fn with<T>(&self, f: impl FnOnce(&mut Inner) -> T) -> T {
        f(&mut self.inner.lock().unwrap())
    }

    /// From now on that method fails so.
    pub(crate) fn fail(&self, method: &str, fault: Fault) {
        self.with(|inner| inner.faults.insert(method.into(), fault));
    }

    pub(crate) fn heal(&self) {
        self.with(|inner| inner.faults.clear());
    }

    pub(crate) fn transactions(&self) -> usize {
        self.with(|inner| inner.taken.len())
    }
}

async fn answer(State(inner): State<Arc<Mutex<Inner>>>, request: String) -> Response {
    let request: Value = serde_json::from_str(&request).unwrap();
    assert_eq!(request["jsonrpc"], "2.0");
    let method = request["method"].as_str().unwrap();
    let fault = inner.lock().unwrap().faults.get(method).cloned();
    inner.lock().unwrap().called.push(method.into());
    let result = match fault {
        None => inner.lock().unwrap().answer(method, &request["params"]),
        Some(Fault::Result(value)) => Ok(value),
        Some(Fault::Error(value)) => Err(value),
        Some(Fault::Body(body)) => return Response::new(body.into()),
        Some(Fault::Status(status)) => return Response::builder().status(status).body("no".into()).unwrap(),
        Some(Fault::Endless) => {
            let chunks = futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b' '; 1 << 16]));
            return Response::new(Body::from_stream(chunks));
        }
        Some(Fault::Silence) => std::future::pending().await,
    };
    let answer = match result {
        Ok(result) => json!({ "jsonrpc": "2.0", "id": request["id"], "result": result }),
        Err(error) => json!({ "jsonrpc": "2.0", "id": request["id"], "error": error }),
    };
    Response::new(answer.to_string().into())
}

impl Inner {
    fn answer(&mut self, method: &str, params: &Value) -> Result<Value, Value> {
        match method {
            "eth_chainId" => Ok(hexadecimal(CHAIN)),
            "eth_gasPrice" => Ok(hexadecimal(BASE_FEE + 1_000_000_000)),
            "eth_maxPriorityFeePerGas" => Ok(hexadecimal(1_000_000_000)),
            "eth_feeHistory" => Ok(json!({
                "oldestBlock": "0x1", "gasUsedRatio": [0.5], "reward": [["0x77359400"]],
                "baseFeePerGas": [hexadecimal(BASE_FEE / 2), hexadecimal(BASE_FEE)],
            })),
            "eth_getTransactionCount" => Ok(hexadecimal(self.chain.nonce(address(&params[0])))),
            "eth_getCode" => {
                self.tag = params[1].clone();
                Ok(json!(self.chain.code(address(&params[0])).to_string()))
            }
            "eth_call" => {
                self.tag = params[1].clone();
                self.view(&params[0]).map(|done| json!(done.output().unwrap().to_string()))
            }
            "eth_estimateGas" => self.view(&params[0]).map(|done| hexadecimal(done.gas_used())),
            "eth_sendRawTransaction" => self.take(&params[0]),
            "eth_getTransactionReceipt" => Ok(self.receipt(&params[0])),
            _ => Err(json!({ "code": -32601, "message": "the method does not exist" })),
        }
    }

    fn view(&mut self, call: &Value) -> Result<Executed, Value> {
        let from = if call["from"].is_null() { Address::ZERO } else { address(&call["from"]) };
        let to = if call["to"].is_null() { TxKind::Create } else { TxKind::Call(address(&call["to"])) };
        let done = self.chain.view(from, to, &bytes(&call["data"]));
        if done.is_success() {
            return Ok(done);
        }
        let data = done.output().map(|output| output.to_string());
        Err(json!({ "code": 3, "message": "execution reverted", "data": data }))
    }

    fn take(&mut self, raw: &Value) -> Result<Value, Value> {
        let refused = |why: &dyn std::fmt::Debug| json!({ "code": -32000, "message": format!("refused: {why:?}") });
        let (from, fields, hash) = transaction::read(&bytes(raw)).ok_or_else(|| refused(&"unreadable"))?;
        let transaction = revm::context::TxEnv::builder()
            .caller(from)
            .nonce(fields.nonce)
            .chain_id(Some(fields.chain))
            .kind(fields.to)
            .value(fields.value)
            .data(fields.data.clone())
            .gas_limit(fields.gas)
            .max_fee_per_gas(fields.max_fee)
            .gas_priority_fee(Some(fields.tip))
            .build()
            .map_err(|e| refused(&e))?;
        let price = fields.max_fee.min(u128::from(BASE_FEE) + fields.tip);
        let done = self.chain.execute(transaction).map_err(|e| refused(&e))?;
        self.taken.push((from, fields));
        let receipt = json!({
            "transactionHash": hash.to_string(),
            "blockNumber": hexadecimal(self.chain.block),
            "gasUsed": hexadecimal(done.gas_used()),
            "effectiveGasPrice": format!("0x{price:x}"),
            "status": if done.is_success() { "0x1" } else { "0x0" },
        });
        self.receipts.insert(hash, (receipt, 2));
        Ok(json!(hash.to_string()))
    }

    /// Not at once: it takes a look or two until a transaction is mined.
    fn receipt(&mut self, hash: &Value) -> Value {
        match self.receipts.get_mut(&B256::from_slice(&bytes(hash))) {
            Some((receipt, 0)) => receipt.clone(),
            Some((_, looks)) => {
                *looks -= 1;
                Value::Null
            }
            None => Value::Null,
        }
    }
}

fn hexadecimal(number: u64) -> Value {
    json!(format!("{:#x}", U256::from(number)))
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap().strip_prefix("0x").unwrap()).unwrap()
}

fn address(value: &Value) -> Address {
    Address::from_slice(&bytes(value))
}
