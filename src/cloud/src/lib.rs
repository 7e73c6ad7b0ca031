//! The untrusted cloud: sealed records, one merged index over all hospitals, and the HTTP to both.

pub mod index;
pub mod store;
