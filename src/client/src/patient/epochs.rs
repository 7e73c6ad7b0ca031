//! Section epochs (spec section 3): a new one closes the future to whoever held the old one's key, even together with
//! a gate that kept the scalars.

use std::collections::{BTreeMap, BTreeSet};

use sealdex_crypto::PrincipalId;
use sealdex_net::clock::{now_ms, now_s};
use sealdex_wire::{
    Signed,
    consent::{LookupOwners, OwnerProfile, OwnersFound, Revocation},
};

use super::{Patient, PatientError};
use crate::owner::{self, MadeGrant, OwnerEntry};

/// What became of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Advanced {
    /// Sections whose epoch advanced.
    pub sections: usize,
    /// Grants of the new epochs, to whoever goes on reading.
    pub renewed: usize,
    /// Grants that ended.
    pub ended: usize,
}

impl Patient {
    /// The owner's entry as the wallet is to keep it.
    pub fn entry(&self) -> &OwnerEntry {
        &self.entry
    }

    /// Changes the owner's entry; the caller keeps the wallet.
    pub fn entry_mut(&mut self) -> &mut OwnerEntry {
        &mut self.entry
    }

    /// The newest profile at the gate, checked to be the owner's own word.
    async fn profile(&self) -> Result<OwnerProfile, PatientError> {
        let keys = self.owner.identity().public();
        let found: OwnersFound =
            self.gate.post_json("/v1/owners/lookup", &LookupOwners { owners: vec![keys.id()] }).await?;
        let signed: Option<Signed<OwnerProfile>> = found.profiles.into_iter().next().flatten();
        let signed = signed.ok_or_else(|| PatientError::NotEnrolled(self.label.clone()))?;
        signed.verify(&keys).map_err(PatientError::Forged)
    }

    /// Newest epochs by section, as published.
    pub(super) async fn newest_epochs(&self) -> Result<BTreeMap<String, u32>, PatientError> {
        let mut newest = BTreeMap::new();
        for key in self.profile().await?.sections {
            let known = newest.entry(key.section).or_insert(0);
            *known = key.epoch.max(*known);
        }
        Ok(newest)
    }

    /// Brings the entry up to the newest profile at the gate, which is checked to be the owner's own word: another
    /// program may have used the same wallet, or a change been acknowledged that was not kept.
    pub async fn sync(&mut self) -> Result<(), PatientError> {
        let profile = self.profile().await?;
        self.entry.version = self.entry.version.max(profile.version);
        for key in &profile.sections {
            if key.epoch < self.entry.first_epoch(&key.section) {
                continue;
            }
            let newest = self.entry.sections.entry(key.section.clone()).or_insert(0);
            *newest = (*newest).max(key.epoch);
        }
        for writer in profile.writers {
            if !self.entry.writers.contains(&writer) {
                self.entry.writers.push(writer);
            }
        }
        Ok(())
    }

    /// Begins a new epoch of these sections. In one step at the gate: revocations take effect, providers seal to the
    /// new keys, and whoever goes on reading has grants of the new epoch. The caller keeps the wallet afterwards.
    pub async fn advance(
        &mut self,
        sections: &BTreeSet<String>,
        revocations: Vec<Signed<Revocation>>,
    ) -> Result<Advanced, PatientError> {
        self.sync().await?;
        let ends = |reader: PrincipalId, section: &str, purpose: &str| {
            revocations.iter().filter_map(|r| r.peek().ok()).any(|r| {
                r.reader == reader
                    && r.section.as_deref().is_none_or(|s| s == section)
                    && r.purpose.as_deref().is_none_or(|p| p == purpose)
            })
        };
        let advancing: BTreeSet<String> =
            sections.iter().filter(|s| self.entry.sections.contains_key(*s)).cloned().collect();
        let mut grants: Vec<MadeGrant> = Vec::new();
        let mut ended = 0;
        for terms in self.grants().await? {
            let current = self.entry.sections.get(&terms.section) == Some(&terms.epoch);
            let reader = terms.reader.identity().map_err(|_| PatientError::Reader)?.id();
            let by = terms.by.unwrap_or(reader);
            if ends(reader, &terms.section, &terms.purpose) || ends(by, &terms.section, &terms.purpose) {
                ended += 1;
            } else if current && advancing.contains(&terms.section) && terms.not_after > now_s() {
                grants.extend(self.renewal(&terms, terms.epoch + 1).await?);
            }
        }
        let mut next = self.entry.clone();
        for section in &advancing {
            *next.sections.entry(section.clone()).or_insert(0) += 1;
            next.advanced.insert(section.clone(), now_ms());
        }
        let profiles = match advancing.is_empty() {
            true => Vec::new(),
            false => vec![next.next_profile(&self.trusted.roster.domain)],
        };
        let done = Advanced { sections: advancing.len(), renewed: grants.len(), ended };
        owner::change(&self.gate, &self.trusted.roster.domain, profiles, revocations, grants).await?;
        self.entry = next;
        Ok(done)
    }

    /// Sections that a reader is granted, or passed on.
    pub async fn sections_of(&self, reader: PrincipalId) -> Result<BTreeSet<String>, PatientError> {
        let grants = self.grants().await?.into_iter();
        let concerned = grants.filter(|g| g.by == Some(reader) || g.reader.identity().is_ok_and(|r| r.id() == reader));
        Ok(concerned.map(|g| g.section).collect())
    }

    /// Sections whose epoch began longer ago than so many days, by this wallet's own notes.
    pub fn due(&self, days: u64) -> BTreeSet<String> {
        let limit = now_ms().saturating_sub(days * 86_400_000);
        let due = |s: &&String| self.entry.advanced.get(*s).is_none_or(|at| *at <= limit);
        self.entry.sections.keys().filter(due).cloned().collect()
    }

    /// A revocation of what a reader was granted, signed and not yet sent.
    pub fn revocation(&self, reader: PrincipalId, section: Option<&str>, purpose: Option<&str>) -> Signed<Revocation> {
        self.owner.revocation_for(&self.trusted.roster.domain, reader, section, purpose)
    }
}
