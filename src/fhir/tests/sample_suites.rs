//! The published questions over the sample data, answered in plaintext: the semantics are right before
//! any cryptography takes part. Skips, with a printed reason, where the data is absent.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // a test stops where it cannot go on, and says why it skips

mod index_model;

use std::path::{Path, PathBuf};

use index_model::finds;
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
