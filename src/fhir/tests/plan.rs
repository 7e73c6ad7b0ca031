//! A plan finds every answer: for any record and any question that holds on it, the clauses match the
//! record's own index entries.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test stops where it cannot go on

mod index_model;

use std::collections::BTreeSet;

use index_model::finds;
use proptest::prelude::*;
use sealdex_fhir::{IndexClause, Plan, QueryDoc, plan, resolve};
use sealdex_schema::{Schema, Scope};
use serde_json::{Value as Json, json};

fn planned(schema: &Schema, doc: &Json) -> Plan {
    plan(&resolve(&QueryDoc::parse(doc, "q", None).unwrap(), schema).unwrap())
}

fn one_of(values: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::sample::select(values).prop_map(str::to_owned)
}

const SYSTEMS: &[&str] = &["http://loinc.org", "http://snomed.info/sct", "urn:s|2", ""];
const CODES: &[&str] = &["4548-4", "8480-6", "8462-4", "a|b", "A"];
const WORDS: &[&str] = &["Blood", "pressure", "Treviño", "Trevin\u{303}o", "pre-diabetes", "DIABETES", "İstanbul", "8"];
const DATES: &[&str] = &[
    "2018",
    "2018-06",
    "2018-06-11",
    "2018-06-11T10:00:00Z",
    "2018-06-11T10:00:00+02:00",
    "2018-06-11T09:59:59.999-01:00",
    "1889-12-31",
    "2018-06-11T08:00:30Z",
];
const UNITS: &[&str] = &["mg/dL", "mL/min", " mL/min ", "%"];

/// Few distinct values, so that questions often hold.
fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        one_of(&["0", "-0.0", "7.5", "7.50", "75e-1", "1e2", "100.0", "139.9999999", "140", "-3", "1e-13", "1e27"]),
        r"-?[1-9][0-9]{0,2}(\.[0-9]{1,9})?",
    ]
}

fn coding() -> impl Strategy<Value = Json> {
    (one_of(SYSTEMS), one_of(CODES), one_of(WORDS)).prop_map(|(system, code, display)| {
        let mut c = json!({"code": code, "display": display});
        if !system.is_empty() {
            c["system"] = system.into();
        }
        c
    })
}

fn quantity() -> impl Strategy<Value = Json> {
    (number(), prop::option::of(one_of(UNITS))).prop_map(|(value, unit)| {
        let value: serde_json::Number = value.parse().expect("a JSON number");
        let mut q = json!({ "value": value });
        if let Some(unit) = unit {
            q["unit"] = unit.into();
        }
        q
    })
}

fn observation() -> impl Strategy<Value = Json> {
    let concept = || {
        (prop::collection::vec(coding(), 0..3), prop::option::of(prop::collection::vec(one_of(WORDS), 1..4))).prop_map(
            |(coding, text)| match text {
                Some(words) => json!({"coding": coding, "text": words.join(" ")}),
                None => json!({ "coding": coding }),
            },
        )
    };
    let component = (concept(), prop::option::of(quantity())).prop_map(|(code, value)| match value {
        Some(v) => json!({"code": code, "valueQuantity": v}),
        None => json!({ "code": code }),
    });
    let date = prop::option::of(one_of(DATES));
    (concept(), prop::option::of(quantity()), prop::collection::vec(component, 0..3), date).prop_map(
        |(code, value, component, date)| {
            let mut o = json!({"resourceType": "Observation", "id": "o", "code": code, "component": component,
                "subject": {"reference": "Patient/p"}});
            if let Some(v) = value {
                o["valueQuantity"] = v;
            }
            if let Some(d) = date {
                o["effectiveDateTime"] = d.into();
            }
            o
        },
    )
}

fn patient() -> impl Strategy<Value = Json> {
    (
        prop::option::of(one_of(&["1980", "1980-06", "1980-06-15", "1919-12-31"])),
        one_of(&["Ma", "Treviño", "TREVIN\u{303}O", "van  der Berg"]),
        one_of(&["1", " 2", "3"]),
        one_of(&["02139", "02", "94110-1234"]),
    )
        .prop_map(|(birth, family, identifier, zip)| {
            let mut p = json!({"resourceType": "Patient", "id": "p", "gender": "female",
                "name": [{"family": family, "given": [null, "Ana"]}], "address": [{"city": "Boston", "postalCode": zip}],
                "identifier": [{"system": "urn:mrn", "value": identifier}, {"value": identifier}]});
            if let Some(b) = birth {
                p["birthDate"] = b.into();
            }
            p
        })
}

fn compared(field: &'static str, value: BoxedStrategy<String>, ordered: bool) -> BoxedStrategy<Json> {
    let single: &[&str] = if ordered { &["eq", "ne", "lt", "le", "gt", "ge"] } else { &["eq", "ne"] };
    let pair: &[&str] = if ordered { &["between", "window"] } else { &["in"] };
    prop_oneof![
        (prop::sample::select(single.to_vec()), value.clone())
            .prop_map(move |(op, v)| json!({"field": field, "op": op, "value": v})),
        (prop::sample::select(pair.to_vec()), value.clone(), value)
            .prop_map(move |(op, a, b)| json!({"field": field, "op": op, "value": [a, b]})),
    ]
    .boxed()
}

fn observation_filter() -> impl Strategy<Value = Json> {
    let token = (one_of(SYSTEMS), one_of(CODES)).prop_map(|(s, c)| format!("{s}|{c}")).boxed();
    let word = one_of(&["blood", "TREVIÑO", "Trevi", "o", "diabetes", "istanbul", "İstanbul", "8"]).boxed();
    prop_oneof![
        compared("token", token, false),
        compared("code", one_of(CODES).boxed(), false),
        compared("value", number().boxed(), true),
        compared("component[8480-6].value", number().boxed(), true),
        compared("value[4548-4]", number().boxed(), true),
        compared("unit", one_of(UNITS).boxed(), false),
        compared("date", one_of(DATES).boxed(), true),
        compared("source", one_of(&["a", "b"]).boxed(), false),
        word.clone().prop_map(|w| json!({"field": "text", "op": "word", "value": w})),
        (word.clone(), word).prop_map(|(a, b)| json!({"field": "text", "op": "words_all", "value": [a, b]})),
        one_of(&["m", "mL", "mL/min"]).prop_map(|p| json!({"field": "unit", "op": "prefix", "value": p})),
        one_of(&["b", "treviñ", "Ist"]).prop_map(|p| json!({"field": "text", "op": "prefix", "value": p})),
    ]
}

fn patient_filter() -> impl Strategy<Value = Json> {
    let name = one_of(&["ma", "Treviño", "van der berg"]).boxed();
    prop_oneof![
        compared("birthDate", one_of(&["1980", "1980-06-15", "1980-12-31", "1919", "2030"]).boxed(), true),
        compared("family", name, false),
        compared("identifier", one_of(&["urn:mrn|1", "|2", "urn:mrn| 3"]).boxed(), false),
        one_of(&["t", "TREV", "van d", "van der Berg "])
            .prop_map(|p| json!({"field": "family", "op": "prefix", "value": p})),
        one_of(&["0", "02139", "94110-12"]).prop_map(|p| json!({"field": "postalCode", "op": "prefix", "value": p})),
    ]
}

fn check(schema: &Schema, record: &Json, filters: &[Json], source: &str) -> Result<bool, TestCaseError> {
    let kind = record["resourceType"].as_str().unwrap();
    let doc = QueryDoc::parse(&json!({"resource": kind, "filters": filters}), "q", None).unwrap();
    let question = resolve(&doc, schema).map_err(|e| TestCaseError::fail(e.to_string()))?;
    let holds = question.holds(record, &BTreeSet::from([source.to_owned()]));
    if holds {
        let entries = schema.index(kind, "x", record).map_err(|e| TestCaseError::fail(format!("{e:?}")))?;
        let plan = plan(&question);
        prop_assert!(finds(&plan.clause, &entries, source), "{:?}\nmisses {entries:?}", plan.clause);
    }
    Ok(holds)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn no_observation_is_missed(record in observation(), filters in prop::collection::vec(observation_filter(), 0..3)) {
        check(&Schema::fhir_r4(), &record, &filters, "a")?;
    }

    #[test]
    fn no_patient_is_missed(record in patient(), filters in prop::collection::vec(patient_filter(), 0..3)) {
        check(&Schema::fhir_r4(), &record, &filters, "a")?;
    }
}

/// The generators above make questions that hold: else the properties would say nothing.
#[test]
fn generated_questions_often_hold() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let strategy = (observation(), observation_filter());
    let schema = Schema::fhir_r4();
    let held = (0..1000)
        .filter(|_| {
            use proptest::strategy::ValueTree as _;
            let (record, filter) = strategy.new_tree(&mut runner).unwrap().current();
            check(&schema, &record, &[filter], "a").unwrap()
        })
        .count();
    assert!(held > 100, "{held} of 1000");
}

#[test]
fn a_value_is_narrowed_under_each_code_asked_for() {
    let doc = json!({"resource": "Observation", "filters": [
        {"field": "token", "op": "in", "value": ["http://loinc.org|1-1", "http://loinc.org|2-2"]},
        {"field": "value", "op": "ge", "value": "7.5"}]});
    let plan = planned(&Schema::fhir_r4(), &doc);
    assert!(plan.notes.is_empty());
    let IndexClause::And(clauses) = &plan.clause else { panic!("{plan:?}") };
    let IndexClause::Or(ranges) = &clauses[1] else { panic!("{plan:?}") };
    let names: Vec<&str> = ranges
        .iter()
        .map(|r| match r {
            IndexClause::Order { field, scope: Scope::Merged, from: 2_261_983_649, to: 0xffff_ffff, .. } => &**field,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(names, ["Observation.value|1-1", "Observation.value|2-2"]);
}

#[test]
fn bars_in_systems_and_codes_do_not_hide_a_value() {
    let record = json!({"resourceType": "Observation", "code": {"coding": [{"system": "urn:s|2", "code": "a|b"}]},
        "valueQuantity": {"value": 1}});
    let filters = [
        json!({"field": "token", "op": "eq", "value": "urn:s|2|a|b"}),
        json!({"field": "value", "op": "eq", "value": 1}),
    ];
    assert!(check(&Schema::fhir_r4(), &record, &filters, "a").unwrap());
}

#[test]
fn a_value_without_a_code_is_left_over_with_a_note() {
    let doc = json!({"resource": "Observation", "filters": [{"field": "value", "op": "ge", "value": 1}]});
    let plan = planned(&Schema::fhir_r4(), &doc);
    let only_type = IndexClause::And(vec![IndexClause::Token {
        field: "#type".into(),
        scope: Scope::Isolated,
        value: b"Observation".to_vec(),
    }]);
    assert_eq!(plan.clause, only_type);
    assert!(plan.notes[0].contains("without a code"));
}

#[test]
fn the_largest_are_sorted_by_the_one_code_asked_for() {
    let schema = Schema::fhir_r4();
    let sorted = |codes: Json| {
        let doc = json!({"resource": "Observation", "filters": [{"field": "code", "op": "in", "value": codes}],
            "topk": {"field": "value", "k": 3}});
        planned(&schema, &doc).sort.map(|s| s.field.to_string())
    };
    assert_eq!(sorted(json!(["1-1"])).as_deref(), Some("Observation.value|1-1"));
    assert_eq!(sorted(json!(["1-1", "2-2"])), None);
}

/// A schema of one's own: fields named "code" that stand elsewhere qualify nothing, and tokens may be
/// qualified too.
#[test]
fn qualifying_codes_come_from_the_same_place_in_the_record() {
    let field = |name: &str, path: &str, more: &str| {
        format!("[[types.T.fields]]\nname=\"{name}\"\npath=\"{path}\"\nreason=\"test\"\n{more}\n")
    };
    let text = [
        "version=1\n[sections.a]\n[default]\nsection=\"a\"\nowner=\"subject.reference\"\n[types.T]\nsection=\"a\"\nowner=\"itself\"\n".into(),
        field("code", "other.coding", "normaliser=\"code\"\nindex=\"token\""),
        field("kind", "main.coding", "normaliser=\"code\"\nindex=\"token\""),
        field("value", "v", "normaliser=\"decimal\"\nindex={order=\"decimal7\"}\nqualified_by=\"main.coding.code\""),
        field("unit", "u", "normaliser=\"string\"\nindex=\"token\"\nqualified_by=\"main.coding.code\""),
    ]
    .concat();
    let schema = Schema::parse(&text).unwrap();
    let record = json!({"resourceType": "T", "other": {"coding": {"code": "x"}}, "main": {"coding": {"code": "y"}}, "v": 5, "u": "mg"});
    let eq = |field: &str, value: &str| json!({"field": field, "op": "eq", "value": value});
    for filters in [
        vec![eq("code", "x"), eq("value", "5.0")],
        vec![eq("kind", "y"), eq("value", "5.0")],
        vec![eq("kind", "y"), eq("unit", "mg")],
        vec![eq("unit", "mg")],
        vec![eq("unit[y]", "mg")],
    ] {
        assert!(check(&schema, &record, &filters, "a").unwrap(), "{filters:?} holds and is found");
    }
}

#[test]
fn records_of_unnamed_types_are_found_by_their_patient() {
    let schema = Schema::fhir_r4();
    let flag = json!({"resourceType": "Flag", "id": "f", "subject": {"reference": "Patient/p"}});
    let other = json!({"resourceType": "Basic", "id": "f", "subject": {"reference": "Patient/p"}});
    let doc = json!({"resource": "Flag", "filters": [{"field": "subject", "op": "eq", "value": "Patient/p"}]});
    let clause = planned(&schema, &doc).clause;
    assert!(finds(&clause, &schema.index("Flag", "f", &flag).unwrap(), "a"));
    assert!(!finds(&clause, &schema.index("Basic", "f", &other).unwrap(), "a"), "the type is asked for too");
}
