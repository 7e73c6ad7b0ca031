//! What the operators mean, on small records; and what a wrong question is told.
#![allow(clippy::unwrap_used)] // a test stops where it cannot go on

use sealdex_fhir::{Corpus, Figures, QueryDoc, Record, Suite, resolve};
use sealdex_schema::{DIABETES130, Schema};
use serde_json::{Value as Json, json};

fn put(corpus: &mut Corpus, source: &str, text: &str) {
    corpus.add(Record::from_bytes(text.as_bytes().to_vec()).unwrap(), source);
}

fn observation(id: &str, patient: &str, code: &str, value: &str, date: &str) -> String {
    format!(
        r#"{{"resourceType":"Observation","id":"{id}","subject":{{"reference":"Patient/{patient}"}},
        "code":{{"coding":[{{"system":"http://loinc.org","code":"{code}","display":"Hemoglobin A1c"}}],"text":"HbA1c, Prediabetes panel"}},
        "effectiveDateTime":"{date}","valueQuantity":{{"value":{value},"unit":"%"}}}}"#
    )
}

fn corpus() -> Corpus {
    let mut c = Corpus::default();
    for (source, id, birth) in [("s1", "p1", "1980-06-15"), ("s2", "p1", "1980-06-15"), ("s2", "p2", "1980")] {
        let gender = if id == "p1" { "female" } else { "male" };
        let text = format!(r#"{{"resourceType":"Patient","id":"{id}","gender":"{gender}","birthDate":"{birth}"}}"#);
        put(&mut c, source, &text);
    }
    put(&mut c, "s1", &observation("o1", "p1", "4548-4", "6.50", "2018-06-11T10:00:00+02:00"));
    put(&mut c, "s1", &observation("o2", "p1", "4548-4", "6.5", "2018-06-11T08:00:00.001Z"));
    put(&mut c, "s2", &observation("o3", "p2", "4548-4", "7.1234567890123456789", "2019"));
    put(&mut c, "s2", &observation("o4", "p2", "2339-0", "126", "2018-06-11T09:59:59Z"));
    put(
        &mut c,
        "s2",
        r#"{"resourceType":"Observation","id":"o5","code":{"coding":[{"code":"4548-4"}]},"subject":{"reference":"Patient/p2"}}"#,
    );
    put(
        &mut c,
        "s2",
        r#"{"resourceType":"Observation","id":"bp","subject":{"reference":"Patient/p2"},"code":{"coding":[{"system":"http://loinc.org","code":"55284-4"}]},
        "component":[{"code":{"coding":[{"code":"8480-6"}]},"valueQuantity":{"value":141}},
                     {"code":{"coding":[{"system":"http://loinc.org","code":"8462-4"}]},"valueQuantity":{"value":79}}]}"#,
    );
    c
}

fn ask(doc: &Json) -> (Vec<String>, Figures) {
    let doc = QueryDoc::parse(doc, "q", None).unwrap();
    let (hits, figures) = corpus().ask(&doc, &Schema::fhir_r4()).unwrap();
    (hits.into_iter().map(|h| h.identity.split_once('/').unwrap().1.to_owned()).collect(), figures)
}

fn ids(resource: &str, filters: Json) -> Vec<String> {
    ask(&json!({"resource": resource, "filters": filters})).0
}

fn one(field: &str, op: &str, value: Json) -> Vec<String> {
    ids("Observation", json!([{"field": field, "op": op, "value": value}]))
}

#[test]
fn numbers_are_exact_and_what_is_absent_never_matches() {
    assert_eq!(one("value", "eq", json!("6.500")), ["o1", "o2"]);
    assert_eq!(one("value", "ne", json!("6.5")), ["o3", "o4"], "o5 and bp have no value");
    assert_eq!(one("value", "gt", json!("7.1234567890123456788")), ["o3", "o4"]);
    assert_eq!(one("value", "between", json!(["6.5", "7.1234567890123456788"])), ["o1", "o2"]);
    assert_eq!(one("value", "in", json!([126, "6.5"])), ["o1", "o2", "o4"]);
    assert_eq!(one("value[2339-0]", "ge", json!(0)), ["o4"]);
}

#[test]
fn windows_are_half_open_and_in_utc() {
    let window = |from: &str, to: &str| one("date", "window", json!([from, to]));
    assert_eq!(window("2018-06-11T08:00:00Z", "2018-06-11T08:00:00.001Z"), ["o1"]);
    assert_eq!(window("2018-06-11T08:00:00.001Z", "2018-06-11T09:59:59Z"), ["o2"]);
    assert_eq!(window("2019-01-01T00:00:00Z", "2019-01-02T00:00:00Z"), ["o3"], "a partial date is its start");
    assert_eq!(one("date", "lt", json!("2018-06-11T10:00:00+02:00")), [""; 0]);
}

#[test]
fn codes_with_and_without_their_system() {
    assert_eq!(one("token", "eq", json!("http://loinc.org|4548-4")), ["o1", "o2", "o3"]);
    assert_eq!(one("token", "eq", json!("|4548-4")), ["o5"]);
    assert_eq!(one("code", "eq", json!("4548-4")), ["o1", "o2", "o3", "o5"]);
    assert_eq!(one("component[8480-6].value", "ge", json!(140)), ["bp"]);
    assert_eq!(one("component[8462-4].value", "ge", json!(80)), [""; 0]);
}

#[test]
fn words_are_whole_words() {
    assert_eq!(one("text", "word", json!("HEMOGLOBIN")), ["o1", "o2", "o3", "o4"]);
    assert_eq!(one("text", "word", json!("diabetes")), [""; 0], "Prediabetes is another word");
    assert_eq!(one("text", "words_all", json!(["panel", "a1c"])).len(), 4);
}

#[test]
fn has_and_not_has_are_about_the_patient() {
    let raised = json!({"resource": "Observation", "filters": [{"field": "value", "op": "gt", "value": 7}]});
    assert_eq!(ids("Patient", json!([{ "has": raised }])), ["p2"]);
    assert_eq!(ids("Patient", json!([{ "not_has": raised }])), ["p1"]);
    assert_eq!(ids("Patient", json!([{"field": "gender", "op": "eq", "value": "female"}, { "has": raised }])), [""; 0]);
}

#[test]
fn birth_dates_compare_as_they_are_written() {
    let between = |a: &str, b: &str| ids("Patient", json!([{"field": "birthDate", "op": "between", "value": [a, b]}]));
    assert_eq!(between("1980-01-01", "1980-12-31"), ["p1"], "\"1980\" stands before \"1980-01-01\"");
    assert_eq!(between("1980", "1980-12-31"), ["p1", "p2"]);
}

#[test]
fn a_resource_of_two_sources_is_one_answer_counted_in_both() {
    let (found, figures) = ask(&json!({"resource": "Patient", "count_by": "source", "distinct": "gender"}));
    assert_eq!(found, ["p1", "p2"]);
    let groups: Vec<(String, u64)> = figures.groups.unwrap().into_iter().collect();
    assert_eq!(groups, [("s1".into(), 1), ("s2".into(), 2)]);
    assert_eq!(figures.distinct_count, Some(2));
    assert_eq!(
        ids("Patient", json!([{"field": "source", "op": "ne", "value": "s1"}])),
        ["p1", "p2"],
        "p1 lies in s2 too"
    );
    assert_eq!(ids("Patient", json!([{"field": "source", "op": "eq", "value": "s1"}])), ["p1"]);
}

#[test]
fn aggregates_are_exact_and_ties_in_rank_go_by_id() {
    let filter = json!([{"field": "code", "op": "eq", "value": "4548-4"}]);
    let (_, figures) = ask(&json!({"resource": "Observation", "filters": filter, "agg": "value"}));
    let agg = figures.agg.unwrap();
    assert_eq!((agg.n, agg.min.as_deref(), agg.max.as_deref()), (3, Some("6.50"), Some("7.1234567890123456789")));
    assert_eq!(agg.sum, "20.1234567890123456789");
    let top =
        |k: u64| ask(&json!({"resource": "Observation", "filters": filter, "topk": {"field": "value", "k": k}})).0;
    assert_eq!(top(2), ["o3", "o1"]);
    assert_eq!(top(9), ["o3", "o1", "o2"], "what has no value has no rank");
}

#[test]
fn questions_over_tables_take_numbers_and_texts() {
    let suite = r#"{"id_column":"encounter_id","queries":[{"title":"x","filters":[
        {"field":"time_in_hospital","op":"between","value":[10,14]},{"field":"diag_1","op":"prefix","value":"250"}]}]}"#;
    let suite = Suite::parse(suite, Some("DiabetesEncounter")).unwrap();
    assert_eq!(suite.id_column.as_deref(), Some("encounter_id"));
    let mut c = Corpus::default();
    for (id, days, diag) in [("1", 10, "250.83"), ("2", 14, "25"), ("3", 9, "250")] {
        put(
            &mut c,
            "a",
            &json!({"resourceType": "DiabetesEncounter", "id": id, "time_in_hospital": days, "diag_1": diag})
                .to_string(),
        );
    }
    let (hits, _) = c.ask(&suite.queries[0], &Schema::parse(DIABETES130).unwrap()).unwrap();
    assert_eq!(hits.iter().map(|h| h.identity.as_str()).collect::<Vec<_>>(), ["DiabetesEncounter/1"]);
}

#[test]
fn wrong_questions_say_what_would_be_right() {
    let told = |doc: Json| resolve(&QueryDoc::parse(&doc, "q", None).unwrap(), &Schema::fhir_r4()).unwrap_err().reason;
    let filter = |field: &str, op: &str, value: &str| {
        told(json!({"resource": "Observation", "filters": [{"field": field, "op": op, "value": value}]}))
    };
    let cases = [
        (told(json!({"resource": "Observatoin"})), "did you mean \"Observation\"?"),
        (filter("valeu", "eq", "1"), "did you mean \"value\"?"),
        (filter("value", "eq", "six"), "does not fit Observation.value: not a decimal number"),
        (filter("date", "ge", "yesterday"), "not a dateTime"),
        (filter("text", "eq", "diabetes"), "use word, words_all or prefix"),
        (filter("text", "word", "two words"), "for several words use words_all"),
        (filter("unit", "word", "mg"), "not indexed by words"),
        (filter("unit", "gt", "mg"), "has no order"),
        (filter("component.value", "gt", "1"), "say which part: \"component[CODE].value\""),
        (filter("unit[x]", "eq", "1"), "not qualified by a code"),
        (filter("token", "eq", "4548-4"), "for any system ask the field \"code\""),
        (filter("source", "gt", "s1"), "source takes eq, ne or in"),
        (told(json!({"resource": "Observation", "agg": "date"})), "agg needs a field of numbers"),
        (
            told(json!({"resource": "Observation", "topk": {"field": "text", "k": 1}})),
            "topk needs a field with an order",
        ),
        (told(json!({"resource": "Observation", "filters": [{"has": {"resource": "Condition"}}]})), "are for Patient"),
        (
            told(json!({"resource": "Patient", "filters": [{"has": {"resource": "Organization"}}]})),
            "no field \"subject\"",
        ),
    ];
    for (reason, wanted) in cases {
        assert!(reason.contains(wanted), "{reason:?} should say {wanted:?}");
    }
}
