//! Owners: patients, and providers for what belongs to no patient. Their wallet, profiles, grants.

use std::collections::BTreeMap;

use rayon::prelude::*;
use sealdex_crypto::{Identity, IdentitySeed, Point, PrincipalId, PublicIdentity, Scalar, kdf, labels};
use sealdex_member::GateLink;
use sealdex_net::{CallError, Peer, clock::now_ms};
use sealdex_open::{SectionSecret, make_grant};
use sealdex_wire::{
    RawPoint, Signed,
    care::{Emergency, Mandate},
    consent::{
        Accepted, ChangeConsent, GrantSubmission, GrantTerms, GroupKey, OwnerProfile, PublishOwners, Revocation,
        SecretBytes, SectionKey, SubmitGrants, SubmitRevocations,
    },
    erasure::{ErasedSection, ErasureOrder},
    roster::PublicKeys,
    threshold::Nodes,
};
use serde::{Deserialize, Serialize};

use crate::{
    policy::Policy,
    sharing::{Dealt, deal_to, seal_shares},
};

/// Kind of a wallet file.
pub const WALLET_KIND: &str = "wallet";

/// Documents sent in one request.
const DOCUMENTS: usize = 1024;

/// Owners and what they have published. A patient's own has one entry, a custodian's many.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wallet {
    /// Domain.
    pub domain: String,
    /// Who signs roster and schema: the root of all trust.
    pub authority: PublicKeys,
    /// Owners by label: for patients, their reference at the hospital, `Patient/id`.
    pub owners: BTreeMap<String, OwnerEntry>,
}

/// One owner in a wallet.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnerEntry {
    /// Identity seed.
    pub seed: SecretBytes,
    /// What section keys are made of, apart from the identity, so that they can be destroyed while it stays.
    pub root: SecretBytes,
    /// Seeds of sections that an earlier root made.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub kept: BTreeMap<String, SecretBytes>,
    /// Sections whose secrets were destroyed, with the public keys of their epochs from 0 on, which stay published.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub erased: BTreeMap<String, Vec<RawPoint>>,
    /// Orders to erase, as signed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub orders: Vec<Signed<ErasureOrder>>,
    /// Version of the newest profile; 0 before the first.
    pub version: u64,
    /// Sections with their newest epoch.
    pub sections: BTreeMap<String, u32>,
    /// Providers that may write.
    pub writers: Vec<PrincipalId>,
    /// Standing policies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<Policy>,
    /// When a section's epoch last advanced, Unix milliseconds.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub advanced: BTreeMap<String, u64>,
}

impl OwnerEntry {
    /// A new owner.
    pub fn random() -> Self {
        Self {
            seed: random_secret(),
            root: random_secret(),
            kept: BTreeMap::new(),
            erased: BTreeMap::new(),
            orders: Vec::new(),
            version: 0,
            sections: BTreeMap::new(),
            writers: Vec::new(),
            policies: Vec::new(),
            advanced: BTreeMap::new(),
        }
    }

    /// The owner.
    pub fn owner(&self) -> Owner {
        let identity = std::sync::Arc::new(Identity::from_seed(&IdentitySeed::from_bytes(&self.seed.0)));
        let (root, kept, erased) = (self.root.clone(), self.kept.clone(), self.erased.clone());
        Owner { identity, sections: SectionSeeds::Apart { root, kept, erased } }
    }

    /// The first epoch of a section whose records can be opened.
    pub fn first_epoch(&self, section: &str) -> u32 {
        self.erased.get(section).map_or(0, |keys| keys.len() as u32)
    }

    /// Destroys what opens records of these sections, up to their epochs. Seeds of all other sections are set aside, and
    /// the root that they were all made of is replaced.
    pub fn destroy(&mut self, sections: &[ErasedSection]) {
        let new: Vec<&ErasedSection> = sections.iter().filter(|s| self.first_epoch(&s.section) <= s.through).collect();
        if new.is_empty() {
            return;
        }
        let owner = self.owner();
        for s in &new {
            let keys = (0..=s.through).map(|epoch| RawPoint(owner.section_key(&s.section, epoch).to_bytes()));
            self.erased.insert(s.section.clone(), keys.collect());
            self.sections.remove(&s.section);
            self.advanced.remove(&s.section);
        }
        let seed = |section: &String| (section.clone(), owner.sections.seed(section));
        self.kept = self.sections.keys().map(seed).collect();
        self.root = random_secret();
        let gone = |s: &String| self.erased.contains_key(s) && !self.sections.contains_key(s);
        // One that names sections and has none left would mean all.
        self.policies.retain(|p| p.sections.is_empty() || !p.sections.iter().all(gone));
    }

    /// Adds a writer and sections at epoch 0; whether the profile has to be published anew.
    pub fn admit(&mut self, writer: PrincipalId, sections: &[String]) -> bool {
        let before = (self.writers.len(), self.sections.len());
        if !self.writers.contains(&writer) {
            self.writers.push(writer);
        }
        // What was erased stays closed.
        for section in sections.iter().filter(|s| !self.erased.contains_key(*s)) {
            self.sections.entry(section.clone()).or_insert(0);
        }
        before != (self.writers.len(), self.sections.len())
    }

    /// The next version of the signed profile. One multiplication a section and epoch.
    pub fn next_profile(&mut self, domain: &str) -> Signed<OwnerProfile> {
        self.version += 1;
        let mut sections: BTreeMap<&String, u32> =
            self.erased.iter().map(|(s, keys)| (s, keys.len().saturating_sub(1) as u32)).collect();
        sections.extend(self.sections.iter().map(|(s, e)| (s, *e)));
        let sections: Vec<(String, u32)> = sections.into_iter().map(|(s, e)| (s.clone(), e)).collect();
        self.owner().profile(domain, self.version, &sections, &self.writers)
    }
}

impl Wallet {
    /// An empty wallet.
    pub fn new(domain: &str, authority: PublicKeys) -> Self {
        Self { domain: domain.into(), authority, owners: BTreeMap::new() }
    }
}

/// An owner of sections.
pub struct Owner {
    identity: std::sync::Arc<Identity>,
    sections: SectionSeeds,
}

/// What section keys are made of.
enum SectionSeeds {
    /// The identity's own seed: of a provider, whose sections are not erased by themselves.
    Identity(SecretBytes),
    /// A root apart, seeds set aside, and public keys of what was destroyed.
    Apart { root: SecretBytes, kept: BTreeMap<String, SecretBytes>, erased: BTreeMap<String, Vec<RawPoint>> },
}

impl SectionSeeds {
    /// The seed of a section (spec section 3).
    fn seed(&self, section: &str) -> SecretBytes {
        match self {
            Self::Identity(seed) => seed.clone(),
            Self::Apart { root, kept, .. } => kept
                .get(section)
                .cloned()
                .unwrap_or_else(|| SecretBytes(*kdf(labels::SECTION_SEED, &root.0, &[section.as_bytes()]))),
        }
    }

    fn secret(&self, section: &str, epoch: u32) -> SectionSecret {
        SectionSecret::derive(&IdentitySeed::from_bytes(&self.seed(section).0), section, epoch)
    }

    /// The public key of what was destroyed.
    fn destroyed(&self, section: &str, epoch: u32) -> Option<Point> {
        let Self::Apart { erased, .. } = self else { return None };
        Point::from_bytes(&erased.get(section)?.get(epoch as usize)?.0).ok()
    }
}

fn random_secret() -> SecretBytes {
    use rand::Rng as _;
    let mut secret = SecretBytes([0; 32]);
    rand::rng().fill_bytes(&mut secret.0);
    secret
}

/// What is granted, to whom, for what, until when.
#[derive(Clone, Debug)]
pub struct GrantRequest<'a> {
    /// Domain.
    pub domain: &'a str,
    /// Reader: a member or a group.
    pub reader: PublicIdentity,
    /// Section.
    pub section: &'a str,
    /// Epoch.
    pub epoch: u32,
    /// Purpose of use.
    pub purpose: &'a str,
    /// First second it holds, Unix time.
    pub not_before: u64,
    /// First second it no longer holds, Unix time.
    pub not_after: u64,
    /// What narrows it.
    pub limits: GrantLimits,
}

/// What narrows a grant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GrantLimits {
    /// For a group: its key of now.
    pub group_key: Option<GroupKey>,
    /// For a group: who joined later, Unix milliseconds, is not meant.
    pub newcomers: Newcomers,
    /// Only what these pushed, or anyone below them.
    pub providers: Vec<PrincipalId>,
    /// Dormant until two people wake it.
    pub emergency: Option<Emergency>,
}

/// Which members of a group a grant means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Newcomers {
    /// Whoever is in it, whenever that is.
    #[default]
    All,
    /// Whoever is in it by a time, Unix milliseconds, or when the grant is made. The grant of the section's next epoch
    /// means who is in it by then: who joins sees what is written later, and nothing of before.
    Later(Option<u64>),
    /// Whoever was in it by a time, Unix milliseconds; renewals keep it. Nobody who joins sees anything until the
    /// owner grants anew (SeSPHR's rule).
    JoinedBy(u64),
}

impl Newcomers {
    /// What a grant's terms say.
    pub fn of(terms: &GrantTerms) -> Self {
        match terms.joined_by {
            None => Self::All,
            Some(at) if terms.newcomers_later => Self::Later(Some(at)),
            Some(at) => Self::JoinedBy(at),
        }
    }

    fn cutoff(self, granted_at: u64) -> Option<u64> {
        match self {
            Self::All => None,
            Self::Later(at) => Some(at.unwrap_or(granted_at)),
            Self::JoinedBy(at) => Some(at),
        }
    }
}

impl Owner {
    /// From an identity seed.
    pub fn from_seed(seed: &SecretBytes) -> Self {
        let identity = std::sync::Arc::new(Identity::from_seed(&IdentitySeed::from_bytes(&seed.0)));
        Self { identity, sections: SectionSeeds::Identity(seed.clone()) }
    }

    /// Principal id.
    pub fn id(&self) -> PrincipalId {
        self.identity.id()
    }

    /// Identity, to call servers with.
    pub fn identity(&self) -> std::sync::Arc<Identity> {
        self.identity.clone()
    }

    /// Public key of a section and epoch. One multiplication.
    pub fn section_key(&self, section: &str, epoch: u32) -> Point {
        self.sections.destroyed(section, epoch).unwrap_or_else(|| self.sections.secret(section, epoch).public())
    }

    /// A signed profile: keys of these sections at these epochs (each with all epochs before it), and
    /// who may write.
    pub fn profile(
        &self,
        domain: &str,
        version: u64,
        sections: &[(String, u32)],
        writers: &[PrincipalId],
    ) -> Signed<OwnerProfile> {
        let keys = sections.iter().flat_map(|(section, newest)| (0..=*newest).map(move |epoch| (section, epoch)));
        let profile = OwnerProfile {
            domain: domain.into(),
            owner: (&self.identity.public()).into(),
            version,
            sections: keys
                .map(|(section, epoch)| SectionKey {
                    section: section.clone(),
                    epoch,
                    key: RawPoint(self.section_key(section, epoch).to_bytes()),
                })
                .collect(),
            writers: writers.to_vec(),
        };
        Signed::sign(&profile, &self.identity, &mut rand::rng())
    }

    /// A signed grant with its re-encryption scalar, dealt to the gate's nodes if it has several. About five
    /// multiplications, 0.15 ms.
    pub fn grant(&self, g: &GrantRequest<'_>, nodes: Option<&Nodes>) -> MadeGrant {
        let mut rng = rand::rng();
        let secret = self.sections.secret(g.section, g.epoch);
        let group_key = g.limits.group_key.as_ref();
        let to = group_key.and_then(|k| Point::from_bytes(&k.key.0).ok()).unwrap_or_else(|| g.reader.enc());
        let keys = make_grant(&secret, &to, &Scalar::random(&mut rng));
        let granted_at = now_ms();
        let dealt = nodes.map(|nodes| deal_to(nodes, keys.rk.scalar()));
        let terms = GrantTerms {
            domain: g.domain.into(),
            owner: self.id(),
            reader: PublicKeys::from(&g.reader),
            section: g.section.into(),
            epoch: g.epoch,
            a: RawPoint(secret.public().to_bytes()),
            x: RawPoint(keys.x_pub.to_bytes()),
            r: RawPoint(keys.r_pub.to_bytes()),
            commitments: dealt.as_ref().map_or_else(Vec::new, |d| d.commitments[1..].to_vec()),
            purpose: g.purpose.into(),
            not_before: g.not_before,
            not_after: g.not_after,
            granted_at,
            group_key: g.limits.group_key,
            joined_by: g.limits.newcomers.cutoff(granted_at),
            newcomers_later: matches!(g.limits.newcomers, Newcomers::Later(_)),
            providers: g.limits.providers.clone(),
            emergency: g.limits.emergency.clone(),
            by: None,
        };
        let rk = dealt.is_none().then(|| SecretBytes(*keys.rk.to_bytes()));
        MadeGrant { submission: GrantSubmission { grant: Signed::sign(&terms, &self.identity, &mut rng), rk }, dealt }
    }

    /// A signed revocation: of one section, or of all.
    pub fn revocation(&self, domain: &str, reader: PrincipalId, section: Option<&str>) -> Signed<Revocation> {
        self.revocation_for(domain, reader, section, None)
    }

    /// A signed revocation of what was granted for one purpose, or whatever for.
    pub fn revocation_for(
        &self,
        domain: &str,
        reader: PrincipalId,
        section: Option<&str>,
        purpose: Option<&str>,
    ) -> Signed<Revocation> {
        let revocation = Revocation {
            domain: domain.into(),
            owner: self.id(),
            reader,
            section: section.map(Into::into),
            purpose: purpose.map(Into::into),
            revoked_at: now_ms(),
        };
        Signed::sign(&revocation, &self.identity, &mut rand::rng())
    }
}

impl Owner {
    /// A signed mandate for a carer. One that ends in the past ends the mandate, and all granted under it.
    pub fn mandate(
        &self,
        domain: &str,
        carer: &PublicIdentity,
        sections: Vec<String>,
        not_after: u64,
    ) -> Signed<Mandate> {
        let mandate = Mandate {
            domain: domain.into(),
            owner: self.id(),
            carer: carer.into(),
            sections,
            not_after,
            made_at: now_ms(),
        };
        Signed::sign(&mandate, &self.identity, &mut rand::rng())
    }
}

/// A grant, made.
pub struct MadeGrant {
    /// What the gate gets.
    pub submission: GrantSubmission,
    dealt: Option<Dealt>,
}

/// Grants on their way to the gate, with the shares of each node if it has several.
pub fn submit(gate: &GateLink, domain: &str, made: Vec<MadeGrant>) -> SubmitGrants {
    let shares = gate.nodes().map(|nodes| {
        let of = |m: &MadeGrant| m.submission.grant.payload.clone().into_bytes();
        let documents: Vec<Vec<u8>> = made.iter().map(of).collect();
        let dealt = documents.iter().zip(&made).filter_map(|(d, m)| Some((d.as_slice(), m.dealt.as_ref()?)));
        seal_shares(nodes, domain, &dealt.collect::<Vec<_>>())
    });
    SubmitGrants { shares: shares.unwrap_or_default(), grants: made.into_iter().map(|m| m.submission).collect() }
}

/// Has profiles, revocations and grants take effect together.
pub async fn change(
    gate: &GateLink,
    domain: &str,
    profiles: Vec<Signed<OwnerProfile>>,
    revocations: Vec<Signed<Revocation>>,
    made: Vec<MadeGrant>,
) -> Result<u64, CallError> {
    let SubmitGrants { grants, shares } = submit(gate, domain, made);
    let change = ChangeConsent { profiles, revocations, grants, shares };
    let done = gate.post_to_each("/v1/consent", &change).await?;
    Ok(done.count)
}

/// Sends profiles to the gate, in parts.
pub async fn publish(gate: &Peer, profiles: Vec<Signed<OwnerProfile>>) -> Result<u64, CallError> {
    let mut count = 0;
    for part in profiles.chunks(DOCUMENTS) {
        let done: Accepted = gate.post_json("/v1/owners", &PublishOwners { profiles: part.to_vec() }).await?;
        count += done.count;
    }
    Ok(count)
}

/// Makes grants on all cores and sends them to the gate, in parts.
pub async fn grant_all(gate: &GateLink, requests: &[(&Owner, GrantRequest<'_>)]) -> Result<u64, CallError> {
    let mut count = 0;
    for part in requests.chunks(DOCUMENTS) {
        let domain = part.first().map_or("", |(_, r)| r.domain);
        let made = part.par_iter().map(|(owner, request)| owner.grant(request, gate.nodes())).collect();
        let done: Accepted = gate.post_json("/v1/grants", &submit(gate, domain, made)).await?;
        count += done.count;
    }
    Ok(count)
}

/// Sends revocations to the gate. When this returns, they are in force.
pub async fn revoke_all(gate: &GateLink, revocations: Vec<Signed<Revocation>>) -> Result<u64, CallError> {
    let mut count = 0;
    for part in revocations.chunks(DOCUMENTS) {
        let request = SubmitRevocations { revocations: part.to_vec() };
        let done = gate.post_to_each("/v1/revocations", &request).await?;
        count += done.count;
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_destroyed_is_made_by_nothing_that_is_left_and_everything_else_stays() {
        let mut entry = OwnerEntry::random();
        entry.admit(PrincipalId([1; 16]), &["labs".into(), "notes".into(), "claims".into()]);
        entry.sections.insert("labs".into(), 2);
        let before = entry.owner();
        let erased = |section: &str, through| ErasedSection { section: section.into(), through };
        entry.destroy(&[erased("labs", 2)]);
        entry.destroy(&[erased("labs", 2)]);
        let once = entry.root.0;
        let after = entry.owner();
        for (section, epoch) in [("labs", 0), ("labs", 2), ("notes", 0), ("claims", 0), ("notes", 7)] {
            assert_eq!(after.section_key(section, epoch), before.section_key(section, epoch), "{section} {epoch}");
        }
        for epoch in 0..4 {
            let made = after.sections.secret("labs", epoch).public();
            assert_ne!(made, before.sections.secret("labs", epoch).public(), "epoch {epoch}");
        }
        assert_eq!((entry.first_epoch("labs"), entry.first_epoch("notes")), (3, 0));
        // What was erased stays closed, and published.
        assert!(!entry.admit(PrincipalId([1; 16]), &["labs".into()]));
        let published = entry.next_profile("d").peek().unwrap();
        let count = |section: &str| published.sections.iter().filter(|k| k.section == section).count();
        assert_eq!((count("labs"), count("notes"), published.current("labs").map(|k| k.epoch)), (3, 1, Some(2)));
        // A second time, for what an earlier root had made.
        entry.destroy(&[erased("notes", 0)]);
        let last = entry.owner();
        assert_ne!(entry.root.0, once);
        assert_eq!(last.section_key("claims", 0), before.section_key("claims", 0));
        assert_ne!(last.sections.secret("notes", 0).public(), before.sections.secret("notes", 0).public());
        assert_eq!(entry.owner().id(), before.id());
    }
}
