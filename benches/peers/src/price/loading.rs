//! Loading the same batches into all of them, in turns, and how large their indexes become.

use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::Peers;
use super::ours::{Cloud, Encoder};
use super::plain::{Plain, Ranges};
use super::postgres::{Payload, Postgres};
use super::records::Record;
use crate::Failure;
use crate::measure::row_of;
use crate::report::{Group, OURS, Peer, Row, Target};
use crate::settings::Settings;

/// Records a commit, as providers send them.
const BATCH: u64 = 4096;

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
        _dir: dir,
    };
    let mut times = AllTimes::default();
    let last = settings.records - 1;
    let mut first = 0;
    while first < last {
        let upto = last.min(first + BATCH);
        loaded.batch(first..upto, &mut times)?;
        first = upto;
    }
    // The last record comes alone, when merging has ended: its commit removes the files of segments that were merged.
    loaded.settle()?;
    loaded.batch(last..settings.records, &mut times)?;
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
        let sent = Cloud::batch(first, entries);
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

    /// Waits until no index changes any more.
    fn settle(&self) -> Result<(), Failure> {
        let sizes = || [super::plain::bytes_of(&self.index_dir), self.terms.bytes(), self.columns.bytes()];
        let (mut before, mut quiet) = (sizes(), 0);
        let started = Instant::now();
        while quiet < 10 && started.elapsed() < Duration::from_secs(600) {
            std::thread::sleep(Duration::from_millis(200));
            let now = sizes();
            quiet = if now == before { quiet + 1 } else { 0 };
            before = now;
        }
        // What was merged is taken up, so that nothing holds the files it replaces.
        self.cloud.index()?;
        self.terms.reload()?;
        self.columns.reload()
    }
}

/// Bytes of the indexes.
pub fn sizes(loaded: &mut Loaded, group: &mut Group) -> Result<(), Failure> {
    let each = |bytes: u64| vec![bytes as f64 / loaded.records as f64];
    let peers = &loaded.peers;
    let totals = {
        use sealdex_cloud::store::SealedStore;
        loaded.cloud.store.totals()?
    };
    let mut rows = vec![
        row_of("index", &peers.ours, each(super::plain::bytes_of(&loaded.index_dir))),
        row_of("index", &peers.terms, each(loaded.terms.bytes())),
        row_of("index", &peers.columns, each(loaded.columns.bytes())),
        row_of("store without sealed bytes", &peers.ours, each(totals.store_bytes.saturating_sub(totals.sealed_bytes))),
    ];
    if let Some(postgres) = &mut loaded.postgres {
        rows.push(row_of("index", &peers.postgres, each(postgres.index_bytes()?)));
    }
    group.rows = rows;
    let ours = group.median("index", OURS);
    for peer in [&peers.terms, &peers.columns] {
        let ratio = ours / group.median("index", &peer.name);
        group.targets.push(Target::at_most(format!("our index over {}", peer.name), 2.0, ratio));
    }
    Ok(())
}
