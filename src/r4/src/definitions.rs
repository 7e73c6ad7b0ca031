//! The table of types, read once.

use std::collections::HashMap;
use std::sync::LazyLock;

const TABLE: &str = include_str!("../definitions/structures.tsv");

/// What a type is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Resource,
    Complex,
    Primitive,
    /// An element with elements of its own.
    Backbone,
    Abstract,
}

/// A type.
#[derive(Debug)]
pub(crate) struct Type {
    pub(crate) kind: Kind,
    pub(crate) elements: Vec<Element>,
    /// JSON name → element, and which of its types stands under this name.
    pub(crate) names: HashMap<String, (usize, usize)>,
}

/// An element of a type.
#[derive(Debug)]
pub(crate) struct Element {
    /// Name as the specification writes it, `value[x]`.
    pub(crate) shown: &'static str,
    /// Name without `[x]`.
    pub(crate) name: &'static str,
    pub(crate) choice: bool,
    pub(crate) required: bool,
    pub(crate) many: bool,
    pub(crate) types: Vec<TypeRef>,
}

/// A type an element may have.
#[derive(Debug)]
pub(crate) struct TypeRef {
    /// Name in the table.
    pub(crate) name: &'static str,
    /// Codes it is limited to.
    pub(crate) codes: Option<&'static str>,
}

struct Definitions {
    types: HashMap<&'static str, Type>,
    resources: Vec<&'static str>,
}

static DEFINITIONS: LazyLock<Definitions> = LazyLock::new(read);

fn read() -> Definitions {
    let mut sets: Vec<&'static str> = Vec::new();
    let mut types: HashMap<&'static str, Type> = HashMap::new();
    let mut current = "";
    for line in TABLE.lines() {
        let columns: Vec<&'static str> = line.split('\t').collect();
        match columns[..] {
            ["V", _, codes] => sets.push(codes),
            ["T", name, kind] => {
                current = name;
                let kind = match kind {
                    "resource" => Kind::Resource,
                    "complex" => Kind::Complex,
                    "primitive" => Kind::Primitive,
                    "backbone" => Kind::Backbone,
                    _ => Kind::Abstract,
                };
                types.insert(name, Type { kind, elements: Vec::new(), names: HashMap::new() });
            }
            ["E", name, min, max, refs] => {
                if let Some(of) = types.get_mut(current) {
                    of.elements.push(element(name, min, max, refs, &sets));
                }
            }
            _ => {}
        }
    }
    for of in types.values_mut() {
        of.names = names(&of.elements);
    }
    let concrete = types.iter().filter(|(_, t)| t.kind == Kind::Resource).map(|(n, _)| *n);
    let mut resources: Vec<&str> = concrete.collect();
    resources.sort_unstable();
    Definitions { types, resources }
}

fn element(name: &'static str, min: &str, max: &str, refs: &'static str, sets: &[&'static str]) -> Element {
    let plain = name.strip_suffix("[x]");
    let type_ref = |text: &'static str| {
        let (name, set) = text.split_once('{').map_or((text, None), |(n, s)| (n, s.trim_end_matches('}').parse().ok()));
        let codes = set.and_then(|i: usize| sets.get(i).copied());
        TypeRef { name: name.strip_prefix('@').unwrap_or(name), codes }
    };
    Element {
        shown: name,
        name: plain.unwrap_or(name),
        choice: plain.is_some(),
        required: min != "0",
        many: max != "1",
        types: refs.split(' ').map(type_ref).collect(),
    }
}

fn names(elements: &[Element]) -> HashMap<String, (usize, usize)> {
    let mut out = HashMap::new();
    for (i, e) in elements.iter().enumerate() {
        if !e.choice {
            out.insert(e.name.to_owned(), (i, 0));
            continue;
        }
        for (t, of) in e.types.iter().enumerate() {
            let mut letters = of.name.chars();
            let first = letters.next().map(|c| c.to_ascii_uppercase()).into_iter();
            out.insert(e.name.chars().chain(first).chain(letters).collect(), (i, t));
        }
    }
    out
}

/// A type of the table.
pub(crate) fn type_named(name: &str) -> Option<&'static Type> {
    DEFINITIONS.types.get(name)
}

/// Whether FHIR R4 has a resource type of this name that can have instances.
pub fn is_resource(name: &str) -> bool {
    DEFINITIONS.resources.binary_search(&name).is_ok()
}

/// All such types, by name.
pub fn resources() -> impl Iterator<Item = &'static str> {
    DEFINITIONS.resources.iter().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_whole() {
        assert_eq!(resources().count(), 146);
        assert!(is_resource("Patient") && !is_resource("DomainResource") && !is_resource("HumanName"));
        for (name, of) in &DEFINITIONS.types {
            for e in &of.elements {
                for t in &e.types {
                    assert!(type_named(t.name).is_some(), "{name}.{}: no type {}", e.name, t.name);
                }
            }
        }
        let observation = type_named("Observation").unwrap();
        let (i, t) = observation.names["valueQuantity"];
        assert_eq!(observation.elements[i].types[t].name, "Quantity");
        assert!(observation.elements[observation.names["status"].0].types[0].codes.unwrap().contains("final"));
    }
}
