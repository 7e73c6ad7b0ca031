//! What opens key files, and how a file's second line says so.

use std::{
    fmt, fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use aes_siv::{KeyInit as _, siv::Aes256Siv};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::{
    command::{MAX_WRAPPED, UnlockCommand},
    error::{KeyFileError, Method},
    new_file,
};

/// Argon2id memory, KiB: the second recommended option of RFC 9106, section 4.
const MEMORY_KIB: u32 = 64 * 1024;
const PASSES: u32 = 3;
const LANES: u32 = 1;
/// Bounds on what a file may ask of the reader.
const MAX_MEMORY_KIB: u32 = 1 << 20;
const MAX_PASSES: u32 = 16;
const MAX_LANES: u32 = 16;

/// HKDF's `info`: the key of a file, from the bytes of an unlock file.
const FILE_KEY: &[u8] = b"sealdex-key/v1 unlock-file";
/// HKDF's `info`: the id of an unlock file.
const FILE_ID: &[u8] = b"sealdex-key/v1 unlock-file id";
/// HKDF's `info`: the key of a file, from a data key that a command wraps.
const COMMAND_KEY: &[u8] = b"sealdex-key/v1 unlock-command";

/// A passphrase, wiped on drop.
pub struct Passphrase(Zeroizing<String>);

impl Passphrase {
    /// Takes over the text.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The first line of a file.
    pub fn from_file(path: &Path) -> Result<Self, KeyFileError> {
        let text = Zeroizing::new(fs::read_to_string(path).map_err(|e| KeyFileError::io(path, &e))?);
        Ok(Self::new(text.lines().next().unwrap_or_default().to_owned()))
    }
}

/// 32 random bytes from a file of their own. Wiped on drop.
pub struct UnlockFile {
    path: PathBuf,
    key: Zeroizing<[u8; 32]>,
}

impl UnlockFile {
    /// Reads them: the file holds nothing else.
    pub fn read(path: &Path) -> Result<Self, KeyFileError> {
        let failed = |e| KeyFileError::io(path, &e);
        let len = fs::metadata(path).map_err(failed)?.len();
        let wrong = |len| KeyFileError::UnlockFileLength { path: path.into(), len };
        if len != 32 {
            return Err(wrong(len));
        }
        let bytes = Zeroizing::new(fs::read(path).map_err(failed)?);
        let mut key = Zeroizing::new([0; 32]);
        if bytes.len() != key.len() {
            return Err(wrong(bytes.len() as u64));
        }
        key.copy_from_slice(&bytes);
        Ok(Self { path: path.into(), key })
    }

    /// Makes a new one, readable by its owner only. Never over an existing file.
    pub fn make(path: &Path) -> Result<Self, KeyFileError> {
        let mut key = Zeroizing::new([0; 32]);
        random(&mut *key, path)?;
        let failed = |e| KeyFileError::io(path, &e);
        let mut file = new_file(path).map_err(|e| match e.kind() {
            std::io::ErrorKind::AlreadyExists => KeyFileError::Exists(path.into()),
            _ => failed(e),
        })?;
        file.write_all(&*key).and_then(|()| file.sync_all()).map_err(failed)?;
        Ok(Self { path: path.into(), key })
    }

    /// By which key files name the file that opens them: says nothing about its bytes.
    pub fn id(&self) -> String {
        hex::encode(&expand::<8>(&*self.key, &[], FILE_ID)[..])
    }
}

/// What opens a key file.
pub enum Unlock {
    /// A passphrase.
    Passphrase(Passphrase),
    /// A file of random bytes.
    File(UnlockFile),
    /// A command that wraps and unwraps a random key.
    Command(UnlockCommand),
}

impl From<Passphrase> for Unlock {
    fn from(p: Passphrase) -> Self {
        Self::Passphrase(p)
    }
}

impl Unlock {
    /// Which way this is.
    pub fn method(&self) -> Method {
        match self {
            Self::Passphrase(_) => Method::Passphrase,
            Self::File(_) => Method::UnlockFile,
            Self::Command(_) => Method::UnlockCommand,
        }
    }
}

/// How a key file is sealed: its second line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sealing {
    /// Not at all.
    Plain,
    /// Under a passphrase, by Argon2id.
    Passphrase {
        /// Memory, KiB.
        memory_kib: u32,
        /// Passes.
        passes: u32,
        /// Lanes.
        lanes: u32,
        /// Salt.
        salt: [u8; 16],
    },
    /// Under a file of random bytes.
    UnlockFile {
        /// Its id, 16 hex digits.
        id: String,
        /// Salt.
        salt: [u8; 16],
    },
    /// Under a random key that a command wrapped.
    UnlockCommand {
        /// Salt.
        salt: [u8; 16],
        /// What the command returned.
        wrapped: Vec<u8>,
    },
}

impl fmt::Display for Sealing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain => f.write_str("not sealed: in the clear"),
            Self::Passphrase { memory_kib, passes, .. } => {
                write!(f, "sealed under a passphrase (Argon2id, {} MiB, {passes} passes)", memory_kib / 1024)
            }
            Self::UnlockFile { id, .. } => write!(f, "sealed under the unlock file with id {id}"),
            Self::UnlockCommand { wrapped, .. } => {
                write!(f, "sealed under an unlock command (wrapped key of {} bytes)", wrapped.len())
            }
        }
    }
}

impl Sealing {
    /// What opens it; `None` for a file in the clear.
    pub fn method(&self) -> Option<Method> {
        match self {
            Self::Plain => None,
            Self::Passphrase { .. } => Some(Method::Passphrase),
            Self::UnlockFile { .. } => Some(Method::UnlockFile),
            Self::UnlockCommand { .. } => Some(Method::UnlockCommand),
        }
    }

    pub(crate) fn to_line(&self) -> String {
        match self {
            Self::Plain => "plain".to_owned(),
            Self::Passphrase { memory_kib, passes, lanes, salt } => {
                format!("argon2id m={memory_kib},t={passes},p={lanes} salt={}", hex::encode(salt))
            }
            Self::UnlockFile { id, salt } => format!("unlock-file id={id} salt={}", hex::encode(salt)),
            Self::UnlockCommand { salt, wrapped } => {
                format!("unlock-command salt={} wrapped={}", hex::encode(salt), STANDARD.encode(wrapped))
            }
        }
    }

    /// Reads a second line; `Err` with its first word when that is none of ours, or with nothing.
    pub(crate) fn parse(line: &str) -> Result<Self, Option<String>> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let parsed = match word {
            "plain" => rest.is_empty().then_some(Self::Plain),
            "argon2id" => parse_argon2(rest),
            "unlock-file" => parse_unlock_file(rest),
            "unlock-command" => parse_unlock_command(rest),
            other => {
                let plain = !other.is_empty() && other.len() <= 40 && other.bytes().all(|b| b.is_ascii_graphic());
                return Err(plain.then(|| other.to_owned()));
            }
        };
        parsed.ok_or(None)
    }

    /// A new sealing under `unlock`, and the cipher it leads to.
    pub(crate) fn new(unlock: &Unlock, path: &Path) -> Result<(Self, Aes256Siv), KeyFileError> {
        let mut salt = [0; 16];
        random(&mut salt, path)?;
        match unlock {
            Unlock::Passphrase(passphrase) => {
                let (memory_kib, passes, lanes) = (MEMORY_KIB, PASSES, LANES);
                let cipher = argon2(passphrase, (memory_kib, passes, lanes), &salt);
                let refused = || KeyFileError::Refused { path: path.into(), method: Method::Passphrase };
                Ok((Self::Passphrase { memory_kib, passes, lanes, salt }, cipher.ok_or_else(refused)?))
            }
            Unlock::File(file) => Ok((Self::UnlockFile { id: file.id(), salt }, derived(&*file.key, &salt, FILE_KEY))),
            Unlock::Command(command) => {
                let mut key = Zeroizing::new([0; 32]);
                random(&mut *key, path)?;
                let wrapped = command.wrap(&key)?;
                Ok((Self::UnlockCommand { salt, wrapped }, derived(&*key, &salt, COMMAND_KEY)))
            }
        }
    }

    /// The cipher of a sealed file; `None` for one in the clear.
    pub(crate) fn cipher(&self, unlock: Option<&Unlock>, path: &Path) -> Result<Option<Aes256Siv>, KeyFileError> {
        let Some(needed) = self.method() else { return Ok(None) };
        let cipher = match (self, unlock) {
            (Self::Passphrase { memory_kib, passes, lanes, salt }, Some(Unlock::Passphrase(passphrase))) => {
                let refused = || KeyFileError::Refused { path: path.into(), method: needed };
                argon2(passphrase, (*memory_kib, *passes, *lanes), salt).ok_or_else(refused)?
            }
            (Self::UnlockFile { id, salt }, Some(Unlock::File(file))) => {
                let given = file.id();
                if given != *id {
                    let (needed, unlock_file) = (id.clone(), file.path.clone());
                    return Err(KeyFileError::OtherUnlockFile { path: path.into(), needed, unlock_file, given });
                }
                derived(&*file.key, salt, FILE_KEY)
            }
            (Self::UnlockCommand { salt, wrapped }, Some(Unlock::Command(command))) => {
                derived(&*command.unwrap(wrapped)?, salt, COMMAND_KEY)
            }
            (_, given) => {
                return Err(KeyFileError::Needed { path: path.into(), needed, given: given.map(Unlock::method) });
            }
        };
        Ok(Some(cipher))
    }
}

fn parse_argon2(rest: &str) -> Option<Sealing> {
    let (params, salt_text) = rest.split_once(" salt=")?;
    let mut values = params.split(',');
    let mut next = |name: &str| values.next()?.strip_prefix(name)?.parse::<u32>().ok();
    let (memory_kib, passes, lanes) = (next("m=")?, next("t=")?, next("p=")?);
    let bounded = memory_kib <= MAX_MEMORY_KIB && passes <= MAX_PASSES && lanes <= MAX_LANES;
    bounded.then_some(Sealing::Passphrase { memory_kib, passes, lanes, salt: salt(salt_text)? })
}

fn parse_unlock_file(rest: &str) -> Option<Sealing> {
    let (id, salt_text) = rest.strip_prefix("id=")?.split_once(" salt=")?;
    let fits = id.len() == 16 && id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    fits.then_some(Sealing::UnlockFile { id: id.to_owned(), salt: salt(salt_text)? })
}

fn parse_unlock_command(rest: &str) -> Option<Sealing> {
    let (salt_text, packed) = rest.strip_prefix("salt=")?.split_once(" wrapped=")?;
    let wrapped = STANDARD.decode(packed).ok()?;
    let fits = !wrapped.is_empty() && wrapped.len() <= MAX_WRAPPED;
    fits.then_some(Sealing::UnlockCommand { salt: salt(salt_text)?, wrapped })
}

fn salt(text: &str) -> Option<[u8; 16]> {
    let mut salt = [0; 16];
    hex::decode_to_slice(text, &mut salt).ok()?;
    Some(salt)
}

fn random(bytes: &mut [u8], path: &Path) -> Result<(), KeyFileError> {
    getrandom::fill(bytes).map_err(|e| KeyFileError::Io { path: path.into(), reason: e.to_string() })
}

fn expand<const N: usize>(key: &[u8], salt: &[u8], info: &[u8]) -> Zeroizing<[u8; N]> {
    const { assert!(N <= 255 * 32, "HKDF-SHA256 yields at most 8,160 bytes") };
    let mut okm = Zeroizing::new([0; N]);
    #[allow(clippy::expect_used)] // fails only beyond 8,160 bytes
    Hkdf::<Sha256>::new(Some(salt), key).expand(info, okm.as_mut_slice()).expect("short enough");
    okm
}

fn derived(key: &[u8], salt: &[u8], info: &[u8]) -> Aes256Siv {
    Aes256Siv::new((&*expand::<64>(key, salt, info)).into())
}

fn argon2(passphrase: &Passphrase, (m, t, p): (u32, u32, u32), salt: &[u8]) -> Option<Aes256Siv> {
    let params = argon2::Params::new(m, t, p, Some(64)).ok()?;
    let mut key = Zeroizing::new([0_u8; 64]);
    argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params)
        .hash_password_into(passphrase.0.as_bytes(), salt, key.as_mut_slice())
        .ok()?;
    Aes256Siv::new_from_slice(key.as_slice()).ok()
}
