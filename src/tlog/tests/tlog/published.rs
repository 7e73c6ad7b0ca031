//! Known answers for notes, cosignatures and checkpoints, from what others have published.

use sealdex_tlog::checkpoint::Checkpoint;
use sealdex_tlog::note::{Algorithm, KeyId, LogKey, Note, NoteError, VerifierKey, parse_signature_lines};
use sealdex_tlog::policy::{Policy, PolicyError};

/// golang.org/x/mod, `sumdb/note/note_test.go`.
pub(crate) const PETER_PRIVATE: &str = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
pub(crate) const PETER: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
pub(crate) const ENOCH: &str = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop";
pub(crate) const TEXT: &str =
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
pub(crate) const PETER_LINE: &str =
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
pub(crate) const ENOCH_LINE: &str =
    "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n";

pub(crate) const SUMDB: &str = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";

/// C2SP tlog-witness, "add-checkpoint".
pub(crate) const SOFA: &str = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\
    — example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n\
    — example.com/behind-the-sofa opLqBQsREYCgu6xQkYQwJr9fo45a62DN9EdmHXnZdXNqlcVGlCum2Wks+49/V6267UEjw6QUXTS5Rovnzv++qbSzm9Q=\n";

pub(crate) fn key(text: &str) -> VerifierKey {
    VerifierKey::parse(text).unwrap()
}

#[test]
fn the_go_note_is_signed_byte_for_byte() {
    let signer = LogKey::parse(PETER_PRIVATE).unwrap();
    assert_eq!(signer.sign(TEXT).unwrap().to_string(), format!("{TEXT}\n{PETER_LINE}"));
    assert_eq!(*signer.to_text(), PETER_PRIVATE);
    assert_eq!(signer.verifier().to_string(), PETER);
}

#[test]
fn the_go_note_of_two_keys_is_verified() {
    let note = Note::parse(format!("{TEXT}\n{PETER_LINE}{ENOCH_LINE}").as_bytes()).unwrap();
    let names = |keys: &[VerifierKey]| -> Vec<String> {
        note.verify(keys).unwrap().iter().map(|s| s.name().to_string()).collect()
    };
    assert_eq!(names(&[key(PETER)]), ["PeterNeumann"]);
    assert_eq!(names(&[key(ENOCH), key(PETER)]), ["PeterNeumann", "EnochRoot"]);
    assert_eq!(note.verify(&[]), Err(NoteError::Unverified));
    // A key given twice is one key; a line given twice counts as often as it is there.
    assert_eq!(names(&[key(ENOCH), key(PETER), key(ENOCH)]), ["PeterNeumann", "EnochRoot"]);
}

#[test]
fn what_go_refuses_is_refused() {
    let peter = LogKey::parse(PETER_PRIVATE).unwrap().verifier();
    for text in [
        TEXT.to_owned(),
        format!("{TEXT}\n"),
        format!("{TEXT}\n{}", PETER_LINE.trim_end()),
        format!("\u{1}{TEXT}\n{PETER_LINE}"),
        format!("{TEXT}\n— Bad Name {}", &PETER_LINE["— PeterNeumann ".len()..]),
        format!("{TEXT}\n{PETER_LINE}Unexpected line.\n"),
        format!("{TEXT}\n{}", PETER_LINE.repeat(101)),
    ] {
        assert!(Note::parse(text.as_bytes()).is_err(), "{text:?}");
    }
    assert_eq!(
        Note::parse(&[b"\xff", TEXT.as_bytes(), b"\n", PETER_LINE.as_bytes()].concat()),
        Err(NoteError::NotUtf8)
    );
    let (start, end) = PETER_LINE.split_at(62);
    let note = Note::parse(format!("{TEXT}\n{start}ABCD{end}").as_bytes()).unwrap();
    let bad = NoteError::BadSignature { name: peter.name().clone(), id: KeyId(0xc74f_20a3) };
    assert_eq!(note.verify(std::slice::from_ref(&peter)), Err(bad));
    let other_name = format!("{TEXT}\n{}", PETER_LINE.replace("PeterNeumann", "CarmenSandiego"));
    assert_eq!(Note::parse(other_name.as_bytes()).unwrap().verify(&[peter]), Err(NoteError::Unverified));
}

#[test]
fn every_mangling_of_the_go_keys_is_refused() {
    for (whole, parses) in [
        (PETER, (|t| VerifierKey::parse(t).is_ok()) as fn(&str) -> bool),
        (PETER_PRIVATE, |t| LogKey::parse(t).is_ok()),
    ] {
        assert!(parses(whole));
        for start in 0..whole.len() {
            for end in start + 1..=whole.len() {
                assert!((start, end) == (0, whole.len()) || !parses(&whole[start..end]));
            }
        }
        for i in 0..whole.len() {
            let mut bytes = whole.as_bytes().to_vec();
            bytes[i] += 1;
            assert!(!parses(std::str::from_utf8(&bytes).unwrap()), "byte {i}");
        }
    }
    let wrong_length = "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==";
    assert_eq!(VerifierKey::parse(wrong_length), Err(NoteError::KeyText));
    let unknown_type = "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    let expected = "0x01 or 0x04";
    assert_eq!(VerifierKey::parse(unknown_type), Err(NoteError::Algorithm { found: 0x65, expected }));
}

/// Answers of sum.golang.org as public documents quote them; that of 35,225,469 entries is in
/// FiloSottile/litetlog, `cmd/litewitness/testdata/sumdb.txt`. The key is in the Go command.
#[test]
fn checkpoints_of_the_go_checksum_database_are_verified() {
    let policy = Policy::new(key(SUMDB), vec![], 0).unwrap().with_origin("go.sum database tree").unwrap();
    for (size, root, signature) in [
        (
            445_646,
            "jEFFy4AtYgBBNTSZTiNnQrgQqMbcH0mfO2oP2FxR9VU=",
            "Az3grkGho/PqvUmEuTv6+r2g303hUhu60FOD6vLpm19mBwH9UjquWY2OKxNmZ55z0gHrp24AgPC3Q5WO7uZrVdvdCQU=",
        ),
        (
            3_784_599,
            "7uvxIZ67TZygcq/AehTD8iHYt81Ih+Zl2Y7vXZbfszQ=",
            "Az3grn972wXskjQrsZhVGc93fTU2uOsmSTiId1Wn1lxDCup5z4ggl1/4gaUqOkMa6cMbYvjB7hn7yemNr7Zqanol/go=",
        ),
        (
            15_368_405,
            "/g9am3I6YWNKaZX/jkne1fqd9zEyjss+JXyPXG0WfkY=",
            "Az3grqJGUaSGukG9p8nI2vKgiFn7qGHxn0W+mrwyI6Gz3F0t1J3LzmWk/p96Ybf295EjwdSwlzgijq5WA9d1Ded7owM=",
        ),
        (
            35_225_469,
            "vt5T6GaLCXvyHFl9VUvvItR43XZxfLgftEcTyO3eJCQ=",
            "Az3grpukl5AXaVfYkLiDGORx/DN2nlcS5kZHR5uYOBV2KA2HgXpD+gu9HHONebHLAyaKbbTM75QTtPydhKCExixSfwQ=",
        ),
        (
            59_045_944,
            "LE6Lx+GNVyuFBv/jKcFIiPkG1WC7DHwG0clpfN/TBlA=",
            "Az3grk9ctaTv+CITXOwxCEHU3APAw5X7Ck14+fvFlh0GCktwX15+XPzy//GgL2G50ZgY05e8eXFTWcvW6pN5tozsLQQ=",
        ),
    ] {
        let note = format!("go.sum database tree\n{size}\n{root}\n\n— sum.golang.org {signature}\n");
        let verified = policy.verify_bytes(note.as_bytes()).unwrap_or_else(|e| panic!("{size}: {e}"));
        assert_eq!(verified.checkpoint().size(), size);
        assert_eq!(verified.checkpoint().to_string(), note[..note.find("\n\n").unwrap() + 1]);
        let larger = note.replacen(&size.to_string(), &(size + 1).to_string(), 1);
        assert!(matches!(
            policy.verify_bytes(larger.as_bytes()),
            Err(PolicyError::Note(NoteError::BadSignature { .. }))
        ));
    }
}

/// A checkpoint as that log served it, with real cosignatures. The first signature is of another
/// type (RFC 6962) under the log's own name.
const ARCHE: &str = "arche2025h1.staging.ct.transparency.dev\n1432088532\nU7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=\n\n\
    — arche2025h1.staging.ct.transparency.dev zTM8sQAAAZ5W0WdjBAMARjBEAiBjW5IQf9pvsYLfQFX6hoGREPMHbdQ3urbllzalApkptQIgIpwtEroeW2BXaHAI4kJXFbon5Ch9MNL5zRNZ55lvGt0=\n\
    — arche2025h1.staging.ct.transparency.dev ui8GwCF1+kWqZrxGdhj4aX3gcw7XUlXQQabg/27lefwhUkzbC3NygNI75MdhL1bfTW9g8Ei59RA23oHP7Ry1k3ZFWwQ=\n\
    — transparency.dev/DEV:witness-little-garden 2AQqhwAAAABqEiEgzgFIqqhbUoDwjMWE6UP8nd8/KYTzwZ2rhIgcqoXHAwVkjZr4AscylP3v7sEodkRAErumC2q44vdgJY096st5BQ==\n\
    — witness1.smartit.nu/witness1 pIyCDwAAAABqEiEghIp82KWebrw7/oHQwlTAm3g2RKS4+eebl8eO0WH+/iEcxZ75W3u5hNI7TOQtmJbqmNWVuE0tgh0XwzdZsDsUAQ==\n\
    — remora.n621.de 2net5wAAAABqEiEgPlfF3V06o0Y+fHM+J5J9s27wgxxcOVSpZ/2g/KSiXCg9DEZI+aVCIobWX9sXTynk5XeU/zZ0WBxtqB0DrAWfBw==\n\
    — witness.stagemole.eu Z/euoAAAAABqEiEgw0i+7g2ENfDAWHmtRzCfKTHSDwYDJA2NmKeGi9Y8FtEyOUvVr+AJmIY/2TUFucgKi7lI7cUiOvKFYe/TmN9DAg==\n";
const ARCHE_KEY: &str = "arche2025h1.staging.ct.transparency.dev+ba2f06c0+AU0vHmlGCS/PdN8b2OaGmKprLI8HKM+dJ472xgFYh15f";
/// Also in transparency-dev/formats, `note/note_cosigv1_test.go`.
const REMORA_KEY: &str = "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2";

#[test]
fn a_public_witness_cosigned_a_public_log() {
    let remora = key(REMORA_KEY);
    assert_eq!(remora.algorithm(), Algorithm::CosignatureV1);
    assert_eq!(remora.to_string(), REMORA_KEY);
    let policy = Policy::new(key(ARCHE_KEY), vec![remora.clone()], 1).unwrap();
    let verified = policy.verify_bytes(ARCHE.as_bytes()).unwrap();
    assert_eq!(verified.time(), Some(0x6a12_2120));
    assert_eq!(verified.checkpoint().size(), 1_432_088_532);
    // The witness's key under the other type has another id, so its line is of an unknown key.
    let as_log = VerifierKey::new(remora.name().clone(), Algorithm::Ed25519, remora.public_bytes()).unwrap();
    assert_eq!(Note::parse(ARCHE.as_bytes()).unwrap().verify(&[as_log]), Err(NoteError::Unverified));
    // Every character of the text and of the two lines counts.
    for (i, _) in ARCHE.match_indices(|c: char| c.is_ascii_alphanumeric()) {
        let mut bytes = ARCHE.as_bytes().to_vec();
        bytes[i] = if bytes[i] == b'1' { b'2' } else { b'1' };
        let result = policy.verify_bytes(&bytes);
        let line = ARCHE[..i].matches('—').count();
        assert!(result.is_err() || [1, 3, 4, 6].contains(&line), "byte {i} of line {line}");
    }
}

#[test]
fn the_examples_of_the_specifications_are_read() {
    let poem = "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned è subito sera.\n\n\
        — quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n";
    let note = Note::parse(poem.as_bytes()).unwrap();
    assert!(note.text().ends_with("\n\ned è subito sera.\n"));
    assert_eq!(note.signatures()[0].id(), KeyId(0x367b_a04b));
    assert_eq!(note.signatures()[0].bytes().len(), 64);
    assert_eq!(note.to_string(), poem);

    let note = Note::parse(SOFA.as_bytes()).unwrap();
    let checkpoint = Checkpoint::parse(note.text()).unwrap();
    assert_eq!((checkpoint.origin(), checkpoint.size()), ("example.com/behind-the-sofa", 20_852_163));
    assert_eq!(checkpoint.to_string(), note.text());

    // tlog-cosignature, "Format": a time of 1679315147 before 64 bytes.
    let line = "— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n";
    let lines = parse_signature_lines(line.as_bytes()).unwrap();
    assert_eq!(lines[0].bytes()[..8], 1_679_315_147_u64.to_be_bytes());
    assert_eq!(lines[0].bytes().len(), 72);
}
