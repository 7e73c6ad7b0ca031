//! JSON text, cut up and made compact without changing what it says: parsing and printing again would write
//! some numbers otherwise (`1E-22` as `1e-22`) and drop all but one of doubled members.
//!
//! Everything here expects text that was parsed before, and on other text does something, but never panics.

use std::{collections::HashMap, ops::Range};

/// The token at or after `at`: a bracket, a colon, a comma, a text with its quotes, a number or word. Empty at
/// the end.
fn token(text: &[u8], at: usize) -> Range<usize> {
    let rest = text.get(at..).unwrap_or_default();
    let from = at + rest.iter().position(|b| !b.is_ascii_whitespace()).unwrap_or(rest.len());
    let rest = text.get(from..).unwrap_or_default();
    let length = match rest.first() {
        None => 0,
        Some(b'"') => text_length(rest),
        Some(b'{' | b'}' | b'[' | b']' | b':' | b',') => 1,
        Some(_) => rest.iter().position(|b| b.is_ascii_whitespace() || b"{}[]:,\"".contains(b)).unwrap_or(rest.len()),
    };
    from..from + length
}

/// Length of a text from its opening to its closing quote.
fn text_length(rest: &[u8]) -> usize {
    let mut at = 1;
    while let Some(b) = rest.get(at) {
        match b {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    rest.len()
}

/// Where the value ends that begins at or after `at`, and where it begins.
fn value(text: &[u8], at: usize) -> Range<usize> {
    let first = token(text, at);
    let (mut end, mut depth) = (first.end, 0_usize);
    let mut next = first.clone();
    loop {
        match text.get(next.clone()) {
            Some(b"{" | b"[") => depth += 1,
            Some(b"}" | b"]") => depth = depth.saturating_sub(1),
            Some([]) | None => return first.start..end,
            _ => {}
        }
        end = next.end;
        if depth == 0 {
            return first.start..end;
        }
        next = token(text, end);
    }
}

fn decoded(quoted: &[u8]) -> Option<String> {
    if quoted.first() == Some(&b'"') { serde_json::from_slice(quoted).ok() } else { None }
}

/// Where the value of an object's member stands; of doubled ones the last, as parsing has it.
pub(super) fn member(text: &[u8], name: &str) -> Option<Range<usize>> {
    let mut at = token(text, 0).end;
    let mut found = None;
    loop {
        let key = token(text, at);
        let is_it = decoded(text.get(key.clone())?)? == name;
        let it = value(text, token(text, key.end).end);
        at = token(text, it.end).end;
        if text.get(token(text, it.end)) != Some(b",") {
            return if is_it { Some(it) } else { found };
        }
        if is_it {
            found = Some(it);
        }
    }
}

/// Where an array's elements stand.
pub(super) fn elements(text: &[u8]) -> Vec<Range<usize>> {
    let mut out = Vec::new();
    let mut at = token(text, 0).end;
    if text.get(token(text, at)) == Some(b"]") {
        return out;
    }
    loop {
        let it = value(text, at);
        let comma = token(text, it.end);
        out.push(it);
        if text.get(comma.clone()) != Some(b",") {
            return out;
        }
        at = comma.end;
    }
}

/// The text without white space between tokens, each `reference` replaced by its name in `names`.
pub(super) fn compact(text: &[u8], names: &HashMap<String, String>) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let (mut last, mut is_reference) = (0..0, false);
    let mut next = token(text, 0);
    while let Some(token_text) = text.get(next.clone()).filter(|t| !t.is_empty()) {
        let name = if is_reference { decoded(token_text).and_then(|r| names.get(&r)) } else { None };
        match name {
            Some(name) => out.extend_from_slice(serde_json::Value::from(name.as_str()).to_string().as_bytes()),
            None => out.extend_from_slice(token_text),
        }
        is_reference = !names.is_empty()
            && token_text == b":"
            && text.get(last).and_then(decoded).is_some_and(|key| key == "reference");
        last = next.clone();
        next = token(text, next.end);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_white_space_goes() {
        let none = HashMap::new();
        let text =
            "\n{ \"a\" : [ 1E-22 , -1.000E+245, 1.00,true ,null] ,\"b\\\"\" :\"x  \\u00e9 \\\\\" , \"a\":{ } }\t";
        let short = "{\"a\":[1E-22,-1.000E+245,1.00,true,null],\"b\\\"\":\"x  \\u00e9 \\\\\",\"a\":{}}";
        assert_eq!(String::from_utf8(compact(text.as_bytes(), &none)).unwrap(), short);
        assert_eq!(compact(short.as_bytes(), &none), short.as_bytes());
    }

    #[test]
    fn references_are_replaced_and_nothing_else() {
        let names = HashMap::from([("urn:uuid:1".to_owned(), "Patient/\"1".to_owned())]);
        let text = r#"{"reference":"urn:uuid:1", "a":"urn:uuid:1","x":"reference","\u0072eference":"urn:uuid:1","reference":["urn:uuid:1"]}"#;
        let expected = r#"{"reference":"Patient/\"1","a":"urn:uuid:1","x":"reference","\u0072eference":"Patient/\"1","reference":["urn:uuid:1"]}"#;
        assert_eq!(String::from_utf8(compact(text.as_bytes(), &names)).unwrap(), expected);
    }

    #[test]
    fn members_and_elements_are_found_where_parsing_finds_them() {
        let text = br#" { "x":{"entry":[0]}, "entry" : [1], "entry":[ {"a":[{}]} , "]," ,[],3 ] , "z":1}"#;
        let entry = &text[member(text, "entry").unwrap()];
        let found: Vec<&[u8]> = elements(entry).into_iter().map(|r| &entry[r]).collect();
        assert_eq!(found, [&br#"{"a":[{}]}"#[..], br#""],""#, b"[]", b"3"]);
        assert_eq!(member(text, "y"), None);
        assert_eq!(&text[member(text, "z").unwrap()], b"1");
        assert!(elements(b"[ ]").is_empty() && member(b"{}", "a").is_none());
    }

    #[test]
    fn other_text_does_no_harm() {
        for text in ["", "{", "[", "\"", "\"\\", "{\"a\"", "{\"a\":", "[1,", "]}", "{]", ",,", ":", "{\"a\":}"] {
            let bytes = text.as_bytes();
            let _ = (member(bytes, "a"), elements(bytes).len(), compact(bytes, &HashMap::new()));
        }
    }
}
