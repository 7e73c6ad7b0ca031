//! Reading one resource, what the server says of itself, and forms of answers.

use http::Method;
use sealdex_gateway::GatewayConfig;

use crate::support::{Running, all, member, world};

#[tokio::test(flavor = "multi_thread")]
async fn resources_come_as_they_were_stored() {
    let (_home, world) = world(3, 2).await;
    let g = Running::start(GatewayConfig::loopback(member(&world), 0)).await;
    let stored =
        world.hospitals.iter().flat_map(|h| world.records(h)).find(|r| r.resource_type == "Observation").unwrap();
    let path = format!("/{}", stored.identity());

    let read = g.get(&path).await;
    assert_eq!(read.status, 200);
    assert_eq!(read.body, stored.bytes, "byte for byte");
    assert_eq!(read.header("content-type"), "application/fhir+json; charset=utf-8");
    assert_eq!(read.header("cache-control"), "no-store");
    let tag = read.header("etag").to_owned();
    assert!(tag.starts_with("W/\"") && tag.ends_with('"'), "{tag}");

    // Again, with what is known.
    let again = g.get_with(&path, &[("if-none-match", &tag)]).await;
    assert_eq!((again.status, again.body.len(), again.header("etag")), (304, 0, tag.as_str()));
    assert_eq!(g.get_with(&path, &[("if-none-match", "W/\"other\"")]).await.status, 200);

    // This version, and another.
    let version = tag.trim_start_matches("W/").trim_matches('"');
    assert_eq!(g.get(&format!("{path}/_history/{version}")).await.body, stored.bytes);
    assert_eq!(g.get(&format!("{path}/_history/0")).await.refusal(), (404, "not-found".into()));
    assert_eq!(g.get(&format!("{path}/_history")).await.refusal(), (501, "not-supported".into()));

    // The head alone.
    let head = g.send(Method::HEAD, &path, &[], "").await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), stored.bytes.len().to_string());
    assert_eq!(head.header("etag"), tag);

    // Other forms of the same.
    let pretty = g.get(&format!("{path}?_pretty=true")).await;
    assert_eq!(pretty.json(), stored.json);
    assert!(pretty.body.windows(3).any(|w| w == b"\n  "));
    let plain = g.get_with(&path, &[("accept", "application/json")]).await;
    assert_eq!((plain.header("content-type"), &plain.body[..]), ("application/json; charset=utf-8", &stored.bytes[..]));
    let part = g.get(&format!("{path}?_elements=code")).await.json();
    assert_eq!(part["meta"]["tag"][0]["code"], "SUBSETTED");
    assert!(part.get("code").is_some() && part.get("status").is_some() && part.get("subject").is_none(), "{part}");
    assert!(g.get(&format!("{path}?_summary=true")).await.json().get("subject").is_some());
    assert_eq!(g.get(&format!("{path}?_summary=some")).await.refusal(), (400, "invalid".into()));

    assert_eq!(g.get("/Observation/nobody").await.refusal(), (404, "not-found".into()));
    assert_eq!(g.get("/Patent/1").await.refusal(), (404, "not-supported".into()));
    assert_eq!(g.get("/Patient/a_b").await.refusal(), (400, "invalid".into()));
    g.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_says_of_itself_is_true() {
    let (_home, world) = world(2, 1).await;
    let g = Running::start(GatewayConfig::loopback(member(&world), 0)).await;
    let answer = g.get("/metadata").await;
    let statement = answer.json();
    assert_eq!(statement["resourceType"], "CapabilityStatement");
    assert_eq!((&statement["fhirVersion"], &statement["kind"]), (&"4.0.1".into(), &"instance".into()));
    assert_eq!(statement["implementation"]["url"], g.base());
    assert_eq!(g.get_with("/metadata", &[("if-none-match", answer.header("etag"))]).await.status, 304);
    let rest = &statement["rest"][0];
    assert!(rest["security"]["description"].as_str().unwrap().contains("whoever reaches this socket"));
    let types = rest["resource"].as_array().unwrap();
    assert_eq!(types.len(), 146);
    let patient = types.iter().find(|t| t["type"] == "Patient").unwrap();
    let codes: Vec<&str> =
        patient["interaction"].as_array().unwrap().iter().map(|i| i["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["read", "vread", "search-type"], "nothing can be written");
    assert_eq!(g.post("/Patient", "application/fhir+json", "{}").await.refusal(), (405, "not-supported".into()));
    let birthdate = patient["searchParam"].as_array().unwrap().iter().find(|p| p["name"] == "birthdate").unwrap();
    assert_eq!(birthdate["definition"], "http://hl7.org/fhir/SearchParameter/individual-birthdate");
    assert_eq!(birthdate["type"], "date");
    let includes =
        |name: &str| patient[name].as_array().unwrap().iter().map(|v| v.as_str().unwrap()).collect::<Vec<_>>();
    assert!(includes("searchInclude").contains(&"Patient:general-practitioner"));
    assert!(includes("searchRevInclude").contains(&"Observation:subject"));
    // Each include and parameter it lists is one it takes.
    for kind in ["Patient", "Observation", "Encounter"] {
        let about = types.iter().find(|t| t["type"] == kind).unwrap();
        for include in about["searchInclude"].as_array().unwrap() {
            let path = format!("/{kind}?_id=none&_include={}", include.as_str().unwrap());
            assert_eq!(g.get_with(&path, &[("prefer", "handling=strict")]).await.status, 200, "{path}");
        }
    }
    assert_eq!(g.get("/.well-known/smart-configuration").await.refusal(), (404, "not-found".into()));

    // What runs beside FHIR.
    let root = format!("http://{}", g.addr);
    for (path, text) in [("/healthz", "ok"), ("/readyz", "ready"), ("/metrics", "sealdex_gateway_interactions_total")] {
        let answer = g.get(&format!("{root}{path}")).await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(String::from_utf8_lossy(&answer.body).contains(text), "{path}");
    }
    assert_eq!(all(&world, "Patient").len(), 2);
    g.stop().await;
}
