//! `MANIFEST.json`: what a data set holds. Written last, so that a set without one is incomplete.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Version of the bytes a seed stands for; grows whenever any of them would change.
pub const GENERATOR: u32 = 1;

/// What was generated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`GENERATOR`] that wrote it.
    pub generator: u32,
    /// Seed.
    pub seed: u64,
    /// First day of the records.
    pub since: String,
    /// Last day of the records.
    pub until: String,
    /// Number of patients, each counted once.
    pub patients: u64,
    /// How many patients were seen by 1, 2 and 3 hospitals.
    pub patients_by_hospitals: BTreeMap<u32, u64>,
    /// Lines over all files.
    pub resources: u64,
    /// Bytes over all files.
    pub bytes: u64,
    /// The hospitals, in the order of the settings.
    pub hospitals: Vec<HospitalEntry>,
}

/// One hospital's folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HospitalEntry {
    /// Folder name, which is also the provider's name.
    pub name: String,
    /// Ids of its own Organizations: the hospital, its outpatient clinic, its emergency centre.
    pub organizations: Vec<String>,
    /// Lines per resource type.
    pub resources: BTreeMap<String, u64>,
}
