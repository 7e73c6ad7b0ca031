//! What everybody can check of the log of acts: who signed, and that no act of a gate is missing.

use std::collections::HashMap;

use sealdex_crypto::{PrincipalId, PublicIdentity};

use super::{ActEntry, BadAct, SignedAct, content::Head};

/// The gates of a domain.
pub trait Gates {
    /// Keys of a gate, or of a node of one.
    fn gate(&self, id: PrincipalId) -> Option<PublicIdentity>;
}

/// Why an entry of the log is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ActError {
    /// Not an entry, or not signed by its gate.
    #[error("entry {seq} of the log of acts: {source}")]
    Bad {
        /// Place in the log, from 1.
        seq: u64,
        /// What is wrong.
        source: BadAct,
    },
    /// Of a gate that is not in the roster.
    #[error(
        "entry {seq} of the log of acts is of gate {gate}, which the roster does not list: fetch the newest domain pack; a node that was left out since cannot be checked"
    )]
    Unknown {
        /// Place in the log, from 1.
        seq: u64,
        /// Whose it claims to be.
        gate: PrincipalId,
    },
    /// Acts are missing, repeated, or in another order.
    #[error(
        "entry {seq} of the log of acts is act {found} of gate {gate}, expected {expected}: {}",
        if found > expected { "acts were left out" } else { "acts were repeated or put in another order" }
    )]
    Number {
        /// Place in the log, from 1.
        seq: u64,
        /// Whose.
        gate: PrincipalId,
        /// Number that should come.
        expected: u64,
        /// Number that came.
        found: u64,
    },
    /// It follows another entry than the one that is in the log.
    #[error(
        "entry {seq} of the log of acts, act {number} of gate {gate}, does not follow the gate's act {} as the log has it: the gate signed two different ones", number - 1
    )]
    Previous {
        /// Place in the log, from 1.
        seq: u64,
        /// Whose.
        gate: PrincipalId,
        /// Its number.
        number: u64,
    },
    /// Part of an act that does not follow the part before.
    #[error(
        "entry {seq} of the log of acts, act {number} of gate {gate}, is part {part} of {parts} and does not follow the part before"
    )]
    Part {
        /// Place in the log, from 1.
        seq: u64,
        /// Whose.
        gate: PrincipalId,
        /// Its number.
        number: u64,
        /// Which part.
        part: u32,
        /// Of how many.
        parts: u32,
    },
}

/// Where a gate's chain stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Last {
    head: Head,
    at: u64,
    part: u32,
    parts: u32,
}

/// The log as read so far: about 100 bytes a gate.
#[derive(Clone, Debug, Default)]
pub struct ActsView {
    domain: String,
    size: u64,
    last: HashMap<PrincipalId, Last>,
}

impl ActsView {
    /// Nothing read yet.
    #[must_use]
    pub fn new(domain: &str) -> Self {
        Self { domain: domain.into(), ..Self::default() }
    }

    /// Entries read: the place of the last.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// A gate's last entry.
    #[must_use]
    pub fn head(&self, gate: PrincipalId) -> Head {
        self.last.get(&gate).map(|l| l.head).unwrap_or_default()
    }

    /// Reads the next entry, 50 µs. What follows can be read whatever is wrong with this one: a chain goes on from the last
    /// entry that its gate signed.
    ///
    /// # Errors
    /// [`ActError`].
    pub fn add(&mut self, entry: &[u8], gates: &impl Gates) -> Result<SignedAct, ActError> {
        self.size += 1;
        let seq = self.size;
        let wrong = |source| ActError::Bad { seq, source };
        let act = SignedAct::from_entry(entry).map_err(wrong)?;
        let ActEntry { gate, number, previous, at, part, parts, .. } = act.entry;
        let keys = gates.gate(gate).ok_or(ActError::Unknown { seq, gate })?;
        act.verify(&self.domain, &keys).map_err(wrong)?;
        let before = self.last.get(&gate).copied();
        let head = before.map(|l| l.head).unwrap_or_default();
        let (expected, digest) = (head.number + 1, act.digest());
        // Whatever was there before stays there: a repetition does not take the chain back.
        if number >= expected {
            self.last.insert(gate, Last { head: Head { number, digest }, at, part, parts });
        }
        if number != expected {
            return Err(ActError::Number { seq, gate, expected, found: number });
        }
        if previous != head.digest {
            return Err(ActError::Previous { seq, gate, number });
        }
        let open = before.filter(|l| l.part < l.parts);
        let follows = match open {
            Some(l) => (part, parts, at) == (l.part + 1, l.parts, l.at),
            None => part == 1,
        };
        if follows { Ok(act) } else { Err(ActError::Part { seq, gate, number, part, parts }) }
    }
}
