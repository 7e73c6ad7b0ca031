//! What the control plane of a gate of several nodes has beside that of a single one.

use serde_json::{Value, json};

use super::{bytes, object, schema};

/// The number of a node.
pub(super) fn number() -> Value {
    json!({ "type": "integer", "minimum": 1, "maximum": 65535, "description": "of a gate of several nodes: which" })
}

pub(super) fn schemas() -> Value {
    let signed = || schema("Signed");
    json!({
        "Sharing": object(&["threshold", "epoch"], json!({
            "threshold": { "type": "integer", "minimum": 1, "description": "how many nodes it takes" },
            "epoch": { "type": "integer", "minimum": 0 },
        })),
        "NodeShares": object(&["node", "epoch", "sealed"], json!({
            "node": number(),
            "epoch": { "type": "integer", "minimum": 0 },
            "sealed": { "type": "string", "description": "32 bytes a share, in the order of the documents, wrapped for the node; hex" },
        })),
        "Reshare": object(&[], json!({
            "begin": object(&["resharing", "roster"], json!({ "resharing": signed(), "roster": signed() })),
        })),
        "ResharingState": object(&["taken"], json!({
            "taken": { "type": "integer", "minimum": 0 },
            "complete": { "oneOf": [bytes(32), { "type": "null" }] },
            "failed": { "type": ["string", "null"] },
        })),
    })
}
