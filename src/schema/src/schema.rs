//! A checked schema.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value as Json;

use crate::{
    Decimal, IndexKind, Normaliser, Path, Quantiser, SchemaError, Scope,
    index::SUBJECT_FIELD,
    model::{FieldModel, IndexModel, LabelModel, QuantiserModel, SchemaModel, WithoutPatient},
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
    /// The patient with this reference, `Patient/id`; of whom only an identifier is known, `system|value`.
    Patient(String),
    /// The provider that pushes it.
    Provider,
}

/// A record whose owner cannot be told.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum OwnerError {
    /// It names none.
    #[error("no patient is named in {looked_in}, so nobody could be asked for consent")]
    Nobody {
        /// Paths.
        looked_in: String,
    },
    /// It names one in a way that cannot be followed.
    #[error("{looked_in} names someone in a way that leads to no record: write Patient/id")]
    Unresolved {
        /// Paths.
        looked_in: String,
    },
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
    without_patient: WithoutPatient,
    /// Fields by name.
    pub fields: Vec<Field>,
}

/// A kind of sensitive content. Records that bear it are sealed to sections of their own, `section/label`, under keys
/// of their own: a grant of the section alone does not open them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Name.
    pub name: String,
    /// Security labels (`meta.security`) that make a record sensitive in this way: `system|code`.
    pub codes: Vec<(String, String)>,
}

/// A checked schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    labels: Vec<Label>,
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

fn label(model: &LabelModel, sections: &[Section]) -> Result<Label, SchemaError> {
    let refused = |reason: String| SchemaError::Label { label: model.name.clone(), reason };
    name_ok(&model.name)?;
    if let Some(long) = sections.iter().find(|s| s.name.len() + 1 + model.name.len() > MAX_SECTION) {
        return Err(refused(format!("with section \"{}\" it has more than {MAX_SECTION} characters", long.name)));
    }
    let code = |text: &String| {
        let (system, code) = text.rsplit_once('|').ok_or_else(|| refused(format!("\"{text}\" is not system|code")))?;
        Ok((system.to_owned(), code.to_owned()))
    };
    let codes: Vec<_> = model.codes.iter().map(code).collect::<Result<_, _>>()?;
    if codes.is_empty() {
        Err(refused("it names no code".into()))
    } else {
        Ok(Label { name: model.name.clone(), codes })
    }
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
        let without_patient = model.default.without_patient;
        let fallback = RecordType { section, fields: fallback_fields(&owner), owner, without_patient };
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
            let (section, without_patient) = (find(name, &t.section)?, t.without_patient);
            types.insert(name.clone(), RecordType { section, owner, without_patient, fields });
        }
        let labels = model.labels.iter().map(|l| label(l, &sections)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { labels, sections, types, fallback })
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

    /// The section with this name; of `section/label`, the section.
    pub fn section(&self, name: &str) -> Option<&Section> {
        let (name, label) = name.split_once('/').map_or((name, None), |(name, label)| (name, Some(label)));
        let known = label.is_none_or(|label| self.labels.iter().any(|l| l.name == label));
        self.sections.iter().find(|s| known && s.name == name)
    }

    /// Sensitivity labels, the one that counts first.
    pub fn labels(&self) -> &[Label] {
        &self.labels
    }

    /// The label of a record: the first of the schema's whose codes its `meta.security` has.
    pub fn label_of(&self, json: &Json) -> Option<&Label> {
        let security = json.get("meta")?.get("security")?.as_array()?;
        let text = |coding: &Json, name| coding.get(name).and_then(Json::as_str).map(str::to_owned);
        let has = |label: &&Label| {
            label.codes.iter().any(|(system, code)| {
                security
                    .iter()
                    .any(|c| text(c, "code").as_ref() == Some(code) && text(c, "system").as_ref() == Some(system))
            })
        };
        self.labels.iter().find(has)
    }

    /// Name of the section that a patient's record is sealed to: of its type, and of its label if it has one.
    pub fn sealed_to(&self, record_type: &str, json: &Json) -> String {
        let section = &self.section_of(record_type).name;
        self.label_of(json).map_or_else(|| section.clone(), |label| format!("{section}/{}", label.name))
    }

    /// Sections that records of patients can go to, as opposed to the providers' own.
    pub fn patient_sections(&self) -> impl Iterator<Item = &Section> {
        let own: Vec<usize> =
            self.types.values().filter(|t| t.owner == OwnerRule::Provider).map(|t| t.section).collect();
        self.sections.iter().enumerate().filter(move |(i, _)| !own.contains(i)).map(|(_, s)| s)
    }

    /// Sections of records that belong to their provider and are for every member: directories.
    pub fn directory_sections(&self) -> impl Iterator<Item = &Section> {
        self.sections_where(|t| t.owner == OwnerRule::Provider)
    }

    /// Sections in which a provider may own records: its directories, and those of types whose records may
    /// name no patient.
    pub fn provider_sections(&self) -> impl Iterator<Item = &Section> {
        self.sections_where(|t| t.owner == OwnerRule::Provider || t.without_patient == WithoutPatient::Provider)
    }

    fn sections_where(&self, rule: impl Fn(&RecordType) -> bool) -> impl Iterator<Item = &Section> {
        let all = self.types.values().chain([&self.fallback]);
        let own: Vec<usize> = all.filter(|t| rule(t)).map(|t| t.section).collect();
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
    ///
    /// A record that names no patient (its subject is a group, a device, described only within it, or not
    /// there) is the provider's where the schema says so. One that names someone in a way that cannot be
    /// followed is refused: it may be a patient's, and would then be in the wrong hands.
    pub fn owner(&self, record_type: &str, id: &str, json: &Json) -> Result<Owner, OwnerError> {
        let of_type = self.record_type(record_type);
        match &of_type.owner {
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
                let owner = owner.or_else(|| paths.iter().find_map(|p| by_identifier(p, json)));
                match (owner, of_type.without_patient) {
                    (Some(patient), _) => Ok(Owner::Patient(patient)),
                    (None, WithoutPatient::Refuse) => Err(OwnerError::Nobody { looked_in: describe(paths) }),
                    (None, WithoutPatient::Provider) if paths.iter().any(|p| unresolved(p, json)) => {
                        Err(OwnerError::Unresolved { looked_in: describe(paths) })
                    }
                    (None, WithoutPatient::Provider) => Ok(Owner::Provider),
                }
            }
        }
    }
}

/// Whether a reference names someone without leading to a record.
fn unresolved(path: &Path, json: &Json) -> bool {
    let mut found = false;
    path.visit(json, &mut |reference| {
        found |= reference.as_str().is_none_or(|text| !text.starts_with('#') && local_reference(text).is_none());
    });
    found
}

/// Someone a reference names by an identifier only, `system|value`: a patient of whom no record is known.
fn by_identifier(path: &Path, json: &Json) -> Option<String> {
    let mut owner = None;
    path.parent()?.visit(json, &mut |element| {
        let of_patient = element.get("type").and_then(Json::as_str).is_none_or(|t| t == "Patient");
        let identifier = element.get("identifier").filter(|_| of_patient && element.get("reference").is_none());
        let text = |name| identifier.and_then(|i| i.get(name)).and_then(Json::as_str).map(str::trim);
        let named = text("value").filter(|v| !v.is_empty());
        owner = owner.take().or_else(|| named.map(|value| format!("{}|{value}", text("system").unwrap_or_default())));
    });
    owner
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
