//! Values of a search: prefixes, ranges, escapes.

use sealdex_schema::{Decimal, Instant, Span};

/// Prefix of an ordered value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Prefix {
    Eq,
    Ne,
    Lt,
    Gt,
    Le,
    Ge,
    /// Starts after.
    Sa,
    /// Ends before.
    Eb,
    /// Approximately.
    Ap,
}

const PREFIXES: [(&str, Prefix); 9] = [
    ("eq", Prefix::Eq),
    ("ne", Prefix::Ne),
    ("lt", Prefix::Lt),
    ("gt", Prefix::Gt),
    ("le", Prefix::Le),
    ("ge", Prefix::Ge),
    ("sa", Prefix::Sa),
    ("eb", Prefix::Eb),
    ("ap", Prefix::Ap),
];

impl Prefix {
    /// Takes a prefix off a value.
    pub(crate) fn split(text: &str) -> (Self, &str) {
        PREFIXES
            .iter()
            .find_map(|(p, prefix)| text.strip_prefix(p).map(|rest| (*prefix, rest)))
            .unwrap_or((Self::Eq, text))
    }
}

/// A number as it is searched for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumberTest {
    pub(crate) prefix: Prefix,
    /// As written.
    pub(crate) exact: Decimal,
    /// What the written precision stands for; for `ap` a tenth around. The upper end is not included,
    /// except for `ap`.
    pub(crate) range: (Decimal, Decimal),
}

impl NumberTest {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (prefix, number) = Prefix::split(text);
        let exact = Decimal::parse(number).map_err(|e| format!("\"{number}\": {e}"))?;
        // The specification reads 1e2 as [95, 105): a mantissa of whole digits with an exponent is good to
        // one digit more than it shows.
        let whole_with_exponent =
            number.split_once(['e', 'E']).is_some_and(|(m, e)| !m.contains('.') && !e.starts_with('-'));
        let range = match prefix {
            Prefix::Ap => exact.within_a_tenth(),
            _ => exact.rounding_interval(u8::from(whole_with_exponent)),
        };
        Ok(Self { prefix, exact, range })
    }

    /// Whether an element from `low` to `high` fits; a missing end is unbounded, a point has both alike.
    pub(crate) fn holds(&self, low: Option<&Decimal>, high: Option<&Decimal>) -> bool {
        let (from, to) = (&self.range.0, &self.range.1);
        let point = low == high;
        let within = low.is_some_and(|l| l >= from) && high.is_some_and(|h| if point { h < to } else { h <= to });
        let x = &self.exact;
        match self.prefix {
            Prefix::Eq => within,
            Prefix::Ne => !within,
            Prefix::Lt => low.is_none_or(|l| l < x),
            Prefix::Le => low.is_none_or(|l| l <= x),
            Prefix::Gt => high.is_none_or(|h| h > x),
            Prefix::Ge => high.is_none_or(|h| h >= x),
            Prefix::Sa => low.is_some_and(|l| l > x),
            Prefix::Eb => high.is_some_and(|h| h < x),
            Prefix::Ap => low.is_none_or(|l| l <= to) && high.is_none_or(|h| h >= from),
        }
    }

    /// Points that can fit lie between these; `None` is unbounded.
    pub(crate) fn hull(&self) -> (Option<&Decimal>, Option<&Decimal>) {
        match self.prefix {
            Prefix::Eq | Prefix::Ap => (Some(&self.range.0), Some(&self.range.1)),
            Prefix::Ne => (None, None),
            Prefix::Lt | Prefix::Le | Prefix::Eb => (None, Some(&self.exact)),
            Prefix::Gt | Prefix::Ge | Prefix::Sa => (Some(&self.exact), None),
        }
    }
}

/// A stretch of time as it is searched for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DateTest {
    pub(crate) prefix: Prefix,
    pub(crate) span: Span,
}

impl DateTest {
    /// `now`: Unix seconds, for `ap`: a tenth of the distance to now is added on either side.
    pub(crate) fn parse(text: &str, now: i64) -> Result<Self, String> {
        let (prefix, date) = Prefix::split(text);
        // A plus sign that was not escaped in a URL has become a space.
        let date = date.replace(' ', "+");
        let mut span = Span::parse(&date).map_err(|e| format!("\"{date}\": {e}"))?;
        if prefix == Prefix::Ap {
            let tenth = (now - span.from.seconds).abs() / 10;
            span.from.seconds -= tenth;
            span.until.seconds += tenth;
        }
        Ok(Self { prefix, span })
    }

    /// Whether the time of an element fits: from `from` until just before `until`, unbounded where missing.
    pub(crate) fn holds(&self, from: Option<Instant>, until: Option<Instant>) -> bool {
        let s = &self.span;
        let within = from.is_some_and(|f| f >= s.from) && until.is_some_and(|u| u <= s.until);
        match self.prefix {
            Prefix::Eq => within,
            Prefix::Ne => !within,
            Prefix::Lt => from.is_none_or(|f| f < s.from),
            Prefix::Gt => until.is_none_or(|u| u > s.until),
            Prefix::Le => from.is_none_or(|f| f < s.until),
            Prefix::Ge => until.is_none_or(|u| u > s.from),
            Prefix::Sa => from.is_some_and(|f| f >= s.until),
            Prefix::Eb => until.is_some_and(|u| u <= s.from),
            Prefix::Ap => from.is_none_or(|f| f < s.until) && until.is_none_or(|u| u > s.from),
        }
    }
}

/// Splits at a separator that is not escaped by a backslash. The parts keep their escapes.
pub(crate) fn split(text: &str, separator: char) -> Vec<&str> {
    let (mut parts, mut start, mut escaped) = (Vec::new(), 0, false);
    for (i, c) in text.char_indices() {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == separator {
            parts.push(&text[start..i]);
            start = i + c.len_utf8();
        }
    }
    parts.push(&text[start..]);
    parts
}

/// Takes the escapes off.
pub(crate) fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.push(chars.next().unwrap_or('\\')),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(test: &str, value: &str) -> bool {
        let v = Decimal::parse(value).unwrap();
        NumberTest::parse(test).unwrap().holds(Some(&v), Some(&v))
    }

    fn date(test: &str, value: &str) -> bool {
        let v = Span::parse(value).unwrap();
        DateTest::parse(test, 0).unwrap().holds(Some(v.from), Some(v.until))
    }

    #[test]
    fn precision_is_implied() {
        for (test, yes, no) in [
            ("100", &["99.5", "100.49"][..], &["99.49", "100.5"][..]),
            ("100.00", &["99.995", "100"], &["100.005", "99.99"]),
            ("1e2", &["95", "104.9"], &["94.9", "105"]),
            ("5.40e-3", &["0.005395", "0.0054"], &["0.005405"]),
            ("-6", &["-6.5", "-5.51"], &["-5.5", "-6.6"]),
            ("ne6", &["6.5", "5.4"], &["6", "5.5"]),
            ("lt60", &["59.9"], &["60"]),
            ("le60", &["60"], &["60.1"]),
            ("ap100", &["90", "110"], &["89.9", "110.1"]),
            ("sa5", &["5.1"], &["5"]),
        ] {
            yes.iter().for_each(|v| assert!(number(test, v), "{test} {v}"));
            no.iter().for_each(|v| assert!(!number(test, v), "{test} {v}"));
        }
        assert!(NumberTest::parse("").is_err() && NumberTest::parse("ge").is_err() && NumberTest::parse("5x").is_err());
    }

    #[test]
    fn dates_are_intervals() {
        for (test, yes, no) in [
            ("2018", &["2018-06", "2018", "2018-12-31T23:59:59.999Z"][..], &["2019", "2017-12-31"][..]),
            ("ne2018", &["2019"], &["2018-05"]),
            ("gt2018", &["2019-01-01"], &["2018-12-31", "2018"]),
            ("lt2018", &["2017-12-31"], &["2018", "2018-01-01"]),
            ("ge2018-06", &["2018-06-01", "2018", "2020"], &["2018-05-31"]),
            ("le2018-06", &["2018-06-30", "2018"], &["2018-07-01"]),
            ("sa2018-06", &["2018-07-01"], &["2018-06-30", "2018"]),
            ("eb2018-06", &["2018-05-31"], &["2018", "2018-06-01"]),
            ("2018-06-11T10:00:00 02:00", &["2018-06-11T08:00:00Z"], &["2018-06-11T10:00:00Z"]),
        ] {
            yes.iter().for_each(|v| assert!(date(test, v), "{test} {v}"));
            no.iter().for_each(|v| assert!(!date(test, v), "{test} {v}"));
        }
        assert!(DateTest::parse("ge", 0).is_err() && DateTest::parse("2018-13", 0).is_err());
        let open = DateTest::parse("ge2018", 0).unwrap();
        assert!(open.holds(None, None) && !DateTest::parse("2018", 0).unwrap().holds(None, None));
    }

    #[test]
    fn separators_are_escaped() {
        assert_eq!(split(r"a\,b,c", ','), [r"a\,b", "c"]);
        assert_eq!(split("", ','), [""]);
        assert_eq!(unescape(r"a\,b\\c\"), r"a,b\c\");
    }
}
