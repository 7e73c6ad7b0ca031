//! `sealdex serve gateway`.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::{ArgGroup, Args};
use sealdex_gateway::{Access, Clients, GatewayConfig, Ingest, Member as Holder, PatientPortal, Sealing};
use sealdex_provider::{Journal, Manifest, OwnerMap, Writer, WriterInput};

use crate::{
    consent::patient, custodian::Custodian, failure::Failure, key_options::KeyOptions, places::Member,
    serve::NetOptions,
};

#[derive(Args)]
#[command(
    group = ArgGroup::new("access").args(["open", "clients"]),
    group = ArgGroup::new("who").args(["member", "key"]).required(true),
    after_help = "Examples:
  sealdex serve gateway --member users/ana --open
  sealdex serve gateway --key ana.key --domain-pack domain.json --clients clients.toml --listen 127.0.0.1:8080
  sealdex serve gateway --member users/ana --wallet patients.key --owner Patient/p1 --open
  sealdex serve gateway --member users/ana --provider providers/northgate --open
  sealdex serve gateway --member users/ana --provider providers/northgate --enrol patients.key --open
  sealdex serve gateway --member users/ana --clients clients.toml --listen 0.0.0.0:8443 --tls-cert c.pem --tls-key k.pem
Then, with any FHIR client:
  curl http://localhost:8080/fhir/metadata
  curl 'http://localhost:8080/fhir/Observation?code=http://loinc.org|4548-4&value-quantity=gt6.5&_count=20'
  curl http://localhost:8080/fhir/Patient/ID/\\$everything

Who may call must be said: --open lends the rights of the key to whoever reaches the socket (loopback only);
--clients FILE lists programs that get a token at BASE/auth/token with grant_type=client_credentials:
  [[client]]
  id = \"dashboard\"
  secret = \"at least 24 characters, better random\"
  scopes = [\"system/*.read\"]
The file holds secrets: chmod 600."
)]
pub(crate) struct GatewayOptions {
    /// The member's folder, with member.key and domain.json.
    #[arg(long)]
    member: Option<PathBuf>,
    /// The member's key file.
    #[arg(long, requires = "domain_pack")]
    key: Option<PathBuf>,
    /// The domain's pack, domain.json.
    #[arg(long, requires = "key")]
    domain_pack: Option<PathBuf>,
    /// Address to listen on; port 0 picks one.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Whoever reaches the socket has the rights of the key. Loopback only.
    #[arg(long)]
    open: bool,
    /// Only the clients of this file, TOML, with tokens.
    #[arg(long)]
    clients: Option<PathBuf>,
    /// URL clients see the base at, such as https://fhir.north.example/fhir; else what their Host header says.
    #[arg(long)]
    base_url: Option<String>,
    /// Path of the base on this server.
    #[arg(long, default_value = "/fhir")]
    base_path: String,
    /// Believe X-Forwarded-Host and X-Forwarded-Proto; only behind a proxy that sets them.
    #[arg(long)]
    trust_forwarded: bool,
    /// A provider's folder: lets the gateway write, by POST and PUT, what passes as FHIR R4.
    #[arg(long)]
    provider: Option<PathBuf>,
    /// Wallet, made when there is none: a Patient written by POST or PUT who is new to this hospital is enrolled, with
    /// keys in it. Its passphrase must come from --passphrase-file or SEALDEX_PASSPHRASE.
    #[arg(long, requires = "provider")]
    enrol: Option<PathBuf>,
    /// Wallet of a patient: their consents and accesses are served as Consent and AuditEvent.
    #[arg(long, requires = "owner")]
    wallet: Option<PathBuf>,
    /// The patient in the wallet, by label.
    #[arg(long, requires = "wallet")]
    owner: Option<String>,
    /// Purpose of use of everything that is asked.
    #[arg(long, default_value = "treatment")]
    purpose: String,
    /// Most records one search may open.
    #[arg(long, default_value_t = sealdex_client::session::MOST_OPENED)]
    max_open: u64,
    /// Certificates to trust gate and cloud by, PEM.
    #[arg(long)]
    ca: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) server: sealdex_settings::log::ServerOptions,
    #[command(flatten)]
    net: NetOptions,
    #[command(flatten)]
    keys: KeyOptions,
}

impl GatewayOptions {
    fn access(&self) -> Result<Access, Failure> {
        match &self.clients {
            Some(path) => Ok(Access::Clients(Clients::read(path)?)),
            None if self.open => {
                eprintln!(
                    "Open: whoever reaches {} has the rights of this key, every program on this machine included. \
                     Use --clients where that is not meant.",
                    self.listen
                );
                Ok(Access::Open)
            }
            None => Err(Failure::new(
                "who may call? Give --clients FILE with the programs that may (see --help), or --open to lend the key's \
                 rights to whoever reaches this address",
            )),
        }
    }

    /// What takes records in for a provider.
    async fn ingest(&self, dir: &Path) -> Result<Arc<dyn Ingest>, Failure> {
        let manifest = Manifest::read(dir)?;
        let member = Member::open(&manifest.key, &manifest.domain, &self.keys, self.ca.as_deref()).await?;
        if self.enrol.is_some() && !manifest.owners.exists() {
            OwnerMap::default().write(&manifest.owners)?;
        }
        let writer = Writer::open(WriterInput {
            keys: &member.keys,
            trusted: &member.trusted,
            gate: member.gate.clone(),
            cloud: member.trusted.cloud(&member.http, Some(&member.keys))?,
            owners: manifest.owners.clone(),
            journal: Journal::open(&manifest.journal)?,
            log: member.log(&manifest.journal.with_extension("ledger"))?,
        })?;
        Ok(match &self.enrol {
            None => Arc::new(Sealing(writer)),
            Some(wallet) => {
                Arc::new(Custodian::open(writer, member, manifest.owners, wallet.clone(), self.keys.clone())?)
            }
        })
    }

    async fn holder(&self) -> Result<Member, Failure> {
        match (&self.member, &self.key, &self.domain_pack) {
            (Some(dir), ..) => Member::open_dir(dir, &self.keys, self.ca.as_deref()).await,
            (None, Some(key), Some(pack)) => Member::open(key, pack, &self.keys, self.ca.as_deref()).await,
            _ => Err(Failure::new("whose key? Give --member DIR, or --key FILE and --domain-pack FILE")),
        }
    }
}

pub(crate) async fn run(o: GatewayOptions, stop: impl Future<Output = ()>) -> Result<(), Failure> {
    let access = o.access()?;
    let Member { keys, trusted, http, .. } = o.holder().await?;
    let portal = match (&o.wallet, &o.owner) {
        (Some(wallet), Some(label)) => {
            Some(Arc::new(patient(wallet, label, &trusted, &http, &o.keys)?) as Arc<dyn PatientPortal>)
        }
        _ => None,
    };
    let member = Holder { keys, trusted, http, purpose: o.purpose.clone(), most_opened: o.max_open };
    let ingest = match &o.provider {
        Some(dir) => Some(o.ingest(dir).await?),
        None => None,
    };
    let config = GatewayConfig {
        listen: o.net.listen(o.listen)?,
        ingest,
        portal,
        base_path: o.base_path.trim_end_matches('/').to_owned(),
        base_url: o.base_url.as_ref().map(|u| u.trim_end_matches('/').to_owned()),
        forwarded: o.trust_forwarded,
        access,
        ..GatewayConfig::loopback(member, 0)
    };
    let (ready, bound) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        if let Ok(addr) = bound.await {
            crate::serve::announce(addr);
        }
    });
    Ok(sealdex_gateway::serve(config, ready, stop).await?)
}
