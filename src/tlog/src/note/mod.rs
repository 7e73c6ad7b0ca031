//! Signed notes: text with signatures of named keys (C2SP signed-note), and timestamped
//! cosignatures of checkpoints (C2SP tlog-cosignature).
//!
//! What a note says counts only after [`Note::verify`], and for checkpoints of a log only after
//! [`crate::policy::Policy::verify`].

mod name;
mod signature;
mod signer;
mod verifier;

pub use name::{KeyId, KeyName};
pub use signature::NoteSignature;
pub use signer::{CosignerKey, LogKey};
pub use verifier::{Algorithm, VerifiedSignature, VerifierKey};

use std::fmt;

/// Bytes a note may have, signatures included.
pub const MAX_NOTE_BYTES: usize = 1_000_000;

/// Signatures a note may have. The specification asks for at least 16.
pub const MAX_SIGNATURES: usize = 100;

/// Why a key, a signature or a note was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// More bytes than [`MAX_NOTE_BYTES`].
    #[error("the note has {found} bytes, at most {MAX_NOTE_BYTES} are read")]
    TooLong {
        /// Bytes there are.
        found: usize,
    },
    /// Bytes that are no text.
    #[error("the note is not UTF-8")]
    NotUtf8,
    /// A control character that is no newline.
    #[error("the note's text has a control character")]
    ControlCharacter,
    /// Text to be signed that does not end in a newline.
    #[error("the note's text does not end in a newline")]
    UnfinishedText,
    /// No empty line followed by signatures, or the last of them has no newline.
    #[error("the note has no signatures: it must end in an empty line and one signature a line")]
    NoSignatures,
    /// More signatures than [`MAX_SIGNATURES`].
    #[error("the note has more than {MAX_SIGNATURES} signatures")]
    TooManySignatures,
    /// A line among the signatures that is none.
    #[error("signature line {line} is not an em dash, a key's name and a base64 signature")]
    SignatureLine {
        /// Which of them, from 1.
        line: usize,
    },
    /// A name no key can have.
    #[error("a key's name must not be empty nor hold spaces, control characters or +")]
    KeyName,
    /// Text that is no key.
    #[error("not a key: expected name+id+base64")]
    KeyText,
    /// A signature type that is not of the kind asked for.
    #[error("the key has signature type {found:#04x}, expected {expected}")]
    Algorithm {
        /// Which there is.
        found: u8,
        /// Which are accepted.
        expected: &'static str,
    },
    /// An id that belongs to another name, type or key.
    #[error("the key has id {expected}, its text says {found}: a digit or letter of it is wrong")]
    KeyIdMismatch {
        /// What the text says.
        found: KeyId,
        /// What the key has.
        expected: KeyId,
    },
    /// 32 bytes that are no public key, or one of so few elements that signatures are no proof.
    #[error("the 32 bytes are not a sound Ed25519 public key")]
    PublicKey,
    /// Two different keys that a signature line cannot tell apart.
    #[error("two known keys are both called {name}+{id}: remove one")]
    AmbiguousKey {
        /// Their name.
        name: KeyName,
        /// Their id.
        id: KeyId,
    },
    /// A known key's signature that is not of this note.
    #[error("the signature of {name}+{id} is not of this note")]
    BadSignature {
        /// Name of the key.
        name: KeyName,
        /// Id of the key.
        id: KeyId,
    },
    /// No signature of a known key at all.
    #[error("no known key has signed the note")]
    Unverified,
    /// A time no cosignature can have.
    #[error("{seconds} is not a time a cosignature can have: 1 to 2^63 - 1 seconds since 1970")]
    Time {
        /// What was given.
        seconds: u64,
    },
}

/// A text with at least one signature, none of them checked yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<NoteSignature>,
}

impl Note {
    /// A text with its first signature.
    ///
    /// # Errors
    /// [`NoteError`] if the text cannot be that of a note.
    pub fn new(text: impl Into<String>, signature: NoteSignature) -> Result<Self, NoteError> {
        let text = text.into();
        check_text(&text)?;
        Ok(Self { text, signatures: vec![signature] })
    }

    /// Reads a note. Exactly one sequence of bytes stands for each note.
    ///
    /// # Errors
    /// [`NoteError`] unless it follows signed-note, "Format", within this module's bounds.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > MAX_NOTE_BYTES {
            return Err(NoteError::TooLong { found: bytes.len() });
        }
        let note = std::str::from_utf8(bytes).map_err(|_| NoteError::NotUtf8)?;
        check_characters(note)?;
        // The text keeps its last newline; the one after it is the empty line.
        let blank = note.rfind("\n\n").ok_or(NoteError::NoSignatures)?;
        let (text, lines) = (&note[..=blank], &note[blank + 2..]);
        Ok(Self { text: text.into(), signatures: parse_lines(lines)? })
    }

    /// The text, with its last newline: what is signed.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signatures in their order, not checked.
    #[must_use]
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Adds a signature behind the others, in place of earlier ones of the same name and id.
    ///
    /// # Errors
    /// [`NoteError::TooManySignatures`].
    pub fn add(&mut self, signature: NoteSignature) -> Result<(), NoteError> {
        let same = |s: &NoteSignature| s.name() == signature.name() && s.id() == signature.id();
        if self.signatures.iter().filter(|s| !same(s)).count() >= MAX_SIGNATURES {
            return Err(NoteError::TooManySignatures);
        }
        self.signatures.retain(|s| !same(s));
        self.signatures.push(signature);
        Ok(())
    }

    /// Checks the signature of every known key and passes over those of unknown ones. The result
    /// has one for each line of a known key, in the note's order, so at least one.
    ///
    /// # Errors
    /// [`NoteError::Unverified`] if no known key has signed, [`NoteError::BadSignature`] if one
    /// signature of a known key is wrong, whatever the others are.
    pub fn verify(&self, known: &[VerifierKey]) -> Result<Vec<VerifiedSignature>, NoteError> {
        let mut verified = Vec::new();
        for signature in &self.signatures {
            let mut candidates = known.iter().filter(|key| key.matches(signature));
            let Some(key) = candidates.next() else { continue };
            if candidates.any(|other| other != key) {
                return Err(NoteError::AmbiguousKey { name: key.name().clone(), id: key.id() });
            }
            verified.push(key.verify(&self.text, signature)?);
        }
        if verified.is_empty() { Err(NoteError::Unverified) } else { Ok(verified) }
    }

    /// The note as it is stored and sent.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.to_string().into_bytes()
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|signature| writeln!(f, "{signature}"))
    }
}

/// Signature lines without the note they are of, as a witness returns them.
///
/// # Errors
/// [`NoteError`] unless there are 1 to [`MAX_SIGNATURES`], each with its newline.
pub fn parse_signature_lines(bytes: &[u8]) -> Result<Vec<NoteSignature>, NoteError> {
    if bytes.len() > MAX_NOTE_BYTES {
        return Err(NoteError::TooLong { found: bytes.len() });
    }
    let lines = std::str::from_utf8(bytes).map_err(|_| NoteError::NotUtf8)?;
    check_characters(lines)?;
    parse_lines(lines)
}

fn parse_lines(lines: &str) -> Result<Vec<NoteSignature>, NoteError> {
    let lines = lines.strip_suffix('\n').ok_or(NoteError::NoSignatures)?;
    if lines.bytes().filter(|b| *b == b'\n').count() >= MAX_SIGNATURES {
        return Err(NoteError::TooManySignatures);
    }
    let parse = |(i, line)| NoteSignature::parse(line).ok_or(NoteError::SignatureLine { line: i + 1 });
    lines.split('\n').enumerate().map(parse).collect()
}

/// Text that can be signed as a note.
pub(crate) fn check_text(text: &str) -> Result<(), NoteError> {
    if text.len() > MAX_NOTE_BYTES {
        return Err(NoteError::TooLong { found: text.len() });
    }
    check_characters(text)?;
    if text.ends_with('\n') { Ok(()) } else { Err(NoteError::UnfinishedText) }
}

fn check_characters(text: &str) -> Result<(), NoteError> {
    let control = text.bytes().any(|b| b < b' ' && b != b'\n');
    if control { Err(NoteError::ControlCharacter) } else { Ok(()) }
}
