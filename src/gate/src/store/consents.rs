//! What the rows mean: typed access on top of any backend.
//!
//! | table | key | value |
//! |---|---|---|
//! | `meta` | `format` | u32 |
//! | `roster` | `newest` | CBOR `Signed<Roster>` |
//! | `bridges` | member(16) | sealed `δ`(48) |
//! | `profiles` | owner(16) | CBOR `Signed<OwnerProfile>` |
//! | `grants` | owner(16) ‖ u8(len) ‖ section ‖ u32(epoch) ‖ reader(16) | `A`(33) ‖ `X`(33) ‖ u64 not_before ‖ u64 not_after ‖ u64 granted_at ‖ sealed `rk`(48) ‖ purpose |
//! | `grant_terms` | as `grants` | CBOR `Signed<GrantTerms>` |
//! | `grants_by_reader` | reader(16) ‖ owner(16) ‖ u8(len) ‖ section ‖ u32(epoch) | empty |
//! | `tombstones` | owner(16) ‖ reader(16) ‖ 0, or 1 ‖ section | u64 revoked_at ‖ CBOR `Signed<Revocation>` |
//! | `audit` | u64 sequence | CBOR [`AuditEntry`] |
//! | `tickets` | nonce(16) | CBOR [`TicketRow`] |
//! | `accesses` | owner(16) ‖ u64 sequence of the act in `audit` ‖ u32 | CBOR [`AccessRow`] |

use sealdex_crypto::PrincipalId;
use sealdex_wire::{
    Signed, codec,
    consent::{GrantTerms, OwnerProfile, Place, Revocation},
    roster::Roster,
};
use serde::de::DeserializeOwned;

use super::{
    Snapshot, StoreError, Table, Transaction,
    rows::{AccessRow, AuditEntry, GrantKey, GrantRow, TicketRow, grant_key, section_prefix},
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

fn tombstone_key(owner: PrincipalId, reader: PrincipalId, section: Option<&str>) -> Vec<u8> {
    let section = section.map_or(vec![0], |s| [&[1], s.as_bytes()].concat());
    [&owner.0, &reader.0, section.as_slice()].concat()
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

    /// An owner's newest profile.
    fn profile(&self, owner: PrincipalId) -> Result<Option<Signed<OwnerProfile>>, StoreError> {
        self.get(Table::Profiles, &owner.0)?.map(|b| decode(Table::Profiles, &b)).transpose()
    }

    /// A grant, as searches need it. One point read.
    fn grant(
        &self,
        owner: PrincipalId,
        section: &str,
        epoch: u32,
        reader: PrincipalId,
    ) -> Result<Option<GrantRow>, StoreError> {
        let row = self.get(Table::Grants, &grant_key(owner, section, epoch, reader))?;
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

    /// What a reader was granted, by one owner or by all, in key order.
    fn grants_to(
        &self,
        reader: PrincipalId,
        owner: Option<PrincipalId>,
        limit: usize,
    ) -> Result<Vec<GrantKey>, StoreError> {
        let damaged = || StoreError::Row(Table::GrantsByReader.name());
        let prefix = [reader.0.as_slice(), owner.as_ref().map_or(&[], |o| o.0.as_slice())].concat();
        let rows = self.range(Table::GrantsByReader, &prefix, beyond(&prefix).as_deref(), limit)?;
        rows.iter().map(|(k, _)| GrantKey::parse_by_reader(k).ok_or_else(damaged)).collect()
    }

    /// When an owner last revoked a section (or, for `None`, all) from a reader, Unix milliseconds.
    fn tombstone(
        &self,
        owner: PrincipalId,
        reader: PrincipalId,
        section: Option<&str>,
    ) -> Result<Option<u64>, StoreError> {
        let row = self.get(Table::Tombstones, &tombstone_key(owner, reader, section))?;
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
        self.put(Table::Roster, NEWEST, &codec::to_cbor(roster))
    }

    /// Sets a member's bridge scalar.
    fn put_bridge(&mut self, member: PrincipalId, scalar: &SealedScalar) -> Result<(), StoreError> {
        self.put(Table::Bridges, &member.0, &scalar.0)
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

    /// Deletes a grant and its scalar.
    fn remove_grant(&mut self, key: &GrantKey) -> Result<(), StoreError> {
        let bytes = key.to_bytes();
        self.remove(Table::Grants, &bytes)?;
        self.remove(Table::GrantTerms, &bytes)?;
        self.remove(Table::GrantsByReader, &key.by_reader())?;
        Ok(())
    }

    /// Records a revocation.
    fn put_tombstone(&mut self, revocation: &Revocation, signed: &Signed<Revocation>) -> Result<(), StoreError> {
        let key = tombstone_key(revocation.owner, revocation.reader, revocation.section.as_deref());
        let value = [revocation.revoked_at.to_be_bytes().as_slice(), &codec::to_cbor(signed)].concat();
        self.put(Table::Tombstones, &key, &value)
    }

    /// Appends to the audit trail, and to what each owner can see of it; its place in it.
    fn append_act(&mut self, entry: &AuditEntry, accesses: &[(PrincipalId, AccessRow)]) -> Result<u64, StoreError> {
        let seq = self.append_audit(entry)?;
        for ((owner, row), part) in accesses.iter().zip(0_u32..) {
            self.put(Table::Accesses, &access_key(*owner, Place { act: seq, part }), &codec::to_cbor(row))?;
        }
        Ok(seq)
    }

    /// Appends to the audit trail; its place in it.
    fn append_audit(&mut self, entry: &AuditEntry) -> Result<u64, StoreError> {
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

#[cfg(test)]
mod tests {
    use sealdex_wire::RawPoint;

    use super::*;
    use crate::store::{AuditKind, ConsentStore, MemoryStore};

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
            purpose: "treatment".into(),
            not_before: 1,
            not_after: 2,
            granted_at: 3,
        };
        let signed = Signed::sign(&terms, &signer, &mut rand::rng());
        let keys = [
            GrantKey::new(id(1), "labs", 0, id(7)),
            GrantKey::new(id(1), "labs", 1, id(7)),
            GrantKey::new(id(1), "labsx", 0, id(8)),
            GrantKey::new(id(255), "labs", 0, id(7)),
        ];
        let store = MemoryStore::default();
        store
            .write(|t| keys.iter().zip(3..).try_for_each(|(k, at)| t.put_grant(k, &row(at), &signed)))
            .expect("written");
        store
            .read(|s| {
                assert_eq!(s.grant(id(1), "labs", 1, id(7))?, Some(row(4)));
                assert_eq!(s.grant(id(1), "labs", 2, id(7))?, None);
                let of = |owner, section, limit| -> Result<Vec<GrantKey>, StoreError> {
                    Ok(s.grants_of(owner, section, limit)?.into_iter().map(|(k, _)| k).collect())
                };
                assert_eq!(of(id(1), Some("labs"), 9)?, keys[..2]);
                assert_eq!(of(id(1), None, 9)?, keys[..3]);
                assert_eq!(of(id(255), None, 9)?, keys[3..]);
                assert_eq!(of(id(1), None, 1)?, keys[..1]);
                assert_eq!(s.grants_to(id(7), None, 9)?, [keys[0].clone(), keys[1].clone(), keys[3].clone()]);
                assert_eq!(s.grants_to(id(7), Some(id(255)), 9)?, keys[3..]);
                assert_eq!(s.grant_terms(&keys[2])?, Some(signed.clone()));
                Ok::<_, StoreError>(())
            })
            .expect("read");
        store.write(|t| t.remove_grant(&keys[0])).expect("removed");
        store
            .read(|s| {
                assert_eq!(s.grant(id(1), "labs", 0, id(7))?, None);
                assert_eq!(s.grants_to(id(7), None, 9)?.len(), 2);
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
        };
        for n in 0..3 {
            assert_eq!(store.write(|t| t.append_audit(&entry(n))), Ok(n));
        }
        assert_eq!(store.read(|s| s.audit_from(1, 9)), Ok(vec![entry(1), entry(2)]));
    }
}
