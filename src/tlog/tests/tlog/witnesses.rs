//! The answers of a witness, what its storage must do, and two requests at once.

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{fs, io, thread};

use proptest::prelude::*;
use sealdex_crypto::log::{Tree, empty_root, leaf_hash};
use sealdex_tlog::checkpoint::Checkpoint;
use sealdex_tlog::note::{LogKey, MAX_NOTE_BYTES, Note, NoteError};
use sealdex_tlog::witness::{
    AddCheckpoint, FollowError, MAX_PROOF_LINES, MAX_REQUEST_BYTES, Refusal, RequestError, StorageError, TreeHead,
    Witness, WitnessFiles, WitnessMemory, WitnessStorage, parse_conflict,
};
use tempfile::TempDir;

use crate::setting::{NOW, ORIGIN, log_key, name, oracle, witness_key};

fn signed(size: u64, root: [u8; 32]) -> Note {
    log_key().sign(Checkpoint::new(ORIGIN, size, root).unwrap().to_string()).unwrap()
}

fn request(tree: &Tree, old: u64, new: u64) -> AddCheckpoint {
    let proof = if old == 0 { vec![] } else { tree.consistency_proof(old, new).unwrap() };
    AddCheckpoint::new(old, proof, signed(new, tree.root_at(new).unwrap())).unwrap()
}

fn witness<S: WitnessStorage>(storage: S) -> Witness<S> {
    let mut witness = Witness::new(witness_key(2), storage);
    witness.follow(ORIGIN, vec![log_key().verifier()]).unwrap();
    witness
}

/// A witness that has cosigned so many entries of the tree.
fn at(tree: &Tree, size: u64) -> Witness<WitnessMemory> {
    let witness = witness(WitnessMemory::new());
    witness.cosign(&request(tree, 0, size), NOW).unwrap();
    witness
}

#[test]
fn a_witness_follows_a_log() {
    let tree = oracle(300);
    let witness = witness(WitnessMemory::new());
    let mut old = 0;
    for (i, new) in [0, 0, 1, 1, 5, 256, 300].into_iter().enumerate() {
        let request = request(&tree, old, new);
        let line = witness.add_checkpoint(&request.to_bytes(), NOW + i as u64).unwrap();
        let note = Note::parse(format!("{}{line}", request.note()).as_bytes()).unwrap();
        let verified = note.verify(&[witness.verifier()]).unwrap();
        assert_eq!(verified[0].time(), Some(NOW + i as u64));
        let head = TreeHead { size: new, root: tree.root_at(new).unwrap() };
        assert_eq!(witness.latest(ORIGIN).unwrap(), Some(head));
        old = new;
    }
}

#[test]
fn every_refusal_has_its_status_and_changes_nothing() {
    let tree = oracle(20);
    let fork: Tree = (0..20).map(|i| leaf_hash(&[i])).collect();
    let good = request(&tree, 7, 10).to_string();
    let text = |note: Note| format!("old 7\n\n{note}");
    let foreign = LogKey::from_seed(name(ORIGIN), &[9; 32]).sign(request(&tree, 7, 10).note().text()).unwrap();
    let unknown = LogKey::from_seed(name("log.example/other"), &[1; 32])
        .sign(Checkpoint::new("log.example/other", 10, [0; 32]).unwrap().to_string())
        .unwrap();
    let proof_line = good.lines().nth(1).unwrap().to_owned();
    let note = good.split_once("\n\n").unwrap().1;
    for (body, status, size) in [
        (String::new(), 400, None),
        ("old 7\n".into(), 400, None),
        (good.replacen("old 7", "old 07", 1), 400, None),
        (good.replacen("old 7", "old  7", 1), 400, None),
        (good.replacen("old 7", "old -7", 1), 400, None),
        (good.replacen("old 7", "old 7 ", 1), 400, None),
        (good.replacen("old 7", "Old 7", 1), 400, None),
        (good.replacen("old 7", "old 9223372036854775808", 1), 400, None),
        (good.replacen("old 7\n", "", 1), 400, None),
        (good.replacen("old 7\n", "old 7\r\n", 1), 400, None),
        (good.replacen(&proof_line, &proof_line[1..], 1), 400, None),
        (good.replacen(&proof_line, &format!(" {proof_line}"), 1), 400, None),
        (format!("old 7\n{}\n{note}", format!("{proof_line}\n").repeat(MAX_PROOF_LINES + 1)), 400, None),
        (good.trim_end().into(), 400, None),
        (text(log_key().sign("no checkpoint\n").unwrap()), 400, None),
        (request(&tree, 7, 7).to_string().replacen("old 7", "old 8", 1), 400, None),
        (text(unknown), 404, None),
        (text(foreign), 403, None),
        (good.replacen("\n10\n", "\n11\n", 1), 403, None),
        (request(&tree, 6, 10).to_string(), 409, Some(7)),
        (request(&tree, 0, 10).to_string(), 409, Some(7)),
        (request(&tree, 8, 10).to_string(), 409, Some(7)),
        (request(&fork, 7, 7).to_string(), 409, Some(7)),
        (request(&fork, 7, 10).to_string(), 422, None),
        (good.replacen(&format!("{proof_line}\n"), "", 1), 422, None),
        (good.replacen(&proof_line, &format!("{proof_line}\n{proof_line}"), 1), 422, None),
        (request(&tree, 7, 7).to_string().replacen("old 7\n", &format!("old 7\n{proof_line}\n"), 1), 422, None),
    ] {
        let witness = at(&tree, 7);
        let refusal = witness.add_checkpoint(body.as_bytes(), NOW).expect_err(&body);
        assert_eq!(refusal.status(), status, "{refusal}: {body}");
        assert_eq!(parse_conflict(refusal.body().as_bytes()), size, "{refusal}");
        assert!(!refusal.body().contains('—') && refusal.body().ends_with('\n'));
        assert_eq!(witness.latest(ORIGIN).unwrap().unwrap().size, 7);
        witness.add_checkpoint(good.as_bytes(), NOW).unwrap();
    }
}

/// The cases of FiloSottile/torchwood, `internal/witness/witness_test.go`, `TestZeroSize`.
#[test]
fn empty_trees_are_cosigned_as_elsewhere() {
    let (empty, leaf) = (empty_root(), leaf_hash(b"leaf"));
    for (known, old, new, root, proof, status) in [
        (None, 0, 0, empty, vec![], 200),
        (None, 0, 0, leaf, vec![], 422),
        (None, 0, 0, [0; 32], vec![], 422),
        (None, 0, 0, empty, vec![leaf], 422),
        (None, 0, 1, leaf, vec![], 200),
        (None, 0, 1, leaf, vec![leaf], 422),
        (Some(1), 0, 1, leaf, vec![leaf], 409),
        (Some(1), 1, 0, empty, vec![], 400),
        (Some(0), 0, 0, empty, vec![], 200),
        (Some(0), 0, 0, leaf, vec![], 422),
        (Some(0), 0, 1, leaf, vec![], 200),
    ] {
        let witness = witness(WitnessMemory::new());
        if let Some(size) = known {
            let root = if size == 0 { empty } else { leaf };
            witness.cosign(&AddCheckpoint::new(0, vec![], signed(size, root)).unwrap(), NOW).unwrap();
        }
        let before = witness.latest(ORIGIN).unwrap();
        let answer = witness.cosign(&AddCheckpoint::new(old, proof, signed(new, root)).unwrap(), NOW);
        assert_eq!(answer.as_ref().map_or_else(Refusal::status, |_| 200), status, "{known:?} {old} {new}");
        let after = if status == 200 { Some(TreeHead { size: new, root }) } else { before };
        assert_eq!(witness.latest(ORIGIN).unwrap(), after);
    }
}

#[test]
fn a_clock_that_is_not_set_moves_nothing() {
    let tree = oracle(10);
    let witness = at(&tree, 5);
    let refusal = witness.cosign(&request(&tree, 5, 10), 0).unwrap_err();
    assert_eq!((refusal.status(), refusal), (500, Refusal::Time(NoteError::Time { seconds: 0 })));
    assert_eq!(witness.latest(ORIGIN).unwrap().unwrap().size, 5);
}

#[test]
fn logs_are_followed_by_log_keys_only() {
    let mut witness = witness(WitnessMemory::new());
    assert_eq!(witness.follow("a", vec![]), Err(FollowError::Keys));
    assert_eq!(witness.follow("a", vec![witness_key(3).verifier()]), Err(FollowError::Keys));
    assert!(matches!(witness.follow("a\nb", vec![log_key().verifier()]), Err(FollowError::Origin(_))));
    // Two keys, as while one is replaced: either one is enough, a wrong one is too much.
    let other = LogKey::from_seed(name(ORIGIN), &[9; 32]);
    witness.follow(ORIGIN, vec![other.verifier(), log_key().verifier()]).unwrap();
    let tree = oracle(2);
    witness.cosign(&request(&tree, 0, 1), NOW).unwrap();
    let text = request(&tree, 1, 2).note().text().to_owned();
    let both = log_key().sign(text.clone()).unwrap();
    let wrong = other.sign("other\n").unwrap().signatures()[0].clone();
    let mut note = both.clone();
    note.add(wrong).unwrap();
    let proof = tree.consistency_proof(1, 2).unwrap();
    let refusal = witness.cosign(&AddCheckpoint::new(1, proof.clone(), note).unwrap(), NOW).unwrap_err();
    assert_eq!(refusal.status(), 403);
    let note = other.sign(text).unwrap();
    witness.cosign(&AddCheckpoint::new(1, proof, note).unwrap(), NOW).unwrap();
}

/// Runs a check on both storages.
fn each(check: impl Fn(&dyn WitnessStorage)) {
    check(&WitnessMemory::new());
    let folder = TempDir::new().unwrap();
    check(&WitnessFiles::open(folder.path().join("witness")).unwrap());
}

#[test]
fn storage_changes_only_what_was_expected() {
    each(|storage| {
        let head = |size: u64| TreeHead { size, root: [size as u8; 32] };
        let origins = ["a", "b/../c", "..", "/", "é \\ \u{7f}", &"x".repeat(255)];
        for origin in origins {
            assert_eq!(storage.latest(origin).unwrap(), None);
            assert!(!storage.compare_and_set(origin, Some(&head(0)), &head(1)).unwrap());
            assert!(storage.compare_and_set(origin, None, &head(1)).unwrap());
            assert!(!storage.compare_and_set(origin, None, &head(2)).unwrap());
            assert!(!storage.compare_and_set(origin, Some(&head(2)), &head(3)).unwrap());
            let other_root = TreeHead { size: 1, root: [9; 32] };
            assert!(!storage.compare_and_set(origin, Some(&other_root), &head(3)).unwrap());
            assert!(storage.compare_and_set(origin, Some(&head(1)), &head(1)).unwrap());
            assert_eq!(storage.latest(origin).unwrap(), Some(head(1)));
        }
        for origin in origins {
            assert!(storage.compare_and_set(origin, Some(&head(1)), &head(2)).unwrap());
        }
    });
}

#[test]
fn of_many_at_once_one_wins() {
    each_shared(|storage| {
        let head = |size: u64| TreeHead { size, root: [0; 32] };
        for round in 0..20 {
            let (barrier, won) = (Barrier::new(4), AtomicUsize::new(0));
            let expected = storage.latest("a").unwrap();
            thread::scope(|scope| {
                for i in 0..4 {
                    let (barrier, won, expected) = (&barrier, &won, &expected);
                    scope.spawn(move || {
                        barrier.wait();
                        let new = head(round * 10 + i + 1);
                        won.fetch_add(
                            storage.compare_and_set("a", expected.as_ref(), &new).unwrap().into(),
                            Ordering::SeqCst,
                        );
                    });
                }
            });
            assert_eq!(won.into_inner(), 1);
        }
    });
}

fn each_shared(check: impl Fn(&(dyn WitnessStorage + Sync))) {
    check(&WitnessMemory::new());
    let folder = TempDir::new().unwrap();
    check(&WitnessFiles::open(folder.path()).unwrap());
}

/// Storage on which another request gets in between the check and the change.
struct Overtaken<'a>(&'a WitnessMemory, TreeHead);

impl WitnessStorage for Overtaken<'_> {
    fn latest(&self, origin: &str) -> Result<Option<TreeHead>, StorageError> {
        self.0.latest(origin)
    }

    fn compare_and_set(&self, origin: &str, expected: Option<&TreeHead>, new: &TreeHead) -> Result<bool, StorageError> {
        assert!(self.0.compare_and_set(origin, expected, &self.1).unwrap());
        self.0.compare_and_set(origin, expected, new)
    }
}

#[test]
fn an_overtaken_request_does_not_roll_back() {
    let tree = oracle(10);
    let memory = WitnessMemory::new();
    let ahead = TreeHead { size: 10, root: tree.root() };
    let witness = witness(Overtaken(&memory, ahead.clone()));
    assert_eq!(witness.cosign(&request(&tree, 0, 5), NOW), Err(Refusal::Conflict { size: 10 }));
    assert_eq!(memory.latest(ORIGIN).unwrap(), Some(ahead));
}

#[test]
fn files_keep_what_was_cosigned_and_never_forget_it() {
    let folder = TempDir::new().unwrap();
    let tree = oracle(10);
    let open = || witness(WitnessFiles::open(folder.path()).unwrap());
    open().cosign(&request(&tree, 0, 5), NOW).unwrap();
    let first = open();
    assert_eq!(WitnessFiles::open(folder.path()).err().unwrap().kind, io::ErrorKind::WouldBlock);
    assert_eq!(first.cosign(&request(&tree, 0, 6), NOW), Err(Refusal::Conflict { size: 5 }));
    drop(first);
    let heads = || fs::read_dir(folder.path()).unwrap().map(|f| f.unwrap().path()).filter(|p| p.extension().is_some());
    let file = heads().next().unwrap();
    assert_eq!(heads().count(), 1);
    // A write that was cut off before it got its name is not read.
    fs::write(file.with_extension("head.tmp"), "half").unwrap();
    open().cosign(&request(&tree, 5, 6), NOW).unwrap();
    let content = fs::read_to_string(&file).unwrap();
    for damaged in ["", "half", &content[1..], &content.replace(ORIGIN, "log.example/two")] {
        fs::write(&file, damaged).unwrap();
        let refusal = open().cosign(&request(&tree, 6, 7), NOW).unwrap_err();
        assert!(matches!(&refusal, Refusal::Storage(e) if e.kind == io::ErrorKind::InvalidData), "{refusal:?}");
        assert_eq!((refusal.status(), refusal.body().as_str()), (500, "the witness's storage failed\n"));
    }
    fs::write(&file, content).unwrap();
    open().cosign(&request(&tree, 6, 7), NOW).unwrap();
}

#[test]
fn requests_are_bounded() {
    let found = MAX_REQUEST_BYTES + 1;
    assert_eq!(AddCheckpoint::parse(&vec![b'\n'; found]), Err(RequestError::TooLong { found }));
    let long = AddCheckpoint::new(0, vec![[0; 32]; MAX_PROOF_LINES + 1], signed(1, [0; 32]));
    assert_eq!(long, Err(RequestError::ProofLength));
    // The largest of everything fits.
    let proof = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n".repeat(MAX_PROOF_LINES);
    assert!(format!("old {}\n{proof}\n", i64::MAX).len() + MAX_NOTE_BYTES <= MAX_REQUEST_BYTES);
    for body in ["", "5", "05\n", "5\n\n", " 5\n", "-5\n", "9223372036854775808\n"] {
        assert_eq!(parse_conflict(body.as_bytes()), None, "{body:?}");
    }
}

proptest! {
    #[test]
    fn a_request_goes_through_its_bytes(old: u32, proof in prop::collection::vec(any::<[u8; 32]>(), 0..=63)) {
        let request = AddCheckpoint::new(old.into(), proof, signed(7, [7; 32])).unwrap();
        prop_assert_eq!(AddCheckpoint::parse(&request.to_bytes()), Ok(request));
    }

    #[test]
    fn what_is_read_as_a_request_is_written_the_same(bytes in prop::collection::vec(any::<u8>(), 0..4), at in 0_usize..300, removed in 0_usize..3) {
        let mut body = request(&oracle(9), 5, 9).to_bytes();
        let at = at.min(body.len());
        body.splice(at..(at + removed).min(body.len()), bytes);
        if let Ok(request) = AddCheckpoint::parse(&body) {
            prop_assert_eq!(request.to_bytes(), body);
        }
    }

    #[test]
    fn no_two_histories_are_cosigned(steps in prop::collection::vec((any::<bool>(), 0_u64..40, 0_u64..40), 1..30)) {
        // A log that shows either of two histories and lies about old sizes as it likes.
        let trees = [oracle(40), (0..40).map(|i| leaf_hash(&[i, 1])).collect::<Tree>()];
        let witness = witness(WitnessMemory::new());
        let mut cosigned: Vec<(usize, u64)> = Vec::new();
        for (which, a, b) in steps {
            let (old, new) = (a.min(b), a.max(b));
            if witness.cosign(&request(&trees[usize::from(which)], old, new), NOW).is_ok() && new > 0 {
                cosigned.push((which.into(), new));
            }
        }
        prop_assert!(cosigned.windows(2).all(|pair| pair[0].0 == pair[1].0 && pair[0].1 <= pair[1].1));
    }
}
