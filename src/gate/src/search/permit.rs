//! Which matches a caller may have: those with a live grant for the purpose.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
};

use sealdex_crypto::{PrincipalId, RecordId, RekeyScalar, RoutingInfo};
use sealdex_wire::consent::ANY_PURPOSE;
use serde_bytes::ByteBuf;

use super::pages::Asker;
use crate::{
    error::GateError,
    secrets::StoreKey,
    store::{GrantKey, GrantRow, ReadConsents as _, ReadErasures as _, Snapshot, StoreError, Table, WakeRow},
};

/// A live grant of one section and epoch to the caller or a group it belongs to.
pub(crate) struct Permit {
    pub(crate) key: GrantKey,
    pub(crate) row: GrantRow,
    /// First second it no longer holds: its own end, or that of the emergency that woke it.
    pub(crate) ends: u64,
    rk: OnceLock<RekeyScalar>,
}

impl Permit {
    /// The scalar, opened at first use. 1 µs.
    pub(crate) fn rk(&self, store_key: &StoreKey) -> Result<&RekeyScalar, GateError> {
        if let Some(rk) = self.rk.get() {
            return Ok(rk);
        }
        let bytes = store_key.open_scalar(Table::Grants, &self.key.to_bytes(), &self.row.rk)?;
        let rk = RekeyScalar::from_bytes(&bytes).map_err(|_| StoreError::Row(Table::Grants.name()))?;
        Ok(self.rk.get_or_init(|| rk))
    }
}

/// A match with its permit.
pub(crate) struct Permitted {
    pub(crate) id: RecordId,
    pub(crate) provider: PrincipalId,
    pub(crate) routing: RoutingInfo,
    /// Its routing tag, where other nodes are to see it.
    pub(crate) tag: Option<ByteBuf>,
    pub(crate) permit: Arc<Permit>,
}

/// Live grants of one section.
type Live = Arc<[Arc<Permit>]>;

/// Sections of one owner and epoch already looked up.
type Sections = Vec<(String, Live)>;

/// Looks permits up, each section of an owner once.
#[derive(Default)]
pub(crate) struct Permits(HashMap<(PrincipalId, u32), Sections>);

impl Permits {
    /// The permit for what a provider pushed of one section, for a caller at a time (Unix seconds). At first use
    /// one short range read for each reader the caller may stand for, until one has a grant that does not depend
    /// on the provider.
    pub(crate) fn of(
        &mut self,
        routing: &RoutingInfo,
        provider: PrincipalId,
        asker: &Asker,
        now: u64,
        stored: &dyn Snapshot,
    ) -> Result<Option<Arc<Permit>>, StoreError> {
        let sections = self.0.entry((routing.patient, routing.epoch)).or_default();
        let known = sections.iter().find(|(s, _)| *s == routing.section).map(|(_, live)| live.clone());
        let live = match known {
            Some(live) => live,
            None => {
                let live: Live = look_up(routing, asker, now, stored)?.into();
                sections.push((routing.section.clone(), live.clone()));
                live
            }
        };
        let meant = |p: &&Arc<Permit>| p.row.providers.is_empty() || asker.members.is_below(provider, &p.row.providers);
        Ok(live.iter().find(meant).cloned())
    }
}

fn look_up(
    routing: &RoutingInfo,
    asker: &Asker,
    now: u64,
    stored: &dyn Snapshot,
) -> Result<Vec<Arc<Permit>>, StoreError> {
    // Whatever is granted: what was ordered to be erased is released to nobody.
    if stored.erased(routing.patient, &routing.section)?.is_some_and(|through| routing.epoch <= through) {
        return Ok(Vec::new());
    }
    let mut live = Vec::new();
    for reader in &asker.readers {
        for (key, row) in stored.grants(routing.patient, &routing.section, routing.epoch, reader.id)? {
            let fits = row.purpose == asker.purpose || row.purpose == ANY_PURPOSE;
            if !fits || !(row.not_before..row.not_after).contains(&now) || reader.since > row.joined_by {
                continue;
            }
            let ends = match row.emergency {
                false => row.not_after,
                true => match awake_until(routing.patient, reader.id, row.granted_at, now, stored)? {
                    None => continue,
                    Some(until) => until.min(row.not_after),
                },
            };
            live.push(Arc::new(Permit { key, row, ends, rk: OnceLock::new() }));
        }
        // A grant that holds for whatever was pushed is enough.
        if live.iter().any(|p| p.row.providers.is_empty() && !p.row.emergency) {
            break;
        }
    }
    // What needs no emergency goes first, so that the owner is not told of one that was not needed.
    live.sort_by_key(|p| p.row.emergency);
    Ok(live)
}

/// Until when two people have woken an owner's emergency grants to a reader, as they were when this one was there
/// already: a grant that the owner leaves anew is dormant again.
fn awake_until(
    owner: PrincipalId,
    reader: PrincipalId,
    granted_at: u64,
    now: u64,
    stored: &dyn Snapshot,
) -> Result<Option<u64>, StoreError> {
    let wakes = stored.wakes(owner, Some(reader))?;
    let woken = |w: &&WakeRow| w.is_awake(now) && w.woken_at.is_some_and(|at| at >= granted_at);
    Ok(wakes.iter().filter(woken).map(|w| w.until).max())
}
