//! How a log gets its checkpoint cosigned: it asks all witnesses at once.

use std::{
    fmt::Display,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, stream::FuturesUnordered};
use http::{Request, StatusCode};
use sealdex_crypto::log::Hash;
use sealdex_net::{CallError, exchange, peer::Http};
use sealdex_tlog::{
    checkpoint::{Checkpoint, CheckpointError},
    note::{Algorithm, KeyName, Note, NoteError, NoteSignature, VerifierKey, parse_signature_lines},
    witness::{AddCheckpoint, parse_conflict},
};
use tokio::time::{Instant, timeout_at};

/// How long the others are waited for once there is a quorum.
const GRACE: Duration = Duration::from_millis(50);

/// Bytes of an answer that are read.
const MAX_ANSWER: usize = 64 << 10;

/// Requests to one witness for one checkpoint: a first one, and those that begin where it says.
const ROUNDS: u32 = 3;

/// Why there is no cosignature of a witness.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotCosigned {
    /// No answer while it was waited for.
    #[error("it did not answer in time")]
    Late,
    /// No answer at all.
    #[error(transparent)]
    Call(#[from] CallError),
    /// Another answer than a cosignature.
    #[error("it refused with HTTP status {status}: {reason}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// The first line of what it said.
        reason: String,
    },
    /// A checkpoint smaller than one it has cosigned: the log was restored from an old copy, or somebody else has its
    /// key.
    #[error("it has cosigned {size} entries, the checkpoint has {found}")]
    Ahead {
        /// Entries it has cosigned.
        size: u64,
        /// Entries of the checkpoint.
        found: u64,
    },
    /// Another root for the same size: the log has two histories.
    #[error("it has cosigned another root for {size} entries: the log has forked")]
    Fork {
        /// Entries it has cosigned.
        size: u64,
    },
    /// It kept naming other sizes.
    #[error("it does not settle on a size it has cosigned")]
    Unsettled,
    /// A proof that could not be made.
    #[error("no consistency proof from {old} entries: {reason}")]
    Proof {
        /// Entries it has cosigned.
        old: u64,
        /// Why.
        reason: String,
    },
    /// An answer that is no cosignature of this witness over this checkpoint.
    #[error("its answer is no cosignature of the checkpoint: {0}")]
    Signature(NoteError),
}

/// Why nobody can be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CosignError {
    /// A witness's address.
    #[error(transparent)]
    Address(#[from] CallError),
    /// A key whose signatures are no cosignatures.
    #[error("the key of {name} is not a witness's: its signature type is not 0x04")]
    Key {
        /// Name of the key.
        name: KeyName,
    },
    /// A note that is no checkpoint.
    #[error("the note to be cosigned is no checkpoint: {0}")]
    Checkpoint(#[from] CheckpointError),
}

/// A checkpoint with what was gathered for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gathered {
    /// The checkpoint with the cosignatures, each of them verified.
    pub note: Note,
    /// Who has cosigned, in the order of their answers.
    pub cosigned: Vec<KeyName>,
    /// Who has not, and why.
    pub missing: Vec<(KeyName, NotCosigned)>,
}

/// The witnesses a log asks.
pub struct Cosigners {
    http: Http,
    witnesses: Vec<Known>,
}

/// A witness and what it cosigned last, as far as is known.
struct Known {
    key: VerifierKey,
    url: String,
    size: AtomicU64,
}

impl Cosigners {
    /// Witnesses by their keys and the addresses their `add-checkpoint` is below.
    ///
    /// # Errors
    /// [`CosignError::Address`] or [`CosignError::Key`].
    pub fn new(http: Http, witnesses: Vec<(VerifierKey, String)>) -> Result<Self, CosignError> {
        let known = |(key, url): (VerifierKey, String)| {
            if key.algorithm() != Algorithm::CosignatureV1 {
                return Err(CosignError::Key { name: key.name().clone() });
            }
            Ok(Known { key, url: exchange::usable(&url)?, size: AtomicU64::new(0) })
        };
        Ok(Self { http, witnesses: witnesses.into_iter().map(known).collect::<Result<_, _>>()? })
    }

    /// Asks all witnesses to cosign `head`, for at most `patience`; once `quorum` of them have, the others are waited
    /// for 50 ms more. `consistency` makes the proof between two sizes of the log. An unchanged checkpoint is cosigned
    /// again, with a fresh time.
    ///
    /// # Errors
    /// [`CosignError::Checkpoint`]. A witness that does not cosign is no error: see [`Gathered::missing`].
    pub async fn gather<E: Display>(
        &self,
        head: &Note,
        consistency: impl Fn(u64, u64) -> Result<Vec<Hash>, E>,
        quorum: usize,
        patience: Duration,
    ) -> Result<Gathered, CosignError> {
        let size = Checkpoint::parse(head.text())?.size();
        let mut deadline = Instant::now() + patience;
        let consistency = &consistency;
        let asked =
            self.witnesses.iter().enumerate().map(|(place, witness)| async move {
                (place, self.ask(witness, head, size, consistency, deadline).await)
            });
        let mut asked: FuturesUnordered<_> = asked.collect();
        let (mut note, mut cosigned, mut missing) = (head.clone(), Vec::new(), Vec::new());
        let mut answered = vec![false; self.witnesses.len()];
        let mut hurried = false;
        loop {
            if cosigned.len() >= quorum && !std::mem::replace(&mut hurried, true) {
                deadline = deadline.min(Instant::now() + GRACE);
            }
            let Ok(Some((place, answer))) = timeout_at(deadline, asked.next()).await else { break };
            answered[place] = true;
            let name = self.witnesses[place].key.name().clone();
            match answer.and_then(|signature| note.add(signature).map_err(NotCosigned::Signature)) {
                Ok(()) => cosigned.push(name),
                Err(why) => missing.push((name, why)),
            }
        }
        let late = self.witnesses.iter().zip(answered).filter(|(_, answered)| !answered);
        missing.extend(late.map(|(witness, _)| (witness.key.name().clone(), NotCosigned::Late)));
        Ok(Gathered { note, cosigned, missing })
    }

    /// Gets the cosignature of one witness, beginning where it says that it is.
    async fn ask<E: Display>(
        &self,
        witness: &Known,
        head: &Note,
        size: u64,
        consistency: &impl Fn(u64, u64) -> Result<Vec<Hash>, E>,
        deadline: Instant,
    ) -> Result<NoteSignature, NotCosigned> {
        let mut old = witness.size.load(Ordering::Relaxed).min(size);
        for _ in 0..ROUNDS {
            let proof = if old == 0 || old == size { Ok(Vec::new()) } else { consistency(old, size) };
            let proof = proof.map_err(|e| NotCosigned::Proof { old, reason: e.to_string() })?;
            let unfit = |e| NotCosigned::Proof { old, reason: format!("{e}") };
            let request = AddCheckpoint::new(old, proof, head.clone()).map_err(unfit)?;
            let (status, body) = self.post(witness, request.to_bytes(), deadline).await?;
            match status {
                StatusCode::OK => {
                    let signature = cosignature(witness, head, &body).map_err(NotCosigned::Signature)?;
                    witness.size.store(size, Ordering::Relaxed);
                    return Ok(signature);
                }
                StatusCode::CONFLICT => match parse_conflict(&body) {
                    Some(found) if found > size => return Err(NotCosigned::Ahead { size: found, found: size }),
                    Some(found) if found == old && old == size => return Err(NotCosigned::Fork { size }),
                    Some(found) => old = found,
                    None => return Err(refused(status, &body)),
                },
                _ => return Err(refused(status, &body)),
            }
        }
        Err(NotCosigned::Unsettled)
    }

    async fn post(&self, to: &Known, body: Vec<u8>, deadline: Instant) -> Result<(StatusCode, Bytes), NotCosigned> {
        let url = format!("{}/add-checkpoint", to.url);
        let request = Request::post(&url).body(body.into()).map_err(|_| CallError::Address(url))?;
        let left = deadline.saturating_duration_since(Instant::now());
        let answer = self.http.send(request, MAX_ANSWER, left).await?;
        Ok((answer.status(), answer.into_body()))
    }
}

/// The signature of this witness in an answer, checked.
fn cosignature(witness: &Known, head: &Note, body: &[u8]) -> Result<NoteSignature, NoteError> {
    let lines = parse_signature_lines(body)?;
    let signature = lines.into_iter().find(|line| witness.key.matches(line)).ok_or(NoteError::Unverified)?;
    witness.key.verify(head.text(), &signature)?;
    Ok(signature)
}

fn refused(status: StatusCode, body: &[u8]) -> NotCosigned {
    let text = String::from_utf8_lossy(body);
    let line = text.lines().next().unwrap_or_default();
    let reason = line.chars().filter(|c| !c.is_control()).take(200).collect();
    NotCosigned::Refused { status: status.as_u16(), reason }
}
