//! A whole domain for tests and benchmarks: authority, servers on real loopback sockets, hospitals,
//! patients, readers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)] // test support: it stops where it cannot go on

pub mod proxy;
pub mod servers;
pub mod tampering;
pub mod witnesses;
pub mod world;

pub use proxy::Proxy;
pub use servers::Servers;
pub use world::{Hospital, Kind, World};
