//! The hospital's ingestion job: reads records, indexes and seals them, pushes them in batches.
//!
//! ```text
//! read ─▶ prepare (index, encapsulate, seal; all cores) ─▶ bridge (gate) ─▶ upload (cloud) ─▶ journal
//! ```
//!
//! The stages overlap and keep order; memory is bounded by a few batches. The job may be killed at any
//! point and run again: what the journal lists is skipped, what the cloud has but the journal lacks is
//! pushed again and *replaces* itself there, because a record's identity has one origin term
//! (`docs/adr/0004`). Nothing that cannot be indexed is pushed half; it goes to the rejects file.

mod batch;
mod delete;
mod erase;
mod job;
mod journal;
mod manifest;
mod owners;
mod prepare;
mod rejects;
mod stating;
mod writer;

pub use delete::{DeleteInput, DeleteReport, Removal, delete};
pub use erase::{EraseInput, EraseReport, erase};
pub use job::{Progress, PushError, PushInput, PushReport, PushSettings, push};
pub use journal::{Journal, JournalError, State, Version};
pub use manifest::{Manifest, ManifestError};
pub use owners::{OwnerMap, OwnerMapError};
pub use rejects::Reject;
pub use stating::StatingError;
pub use writer::{Writer, WriterError, WriterInput, Written};
