//! What people do: the authority founds a domain and enrols members, owners publish keys, grant and
//! revoke, users ask and read.
//!
//! - [`ceremony`]: keys of a new domain, rosters, enrolment.
//! - [`owner`]: a wallet of owners, their profiles, grants and revocations; [`patient`]: one owner at the gate, with
//!   standing [`policy`]s, requests, emergencies, carers and section epochs.
//! - [`carer`]: acting for an owner; [`emergency`]: waking a dormant grant; [`delegate`]: enrolling below oneself, new keys for old ones.
//! - [`group`]: founding a group, its members, rotating its key.
//! - [`acts`]: the public log of what a gate did, for owners and auditors.
//! - [`session`]: a user's connection; [`session::Session::ask`] answers a query document,
//!   [`session::Session::search`] a FHIR search, [`session::Session::walk`] goes through all of a type.

pub mod acts;
pub mod carer;
pub mod ceremony;
pub mod compile;
pub mod delegate;
pub mod emergency;
pub mod explain;
pub mod group;
pub mod opening;
pub mod owner;
pub mod patient;
pub mod policy;
pub mod search;
pub mod session;
pub mod sharing;
pub mod stream;
mod verified;
pub mod watch;

pub use ceremony::{AuthorityKeys, Ceremony};
pub use group::{Group, GroupError, Manager};
pub use owner::{GrantLimits, GrantRequest, Newcomers, Owner, OwnerEntry, WALLET_KIND, Wallet};
pub use patient::{Accesses, Differences, Patient, PatientError};
pub use policy::{NewcomersRule, Policy};
pub use search::Found;
pub use session::{Answer, AskError, Session, Step};
pub use stream::{Stretch, Walk};
pub use verified::{CheckedBy, Proved, VerifyError};
