//! Which checkpoints a reader believes: signed by the log, and cosigned by enough witnesses that
//! so many of them would have to collude for readers to see different logs. A policy can be
//! written as a text file (C2SP tlog-policy).

mod quorum;
mod text;

pub use text::{MAX_POLICY_BYTES, PolicyTextError};

use self::quorum::Rule;
use sealdex_crypto::log::{Hash, LogError, empty_root, leaf_hash, verify_consistency, verify_inclusion};

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::note::{Algorithm, KeyName, Note, NoteError, VerifierKey};

/// Why a policy is none, or a checkpoint does not satisfy it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// A log's key of another signature type.
    #[error("the log's key {name} is not of signature type 0x01")]
    LogKey {
        /// Name of the key.
        name: KeyName,
    },
    /// A witness's key of another signature type.
    #[error("the witness's key {name} is not of signature type 0x04")]
    WitnessKey {
        /// Name of the key.
        name: KeyName,
    },
    /// A key that would count for two.
    #[error("{name} has a public key that is in the policy already: it would count twice")]
    SameKey {
        /// Name of the second.
        name: KeyName,
    },
    /// A quorum nobody can reach.
    #[error("{quorum} of {witnesses} witnesses cannot cosign")]
    Quorum {
        /// How many are needed.
        quorum: usize,
        /// How many there are.
        witnesses: usize,
    },
    /// A note that cannot be read or has a wrong signature of a known key.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// A note that is no checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A checkpoint of another log.
    #[error("the checkpoint is of {found}, expected {expected}")]
    Origin {
        /// Which log it is of.
        found: String,
        /// Which log the policy is for.
        expected: String,
    },
    /// A checkpoint without the log's signature.
    #[error("the log has not signed the checkpoint")]
    NotSigned,
    /// Fewer witnesses than the policy asks for.
    #[error("{found} witnesses have cosigned the checkpoint; that is no quorum, which takes at least {quorum}")]
    NoQuorum {
        /// How many have.
        found: usize,
        /// How many are needed; with groups it also matters which.
        quorum: usize,
    },
    /// An empty log with a root that is not that of the empty tree.
    #[error("the checkpoint has no entries and not the root of the empty tree")]
    EmptyRoot,
}

/// A witness that a policy names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witness {
    /// Its key.
    pub key: VerifierKey,
    /// Where it takes requests, if the policy says.
    pub url: Option<String>,
}

/// A log's key, its witnesses' keys, and which of them are needed: so many of all, or of groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    origin: String,
    log: VerifierKey,
    log_url: Option<String>,
    witnesses: Vec<Witness>,
    rule: Option<Rule>,
}

impl Policy {
    /// A policy for the log whose origin is its key's name. A quorum of 0 believes the log alone.
    ///
    /// # Errors
    /// [`PolicyError`] if a key cannot have its role, two are one, or the quorum is too large.
    pub fn new(log: VerifierKey, witnesses: Vec<VerifierKey>, quorum: usize) -> Result<Self, PolicyError> {
        if quorum > witnesses.len() {
            return Err(PolicyError::Quorum { quorum, witnesses: witnesses.len() });
        }
        let rule = Rule::count(quorum, witnesses.len());
        let witnesses = witnesses.into_iter().map(|key| Witness { key, url: None }).collect();
        Self::assemble(log, None, witnesses, rule)
    }

    fn assemble(
        log: VerifierKey,
        log_url: Option<String>,
        witnesses: Vec<Witness>,
        rule: Option<Rule>,
    ) -> Result<Self, PolicyError> {
        if log.algorithm() != Algorithm::Ed25519 {
            return Err(PolicyError::LogKey { name: log.name().clone() });
        }
        for (i, Witness { key, .. }) in witnesses.iter().enumerate() {
            let name = || key.name().clone();
            if key.algorithm() != Algorithm::CosignatureV1 {
                return Err(PolicyError::WitnessKey { name: name() });
            }
            let mut others = std::iter::once(&log).chain(witnesses[..i].iter().map(|w| &w.key));
            if others.any(|other| other.public_bytes() == key.public_bytes()) {
                return Err(PolicyError::SameKey { name: name() });
            }
        }
        Ok(Self { origin: log.name().as_str().into(), log, log_url, witnesses, rule })
    }

    /// The same for a log whose origin is not its key's name.
    ///
    /// # Errors
    /// [`PolicyError::Checkpoint`] for an origin no checkpoint can have.
    pub fn with_origin(mut self, origin: impl Into<String>) -> Result<Self, PolicyError> {
        let origin = origin.into();
        Checkpoint::new(origin.clone(), 0, empty_root())?;
        self.origin = origin;
        Ok(self)
    }

    /// Which log.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Where the log is, if the policy says.
    #[must_use]
    pub fn log_url(&self) -> Option<&str> {
        self.log_url.as_deref()
    }

    /// The witnesses the policy names.
    #[must_use]
    pub fn witnesses(&self) -> &[Witness] {
        &self.witnesses
    }

    /// How many witnesses are needed at least.
    #[must_use]
    pub fn quorum(&self) -> usize {
        self.rule.as_ref().map_or(0, Rule::least)
    }

    /// Reads and checks a signed checkpoint.
    ///
    /// # Errors
    /// [`PolicyError`].
    pub fn verify_bytes(&self, note: &[u8]) -> Result<VerifiedCheckpoint, PolicyError> {
        self.verify(&Note::parse(note)?)
    }

    /// Checks that a checkpoint is this log's, signed by it and cosigned by a quorum. A wrong
    /// signature of a known key is an error, however many others are right.
    ///
    /// # Errors
    /// [`PolicyError`].
    pub fn verify(&self, note: &Note) -> Result<VerifiedCheckpoint, PolicyError> {
        let witnesses = self.witnesses.iter().map(|witness| &witness.key);
        let known: Vec<_> = std::iter::once(&self.log).chain(witnesses).cloned().collect();
        let verified = match note.verify(&known) {
            Err(NoteError::Unverified) => return Err(PolicyError::NotSigned),
            verified => verified?,
        };
        if !verified.iter().any(|s| s.id() == self.log.id() && s.name() == self.log.name()) {
            return Err(PolicyError::NotSigned);
        }
        let checkpoint = Checkpoint::parse(note.text())?;
        if checkpoint.origin() != self.origin {
            let found = checkpoint.origin().into();
            return Err(PolicyError::Origin { found, expected: self.origin.clone() });
        }
        if checkpoint.size() == 0 && *checkpoint.root() != empty_root() {
            return Err(PolicyError::EmptyRoot);
        }
        let newest = |witness: &Witness| {
            let key = &witness.key;
            let lines = verified.iter().filter(|s| s.id() == key.id() && s.name() == key.name());
            lines.filter_map(|s| s.time()).max()
        };
        let times: Vec<_> = self.witnesses.iter().map(newest).collect();
        let cosignature = |(witness, time): (&Witness, &Option<u64>)| {
            time.map(|time| Cosignature { witness: witness.key.name().clone(), time })
        };
        let cosignatures: Vec<_> = self.witnesses.iter().zip(&times).filter_map(cosignature).collect();
        let no_quorum = || PolicyError::NoQuorum { found: cosignatures.len(), quorum: self.quorum() };
        let time = self.rule.as_ref().map(|rule| rule.time(&times).ok_or_else(no_quorum)).transpose()?;
        Ok(VerifiedCheckpoint { checkpoint, cosignatures, time })
    }
}

/// Who cosigned, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cosignature {
    /// Name of the witness's key.
    pub witness: KeyName,
    /// When, in seconds since 1970.
    pub time: u64,
}

/// A checkpoint that satisfies a policy; there is no other way to have one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedCheckpoint {
    checkpoint: Checkpoint,
    cosignatures: Vec<Cosignature>,
    time: Option<u64>,
}

impl VerifiedCheckpoint {
    /// What was signed.
    #[must_use]
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Every witness of the policy that has cosigned, each once.
    #[must_use]
    pub fn cosignatures(&self) -> &[Cosignature] {
        &self.cosignatures
    }

    /// The latest time at which a quorum says that the log was no larger, in seconds since 1970;
    /// `None` without witnesses. An old checkpoint served again shows here.
    #[must_use]
    pub fn time(&self) -> Option<u64> {
        self.time
    }

    /// Checks that an entry is in the log, at this place.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn verify_entry(&self, entry: &[u8], index: u64, proof: &[Hash]) -> Result<(), LogError> {
        verify_inclusion(&leaf_hash(entry), index, self.checkpoint.size(), proof, self.checkpoint.root())
    }

    /// Checks that the log has only grown since an older checkpoint of it.
    ///
    /// # Errors
    /// [`LogError`], also if it is another log. There is nothing to prove, and the proof must be
    /// empty, if the older one has no entries.
    pub fn verify_extends(&self, older: &Self, proof: &[Hash]) -> Result<(), LogError> {
        let (old, new) = (&older.checkpoint, &self.checkpoint);
        if old.origin() != new.origin() {
            return Err(LogError::RootMismatch);
        }
        match old.size() {
            0 if proof.is_empty() => Ok(()),
            0 => Err(LogError::ProofLength { expected: 0, found: proof.len() }),
            _ => verify_consistency(old.size(), old.root(), new.size(), new.root(), proof),
        }
    }
}
