//! The gate's secrets, and the key under which it keeps scalars at rest.

use aes_siv::{KeyInit as _, siv::Aes256Siv};
use sealdex_crypto::{GateOrderSecret, GateTagKey, Identity, IdentitySeed, NoiseKey, PublicIdentity, TermKey, kdf};
use sealdex_wire::{codec, consent::SecretBytes, roster::PublicKeys};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::{backup::BackupKey, labels, store::Table};

/// 64 secret bytes of a key file.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct SecretBytes64(pub [u8; 64]);

impl Serialize for SecretBytes64 {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut text = Zeroizing::new(String::with_capacity(128));
        for byte in self.0 {
            for nibble in [byte >> 4, byte & 15] {
                text.push(char::from_digit(nibble.into(), 16).unwrap_or('0'));
            }
        }
        s.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for SecretBytes64 {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(d)?);
        let mut out = Self([0; 64]);
        let pairs = text.as_bytes().chunks(2);
        let fits = text.len() == 128
            && pairs.zip(out.0.iter_mut()).all(|(pair, byte)| digits(pair).map(|b| *byte = b).is_some());
        if fits { Ok(out) } else { Err(serde::de::Error::custom("expected 128 hex digits")) }
    }
}

fn digits(pair: &[u8]) -> Option<u8> {
    let mut value = 0_u32;
    for digit in pair {
        value = value << 4 | char::from(*digit).to_digit(16)?;
    }
    u8::try_from(value).ok()
}

/// Content of a gate's key file (kind `gate`), as the ceremony writes it. JSON, secrets in hex.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateKeys {
    /// Domain.
    pub domain: String,
    /// The authority's public keys.
    pub authority: PublicKeys,
    /// Identity seed.
    pub seed: SecretBytes,
    /// Key of all scopes (spec section 8).
    pub term_key: SecretBytes,
    /// Key of the outer order layer (section 9).
    pub order_secret: SecretBytes,
    /// Noise of the outer order layer.
    pub noise_key: SecretBytes,
    /// Key of routing tags (section 6).
    pub tag_key: SecretBytes64,
    /// Epoch of the index keys.
    #[serde(default)]
    pub index_epoch: u32,
}

/// Why a gate's keys are unusable.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum KeysError {
    /// The file's content is not a gate's keys.
    #[error("the key file does not hold a gate's keys")]
    NotGateKeys,
    /// The authority's keys are no keys.
    #[error("the authority's keys in the key file are no points of the curve")]
    Authority,
}

/// Everything secret a gate holds. Wiped on drop, never shown.
pub struct GateSecrets {
    domain: String,
    index_epoch: u32,
    authority: PublicIdentity,
    identity: std::sync::Arc<Identity>,
    pub(crate) term_key: TermKey,
    pub(crate) order_secret: GateOrderSecret,
    pub(crate) noise_key: NoiseKey,
    pub(crate) tag_key: GateTagKey,
    pub(crate) store_key: StoreKey,
    /// The same at all nodes of a gate, so that any of them can go on with a search.
    pub(crate) cursor_key: StoreKey,
    pub(crate) backup_key: BackupKey,
}

impl GateSecrets {
    /// From the decrypted content of a key file.
    ///
    /// # Errors
    /// [`KeysError`].
    pub fn from_json(json: &[u8]) -> Result<Self, KeysError> {
        Self::new(&codec::from_json(json).map_err(|_| KeysError::NotGateKeys)?)
    }

    /// From keys in memory.
    ///
    /// # Errors
    /// [`KeysError::Authority`].
    pub fn new(keys: &GateKeys) -> Result<Self, KeysError> {
        let seed = IdentitySeed::from_bytes(&keys.seed.0);
        Ok(Self {
            domain: keys.domain.clone(),
            index_epoch: keys.index_epoch,
            authority: keys.authority.identity().map_err(|_| KeysError::Authority)?,
            identity: Identity::from_seed(&seed).into(),
            term_key: TermKey::from_bytes(&keys.term_key.0),
            order_secret: GateOrderSecret::from_bytes(&keys.order_secret.0),
            noise_key: NoiseKey::from_bytes(&keys.noise_key.0),
            tag_key: GateTagKey::from_bytes(&keys.tag_key.0),
            store_key: StoreKey::derive(&seed),
            cursor_key: StoreKey(kdf::<64>(labels::CURSOR, &keys.term_key.0, &[])),
            backup_key: BackupKey::derive(&seed),
        })
    }

    /// Domain served.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Epoch of the index keys.
    pub fn index_epoch(&self) -> u32 {
        self.index_epoch
    }

    /// Who may change the roster.
    pub fn authority(&self) -> &PublicIdentity {
        &self.authority
    }

    /// Signs batches, tickets and requests to the cloud.
    pub fn identity(&self) -> &std::sync::Arc<Identity> {
        &self.identity
    }
}

/// A scalar as it lies in the store: synthetic IV, ciphertext.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedScalar(pub [u8; 48]);

/// What was sealed does not open: another gate's store, or a damaged one.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("a row of table {0} was not sealed by this gate, or is damaged")]
pub struct NotSealedHere(pub &'static str);

/// AES-256-SIV (RFC 5297) under a key derived from the gate's seed. Associated data: the table's name
/// and the row's key, so that no sealed scalar passes for another's.
pub struct StoreKey(Zeroizing<[u8; 64]>);

impl StoreKey {
    /// `KDF("sdx1/gate-store", seed, (), 64)`.
    pub fn derive(seed: &IdentitySeed) -> Self {
        Self(kdf::<64>(labels::STORE_KEY, seed.expose(), &[]))
    }

    fn cipher(&self) -> Aes256Siv {
        Aes256Siv::new((&*self.0).into())
    }

    /// Seals a scalar for its row. 0.7 µs.
    pub fn seal_scalar(&self, table: Table, key: &[u8], scalar: &[u8; 32]) -> SealedScalar {
        let mut out = [0; 48];
        out[16..].copy_from_slice(scalar);
        #[allow(clippy::expect_used)] // fails only above 126 associated strings
        let siv = {
            let body = &mut out[16..];
            self.cipher()
                .encrypt_inout_detached([table.name().as_bytes(), key], body.into())
                .expect("two associated strings")
        };
        out[..16].copy_from_slice(&siv);
        SealedScalar(out)
    }

    /// Opens a scalar of its row. 0.7 µs.
    ///
    /// # Errors
    /// [`NotSealedHere`].
    pub fn open_scalar(
        &self,
        table: Table,
        key: &[u8],
        sealed: &SealedScalar,
    ) -> Result<Zeroizing<[u8; 32]>, NotSealedHere> {
        let refused = NotSealedHere(table.name());
        let plain = self
            .cipher()
            .decrypt([table.name().as_bytes(), key], &sealed.0)
            .map(Zeroizing::new)
            .map_err(|_| refused)?;
        let mut out = Zeroizing::new([0; 32]);
        if plain.len() != out.len() {
            return Err(refused);
        }
        out.copy_from_slice(&plain);
        Ok(out)
    }

    /// 32 secret bytes that only this gate can derive.
    pub(crate) fn derive_seed(&self, context: &[&[u8]]) -> Zeroizing<[u8; 32]> {
        kdf::<32>(labels::RESHARING, &*self.0, context)
    }

    /// Seals bytes that leave the gate and come back, bound to `context`.
    pub(crate) fn seal(&self, context: &[&[u8]], plain: &[u8]) -> Vec<u8> {
        #[allow(clippy::expect_used)] // fails only above 126 associated strings
        self.cipher().encrypt(context, plain).expect("few associated strings")
    }

    /// Opens what [`StoreKey::seal`] sealed for the same context.
    pub(crate) fn open(&self, context: &[&[u8]], sealed: &[u8]) -> Option<Vec<u8>> {
        self.cipher().decrypt(context, sealed).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_scalar_opens_in_its_own_row_only() {
        let key = StoreKey::derive(&IdentitySeed::from_bytes(&[1; 32]));
        let sealed = key.seal_scalar(Table::Grants, b"row", &[9; 32]);
        assert_eq!(key.open_scalar(Table::Grants, b"row", &sealed).as_deref(), Ok(&[9; 32]));
        assert_eq!(key.open_scalar(Table::Grants, b"other", &sealed), Err(NotSealedHere("grants")));
        assert_eq!(key.open_scalar(Table::Bridges, b"row", &sealed), Err(NotSealedHere("bridges")));
        let other = StoreKey::derive(&IdentitySeed::from_bytes(&[2; 32]));
        assert_eq!(other.open_scalar(Table::Grants, b"row", &sealed), Err(NotSealedHere("grants")));
        let mut bent = sealed;
        bent.0[47] ^= 1;
        assert_eq!(key.open_scalar(Table::Grants, b"row", &bent), Err(NotSealedHere("grants")));
    }

    #[test]
    fn gate_keys_survive_json() {
        let authority = Identity::from_seed(&IdentitySeed::from_bytes(&[5; 32])).public();
        let byte = |b| SecretBytes([b; 32]);
        let mut tag_key = SecretBytes64([6; 64]);
        tag_key.0[63] = 0xfe;
        let keys = GateKeys {
            domain: "north".into(),
            authority: (&authority).into(),
            seed: byte(1),
            term_key: byte(2),
            order_secret: byte(3),
            noise_key: byte(4),
            tag_key,
            index_epoch: 0,
        };
        let json = codec::to_json(&keys);
        let read: GateKeys = codec::from_json(json.as_bytes()).expect("own JSON");
        assert_eq!(read.tag_key.0, keys.tag_key.0);
        let secrets = GateSecrets::from_json(json.as_bytes()).expect("keys");
        assert_eq!(secrets.authority().id(), authority.id());
        assert_eq!(GateSecrets::from_json(b"{}").err(), Some(KeysError::NotGateKeys));
    }
}
