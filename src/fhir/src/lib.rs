//! sealdex-fhir
