//! Every verdict as stated, every planted fault found.

use sealdex_derive::{
    Scalars,
    scenario::{LATE, Scenario},
    sdx1::{self, CarerEnds, Fault},
};

const ABILITIES: [Scalars; 2] = [Scalars::Group, Scalars::Roots];

#[test]
fn every_verdict_is_as_stated_with_and_without_roots() {
    let mut counted = 0;
    for s in sdx1::all(Fault::None) {
        assert!(s.faults().is_empty(), "{}: {:?}", s.name(), s.faults());
        for scalars in ABILITIES {
            let verdicts = s.verdicts(scalars);
            let wrong: Vec<_> = verdicts.iter().filter(|v| v.expected != v.found).collect();
            assert!(wrong.is_empty(), "{} ({scalars:?}): {wrong:#?}", s.name());
            assert!(verdicts.iter().any(|v| v.found) && verdicts.iter().any(|v| !v.found), "{}", s.name());
            counted += verdicts.len();
        }
    }
    assert!(counted > 1500, "{counted} verdicts: a scenario is missing");
}

/// More parties, or a party that kept everything instead of deleting, never derive less.
#[test]
fn more_parties_derive_no_less() {
    for s in sdx1::all(Fault::None) {
        let verdicts = s.verdicts(Scalars::Roots);
        let within = |a: &[String], b: &[String]| {
            a.iter().all(|p| b.contains(p) || p.strip_suffix(LATE).is_some_and(|p| b.iter().any(|q| q == p)))
        };
        for (a, b) in verdicts.iter().flat_map(|a| verdicts.iter().map(move |b| (a, b))) {
            if a.goal == b.goal && within(&a.who, &b.who) {
                assert!(!a.found || b.found, "{}: {:?} derive {}, {:?} do not", s.name(), a.who, a.goal, b.who);
            }
        }
    }
}

/// Not derivable in the suite as specified, derivable with the fault.
#[track_caller]
fn found(fault: Fault, scenario: impl Fn(Fault) -> Scenario, who: &[&str], goal: &str) {
    let (sound, broken) = (scenario(Fault::None), scenario(fault));
    assert!(broken.faults().is_empty(), "{fault:?}: {:?}", broken.faults());
    for scalars in ABILITIES {
        assert!(!sound.can(who, goal, scalars), "{who:?} derive {goal} without any fault");
        assert!(broken.can(who, goal, scalars), "{fault:?} is not found: {who:?}, {goal}");
    }
}

/// The fault costs no key that these scenarios ask for.
#[track_caller]
fn harmless(fault: Fault) {
    for (sound, varied) in sdx1::all(Fault::None).iter().zip(sdx1::all(fault)) {
        assert!(varied.faults().is_empty(), "{:?}", varied.faults());
        let (sound, varied) = (sound.verdicts(Scalars::Roots), varied.verdicts(Scalars::Roots));
        let changed: Vec<_> = sound.iter().zip(&varied).filter(|(a, b)| a != b).collect();
        assert!(changed.is_empty(), "{fault:?}: {changed:#?}");
    }
}

#[test]
fn keys_given_to_the_cloud() {
    found(Fault::TagKeyToCloud, sdx1::domain, &["cloud"], "patient");
    found(Fault::TermKeyToCloud, sdx1::domain, &["cloud", "hospital"], "guess term");
    found(Fault::BridgesToCloud, sdx1::domain, &["cloud", "hospital"], "master");
}

#[test]
fn a_scalar_that_does_not_hang_on_the_readers_secret() {
    found(Fault::RekeyWithoutReader, sdx1::grant, &["gate"], "a epoch 0");
    found(Fault::RekeyWithoutReader, sdx1::domain, &["gate"], "labs 0");
    found(Fault::RekeySecretSent, sdx1::grant, &["gate"], "K first");
}

#[test]
fn one_x_for_two_readers() {
    // With `B`, `x·B` and `A` hashed in, nothing is lost; with `d` a hash of `x`, a revoked reader
    // uses the scalar of another's grant.
    harmless(Fault::SameX);
    found(Fault::RekeyOfXAloneReused, sdx1::grant, &["gate@late", "user"], "K second");
    let fresh = sdx1::grant(Fault::RekeyOfXAlone);
    assert!(fresh.faults().is_empty() && !fresh.can(&["gate@late", "user"], "K second", Scalars::Roots));
}

#[test]
fn section_secrets_that_forget_what_they_are_for() {
    found(Fault::NoEpoch, sdx1::grant, &["gate", "user"], "K epoch 1");
    found(Fault::NoEpoch, sdx1::group, &["gate", "leaver"], "a epoch 1");
    found(Fault::NoSection, sdx1::domain, &["gate", "user"], "notes 0");
}

#[test]
fn capsule_keys_that_forget_what_they_are_made_of() {
    // `S` is `a·E`, so it determines `E`: what hashing `E` in gives is no secrecy of `K`.
    harmless(Fault::CapsuleWithoutE);
    found(Fault::CapsuleWithoutShared, sdx1::grant, &["gate"], "K first");
    found(Fault::CapsuleStatic, sdx1::grant, &["user"], "K second");
}

#[test]
fn bridges_that_give_keys_away() {
    found(Fault::BridgeIsKey, sdx1::domain, &["gate"], "k of writer");
    found(Fault::KeyIsMaster, sdx1::domain, &["member"], "master");
    found(Fault::ChildIsParent, sdx1::enrolment, &["child"], "k parent");
}

#[test]
fn groups_that_rotate_badly() {
    let leaver = ["leaver", "gate@late"];
    found(Fault::NewGroupSeedHashed, sdx1::group, &["leaver"], "b new");
    found(Fault::NewGroupSeedHashed, sdx1::group, &leaver, "a epoch 1");
    found(Fault::NewGroupSeedUnderOld, sdx1::group, &leaver, "K after");
    found(Fault::FactorPublished, sdx1::group, &["leaver"], "d new");
    found(Fault::FactorPublished, sdx1::group, &leaver, "a epoch 0");
    found(Fault::FactorKept, sdx1::group, &leaver, "a epoch 0");
}

#[test]
fn a_threshold_of_one() {
    found(Fault::ThresholdOne, sdx1::threshold, &["user", "node3"], "a epoch 0");
    found(Fault::ThresholdOne, sdx1::threshold, &["halfway"], "K first");
}

#[test]
fn a_carers_factor_kept() {
    let revoked = |fault| sdx1::carer(fault, CarerEnds::SubGrantOnly);
    found(Fault::FactorKept, revoked, &["gate@late", "user2"], "a epoch 0");
}
