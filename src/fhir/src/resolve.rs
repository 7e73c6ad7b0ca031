//! A query document meets the schema: every field and value is checked before anything is asked.

use std::sync::Arc;

use sealdex_schema::{Field, IndexKind, Normaliser, Schema, Value, query_word};

use crate::{
    query::{FieldRef, Filter, Op, QueryDoc, QueryError},
    record::PATIENT_TYPES,
    search::{Handling, Search, pairs, parse},
};

/// A checked question.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// Record type.
    pub resource: String,
    /// All must hold.
    pub filters: Vec<Condition>,
    /// Conditions on other records of the patient.
    pub has: Vec<HasCondition>,
    /// A FHIR search in place of the two.
    pub search: Option<Search>,
    /// Only the largest.
    pub topk: Option<(Target, usize)>,
    /// Count by.
    pub count_by: Option<Group>,
    /// Distinct values of.
    pub distinct: Option<Group>,
    /// Aggregate of.
    pub agg: Option<Target>,
}

/// A condition on other records of the patient.
#[derive(Clone, Debug)]
pub struct HasCondition {
    /// Whether there must be none.
    pub negated: bool,
    /// What they must be.
    pub inner: Resolved,
}

/// A field with its qualifying code.
#[derive(Clone, Debug)]
pub struct Target {
    /// Field.
    pub field: Arc<Field>,
    /// Code.
    pub code: Option<String>,
}

/// What records are grouped by.
#[derive(Clone, Debug)]
pub enum Group {
    /// The provider that holds them.
    Source,
    /// A field.
    Field(Target),
}

/// A condition on a record itself.
#[derive(Clone, Debug)]
pub enum Condition {
    /// The provider that holds it is one (or none) of these.
    Source {
        /// None of them.
        negated: bool,
        /// Names.
        names: Vec<String>,
    },
    /// A comparison with canonical values.
    Compare {
        /// Field.
        target: Target,
        /// Comparison; never `Word`, `WordsAll`, `Prefix`.
        op: Op,
        /// Canonical values.
        values: Vec<Value>,
    },
    /// All words occur.
    Words {
        /// Field.
        target: Target,
        /// Words in lower case.
        words: Vec<String>,
    },
    /// A value begins so.
    Prefix {
        /// Field.
        target: Target,
        /// Beginning.
        prefix: String,
    },
}

fn err<T>(place: &str, reason: String) -> Result<T, QueryError> {
    Err(QueryError { place: place.to_owned(), reason })
}

/// Checks a document against the schema.
pub fn resolve(doc: &QueryDoc, schema: &Schema) -> Result<Resolved, QueryError> {
    let place = doc.id.as_ref().or(doc.title.as_ref()).map_or("query".to_owned(), |n| format!("query \"{n}\""));
    let (filters, has) = conditions(&doc.resource, &doc.filters, schema, &place)?;
    let target_of = |f: &FieldRef| target(&doc.resource, f, schema, &place);
    let group = |f: &Option<FieldRef>| {
        f.as_ref()
            .map(|f| if f.name == "source" { Ok(Group::Source) } else { target_of(f).map(Group::Field) })
            .transpose()
    };
    let numeric = |t: Target, what: &str| match t.field.normaliser {
        Normaliser::Decimal => Ok(t),
        _ => err(&place, format!("{what} needs a field of numbers; {} is none", t.field.full)),
    };
    let topk = match &doc.topk {
        None => None,
        Some(t) => {
            let target = target_of(&t.field)?;
            if matches!(target.field.normaliser, Normaliser::Text | Normaliser::Coding | Normaliser::Identifier) {
                return err(&place, format!("topk needs a field with an order; {} has none", target.field.full));
            }
            Some((target, t.k))
        }
    };
    let search = doc.fhir.as_ref().map(|query| parse(&doc.resource, &pairs(query), Handling::Strict)).transpose();
    let search = search.or_else(|e| err(&place, e.to_string()))?;
    Ok(Resolved {
        search,
        topk,
        count_by: group(&doc.count_by)?,
        distinct: group(&doc.distinct)?,
        agg: doc.agg.as_ref().map(|f| target_of(f).and_then(|t| numeric(t, "agg"))).transpose()?,
        resource: doc.resource.clone(),
        filters,
        has,
    })
}

type Conditions = (Vec<Condition>, Vec<HasCondition>);

fn conditions(resource: &str, filters: &[Filter], schema: &Schema, place: &str) -> Result<Conditions, QueryError> {
    if !schema.knows(resource) && !PATIENT_TYPES.contains(&resource) {
        let known: Vec<&str> = schema.types().map(|(n, _)| n).collect();
        return err(place, format!("the schema knows no record type \"{resource}\"{}", suggest(resource, &known)));
    }
    let (mut own, mut has) = (Vec::new(), Vec::new());
    for filter in filters {
        match filter {
            Filter::Field { field, op, values } => own.push(condition(resource, field, *op, values, schema, place)?),
            Filter::Has { negated, resource: other, filters } => {
                if resource != "Patient" {
                    return err(place, format!("has and not_has are for Patient, not for {resource}"));
                }
                if schema.field(other, "subject").is_none() {
                    return err(
                        place,
                        format!("records of type {other} do not say which patient they are of (no field \"subject\")"),
                    );
                }
                let (filters, inner_has) = conditions(other, filters, schema, place)?;
                let inner = Resolved {
                    resource: other.clone(),
                    filters,
                    has: inner_has,
                    search: None,
                    topk: None,
                    count_by: None,
                    distinct: None,
                    agg: None,
                };
                has.push(HasCondition { negated: *negated, inner });
            }
        }
    }
    Ok((own, has))
}

fn target(resource: &str, field: &FieldRef, schema: &Schema, place: &str) -> Result<Target, QueryError> {
    let Some(found) = schema.field(resource, &field.name) else {
        let mut known: Vec<&str> = schema.record_type(resource).fields.iter().map(|f| f.name.as_str()).collect();
        known.push("source");
        return err(
            place,
            format!("{resource} has no indexed field \"{}\"{}", field.name, suggest(&field.name, &known)),
        );
    };
    if found.normaliser == Normaliser::Until {
        return err(place, format!("{} serves FHIR searches; ask for \"date\" or \"end\"", found.full));
    }
    if field.code.is_some() && found.qualified_by.is_none() {
        return err(place, format!("{} is not qualified by a code: write \"{}\"", found.full, found.name));
    }
    if found.base.is_some() && found.qualified_by.is_some() && field.code.is_none() {
        let (base, rest) = field.name.split_once('.').unwrap_or((&field.name, ""));
        return err(place, format!("say which part: \"{base}[CODE].{rest}\""));
    }
    Ok(Target { field: Arc::new(found.clone()), code: field.code.clone() })
}

fn condition(
    resource: &str,
    field: &FieldRef,
    op: Op,
    values: &[String],
    schema: &Schema,
    place: &str,
) -> Result<Condition, QueryError> {
    if field.name == "source" && field.code.is_none() {
        return match op {
            Op::Eq | Op::In | Op::Ne => Ok(Condition::Source { negated: op == Op::Ne, names: values.to_vec() }),
            _ => err(place, format!("source takes eq, ne or in, not {op}")),
        };
    }
    let target = target(resource, field, schema, place)?;
    let full = target.field.full.clone();
    let text_field = target.field.index == IndexKind::Words;
    match op {
        Op::Word | Op::WordsAll if !text_field => err(
            place,
            format!(
                "{full} is not indexed by words: use eq{}",
                if target.field.prefixes.is_some() { " or prefix" } else { "" }
            ),
        ),
        Op::Word | Op::WordsAll => {
            let words: Option<Vec<String>> = values.iter().map(|v| query_word(v)).collect();
            match words {
                Some(words) => Ok(Condition::Words { target, words }),
                None => err(place, format!("{op} takes single words; for several words use words_all")),
            }
        }
        Op::Prefix if text_field => match query_word(&values[0]) {
            Some(prefix) => Ok(Condition::Prefix { target, prefix }),
            None => err(place, "prefix on a text takes the beginning of one word".into()),
        },
        _ if text_field => err(place, format!("{full} is indexed by words: use word, words_all or prefix, not {op}")),
        Op::Prefix => match target.field.normaliser.asked(&values[0]) {
            Ok(Value::Text(prefix)) if !prefix.is_empty() => Ok(Condition::Prefix { target, prefix }),
            _ => err(
                place,
                format!("prefix needs a field of texts and a non-empty beginning; {full} has neither or not both"),
            ),
        },
        _ => {
            let ordered =
                matches!(target.field.normaliser, Normaliser::Decimal | Normaliser::Instant | Normaliser::Date);
            if !ordered && !matches!(op, Op::Eq | Op::Ne | Op::In) {
                return err(
                    place,
                    format!(
                        "{full} has no order: use eq, ne, in{}",
                        if target.field.prefixes.is_some() { " or prefix" } else { "" }
                    ),
                );
            }
            if let (Normaliser::Coding | Normaliser::Identifier, Some(v)) =
                (target.field.normaliser, values.iter().find(|v| !v.contains('|')))
            {
                return err(place, bare_value(&target, v, schema.field(resource, "code").is_some()));
            }
            let asked = |v: &String| {
                target.field.normaliser.asked(v).or_else(|e| err(place, format!("\"{v}\" does not fit {full}: {e}")))
            };
            let values = values.iter().map(asked).collect::<Result<_, _>>()?;
            Ok(Condition::Compare { target, op, values })
        }
    }
}

/// A value without its system would match nothing, which a person would take for an answer.
fn bare_value(target: &Target, value: &str, has_code: bool) -> String {
    let full = &target.field.full;
    let any_system =
        if target.field.name == "token" && has_code { "; for any system ask the field \"code\"" } else { "" };
    format!(
        "{full} is compared with its system: write \"system|{value}\", or \"|{value}\" where it has none{any_system}"
    )
}

/// A hint: the nearest known name, or all of them when there are few.
fn suggest(name: &str, known: &[&str]) -> String {
    let near = known.iter().min_by_key(|k| distance(&name.to_lowercase(), &k.to_lowercase()));
    let list = if known.len() <= 24 { format!("; there are: {}", known.join(", ")) } else { String::new() };
    match near.filter(|k| distance(&name.to_lowercase(), &k.to_lowercase()) <= 1 + name.len() / 3) {
        Some(near) => format!("; did you mean \"{near}\"?{list}"),
        None => list,
    }
}

/// Levenshtein distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().take(64).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let next = (diagonal + usize::from(ca != *cb)).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = row[j + 1];
            row[j + 1] = next;
        }
    }
    row[b.len()]
}
