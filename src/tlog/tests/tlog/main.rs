//! Everything about transparency logs that can be tested from outside.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // a test stops where it cannot go on, and says where

mod checkpoints;
mod crash;
mod interop;
mod logs;
mod notes;
mod policies;
mod policy_texts;
mod published;
mod published_logs;
mod setting;
mod tiles;
mod tree;
mod witnesses;
