//! A member's key file.

use std::path::Path;

use sealdex_crypto::{Identity, IdentitySeed};
use sealdex_keyfile::{KeyFileError, Unlock};
use sealdex_wire::{consent::SecretBytes, roster::PublicKeys, roster::Role};
use serde::{Deserialize, Serialize};

/// Kind of a member's key file.
pub const MEMBER_KIND: &str = "member";

/// What the file holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberSecrets {
    /// Domain.
    pub domain: String,
    /// Name in the roster.
    pub name: String,
    /// Role in the roster.
    pub role: Role,
    /// Who signs roster and schema: the root of all trust.
    pub authority: PublicKeys,
    /// Epoch of the index secrets.
    pub index_epoch: u32,
    /// Identity seed, this member's own.
    pub seed: SecretBytes,
    /// `k_i`, this member's own (spec section 8b).
    pub token_key: SecretBytes,
    /// Member token secret, the same for all (8a).
    pub token_secret: SecretBytes,
    /// Member order secret, the same for all (9).
    pub order_secret: SecretBytes,
    /// Noise key of order codes, this member's own (9).
    pub noise_key: SecretBytes,
    /// Seed of the group of all members, who read what belongs to no patient.
    pub everyone_seed: SecretBytes,
}

/// A member's keys, ready for use.
pub struct MemberKeys {
    /// The file's content.
    pub secrets: MemberSecrets,
    /// The member's identity.
    pub identity: std::sync::Arc<Identity>,
    /// The identity of the group of all members.
    pub everyone: Identity,
}

/// Why a key file is of no use.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum KeysError {
    /// Reading failed.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// The content is not what the kind says.
    #[error("{path}: the key file decrypts but does not hold a {kind} key: {reason}")]
    Content {
        /// File.
        path: String,
        /// Expected kind.
        kind: &'static str,
        /// Why.
        reason: String,
    },
}

impl MemberKeys {
    /// Derives what follows from the secrets.
    pub fn new(secrets: MemberSecrets) -> Self {
        let identity = std::sync::Arc::new(Identity::from_seed(&IdentitySeed::from_bytes(&secrets.seed.0)));
        let everyone = Identity::from_seed(&IdentitySeed::from_bytes(&secrets.everyone_seed.0));
        Self { secrets, identity, everyone }
    }

    /// Reads a key file.
    pub fn read(path: &Path, unlock: Option<&Unlock>) -> Result<Self, KeysError> {
        read_secrets(path, MEMBER_KIND, unlock).map(Self::new)
    }
}

/// Reads the JSON secrets of a key file of some kind.
pub fn read_secrets<T: serde::de::DeserializeOwned>(
    path: &Path,
    kind: &'static str,
    unlock: Option<&Unlock>,
) -> Result<T, KeysError> {
    let bytes = sealdex_keyfile::read(path, kind, unlock)?;
    serde_json::from_slice(&bytes).map_err(|e| KeysError::Content {
        path: path.display().to_string(),
        kind,
        reason: format!("line {} column {}", e.line(), e.column()),
    })
}

/// Writes secrets as a key file of some kind.
pub fn write_secrets<T: Serialize>(
    path: &Path,
    kind: &str,
    secrets: &T,
    unlock: Option<&Unlock>,
) -> Result<(), KeysError> {
    Ok(sealdex_keyfile::write(path, kind, &to_bytes(secrets), unlock)?)
}

/// As [`write_secrets`], over what is there.
pub fn replace_secrets<T: Serialize>(
    path: &Path,
    kind: &str,
    secrets: &T,
    unlock: Option<&Unlock>,
) -> Result<(), KeysError> {
    Ok(sealdex_keyfile::replace(path, kind, &to_bytes(secrets), unlock)?)
}

fn to_bytes<T: Serialize>(secrets: &T) -> zeroize::Zeroizing<Vec<u8>> {
    zeroize::Zeroizing::new(sealdex_wire::codec::to_json(secrets).into_bytes())
}
