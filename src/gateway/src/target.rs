//! What a path below the base names.

use crate::outcome::Outcome;

/// What a request is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The base itself: batch, or a search over types.
    System {
        /// Called as `_search`.
        search: bool,
    },
    /// `metadata`.
    Metadata,
    /// `.well-known/smart-configuration`.
    Smart,
    /// `auth/token`.
    Token,
    /// `Type` or `Type/_search`.
    Type {
        /// Resource type.
        kind: String,
        /// Called as `_search`.
        search: bool,
    },
    /// `Type/ID`.
    Instance {
        /// Resource type.
        kind: String,
        /// Logical id.
        id: String,
    },
    /// `Type/ID/_history/VID`.
    Version {
        /// Resource type.
        kind: String,
        /// Logical id.
        id: String,
        /// Version id.
        version: String,
    },
    /// `Patient/ID/Observation` or `Patient/ID/*`.
    Compartment {
        /// Type of the compartment.
        of: String,
        /// Its logical id.
        id: String,
        /// Type asked for; none for `*`.
        kind: Option<String>,
        /// Called as `_search`.
        search: bool,
    },
    /// `$name`, `Type/$name`, `Type/ID/$name`.
    Operation {
        /// Type and id it is called on.
        on: Vec<String>,
        /// Name without `$`.
        name: String,
    },
    /// `_export/status/TOKEN`.
    ExportStatus(String),
    /// `_export/file/TOKEN`.
    ExportFile(String),
    /// `_history` of the system, a type or an instance.
    History,
}

/// A logical id of FHIR: 1 to 64 of letters, digits, `-` and `.`.
pub fn legal_id(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
}

fn id_of(kind: &str, id: &str) -> Result<String, Outcome> {
    if legal_id(id) {
        Ok(id.to_owned())
    } else {
        Err(Outcome::invalid(format!("{id:?} is no id of a {kind}: ids are 1 to 64 letters, digits, - and .")))
    }
}

impl Target {
    /// Reads decoded path segments. `known` tells resource types.
    ///
    /// # Errors
    /// 404 for what is no path of a FHIR server, 400 for an id that is none.
    pub fn parse(segments: &[String], known: &impl Fn(&str) -> bool) -> Result<Self, Outcome> {
        let parts: Vec<&str> = segments.iter().map(String::as_str).collect();
        let kind = |name: &str| {
            if known(name) {
                return Ok(name.to_owned());
            }
            let text = format!("{name:?} is no resource type of FHIR R4; GET metadata lists what this server has");
            Err(Outcome { issues: vec![crate::outcome::Issue::error("not-supported", text)], ..Outcome::not_found("") })
        };
        Ok(match parts.as_slice() {
            [] => Self::System { search: false },
            ["_search"] => Self::System { search: true },
            ["metadata"] => Self::Metadata,
            [".well-known", "smart-configuration"] => Self::Smart,
            ["auth", "token"] => Self::Token,
            ["_export", "status", token] => Self::ExportStatus((*token).to_owned()),
            ["_export", "file", token] => Self::ExportFile((*token).to_owned()),
            [on @ .., name] if name.starts_with('$') && on.len() <= 2 => {
                if let Some(first) = on.first() {
                    kind(first)?;
                }
                if let [of, id] = on {
                    id_of(of, id)?;
                }
                Self::Operation { on: on.iter().map(|s| (*s).to_owned()).collect(), name: name[1..].to_owned() }
            }
            ["_history"] => Self::History,
            [name] => Self::Type { kind: kind(name)?, search: false },
            [name, "_search"] => Self::Type { kind: kind(name)?, search: true },
            [name, "_history"] => kind(name).map(|_| Self::History)?,
            [name, id] => Self::Instance { kind: kind(name)?, id: id_of(name, id)? },
            [name, id, "_history"] => kind(name).and_then(|k| id_of(&k, id)).map(|_| Self::History)?,
            [name, id, "_history", version] => {
                Self::Version { kind: kind(name)?, id: id_of(name, id)?, version: (*version).to_owned() }
            }
            [name, id, inner] | [name, id, inner, "_search"] => Self::Compartment {
                of: kind(name)?,
                id: id_of(name, id)?,
                kind: if *inner == "*" { None } else { Some(kind(inner)?) },
                search: parts.len() == 4,
            },
            _ => return Err(Outcome::not_found("no such path on this FHIR server; GET metadata lists what it has")),
        })
    }

    /// Name of what is asked, for metrics and logs: one of few, and nothing of the request itself.
    pub fn name(&self) -> &'static str {
        match self {
            Self::System { .. } => "system",
            Self::Metadata => "capabilities",
            Self::Smart => "smart",
            Self::Token => "token",
            Self::Type { .. } => "type",
            Self::Instance { .. } => "instance",
            Self::Version { .. } => "version",
            Self::Compartment { .. } => "compartment",
            Self::Operation { .. } => "operation",
            Self::ExportStatus(_) => "export-status",
            Self::ExportFile(_) => "export-file",
            Self::History => "history",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(path: &str) -> Result<Target, u16> {
        let segments: Vec<String> = path.split('/').filter(|s| !s.is_empty()).map(str::to_owned).collect();
        Target::parse(&segments, &|t| ["Patient", "Observation"].contains(&t)).map_err(|o| o.status.as_u16())
    }

    #[test]
    fn paths_of_fhir() {
        let (kind, id) = ("Patient".to_owned(), "a.1-B".to_owned());
        assert_eq!(parse(""), Ok(Target::System { search: false }));
        assert_eq!(parse("metadata"), Ok(Target::Metadata));
        assert_eq!(parse("Patient"), Ok(Target::Type { kind: kind.clone(), search: false }));
        assert_eq!(parse("Patient/_search"), Ok(Target::Type { kind: kind.clone(), search: true }));
        assert_eq!(parse("Patient/a.1-B"), Ok(Target::Instance { kind: kind.clone(), id: id.clone() }));
        let version = Target::Version { kind: kind.clone(), id: id.clone(), version: "2".into() };
        assert_eq!(parse("Patient/a.1-B/_history/2"), Ok(version));
        let inside = |k: Option<&str>, search| Target::Compartment {
            of: kind.clone(),
            id: id.clone(),
            kind: k.map(str::to_owned),
            search,
        };
        assert_eq!(parse("Patient/a.1-B/Observation"), Ok(inside(Some("Observation"), false)));
        assert_eq!(parse("Patient/a.1-B/Observation/_search"), Ok(inside(Some("Observation"), true)));
        assert_eq!(parse("Patient/a.1-B/*"), Ok(inside(None, false)));
        let op = |on: &[&str], name: &str| Target::Operation {
            on: on.iter().map(|s| (*s).to_owned()).collect(),
            name: name.into(),
        };
        assert_eq!(parse("$export"), Ok(op(&[], "export")));
        assert_eq!(parse("Patient/$export"), Ok(op(&["Patient"], "export")));
        assert_eq!(parse("Patient/1/$everything"), Ok(op(&["Patient", "1"], "everything")));
        for history in ["_history", "Patient/_history", "Patient/1/_history"] {
            assert_eq!(parse(history), Ok(Target::History));
        }
    }

    #[test]
    fn what_is_none_is_told() {
        for (path, status) in [
            ("Patent", 404),
            ("Patent/1", 404),
            ("Patient/1/Patent", 404),
            ("Patient/a_b", 400),
            ("Patient/1/2/3/4", 404),
            ("Patent/$export", 404),
            ("Patient/a b/$everything", 400),
            ("x/y/z/$op", 404),
            ("_export/status", 404),
        ] {
            assert_eq!(parse(path), Err(status), "{path}");
        }
        assert_eq!(parse(&format!("Patient/{}", "a".repeat(64))).map(|t| t.name()), Ok("instance"));
        assert_eq!(parse(&format!("Patient/{}", "a".repeat(65))), Err(400));
    }
}
