//! A patient's consents and accesses, in FHIR, over a real gate.

use std::sync::Arc;

use http::Method;
use sealdex_client::Patient;
use sealdex_gateway::{GatewayConfig, PatientPortal};
use sealdex_tests::World;
use serde_json::{Value as Json, json};

use crate::support::{READER, Running, all, identities, member, world};

const FHIR: [(&str, &str); 1] = [("content-type", "application/fhir+json")];

async fn gateway_of(world: &World, label: &str) -> Running {
    let entry = world.owners[label].clone();
    let patient = Patient::new(label, entry, world.trusted(), &world.http).unwrap();
    let portal = Some(Arc::new(patient) as Arc<dyn PatientPortal>);
    Running::start(GatewayConfig { portal, ..GatewayConfig::loopback(member(world), 0) }).await
}

fn resources(bundle: &Json) -> Vec<Json> {
    bundle["entry"].as_array().into_iter().flatten().map(|e| e["resource"].clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patient_decides_and_sees_who_read() {
    let (_home, world) = world(2, 1).await;
    let labels: Vec<String> = world.owners.keys().cloned().collect();
    let (mine, other) = (&labels[0], &labels[1]);
    let g = gateway_of(&world, mine).await;
    let ask = format!("/Observation?patient={mine}");
    let before = g.search(&ask).await["total"].as_u64().unwrap();
    assert!(before > 0);

    // One consent, for the reader who was granted everything.
    let found = g.search("/Consent?status=active").await;
    let consents = resources(&found);
    assert_eq!(consents.len(), 1);
    let consent = &consents[0];
    assert_eq!(sealdex_r4::validate(consent), Ok(()), "{consent}");
    let rule = |c: &Json| c["provision"]["provision"][0].clone();
    let classes = |c: &Json| rule(c)["class"].as_array().unwrap().len();
    assert_eq!(classes(consent), world.schema.patient_sections().count());
    assert_eq!(rule(consent)["actor"][0]["reference"]["display"], READER);
    assert!(g.search(&format!("/Consent?patient={other}")).await["total"] == 0);

    // Put back without a section: that section is closed, the others are not.
    let id = consent["id"].as_str().unwrap();
    let path = format!("/Consent/{id}");
    let mut less = consent.clone();
    less["provision"]["provision"][0]["class"].as_array_mut().unwrap().retain(|c| c["code"] != "observations");
    let put = g.send(Method::PUT, &path, &FHIR, &less.to_string()).await;
    assert_eq!(put.status, 200, "{}", String::from_utf8_lossy(&put.body));
    assert_eq!(classes(&put.json()), classes(consent) - 1);
    assert_eq!(g.search(&ask).await["total"], 0);
    let visits = g.search(&format!("/Encounter?patient={mine}")).await;
    assert!(visits["total"].as_u64().unwrap() > 0);
    assert_eq!(
        g.send(Method::PUT, &path, &FHIR, &consent.to_string()).await.status,
        200,
        "and opened again by the whole one"
    );
    assert_eq!(g.search(&ask).await["total"].as_u64(), Some(before));

    // A new one, for research only, with an end; then taken back.
    let new = json!({ "resourceType": "Consent", "status": "active", "patient": { "reference": mine },
        "scope": { "coding": [{ "code": "patient-privacy" }] }, "category": [{ "text": "x" }],
        "provision": { "type": "permit", "actor": [{ "role": { "text": "reader" }, "reference": { "display": READER } }],
            "purpose": [{ "system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "HRESCH" }],
            "period": { "end": "2099-12-31" }, "class": [{ "system": "urn:sealdex:section", "code": "observations" }] } });
    let made = g.post("/Consent", FHIR[0].1, &new.to_string()).await;
    assert_eq!(made.status, 201, "{}", String::from_utf8_lossy(&made.body));
    let made = made.json();
    assert_eq!(rule(&made)["period"]["end"], "2099-12-31T23:59:59Z");
    assert_eq!(g.search("/Consent").await["total"], 2);
    let total = g.search(&ask).await["total"].as_u64();
    assert_eq!(total, Some(before), "one section may be granted for research and for treatment");
    assert_eq!(
        g.send(Method::DELETE, &format!("/Consent/{}", made["id"].as_str().unwrap()), &[], "").await.status,
        204
    );
    assert_eq!(g.search("/Consent").await["total"], 1);
    assert_eq!(g.search(&ask).await["total"].as_u64(), Some(before), "taking back one purpose leaves the other");

    // What cannot be kept is refused, with the element it stands in.
    for (pointer, value, element) in [
        ("/provision/type", json!("deny"), "Consent.provision.type"),
        (
            "/provision/data",
            json!([{ "meaning": "instance", "reference": { "display": "x" } }]),
            "Consent.provision.data",
        ),
        ("/provision/purpose", json!(null), "Consent.provision.purpose"),
        ("/modifierExtension", json!([{ "url": "u", "valueBoolean": true }]), "Consent.modifierExtension"),
        ("/provision/class", json!([{ "system": "urn:sealdex:section", "code": "gossip" }]), "Consent.provision.class"),
        ("/provision/actor", json!([]), "Consent.provision.actor"),
        ("/provision/provision", json!([{ "type": "deny" }]), "Consent.provision"),
        (
            "/provision/actor",
            json!([{ "role": { "text": "r" }, "reference": { "display": "nobody" } }]),
            "Consent.provision.actor[0].reference",
        ),
        ("/provision/period", json!({ "end": "1999" }), "Consent.provision.period"),
        ("/status", json!("draft"), "Consent.status"),
        ("/patient", json!({ "reference": other }), "Consent.patient"),
    ] {
        let mut bad = new.clone();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        bad.pointer_mut(parent).unwrap()[name] = value;
        let refused = g.post("/Consent", FHIR[0].1, &bad.to_string()).await;
        assert_eq!(refused.refusal().0, 422, "{pointer}");
        assert_eq!(refused.json()["issue"][0]["expression"][0], element);
    }
    assert_eq!(g.search("/Consent").await["total"], 1, "and changes nothing");

    // Ended by its status.
    let mut ended = consent.clone();
    ended["status"] = "inactive".into();
    assert_eq!(g.send(Method::PUT, &path, &FHIR, &ended.to_string()).await.status, 200);
    assert_eq!(g.search(&format!("/Encounter?patient={mine}")).await["total"], 0);

    // All of that is on record, newest first; what was done with another's records is not.
    let events = resources(&g.search("/AuditEvent?_count=1000").await);
    events.iter().for_each(|e| assert_eq!(sealdex_r4::validate(e), Ok(()), "{e}"));
    let of = |kind: &str| events.iter().filter(|e| e["subtype"][0]["code"] == kind).collect::<Vec<_>>();
    let searches = of("search-type");
    let released = |e: &Json, section: &str| {
        e["entry"].is_null() && e["entity"][0]["detail"].as_array().unwrap().iter().any(|d| d["valueString"] == section)
    };
    let observed = searches.iter().filter(|e| released(e, "observations")).count();
    assert_eq!(observed, 4, "four times observations were released: {searches:#?}");
    assert!(searches.iter().all(|e| e["agent"][0]["who"]["display"] == READER));
    assert!(searches.iter().all(|e| e["agent"][0]["purposeOfUse"][0]["coding"][0]["code"] == "TREAT"));
    assert!(!of("create").is_empty() && !of("update").is_empty() && !of("delete").is_empty());
    assert!(events.iter().all(|e| e["entity"][0]["what"]["reference"] == **mine));
    let own = of("delete").iter().all(|e| e["agent"][0]["who"]["reference"] == **mine);
    assert!(own, "the patient revoked in person");
    let counted = g.search("/AuditEvent?_summary=count").await;
    assert_eq!((counted["total"].as_u64(), &counted["entry"]), (Some(events.len() as u64), &Json::Null));
    // In the order in which the gate noted them: of two searches at once the one that began later may come first.
    let times: Vec<&str> = events.iter().map(|e| &e["recorded"].as_str().unwrap()[..16]).collect();
    assert!(times.windows(2).all(|w| w[0] >= w[1]), "newest first, to the minute: {times:?}");
    let one = events[0]["id"].as_str().unwrap();
    assert_eq!(g.get(&format!("/AuditEvent/{one}")).await.json(), events[0]);
    assert_eq!(g.post("/AuditEvent", FHIR[0].1, &events[0].to_string()).await.refusal().0, 405);
    g.stop().await;

    let g = gateway_of(&world, other).await;
    let theirs = resources(&g.search("/AuditEvent?_count=1000").await);
    let searched = theirs.iter().filter(|e| e["subtype"][0]["code"] == "search-type").count();
    assert_eq!(searched, 0, "nobody read the other patient's records: {theirs:#?}");
    assert!(!theirs.is_empty(), "but they were pushed and granted");
    assert_eq!(
        identities(&g.search("/Patient").await, "match"),
        std::slice::from_ref(other),
        "the first patient revoked"
    );
    assert_eq!(all(&world, "Patient").len(), 2);
    g.stop().await;
}
