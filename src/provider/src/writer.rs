//! Records pushed one by one, as they come up in a hospital's work.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    sync::{Arc, PoisonError},
    time::SystemTime,
};

use sealdex_fhir::Record;
use sealdex_lognet::DomainLog;
use sealdex_member::{GateLink, MemberKeys, Trusted};
use sealdex_net::Peer;
use tokio::sync::Mutex;

use crate::{
    batch::{Parsed, Read},
    delete::Removal,
    erase::EraseReport,
    job::{Job, Progress, PushError, PushSettings, blocking},
    journal::{Journal, State, Version},
    owners::{OwnerMap, OwnerMapError},
    rejects::Reject,
};

/// Everything a writer needs.
pub struct WriterInput<'a> {
    /// The provider's keys.
    pub keys: &'a MemberKeys,
    /// Verified roster and schema.
    pub trusted: &'a Trusted,
    /// Gate, called by this provider.
    pub gate: GateLink,
    /// Cloud, called by this provider.
    pub cloud: Peer,
    /// File of the patients of this hospital; read again when it changes.
    pub owners: PathBuf,
    /// Journal of this provider.
    pub journal: Journal,
    /// The domain's log of batches, which tells whether what the cloud says it has not was ended. Without it nothing that
    /// is to be erased counts as ended on the cloud's word.
    pub log: Option<DomainLog>,
}

/// What became of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// Durable at the cloud and searchable.
    Stored {
        /// An older version was there.
        replaced: bool,
    },
    /// The cloud had this very version.
    Unchanged,
    /// Refused; nothing of it was pushed.
    Rejected(Reject),
}

/// Why a writer could not be opened or could not write.
#[derive(Debug, thiserror::Error)]
pub enum WriterError {
    /// The push failed; run it again, nothing is doubled.
    #[error(transparent)]
    Push(#[from] PushError),
    /// The owner map cannot be used.
    #[error(transparent)]
    Owners(#[from] OwnerMapError),
}

/// A provider that pushes records as they come. It keeps the journal open, so no bulk push of the same
/// provider can run beside it.
pub struct Writer {
    job: Arc<Job>,
    owners: PathBuf,
    trusted: Trusted,
    /// When the owner map was last changed, as far as it was read. Held while writing: what one call has
    /// seen in the journal stays true until it has written.
    seen: Mutex<Option<SystemTime>>,
    log: Mutex<Option<DomainLog>>,
}

impl Writer {
    /// Opens a writer.
    pub fn open(input: WriterInput<'_>) -> Result<Self, WriterError> {
        let WriterInput { keys, trusted, gate, cloud, owners, journal, log } = input;
        let (settings, progress) = (PushSettings::default(), Arc::new(Progress::default()));
        let changed = modified(&owners);
        let map = OwnerMap::read(&owners)?;
        let job = Job::new(keys, trusted, gate, cloud, map, journal, settings, progress)?;
        let (seen, log) = (Mutex::new(changed), Mutex::new(log));
        Ok(Self { job: Arc::new(job), owners, trusted: trusted.clone(), seen, log })
    }

    /// Pushes records as one batch; what became of each, in order. Those that are stored are durable and
    /// searchable when this returns.
    pub async fn write(&self, records: Vec<Record>) -> Result<Vec<Written>, WriterError> {
        let mut seen = self.seen.lock().await;
        let changed = modified(&self.owners);
        if changed != *seen {
            let map = OwnerMap::read(&self.owners)?;
            *self.job.preparer.owner_map.write().unwrap_or_else(PoisonError::into_inner) = map;
            *seen = changed;
        }
        let reads: Vec<Read> = (1..).zip(records).map(|(line, record)| read(record, line)).collect();
        let versions: Vec<Version> = reads.iter().map(|r| r.version).collect();
        let job = self.job.clone();
        let states = blocking(move || job.journal.begin(&versions));
        let states = states.await?.map_err(PushError::from)?;
        let mut written: Vec<Written> = states
            .iter()
            .map(|s| match s {
                State::Known => Written::Unchanged,
                _ => Written::Stored { replaced: false },
            })
            .collect();
        let mut twice = HashSet::new();
        let mut todo = Vec::new();
        for (read, state) in reads.into_iter().zip(&states) {
            if !twice.insert(read.version.identity) {
                let (reason, line, file) = ("is in the request twice".to_owned(), read.line, read.file.to_path_buf());
                let reject = Reject { file, line, record: Some(read.record.identity()), reason };
                set(&mut written, line, Written::Rejected(reject));
            } else if *state != State::Known {
                todo.push((read, *state == State::Changed));
            }
        }
        let lines: HashMap<[u8; 16], u64> = todo.iter().map(|(r, _)| (r.version.identity, r.line)).collect();
        let (replaced, rejects) = self.push(todo).await?;
        for line in replaced.iter().filter_map(|identity| lines.get(identity)) {
            set(&mut written, *line, Written::Stored { replaced: true });
        }
        for reject in rejects {
            let line = reject.line;
            set(&mut written, line, Written::Rejected(reject));
        }
        if written.iter().any(|w| matches!(w, Written::Stored { .. })) {
            self.job.await_searchable().await?;
        }
        Ok(written)
    }

    /// Deletes one record, `Type/id`, of this hospital. It is gone and not found any more when this returns.
    ///
    /// # Errors
    /// [`WriterError`]; run it again.
    pub async fn delete(&self, identity: &str) -> Result<Removal, WriterError> {
        let _one = self.seen.lock().await;
        let (removals, _) = self.job.delete(&[identity.to_owned()]).await?;
        // Also where it was not there: an earlier call that was cut off may have deleted it a moment ago.
        self.job.await_searchable().await?;
        Ok(removals.first().copied().unwrap_or(Removal::Absent))
    }

    /// Ends what patients have ordered to be erased.
    ///
    /// # Errors
    /// [`WriterError`]; run it again.
    pub async fn erase(&self) -> Result<EraseReport, WriterError> {
        // Writes go on meanwhile: nothing that they rely on is changed, and the log may be waited for.
        let mut log = self.log.lock().await;
        Ok(self.job.erase_owed(&mut log, &self.trusted).await?)
    }

    /// Whether this hospital has deleted a record, as far as its journal knows, and not pushed it since.
    ///
    /// # Errors
    /// [`WriterError`].
    pub async fn deleted(&self, identity: &str) -> Result<bool, WriterError> {
        let (job, version) = (self.job.clone(), Version::of(identity, &[]));
        Ok(blocking(move || job.journal.is_deleted(&version)).await?.map_err(PushError::from)?)
    }

    async fn index(&self, todo: Vec<(Read, bool)>) -> Result<Vec<Parsed>, PushError> {
        let job = self.job.clone();
        blocking(move || todo.into_iter().map(|(read, replaces)| job.preparer.index(read, replaces)).collect()).await
    }

    /// Pushes what can be pushed; identities that replaced an older version, and what cannot be pushed. An owner may have admitted this hospital since
    /// its profile was fetched, so rejects are tried once more with what the gate has now.
    async fn push(&self, todo: Vec<(Read, bool)>) -> Result<(Vec<[u8; 16]>, Vec<Reject>), PushError> {
        let mut replaced = Vec::new();
        if todo.is_empty() {
            return Ok((replaced, Vec::new()));
        }
        let again: HashMap<u64, (Record, bool)> =
            todo.iter().map(|(r, replaces)| (r.line, (r.record.clone(), *replaces))).collect();
        let (prepared, mut rejects) = self.job.prepare(self.index(todo).await?).await?;
        let mut batches: Vec<_> = prepared.into_iter().collect();
        if !rejects.is_empty() {
            self.job.owners.lock().await.clear();
            let retried = rejects.iter().filter_map(|r| {
                let (record, replaces) = again.get(&r.line)?.clone();
                Some((read(record, r.line), replaces))
            });
            let retried = self.index(retried.collect()).await?;
            let (late, still) = self.job.prepare(retried).await?;
            batches.extend(late);
            rejects = still;
        }
        for batch in batches {
            let (bridged, late) = self.job.bridge(batch).await?;
            rejects.extend(late);
            if let Some(bridged) = bridged {
                let identities: Vec<[u8; 16]> = bridged.versions.iter().map(|v| v.identity).collect();
                let places = self.job.upload(bridged).await?.0.replacing;
                replaced.extend(places.iter().filter_map(|at| identities.get(*at as usize)));
            }
        }
        Ok((replaced, rejects))
    }
}

fn read(record: Record, line: u64) -> Read {
    let version = Version::of(&record.identity(), &record.bytes);
    Read { record, version, file: Path::new("request").into(), line }
}

fn set(written: &mut [Written], line: u64, what: Written) {
    if let Some(slot) = usize::try_from(line).ok().and_then(|l| written.get_mut(l.checked_sub(1)?)) {
        *slot = what;
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|m| m.modified()).ok()
}
