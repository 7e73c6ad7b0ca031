//! Checking a cloud's data directory against its own log: that what is stored is what providers signed, all of it, and
//! nothing else. Changes nothing; the cloud must not be running on the directory.

mod batch;
mod index;

use std::path::Path;

use sealdex_crypto::{
    PrincipalId,
    log::{Hash, Tree, leaf_hash},
};
use sealdex_dbfile::Soundness;
use sealdex_ledger::{EntryError, LedgerView, SignedBatch};
use sealdex_lognet::domain::{LedgerError, Which, policy};
use sealdex_tlog::{
    log::{FileReader, Slot, StorageError, StoredTileError, StoredTiles, TileStore},
    note::Note,
    policy::Policy,
};
use sealdex_wire::roster::{Ledger, PublicKeys};

use self::{batch::check_batch, index::check_index};
use crate::{
    index::IndexError,
    logs::folder,
    members::{Domain, Members, RosterError},
    store::{RedbStore, RosterStore, SealedStore, Snapshot, StoreError},
};

/// Differences that are listed; more are only counted.
const LISTED: usize = 1000;

/// Why nothing could be checked.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The store.
    #[error("cannot open the store (is a cloud running on it?): {0}")]
    Store(#[from] StoreError),
    /// The roster.
    #[error("the stored roster is refused: {0}")]
    Roster(#[from] RosterError),
    /// No roster.
    #[error("the store has no roster: nothing was ever pushed to it")]
    NoRoster,
    /// No log.
    #[error("the domain has no log: there is nothing to check against")]
    NoLog,
    /// The roster's keys.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The authority's keys are none.
    #[error("the authority's keys are none")]
    Authority,
    /// The log's files.
    #[error(transparent)]
    Log(#[from] StorageError),
    /// The search index.
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// What was checked, and what differs.
#[derive(Clone, Debug, Default)]
pub struct Verified {
    /// Batches in the store.
    pub batches: u64,
    /// Of them, batches under a checkpoint that the domain's policy believes.
    pub witnessed: u64,
    /// Names of the witnesses that cosigned it.
    pub witnesses: Vec<String>,
    /// Live records whose sealed bytes, tags and terms were hashed.
    pub records: u64,
    /// Index entries of batches, compared with what was signed.
    pub pairs: u64,
    /// Index entries of the search index, compared with those of live records.
    pub indexed: u64,
    /// What differs; the first thousand.
    pub differences: Vec<String>,
    /// All that differ.
    pub count: u64,
    /// What is no difference, but worth knowing.
    pub notes: Vec<String>,
}

impl Verified {
    fn differs(&mut self, what: impl Into<String>) {
        self.count += 1;
        if self.differences.len() < LISTED {
            self.differences.push(what.into());
        }
    }
}

/// Checks everything. `progress` is told how many of the batches are done.
///
/// # Errors
/// [`VerifyError`] when nothing can be checked; what differs is in [`Verified::differences`].
pub fn verify(
    data: &Path,
    domain: &str,
    cloud: PrincipalId,
    authority: &PublicKeys,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Verified, VerifyError> {
    let authority = authority.identity().map_err(|_| VerifyError::Authority)?;
    let store = RedbStore::open(&data.join("store.redb"))?;
    let served = Domain::new(domain.to_owned(), cloud, authority);
    let members = served.verify_stored(&store.roster()?.ok_or(VerifyError::NoRoster)?)?;
    let ledger = members.ledger.clone().ok_or(VerifyError::NoLog)?;
    let snapshot = store.snapshot()?;
    let mut out = Verified { batches: snapshot.last_seq(), ..Verified::default() };
    if let Soundness::Damaged(what) = store.check(u64::MAX)? {
        out.differs(format!("store.redb is damaged: {what}"));
    }
    let entries = check_log(data, &ledger, &*snapshot, &mut out)?;
    let view = read_entries(domain, &members, &*snapshot, entries, &mut out)?;
    let mut index = index::Sums::new();
    for seq in 1..=view.size() {
        check_batch(&*snapshot, &view, seq, &mut index, &mut out)?;
        progress(seq, view.size());
    }
    if out.records != snapshot.live() {
        let (live, known) = (snapshot.live(), out.records);
        out.differs(format!("the store has {live} live records, and the batches of the log have {known}"));
    }
    check_index(&data.join("index"), &*snapshot, &view, &index, &mut out)?;
    Ok(out)
}

/// The entries of the log, after its own files were found to lead to its checkpoints.
fn check_log(
    data: &Path,
    ledger: &Ledger,
    snapshot: &dyn Snapshot,
    out: &mut Verified,
) -> Result<Vec<Vec<u8>>, VerifyError> {
    let reader = FileReader::new(folder(data, Which::Batches));
    let policy: Policy = policy(ledger, Which::Batches)?;
    let alone = Policy::new(
        sealdex_tlog::note::VerifierKey::parse(&ledger.batches)
            .map_err(|error| LedgerError::Key { key: ledger.batches.clone(), error })?,
        Vec::new(),
        0,
    )
    .map_err(LedgerError::from)?;
    let mut sizes = [0_u64; 2];
    let mut roots: [Option<Hash>; 2] = [None, None];
    for (at, (slot, policy, what)) in
        [(Slot::Head, &alone, "newest own checkpoint"), (Slot::Published, &policy, "served checkpoint")]
            .into_iter()
            .enumerate()
    {
        let Some(bytes) = reader.read_checkpoint(slot)? else { continue };
        match policy.verify_bytes(&bytes) {
            Ok(verified) => {
                sizes[at] = verified.checkpoint().size();
                roots[at] = Some(*verified.checkpoint().root());
                if slot == Slot::Published {
                    out.witnesses = verified.cosignatures().iter().map(|c| c.witness.to_string()).collect();
                }
            }
            Err(error) => {
                let size = Note::parse(&bytes).ok().map(|n| n.text().lines().nth(1).unwrap_or("?").to_owned());
                out.differs(format!(
                    "the log's {what} ({} entries) is not believed: {error}",
                    size.unwrap_or_default()
                ));
            }
        }
    }
    let [head, published] = sizes;
    out.witnessed = published;
    if published < snapshot.last_seq() {
        out.notes.push(format!("{} batches are not under a served checkpoint yet", snapshot.last_seq() - published));
    }
    let tiles = StoredTiles::new(&reader, head);
    let (mut tree, mut entries) = (Tree::new(), Vec::new());
    for place in 0..head {
        match tiles.entry(place) {
            Ok(entry) => {
                tree.push(leaf_hash(&entry));
                entries.push(entry);
            }
            Err(StoredTileError::Storage(e)) => return Err(e.into()),
            Err(error) => {
                out.differs(format!("entry {} of the log: {error}", place + 1));
                return Ok(entries);
            }
        }
    }
    for (size, root, what) in [(head, roots[0], "newest own"), (published, roots[1], "served")] {
        if let Some(root) = root
            && tree.root_at(size).ok() != Some(root)
        {
            out.differs(format!(
                "the entries of the log do not lead to the root of its {what} checkpoint, of {size} entries"
            ));
        }
    }
    Ok(entries)
}

/// The store's entries as a reader of the log takes them in; those that differ from the log are named.
fn read_entries(
    domain: &str,
    members: &Members,
    snapshot: &dyn Snapshot,
    logged: Vec<Vec<u8>>,
    out: &mut Verified,
) -> Result<LedgerView, VerifyError> {
    let mut view = LedgerView::new(domain);
    let last = snapshot.last_seq();
    if logged.len() as u64 > last {
        out.differs(format!("the log has {} batches and the store {last}: the newest are gone", logged.len()));
    }
    for seq in 1..=last {
        let Some(stored) = snapshot.entry(seq)? else {
            out.differs(format!("batch {seq} has no statement in the store"));
            break;
        };
        let entry = match logged.get(seq as usize - 1) {
            Some(entry) if *entry != stored => {
                out.differs(format!("the statement of batch {seq} in the store is not the entry of the log"));
                entry.clone()
            }
            _ => stored,
        };
        let taken = view.check(&entry, members).and_then(|checked| {
            let ended = snapshot.ended(seq).unwrap_or_default();
            view.add(checked, &ended).map(|()| ended)
        });
        if let Err(error) = taken {
            out.differs(error.to_string());
            if !matches!(error, EntryError::Ended { .. }) || SignedBatch::from_entry(&entry).is_err() {
                out.notes.push(format!("batches from {seq} on are not checked further"));
            }
            break;
        }
    }
    Ok(view)
}
