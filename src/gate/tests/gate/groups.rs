//! Groups: who reads through them, who joins and leaves, and grants that are rotated while people read.

use sealdex_crypto::{Identity, IdentitySeed, PrincipalId, Scalar};
use sealdex_gate::{GateError, error::CallerRefusal, rules::groups::GroupRefusal, store::ConsentStore};
use sealdex_wire::{
    B32, RawPoint, Signed,
    consent::{Accepted, GrantTerms, GroupKey, SecretBytes, SubmitGrants},
    group::{
        CharterError, GroupCharter, GroupMember, Handover, ListGroups, ListStale, RotateGrants, Rotation, Sealed,
        SubmitGroup,
    },
    roster::{PublicKeys, Status},
    search::{InnerClause, SearchResponse},
};

use crate::domain::*;

/// A group as its manager has it. Wrapped seeds are the clients' business; the gate takes them as they are.
pub struct TestGroup {
    pub charter: GroupCharter,
    /// `b` of each generation.
    pub keys: Vec<Scalar>,
}

impl TestGroup {
    pub fn new<S: ConsentStore>(d: &Domain<S>, manager: usize, members: &[usize]) -> Self {
        let first = Identity::from_seed(&IdentitySeed::random(&mut rand::rng()));
        let b = first.enc_secret().clone();
        let manager = d.public(manager);
        let group = PublicKeys { enc: RawPoint(b.base_mul().to_bytes()), sign: B32(manager.sign_bytes()) };
        let since = d.clock.load(std::sync::atomic::Ordering::SeqCst);
        let charter = GroupCharter {
            domain: DOMAIN.into(),
            group,
            name: "ward 3".into(),
            managers: vec![(&manager).into()],
            handovers: Vec::new(),
            version: 1,
            generation: 0,
            key: group.enc,
            kept: Sealed(vec![0; 81]),
            members: members.iter().map(|m| joined(d.id(*m), since)).collect(),
            earlier: Vec::new(),
        };
        Self { charter, keys: vec![b] }
    }

    pub fn id(&self) -> PrincipalId {
        self.charter.group.identity().unwrap().id()
    }

    pub fn join(&mut self, member: PrincipalId, since: u64) {
        self.charter.version += 1;
        self.charter.members.push(joined(member, since));
    }

    /// Leaves these out, under a new key.
    pub fn remove(&mut self, leaving: &[PrincipalId]) {
        self.charter.version += 1;
        self.charter.generation += 1;
        self.charter.members.retain(|m| !leaving.contains(&m.member));
        let b = Scalar::random(&mut rand::rng());
        self.charter.key = RawPoint(b.base_mul().to_bytes());
        self.keys.push(b);
    }

    pub async fn send<S: ConsentStore>(&self, d: &Domain<S>, by: usize) -> Result<Accepted, GateError> {
        let charter = Signed::sign(&self.charter, &d.parties[by].identity, &mut rand::rng());
        d.gate.submit_group(d.id(by), SubmitGroup { charter }).await
    }

    /// Terms and scalar of an owner's grant to the group's key of now.
    pub fn terms(&self, owner: &Owner, section: &str, epoch: u32, granted_at: u64) -> (GrantTerms, SecretBytes) {
        let x = Scalar::random(&mut rand::rng());
        let b = self.keys.last().unwrap();
        let a = RawPoint(owner.public(section, epoch).to_bytes());
        let big_x = RawPoint(x.base_mul().to_bytes());
        let rk = owner.secret(section, epoch).mul(&rekey_secret(b, &big_x, &a).invert());
        let terms = GrantTerms {
            domain: DOMAIN.into(),
            owner: owner.id(),
            reader: self.charter.group,
            section: section.into(),
            epoch,
            a,
            x: big_x,
            r: RawPoint(rk.base_mul().to_bytes()),
            commitments: Vec::new(),
            purpose: "treatment".into(),
            not_before: START / 1000 - 10,
            not_after: START / 1000 + 360_000,
            granted_at,
            group_key: Some(GroupKey { generation: self.charter.generation, key: self.charter.key }),
            joined_by: None,
            newcomers_later: false,
            providers: Vec::new(),
            emergency: None,
            by: None,
        };
        (terms, SecretBytes(*rk.to_bytes()))
    }

    pub async fn granted<S: ConsentStore>(&self, d: &Domain<S>, owner: &Owner, section: &str, at: u64) {
        let (terms, rk) = self.terms(owner, section, 0, at);
        d.grant(owner.id(), vec![owner.sign_grant(&terms, rk)]).await.unwrap();
    }

    /// Whether someone with the group's keys up to a generation opens everything of an answer.
    pub fn opens(&self, generation: u32, owner: &Owner, answer: &SearchResponse) -> bool {
        let with = |g: &sealdex_wire::search::MatchGroup| {
            g.generation <= generation && opens_with(&self.keys[g.generation as usize], owner, g)
        };
        !answer.groups.is_empty() && answer.groups.iter().all(with)
    }

    pub fn factors_in_parallel(&self, stale: &[sealdex_wire::group::StaleGrant]) -> Vec<Rotation> {
        use rayon::prelude::*;
        stale.par_iter().flat_map(|g| self.factors(std::slice::from_ref(g))).collect()
    }

    pub fn factors(&self, stale: &[sealdex_wire::group::StaleGrant]) -> Vec<Rotation> {
        let newest = self.keys.last().unwrap();
        let factor = |g: &sealdex_wire::group::StaleGrant| {
            let old = rekey_secret(&self.keys[g.generation as usize], &g.x, &g.a);
            let factor = old.mul(&rekey_secret(newest, &g.x, &g.a).invert());
            Rotation {
                grant: g.grant.clone(),
                from: g.generation,
                to: self.charter.generation,
                x: g.x,
                factor: SecretBytes(*factor.to_bytes()),
            }
        };
        stale.iter().map(factor).collect()
    }
}

fn joined(member: PrincipalId, since: u64) -> GroupMember {
    GroupMember { member, since, seed: Sealed(vec![1; 81]) }
}

/// An owner with records 1 (labs) and 2 (notes), and a group managed by the first hospital.
pub async fn prepared(members: &[usize]) -> (Domain, Owner, TestGroup) {
    let d = Domain::new().await;
    let owner = Owner::new(50);
    d.admit(&owner, NORTH).await;
    for (n, section) in [(1, "labs"), (2, "notes")] {
        d.push(NORTH, d.batch(&owner, section, u64::from(n) + 2, &[(n, vec![])])).await.unwrap();
    }
    let group = TestGroup::new(&d, NORTH, members);
    assert_eq!(group.send(&d, NORTH).await, Ok(Accepted { count: 1 }));
    (d, owner, group)
}

#[tokio::test]
async fn members_read_what_is_granted_to_their_group_and_nobody_else_does() {
    let (d, owner, group) = prepared(&[CLINICIAN, SOUTH]).await;
    group.granted(&d, &owner, "labs", START).await;
    for member in [CLINICIAN, SOUTH] {
        let answer = d.search(member, InnerClause::All).await.unwrap();
        assert_eq!(ids(&answer), [1]);
        assert_eq!(answer.groups[0].reader, group.id());
        assert!(group.opens(0, &owner, &answer));
        assert!(!opens(&d.parties[member].identity, &owner, &answer.groups[0]), "by the group's key, not its own");
    }
    assert_eq!(d.found(OTHER, InnerClause::All).await, [0_u8; 0]);
    assert_eq!(d.found(NORTH, InnerClause::All).await, [0_u8; 0], "who manages it is not in it by that");
    assert_eq!(group.send(&d, NORTH).await, Ok(Accepted { count: 0 }), "the same again changes nothing");
}

#[tokio::test]
async fn who_leaves_is_refused_at_once_and_what_the_gate_holds_then_fits_the_new_key_only() {
    let (d, owner, mut group) = prepared(&[CLINICIAN, OTHER]).await;
    for section in ["labs", "notes"] {
        group.granted(&d, &owner, section, START).await;
    }
    let before = d.search(CLINICIAN, InnerClause::All).await.unwrap();
    assert_eq!(ids(&before), [1, 2]);
    d.search(OTHER, InnerClause::All).await.unwrap();
    group.remove(&[d.id(CLINICIAN)]);
    assert_eq!(group.send(&d, NORTH).await, Ok(Accepted { count: 1 }));
    assert_eq!(d.found(CLINICIAN, InnerClause::All).await, [0_u8; 0], "refused before anything is rotated");
    let withdrawn = d.cloud.withdrawn.lock().unwrap().clone();
    let tickets = before.tickets.iter().all(|t| withdrawn.contains(&t.ticket.nonce));
    assert!(tickets && withdrawn.len() == before.tickets.len(), "the leaver's tickets and no others");

    let stale = |after, limit| d.gate.list_stale(d.id(NORTH), ListStale { reader: group.id(), after, limit });
    let first = stale(None, 1).await.unwrap();
    assert_eq!((first.grants.len(), first.next.is_some()), (1, true));
    let half = d.search(OTHER, InnerClause::All).await.unwrap();
    assert!(group.opens(1, &owner, &half), "not rotated: by the earlier key, which members still have");
    let rotate = |rotations| d.gate.rotate(d.id(NORTH), RotateGrants { reader: group.id(), rotations });
    let once = group.factors(&first.grants);
    assert_eq!(rotate(once.clone()).await, Ok(Accepted { count: 1 }));
    assert_eq!(rotate(once).await, Ok(Accepted { count: 0 }), "a factor that comes twice changes nothing");
    let half = d.search(OTHER, InnerClause::All).await.unwrap();
    assert_eq!(half.groups.iter().map(|g| g.generation).max(), Some(1));
    assert_eq!(half.groups.iter().map(|g| g.generation).min(), Some(0));
    assert!(group.opens(1, &owner, &half), "half-way, a member still reads everything");
    let rest = stale(None, 9).await.unwrap();
    assert_eq!((rest.grants.len(), rest.next.is_none()), (1, true));
    assert_eq!(rotate(group.factors(&rest.grants)).await, Ok(Accepted { count: 1 }));
    assert!(stale(None, 9).await.unwrap().grants.is_empty());
    let after = d.search(OTHER, InnerClause::All).await.unwrap();
    assert!(after.groups.iter().all(|g| g.generation == 1));
    assert!(group.opens(1, &owner, &after));
    assert!(!after.groups.iter().any(|g| opens_with(&group.keys[0], &owner, g)), "the leaver's key fits none of it");
}

#[tokio::test]
async fn a_factor_that_comes_late_changes_nothing() {
    let (d, owner, mut group) = prepared(&[CLINICIAN, OTHER, SOUTH]).await;
    group.granted(&d, &owner, "labs", START).await;
    group.remove(&[d.id(OTHER)]);
    group.send(&d, NORTH).await.unwrap();
    let stale = async |group: &TestGroup| {
        let list = ListStale { reader: group.id(), after: None, limit: 9 };
        d.gate.list_stale(d.id(NORTH), list).await.unwrap().grants
    };
    let late = group.factors(&stale(&group).await);
    group.remove(&[d.id(SOUTH)]);
    group.send(&d, NORTH).await.unwrap();
    let rotate = async |group: &TestGroup, rotations| {
        d.gate.rotate(d.id(NORTH), RotateGrants { reader: group.id(), rotations }).await
    };
    assert_eq!(
        rotate(&group, late).await,
        Ok(Accepted { count: 0 }),
        "it leads to a key that is no longer the group's"
    );
    let answer = d.search(CLINICIAN, InnerClause::All).await.unwrap();
    assert!(group.opens(2, &owner, &answer), "and what it was for still opens");
    let now = group.factors(&stale(&group).await);
    assert_eq!(rotate(&group, now).await, Ok(Accepted { count: 1 }));
    let answer = d.search(CLINICIAN, InnerClause::All).await.unwrap();
    assert!(answer.groups.iter().all(|g| g.generation == 2) && group.opens(2, &owner, &answer));
}

#[tokio::test]
async fn grants_made_to_an_old_key_are_refused_and_rotations_are_the_managers() {
    let (d, owner, mut group) = prepared(&[CLINICIAN, OTHER]).await;
    let (terms, rk) = group.terms(&owner, "labs", 0, START);
    let old = owner.sign_grant(&terms, rk);
    group.remove(&[d.id(OTHER)]);
    group.send(&d, NORTH).await.unwrap();
    let refused = d.grant(owner.id(), vec![old]).await;
    let reason = sealdex_gate::rules::grants::GrantRefusal::GroupKey { owner: owner.id(), reader: group.id() };
    assert_eq!(refused, Err(reason.into()));
    group.granted(&d, &owner, "labs", START).await;
    assert_eq!(d.found(CLINICIAN, InnerClause::All).await, [1]);
    let request = RotateGrants { reader: group.id(), rotations: Vec::new() };
    let caller = d.id(CLINICIAN);
    let refused = d.gate.rotate(caller, request).await;
    assert_eq!(refused, Err(CallerRefusal::NotManager { caller, group: group.id() }.into()));
    let list = ListStale { reader: group.id(), after: None, limit: 9 };
    assert!(d.gate.list_stale(caller, list).await.is_err());
}

#[tokio::test]
async fn a_newcomer_sees_what_the_owners_grant_says_of_newcomers() {
    let (d, owner, mut group) = prepared(&[OTHER]).await;
    let grant = |section: &'static str, joined_by| {
        let (mut terms, rk) = group.terms(&owner, section, 0, START);
        terms.joined_by = joined_by;
        owner.sign_grant(&terms, rk)
    };
    d.grant(owner.id(), vec![grant("labs", None), grant("notes", Some(START))]).await.unwrap();
    d.advance(10_000);
    group.join(d.id(CLINICIAN), START + 10_000);
    group.send(&d, NORTH).await.unwrap();
    assert_eq!(d.found(OTHER, InnerClause::All).await, [1, 2]);
    assert_eq!(d.found(CLINICIAN, InnerClause::All).await, [1], "the grant of notes means who was in it by then");
    // The owner grants notes anew, with a later cutoff: consent for the newcomer.
    let (mut terms, rk) = group.terms(&owner, "notes", 0, START + 11_000);
    terms.joined_by = Some(START + 10_000);
    d.grant(owner.id(), vec![owner.sign_grant(&terms, rk)]).await.unwrap();
    assert_eq!(d.found(CLINICIAN, InnerClause::All).await, [1, 2]);
}

#[tokio::test]
async fn charters_that_are_wrong_are_refused() {
    let (d, owner, group) = prepared(&[CLINICIAN, OTHER]).await;
    group.granted(&d, &owner, "labs", START).await;
    let id = group.id();
    d.advance(600_000);
    let now = START + 600_000;
    let again = |change: fn(&mut TestGroup, &Domain)| {
        let mut next = TestGroup { charter: group.charter.clone(), keys: group.keys.clone() };
        next.charter.version += 1;
        change(&mut next, &d);
        next
    };
    let refused = async |next: TestGroup| match next.send(&d, NORTH).await {
        Err(GateError::Group(reason)) => reason,
        other => panic!("{other:?}"),
    };
    let stored = GroupRefusal::NotNewer { group: id, stored: 1, found: 1 };
    assert_eq!(
        refused(again(|g, _| {
            g.charter.version = 1;
            g.charter.name = "ward 4".into()
        }))
        .await,
        stored
    );
    let generation = |found| GroupRefusal::Generation { group: id, stored: 0, found };
    assert_eq!(refused(again(|g, _| drop(g.charter.members.pop()))).await, generation(0), "who leaves takes a new key");
    assert_eq!(refused(again(|g, _| g.charter.generation = 1)).await, generation(1), "a new generation has a new key");
    assert_eq!(
        refused(again(|g, _| {
            g.remove(&[]);
            g.charter.generation = 2
        }))
        .await,
        generation(2)
    );
    let dated = |member| GroupRefusal::Since { group: id, member };
    let early = again(|g, d| g.join(d.id(SOUTH), START));
    assert_eq!(refused(early).await, dated(d.id(SOUTH)), "nobody is dated back to before an owner's cutoff");
    assert_eq!(refused(again(|g, _| g.charter.members[0].since -= 1)).await, dated(d.id(CLINICIAN)));
    let future = again(|g, d| g.join(d.id(SOUTH), START + 600_000 + 200_000));
    assert_eq!(refused(future).await, dated(d.id(SOUTH)));
    let stranger = again(|g, _| g.join(PrincipalId([9; 16]), START + 600_000));
    assert_eq!(refused(stranger).await, GroupRefusal::Member { group: id, member: PrincipalId([9; 16]) });
    let twice = again(|g, d| g.join(d.id(OTHER), START + 600_000));
    assert_eq!(refused(twice).await, GroupRefusal::Twice { group: id, member: d.id(OTHER) });
    let name = again(|g, _| g.charter.name = " ".into());
    assert_eq!(refused(name).await, GroupRefusal::Content { group: id, what: "name" });
    let long = again(|g, _| g.charter.kept = Sealed(vec![0; 9999]));
    assert_eq!(refused(long).await, GroupRefusal::Content { group: id, what: "wrapped seed" });
    // Somebody else's word.
    let other = TestGroup { charter: GroupCharter { version: 2, ..group.charter.clone() }, keys: Vec::new() };
    let charter = Signed::sign(&other.charter, &d.parties[SOUTH].identity, &mut rand::rng());
    let sent = d.gate.submit_group(d.id(SOUTH), SubmitGroup { charter }).await;
    assert!(matches!(sent, Err(GateError::Group(GroupRefusal::Charter(CharterError::Signed(_))))));
    let mut usurped = other.charter.clone();
    usurped.managers = vec![(&d.public(SOUTH)).into()];
    let charter = Signed::sign(&usurped, &d.parties[SOUTH].identity, &mut rand::rng());
    let sent = d.gate.submit_group(d.id(SOUTH), SubmitGroup { charter }).await;
    assert_eq!(sent, Err(GroupRefusal::from(CharterError::Manager(id)).into()), "the id names the founder's key");
    let charter = Signed::sign(&other.charter, &d.parties[NORTH].identity, &mut rand::rng());
    let sent = d.gate.submit_group(d.id(SOUTH), SubmitGroup { charter }).await;
    assert_eq!(sent, Err(GroupRefusal::NotManager { group: id, manager: d.id(NORTH) }.into()));
    assert_eq!(d.found(CLINICIAN, InnerClause::All).await, [1], "nothing of all that took effect");
    let _ = now;
}

#[tokio::test]
async fn a_group_is_handed_over_by_its_manager_or_the_authority_only() {
    let (d, _, group) = prepared(&[CLINICIAN, OTHER]).await;
    let handover = |by: &Identity, to: usize| {
        let handover = Handover { domain: DOMAIN.into(), group: group.id(), to: (&d.public(to)).into() };
        Signed::sign(&handover, by, &mut rand::rng())
    };
    let taken = |handover, to: usize| {
        let mut charter = group.charter.clone();
        charter.version += 1;
        charter.managers.push((&d.public(to)).into());
        charter.handovers.push(handover);
        TestGroup { charter, keys: group.keys.clone() }
    };
    let stolen = taken(handover(&d.parties[OTHER].identity, OTHER), OTHER);
    assert!(matches!(stolen.send(&d, OTHER).await, Err(GateError::Group(GroupRefusal::Charter(_)))));
    let given = taken(handover(&d.parties[NORTH].identity, OTHER), OTHER);
    assert_eq!(given.send(&d, OTHER).await, Ok(Accepted { count: 1 }));
    let mut old = group.charter.clone();
    old.version = 9;
    let old = TestGroup { charter: old, keys: Vec::new() };
    assert_eq!(
        old.send(&d, NORTH).await,
        Err(GroupRefusal::Managers(group.id()).into()),
        "who gave it away has it no more"
    );
    let mut appointed = given.charter.clone();
    appointed.version += 1;
    appointed.managers.push((&d.public(CLINICIAN)).into());
    appointed.handovers.push(handover(&d.authority, CLINICIAN));
    let appointed = TestGroup { charter: appointed, keys: Vec::new() };
    assert_eq!(appointed.send(&d, CLINICIAN).await, Ok(Accepted { count: 1 }), "the authority appoints");
    let mine = ListGroups { groups: Vec::new(), mine: true };
    assert_eq!(d.gate.list_groups(d.id(CLINICIAN), &mine).unwrap().charters.len(), 1);
    assert_eq!(d.gate.list_groups(d.id(NORTH), &mine).unwrap().charters.len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_search_under_way_when_somebody_leaves_gives_them_nothing() {
    let (d, owner, mut group) = prepared(&[CLINICIAN]).await;
    group.granted(&d, &owner, "labs", START).await;
    group.remove(&[d.id(CLINICIAN)]);
    let charter = Signed::sign(&group.charter, &d.parties[NORTH].identity, &mut rand::rng());
    let (gate, manager) = (d.gate.clone(), d.id(NORTH));
    // The cloud has matched; before the gate looks at the matches, the member is removed.
    let runtime = tokio::runtime::Handle::current();
    let submit = move || {
        let (gate, request) = (gate.clone(), SubmitGroup { charter: charter.clone() });
        let done =
            std::thread::scope(|s| s.spawn(|| runtime.block_on(gate.submit_group(manager, request))).join().unwrap());
        done.unwrap();
    };
    *d.cloud.after_search.lock().unwrap() = Some(Box::new(submit));
    assert_eq!(d.found(CLINICIAN, InnerClause::All).await, [0_u8; 0]);
}

#[tokio::test]
async fn a_member_revoked_from_the_domain_is_out_of_its_groups_too() {
    let (mut d, owner, group) = prepared(&[CLINICIAN, OTHER]).await;
    group.granted(&d, &owner, "labs", START).await;
    d.parties[CLINICIAN].status = Status::Revoked;
    d.version += 1;
    d.send_roster().await.unwrap();
    let refused = d.search(CLINICIAN, InnerClause::All).await;
    assert_eq!(refused, Err(CallerRefusal::NotActive(d.id(CLINICIAN)).into()));
    assert_eq!(d.found(OTHER, InnerClause::All).await, [1]);
}

#[tokio::test]
async fn a_successor_takes_over_grants_with_the_old_key_and_no_owner() {
    let (mut d, owner, _) = prepared(&[OTHER]).await;
    d.grant(owner.id(), vec![owner.grant(&d.public(CLINICIAN), "labs", START)]).await.unwrap();
    d.parties[CLINICIAN].status = Status::Revoked;
    let (key, delta) = d.master.enrol(&mut rand::rng());
    let (role, succeeds) = (d.parties[CLINICIAN].role, Some(d.id(CLINICIAN)));
    let (identity, status) = (identity(66), Status::Active);
    d.parties.push(Party { identity, key, delta, role, parent: None, status, counts_from: None, succeeds });
    d.version += 1;
    d.send_roster().await.unwrap();
    let successor = d.parties.len() - 1;
    let reader = d.id(CLINICIAN);
    assert_eq!(d.found(successor, InnerClause::All).await, [0_u8; 0], "being a successor alone opens nothing");
    let stale = d.gate.list_stale(d.id(successor), ListStale { reader, after: None, limit: 9 }).await.unwrap();
    let factor = |g: &sealdex_wire::group::StaleGrant| {
        let old = rekey_secret(d.parties[CLINICIAN].identity.enc_secret(), &g.x, &g.a);
        let new = rekey_secret(d.parties[successor].identity.enc_secret(), &g.x, &g.a);
        let factor = SecretBytes(*old.mul(&new.invert()).to_bytes());
        Rotation { grant: g.grant.clone(), from: g.generation, to: 0, x: g.x, factor }
    };
    let rotations: Vec<Rotation> = stale.grants.iter().map(factor).collect();
    let request = RotateGrants { reader, rotations };
    assert!(d.gate.rotate(d.id(OTHER), request.clone()).await.is_err(), "nobody else may");
    assert_eq!(d.gate.rotate(d.id(successor), request.clone()).await, Ok(Accepted { count: 1 }));
    assert_eq!(d.gate.rotate(d.id(successor), request).await, Ok(Accepted { count: 0 }));
    let answer = d.search(successor, InnerClause::All).await.unwrap();
    assert_eq!(ids(&answer), [1]);
    assert!(opens(&d.parties[successor].identity, &owner, &answer.groups[0]));
    assert!(!opens(&d.parties[CLINICIAN].identity, &owner, &answer.groups[0]));
    let revocation = owner.revoke(d.id(successor), None, START + 1);
    assert_eq!(d.revoke(&owner, revocation).await, Ok(Accepted { count: 1 }), "the owner revokes it like any other");
}

#[tokio::test]
async fn submitted_in_one_request_a_grant_to_everyone_in_a_group_is_one_grant() {
    let (d, owner, group) = prepared(&[CLINICIAN, OTHER, SOUTH]).await;
    let (terms, rk) = group.terms(&owner, "labs", 0, START);
    let request = SubmitGrants { grants: vec![owner.sign_grant(&terms, rk)], shares: vec![] };
    assert_eq!(d.gate.submit_grants(owner.id(), request).await, Ok(Accepted { count: 1 }));
    for member in [CLINICIAN, OTHER, SOUTH] {
        assert_eq!(d.found(member, InnerClause::All).await, [1]);
    }
}
