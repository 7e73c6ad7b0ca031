//! FHIR R4 searches: from a query string to what must hold, to clauses that find a superset in the index,
//! and to the exact decision on the plaintext.
//!
//! Parameters are HL7's own definitions ([`definitions`]); nothing is written by hand for one of them.
//! Where the index has no field for a parameter, everything else narrows the search and the parameter is
//! decided after opening: slower, never wrong.

mod definitions;
mod holds;
mod narrow;
mod parse;
mod result;
mod test;
mod value;

pub use definitions::{
    Component, ParamKind, Parameter, Selector, Step, Targets, compartment, parameter, parameters, resource_type,
    resource_types,
};
pub use holds::{Joined, references};
pub use narrow::narrow;
pub use parse::{Condition, Criterion, ErrorKind, Handling, Search, SearchError, pairs, parse};
pub use result::{Include, Places, Shape, SortKey, Summary, Total};
pub use value::{DateTest, NumberTest, Prefix};
