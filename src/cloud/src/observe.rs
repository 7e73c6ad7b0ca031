//! Gauges that nothing else brings up to date: how far things are behind each other, and what they take.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use sealdex_lognet::domain::Which;
use sealdex_net::process;

use crate::{
    index::MergedIndex,
    ingest::Ingest,
    logs,
    members::Domain,
    store::{ActStore, SealedStore},
};

/// How often.
const EVERY: Duration = Duration::from_secs(5);

/// What is looked at.
pub(crate) struct Observed {
    pub(crate) data: PathBuf,
    pub(crate) domain: Arc<Domain>,
    pub(crate) store: Arc<dyn SealedStore>,
    pub(crate) acts: Arc<dyn ActStore>,
    pub(crate) index: Arc<dyn MergedIndex>,
    pub(crate) ingest: Ingest,
}

impl Observed {
    /// Until it is dropped.
    pub(crate) async fn run(self) {
        let observed = Arc::new(self);
        // Of the oldest batch that cannot be searched yet, as it was first seen: its place, and when.
        let mut waits: Option<(u64, Instant)> = None;
        loop {
            let now = observed.clone();
            let levels = tokio::task::spawn_blocking(move || now.look()).await;
            if let Ok(Some((accepted, indexed))) = levels {
                waits = match waits {
                    _ if indexed >= accepted => None,
                    Some((place, since)) if indexed < place => Some((place, since)),
                    _ => Some((indexed + 1, Instant::now())),
                };
                let seconds = waits.map_or(0.0, |(_, since)| since.elapsed().as_secs_f64());
                metrics::gauge!("sealdex_cloud_index_lag_batches").set(accepted.saturating_sub(indexed) as f64);
                metrics::gauge!("sealdex_cloud_index_lag_seconds").set(seconds);
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    /// Batches accepted, and of them those that can be searched.
    fn look(&self) -> Option<(u64, u64)> {
        let totals = self.store.totals().ok()?;
        let set = |name: &'static str, value: u64| metrics::gauge!(name).set(value as f64);
        set("sealdex_cloud_store_bytes", totals.store_bytes);
        set("sealdex_cloud_sealed_bytes", totals.sealed_bytes);
        set("sealdex_cloud_live_records", totals.records);
        set("sealdex_cloud_accepted_seq", totals.last_seq);
        set("sealdex_cloud_index_bytes", self.index.bytes());
        set("sealdex_cloud_queue_batches", self.ingest.waiting());
        if let Some((free, all)) = process::disk(&self.data) {
            set("sealdex_cloud_disk_free_bytes", free);
            set("sealdex_cloud_disk_bytes", all);
        }
        let members = self.domain.current();
        if let Some(members) = &members {
            metrics::gauge!("sealdex_roster_version", "role" => "cloud").set(members.version as f64);
        }
        if members.is_some_and(|m| m.ledger.is_some()) {
            for (which, last) in [(Which::Batches, Some(totals.last_seq)), (Which::Acts, self.acts.last_act().ok())] {
                let lag = last?.saturating_sub(logs::published(&self.data, which));
                metrics::gauge!("sealdex_cloud_log_lag", "log" => which.name()).set(lag as f64);
            }
        }
        Some((totals.last_seq, self.index.indexed()))
    }
}
