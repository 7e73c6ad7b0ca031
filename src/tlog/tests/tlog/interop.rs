//! Against implementations of the same specifications that others have published, both ways:
//! `signed_note` and `tlog_tiles` by Cloudflare.

use std::collections::HashMap;

use proptest::prelude::*;
use sealdex_crypto::log::{verify_consistency, verify_inclusion};
use sealdex_tlog::checkpoint::Checkpoint;
use sealdex_tlog::log::{Log, MemoryStorage, TileStore};
use sealdex_tlog::note::Note;
use sealdex_tlog::policy::Policy;
use sealdex_tlog::tile::{
    EntryBundle, HashTile, TileId, TileKind, TileReader, consistency_proof, inclusion_proof, root,
};
use signed_note::{Signer, StandardSigner, StandardVerifier, Verifier, VerifierList};
use tlog_tiles as theirs;

use crate::setting::{NOW, ORIGIN, entries, entry, log_key, oracle, witness_key};

fn their_keys() -> VerifierList {
    let key = StandardVerifier::new(&log_key().verifier().to_string()).unwrap();
    VerifierList::new(vec![Box::new(key)])
}

#[test]
fn they_read_our_keys_and_we_theirs() {
    let ours = log_key();
    let signer = StandardSigner::new(&ours.to_text()).unwrap();
    assert_eq!((signer.name(), signer.key_id()), (ORIGIN, ours.verifier().id().0));
    let verifier = StandardVerifier::new(&ours.verifier().to_string()).unwrap();
    let signature = signer.sign(b"text\n").unwrap();
    assert!(verifier.verify(b"text\n", &signature));
    assert_eq!(ours.sign("text\n").unwrap().signatures()[0].bytes(), signature);
}

proptest! {
    #[test]
    fn notes_are_verified_both_ways(text in "(\\PC{0,20}\n){1,5}", cosigned: bool) {
        let mut ours = log_key().sign(text.clone()).unwrap();
        if cosigned {
            let checkpoint = Checkpoint::new(ORIGIN, 1, [0; 32]).unwrap();
            ours.add(witness_key(2).cosign(&checkpoint, NOW).unwrap()).unwrap();
        }
        let read = signed_note::Note::from_bytes(&ours.to_bytes()).unwrap();
        let (verified, unknown) = read.verify(&their_keys()).unwrap();
        prop_assert_eq!((verified.len(), unknown.len()), (1, usize::from(cosigned)));
        prop_assert_eq!(read.to_bytes(), ours.to_bytes());

        let mut theirs = signed_note::Note::new(text.as_bytes(), &[]).unwrap();
        theirs.add_sigs(&[&StandardSigner::new(&log_key().to_text()).unwrap()]).unwrap();
        let read = Note::parse(&theirs.to_bytes()).unwrap();
        prop_assert_eq!(read.verify(&[log_key().verifier()]).unwrap().len(), 1);
    }

    #[test]
    fn what_one_reads_as_a_note_the_other_does(bytes in "[—\na +=A]{0,5}", at in 0_usize..200, removed in 0_usize..6) {
        // Their reader lets some things pass that are no notes; nothing ours accepts is refused.
        let mut note = log_key().sign("text\n\nmore\n").unwrap().to_bytes();
        let at = at.min(note.len());
        note.splice(at..(at + removed).min(note.len()), bytes.into_bytes());
        if Note::parse(&note).is_ok() {
            prop_assert!(signed_note::Note::from_bytes(&note).is_ok());
        }
    }

    #[test]
    fn checkpoints_are_read_both_ways(size in 0..i64::MAX as u64, root: [u8; 32], extensions in prop::collection::vec("[a-z é]{1,9}", 0..3)) {
        let ours = Checkpoint::new(ORIGIN, size, root).unwrap().with_extensions(extensions).unwrap();
        let read = theirs::Checkpoint::from_bytes(ours.to_string().as_bytes()).unwrap();
        prop_assert_eq!((read.origin(), read.size(), read.hash().0), (ORIGIN, size, root));
        let written = String::from_utf8(read.to_bytes()).unwrap();
        prop_assert_eq!(Checkpoint::parse(&written), Ok(ours));
    }

    #[test]
    fn tiles_have_the_same_paths(level in 0_u8..=62, index in 0_u64..1 << 40, width in 1_u16..=256) {
        let ours = TileId::new(TileKind::Hashes(level), index, width).unwrap().to_string();
        // Theirs names the height of a tile first, as the Go checksum database does.
        let expected = format!("tile/8/{}", ours.strip_prefix("tile/").unwrap());
        let path = theirs::Tile::new(8, level, index, width.into(), false).path();
        prop_assert!(path == expected || path == ours, "{path} {ours}");
    }
}

/// Our storage for their reader.
struct OurTiles<'a>(&'a MemoryStorage);

fn our_id(tile: &theirs::Tile) -> TileId {
    TileId::new(TileKind::Hashes(tile.level()), tile.level_index(), tile.width().try_into().unwrap()).unwrap()
}

impl theirs::TileReader for OurTiles<'_> {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[theirs::Tile]) -> Result<Vec<Vec<u8>>, theirs::Error> {
        Ok(tiles.iter().map(|tile| self.0.read_tile(&our_id(tile)).unwrap().unwrap()).collect())
    }

    fn save_tiles(&self, _: &[theirs::Tile], _: &[Vec<u8>]) {}
}

#[test]
fn they_prove_and_verify_from_our_tiles() {
    for size in [1, 2, 255, 256, 257, 1000, 66_000] {
        let mut log = Log::create(MemoryStorage::new(), log_key()).unwrap();
        log.append(&entries(0..size)).unwrap();
        let tree_root = theirs::Hash(*log.checkpoint().root());
        // Their reader checks every tile against the root.
        let tiles = OurTiles(log.storage());
        let reader = theirs::TileHashReader::new(size, tree_root, &tiles);
        assert_eq!(theirs::tree_hash(size, &reader).unwrap(), tree_root);
        for index in [0, size / 3, size / 2, size - 1] {
            let theirs_proof = theirs::prove_record(size, index, &reader).unwrap();
            let ours = log.inclusion_proof(index, size).unwrap();
            assert_eq!(theirs_proof.iter().map(|h| h.0).collect::<Vec<_>>(), ours);
            let leaf = theirs::record_hash(&entry(index));
            theirs::check_record(&ours.iter().map(|h| theirs::Hash(*h)).collect(), size, tree_root, index, leaf)
                .unwrap();
            let (old, ours) = (index + 1, log.consistency_proof(index + 1, size).unwrap());
            assert_eq!(theirs::prove_tree(size, old, &reader).unwrap().iter().map(|h| h.0).collect::<Vec<_>>(), ours);
            let old_root = theirs::Hash(log.root_at(old).unwrap());
            let ours = ours.iter().map(|h| theirs::Hash(*h)).collect();
            theirs::check_tree(&ours, size, tree_root, old, old_root).unwrap();
        }
    }
}

/// Hashes as their log stores them, and tiles cut from these.
#[derive(Default)]
struct TheirLog {
    hashes: Vec<theirs::Hash>,
    size: u64,
}

impl TheirLog {
    fn push(&mut self, entry: &[u8]) {
        let new = theirs::stored_hashes(self.size, entry, self).unwrap();
        self.hashes.extend(new);
        self.size += 1;
    }
}

impl theirs::HashReader for TheirLog {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<theirs::Hash>, theirs::Error> {
        Ok(indexes.iter().map(|i| self.hashes[*i as usize]).collect())
    }
}

/// Their tiles for our reader.
struct TheirTiles(HashMap<TileId, Vec<u8>>);

impl TileReader for TheirTiles {
    type Error = ();

    fn hash_tile(&self, id: &TileId) -> Result<HashTile, ()> {
        HashTile::parse(self.0.get(id).ok_or(())?, id.width()).map_err(|_| ())
    }
}

#[test]
fn we_prove_and_verify_from_their_tiles() {
    let mut log = TheirLog::default();
    let mut tiles = TheirTiles(HashMap::new());
    let mut old = 0;
    for size in [1, 200, 256, 300, 70_000] {
        (old..size).for_each(|i| log.push(&entry(i)));
        for tile in theirs::Tile::new_tiles(8, old, size) {
            tiles.0.insert(our_id(&tile), tile.read_data(&log).unwrap());
        }
        let (tree, tree_root) = (oracle(size), theirs::tree_hash(size, &log).unwrap().0);
        assert_eq!((root(&tiles, size).unwrap(), tree.root()), (tree_root, tree_root));
        for index in [0, size / 3, size - 1] {
            let proof = inclusion_proof(&tiles, index, size).unwrap();
            let leaf = theirs::record_hash(&entry(index)).0;
            verify_inclusion(&leaf, index, size, &proof, &tree_root).unwrap();
            let proof = consistency_proof(&tiles, index + 1, size).unwrap();
            let old_root = theirs::tree_hash(index + 1, &log).unwrap().0;
            verify_consistency(index + 1, &old_root, size, &tree_root, &proof).unwrap();
        }
        old = size;
    }
}

#[test]
fn a_checkpoint_of_theirs_satisfies_a_policy() {
    let mut log = TheirLog::default();
    (0..10).for_each(|i| log.push(&entry(i)));
    let checkpoint = theirs::Checkpoint::new(ORIGIN, 10, theirs::tree_hash(10, &log).unwrap(), "").unwrap();
    let mut note = signed_note::Note::new(&checkpoint.to_bytes(), &[]).unwrap();
    note.add_sigs(&[&StandardSigner::new(&log_key().to_text()).unwrap()]).unwrap();
    let verified = Policy::new(log_key().verifier(), vec![], 0).unwrap().verify_bytes(&note.to_bytes()).unwrap();
    let proof = theirs::prove_record(10, 4, &log).unwrap();
    verified.verify_entry(&entry(4), 4, &proof.iter().map(|h| h.0).collect::<Vec<_>>()).unwrap();
}

#[test]
fn our_bundles_are_the_entries_of_the_tiles() {
    let mut log = Log::create(MemoryStorage::new(), log_key()).unwrap();
    log.append(&entries(0..300)).unwrap();
    for (index, width) in [(0, 256), (1, 44)] {
        let read = |kind| log.storage().read_tile(&TileId::new(kind, index, width).unwrap()).unwrap().unwrap();
        let bundle = EntryBundle::parse(read(TileKind::Entries), width).unwrap();
        let hashes: Vec<u8> = bundle.iter().flat_map(|entry| theirs::record_hash(entry).0).collect();
        assert_eq!(hashes, read(TileKind::Hashes(0)));
    }
}
