//! Roots and proofs from tiles, against the tree that keeps every hash.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::LazyLock;

use proptest::prelude::*;
use sealdex_crypto::log::{
    Hash, LogError, Tree, empty_root, leaf_hash, node_hash, verify_consistency, verify_inclusion,
};
use sealdex_tlog::checkpoint::MAX_SIZE;
use sealdex_tlog::log::{Log, MemoryStorage, StoredTileError, StoredTiles};
use sealdex_tlog::tile::{
    HashTile, ProofError, TileId, TileKind, TileReader, consistency_proof, inclusion_proof, root,
};

use crate::setting::{entries, log_key, oracle};

/// Large enough for three levels of tiles.
const SIZE: u64 = 66_500;

struct Grown {
    storage: MemoryStorage,
    tree: Tree,
}

static GROWN: LazyLock<Grown> = LazyLock::new(|| {
    let mut storage = MemoryStorage::new();
    let mut log = Log::create(&mut storage, log_key()).unwrap();
    let mut start = 0;
    for step in [1, 2, 255, 256, 257, 511, 1000, 5000].into_iter().cycle() {
        if start == SIZE {
            break;
        }
        let end = (start + step).min(SIZE);
        log.append(&entries(start..end)).unwrap();
        start = end;
    }
    Grown { storage, tree: oracle(SIZE) }
});

/// Counts what is read.
struct Counting<R>(R, RefCell<Vec<TileId>>);

impl<R: TileReader> TileReader for Counting<R> {
    type Error = R::Error;

    fn hash_tile(&self, id: &TileId) -> Result<HashTile, R::Error> {
        self.1.borrow_mut().push(*id);
        self.0.hash_tile(id)
    }
}

fn count<R: TileReader>(reader: R, size: u64, prove: impl FnOnce(&Counting<R>)) {
    let counting = Counting(reader, RefCell::default());
    prove(&counting);
    let read = counting.1.into_inner();
    let levels = (u64::BITS - size.leading_zeros()).div_ceil(8) as usize;
    assert!(read.len() <= 2 * levels, "{} tiles of {levels} levels: {read:?}", read.len());
    assert_eq!(read.iter().collect::<BTreeSet<_>>().len(), read.len(), "a tile was read twice");
}

/// A tree whose entries are all the same: its nodes differ by level alone, so any tile of a tree
/// of any size can be made up.
struct Uniform;

impl Uniform {
    fn node(level: u32) -> Hash {
        (0..level).fold(leaf_hash(b"same"), |hash, _| node_hash(&hash, &hash))
    }

    fn root(size: u64) -> Hash {
        let peaks = (0..u64::BITS).filter(|bit| size >> bit & 1 == 1).map(Self::node);
        peaks.reduce(|right, left| node_hash(&left, &right)).unwrap_or_else(empty_root)
    }
}

impl TileReader for Uniform {
    type Error = Infallible;

    fn hash_tile(&self, id: &TileId) -> Result<HashTile, Infallible> {
        let TileKind::Hashes(level) = id.kind() else { panic!("{id}") };
        let hashes = vec![Self::node(u32::from(level) * 8); id.width().into()];
        Ok(HashTile::parse(&hashes.concat(), id.width()).unwrap())
    }
}

proptest! {
    #[test]
    fn roots_and_proofs_are_those_of_the_tree(a in 0..=SIZE, b in 0..=SIZE, at in 0..SIZE) {
        let Grown { storage, tree } = &*GROWN;
        // The tiles of the whole log, and as one has them who has seen it with fewer entries.
        let (old, new) = (a.min(b), a.max(b));
        let tiles = StoredTiles::new(storage, SIZE);
        prop_assert_eq!(root(&tiles, new).unwrap(), tree.root_at(new).unwrap());
        match tree.consistency_proof(old, new) {
            Ok(proof) => {
                prop_assert_eq!(&consistency_proof(&tiles, old, new).unwrap(), &proof);
                let (old_root, new_root) = (tree.root_at(old).unwrap(), tree.root_at(new).unwrap());
                verify_consistency(old, &old_root, new, &new_root, &proof).unwrap();
            }
            Err(error) => prop_assert_eq!(consistency_proof(&tiles, old, new), Err(ProofError::Tree(error))),
        }
        match tree.inclusion_proof(at, new) {
            Ok(proof) => prop_assert_eq!(inclusion_proof(&tiles, at, new).unwrap(), proof),
            Err(error) => prop_assert_eq!(inclusion_proof(&tiles, at, new), Err(ProofError::Tree(error))),
        }
    }

    #[test]
    fn few_tiles_are_read(a in 1..=SIZE, b in 1..=SIZE, at in 0..SIZE) {
        let (old, new) = (a.min(b), a.max(b));
        let tiles = || StoredTiles::new(&GROWN.storage, SIZE);
        count(tiles(), new, |r| assert_eq!(root(r, new), Ok(GROWN.tree.root_at(new).unwrap())));
        count(tiles(), new, |r| assert!(inclusion_proof(r, at % new, new).is_ok()));
        count(tiles(), new, |r| assert!(consistency_proof(r, old, new).is_ok()));
    }

    #[test]
    fn proofs_hold_for_trees_of_any_size(a in 1..=MAX_SIZE, b in 1..=MAX_SIZE, at: u64, bits in 0_u32..63) {
        // All magnitudes, and sizes around powers of two.
        for (a, b) in [(a, b), (a >> bits, b >> bits), ((1 << bits) - 1, b), (1 << bits, (1 << bits) + 1)] {
            let (old, new) = (a.min(b).max(1), a.max(b).max(1));
            let (old_root, new_root) = (Uniform::root(old), Uniform::root(new));
            count(Uniform, new, |r| assert_eq!(root(r, new).unwrap(), new_root));
            count(Uniform, new, |r| {
                let proof = inclusion_proof(r, at % new, new).unwrap();
                verify_inclusion(&leaf_hash(b"same"), at % new, new, &proof, &new_root).unwrap();
            });
            count(Uniform, new, |r| {
                let proof = consistency_proof(r, old, new).unwrap();
                verify_consistency(old, &old_root, new, &new_root, &proof).unwrap();
            });
        }
    }
}

#[test]
fn every_proof_of_a_small_tree_is_that_of_the_tree() {
    let Grown { storage, tree } = &*GROWN;
    let tiles = StoredTiles::new(storage, SIZE);
    for new in (0..40).chain(250..262).chain(510..515) {
        for at in 0..new {
            assert_eq!(inclusion_proof(&tiles, at, new).unwrap(), tree.inclusion_proof(at, new).unwrap());
        }
        for old in 1..=new {
            assert_eq!(consistency_proof(&tiles, old, new).unwrap(), tree.consistency_proof(old, new).unwrap());
        }
    }
}

#[test]
fn there_is_no_proof_of_what_is_not_there() {
    let tiles = StoredTiles::new(&GROWN.storage, SIZE);
    let out_of_range = |index, size| Err(ProofError::Tree(LogError::OutOfRange { index, size }));
    assert_eq!(inclusion_proof(&tiles, 5, 5), out_of_range(5, 5));
    assert_eq!(inclusion_proof(&tiles, 0, 0), out_of_range(0, 0));
    assert_eq!(consistency_proof(&tiles, 6, 5), out_of_range(6, 5));
    assert_eq!(consistency_proof(&tiles, 0, 5), Err(ProofError::Tree(LogError::FromEmpty)));
    assert_eq!(consistency_proof(&tiles, 0, 0), Ok(vec![]));
    let too_large = LogError::OutOfRange { index: u64::MAX, size: MAX_SIZE };
    assert_eq!(root(&tiles, u64::MAX), Err(ProofError::Tree(too_large)));
    assert_eq!(inclusion_proof(&tiles, 0, u64::MAX), Err(ProofError::Tree(too_large)));
    assert_eq!(consistency_proof(&tiles, 1, u64::MAX), Err(ProofError::Tree(too_large)));
    // Beyond the store.
    let missing = root(&StoredTiles::new(&GROWN.storage, SIZE + 1), SIZE + 1);
    assert!(matches!(missing, Err(ProofError::Read(StoredTileError::Missing { .. }))), "{missing:?}");
}

#[test]
fn a_tile_that_is_too_narrow_is_an_error() {
    struct Narrow;
    impl TileReader for Narrow {
        type Error = Infallible;

        fn hash_tile(&self, _: &TileId) -> Result<HashTile, Infallible> {
            Ok(HashTile::parse(&[0; 32], 1).unwrap())
        }
    }
    let id = TileId::new(TileKind::Hashes(0), 0, 5).unwrap();
    assert_eq!(root(&Narrow, 5), Err(ProofError::TooNarrow { id, found: 1 }));
}
