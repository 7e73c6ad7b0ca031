//! Which matches a caller may have: those with a live grant for the purpose.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
};

use sealdex_crypto::{PrincipalId, RecordId, RekeyScalar, RoutingInfo};
use sealdex_wire::consent::ANY_PURPOSE;

use super::pages::Asker;
use crate::{
    error::GateError,
    secrets::StoreKey,
    store::{GrantKey, GrantRow, ReadConsents as _, Snapshot, StoreError, Table},
};

/// A live grant of one section and epoch to the caller or a group it belongs to.
pub(crate) struct Permit {
    pub(crate) key: GrantKey,
    pub(crate) row: GrantRow,
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
    pub(crate) permit: Arc<Permit>,
}

/// Sections of one owner and epoch already looked up.
type Sections = Vec<(String, Option<Arc<Permit>>)>;

/// Looks permits up, each section of an owner once.
#[derive(Default)]
pub(crate) struct Permits(HashMap<(PrincipalId, u32), Sections>);

impl Permits {
    /// The permit of one section for a caller at a time (Unix seconds). At first use one point read, or
    /// two when the grant is to the group of all.
    pub(crate) fn of(
        &mut self,
        routing: &RoutingInfo,
        asker: &Asker,
        now: u64,
        stored: &dyn Snapshot,
    ) -> Result<Option<Arc<Permit>>, StoreError> {
        let sections = self.0.entry((routing.patient, routing.epoch)).or_default();
        if let Some((_, known)) = sections.iter().find(|(s, _)| *s == routing.section) {
            return Ok(known.clone());
        }
        let found = look_up(routing, asker, now, stored)?.map(Arc::new);
        sections.push((routing.section.clone(), found.clone()));
        Ok(found)
    }
}

fn look_up(
    routing: &RoutingInfo,
    asker: &Asker,
    now: u64,
    stored: &dyn Snapshot,
) -> Result<Option<Permit>, StoreError> {
    for reader in asker.readers {
        let Some(row) = stored.grant(routing.patient, &routing.section, routing.epoch, reader)? else { continue };
        let fits = row.purpose == asker.purpose || row.purpose == ANY_PURPOSE;
        if fits && (row.not_before..row.not_after).contains(&now) {
            let key = GrantKey::new(routing.patient, &routing.section, routing.epoch, reader);
            return Ok(Some(Permit { key, row, rk: OnceLock::new() }));
        }
    }
    Ok(None)
}
