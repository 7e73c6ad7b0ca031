//! Formats of primitive types. Each check is one pass over the text.

use serde_json::Value as Json;

/// Why a value is not of its primitive type; `None` when it is.
pub(crate) fn mistake(kind: &str, value: &Json) -> Option<&'static str> {
    match kind {
        "boolean" => (!value.is_boolean()).then_some("must be true or false"),
        "integer" | "positiveInt" | "unsignedInt" | "decimal" => match value {
            Json::Number(n) => number(kind, n.as_str()),
            _ => Some("must be a number, not in quotes"),
        },
        _ => match value {
            Json::String(text) => string(kind, text),
            _ => Some("must be a text in quotes"),
        },
    }
}

fn number(kind: &str, text: &str) -> Option<&'static str> {
    if kind == "decimal" {
        return (text.len() > 200).then_some("has more digits than a decimal can have here");
    }
    let Ok(n) = text.parse::<i32>() else { return Some("must be a whole number of 32 bits") };
    match kind {
        "positiveInt" if n < 1 => Some("must be above zero"),
        "unsignedInt" if n < 0 => Some("must not be negative"),
        _ => None,
    }
}

fn string(kind: &str, text: &str) -> Option<&'static str> {
    if text.is_empty() {
        return Some("must not be empty");
    }
    let fits = match kind {
        "id" => text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.'),
        "code" => code(text),
        "date" => date(text),
        "dateTime" => date(text) || timed(text),
        "instant" => timed(text),
        "time" => clock(text),
        "uri" | "url" | "canonical" => !text.contains(char::is_whitespace),
        "oid" => text.strip_prefix("urn:oid:").is_some_and(oid),
        "uuid" => text.strip_prefix("urn:uuid:").is_some_and(uuid),
        "base64Binary" => base64(text),
        "xhtml" => text.trim_start().starts_with("<div"),
        // Control characters other than white space are the only ones that no text may hold.
        _ => !text.chars().any(|c| c.is_ascii_control() && !"\t\n\r".contains(c)),
    };
    (!fits).then_some(match kind {
        "id" => "is no id: 1 to 64 letters, digits, '-' and '.'",
        "code" => "is no code: no white space at its ends, no two in a row",
        "date" => "is no date: YYYY, YYYY-MM or YYYY-MM-DD",
        "dateTime" => "is no dateTime: a date, or YYYY-MM-DDThh:mm:ss with Z or an offset",
        "instant" => "is no instant: YYYY-MM-DDThh:mm:ss with Z or an offset",
        "time" => "is no time: hh:mm:ss",
        "uri" | "url" | "canonical" => "is no URI: it has white space in it",
        "oid" => "is no OID: urn:oid: and numbers separated by dots",
        "uuid" => "is no UUID: urn:uuid: and 36 characters",
        "base64Binary" => "is no base64",
        "xhtml" => "must begin with <div",
        _ => "has control characters in it",
    })
}

/// `[^\s]+(\s[^\s]+)*`
fn code(text: &str) -> bool {
    let mut after_space = true;
    for c in text.chars() {
        let space = c.is_whitespace();
        if space && after_space {
            return false;
        }
        after_space = space;
    }
    !after_space
}

fn digits(text: &str, width: usize) -> Option<u32> {
    (text.len() == width && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

fn date(text: &str) -> bool {
    let mut parts = text.split('-');
    let year = parts.next().and_then(|y| digits(y, 4)).filter(|y| *y > 0);
    let month = parts.next().map(|m| digits(m, 2).filter(|m| (1..=12).contains(m)));
    let day = parts.next().map(|d| digits(d, 2));
    if parts.next().is_some() {
        return false;
    }
    match (year, month, day) {
        (Some(_), None, None) => true,
        (Some(_), Some(Some(_)), None) => true,
        (Some(y), Some(Some(m)), Some(Some(d))) => (1..=length(y, m)).contains(&d),
        _ => false,
    }
}

fn length(year: u32, month: u32) -> u32 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn timed(text: &str) -> bool {
    let Some((day, rest)) = text.split_once('T') else { return false };
    let (clock_text, offset) = match rest.strip_suffix('Z') {
        Some(clock_text) => (clock_text, true),
        None => match rest.rfind(['+', '-']) {
            Some(at) => (&rest[..at], zone(&rest[at + 1..])),
            None => return false,
        },
    };
    day.len() == 10 && date(day) && offset && clock(clock_text)
}

fn zone(text: &str) -> bool {
    let Some((h, m)) = text.split_once(':') else { return false };
    digits(h, 2).zip(digits(m, 2)).is_some_and(|(h, m)| h <= 14 && m <= 59)
}

fn clock(text: &str) -> bool {
    let (whole, fraction) = text.split_once('.').map_or((text, None), |(w, f)| (w, Some(f)));
    let parts: Vec<Option<u32>> = whole.split(':').map(|p| digits(p, 2)).collect();
    let fits = matches!(parts[..], [Some(h), Some(m), Some(s)] if h <= 23 && m <= 59 && s <= 60);
    fits && fraction.is_none_or(|f| !f.is_empty() && f.bytes().all(|b| b.is_ascii_digit()))
}

fn oid(text: &str) -> bool {
    let mut parts = text.split('.');
    let first = parts.next().is_some_and(|p| matches!(p, "0" | "1" | "2"));
    let number = |p: &str| p == "0" || !p.is_empty() && !p.starts_with('0') && p.bytes().all(|b| b.is_ascii_digit());
    first && text.contains('.') && parts.all(number)
}

fn uuid(text: &str) -> bool {
    let widths = text.split('-').map(str::len).collect::<Vec<_>>();
    widths == [8, 4, 4, 4, 12] && text.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit())
}

fn base64(text: &str) -> bool {
    let mut count = 0_usize;
    let mut padded = 0_usize;
    for b in text.bytes().filter(|b| !b.is_ascii_whitespace()) {
        match b {
            b'=' => padded += 1,
            b if padded == 0 && (b.is_ascii_alphanumeric() || b == b'+' || b == b'/') => {}
            _ => return false,
        }
        count += 1;
    }
    count.is_multiple_of(4) && padded <= 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats() {
        let fits = |kind: &str, text: &str| mistake(kind, &Json::from(text)).is_none();
        for (kind, yes, no) in [
            ("id", &["a", "A-1.b"][..], &["", "a/b", "a_b", &"x".repeat(65)][..]),
            ("code", &["final", "a b"], &[" a", "a ", "a  b"]),
            (
                "date",
                &["2018", "2018-06", "2020-02-29"],
                &["18", "2018-13", "2019-02-29", "2018-1-1", "2018-06-11T10:00:00Z"],
            ),
            (
                "dateTime",
                &["2018", "2018-06-11T10:00:00Z", "2018-06-11T10:00:00.123+02:00"],
                &["2018-06-11T10:00", "2018-06-11T10:00:00", "2018-06T10:00:00Z", "2018-06-11T25:00:00Z"],
            ),
            ("instant", &["2018-06-11T10:00:00Z"], &["2018-06-11", "2018-06-11T10:00Z"]),
            ("time", &["10:00:00", "23:59:60.5"], &["10:00", "24:00:00", "10:00:00Z"]),
            ("uri", &["urn:x", "http://a/b"], &["a b"]),
            ("oid", &["urn:oid:1.2.840"], &["1.2", "urn:oid:3.1", "urn:oid:1", "urn:oid:1.02"]),
            ("uuid", &["urn:uuid:c757873d-ec9a-4326-a141-556f43239520"], &["c757873d", "urn:uuid:c757873d"]),
            ("base64Binary", &["AAAA", "AA ==", "A+/="], &["AAA", "A===", "A=AA", "????"]),
            ("xhtml", &["<div xmlns=\"x\"/>"], &["<p/>"]),
            ("string", &["a\nb"], &["", "a\u{0}b"]),
        ] {
            yes.iter().for_each(|t| assert!(fits(kind, t), "{kind} {t}"));
            no.iter().for_each(|t| assert!(!fits(kind, t), "{kind} {t}"));
        }
        let number = |kind: &str, text: &str| mistake(kind, &serde_json::from_str(text).unwrap()).is_none();
        assert!(number("decimal", "1.50e3") && number("integer", "-5") && number("unsignedInt", "0"));
        assert!(!number("integer", "1.5") && !number("positiveInt", "0") && !number("unsignedInt", "-1"));
        assert!(!number("integer", "99999999999") && !number("decimal", "\"1\"") && !number("boolean", "1"));
    }
}
