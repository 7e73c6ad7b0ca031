//! Bundles, written around resources that keep their bytes.

use serde_json::{Value as Json, json};

use crate::clock;

/// Why an entry is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It was searched for.
    Match,
    /// Something that was points to it, or it to something.
    Include,
    /// What the server has to say.
    Outcome,
}

impl Mode {
    fn code(self) -> &'static str {
        match self {
            Self::Match => "match",
            Self::Include => "include",
            Self::Outcome => "outcome",
        }
    }
}

/// One entry.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Absolute URL; absent for an outcome.
    pub full_url: Option<String>,
    /// The resource, JSON.
    pub resource: Vec<u8>,
    /// Why it is there.
    pub mode: Mode,
}

/// A searchset.
#[derive(Clone, Debug)]
pub struct SearchSet {
    /// Number of matches over all pages.
    pub total: Option<usize>,
    /// Relation and absolute URL.
    pub links: Vec<(&'static str, String)>,
    /// Entries of this page.
    pub entries: Vec<Entry>,
}

impl SearchSet {
    /// The Bundle's JSON.
    pub fn into_bytes(self) -> Vec<u8> {
        let mut head = head("searchset");
        if let Some(total) = self.total {
            head["total"] = json!(total);
        }
        let link = |(relation, url): &(&str, String)| json!({ "relation": relation, "url": url });
        head["link"] = self.links.iter().map(link).collect();
        let entries = self.entries.into_iter().map(|e| {
            let mut out = Vec::with_capacity(e.resource.len() + 200);
            out.push(b'{');
            if let Some(url) = &e.full_url {
                out.extend_from_slice(format!("\"fullUrl\":{},", Json::from(url.as_str())).as_bytes());
            }
            out.extend_from_slice(b"\"resource\":");
            out.extend_from_slice(&e.resource);
            out.extend_from_slice(format!(",\"search\":{{\"mode\":\"{}\"}}}}", e.mode.code()).as_bytes());
            out
        });
        with_entries(&head, entries)
    }
}

/// A `batch-response` of entries that are JSON already.
pub fn batch_response(entries: Vec<Vec<u8>>) -> Vec<u8> {
    with_entries(&head("batch-response"), entries.into_iter())
}

fn head(kind: &str) -> Json {
    let now = clock::now_text();
    json!({ "resourceType": "Bundle", "id": uuid::Uuid::now_v7().to_string(), "meta": { "lastUpdated": now },
        "type": kind, "timestamp": now })
}

/// Puts entries at the end of a Bundle's head. A Bundle without entries has no `entry`, as JSON in FHIR wants it.
fn with_entries(head: &Json, entries: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut out = head.to_string().into_bytes();
    out.pop();
    let mut any = false;
    for entry in entries {
        out.extend_from_slice(if any { b"," } else { b",\"entry\":[" });
        out.extend_from_slice(&entry);
        any = true;
    }
    out.extend_from_slice(if any { b"]}" } else { b"}" });
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_searchset_holds_resources_byte_for_byte() {
        let stored = br#"{ "resourceType":"Patient", "id":"1", "n": 1.50 }"#;
        let entry =
            Entry { full_url: Some("http://h/fhir/Patient/1".into()), resource: stored.to_vec(), mode: Mode::Match };
        let outcome = Entry { full_url: None, resource: b"{}".to_vec(), mode: Mode::Outcome };
        let set = SearchSet {
            total: Some(7),
            links: vec![("self", "http://h/fhir/Patient?a=\"".into())],
            entries: vec![entry, outcome],
        };
        let bytes = set.into_bytes();
        assert!(bytes.windows(stored.len()).any(|w| w == stored));
        let json: Json = serde_json::from_slice(&bytes).unwrap();
        assert_eq!((&json["type"], &json["total"]), (&json!("searchset"), &json!(7)));
        assert_eq!(json["link"][0]["url"], "http://h/fhir/Patient?a=\"");
        assert_eq!(json["entry"][0]["search"]["mode"], "match");
        assert_eq!(json["entry"][0]["fullUrl"], "http://h/fhir/Patient/1");
        assert!(json["entry"][1].get("fullUrl").is_none());
        assert_eq!(json["timestamp"], json["meta"]["lastUpdated"]);
        assert!(uuid::Uuid::parse_str(json["id"].as_str().unwrap()).is_ok());
    }

    #[test]
    fn an_empty_one_has_no_entries_and_may_have_no_total() {
        let set = SearchSet { total: None, links: vec![], entries: vec![] };
        let json: Json = serde_json::from_slice(&set.into_bytes()).unwrap();
        assert!(json.get("entry").is_none() && json.get("total").is_none());
        let batch: Json = serde_json::from_slice(&batch_response(vec![b"{\"a\":1}".to_vec(), b"{}".to_vec()])).unwrap();
        assert_eq!(
            (batch["type"].as_str(), batch["entry"].as_array().map(Vec::len)),
            (Some("batch-response"), Some(2))
        );
    }
}
