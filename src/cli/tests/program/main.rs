//! The program over real processes and sockets, as its users run it. One program, so that it is linked once.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test stops where it cannot go on

mod access;
mod acts;
mod backup;
mod compacting;
mod crash_recovery;
mod deleting;
mod erasing;
mod gate_files;
mod ingest;
mod ledger;
mod mistakes;
mod nodes;
mod operating;
mod revocation;
mod stage;

// The chain that the anchor's own tests run.
#[path = "../../../anchor/tests/anchor/chain.rs"]
#[allow(dead_code)]
mod chain;
#[path = "../../../anchor/tests/anchor/node.rs"]
#[allow(dead_code)]
mod node;
#[path = "../../../anchor/tests/anchor/transaction.rs"]
#[allow(dead_code)]
mod transaction;
