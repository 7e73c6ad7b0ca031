//! Notes and keys: what is written is read, and nothing else is.

use proptest::prelude::*;
use sealdex_tlog::checkpoint::Checkpoint;
use sealdex_tlog::note::{
    Algorithm, CosignerKey, KeyName, LogKey, MAX_NOTE_BYTES, MAX_SIGNATURES, Note, NoteError, VerifierKey,
    parse_signature_lines,
};

use crate::setting::{NOW, ORIGIN, log_key, name, witness_key};

fn checkpoint() -> Checkpoint {
    Checkpoint::new(ORIGIN, 7, [9; 32]).unwrap()
}

/// A note of the log and two witnesses.
fn note() -> Note {
    let mut note = log_key().sign(checkpoint().to_string()).unwrap();
    for number in [2, 3] {
        note.add(witness_key(number).cosign(&checkpoint(), NOW).unwrap()).unwrap();
    }
    note
}

#[test]
fn malformed_notes_are_refused() {
    let line = note().to_string().lines().nth(4).unwrap().to_owned();
    assert!(line.starts_with("— log.example/one "));
    let (prefix, encoded) = line.rsplit_once(' ').unwrap();
    let body = "text\n";
    assert!(Note::parse(format!("{body}\n{line}\n").as_bytes()).is_ok());
    let signature_line = Err(NoteError::SignatureLine { line: 1 });
    for (note, expected) in [
        (String::new(), Err(NoteError::NoSignatures)),
        ("\n\n".into(), Err(NoteError::NoSignatures)),
        (body.into(), Err(NoteError::NoSignatures)),
        (format!("{body}{line}\n"), Err(NoteError::NoSignatures)),
        (format!("{body}\n{line}"), Err(NoteError::NoSignatures)),
        (format!("{body}\r\n\r\n{line}\n"), Err(NoteError::ControlCharacter)),
        (format!("a\tb\n\n{line}\n"), Err(NoteError::ControlCharacter)),
        (format!("a\0b\n\n{line}\n"), Err(NoteError::ControlCharacter)),
        (format!("{body}\n{line}\n\n"), Err(NoteError::NoSignatures)),
        (format!("{body}\n{line}\nmore\n"), Err(NoteError::SignatureLine { line: 2 })),
        (format!("{body}\n{}\n", line.replace('—', "-")), signature_line.clone()),
        (format!("{body}\n{}\n", line.replace('—', "\u{2013}")), signature_line.clone()),
        (format!("{body}\n{}\n", line.replace("— ", "—  ")), signature_line.clone()),
        (format!("{body}\n{}\n", line.replace("— ", "—")), signature_line.clone()),
        (format!("{body}\n {line}\n"), signature_line.clone()),
        (format!("{body}\n{line} \n"), signature_line.clone()),
        (format!("{body}\n{prefix}  {encoded}\n"), signature_line.clone()),
        (format!("{body}\n{prefix}\u{a0}x {encoded}\n"), signature_line.clone()),
        (format!("{body}\n{prefix}+x {encoded}\n"), signature_line.clone()),
        (format!("{body}\n— {encoded}\n"), signature_line.clone()),
        (format!("{body}\n{prefix} {}\n", encoded.trim_end_matches('=')), signature_line.clone()),
        (format!("{body}\n{prefix} {encoded}=\n"), signature_line.clone()),
        // The alphabet for URLs.
        (format!("{body}\n{prefix} AAAAAA-_\n"), signature_line.clone()),
        (format!("{body}\n{prefix} \n"), signature_line.clone()),
        (format!("{body}\n{prefix} AAAA\n"), signature_line.clone()),
        // Four bytes are an id without a signature.
        (format!("{body}\n{prefix} AAAAAA==\n"), signature_line.clone()),
        // Bits that no byte holds: a second text for the same signature.
        (format!("{body}\n{prefix} AAAAAAB=\n"), signature_line),
    ] {
        let expected: Result<Note, NoteError> = expected;
        assert_eq!(Note::parse(note.as_bytes()), expected, "{note:?}");
    }
    let five = format!("{body}\n{prefix} AAAAAAA=\n");
    assert_eq!(Note::parse(five.as_bytes()).unwrap().signatures()[0].bytes(), [0]);
}

#[test]
fn notes_are_bounded() {
    let line = note().to_string().lines().nth(4).unwrap().to_owned();
    let of = |count: usize| format!("text\n\n{}", format!("{line}\n").repeat(count));
    assert_eq!(Note::parse(of(MAX_SIGNATURES).as_bytes()).unwrap().signatures().len(), MAX_SIGNATURES);
    assert_eq!(Note::parse(of(MAX_SIGNATURES + 1).as_bytes()), Err(NoteError::TooManySignatures));
    let long = vec![b'a'; MAX_NOTE_BYTES + 1];
    assert_eq!(Note::parse(&long), Err(NoteError::TooLong { found: MAX_NOTE_BYTES + 1 }));
    assert_eq!(parse_signature_lines(&long), Err(NoteError::TooLong { found: MAX_NOTE_BYTES + 1 }));
    let mut full = note();
    for i in 0..=MAX_SIGNATURES {
        let key = CosignerKey::from_seed(name(&format!("w{i}")), &[i as u8; 32]);
        let added = full.add(key.cosign(&checkpoint(), NOW).unwrap());
        assert_eq!(added.is_ok(), i + 4 <= MAX_SIGNATURES, "{i}");
    }
    // One that is there can always be renewed.
    full.add(witness_key(2).cosign(&checkpoint(), NOW + 1).unwrap()).unwrap();
    assert_eq!(full.signatures().len(), MAX_SIGNATURES);
}

#[test]
fn texts_that_no_note_can_have_are_not_signed() {
    assert_eq!(log_key().sign("text"), Err(NoteError::UnfinishedText));
    assert_eq!(log_key().sign(""), Err(NoteError::UnfinishedText));
    assert_eq!(log_key().sign("a\rb\n"), Err(NoteError::ControlCharacter));
    assert!(log_key().sign("a\n\nb\n\n").is_ok());
}

#[test]
fn names_that_no_key_can_have_are_refused() {
    for bad in ["", " ", "a b", "a+b", "+", "a\u{a0}b", "a\u{2003}b", "a\u{2028}", "a\nb", "a\0", "\u{85}"] {
        assert_eq!(KeyName::new(bad), Err(NoteError::KeyName), "{bad:?}");
    }
    for good in ["a", "example.com/log42", "é", "—", "a=b", "\u{7f}"] {
        assert_eq!(KeyName::new(good).unwrap().as_str(), good);
    }
}

#[test]
fn keys_go_through_their_text_and_keep_to_their_role() {
    let (log, witness) = (log_key(), witness_key(2));
    assert_eq!(LogKey::parse(&log.to_text()).unwrap().verifier(), log.verifier());
    assert_eq!(CosignerKey::parse(&witness.to_text()).unwrap().verifier(), witness.verifier());
    for verifier in [log.verifier(), witness.verifier()] {
        assert_eq!(VerifierKey::parse(&verifier.to_string()).unwrap(), verifier);
    }
    let found = |result: Result<(), NoteError>| matches!(result, Err(NoteError::Algorithm { .. }));
    assert!(found(LogKey::parse(&witness.to_text()).map(|_| ())));
    assert!(found(CosignerKey::parse(&log.to_text()).map(|_| ())));
    // The same secret and name under two roles are two keys.
    let same = CosignerKey::from_seed(name(ORIGIN), &[1; 32]).verifier();
    assert_eq!(same.public_bytes(), log.verifier().public_bytes());
    assert_ne!(same.id(), log.verifier().id());
    // A public key is not read as a private one, nor the other way round.
    assert!(LogKey::parse(&log.verifier().to_string()).is_err());
    assert!(VerifierKey::parse(&log.to_text()).is_err());
}

#[test]
fn weak_public_keys_are_refused() {
    let neutral = std::array::from_fn(|i| u8::from(i == 0));
    // RFC 8032's field has 2^255 - 19 elements; y = 2 is no point of the curve.
    let no_point = std::array::from_fn(|i| if i == 0 { 2 } else { 0 });
    for bytes in [[0; 32], neutral, no_point] {
        let key = VerifierKey::new(name("a"), Algorithm::Ed25519, &bytes);
        assert_eq!(key, Err(NoteError::PublicKey), "{bytes:?}");
    }
}

#[test]
fn a_cosignature_has_a_time_within_bounds() {
    let key = witness_key(2);
    for time in [0, 1 << 63, u64::MAX] {
        assert_eq!(key.cosign(&checkpoint(), time), Err(NoteError::Time { seconds: time }));
    }
    for time in [1, NOW, i64::MAX as u64] {
        let signature = key.cosign(&checkpoint(), time).unwrap();
        assert_eq!(key.verifier().verify(&checkpoint().to_string(), &signature).unwrap().time(), Some(time));
    }
}

#[test]
fn a_signature_is_only_the_key_s_it_names() {
    let text = "text\n";
    let signature = |key: &LogKey| key.sign(text).unwrap().signatures()[0].clone();
    let alias = LogKey::from_seed(name("log.example/alias"), &[1; 32]);
    assert!(log_key().verifier().verify(text, &signature(&log_key())).is_ok());
    // The same key under another name has signed the same text with the same bytes.
    assert_eq!(signature(&alias).bytes(), signature(&log_key()).bytes());
    assert!(matches!(log_key().verifier().verify(text, &signature(&alias)), Err(NoteError::BadSignature { .. })));
}

/// Two keys of one name whose ids, four bytes each, happen to be the same.
fn keys_of_one_id() -> [LogKey; 2] {
    // Found by trying seeds in their order.
    let (first, second) = COLLISION;
    [first, second].map(|number| LogKey::from_seed(name("a"), &seed(number)))
}

const COLLISION: (u32, u32) = (69_101, 114_672);

fn seed(number: u32) -> [u8; 32] {
    let mut seed = [0; 32];
    seed[..4].copy_from_slice(&number.to_be_bytes());
    seed
}

#[test]
fn keys_that_a_line_cannot_tell_apart_are_refused() {
    let [first, second] = keys_of_one_id();
    let keys = [first.verifier(), second.verifier()];
    assert_eq!((keys[0].name(), keys[0].id()), (keys[1].name(), keys[1].id()));
    assert_ne!(keys[0], keys[1]);
    let note = first.sign("text\n").unwrap();
    let ambiguous = NoteError::AmbiguousKey { name: name("a"), id: keys[0].id() };
    assert_eq!(note.verify(&keys), Err(ambiguous));
    assert!(note.verify(&keys[..1]).is_ok());
    assert!(matches!(note.verify(&keys[1..]), Err(NoteError::BadSignature { .. })));
}

#[test]
#[ignore = "how COLLISION was found"]
fn find_keys_of_one_id() {
    let mut seen = std::collections::HashMap::new();
    for number in 0.. {
        let id = LogKey::from_seed(name("a"), &seed(number)).verifier().id();
        if let Some(first) = seen.insert(id, number) {
            println!("({first}, {number})");
            return;
        }
    }
}

#[test]
fn a_wrong_signature_of_a_known_key_spoils_the_note() {
    let mut spoiled = note();
    let other = Checkpoint::new(ORIGIN, 8, [9; 32]).unwrap();
    spoiled.add(witness_key(3).cosign(&other, NOW).unwrap()).unwrap();
    let keys = [log_key().verifier(), witness_key(2).verifier(), witness_key(3).verifier()];
    let w3 = &keys[2];
    assert_eq!(spoiled.verify(&keys), Err(NoteError::BadSignature { name: w3.name().clone(), id: w3.id() }));
    assert_eq!(spoiled.verify(&keys[..2]).unwrap().len(), 2);
    // The right line in front of it does not help.
    let right = note().to_string();
    let wrong = spoiled.to_string().lines().last().unwrap().to_owned();
    let both = Note::parse(format!("{right}{wrong}\n").as_bytes()).unwrap();
    assert!(matches!(both.verify(&keys), Err(NoteError::BadSignature { .. })));
}

proptest! {
    #[test]
    fn a_note_goes_through_its_bytes(text in "(\\PC{0,20}\n){1,6}", witnesses in 0_u8..4) {
        let mut note = log_key().sign(text.clone()).unwrap();
        for i in 0..witnesses {
            note.add(witness_key(2 + i).cosign(&checkpoint(), NOW).unwrap()).unwrap();
        }
        let read = Note::parse(&note.to_bytes()).unwrap();
        prop_assert_eq!(read.text(), &text);
        prop_assert_eq!(read.verify(&[log_key().verifier()]).unwrap().len(), 1);
        prop_assert_eq!(read, note);
    }

    #[test]
    fn what_is_read_as_a_note_is_written_the_same(bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0_usize..400) {
        let mut note = note().to_bytes();
        let at = at.min(note.len());
        note.splice(at..(at + bytes.len() / 8).min(note.len()), bytes.into_iter().take(3));
        if let Ok(read) = Note::parse(&note) {
            prop_assert_eq!(read.to_bytes(), note);
        }
    }

    #[test]
    fn any_bit_of_text_or_signature_counts(at in 0_usize..500, bit in 0_u8..8) {
        let whole = note();
        let keys = [log_key().verifier(), witness_key(2).verifier(), witness_key(3).verifier()];
        let mut bytes = whole.to_bytes();
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        if let Ok(changed) = Note::parse(&bytes) {
            let verified = changed.verify(&keys).map_or(0, |verified| verified.len());
            prop_assert!(verified < 3, "byte {at} bit {bit}");
        }
    }

    #[test]
    fn keys_of_any_bytes_never_panic(text in "\\PC{0,80}", seed: [u8; 32]) {
        let _ = (VerifierKey::parse(&text), LogKey::parse(&text), CosignerKey::parse(&text));
        let _ = VerifierKey::new(name("a"), Algorithm::Ed25519, &seed);
        let key = LogKey::from_seed(name("a"), &seed);
        prop_assert_eq!(VerifierKey::parse(&key.verifier().to_string()).unwrap(), key.verifier());
    }
}
