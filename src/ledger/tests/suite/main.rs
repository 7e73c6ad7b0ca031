//! The ledger as a whole: honest clouds are believed, others are not.

#![allow(clippy::unwrap_used, clippy::expect_used)] // tests

mod altered;
mod figures;
mod honest;
mod hostile;
mod smart;
mod view;
mod world;
