//! The cloud as the gate sees it.

use std::{path::PathBuf, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use sealdex_crypto::Identity;
use sealdex_lognet::{DomainLog, domain::DomainLogError};
use sealdex_net::{CallError, Peer, Retry, peer::Http, reply};
use sealdex_wire::{
    acts::{ActsTaken, PostActs},
    codec,
    erasure::{ScanRecords, Scanned},
    roster::{Ledger, Server},
    search::{CloudMatches, CloudSearch, WithdrawTickets},
};

/// Why the cloud's help was not to be had.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum CloudError {
    /// The roster lists none.
    #[error("the roster lists no cloud")]
    None,
    /// It refused or did not answer.
    #[error(transparent)]
    Call(Box<CallError>),
    /// Its answer breaks the protocol.
    #[error("the cloud's answer breaks the protocol: {0}")]
    Protocol(&'static str),
}

impl From<CallError> for CloudError {
    fn from(e: CallError) -> Self {
        Self::Call(Box::new(e))
    }
}

/// What a call ends with.
pub type CloudAnswer<'a, T> = Pin<Box<dyn Future<Output = Result<T, CloudError>> + Send + 'a>>;

/// Asks clouds of the roster.
pub trait Cloud: Send + Sync + 'static {
    /// One page of matches.
    fn search<'a>(&'a self, cloud: &'a Server, request: &'a CloudSearch) -> CloudAnswer<'a, CloudMatches>;
    /// Makes tickets useless before they expire.
    fn withdraw<'a>(&'a self, cloud: &'a Server, request: &'a WithdrawTickets) -> CloudAnswer<'a, ()>;
    /// One page of everything that is stored; where that cannot be had, nothing is found to erase.
    fn scan<'a>(&'a self, _cloud: &'a Server, _request: &'a ScanRecords) -> CloudAnswer<'a, Scanned> {
        Box::pin(async { Err(CloudError::None) })
    }
    /// Hands in the next entries of the log of acts; the last one of this gate that it has.
    fn log_acts<'a>(&'a self, _cloud: &'a Server, _entries: &'a PostActs) -> CloudAnswer<'a, ActsTaken> {
        Box::pin(async { Err(CloudError::None) })
    }
    /// The log of batches that it keeps; `None` where logs cannot be followed.
    fn log(&self, _cloud: &Server, _ledger: &Ledger) -> Option<Result<DomainLog, DomainLogError>> {
        None
    }
}

/// Clouds over HTTP, called as this gate.
pub struct HttpCloud {
    http: Http,
    domain: String,
    gate: Arc<Identity>,
    log: Option<PathBuf>,
}

impl HttpCloud {
    /// Calls as `gate`; what it has read of the cloud's log is kept in `log`.
    pub fn new(http: Http, domain: impl Into<String>, gate: Arc<Identity>, log: Option<PathBuf>) -> Self {
        Self { http, domain: domain.into(), gate, log }
    }

    fn peer(&self, cloud: &Server, retry: Retry) -> Result<Peer, CloudError> {
        let peer = Peer::new(self.http.clone(), &cloud.url, &self.domain, cloud.id, Some(self.gate.clone()))?;
        Ok(peer.with_retry(retry))
    }
}

impl Cloud for HttpCloud {
    fn search<'a>(&'a self, cloud: &'a Server, request: &'a CloudSearch) -> CloudAnswer<'a, CloudMatches> {
        let retry = Retry { attempts: 4, pause: Duration::from_millis(50) };
        Box::pin(async move { Ok(self.peer(cloud, retry)?.post_cbor("/v1/search", request).await?) })
    }

    fn log(&self, cloud: &Server, ledger: &Ledger) -> Option<Result<DomainLog, DomainLogError>> {
        Some(DomainLog::open(&self.http, &self.domain, ledger, &cloud.url, self.log.as_deref()))
    }

    fn log_acts<'a>(&'a self, cloud: &'a Server, entries: &'a PostActs) -> CloudAnswer<'a, ActsTaken> {
        let body = Bytes::from(entries.to_cbor());
        Box::pin(async move { Ok(self.peer(cloud, Retry::NONE)?.post_cbor_bytes("/v1/acts", body).await?) })
    }

    fn scan<'a>(&'a self, cloud: &'a Server, request: &'a ScanRecords) -> CloudAnswer<'a, Scanned> {
        let retry = Retry { attempts: 4, pause: Duration::from_millis(50) };
        Box::pin(async move { Ok(self.peer(cloud, retry)?.post_cbor("/v1/scan", request).await?) })
    }

    fn withdraw<'a>(&'a self, cloud: &'a Server, request: &'a WithdrawTickets) -> CloudAnswer<'a, ()> {
        let retry = Retry { attempts: 3, pause: Duration::from_millis(50) };
        Box::pin(async move {
            let body = Bytes::from(codec::to_cbor(request));
            self.peer(cloud, retry)?.call(http::Method::POST, "/v1/tickets/withdraw", reply::CBOR, body).await?;
            Ok(())
        })
    }
}
