//! `sealdex serve`: the same servers as the two binaries, for one-machine use.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Subcommand};
use sealdex_cloud::{
    CloudConfig, CloudKeys, backup::schedule::BackupOptions as CloudBackup, compaction::CompactOptions,
};
use sealdex_gate::{GateConfig, backup::schedule::BackupOptions};
use sealdex_net::{Listen, guard::Bounds, notify, server::give_notice, tls};
use sealdex_settings::log::ServerOptions;
use tokio::signal::unix::{SignalKind, signal};

use crate::{failure::Failure, gate::read_gate_keys, gateway, key_options::KeyOptions};

#[derive(Subcommand)]
pub(crate) enum ServeCommand {
    /// Run a cloud.
    Cloud {
        /// Key file, as `domain init` wrote it.
        #[arg(long)]
        keys: PathBuf,
        /// Folder of store and index.
        #[arg(long)]
        dir: PathBuf,
        /// Address to listen on; port 0 picks one.
        #[arg(long, default_value = "127.0.0.1:7412")]
        listen: SocketAddr,
        #[command(flatten)]
        compaction: CompactOptions,
        #[command(flatten)]
        backup: CloudBackup,
        #[command(flatten)]
        server: ServerOptions,
        #[command(flatten)]
        net: NetOptions,
        #[command(flatten)]
        key_options: KeyOptions,
    },
    /// Run a gate.
    Gate {
        /// Key file, as `domain init` wrote it.
        #[arg(long)]
        keys: PathBuf,
        /// File of the consent store; made when missing.
        #[arg(long)]
        store: PathBuf,
        /// Address to listen on; port 0 picks one.
        #[arg(long, default_value = "127.0.0.1:7411")]
        listen: SocketAddr,
        /// Certificates to trust the cloud by, PEM.
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
        #[command(flatten)]
        net: NetOptions,
        #[command(flatten)]
        key_options: KeyOptions,
    },
    /// Run a FHIR R4 server for one member: any FHIR client searches and reads through it.
    Gateway(Box<gateway::GatewayOptions>),
}

#[derive(Args)]
pub(crate) struct NetOptions {
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
}

impl NetOptions {
    pub(crate) fn listen(&self, addr: SocketAddr) -> Result<Listen, Failure> {
        let tls = match (&self.tls_cert, &self.tls_key) {
            (Some(cert), Some(key)) => Some(tls::server(cert, key)?),
            _ => None,
        };
        give_notice(Duration::from_secs(self.stop_notice));
        Ok(Listen { addr, tls, insecure: self.insecure_http })
    }
}

impl ServeCommand {
    /// How it logs.
    pub(crate) fn server(&self) -> &ServerOptions {
        match self {
            Self::Cloud { server, .. } | Self::Gate { server, .. } => server,
            Self::Gateway(options) => &options.server,
        }
    }
}

/// Tells whoever started it where it listens.
pub(crate) fn announce(addr: SocketAddr) {
    println!("listening on {addr}");
    notify::tell(notify::READY);
}

pub(crate) async fn run(command: ServeCommand) -> Result<(), Failure> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let stop = async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        notify::tell(notify::STOPPING);
    };
    match command {
        ServeCommand::Cloud { keys, dir, listen, compaction, backup, net, key_options, .. } => {
            if compaction.compact
                && let Some(done) = sealdex_cloud::compact(&dir)?
            {
                println!("the store was written anew: {} bytes before, {} after", done.before, done.after);
            }
            let loaded = CloudKeys::load(&keys, key_options.to_read(&keys)?.as_ref())?;
            let config = CloudConfig {
                data_dir: dir,
                listen: net.listen(listen)?,
                keys: loaded,
                bounds: Bounds::default(),
                backup: backup.plan(),
                compact: compaction.plan(),
            };
            sealdex_cloud::serve(config, announce, stop).await?;
        }
        ServeCommand::Gate { keys, store, listen, cloud_ca, concurrency, heavy, backup, net, key_options, .. } => {
            let secrets = read_gate_keys(&keys, &key_options)?;
            let config = GateConfig {
                listen: net.listen(listen)?,
                cloud_ca,
                backup: backup.plan(),
                bounds: Bounds { concurrency, ..Bounds::default() },
                heavy,
                ..GateConfig::loopback(secrets, store, 0)
            };
            let (ready, bound) = tokio::sync::oneshot::channel();
            tokio::spawn(async move {
                if let Ok(addr) = bound.await {
                    announce(addr);
                }
            });
            sealdex_gate::serve(config, ready, stop).await?;
        }
        ServeCommand::Gateway(options) => gateway::run(*options, stop).await?,
    }
    Ok(())
}
