//! Transparency logs as the C2SP specifications have them.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod base64;
pub mod checkpoint;
mod labels;
pub mod log;
pub mod note;
mod storage;
pub mod tile;
pub mod witness;
