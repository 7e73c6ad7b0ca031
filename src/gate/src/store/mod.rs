//! What the gate keeps: roster and who is enrolled below it, bridges, groups, owner profiles, grants, tombstones,
//! emergencies, requests, mandates, tickets, audit.
//!
//! A backend stores rows of bytes in named tables, ordered by key, and runs closures in serialisable
//! transactions ([`ConsentStore`]); that is all a new backend has to do, and `conformance` says whether
//! it does it. What the rows mean is laid out once, above the backends, in [`consents`]. Scalars are
//! sealed before they reach this layer ([`crate::secrets::StoreKey`]).

pub mod act_log;
pub mod check;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
pub mod consents;
pub mod erasures;
pub mod memory;
pub mod redb;
pub mod rows;
pub mod upgrade;

pub use act_log::{ReadActLog, WriteActLog};
pub use consents::{ReadConsents, WriteConsents};
pub use erasures::{ReadErasures, Scan, WriteErasures};
pub use memory::MemoryStore;
pub use redb::RedbStore;
pub use rows::{
    AccessRow, AuditEntry, AuditKind, Cover, GrantKey, GrantRow, NOBODY, RequestRow, Spent, TicketRow, WakeRow,
};

/// Tables, with their names on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Table {
    /// Format of the store.
    Meta,
    /// The newest roster, as signed.
    Roster,
    /// Of a gate of several nodes: grant or member → what the shares are checked against.
    Commitments,
    /// Member → sealed `δ`, or this node's share of it.
    Bridges,
    /// Owner → signed profile.
    Profiles,
    /// (owner, section, epoch, reader, slot) → what a search needs of a grant, `rk` sealed.
    Grants,
    /// The same key → signed terms.
    GrantTerms,
    /// (reader, owner, section, epoch, slot) → nothing.
    GrantsByReader,
    /// (owner, reader, section or all) → time, signed revocation.
    Tombstones,
    /// Sequence number → what happened.
    Audit,
    /// Ticket nonce → whom it lets fetch what until when.
    Tickets,
    /// (owner, sequence number, running number) → what was done with the owner's records or consent.
    Accesses,
    /// Group → signed charter.
    Groups,
    /// Enrolments in their order, dismissals by member.
    Family,
    /// (owner, reader, time, emergency) → who signed what, and how far it is.
    Wakes,
    /// (owner, number) → request for access.
    Requests,
    /// (who asked, owner, number) → nothing.
    RequestsBy,
    /// (owner, carer) → signed mandate.
    Mandates,
    /// (carer, owner) → nothing.
    MandatesTo,
    /// (node, number) → request that another node may lack.
    Entries,
    /// Node → up to which number its requests were taken in.
    Known,
    /// Grant or member → share and commitments of a sharing that is not in force yet.
    Staged,
    /// Acts that wait for the log of acts, entries made for it, and the last one made.
    ActLog,
    /// Orders to erase, and the records they concern.
    Erasures,
}

impl Table {
    /// All tables, in the order of their discriminants.
    pub const ALL: [Self; 24] = [
        Self::Meta,
        Self::Roster,
        Self::Commitments,
        Self::Bridges,
        Self::Profiles,
        Self::Grants,
        Self::GrantTerms,
        Self::GrantsByReader,
        Self::Tombstones,
        Self::Audit,
        Self::Tickets,
        Self::Accesses,
        Self::Groups,
        Self::Family,
        Self::Wakes,
        Self::Requests,
        Self::RequestsBy,
        Self::Mandates,
        Self::MandatesTo,
        Self::Entries,
        Self::Known,
        Self::Staged,
        Self::ActLog,
        Self::Erasures,
    ];

    /// Name on disk, and first associated-data string of what is sealed in it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Roster => "roster",
            Self::Bridges => "bridges",
            Self::Profiles => "profiles",
            Self::Grants => "grants",
            Self::GrantTerms => "grant_terms",
            Self::GrantsByReader => "grants_by_reader",
            Self::Tombstones => "tombstones",
            Self::Audit => "audit",
            Self::Tickets => "tickets",
            Self::Accesses => "accesses",
            Self::Groups => "groups",
            Self::Family => "family",
            Self::Wakes => "wakes",
            Self::Requests => "requests",
            Self::RequestsBy => "requests_by",
            Self::Mandates => "mandates",
            Self::MandatesTo => "mandates_to",
            Self::Commitments => "commitments",
            Self::Entries => "entries",
            Self::Known => "known",
            Self::Staged => "staged",
            Self::ActLog => "act_log",
            Self::Erasures => "erasures",
        }
    }
}

/// Why the store failed. Nothing was written.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum StoreError {
    /// The backend failed: disk full, file locked by another process, damaged.
    #[error("the consent store failed: {0}")]
    Backend(String),
    /// There is no room to write.
    #[error("{0}")]
    NoSpace(String),
    /// A row is not what this program writes.
    #[error("a row of table {0} is damaged or was written by another version")]
    Row(&'static str),
    /// The file has another format.
    #[error("the consent store has format {found}, this program reads {expected}")]
    Format {
        /// In the file.
        found: u32,
        /// Of this program.
        expected: u32,
    },
}

impl From<std::io::Error> for StoreError {
    fn from(e: std::io::Error) -> Self {
        Self::Backend(e.to_string())
    }
}

/// One row: key, value.
pub type Row = (Vec<u8>, Vec<u8>);

/// A consistent state of all tables.
pub trait Snapshot {
    /// The value of a key.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;
    /// Rows with `from ≤ key`, and `key < to` if given, in key order, at most `limit`.
    fn range(&self, table: Table, from: &[u8], to: Option<&[u8]>, limit: usize) -> Result<Vec<Row>, StoreError>;
    /// The largest key.
    fn last_key(&self, table: Table) -> Result<Option<Vec<u8>>, StoreError>;
}

/// A state that can be changed; reads see its own writes.
pub trait Transaction: Snapshot {
    /// Sets a value.
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), StoreError>;
    /// Removes a key; whether it was there.
    fn remove(&mut self, table: Table, key: &[u8]) -> Result<bool, StoreError>;
}

/// Storage with serialisable, durable, all-or-none transactions.
pub trait ConsentStore: Send + Sync + 'static {
    /// Runs `f` on one consistent state.
    fn read<T, E: From<StoreError>>(&self, f: impl FnOnce(&dyn Snapshot) -> Result<T, E>) -> Result<T, E>;

    /// Runs `f` on the newest state. If it returns `Ok`, its writes are durable when this returns and
    /// visible to every later transaction; if it returns `Err`, or the process dies, there is no trace
    /// of them. A backend may run `f` again after a conflict with another writer, so `f` has no other
    /// effects.
    fn write<T, E: From<StoreError>>(&self, f: impl FnMut(&mut dyn Transaction) -> Result<T, E>) -> Result<T, E>;
}
