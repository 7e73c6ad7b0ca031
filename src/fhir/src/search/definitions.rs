//! HL7's own definitions of search parameters, and which of them make a compartment. The tables are
//! written by `definitions/generate.py`.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde_json::Value as Json;

const PARAMETERS: &str = include_str!("../../definitions/search-parameters.tsv");
const COMPARTMENTS: &str = include_str!("../../definitions/compartments.tsv");
const TYPES: &str = include_str!("../../definitions/types.tsv");

/// Type of a search parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum ParamKind {
    Number,
    Date,
    String,
    Token,
    Reference,
    Composite,
    Quantity,
    Uri,
    Special,
}

const KINDS: [(&str, ParamKind); 9] = [
    ("number", ParamKind::Number),
    ("date", ParamKind::Date),
    ("string", ParamKind::String),
    ("token", ParamKind::Token),
    ("reference", ParamKind::Reference),
    ("composite", ParamKind::Composite),
    ("quantity", ParamKind::Quantity),
    ("uri", ParamKind::Uri),
    ("special", ParamKind::Special),
];

impl ParamKind {
    /// FHIR's code.
    pub fn code(self) -> &'static str {
        KINDS.iter().find(|(_, k)| *k == self).map_or("special", |(code, _)| code)
    }

    fn parse(code: &str) -> Self {
        KINDS.iter().find(|(c, _)| *c == code).map_or(Self::Special, |(_, k)| *k)
    }
}

/// Types a reference may lead to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Targets {
    /// Any type.
    Any,
    /// These.
    These(Vec<&'static str>),
}

/// A search parameter of one resource type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Name in a search.
    pub name: &'static str,
    /// Type.
    pub kind: ParamKind,
    /// Id of its definition: the last part of `http://hl7.org/fhir/SearchParameter/…`.
    pub id: &'static str,
    /// Where its values stand.
    pub paths: Vec<Selector>,
    /// For references: types they may lead to.
    pub targets: Targets,
    /// For composites: elements within which all parts must be found; empty path: the resource.
    pub bases: Vec<Vec<Step>>,
    /// For composites: their parts.
    pub components: Vec<Component>,
}

impl Parameter {
    /// URL of its definition.
    pub fn url(&self) -> String {
        format!("http://hl7.org/fhir/SearchParameter/{}", self.id)
    }
}

/// A part of a composite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Component {
    /// Type.
    pub kind: ParamKind,
    /// Where its values stand, within the composite's element.
    pub paths: Vec<Selector>,
}

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// JSON name.
    pub name: &'static str,
    /// Only elements whose child has this value.
    pub only: Option<(&'static str, &'static str)>,
    /// Only the first of the elements.
    pub first: bool,
}

/// Where values stand in a resource, and of which datatype they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    /// Path.
    pub path: Vec<Step>,
    /// FHIR datatype.
    pub datatype: &'static str,
    /// Only references to this type.
    pub is: Option<&'static str>,
    /// Code system of a `code`, by its binding.
    pub system: Option<&'static str>,
    /// `Patient.deceased`: whether the element is there and not false.
    pub deceased: bool,
    /// The path begins at the resource, also within a composite.
    pub absolute: bool,
}

impl Selector {
    /// Path as text, without filters.
    pub fn plain_path(&self) -> String {
        self.path.iter().map(|s| s.name).collect::<Vec<_>>().join(".")
    }

    /// Whether every value at its path is selected.
    pub fn unfiltered(&self) -> bool {
        !self.deceased && self.path.iter().all(|s| s.only.is_none() && !s.first)
    }

    /// Calls `found` with every selected value.
    pub fn visit<'v>(&self, root: &'v Json, found: &mut dyn FnMut(&'v Json)) {
        visit(&self.path, root, found);
    }
}

/// Calls `found` with every value at a path, arrays entered.
pub(crate) fn visit<'v>(path: &[Step], value: &'v Json, found: &mut dyn FnMut(&'v Json)) {
    match (value, path.split_first()) {
        (Json::Array(items), _) => items.iter().for_each(|item| visit(path, item, found)),
        (Json::Null, _) => {}
        (leaf, None) => found(leaf),
        (Json::Object(map), Some((step, rest))) => {
            let Some(next) = map.get(step.name) else { return };
            let next = match next {
                Json::Array(items) if step.first => items.first().unwrap_or(&Json::Null),
                other => other,
            };
            let mut keep = |v: &'v Json| {
                if step.only.is_none_or(|(name, wanted)| v.get(name).and_then(Json::as_str) == Some(wanted)) {
                    visit(rest, v, found);
                }
            };
            match next {
                Json::Array(items) => items.iter().for_each(keep),
                one => keep(one),
            }
        }
        (_, Some(_)) => {}
    }
}

fn step(text: &'static str) -> Step {
    let (name, filter) = text.split_once('[').map_or((text, None), |(n, f)| (n, Some(f.trim_end_matches(']'))));
    match filter.map(|f| f.split_once('=')) {
        None => Step { name, only: None, first: false },
        Some(Some(only)) => Step { name, only: Some(only), first: false },
        Some(None) => Step { name, only: None, first: true },
    }
}

fn steps(text: &'static str) -> Vec<Step> {
    if text == "$this" { Vec::new() } else { text.split('.').map(step).collect() }
}

fn selector(text: &'static str) -> Option<Selector> {
    let (path, rest) = text.split_once(':')?;
    let mut notes = rest.split('?');
    let datatype = notes.next()?;
    let (absolute, path) = path.strip_prefix('/').map_or((false, path), |p| (true, p));
    let mut out = Selector { path: steps(path), datatype, is: None, system: None, deceased: false, absolute };
    for note in notes {
        match note.split_once('=') {
            Some(("is", of)) => out.is = Some(of),
            Some(("system", system)) => out.system = Some(system),
            _ => out.deceased |= note == "deceased",
        }
    }
    Some(out)
}

fn selectors(text: &'static str) -> Vec<Selector> {
    text.split(' ').filter_map(selector).collect()
}

fn parameter_of(row: &'static str) -> Option<(&'static str, Parameter)> {
    let mut columns = row.split('\t');
    let mut next = || columns.next();
    let (base, name, kind, id, paths, targets, components) =
        (next()?, next()?, next()?, next()?, next()?, next()?, next()?);
    let kind = ParamKind::parse(kind);
    let composite = kind == ParamKind::Composite;
    let component = |c: &'static str| {
        let (kind, paths) = c.split_once('=')?;
        Some(Component { kind: ParamKind::parse(kind), paths: selectors(paths) })
    };
    let parameter = Parameter {
        name,
        kind,
        id,
        paths: if composite { Vec::new() } else { selectors(paths) },
        targets: match targets {
            "*" | "" => Targets::Any,
            listed => Targets::These(listed.split(' ').collect()),
        },
        bases: if composite { paths.split(' ').map(steps).collect() } else { Vec::new() },
        components: components.split(';').filter_map(component).collect(),
    };
    Some((base, parameter))
}

fn rows(table: &'static str) -> impl Iterator<Item = &'static str> {
    table.lines().filter(|l| !l.is_empty() && !l.starts_with('#'))
}

struct Definitions {
    parameters: HashMap<&'static str, Vec<Parameter>>,
    compartments: HashMap<&'static str, HashMap<&'static str, Vec<&'static str>>>,
    types: Vec<&'static str>,
}

static DEFINITIONS: LazyLock<Definitions> = LazyLock::new(|| {
    let mut parameters: HashMap<&str, Vec<Parameter>> = HashMap::new();
    for (base, parameter) in rows(PARAMETERS).filter_map(parameter_of) {
        parameters.entry(base).or_default().push(parameter);
    }
    let mut compartments: HashMap<&str, HashMap<&str, Vec<&str>>> = HashMap::new();
    for row in rows(COMPARTMENTS) {
        let columns: Vec<&str> = row.split('\t').collect();
        if let [compartment, resource, names] = columns[..] {
            compartments.entry(compartment).or_default().insert(resource, names.split(' ').collect());
        }
    }
    Definitions { parameters, compartments, types: rows(TYPES).collect() }
});

/// All resource types of FHIR R4, by name.
pub fn resource_types() -> impl Iterator<Item = &'static str> {
    DEFINITIONS.types.iter().copied()
}

/// Whether FHIR R4 has a resource type of this name; the table's own text of it.
pub fn resource_type(name: &str) -> Option<&'static str> {
    DEFINITIONS.types.binary_search(&name).ok().map(|i| DEFINITIONS.types[i])
}

/// The search parameters of a resource type, those of all types included.
pub fn parameters(resource: &str) -> impl Iterator<Item = &'static Parameter> {
    [resource, "DomainResource", "Resource"].into_iter().filter_map(|base| DEFINITIONS.parameters.get(base)).flatten()
}

/// A search parameter by name.
pub fn parameter(resource: &str, name: &str) -> Option<&'static Parameter> {
    parameters(resource).find(|p| p.name == name)
}

/// Names of the parameters by which resources of a type belong to a compartment such as `Patient`; `None`
/// when they never do.
pub fn compartment(kind: &str, resource: &str) -> Option<&'static [&'static str]> {
    DEFINITIONS.compartments.get(kind)?.get(resource).map(Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_read() {
        let read: usize = DEFINITIONS.parameters.values().map(Vec::len).sum();
        assert_eq!(read, rows(PARAMETERS).count());
        assert!(read > 1600);
        for (base, all) in &DEFINITIONS.parameters {
            for p in all {
                let located = match p.kind {
                    ParamKind::Special => true,
                    ParamKind::Composite => {
                        !p.bases.is_empty()
                            && p.components.len() > 1
                            && p.components.iter().all(|c| !c.paths.is_empty() && c.kind != ParamKind::Special)
                    }
                    _ => !p.paths.is_empty(),
                };
                assert!(located, "{base}.{}", p.name);
            }
        }
        assert_eq!(resource_types().count(), 146);
        assert_eq!(resource_type("Patient"), Some("Patient"));
        assert_eq!(resource_type("patient"), None);
        assert!(compartment("Patient", "Observation").is_some_and(|names| names.contains(&"subject")));
        assert!(compartment("Patient", "Organization").is_none());
    }

    #[test]
    fn filters_within_paths() {
        let email = parameter("Patient", "email").unwrap();
        let patient =
            serde_json::json!({"telecom": [{"system": "phone", "value": "1"}, {"system": "email", "value": "e"}]});
        let mut found = Vec::new();
        email.paths[0].visit(&patient, &mut |v| found.push(v["value"].clone()));
        assert_eq!(found, ["e"]);
        assert_eq!(
            parameter("Patient", "gender").unwrap().paths[0].system,
            Some("http://hl7.org/fhir/administrative-gender")
        );
        assert_eq!(parameter("Observation", "patient").unwrap().paths[0].is, Some("Patient"));
        assert_eq!(parameter("Observation", "date").unwrap().paths.len(), 4);
    }
}
