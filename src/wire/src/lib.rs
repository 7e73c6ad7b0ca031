//! Messages between the parties of a Sealdex domain, and the limits that bound them.
//!
//! Data-plane messages travel as CBOR, control-plane messages as JSON; both are the same Rust
//! types ([`codec`]). What must outlive a connection is signed: the [`roster`], owner profiles,
//! grants and revocations ([`consent`]), the gate's word on a batch's index entries ([`ingest`])
//! and fetch tickets ([`search`]). Requests themselves are signed too ([`auth`]).
//!
//! Nothing here does I/O, and no type here can hold a secret except [`consent::SecretBytes`], which
//! carries a grant's or a bridge's scalar to the gate and wipes itself.

pub mod acts;
pub mod auth;
pub mod care;
pub mod codec;
pub mod consent;
pub mod erasure;
pub mod family;
pub mod group;
pub mod ingest;
pub mod labels;
pub mod limits;
pub mod operations;
pub mod problem;
pub mod roster;
pub mod search;
pub mod signed;
pub mod sources;
pub mod threshold;

pub use codec::{B32, RawPoint};
pub use problem::{Problem, ProblemType};
pub use signed::{Signed, SignedError};
