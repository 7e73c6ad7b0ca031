//! What changes the gate's state: by whom it was asked, and by which path.

use std::sync::Arc;

use sealdex_net::{Call, Refusal};
use sealdex_wire::ProblemType;
use serde::Serialize;
use serde_json::Value;

use crate::{gate::Gate, store::ConsentStore};

/// Method and path of every request that changes what the gate knows, and that all its nodes do therefore.
pub const WRITES: [(&str, &str); 15] = [
    ("PUT", "/v1/roster"),
    ("POST", "/v1/owners"),
    ("POST", "/v1/grants"),
    ("POST", "/v1/revocations"),
    ("POST", "/v1/consent"),
    ("POST", "/v1/members"),
    ("POST", "/v1/bridges/rotate"),
    ("POST", "/v1/groups"),
    ("POST", "/v1/groups/rotate"),
    ("POST", "/v1/emergencies"),
    ("POST", "/v1/emergencies/close"),
    ("POST", "/v1/requests"),
    ("POST", "/v1/requests/answer"),
    ("POST", "/v1/mandates"),
    ("POST", "/v1/erasures"),
];

/// Does what an authenticated request asks; the answer, as JSON.
pub(crate) async fn perform<S: ConsentStore>(
    gate: &Arc<Gate<S>>,
    method: &str,
    path: &str,
    call: &Call,
) -> Result<Value, Refusal> {
    let id = call.caller.id;
    match (method, path) {
        ("PUT", "/v1/roster") => value(gate.update_roster(id, call.json()?).await?),
        ("POST", "/v1/owners") => value(gate.publish_owners(id, call.json()?).await?),
        ("POST", "/v1/grants") => value(gate.submit_grants(id, call.json()?).await?),
        ("POST", "/v1/revocations") => value(gate.submit_revocations(call.caller.keys, call.json()?).await?),
        ("POST", "/v1/consent") => value(gate.change_consent(call.caller.keys, call.json()?).await?),
        ("POST", "/v1/members") => value(gate.update_family(id, call.json()?).await?),
        ("POST", "/v1/bridges/rotate") => value(gate.rotate_bridge(id, call.json()?).await?),
        ("POST", "/v1/groups") => value(gate.submit_group(id, call.json()?).await?),
        ("POST", "/v1/groups/rotate") => value(gate.rotate(id, call.json()?).await?),
        ("POST", "/v1/emergencies") => value(gate.submit_wake(id, call.json()?).await?),
        ("POST", "/v1/emergencies/close") => value(gate.close_wake(id, call.json()?).await?),
        ("POST", "/v1/requests") => value(gate.ask_access(id, call.json()?).await?),
        ("POST", "/v1/requests/answer") => value(gate.answer_request(id, call.json()?).await?),
        ("POST", "/v1/mandates") => value(gate.submit_mandate(call.caller.keys, call.json()?).await?),
        ("POST", "/v1/erasures") => value(gate.submit_erasure(call.caller.keys, call.json()?).await?),
        _ => Err(Refusal::new(ProblemType::NotFound, format!("{method} {path} changes nothing here"))),
    }
}

fn value(answer: impl Serialize) -> Result<Value, Refusal> {
    serde_json::to_value(answer).map_err(Refusal::internal)
}
