//! Checking answers against the domain's log: that records are in it as their providers signed them, and that nothing
//! was left out.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sealdex_crypto::{PrincipalId, RecordId};
use sealdex_ledger::{AnswerProof, EntryError, RecordsProof, Tampered, Verdict, answer};
use sealdex_lognet::{DomainLog, domain::DomainLogError};
use sealdex_member::{GateLink, PackError, Trusted};
use sealdex_net::peer::Http;
use sealdex_wire::{
    codec,
    roster::Proofs,
    search::{CloudMatches, CloudSearch, Completeness, MatchGroup},
    sources::Sources,
};
use tokio::sync::{OwnedRwLockReadGuard, RwLock};

/// How old what was read of the log may be when a question is asked.
const CURRENT: Duration = Duration::from_secs(2);
/// How long the log may take to have a checkpoint for what was answered.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why an answer is not believed.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// It is not what the log has.
    #[error("the answer was tampered with: {0}")]
    Tampered(#[from] Tampered),
    /// The log is not believed, or cannot be read.
    #[error(transparent)]
    Log(#[from] DomainLogError),
    /// Who may write to the log could not be learnt.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// Records that came without proof.
    #[error("the cloud sent records without the proof that they are in the log")]
    NoProof,
    /// The gate did not say whether anything was left out.
    #[error("the gate does not say whether the answer is whole, though it was asked to have that proved")]
    Silent,
    /// The gate's pages do not hold what it released.
    #[error("the gate released record {0}, which is in none of the pages that it shows")]
    NotShown(RecordId),
    /// A worker died.
    #[error("checking stopped unexpectedly: {0}")]
    Died(String),
}

/// Who has checked that nothing was left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CheckedBy {
    /// The gate, which sees all matches; this member relies on it for what it may not read.
    #[default]
    Gate,
    /// This member itself.
    Member,
}

/// What was proved of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proved {
    /// Why completeness is not proved; each reason once. Proved without any.
    pub unproved: Vec<String>,
    /// Who has checked completeness.
    pub by: CheckedBy,
    /// Records proved to be in the log, as their providers signed them.
    pub records: u64,
    /// Batches in the log that the answer is whole for; the fewest of all pages.
    pub batches: u64,
    /// Pages of the cloud.
    pub pages: u64,
    /// Runs looked through.
    pub runs: u64,
    /// Index entries shown.
    pub pairs: u64,
    /// Bytes of proofs that nothing was left out.
    pub bytes: u64,
    /// Matches that the gate withheld, where this member has seen the proof.
    pub withheld: u64,
    /// Time this member spent checking.
    pub elapsed: Duration,
}

impl Proved {
    fn is_whole_for(&mut self, batches: u64) {
        self.batches = if self.batches == 0 { batches } else { self.batches.min(batches) };
    }
}

/// A member's own reading of the log.
pub(crate) struct Verifier {
    state: Arc<RwLock<State>>,
    by: CheckedBy,
}

struct State {
    log: DomainLog,
    trusted: Trusted,
    sources: Sources,
}

impl Verifier {
    /// For a domain with a log; `None` in one without.
    pub(crate) fn open(http: &Http, trusted: &Trusted, folder: Option<PathBuf>) -> Result<Option<Self>, VerifyError> {
        let (Some(ledger), Some(cloud)) = (&trusted.roster.ledger, trusted.roster.clouds.first()) else {
            return Ok(None);
        };
        let log = DomainLog::open(http, &trusted.roster.domain, ledger, &cloud.url, folder.as_deref())?;
        let by = match ledger.proofs {
            Proofs::Gate => CheckedBy::Gate,
            Proofs::Member => CheckedBy::Member,
        };
        let sources = Sources::of(&trusted.roster);
        let state = State { log, trusted: trusted.clone(), sources };
        Ok(Some(Self { state: Arc::new(RwLock::new(state)), by }))
    }

    /// Batches that the log is known to have before a question is asked.
    pub(crate) async fn known(&self, gate: &GateLink) -> Result<u64, VerifyError> {
        {
            let state = self.state.read().await;
            if state.log.age().is_some_and(|age| age < CURRENT) {
                return Ok(state.log.view().size());
            }
        }
        let mut state = self.state.write().await;
        if state.log.age().is_none_or(|age| age >= CURRENT) {
            let first = state.log.age().is_none();
            match state.advance(gate, None).await {
                // A log without a checkpoint has no batches yet, and nothing was answered from any.
                Err(VerifyError::Log(e)) if first && !e.is_tampering() => {}
                other => other?,
            }
        }
        Ok(state.log.view().size())
    }

    /// Checks what the gate and, where it is shown, the cloud say about completeness.
    pub(crate) async fn completeness(
        &self,
        gate: &GateLink,
        known: u64,
        found: Option<Completeness>,
        groups: &[MatchGroup],
        proved: &mut Proved,
    ) -> Result<(), VerifyError> {
        let started = Instant::now();
        let found = found.ok_or(VerifyError::Silent)?;
        proved.pages += u64::from(found.pages);
        proved.bytes += found.proof_bytes;
        proved.by = self.by;
        if let Some(reason) = found.unproved {
            if !proved.unproved.contains(&reason) {
                proved.unproved.push(reason);
            }
            return Ok(());
        }
        match self.by {
            CheckedBy::Gate => {
                if found.batches < known {
                    return Err(Tampered::Hidden { answered: found.batches, known }.into());
                }
                proved.is_whole_for(found.batches);
                proved.runs += found.runs;
                proved.pairs += found.pairs;
            }
            CheckedBy::Member => {
                if found.shown.len() != found.pages as usize {
                    return Err(VerifyError::Silent);
                }
                self.shown(gate, known, found, groups, proved).await?;
            }
        }
        proved.elapsed += started.elapsed();
        Ok(())
    }

    async fn shown(
        &self,
        gate: &GateLink,
        known: u64,
        found: Completeness,
        groups: &[MatchGroup],
        proved: &mut Proved,
    ) -> Result<(), VerifyError> {
        let mut matched = HashSet::new();
        for (asked, answered) in found.shown {
            let (verdict, ids) = self.shown_page(gate, known, asked, answered).await?;
            match verdict {
                Verdict::Complete(shown) => {
                    proved.is_whole_for(shown.size);
                    proved.runs += shown.runs;
                    proved.pairs += shown.pairs;
                }
                Verdict::Unproved(reason) => proved.unproved.push(reason),
            }
            matched.extend(ids);
        }
        let mut released = 0;
        for id in groups.iter().flat_map(|g| g.ids.as_chunks::<16>().0) {
            released += 1;
            if !matched.contains(&RecordId(*id)) {
                return Err(VerifyError::NotShown(RecordId(*id)));
            }
        }
        proved.withheld += (matched.len() as u64).saturating_sub(released);
        Ok(())
    }

    /// What a page's proof comes to, and the page's matches. Computed where it holds up neither this task nor what it
    /// waits for meanwhile.
    async fn shown_page(
        &self,
        gate: &GateLink,
        known: u64,
        asked: CloudSearch,
        answered: CloudMatches,
    ) -> Result<(Verdict, Vec<RecordId>), VerifyError> {
        let decode = move || {
            let bytes = answered.proof.as_ref().ok_or(VerifyError::Silent)?;
            let proof: AnswerProof = codec::from_cbor(bytes).map_err(|_| VerifyError::Silent)?;
            Ok::<_, VerifyError>((answered, proof))
        };
        let (answered, proof) = off(decode).await?;
        self.reach(gate, proof.size).await?;
        let state = self.state.clone().read_owned().await;
        off(move || {
            let other = |_| Tampered::OtherQuestion;
            let clause = state.sources.unfold(asked.clause.clone()).map_err(other)?;
            let asked = CloudSearch { clause, ..asked };
            let verdict = answer::verify(state.log.view(), known, &asked, &answered, &proof)?;
            Ok((verdict, answered.matches.iter().map(|m| m.0).collect()))
        })
        .await
    }

    /// The log, read as far as these proofs reach, to check fetched records against; `known` is what it was known to
    /// have before the question.
    pub(crate) async fn reaching(
        &self,
        gate: &GateLink,
        known: u64,
        proofs: &[RecordsProof],
    ) -> Result<Reached, VerifyError> {
        if let Some(newest) = proofs.iter().map(|p| p.seq).max() {
            self.reach(gate, newest).await?;
        }
        Ok(Reached { state: self.state.clone().read_owned().await, known })
    }

    async fn reach(&self, gate: &GateLink, size: u64) -> Result<(), VerifyError> {
        if self.state.read().await.log.view().size() < size {
            self.state.write().await.advance(gate, Some(size)).await?;
        }
        Ok(())
    }
}

/// A sealed record as it was fetched: its provider is the one that the gate named.
pub(crate) type SealedRecord = (RecordId, PrincipalId, Vec<u8>);

/// The log, as far as it was read.
pub(crate) struct Reached {
    state: OwnedRwLockReadGuard<State>,
    known: u64,
}

impl Reached {
    /// Checks fetched records: id, provider and sealed bytes of each.
    pub(crate) fn fetched(&self, records: &[SealedRecord], proofs: &[RecordsProof]) -> Result<(), VerifyError> {
        let given = records.iter().map(|(id, provider, sealed)| (*id, *provider, sealed.as_slice()));
        let view = self.state.log.view();
        answer::verify_fetched(view, given, proofs)?;
        // Also where completeness is not proved: what a later batch had replaced before the question is no answer.
        for proof in proofs {
            let hospital = view.batch(proof.seq).map(|b| b.hospital);
            let replaced = |id| hospital.is_some_and(|h| view.has_ended(id, h, self.known));
            if let Some(old) = proof.leaves.iter().find(|leaf| replaced(leaf.id)) {
                return Err(Tampered::Replaced(old.id).into());
            }
        }
        Ok(())
    }
}

/// Runs work that computes off this task.
async fn off<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, VerifyError> + Send + 'static,
) -> Result<T, VerifyError> {
    sealdex_net::blocking(work).await.map_err(|e| VerifyError::Died(e.to_string()))?
}

impl State {
    /// Reads the log on; whoever is new among the providers is learnt from the gate, by the authority's word.
    async fn advance(&mut self, gate: &GateLink, wanted: Option<u64>) -> Result<(), VerifyError> {
        match self.read(wanted).await {
            Err(DomainLogError::Entry(EntryError::Unknown { .. })) => {
                self.trusted.refresh(gate).await?;
                self.sources = Sources::of(&self.trusted.roster);
                Ok(self.read(wanted).await?)
            }
            other => Ok(other?),
        }
    }

    async fn read(&mut self, wanted: Option<u64>) -> Result<(), DomainLogError> {
        match wanted {
            Some(size) => self.log.reach(size, &self.trusted, PATIENCE).await,
            None => self.log.advance(&self.trusted).await.map(|_| ()),
        }
    }
}
