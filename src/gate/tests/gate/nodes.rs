//! Three nodes of a gate, explored: grants and revocations handed to any of them, messages between them lost, doubled
//! and late, nodes gone, back and killed at any step. At no step may enough of them release what a revocation ended that
//! enough had acknowledged; in the end all of them agree, and any two open what is granted.
//!
//! A seed reproduces a run: SEALDEX_SEED=n cargo test -p sealdex-gate nodes.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use sealdex_crypto::{
    Capsule, GateTagKey, Identity, IdentitySeed, Point, RecordId, RoutingInfo, Scalar, Signature, make_tag,
    shamir::combine, sharing::deal, wrap,
};
use sealdex_gate::{
    Gate, GateSecrets,
    store::{ConsentStore as _, Table},
};
use sealdex_net::{Call, Caller};
use sealdex_wire::{
    B32, RawPoint, Signed,
    auth::RequestParts,
    codec,
    consent::{Bridge, GrantSubmission, SubmitGrants, SubmitRevocations, UpdateRoster},
    group::{Sealed, SubmitGroup},
    roster::{Roster, Server},
    threshold::{
        Entry, Known, NodeShares, Nodes, Partial, PartialsRequest, Replicate, Sharing, Tagged, shares_context,
    },
};

use crate::domain::*;
use crate::exploring::Disk;
use crate::groups::TestGroup;

const THRESHOLD: u16 = 2;
const READERS: [usize; 2] = [CLINICIAN, OTHER];

struct Node {
    seed: [u8; 32],
    disk: Disk,
    gate: Option<Arc<Gate<Disk>>>,
}

impl Node {
    fn identity(&self) -> Identity {
        Identity::from_seed(&IdentitySeed::from_bytes(&self.seed))
    }
}

/// A request that an owner made once, and anybody may send again.
#[derive(Clone)]
struct Message {
    owner: usize,
    path: &'static str,
    body: Vec<u8>,
}

struct World {
    d: Domain<Disk>,
    nodes: Vec<Node>,
    of: Nodes,
    owners: Vec<Owner>,
    sent: Vec<Message>,
    /// (owner, reader) → times of grants, and of revocations.
    made: BTreeMap<(usize, usize), (Vec<u64>, Vec<u64>)>,
    /// Revocations that were handed in: (owner, reader, time), by which node, under which number.
    revocations: Vec<((usize, usize, u64), usize, u64)>,
    /// Those of which enough nodes had the record at some time.
    acknowledged: BTreeMap<(usize, usize), u64>,
    rng: StdRng,
    trace: Vec<String>,
}

fn capsule(owner: usize) -> Point {
    Scalar::from_u64(77 + owner as u64).unwrap().base_mul()
}

impl World {
    async fn new(seed: u64) -> Self {
        let d = Domain::over(Disk::default());
        let mut nodes: Vec<Node> =
            [[201; 32], [211; 32], [212; 32]].map(|seed| Node { seed, disk: Disk::default(), gate: None }).into();
        let server = |(number, node): (u16, &Node)| {
            let keys = node.identity().public();
            Server { id: keys.id(), keys: (&keys).into(), url: "http://127.0.0.1:2".into(), node: Some(number) }
        };
        let gates: Vec<Server> = (1..).zip(&nodes).map(server).collect();
        let sharing = Sharing { threshold: THRESHOLD, epoch: 0 };
        let of = Nodes::new(sharing, &gates).unwrap();
        let roster = Roster { gates, sharing: Some(sharing), ..d.roster() };
        let dealt: Vec<_> = d
            .parties
            .iter()
            .map(|p| deal(p.delta.scalar(), THRESHOLD, &of.numbers(), &mut rand::rng()).unwrap())
            .collect();
        let documents: Vec<Vec<u8>> = d.parties.iter().map(|p| p.id().0.to_vec()).collect();
        let points = |bytes: Vec<u8>| bytes.as_chunks().0.iter().map(|p| RawPoint(*p)).collect();
        let bridges = d.parties.iter().zip(&dealt);
        let update = UpdateRoster {
            roster: Signed::sign(&roster, &d.authority, &mut rand::rng()),
            bridges: bridges
                .map(|(p, d)| Bridge { member: p.id(), scalar: None, commitments: points(d.commitments.to_bytes()) })
                .collect(),
            shares: shares(&of, &documents, &dealt),
        };
        for node in &mut nodes {
            node.gate = Some(open(&d, node));
            node.gate.as_ref().unwrap().update_roster(d.authority.id(), update.clone()).await.unwrap();
        }
        let mut world = Self {
            d,
            nodes,
            of,
            owners: (0..2).map(|n| Owner::new(50 + n)).collect(),
            sent: Vec::new(),
            made: BTreeMap::new(),
            revocations: Vec::new(),
            acknowledged: BTreeMap::new(),
            rng: StdRng::seed_from_u64(seed),
            trace: Vec::new(),
        };
        for owner in 0..world.owners.len() {
            let profile = world.owners[owner].profile(1, &[("labs", 0)], &[world.d.id(NORTH)]);
            let signed = world.owners[owner].sign_profile(&profile);
            let body = codec::to_json(&sealdex_wire::consent::PublishOwners { profiles: vec![signed] }).into_bytes();
            for node in 0..3 {
                world.hand(node, &Message { owner, path: "/v1/owners", body: body.clone() }).await.unwrap();
            }
        }
        world
    }

    fn now(&self) -> u64 {
        self.d.clock.load(Ordering::SeqCst)
    }

    /// Hands a request to a node; its number there.
    async fn hand(&mut self, node: usize, message: &Message) -> Option<u64> {
        let by = identity(50 + message.owner as u8);
        let call = self.call(node, &by, message.path, &message.body, self.now());
        self.nodes[node].gate.clone()?.take_in_here("POST", message.path, call).await.ok()?.1
    }

    /// A request to a node, signed at a time.
    fn call(&mut self, node: usize, by: &Identity, path: &str, body: &[u8], at: u64) -> Call {
        let audience = self.nodes[node].identity().id();
        let parts = RequestParts { domain: DOMAIN, audience, method: "POST", path, body };
        let authorization = parts.sign(by, true, at, self.rng.random(), &mut rand::rng());
        Call {
            caller: Caller { id: by.id(), keys: by.public(), known: false },
            body: body.to_vec().into(),
            body_sha256: sealdex_wire::auth::sha256(&[body]),
            authorization,
        }
    }

    /// A request as a node numbers it.
    fn entry(&self, node: usize, number: u64, path: &str, call: &Call) -> Entry {
        let own = self.nodes[node].identity();
        let mut entry = Entry {
            origin: own.id(),
            number,
            method: "POST".into(),
            path: path.into(),
            authorization: call.authorization.clone(),
            body: call.body.to_vec().into(),
            signature: Signature([0; 64]),
        };
        entry.signature = own.sign(&entry.digest(DOMAIN), &mut rand::rng());
        entry
    }

    async fn grant(&mut self, node: usize, owner: usize, reader: usize) {
        let at = self.now();
        let (mut terms, rk) = self.owners[owner].terms(&self.d.public(reader), "labs", 0, at);
        terms.not_after = u64::from(u32::MAX);
        let scalar = Scalar::from_bytes(&rk.0).unwrap();
        let dealt = deal(&scalar, THRESHOLD, &self.of.numbers(), &mut rand::rng()).unwrap();
        terms.commitments = dealt.commitments.to_bytes().as_chunks().0[1..].iter().map(|p| RawPoint(*p)).collect();
        let grant = Signed::sign(&terms, &self.owners[owner].identity, &mut rand::rng());
        let documents = vec![grant.payload.clone().into_bytes()];
        let request = SubmitGrants {
            grants: vec![GrantSubmission { grant, rk: None }],
            shares: shares(&self.of, &documents, &[dealt]),
        };
        let message = Message { owner, path: "/v1/grants", body: codec::to_json(&request).into_bytes() };
        if self.hand(node, &message).await.is_some() {
            self.made.entry((owner, reader)).or_default().0.push(at);
            self.sent.push(message);
        }
    }

    /// Of one reader, or of both in one request.
    async fn revoke(&mut self, node: usize, owner: usize, reader: usize) {
        let at = self.now();
        let readers = if self.rng.random_ratio(1, 2) { READERS.to_vec() } else { vec![reader] };
        let revocations = readers.iter().map(|r| self.owners[owner].revoke(self.d.id(*r), None, at)).collect();
        let request = SubmitRevocations { revocations };
        let message = Message { owner, path: "/v1/revocations", body: codec::to_json(&request).into_bytes() };
        if let Some(number) = self.hand(node, &message).await {
            for reader in readers {
                self.made.entry((owner, reader)).or_default().1.push(at);
                self.revocations.push(((owner, reader, at), node, number));
            }
            self.sent.push(message);
        }
    }

    /// One exchange, of which either half may be lost, and the first may come twice.
    async fn exchange(&mut self, from: usize, to: usize) {
        let (Some(a), Some(b)) = (self.nodes[from].gate.clone(), self.nodes[to].gate.clone()) else { return };
        let (a_id, b_id) = (self.nodes[from].identity().id(), self.nodes[to].identity().id());
        let message = a.message_to(b_id).await.unwrap();
        if self.rng.random_ratio(1, 5) {
            return a.unanswered(b_id);
        }
        if self.rng.random_ratio(1, 5) {
            b.replicate(a_id, message.clone()).await.unwrap();
        }
        let answer = b.replicate(a_id, message).await.unwrap();
        if self.rng.random_ratio(1, 5) {
            return a.unanswered(b_id);
        }
        a.take_answer(b_id, answer).await;
    }

    fn note_acknowledged(&mut self) {
        for ((owner, reader, at), node, number) in &self.revocations {
            let origin = self.nodes[*node].identity().id();
            // What a node on disk knows, running or not.
            let knows = |n: &Node| {
                let known = n.disk.read(|s| s.get(Table::Known, &origin.0)).unwrap();
                known.is_some_and(|k| u64::from_be_bytes(k.try_into().unwrap()) >= *number)
            };
            if self.nodes.iter().filter(|n| knows(n)).count() >= usize::from(THRESHOLD) {
                let newest = self.acknowledged.entry((*owner, *reader)).or_default();
                *newest = (*newest).max(*at);
            }
        }
    }

    /// What a node releases to a reader of an owner, if it serves.
    async fn part(&self, node: usize, owner: usize, reader: usize) -> Option<Partial> {
        let gate = self.nodes[node].gate.as_ref()?;
        let id = RecordId([owner as u8; 16]);
        let routing = RoutingInfo {
            patient: self.owners[owner].id(),
            section: format!("{:32}", "labs"),
            epoch: 0,
            capsule: capsule(owner).to_bytes(),
        };
        let tag = make_tag(&GateTagKey::from_bytes(&[4; 64]), &id, &routing, [0; 16]);
        let tagged = Tagged { id, provider: self.d.id(NORTH), records: 1, tag: tag.into() };
        let (purpose, search) = ("treatment".into(), B32([0; 32]));
        let request = PartialsRequest { purpose, search, prove: true, capsules: vec![tagged] };
        gate.partials(self.d.id(reader), request).await.ok()?.partials.remove(0)
    }

    /// Whether two parts, of the same grant, make what the reader can open.
    fn opens(&self, owner: usize, reader: usize, parts: [(u16, &Partial); 2]) -> bool {
        let points = parts.map(|(node, p)| (node, Point::from_bytes(&p.point.0).unwrap()));
        let whole = combine(&points).unwrap();
        let secret = self.owners[owner].secret("labs", 0);
        let a = RawPoint(secret.base_mul().to_bytes());
        let d = rekey_secret(self.d.parties[reader].identity.enc_secret(), &parts[0].1.x, &a);
        let _ = Capsule::from_bytes(&capsule(owner).to_bytes()).unwrap();
        whole.mul(&d) == capsule(owner).mul(&secret)
    }

    async fn check(&mut self) -> Result<(), String> {
        self.note_acknowledged();
        for owner in 0..self.owners.len() {
            for reader in READERS {
                let mut parts: Vec<(u16, Partial)> = Vec::new();
                for node in 0..3 {
                    parts.extend(self.part(node, owner, reader).await.map(|p| (node as u16 + 1, p)));
                }
                let revoked = self.acknowledged.get(&(owner, reader)).copied().unwrap_or(0);
                let granted = self.made.get(&(owner, reader)).and_then(|m| m.0.iter().max()).copied().unwrap_or(0);
                for (n, first) in parts.iter().enumerate() {
                    for second in parts[n + 1..].iter().filter(|p| p.1.x == first.1.x) {
                        if !self.opens(owner, reader, [(first.0, &first.1), (second.0, &second.1)]) {
                            return Err(format!("{owner} {reader}: parts of one grant that do not open"));
                        }
                        if granted <= revoked {
                            return Err(format!("{owner} {reader}: opens though revoked at {revoked}"));
                        }
                    }
                }
            }
        }
        Ok(())
    }

    async fn step(&mut self) {
        self.d.advance(self.rng.random_range(1..400));
        let (node, owner) = (self.rng.random_range(0..3), self.rng.random_range(0..self.owners.len()));
        let reader = READERS[self.rng.random_range(0..READERS.len())];
        let what = self.rng.random_range(0..100);
        self.trace.push(format!("{what} at node {} of {owner} to {reader}", node + 1));
        match what {
            0..16 => self.grant(node, owner, reader).await,
            16..30 => self.revoke(node, owner, reader).await,
            30..38 if !self.sent.is_empty() => {
                let message = self.sent[self.rng.random_range(0..self.sent.len())].clone();
                self.hand(node, &message).await;
            }
            38..42 => self.nodes[node].gate = None,
            42..50 => {
                // Killed if it runs, and back.
                self.nodes[node].gate = None;
                self.nodes[node].gate = Some(open(&self.d, &self.nodes[node]));
            }
            50..53 => self.d.advance(20_000),
            _ => {
                let other = (node + self.rng.random_range(1..3)) % 3;
                self.exchange(node, other).await;
            }
        }
    }

    /// Exchanges that are not lost; up to which number of its own the first has handed on when they began.
    async fn settle_only(&mut self, from: usize, to: usize) -> u64 {
        let (a, b) = (self.nodes[from].gate.clone().unwrap(), self.nodes[to].gate.clone().unwrap());
        let (a_id, b_id) = (self.nodes[from].identity().id(), self.nodes[to].identity().id());
        let known = a.knows_of(a_id);
        for _ in 0..3 {
            let answer = b.replicate(a_id, a.message_to(b_id).await.unwrap()).await.unwrap();
            a.take_answer(b_id, answer).await;
        }
        b.knows_of(a_id).saturating_sub(known)
    }

    /// Everybody back, nothing lost any more.
    async fn settle(&mut self) -> Result<(), String> {
        for node in 0..3 {
            if self.nodes[node].gate.is_none() {
                self.nodes[node].gate = Some(open(&self.d, &self.nodes[node]));
            }
        }
        for _ in 0..8 {
            for (from, to) in [(0, 1), (1, 2), (2, 0), (1, 0), (2, 1), (0, 2)] {
                let (a, b) = (self.nodes[from].gate.clone().unwrap(), self.nodes[to].gate.clone().unwrap());
                let (a_id, b_id) = (self.nodes[from].identity().id(), self.nodes[to].identity().id());
                let answer = b.replicate(a_id, a.message_to(b_id).await.unwrap()).await.unwrap();
                a.take_answer(b_id, answer).await;
            }
        }
        for table in [Table::Commitments, Table::GrantTerms, Table::GrantsByReader, Table::Profiles, Table::Known] {
            let rows = |n: &Node| n.disk.read(|s| s.range(table, &[], None, usize::MAX)).unwrap();
            if rows(&self.nodes[0]) != rows(&self.nodes[1]) || rows(&self.nodes[0]) != rows(&self.nodes[2]) {
                let [a, b, c] = [0, 1, 2].map(|n: usize| rows(&self.nodes[n]));
                return Err(format!("the nodes differ in {}: {a:?}\n{b:?}\n{c:?}", table.name()));
            }
        }
        for owner in 0..self.owners.len() {
            for reader in READERS {
                let (grants, revocations) = self.made.get(&(owner, reader)).cloned().unwrap_or_default();
                let live = grants.iter().max() > revocations.iter().max() && !grants.is_empty();
                for node in 0..3 {
                    if self.part(node, owner, reader).await.is_some() != live {
                        return Err(format!("node {}: {owner} to {reader}, granted: {live}", node + 1));
                    }
                }
            }
        }
        self.check().await
    }
}

fn open(d: &Domain<Disk>, node: &Node) -> Arc<Gate<Disk>> {
    let secrets = GateSecrets::new(&sealdex_gate::GateKeys {
        seed: sealdex_wire::consent::SecretBytes(node.seed),
        ..gate_keys()
    });
    let ticking = d.clock.clone();
    let clock = Arc::new(move || ticking.load(Ordering::SeqCst));
    Gate::open(secrets.unwrap(), node.disk.clone(), d.cloud.clone(), clock, 8).unwrap()
}

fn shares(of: &Nodes, documents: &[Vec<u8>], dealt: &[sealdex_crypto::sharing::Dealing]) -> Vec<NodeShares> {
    let documents: Vec<&[u8]> = documents.iter().map(Vec::as_slice).collect();
    let seal = |(at, node): (usize, &sealdex_wire::threshold::Node)| {
        let secret: Vec<u8> = dealt.iter().flat_map(|d| *d.shares[at].1.to_bytes()).collect();
        let context = shares_context(DOMAIN, of.epoch, node.number, &documents);
        let sealed = Sealed(wrap(&node.keys.enc(), &context, &secret, &mut rand::rng()));
        NodeShares { node: node.number, epoch: of.epoch, sealed }
    };
    of.nodes.iter().enumerate().map(seal).collect()
}

async fn run(seed: u64, steps: usize) -> Result<(usize, usize), String> {
    let mut world = World::new(seed).await;
    let with_trace = |e: String, w: &World| format!("seed {seed}: {e}\n{}", w.trace.join("\n"));
    for _ in 0..steps {
        world.step().await;
        let checked = world.check().await;
        checked.map_err(|e| with_trace(e, &world))?;
    }
    let settled = world.settle().await;
    settled.map_err(|e| with_trace(e, &world))?;
    Ok((world.revocations.len(), world.acknowledged.len()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_never_release_together_what_enough_of_them_have_ended_and_agree_in_the_end() {
    let one = std::env::var("SEALDEX_SEED").ok().and_then(|s| s.parse::<u64>().ok());
    let runs: u64 = std::env::var("SEALDEX_RUNS").ok().and_then(|s| s.parse().ok()).unwrap_or(24);
    let (mut revocations, mut acknowledged) = (0, 0);
    for seed in one.map_or(0..runs, |s| s..s + 1) {
        let (made, known) = run(seed, 60).await.unwrap_or_else(|e| panic!("{e}"));
        (revocations, acknowledged) = (revocations + made, acknowledged + known);
    }
    println!("{revocations} revocations, {acknowledged} pairs of whom one was acknowledged");
    assert!(one.is_some() || revocations > runs as usize && acknowledged > runs as usize);
}

/// A charter that names newcomers as of now reaches a node that was away for longer than clocks may differ, with all that
/// followed; but nobody is dated back by way of another node.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_node_missed_is_judged_by_its_own_time_and_nothing_is_dated_back() {
    let mut world = World::new(1).await;
    let charter = |group: &TestGroup, world: &World| {
        let charter = Signed::sign(&group.charter, &world.d.parties[NORTH].identity, &mut rand::rng());
        codec::to_json(&SubmitGroup { charter }).into_bytes()
    };
    let manager = identity(1);
    let mut group = TestGroup::new(&world.d, NORTH, &[CLINICIAN, OTHER]);
    world.nodes[2].gate = None;
    for (newcomer, leaving) in [(None, None), (Some(SOUTH), None), (None, Some(CLINICIAN))] {
        if let Some(newcomer) = newcomer {
            group.join(world.d.id(newcomer), world.now());
        }
        if let Some(leaving) = leaving {
            group.remove(&[world.d.id(leaving)]);
        }
        let body = charter(&group, &world);
        let call = world.call(0, &manager, "/v1/groups", &body, world.now());
        world.nodes[0].gate.clone().unwrap().take_in_here("POST", "/v1/groups", call).await.unwrap();
        world.d.advance(600_000);
    }
    world.nodes[2].gate = Some(open(&world.d, &world.nodes[2]));
    for _ in 0..4 {
        let ids = [0, 2].map(|n: usize| world.nodes[n].identity().id());
        let (a, c) = (world.nodes[0].gate.clone().unwrap(), world.nodes[2].gate.clone().unwrap());
        let answer = c.replicate(ids[0], a.message_to(ids[1]).await.unwrap()).await.unwrap();
        a.take_answer(ids[1], answer).await;
    }
    let known = world.nodes[2].gate.as_ref().unwrap().groups().get(group.id()).unwrap().charter.clone();
    assert_eq!(known, group.charter, "it knows who joined and who left");
    // A corrupt node hands on what a manager dated back: those who have been in touch do not take it.
    let before = group.charter.clone();
    group.join(world.d.id(WARD), world.now() - 600_000);
    let body = charter(&group, &world);
    let at = world.now() - 600_000;
    let call = world.call(0, &manager, "/v1/groups", &body, at);
    let (corrupt, c) = (world.nodes[0].identity().id(), world.nodes[2].gate.clone().unwrap());
    let number = c.knows_of(corrupt) + 1;
    let entry = world.entry(0, number, "/v1/groups", &call);
    for _ in 0..10 {
        let message = Replicate { known: vec![Known { origin: corrupt, up_to: number }], entries: vec![entry.clone()] };
        c.replicate(corrupt, message).await.unwrap();
    }
    assert_eq!(c.groups().get(group.id()).unwrap().charter, before, "nobody is dated back");
    assert_eq!(c.knows_of(corrupt), number, "and the node goes on");
    // Asked in somebody's name, by the signature of another.
    let (owner, reader) = (world.owners[0].id(), world.d.id(CLINICIAN));
    let ask = serde_json::json!({ "owner": owner, "reader": reader, "sections": ["labs"], "purpose": "treatment",
        "days": 1, "reason": "please" });
    let body = ask.to_string().into_bytes();
    let request = |entry: Entry| Replicate { known: vec![], entries: vec![entry] };
    let mut forged = world.call(0, &identity(5), "/v1/requests", &body, world.now());
    forged.authorization = forged.authorization.replace(&world.d.id(OTHER).to_string(), &reader.to_string());
    let forged = world.entry(0, number + 1, "/v1/requests", &forged);
    c.replicate(corrupt, request(forged)).await.unwrap();
    assert_eq!(c.knows_of(corrupt), number, "what its author did not sign is not done");
    // Put by one who hands on under a number that its node gave to something else.
    let call = world.call(0, &identity(4), "/v1/requests", &body, world.now());
    let genuine = world.entry(0, number + 2, "/v1/requests", &call);
    let relay = world.nodes[1].identity().id();
    c.replicate(relay, request(Entry { number: number + 1, ..genuine })).await.unwrap();
    assert_eq!(c.knows_of(corrupt), number, "what its node did not number so is not done");
    let message = request(world.entry(0, number + 1, "/v1/requests", &call));
    assert!(c.replicate(world.d.id(NORTH), message.clone()).await.is_err(), "nor what no node sends");
    c.replicate(corrupt, message).await.unwrap();
    assert_eq!(c.knows_of(corrupt), number + 1, "what its author signed is");
}

/// What an owner sends that is no share of what it signed, or not made for these nodes.
#[tokio::test]
async fn a_share_that_is_not_what_the_owner_committed_to_is_refused() {
    let mut world = World::new(1).await;
    let (numbers, rng) = (world.of.numbers(), &mut rand::rng());
    let (mut terms, rk) = world.owners[0].terms(&world.d.public(CLINICIAN), "labs", 0, START);
    let scalar = Scalar::from_bytes(&rk.0).unwrap();
    let points = |d: &sealdex_crypto::sharing::Dealing| -> Vec<RawPoint> {
        d.commitments.to_bytes().as_chunks().0[1..].iter().map(|p| RawPoint(*p)).collect()
    };
    let dealt = deal(&scalar, THRESHOLD, &numbers, rng).unwrap();
    let other = deal(&scalar, THRESHOLD, &numbers, rng).unwrap();
    let wider = deal(&scalar, 3, &numbers, rng).unwrap();
    let owner = identity(50);
    let mut results = Vec::new();
    for (commitments, dealt, whole) in [
        (points(&dealt), &other, false), // shares of another polynomial
        (points(&wider), &wider, false), // for another threshold
        (Vec::new(), &dealt, false),     // committed to nothing
        (points(&dealt), &dealt, true),  // beside the scalar itself
        (points(&dealt), &dealt, false),
    ] {
        terms.commitments = commitments;
        let grant = Signed::sign(&terms, &owner, &mut rand::rng());
        let documents = vec![grant.payload.clone().into_bytes()];
        let sealed = shares(&world.of, &documents, std::slice::from_ref(dealt));
        let grants = vec![GrantSubmission { grant, rk: whole.then(|| rk.clone()) }];
        for shares in [sealed.clone(), sealed[..2].to_vec()] {
            let request = SubmitGrants { grants: grants.clone(), shares };
            let body = codec::to_json(&request).into_bytes();
            let call = world.call(2, &owner, "/v1/grants", &body, world.now());
            let gate = world.nodes[2].gate.clone().unwrap();
            results.push(gate.take_in_here("POST", "/v1/grants", call).await.is_ok());
        }
    }
    // Only as it should be, and with a share for this node.
    assert_eq!(results, [false, false, false, false, false, false, false, false, true, false]);
}

/// Killed between noting a request and having done it, or between having done it and knowing so, a node does it when it is
/// back, and hands it on; what is refused it forgets.
#[tokio::test]
async fn a_node_killed_over_a_request_ends_what_it_began() {
    for done in [false, true] {
        let mut world = World::new(1).await;
        world.grant(0, 0, CLINICIAN).await;
        let revocation = world.owners[0].revoke(world.d.id(CLINICIAN), None, world.now());
        let request = SubmitRevocations { revocations: vec![revocation] };
        let body = codec::to_json(&request).into_bytes();
        let call = world.call(0, &identity(50), "/v1/revocations", &body, world.now());
        let origin = world.nodes[0].identity().id();
        let number = world.nodes[0].gate.as_ref().unwrap().knows_of(origin) + 1;
        if done {
            let gate = world.nodes[0].gate.clone().unwrap();
            gate.submit_revocations(identity(50).public(), request).await.unwrap();
        }
        let entry = world.entry(0, number, "/v1/revocations", &call);
        let key = [origin.0.as_slice(), &number.to_be_bytes()].concat();
        let noted = codec::to_cbor(&entry);
        world.nodes[0].disk.write(|t| t.put(Table::Entries, &key, &noted)).unwrap();
        assert_eq!(world.settle_only(0, 1).await, 0, "what is only noted is not handed on");
        world.nodes[0].gate = None;
        let gate = open(&world.d, &world.nodes[0]);
        gate.finish_noted().await.unwrap();
        gate.finish_noted().await.unwrap();
        assert_eq!(gate.knows_of(origin), number);
        world.nodes[0].gate = Some(gate);
        world.settle_only(0, 1).await;
        assert!(world.part(1, 0, CLINICIAN).await.is_none(), "it was handed on");
        // One that nobody signed so is forgotten.
        let forged = codec::to_cbor(&Entry { number: number + 1, body: b"{}".to_vec().into(), ..entry });
        let key = [origin.0.as_slice(), &(number + 1).to_be_bytes()].concat();
        world.nodes[0].disk.write(|t| t.put(Table::Entries, &key, &forged)).unwrap();
        world.nodes[0].gate = None;
        let gate = open(&world.d, &world.nodes[0]);
        gate.finish_noted().await.unwrap();
        assert_eq!(gate.knows_of(origin), number);
        assert_eq!(world.nodes[0].disk.read(|s| s.get(Table::Entries, &key)).unwrap(), None);
    }
}
