//! Rosters, owner profiles and grants: what is accepted, and what is not.

use sealdex_crypto::{PrincipalId, Scalar};
use sealdex_gate::{
    GateError,
    error::CallerRefusal,
    members::RosterDefect,
    rules::{grants::GrantRefusal, owners::OwnerRefusal, roster::RosterRefusal},
};
use sealdex_wire::{
    RawPoint, Signed,
    consent::{
        Accepted, Bridge, GrantSubmission, ListGrants, LookupOwners, PublishOwners, SecretBytes, SubmitGrants,
        UpdateRoster,
    },
    roster::Roster,
    signed::SignedError,
};

use crate::domain::*;

async fn update(d: &Domain, change: impl Fn(&mut Roster)) -> Result<Accepted, GateError> {
    let mut roster = d.roster();
    roster.version = 2;
    change(&mut roster);
    let roster = Signed::sign(&roster, &d.authority, &mut rand::rng());
    d.gate.update_roster(d.authority.id(), UpdateRoster { roster, bridges: vec![], shares: vec![] }).await
}

#[tokio::test]
async fn only_the_authority_changes_the_roster_and_only_forward() {
    let d = Domain::new().await;
    let refused = d.gate.update_roster(d.id(CLINICIAN), d.update()).await;
    assert_eq!(refused, Err(CallerRefusal::NotAuthority.into()));
    // Carried by the authority but signed by another.
    let forged = Signed::sign(&d.roster(), &d.parties[NORTH].identity, &mut rand::rng());
    let refused =
        d.gate.update_roster(d.authority.id(), UpdateRoster { roster: forged, bridges: vec![], shares: vec![] }).await;
    let wrong = SignedError::WrongSigner { expected: d.authority.id(), actual: d.id(NORTH) };
    assert_eq!(refused, Err(RosterRefusal::Signed(wrong).into()));
    assert!(update(&d, |r| r.version = 1).await.is_ok(), "the same text again changes nothing");
    let other_text = |r: &mut Roster| {
        r.version = 1;
        r.members.pop();
    };
    assert_eq!(update(&d, other_text).await, Err(RosterRefusal::NotNewer { stored: 1, found: 1 }.into()));
    assert_eq!(update(&d, |r| r.version = 0).await, Err(RosterRefusal::NotNewer { stored: 1, found: 0 }.into()));
    assert!(update(&d, |_| ()).await.is_ok());
    assert_eq!(update(&d, |r| r.version = 1).await, Err(RosterRefusal::NotNewer { stored: 2, found: 1 }.into()));
}

#[tokio::test]
async fn rosters_that_make_no_sense_are_refused() {
    let d = Domain::new().await;
    let stranger = PrincipalId([9; 16]);
    assert_eq!(update(&d, |r| r.domain = "south".into()).await, Err(RosterRefusal::OtherDomain.into()));
    assert_eq!(update(&d, |r| r.authority = r.everyone).await, Err(RosterRefusal::OtherDomain.into()));
    assert_eq!(update(&d, |r| r.gates.clear()).await, Err(RosterRefusal::GateMissing.into()));
    let defect = |d: RosterDefect| Err(RosterRefusal::Defect(d).into());
    assert_eq!(update(&d, |r| r.members[0].id = stranger).await, defect(RosterDefect::Keys(stranger)));
    assert_eq!(update(&d, |r| r.everyone.enc = RawPoint([5; 33])).await, defect(RosterDefect::Everyone));
    assert_eq!(update(&d, |r| r.members.push(r.members[0].clone())).await, defect(RosterDefect::Twice(d.id(NORTH))));
    assert_eq!(update(&d, |r| r.members[1].parent = Some(stranger)).await, defect(RosterDefect::Parents(d.id(SOUTH))));
    // The hospital below its own ward.
    let (north, ward) = (d.id(NORTH), d.id(WARD));
    let ring = update(&d, |r| r.members[NORTH].parent = Some(ward)).await;
    assert!(ring == defect(RosterDefect::Parents(north)) || ring == defect(RosterDefect::Parents(ward)), "{ring:?}");
}

#[tokio::test]
async fn bridges_must_be_scalars_of_members() {
    let d = Domain::new().await;
    for (member, scalar) in [(PrincipalId([9; 16]), [1; 32]), (d.id(NORTH), [0; 32]), (d.id(NORTH), [255; 32])] {
        let bridges = vec![Bridge { member, scalar: Some(SecretBytes(scalar)), commitments: vec![] }];
        let refused = d.gate.update_roster(d.authority.id(), UpdateRoster { bridges, ..d.update() }).await;
        assert_eq!(refused, Err(RosterRefusal::Bridge(member).into()));
    }
}

#[tokio::test]
async fn profiles_come_from_their_owner_and_only_grow() {
    let d = Domain::new().await;
    let owner = Owner::new(50);
    let first = owner.profile(1, &[("labs", 0)], &[d.id(NORTH)]);
    assert_eq!(d.publish(&owner, &first).await, Ok(Accepted { count: 1 }));
    let stored = |s: Option<Signed<_>>| s.map(|s: Signed<sealdex_wire::consent::OwnerProfile>| s.peek().unwrap());
    let look = || async {
        d.gate
            .lookup_owners(d.id(NORTH), LookupOwners { owners: vec![owner.id(), d.id(CLINICIAN)] })
            .await
            .unwrap()
            .profiles
    };
    let found = look().await;
    assert_eq!((stored(found[0].clone()), stored(found[1].clone())), (Some(first.clone()), None));
    // The very same document again changes nothing; signed anew it still has the same text.
    assert_eq!(d.publish(&owner, &first).await, Ok(Accepted { count: 0 }));
    let (id, writer) = (owner.id(), [d.id(SOUTH)]);
    let same = d.publish(&owner, &owner.profile(1, &[("labs", 0)], &writer)).await;
    assert_eq!(same, Err(OwnerRefusal::NotNewer { owner: id, stored: 1, found: 1 }.into()));
    let lost = |epoch| Err(OwnerRefusal::KeyLost { owner: id, section: "labs".into(), epoch }.into());
    assert_eq!(d.publish(&owner, &owner.profile(2, &[("notes", 0)], &writer)).await, lost(0), "a section dropped");
    assert_eq!(d.publish(&owner, &owner.profile(2, &[("labs", 1)], &writer)).await, lost(0), "an epoch dropped");
    let mut other_key = owner.profile(2, &[("labs", 0)], &writer);
    other_key.sections[0].key = RawPoint(owner.public("labs", 9).to_bytes());
    assert_eq!(d.publish(&owner, &other_key).await, lost(0), "a key exchanged");
    assert_eq!(
        d.publish(&owner, &owner.profile(2, &[("labs", 0), ("labs", 1)], &writer)).await,
        Ok(Accepted { count: 1 })
    );
    assert_eq!(
        d.publish(&owner, &first).await,
        Err(OwnerRefusal::NotNewer { owner: id, stored: 2, found: 1 }.into()),
        "a replay"
    );
}

#[tokio::test]
async fn profiles_that_are_wrong_are_refused() {
    let d = Domain::new().await;
    let (owner, thief) = (Owner::new(50), Owner::new(51));
    let (id, good) = (owner.id(), owner.profile(1, &[("labs", 0)], &[d.id(NORTH)]));
    let wrong = SignedError::WrongSigner { expected: id, actual: thief.id() };
    let forged = d.gate.publish_owners(d.id(NORTH), PublishOwners { profiles: vec![thief.sign_profile(&good)] }).await;
    assert_eq!(forged, Err(OwnerRefusal::Signed(wrong).into()));
    let mut changed = owner.sign_profile(&good);
    changed.payload = changed.payload.replace("labs", "lads");
    let refused = d.gate.publish_owners(d.id(NORTH), PublishOwners { profiles: vec![changed] }).await;
    assert_eq!(refused, Err(OwnerRefusal::Signed(SignedError::BadSignature(id)).into()));
    let mut elsewhere = good.clone();
    elsewhere.domain = "south".into();
    assert_eq!(d.publish(&owner, &elsewhere).await, Err(OwnerRefusal::OtherDomain(id).into()));
    let mut off_curve = good.clone();
    off_curve.sections[0].key = RawPoint([5; 33]);
    assert_eq!(
        d.publish(&owner, &off_curve).await,
        Err(OwnerRefusal::Section { owner: id, section: "labs".into() }.into())
    );
    for name in ["", "x".repeat(129).as_str()] {
        let unnamed = owner.profile(1, &[(name, 0)], &[]);
        assert_eq!(
            d.publish(&owner, &unnamed).await,
            Err(OwnerRefusal::Section { owner: id, section: name.into() }.into())
        );
    }
    let twice = owner.profile(1, &[("labs", 0), ("labs", 0)], &[]);
    assert_eq!(
        d.publish(&owner, &twice).await,
        Err(OwnerRefusal::Twice { owner: id, section: "labs".into(), epoch: 0 }.into())
    );
    for writer in [d.id(CLINICIAN), PrincipalId([9; 16])] {
        let stranger = owner.profile(1, &[], &[writer]);
        assert_eq!(d.publish(&owner, &stranger).await, Err(OwnerRefusal::Writer { owner: id, writer }.into()));
    }
    // Carried by somebody who is neither the owner nor a provider.
    for (caller, refusal) in [
        (d.id(CLINICIAN), CallerRefusal::NotProvider(d.id(CLINICIAN))),
        (thief.id(), CallerRefusal::NotActive(thief.id())),
    ] {
        let carried = d.gate.publish_owners(caller, PublishOwners { profiles: vec![owner.sign_profile(&good)] }).await;
        assert_eq!(carried, Err(refusal.into()));
    }
    assert_eq!(d.publish(&owner, &good).await, Ok(Accepted { count: 1 }), "nothing of all that was stored");
}

/// They are verified together; each is judged by itself, all or none are stored, and the first that is wrong is named.
#[tokio::test]
async fn many_profiles_at_once() {
    let d = Domain::new().await;
    let owners: Vec<Owner> = (50..150).map(Owner::new).collect();
    // A different number of sections each, so that what belongs to which is not the same for all.
    let sections = [("a", 0), ("b", 0), ("c", 0), ("d", 0)];
    let all: Vec<_> = owners
        .iter()
        .enumerate()
        .map(|(n, owner)| owner.sign_profile(&owner.profile(1, &sections[..n % 5], &[d.id(NORTH)])))
        .collect();
    let publish = |profiles| d.gate.publish_owners(d.id(NORTH), PublishOwners { profiles });
    let off_curve = |n: usize| {
        let mut profile = owners[n].profile(1, &sections, &[]);
        profile.sections[3].key = RawPoint([5; 33]);
        owners[n].sign_profile(&profile)
    };
    for at in [0, 7, 8, 42, 63, 64, 99] {
        let id = owners[at].id();
        let mut one = all.clone();
        one[at].signature = all[(at + 1) % 100].signature;
        assert_eq!(publish(one).await, Err(OwnerRefusal::Signed(SignedError::BadSignature(id)).into()), "{at}");
        let mut one = all.clone();
        one[at] = off_curve(at);
        assert_eq!(publish(one).await, Err(OwnerRefusal::Section { owner: id, section: "d".into() }.into()), "{at}");
        let mut several = all.clone();
        several[at] = off_curve(at);
        several[99].signature = all[98].signature;
        several[99].payload.push(' ');
        assert!(
            at == 99 || publish(several).await == Err(OwnerRefusal::Section { owner: id, section: "d".into() }.into())
        );
    }
    let mut no_text = all.clone();
    no_text[30].payload = "{}".into();
    assert!(matches!(publish(no_text).await, Err(sealdex_gate::GateError::Owner(OwnerRefusal::Signed(_)))));
    assert_eq!(publish(all).await, Ok(Accepted { count: 100 }), "nothing of all that was stored");
}

/// A change to a good grant, and what it is refused with.
type Wrong = (&'static str, fn(&mut sealdex_wire::consent::GrantTerms), fn(PrincipalId) -> GrantRefusal);

#[tokio::test]
async fn grants_that_are_wrong_are_refused_one_by_one() {
    let d = Domain::new().await;
    let owner = Owner::new(50);
    d.admit(&owner, NORTH).await;
    let cases: [Wrong; 11] = [
        ("another domain", |t| t.domain = "south".into(), GrantRefusal::OtherDomain),
        ("another owner", |t| t.owner = PrincipalId([9; 16]), GrantRefusal::OtherDomain),
        ("no purpose", |t| t.purpose.clear(), GrantRefusal::Name),
        ("a long section", |t| t.section = "x".repeat(129), GrantRefusal::Name),
        ("ends before it begins", |t| t.not_after = t.not_before, GrantRefusal::Period),
        ("from the future", |t| t.granted_at = START + 120_001, GrantRefusal::Future),
        ("X off the curve", |t| t.x = RawPoint([2; 33]).off_curve(), GrantRefusal::Point),
        ("reader off the curve", |t| t.reader.enc = RawPoint([2; 33]).off_curve(), GrantRefusal::Point),
        ("another R", |t| t.r = t.x, GrantRefusal::Scalar),
        (
            "a section never published",
            |t| t.section = "claims".into(),
            |owner| GrantRefusal::SectionKey { owner, section: "claims".into(), epoch: 0 },
        ),
        (
            "another section's key",
            |t| t.section = "notes".into(),
            |owner| GrantRefusal::SectionKey { owner, section: "notes".into(), epoch: 0 },
        ),
    ];
    for (name, change, refusal) in cases {
        let (mut terms, rk) = owner.terms(&d.public(CLINICIAN), "labs", 0, START);
        change(&mut terms);
        let refused = d.grant(owner.id(), vec![owner.sign_grant(&terms, rk)]).await;
        assert_eq!(refused, Err(refusal(owner.id()).into()), "{name}");
    }
    let (terms, rk) = owner.terms(&d.public(CLINICIAN), "labs", 0, START);
    assert_eq!(
        d.grant(owner.id(), vec![owner.sign_grant(&terms, rk)]).await,
        Ok(Accepted { count: 1 }),
        "untouched it is accepted"
    );
}

trait OffCurve {
    fn off_curve(self) -> Self;
}

impl OffCurve for RawPoint {
    /// The next encoding that is no point.
    fn off_curve(mut self) -> Self {
        while sealdex_crypto::Point::from_bytes(&self.0).is_ok() {
            self.0[32] = self.0[32].wrapping_add(1);
        }
        self
    }
}

#[tokio::test]
async fn grants_need_the_owners_signature_its_scalar_and_a_reader_of_the_domain() {
    let d = Domain::new().await;
    let (owner, thief) = (Owner::new(50), Owner::new(51));
    d.admit(&owner, NORTH).await;
    d.admit(&thief, NORTH).await;
    let (terms, rk) = owner.terms(&d.public(CLINICIAN), "labs", 0, START);
    // Forged by another owner under its own name: not for a key that it published.
    let forged = d.grant(thief.id(), vec![thief.sign_grant(&terms, rk.clone())]).await;
    assert_eq!(forged, Err(GrantRefusal::OtherDomain(thief.id()).into()));
    // Forged with the owner's name as signer.
    let mut forged = thief.sign_grant(&terms, rk.clone());
    forged.grant.signer = owner.id();
    let bad = SignedError::BadSignature(owner.id());
    assert_eq!(d.grant(d.id(NORTH), vec![forged]).await, Err(GrantRefusal::Signed(bad).into()));
    // Another scalar than the one committed to, none, and one too large.
    for wrong in [*Scalar::from_u64(5).unwrap().to_bytes(), [0; 32], [255; 32]] {
        let submission = owner.sign_grant(&terms, SecretBytes(wrong));
        assert_eq!(d.grant(owner.id(), vec![submission]).await, Err(GrantRefusal::Scalar(owner.id()).into()));
    }
    let stranger = identity(99).public();
    let refused = d.grant(owner.id(), vec![owner.grant(&stranger, "labs", START)]).await;
    assert_eq!(refused, Err(GrantRefusal::Reader { owner: owner.id(), reader: stranger.id() }.into()));
    let nobody = Owner::new(52);
    let refused = d.grant(nobody.id(), vec![nobody.grant(&d.public(CLINICIAN), "labs", START)]).await;
    assert_eq!(refused, Err(GrantRefusal::UnknownOwner(nobody.id()).into()));
    // Carried by a stranger.
    let refused = d.grant(thief.id(), vec![owner.grant(&d.public(CLINICIAN), "labs", START)]).await;
    assert_eq!(refused, Err(CallerRefusal::NeitherOwnerNorMember(thief.id()).into()));
    // Carried by a member; and to the group of all.
    let good =
        vec![owner.grant(&d.public(CLINICIAN), "labs", START), owner.grant(&d.everyone.public(), "notes", START)];
    assert_eq!(d.grant(d.id(NORTH), good).await, Ok(Accepted { count: 2 }));
}

#[tokio::test]
async fn grants_are_accepted_all_or_none() {
    let d = Domain::new().await;
    let owner = Owner::new(50);
    d.admit(&owner, NORTH).await;
    let good = owner.grant(&d.public(CLINICIAN), "labs", START);
    let bad = owner.grant(&d.public(CLINICIAN), "claims", START);
    assert!(d.grant(owner.id(), vec![good.clone(), bad]).await.is_err());
    assert_eq!(listed(&d, owner.id(), None, 9).await, (0, false));
    // A conflict found inside the transaction undoes what came before it.
    let again = owner.grant(&d.public(CLINICIAN), "labs", START);
    assert!(d.grant(owner.id(), vec![good, again]).await.is_err());
    assert_eq!(listed(&d, owner.id(), None, 9).await, (0, false));
}

#[tokio::test]
async fn a_newer_grant_replaces_an_older_one_and_never_the_reverse() {
    let d = Domain::new().await;
    let owner = Owner::new(50);
    d.admit(&owner, NORTH).await;
    let at = |ms| owner.grant(&d.public(CLINICIAN), "labs", START - ms);
    let submit = |g: &GrantSubmission| d.grant(owner.id(), vec![g.clone()]);
    let (old, new) = (at(20), at(10));
    assert_eq!(submit(&old).await, Ok(Accepted { count: 1 }));
    assert_eq!(submit(&old).await, Ok(Accepted { count: 0 }), "the same again");
    let conflict = |granted_at, stored| Err(GrantRefusal::NotNewer { owner: owner.id(), granted_at, stored }.into());
    assert_eq!(submit(&at(20)).await, conflict(START - 20, START - 20), "another of the same time");
    assert_eq!(submit(&new).await, Ok(Accepted { count: 1 }));
    assert_eq!(submit(&old).await, conflict(START - 20, START - 10));
    assert_eq!(listed(&d, owner.id(), None, 9).await, (1, false));
}

async fn listed(d: &Domain, caller: PrincipalId, owner: Option<PrincipalId>, limit: u32) -> (usize, bool) {
    let list = d.gate.list_grants(caller, ListGrants { owner, after: None, limit }).await.unwrap();
    (list.grants.len(), list.next.is_some())
}

#[tokio::test]
async fn grants_are_listed_to_owner_and_reader_only() {
    let d = Domain::new().await;
    let (one, two) = (Owner::new(50), Owner::new(51));
    for owner in [&one, &two] {
        d.admit(owner, NORTH).await;
        let to = |n| owner.grant(&d.public(n), "labs", START);
        let grants = vec![to(CLINICIAN), to(OTHER), owner.grant(&d.everyone.public(), "notes", START)];
        d.grant(owner.id(), grants).await.unwrap();
    }
    assert_eq!(listed(&d, one.id(), None, 9).await, (3, false), "an owner sees its own");
    assert_eq!(listed(&d, one.id(), Some(two.id()), 9).await, (0, false), "and nobody else's");
    assert_eq!(listed(&d, d.id(CLINICIAN), None, 9).await, (4, false), "a reader what names it or everyone");
    assert_eq!(listed(&d, d.id(CLINICIAN), Some(two.id()), 9).await, (2, false));
    assert_eq!(listed(&d, d.id(CLINICIAN), None, 3).await, (3, true));
    assert_eq!(listed(&d, d.id(NORTH), None, 9).await, (2, false));
    assert_eq!(listed(&d, PrincipalId([9; 16]), None, 9).await, (0, false));
}

#[tokio::test]
async fn requests_with_too_many_documents_are_refused() {
    let d = Domain::new().await;
    let owner = Owner::new(50);
    let grant = owner.grant(&d.public(CLINICIAN), "labs", START);
    let refused = d.gate.submit_grants(owner.id(), SubmitGrants { grants: vec![grant; 4097], shares: vec![] }).await;
    assert_eq!(refused, Err(GateError::TooMany { what: "grants", max: 4096, found: 4097 }));
}
