//! Synthetic FHIR R4 records for demonstrations, tests and benchmarks.
//!
//! [`generate`] writes one folder per hospital with one NDJSON file per resource type, and a
//! `MANIFEST.json`. The same [`Settings`] give the same bytes on every platform; patient number *n*
//! of a seed does not depend on how many patients are made.
//!
//! - A clinical resource lies in exactly one hospital and refers only to resources of that folder.
//! - A Patient repeats, byte for byte, in each hospital that saw it; a shared Organization or
//!   Practitioner in each that refers to it.
//! - Codes are real (SNOMED CT, LOINC, RxNorm, CVX), people are not: social security numbers begin
//!   with 999, which is never issued.
//! - Values go with conditions (a diabetic has a higher HbA1c), so that queries find what they should.
//! - Real data's traps are in it: 16 fraction digits, one code under two units, components without
//!   a unit, codes without a system, several time offsets, births before 1920, names beyond ASCII.
//!
//! Nothing here is random enough to hide anything: it is for test data only.

mod calendar;
mod codes;
mod course;
mod hospital;
mod json;
mod manifest;
mod measurements;
mod names;
mod person;
mod random;
mod settings;
mod sink;

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use course::Course;
use hospital::World;
pub use manifest::{GENERATOR, HospitalEntry, Manifest};
use person::Person;
use random::{Random, Stream};
pub use settings::{DEFAULT_TOML, MAX_PROVIDERS, ResourcesPerPatient, Settings, SettingsError};
use sink::{Kind, Sink};

/// Name of the manifest within a data set.
pub const MANIFEST: &str = "MANIFEST.json";

/// Why no data set was written.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum DatasetError {
    /// The settings make no sense.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// There is something already.
    #[error("{path} is not empty: name a new folder, or remove what is there")]
    NotEmpty {
        /// Folder.
        path: PathBuf,
    },
    /// The file system refused.
    #[error("{path}: {reason}")]
    Io {
        /// File or folder.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

impl DatasetError {
    fn io(path: &Path, e: &io::Error) -> Self {
        Self::Io { path: path.to_owned(), reason: e.to_string() }
    }
}

/// Writes a data set to the folder `out`, which must be empty or absent. Calls `progress` with the
/// number of patients done after each. Memory does not grow with the number of patients.
///
/// # Errors
/// Settings that make no sense, a folder with something in it, and failures of the file system. What
/// was written by then stays, without a manifest.
pub fn generate(settings: &Settings, out: &Path, progress: &mut dyn FnMut(u64)) -> Result<Manifest, DatasetError> {
    settings.check()?;
    let window = settings.window()?;
    let mut world = World::new(settings);
    let mut sink = Sink::create(out, world.hospitals.iter().map(|h| (h.folder.clone(), h.offset)))?;
    let mut by_hospitals = BTreeMap::new();
    for index in 0..u64::from(settings.patients) {
        let mut random = Random::new(settings.seed, Stream::Patient(index));
        let (person, days) = Person::draw(index, settings, window, &mut random);
        let onsets = person.onsets(days.1, &mut random);
        let hospitals = seen_by(index, settings, &world, &mut random);
        *by_hospitals.entry(hospitals.len() as u32).or_insert(0) += 1;
        Course { settings, world: &mut world, sink: &mut sink, random, person, onsets, hospitals, days, visits: 0 }
            .write()?;
        progress(index + 1);
    }
    world.write(&mut sink)?;
    sink.finish()?;
    let manifest = manifest(settings, &world, &sink, by_hospitals);
    write_manifest(&manifest, out)?;
    Ok(manifest)
}

/// The hospitals a patient goes to, the usual one first. The first patients go round, so that no
/// hospital is without any.
fn seen_by(index: u64, settings: &Settings, world: &World, random: &mut Random) -> Vec<usize> {
    let all = world.hospitals.len();
    let any = world.any_hospital(random);
    let home = if index < all as u64 { index as usize } else { any };
    let several = random.percent(settings.shared_percent);
    let three = random.percent(settings.three_hospitals_percent);
    let wanted = if several { 2 + usize::from(three) } else { 1 };
    let mut out = vec![home];
    while out.len() < wanted.min(all) {
        let next = world.any_hospital(random);
        // Looks on from a hospital that is taken, so that this ends.
        if let Some(free) = (0..all).map(|i| (next + i) % all).find(|h| !out.contains(h)) {
            out.push(free);
        }
    }
    out
}

fn manifest(settings: &Settings, world: &World, sink: &Sink, by_hospitals: BTreeMap<u32, u64>) -> Manifest {
    let hospitals = world.hospitals.iter().enumerate().map(|(i, h)| HospitalEntry {
        name: h.folder.clone(),
        organizations: h.units.iter().map(ToString::to_string).collect(),
        resources: Kind::ALL
            .iter()
            .map(|k| (k.name().to_owned(), sink.lines(i, *k)))
            .filter(|(_, lines)| *lines > 0)
            .collect(),
    });
    Manifest {
        generator: GENERATOR,
        seed: settings.seed,
        since: settings.since.clone(),
        until: settings.until.clone(),
        patients: u64::from(settings.patients),
        patients_by_hospitals: by_hospitals,
        resources: sink.lines,
        bytes: sink.bytes,
        hospitals: hospitals.collect(),
    }
}

fn write_manifest(manifest: &Manifest, out: &Path) -> Result<(), DatasetError> {
    let path = out.join(MANIFEST);
    let failed = |e: io::Error| DatasetError::io(&path, &e);
    let mut text = serde_json::to_string_pretty(manifest).map_err(|e| failed(e.into()))?;
    text.push('\n');
    fs::write(&path, text).map_err(failed)
}
