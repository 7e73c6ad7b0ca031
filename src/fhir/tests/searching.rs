//! Searches over the sample records: whatever a resource says of itself finds it, in the plaintext and
//! through the index; and no search, however malformed, does harm.
#![allow(clippy::unwrap_used)] // a test stops where it cannot go on

mod index_model;

use std::path::Path;

use index_model::finds;
use proptest::prelude::*;
use sealdex_fhir::search::{
    Component, ErrorKind, Handling, Joined, ParamKind, Parameter, Search, Selector, narrow, pairs, parameters, parse,
    resource_types,
};
use sealdex_fhir::{IndexClause, Record, Source, SourceItem};
use sealdex_schema::Schema;
use serde_json::{Value as Json, json};

fn samples() -> Vec<Record> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets/sample");
    let items = Source::open(&folder, None).unwrap();
    let records = items.filter_map(|item| if let SourceItem::Record(raw) = item { Some(raw) } else { None });
    records.map(|raw| Record::parse(raw).unwrap()).collect()
}

/// Records with what the samples lack: partial dates, open periods, timings, ranges, several codings.
fn oddities() -> Vec<Record> {
    let patient = json!({ "reference": "Patient/p" });
    [
        json!({ "resourceType": "Observation", "id": "o1", "status": "final", "subject": patient,
            "code": { "text": "Größe, gemessen", "coding": [{ "system": "http://loinc.org", "code": "8302-2" }, { "code": "x|y" }] },
            "effectivePeriod": { "end": "2018-05" }, "valueQuantity": { "value": 1.80, "unit": "m", "system": "http://unitsofmeasure.org", "code": "m" } }),
        json!({ "resourceType": "Observation", "id": "o2", "status": "final", "subject": patient, "effectiveDateTime": "2018",
            "code": { "coding": [{ "code": "a,b$c\\d" }] }, "valueString": "Ünïcode, here" }),
        json!({ "resourceType": "Observation", "id": "o3", "status": "amended", "subject": { "reference": "Group/g" },
            "code": { "coding": [{ "system": "urn:s", "code": "c" }] }, "effectiveTiming": { "event": ["2019-02-03", "2019-04"] },
            "component": [{ "code": { "coding": [{ "system": "urn:s", "code": "part" }] }, "valueQuantity": { "value": -4e2, "code": "u" } },
                { "code": { "coding": [{ "system": "urn:s", "code": "other" }] }, "valueCodeableConcept": { "coding": [{ "code": "yes" }] } }] }),
        json!({ "resourceType": "Condition", "id": "c1", "subject": patient, "onsetPeriod": { "start": "2001-02-03T04:05:06+07:00" },
            "recordedDate": "2001", "code": { "text": "Émphysema" } }),
        json!({ "resourceType": "Encounter", "id": "e1", "status": "finished", "class": { "system": "s", "code": "AMB" }, "subject": patient,
            "period": { "start": "2018-12-31T23:59:59.5Z", "end": "2019-01-01T00:00:00Z" } }),
        json!({ "resourceType": "Patient", "id": "p", "gender": "other", "birthDate": "1980-02", "deceasedDateTime": "2020",
            "identifier": [{ "system": "urn:mrn", "value": " 12 34", "type": { "coding": [{ "system": "t", "code": "MR" }] } }],
            "name": [{ "prefix": ["Dr."], "family": "Ó Conchobhair", "given": ["Zoë", "Anne Marie"] }],
            "address": [{ "line": ["Straße 1"], "city": "Köln", "postalCode": "50667" }],
            "telecom": [{ "system": "phone", "value": "555" }, { "system": "email", "value": "a@b" }] }),
        json!({ "resourceType": "Procedure", "id": "pr", "status": "completed", "subject": patient, "performedPeriod": { "start": "2010-01", "end": "2010-03-04" },
            "code": { "coding": [{ "system": "http://snomed.info/sct", "code": "1", "display": "Do it" }] } }),
        json!({ "resourceType": "Claim", "id": "cl", "patient": patient, "created": "2011-01-01", "status": "active", "total": { "value": 12.30, "currency": "EUR" } }),
        json!({ "resourceType": "RiskAssessment", "id": "ra", "status": "final", "subject": patient, "prediction": [{ "probabilityDecimal": 0.25 }] }),
    ]
    .into_iter()
    .map(|j| Record::from_bytes(serde_json::to_vec(&j).unwrap()).unwrap())
    .collect()
}

fn escaped(text: &str) -> String {
    text.chars().flat_map(|c| if ",$|\\".contains(c) { vec!['\\', c] } else { vec![c] }).collect()
}

fn text<'v>(v: &'v Json, name: &str) -> Option<&'v str> {
    v.get(name).and_then(Json::as_str)
}

/// Values, with modifiers, that a value of a resource must be found by.
fn true_of(kind: ParamKind, s: &Selector, v: &Json) -> Vec<(&'static str, String)> {
    let mut out = Vec::new();
    let mut token = |system: Option<&str>, code: Option<&str>| {
        let Some(code) = code.filter(|c| !c.is_empty()) else { return };
        out.push(("", escaped(code)));
        out.push(("", format!("{}|{}", escaped(system.or(s.system).unwrap_or_default()), escaped(code))));
        if let Some(system) = system {
            out.push(("", format!("{}|", escaped(system))));
        }
    };
    match (kind, s.datatype) {
        (ParamKind::Token, "CodeableConcept") => {
            for c in v["coding"].as_array().into_iter().flatten() {
                token(text(c, "system"), text(c, "code"));
            }
            if let Some(t) = text(v, "text") {
                let start: String = t.to_uppercase().chars().take(3).collect();
                out.push((":text", escaped(&start)));
            }
        }
        (ParamKind::Token, "Coding") => token(text(v, "system"), text(v, "code")),
        (ParamKind::Token, "Identifier" | "ContactPoint") => token(text(v, "system"), text(v, "value")),
        (ParamKind::Token, _) if !s.deceased => token(None, v.as_str()),
        (ParamKind::String, "string" | "markdown") => {
            let t = v.as_str().unwrap_or_default();
            out.push((":exact", escaped(t)));
            out.push((":contains", escaped(&t.chars().skip(1).take(2).collect::<String>())));
            out.push(("", escaped(&t.to_lowercase().chars().take(12).collect::<String>())));
        }
        (ParamKind::String, "HumanName") => out.extend(text(v, "family").map(|t| ("", escaped(&t.to_uppercase())))),
        (ParamKind::String, "Address") => out.extend(text(v, "city").map(|t| ("", escaped(t)))),
        (ParamKind::Reference, "Reference") => {
            let local = |(of, _): &(&str, &str)| s.is.is_none_or(|is| is == *of) && !of.contains(':');
            if let Some((of, id)) = text(v, "reference").and_then(|r| r.split_once('/')).filter(local) {
                out.push(("", format!("{of}/{id}")));
                out.push(("", id.to_owned()));
            }
        }
        (ParamKind::Date, "date" | "dateTime" | "instant") => dates(v.as_str().unwrap_or_default(), &mut out),
        (ParamKind::Date, "Period") => {
            out.extend(text(v, "start").map(|t| ("", format!("ge{t}"))));
            out.extend(text(v, "end").map(|t| ("", format!("le{t}"))));
            out.extend(text(v, "start").map(|t| ("", format!("ap{t}"))));
            out.extend([("", "gt1000".into()), ("", "lt3000".into()), ("", "ne1000".into())]);
            if v.get("start").is_some() && v.get("end").is_some() {
                out.extend([("", "sa1000".into()), ("", "eb3000".into())]);
            }
        }
        (ParamKind::Date, "Timing") if v.get("event").is_some() => {
            out.extend([("", "gt1000".into()), ("", "2019".into()), ("", "le2019-02-03".into())]);
        }
        (ParamKind::Quantity, "Quantity" | "Money") => {
            let Some(n) = v.get("value").map(Json::to_string) else { return out };
            out.extend(["", "ge", "le", "ap"].map(|p| ("", format!("{p}{n}"))));
            out.extend([("", format!("ne{n}1")), ("", "gt-1e20".into()), ("", "lt1e20".into())]);
            if let Some(code) = text(v, "code") {
                out.push(("", format!("{n}||{}", escaped(code))));
                out.push(("", format!("{n}|{}|{}", escaped(text(v, "system").unwrap_or_default()), escaped(code))));
            }
            if let Some(unit) = text(v, "unit") {
                out.push(("", format!("{n}||{}", escaped(unit))));
            }
        }
        (ParamKind::Number, "decimal") => out.extend(["", "ge", "ap"].map(|p| ("", format!("{p}{v}")))),
        (ParamKind::Uri, _) => out.extend(v.as_str().map(|t| ("", escaped(t)))),
        _ => {}
    }
    out
}

fn dates(t: &str, out: &mut Vec<(&'static str, String)>) {
    let year = &t[..4];
    for p in ["", "ge", "le", "ap"] {
        out.push(("", format!("{p}{t}")));
        out.push(("", format!("{p}{year}")));
    }
    out.extend([("", "gt1000".into()), ("", "sa1000".into()), ("", "lt3000".into()), ("", "eb3000".into())]);
}

/// Checks that a search finds the record it was made from; whether the index narrows it.
fn check(record: &Record, key: &str, value: &str, beside: &[(String, String)], schema: &Schema) -> bool {
    let mut all = vec![(key.to_owned(), value.to_owned())];
    all.extend_from_slice(beside);
    let search = parse(&record.resource_type, &all, Handling::Strict).unwrap_or_else(|e| panic!("{key}={value}: {e}"));
    let joined = vec![Joined::Own; search.conditions.len()];
    assert!(search.holds(&record.json, &joined), "{}?{key}={value} {all:?} of {}", record.resource_type, record.json);
    let plan = narrow(&search, &joined, schema);
    let entries = schema.index(&record.resource_type, &record.id, &record.json).unwrap();
    assert!(
        finds(&plan.clause, &entries, "a"),
        "{}?{all:?} misses {}: {:?}",
        record.resource_type,
        record.json,
        plan.clause
    );
    plan.notes.is_empty()
}

fn values_at(paths: &[Selector], kind: ParamKind, element: &Json) -> Vec<(&'static str, String)> {
    let mut out = Vec::new();
    for s in paths {
        s.visit(element, &mut |v| out.extend(true_of(kind, s, v)));
    }
    out
}

/// Values of a composite, part by part, within one element.
fn composite(p: &Parameter, record: &Json) -> Vec<String> {
    let elements: Vec<&Json> = p
        .bases
        .iter()
        .flat_map(|b| match b.as_slice() {
            [] => vec![record],
            [one] => record.get(one.name).and_then(Json::as_array).into_iter().flatten().collect(),
            _ => Vec::new(),
        })
        .collect();
    let parts = |e: &Json| {
        let one = |c: &Component| {
            values_at(&c.paths, c.kind, e).into_iter().filter(|(m, _)| m.is_empty()).map(|(_, v)| v).collect::<Vec<_>>()
        };
        p.components.iter().map(one).collect::<Vec<_>>()
    };
    let mut out = Vec::new();
    for parts in elements.into_iter().map(parts) {
        if let [a, b] = parts.as_slice() {
            out.extend(a.iter().flat_map(|a| b.iter().map(move |b| format!("{a}${b}"))));
        }
    }
    out
}

#[test]
fn whatever_a_resource_says_of_itself_finds_it() {
    let schema = Schema::fhir_r4();
    let (mut searches, mut narrowed) = (0_u32, 0_u32);
    for record in samples().iter().step_by(7).chain(&oddities()) {
        let code = text(&record.json["code"]["coding"][0], "code").map(|c| ("code".to_owned(), escaped(c)));
        let beside: Vec<_> = code.into_iter().filter(|_| record.resource_type == "Observation").collect();
        for p in parameters(&record.resource_type) {
            let mut values = values_at(&p.paths, p.kind, &record.json);
            values.extend(composite(p, &record.json).into_iter().map(|v| ("", v)));
            for (modifier, value) in values.into_iter().filter(|(_, v)| !v.is_empty()) {
                for beside in [&[][..], &beside] {
                    searches += 1;
                    narrowed += u32::from(check(record, &format!("{}{modifier}", p.name), &value, beside, &schema));
                }
            }
        }
    }
    assert!(searches > 10_000 && narrowed > searches / 2, "{narrowed} of {searches} searches were narrowed");
}

/// Each line: a search, and whether the odd resource of that id satisfies it.
#[test]
fn edge_cases() {
    let odd = oddities();
    let holds = |id: &str, query: &str| {
        let record = odd.iter().find(|r| r.id == id).unwrap();
        let search =
            parse(&record.resource_type, &pairs(query), Handling::Strict).unwrap_or_else(|e| panic!("{query}: {e}"));
        let joined = vec![Joined::Own; search.conditions.len()];
        search.holds(&record.json, &joined)
    };
    for (id, query, wanted) in [
        ("o1", "code=8302-2", true),
        ("o1", "code=|8302-2", false),
        ("o1", "code=http://loinc.org|", true),
        ("o1", r"code=|x\|y", true),
        ("o1", "code:text=GROSSE", false),
        ("o1", "code:text=gro%C3%9Fe", true),
        ("o1", "code:not=8302-2", false),
        ("o1", "code:not=1,2", true),
        ("o1", "date=2018-05", false),
        ("o1", "date=lt2018", true),
        ("o1", "date=eb2018-06", true),
        ("o1", "date=gt2018-05", false),
        ("o1", "value-quantity=1.8", true),
        ("o1", "value-quantity=1.85", false),
        ("o1", "value-quantity=2", true),
        ("o1", "value-quantity=1.80||m", true),
        ("o1", "value-quantity=1.80|urn:x|m", false),
        ("o1", "value-quantity:missing=false", true),
        ("o1", "value-string:missing=false", false),
        ("o2", r"code=a\,b\$c\\d", true),
        ("o2", "date=2018-06", false),
        ("o2", "date=ne2018", false),
        ("o2", "date=ge2018-06", true),
        ("o2", "value-string=unicode", true),
        ("o2", "value-string:exact=unicode", false),
        ("o3", "subject=Group/g", true),
        ("o3", "patient=g", false),
        ("o3", "subject:Patient=g", false),
        ("o3", "subject:Group=g", true),
        ("o3", "date=2019-03", false),
        ("o3", "date=2019", true),
        ("o3", "component-code-value-quantity=part$-400", true),
        ("o3", "component-code-value-quantity=other$-400", false),
        ("o3", "combo-code-value-concept=other$yes", true),
        ("o3", "combo-value-quantity=lt-300", true),
        ("c1", "code:text=emph", true),
        ("c1", "onset-date=gt2500", true),
        ("c1", "onset-date=2001", false),
        ("e1", "date=2018", false),
        ("e1", "date=ge2019", true),
        ("e1", "date=le2018", true),
        ("e1", "date=sa2018-12-31", false),
        ("p", "name=zoe", true),
        ("p", "name=o%20conch", true),
        ("p", "name=conch", false),
        ("p", "name:contains=conch", true),
        ("p", "name=dr.", true),
        ("p", "given:exact=Zo%C3%AB", true),
        ("p", "given:exact=Zoe", false),
        ("p", "address=strasse", false),
        ("p", "address-city=koln", true),
        ("p", "gender:not=male", true),
        ("p", "gender=http://hl7.org/fhir/administrative-gender|other", true),
        ("p", "deceased=true", true),
        ("p", "deceased=false", false),
        ("p", "death-date=2020", true),
        ("p", "birthdate=1980", true),
        ("p", "birthdate=1980-02-01", false),
        ("p", "email=a@b", true),
        ("p", "phone=a@b", false),
        ("p", "telecom=phone|555", true),
        ("p", "identifier:of-type=t|MR|%2012%2034", true),
        ("p", "identifier:of-type=t|XX|%2012%2034", false),
        ("p", "_id=p,q", true),
        ("p", "_lastUpdated:missing=true", true),
        ("pr", "date=2010", true),
        ("pr", "date=ap2010-02", true),
        ("ra", "probability=0.25", true),
        ("ra", "probability=gt0.25", false),
    ] {
        assert_eq!(holds(id, query), wanted, "{id}?{query}");
    }
}

fn refusal(resource: &str, query: &str) -> Option<ErrorKind> {
    parse(resource, &pairs(query), Handling::Strict).err().map(|e| e.kind)
}

#[test]
fn what_cannot_be_answered_is_refused() {
    use ErrorKind::{Invalid, NotSupported, TooCostly};
    for (resource, query, kind) in [
        ("Nothing", "", Invalid),
        ("Observation", "nonsense=1", Invalid),
        ("Observation", "date=yesterday", Invalid),
        ("Observation", "date=ge", Invalid),
        ("Observation", "value-quantity=ge", Invalid),
        ("Observation", "value-quantity=5|mg", Invalid),
        ("Observation", "code:exact=1", NotSupported),
        ("Observation", "code:in=http://v", NotSupported),
        ("Observation", "code:below=1", NotSupported),
        ("Observation", "date:exact=2018", NotSupported),
        ("Observation", "code:missing=perhaps", Invalid),
        ("Observation", "component-code-value-quantity=8480-6", Invalid),
        ("Observation", "component-code-value-quantity=8480-6$", Invalid),
        ("Observation", "subject=a%20b", Invalid),
        ("Observation", "subject:Patient=Group/g", Invalid),
        ("Observation", "subject:Nothing.name=x", NotSupported),
        ("Observation", "code.text=x", Invalid),
        ("Observation", "patient.nonsense=x", Invalid),
        ("Observation", "patient._count=5", Invalid),
        ("Observation", "focus.code=x", Invalid),
        ("Patient", "_has:Observation:patient=1", Invalid),
        ("Patient", "_has:Observation:code:code=1", Invalid),
        ("Patient", "_has:Observation:encounter:code=1", Invalid),
        ("Observation", "patient.link.link.link.link.link.name=x", TooCostly),
        ("Observation", "_filter=code eq 1", NotSupported),
        ("Observation", "_content=x", NotSupported),
        ("Location", "near=1|2", NotSupported),
        ("Observation", "_sort=nonsense", Invalid),
        ("Observation", "_sort=component-code-value-quantity", Invalid),
        ("Observation", "_count=-1", Invalid),
        ("Observation", "_summary=perhaps", Invalid),
        ("Observation", "_total=perhaps", Invalid),
        ("Observation", "_include=Observation", Invalid),
        ("Observation", "_include=Observation:code", Invalid),
        ("Observation", "_include=Encounter:patient", Invalid),
        ("Observation", "_revinclude=Encounter:patient", Invalid),
        ("Observation", "_contained=true", NotSupported),
    ] {
        assert_eq!(refusal(resource, query), Some(kind), "{resource}?{query}");
    }
    let many: Vec<String> = (0..2000).map(|n| n.to_string()).collect();
    assert_eq!(refusal("Observation", &format!("code={}", many.join(","))), Some(TooCostly));
    let lenient = parse("Observation", &pairs("nonsense=1&code=1&date="), Handling::Lenient).unwrap();
    assert_eq!(lenient.ignored, ["nonsense", "date"]);
    assert_eq!(lenient.applied, [("code".to_owned(), "1".to_owned())]);
    assert_eq!(lenient.conditions.len(), 1);
    let wrong = parse("Observation", &pairs("code:exact=1"), Handling::Lenient);
    assert!(wrong.is_err(), "a modifier that is not supported is refused, lenient or not");
}

#[test]
fn no_plan_is_larger_than_a_gate_takes() {
    fn leaves(c: &IndexClause) -> usize {
        match c {
            IndexClause::And(all) | IndexClause::Or(all) => all.iter().map(leaves).sum(),
            _ => 1,
        }
    }
    let schema = Schema::fhir_r4();
    let codes: Vec<String> = (0..1000).map(|n| format!("c{n}")).collect();
    let all: Vec<_> = (0..20).map(|_| ("code".to_owned(), codes.join(","))).collect();
    let search = parse("Observation", &all, Handling::Strict).unwrap();
    let plan = narrow(&search, &vec![Joined::Own; 20], &schema);
    assert!((1000..=4097).contains(&leaves(&plan.clause)), "{}", leaves(&plan.clause));
    assert_eq!(plan.notes.len(), 16, "what is left over is said");
}

fn fragment() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("code".into()),
        Just("_has:".into()),
        Just("Observation".into()),
        Just("patient".into()),
        Just(":".into()),
        Just(".".into()),
        Just("|".into()),
        Just("$".into()),
        Just(",".into()),
        Just("\\".into()),
        Just("date".into()),
        Just("ge".into()),
        Just("2018-06-11T10:00".into()),
        Just("value-quantity".into()),
        Just("component-code-value-quantity".into()),
        Just(":missing".into()),
        Just(":not".into()),
        Just("_sort".into()),
        Just("_include".into()),
        Just(":iterate".into()),
        Just("1e999".into()),
        Just("+99:99".into()),
        "[ -~]{0,6}",
        "\\PC{0,4}"
    ]
}

fn string() -> impl Strategy<Value = String> {
    prop::collection::vec(fragment(), 0..7).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]
    #[test]
    fn no_search_does_harm(kind in prop::sample::select(resource_types().collect::<Vec<_>>()), all in prop::collection::vec((string(), string()), 0..4), strict: bool, n in 0..9_usize) {
        let handling = if strict { Handling::Strict } else { Handling::Lenient };
        let schema = Schema::fhir_r4();
        for resource in [kind, "Observation", "Patient"] {
            let Ok(search) = parse(resource, &all, handling) else { continue };
            let joined = joined(&search);
            let odd = &oddities()[n];
            let found = search.holds(&odd.json, &joined);
            let plan = narrow(&search, &joined, &schema);
            if found {
                let entries = schema.index(&odd.resource_type, &odd.id, &odd.json).unwrap();
                prop_assert!(finds(&plan.clause, &entries, "a"), "{all:?}: {:?}", plan.clause);
            }
        }
    }

    #[test]
    fn no_query_string_does_harm(kind in prop::sample::select(vec!["Observation", "Patient", "Encounter"]), query in "\\PC{0,80}") {
        let _ = parse(kind, &pairs(&query), Handling::Lenient);
    }
}

/// As if every condition on other resources had come to the patient of the odd resources.
fn joined(search: &Search) -> Vec<Joined> {
    use sealdex_fhir::search::Condition;
    let set = || std::collections::BTreeSet::from(["Patient/p".to_owned()]);
    search
        .conditions
        .iter()
        .map(|c| match c {
            Condition::Own(_) => Joined::Own,
            Condition::Chain { .. } => Joined::RefersTo(set()),
            Condition::Has { .. } => Joined::Is(set()),
        })
        .collect()
}
