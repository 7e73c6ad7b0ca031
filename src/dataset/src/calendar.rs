//! Calendar arithmetic in whole days and seconds since 1970-01-01, proleptic Gregorian.

/// Seconds in a day.
pub(crate) const DAY: i64 = 86_400;
/// Days in a year, near enough for ages.
pub(crate) const YEAR: i64 = 365;

/// Year, month and day of day number `days` (H. Hinnant, "chrono-compatible low-level date
/// algorithms", `civil_from_days`).
pub(crate) fn civil(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (yoe + era * 400 + i64::from(month <= 2), month, doy - (153 * mp + 2) / 5 + 1)
}

/// Day number of a date (`days_from_civil` of the same source).
pub(crate) fn days(year: i64, month: i64, day: i64) -> i64 {
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let yoe = y.rem_euclid(400);
    let mp = (month + 9) % 12;
    let doe = yoe * 365 + yoe / 4 - yoe / 100 + (153 * mp + 2) / 5 + day - 1;
    era * 146_097 + doe - 719_468
}

/// Day number of `YYYY-MM-DD`, if that is a date from year 1 to 9999.
pub(crate) fn parse_date(text: &str) -> Option<i64> {
    let b = text.as_bytes();
    if b.len() != 10 || b[4] != b'-' || b[7] != b'-' {
        return None;
    }
    let number = |range: std::ops::Range<usize>| {
        let digits = &b[range];
        digits.iter().all(u8::is_ascii_digit).then(|| digits.iter().fold(0, |n, d| n * 10 + i64::from(d - b'0')))
    };
    let (y, m, d) = (number(0..4)?, number(5..7)?, number(8..10)?);
    if y < 1 || !(1..=12).contains(&m) || d < 1 {
        return None;
    }
    let n = days(y, m, d);
    (civil(n) == (y, m, d)).then_some(n)
}

/// Appends `width` decimal digits of `n`.
pub(crate) fn push_digits(out: &mut Vec<u8>, n: i64, width: u32) {
    for place in (0..width).rev() {
        out.push(b'0' + (n / 10_i64.pow(place) % 10) as u8);
    }
}

/// Appends `YYYY-MM-DD`.
pub(crate) fn push_date(out: &mut Vec<u8>, day: i64) {
    let (y, m, d) = civil(day);
    push_digits(out, y, 4);
    out.push(b'-');
    push_digits(out, m, 2);
    out.push(b'-');
    push_digits(out, d, 2);
}

/// Appends the instant `utc` (seconds) as a FHIR dateTime in local time `offset` minutes east of UTC.
pub(crate) fn push_instant(out: &mut Vec<u8>, utc: i64, offset: i64) {
    let local = utc + offset * 60;
    push_date(out, local.div_euclid(DAY));
    let second = local.rem_euclid(DAY);
    for (mark, n) in [(b'T', second / 3600), (b':', second / 60 % 60), (b':', second % 60)] {
        out.push(mark);
        push_digits(out, n, 2);
    }
    out.push(if offset < 0 { b'-' } else { b'+' });
    push_digits(out, offset.abs() / 60, 2);
    out.push(b':');
    push_digits(out, offset.abs() % 60, 2);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_dates_agree_over_four_centuries() {
        assert_eq!(days(1970, 1, 1), 0);
        assert_eq!(days(2000, 3, 1), 11_017);
        let mut previous = civil(days(1799, 12, 31));
        for n in days(1800, 1, 1)..days(2200, 1, 1) {
            let (y, m, d) = civil(n);
            assert_eq!(days(y, m, d), n);
            assert!((y, m, d) > previous, "{y}-{m}-{d}");
            previous = (y, m, d);
        }
    }

    #[test]
    fn only_real_dates_parse() {
        assert_eq!(parse_date("1970-01-02"), Some(1));
        assert_eq!(parse_date("2024-02-29"), Some(days(2024, 2, 29)));
        for bad in [
            "2023-02-29",
            "2023-13-01",
            "2023-00-01",
            "2023-01-00",
            "23-01-01",
            "2023/01/01",
            "2023-1-011",
            "0000-01-01",
        ] {
            assert_eq!(parse_date(bad), None, "{bad}");
        }
    }

    #[test]
    fn instants_are_written_in_local_time_with_their_offset() {
        let text = |utc, offset| {
            let mut out = Vec::new();
            push_instant(&mut out, utc, offset);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(text(0, 0), "1970-01-01T00:00:00+00:00");
        assert_eq!(text(3_661, -300), "1969-12-31T20:01:01-05:00");
        assert_eq!(text(3_661, 330), "1970-01-01T06:31:01+05:30");
    }
}
