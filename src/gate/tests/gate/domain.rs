//! A small domain: its authority, a gate over a store in memory, members and owners, and what members
//! and owners compute by themselves (by the suite alone).

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use sealdex_crypto::{
    BatchId, BridgeScalar, Capsule, DomainMaster, FieldToken, FieldTokenKey, Identity, IdentitySeed, InnerOrderKey,
    MemberKey, MemberOrderSecret, MemberTokenSecret, Point, PrincipalId, PublicIdentity, RecordId, Scalar,
    capsule_context, encapsulate_with, field_token, hash_to_scalar, labels,
};
use sealdex_gate::{
    Gate, GateError, GateKeys, GateSecrets,
    secrets::SecretBytes64,
    store::{ConsentStore, MemoryStore},
};
use sealdex_wire::{
    B32, RawPoint, Signed,
    consent::{
        Accepted, Bridge, GrantSubmission, GrantTerms, OwnerProfile, PublishOwners, Revocation, SecretBytes,
        SectionKey, SubmitGrants, SubmitRevocations, UpdateRoster,
    },
    ingest::{BridgeCapsule, BridgeRecord, BridgeRequest, BridgeResponse, InnerEntry},
    roster::{Budget, Member, Role, Roster, Server, Status},
    search::{InnerClause, MatchGroup, SearchRequest, SearchResponse},
};

use crate::cloud::FakeCloud;

pub const DOMAIN: &str = "north";
/// Unix milliseconds at which every test begins.
pub const START: u64 = 1_700_000_000_000;

pub fn identity(n: u8) -> Identity {
    Identity::from_seed(&IdentitySeed::from_bytes(&[n; 32]))
}

pub fn scalar(n: u64) -> Scalar {
    Scalar::from_u64(n).unwrap()
}

/// A member: identity, own token key, the gate's scalar for it.
pub struct Party {
    pub identity: Identity,
    pub key: MemberKey,
    pub delta: BridgeScalar,
    pub role: Role,
    pub parent: Option<PrincipalId>,
    pub status: Status,
    pub counts_from: Option<u32>,
    pub succeeds: Option<PrincipalId>,
}

impl Party {
    pub fn id(&self) -> PrincipalId {
        self.identity.id()
    }
}

/// An owner (patient): identity and the secrets of its sections.
pub struct Owner {
    pub identity: Identity,
    seed: [u8; 32],
}

impl Owner {
    pub fn new(n: u8) -> Self {
        Self::of_seed([n; 32])
    }

    pub fn of_seed(seed: [u8; 32]) -> Self {
        Self { identity: Identity::from_seed(&IdentitySeed::from_bytes(&seed)), seed }
    }

    pub fn id(&self) -> PrincipalId {
        self.identity.id()
    }

    pub fn secret(&self, section: &str, epoch: u32) -> Scalar {
        hash_to_scalar(labels::SECTION, &[&self.seed, section.as_bytes(), &epoch.to_be_bytes()])
    }

    pub fn public(&self, section: &str, epoch: u32) -> Point {
        self.secret(section, epoch).base_mul()
    }

    pub fn profile(&self, version: u64, sections: &[(&str, u32)], writers: &[PrincipalId]) -> OwnerProfile {
        let key = |(section, epoch): &(&str, u32)| SectionKey {
            section: (*section).into(),
            epoch: *epoch,
            key: RawPoint(self.public(section, *epoch).to_bytes()),
        };
        let owner = (&self.identity.public()).into();
        OwnerProfile {
            domain: DOMAIN.into(),
            owner,
            version,
            sections: sections.iter().map(key).collect(),
            writers: writers.to_vec(),
        }
    }

    pub fn sign_profile(&self, profile: &OwnerProfile) -> Signed<OwnerProfile> {
        Signed::sign(profile, &self.identity, &mut rand::rng())
    }

    /// Terms of a grant, open for an hour from [`START`], and its scalar.
    pub fn terms(
        &self,
        reader: &PublicIdentity,
        section: &str,
        epoch: u32,
        granted_at: u64,
    ) -> (GrantTerms, SecretBytes) {
        let x = Scalar::random(&mut rand::rng());
        let (big_x, a) = (x.base_mul(), self.public(section, epoch));
        let b = reader.enc();
        let d =
            hash_to_scalar(labels::REKEY, &[&big_x.to_bytes(), &b.to_bytes(), &b.mul(&x).to_bytes(), &a.to_bytes()]);
        let rk = self.secret(section, epoch).mul(&d.invert());
        let terms = GrantTerms {
            domain: DOMAIN.into(),
            owner: self.id(),
            reader: reader.into(),
            section: section.into(),
            epoch,
            a: RawPoint(a.to_bytes()),
            x: RawPoint(big_x.to_bytes()),
            r: RawPoint(rk.base_mul().to_bytes()),
            commitments: Vec::new(),
            purpose: "treatment".into(),
            not_before: START / 1000 - 10,
            not_after: START / 1000 + 3600,
            granted_at,
            group_key: None,
            joined_by: None,
            newcomers_later: false,
            providers: Vec::new(),
            emergency: None,
            by: None,
        };
        (terms, SecretBytes(*rk.to_bytes()))
    }

    pub fn sign_grant(&self, terms: &GrantTerms, rk: SecretBytes) -> GrantSubmission {
        GrantSubmission { grant: Signed::sign(terms, &self.identity, &mut rand::rng()), rk: Some(rk) }
    }

    pub fn grant(&self, reader: &PublicIdentity, section: &str, granted_at: u64) -> GrantSubmission {
        let (terms, rk) = self.terms(reader, section, 0, granted_at);
        self.sign_grant(&terms, rk)
    }

    pub fn revoke(&self, reader: PrincipalId, section: Option<&str>, revoked_at: u64) -> Signed<Revocation> {
        let section = section.map(str::to_owned);
        let revocation =
            Revocation { domain: DOMAIN.into(), owner: self.id(), reader, section, purpose: None, revoked_at };
        Signed::sign(&revocation, &self.identity, &mut rand::rng())
    }
}

/// A domain and its gate.
pub struct Domain<S: ConsentStore = MemoryStore> {
    pub authority: Identity,
    pub everyone: Identity,
    pub gate_identity: Identity,
    pub ledger: Option<sealdex_wire::roster::Ledger>,
    pub cloud_identity: Identity,
    pub cloud_url: String,
    pub gate_url: String,
    pub parties: Vec<Party>,
    pub master: DomainMaster,
    pub tokens: MemberTokenSecret,
    pub orders: MemberOrderSecret,
    pub version: u64,
    pub budgets: Vec<Budget>,
    pub clock: Arc<AtomicU64>,
    pub cloud: Arc<FakeCloud>,
    pub gate: Arc<Gate<S>>,
}

pub const NORTH: usize = 0;
pub const SOUTH: usize = 1;
pub const WARD: usize = 2;
pub const CLINICIAN: usize = 3;
pub const OTHER: usize = 4;

pub fn gate_keys() -> GateKeys {
    let byte = |b| SecretBytes([b; 32]);
    GateKeys {
        domain: DOMAIN.into(),
        authority: (&identity(200).public()).into(),
        seed: byte(201),
        term_key: byte(1),
        order_secret: byte(2),
        noise_key: byte(3),
        tag_key: SecretBytes64([4; 64]),
        index_epoch: 0,
    }
}

impl Domain<MemoryStore> {
    /// Two hospitals, a ward of the first, two users; their roster is in force.
    pub async fn new() -> Self {
        let domain = Self::over(MemoryStore::default());
        domain.send_roster().await.unwrap();
        domain
    }
}

impl<S: ConsentStore> Domain<S> {
    pub fn over(store: S) -> Self {
        let mut rng = rand::rng();
        let master = DomainMaster::random(&mut rng);
        let mut parties = Vec::new();
        for (n, role) in
            [(1, Role::Provider), (2, Role::Provider), (3, Role::Provider), (4, Role::User), (5, Role::User)]
        {
            let (key, delta) = master.enrol(&mut rng);
            let (identity, status) = (identity(n), Status::Active);
            let (counts_from, succeeds) = (None, None);
            parties.push(Party { identity, key, delta, role, parent: None, status, counts_from, succeeds });
        }
        // The ward was enrolled by the first hospital, not by the authority.
        let (key, c_inverse) = parties[NORTH].key.delegate(&mut rng);
        parties[WARD].delta = parties[NORTH].delta.delegate(&c_inverse);
        parties[WARD].key = key;
        parties[WARD].parent = Some(parties[NORTH].id());
        let clock = Arc::new(AtomicU64::new(START));
        let cloud = Arc::new(FakeCloud::default());
        let ticking = clock.clone();
        let secrets = GateSecrets::new(&gate_keys()).unwrap();
        let gate =
            Gate::open(secrets, store, cloud.clone(), Arc::new(move || ticking.load(Ordering::SeqCst)), 8).unwrap();
        Self {
            authority: identity(200),
            everyone: identity(203),
            gate_identity: identity(201),
            cloud_identity: identity(202),
            cloud_url: "http://127.0.0.1:1".into(),
            gate_url: "http://127.0.0.1:2".into(),
            parties,
            master,
            tokens: MemberTokenSecret::from_bytes(&[7; 32]),
            orders: MemberOrderSecret::from_bytes(&[8; 32]),
            version: 1,
            budgets: Vec::new(),
            ledger: None,
            clock,
            cloud,
            gate,
        }
    }

    pub fn id(&self, n: usize) -> PrincipalId {
        self.parties[n].id()
    }

    pub fn public(&self, n: usize) -> PublicIdentity {
        self.parties[n].identity.public()
    }

    pub fn advance(&self, ms: u64) {
        self.clock.fetch_add(ms, Ordering::SeqCst);
    }

    pub fn roster(&self) -> Roster {
        let server =
            |i: &Identity, url: &str| Server { id: i.id(), keys: (&i.public()).into(), url: url.into(), node: None };
        let member = |p: &Party| Member {
            id: p.id(),
            keys: (&p.identity.public()).into(),
            role: p.role,
            name: None,
            parent: p.parent,
            status: p.status,
            counts_from: p.counts_from,
            succeeds: p.succeeds,
        };
        Roster {
            domain: DOMAIN.into(),
            version: self.version,
            authority: (&self.authority.public()).into(),
            sharing: None,
            ledger: self.ledger.clone(),
            gates: vec![server(&self.gate_identity, &self.gate_url)],
            clouds: vec![server(&self.cloud_identity, &self.cloud_url)],
            everyone: (&self.everyone.public()).into(),
            members: self.parties.iter().map(member).collect(),
            revoked: Vec::new(),
            budgets: self.budgets.clone(),
        }
    }

    pub fn update(&self) -> UpdateRoster {
        let bridge =
            |p: &Party| Bridge { member: p.id(), scalar: Some(SecretBytes(*p.delta.to_bytes())), commitments: vec![] };
        let roster = Signed::sign(&self.roster(), &self.authority, &mut rand::rng());
        UpdateRoster { roster, bridges: self.parties.iter().map(bridge).collect(), shares: vec![] }
    }

    pub async fn send_roster(&self) -> Result<Accepted, GateError> {
        self.gate.update_roster(self.authority.id(), self.update()).await
    }

    /// Publishes an owner with sections `labs` and `notes` at epoch 0, the given party writing.
    pub async fn admit(&self, owner: &Owner, writer: usize) {
        let profile = owner.profile(1, &[("labs", 0), ("notes", 0)], &[self.id(writer)]);
        self.publish(owner, &profile).await.unwrap();
    }

    pub async fn publish(&self, owner: &Owner, profile: &OwnerProfile) -> Result<Accepted, GateError> {
        self.gate.publish_owners(owner.id(), PublishOwners { profiles: vec![owner.sign_profile(profile)] }).await
    }

    pub async fn grant(&self, caller: PrincipalId, grants: Vec<GrantSubmission>) -> Result<Accepted, GateError> {
        self.gate.submit_grants(caller, SubmitGrants { grants, shares: Vec::new() }).await
    }

    pub async fn revoke(&self, owner: &Owner, revocation: Signed<Revocation>) -> Result<Accepted, GateError> {
        self.gate.submit_revocations(owner.identity.public(), SubmitRevocations { revocations: vec![revocation] }).await
    }

    pub fn token(&self, field: &str, value: &[u8]) -> [u8; 32] {
        FieldTokenKey::derive(&self.tokens, DOMAIN, field, 0).inner(value)
    }

    pub fn field(&self, field: &str) -> FieldToken {
        field_token(&self.tokens, DOMAIN, field, 0)
    }

    pub fn order_key(&self, field: &str) -> InnerOrderKey {
        InnerOrderKey::derive(&self.orders, DOMAIN, field, 0)
    }

    /// A record in `section` with these entries, under capsule `r·G`.
    pub fn batch(&self, owner: &Owner, section: &str, r: u64, records: &[(u8, Vec<InnerEntry>)]) -> BridgeRequest {
        self.batch_at(owner, section, 0, r, records)
    }

    /// The same, sealed to an epoch.
    pub fn batch_at(
        &self,
        owner: &Owner,
        section: &str,
        epoch: u32,
        r: u64,
        records: &[(u8, Vec<InnerEntry>)],
    ) -> BridgeRequest {
        let (capsule, _) =
            encapsulate_with(&scalar(r), &owner.public(section, epoch), &capsule_context(DOMAIN, section, epoch));
        let capsule = RawPoint(capsule.to_bytes());
        let record = |(n, entries): &(u8, Vec<InnerEntry>)| {
            let mut packed = Vec::new();
            entries.iter().for_each(|e| e.pack(&mut packed));
            BridgeRecord { id: RecordId([*n; 16]), capsule: 0, origin: B32([*n; 32]), entries: packed }
        };
        BridgeRequest {
            batch: BatchId([r as u8; 16]),
            capsules: vec![BridgeCapsule { owner: owner.id(), section: section.into(), epoch, capsule }],
            records: records.iter().map(record).collect(),
            deletes: Vec::new(),
            erases: Vec::new(),
        }
    }

    /// Bridges a batch and stores it at the cloud.
    pub async fn push(&self, provider: usize, batch: BridgeRequest) -> Result<BridgeResponse, GateError> {
        let response = self.gate.bridge(self.id(provider), batch.clone()).await?;
        self.cloud.store(self.id(provider), &batch, &response);
        Ok(response)
    }

    pub fn query(&self, clause: InnerClause) -> SearchRequest {
        SearchRequest { clause, purpose: "treatment".into(), sort: None, limit: 1000, cursor: None, prove: false }
    }

    pub async fn search(&self, caller: usize, clause: InnerClause) -> Result<SearchResponse, GateError> {
        self.gate.search(self.id(caller), self.query(clause)).await
    }

    /// First bytes of the ids found.
    pub async fn found(&self, caller: usize, clause: InnerClause) -> Vec<u8> {
        ids(&self.search(caller, clause).await.unwrap())
    }
}

/// `d = H2S("sdx1/rekey", X, B, b·X, A)` (spec section 5).
pub fn rekey_secret(b: &Scalar, x: &RawPoint, a: &RawPoint) -> Scalar {
    let b_x = Point::from_bytes(&x.0).unwrap().mul(b).to_bytes();
    hash_to_scalar(labels::REKEY, &[&x.0, &b.base_mul().to_bytes(), &b_x, &a.0])
}

/// Whether the holder of `b` can open what a group's capsule carries.
pub fn opens_with(b: &Scalar, owner: &Owner, group: &MatchGroup) -> bool {
    let capsule = Capsule::from_bytes(&group.capsule.0).unwrap();
    let e = Point::from_bytes(&group.reencapsulated.0).unwrap();
    let shared = e.mul(&rekey_secret(b, &group.x, &group.a));
    shared == capsule.point().mul(&owner.secret(&group.section, group.epoch))
}

/// First bytes of all ids of an answer, sorted.
pub fn ids(response: &SearchResponse) -> Vec<u8> {
    let mut ids: Vec<u8> = response.groups.iter().flat_map(|g| g.ids.chunks(16).map(|id| id[0])).collect();
    ids.sort_unstable();
    ids
}

/// What a reader derives from a group of matches (spec section 5): the shared point of the capsule.
pub fn shared(reader: &Identity, group: &MatchGroup) -> Point {
    let point = |p: &RawPoint| Point::from_bytes(&p.0).unwrap();
    let b_x = point(&group.x).mul(reader.enc_secret());
    let parts: [&[u8]; 4] = [&group.x.0, &reader.public().enc_bytes(), &b_x.to_bytes(), &group.a.0];
    point(&group.reencapsulated).mul(&hash_to_scalar(labels::REKEY, &parts))
}

/// Whether a reader can open what the group's capsule carries.
pub fn opens(reader: &Identity, owner: &Owner, group: &MatchGroup) -> bool {
    let capsule = Capsule::from_bytes(&group.capsule.0).unwrap();
    shared(reader, group) == capsule.point().mul(&owner.secret(&group.section, group.epoch))
}

pub fn entry(token: [u8; 32], merged: bool) -> InnerEntry {
    InnerEntry::Token { merged, token }
}

pub fn has(token: [u8; 32], merged: bool) -> InnerClause {
    InnerClause::Token { merged, token: B32(token) }
}
