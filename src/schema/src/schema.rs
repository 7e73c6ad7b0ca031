//! A checked schema.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value as Json;

use crate::{
    Decimal, IndexKind, Normaliser, Path, Quantiser, SchemaError, Scope,
    index::SUBJECT_FIELD,
    model::{FieldModel, IndexModel, QuantiserModel, SchemaModel},
    normalise::local_reference,
};

/// The schema for FHIR R4 that ships with the program.
pub const FHIR_R4: &str = include_str!("../schemas/fhir-r4.toml");
/// The schema for the tabular example (UCI "Diabetes 130-US hospitals").
pub const DIABETES130: &str = include_str!("../schemas/diabetes130.toml");

/// Where records of one kind are sealed to: what a grant covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Name.
    pub name: String,
    /// Media type of its records; the header of every sealed record in it says so.
    pub content_type: String,
}

/// Who owns records of a type.
#[derive(Clone, Debug, PartialEq, Eq)]
enum OwnerRule {
    Provider,
    Itself,
    Paths(Vec<Path>),
}

/// Whose a record is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The patient with this reference, `Patient/id`.
    Patient(String),
    /// The provider that pushes it.
    Provider,
}

/// A record whose owner cannot be told.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("no patient is named in {looked_in}, so nobody could be asked for consent")]
pub struct OwnerError {
    looked_in: String,
}

/// A field of a record type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Name in queries.
    pub name: String,
    /// `Type.name`, what index keys are derived for.
    pub full: Arc<str>,
    /// Where its values stand; within `base` if there is one.
    pub paths: Vec<Path>,
    /// Repeating element it is relative to.
    pub base: Option<Path>,
    /// Code that qualifies it, relative like `paths`.
    pub qualified_by: Option<Path>,
    /// Canonical form.
    pub normaliser: Normaliser,
    /// How it is indexed.
    pub index: IndexKind,
    /// Over what.
    pub scope: Scope,
    /// Longest indexed prefix, characters.
    pub prefixes: Option<usize>,
    /// Why it is indexed this way.
    pub reason: String,
}

/// A record type and its fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordType {
    section: usize,
    owner: OwnerRule,
    /// Fields by name.
    pub fields: Vec<Field>,
}

/// A checked schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    sections: Vec<Section>,
    types: BTreeMap<String, RecordType>,
    fallback: RecordType,
}

/// Longest section name: routing tags pad to it.
const MAX_SECTION: usize = 32;

fn name_ok(name: &str) -> Result<(), SchemaError> {
    let ok = (1..=64).contains(&name.len()) && name.chars().all(|c| c.is_ascii_alphanumeric() || ".-_".contains(c));
    if ok { Ok(()) } else { Err(SchemaError::Name(name.into())) }
}

/// Field names hang on type names by a dot, so a type name has none.
fn type_name_ok(name: &str) -> Result<(), SchemaError> {
    let ok = name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.chars().all(|c| c.is_ascii_alphanumeric());
    if ok { Ok(()) } else { Err(SchemaError::TypeName(name.into())) }
}

/// What records of types the schema does not name are found by, beside type and id.
fn fallback_fields(owner: &OwnerRule) -> Vec<Field> {
    let OwnerRule::Paths(paths) = owner else { return Vec::new() };
    vec![Field {
        name: "subject".into(),
        full: SUBJECT_FIELD.into(),
        paths: paths.clone(),
        base: None,
        qualified_by: None,
        normaliser: Normaliser::Reference,
        index: IndexKind::Token,
        scope: Scope::Isolated,
        prefixes: None,
        reason: "all records of one patient, of whatever type".into(),
    }]
}

impl Schema {
    /// Reads and checks a schema.
    pub fn parse(toml: &str) -> Result<Self, SchemaError> {
        let model: SchemaModel = toml::from_str(toml).map_err(|e| SchemaError::Toml(e.to_string()))?;
        if model.version != 1 {
            return Err(SchemaError::Version(model.version));
        }
        let mut sections = Vec::new();
        for (name, s) in &model.sections {
            name_ok(name)?;
            if name.len() > MAX_SECTION {
                return Err(SchemaError::SectionName(name.clone()));
            }
            sections.push(Section { name: name.clone(), content_type: s.content_type.clone() });
        }
        let find = |place: &str, section: &str| {
            sections
                .iter()
                .position(|s| s.name == section)
                .ok_or_else(|| SchemaError::UnknownSection { place: place.into(), section: section.into() })
        };
        let owner = owner_rule("default", model.default.owner.as_slice())?;
        let section = find("the default", &model.default.section)?;
        let fallback = RecordType { section, fields: fallback_fields(&owner), owner };
        let mut types = BTreeMap::new();
        for (name, t) in &model.types {
            type_name_ok(name)?;
            let fields = t.fields.iter().map(|f| field(name, f)).collect::<Result<Vec<_>, _>>()?;
            for (i, f) in fields.iter().enumerate() {
                if fields[..i].iter().any(|g| g.name == f.name) {
                    return Err(SchemaError::Field { field: f.full.to_string(), reason: "is declared twice".into() });
                }
            }
            let owner = owner_rule(name, t.owner.as_slice())?;
            types.insert(name.clone(), RecordType { section: find(name, &t.section)?, owner, fields });
        }
        Ok(Self { sections, types, fallback })
    }

    /// The FHIR R4 schema that ships with the program.
    #[allow(clippy::expect_used)] // a test parses the file
    pub fn fhir_r4() -> Self {
        Self::parse(FHIR_R4).expect("the shipped schema is valid")
    }

    /// All sections.
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// The section with this name.
    pub fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|s| s.name == name)
    }

    /// Sections that records of patients can go to, as opposed to the providers' own.
    pub fn patient_sections(&self) -> impl Iterator<Item = &Section> {
        let own: Vec<usize> =
            self.types.values().filter(|t| t.owner == OwnerRule::Provider).map(|t| t.section).collect();
        self.sections.iter().enumerate().filter(move |(i, _)| !own.contains(i)).map(|(_, s)| s)
    }

    /// Sections of records that belong to their provider.
    pub fn provider_sections(&self) -> impl Iterator<Item = &Section> {
        let own: Vec<usize> =
            self.types.values().filter(|t| t.owner == OwnerRule::Provider).map(|t| t.section).collect();
        self.sections.iter().enumerate().filter(move |(i, _)| own.contains(i)).map(|(_, s)| s)
    }

    /// Record types the schema names.
    pub fn types(&self) -> impl Iterator<Item = (&str, &RecordType)> {
        self.types.iter().map(|(n, t)| (n.as_str(), t))
    }

    /// Rules for a type: its own, or the default.
    pub fn record_type(&self, name: &str) -> &RecordType {
        self.types.get(name).unwrap_or(&self.fallback)
    }

    /// Whether the schema names the type.
    pub fn knows(&self, name: &str) -> bool {
        self.types.contains_key(name)
    }

    /// Section of a type's records.
    pub fn section_of(&self, record_type: &str) -> &Section {
        &self.sections[self.record_type(record_type).section]
    }

    /// A field of a type.
    pub fn field(&self, record_type: &str, name: &str) -> Option<&Field> {
        self.record_type(record_type).fields.iter().find(|f| f.name == name)
    }

    /// Whose a record is.
    pub fn owner(&self, record_type: &str, id: &str, json: &Json) -> Result<Owner, OwnerError> {
        match &self.record_type(record_type).owner {
            OwnerRule::Provider => Ok(Owner::Provider),
            OwnerRule::Itself => Ok(Owner::Patient(format!("{record_type}/{id}"))),
            OwnerRule::Paths(paths) => {
                let mut owner = None;
                for path in paths {
                    path.visit(json, &mut |v| {
                        let reference = v.as_str().and_then(local_reference).filter(|r| r.starts_with("Patient/"));
                        owner = owner.take().or(reference);
                    });
                }
                owner.map(Owner::Patient).ok_or_else(|| OwnerError { looked_in: describe(paths) })
            }
        }
    }
}

fn describe(paths: &[Path]) -> String {
    paths.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn owner_rule(place: &str, texts: &[String]) -> Result<OwnerRule, SchemaError> {
    match texts {
        [one] if one == "provider" => Ok(OwnerRule::Provider),
        [one] if one == "itself" => Ok(OwnerRule::Itself),
        [] => Err(SchemaError::Field { field: format!("{place}.owner"), reason: "names no path".into() }),
        many => many.iter().map(|p| path(&format!("{place}.owner"), p)).collect::<Result<_, _>>().map(OwnerRule::Paths),
    }
}

fn path(place: &str, text: &str) -> Result<Path, SchemaError> {
    Path::parse(text)
        .ok_or_else(|| SchemaError::Field { field: place.into(), reason: format!("\"{text}\" is no path") })
}

fn quantiser(place: &str, model: &QuantiserModel) -> Result<Quantiser, SchemaError> {
    let fail = |reason: String| SchemaError::Field { field: place.into(), reason };
    Ok(match model {
        QuantiserModel::Decimal7 => Quantiser::Decimal7,
        QuantiserModel::Minute => Quantiser::Minute,
        QuantiserModel::Day => Quantiser::Day,
        QuantiserModel::Linear { min, max, step } => {
            let number = |what: &str, text: &str| Decimal::parse(text).map_err(|e| fail(format!("{what}: {e}")));
            Quantiser::linear(number("min", min)?, number("max", max)?, number("step", step)?)
                .map_err(|e| fail(e.to_string()))?
        }
    })
}

fn field(type_name: &str, f: &FieldModel) -> Result<Field, SchemaError> {
    let full = format!("{type_name}.{}", f.name);
    name_ok(&f.name)?;
    let fail = |reason: &str| Err(SchemaError::Field { field: full.clone(), reason: reason.into() });
    let index = match &f.index {
        IndexModel::Token => IndexKind::Token,
        IndexModel::Bridged => IndexKind::Bridged,
        IndexModel::Words => IndexKind::Words,
        IndexModel::Order(q) => IndexKind::Order(quantiser(&full, q)?),
        IndexModel::Cover(q) => IndexKind::Cover(quantiser(&full, q)?),
    };
    if f.reason.trim().is_empty() {
        return fail("says no reason for its index");
    }
    if (f.normaliser == Normaliser::Text) != (index == IndexKind::Words) {
        return fail("the normaliser \"text\" and the index \"words\" go together");
    }
    if f.prefixes.is_some_and(|p| p == 0 || p > 32)
        || f.prefixes.is_some() && !matches!(index, IndexKind::Token | IndexKind::Words)
    {
        return fail("prefixes go with the index \"token\" or \"words\" and are 1 to 32 characters long");
    }
    if f.normaliser == Normaliser::Until && (f.qualified_by.is_some() || index != IndexKind::Order(Quantiser::Minute)) {
        return fail("the normaliser \"until\" goes with the index { order = \"minute\" }, without a code");
    }
    if f.qualified_by.is_some() && (index == IndexKind::Words || f.prefixes.is_some()) {
        return fail("qualified_by does not go with \"words\" or prefixes: their tokens carry no code");
    }
    if let IndexKind::Order(q) | IndexKind::Cover(q) = &index {
        let fits = match q {
            Quantiser::Decimal7 | Quantiser::Linear { .. } => f.normaliser == Normaliser::Decimal,
            Quantiser::Minute => matches!(f.normaliser, Normaliser::Instant | Normaliser::Until),
            Quantiser::Day => f.normaliser == Normaliser::Date,
        };
        if !fits {
            return fail(
                "the quantiser does not fit the normaliser (decimal: linear, decimal7; instant: minute; date: day)",
            );
        }
        if matches!(index, IndexKind::Cover(_)) && q.bits() > 20 {
            return fail("a cover field has at most 20 bits: use a wider step or \"order\"");
        }
    }
    let optional = |p: &Option<String>| p.as_ref().map(|p| path(&full, p)).transpose();
    Ok(Field {
        name: f.name.clone(),
        paths: f.path.as_slice().iter().map(|p| path(&full, p)).collect::<Result<_, _>>()?,
        base: optional(&f.base)?,
        qualified_by: optional(&f.qualified_by)?,
        normaliser: f.normaliser,
        index,
        scope: f.scope,
        prefixes: f.prefixes,
        reason: f.reason.clone(),
        full: full.into(),
    })
}
