//! Finding and opening one's own rows.

use std::collections::HashMap;

use sealdex_crypto::{Identity, PrincipalId, PublicIdentity, RowKey};
use serde::de::DeserializeOwned;

use super::{AuditorRow, OwnerRow, Reader, SignedAct, content::unpad, row_key};

/// A row with its reader's hint that does not open: the gate has sealed something else than an act's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("act {number} of gate {gate} has a row for this reader that does not open: the gate sealed it wrongly")]
pub struct UnreadableRow {
    /// Whose.
    pub gate: PrincipalId,
    /// Which entry of it.
    pub number: u64,
}

/// One reader's keys, by gate: one multiplication for each gate, then one HMAC an entry.
pub struct ActReader<'i> {
    domain: String,
    identity: &'i Identity,
    keys: HashMap<(PrincipalId, bool), RowKey>,
}

impl<'i> ActReader<'i> {
    /// Reads what concerns this identity.
    #[must_use]
    pub fn new(domain: &str, identity: &'i Identity) -> Self {
        Self { domain: domain.into(), identity, keys: HashMap::new() }
    }

    /// What an entry says of this owner; none if it does not concern it.
    ///
    /// # Errors
    /// [`UnreadableRow`].
    pub fn as_owner(&mut self, act: &SignedAct, gate: &PublicIdentity) -> Result<Option<OwnerRow>, UnreadableRow> {
        self.open(act, gate, Reader::Owner(self.identity.id()))
    }

    /// What an entry says to this auditor; none if it was not one then.
    ///
    /// # Errors
    /// [`UnreadableRow`].
    pub fn as_auditor(&mut self, act: &SignedAct, gate: &PublicIdentity) -> Result<Option<AuditorRow>, UnreadableRow> {
        self.open(act, gate, Reader::Auditor(self.identity.id()))
    }

    fn open<T: DeserializeOwned>(
        &mut self,
        act: &SignedAct,
        gate: &PublicIdentity,
        reader: Reader,
    ) -> Result<Option<T>, UnreadableRow> {
        let place = (gate.id(), matches!(reader, Reader::Auditor(_)));
        let (domain, identity) = (&self.domain, self.identity);
        let key = self.keys.entry(place).or_insert_with(|| row_key(domain, identity, gate, gate.id(), reader));
        let number = act.entry.number;
        let Some(row) = act.row(key.hint(number)) else { return Ok(None) };
        let opened = key.open(number, &row.sealed).ok().and_then(|plain| unpad(&plain));
        opened.map(Some).ok_or(UnreadableRow { gate: gate.id(), number })
    }
}
