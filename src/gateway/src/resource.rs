//! What HTTP wants to know of a resource: its version, when it changed, whether the client has it already.

use http::{HeaderMap, StatusCode, header};
use sealdex_fhir::Hit;
use serde_json::Value as Json;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use crate::{call::Reply, clock, summary::View};

/// Version of a stored resource: the one it states, else a hash of its bytes.
pub fn version(json: &Json, bytes: &[u8]) -> String {
    let stated = json["meta"]["versionId"].as_str().filter(|v| crate::target::legal_id(v));
    stated.map_or_else(|| hash(bytes), str::to_owned)
}

/// Short hash of bytes.
pub fn hash(bytes: &[u8]) -> String {
    hex::encode(&Sha256::digest(bytes)[..8])
}

/// When it says it was changed.
pub fn last_updated(json: &Json) -> Option<OffsetDateTime> {
    json["meta"]["lastUpdated"].as_str().and_then(clock::parse)
}

/// Whether a header such as `If-None-Match` names a version; weakly compared.
pub fn names(header: &str, version: &str) -> bool {
    header.split(',').map(str::trim).any(|tag| {
        let bare = tag.strip_prefix("W/").unwrap_or(tag);
        tag == "*" || bare.strip_prefix('"').and_then(|t| t.strip_suffix('"')).unwrap_or(bare) == version
    })
}

/// Whether the client has this already (RFC 9110, 13.1).
fn unchanged(headers: &HeaderMap, version: &str, changed: Option<OffsetDateTime>) -> bool {
    let text = |name| headers.get(name).and_then(|v| v.to_str().ok());
    match (text(header::IF_NONE_MATCH), text(header::IF_MODIFIED_SINCE).and_then(clock::parse_http_date), changed) {
        (Some(tags), _, _) => names(tags, version),
        (None, Some(since), Some(changed)) => changed.unix_timestamp() <= since.unix_timestamp(),
        _ => false,
    }
}

/// Adds the headers of a resource.
pub fn describe(reply: Reply, json: &Json, bytes: &[u8]) -> Reply {
    let reply = reply.with(header::ETAG, &format!("W/\"{}\"", version(json, bytes)));
    match last_updated(json).and_then(clock::http_date) {
        Some(date) => reply.with(header::LAST_MODIFIED, date.to_str().unwrap_or_default()),
        None => reply,
    }
}

/// The reply to a read.
pub fn reply(hit: &Hit, view: &View, headers: &HeaderMap) -> Reply {
    let version = version(&hit.json, &hit.bytes);
    let plain = if unchanged(headers, &version, last_updated(&hit.json)) {
        Reply::empty(StatusCode::NOT_MODIFIED)
    } else {
        Reply::fhir(view.apply(&hit.json, &hit.bytes))
    };
    describe(plain, &hit.json, &hit.bytes)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn hit(meta: Json) -> Hit {
        let json = json!({ "resourceType": "Patient", "id": "1", "meta": meta });
        Hit { identity: "Patient/1".into(), bytes: json.to_string().into_bytes(), json, sources: Default::default() }
    }

    fn status(meta: Json, headers: &[(header::HeaderName, &str)]) -> u16 {
        let headers = headers.iter().map(|(n, v)| (n.clone(), v.parse().unwrap())).collect();
        reply(&hit(meta), &View::Whole, &headers).status.as_u16()
    }

    #[test]
    fn versions_are_stated_or_hashed() {
        let (a, b) = (hit(json!({ "versionId": "7" })), hit(json!({ "versionId": "not / legal" })));
        assert_eq!(version(&a.json, &a.bytes), "7");
        assert_eq!(version(&b.json, &b.bytes).len(), 16);
        let r = reply(
            &hit(json!({ "versionId": "7", "lastUpdated": "2024-02-03T03:05:06Z" })),
            &View::Whole,
            &HeaderMap::new(),
        );
        assert_eq!(r.headers[header::ETAG], "W/\"7\"");
        assert_eq!(r.headers[header::LAST_MODIFIED], "Sat, 03 Feb 2024 03:05:06 GMT");
    }

    #[test]
    fn what_the_client_has_is_not_sent_again() {
        let meta = || json!({ "versionId": "7", "lastUpdated": "2024-02-03T03:05:06.5Z" });
        for tag in ["W/\"7\"", "\"7\"", "\"1\", W/\"7\"", "*"] {
            assert_eq!(status(meta(), &[(header::IF_NONE_MATCH, tag)]), 304, "{tag}");
        }
        assert_eq!(status(meta(), &[(header::IF_NONE_MATCH, "W/\"8\"")]), 200);
        let since = |d: &str| status(meta(), &[(header::IF_MODIFIED_SINCE, d)]);
        assert_eq!(since("Sat, 03 Feb 2024 03:05:06 GMT"), 304);
        assert_eq!(since("Sat, 03 Feb 2024 03:05:05 GMT"), 200);
        assert_eq!(since("nonsense"), 200);
        let both = [(header::IF_NONE_MATCH, "W/\"8\""), (header::IF_MODIFIED_SINCE, "Sat, 03 Feb 2024 03:05:06 GMT")];
        assert_eq!(status(meta(), &both), 200, "the tag decides");
        assert_eq!(
            status(json!({}), &[(header::IF_MODIFIED_SINCE, "Sat, 03 Feb 2034 03:05:06 GMT")]),
            200,
            "no date stated"
        );
    }
}
