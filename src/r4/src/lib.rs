//! The structure of FHIR R4 resources, by HL7's own definitions, and whether a resource has it.
//!
//! [`validate`] checks names, types, cardinalities, formats of primitives, and codes of required bindings;
//! each [`Violation`] has the path of what is wrong. Not checked: profiles, invariants written in FHIRPath,
//! codes of other bindings, and to which types references lead (HL7's own examples have that wrong here and
//! there, and a record is not lost for it). Extensions of whatever URL are kept.

mod definitions;
mod primitive;
mod validate;

pub use definitions::{is_resource, resources};
pub use validate::{Violation, validate};
