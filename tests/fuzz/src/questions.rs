//! Questions and schemas.

use std::{collections::BTreeSet, sync::LazyLock};

use sealdex_fhir::{
    Mapping, Suite, plan, resolve,
    search::{Condition, Handling, Joined, narrow, pairs, parse},
};
use sealdex_schema::{FHIR_R4, Schema};

use crate::first;

pub(crate) static SCHEMA: LazyLock<Schema> = LazyLock::new(Schema::fhir_r4);

/// Query documents, schemas, mappings: the first byte picks.
pub(crate) fn questions(data: &[u8]) {
    let (what, rest) = first(data);
    let Ok(text) = std::str::from_utf8(rest) else { return };
    match what % 3 {
        0 => {
            let Ok(suite) = Suite::parse(text, Some("Observation")) else { return };
            for question in &suite.queries {
                if let Ok(resolved) = resolve(question, &SCHEMA) {
                    let _ = plan(&resolved);
                }
            }
        }
        1 => {
            let _ = Schema::parse(text);
        }
        _ => {
            let _ = Mapping::parse(text);
        }
    }
}

pub(crate) fn question_seeds() -> Vec<Vec<u8>> {
    let ranged = r#"{"resource":"Observation","filters":[{"field":"token","op":"eq","value":"http://loinc.org|1-8"},
        {"field":"value","op":"between","value":[1.5,"9e2"]}],"topk":{"field":"value","k":3}}"#;
    let joined = r#"{"resource":"Patient","filters":[{"has":{"resource":"Condition","filters":[]}}],"purpose":"x"}"#;
    let searched = r#"{"queries":[{"fhir":"Observation?code=http://loinc.org|1-8&value-quantity=ge6.5"}]}"#;
    let mapping = "record_type = \"T\"\nid = \"a\"\nowner = \"b\"\nmissing = [\"\"]\nnumbers = [\"c\"]\n";
    let tagged = |what: u8, text: &str| [vec![what], text.as_bytes().to_vec()].concat();
    vec![tagged(0, ranged), tagged(0, joined), tagged(0, searched), tagged(1, FHIR_R4), tagged(2, mapping)]
}

/// A search over a resource: first line the query, the rest the resource.
pub(crate) fn search(data: &[u8]) {
    let Ok(data) = std::str::from_utf8(data) else { return };
    let (query, resource) = data.split_once('\n').unwrap_or((data, "{}"));
    for kind in ["Observation", "Patient", "Encounter"] {
        let Ok(search) = parse(kind, &pairs(query), Handling::Lenient) else { continue };
        let set = || BTreeSet::from(["Patient/p".to_owned()]);
        let joined = |c: &Condition| match c {
            Condition::Own(_) => Joined::Own,
            Condition::Chain { .. } => Joined::RefersTo(set()),
            Condition::Has { .. } => Joined::Is(set()),
        };
        let joined: Vec<Joined> = search.conditions.iter().map(joined).collect();
        let _ = narrow(&search, &joined, &SCHEMA);
        if let Ok(json) = serde_json::from_str(resource) {
            let _ = search.holds(&json, &joined);
        }
    }
}

pub(crate) fn search_seeds() -> Vec<Vec<u8>> {
    let resource = String::from_utf8(crate::sources::OBSERVATION.to_vec()).unwrap();
    let queries = [
        "code=http://loinc.org|4548-4&value-quantity=ge6.5&_sort=-date",
        "subject:Patient.name=Ana&_count=3",
        "_has:Observation:patient:code=1-8&birthdate=lt1980-01",
        "identifier=http://x|1,2&_lastUpdated=gt2020-01-01T00:00:00Z",
    ];
    queries.iter().map(|q| format!("{q}\n{resource}").into_bytes()).collect()
}
