//! `sealdex-cloud`: the cloud as a program.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::{CommandFactory as _, Parser};
use sealdex_cloud::{CloudConfig, CloudKeys, backup::schedule::BackupOptions, compaction::CompactOptions};
use sealdex_keyfile::options::UnlockOptions;
use sealdex_net::{Listen, guard::Bounds, notify, tls};
use sealdex_settings::{expand, log::ServerOptions};
use tokio::signal::unix::{SignalKind, signal};

/// Half of what the system's allocator takes for many small objects made and dropped by many threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Keeps sealed records and the merged index of a Sealdex domain, without being able to read either.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// Directory of store and index.
    #[arg(long)]
    dir: PathBuf,
    /// Address to listen on; port 0 picks one.
    #[arg(long, default_value = "127.0.0.1:7412")]
    listen: SocketAddr,
    /// The cloud's key file.
    #[arg(long)]
    keys: PathBuf,
    #[command(flatten)]
    unlock: UnlockOptions,
    /// Certificate chain, PEM.
    #[arg(long, requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Private key, PEM.
    #[arg(long, requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Serve plain HTTP beyond loopback, behind a proxy that terminates TLS.
    #[arg(long)]
    insecure_http: bool,
    #[command(flatten)]
    compaction: CompactOptions,
    #[command(flatten)]
    backup: BackupOptions,
    #[command(flatten)]
    server: ServerOptions,
    /// How long /readyz refuses before the server stops, in seconds: at least as long as a load balancer takes to notice.
    #[arg(long, default_value_t = 1)]
    stop_notice: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    let mut given = std::env::args_os();
    let program = given.next().unwrap_or_default();
    let args = match expand(&Args::command(), "cloud", given.collect()) {
        Ok(args) => Args::parse_from(std::iter::once(program).chain(args)),
        Err(error) => return refused(&error),
    };
    if let Err(error) = args.server.start("info") {
        return refused(&error);
    }
    match run(args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the cloud stopped");
            ExitCode::FAILURE
        }
    }
}

/// What is wrong before there is a log.
#[allow(clippy::print_stderr)]
fn refused(error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("error: {error}");
    ExitCode::FAILURE
}

async fn run(args: Args) -> Result<(), Box<dyn std::error::Error>> {
    let unlock = args.unlock.to_read(&args.keys)?;
    sealdex_net::server::give_notice(std::time::Duration::from_secs(args.stop_notice));
    let tls = match (&args.tls_cert, &args.tls_key) {
        (Some(cert), Some(key)) => Some(tls::server(cert, key)?),
        _ => None,
    };
    let config = CloudConfig {
        data_dir: args.dir,
        listen: Listen { addr: args.listen, tls, insecure: args.insecure_http },
        keys: CloudKeys::load(&args.keys, unlock.as_ref())?,
        bounds: Bounds::default(),
        backup: args.backup.plan(),
        compact: args.compaction.plan(),
    };
    if args.compaction.compact
        && let Some(done) = sealdex_cloud::compact(&config.data_dir)?
    {
        tracing::info!(before = done.before, after = done.after, "the store was written anew");
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        notify::tell(notify::STOPPING);
    };
    Ok(sealdex_cloud::serve(config, announce, stop).await?)
}

/// Tells whoever started the program where it listens.
#[allow(clippy::print_stdout)] // the one line a supervisor may wait for; everything else is logged
fn announce(addr: SocketAddr) {
    println!("listening on {addr}");
    notify::tell(notify::READY);
}
