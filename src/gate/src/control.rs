//! The control plane: roster, owners, grants. What ends permissions is in [`crate::revoke`].

use std::{collections::HashMap, sync::Arc};

use rayon::prelude::*;
use sealdex_crypto::{PrincipalId, PublicIdentity, Scalar};
use sealdex_wire::{
    Signed,
    acts::{LogRow, SignedBy, Word},
    consent::{
        Accepted, ChangeConsent, GrantList, GrantSubmission, GrantTerms, ListGrants, LookupOwners, OwnerProfile,
        OwnersFound, PublishOwners, SubmitGrants,
    },
    family::MemberList,
    group::Sealed,
    limits,
    roster::Roster,
    threshold::NodeShares,
};

use crate::{
    error::{CallerRefusal, GateError, at_most},
    gate::{Gate, blocking},
    members::Members,
    nodes::redone::redone,
    revoke::{finish, mark},
    rules::{
        grants::{self, Against, GrantRefusal, Settled},
        groups::GroupRefusal,
        mandates::mandate_for,
        owners::{self, OwnerRefusal},
    },
    store::{
        AccessRow, AuditEntry, AuditKind, ConsentStore, GrantKey, ReadConsents as _, ReadErasures as _, Spent,
        StoreError, Table, TicketRow, Transaction, WriteConsents as _, consents::told,
    },
};

impl<S: ConsentStore> Gate<S> {
    /// The newest roster, for any active member.
    ///
    /// # Errors
    /// [`GateError`].
    pub fn roster(&self, caller: PrincipalId) -> Result<Signed<Roster>, GateError> {
        let members = self.members()?;
        if caller != self.secrets.authority().id() {
            members.active(caller)?;
        }
        Ok(members.signed().clone())
    }

    /// The newest roster and who was enrolled below it, for any active member, and for owners, who grant to them.
    ///
    /// # Errors
    /// [`GateError`].
    pub fn member_list(&self, caller: PrincipalId) -> Result<MemberList, GateError> {
        let members = self.members()?;
        self.member_or_owner(caller)?;
        Ok(MemberList { roster: members.signed().clone(), family: members.family().clone() })
    }

    /// Refuses whoever is neither the authority, nor an active member, nor an owner that has published a profile.
    pub(crate) fn member_or_owner(&self, caller: PrincipalId) -> Result<(), GateError> {
        let members = self.members()?;
        if caller == self.secrets.authority().id() || self.store.read(|s| s.profile(caller))?.is_some() {
            return Ok(());
        }
        match members.get(caller) {
            Some(_) => members.active(caller).map(|_| ()).map_err(Into::into),
            None => Err(CallerRefusal::NeitherOwnerNorMember(caller).into()),
        }
    }

    /// Stores owner profiles, all or none. From an active provider, or an owner for itself.
    ///
    /// # Errors
    /// [`GateError`]; nothing is stored then.
    pub async fn publish_owners(
        self: &Arc<Self>,
        caller: PrincipalId,
        request: PublishOwners,
    ) -> Result<Accepted, GateError> {
        at_most("profiles", request.profiles.len(), limits::DOCUMENTS)?;
        let (gate, members) = (self.clone(), self.members()?);
        blocking(move || {
            let verified = gate.verify_profiles(caller, &members, request.profiles)?;
            gate.store.write(|txn| {
                let count = put_profiles(&verified, txn)?;
                let entry = gate.entry(AuditKind::Owners, caller, count, verified.iter().map(|v| v.owner));
                txn.append_told(&entry, gate.published(caller, &verified), Vec::new())?;
                Ok::<_, GateError>(Accepted { count })
            })
        })
        .await
    }

    fn verify_profiles(
        &self,
        caller: PrincipalId,
        members: &Members,
        profiles: Vec<Signed<OwnerProfile>>,
    ) -> Result<Vec<owners::Verified>, GateError> {
        let verified = owners::verify_all(profiles, self.secrets.domain(), members)?;
        if verified.iter().any(|v| v.owner != caller) {
            members.active_provider(caller)?;
        }
        Ok(verified)
    }

    /// Profiles by owner, for an active provider; an owner's own, for itself.
    ///
    /// # Errors
    /// [`GateError`].
    pub async fn lookup_owners(
        self: &Arc<Self>,
        caller: PrincipalId,
        request: LookupOwners,
    ) -> Result<OwnersFound, GateError> {
        at_most("owners", request.owners.len(), limits::DOCUMENTS)?;
        if request.owners.iter().any(|o| *o != caller) {
            self.members()?.active_provider(caller)?;
        }
        let gate = self.clone();
        blocking(move || {
            gate.store.read(|s| {
                let profiles = request.owners.iter().map(|o| s.profile(*o)).collect::<Result<_, StoreError>>()?;
                let mut erased = Vec::new();
                for owner in &request.owners {
                    erased.extend(s.orders_of(*owner)?);
                }
                Ok::<_, GateError>(OwnersFound { profiles, erased })
            })
        })
        .await
    }

    /// Stores grants, all or none. From the owner, or from an active member that carries them.
    ///
    /// # Errors
    /// [`GateError`]; nothing is stored then.
    pub async fn submit_grants(
        self: &Arc<Self>,
        caller: PrincipalId,
        request: SubmitGrants,
    ) -> Result<Accepted, GateError> {
        at_most("grants", request.grants.len(), limits::DOCUMENTS)?;
        let (gate, members) = (self.clone(), self.members()?);
        carrier(&members, caller, request.grants.iter().map(|g| g.grant.signer))?;
        // A group's key does not change between the check and the store.
        let held = self.barrier.read().await;
        let done = blocking(move || {
            let verified = gate.verify_grants(&members, &request.grants, &request.shares, Vec::new())?;
            gate.store.write(|txn| {
                let (count, accesses) = gate.put_grants(caller, &verified, txn)?;
                let entry = gate.entry(AuditKind::Grants, caller, count, verified.iter().map(|v| v.key.owner));
                txn.append_told(&entry, accesses, Vec::new())?;
                Ok::<_, GateError>(Accepted { count })
            })
        })
        .await;
        drop(held);
        done
    }

    /// Checks grants against the profiles stored, or newer ones that come with them.
    fn verify_grants(
        &self,
        members: &Members,
        grants: &[GrantSubmission],
        shares: &[NodeShares],
        newer: Vec<(PrincipalId, OwnerProfile)>,
    ) -> Result<Vec<grants::Verified>, GateError> {
        let owners: Vec<PrincipalId> = grants.iter().map(owner_of).collect::<Result<_, _>>()?;
        let mut profiles = self.profiles(owners.iter().copied())?;
        profiles.extend(newer);
        let shared = grants.iter().filter(|g| g.rk.is_none()).map(|g| g.grant.payload.as_bytes());
        let shared: Vec<&[u8]> = shared.collect();
        let opened = self.own_shares(members, shares, &shared)?;
        let mut opened = opened.unwrap_or_default().into_iter();
        let shares: Vec<Option<Scalar>> =
            grants.iter().map(|g| if g.rk.is_none() { opened.next() } else { None }).collect();
        let against = Against {
            node: self.node(members).map(|(own, nodes)| (own.number, nodes.threshold)),
            domain: self.secrets.domain(),
            members,
            groups: &self.groups(),
            store_key: &self.secrets.store_key,
            now: self.now(),
        };
        let verify = |((submission, share), owner): ((&GrantSubmission, &Option<Scalar>), &PrincipalId)| {
            let profile = profiles.get(owner).ok_or(GrantRefusal::UnknownOwner(*owner))?;
            against.verify(submission, share.as_ref(), profile)
        };
        let verified: Vec<_> = grants.par_iter().zip(&shares).zip(&owners).map(verify).collect();
        let verified = without_hopeless(verified)?;
        self.standings.admit(verified.iter().map(|v| v.row.granted_at))?;
        Ok(verified)
    }

    /// Stores grants; how many are new, and what their owners are told of them.
    fn put_grants(
        &self,
        caller: PrincipalId,
        verified: &[grants::Verified],
        txn: &mut dyn Transaction,
    ) -> Result<(u64, Vec<LogRow>), GateError> {
        let at = self.now();
        let mut accesses = Vec::new();
        for new in verified {
            let settled = match grants::settle(new, txn, &self.secrets.store_key, at) {
                Err(e) if redone().is_some_and(|r| r.last || is_overtaken(&e)) => {
                    tracing::info!(error = %e, "a grant of a request that another node took is left out");
                    continue;
                }
                other => other?,
            };
            let Some(Settled { row, commitments }) = settled else { continue };
            txn.put_grant(&new.key, &row, &new.signed)?;
            if let Some(commitments) = commitments {
                txn.put_grant_commitments(&new.key, &commitments)?;
            }
            let access = AccessRow {
                at,
                kind: AuditKind::Grants,
                caller,
                purpose: Some(row.purpose),
                section: Some(new.key.section.clone()),
                reader: Some(new.key.reader),
                count: 1,
                emergency: row.emergency,
                search: None,
            };
            let by = if new.signed.signer == new.key.owner { SignedBy::Owner } else { SignedBy::Carer };
            accesses.push(told(new.key.owner, access, Some(Word::of(&new.signed, by))));
        }
        Ok((accesses.len() as u64, accesses))
    }

    /// Profiles, for the log of acts: their owners find them nowhere else.
    fn published(&self, caller: PrincipalId, profiles: &[owners::Verified]) -> Vec<LogRow> {
        let at = self.now();
        let row = |v: &owners::Verified| {
            let access = AccessRow {
                at,
                kind: AuditKind::Owners,
                caller,
                purpose: None,
                section: None,
                reader: None,
                count: v.profile.sections.len() as u64,
                emergency: false,
                search: None,
            };
            LogRow { owner: v.owner, part: None, access, word: Some(Word::of(&v.signed, SignedBy::Owner)) }
        };
        profiles.iter().map(row).collect()
    }

    /// Profiles, revocations and grants that take effect together or not at all. From the owner, or an active member
    /// that carries them; profiles of others from providers.
    ///
    /// # Errors
    /// [`GateError`]; nothing has changed then.
    pub async fn change_consent(
        self: &Arc<Self>,
        caller: PublicIdentity,
        change: ChangeConsent,
    ) -> Result<Accepted, GateError> {
        at_most("profiles", change.profiles.len(), limits::DOCUMENTS)?;
        at_most("revocations", change.revocations.len(), limits::DOCUMENTS)?;
        at_most("grants", change.grants.len(), limits::DOCUMENTS)?;
        let members = self.members()?;
        let signers = change.grants.iter().map(|g| g.grant.signer).chain(change.revocations.iter().map(|r| r.signer));
        carrier(&members, caller.id(), signers)?;
        let gate = self.clone();
        finish(async move {
            let held = gate.barrier.write().await;
            let worker = gate.clone();
            let (count, ended) = blocking(move || worker.change_consent_now(&caller, &members, change)).await?;
            drop(held);
            gate.withdraw(ended).await;
            Ok(Accepted { count })
        })
        .await
    }

    fn change_consent_now(
        &self,
        caller: &PublicIdentity,
        members: &Members,
        change: ChangeConsent,
    ) -> Result<(u64, Vec<TicketRow>), GateError> {
        let profiles = self.verify_profiles(caller.id(), members, change.profiles)?;
        let newer = profiles.iter().map(|v| (v.owner, v.profile.clone())).collect();
        let revocations = self.verify_revocations(caller, change.revocations)?;
        let grants = self.verify_grants(members, &change.grants, &change.shares, newer)?;
        let ended = self.resting_on(&revocations);
        let owners = profiles.iter().map(|v| v.owner).chain(grants.iter().map(|v| v.key.owner));
        let owners: Vec<PrincipalId> = owners.chain(revocations.iter().map(|v| v.revocation.owner)).collect();
        let count = self.store.write(|txn| {
            let published = put_profiles(&profiles, txn)?;
            let (revoked, mut accesses) = self.apply_revocations(caller.id(), &revocations, txn)?;
            mark(txn, &ended)?;
            let (granted, given) = self.put_grants(caller.id(), &grants, txn)?;
            accesses.extend(given);
            accesses.extend(self.published(caller.id(), &profiles));
            let count = published + revoked + granted;
            let entry = self.entry(AuditKind::Grants, caller.id(), count, owners.iter().copied());
            txn.append_told(&entry, accesses, Vec::new())?;
            Ok::<_, GateError>(count)
        })?;
        self.permissions_changed();
        Ok((count, ended))
    }

    /// Grants the caller gave or may use, of one owner or of all; of an owner it cares for, all of them.
    ///
    /// # Errors
    /// [`GateError`].
    pub async fn list_grants(
        self: &Arc<Self>,
        caller: PrincipalId,
        request: ListGrants,
    ) -> Result<GrantList, GateError> {
        let (gate, members) = (self.clone(), self.members()?);
        let limit = (request.limit as usize).clamp(1, limits::DOCUMENTS);
        blocking(move || {
            let after = match &request.after {
                None => None,
                Some(Sealed(bytes)) => Some(GrantKey::parse(bytes).ok_or(GroupRefusal::Cursor)?),
            };
            // Own first, then by reader: a cursor is the last key of the page before.
            let readers = match members.active(caller) {
                Ok(_) => gate.groups().readers_for(caller, &members),
                Err(_) => Vec::new(),
            };
            gate.store.read(|s| {
                let cared = match request.owner {
                    Some(owner) if owner != caller => {
                        mandate_for(owner, caller, None, gate.now() / 1000, s)?.map(|_| owner)
                    }
                    _ => None,
                };
                let own = cared.or_else(|| request.owner.is_none_or(|o| o == caller).then_some(caller));
                let mut keys: Vec<GrantKey> = Vec::new();
                let in_own = |k: &GrantKey| Some(k.owner) == own;
                if let Some(own) = own
                    && after.as_ref().is_none_or(in_own)
                {
                    keys.extend(s.keys_of(own, after.as_ref(), limit + 1)?);
                }
                if cared.is_none() && request.owner != Some(caller) {
                    let mut place = after.filter(|k| !in_own(k));
                    let first = place.as_ref().and_then(|k| readers.iter().position(|r| r.id == k.reader));
                    for reader in readers.iter().skip(first.unwrap_or(0)) {
                        while keys.len() <= limit {
                            let room = limit + 1 - keys.len();
                            let found = s.grants_to(reader.id, request.owner, place.as_ref(), room)?;
                            let exhausted = found.len() < room;
                            place = found.last().cloned().filter(|_| !exhausted);
                            // What the caller granted itself is among its own already.
                            keys.extend(found.into_iter().filter(|k| k.owner != caller));
                            if exhausted {
                                break;
                            }
                        }
                    }
                }
                let more = keys.len() > limit;
                keys.truncate(limit);
                let next = keys.last().filter(|_| more).map(|k| Sealed(k.to_bytes()));
                let terms = |k: &GrantKey| s.grant_terms(k)?.ok_or(StoreError::Row(Table::GrantTerms.name()));
                let grants: Vec<Signed<GrantTerms>> = keys.iter().map(terms).collect::<Result<_, StoreError>>()?;
                Ok::<_, GateError>(GrantList { grants, next })
            })
        })
        .await
    }

    /// Profiles of owners, as far as known. One read an owner.
    pub(crate) fn profiles(
        &self,
        owners: impl Iterator<Item = PrincipalId>,
    ) -> Result<HashMap<PrincipalId, OwnerProfile>, GateError> {
        let damaged = |_| StoreError::Row(Table::Profiles.name());
        self.store.read(|s| {
            let mut profiles = HashMap::new();
            for owner in owners {
                if !profiles.contains_key(&owner)
                    && let Some(signed) = s.profile(owner)?
                {
                    profiles.insert(owner, signed.peek().map_err(damaged)?);
                }
            }
            Ok(profiles)
        })
    }

    /// An audit entry; it names the owner when there is but one.
    pub(crate) fn entry(
        &self,
        kind: AuditKind,
        caller: PrincipalId,
        count: u64,
        owners: impl Iterator<Item = PrincipalId>,
    ) -> AuditEntry {
        let mut owners: Vec<_> = owners.collect();
        owners.sort_unstable();
        owners.dedup();
        let owner = if let [owner] = owners[..] { Some(owner) } else { None };
        AuditEntry {
            at: self.now(),
            kind,
            caller,
            owner,
            purpose: None,
            count,
            owners: owners.len() as u64,
            spent: Spent::default(),
        }
    }
}

/// Whose grant a submission is, as it claims: who signed it, or whom its carer signed for.
fn owner_of(submission: &GrantSubmission) -> Result<PrincipalId, GrantRefusal> {
    let terms = submission.grant.peek().map_err(GrantRefusal::Signed)?;
    Ok(if terms.by.is_some() { terms.owner } else { submission.grant.signer })
}

/// Whether a grant has been overtaken by what came after it.
fn is_overtaken(error: &GateError) -> bool {
    matches!(
        error,
        GateError::Grant(GrantRefusal::Revoked { .. } | GrantRefusal::NotNewer { .. } | GrantRefusal::Erased { .. })
    )
}

/// All of these, or the first refusal; of a request that is done again for the last time, those that hold.
fn without_hopeless<T>(all: Vec<Result<T, GrantRefusal>>) -> Result<Vec<T>, GrantRefusal> {
    if !redone().is_some_and(|r| r.last) {
        return all.into_iter().collect();
    }
    let left_out = |error: &GrantRefusal| {
        tracing::error!(%error, "a grant of a request that another node took is left out");
    };
    Ok(all.into_iter().filter_map(|one| one.inspect_err(left_out).ok()).collect())
}

/// Stores profiles; how many are new.
fn put_profiles(verified: &[owners::Verified], txn: &mut dyn Transaction) -> Result<u64, GateError> {
    let mut count = 0;
    for new in verified {
        let follows = match owners::follows(new, txn) {
            Err(GateError::Owner(OwnerRefusal::NotNewer { .. })) if redone().is_some() => false,
            other => other?,
        };
        if follows {
            txn.put_profile(new.owner, &new.signed)?;
            count += 1;
        }
    }
    Ok(count)
}

/// Whether the caller may hand in documents of these owners: its own, or anybody's as an active member.
pub(crate) fn carrier(
    members: &Members,
    caller: PrincipalId,
    mut owners: impl Iterator<Item = PrincipalId>,
) -> Result<(), CallerRefusal> {
    if members.active(caller).is_ok() || owners.all(|o| o == caller) {
        Ok(())
    } else {
        Err(CallerRefusal::NeitherOwnerNorMember(caller))
    }
}

/// Keys by which an owner's document is checked: its profile's, or the caller's own.
pub(crate) fn owner_keys(
    profiles: &HashMap<PrincipalId, OwnerProfile>,
    owner: PrincipalId,
    caller: &PublicIdentity,
) -> Option<PublicIdentity> {
    let known = profiles.get(&owner).and_then(|p| p.owner.identity().ok());
    known.or_else(|| (caller.id() == owner).then_some(*caller))
}
