//! Limits on the curious: what each member may ask in a day. Dictionaries over tokens and bracketing by ranges
//! (spec section 12) both need many questions, and the gate counts them.
//!
//! Spending is counted by hours of the last day, in memory, and is read back from the audit trail at start, so that
//! neither a restart nor a crash gives anyone a new budget.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use sealdex_crypto::PrincipalId;
use sealdex_wire::roster::Budget;

use crate::{
    error::GateError,
    gate::Gate,
    members::{Known, Members},
    store::{AuditEntry, AuditKind, ConsentStore, ReadConsents as _, Snapshot, Spent, StoreError, Table},
};

/// What a member may do in a day where the roster says nothing: far above what people and programs at work need,
/// far below a dictionary of identifiers.
pub const DEFAULT: [u64; 3] = [5_000_000, 250_000, 2_000_000_000];

const HOUR_MS: u64 = 3_600_000;
const HOURS: usize = 24;
/// Audit entries read at once.
const PAGE: usize = 4096;

/// A budget that would be overdrawn.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "{member} may use {allowed} {what} in 24 hours and has used {used}; this needs {needed} more: wait, ask for less, or ask the authority for a larger budget"
)]
pub struct BudgetRefusal {
    /// Whose.
    pub member: PrincipalId,
    /// Of what.
    pub what: &'static str,
    /// In a day.
    pub allowed: u64,
    /// In the last day.
    pub used: u64,
    /// Asked for.
    pub needed: u64,
}

/// What each member has spent in the last day.
#[derive(Default)]
pub struct Meter(Mutex<HashMap<PrincipalId, Day>>);

#[derive(Clone, Default)]
struct Day {
    /// Hour since 1970 of the newest slot.
    hour: u64,
    slots: [Spent; HOURS],
    /// Hour in which an alarm was last raised.
    alarmed: Option<u64>,
}

impl Day {
    fn roll(&mut self, hour: u64) {
        let passed = usize::try_from(hour.saturating_sub(self.hour)).unwrap_or(HOURS).min(HOURS);
        for n in 1..=passed {
            self.slots[(self.hour as usize + n) % HOURS] = Spent::default();
        }
        self.hour = self.hour.max(hour);
    }

    fn add(&mut self, at: u64, spent: Spent) {
        let hour = at / HOUR_MS;
        if hour + (HOURS as u64) > self.hour {
            self.roll(hour);
            let slot = &mut self.slots[hour as usize % HOURS];
            *slot = slot.plus(spent);
        }
    }

    fn total(&self) -> Spent {
        self.slots.iter().copied().fold(Spent::default(), Spent::plus)
    }
}

/// What came of charging a member.
enum Charged {
    Fine,
    /// More than four fifths are used, for the first time this hour.
    Near,
    Over(BudgetRefusal),
}

impl Meter {
    /// Reads the last day's spending from the audit trail, newest entries first.
    pub(crate) fn load(stored: &dyn Snapshot, now: u64) -> Result<Self, StoreError> {
        let meter = Self::default();
        let since = now.saturating_sub(HOURS as u64 * HOUR_MS);
        let Some(last) = stored.last_key(Table::Audit)? else { return Ok(meter) };
        let last = last.try_into().map(u64::from_be_bytes).map_err(|_| StoreError::Row(Table::Audit.name()))?;
        let mut days = meter.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut end = last.saturating_add(1);
        while end > 0 {
            let start = end.saturating_sub(PAGE as u64);
            let entries = stored.audit_from(start, (end - start) as usize)?;
            for e in entries.iter().filter(|e| e.at >= since && !e.spent.is_nothing()) {
                days.entry(e.caller).or_default().add(e.at, e.spent);
            }
            if entries.first().is_none_or(|e| e.at < since) {
                break;
            }
            end = start;
        }
        drop(days);
        Ok(meter)
    }

    fn charge(&self, member: PrincipalId, now: u64, spent: Spent, allowed: [u64; 3]) -> Charged {
        let mut days = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let day = days.entry(member).or_default();
        day.roll(now / HOUR_MS);
        let used = day.total();
        let of = |s: &Spent| [s.tokens, s.ranges, s.entries];
        let named = ["tokens searched for", "ranges searched for", "index entries bridged"];
        for (n, what) in named.into_iter().enumerate() {
            let (used, needed, allowed) = (of(&used)[n], of(&spent)[n], allowed[n]);
            if needed > 0 && used.saturating_add(needed) > allowed {
                return Charged::Over(BudgetRefusal { member, what, allowed, used, needed });
            }
        }
        day.add(now, spent);
        let total = of(&day.total());
        let near = (0..3).any(|n| of(&spent)[n] > 0 && total[n] > allowed[n] / 5 * 4);
        if near && day.alarmed != Some(day.hour) {
            day.alarmed = Some(day.hour);
            return Charged::Near;
        }
        Charged::Fine
    }
}

impl<S: ConsentStore> Gate<S> {
    /// Takes from a member's budget, or refuses. Coming near the end of it, and being refused, are alarms: in the
    /// audit trail, the log and the metrics.
    pub(crate) async fn charge(
        &self,
        caller: PrincipalId,
        known: &Known,
        members: &Members,
        spent: Spent,
    ) -> Result<(), GateError> {
        let budget = |b: &Budget| [b.tokens, b.ranges, b.entries];
        let allowed = members.budget(known).map_or(DEFAULT, budget);
        let (refusal, why) = match self.meter.charge(caller, self.now(), spent, allowed) {
            Charged::Fine => return Ok(()),
            Charged::Near => (None, "near"),
            Charged::Over(refusal) => (Some(refusal), "over"),
        };
        metrics::counter!("sealdex_gate_budget_alarms_total", "why" => why).increment(1);
        tracing::warn!(member = %caller, why, "a member's budget");
        let entry = AuditEntry {
            purpose: Some(refusal.map_or("near its budget", |r| r.what).to_owned()),
            ..self.entry(AuditKind::Alarm, caller, u64::from(refusal.is_some()), std::iter::empty())
        };
        self.journal.record(entry, Vec::new(), Vec::new()).await?;
        refusal.map_or(Ok(()), |r| Err(r.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: PrincipalId = PrincipalId([1; 16]);

    fn tokens(n: u64) -> Spent {
        Spent { tokens: n, ..Spent::default() }
    }

    #[test]
    fn a_day_is_the_last_24_hours() {
        let meter = Meter::default();
        let charge = |hour: u64, n| meter.charge(ALICE, hour * HOUR_MS, tokens(n), [100, 0, 0]);
        assert!(matches!(charge(500_000, 60), Charged::Fine));
        assert!(matches!(charge(500_010, 30), Charged::Near));
        assert!(matches!(charge(500_010, 1), Charged::Fine), "one alarm an hour");
        assert!(matches!(charge(500_011, 10), Charged::Over(BudgetRefusal { used: 91, needed: 10, .. })));
        assert!(matches!(charge(500_023, 9), Charged::Near), "what is refused is not spent");
        assert!(matches!(charge(500_024, 60), Charged::Near), "the first hour is a day old");
        assert!(matches!(charge(500_100, 80), Charged::Fine), "and all of it later");
        let ranges = Spent { ranges: 1, ..Spent::default() };
        assert!(matches!(meter.charge(ALICE, 500_100 * HOUR_MS, ranges, [100, 0, 0]), Charged::Over(_)));
        assert!(matches!(meter.charge(PrincipalId([2; 16]), 500_100 * HOUR_MS, tokens(9), [100, 0, 0]), Charged::Fine));
    }
}
