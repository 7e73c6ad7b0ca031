//! Normalisers: one canonical form per kind of value, the same for stored and for asked values.

use serde_json::Value as Json;
use unicode_normalization::{UnicodeNormalization as _, char::is_combining_mark};

use crate::{CalendarError, Decimal, DecimalError, Instant, Normaliser, Span, calendar::date_to_day, quantise::minute};

/// A value in its canonical form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Text, code, identifier, reference.
    Text(String),
    /// Number.
    Number(Decimal),
    /// Instant.
    Instant(Instant),
    /// Date as written, and its first day since 0001-01-01.
    Date(String, u32),
}

/// Why a value does not fit its normaliser. The texts name no value.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum NormaliseError {
    /// Another JSON type.
    #[error("expected {0}")]
    Type(&'static str),
    /// Not a decimal.
    #[error(transparent)]
    Decimal(#[from] DecimalError),
    /// Not a date or instant.
    #[error(transparent)]
    Calendar(#[from] CalendarError),
}

impl Normaliser {
    /// The canonical form of a stored value; `None` where there is nothing to index (a coding with a
    /// text only, an identifier without a value).
    pub fn stored(self, json: &Json) -> Result<Option<Value>, NormaliseError> {
        let text = |what| json.as_str().ok_or(NormaliseError::Type(what));
        let system = || part(json, "system", "a text as \"system\"");
        let value = match self {
            Self::Coding => match json {
                Json::Object(_) => match part(json, "code", "a text as \"code\"")? {
                    Some(code) => Some(Value::Text(format!("{}|{code}", system()?.unwrap_or_default()))),
                    None => None,
                },
                _ => Some(Value::Text(format!("|{}", text("a coding or a code")?))),
            },
            Self::Code => match json {
                Json::Object(_) => part(json, "code", "a text as \"code\"")?.map(|c| Value::Text(c.to_owned())),
                _ => Some(Value::Text(scalar(json).ok_or(NormaliseError::Type("a coding or a code"))?)),
            },
            Self::Identifier => match json {
                Json::Object(_) => match part(json, "value", "a text as \"value\"")? {
                    Some(v) => Some(Value::Text(format!("{}|{}", system()?.unwrap_or_default().trim(), v.trim()))),
                    None => None,
                },
                _ => return Err(NormaliseError::Type("an identifier")),
            },
            Self::Decimal => Some(Value::Number(match json {
                Json::Number(n) => Decimal::parse(n.as_str())?,
                Json::String(s) => Decimal::parse(s.trim())?,
                _ => return Err(NormaliseError::Type("a number")),
            })),
            Self::Until => None,
            Self::Reference
            | Self::String
            | Self::Folded
            | Self::Unaccented
            | Self::Text
            | Self::Instant
            | Self::Date => {
                let text = scalar(json).ok_or(NormaliseError::Type("a text"))?;
                Some(self.asked(&text)?)
            }
        };
        Ok(value)
    }

    /// The canonical form of a value in a query.
    pub fn asked(self, text: &str) -> Result<Value, NormaliseError> {
        Ok(match self {
            Self::Coding | Self::Code => Value::Text(text.to_owned()),
            Self::Identifier => match text.split_once('|') {
                Some((system, value)) => Value::Text(format!("{}|{}", system.trim(), value.trim())),
                None => Value::Text(format!("|{}", text.trim())),
            },
            Self::Reference => Value::Text(local_reference(text).unwrap_or_else(|| text.to_owned())),
            Self::String | Self::Text => Value::Text(collapse(text)),
            Self::Folded => Value::Text(collapse(text).to_lowercase().nfc().collect()),
            Self::Unaccented => Value::Text(fold(text)),
            Self::Decimal => Value::Number(Decimal::parse(text.trim())?),
            Self::Until | Self::Instant => Value::Instant(Instant::parse(text.trim())?),
            Self::Date => {
                let text = text.trim();
                Value::Date(text.to_owned(), date_to_day(text)?)
            }
        })
    }
}

/// A member of an object; what is there but no text is an error, not an absence.
fn part<'v>(json: &'v Json, name: &str, what: &'static str) -> Result<Option<&'v str>, NormaliseError> {
    match json.get(name) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::String(s)) => Ok(Some(s)),
        Some(_) => Err(NormaliseError::Type(what)),
    }
}

fn scalar(json: &Json) -> Option<String> {
    match json {
        Json::String(s) => Some(s.clone()),
        Json::Number(n) => Some(n.as_str().to_owned()),
        Json::Bool(b) => Some(b.to_string()),
        _ => None,
    }
}

fn collapse(text: &str) -> String {
    let composed: String = text.nfc().collect();
    composed.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Text as FHIR compares strings: without case, accents and surplus white space.
pub fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.split_ascii_whitespace().collect::<Vec<_>>().join(" ").to_ascii_lowercase();
    }
    let bare = |t: &str| t.nfkd().filter(|c| !is_combining_mark(*c)).collect::<String>();
    bare(&bare(text).to_lowercase()).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The minutes of a [`Normaliser::Until`].
pub(crate) fn until(json: &Json) -> Result<Vec<u64>, NormaliseError> {
    let last = |text: &str| Span::parse(text.trim()).map(|s| (clamp(s.from, 0), clamp(s.until, 1)));
    let end_of = |name: &str| match part(json, name, "a text as the end of a period")? {
        None => Ok(None),
        Some(text) => last(text).map(Some).map_err(NormaliseError::from),
    };
    match json {
        Json::String(text) => {
            let (first, last) = last(text)?;
            Ok(if first == last { Vec::new() } else { vec![last] })
        }
        Json::Object(map) if map.contains_key("event") || map.contains_key("repeat") || map.contains_key("code") => {
            Ok(vec![LAST_MINUTE, 0])
        }
        Json::Object(_) => {
            let (start, end) = (end_of("start")?, end_of("end")?);
            let mut out = vec![end.map_or(LAST_MINUTE, |(_, last)| last)];
            if start.is_none() {
                out.push(0);
            }
            Ok(out)
        }
        _ => Err(NormaliseError::Type("a dateTime, a period or a timing")),
    }
}

/// Largest minute a field can hold.
const LAST_MINUTE: u64 = u32::MAX as u64;

/// The minute of an instant, or of the moment just before it; ends of time where there is none.
fn clamp(at: Instant, before: u64) -> u64 {
    let at = match (before, at.atto) {
        (0, _) => at,
        (_, 0) => Instant { seconds: at.seconds - 1, atto: 0 },
        (_, atto) => Instant { seconds: at.seconds, atto: atto - 1 },
    };
    minute(at).unwrap_or(if at.seconds < 0 { 0 } else { LAST_MINUTE })
}

/// `Type/id` of a reference: without server, version or fragment. `None` for one that names no
/// resource (a contained `#x`, a `urn:`, a search).
pub fn local_reference(reference: &str) -> Option<String> {
    if reference.contains('?') {
        return None;
    }
    let plain = reference.split("/_history/").next().unwrap_or_default();
    let mut parts = plain.rsplit('/');
    let (id, kind) = (parts.next()?, parts.next()?);
    let legal =
        !id.is_empty() && id.len() <= 64 && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '.');
    (legal && kind.starts_with(|c: char| c.is_ascii_uppercase()) && kind.chars().all(|c| c.is_ascii_alphanumeric()))
        .then(|| format!("{kind}/{id}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn text(n: Normaliser, v: Json) -> Option<String> {
        match n.stored(&v).unwrap() {
            Some(Value::Text(t)) => Some(t),
            None => None,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn codes_keep_their_case_and_may_lack_a_system() {
        assert_eq!(
            text(Normaliser::Coding, json!({"system": "http://loinc.org", "code": "4548-4"})).as_deref(),
            Some("http://loinc.org|4548-4")
        );
        assert_eq!(text(Normaliser::Coding, json!({"code": "X"})).as_deref(), Some("|X"));
        assert_eq!(text(Normaliser::Coding, json!({"display": "only text"})), None);
        assert_eq!(text(Normaliser::Code, json!({"code": "aB"})).as_deref(), Some("aB"));
        assert_eq!(Normaliser::Coding.stored(&json!(3)), Err(NormaliseError::Type("a coding or a code")));
    }

    #[test]
    fn a_part_of_another_type_is_an_error_not_an_absence() {
        let refused = |n: Normaliser, v: Json| assert!(matches!(n.stored(&v), Err(NormaliseError::Type(_))), "{v}");
        refused(Normaliser::Coding, json!({"system": "s", "code": 5}));
        refused(Normaliser::Coding, json!({"system": ["s"], "code": "5"}));
        refused(Normaliser::Code, json!({"code": {"x": 1}}));
        refused(Normaliser::Identifier, json!({"system": "s", "value": 12}));
        assert_eq!(text(Normaliser::Identifier, json!({"system": "s", "value": null})), None);
    }

    #[test]
    fn how_long_things_last() {
        let at = |text: &str| clamp(Instant::parse(text).unwrap(), 0);
        let of = |v: Json| until(&v).unwrap();
        assert!(of(json!("2018-06-11T10:00:30Z")).is_empty());
        assert_eq!(of(json!("2018")), [at("2018-12-31T23:59:00Z")]);
        assert_eq!(of(json!({"start": "2018-06-11T10:00:00Z", "end": "2018-06-12"})), [at("2018-06-12T23:59:00Z")]);
        assert_eq!(of(json!({"start": "2018"})), [LAST_MINUTE]);
        assert_eq!(of(json!({"end": "2018-06-12T10:00:00Z"})), [at("2018-06-12T10:00:00Z"), 0]);
        assert_eq!(of(json!({"repeat": {"frequency": 1}})), [LAST_MINUTE, 0]);
        assert!(until(&json!("soon")).is_err() && until(&json!({"end": 5})).is_err() && until(&json!(5)).is_err());
    }

    #[test]
    fn strings_are_compared_without_case_and_accents() {
        assert_eq!(fold("  TREVIÑO\tÉtienne "), "trevino etienne");
        assert_eq!(fold(" Ann  MARIE"), "ann marie");
        assert_eq!(fold("İstanbul"), "istanbul");
    }

    #[test]
    fn text_forms() {
        assert_eq!(text(Normaliser::Folded, json!("  Trevin\u{303}o\t Jr ")).as_deref(), Some("treviño jr"));
        assert_eq!(text(Normaliser::Identifier, json!({"system": " s ", "value": " 12 "})).as_deref(), Some("s|12"));
        assert_eq!(local_reference("https://h.example/fhir/Patient/p1/_history/3").as_deref(), Some("Patient/p1"));
        assert_eq!(local_reference("#contained"), None);
        assert_eq!(local_reference("urn:uuid:1"), None);
        assert_eq!(local_reference("Patient?identifier=http://h/Group/1"), None);
    }

    #[test]
    fn numbers_stay_exact() {
        let v: Json = serde_json::from_str("83.33752676806235000001").unwrap();
        assert_eq!(
            Normaliser::Decimal.stored(&v),
            Ok(Some(Value::Number(Decimal::parse("83.33752676806235000001").unwrap())))
        );
        assert_eq!(Normaliser::Decimal.stored(&json!("x")), Err(NormaliseError::Decimal(DecimalError::Syntax)));
    }
}
