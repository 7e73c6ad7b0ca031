//! Synthetic FHIR R4 records for demonstrations, tests and benchmarks.
