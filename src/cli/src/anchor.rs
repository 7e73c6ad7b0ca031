//! `sealdex anchor`: checkpoints of the domain's logs on an EVM chain.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use sealdex_anchor::{Address, Anchor, Anchored, Block, Checked, PosterKey, Rpc, Terms, checked};
use sealdex_crypto::log::Hash;
use sealdex_lognet::{
    LogClient,
    domain::{Which, policy},
};
use sealdex_net::peer::Http;
use sealdex_tlog::policy::VerifiedCheckpoint;

use crate::{failure::Failure, key_options::KeyOptions, output::table, places::roster_of};

/// Kind of a poster's key file.
const KIND: &str = "poster";

#[derive(Subcommand)]
pub(crate) enum AnchorCommand {
    /// Make the key of an account that posts, or take one over.
    Keygen {
        /// File to make.
        #[arg(long)]
        out: PathBuf,
        /// File with a key to take over: 64 hex digits.
        #[arg(long)]
        import: Option<PathBuf>,
        #[command(flatten)]
        keys: KeyOptions,
    },
    /// Deploy the contract. Only the account that deploys it can post.
    #[command(after_help = "Example:
  sealdex anchor deploy --rpc http://127.0.0.1:8545 --key poster.key")]
    Deploy {
        #[command(flatten)]
        chain: ChainOptions,
        /// Key file of the account.
        #[arg(long)]
        key: PathBuf,
        #[command(flatten)]
        keys: KeyOptions,
    },
    /// Post the checkpoint that a log serves now, after checking it. The contract verifies that it extends the last one.
    #[command(after_help = "Example:
  sealdex anchor post --rpc http://127.0.0.1:8545 --contract 0x… --key poster.key --domain hospital/domain.json")]
    Post {
        #[command(flatten)]
        chain: ChainOptions,
        /// Address of the contract.
        #[arg(long)]
        contract: Address,
        /// Key file of the account that deployed it.
        #[arg(long)]
        key: PathBuf,
        #[command(flatten)]
        log: LogOptions,
        #[command(flatten)]
        keys: KeyOptions,
    },
    /// Check that a log begins with everything that is anchored of it. Ends with 0 only if it does.
    #[command(after_help = "Example:
  sealdex anchor check --rpc http://127.0.0.1:8545 --contract 0x… --domain hospital/domain.json")]
    Check {
        #[command(flatten)]
        chain: ChainOptions,
        /// Address of the contract.
        #[arg(long)]
        contract: Address,
        #[command(flatten)]
        log: LogOptions,
    },
}

#[derive(Args)]
pub(crate) struct ChainOptions {
    /// A node of the chain: JSON-RPC over HTTP. It is believed, so ask one of your own.
    #[arg(long)]
    rpc: String,
    /// The chain it must be; whichever it is when not given.
    #[arg(long)]
    chain: Option<u64>,
    /// Most that is paid for a unit of gas, in gwei.
    #[arg(long, default_value_t = 200)]
    max_fee: u32,
    /// Ask for finalized blocks only when reading.
    #[arg(long)]
    finalized: bool,
    /// Certificates to trust the node and the cloud by, PEM.
    #[arg(long)]
    ca: Option<PathBuf>,
}

impl ChainOptions {
    fn rpc(&self) -> Result<Rpc, Failure> {
        Ok(Rpc::new(Http::new(self.ca.as_deref())?, &self.rpc))
    }

    fn terms(&self) -> Terms {
        Terms { chain: self.chain, max_fee: u128::from(self.max_fee) * 1_000_000_000, ..Terms::default() }
    }

    fn anchor(&self, contract: Address) -> Result<Anchor, Failure> {
        let block = if self.finalized { Block::Finalized } else { Block::Latest };
        Ok(Anchor::new(self.rpc()?, contract).with_terms(self.terms()).at(block))
    }
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum LogName {
    #[default]
    Batches,
    Acts,
}

#[derive(Args)]
pub(crate) struct LogOptions {
    /// The domain's pack: which log, where, and which checkpoints are believed.
    #[arg(long)]
    domain: PathBuf,
    /// Which of its logs.
    #[arg(long, value_enum, default_value_t)]
    log: LogName,
}

/// A log's checkpoint as it is served now, believed by the domain's policy.
struct Served {
    client: LogClient,
    checkpoint: VerifiedCheckpoint,
}

impl Served {
    async fn read(o: &LogOptions, ca: Option<&std::path::Path>) -> Result<Self, Failure> {
        let roster = roster_of(&o.domain)?;
        let (Some(ledger), Some(cloud)) = (&roster.ledger, roster.clouds.first()) else {
            return Err(Failure::new("this domain has no log to anchor"));
        };
        let which = match o.log {
            LogName::Batches => Which::Batches,
            LogName::Acts => Which::Acts,
        };
        let client = LogClient::new(Http::new(ca)?, &which.url(&cloud.url))?;
        let checkpoint = policy(ledger, which)?.verify(&client.checkpoint().await?)?;
        Ok(Self { client, checkpoint })
    }

    fn origin(&self) -> &str {
        self.checkpoint.checkpoint().origin()
    }

    fn size(&self) -> u64 {
        self.checkpoint.checkpoint().size()
    }

    fn root(&self) -> &Hash {
        self.checkpoint.checkpoint().root()
    }

    /// Whether the log begins with what is anchored.
    async fn check(&self, anchored: Option<&Anchored>) -> Result<Checked, Failure> {
        let proof = match anchored {
            Some(a) if a.size > 0 && a.size < self.size() => self.client.prefix(a.size, self.size()).await?.1,
            _ => Vec::new(),
        };
        Ok(checked::with_proof(anchored, self.size(), self.root(), &proof))
    }
}

pub(crate) async fn run(command: AnchorCommand) -> Result<(), Failure> {
    match command {
        AnchorCommand::Keygen { out, import, keys } => keygen(&out, import.as_deref(), &keys),
        AnchorCommand::Deploy { chain, key, keys } => {
            let (anchor, receipt) = Anchor::deploy(chain.rpc()?, &poster(&key, &keys)?, chain.terms()).await?;
            println!("The contract is {}, deployed in transaction {}.", anchor.contract(), receipt.transaction);
            println!("It took {} gas. Next: sealdex anchor post --contract {} …", receipt.gas, anchor.contract());
            Ok(())
        }
        AnchorCommand::Post { chain, contract, key, log, keys } => {
            let (anchor, key) = (chain.anchor(contract)?, poster(&key, &keys)?);
            let served = Served::read(&log, chain.ca.as_deref()).await?;
            anchor.inspect().await?;
            let last = anchor.latest(served.origin()).await?;
            let checked = served.check(last.as_ref()).await?;
            match checked {
                Checked::Agrees { size } => {
                    println!("{} entries of {} are anchored already.", size, served.origin());
                    return Ok(());
                }
                ref other if !other.is_fine() => return Err(Failure::new(said(served.origin(), &checked))),
                _ => {}
            }
            let old = last.as_ref().map(|a| a.size);
            let proof = match old {
                Some(old) if old > 0 => served.client.prefix(old, served.size()).await?.1,
                _ => Vec::new(),
            };
            let receipt = anchor.post(&key, served.origin(), old, served.size(), served.root(), &proof).await?;
            println!("{} entries of {} are anchored.", served.size(), served.origin());
            println!("Transaction {}, block {}, {} gas.", receipt.transaction, receipt.block, receipt.gas);
            Ok(())
        }
        AnchorCommand::Check { chain, contract, log } => {
            let anchor = chain.anchor(contract)?;
            let served = Served::read(&log, chain.ca.as_deref()).await?;
            let inspected = anchor.inspect().await?;
            let last = anchor.latest(served.origin()).await?;
            let checked = served.check(last.as_ref()).await?;
            let mut t = table(&["what", "entries", "root"]);
            if let Some(a) = &last {
                t.add_row(["anchored", &a.size.to_string(), &hex::encode(a.root)]);
            }
            t.add_row(["served by the log", &served.size().to_string(), &hex::encode(served.root())]);
            println!("{t}");
            println!("Contract {contract} on chain {}, posted to by {}.", inspected.chain, inspected.poster);
            if checked.is_fine() {
                println!("{}", said(served.origin(), &checked));
                Ok(())
            } else {
                Err(Failure::new(said(served.origin(), &checked)))
            }
        }
    }
}

fn said(origin: &str, checked: &Checked) -> String {
    match checked {
        Checked::NotAnchored => format!("Nothing of {origin} is anchored yet."),
        Checked::Agrees { size } => format!("All {size} entries of {origin} are anchored."),
        Checked::Behind { anchored, log } => {
            format!("{origin} begins with the {anchored} entries that are anchored, and has grown to {log}.")
        }
        Checked::Shorter { anchored, log } => {
            format!(
                "{origin} shows {log} entries and {anchored} are anchored: an old checkpoint was replayed, or entries were taken away"
            )
        }
        Checked::Differs { size, .. } => {
            format!("{origin} does not begin with the {size} entries that are anchored: it was forked or rewritten")
        }
        Checked::Unproved { anchored, log, why } => {
            format!("the {log} entries of {origin} are not shown to begin with the {anchored} that are anchored: {why}")
        }
    }
}

fn keygen(out: &std::path::Path, import: Option<&std::path::Path>, keys: &KeyOptions) -> Result<(), Failure> {
    let text = zeroize::Zeroizing::new(match import {
        Some(path) => std::fs::read_to_string(path)
            .map_err(|e| Failure::new(format!("{}: {e}", path.display())))?
            .trim()
            .to_owned(),
        None => hex::encode(*sealdex_crypto::Scalar::random(&mut rand::rng()).to_bytes()),
    });
    let key = PosterKey::from_hex(&text)?;
    sealdex_keyfile::write(out, KIND, text.as_bytes(), keys.to_write()?.as_ref())?;
    println!("{}", key.address());
    eprintln!("The key is in {}. The account above pays for what it posts.", out.display());
    Ok(())
}

fn poster(path: &std::path::Path, keys: &KeyOptions) -> Result<PosterKey, Failure> {
    let text = sealdex_keyfile::read(path, KIND, keys.to_read(path)?.as_ref())?;
    let bad = || Failure::new(format!("{} holds no poster's key", path.display()));
    PosterKey::from_hex(std::str::from_utf8(&text).map_err(|_| bad())?).map_err(|_| bad())
}
