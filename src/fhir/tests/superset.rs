//! The index may find too much, never too little: for questions of every kind over generated records, each
//! record that satisfies the question satisfies its index clauses.
#![allow(clippy::unwrap_used)] // a test stops where it cannot go on

use std::collections::BTreeSet;

use proptest::prelude::*;
use sealdex_fhir::{IndexClause, QueryDoc, plan, resolve};
use sealdex_schema::{Entry, EntryKind, Schema};
use serde_json::{Value as Json, json};

/// Whether the cloud would find a record with these entries.
fn found(clause: &IndexClause, entries: &[Entry], source: &str) -> bool {
    let has = |f: &str, test: &dyn Fn(&EntryKind) -> bool| entries.iter().any(|e| &*e.field == f && test(&e.kind));
    match clause {
        IndexClause::All => true,
        IndexClause::Token { field, value, .. } => has(field, &|k| *k == EntryKind::Token(value.clone())),
        IndexClause::Bridged { field, value, .. } => has(field, &|k| *k == EntryKind::Bridged(value.clone())),
        IndexClause::Order { field, from, to, .. } => {
            has(field, &|k| matches!(k, EntryKind::Order { q, .. } if (from..=to).contains(&q)))
        }
        IndexClause::Cover { field, from, to, .. } => {
            has(field, &|k| matches!(k, EntryKind::Cover { q, .. } if (from..=to).contains(&q)))
        }
        IndexClause::Source(names) => names.iter().any(|n| n == source),
        IndexClause::And(cs) => cs.iter().all(|c| found(c, entries, source)),
        IndexClause::Or(cs) => cs.iter().any(|c| found(c, entries, source)),
        IndexClause::Not(c) => !found(c, entries, source),
    }
}

fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        r"-?[0-9]{1,4}(\.[0-9]{1,12})?",
        Just("6.5".into()),
        Just("6.50".into()),
        Just("1e2".into()),
        r"[0-9]{1,3}e-?[0-9]"
    ]
}

fn instant() -> impl Strategy<Value = String> {
    (2015..2020_u32, 1..13_u32, 1..29_u32, 0..24_u32, prop_oneof![Just("Z"), Just("+05:30"), Just("-08:00")])
        .prop_map(|(y, m, d, h, zone)| format!("{y}-{m:02}-{d:02}T{h:02}:59:30{zone}"))
}

fn code() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("4548-4"), Just("8480-6"), Just("x|y")]
}

prop_compose! {
    fn observation()(c in code(), system in prop_oneof![Just(Some("http://loinc.org")), Just(None)], v in number(), w in number(), d in instant(),
        part in code(), text in prop_oneof![Just("Acute viral"), Just("acute"), Just("Treviño test")]) -> Json {
        let number = |t: &str| serde_json::from_str::<Json>(t).unwrap_or_else(|_| json!(1));
        json!({ "resourceType": "Observation", "id": "o", "subject": { "reference": "Patient/p" }, "effectiveDateTime": d,
            "code": { "coding": [{ "system": system, "code": c }], "text": text },
            "valueQuantity": { "value": number(&v), "unit": "mg" },
            "component": [{ "code": { "coding": [{ "code": part }] }, "valueQuantity": { "value": number(&w) } }] })
    }
}

fn filter() -> impl Strategy<Value = Json> {
    let compare = prop_oneof![Just("eq"), Just("ne"), Just("lt"), Just("le"), Just("gt"), Just("ge")];
    prop_oneof![
        (compare.clone(), number()).prop_map(|(op, v)| json!({ "field": "value", "op": op, "value": v })),
        (number(), number()).prop_map(|(a, b)| json!({ "field": "value", "op": "between", "value": [a, b] })),
        (compare, number(), code())
            .prop_map(|(op, v, c)| json!({ "field": format!("component[{c}].value"), "op": op, "value": v })),
        (instant(), instant()).prop_map(|(a, b)| json!({ "field": "date", "op": "window", "value": [a, b] })),
        code().prop_map(|c| json!({ "field": "token", "op": "eq", "value": format!("http://loinc.org|{c}") })),
        (code(), code()).prop_map(|(a, b)| json!({ "field": "code", "op": "in", "value": [a, b] })),
        prop_oneof![Just("acute"), Just("treviño"), Just("trevi")]
            .prop_map(|w| json!({ "field": "text", "op": "word", "value": w })),
        Just(json!({ "field": "text", "op": "words_all", "value": ["viral", "ACUTE"] })),
        Just(json!({ "field": "unit", "op": "ne", "value": "kg" })),
        Just(json!({ "field": "source", "op": "in", "value": ["a", "b"] })),
        Just(json!({ "field": "source", "op": "ne", "value": "b" })),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]
    #[test]
    fn whatever_satisfies_a_question_is_found(record in observation(), filters in prop::collection::vec(filter(), 0..4)) {
        let schema = Schema::fhir_r4();
        let entries = schema.index("Observation", "o", &record).unwrap();
        let question = json!({ "resource": "Observation", "filters": filters });
        let resolved = resolve(&QueryDoc::parse(&question, "q", None).unwrap(), &schema).unwrap();
        if resolved.holds(&record, &BTreeSet::from(["a".to_owned()])) {
            let plan = plan(&resolved);
            prop_assert!(found(&plan.clause, &entries, "a"), "{question} on {record}: {:?}", plan.clause);
        }
    }
}
