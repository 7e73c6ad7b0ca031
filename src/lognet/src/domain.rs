//! The logs of a Sealdex domain: their keys and policies, and the batches as a reader of the log knows them.

use std::{collections::VecDeque, path::Path, time::Duration};

use bytes::Bytes;
use http::Request;
use sealdex_crypto::kdf;
use sealdex_ledger::{EntryError, LedgerView, Providers};
use sealdex_net::{CallError, clock::now_ms, peer::Http};
use sealdex_tlog::{
    note::{KeyName, LogKey, NoteError, VerifierKey},
    policy::{Policy, PolicyError},
};
use sealdex_wire::{labels, limits, roster::Ledger};
use tokio::time::Instant;

use crate::{
    client::{FetchError, LogClient},
    follower::{FollowError, Follower},
};

/// Which of a domain's logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// One entry a batch.
    Batches,
    /// Grants, revocations, searches.
    Acts,
}

impl Which {
    /// Its name, in paths and origins.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Batches => "batches",
            Self::Acts => "acts",
        }
    }

    /// Its verifier key, as the roster has it.
    #[must_use]
    pub fn key(self, ledger: &Ledger) -> &str {
        match self {
            Self::Batches => &ledger.batches,
            Self::Acts => &ledger.acts,
        }
    }

    /// Where a cloud serves it.
    #[must_use]
    pub fn url(self, cloud: &str) -> String {
        format!("{}/log/{}", cloud.trim_end_matches('/'), self.name())
    }
}

/// The key that a cloud signs a log with, from the seed of its identity. The origin is `sealdex/DOMAIN/NAME`.
///
/// # Errors
/// [`NoteError::KeyName`] for a domain whose name no key can have.
pub fn log_key(seed: &[u8; 32], domain: &str, which: Which) -> Result<LogKey, NoteError> {
    let name = KeyName::new(format!("sealdex/{domain}/{}", which.name()))?;
    let key = kdf::<32>(labels::LOG_KEY, seed, &[domain.as_bytes(), which.name().as_bytes()]);
    Ok(LogKey::from_seed(name, &key))
}

/// Why a domain's ledger cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// A key that is none.
    #[error("the roster names \"{key}\" as a key of the log or of a witness, which is none: {error}")]
    Key {
        /// The text.
        key: String,
        /// What is wrong.
        error: NoteError,
    },
    /// Keys that make no policy.
    #[error("the roster's witnesses make no policy: {0}")]
    Policy(#[from] PolicyError),
}

fn key(text: &str) -> Result<VerifierKey, LedgerError> {
    VerifierKey::parse(text).map_err(|error| LedgerError::Key { key: text.into(), error })
}

/// Keys and addresses of the domain's witnesses.
///
/// # Errors
/// [`LedgerError::Key`].
pub fn witnesses(ledger: &Ledger) -> Result<Vec<(VerifierKey, String)>, LedgerError> {
    ledger.witnesses.iter().map(|w| Ok((key(&w.key)?, w.url.clone()))).collect()
}

/// Which checkpoints of a log are believed.
///
/// # Errors
/// [`LedgerError`].
pub fn policy(ledger: &Ledger, which: Which) -> Result<Policy, LedgerError> {
    let witnesses = witnesses(ledger)?.into_iter().map(|(key, _)| key).collect();
    Ok(Policy::new(key(which.key(ledger))?, witnesses, ledger.quorum as usize)?)
}

/// Why the log of batches is not believed, or cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DomainLogError {
    /// The roster's keys.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The log.
    #[error("the log of batches: {0}")]
    Follow(#[from] FollowError),
    /// An address.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// An entry.
    #[error("the log of batches: {0}")]
    Entry(#[from] EntryError),
    /// Ids that could not be had.
    #[error("the cloud does not say which records entry {seq} of the log ends: {reason}")]
    Ended {
        /// Place in the log, from 1.
        seq: u64,
        /// Why.
        reason: String,
    },
    /// It did not grow in time.
    #[error(
        "the log has a believable checkpoint for {size} batches and not yet for {wanted}: its witnesses may be out of reach"
    )]
    Behind {
        /// What it has.
        size: u64,
        /// What it should have.
        wanted: u64,
    },
}

impl DomainLogError {
    /// Whether this shows that somebody altered or withholds something, and not only that nobody answers.
    #[must_use]
    pub fn is_tampering(&self) -> bool {
        match self {
            Self::Follow(FollowError::Fetch(_) | FollowError::Storage(_) | FollowError::Busy { .. }) => false,
            Self::Follow(_) | Self::Entry(_) => true,
            _ => false,
        }
    }
}

/// The log of a domain's batches, followed and checked.
pub struct DomainLog {
    http: Http,
    client: LogClient,
    follower: Follower,
    view: LedgerView,
    /// Entries of the log that the view has not taken in yet.
    waiting: VecDeque<Vec<u8>>,
    advanced: Option<Instant>,
}

/// How long a cloud may take to name the records that a batch ends.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Pause between two looks at the log.
const PAUSE: Duration = Duration::from_millis(25);

impl DomainLog {
    /// Follows the log of a domain that a cloud serves, from what a folder has of it. Should another process have the
    /// folder, only this process's own memory tells whether the log takes something back.
    ///
    /// # Errors
    /// [`DomainLogError`].
    pub fn open(
        http: &Http,
        domain: &str,
        ledger: &Ledger,
        cloud: &str,
        folder: Option<&Path>,
    ) -> Result<Self, DomainLogError> {
        let policy = policy(ledger, Which::Batches)?;
        let follower = match Follower::open(folder, policy.clone()) {
            Err(FollowError::Busy { .. }) => Follower::open(None, policy),
            other => other,
        }?;
        let follower = if ledger.quorum > 0 { follower.with_max_age(ledger.max_age) } else { follower };
        let mut waiting = VecDeque::new();
        follower.replay(|_, entry| waiting.push_back(entry.to_vec()))?;
        let client = LogClient::new(http.clone(), &Which::Batches.url(cloud))?;
        Ok(Self { http: http.clone(), client, follower, view: LedgerView::new(domain), waiting, advanced: None })
    }

    /// What the log says, as far as it was read.
    #[must_use]
    pub fn view(&self) -> &LedgerView {
        &self.view
    }

    /// How long ago the log was read to its end; `None` if never.
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        self.advanced.map(|at| at.elapsed())
    }

    /// Reads the log to its end; its size.
    ///
    /// # Errors
    /// [`DomainLogError`]. What was read stays; to be repeated.
    pub async fn advance(&mut self, providers: &impl Providers) -> Result<u64, DomainLogError> {
        let waiting = &mut self.waiting;
        let followed = self.follower.advance(&self.client, now_ms() / 1000, |_, e| waiting.push_back(e.to_vec())).await;
        while let Some(entry) = self.waiting.front() {
            let checked = self.view.check(entry, providers)?;
            let ended = match checked.ended() {
                0 => Bytes::new(),
                _ => self.ended(self.view.size() + 1).await?,
            };
            self.view.add(checked, &ended)?;
            self.waiting.pop_front();
        }
        followed?;
        self.advanced = Some(Instant::now());
        Ok(self.view.size())
    }

    /// Reads the log until it has so many batches, for at most `patience`.
    ///
    /// # Errors
    /// [`DomainLogError`]; [`DomainLogError::Behind`] when it did not grow in time.
    pub async fn reach(
        &mut self,
        wanted: u64,
        providers: &impl Providers,
        patience: Duration,
    ) -> Result<(), DomainLogError> {
        let until = Instant::now() + patience;
        while self.view.size() < wanted {
            let result = self.advance(providers).await;
            let size = self.view.size();
            match result {
                _ if size >= wanted => break,
                // What is not there yet can still come: a first checkpoint, a cosignature.
                Err(e) if e.is_tampering() && !waits(&e) => return Err(e),
                Err(e) if Instant::now() > until => return Err(e),
                Ok(_) if Instant::now() > until => return Err(DomainLogError::Behind { size, wanted }),
                _ => tokio::time::sleep(PAUSE).await,
            }
        }
        Ok(())
    }

    async fn ended(&self, seq: u64) -> Result<Bytes, DomainLogError> {
        let url = format!("{}/ended/{seq}", self.client.url());
        let failed = |reason: String| DomainLogError::Ended { seq, reason };
        let request = Request::get(&url).body(Bytes::new()).map_err(|e| failed(e.to_string()))?;
        // Older versions, and losers of the batch itself.
        let most = 2 * 16 * limits::BATCH_RECORDS;
        let answer = self.http.send(request, most, TIMEOUT).await.map_err(|e: CallError| failed(e.to_string()))?;
        if !answer.status().is_success() {
            return Err(failed(format!("HTTP status {}", answer.status().as_u16())));
        }
        Ok(answer.into_body())
    }
}

/// Whether an error may pass: cosignatures that are late.
fn waits(e: &DomainLogError) -> bool {
    matches!(e, DomainLogError::Follow(FollowError::TooFewCosignatures { .. }))
}
