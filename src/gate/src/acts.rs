//! The log of acts: what the gate did is sealed, signed, and handed to the cloud, which logs it.
//!
//! An act is kept for the log in the transaction that does it ([`crate::store::act_log`]). What is kept is sealed in order
//! and stored as entries, which are sent until the cloud has them. Each run begins by asking the cloud for this gate's last
//! entry, so nothing is sealed that would contradict what is logged, also after a restoration. A cloud that does not answer
//! holds up nothing but the log.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use sealdex_crypto::{PrincipalId, PublicIdentity, RowKey, log::leaf_hash};
use sealdex_ledger::{
    BadAct, SignedAct,
    act::{
        Reader,
        content::{Head, Sealer},
        row_key,
    },
};
use sealdex_wire::{
    acts::{Act, ActsTaken, PostActs},
    limits,
    roster::{Ledger, Server},
};
use tokio::task::JoinSet;

use crate::{
    cloud::CloudError,
    error::GateError,
    gate::{Gate, blocking},
    store::{ConsentStore, ReadActLog as _, ReadConsents as _, WriteActLog as _},
};

/// Pause between two looks at what waits.
const PAUSE: Duration = Duration::from_millis(100);
/// Pause after a round that found something: what comes meanwhile shares the transactions of the next one, and the
/// checkpoint and cosignatures at the cloud.
const PACE: Duration = Duration::from_secs(2);
/// Longest pause while the cloud does not answer.
const LONGEST: Duration = Duration::from_secs(30);
/// Acts sealed in one transaction.
const ACTS: usize = 64;
/// Entries that wait to be sent at most; acts wait as they are beyond that.
const ENTRIES: usize = 1024;
/// Keys of rows that are kept: 0.4 KB each, and 37 µs to make one anew.
const KEYS: usize = 131_072;
/// What waits longer is worth a warning.
const LATE: Duration = Duration::from_secs(60);

/// Why acts are not logged.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The cloud.
    #[error(transparent)]
    Cloud(#[from] CloudError),
    /// The store, or the gate is stopping.
    #[error(transparent)]
    Gate(#[from] GateError),
    /// What the cloud says is this gate's last entry is none.
    #[error("what the cloud says is this gate's last act in the log is not: {0}")]
    Entry(#[from] BadAct),
    /// Another entry of the same number, signed by this gate's key.
    #[error("the log has another act {0} of this gate, signed with its key: is a copy of this gate running?")]
    Other(u64),
    /// The cloud lacks what it has acknowledged.
    #[error(
        "the cloud's last act of this gate is {found}, it has acknowledged {acknowledged}: its store is an old one"
    )]
    Lost {
        /// It has.
        found: u64,
        /// It had.
        acknowledged: u64,
    },
}

/// What the task that logs acts remembers.
#[derive(Default)]
pub(crate) struct Logging {
    keys: Mutex<HashMap<Reader, RowKey>>,
    /// The cloud that has told this gate's last entry.
    level: Mutex<Option<PrincipalId>>,
    /// One round at a time.
    round: tokio::sync::Mutex<()>,
    /// Acts and entries that waited when the last round began.
    waiting: AtomicU64,
}

/// The task that logs acts; it ends when it is dropped.
pub(crate) struct KeepsLogging(JoinSet<()>);

impl KeepsLogging {
    /// Ends it, and waits until it has.
    pub(crate) async fn end(mut self) {
        self.0.shutdown().await;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<S: ConsentStore> Gate<S> {
    /// Starts logging acts, until what is returned is dropped.
    pub(crate) fn keep_logging(self: &Arc<Self>) -> KeepsLogging {
        let mut task = JoinSet::new();
        task.spawn(Self::log_on(Arc::downgrade(self)));
        KeepsLogging(task)
    }

    async fn log_on(gate: Weak<Self>) {
        let (mut pause, mut warned) = (PAUSE, Instant::now());
        loop {
            let Some(strong) = gate.upgrade() else { return };
            let done = strong.log_acts().await;
            pause = match done {
                Ok(true) if strong.logging.waiting.load(Ordering::Relaxed) >= ACTS as u64 => continue,
                Ok(true) => PACE,
                Ok(false) => PAUSE,
                Err(error) => {
                    metrics::counter!("sealdex_gate_log_failures_total").increment(1);
                    if warned.elapsed() >= LATE || !matches!(error, LoggingError::Cloud(_)) {
                        warned = Instant::now();
                        tracing::warn!(%error, "acts of this gate are not logged; they are kept, and sent later");
                    }
                    (pause * 2).min(LONGEST)
                }
            };
            drop(strong);
            tokio::time::sleep(pause).await;
        }
    }

    /// Seals what waits and sends what is sealed; whether there is more.
    ///
    /// # Errors
    /// [`LoggingError`]; to be repeated.
    pub async fn log_acts(self: &Arc<Self>) -> Result<bool, LoggingError> {
        let _one = self.logging.round.lock().await;
        let Ok(members) = self.members() else { return Ok(false) };
        let roster = members.roster();
        let (Some(ledger), Some(cloud)) = (roster.ledger.clone(), roster.clouds.first().cloned()) else {
            return Ok(false);
        };
        self.measure().await?;
        if *lock(&self.logging.level) != Some(cloud.id) {
            let taken = self.cloud.log_acts(&cloud, &PostActs::default()).await?;
            self.resume_logging(taken).await?;
            *lock(&self.logging.level) = Some(cloud.id);
        }
        let sealed = self.seal_acts(ledger).await?;
        let sent = self.send_acts(&cloud).await;
        if sent.is_err() {
            // What it has of it is asked for again.
            *lock(&self.logging.level) = None;
        }
        Ok(sent? || sealed)
    }

    /// How much waits, and since when.
    async fn measure(self: &Arc<Self>) -> Result<(), GateError> {
        let gate = self.clone();
        let (acts, entries, oldest) = blocking(move || {
            gate.store.read(|s| {
                let (acts, entries) = (s.acts_waiting()?, s.entries_waiting()?);
                let sent = s.entries_to_send(1)?.pop().and_then(|(_, e)| SignedAct::from_entry(&e).ok());
                let oldest = sent.map(|e| e.entry.at).or(s.acts_to_seal(1)?.pop().map(|a| a.entry.at));
                Ok::<_, GateError>((acts, entries, oldest))
            })
        })
        .await?;
        let late = oldest.map_or(0, |at| self.now().saturating_sub(at));
        self.logging.waiting.store(acts + entries, Ordering::Relaxed);
        metrics::gauge!("sealdex_gate_acts_waiting").set((acts + entries) as f64);
        metrics::gauge!("sealdex_gate_acts_late_seconds").set(late as f64 / 1000.0);
        Ok(())
    }

    /// Goes on after what the cloud has of this gate.
    async fn resume_logging(self: &Arc<Self>, taken: ActsTaken) -> Result<(), LoggingError> {
        let there = self.head_of(&taken)?;
        let gate = self.clone();
        let (head, first) = blocking(move || {
            gate.store.read(|s| Ok::<_, GateError>((s.act_head()?, s.entries_to_send(1)?.first().map(|(n, _)| *n))))
        })
        .await?;
        let acknowledged = first.map_or(head.number, |first| first - 1);
        if there.number == head.number && there.digest != head.digest {
            return Err(LoggingError::Other(head.number));
        }
        if there.number < acknowledged {
            return Err(LoggingError::Lost { found: there.number, acknowledged });
        }
        let gate = self.clone();
        blocking(move || {
            gate.store.write(|txn| {
                // This store was restored: what it did since is in the log, under its signature.
                if there.number > head.number {
                    txn.put_act_head(there)?;
                }
                txn.forget_sent(there.number).map_err(GateError::from)
            })
        })
        .await?;
        if there.number > head.number {
            tracing::warn!(
                known = head.number,
                logged = there.number,
                "the log has newer acts of this gate than its store"
            );
        }
        Ok(())
    }

    /// The gate's own last entry, as it is logged.
    fn head_of(&self, taken: &ActsTaken) -> Result<Head, LoggingError> {
        let Some(entry) = &taken.last else { return Ok(Head::default()) };
        let last = SignedAct::from_entry(entry)?;
        last.verify(self.secrets.domain(), &self.secrets.identity().public())?;
        Ok(Head { number: last.entry.number, digest: last.digest() })
    }

    /// Makes entries of what waits; whether there was something.
    async fn seal_acts(self: &Arc<Self>, ledger: Ledger) -> Result<bool, LoggingError> {
        let gate = self.clone();
        let sealed = blocking(move || {
            let (acts, before, owners) = gate.store.read(|s| {
                let room = if s.entries_waiting()? < ENTRIES as u64 { ACTS } else { 0 };
                let acts = s.acts_to_seal(room)?;
                let owners = gate.unknown_owners(&acts, |owner| Ok(s.profile(owner)?))?;
                Ok::<_, GateError>((acts, s.act_head()?, owners))
            })?;
            if acts.is_empty() {
                return Ok::<_, GateError>(false);
            }
            let (entries, head) = gate.entries_of(&acts, before, &ledger, &owners);
            // One round at a time, so nothing was sealed meanwhile.
            gate.store.write(|txn| txn.put_sealed(&acts, &entries, before, head).map_err(GateError::from))?;
            Ok(true)
        });
        Ok(sealed.await?)
    }

    /// Public keys of owners whose row keys are not kept.
    fn unknown_owners(
        &self,
        acts: &[Act],
        profile: impl Fn(
            PrincipalId,
        ) -> Result<Option<sealdex_wire::Signed<sealdex_wire::consent::OwnerProfile>>, GateError>,
    ) -> Result<HashMap<PrincipalId, PublicIdentity>, GateError> {
        let known = lock(&self.logging.keys);
        let mut found = HashMap::new();
        for owner in acts.iter().flat_map(|a| &a.rows).map(|r| r.owner) {
            if known.contains_key(&Reader::Owner(owner)) || found.contains_key(&owner) {
                continue;
            }
            let keys = profile(owner)?.and_then(|p| p.peek().ok()).and_then(|p| p.owner.identity().ok());
            if let Some(keys) = keys.filter(|k| k.id() == owner) {
                found.insert(owner, keys);
            }
        }
        Ok(found)
    }

    fn entries_of(
        &self,
        acts: &[Act],
        before: Head,
        ledger: &Ledger,
        owners: &HashMap<PrincipalId, PublicIdentity>,
    ) -> (Vec<Vec<u8>>, Head) {
        let authority = *self.secrets.authority();
        let named = ledger.auditors.iter().take(limits::AUDITORS).filter_map(|k| k.identity().ok());
        let mut auditors: Vec<PublicIdentity> = vec![authority];
        auditors.extend(named.filter(|a| *a != authority));
        auditors.dedup();
        let auditors: Vec<RowKey> = auditors.iter().map(|a| self.row_key(Reader::Auditor(a.id()), a)).collect();
        let (domain, gate) = (self.secrets.domain(), &**self.secrets.identity());
        let sealer = Sealer { domain, gate, auditors: &auditors };
        let mut key = |owner| {
            let kept = lock(&self.logging.keys).get(&Reader::Owner(owner)).cloned();
            kept.or_else(|| owners.get(&owner).map(|keys| self.row_key(Reader::Owner(owner), keys)))
        };
        let (mut entries, mut head) = (Vec::new(), before);
        for act in acts {
            for signed in sealer.entries(act, head, &mut key, &mut rand::rng()) {
                let entry = signed.to_entry();
                head = Head { number: signed.entry.number, digest: leaf_hash(&entry) };
                entries.push(entry);
            }
        }
        (entries, head)
    }

    /// The key of a reader's rows, kept once computed.
    fn row_key(&self, reader: Reader, keys: &PublicIdentity) -> RowKey {
        if let Some(key) = lock(&self.logging.keys).get(&reader) {
            return key.clone();
        }
        let own = self.secrets.identity();
        let key = row_key(self.secrets.domain(), own, keys, own.id(), reader);
        let mut kept = lock(&self.logging.keys);
        if kept.len() >= KEYS {
            kept.clear();
        }
        kept.insert(reader, key.clone());
        key
    }

    /// Sends the next entries; whether there were some.
    async fn send_acts(self: &Arc<Self>, cloud: &Server) -> Result<bool, LoggingError> {
        let gate = self.clone();
        let [most, most_bytes] = limits::ACT_ENTRIES;
        let waiting = blocking(move || gate.store.read(|s| s.entries_to_send(most))).await?;
        let Some((first, _)) = waiting.first() else { return Ok(false) };
        let (first, mut bytes, mut entries) = (*first, 0, Vec::new());
        for (_, entry) in waiting {
            bytes += entry.len();
            if bytes > most_bytes {
                break;
            }
            entries.push(entry.into());
        }
        let sent = first + entries.len() as u64 - 1;
        let taken = self.cloud.log_acts(cloud, &PostActs { entries }).await?;
        let there = self.head_of(&taken)?;
        let gate = self.clone();
        let head = blocking(move || {
            gate.store.write(|txn| {
                txn.forget_sent(there.number.min(sent))?;
                txn.act_head().map_err(GateError::from)
            })
        })
        .await?;
        if there.number > head.number || there.number == head.number && there.digest != head.digest {
            return Err(LoggingError::Other(there.number));
        }
        Ok(true)
    }
}
