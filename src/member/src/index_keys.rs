//! A member's side of the index: inner tokens, blinded points and inner order codes per field.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use sealdex_crypto::{
    FieldToken, RecordId,
    order::{InnerOrderKey, NoiseKey, field_token},
    token::{FieldTokenKey, MemberKey, MemberTokenSecret},
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
    order_secret: sealdex_crypto::order::MemberOrderSecret,
    own: MemberKey,
    noise: NoiseKey,
    fields: RwLock<HashMap<Arc<str>, Arc<FieldKeys>>>,
}

/// Field name of record identities: its tokens let a later version replace an earlier one.
pub const ORIGIN: &str = "#origin";

impl IndexKeys {
    /// From a member's key file.
    pub fn new(keys: &MemberKeys) -> Option<Self> {
        let s = &keys.secrets;
        Some(Self {
            domain: s.domain.clone(),
            epoch: s.index_epoch,
            token_secret: MemberTokenSecret::from_bytes(s.token_secret.0),
            order_secret: sealdex_crypto::order::MemberOrderSecret::from_bytes(s.order_secret.0),
            own: MemberKey::from_bytes(&s.token_key.0).ok()?,
            noise: NoiseKey::from_bytes(s.noise_key.0),
            fields: RwLock::default(),
        })
    }

    /// Keys of a field, made on first use.
    pub fn field(&self, name: &str) -> Arc<FieldKeys> {
        if let Some(keys) = self.fields.read().unwrap_or_else(PoisonError::into_inner).get(name) {
            return keys.clone();
        }
        let keys = Arc::new(FieldKeys {
            token: FieldTokenKey::new(&self.token_secret, &self.domain, name, self.epoch),
            order: InnerOrderKey::new(&self.order_secret, &self.domain, name, self.epoch),
            blinded: field_token(&self.token_secret, &self.domain, name, self.epoch),
        });
        self.fields.write().unwrap_or_else(PoisonError::into_inner).entry(name.into()).or_insert(keys).clone()
    }

    /// Inner token of a value (8a).
    pub fn token(&self, field: &str, value: &[u8]) -> B32 {
        B32(self.field(field).token.inner(value))
    }

    /// Blinded point of a value (8b). About 80 µs.
    pub fn bridged(&self, field: &str, value: &[u8]) -> RawPoint {
        RawPoint(self.own.inner(&sealdex_crypto::token::token_point(&self.domain, field, value)).to_bytes())
    }

    /// Tokens of a value's cover path (10).
    pub fn cover_path(&self, field: &str, bits: u8, q: u32) -> Vec<B32> {
        let keys = self.field(&cover_field(field));
        sealdex_crypto::cover::path(bits, q).into_iter().map(|(l, p)| B32(keys.token.inner(&sealdex_crypto::cover::value_bytes(l, p)))).collect()
    }

    /// Tokens of a range's cover (10), at most six a level.
    pub fn cover_range(&self, field: &str, bits: u8, from: u32, to: u32) -> Vec<B32> {
        let keys = self.field(&cover_field(field));
        sealdex_crypto::cover::cover(bits, from, to)
            .into_iter()
            .map(|(l, p)| B32(keys.token.inner(&sealdex_crypto::cover::value_bytes(l, p))))
            .collect()
    }

    /// Inner order entry of a record's value (9).
    pub fn order_entry(&self, field: &str, record: RecordId, merged: bool, bits: u8, q: u64) -> InnerEntry {
        let keys = self.field(field);
        let noise = self.noise.noise(&record, field.as_bytes());
        InnerEntry::Order { merged, field: keys.blinded.0, bits, code: keys.order.code(bits, q, noise) }
    }

    /// Inner bounds of a range of quantised values, both included (9).
    pub fn order_bounds(&self, field: &str, bits: u8, from: u64, to: u64) -> (u64, u64) {
        self.field(field).order.bounds(bits, from, to)
    }

    /// Token of a record's identity, `Type/id`.
    pub fn origin(&self, identity: &str) -> B32 {
        self.token(ORIGIN, identity.as_bytes())
    }
}

fn cover_field(field: &str) -> String {
    format!("{field}#cover")
}
