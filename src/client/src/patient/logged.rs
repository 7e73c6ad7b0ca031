//! What the public log says of an owner, beside what the gate says.

use std::{collections::BTreeMap, path::Path};

use sealdex_net::peer::Http;
use sealdex_wire::{codec, consent::Access};

use super::{
    Patient,
    accesses::{likeness, merge},
};
use crate::acts::{ActsLog, ActsLogError, OwnLog};

/// How long an act may take to be in the log, milliseconds.
const SETTLED_MS: u64 = 60_000;

/// Where two accounts of the same differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// The gate tells them, the log has not got them.
    pub not_logged: Vec<Access>,
    /// The same, of the last minute: they may be on their way.
    pub not_yet: Vec<Access>,
    /// The log has them, the gate does not tell them.
    pub not_told: Vec<Access>,
}

impl Differences {
    /// Whether the log lacks what it should have, or the gate keeps something back.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.not_logged.is_empty() && self.not_told.is_empty()
    }
}

impl Patient {
    /// Reads the log of acts and finds what concerns this owner. Nobody is asked for it by name.
    ///
    /// # Errors
    /// [`ActsLogError`].
    pub async fn logged(&self, http: &Http, folder: Option<&Path>) -> Result<OwnLog, ActsLogError> {
        let roster = &self.trusted.roster;
        let entries = ActsLog::open(http, roster, folder)?.advance().await?;
        Ok(OwnLog::of(&entries, &roster.domain, &self.owner.identity()))
    }

    /// Rows of the log as accesses, once each.
    #[must_use]
    pub fn logged_accesses(&self, log: &OwnLog) -> Vec<Access> {
        let roster = &self.trusted.roster;
        let listed = log.rows.iter().filter(|r| r.row.part.is_some()).map(|r| r.access(roster));
        if roster.sharing.is_none() {
            return listed.collect();
        }
        let mut nodes: BTreeMap<u16, Vec<Access>> = BTreeMap::new();
        listed.for_each(|a| nodes.entry(a.node.unwrap_or(0)).or_default().push(a));
        merge(nodes)
    }

    /// Compares what the gate told, asked after the log was read, with the log. `now` in Unix milliseconds.
    #[must_use]
    pub fn differences(&self, told: &[Access], log: &OwnLog, now: u64) -> Differences {
        let shared = self.trusted.roster.sharing.is_some();
        let key = |a: &Access| if shared { likeness(a) } else { codec::to_cbor(a) };
        compare(told, &self.logged_accesses(log), log.since, now, key)
    }
}

fn compare(
    told: &[Access],
    logged: &[Access],
    since: Option<u64>,
    now: u64,
    key: impl Fn(&Access) -> Vec<u8>,
) -> Differences {
    let mut left: BTreeMap<Vec<u8>, Vec<&Access>> = BTreeMap::new();
    logged.iter().for_each(|a| left.entry(key(a)).or_default().push(a));
    let mut out = Differences::default();
    for access in told {
        if left.get_mut(&key(access)).and_then(Vec::pop).is_some() {
            continue;
        }
        if access.at + SETTLED_MS > now {
            out.not_yet.push(access.clone());
        } else if since.is_some_and(|since| access.at >= since) {
            // What is older was done before there was a log.
            out.not_logged.push(access.clone());
        }
    }
    out.not_told = left.into_values().flatten().cloned().collect();
    out.not_told.sort_by_key(|a| a.at);
    out
}

#[cfg(test)]
mod tests {
    use sealdex_crypto::PrincipalId;
    use sealdex_wire::consent::{AccessKind, Place};

    use super::*;

    fn access(at: u64, count: u64) -> Access {
        Access {
            place: Place { act: at, part: 0 },
            at,
            kind: AccessKind::Search,
            caller: PrincipalId([1; 16]),
            purpose: None,
            section: None,
            reader: None,
            count,
            emergency: false,
            search: None,
            node: None,
        }
    }

    #[test]
    fn what_one_side_lacks_or_says_otherwise_is_found() {
        let day = 86_400_000;
        let all = [access(10, 1), access(day, 2), access(2 * day, 3)];
        let differ = |told: &[Access], logged: &[Access]| compare(told, logged, Some(day), 3 * day, codec::to_cbor);
        assert!(differ(&all, &all).is_none());
        assert!(differ(&all, &all[1..]).is_none(), "the first was before the log");
        assert_eq!(differ(&all, &all[..2]).not_logged, all[2..]);
        assert_eq!(differ(&all[..2], &all).not_told, all[2..]);
        let altered = [all[0].clone(), all[1].clone(), access(2 * day, 9)];
        let found = differ(&altered, &all);
        assert_eq!((found.not_logged.len(), found.not_told.len()), (1, 1));
        let fresh = compare(&[access(3 * day - 5, 1)], &[], Some(day), 3 * day, codec::to_cbor);
        assert!(fresh.is_none() && fresh.not_yet.len() == 1);
    }
}
