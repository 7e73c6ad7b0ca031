//! A verified copy of a log's entries. Whoever follows a log notices when it takes something back: every checkpoint
//! must satisfy the policy and extend the last one, and every entry so far must lead to its root.

mod copy;
mod error;

pub use error::FollowError;

use std::{
    io::ErrorKind,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use sealdex_crypto::log::{Hash, empty_root, leaf_hash, verify_consistency};
use sealdex_tlog::{
    checkpoint::Checkpoint,
    log::StorageError,
    note::{Note, VerifierKey},
    policy::{Policy, PolicyError, VerifiedCheckpoint, Witness},
};

use self::copy::Copy;
use crate::{client::LogClient, range::CompactRange};

/// Entries fetched and checked at a time: 16 bundles, which bounds memory.
const STEP: u64 = 4096;

/// A checkpoint that was believed.
#[derive(Clone)]
struct Seen {
    note: Note,
    checkpoint: Checkpoint,
}

/// How far a follower has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advance {
    /// The checkpoint that the log serves now.
    pub checkpoint: VerifiedCheckpoint,
    /// Place of the first entry that was handed over.
    pub from: u64,
    /// Place behind the last: the size of the checkpoint.
    pub to: u64,
}

/// Follows one log.
pub struct Follower {
    policy: Policy,
    max_age: Option<u64>,
    copy: Option<Arc<Mutex<Copy>>>,
    /// Held by whatever writes to the copy: what a dropped [`Self::advance`] left under way goes first.
    turn: Arc<tokio::sync::Mutex<()>>,
    seen: Option<Seen>,
    /// The checkpoint in the folder, if all its entries are there as well.
    kept: Option<Checkpoint>,
    /// The tree over the entries that were fetched, a prefix of `seen`.
    range: CompactRange,
}

impl Follower {
    /// Follows a log from what the folder has of it, or from nothing. The copy is read and checked: a damaged one is
    /// fetched anew by the next [`Self::advance`], but its checkpoint is remembered. Without a folder only the last
    /// checkpoint is kept, for as long as the value lives.
    ///
    /// # Errors
    /// [`FollowError::Busy`] if another process has the folder, [`FollowError::Remembered`] or
    /// [`FollowError::Storage`].
    pub fn open(folder: Option<&Path>, policy: Policy) -> Result<Self, FollowError> {
        let (turn, range) = (Arc::default(), CompactRange::default());
        let mut follower = Self { policy, max_age: None, copy: None, turn, seen: None, kept: None, range };
        let Some(folder) = folder else { return Ok(follower) };
        let copy = Copy::open(folder)?;
        follower.seen = copy.remembered(&follower.policy)?;
        if let Some(seen) = &follower.seen {
            match copy.check(&seen.checkpoint)? {
                Some(range) => (follower.range, follower.kept) = (range, Some(seen.checkpoint.clone())),
                None => {
                    tracing::warn!(folder = %folder.display(), "the copy of the log is damaged: it is fetched anew")
                }
            }
        }
        follower.copy = Some(Arc::new(Mutex::new(copy)));
        Ok(follower)
    }

    /// Refuses checkpoints that a quorum of witnesses has cosigned longer ago than so many seconds.
    #[must_use]
    pub fn with_max_age(mut self, seconds: u64) -> Self {
        self.max_age = Some(seconds);
        self
    }

    /// Number of entries it has: those handed over, or in the folder when it was opened.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.range.size()
    }

    /// The last checkpoint that was believed; its size is not below [`Self::size`].
    #[must_use]
    pub fn checkpoint(&self) -> Option<&Checkpoint> {
        self.seen.as_ref().map(|seen| &seen.checkpoint)
    }

    /// Hands over the entries in the folder, from 0 up to [`Self::size`]; without a folder there are none.
    ///
    /// # Errors
    /// [`FollowError::Storage`] if one that was there cannot be read any more.
    pub fn replay(&self, entry: impl FnMut(u64, &[u8])) -> Result<(), FollowError> {
        let Some(copy) = &self.copy else { return Ok(()) };
        match lock(copy).each(self.size(), entry)? {
            true => Ok(()),
            false => Err(StorageError::new("read", "the copy of the log", ErrorKind::InvalidData).into()),
        }
    }

    /// Fetches the checkpoint and all entries from [`Self::size`] on, at `now`, in seconds since 1970. Each entry is
    /// handed over once it is proved to be the log's, in order, with its place; those handed over stay so if a later
    /// one fails. To be repeated after an error.
    ///
    /// # Errors
    /// [`FollowError`].
    pub async fn advance(
        &mut self,
        log: &LogClient,
        now: u64,
        mut entry: impl FnMut(u64, &[u8]),
    ) -> Result<Advance, FollowError> {
        let note = log.checkpoint().await?;
        let verified = self.verify(&note)?;
        let new = Seen { note, checkpoint: verified.checkpoint().clone() };
        let (from, to) = (self.size(), new.checkpoint.size());
        self.check_not_older(&new).await?;
        self.check_age(&verified, now)?;
        self.check_extends(log, &new).await?;
        self.seen = Some(new.clone());
        while self.size() < to {
            let step = self.fetch(log, &new.checkpoint).await?;
            step.iter().zip(self.size() - step.len() as u64..).for_each(|(bytes, place)| entry(place, bytes));
        }
        if self.kept.as_ref() != Some(&new.checkpoint) {
            let before = self.kept.as_ref().map_or(0, Checkpoint::size);
            self.with_copy(move |copy| copy.remember(&new, before)).await?;
            self.kept = Some(verified.checkpoint().clone());
        }
        Ok(Advance { checkpoint: verified, from, to })
    }

    fn verify(&self, note: &Note) -> Result<VerifiedCheckpoint, FollowError> {
        self.policy.verify(note).map_err(|error| {
            // The signatures of a checkpoint without a quorum were all checked; only their number is wrong.
            let has = |key: &VerifierKey| match &error {
                PolicyError::NoQuorum { .. } => note.signatures().iter().any(|signature| key.matches(signature)),
                _ => false,
            };
            let (found, missing): (Vec<_>, Vec<_>) = self.policy.witnesses().iter().partition(|w| has(&w.key));
            let names = |witnesses: Vec<&Witness>| witnesses.iter().map(|w| w.key.name().clone()).collect();
            FollowError::of_policy(error, self.policy.origin(), [names(found), names(missing)])
        })
    }

    fn check_age(&self, verified: &VerifiedCheckpoint, now: u64) -> Result<(), FollowError> {
        let Some(max_age) = self.max_age else { return Ok(()) };
        let time = verified.time().ok_or_else(|| FollowError::NoTime { origin: self.origin() })?;
        let age = now.saturating_sub(time);
        if age > max_age { Err(FollowError::TooOld { origin: self.origin(), age, max_age }) } else { Ok(()) }
    }

    /// What the two checkpoints alone say.
    async fn check_not_older(&self, new: &Seen) -> Result<(), FollowError> {
        let Some(seen) = &self.seen else { return Ok(()) };
        let (before, now) = (&seen.checkpoint, &new.checkpoint);
        if now.size() < before.size() {
            return Err(FollowError::Replayed { origin: self.origin(), seen: before.size(), found: now.size() });
        }
        if now.size() == before.size() && now.root() != before.root() {
            return Err(self.fork(seen, new).await);
        }
        Ok(())
    }

    /// Whether a larger checkpoint begins with the last one.
    async fn check_extends(&self, log: &LogClient, new: &Seen) -> Result<(), FollowError> {
        let Some(seen) = &self.seen else { return Ok(()) };
        let prefix = self.prefix_root(log, seen.checkpoint.size(), &new.checkpoint).await?;
        if prefix == *seen.checkpoint.root() { Ok(()) } else { Err(self.fork(seen, new).await) }
    }

    /// The root that the first `size` entries of the checkpoint's tree have, as proved by the log's tiles.
    async fn prefix_root(&self, log: &LogClient, size: u64, whole: &Checkpoint) -> Result<Hash, FollowError> {
        if size == 0 {
            return Ok(empty_root());
        }
        if size == whole.size() {
            return Ok(*whole.root());
        }
        // A second time without the tiles that were kept: one of them may be what is wrong.
        for _ in 0..2 {
            let (root, proof) = log.prefix(size, whole.size()).await?;
            if verify_consistency(size, &root, whole.size(), whole.root(), &proof).is_ok() {
                return Ok(root);
            }
            log.forget_tiles();
        }
        Err(FollowError::Tiles { origin: self.origin(), size: whole.size() })
    }

    /// Fetches the next entries, checks that they are the log's, and keeps them.
    async fn fetch(&mut self, log: &LogClient, whole: &Checkpoint) -> Result<Arc<Vec<Vec<u8>>>, FollowError> {
        let from = self.size();
        let to = whole.size().min((from / STEP + 1) * STEP);
        let entries = Arc::new(log.entries(from..to, whole.size()).await?);
        let mut range = self.range.clone();
        entries.iter().for_each(|entry| range.push(leaf_hash(entry)));
        if range.size() != to || range.root() != self.prefix_root(log, to, whole).await? {
            return Err(FollowError::Entries { origin: self.origin(), from, to });
        }
        let kept = entries.clone();
        self.with_copy(move |copy| copy.append(from, &kept)).await?;
        self.range = range;
        Ok(entries)
    }

    async fn fork(&self, before: &Seen, new: &Seen) -> FollowError {
        let notes = Box::new([before.note.to_string(), new.note.to_string()]);
        let (origin, seen, found) = (self.origin(), before.checkpoint.size(), new.checkpoint.size());
        let (before, new) = (before.clone(), new.clone());
        let kept = self.with_copy(move |copy| copy.keep_evidence(&before, &new)).await;
        let evidence = kept.unwrap_or_else(|error| {
            tracing::error!(%error, "cannot keep the evidence of a fork");
            None
        });
        FollowError::Fork { origin, seen, found, notes, evidence }
    }

    /// Does something with the copy off the event loop; `None` if there is none.
    async fn with_copy<T: Send + 'static>(
        &self,
        f: impl FnOnce(&mut Copy) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<Option<T>, FollowError> {
        let Some(copy) = self.copy.clone() else { return Ok(None) };
        let turn = self.turn.clone().lock_owned().await;
        let done = sealdex_net::blocking(move || {
            let done = f(&mut lock(&copy));
            // The folder's lock goes with the last who has the copy.
            drop(copy);
            drop(turn);
            done
        });
        let done = done.await;
        let done = done.unwrap_or_else(|_| Err(StorageError::new("write", "the copy of the log", ErrorKind::Other)));
        Ok(Some(done?))
    }

    fn origin(&self) -> String {
        self.policy.origin().into()
    }
}

/// Bundles are replaced in one step: whoever panicked has left none half written.
fn lock(copy: &Mutex<Copy>) -> std::sync::MutexGuard<'_, Copy> {
    copy.lock().unwrap_or_else(PoisonError::into_inner)
}
