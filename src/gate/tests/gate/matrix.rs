//! The table of `docs/ACCESS.md`, cell by cell: who, alone or together, can do what.
//!
//! Every attempt is made with what the people in the row really hold: their keys, what they were ever answered, and
//! for a corrupt gate its whole store and every scalar it was ever sent.

use std::collections::BTreeMap;

use sealdex_crypto::{Capsule, Point, RecordId, Scalar, open_tag};
use sealdex_wire::{
    RawPoint, Signed,
    consent::GrantSubmission,
    search::{InnerClause, SearchResponse},
};

use crate::domain::*;
use crate::groups::TestGroup;

/// Who tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    /// The patient.
    Owner,
    /// Granted labs by name, now.
    Granted,
    /// In a group that is granted labs.
    GroupMember,
    /// Was granted labs, revoked; then the epoch advanced.
    Revoked,
    /// Was in the group; removed, its grants rotated; then the epoch advanced.
    Leaver,
    /// Joined the group after a grant that means who was in it before.
    Newcomer,
    /// The same of a group whose grants mean who was in it when the owner was asked, renewals too (SeSPHR's rule).
    NewcomerAsked,
    /// Granted labs until a time that has passed.
    Expired,
    /// Granted notes, not labs.
    OtherSection,
    /// Granted labs of the newest epoch only.
    OtherEpoch,
    /// Granted labs for another purpose.
    OtherPurpose,
    /// A member without any grant.
    Member,
    /// No member.
    Stranger,
    /// The cloud: all sealed records and tags.
    Cloud,
    /// The gate: store, keys, all scalars it was ever sent.
    Gate,
    /// Both.
    CloudAndGate,
    /// The gate, and a member without a grant.
    GateAndMember,
    /// The gate that kept every scalar, and who was revoked.
    GateAndRevoked,
    /// The gate that kept every scalar, and who left the group.
    GateAndLeaver,
}

use Who::*;

const ALL: [Who; 19] = [
    Owner,
    Granted,
    GroupMember,
    Revoked,
    Leaver,
    Newcomer,
    NewcomerAsked,
    Expired,
    OtherSection,
    OtherEpoch,
    OtherPurpose,
    Member,
    Stranger,
    Cloud,
    Gate,
    CloudAndGate,
    GateAndMember,
    GateAndRevoked,
    GateAndLeaver,
];

/// What is tried, on record 1 (labs, epoch 0) and record 2 (labs, epoch 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Attempt {
    /// Be told by the gate that record 1 matches.
    SearchOld,
    /// Be told by the gate that record 2 matches.
    SearchNew,
    /// Find the capsule's shared point of record 1, by whatever is at hand.
    OpenOld,
    /// The same of record 2.
    OpenNew,
    /// Have the gate accept a grant to oneself that the owner did not sign.
    ForgeGrant,
    /// Have the gate accept again a grant the owner signed before it revoked.
    ReplayGrant,
    /// Have a provider's record sealed to epoch 0 accepted after epoch 1 began.
    DowngradeEpoch,
}

use Attempt::*;

const ATTEMPTS: [Attempt; 7] = [SearchOld, SearchNew, OpenOld, OpenNew, ForgeGrant, ReplayGrant, DowngradeEpoch];

/// What must come of it.
fn expected(who: Who, attempt: Attempt) -> bool {
    match attempt {
        ForgeGrant | ReplayGrant | DowngradeEpoch => false,
        SearchOld => matches!(who, Granted | GroupMember),
        // A newcomer's cutoff moves with the renewal, as this owner chose; the leaver's and the revoked one's never.
        SearchNew => matches!(who, Granted | GroupMember | Newcomer | OtherEpoch),
        // Owners open by their own keys. With the gate's old scalars, those who were granted epoch 0 open epoch 0.
        OpenOld => matches!(who, Owner | Granted | GroupMember | GateAndRevoked | GateAndLeaver),
        OpenNew => matches!(who, Owner | Granted | GroupMember | Newcomer | OtherEpoch),
    }
}

const REVOKED: usize = OTHER;

struct Stage {
    d: Domain,
    owner: sealdex_crypto::PrincipalId,
    patient: crate::domain::Owner,
    group: TestGroup,
    asked: TestGroup,
    people: BTreeMap<Who, usize>,
    /// Capsules of records 1 and 2.
    capsules: [Point; 2],
    /// Every scalar ever sent to the gate, with the `A` and `X` of its grant.
    scalars: Vec<(RawPoint, RawPoint, Scalar)>,
    /// The grant that was revoked later.
    replayed: GrantSubmission,
    /// What each was answered while it was still served.
    answered: BTreeMap<Who, SearchResponse>,
}

impl Stage {
    async fn set() -> Self {
        let mut d = Domain::new().await;
        let patient = crate::domain::Owner::new(50);
        d.admit(&patient, NORTH).await;
        // One user for each row that is a member.
        let mut people = BTreeMap::from([(Granted, CLINICIAN), (Revoked, REVOKED)]);
        let users =
            [GroupMember, Leaver, Newcomer, Expired, OtherSection, OtherEpoch, OtherPurpose, Member, NewcomerAsked];
        for (n, who) in users.into_iter().enumerate() {
            let (key, delta) = d.master.enrol(&mut rand::rng());
            let (role, status) = (sealdex_wire::roster::Role::User, sealdex_wire::roster::Status::Active);
            let identity = identity(70 + n as u8);
            d.parties.push(Party {
                identity,
                key,
                delta,
                role,
                parent: None,
                status,
                counts_from: None,
                succeeds: None,
            });
            people.insert(who, d.parties.len() - 1);
        }
        d.version += 1;
        d.send_roster().await.unwrap();
        d.push(NORTH, d.batch(&patient, "labs", 11, &[(1, vec![])])).await.unwrap();

        let mut scalars: Vec<(RawPoint, RawPoint, Scalar)> = Vec::new();
        let mut grants = Vec::new();
        let mut make = |to: usize, section: &str, change: &dyn Fn(&mut sealdex_wire::consent::GrantTerms)| {
            let (mut terms, rk) = patient.terms(&d.public(to), section, 0, START);
            terms.not_after = START / 1000 + 1_000_000;
            change(&mut terms);
            scalars.push((terms.a, terms.x, Scalar::from_bytes(&rk.0).unwrap()));
            patient.sign_grant(&terms, rk)
        };
        grants.push(make(people[&Granted], "labs", &|_| ()));
        let replayed = make(people[&Revoked], "labs", &|_| ());
        grants.push(replayed.clone());
        grants.push(make(people[&Expired], "labs", &|t| t.not_after = START / 1000 + 60));
        grants.push(make(people[&OtherSection], "notes", &|_| ()));
        grants.push(make(people[&OtherPurpose], "labs", &|t| t.purpose = "research".into()));
        d.grant(patient.id(), grants).await.unwrap();
        let mut group = TestGroup::new(&d, NORTH, &[people[&GroupMember], people[&Leaver]]);
        group.send(&d, NORTH).await.unwrap();
        let (mut terms, rk) = group.terms(&patient, "labs", 0, START);
        terms.joined_by = Some(START);
        scalars.push((terms.a, terms.x, Scalar::from_bytes(&rk.0).unwrap()));
        d.grant(patient.id(), vec![patient.sign_grant(&terms, rk)]).await.unwrap();

        // Another group, for which the owner is asked about everyone who joins.
        let mut asked = TestGroup::new(&d, NORTH, &[people[&Granted]]);
        asked.send(&d, NORTH).await.unwrap();
        let of_asked = |asked: &TestGroup, epoch, at| {
            let (mut terms, rk) = asked.terms(&patient, "labs", epoch, at);
            terms.joined_by = Some(START);
            (terms.a, terms.x, Scalar::from_bytes(&rk.0).unwrap(), patient.sign_grant(&terms, rk))
        };
        let (a, x, rk, grant) = of_asked(&asked, 0, START);
        scalars.push((a, x, rk));
        d.grant(patient.id(), vec![grant]).await.unwrap();

        // While they were served.
        let mut answered = BTreeMap::new();
        for who in [Revoked, Leaver, Expired] {
            let answer = d.search(people[&who], InnerClause::All).await.unwrap();
            assert_eq!(ids(&answer), [1], "{who:?} is served at first");
            answered.insert(who, answer);
        }

        d.advance(100_000);
        let now = START + 100_000;
        d.revoke(&patient, patient.revoke(d.id(people[&Revoked]), None, START + 1)).await.unwrap();
        group.remove(&[d.id(people[&Leaver])]);
        group.join(d.id(people[&Newcomer]), now);
        group.send(&d, NORTH).await.unwrap();
        asked.join(d.id(people[&NewcomerAsked]), now);
        asked.send(&d, NORTH).await.unwrap();
        let list = sealdex_wire::group::ListStale { reader: group.id(), after: None, limit: 99 };
        let stale = d.gate.list_stale(d.id(NORTH), list).await.unwrap().grants;
        let rotations = group.factors(&stale);
        for (grant, rotation) in stale.iter().zip(&rotations) {
            let factor = Scalar::from_bytes(&rotation.factor.0).unwrap();
            let kept = scalars.iter().find(|(a, x, _)| *a == grant.a && *x == grant.x).unwrap().2.clone();
            scalars.push((grant.a, grant.x, kept.mul(&factor)));
        }
        let request = sealdex_wire::group::RotateGrants { reader: group.id(), rotations };
        d.gate.rotate(d.id(NORTH), request).await.unwrap();

        // The next epoch, with whoever goes on reading.
        let profile = patient.profile(2, &[("labs", 0), ("labs", 1), ("notes", 0)], &[d.id(NORTH)]);
        let (mut terms, rk) = group.terms(&patient, "labs", 1, now);
        terms.joined_by = Some(now);
        scalars.push((terms.a, terms.x, Scalar::from_bytes(&rk.0).unwrap()));
        let mut renewed = vec![patient.sign_grant(&terms, rk)];
        let (a, x, rk, grant) = of_asked(&asked, 1, now);
        scalars.push((a, x, rk));
        renewed.push(grant);
        for who in [Granted, OtherEpoch] {
            let (mut terms, rk) = patient.terms(&d.public(people[&who]), "labs", 1, now);
            terms.not_after = START / 1000 + 1_000_000;
            scalars.push((terms.a, terms.x, Scalar::from_bytes(&rk.0).unwrap()));
            renewed.push(patient.sign_grant(&terms, rk));
        }
        let change = sealdex_wire::consent::ChangeConsent {
            profiles: vec![patient.sign_profile(&profile)],
            revocations: Vec::new(),
            grants: renewed,
            shares: Vec::new(),
        };
        d.gate.change_consent(patient.identity.public(), change).await.unwrap();
        d.push(NORTH, d.batch_at(&patient, "labs", 1, 12, &[(2, vec![])])).await.unwrap();
        let capsules = [11, 12].map(|r| scalar(r).base_mul());
        Self { owner: patient.id(), d, patient, group, asked, people, capsules, scalars, replayed, answered }
    }

    /// Keys that a row's people hold.
    fn keys(&self, who: Who) -> Vec<Scalar> {
        let own = |who: Who| self.people.get(&who).map(|n| self.d.parties[*n].identity.enc_secret().clone());
        let generations = |range: std::ops::Range<usize>| self.group.keys[range].to_vec();
        match who {
            GroupMember => [own(who).into_iter().collect(), generations(0..2)].concat(),
            // A member of the group has its key, whatever the owner said.
            NewcomerAsked => [own(who).into_iter().collect(), self.asked.keys.clone()].concat(),
            Newcomer => [own(who).into_iter().collect(), generations(1..2)].concat(),
            Leaver => [own(who).into_iter().collect(), generations(0..1)].concat(),
            GateAndLeaver => self.keys(Leaver),
            GateAndRevoked => self.keys(Revoked),
            GateAndMember => self.keys(Member),
            Stranger => vec![identity(99).enc_secret().clone()],
            other => own(other).into_iter().collect(),
        }
    }

    async fn told(&self, who: Who, record: u8) -> bool {
        let caller = match self.people.get(&who) {
            Some(n) => self.d.id(*n),
            None if who == Owner => self.owner,
            None => identity(99).id(),
        };
        let found = self.d.gate.search(caller, self.d.query(InnerClause::All)).await;
        found.is_ok_and(|answer| ids(&answer).contains(&record))
    }

    /// Whether a point is what the capsule of a record hides.
    fn is_secret(&self, point: &Point, record: usize) -> bool {
        *point == self.capsules[record].mul(&self.patient.secret("labs", record as u32))
    }

    /// With what the gate answers now, or answered before.
    async fn opens_by_answer(&self, who: Who, record: usize) -> bool {
        let Some(n) = self.people.get(&who) else { return false };
        let now = self.d.search(*n, InnerClause::All).await.ok();
        let keys = self.keys(who);
        let groups = now.iter().flat_map(|a| &a.groups);
        groups.into_iter().any(|g| {
            keys.iter().any(|b| {
                let e = Point::from_bytes(&g.reencapsulated.0).unwrap();
                self.is_secret(&e.mul(&rekey_secret(b, &g.x, &g.a)), record)
            })
        })
    }

    /// With every scalar the gate ever had, every key at hand, every grant's `X` and `A`.
    fn opens_by_scalars(&self, keys: &[Scalar], record: usize) -> bool {
        let capsule = self.capsules[record];
        self.scalars.iter().any(|(_, _, rk)| {
            let turned = capsule.mul(rk);
            let alone = self.is_secret(&turned, record);
            alone
                || self
                    .scalars
                    .iter()
                    .any(|(a, x, _)| keys.iter().any(|b| self.is_secret(&turned.mul(&rekey_secret(b, x, a)), record)))
        })
    }

    async fn open(&self, who: Who, record: usize) -> bool {
        match who {
            Owner => {
                let secret = self.patient.secret("labs", record as u32);
                self.is_secret(&self.capsules[record].mul(&secret), record)
            }
            // The cloud has tags and no key to them: it does not even have the capsule.
            Cloud => {
                let records = self.d.cloud.records.lock().unwrap();
                let (_, stored) = &records[&RecordId([record as u8 + 1; 16])];
                let guess = sealdex_crypto::GateTagKey::from_bytes(&[0; 64]);
                open_tag(&guess, &RecordId([record as u8 + 1; 16]), &stored.tag).is_ok()
            }
            Gate | CloudAndGate | GateAndMember | GateAndRevoked | GateAndLeaver => {
                self.opens_by_scalars(&self.keys(who), record)
            }
            _ => self.opens_by_answer(who, record).await,
        }
    }

    async fn forge(&self, who: Who) -> bool {
        let identity = match self.people.get(&who) {
            Some(n) => &self.d.parties[*n].identity,
            None => &identity(99),
        };
        if who == Owner {
            return false; // an owner's own grant is no forgery
        }
        let (terms, rk) = self.patient.terms(&self.d.public(CLINICIAN), "labs", 0, START + 200_000);
        let mut terms = terms;
        terms.reader = (&identity.public()).into();
        let mut by_self =
            GrantSubmission { grant: Signed::sign(&terms, identity, &mut rand::rng()), rk: Some(rk.clone()) };
        let caller = identity.id();
        let plain = self.d.grant(caller, vec![by_self.clone()]).await;
        by_self.grant.signer = self.owner;
        let in_the_owners_name = self.d.grant(caller, vec![by_self]).await;
        terms.by = Some(caller);
        let as_carer = GrantSubmission { grant: Signed::sign(&terms, identity, &mut rand::rng()), rk: Some(rk) };
        let as_carer = self.d.grant(caller, vec![as_carer]).await;
        plain.is_ok() || in_the_owners_name.is_ok() || as_carer.is_ok()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_cell_of_the_table_is_as_it_is_stated() {
    let stage = Stage::set().await;
    let mut wrong = Vec::new();
    for who in ALL {
        let mut row = Vec::new();
        for attempt in ATTEMPTS {
            let can = match attempt {
                SearchOld => stage.told(who, 1).await,
                SearchNew => stage.told(who, 2).await,
                OpenOld => stage.open(who, 0).await,
                OpenNew => stage.open(who, 1).await,
                ForgeGrant => stage.forge(who).await,
                ReplayGrant => stage.d.grant(stage.owner, vec![stage.replayed.clone()]).await.is_ok(),
                DowngradeEpoch => {
                    let old = stage.d.batch_at(&stage.patient, "labs", 0, 13, &[(9, vec![])]);
                    stage.d.gate.bridge(stage.d.id(NORTH), old).await.is_ok()
                }
            };
            row.push(if can { "yes" } else { "-" });
            if can != expected(who, attempt) {
                wrong.push(format!("{who:?} {attempt:?}: {can}"));
            }
        }
        println!("{:<16}{}", format!("{who:?}"), row.iter().map(|c| format!("{c:<6}")).collect::<String>());
    }
    assert_eq!(wrong, Vec::<String>::new());
}

/// The way the attempts are made finds what is there to be found: with the last thing missing given to them, the same
/// code opens.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_attempts_would_succeed_if_the_gate_kept_one_thing_more() {
    let stage = Stage::set().await;
    let leaver_with_new_key = [stage.keys(Leaver), stage.group.keys.clone()].concat();
    assert!(stage.opens_by_scalars(&leaver_with_new_key, 1), "the new key is what the leaver is missing");
    assert!(!stage.opens_by_scalars(&stage.keys(Leaver), 1));
    assert!(stage.opens_by_scalars(&stage.keys(Granted), 1));
    let gate = sealdex_crypto::GateTagKey::from_bytes(&[4; 64]);
    let stored = stage.d.cloud.records.lock().unwrap()[&RecordId([1; 16])].1.clone();
    let opened = open_tag(&gate, &RecordId([1; 16]), &stored.tag).unwrap();
    assert_eq!(Capsule::from_bytes(&opened.capsule).unwrap().point(), stage.capsules[0], "with the tag key, tags open");
}

/// Requests and tickets that were good once.
#[tokio::test]
async fn tickets_of_who_lost_access_are_withdrawn_and_those_of_others_are_not() {
    let stage = Stage::set().await;
    let withdrawn = stage.d.cloud.withdrawn.lock().unwrap().clone();
    let all = |who: Who| stage.answered[&who].tickets.iter().all(|t| withdrawn.contains(&t.ticket.nonce));
    assert!(all(Revoked) && all(Leaver));
    // The grant ended before the ticket would: the ticket ended with it, with no withdrawal.
    let expired = &stage.answered[&Expired].tickets;
    assert!(!expired.is_empty() && expired.iter().all(|t| t.ticket.expires_at <= START + 60_000));
}
