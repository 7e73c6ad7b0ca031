//! Output: one NDJSON file per hospital and resource type, written in pieces.
//!
//! A file is opened only to append a full buffer, so neither memory nor open files grow with the
//! number of patients, and hospitals are bounded by [`crate::settings::MAX_PROVIDERS`].

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
};

use crate::{DatasetError, json::Json};

/// Resource types, in the order of the manifest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    AllergyIntolerance,
    CarePlan,
    Condition,
    DiagnosticReport,
    Encounter,
    Immunization,
    MedicationRequest,
    Observation,
    Organization,
    Patient,
    Practitioner,
    Procedure,
}

impl Kind {
    pub(crate) const ALL: [Self; 12] = [
        Self::AllergyIntolerance,
        Self::CarePlan,
        Self::Condition,
        Self::DiagnosticReport,
        Self::Encounter,
        Self::Immunization,
        Self::MedicationRequest,
        Self::Observation,
        Self::Organization,
        Self::Patient,
        Self::Practitioner,
        Self::Procedure,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::AllergyIntolerance => "AllergyIntolerance",
            Self::CarePlan => "CarePlan",
            Self::Condition => "Condition",
            Self::DiagnosticReport => "DiagnosticReport",
            Self::Encounter => "Encounter",
            Self::Immunization => "Immunization",
            Self::MedicationRequest => "MedicationRequest",
            Self::Observation => "Observation",
            Self::Organization => "Organization",
            Self::Patient => "Patient",
            Self::Practitioner => "Practitioner",
            Self::Procedure => "Procedure",
        }
    }
}

const BUFFER: usize = 48 << 10;

#[derive(Default)]
struct File {
    pending: Vec<u8>,
    lines: u64,
    bytes: u64,
}

struct Folder {
    path: PathBuf,
    /// Minutes east of UTC that this hospital's systems are set to.
    offset: i64,
    files: [File; Kind::ALL.len()],
}

/// All files of a data set.
pub(crate) struct Sink {
    folders: Vec<Folder>,
    pub(crate) lines: u64,
    pub(crate) bytes: u64,
}

impl Sink {
    /// Makes `out` and a folder per hospital (name, time offset) in it. `out` must be empty or absent.
    pub(crate) fn create(out: &Path, hospitals: impl Iterator<Item = (String, i64)>) -> Result<Self, DatasetError> {
        fs::create_dir_all(out).map_err(|e| DatasetError::io(out, &e))?;
        if fs::read_dir(out).map_err(|e| DatasetError::io(out, &e))?.next().is_some() {
            return Err(DatasetError::NotEmpty { path: out.to_owned() });
        }
        let mut folders = Vec::new();
        for (name, offset) in hospitals {
            let path = out.join(name);
            fs::create_dir(&path).map_err(|e| DatasetError::io(&path, &e))?;
            folders.push(Folder { path, offset, files: Default::default() });
        }
        Ok(Self { folders, lines: 0, bytes: 0 })
    }

    /// Writes one resource as a line of its hospital's file.
    pub(crate) fn write(
        &mut self,
        hospital: usize,
        kind: Kind,
        fill: impl FnOnce(&mut Json<'_>),
    ) -> Result<(), DatasetError> {
        let folder = &mut self.folders[hospital];
        let file = &mut folder.files[kind as usize];
        let before = file.pending.len();
        Json::new(&mut file.pending, folder.offset).item(|j| {
            j.text("resourceType", kind.name());
            fill(j);
        });
        file.pending.push(b'\n');
        file.lines += 1;
        self.lines += 1;
        let written = (file.pending.len() - before) as u64;
        file.bytes += written;
        self.bytes += written;
        if file.pending.len() >= BUFFER { flush(&folder.path, kind, file) } else { Ok(()) }
    }

    /// Writes what is pending.
    pub(crate) fn finish(&mut self) -> Result<(), DatasetError> {
        for folder in &mut self.folders {
            for kind in Kind::ALL {
                flush(&folder.path, kind, &mut folder.files[kind as usize])?;
            }
        }
        Ok(())
    }

    /// Lines of one file so far.
    pub(crate) fn lines(&self, hospital: usize, kind: Kind) -> u64 {
        self.folders[hospital].files[kind as usize].lines
    }
}

fn flush(folder: &Path, kind: Kind, file: &mut File) -> Result<(), DatasetError> {
    if file.pending.is_empty() {
        return Ok(());
    }
    let path = folder.join(format!("{}.ndjson", kind.name()));
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .and_then(|mut f| f.write_all(&file.pending))
        .map_err(|e| DatasetError::io(&path, &e))?;
    file.pending.clear();
    Ok(())
}
