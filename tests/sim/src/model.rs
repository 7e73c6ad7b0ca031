//! What must be true, in plaintext: every version of every record and every word of every patient, with the time when it
//! was begun and when it was acknowledged. Whatever is neither certainly before nor certainly after a moment may be either.

use std::collections::BTreeMap;

/// What is said of a record that an answer lacks.
pub(crate) const MISSING: &str = "is missing";

/// Codes that observations have.
pub const CODES: [&str; 3] = ["4548-4", "8480-6", "2339-0"];

/// A version of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// From 1.
    pub number: u32,
    /// Place in [`CODES`].
    pub code: usize,
    /// Measured value, in tenths.
    pub value: i64,
    /// The record.
    pub bytes: Vec<u8>,
    /// When its push was begun first, milliseconds.
    pub begun: u64,
    /// When it was acknowledged.
    pub acknowledged: Option<u64>,
}

/// A record and all its versions, in their order.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Name of its provider.
    pub provider: usize,
    /// Of whom.
    pub patient: usize,
    /// All versions.
    pub versions: Vec<Version>,
}

/// What a patient said about a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// It may read until then, Unix time in seconds.
    Grant(u64),
    /// It may not.
    Revoke,
}

/// A patient's word.
#[derive(Clone, Copy, Debug)]
pub struct Said {
    /// What.
    pub word: Word,
    /// When it was begun, milliseconds.
    pub begun: u64,
    /// When it was acknowledged.
    pub acknowledged: Option<u64>,
}

/// A stretch of time, milliseconds: from when a question was begun until it was answered.
#[derive(Clone, Copy, Debug)]
pub struct During {
    /// First.
    pub from: u64,
    /// Last.
    pub to: u64,
    /// Unix time in seconds of the first.
    pub unix: (u64, u64),
}

/// A question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Observations with this code.
    Code(usize),
    /// With this code and at least this value, in tenths.
    AtLeast(usize, i64),
    /// The largest so many of this code.
    Largest(usize, usize),
}

impl Question {
    /// As a query document.
    pub fn document(&self) -> String {
        let code = |code: usize| format!(r#"{{"field":"token","op":"eq","value":"http://loinc.org|{}"}}"#, CODES[code]);
        match self {
            Self::Code(c) => format!(r#"{{"resource":"Observation","filters":[{}]}}"#, code(*c)),
            Self::AtLeast(c, value) => format!(
                r#"{{"resource":"Observation","filters":[{},{{"field":"value","op":"ge","value":{}}}]}}"#,
                code(*c),
                tenths(*value)
            ),
            Self::Largest(c, k) => {
                format!(r#"{{"resource":"Observation","filters":[{}],"topk":{{"field":"value","k":{k}}}}}"#, code(*c))
            }
        }
    }

    fn holds(&self, version: &Version) -> bool {
        match self {
            Self::Code(code) | Self::Largest(code, _) => version.code == *code,
            Self::AtLeast(code, value) => version.code == *code && version.value >= *value,
        }
    }

    fn most(&self) -> usize {
        match self {
            Self::Largest(_, k) => *k,
            _ => usize::MAX,
        }
    }
}

/// A number of tenths, as it is written.
pub fn tenths(value: i64) -> String {
    format!("{}.{}", value / 10, value % 10)
}

/// Everything there is.
#[derive(Default)]
pub struct Model {
    /// Records by `Observation/id`.
    pub records: BTreeMap<String, Recorded>,
    /// By patient and reader, in order.
    pub words: BTreeMap<(usize, usize), Vec<Said>>,
}

impl Recorded {
    /// Versions that may be there some time during; `None` for that it is not there yet.
    fn possible(&self, during: During) -> Vec<Option<&Version>> {
        let certain = self.versions.iter().rposition(|v| v.acknowledged.is_some_and(|at| at <= during.from));
        let later = self.versions.iter().skip(certain.map_or(0, |c| c + 1)).filter(|v| v.begun <= during.to);
        std::iter::once(certain.map(|c| &self.versions[c])).chain(later.map(Some)).collect()
    }
}

impl Model {
    /// Whether a reader may, and whether it may not, read a patient some time during.
    fn permitted(&self, patient: usize, reader: usize, during: During) -> (bool, bool) {
        let said = self.words.get(&(patient, reader)).map_or(&[][..], Vec::as_slice);
        let certain = said.iter().rposition(|s| s.acknowledged.is_some_and(|at| at <= during.from));
        let later = said.iter().skip(certain.map_or(0, |c| c + 1)).filter(|s| s.begun <= during.to);
        let states = std::iter::once(certain.map_or(Word::Revoke, |c| said[c].word)).chain(later.map(|s| s.word));
        let (mut may, mut may_not) = (false, false);
        for state in states {
            match state {
                Word::Revoke => may_not = true,
                Word::Grant(until) => {
                    may |= during.unix.0 < until;
                    may_not |= during.unix.1 >= until;
                }
            }
        }
        (may, may_not)
    }

    /// What is wrong with an answer of these records, in this order; nothing if it may be.
    pub fn judge(&self, question: Question, reader: usize, hits: &[(String, Vec<u8>)], during: During) -> Vec<String> {
        let (mut wrong, mut values) = (Vec::new(), Vec::new());
        let found: BTreeMap<&str, &[u8]> = hits.iter().map(|(id, b)| (id.as_str(), b.as_slice())).collect();
        if found.len() != hits.len() {
            wrong.push("a record is in the answer twice".to_owned());
        }
        for (id, bytes) in hits {
            let Some(record) = self.records.get(id) else {
                wrong.push(format!("{id} was never pushed"));
                continue;
            };
            match record.possible(during).into_iter().flatten().find(|v| v.bytes == **bytes) {
                None => wrong.push(format!(
                    "{id} is in the answer in a version that was not there then; it can have been one of {:?}",
                    record.possible(during).iter().map(|v| v.map_or(0, |v| v.number)).collect::<Vec<_>>()
                )),
                Some(v) if !question.holds(v) => wrong.push(format!("{id} is in the answer and does not match")),
                Some(v) => values.push(v.value),
            }
            if !self.permitted(record.patient, reader, during).0 {
                wrong.push(format!("{id} was opened without a grant of patient {}", record.patient));
            }
        }
        if question.most() < usize::MAX && values.windows(2).any(|w| w[0] < w[1]) {
            wrong.push("the answer is not in order".to_owned());
        }
        if hits.len() > question.most() {
            wrong.push("the answer has more than was asked for".to_owned());
        }
        // What a full page has no room for must not be larger than what it has.
        let least = if hits.len() >= question.most() { values.iter().min().copied() } else { None };
        for (id, record) in self.records.iter().filter(|(id, _)| !found.contains_key(id.as_str())) {
            let absent = record.possible(during).into_iter().any(|v| match v {
                None => true,
                Some(v) => !question.holds(v) || least.is_some_and(|least| v.value <= least),
            });
            if !absent && !self.permitted(record.patient, reader, during).1 {
                wrong.push(format!("{id} {MISSING}, though it was there, matched and was granted all the time"));
            }
        }
        wrong
    }

    /// How many records there are for certain, once everything is acknowledged.
    pub fn live(&self) -> u64 {
        self.records.values().filter(|r| r.versions.iter().any(|v| v.acknowledged.is_some())).count() as u64
    }
}
