//! Which checkpoints satisfy a policy.

use proptest::prelude::*;
use sealdex_crypto::log::LogError;
use sealdex_tlog::checkpoint::Checkpoint;
use sealdex_tlog::note::{Algorithm, CosignerKey, LogKey, Note, NoteError, VerifierKey};
use sealdex_tlog::policy::{Policy, PolicyError};

use crate::setting::{NOW, ORIGIN, entry, log_key, name, oracle, witness_key};

fn checkpoint(size: u64) -> Checkpoint {
    Checkpoint::new(ORIGIN, size, oracle(size).root()).unwrap()
}

fn note(size: u64, witnesses: &[u8]) -> Note {
    let mut note = log_key().sign(checkpoint(size).to_string()).unwrap();
    for number in witnesses {
        note.add(witness_key(*number).cosign(&checkpoint(size), NOW + u64::from(*number)).unwrap()).unwrap();
    }
    note
}

fn policy(quorum: usize) -> Policy {
    let witnesses = [2, 3, 4].map(|number| witness_key(number).verifier());
    Policy::new(log_key().verifier(), witnesses.into(), quorum).unwrap()
}

#[test]
fn a_quorum_is_needed_and_the_log_too() {
    let verified = policy(2).verify(&note(5, &[4, 2])).unwrap();
    assert_eq!(*verified.checkpoint(), checkpoint(5));
    let witnesses: Vec<_> = verified.cosignatures().iter().map(|c| (c.witness.to_string(), c.time)).collect();
    assert_eq!(witnesses, [("witness.example/w2".into(), NOW + 2), ("witness.example/w4".into(), NOW + 4)]);
    // Two say that they saw nothing larger at the earlier of their times.
    assert_eq!(verified.time(), Some(NOW + 2));
    assert_eq!(policy(1).verify(&note(5, &[4, 2])).unwrap().time(), Some(NOW + 4));
    assert_eq!(policy(0).verify(&note(5, &[4, 2])).unwrap().time(), None);
    assert!(policy(0).verify(&note(5, &[])).is_ok());
    assert_eq!(policy(3).verify(&note(5, &[4, 2])), Err(PolicyError::NoQuorum { found: 2, quorum: 3 }));
    // Witnesses the policy does not name count for nothing.
    assert_eq!(policy(2).verify(&note(5, &[2, 5, 6])), Err(PolicyError::NoQuorum { found: 1, quorum: 2 }));
    let without_log = Note::new(note(5, &[]).text(), note(5, &[2]).signatures()[1].clone()).unwrap();
    assert_eq!(policy(1).verify(&without_log), Err(PolicyError::NotSigned));
    let foreign = LogKey::from_seed(name(ORIGIN), &[9; 32]).sign(note(5, &[]).text()).unwrap();
    assert_eq!(policy(0).verify(&foreign), Err(PolicyError::NotSigned));
}

#[test]
fn one_witness_counts_once() {
    let twice = format!("{}{}\n", note(5, &[2]), witness_key(2).cosign(&checkpoint(5), NOW + 9).unwrap());
    assert_eq!(policy(2).verify_bytes(twice.as_bytes()), Err(PolicyError::NoQuorum { found: 1, quorum: 2 }));
    assert_eq!(policy(1).verify_bytes(twice.as_bytes()).unwrap().time(), Some(NOW + 9));
}

#[test]
fn a_cosignature_of_another_checkpoint_spoils_it() {
    let mut mixed = note(5, &[2, 3]);
    mixed.add(witness_key(4).cosign(&checkpoint(4), NOW).unwrap()).unwrap();
    let w4 = witness_key(4).verifier();
    let bad = NoteError::BadSignature { name: w4.name().clone(), id: w4.id() };
    assert_eq!(policy(2).verify(&mixed), Err(PolicyError::Note(bad)));
}

#[test]
fn a_log_signature_is_no_cosignature() {
    // The witness's key put to the log's use, over the same text.
    let as_log = LogKey::from_seed(name("witness.example/w2"), &[2; 32]).sign(note(5, &[]).text()).unwrap();
    let mut note = note(5, &[]);
    note.add(as_log.signatures()[0].clone()).unwrap();
    assert_eq!(policy(1).verify(&note), Err(PolicyError::NoQuorum { found: 0, quorum: 1 }));
}

#[test]
fn other_logs_and_other_texts_are_refused() {
    let other = log_key().sign(checkpoint(5).to_string().replace("/one", "/two")).unwrap();
    let error = PolicyError::Origin { found: "log.example/two".into(), expected: ORIGIN.into() };
    assert_eq!(policy(0).verify(&other), Err(error));
    assert!(policy(0).with_origin("log.example/two").unwrap().verify(&other).is_ok());
    assert!(policy(0).with_origin("").is_err());
    let text = log_key().sign("no checkpoint\n").unwrap();
    assert!(matches!(policy(0).verify(&text), Err(PolicyError::Checkpoint(_))));
    let empty = Checkpoint::new(ORIGIN, 0, [0; 32]).unwrap();
    assert_eq!(policy(0).verify(&log_key().sign(empty.to_string()).unwrap()), Err(PolicyError::EmptyRoot));
    assert!(policy(0).verify(&note(0, &[])).is_ok());
}

#[test]
fn policies_that_mean_less_than_they_say_are_refused() {
    let (log, w2, w3) = (log_key().verifier(), witness_key(2).verifier(), witness_key(3).verifier());
    let policy = |log: &VerifierKey, witnesses: &[&VerifierKey], quorum| {
        Policy::new(log.clone(), witnesses.iter().map(|w| (*w).clone()).collect(), quorum)
    };
    assert_eq!(policy(&log, &[&w2, &w3], 3), Err(PolicyError::Quorum { quorum: 3, witnesses: 2 }));
    assert_eq!(policy(&log, &[&w2, &w2], 2), Err(PolicyError::SameKey { name: w2.name().clone() }));
    let alias = CosignerKey::from_seed(name("alias"), &[2; 32]).verifier();
    assert_eq!(policy(&log, &[&w2, &alias], 2), Err(PolicyError::SameKey { name: name("alias") }));
    let log_as_witness = VerifierKey::new(name("w"), Algorithm::CosignatureV1, log.public_bytes()).unwrap();
    assert_eq!(policy(&log, &[&log_as_witness], 1), Err(PolicyError::SameKey { name: name("w") }));
    assert_eq!(policy(&w2, &[&w3], 1), Err(PolicyError::LogKey { name: w2.name().clone() }));
    assert_eq!(policy(&log, &[&log], 1), Err(PolicyError::WitnessKey { name: log.name().clone() }));
}

#[test]
fn what_is_verified_proves_entries_and_growth() {
    let tree = oracle(9);
    let verify = |size| policy(1).verify(&note(size, &[2])).unwrap();
    let (empty, old, new) = (verify(0), verify(4), verify(9));
    let inclusion = tree.inclusion_proof(3, 9).unwrap();
    new.verify_entry(&entry(3), 3, &inclusion).unwrap();
    assert_eq!(new.verify_entry(&entry(4), 3, &inclusion), Err(LogError::RootMismatch));
    assert!(new.verify_entry(&entry(3), 4, &inclusion).is_err() && old.verify_entry(&entry(3), 3, &inclusion).is_err());
    let consistency = tree.consistency_proof(4, 9).unwrap();
    new.verify_extends(&old, &consistency).unwrap();
    assert!(old.verify_extends(&new, &consistency).is_err() && new.verify_extends(&old, &[]).is_err());
    new.verify_extends(&empty, &[]).unwrap();
    assert_eq!(
        new.verify_extends(&empty, &consistency),
        Err(LogError::ProofLength { expected: 0, found: consistency.len() })
    );
    let two = checkpoint(4).to_string().replace("/one", "/two");
    let other = policy(0).with_origin("log.example/two").unwrap().verify(&log_key().sign(two).unwrap()).unwrap();
    assert_eq!(new.verify_extends(&other, &consistency), Err(LogError::RootMismatch));
}

proptest! {
    #[test]
    fn a_quorum_is_that_many_known_witnesses(present in prop::collection::btree_set(2_u8..10, 0..8), quorum in 0_usize..=3) {
        let present: Vec<_> = present.into_iter().collect();
        let found = present.iter().filter(|number| **number <= 4).count();
        let verified = policy(quorum).verify(&note(3, &present));
        if found >= quorum {
            prop_assert_eq!(verified.unwrap().cosignatures().len(), found);
        } else {
            prop_assert_eq!(verified, Err(PolicyError::NoQuorum { found, quorum }));
        }
    }
}
