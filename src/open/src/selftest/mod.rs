//! Known answers: checks this implementation against a file shaped like the suite's
//! `vectors.json`, made by another one. Every entry of every section is checked in every
//! direction there is; whatever is malformed, unknown or missing is a failure, never a panic.

mod entry;
mod index;
mod keys;
mod records;
mod structure;

use serde_json::Value;

use entry::Entry;

/// Failures that are kept for one section; the rest are only counted.
const KEPT_FAILURES: usize = 5;

/// The suite this implements.
const SUITE: &str = "SDX-1";

/// Checks every case of a section that another crate owns: one result per case, each failure
/// saying which case and why.
pub type SectionCheck<'a> = &'a dyn Fn(&Value) -> Vec<Result<(), String>>;

/// What came of a file of vectors.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// One per section, in the file's order.
    pub sections: Vec<SectionReport>,
}

/// What came of one section.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SectionReport {
    /// The section's name in the file.
    pub name: String,
    /// Entries that gave the known answer.
    pub passed: usize,
    /// Entries that did not, or could not be read.
    pub failed: usize,
    /// What went wrong with the first few.
    pub failures: Vec<String>,
}

impl Report {
    /// Whether there was something to check and nothing failed.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.passed() > 0 && self.failed() == 0
    }

    /// Entries that gave the known answer, over all sections.
    #[must_use]
    pub fn passed(&self) -> usize {
        self.sections.iter().map(|section| section.passed).sum()
    }

    /// Entries that failed, over all sections.
    #[must_use]
    pub fn failed(&self) -> usize {
        self.sections.iter().map(|section| section.failed).sum()
    }
}

impl SectionReport {
    fn new(name: &str, results: impl IntoIterator<Item = Result<(), String>>) -> Self {
        let mut report = Self { name: name.to_owned(), ..Self::default() };
        for result in results {
            match result {
                Ok(()) => report.passed += 1,
                Err(failure) => {
                    report.failed += 1;
                    if report.failures.len() < KEPT_FAILURES {
                        report.failures.push(failure);
                    }
                }
            }
        }
        report
    }

    fn failure(name: &str, message: String) -> Self {
        Self::new(name, [Err(message)])
    }
}

type EntryCheck = fn(&Entry<'_>) -> Result<(), String>;

/// Every section this crate can check.
const SECTIONS: &[(&str, EntryCheck)] = &[
    ("hash_to_scalar", keys::hash_to_scalar),
    ("kdf", keys::kdf),
    ("identity", keys::identity),
    ("section_key", keys::section_key),
    ("capsule", records::capsule),
    ("grant", records::grant),
    ("sealed_record", records::sealed_record),
    ("routing_tag", records::routing_tag),
    ("padme", structure::padme),
    ("cover", structure::cover),
    ("merkle", structure::merkle),
    ("token", index::token),
    ("bridged_token", index::bridged_token),
    ("order_code", index::order_code),
];

/// Checks a file of vectors. `others` are the sections that this crate has no code for, by name.
#[must_use]
pub fn run(json: &str, others: &[(&str, SectionCheck<'_>)]) -> Report {
    let file: Value = match serde_json::from_str(json) {
        Ok(file) => file,
        Err(error) => {
            let failure = SectionReport::failure("file", format!("the file is not JSON: {error}"));
            return Report { sections: vec![failure] };
        }
    };
    let Some(fields) = file.as_object() else {
        let failure = SectionReport::failure("file", "the file is not an object".to_owned());
        return Report { sections: vec![failure] };
    };
    let mut report = Report::default();
    if !fields.contains_key("suite") {
        let missing = "the file does not name its suite".to_owned();
        report.sections.push(SectionReport::failure("suite", missing));
    }
    for (name, content) in fields {
        report.sections.extend(check_field(name, content, others));
    }
    report
}

fn check_field(name: &str, content: &Value, others: &[(&str, SectionCheck<'_>)]) -> Option<SectionReport> {
    match (name, content.as_str()) {
        ("suite", Some(SUITE)) | ("note", Some(_)) => return None,
        ("suite", found) => {
            let found = found.unwrap_or("something else");
            let message = format!("the vectors are for {found}, this is {SUITE}");
            return Some(SectionReport::failure(name, message));
        }
        _ => {}
    }
    if let Some((_, check)) = others.iter().find(|(other, _)| *other == name) {
        return Some(SectionReport::new(name, check(content)));
    }
    let Some((_, check)) = SECTIONS.iter().find(|(known, _)| *known == name) else {
        let message = format!("section {name} is not known here");
        return Some(SectionReport::failure(name, message));
    };
    let Some(entries) = content.as_array() else {
        let message = format!("section {name} is not a list");
        return Some(SectionReport::failure(name, message));
    };
    let results = entries
        .iter()
        .enumerate()
        .map(|(index, value)| check(&Entry::new(value)).map_err(|why| format!("{name}[{index}]: {why}")));
    Some(SectionReport::new(name, results))
}
