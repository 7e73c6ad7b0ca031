//! `sealdex-gate`: serves one gate.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::{CommandFactory as _, Parser};
use sealdex_gate::{GateConfig, GateSecrets, backup::schedule::BackupOptions, serve};
use sealdex_keyfile::options::UnlockOptions;
use sealdex_net::{Listen, guard::Bounds, notify, tls};
use sealdex_settings::{expand, log::ServerOptions};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};

/// Half of what the system's allocator takes for many small objects made and dropped by many threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Serve the gate of a Sealdex domain.
#[derive(Parser)]
#[command(version)]
struct Options {
    /// Key file of the gate, as the ceremony wrote it.
    #[arg(long)]
    keys: PathBuf,
    #[command(flatten)]
    unlock: UnlockOptions,
    /// File of the consent store; created when missing.
    #[arg(long)]
    store: PathBuf,
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1:7411")]
    listen: SocketAddr,
    /// TLS certificate chain, PEM.
    #[arg(long, requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// TLS private key, PEM.
    #[arg(long, requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Serve plain HTTP beyond loopback; only behind a proxy that terminates TLS.
    #[arg(long)]
    insecure_http: bool,
    /// How long /readyz refuses before the server stops, in seconds: at least as long as a load balancer takes to notice.
    #[arg(long, default_value_t = 1)]
    stop_notice: u64,
    /// Certificates that clouds are trusted by, PEM; the web's roots when not given.
    #[arg(long)]
    cloud_ca: Option<PathBuf>,
    /// Most requests at once.
    #[arg(long, default_value_t = 256)]
    concurrency: usize,
    /// Most searches and batches at once.
    #[arg(long, default_value_t = 64)]
    heavy: usize,
    #[command(flatten)]
    backup: BackupOptions,
    #[command(flatten)]
    server: ServerOptions,
}

type Failure = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> ExitCode {
    let mut given = std::env::args_os();
    let program = given.next().unwrap_or_default();
    let options = match expand(&Options::command(), "gate", given.collect()) {
        Ok(args) => Options::parse_from(std::iter::once(program).chain(args)),
        Err(error) => return refused(&error),
    };
    if let Err(error) = options.server.start("info") {
        return refused(&error);
    }
    match run(options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the gate stopped");
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

async fn run(options: Options) -> Result<(), Failure> {
    sealdex_net::server::give_notice(std::time::Duration::from_secs(options.stop_notice));
    let tls = match (&options.tls_cert, &options.tls_key) {
        (Some(cert), Some(key)) => Some(tls::server(cert, key)?),
        _ => None,
    };
    let config = GateConfig {
        secrets: secrets(&options)?,
        store: options.store,
        listen: Listen { addr: options.listen, tls, insecure: options.insecure_http },
        cloud_ca: options.cloud_ca,
        bounds: Bounds { concurrency: options.concurrency, ..Bounds::default() },
        heavy: options.heavy,
        backup: options.backup.plan(),
    };
    let (ready, bound) = oneshot::channel();
    tokio::spawn(announce(bound));
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let stop = async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        notify::tell(notify::STOPPING);
    };
    Ok(serve(config, ready, stop).await?)
}

/// The bound address is the program's one line of output, for whoever asked for port 0.
#[allow(clippy::print_stdout)]
async fn announce(bound: oneshot::Receiver<SocketAddr>) {
    if let Ok(addr) = bound.await {
        println!("listening on {addr}");
        notify::tell(notify::READY);
    }
}

fn secrets(options: &Options) -> Result<GateSecrets, Failure> {
    let unlock = options.unlock.to_read(&options.keys)?;
    Ok(GateSecrets::from_json(&sealdex_keyfile::read(&options.keys, "gate", unlock.as_ref())?)?)
}
