//! The gate from outside: consent, ingest, queries, HTTP, crashes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, unreachable_pub)] // tests

mod access;
mod backing_up;
mod cloud;
mod consent;
mod crash;
mod domain;
mod erasing;
mod exploring;
mod groups;
mod http;
mod ingest;
mod logging;
mod matrix;
mod nodes;
mod reading;
mod resuming;
mod revoking;
mod safety;
mod timing;
mod unfolding;
mod upgrading;
