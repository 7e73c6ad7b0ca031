//! What the provider signs of its batches, for the log.

use std::sync::Arc;

use bytes::Bytes;
use sealdex_crypto::{Identity, PrincipalId, RecordId, Term, log::Hash};
use sealdex_ledger::{
    BatchStatement, BatchTrees, Providers, SignedBatch, ended_hash,
    versions::{Asked, Versions, VersionsError, VersionsRequest},
};
use sealdex_member::Trusted;
use sealdex_net::Peer;
use sealdex_wire::{
    ProblemType,
    ingest::{BatchReceipt, BatchUpload, Stated},
};
use tokio::sync::Mutex;

use crate::{
    batch::Bridged,
    delete::chosen,
    job::{PushError, blocking},
    journal::{Journal, Version},
};

/// Why the cloud's word on this provider's own statements is not believed.
#[derive(Debug, thiserror::Error)]
pub enum StatingError {
    /// A statement this provider has not signed.
    #[error("the cloud names as this provider's last statement what it has not signed")]
    NotMine,
    /// One that was acknowledged is gone.
    #[error(
        "the cloud hides this provider's newest batches: it acknowledged statement {acknowledged}, and now names {named} as the last"
    )]
    Hidden {
        /// Number of the last that was acknowledged.
        acknowledged: u64,
        /// Number of what it names.
        named: u64,
    },
    /// Another one under the same number.
    #[error("the cloud names another statement {0} of this provider than the one it acknowledged")]
    Differs(u64),
    /// Older versions that are none.
    #[error(transparent)]
    Versions(#[from] VersionsError),
}

/// A provider's last statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) number: u64,
    pub(crate) digest: Hash,
}

/// States the batches of one provider, one after the other.
pub(crate) struct Stating {
    domain: String,
    me: Arc<Identity>,
    hospital: PrincipalId,
    trusted: Trusted,
    known: Mutex<Known>,
}

/// What is known of what the cloud has.
#[derive(Default)]
struct Known {
    /// `None` until the cloud was asked.
    head: Option<Head>,
    /// It has had older versions of what was taken to be new: from then on it is asked before each batch.
    surprised: bool,
}

/// A batch that the cloud has acknowledged.
struct Sent {
    receipt: BatchReceipt,
    /// Its statement's place in the chain.
    head: Head,
    bytes: u64,
    /// Whether it had to be stated anew.
    anew: bool,
}

/// Times a batch is stated anew before the job gives up.
const ATTEMPTS: u32 = 4;

impl Stating {
    /// For a member of a domain with a log; `None` in one without.
    pub(crate) fn new(trusted: &Trusted, me: Arc<Identity>) -> Result<Option<Self>, PushError> {
        if trusted.roster.ledger.is_none() {
            return Ok(None);
        }
        let (_, hospital) = trusted.provider(me.id()).ok_or(PushError::NotInRoster)?;
        let (domain, trusted) = (trusted.roster.domain.clone(), trusted.clone());
        Ok(Some(Self { domain, me, hospital, trusted, known: Mutex::default() }))
    }

    /// Whose statements.
    pub(crate) fn me(&self) -> PrincipalId {
        self.me.id()
    }

    /// Number of the last statement that was acknowledged.
    pub(crate) async fn number(&self) -> u64 {
        self.known.lock().await.head.map_or(0, |h| h.number)
    }

    /// States a batch, stores it at the cloud, and notes both; the receipt, and the bytes it took.
    pub(crate) async fn upload(
        &self,
        bridged: Bridged,
        cloud: &Peer,
        journal: &Arc<Journal>,
    ) -> Result<(BatchReceipt, u64), PushError> {
        let Bridged { upload, trees, versions, replaces, .. } = bridged;
        let trees = trees.unwrap_or_else(|| BatchTrees::new(&upload.records));
        let mut known = self.known.lock().await;
        let origins = upload.records.iter().map(|r| r.index.origin).collect();
        let asked = Asked { origins, ..Asked::default() };
        let last = match known.head {
            Some(last) => last,
            None => self.ask(cloud, &Asked::default(), journal).await?.0,
        };
        // What the journal takes to be new replaces nothing. Should the journal be a new one, or another of the hospital
        // have pushed the same records, the cloud refuses, and says what it has when it is asked.
        let found = match last.number > 0 && (replaces || known.surprised) {
            true => self.ask(cloud, &asked, journal).await?,
            false => (last, Vec::new()),
        };
        let Sent { receipt, head, bytes, anew } = self.send(upload, &trees, &asked, found, cloud, journal).await?;
        let journal = journal.clone();
        blocking(move || journal.record_stated(&versions, head)).await??;
        *known = Known { head: Some(head), surprised: known.surprised || anew };
        Ok((receipt, bytes))
    }

    /// States and sends a batch of deletions, and notes both. `None` if there is nothing that it would delete.
    pub(crate) async fn delete(
        &self,
        upload: BatchUpload,
        cloud: &Peer,
        journal: &Arc<Journal>,
        versions: &[Version],
    ) -> Result<Option<BatchReceipt>, PushError> {
        let trees = BatchTrees::new(&[]);
        let mut known = self.known.lock().await;
        let origins = upload.deletes.as_chunks().0.iter().map(|origin| Term(*origin)).collect();
        let ids = upload.erases.as_chunks().0.iter().map(|id| RecordId(*id)).collect();
        let asked = Asked { origins, ids };
        let found = self.ask(cloud, &asked, journal).await?;
        if found.1.is_empty() {
            return Ok(None);
        }
        let Sent { receipt, head, .. } = self.send(upload, &trees, &asked, found, cloud, journal).await?;
        let (journal, gone) = (journal.clone(), chosen(versions, &receipt));
        blocking(move || journal.record_deleted(&gone, Some(head))).await??;
        known.head = Some(head);
        Ok(Some(receipt))
    }

    /// Signs and sends a batch, anew as often as the cloud has another state than it is taken to have.
    async fn send(
        &self,
        mut upload: BatchUpload,
        trees: &BatchTrees,
        asked: &Asked,
        (mut last, mut ended): (Head, Vec<u8>),
        cloud: &Peer,
        journal: &Arc<Journal>,
    ) -> Result<Sent, PushError> {
        let mut attempt = 1;
        loop {
            let signed = self.sign(&upload, trees, last, &ended);
            upload.stated = Some(Stated { entry: signed.to_entry(), ended });
            let body: Bytes;
            (upload, body) = blocking(move || {
                let body = upload.to_cbor().into();
                (upload, body)
            })
            .await?;
            let bytes = body.len() as u64;
            match cloud.post_cbor_bytes::<BatchReceipt>("/v1/batches", body).await {
                Ok(receipt) => {
                    let head = Head { number: signed.statement.number, digest: signed.digest() };
                    return Ok(Sent { receipt, head, bytes, anew: attempt > 1 });
                }
                Err(e) if e.problem_type() == Some(ProblemType::StateAnew) && attempt < ATTEMPTS => {
                    attempt += 1;
                    (last, ended) = self.ask(cloud, asked, journal).await?;
                }
                Err(e) => return Err(e.into()),
            }
        }
    }

    fn sign(&self, upload: &BatchUpload, trees: &BatchTrees, last: Head, ended: &[u8]) -> SignedBatch {
        let statement = BatchStatement {
            provider: self.me.id(),
            batch: upload.batch,
            number: last.number + 1,
            previous: last.digest,
            records: upload.records.len() as u32,
            records_root: trees.records_root(),
            pairs: trees.pairs.len() as u64,
            run_root: trees.run_root(),
            ended: (ended.len() / 16) as u32,
            ended_hash: ended_hash(ended),
        };
        statement.sign(&self.domain, &self.me, &mut rand::rng())
    }

    /// This provider's last statement, and which records a batch that names these ends. What the cloud says is
    /// checked: against what it acknowledged, and that every older version is one.
    async fn ask(&self, cloud: &Peer, asked: &Asked, journal: &Arc<Journal>) -> Result<(Head, Vec<u8>), PushError> {
        let request = VersionsRequest {
            origins: asked.origins.iter().flat_map(|o| o.0).collect(),
            ids: asked.ids.iter().flat_map(|id| id.0).collect(),
        };
        let answer: Versions = cloud.post_cbor("/v1/versions", &request).await?;
        let last = match &answer.last {
            None => Head { number: 0, digest: [0; 32] },
            Some(entry) => {
                let signed = SignedBatch::from_entry(entry).map_err(|_| StatingError::NotMine)?;
                signed.verify(&self.domain, &self.me.public()).map_err(|_| StatingError::NotMine)?;
                Head { number: signed.statement.number, digest: signed.digest() }
            }
        };
        let noted = {
            let journal = journal.clone();
            blocking(move || journal.stated()).await??
        };
        if let Some(acknowledged) = noted {
            if last.number < acknowledged.number {
                let (acknowledged, named) = (acknowledged.number, last.number);
                return Err(StatingError::Hidden { acknowledged, named }.into());
            }
            if last.number == acknowledged.number && last != acknowledged {
                return Err(StatingError::Differs(last.number).into());
            }
        }
        let ended = answer.verify(&self.domain, self.hospital, asked, &self.trusted).map_err(StatingError::from)?;
        Ok((last, ended))
    }
}
