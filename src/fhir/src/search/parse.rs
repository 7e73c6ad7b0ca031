//! From the pairs of a search to what must hold.

use std::cell::Cell;
use std::time::{SystemTime, UNIX_EPOCH};

use super::definitions::{ParamKind, Parameter, Targets, parameter, parameters, resource_type};
use super::result::{Include, Shape};
use super::test::{Reading, Test};
use super::value::split;

/// Most pairs in a search.
const MAX_PAIRS: usize = 64;
/// Most values of one parameter.
const MAX_VALUES: usize = 1000;
/// Longest value, bytes.
const MAX_TEXT: usize = 64 << 10;
/// Most searches that chains and `_has` may make of one.
const MAX_SEARCHES: u32 = 256;
/// Deepest chain or `_has`.
const MAX_DEPTH: usize = 4;

/// What to do with parameters that are not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handling {
    /// Refuse the search.
    Strict,
    /// Leave them out, and say so.
    Lenient,
}

/// What kind of mistake a search makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// It is not well formed.
    Invalid,
    /// It is well formed, but this server does not do it.
    NotSupported,
    /// It would take too much.
    TooCostly,
}

/// Why a search was refused: which parameter, and what is wrong with it.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("search parameter \"{parameter}\": {reason}")]
pub struct SearchError {
    /// Kind.
    pub kind: ErrorKind,
    /// As it was written, modifier included.
    pub parameter: String,
    /// What is wrong, and what would be right.
    pub reason: String,
}

impl SearchError {
    pub(crate) fn invalid(parameter: &str, reason: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Invalid, parameter: parameter.into(), reason: reason.into() }
    }

    pub(crate) fn unsupported(parameter: &str, reason: impl Into<String>) -> Self {
        Self { kind: ErrorKind::NotSupported, parameter: parameter.into(), reason: reason.into() }
    }
}

/// A parsed search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search {
    /// Resource type asked for.
    pub resource: &'static str,
    /// All must hold.
    pub conditions: Vec<Condition>,
    /// How the answer is to look.
    pub shape: Shape,
    /// Names of parameters that were left out.
    pub ignored: Vec<String>,
    /// What was used, in order: for the self link.
    pub applied: Vec<(String, String)>,
}

/// What must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// On the resource itself.
    Own(Criterion),
    /// On a resource it refers to.
    Chain {
        /// The reference.
        parameter: &'static Parameter,
        /// Searches, one for each type it may lead to: any must find the resource.
        targets: Vec<Search>,
    },
    /// On a resource that refers to it.
    Has {
        /// That resource's reference.
        reference: &'static Parameter,
        /// What that resource must be.
        search: Box<Search>,
    },
}

/// A condition on the resource itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Criterion {
    pub(crate) parameter: &'static Parameter,
    pub(crate) rule: Rule,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Whether the element must be missing.
    Missing(bool),
    /// Any of these.
    Any(Vec<Test>),
    /// None of these, `:not`.
    None(Vec<Test>),
}

/// Parameters of the specification that need more than an index of fields.
const NOT_HERE: [(&str, &str); 6] = [
    ("_filter", "filter expressions are not supported: combine parameters"),
    ("_content", "full-text search over whole resources is not supported: use a string parameter or :text"),
    ("_text", "full-text search over narratives is not supported: use a string parameter or :text"),
    ("_list", "searching by list is not supported: search by the ids of its entries"),
    ("_query", "named queries are not supported"),
    ("_containedType", "searching contained resources is not supported"),
];

/// Parses a search. `pairs`: decoded names and values of the query string or form, in order.
///
/// # Errors
/// A parameter that is malformed or that cannot be answered rightly; with [`Handling::Strict`] also one
/// that is not known. A modifier that is not supported is always refused, as the specification demands.
pub fn parse(resource: &str, pairs: &[(String, String)], handling: Handling) -> Result<Search, SearchError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_secs()).unwrap_or(0));
    let searches = Cell::new(MAX_SEARCHES);
    Parser { handling, now, searches: &searches }.search(resource, pairs, MAX_DEPTH)
}

/// Names and values of a query string, escapes taken off.
pub fn pairs(query: &str) -> Vec<(String, String)> {
    form_urlencoded::parse(query.as_bytes()).map(|(k, v)| (k.into_owned(), v.into_owned())).collect()
}

struct Parser<'p> {
    handling: Handling,
    now: i64,
    /// Searches that may still be made of this one.
    searches: &'p Cell<u32>,
}

impl Parser<'_> {
    fn search(&self, resource: &str, pairs: &[(String, String)], depth: usize) -> Result<Search, SearchError> {
        let Some(left) = self.searches.get().checked_sub(1) else {
            return Err(costly(
                "",
                format!(
                    "its chains lead to more than {MAX_SEARCHES} kinds of resources: name types, as in subject:Patient.name"
                ),
            ));
        };
        self.searches.set(left);
        let Some(resource) = resource_type(resource) else {
            return Err(SearchError::invalid("_type", format!("FHIR R4 has no resource type \"{resource}\"")));
        };
        if pairs.len() > MAX_PAIRS {
            return Err(costly("", format!("more than {MAX_PAIRS} parameters")));
        }
        let mut out = Search {
            resource,
            conditions: Vec::new(),
            shape: Shape::default(),
            ignored: Vec::new(),
            applied: Vec::new(),
        };
        for (key, value) in pairs {
            if key.len() > 1024 || value.len() > MAX_TEXT {
                return Err(SearchError::invalid(
                    &key.chars().take(64).collect::<String>(),
                    "longer than a search can be",
                ));
            }
            if out.shape.take(resource, key, value)? {
                out.applied.push((key.clone(), value.clone()));
                continue;
            }
            match self.condition(resource, key, value, depth)? {
                Some(condition) => {
                    out.conditions.push(condition);
                    out.applied.push((key.clone(), value.clone()));
                }
                None => out.ignored.push(key.clone()),
            }
        }
        Ok(out)
    }

    /// One pair; `None` when it is left out.
    fn condition(
        &self,
        resource: &'static str,
        key: &str,
        value: &str,
        depth: usize,
    ) -> Result<Option<Condition>, SearchError> {
        if let Some(rest) = key.strip_prefix("_has:") {
            return self.has(resource, key, rest, value, depth).map(Some);
        }
        let (head, chained) = key.split_once('.').map_or((key, None), |(h, c)| (h, Some(c)));
        let (name, modifier) = head.split_once(':').map_or((head, None), |(n, m)| (n, Some(m)));
        if let Some((_, why)) = NOT_HERE.iter().find(|(n, _)| *n == name) {
            return Err(SearchError::unsupported(key, *why));
        }
        let Some(found) = parameter(resource, name) else { return self.unknown(resource, key, name).map(|()| None) };
        if let Some(rest) = chained {
            return self.chain(found, key, modifier, rest, value, depth).map(Some);
        }
        let filled: Vec<&str> = split(value, ',').into_iter().filter(|v| !v.is_empty()).collect();
        if filled.is_empty() {
            return match self.handling {
                Handling::Strict => Err(SearchError::invalid(key, "has no value")),
                Handling::Lenient => Ok(None),
            };
        }
        if filled.len() > MAX_VALUES {
            return Err(costly(key, format!("more than {MAX_VALUES} values")));
        }
        let rule = self.rule(found, key, modifier, &filled)?;
        Ok(Some(Condition::Own(Criterion { parameter: found, rule })))
    }

    fn unknown(&self, resource: &str, key: &str, name: &str) -> Result<(), SearchError> {
        if self.handling == Handling::Lenient {
            return Ok(());
        }
        let mut known: Vec<&str> = parameters(resource).map(|p| p.name).collect();
        known.sort_unstable();
        Err(SearchError::invalid(
            key,
            format!("{resource} has no search parameter \"{name}\"; it has {}", known.join(", ")),
        ))
    }

    fn rule(
        &self,
        p: &'static Parameter,
        key: &str,
        modifier: Option<&str>,
        values: &[&str],
    ) -> Result<Rule, SearchError> {
        if p.kind == ParamKind::Special {
            return Err(SearchError::unsupported(key, "a parameter with rules of its own that are not supported here"));
        }
        if modifier == Some("missing") {
            return match values {
                ["true"] => Ok(Rule::Missing(true)),
                ["false"] => Ok(Rule::Missing(false)),
                _ => Err(SearchError::invalid(key, ":missing takes true or false")),
            };
        }
        let (reading, negated) = reading(p, key, modifier)?;
        let tests = values.iter().map(|v| self.test(p, &reading, v)).collect::<Result<Vec<_>, _>>();
        let tests = tests.map_err(|reason| SearchError::invalid(key, reason))?;
        Ok(if negated { Rule::None(tests) } else { Rule::Any(tests) })
    }

    fn test(&self, p: &'static Parameter, reading: &Reading, value: &str) -> Result<Test, String> {
        if p.kind != ParamKind::Composite {
            return Test::parse(p.kind, reading, value, self.now);
        }
        let parts = split(value, '$');
        if parts.len() != p.components.len() {
            return Err(format!("takes {} parts separated by $, got {}", p.components.len(), parts.len()));
        }
        let part = |(c, text): (&super::definitions::Component, &str)| {
            if text.is_empty() {
                Err("a part is empty".into())
            } else {
                Test::parse(c.kind, &Reading::Plain, text, self.now)
            }
        };
        p.components.iter().zip(parts).map(part).collect::<Result<_, _>>().map(Test::Composite)
    }

    fn chain(
        &self,
        p: &'static Parameter,
        key: &str,
        kind: Option<&str>,
        rest: &str,
        value: &str,
        depth: usize,
    ) -> Result<Condition, SearchError> {
        let depth = deeper(key, depth)?;
        if p.kind != ParamKind::Reference {
            return Err(SearchError::invalid(
                key,
                format!("\"{}\" is no reference, so nothing can be chained to it", p.name),
            ));
        }
        let kinds: Vec<&'static str> = match (kind, &p.targets) {
            (Some(named), _) => match resource_type(named) {
                Some(named) => vec![named],
                None => {
                    return Err(SearchError::unsupported(
                        key,
                        format!("\":{named}\" is neither a modifier of a chain nor a resource type"),
                    ));
                }
            },
            (None, Targets::These(all)) => match p.paths.iter().find_map(|s| s.is) {
                Some(only) => vec![only],
                None => all.iter().filter_map(|t| resource_type(t)).collect(),
            },
            (None, Targets::Any) => {
                return Err(SearchError::invalid(
                    key,
                    format!("\"{}\" may lead to any type: name one, as in {}:Patient.{rest}", p.name, p.name),
                ));
            }
        };
        let strict = Parser { handling: Handling::Strict, ..*self };
        let pair = [(rest.to_owned(), value.to_owned())];
        let mut refused = None;
        let mut targets = Vec::new();
        for kind in kinds {
            match strict.search(kind, &pair, depth) {
                // A result parameter is no condition.
                Ok(search) if search.conditions.is_empty() => {
                    refused = Some(SearchError::invalid(key, "nothing can be chained so"))
                }
                Ok(search) => targets.push(search),
                Err(e) if e.kind == ErrorKind::TooCostly => return Err(SearchError { parameter: key.into(), ..e }),
                Err(e) => refused = Some(SearchError { parameter: key.into(), ..e }),
            }
        }
        match (targets.is_empty(), refused) {
            (true, Some(e)) => Err(e),
            _ => Ok(Condition::Chain { parameter: p, targets }),
        }
    }

    fn has(
        &self,
        resource: &'static str,
        key: &str,
        rest: &str,
        value: &str,
        depth: usize,
    ) -> Result<Condition, SearchError> {
        let depth = deeper(key, depth)?;
        let mut parts = rest.splitn(3, ':');
        let (Some(kind), Some(name), Some(inner)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(SearchError::invalid(key, "write _has:Type:reference:parameter=value"));
        };
        let reference = parameter(kind, name).filter(|p| p.kind == ParamKind::Reference);
        let Some(reference) = reference else {
            return Err(SearchError::invalid(key, format!("\"{kind}\" has no reference parameter \"{name}\"")));
        };
        if !leads_to(reference, resource) {
            return Err(SearchError::invalid(key, format!("\"{name}\" of {kind} never refers to a {resource}")));
        }
        let strict = Parser { handling: Handling::Strict, ..*self };
        let search = strict
            .search(kind, &[(inner.to_owned(), value.to_owned())], depth)
            .map_err(|e| SearchError { parameter: key.into(), ..e })?;
        if search.conditions.is_empty() {
            return Err(SearchError::invalid(key, "names no parameter of the referring resource"));
        }
        Ok(Condition::Has { reference, search: Box::new(search) })
    }
}

/// Whether a reference parameter may lead to a type.
pub(crate) fn leads_to(p: &Parameter, resource: &str) -> bool {
    match &p.targets {
        Targets::Any => true,
        Targets::These(all) => {
            p.paths.iter().find_map(|s| s.is).map_or(all.contains(&resource), |only| only == resource)
        }
    }
}

fn costly(parameter: &str, reason: String) -> SearchError {
    SearchError { kind: ErrorKind::TooCostly, parameter: parameter.into(), reason }
}

fn deeper(key: &str, depth: usize) -> Result<usize, SearchError> {
    depth.checked_sub(1).ok_or_else(|| costly(key, format!("chained deeper than {MAX_DEPTH}")))
}

/// How values are read under a modifier, and whether the parameter is negated.
fn reading(p: &Parameter, key: &str, modifier: Option<&str>) -> Result<(Reading, bool), SearchError> {
    let Some(modifier) = modifier else { return Ok((Reading::Plain, false)) };
    Ok(match (p.kind, modifier) {
        (ParamKind::String, "exact") => (Reading::Exact, false),
        (ParamKind::String, "contains") => (Reading::Contains, false),
        (ParamKind::Token, "text") => (Reading::Text, false),
        (ParamKind::Token, "not") => (Reading::Plain, true),
        (ParamKind::Token, "of-type") if p.paths.iter().all(|s| s.datatype == "Identifier") => (Reading::OfType, false),
        (ParamKind::Reference, "identifier") => (Reading::Identifier, false),
        (ParamKind::Reference, kind) if resource_type(kind).is_some() => (Reading::Kind(kind.into()), false),
        (ParamKind::Uri, "below") => (Reading::Below, false),
        (ParamKind::Uri, "above") => (Reading::Above, false),
        (ParamKind::Token, "in" | "not-in" | "above" | "below") => {
            return Err(SearchError::unsupported(
                key,
                format!(":{modifier} needs a terminology server; list the codes instead, separated by commas"),
            ));
        }
        _ => {
            let known = match p.kind {
                ParamKind::String => ":exact, :contains, :missing",
                ParamKind::Token => ":not, :text, :of-type (identifiers), :missing",
                ParamKind::Reference => ":Type, :identifier, :missing",
                ParamKind::Uri => ":below, :above, :missing",
                _ => ":missing",
            };
            return Err(SearchError::unsupported(
                key,
                format!("a {} parameter has no modifier \":{modifier}\" here; it has {known}", p.kind.code()),
            ));
        }
    })
}

/// The include parameters of a search, checked.
pub(crate) fn include(resource: &str, key: &str, value: &str, reverse: bool) -> Result<Include, SearchError> {
    let iterate = match key.split_once(':') {
        None => false,
        Some((_, "iterate" | "recurse")) => true,
        Some((_, other)) => {
            return Err(SearchError::unsupported(key, format!("no modifier \":{other}\"; there is :iterate")));
        }
    };
    if value == "*" {
        if reverse {
            return Err(SearchError::unsupported(key, "name what to include: Type:reference"));
        }
        return Ok(Include { reverse, iterate, source: None, parameter: None, target: None });
    }
    let parts: Vec<&str> = value.split(':').collect();
    let (source, name, target) = match parts[..] {
        [source, name] => (source, name, None),
        [source, name, target] => (source, name, Some(target)),
        _ => return Err(SearchError::invalid(key, "write Type:reference or Type:reference:TargetType")),
    };
    let Some(source) = resource_type(source) else {
        return Err(SearchError::invalid(key, format!("FHIR R4 has no resource type \"{source}\"")));
    };
    let target = match target.map(|t| resource_type(t).ok_or(t)) {
        None => None,
        Some(Ok(t)) => Some(t),
        Some(Err(t)) => return Err(SearchError::invalid(key, format!("FHIR R4 has no resource type \"{t}\""))),
    };
    if name == "*" && !reverse {
        return Ok(Include { reverse, iterate, source: Some(source), parameter: None, target });
    }
    let Some(found) = parameter(source, name).filter(|p| p.kind == ParamKind::Reference) else {
        return Err(SearchError::invalid(key, format!("{source} has no reference parameter \"{name}\"")));
    };
    if !iterate && (if reverse { !leads_to(found, resource) } else { source != resource }) {
        let why = if reverse {
            format!("\"{name}\" of {source} never refers to a {resource}")
        } else {
            format!("the search is for {resource}, not for {source}; with :iterate it may name others")
        };
        return Err(SearchError::invalid(key, why));
    }
    Ok(Include { reverse, iterate, source: Some(source), parameter: Some(found), target })
}
