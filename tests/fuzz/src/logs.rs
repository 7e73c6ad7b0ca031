//! Transparency logs and the ledger: whatever reads is written again as it was.

use rand::{SeedableRng as _, rngs::StdRng};
use sealdex_crypto::{BatchId, Identity, IdentitySeed};
use sealdex_ledger::{
    AnswerProof, BatchStatement, LedgerView, RecordsProof, SignedAct, SignedBatch, answer, run::TermRange,
};
use sealdex_tlog::{
    checkpoint::Checkpoint,
    note::{CosignerKey, KeyName, LogKey, Note, VerifierKey, parse_signature_lines},
    policy::Policy,
    tile::{EntryBundle, HashTile, TileId},
    witness::{AddCheckpoint, parse_conflict},
};
use sealdex_wire::{
    codec,
    search::{CloudClause, CloudMatches, CloudSearch},
};

use crate::first;

/// The first byte picks what the rest is read as.
pub(crate) fn logs(data: &[u8]) {
    let (what, rest) = first(data);
    let text = std::str::from_utf8(rest).unwrap_or("");
    match what % 8 {
        0 => note(rest),
        1 => names(text),
        2 => {
            let _ = Policy::parse(text);
        }
        3 => tiles(rest),
        4 => {
            if let Ok(entry) = SignedBatch::from_entry(rest) {
                assert_eq!(entry.to_entry(), rest, "a statement has two encodings");
            }
        }
        5 => {
            if let Ok(entry) = SignedAct::from_entry(rest) {
                assert_eq!(entry.to_entry(), rest, "an act has two encodings");
            }
        }
        6 => {
            let _ = (AddCheckpoint::parse(rest), parse_conflict(rest), parse_signature_lines(rest));
        }
        _ => proofs(rest),
    }
}

fn note(bytes: &[u8]) {
    let Ok(note) = Note::parse(bytes) else { return };
    assert_eq!(note.to_bytes(), bytes, "a note has two encodings");
    if let Ok(checkpoint) = Checkpoint::parse(note.text()) {
        assert_eq!(checkpoint.to_string(), note.text(), "a checkpoint has two encodings");
    }
}

fn names(text: &str) {
    if let Ok(tile) = TileId::parse(text) {
        assert_eq!(tile.to_string(), text, "a tile has two names");
    }
    if let Ok(key) = VerifierKey::parse(text) {
        assert_eq!(key.to_string(), text, "a verifier key has two encodings");
    }
}

fn tiles(bytes: &[u8]) {
    let (width, rest) = first(bytes);
    let width = width as u16 + 1;
    if let Ok(bundle) = EntryBundle::parse(rest.to_vec(), width) {
        assert_eq!(bundle.as_bytes(), rest, "a bundle is not its bytes");
        assert_eq!(bundle.iter().count(), usize::from(width), "a bundle has another number of entries");
    }
    if let Ok(tile) = HashTile::parse(rest, width) {
        assert_eq!(tile.hashes().len(), usize::from(width), "a tile has another number of hashes");
    }
}

/// No proof shows anything of a log that has nothing.
fn proofs(bytes: &[u8]) {
    let view = LedgerView::new("d");
    if let Ok((asked, answered, proof)) = codec::from_cbor::<(CloudSearch, CloudMatches, AnswerProof)>(bytes)
        && let Ok(answer::Verdict::Complete(_)) = answer::verify(&view, 0, &asked, &answered, &proof)
    {
        assert!(answered.matches.is_empty(), "a match is proved that is in no log");
    }
    if let Ok(proofs) = codec::from_cbor::<Vec<RecordsProof>>(bytes) {
        let shown = proofs.iter().any(|p| !p.leaves.is_empty());
        let verified = answer::verify_fetched(&view, std::iter::empty(), &proofs);
        assert!(!shown || verified.is_err(), "records are proved that are in no log");
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let (mut rng, name) = (StdRng::seed_from_u64(3), || KeyName::new("log.example/1").unwrap());
    let by = Identity::from_seed(&IdentitySeed::from_bytes(&[7; 32]));
    let key = LogKey::random(name(), &mut rng);
    let witness = CosignerKey::from_seed(KeyName::new("w.example/1").unwrap(), &[1; 32]);
    let checkpoint = Checkpoint::new("log.example/1", 3, [4; 32]).unwrap();
    let note = Note::new(checkpoint.to_string(), witness.cosign(&checkpoint, 1_800_000_000).unwrap()).unwrap();
    let mut bundle = EntryBundle::new();
    [&b"one"[..], b"two"].iter().for_each(|entry| bundle.push(entry).unwrap());
    let statement = BatchStatement {
        provider: by.id(),
        batch: BatchId([1; 16]),
        number: 1,
        previous: [0; 32],
        records: 2,
        records_root: [1; 32],
        pairs: 3,
        run_root: [2; 32],
        ended: 0,
        ended_hash: [3; 32],
    };
    let (log, seen) = (key.verifier().to_string(), witness.verifier().to_string());
    let asked = CloudSearch { clause: CloudClause::All, sort: None, after: None, limit: 1, prove: None };
    let found = CloudMatches { providers: Vec::new(), matches: Vec::new(), next: None, proof: None };
    let proof = |unproved| {
        let ranges = vec![TermRange::one([5; 16])];
        AnswerProof { size: 1, unproved, ranges, runs: Vec::new(), records: Vec::new(), terms: Vec::new() }
    };
    let tagged = |what: u8, bytes: Vec<u8>| [vec![what], bytes].concat();
    vec![
        tagged(0, note.to_bytes()),
        tagged(1, b"tile/0/x001/234.p/5".to_vec()),
        tagged(1, log.clone().into_bytes()),
        tagged(2, format!("log {log}\nwitness w {seen}\nquorum w\n").into_bytes()),
        tagged(3, [vec![1], bundle.as_bytes().to_vec()].concat()),
        tagged(3, [vec![1], vec![9; 64]].concat()),
        tagged(4, statement.sign("d", &by, &mut rng).to_entry()),
        tagged(6, format!("old 0\n\n{}", String::from_utf8(note.to_bytes()).unwrap()).into_bytes()),
        tagged(6, b"7\n".to_vec()),
        tagged(7, codec::to_cbor(&(&asked, &found, &proof(None)))),
        tagged(7, codec::to_cbor(&(&asked, &found, &proof(Some("it is too wide".into()))))),
        tagged(7, codec::to_cbor(&Vec::<RecordsProof>::new())),
    ]
}
