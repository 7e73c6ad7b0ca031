//! HL7's own R4 examples: every resource of the types the schema names can be pushed and read back as it
//! was. Takes the unpacked npm package `hl7.fhir.r4.examples` from `SEALDEX_FHIR_EXAMPLES`, or
//! `target/fhir-examples/package`; skips, and says so, where it is absent.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // a test stops where it cannot go on, and says why it skips

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use sealdex_fhir::Record;
use sealdex_schema::Schema;
use sealdex_tests::{
    World,
    servers::{Place, free_port},
};

fn examples() -> Option<PathBuf> {
    let named = std::env::var_os("SEALDEX_FHIR_EXAMPLES").map(PathBuf::from);
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/fhir-examples/package");
    let found = named.into_iter().chain([beside]).find(|p| p.join("Patient-example.json").is_file());
    if found.is_none() {
        println!("skipped: no HL7 examples (npm pack hl7.fhir.r4.examples@4.0.1, unpack it in target/fhir-examples)");
    }
    found
}

/// Every instance of a type the schema names, one file each.
fn instances(folder: &Path, schema: &Schema) -> Vec<Record> {
    let mut names: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    names.sort();
    let of_type = |p: &PathBuf| {
        let name = p.file_name().unwrap().to_string_lossy().into_owned();
        name.ends_with(".json") && name.split_once('-').is_some_and(|(kind, _)| schema.knows(kind))
    };
    names.into_iter().filter(of_type).map(|p| Record::from_bytes(std::fs::read(p).unwrap()).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_example_is_pushed_and_read_back_as_it_was() {
    let Some(folder) = examples() else { return };
    let schema = Schema::fhir_r4();
    let all = instances(&folder, &schema);
    let home = tempfile::tempdir().unwrap();
    let records = home.path().join("records/hl7");
    std::fs::create_dir_all(&records).unwrap();
    for record in &all {
        std::fs::write(records.join(format!("{}-{}.json", record.resource_type, record.id)), &record.bytes).unwrap();
    }
    let data = home.path().join("records");
    let ports = [free_port(), free_port()];
    let mut world = World::found(home.path(), &data, &["ana"], Place::Process, ports, None).await;
    world.enrol_patients().await;
    world.grant_everything("ana").await;
    let report = world.push(&world.hospitals[0]).await.unwrap();
    let rejects: Vec<String> = report.first_rejects.iter().map(ToString::to_string).collect();
    assert_eq!(rejects, Vec::<String>::new(), "{} of {} rejected", report.rejected, all.len());
    assert_eq!(report.pushed, all.len() as u64);

    let identities: Vec<String> = all.iter().map(Record::identity).collect();
    let found = world.session("ana").read(&identities).await.unwrap();
    // Only white space between tokens is not kept: a record is sealed on one line.
    let found: BTreeMap<String, Vec<u8>> = found.into_iter().map(|h| (h.identity, h.bytes)).collect();
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    for record in &all {
        let back = found.get(&record.identity()).unwrap_or_else(|| panic!("{} does not come back", record.identity()));
        let parsed: serde_json::Value = serde_json::from_slice(back).unwrap();
        let (now, before) = (parsed.to_string(), record.json.to_string());
        assert!(now == before, "{} came back changed", record.identity());
        let bare = |b: &[u8]| b.iter().filter(|b| !b.is_ascii_whitespace()).copied().collect::<Vec<u8>>();
        assert!(bare(back) == bare(&record.bytes), "{} is written otherwise", record.identity());
        *counts.entry(&record.resource_type).or_default() += 1;
    }
    assert_eq!(found.len(), all.len(), "no two examples share an identity");
    println!("{} examples of {} types, token for token: {counts:?}", all.len(), counts.len());
    assert!(all.len() > 250);
}
