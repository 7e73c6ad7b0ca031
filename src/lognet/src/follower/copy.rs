//! A follower's copy on disk: the bundles and the checkpoint of a log's folder, without hash tiles.

use std::{
    fs::File,
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
};

use sealdex_crypto::log::leaf_hash;
use sealdex_tlog::{
    checkpoint::Checkpoint,
    log::{FileStorage, LogStorage, Slot, StorageError, StoredTiles, TileStore},
    note::Note,
    policy::{Policy, PolicyError},
    tile::{EntryBundle, TILE_WIDTH, TileId, TileKind},
};

use super::{FollowError, Seen};
use crate::range::CompactRange;

/// A folder that only this process writes to.
pub(super) struct Copy {
    folder: PathBuf,
    storage: FileStorage,
}

impl Copy {
    /// Opens the folder, making it if there is none.
    pub(super) fn open(folder: &Path) -> Result<Self, FollowError> {
        let storage = FileStorage::open(folder).map_err(|error| match error.kind {
            ErrorKind::WouldBlock => FollowError::Busy { folder: folder.into() },
            _ => error.into(),
        })?;
        Ok(Self { folder: folder.into(), storage })
    }

    /// The checkpoint remembered there. The log has signed it; its witnesses may be others by now.
    pub(super) fn remembered(&self, policy: &Policy) -> Result<Option<Seen>, FollowError> {
        let Some(bytes) = self.storage.read_checkpoint(Slot::Published)? else { return Ok(None) };
        let unusable = |error| FollowError::Remembered { folder: self.folder.clone(), error };
        let read = || -> Result<Seen, PolicyError> {
            let note = Note::parse(&bytes)?;
            match policy.verify(&note) {
                Ok(_) | Err(PolicyError::NoQuorum { .. }) => {}
                Err(error) => return Err(error),
            }
            let checkpoint = Checkpoint::parse(note.text())?;
            Ok(Seen { note, checkpoint })
        };
        read().map(Some).map_err(unusable)
    }

    /// The tree over all entries of the copy, `None` if they are not those of the checkpoint.
    pub(super) fn check(&self, checkpoint: &Checkpoint) -> Result<Option<CompactRange>, FollowError> {
        let mut range = CompactRange::default();
        let read = self.each(checkpoint.size(), |_, entry| range.push(leaf_hash(entry)))?;
        Ok((read && range.root() == *checkpoint.root()).then_some(range))
    }

    /// Every entry of the first `size`, in order; `false` if one cannot be read.
    pub(super) fn each(&self, size: u64, mut entry: impl FnMut(u64, &[u8])) -> Result<bool, StorageError> {
        let (tiles, width) = (StoredTiles::new(&self.storage, size), u64::from(TILE_WIDTH));
        for index in 0..size.div_ceil(width) {
            let Ok(bundle) = tiles.bundle(index) else { return Ok(false) };
            let places = (index * width..size).zip(bundle.iter());
            places.for_each(|(place, bytes)| entry(place, bytes));
        }
        Ok(true)
    }

    /// Adds entries behind the first `from`. They count once [`Self::remember`] has returned.
    pub(super) fn append(&mut self, from: u64, entries: &[Vec<u8>]) -> Result<(), StorageError> {
        let width = u64::from(TILE_WIDTH);
        let mut index = from / width;
        let mut bundle = match from % width {
            0 => EntryBundle::new(),
            open => self.open_bundle(index, open)?,
        };
        for (i, entry) in entries.iter().enumerate() {
            bundle
                .push(entry)
                .map_err(|_| StorageError::new("keep", format!("entry {}", from + i as u64), ErrorKind::InvalidData))?;
            if bundle.width() == TILE_WIDTH {
                self.write(index, &bundle)?;
                (index, bundle) = (index + 1, EntryBundle::new());
            }
        }
        if bundle.width() > 0 { self.write(index, &bundle) } else { Ok(()) }
    }

    /// The first entries of a bundle that grows.
    fn open_bundle(&self, index: u64, entries: u64) -> Result<EntryBundle, StorageError> {
        let failed = || StorageError::new("read", format!("bundle {index} of the copy"), ErrorKind::InvalidData);
        let size = index * u64::from(TILE_WIDTH) + entries;
        let stored = StoredTiles::new(&self.storage, size).bundle(index).map_err(|_| failed())?;
        let mut bundle = EntryBundle::new();
        for entry in stored.iter().take(entries as usize) {
            bundle.push(entry).map_err(|_| failed())?;
        }
        Ok(bundle)
    }

    fn write(&mut self, index: u64, bundle: &EntryBundle) -> Result<(), StorageError> {
        let id = TileId::new(TileKind::Entries, index, bundle.width());
        let id = id.map_err(|_| StorageError::new("name", format!("bundle {index}"), ErrorKind::InvalidData))?;
        self.storage.write_tile(&id, bundle.as_bytes())
    }

    /// Makes the entries durable, then the checkpoint that has them.
    pub(super) fn remember(&mut self, seen: &Seen, from: u64) -> Result<(), StorageError> {
        self.storage.write_checkpoint(Slot::Published, &seen.note.to_bytes())?;
        let width = u64::from(TILE_WIDTH);
        for index in from / width..seen.checkpoint.size() / width {
            if let Ok(full) = TileId::new(TileKind::Entries, index, TILE_WIDTH) {
                self.storage.drop_partial(&full);
            }
        }
        Ok(())
    }

    /// Keeps two checkpoints that contradict each other, in a file whose name they give.
    pub(super) fn keep_evidence(&self, before: &Seen, now: &Seen) -> Result<PathBuf, StorageError> {
        let root: String = now.checkpoint.root()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        let path = self.folder.join(format!("fork-{}-{}-{root}.txt", before.checkpoint.size(), now.checkpoint.size()));
        let write = || {
            let mut file = File::create(&path)?;
            write!(file, "{}\n{}", before.note, now.note)?;
            file.sync_all()
        };
        write().map_err(|e| StorageError::new("keep a fork in", path.display(), e.kind()))?;
        Ok(path)
    }
}
