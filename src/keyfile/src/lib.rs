//! Key files: text files that hold secrets under a passphrase.
//!
//! ```text
//! sealdex-key/v1 member
//! argon2id m=65536,t=3,p=1 salt=<32 hex digits>
//! <base64, 76 columns>
//! ```
//!
//! The body is AES-256-SIV (RFC 5297) under a 64-byte key from Argon2id (RFC 9106), with the two
//! header lines as associated data: no line can be changed unnoticed. `plain` instead of the second
//! line marks a file in the clear, which only `sealdex demo` and tests write.
//!
//! Files are written beside their target, synced and renamed, readable by their owner only, and never
//! over an existing file unless told so.

use std::{
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
};

use aes_siv::{KeyInit as _, siv::Aes256Siv};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

/// First word of every key file.
pub const MAGIC: &str = "sealdex-key/v1";
/// Argon2id memory, KiB: the second recommended option of RFC 9106, section 4.
const MEMORY_KIB: u32 = 64 * 1024;
const PASSES: u32 = 3;
const LANES: u32 = 1;
/// Bounds on what a file may ask of the reader.
const MAX_MEMORY_KIB: u32 = 1 << 20;
const MAX_PASSES: u32 = 16;
const MAX_FILE: u64 = 256 << 20;

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
    /// It is encrypted and no passphrase was given.
    #[error("{0} is encrypted: give its passphrase (--passphrase-file, SEALDEX_PASSPHRASE, or type it when asked)")]
    PassphraseNeeded(PathBuf),
    /// It did not decrypt.
    #[error("{0}: wrong passphrase, or the file was changed")]
    Refused(PathBuf),
    /// It exists already.
    #[error("{0} exists already; keys are never overwritten: move it away first")]
    Exists(PathBuf),
}

impl KeyFileError {
    fn io(path: &Path, e: &io::Error) -> Self {
        Self::Io { path: path.into(), reason: e.to_string() }
    }
}

/// Whether a file is encrypted, and of what kind, without decrypting it.
pub fn inspect(path: &Path) -> Result<(String, bool), KeyFileError> {
    let text = load(path)?;
    let parts = Parts::of(path, &text)?;
    Ok((parts.kind.to_owned(), parts.protection != "plain"))
}

/// Reads and decrypts a key file of this kind.
pub fn read(path: &Path, kind: &str, passphrase: Option<&Passphrase>) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
    let text = load(path)?;
    let parts = Parts::of(path, &text)?;
    if parts.kind != kind {
        return Err(KeyFileError::WrongKind { path: path.into(), expected: kind.into(), actual: parts.kind.into() });
    }
    let packed: Zeroizing<String> = Zeroizing::new(parts.body.split_whitespace().collect());
    let body = Zeroizing::new(STANDARD.decode(packed.as_bytes()).map_err(|_| KeyFileError::Refused(path.into()))?);
    if parts.protection == "plain" {
        return Ok(body);
    }
    let passphrase = passphrase.ok_or_else(|| KeyFileError::PassphraseNeeded(path.into()))?;
    let (params, salt) = parse_protection(parts.protection).ok_or_else(|| KeyFileError::NotAKeyFile(path.into()))?;
    let mut siv = cipher(passphrase, params, &salt).ok_or_else(|| KeyFileError::Refused(path.into()))?;
    let header = format!("{MAGIC} {kind}\n{}", parts.protection);
    siv.decrypt([header.as_bytes()], &body).map(Zeroizing::new).map_err(|_| KeyFileError::Refused(path.into()))
}

/// Writes a key file, encrypted under `passphrase`; in the clear when there is none.
pub fn write(path: &Path, kind: &str, secret: &[u8], passphrase: Option<&Passphrase>) -> Result<(), KeyFileError> {
    if path.exists() {
        return Err(KeyFileError::Exists(path.into()));
    }
    replace(path, kind, secret, passphrase)
}

/// As [`write`], over what is there: for files that grow, such as wallets.
pub fn replace(path: &Path, kind: &str, secret: &[u8], passphrase: Option<&Passphrase>) -> Result<(), KeyFileError> {
    let (protection, body) = match passphrase {
        None => ("plain".to_owned(), Zeroizing::new(secret.to_vec())),
        Some(passphrase) => {
            let mut salt = [0; 16];
            getrandom::fill(&mut salt).map_err(|e| KeyFileError::Io { path: path.into(), reason: e.to_string() })?;
            let params = (MEMORY_KIB, PASSES, LANES);
            let protection = format!("argon2id m={MEMORY_KIB},t={PASSES},p={LANES} salt={}", hex::encode(salt));
            let header = format!("{MAGIC} {kind}\n{protection}");
            let sealed = cipher(passphrase, params, &salt)
                .and_then(|mut siv| siv.encrypt([header.as_bytes()], secret).ok())
                .ok_or_else(|| KeyFileError::Refused(path.into()))?;
            (protection, Zeroizing::new(sealed))
        }
    };
    let mut text = Zeroizing::new(format!("{MAGIC} {kind}\n{protection}\n"));
    let packed = Zeroizing::new(STANDARD.encode(body.as_slice()));
    for line in packed.as_bytes().chunks(76) {
        text.push_str(std::str::from_utf8(line).unwrap_or_default());
        text.push('\n');
    }
    store(path, text.as_bytes()).map_err(|e| KeyFileError::io(path, &e))
}

struct Parts<'t> {
    kind: &'t str,
    protection: &'t str,
    body: &'t str,
}

impl<'t> Parts<'t> {
    fn of(path: &Path, text: &'t str) -> Result<Self, KeyFileError> {
        let mut lines = text.splitn(3, '\n');
        let parts = (|| {
            let (magic, kind) = lines.next()?.trim_end().split_once(' ')?;
            let protection = lines.next()?.trim_end();
            (magic == MAGIC).then_some(Self { kind, protection, body: lines.next()? })
        })();
        parts.ok_or_else(|| KeyFileError::NotAKeyFile(path.into()))
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

fn parse_protection(line: &str) -> Option<((u32, u32, u32), [u8; 16])> {
    let (params, salt_text) = line.strip_prefix("argon2id ")?.split_once(" salt=")?;
    let mut values = params.split(',');
    let mut next = |name: &str| values.next()?.strip_prefix(name)?.parse::<u32>().ok();
    let params = (next("m=")?, next("t=")?, next("p=")?);
    let mut salt = [0; 16];
    hex::decode_to_slice(salt_text, &mut salt).ok()?;
    (params.0 <= MAX_MEMORY_KIB && params.1 <= MAX_PASSES && params.2 <= 16).then_some((params, salt))
}

fn cipher(passphrase: &Passphrase, (m, t, p): (u32, u32, u32), salt: &[u8]) -> Option<Aes256Siv> {
    let params = argon2::Params::new(m, t, p, Some(64)).ok()?;
    let mut key = Zeroizing::new([0_u8; 64]);
    argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params)
        .hash_password_into(passphrase.0.as_bytes(), salt, key.as_mut_slice())
        .ok()?;
    Aes256Siv::new_from_slice(key.as_slice()).ok()
}

fn store(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(dir)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let beside = dir.join(format!(".{name}.{}.new", std::process::id()));
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn pass(s: &str) -> Passphrase {
        Passphrase::new(s.into())
    }

    #[test]
    fn only_the_right_passphrase_and_kind_open_an_untouched_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.key");
        write(&path, "member", b"secret bytes", Some(&pass("correct horse"))).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("sealdex-key/v1 member\nargon2id "));
        assert!(!text.contains("secret"));
        assert_eq!(read(&path, "member", Some(&pass("correct horse"))).unwrap().as_slice(), b"secret bytes");
        assert_eq!(read(&path, "member", Some(&pass("wrong"))), Err(KeyFileError::Refused(path.clone())));
        assert_eq!(read(&path, "member", None), Err(KeyFileError::PassphraseNeeded(path.clone())));
        assert!(matches!(read(&path, "gate", None), Err(KeyFileError::WrongKind { .. })));
        assert_eq!(write(&path, "member", b"", None), Err(KeyFileError::Exists(path.clone())));
        // The header is covered: another kind does not pass.
        fs::write(&path, text.replace("v1 member", "v1 gate")).unwrap();
        assert_eq!(read(&path, "gate", Some(&pass("correct horse"))), Err(KeyFileError::Refused(path.clone())));
    }

    #[test]
    fn a_plain_file_says_so_and_other_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.key");
        write(&path, "gate", &[0, 1, 2], None).unwrap();
        assert_eq!(inspect(&path), Ok(("gate".into(), false)));
        assert_eq!(read(&path, "gate", None).unwrap().as_slice(), &[0, 1, 2]);
        fs::write(&path, "hello").unwrap();
        assert_eq!(read(&path, "gate", None), Err(KeyFileError::NotAKeyFile(path.clone())));
    }

    #[cfg(unix)]
    #[test]
    fn key_files_are_readable_by_their_owner_only() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.key");
        write(&path, "gate", b"x", None).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
