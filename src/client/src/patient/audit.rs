//! Accesses as FHIR `AuditEvent`.

use sealdex_crypto::PrincipalId;
use sealdex_wire::{
    consent::{Access, AccessKind},
    roster::Roster,
};
use serde_json::{Value as Json, json};

use super::consent::{PRINCIPALS, instant, party, purpose_coding, reference};

/// The place in the gate's trail; of a gate of several nodes, in that of one of them.
fn access_id(access: &Access) -> String {
    let node = access.node.map(|n| format!("n{n}-")).unwrap_or_default();
    format!("{node}{}-{}", access.place.act, access.place.part)
}

/// An access in FHIR for an auditor, who knows owners by their id only.
pub fn write_for_auditor(access: &Access, owner: PrincipalId, roster: &Roster) -> Json {
    let mut event = write(access, "", owner, roster);
    let who = json!({ "identifier": { "system": PRINCIPALS, "value": owner.to_string() } });
    event["entity"][0]["what"] = who.clone();
    if access.caller == owner {
        event["agent"][0]["who"] = who;
    }
    event
}

/// An access in FHIR. Its id is its place in the gate's trail, so it stays the same.
pub fn write(access: &Access, patient: &str, owner: PrincipalId, roster: &Roster) -> Json {
    let (interaction, action, about) = match access.kind {
        AccessKind::Search => ("search-type", "E", "records released"),
        AccessKind::Push => ("create", "C", "records taken in"),
        AccessKind::Grant => ("update", "U", "reading granted"),
        AccessKind::Revocation => ("delete", "D", "reading revoked"),
        AccessKind::Emergency => ("operation", "E", "emergency"),
        AccessKind::Request => ("operation", "E", "access asked for, or answered"),
        AccessKind::Mandate => ("update", "U", "mandate given or ended"),
        AccessKind::Erasure => ("delete", "D", "erasure ordered"),
    };
    let who = if access.caller == owner { reference(patient) } else { party(roster, access.caller) };
    let mut agent = json!({ "who": who, "requestor": true });
    // Of an emergency, the reason two people signed stands in its place.
    let is_emergency = access.kind == AccessKind::Emergency;
    let purpose = access.purpose.as_deref().filter(|_| !is_emergency).and_then(purpose_coding);
    if let Some(purpose) = purpose {
        agent["purposeOfUse"] = json!([{ "coding": [purpose] }]);
    }
    let detail = |name: &str, value: String| json!({ "type": name, "valueString": value });
    let mut details = vec![detail("section", access.section.clone().unwrap_or_else(|| "all".into()))];
    if matches!(access.kind, AccessKind::Search | AccessKind::Push) {
        details.push(detail("records", access.count.to_string()));
    }
    if access.emergency {
        details.push(detail("emergency", "yes".into()));
    }
    if let Some(reason) = access.purpose.as_ref().filter(|_| is_emergency) {
        details.push(detail("reason", reason.clone()));
    }
    if let Some(reader) = access.reader {
        details.push(detail("reader", super::consent::name_of(roster, reader)));
    }
    let id = roster.gates.first().map(|gate| json!({ "system": PRINCIPALS, "value": gate.id.to_string() }));
    let mut observer = json!({ "display": format!("gate of the domain {}", roster.domain) });
    if let Some(id) = id {
        observer["identifier"] = id;
    }
    json!({ "resourceType": "AuditEvent",
        "id": access_id(access),
        "type": { "system": "http://terminology.hl7.org/CodeSystem/audit-event-type", "code": "rest", "display": "RESTful Operation" },
        "subtype": [{ "system": "http://hl7.org/fhir/restful-interaction", "code": interaction }],
        "action": action,
        "recorded": instant(access.at),
        "outcome": "0",
        "outcomeDesc": about,
        "agent": [agent],
        "source": { "observer": observer },
        "entity": [{ "what": reference(patient), "detail": details }] })
}
