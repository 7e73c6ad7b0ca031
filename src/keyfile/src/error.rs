//! Why a key file could not be read or written.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use crate::{MAGIC, command::CommandError};

/// Ways to seal a key file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// A passphrase.
    Passphrase,
    /// A file of random bytes.
    UnlockFile,
    /// A command that wraps and unwraps.
    UnlockCommand,
}

impl Method {
    /// How a person gives it.
    fn how(self) -> &'static str {
        match self {
            Self::Passphrase => {
                "give its passphrase (--passphrase-file FILE, SEALDEX_PASSPHRASE, or type it when asked)"
            }
            Self::UnlockFile => "give that file (--unlock-file PATH or SEALDEX_UNLOCK_FILE)",
            Self::UnlockCommand => "give that command (--unlock-command 'PROGRAM ARGS' or SEALDEX_UNLOCK_COMMAND)",
        }
    }

    fn wrong(self) -> &'static str {
        match self {
            Self::Passphrase => "wrong passphrase",
            Self::UnlockFile => "wrong unlock file",
            Self::UnlockCommand => "the unlock command returned another key",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Passphrase => "a passphrase",
            Self::UnlockFile => "an unlock file",
            Self::UnlockCommand => "an unlock command",
        })
    }
}

/// Why a key file could not be read or written.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum KeyFileError {
    /// The file system refused.
    #[error("{path}: {reason}")]
    Io {
        /// File.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Not a key file.
    #[error("{0} is not a Sealdex key file: it should begin with \"{MAGIC}\"")]
    NotAKeyFile(PathBuf),
    /// A key file of another kind.
    #[error("{path} holds a {actual} key; a {expected} key is needed here")]
    WrongKind {
        /// File.
        path: PathBuf,
        /// What was asked for.
        expected: String,
        /// What it is.
        actual: String,
    },
    /// A key file sealed in a way of its own.
    #[error("{path} is sealed in a way this program does not know (\"{word}\"): was it written by a newer one?")]
    UnknownSealing {
        /// File.
        path: PathBuf,
        /// First word of its second line.
        word: String,
    },
    /// It is sealed, and what opens it was not given.
    #[error("{path} is encrypted, under {needed}: {}{}", needed.how(), other(*given))]
    Needed {
        /// File.
        path: PathBuf,
        /// What opens it.
        needed: Method,
        /// What was given instead.
        given: Option<Method>,
    },
    /// It did not decrypt.
    #[error("{path}: {}, or the file was changed", method.wrong())]
    Refused {
        /// File.
        path: PathBuf,
        /// How it is sealed.
        method: Method,
    },
    /// Sealed under another unlock file.
    #[error("{path} is sealed under the unlock file with id {needed}; {unlock_file} has id {given}")]
    OtherUnlockFile {
        /// File.
        path: PathBuf,
        /// Id in its header.
        needed: String,
        /// What was given.
        unlock_file: PathBuf,
        /// Its id.
        given: String,
    },
    /// An unlock file that is none.
    #[error(
        "unlock file {path} holds {len} bytes where 32 random ones are needed: \
         `sealdex keyfile make-unlock-file PATH` makes one"
    )]
    UnlockFileLength {
        /// File.
        path: PathBuf,
        /// Bytes in it.
        len: u64,
    },
    /// The unlock command failed.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// It exists already.
    #[error("{0} exists already; keys are never overwritten: move it away first")]
    Exists(PathBuf),
    /// Sealed anew, the file does not open.
    #[error("{0} would not open again after this: nothing was changed")]
    NotProven(PathBuf),
    /// How to seal new files is not said, or said twice.
    #[error(
        "say how to seal new key files by one of --passphrase-file FILE, --unlock-file PATH and --unlock-command \
         'PROGRAM ARGS', or by one of SEALDEX_PASSPHRASE, SEALDEX_UNLOCK_FILE and SEALDEX_UNLOCK_COMMAND: {0}"
    )]
    HowToSeal(&'static str),
    /// A passphrase that is none, or not the same twice.
    #[error("{0}; nothing was written")]
    Typed(&'static str),
}

fn other(given: Option<Method>) -> String {
    given.map(|g| format!("; {g} was given, which does not open it")).unwrap_or_default()
}

impl KeyFileError {
    pub(crate) fn io(path: &Path, e: &io::Error) -> Self {
        Self::Io { path: path.into(), reason: e.to_string() }
    }
}
