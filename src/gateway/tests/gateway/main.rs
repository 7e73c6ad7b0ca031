//! The gateway against a real domain on loopback, asked over plain HTTP.
#![allow(clippy::unwrap_used)] // a test stops where it cannot go on

mod exporting;
mod hostile;
mod patient;
mod permission;
mod portal;
mod reading;
mod searching;
mod support;
mod writing;
