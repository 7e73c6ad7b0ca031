//! A node of the chain, over JSON-RPC 2.0.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, header::CONTENT_TYPE};
use sealdex_net::{CallError, exchange::usable, peer::Http};
use serde_json::{Value, json};

use crate::{Address, Error, Revert};

/// Bytes of an answer: a contract's code in hexadecimal is 48 KiB at most, all others are far smaller.
const LIMIT: usize = 256 << 10;
/// Characters of a node's message that are shown.
const SHOWN: usize = 200;

/// A node of the chain. Clone freely. Its address may hold a key of the service, so nothing shows more of it than
/// the host.
#[derive(Clone)]
pub struct Rpc {
    http: Http,
    url: Arc<str>,
    timeout: Duration,
}

impl Rpc {
    /// The node at `url` (https, or http on loopback), given up after 30 seconds a call.
    #[must_use]
    pub fn new(http: Http, url: &str) -> Self {
        Self { http, url: url.into(), timeout: Duration::from_secs(30) }
    }

    /// Another time after which a call is given up.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Chain id.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn chain(&self) -> Result<u64, Error> {
        self.number("eth_chainId", json!([])).await
    }

    /// Calls a contract without a transaction.
    pub(crate) async fn view(&self, to: Address, data: &[u8], at: &'static str) -> Result<Vec<u8>, Error> {
        self.bytes("eth_call", json!([{ "to": to.to_string(), "data": encode(data) }, at])).await
    }

    pub(crate) async fn bytes(&self, method: &'static str, params: Value) -> Result<Vec<u8>, Error> {
        let answer = self.call(method, params).await?;
        decode(&answer).ok_or(Error::BadAnswer { method, reason: "not bytes in hexadecimal" })
    }

    pub(crate) async fn number<N: TryFrom<u128>>(&self, method: &'static str, params: Value) -> Result<N, Error> {
        let answer = self.call(method, params).await?;
        quantity(&answer).ok_or(Error::BadAnswer { method, reason: "not a number in hexadecimal, or too large" })
    }

    /// The result of one call.
    pub(crate) async fn call(&self, method: &'static str, params: Value) -> Result<Value, Error> {
        let bad = |reason| Error::BadAnswer { method, reason };
        let request = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
        let answer = self.post(method, request.into()).await?;
        let mut answer: Value = serde_json::from_slice(&answer).map_err(|_| bad("not JSON"))?;
        if answer["jsonrpc"] != "2.0" {
            return Err(bad("not JSON-RPC 2.0"));
        }
        match answer.get("error") {
            None | Some(Value::Null) => {}
            Some(error) => return Err(refusal(method, error)),
        }
        if answer["id"] != 1 {
            return Err(bad("the answer to something else"));
        }
        answer.get_mut("result").map(Value::take).ok_or(bad("neither result nor error"))
    }

    async fn post(&self, method: &'static str, body: Bytes) -> Result<Bytes, CallError> {
        let discreet = |error| discreet(error, &self.url, method);
        usable(&self.url).map_err(discreet)?;
        let request = Request::post(&*self.url).header(CONTENT_TYPE, "application/json");
        let request = request.body(body).map_err(|_| discreet(CallError::Address(String::new())))?;
        let answer = self.http.send(request, LIMIT, self.timeout).await.map_err(discreet)?;
        if answer.status().is_success() {
            return Ok(answer.into_body());
        }
        let reason = format!("HTTP status {}", answer.status());
        Err(CallError::BadAnswer { server: host_of(&self.url), path: method.into(), reason })
    }
}

/// The error without what may be secret in the node's address: its path, and a password before its host.
fn discreet(error: CallError, url: &str, method: &'static str) -> CallError {
    let server = host_of(url);
    match error {
        CallError::Unreachable { reason, .. } => CallError::Unreachable { server, reason },
        CallError::BadAnswer { reason, .. } => CallError::BadAnswer { server, path: method.into(), reason },
        _ => CallError::Address(server),
    }
}

fn host_of(url: &str) -> String {
    let host = |uri: http::Uri| {
        let port = uri.port().map_or_else(String::new, |port| format!(":{port}"));
        Some(format!("{}://{}{port}", uri.scheme_str()?, uri.host()?))
    };
    url.parse().ok().and_then(host).unwrap_or_else(|| "(unreadable)".into())
}

/// The contract's refusal if there is one in it, else the node's.
fn refusal(method: &'static str, error: &Value) -> Error {
    let shown = |text: &str| text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SHOWN).collect();
    let message: String = shown(error["message"].as_str().unwrap_or("no reason given"));
    // Most nodes put what the contract returned into `data`, some into an object in it.
    let returned = decode(&error["data"]).or_else(|| decode(&error["data"]["data"]));
    match returned {
        Some(returned) => Error::Reverted(Revert::decode(&returned, message)),
        None if error["code"] == 3 || message.contains("revert") => Error::Reverted(Revert::Other(message)),
        None => Error::Refused { method, code: error["code"].as_i64().unwrap_or(0), message },
    }
}

/// Bytes as JSON-RPC has them.
pub(crate) fn encode(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}

/// Reads what [`encode`] writes.
pub(crate) fn decode(value: &Value) -> Option<Vec<u8>> {
    hex::decode(value.as_str()?.strip_prefix("0x")?).ok()
}

/// Reads a number as JSON-RPC has them.
pub(crate) fn quantity<N: TryFrom<u128>>(value: &Value) -> Option<N> {
    let digits = value.as_str()?.strip_prefix("0x")?;
    // The parser would take a sign.
    let hexadecimal = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let number = if hexadecimal { u128::from_str_radix(digits, 16).ok()? } else { return None };
    number.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities() {
        assert_eq!(quantity::<u64>(&json!("0x0")), Some(0));
        assert_eq!(quantity::<u64>(&json!("0x41")), Some(65));
        assert_eq!(quantity::<u64>(&json!("0xffffffffffffffff")), Some(u64::MAX));
        assert_eq!(quantity::<u64>(&json!("0x10000000000000000")), None);
        let too_large = json!(format!("0x1{}", "0".repeat(32)));
        for bad in
            [json!(1), json!("1"), json!("0x"), json!("0x+1"), json!("0x-1"), json!("0xg"), too_large, json!(null)]
        {
            assert_eq!(quantity::<u128>(&bad), None, "{bad}");
        }
    }

    #[test]
    fn refusals_wherever_nodes_put_them() {
        let inconsistent = Revert::Inconsistent { anchored: 9 };
        let data = encode(&crate::abi::call("Inconsistent(uint64)", &[crate::abi::from_u64(9)]));
        for error in [
            json!({ "code": 3, "message": "execution reverted", "data": data }),
            json!({ "code": -32000, "message": "x", "data": { "data": data } }),
        ] {
            assert_eq!(refusal("eth_call", &error), Error::Reverted(inconsistent.clone()));
        }
        let other = json!({ "code": 3, "message": "execution reverted: why\nnot", "data": "0x" });
        assert_eq!(refusal("eth_call", &other), Error::Reverted(Revert::Other("execution reverted: why not".into())));
        let node = json!({ "code": -32601, "message": "é".repeat(1000) });
        let wanted = Error::Refused { method: "eth_call", code: -32601, message: "é".repeat(SHOWN) };
        assert_eq!(refusal("eth_call", &node), wanted);
        // A number too many, or too large for what it stands for, is none of our errors.
        for data in [format!("{data}00"), data.replacen("00", "01", 1), data[..data.len() - 2].into()] {
            let error = json!({ "code": 3, "message": "m", "data": data });
            assert_eq!(refusal("eth_call", &error), Error::Reverted(Revert::Other("m".into())), "{data}");
        }
    }
}
