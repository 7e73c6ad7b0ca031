//! What a store that was restored from a backup owes before it serves again.
//!
//! Whatever was acknowledged after the backup is gone: revocations too. So a restored store carries a mark,
//! and its gate answers no search, bridges no batch and takes no grant until the authority, or who holds the
//! gate's keys, says that what came after the backup may be lost. Rosters, profiles and revocations are
//! taken meanwhile: that is how revocations are told again.
//!
//! | row of `meta` | value |
//! |---|---|
//! | `restored` | u64 time of the backup ‖ u64 time of restoring, Unix ms |
//! | `resumed/` ‖ u64 time of resuming | u64 time of the backup, Unix ms ‖ who(16): a principal, or zeros for `sealdex gate resume` |
//!
//! A grant made between backup and resumption may have been revoked in that time too, so it is refused for
//! ever: whoever made it makes it anew.

use std::sync::{Arc, PoisonError, RwLock};

use sealdex_crypto::PrincipalId;
use sealdex_wire::{ProblemType, consent::Accepted, operations::ResumeGate};

use crate::{
    backup::time_text,
    error::{CallerRefusal, GateError},
    gate::{Gate, blocking},
    store::{ConsentStore, Snapshot, StoreError, Table, Transaction},
};

pub(crate) const RESTORED: &[u8] = b"restored";
pub(crate) const RESUMED: &[u8] = b"resumed/";
/// The first key beyond all of [`RESUMED`].
const BEYOND: &[u8] = b"resumed0";

/// Why a gate does not do what it is asked, for the sake of what a backup did not have.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum StandingRefusal {
    /// Restored, not resumed.
    #[error(
        "this gate was restored from a backup taken at {}: revocations made after that may be missing, so it answers no \
         search and no batch and takes no grant until its authority resumes it (sealdex domain resume-gate, or \
         sealdex gate resume)", time_text(*as_of)
    )]
    NotResumed {
        /// Time of the backup, Unix milliseconds.
        as_of: u64,
    },
    /// A grant that may have been revoked in the time that was lost.
    #[error(
        "this gate lost what was revoked between {} and {}, and a grant was made in that time, at {}: \
         the owner must sign a new one", time_text(*from), time_text(*to), time_text(*granted_at)
    )]
    GrantOfLostTime {
        /// Made at, Unix milliseconds.
        granted_at: u64,
        /// Time of the backup.
        from: u64,
        /// Time of the resumption.
        to: u64,
    },
    /// The other nodes have what this one lost.
    #[error(
        "this node of the gate was restored from a backup: it is not resumed but dealt new shares, with what it lost, by \
         the others (sealdex domain reshare --without it --with a new one)"
    )]
    Shared,
    /// Nothing to resume.
    #[error("this gate's store is not one that waits to be resumed")]
    NotRestored,
    /// Another time than the backup's.
    #[error(
        "this gate was restored from a backup taken at {}: accept the loss of what came after that, not after {}",
        time_text(*as_of), time_text(*accepted)
    )]
    OtherTime {
        /// Time of the backup, Unix milliseconds.
        as_of: u64,
        /// What was accepted.
        accepted: u64,
    },
    /// The roster went back too.
    #[error(
        "this gate has roster version {stored} since it was restored, the authority is at {newest}: announce the roster first"
    )]
    RosterIsOlder {
        /// In the store.
        stored: u64,
        /// The authority's.
        newest: u64,
    },
}

impl StandingRefusal {
    pub(crate) fn problem_type(&self) -> ProblemType {
        match self {
            Self::NotResumed { .. } => ProblemType::NotServing,
            _ => ProblemType::Conflict,
        }
    }
}

/// A time whose acts are lost, Unix milliseconds: after the first, up to the second.
type Lost = (u64, u64);

/// How a store stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Time of the backup it was restored from, if it waits to be resumed. Unix milliseconds.
    pub restored: Option<u64>,
    lost: Vec<Lost>,
}

impl Standing {
    /// Reads it from a store.
    ///
    /// # Errors
    /// [`StoreError::Row`] when its rows are damaged: then nothing may be served.
    pub fn read(stored: &dyn Snapshot) -> Result<Self, StoreError> {
        let damaged = || StoreError::Row(Table::Meta.name());
        let restored = stored.get(Table::Meta, RESTORED)?;
        let restored = restored.map(|row| parse_restored(&row).ok_or_else(damaged)).transpose()?;
        let rows = stored.range(Table::Meta, RESUMED, Some(BEYOND), usize::MAX)?;
        let lost = rows.iter().map(|(k, v)| parse_resumed(k, v).ok_or_else(damaged)).collect::<Result<_, _>>()?;
        Ok(Self { restored, lost })
    }

    fn serving(&self) -> Result<(), StandingRefusal> {
        self.restored.map_or(Ok(()), |as_of| Err(StandingRefusal::NotResumed { as_of }))
    }

    fn admits(&self, granted_at: u64) -> Result<(), StandingRefusal> {
        match self.lost.iter().find(|(from, to)| *from < granted_at && granted_at <= *to) {
            Some(&(from, to)) => Err(StandingRefusal::GrantOfLostTime { granted_at, from, to }),
            None => Ok(()),
        }
    }
}

/// The time of the backup in a `restored` row.
pub(crate) fn parse_restored(value: &[u8]) -> Option<u64> {
    let (as_of, rest) = value.split_first_chunk::<8>()?;
    (rest.len() == 8).then(|| u64::from_be_bytes(*as_of))
}

/// The lost time in a `resumed/` row.
pub(crate) fn parse_resumed(key: &[u8], value: &[u8]) -> Option<Lost> {
    let to = key.strip_prefix(RESUMED)?.try_into().map(u64::from_be_bytes).ok()?;
    let (from, who) = value.split_first_chunk::<8>()?;
    (who.len() == 16).then(|| (u64::from_be_bytes(*from), to))
}

/// Marks a store as restored. One that was never resumed keeps its earlier time: what was lost then is still
/// lost.
///
/// # Errors
/// [`StoreError`].
pub(crate) fn mark(txn: &mut dyn Transaction, taken_at: u64, now: u64) -> Result<u64, StoreError> {
    let as_of = Standing::read(&*txn)?.restored.map_or(taken_at, |before| before.min(taken_at));
    txn.put(Table::Meta, RESTORED, &[as_of.to_be_bytes(), now.to_be_bytes()].concat())?;
    Ok(as_of)
}

/// Takes the mark off: what came after the backup may be lost. `accepted` is the time of the backup as whoever
/// decides it knows it, to the second. `by` is nobody for who holds the gate's keys.
///
/// # Errors
/// [`StandingRefusal`], or those of the store.
pub fn resume<E: From<StoreError> + From<StandingRefusal>>(
    txn: &mut dyn Transaction,
    accepted: u64,
    by: Option<PrincipalId>,
    now: u64,
) -> Result<Standing, E> {
    let as_of = Standing::read(&*txn)?.restored.ok_or(StandingRefusal::NotRestored)?;
    if as_of / 1000 != accepted / 1000 {
        return Err(StandingRefusal::OtherTime { as_of, accepted }.into());
    }
    let who = by.map_or([0; 16], |id| id.0);
    let key = [RESUMED, now.max(as_of).to_be_bytes().as_slice()].concat();
    txn.put(Table::Meta, &key, &[as_of.to_be_bytes().as_slice(), &who].concat())?;
    txn.remove(Table::Meta, RESTORED)?;
    Ok(Standing::read(&*txn)?)
}

/// The standing of a gate at work.
pub(crate) struct Standings(RwLock<Standing>);

impl Standings {
    pub(crate) fn new(standing: Standing) -> Self {
        if let Some(as_of) = standing.restored {
            let as_of = time_text(as_of);
            tracing::warn!(
                as_of,
                "restored from a backup: no search, no batch and no grant until the authority resumes this gate"
            );
        }
        let standings = Self(RwLock::default());
        standings.set(standing);
        standings
    }

    pub(crate) fn set(&self, standing: Standing) {
        metrics::gauge!("sealdex_gate_waits_to_be_resumed").set(f64::from(u8::from(standing.restored.is_some())));
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = standing;
    }

    fn with<T>(&self, f: impl FnOnce(&Standing) -> T) -> T {
        f(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether searches and batches are answered.
    pub(crate) fn serving(&self) -> Result<(), StandingRefusal> {
        self.with(Standing::serving)
    }

    /// Whether grants made at these times are taken.
    pub(crate) fn admit(&self, mut granted_at: impl Iterator<Item = u64>) -> Result<(), StandingRefusal> {
        self.with(|s| s.serving().and_then(|()| granted_at.try_for_each(|at| s.admits(at))))
    }
}

impl<S: ConsentStore> Gate<S> {
    /// Serves again after a restoration. From the authority only; refused while its roster is older than the
    /// authority's, since whoever that one revoked would be served.
    ///
    /// # Errors
    /// [`GateError`]; nothing has changed then.
    pub async fn resume_serving(
        self: &Arc<Self>,
        caller: PrincipalId,
        request: ResumeGate,
    ) -> Result<Accepted, GateError> {
        if caller != self.secrets.authority().id() {
            return Err(CallerRefusal::NotAuthority.into());
        }
        if self.members()?.nodes().is_some() {
            return Err(StandingRefusal::Shared.into());
        }
        let (stored, newest) = (self.members()?.roster().version, request.roster_version);
        if stored < newest {
            return Err(StandingRefusal::RosterIsOlder { stored, newest }.into());
        }
        let gate = self.clone();
        blocking(move || {
            let (accepted, now) = (request.accept_loss_after, gate.now());
            let standing = gate.store.write(|txn| resume::<GateError>(txn, accepted, Some(caller), now))?;
            tracing::warn!(roster = stored, "resumed by the authority after a restoration");
            gate.standings.set(standing);
            Ok::<_, GateError>(Accepted { count: 1 })
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryStore;

    fn standing(store: &MemoryStore) -> Standing {
        store.read(Standing::read).expect("a standing")
    }

    #[test]
    fn a_mark_is_taken_off_by_its_own_time_only_and_the_lost_time_stays_known() {
        let store = MemoryStore::default();
        let resume = |accepted, now| store.write(|t| resume::<GateError>(t, accepted, None, now)).map(|s| s.restored);
        let refused = |e: StandingRefusal| Err(GateError::Standing(e));
        assert_eq!(resume(5_000, 9_000), refused(StandingRefusal::NotRestored));
        assert_eq!(store.write(|t| mark(t, 5_123, 7_000)), Ok(5_123));
        assert_eq!(standing(&store).serving(), Err(StandingRefusal::NotResumed { as_of: 5_123 }));
        assert_eq!(store.write(|t| mark(t, 6_000, 7_500)), Ok(5_123), "restored twice: lost since the first");
        for accepted in [4_999, 6_000, 0] {
            assert_eq!(resume(accepted, 9_000), refused(StandingRefusal::OtherTime { as_of: 5_123, accepted }));
        }
        assert_eq!(resume(5_000, 9_000), Ok(None));
        assert_eq!(resume(5_000, 9_000), refused(StandingRefusal::NotRestored));
        let now = standing(&store);
        assert_eq!(now.serving(), Ok(()));
        let lost = |granted_at| Err(StandingRefusal::GrantOfLostTime { granted_at, from: 5_123, to: 9_000 });
        assert_eq!([5_123, 5_124, 9_000, 9_001].map(|at| now.admits(at)), [Ok(()), lost(5_124), lost(9_000), Ok(())]);
    }

    #[test]
    fn a_damaged_mark_is_an_error_never_no_mark() {
        let store = MemoryStore::default();
        let damaged = Err(StoreError::Row("meta"));
        store.write(|t| t.put(Table::Meta, RESTORED, b"short")).expect("written");
        assert_eq!(store.read(Standing::read), damaged);
        store.write(|t| t.remove(Table::Meta, RESTORED)).expect("written");
        store.write(|t| t.put(Table::Meta, b"resumed/x", b"")).expect("written");
        assert_eq!(store.read(Standing::read), damaged);
    }
}
