//! Schemas of groups, emergencies, requests, mandates and members below members.

use serde_json::{Value, json};

use super::{bytes, list, object, schema};

fn integer() -> Value {
    json!({ "type": "integer", "minimum": 0 })
}

fn opaque() -> Value {
    json!({ "type": "string", "description": "hex; the gate's own" })
}

pub(super) fn schemas() -> Value {
    let signed = || schema("Signed");
    let text = || json!({ "type": "string" });
    let family = json!({ "enrolments": list(signed()), "dismissals": list(signed()) });
    let rotation =
        json!({ "grant": opaque(), "from": integer(), "to": integer(), "x": bytes(33), "factor": bytes(32) });
    let reachable = json!({ "owner": bytes(16), "section": text(), "epochs": integer(), "reader": bytes(16) });
    let reached = json!({
        "owner": bytes(16), "section": text(), "records": integer(), "first_at": integer(), "last_at": integer(),
    });
    json!({
        "ChangeConsent": object(&[], json!({
            "profiles": list(signed()),
            "revocations": list(signed()),
            "grants": list(object(&["grant"], json!({ "grant": signed(), "rk": bytes(32) }))),
            "shares": list(schema("NodeShares")),
        })),
        "MemberList": object(&["roster", "family"], json!({ "roster": signed(), "family": object(&[], family) })),
        "UpdateFamily": object(&[], json!({
            "enrolments": list(signed()),
            "factors": list(bytes(32)),
            "dismissals": list(signed()),
        })),
        "RotateBridge": object(&["factor"], json!({ "factor": bytes(32) })),
        "SubmitGroup": object(&["charter"], json!({ "charter": signed() })),
        "ListGroups": object(&["groups"], json!({ "groups": list(bytes(16)), "mine": { "type": "boolean" } })),
        "GroupList": object(&["charters"], json!({ "charters": list(signed()) })),
        "ListStale": object(&["reader", "limit"], json!({
            "reader": bytes(16),
            "after": { "oneOf": [opaque(), { "type": "null" }] },
            "limit": integer(),
        })),
        "StaleList": object(&["grants"], json!({
            "grants": list(object(&["grant", "generation", "a", "x"], json!({
                "grant": opaque(), "generation": integer(), "a": bytes(33), "x": bytes(33),
            }))),
            "next": { "oneOf": [opaque(), { "type": "null" }] },
        })),
        "RotateGrants": object(&["reader", "rotations"], json!({
            "reader": bytes(16),
            "rotations": list(object(&["grant", "from", "to", "x", "factor"], rotation)),
        })),
        "SubmitWake": object(&["wake"], json!({ "wake": signed() })),
        "WakeState": object(&["id", "signed"], json!({
            "id": bytes(32),
            "signed": list(signed()),
            "woken_at": { "type": ["integer", "null"] },
            "closed_at": { "type": ["integer", "null"] },
        })),
        "ListWakes": object(&["limit"], json!({ "limit": integer() })),
        "WakeList": object(&["emergencies"], json!({ "emergencies": list(schema("WakeState")) })),
        "CloseWake": object(&["owner", "wake"], json!({ "owner": bytes(16), "wake": bytes(32) })),
        "AskAccess": object(&["owner", "reader", "sections", "purpose", "days", "reason"], json!({
            "owner": bytes(16),
            "reader": bytes(16),
            "sections": list(text()),
            "purpose": text(),
            "days": integer(),
            "reason": text(),
        })),
        "Asked": object(&["number"], json!({ "number": integer() })),
        "ListRequests": object(&["pending"], json!({
            "owner": { "oneOf": [bytes(16), { "type": "null" }] },
            "pending": { "type": "boolean" },
        })),
        "RequestList": object(&["requests"], json!({
            "requests": list(object(&["number", "caller", "ask", "asked_at", "status"], json!({
                "number": integer(),
                "caller": bytes(16),
                "ask": schema("AskAccess"),
                "asked_at": integer(),
                "status": schema("RequestStatus"),
            }))),
        })),
        "RequestStatus": { "enum": ["pending", "approved", "declined", "withdrawn"] },
        "AnswerRequest": object(&["owner", "number", "status"], json!({
            "owner": bytes(16),
            "number": integer(),
            "status": schema("RequestStatus"),
        })),
        "SubmitMandate": object(&["mandate"], json!({ "mandate": signed() })),
        "MandateList": object(&["mandates"], json!({ "mandates": list(signed()) })),
        "TraceMember": object(&["member", "limit"], json!({ "member": bytes(16), "limit": integer() })),
        "Trace": object(&["reachable", "reachable_in_all", "reached", "reached_in_all", "searches", "batches", "alarms", "below"], json!({
            "reachable": list(object(&["owner", "section", "epochs", "reader"], reachable)),
            "reachable_in_all": integer(),
            "reached": list(object(&["owner", "section", "records", "first_at", "last_at"], reached)),
            "reached_in_all": integer(),
            "searches": integer(),
            "batches": integer(),
            "alarms": integer(),
            "below": list(bytes(16)),
        })),
    })
}
