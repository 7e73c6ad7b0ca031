//! Groups: who belongs to which, and what their managers change (spec section 5).

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use rayon::prelude::*;
use sealdex_crypto::{Point, PrincipalId, RekeyScalar, Scalar};
use sealdex_wire::{
    RawPoint, Signed,
    acts::LogRow,
    consent::Accepted,
    group::{GroupCharter, GroupList, ListGroups, ListStale, RotateGrants, Sealed, StaleGrant, StaleList, SubmitGroup},
    limits,
};

use crate::{
    error::{CallerRefusal, GateError, at_most},
    gate::{Gate, blocking},
    members::Members,
    revoke::{finish, mark},
    rules::groups::{self, GroupRefusal},
    store::{
        AccessRow, AuditKind, ConsentStore, GrantKey, ReadConsents as _, StoreError, Table, TicketRow,
        WriteConsents as _,
    },
};

/// One group, prepared.
pub struct Group {
    /// Its newest charter.
    pub charter: GroupCharter,
    /// The charter as signed.
    pub signed: Signed<GroupCharter>,
}

impl Group {
    /// Who manages it.
    pub fn manager(&self) -> Option<PrincipalId> {
        self.charter.managers.last().and_then(|m| m.identity().ok()).map(|m| m.id())
    }
}

/// All groups, indexed.
#[derive(Default)]
pub struct Groups {
    by_id: HashMap<PrincipalId, Arc<Group>>,
    by_member: HashMap<PrincipalId, Vec<(PrincipalId, u64)>>,
}

/// A principal whose grants a caller may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reader {
    /// Itself, a group it belongs to, or the group of all.
    pub id: PrincipalId,
    /// When it joined that group, Unix milliseconds.
    pub since: u64,
}

impl Groups {
    /// Indexes charters, as the store has them.
    pub fn new(charters: Vec<Signed<GroupCharter>>) -> Result<Self, StoreError> {
        let damaged = || StoreError::Row(Table::Groups.name());
        let mut groups = Self::default();
        for signed in charters {
            let charter = signed.peek().map_err(|_| damaged())?;
            let id = charter.group.identity().map_err(|_| damaged())?.id();
            for m in &charter.members {
                groups.by_member.entry(m.member).or_default().push((id, m.since));
            }
            groups.by_id.insert(id, Arc::new(Group { charter, signed }));
        }
        Ok(groups)
    }

    /// A group.
    pub fn get(&self, id: PrincipalId) -> Option<&Arc<Group>> {
        self.by_id.get(&id)
    }

    /// Principals whose grants an active member may use, itself first and the group of all last.
    pub fn readers_for(&self, member: PrincipalId, members: &Members) -> Vec<Reader> {
        let own = [Reader { id: member, since: 0 }];
        let groups =
            self.by_member.get(&member).into_iter().flatten().map(|(id, since)| Reader { id: *id, since: *since });
        own.into_iter().chain(groups).chain([Reader { id: members.everyone(), since: 0 }]).collect()
    }

    /// Whether a member is one of these, or belongs to a group among them.
    pub fn is_any(&self, member: PrincipalId, of: &[PrincipalId]) -> bool {
        let groups = self.by_member.get(&member).into_iter().flatten();
        of.contains(&member) || groups.into_iter().any(|(group, _)| of.contains(group))
    }
}

impl<S: ConsentStore> Gate<S> {
    /// Puts a charter in force: from then on who it leaves out is not served, and grants are rotated to its key one
    /// by one while both keys' holders, which are the members alone, go on reading. From the manager.
    ///
    /// # Errors
    /// [`GateError`]; nothing has changed then.
    pub async fn submit_group(
        self: &Arc<Self>,
        caller: PrincipalId,
        request: SubmitGroup,
    ) -> Result<Accepted, GateError> {
        let gate = self.clone();
        self.members()?.active(caller)?;
        finish(async move {
            let held = gate.barrier.write().await;
            let worker = gate.clone();
            let (count, ended) = blocking(move || worker.submit_group_now(caller, request)).await?;
            drop(held);
            gate.withdraw(ended).await;
            Ok(Accepted { count })
        })
        .await
    }

    fn submit_group_now(&self, caller: PrincipalId, request: SubmitGroup) -> Result<(u64, Vec<TicketRow>), GateError> {
        let members = self.members()?;
        let new = groups::verify(request.charter, caller, self.secrets.domain(), &members, self.now())?;
        let before = self.groups();
        let before = before.get(new.id);
        if before.is_some_and(|b| b.signed.payload == new.signed.payload) {
            return Ok((0, Vec::new()));
        }
        groups::follows(&new, before.map(|b| &b.charter), self.now())?;
        let managed = self.groups().by_id.values().filter(|g| g.manager() == Some(caller)).count();
        if before.is_none() && managed >= limits::MANAGED_GROUPS {
            return Err(GroupRefusal::TooManyGroups(caller).into());
        }
        let staying: HashSet<PrincipalId> = new.charter.members.iter().map(|m| m.member).collect();
        let left = before.into_iter().flat_map(|b| &b.charter.members).map(|m| m.member);
        let left: HashSet<PrincipalId> = left.filter(|m| !staying.contains(m)).collect();
        let ended = self.outstanding.issued_to(|c| left.contains(&c));
        let ended: Vec<_> = ended.into_iter().filter(|t| t.covers.iter().any(|c| c.reader == new.id)).collect();
        let all = self.store.write(|txn| {
            txn.put_group(new.id, &new.signed)?;
            mark(txn, &ended)?;
            let count = staying.len() as u64;
            txn.append_audit(&self.entry(AuditKind::Group, caller, count, std::iter::empty()))?;
            Ok::<_, GateError>(txn.groups()?)
        })?;
        self.set_groups(Groups::new(all)?);
        self.permissions_changed();
        Ok((1, ended))
    }

    /// Charters. For members and owners: who grants to a group is to know who is in it.
    ///
    /// # Errors
    /// [`GateError`].
    pub fn list_groups(&self, caller: PrincipalId, request: &ListGroups) -> Result<GroupList, GateError> {
        at_most("groups", request.groups.len(), limits::DOCUMENTS)?;
        self.member_or_owner(caller)?;
        let groups = self.groups();
        let wanted: HashSet<_> = request.groups.iter().collect();
        let concerns = |group: &Group| {
            let own = group.charter.member(caller).is_some() || group.manager() == Some(caller);
            (own || !request.mine)
                && (wanted.is_empty() || group.charter.group.identity().is_ok_and(|g| wanted.contains(&g.id())))
        };
        let mut found: Vec<&Arc<Group>> = groups.by_id.values().filter(|g| concerns(g)).collect();
        found.sort_by(|a, b| {
            a.charter.name.cmp(&b.charter.name).then_with(|| a.charter.group.enc.0.cmp(&b.charter.group.enc.0))
        });
        Ok(GroupList { charters: found.into_iter().map(|g| g.signed.clone()).collect() })
    }

    /// The generation that a caller may rotate a reader's grants to, and the reader they then belong to: a group's
    /// manager, or a member that succeeds another.
    fn rotates(&self, caller: PrincipalId, reader: PrincipalId) -> Result<(u32, PrincipalId), GateError> {
        let members = self.members()?;
        let known = members.active(caller)?;
        if known.succeeds == Some(reader) {
            return Ok((0, caller));
        }
        let groups = self.groups();
        let group = groups.get(reader).ok_or(GroupRefusal::Unknown(reader))?;
        if group.manager() == Some(caller) {
            Ok((group.charter.generation, reader))
        } else {
            Err(CallerRefusal::NotManager { caller, group: reader }.into())
        }
    }

    /// Grants that are for an earlier key of a reader.
    ///
    /// # Errors
    /// [`GateError`].
    pub async fn list_stale(self: &Arc<Self>, caller: PrincipalId, request: ListStale) -> Result<StaleList, GateError> {
        let (generation, to) = self.rotates(caller, request.reader)?;
        let gate = self.clone();
        let limit = (request.limit as usize).clamp(1, limits::DOCUMENTS);
        blocking(move || {
            let mut after = match &request.after {
                None => None,
                Some(Sealed(bytes)) => Some(GrantKey::parse(bytes).ok_or(GroupRefusal::Cursor)?),
            };
            let mut grants = Vec::new();
            gate.store.read(|s| {
                loop {
                    let keys = s.grants_to(request.reader, None, after.as_ref(), limits::DOCUMENTS)?;
                    let last = keys.len() < limits::DOCUMENTS;
                    for key in keys {
                        let row = s.grant(&key)?.ok_or(StoreError::Row(Table::Grants.name()))?;
                        if row.generation != generation || to != request.reader {
                            grants.push(StaleGrant {
                                grant: Sealed(key.to_bytes()),
                                generation: row.generation,
                                a: row.a,
                                x: row.x,
                            });
                        }
                        after = Some(key);
                        if grants.len() == limit {
                            let next = after.map(|k| Sealed(k.to_bytes()));
                            return Ok(StaleList { grants, next });
                        }
                    }
                    if last {
                        return Ok::<_, GateError>(StaleList { grants, next: None });
                    }
                }
            })
        })
        .await
    }

    /// `rk ← rk·factor`, for each grant that is of the generation the factor is made for. 2 µs a grant and the
    /// store's cost; on a gate of several nodes also a multiplication for each node it takes. A factor that comes twice changes nothing the second time.
    ///
    /// # Errors
    /// [`GateError`]; nothing has changed then.
    pub async fn rotate(self: &Arc<Self>, caller: PrincipalId, request: RotateGrants) -> Result<Accepted, GateError> {
        at_most("rotations", request.rotations.len(), limits::DOCUMENTS)?;
        // The generation does not change between the check and the store.
        let held = self.barrier.read().await;
        let (generation, to) = self.rotates(caller, request.reader)?;
        let gate = self.clone();
        let done = blocking(move || {
            let parse = |r: &sealdex_wire::group::Rotation| {
                let key =
                    GrantKey::parse(&r.grant.0).filter(|k| k.reader == request.reader).ok_or(GroupRefusal::Cursor)?;
                let factor = Scalar::from_bytes(&r.factor.0).map_err(|_| GroupRefusal::Factor)?;
                Ok((key, factor, (r.from, r.to), r.x))
            };
            let parsed: Vec<(GrantKey, Scalar, (u32, u32), RawPoint)> =
                request.rotations.par_iter().map(parse).collect::<Result<_, GroupRefusal>>()?;
            gate.store.write(|txn| {
                let mut count = 0;
                let mut moved_on = Vec::new();
                for (key, factor, (from, leads_to), x) in &parsed {
                    // Late: the reader's key has changed again since.
                    if *leads_to != generation {
                        continue;
                    }
                    let Some(mut row) = txn.grant(key)? else { continue };
                    // Made, replaced or rotated since: not what the factor is for.
                    if row.generation != *from || row.x != *x || (row.generation == generation && to == key.reader) {
                        continue;
                    }
                    let moved = GrantKey { reader: to, ..key.clone() };
                    if moved != *key && txn.grant(&moved)?.is_some() {
                        continue; // the owner has granted to the successor itself
                    }
                    let bytes = gate.secrets.store_key.open_scalar(Table::Grants, &key.to_bytes(), &row.rk)?;
                    let rk = RekeyScalar::from_bytes(&bytes).map_err(|_| StoreError::Row(Table::Grants.name()))?;
                    let rotated = rk.rotate(factor).to_bytes();
                    row.rk = gate.secrets.store_key.seal_scalar(Table::Grants, &moved.to_bytes(), &rotated);
                    row.generation = generation;
                    let commitments = txn.grant_commitments(key)?.map(|c| c.scale(factor));
                    if moved == *key {
                        txn.put_grant_row(key, &row)?;
                    } else {
                        let terms = txn.grant_terms(key)?.ok_or(StoreError::Row(Table::GrantTerms.name()))?;
                        txn.remove_grant(key)?;
                        txn.put_grant(&moved, &row, &terms)?;
                    }
                    if let Some(commitments) = commitments {
                        txn.put_grant_commitments(&moved, &commitments)?;
                    }
                    count += 1;
                    moved_on.push(rotated_row(caller, gate.now(), key, to));
                }
                let entry = gate.entry(AuditKind::Rotation, caller, count, parsed.iter().map(|(k, ..)| k.owner));
                txn.append_told(&entry, moved_on, Vec::new())?;
                Ok::<_, GateError>(Accepted { count })
            })
        })
        .await;
        drop(held);
        done
    }
}

/// A grant that was rotated, for the log of acts: its owner finds it nowhere else.
fn rotated_row(caller: PrincipalId, at: u64, key: &GrantKey, reader: PrincipalId) -> LogRow {
    let access = AccessRow {
        at,
        kind: AuditKind::Rotation,
        caller,
        purpose: None,
        section: Some(key.section.clone()),
        reader: Some(reader),
        count: 1,
        emergency: false,
        search: None,
    };
    LogRow { owner: key.owner, part: None, access, word: None }
}

/// Whether these bytes are a point.
pub(crate) fn is_point(bytes: &RawPoint) -> bool {
    Point::from_bytes(&bytes.0).is_ok()
}
