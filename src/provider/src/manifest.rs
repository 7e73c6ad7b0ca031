//! `providers/NAME/provider.toml`: who pushes, from which sources, with which mapping.

use std::path::{Path, PathBuf};

use serde::Deserialize;

/// A provider's manifest. Paths are relative to the manifest's folder.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Name in the roster.
    pub name: String,
    /// Key file.
    #[serde(default = "default_key")]
    pub key: PathBuf,
    /// Domain pack.
    #[serde(default = "default_pack")]
    pub domain: PathBuf,
    /// Map from patient references to principals.
    #[serde(default = "default_owners")]
    pub owners: PathBuf,
    /// Files and folders pushed when the command names none.
    #[serde(default)]
    pub sources: Vec<PathBuf>,
    /// Mapping of CSV columns.
    #[serde(default)]
    pub mapping: Option<PathBuf>,
    /// Journal.
    #[serde(default = "default_journal")]
    pub journal: PathBuf,
    /// Rejects file.
    #[serde(default = "default_rejects")]
    pub rejects: PathBuf,
}

fn default_key() -> PathBuf {
    "member.key".into()
}
fn default_pack() -> PathBuf {
    "domain.json".into()
}
fn default_owners() -> PathBuf {
    "owners.ndjson".into()
}
fn default_journal() -> PathBuf {
    "push.state/journal.redb".into()
}
fn default_rejects() -> PathBuf {
    "rejects.ndjson".into()
}

/// Why a manifest could not be used.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("provider manifest {path}: {reason}")]
pub struct ManifestError {
    /// File.
    pub path: PathBuf,
    /// What is wrong.
    pub reason: String,
}

impl Manifest {
    /// Reads `DIR/provider.toml` and resolves its paths.
    pub fn read(dir: &Path) -> Result<Self, ManifestError> {
        let path = dir.join("provider.toml");
        let fail = |reason: String| ManifestError { path: path.clone(), reason };
        let text = std::fs::read_to_string(&path).map_err(|e| fail(e.to_string()))?;
        let mut manifest: Self = toml::from_str(&text).map_err(|e| fail(e.to_string()))?;
        let resolve = |p: &mut PathBuf| *p = dir.join(&*p);
        for p in [
            &mut manifest.key,
            &mut manifest.domain,
            &mut manifest.owners,
            &mut manifest.journal,
            &mut manifest.rejects,
        ] {
            resolve(p);
        }
        manifest.sources.iter_mut().for_each(resolve);
        manifest.mapping.iter_mut().for_each(resolve);
        Ok(manifest)
    }
}
