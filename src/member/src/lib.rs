//! What every member of a domain holds: its keys, the signed roster and schema, and connections to
//! gate and cloud. Providers and users stand on this; nothing here can open a record.

pub mod gate;
pub mod index_keys;
pub mod keys;
pub mod pack;
mod parts;

pub use gate::GateLink;
pub use index_keys::{FieldKeys, IndexError, IndexKeys};
pub use keys::{MEMBER_KIND, MemberKeys, MemberSecrets};
pub use pack::{DomainPack, PackError, SchemaText, Trusted};
