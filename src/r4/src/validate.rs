//! Whether a resource has the structure of its type.

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json};

use crate::definitions::{Element, Kind, Type, TypeRef, is_resource, type_named};
use crate::primitive::mistake;

/// Most violations of one resource that are told.
const MOST: usize = 64;
/// Deepest nesting.
const DEEPEST: usize = 64;

/// What is wrong with a resource, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// FHIRPath of the element, such as `Observation.component[1].valueQuantity.value`.
    pub path: String,
    /// What is wrong. Quotes names and references, no values.
    pub reason: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.path, self.reason)
    }
}

/// Checks a resource. Work is linear in its size.
///
/// # Errors
/// Everything that is wrong with it, at most 64 things.
pub fn validate(resource: &Json) -> Result<(), Vec<Violation>> {
    let contained = resource.get("contained").and_then(Json::as_array).into_iter().flatten();
    let ids = contained.filter_map(|c| c.get("id").and_then(Json::as_str)).collect();
    let mut check = Check { violations: Vec::new(), path: Vec::new(), contained: ids };
    check.resource(resource, false);
    if check.violations.is_empty() { Ok(()) } else { Err(check.violations) }
}

enum Step<'r> {
    Name(&'r str),
    Index(usize),
}

struct Check<'r> {
    violations: Vec<Violation>,
    path: Vec<Step<'r>>,
    /// Ids of contained resources.
    contained: BTreeSet<&'r str>,
}

impl<'r> Check<'r> {
    fn wrong(&mut self, reason: impl Into<String>) {
        if self.violations.len() >= MOST {
            return;
        }
        let mut path = String::new();
        for step in &self.path {
            match step {
                Step::Name(name) if path.is_empty() => path.push_str(name),
                Step::Name(name) => {
                    path.push('.');
                    path.push_str(name);
                }
                Step::Index(i) => path.push_str(&format!("[{i}]")),
            }
        }
        self.violations.push(Violation { path, reason: reason.into() });
    }

    fn wrong_at(&mut self, name: &'r str, reason: impl Into<String>) {
        self.path.push(Step::Name(name));
        self.wrong(reason);
        self.path.pop();
    }

    fn resource(&mut self, value: &'r Json, within: bool) {
        let Some(map) = value.as_object() else { return self.wrong("must be a resource, a JSON object") };
        let Some(kind) = map.get("resourceType").and_then(Json::as_str) else {
            return self.wrong("has no \"resourceType\"");
        };
        let Some(of) = type_named(kind).filter(|_| is_resource(kind)) else {
            return self.wrong(format!("FHIR R4 has no resource type \"{}\"", short(kind)));
        };
        let root = self.path.is_empty();
        if root {
            self.path.push(Step::Name(kind));
        }
        if within && map.contains_key("contained") {
            self.wrong_at("contained", "a contained resource contains none itself");
        }
        self.members(map, of);
        if root {
            self.path.pop();
        }
    }

    /// The members of an object of a type.
    fn members(&mut self, map: &'r Map<String, Json>, of: &'static Type) {
        if map.is_empty() {
            return self.wrong("must not be empty");
        }
        if self.path.len() > DEEPEST {
            return self.wrong("is nested too deep");
        }
        let mut present = vec![0_u8; of.elements.len()];
        for (key, value) in map {
            if key == "resourceType" && of.kind == Kind::Resource {
                continue;
            }
            let (name, companion) = key.strip_prefix('_').map_or((key.as_str(), false), |n| (n, true));
            let Some(&(at, which)) = of.names.get(name) else {
                self.wrong_at(key, "R4 has no such element here");
                continue;
            };
            let (element, type_ref) = (&of.elements[at], &of.elements[at].types[which]);
            // A primitive and its companion are one.
            if !companion || !map.contains_key(name) {
                present[at] = present[at].saturating_add(1);
            }
            self.path.push(Step::Name(key));
            if companion {
                self.companion(value, element, type_ref);
            } else {
                self.element(value, element, type_ref, map.get(&format!("_{key}")));
            }
            self.path.pop();
        }
        for (element, count) in of.elements.iter().zip(present) {
            if element.required && count == 0 {
                self.wrong_at(element.shown, "is required");
            } else if element.choice && count > 1 {
                self.wrong_at(element.shown, "may have one type only");
            }
        }
    }

    fn element(
        &mut self,
        value: &'r Json,
        element: &'static Element,
        of: &'static TypeRef,
        companion: Option<&'r Json>,
    ) {
        match value {
            Json::Array(_) if !element.many => self.wrong("must not be a list: it occurs once at most"),
            Json::Array(items) if items.is_empty() => self.wrong("must not be an empty list: leave it out"),
            Json::Array(items) => {
                let others = companion.and_then(Json::as_array);
                for (i, item) in items.iter().enumerate() {
                    self.path.push(Step::Index(i));
                    let filled = others.and_then(|o| o.get(i)).is_some_and(Json::is_object);
                    if !(item.is_null() && filled && is_primitive(of)) {
                        self.value(item, of);
                    }
                    self.path.pop();
                }
            }
            _ if element.many => self.wrong("must be a list, even of one"),
            one => self.value(one, of),
        }
    }

    fn value(&mut self, value: &'r Json, of: &'static TypeRef) {
        if is_primitive(of) {
            if let Some(reason) = mistake(of.name, value) {
                self.wrong(reason);
            } else if let (Some(codes), Some(code)) = (of.codes, value.as_str())
                && !codes.split(' ').any(|c| c == code)
            {
                let listed = if codes.len() < 200 { format!(": {}", codes.replace(' ', ", ")) } else { String::new() };
                self.wrong(format!("\"{}\" is none of the codes that R4 demands here{listed}", short(code)));
            }
            return;
        }
        if of.name == "Resource" {
            let contained = matches!(self.path.as_slice(), [.., Step::Name("contained"), Step::Index(_)]);
            return self.resource(value, contained);
        }
        let Some(map) = value.as_object() else { return self.wrong("must be a JSON object") };
        let Some(of_type) = type_named(of.name) else { return };
        self.members(map, of_type);
        match of.name {
            "Reference" => self.reference(map),
            "Extension" => {
                let valued = map.keys().any(|k| k.trim_start_matches('_').starts_with("value"));
                if valued == map.contains_key("extension") {
                    self.wrong("an extension has either a value or extensions");
                }
            }
            _ => {}
        }
    }

    fn reference(&mut self, map: &'r Map<String, Json>) {
        let text = map.get("reference").and_then(Json::as_str).unwrap_or_default();
        // `#` alone is the resource that contains this one.
        if text.strip_prefix('#').is_some_and(|id| !id.is_empty() && !self.contained.contains(id)) {
            self.wrong_at("reference", "names a contained resource that is not there");
        }
    }

    /// `_name`: id and extensions of a primitive.
    fn companion(&mut self, value: &'r Json, element: &Element, of: &TypeRef) {
        if !is_primitive(of) {
            return self.wrong("only primitive elements have a companion with \"_\"");
        }
        match value {
            Json::Array(items) if element.many => {
                for (i, item) in items.iter().enumerate().filter(|(_, item)| !item.is_null()) {
                    self.path.push(Step::Index(i));
                    self.companion_of_one(item);
                    self.path.pop();
                }
            }
            _ if element.many => self.wrong("must be a list, as the element itself"),
            one => self.companion_of_one(one),
        }
    }

    fn companion_of_one(&mut self, value: &'r Json) {
        let Some(map) = value.as_object() else { return self.wrong("must be a JSON object with id or extension") };
        match type_named("Element") {
            Some(of) => self.members(map, of),
            None => self.wrong("cannot be checked"),
        }
    }
}

fn is_primitive(of: &TypeRef) -> bool {
    type_named(of.name).is_some_and(|t| t.kind == Kind::Primitive)
}

/// A name as it may be quoted.
fn short(text: &str) -> String {
    text.chars().take(40).collect()
}
