//! FHIR Bundles and single resources.

use std::{collections::HashMap, fs::File, io::Read as _, path::Path, sync::Arc};

use serde_json::Value as Json;

use super::{Items, RejectReason, RejectedLine, SourceItem, text};
use crate::{RawRecord, record::legal_id};

/// Largest file, bytes: a Bundle is read whole, because its entries refer to each other.
const MAX_FILE: u64 = 256 << 20;

/// Entries of a Bundle, the one resource of a file, or the reason there is none.
pub(super) fn items(file: File, path: Arc<Path>) -> Items {
    let rejected = |line, reason| {
        let line = RejectedLine { file: path.to_path_buf(), line, reason };
        Box::new(std::iter::once(SourceItem::Rejected(line))) as Items
    };
    let mut bytes = Vec::new();
    match file.take(MAX_FILE + 1).read_to_end(&mut bytes) {
        Err(e) => return rejected(0, RejectReason::Io(e.to_string())),
        Ok(n) if n as u64 > MAX_FILE => return rejected(0, RejectReason::FileTooLarge(MAX_FILE)),
        Ok(_) => {}
    }
    if bytes.starts_with(b"\xEF\xBB\xBF") {
        bytes.drain(..3);
    }
    let json: Json = match serde_json::from_slice(&bytes) {
        Ok(json) => json,
        Err(e) => {
            return rejected(e.line() as u64, RejectReason::Json(format!("line {}, column {}", e.line(), e.column())));
        }
    };
    match json.get("resourceType").and_then(Json::as_str) {
        Some("Bundle") => entries(&json, bytes, path),
        Some(_) => {
            let bytes = text::compact(&bytes, &HashMap::new());
            Box::new(std::iter::once(SourceItem::Record(RawRecord::new(bytes, path, 1))))
        }
        None => {
            let reason = "it is JSON without a resourceType".to_owned();
            Box::new(std::iter::once(SourceItem::PassedOver { file: path.to_path_buf(), reason }))
        }
    }
}

fn uuid(entry: &Json) -> Option<&str> {
    entry.get("fullUrl").and_then(Json::as_str).and_then(|u| u.strip_prefix("urn:uuid:"))
}

/// The Bundle's entries, each cut out of its text.
fn entries(bundle: &Json, bytes: Vec<u8>, path: Arc<Path>) -> Items {
    let whole = |item| Box::new(std::iter::once(item)) as Items;
    let list = match bundle.get("entry") {
        Some(Json::Array(list)) if !list.is_empty() => list,
        None | Some(Json::Array(_)) => {
            let reason = "it is a Bundle without entries".to_owned();
            return whole(SourceItem::PassedOver { file: path.to_path_buf(), reason });
        }
        Some(_) => {
            let reason = RejectReason::Entry("the Bundle's \"entry\" is not a list");
            return whole(SourceItem::Rejected(RejectedLine { file: path.to_path_buf(), line: 0, reason }));
        }
    };
    let mut names = HashMap::new();
    for entry in list {
        let resource = &entry["resource"];
        let id = resource["id"].as_str().or_else(|| uuid(entry));
        if let (Some(kind), Some(id), Some(url)) = (resource["resourceType"].as_str(), id, entry["fullUrl"].as_str()) {
            names.insert(url.to_owned(), format!("{kind}/{id}"));
        }
    }
    let at = text::member(&bytes, "entry").unwrap_or_default();
    let places = text::elements(bytes.get(at.clone()).unwrap_or_default());
    Box::new(places.into_iter().zip(1..).map(move |(place, number)| {
        let place = at.start + place.start..at.start + place.end;
        match resource(bytes.get(place).unwrap_or_default(), &names) {
            Ok(bytes) => SourceItem::Record(RawRecord::new(bytes, path.clone(), number)),
            Err(reason) => {
                let reason = RejectReason::Entry(reason);
                SourceItem::Rejected(RejectedLine { file: path.to_path_buf(), line: number, reason })
            }
        }
    }))
}

/// The resource of an entry, its references to other entries resolved, its id from the entry if it has none.
fn resource(entry: &[u8], names: &HashMap<String, String>) -> Result<Vec<u8>, &'static str> {
    let json: Json = serde_json::from_slice(entry).map_err(|_| "the entry is not JSON")?;
    let object = json.get("resource").and_then(Json::as_object).ok_or("the entry has no resource")?;
    let place = text::member(entry, "resource").unwrap_or_default();
    let mut bytes = text::compact(entry.get(place).unwrap_or_default(), names);
    if !object.contains_key("id") {
        let id = uuid(&json).filter(|id| legal_id(id));
        let id = id.ok_or("the entry's resource has no id and its fullUrl gives none")?;
        bytes.pop();
        let comma = if object.is_empty() { "" } else { "," };
        bytes.extend_from_slice(format!("{comma}\"id\":\"{id}\"}}").as_bytes());
    }
    Ok(bytes)
}
