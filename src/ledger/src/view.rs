//! What a reader of the log knows: every batch with its roots, and every record that has ended.

use std::collections::HashMap;

use sealdex_crypto::{BatchId, PrincipalId, PublicIdentity, RecordId, log::Hash};

use crate::statement::{BatchStatement, SignedBatch, StatementError, ended_hash};

/// Who may have written to the log.
pub trait Providers {
    /// Keys of a provider that is or was in the domain, and the hospital it belongs to.
    fn provider(&self, id: PrincipalId) -> Option<(PublicIdentity, PrincipalId)>;
}

/// Why an entry of the log is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// Not a statement, or not signed by its provider.
    #[error("entry {seq} of the log: {source}")]
    Statement {
        /// Place in the log, from 1.
        seq: u64,
        /// What is wrong.
        source: StatementError,
    },
    /// Signed by nobody in the roster.
    #[error(
        "entry {seq} of the log is of provider {provider}, whom the roster does not list: fetch the newest domain pack"
    )]
    Unknown {
        /// Place in the log, from 1.
        seq: u64,
        /// Who.
        provider: PrincipalId,
    },
    /// The provider's chain is broken.
    #[error(
        "entry {seq} of the log is statement {found} of provider {provider}, expected {expected} after the one before: statements were left out, repeated or put in another order"
    )]
    Chain {
        /// Place in the log, from 1.
        seq: u64,
        /// Who.
        provider: PrincipalId,
        /// Number that should come.
        expected: u64,
        /// Number that came.
        found: u64,
    },
    /// The ids do not hash to what was signed.
    #[error("the records that entry {seq} of the log ends are not those its provider {provider} signed")]
    Ended {
        /// Place in the log, from 1.
        seq: u64,
        /// Who.
        provider: PrincipalId,
    },
}

/// A batch in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Who pushed it.
    pub provider: PrincipalId,
    /// The hospital that provider belongs to.
    pub hospital: PrincipalId,
    /// Which.
    pub batch: BatchId,
    /// Records.
    pub records: u32,
    /// Root of their tree.
    pub records_root: Hash,
    /// Pairs of the run.
    pub pairs: u64,
    /// Root of the run.
    pub run_root: Hash,
}

/// The log as read so far: about 200 bytes a batch and 40 a record that was replaced.
#[derive(Clone, Debug, Default)]
pub struct LedgerView {
    domain: String,
    batches: Vec<Batch>,
    heads: HashMap<PrincipalId, (u64, Hash)>,
    /// By hospital: what one says of another's records counts for nothing.
    ended: HashMap<(PrincipalId, RecordId), u64>,
}

/// An entry whose signature and place in its provider's chain were checked, not yet taken in.
#[derive(Debug)]
pub struct Checked {
    statement: BatchStatement,
    digest: Hash,
    hospital: PrincipalId,
}

impl Checked {
    /// How many records it ends: their ids have to be fetched, if any.
    #[must_use]
    pub fn ended(&self) -> u32 {
        self.statement.ended
    }
}

impl LedgerView {
    /// Nothing read yet.
    #[must_use]
    pub fn new(domain: &str) -> Self {
        Self { domain: domain.into(), ..Self::default() }
    }

    /// Entries taken in: the place of the last.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.batches.len() as u64
    }

    /// The batch at a place, from 1.
    #[must_use]
    pub fn batch(&self, seq: u64) -> Option<&Batch> {
        self.batches.get(usize::try_from(seq.checked_sub(1)?).ok()?)
    }

    /// Number and digest of a provider's last statement; `(0, zeros)` before the first.
    #[must_use]
    pub fn head(&self, provider: PrincipalId) -> (u64, Hash) {
        self.heads.get(&provider).copied().unwrap_or((0, [0; 32]))
    }

    /// Place of the batch that ended a record of a hospital.
    #[must_use]
    pub fn ended_by(&self, id: RecordId, hospital: PrincipalId) -> Option<u64> {
        self.ended.get(&(hospital, id)).copied()
    }

    /// Whether a record of a hospital had ended when the log had `size` entries.
    #[must_use]
    pub fn has_ended(&self, id: RecordId, hospital: PrincipalId, size: u64) -> bool {
        self.ended.get(&(hospital, id)).is_some_and(|seq| *seq <= size)
    }

    /// Checks the next entry. 50 µs.
    ///
    /// # Errors
    /// [`EntryError`].
    pub fn check(&self, entry: &[u8], providers: &impl Providers) -> Result<Checked, EntryError> {
        let seq = self.size() + 1;
        let wrong = |source| EntryError::Statement { seq, source };
        let signed = SignedBatch::from_entry(entry).map_err(wrong)?;
        let provider = signed.statement.provider;
        let (keys, hospital) = providers.provider(provider).ok_or(EntryError::Unknown { seq, provider })?;
        signed.verify(&self.domain, &keys).map_err(wrong)?;
        self.follows(&signed.statement)?;
        Ok(Checked { digest: signed.digest(), statement: signed.statement, hospital })
    }

    fn follows(&self, statement: &BatchStatement) -> Result<(), EntryError> {
        let (provider, found) = (statement.provider, statement.number);
        let (number, previous) = self.head(provider);
        if number.checked_add(1) == Some(found) && statement.previous == previous {
            return Ok(());
        }
        Err(EntryError::Chain { seq: self.size() + 1, provider, expected: number.saturating_add(1), found })
    }

    /// Takes an entry in, with the ids of the records it ends (16 bytes each; empty if none).
    ///
    /// # Errors
    /// [`EntryError::Ended`], or [`EntryError::Chain`] if another of the provider's was taken in since the check;
    /// nothing has changed then.
    pub fn add(&mut self, checked: Checked, ended: &[u8]) -> Result<(), EntryError> {
        let Checked { statement, digest, hospital } = checked;
        self.follows(&statement)?;
        let (seq, provider) = (self.size() + 1, statement.provider);
        let (ids, rest) = ended.as_chunks::<16>();
        let fits = rest.is_empty() && ids.len() == statement.ended as usize && ids.is_sorted();
        if !fits || ended_hash(ended) != statement.ended_hash {
            return Err(EntryError::Ended { seq, provider });
        }
        for id in ids {
            // Whatever ended first stays ended: a provider cannot bring it back.
            self.ended.entry((hospital, RecordId(*id))).or_insert(seq);
        }
        self.heads.insert(provider, (statement.number, digest));
        self.batches.push(Batch {
            provider,
            hospital,
            batch: statement.batch,
            records: statement.records,
            records_root: statement.records_root,
            pairs: statement.pairs,
            run_root: statement.run_root,
        });
        Ok(())
    }
}
