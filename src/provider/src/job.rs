//! The job: five stages in order, overlapping.

use std::{
    collections::HashMap,
    io,
    path::PathBuf,
    sync::{
        Arc, RwLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use sealdex_crypto::PrincipalId;
use sealdex_fhir::{Input, Mapping, RawRecord, Source, SourceItem};
use sealdex_lognet::{DomainLog, domain::DomainLogError};
use sealdex_member::{GateLink, IndexKeys, MemberKeys, Trusted};
use sealdex_net::{CallError, Peer, trace::Stage};
use sealdex_wire::{
    ProblemType,
    ingest::{BatchReceipt, CloudStats},
};
use tokio::sync::{Mutex, mpsc};

use crate::{
    batch::{Bridged, Parsed, Prepared},
    erase::EraseReport,
    journal::{Journal, JournalError, State, Version},
    owners::{OwnerMap, Owners},
    prepare::{Outcome, Preparer},
    rejects::{Reject, RejectLog},
    stating::{Stating, StatingError},
};

/// Records in a run's first batch at most; each that follows may have twice as many as the one before, until it is
/// [`PushSettings::batch_records`]. All stages have something to do sooner.
const FIRST: usize = 1024;
/// How long the log is waited for.
const LOGGED: Duration = Duration::from_secs(10);

/// Bounds of a batch.
#[derive(Clone, Debug)]
pub struct PushSettings {
    /// Most records in a batch. More records share a capsule in bigger batches.
    pub batch_records: usize,
    /// Most bytes of records in a batch (a single larger record makes a batch of its own).
    pub batch_bytes: usize,
    /// Where rejects are written.
    pub rejects: Option<PathBuf>,
    /// Parse, index and seal, but send nothing and note nothing.
    pub dry_run: bool,
    /// Reject resources of FHIR types that do not have the structure of R4.
    pub validate: bool,
}

impl Default for PushSettings {
    fn default() -> Self {
        Self { batch_records: 8192, batch_bytes: 8 << 20, rejects: None, dry_run: false, validate: false }
    }
}

/// Counters others may watch while the job runs.
#[derive(Debug, Default)]
pub struct Progress {
    /// Bytes of the sources read.
    pub bytes_read: AtomicU64,
    /// Records the cloud has acknowledged in this run.
    pub pushed: AtomicU64,
    /// Records skipped because the cloud has this version.
    pub skipped: AtomicU64,
    /// Records refused on this side.
    pub rejected: AtomicU64,
}

/// What a run did.
#[derive(Clone, Debug, Default)]
pub struct PushReport {
    /// Records acknowledged by the cloud.
    pub pushed: u64,
    /// Of these, records that replaced an older version.
    pub replaced: u64,
    /// Of those pushed, records that name no patient, so that the provider owns them; directories aside.
    pub without_patient: u64,
    /// Records the cloud had already.
    pub skipped: u64,
    /// Records or lines refused.
    pub rejected: u64,
    /// The first rejects; the rejects file has all.
    pub first_rejects: Vec<Reject>,
    /// Files that hold no records, with the reason they were passed over.
    pub passed_over: Vec<(PathBuf, String)>,
    /// Batches sent.
    pub batches: u64,
    /// Bytes sent to the cloud.
    pub bytes_sent: u64,
    /// From the first byte read to the last acknowledgement.
    pub elapsed: Duration,
    /// Until the last batch was searchable, and in the log if there is one.
    pub searchable_after: Duration,
    /// Place of the last batch.
    pub last_seq: u64,
    /// Why the log was not seen to have the last batch, though nothing suggests that it will not.
    pub unlogged: Option<String>,
    /// What of patients' orders to erase was done at the end.
    pub erasure: EraseReport,
    /// Why the gate or the cloud did not let it be done now.
    pub unerased: Option<String>,
}

/// Why a run stopped. What the cloud acknowledged stays; run it again to go on.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// A server refused or does not answer.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The journal failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A source cannot be read.
    #[error("cannot read {path}: {reason}")]
    Source {
        /// File or folder.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The rejects file cannot be written.
    #[error("cannot write the rejects file: {0}")]
    Rejects(#[from] io::Error),
    /// The key file is of no use.
    #[error("the member key file holds an invalid token key")]
    Keys,
    /// The roster does not list this provider.
    #[error("the roster does not list this provider: ask the authority to enrol it, and fetch the new domain pack")]
    NotInRoster,
    /// The cloud's word on what this provider has stated is not believed.
    #[error(transparent)]
    Stating(#[from] StatingError),
    /// The log is not believed, or does not have what the cloud acknowledged.
    #[error(transparent)]
    Log(#[from] DomainLogError),
    /// The log's last statement of this provider is another.
    #[error("the log has statement {logged} of this provider as its last, and the cloud acknowledged {acknowledged}")]
    NotLogged {
        /// In the log.
        logged: u64,
        /// Acknowledged.
        acknowledged: u64,
    },
    /// The gate's answer does not fit what it was asked.
    #[error("the gate's answer does not fit the batch")]
    GateAnswer,
    /// A stage of the job died.
    #[error("the job stopped unexpectedly: {0}")]
    Died(String),
}

pub(crate) struct Job {
    pub(crate) preparer: Preparer,
    domain: String,
    pub(crate) gate: GateLink,
    pub(crate) cloud: Peer,
    pub(crate) gate_id: PrincipalId,
    pub(crate) journal: Arc<Journal>,
    /// In a domain with a log.
    pub(crate) stating: Option<Stating>,
    pub(crate) owners: Mutex<Owners>,
    rejects: std::sync::Mutex<RejectLog>,
    progress: Arc<Progress>,
    settings: PushSettings,
}

/// Everything a push needs.
pub struct PushInput<'a> {
    /// The provider's keys.
    pub keys: &'a MemberKeys,
    /// Verified roster and schema.
    pub trusted: &'a Trusted,
    /// Gate, called by this provider.
    pub gate: GateLink,
    /// Cloud, called by this provider.
    pub cloud: Peer,
    /// Patients of this hospital.
    pub owners: OwnerMap,
    /// Journal of this provider.
    pub journal: Journal,
    /// Files, folders, and files of a manifest.
    pub sources: Vec<Input>,
    /// CSV mapping.
    pub mapping: Option<Mapping>,
    /// The domain's log of batches, to see that what was pushed is in it.
    pub log: Option<DomainLog>,
    /// Bounds.
    pub settings: PushSettings,
    /// Watched by the caller.
    pub progress: Arc<Progress>,
}

/// Pushes everything in `sources` that the cloud does not have yet.
pub async fn push(input: PushInput<'_>) -> Result<PushReport, PushError> {
    let started = Instant::now();
    let PushInput { keys, trusted, gate, cloud, owners, journal, sources, mapping, mut log, settings, progress } =
        input;
    let job = Arc::new(Job::new(keys, trusted, gate, cloud, owners, journal, settings, progress)?);
    let mut report = job.clone().run(sources, mapping).await?;
    report.elapsed = started.elapsed();
    if report.pushed > 0 {
        job.await_searchable().await?;
        report.unlogged = job.await_logged(&mut log, trusted, report.last_seq).await?;
    }
    if !job.settings.dry_run {
        match job.erase_owed(&mut log, trusted).await {
            Ok(done) => report.erasure = done,
            // What was pushed is pushed.
            Err(PushError::Call(error)) => report.unerased = Some(error.to_string()),
            Err(PushError::Log(error)) if !error.is_tampering() => report.unerased = Some(error.to_string()),
            Err(other) => return Err(other),
        }
    }
    report.searchable_after = started.elapsed();
    let mut log = job.rejects.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    log.finish()?;
    report.rejected = log.count;
    report.first_rejects = std::mem::take(&mut log.first);
    report.skipped = job.progress.skipped.load(Relaxed);
    Ok(report)
}

type PassedOver = Vec<(PathBuf, String)>;

impl Job {
    #[allow(clippy::too_many_arguments)] // once, from the two places that have them as fields
    pub(crate) fn new(
        keys: &MemberKeys,
        trusted: &Trusted,
        gate: GateLink,
        cloud: Peer,
        owners: OwnerMap,
        journal: Journal,
        settings: PushSettings,
        progress: Arc<Progress>,
    ) -> Result<Self, PushError> {
        let id = keys.identity.id();
        let path = trusted.roster.line(id).ok_or(PushError::NotInRoster)?;
        let gate_id = trusted.roster.gates.first().ok_or(PushError::NotInRoster)?.id;
        let preparer = Preparer {
            domain: trusted.roster.domain.clone(),
            path,
            schema: trusted.schema.clone(),
            keys: IndexKeys::new(keys).ok_or(PushError::Keys)?,
            owner_map: RwLock::new(owners),
        };
        let rejects = std::sync::Mutex::new(RejectLog::new(settings.rejects.as_deref())?);
        let (domain, owners) = (trusted.roster.domain.clone(), Mutex::default());
        let (journal, stating) = (Arc::new(journal), Stating::new(trusted, keys.identity.clone())?);
        Ok(Self { preparer, domain, gate, cloud, gate_id, journal, stating, owners, rejects, progress, settings })
    }

    async fn run(self: Arc<Self>, sources: Vec<Input>, mapping: Option<Mapping>) -> Result<PushReport, PushError> {
        let (raw_out, raw_in) = mpsc::channel::<Vec<RawRecord>>(1);
        let (parsed_out, parsed_in) = mpsc::channel::<Vec<Parsed>>(1);
        let (ready_out, ready_in) = mpsc::channel::<Prepared>(1);
        let (bridged_out, bridged_in) = mpsc::channel::<Bridged>(1);
        let reading = {
            let job = self.clone();
            tokio::task::spawn_blocking(move || job.read(sources, mapping, &raw_out))
        };
        let parsing = tokio::spawn(self.clone().parse_all(raw_in, parsed_out));
        let preparing = tokio::spawn(self.clone().prepare_all(parsed_in, ready_out));
        let bridging = tokio::spawn(self.clone().bridge_all(ready_in, bridged_out));
        let uploading = tokio::spawn(self.clone().upload_all(bridged_in));
        // A failing stage closes its channels, which ends the others; the first error in flow order
        // after the upload's is the cause.
        let died = |e: tokio::task::JoinError| PushError::Died(e.to_string());
        let (read, parsed, prepared) = (reading.await, parsing.await, preparing.await);
        let (bridged, uploaded) = (bridging.await, uploading.await);
        let mut report = uploaded.map_err(died)??;
        bridged.map_err(died)??;
        prepared.map_err(died)??;
        parsed.map_err(died)??;
        report.passed_over = read.map_err(died)??;
        Ok(report)
    }

    /// Stage 1: reads raw records into chunks.
    fn read(
        &self,
        sources: Vec<Input>,
        mapping: Option<Mapping>,
        out: &mpsc::Sender<Vec<RawRecord>>,
    ) -> Result<PassedOver, PushError> {
        let mut passed_over = Vec::new();
        let (mut chunk, mut bytes, mut most) = (Vec::new(), 0, self.settings.batch_records.min(FIRST));
        for input in sources {
            let source = Source::of(&input, mapping.as_ref())
                .map_err(|e| PushError::Source { path: input.path().to_path_buf(), reason: e.to_string() })?;
            for item in source {
                match item {
                    SourceItem::Record(raw) => {
                        self.progress.bytes_read.fetch_add(raw.len() as u64, Relaxed);
                        bytes += raw.len();
                        chunk.push(raw);
                        if chunk.len() >= most || bytes >= self.settings.batch_bytes {
                            (bytes, most) = (0, (2 * most).min(self.settings.batch_records));
                            if out.blocking_send(std::mem::take(&mut chunk)).is_err() {
                                return Ok(passed_over); // a later stage failed and says why
                            }
                        }
                    }
                    SourceItem::Rejected(line) => {
                        self.reject(Reject {
                            file: line.file,
                            line: line.line,
                            record: None,
                            reason: line.reason.to_string(),
                        })?;
                    }
                    SourceItem::PassedOver { file, reason } => passed_over.push((file, reason)),
                }
            }
        }
        if !chunk.is_empty() {
            let _ = out.blocking_send(chunk);
        }
        Ok(passed_over)
    }

    fn reject(&self, reject: Reject) -> io::Result<()> {
        self.progress.rejected.fetch_add(1, Relaxed);
        self.rejects.lock().unwrap_or_else(std::sync::PoisonError::into_inner).add(reject)
    }

    /// Stage 2: parses, and drops what the cloud has.
    async fn parse_all(
        self: Arc<Self>,
        mut chunks: mpsc::Receiver<Vec<RawRecord>>,
        out: mpsc::Sender<Vec<Parsed>>,
    ) -> Result<(), PushError> {
        while let Some(chunk) = chunks.recv().await {
            let (job, stage) = (self.clone(), Stage::provider("parse"));
            let parsed = blocking(move || job.parse_new(chunk)).await??;
            drop(stage);
            if out.send(parsed).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Stage 3: looks owners up, indexes and seals.
    async fn prepare_all(
        self: Arc<Self>,
        mut chunks: mpsc::Receiver<Vec<Parsed>>,
        out: mpsc::Sender<Prepared>,
    ) -> Result<(), PushError> {
        while let Some(parsed) = chunks.recv().await {
            if let Some(prepared) = self.prepare_logged(parsed).await?
                && out.send(prepared).await.is_err()
            {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn prepare_logged(self: &Arc<Self>, parsed: Vec<Parsed>) -> Result<Option<Prepared>, PushError> {
        let stage = Stage::provider("prepare");
        let (prepared, rejects) = self.prepare(parsed).await?;
        drop(stage);
        for reject in rejects {
            self.reject(reject)?;
        }
        Ok(prepared)
    }

    /// A batch of what can be pushed, and what cannot.
    pub(crate) async fn prepare(
        self: &Arc<Self>,
        parsed: Vec<Parsed>,
    ) -> Result<(Option<Prepared>, Vec<Reject>), PushError> {
        let job = self.clone();
        let (parsed, owned) = blocking(move || {
            let owned = job.preparer.owners(&parsed);
            (parsed, owned)
        })
        .await?;
        let mut owners = std::mem::take(&mut *self.owners.lock().await);
        owners.fetch(&self.gate, &self.domain, owned.iter().flatten().copied()).await?;
        let job = self.clone();
        let (prepared, rejects, owners) = blocking(move || {
            let (prepared, rejects) = job.preparer.prepare(parsed, owned, &owners);
            (prepared, rejects, owners)
        })
        .await?;
        *self.owners.lock().await = owners;
        Ok(((!prepared.records.is_empty()).then_some(prepared), rejects))
    }

    /// Parses a chunk and keeps, of each record, the last version in it that the journal lacks.
    fn parse_new(&self, chunk: Vec<RawRecord>) -> Result<Vec<Parsed>, PushError> {
        let (mut versions, mut lacking) = (Vec::with_capacity(chunk.len()), Vec::with_capacity(chunk.len()));
        for outcome in self.preparer.parse(chunk, self.settings.validate, &self.journal)? {
            match outcome {
                Outcome::Rejected(reject) => self.reject(reject)?,
                Outcome::Known(version) => versions.push(version),
                Outcome::Lacking(parsed) => {
                    lacking.push((versions.len(), *parsed));
                    versions.push(lacking[lacking.len() - 1].1.source.version);
                }
            }
        }
        let begun: Vec<Version> = lacking.iter().map(|(_, p)| p.source.version).collect();
        let states = if self.settings.dry_run { self.journal.states(&begun)? } else { self.journal.begin(&begun)? };
        let last: HashMap<[u8; 16], usize> = versions.iter().enumerate().map(|(i, v)| (v.identity, i)).collect();
        let mut kept = Vec::with_capacity(lacking.len());
        for ((i, mut p), state) in lacking.into_iter().zip(states) {
            if last.get(&p.source.version.identity) == Some(&i) {
                p.source.replaces = state == State::Changed;
                kept.push(p);
            }
        }
        self.progress.skipped.fetch_add((versions.len() - kept.len()) as u64, Relaxed);
        Ok(kept)
    }

    /// Stage 4: the gate bridges.
    async fn bridge_all(
        self: Arc<Self>,
        mut batches: mpsc::Receiver<Prepared>,
        out: mpsc::Sender<Bridged>,
    ) -> Result<(), PushError> {
        while let Some(prepared) = batches.recv().await {
            if self.settings.dry_run {
                continue;
            }
            let stage = Stage::provider("bridge");
            let (bridged, rejects) = self.bridge(prepared).await?;
            drop(stage);
            for reject in rejects {
                self.reject(reject)?;
            }
            if let Some(bridged) = bridged
                && out.send(bridged).await.is_err()
            {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Has a batch bridged. When an owner's epoch has moved on since it was looked up, the batch is made
    /// anew, once; what can then no longer be pushed comes back.
    pub(crate) async fn bridge(
        self: &Arc<Self>,
        mut prepared: Prepared,
    ) -> Result<(Option<Bridged>, Vec<Reject>), PushError> {
        let mut rejects = Vec::new();
        let request = prepared.bridge_request();
        let (signer, answer) = match self.gate.bridge(self.gate_id, &request).await {
            Err(e) if e.problem_type() == Some(ProblemType::Conflict) => {
                self.owners.lock().await.clear();
                let job = self.clone();
                let parsed = blocking(move || prepared.parse_again(&job.preparer)).await?;
                let (again, late) = self.prepare(parsed).await?;
                rejects = late;
                let Some(again) = again else { return Ok((None, rejects)) };
                prepared = again;
                let request = prepared.bridge_request();
                self.gate.bridge(self.gate_id, &request).await?
            }
            other => other?,
        };
        let stated = self.stating.is_some();
        let bridged = blocking(move || prepared.upload(answer, signer, stated)).await?.ok_or(PushError::GateAnswer)?;
        Ok((Some(bridged), rejects))
    }

    /// Stage 5: the cloud stores, the journal notes.
    async fn upload_all(self: Arc<Self>, mut batches: mpsc::Receiver<Bridged>) -> Result<PushReport, PushError> {
        let mut report = PushReport::default();
        while let Some(bridged) = batches.recv().await {
            let count = bridged.versions.len() as u64;
            report.without_patient += bridged.without_patient;
            let stage = Stage::provider("upload");
            let (receipt, bytes) = self.upload(bridged).await?;
            drop(stage);
            report.bytes_sent += bytes;
            report.last_seq = report.last_seq.max(receipt.seq);
            report.pushed += count;
            report.replaced += u64::from(receipt.replaced);
            report.batches += 1;
            self.progress.pushed.fetch_add(count, Relaxed);
        }
        Ok(report)
    }

    /// Stores a batch at the cloud, durably, and notes it.
    pub(crate) async fn upload(self: &Arc<Self>, bridged: Bridged) -> Result<(BatchReceipt, u64), PushError> {
        if let Some(stating) = &self.stating {
            return stating.upload(bridged, &self.cloud, &self.journal).await;
        }
        let Bridged { upload, versions, .. } = bridged;
        let body: Bytes = blocking(move || upload.to_cbor()).await?.into();
        let bytes = body.len() as u64;
        let receipt: BatchReceipt = self.cloud.post_cbor_bytes("/v1/batches", body).await?;
        let job = self.clone();
        blocking(move || job.journal.record(&versions)).await??;
        Ok((receipt, bytes))
    }

    /// Waits until the log has the last batch, under a checkpoint that is believed, with this provider's last
    /// statement as it was acknowledged. Why not, if it is only late.
    pub(crate) async fn await_logged(
        &self,
        log: &mut Option<DomainLog>,
        trusted: &Trusted,
        seq: u64,
    ) -> Result<Option<String>, PushError> {
        let (Some(log), Some(stating)) = (log, &self.stating) else { return Ok(None) };
        match log.reach(seq, trusted, LOGGED).await {
            Err(e) if e.is_tampering() => return Err(e.into()),
            Err(e) => return Ok(Some(e.to_string())),
            Ok(()) => {}
        }
        let (logged, acknowledged) = (log.view().head(stating.me()).0, stating.number().await);
        if logged == acknowledged { Ok(None) } else { Err(PushError::NotLogged { logged, acknowledged }) }
    }

    /// Waits until everything accepted so far can be found.
    pub(crate) async fn await_searchable(&self) -> Result<(), PushError> {
        let accepted = self.cloud.get_json::<CloudStats>("/v1/stats").await?.accepted;
        while self.cloud.get_json::<CloudStats>("/v1/stats").await?.indexed < accepted {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }
}

pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, PushError> {
    sealdex_net::blocking(work).await.map_err(|e| PushError::Died(e.to_string()))
}
