//! `cargo run --release -p sealdex-benches -- --help`.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark stops where it cannot go on, and prints")]

use std::{
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
};

use clap::{Parser, Subcommand};
use sealdex_benches::{
    page,
    report::Study,
    studies::{self, Size},
};

/// As in the programs that are measured.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures, writes JSON, draws charts, renews the page of figures.
#[derive(Parser)]
#[command(version, after_help = EXAMPLES)]
struct Options {
    #[command(subcommand)]
    command: Option<Command>,
    /// Studies to run; all of them if none is named.
    #[arg(value_parser = STUDIES)]
    studies: Vec<String>,
    /// Small, to see that it runs; its figures say nothing.
    #[arg(long)]
    quick: bool,
    /// Most records of the study of scale: 10000, 100000, …; 10000000 takes ten gigabytes of disk and half an hour.
    #[arg(long, default_value_t = 1_000_000)]
    records: u64,
    /// Folder of JSON and SVG.
    #[arg(long, default_value = "docs/benchmarks")]
    out: PathBuf,
    /// Page whose figures are renewed; none with --quick.
    #[arg(long, default_value = "docs/BENCHMARKS.md")]
    page: PathBuf,
}

const STUDIES: [&str; 8] = ["primitives", "push", "query", "concurrency", "threshold", "scale", "sesphr", "mopse"];

const EXAMPLES: &str = "Examples:
  sealdex-bench                              everything: figures, charts, page
  sealdex-bench --quick --out /tmp/bench     does it run?
  sealdex-bench scale --records 10000000     the cloud at ten million records
  sealdex-bench draw                         charts and page again, from the JSON that is there";

#[derive(Subcommand)]
enum Command {
    /// Draw charts and page again from the JSON that is there.
    Draw,
    /// The process that serves in the study of scale.
    #[command(hide = true)]
    ServeScale { dir: PathBuf, total: u64, times: usize },
}

/// How long the allocator keeps memory that is free, as the service units set it; it is read when a process begins.
const KEEPS: (&str, &str) = ("MIMALLOC_PURGE_DELAY", "10000");

fn main() {
    if std::env::var_os(KEEPS.0).is_none() {
        let own = std::env::current_exe().unwrap();
        // Comes back only if it fails.
        let error = std::process::Command::new(own).args(std::env::args_os().skip(1)).env(KEEPS.0, KEEPS.1).exec();
        panic!("cannot start anew with {}={}: {error}", KEEPS.0, KEEPS.1);
    }
    measure();
}

#[tokio::main]
async fn measure() {
    let options = Options::parse();
    match options.command {
        Some(Command::ServeScale { dir, total, times }) => {
            println!("{}", serde_json::to_string(&studies::scale::answer(&dir, total, times)).unwrap());
            return;
        }
        Some(Command::Draw) => {
            for name in STUDIES.iter().filter(|s| json(&options.out, s).exists()) {
                Study::read(&json(&options.out, name)).unwrap().draw(&options.out).unwrap();
            }
        }
        None => {
            let size = Size { quick: options.quick, records: if options.quick { 5_000 } else { options.records } };
            let named = |s: &&&str| options.studies.is_empty() || options.studies.iter().any(|n| n == **s);
            for name in STUDIES.iter().filter(named) {
                println!("\n{name}");
                let study = run(name, size).await;
                println!("{}\n{}", study.about, study.readable());
                study.write(&options.out).unwrap();
            }
        }
    }
    if !options.quick {
        page::renew(&options.page, &options.out).unwrap();
        println!("\nfigures and charts: {}, {}", options.page.display(), options.out.display());
    }
}

fn json(out: &Path, study: &str) -> PathBuf {
    out.join(format!("{study}.json"))
}

async fn run(name: &str, size: Size) -> Study {
    match name {
        "primitives" => studies::primitives::run(size),
        "push" => studies::push::run(size).await,
        "query" => studies::query::run(size).await,
        "concurrency" => studies::concurrency::run(size).await,
        "threshold" => studies::threshold::run(size).await,
        "scale" => studies::scale::run(size),
        "sesphr" => studies::sesphr::run(size).await,
        _ => studies::mopse::run(size),
    }
}
