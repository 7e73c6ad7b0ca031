//! FHIR Bundles and single resources.

use std::{collections::HashMap, fs::File, io::Read as _, path::Path, sync::Arc};

use serde_json::Value as Json;

use super::{Items, RejectReason, RejectedLine, SourceItem};
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
    let json: Json = match serde_json::from_slice(bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&bytes)) {
        Ok(json) => json,
        Err(e) => {
            return rejected(e.line() as u64, RejectReason::Json(format!("line {}, column {}", e.line(), e.column())));
        }
    };
    match json.get("resourceType").and_then(Json::as_str) {
        Some("Bundle") => entries(json, path),
        Some(_) => {
            let bytes = compact(&json);
            Box::new(std::iter::once(SourceItem::Record(RawRecord::new(bytes, path, 1))))
        }
        None => {
            let reason = "it is JSON without a resourceType".to_owned();
            Box::new(std::iter::once(SourceItem::PassedOver { file: path.to_path_buf(), reason }))
        }
    }
}

fn compact(json: &Json) -> Vec<u8> {
    json.to_string().into_bytes()
}

fn entries(mut bundle: Json, path: Arc<Path>) -> Items {
    let whole = |item| Box::new(std::iter::once(item)) as Items;
    let list = match bundle.get_mut("entry").map(Json::take) {
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
    let uuid =
        |e: &Json| e.get("fullUrl").and_then(Json::as_str).and_then(|u| u.strip_prefix("urn:uuid:")).map(str::to_owned);
    for entry in &list {
        let resource = &entry["resource"];
        let id = resource["id"].as_str().map(str::to_owned).or_else(|| uuid(entry));
        if let (Some(kind), Some(id), Some(url)) = (resource["resourceType"].as_str(), id, entry["fullUrl"].as_str()) {
            names.insert(url.to_owned(), format!("{kind}/{id}"));
        }
    }
    Box::new(list.into_iter().zip(1..).map(move |(mut entry, number)| {
        let fail = |reason| SourceItem::Rejected(RejectedLine { file: path.to_path_buf(), line: number, reason });
        let own_id = uuid(&entry);
        let mut resource = entry.get_mut("resource").map(Json::take).unwrap_or_default();
        let Some(object) = resource.as_object_mut() else {
            return fail(RejectReason::Entry("the entry has no resource"));
        };
        if !object.contains_key("id") {
            match own_id.filter(|id| legal_id(id)) {
                Some(id) => object.insert("id".into(), id.into()),
                None => return fail(RejectReason::Entry("the entry's resource has no id and its fullUrl gives none")),
            };
        }
        rewrite(&mut resource, &names);
        SourceItem::Record(RawRecord::new(compact(&resource), path.clone(), number))
    }))
}

/// Replaces references to entries of the Bundle by `Type/id`. Depth is bounded by the parser's limit.
fn rewrite(json: &mut Json, names: &HashMap<String, String>) {
    match json {
        Json::Array(items) => items.iter_mut().for_each(|i| rewrite(i, names)),
        Json::Object(map) => {
            for (key, value) in map {
                match value {
                    Json::String(s) if key == "reference" => {
                        if let Some(name) = names.get(s) {
                            s.clone_from(name);
                        }
                    }
                    other => rewrite(other, names),
                }
            }
        }
        _ => {}
    }
}
