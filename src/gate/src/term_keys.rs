//! Prepared keys of scopes and of order fields, kept so that a term costs one HMAC.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, PoisonError, RwLock},
};

use sealdex_crypto::{FieldToken, OuterOrderKey, PrincipalId, ScopeKey};

use crate::secrets::GateSecrets;

/// Where a term lives: over all hospitals, or in the index of one (spec section 8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// One index over all hospitals.
    Merged,
    /// One hospital's.
    Hospital(PrincipalId),
}

impl Scope {
    /// The bytes that enter key derivation.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Merged => &[],
            Self::Hospital(id) => &id.0,
        }
    }
}

/// Order fields times scopes kept prepared; a prepared walk key takes some hundred bytes.
const ORDER_KEYS: usize = 1 << 16;
/// Scopes kept prepared.
const SCOPE_KEYS: usize = 1 << 14;

/// One order field in one scope: the key of its codes and the tag of its run.
pub struct OrderRun {
    /// Outer layer.
    pub key: OuterOrderKey,
    /// First 8 bytes of its order terms.
    pub tag: [u8; 8],
}

/// Derives keys at first use. Look-ups share a read lock.
pub struct TermKeys {
    secrets: Arc<GateSecrets>,
    scopes: Bounded<Scope, ScopeKey>,
    orders: Bounded<(FieldToken, Scope), OrderRun>,
}

impl TermKeys {
    /// An empty cache over these secrets.
    pub fn new(secrets: Arc<GateSecrets>) -> Self {
        Self { secrets, scopes: Bounded::new(SCOPE_KEYS), orders: Bounded::new(ORDER_KEYS) }
    }

    /// Key of a scope's terms.
    pub fn scope(&self, scope: Scope) -> Arc<ScopeKey> {
        let make = || ScopeKey::derive(&self.secrets.term_key, self.secrets.domain(), scope.as_bytes());
        self.scopes.get_or_make(scope, make)
    }

    /// Run of an order field in a scope.
    pub fn order(&self, field: FieldToken, scope: Scope) -> Arc<OrderRun> {
        self.orders.get_or_make((field, scope), || {
            let s = &self.secrets;
            let key = OuterOrderKey::derive(&s.order_secret, s.domain(), &field, s.index_epoch(), scope.as_bytes());
            OrderRun { key, tag: self.scope(scope).tag(&field) }
        })
    }
}

/// A map of at most `2 · half` entries: when the young half is full it becomes the old half, and what
/// the old half held and nobody asked for since is dropped (least recently used, by generations).
struct Bounded<K, V> {
    half: usize,
    generations: RwLock<[HashMap<K, Arc<V>>; 2]>,
}

impl<K: Eq + Hash + Copy, V> Bounded<K, V> {
    fn new(entries: usize) -> Self {
        Self { half: entries / 2, generations: RwLock::new([HashMap::new(), HashMap::new()]) }
    }

    fn get_or_make(&self, key: K, make: impl FnOnce() -> V) -> Arc<V> {
        let old = {
            let generations = self.generations.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(found) = generations[0].get(&key) {
                return found.clone();
            }
            generations[1].get(&key).cloned()
        };
        let value = old.unwrap_or_else(|| Arc::new(make()));
        let mut generations = self.generations.write().unwrap_or_else(PoisonError::into_inner);
        if generations[0].len() >= self.half {
            generations[1] = std::mem::take(&mut generations[0]);
        }
        generations[0].insert(key, value.clone());
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_is_bounded_and_keeps_what_is_used() {
        let cache = Bounded::new(8);
        let kept = cache.get_or_make(0, || 0);
        for n in 1..100 {
            cache.get_or_make(n, || n);
            assert!(Arc::ptr_eq(&kept, &cache.get_or_make(0, || -1)), "used between, so kept");
        }
        let entries: usize = cache.generations.read().expect("lock").iter().map(HashMap::len).sum();
        assert!(entries <= 8, "{entries} entries");
        assert_eq!(*cache.get_or_make(1, || -1), -1, "long unused, so made again");
    }
}
