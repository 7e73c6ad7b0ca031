//! Bodies of `add-checkpoint` requests and answers.

use std::fmt;

use sealdex_crypto::log::Hash;

use crate::base64;
use crate::checkpoint::parse_decimal;
use crate::note::{MAX_NOTE_BYTES, Note, NoteError};

/// Hashes a consistency proof may have.
pub const MAX_PROOF_LINES: usize = 63;

/// Bytes a request may have: a server need not read on.
pub const MAX_REQUEST_BYTES: usize = 32 + MAX_PROOF_LINES * 45 + MAX_NOTE_BYTES;

/// Type of the body with status 409.
pub const SIZE_CONTENT_TYPE: &str = "text/x.tlog.size";

/// Why a body is no request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// More bytes than [`MAX_REQUEST_BYTES`].
    #[error("the request has {found} bytes, at most {MAX_REQUEST_BYTES} are read")]
    TooLong {
        /// Bytes there are.
        found: usize,
    },
    /// No empty line between a proof that is text and the checkpoint.
    #[error("no empty line ends the proof")]
    Unfinished,
    /// A first line that is not `old` and a size.
    #[error("the first line is not old and a decimal size")]
    OldSize,
    /// A line of the proof that is no hash.
    #[error("line {line} of the proof is not 32 bytes in base64")]
    ProofLine {
        /// Which, from 1.
        line: usize,
    },
    /// More hashes than [`MAX_PROOF_LINES`].
    #[error("the proof has more than {MAX_PROOF_LINES} hashes")]
    ProofLength,
    /// A checkpoint that is no note.
    #[error(transparent)]
    Note(#[from] NoteError),
}

/// A request to cosign a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddCheckpoint {
    old_size: u64,
    proof: Vec<Hash>,
    note: Note,
}

impl AddCheckpoint {
    /// A request: the size the witness has cosigned, the consistency proof from there, and the
    /// checkpoint with its signatures.
    ///
    /// # Errors
    /// [`RequestError::ProofLength`].
    pub fn new(old_size: u64, proof: Vec<Hash>, note: Note) -> Result<Self, RequestError> {
        if proof.len() > MAX_PROOF_LINES {
            return Err(RequestError::ProofLength);
        }
        Ok(Self { old_size, proof, note })
    }

    /// Reads a body.
    ///
    /// # Errors
    /// [`RequestError`] unless it follows tlog-witness, "add-checkpoint". That its note is a
    /// checkpoint is not checked here.
    pub fn parse(body: &[u8]) -> Result<Self, RequestError> {
        if body.len() > MAX_REQUEST_BYTES {
            return Err(RequestError::TooLong { found: body.len() });
        }
        let blank = body.windows(2).position(|pair| pair == b"\n\n").ok_or(RequestError::Unfinished)?;
        let (proof, note) = (&body[..blank], &body[blank + 2..]);
        let proof = std::str::from_utf8(proof).map_err(|_| RequestError::Unfinished)?;
        let mut lines = proof.split('\n');
        let old_size = lines.next().and_then(|line| parse_decimal(line.strip_prefix("old ")?));
        let old_size = old_size.ok_or(RequestError::OldSize)?;
        let mut hashes = Vec::new();
        for (i, line) in lines.enumerate() {
            hashes.push(base64::decode_hash(line).ok_or(RequestError::ProofLine { line: i + 1 })?);
        }
        Self::new(old_size, hashes, Note::parse(note)?)
    }

    /// Entries of the tree the proof begins at.
    #[must_use]
    pub fn old_size(&self) -> u64 {
        self.old_size
    }

    /// The consistency proof.
    #[must_use]
    pub fn proof(&self) -> &[Hash] {
        &self.proof
    }

    /// The checkpoint, not checked.
    #[must_use]
    pub fn note(&self) -> &Note {
        &self.note
    }

    /// The body as it is sent.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.to_string().into_bytes()
    }
}

impl fmt::Display for AddCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old_size)?;
        self.proof.iter().try_for_each(|hash| writeln!(f, "{}", base64::encode(hash)))?;
        write!(f, "\n{}", self.note)
    }
}

/// Reads the body of an answer with status 409: the size the witness has cosigned.
#[must_use]
pub fn parse_conflict(body: &[u8]) -> Option<u64> {
    parse_decimal(std::str::from_utf8(body).ok()?.strip_suffix('\n')?)
}
