//! Checking that the cloud left nothing out, page by page, against the log as this gate has read it.
//!
//! The gate checks, because it sees all matches anyway: a proof shows them all, also those that the caller may not
//! read. Where the roster has it so, the pages go to the caller too, who then need not believe the gate.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use sealdex_ledger::{AnswerProof, Tampered, Verdict, answer::verify};
use sealdex_lognet::{DomainLog, domain::DomainLogError};
use sealdex_wire::{
    codec,
    roster::{Ledger, Proofs, Server},
    search::{CloudMatches, CloudSearch, Completeness, Scoped},
};
use tokio::sync::RwLock;

use crate::{
    cloud::{Cloud, CloudError},
    error::GateError,
    gate::blocking,
    members::Members,
};

/// How old what was read of the log may be when a search begins.
const CURRENT: Duration = Duration::from_secs(1);
/// How long the log may take to have a checkpoint for what the cloud has answered.
const PATIENCE: Duration = Duration::from_secs(5);
/// Most bytes of proofs that are handed on to a member.
const HANDED_ON: u64 = 24 << 20;

/// Why an answer of the cloud is not used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ProofFault {
    /// It is not what the log has.
    #[error("the cloud's answer was tampered with: {0}")]
    Tampered(#[from] Tampered),
    /// The log is not believed, or cannot be read.
    #[error(transparent)]
    Log(#[from] DomainLogError),
    /// No proof, or none that reads.
    #[error("the cloud's answer comes without the proof that was asked for")]
    Missing,
    /// This gate has no way to follow logs.
    #[error("this gate cannot follow the domain's log")]
    NoLog,
}

impl ProofFault {
    pub(crate) fn is_tampering(&self) -> bool {
        match self {
            Self::Tampered(_) | Self::Missing => true,
            Self::Log(e) => e.is_tampering(),
            Self::NoLog => false,
        }
    }
}

/// The log that this gate follows.
#[derive(Default)]
pub(crate) struct Followed(Arc<RwLock<Option<(Ledger, Server, DomainLog)>>>);

impl Followed {
    /// Batches that the log is known to have, after it was read if that was a while ago.
    async fn known(&self, cloud: &dyn Cloud, members: &Members) -> Result<u64, GateError> {
        if let Some((_, _, log)) = self.0.read().await.as_ref().filter(|f| f.is_of(members))
            && log.age().is_some_and(|age| age < CURRENT)
        {
            return Ok(log.view().size());
        }
        let mut followed = self.0.write().await;
        if !followed.as_ref().is_some_and(|f| f.is_of(members)) {
            *followed = None; // its folder is free before it is opened again
            let (Some(ledger), Some(server)) = (&members.roster().ledger, members.cloud()) else {
                return Err(CloudError::None.into());
            };
            let log = cloud.log(server, ledger).ok_or(ProofFault::NoLog)?.map_err(ProofFault::from)?;
            *followed = Some((ledger.clone(), server.clone(), log));
        }
        match followed.as_mut() {
            Some((_, _, log)) if log.age().is_none_or(|age| age >= CURRENT) => {
                // A log without a checkpoint has no batches yet, and none was answered from.
                match log.advance(members).await {
                    Ok(size) => Ok(size),
                    Err(e) if e.is_tampering() || log.age().is_some() => Err(ProofFault::from(e).into()),
                    Err(_) => Ok(log.view().size()),
                }
            }
            Some((_, _, log)) => Ok(log.view().size()),
            None => Err(ProofFault::NoLog.into()),
        }
    }

    /// Checks a page against the log, which is read on if the answer is newer than what was read.
    async fn check(
        self: &Arc<Self>,
        members: &Members,
        known: u64,
        asked: CloudSearch,
        answered: Arc<CloudMatches>,
    ) -> Result<(Verdict, u64), GateError> {
        let bytes = answered.proof.as_ref().ok_or(ProofFault::Missing)?;
        let proof: AnswerProof = codec::from_cbor(bytes).map_err(|_| ProofFault::Missing)?;
        let length = bytes.len() as u64;
        if self.0.read().await.as_ref().is_some_and(|(_, _, log)| log.view().size() < proof.size)
            && let Some((_, _, log)) = self.0.write().await.as_mut()
        {
            log.reach(proof.size, members, PATIENCE).await.map_err(ProofFault::from)?;
        }
        let clause = members.sources().unfold(asked.clause.clone()).map_err(|_| ProofFault::Missing)?;
        let asked = CloudSearch { clause, ..asked };
        let log = self.0.clone().read_owned().await;
        let verdict = blocking(move || {
            let (_, _, log) = log.as_ref().ok_or(ProofFault::NoLog)?;
            Ok::<_, GateError>(verify(log.view(), known, &asked, &answered, &proof).map_err(ProofFault::from)?)
        })
        .await?;
        Ok((verdict, length))
    }
}

/// Whether a followed log is that of the roster in force.
trait IsOf {
    fn is_of(&self, members: &Members) -> bool;
}

impl IsOf for (Ledger, Server, DomainLog) {
    fn is_of(&self, members: &Members) -> bool {
        members.roster().ledger.as_ref() == Some(&self.0) && members.cloud() == Some(&self.1)
    }
}

/// The proof of one search, over all its pages.
pub(crate) struct Proving {
    followed: Arc<Followed>,
    known: u64,
    hand_on: bool,
    found: Mutex<Completeness>,
}

impl Proving {
    /// Before the cloud is asked anything: reads the log.
    pub(crate) async fn begin(
        followed: &Arc<Followed>,
        cloud: &dyn Cloud,
        members: &Members,
        for_member: bool,
    ) -> Result<Self, GateError> {
        let hand_on = for_member && members.roster().ledger.as_ref().is_some_and(|l| l.proofs == Proofs::Member);
        let known = followed.known(cloud, members).await?;
        let found = Mutex::new(Completeness { batches: u64::MAX, ..Completeness::default() });
        Ok(Self { followed: followed.clone(), known, hand_on, found })
    }

    /// Checks one page. Nothing of a page that fails is used.
    pub(crate) async fn page(
        &self,
        members: &Members,
        asked: &CloudSearch,
        answered: &Arc<CloudMatches>,
    ) -> Result<(), GateError> {
        if self.hand_on(asked, answered) {
            return Ok(());
        }
        let (verdict, bytes) = self.followed.check(members, self.known, asked.clone(), answered.clone()).await?;
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.pages += 1;
        found.proof_bytes += bytes;
        match verdict {
            Verdict::Complete(shown) => {
                found.batches = found.batches.min(shown.size);
                found.runs += shown.runs;
                found.pairs += shown.pairs;
            }
            Verdict::Unproved(reason) => found.unproved = Some(reason),
        }
        if self.hand_on && found.unproved.is_none() {
            let most = HANDED_ON >> 20;
            found.unproved = Some(format!("its proof has more than {most} MiB, which the gate does not hand on"));
        }
        Ok(())
    }

    /// Keeps a page for the member, who checks it: it need not be checked twice.
    fn hand_on(&self, asked: &CloudSearch, answered: &Arc<CloudMatches>) -> bool {
        let bytes = answered.proof.as_ref().map_or(0, |p| p.len() as u64);
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let room = self.hand_on && bytes > 0 && found.proof_bytes + bytes <= HANDED_ON && found.unproved.is_none();
        if room {
            found.pages += 1;
            found.proof_bytes += bytes;
            found.shown.push((asked.clone(), (**answered).clone()));
        }
        room
    }

    /// What it came to.
    pub(crate) fn end(self) -> Completeness {
        let mut found = self.found.into_inner().unwrap_or_else(PoisonError::into_inner);
        if found.pages == 0 {
            found.batches = self.known;
        }
        if found.unproved.is_some() {
            found.shown.clear();
        }
        found
    }
}

/// Terms and tags by the hospital in whose scope they are.
pub(crate) fn scoped(named: Vec<Scoped>) -> Vec<Scoped> {
    let mut by_hospital: std::collections::BTreeMap<_, Scoped> = std::collections::BTreeMap::new();
    for one in named {
        let all = by_hospital.entry(one.hospital).or_insert_with(|| Scoped {
            hospital: one.hospital,
            terms: Vec::new(),
            tags: Vec::new(),
        });
        all.terms.extend(one.terms);
        all.tags.extend(one.tags);
    }
    by_hospital.into_values().collect()
}
