//! Domain-separation labels of what this crate signs or hashes.
//!
//! They share the `sdx1/` prefix with the suite's own labels and never equal one of them.

/// A signed document: roster, schema, owner profile, grant, revocation.
pub const DOCUMENT: &str = "sdx1/document";
/// A signed HTTP request.
pub const REQUEST: &str = "sdx1/request";
/// The gate's signature over the index entries and routing tags of a batch.
pub const BATCH: &str = "sdx1/batch";
/// The gate's permission to fetch sealed records.
pub const TICKET: &str = "sdx1/ticket";
/// Shares of a request's scalars, wrapped for one node of the gate.
pub const SHARES: &str = "sdx1/shares";
/// A request that changed a node's state, under the number that node gave it.
pub const ENTRY: &str = "sdx1/entry";
/// A node's consent to a request that another one leads.
pub const TURN: &str = "sdx1/turn";
/// A provider's statement on a batch, for the log.
pub const STATEMENT: &str = "sdx1/statement";
/// The records that a batch ends.
pub const ENDED: &str = "sdx1/ended";
/// An entry of a gate in the log of acts.
pub const ACT: &str = "sdx1/act";
/// The keys of an entry's rows: owners', and auditors'.
pub const ACT_ROWS: &str = "sdx1/act/rows";
/// The keys that a cloud signs its logs with.
pub const LOG_KEY: &str = "sdx1/log-key";
