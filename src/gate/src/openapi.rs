//! The control plane as an OpenAPI document. The data plane (CBOR) is in the documentation of
//! `sealdex-wire`.

use sealdex_wire::{problem, roster::Role};
use serde_json::{Value, json};

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
            "/v1/revocations": { "post": operation("Revoke, at once (the owner, or an active member carrying signed revocations)", Some("SubmitRevocations"), "Accepted") },
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
            "clouds": list(schema("Server")),
            "everyone": schema("PublicKeys"),
            "members": list(schema("Member")),
        })),
        "Server": object(&["id", "keys", "url"], json!({ "id": bytes(16), "keys": schema("PublicKeys"), "url": { "type": "string" } })),
        "Member": object(&["id", "keys", "role", "status"], json!({
            "id": bytes(16),
            "keys": schema("PublicKeys"),
            "role": { "enum": [Role::Provider, Role::User] },
            "name": { "type": "string" },
            "parent": bytes(16),
            "status": { "enum": ["active", "revoked"] },
        })),
        "UpdateRoster": object(&["roster"], json!({
            "roster": signed(),
            "bridges": list(object(&["member", "scalar"], json!({ "member": bytes(16), "scalar": bytes(32) }))),
        })),
        "PublishOwners": object(&["profiles"], json!({ "profiles": list(signed()) })),
        "LookupOwners": object(&["owners"], json!({ "owners": list(bytes(16)) })),
        "OwnersFound": object(&["profiles"], json!({ "profiles": list(json!({ "oneOf": [signed(), { "type": "null" }] })) })),
        "SubmitGrants": object(&["grants"], json!({
            "grants": list(object(&["grant", "rk"], json!({ "grant": signed(), "rk": bytes(32) }))),
        })),
        "SubmitRevocations": object(&["revocations"], json!({ "revocations": list(signed()) })),
        "ListGrants": object(&["limit"], json!({
            "owner": { "oneOf": [bytes(16), { "type": "null" }] },
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
            "kind": { "enum": ["search", "push", "grant", "revocation"] },
            "caller": bytes(16),
            "purpose": { "type": ["string", "null"] },
            "section": { "type": ["string", "null"] },
            "reader": { "oneOf": [bytes(16), { "type": "null" }] },
            "count": { "type": "integer", "minimum": 0 },
        })),
        "AccessList": object(&["accesses"], json!({
            "accesses": list(schema("Access")),
            "next": { "oneOf": [schema("Place"), { "type": "null" }] },
        })),
        "GrantList": object(&["grants", "more"], json!({ "grants": list(signed()), "more": { "type": "boolean" } })),
        "Accepted": object(&["count"], json!({ "count": { "type": "integer", "minimum": 0 } })),
        "Problem": { "type": "object", "required": ["type", "title", "status", "detail"], "properties": {
            "type": { "type": "string" },
            "title": { "type": "string" },
            "status": { "type": "integer" },
            "detail": { "type": "string" },
        } },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
