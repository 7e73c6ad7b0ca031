//! The contract and its client against a real EVM: revm executes the committed bytecode.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)] // tests

mod chain;
mod client;
mod contract;
mod faults;
mod gas;
mod node;
mod transaction;
mod trees;
