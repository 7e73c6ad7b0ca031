//! What surrounds grants: purposes and providers, epochs, emergencies, requests, carers, members below members,
//! budgets and counts.

use sealdex_crypto::{Identity, Point, PrincipalId, Scalar};
use sealdex_gate::{
    GateError,
    budget::BudgetRefusal,
    care::CareRefusal,
    error::CallerRefusal,
    family::FamilyRefusal,
    rules::{grants::GrantRefusal, mandates::MandateRefusal, revocations::RevocationRefusal},
    store::{AuditKind, RedbStore},
};
use sealdex_wire::{
    B32, RawPoint, Signed,
    care::{
        AnswerRequest, AskAccess, Asked, CloseWake, Emergency, ListRequests, ListWakes, Mandate, RequestStatus,
        SubmitMandate, SubmitWake, Wake, WakeState,
    },
    consent::{
        Accepted, AccessKind, ChangeConsent, GrantSubmission, GrantTerms, ListAccesses, ListGrants, Revocation,
        SecretBytes, SubmitRevocations,
    },
    family::{Dismissal, Enrolment, FamilyError, RotateBridge, UpdateFamily},
    ingest::InnerEntry,
    roster::{Budget, Member, Role, Status},
    search::{CountRequest, InnerClause},
};

use crate::domain::*;

/// An owner with records 1 (labs) and 2 (notes) pushed by the first hospital's ward, 3 (labs) by the second.
pub async fn prepared() -> (Domain, Owner) {
    let d = Domain::new().await;
    let owner = Owner::new(50);
    let profile = owner.profile(1, &[("labs", 0), ("notes", 0)], &[d.id(NORTH), d.id(SOUTH)]);
    d.publish(&owner, &profile).await.unwrap();
    d.push(WARD, d.batch(&owner, "labs", 3, &[(1, vec![])])).await.unwrap();
    d.push(WARD, d.batch(&owner, "notes", 4, &[(2, vec![])])).await.unwrap();
    d.push(SOUTH, d.batch(&owner, "labs", 5, &[(3, vec![])])).await.unwrap();
    (d, owner)
}

fn changed(d: &Domain, owner: &Owner, section: &str, change: impl FnOnce(&mut GrantTerms)) -> GrantSubmission {
    let (mut terms, rk) = owner.terms(&d.public(CLINICIAN), section, 0, START);
    change(&mut terms);
    owner.sign_grant(&terms, rk)
}

async fn found_for(d: &Domain, purpose: &str) -> Vec<u8> {
    let request = sealdex_wire::search::SearchRequest { purpose: purpose.into(), ..d.query(InnerClause::All) };
    ids(&d.gate.search(d.id(CLINICIAN), request).await.unwrap())
}

#[tokio::test]
async fn one_section_is_granted_for_several_purposes_and_each_is_revoked_by_itself() {
    let (d, owner) = prepared().await;
    let research = changed(&d, &owner, "labs", |t| t.purpose = "research".into());
    d.grant(owner.id(), vec![owner.grant(&d.public(CLINICIAN), "labs", START), research.clone()]).await.unwrap();
    for purpose in ["treatment", "research"] {
        assert_eq!(found_for(&d, purpose).await, [1, 3]);
    }
    assert_eq!(found_for(&d, "payment").await, [0_u8; 0]);
    let only = Revocation {
        purpose: Some("research".into()),
        ..owner.revoke(d.id(CLINICIAN), None, START + 1).peek().unwrap()
    };
    let only = Signed::sign(&only, &owner.identity, &mut rand::rng());
    assert_eq!(d.revoke(&owner, only).await, Ok(Accepted { count: 1 }));
    assert_eq!((found_for(&d, "research").await, found_for(&d, "treatment").await), (vec![], vec![1, 3]));
    let again = d.grant(owner.id(), vec![research]).await;
    assert!(matches!(again, Err(GateError::Grant(GrantRefusal::Revoked { .. }))), "the old one does not come back");
    let treatment = changed(&d, &owner, "notes", |_| ());
    assert_eq!(
        d.grant(owner.id(), vec![treatment]).await,
        Ok(Accepted { count: 1 }),
        "other purposes are not concerned"
    );
    d.revoke(&owner, owner.revoke(d.id(CLINICIAN), None, START + 2)).await.unwrap();
    assert_eq!(found_for(&d, "treatment").await, [0_u8; 0], "without a purpose, all end");
}

#[tokio::test]
async fn a_grant_limited_to_a_provider_extends_to_whoever_is_below_it() {
    let (d, owner) = prepared().await;
    let from = |providers| changed(&d, &owner, "labs", |t| t.providers = providers);
    d.grant(owner.id(), vec![from(vec![d.id(NORTH)])]).await.unwrap();
    assert_eq!(d.found(CLINICIAN, InnerClause::All).await, [1], "the ward's, which is below");
    d.grant(owner.id(), vec![from(vec![d.id(SOUTH)])]).await.unwrap();
    assert_eq!(d.found(CLINICIAN, InnerClause::All).await, [1, 3], "both stand beside each other");
    let refused = d.grant(owner.id(), vec![from(vec![d.id(CLINICIAN)])]).await;
    assert_eq!(refused, Err(GrantRefusal::Limits { owner: owner.id(), what: "providers" }.into()));
}

#[tokio::test]
async fn an_epoch_advances_with_everyone_who_goes_on_reading_and_without_who_does_not() {
    let (d, owner) = prepared().await;
    let both = [CLINICIAN, OTHER].map(|n| owner.grant(&d.public(n), "labs", START));
    d.grant(owner.id(), both.to_vec()).await.unwrap();
    let profile = owner.profile(2, &[("labs", 0), ("labs", 1), ("notes", 0)], &[d.id(NORTH), d.id(SOUTH)]);
    let (terms, rk) = owner.terms(&d.public(OTHER), "labs", 1, START + 1);
    let change = ChangeConsent {
        profiles: vec![owner.sign_profile(&profile)],
        revocations: vec![owner.revoke(d.id(CLINICIAN), Some("labs"), START + 1)],
        grants: vec![owner.sign_grant(&terms, rk)],
        shares: vec![],
    };
    let thief = identity(77).public();
    assert!(d.gate.change_consent(thief, change.clone()).await.is_err());
    let done = d.gate.change_consent(owner.identity.public(), change.clone()).await;
    assert_eq!(done, Ok(Accepted { count: 3 }), "a profile, a revocation, a grant");
    let stale = d.gate.bridge(d.id(WARD), d.batch_at(&owner, "labs", 0, 6, &[(4, vec![])])).await;
    assert!(stale.is_err(), "providers seal to the current epoch");
    d.push(WARD, d.batch_at(&owner, "labs", 1, 7, &[(5, vec![])])).await.unwrap();
    assert_eq!(d.found(CLINICIAN, InnerClause::All).await, [0_u8; 0]);
    let answer = d.search(OTHER, InnerClause::All).await.unwrap();
    assert_eq!(ids(&answer), [1, 3, 5], "what was written before, and since");
    assert!(answer.groups.iter().all(|g| opens(&d.parties[OTHER].identity, &owner, g)));
    // All or none: a grant that is refused takes the rest with it.
    let next = owner.profile(3, &[("labs", 0), ("labs", 1), ("labs", 2), ("notes", 0)], &[d.id(NORTH)]);
    let grants = vec![owner.grant(&d.public(CLINICIAN), "labs", START)];
    let bad = ChangeConsent { profiles: vec![owner.sign_profile(&next)], grants, ..change };
    assert!(d.gate.change_consent(owner.identity.public(), bad).await.is_err());
    d.push(WARD, d.batch_at(&owner, "labs", 1, 8, &[(6, vec![])])).await.unwrap();
}

fn wake(d: &Domain, owner: &Owner, reader: PrincipalId, minutes: u64) -> Wake {
    let asked_at = d.clock.load(std::sync::atomic::Ordering::SeqCst);
    let reason = "unconscious after an accident".into();
    let until = asked_at / 1000 + minutes * 60;
    Wake { domain: DOMAIN.into(), owner: owner.id(), reader, reason, asked_at, until, nonce: B32([7; 32]) }
}

async fn sign(d: &Domain, wake: &Wake, who: usize) -> Result<WakeState, GateError> {
    let wake = Signed::sign(wake, &d.parties[who].identity, &mut rand::rng());
    d.gate.submit_wake(d.id(who), SubmitWake { wake }).await
}

/// A dormant grant of labs to the clinician, which the clinician, the other user or the second hospital may wake.
async fn dormant(d: &Domain, owner: &Owner) {
    let wakers = vec![d.id(CLINICIAN), d.id(OTHER), d.id(SOUTH)];
    let emergency = Some(Emergency { wakers, minutes: 30 });
    d.grant(owner.id(), vec![changed(d, owner, "labs", |t| t.emergency = emergency)]).await.unwrap();
}

#[tokio::test]
async fn an_emergency_takes_two_people_ends_by_itself_and_its_owner_is_told() {
    let (d, owner) = prepared().await;
    dormant(&d, &owner).await;
    assert_eq!(d.found(CLINICIAN, InnerClause::All).await, [0_u8; 0], "dormant");
    let text = wake(&d, &owner, d.id(CLINICIAN), 30);
    assert_eq!(sign(&d, &text, CLINICIAN).await.unwrap().woken_at, None);
    assert_eq!(d.found(CLINICIAN, InnerClause::All).await, [0_u8; 0], "one is not enough");
    assert_eq!(sign(&d, &text, CLINICIAN).await, Err(CareRefusal::SamePerson(d.id(CLINICIAN)).into()));
    let reader = d.id(CLINICIAN);
    let not_authorised = CareRefusal::NotAuthorised { owner: owner.id(), reader, caller: d.id(NORTH) };
    assert_eq!(sign(&d, &text, NORTH).await, Err(not_authorised.into()));
    let open = d.gate.list_wakes(d.id(OTHER), ListWakes { limit: 9 }).await.unwrap().emergencies;
    assert_eq!(open.len(), 1, "who may sign sees it");
    assert!(d.gate.list_wakes(d.id(NORTH), ListWakes { limit: 9 }).await.unwrap().emergencies.is_empty());
    assert!(sign(&d, &text, OTHER).await.unwrap().woken_at.is_some());
    let answer = d.search(CLINICIAN, InnerClause::All).await.unwrap();
    assert_eq!(ids(&answer), [1, 3]);
    assert!(opens(&d.parties[CLINICIAN].identity, &owner, &answer.groups[0]));
    assert_eq!(d.found(OTHER, InnerClause::All).await, [0_u8; 0], "who woke it does not read by that");
    d.advance(29 * 60_000 + 30_000);
    let last = d.search(CLINICIAN, InnerClause::All).await.unwrap();
    assert!(last.tickets.iter().all(|t| t.ticket.expires_at == text.until * 1000), "tickets end with it");
    d.advance(30_000);
    assert_eq!(d.found(CLINICIAN, InnerClause::All).await, [0_u8; 0], "closed by itself");
    assert_eq!(
        sign(&d, &text, SOUTH).await.err().map(|e| matches!(e, GateError::Care(CareRefusal::Time { .. }))),
        Some(true)
    );

    let told = d.gate.list_accesses(owner.id(), ListAccesses { after: None, limit: 99 }).await.unwrap().accesses;
    let steps: Vec<_> = told.iter().filter(|a| a.emergency).map(|a| (a.kind, a.caller, a.count)).collect();
    let (clinician, other) = (d.id(CLINICIAN), d.id(OTHER));
    let expected = [
        (AccessKind::Grant, owner.id(), 1),
        (AccessKind::Emergency, clinician, 1),
        (AccessKind::Emergency, other, 2),
        (AccessKind::Search, clinician, 2),
        (AccessKind::Search, clinician, 2),
    ];
    assert_eq!(steps, expected);
    assert!(told.iter().any(|a| a.purpose.as_deref() == Some("unconscious after an accident")));
    let own = d.gate.list_wakes(owner.id(), ListWakes { limit: 9 }).await.unwrap().emergencies;
    assert_eq!(own[0].signed.len(), 2, "with both signatures");
}

#[tokio::test]
async fn emergencies_are_bounded_ended_early_and_end_with_their_grant() {
    let (d, owner) = prepared().await;
    dormant(&d, &owner).await;
    let reader = d.id(CLINICIAN);
    let time = || GateError::from(CareRefusal::Time { owner: owner.id(), minutes: 30 });
    assert_eq!(sign(&d, &wake(&d, &owner, reader, 31), OTHER).await, Err(time()), "longer than the owner allows");
    assert_eq!(sign(&d, &wake(&d, &owner, reader, 0), OTHER).await, Err(time()));
    let later = Wake { asked_at: START + 3_600_000, until: START / 1000 + 3600 + 60, ..wake(&d, &owner, reader, 1) };
    assert_eq!(sign(&d, &later, OTHER).await, Err(time()), "not from the future");
    let silent = Wake { reason: " ".into(), ..wake(&d, &owner, reader, 5) };
    assert_eq!(sign(&d, &silent, OTHER).await, Err(CareRefusal::Text("the reason").into()));
    let text = wake(&d, &owner, reader, 20);
    for who in [CLINICIAN, SOUTH] {
        sign(&d, &text, who).await.unwrap();
    }
    let answer = d.search(CLINICIAN, InnerClause::All).await.unwrap();
    assert_eq!(ids(&answer), [1, 3]);
    let id = d.gate.list_wakes(owner.id(), ListWakes { limit: 1 }).await.unwrap().emergencies[0].id;
    let close = CloseWake { owner: owner.id(), wake: id };
    assert_eq!(d.gate.close_wake(d.id(NORTH), close.clone()).await, Err(CareRefusal::NoEmergency.into()));
    assert_eq!(d.gate.close_wake(owner.id(), close.clone()).await, Ok(Accepted { count: 1 }));
    assert_eq!(d.found(CLINICIAN, InnerClause::All).await, [0_u8; 0]);
    let withdrawn = d.cloud.withdrawn.lock().unwrap().clone();
    assert!(answer.tickets.iter().all(|t| withdrawn.contains(&t.ticket.nonce)));
    assert_eq!(d.gate.close_wake(owner.id(), close).await, Err(CareRefusal::NoEmergency.into()), "once");
    assert!(sign(&d, &text, OTHER).await.is_err(), "what was closed is not woken again");

    let second = Wake { nonce: B32([8; 32]), ..wake(&d, &owner, reader, 20) };
    for who in [CLINICIAN, SOUTH] {
        sign(&d, &second, who).await.unwrap();
    }
    assert_eq!(d.found(CLINICIAN, InnerClause::All).await, [1, 3]);
    d.revoke(&owner, owner.revoke(reader, None, START + 1)).await.unwrap();
    assert_eq!(d.found(CLINICIAN, InnerClause::All).await, [0_u8; 0], "a revocation ends it while it is awake");
    let third = Wake { nonce: B32([9; 32]), ..second };
    assert!(sign(&d, &third, SOUTH).await.is_err(), "and there is nothing left to wake");
}

#[tokio::test]
async fn a_request_waits_for_its_owner_and_is_answered_once() {
    let (d, owner) = prepared().await;
    let ask = AskAccess {
        owner: owner.id(),
        reader: d.id(CLINICIAN),
        sections: vec!["labs".into()],
        purpose: "treatment".into(),
        days: 30,
        reason: "second opinion".into(),
    };
    let asked = d.gate.ask_access(d.id(CLINICIAN), ask.clone()).await;
    assert_eq!(asked, Ok(Asked { number: 1 }));
    assert_eq!(d.gate.ask_access(d.id(CLINICIAN), ask.clone()).await, asked, "the same again is the same");
    let for_other = AskAccess { reader: d.id(OTHER), ..ask.clone() };
    assert_eq!(d.gate.ask_access(d.id(CLINICIAN), for_other).await, Err(CareRefusal::Request("reader").into()));
    let unknown = AskAccess { owner: PrincipalId([3; 16]), ..ask.clone() };
    assert_eq!(
        d.gate.ask_access(d.id(CLINICIAN), unknown).await,
        Err(CareRefusal::UnknownOwner(PrincipalId([3; 16])).into())
    );
    let list = |caller, owner| d.gate.list_requests(caller, ListRequests { owner, pending: true });
    assert_eq!(list(owner.id(), Some(owner.id())).await.unwrap().requests.len(), 1);
    assert_eq!(list(d.id(CLINICIAN), None).await.unwrap().requests.len(), 1);
    assert!(list(d.id(OTHER), Some(owner.id())).await.is_err());
    let answer = |caller, status| d.gate.answer_request(caller, AnswerRequest { owner: owner.id(), number: 1, status });
    for (caller, status) in [
        (d.id(CLINICIAN), RequestStatus::Approved),
        (d.id(OTHER), RequestStatus::Declined),
        (owner.id(), RequestStatus::Withdrawn),
        (owner.id(), RequestStatus::Pending),
    ] {
        assert!(answer(caller, status).await.is_err(), "{status:?}");
    }
    assert_eq!(answer(owner.id(), RequestStatus::Declined).await, Ok(Accepted { count: 1 }));
    assert!(answer(owner.id(), RequestStatus::Approved).await.is_err(), "once");
    assert_eq!(d.found(CLINICIAN, InnerClause::All).await, [0_u8; 0], "asking opens nothing");
    for n in 0..8 {
        let ask = AskAccess { days: 31 + n, ..ask.clone() };
        d.gate.ask_access(d.id(CLINICIAN), ask).await.unwrap();
    }
    let many = d.gate.ask_access(d.id(CLINICIAN), ask).await;
    assert_eq!(many, Err(CareRefusal::TooMany(d.id(CLINICIAN)).into()));
}

fn mandate(owner: &Owner, carer: &Identity, sections: &[&str], not_after: u64, made_at: u64) -> SubmitMandate {
    let mandate = Mandate {
        domain: DOMAIN.into(),
        owner: owner.id(),
        carer: (&carer.public()).into(),
        sections: sections.iter().map(|s| (*s).to_owned()).collect(),
        not_after,
        made_at,
    };
    SubmitMandate { mandate: Signed::sign(&mandate, &owner.identity, &mut rand::rng()) }
}

/// What a carer makes of its own grant for another reader: terms it signs, and the factor.
fn passed_on(d: &Domain, own: &GrantTerms, to: usize, granted_at: u64) -> GrantSubmission {
    let carer = &d.parties[CLINICIAN].identity;
    let d_own = rekey_secret(carer.enc_secret(), &own.x, &own.a);
    let (x, b) = (Scalar::random(&mut rand::rng()), d.parties[to].identity.enc_secret());
    let big_x = RawPoint(x.base_mul().to_bytes());
    let factor = d_own.mul(&rekey_secret(b, &big_x, &own.a).invert());
    let r = RawPoint(Point::from_bytes(&own.r.0).unwrap().mul(&factor).to_bytes());
    let reader = (&d.public(to)).into();
    let terms = GrantTerms { reader, x: big_x, r, granted_at, by: Some(carer.id()), ..own.clone() };
    let grant = Signed::sign(&terms, carer, &mut rand::rng());
    GrantSubmission { grant, rk: Some(SecretBytes(*factor.to_bytes())) }
}

#[tokio::test]
async fn a_carer_passes_on_what_it_may_read_and_revokes_until_its_mandate_ends() {
    let (d, owner) = prepared().await;
    let own: Vec<GrantSubmission> = ["labs", "notes"].map(|s| owner.grant(&d.public(CLINICIAN), s, START)).to_vec();
    d.grant(owner.id(), own.clone()).await.unwrap();
    let (labs, notes) = (own[0].grant.peek().unwrap(), own[1].grant.peek().unwrap());
    let carer = d.parties[CLINICIAN].identity.public();
    let refused = |section: &str| {
        Err::<Accepted, _>(GateError::from(GrantRefusal::NoMandate {
            owner: owner.id(),
            carer: carer.id(),
            section: section.into(),
        }))
    };
    let pass = |terms: &GrantTerms, at| d.grant(carer.id(), vec![passed_on(&d, terms, OTHER, at)]);
    assert_eq!(pass(&labs, START).await, refused("labs"), "without a mandate");
    let until = START / 1000 + 7200;
    let submit = |m| d.gate.submit_mandate(owner.identity.public(), m);
    assert!(
        d.gate.submit_mandate(carer, mandate(&owner, &d.parties[CLINICIAN].identity, &[], until, START)).await.is_err()
    );
    assert_eq!(
        submit(mandate(&owner, &d.parties[CLINICIAN].identity, &["labs"], until, START)).await,
        Ok(Accepted { count: 1 })
    );
    assert_eq!(pass(&notes, START).await, refused("notes"), "a section the mandate leaves out");
    let longer = GrantTerms { not_after: labs.not_after + 1, ..labs.clone() };
    assert_eq!(pass(&longer, START).await, refused("labs"), "longer than the carer may read");
    let other = GrantTerms { purpose: "research".into(), ..labs.clone() };
    assert_eq!(pass(&other, START).await, refused("labs"), "for another purpose");
    let mut wrong = passed_on(&d, &labs, OTHER, START);
    wrong.rk = Some(SecretBytes(*scalar(5).to_bytes()));
    assert_eq!(d.grant(carer.id(), vec![wrong]).await, refused("labs"), "a factor that is not the one committed to");
    assert_eq!(pass(&labs, START).await, Ok(Accepted { count: 1 }));
    let answer = d.search(OTHER, InnerClause::All).await.unwrap();
    assert_eq!(ids(&answer), [1, 3]);
    assert!(answer.groups.iter().all(|g| opens(&d.parties[OTHER].identity, &owner, g)));
    assert!(!answer.groups.iter().any(|g| opens(&d.parties[CLINICIAN].identity, &owner, g)), "not by the carer's key");
    let listed =
        d.gate.list_grants(carer.id(), ListGrants { owner: Some(owner.id()), after: None, limit: 9 }).await.unwrap();
    assert_eq!(listed.grants.len(), 2, "a carer of some sections sees its own only");

    let revocation = |by: &Identity, section: Option<&str>, at| {
        let terms = Revocation { ..owner.revoke(d.id(OTHER), section, at).peek().unwrap() };
        SubmitRevocations { revocations: vec![Signed::sign(&terms, by, &mut rand::rng())] }
    };
    let by_carer =
        |section, at| d.gate.submit_revocations(carer, revocation(&d.parties[CLINICIAN].identity, section, at));
    let none = RevocationRefusal::NoMandate { owner: owner.id(), carer: carer.id() };
    assert_eq!(by_carer(None, START + 1).await, Err(none.into()), "all sections are more than its mandate");
    assert_eq!(by_carer(Some("labs"), START + 1).await, Ok(Accepted { count: 1 }));
    assert_eq!(d.found(OTHER, InnerClause::All).await, [0_u8; 0]);

    assert_eq!(pass(&labs, START + 2).await, Ok(Accepted { count: 1 }));
    assert_eq!(d.found(OTHER, InnerClause::All).await, [1, 3]);
    let old = mandate(&owner, &d.parties[CLINICIAN].identity, &[], until, START);
    assert_eq!(submit(old).await, Err(MandateRefusal::Time(owner.id()).into()), "an older one does not come back");
    let end = mandate(&owner, &d.parties[CLINICIAN].identity, &[], 0, START + 3);
    assert_eq!(submit(end).await, Ok(Accepted { count: 2 }), "the mandate, and what was granted under it");
    assert_eq!(d.found(OTHER, InnerClause::All).await, [0_u8; 0]);
    assert_eq!(d.found(CLINICIAN, InnerClause::All).await, [1, 2, 3], "what the carer reads itself is another matter");
    assert_eq!(pass(&labs, START + 4).await, refused("labs"));
}

#[tokio::test]
async fn revoking_a_carers_own_reading_ends_what_it_passed_on() {
    let (d, owner) = prepared().await;
    let own = owner.grant(&d.public(CLINICIAN), "labs", START);
    d.grant(owner.id(), vec![own.clone()]).await.unwrap();
    let until = START / 1000 + 7200;
    let mandate = mandate(&owner, &d.parties[CLINICIAN].identity, &[], until, START);
    d.gate.submit_mandate(owner.identity.public(), mandate).await.unwrap();
    d.grant(d.id(CLINICIAN), vec![passed_on(&d, &own.grant.peek().unwrap(), OTHER, START)]).await.unwrap();
    let revocation = owner.revoke(d.id(CLINICIAN), Some("labs"), START + 1);
    assert_eq!(d.revoke(&owner, revocation).await, Ok(Accepted { count: 2 }));
    assert_eq!(d.found(OTHER, InnerClause::All).await, [0_u8; 0]);
}

/// A member below another, and what its parent sends.
fn below<S: sealdex_gate::store::ConsentStore>(
    d: &Domain<S>,
    parent: usize,
    seed: u8,
    role: Role,
) -> (Party, UpdateFamily) {
    let (key, c_inverse) = d.parties[parent].key.delegate(&mut rand::rng());
    let identity = identity(seed);
    let member = Member {
        id: identity.id(),
        keys: (&identity.public()).into(),
        role,
        name: None,
        parent: Some(d.id(parent)),
        status: Status::Active,
        counts_from: None,
        succeeds: None,
    };
    let enrolment = Enrolment { domain: DOMAIN.into(), member };
    let update = UpdateFamily {
        enrolments: vec![Signed::sign(&enrolment, &d.parties[parent].identity, &mut rand::rng())],
        factors: vec![SecretBytes(*c_inverse.to_bytes())],
        dismissals: Vec::new(),
    };
    let delta = d.parties[parent].delta.delegate(&c_inverse);
    let (parent, status, counts_from, succeeds) = (Some(d.id(parent)), Status::Active, None, None);
    (Party { identity, key, delta, role, parent, status, counts_from, succeeds }, update)
}

/// An emergency, a request, a mandate and a member below a member.
pub async fn something_of_each<S: sealdex_gate::store::ConsentStore>(d: &Domain<S>, owner: &Owner) {
    let emergency = Some(Emergency { wakers: vec![d.id(OTHER)], minutes: 30 });
    let (terms, rk) = owner.terms(&d.public(CLINICIAN), "notes", 0, START);
    let dormant = owner.sign_grant(&GrantTerms { emergency, ..terms }, rk);
    d.grant(owner.id(), vec![dormant]).await.unwrap();
    let reason = "a test".into();
    let (asked_at, until) = (START, START / 1000 + 60);
    let nonce = B32([7; 32]);
    let text =
        Wake { domain: DOMAIN.into(), owner: owner.id(), reader: d.id(CLINICIAN), reason, asked_at, until, nonce };
    let wake = Signed::sign(&text, &d.parties[OTHER].identity, &mut rand::rng());
    d.gate.submit_wake(d.id(OTHER), SubmitWake { wake }).await.unwrap();
    let ask = AskAccess {
        owner: owner.id(),
        reader: d.id(OTHER),
        sections: vec!["notes".into()],
        purpose: "treatment".into(),
        days: 30,
        reason: "second opinion".into(),
    };
    d.gate.ask_access(d.id(OTHER), ask).await.unwrap();
    let carer = &d.parties[CLINICIAN].identity;
    let mandate = mandate(owner, carer, &[], START / 1000 + 7200, START);
    d.gate.submit_mandate(owner.identity.public(), mandate).await.unwrap();
    let (_, update) = below(d, NORTH, 60, Role::Provider);
    d.gate.update_family(d.id(NORTH), update).await.unwrap();
}

#[tokio::test]
async fn providers_enrol_below_themselves_and_dismiss_with_all_below() {
    let (mut d, owner) = prepared().await;
    let (department, update) = below(&d, NORTH, 60, Role::Provider);
    let (north, south) = (d.id(NORTH), d.id(SOUTH));
    assert_eq!(d.gate.update_family(south, update.clone()).await, Err(FamilyRefusal::NotOwn(north).into()));
    let bare = UpdateFamily { factors: Vec::new(), ..update.clone() };
    assert_eq!(
        d.gate.update_family(north, bare).await,
        Err(FamilyRefusal::Factors { enrolments: 1, factors: 0 }.into())
    );
    assert_eq!(d.gate.update_family(north, update.clone()).await, Ok(Accepted { count: 1 }));
    assert_eq!(d.gate.update_family(north, update).await, Ok(Accepted { count: 0 }), "sent again");
    d.parties.push(department);
    let department = d.parties.len() - 1;
    // A physician below the department, who asks as a member of its own.
    let (physician, update) = below(&d, department, 61, Role::User);
    assert_eq!(d.gate.update_family(d.id(department), update).await, Ok(Accepted { count: 1 }));
    d.parties.push(physician);
    let physician = d.parties.len() - 1;
    // It writes in the hospital's scope, with a token of its own that meets everybody's.
    let point = |n: usize| RawPoint(d.parties[n].key.inner(DOMAIN, "mrn", b"4711").unwrap().to_bytes());
    let entries =
        vec![entry(d.token("code", b"x"), false), InnerEntry::Bridged { merged: false, point: point(department) }];
    d.push(department, d.batch(&owner, "labs", 9, &[(4, entries)])).await.unwrap();
    d.grant(owner.id(), vec![owner.grant(&d.public(physician), "labs", START)]).await.unwrap();
    let bridged = InnerClause::Bridged { merged: false, point: point(physician) };
    assert_eq!(d.found(physician, bridged.clone()).await, [4]);
    let of = |id| InnerClause::And(vec![has(d.token("code", b"x"), false), InnerClause::Source(vec![id])]);
    assert_eq!(d.found(physician, of(d.id(department))).await, [4]);
    // A token key that leaked is replaced: nothing is indexed anew, and the old key fits nothing.
    let (key, c_inverse) = d.parties[physician].key.delegate(&mut rand::rng());
    let rotate = || d.gate.rotate_bridge(d.id(physician), RotateBridge { factor: SecretBytes(*c_inverse.to_bytes()) });
    assert_eq!(rotate().await, Ok(Accepted { count: 1 }));
    assert_eq!(rotate().await, Ok(Accepted { count: 0 }), "sent again after an answer was lost");
    assert_eq!(d.found(physician, bridged).await, [0_u8; 0]);
    // And again: the first factor, handed on once more, does nothing however late it comes.
    let (key, second) = key.delegate(&mut rand::rng());
    let sent = RotateBridge { factor: SecretBytes(*second.to_bytes()) };
    assert_eq!(d.gate.rotate_bridge(d.id(physician), sent).await, Ok(Accepted { count: 1 }));
    assert_eq!(rotate().await, Ok(Accepted { count: 0 }), "long after");
    d.parties[physician].key = key;
    let point = RawPoint(d.parties[physician].key.inner(DOMAIN, "mrn", b"4711").unwrap().to_bytes());
    assert_eq!(d.found(physician, InnerClause::Bridged { merged: false, point }).await, [4]);

    let dismissal = |by: usize, member: usize| UpdateFamily {
        enrolments: Vec::new(),
        factors: Vec::new(),
        dismissals: vec![Signed::sign(
            &Dismissal { domain: DOMAIN.into(), member: d.id(member) },
            &d.parties[by].identity,
            &mut rand::rng(),
        )],
    };
    let not_above = FamilyError::NotAbove { by: south, member: d.id(department) };
    let sent = d.gate.update_family(south, dismissal(SOUTH, department)).await;
    assert_eq!(sent, Err(FamilyRefusal::Family(not_above).into()));
    assert_eq!(d.gate.update_family(north, dismissal(NORTH, department)).await, Ok(Accepted { count: 1 }));
    let refused = d.search(physician, InnerClause::All).await;
    assert_eq!(refused, Err(CallerRefusal::NotActive(d.id(physician)).into()), "and everyone below");
    assert!(d.push(department, d.batch(&owner, "labs", 10, &[(5, vec![])])).await.is_err());
    let list = d.gate.member_list(d.id(CLINICIAN)).unwrap();
    assert_eq!((list.family.enrolments.len(), list.family.dismissals.len()), (2, 1));
}

#[tokio::test]
async fn a_hospitals_successor_writes_in_its_stead_and_nothing_is_indexed_anew() {
    let (mut d, owner) = prepared().await;
    let token = d.token("code", b"x");
    let entries = || vec![entry(token, false)];
    d.push(NORTH, d.batch(&owner, "labs", 9, &[(4, entries())])).await.unwrap();
    d.grant(owner.id(), vec![owner.grant(&d.public(CLINICIAN), "labs", START)]).await.unwrap();
    let (key, delta) = d.master.enrol(&mut rand::rng());
    let (identity, role, status) = (identity(67), Role::Provider, Status::Active);
    let succeeds = Some(d.id(NORTH));
    d.parties.push(Party { identity, key, delta, role, parent: None, status, counts_from: None, succeeds });
    d.version += 1;
    assert!(d.send_roster().await.is_err(), "whom it succeeds still is served");
    d.parties[NORTH].status = Status::Revoked;
    d.send_roster().await.unwrap();
    let new = d.parties.len() - 1;
    d.push(new, d.batch(&owner, "labs", 10, &[(5, entries())])).await.unwrap();
    assert_eq!(d.found(CLINICIAN, has(token, false)).await, [4, 5], "one scope, before and after");
    assert_eq!(d.gate.members().unwrap().hospitals().len(), 2);
    assert!(d.push(NORTH, d.batch(&owner, "labs", 11, &[(6, vec![])])).await.is_err());
}

#[tokio::test]
async fn budgets_bound_what_is_asked_in_a_day() {
    let (mut d, owner) = prepared().await;
    d.grant(owner.id(), vec![owner.grant(&d.public(CLINICIAN), "labs", START)]).await.unwrap();
    d.budgets = vec![
        Budget { member: None, tokens: 100, ranges: 10, entries: 2 },
        Budget { member: Some(d.id(CLINICIAN)), tokens: 5, ranges: 0, entries: 0 },
    ];
    d.version += 1;
    d.send_roster().await.unwrap();
    let two = InnerClause::Or(vec![has([1; 32], false), has([2; 32], true)]);
    d.search(CLINICIAN, two.clone()).await.unwrap();
    d.search(CLINICIAN, two.clone()).await.unwrap();
    let over = |member, what, allowed, used, needed| Err(BudgetRefusal { member, what, allowed, used, needed }.into());
    assert_eq!(d.search(CLINICIAN, two.clone()).await, over(d.id(CLINICIAN), "tokens searched for", 5, 4, 2));
    let range = InnerClause::Order { merged: true, field: [1; 16], bits: 8, lo: 0, hi: 1 };
    assert_eq!(d.search(CLINICIAN, range.clone()).await, over(d.id(CLINICIAN), "ranges searched for", 0, 0, 1));
    assert_eq!(d.found(CLINICIAN, InnerClause::All).await, [1, 3], "what takes no token is not concerned");
    d.search(OTHER, two.clone()).await.unwrap();
    d.search(OTHER, range).await.unwrap();
    let entries = |n: u8| (0..n).map(|k| entry([k; 32], false)).collect::<Vec<_>>();
    assert!(d.push(WARD, d.batch(&owner, "labs", 20, &[(8, entries(4))])).await.is_err(), "a batch of guesses");
    let alarms = d.gate_audit().into_iter().filter(|e| e.kind == AuditKind::Alarm).count();
    assert_eq!(alarms, 3, "three refusals");
    d.advance(24 * 3_600_000);
    d.search(CLINICIAN, two).await.unwrap();
}

#[tokio::test]
async fn a_restart_gives_nobody_a_new_budget() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("gate.redb");
    let mut d = Domain::over(RedbStore::open(&path).unwrap());
    d.budgets = vec![Budget { member: None, tokens: 5, ranges: 0, entries: 0 }];
    d.send_roster().await.unwrap();
    let three = InnerClause::Or((0..3).map(|n| has([n; 32], false)).collect());
    d.search(CLINICIAN, three.clone()).await.unwrap();
    drop(d);
    let d = Domain::over(RedbStore::open(&path).unwrap());
    let member = d.id(CLINICIAN);
    let over = BudgetRefusal { member, what: "tokens searched for", allowed: 5, used: 3, needed: 3 };
    assert_eq!(d.search(CLINICIAN, three).await, Err(over.into()));
}

#[tokio::test]
async fn who_may_only_count_is_told_rounded_counts_and_nothing_of_few() {
    let (mut d, owner) = prepared().await;
    d.parties[OTHER].counts_from = Some(3);
    d.version += 1;
    d.send_roster().await.unwrap();
    let other = d.public(OTHER);
    d.grant(owner.id(), vec![owner.grant(&other, "labs", START)]).await.unwrap();
    assert_eq!(d.search(OTHER, InnerClause::All).await, Err(CallerRefusal::CountsOnly(d.id(OTHER)).into()));
    let count = || d.gate.count(d.id(OTHER), CountRequest { clause: InnerClause::All, purpose: "treatment".into() });
    let counted = count().await.unwrap();
    assert_eq!((counted.owners, counted.records, counted.step), (None, None, 3), "one patient is too few");
    for n in 0..4_u8 {
        let owner = Owner::new(100 + n);
        d.admit(&owner, NORTH).await;
        let records: Vec<_> = (0..2).map(|k| (100 + 10 * n + k, vec![])).collect();
        d.push(NORTH, d.batch(&owner, "labs", 30 + u64::from(n), &records)).await.unwrap();
        if n < 3 {
            d.grant(owner.id(), vec![owner.grant(&other, "labs", START)]).await.unwrap();
        }
    }
    let counted = count().await.unwrap();
    assert_eq!(
        (counted.owners, counted.records),
        (Some(3), Some(6)),
        "of 4 granted patients with 8 records; the fifth did not"
    );
    assert!(d.cloud.withdrawn.lock().unwrap().is_empty());
    let exact = d.gate.count(d.id(CLINICIAN), CountRequest { clause: InnerClause::All, purpose: "treatment".into() });
    assert_eq!(exact.await.unwrap().records, None, "nothing is granted to the clinician");
}

impl Domain {
    fn gate_audit(&self) -> Vec<sealdex_gate::store::AuditEntry> {
        self.gate.audit_trail().unwrap()
    }
}
