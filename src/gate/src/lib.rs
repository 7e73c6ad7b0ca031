//! The gate of a Sealdex domain: the semi-trusted Setup and Re-encryption Server of the published
//! designs. It turns members' inner index entries into the cloud's terms, keeps what owners consent to,
//! and re-encapsulates what matches a search and is granted. It multiplies points by scalars it was
//! given; it cannot read a record, and does not link code that could.
//!
//! | subject | where |
//! |---|---|
//! | state and locking | [`gate`] |
//! | consent: what is accepted | [`rules`] |
//! | consent: what is kept | [`store`] |
//! | ending permissions | [`revoke`] |
//! | the log of acts | [`acts`] |
//! | groups | [`groups`] |
//! | emergencies, requests, carers | [`care`] |
//! | who is enrolled below whom | [`family`] |
//! | limits on the curious | [`budget`] |
//! | ingest | [`bridge`] |
//! | queries | [`search`], [`unfold`] |
//! | backups, restored stores | [`backup`], [`standing`] |
//! | HTTP | [`http`] |
//!
//! **A revocation is acknowledged only when** it is durable, no search can use what it ended, and the
//! cloud has withdrawn the tickets that rest on it. If the cloud does not answer, the first two hold and
//! the gate keeps trying until the tickets expire, [`sealdex_wire::limits::TICKET_MS`] at the latest.

mod accesses;
pub mod acts;
pub mod backup;
pub mod bridge;
pub mod budget;
pub mod care;
pub mod cloud;
pub mod control;
pub mod erasing;
pub mod error;
pub mod family;
pub mod gate;
pub mod groups;
pub mod http;
mod journal;
pub mod labels;
pub mod members;
pub mod nodes;
pub mod openapi;
pub mod revoke;
pub mod rules;
pub mod search;
pub mod secrets;
pub mod standing;
pub mod store;
pub mod term_keys;
mod tickets;
pub mod trace;
pub mod unfold;

pub use error::GateError;
pub use gate::{Clock, Gate};
pub use http::{GateConfig, Running, ServeError, router, serve};
pub use secrets::{GateKeys, GateSecrets};
