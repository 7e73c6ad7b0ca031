//! Query strings, forms and paths: decoded strictly, written back so that they mean the same.

use std::fmt::Write as _;

use crate::outcome::Outcome;

/// Most parameters of one request.
const PARAMETERS: usize = 2000;

/// Decoded pairs of a query string or form, in order.
pub type Pairs = Vec<(String, String)>;

/// Decodes `a=b&c=d`.
///
/// # Errors
/// A `%` that starts no byte, bytes that are no UTF-8, or too many parameters.
pub fn decode(text: &str) -> Result<Pairs, Outcome> {
    let mut out = Vec::new();
    for part in text.split('&').filter(|p| !p.is_empty()) {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        out.push((unescape(name, true)?, unescape(value, true)?));
        if out.len() > PARAMETERS {
            return Err(Outcome::invalid(format!("more than {PARAMETERS} parameters: ask for less at once")));
        }
    }
    Ok(out)
}

/// Decodes one path segment.
///
/// # Errors
/// As [`decode`].
pub fn segment(text: &str) -> Result<String, Outcome> {
    unescape(text, false)
}

/// Decodes one form-encoded value.
pub fn unescape_component(text: &str) -> Option<String> {
    unescape(text, true).ok()
}

fn unescape(text: &str, form: bool) -> Result<String, Outcome> {
    let bad =
        || Outcome::invalid("the URL or form holds a % that is not followed by two hexadecimal digits, or is no UTF-8");
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        out.push(match b {
            b'+' if form => b' ',
            b'%' => {
                let digit = |b: Option<u8>| b.and_then(|b| (b as char).to_digit(16));
                let (hi, lo) = (digit(bytes.next()).ok_or_else(bad)?, digit(bytes.next()).ok_or_else(bad)?);
                (hi * 16 + lo) as u8
            }
            other => other,
        });
    }
    String::from_utf8(out).map_err(|_| bad())
}

/// Encodes pairs. What needs no escape in a query stays readable.
pub fn encode(pairs: &[(String, String)]) -> String {
    let mut out = String::new();
    for (name, value) in pairs {
        if !out.is_empty() {
            out.push('&');
        }
        escape(name, &mut out);
        out.push('=');
        escape(value, &mut out);
    }
    out
}

fn escape(text: &str, out: &mut String) {
    for b in text.bytes() {
        if b.is_ascii_alphanumeric() || b"-_.~:,/$".contains(&b) {
            out.push(b as char);
        } else {
            // Writing to a string cannot fail.
            let _ = write!(out, "%{b:02X}");
        }
    }
}

/// The last value of a parameter.
pub fn last<'p>(pairs: &'p [(String, String)], name: &str) -> Option<&'p str> {
    pairs.iter().rev().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
}

/// Comma-separated values of all parameters of a name, empty ones left out.
pub fn list(pairs: &[(String, String)], name: &str) -> Vec<String> {
    let all = pairs.iter().filter(|(n, _)| n == name).flat_map(|(_, v)| v.split(','));
    all.map(str::trim).filter(|v| !v.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escapes_are_strict() {
        let one = |t: &str| decode(t).map(|p| p[0].clone());
        assert_eq!(one("a=b+c%2Bd"), Ok(("a".into(), "b c+d".into())));
        assert_eq!(one("code=http://x%7C1"), Ok(("code".into(), "http://x|1".into())));
        assert_eq!(one("a"), Ok(("a".into(), String::new())));
        assert_eq!(decode("&&"), Ok(vec![]));
        for bad in ["a=%", "a=%2", "a=%zz", "a=%ff", "%c3=1", "a=%+1"] {
            assert_eq!(decode(bad).unwrap_err().status, 400, "{bad}");
        }
        assert!(decode(&"a&".repeat(PARAMETERS)).is_ok());
        assert!(decode(&"a&".repeat(PARAMETERS + 1)).is_err());
        assert_eq!(segment("a+b%24"), Ok("a+b$".into()), "a plus is a plus in a path");
    }

    #[test]
    fn lists_are_split_and_the_last_value_counts() {
        let pairs = decode("_type=A,%20B,,&_type=C&_count=1&_count=2").unwrap();
        assert_eq!(list(&pairs, "_type"), ["A", "B", "C"]);
        assert_eq!(last(&pairs, "_count"), Some("2"));
        assert_eq!(last(&pairs, "x"), None);
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes_to_the_same(pairs in prop::collection::vec((".{1,8}", ".{0,20}"), 0..6)) {
            let pairs: Pairs = pairs;
            prop_assert_eq!(decode(&encode(&pairs)), Ok(pairs));
        }

        #[test]
        fn anything_decodes_or_is_refused(text in ".{0,80}") {
            let _ = decode(&text);
            let _ = segment(&text);
        }
    }
}
