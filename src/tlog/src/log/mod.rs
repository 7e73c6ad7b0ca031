//! An append-only log of entries, signed, over a narrow [`LogStorage`].
//!
//! A batch is written in this order: full tiles, partial tiles, then the signed checkpoint.
//! What is beyond the last checkpoint counts for nothing and is overwritten, so a process may
//! be killed anywhere. No checkpoint is handed out before it is durable, and after a failed
//! append the log takes no more entries until it is opened again, so it never shows two that
//! are inconsistent. A batch whose append did not return may be in the log all the same:
//! whoever repeats it looks first.

mod edge;
mod files;
mod memory;
mod storage;

pub use files::{FileReader, FileStorage};
pub use memory::MemoryStorage;
pub use storage::{LogStorage, Slot, StorageError, StoredTileError, StoredTiles, TileStore};

use sealdex_crypto::log::{Hash, empty_root, leaf_hash};

use self::edge::Edge;
use crate::checkpoint::{Checkpoint, CheckpointError, MAX_SIZE};
use crate::note::{LogKey, Note, NoteError};
use crate::tile::{self, EntryBundle, MAX_ENTRY_BYTES, ProofError, TILE_WIDTH, TileId, TileKind, encode_hashes};

/// Why a log could not be made, opened, added to or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// Storage that already has a log.
    #[error("there is a log already: open it instead of making one")]
    Exists,
    /// Storage without a log. To begin again would be a fork, so it is not done unasked.
    #[error("there is no log here: make one, or restore its folder")]
    Missing,
    /// The stored checkpoint is not signed with this key, or the key cannot sign.
    #[error("the log's checkpoint: {0}")]
    Note(#[from] NoteError),
    /// The stored checkpoint is none.
    #[error("the log's checkpoint: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// A checkpoint of another log.
    #[error("the checkpoint is of {found}, not of this log")]
    Origin {
        /// Which log.
        found: String,
    },
    /// A stored tile that cannot be used.
    #[error(transparent)]
    Tile(#[from] StoredTileError),
    /// Tiles that do not lead to the root of the checkpoint.
    #[error("the stored tiles do not have the root of the checkpoint of {size} entries: restore the log")]
    Root {
        /// Entries the checkpoint has.
        size: u64,
    },
    /// An entry that does not fit. Nothing of the batch was stored.
    #[error("entry {place} of the batch has {found} bytes, at most {MAX_ENTRY_BYTES} fit")]
    EntryTooLong {
        /// Place in the batch, from 0.
        place: usize,
        /// Bytes it has.
        found: usize,
    },
    /// More entries than a log may have.
    #[error("a log has at most {MAX_SIZE} entries")]
    Full,
    /// Storage that failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// An earlier append failed, and nobody knows how far it came.
    #[error("an earlier append failed: open the log again")]
    Unsettled,
    /// A checkpoint to be published that is behind the one that is, or ahead of the log.
    #[error("cannot publish {found} entries: {published} are published, the log has {size}")]
    NotPublishable {
        /// Entries of the refused checkpoint.
        found: u64,
        /// Entries of the published one.
        published: u64,
        /// Entries of the log.
        size: u64,
    },
    /// No such proof.
    #[error(transparent)]
    Proof(#[from] ProofError<StoredTileError>),
}

/// A log that can grow. Its origin is its key's name.
pub struct Log<S> {
    storage: S,
    key: LogKey,
    head: Note,
    checkpoint: Checkpoint,
    edge: Edge,
    /// The bundle that is not full yet, once it was read: at most 16 MiB, and as much memory again while it grows.
    open_bundle: Option<EntryBundle>,
    settled: bool,
}

impl<S: LogStorage> Log<S> {
    /// Makes a log without entries.
    ///
    /// # Errors
    /// [`LogError::Exists`], or storage that failed.
    pub fn create(mut storage: S, key: LogKey) -> Result<Self, LogError> {
        if storage.read_checkpoint(Slot::Head)?.is_some() {
            return Err(LogError::Exists);
        }
        let checkpoint = Checkpoint::new(key.name().as_str(), 0, empty_root())?;
        let head = key.sign(checkpoint.to_string())?;
        storage.write_checkpoint(Slot::Head, &head.to_bytes())?;
        Ok(Self { storage, key, head, checkpoint, edge: Edge::default(), open_bundle: None, settled: true })
    }

    /// Opens a log as its last checkpoint has it, after checking its edge against that.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn open(storage: S, key: LogKey) -> Result<Self, LogError> {
        let bytes = storage.read_checkpoint(Slot::Head)?.ok_or(LogError::Missing)?;
        let head = Note::parse(&bytes)?;
        let checkpoint = own_checkpoint(&key, &head)?;
        let edge = Edge::load(&storage, checkpoint.size())?;
        if edge.root() != *checkpoint.root() {
            return Err(LogError::Root { size: checkpoint.size() });
        }
        Ok(Self { storage, key, head, checkpoint, edge, open_bundle: None, settled: true })
    }

    /// The newest checkpoint, signed by the log alone.
    #[must_use]
    pub fn head(&self) -> &Note {
        &self.head
    }

    /// What [`Self::head`] says.
    #[must_use]
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The storage, to read from.
    #[must_use]
    pub fn storage(&self) -> &S {
        &self.storage
    }

    /// Appends a batch and signs the new checkpoint. The entries are durable once this has
    /// returned; memory is bounded by the batch and the bundle that is not full. An empty batch changes nothing.
    ///
    /// # Errors
    /// [`LogError`]. Unless it is about the batch itself, the log has to be opened again.
    pub fn append<B: AsRef<[u8]>>(&mut self, entries: &[B]) -> Result<&Note, LogError> {
        if !self.settled {
            return Err(LogError::Unsettled);
        }
        if let Some((place, entry)) = entries.iter().enumerate().find(|(_, e)| e.as_ref().len() > MAX_ENTRY_BYTES) {
            return Err(LogError::EntryTooLong { place, found: entry.as_ref().len() });
        }
        let room = MAX_SIZE - self.checkpoint.size();
        if entries.len() as u64 > room {
            return Err(LogError::Full);
        }
        if !entries.is_empty() {
            self.settled = false;
            self.append_checked(entries)?;
            self.settled = true;
        }
        Ok(&self.head)
    }

    fn append_checked<B: AsRef<[u8]>>(&mut self, entries: &[B]) -> Result<(), LogError> {
        let mut bundle = match self.open_bundle.take() {
            Some(bundle) => bundle,
            None => self.read_open_bundle()?,
        };
        bundle.reserve(entries.iter().map(|entry| entry.as_ref().len()));
        let partial = self.partial();
        let mut bundle_index = self.checkpoint.size() / u64::from(TILE_WIDTH);
        let storage = &mut self.storage;
        for entry in entries {
            let id = TileId::known(TileKind::Entries, bundle_index, TILE_WIDTH);
            bundle.push(entry.as_ref()).map_err(|error| StoredTileError::Damaged { id, error })?;
            if bundle.width() == TILE_WIDTH {
                storage.write_tile(&id, bundle.as_bytes())?;
                bundle.clear();
                bundle_index += 1;
            }
            let leaf = leaf_hash(entry.as_ref());
            self.edge.push(leaf, |id, hashes| storage.write_tile(&id, &encode_hashes(hashes)))?;
        }
        if bundle.width() > 0 {
            let id = TileId::known(TileKind::Entries, bundle_index, bundle.width());
            storage.write_tile(&id, bundle.as_bytes())?;
        }
        self.edge.take_changed(|id, hashes| storage.write_tile(&id, &encode_hashes(hashes)))?;
        let checkpoint = Checkpoint::new(self.key.name().as_str(), self.edge.size(), self.edge.root())?;
        let head = self.key.sign(checkpoint.to_string())?;
        storage.write_checkpoint(Slot::Head, &head.to_bytes())?;
        (self.head, self.checkpoint) = (head, checkpoint);
        self.open_bundle = (bundle.width() > 0).then_some(bundle);
        for id in partial {
            if TileId::in_tree(id.kind(), id.index(), self.checkpoint.size()) == Some(id.full()) {
                self.storage.drop_partial(&id.full());
            }
        }
        Ok(())
    }

    /// The tiles that are not full, at most one of each kind and level.
    fn partial(&self) -> Vec<TileId> {
        let size = self.checkpoint.size();
        let bundle = TileId::in_tree(TileKind::Entries, size / u64::from(TILE_WIDTH), size);
        self.edge.partial().chain(bundle).collect()
    }

    /// The bundle that is not full yet, checked against the hashes of its entries.
    fn read_open_bundle(&self) -> Result<EntryBundle, LogError> {
        let size = self.checkpoint.size();
        if size.is_multiple_of(TILE_WIDTH.into()) {
            return Ok(EntryBundle::new());
        }
        let bundle = StoredTiles::new(&self.storage, size).bundle(size / u64::from(TILE_WIDTH))?;
        if bundle.iter().map(leaf_hash).eq(self.edge.leaves().iter().copied()) {
            Ok(bundle)
        } else {
            Err(LogError::Root { size })
        }
    }

    /// Root of the log as it was with `size` entries.
    ///
    /// # Errors
    /// [`LogError::Proof`].
    pub fn root_at(&self, size: u64) -> Result<Hash, LogError> {
        Ok(tile::root(&self.tiles(), size)?)
    }

    /// Proof that entry `index` is in the tree of the first `size` entries.
    ///
    /// # Errors
    /// [`LogError::Proof`].
    pub fn inclusion_proof(&self, index: u64, size: u64) -> Result<Vec<Hash>, LogError> {
        Ok(tile::inclusion_proof(&self.tiles(), index, size)?)
    }

    /// Proof that the tree of `old` entries is a prefix of that of `new` entries.
    ///
    /// # Errors
    /// [`LogError::Proof`].
    pub fn consistency_proof(&self, old: u64, new: u64) -> Result<Vec<Hash>, LogError> {
        Ok(tile::consistency_proof(&self.tiles(), old, new)?)
    }

    /// The entry at this place.
    ///
    /// # Errors
    /// [`LogError::Tile`].
    pub fn entry(&self, index: u64) -> Result<Vec<u8>, LogError> {
        Ok(self.tiles().entry(index)?)
    }

    /// The checkpoint that is served, `None` before the first.
    ///
    /// # Errors
    /// [`LogError`] if it cannot be read.
    pub fn published(&self) -> Result<Option<Note>, LogError> {
        let bytes = self.storage.read_checkpoint(Slot::Published)?;
        Ok(bytes.as_deref().map(Note::parse).transpose()?)
    }

    /// Serves a checkpoint from now on, with the cosignatures that were gathered for it. It is
    /// one that this log has signed, not behind the one that is served.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn publish(&mut self, note: &Note) -> Result<(), LogError> {
        let checkpoint = own_checkpoint(&self.key, note)?;
        let published = match self.published()? {
            Some(note) => own_checkpoint(&self.key, &note)?.size(),
            None => 0,
        };
        let (found, size) = (checkpoint.size(), self.checkpoint.size());
        if found < published || found > size {
            return Err(LogError::NotPublishable { found, published, size });
        }
        if self.root_at(found)? != *checkpoint.root() {
            return Err(LogError::Root { size: found });
        }
        Ok(self.storage.write_checkpoint(Slot::Published, &note.to_bytes())?)
    }

    fn tiles(&self) -> StoredTiles<'_, S> {
        StoredTiles::new(&self.storage, self.checkpoint.size())
    }
}

/// What a note says that this log has signed.
fn own_checkpoint(key: &LogKey, note: &Note) -> Result<Checkpoint, LogError> {
    note.verify(&[key.verifier()])?;
    let checkpoint = Checkpoint::parse(note.text())?;
    if checkpoint.origin() == key.name().as_str() {
        Ok(checkpoint)
    } else {
        Err(LogError::Origin { found: checkpoint.origin().into() })
    }
}
