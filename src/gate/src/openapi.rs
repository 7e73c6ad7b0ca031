//! The control plane as an OpenAPI document. The data plane (CBOR) is in the documentation of
//! `sealdex-wire`.

use sealdex_wire::{problem, roster::Role};
use serde_json::{Value, json};

mod care;
mod nodes;

fn bytes(n: usize) -> Value {
    json!({ "type": "string", "pattern": format!("^[0-9a-fA-F]{{{}}}$", 2 * n) })
}

fn list(items: Value) -> Value {
    json!({ "type": "array", "items": items })
}

fn object(required: &[&str], properties: Value) -> Value {
    json!({ "type": "object", "additionalProperties": false, "required": required, "properties": properties })
}

fn schema(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn operation(summary: &str, body: Option<&str>, answer: &str) -> Value {
    let content = |name: &str| json!({ "application/json": { "schema": schema(name) } });
    let mut operation = json!({
        "summary": summary,
        "security": [{ "sealdex": [] }],
        "responses": {
            "200": { "description": "done, durably", "content": content(answer) },
            "default": {
                "description": "refused; `type` is a stable URI",
                "content": { (problem::CONTENT_TYPE): { "schema": schema("Problem") } },
            },
        },
    });
    if let Some(body) = body {
        operation["requestBody"] = json!({ "required": true, "content": content(body) });
    }
    operation
}

/// The document served at `/v1/openapi.json`.
pub fn document() -> Value {
    json!({
        "openapi": "3.1.0",
        "info": { "title": "Sealdex gate: control plane", "version": env!("CARGO_PKG_VERSION") },
        "paths": {
            "/v1/roster": {
                "put": operation("Put a newer roster in force (authority)", Some("UpdateRoster"), "Accepted"),
                "get": operation("The roster in force (any active member)", None, "Signed"),
            },
            "/v1/owners": { "post": operation("Publish owner profiles (provider, or the owner itself)", Some("PublishOwners"), "Accepted") },
            "/v1/owners/lookup": { "post": operation("Owner profiles (provider)", Some("LookupOwners"), "OwnersFound") },
            "/v1/grants": { "post": operation("Grant (the owner, or an active member carrying signed grants)", Some("SubmitGrants"), "Accepted") },
            "/v1/grants/list": { "post": operation("The caller's grants, given or received", Some("ListGrants"), "GrantList") },
            "/v1/accesses": { "post": operation("What was done with the caller's own records and consent, oldest first", Some("ListAccesses"), "AccessList") },
            "/v1/consent": { "post": operation("Profiles, revocations and grants, together or not at all (as grants)", Some("ChangeConsent"), "Accepted") },
            "/v1/members": {
                "get": operation("Everybody, and who enrolled whom (any active member, any owner)", None, "MemberList"),
                "post": operation("Enrol below oneself, or dismiss (provider)", Some("UpdateFamily"), "Accepted"),
            },
            "/v1/bridges/rotate": { "post": operation("Fit the caller's bridge to its new token key (member)", Some("RotateBridge"), "Accepted") },
            "/v1/groups": { "post": operation("Put a charter in force (its manager)", Some("SubmitGroup"), "Accepted") },
            "/v1/groups/list": { "post": operation("Charters", Some("ListGroups"), "GroupList") },
            "/v1/groups/stale": { "post": operation("Grants that are for an earlier key (manager, successor)", Some("ListStale"), "StaleList") },
            "/v1/groups/rotate": { "post": operation("Rotate grants to the newest key (manager, successor)", Some("RotateGrants"), "Accepted") },
            "/v1/emergencies": { "post": operation("Sign for an emergency: the second signature wakes it (a member its grant names)", Some("SubmitWake"), "WakeState") },
            "/v1/emergencies/list": { "post": operation("Emergencies of the caller's records, or that it may sign or has signed", Some("ListWakes"), "WakeList") },
            "/v1/emergencies/close": { "post": operation("End an emergency before its time (owner, or who signed)", Some("CloseWake"), "Accepted") },
            "/v1/requests": { "post": operation("Ask an owner for access (member)", Some("AskAccess"), "Asked") },
            "/v1/requests/list": { "post": operation("Requests to an owner (it, or its carer), or by the caller", Some("ListRequests"), "RequestList") },
            "/v1/requests/answer": { "post": operation("Approve or decline (owner, carer), or withdraw (who asked)", Some("AnswerRequest"), "Accepted") },
            "/v1/mandates": { "post": operation("Give or end a mandate (owner)", Some("SubmitMandate"), "Accepted") },
            "/v1/mandates/list": { "post": operation("Mandates the caller gave or holds; the body is null", None, "MandateList") },
            "/v1/erasures": { "post": operation("Erase, at once and for good (the owner, or an active member carrying the order)", Some("SubmitErasure"), "Accepted") },
            "/v1/trace": { "post": operation("What a member could reach and did reach (authority)", Some("TraceMember"), "Trace") },
            "/v1/revocations": { "post": operation("Revoke, at once (the owner, or an active member carrying signed revocations)", Some("SubmitRevocations"), "Accepted") },
            "/v1/reshare": { "post": operation("Begin sharing the scalars anew, or give up what was begun (authority)", Some("Reshare"), "Accepted") },
            "/v1/reshare/state": { "post": operation("How far this node is; the body is null (authority)", None, "ResharingState") },
            "/v1/resume": { "post": operation("Let a gate that was restored from a backup serve again (authority)", Some("ResumeGate"), "Accepted") },
        },
        "components": {
            "securitySchemes": { "sealdex": {
                "type": "apiKey", "in": "header", "name": "Authorization",
                "description": "Sealdex id=…,ts=…,nonce=…,sig=…[,keys=…]: a BIP-340 signature over domain, server, method, path, time, nonce and body hash",
            } },
            "schemas": schemas(),
        },
    })
}

fn schemas() -> Value {
    let mut all = consent_schemas();
    for more in [care::schemas(), nodes::schemas()] {
        if let (Some(all), Value::Object(more)) = (all.as_object_mut(), more) {
            all.extend(more);
        }
    }
    all
}

fn consent_schemas() -> Value {
    let signed = || schema("Signed");
    json!({
        "Signed": object(&["payload", "signer", "signature"], json!({
            "payload": { "type": "string", "description": "the signed JSON text, byte for byte" },
            "signer": bytes(16),
            "signature": bytes(64),
        })),
        "PublicKeys": object(&["enc", "sign"], json!({ "enc": bytes(33), "sign": bytes(32) })),
        "Roster": object(&["domain", "version", "authority", "gates", "clouds", "everyone", "members"], json!({
            "domain": { "type": "string" },
            "version": { "type": "integer", "minimum": 0 },
            "authority": schema("PublicKeys"),
            "gates": list(schema("Server")),
            "sharing": schema("Sharing"),
            "clouds": list(schema("Server")),
            "everyone": schema("PublicKeys"),
            "members": list(schema("Member")),
            "revoked": list(bytes(16)),
            "budgets": list(object(&["tokens", "ranges", "entries"], json!({
                "member": bytes(16),
                "tokens": { "type": "integer" },
                "ranges": { "type": "integer" },
                "entries": { "type": "integer" },
            }))),
        })),
        "Server": object(&["id", "keys", "url"], json!({ "id": bytes(16), "keys": schema("PublicKeys"), "url": { "type": "string" }, "node": nodes::number() })),
        "Member": object(&["id", "keys", "role", "status"], json!({
            "id": bytes(16),
            "keys": schema("PublicKeys"),
            "role": { "enum": [Role::Provider, Role::User] },
            "name": { "type": "string" },
            "parent": bytes(16),
            "status": { "enum": ["active", "revoked"] },
            "counts_from": { "type": "integer", "description": "it may count and not read: the smallest count told" },
            "succeeds": bytes(16),
        })),
        "UpdateRoster": object(&["roster"], json!({
            "roster": signed(),
            "bridges": list(object(&["member"], json!({
                "member": bytes(16),
                "scalar": bytes(32),
                "commitments": list(bytes(33)),
            }))),
            "shares": list(schema("NodeShares")),
        })),
        "PublishOwners": object(&["profiles"], json!({ "profiles": list(signed()) })),
        "LookupOwners": object(&["owners"], json!({ "owners": list(bytes(16)) })),
        "OwnersFound": object(&["profiles"], json!({ "profiles": list(json!({ "oneOf": [signed(), { "type": "null" }] })), "erased": list(signed()) })),
        "SubmitGrants": object(&["grants"], json!({
            "grants": list(object(&["grant"], json!({ "grant": signed(), "rk": bytes(32) }))),
            "shares": list(schema("NodeShares")),
        })),
        "SubmitErasure": object(&["order"], json!({ "order": signed() })),
        "SubmitRevocations": object(&["revocations"], json!({ "revocations": list(signed()) })),
        "ListGrants": object(&["limit"], json!({
            "owner": { "oneOf": [bytes(16), { "type": "null" }] },
            "after": { "type": "string", "description": "next of the page before" },
            "limit": { "type": "integer", "minimum": 0 },
        })),
        "Place": object(&["act", "part"], json!({
            "act": { "type": "integer", "minimum": 0 },
            "part": { "type": "integer", "minimum": 0 },
        })),
        "ResumeGate": object(&["accept_loss_after", "roster_version"], json!({
            "accept_loss_after": { "type": "integer", "description": "time of the backup, Unix milliseconds" },
            "roster_version": { "type": "integer", "description": "of the newest roster" },
        })),
        "ListAccesses": object(&["limit"], json!({
            "after": { "oneOf": [schema("Place"), { "type": "null" }] },
            "limit": { "type": "integer", "minimum": 0 },
        })),
        "Access": object(&["place", "at", "kind", "caller", "count"], json!({
            "place": schema("Place"),
            "at": { "type": "integer", "description": "Unix milliseconds" },
            "kind": { "enum": ["search", "push", "grant", "revocation", "emergency", "request", "mandate", "erasure"] },
            "emergency": { "type": "boolean", "description": "under an emergency grant that was awake" },
            "caller": bytes(16),
            "purpose": { "type": ["string", "null"] },
            "section": { "type": ["string", "null"] },
            "reader": { "oneOf": [bytes(16), { "type": "null" }] },
            "count": { "type": "integer", "minimum": 0 },
            "search": bytes(32),
        })),
        "AccessList": object(&["accesses"], json!({
            "accesses": list(schema("Access")),
            "next": { "oneOf": [schema("Place"), { "type": "null" }] },
        })),
        "GrantList": object(&["grants"], json!({ "grants": list(signed()), "next": { "type": "string" } })),
        "Accepted": object(&["count"], json!({ "count": { "type": "integer", "minimum": 0 } })),
        "Problem": { "type": "object", "required": ["type", "title", "status", "detail"], "properties": {
            "type": { "type": "string" },
            "title": { "type": "string" },
            "status": { "type": "integer" },
            "detail": { "type": "string" },
            "node": nodes::number(),
        } },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_that_changes_something_is_described() {
        for (method, path) in crate::nodes::writes::WRITES {
            let operation = &document()["paths"][path][method.to_lowercase()];
            assert!(operation["requestBody"].is_object(), "{method} {path}");
        }
    }

    #[test]
    fn every_reference_has_its_schema() {
        let document = document();
        let text = document.to_string();
        let names: Vec<&str> =
            text.split("#/components/schemas/").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert!(names.len() > 20);
        for name in names {
            assert!(document["components"]["schemas"].get(name).is_some(), "{name} is described");
        }
    }
}
