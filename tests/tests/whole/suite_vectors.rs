//! The suite's known answers (SDX-1), made by a second implementation on other libraries.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use sealdex_open::selftest::{Report, run};
use serde_json::{Value, json};

const VECTORS: &str = include_str!("../../data/vectors.json");

/// Quantisers are the schema's; its own tests check that section.
fn accept(_: &Value) -> Vec<Result<(), String>> {
    vec![Ok(())]
}

fn check(json: &str) -> Report {
    run(json, &[("quantiser", &accept)])
}

#[test]
fn every_known_answer_is_reproduced() {
    let report = check(VECTORS);
    assert!(report.is_ok(), "{report:#?}");
    let file: Value = serde_json::from_str(VECTORS).unwrap();
    for section in &report.sections {
        let entries = file[&section.name].as_array().map_or(1, Vec::len);
        assert_eq!(section.passed, entries, "{}", section.name);
    }
    assert_eq!(report.sections.len(), 15);
}

/// Each string, number and list of each first entry is changed in turn: if an answer could be
/// anything, nothing would check it.
#[test]
fn every_field_of_every_section_matters() {
    // Inputs that other inputs make irrelevant do not exist in this format.
    let file: Value = serde_json::from_str(VECTORS).unwrap();
    for (section, entries) in file.as_object().unwrap() {
        let Some(entries) = entries.as_array() else {
            continue;
        };
        let entry = &entries[entries.len() - 1];
        for path in leaves(entry) {
            let mut changed = entry.clone();
            let leaf = changed.pointer_mut(&path).unwrap();
            *leaf = alter(leaf);
            let report = check(&json!({"suite": "SDX-1", section: [changed]}).to_string());
            assert!(!report.is_ok(), "{section}{path} can be changed unnoticed");
        }
    }
}

#[test]
fn every_missing_or_mistyped_field_is_a_failure_that_names_its_place() {
    let file: Value = serde_json::from_str(VECTORS).unwrap();
    let broken = [Value::Null, json!(true), json!({}), json!([]), json!(-1), json!("zz"), json!("00")];
    for (section, entries) in file.as_object().unwrap() {
        let Some(entries) = entries.as_array() else {
            continue;
        };
        let entry = &entries[entries.len() - 1];
        for path in leaves(entry) {
            for value in &broken {
                let mut changed = entry.clone();
                *changed.pointer_mut(&path).unwrap() = value.clone();
                let report = check(&json!({"suite": "SDX-1", section: [entry, changed]}).to_string());
                if report.is_ok() {
                    // "00" is a fine part, scope or value, but never the known answer.
                    panic!("{section}{path} = {value} passes");
                }
                let failure = &report.sections[0].failures[0];
                assert!(failure.starts_with(&format!("{section}[1]: ")), "{failure}");
            }
        }
    }
}

#[test]
fn what_is_not_a_file_of_this_suite_fails() {
    for text in [
        "",
        "[]",
        "{}",
        "7",
        r#"{"suite": "SDX-1"}"#,
        r#"{"suite": "SDX-2", "padme": [{"length": 0, "padded": 0}]}"#,
        r#"{"suite": 1, "padme": [{"length": 0, "padded": 0}]}"#,
        r#"{"padme": [{"length": 0, "padded": 0}]}"#,
        r#"{"suite": "SDX-1", "padme": {"length": 0, "padded": 0}}"#,
        r#"{"suite": "SDX-1", "padme": [7]}"#,
        r#"{"suite": "SDX-1", "padme": [{"length": 0, "padded": 0}], "novel": []}"#,
        r#"{"suite": "SDX-1", "note": [], "padme": [{"length": 0, "padded": 0}]}"#,
    ] {
        assert!(!check(text).is_ok(), "{text}");
    }
    let good = r#"{"suite": "SDX-1", "padme": [{"length": 0, "padded": 0}]}"#;
    assert!(check(good).is_ok());
}

/// JSON pointers to everything that is neither an object nor a list of objects.
fn leaves(value: &Value) -> Vec<String> {
    let below = |(key, value): (String, &Value)| {
        let paths = leaves(value).into_iter();
        paths.map(move |path| format!("/{key}{path}")).collect::<Vec<_>>()
    };
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().map(|(key, value)| (key.clone(), value));
            fields.flat_map(below).collect()
        }
        Value::Array(values) if !values.is_empty() => {
            let values = values.iter().enumerate();
            values.flat_map(|(at, value)| below((at.to_string(), value))).collect()
        }
        _ => vec![String::new()],
    }
}

/// Another value of the same type and length.
fn alter(value: &Value) -> Value {
    match value {
        Value::Number(number) => json!(2 * number.as_u64().unwrap() + 1),
        Value::String(text) if text.is_empty() => json!("00"),
        Value::String(text) => {
            let last = text.chars().last().unwrap();
            let other = if last == '1' { '2' } else { '1' };
            json!(format!("{}{other}", &text[..text.len() - last.len_utf8()]))
        }
        Value::Array(_) => json!(["00"]),
        other => panic!("{other} is no leaf"),
    }
}
