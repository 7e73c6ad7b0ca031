//! The hooks for a patient's own gateway. The wallet behind them is made up here: what is tested is the server.

use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use http::Method;
use sealdex_gateway::{AuditFilter, GatewayConfig, PatientPortal, PortalError};
use serde_json::{Value as Json, json};

use crate::support::{Running, identities, member, world};

#[derive(Default)]
struct Wallet(Mutex<Vec<Json>>);

impl PatientPortal for Wallet {
    fn consents(&self) -> BoxFuture<'_, Result<Vec<Json>, PortalError>> {
        Box::pin(async { Ok(self.0.lock().unwrap().clone()) })
    }

    fn put_consent(&self, mut consent: Json) -> BoxFuture<'_, Result<Json, PortalError>> {
        Box::pin(async move {
            if consent["status"] != "active" {
                let reason = "only active consents can be put into force".into();
                return Err(PortalError::Invalid { path: "Consent.status".into(), reason });
            }
            let mut held = self.0.lock().unwrap();
            if consent.get("id").is_none() {
                consent["id"] = format!("c{}", held.len()).into();
            }
            held.retain(|c| c["id"] != consent["id"]);
            held.push(consent.clone());
            Ok(consent)
        })
    }

    fn delete_consent(&self, id: &str) -> BoxFuture<'_, Result<(), PortalError>> {
        let id = id.to_owned();
        Box::pin(async move {
            let mut held = self.0.lock().unwrap();
            let before = held.len();
            held.retain(|c| c["id"] != id);
            if held.len() < before { Ok(()) } else { Err(PortalError::NotFound) }
        })
    }

    fn audit_events(&self, _: AuditFilter) -> BoxFuture<'_, Result<Vec<Json>, PortalError>> {
        let event = |id: &str, action: &str| json!({ "resourceType": "AuditEvent", "id": id, "action": action });
        Box::pin(async move { Ok(vec![event("2", "R"), event("1", "E")]) })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn consents_and_audit_events_are_the_patients() {
    let (_home, world) = world(1, 1).await;
    let config =
        GatewayConfig { portal: Some(Arc::new(Wallet::default())), ..GatewayConfig::loopback(member(&world), 0) };
    let g = Running::start(config).await;
    let fhir = [("content-type", "application/fhir+json")];
    let consent = |id: Option<&str>, status: &str| {
        let mut c = json!({ "resourceType": "Consent", "status": status });
        if let Some(id) = id {
            c["id"] = id.into();
        }
        c.to_string()
    };
    let made = g.post("/Consent", fhir[0].1, &consent(Some("mine"), "active")).await;
    assert_eq!((made.status, &made.json()["id"]), (201, &"c0".into()), "the server names what is new");
    assert!(made.header("location").contains("/Consent/c0/_history/"));
    let read = g.get("/Consent/c0").await;
    assert_eq!((read.status, read.header("etag")), (200, made.header("etag")));
    assert_eq!(identities(&g.search("/Consent?status=active").await, "match"), ["Consent/c0"]);
    assert_eq!(g.search("/Consent?status=draft").await["total"], 0);
    let refused = g.post("/Consent", fhir[0].1, &consent(None, "draft")).await;
    assert_eq!(refused.refusal(), (422, "business-rule".into()));
    assert_eq!(refused.json()["issue"][0]["expression"][0], "Consent.status");
    let put = async |path: &str, tag: &str, body: String| {
        g.send(Method::PUT, path, &[fhir[0], ("if-match", tag)], &body).await
    };
    assert_eq!(put("/Consent/c0", "W/\"x\"", consent(Some("c0"), "active")).await.refusal(), (412, "conflict".into()));
    assert_eq!(put("/Consent/c0", read.header("etag"), consent(Some("c0"), "active")).await.status, 200);
    assert_eq!(put("/Consent/c0", "*", consent(Some("c1"), "active")).await.refusal(), (400, "invalid".into()));
    assert_eq!(g.send(Method::DELETE, "/Consent/c0", &[], "").await.status, 204);
    assert_eq!(g.send(Method::DELETE, "/Consent/c0", &[], "").await.refusal(), (404, "not-found".into()));
    assert_eq!(g.get("/Consent/c0").await.refusal(), (404, "not-found".into()));

    assert_eq!(identities(&g.search("/AuditEvent").await, "match"), ["AuditEvent/2", "AuditEvent/1"], "newest first");
    assert_eq!(identities(&g.search("/AuditEvent?action=E").await, "match"), ["AuditEvent/1"]);
    assert_eq!(g.get("/AuditEvent?patient.name=x").await.refusal(), (400, "not-supported".into()));
    assert_eq!(g.post("/AuditEvent", fhir[0].1, "{}").await.refusal(), (405, "not-supported".into()));
    let types = g.get("/metadata").await.json()["rest"][0]["resource"].as_array().unwrap().clone();
    let codes = |kind: &str| types.iter().find(|t| t["type"] == kind).unwrap()["interaction"].as_array().unwrap().len();
    assert_eq!((codes("Consent"), codes("AuditEvent"), codes("Patient")), (6, 3, 3));
    g.stop().await;
}
