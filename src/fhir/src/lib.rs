//! Health records as hospitals have them, and questions about them.
//!
//! Reading ([`Source`], [`Record`], [`Mapping`]): FHIR R4 NDJSON, Bundles, CSV by a mapping. Asking
//! ([`Suite`], [`resolve`], [`plan()`]): query documents, checked against the schema and planned for the
//! index. Deciding ([`Resolved::holds`], [`Resolved::figures`]): exact evaluation on plaintext. The index
//! and the evaluation take their field paths from the same schema, so they cannot disagree.

mod corpus;
mod evaluate;
mod mapping;
mod plan;
mod query;
mod record;
mod resolve;
pub mod search;
mod source;

pub use corpus::Corpus;
pub use evaluate::{Aggregate, Figures, Hit, subjects};
pub use mapping::{DIABETES130_MAPPING, Mapping, MappingError};
pub use plan::{IndexClause, Plan, SortField, plan};
pub use query::{FieldRef, Filter, Op, QueryDoc, QueryError, Suite, TopK};
pub use record::{RawRecord, Record, RecordError};
pub use resolve::{Condition, Group, HasCondition, Resolved, Target, resolve};
pub use source::{
    BulkError, BulkFile, BulkManifest, Input, RejectReason, RejectedLine, Source, SourceError, SourceItem, total_bytes,
};
