//! `sealdex stats`.

use std::path::PathBuf;

use clap::Args;
use sealdex_wire::ingest::CloudStats;

use crate::{failure::Failure, key_options::KeyOptions, output::table, places::Member};

#[derive(Args)]
pub(crate) struct StatsOptions {
    /// A provider's folder: the cloud knows no one else.
    #[arg(long)]
    provider: PathBuf,
    /// Certificates to trust gate and cloud by, PEM.
    #[arg(long)]
    ca: Option<PathBuf>,
    #[command(flatten)]
    keys: KeyOptions,
}

pub(crate) async fn run(o: StatsOptions) -> Result<(), Failure> {
    let member = Member::open_dir(&o.provider, &o.keys, o.ca.as_deref()).await?;
    let cloud = member.trusted.cloud(&member.http, Some(&member.keys))?;
    let s: CloudStats = cloud.get_json("/v1/stats").await?;
    let mut t = table(&["records", "batches", "searchable up to", "sealed", "store", "index"]);
    let mb = |b: u64| format!("{:.1} MB", b as f64 / 1e6);
    let searchable = format!("batch {} of {}", s.indexed, s.accepted);
    t.add_row([
        s.records.to_string(),
        s.batches.to_string(),
        searchable,
        mb(s.sealed_bytes),
        mb(s.store_bytes),
        mb(s.index_bytes),
    ]);
    println!("{t}");
    let mut by = table(&["provider", "records"]);
    for (id, count) in &s.providers {
        let name = member.trusted.roster.member(*id).and_then(|m| m.name.clone()).unwrap_or_else(|| id.to_string());
        by.add_row([name, count.to_string()]);
    }
    println!("{by}");
    Ok(())
}
