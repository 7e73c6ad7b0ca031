//! Taking records in: R4's structure, then the provider's writer.

use futures_util::future::BoxFuture;
use sealdex_fhir::Record;
use sealdex_provider::Writer;
use serde_json::Value as Json;

use crate::write::{Ingest, Violation, Written};

/// A hospital's writer, behind validation.
pub struct Sealing(pub Writer);

impl Ingest for Sealing {
    fn validate(&self, resource: &Json) -> Result<(), Vec<Violation>> {
        let told = |v: sealdex_r4::Violation| Violation { path: v.path, reason: v.reason };
        sealdex_r4::validate(resource).map_err(|all| all.into_iter().map(told).collect())
    }

    fn write(&self, records: Vec<Record>) -> BoxFuture<'_, Vec<Written>> {
        Box::pin(async move {
            let count = records.len();
            match self.0.write(records).await {
                Ok(all) => all.into_iter().map(written).collect(),
                Err(e) => {
                    tracing::warn!(error = %e, "a write failed");
                    vec![Written::Unavailable("gate or cloud did not take it".into()); count]
                }
            }
        })
    }
}

fn written(what: sealdex_provider::Written) -> Written {
    match what {
        sealdex_provider::Written::Stored { replaced } => Written::Stored { replaced },
        sealdex_provider::Written::Unchanged => Written::Unchanged,
        sealdex_provider::Written::Rejected(reject) => Written::Rejected(reject.reason),
    }
}
