//! Single tests of a search, and whether a value of a resource passes them.

use sealdex_schema::{Decimal, Instant, Span, fold, local_reference};
use serde_json::Value as Json;

use super::definitions::{ParamKind, Selector, Step, visit};
use super::value::{DateTest, NumberTest, split, unescape};

/// How texts are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextMatch {
    /// The folded text begins so.
    Start,
    /// The text is exactly so.
    Exact,
    /// The folded text contains it.
    Contains,
}

/// A token as it is searched for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TokenTest {
    /// A code of any system.
    Code(String),
    /// A code of a system; an empty system: of none.
    Both { system: String, code: String },
    /// Any code of a system.
    System(String),
}

/// A reference as it is searched for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ReferenceTest {
    /// A resource of this server; without a type: of any.
    Local { kind: Option<String>, id: String },
    /// A URL or URN as it stands.
    Literal(String),
}

/// How URIs are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UriMatch {
    Exact,
    /// The stored URI is below the one asked for.
    Below,
    /// The stored URI is above the one asked for.
    Above,
}

/// One value of a criterion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Test {
    Number(NumberTest),
    Date(DateTest),
    Quantity {
        number: NumberTest,
        system: Option<String>,
        code: Option<String>,
    },
    Text {
        how: TextMatch,
        text: String,
    },
    Token(TokenTest),
    /// Text of a coded value, `:text`.
    TokenText(String),
    /// `:of-type`: type's system and code, then the value.
    OfType {
        system: String,
        code: String,
        value: String,
    },
    Reference(ReferenceTest),
    /// `:identifier` of a reference.
    ReferenceIdentifier(TokenTest),
    Uri {
        how: UriMatch,
        uri: String,
    },
    Composite(Vec<Test>),
}

/// Modifiers that decide how a value is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    Plain,
    Exact,
    Contains,
    Text,
    OfType,
    Identifier,
    /// Only references to this type.
    Kind(String),
    Above,
    Below,
}

pub(crate) fn token(text: &str) -> TokenTest {
    match split(text, '|').as_slice() {
        [code] => TokenTest::Code(unescape(code)),
        [system, ""] => TokenTest::System(unescape(system)),
        // A bar within a code need not be escaped: only the first one separates.
        [system, ..] => TokenTest::Both { system: unescape(system), code: unescape(&text[system.len() + 1..]) },
        [] => TokenTest::Code(String::new()),
    }
}

fn reference(text: &str, kind: Option<&str>) -> Result<ReferenceTest, String> {
    let text = unescape(text);
    let legal =
        |id: &str| (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b));
    if text.contains("://") || text.starts_with("urn:") || text.starts_with('#') {
        return Ok(ReferenceTest::Literal(text.split("/_history/").next().unwrap_or_default().to_owned()));
    }
    match text.split_once('/') {
        None if legal(&text) => Ok(ReferenceTest::Local { kind: kind.map(str::to_owned), id: text }),
        Some(_) => match local_reference(&text).as_deref().and_then(|r| r.split_once('/')) {
            Some((of, id)) if kind.is_none_or(|k| k == of) => {
                Ok(ReferenceTest::Local { kind: Some(of.to_owned()), id: id.to_owned() })
            }
            Some(_) => Err("the modifier names another type than the reference".into()),
            None => Err("not a reference: write Type/id, an id, or a URL".into()),
        },
        None => Err("not a reference: write Type/id, an id, or a URL".into()),
    }
}

impl Test {
    /// Reads one value of a parameter. `now`: Unix seconds.
    pub(crate) fn parse(kind: ParamKind, reading: &Reading, text: &str, now: i64) -> Result<Self, String> {
        Ok(match (kind, reading) {
            (ParamKind::Number, Reading::Plain) => Self::Number(NumberTest::parse(text)?),
            (ParamKind::Date, Reading::Plain) => Self::Date(DateTest::parse(text, now)?),
            (ParamKind::Quantity, Reading::Plain) => quantity(text)?,
            (ParamKind::String, Reading::Plain) => Self::Text { how: TextMatch::Start, text: fold(&unescape(text)) },
            (ParamKind::String, Reading::Contains) => {
                Self::Text { how: TextMatch::Contains, text: fold(&unescape(text)) }
            }
            (ParamKind::String, Reading::Exact) => Self::Text { how: TextMatch::Exact, text: unescape(text) },
            (ParamKind::Token, Reading::Plain) => Self::Token(token(text)),
            (ParamKind::Token, Reading::Text) => Self::TokenText(fold(&unescape(text))),
            (ParamKind::Token, Reading::OfType) => match split(text, '|').as_slice() {
                [system, code, value] => {
                    Self::OfType { system: unescape(system), code: unescape(code), value: unescape(value) }
                }
                _ => return Err(":of-type takes system|code|value".into()),
            },
            (ParamKind::Reference, Reading::Plain) => Self::Reference(reference(text, None)?),
            (ParamKind::Reference, Reading::Kind(kind)) => Self::Reference(reference(text, Some(kind))?),
            (ParamKind::Reference, Reading::Identifier) => Self::ReferenceIdentifier(token(text)),
            (ParamKind::Uri, Reading::Plain) => Self::Uri { how: UriMatch::Exact, uri: unescape(text) },
            (ParamKind::Uri, Reading::Below) => Self::Uri { how: UriMatch::Below, uri: unescape(text) },
            (ParamKind::Uri, Reading::Above) => Self::Uri { how: UriMatch::Above, uri: unescape(text) },
            _ => return Err("the modifier does not go with this parameter".into()),
        })
    }

    /// Whether any value at these places passes. `resource`: for places that begin there.
    pub(crate) fn any(&self, paths: &[Selector], element: &Json, resource: &Json) -> bool {
        paths.iter().any(|s| {
            let mut passed = false;
            if s.deceased {
                return self.passes_deceased(s, element);
            }
            s.visit(if s.absolute { resource } else { element }, &mut |v| passed = passed || self.passes(s, v));
            passed
        })
    }

    /// `deceased` is computed: there and not false.
    fn passes_deceased(&self, s: &Selector, resource: &Json) -> bool {
        if s.datatype != "boolean" {
            return false;
        }
        let dead =
            resource.get("deceasedDateTime").is_some() || resource.get("deceasedBoolean") == Some(&Json::Bool(true));
        matches!(self, Self::Token(TokenTest::Code(code)) if *code == dead.to_string())
    }

    /// Whether one value of a datatype passes.
    fn passes(&self, s: &Selector, v: &Json) -> bool {
        match self {
            Self::Number(test) => {
                span_of_numbers(s.datatype, v).is_some_and(|(l, h)| test.holds(l.as_ref(), h.as_ref()))
            }
            Self::Date(test) => time(s.datatype, v).is_some_and(|(f, u)| test.holds(f, u)),
            Self::Quantity { number, system, code } => {
                fits_unit(v, system.as_deref(), code.as_deref())
                    && span_of_numbers(s.datatype, v).is_some_and(|(l, h)| number.holds(l.as_ref(), h.as_ref()))
            }
            Self::Text { how, text } => texts(s.datatype, v).any(|t| match how {
                TextMatch::Start => fold(t).starts_with(text.as_str()),
                TextMatch::Contains => fold(t).contains(text.as_str()),
                TextMatch::Exact => t == text,
            }),
            Self::Token(test) => tokens(s, v, &mut |t| test.passes(&t)),
            Self::TokenText(text) => token_texts(s.datatype, v).any(|t| fold(t).starts_with(text.as_str())),
            Self::OfType { system, code, value } => {
                let wanted = TokenTest::Both { system: system.clone(), code: code.clone() };
                let of_type = codings(v.get("type").unwrap_or(&Json::Null), &mut |t| wanted.passes(&t));
                s.datatype == "Identifier" && of_type && v.get("value").and_then(Json::as_str) == Some(value)
            }
            Self::Reference(test) => is_of(s, v) && reference_text(v).is_some_and(|r| test.passes(r, v)),
            Self::ReferenceIdentifier(test) => {
                is_of(s, v) && v.get("identifier").is_some_and(|i| test.passes(&identifier(i)))
            }
            Self::Uri { how, uri } => v.as_str().is_some_and(|stored| match how {
                UriMatch::Exact => stored == uri,
                UriMatch::Below => below(stored, uri),
                UriMatch::Above => below(uri, stored),
            }),
            Self::Composite(_) => false,
        }
    }
}

/// Whether a URI is another one or stands below it.
fn below(uri: &str, root: &str) -> bool {
    let root = root.strip_suffix('/').unwrap_or(root);
    uri.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn quantity(text: &str) -> Result<Test, String> {
    let parts = split(text, '|');
    let filled = |t: &str| (!t.is_empty()).then(|| unescape(t));
    let (number, system, code) = match parts.as_slice() {
        [number] => (*number, None, None),
        [number, system, code] => (*number, filled(system), filled(code)),
        _ => return Err("a quantity is number, or number|system|code with both bars".into()),
    };
    Ok(Test::Quantity { number: NumberTest::parse(number)?, system, code })
}

impl ReferenceTest {
    fn passes(&self, stored: &str, v: &Json) -> bool {
        match self {
            Self::Literal(url) => stored.split("/_history/").next() == Some(url),
            Self::Local { kind, id } => {
                if stored.contains("://") || stored.starts_with("urn:") {
                    return false;
                }
                let Some(local) = local_reference(stored) else { return false };
                let Some((of, stored_id)) = local.split_once('/') else { return false };
                let of = v.get("type").and_then(Json::as_str).filter(|t| *t == of).unwrap_or(of);
                stored_id == id && kind.as_deref().is_none_or(|k| k == of)
            }
        }
    }
}

/// The text of a reference or canonical.
pub(crate) fn reference_text(v: &Json) -> Option<&str> {
    v.as_str().or_else(|| v.get("reference").and_then(Json::as_str))
}

/// Whether a reference leads to the type its parameter is limited to.
pub(crate) fn is_of(s: &Selector, v: &Json) -> bool {
    let Some(wanted) = s.is else { return true };
    let named = v.get("type").and_then(Json::as_str);
    let local = reference_text(v).and_then(local_reference);
    let of = local.as_deref().and_then(|r| r.split_once('/')).map(|(of, _)| of);
    of.or(named) == Some(wanted)
}

/// A code and what scopes it.
pub(crate) struct Token<'v> {
    system: Option<&'v str>,
    code: &'v str,
    /// The system is not part of the value (a boolean, a URI): a search cannot ask for it.
    unscoped: bool,
}

impl TokenTest {
    pub(crate) fn passes(&self, t: &Token<'_>) -> bool {
        match self {
            Self::Code(code) => t.code == code,
            Self::Both { system, code } if system.is_empty() => t.code == code && (t.system.is_none() || t.unscoped),
            Self::Both { system, code } => t.code == code && t.system == Some(system),
            Self::System(system) => !system.is_empty() && t.system == Some(system),
        }
    }
}

fn coding(v: &Json) -> Token<'_> {
    let text = |name: &str| v.get(name).and_then(Json::as_str).filter(|t| !t.is_empty());
    Token { system: text("system"), code: text("code").unwrap_or_default(), unscoped: false }
}

fn identifier(v: &Json) -> Token<'_> {
    let text = |name: &str| v.get(name).and_then(Json::as_str).filter(|t| !t.is_empty());
    Token { system: text("system"), code: text("value").unwrap_or_default(), unscoped: false }
}

fn codings(v: &Json, test: &mut dyn FnMut(Token<'_>) -> bool) -> bool {
    match v.get("coding") {
        Some(Json::Array(all)) => all.iter().any(|c| test(coding(c))),
        _ => false,
    }
}

/// Whether any token of a value passes.
fn tokens(s: &Selector, v: &Json, test: &mut dyn FnMut(Token<'_>) -> bool) -> bool {
    match (s.datatype, v) {
        ("CodeableConcept", _) => codings(v, test),
        ("Coding", _) => test(coding(v)),
        ("Identifier" | "ContactPoint", _) => test(identifier(v)),
        ("code", Json::String(code)) => test(Token { system: s.system, code, unscoped: false }),
        (_, Json::String(code)) => test(Token { system: None, code, unscoped: true }),
        (_, Json::Bool(b)) => test(Token { system: None, code: if *b { "true" } else { "false" }, unscoped: true }),
        (_, Json::Number(n)) => test(Token { system: None, code: n.as_str(), unscoped: true }),
        _ => false,
    }
}

/// What `:text` looks at.
fn token_texts<'v>(datatype: &str, v: &'v Json) -> Box<dyn Iterator<Item = &'v str> + 'v> {
    let text = |v: &'v Json, name: &str| v.get(name).and_then(Json::as_str);
    match datatype {
        "CodeableConcept" => {
            let displays = v.get("coding").and_then(Json::as_array).into_iter().flatten();
            Box::new(text(v, "text").into_iter().chain(displays.filter_map(move |c| text(c, "display"))))
        }
        "Coding" => Box::new(text(v, "display").into_iter()),
        "Identifier" => Box::new(v.get("type").and_then(|t| text(t, "text")).into_iter()),
        _ => Box::new(v.as_str().into_iter()),
    }
}

const NAME: [&str; 5] = ["family", "given", "text", "prefix", "suffix"];
const ADDRESS: [&str; 7] = ["line", "city", "district", "state", "country", "postalCode", "text"];

/// Strings within a value.
pub(crate) fn texts<'v>(datatype: &str, v: &'v Json) -> Box<dyn Iterator<Item = &'v str> + 'v> {
    let parts: &'static [&'static str] = match datatype {
        "HumanName" => &NAME,
        "Address" => &ADDRESS,
        _ => return Box::new(v.as_str().into_iter()),
    };
    Box::new(parts.iter().filter_map(|name| v.get(*name)).flat_map(|part| match part {
        Json::Array(all) => Box::new(all.iter().filter_map(Json::as_str)) as Box<dyn Iterator<Item = &'v str>>,
        one => Box::new(one.as_str().into_iter()),
    }))
}

/// Names of the parts that texts of a datatype stand in, if it has parts.
pub(crate) fn text_parts(datatype: &str) -> &'static [&'static str] {
    match datatype {
        "HumanName" => &NAME,
        "Address" => &ADDRESS,
        _ => &[],
    }
}

fn decimal(v: Option<&Json>) -> Option<Decimal> {
    match v? {
        Json::Number(n) => Decimal::parse(n.as_str()).ok(),
        Json::String(s) => Decimal::parse(s).ok(),
        _ => None,
    }
}

/// From where to where the numbers of a value reach. Sampled data have no one value, so none.
pub(crate) fn span_of_numbers(datatype: &str, v: &Json) -> Option<(Option<Decimal>, Option<Decimal>)> {
    match datatype {
        "SampledData" => None,
        "Range" => {
            let end = |name: &str| decimal(v.get(name).and_then(|q| q.get("value")));
            let (low, high) = (end("low"), end("high"));
            (low.is_some() || high.is_some()).then_some((low, high))
        }
        _ => {
            let value = if v.is_object() { decimal(v.get("value")) } else { decimal(Some(v)) }?;
            Some((Some(value.clone()), Some(value)))
        }
    }
}

/// Whether a quantity is in the unit asked for. Without a system the code may also be the unit's text.
fn fits_unit(v: &Json, system: Option<&str>, code: Option<&str>) -> bool {
    let range = v.get("low").or_else(|| v.get("high")).filter(|_| v.get("value").is_none());
    let v = range.unwrap_or(v);
    let text = |name: &str| v.get(name).and_then(Json::as_str);
    let money = text("currency").is_some();
    let own_system = if money { Some("urn:iso:std:iso:4217") } else { text("system") };
    let own_code = if money { text("currency") } else { text("code") };
    system.is_none_or(|s| own_system == Some(s))
        && code.is_none_or(|c| own_code == Some(c) || system.is_none() && text("unit") == Some(c))
}

/// Time of an element: its first instant and the first after it, `None` where unbounded.
pub(crate) type Time = (Option<Instant>, Option<Instant>);

/// When a value is. `None`: it says no time.
pub(crate) fn time(datatype: &str, v: &Json) -> Option<Time> {
    let span = |v: &Json| v.as_str().and_then(|t| Span::parse(t).ok());
    match datatype {
        "Period" => {
            let end = |name: &str| v.get(name).and_then(span);
            let (start, end) = (end("start"), end("end"));
            (start.is_some() || end.is_some()).then_some((start.map(|s| s.from), end.map(|e| e.until)))
        }
        "Timing" => timing(v),
        "date" | "dateTime" | "instant" => span(v).map(|s| (Some(s.from), Some(s.until))),
        _ => None,
    }
}

/// The outer limits of a timing: its events and its bounds.
fn timing(v: &Json) -> Option<Time> {
    let mut times: Vec<Time> = Vec::new();
    let path =
        |names: &[&'static str]| names.iter().map(|name| Step { name, only: None, first: false }).collect::<Vec<_>>();
    visit(&path(&["event"]), v, &mut |e| times.extend(time("dateTime", e)));
    visit(&path(&["repeat", "boundsPeriod"]), v, &mut |p| times.extend(time("Period", p)));
    times.into_iter().reduce(|(f, u), (f2, u2)| (f.zip(f2).map(|(a, b)| a.min(b)), u.zip(u2).map(|(a, b)| a.max(b))))
}
