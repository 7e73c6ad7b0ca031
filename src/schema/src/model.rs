//! The TOML of a schema, as written.

use std::collections::BTreeMap;

use serde::Deserialize;

/// Why a schema was refused: what, and where in it.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum SchemaError {
    /// Not TOML, or not of this shape.
    #[error("the schema does not parse: {0}")]
    Toml(String),
    /// A version this program does not know.
    #[error("schema version {0} is not known to this program; it knows version 1")]
    Version(u32),
    /// A name that is none.
    #[error("\"{0}\" cannot be a name here: letters, digits, '.', '-' and '_', at most 64")]
    Name(String),
    /// A record type's name that is none.
    #[error("\"{0}\" cannot be a record type: a capital letter, then letters and digits, at most 64")]
    TypeName(String),
    /// A section's name that routing tags cannot hold.
    #[error("section \"{0}\": a section's name has at most 32 characters")]
    SectionName(String),
    /// A sensitivity label that makes no sense.
    #[error("label \"{label}\": {reason}")]
    Label {
        /// Label.
        label: String,
        /// What is wrong.
        reason: String,
    },
    /// A type or the default refers to a section that is not declared.
    #[error("{place} goes to section \"{section}\", which the schema does not declare")]
    UnknownSection {
        /// Type.
        place: String,
        /// Section.
        section: String,
    },
    /// A field that makes no sense.
    #[error("field {field}: {reason}")]
    Field {
        /// `Type.field`.
        field: String,
        /// What is wrong.
        reason: String,
    },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SchemaModel {
    pub(crate) version: u32,
    pub(crate) sections: BTreeMap<String, SectionModel>,
    #[serde(default)]
    pub(crate) labels: Vec<LabelModel>,
    pub(crate) default: DefaultModel,
    #[serde(default)]
    pub(crate) types: BTreeMap<String, TypeModel>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SectionModel {
    #[serde(default = "fhir_json")]
    pub(crate) content_type: String,
    #[serde(default)]
    #[allow(dead_code)] // for the reader of the file
    pub(crate) about: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LabelModel {
    pub(crate) name: String,
    pub(crate) codes: Vec<String>,
    #[serde(default)]
    #[allow(dead_code)] // for the reader of the file
    pub(crate) about: String,
}

fn fhir_json() -> String {
    "application/fhir+json".into()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DefaultModel {
    pub(crate) section: String,
    pub(crate) owner: OneOrMany,
    #[serde(default)]
    pub(crate) without_patient: WithoutPatient,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TypeModel {
    pub(crate) section: String,
    pub(crate) owner: OneOrMany,
    #[serde(default)]
    pub(crate) without_patient: WithoutPatient,
    #[serde(default)]
    pub(crate) fields: Vec<FieldModel>,
}

/// Whose records are that name no patient.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum WithoutPatient {
    /// Nobody's: they are refused.
    #[default]
    Refuse,
    /// The provider's that pushes them.
    Provider,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    pub(crate) fn as_slice(&self) -> &[String] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FieldModel {
    pub(crate) name: String,
    pub(crate) path: OneOrMany,
    pub(crate) normaliser: Normaliser,
    pub(crate) index: IndexModel,
    #[serde(default)]
    pub(crate) scope: Scope,
    /// Element that repeats; `path` and `qualified_by` start in it.
    #[serde(default)]
    pub(crate) base: Option<String>,
    /// Code that qualifies the field.
    #[serde(default)]
    pub(crate) qualified_by: Option<String>,
    /// Longest indexed prefix of a token field, characters.
    #[serde(default)]
    pub(crate) prefixes: Option<usize>,
    /// Why it is indexed this way.
    pub(crate) reason: String,
}

/// How values are brought into one form before they are compared or indexed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Normaliser {
    /// A coding as `system|code`; without a system `|code`. Case is kept: code systems differ in it.
    Coding,
    /// The code of a coding, or a bare code.
    Code,
    /// An identifier as `system|value`, trimmed.
    Identifier,
    /// A reference as `Type/id`.
    Reference,
    /// Text in NFC, trimmed, inner white space single.
    String,
    /// As `String`, in lower case.
    Folded,
    /// Text without case, accents and surplus white space, as FHIR compares strings.
    Unaccented,
    /// Text taken apart into words.
    Text,
    /// Exact decimal.
    Decimal,
    /// Instant, offset honoured.
    Instant,
    /// Full or partial date.
    Date,
    /// How long a dateTime, Period or Timing lasts: its last minute where that is not its first, the
    /// largest minute where it has no end, and also the smallest where it has no beginning. Beside a field
    /// of the beginnings, so that intervals that overlap are found. Not for query documents.
    Until,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum IndexModel {
    Token,
    Bridged,
    Words,
    Order(QuantiserModel),
    Cover(QuantiserModel),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum QuantiserModel {
    Decimal7,
    Minute,
    Day,
    Linear { min: String, max: String, step: String },
}

/// Over what the index entries of a field can be compared (spec section 8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Within one hospital.
    #[default]
    Isolated,
    /// Over all hospitals.
    Merged,
}

/// How a field is indexed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IndexKind {
    /// Equality, by a token all members share (8a).
    Token,
    /// Equality, each member with its own key (8b).
    Bridged,
    /// One token a word.
    Words,
    /// Ranges and order (9).
    Order(crate::Quantiser),
    /// Ranges without order (10).
    Cover(crate::Quantiser),
}
