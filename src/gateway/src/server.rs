//! The gateway, what it takes to run one, and the server around it.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use sealdex_client::session::AskError;
use sealdex_net::{
    Listen,
    guard::{Bounds, guard},
};

use crate::{
    auth::Access, clock, domain::Domain, domain::Member, export::Exports, negotiation::Address, paging::Memory,
    portal::PatientPortal, routes, tokens::LinkKey, write::Ingest,
};

/// What it takes to run a gateway.
pub struct GatewayConfig {
    /// Whose rights it has, and for what.
    pub member: Member,
    /// Where to listen.
    pub listen: Listen,
    /// Path of the base, such as `/fhir`; empty for the root.
    pub base_path: String,
    /// Absolute URL clients see the base at, when it is not what their `Host` header says.
    pub base_url: Option<String>,
    /// Believe `X-Forwarded-Host` and `X-Forwarded-Proto`.
    pub forwarded: bool,
    /// Who may call.
    pub access: Access,
    /// Bounds on requests.
    pub bounds: Bounds,
    /// Largest body, bytes.
    pub max_body: usize,
    /// Takes records in; without it the gateway only reads.
    pub ingest: Option<Arc<dyn Ingest>>,
    /// A patient's wallet behind `Consent` and `AuditEvent`; without it they are types like others.
    pub portal: Option<Arc<dyn PatientPortal>>,
}

impl GatewayConfig {
    /// Listening on a loopback port (0 picks one), open to whoever reaches it, reading only.
    pub fn loopback(member: Member, port: u16) -> Self {
        Self {
            member,
            listen: Listen::loopback(port),
            base_path: "/fhir".into(),
            base_url: None,
            forwarded: false,
            access: Access::Open,
            bounds: Bounds { concurrency: 64, timeout: std::time::Duration::from_secs(120) },
            max_body: 16 << 20,
            ingest: None,
            portal: None,
        }
    }

    fn check(&self) -> Result<(), ServeError> {
        let legal = |c: u8| c.is_ascii_alphanumeric() || b"-_./".contains(&c);
        let path = &self.base_path;
        let taken = ["/healthz", "/readyz", "/metrics"].iter().any(|p| path.starts_with(p));
        if !path.is_empty()
            && (!path.starts_with('/')
                || path.ends_with('/')
                || path.contains("//")
                || !path.bytes().all(legal)
                || taken)
        {
            return Err(ServeError::BasePath(path.clone()));
        }
        if let Some(url) = &self.base_url {
            let uri: Option<http::Uri> = url.parse().ok();
            let usable = uri.is_some_and(|u| {
                matches!(u.scheme_str(), Some("http" | "https")) && u.authority().is_some() && u.query().is_none()
            });
            if !usable || url.ends_with('/') {
                return Err(ServeError::BaseUrl(url.clone()));
            }
        }
        if matches!(self.access, Access::Open) && !self.listen.addr.ip().is_loopback() {
            return Err(ServeError::Open(self.listen.addr));
        }
        Ok(())
    }
}

/// Why a gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The keys or the pack cannot be used.
    #[error(transparent)]
    Session(#[from] AskError),
    /// No path.
    #[error("the base path {0:?} cannot be used: it must be like /fhir, without a slash at its end")]
    BasePath(String),
    /// No URL.
    #[error("the base URL {0:?} cannot be used: it must be http:// or https://, without a slash at its end")]
    BaseUrl(String),
    /// Open to others than this machine.
    #[error(
        "{0} is not a loopback address, and an open gateway lends its key to whoever reaches it: list clients with --clients instead of --open"
    )]
    Open(SocketAddr),
    /// The address could not be bound.
    #[error("cannot listen on {addr}: {source}")]
    Bind {
        /// Address.
        addr: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

/// Pause between two looks for what patients have ordered to be erased.
const ERASING: std::time::Duration = std::time::Duration::from_secs(60);

/// A running gateway.
pub struct Gateway {
    pub(crate) domain: Arc<Domain>,
    pub(crate) address: Address,
    pub(crate) access: Access,
    pub(crate) keys: LinkKey,
    pub(crate) memory: Memory,
    pub(crate) exports: Exports,
    pub(crate) max_body: usize,
    pub(crate) ingest: Option<Arc<dyn Ingest>>,
    pub(crate) portal: Option<Arc<dyn PatientPortal>>,
    /// Writes go one after another, so that what a condition saw is what it is applied to.
    pub(crate) writes: tokio::sync::Mutex<()>,
    pub(crate) started: String,
    /// When the gate last answered, for readiness.
    pub(crate) answered: std::sync::Mutex<Option<Instant>>,
}

/// Ends what patients have ordered to be erased, again and again.
async fn keep_erasing(gateway: Arc<Gateway>) {
    let Some(ingest) = gateway.ingest.clone() else { return };
    loop {
        ingest.erase().await;
        tokio::time::sleep(ERASING).await;
    }
}

/// Serves a gateway until `shutdown` resolves; `ready` is told the address once it is bound.
///
/// # Errors
/// [`ServeError`], before `ready` is told anything.
pub async fn serve(
    config: GatewayConfig,
    ready: tokio::sync::oneshot::Sender<SocketAddr>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    config.check()?;
    let GatewayConfig { member, listen, base_path, base_url, forwarded, access, bounds, max_body, ingest, portal } =
        config;
    let bind = |source| ServeError::Bind { addr: listen.addr, source };
    let listener = listen.bind().await.map_err(bind)?;
    let addr = listener.local_addr().map_err(bind)?;
    let address = Address {
        fixed: base_url,
        path: base_path.clone(),
        tls: listen.tls.is_some(),
        loopback: addr.ip().is_loopback(),
        forwarded,
    };
    let gateway = Arc::new(Gateway {
        keys: LinkKey::derive(&member.keys.secrets.seed.0),
        domain: Arc::new(Domain::new(member)?),
        address,
        access,
        memory: Memory::default(),
        exports: Exports::default(),
        max_body,
        ingest,
        portal,
        writes: tokio::sync::Mutex::default(),
        started: clock::now_text(),
        answered: std::sync::Mutex::default(),
    });
    let fresh = tokio::spawn(gateway.domain.clone().keep_fresh());
    let erasing = tokio::spawn(keep_erasing(gateway.clone()));
    let router = routes::outermost(guard(routes::router(gateway.clone(), &base_path), "gateway", bounds));
    tracing::info!(%addr, domain = gateway.domain.name(), purpose = gateway.domain.purpose(), "serving");
    // Nobody may be waiting for the address.
    let _ = ready.send(addr);
    sealdex_net::serve(listener, listen.tls.clone(), router, shutdown).await;
    fresh.abort();
    erasing.abort();
    gateway.exports.stop();
    Ok(())
}
