//! `sealdex witness`: checks that logs only grow, and cosigns.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Subcommand};
use sealdex_lognet::{
    domain::Which,
    witness::{WitnessConfig, serve},
};
use sealdex_net::guard::Bounds;
use sealdex_tlog::note::{CosignerKey, KeyName, VerifierKey};
use tokio::signal::unix::{SignalKind, signal};

use crate::{failure::Failure, key_options::KeyOptions, places::roster_of, serve::NetOptions};

/// Kind of a witness's key file.
const KIND: &str = "witness";

#[derive(Subcommand)]
pub(crate) enum WitnessCommand {
    /// Make a witness's key; prints the verifier key that the authority adds to the domain.
    #[command(after_help = "Example:
  sealdex witness keygen --name patients.example/w1 --out w1.key
  sealdex domain ledger --dir domain --witness KEY http://127.0.0.1:7431 --quorum 1")]
    Keygen {
        /// Name in the key, best an address without its scheme. No spaces, no '+'.
        #[arg(long)]
        name: String,
        /// File to make.
        #[arg(long)]
        out: PathBuf,
        #[command(flatten)]
        keys: KeyOptions,
    },
    /// Cosign checkpoints of logs that only grow, as C2SP tlog-witness has it. What was cosigned is on disk before it is
    /// answered: whoever loses the folder lets logs fork.
    #[command(after_help = "Examples:
  sealdex witness serve --keys w1.key --dir w1 --domain hospital/domain.json --listen 127.0.0.1:7431
  sealdex witness serve --keys w1.key --dir w1 --log 'example.com/log+1f2e3d4c+AQ…'")]
    Serve(Box<ServeOptions>),
}

#[derive(Args)]
pub(crate) struct ServeOptions {
    /// Key file, as `witness keygen` made it.
    #[arg(long)]
    keys: PathBuf,
    /// Folder of what was cosigned.
    #[arg(long)]
    dir: PathBuf,
    /// A domain whose logs to watch: its pack, domain.json.
    #[arg(long, required_unless_present = "log")]
    domain: Vec<PathBuf>,
    /// Another log to watch: its verifier key. Its origin is the name in the key.
    #[arg(long)]
    log: Vec<String>,
    /// Address to listen on; port 0 picks one.
    #[arg(long, default_value = "127.0.0.1:7431")]
    listen: SocketAddr,
    #[command(flatten)]
    net: NetOptions,
    #[command(flatten)]
    key_options: KeyOptions,
}

pub(crate) async fn run(command: WitnessCommand) -> Result<(), Failure> {
    match command {
        WitnessCommand::Keygen { name, out, keys } => {
            let verifier = keygen(&name, &out, &keys)?;
            println!("{verifier}");
            eprintln!("The key is in {}; the line above is what others know it by.", out.display());
            Ok(())
        }
        WitnessCommand::Serve(options) => run_server(*options).await,
    }
}

/// Makes a key file; the verifier key.
pub(crate) fn keygen(name: &str, out: &std::path::Path, keys: &KeyOptions) -> Result<String, Failure> {
    let name = KeyName::new(name).map_err(|e| Failure::new(format!("\"{name}\" cannot be a name: {e}")))?;
    let key = CosignerKey::random(name, &mut rand::rng());
    sealdex_keyfile::write(out, KIND, key.to_text().as_bytes(), keys.to_write()?.as_ref())?;
    Ok(key.verifier().to_string())
}

async fn run_server(o: ServeOptions) -> Result<(), Failure> {
    let text = sealdex_keyfile::read(&o.keys, KIND, o.key_options.to_read(&o.keys)?.as_ref())?;
    let bad = || Failure::new(format!("{} holds no witness's key", o.keys.display()));
    let key = CosignerKey::parse(std::str::from_utf8(&text).map_err(|_| bad())?).map_err(|_| bad())?;
    let mut logs: Vec<(String, Vec<VerifierKey>)> = Vec::new();
    let mut watch = |text: &str| -> Result<(), Failure> {
        let key = VerifierKey::parse(text).map_err(|e| Failure::new(format!("\"{text}\" is no log's key: {e}")))?;
        logs.push((key.name().as_str().to_owned(), vec![key]));
        Ok(())
    };
    for path in &o.domain {
        let ledger = roster_of(path)?
            .ledger
            .ok_or_else(|| Failure::new(format!("the domain of {} has no log to watch", path.display())))?;
        watch(Which::Batches.key(&ledger))?;
        watch(Which::Acts.key(&ledger))?;
    }
    o.log.iter().try_for_each(|text| watch(text))?;
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let stop = async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    let listen = o.net.listen(o.listen)?;
    let config = WitnessConfig { dir: o.dir, listen, key, logs, bounds: Bounds::default() };
    serve(config, |addr| println!("listening on {addr}"), stop).await?;
    Ok(())
}
