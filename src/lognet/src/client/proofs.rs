//! Roots and proofs from tiles that are fetched as they are needed.

use std::{cell::RefCell, collections::BTreeMap};

use futures_util::{StreamExt, TryStreamExt, stream};
use sealdex_crypto::log::Hash;
use sealdex_tlog::tile::{
    HashTile, ProofError, TileError, TileId, TileReader, consistency_proof, inclusion_proof, root,
};

use super::{AT_ONCE, FetchError, LogClient};

/// Tiles of a tree, and which others were asked for.
struct Tiles {
    size: u64,
    had: BTreeMap<TileId, HashTile>,
    missing: RefCell<Vec<TileId>>,
}

impl TileReader for Tiles {
    type Error = TileError;

    fn hash_tile(&self, id: &TileId) -> Result<HashTile, TileError> {
        // A smaller tree is read from the tiles of this one, which are those that are served.
        let id = TileId::in_tree(id.kind(), id.index(), self.size).unwrap_or(*id);
        match self.had.get(&id) {
            Some(tile) => Ok(tile.clone()),
            None => {
                // Zeroes, so that all missing tiles are named at once: which ones does not depend on hashes.
                self.missing.borrow_mut().push(id);
                HashTile::parse(&vec![0; usize::from(id.width()) * 32], id.width())
            }
        }
    }
}

impl LogClient {
    /// Proof that entry `index` is in the tree of `size` entries, leaf upwards.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn inclusion_proof(&self, index: u64, size: u64) -> Result<Vec<Hash>, FetchError> {
        self.compute(size, |tiles| inclusion_proof(tiles, index, size)).await
    }

    /// Proof that the tree of `old` entries is a prefix of that of `new` entries.
    ///
    /// # Errors
    /// [`FetchError`]; there is no proof from the empty tree.
    pub async fn consistency_proof(&self, old: u64, new: u64) -> Result<Vec<Hash>, FetchError> {
        self.compute(new, |tiles| consistency_proof(tiles, old, new)).await
    }

    /// Root of the tree of `size` entries, which is that of a checkpoint the log has published: of other sizes it need
    /// not have the tiles; see [`Self::prefix`].
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn root(&self, size: u64) -> Result<Hash, FetchError> {
        self.compute(size, |tiles| root(tiles, size)).await
    }

    /// Root of the first `old` of `new` entries, and the proof that leads from it to the root of all; `old` is at least
    /// 1.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn prefix(&self, old: u64, new: u64) -> Result<(Hash, Vec<Hash>), FetchError> {
        self.compute(new, |tiles| Ok((root(tiles, old)?, consistency_proof(tiles, old, new)?))).await
    }

    /// Runs a computation over the tiles of a tree until it has all it needs.
    async fn compute<T>(
        &self,
        size: u64,
        computation: impl Fn(&Tiles) -> Result<T, ProofError<TileError>>,
    ) -> Result<T, FetchError> {
        let mut tiles = Tiles { size, had: BTreeMap::new(), missing: RefCell::default() };
        loop {
            let computed = computation(&tiles);
            let mut missing = tiles.missing.take();
            if missing.is_empty() {
                return computed.map_err(|error| self.unusable(error));
            }
            missing.sort_unstable();
            missing.dedup();
            let fetches = missing.into_iter().map(|id| async move { Ok::<_, FetchError>((id, self.tile(&id).await?)) });
            let mut fetched = stream::iter(fetches).buffered(AT_ONCE);
            while let Some((id, tile)) = fetched.try_next().await? {
                tiles.had.insert(id, tile);
            }
        }
    }

    fn unusable(&self, error: ProofError<TileError>) -> FetchError {
        let tile = |error| FetchError::Tile { url: self.url().into(), error };
        match error {
            ProofError::Tree(error) => FetchError::Tree(error),
            ProofError::Read(error) => tile(error),
            // No tile gets here that is narrower than its name says.
            ProofError::TooNarrow { found, .. } => tile(TileError::Width { width: found as u16 }),
        }
    }
}
