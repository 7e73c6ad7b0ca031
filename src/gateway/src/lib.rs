//! A FHIR R4 server that runs inside a hospital with a user's key. An unmodified FHIR client searches and reads
//! through it; behind it every search is an encrypted query, and every record is opened here and nowhere else.
//!
//! - [`server`]: [`server::serve`] and its configuration; `routes` turns HTTP into calls.
//! - [`negotiation`], [`query`], [`target`], [`call`]: what a request says.
//! - `search`, `everything`, `batch`, [`write`], [`portal`], `export`, `capability`: what it asks for.
//! - [`outcome`], [`bundle`], [`paging`], [`summary`], [`resource`]: what is sent back.
//! - [`auth`]: who may ask; [`tokens`]: links that outlive a restart.
//!
//! Plaintext passes through memory only: nothing of it is written to disk or to a log.

pub mod auth;
mod batch;
pub mod bundle;
pub mod call;
mod capability;
mod clock;
mod domain;
mod everything;
mod export;
mod labels;
pub mod negotiation;
pub mod outcome;
pub mod paging;
mod patient;
pub mod portal;
pub mod query;
pub mod resource;
mod routes;
mod sealing;
mod search;
pub mod server;
pub mod summary;
pub mod target;
pub mod tokens;
pub mod write;

pub use auth::{Access, Clients, ClientsError};
pub use domain::Member;
pub use portal::{AuditFilter, PatientPortal, PortalError};
pub use sealing::Sealing;
pub use server::{GatewayConfig, ServeError, serve};
pub use write::{Deleted, Ingest, Violation, Written};
