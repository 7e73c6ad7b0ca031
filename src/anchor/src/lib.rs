//! Checkpoints of transparency logs, anchored on an EVM chain.
//!
//! The contract (`contracts/SealdexAnchor.sol`) keeps sizes and roots of logs and verifies, before it takes a
//! checkpoint, that it extends the one before: not even the poster can anchor a fork. `docs/ANCHOR.md` says what that
//! is good for, what it costs and what becomes public.
//!
//! - [`Rpc`]: a node of the chain, over JSON-RPC. What it says is bounded and parsed, but believed: ask one of your own.
//! - [`Anchor`]: the contract: deploy, post, read, have it verify inclusion.
//! - [`checked`]: what a check compares, without network.
//!
//! ```no_run
//! # async fn story(log: sealdex_crypto::log::Tree) -> Result<(), Box<dyn std::error::Error>> {
//! use sealdex_anchor::{Anchor, PosterKey, Rpc, Terms, checked};
//! use sealdex_net::peer::Http;
//!
//! let rpc = Rpc::new(Http::new(None)?, "https://rpc.example");
//! let key = PosterKey::from_hex("4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318")?;
//! let (anchor, receipt) = Anchor::deploy(rpc, &key, Terms::default()).await?;
//! println!("{} in transaction {}", anchor.contract(), receipt.transaction);
//!
//! let (origin, size) = ("cloud.example/log", log.size());
//! let old = anchor.latest(origin).await?.map(|anchored| anchored.size);
//! let proof = old.map_or(Ok(vec![]), |old| log.consistency_proof(old, size))?;
//! anchor.post(&key, origin, old, size, &log.root(), &proof).await?;
//!
//! let anchored = anchor.latest(origin).await?;
//! assert!(checked::with_roots(anchored.as_ref(), log.size(), |size| log.root_at(size))?.is_fine());
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod abi;
mod address;
mod anchor;
mod artefact;
pub mod checked;
mod error;
mod key;
mod rlp;
mod rpc;
mod send;
mod transaction;

pub use address::{Address, AddressError};
pub use anchor::{Anchor, Anchored, Block, Inspected, log_id};
pub use checked::Checked;
pub use error::{Error, Revert};
pub use key::{KeyError, PosterKey};
pub use rpc::Rpc;
pub use send::{Receipt, Terms, TransactionHash};
