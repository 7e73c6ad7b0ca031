//! Granting: who, what, for what purpose, within which limits; by itself or under a standing policy.

use std::collections::HashMap;

use rayon::prelude::*;
use sealdex_crypto::{PrincipalId, PublicIdentity};
use sealdex_net::clock::now_s;
use sealdex_wire::{
    care::Emergency,
    consent::{Accepted, GrantTerms, GroupKey},
};

use super::{Patient, PatientError};
use crate::{
    group,
    owner::{self, GrantLimits, GrantRequest, MadeGrant, Newcomers},
    policy::Policy,
};

/// Grants sent in one request.
const PART: usize = 1024;

/// A member or group, as owners name it.
#[derive(Clone, Debug)]
pub struct Reader {
    /// Its id.
    pub id: PrincipalId,
    /// Its keys; a group's are those it was founded with.
    pub keys: PublicIdentity,
    /// A group's key of now.
    pub group: Option<GroupKey>,
}

/// Which epochs of a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Epochs {
    /// What was written ever.
    All,
    /// What was written since the last epoch began, and on.
    Current,
}

/// What is offered to a reader.
#[derive(Clone, Debug)]
pub struct Offer {
    /// To whom.
    pub reader: Reader,
    /// Sections.
    pub sections: Vec<String>,
    /// Epochs of them.
    pub epochs: Epochs,
    /// Purposes of use, a grant each.
    pub purposes: Vec<String>,
    /// First second it holds, Unix time.
    pub not_before: u64,
    /// First second it no longer holds.
    pub not_after: u64,
    /// Which members of a group it means.
    pub newcomers: Newcomers,
    /// Only what these pushed, or anyone below them.
    pub providers: Vec<PrincipalId>,
    /// Dormant until two people wake it.
    pub emergency: Option<Emergency>,
}

impl Patient {
    /// The member or group of this name: `name`, or `group@manager`.
    pub async fn reader(&self, name: &str) -> Result<Reader, PatientError> {
        if name.contains('@') {
            let group = group::named(&self.gate, &self.trusted, name).await?;
            let keys = group.charter.group.identity().map_err(|_| PatientError::Reader)?;
            return Ok(Reader { id: group.id, keys, group: Some(group.key()) });
        }
        let member = self.trusted.roster.named(name);
        let member = member.ok_or_else(|| PatientError::Name { what: "member", name: name.into() })?;
        let keys = member.keys.identity().map_err(|_| PatientError::Reader)?;
        Ok(Reader { id: member.id, keys, group: None })
    }

    /// Ids of providers, by name.
    pub fn providers(&self, names: &[String]) -> Result<Vec<PrincipalId>, PatientError> {
        let id = |name: &String| {
            let member = self.trusted.roster.named(name);
            member.map(|m| m.id).ok_or_else(|| PatientError::Name { what: "provider", name: name.clone() })
        };
        names.iter().map(id).collect()
    }

    /// Who may wake an emergency grant, by name.
    pub async fn emergency(&self, wakers: &[String], minutes: u32) -> Result<Emergency, PatientError> {
        let mut ids = Vec::new();
        for name in wakers {
            ids.push(self.reader(name).await?.id);
        }
        Ok(Emergency { wakers: ids, minutes })
    }

    /// All sections the owner has, by name.
    pub fn sections(&self) -> impl Iterator<Item = &String> {
        self.entry.sections.keys()
    }

    fn epochs(&self, section: &str, which: Epochs) -> Result<std::ops::RangeInclusive<u32>, PatientError> {
        let newest = self.entry.sections.get(section).copied();
        let newest = newest.ok_or_else(|| PatientError::Section {
            label: self.label.clone(),
            section: section.into(),
            known: self.sections().cloned().collect::<Vec<_>>().join(", "),
        })?;
        Ok(if which == Epochs::All { self.entry.first_epoch(section) } else { newest }..=newest)
    }

    /// One grant of an offer, signed.
    fn submission(&self, offer: &Offer, section: &str, epoch: u32, purpose: &str) -> MadeGrant {
        let request = GrantRequest {
            domain: &self.trusted.roster.domain,
            reader: offer.reader.keys,
            section,
            epoch,
            purpose,
            not_before: offer.not_before,
            not_after: offer.not_after,
            limits: GrantLimits {
                group_key: offer.reader.group,
                newcomers: offer.newcomers,
                providers: offer.providers.clone(),
                emergency: offer.emergency.clone(),
            },
        };
        self.owner.grant(&request, self.gate.nodes())
    }

    /// Grants what is offered; how many grants are new. In force when this returns.
    pub async fn offer(&self, offer: &Offer) -> Result<u64, PatientError> {
        let mut wanted = Vec::new();
        for section in &offer.sections {
            for epoch in self.epochs(section, offer.epochs)? {
                wanted.extend(offer.purposes.iter().map(|p| (offer.clone(), section.clone(), epoch, p.clone())));
            }
        }
        self.submit(&wanted).await
    }

    /// One grant of an offer, of one section, epoch and purpose.
    pub(super) async fn offer_at(
        &self,
        offer: &Offer,
        section: &str,
        epoch: u32,
        purpose: &str,
    ) -> Result<u64, PatientError> {
        let newest = *self.epochs(section, Epochs::Current)?.end();
        self.submit(&[(offer.clone(), section.to_owned(), epoch.min(newest), purpose.to_owned())]).await
    }

    async fn submit(&self, wanted: &[(Offer, String, u32, String)]) -> Result<u64, PatientError> {
        let mut count = 0;
        for part in wanted.chunks(PART) {
            let made = part.par_iter().map(|(o, s, e, p)| self.submission(o, s, *e, p)).collect();
            let request = owner::submit(&self.gate, &self.trusted.roster.domain, made);
            let done: Accepted = self.gate.post_json("/v1/grants", &request).await?;
            count += done.count;
        }
        Ok(count)
    }

    /// Gives each policy the grants it is still without, and renews those with less than a quarter of their time
    /// left. Returns how many grants are new.
    pub async fn apply(&self) -> Result<u64, PatientError> {
        let held = self.grants().await?;
        let mut count = 0;
        for policy in &self.entry.policies {
            let offer = self.offer_of(policy).await?;
            let lasting = now_s() + u64::from(policy.days) * 86_400 / 4;
            // Of each grant that is there: whether it lasts, and whom of a group it means.
            let known: HashMap<Which, (bool, Option<u64>)> =
                held.iter().filter_map(|g| Some((which(g)?, (g.not_after > lasting, g.joined_by)))).collect();
            let mut wanted = Vec::new();
            for section in &offer.sections {
                for epoch in self.epochs(section, offer.epochs)? {
                    for purpose in &offer.purposes {
                        let key = (offer.reader.id, section.clone(), epoch, purpose.clone());
                        let before = known.get(&(key, offer.providers.clone(), offer.emergency.is_some()));
                        // Renewing a grant admits nobody to what was written before they joined.
                        let newcomers = match (offer.newcomers, before) {
                            (Newcomers::Later(None), Some((_, joined_by))) => Newcomers::Later(*joined_by),
                            (as_said, _) => as_said,
                        };
                        if before.is_none_or(|(lasts, _)| !lasts) {
                            let offer = Offer { newcomers, ..offer.clone() };
                            wanted.push((offer, section.clone(), epoch, purpose.clone()));
                        }
                    }
                }
            }
            count += self.submit(&wanted).await?;
        }
        Ok(count)
    }

    async fn offer_of(&self, policy: &Policy) -> Result<Offer, PatientError> {
        let emergency = match policy.wakers.is_empty() {
            true => None,
            false => Some(self.emergency(&policy.wakers, policy.minutes.unwrap_or(60)).await?),
        };
        let now = now_s();
        Ok(Offer {
            reader: self.reader(&policy.reader).await?,
            sections: policy.extends_to(self.sections()),
            epochs: if policy.earlier { Epochs::All } else { Epochs::Current },
            purposes: policy.purposes.clone(),
            not_before: now.saturating_sub(60),
            not_after: now + u64::from(policy.days) * 86_400,
            newcomers: policy.newcomers.since(policy.made_at),
            providers: self.providers(&policy.providers)?,
            emergency,
        })
    }

    /// The grant of the next epoch that continues one of the epoch before.
    pub(super) async fn renewal(&self, terms: &GrantTerms, epoch: u32) -> Result<Option<MadeGrant>, PatientError> {
        let keys = terms.reader.identity().map_err(|_| PatientError::Reader)?;
        let group = match &terms.group_key {
            None => None,
            Some(_) => match self.group_key(keys.id()).await? {
                None => return Ok(None),
                newest => newest,
            },
        };
        let offer = Offer {
            reader: Reader { id: keys.id(), keys, group },
            sections: Vec::new(),
            epochs: Epochs::Current,
            purposes: Vec::new(),
            not_before: terms.not_before,
            not_after: terms.not_after,
            newcomers: match Newcomers::of(terms) {
                Newcomers::Later(_) => Newcomers::Later(None),
                as_before => as_before,
            },
            providers: terms.providers.clone(),
            emergency: terms.emergency.clone(),
        };
        Ok(Some(self.submission(&offer, &terms.section, epoch, &terms.purpose)))
    }

    /// A group's key of now; fetched once.
    async fn group_key(&self, id: PrincipalId) -> Result<Option<GroupKey>, PatientError> {
        let mut known = self.groups.lock().await;
        if known.is_none() {
            let all = group::list(&self.gate, &self.trusted, false).await?;
            *known = Some(all.into_iter().map(|g| (g.id, g)).collect());
        }
        Ok(known.as_ref().and_then(|all| all.get(&id)).map(group::Group::key))
    }
}

/// What tells grants apart: reader, section, epoch, purpose; providers; for emergencies or not.
type Which = ((PrincipalId, String, u32, String), Vec<PrincipalId>, bool);

fn which(g: &GrantTerms) -> Option<Which> {
    let reader = g.reader.identity().ok()?.id();
    let key = (reader, g.section.clone(), g.epoch, g.purpose.clone());
    Some((key, g.providers.clone(), g.emergency.is_some()))
}
