//! Reading any log that is served as tiles, with no authentication. Nothing that comes from there is believed here:
//! proofs and roots are what the tiles say until they lead to the root of a verified checkpoint.

mod cache;
mod error;
mod proofs;

pub use error::FetchError;

use std::{ops::Range, sync::Mutex, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use http::{Request, StatusCode};
use sealdex_net::{CallError, Retry, edge, exchange, peer::Http};
use sealdex_tlog::{
    note::{MAX_NOTE_BYTES, Note},
    tile::{EntryBundle, HashTile, MAX_ENTRY_BYTES, TILE_WIDTH, TileId, TileKind},
};

use self::cache::TileCache;

/// Tiles asked for at once; each takes at most 16 MiB.
const AT_ONCE: usize = 4;

/// A log as its address serves it.
pub struct LogClient {
    http: Http,
    base: String,
    retry: Retry,
    timeout: Duration,
    cache: Mutex<TileCache>,
}

impl LogClient {
    /// The log whose checkpoint is at `<url>/checkpoint`.
    ///
    /// # Errors
    /// [`FetchError::Call`] unless it is `https://…`, or `http://…` on loopback.
    pub fn new(http: Http, url: &str) -> Result<Self, FetchError> {
        let base = exchange::usable(url)?;
        let (retry, timeout) = (Retry::default(), Duration::from_secs(30));
        Ok(Self { http, base, retry, timeout, cache: Mutex::default() })
    }

    /// Other patience with a log that does not answer.
    #[must_use]
    pub fn with_retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Another time after which an attempt is given up; 30 seconds unless told otherwise.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Base URL, without its last slash.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.base
    }

    /// The checkpoint the log serves, not checked.
    ///
    /// # Errors
    /// [`FetchError`]; [`FetchError::Missing`] before the log has published one.
    pub async fn checkpoint(&self) -> Result<Note, FetchError> {
        let bytes = self.fetch("checkpoint", MAX_NOTE_BYTES).await?.ok_or_else(|| self.missing("checkpoint"))?;
        Note::parse(&bytes).map_err(|error| FetchError::Note { url: self.at("checkpoint"), error })
    }

    /// A hash tile; where the log has no partial one any more, the full one.
    ///
    /// # Errors
    /// [`FetchError`]; [`FetchError::Kind`] for a bundle's name.
    pub async fn tile(&self, id: &TileId) -> Result<HashTile, FetchError> {
        if id.kind() == TileKind::Entries {
            return Err(FetchError::Kind { id: *id });
        }
        if let Some(tile) = self.cache().get(&id.full()) {
            return Ok(tile);
        }
        let (id, bytes) = self.fetch_tile(id, usize::from(TILE_WIDTH) * 32).await?;
        let tile = HashTile::parse(&bytes, id.width());
        let tile = tile.map_err(|error| FetchError::Tile { url: self.at(&id.to_string()), error })?;
        if !id.is_partial() {
            self.cache().insert(id, tile.clone());
        }
        Ok(tile)
    }

    /// An entry bundle; where the log has no partial one any more, the full one.
    ///
    /// # Errors
    /// [`FetchError`]; [`FetchError::Kind`] for a hash tile's name.
    pub async fn bundle(&self, id: &TileId) -> Result<EntryBundle, FetchError> {
        if id.kind() != TileKind::Entries {
            return Err(FetchError::Kind { id: *id });
        }
        let (id, bytes) = self.fetch_tile(id, usize::from(TILE_WIDTH) * (2 + MAX_ENTRY_BYTES)).await?;
        let bundle = EntryBundle::parse(bytes.into(), id.width());
        bundle.map_err(|error| FetchError::Tile { url: self.at(&id.to_string()), error })
    }

    /// Entries of the log as it is with `size` of them, all in memory.
    ///
    /// # Errors
    /// [`FetchError`]; [`FetchError::Range`] for entries the tree does not have.
    pub async fn entries(&self, range: Range<u64>, size: u64) -> Result<Vec<Vec<u8>>, FetchError> {
        if range.start > range.end || range.end > size {
            return Err(FetchError::Range { start: range.start, end: range.end, size });
        }
        let width = u64::from(TILE_WIDTH);
        let indexes = range.start / width..range.end.div_ceil(width);
        let ids = indexes.filter_map(|index| TileId::in_tree(TileKind::Entries, index, size));
        let fetches = ids.map(|id| async move { Ok::<_, FetchError>((id.index() * width, self.bundle(&id).await?)) });
        let mut bundles = stream::iter(fetches).buffered(AT_ONCE);
        let mut entries = Vec::new();
        while let Some((start, bundle)) = bundles.try_next().await? {
            let from = range.start.saturating_sub(start);
            let to = (range.end - start).min(width);
            entries.extend((from..to).filter_map(|place| bundle.get(place as usize)).map(<[u8]>::to_vec));
        }
        Ok(entries)
    }

    /// Forgets all tiles it has kept: after some of them did not lead to a checkpoint's root.
    pub fn forget_tiles(&self) {
        *self.cache() = TileCache::default();
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, TileCache> {
        // A cache whose writer panicked lacks a tile at worst.
        self.cache.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    async fn fetch_tile(&self, id: &TileId, limit: usize) -> Result<(TileId, Bytes), FetchError> {
        if let Some(bytes) = self.fetch(&id.to_string(), limit).await? {
            return Ok((*id, bytes));
        }
        // A log drops partial tiles once the full one is there (tlog-tiles, "Partial Tiles").
        let full = if id.is_partial() { self.fetch(&id.full().to_string(), limit).await? } else { None };
        Ok((id.full(), full.ok_or_else(|| self.missing(&id.to_string()))?))
    }

    /// What is at a path, `None` if nothing; tries again what may pass.
    async fn fetch(&self, path: &str, limit: usize) -> Result<Option<Bytes>, FetchError> {
        let mut pause = self.retry.pause;
        for attempt in 1.. {
            let error = match self.attempt(path, limit).await {
                Err(error) if error.passes() && attempt < self.retry.attempts => error,
                other => return other,
            };
            tracing::debug!(%error, attempt, "trying again");
            tokio::time::sleep(pause.mul_f64(edge::jitter())).await;
            pause = (pause * 2).min(Duration::from_secs(2));
        }
        Ok(None)
    }

    async fn attempt(&self, path: &str, limit: usize) -> Result<Option<Bytes>, FetchError> {
        let url = self.at(path);
        let request = Request::get(&url).body(Bytes::new()).map_err(|_| CallError::Address(url.clone()))?;
        let answer = self.http.send(request, limit, self.timeout).await?;
        match answer.status() {
            StatusCode::OK => Ok(Some(answer.into_body())),
            StatusCode::NOT_FOUND => Ok(None),
            status => Err(FetchError::Status { url, status: status.as_u16() }),
        }
    }

    fn at(&self, path: &str) -> String {
        format!("{}/{path}", self.base)
    }

    fn missing(&self, path: &str) -> FetchError {
        FetchError::Missing { url: self.at(path) }
    }
}
