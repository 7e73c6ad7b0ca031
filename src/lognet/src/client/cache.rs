//! Full hash tiles, which never change.

use std::collections::{BTreeMap, VecDeque};

use sealdex_tlog::tile::{HashTile, TileId};

/// Tiles kept; 8 KiB each.
const TILES: usize = 512;

/// The tiles that came last.
#[derive(Default)]
pub(super) struct TileCache {
    tiles: BTreeMap<TileId, HashTile>,
    order: VecDeque<TileId>,
}

impl TileCache {
    pub(super) fn get(&self, full: &TileId) -> Option<HashTile> {
        self.tiles.get(full).cloned()
    }

    pub(super) fn insert(&mut self, full: TileId, tile: HashTile) {
        if self.tiles.insert(full, tile).is_some() {
            return;
        }
        self.order.push_back(full);
        if self.order.len() > TILES
            && let Some(first) = self.order.pop_front()
        {
            self.tiles.remove(&first);
        }
    }
}

#[cfg(test)]
mod tests {
    use sealdex_tlog::tile::{HashTile, TileId, TileKind};

    use super::{TILES, TileCache};

    #[test]
    fn it_keeps_the_last_and_no_more() {
        let mut cache = TileCache::default();
        let id = |i| TileId::new(TileKind::Hashes(0), i, 256).unwrap();
        let tile = HashTile::parse(&[7; 32], 1).unwrap();
        for i in 0..TILES as u64 + 3 {
            cache.insert(id(i), tile.clone());
            cache.insert(id(i), tile.clone());
        }
        assert_eq!((cache.tiles.len(), cache.order.len()), (TILES, TILES));
        assert!(cache.get(&id(2)).is_none() && cache.get(&id(3)) == Some(tile));
    }
}
