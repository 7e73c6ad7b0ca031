//! The control plane: roster, owners, grants. What ends permissions is in [`crate::revoke`].

use std::{collections::HashMap, sync::Arc};

use rayon::prelude::*;
use sealdex_crypto::{PrincipalId, PublicIdentity};
use sealdex_wire::{
    Signed,
    consent::{
        Accepted, GrantList, GrantTerms, ListGrants, LookupOwners, OwnerProfile, OwnersFound, PublishOwners,
        SubmitGrants,
    },
    limits,
    roster::Roster,
};

use crate::{
    error::{CallerRefusal, GateError, at_most},
    gate::{Gate, blocking},
    rules::{
        grants::{self, Against, GrantRefusal},
        owners,
    },
    store::{
        AccessRow, AuditEntry, AuditKind, ConsentStore, GrantKey, ReadConsents as _, StoreError, Table,
        WriteConsents as _,
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
            let verify = |signed| owners::verify(signed, gate.secrets.domain(), &members);
            let verified: Vec<_> = request.profiles.into_par_iter().map(verify).collect::<Result<_, _>>()?;
            if verified.iter().any(|v| v.owner != caller) {
                members.active_provider(caller)?;
            }
            gate.store.write(|txn| {
                let mut count = 0;
                for new in &verified {
                    if owners::follows(new, txn)? {
                        txn.put_profile(new.owner, &new.signed)?;
                        count += 1;
                    }
                }
                txn.append_audit(&gate.entry(AuditKind::Owners, caller, count, verified.iter().map(|v| v.owner)))?;
                Ok::<_, GateError>(Accepted { count })
            })
        })
        .await
    }

    /// Profiles by owner, for an active provider.
    ///
    /// # Errors
    /// [`GateError`].
    pub async fn lookup_owners(
        self: &Arc<Self>,
        caller: PrincipalId,
        request: LookupOwners,
    ) -> Result<OwnersFound, GateError> {
        at_most("owners", request.owners.len(), limits::DOCUMENTS)?;
        self.members()?.active_provider(caller)?;
        let gate = self.clone();
        blocking(move || {
            let profiles =
                gate.store.read(|s| request.owners.iter().map(|o| s.profile(*o)).collect::<Result<_, StoreError>>())?;
            Ok::<_, GateError>(OwnersFound { profiles })
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
        blocking(move || {
            let profiles = gate.profiles(request.grants.iter().map(|g| g.grant.signer))?;
            let against = Against {
                domain: gate.secrets.domain(),
                members: &members,
                store_key: &gate.secrets.store_key,
                now: gate.now(),
            };
            let verify = |submission| {
                let owner = |s: &sealdex_wire::consent::GrantSubmission| s.grant.signer;
                let profile = profiles.get(&owner(submission)).ok_or(GrantRefusal::UnknownOwner(owner(submission)))?;
                against.verify(submission, profile)
            };
            let verified: Vec<_> = request.grants.par_iter().map(verify).collect::<Result<_, GrantRefusal>>()?;
            gate.standings.admit(verified.iter().map(|v| v.row.granted_at))?;
            gate.store.write(|txn| {
                let mut count = 0;
                let mut accesses = Vec::new();
                for new in &verified {
                    if grants::fits(new, txn)? {
                        txn.put_grant(&new.key, &new.row, &new.signed)?;
                        count += 1;
                        let row = AccessRow {
                            at: gate.now(),
                            kind: AuditKind::Grants,
                            caller,
                            purpose: Some(new.row.purpose.clone()),
                            section: Some(new.key.section.clone()),
                            reader: Some(new.key.reader),
                            count: 1,
                        };
                        accesses.push((new.key.owner, row));
                    }
                }
                let entry = gate.entry(AuditKind::Grants, caller, count, verified.iter().map(|v| v.key.owner));
                txn.append_act(&entry, &accesses)?;
                Ok::<_, GateError>(Accepted { count })
            })
        })
        .await
    }

    /// Grants the caller gave or may use, of one owner or of all.
    ///
    /// # Errors
    /// [`GateError`].
    pub async fn list_grants(
        self: &Arc<Self>,
        caller: PrincipalId,
        request: ListGrants,
    ) -> Result<GrantList, GateError> {
        let (gate, members) = (self.clone(), self.members()?);
        let limit = (request.limit as usize).min(limits::DOCUMENTS);
        blocking(move || {
            gate.store.read(|s| {
                let mut keys: Vec<GrantKey> = Vec::new();
                if request.owner.is_none_or(|o| o == caller) {
                    keys.extend(s.grants_of(caller, None, limit + 1)?.into_iter().map(|(k, _)| k));
                }
                if request.owner != Some(caller) && members.active(caller).is_ok() {
                    for reader in members.readers_for(caller) {
                        // What the caller granted itself is among its own already.
                        keys.extend(
                            s.grants_to(reader, request.owner, limit + 1)?.into_iter().filter(|k| k.owner != caller),
                        );
                    }
                }
                let more = keys.len() > limit;
                keys.truncate(limit);
                let terms = |k: &GrantKey| s.grant_terms(k)?.ok_or(StoreError::Row(Table::GrantTerms.name()));
                let grants: Vec<Signed<GrantTerms>> = keys.iter().map(terms).collect::<Result<_, StoreError>>()?;
                Ok::<_, GateError>(GrantList { grants, more })
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
        AuditEntry { at: self.now(), kind, caller, owner, purpose: None, count, owners: owners.len() as u64 }
    }
}

/// Whether the caller may hand in documents of these owners: its own, or anybody's as an active member.
pub(crate) fn carrier(
    members: &crate::members::Members,
    caller: PrincipalId,
    mut owners: impl Iterator<Item = PrincipalId>,
) -> Result<(), CallerRefusal> {
    if members.active(caller).is_ok() || owners.all(|o| o == caller) {
        Ok(())
    } else {
        Err(CallerRefusal::NeitherOwnerNorMember(caller))
    }
}

/// Keys by which an owner's revocation is checked: its profile's, or the caller's own.
pub(crate) fn owner_keys(
    profiles: &HashMap<PrincipalId, OwnerProfile>,
    owner: PrincipalId,
    caller: &PublicIdentity,
) -> Option<PublicIdentity> {
    let known = profiles.get(&owner).and_then(|p| p.owner.identity().ok());
    known.or_else(|| (caller.id() == owner).then_some(*caller))
}
