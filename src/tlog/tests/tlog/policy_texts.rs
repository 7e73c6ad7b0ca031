//! Policies as text files.

use proptest::prelude::*;
use sealdex_tlog::checkpoint::Checkpoint;
use sealdex_tlog::note::{CosignerKey, Note, VerifierKey};
use sealdex_tlog::policy::{MAX_POLICY_BYTES, Policy, PolicyError, PolicyTextError};

use crate::setting::{NOW, ORIGIN, log_key, name, witness_key};

fn w(number: u8) -> VerifierKey {
    witness_key(number).verifier()
}

fn note(witnesses: &[u8]) -> Note {
    let checkpoint = Checkpoint::new(ORIGIN, 3, [3; 32]).unwrap();
    let mut note = log_key().sign(checkpoint.to_string()).unwrap();
    for number in witnesses {
        note.add(witness_key(*number).cosign(&checkpoint, NOW + u64::from(*number)).unwrap()).unwrap();
    }
    note
}

/// The example of C2SP tlog-policy, "Example policy": X are witnesses 2 to 4, Y 5 to 7.
fn example() -> String {
    let log = log_key().verifier();
    let witness = |name: &str, number| format!("witness {name} {}\n", w(number));
    let x = [("X1", 2), ("X2", 3), ("X3", 4)].map(|(name, number)| witness(name, number)).concat();
    let y = [("Y1", 5), ("Y2", 6), ("Y3", 7)].map(|(name, number)| witness(name, number)).concat();
    format!(
        "log {log}\n\n{x}group X-witnesses 2 X1 X2 X3\n\n{y}group Y-witnesses any Y1 Y2 Y3\n\n\
         group X-and-Y all X-witnesses Y-witnesses\nquorum X-and-Y\n"
    )
}

#[test]
fn the_example_of_the_specification_means_what_it_says() {
    let policy = Policy::parse(&example()).unwrap();
    assert_eq!((policy.origin(), policy.quorum(), policy.witnesses().len()), (ORIGIN, 3, 6));
    for present in 0_u32..64 {
        let witnesses: Vec<u8> = (0..6).filter(|i| present >> i & 1 == 1).map(|i| i + 2).collect();
        let (x, y) = ((present & 7).count_ones(), (present >> 3).count_ones());
        let verified = policy.verify(&note(&witnesses));
        if x >= 2 && y >= 1 {
            assert_eq!(verified.unwrap().cosignatures().len(), witnesses.len());
        } else {
            assert_eq!(verified, Err(PolicyError::NoQuorum { found: witnesses.len(), quorum: 3 }));
        }
    }
    // Of X the two latest, of Y the latest; the earlier of both.
    assert_eq!(policy.verify(&note(&[2, 3, 4, 5, 7])).unwrap().time(), Some(NOW + 3));
}

#[test]
fn lines_may_be_spaced_and_commented_and_have_urls() {
    let (log, two) = (log_key().verifier(), w(2));
    let text = format!(
        "# a comment\n\t # another\n \t\n  quorum\tnone \nwitness é\t {two}  https://w.example/\nlog {log} https://log.example/\n"
    );
    let policy = Policy::parse(&text).unwrap();
    assert_eq!((policy.log_url(), policy.quorum()), (Some("https://log.example/"), 0));
    assert_eq!(policy.witnesses()[0].url.as_deref(), Some("https://w.example/"));
    assert_eq!(Policy::parse(&policy.to_string()), Ok(policy));
    let one = Policy::parse(&format!("log {log}\nwitness none-such {two}\nquorum none-such\n")).unwrap();
    assert_eq!(one.verify(&note(&[2])).unwrap().time(), Some(NOW + 2));
    assert!(one.verify(&note(&[3])).is_err());
}

#[test]
fn the_cheapest_way_to_a_quorum_is_what_it_takes() {
    let (log, a, b, c) = (log_key().verifier(), w(2), w(3), w(4));
    let text =
        format!("log {log}\nwitness a {a}\nwitness b {b}\nwitness c {c}\ngroup ab all a b\ngroup g 1 ab c\nquorum g\n");
    let policy = Policy::parse(&text).unwrap();
    assert_eq!(policy.quorum(), 1);
    assert_eq!(policy.verify(&note(&[2])), Err(PolicyError::NoQuorum { found: 1, quorum: 1 }));
    assert!(policy.verify(&note(&[4])).is_ok() && policy.verify(&note(&[2, 3])).is_ok());
}

#[test]
fn other_texts_are_refused() {
    use PolicyTextError::{ControlCharacter, Line, Member, NameTaken, Once, Threshold, Unfinished};
    let (log, a, b) = (log_key().verifier(), w(2), w(3));
    let start = format!("log {log}\nwitness a {a}\nwitness b {b}\n");
    let member = |line, name: &str| Member { line, name: name.into() };
    for (rest, error) in [
        (String::new(), Once),
        ("quorum a".into(), Unfinished),
        ("quorum a\nquorum a\n".into(), Once),
        ("quorum none\nquorum none\n".into(), Once),
        (format!("log {log}\nquorum a\n"), Once),
        ("quorum c\n".into(), member(4, "c")),
        ("quorum A\n".into(), member(4, "A")),
        ("quorum\n".into(), Line { line: 4 }),
        ("quorum a b\n".into(), Line { line: 4 }),
        ("Quorum a\n".into(), Line { line: 4 }),
        ("quorum g\ngroup g any a\n".into(), member(4, "g")),
        ("group g any g\nquorum g\n".into(), member(4, "g")),
        ("group g any none\nquorum g\n".into(), member(4, "none")),
        ("group g any a a\nquorum g\n".into(), member(4, "a")),
        ("group g any a\ngroup h any a\nquorum h\n".into(), member(5, "a")),
        ("group g any a\nquorum a\n".into(), member(5, "a")),
        ("group g any\nquorum g\n".into(), Threshold { line: 4 }),
        ("group g all\nquorum g\n".into(), Threshold { line: 4 }),
        ("group g 0 a b\nquorum g\n".into(), Threshold { line: 4 }),
        ("group g 3 a b\nquorum g\n".into(), Threshold { line: 4 }),
        ("group g 01 a b\nquorum g\n".into(), Threshold { line: 4 }),
        ("group g -1 a b\nquorum g\n".into(), Threshold { line: 4 }),
        ("group g most a b\nquorum g\n".into(), Threshold { line: 4 }),
        ("group g\nquorum a\n".into(), Line { line: 4 }),
        ("group a any b\nquorum a\n".into(), NameTaken { line: 4 }),
        ("group none any b\nquorum a\n".into(), NameTaken { line: 4 }),
        (format!("witness a {}\nquorum a\n", w(4)), NameTaken { line: 4 }),
        (format!("witness none {}\nquorum a\n", w(4)), NameTaken { line: 4 }),
        (format!("witness c {} https://x y\nquorum a\n", w(4)), Line { line: 4 }),
        ("witness c\nquorum a\n".into(), Line { line: 4 }),
        ("quorum a\r\n".into(), ControlCharacter { line: 4 }),
        ("# \u{7f}\nquorum a\n".into(), ControlCharacter { line: 4 }),
        (format!("witness c {a}\nquorum a\n"), PolicyError::SameKey { name: a.name().clone() }.into()),
        (format!("witness c {log}\nquorum a\n"), PolicyError::WitnessKey { name: log.name().clone() }.into()),
    ] {
        assert_eq!(Policy::parse(&format!("{start}{rest}")), Err(error), "{rest:?}");
    }
    let broken = Policy::parse(&format!("{start}witness c {}x\nquorum a\n", w(4)));
    assert!(matches!(broken, Err(PolicyTextError::Key { line: 4, .. })));
    assert_eq!(Policy::parse(&format!("witness a {a}\nquorum a\n")), Err(Once));
    let found = MAX_POLICY_BYTES + 1;
    assert_eq!(Policy::parse(&"\n".repeat(found)), Err(PolicyTextError::TooLong { found }));
    let swapped = Policy::parse(&format!("log {a}\nquorum none\n"));
    assert_eq!(swapped, Err(PolicyError::LogKey { name: a.name().clone() }.into()));
}

#[test]
fn witnesses_whose_keys_share_a_name_are_told_apart() {
    let keys = [8, 9, 10].map(|seed| CosignerKey::from_seed(name("none"), &[seed; 32]).verifier());
    let policy = Policy::new(log_key().verifier(), keys.into(), 2).unwrap();
    assert_eq!(Policy::parse(&policy.to_string()), Ok(policy));
}

proptest! {
    #[test]
    fn a_policy_goes_through_its_text(groups in prop::collection::vec((1_usize..4, any::<prop::sample::Index>()), 0..5)) {
        // Groups of what is left, each of a few.
        let mut text = format!("log {}\n", log_key().verifier());
        let mut free: Vec<String> = (2..8).map(|i| {
            text.push_str(&format!("witness w{i} {}\n", w(i)));
            format!("w{i}")
        }).collect();
        for (i, (count, threshold)) in groups.iter().enumerate() {
            let members: Vec<_> = free.drain(..(*count).min(free.len())).collect();
            text.push_str(&format!("group g{i} {} {}\n", threshold.index(members.len()) + 1, members.join(" ")));
            free.push(format!("g{i}"));
        }
        text.push_str(&format!("quorum {}\n", free.last().unwrap()));
        let policy = Policy::parse(&text).unwrap();
        prop_assert_eq!(Policy::parse(&policy.to_string()), Ok(policy));
    }

    #[test]
    fn texts_never_panic(text in "((log|witness|group|quorum|#|none|any|2|a)?[ \t]?){0,30}\n") {
        let _ = Policy::parse(&text.replace("  ", "\n"));
    }
}
