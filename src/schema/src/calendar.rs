//! Dates and instants of FHIR: partial dates, offsets, exact fractions; proleptic Gregorian.

/// Why a text is no date or instant.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum CalendarError {
    /// Not of the form `YYYY[-MM[-DD]]`.
    #[error("not a date of the form YYYY, YYYY-MM or YYYY-MM-DD")]
    Date,
    /// Not of the form `YYYY-MM-DDThh:mm:ss[.fff](Z|±hh:mm)` or a date.
    #[error("not a dateTime: YYYY-MM-DDThh:mm:ss with Z or ±hh:mm, or a date")]
    Instant,
}

/// An instant: Unix seconds and the fraction in units of 10⁻¹⁸ s. Ordered in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant {
    /// Seconds since 1970-01-01T00:00:00Z, rounded down.
    pub seconds: i64,
    /// Fraction of the second, 10⁻¹⁸ s.
    pub atto: u64,
}

/// Days from 0001-01-01 to 1970-01-01.
const UNIX_DAY: i64 = 719_162;

/// Days since 0001-01-01 of a valid date; `None` otherwise. Years 1 to 9999.
pub fn day_of_date(year: u32, month: u32, day: u32) -> Option<u32> {
    let leap = |y: u32| y.is_multiple_of(4) && (!y.is_multiple_of(100) || y.is_multiple_of(400));
    let lengths = [31, if leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let length = *lengths.get(month.checked_sub(1)? as usize)?;
    if !(1..=9999).contains(&year) || !(1..=length).contains(&day) {
        return None;
    }
    let y = year - 1;
    let before: u32 = lengths[..month as usize - 1].iter().sum();
    Some(y * 365 + y / 4 - y / 100 + y / 400 + before + day - 1)
}

/// First day of a full or partial date, in days since 0001-01-01.
pub fn date_to_day(text: &str) -> Result<u32, CalendarError> {
    let number = |s: &str, width: usize| {
        (s.len() == width && s.bytes().all(|b| b.is_ascii_digit()))
            .then(|| s.parse::<u32>().ok())
            .flatten()
            .ok_or(CalendarError::Date)
    };
    let mut parts = text.split('-');
    let year = number(parts.next().unwrap_or_default(), 4)?;
    let month = parts.next().map_or(Ok(1), |p| number(p, 2))?;
    let day = parts.next().map_or(Ok(1), |p| number(p, 2))?;
    if parts.next().is_some() {
        return Err(CalendarError::Date);
    }
    day_of_date(year, month, day).ok_or(CalendarError::Date)
}

impl Instant {
    /// The start of a full or partial dateTime, in UTC. A text without an offset is taken as UTC.
    pub fn parse(text: &str) -> Result<Self, CalendarError> {
        let Some((date, time)) = text.split_once('T') else {
            let day = date_to_day(text).map_err(|_| CalendarError::Instant)?;
            return Ok(Self { seconds: (i64::from(day) - UNIX_DAY) * 86_400, atto: 0 });
        };
        if date.len() != 10 {
            return Err(CalendarError::Instant);
        }
        let day = date_to_day(date).map_err(|_| CalendarError::Instant)?;
        let (clock, offset) = split_offset(time).ok_or(CalendarError::Instant)?;
        let (second, atto) = parse_clock(clock).ok_or(CalendarError::Instant)?;
        Ok(Self { seconds: (i64::from(day) - UNIX_DAY) * 86_400 + second - offset, atto })
    }
}

/// The stretch of time that a full or partial dateTime names: as long as its last part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its first instant.
    pub from: Instant,
    /// The first instant after it.
    pub until: Instant,
}

/// Attoseconds in a second.
const SECOND: u64 = 1_000_000_000_000_000_000;

impl Span {
    /// Of `2018`, `2018-06`, `2018-06-11`, `2018-06-11T10:00`, with seconds, with a fraction. A text without
    /// an offset is taken as UTC.
    pub fn parse(text: &str) -> Result<Self, CalendarError> {
        let from = Instant::parse(text)?;
        let after = |seconds: i64| Instant { seconds: from.seconds + seconds, atto: 0 };
        let until = match text.split_once('T') {
            None => after(i64::from(days_in(text)) * 86_400),
            Some((_, time)) => {
                let clock = split_offset(time).ok_or(CalendarError::Instant)?.0;
                match clock.split_once('.') {
                    None => after(if clock.matches(':').count() < 2 { 60 } else { 1 }),
                    Some((_, fraction)) => {
                        let unit = 10_u64.pow(18 - u32::try_from(fraction.len().min(18)).unwrap_or(18));
                        match from.atto + unit {
                            SECOND => after(1),
                            atto => Instant { seconds: from.seconds, atto },
                        }
                    }
                }
            }
        };
        Ok(Self { from, until })
    }
}

/// Days of a valid full or partial date.
fn days_in(date: &str) -> u32 {
    let next = match (date.len(), date.get(..4).and_then(|y| y.parse::<u32>().ok()), date.get(5..7)) {
        (4, Some(year), _) => day_of_date(year + 1, 1, 1).or_else(|| day_of_date(year, 12, 31).map(|d| d + 1)),
        (7, Some(year), Some("12")) => day_of_date(year, 12, 31).map(|d| d + 1),
        (7, Some(year), Some(month)) => month.parse().ok().and_then(|m: u32| day_of_date(year, m + 1, 1)),
        _ => None,
    };
    next.zip(date_to_day(date).ok()).map_or(1, |(next, first)| next - first)
}

fn two(text: &str, below: i64) -> Option<i64> {
    if text.len() != 2 || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|n| *n < below)
}

fn split_offset(time: &str) -> Option<(&str, i64)> {
    if let Some(clock) = time.strip_suffix(['Z', 'z']) {
        return Some((clock, 0));
    }
    let Some(at) = time.rfind(['+', '-']) else { return Some((time, 0)) };
    let (hours, minutes) = time[at + 1..].split_once(':')?;
    let offset = two(hours, 15)? * 3600 + two(minutes, 60)? * 60;
    Some((&time[..at], if time.as_bytes()[at] == b'-' { -offset } else { offset }))
}

fn parse_clock(clock: &str) -> Option<(i64, u64)> {
    let (clock, fraction) = clock.split_once('.').map_or((clock, None), |(c, f)| (c, Some(f)));
    let mut parts = clock.split(':');
    let (hour, minute) = (two(parts.next()?, 25)?, two(parts.next()?, 60)?);
    // A leap second counts as the first second of the next minute, as Unix time does.
    let second = parts.next().map_or(Some(0), |s| two(s, 61))?;
    if parts.next().is_some() || hour == 24 && (minute, second) != (0, 0) {
        return None;
    }
    let atto = match fraction {
        None => 0,
        Some(f) if !f.is_empty() && f.bytes().all(|b| b.is_ascii_digit()) => {
            format!("{:0<18}", &f[..f.len().min(18)]).parse().ok()?
        }
        Some(_) => return None,
    };
    if hour == 24 && atto != 0 {
        return None;
    }
    Some((hour * 3600 + minute * 60 + second, atto))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: &str) -> (i64, u64) {
        let i = Instant::parse(s).unwrap();
        (i.seconds, i.atto)
    }

    #[test]
    fn offsets_fractions_and_partial_dates() {
        assert_eq!(at("1970-01-01T00:00:00Z"), (0, 0));
        assert_eq!(at("1970-01-01T02:00:00+02:00"), (0, 0));
        assert_eq!(at("1969-12-31T19:00:00.25-05:00"), (0, 250_000_000_000_000_000));
        assert_eq!(at("2018"), at("2018-01-01T00:00:00Z"));
        assert_eq!(at("2018-06"), at("2018-06-01"));
        assert_eq!(at("2020-03-27T00:14:49+00:00").0, 1_585_268_089);
        assert_eq!(at("2018-06-11T24:00:00Z"), at("2018-06-12"));
        assert!(at("1889-12-31").0 < 0);
    }

    #[test]
    fn a_span_is_as_long_as_its_last_part() {
        for (text, until) in [
            ("2018", "2019"),
            ("9999", "9999-12-31T24:00:00Z"),
            ("2018-12", "2019-01"),
            ("2020-02", "2020-03-01"),
            ("2018-06-11", "2018-06-12"),
            ("2018-06-11T10:00Z", "2018-06-11T10:01:00Z"),
            ("2018-06-11T10:00:59+02:00", "2018-06-11T08:01:00Z"),
            ("2018-06-11T10:00:59.9Z", "2018-06-11T10:01:00Z"),
            ("2018-06-11T10:00:59.25Z", "2018-06-11T10:00:59.26Z"),
        ] {
            let span = Span::parse(text).unwrap();
            assert_eq!(span.from, Instant::parse(text).unwrap());
            assert_eq!(span.until, Instant::parse(until).unwrap(), "{text}");
        }
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for bad in
            ["", "18", "2018-13", "2018-02-30", "1900-02-29", "2018-6-1", "2018-06-11-01", "0000-01-01", "2018-06-1x"]
        {
            assert_eq!(date_to_day(bad), Err(CalendarError::Date), "{bad}");
        }
        for bad in [
            "2018-06T10:00:00Z",
            "2018-06-11T25:00:00Z",
            "2018-06-11T24:00:00.5Z",
            "2018-06-11T10:00:00+2:00",
            "2018-06-11T10:61:00Z",
            "2018-06-11T10:00:00.Z",
            "2018-06-11T",
            "T",
        ] {
            assert_eq!(Instant::parse(bad), Err(CalendarError::Instant), "{bad}");
        }
        assert_eq!(date_to_day("2000-02-29"), Ok(730_178));
    }
}
