//! Writing through a hospital's own ingestion: the records are sealed, pushed, and found again.

use std::sync::Arc;

use http::Method;
use sealdex_gateway::{GatewayConfig, Ingest, Sealing};
use sealdex_provider::{Journal, Writer, WriterInput};
use sealdex_tests::World;
use serde_json::{Value as Json, json};

use crate::support::{Answer, Running, all, identities, member, world};

const FHIR: &str = "application/fhir+json";

/// The first hospital's writer.
fn writer(world: &World) -> Arc<dyn Ingest> {
    let (h, trusted) = (&world.hospitals[0], world.trusted());
    let input = WriterInput {
        keys: &h.keys,
        trusted: &trusted,
        gate: world.gate(&h.keys),
        cloud: trusted.cloud(&world.http, Some(&h.keys)).unwrap(),
        owners: h.dir.join("owners.ndjson"),
        journal: Journal::open(&h.dir.join("push.state/journal.redb")).unwrap(),
        log: None,
    };
    Arc::new(Sealing(Writer::open(input).unwrap()))
}

async fn put(g: &Running, path: &str, headers: &[(&str, &str)], body: &Json) -> Answer {
    let mut all = vec![("content-type", FHIR)];
    all.extend_from_slice(headers);
    g.send(Method::PUT, path, &all, &body.to_string()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_is_found_again() {
    let (_home, world) = world(2, 1).await;
    let config = GatewayConfig { ingest: Some(writer(&world)), ..GatewayConfig::loopback(member(&world), 0) };
    let g = Running::start(config).await;
    let patient = &all(&world, "Patient")[0];
    let observation = |value: &str| {
        json!({ "resourceType": "Observation", "status": "final", "subject": { "reference": patient },
            "code": { "coding": [{ "system": "http://loinc.org", "code": "zz-1" }] }, "effectiveDateTime": "2024-05-06T07:08:09Z",
            "valueQuantity": { "value": serde_json::from_str::<Json>(value).unwrap(), "unit": "mg" } })
    };
    assert_eq!(g.search("/Observation?code=zz-1").await["total"], 0);
    let made = g.post("/Observation", FHIR, &observation("1.50").to_string()).await;
    assert_eq!(made.status, 201, "{}", String::from_utf8_lossy(&made.body));
    let (json, tag) = (made.json(), made.header("etag").to_owned());
    let id = json["id"].as_str().unwrap().to_owned();
    assert!(made.body.windows(4).any(|w| w == b"1.50"), "numbers keep their text");
    assert!(
        made.header("location")
            .ends_with(&format!("/Observation/{id}/_history/{}", json["meta"]["versionId"].as_str().unwrap()))
    );
    let path = format!("/Observation/{id}");
    let read = g.get(&path).await;
    assert_eq!((&read.body, read.header("etag")), (&made.body, tag.as_str()));
    assert!(!read.header("last-modified").is_empty());
    assert_eq!(g.get_with(&path, &[("if-modified-since", read.header("last-modified"))]).await.status, 304);
    assert_eq!(
        identities(&g.search("/Observation?code=zz-1").await, "match"),
        [format!("Observation/{id}")],
        "no list of before is shown"
    );

    // Once more the same is no write; a change is; a change of what is no longer there is refused.
    let with_id = |value: &str| {
        let mut o = observation(value);
        o["id"] = id.as_str().into();
        o
    };
    let same = put(&g, &path, &[], &with_id("1.50")).await;
    assert_eq!((same.status, same.header("etag")), (200, tag.as_str()));
    assert_eq!(put(&g, &path, &[("if-match", "W/\"0\"")], &with_id("2")).await.refusal(), (412, "conflict".into()));
    assert_eq!(put(&g, &path, &[("if-none-match", "*")], &with_id("2")).await.refusal(), (412, "conflict".into()));
    let changed = put(&g, &path, &[("if-match", &tag), ("prefer", "return=minimal")], &with_id("2")).await;
    assert_eq!((changed.status, changed.body.len()), (200, 0), "{}", String::from_utf8_lossy(&changed.body));
    assert_ne!(changed.header("etag"), tag);
    assert_eq!(put(&g, &path, &[("if-match", &tag)], &with_id("3")).await.refusal(), (412, "conflict".into()));
    assert_eq!(g.get(&path).await.json()["valueQuantity"]["value"].to_string(), "2");
    assert_eq!(g.search("/Observation?code=zz-1&value-quantity=1.5").await["total"], 0, "the old value is gone");
    assert_eq!(g.search("/Observation?code=zz-1&value-quantity=2").await["total"], 1);
    assert_eq!(
        put(
            &g,
            "/Observation/gone",
            &[("if-match", &tag)],
            &json!({ "resourceType": "Observation", "id": "gone", "status": "final", "code": {} })
        )
        .await
        .refusal()
        .0,
        412
    );

    // Created under its own id, with an outcome for an answer.
    let own = json!({ "resourceType": "Observation", "id": "own-1", "status": "final", "code": { "text": "c" }, "subject": { "reference": patient } });
    let outcome = put(&g, "/Observation/own-1", &[("prefer", "return=OperationOutcome")], &own).await;
    assert_eq!((outcome.status, &outcome.json()["issue"][0]["severity"]), (201, &"information".into()));

    // Only if there is none yet.
    let none = [("content-type", FHIR), ("if-none-exist", "code=zz-1")];
    let body = observation("9").to_string();
    let existing = g.send(Method::POST, "/Observation", &none, &body).await;
    assert_eq!((existing.status, existing.header("etag")), (200, changed.header("etag")));
    let many = [("content-type", FHIR), ("if-none-exist", "status=final")];
    assert_eq!(g.send(Method::POST, "/Observation", &many, &body).await.refusal(), (412, "multiple-matches".into()));
    let bad = [("content-type", FHIR), ("if-none-exist", "nonsense=1")];
    assert_eq!(g.send(Method::POST, "/Observation", &bad, &body).await.refusal(), (400, "invalid".into()));

    // Deleted: gone for everybody, a second time the same; brought back it is new.
    let before = g.search("/Observation?code=zz-1").await["total"].clone();
    assert_eq!(g.send(Method::DELETE, &path, &[("if-match", "W/\"0\"")], "").await.refusal(), (412, "conflict".into()));
    let deleted = g.send(Method::DELETE, &path, &[("if-match", changed.header("etag"))], "").await;
    assert_eq!((deleted.status, deleted.body.len(), &before), (204, 0, &1.into()));
    assert_eq!(g.get(&path).await.refusal(), (410, "deleted".into()));
    assert_eq!(g.send(Method::HEAD, &path, &[], "").await.status, 410);
    assert_eq!(g.get(&format!("{path}/_history/1")).await.refusal(), (410, "deleted".into()));
    assert_eq!(g.search("/Observation?code=zz-1").await["total"], 0);
    assert_eq!(g.search(&format!("/Observation?_id={id}")).await["total"], 0);
    assert_eq!(g.send(Method::DELETE, &path, &[], "").await.status, 204);
    assert_eq!(g.get("/Observation/never").await.refusal(), (404, "not-found".into()));
    assert_eq!(g.send(Method::DELETE, "/Observation/never", &[], "").await.status, 204);
    assert_eq!(g.get("/Observation/never").await.status, 404, "what was not there is not known as deleted");
    assert_eq!(g.send(Method::DELETE, "/Observation?code=zz-1", &[], "").await.refusal().0, 501);
    assert_eq!(put(&g, &path, &[("if-match", &tag)], &with_id("2")).await.refusal().0, 412);
    let back = put(&g, &path, &[], &with_id("2")).await;
    assert_eq!((back.status, g.get(&path).await.status), (201, 200));
    let everything = format!("/{patient}/$everything");
    let there = |g: Json| identities(&g, "match").contains(&format!("Observation/{id}"));
    assert!(there(g.search(&format!("{everything}?_count=500")).await));
    let batch = json!({ "resourceType": "Bundle", "type": "batch", "entry": [
        { "request": { "method": "GET", "url": format!("Observation/{id}") } },
        { "request": { "method": "DELETE", "url": format!("Observation/{id}") } },
    ] });
    let done = g.post("", FHIR, &batch.to_string()).await.json();
    let statuses: Vec<&str> =
        done["entry"].as_array().unwrap().iter().map(|e| e["response"]["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["410 Gone", "204 No Content"]);
    assert!(!there(g.search(&format!("{everything}?_count=500")).await));
    assert_eq!(put(&g, &path, &[], &with_id("2")).await.status, 201);

    // What is no such resource, or nobody's.
    assert_eq!(put(&g, &path, &[], &observation("1")).await.refusal(), (400, "invalid".into()));
    assert_eq!(put(&g, "/Observation/other", &[], &with_id("1")).await.refusal(), (400, "invalid".into()));
    assert_eq!(put(&g, "/Condition/x", &[], &with_id("1")).await.refusal(), (400, "invalid".into()));
    let invalid = g.post("/Observation", FHIR, r#"{"resourceType":"Observation"}"#).await;
    assert_eq!(invalid.refusal(), (422, "invalid".into()));
    assert_eq!(invalid.json()["issue"][0]["expression"][0], "Observation.status");
    let stranger = json!({ "resourceType": "Observation", "status": "final", "code": { "text": "c" }, "subject": { "reference": "Patient/nobody" } });
    assert_eq!(g.post("/Observation", FHIR, &stranger.to_string()).await.refusal(), (422, "processing".into()));

    // In a batch, before what reads.
    let batch = json!({ "resourceType": "Bundle", "type": "batch", "entry": [
        { "request": { "method": "GET", "url": "Observation/b-1" } },
        { "request": { "method": "PUT", "url": "Observation/b-1" }, "resource": { "resourceType": "Observation", "id": "b-1", "status": "final", "code": { "text": "c" }, "subject": { "reference": patient } } },
    ] });
    let done = g.post("", FHIR, &batch.to_string()).await.json();
    let statuses: Vec<&str> =
        done["entry"].as_array().unwrap().iter().map(|e| e["response"]["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["200 OK", "201 Created"]);
    let patient_type = g.get("/metadata").await.json()["rest"][0]["resource"]
        .as_array()
        .unwrap()
        .iter()
        .find(|t| t["type"] == "Patient")
        .unwrap()
        .clone();
    let interactions = patient_type["interaction"].as_array().unwrap();
    assert!(interactions.iter().any(|i| i["code"] == "delete"));
    assert_eq!((&patient_type["versioning"], &patient_type["updateCreate"]), (&"versioned".into(), &true.into()));
    g.stop().await;
}
