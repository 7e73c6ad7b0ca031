//! The published questions over the sample data, answered in plaintext: the semantics are right before
//! any cryptography takes part. Skips, with a printed reason, where the data is absent.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // a test stops where it cannot go on, and says why it skips

mod index_model;

use std::path::{Path, PathBuf};

use index_model::finds;
use sealdex_fhir::search::{Handling, narrow, pairs, parse};
use sealdex_fhir::{Corpus, DIABETES130_MAPPING, Hit, Mapping, Record, Source, SourceItem, Suite, plan, resolve};
use sealdex_schema::{DIABETES130, Schema};
use serde_json::Value as Json;
use sha2::{Digest, Sha256};

fn sample_data() -> Option<PathBuf> {
    let named = std::env::var_os("SEALDEX_SAMPLE_DATA").map(PathBuf::from);
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let found = named.into_iter().chain([beside]).find(|p| p.join("queries").is_dir());
    if found.is_none() {
        println!("skipped: no sample data (set SEALDEX_SAMPLE_DATA to its folder)");
    }
    found
}

fn load(corpus: &mut Corpus, path: &Path, source: &str, mapping: Option<&Mapping>) {
    for item in Source::open(path, mapping).unwrap() {
        match item {
            SourceItem::Record(raw) => corpus.add(Record::parse(raw).unwrap(), source),
            SourceItem::Rejected(line) => panic!("{line:?}"),
            SourceItem::PassedOver { .. } => {}
        }
    }
}

fn ids_sha256(hits: &[Hit], bare: bool) -> String {
    let id = |h: &Hit| if bare { h.identity.split_once('/').unwrap().1.to_owned() } else { h.identity.clone() };
    let mut ids: Vec<String> = hits.iter().map(id).collect();
    ids.sort();
    hex::encode(Sha256::digest(ids.join("\n")))
}

fn check(corpus: &Corpus, schema: &Schema, text: &str, default: Option<&str>) -> usize {
    let suite = Suite::parse(text, default).unwrap();
    let json: Json = serde_json::from_str(text).unwrap();
    for (doc, expected) in suite.queries.iter().zip(json["queries"].as_array().unwrap()) {
        let name = doc.id.as_deref().or(doc.title.as_deref()).unwrap();
        let (hits, figures) = corpus.ask(doc, schema).unwrap();
        let clause = plan(&resolve(doc, schema).unwrap()).clause;
        for hit in &hits {
            let (kind, id) = hit.identity.split_once('/').unwrap();
            let entries = schema.index(kind, id, &hit.json).unwrap();
            assert!(
                hit.sources.iter().any(|s| finds(&clause, &entries, s)),
                "{name}: the plan misses {}",
                hit.identity
            );
        }
        let expect = &expected["expect"];
        assert_eq!(hits.len() as u64, expect["count"].as_u64().unwrap(), "{name}: count");
        assert_eq!(ids_sha256(&hits, suite.id_column.is_some()), expect["ids_sha256"].as_str().unwrap(), "{name}: ids");
        if let Some(ranked) = expect["ids"].as_array().filter(|_| doc.topk.is_some()) {
            assert!(
                hits.iter().map(|h| h.identity.as_str()).eq(ranked.iter().map(|v| v.as_str().unwrap())),
                "{name}: rank"
            );
        }
        if let Some(groups) = expect["groups"].as_object() {
            let mine = figures.groups.unwrap();
            assert_eq!(mine.len(), groups.len(), "{name}: groups");
            assert!(groups.iter().all(|(k, v)| mine.get(k).copied() == v.as_u64()), "{name}: groups");
        }
        if let Some(n) = expect["distinct_count"].as_u64() {
            assert_eq!(figures.distinct_count, Some(n), "{name}: distinct");
        }
        if let Some(agg) = expect["agg"].as_object() {
            let mine = figures.agg.unwrap();
            assert_eq!(Some(mine.n), agg["n"].as_u64(), "{name}");
            let texts = [mine.min.as_deref(), mine.max.as_deref(), Some(mine.sum.as_str())];
            assert_eq!(texts, ["min", "max", "sum"].map(|k| agg[k].as_str()), "{name}");
        }
    }
    suite.queries.len()
}

#[test]
fn clinical_questions() {
    let Some(data) = sample_data() else { return };
    let mut corpus = Corpus::default();
    for n in 1..=5 {
        let source = format!("source-{n}");
        load(&mut corpus, &data.join("fhir").join(&source), &source, None);
    }
    let text = std::fs::read_to_string(data.join("queries/clinical.json")).unwrap();
    assert_eq!(check(&corpus, &Schema::fhir_r4(), &text, None), 25);
}

#[test]
fn questions_over_a_table() {
    let Some(data) = sample_data() else { return };
    let mapping = Mapping::parse(DIABETES130_MAPPING).unwrap();
    let mut corpus = Corpus::default();
    load(&mut corpus, &data.join("csv/diabetic_data.csv.gz"), "a", Some(&mapping));
    let text = std::fs::read_to_string(data.join("queries/diabetes130.json")).unwrap();
    assert_eq!(check(&corpus, &Schema::parse(DIABETES130).unwrap(), &text, Some("DiabetesEncounter")), 6);
}

/// Every record of every sample is accepted by the index, bundles included.
#[test]
fn everything_in_the_samples_is_indexed() {
    let Some(data) = sample_data() else { return };
    let schema = Schema::fhir_r4();
    let mut counted = 0;
    for item in ["fhir/source-1", "bundles"].iter().flat_map(|p| Source::open(&data.join(p), None).unwrap()) {
        let SourceItem::Record(raw) = item else { continue };
        let place = format!("{}:{}", raw.file().display(), raw.line());
        let record = Record::parse(raw).unwrap_or_else(|e| panic!("{place}: {e}"));
        schema.index(&record.resource_type, &record.id, &record.json).unwrap_or_else(|e| panic!("{place}: {e:?}"));
        schema
            .owner(&record.resource_type, &record.id, &record.json)
            .unwrap_or_else(|e| panic!("{place} {}: {e}", record.identity()));
        counted += 1;
    }
    assert!(counted > 10_000, "{counted}");
}

/// Searches whose answers are not published, but which must be narrowed without loss all the same.
const NARROWED: [&str; 38] = [
    "Observation?date=gt2018-06&code=4548-4",
    "Observation?date=ap2018-06-11&category=vital-signs",
    "Observation?status=final&value-quantity=ap6.5&code=4548-4",
    "Observation?status=http://hl7.org/fhir/observation-status|final&code=2339-0",
    "Observation?combo-code-value-quantity=8480-6$gt150",
    "Observation?combo-code=8480-6&_sort=-date",
    "Observation?component-code=http://loinc.org|8462-4&date=lt2012",
    "Observation?code-value-quantity=http://loinc.org|4548-4$sa7",
    "Observation?code-value-quantity=4548-4$lt6||%,33914-3$lt50",
    "Observation?code=33914-3&value-quantity=lt60||mL/min/{1.73_m2}",
    "Observation?value-quantity=ge300||mg/dL",
    "Observation?value-concept=http://snomed.info/sct|266919005",
    "Observation?code:text=body",
    "Observation?category:not=vital-signs&code=2339-0",
    "Observation?encounter.class=EMER&code=4548-4",
    "Observation?patient.birthdate=lt1950&code=4548-4&_sort=value-quantity",
    "Observation?patient:Patient.address-city=boston&code=4548-4",
    "Encounter?date=ap2018-03",
    "Encounter?date=eb2010&class=AMB",
    "Encounter?date=gt2018-01-15T10:00:00Z&class=IMP",
    "Encounter?type:text=emergency",
    "Encounter?service-provider.name=hospital&date=2018",
    "Encounter?_has:Condition:encounter:code=44054006",
    "Condition?onset-date=2015&clinical-status=active",
    "Condition?recorded-date=ge2017&code:text=viral",
    "Condition?patient.name=abb",
    "Condition?subject:Patient.gender=female&code:text=diab",
    "Patient?name:contains=an&gender=female",
    "Patient?family=o'&birthdate=ge1960",
    "Patient?address=massachusetts&birthdate=ap1960",
    "Patient?given=an&death-date:missing=false",
    "Patient?deceased=true",
    "Patient?_has:Observation:patient:_has:DiagnosticReport:result:status=final&gender=male",
    "Patient?birthdate=sa1990-06-15",
    "Procedure?date=2016-05&status=completed",
    "CarePlan?date=gt2018&status=active",
    "Immunization?date=lt2012-06&vaccine-code=140",
    "MedicationRequest?status=active,stopped&authoredon=ge2017",
];

#[test]
fn fhir_searches() {
    let Some(data) = sample_data() else { return };
    let (schema, mut corpus) = (Schema::fhir_r4(), Corpus::default());
    for n in 1..=5 {
        let source = format!("source-{n}");
        load(&mut corpus, &data.join("fhir").join(&source), &source, None);
    }
    let ask = |text: &str| {
        let (resource, query) = text.split_once('?').unwrap();
        let search = parse(resource, &pairs(query), Handling::Strict).unwrap_or_else(|e| panic!("{text}: {e}"));
        let (hits, joined) = corpus.search(&search);
        let plan = narrow(&search, &joined, &schema);
        for hit in &hits {
            let (kind, id) = hit.identity.split_once('/').unwrap();
            let entries = schema.index(kind, id, &hit.json).unwrap();
            assert!(
                hit.sources.iter().any(|s| finds(&plan.clause, &entries, s)),
                "{text}: the plan misses {}: {:?}",
                hit.identity,
                plan.clause
            );
        }
        println!("{text}: {} {:?}", hits.len(), plan.notes);
        hits
    };
    let suite = std::fs::read_to_string(data.join("queries/fhir-edge.json")).unwrap();
    let suite: Json = serde_json::from_str(&suite).unwrap();
    let queries = suite["queries"].as_array().unwrap();
    let mut wrong = Vec::new();
    for q in queries {
        let text = q["fhir"].as_str().unwrap();
        let hits = ask(text);
        if Some(ids_sha256(&hits, false).as_str()) != q["expect"]["ids_sha256"].as_str() {
            wrong.push(format!("{text}: {} instead of {}", hits.len(), q["expect"]["count"]));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(queries.len(), 43);
    let found = NARROWED.iter().filter(|text| !ask(text).is_empty()).count();
    assert!(found > 30, "only {found} of the searches find anything here");
}
