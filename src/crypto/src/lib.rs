//! SDX-1, the cryptographic suite of Sealdex: everything a party needs to write into the index
//! and to transform what others wrote. Nothing in this crate opens a record; that is
//! `sealdex-open`, which servers never depend on.
//!
//! Pure code: no I/O and no clock, and randomness is always an argument. Section numbers in the
//! documentation are those of the suite's specification.
//!
//! # The parties, in order
//!
//! ```
//! use sealdex_crypto::*;
//! # let mut rng = rand::rng();
//! // A patient has an identity; each section and epoch has a key pair (its secret half lives
//! // in `sealdex-open`). Here the public half is all a provider needs.
//! let section_public = Scalar::random(&mut rng).base_mul();
//!
//! // Provider: one capsule per patient, section and upload, then any number of records.
//! let context = capsule_context("north", "labs", 0);
//! let (capsule, key) = encapsulate(&section_public, &context, &mut rng);
//! let header = RecordHeader {
//!     domain: "north".into(),
//!     provider: PrincipalId([1; 16]),
//!     record_id: RecordId([2; 16]),
//!     section: "labs".into(),
//!     epoch: 0,
//!     content_type: "application/fhir+json".into(),
//!     capsule: capsule.to_bytes(),
//! };
//! let sealed = seal_record(&key, &header, ENCODING_PLAIN, b"{}")?;
//!
//! // Provider: an inner token per searchable value. Gate: the term the cloud stores.
//! let member_secret = MemberTokenSecret::random(&mut rng);
//! let inner = FieldTokenKey::derive(&member_secret, "north", "code", 0).inner(b"718-7");
//! let scope = ScopeKey::derive(&TermKey::random(&mut rng), "north", &[]);
//! let term: Term = scope.term(&inner);
//!
//! // Gate: one multiplication by the scalar a patient granted.
//! let rk = RekeyScalar::random(&mut rng);
//! let for_user = reencapsulate(&rk, &capsule);
//! # let _ = (sealed, term, for_user);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod bridge;
mod capsule;
pub mod cover;
pub mod dleq;
mod encoding;
mod identity;
mod ids;
mod interval;
mod kdf;
pub mod labels;
pub mod log;
mod order;
mod point;
mod record;
mod reencapsulate;
mod routing_tag;
mod row_key;
mod scalar;
mod secret;
mod serde_impls;
pub mod shamir;
pub mod sharing;
mod signature;
mod signatures;
mod term;
mod token;
mod wrap;

pub use bridge::{BridgeScalar, DomainMaster, MemberKey, token_point};
pub use capsule::{
    CAPSULE_LEN, Capsule, CapsuleKey, capsule_context, capsule_key_from_encoded, capsule_key_from_shared, encapsulate,
    encapsulate_many, encapsulate_with,
};
pub use dleq::{DleqError, DleqProof};
pub use encoding::{MAX_PART, TooLong};
pub use identity::{Identity, IdentitySeed, PublicIdentity};
pub use ids::{BatchId, FieldToken, IdError, PrincipalId, RecordId, Term};
pub use interval::{Bits, OrderError, WalkKey, interval};
pub use kdf::{hash_to_scalar, kdf, kdf_into};
pub use order::{
    GateOrderSecret, InnerOrderKey, MemberOrderSecret, NoiseKey, OuterOrderKey, field_token, noise, order_term,
};
pub use point::{POINT_LEN, Point, PointError, decode_many, encode_many, mul_many, mul_pairs, mul_points};
pub use record::{ENCODING_PLAIN, ENCODING_ZSTD, RecordHeader, RecordKey, SealError, padme, seal_record};
pub use reencapsulate::{Reencapsulated, RekeyScalar, reencapsulate, reencapsulate_each, reencapsulate_many};
pub use routing_tag::{GateTagKey, RoutingInfo, TagError, make_tag, open_tag};
pub use row_key::{ROW_TAG, RowError, RowHint, RowKey};
pub use scalar::{Scalar, ScalarError};
pub use signature::{BadSignature, SIGNATURE_LEN, SignPublic, SignSecret, Signature};
pub use signatures::{Claim, verify_many};
pub use term::{ScopeKey, TermKey};
pub use token::{FieldTokenKey, MemberTokenSecret};
pub use wrap::{WrapError, unwrap, wrap};
