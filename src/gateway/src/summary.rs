//! `_summary` and `_elements`: parts of resources, marked as such.

use std::{collections::HashMap, sync::OnceLock};

use serde_json::{Map, Value as Json, json};

use crate::{
    outcome::Outcome,
    query::{last, list},
};

/// Made by `data/summary.py` from the definitions of FHIR R4.
const TABLE: &str = include_str!("../data/summary.txt");
/// What is left of every resource, whatever was asked for.
const ALWAYS: [&str; 3] = ["resourceType", "id", "meta"];

/// How much of each resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum View {
    /// All, byte for byte.
    #[default]
    Whole,
    /// What R4 marks as part of a summary.
    Summary,
    /// Narrative and mandatory elements.
    Text,
    /// All but the narrative.
    Data,
    /// These elements and the mandatory ones.
    Elements(Vec<String>),
}

/// Summary and mandatory elements of one type.
#[derive(Default)]
struct Flags {
    summary: Vec<&'static str>,
    mandatory: Vec<&'static str>,
}

fn table() -> &'static HashMap<&'static str, Flags> {
    static PARSED: OnceLock<HashMap<&'static str, Flags>> = OnceLock::new();
    PARSED.get_or_init(|| {
        let line = |line: &'static str| {
            let mut words = line.split_ascii_whitespace();
            let name = words.next()?;
            let mut flags = Flags::default();
            for word in words {
                let element = word.trim_start_matches('-').trim_end_matches('*');
                if !word.starts_with('-') {
                    flags.summary.push(element);
                }
                if word.ends_with('*') {
                    flags.mandatory.push(element);
                }
            }
            Some((name, flags))
        };
        TABLE.lines().filter_map(line).collect()
    })
}

/// Whether the JSON property `key` is of an element: by name, with the underscore of primitive extensions,
/// or as one of a choice (`value[x]`).
fn is_of(key: &str, element: &str) -> bool {
    let key = key.strip_prefix('_').unwrap_or(key);
    match element.strip_suffix("[x]") {
        Some(stem) => key.strip_prefix(stem).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase())),
        None => key == element,
    }
}

impl View {
    /// What `_summary` and `_elements` ask for. `_summary=count` is not a view of a resource.
    ///
    /// # Errors
    /// 400 for an unknown `_summary`, or one beside `_elements`.
    pub fn of(pairs: &[(String, String)]) -> Result<Self, Outcome> {
        let elements = list(pairs, "_elements");
        let view = match last(pairs, "_summary") {
            None | Some("false" | "count" | "") => return Ok(Self::elements(elements)),
            Some("true") => Self::Summary,
            Some("text") => Self::Text,
            Some("data") => Self::Data,
            Some(other) => {
                return Err(Outcome::invalid(format!("_summary={other:?} is none of true, text, data, count, false")));
            }
        };
        if elements.is_empty() {
            Ok(view)
        } else {
            Err(Outcome::invalid("_summary and _elements cannot be combined: leave one out"))
        }
    }

    fn elements(names: Vec<String>) -> Self {
        if names.is_empty() { Self::Whole } else { Self::Elements(names) }
    }

    /// The resource as it is sent: its own bytes, or the part asked for, tagged `SUBSETTED`.
    pub fn apply(&self, resource: &Json, bytes: &[u8]) -> Vec<u8> {
        let Some(object) = resource.as_object().filter(|_| *self != Self::Whole) else { return bytes.to_vec() };
        let kind = object.get("resourceType").and_then(Json::as_str).unwrap_or_default();
        let flags = table().get(kind);
        let mandatory = |key: &str| flags.is_none_or(|f| f.mandatory.iter().any(|e| is_of(key, e)));
        let keep = |key: &str| match self {
            Self::Whole => true,
            Self::Data => key != "text",
            Self::Text => key == "text" || mandatory(key),
            Self::Summary => {
                key == "implicitRules"
                    || mandatory(key)
                    || flags.is_none_or(|f| f.summary.iter().any(|e| is_of(key, e)))
            }
            Self::Elements(names) => mandatory(key) || names.iter().any(|n| named(key, n, kind)),
        };
        let kept = object.iter().filter(|(key, _)| ALWAYS.contains(&key.as_str()) || keep(key));
        let mut part: Map<String, Json> = kept.map(|(key, value)| (key.clone(), value.clone())).collect();
        tag(&mut part);
        Json::Object(part).to_string().into_bytes()
    }
}

/// Whether `_elements` names a property: `name` or `Type.name`; a choice also by its stem.
fn named(key: &str, name: &str, kind: &str) -> bool {
    let name = match name.split_once('.') {
        Some((of, rest)) if of == kind => rest.split('.').next().unwrap_or_default(),
        Some((of, _)) if of.starts_with(|c: char| c.is_ascii_uppercase()) => return false,
        Some((first, _)) => first,
        None => name,
    };
    let choice = |stem: &str| {
        table()
            .get(kind)
            .is_some_and(|f| f.summary.iter().any(|e| e.strip_suffix("[x]") == Some(stem) && is_of(key, e)))
    };
    is_of(key, name) || choice(name)
}

fn tag(part: &mut Map<String, Json>) {
    let subsetted =
        json!({ "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "SUBSETTED" });
    if !part.get("meta").is_some_and(Json::is_object) {
        // After the id, where readers look for it.
        let at = part.keys().position(|k| k == "id").map_or(0, |i| i + 1);
        part.shift_insert(at, "meta".into(), json!({}));
    }
    let Some(meta) = part.get_mut("meta").and_then(Json::as_object_mut) else { return };
    match meta.get_mut("tag").and_then(Json::as_array_mut) {
        Some(tags) if tags.iter().any(|t| t["code"] == subsetted["code"] && t["system"] == subsetted["system"]) => {}
        Some(tags) => tags.push(subsetted),
        None => {
            meta.insert("tag".into(), json!([subsetted]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(query: &str) -> Vec<(String, String)> {
        crate::query::decode(query).unwrap()
    }

    fn seen(query: &str, resource: &Json) -> Json {
        let bytes = View::of(&pairs(query)).unwrap().apply(resource, resource.to_string().as_bytes());
        serde_json::from_slice(&bytes).unwrap()
    }

    fn keys(json: &Json) -> Vec<&str> {
        json.as_object().unwrap().keys().map(String::as_str).collect()
    }

    fn observation() -> Json {
        json!({ "resourceType": "Observation", "id": "1", "text": { "div": "x" }, "status": "final", "code": {},
            "subject": {}, "effectiveDateTime": "2020", "_effectiveDateTime": {}, "valueQuantity": { "value": 1 },
            "note": [{}], "interpretation": [{}], "implicitRules": "x" })
    }

    #[test]
    fn a_summary_is_what_the_definitions_say() {
        let part = seen("_summary=true", &observation());
        let wanted = [
            "resourceType",
            "id",
            "meta",
            "status",
            "code",
            "subject",
            "effectiveDateTime",
            "_effectiveDateTime",
            "valueQuantity",
            "implicitRules",
        ];
        assert_eq!(keys(&part), wanted);
        assert_eq!(part["meta"]["tag"][0]["code"], "SUBSETTED");
        assert_eq!(
            keys(&seen("_summary=text", &observation())),
            ["resourceType", "id", "meta", "text", "status", "code"]
        );
        let data = seen("_summary=data", &observation());
        assert!(
            data.get("text").is_none() && data.get("note").is_some() && data["meta"]["tag"][0]["code"] == "SUBSETTED"
        );
    }

    #[test]
    fn elements_come_with_the_mandatory_ones() {
        assert_eq!(
            keys(&seen("_elements=note", &observation())),
            ["resourceType", "id", "meta", "status", "code", "note"]
        );
        let named = seen("_elements=Observation.value,Patient.note,effectiveDateTime", &observation());
        let wanted = [
            "resourceType",
            "id",
            "meta",
            "status",
            "code",
            "effectiveDateTime",
            "_effectiveDateTime",
            "valueQuantity",
        ];
        assert_eq!(keys(&named), wanted);
    }

    #[test]
    fn what_is_whole_stays_as_it_was_stored() {
        let stored = br#"{ "resourceType" : "Patient", "id":"1", "multipleBirthInteger":1.0 }"#;
        let json: Json = serde_json::from_slice(stored).unwrap();
        for query in ["", "_summary=false", "_summary=count"] {
            assert_eq!(View::of(&pairs(query)).unwrap().apply(&json, stored), stored);
        }
    }

    #[test]
    fn a_resource_is_tagged_once_and_keeps_its_tags() {
        let tagged =
            json!({ "resourceType": "Patient", "id": "1", "meta": { "versionId": "3", "tag": [{ "code": "x" }] } });
        let once = seen("_summary=true", &tagged);
        assert_eq!(once["meta"]["tag"].as_array().unwrap().len(), 2);
        assert_eq!(once["meta"]["versionId"], "3");
        assert_eq!(seen("_summary=true", &once)["meta"]["tag"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn mistakes_are_refused_and_every_type_is_known() {
        assert_eq!(View::of(&pairs("_summary=yes")).unwrap_err().status, 400);
        assert_eq!(View::of(&pairs("_summary=true&_elements=name")).unwrap_err().status, 400);
        assert_eq!(table().len(), 146);
        assert!(table()["Patient"].summary.contains(&"birthDate") && table()["Patient"].mandatory.is_empty());
    }
}
