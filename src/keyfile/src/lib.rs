//! Key files: text files that hold secrets under a passphrase, an unlock file or an unlock command.
//!
//! ```text
//! sealdex-key/v1 member
//! argon2id m=65536,t=3,p=1 salt=<32 hex digits>
//! <base64, 76 columns>
//! ```
//!
//! The body is AES-256-SIV (RFC 5297), with the two header lines as associated data: no line can be
//! changed unnoticed. The second line says where the 64-byte key comes from:
//!
//! | second line | key |
//! |---|---|
//! | `argon2id m=…,t=…,p=… salt=…` | Argon2id (RFC 9106) of a passphrase |
//! | `unlock-file id=… salt=…` | HKDF-SHA256 of the 32 bytes of an [`UnlockFile`]; `id` says of which |
//! | `unlock-command salt=… wrapped=<base64>` | HKDF-SHA256 of a random 32-byte data key, which an [`UnlockCommand`] wrapped |
//! | `plain` | none: in the clear, which only `sealdex demo` and tests write |
//!
//! Files are written beside their target, synced and renamed, readable by their owner only, and never
//! over an existing file unless told so.

pub mod command;
pub mod error;
#[cfg(feature = "options")]
pub mod options;
mod unlock;

use std::{
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

pub use command::{CommandError, UnlockCommand};
pub use error::{KeyFileError, Method};
pub use unlock::{Passphrase, Sealing, Unlock, UnlockFile};

/// First word of every key file.
pub const MAGIC: &str = "sealdex-key/v1";
const MAX_FILE: u64 = 256 << 20;

/// What a key file says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspected {
    /// Kind of the key.
    pub kind: String,
    /// How it is sealed.
    pub sealing: Sealing,
}

/// What a key file holds and how it is sealed, without opening it.
pub fn inspect(path: &Path) -> Result<Inspected, KeyFileError> {
    let text = load(path)?;
    let parts = Parts::of(path, &text)?;
    Ok(Inspected { kind: parts.kind.to_owned(), sealing: parts.sealing(path)? })
}

/// Reads and opens a key file of this kind.
pub fn read(path: &Path, kind: &str, unlock: Option<&Unlock>) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
    let text = load(path)?;
    let parts = Parts::of(path, &text)?;
    if parts.kind != kind {
        return Err(KeyFileError::WrongKind { path: path.into(), expected: kind.into(), actual: parts.kind.into() });
    }
    parts.open(path, unlock)
}

/// Writes a key file, sealed under `unlock`; in the clear when there is none.
pub fn write(path: &Path, kind: &str, secret: &[u8], unlock: Option<&Unlock>) -> Result<(), KeyFileError> {
    if path.exists() {
        return Err(KeyFileError::Exists(path.into()));
    }
    replace(path, kind, secret, unlock)
}

/// As [`write`], over what is there: for files that grow, such as wallets.
pub fn replace(path: &Path, kind: &str, secret: &[u8], unlock: Option<&Unlock>) -> Result<(), KeyFileError> {
    let text = sealed(path, kind, secret, unlock)?;
    store(path, text.as_bytes(), |_| Ok(()))
}

/// Changes how a key file is sealed, and nothing else. The file stays as it is until the new one, beside
/// it, has been opened and found to hold the same.
pub fn reseal(path: &Path, from: Option<&Unlock>, to: Option<&Unlock>) -> Result<(), KeyFileError> {
    // The file itself, not a link to it: the old one must not stay behind.
    let path = &fs::canonicalize(path).map_err(|e| KeyFileError::io(path, &e))?;
    let kind = inspect(path)?.kind;
    let secret = read(path, &kind, from)?;
    let text = sealed(path, &kind, &secret, to)?;
    store(path, text.as_bytes(), |beside| {
        let again = read(beside, &kind, to)?;
        if *again == *secret { Ok(()) } else { Err(KeyFileError::NotProven(path.into())) }
    })
}

/// The text of a key file.
fn sealed(path: &Path, kind: &str, secret: &[u8], unlock: Option<&Unlock>) -> Result<Zeroizing<String>, KeyFileError> {
    let (line, body) = match unlock {
        None => (Sealing::Plain.to_line(), Zeroizing::new(secret.to_vec())),
        Some(unlock) => {
            let (sealing, mut siv) = Sealing::new(unlock, path)?;
            let line = sealing.to_line();
            let refused = |_| KeyFileError::Refused { path: path.into(), method: unlock.method() };
            let body = siv.encrypt([header(kind, &line).as_bytes()], secret).map_err(refused)?;
            (line, Zeroizing::new(body))
        }
    };
    let packed = Zeroizing::new(STANDARD.encode(body.as_slice()));
    let mut text =
        Zeroizing::new(String::with_capacity(packed.len() + packed.len() / 76 + kind.len() + line.len() + 32));
    text.push_str(&header(kind, &line));
    text.push('\n');
    for line in packed.as_bytes().chunks(76) {
        text.push_str(std::str::from_utf8(line).unwrap_or_default());
        text.push('\n');
    }
    Ok(text)
}

fn header(kind: &str, sealing: &str) -> String {
    format!("{MAGIC} {kind}\n{sealing}")
}

struct Parts<'t> {
    kind: &'t str,
    line: &'t str,
    body: &'t str,
}

impl<'t> Parts<'t> {
    fn of(path: &Path, text: &'t str) -> Result<Self, KeyFileError> {
        let mut lines = text.splitn(3, '\n');
        let parts = (|| {
            let (magic, kind) = lines.next()?.trim_end().split_once(' ')?;
            let line = lines.next()?.trim_end();
            (magic == MAGIC).then_some(Self { kind, line, body: lines.next()? })
        })();
        parts.ok_or_else(|| KeyFileError::NotAKeyFile(path.into()))
    }

    fn sealing(&self, path: &Path) -> Result<Sealing, KeyFileError> {
        Sealing::parse(self.line).map_err(|word| match word {
            Some(word) => KeyFileError::UnknownSealing { path: path.into(), word },
            None => KeyFileError::NotAKeyFile(path.into()),
        })
    }

    fn open(&self, path: &Path, unlock: Option<&Unlock>) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
        let sealing = self.sealing(path)?;
        let packed: Zeroizing<String> = Zeroizing::new(self.body.split_whitespace().collect());
        let damaged = || KeyFileError::NotAKeyFile(path.into());
        let body = Zeroizing::new(STANDARD.decode(packed.as_bytes()).map_err(|_| damaged())?);
        let (Some(mut siv), Some(method)) = (sealing.cipher(unlock, path)?, sealing.method()) else { return Ok(body) };
        let refused = |_| KeyFileError::Refused { path: path.into(), method };
        siv.decrypt([header(self.kind, self.line).as_bytes()], &body).map(Zeroizing::new).map_err(refused)
    }
}

fn load(path: &Path) -> Result<Zeroizing<String>, KeyFileError> {
    let size = fs::metadata(path).map_err(|e| KeyFileError::io(path, &e))?.len();
    if size > MAX_FILE {
        return Err(KeyFileError::NotAKeyFile(path.into()));
    }
    let bytes = Zeroizing::new(fs::read(path).map_err(|e| KeyFileError::io(path, &e))?);
    std::str::from_utf8(&bytes)
        .map(|s| Zeroizing::new(s.to_owned()))
        .map_err(|_| KeyFileError::NotAKeyFile(path.into()))
}

/// A file that was not there, readable by its owner only.
fn new_file(path: &Path) -> io::Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Puts the bytes in place of `path` once they lie beside it, durably, and `prove` has accepted them there.
fn store(path: &Path, bytes: &[u8], prove: impl FnOnce(&Path) -> Result<(), KeyFileError>) -> Result<(), KeyFileError> {
    let failed = |e: io::Error| KeyFileError::io(path, &e);
    let dir = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(dir).map_err(failed)?;
    let beside = beside(dir, path);
    // What a process of this number, long dead, left behind.
    let _ = fs::remove_file(&beside);
    let put = || -> Result<(), KeyFileError> {
        let mut file = new_file(&beside).map_err(failed)?;
        file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed)?;
        prove(&beside)?;
        fs::rename(&beside, path).map_err(failed)
    };
    let done = put();
    if done.is_err() {
        let _ = fs::remove_file(&beside);
    }
    done?;
    fs::File::open(dir).and_then(|d| d.sync_all()).map_err(failed)
}

fn beside(dir: &Path, path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    dir.join(format!(".{name}.{}.new", std::process::id()))
}
