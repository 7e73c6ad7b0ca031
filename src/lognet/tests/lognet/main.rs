//! Logs, witnesses and followers over real sockets on loopback.
#![allow(clippy::unwrap_used)] // a test stops where it cannot go on

mod client;
mod cosign;
mod follower;
mod interop;
mod refusals;
mod serve;
mod setting;
mod witness;
