//! Bulk export: kick-off, progress, manifest, files, restarts, cancelling.

use std::collections::BTreeSet;

use http::Method;
use sealdex_gateway::GatewayConfig;
use serde_json::Value as Json;

use crate::support::{Running, all, identity, member, world};

const ASYNC: [(&str, &str); 1] = [("prefer", "respond-async")];

async fn kick_off(g: &Running, path: &str) -> String {
    let answer = g.get_with(path, &ASYNC).await;
    assert_eq!(answer.status, 202, "{}", String::from_utf8_lossy(&answer.body));
    answer.header("content-location").to_owned()
}

async fn manifest(g: &Running, status: &str) -> Json {
    for _ in 0..600 {
        let answer = g.get(status).await;
        match answer.status {
            200 => return answer.json(),
            202 => assert!(answer.header("x-progress").contains("types"), "{:?}", answer.headers),
            other => panic!("{other}: {}", String::from_utf8_lossy(&answer.body)),
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("the export does not end");
}

async fn lines(g: &Running, url: &str) -> Vec<String> {
    let answer = g.get_with(url, &[("accept", "application/fhir+ndjson")]).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/fhir+ndjson"));
    String::from_utf8(answer.body.to_vec()).unwrap().lines().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_exported_once_and_links_outlive_a_restart() {
    let (_home, world) = world(4, 3).await;
    let mut g = Running::start(GatewayConfig::loopback(member(&world), 0)).await;
    let status = kick_off(&g, "/$export").await;
    let done = manifest(&g, &status).await;
    assert_eq!(done["request"], format!("{}/$export", g.base()));
    assert_eq!((&done["requiresAccessToken"], &done["error"]), (&false.into(), &serde_json::json!([])));
    let output = done["output"].as_array().unwrap().clone();
    let port = g.addr.port();
    g.stop().await;
    g = Running::start(GatewayConfig::loopback(member(&world), port)).await;

    let stored: BTreeSet<Vec<u8>> = world.hospitals.iter().flat_map(|h| world.records(h)).map(|r| r.bytes).collect();
    let (mut exported, mut kinds) = (vec![], BTreeSet::new());
    for file in &output {
        let got = lines(&g, file["url"].as_str().unwrap()).await;
        assert_eq!(file["count"], got.len(), "the manifest counts right");
        for line in got {
            assert!(stored.contains(line.as_bytes()), "as it was stored");
            let json: Json = serde_json::from_str(&line).unwrap();
            assert_eq!(json["resourceType"], file["type"]);
            exported.push(identity(&json));
        }
        kinds.insert(file["type"].as_str().unwrap().to_owned());
    }
    let there: BTreeSet<String> = world.hospitals.iter().flat_map(|h| world.records(h)).map(|r| r.identity()).collect();
    assert_eq!(exported.len(), there.len(), "each once, though some are known to several hospitals");
    assert_eq!(exported.into_iter().collect::<BTreeSet<_>>(), there);
    let several = world.corpus();
    assert!(several_sources(&several), "someone is known to several hospitals");

    // The job's link too: it starts again.
    let again = manifest(&g, &status).await;
    assert_eq!(again["output"], done["output"]);
    assert_eq!(again["transactionTime"], done["transactionTime"]);

    // Cancelled is cancelled.
    let cancelled = g.send(Method::DELETE, &status, &[], "").await;
    assert_eq!(cancelled.status, 202);
    assert_eq!(g.get(&status).await.refusal(), (404, "not-found".into()));
    g.stop().await;
}

fn several_sources(corpus: &sealdex_fhir::Corpus) -> bool {
    let suite = sealdex_fhir::Suite::parse(r#"{"resource":"Patient"}"#, None).unwrap();
    let hits = corpus.ask(&suite.queries[0], &sealdex_schema::Schema::fhir_r4()).unwrap().0;
    hits.iter().any(|h| h.sources.len() > 1)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_of_patients_of_types_and_since() {
    let (_home, world) = world(2, 1).await;
    let g = Running::start(GatewayConfig::loopback(member(&world), 0)).await;
    let kinds = async |path: &str| {
        let done = manifest(&g, &kick_off(&g, path).await).await;
        let output = done["output"].as_array().unwrap();
        output.iter().map(|f| f["type"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let of_patients = kinds("/Patient/$export").await;
    assert!(of_patients.contains(&"Observation".to_owned()) && of_patients.contains(&"Patient".to_owned()));
    assert!(!of_patients.contains(&"Organization".to_owned()));
    assert_eq!(kinds("/$export?_type=Patient&_outputFormat=ndjson").await, ["Patient"]);
    // Generated records do not say when they were changed, so they are kept.
    assert_eq!(kinds("/$export?_type=Patient&_since=2100-01-01T00:00:00Z").await, ["Patient"]);
    assert!(!all(&world, "Patient").is_empty());

    for (path, code) in [
        ("/$export?_type=Patent", "invalid"),
        ("/$export?_since=yesterday", "invalid"),
        ("/$export?_outputFormat=csv", "not-supported"),
        ("/$export?_typeFilter=Patient%3Fx", "not-supported"),
    ] {
        assert_eq!(g.get_with(path, &ASYNC).await.refusal(), (400, code.to_owned()), "{path}");
    }
    let lenient = [("prefer", "respond-async, handling=lenient")];
    assert_eq!(g.get_with("/$export?_type=Patient&_typeFilter=x", &lenient).await.status, 202);
    assert_eq!(g.get("/$export").await.refusal(), (400, "invalid".into()));
    for path in ["/_export/file/AAAA", "/_export/status/AAAA"] {
        assert_eq!(g.get(path).await.refusal(), (404, "not-found".into()), "{path}");
    }
    g.stop().await;
}
