//! Instants: as FHIR writes them, and as HTTP does.

use http::HeaderValue;
use time::{
    OffsetDateTime,
    format_description::{FormatItem, well_known::Rfc3339},
    macros::format_description,
};

const INSTANT: &[FormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
const HTTP: &[FormatItem<'_>] =
    format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");

/// A FHIR instant in UTC, to the millisecond.
pub(crate) fn text(at: OffsetDateTime) -> String {
    at.to_offset(time::UtcOffset::UTC).format(INSTANT).unwrap_or_default()
}

/// Now, as a FHIR instant.
pub(crate) fn now_text() -> String {
    text(OffsetDateTime::now_utc())
}

/// A FHIR instant.
pub(crate) fn parse(instant: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(instant, &Rfc3339).ok()
}

/// For `Last-Modified`.
pub(crate) fn http_date(at: OffsetDateTime) -> Option<HeaderValue> {
    HeaderValue::from_str(&at.to_offset(time::UtcOffset::UTC).format(HTTP).ok()?).ok()
}

/// Of `If-Modified-Since`.
pub(crate) fn parse_http_date(text: &str) -> Option<OffsetDateTime> {
    time::PrimitiveDateTime::parse(text.trim(), HTTP).ok().map(time::PrimitiveDateTime::assume_utc)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_go_both_ways() {
        let at = parse("2024-02-03T04:05:06.789+01:00").unwrap();
        assert_eq!(text(at), "2024-02-03T03:05:06.789Z");
        let header = http_date(at).unwrap();
        assert_eq!(header, "Sat, 03 Feb 2024 03:05:06 GMT");
        assert_eq!(parse_http_date(header.to_str().unwrap()), parse("2024-02-03T03:05:06Z"));
        assert_eq!((parse("2024"), parse_http_date("yesterday")), (None, None));
        assert!(parse(&now_text()).is_some());
    }
}
