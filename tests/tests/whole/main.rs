//! The whole system, and what the suite stands on. One program, so that it is linked once.

mod deletion;
mod erasure;
mod fhir_search;
mod flows;
mod hl7_examples;
mod ledger;
mod nothing_readable;
mod public_vectors;
mod suite_vectors;
mod threshold;
mod verify;
mod without_patient;
