//! What reads: section secrets, grants, opening capsules and records (SDX-1 sections 3, 5 and
//! 7). Patients, users and tests link this crate; the cloud and the gate never do, so no server
//! can be made to open a record by mistake.
//!
//! ```
//! use sealdex_crypto::*;
//! use sealdex_open::*;
//! # let mut rng = rand::rng();
//! // A patient's `labs` of epoch 0, and a clinician.
//! let labs = SectionSecret::derive(&IdentitySeed::random(&mut rng), "labs", 0);
//! let clinician = Identity::from_seed(&IdentitySeed::random(&mut rng));
//!
//! // A provider writes for the patient.
//! let context = capsule_context("north", "labs", 0);
//! let (capsule, _) = encapsulate(&labs.public(), &context, &mut rng);
//!
//! // The patient grants; the gate gets the scalar and turns the capsule.
//! let grant = make_grant(&labs, &clinician.public().enc(), &Scalar::random(&mut rng));
//! let turned = reencapsulate(&grant.rk, &capsule);
//!
//! // The clinician opens it: the same key that the owner finds.
//! let secret = ReaderKey::from_identity(&clinician).rekey_secret(&grant.x_pub, &labs.public());
//! let key = secret.open(&capsule, &turned, &labs.public(), &context);
//! assert_eq!(key.expose(), labs.open(&capsule, &context).expose());
//! ```

mod grant;
mod passing_on;
mod record;
mod section;
pub mod selftest;

pub use grant::{GrantKeys, GrantSecret, ReaderKey, ToOpen, make_grant, open_many, rotation_factor};
pub use passing_on::{PassedOn, pass_on};
pub use record::{OpenError, open_record};
pub use section::SectionSecret;
