//! From a record to its index entries, and the values exact evaluation compares.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use serde_json::Value as Json;

use crate::{
    Field, IndexKind, NormaliseError, Normaliser, Quantiser, Schema, Scope, Value, normalise::until, quantise, words,
};

/// One value's place in the index.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// Name keys are derived for: `Type.field`, `Type.field|code`, `Type.field#prefix`, `#type`, `#id`.
    pub field: Arc<str>,
    /// Over what it can be compared.
    pub scope: Scope,
    /// Form.
    pub kind: EntryKind,
}

/// Form of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum EntryKind {
    /// Canonical bytes for a token.
    Token(Vec<u8>),
    /// Canonical bytes for a bridged token.
    Bridged(Vec<u8>),
    /// Quantised value for an order code.
    Order {
        /// Width.
        bits: u8,
        /// Value.
        q: u64,
    },
    /// Quantised value for a cover.
    Cover {
        /// Width.
        bits: u8,
        /// Value.
        q: u32,
    },
}

/// A value that does not fit its field. The reason may quote the value: for the operator, not for logs.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{field} = {value}: {reason}")]
pub struct FieldError {
    /// `Type.field`.
    pub field: String,
    /// The value, shortened.
    pub value: String,
    /// What is wrong.
    pub reason: String,
}

impl Field {
    /// Every value of the field in a record, with its qualifying codes: a value under two codes comes
    /// twice, one under none not at all if the field is qualified.
    pub fn raw_values<'v>(&self, record: &'v Json, found: &mut impl FnMut(Option<&'v str>, &'v Json)) {
        let mut within = |element: &'v Json| match &self.qualified_by {
            None => self.paths.iter().for_each(|p| p.visit(element, &mut |v| found(None, v))),
            Some(by) => {
                let mut codes = Vec::new();
                by.visit(element, &mut |c| codes.extend(c.as_str().filter(|c| !c.is_empty())));
                codes.sort_unstable();
                codes.dedup();
                for code in codes {
                    self.paths.iter().for_each(|p| p.visit(element, &mut |v| found(Some(code), v)));
                }
            }
        };
        match &self.base {
            None => within(record),
            Some(base) => base.visit(record, &mut within),
        }
    }

    /// Canonical values for exact comparison, of one qualifying code if given. Values that do not fit
    /// are left out: they were refused at ingest.
    pub fn values(&self, record: &Json, code: Option<&str>) -> Vec<Value> {
        self.texts(record, code).into_iter().map(|(value, _)| value).collect()
    }

    /// As [`Field::values`], each with the JSON it came from. Without a code, values count whatever
    /// qualifies them, and also where nothing does.
    pub fn texts<'v>(&self, record: &'v Json, code: Option<&str>) -> Vec<(Value, &'v Json)> {
        let mut out = Vec::new();
        let mut take = |json: &'v Json| out.extend(self.normaliser.stored(json).ok().flatten().map(|v| (v, json)));
        if code.is_some() {
            self.raw_values(record, &mut |by, json| {
                if by == code {
                    take(json);
                }
            });
        } else {
            let mut within = |element: &'v Json| self.paths.iter().for_each(|p| p.visit(element, &mut take));
            match &self.base {
                None => within(record),
                Some(base) => base.visit(record, &mut within),
            }
        }
        out
    }

    /// All words of a text field in a record.
    pub fn words(&self, record: &Json) -> BTreeSet<String> {
        let mut out = BTreeSet::new();
        self.raw_values(record, &mut |_, json| {
            if let Some(text) = json.as_str() {
                words::collect(text, &mut out);
            }
        });
        out
    }

    /// Name of the field under a qualifying code.
    pub fn qualified(&self, code: Option<&str>) -> Arc<str> {
        match code {
            None => self.full.clone(),
            Some(code) => format!("{}|{code}", self.full).into(),
        }
    }

    /// Name of the field's prefix tokens.
    pub fn prefix_name(&self) -> Arc<str> {
        format!("{}#prefix", self.full).into()
    }

    fn error(&self, json: &Json, reason: String) -> FieldError {
        let mut value = json.to_string();
        if value.len() > 80 {
            let cut = (0..=80).rev().find(|i| value.is_char_boundary(*i)).unwrap_or(0);
            value.truncate(cut);
            value.push('…');
        }
        FieldError { field: self.full.to_string(), value, reason }
    }

    fn index(&self, code: Option<&str>, json: &Json, out: &mut Vec<Entry>) -> Result<(), FieldError> {
        if self.index == IndexKind::Words {
            let text = json.as_str().ok_or_else(|| self.error(json, NormaliseError::Type("a text").to_string()))?;
            for word in words::words(text) {
                self.prefix_entries(&word, out);
                out.push(Entry {
                    field: self.full.clone(),
                    scope: self.scope,
                    kind: EntryKind::Token(word.into_bytes()),
                });
            }
            return Ok(());
        }
        if let (Normaliser::Until, IndexKind::Order(quantiser)) = (self.normaliser, &self.index) {
            let minutes = until(json).map_err(|e| self.error(json, e.to_string()))?;
            let entry = |q| Entry {
                field: self.full.clone(),
                scope: self.scope,
                kind: EntryKind::Order { bits: quantiser.bits(), q },
            };
            out.extend(minutes.into_iter().map(entry));
            return Ok(());
        }
        let value = self.normaliser.stored(json).map_err(|e| self.error(json, e.to_string()))?;
        let Some(value) = value else { return Ok(()) };
        if let Value::Text(text) = &value {
            self.prefix_entries(text, out);
        }
        let kind = self.entry_kind(&value).map_err(|reason| self.error(json, reason))?;
        out.push(Entry { field: self.qualified(code), scope: self.scope, kind });
        Ok(())
    }

    /// Tokens of a text's beginnings, if the field has them.
    fn prefix_entries(&self, text: &str, out: &mut Vec<Entry>) {
        let Some(longest) = self.prefixes else { return };
        let field = self.prefix_name();
        let ends = text.char_indices().map(|(i, c)| i + c.len_utf8()).take(longest);
        out.extend(ends.map(|end| Entry {
            field: field.clone(),
            scope: self.scope,
            kind: EntryKind::Token(text.as_bytes()[..end].to_vec()),
        }));
    }

    fn entry_kind(&self, value: &Value) -> Result<EntryKind, String> {
        Ok(match &self.index {
            IndexKind::Token | IndexKind::Words => EntryKind::Token(canonical_bytes(value)),
            IndexKind::Bridged => EntryKind::Bridged(canonical_bytes(value)),
            IndexKind::Order(q) => EntryKind::Order { bits: q.bits(), q: quantised(q, value)? },
            IndexKind::Cover(q) => {
                let value = u32::try_from(quantised(q, value)?).map_err(|e| e.to_string())?;
                EntryKind::Cover { bits: q.bits(), q: value }
            }
        })
    }
}

/// The bytes a token is made of.
fn canonical_bytes(value: &Value) -> Vec<u8> {
    match value {
        Value::Text(t) | Value::Date(t, _) => t.clone().into_bytes(),
        // Equal numbers have one form however they were written.
        Value::Number(d) => d.canonical().into_bytes(),
        Value::Instant(i) => format!("{}.{:018}", i.seconds, i.atto).into_bytes(),
    }
}

impl Value {
    /// The bytes a token of this value is made of.
    pub fn token_bytes(&self) -> Vec<u8> {
        canonical_bytes(self)
    }

    /// The quantised value as a bound of a range: beyond the field's range it becomes an end of it.
    pub fn bound(&self, quantiser: &Quantiser) -> u64 {
        match self {
            Self::Number(d) => quantiser.bound(d),
            Self::Instant(i) => quantise::minute(*i).unwrap_or(if i.seconds < 0 { 0 } else { quantiser.max_q() }),
            Self::Date(_, day) => u64::from(*day),
            Self::Text(_) => 0,
        }
    }
}

impl std::fmt::Display for Value {
    /// As people read it: the canonical text, an exact number, a UTC second.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(t) | Self::Date(t, _) => f.write_str(t),
            Self::Number(d) => write!(f, "{d}"),
            Self::Instant(i) => write!(f, "{}", i.seconds),
        }
    }
}

fn quantised(quantiser: &Quantiser, value: &Value) -> Result<u64, String> {
    match (quantiser, value) {
        (Quantiser::Linear { .. } | Quantiser::Decimal7, Value::Number(d)) => {
            quantiser.decimal(d).map_err(|e| e.to_string())
        }
        (Quantiser::Minute, Value::Instant(i)) => quantise::minute(*i).map_err(|e| e.to_string()),
        (Quantiser::Day, Value::Date(_, day)) => Ok(u64::from(*day)),
        _ => Err("the value does not fit the field's quantiser".into()),
    }
}

/// Name of the built-in token of a record's type.
pub const TYPE_FIELD: &str = "#type";
/// Name of the built-in token of a record's identity, `Type/id`.
pub const ID_FIELD: &str = "#id";
/// Name of the token of the patient of records whose type the schema does not name.
pub const SUBJECT_FIELD: &str = "#subject";

impl Schema {
    /// All index entries of a record, each once: its type, its identity, and every value of every field.
    ///
    /// # Errors
    /// Every value that does not fit; then nothing of the record is indexed.
    pub fn index(&self, record_type: &str, id: &str, record: &Json) -> Result<Vec<Entry>, Vec<FieldError>> {
        let built_in = |field: &str, value: String| Entry {
            field: field.into(),
            scope: Scope::Isolated,
            kind: EntryKind::Token(value.into_bytes()),
        };
        let mut entries = Vec::with_capacity(24);
        entries.push(built_in(TYPE_FIELD, record_type.to_owned()));
        entries.push(built_in(ID_FIELD, format!("{record_type}/{id}")));
        let mut errors = Vec::new();
        for field in &self.record_type(record_type).fields {
            let first = entries.len();
            field.raw_values(record, &mut |code, json| {
                if let Err(e) = field.index(code, json, &mut entries) {
                    errors.push(e);
                }
            });
            dedup_from(&mut entries, first);
        }
        if errors.is_empty() { Ok(entries) } else { Err(errors) }
    }
}

/// Below this many entries of a field, comparing each with each is cheaper than hashing.
const FEW: usize = 24;

/// Drops repeated entries after `first`, keeping the order.
fn dedup_from(entries: &mut Vec<Entry>, first: usize) {
    if entries.len() - first > FEW {
        let mut seen = HashSet::with_capacity(entries.len() - first);
        let tail: Vec<Entry> = entries.drain(first..).filter(|e| seen.insert(e.clone())).collect();
        entries.extend(tail);
        return;
    }
    let mut kept = first;
    for i in first..entries.len() {
        if !entries[first..kept].contains(&entries[i]) {
            entries.swap(kept, i);
            kept += 1;
        }
    }
    entries.truncate(kept);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn observation() -> Json {
        json!({"resourceType": "Observation", "id": "o1", "status": "final",
            "code": {"coding": [{"system": "http://loinc.org", "code": "55284-4", "display": "Blood Pressure"}], "text": "Blood Pressure"},
            "subject": {"reference": "Patient/p1"}, "effectiveDateTime": "2018-06-11T10:00:00+02:00",
            "component": [
                {"code": {"coding": [{"system": "http://loinc.org", "code": "8480-6"}]}, "valueQuantity": {"value": 139.5}},
                {"code": {"coding": [{"code": "8462-4"}]}, "valueQuantity": {"value": 80}}]})
    }

    #[test]
    fn components_are_fields_of_their_own() {
        let schema = Schema::fhir_r4();
        let entries = schema.index("Observation", "o1", &observation()).unwrap();
        let names: Vec<&str> = entries.iter().map(|e| &*e.field).collect();
        assert!(names.contains(&"Observation.component.value|8480-6"));
        assert!(names.contains(&"Observation.component.value|8462-4"), "a code without a system qualifies too");
        assert!(!names.iter().any(|n| n.starts_with("Observation.value")), "no value of its own");
        let words = entries.iter().filter(|e| &*e.field == "Observation.text").count();
        assert_eq!(words, 2, "each word once");
    }

    #[test]
    fn a_value_that_does_not_fit_is_an_error_that_names_it() {
        let mut o = observation();
        o["effectiveDateTime"] = json!("sometime");
        let errors = Schema::fhir_r4().index("Observation", "o1", &o).unwrap_err();
        assert_eq!(errors.len(), 1);
        assert_eq!((errors[0].field.as_str(), errors[0].value.as_str()), ("Observation.date", "\"sometime\""));
    }

    #[test]
    fn types_the_schema_does_not_name_keep_type_id_and_patient() {
        let schema = Schema::fhir_r4();
        let entries = schema.index("Basic", "b", &json!({"subject": {"reference": "Patient/p"}})).unwrap();
        let of = |name: &str| entries.iter().find(|e| &*e.field == name).map(|e| e.kind.clone());
        assert_eq!(entries.len(), 3);
        assert_eq!(of(SUBJECT_FIELD), Some(EntryKind::Token(b"Patient/p".to_vec())));
        assert_eq!(of(ID_FIELD), Some(EntryKind::Token(b"Basic/b".to_vec())));
        assert_eq!(schema.section_of("Basic").name, "other");
    }

    #[test]
    fn long_texts_are_deduplicated_in_reasonable_time() {
        let text: String = (0..60_000).map(|i| format!("w{} ", i % 50_000)).collect();
        let record = json!({"code": {"text": text, "coding": [{"code": "1", "display": "w7 w8 w9"}]}});
        let begun = std::time::Instant::now();
        let entries = Schema::fhir_r4().index("Observation", "o", &record).unwrap();
        assert_eq!(entries.iter().filter(|e| &*e.field == "Observation.text").count(), 50_000);
        assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
    }

    /// The target is 10 µs; the bound is wide because tests share the machine.
    #[test]
    fn an_average_record_is_indexed_in_microseconds() {
        let (schema, record) = (Schema::fhir_r4(), observation());
        let run = || {
            let begun = std::time::Instant::now();
            for _ in 0..200 {
                std::hint::black_box(schema.index("Observation", "o1", std::hint::black_box(&record)).unwrap());
            }
            begun.elapsed() / 200
        };
        let best = (0..20).map(|_| run()).min().unwrap();
        eprintln!("index of one observation: {best:?}");
        assert!(best.as_micros() < 100, "{best:?}");
    }

    #[test]
    fn prefixes_are_tokens_of_each_length() {
        let schema = Schema::parse(crate::schema::DIABETES130).unwrap();
        let entries = schema.index("DiabetesEncounter", "1", &json!({"diag_1": "250.83"})).unwrap();
        let prefixes: Vec<_> = entries.iter().filter(|e| &*e.field == "DiabetesEncounter.diag_1#prefix").collect();
        assert_eq!(prefixes.len(), 6);
        assert!(prefixes.iter().any(|e| e.kind == EntryKind::Token(b"250".to_vec())));
    }

    #[test]
    fn words_may_have_prefixes_too() {
        let toml = "version = 1\n[sections.a]\n[default]\nsection = \"a\"\nowner = \"subject.reference\"\n[types.T]\nsection = \"a\"\nowner = \"itself\"\n\
            [[types.T.fields]]\nname = \"t\"\npath = \"t\"\nnormaliser = \"text\"\nindex = \"words\"\nprefixes = 3\nreason = \"x\"";
        let entries = Schema::parse(toml).unwrap().index("T", "1", &json!({"t": "Acute otitis"})).unwrap();
        let prefixes: Vec<_> = entries.iter().filter(|e| &*e.field == "T.t#prefix").map(|e| e.kind.clone()).collect();
        let expected = ["a", "ac", "acu", "o", "ot", "oti"].map(|p| EntryKind::Token(p.into()));
        assert_eq!(prefixes.len(), 6);
        assert!(expected.iter().all(|e| prefixes.contains(e)));
    }

    #[test]
    fn owners() {
        let schema = Schema::fhir_r4();
        let owner = |t: &str, j: Json| schema.owner(t, "x", &j);
        assert_eq!(owner("Patient", json!({})), Ok(crate::Owner::Patient("Patient/x".into())));
        assert_eq!(owner("Organization", json!({})), Ok(crate::Owner::Provider));
        assert_eq!(owner("Observation", observation()), Ok(crate::Owner::Patient("Patient/p1".into())));
        assert!(owner("Observation", json!({"subject": {"reference": "Group/g"}})).is_err());
        assert_eq!(
            owner("Basic", json!({"patient": {"reference": "http://a/Patient/q"}})),
            Ok(crate::Owner::Patient("Patient/q".into()))
        );
    }
}
