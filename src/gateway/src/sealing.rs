//! Taking records in: R4's structure, then the provider's writer.

use futures_util::future::BoxFuture;
use sealdex_fhir::Record;
use sealdex_provider::{Removal, Writer};
use serde_json::Value as Json;

use crate::write::{Deleted, Ingest, Violation, Written};

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

    fn delete(&self, identity: String) -> BoxFuture<'_, Deleted> {
        Box::pin(async move {
            match self.0.delete(&identity).await {
                Ok(Removal::Deleted) => Deleted::Gone,
                Ok(Removal::Absent) => Deleted::Absent,
                Ok(Removal::Denied) => {
                    tracing::warn!("the cloud denies having a record that the journal has as pushed");
                    Deleted::Absent
                }
                Err(e) => {
                    tracing::warn!(error = %e, "a deletion failed");
                    Deleted::Unavailable("gate or cloud did not take it".into())
                }
            }
        })
    }

    fn erase(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            match self.0.erase().await {
                Ok(done) if done.erased > 0 => {
                    tracing::info!(records = done.erased, "erased by order of their patients")
                }
                Ok(_) => {}
                Err(e) => {
                    tracing::warn!(error = %e, "what patients have ordered to be erased could not be ended; trying again")
                }
            }
        })
    }

    fn deleted(&self, identity: String) -> BoxFuture<'_, bool> {
        Box::pin(async move {
            self.0.deleted(&identity).await.unwrap_or_else(|e| {
                tracing::warn!(error = %e, "the journal does not say what was deleted");
                false
            })
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
