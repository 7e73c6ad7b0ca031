//! `POST /` with a batch: each entry a request of its own, whose failure harms no other.

use bytes::Bytes;
use futures_util::{StreamExt as _, future::BoxFuture, stream};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use serde_json::{Map, Value as Json, json};

use crate::{
    bundle::batch_response,
    call::{Call, Content, Reply},
    negotiation::Wants,
    outcome::Outcome,
    query::{decode, segment},
    search::PARALLEL,
    server::Gateway,
    target::Target,
};

/// Most entries of a batch.
const ENTRIES: usize = 500;

impl Gateway {
    /// `POST /`.
    pub(crate) async fn batch(&self, call: &Call) -> Result<Reply, Outcome> {
        let bundle = call.json()?;
        if bundle["resourceType"] != "Bundle" {
            return Err(Outcome::invalid("the base takes a Bundle of type batch"));
        }
        match bundle["type"].as_str() {
            Some("batch") => {}
            Some("transaction") => {
                return Err(Outcome::not_supported(
                    "transactions are not supported: records of several patients and hospitals have no common moment; send a batch",
                ));
            }
            _ => return Err(Outcome::invalid("the Bundle is no batch: set type to batch")),
        }
        let entries = match &bundle["entry"] {
            Json::Null => &[],
            Json::Array(entries) if entries.len() <= ENTRIES => entries.as_slice(),
            Json::Array(entries) => {
                let text = format!("{} entries, at most {ENTRIES} are taken: send several batches", entries.len());
                return Err(Outcome::new(StatusCode::PAYLOAD_TOO_LARGE, "too-costly", text));
            }
            _ => return Err(Outcome::invalid("Bundle.entry is no array")),
        };
        // What changes something comes first, one after another; then what reads.
        let (reads, writes): (Vec<_>, Vec<_>) = entries.iter().enumerate().partition(|(_, e)| reads(e));
        let mut done: Vec<(usize, Vec<u8>)> = Vec::with_capacity(entries.len());
        for (n, entry) in writes {
            done.push((n, self.entry(call, entry).await));
        }
        let mut reading: Vec<BoxFuture<'_, (usize, Vec<u8>)>> = Vec::with_capacity(reads.len());
        for (n, entry) in reads {
            reading.push(Box::pin(async move { (n, self.entry(call, entry).await) }));
        }
        let read: Vec<_> = stream::iter(reading).buffer_unordered(PARALLEL).collect().await;
        done.extend(read);
        done.sort_unstable_by_key(|(n, _)| *n);
        Ok(Reply::fhir(batch_response(done.into_iter().map(|(_, e)| e).collect())))
    }

    async fn entry(&self, call: &Call, entry: &Json) -> Vec<u8> {
        let reply = match self.inner(call, entry) {
            Ok(inner) => self.answer(inner).await,
            Err(outcome) => Err(outcome),
        };
        respond(reply.unwrap_or_else(Reply::from))
    }

    /// An entry as a call.
    fn inner(&self, call: &Call, entry: &Json) -> Result<Call, Outcome> {
        let request = &entry["request"];
        let method = request["method"].as_str().and_then(|m| m.parse::<Method>().ok());
        let method =
            method.ok_or_else(|| Outcome::invalid("Bundle.entry.request.method is missing or is no method"))?;
        let url = request["url"].as_str().ok_or_else(|| Outcome::invalid("Bundle.entry.request.url is missing"))?;
        let relative = url.strip_prefix(&call.base).unwrap_or(url).trim_start_matches('/');
        let (path, query) = relative.split_once('?').unwrap_or((relative, ""));
        let segments = path.split('/').filter(|s| !s.is_empty()).map(segment).collect::<Result<Vec<_>, _>>()?;
        let target = self.target(&segments)?;
        if matches!(target, Target::System { .. } | Target::Token | Target::ExportFile(_)) && method == Method::POST
            || matches!(target, Target::ExportFile(_) | Target::Token)
        {
            return Err(Outcome::not_supported("this cannot be an entry of a batch: send it by itself"));
        }
        let mut headers = HeaderMap::new();
        let conditions = [
            ("ifMatch", header::IF_MATCH),
            ("ifNoneMatch", header::IF_NONE_MATCH),
            ("ifModifiedSince", header::IF_MODIFIED_SINCE),
            ("ifNoneExist", HeaderName::from_static("if-none-exist")),
        ];
        for (name, header) in conditions {
            if let Some(value) = request[name].as_str() {
                let value = HeaderValue::from_str(value);
                headers.insert(
                    header,
                    value.map_err(|_| Outcome::invalid(format!("Bundle.entry.request.{name} is no header value")))?,
                );
            }
        }
        let body =
            if entry["resource"].is_object() { Bytes::from(entry["resource"].to_string()) } else { Bytes::new() };
        Ok(Call {
            method: if method == Method::HEAD { Method::GET } else { method },
            target,
            pairs: decode(query)?,
            headers,
            body,
            base: call.base.clone(),
            wants: Wants::default(),
            prefer: call.prefer,
            scopes: call.scopes,
        })
    }
}

fn reads(entry: &Json) -> bool {
    let url = entry["request"]["url"].as_str().unwrap_or_default();
    match entry["request"]["method"].as_str() {
        Some("GET" | "HEAD") => true,
        Some("POST") => url.split('?').next().is_some_and(|p| p.ends_with("/_search") || p.contains('$')),
        _ => false,
    }
}

/// A reply as an entry of the response.
fn respond(reply: Reply) -> Vec<u8> {
    let text = |name: HeaderName| reply.headers.get(name).and_then(|v| v.to_str().ok());
    let mut response = Map::new();
    let reason = reply.status.canonical_reason().unwrap_or_default();
    response.insert("status".into(), format!("{} {reason}", reply.status.as_u16()).into());
    let location = text(header::LOCATION).or(text(header::CONTENT_LOCATION));
    response.extend(location.map(|l| ("location".to_owned(), l.into())));
    response.extend(text(header::ETAG).map(|e| ("etag".to_owned(), e.into())));
    let changed = text(header::LAST_MODIFIED).and_then(crate::clock::parse_http_date).map(crate::clock::text);
    response.extend(changed.map(|c| ("lastModified".to_owned(), c.into())));
    let Content::Fhir(bytes) = reply.content else {
        return json!({ "response": response }).to_string().into_bytes();
    };
    let failed = reply.status.is_client_error() || reply.status.is_server_error();
    if failed {
        response.extend(serde_json::from_slice::<Json>(&bytes).ok().map(|o| ("outcome".to_owned(), o)));
        return json!({ "response": response }).to_string().into_bytes();
    }
    let mut out = b"{\"resource\":".to_vec();
    out.extend_from_slice(&bytes);
    out.extend_from_slice(format!(",\"response\":{}}}", Json::Object(response)).as_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(reply: Reply) -> Json {
        serde_json::from_slice(&respond(reply)).unwrap()
    }

    #[test]
    fn entries_say_what_became_of_them() {
        let ok = entry(Reply::fhir(b"{\"a\":1}".to_vec()).with(header::ETAG, "W/\"1\""));
        assert_eq!(ok, json!({ "resource": { "a": 1 }, "response": { "status": "200 OK", "etag": "W/\"1\"" } }));
        let failed = entry(Outcome::not_found("gone").into());
        assert_eq!(failed["response"]["status"], "404 Not Found");
        assert_eq!(failed["response"]["outcome"]["issue"][0]["diagnostics"], "gone");
        assert!(failed.get("resource").is_none());
        assert_eq!(entry(Reply::empty(StatusCode::NO_CONTENT))["response"]["status"], "204 No Content");
    }

    #[test]
    fn searches_by_post_are_reads() {
        let e = |method: &str, url: &str| reads(&json!({ "request": { "method": method, "url": url } }));
        assert!(e("GET", "Patient/1") && e("POST", "Patient/_search?x=1") && e("POST", "Patient/1/$everything"));
        assert!(!e("POST", "Patient") && !e("PUT", "Patient/1") && !e("DELETE", "Patient/1") && !e("", ""));
    }
}
