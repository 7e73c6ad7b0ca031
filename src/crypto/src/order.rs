//! Order codes (section 9): two layers of the walk. A member's layer hides a value among those
//! of its interval; the gate's layer hides that code again, so that neither a member nor the
//! cloud can compute what the cloud stores.

use zeroize::Zeroizing;

use crate::interval::{Bits, OrderError, WalkKey, interval};
use crate::kdf::{Prf, truncate};
use crate::secret::secret_bytes;
use crate::{FieldToken, FieldTokenKey, MemberTokenSecret, RecordId, Term, kdf, labels};

secret_bytes!(
    /// Shared by the members of a domain; key of the inner layer.
    MemberOrderSecret,
    32
);
secret_bytes!(
    /// Held by the gate alone; key of the outer layer.
    GateOrderSecret,
    32
);

/// Where in a value's interval each record's code falls: a provider has one for the inner
/// layer, the gate one for the outer.
#[derive(Clone)]
pub struct NoiseKey(Prf);

impl NoiseKey {
    /// Prepares a 32-byte key.
    #[must_use]
    pub fn from_bytes(key: &[u8; 32]) -> Self {
        Self(Prf::new(key))
    }
}

/// First 8 bytes of `HMAC(noise_key, lp(record_id) ‖ lp(field))`, 0.1 µs. `field` is the field's
/// name for the inner layer and the field token's 16 bytes for the outer.
///
/// # Panics
/// If the name exceeds [`crate::MAX_PART`] bytes.
#[must_use]
pub fn noise(key: &NoiseKey, record_id: &RecordId, field: &[u8]) -> u64 {
    let length = crate::encoding::name_len(field);
    let mac = key.0.mac(&[&[0, 16], &record_id.0, &length, field]);
    u64::from_be_bytes(truncate(mac))
}

/// The member's layer for one field, prepared.
#[derive(Clone)]
pub struct InnerOrderKey(WalkKey);

impl InnerOrderKey {
    /// Derives and prepares the key.
    ///
    /// # Panics
    /// If a name exceeds [`crate::MAX_PART`] bytes.
    #[must_use]
    pub fn derive(secret: &MemberOrderSecret, domain: &str, field: &str, epoch: u32) -> Self {
        Self(WalkKey::from_bytes(&Self::derive_bytes(secret, domain, field, epoch)))
    }

    /// `KDF("sdx1/mopse", member_order_secret, (domain, field, u32(epoch)), 32)`, the key before
    /// it is prepared.
    ///
    /// # Panics
    /// As [`InnerOrderKey::derive`].
    #[must_use]
    pub fn derive_bytes(secret: &MemberOrderSecret, domain: &str, field: &str, epoch: u32) -> Zeroizing<[u8; 32]> {
        let parts: [&[u8]; 3] = [domain.as_bytes(), field.as_bytes(), &epoch.to_be_bytes()];
        kdf::<32>(labels::MOPSE, secret.expose(), &parts)
    }

    /// The walk's interval of one value: first code and number of codes.
    ///
    /// # Errors
    /// [`OrderError::OutOfRange`] if `q` does not fit.
    pub fn interval(&self, bits: Bits, q: u64) -> Result<(u64, u64), OrderError> {
        interval(&self.0, bits, q)
    }

    /// The inner code of a quantised value, below `2^(bits+16)`. `bits/4` HMACs.
    ///
    /// # Errors
    /// [`OrderError::OutOfRange`] if `q` does not fit.
    pub fn code(&self, bits: Bits, q: u64, noise: u64) -> Result<u64, OrderError> {
        code(&self.0, bits, q, noise)
    }

    /// Lowest and highest inner code of any value in `[from, to]`, inclusive.
    ///
    /// # Errors
    /// [`OrderError`] if an end does not fit or the ends are reversed.
    pub fn bounds(&self, bits: Bits, from: u64, to: u64) -> Result<(u64, u64), OrderError> {
        bounds(&self.0, bits, from, to)
    }
}

/// The gate's layer for one field and scope, prepared.
#[derive(Clone)]
pub struct OuterOrderKey(WalkKey);

impl OuterOrderKey {
    /// Derives and prepares the key.
    ///
    /// # Panics
    /// If a name exceeds [`crate::MAX_PART`] bytes.
    #[must_use]
    pub fn derive(secret: &GateOrderSecret, domain: &str, field: &FieldToken, epoch: u32, scope: &[u8]) -> Self {
        Self(WalkKey::from_bytes(&Self::derive_bytes(secret, domain, field, epoch, scope)))
    }

    /// `KDF("sdx1/mopse", gate_order_secret, (domain, field_token, u32(epoch), scope), 32)`, the
    /// key before it is prepared.
    ///
    /// # Panics
    /// As [`OuterOrderKey::derive`].
    #[must_use]
    pub fn derive_bytes(
        secret: &GateOrderSecret,
        domain: &str,
        field: &FieldToken,
        epoch: u32,
        scope: &[u8],
    ) -> Zeroizing<[u8; 32]> {
        let parts: [&[u8]; 4] = [domain.as_bytes(), &field.0, &epoch.to_be_bytes(), scope];
        kdf::<32>(labels::MOPSE, secret.expose(), &parts)
    }

    /// The outer code of a member's inner code, where `bits` is the field's own width: the walk
    /// is over `bits + 16`. `bits/4 + 4` HMACs.
    ///
    /// # Errors
    /// [`OrderError::OutOfRange`] if the inner code has more than `bits + 16` bits.
    pub fn code(&self, bits: Bits, inner: u64, noise: u64) -> Result<u64, OrderError> {
        code(&self.0, bits.outer(), inner, noise)
    }

    /// Lowest and highest outer code of any inner code in `[from, to]`, inclusive; `bits` as in
    /// [`OuterOrderKey::code`].
    ///
    /// # Errors
    /// [`OrderError`] if an end does not fit or the ends are reversed.
    pub fn bounds(&self, bits: Bits, from: u64, to: u64) -> Result<(u64, u64), OrderError> {
        bounds(&self.0, bits.outer(), from, to)
    }
}

/// What the gate sees in place of a field's name: 16 bytes, the same for every member.
///
/// # Panics
/// If a name exceeds [`crate::MAX_PART`] bytes.
#[must_use]
pub fn field_token(secret: &MemberTokenSecret, domain: &str, field: &str, epoch: u32) -> FieldToken {
    let key = FieldTokenKey::derive(secret, domain, labels::FIELD, epoch);
    FieldToken(truncate(key.inner(field.as_bytes())))
}

/// `tag ‖ u64(code)`: order terms of one field and scope sort as their codes do.
#[must_use]
pub fn order_term(tag: [u8; 8], code: u64) -> Term {
    let mut term = [0; 16];
    term[..8].copy_from_slice(&tag);
    term[8..].copy_from_slice(&code.to_be_bytes());
    Term(term)
}

fn code(key: &WalkKey, bits: Bits, q: u64, noise: u64) -> Result<u64, OrderError> {
    let (lo, size) = interval(key, bits, q)?;
    Ok(lo + noise % size)
}

fn bounds(key: &WalkKey, bits: Bits, from: u64, to: u64) -> Result<(u64, u64), OrderError> {
    if from > to {
        return Err(OrderError::Reversed { from, to });
    }
    let (first, _) = interval(key, bits, from)?;
    let (lo, size) = interval(key, bits, to)?;
    Ok((first, lo + (size - 1)))
}
