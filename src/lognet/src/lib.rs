//! Transparency logs and witnesses over HTTP, as C2SP [tlog-tiles](https://c2sp.org/tlog-tiles) and
//! [tlog-witness](https://c2sp.org/tlog-witness) have them. The formats and checks are [`sealdex_tlog`]'s.
//!
//! - [`serve::log_router`]: a log's folder, read-only.
//! - [`client::LogClient`]: checkpoints, tiles, entries and proofs of any log that is served so.
//! - [`follower::Follower`]: a verified copy of a log's entries, which notices when the log takes something back.
//! - [`domain::DomainLog`]: the batches of a Sealdex domain, followed and checked.
//! - [`witness::serve`]: a witness.
//! - [`cosign::Cosigners`]: how a log gets its checkpoint cosigned.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod client;
pub mod cosign;
pub mod domain;
pub mod follower;
mod range;
pub mod serve;
pub mod witness;

pub use client::LogClient;
pub use cosign::Cosigners;
pub use domain::DomainLog;
pub use follower::Follower;
pub use serve::log_router;
