//! The wall clock, in the units of the wire.

use std::{str::FromStr, time::Duration};

/// Unix time, milliseconds.
pub fn now_ms() -> u64 {
    crate::edge::now_ms()
}

/// Unix time, seconds.
pub fn now_s() -> u64 {
    now_ms() / 1000
}

/// How often something is done; `None`: only when asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Every(pub Option<Duration>);

impl FromStr for Every {
    type Err = String;

    /// A number and s, m, h or d; or `never`.
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "never" {
            return Ok(Self(None));
        }
        let unit = [("s", 1), ("m", 60), ("h", 3600), ("d", 86_400)].into_iter().find(|(u, _)| text.ends_with(u));
        let seconds = unit.and_then(|(u, factor)| text.strip_suffix(u)?.parse::<u64>().ok()?.checked_mul(factor));
        match seconds {
            Some(seconds @ 1..=31_536_000) => Ok(Self(Some(Duration::from_secs(seconds)))),
            _ => Err("give a number and a unit, such as 30m, 1h or 1d (1s to 365d), or never".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_a_number_and_a_unit() {
        let every = |text: &str| text.parse::<Every>().ok().and_then(|e| e.0).map(|d| d.as_secs());
        assert_eq!(["30s", "5m", "1h", "2d"].map(every), [Some(30), Some(300), Some(3600), Some(172_800)]);
        assert_eq!(["0s", "h", "1", "-1h", "1w", "366d", "99999999999999999999d"].map(every), [None; 7]);
        assert_eq!("never".parse(), Ok(Every(None)));
    }
}
