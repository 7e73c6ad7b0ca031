//! What people do: the authority founds a domain and enrols members, owners publish keys, grant and
//! revoke, users ask and read.
//!
//! - [`ceremony`]: keys of a new domain, rosters, enrolment.
//! - [`owner`]: a wallet of owners, their profiles, grants and revocations.
//! - [`session`]: a user's connection; [`session::Session::ask`] answers a query document,
//!   [`session::Session::search`] a FHIR search, [`session::Session::walk`] goes through all of a type.

pub mod ceremony;
pub mod compile;
pub mod opening;
pub mod owner;
pub mod patient;
pub mod search;
pub mod session;
pub mod stream;

pub use ceremony::{AuthorityKeys, Ceremony};
pub use owner::{GrantRequest, Owner, OwnerEntry, WALLET_KIND, Wallet};
pub use patient::{Patient, PatientError};
pub use search::Found;
pub use session::{Answer, AskError, Session};
pub use stream::{Stretch, Walk};
