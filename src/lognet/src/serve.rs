//! A log's folder over HTTP, read-only (C2SP tlog-tiles).

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use axum::{
    Router,
    extract::{Path, State},
    response::{IntoResponse, Response},
    routing::get,
};
use http::{StatusCode, header};
use sealdex_tlog::{
    checkpoint::Checkpoint,
    log::{FileReader, Slot, StorageError, TileStore},
    note::Note,
    tile::TileId,
};

const NOTE: &str = "text/plain; charset=utf-8";
const TILE: &str = "application/octet-stream";
const IMMUTABLE: &str = "public, max-age=31536000, immutable";
const REVALIDATE: &str = "no-cache";

/// Serves the log in a folder that [`sealdex_tlog::log::FileStorage`] writes: `checkpoint`, the published one (404
/// before the first), and the tiles of its tree at `tile/…`. What is beyond the published checkpoint is not served: a
/// crash may still replace it, and full tiles are cached for good. To be nested under any prefix.
pub fn log_router(reader: FileReader) -> Router {
    let served = Arc::new(Served { reader, size: AtomicU64::new(0) });
    Router::new().route("/checkpoint", get(checkpoint)).route("/tile/{*rest}", get(tile)).with_state(served)
}

struct Served {
    reader: FileReader,
    /// Entries of the largest published checkpoint that was read.
    size: AtomicU64,
}

impl Served {
    fn tile(&self, id: &TileId) -> Result<Option<Vec<u8>>, StorageError> {
        if self.has(id) || self.learns_of(id)? { self.reader.read_tile(id) } else { Ok(None) }
    }

    /// Whether the tree that is known to be published has so much of the tile.
    fn has(&self, id: &TileId) -> bool {
        let size = self.size.load(Ordering::Relaxed);
        TileId::in_tree(id.kind(), id.index(), size).is_some_and(|published| published.width() >= id.width())
    }

    fn learns_of(&self, id: &TileId) -> Result<bool, StorageError> {
        let note = self.reader.read_checkpoint(Slot::Published)?;
        let note = note.and_then(|bytes| Note::parse(&bytes).ok());
        let size = note.and_then(|note| Checkpoint::parse(note.text()).ok()).map_or(0, |c| c.size());
        self.size.fetch_max(size, Ordering::Relaxed);
        Ok(self.has(id))
    }
}

async fn checkpoint(State(served): State<Arc<Served>>) -> Response {
    let note = read(served, |served| served.reader.read_checkpoint(Slot::Published)).await;
    answer(note, NOTE, REVALIDATE)
}

async fn tile(State(served): State<Arc<Served>>, Path(rest): Path<String>) -> Response {
    // Only a name that is a tile's own becomes a path, and that one is written anew.
    let Ok(id) = TileId::parse(&format!("tile/{rest}")) else { return answer(Ok(None), TILE, REVALIDATE) };
    // A partial tile goes once the full one is there.
    let caching = if id.is_partial() { REVALIDATE } else { IMMUTABLE };
    answer(read(served, move |served| served.tile(&id)).await, TILE, caching)
}

/// Reads files off the event loop.
async fn read<T: Send + 'static>(
    served: Arc<Served>,
    f: impl FnOnce(&Served) -> Result<T, StorageError> + Send + 'static,
) -> Result<T, StorageError> {
    let read = sealdex_net::blocking(move || f(&served)).await;
    read.unwrap_or_else(|_| Err(StorageError::new("finish reading", "the log", std::io::ErrorKind::Other)))
}

fn answer(content: Result<Option<Vec<u8>>, StorageError>, media: &'static str, caching: &'static str) -> Response {
    let plain = |status: StatusCode, text: &'static str| {
        (status, [(header::CONTENT_TYPE, NOTE), (header::CACHE_CONTROL, "no-store")], text).into_response()
    };
    match content {
        Ok(Some(bytes)) => ([(header::CONTENT_TYPE, media), (header::CACHE_CONTROL, caching)], bytes).into_response(),
        Ok(None) => plain(StatusCode::NOT_FOUND, "the log has published nothing of this name\n"),
        Err(error) => {
            tracing::error!(%error, "cannot read the log");
            plain(StatusCode::INTERNAL_SERVER_ERROR, "the log's storage failed\n")
        }
    }
}
