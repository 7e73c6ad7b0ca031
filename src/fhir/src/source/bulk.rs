//! Bulk Data manifests: of `$import` (`input`) and of `$export` (`output`), with files beside them.

use std::{
    fs,
    io::Read as _,
    path::{Component, Path, PathBuf},
};

use serde_json::Value as Json;

use super::Input;
use crate::record::legal_type;

/// Largest manifest, bytes.
const MAX_FILE: u64 = 16 << 20;
/// Formats of files, as manifests name NDJSON.
const NDJSON: [&str; 3] = ["application/fhir+ndjson", "application/ndjson", "ndjson"];

/// A manifest's files, all of them there and inside its folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BulkManifest {
    /// Files, in the manifest's order.
    pub files: Vec<BulkFile>,
    /// What it lists beside records (deletions, errors of an export), with the reason it is not read.
    pub passed_over: Vec<(PathBuf, String)>,
}

/// One file of records of one type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BulkFile {
    /// File, NDJSON whatever its name.
    pub path: PathBuf,
    /// Resource type of each of its lines.
    pub resource_type: String,
}

/// Why a manifest was refused.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("Bulk Data manifest {path}{}: {reason}", place.as_ref().map(|p| format!(", {p}")).unwrap_or_default())]
pub struct BulkError {
    /// The manifest.
    pub path: PathBuf,
    /// Which entry, such as `input[2]`.
    pub place: Option<String>,
    /// What is wrong.
    pub reason: String,
}

impl BulkManifest {
    /// Reads a manifest and finds its files. Nothing of them is read yet.
    pub fn read(path: &Path) -> Result<Self, BulkError> {
        let fail = |reason: String| BulkError { path: path.into(), place: None, reason };
        let mut text = Vec::new();
        let file = fs::File::open(path).map_err(|e| fail(e.to_string()))?;
        file.take(MAX_FILE + 1).read_to_end(&mut text).map_err(|e| fail(e.to_string()))?;
        if text.len() as u64 > MAX_FILE {
            return Err(fail(format!("it is larger than {MAX_FILE} bytes")));
        }
        let json: Json = serde_json::from_slice(text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&text))
            .map_err(|e| fail(format!("not JSON: line {}, column {}", e.line(), e.column())))?;
        check_format(&json).map_err(fail)?;
        let list = match (json.get("input"), json.get("output")) {
            (Some(_), None) => "input",
            (None, Some(_)) => "output",
            (Some(_), Some(_)) => return Err(fail("it has both \"input\" and \"output\"".into())),
            (None, None) => return Err(fail("it has neither \"input\" ($import) nor \"output\" ($export)".into())),
        };
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let folder = folder.canonicalize().map_err(|e| fail(e.to_string()))?;
        let entries = json[list].as_array().ok_or_else(|| fail(format!("\"{list}\" is not a list")))?;
        let file = |(i, entry): (usize, &Json)| {
            let place = Some(format!("{list}[{i}]"));
            listed(entry, &folder).map_err(|reason| BulkError { path: path.into(), place, reason })
        };
        let files = entries.iter().enumerate().map(file).collect::<Result<_, _>>()?;
        Ok(Self { files, passed_over: passed_over(&json, path) })
    }

    /// What to push.
    pub fn inputs(self) -> Vec<Input> {
        self.files.into_iter().map(|f| Input::OfType { path: f.path, resource_type: f.resource_type.into() }).collect()
    }
}

fn check_format(json: &Json) -> Result<(), String> {
    if !json.is_object() {
        return Err("not a JSON object".into());
    }
    for name in ["inputFormat", "outputFormat"] {
        match json.get(name) {
            None => {}
            Some(Json::String(format)) if NDJSON.contains(&format.as_str()) => {}
            Some(other) => return Err(format!("\"{name}\" is {other}; read is \"{}\" only", NDJSON[0])),
        }
    }
    if json.get("input").is_some() && json.get("inputFormat").is_none() {
        return Err("\"inputFormat\" is missing".into());
    }
    Ok(())
}

/// Deletions and errors of an export: files of other things, named so that nobody takes them for done.
fn passed_over(json: &Json, path: &Path) -> Vec<(PathBuf, String)> {
    let mut out = Vec::new();
    for (list, reason) in [("deleted", "it lists deletions, which are not carried out"), ("error", "it lists errors")] {
        for entry in json.get(list).and_then(Json::as_array).into_iter().flatten() {
            out.push((entry["url"].as_str().map_or(path.into(), PathBuf::from), reason.to_owned()));
        }
    }
    out
}

fn listed(entry: &Json, folder: &Path) -> Result<BulkFile, String> {
    let text = |name: &str| entry.get(name).and_then(Json::as_str).ok_or(format!("no text as \"{name}\""));
    let (resource_type, url) = (text("type")?, text("url")?);
    if !legal_type(resource_type) {
        return Err(format!("\"{resource_type}\" is no resource type"));
    }
    let path = locate(url, folder).map_err(|reason| format!("{url}: {reason}"))?;
    Ok(BulkFile { path, resource_type: resource_type.into() })
}

/// The file a URL names: relative to the folder, or `file:` with a path in it.
fn locate(url: &str, folder: &Path) -> Result<PathBuf, String> {
    let escapes = || "it lies outside the manifest's folder".to_owned();
    let relative = match scheme(url) {
        None => url,
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("file") => match rest.strip_prefix("//") {
            None => rest,
            Some(rest) => {
                let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
                if !host.is_empty() && !host.eq_ignore_ascii_case("localhost") {
                    return Err(format!("it names another machine, \"{host}\""));
                }
                path
            }
        },
        Some((scheme, _)) => {
            return Err(format!(
                "\"{scheme}:\" is not fetched: download the file beside the manifest and name it there"
            ));
        }
    };
    if relative.starts_with("//") {
        return Err("it names another machine".into());
    }
    if relative.contains(['?', '#']) {
        return Err("a file has no query and no fragment: write '?' as %3F, '#' as %23".into());
    }
    let path = PathBuf::from(decoded(relative).ok_or("a '%' in it is not followed by two hexadecimal digits")?);
    // `..` is refused even where it would come back: whoever writes it means to leave.
    if path.components().any(|c| matches!(c, Component::ParentDir)) {
        return Err(escapes());
    }
    // Links are followed before the folder is compared.
    let found = folder.join(&path).canonicalize().map_err(|e| e.to_string())?;
    if !found.starts_with(folder) {
        return Err(escapes());
    }
    if found.is_file() { Ok(found) } else { Err("not a file".into()) }
}

/// `scheme` and what follows the colon, if the URL has one.
fn scheme(url: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = url.split_once(':')?;
    let legal = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    legal.then_some((scheme, rest))
}

/// Percent-decoded; `None` if that is no text, or holds a NUL.
fn decoded(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        if byte == b'%' {
            let (pair, tail) = tail.split_at_checked(2)?;
            let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
            out.push(digit(pair[0])? * 16 + digit(pair[1])?);
            rest = tail;
        } else {
            out.push(byte);
            rest = tail;
        }
    }
    String::from_utf8(out).ok().filter(|t| !t.contains('\0'))
}
