//! Writing JSON straight into a buffer: one line, keys in the order they are written.

use crate::{
    calendar,
    codes::Code,
    random::{Id, Random},
};

/// Appends one JSON value to a buffer.
pub(crate) struct Json<'a> {
    out: &'a mut Vec<u8>,
    offset: i64,
}

impl<'a> Json<'a> {
    /// Instants are written in local time `offset` minutes east of UTC.
    pub(crate) fn new(out: &'a mut Vec<u8>, offset: i64) -> Self {
        Self { out, offset }
    }

    /// A comma, unless this is the first of its object or array or follows its key. No value ends
    /// in one of these bytes, so the last byte decides.
    fn separate(&mut self) {
        if !matches!(self.out.last(), None | Some(b'{' | b'[' | b':' | b'\n')) {
            self.out.push(b',');
        }
    }

    fn quoted(&mut self, text: &str) {
        self.out.push(b'"');
        for &b in text.as_bytes() {
            match b {
                b'"' | b'\\' => self.out.extend_from_slice(&[b'\\', b]),
                0..0x20 => self.out.extend_from_slice(format!("\\u{b:04x}").as_bytes()),
                _ => self.out.push(b),
            }
        }
        self.out.push(b'"');
    }

    fn key(&mut self, name: &str) {
        self.separate();
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    /// An object as an array's item or as the whole line.
    pub(crate) fn item(&mut self, fill: impl FnOnce(&mut Self)) {
        self.separate();
        self.out.push(b'{');
        fill(self);
        self.out.push(b'}');
    }

    pub(crate) fn object(&mut self, key: &str, fill: impl FnOnce(&mut Self)) {
        self.key(key);
        self.item(fill);
    }

    pub(crate) fn array(&mut self, key: &str, fill: impl FnOnce(&mut Self)) {
        self.key(key);
        self.out.push(b'[');
        fill(self);
        self.out.push(b']');
    }

    pub(crate) fn text(&mut self, key: &str, value: &str) {
        self.key(key);
        self.quoted(value);
    }

    /// A text as an array's item.
    pub(crate) fn text_item(&mut self, value: &str) {
        self.separate();
        self.quoted(value);
    }

    pub(crate) fn bool(&mut self, key: &str, value: bool) {
        self.key(key);
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
    }

    pub(crate) fn uint(&mut self, key: &str, value: u64) {
        self.key(key);
        self.out.extend_from_slice(value.to_string().as_bytes());
    }

    pub(crate) fn date(&mut self, key: &str, day: i64) {
        self.key(key);
        self.out.push(b'"');
        calendar::push_date(self.out, day);
        self.out.push(b'"');
    }

    pub(crate) fn instant(&mut self, key: &str, utc: i64) {
        self.key(key);
        self.out.push(b'"');
        calendar::push_instant(self.out, utc, self.offset);
        self.out.push(b'"');
    }

    /// An instant in UTC, whatever the hospital's time.
    pub(crate) fn utc(&mut self, key: &str, utc: i64) {
        let offset = std::mem::take(&mut self.offset);
        self.instant(key, utc);
        self.offset = offset;
    }

    pub(crate) fn decimal(&mut self, key: &str, value: Decimal) {
        self.key(key);
        value.push(self.out);
    }

    pub(crate) fn id(&mut self, id: Id) {
        self.key("id");
        self.out.push(b'"');
        self.out.extend_from_slice(&id.text());
        self.out.push(b'"');
    }

    /// `"key":{"reference":"Type/id"}`.
    pub(crate) fn reference(&mut self, key: &str, kind: &str, id: Id) {
        self.key(key);
        self.reference_object(kind, id, None);
    }

    /// A reference as an array's item.
    pub(crate) fn reference_item(&mut self, kind: &str, id: Id, display: Option<&str>) {
        self.separate();
        self.reference_object(kind, id, display);
    }

    fn reference_object(&mut self, kind: &str, id: Id, display: Option<&str>) {
        self.out.extend_from_slice(b"{\"reference\":\"");
        self.out.extend_from_slice(kind.as_bytes());
        self.out.push(b'/');
        self.out.extend_from_slice(&id.text());
        self.out.push(b'"');
        if let Some(display) = display {
            self.text("display", display);
        }
        self.out.push(b'}');
    }

    /// A CodeableConcept with one coding and the same words as its text.
    pub(crate) fn concept(&mut self, key: &str, code: &Code) {
        self.object(key, |j| j.concept_body(code));
    }

    /// A CodeableConcept as an array's item.
    pub(crate) fn concept_item(&mut self, code: &Code) {
        self.item(|j| j.concept_body(code));
    }

    fn concept_body(&mut self, code: &Code) {
        self.array("coding", |j| j.coding_item(code));
        self.text("text", code.display);
    }

    pub(crate) fn coding_item(&mut self, code: &Code) {
        self.item(|j| {
            j.text("system", code.system);
            j.text("code", code.code);
            j.text("display", code.display);
        });
    }

    /// A CodeableConcept of a status code system: a code alone.
    pub(crate) fn status(&mut self, key: &str, system: &str, code: &str) {
        self.object(key, |j| {
            j.array("coding", |j| {
                j.item(|j| {
                    j.text("system", system);
                    j.text("code", code);
                });
            });
        });
    }
}

/// A decimal number, built from integers so that it is the same everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decimal {
    /// Thousandths, not negative.
    pub(crate) milli: i64,
    /// Fraction digits written, at most 3; the rest is cut off.
    pub(crate) places: u32,
    /// Digits written after the third, and how many.
    pub(crate) tail: Option<(i64, u32)>,
}

impl Decimal {
    /// With `places` digits, or now and then (`long` percent) with 12 to 16.
    pub(crate) fn draw(milli: i64, places: u32, long: u32, random: &mut Random) -> Self {
        let tail = random.percent(long).then(|| {
            let digits = random.between(9, 13) as u32;
            (random.below(10_u64.pow(digits - 1)) as i64 * 10 + random.between(1, 9), digits)
        });
        Self { milli, places, tail }
    }

    fn push(self, out: &mut Vec<u8>) {
        out.extend_from_slice((self.milli / 1000).to_string().as_bytes());
        let fraction = self.milli % 1000;
        if let Some((tail, digits)) = self.tail {
            out.push(b'.');
            calendar::push_digits(out, fraction, 3);
            calendar::push_digits(out, tail, digits);
        } else if self.places > 0 {
            out.push(b'.');
            calendar::push_digits(out, fraction / 10_i64.pow(3 - self.places), self.places);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(milli: i64, places: u32, tail: Option<(i64, u32)>) -> String {
        let mut out = Vec::new();
        Decimal { milli, places, tail }.push(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn decimals_are_exact_text() {
        assert_eq!(decimal(6_512, 1, None), "6.5");
        assert_eq!(decimal(140_999, 0, None), "140");
        assert_eq!(decimal(50, 2, None), "0.05");
        assert_eq!(decimal(126_007, 1, Some((42, 13))), "126.0070000000000042");
    }

    #[test]
    fn texts_are_escaped_and_items_separated() {
        let mut out = Vec::new();
        Json::new(&mut out, 0).item(|j| {
            j.text("a", "say \"hi\" \\ \u{1}, or [not]{");
            j.array("b", |j| {
                j.text_item("ends in [");
                j.item(|j| j.bool("c", true));
                j.item(|_| ());
            });
            j.uint("d", 7);
        });
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, r#"{"a":"say \"hi\" \\ \u0001, or [not]{","b":["ends in [",{"c":true},{}],"d":7}"#);
        assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
    }
}
