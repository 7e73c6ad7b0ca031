//! Whose record it is: the hospital's map from its patient references to principals, and the owners'
//! own signed profiles from the gate.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use rayon::prelude::*;
use sealdex_crypto::{Claim, Point, PointError, PrincipalId, PublicIdentity, decode_many, verify_many};
use sealdex_net::Peer;
use sealdex_wire::{
    Signed,
    consent::{LookupOwners, OwnerProfile, OwnersFound, SectionKey},
    erasure::ErasureOrder,
    roster::PublicKeys,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::job::{PushError, blocking};

/// Owners asked for in one request.
const LOOKUP: usize = 2048;
/// Profiles verified together: more would be little faster, and leave a core without work.
const TOGETHER: usize = 1024;

/// The hospital's own map, NDJSON: `{"patient":"Patient/…","principal":"…"}`. It links people to
/// principals, so it never leaves the hospital.
///
/// A line `{"sha256":"…"}` is the hash of the lines before it, up to the last such line, each with a newline: a byte that
/// rots in a principal would have records sealed to somebody else. What was written by hand needs none.
#[derive(Clone, Debug, Default)]
pub struct OwnerMap {
    principals: HashMap<String, PrincipalId>,
    checked: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    patient: String,
    principal: PrincipalId,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Checksum {
    sha256: String,
}

/// Why the map could not be used.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("owner map {path}{}: {reason}", line.map(|l| format!(", line {l}")).unwrap_or_default())]
pub struct OwnerMapError {
    /// File.
    pub path: PathBuf,
    /// Line, from 1.
    pub line: Option<usize>,
    /// What is wrong.
    pub reason: String,
}

impl OwnerMap {
    /// Reads the map.
    pub fn read(path: &Path) -> Result<Self, OwnerMapError> {
        let fail = |line, reason: String| OwnerMapError { path: path.into(), line, reason };
        let file = std::fs::File::open(path).map_err(|e| fail(None, e.to_string()))?;
        let (mut map, mut hash, mut checked) = (HashMap::new(), Sha256::new(), false);
        for (i, line) in BufReader::new(file).lines().enumerate() {
            let text = line.map_err(|e| fail(Some(i + 1), e.to_string()))?;
            if text.trim().is_empty() {
                continue;
            }
            if let Ok(Checksum { sha256 }) = serde_json::from_str(&text) {
                if sha256 != hex::encode(hash.finalize_reset()) {
                    let reason = "the lines before do not fit their checksum: the file is damaged, restore it from a copy. \
                                  If it was edited by hand, delete this line";
                    return Err(fail(Some(i + 1), reason.into()));
                }
                checked = true;
                continue;
            }
            checked = false;
            hash.update(&text);
            hash.update(b"\n");
            let Line { patient, principal } =
                serde_json::from_str(&text).map_err(|e| fail(Some(i + 1), e.to_string()))?;
            if map.insert(patient.clone(), principal).is_some_and(|old| old != principal) {
                return Err(fail(Some(i + 1), format!("{patient} is listed with two principals")));
            }
        }
        Ok(Self { principals: map, checked })
    }

    /// Writes the map, beside the old one first: whoever is killed here leaves one of the two.
    pub fn write(&self, path: &Path) -> Result<(), OwnerMapError> {
        let fail = |e: std::io::Error| OwnerMapError { path: path.into(), line: None, reason: e.to_string() };
        let mut rows: Vec<_> = self.principals.iter().collect();
        rows.sort();
        let beside = path.with_extension("new");
        let mut text = Vec::new();
        for (patient, principal) in rows {
            let line = Line { patient: patient.clone(), principal: *principal };
            serde_json::to_writer(&mut text, &line).map_err(|e| fail(e.into()))?;
            text.push(b'\n');
        }
        let sum = Checksum { sha256: hex::encode(Sha256::digest(&text)) };
        serde_json::to_writer(&mut text, &sum).map_err(|e| fail(e.into()))?;
        text.push(b'\n');
        let mut out = std::fs::File::create(&beside).map_err(fail)?;
        out.write_all(&text).and_then(|()| out.sync_all()).map_err(fail)?;
        std::fs::rename(&beside, path).map_err(fail)?;
        // Only then is it the new one after a power failure, too.
        let dir = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(fail)
    }

    /// Adds a patient.
    pub fn insert(&mut self, patient: String, principal: PrincipalId) {
        self.principals.insert(patient, principal);
    }

    /// The principal of a patient reference.
    pub fn get(&self, patient: &str) -> Option<PrincipalId> {
        self.principals.get(patient).copied()
    }

    /// Whether a checksum was read after the last patient, and fitted.
    pub fn is_checked(&self) -> bool {
        self.checked
    }

    /// Number of patients.
    pub fn len(&self) -> usize {
        self.principals.len()
    }

    /// Whether no patient is listed.
    pub fn is_empty(&self) -> bool {
        self.principals.is_empty()
    }
}

/// An owner whose profile was verified: current section keys, and who may write.
pub(crate) struct Owner {
    sections: Vec<(String, u32, Point)>,
    writers: Vec<PrincipalId>,
    /// Orders to erase, by the owner's own word.
    erased: Vec<ErasureOrder>,
}

/// What a provider seals to: of each section the key of its last epoch.
fn current(profile: &OwnerProfile) -> impl Iterator<Item = &SectionKey> {
    let is_current = |key: &&SectionKey| profile.current(&key.section).is_some_and(|c| c.epoch == key.epoch);
    profile.sections.iter().filter(is_current)
}

impl Owner {
    /// Epoch and public key to seal a section to.
    pub(crate) fn section(&self, name: &str) -> Option<(u32, Point)> {
        self.sections.iter().find(|s| s.0 == name).map(|s| (s.1, s.2))
    }

    /// Whether the owner has ordered what is sealed to a section and epoch to be erased.
    pub(crate) fn has_erased(&self, section: &str, epoch: u32) -> bool {
        self.erased.iter().any(|order| order.covers(section, epoch))
    }

    /// Whether one of these (a provider and those above it) may write.
    pub(crate) fn admits(&self, path: &[PrincipalId]) -> bool {
        path.iter().any(|id| self.writers.contains(id))
    }
}

/// Verified owners, fetched from the gate as they come up.
#[derive(Default)]
pub(crate) struct Owners {
    known: HashMap<PrincipalId, Option<Arc<Owner>>>,
}

impl Owners {
    /// Fetches the profiles of those not known yet. A profile the gate does not have, or that is not
    /// the owner's own word, leaves the owner without keys.
    pub(crate) async fn fetch(
        &mut self,
        gate: &Peer,
        domain: &str,
        owners: impl Iterator<Item = PrincipalId>,
    ) -> Result<(), PushError> {
        let missing = |o: &PrincipalId| self.known.get(o).is_none_or(Option::is_none);
        let mut missing: Vec<PrincipalId> = owners.filter(missing).collect();
        missing.sort();
        missing.dedup();
        for part in missing.chunks(LOOKUP) {
            let found: OwnersFound =
                gate.post_json("/v1/owners/lookup", &LookupOwners { owners: part.to_vec() }).await?;
            let (ids, domain) = (part.to_vec(), domain.to_owned());
            self.known.extend(blocking(move || verified(found, &ids, &domain)).await?);
        }
        Ok(())
    }

    pub(crate) fn get(&self, id: PrincipalId) -> Option<Arc<Owner>> {
        self.known.get(&id).cloned().flatten()
    }

    /// Forgets everything: after the gate said that an epoch has moved on.
    pub(crate) fn clear(&mut self) {
        self.known.clear();
    }
}

/// The owners behind profiles, each where the owner itself signed it: its id certifies the keys in it.
fn verified(found: OwnersFound, ids: &[PrincipalId], domain: &str) -> Vec<(PrincipalId, Option<Arc<Owner>>)> {
    let OwnersFound { mut profiles, erased } = found;
    profiles.resize(ids.len(), None);
    let chunk = ids.len().div_ceil(rayon::current_num_threads()).clamp(64, TOGETHER).next_multiple_of(8);
    let claimed: Vec<Option<Claimed>> = profiles
        .par_chunks(chunk)
        .zip(ids.par_chunks(chunk))
        .flat_map_iter(|(signed, ids)| Claimed::all(signed, ids, domain))
        .collect();
    let claims: Vec<Claim> = claimed.iter().flatten().map(|c| c.claim).collect();
    let holds: Vec<bool> = claims.par_chunks(chunk).flat_map_iter(|some| verify_many(some, &mut rand::rng())).collect();
    let mut holds = holds.into_iter();
    let proved: Vec<Option<Claimed>> =
        claimed.into_iter().map(|c| c.filter(|_| holds.next().unwrap_or(false))).collect();
    let mut orders: HashMap<PrincipalId, Vec<Signed<ErasureOrder>>> = HashMap::new();
    for order in erased {
        orders.entry(order.signer).or_default().push(order);
    }
    // The keys of many owners at a time: one alone has too few to fill the lanes.
    let owners = |(proved, ids): (&[Option<Claimed>], &[PrincipalId])| {
        let keys: Vec<[u8; 33]> =
            proved.iter().flatten().flat_map(|c| current(&c.profile)).map(|key| key.key.0).collect();
        let mut points = decode_many(&keys).into_iter();
        let owner = |(claimed, id): (&Option<Claimed>, &PrincipalId)| {
            let claimed = claimed.as_ref()?;
            let points: Vec<_> = points.by_ref().take(current(&claimed.profile).count()).collect();
            claimed.owner(points, orders.get(id).map_or(&[], Vec::as_slice)).map(Arc::new)
        };
        let found: Vec<Option<Arc<Owner>>> = proved.iter().zip(ids).map(owner).collect();
        ids.iter().copied().zip(found).collect::<Vec<_>>()
    };
    proved.par_chunks(chunk).zip(ids.par_chunks(chunk)).flat_map_iter(owners).collect()
}

/// A profile with keys that belong to its owner's id, whose signature is still to be verified.
struct Claimed {
    profile: OwnerProfile,
    keys: PublicIdentity,
    claim: Claim,
}

impl Claimed {
    /// Of each profile, in order: the keys of all are decoded together.
    fn all(signed: &[Option<Signed<OwnerProfile>>], ids: &[PrincipalId], domain: &str) -> Vec<Option<Self>> {
        let peek = |signed: &Option<Signed<OwnerProfile>>| signed.as_ref()?.peek().ok().filter(|p| p.domain == domain);
        let profiles: Vec<Option<OwnerProfile>> = signed.iter().map(peek).collect();
        let mut keys = PublicKeys::identities(profiles.iter().flatten().map(|p| &p.owner)).into_iter();
        let claimed =
            |((profile, signed), id): ((Option<OwnerProfile>, &Option<Signed<OwnerProfile>>), &PrincipalId)| {
                let profile = profile?;
                let keys = keys.next()?.ok().filter(|keys| keys.id() == *id)?;
                Some(Self { claim: signed.as_ref()?.claim(&keys).ok()?, profile, keys })
            };
        profiles.into_iter().zip(signed).zip(ids).map(claimed).collect()
    }

    /// The owner, once its signature was verified, with the points of its current keys. Of `orders`, what it has not signed
    /// itself is nothing.
    fn owner(&self, points: Vec<Result<Point, PointError>>, orders: &[Signed<ErasureOrder>]) -> Option<Owner> {
        let (id, domain) = (self.keys.id(), &self.profile.domain);
        let section =
            |(key, point): (&SectionKey, Result<Point, _>)| Some((key.section.clone(), key.epoch, point.ok()?));
        let sections = current(&self.profile).zip(points).map(section).collect::<Option<_>>()?;
        let own = orders.iter().filter_map(|signed| signed.verify(&self.keys).ok());
        let erased = own.filter(|order| order.domain == *domain && order.owner == id).collect();
        Some(Owner { sections, writers: self.profile.writers.clone(), erased })
    }
}

#[cfg(test)]
mod tests {
    use sealdex_crypto::{Identity, IdentitySeed, Scalar};
    use sealdex_wire::{RawPoint, consent::SectionKey, roster::PublicKeys};

    use super::*;

    fn profile(of: &Identity, by: &Identity, domain: &str) -> Signed<OwnerProfile> {
        let key = RawPoint(Scalar::random(&mut rand::rng()).base_mul().to_bytes());
        let profile = OwnerProfile {
            domain: domain.into(),
            owner: PublicKeys::from(&of.public()),
            version: 1,
            sections: vec![SectionKey { section: "labs".into(), epoch: 0, key }],
            writers: Vec::new(),
        };
        Signed::sign(&profile, by, &mut rand::rng())
    }

    #[test]
    fn what_is_not_an_owners_own_word_leaves_only_that_owner_without_keys() {
        let owners: Vec<Identity> =
            (0..100).map(|_| Identity::from_seed(&IdentitySeed::random(&mut rand::rng()))).collect();
        let ids: Vec<PrincipalId> = owners.iter().map(Identity::id).collect();
        let own = |of: &Identity| Some(profile(of, of, "d"));
        let found = |profiles| verified(OwnersFound { profiles, erased: Vec::new() }, &ids, "d");
        let without = |found: Vec<(PrincipalId, Option<Arc<Owner>>)>| {
            assert!(found.iter().map(|(id, _)| id).eq(&ids), "each owner once, in order");
            (0..).zip(found).filter(|(_, (_, owner))| owner.is_none()).map(|(i, _)| i).collect::<Vec<usize>>()
        };
        let good: Vec<_> = owners.iter().map(own).collect();
        assert!(without(found(good.clone())).is_empty());
        let mut bad = good.clone();
        bad[3] = None;
        bad[5] = own(&owners[6]);
        bad[7] = Some(profile(&owners[7], &owners[7], "another"));
        bad[9] = Some(profile(&owners[9], &owners[10], "d"));
        bad[9].as_mut().unwrap().signer = ids[9];
        bad[11] = Some(profile(&owners[11], &owners[12], "d"));
        assert_eq!(without(found(bad)), [3, 5, 7, 9, 11]);
        assert_eq!(without(found(good[..98].to_vec())), [98, 99]);
    }

    /// The keys of many owners are decoded together: each has its own back, of its current epochs, whatever others have.
    #[test]
    fn every_owner_has_its_own_keys() {
        let owners: Vec<Identity> =
            (0..200).map(|_| Identity::from_seed(&IdentitySeed::random(&mut rand::rng()))).collect();
        let key = || RawPoint(Scalar::random(&mut rand::rng()).base_mul().to_bytes());
        let names = ["labs", "notes", "imaging"];
        let profiles: Vec<OwnerProfile> = (0..)
            .zip(&owners)
            .map(|(i, owner)| {
                let epochs = names[..i % 4]
                    .iter()
                    .enumerate()
                    .flat_map(|(s, name)| (0..=(i + s) as u32 % 3).map(move |e| (name, e)));
                let mut sections: Vec<SectionKey> =
                    epochs.map(|(name, epoch)| SectionKey { section: (*name).into(), epoch, key: key() }).collect();
                if i % 50 == 7 {
                    sections.last_mut().unwrap().key = RawPoint([255; 33]);
                }
                OwnerProfile {
                    domain: "d".into(),
                    owner: PublicKeys::from(&owner.public()),
                    version: 1,
                    sections,
                    writers: Vec::new(),
                }
            })
            .collect();
        let signed = profiles.iter().zip(&owners).map(|(p, owner)| Some(Signed::sign(p, owner, &mut rand::rng())));
        let mut signed: Vec<_> = signed.collect();
        signed[20] = None;
        // By another, in the owner's name.
        signed[30] = Some(Signed::sign(&profiles[30], &owners[31], &mut rand::rng()));
        signed[30].as_mut().unwrap().signer = owners[30].id();
        let ids: Vec<PrincipalId> = owners.iter().map(Identity::id).collect();
        let found = verified(OwnersFound { profiles: signed, erased: Vec::new() }, &ids, "d");
        for (i, ((id, owner), profile)) in found.into_iter().zip(&profiles).enumerate() {
            assert_eq!(id, ids[i]);
            assert_eq!(owner.is_none(), i % 50 == 7 || i == 20 || i == 30, "owner {i}");
            let Some(owner) = owner else { continue };
            assert_eq!(owner.sections.len(), i % 4);
            for name in names {
                let own = profile.sections.iter().filter(|key| key.section == name).max_by_key(|key| key.epoch);
                let got = owner.section(name).map(|(epoch, point)| (epoch, point.to_bytes()));
                assert_eq!(got, own.map(|key| (key.epoch, key.key.0)), "owner {i}, {name}");
            }
        }
    }

    #[test]
    fn the_map_survives_writing_and_names_the_bad_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("owners.ndjson");
        let mut map = OwnerMap::default();
        map.insert("Patient/b".into(), PrincipalId([2; 16]));
        map.insert("Patient/a".into(), PrincipalId([1; 16]));
        map.write(&path).unwrap();
        let back = OwnerMap::read(&path).unwrap();
        assert_eq!(back.get("Patient/a"), Some(PrincipalId([1; 16])));
        assert_eq!(back.len(), 2);
        let other = format!("{{\"patient\":\"Patient/a\",\"principal\":\"{}\"}}\n", "03".repeat(16));
        std::fs::write(&path, std::fs::read_to_string(&path).unwrap() + &other).unwrap();
        assert_eq!(OwnerMap::read(&path).unwrap_err().line, Some(4));
    }

    #[test]
    fn rot_in_the_map_is_found_and_a_map_by_hand_needs_no_checksum() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("owners.ndjson");
        let mut map = OwnerMap::default();
        map.insert("Patient/a".into(), PrincipalId([0x11; 16]));
        map.write(&path).unwrap();
        let written = std::fs::read_to_string(&path).unwrap();
        // Another principal, and nothing that a parser would find.
        std::fs::write(&path, written.replacen("11", "12", 1)).unwrap();
        let error = OwnerMap::read(&path).unwrap_err();
        assert!(error.line == Some(2) && error.reason.contains("checksum"), "{error}");
        let by_hand = written.lines().next().unwrap().to_owned();
        std::fs::write(&path, format!("{by_hand}\n")).unwrap();
        assert_eq!(OwnerMap::read(&path).unwrap().len(), 1);
        // Lines added below, and maps one after the other.
        let more = written.replace("Patient/a", "Patient/b");
        std::fs::write(&path, format!("{written}\n{}\n", more.lines().next().unwrap())).unwrap();
        assert_eq!(OwnerMap::read(&path).unwrap().len(), 2);
        std::fs::write(&path, format!("{written}{written}")).unwrap();
        assert_eq!(OwnerMap::read(&path).unwrap().len(), 1);
    }
}
