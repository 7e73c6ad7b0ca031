//! The cloud as it grows: time to answer, memory while serving, bytes on disk.

use std::{path::Path, process::Command, time::Instant};

use sealdex_cloud::index::{IndexSearch, MergedIndex as _};
use sealdex_cloud::store::SealedStore as _;
use sealdex_wire::search::{CloudClause, CloudSort};
use serde::{Deserialize, Serialize};

use super::{Size, begin, grouped, row, short, study};
use crate::{
    cloud::{BATCH, Cloud, eight_fields, of_value, range_of, seeded},
    measure::{bytes_on_disk, percentile, resident_mib},
    report::{Axis, Chart, Series, Study},
};

const ABOUT: &str = "The cloud's store and merged index as they are in the server, without HTTP and without a log: records of eight \
indexed fields (three orders of 64-bit codes drawn evenly, five tokens) with 200 sealed bytes and routing tags of 110, in batches of 4,096, each batch \
durable and searchable before the next, then left until nothing is merged any more, which counts as loading. Answers are ids, providers and routing tags, from columns of the index. They come from a \
process of its own that opens the files and answers; each question is asked 401 times, the first in a process that has just opened them. Memory is its `VmRSS`, which counts the pages of the mapped index that it has touched.";
/// Sealed bytes of a record.
const SEALED: usize = 200;

/// What the serving process found.
#[derive(Serialize, Deserialize)]
pub struct Served {
    opened_ms: f64,
    resident_mib: f64,
    /// Title, matches, p50 µs, p99 µs.
    questions: Vec<(String, usize, f64, f64)>,
}

/// Grows a cloud tenfold at a time.
///
/// # Panics
/// Where the disk fails.
#[must_use]
pub fn run(size: Size) -> Study {
    let machine = begin();
    let dir = tempfile::tempdir().unwrap();
    let mut sizes = Vec::new();
    let mut n = size.of(10_000, 5_000);
    while n <= size.records {
        sizes.push(n);
        n *= 10;
    }
    let mut table = vec![row(["records", "question", "matches", "p50, µs", "p99, µs"])];
    let mut growth = vec![row([
        "records",
        "loaded a second",
        "index bytes a record",
        "store bytes a record",
        "opened in, ms",
        "serving, MiB",
    ])];
    let mut latency: Vec<Series> = Vec::new();
    let [mut memory, mut index_bytes, mut store_bytes, mut rate] =
        ["serving", "index", "store", "loaded"].map(Series::new);
    let mut filled = 0;
    for total in sizes {
        // A value for every hundred records depends on how many there will be, so each size is made anew.
        let at = dir.path().join(total.to_string());
        let started = Instant::now();
        fill(&at, total);
        let loaded = total as f64 / started.elapsed().as_secs_f64();
        let [index, store] = [at.join("index"), at.join("store.redb")].map(|p| bytes_on_disk(&p) as f64 / total as f64);
        let served = serve(&at, total, size);
        growth.push(row([
            &grouped(total as f64),
            &grouped(loaded),
            &short(index),
            &short(store),
            &short(served.opened_ms),
            &short(served.resident_mib),
        ]));
        let x = total as f64;
        memory.points.push([x, served.resident_mib]);
        index_bytes.points.push([x, index]);
        store_bytes.points.push([x, store]);
        rate.points.push([x, loaded]);
        for (i, (title, matches, p50, p99)) in served.questions.into_iter().enumerate() {
            table.push(row([&grouped(x), &title, &matches.to_string(), &short(p50), &short(p99)]));
            if latency.len() <= i {
                latency.push(Series::new(title));
            }
            latency[i].points.push([x, p50]);
        }
        filled += total;
        std::fs::remove_dir_all(&at).unwrap();
    }
    assert!(filled > 0, "nothing to measure");
    let records = || Axis::log("records");
    let chart = |name: &str, title: &str, y: Axis, series| Chart {
        name: name.into(),
        title: title.into(),
        x: records(),
        y,
        bars: Vec::new(),
        series,
    };
    let charts = vec![
        chart("scale", "Answering at the cloud", Axis::log("µs, median"), latency),
        chart("scale-memory", "Memory while serving", Axis::log("MiB"), vec![memory]),
        chart("scale-disk", "Bytes a record", Axis::linear("bytes"), vec![index_bytes, store_bytes]),
        chart("scale-load", "Loading: durable and searchable", Axis::linear("records a second"), vec![rate]),
    ];
    study("scale", ABOUT, size, vec![table, growth], charts, machine)
}

fn fill(dir: &Path, total: u64) {
    let cloud = Cloud::open(dir);
    let mut rng = seeded(total);
    let mut done = 0;
    while done < total {
        let count = BATCH.min(total - done);
        let records = (0..count).map(|_| eight_fields(total, &mut rng)).collect();
        cloud.fill(done, records, SEALED, &mut rng);
        done += count;
        if done % (BATCH * 64) == 0 {
            eprintln!("  {done} of {total}");
        }
    }
    cloud.settle();
}

fn serve(dir: &Path, total: u64, size: Size) -> Served {
    let times = size.of(401, 21).to_string();
    let exe = std::env::current_exe().unwrap();
    let out = Command::new(exe).arg("serve-scale").arg(dir).args([total.to_string(), times]).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}

/// The process that serves: opens a folder, answers, says what it took.
///
/// # Panics
/// Where the files do not open.
#[must_use]
pub fn answer(dir: &Path, total: u64, times: usize) -> Served {
    let started = Instant::now();
    let cloud = Cloud::open(dir);
    let opened_ms = started.elapsed().as_secs_f64() * 1e3;
    assert_eq!(cloud.store.totals().unwrap().records, total);
    let mut rng = seeded(9);
    let hundred = total / 100;
    let sort = Some(CloudSort { tag: [1; 8], descending: true });
    type Ask = Box<dyn Fn(&mut rand::rngs::StdRng) -> CloudClause>;
    let all: Vec<(&str, Ask, Option<CloudSort>, usize)> = vec![
        ("range of 100", Box::new(move |r| range_of(100, total, r)), None, 1000),
        ("range of 1 %, page of 1,000", Box::new(move |r| range_of(total / 100, total, r)), None, 1000),
        ("value of 100", Box::new(move |r| of_value(7, hundred, r)), None, 1000),
        (
            "value of 100 and half of an order",
            Box::new(move |r| CloudClause::And(vec![of_value(7, hundred, r), range_of(total / 2, total, r)])),
            None,
            1000,
        ),
        (
            "value of 5 % and a range of 100",
            Box::new(move |r| CloudClause::And(vec![of_value(4, 20, r), range_of(100, total, r)])),
            None,
            1000,
        ),
        ("ten largest of a value of 5 %", Box::new(move |r| of_value(4, 20, r)), sort, 10),
        // By now the process has answered a while: what it reads has been read before.
        ("range of 100, after all these", Box::new(move |r| range_of(100, total, r)), None, 1000),
    ];
    let mut questions = Vec::new();
    for (title, clause, sort, limit) in all {
        let (mut us, mut matches) = (Vec::new(), 0);
        for _ in 0..times {
            let search = IndexSearch { clause: clause(&mut rng), sort, after: None, limit };
            let started = Instant::now();
            matches = cloud.index.find(&search).unwrap().len();
            us.push(started.elapsed().as_secs_f64() * 1e6);
        }
        questions.push((title.to_owned(), matches, percentile(us.clone(), 0.5), percentile(us, 0.99)));
    }
    Served { opened_ms, resident_mib: resident_mib(), questions }
}
