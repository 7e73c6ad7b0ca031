//! Groups (spec section 5): founding one, who joins and leaves, and rotating its grants to a new key.

use std::collections::{HashMap, HashSet};

use rayon::prelude::*;
use sealdex_crypto::{Identity, IdentitySeed, Point, PrincipalId, PublicIdentity, WrapError, unwrap, wrap};
use sealdex_member::{GateLink, MemberKeys, Trusted};
use sealdex_net::{CallError, Peer, clock::now_ms};
use sealdex_open::{ReaderKey, rotation_factor};
use sealdex_wire::{
    B32, RawPoint, Signed,
    consent::{Accepted, GroupKey, SecretBytes},
    group::{
        CharterError, EarlierSeed, GroupCharter, GroupList, GroupMember, Handover, ListGroups, ListStale, RotateGrants,
        Rotation, SEED_CONTEXT, Sealed, StaleList, SubmitGroup,
    },
    roster::PublicKeys,
};

/// Grants rotated in one request.
const ROTATIONS: u32 = 4096;

/// Why a group could not be used or changed.
#[derive(Debug, thiserror::Error)]
pub enum GroupError {
    /// The gate refused or does not answer.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The gate's charter is not its manager's word.
    #[error(transparent)]
    Charter(#[from] CharterError),
    /// No such group.
    #[error("no group \"{0}\" (name groups as NAME@MANAGER; `sealdex group list` shows them)")]
    Unknown(String),
    /// Several groups of one name.
    #[error("there are several groups \"{0}\": the manager must give them different names")]
    Ambiguous(String),
    /// A seed does not open.
    #[error("the group's seed was not wrapped for this key: {0}")]
    Seed(#[from] WrapError),
    /// A seed is not what the charter's key comes from.
    #[error("the group's seed does not fit the key in its charter")]
    Key,
    /// Not a member of the domain.
    #[error("the roster has no active member \"{0}\"")]
    NoMember(String),
    /// Already in, or not in, the group.
    #[error("{0}")]
    Membership(String),
    /// A worker died.
    #[error("rotating stopped unexpectedly: {0}")]
    Died(String),
}

/// A group, checked.
#[derive(Clone, Debug)]
pub struct Group {
    /// Its id.
    pub id: PrincipalId,
    /// Its newest charter.
    pub charter: GroupCharter,
}

impl Group {
    /// What owners grant to.
    pub fn key(&self) -> GroupKey {
        GroupKey { generation: self.charter.generation, key: self.charter.key }
    }

    /// Who manages it.
    pub fn manager(&self) -> Option<PrincipalId> {
        self.charter.managers.last().and_then(|m| m.identity().ok()).map(|m| m.id())
    }
}

/// What binds a wrapped seed to its group and generation.
fn context(group: &PublicKeys, generation: u32) -> Vec<u8> {
    [SEED_CONTEXT.as_bytes(), &group.enc.0, &group.sign.0, &generation.to_be_bytes()].concat()
}

fn reader_of(seed: &[u8]) -> Result<(IdentitySeed, ReaderKey), GroupError> {
    let seed = IdentitySeed::from_bytes(seed.try_into().map_err(|_| GroupError::Key)?);
    let key = ReaderKey::from_identity(&Identity::from_seed(&seed));
    Ok((seed, key))
}

/// Opens the newest seed with `own` key and from it the earlier ones: keys by generation, newest first.
fn unwrap_all(
    charter: &GroupCharter,
    wrapped: &Sealed,
    own: &Identity,
) -> Result<Vec<(u32, IdentitySeed, ReaderKey)>, GroupError> {
    let opened = unwrap(own.enc_secret(), &context(&charter.group, charter.generation), &wrapped.0)?;
    let (seed, newest) = reader_of(&opened)?;
    if newest.public().to_bytes() != charter.key.0 {
        return Err(GroupError::Key);
    }
    let newest_identity = Identity::from_seed(&seed);
    let mut all = vec![(charter.generation, seed, newest)];
    for earlier in &charter.earlier {
        let opened =
            unwrap(newest_identity.enc_secret(), &context(&charter.group, earlier.generation), &earlier.seed.0)?;
        let (seed, key) = reader_of(&opened)?;
        all.push((earlier.generation, seed, key));
    }
    Ok(all)
}

/// A member's keys of a group it belongs to, by generation.
pub fn member_keys(group: &Group, own: &Identity) -> Result<Vec<(u32, ReaderKey)>, GroupError> {
    let Some(me) = group.charter.member(own.id()) else { return Ok(Vec::new()) };
    Ok(unwrap_all(&group.charter, &me.seed, own)?.into_iter().map(|(g, _, key)| (g, key)).collect())
}

/// Charters from the gate, each checked.
pub async fn list(gate: &Peer, trusted: &Trusted, mine: bool) -> Result<Vec<Group>, GroupError> {
    let found: GroupList = gate.post_json("/v1/groups/list", &ListGroups { groups: Vec::new(), mine }).await?;
    let check = |signed: &Signed<GroupCharter>| {
        let (id, charter) = signed.verified(&trusted.roster.domain, &trusted.roster.authority)?;
        Ok(Group { id, charter })
    };
    found.charters.iter().map(check).collect()
}

/// The group of this name: `name@manager`.
pub async fn named(gate: &Peer, trusted: &Trusted, name: &str) -> Result<Group, GroupError> {
    let (own, manager) = name.split_once('@').ok_or_else(|| GroupError::Unknown(name.into()))?;
    let manager = trusted.roster.named(manager).ok_or_else(|| GroupError::NoMember(manager.into()))?.id;
    let all = list(gate, trusted, false).await?;
    let mut fitting = all.into_iter().filter(|g| g.charter.name == own && g.manager() == Some(manager));
    let found = fitting.next().ok_or_else(|| GroupError::Unknown(name.into()))?;
    if fitting.next().is_some() { Err(GroupError::Ambiguous(name.into())) } else { Ok(found) }
}

/// A member who manages groups.
pub struct Manager<'a> {
    keys: &'a MemberKeys,
    trusted: &'a Trusted,
    gate: GateLink,
}

impl<'a> Manager<'a> {
    /// With the member's own connection.
    pub fn new(keys: &'a MemberKeys, trusted: &'a Trusted, gate: GateLink) -> Self {
        Self { keys, trusted, gate }
    }

    fn wrap_for(&self, to: &Point, group: &PublicKeys, generation: u32, seed: &IdentitySeed) -> Sealed {
        Sealed(wrap(to, &context(group, generation), seed.expose(), &mut rand::rng()))
    }

    fn member(&self, id: PrincipalId) -> Result<PublicIdentity, GroupError> {
        let none = || GroupError::NoMember(id.to_string());
        let member = self.trusted.roster.member(id).filter(|_| self.trusted.roster.is_active(id)).ok_or_else(none)?;
        member.keys.identity().map_err(|_| none())
    }

    fn id_of(&self, name: &str) -> Result<PrincipalId, GroupError> {
        self.trusted.roster.named(name).map(|m| m.id).ok_or_else(|| GroupError::NoMember(name.into()))
    }

    async fn submit(&self, charter: &GroupCharter) -> Result<(), GroupError> {
        let charter = Signed::sign(charter, &self.keys.identity, &mut rand::rng());
        self.gate.post_to_each("/v1/groups", &SubmitGroup { charter }).await?;
        Ok(())
    }

    /// Founds a group of these members. The manager belongs to it only if it is among them.
    pub async fn found(&self, name: &str, members: &[String]) -> Result<PrincipalId, GroupError> {
        if named(&self.gate, self.trusted, &format!("{name}@{}", self.keys.secrets.name)).await.is_ok() {
            return Err(GroupError::Membership(format!("you manage a group \"{name}\" already")));
        }
        let seed = IdentitySeed::random(&mut rand::rng());
        let first = Identity::from_seed(&seed).public();
        let own = self.keys.identity.public();
        let group = PublicKeys { enc: RawPoint(first.enc_bytes()), sign: B32(own.sign_bytes()) };
        let id = group.identity().map_err(|_| GroupError::Key)?.id();
        let since = now_ms();
        let mut charter = GroupCharter {
            domain: self.trusted.roster.domain.clone(),
            group,
            name: name.into(),
            managers: vec![PublicKeys::from(&own)],
            handovers: Vec::new(),
            version: 1,
            generation: 0,
            key: group.enc,
            kept: self.wrap_for(&own.enc(), &group, 0, &seed),
            members: Vec::new(),
            earlier: Vec::new(),
        };
        for name in members {
            let member = self.id_of(name)?;
            let seed = self.wrap_for(&self.member(member)?.enc(), &group, 0, &seed);
            charter.members.push(GroupMember { member, since, seed });
        }
        self.submit(&charter).await?;
        Ok(id)
    }

    fn seeds(&self, group: &Group) -> Result<Vec<(u32, IdentitySeed, ReaderKey)>, GroupError> {
        unwrap_all(&group.charter, &group.charter.kept, &self.keys.identity)
    }

    /// Adds members. What they may see of what owners granted before is for the owners' grants to say.
    pub async fn add(&self, group: &Group, members: &[String]) -> Result<(), GroupError> {
        let mut charter = group.charter.clone();
        let seeds = self.seeds(group)?;
        let (generation, seed, _) = seeds.first().ok_or(GroupError::Key)?;
        for name in members {
            let member = self.id_of(name)?;
            if charter.member(member).is_some() {
                return Err(GroupError::Membership(format!("{name} is in the group already")));
            }
            let seed = self.wrap_for(&self.member(member)?.enc(), &charter.group, *generation, seed);
            charter.members.push(GroupMember { member, since: now_ms(), seed });
        }
        charter.version += 1;
        self.submit(&charter).await
    }

    /// Removes members: they are refused from when this returns. The group has a new key then, and
    /// [`Manager::rotate`] turns its grants to it.
    pub async fn remove(&self, group: &Group, members: &[String]) -> Result<Group, GroupError> {
        let leaving: HashSet<PrincipalId> = members.iter().map(|n| self.id_of(n)).collect::<Result<_, _>>()?;
        if let Some(stranger) = leaving.iter().find(|id| group.charter.member(**id).is_none()) {
            return Err(GroupError::Membership(format!("{stranger} is not in the group")));
        }
        self.rekey(group, &leaving).await
    }

    /// A new key for whoever stays; members who are no longer active in the domain go too.
    async fn rekey(&self, group: &Group, leaving: &HashSet<PrincipalId>) -> Result<Group, GroupError> {
        let mut charter = group.charter.clone();
        let before = self.seeds(group)?;
        let seed = IdentitySeed::random(&mut rand::rng());
        let fresh = Identity::from_seed(&seed).public();
        charter.generation += 1;
        charter.version += 1;
        charter.key = RawPoint(fresh.enc_bytes());
        charter.kept = self.wrap_for(&self.keys.identity.public().enc(), &charter.group, charter.generation, &seed);
        charter.members.retain(|m| !leaving.contains(&m.member) && self.trusted.roster.is_active(m.member));
        for m in &mut charter.members {
            let to = self.member(m.member)?.enc();
            m.seed = Sealed(wrap(&to, &context(&charter.group, charter.generation), seed.expose(), &mut rand::rng()));
        }
        let earlier = before.iter().map(|(generation, earlier, _)| EarlierSeed {
            generation: *generation,
            seed: self.wrap_for(&fresh.enc(), &charter.group, *generation, earlier),
        });
        charter.earlier = earlier.collect();
        self.submit(&charter).await?;
        Ok(Group { id: group.id, charter })
    }

    /// Rotates every grant that is for an earlier key; `progress` is told how many are done. Run again after an
    /// interruption, it goes on where it was. When none is left, the earlier seeds are dropped from the charter.
    pub async fn rotate(&self, group: &Group, progress: impl Fn(u64)) -> Result<u64, GroupError> {
        let keys: HashMap<u32, ReaderKey> = self.seeds(group)?.into_iter().map(|(g, _, key)| (g, key)).collect();
        let newest = keys.get(&group.charter.generation).cloned().ok_or(GroupError::Key)?;
        let count = rotate_all(&self.gate, group.id, keys, (group.charter.generation, newest), progress).await?;
        if !group.charter.earlier.is_empty() {
            let mut charter = group.charter.clone();
            charter.version += 1;
            charter.earlier.clear();
            self.submit(&charter).await?;
        }
        Ok(count)
    }

    /// Hands a group over to another member, who takes over with [`Manager::take_over`].
    pub fn hand_over(&self, group: &Group, to: &str) -> Result<Signed<Handover>, GroupError> {
        let to = self.member(self.id_of(to)?)?;
        let handover = Handover { domain: self.trusted.roster.domain.clone(), group: group.id, to: (&to).into() };
        Ok(Signed::sign(&handover, &self.keys.identity, &mut rand::rng()))
    }

    /// Takes a group over, with the word of its manager or the authority. The new manager must be a member of it,
    /// since nobody else has its seed.
    pub async fn take_over(&self, group: &Group, handover: Signed<Handover>) -> Result<(), GroupError> {
        let own = self.keys.identity.public();
        let outside = || GroupError::Membership("only a member of the group can take it over".into());
        let me = group.charter.member(own.id()).ok_or_else(outside)?;
        let seeds = unwrap_all(&group.charter, &me.seed, &self.keys.identity)?;
        let (generation, seed, _) = seeds.first().ok_or(GroupError::Key)?;
        let mut charter = group.charter.clone();
        charter.version += 1;
        charter.kept = self.wrap_for(&own.enc(), &charter.group, *generation, seed);
        charter.managers.push(PublicKeys::from(&own));
        charter.handovers.push(handover);
        self.submit(&charter).await
    }
}

/// Turns all grants of a reader to its newest key. `keys` are those it had, by generation. 100 µs a grant.
pub(crate) async fn rotate_all(
    gate: &Peer,
    reader: PrincipalId,
    keys: HashMap<u32, ReaderKey>,
    (to, newest): (u32, ReaderKey),
    progress: impl Fn(u64),
) -> Result<u64, GroupError> {
    let keys = std::sync::Arc::new((keys, newest));
    let mut count = 0;
    loop {
        let (mut after, mut turned) = (None, 0);
        loop {
            let request = ListStale { reader, after, limit: ROTATIONS };
            let page: StaleList = gate.post_json("/v1/groups/stale", &request).await?;
            if !page.grants.is_empty() {
                let keys = keys.clone();
                let work = move || {
                    let factor = |g: sealdex_wire::group::StaleGrant| {
                        let old = keys.0.get(&g.generation).ok_or(GroupError::Key)?;
                        let point = |p: &RawPoint| Point::from_bytes(&p.0).map_err(|_| GroupError::Key);
                        let factor = rotation_factor(old, &keys.1, &point(&g.x)?, &point(&g.a)?);
                        let factor = SecretBytes(*factor.to_bytes());
                        Ok(Rotation { grant: g.grant, from: g.generation, to, x: g.x, factor })
                    };
                    page.grants.into_par_iter().map(factor).collect::<Result<Vec<_>, GroupError>>()
                };
                let rotations = sealdex_net::blocking(work).await.map_err(|e| GroupError::Died(e.to_string()))??;
                let done: Accepted = gate.post_json("/v1/groups/rotate", &RotateGrants { reader, rotations }).await?;
                count += done.count;
                turned += done.count;
                progress(count);
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        // Until a whole pass turns none: grants made while the first was under way are found by the next.
        if turned == 0 {
            return Ok(count);
        }
    }
}
