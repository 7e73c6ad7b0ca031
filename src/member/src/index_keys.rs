//! A member's side of the index: inner tokens, blinded points and inner order codes per field.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use sealdex_crypto::{
    Bits, FieldToken, FieldTokenKey, InnerOrderKey, MemberKey, MemberOrderSecret, MemberTokenSecret, NoiseKey,
    RecordId, cover, field_token, noise,
};
use sealdex_wire::{B32, RawPoint, ingest::InnerEntry};

use crate::MemberKeys;

/// Prepared keys of one (qualified) field. Two to five microseconds to make, so they are cached.
pub struct FieldKeys {
    token: FieldTokenKey,
    order: InnerOrderKey,
    /// What the gate knows the field by.
    pub blinded: FieldToken,
}

/// Index keys of a member, for all fields.
pub struct IndexKeys {
    domain: String,
    epoch: u32,
    token_secret: MemberTokenSecret,
    order_secret: MemberOrderSecret,
    own: MemberKey,
    noise: NoiseKey,
    fields: RwLock<HashMap<Arc<str>, Arc<FieldKeys>>>,
}

/// Field name of record identities: its tokens let a later version replace an earlier one.
pub const ORIGIN: &str = "#origin";
/// Longest field name, bytes. A name holds its qualifying code, which comes from records.
const MAX_FIELD_NAME: usize = 512;
/// Fields whose keys are kept ready; more are derived at each use.
const MAX_CACHED: usize = 65_536;

/// A value that has no place in the index.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum IndexError {
    /// Longer than the suite's limit on one part.
    #[error("the value is too long to be indexed")]
    TooLong,
    /// A code so long that it cannot qualify a field.
    #[error("the field's name with its code has {0} bytes; at most 512 are accepted")]
    FieldName(usize),
    /// Beyond its field's width.
    #[error("the value lies outside its field's range")]
    Range,
}

impl IndexKeys {
    /// From a member's key file; `None` when its token key is no scalar.
    pub fn new(keys: &MemberKeys) -> Option<Self> {
        let s = &keys.secrets;
        Some(Self {
            domain: s.domain.clone(),
            epoch: s.index_epoch,
            token_secret: MemberTokenSecret::from_bytes(&s.token_secret.0),
            order_secret: MemberOrderSecret::from_bytes(&s.order_secret.0),
            own: MemberKey::from_bytes(&s.token_key.0).ok()?,
            noise: NoiseKey::from_bytes(&s.noise_key.0),
            fields: RwLock::default(),
        })
    }

    /// Keys of a field, made on first use.
    pub fn field(&self, name: &str) -> Result<Arc<FieldKeys>, IndexError> {
        if let Some(keys) = self.fields.read().unwrap_or_else(PoisonError::into_inner).get(name) {
            return Ok(keys.clone());
        }
        if name.len() > MAX_FIELD_NAME {
            return Err(IndexError::FieldName(name.len()));
        }
        let keys = Arc::new(FieldKeys {
            token: FieldTokenKey::derive(&self.token_secret, &self.domain, name, self.epoch),
            order: InnerOrderKey::derive(&self.order_secret, &self.domain, name, self.epoch),
            blinded: field_token(&self.token_secret, &self.domain, name, self.epoch),
        });
        let mut fields = self.fields.write().unwrap_or_else(PoisonError::into_inner);
        if fields.len() < MAX_CACHED {
            fields.insert(name.into(), keys.clone());
        }
        Ok(keys)
    }

    /// Inner token of a value (8a).
    pub fn token(&self, field: &str, value: &[u8]) -> Result<B32, IndexError> {
        Ok(B32(self.field(field)?.token.inner(value)))
    }

    /// Blinded point of a value (8b). About 80 µs.
    pub fn bridged(&self, field: &str, value: &[u8]) -> Result<RawPoint, IndexError> {
        let point = self.own.inner(&self.domain, field, value).map_err(|_| IndexError::TooLong)?;
        Ok(RawPoint(point.to_bytes()))
    }

    /// Tokens of a value's cover path (10).
    pub fn cover_path(&self, field: &str, bits: u8, q: u32) -> Result<Vec<B32>, IndexError> {
        self.cover_tokens(field, cover::path(bits, q).map_err(|_| IndexError::Range)?)
    }

    /// Tokens of a range's cover (10), at most six a level.
    pub fn cover_range(&self, field: &str, bits: u8, from: u32, to: u32) -> Result<Vec<B32>, IndexError> {
        self.cover_tokens(field, cover::cover(bits, from, to).map_err(|_| IndexError::Range)?)
    }

    fn cover_tokens(&self, field: &str, nodes: Vec<(u8, u32)>) -> Result<Vec<B32>, IndexError> {
        let keys = self.field(&format!("{field}#cover"))?;
        let token = |(length, prefix)| B32(keys.token.inner(&cover::value_bytes(length, prefix)));
        Ok(nodes.into_iter().map(token).collect())
    }

    /// Inner order entry of a record's value (9).
    pub fn order_entry(
        &self,
        field: &str,
        record: RecordId,
        merged: bool,
        bits: u8,
        q: u64,
    ) -> Result<InnerEntry, IndexError> {
        let keys = self.field(field)?;
        let width = Bits::new(bits).map_err(|_| IndexError::Range)?;
        let code =
            keys.order.code(width, q, noise(&self.noise, &record, field.as_bytes())).map_err(|_| IndexError::Range)?;
        Ok(InnerEntry::Order { merged, field: keys.blinded.0, bits, code })
    }

    /// Inner bounds of a range of quantised values, both included (9).
    pub fn order_bounds(&self, field: &str, bits: u8, from: u64, to: u64) -> Result<(u64, u64), IndexError> {
        let width = Bits::new(bits).map_err(|_| IndexError::Range)?;
        self.field(field)?.order.bounds(width, from, to).map_err(|_| IndexError::Range)
    }

    /// Token of a record's identity, `Type/id`.
    pub fn origin(&self, identity: &str) -> Result<B32, IndexError> {
        self.token(ORIGIN, identity.as_bytes())
    }
}
