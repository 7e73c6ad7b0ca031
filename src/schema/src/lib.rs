//! The schema of a domain: which values of a record are indexed, how they are normalised and
//! quantised, and into which section a record goes.
//!
//! A schema is a TOML text, signed by the authority and the same for every member. [`Schema::index`]
//! turns a record into [`Entry`]s; which keys they meet is another crate's business, so nothing here
//! is secret, and everything is pure. Errors of [`Schema::index`] may quote values of a record: they
//! are for the hospital's operator, not for logs.

mod calendar;
mod decimal;
mod index;
mod model;
mod normalise;
mod path;
mod quantise;
mod schema;
mod selftest;
mod words;

pub use calendar::{CalendarError, Instant, Span, date_to_day, day_of_date};
pub use decimal::{Decimal, DecimalError};
pub use index::{Entry, EntryKind, FieldError, ID_FIELD, SUBJECT_FIELD, TYPE_FIELD};
pub use model::{IndexKind, Normaliser, SchemaError, Scope};
pub use normalise::{NormaliseError, Value, fold, local_reference};
pub use path::Path;
pub use quantise::{Quantiser, QuantiserError};
pub use schema::{DIABETES130, FHIR_R4, Field, Label, Owner, OwnerError, RecordType, Schema, Section};
pub use selftest::check_quantisers;
pub use words::{query_word, words};
