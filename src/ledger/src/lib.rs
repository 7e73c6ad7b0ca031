//! What providers sign of their batches, and proofs that an answer is whole and unaltered.
//!
//! Each batch has two trees: one over its records, one over its sorted index entries. The provider signs both roots in
//! a [`SignedBatch`], which is an entry of the domain's log. Who has read the log has a [`LedgerView`]: against it a
//! page of matches is checked whole ([`answer::verify`]) and a sealed record unaltered ([`answer::verify_fetched`]).
//!
//! What a gate does is an entry of another log, sealed for those whom it concerns ([`act`]).
//!
//! Pure: no files, no network, no clock.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod act;
pub mod answer;
mod batch;
pub mod clause;
pub mod prove;
mod record;
pub mod run;
mod statement;
pub mod tree;
pub mod versions;
mod view;

pub use act::{ActEntry, ActError, ActReader, ActsView, BadAct, Gates, SignedAct};
pub use answer::{AnswerProof, RecordsProof, Tampered, Verdict};
pub use batch::BatchTrees;
pub use prove::{LedgerReader, prove};
pub use record::{RecordLeaf, part_hash};
pub use statement::{BatchStatement, ENTRY, SignedBatch, StatementError, ended_hash};
pub use view::{Batch, Checked, EntryError, LedgerView, Providers};
