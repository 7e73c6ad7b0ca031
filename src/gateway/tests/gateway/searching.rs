//! Searches, pages, compartments, everything of a patient, batches.

use std::collections::BTreeSet;

use http::Method;
use sealdex_client::{OwnerEntry, owner};
use sealdex_gateway::GatewayConfig;
use sealdex_tests::{World, world::DOMAIN};
use serde_json::{Value as Json, json};

use crate::support::{READER, Running, all, identities, identity, link, member, world};

/// Identities of records of a type that refer to a patient, sorted.
fn of_patient(world: &World, kind: &str, patient: &str) -> Vec<String> {
    let records = world.hospitals.iter().flat_map(|h| world.records(h));
    let theirs = |r: &sealdex_fhir::Record| r.resource_type == kind && r.json["subject"]["reference"] == patient;
    records.filter(theirs).map(|r| r.identity()).collect::<BTreeSet<_>>().into_iter().collect()
}

fn outcomes(bundle: &Json) -> Vec<String> {
    let entries = bundle["entry"].as_array().cloned().unwrap_or_default();
    let said = entries.iter().filter(|e| e["search"]["mode"] == "outcome");
    said.map(|e| e["resource"]["issue"][0]["diagnostics"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn searches_find_what_is_there_page_by_page() {
    let (_home, world) = world(4, 2).await;
    let g = Running::start(GatewayConfig::loopback(member(&world), 0)).await;
    let observations = all(&world, "Observation");
    assert!(observations.len() > 12, "there is something to page through: {}", observations.len());

    // Following next from the first page shows each match once, in one order; a restart in between breaks no link.
    let mut bundle = g.search("/Observation?_count=5").await;
    let (first, mut seen, mut pages) = (link(&bundle, "self").unwrap().to_owned(), identities(&bundle, "match"), 1);
    assert!(first.starts_with(&g.base()), "{first}");
    assert_eq!(bundle["entry"][0]["fullUrl"], format!("{}/{}", g.base(), seen[0]));
    assert!(link(&bundle, "previous").is_none());
    let last = link(&bundle, "last").unwrap().to_owned();
    let port = g.addr.port();
    let mut g = g;
    while let Some(next) = link(&bundle, "next").map(str::to_owned) {
        if pages == 1 {
            g.stop().await;
            g = Running::start(GatewayConfig::loopback(member(&world), port)).await;
        }
        bundle = g.search(&next).await;
        assert_eq!(bundle["total"], observations.len());
        assert!(link(&bundle, "previous").is_some());
        seen.extend(identities(&bundle, "match"));
        pages += 1;
    }
    assert_eq!(pages, observations.len().div_ceil(5));
    assert_eq!(seen, observations, "by identity, as no order was asked for");
    assert_eq!(identities(&g.search(&last).await, "match"), identities(&bundle, "match"));
    assert_eq!(g.get("/Observation?_count=5&_page=AAAA").await.refusal(), (400, "invalid".into()));

    // Order, totals, and what is only counted.
    let sorted = g.search("/Observation?_sort=-date&_count=1000").await;
    let dates: Vec<&str> = sorted["entry"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|e| e["resource"]["effectiveDateTime"].as_str())
        .map(|d| &d[..10])
        .collect();
    assert!(dates.len() > 5);
    let mut by_day = dates.clone();
    by_day.sort_by(|a, b| b.cmp(a));
    let shuffled = dates.iter().zip(&by_day).filter(|(a, b)| a != b).count();
    assert!(shuffled * 4 < dates.len(), "newest first, give or take time zones");
    for path in ["/Observation?_count=0", "/Observation?_summary=count"] {
        let counted = g.search(path).await;
        assert_eq!(counted["total"], observations.len(), "{path}");
        assert!(counted.get("entry").is_none() && link(&counted, "next").is_none());
    }
    assert!(g.search("/Observation?_total=none&_count=1").await.get("total").is_none());
    let part = g.search("/Observation?_elements=status&_count=1").await;
    assert_eq!(part["entry"][0]["resource"]["meta"]["tag"][0]["code"], "SUBSETTED");
    assert!(part["entry"][0]["resource"].get("subject").is_none());
    assert!(link(&part, "self").unwrap().contains("_elements=status"));

    // By form as by query string.
    let (patient, form) = (&all(&world, "Patient")[0], "application/x-www-form-urlencoded");
    let theirs = of_patient(&world, "Observation", patient);
    let asked = g.search(&format!("/Observation?subject={patient}&_count=1000")).await;
    assert_eq!(identities(&asked, "match"), theirs);
    let posted = g.post("/Observation/_search?_count=1000", form, &format!("subject={patient}")).await.json();
    assert_eq!(identities(&posted, "match"), theirs);

    // What is not known is left out and said, or refused.
    let lenient = g.search("/Patient?nonsense=1&_count=1").await;
    assert_eq!(lenient["total"], all(&world, "Patient").len());
    assert!(outcomes(&lenient)[0].contains("nonsense"));
    assert!(!link(&lenient, "self").unwrap().contains("nonsense"));
    let strict = g.get_with("/Patient?nonsense=1", &[("prefer", "handling=strict")]).await;
    assert_eq!(strict.refusal(), (400, "invalid".into()));
    assert_eq!(g.get("/Patient?birthdate=soon").await.refusal(), (400, "invalid".into()));
    assert_eq!(g.get("/Patient?_filter=x").await.refusal(), (400, "not-supported".into()));

    // Several types, and no type.
    let both = g.search("/?_type=Patient,Organization&_count=1000").await;
    assert_eq!(
        identities(&both, "match").into_iter().collect::<BTreeSet<_>>(),
        [all(&world, "Patient"), all(&world, "Organization")].concat().into_iter().collect()
    );
    assert_eq!(g.get("/?_count=1").await.refusal(), (400, "invalid".into()));
    assert_eq!(g.get("/?_type=Patent").await.refusal(), (400, "invalid".into()));
    g.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn includes_come_with_their_page() {
    let (_home, world) = world(3, 1).await;
    let g = Running::start(GatewayConfig::loopback(member(&world), 0)).await;
    let page = g.search("/Observation?_count=2&_include=Observation:subject").await;
    assert_eq!(identities(&page, "match").len(), 2);
    let patients: BTreeSet<String> = page["entry"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|e| e["resource"]["subject"]["reference"].as_str())
        .map(str::to_owned)
        .collect();
    assert_eq!(identities(&page, "include").into_iter().collect::<BTreeSet<_>>(), patients);
    let patient = patients.first().unwrap();
    let back = g.search(&format!("/{}&_revinclude=Observation:subject", patient.replacen('/', "?_id=", 1))).await;
    assert_eq!(identities(&back, "match"), std::slice::from_ref(patient));
    assert_eq!(identities(&back, "include"), of_patient(&world, "Observation", patient));
    assert_eq!(back["total"], 1, "what is included is not counted");
    g.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compartment_holds_what_is_the_patients() {
    let (_home, world) = world(3, 2).await;
    let g = Running::start(GatewayConfig::loopback(member(&world), 0)).await;
    let patients = all(&world, "Patient");
    let patient = &patients[0];
    let inside = g.search(&format!("/{patient}/Observation?_count=1000")).await;
    assert_eq!(identities(&inside, "match"), of_patient(&world, "Observation", patient));
    assert!(link(&inside, "self").unwrap().contains(&format!("/{patient}/Observation?")));
    let (some, none) = (
        format!("/{patient}/Observation?status=final&_count=0"),
        format!("/{patient}/Observation?status=cancelled&_count=0"),
    );
    assert!(g.search(&some).await["total"].as_u64() > Some(0));
    assert_eq!(g.search(&none).await["total"], 0);
    assert_eq!(g.get(&format!("/{patient}/Organization")).await.refusal(), (404, "not-found".into()));
    assert_eq!(g.get("/Organization/1/Observation").await.refusal(), (404, "not-found".into()));
    let posted = g
        .post(&format!("/{patient}/Observation/_search"), "application/x-www-form-urlencoded", "_count=1000")
        .await
        .json();
    assert_eq!(identities(&posted, "match"), identities(&inside, "match"));

    let whole: BTreeSet<String> =
        identities(&g.search(&format!("/{patient}/*?_count=1000")).await, "match").into_iter().collect();
    let kinds = ["Observation", "Condition", "Encounter", "Procedure"];
    let expected: BTreeSet<String> = kinds.iter().flat_map(|k| of_patient(&world, k, patient)).collect();
    assert!(whole.is_superset(&expected) && whole.contains(patient));
    assert!(patients[1..].iter().all(|p| !whole.contains(p)), "nobody else");

    // Everything: the same, and what it points to.
    let everything = g.search(&format!("/{patient}/$everything")).await;
    let found: BTreeSet<String> = identities(&everything, "match").into_iter().collect();
    assert_eq!(identities(&everything, "match")[0], *patient, "the patient comes first");
    assert!(found.is_superset(&whole));
    let beside: BTreeSet<&str> = found.difference(&whole).map(|i| i.split('/').next().unwrap()).collect();
    assert!(beside.contains("Organization") || beside.contains("Practitioner"), "{beside:?}");
    assert!(
        beside
            .iter()
            .all(|k| ["Organization", "Practitioner", "Location", "Medication", "PractitionerRole"].contains(k))
    );
    assert_eq!(everything["total"], found.len());

    // In pages, of some types, of some time; by POST too.
    let (mut paged, mut page) = (vec![], g.search(&format!("/{patient}/$everything?_count=7")).await);
    loop {
        paged.extend(identities(&page, "match"));
        match link(&page, "next").map(str::to_owned) {
            Some(next) => page = g.search(&next).await,
            None => break,
        }
    }
    assert_eq!(paged, identities(&everything, "match"));
    let typed = g.search(&format!("/{patient}/$everything?_type=Observation")).await;
    assert_eq!(identities(&typed, "match"), of_patient(&world, "Observation", patient));
    let body = json!({ "resourceType": "Parameters", "parameter": [{ "name": "_type", "valueCode": "Observation" }, { "name": "start", "valueDate": "2200-01-01" }] });
    let later = g.post(&format!("/{patient}/$everything"), "application/fhir+json", &body.to_string()).await.json();
    assert_eq!(later["total"], 0);
    assert_eq!(g.get("/Patient/nobody/$everything").await.refusal(), (404, "not-found".into()));
    assert_eq!(g.get(&format!("/{patient}/$everything?start=soon")).await.refusal(), (400, "invalid".into()));
    let delete = g.send(Method::DELETE, &format!("/{patient}/$everything"), &[], "").await;
    assert_eq!(delete.refusal(), (405, "not-supported".into()));
    g.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_many_requests_that_do_not_harm_each_other() {
    let (_home, world) = world(2, 1).await;
    let g = Running::start(GatewayConfig::loopback(member(&world), 0)).await;
    let patients = all(&world, "Patient");
    let get = |url: &str| json!({ "request": { "method": "GET", "url": url } });
    let entries = json!([
        get(&patients[0]),
        get("Patient/nobody"),
        get("Observation?_count=1"),
        { "request": { "method": "DELETE", "url": patients[1] } },
        { "request": { "method": "POST", "url": "Patient" }, "resource": { "resourceType": "Patient" } },
        get(&format!("{}/{}", g.base(), patients[1])),
        get("a/b/c/d/e"),
        {},
        { "request": { "method": "POST", "url": "" }, "resource": { "resourceType": "Bundle", "type": "batch" } },
    ]);
    let bundle = json!({ "resourceType": "Bundle", "type": "batch", "entry": entries });
    let answer = g.post("", "application/fhir+json", &bundle.to_string()).await;
    assert_eq!(answer.status, 200);
    let response = answer.json();
    assert_eq!(response["type"], "batch-response");
    let entries = response["entry"].as_array().unwrap();
    let statuses: Vec<&str> = entries.iter().map(|e| &e["response"]["status"].as_str().unwrap()[..3]).collect();
    assert_eq!(statuses, ["200", "404", "200", "405", "405", "200", "404", "400", "501"]);
    assert_eq!(identity(&entries[0]["resource"]), patients[0]);
    assert!(entries[0]["response"]["etag"].as_str().unwrap().starts_with("W/"));
    assert_eq!(entries[1]["response"]["outcome"]["issue"][0]["code"], "not-found");
    assert_eq!(entries[2]["resource"]["type"], "searchset");
    let many: Vec<Json> = (0..501).map(|_| get("Patient/x")).collect();
    let bundle = json!({ "resourceType": "Bundle", "type": "batch", "entry": many });
    assert_eq!(g.post("", "application/fhir+json", &bundle.to_string()).await.refusal(), (413, "too-costly".into()));
    g.stop().await;
}

/// A page shows what may be seen when it is read, whatever was found before.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_revoked_is_gone_from_pages_already_found() {
    let (_home, world) = world(2, 1).await;
    let g = Running::start(GatewayConfig::loopback(member(&world), 0)).await;
    let bundle = g.search("/Observation?_count=3").await;
    let next = link(&bundle, "next").unwrap().to_owned();
    assert!(!identities(&g.search(&next).await, "match").is_empty());
    let keys = &world.readers[READER];
    let end = |e: &OwnerEntry| e.owner().revocation(DOMAIN, keys.identity.id(), None);
    owner::revoke_all(&world.gate(keys), world.owners.values().map(end).collect()).await.unwrap();
    assert!(identities(&g.search(&next).await, "match").is_empty());
    let id = &identities(&bundle, "match")[0];
    assert_eq!(g.get(&format!("/{id}")).await.refusal(), (404, "not-found".into()));
    g.stop().await;
}
