//! Tracing a key that was found in the wild: every member's keys are its own, so the gate can say what one could
//! reach, and what it did reach.

use std::{collections::BTreeMap, sync::Arc};

use sealdex_crypto::PrincipalId;
use sealdex_wire::{
    family::{Reachable, Reached, Trace, TraceMember},
    limits,
};

use crate::{
    error::{CallerRefusal, GateError},
    gate::{Gate, blocking},
    store::{AuditEntry, AuditKind, ConsentStore, ReadConsents as _, StoreError},
};

/// Rows read at once.
const PAGE: usize = 4096;

impl<S: ConsentStore> Gate<S> {
    /// What a member could reach and did reach. Goes through the whole trail: seconds for millions of acts. For the
    /// authority.
    ///
    /// # Errors
    /// [`GateError`].
    pub async fn trace(self: &Arc<Self>, caller: PrincipalId, request: TraceMember) -> Result<Trace, GateError> {
        if caller != self.secrets.authority().id() {
            return Err(CallerRefusal::NotAuthority.into());
        }
        let (members, groups) = (self.members()?, self.groups());
        let member = request.member;
        members.get(member).ok_or(CallerRefusal::NotActive(member))?;
        let limit = (request.limit as usize).clamp(1, 16 * limits::DOCUMENTS);
        let gate = self.clone();
        blocking(move || {
            let readers = groups.readers_for(member, &members);
            let below = members.below(member);
            gate.store.read(|s| {
                let mut trace = Trace {
                    reachable: Vec::new(),
                    reachable_in_all: 0,
                    reached: Vec::new(),
                    reached_in_all: 0,
                    searches: 0,
                    batches: 0,
                    alarms: 0,
                    below,
                };
                for reader in readers.iter().filter(|r| r.id != members.everyone()) {
                    let mut found: BTreeMap<(PrincipalId, String), u32> = BTreeMap::new();
                    let mut after = None;
                    loop {
                        let keys = s.grants_to(reader.id, None, after.as_ref(), PAGE)?;
                        let last = keys.len() < PAGE;
                        after = keys.last().cloned();
                        keys.into_iter().for_each(|k| *found.entry((k.owner, k.section)).or_default() += 1);
                        if last {
                            break;
                        }
                    }
                    trace.reachable_in_all += found.len() as u64;
                    let room = limit.saturating_sub(trace.reachable.len());
                    let row = |((owner, section), epochs)| Reachable { owner, section, epochs, reader: reader.id };
                    trace.reachable.extend(found.into_iter().take(room).map(row));
                }
                for_each_act(s, |entry| match entry.kind {
                    _ if entry.caller != member => {}
                    AuditKind::Search | AuditKind::Count => trace.searches += 1,
                    AuditKind::Bridge | AuditKind::Deletion => trace.batches += 1,
                    AuditKind::Alarm => trace.alarms += 1,
                    _ => {}
                })?;
                let mut reached: BTreeMap<(PrincipalId, String), Reached> = BTreeMap::new();
                s.each_access(PAGE, |owner, row| {
                    if row.caller == member && row.kind == AuditKind::Search {
                        let section = row.section.clone().unwrap_or_default();
                        let new = Reached { owner, section: section.clone(), records: 0, first_at: row.at, last_at: 0 };
                        let entry = reached.entry((owner, section)).or_insert(new);
                        entry.records += row.count;
                        entry.first_at = entry.first_at.min(row.at);
                        entry.last_at = entry.last_at.max(row.at);
                    }
                })?;
                trace.reached_in_all = reached.len() as u64;
                trace.reached = reached.into_values().take(limit).collect();
                Ok::<_, GateError>(trace)
            })
        })
        .await
    }

    /// The whole audit trail, oldest first. For tests and auditors on the gate's own machine; it names members.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn audit_trail(&self) -> Result<Vec<AuditEntry>, StoreError> {
        let mut all = Vec::new();
        self.store.read(|s| for_each_act(s, |e| all.push(e)))?;
        Ok(all)
    }
}

fn for_each_act(s: &dyn crate::store::Snapshot, mut f: impl FnMut(AuditEntry)) -> Result<(), StoreError> {
    let mut next = 0;
    loop {
        let entries = s.audit_from(next, PAGE)?;
        let last = entries.len() < PAGE;
        next += entries.len() as u64;
        entries.into_iter().for_each(&mut f);
        if last {
            return Ok(());
        }
    }
}
