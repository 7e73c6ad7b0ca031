//! The untrusted cloud: sealed records, one merged index over all hospitals, and the HTTP to both.
//!
//! It holds no key that opens, computes or links anything. A batch is checked (a rostered provider,
//! the gate's signature over the index entries), written to the [`store`] in one durable transaction
//! and acknowledged; a thread then brings the merged [`index`] to the store's state. Gates search
//! terms and get record ids and routing tags; whoever holds a gate's ticket fetches sealed bytes.
//!
//! The store is the truth and the index is derived: whatever is killed when, each acknowledged
//! batch is there once, and the index finds out what it has missed.

pub mod backup;
pub mod compaction;
mod http;
pub mod index;
mod indexer;
mod ingest;
mod keys;
mod ledger;
mod logs;
mod members;
mod observe;
mod serve;
pub mod store;
mod tickets;
pub mod verify;

pub use keys::{CloudKeys, KEY_KIND, KeysError};
pub use members::RosterError;
pub use serve::{Cloud, CloudConfig, CloudError, compact, serve};
