//! Paths, hash tiles and entry bundles: one name and one content for each.

use proptest::prelude::*;
use sealdex_crypto::log::{Hash, Tree};
use sealdex_tlog::checkpoint::MAX_SIZE;
use sealdex_tlog::tile::{EntryBundle, HashTile, MAX_ENTRY_BYTES, MAX_LEVEL, TileError, TileId, TileKind};

#[test]
fn paths_are_written_as_the_specification_has_them() {
    for (kind, index, width, path) in [
        (TileKind::Hashes(0), 0, 256, "tile/0/000"),
        (TileKind::Hashes(0), 0, 1, "tile/0/000.p/1"),
        (TileKind::Hashes(3), 999, 255, "tile/3/999.p/255"),
        (TileKind::Hashes(63), 1000, 256, "tile/63/x001/000"),
        (TileKind::Entries, 1_234_067, 256, "tile/entries/x001/x234/067"),
        (TileKind::Entries, 123_456_078, 2, "tile/entries/x123/x456/078.p/2"),
        (TileKind::Entries, u64::MAX, 9, "tile/entries/x018/x446/x744/x073/x709/x551/615.p/9"),
    ] {
        let id = TileId::new(kind, index, width).unwrap();
        assert_eq!(id.to_string(), path);
        assert_eq!(TileId::parse(path), Ok(id));
    }
}

#[test]
fn other_paths_are_refused() {
    for path in [
        "",
        "/",
        "tile",
        "tile/",
        "tile/0",
        "tile/0/",
        "/tile/0/000",
        "tile/0/000/",
        "tile//000",
        "tile/0/0",
        "tile/0/00",
        "tile/0/0000",
        "tile/0/x000/000",
        "tile/0/x000/001",
        "tile/0/000/001",
        "tile/0/x001",
        "tile/0/x001/",
        "tile/0/1/000",
        "tile/0/x1/000",
        "tile/0/x0001/000",
        "tile/0/X001/000",
        "tile/0/x001/x000",
        "tile/0/x001//000",
        "tile/00/000",
        "tile/01/000",
        "tile/64/000",
        "tile/255/000",
        "tile/256/000",
        "tile/-1/000",
        "tile/+1/000",
        "tile/ 0/000",
        "tile/0/-01",
        "tile/0/+01",
        "tile/0/00a",
        "tile/0/000.p",
        "tile/0/000.p/",
        "tile/0/000.p/0",
        "tile/0/000.p/00",
        "tile/0/000.p/01",
        "tile/0/000.p/256",
        "tile/0/000.p/257",
        "tile/0/000.p/65537",
        "tile/0/000.p/-1",
        "tile/0/000.p/+1",
        "tile/0/000.p/1/",
        "tile/0/000.p/1.p/1",
        "tile/0/000.P/1",
        "tile/0/000.p1",
        "tile/0/000/p/1",
        "tile/entries",
        "tile/entries/",
        "tile/data/000",
        "tile/Entries/000",
        "tile/entries/000.p/0",
        "tile/8/0/000",
        "tile/0/../000",
        "tile/0/x0٠1/000",
        "tile/0/00١",
        "tile/0/000\n",
        " tile/0/000",
        "checkpoint",
        // One more than the largest index.
        "tile/0/x018/x446/x744/x073/x709/x551/616",
        "tile/0/x999/x999/x999/x999/x999/x999/x999/999",
    ] {
        assert_eq!(TileId::parse(path), Err(TileError::Path), "{path:?}");
    }
    assert_eq!(TileId::new(TileKind::Hashes(64), 0, 1), Err(TileError::Level { level: 64 }));
    assert_eq!(TileId::new(TileKind::Entries, 0, 0), Err(TileError::Width { width: 0 }));
    assert_eq!(TileId::new(TileKind::Entries, 0, 257), Err(TileError::Width { width: 257 }));
}

#[test]
fn hash_tiles_have_exactly_their_width() {
    let bytes = vec![7; 32 * 256];
    assert_eq!(HashTile::parse(&bytes, 256).unwrap().hashes().len(), 256);
    for (length, width) in [(0, 1), (31, 1), (33, 1), (64, 1), (32, 2), (8191, 256), (8192, 255), (8160, 256)] {
        let error = TileError::HashTileLength { width, found: length };
        assert_eq!(HashTile::parse(&bytes[..length], width), Err(error), "{length} {width}");
    }
    for width in [0, 257, u16::MAX] {
        assert_eq!(HashTile::parse(&[], width), Err(TileError::Width { width }));
    }
}

#[test]
fn nodes_of_a_tile_are_those_of_the_tree() {
    let leaves: Vec<Hash> = (0..200).map(|i| [i; 32]).collect();
    let tile = HashTile::parse(&leaves.concat(), 200).unwrap();
    for height in 0..=8 {
        for index in 0..300 {
            let nodes = leaves.get(index << height..(index + 1) << height);
            let expected = nodes.map(|nodes| nodes.iter().copied().collect::<Tree>().root());
            assert_eq!(tile.node(height, index), expected, "{height} {index}");
        }
    }
    assert_eq!((tile.node(9, 0), tile.node(64, 0), tile.node(8, usize::MAX)), (None, None, None));
}

#[test]
fn malformed_bundles_are_refused() {
    use TileError::{BundleCutOff, BundleTooLong, Width};
    for (bytes, width, error) in [
        (&[][..], 1, BundleCutOff { entry: 0, width: 1 }),
        (&[0], 1, BundleCutOff { entry: 0, width: 1 }),
        (&[0, 1], 1, BundleCutOff { entry: 0, width: 1 }),
        (&[1, 0, 5], 1, BundleCutOff { entry: 0, width: 1 }),
        (&[0, 1, 5], 2, BundleCutOff { entry: 1, width: 2 }),
        (&[0, 1, 5, 0], 2, BundleCutOff { entry: 1, width: 2 }),
        (&[0, 1, 5, 0], 1, BundleTooLong { width: 1, found: 1 }),
        (&[0, 0, 0, 0], 1, BundleTooLong { width: 1, found: 2 }),
        (&[], 0, Width { width: 0 }),
        (&[], 257, Width { width: 257 }),
    ] {
        assert_eq!(EntryBundle::parse(bytes.into(), width), Err(error), "{bytes:?} {width}");
    }
    let mut bundle = EntryBundle::new();
    let found = MAX_ENTRY_BYTES + 1;
    assert_eq!(bundle.push(&vec![0; found]), Err(TileError::EntryTooLong { found }));
    (0..256).for_each(|_| bundle.push(b"").unwrap());
    assert_eq!(bundle.push(b""), Err(Width { width: 257 }));
    assert_eq!((bundle.width(), bundle.as_bytes().len(), bundle.get(256)), (256, 512, None));
}

proptest! {
    #[test]
    fn a_path_goes_through_its_text(level in 0..=MAX_LEVEL, entries: bool, index: u64, width in 1_u16..=256) {
        let kind = if entries { TileKind::Entries } else { TileKind::Hashes(level) };
        let id = TileId::new(kind, index, width).unwrap();
        prop_assert_eq!(TileId::parse(&id.to_string()), Ok(id));
    }

    #[test]
    fn what_is_read_as_a_path_is_written_the_same(path in "tile/(entries|[0-9]{1,3})(/x[0-9]{3}){0,3}/[0-9]{3}(\\.p/[0-9]{1,3})?") {
        if let Ok(id) = TileId::parse(&path) {
            prop_assert_eq!(id.to_string(), path);
        }
    }

    #[test]
    fn the_tiles_of_a_level_have_all_its_hashes(size in 0..200_000_u64, level in 0_u8..4) {
        let tiles = (0..).map_while(|index| TileId::in_tree(TileKind::Hashes(level), index, size));
        let width: u64 = tiles.map(|tile| u64::from(tile.width())).sum();
        prop_assert_eq!(width, size >> (8 * level));
    }

    #[test]
    fn a_tile_beyond_the_tree_is_none(size in 0..=MAX_SIZE, level in 0..=MAX_LEVEL, index: u64) {
        let tile = TileId::in_tree(TileKind::Hashes(level), index, size);
        let first = u128::from(index) << 8;
        let nodes = if level < 8 { u128::from(size >> (8 * level)) } else { 0 };
        prop_assert_eq!(tile.map(|t| u128::from(t.width())), (first < nodes).then(|| (nodes - first).min(256)));
    }

    #[test]
    fn a_bundle_goes_through_its_bytes(entries in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..=256)) {
        let mut bundle = EntryBundle::new();
        entries.iter().for_each(|entry| bundle.push(entry).unwrap());
        let width = entries.len() as u16;
        let read = EntryBundle::parse(bundle.as_bytes().to_vec(), width).unwrap();
        prop_assert!(read.iter().eq(entries.iter().map(Vec::as_slice)));
        prop_assert_eq!(&read, &bundle);
        // Cut off or grown anywhere, it is another bundle or none.
        let cut = &bundle.as_bytes()[..bundle.as_bytes().len() - 1];
        prop_assert!(EntryBundle::parse(cut.to_vec(), width).is_err());
        prop_assert!(EntryBundle::parse([bundle.as_bytes(), &[0]].concat(), width).is_err());
    }

    #[test]
    fn bundles_of_any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..100), width in 0_u16..300) {
        if let Ok(bundle) = EntryBundle::parse(bytes.clone(), width) {
            prop_assert_eq!(bundle.as_bytes(), bytes);
            prop_assert_eq!(bundle.iter().count(), usize::from(width));
        }
    }
}
