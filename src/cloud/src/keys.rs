//! Who this cloud is, and which authority it obeys.

use std::path::Path;

use sealdex_crypto::{Identity, IdentitySeed, PrincipalId};
use sealdex_keyfile::{KeyFileError, Unlock};
use sealdex_wire::{codec, consent::SecretBytes, roster::PublicKeys};
use serde::Deserialize;

/// Kind of a cloud's key file.
pub const KEY_KIND: &str = "cloud";

/// The contents of a cloud's key file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CloudKeys {
    /// Domain served.
    pub domain: String,
    /// The authority whose roster is obeyed.
    pub authority: PublicKeys,
    /// Seed of the cloud's identity. The cloud signs nothing: it only needs its id.
    pub seed: SecretBytes,
}

/// Why keys could not be loaded.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum KeysError {
    /// The file.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// Its contents.
    #[error("the key file does not hold a cloud's keys")]
    Contents,
}

impl CloudKeys {
    /// Reads a key file.
    pub fn load(path: &Path, unlock: Option<&Unlock>) -> Result<Self, KeysError> {
        let text = sealdex_keyfile::read(path, KEY_KIND, unlock)?;
        // The decoder's message could quote what it read.
        codec::from_json(&text).map_err(|_| KeysError::Contents)
    }

    /// The cloud's principal id.
    pub fn id(&self) -> PrincipalId {
        Identity::from_seed(&IdentitySeed::from_bytes(&self.seed.0)).id()
    }
}
