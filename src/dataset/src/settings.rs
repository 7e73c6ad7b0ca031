//! What to generate, read from TOML.

use std::{collections::HashSet, path::Path};

use serde::Deserialize;

use crate::calendar;

/// The settings `datasets/sample/` was made with; what a file leaves out is taken from here.
pub const DEFAULT_TOML: &str = include_str!("../../../datasets/default.toml");

/// Most hospitals: each keeps a buffer per resource type.
pub const MAX_PROVIDERS: u32 = 256;

/// Resources of one patient, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResourcesPerPatient {
    /// At least this many.
    pub min: u32,
    /// No further visit begins once this many are reached.
    pub max: u32,
}

/// What to generate. Read it with [`Settings::from_toml`] or start from [`Settings::default`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Same settings and seed, same bytes.
    pub seed: u64,
    /// Number of patients.
    pub patients: u32,
    /// Number of hospitals, each a folder.
    pub providers: u32,
    /// How much each patient has.
    pub resources_per_patient: ResourcesPerPatient,
    /// First day of the records, `YYYY-MM-DD`.
    pub since: String,
    /// Last day of the records, `YYYY-MM-DD`.
    pub until: String,
    /// Percent of patients seen by more than one hospital.
    pub shared_percent: u32,
    /// Percent of those that are seen by three.
    pub three_hospitals_percent: u32,
    /// Percent of patients born before 1920.
    pub born_before_1920_percent: u32,
    /// Percent of measured values with 12 to 16 fraction digits.
    pub long_decimals_percent: u32,
    /// Percent of blood pressures without unit.
    pub missing_units_percent: u32,
    /// Folder names, largest hospital first.
    pub hospitals: Vec<String>,
}

/// Why settings were refused.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("cannot read {path}: {reason}")]
    Read {
        /// File.
        path: String,
        /// Why.
        reason: String,
    },
    /// Not TOML, an unknown key, or a value of the wrong type; the text names the line and key.
    #[error("the generator settings do not parse: {0}")]
    Toml(String),
    /// A value that makes no sense.
    #[error("generator setting `{key}` {reason}")]
    Value {
        /// The offending key.
        key: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

fn refuse<T>(key: &'static str, reason: impl Into<String>) -> Result<T, SettingsError> {
    Err(SettingsError::Value { key, reason: reason.into() })
}

impl Default for Settings {
    #[allow(clippy::expect_used)] // the text is part of this crate and a test reads it
    fn default() -> Self {
        toml::from_str(DEFAULT_TOML).expect("datasets/default.toml is complete")
    }
}

impl Settings {
    /// Reads settings; keys that are left out keep their default.
    pub fn from_toml(text: &str) -> Result<Self, SettingsError> {
        let bad = |e: toml::de::Error| SettingsError::Toml(e.to_string().trim_end().to_owned());
        let mut table: toml::Table = toml::from_str(DEFAULT_TOML).map_err(bad)?;
        table.extend(toml::from_str::<toml::Table>(text).map_err(bad)?);
        let settings: Self = table.try_into().map_err(bad)?;
        settings.check()?;
        Ok(settings)
    }

    /// Reads settings from a file.
    pub fn read(path: &Path) -> Result<Self, SettingsError> {
        let text = std::fs::read_to_string(path)
            .map_err(|e| SettingsError::Read { path: path.display().to_string(), reason: e.to_string() })?;
        Self::from_toml(&text)
    }

    /// Checks every value; the error names the key. [`crate::generate`] does this itself.
    pub fn check(&self) -> Result<(), SettingsError> {
        self.window()?;
        if self.patients == 0 {
            return refuse("patients", "must be at least 1");
        }
        if !(1..=MAX_PROVIDERS).contains(&self.providers) {
            return refuse("providers", format!("must be 1 to {MAX_PROVIDERS}, not {}", self.providers));
        }
        let ResourcesPerPatient { min, max } = self.resources_per_patient;
        if min < 10 || max < min || max > 100_000 {
            return refuse("resources_per_patient", format!("needs 10 <= min <= max <= 100000, not {min} and {max}"));
        }
        for (key, percent) in [
            ("shared_percent", self.shared_percent),
            ("three_hospitals_percent", self.three_hospitals_percent),
            ("born_before_1920_percent", self.born_before_1920_percent),
            ("long_decimals_percent", self.long_decimals_percent),
            ("missing_units_percent", self.missing_units_percent),
        ] {
            if percent > 100 {
                return refuse(key, format!("is a percentage, 0 to 100, not {percent}"));
            }
        }
        let mut seen = HashSet::new();
        for name in self.hospital_names() {
            let ok = (1..=48).contains(&name.len())
                && name.split('-').all(|word| !word.is_empty())
                && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
            if !ok {
                let rule = "use lower-case letters and digits, words joined by single hyphens, at most 48 characters";
                return refuse("hospitals", format!("has the name {name:?}: {rule}"));
            }
            if !seen.insert(name.clone()) {
                return refuse("hospitals", format!("has the name {name:?} twice"));
            }
        }
        Ok(())
    }

    /// Folder names of all hospitals, in order.
    pub fn hospital_names(&self) -> impl Iterator<Item = String> + '_ {
        (0..self.providers as usize)
            .map(|i| self.hospitals.get(i).cloned().unwrap_or_else(|| format!("hospital-{}", i + 1)))
    }

    /// First and last day of the records, as day numbers.
    pub(crate) fn window(&self) -> Result<(i64, i64), SettingsError> {
        let day = |key, text: &str| match calendar::parse_date(text) {
            Some(day) if (calendar::days(1960, 1, 1)..calendar::days(2100, 1, 1)).contains(&day) => Ok(day),
            _ => refuse(key, format!("must be a date YYYY-MM-DD from 1960 to 2099, not {text:?}")),
        };
        let (since, until) = (day("since", &self.since)?, day("until", &self.until)?);
        if until < since + calendar::YEAR {
            return refuse("until", "must be at least a year after `since`");
        }
        Ok((since, until))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_fill_what_is_left_out() {
        assert_eq!(Settings::default().check(), Ok(()));
        assert_eq!(Settings::from_toml("").unwrap(), Settings::default());
        assert_eq!(Settings::from_toml("seed = 9").unwrap(), Settings { seed: 9, ..Settings::default() });
    }

    #[test]
    fn errors_name_the_key() {
        for (text, key) in [
            ("patients = 0", "patients"),
            ("providers = 0", "providers"),
            ("providers = 257", "providers"),
            ("resources_per_patient = { min = 9, max = 20 }", "resources_per_patient"),
            ("resources_per_patient = { min = 30, max = 20 }", "resources_per_patient"),
            ("since = \"2012-02-30\"", "since"),
            ("until = \"soon\"", "until"),
            ("until = \"2012-06-01\"", "until"),
            ("shared_percent = 101", "shared_percent"),
            ("three_hospitals_percent = 101", "three_hospitals_percent"),
            ("born_before_1920_percent = 101", "born_before_1920_percent"),
            ("long_decimals_percent = 101", "long_decimals_percent"),
            ("missing_units_percent = 101", "missing_units_percent"),
            ("hospitals = [\"../up\"]", "hospitals"),
            ("hospitals = [\"St Anne\"]", "hospitals"),
            ("hospitals = [\"a--b\"]", "hospitals"),
            ("hospitals = [\"twice\", \"twice\"]", "hospitals"),
            ("hospitals = [\"hospital-2\"]", "hospitals"),
        ] {
            match Settings::from_toml(text) {
                Err(SettingsError::Value { key: k, .. }) => assert_eq!(k, key, "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
        for text in ["patient = 3", "patients = \"many\"", "resources_per_patient = { min = 20 }"] {
            let key = text.split(' ').next().unwrap();
            let message = Settings::from_toml(text).unwrap_err().to_string();
            assert!(message.contains(key) || message.contains("max"), "{message}");
        }
    }

    #[test]
    fn names_beyond_the_list_are_numbered() {
        let s = Settings { providers: 3, hospitals: vec!["a".into()], ..Settings::default() };
        assert_eq!(s.hospital_names().collect::<Vec<_>>(), ["a", "hospital-2", "hospital-3"]);
    }
}
