//! Whole flows over real HTTP: who may read what, for what, when; who may write; who is refused.
#![allow(clippy::unwrap_used)] // a test stops where it cannot go on

use std::collections::BTreeSet;

use sealdex_client::{AskError, OwnerEntry, owner};
use sealdex_fhir::{Figures, Hit, Suite};
use sealdex_member::MemberKeys;
use sealdex_net::clock::now_s;
use sealdex_tests::{World, servers::Place, world::DOMAIN};
use sealdex_wire::{ProblemType, Signed, roster::Role};

async fn world(readers: &[&str]) -> (tempfile::TempDir, World) {
    let home = tempfile::tempdir().unwrap();
    let mut world = World::generated(home.path(), 6, 3, readers, Place::Process).await;
    world.enrol_patients().await;
    (home, world)
}

async fn ask(world: &World, reader: &str, question: &str) -> Vec<Hit> {
    let doc = Suite::parse(question, None).unwrap().queries.remove(0);
    world.session(reader).ask(&doc).await.unwrap().hits
}

fn all(kind: &str) -> String {
    format!(r#"{{"resource":"{kind}"}}"#)
}

/// Sections, purposes and times are what the patient said, each by itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_grant_opens_its_section_for_its_purpose_in_its_time() {
    let (_home, world) = world(&["ana", "ben", "cleo"]).await;
    world.push_all().await;
    world.grant("ana", &["observations".into()], "research").await;
    let question = |purpose: &str| format!(r#"{{"resource":"Observation","purpose":"{purpose}"}}"#);
    let there =
        world.hospitals.iter().flat_map(|h| world.records(h)).filter(|r| r.resource_type == "Observation").count();
    assert_eq!(ask(&world, "ana", &question("research")).await.len(), there);
    assert_eq!(ask(&world, "ana", &question("treatment")).await.len(), 0, "another purpose");
    assert_eq!(
        ask(&world, "ana", r#"{"resource":"Condition","purpose":"research"}"#).await.len(),
        0,
        "another section"
    );
    assert_eq!(ask(&world, "ben", &question("research")).await.len(), 0, "another reader");

    let owners: Vec<owner::Owner> = world.owners.values().map(OwnerEntry::owner).collect();
    let keys = &world.readers["cleo"];
    for (from, until) in [(0, now_s() - 5), (now_s() + 3600, now_s() + 7200)] {
        let request = |_| {
            let plain = world.request(keys.identity.public(), "observations", "any");
            sealdex_client::GrantRequest { not_before: from, not_after: until, ..plain }
        };
        let grants: Vec<_> = owners.iter().map(|o| (o, request(()))).collect();
        // A gate may refuse a grant that is over already; it must not serve it.
        let _ = owner::grant_all(&world.gate(keys), &grants).await;
        assert_eq!(ask(&world, "cleo", &question("research")).await.len(), 0, "before or after its time");
    }
}

/// One resource at several hospitals is one answer; what belongs to no patient needs no grant.
#[tokio::test(flavor = "multi_thread")]
async fn answers_are_merged_and_the_directory_is_open_to_members() {
    let (_home, world) = world(&["ana"]).await;
    world.push_all().await;
    let organisations = ask(&world, "ana", &all("Organization")).await;
    assert!(!organisations.is_empty(), "readable by every member");
    assert_eq!(ask(&world, "ana", &all("Patient")).await.len(), 0, "no patient has granted anything");
    world.grant_everything("ana").await;
    let patients = ask(&world, "ana", &all("Patient")).await;
    let expected: Vec<(Vec<Hit>, Figures)> = Suite::parse(&all("Patient"), None)
        .unwrap()
        .queries
        .iter()
        .map(|q| world.corpus().ask(q, &world.schema).unwrap())
        .collect();
    let listed = |hits: &[Hit]| hits.iter().map(|h| (h.identity.clone(), h.sources.clone())).collect::<BTreeSet<_>>();
    assert_eq!(listed(&patients), listed(&expected[0].0));
    assert!(patients.iter().any(|p| p.sources.len() > 1), "someone is known to several hospitals");
}

/// A provider the patient did not admit, or whose profile was forged, has its records rejected.
#[tokio::test(flavor = "multi_thread")]
async fn only_admitted_providers_write_and_only_owners_speak_for_their_keys() {
    let (_home, mut world) = world(&["ana"]).await;
    let (patient, entry) = world.owners.iter_mut().next().unwrap();
    let patient = patient.clone();
    entry.writers.clear();
    let profile = entry.next_profile(DOMAIN);
    owner::publish(&world.gate(&world.hospitals[0].keys), vec![profile]).await.unwrap();
    let mut rejected = 0;
    for h in &world.hospitals {
        let report = world.push(h).await.unwrap();
        rejected += report.rejected;
        assert!(
            report.first_rejects.iter().all(|r| r.reason.contains("has not authorised this provider")),
            "{:?}",
            report.first_rejects
        );
    }
    let theirs = |r: &sealdex_fhir::Record| {
        world.schema.owner(&r.resource_type, &r.id, &r.json) == Ok(sealdex_schema::Owner::Patient(patient.clone()))
    };
    let expected = world.hospitals.iter().flat_map(|h| world.records(h)).filter(theirs).count();
    assert_eq!(rejected, expected as u64);

    // Keys signed by someone else are nobody's keys: the gate refuses them.
    let (mine, other) = (world.owners[&patient].owner(), OwnerEntry::random().owner());
    let genuine = mine.profile(DOMAIN, 9, &[("observations".into(), 0)], &[]).peek().unwrap();
    let forged = Signed::sign(&genuine, &other.identity(), &mut rand::rng());
    let refusal = owner::publish(&world.gate(&world.hospitals[0].keys), vec![forged]).await.unwrap_err();
    assert!(
        matches!(
            refusal.problem_type(),
            Some(ProblemType::BadDocument | ProblemType::Forbidden | ProblemType::Malformed)
        ),
        "{refusal}"
    );
}

/// Strangers and revoked members are refused, at once and with a reason.
#[tokio::test(flavor = "multi_thread")]
async fn strangers_and_revoked_members_are_refused() {
    let (_home, mut world) = world(&["ana", "ben"]).await;
    world.grant_everything("ana").await;
    let question = Suite::parse(&all("Observation"), None).unwrap().queries.remove(0);
    let refused = |e: AskError| match e {
        AskError::Call(call) => call.problem_type(),
        other => panic!("{other}"),
    };
    // Keys of another ceremony for the same domain name.
    let (mut elsewhere, _) =
        sealdex_client::Ceremony::found(DOMAIN, "http://127.0.0.1:1", "http://127.0.0.1:1").unwrap();
    let stranger = MemberKeys::new(elsewhere.enrol("eve", Role::User).unwrap().0);
    let session = sealdex_client::Session::new(&world.http, &stranger, world.trusted()).unwrap();
    assert_eq!(refused(session.ask(&question).await.unwrap_err()), Some(ProblemType::Unauthenticated));

    assert!(world.session("ana").ask(&question).await.is_ok());
    let session = world.session("ana");
    world.ceremony.revoke("ana").unwrap();
    world.announce(Vec::new()).await;
    assert_eq!(refused(session.ask(&question).await.unwrap_err()), Some(ProblemType::Forbidden));
    assert!(world.session("ben").ask(&question).await.is_ok(), "others are served");
}
