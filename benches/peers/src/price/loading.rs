//! Loading the same batches into all of them, in turns, and how large their indexes become.

use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::Peers;
use super::ours::{self, Encoder};
use super::plain::{Plain, Ranges};
use super::postgres::{Payload, Postgres};
use super::records::Record;
use crate::Failure;
use crate::cloud::Cloud;
use crate::measure::row_of;
use crate::report::{Group, OURS, Peer, Row, Target};
use crate::settings::Settings;

/// Records a commit, as providers send them.
const BATCH: u64 = 4096;
/// How long merging may go on after the last commit.
const MERGING: Duration = Duration::from_secs(3600);

/// Everything loaded, and what that took.
pub struct Loaded {
    pub records: u64,
    pub encoder: Encoder,
    pub cloud: Cloud,
    pub terms: Plain,
    pub columns: Plain,
    pub postgres: Option<Postgres>,
    pub no_postgres: Option<String>,
    pub rates: Vec<Row>,
    pub peers: Peers,
    index_dir: std::path::PathBuf,
    /// Of our index, of the terms and of the columns, when all is merged.
    index_bytes: [u64; 3],
    // Last: it is removed when everything that has files in it is gone.
    _dir: TempDir,
}

/// How long each batch took one contender.
#[derive(Default)]
struct Times(Vec<(u64, Duration)>);

impl Times {
    fn push(&mut self, records: usize, took: Duration) {
        self.0.push((records as u64, took));
    }

    /// Batches that are full; of the whole, the note.
    fn row(self, what: &str, peer: &Peer, more: Duration) -> Row {
        let full = self.0.iter().map(|(n, _)| *n).max().unwrap_or(0);
        let rates = self.0.iter().filter(|(n, _)| *n == full).map(|(n, took)| *n as f64 / took.as_secs_f64());
        let all: u64 = self.0.iter().map(|(n, _)| n).sum();
        let whole: Duration = self.0.iter().map(|(_, took)| *took).sum::<Duration>() + more;
        let mut row = row_of(what, peer, rates.collect());
        row.note = Some(format!("{:.0} over the whole load", all as f64 / whole.as_secs_f64()));
        row
    }

    fn plus(&self, other: &Times) -> Times {
        Times(self.0.iter().zip(&other.0).map(|(a, b)| (a.0, a.1 + b.1)).collect())
    }
}

#[derive(Default)]
struct AllTimes {
    encode: Times,
    store: Times,
    index: Times,
    terms: Times,
    columns: Times,
    copy: Times,
    online: Times,
}

fn timed<T>(work: impl FnOnce() -> Result<T, Failure>) -> Result<(T, Duration), Failure> {
    let started = Instant::now();
    Ok((work()?, started.elapsed()))
}

/// Loads, each batch into one after the other.
pub fn load(settings: &Settings) -> Result<Loaded, Failure> {
    let dir = tempfile::Builder::new().prefix("sealdex-peers").tempdir_in(&settings.dir)?;
    let (postgres, no_postgres) = match Postgres::start(&settings.dir) {
        Ok(server) => (Some(server), None),
        Err(why) => (None, Some(why.to_string())),
    };
    let peers = Peers::new(postgres.as_ref().map_or("", Postgres::version));
    let mut loaded = Loaded {
        records: settings.records,
        encoder: Encoder::new(),
        cloud: Cloud::create(dir.path())?,
        terms: Plain::create(dir.path().join("terms"), Ranges::Terms)?,
        columns: Plain::create(dir.path().join("columns"), Ranges::Columns)?,
        postgres,
        no_postgres,
        rates: Vec::new(),
        peers,
        index_dir: dir.path().join("index"),
        index_bytes: [0; 3],
        _dir: dir,
    };
    let mut times = AllTimes::default();
    for first in (0..settings.records).step_by(BATCH as usize) {
        loaded.batch(first..settings.records.min(first + BATCH), &mut times)?;
    }
    loaded.index_bytes = loaded.settle()?;
    let indexed = loaded.postgres.as_mut().map(Postgres::finish).transpose()?;
    loaded.rates = rates(times, indexed, &loaded.peers);
    Ok(loaded)
}

fn rates(times: AllTimes, indexed: Option<Duration>, peers: &Peers) -> Vec<Row> {
    let no = Duration::ZERO;
    let stored = times.store.plus(&times.index);
    let mut rows = vec![
        times.encode.row("index entries, member and gate", &peers.ours, no),
        times.index.row("index", &peers.ours, no),
        times.terms.row("index", &peers.terms, no),
        times.columns.row("index", &peers.columns, no),
        stored.row("store and index, searchable after each batch", &peers.ours, no),
    ];
    if let Some(indexed) = indexed {
        let what = "store and index, searchable after each batch";
        rows.push(times.online.row(what, &peers.postgres, no));
        let all: u64 = times.copy.0.iter().map(|(n, _)| n).sum();
        let mut copied = times.copy.row("store, index afterwards", &peers.postgres, indexed);
        copied.note = copied.note.map(|note| format!("copying; {note}, with its indexes"));
        rows.push(copied);
        rows.push(row_of("index, afterwards", &peers.postgres, vec![all as f64 / indexed.as_secs_f64()]));
    }
    rows
}

impl Loaded {
    fn batch(&mut self, numbers: std::ops::Range<u64>, times: &mut AllTimes) -> Result<(), Failure> {
        let first = numbers.start;
        let batch: Vec<Record> = numbers.clone().map(|n| Record::new(n, self.records)).collect();
        let count = batch.len();
        let (entries, took) = timed(|| batch.iter().map(|r| Ok((r.id, self.encoder.entries(r)?))).collect())?;
        times.encode.push(count, took);
        let sent = ours::batch(first, entries);
        times.store.push(count, timed(|| self.cloud.accept(sent))?.1);
        times.index.push(count, timed(|| self.cloud.index())?.1);
        times.terms.push(count, timed(|| self.terms.index(&batch))?.1);
        times.columns.push(count, timed(|| self.columns.index(&batch))?.1);
        if let Some(postgres) = &mut self.postgres {
            let payload = |n| Payload { tag: Record::tag(n), sealed: Record::sealed(n) };
            let payloads: Vec<Payload> = numbers.map(payload).collect();
            times.copy.push(count, postgres.copy("records", &batch, &payloads)?);
            times.online.push(count, postgres.copy("online", &batch, &payloads)?);
        }
        Ok(())
    }

    /// Waits until nothing is left to merge; the bytes of our index, of the terms and of the columns.
    fn settle(&self) -> Result<[u64; 3], Failure> {
        // Ours merges more while nothing comes in; it is compared as it is while batches come, and so are the others.
        let started = Instant::now();
        let mut bytes = [0; 3];
        for (bytes, dir) in bytes.iter_mut().zip([&*self.index_dir, self.terms.dir(), self.columns.dir()]) {
            *bytes = loop {
                match super::plain::settled_bytes(dir)? {
                    Some(bytes) => break bytes,
                    None if started.elapsed() > MERGING => {
                        return Err(format!("{} is still being merged after an hour", dir.display()).into());
                    }
                    None => std::thread::sleep(Duration::from_millis(200)),
                }
            };
        }
        // What was merged is taken up.
        self.cloud.index()?;
        self.terms.reload()?;
        self.columns.reload()?;
        Ok(bytes)
    }
}

/// Bytes of the indexes.
pub fn sizes(loaded: &mut Loaded, group: &mut Group) -> Result<(), Failure> {
    let each = |bytes: u64| vec![bytes as f64 / loaded.records as f64];
    let peers = &loaded.peers;
    let [ours, terms, columns] = loaded.index_bytes;
    let totals = {
        use sealdex_cloud::store::SealedStore;
        loaded.cloud.store.totals()?
    };
    // Of ours the routing tags, of the others as many bytes to answer with.
    let payloads = super::plain::PAYLOAD as u64 * loaded.records;
    let mut rows = vec![
        row_of("index without payloads", &peers.ours, each(ours.saturating_sub(payloads))),
        row_of("index without payloads", &peers.terms, each(terms.saturating_sub(payloads))),
        row_of("index without payloads", &peers.columns, each(columns.saturating_sub(payloads))),
        row_of("index", &peers.ours, each(ours)),
        row_of("index", &peers.terms, each(terms)),
        row_of("index", &peers.columns, each(columns)),
        row_of(
            "store's file without sealed bytes",
            &peers.ours,
            each(totals.store_bytes.saturating_sub(totals.sealed_bytes)),
        ),
    ];
    if let Some(postgres) = &mut loaded.postgres {
        rows.push(row_of("index", &peers.postgres, each(postgres.index_bytes()?)));
    }
    group.rows = rows;
    let what = "index without payloads";
    let ours = group.median(what, OURS);
    for peer in [&peers.terms, &peers.columns] {
        let ratio = ours / group.median(what, &peer.name);
        group.targets.push(Target::at_most(format!("our {what} over {}", peer.name), 2.0, ratio));
    }
    Ok(())
}
