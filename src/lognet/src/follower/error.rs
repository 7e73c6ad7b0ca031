//! Why a follower does not believe a log.

use std::path::PathBuf;

use sealdex_tlog::{
    log::StorageError,
    note::{KeyName, NoteError},
    policy::PolicyError,
};

use crate::client::FetchError;

/// Why a follower could not be opened or did not advance.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FollowError {
    /// Something of the log could not be had.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// A checkpoint without the log's signature.
    #[error("{origin} has not signed the checkpoint that is served")]
    NotSigned {
        /// Which log should have.
        origin: String,
    },
    /// A signature of a known key that is wrong.
    #[error("the signature of {signer} on the checkpoint of {origin} is wrong: somebody has altered the checkpoint")]
    BadSignature {
        /// Which log.
        origin: String,
        /// Whose signature.
        signer: KeyName,
    },
    /// Fewer witnesses than the policy asks for.
    #[error(
        "{} of {} witnesses have cosigned the checkpoint of {origin}, which takes at least {quorum}; missing: {}",
        found.len(), found.len() + missing.len(), names(missing)
    )]
    TooFewCosignatures {
        /// Which log.
        origin: String,
        /// Who has.
        found: Vec<KeyName>,
        /// Who has not.
        missing: Vec<KeyName>,
        /// How many are needed; with groups it also matters which.
        quorum: usize,
    },
    /// A checkpoint that does not satisfy the policy for another reason.
    #[error("the checkpoint of the log is refused: {0}")]
    Refused(PolicyError),
    /// Witnesses that have cosigned too long ago.
    #[error("the checkpoint of {origin} was cosigned {age} seconds ago, at most {max_age} are accepted")]
    TooOld {
        /// Which log.
        origin: String,
        /// Seconds since a quorum has cosigned.
        age: u64,
        /// Seconds that are accepted.
        max_age: u64,
    },
    /// An age to be checked, and no witness whose time could be.
    #[error("the policy of {origin} needs no witness, so nobody says how old its checkpoint is: accept any age")]
    NoTime {
        /// Which log.
        origin: String,
    },
    /// A smaller checkpoint than one that was seen.
    #[error("an old checkpoint of {origin} was replayed: the log showed {seen} entries before and now {found}")]
    Replayed {
        /// Which log.
        origin: String,
        /// Entries it had.
        seen: u64,
        /// Entries it shows.
        found: u64,
    },
    /// Two checkpoints, both signed, of which neither extends the other. The log has two histories.
    #[error("{origin} has forked: its {found} entries do not begin with the {seen} it showed before{}", kept(evidence))]
    Fork {
        /// Which log.
        origin: String,
        /// Entries of the checkpoint that was seen before.
        seen: u64,
        /// Entries of the one that is served.
        found: u64,
        /// Both notes, as text.
        notes: Box<[String; 2]>,
        /// The file that has both, if there is a folder and it could be written.
        evidence: Option<PathBuf>,
    },
    /// Hash tiles that do not lead to the checkpoint's root.
    #[error("the tiles of {origin} do not lead to the root of its {size} entries: they are damaged or altered")]
    Tiles {
        /// Which log.
        origin: String,
        /// Entries of the checkpoint.
        size: u64,
    },
    /// Entries that do not lead to the checkpoint's root.
    #[error("entries {from} to {to} of {origin} do not lead to the root of its checkpoint: they are altered")]
    Entries {
        /// Which log.
        origin: String,
        /// The first that was fetched.
        from: u64,
        /// The one behind the last.
        to: u64,
    },
    /// A remembered checkpoint that is not this log's. It is not forgotten unasked.
    #[error("the checkpoint remembered in {folder} cannot be used ({error}): restore it, or remove it to forget it")]
    Remembered {
        /// Where.
        folder: PathBuf,
        /// Why.
        error: PolicyError,
    },
    /// The folder is another process's.
    #[error("another process follows the log in {folder}: stop it or use another folder")]
    Busy {
        /// Which.
        folder: PathBuf,
    },
    /// Storage that failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl FollowError {
    /// Why a policy does not accept a checkpoint.
    pub(super) fn of_policy(error: PolicyError, origin: &str, quorum: [Vec<KeyName>; 2]) -> Self {
        let origin = origin.to_owned();
        match error {
            PolicyError::NotSigned => Self::NotSigned { origin },
            PolicyError::Note(NoteError::BadSignature { name, .. }) => Self::BadSignature { origin, signer: name },
            PolicyError::NoQuorum { quorum: needed, .. } => {
                let [found, missing] = quorum;
                Self::TooFewCosignatures { origin, found, missing, quorum: needed }
            }
            other => Self::Refused(other),
        }
    }
}

fn names(names: &[KeyName]) -> String {
    names.iter().map(KeyName::as_str).collect::<Vec<_>>().join(", ")
}

fn kept(evidence: &Option<PathBuf>) -> String {
    let path = evidence.as_ref().map(|path| format!("; both checkpoints are kept in {}", path.display()));
    path.unwrap_or_default()
}
