//! Tickets that the cloud would still honour: kept so that a revocation can withdraw them.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use sealdex_crypto::PrincipalId;

use crate::store::{Cover, TicketRow};

type Nonce = [u8; 16];

/// All unexpired tickets of this gate, in memory as in the store.
#[derive(Default)]
pub(crate) struct Outstanding(Mutex<Tickets>);

#[derive(Default)]
struct Tickets {
    rows: HashMap<Nonce, TicketRow>,
    by_grant: HashMap<(PrincipalId, PrincipalId), HashSet<Nonce>>,
    by_expiry: BTreeSet<(u64, Nonce)>,
}

impl Outstanding {
    fn lock(&self) -> MutexGuard<'_, Tickets> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds tickets just issued or found at start.
    pub(crate) fn register(&self, rows: Vec<TicketRow>) {
        let mut tickets = self.lock();
        for row in rows {
            tickets.by_expiry.insert((row.expires_at, row.nonce));
            for cover in &row.covers {
                tickets.by_grant.entry((cover.owner, cover.reader)).or_default().insert(row.nonce);
            }
            tickets.rows.insert(row.nonce, row);
        }
    }

    /// Tickets that rest on a grant of this owner to this reader for which `covers` holds.
    pub(crate) fn resting_on(
        &self,
        owner: PrincipalId,
        reader: PrincipalId,
        covers: impl Fn(&Cover) -> bool,
    ) -> Vec<TicketRow> {
        let tickets = self.lock();
        let nonces = tickets.by_grant.get(&(owner, reader)).into_iter().flatten();
        let concerned =
            |row: &&TicketRow| row.covers.iter().any(|c| c.owner == owner && c.reader == reader && covers(c));
        nonces.filter_map(|n| tickets.rows.get(n)).filter(concerned).cloned().collect()
    }

    /// Tickets issued to callers for whom `held` holds.
    pub(crate) fn issued_to(&self, held: impl Fn(PrincipalId) -> bool) -> Vec<TicketRow> {
        self.lock().rows.values().filter(|row| held(row.caller)).cloned().collect()
    }

    /// Tickets marked as withdrawn that have not ended by `now`, Unix milliseconds.
    pub(crate) fn marked(&self, now: u64) -> Vec<TicketRow> {
        self.lock().rows.values().filter(|row| row.withdrawn && row.expires_at > now).cloned().collect()
    }

    /// Forgets and names the tickets that ended by `now`, Unix milliseconds.
    pub(crate) fn take_expired(&self, now: u64) -> Vec<Nonce> {
        let mut tickets = self.lock();
        let later = tickets.by_expiry.split_off(&(now.saturating_add(1), [0; 16]));
        let expired = std::mem::replace(&mut tickets.by_expiry, later);
        let nonces: Vec<_> = expired.into_iter().map(|(_, n)| n).collect();
        nonces.iter().for_each(|n| tickets.forget(n));
        nonces
    }

    /// Forgets tickets that the cloud has withdrawn.
    pub(crate) fn forget(&self, nonces: &[Nonce]) {
        let mut tickets = self.lock();
        nonces.iter().for_each(|n| tickets.forget(n));
    }
}

impl Tickets {
    fn forget(&mut self, nonce: &Nonce) {
        let Some(row) = self.rows.remove(nonce) else { return };
        self.by_expiry.remove(&(row.expires_at, *nonce));
        for cover in &row.covers {
            let key = (cover.owner, cover.reader);
            if let Some(nonces) = self.by_grant.get_mut(&key) {
                nonces.remove(nonce);
                if nonces.is_empty() {
                    self.by_grant.remove(&key);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> PrincipalId {
        PrincipalId([n; 16])
    }

    fn ticket(n: u8, expires_at: u64, sections: &[&str]) -> TicketRow {
        let cover = |s: &&str| Cover { owner: id(1), reader: id(2), section: (*s).to_owned() };
        let covers = sections.iter().map(cover).collect();
        TicketRow { nonce: [n; 16], cloud: id(8), caller: id(2), expires_at, withdrawn: false, covers }
    }

    #[test]
    fn tickets_are_found_by_what_they_rest_on_until_they_expire() {
        let all = Outstanding::default();
        all.register(vec![ticket(1, 100, &["labs"]), ticket(2, 200, &["labs", "notes"]), ticket(3, 300, &["notes"])]);
        let resting = |section: &str| {
            let mut n: Vec<_> =
                all.resting_on(id(1), id(2), |c| c.section == section).iter().map(|t| t.nonce[0]).collect();
            n.sort_unstable();
            n
        };
        assert_eq!((resting("labs"), resting("notes"), resting("none")), (vec![1, 2], vec![2, 3], vec![]));
        assert_eq!(all.resting_on(id(1), id(3), |_| true), vec![]);
        assert_eq!(all.issued_to(|c| c == id(2)).len(), 3);
        assert_eq!(all.take_expired(99), Vec::<Nonce>::new());
        assert_eq!(all.take_expired(200), vec![[1; 16], [2; 16]]);
        assert_eq!((resting("labs"), resting("notes")), (vec![], vec![3]));
        all.forget(&[[3; 16]]);
        assert!(all.lock().by_grant.is_empty() && all.lock().by_expiry.is_empty() && all.lock().rows.is_empty());
    }
}
