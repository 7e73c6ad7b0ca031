//! The HTTP that the two servers and all clients share.
//!
//! - [`server::serve`]: accept loop with TLS, bounded connections, header timeout, graceful stop.
//! - [`guard::guard`]: the outermost layer of a router: bounded concurrency and bytes (503 with `Retry-After`), a reserve
//!   for what is urgent, a time limit, one `tracing` span and one set of metrics per request.
//! - [`bodies`], [`pace`]: what a body or an answer may take, and how slow a peer may be.
//! - [`trace::Trace`]: what joins the log lines of the servers that a request went through.
//! - [`auth::Call`]: an extractor that yields the verified caller and the body, in that order of cost:
//!   an unknown or stale caller is refused before the body is read.
//! - [`reply`]: CBOR, JSON and problem responses.
//! - [`peer::Http::send`]: one request to any server, as it is.
//! - [`edge`]: clock, chance and threads, and what a simulation puts in their stead.
//! - [`peer::Peer`]: a client of one server, which signs, retries with jitter and decodes.

pub mod auth;
pub mod bodies;
mod capacity;
pub mod clock;
pub mod edge;
pub mod exchange;
pub mod guard;
pub mod notify;
pub mod pace;
pub mod peer;
pub mod process;
pub mod reply;
pub mod server;
pub mod tls;
pub mod trace;

pub use auth::{Authenticator, Call, Caller, Directory};
pub use edge::blocking;
pub use peer::{CallError, Peer, Retry};
pub use reply::{Cbor, CborBytes, Json, Refusal};
pub use server::{Listen, serve};
