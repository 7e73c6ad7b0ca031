//! The real gate, explored: random runs of everything that changes who may read, with messages lost, sent twice and
//! late, and the gate killed between any two steps; after each step, everyone is asked what they find, and the answer
//! must be what the model says, and must open with the keys the model says they hold.
//!
//! The model is the one that `formal/access` proves things of, for several owners, readers, sections and epochs at
//! once. A seed reproduces a run: SEALDEX_SEED=n cargo test -p sealdex-gate exploring.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::Ordering},
};

use rand::{Rng, RngExt as _, SeedableRng as _, rngs::StdRng};
use sealdex_crypto::{PrincipalId, Scalar};
use sealdex_gate::{
    Gate, GateSecrets,
    store::{ConsentStore, MemoryStore, Snapshot, StoreError, Table, Transaction},
};
use sealdex_wire::{
    B32, Signed,
    care::{Emergency, SubmitWake, Wake},
    consent::{ChangeConsent, GrantSubmission, Revocation, SubmitRevocations},
    group::{ListStale, RotateGrants, Rotation},
    search::InnerClause,
};

use crate::domain::*;
use crate::groups::TestGroup;

/// A store that outlives its gate, as a disk does.
#[derive(Clone, Default)]
pub struct Disk(Arc<MemoryStore>);

impl Disk {
    /// What is on it now.
    pub fn copy(&self) -> Self {
        let copy = Self::default();
        let rows = |table| self.0.read(|s| s.range(table, &[], None, usize::MAX)).unwrap();
        for table in Table::ALL {
            let put = |t: &mut dyn Transaction| rows(table).iter().try_for_each(|(k, v)| t.put(table, k, v));
            copy.0.write::<_, StoreError>(put).unwrap();
        }
        copy
    }
}

impl ConsentStore for Disk {
    fn read<T, E: From<StoreError>>(&self, f: impl FnOnce(&dyn Snapshot) -> Result<T, E>) -> Result<T, E> {
        self.0.read(f)
    }

    fn write<T, E: From<StoreError>>(&self, f: impl FnMut(&mut dyn Transaction) -> Result<T, E>) -> Result<T, E> {
        self.0.write(f)
    }
}

const READERS: [usize; 3] = [CLINICIAN, OTHER, SOUTH];
const SECTIONS: [&str; 2] = ["labs", "notes"];

/// What an owner, or the network in its name, may send again at any time.
#[derive(Clone)]
enum Message {
    Grant(usize, Box<GrantSubmission>),
    Revoke(usize, Signed<Revocation>),
    Rotate(Vec<Rotation>),
    Wake(usize, Signed<Wake>),
}

/// To whom something is granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum To {
    Reader(usize),
    Group,
}

/// A grant as the model has it.
#[derive(Clone, Debug)]
struct Held {
    granted_at: u64,
    ends: u64,
    joined_by: u64,
    emergency: bool,
}

/// What the model knows.
#[derive(Default)]
struct Model {
    /// (owner, section, epoch, to, emergency) → grant.
    grants: BTreeMap<(usize, usize, u32, To, bool), Held>,
    /// (owner, to) → time of the newest revocation in force.
    revoked: BTreeMap<(usize, To), u64>,
    epochs: BTreeMap<(usize, usize), u32>,
    /// Member → since.
    members: BTreeMap<usize, u64>,
    /// When it was woken and until when, by owner and reader.
    awake: BTreeMap<(usize, usize), Vec<(u64, u64)>>,
    /// (record, owner, section, epoch).
    records: Vec<(u8, usize, usize, u32)>,
    /// Generations of the group's key that a reader was ever given.
    keys: BTreeMap<usize, BTreeSet<usize>>,
}

impl Model {
    fn finds(&self, reader: usize, now: u64) -> Vec<u8> {
        let live = |owner: usize, section: usize, epoch: u32| {
            let of = |to: To, emergency: bool| self.grants.get(&(owner, section, epoch, to, emergency));
            let current = |g: &&Held| now / 1000 < g.ends;
            let own = of(To::Reader(reader), false).filter(current).is_some();
            let wakes = self.awake.get(&(owner, reader)).into_iter().flatten();
            let woken = of(To::Reader(reader), true)
                .filter(current)
                .is_some_and(|g| wakes.into_iter().any(|(at, until)| now / 1000 < *until && *at >= g.granted_at));
            let group = self
                .members
                .get(&reader)
                .is_some_and(|since| of(To::Group, false).filter(current).is_some_and(|g| *since <= g.joined_by));
            own || woken || group
        };
        let mut found: Vec<u8> =
            self.records.iter().filter(|(_, o, s, e)| live(*o, *s, *e)).map(|(id, ..)| *id).collect();
        found.sort_unstable();
        found
    }
}

struct World {
    d: Domain<Disk>,
    disk: Disk,
    owners: Vec<Owner>,
    group: TestGroup,
    model: Model,
    sent: Vec<Message>,
    rng: StdRng,
    next_record: u8,
    trace: Vec<String>,
}

impl World {
    async fn new(seed: u64) -> Self {
        let disk = Disk::default();
        let d = Domain::over(disk.clone());
        d.send_roster().await.unwrap();
        let owners: Vec<Owner> = (0..2).map(|n| Owner::new(50 + n)).collect();
        for owner in &owners {
            d.admit(owner, NORTH).await;
        }
        let group = TestGroup::new(&d, NORTH, &[]);
        group.send(&d, NORTH).await.unwrap();
        let (model, rng) = (Model::default(), StdRng::seed_from_u64(seed));
        Self { d, disk, owners, group, model, sent: Vec::new(), rng, next_record: 1, trace: Vec::new() }
    }

    fn now(&self) -> u64 {
        self.d.clock.load(Ordering::SeqCst)
    }

    fn pick(&mut self, n: usize) -> usize {
        self.rng.random_range(0..n)
    }

    fn epoch(&self, owner: usize, section: usize) -> u32 {
        self.model.epochs.get(&(owner, section)).copied().unwrap_or(0)
    }

    /// The gate dies and starts again over the same disk.
    fn crash(&mut self) {
        let clock = self.d.clock.clone();
        let tick = Arc::new(move || clock.load(Ordering::SeqCst));
        let secrets = GateSecrets::new(&gate_keys()).unwrap();
        self.d.gate = Gate::open(secrets, self.disk.clone(), self.d.cloud.clone(), tick, 8).unwrap();
    }

    fn reader_of(&self, to: To) -> PrincipalId {
        match to {
            To::Reader(n) => self.d.id(n),
            To::Group => self.group.id(),
        }
    }

    /// A grant's terms, signed; of a random section and epoch.
    fn grant(&mut self, owner: usize, to: To, section: usize, epoch: u32, emergency: bool) -> (GrantSubmission, Held) {
        let (at, later) = (self.now(), self.rng.random_bool(0.3));
        let ends = at / 1000 + self.rng.random_range(60..4000);
        let (mut terms, rk) = match to {
            To::Reader(n) => self.owners[owner].terms(&self.d.public(n), SECTIONS[section], epoch, at),
            To::Group => self.group.terms(&self.owners[owner], SECTIONS[section], epoch, at),
        };
        terms.not_after = ends;
        terms.joined_by = (to == To::Group && later).then_some(at);
        terms.emergency = emergency.then(|| Emergency { wakers: READERS.map(|n| self.d.id(n)).to_vec(), minutes: 30 });
        let held = Held { granted_at: at, ends, joined_by: terms.joined_by.unwrap_or(u64::MAX), emergency };
        (self.owners[owner].sign_grant(&terms, rk), held)
    }

    async fn step(&mut self, about: &[u8]) {
        self.d.advance(1 + u64::from(self.rng.next_u32() % 20_000));
        let groups = about == GROUPS;
        let (owner, section) = if groups { (0, 0) } else { (self.pick(2), self.pick(2)) };
        let reader = READERS[self.pick(3)];
        let to = if groups || self.rng.random_bool(0.4) { To::Group } else { To::Reader(reader) };
        match about[self.pick(about.len())] {
            0 | 1 => {
                let epoch = self.rng.random_range(0..=self.epoch(owner, section));
                let emergency = matches!(to, To::Reader(_)) && self.rng.random_bool(0.3);
                let (grant, held) = self.grant(owner, to, section, epoch, emergency);
                self.trace.push(format!("grant {owner} {section}:{epoch} to {to:?} emergency {emergency} {held:?}"));
                self.send(Message::Grant(owner, Box::new(grant))).await;
                self.model.grants.insert((owner, section, epoch, to, emergency), held);
            }
            2 => {
                let at = self.now();
                let revocation = self.owners[owner].revoke(self.reader_of(to), None, at);
                self.trace.push(format!("revoke {owner} from {to:?}"));
                self.send(Message::Revoke(owner, revocation)).await;
                self.model.grants.retain(|(o, _, _, t, _), _| (*o, *t) != (owner, to));
                self.model.revoked.insert((owner, to), at);
            }
            3 => self.advance_epoch(owner, section).await,
            4 if !self.model.members.contains_key(&reader) => {
                let at = self.now();
                self.trace.push(format!("{reader} joins"));
                self.group.join(self.d.id(reader), at);
                self.group.send(&self.d, NORTH).await.unwrap();
                self.model.members.insert(reader, at);
                // With the newest seed come the earlier ones that grants may still be for.
                let all = 0..=self.group.charter.generation as usize;
                self.model.keys.entry(reader).or_default().extend(all);
            }
            5 if self.model.members.contains_key(&reader) => {
                self.trace.push(format!("{reader} leaves"));
                self.group.remove(&[self.d.id(reader)]);
                self.group.send(&self.d, NORTH).await.unwrap();
                self.model.members.remove(&reader);
                let newest = self.group.charter.generation as usize;
                for member in self.model.members.keys() {
                    self.model.keys.entry(*member).or_default().insert(newest);
                }
            }
            6 => {
                let limit = self.rng.random_range(1..4);
                let list = ListStale { reader: self.group.id(), after: None, limit };
                let stale = self.d.gate.list_stale(self.d.id(NORTH), list).await.unwrap().grants;
                let rotations = self.group.factors(&stale);
                self.trace.push(format!("rotate {}", rotations.len()));
                // Lost on the way, now and then; it may still come later.
                if self.rng.random_bool(0.5) {
                    self.sent.push(Message::Rotate(rotations));
                } else {
                    self.send(Message::Rotate(rotations)).await;
                }
            }
            7 => self.wake(owner, reader).await,
            8 | 9 => self.push(owner, section).await,
            10 if !self.sent.is_empty() => {
                // What was lost last is what is most likely to come late.
                let lost = self.sent.iter().rposition(|m| matches!(m, Message::Rotate(_)));
                let n = match lost {
                    Some(n) if self.rng.random_bool(0.5) => n,
                    _ => self.pick(self.sent.len()),
                };
                self.trace.push("replay".into());
                let again = self.sent[n].clone();
                self.deliver(&again).await;
            }
            11 => {
                self.trace.push("crash".into());
                self.crash();
            }
            _ => {
                self.trace.push("a while passes".into());
                self.d.advance(600_000);
            }
        }
    }

    /// Sends a message; what was sent may be sent again by anybody, any time.
    async fn send(&mut self, message: Message) {
        let done = self.deliver(&message).await;
        assert!(done, "refused at first: {:?}", self.trace);
        self.sent.push(message);
    }

    async fn deliver(&mut self, message: &Message) -> bool {
        match message {
            Message::Grant(owner, grant) => {
                self.d.grant(self.owners[*owner].id(), vec![(**grant).clone()]).await.is_ok()
            }
            Message::Revoke(owner, revocation) => {
                let request = SubmitRevocations { revocations: vec![revocation.clone()] };
                self.d.gate.submit_revocations(self.owners[*owner].identity.public(), request).await.is_ok()
            }
            Message::Rotate(rotations) => {
                let request = RotateGrants { reader: self.group.id(), rotations: rotations.clone() };
                self.d.gate.rotate(self.d.id(NORTH), request).await.is_ok()
            }
            Message::Wake(who, wake) => {
                self.d.gate.submit_wake(self.d.id(*who), SubmitWake { wake: wake.clone() }).await.is_ok()
            }
        }
    }

    async fn advance_epoch(&mut self, owner: usize, section: usize) {
        let (old, now) = (self.epoch(owner, section), self.now());
        self.model.epochs.insert((owner, section), old + 1);
        self.trace.push(format!("epoch {owner} {section} begins {}", old + 1));
        let keys: Vec<(&str, u32)> =
            (0..2).flat_map(|s| (0..=self.epoch(owner, s)).map(move |e| (SECTIONS[s], e))).collect();
        let version =
            2 + self.model.epochs.iter().filter(|((o, _), _)| *o == owner).map(|(_, e)| u64::from(*e)).sum::<u64>();
        let profile = self.owners[owner].profile(version, &keys, &[self.d.id(NORTH)]);
        let going_on: Vec<_> = self
            .model
            .grants
            .iter()
            .filter(|((o, s, e, ..), g)| (*o, *s, *e) == (owner, section, old) && now / 1000 < g.ends)
            .map(|((.., to, emergency), g)| (*to, *emergency, g.clone()))
            .collect();
        let (mut grants, mut renewed) = (Vec::new(), Vec::new());
        for (to, emergency, _) in going_on {
            let (grant, held) = self.grant(owner, to, section, old + 1, emergency);
            self.sent.push(Message::Grant(owner, Box::new(grant.clone())));
            grants.push(grant);
            renewed.push(((owner, section, old + 1, to, emergency), held));
        }
        let profiles = vec![self.owners[owner].sign_profile(&profile)];
        let change = ChangeConsent { profiles, revocations: Vec::new(), grants, shares: Vec::new() };
        self.d.gate.change_consent(self.owners[owner].identity.public(), change).await.unwrap();
        self.model.grants.extend(renewed);
    }

    async fn wake(&mut self, owner: usize, reader: usize) {
        let now = self.now();
        let live = |g: &Held| g.emergency && now / 1000 < g.ends;
        let dormant =
            self.model.grants.iter().any(|((o, .., to, _), g)| (*o, *to) == (owner, To::Reader(reader)) && live(g));
        let until = now / 1000 + self.rng.random_range(10..1800);
        let wake = Wake {
            domain: DOMAIN.into(),
            owner: self.owners[owner].id(),
            reader: self.d.id(reader),
            reason: "explored".into(),
            asked_at: now,
            until,
            nonce: B32(self.rng.random()),
        };
        let people = self.rng.random_range(1..=2);
        self.trace.push(format!("{people} wake {owner} for {reader} until {until}, dormant {dormant}"));
        for who in &READERS[..people] {
            let signed = Signed::sign(&wake, &self.d.parties[*who].identity, &mut rand::rng());
            let message = Message::Wake(*who, signed);
            assert_eq!(self.deliver(&message).await, dormant, "{:?}", self.trace);
            if dormant {
                self.sent.push(message);
            }
        }
        if dormant && people == 2 {
            self.model.awake.entry((owner, reader)).or_default().push((now, until));
        }
    }

    async fn push(&mut self, owner: usize, section: usize) {
        let (epoch, id) = (self.epoch(owner, section), self.next_record);
        if id == u8::MAX {
            return;
        }
        self.next_record += 1;
        self.trace.push(format!("push {id} of {owner} {section}:{epoch}"));
        if epoch > 0 {
            let old = self.d.batch_at(&self.owners[owner], SECTIONS[section], epoch - 1, 1000, &[(id, vec![])]);
            assert!(self.d.gate.bridge(self.d.id(NORTH), old).await.is_err(), "sealed to an old epoch");
        }
        let batch =
            self.d.batch_at(&self.owners[owner], SECTIONS[section], epoch, 1000 + u64::from(id), &[(id, vec![])]);
        let d = &self.d;
        let response = d.gate.bridge(d.id(NORTH), batch.clone()).await.unwrap();
        d.cloud.store(d.id(NORTH), &batch, &response);
        self.model.records.push((id, owner, section, epoch));
    }

    /// Everyone finds what the model says, and can open all of it with keys they hold.
    async fn check(&self, seed: u64) {
        let now = self.now();
        for reader in READERS {
            let answer = self.d.search(reader, InnerClause::All).await.unwrap();
            let expected = self.model.finds(reader, now);
            assert_eq!(ids(&answer), expected, "seed {seed}, reader {reader}\n{}", self.trace.join("\n"));
            for group in &answer.groups {
                let owner = self.owners.iter().find(|o| o.id() == group.owner).unwrap();
                let key: Scalar = match group.reader == self.group.id() {
                    true => {
                        let generation = group.generation as usize;
                        let holds = self.model.keys.get(&reader).is_some_and(|k| k.contains(&generation));
                        assert!(
                            holds,
                            "seed {seed}: {reader} has no key of generation {generation}\n{}",
                            self.trace.join("\n")
                        );
                        self.group.keys[generation].clone()
                    }
                    false => self.d.parties[reader].identity.enc_secret().clone(),
                };
                assert!(opens_with(&key, owner, group), "seed {seed}: it does not open\n{}", self.trace.join("\n"));
            }
        }
        // No revoked or expired row survives where it would be found.
        for (owner, to) in self.model.revoked.keys() {
            let held = self.model.grants.iter().filter(|((o, .., t, _), _)| (o, t) == (owner, to));
            let newest = self.model.revoked[&(*owner, *to)];
            assert!(held.into_iter().all(|(_, g)| g.granted_at > newest));
        }
    }
}

/// Steps by number, as often as they are to be taken.
const ALL: &[u8] = &[0, 1, 2, 3, 4, 5, 6, 6, 7, 8, 9, 10, 10, 11, 12];
/// The same, around the key of a group.
const GROUPS: &[u8] = &[0, 4, 4, 5, 5, 6, 8, 10, 10, 11];

/// Runs of so many steps, for so many seeds.
async fn explore(seeds: std::ops::Range<u64>, steps: usize, about: &[u8]) {
    for seed in seeds {
        let mut world = World::new(seed).await;
        for _ in 0..steps {
            world.step(about).await;
            world.check(seed).await;
        }
    }
}

fn seeds(runs: u64) -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|s| s.parse::<u64>().ok());
    match number("SEALDEX_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEALDEX_RUNS").unwrap_or(runs),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_runs_agree_with_the_model() {
    explore(seeds(100), 40, ALL).await;
}

/// Removals that overtake rotations, and rotations that come late or twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_runs_around_a_groups_key_agree_with_the_model() {
    explore(seeds(100), 60, GROUPS).await;
}
