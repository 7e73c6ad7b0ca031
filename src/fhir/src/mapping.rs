//! From CSV rows to records.

use std::path::{Path, PathBuf};

use serde::Deserialize;

/// The mapping of the tabular example, UCI "Diabetes 130-US hospitals".
pub const DIABETES130_MAPPING: &str = include_str!("../../../providers/diabetes130/diabetes130.toml");

/// How rows become records.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    /// Record type.
    pub record_type: String,
    /// Column that identifies a row.
    pub id: String,
    /// Column that names the patient.
    pub owner: String,
    /// Cells that mean "no value".
    #[serde(default)]
    pub missing: Vec<String>,
    /// Columns of numbers; the others are text.
    #[serde(default)]
    pub numbers: Vec<String>,
}

/// Why a mapping was refused.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("mapping {place}: {reason}")]
pub struct MappingError {
    /// File, or "text".
    pub place: PathBuf,
    /// What is wrong.
    pub reason: String,
}

impl Mapping {
    /// Reads a mapping.
    pub fn parse(toml: &str) -> Result<Self, MappingError> {
        let fail = |reason: String| MappingError { place: "text".into(), reason };
        let mapping: Self = toml::from_str(toml).map_err(|e| fail(e.to_string()))?;
        let name = &mapping.record_type;
        if !name.starts_with(|c: char| c.is_ascii_uppercase()) || !name.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(fail(format!("record_type \"{name}\" must be letters and digits and begin with a capital")));
        }
        Ok(mapping)
    }

    /// Reads a mapping file; `diabetes130` is the one that ships with the program.
    pub fn read(path: &Path) -> Result<Self, MappingError> {
        if path == Path::new("diabetes130") {
            return Self::parse(DIABETES130_MAPPING);
        }
        let fail = |reason: String| MappingError { place: path.into(), reason };
        let text = std::fs::read_to_string(path).map_err(|e| fail(e.to_string()))?;
        Self::parse(&text).map_err(|e| fail(e.reason))
    }
}
