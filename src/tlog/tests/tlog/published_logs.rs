//! Known answers for trees, tiles and witnesses, from what others have published.

use sealdex_crypto::log::{leaf_hash, verify_consistency, verify_inclusion};
use sealdex_tlog::log::{Log, MemoryStorage};
use sealdex_tlog::note::{Algorithm, LogKey, Note, VerifierKey};
use sealdex_tlog::tile::{TileId, TileKind};
use sealdex_tlog::witness::{AddCheckpoint, Refusal, Witness, WitnessMemory, parse_conflict};

use crate::published::{SOFA, SUMDB, key};
use crate::setting::{NOW, hash, hex, name, witness_key};

/// transparency-dev/trillian-tessera, `testdata/build_log.sh` and `testdata/log/checkpoint.N`: a
/// log another implementation has made, whose key is published.
const TESSERA_KEY: &str = "PRIVATE+KEY+example.com/log/testdata+33d7b496+AeymY/SZAX0jZcJ8enZ5FY1Dz+wTML2yWSkK+9DSF3eg";
const TESSERA_ENTRIES: [&str; 15] = [
    "one", "two", "three", "four", "five", "six", "seven", "eit", "nain", "ten", "ileven", "twelf", "threeten",
    "fourten", "fivten",
];
const TESSERA_CHECKPOINTS: [(u64, &str, &str); 5] = [
    (
        0,
        "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
        "M9e0lhxJACzE1KoUdqKuPa+9p6R7dSW8BlEvrg/noo8FkGg6PbJoRNOcdjqjOq89wVvTA60eubCc4oufo5BvIVEgtQc=",
    ),
    (
        1,
        "0Nc2CrefWKseHj/mStd+LqC8B+NrX0btIiPt2SmN+ek=",
        "M9e0lhr9kuLxGdAtaUrhm84TQffVsLdcy808sN0a3WyniNlfcr9+bywoiIke1YYciCNjJGkCgIlQ8b16jhsmg/SChAM=",
    ),
    (
        7,
        "IrSXADBqJ7EQoUODSDKROySgNveeL6CFhik2w/+fS7U=",
        "M9e0luA5JhTRUki/BBQD0QNiH6AEJ2pdtsA5CQjqJErViuuKrN6513RCTL2640wXJv0dCed3neRGI6dMzBq9uANf2Qc=",
    ),
    (
        8,
        "bC+VwvrJbalNVjfkdI8kUgs7mJoXrqiXCE7bgnD28pY=",
        "M9e0lq1EK37dHtgv9O3UzPxisw5vwIPcJsX9ab0xt4mvVfbdUR1fbMjN6sBFYpBoBEmD4+cWhj/AVgI5MitCO5+mews=",
    ),
    (
        15,
        "rKbDipCvhuX1GZ7g5BBe8sA6BbJ7ja/1nk427v383cs=",
        "M9e0luh4jTG+UMBqOUo9/q+yAEvx1ilBEniMvjf1zfcBOhg+CKubMt53MvIt/uEWP6zdkdIQzd/fmwlM/dlPWF74ewI=",
    ),
];

#[test]
fn the_log_of_tessera_is_made_again_byte_for_byte() {
    let mut log = Log::create(MemoryStorage::new(), LogKey::parse(TESSERA_KEY).unwrap()).unwrap();
    for (size, root, signature) in TESSERA_CHECKPOINTS {
        let new = &TESSERA_ENTRIES[log.checkpoint().size() as usize..size as usize];
        let note = format!("example.com/log/testdata\n{size}\n{root}\n\n— example.com/log/testdata {signature}\n");
        assert_eq!(log.append(new).unwrap().to_string(), note);
    }
}

/// golang.org/x/mod, `sumdb/client_test.go`, `TestClientFork`: two histories, and the proof that
/// one does not extend the other. The key's short id was sought to begin with zeroes.
#[test]
fn the_fork_of_the_go_tests_is_found_again() {
    let signer = "PRIVATE+KEY+localhost.localdev/sumdb+00000c67+AXu6+oaVaOYuQOFrf1V59JK1owcFlJcHwwXHDfDGxSPk";
    let verifier = "localhost.localdev/sumdb+00000c67+AcTrnkbUA+TU4heY3hkjiSES/DSQniBqIeQ/YppAUtK6";
    assert_eq!(LogKey::parse(signer).unwrap().verifier(), key(verifier));
    let common = [
        "rsc.io/quote v1.5.2 h1:w5fcysjrx7yqtD/aO+QwRjYZOKnaM9Uh2b40tElTs3Y=\nrsc.io/quote v1.5.2/go.mod h1:LzX7hefJvL54yjefDEDHNONDjII0t9xZLPXsUe+TKr0=\nrsc.io/quote v1.5.2 h2:xyzzy\n",
        "golang.org/x/text v0.0.0-20170915032832-14c0d48ead0c h1:qgOY6WgZOaTkIIMiVjBQcw93ERBE4m30iBm00nkL0i8=\ngolang.org/x/text v0.0.0-20170915032832-14c0d48ead0c/go.mod h1:NqM8EUOU14njkJ3fqMW+pc6Ldnwhi/IjpwHt7yyuwOQ=\n",
        "rsc.io/sampler v1.3.0 h1:7uVkIFmeBqHfdjD+gZwtXXI+RODJ2Wc4O7MPEh/QiW4=\nrsc.io/sampler v1.3.0/go.mod h1:T1hPZKmBbMNahiBKFy5HrXp6adAjACjK9JXDnKaTXpA=\n",
        "rsc.io/Quote v1.5.2 h1:uppercase!=\n",
    ];
    let log = |versions: &[u8]| {
        let mut log = Log::create(MemoryStorage::new(), LogKey::parse(signer).unwrap()).unwrap();
        log.append(&common).unwrap();
        log.append(&versions.iter().map(|v| format!("rsc.io/pkg1 v1.5.{v} h1:hash!=\n")).collect::<Vec<_>>()).unwrap();
        log
    };
    let (old, new) = (log(&[2]), log(&[3, 4]));
    let (old_root, new_root) = (old.checkpoint().root(), new.checkpoint().root());
    assert_eq!(*old_root, hash("nWzN20+pwMt62p7jbv1/NlN95ePTlHijabv5zO/s36w="));
    assert_eq!(*new_root, hash("wc4SkQt52o5W2nQ8To2ARs+mWuUJjss+sdleoiqxMmM="));
    let published = [
        "T7i+H/8ER4nXOiw4Bj0koZOkGjkxoNvlI34GpvhHhQg=",
        "Nsuejv72de9hYNM5bqFv8rv3gm3zJQwv/DT/WNbLDLA=",
        "mOmqqZ1aI/lzS94oq/JSbj7pD8Rv9S+xDyi12BtVSHo=",
        "/7Aw5jVSMM9sFjQhaMg+iiDYPMk6decH7QLOGrL9Lx0=",
    ];
    // Go lists the root of the fork at the smaller size, then the proof that leads there.
    let proof = new.consistency_proof(5, 6).unwrap();
    assert_eq!(new.root_at(5).unwrap(), hash(published[0]));
    assert_eq!(proof, published[1..].iter().map(|h| hash(h)).collect::<Vec<_>>());
    verify_consistency(5, &new.root_at(5).unwrap(), 6, new_root, &proof).unwrap();
    assert!(verify_consistency(5, old_root, 6, new_root, &proof).is_err());
}

#[test]
fn proofs_of_a_log_of_a_thousand_million_entries_hold() {
    let data: serde_json::Value = serde_json::from_str(include_str!("../data/argon2020.json")).unwrap();
    let text = |name: &str| data[name].as_str().unwrap();
    let list =
        |name: &str| data[name].as_array().unwrap().iter().map(|h| hash(h.as_str().unwrap())).collect::<Vec<_>>();
    let number = |name: &str| data[name].as_u64().unwrap();
    use base64::Engine;
    let leaf = leaf_hash(&base64::engine::general_purpose::STANDARD.decode(text("leaf_input")).unwrap());
    let (size, root) = (number("tree_size"), hash(text("root")));
    verify_inclusion(&leaf, number("leaf_index"), size, &list("audit_path"), &root).unwrap();
    verify_consistency(number("old_size"), &hash(text("old_root")), size, &root, &list("consistency")).unwrap();
}

/// C2SP tlog-tiles, "Partial Tiles" and "Merkle Tree".
#[test]
fn the_tiles_of_the_specification_s_examples() {
    let tiles = |size: u64, kind: TileKind| -> Vec<TileId> {
        (0..).map_while(|index| TileId::in_tree(kind, index, size)).collect()
    };
    let shape = |size, level| {
        let tiles = tiles(size, TileKind::Hashes(level));
        let full = tiles.iter().filter(|t| !t.is_partial()).count();
        (full, tiles.last().filter(|t| t.is_partial()).map_or(0, TileId::width))
    };
    assert_eq!([0, 1, 2, 3].map(|level| shape(70_000, level)), [(273, 112), (1, 17), (0, 1), (0, 0)]);
    assert_eq!([0, 1, 2].map(|level| shape(256, level)), [(1, 0), (0, 1), (0, 0)]);
    assert_eq!(tiles(70_000, TileKind::Entries).len(), 274);
    let id = TileId::new(TileKind::Hashes(0), 1_234_067, 256).unwrap();
    assert_eq!(id.to_string(), "tile/0/x001/x234/067");
}

/// FiloSottile/torchwood, `internal/witness/witness_test.go`, `TestRace` and `TestTooManyProofs`:
/// requests to a witness, for a log whose key is published.
const SIGSUM: &str = "sigsum.org/v1/tree/4d6d8825a6bb689d459628312889dfbb0bcd41b5211d9e1ce768b0ff0309e562";
const SIGSUM_KEY: &str = "ffdc2d4d98e4124d3feaf788c0c2f9abfd796083d1f0495437f302ec79cf100f";

fn sigsum(old: u64, proof: &[&str], size: u64, root: &str, signature: &str) -> String {
    let proof: String = proof.iter().map(|line| format!("{line}\n")).collect();
    format!("old {old}\n{proof}\n{SIGSUM}\n{size}\n{root}\n\n— {SIGSUM} {signature}\n")
}

#[test]
fn a_witness_answers_the_requests_of_another_implementation_s_tests() {
    let log = VerifierKey::new(name(SIGSUM), Algorithm::Ed25519, &hex(SIGSUM_KEY)).unwrap();
    let mut witness = Witness::new(witness_key(2), WitnessMemory::new());
    witness.follow(SIGSUM, vec![log]).unwrap();
    let proof_1 = "KgEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let first = |proof: &[&str]| {
        sigsum(
            0,
            proof,
            1,
            "KgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
            "UgIom7fPZTqpxWWhyjWduBvTvGVqsokMbqTArsQilegKoFBJQjUFAmQ0+YeSPM3wfUQMFSzVnnNuWRTYrajXpNUbIQY=",
        )
    };
    let third = |proof: &[&str]| {
        sigsum(
            1,
            proof,
            3,
            "RcCI1Nk56ZcSmIEfIn0SleqtV7uvrlXNccFx595Iwl0=",
            "UgIom2VbtIcdFbwFAy1n7s6IkAxIY6J/GQOTuZF2ORV39d75cbAj2aQYwyJre36kezNobZs4SUUdrcawfAB8WVrx6go=",
        )
    };
    let fifth = sigsum(
        1,
        &[proof_1, "+fUDV+k970B4I3uKrqJM4aP1lloPZP8mvr2Z4wRw2LI=", "KgQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="],
        5,
        "QrtXrQZCCvpIgsSmOsah7HdICzMLLyDfxToMql9WTjY=",
        "UgIomw/EOJmWi0i1FQsOj+etB7F8IccFam/jgd6wzRns4QPVmyEZtdvl1U2KEmLOZ/ASRcWJi0tW90dJWAShei7sDww=",
    );
    let status = |body: &str| witness.add_checkpoint(body.as_bytes(), NOW).map_err(|refusal| refusal.status());
    assert_eq!(status(&first(&[proof_1; 64])), Err(400));
    assert_eq!(status(&third(&[])), Err(409));
    assert!(status(&first(&[])).is_ok());
    // litewitness.txt of the same: no proof, a wrong one, a wrong signature, another log.
    let proof_2 = "KgIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    assert_eq!(status(&third(&[])), Err(422));
    assert_eq!(status(&third(&[proof_1, "KgIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE="])), Err(422));
    assert_eq!(status(&third(&[proof_1, proof_2]).replace("6go=", "6gs=")), Err(403));
    assert_eq!(status(&third(&[proof_1, proof_2]).replace("562\n", "561\n")), Err(404));
    assert!(status(&fifth).is_ok());
    let refusal = witness.add_checkpoint(third(&[proof_1, proof_2]).as_bytes(), NOW).unwrap_err();
    assert_eq!(refusal, Refusal::Conflict { size: 5 });
    assert_eq!((refusal.status(), parse_conflict(refusal.body().as_bytes())), (409, Some(5)));
}

/// FiloSottile/litetlog, `cmd/litewitness/testdata/sumdb.txt`: the Go checksum database, whose
/// origin is not its key's name.
#[test]
fn a_witness_cosigns_the_go_checksum_database() {
    let request = "old 0\n\ngo.sum database tree\n35225469\nvt5T6GaLCXvyHFl9VUvvItR43XZxfLgftEcTyO3eJCQ=\n\n\
        — sum.golang.org Az3grpukl5AXaVfYkLiDGORx/DN2nlcS5kZHR5uYOBV2KA2HgXpD+gu9HHONebHLAyaKbbTM75QTtPydhKCExixSfwQ=\n";
    let mut witness = Witness::new(witness_key(2), WitnessMemory::new());
    witness.follow("go.sum database tree", vec![key(SUMDB)]).unwrap();
    let line = witness.add_checkpoint(request.as_bytes(), NOW).unwrap();
    // As the specification has clients check it: behind the checkpoint, as one note.
    let note = Note::parse(format!("{}{line}", &request["old 0\n\n".len()..]).as_bytes()).unwrap();
    assert_eq!(note.verify(&[witness.verifier()]).unwrap()[0].time(), Some(NOW));
    assert_eq!(witness.latest("go.sum database tree").unwrap().unwrap().size, 35_225_469);
}

#[test]
fn the_request_of_the_witness_specification_is_read() {
    let proof = [
        "PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=",
        "jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=",
        "5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=",
        "/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=",
    ];
    let body = format!("old 20852014\n{}\n\n{SOFA}", proof.join("\n"));
    let request = AddCheckpoint::parse(body.as_bytes()).unwrap();
    assert_eq!(request.old_size(), 20_852_014);
    assert_eq!(request.proof(), proof.map(hash));
    assert_eq!(request.note().signatures().len(), 2);
    assert_eq!(request.to_bytes(), body.as_bytes());
}
