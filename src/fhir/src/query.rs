//! Query documents: what people ask, before it meets a schema.

use serde_json::Value as Json;

/// Deepest nesting of `has`.
const MAX_DEPTH: usize = 4;
/// Most filters in one list.
const MAX_FILTERS: usize = 256;
/// Most values of one filter.
const MAX_VALUES: usize = 4096;

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryDoc {
    /// Name in reports.
    pub id: Option<String>,
    /// What it asks, in words.
    pub title: Option<String>,
    /// Record type asked for.
    pub resource: String,
    /// All must hold.
    pub filters: Vec<Filter>,
    /// A FHIR search in place of filters: what stands after the `?`.
    pub fhir: Option<String>,
    /// Only the largest.
    pub topk: Option<TopK>,
    /// Count by the values of a field.
    pub count_by: Option<FieldRef>,
    /// Count the distinct values of a field.
    pub distinct: Option<FieldRef>,
    /// Number, smallest, largest, sum of a field.
    pub agg: Option<FieldRef>,
    /// Purpose of use; the caller's default when absent.
    pub purpose: Option<String>,
}

/// The `k` records with the largest values of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopK {
    /// Field.
    pub field: FieldRef,
    /// How many.
    pub k: usize,
}

/// A field as a query names it: `value`, or `component[8480-6].value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldRef {
    /// Name without the code.
    pub name: String,
    /// Qualifying code.
    pub code: Option<String>,
}

impl FieldRef {
    /// Reads `name`, or `base[CODE].rest`.
    pub fn parse(text: &str) -> Option<Self> {
        let plain = |t: &str| !t.is_empty() && !t.contains(['[', ']']);
        match text.split_once('[') {
            None => plain(text).then(|| Self { name: text.into(), code: None }),
            Some((base, rest)) => {
                let (code, rest) = rest.split_once(']')?;
                (plain(base) && plain(code) && (rest.is_empty() || rest.starts_with('.')) && !rest.contains(['[', ']']))
                    .then(|| Self { name: format!("{base}{rest}"), code: Some(code.into()) })
            }
        }
    }
}

impl std::fmt::Display for FieldRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.code, self.name.split_once('.')) {
            (None, _) => f.write_str(&self.name),
            (Some(code), None) => write!(f, "{}[{code}]", self.name),
            (Some(code), Some((base, rest))) => write!(f, "{base}[{code}].{rest}"),
        }
    }
}

/// One condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// On a field of the record.
    Field {
        /// Field.
        field: FieldRef,
        /// Comparison.
        op: Op,
        /// What with; as many as the comparison takes.
        values: Vec<String>,
    },
    /// On other records of the patient.
    Has {
        /// Whether there must be none.
        negated: bool,
        /// Their type.
        resource: String,
        /// All must hold on one of them.
        filters: Vec<Filter>,
    },
}

/// Comparisons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Op {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    /// Both ends included.
    Between,
    In,
    /// Half-open: the start included, the end not.
    Window,
    Word,
    WordsAll,
    Prefix,
}

const OPS: [(&str, Op); 12] = [
    ("eq", Op::Eq),
    ("ne", Op::Ne),
    ("lt", Op::Lt),
    ("le", Op::Le),
    ("gt", Op::Gt),
    ("ge", Op::Ge),
    ("between", Op::Between),
    ("in", Op::In),
    ("window", Op::Window),
    ("word", Op::Word),
    ("words_all", Op::WordsAll),
    ("prefix", Op::Prefix),
];

impl std::fmt::Display for Op {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(OPS.iter().find(|(_, op)| op == self).map_or("?", |(name, _)| name))
    }
}

/// Why a document was refused: what is wrong, and where in it.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{place}: {reason}")]
pub struct QueryError {
    /// Which query and which part.
    pub place: String,
    /// What is wrong, and what would be right.
    pub reason: String,
}

/// A suite of questions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suite {
    /// Questions.
    pub queries: Vec<QueryDoc>,
    /// Column that identifies rows, in suites over tables: answers are then listed by it alone, not as
    /// `Type/id`.
    pub id_column: Option<String>,
}

fn err<T>(place: &str, reason: impl Into<String>) -> Result<T, QueryError> {
    Err(QueryError { place: place.into(), reason: reason.into() })
}

impl Suite {
    /// A suite of one FHIR search, `Type?query`.
    pub fn of_search(text: &str) -> Result<Self, QueryError> {
        let doc = QueryDoc::parse(&serde_json::json!({ "fhir": text.trim() }), "FHIR search", None)?;
        Ok(Self { queries: vec![doc], id_column: None })
    }

    /// Reads a suite, or a single document. `default_resource` is the record type of documents that name
    /// none (a table has one type only).
    pub fn parse(text: &str, default_resource: Option<&str>) -> Result<Self, QueryError> {
        let json: Json = serde_json::from_str(text).or_else(|e| err("query file", format!("not JSON: {e}")))?;
        let (list, id_column) = match &json {
            Json::Array(list) => (list.clone(), None),
            Json::Object(o) if o.contains_key("queries") => {
                let Some(list) = o["queries"].as_array() else { return err("queries", "must be a list") };
                (list.clone(), o.get("id_column").and_then(Json::as_str).map(str::to_owned))
            }
            Json::Object(_) => (vec![json], None),
            _ => return err("query file", "must hold an object or a list"),
        };
        let parse = |(i, q): (usize, &Json)| QueryDoc::parse(q, &format!("query {}", i + 1), default_resource);
        Ok(Self { queries: list.iter().enumerate().map(parse).collect::<Result<_, _>>()?, id_column })
    }
}

impl QueryDoc {
    /// Reads one document. `place` names it in errors.
    pub fn parse(json: &Json, place: &str, default_resource: Option<&str>) -> Result<Self, QueryError> {
        let Some(object) = json.as_object() else { return err(place, "must be an object") };
        let text = |name: &str| object.get(name).and_then(Json::as_str).map(str::to_owned);
        let id = text("id");
        let place = id.as_ref().or(text("title").as_ref()).map_or(place.to_owned(), |n| format!("query \"{n}\""));
        const KNOWN: [&str; 13] = [
            "id", "title", "resource", "filters", "topk", "count_by", "distinct", "agg", "purpose", "fhir", "expect",
            "note", "sort",
        ];
        if let Some(unknown) = object.keys().find(|k| !KNOWN.contains(&k.as_str()) || *k == "sort") {
            return err(
                &place,
                format!("unknown key \"{unknown}\"; known are filters, fhir, topk, count_by, distinct, agg, purpose"),
            );
        }
        // Beside filters it is their translation, for people.
        let fhir = text("fhir").filter(|_| !object.contains_key("filters"));
        let (searched, fhir) = match fhir.as_deref().map(|f| f.split_once('?').unwrap_or((f, ""))) {
            None => (None, None),
            Some((resource, query)) => (Some(resource.to_owned()), Some(query.to_owned())),
        };
        if searched.is_some() && text("resource").is_some_and(|r| Some(r) != searched) {
            return err(&place, "\"resource\" and the FHIR search name different record types");
        }
        if searched.is_some() && object.contains_key("topk") {
            return err(&place, "a FHIR search has no topk: use _sort");
        }
        let named = text("resource").or(searched);
        let Some(resource) = named.or_else(|| default_resource.map(str::to_owned)) else {
            return err(&place, "names no \"resource\" (the record type, such as \"Observation\")");
        };
        let filters = match object.get("filters") {
            None => Vec::new(),
            Some(list) => filters(list, &format!("{place}, filters"), MAX_DEPTH)?,
        };
        let field = |name: &str| match object.get(name) {
            None | Some(Json::Null) => Ok(None),
            Some(v) => field_ref(v, &format!("{place}, {name}")).map(Some),
        };
        let topk = match object.get("topk") {
            None | Some(Json::Null) => None,
            Some(t) => {
                let place = format!("{place}, topk");
                let k = t
                    .get("k")
                    .and_then(Json::as_u64)
                    .and_then(|k| usize::try_from(k).ok())
                    .filter(|k| (1..=10_000).contains(k));
                let Some(k) = k else { return err(&place, "\"k\" must be a whole number from 1 to 10000") };
                Some(TopK { field: field_ref(t.get("field").unwrap_or(&Json::Null), &place)?, k })
            }
        };
        Ok(Self {
            id,
            title: text("title"),
            resource,
            filters,
            fhir,
            topk,
            count_by: field("count_by")?,
            distinct: field("distinct")?,
            agg: field("agg")?,
            purpose: text("purpose"),
        })
    }
}

fn field_ref(json: &Json, place: &str) -> Result<FieldRef, QueryError> {
    match json.as_str().and_then(FieldRef::parse) {
        Some(field) => Ok(field),
        None => err(place, "\"field\" must be a name such as \"value\" or \"component[8480-6].value\""),
    }
}

fn filters(json: &Json, place: &str, depth: usize) -> Result<Vec<Filter>, QueryError> {
    let Some(list) = json.as_array() else { return err(place, "must be a list") };
    if list.len() > MAX_FILTERS {
        return err(place, format!("more than {MAX_FILTERS} filters"));
    }
    list.iter().enumerate().map(|(i, f)| filter(f, &format!("{place}[{i}]"), depth)).collect()
}

fn filter(json: &Json, place: &str, depth: usize) -> Result<Filter, QueryError> {
    let Some(object) = json.as_object() else { return err(place, "must be an object") };
    for (key, negated) in [("has", false), ("not_has", true)] {
        let Some(inner) = object.get(key) else { continue };
        let Some(depth) = depth.checked_sub(1) else { return err(place, format!("nested deeper than {MAX_DEPTH}")) };
        if object.len() != 1 {
            return err(place, format!("\"{key}\" stands alone in its filter"));
        }
        let Some(resource) = inner.get("resource").and_then(Json::as_str) else {
            return err(place, format!("\"{key}\" names no \"resource\""));
        };
        let empty = Json::Array(Vec::new());
        let filters = filters(inner.get("filters").unwrap_or(&empty), &format!("{place}.{key}"), depth)?;
        return Ok(Filter::Has { negated, resource: resource.to_owned(), filters });
    }
    if let Some(unknown) = object.keys().find(|k| !["field", "op", "value"].contains(&k.as_str())) {
        return err(place, format!("unknown key \"{unknown}\"; a filter has field, op, value, or is has / not_has"));
    }
    let field = field_ref(object.get("field").unwrap_or(&Json::Null), place)?;
    let name = object.get("op").and_then(Json::as_str).unwrap_or_default();
    let Some((_, op)) = OPS.iter().find(|(n, _)| *n == name) else {
        let known: Vec<_> = OPS.iter().map(|(n, _)| *n).collect();
        return err(place, format!("unknown op \"{name}\"; known are {}", known.join(" ")));
    };
    let values = values(object.get("value"), *op, place)?;
    Ok(Filter::Field { field, op: *op, values })
}

fn values(json: Option<&Json>, op: Op, place: &str) -> Result<Vec<String>, QueryError> {
    let scalar = |v: &Json| match v {
        Json::String(s) => Ok(s.clone()),
        Json::Number(n) => Ok(n.as_str().to_owned()),
        Json::Bool(b) => Ok(b.to_string()),
        _ => err(place, "\"value\" must be a text, a number or a list of them"),
    };
    let values = match json {
        None | Some(Json::Null) => return err(place, "has no \"value\""),
        Some(Json::Array(list)) if list.len() > MAX_VALUES => {
            return err(place, format!("more than {MAX_VALUES} values"));
        }
        Some(Json::Array(list)) => list.iter().map(scalar).collect::<Result<Vec<_>, _>>()?,
        Some(one) => vec![scalar(one)?],
    };
    let fits = match op {
        Op::Between | Op::Window => values.len() == 2,
        Op::In | Op::WordsAll => !values.is_empty(),
        _ => values.len() == 1,
    };
    if !fits {
        let wanted = match op {
            Op::Between | Op::Window => "two values, from and to",
            Op::In | Op::WordsAll => "at least one value",
            _ => "one value",
        };
        return err(place, format!("\"{op}\" takes {wanted}, got {}", values.len()));
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Result<QueryDoc, QueryError> {
        Suite::parse(text, None).map(|mut s| s.queries.remove(0))
    }

    #[test]
    fn a_document_is_read() {
        let q = one(r#"{"id":"a","resource":"Patient","filters":[{"field":"birthDate","op":"between","value":["1940","1950"]},
            {"not_has":{"resource":"Observation","filters":[{"field":"component[8480-6].value","op":"gt","value":140.50}]}}]}"#)
        .unwrap();
        let Filter::Has { negated: true, filters, .. } = &q.filters[1] else { panic!() };
        let Filter::Field { field, values, .. } = &filters[0] else { panic!() };
        assert_eq!((field.name.as_str(), field.code.as_deref()), ("component.value", Some("8480-6")));
        assert_eq!(values[0], "140.50", "numbers keep their text");
        assert_eq!(field.to_string(), "component[8480-6].value");
    }

    #[test]
    fn a_fhir_search_stands_in_place_of_filters() {
        let q = one(r#"{"id":"a","fhir":"Patient?name=ma"}"#).unwrap();
        assert_eq!((q.resource.as_str(), q.fhir.as_deref()), ("Patient", Some("name=ma")));
        let both = one(r#"{"resource":"Patient","fhir":"Patient?name=ma","filters":[]}"#).unwrap();
        assert_eq!(both.fhir, None, "beside filters it only says what they mean");
        assert!(
            one(r#"{"resource":"Observation","fhir":"Patient?name=ma"}"#).unwrap_err().reason.contains("different")
        );
        assert!(one(r#"{"fhir":"Patient","topk":{"field":"x","k":1}}"#).unwrap_err().reason.contains("_sort"));
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        let with = |filter: &str| one(&format!(r#"{{"id":"q7","resource":"X","filters":[{filter}]}}"#)).unwrap_err();
        let e = with(r#"{"field":"a","op":"like","value":1}"#);
        assert_eq!(e.place, "query \"q7\", filters[0]");
        assert!(e.reason.contains("unknown op \"like\"") && e.reason.contains("words_all"));
        assert!(with(r#"{"field":"a","op":"between","value":[1]}"#).reason.contains("two values"));
        assert!(with(r#"{"field":"a[","op":"eq","value":1}"#).reason.contains("must be a name"));
        assert!(with(r#"{"field":"a","op":"eq"}"#).reason.contains("no \"value\""));
        assert!(with(r#"{"field":"a","op":"eq","value":1,"valeu":2}"#).reason.contains("valeu"));
        assert!(one(r#"{"filters":[]}"#).unwrap_err().reason.contains("resource"));
        assert!(one("{").unwrap_err().reason.contains("not JSON"));
        let mut deep = r#"{"field":"a","op":"eq","value":1}"#.to_owned();
        for _ in 0..=MAX_DEPTH {
            deep = format!(r#"{{"has":{{"resource":"X","filters":[{deep}]}}}}"#);
        }
        assert!(with(&deep).reason.contains("deeper"));
    }
}
