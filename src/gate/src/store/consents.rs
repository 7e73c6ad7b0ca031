//! What the rows mean: typed access on top of any backend.
//!
//! | table | key | value |
//! |---|---|---|
//! | `meta` | `format` | u32 |
//! | `roster` | `newest` | CBOR `Signed<Roster>` |
//! | `bridges` | member(16) | sealed `δ`(48) |
//! | `profiles` | owner(16) | CBOR `Signed<OwnerProfile>` |
//! | `grants` | owner(16) ‖ u8(len) ‖ section ‖ u32(epoch) ‖ reader(16) ‖ slot(4) | `A`(33) ‖ `X`(33) ‖ u64 not_before ‖ u64 not_after ‖ u64 granted_at ‖ u64 joined_by ‖ u32 generation ‖ sealed `rk`(48) ‖ by(16) ‖ u8 emergency ‖ u8(n) ‖ n providers(16) ‖ purpose |
//! | `grant_terms` | as `grants` | CBOR `Signed<GrantTerms>` |
//! | `grants_by_reader` | reader(16) ‖ owner(16) ‖ u8(len) ‖ section ‖ u32(epoch) ‖ slot(4) | empty |
//! | `tombstones` | owner(16) ‖ reader(16) ‖ 0, or 1 ‖ section; ‖ 0 ‖ purpose, if of one only | u64 revoked_at ‖ CBOR `Signed<Revocation>` |
//! | `audit` | u64 sequence | CBOR [`AuditEntry`] |
//! | `tickets` | nonce(16) | CBOR [`TicketRow`] |
//! | `accesses` | owner(16) ‖ u64 sequence of the act in `audit` ‖ u32 | CBOR [`AccessRow`] |
//! | `groups` | group(16) | CBOR `Signed<GroupCharter>` |
//! | `family` | 0 ‖ u64 order, or 1 ‖ member(16) | CBOR `Signed<Enrolment>`, or `Signed<Dismissal>` |
//! | `wakes` | owner(16) ‖ reader(16) ‖ u64 asked_at ‖ id(32) | CBOR [`WakeRow`] |
//! | `requests` | owner(16) ‖ u64 number | CBOR [`RequestRow`] |
//! | `requests_by` | caller(16) ‖ owner(16) ‖ u64 number | empty |
//! | `mandates` | owner(16) ‖ carer(16) | CBOR `Signed<Mandate>` |
//! | `mandates_to` | carer(16) ‖ owner(16) | empty |
//! | `commitments` | `g` ‖ key of `grants`, or `b` ‖ member(16) | 33 bytes for each node it takes |
//! | `entries` | node(16) ‖ u64 number | CBOR `Entry` |
//! | `known` | node(16) | u64 number |
//! | `staged` | as `commitments` | sealed share(48) ‖ commitments |
//! | `act_log` | of [`super::act_log`] | |

use sealdex_crypto::{PrincipalId, sharing::Commitments};
use sealdex_wire::{
    B32, Signed,
    acts::{Act, LogRow, PublicWord, Word},
    care::Mandate,
    codec,
    consent::{GrantTerms, OwnerProfile, Place, Revocation},
    family::{Dismissal, Enrolment, Family},
    group::GroupCharter,
    limits,
    roster::Roster,
};
use serde::de::DeserializeOwned;

use super::{
    Snapshot, StoreError, Table, Transaction,
    act_log::WriteActLog as _,
    rows::{AccessRow, AuditEntry, GrantKey, GrantRow, RequestRow, TicketRow, WakeRow, reader_prefix, section_prefix},
};
use crate::secrets::SealedScalar;

const NEWEST: &[u8] = b"newest";

fn decode<T: DeserializeOwned>(table: Table, bytes: &[u8]) -> Result<T, StoreError> {
    codec::from_cbor(bytes).map_err(|_| StoreError::Row(table.name()))
}

/// The first key beyond all that begin with `prefix`.
fn beyond(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|b| *b != u8::MAX)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

fn tombstone_key(owner: PrincipalId, reader: PrincipalId, section: Option<&str>, purpose: Option<&str>) -> Vec<u8> {
    let section = section.map_or(vec![0], |s| [&[1], s.as_bytes()].concat());
    let purpose = purpose.map_or(Vec::new(), |p| [&[0], p.as_bytes()].concat());
    [&owner.0, &reader.0, section.as_slice(), &purpose].concat()
}

pub(crate) fn grant_commitments_key(key: &GrantKey) -> Vec<u8> {
    [b"g".as_slice(), &key.to_bytes()].concat()
}

pub(crate) fn bridge_commitments_key(member: PrincipalId) -> Vec<u8> {
    [b"b".as_slice(), &member.0].concat()
}

fn wake_key(owner: PrincipalId, reader: PrincipalId, asked_at: u64, id: &B32) -> Vec<u8> {
    [owner.0.as_slice(), &reader.0, &asked_at.to_be_bytes(), &id.0].concat()
}

fn access_key(owner: PrincipalId, place: Place) -> Vec<u8> {
    [owner.0.as_slice(), &place.act.to_be_bytes(), &place.part.to_be_bytes()].concat()
}

/// Typed reads. Each fails with [`StoreError`] when the backend does or a row is damaged.
pub trait ReadConsents: Snapshot {
    /// The newest roster.
    fn roster(&self) -> Result<Option<Signed<Roster>>, StoreError> {
        self.get(Table::Roster, NEWEST)?.map(|b| decode(Table::Roster, &b)).transpose()
    }

    /// A member's sealed bridge scalar.
    fn bridge(&self, member: PrincipalId) -> Result<Option<SealedScalar>, StoreError> {
        let row = self.get(Table::Bridges, &member.0)?;
        row.map(|b| b.try_into().map(SealedScalar).map_err(|_| StoreError::Row(Table::Bridges.name()))).transpose()
    }

    /// What the shares of a grant's scalar are checked against, on a gate of several nodes.
    fn grant_commitments(&self, key: &GrantKey) -> Result<Option<Commitments>, StoreError> {
        self.commitments(&grant_commitments_key(key))
    }

    /// What the shares of a member's bridge scalar are checked against, on a gate of several nodes.
    fn bridge_commitments(&self, member: PrincipalId) -> Result<Option<Commitments>, StoreError> {
        self.commitments(&bridge_commitments_key(member))
    }

    /// A row of `commitments`.
    fn commitments(&self, key: &[u8]) -> Result<Option<Commitments>, StoreError> {
        let row = self.get(Table::Commitments, key)?;
        let parse = |b: Vec<u8>| Commitments::from_bytes(&b).map_err(|_| StoreError::Row(Table::Commitments.name()));
        row.map(parse).transpose()
    }

    /// An owner's newest profile.
    fn profile(&self, owner: PrincipalId) -> Result<Option<Signed<OwnerProfile>>, StoreError> {
        self.get(Table::Profiles, &owner.0)?.map(|b| decode(Table::Profiles, &b)).transpose()
    }

    /// A section's grants to a reader, as searches need them. One short range.
    fn grants(
        &self,
        owner: PrincipalId,
        section: &str,
        epoch: u32,
        reader: PrincipalId,
    ) -> Result<Vec<(GrantKey, GrantRow)>, StoreError> {
        let damaged = || StoreError::Row(Table::Grants.name());
        let prefix = reader_prefix(owner, section, epoch, reader);
        let rows = self.range(Table::Grants, &prefix, beyond(&prefix).as_deref(), limits::GRANT_SLOTS)?;
        rows.iter().map(|(k, v)| GrantKey::parse(k).zip(GrantRow::parse(v)).ok_or_else(damaged)).collect()
    }

    /// One grant, as searches need it.
    fn grant(&self, key: &GrantKey) -> Result<Option<GrantRow>, StoreError> {
        let row = self.get(Table::Grants, &key.to_bytes())?;
        row.map(|b| GrantRow::parse(&b).ok_or(StoreError::Row(Table::Grants.name()))).transpose()
    }

    /// A grant's terms, as signed.
    fn grant_terms(&self, key: &GrantKey) -> Result<Option<Signed<GrantTerms>>, StoreError> {
        self.get(Table::GrantTerms, &key.to_bytes())?.map(|b| decode(Table::GrantTerms, &b)).transpose()
    }

    /// What an owner granted, of one section or of all, in key order.
    fn grants_of(
        &self,
        owner: PrincipalId,
        section: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(GrantKey, GrantRow)>, StoreError> {
        let damaged = || StoreError::Row(Table::Grants.name());
        let prefix = section.map_or_else(|| owner.0.to_vec(), |s| section_prefix(owner, s));
        let rows = self.range(Table::Grants, &prefix, beyond(&prefix).as_deref(), limit)?;
        rows.iter().map(|(k, v)| GrantKey::parse(k).zip(GrantRow::parse(v)).ok_or_else(damaged)).collect()
    }

    /// What a reader was granted, by one owner or by all, in key order, after a key.
    fn grants_to(
        &self,
        reader: PrincipalId,
        owner: Option<PrincipalId>,
        after: Option<&GrantKey>,
        limit: usize,
    ) -> Result<Vec<GrantKey>, StoreError> {
        let damaged = || StoreError::Row(Table::GrantsByReader.name());
        let prefix = [reader.0.as_slice(), owner.as_ref().map_or(&[], |o| o.0.as_slice())].concat();
        // The shortest key beyond that one's own.
        let from = after.map_or_else(|| prefix.clone(), |k| [k.by_reader(), vec![0]].concat());
        let rows = self.range(Table::GrantsByReader, &from, beyond(&prefix).as_deref(), limit)?;
        rows.iter().map(|(k, _)| GrantKey::parse_by_reader(k).ok_or_else(damaged)).collect()
    }

    /// Keys of what an owner granted, in key order, after a key.
    fn keys_of(&self, owner: PrincipalId, after: Option<&GrantKey>, limit: usize) -> Result<Vec<GrantKey>, StoreError> {
        let damaged = || StoreError::Row(Table::Grants.name());
        let from = after.map_or_else(|| owner.0.to_vec(), |k| [k.to_bytes(), vec![0]].concat());
        let rows = self.range(Table::Grants, &from, beyond(&owner.0).as_deref(), limit)?;
        rows.iter().map(|(k, _)| GrantKey::parse(k).ok_or_else(damaged)).collect()
    }

    /// A group's charter.
    fn group(&self, id: PrincipalId) -> Result<Option<Signed<GroupCharter>>, StoreError> {
        self.get(Table::Groups, &id.0)?.map(|b| decode(Table::Groups, &b)).transpose()
    }

    /// All charters.
    fn groups(&self) -> Result<Vec<Signed<GroupCharter>>, StoreError> {
        let rows = self.range(Table::Groups, &[], None, usize::MAX)?;
        rows.iter().map(|(_, v)| decode(Table::Groups, v)).collect()
    }

    /// Who was enrolled and dismissed below the roster's members.
    fn family(&self) -> Result<Family, StoreError> {
        let enrolments = self.range(Table::Family, &[0], Some(&[1]), usize::MAX)?;
        let dismissals = self.range(Table::Family, &[1], None, usize::MAX)?;
        Ok(Family {
            enrolments: enrolments.iter().map(|(_, v)| decode(Table::Family, v)).collect::<Result<_, _>>()?,
            dismissals: dismissals.iter().map(|(_, v)| decode(Table::Family, v)).collect::<Result<_, _>>()?,
        })
    }

    /// Emergencies of an owner: of one reader, or of all.
    fn wakes(&self, owner: PrincipalId, reader: Option<PrincipalId>) -> Result<Vec<WakeRow>, StoreError> {
        let prefix = [owner.0.as_slice(), reader.as_ref().map_or(&[], |r| r.0.as_slice())].concat();
        let rows = self.range(Table::Wakes, &prefix, beyond(&prefix).as_deref(), usize::MAX)?;
        rows.iter().map(|(_, v)| decode(Table::Wakes, v)).collect()
    }

    /// All emergencies, with their owners.
    fn all_wakes(&self) -> Result<Vec<(PrincipalId, WakeRow)>, StoreError> {
        let damaged = || StoreError::Row(Table::Wakes.name());
        let rows = self.range(Table::Wakes, &[], None, usize::MAX)?;
        let owner = |k: &[u8]| k.first_chunk().map(|o| PrincipalId(*o));
        rows.iter().map(|(k, v)| Ok((owner(k).ok_or_else(damaged)?, decode(Table::Wakes, v)?))).collect()
    }

    /// A request.
    fn request(&self, owner: PrincipalId, number: u64) -> Result<Option<RequestRow>, StoreError> {
        let key = [owner.0.as_slice(), &number.to_be_bytes()].concat();
        self.get(Table::Requests, &key)?.map(|b| decode(Table::Requests, &b)).transpose()
    }

    /// Requests to an owner, oldest first.
    fn requests_to(&self, owner: PrincipalId) -> Result<Vec<(u64, RequestRow)>, StoreError> {
        let damaged = || StoreError::Row(Table::Requests.name());
        let rows = self.range(Table::Requests, &owner.0, beyond(&owner.0).as_deref(), usize::MAX)?;
        let number = |k: &[u8]| k.get(16..)?.try_into().ok().map(u64::from_be_bytes);
        rows.iter().map(|(k, v)| Ok((number(k).ok_or_else(damaged)?, decode(Table::Requests, v)?))).collect()
    }

    /// Requests a member made: owner and number.
    fn requests_by(&self, caller: PrincipalId) -> Result<Vec<(PrincipalId, u64)>, StoreError> {
        let damaged = || StoreError::Row(Table::RequestsBy.name());
        let rows = self.range(Table::RequestsBy, &caller.0, beyond(&caller.0).as_deref(), usize::MAX)?;
        let parse = |k: &[u8]| {
            let (owner, number) = k.get(16..)?.split_first_chunk()?;
            Some((PrincipalId(*owner), u64::from_be_bytes(number.try_into().ok()?)))
        };
        rows.iter().map(|(k, _)| parse(k).ok_or_else(damaged)).collect()
    }

    /// A mandate.
    fn mandate(&self, owner: PrincipalId, carer: PrincipalId) -> Result<Option<Signed<Mandate>>, StoreError> {
        let key = [owner.0, carer.0].concat();
        self.get(Table::Mandates, &key)?.map(|b| decode(Table::Mandates, &b)).transpose()
    }

    /// Mandates an owner gave.
    fn mandates_of(&self, owner: PrincipalId) -> Result<Vec<Signed<Mandate>>, StoreError> {
        let rows = self.range(Table::Mandates, &owner.0, beyond(&owner.0).as_deref(), usize::MAX)?;
        rows.iter().map(|(_, v)| decode(Table::Mandates, v)).collect()
    }

    /// Owners who gave a carer a mandate.
    fn mandates_to(&self, carer: PrincipalId) -> Result<Vec<PrincipalId>, StoreError> {
        let damaged = || StoreError::Row(Table::MandatesTo.name());
        let rows = self.range(Table::MandatesTo, &carer.0, beyond(&carer.0).as_deref(), usize::MAX)?;
        let owner = |k: &[u8]| k.get(16..)?.try_into().ok().map(PrincipalId);
        rows.iter().map(|(k, _)| owner(k).ok_or_else(damaged)).collect()
    }

    /// When an owner last revoked a section (or, for `None`, all) from a reader, for a purpose (or whatever for), Unix
    /// milliseconds.
    fn tombstone(
        &self,
        owner: PrincipalId,
        reader: PrincipalId,
        section: Option<&str>,
        purpose: Option<&str>,
    ) -> Result<Option<u64>, StoreError> {
        let row = self.get(Table::Tombstones, &tombstone_key(owner, reader, section, purpose))?;
        row.map(|b| b.first_chunk().map(|t| u64::from_be_bytes(*t)).ok_or(StoreError::Row(Table::Tombstones.name())))
            .transpose()
    }

    /// Audit entries from a sequence number on.
    fn audit_from(&self, seq: u64, limit: usize) -> Result<Vec<AuditEntry>, StoreError> {
        let rows = self.range(Table::Audit, &seq.to_be_bytes(), None, limit)?;
        rows.iter().map(|(_, v)| decode(Table::Audit, v)).collect()
    }

    /// What was done with an owner's records and consent, oldest first, after a place.
    fn accesses_of(
        &self,
        owner: PrincipalId,
        after: Option<Place>,
        limit: usize,
    ) -> Result<Vec<(Place, AccessRow)>, StoreError> {
        // The shortest key beyond the place's own.
        let from = after.map_or_else(|| owner.0.to_vec(), |p| [&access_key(owner, p)[..], &[0]].concat());
        let rows = self.range(Table::Accesses, &from, beyond(&owner.0).as_deref(), limit)?;
        let place = |k: &[u8]| {
            let (act, part) = k.get(16..)?.split_at_checked(8)?;
            Some(Place {
                act: u64::from_be_bytes(act.try_into().ok()?),
                part: u32::from_be_bytes(part.try_into().ok()?),
            })
        };
        let row = |(k, v): &(Vec<u8>, Vec<u8>)| {
            Ok((place(k).ok_or(StoreError::Row(Table::Accesses.name()))?, decode(Table::Accesses, v)?))
        };
        rows.iter().map(row).collect()
    }

    /// Every row of what owners can see, `page` rows at a time.
    fn each_access(&self, page: usize, mut f: impl FnMut(PrincipalId, AccessRow)) -> Result<(), StoreError> {
        let damaged = || StoreError::Row(Table::Accesses.name());
        let mut from: Vec<u8> = Vec::new();
        loop {
            let rows = self.range(Table::Accesses, &from, None, page)?;
            for (key, value) in &rows {
                let owner = key.first_chunk().map(|o| PrincipalId(*o)).ok_or_else(damaged)?;
                f(owner, decode(Table::Accesses, value)?);
            }
            match rows.last() {
                Some((key, _)) if rows.len() == page => from = [key.as_slice(), &[0]].concat(),
                _ => return Ok(()),
            }
        }
    }

    /// All tickets on record.
    fn tickets(&self) -> Result<Vec<TicketRow>, StoreError> {
        let rows = self.range(Table::Tickets, &[], None, usize::MAX)?;
        rows.iter().map(|(_, v)| decode(Table::Tickets, v)).collect()
    }
}

impl<S: Snapshot + ?Sized> ReadConsents for S {}

/// Typed writes.
pub trait WriteConsents: Transaction {
    /// Replaces the roster.
    fn put_roster(&mut self, roster: &Signed<Roster>) -> Result<(), StoreError> {
        let has_log = roster.peek().is_ok_and(|r| r.ledger.is_some());
        self.set_logging(has_log)?;
        self.put(Table::Roster, NEWEST, &codec::to_cbor(roster))
    }

    /// Sets a member's bridge scalar.
    fn put_bridge(&mut self, member: PrincipalId, scalar: &SealedScalar) -> Result<(), StoreError> {
        self.put(Table::Bridges, &member.0, &scalar.0)
    }

    /// Sets what the shares of a grant's scalar are checked against.
    fn put_grant_commitments(&mut self, key: &GrantKey, commitments: &Commitments) -> Result<(), StoreError> {
        self.put(Table::Commitments, &grant_commitments_key(key), &commitments.to_bytes())
    }

    /// Sets what the shares of a member's bridge scalar are checked against.
    fn put_bridge_commitments(&mut self, member: PrincipalId, commitments: &Commitments) -> Result<(), StoreError> {
        self.put(Table::Commitments, &bridge_commitments_key(member), &commitments.to_bytes())
    }

    /// Replaces an owner's profile.
    fn put_profile(&mut self, owner: PrincipalId, profile: &Signed<OwnerProfile>) -> Result<(), StoreError> {
        self.put(Table::Profiles, &owner.0, &codec::to_cbor(profile))
    }

    /// Adds or replaces a grant.
    fn put_grant(&mut self, key: &GrantKey, row: &GrantRow, terms: &Signed<GrantTerms>) -> Result<(), StoreError> {
        let bytes = key.to_bytes();
        self.put(Table::Grants, &bytes, &row.to_bytes())?;
        self.put(Table::GrantTerms, &bytes, &codec::to_cbor(terms))?;
        self.put(Table::GrantsByReader, &key.by_reader(), &[])
    }

    /// Puts what a search needs of a grant that is there already.
    fn put_grant_row(&mut self, key: &GrantKey, row: &GrantRow) -> Result<(), StoreError> {
        self.put(Table::Grants, &key.to_bytes(), &row.to_bytes())
    }

    /// Replaces a group's charter.
    fn put_group(&mut self, id: PrincipalId, charter: &Signed<GroupCharter>) -> Result<(), StoreError> {
        self.put(Table::Groups, &id.0, &codec::to_cbor(charter))
    }

    /// Adds an enrolment after all others.
    fn put_enrolment(&mut self, order: u64, enrolment: &Signed<Enrolment>) -> Result<(), StoreError> {
        self.put(Table::Family, &[&[0], order.to_be_bytes().as_slice()].concat(), &codec::to_cbor(enrolment))
    }

    /// Adds a dismissal.
    fn put_dismissal(&mut self, member: PrincipalId, dismissal: &Signed<Dismissal>) -> Result<(), StoreError> {
        self.put(Table::Family, &[&[1], member.0.as_slice()].concat(), &codec::to_cbor(dismissal))
    }

    /// Adds or replaces an emergency.
    fn put_wake(&mut self, owner: PrincipalId, asked_at: u64, wake: &WakeRow) -> Result<(), StoreError> {
        let key = wake_key(owner, wake.reader, asked_at, &wake.id);
        self.put(Table::Wakes, &key, &codec::to_cbor(wake))
    }

    /// Adds or replaces a request.
    fn put_request(&mut self, number: u64, request: &RequestRow) -> Result<(), StoreError> {
        let (owner, number) = (request.ask.owner, number.to_be_bytes());
        self.put(Table::Requests, &[owner.0.as_slice(), &number].concat(), &codec::to_cbor(request))?;
        self.put(Table::RequestsBy, &[request.caller.0.as_slice(), &owner.0, &number].concat(), &[])
    }

    /// Adds or replaces a mandate.
    fn put_mandate(
        &mut self,
        owner: PrincipalId,
        carer: PrincipalId,
        mandate: &Signed<Mandate>,
    ) -> Result<(), StoreError> {
        self.put(Table::Mandates, &[owner.0, carer.0].concat(), &codec::to_cbor(mandate))?;
        self.put(Table::MandatesTo, &[carer.0, owner.0].concat(), &[])
    }

    /// Deletes a grant and its scalar.
    fn remove_grant(&mut self, key: &GrantKey) -> Result<(), StoreError> {
        let bytes = key.to_bytes();
        self.remove(Table::Grants, &bytes)?;
        self.remove(Table::GrantTerms, &bytes)?;
        self.remove(Table::GrantsByReader, &key.by_reader())?;
        self.remove(Table::Commitments, &grant_commitments_key(key))?;
        Ok(())
    }

    /// Records a revocation.
    fn put_tombstone(&mut self, revocation: &Revocation, signed: &Signed<Revocation>) -> Result<(), StoreError> {
        let Revocation { owner, reader, section, purpose, .. } = revocation;
        let key = tombstone_key(*owner, *reader, section.as_deref(), purpose.as_deref());
        let value = [revocation.revoked_at.to_be_bytes().as_slice(), &codec::to_cbor(signed)].concat();
        self.put(Table::Tombstones, &key, &value)
    }

    /// Appends to the audit trail, and to what each owner can see of it; its place in it.
    fn append_act(&mut self, entry: &AuditEntry, accesses: &[(PrincipalId, AccessRow)]) -> Result<u64, StoreError> {
        let listed = |(owner, row): &(PrincipalId, AccessRow)| told(*owner, row.clone(), None);
        self.append_told(entry, accesses.iter().map(listed).collect(), Vec::new())
    }

    /// Appends to the audit trail; its place in it.
    fn append_audit(&mut self, entry: &AuditEntry) -> Result<u64, StoreError> {
        self.append_told(entry, Vec::new(), Vec::new())
    }

    /// Appends to the audit trail, to what each owner can see of it (rows that have a part, which is counted here), and
    /// to what waits for the log of acts; its place in the trail.
    fn append_told(
        &mut self,
        entry: &AuditEntry,
        mut rows: Vec<LogRow>,
        documents: Vec<PublicWord>,
    ) -> Result<u64, StoreError> {
        let act = self.append_entry(entry)?;
        for (row, part) in rows.iter_mut().filter(|r| r.part.is_some()).zip(0..) {
            row.part = Some(part);
            self.put(Table::Accesses, &access_key(row.owner, Place { act, part }), &codec::to_cbor(&row.access))?;
        }
        self.await_logging(Act { act, entry: entry.clone(), documents, rows })?;
        Ok(act)
    }

    /// Appends to the audit trail alone.
    fn append_entry(&mut self, entry: &AuditEntry) -> Result<u64, StoreError> {
        let damaged = || StoreError::Row(Table::Audit.name());
        let seq = match self.last_key(Table::Audit)? {
            None => 0,
            Some(key) => {
                key.try_into().map(u64::from_be_bytes).ok().and_then(|n| n.checked_add(1)).ok_or_else(damaged)?
            }
        };
        self.put(Table::Audit, &seq.to_be_bytes(), &codec::to_cbor(entry))?;
        Ok(seq)
    }

    /// Adds or replaces a ticket.
    fn put_ticket(&mut self, ticket: &TicketRow) -> Result<(), StoreError> {
        self.put(Table::Tickets, &ticket.nonce, &codec::to_cbor(ticket))
    }

    /// Forgets a ticket.
    fn remove_ticket(&mut self, nonce: &[u8; 16]) -> Result<(), StoreError> {
        self.remove(Table::Tickets, nonce).map(|_| ())
    }
}

impl<T: Transaction + ?Sized> WriteConsents for T {}

/// A row that its owner finds among its accesses too.
pub(crate) fn told(owner: PrincipalId, access: AccessRow, word: Option<Word>) -> LogRow {
    LogRow { owner, part: Some(0), access, word }
}

#[cfg(test)]
mod tests {
    use sealdex_wire::RawPoint;

    use super::*;
    use crate::store::{AuditKind, ConsentStore, MemoryStore, Spent};

    fn id(n: u8) -> PrincipalId {
        PrincipalId([n; 16])
    }

    fn row(granted_at: u64) -> GrantRow {
        let (not_before, not_after, purpose) = (1, 2, "treatment".to_owned());
        GrantRow {
            a: RawPoint([2; 33]),
            x: RawPoint([3; 33]),
            not_before,
            not_after,
            granted_at,
            generation: 7,
            joined_by: 8,
            emergency: true,
            by: id(9),
            providers: vec![id(5), id(6)],
            rk: SealedScalar([4; 48]),
            purpose,
        }
    }

    #[test]
    fn grants_are_found_by_owner_section_and_reader_and_by_nothing_else() {
        let signer = sealdex_crypto::Identity::from_seed(&sealdex_crypto::IdentitySeed::from_bytes(&[1; 32]));
        let terms = GrantTerms {
            domain: "d".into(),
            owner: id(1),
            reader: (&signer.public()).into(),
            section: "labs".into(),
            epoch: 0,
            a: RawPoint([2; 33]),
            x: RawPoint([3; 33]),
            r: RawPoint([3; 33]),
            commitments: Vec::new(),
            purpose: "treatment".into(),
            not_before: 1,
            not_after: 2,
            granted_at: 3,
            group_key: None,
            joined_by: None,
            newcomers_later: false,
            providers: Vec::new(),
            emergency: None,
            by: None,
        };
        let signed = Signed::sign(&terms, &signer, &mut rand::rng());
        let key = |owner, section: &str, epoch, reader, slot| {
            let section = section.to_owned();
            GrantKey { owner: id(owner), section, epoch, reader: id(reader), slot: [slot; 4] }
        };
        let keys = [
            key(1, "labs", 0, 7, 1),
            key(1, "labs", 1, 7, 1),
            key(1, "labs", 1, 7, 2),
            key(1, "labsx", 0, 8, 1),
            key(255, "labs", 0, 7, 1),
        ];
        let store = MemoryStore::default();
        store
            .write(|t| keys.iter().zip(3..).try_for_each(|(k, at)| t.put_grant(k, &row(at), &signed)))
            .expect("written");
        store
            .read(|s| {
                assert_eq!(s.grant(&keys[1])?, Some(row(4)));
                assert_eq!(s.grant(&key(1, "labs", 2, 7, 1))?, None);
                let both = vec![(keys[1].clone(), row(4)), (keys[2].clone(), row(5))];
                assert_eq!(s.grants(id(1), "labs", 1, id(7))?, both);
                assert_eq!(s.grants(id(1), "labs", 2, id(7))?, []);
                let of = |owner, section, limit| -> Result<Vec<GrantKey>, StoreError> {
                    Ok(s.grants_of(owner, section, limit)?.into_iter().map(|(k, _)| k).collect())
                };
                assert_eq!(of(id(1), Some("labs"), 9)?, keys[..3]);
                assert_eq!(of(id(1), None, 9)?, keys[..4]);
                assert_eq!(of(id(255), None, 9)?, keys[4..]);
                assert_eq!(of(id(1), None, 1)?, keys[..1]);
                let to_seven = [keys[0].clone(), keys[1].clone(), keys[2].clone(), keys[4].clone()];
                assert_eq!(s.grants_to(id(7), None, None, 9)?, to_seven);
                assert_eq!(s.grants_to(id(7), None, Some(&keys[1]), 1)?, to_seven[2..3]);
                assert_eq!(s.grants_to(id(7), Some(id(255)), None, 9)?, keys[4..]);
                assert_eq!(s.keys_of(id(1), Some(&keys[0]), 2)?, keys[1..3]);
                assert_eq!(s.grant_terms(&keys[3])?, Some(signed.clone()));
                Ok::<_, StoreError>(())
            })
            .expect("read");
        store.write(|t| t.remove_grant(&keys[0])).expect("removed");
        store
            .read(|s| {
                assert_eq!(s.grant(&keys[0])?, None);
                assert_eq!(s.grants_to(id(7), None, None, 9)?.len(), 3);
                assert_eq!(s.grant_terms(&keys[0])?, None);
                Ok::<_, StoreError>(())
            })
            .expect("read");
    }

    #[test]
    fn the_audit_trail_grows_at_its_end() {
        let store = MemoryStore::default();
        let entry = |count| AuditEntry {
            at: 1,
            kind: AuditKind::Search,
            caller: id(1),
            owner: None,
            purpose: None,
            count,
            owners: 0,
            spent: Spent::default(),
        };
        for n in 0..3 {
            assert_eq!(store.write(|t| t.append_audit(&entry(n))), Ok(n));
        }
        assert_eq!(store.read(|s| s.audit_from(1, 9)), Ok(vec![entry(1), entry(2)]));
    }
}
