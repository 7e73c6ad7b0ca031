//! Witnesses: they cosign a log's checkpoint only if it extends what they have cosigned before
//! (C2SP tlog-witness), so that a log cannot show different histories to different people.
//!
//! Here is what happens between an HTTP request and its answer; serving HTTP is somebody else's.

mod files;
mod memory;
mod request;
mod state;

pub use files::WitnessFiles;
pub use memory::WitnessMemory;
pub use request::{AddCheckpoint, MAX_PROOF_LINES, MAX_REQUEST_BYTES, RequestError, SIZE_CONTENT_TYPE, parse_conflict};
pub use state::{StorageError, TreeHead, WitnessStorage};

use std::collections::BTreeMap;

use sealdex_crypto::log::{Hash, empty_root, verify_consistency};

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::note::{Algorithm, CosignerKey, NoteError, NoteSignature, VerifierKey};

/// Why a witness does not cosign. [`Self::status`] and [`Self::body`] are the HTTP answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A body of another form.
    #[error("the request cannot be read: {0}")]
    Request(#[from] RequestError),
    /// A note that is no checkpoint.
    #[error("the note is no checkpoint: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// A log this witness does not follow.
    #[error("this witness does not follow {origin}")]
    UnknownOrigin {
        /// Which log.
        origin: String,
    },
    /// No signature of the log, or a wrong one.
    #[error("the checkpoint: {0}")]
    Signature(NoteError),
    /// A consistency proof that would lead backwards.
    #[error("the old size {old} is above the checkpoint's {new}")]
    OldAboveNew {
        /// Entries before.
        old: u64,
        /// Entries of the checkpoint.
        new: u64,
    },
    /// A proof that does not begin at what this witness cosigned last.
    #[error("this witness has cosigned {size} entries last")]
    Conflict {
        /// Entries it has cosigned.
        size: u64,
    },
    /// Another root for the size this witness cosigned last: the log has forked.
    #[error("this witness has cosigned another root for {size} entries: the log has two histories")]
    Fork {
        /// Entries it has cosigned.
        size: u64,
    },
    /// A proof that does not lead from what was cosigned to the checkpoint.
    #[error("the proof does not lead from {old} entries to the checkpoint")]
    Proof {
        /// Entries before.
        old: u64,
    },
    /// A time no cosignature can have: the witness's clock is not set.
    #[error("cannot cosign: {0}")]
    Time(NoteError),
    /// Storage that failed; nothing was cosigned.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Refusal {
    /// The HTTP status tlog-witness has for it.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::Request(_) | Self::Checkpoint(_) | Self::OldAboveNew { .. } => 400,
            Self::Signature(_) => 403,
            Self::UnknownOrigin { .. } => 404,
            Self::Conflict { .. } | Self::Fork { .. } => 409,
            Self::Proof { .. } => 422,
            Self::Time(_) | Self::Storage(_) => 500,
        }
    }

    /// The HTTP body. With status 409 it is the size alone, of type [`SIZE_CONTENT_TYPE`].
    #[must_use]
    pub fn body(&self) -> String {
        match self {
            Self::Conflict { size } | Self::Fork { size } => format!("{size}\n"),
            // What failed on the witness's disk is not the log's business.
            Self::Storage(_) => "the witness's storage failed\n".into(),
            refusal => format!("{refusal}\n"),
        }
    }
}

/// Why a witness cannot follow a log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FollowError {
    /// An origin no checkpoint can have.
    #[error(transparent)]
    Origin(#[from] CheckpointError),
    /// A log without a key, or with one that is no log's.
    #[error("a log is followed by at least one key, all of signature type 0x01")]
    Keys,
}

/// A witness: its key, the logs it follows, and what it has cosigned of each.
pub struct Witness<S> {
    key: CosignerKey,
    logs: BTreeMap<String, Vec<VerifierKey>>,
    storage: S,
}

impl<S: WitnessStorage> Witness<S> {
    /// A witness that follows no log yet.
    #[must_use]
    pub fn new(key: CosignerKey, storage: S) -> Self {
        Self { key, logs: BTreeMap::new(), storage }
    }

    /// Follows a log from now on, by these keys in place of those it had.
    ///
    /// # Errors
    /// [`FollowError`].
    pub fn follow(&mut self, origin: impl Into<String>, keys: Vec<VerifierKey>) -> Result<(), FollowError> {
        let origin = origin.into();
        Checkpoint::new(origin.clone(), 0, empty_root())?;
        if keys.is_empty() || keys.iter().any(|key| key.algorithm() != Algorithm::Ed25519) {
            return Err(FollowError::Keys);
        }
        self.logs.insert(origin, keys);
        Ok(())
    }

    /// The witness's public key.
    #[must_use]
    pub fn verifier(&self) -> VerifierKey {
        self.key.verifier()
    }

    /// What was cosigned of a log last.
    ///
    /// # Errors
    /// [`StorageError`].
    pub fn latest(&self, origin: &str) -> Result<Option<TreeHead>, StorageError> {
        self.storage.latest(origin)
    }

    /// Answers the body of an `add-checkpoint` request at `time`, in seconds since 1970, with the
    /// line that is the body of the answer of status 200.
    ///
    /// # Errors
    /// [`Refusal`], in the order of tlog-witness, "add-checkpoint".
    pub fn add_checkpoint(&self, body: &[u8], time: u64) -> Result<String, Refusal> {
        let request = AddCheckpoint::parse(body)?;
        Ok(format!("{}\n", self.cosign(&request, time)?))
    }

    /// The same for a request that was read.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn cosign(&self, request: &AddCheckpoint, time: u64) -> Result<NoteSignature, Refusal> {
        let checkpoint = Checkpoint::parse(request.note().text())?;
        let origin = checkpoint.origin();
        let unknown = || Refusal::UnknownOrigin { origin: origin.into() };
        let keys = self.logs.get(origin).ok_or_else(unknown)?;
        request.note().verify(keys).map_err(Refusal::Signature)?;
        let (old, new) = (request.old_size(), checkpoint.size());
        if old > new {
            return Err(Refusal::OldAboveNew { old, new });
        }
        let latest = self.storage.latest(origin)?;
        let size = latest.as_ref().map_or(0, |head| head.size);
        if old != size {
            return Err(Refusal::Conflict { size });
        }
        let root = latest.as_ref().map_or_else(empty_root, |head| head.root);
        check_extends(old, &root, &checkpoint, request.proof())?;
        // Before the state is written: a time that cannot be signed must not move it.
        let signature = self.key.cosign(&checkpoint, time).map_err(Refusal::Time)?;
        let head = TreeHead { size: new, root: *checkpoint.root() };
        if self.storage.compare_and_set(origin, latest.as_ref(), &head)? {
            return Ok(signature);
        }
        // Another request was faster; its size is what the log has to begin at.
        let size = self.storage.latest(origin)?.map_or(0, |head| head.size);
        Err(Refusal::Conflict { size })
    }
}

/// Whether the checkpoint is the tree that was cosigned, or one that begins with it.
fn check_extends(old: u64, root: &Hash, checkpoint: &Checkpoint, proof: &[Hash]) -> Result<(), Refusal> {
    let (new, new_root) = (checkpoint.size(), checkpoint.root());
    if old == new && old > 0 && root != new_root {
        return Err(Refusal::Fork { size: old });
    }
    let extends = if old == 0 && new > 0 {
        // Every tree begins with the empty one; there is nothing to prove.
        proof.is_empty()
    } else {
        verify_consistency(old, root, new, new_root, proof).is_ok()
    };
    if extends { Ok(()) } else { Err(Refusal::Proof { old }) }
}
