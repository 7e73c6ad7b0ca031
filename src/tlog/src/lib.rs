//! Transparency logs as the C2SP specifications have them: a list that can only grow, signed by
//! the one who keeps it, cosigned by witnesses who check that it only grows, and proofs that an
//! entry is in it.
//!
//! The tree is that of RFC 6962, from [`sealdex_crypto::log`]. Formats are those of C2SP
//! [signed-note](https://c2sp.org/signed-note),
//! [tlog-checkpoint](https://c2sp.org/tlog-checkpoint),
//! [tlog-cosignature](https://c2sp.org/tlog-cosignature) (Ed25519),
//! [tlog-tiles](https://c2sp.org/tlog-tiles),
//! [tlog-witness](https://c2sp.org/tlog-witness) and
//! [tlog-policy](https://c2sp.org/tlog-policy), so others' tools read what is written here.
//!
//! No network and no clock; randomness and time are arguments. Files are touched only by
//! [`log::FileStorage`], [`log::FileReader`] and [`witness::WitnessFiles`].
//!
//! # The parties, in order
//!
//! ```
//! use sealdex_tlog::log::{Log, MemoryStorage};
//! use sealdex_tlog::note::{CosignerKey, KeyName, LogKey};
//! use sealdex_tlog::policy::Policy;
//! use sealdex_tlog::witness::{AddCheckpoint, Witness, WitnessMemory};
//! # let mut rng = rand::rng();
//!
//! // The log appends entries and signs how many it has.
//! let log_key = LogKey::random(KeyName::new("cloud.example/log")?, &mut rng);
//! let log_verifier = log_key.verifier();
//! let mut log = Log::create(MemoryStorage::new(), log_key)?;
//! log.append(&["first", "second", "third"])?;
//!
//! // A witness cosigns what only extends what it has cosigned before.
//! let key = CosignerKey::random(KeyName::new("witness.example/w1")?, &mut rng);
//! let mut witness = Witness::new(key, WitnessMemory::new());
//! witness.follow("cloud.example/log", vec![log_verifier.clone()])?;
//! let request = AddCheckpoint::new(0, vec![], log.head().clone())?;
//! let cosignature = witness.cosign(&request, 1_700_000_000)?;
//!
//! // The log serves its checkpoint with the cosignatures.
//! let mut note = log.head().clone();
//! note.add(cosignature)?;
//! log.publish(&note)?;
//!
//! // A reader believes the checkpoint, and then that an entry is in the log.
//! let policy = Policy::new(log_verifier, vec![witness.verifier()], 1)?;
//! let checkpoint = policy.verify_bytes(&note.to_bytes())?;
//! let proof = log.inclusion_proof(1, checkpoint.checkpoint().size())?;
//! checkpoint.verify_entry(b"second", 1, &proof)?;
//! assert_eq!(checkpoint.time(), Some(1_700_000_000));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod base64;
pub mod checkpoint;
mod labels;
pub mod log;
pub mod note;
pub mod policy;
mod storage;
pub mod tile;
pub mod witness;
