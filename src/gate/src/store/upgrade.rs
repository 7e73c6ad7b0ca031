//! Stores written by earlier versions.
//!
//! Format 1 kept one grant for each owner, section, epoch and reader; format 2 has a slot in the key, and in the
//! row what newer grants say.

use super::{ConsentStore, GrantKey, GrantRow, NOBODY, ReadConsents as _, StoreError, Table, WriteConsents as _};
use crate::{
    error::GateError,
    secrets::{SealedScalar, StoreKey},
};
use sealdex_crypto::PrincipalId;
use sealdex_wire::RawPoint;

/// Format of this version's stores.
pub const FORMAT: u32 = 2;
/// Where the format is noted.
pub const FORMAT_KEY: &[u8] = b"format";

/// Brings a store of format 1 to format 2, in one transaction. Nothing happens to a newer one.
pub(crate) fn upgrade<S: ConsentStore>(store: &S, store_key: &StoreKey) -> Result<(), GateError> {
    let damaged = || StoreError::Row(Table::Grants.name());
    store.write(|txn| {
        if txn.get(Table::Meta, FORMAT_KEY)?.as_deref() != Some(&1_u32.to_be_bytes()) {
            return Ok(());
        }
        for (old, row) in txn.range(Table::Grants, &[], None, usize::MAX)? {
            let terms = txn.get(Table::GrantTerms, &old)?.ok_or_else(damaged)?;
            let signed: sealdex_wire::Signed<sealdex_wire::consent::GrantTerms> =
                sealdex_wire::codec::from_cbor(&terms).map_err(|_| damaged())?;
            let parsed = signed.peek().map_err(|_| damaged())?;
            let reader = old.last_chunk::<16>().map(|r| PrincipalId(*r)).ok_or_else(damaged)?;
            let key = GrantKey::of(&parsed, reader);
            let (mut row, sealed) = first_format(&row).ok_or_else(damaged)?;
            let scalar = store_key.open_scalar(Table::Grants, &old, &sealed)?;
            row.rk = store_key.seal_scalar(Table::Grants, &key.to_bytes(), &scalar);
            txn.remove(Table::Grants, &old)?;
            txn.remove(Table::GrantTerms, &old)?;
            txn.remove(Table::GrantsByReader, &[&reader.0, &old[..old.len() - 16]].concat())?;
            txn.put_grant(&key, &row, &signed)?;
        }
        // Every row is one that this version reads, or nothing has changed.
        for key in txn.range(Table::Grants, &[], None, usize::MAX)?.iter().map(|(k, _)| GrantKey::parse(k)) {
            txn.grant(&key.ok_or_else(damaged)?)?;
        }
        txn.put(Table::Meta, FORMAT_KEY, &FORMAT.to_be_bytes())?;
        Ok::<_, GateError>(())
    })
}

/// `A`(33) ‖ `X`(33) ‖ u64 not_before ‖ u64 not_after ‖ u64 granted_at ‖ sealed `rk`(48) ‖ purpose.
fn first_format(bytes: &[u8]) -> Option<(GrantRow, SealedScalar)> {
    let (a, rest) = bytes.split_first_chunk()?;
    let (x, rest) = rest.split_first_chunk()?;
    let (times, rest) = rest.split_first_chunk::<24>()?;
    let time = |at: usize| times[8 * at..].first_chunk().map(|n| u64::from_be_bytes(*n));
    let (rk, purpose) = rest.split_first_chunk()?;
    let row = GrantRow {
        a: RawPoint(*a),
        x: RawPoint(*x),
        not_before: time(0)?,
        not_after: time(1)?,
        granted_at: time(2)?,
        generation: 0,
        joined_by: u64::MAX,
        emergency: false,
        by: NOBODY,
        providers: Vec::new(),
        rk: SealedScalar(*rk),
        purpose: String::from_utf8(purpose.to_vec()).ok()?,
    };
    Some((row, SealedScalar(*rk)))
}
